/* SPDX-License-Identifier: MIT */
/*
 * Goal: fibers are born, joined, moved and die, and their stacks come back.
 * Method: small crowds whose counts are known beforehand; ends by force are expected by name.
 */
#include "fixture.h"

#include <string.h>

#include <karc/base/bug.h>
#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/hw/spinlock.h>

#include "hw/internal.h"

static unsigned int last_cpu(void)
{
	return num_online_cpus() - 1;
}

static long returns_arg(void *arg)
{
	return (long)arg;
}

static void join_tells_value_and_end(void **state)
{
	struct fiber *f = fiber_spawn(last_cpu(), "child", returns_arg, (void *)123);
	struct machine_result r;

	(void)state;
	assert_non_null(f);
	fiber_join(f, &r);
	assert_int_equal(r.end, MACHINE_VALUE);
	assert_int_equal(r.value, 123);
	assert_int_equal(fiber_count(this_machine()), 1);	/* this test */
}

static void spawning_on_a_cpu_that_is_not_there_fails(void **state)
{
	(void)state;
	assert_null(fiber_spawn(last_cpu() + 1, "child", returns_arg, NULL));
}

static long increments(void *arg)
{
	__atomic_fetch_add((int *)arg, 1, __ATOMIC_RELAXED);
	return 0;
}

static void a_detached_fiber_runs_and_goes(void **state)
{
	int n = 0;

	(void)state;
	fiber_detach(fiber_spawn(last_cpu(), "child", increments, &n));
	while (!READ_ONCE(n))
		fiber_yield();
	while (fiber_count(this_machine()) > 1)
		fiber_yield();
	assert_int_equal(READ_ONCE(n), 1);
}

static unsigned int nr_stacks(struct machine *m)
{
	unsigned int nr;

	hw_lock(m, &m->fibers_lock);
	nr = m->stacks.nr_made;
	hw_unlock(m, &m->fibers_lock);
	return nr;
}

static void stacks_are_used_again(void **state)
{
	struct machine *m = this_machine();
	unsigned int made;

	(void)state;
	fiber_join(fiber_spawn(0, "first", returns_arg, NULL), NULL);
	made = nr_stacks(m);
	for (int i = 0; i < 100; i++)
		fiber_join(fiber_spawn(0, "next", returns_arg, NULL), NULL);
	/* A CPU may be leaving the last one yet when its end is told. */
	assert_in_range(nr_stacks(m), made, made + num_online_cpus());
}

static void a_thousand_fibers_run_side_by_side(void **state)
{
	static struct fiber *f[1000];
	int n = 0;

	(void)state;
	for (unsigned int i = 0; i < 1000; i++) {
		f[i] = fiber_spawn(i % num_online_cpus(), "many", increments, &n);
		assert_non_null(f[i]);
	}
	for (unsigned int i = 0; i < 1000; i++)
		fiber_join(f[i], NULL);
	assert_int_equal(n, 1000);
}

static long returns_atomic(void *arg)
{
	preempt_disable();
	return (long)arg;
}

static long exits_with_irqs_off(void *arg)
{
	(void)arg;
	local_irq_disable();
	fiber_exit(0);
}

static long ends_in_a_deeper_call(void *arg)
{
	if (arg)
		fiber_exit((long)arg);
	return 0;
}

static void a_task_that_ends_in_atomic_context_is_a_bug(void **state)
{
	struct machine_result r;

	(void)state;
	expect_bug(returns_atomic, NULL, "returned with 0 locks held, preempt_count 0x1");
	expect_bug(exits_with_irqs_off, NULL, "interrupts off");
	fiber_join(fiber_spawn(0, "child", ends_in_a_deeper_call, (void *)5), &r);
	assert_int_equal(r.end, MACHINE_EXITED);
	assert_int_equal(r.value, 5);
}

#ifdef KARC_DEBUG
static long exits_with_a_lock(void *arg)
{
	spinlock_t *lock = arg;

	spin_lock(lock);
	preempt_enable_no_resched();	/* so that the lock alone is wrong */
	fiber_exit(0);
}

