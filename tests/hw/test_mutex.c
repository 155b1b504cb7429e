/* SPDX-License-Identifier: MIT */
/*
 * Goal: a mutex excludes, hands over in order of arrival, checks its owner, and lets go of
 * interrupted waiters.
 * Method: fibers on all CPUs change a model that only the mutex protects, giving way in the
 * middle; this test plays the room of signals by defining karc_signal_pending().
 */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/hw/machine.h>
#include <karc/hw/mutex.h>

#define NR_FIBERS	8
#define NR_ROUNDS	200

struct model {
	struct mutex lock;
	unsigned long count;
	unsigned int inside;
	unsigned int how;
	_Atomic unsigned int nr_arrived, nr_served;
	unsigned int order[NR_FIBERS];
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
	mutex_init(&m->lock);
	signalled = NULL;
}

static void run_on_all(long (*fn)(void *), void *arg)
{
	struct fiber *f[NR_FIBERS];
	struct machine_result r;

	for (unsigned int i = 0; i < NR_FIBERS; i++) {
		f[i] = fiber_spawn(i % nr_cpus(), "contender", fn, arg);
		assert_non_null(f[i]);
	}
	for (unsigned int i = 0; i < NR_FIBERS; i++) {
		fiber_join(f[i], &r);
		assert_int_equal(r.end, MACHINE_VALUE);
		assert_int_equal(r.value, 0);
	}
}

static int take(struct model *m, unsigned int i)
{
	switch ((m->how + i) % 4) {
	case 0:
		mutex_lock(&m->lock);
		return 0;
	case 1:
		return mutex_lock_interruptible(&m->lock);
	case 2:
		return mutex_lock_killable(&m->lock);
	default:
		while (!mutex_trylock(&m->lock))
			fiber_yield();
		return 0;
	}
}

static long contend(void *arg)
{
	struct model *m = arg;

	for (unsigned int i = 0; i < NR_ROUNDS; i++) {
		unsigned long count;

		if (take(m, i))
			return -1;
		if (m->inside++)
			return -2;
		count = m->count;
		if (i % 8 == 0)
			fiber_yield();		/* sleeping inside is what a mutex is for */
		else
			hw_safepoint();
		m->count = count + 1;
		m->inside--;
		mutex_unlock(&m->lock);
	}
	return 0;
}

static void only_one_is_inside(void **state)
{
	struct model m;

	(void)state;
	for (unsigned int how = 0; how < 4; how++) {
		model_init(&m);
		m.how = how;
		run_on_all(contend, &m);
		assert_int_equal(m.count, NR_FIBERS * NR_ROUNDS);
		assert_false(mutex_is_locked(&m.lock));
		assert_true(list_empty(&m.lock.waiters));
		mutex_destroy(&m.lock);
	}
}

static long arrive(void *arg)
{
	struct model *m = arg;
	unsigned int number = m->nr_arrived++;

	mutex_lock(&m->lock);
	m->order[m->nr_served++] = number;
	mutex_unlock(&m->lock);
	return 0;
}

static unsigned int queue_length(struct mutex *lock)
{
	struct list_head *pos;
	unsigned int nr = 0;

	spin_lock(&lock->wait_lock);
	list_for_each(pos, &lock->waiters)
		nr++;
	spin_unlock(&lock->wait_lock);
	return nr;
}

static void waiters_are_served_in_order_of_arrival(void **state)
{
	struct fiber *f[NR_FIBERS];
	struct model m;

	(void)state;
	model_init(&m);
	mutex_lock(&m.lock);
	for (unsigned int i = 0; i < NR_FIBERS; i++) {
		f[i] = fiber_spawn(i % nr_cpus(), "waiter", arrive, &m);
		assert_non_null(f[i]);
		while (queue_length(&m.lock) <= i)
			fiber_yield();
	}
	assert_int_equal(mutex_trylock(&m.lock), 0);
	mutex_unlock(&m.lock);
	/* Handed over already: whoever comes now does not overtake. */
	assert_int_equal(mutex_trylock(&m.lock), 0);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		fiber_join(f[i], NULL);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		assert_int_equal(m.order[i], i);
	assert_false(mutex_is_locked(&m.lock));
}

