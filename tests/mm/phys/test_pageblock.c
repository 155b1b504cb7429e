/* SPDX-License-Identifier: MIT */
/*
 * Goal: types of frames are kept apart as long as there is room, take from each other by Linux's
 * rules when there is not, and go back; blocks of HIGHATOMIC and ISOLATE are whose they are. Many
 * frames at once, on a list, in an array or in one piece.
 * Method: machines of a few 4 MiB blocks, filled until one type must take from another; ranges
 * with obstacles of each kind in them.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/fiber.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include "mm/phys/internal.h"

#define MIB (1ULL << 20)

static const struct machine_config small = { .mem_bytes = 16 * MIB, .dma_end = 64 * MIB };
static const struct machine_config medium = { .mem_bytes = 64 * MIB, .cmdline = "untracked" };

static unsigned long nr_free(void)
{
	return phys_nr_free(this_machine());
}

static struct zone *zone_of(enum zone_type type)
{
	return &NODE_DATA(0)->node_zones[type];
}

static unsigned long blocks_of(int type)
{
	unsigned long nr = 0;

	for (unsigned long pfn = pageblock_nr_pages; pfn < physmem_max_pfn(this_machine());
	     pfn += pageblock_nr_pages)
		nr += get_pageblock_migratetype(pfn_to_page(pfn)) == type;
	return nr;
}

static void give_all(struct list_head *taken)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, taken, lru) {
		list_del(&page->lru);
		__free_pages(page, page_block_order(page));
	}
}

static unsigned long take_all(gfp_t gfp, unsigned int order, struct list_head *taken)
{
	unsigned long nr = 0;
	struct page *page;

	while ((page = alloc_pages(gfp | __GFP_NOWARN, order))) {
		list_add(&page->lru, taken);
		nr++;
	}
	return nr;
}

/* ---- stealing ---- */

static void unmovable_request_takes_a_whole_block_and_converts_it(void **state)
{
	unsigned long movable = blocks_of(MIGRATE_MOVABLE);
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	assert_int_equal(get_pageblock_migratetype(page), MIGRATE_UNMOVABLE);
	assert_int_equal(blocks_of(MIGRATE_MOVABLE) + blocks_of(MIGRATE_UNMOVABLE), movable);
	assert_int_equal(zone_of(ZONE_DMA)->nr_fallbacks, 1);
	__free_page(page);
}

/* The rest of a block goes with it when half of it or more is free or alike. */
static void half_free_block_is_taken_over_and_a_fuller_one_is_not(void **state)
{
	LIST_HEAD(movable);
	LIST_HEAD(fixed);
	struct page *page, *next;
	unsigned long block = 0, nr = 0;

	(void)state;
	take_all(GFP_ATOMIC | __GFP_MEMALLOC | __GFP_MOVABLE, 0, &movable);
	list_for_each_entry_safe(page, next, &movable, lru) {
		unsigned long pfn = page_to_pfn(page);

		if (!block && pfn >= pageblock_nr_pages)
			block = pfn >> pageblock_order;
		if (pfn >> pageblock_order != block || pfn & 1)
			continue;
		list_del(&page->lru);			/* every other frame of one block */
		__free_page(page);
		nr++;
	}
	assert_int_equal(nr, pageblock_nr_pages / 2);
	drain_all_pages(NULL);
	page = pfn_to_page(block << pageblock_order);
	assert_int_equal(get_pageblock_migratetype(page), MIGRATE_MOVABLE);
	list_add(&alloc_page(GFP_ATOMIC | __GFP_MEMALLOC)->lru, &fixed);
	assert_int_equal(get_pageblock_migratetype(page), MIGRATE_UNMOVABLE);
	give_all(&fixed);
	give_all(&movable);
	drain_all_pages(NULL);
}

static void movable_request_takes_the_smallest_and_leaves_the_block(void **state)
{
	LIST_HEAD(fixed);
	struct page *page, *next, *movable;
	const unsigned long high = 3 * pageblock_nr_pages;

	(void)state;
	take_all(GFP_ATOMIC | __GFP_MEMALLOC, 0, &fixed);
	/* One single frame and a pair of an unmovable block. */
	list_for_each_entry_safe(page, next, &fixed, lru) {
		unsigned long at = page_to_pfn(page) - (high - 16);

		if (at == 1 || at == 8 || at == 9) {
			list_del(&page->lru);
			__free_page(page);
		}
	}
	drain_all_pages(NULL);
	movable = alloc_page(GFP_ATOMIC | __GFP_MEMALLOC | __GFP_MOVABLE);
	assert_int_equal(page_to_pfn(movable), high - 15);
	assert_int_equal(get_pageblock_migratetype(movable), MIGRATE_UNMOVABLE);
	__free_page(movable);
	give_all(&fixed);
}