static void a_task_that_ends_with_a_lock_is_a_bug(void **state)
{
	spinlock_t lock;

	(void)state;
	spin_lock_init(&lock);
	expect_bug(exits_with_a_lock, &lock, "1 locks held");
}
#endif

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
		if (p->ready)
			break;
		fiber_block(SITE());
		p->woken++;
	}
	return p->woken;
}

static long moves_around(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < 3 * num_online_cpus(); i++) {
		fiber_set_cpu(fiber_self(), i % num_online_cpus());
		if (smp_processor_id() != i % num_online_cpus())
			return -1;
	}
	return 0;
}

static void a_fiber_moves_to_another_cpu(void **state)
{
	struct machine_result r;
	struct pair p = { .ready = true };
	struct fiber *f;

	(void)state;
	fiber_join(fiber_spawn(0, "mover", moves_around, NULL), &r);
	assert_int_equal(r.value, 0);
	f = fiber_spawn(0, "ready", waits_for_ready, &p);
	if (READ_ONCE(f->state) == FIBER_READY)
		fiber_set_cpu(f, last_cpu());
	fiber_join(f, NULL);
}

static long moves_although_disabled(void *arg)
{
	(void)arg;
	migrate_disable();
	fiber_set_cpu(fiber_self(), last_cpu());
	return 0;
}

static void migrate_disable_keeps_a_fiber_on_its_cpu(void **state)
{
	(void)state;
	expect_bug(moves_although_disabled, NULL, "migrate_disabled");
}

static noinline long digs(long depth)
{
	volatile char frame[1024];

	frame[0] = (char)depth;
	if (depth > 1000000)
		return 0;
	return digs(depth + 1) + frame[0];
}

static long overflows_its_stack(void *arg)
{
	(void)arg;
	return digs(0);
}

static void a_stack_overflow_is_an_oops(void **state)
{
	(void)state;
	expect_oops(overflows_its_stack, NULL, "stack guard page was hit");
	expect_oops(overflows_its_stack, NULL, "stack guard page was hit");
}

static long is_a_bug_in_idle(void *arg)
{
	(void)arg;
	return 0;
}

static irqreturn_t bug_in_interrupt(int irq, void *dev)
{
	(void)dev;
	BUG_ON(irq);
	return IRQ_HANDLED;
}

static void body_bug_in_idle(void)
{
	assert_int_equal(request_irq(5, bug_in_interrupt, 0, "bad", NULL), 0);
	irq_raise(this_machine(), 3, 5);
	msleep(1);
	irq_raise(this_machine(), 3, 5);
	msleep(1);
	free_irq(5, NULL);
	fiber_join(fiber_spawn(3, "after", is_a_bug_in_idle, NULL), NULL);
	assert_int_equal(machine_counters(this_machine()).bugs, 2);
}

static void a_cpu_survives_a_bug_in_an_interrupt_of_its_idle_fiber(void **state)
{
	struct fixture_verdict v = fixture_run(4, body_bug_in_idle);

	(void)state;
	assert_int_equal(v.end, MACHINE_VALUE);
	assert_int_equal(v.nr_bugs, 2);
	assert_int_equal(v.nr_failures, 0);
	assert_int_equal(v.nr_left, 0);
}

static long yields_until(void *arg)
{
	while (!READ_ONCE(*(bool *)arg))
		fiber_yield();
	return 0;
}

static long joins_with_preemption_off(void *arg)
{
	struct fiber *f = fiber_spawn(last_cpu(), "inner", yields_until, arg);

	preempt_disable();
	fiber_join(f, NULL);
	return 0;
}

/* The record of the one that waited is free memory soon: the other must not tell it its end. */
static void a_joiner_that_dies_leaves_the_other_alone(void **state)
{
	bool may_end = false;

	(void)state;
	for (int i = 0; i < 5; i++)
		expect_bug(joins_with_preemption_off, &may_end, "scheduling while atomic");
	expect_warn("sleeping function");
	WRITE_ONCE(may_end, true);
	while (fiber_count(this_machine()) > 1)
		fiber_yield();
}

struct scene {
	unsigned int fired;
};

struct stack_timer {
	struct hw_timer timer;
	struct scene *scene;
};