static long lock_interruptibly(void *arg)
{
	struct model *m = arg;
	int err = mutex_lock_interruptible(&m->lock);

	if (!err)
		mutex_unlock(&m->lock);
	return err;
}

static void a_signal_ends_the_wait_without_the_mutex(void **state)
{
	struct machine_result r;
	struct fiber *f, *behind;
	struct model m;

	(void)state;
	model_init(&m);
	mutex_lock(&m.lock);
	f = fiber_spawn(nr_cpus() - 1, "interrupted", lock_interruptibly, &m);
	while (queue_length(&m.lock) < 1)
		fiber_yield();
	behind = fiber_spawn(0, "behind", arrive, &m);
	while (queue_length(&m.lock) < 2)
		fiber_yield();
	signalled = f;
	fiber_wake(f);
	fiber_join(f, &r);
	assert_int_equal(r.value, -EINTR);
	assert_int_equal(queue_length(&m.lock), 1);
	mutex_unlock(&m.lock);
	fiber_join(behind, &r);
	assert_int_equal(r.end, MACHINE_VALUE);

	/* The last waiter leaves: the fast path works again. */
	signalled = NULL;
	mutex_lock(&m.lock);
	f = fiber_spawn(0, "interrupted", lock_interruptibly, &m);
	while (queue_length(&m.lock) < 1)
		fiber_yield();
	signalled = f;
	fiber_wake(f);
	fiber_join(f, &r);
	assert_int_equal(r.value, -EINTR);
	mutex_unlock(&m.lock);
	assert_int_equal(m.lock.owner, 0);
}

static void a_free_mutex_is_taken_in_spite_of_a_signal(void **state)
{
	struct model m;

	(void)state;
	model_init(&m);
	signalled = fiber_self();
	assert_int_equal(mutex_lock_interruptible(&m.lock), 0);
	mutex_unlock(&m.lock);
	assert_int_equal(mutex_lock_killable(&m.lock), 0);
	mutex_unlock(&m.lock);
}

static long lock_twice(void *arg)
{
	mutex_lock((struct mutex *)arg);
	mutex_lock((struct mutex *)arg);
	return 0;
}

static long unlock_it(void *arg)
{
	mutex_unlock((struct mutex *)arg);
	return 0;
}

static void misuse_is_a_bug(void **state)
{
	DEFINE_MUTEX(lock);
	DEFINE_MUTEX(mine);

	(void)state;
	expect_bug(lock_twice, &lock, "deadlock");
	expect_bug(unlock_it, &mine, "nobody holds");
	mutex_lock(&mine);
	expect_bug(unlock_it, &mine, "releases a mutex that");
	assert_true(mutex_is_locked(&mine));
	mutex_unlock(&mine);
}

static long lock_in_atomic(void *arg)
{
	preempt_disable();
	mutex_lock((struct mutex *)arg);
	mutex_unlock((struct mutex *)arg);
	preempt_enable();
	return 0;
}

static void locking_in_atomic_context_is_reported(void **state)
{
	DEFINE_MUTEX(lock);
	struct machine_result r;
	struct fiber *f;

	(void)state;
	f = fiber_spawn(0, "atomic", lock_in_atomic, &lock);
	fiber_join(f, &r);
	assert_int_equal(r.end, MACHINE_VALUE);
	expect_warn("sleeping function called");
#ifdef KARC_DEBUG
	assert_true(fixture_log_contains("test_mutex.c"));
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(only_one_is_inside),
		KARC_TESTS(waiters_are_served_in_order_of_arrival),
		KARC_TESTS(a_signal_ends_the_wait_without_the_mutex),
		KARC_TESTS(a_free_mutex_is_taken_in_spite_of_a_signal),
		KARC_TESTS(misuse_is_a_bug),
		KARC_TESTS(locking_in_atomic_context_is_reported),

	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
