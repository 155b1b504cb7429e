/* SPDX-License-Identifier: MIT */
/*
 * Goal: each registered shrinker is asked for its share, none after it has been unregistered.
 * Method: shrinkers over a counter instead of a cache; callbacks that block while another fiber
 * unregisters.
 */
#include <string.h>

#include <karc/hw/fiber.h>
#include <karc/mm/reclaim/shrinker.h>
#include "fixture.h"

/* A cache of @objects; the shrinker is first, so that a callback finds its way. */
struct counter {
	struct shrinker shrinker;
	unsigned long objects;
	unsigned long scanned;
	unsigned int calls;
	unsigned long largest;
	bool stop;
	bool block;
	bool inside;
};

static unsigned long count_objects(struct shrinker *shrinker, struct shrink_control *sc)
{
	(void)sc;
	return container_of(shrinker, struct counter, shrinker)->objects;
}

static unsigned long scan_objects(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct counter *c = container_of(shrinker, struct counter, shrinker);
	unsigned long nr = sc->nr_to_scan < c->objects ? sc->nr_to_scan : c->objects;

	c->calls++;
	WRITE_ONCE(c->inside, true);
	while (READ_ONCE(c->block))
		fiber_yield();
	WRITE_ONCE(c->inside, false);
	if (c->stop)
		return SHRINK_STOP;
	c->scanned += sc->nr_to_scan;
	if (sc->nr_to_scan > c->largest)
		c->largest = sc->nr_to_scan;
	c->objects -= nr;
	return nr;
}

static void counter_init(struct counter *c, unsigned long objects)
{
	memset(c, 0, sizeof(*c));
	c->objects = objects;
	c->shrinker.count_objects = count_objects;
	c->shrinker.scan_objects = scan_objects;
	c->shrinker.seeks = DEFAULT_SEEKS;
	assert_int_equal(register_shrinker(&c->shrinker, "counter"), 0);
}

static void priority_decides_the_share_and_batches_limit_each_call(void **state)
{
	struct counter c;
	(void)state;

	counter_init(&c, 4096);
	assert_int_equal(shrink_slab(GFP_KERNEL, 0, 4), 512);
	assert_int_equal(c.calls, 4);
	assert_int_equal(c.largest, 128);
	assert_int_equal(shrink_slab(GFP_KERNEL, 0, 0), 3584);
	assert_int_equal(c.objects, 0);
	assert_int_equal(shrink_slab(GFP_KERNEL, 0, 0), 0);
	unregister_shrinker(&c.shrinker);
	c.objects = 1000;
	assert_int_equal(shrink_slab(GFP_KERNEL, 0, 0), 0);
	assert_int_equal(c.objects, 1000);
	unregister_shrinker(&c.shrinker);
}

static void small_shares_add_up_until_they_fill_a_batch(void **state)
{
	struct counter c;
	unsigned int passes = 0;
	(void)state;

	counter_init(&c, 4400);
	while (!shrink_slab(GFP_KERNEL, 0, 7))
		assert_true(++passes < 300);
	assert_true(passes > 1);
	assert_int_equal(c.largest, 128);
	unregister_shrinker(&c.shrinker);
}

static void a_cache_smaller_than_a_batch_is_emptied_at_full_pressure(void **state)
{
	struct counter c;
	(void)state;

	counter_init(&c, 5);
	assert_int_equal(shrink_slab(GFP_KERNEL, 0, 0), 5);
	unregister_shrinker(&c.shrinker);
}

static void a_shrinker_that_stops_is_not_asked_again_in_this_pass(void **state)
{
	struct counter stopped, other;
	(void)state;

	counter_init(&stopped, 1000);
	counter_init(&other, 1000);
	stopped.stop = true;
	assert_int_equal(shrink_slab(GFP_KERNEL, 0, 0), 1000);
	assert_int_equal(stopped.calls, 1);
	assert_int_equal(other.objects, 0);
	unregister_shrinker(&stopped.shrinker);
	unregister_shrinker(&other.shrinker);
}

static long shrink_fiber(void *arg)
{
	(void)arg;
	return (long)shrink_slab(GFP_KERNEL, 0, 0);
}

static long unregister_fiber(void *arg)
{
	unregister_shrinker(arg);
	return 0;
}

static void unregistering_waits_for_a_callback_that_runs(void **state)
{
	struct machine_result result;
	struct fiber *shrinks, *ends;
	struct counter c;
	(void)state;

	counter_init(&c, 100);
	c.block = true;
	shrinks = fiber_spawn(1, "shrinks", shrink_fiber, NULL);
	while (!READ_ONCE(c.inside))
		fiber_yield();
	ends = fiber_spawn(2, "ends", unregister_fiber, &c.shrinker);
	for (unsigned int i = 0; i < 100; i++)
		fiber_yield();
	assert_non_null(READ_ONCE(c.shrinker.site));
	WRITE_ONCE(c.block, false);
	fiber_join(shrinks, &result);
	fiber_join(ends, NULL);
	assert_int_equal(result.value, 100);
	assert_null(c.shrinker.site);
}

static long register_again(void *arg)
{
	return register_shrinker((struct shrinker *)arg, "again");
}

static void registering_twice_is_a_bug(void **state)
{
	struct counter c;
	(void)state;

	counter_init(&c, 1);
	expect_bug(register_again, &c.shrinker, "shrinker->site");
	unregister_shrinker(&c.shrinker);
}

static void forget_a_shrinker(void)
{
	static _Thread_local struct counter c;

	counter_init(&c, 1);
}

static void a_forgotten_shrinker_turns_the_fixture_red(void **state)
{
	struct fixture_verdict verdict = fixture_run(1, forget_a_shrinker);
	(void)state;

	assert_true(verdict.red);
	assert_int_equal(verdict.nr_left, 1);
	assert_non_null(strstr(verdict.reason, "shrinker"));
	assert_non_null(strstr(verdict.reason, "counter_init"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(priority_decides_the_share_and_batches_limit_each_call),
		karc_unit_test(small_shares_add_up_until_they_fill_a_batch),
		karc_unit_test(a_cache_smaller_than_a_batch_is_emptied_at_full_pressure),
		karc_unit_test(a_shrinker_that_stops_is_not_asked_again_in_this_pass),
		karc_unit_test_cpus(unregistering_waits_for_a_callback_that_runs, 4),
		karc_unit_test(registering_twice_is_a_bug),
		cmocka_unit_test(a_forgotten_shrinker_turns_the_fixture_red),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
