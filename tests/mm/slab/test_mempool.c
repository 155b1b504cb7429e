/* SPDX-License-Identifier: MIT */
/*
 * Goal: a pool delivers its minimum when its allocator fails, makes sleepers wait for elements
 * that come back, and can change its minimum.
 * Method: an allocator that can be told to fail; fibers that give elements back later.
 */
#include "fixture.h"
#include "storm.h"

#include <string.h>

#include <karc/hw/clock.h>
#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/base/poison.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/poison.h>
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

static void pools_live_in_their_users_memory(void **state)
{
	struct { int before; mempool_t pool; int behind; } user = { 1, { .min_nr = 0 }, 2 };
	struct kmem_cache *c = kmem_cache_create("pooled", 80, 0, 0, NULL);
	void *p;

	(void)state;
	mempool_exit(&user.pool);	/* zeroed: nothing to do */
	assert_false(mempool_initialized(&user.pool));
	assert_int_equal(mempool_init_slab_pool(&user.pool, 3, c), 0);
	assert_true(mempool_initialized(&user.pool) && mempool_is_saturated(&user.pool));
	p = mempool_alloc(&user.pool, GFP_NOIO);
	mempool_free(p, &user.pool);
	mempool_exit(&user.pool);
	mempool_exit(&user.pool);
	assert_int_equal(mempool_init_kmalloc_pool(&user.pool, 1, 3000), 0);
	mempool_exit(&user.pool);
	assert_int_equal(mempool_init_page_pool(&user.pool, 2, 2), 0);
	mempool_exit(&user.pool);
	assert_int_equal(mempool_init_node(&user.pool, 0, mempool_kmalloc, mempool_kfree,
					   (void *)8, GFP_NOWAIT, 0), 0);
	mempool_exit(&user.pool);
	assert_int_equal(user.before + user.behind, 3);
	kmem_cache_destroy(c);
}

/* ---- what the allocator is asked ---- */

static gfp_t asked[8];
static unsigned int nr_asked;

static void *notes_flags(gfp_t gfp, void *size)
{
	if (nr_asked < ARRAY_SIZE(asked))
		asked[nr_asked++] = gfp;
	return broken ? NULL : kmalloc((size_t)size, gfp);
}

static void the_allocator_is_asked_gently_first(void **state)
{
	const gfp_t always = __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN;
	mempool_t *pool;
	void *p, *q;

	(void)state;
	broken = false;
	pool = mempool_create(1, notes_flags, mempool_kfree, (void *)64);
	nr_asked = 0;
	p = mempool_alloc(pool, GFP_KERNEL);
	assert_int_equal(nr_asked, 1);
	assert_int_equal(asked[0], (GFP_KERNEL | always) & ~(__GFP_DIRECT_RECLAIM | __GFP_IO));
	assert_int_equal(pool->curr_nr, 1);
	broken = true;
	q = mempool_alloc(pool, GFP_KERNEL);	/* the reserve before the second question */
	assert_int_equal(nr_asked, 2);
	assert_int_equal(pool->curr_nr, 0);
	assert_null(mempool_alloc(pool, GFP_NOIO & ~__GFP_DIRECT_RECLAIM));
	assert_int_equal(nr_asked, 3);
	nr_asked = 0;
	assert_null(mempool_alloc(pool, GFP_ATOMIC | __GFP_IO));
	assert_int_equal(nr_asked, 2);
	assert_int_equal(asked[1], GFP_ATOMIC | __GFP_IO | always);
	mempool_free(p, pool);		/* refills before anything goes to the allocator */
	assert_int_equal(pool->curr_nr, 1);
	assert_ptr_equal(pool->elements[0], p);
	mempool_free(q, pool);
	assert_int_equal(pool->curr_nr, 1);
	mempool_destroy(pool);
}

static long repairs_later(void *arg)
{
	(void)arg;
	msleep(2000);
	WRITE_ONCE(broken, false);
	return 0;
}

/* Nobody gives anything back: the allocator is asked again every five seconds. */
static void waiting_looks_again_after_five_seconds(void **state)
{
	mempool_t *pool = pool_of(1);
	void *p = mempool_alloc(pool, GFP_KERNEL), *q, *r;
	unsigned long start = jiffies;
	struct fiber *f;

	(void)state;
	broken = true;
	q = mempool_alloc(pool, GFP_KERNEL);
	f = fiber_spawn(0, "repairer", repairs_later, NULL);
	r = mempool_alloc(pool, GFP_KERNEL);
	assert_non_null(r);
	/* In parallel mode time passes while the host runs others. */
	if (machine_config(this_machine())->mode == MACHINE_DETERMINISTIC)
		assert_in_range(jiffies - start, 5 * HZ, 6 * HZ);
	fiber_join(f, NULL);
	mempool_free(p, pool);
	mempool_free(q, pool);
	mempool_free(r, pool);
	mempool_destroy(pool);
}

