/* SPDX-License-Identifier: MIT */
/*
 * Goal: when there is no memory any more, every allocator says so cleanly, keeps what is reserved
 * for others, and all of it is there again when it was given back.
 * Method: one table of allocators, each run dry under each kind of request that may fail, on
 * machines of 16 MiB and up; the free frames of each zone before and after, machine_check() when
 * nothing is left and when all is back.
 */
#include <stdlib.h>
#include <string.h>

#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/mempool.h>
#include <karc/mm/slab/percpu.h>
#include "storm.h"

#define MAX_THINGS	(64u << 10)
/* Each access is watched and takes its time; what matters then is what CPUs do together. */
#define WATCHED		(KARC_VARIANT == KARC_VARIANT_TSAN)
#define NR_ZONES	(MAX_NUMNODES * MAX_NR_ZONES)

/* What a row works with. */
struct stock {
	gfp_t gfp;
	struct kmem_cache *cache;
	unsigned int nr;
	void *thing[MAX_THINGS];
};

struct row {
	const char *name;
	void *(*get)(struct stock *s);
	void (*put)(struct stock *s, void *thing);
	bool may_sleep;			/* it does whatever the flags say */
};

/* ---- the allocators ---- */

static void *get_page_0(struct stock *s)
{
	return alloc_page(s->gfp);
}

static void put_page_0(struct stock *s, void *thing)
{
	(void)s;
	__free_page(thing);
}

static void *get_page_user(struct stock *s)
{
	return alloc_page(s->gfp | __GFP_HIGHMEM | __GFP_MOVABLE);
}

static void *get_block(struct stock *s)
{
	return alloc_pages(s->gfp | __GFP_COMP, 4);
}

static void put_block(struct stock *s, void *thing)
{
	(void)s;
	__free_pages(thing, 4);
}

static void *get_max_block(struct stock *s)
{
	return alloc_pages(s->gfp, MAX_PAGE_ORDER);
}

static void put_max_block(struct stock *s, void *thing)
{
	(void)s;
	__free_pages(thing, MAX_PAGE_ORDER);
}

static void *get_exact(struct stock *s)
{
	return alloc_pages_exact(3 * PAGE_SIZE, s->gfp);
}

static void put_exact(struct stock *s, void *thing)
{
	(void)s;
	free_pages_exact(thing, 3 * PAGE_SIZE);
}

static void *get_kmalloc(struct stock *s)
{
	return kmalloc(2000, s->gfp);
}

static void put_kfree(struct stock *s, void *thing)
{
	(void)s;
	kfree(thing);
}

static void *get_kmalloc_8k(struct stock *s)
{
	return kmalloc(8192, s->gfp);
}

static void *get_kmalloc_large(struct stock *s)
{
	return kmalloc(100000, s->gfp);
}

static void *get_kmalloc_dma(struct stock *s)
{
	return kmalloc(1000, s->gfp | GFP_DMA);
}

static void *get_object(struct stock *s)
{
	return kmem_cache_alloc(s->cache, s->gfp);
}

static void put_object(struct stock *s, void *thing)
{
	kmem_cache_free(s->cache, thing);
}

static void *get_vmalloc(struct stock *s)
{
	return __vmalloc(5 * PAGE_SIZE, s->gfp | __GFP_HIGHMEM);
}

static void put_vfree(struct stock *s, void *thing)
{
	(void)s;
	vfree(thing);
}

static void *get_kvmalloc(struct stock *s)
{
	return kvmalloc(70000, s->gfp);
}

static void put_kvfree(struct stock *s, void *thing)
{
	(void)s;
	kvfree(thing);
}

static void *get_percpu(struct stock *s)
{
	return (void *)__alloc_percpu_gfp(4000, 8, s->gfp);
}

static void put_percpu(struct stock *s, void *thing)
{
	(void)s;
	free_percpu(thing);
}

static void *get_pool(struct stock *s)
{
	(void)s;
	return mempool_create_page_pool(20, 0);
}

static void put_pool(struct stock *s, void *thing)
{
	(void)s;
	mempool_destroy(thing);
}

