/* SPDX-License-Identifier: MIT */
/*
 * Goal: spin locks and rwlocks exclude, keep the context's counts, and refuse misuse.
 * Method: fibers on all CPUs change a model that only the lock protects, with safe points in the
 * middle of each change; misuse happens in a fiber of its own that must end in a BUG.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/hw/machine.h>
#include <karc/hw/spinlock.h>

#define NR_FIBERS	8
#define NR_ROUNDS	300

/* A counter that only exclusion keeps right: other CPUs run between its load and its store. */
struct model {
	spinlock_t lock;
	rwlock_t rwlock;
	unsigned long count;
	unsigned int readers, writers, most_readers;
	unsigned int how;
};

static void slow_increment(struct model *m)
{
	unsigned long count = READ_ONCE(m->count);

	hw_safepoint();
	hw_safepoint();
	WRITE_ONCE(m->count, count + 1);
}

/* Run @fn in NR_FIBERS fibers spread over all CPUs, to the end. */
static void run_on_all(long (*fn)(void *), void *arg)
{
	struct fiber *f[NR_FIBERS];
	struct machine_result r;

	for (unsigned int i = 0; i < NR_FIBERS; i++) {
		f[i] = fiber_spawn(i % machine_nr_cpus(this_machine()), "contender", fn, arg);
		assert_non_null(f[i]);
	}
	for (unsigned int i = 0; i < NR_FIBERS; i++) {
		fiber_join(f[i], &r);
		assert_int_equal(r.end, MACHINE_VALUE);
		assert_int_equal(r.value, 0);
	}
}

static long contend(void *arg)
{
	struct model *m = arg;
	unsigned long flags;

	for (unsigned int i = 0; i < NR_ROUNDS; i++) {
		switch (m->how) {
		case 0:
			spin_lock(&m->lock);
			slow_increment(m);
			spin_unlock(&m->lock);
			break;
		case 1:
			spin_lock_irq(&m->lock);
			slow_increment(m);
			spin_unlock_irq(&m->lock);
			break;
		case 2:
			spin_lock_irqsave(&m->lock, flags);
			slow_increment(m);
			spin_unlock_irqrestore(&m->lock, flags);
			break;
		case 3:
			spin_lock_bh(&m->lock);
			slow_increment(m);
			spin_unlock_bh(&m->lock);
			break;
		default:
			while (!spin_trylock(&m->lock))
				cpu_relax();
			slow_increment(m);
			spin_unlock(&m->lock);
			break;
		}
		if (preempt_count() || irqs_disabled())
			return -1;
	}
	return 0;
}

static void each_form_excludes(void **state)
{
	struct model m = { .count = 0 };

	(void)state;
	for (m.how = 0; m.how < 5; m.how++) {
		spin_lock_init(&m.lock);
		m.count = 0;
		run_on_all(contend, &m);
		assert_int_equal(m.count, NR_FIBERS * NR_ROUNDS);
		assert_false(spin_is_locked(&m.lock));
	}
}

static void holding_keeps_preemption_off(void **state)
{
	DEFINE_SPINLOCK(lock);
	DEFINE_RAW_SPINLOCK(raw);
	unsigned long flags, inner;

	(void)state;
	spin_lock(&lock);
	assert_int_equal(preempt_count(), 1);
	assert_true(spin_is_locked(&lock));
	assert_spin_locked(&lock);
	raw_spin_lock_irqsave(&raw, flags);
	assert_int_equal(preempt_count(), 2);
	assert_true(irqs_disabled());
	raw_spin_unlock_irqrestore(&raw, flags);
	assert_false(irqs_disabled());
	spin_unlock(&lock);
	assert_int_equal(preempt_count(), 0);

	local_irq_save(flags);
	spin_lock_irqsave(&lock, inner);
	spin_unlock_irqrestore(&lock, inner);
	assert_true(irqs_disabled());			/* as it was before */
	local_irq_restore(flags);

	spin_lock_bh(&lock);
	assert_true(in_softirq());
	spin_unlock_bh(&lock);
	assert_false(in_softirq());
}

static void trylock_fails_on_a_held_lock_and_changes_nothing(void **state)
{
	struct model m = { .count = 0 };
	unsigned long flags;

	(void)state;
	spin_lock_init(&m.lock);
	spin_lock(&m.lock);
	assert_int_equal(spin_trylock(&m.lock), 0);
	assert_int_equal(preempt_count(), 1);
	assert_int_equal(spin_trylock_irqsave(&m.lock, flags), 0);
	assert_false(irqs_disabled());
	assert_int_equal(spin_trylock_irq(&m.lock), 0);
	assert_false(irqs_disabled());
	assert_int_equal(spin_trylock_bh(&m.lock), 0);
	assert_int_equal(preempt_count(), 1);
	spin_unlock(&m.lock);
	assert_int_equal(spin_trylock_irqsave(&m.lock, flags), 1);
	assert_true(irqs_disabled());
	spin_unlock_irqrestore(&m.lock, flags);
	assert_int_equal(preempt_count(), 0);
}

static long read_or_write(void *arg)
{
	struct model *m = arg;
	unsigned int readers;

	for (unsigned int i = 0; i < NR_ROUNDS; i++) {
		if ((i + fiber_self()->id) % 4 == 0) {
			write_lock(&m->rwlock);
			m->writers++;
			if (m->writers != 1 || m->readers)
				return -1;
			slow_increment(m);
			m->writers--;
			write_unlock(&m->rwlock);
			continue;
		}
		read_lock(&m->rwlock);
		__atomic_fetch_add(&m->readers, 1, __ATOMIC_RELAXED);
		if (m->writers)
			return -2;
		hw_safepoint();
		readers = READ_ONCE(m->readers);
		if (readers > READ_ONCE(m->most_readers))
			WRITE_ONCE(m->most_readers, readers);
		__atomic_fetch_sub(&m->readers, 1, __ATOMIC_RELAXED);
		read_unlock(&m->rwlock);
	}
	return 0;
}

