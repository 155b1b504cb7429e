/* SPDX-License-Identifier: MIT */
/*
 * Goal: a CPU that nobody plays holds nobody up: calls, broadcasts, interrupts and grace periods
 * go on without it, and it misses nothing when it is back. Method: tasks that block in the host's
 * read() after cpu_leave() until the test lets them go; counters say where work was done.
 */
#include "fixture.h"

#include <string.h>
#include <unistd.h>

#include <karc/base/bug.h>
#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/ipi.h>
#include <karc/hw/irq.h>
#include <karc/hw/spinlock.h>

#include "hw/internal.h"

#define LINE	9

static unsigned int last_cpu(void)
{
	return num_online_cpus() - 1;
}

/* A task that is outside, blocked in read(), until somebody writes. */
struct away {
	int pipe[2];
	struct fiber *fiber;
	bool out;
	unsigned int after;		/* what it saw when it came back */
	unsigned int *watch;
};

static long goes_away(void *arg)
{
	struct away *a = arg;
	int fd = a->pipe[0];
	bool *out = &a->out;
	char byte;
	ssize_t got;

	cpu_leave();
	__atomic_store_n(out, true, __ATOMIC_RELEASE);
	got = read(fd, &byte, 1);
	cpu_enter();
	if (a->watch)
		a->after = READ_ONCE(*a->watch);
	return got;
}

static void send_away(struct away *a, unsigned int cpu)
{
	assert_int_equal(pipe(a->pipe), 0);
	a->fiber = fiber_spawn(cpu, "away", goes_away, a);
	assert_non_null(a->fiber);
	while (!__atomic_load_n(&a->out, __ATOMIC_ACQUIRE))
		cpu_relax();
}

static void bring_back(struct away *a)
{
	struct machine_result r;

	assert_int_equal(write(a->pipe[1], "x", 1), 1);
	fiber_join(a->fiber, &r);
	assert_int_equal(r.value, 1);
	close(a->pipe[0]);
	close(a->pipe[1]);
}

/* ---- in both modes ---- */

static long leaves_and_enters(void *arg)
{
	(void)arg;
	cpu_leave();
	if (this_cpu() || this_machine())
		return -1;
	cpu_enter();
	return smp_processor_id();
}

static void leaving_and_entering_keeps_the_cpu(void **state)
{
	struct machine_result r;

	(void)state;
	for (unsigned int cpu = 0; cpu < num_online_cpus(); cpu++) {
		fiber_join(fiber_spawn(cpu, "leaver", leaves_and_enters, NULL), &r);
		assert_int_equal(r.value, cpu);
	}
}

static long leaves_twice(void *arg)
{
	(void)arg;
	cpu_enter();
	return 0;
}

static long leaves_with_preemption_off(void *arg)
{
	(void)arg;
	preempt_disable();
	cpu_leave();
	return 0;
}

static long leaves_with_interrupts_off(void *arg)
{
	(void)arg;
	local_irq_disable();
	cpu_leave();
	return 0;
}

static long leaves_with_a_lock(void *arg)
{
	spin_lock((spinlock_t *)arg);
	cpu_leave();
	return 0;
}

static irqreturn_t leaves_in_an_interrupt(int irq, void *dev)
{
	(void)irq;
	(void)dev;
	cpu_leave();
	return IRQ_HANDLED;
}

static long is_interrupted(void *arg)
{
	irq_raise(this_machine(), smp_processor_id(), LINE);
	hw_safepoint();
	return (long)arg;
}

static void leaving_at_the_wrong_place_is_a_bug_that_says_so(void **state)
{
	DEFINE_SPINLOCK(lock);

	(void)state;
	expect_bug(leaves_twice, NULL, "cpu_enter: this thread has not left its CPU");
	expect_bug(leaves_with_preemption_off, NULL, "cpu_leave: call in atomic context");
	expect_bug(leaves_with_interrupts_off, NULL, "interrupts off");
	expect_bug(leaves_with_a_lock, &lock, "cpu_leave: call in atomic context");
	assert_int_equal(request_irq(LINE, leaves_in_an_interrupt, 0, "bad", NULL), 0);
	expect_bug(is_interrupted, NULL, "cpu_leave");
	free_irq(LINE, NULL);
}

