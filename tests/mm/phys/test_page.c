/* SPDX-License-Identifier: MIT */
/*
 * Goal: one frame: flags, counts, addresses, compound pages, and what a report says of it.
 * Method: small operations on frames of a booted machine, compared with arithmetic done here.
 */
#include "fixture.h"

#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>

static void flags_are_set_tested_and_cleared(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	unsigned long place;

	(void)state;
	assert_non_null(page);
	place = page->flags;
	assert_false(PageDirty(page));
	SetPageDirty(page);
	__SetPageUptodate(page);
	assert_true(PageDirty(page) && PageUptodate(page));
	assert_true(TestClearPageDirty(page));
	assert_false(TestClearPageDirty(page));
	assert_false(TestSetPageLocked(page));
	assert_true(TestSetPageLocked(page));
	ClearPageLocked(page);
	__ClearPageUptodate(page);
	assert_int_equal(page->flags, place);
	__free_page(page);
}

static void address_frame_and_number_name_each_other(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	char *p = page_address(page);

	(void)state;
	assert_ptr_equal(virt_to_page(p + 123), page);
	assert_ptr_equal(pfn_to_page(page_to_pfn(page)), page);
	assert_int_equal(virt_to_phys(p), page_to_phys(page));
	assert_ptr_equal(phys_to_virt(page_to_phys(page)), p);
	assert_ptr_equal(page_to_virt(page), p);
	assert_true(pfn_valid(page_to_pfn(page)));
	assert_true(virt_addr_valid(p));
	assert_false(virt_addr_valid(&page));
	assert_false(pfn_valid((640UL << 10) >> PAGE_SHIFT));		/* the PC's hole */
	assert_false(pfn_valid(physmem_max_pfn(this_machine())));
	__free_page(page);
}

static void tails_of_a_compound_page_lead_to_its_head(void **state)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, 3);

	(void)state;
	assert_true(PageHead(page) && PageCompound(page) && !PageTail(page));
	assert_int_equal(compound_order(page), 3);
	assert_int_equal(page_size(page), 8 * PAGE_SIZE);
	for (int i = 1; i < 8; i++) {
		assert_true(PageTail(page + i));
		assert_ptr_equal(compound_head(page + i), page);
		assert_int_equal(page_count(page + i), 1);
		assert_int_equal(page_ref_count(page + i), 0);
	}
	assert_ptr_equal(virt_to_head_page((char *)page_address(page) + 5 * PAGE_SIZE), page);
	get_page(page + 5);
	assert_int_equal(page_count(page), 2);
	put_page(page + 3);
	put_page(page + 7);
	assert_int_equal(page_count(page), 0);
}

static void last_put_gives_the_frame_back(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	get_page(page);
	assert_true(try_get_page(page));
	assert_true(get_page_unless_zero(page));
	assert_int_equal(page_count(page), 4);
	for (int i = 0; i < 3; i++)
		put_page(page);
	assert_int_equal(phys_nr_free(this_machine()), before - 1);
	put_page(page);
	assert_int_equal(phys_nr_free(this_machine()), before);
	assert_false(get_page_unless_zero(page));
	assert_false(try_get_page(page));
	expect_warn("page_ref_count(page) <= 0");
}

static void frozen_frame_cannot_be_got(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	assert_false(page_ref_freeze(page, 2));
	assert_true(page_ref_freeze(page, 1));
	assert_false(get_page_unless_zero(page));
	page_ref_unfreeze(page, 1);
	assert_true(get_page_unless_zero(page));
	put_page(page);
	put_page(page);
}

static void put_of_a_free_frame_is_reported_and_changes_nothing(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	__free_page(page);
	put_page(page);
	expect_warn("put of a frame that nobody holds");
	__free_page(page);
	expect_warn("a double free?");
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static void mapcount_of_slab_and_table_pages_is_none(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	assert_false(page_mapped(page));
	atomic_inc(&page->_mapcount);
	assert_int_equal(page_mapcount(page), 1);
	__SetPageSlab(page);
	assert_int_equal(page_mapcount(page), 0);
	__ClearPageSlab(page);
	page_mapcount_reset(page);
	__free_page(page);
}

static void dump_names_flags_and_site(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	char names[64];

	(void)state;
	SetPageDirty(page);
	SetPageReferenced(page);
	dump_page(page, "a test wants to see it");
	assert_true(fixture_log_contains("a test wants to see it"));
	assert_true(fixture_log_contains("(referenced|dirty)"));
	assert_true(fixture_log_contains("dump_names_flags_and_site"));
	assert_string_equal(page_flag_names(1UL << PG_slab | 1UL << PG_head, names, sizeof(names)),
			    "head|slab");
	__free_page(page);
}

static const struct machine_config with_highmem = {
	.mem_bytes = 64ULL << 20,
	.highmem_start = 32ULL << 20,
};

static void highmem_frame_has_no_address(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER);

	(void)state;
	assert_true(PageHighMem(page));
	assert_int_equal(page_zonenum(page), ZONE_HIGHMEM);
	assert_null(page_address(page));
	__free_page(page);
}

static struct page *released;

static void release_from_lru(struct page *page)
{
	ClearPageLRU(page);
	released = page;
}

static void last_put_takes_the_frame_off_the_lru(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	released = NULL;
	phys_set_lru_release(this_machine(), release_from_lru);
	SetPageLRU(page);
	put_page(page);
	assert_ptr_equal(released, page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(flags_are_set_tested_and_cleared),
		karc_unit_test(address_frame_and_number_name_each_other),
		karc_unit_test(tails_of_a_compound_page_lead_to_its_head),
		KARC_TESTS(last_put_gives_the_frame_back),
		karc_unit_test(frozen_frame_cannot_be_got),
		karc_unit_test(put_of_a_free_frame_is_reported_and_changes_nothing),
		karc_unit_test(mapcount_of_slab_and_table_pages_is_none),
		karc_unit_test(dump_names_flags_and_site),
		karc_unit_test_config(highmem_frame_has_no_address, 1, &with_highmem),
		karc_unit_test(last_put_takes_the_frame_off_the_lru),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