static void types_fall_back_in_linuxs_order(void **state)
{
	LIST_HEAD(taken);
	struct page *reclaimable = alloc_page(GFP_KERNEL | __GFP_RECLAIMABLE);

	(void)state;
	/* The last block that unmovable requests get is the one that reclaimable frames are in. */
	take_all(GFP_ATOMIC | __GFP_MEMALLOC, 0, &taken);
	assert_int_equal(blocks_of(MIGRATE_MOVABLE), 0);
	assert_int_equal(nr_free(), 0);
	__free_page(reclaimable);
	give_all(&taken);
	drain_all_pages(NULL);
}

/* ---- isolation ---- */

static void nothing_of_an_isolated_block_is_handed_out(void **state)
{
	unsigned long before = nr_free();
	struct zone *zone = zone_of(ZONE_DMA32);
	struct page *block = alloc_pages(GFP_KERNEL | GFP_DMA32, MAX_ORDER - 1);
	unsigned long pfn = page_to_pfn(block), free;
	LIST_HEAD(taken);
	struct page *page;

	(void)state;
	set_pageblock_migratetype(block, MIGRATE_ISOLATE);
	assert_int_equal(zone->nr_isolate_pageblock, 1);
	split_page(block, MAX_ORDER - 1);
	free = zone_page_state(zone, NR_FREE_PAGES);
	for (unsigned long i = 0; i < pageblock_nr_pages; i++)
		__free_page(block + i);			/* past the per-CPU list, to its own */
	assert_int_equal(phys_stats(this_machine()).nr_pcp, 0);
	assert_int_equal(zone_page_state(zone, NR_FREE_PAGES), free);
	assert_int_equal(zone->nr_isolated_free, pageblock_nr_pages);
	assert_int_equal(nr_free(), before);
	while ((page = alloc_page(GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOWARN))) {
		assert_true(page_to_pfn(page) - pfn >= pageblock_nr_pages);
		list_add(&page->lru, &taken);
	}
	set_pageblock_migratetype(block, MIGRATE_MOVABLE);
	assert_int_equal(zone->nr_isolate_pageblock, 0);
	assert_int_equal(zone->nr_isolated_free, 0);
	page = alloc_page(GFP_ATOMIC | __GFP_MEMALLOC);
	assert_true(page_to_pfn(page) - pfn < pageblock_nr_pages);
	__free_page(page);
	give_all(&taken);
}

static void isolation_keeps_the_old_type_and_refuses_what_is_isolated_or_shared(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	unsigned long pfn = page_to_pfn(page);
	struct zone *zone = page_zone(page);
	struct phys *phys = phys_here();

	(void)state;
	assert_true(pageblock_isolate(phys, zone, pfn));
	assert_int_equal(get_pageblock_migratetype(page), MIGRATE_ISOLATE);
	assert_false(pageblock_isolate(phys, zone, pfn));
	pageblock_unisolate(phys, zone, pfn);
	assert_int_equal(get_pageblock_migratetype(page), MIGRATE_UNMOVABLE);
	assert_false(pageblock_isolate(phys, zone_of(ZONE_NORMAL), pfn));
	__free_page(page);
}

/* ---- ranges ---- */

static void range_of_any_size_is_contiguous_aligned_and_comes_back(void **state)
{
	static const unsigned long sizes[] = { 1, 2, 3, 64, 100, 1024, 1500, 2048, 3000 };
	unsigned long before = nr_free(), movable = blocks_of(MIGRATE_MOVABLE);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct page *page = alloc_contig_pages(sizes[i], GFP_KERNEL, NUMA_NO_NODE, NULL);

		assert_non_null(page);
		assert_true(!is_power_of_2(sizes[i]) ||
			    IS_ALIGNED(page_to_pfn(page), sizes[i]));
		for (unsigned long k = 0; k < sizes[i]; k++) {
			assert_int_equal(page_count(page + k), 1);
			assert_false(PageCompound(page + k));
			*(unsigned long *)page_address(page + k) = k;
		}
		assert_int_equal(nr_free(), before - sizes[i]);
		get_page(page);				/* somebody looks at one of them */
		free_contig_range(page_to_pfn(page), sizes[i]);
		expect_warn("1 pages are still in use");
		put_page(page);
		assert_int_equal(nr_free(), before);
	}
	drain_all_pages(NULL);
	assert_int_equal(blocks_of(MIGRATE_ISOLATE), 0);
	assert_int_equal(blocks_of(MIGRATE_MOVABLE), movable);
	assert_null(alloc_contig_pages(1UL << 20, GFP_KERNEL, NUMA_NO_NODE, NULL));
	assert_null(alloc_contig_pages(0, GFP_KERNEL, NUMA_NO_NODE, NULL));
}

