/* SPDX-License-Identifier: MIT */
/*
 * Goal: virtual time only goes forward, timers fire in order and on their CPU, sleeping costs no
 * host time. Method: timers with known times, compared with the clock when they fire; random
 * timers against a sorted array.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/base/rand.h>
#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>

static unsigned int last_cpu(void)
{
	return num_online_cpus() - 1;
}

/* In parallel mode time passes while the host runs others. */
static u64 host_is_late(void)
{
	return machine_config(this_machine())->mode == MACHINE_PARALLEL ?
	       1000 * (u64)NSEC_PER_SEC : 0;
}

static void an_hour_of_sleep_passes_at_once(void **state)
{
	u64 before = ktime_get_ns();
	unsigned long ticks = jiffies;

	(void)state;
	msleep(3600 * 1000);
	assert_in_range(ktime_get_ns() - before, 3600ULL * NSEC_PER_SEC,
			3601ULL * NSEC_PER_SEC + host_is_late());
	assert_in_range(jiffies - ticks, 3600 * HZ,
			3601 * HZ + host_is_late() / NSEC_PER_JIFFY);
	assert_true(time_after(jiffies, ticks));
	assert_true(ktime_get() > 0);
}

static void units_convert_as_in_linux(void **state)
{
	(void)state;
	assert_int_equal(msecs_to_jiffies(1), 1);
	assert_int_equal(msecs_to_jiffies(10), 1);
	assert_int_equal(msecs_to_jiffies(11), 2);
	assert_int_equal(usecs_to_jiffies(1), 1);
	assert_int_equal(jiffies_to_msecs(HZ), 1000);
}

struct alarm {
	struct hw_timer timer;
	u64 at;
	unsigned int cpu;
	unsigned int order;
	bool in_irq;
};

static unsigned int alarms_fired;

static void alarm_fires(struct hw_timer *timer)
{
	struct alarm *a = container_of(timer, struct alarm, timer);

	a->at = ktime_get_ns();
	WRITE_ONCE(a->cpu, smp_processor_id());
	a->order = alarms_fired++;
	a->in_irq = in_hardirq();
}

static void timers_fire_in_order_of_time_then_of_starting(void **state)
{
	static const u64 after_us[] = { 500, 100, 300, 100, 100, 200 };
	static const unsigned int order[] = { 5, 0, 4, 1, 2, 3 };
	struct alarm a[6];
	u64 now = ktime_get_ns();

	(void)state;
	alarms_fired = 0;
	local_irq_disable();		/* none fires before all are started */
	for (int i = 0; i < 6; i++) {
		hw_timer_init(&a[i].timer, alarm_fires);
		hw_timer_start(&a[i].timer, now + after_us[i] * NSEC_PER_USEC);
	}
	local_irq_enable();
	msleep(1);
	assert_int_equal(alarms_fired, 6);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(a[i].order, order[i]);
		assert_true(a[i].at >= now + after_us[i] * NSEC_PER_USEC);
		assert_true(a[i].in_irq);
		assert_false(a[i].timer.pending);
	}
}

static long starts_alarm(void *arg)
{
	struct alarm *a = arg;

	hw_timer_init(&a->timer, alarm_fires);
	hw_timer_start(&a->timer, ktime_get_ns() + NSEC_PER_MSEC);
	return 0;
}

static void a_timer_fires_on_the_cpu_that_started_it(void **state)
{
	struct alarm a = { .cpu = 99 };

	(void)state;
	fiber_join(fiber_spawn(last_cpu(), "starter", starts_alarm, &a), NULL);
	while (READ_ONCE(a.cpu) == 99)
		msleep(5);
	hw_timer_cancel_sync(&a.timer);		/* its function has ended */
	assert_int_equal(a.cpu, last_cpu());
}

static void a_cancelled_timer_does_not_fire(void **state)
{
	struct alarm a = { .at = 0 };

	(void)state;
	starts_alarm(&a);
	assert_true(hw_timer_cancel(&a.timer));
	assert_false(hw_timer_cancel(&a.timer));
	assert_false(hw_timer_cancel_sync(&a.timer));
	msleep(5);
	assert_int_equal(a.at, 0);
}

static void starting_again_moves_a_timer(void **state)
{
	struct alarm a = { .at = 0 };
	u64 now = ktime_get_ns();

	(void)state;
	starts_alarm(&a);
	hw_timer_start(&a.timer, now + 1000 * NSEC_PER_SEC);
	msleep(5);
	assert_int_equal(a.at, 0);
	msleep(1000 * 1000);
	assert_true(a.at >= now + 1000 * NSEC_PER_SEC);
	hw_timer_start(&a.timer, 0);	/* long past: at the next safe point */
	hw_safepoint();
	assert_true(a.at >= now + 1000 * NSEC_PER_SEC + 5 * NSEC_PER_MSEC);
}

