/* SPDX-License-Identifier: MIT */
/*
 * Goal: the context predicates say what is true in each context, and might_sleep() names who
 * sleeps where it must not. Method: look from a task, a hardirq, a softirq, and inside each kind
 * of section.
 */
#include "fixture.h"

#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>

static void a_task_begins_preemptible(void **state)
{
	(void)state;
	assert_int_equal(preempt_count(), 0);
	assert_true(preemptible());
	assert_true(in_task());
	assert_false(in_interrupt());
	assert_false(in_atomic());
	assert_false(irqs_disabled());
}

static void preempt_disable_nests(void **state)
{
	(void)state;
	preempt_disable();
	preempt_disable();
	assert_true(in_atomic());
	preempt_enable();
	assert_true(in_atomic());
	assert_true(in_task());
	assert_false(in_interrupt());
	preempt_enable();
	assert_false(in_atomic());
	assert_int_equal(get_cpu(), smp_processor_id());
	assert_true(in_atomic());
	put_cpu();
	assert_true(preemptible());
}

static void local_bh_disable_is_softirq_but_serves_none(void **state)
{
	(void)state;
	local_bh_disable();
	assert_true(in_softirq());
	assert_true(in_interrupt());
	assert_false(in_serving_softirq());
	assert_true(in_task());
	local_bh_enable();
	assert_false(in_softirq());
}

struct seen {
	bool hardirq, softirq_serving, interrupt, irqs_off, task;
	unsigned int times;
};

static void look(struct seen *s)
{
	s->hardirq = in_hardirq();
	s->softirq_serving = in_serving_softirq();
	s->interrupt = in_interrupt();
	s->irqs_off = irqs_disabled();
	s->task = in_task();
	s->times++;
}

static irqreturn_t look_from_irq(int irq, void *dev)
{
	(void)irq;
	look(dev);
	return IRQ_HANDLED;
}

static struct seen softirq_seen;

static void look_from_softirq(struct softirq_action *action)
{
	(void)action;
	look(&softirq_seen);
}

static void a_hardirq_sees_itself(void **state)
{
	struct seen s = { .times = 0 };

	(void)state;
	assert_int_equal(request_irq(1, look_from_irq, 0, "look", &s), 0);
	irq_raise(this_machine(), 0, 1);
	hw_safepoint();
	free_irq(1, &s);
	assert_int_equal(s.times, 1);
	assert_true(s.hardirq && s.interrupt && s.irqs_off);
	assert_false(s.softirq_serving || s.task);
	assert_true(preemptible());
}

static void a_softirq_sees_itself(void **state)
{
	(void)state;
	softirq_seen = (struct seen){ .times = 0 };
	open_softirq(TASKLET_SOFTIRQ, look_from_softirq);
	raise_softirq(TASKLET_SOFTIRQ);
	hw_safepoint();
	open_softirq(TASKLET_SOFTIRQ, NULL);
	assert_int_equal(softirq_seen.times, 1);
	assert_true(softirq_seen.softirq_serving && softirq_seen.interrupt);
	assert_false(softirq_seen.hardirq || softirq_seen.irqs_off || softirq_seen.task);
}

static void might_sleep_is_silent_in_a_task(void **state)
{
	(void)state;
	might_sleep();
	might_sleep_if(false);
	expect_no_warn();
}

static void might_sleep_names_the_caller_in_atomic_context(void **state)
{
	unsigned long flags;

	(void)state;
	preempt_disable();
	might_sleep();
	preempt_enable();
	expect_warn("BUG: sleeping function called from invalid context at "
		    "tests/hw/test_context.c");
	local_irq_save(flags);
	might_sleep_if(true);
	local_irq_restore(flags);
	expect_warn("in_atomic(): 0, irqs_disabled(): 1");
	local_bh_disable();
	might_sleep();
	local_bh_enable();
	expect_warn("might_sleep_names_the_caller_in_atomic_context");
	preempt_disable();
	might_sleep_if(false);
	preempt_enable();
	expect_no_warn();
}

static irqreturn_t sleeps_in_irq(int irq, void *dev)
{
	(void)irq;
	(void)dev;
	might_sleep();
	return IRQ_HANDLED;
}

static void might_sleep_in_an_interrupt_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(request_irq(1, sleeps_in_irq, 0, "sleeps", NULL), 0);
	irq_raise(this_machine(), 0, 1);
	hw_safepoint();
	free_irq(1, NULL);
	expect_warn("in hardirq");
}

static void migrate_enable_without_disable_warns(void **state)
{
	(void)state;
	migrate_disable();
	migrate_enable();
	expect_no_warn();
	migrate_enable();
	expect_warn("migrate_disabled");
}

static long fields_overflow(void *arg)
{
	(void)arg;
	preempt_disable();
	preempt_count_add(HARDIRQ_OFFSET);
	return in_hardirq() ? 0 : 1;
}

static void an_unbalanced_count_does_not_outlive_its_task(void **state)
{
	(void)state;
	expect_bug(fields_overflow, NULL, "preempt_count 0x10001");
	assert_int_equal(preempt_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_task_begins_preemptible),
		KARC_TESTS(preempt_disable_nests),
		KARC_TESTS(local_bh_disable_is_softirq_but_serves_none),
		KARC_TESTS(a_hardirq_sees_itself),
		KARC_TESTS(a_softirq_sees_itself),
		KARC_TESTS(might_sleep_is_silent_in_a_task),
		KARC_TESTS(might_sleep_names_the_caller_in_atomic_context),
		KARC_TESTS(might_sleep_in_an_interrupt_is_an_error),
		KARC_TESTS(migrate_enable_without_disable_warns),
		KARC_TESTS(an_unbalanced_count_does_not_outlive_its_task),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
