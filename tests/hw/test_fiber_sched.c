/* SPDX-License-Identifier: MIT */
/*
 * Goal: who runs when: switching, blocking, waking, quiescent states.
 * Method: fibers that count turns and look at who else ran, under the machine's seed.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/context.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>

#include "hw/internal.h"

static unsigned int last_cpu(void)
{
	return num_online_cpus() - 1;
}

/* Until another CPU has done it; without end if it never does. */
#define await(condition) do { while (!(condition)) fiber_yield(); } while (0)

static long returns_arg(void *arg)
{
	return (long)arg;
}

static long increments(void *arg)
{
	__atomic_fetch_add((int *)arg, 1, __ATOMIC_RELAXED);
	return 0;
}

/* ---- blocking and waking ---- */

struct pair {
	struct fiber *waiter;
	bool ready;
	int woken;
};

static long waits_for_ready(void *arg)
{
	struct pair *p = arg;

	for (;;) {
		fiber_prepare();
		if (READ_ONCE(p->ready))
			break;
		fiber_block(SITE());
		WRITE_ONCE(p->woken, p->woken + 1);
	}
	return p->woken;
}

static void a_wake_between_prepare_and_block_is_not_lost(void **state)
{
	struct pair p = { .ready = false };

	(void)state;
	p.waiter = fiber_self();
	fiber_prepare();
	fiber_wake(p.waiter);
	fiber_block(SITE());		/* would be stuck */
	fiber_prepare();
	fiber_wake(p.waiter);
	fiber_wake(p.waiter);
	fiber_block(SITE());
}

static void a_blocked_fiber_sleeps_until_woken(void **state)
{
	struct pair p = { .ready = false };
	struct machine_result r;
	struct fiber *f = fiber_spawn(last_cpu(), "waiter", waits_for_ready, &p);

	(void)state;
	await(READ_ONCE(f->state) == FIBER_BLOCKED);
	for (int i = 0; i < 100; i++)
		fiber_yield();
	assert_int_equal(READ_ONCE(f->state), FIBER_BLOCKED);
	assert_int_equal(READ_ONCE(p.woken), 0);
	fiber_wake(f);
	await(READ_ONCE(p.woken) && READ_ONCE(f->state) == FIBER_BLOCKED);
	assert_int_equal(READ_ONCE(p.woken), 1);
	WRITE_ONCE(p.ready, true);
	fiber_wake(f);
	fiber_join(f, &r);
	assert_int_equal(r.value, 2);
}

static long blocks_for_good(void *arg)
{
	(void)arg;
	fiber_prepare();
	fiber_block(SITE());
	return 0;
}

static long blocks_in_atomic(void *arg)
{
	preempt_disable();
	return blocks_for_good(arg);
}

static long blocks_with_irqs_off(void *arg)
{
	local_irq_disable();
	return blocks_for_good(arg);
}

static void blocking_in_atomic_context_is_a_bug(void **state)
{
	(void)state;
	expect_bug(blocks_in_atomic, NULL, "scheduling while atomic");
	expect_bug(blocks_with_irqs_off, NULL, "interrupts off");
	assert_true(preemptible());
}

/* ---- switching ---- */

struct toggles {
	int turn;
	unsigned int changes;
	bool stop;
};

static long watches_turn(void *arg)
{
	struct toggles *t = arg;
	int last = -1;

	while (!READ_ONCE(t->stop)) {
		if (t->turn != last)
			t->changes++;
		last = ++t->turn;
		hw_safepoint();
	}
	return 0;
}

static void busy_fibers_are_switched_at_safe_points(void **state)
{
	struct toggles t = { .turn = 0 };
	struct fiber *a = fiber_spawn(0, "a", watches_turn, &t);
	struct fiber *b = fiber_spawn(0, "b", watches_turn, &t);

	(void)state;
	while (t.changes < 50)
		hw_safepoint();
	t.stop = true;
	fiber_join(a, NULL);
	fiber_join(b, NULL);
}

struct atomic_section {
	int inside;			/* only where another CPU may look at it */
	bool broken;
	bool other_ran;
	bool stop;
};

static long intrudes(void *arg)
{
	struct atomic_section *s = arg;

	while (!READ_ONCE(s->stop)) {
		if (READ_ONCE(s->inside))
			WRITE_ONCE(s->broken, true);
		fiber_yield();
	}
	return 0;
}

static long runs_beside(void *arg)
{
	struct atomic_section *s = arg;

	while (!READ_ONCE(s->stop)) {
		if (READ_ONCE(s->inside))
			WRITE_ONCE(s->other_ran, true);
		hw_safepoint();
	}
	return 0;
}

static void a_cpu_keeps_its_fiber_while_preemption_is_off(void **state)
{
	struct atomic_section s = { .inside = 0 };
	struct fiber *same = fiber_spawn(0, "same", intrudes, &s);
	struct fiber *beside = fiber_spawn(last_cpu(), "beside", runs_beside, &s);

	(void)state;
	for (int round = 0; round < 50; round++) {
		preempt_disable();
		WRITE_ONCE(s.inside, last_cpu() ? 1 : 0);
		for (int i = 0; i < 300; i++)
			hw_safepoint();
		while (last_cpu() && !READ_ONCE(s.other_ran))
			cpu_relax();	/* the others really are parallel */
		WRITE_ONCE(s.inside, 0);
		preempt_enable();
		fiber_yield();
	}
	WRITE_ONCE(s.stop, true);
	fiber_join(same, NULL);
	fiber_join(beside, NULL);
	assert_false(s.broken);
}

