/* SPDX-License-Identifier: MIT */
/*
 * Goal: what BUG, WARN and friends print can be used: place, CPU, task, locks, callers by name.
 * Method: look into the log ring. Functions whose names are expected in a trace are global, so
 * that they have names in a stripped program too.
 */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/base/log.h>
#include <karc/hw/context.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/spinlock.h>

#include "hw/internal.h"

long test_report_inner(long depth);
long test_report_outer(void *arg);

noinline long test_report_inner(long depth)
{
	BUG_ON(depth == 1);
	WARN(depth == 2, "depth is %ld", depth);
	return depth + 1;
}

noinline long test_report_outer(void *arg)
{
	return test_report_inner((long)arg) + 1;
}

static void a_bug_prints_place_task_and_callers(void **state)
{
	(void)state;
	expect_bug(test_report_outer, (void *)1, "(depth == 1)");
	assert_true(fixture_log_contains("cut here"));
	assert_true(fixture_log_contains("kernel BUG at tests/hw/test_report.c:"));
	assert_true(fixture_log_contains("CPU: 0 PID: "));
	assert_true(fixture_log_contains("Comm: call"));
	assert_true(fixture_log_contains("Call Trace:"));
	assert_true(fixture_log_contains(" test_report_inner"));
	assert_true(fixture_log_contains(" test_report_outer+0x"));
	assert_false(fixture_log_contains(" karc_bug"));
}

static void a_warning_prints_and_the_task_goes_on(void **state)
{
	(void)state;
	assert_int_equal(test_report_outer((void *)2), 4);
	expect_warn("depth is 2");
	assert_true(fixture_log_contains("WARNING: CPU: 0 PID: "));
	assert_true(fixture_log_contains("tests/hw/test_report.c"));
	assert_true(fixture_log_contains(" test_report_outer+0x"));
	assert_int_equal(machine_counters(this_machine()).warnings, 1);
}

static void warn_once_warns_once_until_reset(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 5; i++)
			WARN_ON_ONCE(i >= 0);
		assert_int_equal(machine_counters(this_machine()).warnings, round + 1);
		machine_reset_once(this_machine());
	}
	expect_warn("i >= 0");
}

static bool calls_everything_jim(const void *address, char *buf, size_t size)
{
	(void)address;
	snprintf(buf, size, "jim+0x1/0x2");
	return true;
}

static void a_better_symbolizer_is_asked_first(void **state)
{
	(void)state;
	machine_on_symbolize(this_machine(), calls_everything_jim);
	WARN_ON(1);
	machine_on_symbolize(this_machine(), NULL);
	expect_warn(" jim+0x1/0x2");
}

static void dump_stack_names_the_caller(void **state)
{
	(void)state;
	dump_stack();
	assert_true(fixture_log_contains("Call Trace:"));
	assert_true(fixture_log_contains("Comm: call"));
	assert_int_equal(machine_counters(this_machine()).warnings, 0);
}

#ifdef KARC_DEBUG
static long bug_under_lock(void *arg)
{
	spin_lock((spinlock_t *)arg);
	BUG();
	return 0;
}

static void a_bug_names_the_locks_held(void **state)
{
	static spinlock_t lock;

	(void)state;
	spin_lock_init(&lock);
	expect_bug(bug_under_lock, &lock, "holds");
	assert_true(fixture_log_contains("bug_under_lock"));
}
#endif

static noinline long recursion(long depth)
{
	volatile long d = depth;

	WARN_ON(d == 0);
	return d ? recursion(d - 1) + 1 : 0;
}

static void a_trace_of_recursion_is_short(void **state)
{
	(void)state;
	recursion(100);
	expect_warn("Call Trace:");
}