/* ---- several CPUs ---- */

static void *never(gfp_t gfp, void *size)
{
	return READ_ONCE(broken) ? NULL : mempool_kmalloc(gfp, size);
}

static long takes_one_without_waiting(struct storm_worker *w)
{
	mempool_t *pool = w->storm->arg;

	for (unsigned int i = 0; i < 300; i++) {
		unsigned int *p = mempool_alloc(pool, GFP_ATOMIC);

		assert_non_null(p);
		*p = w->index;
		cond_resched();
		assert_int_equal(*p, w->index);
		mempool_free(p, pool);
	}
	return 0;
}

static void the_minimum_holds_for_all_cpus(void **state)
{
	unsigned int nr = 2 * machine_nr_cpus(this_machine());
	static struct storm s;
	mempool_t *pool;

	(void)state;
	broken = false;
	pool = mempool_create((int)nr, never, mempool_kfree, (void *)64);
	WRITE_ONCE(broken, true);
	storm_run(&s, 2, takes_one_without_waiting, pool);
	assert_int_equal(pool->curr_nr, nr);
	mempool_destroy(pool);
}

static long waits_for_two(struct storm_worker *w)
{
	mempool_t *pool = w->storm->arg;

	for (unsigned int i = 0; i < 60; i++) {
		unsigned int *p = mempool_alloc(pool, GFP_KERNEL);

		*p = w->index;
		fiber_yield();
		assert_int_equal(*p, w->index);
		mempool_free(p, pool);
	}
	return 0;
}

/* Three elements for twice as many tasks as CPUs: everybody gets one in the end. */
static void everybody_gets_one_in_the_end(void **state)
{
	static struct storm s;
	mempool_t *pool;

	(void)state;
	broken = false;
	pool = mempool_create(3, never, mempool_kfree, (void *)64);
	WRITE_ONCE(broken, true);
	storm_run(&s, 2, waits_for_two, pool);
	assert_int_equal(pool->curr_nr, 3);
	assert_false(waitqueue_active(&pool->wait));
	mempool_destroy(pool);
}

/* ---- mistakes ---- */

static void double_frees_are_reported_with_both_places(void **state)
{
	struct kmem_cache *c = kmem_cache_create("pooled", 80, 0, 0, NULL);
	mempool_t *slab = mempool_create_slab_pool(1, c);
	mempool_t *pages = mempool_create_page_pool(1, 0);
	char *p = mempool_alloc(slab, GFP_KERNEL), *q, *r;
	struct page *page;

	(void)state;
	broken = true;
	mempool_free(p, slab);		/* the reserve is full: to the cache */
	mempool_free(p, slab);
	expect_warn("mempool: double free of an element, pool of tests/mm/slab/test_mempool.c");
	assert_true(fixture_log_contains("first freed at"));
	assert_true(fixture_log_contains("now at tests/mm/slab/test_mempool.c"));
	inject_arm(this_machine(), 1);
	q = mempool_alloc(slab, GFP_ATOMIC);
	assert_true(inject_disarm(this_machine()));
	assert_int_equal(slab->curr_nr, 0);
	mempool_free(q, slab);
	mempool_free(q, slab);		/* in the reserve already */
	expect_warn("mempool: double free of an element");
	assert_int_equal(slab->curr_nr, 1);
	page = mempool_alloc(pages, GFP_KERNEL);
	mempool_free(page, pages);
	mempool_free(page, pages);
	expect_warn("mempool: double free of an element");
	r = mempool_alloc(slab, GFP_KERNEL);
	assert_ptr_not_equal(r, q);
	mempool_free(r, slab);
	mempool_destroy(pages);
	mempool_destroy(slab);
	kmem_cache_destroy(c);
}