static const struct row rows[] = {
	{ "alloc_page", get_page_0, put_page_0, false },
	{ "alloc_page for a user", get_page_user, put_page_0, false },
	{ "alloc_pages", get_block, put_block, false },
	{ "alloc_pages of the largest order", get_max_block, put_max_block, false },
	{ "alloc_pages_exact", get_exact, put_exact, false },
	{ "kmalloc", get_kmalloc, put_kfree, false },
	{ "kmalloc of 8 KiB", get_kmalloc_8k, put_kfree, false },
	{ "kmalloc above", get_kmalloc_large, put_kfree, false },
	{ "kmalloc of DMA memory", get_kmalloc_dma, put_kfree, false },
	{ "kmem_cache_alloc", get_object, put_object, false },
	{ "vmalloc", get_vmalloc, put_vfree, true },
	{ "kvmalloc", get_kvmalloc, put_kvfree, true },
	{ "alloc_percpu", get_percpu, put_percpu, true },
	{ "mempool_create", get_pool, put_pool, true },
};

/* ---- running dry ---- */

static void zone_counts(unsigned long counts[NR_ZONES])
{
	struct pglist_data *pgdat;
	unsigned int nr = 0;

	machine_quiesce(this_machine());
	memset(counts, 0, NR_ZONES * sizeof(counts[0]));
	for_each_online_pgdat(pgdat)
		for (unsigned int i = 0; i < MAX_NR_ZONES; i++)
			counts[nr++] = zone_page_state(&pgdat->node_zones[i], NR_FREE_PAGES);
}

static void take_all(struct stock *s, const struct row *row)
{
	void *thing;

	s->nr = 0;
	while ((thing = row->get(s))) {
		assert_true(s->nr < MAX_THINGS);
		s->thing[s->nr++] = thing;
	}
	assert_true(s->nr > 0);
}

static void give_all(struct stock *s, const struct row *row)
{
	while (s->nr)
		row->put(s, s->thing[--s->nr]);
}

/* Frames below its low mark a zone keeps from requests that may fail; but not from these. */
static void emergency_frames_are_left(void)
{
	struct page *page = alloc_page(GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOWARN);

	assert_non_null(page);
	__free_page(page);
}

static void run_dry(struct stock *s, const struct row *row, gfp_t gfp, unsigned int rounds)
{
	unsigned long before[NR_ZONES], after[NR_ZONES];
	unsigned int nr = 0;

	s->gfp = gfp | __GFP_NOWARN;
	s->cache = kmem_cache_create("dry", 1900, 0, 0, NULL);
	assert_non_null(s->cache);
	zone_counts(before);
	for (unsigned int i = 0; i < rounds; i++) {
		take_all(s, row);
		assert_int_equal(machine_check(this_machine()), 0);
		assert_null(row->get(s));
		emergency_frames_are_left();
		/* As much as the time before, if nothing got lost. */
		if (i)
			assert_in_range(s->nr, nr - nr / 10, nr + nr / 10);
		nr = s->nr;
		give_all(s, row);
		machine_quiesce(this_machine());
	}
	print_message("%s: %u\n", row->name, nr);
	zone_counts(after);
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(kmem_cache_live_objects(s->cache), 0);
	kmem_cache_destroy(s->cache);
	assert_int_equal(machine_check(this_machine()), 0);
}

static void each_allocator_runs_dry_and_recovers(void **state)
{
	struct stock *s = calloc(1, sizeof(*s));

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
		run_dry(s, &rows[i], GFP_KERNEL | __GFP_NORETRY, WATCHED ? 1 : 2);
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
		if (!rows[i].may_sleep && !WATCHED)
			run_dry(s, &rows[i], GFP_ATOMIC, 1);
	expect_no_warn();
	free(s);
}

static unsigned long nr_free(void)
{
	return global_zone_page_state(NR_FREE_PAGES);
}

