/* SPDX-License-Identifier: MIT */
/*
 * Goal: interrupts come when they may and not before, softirqs after them, deferred work in a
 * task. Method: handlers that count and look; lines raised from here, from other CPUs, at idle
 * CPUs.
 */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>

#define LINE	7u

struct device {
	unsigned int interrupts;
	unsigned int nested;
	unsigned int inside;
	int cpu;
	bool raise_softirq;
	bool raise_again;
};

static irqreturn_t handler(int irq, void *dev)
{
	struct device *d = dev;

	d->nested += d->inside++;
	WRITE_ONCE(d->interrupts, d->interrupts + 1);
	d->cpu = (int)smp_processor_id();
	if (d->raise_softirq)
		raise_softirq(NET_RX_SOFTIRQ);
	if (d->raise_again) {
		d->raise_again = false;
		irq_raise(this_machine(), smp_processor_id(), (unsigned int)irq);
		hw_safepoint();
	}
	d->inside--;
	return IRQ_HANDLED;
}

static unsigned int last_cpu(void)
{
	return num_online_cpus() - 1;
}

static void a_raised_line_waits_for_interrupts_to_be_enabled(void **state)
{
	struct device d = { .interrupts = 0 };
	unsigned long flags, inner;

	(void)state;
	assert_int_equal(request_irq(LINE, handler, 0, "dev", &d), 0);
	local_irq_save(flags);
	irq_raise(this_machine(), 0, LINE);
	local_irq_save(inner);
	hw_safepoint();
	local_irq_restore(inner);
	assert_int_equal(d.interrupts, 0);
	local_irq_restore(flags);
	assert_int_equal(d.interrupts, 1);
	preempt_disable();
	irq_raise(this_machine(), 0, LINE);
	hw_safepoint();			/* preemption is no matter to an interrupt */
	assert_int_equal(d.interrupts, 2);
	preempt_enable();
	assert_int_equal(irq_count_of(this_machine(), LINE), 2);
	assert_string_equal(free_irq(LINE, &d), "dev");
}

static void an_idle_cpu_takes_its_interrupt(void **state)
{
	struct device d = { .cpu = -1 };

	(void)state;
	assert_int_equal(request_irq(LINE, handler, 0, "dev", &d), 0);
	irq_raise(this_machine(), last_cpu(), LINE);
	while (!READ_ONCE(d.interrupts))
		cpu_relax();
	free_irq(LINE, &d);		/* the handler has ended when it returns */
	assert_int_equal(d.cpu, last_cpu());
}

static void a_handler_is_not_interrupted_by_its_own_line(void **state)
{
	struct device d = { .raise_again = true };

	(void)state;
	assert_int_equal(request_irq(LINE, handler, 0, "dev", &d), 0);
	irq_raise(this_machine(), 0, LINE);
	hw_safepoint();
	assert_int_equal(d.interrupts, 2);
	assert_int_equal(d.nested, 0);
	free_irq(LINE, &d);
}

static void requesting_and_freeing_check_their_arguments(void **state)
{
	struct device d = { .interrupts = 0 };

	(void)state;
	assert_int_equal(request_irq(NR_IRQ_LINES, handler, 0, "dev", &d), -EINVAL);
	assert_int_equal(request_irq(LINE, NULL, 0, "dev", &d), -EINVAL);
	assert_int_equal(request_irq(LINE, handler, 1, "dev", &d), -EINVAL);
	assert_int_equal(request_irq(LINE, handler, 0, "dev", &d), 0);
	assert_int_equal(request_irq(LINE, handler, 0, "other", &d), -EBUSY);
	assert_null(free_irq(LINE, NULL));
	expect_warn("has not requested it");
	assert_string_equal(free_irq(LINE, &d), "dev");
	assert_null(free_irq(LINE, &d));
	expect_warn("WARNING");
	irq_raise(this_machine(), 0, LINE);
	hw_safepoint();
	expect_warn("irq 7: nobody cared");
}

static void body_forgets_its_line(void)
{
	static struct device d;

	assert_int_equal(request_irq(LINE, handler, 0, "dev", &d), 0);
}

static void a_line_that_is_not_freed_is_left(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_forgets_its_line);

	(void)state;
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, "irq line requested"));
}

static irqreturn_t slow_handler(int irq, void *dev)
{
	struct device *d = dev;

	(void)irq;
	WRITE_ONCE(d->interrupts, d->interrupts + 1);
	for (int i = 0; i < 500; i++)
		hw_safepoint();
	d->inside = 1;
	return IRQ_HANDLED;
}

