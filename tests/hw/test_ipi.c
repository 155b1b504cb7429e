/* SPDX-License-Identifier: MIT */
/*
 * Goal: a cross-CPU call runs where it should, once, and is over when the sender was promised
 * so; senders never wait in a circle. Method: counters per CPU; targets that are idle, busy, have
 * interrupts off, or call back.
 */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/hw/ipi.h>

struct calls {
	unsigned int on[MACHINE_MAX_CPUS];
	unsigned int not_hardirq;
	unsigned int irqs_on;
};

static void count_call(void *info)
{
	struct calls *c = info;

	__atomic_fetch_add(&c->on[smp_processor_id()], 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&c->not_hardirq, !in_hardirq(), __ATOMIC_RELAXED);
	__atomic_fetch_add(&c->irqs_on, !irqs_disabled(), __ATOMIC_RELAXED);
}

static unsigned int last_cpu(void)
{
	return num_online_cpus() - 1;
}

static void a_single_call_runs_on_the_named_cpu(void **state)
{
	unsigned int n = num_online_cpus();
	struct calls c;

	(void)state;
	for (unsigned int cpu = 0; cpu < n; cpu++) {
		memset(&c, 0, sizeof(c));
		assert_int_equal(smp_call_function_single((int)cpu, count_call, &c, 1), 0);
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(c.on[i], i == cpu);
		assert_int_equal(c.not_hardirq, cpu == 0);	/* here it is a plain call */
		assert_int_equal(c.irqs_on, 0);
	}
	assert_int_equal(smp_call_function_single((int)n, count_call, &c, 1), -ENXIO);
	assert_int_equal(smp_call_function_single(-1, count_call, &c, 1), -ENXIO);
	assert_true(preemptible());
}

static void on_each_cpu_runs_once_on_each(void **state)
{
	struct calls c = { .not_hardirq = 0 };

	(void)state;
	on_each_cpu(count_call, &c, 1);
	for (unsigned int i = 0; i < num_online_cpus(); i++)
		assert_int_equal(c.on[i], 1);
	smp_call_function(count_call, &c, 1);
	for (unsigned int i = 0; i < num_online_cpus(); i++)
		assert_int_equal(c.on[i], i ? 2 : 1);
}

static void a_mask_says_who_is_called(void **state)
{
	struct calls c = { .not_hardirq = 0 };
	cpumask_t mask = CPU_MASK_NONE;

	(void)state;
	cpumask_set_cpu(0, &mask);
	cpumask_set_cpu(2, &mask);
	cpumask_set_cpu(63, &mask);	/* not there: nobody */
	preempt_disable();
	smp_call_function_many(&mask, count_call, &c, true);
	preempt_enable();
	assert_int_equal(c.on[0] + c.on[1] + c.on[3], 0);
	assert_int_equal(c.on[2], 1);
	on_each_cpu_mask(&mask, count_call, &c, true);
	assert_int_equal(c.on[0], 1);
	assert_int_equal(c.on[2], 2);
}

static void a_call_that_is_not_waited_for_runs_later(void **state)
{
	struct calls c = { .not_hardirq = 0 };

	(void)state;
	for (int i = 0; i < 50; i++)
		assert_int_equal(smp_call_function_single((int)last_cpu(), count_call, &c, 0), 0);
	while (READ_ONCE(c.on[last_cpu()]) < 50)
		cpu_relax();
	assert_int_equal(READ_ONCE(c.on[last_cpu()]), 50);
	if (last_cpu())
		assert_int_equal(ipi_count(machine_cpu(this_machine(), last_cpu())), 50);
}

struct masked {
	struct calls calls;
	bool off, may_enable, saw_early;
};

static long has_interrupts_off(void *arg)
{
	struct masked *t = arg;

	local_irq_disable();
	WRITE_ONCE(t->off, true);
	while (!READ_ONCE(t->may_enable))
		cpu_relax();
	t->saw_early = READ_ONCE(t->calls.on[smp_processor_id()]) != 0;
	local_irq_enable();
	return 0;
}

static void a_target_with_interrupts_off_is_waited_for(void **state)
{
	struct masked t = { .off = false };
	struct fiber *f = fiber_spawn(1, "masked", has_interrupts_off, &t);

	(void)state;
	while (!READ_ONCE(t.off))
		cpu_relax();
	assert_int_equal(smp_call_function_single(1, count_call, &t.calls, 0), 0);
	for (int i = 0; i < 1000; i++)
		hw_safepoint();
	assert_int_equal(READ_ONCE(t.calls.on[1]), 0);
	WRITE_ONCE(t.may_enable, true);
	smp_call_function_single(1, count_call, &t.calls, 1);
	assert_int_equal(t.calls.on[1], 2);
	assert_false(t.saw_early);
	fiber_join(f, NULL);
}

static long calls_everybody(void *arg)
{
	for (int i = 0; i < 100; i++)
		on_each_cpu(count_call, arg, 1);
	return 0;
}

static void all_cpus_calling_all_cpus_get_through(void **state)
{
	unsigned int n = num_online_cpus();
	struct calls c = { .not_hardirq = 0 };
	struct fiber *f[8];

	(void)state;
	for (unsigned int i = 0; i < n; i++)
		f[i] = fiber_spawn(i, "caller", calls_everybody, &c);
	for (unsigned int i = 0; i < n; i++)
		fiber_join(f[i], NULL);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(c.on[i], 100 * n);
}

static long calls_with_interrupts_off(void *arg)
{
	unsigned int other = smp_processor_id() ^ 1;
	unsigned long flags;

	local_irq_save(flags);
	smp_call_function_single((int)other, count_call, arg, 1);
	local_irq_restore(flags);
	return 0;
}

static void two_cpus_calling_each_other_with_interrupts_off_warn_and_get_through(void **state)
{
	struct calls c = { .not_hardirq = 0 };
	struct fiber *a = fiber_spawn(0, "a", calls_with_interrupts_off, &c);
	struct fiber *b = fiber_spawn(1, "b", calls_with_interrupts_off, &c);

	(void)state;
	fiber_join(a, NULL);
	fiber_join(b, NULL);
	assert_int_equal(c.on[0], 1);
	assert_int_equal(c.on[1], 1);
	expect_warn("irqs_disabled()");
}

static void a_bad_call(void *info)
{
	BUG_ON(info);
}

static long calls_badly(void *arg)
{
	return smp_call_function_single(1, a_bad_call, arg, 1);
}

static void body_bad_call(void)
{
	assert_int_equal(calls_badly((void *)1), 0);
	assert_int_equal(calls_badly(NULL), 0);
}

static void a_sender_survives_a_bug_of_what_it_sent(void **state)
{
	struct fixture_verdict v = fixture_run(2, body_bad_call);

	(void)state;
	assert_int_equal(v.end, MACHINE_VALUE);
	assert_int_equal(v.nr_bugs, 1);
	assert_int_equal(v.nr_failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_single_call_runs_on_the_named_cpu),
		KARC_TESTS(on_each_cpu_runs_once_on_each),
		karc_unit_test_cpus(on_each_cpu_runs_once_on_each, 64),
		karc_unit_test_cpus(a_mask_says_who_is_called, 4),
		KARC_TESTS(a_call_that_is_not_waited_for_runs_later),
		karc_unit_test_cpus(a_target_with_interrupts_off_is_waited_for, 4),
		KARC_TESTS(all_cpus_calling_all_cpus_get_through),
		karc_unit_test_cpus(
			two_cpus_calling_each_other_with_interrupts_off_warn_and_get_through, 2),
		cmocka_unit_test(a_sender_survives_a_bug_of_what_it_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