static void range_goes_round_what_is_in_use(void **state)
{
	unsigned long before = nr_free();
	struct page *obstacle[8], *page;

	(void)state;
	for (int i = 0; i < 8; i++)
		obstacle[i] = alloc_pages(GFP_KERNEL | __GFP_MOVABLE, (unsigned int)i % 3);
	page = alloc_contig_pages(2000, GFP_KERNEL, NUMA_NO_NODE, NULL);
	assert_non_null(page);
	for (int i = 0; i < 8; i++)
		assert_true(page_to_pfn(obstacle[i]) - page_to_pfn(page) >= 2000);
	free_contig_range(page_to_pfn(page), 2000);
	for (int i = 0; i < 8; i++)
		__free_pages(obstacle[i], (unsigned int)i % 3);
	assert_int_equal(nr_free(), before);
}

static struct page *movable_frame;
static bool moved;

static void move_away(struct page *page)
{
	if (page != movable_frame)
		return;
	ClearPageLRU(page);
	moved = true;
	put_page(page);			/* its owner lets go of it; the caller holds one more */
}

static void range_has_movable_frames_moved_away(void **state)
{
	static const struct reclaim_ops mover = { .move_away = move_away };
	unsigned long before = nr_free();
	LIST_HEAD(all);
	LIST_HEAD(taken);
	struct page *page;

	(void)state;
	/* Only one block is free, but for one frame in its middle. */
	take_all(GFP_ATOMIC | __GFP_MEMALLOC | __GFP_MOVABLE, 0, &all);
	while (!list_empty(&all)) {
		unsigned long pfn;

		page = list_first_entry(&all, struct page, lru);
		pfn = page_to_pfn(page);
		list_del(&page->lru);
		if (pfn >> pageblock_order != 2)
			list_add(&page->lru, &taken);
		else if (pfn % pageblock_nr_pages == 500)
			movable_frame = page;
		else
			__free_page(page);
	}
	phys_set_reclaim(this_machine(), &mover);
	moved = false;
	assert_null(alloc_contig_pages(700, GFP_KERNEL, NUMA_NO_NODE, NULL));
	SetPageLRU(movable_frame);
	assert_null(alloc_contig_pages(700, GFP_NOWAIT, NUMA_NO_NODE, NULL));
	assert_false(moved);
	page = alloc_contig_pages(700, GFP_KERNEL, NUMA_NO_NODE, NULL);
	assert_true(moved);
	assert_non_null(page);
	free_contig_range(page_to_pfn(page), 700);
	phys_set_reclaim(this_machine(), NULL);
	give_all(&taken);
	assert_int_equal(nr_free(), before);
}

/* ---- bulk ---- */

static void bulk_array_fills_the_empty_entries_and_keeps_the_others(void **state)
{
	unsigned long before = nr_free();
	static struct page *pages[MACHINE_MAX_CPUS][700];
	struct page **array = pages[smp_processor_id()], *own = alloc_page(GFP_KERNEL);

	(void)state;
	memset(array, 0, sizeof(pages[0]));
	array[7] = own;
	array[699] = alloc_page(GFP_KERNEL);
	assert_int_equal(alloc_pages_bulk_array(GFP_KERNEL, 700, array), 700);
	assert_ptr_equal(array[7], own);
	assert_int_equal(alloc_pages_bulk_array(GFP_KERNEL, 700, array), 700);
	assert_int_equal(nr_free(), before - 700);
	for (int i = 0; i < 700; i++) {
		assert_int_equal(page_count(array[i]), 1);
		__free_page(array[i]);
	}
	assert_int_equal(nr_free(), before);
	assert_int_equal(alloc_pages_bulk_array(GFP_KERNEL, 0, array), 0);
}

static void bulk_list_adds_that_many_frames(void **state)
{
	unsigned long before = nr_free(), nr;
	LIST_HEAD(list);

	(void)state;
	nr = alloc_pages_bulk_list(GFP_KERNEL | __GFP_ZERO, 300, &list);
	assert_int_equal(nr, 300);
	assert_int_equal(list_count_nodes(&list), 300);
	give_all(&list);
	assert_int_equal(nr_free(), before);
}

static void bulk_gives_what_there_is_and_leaves_the_reserve(void **state)
{
	unsigned long before = nr_free(), nr;
	struct zone *zone = zone_of(ZONE_DMA);
	LIST_HEAD(list);

	(void)state;
	nr = alloc_pages_bulk_list(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 100000, &list);
	assert_true(nr > 0 && nr < before);
	assert_in_range(zone_page_state(zone, NR_FREE_PAGES), 1, low_wmark_pages(zone));
	assert_int_equal(nr_free(), before - nr);
	give_all(&list);
	assert_int_equal(nr_free(), before);
}

/* ---- injected failure, for every call that may fail ---- */