/* A made-up stack: frames that point up, sideways and down. */
static void a_walk_stays_inside_the_stack(void **state)
{
	u64 stack[32] = { 0 };
	u64 low = (u64)stack, high = (u64)(stack + 32);
	void *trace[16];

	(void)state;
	assert_int_equal(trace_collect(0, low, high, trace, 16), 0);
	assert_int_equal(trace_collect(low + 4, low, high, trace, 16), 0);
	assert_int_equal(trace_collect(high - 8, low, high, trace, 16), 0);
	stack[0] = (u64)&stack[4];
	stack[1] = 0x1111;
	stack[4] = (u64)&stack[2];	/* down: the walk ends */
	stack[5] = 0x2222;
	stack[2] = (u64)&stack[0];
	stack[3] = 0x3333;
	assert_int_equal(trace_collect(low, low, high, trace, 16), 2);
	assert_int_equal((u64)trace[1], 0x2222);
	stack[4] = high + 64;		/* beyond: the walk ends */
	assert_int_equal(trace_collect(low, low, high, trace, 16), 2);
	assert_int_equal(trace_collect(low, low, high, trace, 1), 1);
}

/* Code built without frame pointers has any number in that register. */
static void a_walk_survives_any_frame_pointer(void **state)
{
	u64 stack[4] = { 0 };
	u64 low = (u64)stack, high = (u64)(stack + 4);
	void *trace[4];

	(void)state;
	stack[1] = 0x1111;
	for (u64 i = 0; i < 64; i += 8) {
		assert_int_equal(trace_collect(-i, low, high, trace, 4), 0);
		stack[0] = -i;
		assert_int_equal(trace_collect(low, low, high, trace, 4), 1);
	}
}

__attribute__((no_sanitize("undefined", "address", "thread")))
static bool faults(const void *address, char *buf, size_t size)
{
	volatile char *nothing = (volatile char *)8;

	(void)address;
	(void)buf;
	(void)size;
	__asm__ volatile("" : "=r"(nothing) : "0"(nothing));
	return *nothing;
}

static void body_fault_in_a_report(void)
{
	machine_on_symbolize(this_machine(), faults);
	expect_oops(test_report_outer, (void *)1, "NULL pointer dereference");
	machine_on_symbolize(this_machine(), NULL);
	karc_log_clear(machine_log(this_machine()));
	expect_bug(test_report_outer, (void *)1, "(depth == 1)");
	assert_true(fixture_log_contains("Call Trace:"));
}

static void a_fault_in_a_report_does_not_silence_the_next(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_fault_in_a_report);

	(void)state;
	assert_int_equal(v.nr_failures, 0);
	assert_int_equal(v.nr_bugs, 1);		/* the BUG whose task ended in an Oops */
	assert_int_equal(v.nr_left, 0);
}

static void printk_goes_to_the_machines_ring(void **state)
{
	(void)state;
	pr_info("hello from %s\n", __func__);
	assert_true(fixture_log_contains("hello from printk_goes_to_the_machines_ring"));
	assert_ptr_equal(karc_log_hook(), machine_log(this_machine()));
}

static void outside_a_machine_there_is_no_ring(void **state)
{
	(void)state;
	assert_null(karc_log_hook());
	assert_true(karc_once_hook(&state));
	assert_true(karc_once_hook(&state));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_bug_prints_place_task_and_callers),
		KARC_TESTS(a_warning_prints_and_the_task_goes_on),
		KARC_TESTS(warn_once_warns_once_until_reset),
		KARC_TESTS(a_better_symbolizer_is_asked_first),
		KARC_TESTS(dump_stack_names_the_caller),
#ifdef KARC_DEBUG
		KARC_TESTS(a_bug_names_the_locks_held),
#endif
		KARC_TESTS(a_trace_of_recursion_is_short),
		cmocka_unit_test(a_walk_stays_inside_the_stack),
		cmocka_unit_test(a_walk_survives_any_frame_pointer),
		cmocka_unit_test(a_fault_in_a_report_does_not_silence_the_next),
		KARC_TESTS(printk_goes_to_the_machines_ring),
		cmocka_unit_test(outside_a_machine_there_is_no_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
