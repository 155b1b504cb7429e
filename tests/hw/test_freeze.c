/* SPDX-License-Identifier: MIT */
/*
 * Goal: between machine_freeze() and machine_thaw() nothing else moves, and afterwards all goes on.
 * Method: fibers on all CPUs count; the one that froze them sees numbers that stand still, and
 * pairs that are changed without a lock between safe points that always agree.
 */
#include "fixture.h"

#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/hw/freeze.h>
#include <karc/hw/ipi.h>
#include <karc/hw/spinlock.h>
#include <unistd.h>

#define WORKERS	8

struct world {
	struct { u64 a, b; } pair[WORKERS];	/* each changed by one fiber; read by who froze */
	u32 next;
	bool stop;				/* atomic */
	spinlock_t lock;
	u64 nr_locked;				/* under the lock */
};

static long worker(void *arg)
{
	struct world *w = arg;
	u32 i = __atomic_fetch_add(&w->next, 1, __ATOMIC_RELAXED);

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		w->pair[i].a++;
		w->pair[i].b++;
		hw_safepoint();
		spin_lock(&w->lock);
		w->nr_locked++;
		spin_unlock(&w->lock);
		if (w->pair[i].a % 64 == 0)
			fiber_yield();
	}
	return 0;
}

static void spawn(struct fiber **fibers, unsigned int nr, long (*fn)(void *arg), void *arg)
{
	for (unsigned int i = 0; i < nr; i++) {
		fibers[i] = fiber_spawn(i % machine_nr_cpus(this_machine()), "worker", fn, arg);
		assert_non_null(fibers[i]);
	}
}

static void join(struct fiber **fibers, unsigned int nr)
{
	struct machine_result r;

	for (unsigned int i = 0; i < nr; i++) {
		fiber_join(fibers[i], &r);
		assert_int_equal(r.end, MACHINE_VALUE);
		assert_int_equal(r.value, 0);
	}
}

static u64 sum(const struct world *w)
{
	u64 all = 0;

	for (unsigned int i = 0; i < WORKERS; i++)
		all += w->pair[i].a;
	return all;
}

/* Looks several times while everything stands still; 0 when it does. */
static long look(const struct world *w)
{
	u64 before = sum(w);

	for (unsigned int i = 0; i < 50; i++) {
		hw_safepoint();			/* passes over it */
		if (sum(w) != before)
			return 1;
	}
	for (unsigned int i = 0; i < WORKERS; i++)
		if (w->pair[i].a != w->pair[i].b)
			return 2;
	return 0;
}

static void nothing_moves_in_a_frozen_machine(void **state)
{
	struct world w = { .next = 0 };
	struct fiber *fibers[WORKERS];

	(void)state;
	spawn(fibers, WORKERS, worker, &w);
	for (unsigned int i = 0; i < 20; i++) {
		assert_true(machine_freeze());
		assert_false(preemptible());
		assert_int_equal(look(&w), 0);
		machine_thaw();
		assert_true(preemptible());
		fiber_yield();
	}
	__atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
	join(fibers, WORKERS);
}

static long freezer(void *arg)
{
	long wrong = 0;

	for (unsigned int i = 0; i < 10 && !wrong; i++) {
		if (!machine_freeze())
			return 3;
		wrong = look(arg);
		machine_thaw();
		cond_resched();
	}
	return wrong;
}

static void several_may_freeze(void **state)
{
	struct world w = { .next = 0 };
	struct fiber *fibers[WORKERS], *freezers[4];

	(void)state;
	spawn(fibers, WORKERS, worker, &w);
	spawn(freezers, 4, freezer, &w);
	join(freezers, 4);
	__atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
	join(fibers, WORKERS);
}

/* Between two looks at a machine that is frozen twice everybody has moved on. */
static void others_go_on_when_they_are_given_turns(void **state)
{
	struct world w = { .next = 0 };
	struct fiber *fibers[WORKERS];
	u64 before;

	(void)state;
	spawn(fibers, WORKERS, worker, &w);
	for (unsigned int i = 0; i < 20; i++) {
		assert_true(machine_freeze());
		before = sum(&w);
		machine_thaw();
		machine_give_turns(16);
		assert_true(machine_freeze());
		assert_true(sum(&w) > before);
		machine_thaw();
	}
	__atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
	join(fibers, WORKERS);
}

static void count_call(void *arg)
{
	__atomic_fetch_add((u32 *)arg, 1, __ATOMIC_RELAXED);
}

static void cross_cpu_calls_and_timers_go_on_afterwards(void **state)
{
	u32 calls = 0;

	(void)state;
	for (unsigned int i = 0; i < 10; i++) {
		assert_true(machine_freeze());
		machine_thaw();
		on_each_cpu(count_call, &calls, 1);
	}
	assert_int_equal(calls, 10 * machine_nr_cpus(this_machine()));
	fiber_prepare();
	assert_int_equal(fiber_block_timeout(SITE(), 1000000), 0);
}

struct outside {
	bool there, back;
};

/* Host code without a safe point, for longer than anybody waits. */
static long host_code(void *arg)
{
	struct outside *o = arg;

	__atomic_store_n(&o->there, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&o->back, __ATOMIC_ACQUIRE))
		usleep(1000);
	return 0;
}

static void cpu_in_host_code_cannot_be_frozen(void **state)
{
	struct outside o = { false, false };
	struct fiber *fiber = fiber_spawn(1, "host code", host_code, &o);

	(void)state;
	while (!__atomic_load_n(&o.there, __ATOMIC_ACQUIRE))
		cpu_relax();
	assert_false(machine_freeze());
	assert_true(preemptible());
	__atomic_store_n(&o.back, true, __ATOMIC_RELEASE);
	join(&fiber, 1);
	assert_true(machine_freeze());
	machine_thaw();
}

static long outside_karc(void *arg)
{
	struct outside *o = arg;

	cpu_leave();
	__atomic_store_n(&o->there, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&o->back, __ATOMIC_ACQUIRE))
		usleep(1000);
	cpu_enter();
	return 0;
}

static void cpu_that_was_left_stays_outside_while_frozen(void **state)
{
	struct outside o = { false, false };
	struct fiber *fiber = fiber_spawn(1, "outside", outside_karc, &o);

	(void)state;
	while (!__atomic_load_n(&o.there, __ATOMIC_ACQUIRE))
		cpu_relax();
	assert_true(machine_freeze());
	__atomic_store_n(&o.back, true, __ATOMIC_RELEASE);
	machine_thaw();
	join(&fiber, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(nothing_moves_in_a_frozen_machine),
		KARC_TESTS(several_may_freeze),
		KARC_TESTS(others_go_on_when_they_are_given_turns),
		KARC_TESTS(cross_cpu_calls_and_timers_go_on_afterwards),
		karc_unit_test_cpus_parallel(cpu_in_host_code_cannot_be_frozen, 2),
		karc_unit_test_cpus_parallel(cpu_that_was_left_stays_outside_while_frozen, 2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
