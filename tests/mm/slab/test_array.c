/* SPDX-License-Identifier: MIT */
/*
 * test_array.c - the arrays of a CPU
 *
 * Goal: an object is in one place, whichever of the stacks that is; what is cached can be counted and
 * given back; statistics add up; inlined ways stand back when somebody must see every call; frees
 * batched behind one grace period.
 * Method: caches driven hard enough that arrays become busy, and looked at from inside; kmalloc() on
 * one CPU with kfree() on another.
 */
#include "fixture.h"
#include <string.h>
#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>
#include "mm/slab/internal.h"

#define NR	2000u

static struct kmem_cache *cache_of(unsigned int size)
{
	struct kmem_cache *c = kmem_cache_create("array", size, 0, 0, NULL);

	assert_non_null(c);
	return c;
}

/* So often that an array counts as busy, without more than one object at a time. */
static void make_busy(struct kmem_cache *c)
{
	for (unsigned int i = 0; i < 4 * ARRAY_BUSY; i++) {
		void *p = kmem_cache_alloc(c, GFP_KERNEL);

		assert_non_null(p);
		kmem_cache_free(c, p);
	}
}

static void take_all(struct kmem_cache *c, void **p, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
		assert_non_null(p[i]);
		memset(p[i], (int)(i & 0xff), c->object_size);
	}
}

static void give_all(struct kmem_cache *c, void **p, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		assert_int_equal(*(unsigned char *)p[i], i & 0xff);
		kmem_cache_free(c, p[i]);
	}
}

static void *objects[NR];	/* of one test at a time */

static void nothing_is_lost_between_the_stacks(void **state)
{
	struct kmem_cache *c = cache_of(64);

	(void)state;
	make_busy(c);
	for (int round = 0; round < 3; round++) {
		take_all(c, objects, NR);
		assert_int_equal(kmem_cache_live_objects(c), NR);
		give_all(c, objects, NR);
		assert_int_equal(kmem_cache_live_objects(c), 0);
		assert_true(arrays_cached(c) > 0);
		assert_int_equal(machine_check(this_machine()), 0);
	}
	assert_int_equal(kmem_cache_shrink(c), 0);
	assert_int_equal(arrays_cached(c), 0);
	kmem_cache_destroy(c);
}

static void statistics_count_each_call_once(void **state)
{
	struct kmem_cache *c = cache_of(128);
	struct slab_cpustat stat;

	(void)state;
	make_busy(c);
	take_all(c, objects, NR);
	give_all(c, objects, NR);
	array_stats(c, &stat);
	assert_int_equal(stat.allochit + stat.allocmiss, NR + 4 * ARRAY_BUSY);
	assert_int_equal(stat.freehit + stat.freemiss, NR + 4 * ARRAY_BUSY);
	kmem_cache_shrink(c);
	array_stats(c, &stat);
	assert_int_equal(stat.allochit + stat.allocmiss, NR + 4 * ARRAY_BUSY);
	assert_int_equal(stat.freehit + stat.freemiss, NR + 4 * ARRAY_BUSY);
	kmem_cache_destroy(c);
}

static void idle_array_is_reaped_little_by_little(void **state)
{
	struct kmem_cache *c = cache_of(64);
	unsigned long flags, before, nr;

	(void)state;
	take_all(c, objects, NR);
	give_all(c, objects, NR);
	local_irq_save(flags);
	assert_int_equal(reap_cpu_array(c), 0);		/* it was used since the last look */
	before = arrays_cached(c);
	nr = reap_cpu_array(c);
	assert_true(nr > 0 && nr < before);
	assert_int_equal(arrays_cached(c), before - nr);
	while (reap_cpu_array(c))
		;
	assert_int_equal(arrays_cached(c), 0);
	local_irq_restore(flags);
	kmem_cache_destroy(c);
}

static void known_object_goes_back_to_its_cache(void **state)
{
	struct kmem_cache *c = cache_of(64);

	(void)state;
	make_busy(c);
	take_all(c, objects, NR);
	for (unsigned int i = 0; i < NR; i++)
		kmem_cache_free_known(c, objects[i]);
	assert_int_equal(kmem_cache_live_objects(c), 0);
	assert_int_equal(machine_check(this_machine()), 0);
	kmem_cache_destroy(c);
}

