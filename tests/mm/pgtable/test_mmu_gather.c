/* SPDX-License-Identifier: MIT */
/*
 * Goal: what an unmap gathers is put after the flush, never before, and nothing is forgotten.
 * Method: pages whose count and translations are looked at while the gather is open.
 */
#include "tables.h"

static void pages_live_until_the_flush_is_done(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	struct mm_struct mm;
	struct mmu_gather tlb;
	char byte;
	(void)state;

	bare_mm_init(&mm);
	get_page(page);
	assert_int_equal(map_one(&mm, PAGE_SIZE, page, PAGE_SHARED), 0);
	switch_mm(NULL, &mm);
	assert_int_equal(mmu_access_user(PAGE_SIZE, &byte, 1, MMU_READ), 0);
	tlb_gather_mmu(&tlb, &mm);
	ptep_get_and_clear(&mm, PAGE_SIZE, pte_offset_map(mm_find_pmd(&mm, 0), PAGE_SIZE));
	tlb_remove_tlb_entry(&tlb, PAGE_SIZE);
	tlb_remove_page(&tlb, page);
	assert_int_equal(page_count(page), 2);
	assert_true(tlb_holds(this_cpu(), PAGE_SIZE, false));
	tlb_finish_mmu(&tlb);
	assert_int_equal(page_count(page), 1);
	assert_false(tlb_holds(this_cpu(), PAGE_SIZE, false));
	put_page(page);
	switch_mm(&mm, NULL);
	bare_mm_exit(&mm);
}

static void a_full_gather_flushes_by_itself(void **state)
{
	unsigned long addr, end = (3 * MMU_GATHER_PAGES + 7) * PAGE_SIZE;
	struct mm_struct mm;
	unsigned long free;
	(void)state;

	bare_mm_init(&mm);
	machine_quiesce(this_machine());
	free = phys_nr_free(this_machine());
	for (addr = 0; addr < end; addr += PAGE_SIZE)
		assert_int_equal(map_one(&mm, addr, alloc_page(GFP_KERNEL), PAGE_SHARED), 0);
	unmap_all(&mm, 0, end);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), free);
	bare_mm_exit(&mm);
}

static void an_empty_gather_flushes_nothing(void **state)
{
	struct mm_struct mm;
	struct mmu_gather tlb;
	u64 before;
	(void)state;

	bare_mm_init(&mm);
	switch_mm(NULL, &mm);
	before = tlb_stats(this_cpu()).flushes;
	tlb_gather_mmu(&tlb, &mm);
	tlb_finish_mmu(&tlb);
	assert_int_equal(tlb_stats(this_cpu()).flushes, before);
	switch_mm(&mm, NULL);
	bare_mm_exit(&mm);
}

static void note_holds(void *obj, void *arg)
{
	(void)obj;
	*(int *)arg = tlb_holds(this_cpu(), PAGE_SIZE, false);
}

static void tables_die_after_the_flush(void **state)
{
	struct arc_dtor dtor;
	struct mm_struct mm;
	int held = -1;
	char byte;
	(void)state;

	bare_mm_init(&mm);
	assert_int_equal(map_one(&mm, PAGE_SIZE, alloc_page(GFP_KERNEL), PAGE_SHARED), 0);
	switch_mm(NULL, &mm);
	assert_int_equal(mmu_access_user(PAGE_SIZE, &byte, 1, MMU_READ), 0);
	pgtable_on_drop(pmd_page(pmdp_get(mm_find_pmd(&mm, 0))), &dtor, note_holds, &held);
	unmap_all(&mm, 0, 2 * PAGE_SIZE);
	assert_int_equal(held, 0);
	switch_mm(&mm, NULL);
	bare_mm_exit(&mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(pages_live_until_the_flush_is_done),
		karc_unit_test(a_full_gather_flushes_by_itself),
		karc_unit_test(an_empty_gather_flushes_nothing),
		KARC_TESTS(tables_die_after_the_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
