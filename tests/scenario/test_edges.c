/* SPDX-License-Identifier: MIT */
/*
 * Goal: what small imitations of Linux's allocators get wrong at the seams between rooms.
 * Method: each case once, in the words of the callers that rely on it; the rooms' own tests have
 * the cases that lie within one room.
 */
#include <string.h>

#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/folio.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/percpu.h>
#include "../support/storm.h"

/* ---- init_on_alloc, init_on_free: every way that memory takes to its user ---- */

static void use_up(void *p, size_t size)
{
	memset(p, 0xa7, size);
}

static bool is_clean(const void *p, size_t size)
{
	const u8 *byte = p;

	for (size_t i = 0; i < size; i++)
		if (byte[i])
			return false;
	return true;
}

static void page_ways(unsigned int order)
{
	struct page *page = alloc_pages(GFP_KERNEL, order);

	assert_true(is_clean(page_address(page), PAGE_SIZE << order));
	use_up(page_address(page), PAGE_SIZE << order);
	__free_pages(page, order);
	/* Through the CPU's list, or from the buddy after a merge. */
	if (order == MAX_PAGE_ORDER)
		drain_all_pages(NULL);
}

static void bulk_way(void)
{
	struct page *pages[40] = { NULL };

	assert_int_equal(alloc_pages_bulk_array(GFP_KERNEL, 40, pages), 40);
	for (unsigned int i = 0; i < 40; i++) {
		assert_true(is_clean(page_address(pages[i]), PAGE_SIZE));
		use_up(page_address(pages[i]), PAGE_SIZE);
		__free_page(pages[i]);
	}
}

static void list_way(void)
{
	struct page *page, *next;
	LIST_HEAD(list);

	assert_int_equal(alloc_pages_bulk_list(GFP_KERNEL, 40, &list), 40);
	list_for_each_entry_safe(page, next, &list, lru) {
		assert_true(is_clean(page_address(page), PAGE_SIZE));
		use_up(page_address(page), PAGE_SIZE);
		list_del(&page->lru);
		__free_page(page);
	}
}

static void kmalloc_way(size_t size)
{
	void *p = kmalloc(size, GFP_KERNEL);

	assert_true(is_clean(p, size));
	use_up(p, size);
	kfree(p);
}

static void vmalloc_way(size_t size)
{
	void *p = vmalloc(size);

	assert_true(is_clean(p, size));
	use_up(p, size);
	vfree(p);
}

static void other_ways(void)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 2);
	void *exact = alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL);
	struct page *contig = alloc_contig_pages(20, GFP_KERNEL, 0, NULL);

	assert_true(is_clean(folio_address(folio), folio_size(folio)));
	assert_true(is_clean(exact, 3 * PAGE_SIZE));
	assert_true(is_clean(page_address(contig), 20 * PAGE_SIZE));
	use_up(folio_address(folio), folio_size(folio));
	use_up(exact, 3 * PAGE_SIZE);
	use_up(page_address(contig), 20 * PAGE_SIZE);
	free_contig_range(page_to_pfn(contig), 20);
	free_pages_exact(exact, 3 * PAGE_SIZE);
	folio_put(folio);
}

static void memory_is_clean_whichever_way_it_comes(void **state)
{
	static const size_t sizes[] = { 8, 100, 192, 4096, 8192, 8193, 100000 };

	(void)state;
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++)
			page_ways(order);
		for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
			kmalloc_way(sizes[i]);
			vmalloc_way(sizes[i]);
		}
		bulk_way();
		list_way();
		other_ways();
	}
}

static void set_first_word(void *obj)
{
	*(u32 *)obj = 0x41414141;
}

#define TRIES	1000

/* One object, freed with bytes in it; then @again is it as it comes with @gfp. */
static void used_twice(struct kmem_cache *cache, gfp_t gfp, u8 again[200])
{
	static u8 *tried[TRIES];
	u8 *obj = kmem_cache_alloc(cache, GFP_KERNEL);
	unsigned int nr = 0;

	memset(obj + 4, 0x5c, 196);
	kmem_cache_free(cache, obj);
	do {
		assert_true(nr < TRIES);
		tried[nr] = kmem_cache_alloc(cache, gfp);
	} while (tried[nr++] != obj);
	memcpy(again, obj, 200);
	while (nr)
		kmem_cache_free(cache, tried[--nr]);
}

