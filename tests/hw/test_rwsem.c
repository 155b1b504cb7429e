/* SPDX-License-Identifier: MIT */
/*
 * Goal: readers share, writers are alone, neither starves, and waiters can be interrupted.
 * Method: fibers on all CPUs check who else is inside, giving way in the middle; this test plays
 * the room of signals by defining karc_signal_pending().
 */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include <karc/hw/fiber.h>
#include <karc/hw/machine.h>
#include <karc/hw/rwsem.h>

#define NR_FIBERS	8
#define NR_ROUNDS	200

struct model {
	struct rw_semaphore sem;
	_Atomic unsigned int readers, writers, most_readers;
	unsigned long count;		/* plain: only writers */
	_Atomic bool stop;
	_Atomic unsigned int nr_reads;
	_Atomic unsigned int nr_served;
	char order[NR_FIBERS + 1];
};

/* The fiber that has a signal pending. */
static struct fiber *_Atomic signalled;

bool karc_signal_pending(unsigned int state)
{
	return (state & (TASK_INTERRUPTIBLE | TASK_WAKEKILL)) && signalled == fiber_self();
}

static unsigned int nr_cpus(void)
{
	return machine_nr_cpus(this_machine());
}

static void model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	init_rwsem(&m->sem);
	signalled = NULL;
}

static struct fiber *spawn(unsigned int cpu, long (*fn)(void *), void *arg)
{
	struct fiber *f = fiber_spawn(cpu % nr_cpus(), "contender", fn, arg);

	assert_non_null(f);
	return f;
}

static void join(struct fiber *f)
{
	struct machine_result r;

	fiber_join(f, &r);
	assert_int_equal(r.end, MACHINE_VALUE);
	assert_int_equal(r.value, 0);
}

static unsigned int queue_length(struct rw_semaphore *sem)
{
	struct list_head *pos;
	unsigned int nr = 0;

	spin_lock(&sem->wait_lock);
	list_for_each(pos, &sem->waiters)
		nr++;
	spin_unlock(&sem->wait_lock);
	return nr;
}

static void wait_for_queue(struct rw_semaphore *sem, unsigned int length)
{
	while (queue_length(sem) < length)
		fiber_yield();
}

static int read_inside(struct model *m)
{
	if (m->writers)
		return -1;
	if (++m->readers > m->most_readers)
		m->most_readers = m->readers;
	fiber_yield();
	m->readers--;
	return m->writers ? -2 : 0;
}

static int write_inside(struct model *m)
{
	unsigned long count = m->count;

	if (m->writers++ || m->readers)
		return -3;
	fiber_yield();
	m->count = count + 1;
	m->writers--;
	return 0;
}

static long contend(void *arg)
{
	struct model *m = arg;
	int err = 0;

	for (unsigned int i = 0; i < NR_ROUNDS && !err; i++) {
		switch ((i + fiber_self()->id) % 8) {
		case 0:
			down_write(&m->sem);
			err = write_inside(m);
			up_write(&m->sem);
			break;
		case 1:
			if (down_write_killable(&m->sem))
				return -4;
			err = write_inside(m);
			downgrade_write(&m->sem);
			err = err ? err : read_inside(m);
			up_read(&m->sem);
			break;
		case 2:
			if (!down_write_trylock(&m->sem))
				break;
			err = write_inside(m);
			m->count--;
			up_write(&m->sem);
			break;
		case 3:
			if (!down_read_trylock(&m->sem))
				break;
			err = read_inside(m);
			up_read(&m->sem);
			break;
		default:
			if (down_read_killable(&m->sem))
				return -5;
			err = read_inside(m);
			up_read(&m->sem);
			break;
		}
	}
	return err;
}

static void readers_share_and_writers_are_alone(void **state)
{
	struct fiber *f[NR_FIBERS];
	struct model m;

	(void)state;
	model_init(&m);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		f[i] = spawn(i, contend, &m);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		join(f[i]);
	assert_int_equal(m.count, NR_FIBERS * NR_ROUNDS * 2 / 8);
	assert_true(m.most_readers > 1);
	assert_int_equal(m.sem.count, 0);
	assert_false(rwsem_is_locked(&m.sem));
	assert_true(list_empty(&m.sem.waiters));
}

static void trylocks_tell_the_truth(void **state)
{
	struct model m;

	(void)state;
	model_init(&m);
	assert_int_equal(down_read_trylock(&m.sem), 1);
	assert_true(rwsem_is_locked(&m.sem));
	assert_false(rwsem_is_write_locked(&m.sem));
	assert_int_equal(down_write_trylock(&m.sem), 0);
	up_read(&m.sem);
	assert_int_equal(down_write_trylock(&m.sem), 1);
	assert_true(rwsem_is_write_locked(&m.sem));
	assert_int_equal(down_read_trylock(&m.sem), 0);
	assert_int_equal(down_write_trylock(&m.sem), 0);
	downgrade_write(&m.sem);
	assert_false(rwsem_is_write_locked(&m.sem));
	assert_true(rwsem_is_locked(&m.sem));
	up_read(&m.sem);
	assert_false(rwsem_is_locked(&m.sem));
}