static void free_irq_waits_for_a_handler_on_another_cpu(void **state)
{
	struct device d = { .interrupts = 0 };

	(void)state;
	assert_int_equal(request_irq(LINE, slow_handler, 0, "slow", &d), 0);
	irq_raise(this_machine(), last_cpu(), LINE);
	while (!READ_ONCE(d.interrupts))
		cpu_relax();
	free_irq(LINE, &d);
	assert_int_equal(d.inside, 1);
}

/* ---- softirqs ---- */

static struct {
	char order[32];
	unsigned int again;
	unsigned int times;
} soft;

static void note(char c)
{
	size_t n = strlen(soft.order);

	if (n + 1 < sizeof(soft.order))
		soft.order[n] = c;
	soft.times++;
}

static void rx_action(struct softirq_action *action)
{
	(void)action;
	note('r');
	if (soft.again) {
		soft.again--;
		raise_softirq(NET_RX_SOFTIRQ);
		hw_safepoint();		/* must not nest */
	}
}

static void hi_action(struct softirq_action *action)
{
	(void)action;
	note('h');
}

static void open_both(void)
{
	memset(&soft, 0, sizeof(soft));
	open_softirq(NET_RX_SOFTIRQ, rx_action);
	open_softirq(HI_SOFTIRQ, hi_action);
}

static void softirqs_run_at_interrupt_exit_lowest_first(void **state)
{
	struct device d = { .raise_softirq = true };

	(void)state;
	open_both();
	assert_int_equal(request_irq(LINE, handler, 0, "dev", &d), 0);
	local_irq_disable();
	raise_softirq(HI_SOFTIRQ);
	irq_raise(this_machine(), 0, LINE);
	assert_string_equal(soft.order, "");
	assert_int_equal(local_softirq_pending(), 1u << HI_SOFTIRQ);
	local_irq_enable();
	assert_string_equal(soft.order, "hr");
	assert_int_equal(local_softirq_pending(), 0);
	free_irq(LINE, &d);
}

static void local_bh_disable_holds_softirqs_back(void **state)
{
	struct device d = { .raise_softirq = true };

	(void)state;
	open_both();
	assert_int_equal(request_irq(LINE, handler, 0, "dev", &d), 0);
	local_bh_disable();
	local_bh_disable();
	irq_raise(this_machine(), 0, LINE);
	hw_safepoint();
	assert_int_equal(d.interrupts, 1);
	local_bh_enable();
	assert_string_equal(soft.order, "");
	local_bh_enable();
	assert_string_equal(soft.order, "r");
	free_irq(LINE, &d);
}

static void a_softirq_that_raises_itself_does_not_nest_or_starve(void **state)
{
	(void)state;
	open_both();
	soft.again = 25;
	raise_softirq(NET_RX_SOFTIRQ);
	for (int i = 0; i < 10 && soft.again; i++)
		hw_safepoint();
	hw_safepoint();
	assert_int_equal(soft.again, 0);
	assert_int_equal(soft.times, 26);
}

/* ---- deferred work ---- */

static struct {
	unsigned int times;
	bool could_sleep;
	unsigned int cpu;
} deferred;

static void deferred_work(void)
{
	deferred.could_sleep = preemptible() && in_task();
	deferred.cpu = smp_processor_id();
	might_sleep();
	msleep(1);
	smp_store_release(&deferred.times, deferred.times + 1);
}

static void deferred_work_runs_in_a_task_of_its_cpu(void **state)
{
	(void)state;
	memset(&deferred, 0, sizeof(deferred));
	cpu_on_deferred(this_machine(), deferred_work);
	preempt_disable();
	cpu_post(machine_cpu(this_machine(), last_cpu()), CPU_PENDING_DEFERRED);
	hw_safepoint();
	preempt_enable();
	while (!smp_load_acquire(&deferred.times))
		msleep(1);
	while (fiber_count(this_machine()) > 1)
		fiber_yield();
	assert_true(deferred.could_sleep);
	assert_int_equal(deferred.cpu, last_cpu());
	assert_int_equal(deferred.times, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_raised_line_waits_for_interrupts_to_be_enabled),
		KARC_TESTS(an_idle_cpu_takes_its_interrupt),
		KARC_TESTS(a_handler_is_not_interrupted_by_its_own_line),
		KARC_TESTS(requesting_and_freeing_check_their_arguments),
		cmocka_unit_test(a_line_that_is_not_freed_is_left),
		karc_unit_test_cpus(free_irq_waits_for_a_handler_on_another_cpu, 4),
		KARC_TESTS(softirqs_run_at_interrupt_exit_lowest_first),
		KARC_TESTS(local_bh_disable_holds_softirqs_back),
		KARC_TESTS(a_softirq_that_raises_itself_does_not_nest_or_starve),
		KARC_TESTS(deferred_work_runs_in_a_task_of_its_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
