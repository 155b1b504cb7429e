/* SPDX-License-Identifier: MIT */
/*
 * Goal: a pool delivers its minimum when its allocator fails, makes sleepers wait for elements
 * that come back, and can change its minimum.
 * Method: an allocator that can be told to fail; fibers that give elements back later.
 */
#include "fixture.h"

#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/mempool.h>

static bool broken;

static void *maybe(gfp_t gfp, void *size)
{
	return broken ? NULL : kmalloc((size_t)size, gfp);
}

static mempool_t *pool_of(int min_nr)
{
	mempool_t *pool;

	broken = false;
	pool = mempool_create(min_nr, maybe, mempool_kfree, (void *)64);
	assert_non_null(pool);
	return pool;
}

static void minimum_is_there_when_the_allocator_fails(void **state)
{
	mempool_t *pool = pool_of(4);
	void *p[4];

	(void)state;
	broken = true;
	for (int i = 0; i < 4; i++) {
		p[i] = mempool_alloc(pool, GFP_ATOMIC);
		assert_non_null(p[i]);
	}
	assert_null(mempool_alloc(pool, GFP_ATOMIC));
	for (int i = 0; i < 4; i++)
		mempool_free(p[i], pool);
	assert_int_equal(pool->curr_nr, 4);
	mempool_free(NULL, pool);
	mempool_destroy(pool);
	mempool_destroy(NULL);
}

struct give_back {
	mempool_t *pool;
	void *element;
};

static long gives_back_later(void *arg)
{
	struct give_back *g = arg;

	msleep(10);
	mempool_free(g->element, g->pool);
	return 0;
}

static void sleeper_waits_for_an_element(void **state)
{
	mempool_t *pool = pool_of(1);
	struct give_back g = { .pool = pool };
	struct fiber *f;
	void *p;

	(void)state;
	broken = true;
	g.element = mempool_alloc(pool, GFP_ATOMIC);
	f = fiber_spawn(0, "giver", gives_back_later, &g);
	p = mempool_alloc(pool, GFP_KERNEL);
	assert_ptr_equal(p, g.element);
	fiber_join(f, NULL);
	mempool_free(p, pool);
	mempool_destroy(pool);
}

static void minimum_can_grow_and_shrink(void **state)
{
	mempool_t *pool = pool_of(2);

	(void)state;
	assert_int_equal(mempool_resize(pool, 8), 0);
	assert_int_equal(pool->curr_nr, 8);
	assert_int_equal(mempool_resize(pool, 3), 0);
	assert_int_equal(pool->curr_nr, 3);
	broken = true;
	assert_int_equal(mempool_resize(pool, 10), -ENOMEM);
	assert_int_equal(pool->min_nr, 3);
	mempool_destroy(pool);
}

static void pools_stand_on_caches_kmalloc_and_frames(void **state)
{
	struct kmem_cache *c = kmem_cache_create("pooled", 80, 0, 0, NULL);
	mempool_t *pools[3] = {
		mempool_create_slab_pool(2, c), mempool_create_kmalloc_pool(2, 100),
		mempool_create_page_pool(2, 1),
	};

	(void)state;
	for (int i = 0; i < 3; i++) {
		void *p[3];

		for (int k = 0; k < 3; k++) {
			p[k] = mempool_alloc(pools[i], GFP_KERNEL);
			assert_non_null(p[k]);
			for (int other = 0; other < k; other++)
				assert_ptr_not_equal(p[k], p[other]);
		}
		for (int k = 0; k < 3; k++)
			mempool_free(p[k], pools[i]);
		mempool_destroy(pools[i]);
	}
	kmem_cache_destroy(c);
}

static mempool_t *nth_pool;

static long nth_create(void *arg)
{
	(void)arg;
	nth_pool = mempool_create_kmalloc_pool(3, 100);
	return nth_pool ? 0 : -ENOMEM;
}

static void nth_destroy(void *arg)
{
	(void)arg;
	mempool_destroy(nth_pool);
	machine_quiesce(this_machine());
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
}

static void creation_fails_cleanly(void **state)
{
	(void)state;
	assert_true(fixture_fail_nth(.body = nth_create, .undo = nth_destroy,
				     .snapshot = nth_snapshot) >= 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(minimum_is_there_when_the_allocator_fails),
		KARC_TESTS(sleeper_waits_for_an_element),
		karc_unit_test(minimum_can_grow_and_shrink),
		karc_unit_test(pools_stand_on_caches_kmalloc_and_frames),
		karc_unit_test(creation_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