static void the_reserve_is_watched(void **state)
{
	mempool_t *pool = mempool_create_kmalloc_pool(1, 100);
	mempool_t *pages = mempool_create_page_pool(1, 1);
	u8 *kept = pool->elements[0];
	u8 *p, *q;

	(void)state;
	mem_unpoison(kept, 100);	/* AddressSanitizer would say so at once */
	assert_int_equal(kept[0], POISON_FREE);
	assert_int_equal(kept[99], POISON_END);
	kept[50] = 1;
	p = mempool_alloc(pool, GFP_KERNEL);
	inject_arm(this_machine(), 1);
	q = mempool_alloc(pool, GFP_ATOMIC);
	inject_disarm(this_machine());
	assert_ptr_equal(q, kept);
	expect_warn("element was written to after it was freed");
	assert_int_equal(q[0], POISON_INUSE);
	mempool_free(q, pool);
	mempool_free(p, pool);
	kept = page_address((struct page *)pages->elements[0]);
	mem_unpoison(kept, 2 * PAGE_SIZE);
	assert_int_equal(kept[2 * PAGE_SIZE - 1], POISON_END);
	mempool_destroy(pages);
	mempool_destroy(pool);
}

static void misuse_is_reported(void **state)
{
	mempool_t *pool = mempool_create_kmalloc_pool(1, 100), *late;
	void *p;

	(void)state;
	preempt_disable();
	p = mempool_alloc(pool, GFP_KERNEL);
	expect_warn("sleeping function called from invalid context at tests/mm/slab/test_mempool.c");
	mempool_free(p, pool);
	p = mempool_alloc(pool, GFP_ATOMIC);
	mempool_free(p, pool);
	expect_no_warn();
	late = mempool_create_node(1, mempool_kmalloc, mempool_kfree, (void *)8, GFP_NOWAIT,
				   NUMA_NO_NODE);
	expect_no_warn();
	mempool_destroy(late);
	expect_no_warn();
	preempt_enable();
	p = mempool_alloc(pool, GFP_KERNEL | __GFP_ZERO);
	expect_warn("gfp & __GFP_ZERO");
	mempool_destroy(pool);
	expect_warn("ends while users have elements of it, pool of tests/mm/slab/test_mempool.c");
	kfree(p);
}

static void forgets_a_pool(void)
{
	assert_non_null(mempool_create_kmalloc_pool(2, 100));
}

static void forgotten_pool_is_named_by_site(void **state)
{
	struct fixture_verdict v = fixture_run(1, forgets_a_pool);

	(void)state;
	assert_true(v.red);
	assert_non_null(strstr(v.reason, "from tests/mm/slab/test_mempool.c"));
	assert_non_null(strstr(v.reason, "forgets_a_pool"));
}

/* ---- injected failures ---- */

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

static long nth_resize(void *arg)
{
	int err = mempool_resize(nth_pool, 6);

	(void)arg;
	assert_int_equal(nth_pool->min_nr, err ? 2 : 6);
	assert_int_equal(nth_pool->curr_nr, err ? 2 : 6);
	return err;
}

static void nth_shrink(void *arg)
{
	(void)arg;
	assert_int_equal(mempool_resize(nth_pool, 2), 0);
}

static void *nth_element;

/* Whatever fails, the reserve is there. */
static long nth_take(void *arg)
{
	(void)arg;
	nth_element = mempool_alloc(nth_pool, GFP_ATOMIC);
	assert_non_null(nth_element);
	return 0;
}

static void nth_give(void *arg)
{
	(void)arg;
	mempool_free(nth_element, nth_pool);
	assert_int_equal(nth_pool->curr_nr, 2);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
}

static void failures_are_survived(void **state)
{
	(void)state;
	assert_true(fixture_fail_nth(.body = nth_create, .undo = nth_destroy,
				     .snapshot = nth_snapshot) >= 5);
	nth_pool = mempool_create_kmalloc_pool(2, 100);
	assert_true(fixture_fail_nth(.body = nth_resize, .undo = nth_shrink) >= 5);
	assert_true(fixture_fail_nth(.body = nth_take, .undo = nth_give) >= 1);
	mempool_destroy(nth_pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(minimum_is_there_when_the_allocator_fails),
		KARC_TESTS(sleeper_waits_for_an_element),
		karc_unit_test(minimum_can_grow_and_shrink),
		karc_unit_test(pools_stand_on_caches_kmalloc_and_frames),
		karc_unit_test(pools_live_in_their_users_memory),
		karc_unit_test(the_allocator_is_asked_gently_first),
		karc_unit_test(waiting_looks_again_after_five_seconds),
		KARC_TESTS(the_minimum_holds_for_all_cpus),
		KARC_TESTS(everybody_gets_one_in_the_end),
		karc_unit_test(double_frees_are_reported_with_both_places),
		karc_unit_test(the_reserve_is_watched),
		karc_unit_test(misuse_is_reported),
		cmocka_unit_test(forgotten_pool_is_named_by_site),
		karc_unit_test(failures_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
