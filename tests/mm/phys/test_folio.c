/* SPDX-License-Identifier: MIT */
/*
 * Goal: what Linux's headers have on top of frames and zones says the same as those: folios, walks
 * over zones, sums; hints for Linux's debuggers, which karc does not have, change nothing.
 * Method: folios of several orders seen from each of their pages; counts of frames; all zones by
 * hand.
 */
#include <string.h>

#include <karc/mm/kasan.h>
#include <karc/mm/kmemleak.h>
#include <karc/mm/phys/folio.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/zone_walk.h>
#include "../../support/fixture.h"

static void check_folio(struct folio *folio, unsigned int order)
{
	char *last;

	assert_int_equal(folio_order(folio), order);
	assert_int_equal(folio_nr_pages(folio), 1L << order);
	assert_int_equal(folio_size(folio), PAGE_SIZE << order);
	assert_int_equal(folio_shift(folio), PAGE_SHIFT + order);
	assert_int_equal(folio_test_large(folio), order != 0);
	for (unsigned long i = 0; i < 1UL << order; i++) {
		assert_ptr_equal(page_folio(folio_page(folio, i)), folio);
		assert_int_equal(page_to_pfn(folio_page(folio, i)), folio_pfn(folio) + i);
	}
	last = (char *)folio_address(folio) + folio_size(folio) - 1;
	assert_ptr_equal(virt_to_folio(last), folio);
	assert_int_equal(folio_nid(folio), 0);
	assert_ptr_equal(folio_zone(folio), page_zone(&folio->page));
	assert_false(folio_test_slab(folio));
}

static void every_page_of_a_folio_leads_to_it(void **state)
{
	static const unsigned int orders[] = { 0, 1, 4, MAX_PAGE_ORDER };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++) {
		struct folio *folio = folio_alloc(GFP_KERNEL, orders[i]);

		assert_non_null(folio);
		memset(folio_address(folio), 1, folio_size(folio));
		check_folio(folio, orders[i]);
		folio_put(folio);
	}
}

static void the_last_put_frees_the_whole_folio(void **state)
{
	unsigned long before;
	struct folio *folio;

	(void)state;
	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	folio = __folio_alloc_node(GFP_KERNEL, 3, 0);
	folio_get(folio);
	assert_true(folio_try_get(folio));
	assert_int_equal(folio_ref_count(folio), 3);
	folio_put_refs(folio, 2);
	assert_int_equal(phys_nr_free(this_machine()), before - 8);
	folio_put(folio);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static void hints_for_other_debuggers_change_nothing(void **state)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 0);
	void *p = folio_address(folio);

	(void)state;
	memset(p, 7, PAGE_SIZE);
	kmemleak_alloc(p, PAGE_SIZE, 1, GFP_KERNEL);
	kmemleak_update_trace(p);
	kmemleak_not_leak(p);
	kmemleak_ignore(p);
	kmemleak_free(p);
	assert_false(kasan_enabled());
	kasan_disable_current();
	assert_ptr_equal(kasan_reset_tag(p), p);
	kasan_enable_current();
	assert_true(kasan_check_byte(p));
	assert_int_equal(KASAN_TAG_MIN, KASAN_TAG_KERNEL);
	assert_int_equal(*(u8 *)p, 7);
	folio_put(folio);
}

static void walks_meet_each_zone_once(void **state)
{
	unsigned long pages = 0, by_hand = 0;
	unsigned int nr = 0;
	struct zone *zone;

	(void)state;
	for_each_zone(zone)
		nr++;
	assert_int_equal(nr, num_online_nodes() * MAX_NR_ZONES);
	for_each_populated_zone(zone)
		pages += zone_managed_pages(zone);
	for (int nid = 0; nid < MAX_NUMNODES; nid++)
		for (unsigned int i = 0; NODE_DATA(nid) && i < MAX_NR_ZONES; i++)
			by_hand += NODE_DATA(nid)->node_zones[i].managed_pages;
	assert_int_equal(pages, by_hand);
	assert_int_equal(totalram_pages(), pages);
}

static void a_zonelist_begins_at_the_best_zone_and_ends_at_dma(void **state)
{
	struct zone *zone, *first = NULL, *last = NULL;
	unsigned int nr = 0;
	struct zoneref *z;

	(void)state;
	for_each_zone_zonelist(zone, z, node_zonelist(1, GFP_KERNEL), gfp_zone(GFP_KERNEL)) {
		first = first ? first : zone;
		last = zone;
		nr++;
		assert_true(zone_idx(zone) <= ZONE_NORMAL);
	}
	assert_non_null(first);
	assert_int_equal(first->node, 1);
	assert_int_equal(zone_idx(last), ZONE_DMA);
	assert_true(nr >= 2);
	for_each_zone_zonelist(zone, z, node_zonelist(1, __GFP_THISNODE), ZONE_MOVABLE)
		assert_int_equal(zone->node, 1);
	assert_int_equal(pfn_to_nid(first->zone_start_pfn + 1), page_to_nid(
			 pfn_to_page(first->zone_start_pfn + 1)));
}

static void si_meminfo_adds_up(void **state)
{
	struct page *page = alloc_pages(GFP_HIGHUSER, 5);
	struct sysinfo before, after;

	(void)state;
	drain_all_pages(NULL);
	si_meminfo(&before);
	__free_pages(page, 5);
	drain_all_pages(NULL);
	si_meminfo(&after);
	assert_int_equal(after.freeram, before.freeram + 32);
	assert_int_equal(after.freehigh, before.freehigh + 32);
	assert_int_equal(after.totalram, totalram_pages());
	assert_int_equal(after.freehigh, nr_free_highpages());
	assert_int_equal(nr_free_buffer_pages(), nr_free_pages() - nr_free_highpages());
	assert_int_equal(totalhigh_pages(), NODE_DATA(0)->node_zones[ZONE_HIGHMEM].managed_pages);
	assert_int_equal(after.mem_unit, PAGE_SIZE);
	assert_int_equal(get_nr_swap_pages(), total_swap_pages);
}

static void a_list_of_pages_is_put_at_once(void **state)
{
	unsigned long before;
	LIST_HEAD(pages);

	(void)state;
	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	for (unsigned int i = 0; i < 10; i++) {
		struct page *page = alloc_page(GFP_KERNEL);

		list_add(&page->lru, &pages);
	}
	put_pages_list(&pages);
	assert_true(list_empty(&pages));
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
	assert_true(gfp_has_io_fs(GFP_KERNEL));
	assert_false(gfp_has_io_fs(GFP_NOFS));
	assert_false(gfpflags_allow_blocking(GFP_TRANSHUGE_LIGHT));
	assert_true(gfpflags_allow_blocking(GFP_TRANSHUGE));
}

int main(void)
{
	static const struct machine_config nodes = { .nr_nodes = 3, .mem_bytes = 96ULL << 20 };
	static const struct machine_config high = {
		.mem_bytes = 64ULL << 20, .highmem_start = 48ULL << 20,
	};
	const struct CMUnitTest tests[] = {
		karc_unit_test_cpus(every_page_of_a_folio_leads_to_it, 2),
		karc_unit_test_cpus(the_last_put_frees_the_whole_folio, 2),
		karc_unit_test(hints_for_other_debuggers_change_nothing),
		karc_unit_test_config(walks_meet_each_zone_once, 3, &nodes),
		karc_unit_test_config(a_zonelist_begins_at_the_best_zone_and_ends_at_dma, 3,
				      &nodes),
		karc_unit_test_config(si_meminfo_adds_up, 1, &high),
		karc_unit_test(a_list_of_pages_is_put_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