static void an_rwlock_lets_readers_share_and_writers_alone(void **state)
{
	struct model m = { .count = 0 };

	(void)state;
	rwlock_init(&m.rwlock);
	run_on_all(read_or_write, &m);
	assert_int_equal(m.count, NR_FIBERS * NR_ROUNDS / 4);
	assert_int_equal(m.rwlock.value, 0);
	/* How many really meet is the host's business in parallel mode. */
	if (machine_nr_cpus(this_machine()) > 1 &&
	    machine_config(this_machine())->mode == MACHINE_DETERMINISTIC)
		assert_true(m.most_readers > 1);
}

static void a_reader_may_read_again(void **state)
{
	DEFINE_RWLOCK(lock);
	unsigned long flags;

	(void)state;
	read_lock(&lock);
	read_lock(&lock);
	assert_int_equal(write_trylock(&lock), 0);
	assert_int_equal(read_trylock(&lock), 1);
	read_unlock(&lock);
	read_unlock(&lock);
	read_unlock(&lock);
	assert_int_equal(write_trylock(&lock), 1);
	assert_int_equal(read_trylock(&lock), 0);
	write_unlock(&lock);
	write_lock_irqsave(&lock, flags);
	assert_true(irqs_disabled());
	write_unlock_irqrestore(&lock, flags);
	read_lock_bh(&lock);
	read_unlock_bh(&lock);
	write_lock_irq(&lock);
	write_unlock_irq(&lock);
	assert_int_equal(preempt_count(), 0);
	assert_false(irqs_disabled());
}

static long lock_twice(void *arg)
{
	spin_lock((spinlock_t *)arg);
	spin_lock((spinlock_t *)arg);
	return 0;
}

static long write_twice(void *arg)
{
	write_lock((rwlock_t *)arg);
	write_lock((rwlock_t *)arg);
	return 0;
}

static void waiting_for_oneself_is_a_bug(void **state)
{
	DEFINE_SPINLOCK(lock);
	DEFINE_RWLOCK(rwlock);

	(void)state;
	expect_bug(lock_twice, &lock, "deadlock");
	expect_bug(write_twice, &rwlock, "deadlock");
}

#ifdef KARC_DEBUG

static long unlock_it(void *arg)
{
	spin_unlock((spinlock_t *)arg);
	return 0;
}

static long hold_for_a_while(void *arg)
{
	spin_lock((spinlock_t *)arg);
	while (!READ_ONCE(((u32 *)arg)[-1]))
		cpu_relax();
	spin_unlock((spinlock_t *)arg);
	return 0;
}

static void unlocking_what_one_does_not_hold_is_a_bug(void **state)
{
	struct { u64 pad; u32 pad2; u32 stop; spinlock_t lock; } s = { .stop = 0 };
	struct machine_result r;
	struct fiber *f;

	(void)state;
	expect_bug(unlock_it, &s.lock, "nobody holds");
	if (machine_nr_cpus(this_machine()) == 1)
		return;
	f = fiber_spawn(1, "holder", hold_for_a_while, &s.lock);
	while (!spin_is_locked(&s.lock))
		cpu_relax();
	expect_bug(unlock_it, &s.lock, "that CPU 1 took at");
	WRITE_ONCE(s.stop, 1);
	fiber_join(f, &r);
	assert_int_equal(r.end, MACHINE_VALUE);
}

static long unread_it(void *arg)
{
	read_unlock((rwlock_t *)arg);
	return 0;
}

static long unwrite_it(void *arg)
{
	write_unlock((rwlock_t *)arg);
	return 0;
}

static void a_self_deadlock_names_both_sites(void **state)
{
	DEFINE_SPINLOCK(lock);

	(void)state;
	expect_bug(lock_twice, &lock, "takes unranked lock outside the arena (test_spinlock.c");
	assert_true(fixture_log_contains("holds it as unranked lock outside the arena (test_sp"));
}

static void ending_what_was_not_begun_is_a_bug(void **state)
{
	DEFINE_RWLOCK(lock);

	(void)state;
	expect_bug(unread_it, &lock, "no reader");
	expect_bug(unwrite_it, &lock, "does not hold");
}

#endif

static long sleep_with_lock(void *arg)
{
	spin_lock((spinlock_t *)arg);
	might_sleep();
	spin_unlock((spinlock_t *)arg);
	return 0;
}

static void sleeping_with_a_spinlock_is_reported(void **state)
{
	DEFINE_SPINLOCK(lock);

	(void)state;
	fiber_join(fiber_spawn(0, "sleeper", sleep_with_lock, &lock), NULL);
	expect_warn("sleeping function called");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(each_form_excludes),
		KARC_TESTS(holding_keeps_preemption_off),
		KARC_TESTS(trylock_fails_on_a_held_lock_and_changes_nothing),
		KARC_TESTS(an_rwlock_lets_readers_share_and_writers_alone),
		KARC_TESTS(a_reader_may_read_again),
		KARC_TESTS(waiting_for_oneself_is_a_bug),
#ifdef KARC_DEBUG
		KARC_TESTS(unlocking_what_one_does_not_hold_is_a_bug),
		KARC_TESTS(a_self_deadlock_names_both_sites),
		KARC_TESTS(ending_what_was_not_begun_is_a_bug),
#endif
		KARC_TESTS(sleeping_with_a_spinlock_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
