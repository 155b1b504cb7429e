/* SPDX-License-Identifier: MIT */
/*
 * Goal: a CPU that passes no safe point is reported once, by name, stack and locks, and the wait
 * for it goes on. Method: a fiber that spins on a plain flag with a lock held, while another one
 * makes a cross-CPU call to its CPU; a third lets it go when the report is in the log.
 */
#include "fixture.h"

#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/hw/ipi.h>
#include <karc/hw/spinlock.h>

#include "hw/internal.h"

static const struct machine_config impatient = { .silent_ms = 50 };

struct scene {
	spinlock_t lock;
	bool spins;
	bool may_stop;
	unsigned int calls;
};

static noinline long spins_without_safe_points(void *arg)
{
	struct scene *s = arg;

	spin_lock(&s->lock);
	WRITE_ONCE(s->spins, true);
	while (!READ_ONCE(s->may_stop))
		;
	spin_unlock(&s->lock);
	return 0;
}

static long lets_go_when_reported(void *arg)
{
	struct scene *s = arg;

	while (!fixture_log_contains("is silent") || !fixture_log_contains("waits for it"))
		msleep(1);
	msleep(400);		/* whoever reports it a second time has the time to */
	WRITE_ONCE(s->may_stop, true);
	return 0;
}

static void counts(void *info)
{
	__atomic_fetch_add(&((struct scene *)info)->calls, 1, __ATOMIC_RELAXED);
}

static unsigned int times_in_log(const char *text)
{
	struct log *log = machine_log(this_machine());
	struct log_record record;
	unsigned int nr = 0;
	u64 seq = 0;

	while (karc_log_read(log, &seq, &record))
		nr += strstr(record.text, text) != NULL;
	return nr;
}

static long calls_cpu_one(void *arg)
{
	smp_call_function_single(1, counts, arg, 1);
	return 0;
}

static void a_silent_cpu_is_reported_once_with_stack_and_locks(void **state)
{
	struct scene s = { .spins = false };
	struct fiber *spinner, *caller[2], *helper;

	(void)state;
	spin_lock_init(&s.lock);
	spinner = fiber_spawn(1, "spinner", spins_without_safe_points, &s);
	while (!READ_ONCE(s.spins))
		cpu_relax();
	helper = fiber_spawn(2, "helper", lets_go_when_reported, &s);
	caller[0] = fiber_spawn(0, "caller", calls_cpu_one, &s);
	caller[1] = fiber_spawn(3, "caller", calls_cpu_one, &s);
	fiber_join(caller[0], NULL);
	fiber_join(caller[1], NULL);
	fiber_join(spinner, NULL);
	fiber_join(helper, NULL);
	assert_int_equal(s.calls, 2);
	assert_int_equal(times_in_log("is silent"), 1);
	assert_true(fixture_log_contains("CPU 1 is silent: it has passed no safe point for 50 ms"));
	assert_true(fixture_log_contains("waits for it: a cross-CPU call"));
	/* A busy host may not run the spinner in time, ThreadSanitizer hands it signals at any time. */
#if KARC_VARIANT != KARC_VARIANT_TSAN
	if (fixture_log_contains("its host thread does not say where it is"))
		return;
	assert_true(fixture_log_contains("Comm: spinner"));
	assert_true(fixture_log_contains("spins_without_safe_points"));
#ifdef KARC_DEBUG
	assert_true(fixture_log_contains("holds unranked lock"));
#endif
#endif
}

static void a_cpu_that_nobody_plays_is_not_silent(void **state)
{
	struct cpu_wait wait = { .cpu = NULL };
	struct cpu *cpu = machine_cpu(this_machine(), 1);
	u64 end;

	(void)state;
	/* Held, because an idle CPU that is woken is inside before the host runs its thread. */
	while (!presence_hold(cpu))
		cpu_relax();
	end = parallel_host_ns() + 200 * NSEC_PER_MSEC;
	while (parallel_host_ns() < end)
		cpu_wait_check(&wait, cpu, "nothing");
	presence_unhold(cpu);
	assert_int_equal(times_in_log("is silent"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* A deterministic machine has one host thread, which is never silent for others. */
		karc_unit_test_config_parallel(a_silent_cpu_is_reported_once_with_stack_and_locks, 4,
					       &impatient),
		karc_unit_test_config_parallel(a_cpu_that_nobody_plays_is_not_silent, 4,
					       &impatient),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
