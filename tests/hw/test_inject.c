/* SPDX-License-Identifier: MIT */
/*
 * Goal: exactly the armed allocation fails, once, whichever CPU asks. Method: count.
 */
#include "fixture.h"

#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>

static void nothing_fails_unless_armed(void **state)
{
	unsigned long before = inject_count(this_machine());

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_false(inject_fail());
	assert_int_equal(inject_count(this_machine()), before + 100);
	assert_false(inject_disarm(this_machine()));
}

static void exactly_the_nth_fails(void **state)
{
	(void)state;
	inject_arm(this_machine(), 3);
	assert_false(inject_fail());
	assert_false(inject_fail());
	assert_true(inject_fail());
	assert_false(inject_fail());
	assert_true(inject_disarm(this_machine()));
	assert_false(inject_disarm(this_machine()));
}

static void disarming_early_lets_everything_succeed(void **state)
{
	(void)state;
	inject_arm(this_machine(), 2);
	assert_false(inject_fail());
	assert_false(inject_disarm(this_machine()));
	assert_false(inject_fail());
	inject_arm(this_machine(), 1);
	inject_arm(this_machine(), 0);
	assert_false(inject_fail());
}

static long asks_ten_times(void *arg)
{
	long failed = 0;

	(void)arg;
	for (int i = 0; i < 10; i++) {
		failed += inject_fail();
		hw_safepoint();
	}
	return failed;
}

static void all_cpus_count_together(void **state)
{
	unsigned int n = num_online_cpus();
	struct machine_result r;
	struct fiber *f[8];
	long failed = 0;

	(void)state;
	inject_arm(this_machine(), 10 * n);
	for (unsigned int i = 0; i < n; i++)
		f[i] = fiber_spawn(i, "asker", asks_ten_times, NULL);
	for (unsigned int i = 0; i < n; i++) {
		fiber_join(f[i], &r);
		failed += r.value;
	}
	assert_int_equal(failed, 1);
	assert_true(inject_disarm(this_machine()));
}

static void outside_a_machine_nothing_fails(void **state)
{
	(void)state;
	assert_false(inject_fail());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(nothing_fails_unless_armed),
		KARC_TESTS(exactly_the_nth_fails),
		KARC_TESTS(disarming_early_lets_everything_succeed),
		KARC_TESTS(all_cpus_count_together),
		cmocka_unit_test(outside_a_machine_nothing_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