static struct {
	struct page *page[20];
	unsigned long nr;
	void *virt;
} got;

static long nth_array(void *arg)
{
	(void)arg;
	memset(&got, 0, sizeof(got));
	got.nr = alloc_pages_bulk_array(GFP_KERNEL, 20, got.page);
	return got.nr ? 0 : -ENOMEM;
}

static long nth_list(void *arg)
{
	struct page *page, *next;
	LIST_HEAD(list);

	(void)arg;
	memset(&got, 0, sizeof(got));
	alloc_pages_bulk_list(GFP_KERNEL, 20, &list);
	list_for_each_entry_safe(page, next, &list, lru) {
		list_del(&page->lru);
		got.page[got.nr++] = page;
	}
	return got.nr ? 0 : -ENOMEM;
}

static void undo_pages(void *arg)
{
	(void)arg;
	while (got.nr)
		__free_page(got.page[--got.nr]);
}

static long nth_exact(void *arg)
{
	(void)arg;
	got.virt = alloc_pages_exact(5 * PAGE_SIZE, GFP_KERNEL);
	return got.virt ? 0 : -ENOMEM;
}

static void undo_exact(void *arg)
{
	(void)arg;
	free_pages_exact(got.virt, 5 * PAGE_SIZE);
}

static long nth_contig(void *arg)
{
	(void)arg;
	got.page[0] = alloc_contig_pages(77, GFP_KERNEL, NUMA_NO_NODE, NULL);
	return got.page[0] ? 0 : -ENOMEM;
}

static void undo_contig(void *arg)
{
	(void)arg;
	free_contig_range(page_to_pfn(got.page[0]), 77);
}

static long nth_get_free_pages(void *arg)
{
	(void)arg;
	got.virt = (void *)__get_free_pages(GFP_KERNEL, 1);
	return got.virt ? 0 : -ENOMEM;
}

static void undo_get_free_pages(void *arg)
{
	(void)arg;
	free_pages((unsigned long)got.virt, 1);
}

static long nth_page(void *arg)
{
	(void)arg;
	got.page[0] = alloc_page(GFP_KERNEL);
	got.nr = got.page[0] != NULL;
	return got.page[0] ? 0 : -ENOMEM;
}

static void snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	values[0] = nr_free();
	values[1] = blocks_of(MIGRATE_ISOLATE);
}

static void injected_failure_of_any_call_changes_nothing(void **state)
{
	static const struct {
		long (*body)(void *arg);
		void (*undo)(void *arg);
	} calls[] = {
		{ nth_page, undo_pages }, { nth_array, undo_pages }, { nth_list, undo_pages },
		{ nth_exact, undo_exact }, { nth_contig, undo_contig },
		{ nth_get_free_pages, undo_get_free_pages },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		assert_int_equal(fixture_fail_nth(.body = calls[i].body, .undo = calls[i].undo,
						  .snapshot = snapshot), 1);
}

static void check_finds_blocks_that_nobody_counts(void **state)
{
	struct check_report report = { .quiet = true };
	struct zone *zone = zone_of(ZONE_DMA);

	(void)state;
	zone->nr_isolate_pageblock++;
	phys_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "B2"));
	zone->nr_isolate_pageblock--;
	zone->nr_reserved_highatomic += pageblock_nr_pages;
	phys_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 2);
	zone->nr_reserved_highatomic -= pageblock_nr_pages;
}

int main(void)
{
#define WITH(config, fn)							\
	karc_unit_test_config(fn, 1, &(config)), karc_unit_test_config(fn, 4, &(config))
	const struct CMUnitTest tests[] = {
		WITH(small, unmovable_request_takes_a_whole_block_and_converts_it),
		WITH(small, half_free_block_is_taken_over_and_a_fuller_one_is_not),
		WITH(small, movable_request_takes_the_smallest_and_leaves_the_block),
		WITH(small, types_fall_back_in_linuxs_order),
		WITH(medium, nothing_of_an_isolated_block_is_handed_out),
		WITH(medium, isolation_keeps_the_old_type_and_refuses_what_is_isolated_or_shared),
		WITH(medium, range_of_any_size_is_contiguous_aligned_and_comes_back),
		WITH(medium, range_goes_round_what_is_in_use),
		WITH(small, range_has_movable_frames_moved_away),
		KARC_TESTS(bulk_array_fills_the_empty_entries_and_keeps_the_others),
		KARC_TESTS(bulk_list_adds_that_many_frames),
		WITH(small, bulk_gives_what_there_is_and_leaves_the_reserve),
		KARC_TESTS(injected_failure_of_any_call_changes_nothing),
		WITH(medium, injected_failure_of_any_call_changes_nothing),
		karc_unit_test_config(check_finds_blocks_that_nobody_counts, 1, &small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