static const struct machine_config no_switching = { .switch_every = -1u };

static void without_involuntary_switches_a_fiber_runs_until_it_blocks(void **state)
{
	struct toggles t = { .turn = 0 };
	struct fiber *a = fiber_spawn(0, "a", watches_turn, &t);

	(void)state;
	for (int i = 0; i < 50000; i++)	/* shorter than a tick */
		hw_safepoint();
	assert_int_equal(t.turn, 0);
	t.stop = true;
	fiber_join(a, NULL);
}

static long relaxes_until(void *arg)
{
	while (!READ_ONCE(*(bool *)arg))
		cpu_relax();
	return 0;
}

static void cpu_relax_lets_fibers_of_the_same_cpu_run(void **state)
{
	bool flag = false;
	struct fiber *f = fiber_spawn(0, "spinner", relaxes_until, &flag);

	(void)state;
	fiber_yield();
	WRITE_ONCE(flag, true);
	fiber_join(f, NULL);
}

static long sets_flag(void *arg)
{
	WRITE_ONCE(*(bool *)arg, true);
	return 0;
}

static void a_spinner_with_preemption_off_waits_for_other_cpus(void **state)
{
	bool flag = false;
	struct fiber *f = fiber_spawn(last_cpu(), "setter", sets_flag, &flag);

	(void)state;
	preempt_disable();
	relaxes_until(&flag);
	preempt_enable();
	fiber_join(f, NULL);
}

static void cond_resched_gives_way(void **state)
{
	int n = 0;
	struct fiber *f = fiber_spawn(0, "child", increments, &n);

	(void)state;
	while (!READ_ONCE(n))
		cond_resched();
	fiber_join(f, NULL);
	resched_cpu(this_cpu());
	assert_true(need_resched());
	preempt_disable();
	hw_safepoint();
	assert_true(need_resched());
	preempt_enable();
	assert_false(need_resched());
}

/* ---- the hook, and quiescent states ---- */

struct hook_state {
	unsigned int calls;
	unsigned int wrong;
	struct fiber *last[MACHINE_MAX_CPUS];
};

static struct hook_state hooked;

static void on_switch(struct fiber *prev, struct fiber *next)
{
	unsigned int cpu = smp_processor_id();

	__atomic_fetch_add(&hooked.calls, 1, __ATOMIC_RELAXED);
	if (next != fiber_self() || !in_atomic() || prev == next)
		__atomic_fetch_add(&hooked.wrong, 1, __ATOMIC_RELAXED);
	if (hooked.last[cpu] && hooked.last[cpu] != prev)
		__atomic_fetch_add(&hooked.wrong, 1, __ATOMIC_RELAXED);
	hooked.last[cpu] = next;
	hw_safepoint();
}

static void the_hook_sees_every_switch_in_order(void **state)
{
	struct pair p = { .ready = false };
	struct fiber *f[8];
	int n = 0;

	(void)state;
	memset(&hooked, 0, sizeof(hooked));
	fiber_on_switch(this_machine(), on_switch);
	p.waiter = fiber_spawn(last_cpu(), "waiter", waits_for_ready, &p);
	for (unsigned int i = 0; i < 8; i++)
		f[i] = fiber_spawn(i % num_online_cpus(), "child", increments, &n);
	for (unsigned int i = 0; i < 8; i++)
		fiber_join(f[i], NULL);
	WRITE_ONCE(p.ready, true);
	fiber_wake(p.waiter);
	fiber_join(p.waiter, NULL);
	fiber_on_switch(this_machine(), NULL);
	assert_int_equal(READ_ONCE(hooked.wrong), 0);
	assert_true(READ_ONCE(hooked.calls) >= 9);
}

static void switches_are_counted_and_idle_is_told(void **state)
{
	struct cpu *mine = this_cpu();
	struct cpu *last = machine_cpu(this_machine(), last_cpu());
	u64 before = mine->nr_switches;

	(void)state;
	assert_false(cpu_is_idle(mine));
	fiber_join(fiber_spawn(0, "child", returns_arg, NULL), NULL);
	assert_true(mine->nr_switches >= before + 2);
	if (last != mine)
		await(cpu_is_idle(last));
}

static void checks_find_a_broken_run_queue(void **state)
{
	struct check_report report = { .quiet = true };
	struct cpu_priv *p = cpu_priv(this_cpu());

	(void)state;
	fibers_check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 0);
	WRITE_ONCE(p->nr_ready, p->nr_ready + 1);
	fibers_check(this_machine(), &report);
	WRITE_ONCE(p->nr_ready, p->nr_ready - 1);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "I5"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_wake_between_prepare_and_block_is_not_lost),
		KARC_TESTS(a_blocked_fiber_sleeps_until_woken),
		KARC_TESTS(blocking_in_atomic_context_is_a_bug),
		KARC_TESTS(busy_fibers_are_switched_at_safe_points),
		KARC_TESTS(a_cpu_keeps_its_fiber_while_preemption_is_off),
		/* A real tick comes when it comes. */
		karc_unit_test_config_deterministic(
			without_involuntary_switches_a_fiber_runs_until_it_blocks, 1,
			&no_switching),
		KARC_TESTS(cpu_relax_lets_fibers_of_the_same_cpu_run),
		karc_unit_test_cpus(a_spinner_with_preemption_off_waits_for_other_cpus, 4),
		KARC_TESTS(cond_resched_gives_way),
		KARC_TESTS(the_hook_sees_every_switch_in_order),
		KARC_TESTS(switches_are_counted_and_idle_is_told),
		KARC_TESTS(checks_find_a_broken_run_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
