/* SPDX-License-Identifier: MIT */
/*
 * Goal: a panic ends every task of its machine, and nothing else.
 * Method: machines of the test's own in both modes; tasks that block, sleep, wait for locks and
 * compute when one of them panics; afterwards calls are refused and the machine is taken apart.
 */
#include "fixture.h"

#include <string.h>

#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/hw/clock.h>
#include <karc/hw/fiber.h>
#include <karc/hw/panic.h>
#include <karc/hw/spinlock.h>
#include <karc/hw/wait.h>

static const struct room *const rooms[] = { &hw_room };

static struct machine *boot(unsigned int cpus, enum machine_mode mode)
{
	struct machine_config config = {
		.nr_cpus = cpus, .mode = mode, .mem_bytes = 16 << 20, .quiet = true,
	};
	struct machine *m = machine_boot_rooms(&config, rooms, ARRAY_SIZE(rooms));

	assert_false(IS_ERR(m));
	return m;
}

static long panics(void *arg)
{
	panic("%s is gone", (const char *)arg);
	return 0;
}

static long returns_seven(void *arg)
{
	(void)arg;
	return 7;
}

static void assert_panicked(struct machine_result r, const char *text)
{
	assert_int_equal(r.end, MACHINE_BUG);
	assert_string_equal(r.message, text);
}

static void call_that_panics_returns_the_text(void **state)
{
	static const char text[] = "Kernel panic - not syncing: ground is gone";
	struct machine *m = boot(1, MACHINE_DETERMINISTIC), *other = boot(1, MACHINE_DETERMINISTIC);

	(void)state;
	assert_null(machine_panicked(m));
	assert_panicked(machine_call(m, 0, panics, "ground"), text);
	assert_string_equal(machine_panicked(m), text);
	assert_true(karc_log_contains(machine_log(m), text));
	assert_true(karc_log_contains(machine_log(m), "Call Trace:"));
	assert_int_equal(machine_counters(m).bugs, 1);
	assert_panicked(machine_call(m, 0, returns_seven, NULL), text);
	assert_int_equal(machine_call(other, 0, returns_seven, NULL).value, 7);
	assert_int_equal(machine_shutdown(m), 0);
	assert_int_equal(machine_shutdown(other), 0);
}

/* Tasks in every position when one of them panics. */
struct scene {
	wait_queue_head_t never;
	spinlock_t lock;		/* the one that panics holds it */
	bool never_set;
	u32 nr_ready, nr_went_on;	/* atomic */
};

static void ready(struct scene *s)
{
	__atomic_fetch_add(&s->nr_ready, 1, __ATOMIC_RELAXED);
}

static void went_on(struct scene *s)
{
	__atomic_fetch_add(&s->nr_went_on, 1, __ATOMIC_RELAXED);
}

static long blocks(void *arg)
{
	struct scene *s = arg;

	ready(s);
	wait_event(s->never, false);
	went_on(s);
	return 0;
}

static long sleeps(void *arg)
{
	struct scene *s = arg;

	ready(s);
	fiber_prepare();
	fiber_block_timeout(SITE(), 1000ULL * NSEC_PER_SEC);
	went_on(s);
	return 0;
}

static long spins(void *arg)
{
	struct scene *s = arg;

	ready(s);
	while (!READ_ONCE(s->never_set))
		cpu_relax();
	went_on(s);
	return 0;
}

static long computes(void *arg)
{
	struct scene *s = arg;

	ready(s);
	for (;;)
		hw_safepoint();
	went_on(s);
	return 0;
}

static long sets_the_scene(void *arg)
{
	static long (*const actors[])(void *arg) = { blocks, sleeps, spins, computes };
	unsigned int i, nr_cpus = machine_nr_cpus(this_machine());
	struct scene *s = arg;

	for (i = 0; i < 2 * ARRAY_SIZE(actors); i++)
		fiber_detach(fiber_spawn((1 + i) % nr_cpus, "actor", actors[i % 4], s));
	while (READ_ONCE(s->nr_ready) < 2 * ARRAY_SIZE(actors))
		fiber_yield();
	spin_lock(&s->lock);
	panic("enough");
	return 0;
}

static void every_task_ends(unsigned int cpus, enum machine_mode mode)
{
	struct machine *m = boot(cpus, mode);
	struct scene s = { .nr_ready = 0 };
	struct machine_result r;

	init_waitqueue_head(&s.never);
	r = machine_call(m, 0, sets_the_scene, &s);
	assert_panicked(r, "Kernel panic - not syncing: enough");
	machine_shutdown(m);
	assert_int_equal(READ_ONCE(s.nr_went_on), 0);
}

static void every_task_ends_wherever_it_is(void **state)
{
	(void)state;
	every_task_ends(1, MACHINE_DETERMINISTIC);
	every_task_ends(4, MACHINE_DETERMINISTIC);
	every_task_ends(4, MACHINE_PARALLEL);
}

static long joins_one_that_panics(void *arg)
{
	struct machine_result r;

	fiber_join(fiber_spawn(0, "guilty", panics, arg), &r);
	return 1;
}

static void who_waits_for_it_ends_too(void **state)
{
	struct machine *m = boot(2, MACHINE_DETERMINISTIC);

	(void)state;
	assert_panicked(machine_call(m, 1, joins_one_that_panics, "all"),
			"Kernel panic - not syncing: all is gone");
	assert_int_equal(machine_shutdown(m), 0);
}

static long spawns_after_all(void *arg)
{
	(void)arg;
	return fiber_spawn(0, "late", returns_seven, NULL) != NULL;
}

static void no_task_is_made_afterwards(void **state)
{
	struct machine *m = boot(1, MACHINE_DETERMINISTIC);

	(void)state;
	machine_call(m, 0, panics, "it");
	machine_enter(m);
	assert_int_equal(spawns_after_all(NULL), 0);
	machine_leave();
	assert_int_equal(machine_shutdown(m), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(call_that_panics_returns_the_text),
		cmocka_unit_test(every_task_ends_wherever_it_is),
		cmocka_unit_test(who_waits_for_it_ends_too),
		cmocka_unit_test(no_task_is_made_afterwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
