/* SPDX-License-Identifier: MIT */
/*
 * fail_nth.h - tables of allocating calls, and what becomes of each when memory runs out in it
 *
 * Each call is made to fail at its 1st, 2nd, 3rd ... allocation until it succeeds: cold, on a
 * machine where nothing was made in advance, and then warm, when frames, slabs, areas, per-CPU
 * objects and kmaps must be after each failure what they were before. Each room's check is clean
 * all the time.
 */
#ifndef KARC_TESTS_STRESS_FAIL_NTH_H
#define KARC_TESTS_STRESS_FAIL_NTH_H

#include <string.h>

#include <karc/kobject/kobject.h>
#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/mempool.h>
#include <karc/mm/slab/percpu.h>
#include "fixture.h"

#define BULK	24

/* What the rows work with. */
struct world {
	gfp_t gfp;
	void *p;				/* what the last call gave */
	struct page *pages[BULK];
	struct list_head list;
	void *bulk[BULK];
	struct kmem_cache *cache;		/* made new for each try of its row */
	mempool_t *pool;
	struct mem_cgroup *group;
	struct device *dev;
	struct dma_pool *pool_of_dev;
	u64 dma;				/* a handle */
};

static inline void undo_bulk_pages(struct world *w)
{
	for (unsigned int i = 0; i < BULK; i++) {
		if (w->pages[i])
			__free_page(w->pages[i]);
		w->pages[i] = NULL;
	}
}

/* May give fewer; then the caller goes on with those or frees them. */
static inline long bulk_pages(struct world *w)
{
	memset(w->pages, 0, sizeof(w->pages));
	if (alloc_pages_bulk_array(w->gfp, BULK, w->pages) == BULK)
		return 0;
	undo_bulk_pages(w);
	return -ENOMEM;
}

struct row {
	const char *name;
	long (*body)(struct world *w);
	void (*undo)(struct world *w);
	bool may_sleep;			/* it does whatever the flags say */
};

static inline long given(struct world *w, void *p)
{
	w->p = p;
	return p ? 0 : -ENOMEM;
}

static inline long given_all(struct world *w, void *p, size_t size)
{
	if (p)
		memset(p, 0x5a, size);
	return given(w, p);
}

#define ROW(call, undo)		{ #call, row_##call, undo, false }
#define ROW_SLEEPS(call, undo)	{ #call, row_##call, undo, true }

struct try {
	const struct row *row;
	struct world *world;
};

static inline long try_body(void *arg)
{
	struct try *t = arg;

	return t->row->body(t->world);
}

static inline void try_undo(void *arg)
{
	struct try *t = arg;

	t->row->undo(t->world);
}

/* What users have. */
static inline void snapshot_of_users(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct machine *m = this_machine();

	(void)arg;
	values[0] = machine_check(m);
	values[1] = vmap_nr_areas(m);
	values[2] = percpu_nr_objects(m);
	values[3] = kmap_nr_mapped(m);
}

/* And what allocators have, when nothing is merely cached; by zone. */
static inline void snapshot_of_all(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct pglist_data *pgdat;
	unsigned int nr = 4;

	machine_quiesce(this_machine());
	snapshot_of_users(arg, values);
	for_each_online_pgdat(pgdat)
		for (unsigned int i = 0; i < MAX_NR_ZONES; i++)
			values[nr++] = zone_page_state(&pgdat->node_zones[i], NR_FREE_PAGES);
}

static inline void fail_each_allocation_of(const struct row *row, gfp_t gfp)
{
	struct world world = { .gfp = gfp | __GFP_NOWARN };
	struct try t = { row, &world };
	unsigned long cold, warm;

	cold = fixture_fail_nth(try_body, try_undo, snapshot_of_users, &t);
	warm = fixture_fail_nth(try_body, try_undo, snapshot_of_all, &t);
	print_message("%s: failed %lu times cold, %lu times warm\n", row->name, cold, warm);
	assert_true(cold > 0);
	expect_no_warn();
}

static inline void fail_each_of(const struct row *rows, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		fail_each_allocation_of(&rows[i], GFP_KERNEL);
}

/* Those that do not sleep, without sleeping. */
static inline void fail_each_of_atomic(const struct row *rows, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		if (!rows[i].may_sleep)
			fail_each_allocation_of(&rows[i], GFP_ATOMIC);
}

/* The tests of a table of rows, on machines with high memory and with two nodes, and main(). */
#define FAIL_NTH_MAIN(rows)								\
static void a_failed_allocation_leaves_nothing_behind(void **state)			\
{											\
	(void)state;									\
	fail_each_of(rows, ARRAY_SIZE(rows));						\
}											\
											\
static void nor_does_one_that_may_not_wait(void **state)				\
{											\
	(void)state;									\
	fail_each_of_atomic(rows, ARRAY_SIZE(rows));					\
}											\
											\
int main(void)										\
{											\
	static const struct machine_config highmem = {					\
		.mem_bytes = 64ULL << 20, .highmem_start = 48ULL << 20,			\
	};										\
	static const struct machine_config nodes = {					\
		.mem_bytes = 64ULL << 20, .nr_nodes = 2,				\
	};										\
	const struct CMUnitTest tests[] = {						\
		karc_unit_test_config(a_failed_allocation_leaves_nothing_behind, 1, &highmem), \
		karc_unit_test_config(a_failed_allocation_leaves_nothing_behind, 4, &highmem), \
		karc_unit_test_config(a_failed_allocation_leaves_nothing_behind, 4, &nodes), \
		karc_unit_test_config(nor_does_one_that_may_not_wait, 1, &highmem),	\
		karc_unit_test_config(nor_does_one_that_may_not_wait, 4, &nodes),	\
	};										\
											\
	return cmocka_run_group_tests(tests, NULL, NULL);				\
}

#endif