/* Each kind of request goes lower than the one before, and none takes all. */
static void who_may_not_wait_finds_more_than_who_may(void **state)
{
	static const gfp_t gfp[] = { GFP_NOWAIT, GFP_ATOMIC, GFP_ATOMIC | __GFP_MEMALLOC };
	struct stock *s = calloc(1, sizeof(*s));
	unsigned long left[ARRAY_SIZE(gfp)];
	struct page *page;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(gfp); i++) {
		while ((page = alloc_page(gfp[i] | __GFP_NOWARN)))
			s->thing[s->nr++] = page;
		drain_all_pages(NULL);
		left[i] = nr_free();
		assert_int_equal(machine_check(this_machine()), 0);
	}
	print_message("left: %lu, %lu, %lu frames\n", left[0], left[1], left[2]);
	assert_true(left[0] > left[1]);
	assert_true(left[1] > 0);
	assert_true(left[1] > left[2]);
	assert_null(alloc_page(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN));
	give_all(s, &rows[0]);
	page = alloc_page(GFP_NOWAIT);
	assert_non_null(page);
	__free_page(page);
	expect_no_warn();
	free(s);
}

/* The reserve is asked for by its own cache's objects and by nobody else. */
static void a_reserve_outlives_all_other_memory(void **state)
{
	struct stock *s = calloc(1, sizeof(*s));
	mempool_t *pool = mempool_create_kmalloc_pool(8, 1000);
	void *element[8];

	(void)state;
	assert_non_null(pool);
	s->gfp = GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOWARN;
	take_all(s, &rows[0]);
	for (unsigned int i = 0; i < ARRAY_SIZE(element); i++) {
		element[i] = mempool_alloc(pool, GFP_NOWAIT | __GFP_NOWARN);
		assert_non_null(element[i]);
		memset(element[i], (int)i, 1000);
	}
	give_all(s, &rows[0]);
	for (unsigned int i = 0; i < ARRAY_SIZE(element); i++) {
		assert_int_equal(((u8 *)element[i])[999], i);
		mempool_free(element[i], pool);
	}
	mempool_destroy(pool);
	free(s);
}

/* ---- all CPUs at once ---- */

static long takes_what_it_gets(struct storm_worker *w)
{
	const struct row *row = &rows[w->index % ARRAY_SIZE(rows)];
	struct stock *s = calloc(1, sizeof(*s));
	void *thing;

	s->gfp = GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN;
	s->cache = w->storm->arg;
	for (unsigned int i = 0; i < (WATCHED ? 2 : 3); i++) {
		while (s->nr < MAX_THINGS && (thing = row->get(s)))
			s->thing[s->nr++] = thing;
		cond_resched();
		give_all(s, row);
	}
	free(s);
	return 0;
}

static void all_cpus_run_dry_together_and_recover(void **state)
{
	unsigned long before[NR_ZONES], after[NR_ZONES];
	struct kmem_cache *cache;
	struct storm storm;

	(void)state;
	zone_counts(before);
	cache = kmem_cache_create("dry", 1900, 0, 0, NULL);
	assert_non_null(cache);
	storm_run(&storm, 4, takes_what_it_gets, cache);
	assert_int_equal(machine_check(this_machine()), 0);
	kmem_cache_destroy(cache);
	zone_counts(after);
	assert_memory_equal(before, after, sizeof(before));
	expect_no_warn();
}

int main(void)
{
	static const struct machine_config small = { .mem_bytes = 16ULL << 20 };
	static const struct machine_config zones = {
		.mem_bytes = 24ULL << 20, .highmem_start = 16ULL << 20,
	};
	static const struct machine_config nodes = {
		.mem_bytes = (WATCHED ? 24ULL : 32ULL) << 20, .nr_nodes = 2,
	};
	const struct CMUnitTest tests[] = {
		/* One CPU does the same in either mode. */
		karc_unit_test_config_parallel(each_allocator_runs_dry_and_recovers, 1, &small),
		karc_unit_test_config_deterministic(each_allocator_runs_dry_and_recovers, 1,
						    &zones),
		karc_unit_test_config(each_allocator_runs_dry_and_recovers, 4, &nodes),
		karc_unit_test_config(who_may_not_wait_finds_more_than_who_may, 1, &small),
		karc_unit_test_config(who_may_not_wait_finds_more_than_who_may, 2, &zones),
		karc_unit_test_config(a_reserve_outlives_all_other_memory, 1, &small),
		karc_unit_test_config(all_cpus_run_dry_together_and_recover, 4, &small),
		karc_unit_test_config(all_cpus_run_dry_together_and_recover, 4, &nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