static void slow_alarm(struct hw_timer *timer)
{
	struct alarm *a = container_of(timer, struct alarm, timer);

	smp_store_release(&a->order, 1);
	for (int i = 0; i < 500; i++)
		hw_safepoint();
	a->at = 1;
}

static long starts_slow_alarm(void *arg)
{
	struct alarm *a = arg;

	hw_timer_init(&a->timer, slow_alarm);
	hw_timer_start(&a->timer, 0);
	return 0;
}

static void cancel_sync_waits_for_a_function_on_another_cpu(void **state)
{
	struct alarm a = { .at = 0, .order = 0 };

	(void)state;
	fiber_detach(fiber_spawn(last_cpu(), "starter", starts_slow_alarm, &a));
	while (!smp_load_acquire(&a.order))
		cpu_relax();
	assert_false(hw_timer_cancel_sync(&a.timer));
	assert_int_equal(a.at, 1);
	while (fiber_count(this_machine()) > 1)
		fiber_yield();
}

static void a_timeout_ends_waiting(void **state)
{
	u64 before = ktime_get_ns();

	(void)state;
	fiber_prepare();
	assert_int_equal(fiber_block_timeout(SITE(), 1000), 0);
	assert_true(ktime_get_ns() >= before + 1000);
	fiber_prepare();
	assert_int_equal(fiber_block_timeout(SITE(), 0), 0);
}

static long wakes_soon(void *arg)
{
	msleep(2);
	fiber_wake(arg);
	return 0;
}

static void a_wake_before_the_timeout_leaves_time(void **state)
{
	const u64 timeout = NSEC_PER_SEC + host_is_late();
	struct fiber *f;
	u64 left;

	(void)state;
	fiber_prepare();
	f = fiber_spawn(last_cpu(), "waker", wakes_soon, fiber_self());
	left = fiber_block_timeout(SITE(), timeout);
	/* The waker's two milliseconds may be over before this fiber blocks. */
	assert_in_range(left, 1, timeout - (host_is_late() ? 0 : NSEC_PER_MSEC));
	fiber_join(f, NULL);
	fiber_prepare();
	f = fiber_spawn(last_cpu(), "waker", wakes_soon, fiber_self());
	assert_true(fiber_block_timeout(SITE(), ~0ULL) > 0);	/* for ever */
	fiber_join(f, NULL);
}

static void delays_work_in_any_context(void **state)
{
	u64 before = ktime_get_ns();

	(void)state;
	udelay(50);
	preempt_disable();
	udelay(50);
	preempt_enable();
	local_irq_disable();
	mdelay(1);
	local_irq_enable();
	assert_true(ktime_get_ns() - before >= 1100 * NSEC_PER_USEC);
	before = ktime_get_ns();
	usleep_range(100, 200);
	assert_true(ktime_get_ns() - before >= 100 * NSEC_PER_USEC);
}

static long sleeps_arg(void *arg)
{
	msleep((unsigned int)(unsigned long)arg);
	return (long)ktime_get_ns();
}

static void many_sleepers_wake_when_they_should(void **state)
{
	struct fiber *f[50];
	struct machine_result r;
	u64 now = ktime_get_ns();

	(void)state;
	for (unsigned long i = 0; i < 50; i++)
		f[i] = fiber_spawn(i % num_online_cpus(), "sleeper", sleeps_arg,
				   (void *)(1 + 7 * i % 50));
	for (unsigned long i = 0; i < 50; i++) {
		fiber_join(f[i], &r);
		assert_in_range((u64)r.value, now + (1 + 7 * i % 50) * NSEC_PER_MSEC,
				now + (3 + 7 * i % 50) * NSEC_PER_MSEC + host_is_late());
	}
}

/* Random starts, moves and cancels; a plain array says what is pending. */
static void random_timers_agree_with_a_model(void **state)
{
	static struct alarm a[64];
	u64 expected[64] = { 0 };
	struct rnd rnd;
	u64 seed = machine_random(this_machine());

	(void)state;
	rnd_seed(&rnd, seed);
	memset(a, 0, sizeof(a));
	for (int i = 0; i < 64; i++)
		hw_timer_init(&a[i].timer, alarm_fires);
	for (int step = 0; step < 2000; step++) {
		unsigned int i = rnd_below(&rnd, 64);
		u64 now = ktime_get_ns();

		if (rnd_chance(&rnd, 1, 10)) {
			udelay(rnd_below(&rnd, 200));
		} else if (rnd_chance(&rnd, 1, 4)) {
			if (hw_timer_cancel(&a[i].timer) != (expected[i] && expected[i] > a[i].at))
				fail_msg("seed %llu: cancel disagrees", seed);
			expected[i] = 0;
		} else {
			a[i].at = 0;
			expected[i] = now + 1000 + rnd_below(&rnd, 500000);
			hw_timer_start(&a[i].timer, expected[i]);
		}
		for (int k = 0; k < 64; k++) {
			bool due = expected[k] && expected[k] <= ktime_get_ns();

			if (expected[k] && a[k].at && a[k].at < expected[k])
				fail_msg("seed %llu: too early", seed);
			/* The clock is looked at at some safe points only. */
			for (int n = 0; due && a[k].timer.pending && n < 1 << 17; n++)
				hw_safepoint();
			if (due && a[k].timer.pending)
				fail_msg("seed %llu: too late", seed);
			if (a[k].at >= expected[k] && expected[k])
				expected[k] = 0;
		}
	}
	for (int i = 0; i < 64; i++)
		hw_timer_cancel_sync(&a[i].timer);
}

