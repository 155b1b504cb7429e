/* SPDX-License-Identifier: MIT */
/*
 * Goal: spinning in parallel mode is polite, moves the time when nothing else can, and is found
 * out when it can never end. Method: spinners that wait for a timer hours away, for somebody on
 * the same CPU, for everybody at once, and for nobody.
 */
#include "fixture.h"

#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>

#include "hw/internal.h"

static unsigned int last_cpu(void)
{
	return num_online_cpus() - 1;
}

static long sleeps_for_hours(void *arg)
{
	msleep(5 * 3600 * 1000);
	WRITE_ONCE(*(bool *)arg, true);
	return 0;
}

static void a_spinner_need_not_wait_for_idle_time(void **state)
{
	u64 before = ktime_get_ns();
	bool awake = false;
	struct fiber *f = fiber_spawn(last_cpu(), "sleeper", sleeps_for_hours, &awake);

	(void)state;
	while (!READ_ONCE(awake))
		cpu_relax();
	assert_true(ktime_get_ns() - before >= 5 * 3600 * (u64)NSEC_PER_SEC);
	fiber_join(f, NULL);
}

struct round_table {
	unsigned int turn;
	unsigned int nr;
};

struct guest {
	struct round_table *table;
	unsigned int seat;
};

static long takes_turns(void *arg)
{
	struct guest *g = arg;

	for (unsigned int i = 0; i < 20; i++) {
		while (__atomic_load_n(&g->table->turn, __ATOMIC_ACQUIRE) % g->table->nr != g->seat)
			cpu_relax();
		__atomic_fetch_add(&g->table->turn, 1, __ATOMIC_RELEASE);
	}
	return 0;
}

/* More of them than host CPUs, and several on each CPU: each waits for the one before. */
static void spinners_let_the_one_they_wait_for_run(void **state)
{
	struct round_table table = { .nr = 3 * num_online_cpus() };
	struct guest g[24];
	struct fiber *f[24];

	(void)state;
	for (unsigned int i = 0; i < table.nr; i++) {
		g[i] = (struct guest){ &table, i };
		f[i] = fiber_spawn(i % num_online_cpus(), "guest", takes_turns, &g[i]);
	}
	for (unsigned int i = 0; i < table.nr; i++)
		fiber_join(f[i], NULL);
	assert_int_equal(table.turn, 20 * table.nr);
}

static long spins_for_nothing(void *arg)
{
	while (!READ_ONCE(*(bool *)arg))
		cpu_relax();
	return 0;
}

static long spins_with_others(void *arg)
{
	for (unsigned int cpu = 1; cpu < num_online_cpus(); cpu++)
		fiber_detach(fiber_spawn(cpu, "spinner", spins_for_nothing, arg));
	return spins_for_nothing(arg);
}

static void who_spins_for_nothing_is_found_out(void **state)
{
	bool never = false;

	(void)state;
	expect_stuck(spins_with_others, &never, "machine stuck");
	assert_true(fixture_log_contains("CPUs spin in cpu_relax() and nothing else moves"));
	WRITE_ONCE(never, true);		/* the others may go */
	while (fiber_count(this_machine()) > 1)
		fiber_yield();
}

static const struct machine_config wall = { .wall_time = true };

static void wall_time_is_waited_for(void **state)
{
	u64 host = parallel_host_ns();

	(void)state;
	msleep(50);
	assert_true(parallel_host_ns() - host >= 50 * (u64)NSEC_PER_MSEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_spinner_need_not_wait_for_idle_time),
		KARC_TESTS(spinners_let_the_one_they_wait_for_run),
		KARC_TESTS(who_spins_for_nothing_is_found_out),
		/* A deterministic machine has no other time than its own. */
		karc_unit_test_config_parallel(wall_time_is_waited_for, 1, &wall),
		karc_unit_test_config_parallel(wall_time_is_waited_for, 4, &wall),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