static void timer_fires(struct hw_timer *timer)
{
	struct scene *scene = container_of(timer, struct stack_timer, timer)->scene;

	WRITE_ONCE(scene->fired, scene->fired + 1);
}

static long dies_with_a_timer_on_its_stack(void *arg)
{
	struct stack_timer t = { .scene = arg };

	hw_timer_init(&t.timer, timer_fires);
	hw_timer_start(&t.timer, ktime_get_ns() + 1000000);
	irq_raise(this_machine(), smp_processor_id(), 7);
	for (int i = 0; i < 100; i++)
		fiber_yield();
	hw_timer_cancel_sync(&t.timer);
	return 0;
}

static irqreturn_t always_bug(int irq, void *dev)
{
	(void)irq;
	BUG_ON(dev);
	return IRQ_HANDLED;
}

static long dirties_its_stack(void *arg)
{
	volatile char bytes[4096];

	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = 0x5a;
	return (long)arg + bytes[99] - 0x5a;
}

/* What an interrupted task had on its stack is still linked: nobody else may get that stack. */
static void the_stack_of_a_task_that_died_in_an_interrupt_is_kept(void **state)
{
	struct scene scene = { .fired = 0 };

	(void)state;
	assert_int_equal(request_irq(7, always_bug, 0, "bad", &scene), 0);
	expect_bug(dies_with_a_timer_on_its_stack, &scene, "(dev)");
	free_irq(7, &scene);
	for (int i = 0; i < 8; i++)
		fiber_join(fiber_spawn(0, "dirty", dirties_its_stack, NULL), NULL);
	msleep(5);
	assert_int_equal(scene.fired, 1);
}

/* ---- what a fiber has for a while ---- */

static enum machine_end temporary_end[2];
static void *temporary_seen[2];
static unsigned int nr_temporary;

static void takes_temporary(struct fiber *f, enum machine_end end)
{
	assert_ptr_equal(f, fiber_self());
	temporary_end[nr_temporary] = end;
	temporary_seen[nr_temporary++] = f->temporary;
}

static long has_something(void *die)
{
	fiber_self()->temporary = temporary_seen;
	BUG_ON(die);
	return 0;
}

static long has_nothing(void *arg)
{
	(void)arg;
	assert_null(fiber_self()->temporary);
	return 0;
}

static void what_a_fiber_has_is_taken_back_whatever_its_end(void **state)
{
	(void)state;
	nr_temporary = 0;
	fiber_on_temporary(this_machine(), takes_temporary);
	machine_call(this_machine(), 0, has_nothing, NULL);
	machine_call(this_machine(), 0, has_something, NULL);
	expect_bug(has_something, (void *)1, "die");
	machine_call(this_machine(), 0, has_nothing, NULL);
	fiber_on_temporary(this_machine(), NULL);
	machine_call(this_machine(), 0, has_something, NULL);
	assert_int_equal(nr_temporary, 2);
	assert_int_equal(temporary_end[0], MACHINE_VALUE);
	assert_int_equal(temporary_end[1], MACHINE_BUG);
	assert_ptr_equal(temporary_seen[1], temporary_seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(join_tells_value_and_end),
		KARC_TESTS(spawning_on_a_cpu_that_is_not_there_fails),
		KARC_TESTS(a_detached_fiber_runs_and_goes),
		KARC_TESTS(stacks_are_used_again),
		KARC_TESTS(a_thousand_fibers_run_side_by_side),
		KARC_TESTS(a_task_that_ends_in_atomic_context_is_a_bug),
#ifdef KARC_DEBUG
		KARC_TESTS(a_task_that_ends_with_a_lock_is_a_bug),
#endif
		karc_unit_test(what_a_fiber_has_is_taken_back_whatever_its_end),
		KARC_TESTS(a_fiber_moves_to_another_cpu),
		karc_unit_test_cpus(migrate_disable_keeps_a_fiber_on_its_cpu, 4),
		KARC_TESTS(a_stack_overflow_is_an_oops),
		KARC_TESTS(a_joiner_that_dies_leaves_the_other_alone),
		KARC_TESTS(the_stack_of_a_task_that_died_in_an_interrupt_is_kept),
		cmocka_unit_test(a_cpu_survives_a_bug_in_an_interrupt_of_its_idle_fiber),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