static void constructed_and_rcu_objects_keep_their_content(void **state)
{
	struct kmem_cache *ctor = kmem_cache_create("ctor", 200, 0, 0, set_first_word);
	struct kmem_cache *rcu = kmem_cache_create("rcu", 200, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	struct kmem_cache *plain = kmem_cache_create("plain", 200, 0, 0, NULL);
	u8 again[200];

	(void)state;
	used_twice(ctor, GFP_KERNEL, again);
	assert_int_equal(*(u32 *)again, 0x41414141);
	assert_int_equal(again[199], 0x5c);
	used_twice(rcu, GFP_KERNEL, again);
	assert_int_equal(again[199], 0x5c);
	/* Asked for, zeroes come even there. */
	used_twice(rcu, GFP_KERNEL | __GFP_ZERO, again);
	assert_true(is_clean(again, sizeof(again)));
	used_twice(plain, GFP_KERNEL, again);
	assert_true(is_clean(again, sizeof(again)));
	kmem_cache_destroy(plain);
	kmem_cache_destroy(rcu);
	kmem_cache_destroy(ctor);
}

/* ---- mistakes of callers ---- */

static void a_null_cache_is_reported(void **state)
{
	struct kmem_cache *cache = kmem_cache_create("lost", 64, 0, 0, NULL);
	void *obj = kmem_cache_alloc(cache, GFP_KERNEL);

	(void)state;
	(kmem_cache_free)(NULL, obj);
	expect_warn("kmem_cache_free");
	assert_int_equal(kmem_cache_live_objects(cache), 0);
	kmem_cache_destroy(cache);
	kmem_cache_destroy(NULL);
	expect_no_warn();
}

static void krealloc_of_freed_memory_is_refused(void **state)
{
	void *p = kmalloc(100, GFP_KERNEL), *stale = p;

	(void)state;
	__asm__("" : "+r"(stale));	/* the compiler would object */
	kfree(p);
	assert_null(krealloc(stale, 4000, GFP_KERNEL));
	expect_warn("krealloc");
	assert_int_equal(machine_check(this_machine()), 0);
}

static void saturated_sizes_fail_without_a_flood(void **state)
{
	size_t many = SIZE_MAX / 8 + 1;

	(void)state;
	for (unsigned int i = 0; i < 100; i++) {
		assert_null(kmalloc_array(many, 16, GFP_KERNEL | __GFP_NOWARN));
		assert_null(kcalloc(many, 16, GFP_KERNEL | __GFP_NOWARN));
		assert_null(kvmalloc_array(many, 16, GFP_KERNEL));
		assert_null(kvmalloc(SIZE_MAX, GFP_KERNEL));
		assert_null(vmalloc_array(many, 16));
	}
	expect_no_warn();
}

static void an_impossible_alignment_gives_no_area(void **state)
{
	unsigned int worked = 0;

	(void)state;
	for (unsigned int shift = 0; shift < 64; shift++) {
		void *p = __vmalloc_node(PAGE_SIZE, 1UL << shift, GFP_KERNEL, NUMA_NO_NODE,
					 __builtin_return_address(0));

		if (!p)
			continue;
		assert_int_equal((unsigned long)p & ((1UL << shift) - 1), 0);
		worked = shift;
		vfree(p);
	}
	assert_true(worked >= 22);	/* 4 MiB */
	assert_true(worked < 63);
	expect_no_warn();
}

/* ---- requests that may fail, callbacks that free ---- */

struct waiting {
	struct rcu_head rcu;
	struct kmem_cache *cache;
	u8 rest[200];
};

static void free_the_waiting(struct rcu_head *rcu)
{
	struct waiting *w = container_of(rcu, struct waiting, rcu);

	kmem_cache_free(w->cache, w);
}

/* As the storm of caches in kernels' own tests: no sleep, so it may fail; then try again. */
static long allocates_and_lets_rcu_free(struct storm_worker *w)
{
	struct kmem_cache *cache = w->storm->arg;

	for (unsigned int i = 0; i < 300; i++) {
		struct waiting *obj;

		while (!(obj = kmem_cache_alloc(cache, GFP_NOWAIT | __GFP_NOWARN)))
			cond_resched();
		obj->cache = cache;
		memset(obj->rest, (int)i, sizeof(obj->rest));
		call_rcu(&obj->rcu, free_the_waiting);
	}
	return 0;
}

static void rcu_gives_back_what_requests_that_cannot_wait_need(void **state)
{
	struct kmem_cache *cache = kmem_cache_create("waiting", sizeof(struct waiting), 0, 0, NULL);
	struct storm storm;

	(void)state;
	storm_run(&storm, 2, allocates_and_lets_rcu_free, cache);
	rcu_barrier();
	assert_int_equal(kmem_cache_live_objects(cache), 0);
	kmem_cache_destroy(cache);
	expect_no_warn();
}

struct with_head {
	struct rcu_head rcu;
	u8 bytes[3000];
};

static long frees_after_readers(struct storm_worker *w)
{
	for (unsigned int i = 0; i < 60; i++) {
		size_t size = sizeof(struct with_head);
		struct with_head *p = rnd_chance(&w->rnd, 1, 2) ? kmalloc(size, GFP_KERNEL) :
								  vmalloc(size);
		u8 *bare = kvmalloc(100 + rnd_below(&w->rnd, 20000), GFP_KERNEL);

		assert_non_null(p);
		assert_non_null(bare);
		rcu_read_lock();
		p->bytes[2999] = (u8)i;
		kvfree_rcu(p, rcu);
		assert_int_equal(p->bytes[2999], (u8)i);
		rcu_read_unlock();
		bare[0] = 1;
		kvfree_rcu(bare);
	}
	return 0;
}

static void many_threads_free_after_readers_with_and_without_a_head(void **state)
{
	struct storm storm;
	unsigned long areas = vmap_nr_areas(this_machine());

	(void)state;
	storm_run(&storm, 2, frees_after_readers, NULL);
	rcu_barrier();
	machine_quiesce(this_machine());
	assert_int_equal(vmap_nr_areas(this_machine()), areas);
	expect_no_warn();
}

/* ---- per-CPU variables: what C's promotions do to them ---- */

static DEFINE_PER_CPU(unsigned long, wide);
static DEFINE_PER_CPU(long, with_sign);

static void negative_steps_of_smaller_types_are_widened_with_their_sign(void **state)
{
	volatile unsigned int one = 1;
	int minus = -1;

	(void)state;
	preempt_disable();
	__this_cpu_write(wide, 0);
	__this_cpu_add(wide, minus);
	assert_int_equal(__this_cpu_read(wide), ~0UL);
	__this_cpu_sub(wide, minus);
	assert_int_equal(__this_cpu_read(wide), 0);
	/* -one is 2^32 - 1, and subtracting one subtracts one. */
	__this_cpu_add(wide, -one);
	assert_int_equal(__this_cpu_read(wide), 0xffffffffUL);
	__this_cpu_write(wide, 0);
	__this_cpu_sub(wide, one);
	assert_int_equal(__this_cpu_read(wide), ~0UL);
	assert_int_equal(this_cpu_sub_return(wide, 1), ~0UL - 1);
	__this_cpu_write(with_sign, 0);
	__this_cpu_sub(with_sign, one);
	assert_true(__this_cpu_read(with_sign) == -1);
	assert_true(this_cpu_add_return(with_sign, -1UL) == -2);
	preempt_enable();
}

int main(void)
{
	static const struct machine_config alloc = {
		.mem_bytes = 64ULL << 20, .cmdline = "init_on_alloc=1",
	};
	static const struct machine_config free_only = {
		.mem_bytes = 64ULL << 20, .cmdline = "init_on_free=1",
	};
	static const struct machine_config both = {
		.mem_bytes = 64ULL << 20, .cmdline = "init_on_alloc=1 init_on_free=1",
	};
	static const struct machine_config tiny = { .mem_bytes = 16ULL << 20 };
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(memory_is_clean_whichever_way_it_comes, 1, &alloc),
		karc_unit_test_config(memory_is_clean_whichever_way_it_comes, 1, &free_only),
		karc_unit_test_config(memory_is_clean_whichever_way_it_comes, 2, &both),
		karc_unit_test_config(constructed_and_rcu_objects_keep_their_content, 1, &both),
		karc_unit_test(a_null_cache_is_reported),
		karc_unit_test(krealloc_of_freed_memory_is_refused),
		karc_unit_test(saturated_sizes_fail_without_a_flood),
		karc_unit_test(an_impossible_alignment_gives_no_area),
		karc_unit_test_config(rcu_gives_back_what_requests_that_cannot_wait_need, 1, &tiny),
		karc_unit_test_config(rcu_gives_back_what_requests_that_cannot_wait_need, 4, &tiny),
		KARC_TESTS(many_threads_free_after_readers_with_and_without_a_head),
		karc_unit_test(negative_steps_of_smaller_types_are_widened_with_their_sign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