/* ---- others go on ---- */

static unsigned int calls_on[MACHINE_MAX_CPUS];

static void counts(void *info)
{
	(void)info;
	__atomic_fetch_add(&calls_on[smp_processor_id()], 1, __ATOMIC_RELAXED);
}

static void a_cpu_outside_holds_up_no_call_and_no_broadcast(void **state)
{
	struct away a = { .watch = &calls_on[last_cpu()] };

	(void)state;
	memset(calls_on, 0, sizeof(calls_on));
	send_away(&a, last_cpu());
	for (int i = 0; i < 100; i++)
		on_each_cpu(counts, NULL, 1);		/* what drain_all_pages() does */
	for (unsigned int cpu = 0; cpu < num_online_cpus(); cpu++)
		assert_int_equal(READ_ONCE(calls_on[cpu]), 100);
	assert_int_equal(smp_call_function_single((int)last_cpu(), counts, NULL, 1), 0);
	bring_back(&a);
	assert_int_equal(a.after, 101);
}

static void a_call_nobody_waits_for_runs_although_its_cpu_is_outside(void **state)
{
	struct away a = { .watch = NULL };

	(void)state;
	memset(calls_on, 0, sizeof(calls_on));
	send_away(&a, last_cpu());
	for (int i = 0; i < 20; i++)
		smp_call_function_single((int)last_cpu(), counts, NULL, 0);
	while (READ_ONCE(calls_on[last_cpu()]) < 20)
		cpu_relax();
	bring_back(&a);
}

static void a_cpu_outside_is_quiescent(void **state)
{
	struct cpu *last = machine_cpu(this_machine(), last_cpu());
	struct away a = { .watch = NULL };
	u64 count;

	(void)state;
	send_away(&a, last_cpu());
	count = cpu_quiescent_count(last);
	while (!cpu_is_quiescent(last, count))
		cpu_relax();
	assert_false(cpu_is_idle(last));
	bring_back(&a);
}

static irqreturn_t counts_interrupts(int irq, void *dev)
{
	(void)irq;
	__atomic_fetch_add((unsigned int *)dev, 1, __ATOMIC_RELAXED);
	raise_softirq(TASKLET_SOFTIRQ);
	return IRQ_HANDLED;
}

static unsigned int softirqs_on[MACHINE_MAX_CPUS];

static void counts_softirqs(struct softirq_action *action)
{
	(void)action;
	__atomic_fetch_add(&softirqs_on[smp_processor_id()], 1, __ATOMIC_RELAXED);
}

static void interrupts_and_softirqs_of_a_cpu_outside_are_run_for_it(void **state)
{
	unsigned int interrupts = 0;
	struct away a = { .watch = NULL };

	(void)state;
	memset(softirqs_on, 0, sizeof(softirqs_on));
	open_softirq(TASKLET_SOFTIRQ, counts_softirqs);
	assert_int_equal(request_irq(LINE, counts_interrupts, 0, "dev", &interrupts), 0);
	send_away(&a, last_cpu());
	irq_raise(this_machine(), last_cpu(), LINE);
	while (!READ_ONCE(softirqs_on[last_cpu()]))
		cpu_relax();
	assert_int_equal(READ_ONCE(interrupts), 1);
	bring_back(&a);
	free_irq(LINE, &interrupts);
	open_softirq(TASKLET_SOFTIRQ, NULL);
}

struct alarm {
	struct hw_timer timer;
	unsigned int cpu;
	bool fired;
};

static void alarm_fires(struct hw_timer *timer)
{
	struct alarm *alarm = container_of(timer, struct alarm, timer);

	alarm->cpu = smp_processor_id();
	__atomic_store_n(&alarm->fired, true, __ATOMIC_RELEASE);
}

static long sets_alarm(void *arg)
{
	struct alarm *alarm = arg;

	hw_timer_init(&alarm->timer, alarm_fires);
	hw_timer_start(&alarm->timer, ktime_get_ns() + 2 * NSEC_PER_MSEC);
	return 0;
}

