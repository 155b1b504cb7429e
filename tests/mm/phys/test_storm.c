/* SPDX-License-Identifier: MIT */
/*
 * Goal: frames are nobody's twice: CPUs that allocate, free each other's blocks, and drain all
 * lists at once end with every frame back, on its node, and with every list in order.
 * Method: storms of fibers on every CPU; each block carries a stamp from its owner to its end.
 * The fixture's checks walk all lists afterwards.
 */
#include "storm.h"

#include <string.h>

#include <karc/hw/spinlock.h>
#include <karc/hw/topology.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/vmstat.h>

#define ROUNDS	250
#define HOLD	12

/* Blocks on their way from one worker to another. */
struct exchange {
	spinlock_t lock;
	struct page *page;
	unsigned int order;
	u64 stamp;
};

#define NR_EXCHANGES 8

struct block {
	struct page *page;
	unsigned int order;
	u64 stamp;
};

/* First and last word of a block; a second owner would write its own. */
static void stamp_block(struct block *b, u64 stamp)
{
	char *virt = page_address(b->page);

	b->stamp = stamp;
	*(u64 *)virt = stamp;
	*(u64 *)(virt + (PAGE_SIZE << b->order) - sizeof(u64)) = ~stamp;
}

static bool stamp_is_there(const struct block *b)
{
	const char *virt = page_address(b->page);

	return *(const u64 *)virt == b->stamp &&
	       *(const u64 *)(virt + (PAGE_SIZE << b->order) - sizeof(u64)) == ~b->stamp;
}

static bool end_block(struct block *b)
{
	bool whole = stamp_is_there(b);

	__free_pages(b->page, b->order);
	b->page = NULL;
	return whole;
}

static void take_new(struct storm_worker *w, struct block *b, u64 stamp)
{
	int nid = NUMA_NO_NODE;

	b->order = rnd_chance(&w->rnd, 2, 3) ? 0 : rnd_below(&w->rnd, 5);
	if (rnd_chance(&w->rnd, 1, 4))
		nid = next_online_node((int)rnd_below(&w->rnd, MAX_NUMNODES) - 1);
	if (nid == MAX_NUMNODES)
		nid = first_online_node;
	b->page = alloc_pages_node(nid, rnd_chance(&w->rnd, 1, 2) ? GFP_KERNEL : GFP_ATOMIC,
				   b->order);
	if (b->page)
		stamp_block(b, stamp);
}

/* Swap a block with whoever was here last, so that blocks die on other CPUs. */
static void swap_block(struct exchange *x, struct block *b)
{
	struct block old;

	spin_lock(&x->lock);
	old = (struct block){ x->page, x->order, x->stamp };
	x->page = b->page;
	x->order = b->order;
	x->stamp = b->stamp;
	spin_unlock(&x->lock);
	*b = old;
}

static long storm_of_blocks(struct storm_worker *w)
{
	struct exchange *x = w->storm->arg;
	struct block held[HOLD] = { { NULL, 0, 0 } };
	bool whole = true;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct block *b = &held[rnd_below(&w->rnd, HOLD)];

		if (!b->page)
			take_new(w, b, (u64)w->index << 32 | i);
		else if (rnd_chance(&w->rnd, 1, 3))
			swap_block(&x[rnd_below(&w->rnd, NR_EXCHANGES)], b);
		else
			whole &= end_block(b);
		if (rnd_chance(&w->rnd, 1, 40))
			drain_all_pages(NULL);
		hw_safepoint();
	}
	for (unsigned int i = 0; i < HOLD; i++) {
		if (held[i].page)
			whole &= end_block(&held[i]);
	}
	return whole ? 0 : -1;
}

static void blocks_have_one_owner(void **state)
{
	struct exchange x[NR_EXCHANGES];
	struct storm s;
	unsigned long before;

	(void)state;
	memset(x, 0, sizeof(x));
	for (unsigned int i = 0; i < NR_EXCHANGES; i++)
		spin_lock_init(&x[i].lock);
	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	storm_run(&s, 2, storm_of_blocks, x);
	for (unsigned int i = 0; i < NR_EXCHANGES; i++) {
		struct block b = { x[i].page, x[i].order, x[i].stamp };

		if (b.page)
			assert_true(end_block(&b));
	}
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

/* References on one frame come and go on all CPUs; the last put, wherever, frees it once. */
static long storm_of_references(struct storm_worker *w)
{
	struct page *page = w->storm->arg;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		get_page(page);
		hw_safepoint();
		if (!get_page_unless_zero(page))
			return -1;
		put_page(page);
		put_page(page);
	}
	put_page(page);
	return 0;
}

static void the_last_put_frees_once(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, 3);
	struct storm s;

	(void)state;
	/* One reference for each worker; alloc_pages() gave the first. */
	page_ref_add(page, (int)(2 * machine_nr_cpus(this_machine())) - 1);
	storm_run(&s, 2, storm_of_references, page);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

/* Memory runs out on all CPUs at once; requests fail or not, and nothing is lost. */
static long storm_to_the_end(struct storm_worker *w)
{
	LIST_HEAD(taken);
	struct page *page;

	(void)w;
	while ((page = alloc_page(GFP_ATOMIC | __GFP_NOWARN)))
		list_add(&page->lru, &taken);
	page = alloc_pages(GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY, 2);
	if (page)
		__free_pages(page, 2);
	while (!list_empty(&taken)) {
		page = list_first_entry(&taken, struct page, lru);
		list_del(&page->lru);
		__free_page(page);
	}
	return 0;
}

static void everybody_may_run_out_at_once(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	struct storm s;

	(void)state;
	storm_run(&s, 1, storm_to_the_end, NULL);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static const struct machine_config four_nodes = { .mem_bytes = 64ULL << 20, .nr_nodes = 4 };
static const struct machine_config small = { .mem_bytes = 8ULL << 20 };

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(blocks_have_one_owner),
		karc_unit_test_config(blocks_have_one_owner, 8, &four_nodes),
		KARC_TESTS(the_last_put_frees_once),
		karc_unit_test_config(everybody_may_run_out_at_once, 1, &small),
		karc_unit_test_config(everybody_may_run_out_at_once, 4, &small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
