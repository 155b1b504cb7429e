/* SPDX-License-Identifier: MIT */
/*
 * Goal: the fixture itself tells right from wrong: what must turn a test red does, and nothing
 * else does. Method: bodies that are wrong on purpose run through fixture_run(), which says the
 * verdict without failing.
 */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/base/hostmem.h>
#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>
#include <karc/hw/ipi.h>
#include <karc/hw/irq.h>

static void body_fine(void)
{
	assert_int_equal(1, 1);
}

static void a_fine_body_is_green(void **state)
{
	struct fixture_verdict v = fixture_run(4, body_fine);

	(void)state;
	assert_false(v.red);
	assert_int_equal(v.end, MACHINE_VALUE);
	assert_string_equal(v.reason, "");
}

static void body_assertion(void)
{
	assert_int_equal(1, 2);
}

static void a_failed_assertion_is_red_and_names_its_place(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_assertion);

	(void)state;
	assert_true(v.red);
	assert_int_equal(v.nr_failures, 1);
	assert_non_null(strstr(v.file, "test_fixture.c"));
	assert_non_null(strstr(v.reason, "1 != 2"));
}

static long fails_elsewhere(void *arg)
{
	(void)arg;
	assert_true(0 == 1);
	return 0;
}

static void body_assertion_elsewhere(void)
{
	struct fiber *f = fiber_spawn(3, "child", fails_elsewhere, NULL);

	fiber_join(f, NULL);
}

static void a_failed_assertion_on_another_cpu_is_red(void **state)
{
	struct fixture_verdict v = fixture_run(4, body_assertion_elsewhere);

	(void)state;
	assert_true(v.red);
	assert_int_equal(v.nr_failures, 1);
	assert_non_null(strstr(v.reason, "0 == 1"));
}

static irqreturn_t fails_in_interrupt(int irq, void *dev)
{
	(void)irq;
	(void)dev;
	fail_msg("in an interrupt");
	return IRQ_HANDLED;
}

static void body_assertion_in_interrupt(void)
{
	assert_int_equal(request_irq(3, fails_in_interrupt, 0, "test", NULL), 0);
	irq_raise(fixture_machine(), 3, 3);
	for (int i = 0; i < 1000; i++)
		fiber_yield();
	free_irq(3, NULL);
}

static void a_failed_assertion_in_an_interrupt_of_an_idle_cpu_is_red(void **state)
{
	struct fixture_verdict v = fixture_run(4, body_assertion_in_interrupt);

	(void)state;
	assert_true(v.red);
	assert_int_equal(v.nr_failures, 1);
	assert_non_null(strstr(v.reason, "in an interrupt"));
}

static long runs_away(void *arg)
{
	(void)arg;
	fiber_prepare();
	fiber_block(SITE());
	return 0;
}

static void body_leak(void)
{
	fiber_detach(fiber_spawn(0, "lost", runs_away, NULL));
}

static void a_deliberate_leak_is_red(void **state)
{
	struct fixture_verdict v = fixture_run(4, body_leak);

	(void)state;
	assert_true(v.red);
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, "left: 1 fiber"));
	assert_non_null(strstr(v.reason, "runs_away"));
}

/* Lost for the machine only: the test gives it back by hand. */
static void *lost_block;

static void body_hostmem_leak(void)
{
	lost_block = hostmem_map(machine_hostmem(this_machine()), 4096);
}

static void lost_host_memory_is_red(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_hostmem_leak);

	(void)state;
	hostmem_unmap(NULL, lost_block, 4096);
	assert_true(v.red);
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, "host memory map"));
}

static void body_warns(void)
{
	WARN_ON(1);
}

static void an_unexpected_warning_is_red(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_warns);

	(void)state;
	assert_true(v.red);
	assert_int_equal(v.nr_warnings, 1);
}

static void body_expects_its_warning(void)
{
	WARN(1, "the moon is full");
	expect_warn("moon");
	expect_no_warn();
}

static void body_expects_another_warning(void)
{
	WARN(1, "the moon is full");
	expect_warn("sun");
}

static void an_expected_warning_is_green_and_only_that_one(void **state)
{
	(void)state;
	assert_false(fixture_run(1, body_expects_its_warning).red);
	assert_true(fixture_run(1, body_expects_another_warning).red);
}

static long makes_a_bug(void *arg)
{
	BUG_ON(arg != NULL);
	return 0;
}

static void body_bug(void)
{
	makes_a_bug((void *)1);
}

static void body_expects_bug(void)
{
	expect_bug(makes_a_bug, (void *)1, "arg != NULL");
}

static void body_expects_bug_that_does_not_come(void)
{
	expect_bug(makes_a_bug, NULL, "arg != NULL");
}