static long read_for_ever(void *arg)
{
	struct model *m = arg;

	bool counts = machine_config(this_machine())->mode == MACHINE_DETERMINISTIC;

	/* The bound is far above what a fair lock needs, if the host lets the writer run at all. */
	while (!m->stop) {
		down_read(&m->sem);
		if (++m->nr_reads > 100000 && counts)
			return -1;
		fiber_yield();
		up_read(&m->sem);
	}
	return 0;
}

static void a_writer_gets_through_a_stream_of_readers(void **state)
{
	struct fiber *f[NR_FIBERS];
	struct model m;

	(void)state;
	model_init(&m);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		f[i] = spawn(i, read_for_ever, &m);
	while (m.nr_reads < 100)
		fiber_yield();
	for (int i = 0; i < 20; i++) {
		down_write(&m.sem);
		up_write(&m.sem);
	}
	m.stop = true;
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		join(f[i]);
}

static long read_in_turn(void *arg)
{
	struct model *m = arg;

	down_read(&m->sem);
	m->order[m->nr_served++] = 'r';
	fiber_yield();
	up_read(&m->sem);
	return 0;
}

static long write_in_turn(void *arg)
{
	struct model *m = arg;

	down_write(&m->sem);
	m->order[m->nr_served++] = 'w';
	fiber_yield();
	up_write(&m->sem);
	return 0;
}

static void waiters_are_served_in_order_of_arrival(void **state)
{
	static const char arrival[] = "rrwrwwrr";
	struct fiber *f[NR_FIBERS];
	struct model m;

	(void)state;
	model_init(&m);
	down_write(&m.sem);
	for (unsigned int i = 0; i < NR_FIBERS; i++) {
		f[i] = spawn(i, arrival[i] == 'r' ? read_in_turn : write_in_turn, &m);
		wait_for_queue(&m.sem, i + 1);
	}
	assert_true(rwsem_is_contended(&m.sem));
	/* Downgrading lets in the readers at the head, not the ones behind the writer. */
	downgrade_write(&m.sem);
	assert_int_equal(queue_length(&m.sem), 6);
	assert_int_equal(down_read_trylock(&m.sem), 0);
	up_read(&m.sem);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		join(f[i]);
	assert_string_equal(m.order, arrival);
	assert_false(rwsem_is_contended(&m.sem));
}

static long write_killably(void *arg)
{
	struct model *m = arg;
	int err = down_write_killable(&m->sem);

	if (!err)
		up_write(&m->sem);
	return err;
}

static void a_killed_writer_lets_the_readers_behind_it_in(void **state)
{
	struct fiber *writer, *reader;
	struct machine_result r;
	struct model m;

	(void)state;
	model_init(&m);
	down_read(&m.sem);
	writer = spawn(1, write_killably, &m);
	wait_for_queue(&m.sem, 1);
	reader = spawn(2, read_in_turn, &m);
	wait_for_queue(&m.sem, 2);
	signalled = writer;
	fiber_wake(writer);
	fiber_join(writer, &r);
	assert_int_equal(r.value, -EINTR);
	join(reader);				/* while this fiber still reads */
	assert_int_equal(m.nr_served, 1);
	assert_false(rwsem_is_contended(&m.sem));
	up_read(&m.sem);

	/* The last waiter leaves: trylock works again. */
	signalled = NULL;
	down_read(&m.sem);
	writer = spawn(1, write_killably, &m);
	wait_for_queue(&m.sem, 1);
	signalled = writer;
	fiber_wake(writer);
	fiber_join(writer, &r);
	assert_int_equal(r.value, -EINTR);
	assert_int_equal(down_read_trylock(&m.sem), 1);
	up_read(&m.sem);
	up_read(&m.sem);
	assert_int_equal(m.sem.count, 0);
}

static long write_twice(void *arg)
{
	down_write((struct rw_semaphore *)arg);
	down_write((struct rw_semaphore *)arg);
	return 0;
}

static long end_reading(void *arg)
{
	up_read((struct rw_semaphore *)arg);
	return 0;
}

static long end_writing(void *arg)
{
	up_write((struct rw_semaphore *)arg);
	return 0;
}

static long downgrade_it(void *arg)
{
	downgrade_write((struct rw_semaphore *)arg);
	return 0;
}

static void misuse_is_a_bug(void **state)
{
	DECLARE_RWSEM(lost);
	DECLARE_RWSEM(sem);

	(void)state;
	expect_bug(write_twice, &lost, "deadlock");
	expect_bug(end_reading, &sem, "no reader");
	expect_bug(end_writing, &sem, "no writer");
	down_write(&sem);
	expect_bug(end_writing, &sem, "up_write of an rwsem that");
	expect_bug(downgrade_it, &sem, "downgrade_write of an rwsem that");
#ifdef KARC_DEBUG
	expect_bug(end_writing, &sem, "test_rwsem.c");
#endif
	up_write(&sem);
	down_read(&sem);
#ifdef KARC_DEBUG
	expect_bug(end_reading, &sem, "does not hold");
#endif
	up_read(&sem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(readers_share_and_writers_are_alone),
		KARC_TESTS(trylocks_tell_the_truth),
		KARC_TESTS(a_writer_gets_through_a_stream_of_readers),
		KARC_TESTS(waiters_are_served_in_order_of_arrival),
		KARC_TESTS(a_killed_writer_lets_the_readers_behind_it_in),
		KARC_TESTS(misuse_is_a_bug),

	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
