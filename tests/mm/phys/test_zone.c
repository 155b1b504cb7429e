/* SPDX-License-Identifier: MIT */
/*
 * Goal: frames lie in the zone that the memory map says, requests reach the zones that their flags
 * allow, blocks merge completely, and the watermarks keep their reserve.
 * Method: machines with small zones and holes; sums compared with the configuration; the check
 * is fed damaged lists and must find them.
 */
#include "fixture.h"

#include <string.h>

#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include "mm/phys/internal.h"

#define MIB (1ULL << 20)

static const struct machine_config all_zones = {
	.mem_bytes = 64 * MIB,
	.dma_end = 8 * MIB,
	.dma32_end = 16 * MIB,
	.movable_start = 40 * MIB,
	.highmem_start = 48 * MIB,
};

static struct zone *zone_of(enum zone_type type)
{
	return &NODE_DATA(0)->node_zones[type];
}

/* The default map skips [640 KiB, 1 MiB), so 64 MiB of RAM end at 64 MiB + 384 KiB. */
static void zones_span_what_the_map_says(void **state)
{
	const u64 start[MAX_NR_ZONES] = { 0, 8 * MIB, 16 * MIB, 48 * MIB, 40 * MIB };
	const u64 end[MAX_NR_ZONES] = {
		8 * MIB, 16 * MIB, 40 * MIB, 64 * MIB + 384 * 1024, 48 * MIB
	};
	unsigned long present = 0;

	(void)state;
	for (int type = 0; type < MAX_NR_ZONES; type++) {
		struct zone *zone = zone_of(type);

		assert_int_equal(zone->zone_start_pfn, start[type] >> PAGE_SHIFT);
		assert_int_equal(zone_end_pfn(zone), end[type] >> PAGE_SHIFT);
		present += zone->present_pages;
		assert_int_equal(zone_page_state(zone, NR_FREE_PAGES), zone->managed_pages);
		assert_int_equal(zone_idx(zone), type);
	}
	assert_int_equal(present, 64 * MIB >> PAGE_SHIFT);
	assert_int_equal(zone_of(ZONE_DMA)->present_pages,
			 (8 * MIB - 384 * 1024) >> PAGE_SHIFT);
	assert_int_equal(zone_of(ZONE_DMA)->managed_pages + 1,
			 zone_of(ZONE_DMA)->present_pages);	/* frame 0 */
	assert_true(is_highmem(zone_of(ZONE_HIGHMEM)));
}