static void a_bug_is_red_unless_expected(void **state)
{
	struct fixture_verdict v = fixture_run(4, body_bug);

	(void)state;
	assert_true(v.red);
	assert_int_equal(v.end, MACHINE_BUG);
	assert_int_equal(v.nr_bugs, 1);
	assert_non_null(strstr(v.message, "kernel BUG at"));
	assert_false(fixture_run(4, body_expects_bug).red);
	assert_true(fixture_run(4, body_expects_bug_that_does_not_come).red);
}

static long touches_nothing(void *arg)
{
	(void)arg;
	return *(volatile int *)0xdead000000000100;
}

static void body_oops(void)
{
	touches_nothing(NULL);
}

static void body_expects_oops(void)
{
	expect_oops(touches_nothing, NULL, "general protection");
}

static void an_oops_is_red_unless_expected(void **state)
{
	(void)state;
	assert_int_equal(fixture_run(4, body_oops).end, MACHINE_OOPS);
	assert_false(fixture_run(4, body_expects_oops).red);
}

static void body_stuck(void)
{
	runs_away(NULL);
}

static void body_expects_stuck(void)
{
	expect_stuck(runs_away, NULL, "runs_away");
}

static void being_stuck_is_red_unless_expected(void **state)
{
	(void)state;
	assert_int_equal(fixture_run(4, body_stuck).end, MACHINE_STUCK);
	assert_false(fixture_run(4, body_expects_stuck).red);
}

static void body_skips(void)
{
	skip();
}

static void a_skipped_body_is_green(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_skips);

	(void)state;
	assert_false(v.red);
	assert_true(v.skipped);
}

/* ---- the fail-nth loop ---- */

struct pretend {
	unsigned int allocations;	/* that the operation makes */
	unsigned int live;
	bool forgets;			/* to undo when the last one fails */
};

static long pretend_op(void *arg)
{
	struct pretend *p = arg;

	for (unsigned int i = 0; i < p->allocations; i++) {
		if (inject_fail()) {
			p->live -= p->forgets && i ? i - 1 : i;
			return -ENOMEM;
		}
		p->live++;
	}
	return 0;
}

static void pretend_undo(void *arg)
{
	struct pretend *p = arg;

	p->live -= p->allocations;
}

static void pretend_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	values[0] = ((struct pretend *)arg)->live;
}

static void fail_nth_fails_each_allocation_once(void **state)
{
	struct pretend p = { .allocations = 7 };

	(void)state;
	assert_int_equal(fixture_fail_nth(.body = pretend_op, .undo = pretend_undo,
					  .snapshot = pretend_snapshot, .arg = &p), 7);
	assert_int_equal(p.live, 0);
}

static void body_fail_nth_finds_a_loss(void)
{
	struct pretend p = { .allocations = 7, .forgets = true };

	fixture_fail_nth(.body = pretend_op, .undo = pretend_undo, .snapshot = pretend_snapshot,
			 .arg = &p);
}

static void fail_nth_finds_what_a_failure_left_behind(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_fail_nth_finds_a_loss);

	(void)state;
	assert_true(v.red);
	assert_non_null(strstr(v.reason, "snapshot[0]"));
}

static long fails_for_nothing(void *arg)
{
	(void)arg;
	return -EIO;
}

static void body_fails_for_nothing(void)
{
	fixture_fail_nth(.body = fails_for_nothing);
}

static void fail_nth_refuses_a_failure_without_a_cause(void **state)
{
	(void)state;
	assert_true(fixture_run(1, body_fails_for_nothing).red);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fine_body_is_green),
		cmocka_unit_test(a_failed_assertion_is_red_and_names_its_place),
		cmocka_unit_test(a_failed_assertion_on_another_cpu_is_red),
		cmocka_unit_test(a_failed_assertion_in_an_interrupt_of_an_idle_cpu_is_red),
		cmocka_unit_test(a_deliberate_leak_is_red),
		cmocka_unit_test(lost_host_memory_is_red),
		cmocka_unit_test(an_unexpected_warning_is_red),
		cmocka_unit_test(an_expected_warning_is_green_and_only_that_one),
		cmocka_unit_test(a_bug_is_red_unless_expected),
		cmocka_unit_test(an_oops_is_red_unless_expected),
		cmocka_unit_test(being_stuck_is_red_unless_expected),
		cmocka_unit_test(a_skipped_body_is_green),
		KARC_TESTS(fail_nth_fails_each_allocation_once),
		cmocka_unit_test(fail_nth_finds_what_a_failure_left_behind),
		cmocka_unit_test(fail_nth_refuses_a_failure_without_a_cause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