static void armed_failure_is_not_overtaken_by_what_is_ready(void **state)
{
	struct kmem_cache *c = cache_of(64);
	void *p;

	(void)state;
	make_busy(c);
	for (unsigned long nth = 1; nth < 4; nth++) {
		inject_arm(this_machine(), nth);
		for (unsigned long i = 1; i < nth; i++) {
			p = kmem_cache_alloc(c, GFP_KERNEL);
			assert_non_null(p);
			kmem_cache_free(c, p);
		}
		assert_null(kmem_cache_alloc(c, GFP_KERNEL));
		assert_true(inject_disarm(this_machine()));
	}
	make_busy(c);			/* the inlined ways are back, and everything is where it was */
	assert_int_equal(kmem_cache_live_objects(c), 0);
	kmem_cache_destroy(c);
}

static long free_them(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < NR; i++)
		kfree(objects[i]);
	return 0;
}

static void foreign_frees_come_home_in_batches(void **state)
{
	unsigned int there = machine_nr_cpus(this_machine()) - 1;
	unsigned long before = phys_nr_free(this_machine());

	(void)state;
	for (int round = 0; round < 4; round++) {
		struct fiber *f;

		for (unsigned int i = 0; i < NR; i++) {
			objects[i] = kmalloc(64, GFP_KERNEL);
			assert_non_null(objects[i]);
		}
		f = fiber_spawn(there, "free", free_them, NULL);
		fiber_join(f, NULL);
	}
	assert_int_equal(machine_check(this_machine()), 0);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static void classes_are_used_again(void **state)
{
	struct kmem_cache *c[2 * NR_SLAB_CLASSES];

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(c); i++) {
			void *p;

			c[i] = cache_of(32);
			p = kmem_cache_alloc(c[i], GFP_KERNEL);
			assert_non_null(p);
			kmem_cache_free(c[i], p);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(c); i++)
			kmem_cache_destroy(c[i]);
	}
}

/* Free one after the other until the array that CPUs share is full: no slab was touched so far. */
static void small_objects_pass_between_cpus_without_touching_slabs(void **state)
{
	static void *p[8000];
	struct kmem_cache *c = cache_of(64), *large = cache_of(1024);
	struct kmem_cache_node *n = c->node[0];
	unsigned long on_slabs;
	unsigned int i;

	(void)state;
	assert_true(large->shared < c->shared);
	assert_true(c->spare_limit >= c->shared * c->batchcount);
	for (i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	on_slabs = n->free_objects;
	for (i = 0; i < ARRAY_SIZE(p) && shared_avail(n) < c->shared * c->batchcount; i++)
		kmem_cache_free(c, p[i]);
	assert_int_equal(shared_avail(n), c->shared * c->batchcount);
	assert_int_equal(n->free_objects, on_slabs);
	assert_true(i >= c->spare_limit + shared_avail(n));
	for (; i < ARRAY_SIZE(p); i++)
		kmem_cache_free(c, p[i]);
	assert_true(n->free_objects > on_slabs);
	assert_int_equal(kmem_cache_live_objects(c), 0);
	assert_int_equal(machine_check(this_machine()), 0);
	kmem_cache_destroy(large);
	kmem_cache_destroy(c);
}

static const struct machine_config untracked = { .cmdline = "untracked" };

/* With the inlined ways, and (tracked) without. */
#define BOTH_WAYS(fn)								\
	KARC_TESTS(fn), karc_unit_test_config(fn, 1, &untracked),		\
	karc_unit_test_config(fn, 4, &untracked)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_WAYS(nothing_is_lost_between_the_stacks),
		BOTH_WAYS(statistics_count_each_call_once),
		karc_unit_test_config(idle_array_is_reaped_little_by_little, 1, &untracked),
		BOTH_WAYS(known_object_goes_back_to_its_cache),
		karc_unit_test_config(armed_failure_is_not_overtaken_by_what_is_ready, 1,
				      &untracked),
		BOTH_WAYS(foreign_frees_come_home_in_batches),
		karc_unit_test_config(small_objects_pass_between_cpus_without_touching_slabs, 4,
				      &untracked),
		karc_unit_test_config(classes_are_used_again, 1, &untracked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