static void timers_of_a_cpu_outside_fire(void **state)
{
	struct alarm alarm = { .fired = false };
	struct away a = { .watch = NULL };

	(void)state;
	fiber_join(fiber_spawn(last_cpu(), "setter", sets_alarm, &alarm), NULL);
	send_away(&a, last_cpu());
	while (!__atomic_load_n(&alarm.fired, __ATOMIC_ACQUIRE))
		cpu_relax();
	assert_int_equal(alarm.cpu, last_cpu());
	bring_back(&a);
	hw_timer_cancel_sync(&alarm.timer);
}

static void a_bug_in_what_runs_for_a_cpu_outside_ends_that_alone(void *info)
{
	BUG_ON(info);
}

static void body_bad_call(void)
{
	struct away a = { .watch = NULL };

	send_away(&a, last_cpu());
	for (int i = 0; i < 3; i++)
		smp_call_function_single((int)last_cpu(),
					 a_bug_in_what_runs_for_a_cpu_outside_ends_that_alone, &a,
					 1);
	bring_back(&a);
	fiber_join(fiber_spawn(last_cpu(), "after", leaves_and_enters, NULL), NULL);
}

static void a_bug_in_a_claim_ends_neither_sender_nor_target(void **state)
{
	struct fixture_verdict v = fixture_run_parallel(4, body_bad_call);

	(void)state;
	assert_int_equal(v.end, MACHINE_VALUE);
	assert_int_equal(v.nr_bugs, 3);
	assert_int_equal(v.nr_failures, 0);
	assert_int_equal(v.nr_left, 0);
}

/* ---- many at once ---- */

struct storm_state {
	bool stop;
	unsigned long left;
};

static long comes_and_goes(void *arg)
{
	struct storm_state *s = arg;

	while (!READ_ONCE(s->stop)) {
		cpu_leave();
		usleep(50);
		cpu_enter();
		__atomic_fetch_add(&s->left, 1, __ATOMIC_RELAXED);
		cond_resched();
	}
	return 0;
}

static long broadcasts(void *arg)
{
	(void)arg;
	for (int i = 0; i < 200; i++) {
		on_each_cpu(counts, NULL, 1);
		if (i % 16 == 0)
			msleep(1);
	}
	return 0;
}

static void everybody_broadcasts_while_everybody_comes_and_goes(void **state)
{
	struct storm_state s = { .stop = false };
	struct fiber *leavers[8], *callers[8];
	unsigned int n = num_online_cpus();

	(void)state;
	memset(calls_on, 0, sizeof(calls_on));
	for (unsigned int i = 0; i < n; i++) {
		leavers[i] = fiber_spawn(i, "leaver", comes_and_goes, &s);
		callers[i] = fiber_spawn(i, "caller", broadcasts, NULL);
	}
	for (unsigned int i = 0; i < n; i++)
		fiber_join(callers[i], NULL);
	WRITE_ONCE(s.stop, true);
	for (unsigned int i = 0; i < n; i++)
		fiber_join(leavers[i], NULL);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(READ_ONCE(calls_on[i]), 200 * n);
	assert_true(s.left > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(leaving_and_entering_keeps_the_cpu),
		KARC_TESTS(leaving_at_the_wrong_place_is_a_bug_that_says_so),
		/* From here on somebody must go on while one host thread is blocked. */
		karc_unit_test_cpus_parallel(a_cpu_outside_holds_up_no_call_and_no_broadcast, 4),
		karc_unit_test_cpus_parallel(a_cpu_outside_holds_up_no_call_and_no_broadcast, 8),
		karc_unit_test_cpus_parallel(
			a_call_nobody_waits_for_runs_although_its_cpu_is_outside, 4),
		karc_unit_test_cpus_parallel(a_cpu_outside_is_quiescent, 4),
		karc_unit_test_cpus_parallel(
			interrupts_and_softirqs_of_a_cpu_outside_are_run_for_it, 4),
		karc_unit_test_cpus_parallel(timers_of_a_cpu_outside_fire, 4),
		cmocka_unit_test(a_bug_in_a_claim_ends_neither_sender_nor_target),
		KARC_TESTS_PARALLEL(everybody_broadcasts_while_everybody_comes_and_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