/* ---- ticks ---- */

static const struct machine_config no_switching = { .switch_every = -1u };

struct hogs {
	unsigned int turns;		/* times that another one had the CPU in between */
	u64 last;
};

/* Passes safe points and never gives way by itself. */
static long hogs_the_cpu(void *arg)
{
	struct hogs *h = arg;

	while (h->turns < 6) {
		if (h->last != fiber_self()->id) {
			h->last = fiber_self()->id;
			h->turns++;
		}
		hw_safepoint();
	}
	return 0;
}

static void hogs_share_their_cpu_by_ticks_alone(void **state)
{
	struct hogs h = { .turns = 0 };
	struct fiber *f[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		f[i] = fiber_spawn(last_cpu(), "hog", hogs_the_cpu, &h);
	for (int i = 0; i < 2; i++)
		fiber_join(f[i], NULL);
}

static unsigned int ticks_on[MACHINE_MAX_CPUS];
static unsigned int ticks_out_of_place;

static void notes_tick(void)
{
	__atomic_fetch_add(&ticks_on[smp_processor_id()], 1, __ATOMIC_RELAXED);
	if (!in_hardirq() || fiber_self() == this_cpu()->idle)
		__atomic_fetch_add(&ticks_out_of_place, 1, __ATOMIC_RELAXED);
}

static void the_hook_gets_at_most_a_tick_for_each_jiffy_of_a_busy_cpu(void **state)
{
	u64 begin = ktime_get_ns();
	unsigned int jiffies_passed;

	(void)state;
	memset(ticks_on, 0, sizeof(ticks_on));
	ticks_out_of_place = 0;
	machine_on_tick(this_machine(), notes_tick);
	while (READ_ONCE(ticks_on[0]) < 5)
		hw_safepoint();
	machine_on_tick(this_machine(), NULL);
	jiffies_passed = (unsigned int)((ktime_get_ns() - begin) / NSEC_PER_JIFFY);
	assert_in_range(ticks_on[0], 5, jiffies_passed + 1);
	for (unsigned int i = 1; i < num_online_cpus(); i++)
		assert_int_equal(READ_ONCE(ticks_on[i]), 0);	/* idle CPUs have none */
	assert_int_equal(READ_ONCE(ticks_out_of_place), 0);
}

static void a_tick_waits_for_interrupts(void **state)
{
	u64 begin = ktime_get_ns();

	(void)state;
	memset(ticks_on, 0, sizeof(ticks_on));
	machine_on_tick(this_machine(), notes_tick);
	local_irq_disable();
	while (ktime_get_ns() < begin + 5 * NSEC_PER_JIFFY)
		hw_safepoint();
	assert_int_equal(ticks_on[0], 0);
	local_irq_enable();
	while (!READ_ONCE(ticks_on[0]))
		hw_safepoint();
	machine_on_tick(this_machine(), NULL);
}

/* ---- leftovers ---- */

static struct alarm forgotten;

static void body_forgets_a_timer(void)
{
	hw_timer_init(&forgotten.timer, alarm_fires);
	hw_timer_start(&forgotten.timer, ~0ULL - 5);
}

static void a_pending_timer_is_left(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_forgets_a_timer);

	(void)state;
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, "timer pending"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(an_hour_of_sleep_passes_at_once),
		KARC_TESTS(units_convert_as_in_linux),
		KARC_TESTS(timers_fire_in_order_of_time_then_of_starting),
		KARC_TESTS(a_timer_fires_on_the_cpu_that_started_it),
		KARC_TESTS(a_cancelled_timer_does_not_fire),
		KARC_TESTS(starting_again_moves_a_timer),
		karc_unit_test_cpus(cancel_sync_waits_for_a_function_on_another_cpu, 4),
		KARC_TESTS(a_timeout_ends_waiting),
		KARC_TESTS(a_wake_before_the_timeout_leaves_time),
		KARC_TESTS(delays_work_in_any_context),
		KARC_TESTS(many_sleepers_wake_when_they_should),
		KARC_TESTS(random_timers_agree_with_a_model),
		karc_unit_test_config(hogs_share_their_cpu_by_ticks_alone, 1, &no_switching),
		karc_unit_test_config(hogs_share_their_cpu_by_ticks_alone, 4, &no_switching),
		KARC_TESTS(the_hook_gets_at_most_a_tick_for_each_jiffy_of_a_busy_cpu),
		KARC_TESTS(a_tick_waits_for_interrupts),
		cmocka_unit_test(a_pending_timer_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
