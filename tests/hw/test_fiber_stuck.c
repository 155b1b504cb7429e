/* SPDX-License-Identifier: MIT */
/*
 * Goal: what can never move again is found, named, and ended, and the rest goes on.
 * Method: tasks that block or spin for good, alone and behind each other.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/context.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>

#include "hw/internal.h"

static unsigned int last_cpu(void)
{
	return num_online_cpus() - 1;
}

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

static long blocks_for_good(void *arg)
{
	(void)arg;
	fiber_prepare();
	fiber_block(SITE());
	return 0;
}

static long relaxes_until(void *arg)
{
	while (!READ_ONCE(*(bool *)arg))
		cpu_relax();
	return 0;
}

static void being_stuck_names_the_place(void **state)
{
	(void)state;
	expect_stuck(blocks_for_good, NULL, "call waits at");
	assert_true(fixture_log_contains("blocks_for_good"));
	assert_true(fixture_log_contains("every fiber is blocked and no timer is left"));
}

static long spins_for_good(void *arg)
{
	bool never = false;

	if (arg)
		preempt_disable();
	return relaxes_until(&never);
}

static long waits_for_a_spinner(void *arg)
{
	fiber_join(fiber_spawn(last_cpu(), "spinner", spins_for_good, arg), NULL);
	return 0;
}

static void a_livelock_is_reported_as_stuck(void **state)
{
	(void)state;
	expect_stuck(spins_for_good, NULL, "call is running");
	assert_true(fixture_log_contains("CPUs spin in cpu_relax()"));
	expect_stuck(spins_for_good, (void *)1, "call is running");
	assert_true(preemptible());
}

static void body_waits_for_a_spinner(void)
{
	expect_stuck(waits_for_a_spinner, (void *)1, "for the end of spinner");
}

static void a_spinner_that_is_no_call_is_ended_at_shutdown(void **state)
{
	struct fixture_verdict v = fixture_run(4, body_waits_for_a_spinner);

	(void)state;
	assert_true(v.red);
	assert_int_equal(v.nr_bugs, 1);		/* the spinner itself, in the end */
	assert_int_equal(v.nr_left, 0);
}

static long joins_the_blocked(void *arg)
{
	fiber_join(arg, NULL);
	return 0;
}

static void the_joiner_of_a_stuck_fiber_goes_alone(void **state)
{
	struct pair p = { .ready = false };
	struct fiber *f = fiber_spawn(last_cpu(), "waiter", waits_for_ready, &p);

	(void)state;
	expect_stuck(joins_the_blocked, f, "for the end of waiter");
	p.ready = true;
	fiber_wake(f);		/* nobody's any more: it goes by itself */
	while (fiber_count(this_machine()) > 1)
		fiber_yield();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(being_stuck_names_the_place),
		KARC_TESTS(a_livelock_is_reported_as_stuck),
		cmocka_unit_test(a_spinner_that_is_no_call_is_ended_at_shutdown),
		KARC_TESTS(the_joiner_of_a_stuck_fiber_goes_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