static void flags_choose_the_zone(void **state)
{
	const struct {
		gfp_t gfp;
		enum zone_type zone;
	} want[] = {
		{ GFP_KERNEL, ZONE_NORMAL },
		{ GFP_KERNEL | GFP_DMA, ZONE_DMA },
		{ GFP_KERNEL | GFP_DMA32, ZONE_DMA32 },
		{ GFP_HIGHUSER, ZONE_HIGHMEM },
		{ GFP_HIGHUSER_MOVABLE, ZONE_MOVABLE },
		{ GFP_KERNEL | __GFP_MOVABLE, ZONE_NORMAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct page *page = alloc_page(want[i].gfp);
		unsigned long place = page->flags >> PAGE_ZONE_SHIFT & 7;

		assert_int_equal(gfp_zone(want[i].gfp), want[i].zone);
		assert_int_equal(place, want[i].zone);
		assert_ptr_equal(page_zone(page), zone_of(want[i].zone));
		assert_true(zone_spans_pfn(page_zone(page), page_to_pfn(page)));
		__free_page(page);
	}
}

/* Fill a zone; the next frame comes from the zone below, and of DMA only what is not reserved. */
static void full_zone_falls_back_to_the_next_lower(void **state)
{
	LIST_HEAD(taken);
	enum zone_type lowest = ZONE_NORMAL;
	unsigned long nr_dma = 0;
	struct page *page, *next;

	(void)state;
	while ((page = alloc_page(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN))) {
		/* Above the low mark from top to bottom; then the same once more, down to min. */
		assert_true(page_zonenum(page) <= ZONE_NORMAL);
		if (page_zonenum(page) < lowest)
			assert_int_equal(page_zonenum(page), lowest - 1);
		lowest = min(lowest, page_zonenum(page));
		nr_dma += page_zonenum(page) == ZONE_DMA;
		list_add(&page->lru, &taken);
	}
	assert_int_equal(lowest, ZONE_DMA);
	assert_true(zone_page_state(zone_of(ZONE_DMA), NR_FREE_PAGES) >
		    (unsigned long)zone_of(ZONE_DMA)->lowmem_reserve[ZONE_NORMAL]);
	assert_true(nr_dma > 0);
	page = alloc_page(GFP_DMA | GFP_KERNEL);	/* for whom the reserve is */
	assert_non_null(page);
	__free_page(page);
	list_for_each_entry_safe(page, next, &taken, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
}

static unsigned long whole_blocks(int migratetype)
{
	unsigned long nr = 0;
	struct pglist_data *pgdat;

	for_each_online_pgdat(pgdat) {
		for (int type = 0; type < MAX_NR_ZONES; type++) {
			struct free_area *area =
				&pgdat->node_zones[type].free_area[MAX_ORDER - 1];

			nr += list_count_nodes(&area->free_list[migratetype]);
		}
	}
	return nr;
}

/* Blocks that a fallback converted are whole again and on the list of their new type. */
static void freed_blocks_merge_and_lie_on_their_types_list(void **state)
{
	unsigned long before = whole_blocks(MIGRATE_MOVABLE);
	struct page *pages[64];

	(void)state;
	for (int i = 0; i < 64; i++) {
		pages[i] = alloc_pages(GFP_KERNEL, (unsigned int)i % 6);
		assert_int_equal(get_pageblock_migratetype(pages[i]), MIGRATE_UNMOVABLE);
	}
	for (int i = 63; i >= 0; i--)
		__free_pages(pages[i], (unsigned int)i % 6);
	drain_all_pages(NULL);
	assert_true(whole_blocks(MIGRATE_UNMOVABLE) > 0);
	assert_int_equal(whole_blocks(MIGRATE_MOVABLE) + whole_blocks(MIGRATE_UNMOVABLE), before);
}

static void unmovable_and_movable_frames_do_not_share_blocks(void **state)
{
	struct page *unmovable = alloc_page(GFP_KERNEL);
	struct page *movable = alloc_page(GFP_KERNEL | __GFP_MOVABLE);
	struct page *reclaimable = alloc_page(GFP_KERNEL | __GFP_RECLAIMABLE);

	(void)state;
	assert_int_equal(get_pageblock_migratetype(movable), MIGRATE_MOVABLE);
	assert_int_equal(get_pageblock_migratetype(unmovable), MIGRATE_UNMOVABLE);
	assert_int_not_equal(page_to_pfn(movable) >> pageblock_order,
			     page_to_pfn(unmovable) >> pageblock_order);
	__free_page(unmovable);
	__free_page(movable);
	__free_page(reclaimable);
}

static void isolated_blocks_are_not_handed_out(void **state)
{
	struct page *page = alloc_pages(GFP_KERNEL, MAX_ORDER - 1);
	unsigned long pfn = page_to_pfn(page);
	struct page *others[32];

	(void)state;
	set_pageblock_migratetype(page, MIGRATE_ISOLATE);
	__free_pages(page, MAX_ORDER - 1);
	for (int i = 0; i < 32; i++) {
		others[i] = alloc_pages(GFP_KERNEL, 6);
		assert_true(page_to_pfn(others[i]) - pfn >= pageblock_nr_pages);
	}
	for (int i = 0; i < 32; i++)
		__free_pages(others[i], 6);
}

static void watermarks_rise_and_reserves_lower_them(void **state)
{
	struct zone *zone = zone_of(ZONE_NORMAL);
	unsigned long free = zone_page_state(zone, NR_FREE_PAGES);

	(void)state;
	assert_true(min_wmark_pages(zone) > 0);
	assert_true(min_wmark_pages(zone) < low_wmark_pages(zone));
	assert_true(low_wmark_pages(zone) < high_wmark_pages(zone));
	assert_true(zone_watermark_ok(zone, 0, free - 1, ZONE_NORMAL, 0));
	assert_false(zone_watermark_ok(zone, 0, free, ZONE_NORMAL, 0));
	assert_true(zone_watermark_ok(zone, 0, free, ZONE_NORMAL, ALLOC_HARDER));
	assert_true(zone_watermark_ok(zone, 0, free + free / 2, ZONE_NORMAL, ALLOC_HIGH));
	assert_false(zone_watermark_ok(zone, 4, free - 15, ZONE_NORMAL, 0));
	assert_true(zone_watermark_ok(zone, 4, free - 16, ZONE_NORMAL, 0));
}

static const struct machine_bank odd_banks[] = {
	{ .start = 3 * 4096, .size = 5 * 4096, .node = 0 },
	{ .start = 1 * MIB + 4096, .size = 7 * MIB, .node = 0 },
	{ .start = 8 * MIB + 4096, .size = 3 * MIB, .node = 0 },	/* touches the last */
	{ .start = 5ULL << 30, .size = 4 * MIB, .node = 0 },
};

static const struct machine_config odd_map = {
	.banks = odd_banks,
	.nr_banks = ARRAY_SIZE(odd_banks),
	.arena_bytes = 12ULL << 30,
};

static void map_with_holes_gives_out_ram_only(void **state)
{
	unsigned long nr_ram = physmem_nr_frames(this_machine());
	unsigned long nr = 0;
	LIST_HEAD(taken);
	struct page *page;

	(void)state;
	assert_int_equal(phys_nr_free(this_machine()), nr_ram);
	while ((page = alloc_page(GFP_ATOMIC | __GFP_NOWARN | __GFP_MEMALLOC))) {
		assert_true(pfn_valid(page_to_pfn(page)));
		*(unsigned long *)page_address(page) = nr++;
		list_add(&page->lru, &taken);
	}
	assert_int_equal(nr, nr_ram);
	while (!list_empty(&taken)) {
		page = list_first_entry(&taken, struct page, lru);
		assert_int_equal(*(unsigned long *)page_address(page), --nr);
		list_del(&page->lru);
		__free_page(page);
	}
}

static const struct machine_bank node_banks[] = {
	{ .start = 0, .size = 16 * MIB, .node = 0 },
	{ .start = 16 * MIB, .size = 16 * MIB, .node = 1 },
};

static const struct machine_config two_nodes = {
	.banks = node_banks,
	.nr_banks = ARRAY_SIZE(node_banks),
};

static void each_node_has_its_zones(void **state)
{
	struct page *here = alloc_pages_node(0, GFP_KERNEL, 0);
	struct page *there = alloc_pages_node(1, GFP_KERNEL | __GFP_THISNODE, 2);

	(void)state;
	assert_non_null(NODE_DATA(0));
	assert_non_null(NODE_DATA(1));
	assert_null(NODE_DATA(2));
	assert_ptr_equal(node_by_index(1), NODE_DATA(1));
	assert_int_equal(page_to_nid(here), 0);
	assert_int_equal(page_to_nid(there), 1);
	assert_int_equal(page_zone(there)->node, 1);
	__free_page(here);
	__free_pages(there, 2);
}

/* ---- nodes: n of them on the CPUs there are, 16 MiB each ---- */

#define NODE_BYTES	(16 * MIB)
#define NODES(n) \
	static const struct machine_config with_##n##_nodes = { \
		.mem_bytes = (n) * NODE_BYTES, .nr_nodes = (n), \
	}
NODES(1);
NODES(2);
NODES(4);
NODES(8);

/* Nodes 0 and 2 and 7, with holes in and between them. */
static const struct machine_bank sparse_banks[] = {
	{ .start = 0, .size = 12 * MIB, .node = 2 },
	{ .start = 14 * MIB, .size = 2 * MIB, .node = 0 },
	{ .start = 16 * MIB, .size = 8 * MIB, .node = 0 },
	{ .start = 25 * MIB, .size = 8 * MIB, .node = 7 },
	{ .start = 40 * MIB, .size = 8 * MIB, .node = 2 },
};

static const struct machine_config sparse_nodes = {
	.banks = sparse_banks,
	.nr_banks = ARRAY_SIZE(sparse_banks),
};

static unsigned long node_frames_free(int nid)
{
	unsigned long nr = 0;

	machine_quiesce(this_machine());
	for (int type = 0; type < MAX_NR_ZONES; type++)
		nr += zone_page_state(&NODE_DATA(nid)->node_zones[type], NR_FREE_PAGES);
	return nr;
}

static long alloc_two_on_this_cpu(void *arg)
{
	struct page **page = arg;

	page[0] = alloc_page(GFP_KERNEL);
	page[1] = alloc_pages(GFP_KERNEL, 3);
	return numa_node_id();
}

static void memory_comes_from_the_local_node(void **state)
{
	struct machine *m = this_machine();
	unsigned int cpu;

	(void)state;
	for_each_cpu_of(m, cpu) {
		struct page *page[2] = { NULL, NULL };
		struct machine_result r = machine_call(m, cpu, alloc_two_on_this_cpu, page);

		assert_int_equal(r.end, MACHINE_VALUE);
		assert_int_equal(r.value, cpu_to_node(cpu));
		assert_int_equal(page_to_nid(page[0]), r.value);
		assert_int_equal(page_to_nid(page[1]), r.value);
		__free_page(page[0]);		/* from another CPU, to the frame's own node */
		__free_pages(page[1], 3);
	}
}

/* Where a frame asked of node @nid comes from when all of its own are taken, again and again. */
static void a_full_node_falls_back_to_the_next(void **state)
{
	int order[MAX_NUMNODES] = { -1 }, nr = 0, nid = numa_node_id();
	unsigned long seen = 0;
	LIST_HEAD(taken);
	struct page *page;

	(void)state;
	while ((page = alloc_pages_node(nid, GFP_ATOMIC | __GFP_NOWARN, 0))) {
		list_add(&page->lru, &taken);
		if (seen >> page_to_nid(page) & 1)
			continue;
		seen |= 1UL << page_to_nid(page);
		order[nr++] = page_to_nid(page);
	}
	/* By distance, own first; equally far ones in the order of their numbers, round the end. */
	assert_int_equal(seen, machine_node_mask(this_machine()));
	assert_int_equal(order[0], nid);
	for (int i = 1; i < nr; i++) {
		int next = next_online_node(order[i - 1]);

		assert_int_equal(order[i], next < MAX_NUMNODES ? next : first_online_node);
	}
	while (!list_empty(&taken)) {
		page = list_first_entry(&taken, struct page, lru);
		list_del(&page->lru);
		__free_page(page);
	}
}

static void thisnode_fails_rather_than_go_elsewhere(void **state)
{
	const gfp_t gfp = GFP_ATOMIC | __GFP_THISNODE | __GFP_NOWARN;
	int nid;

	(void)state;
	for_each_online_node(nid) {
		unsigned long others = phys_nr_free(this_machine()) - node_frames_free(nid);
		LIST_HEAD(taken);
		struct page *page;

		while ((page = alloc_pages_node(nid, gfp, 0))) {
			assert_int_equal(page_to_nid(page), nid);
			list_add(&page->lru, &taken);
		}
		assert_null(alloc_pages_node(nid, GFP_KERNEL | __GFP_THISNODE | __GFP_NOWARN, 2));
		assert_int_equal(phys_nr_free(this_machine()) - node_frames_free(nid), others);
		while (!list_empty(&taken)) {
			page = list_first_entry(&taken, struct page, lru);
			list_del(&page->lru);
			__free_page(page);
		}
	}
}

/* All frames of all nodes out and in again: blocks merge inside their node only. */
static void nodes_get_back_what_is_theirs(void **state)
{
	unsigned long before[MAX_NUMNODES] = { 0 };
	LIST_HEAD(taken);
	struct page *page;
	int nid;

	(void)state;
	for_each_online_node(nid)
		before[nid] = node_frames_free(nid);
	while ((page = alloc_page(GFP_ATOMIC | __GFP_NOWARN | __GFP_MEMALLOC)))
		list_add_tail(&page->lru, &taken);
	assert_int_equal(phys_nr_free(this_machine()), 0);
	while (!list_empty(&taken)) {
		page = list_first_entry(&taken, struct page, lru);
		list_del(&page->lru);
		__free_page(page);
	}
	for_each_online_node(nid) {
		assert_int_equal(node_frames_free(nid), before[nid]);
		page = alloc_pages_node(nid, GFP_KERNEL | __GFP_THISNODE, MAX_ORDER - 1);
		assert_non_null(page);		/* the largest block is whole again */
		__free_pages(page, MAX_ORDER - 1);
	}
}

#define ON_ALL_NODES(fn)							\
	karc_unit_test_config(fn, 1, &with_1_nodes),				\
	karc_unit_test_config(fn, 2, &with_2_nodes),				\
	karc_unit_test_config(fn, 4, &with_4_nodes),				\
	karc_unit_test_config(fn, 4, &with_8_nodes),				\
	karc_unit_test_config(fn, 8, &with_8_nodes),				\
	karc_unit_test_config(fn, 1, &sparse_nodes),				\
	karc_unit_test_config(fn, 4, &sparse_nodes)

static void check_finds_damaged_lists(void **state)
{
	struct check_report report = { .quiet = true };
	struct page *page = alloc_pages(GFP_KERNEL, 4);
	struct zone *zone = page_zone(page);
	struct page *buddy = pfn_to_page(page_to_pfn(page) ^ 16);

	(void)state;
	phys_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 0);
	zone->vm_stat[NR_FREE_PAGES]++;
	phys_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "Z4"));
	zone->vm_stat[NR_FREE_PAGES]--;
	assert_true(PageBuddy(buddy));
	buddy->mapping = (void *)8;
	phys_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 2);
	assert_non_null(strstr(report.last, "Z6"));
	buddy->mapping = NULL;
	__free_pages(page, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(zones_span_what_the_map_says, 1, &all_zones),
		karc_unit_test_config(flags_choose_the_zone, 1, &all_zones),
		karc_unit_test_config(flags_choose_the_zone, 4, &all_zones),
		karc_unit_test_config(full_zone_falls_back_to_the_next_lower, 1, &all_zones),
		karc_unit_test_config(full_zone_falls_back_to_the_next_lower, 4, &all_zones),
		KARC_TESTS(freed_blocks_merge_and_lie_on_their_types_list),
		karc_unit_test(unmovable_and_movable_frames_do_not_share_blocks),
		karc_unit_test(isolated_blocks_are_not_handed_out),
		karc_unit_test_config(watermarks_rise_and_reserves_lower_them, 1, &all_zones),
		karc_unit_test_config(map_with_holes_gives_out_ram_only, 1, &odd_map),
		karc_unit_test_config(map_with_holes_gives_out_ram_only, 4, &odd_map),
		karc_unit_test_config(each_node_has_its_zones, 1, &two_nodes),
		ON_ALL_NODES(memory_comes_from_the_local_node),
		ON_ALL_NODES(a_full_node_falls_back_to_the_next),
		ON_ALL_NODES(thisnode_fails_rather_than_go_elsewhere),
		ON_ALL_NODES(nodes_get_back_what_is_theirs),
		karc_unit_test(check_finds_damaged_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
