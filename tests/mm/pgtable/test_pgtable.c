/* SPDX-License-Identifier: MIT */
/*
 * Goal: a tree of tables translates exactly what was mapped, each table lives exactly as long as
 * it has entries, and nothing is lost when an allocation fails.
 * Method: random maps and unmaps against a flat model; the MMU as a second reader of the tables;
 * counts, parents and bytes by the room's check; every table allocation failed once.
 */
#include "tables.h"

#define NR_SLOTS	192

/* ---- values ---- */

static void entry_values_keep_frame_and_flags_apart(void **state)
{
	pte_t pte = pfn_pte(0x12345, PAGE_SHARED);
	(void)state;

	assert_int_equal(pte_pfn(pte), 0x12345);
	assert_true(pte_present(pte) && pte_write(pte) && pte_young(pte) && !pte_dirty(pte));
	assert_false(pte_exec(pte));
	assert_false(pte_write(pte_wrprotect(pte)));
	assert_true(pte_dirty(pte_mkdirty(pte)));
	assert_false(pte_dirty(pte_mkclean(pte_mkdirty(pte))));
	assert_false(pte_young(pte_mkold(pte)));
	assert_true(pte_special(pte_mkspecial(pte)));
	assert_true(pte_same(pte_mkwrite(pte_wrprotect(pte)), pte));
	assert_true(pte_none(__pte(0)));
	pte = pte_modify(pte_mkdirty(pte), PAGE_NONE);
	assert_int_equal(pte_pfn(pte), 0x12345);
	assert_true(pte_present(pte) && pte_protnone(pte) && pte_dirty(pte));
	assert_false(pte_val(pte) & HW_PTE_PRESENT);
	pte = pte_modify(pte, PAGE_READONLY_EXEC);
	assert_true(pte_exec(pte) && !pte_write(pte) && !pte_protnone(pte));
	assert_true(pmd_leaf(pmd_mkhuge(pfn_pmd(512, PAGE_SHARED))));
	assert_true(pmd_bad(pfn_pmd(512, PAGE_SHARED)));
}

static void private_mappings_start_without_write_permission(void **state)
{
	(void)state;
	assert_int_equal(pgprot_val(vm_get_page_prot(0)), pgprot_val(PAGE_NONE));
	assert_int_equal(pgprot_val(vm_get_page_prot(VM_SHARED)), pgprot_val(PAGE_NONE));
	assert_int_equal(pgprot_val(vm_get_page_prot(VM_READ)), pgprot_val(PAGE_READONLY));
	assert_int_equal(pgprot_val(vm_get_page_prot(VM_READ | VM_WRITE)),
			 pgprot_val(PAGE_COPY));
	assert_int_equal(pgprot_val(vm_get_page_prot(VM_WRITE | VM_EXEC)),
			 pgprot_val(PAGE_COPY_EXEC));
	assert_int_equal(pgprot_val(vm_get_page_prot(VM_READ | VM_WRITE | VM_SHARED)),
			 pgprot_val(PAGE_SHARED));
	assert_int_equal(pgprot_val(vm_get_page_prot(VM_READ | VM_EXEC | VM_SHARED)),
			 pgprot_val(PAGE_READONLY_EXEC));
	assert_int_equal(pgprot_val(vm_get_page_prot(VM_WRITE | VM_EXEC | VM_SHARED)),
			 pgprot_val(PAGE_SHARED_EXEC));
}

/* ---- trees ---- */

static void one_page_needs_one_table_of_each_level(void **state)
{
	struct mm_struct mm;
	struct pgtable_stats stats;
	struct page *page = alloc_page(GFP_KERNEL);
	phys_addr_t pa;
	(void)state;

	bare_mm_init(&mm);
	assert_int_equal(mm_pgtables_bytes(&mm), 0);
	assert_int_equal(map_one(&mm, 0x7f1234567000, page, PAGE_SHARED), 0);
	assert_int_equal(mm_pgtables_bytes(&mm), 3 * PAGE_SIZE);
	assert_int_equal(pgtable_nr_alive(), 4);
	assert_int_equal(ledger_live_kind(this_machine(), "pgtable"), 4);
	pgtable_count_all(&mm, &stats);
	for (unsigned int level = 0; level < PGTABLE_LEVELS; level++)
		assert_int_equal(stats.tables[level], 1);
	assert_int_equal(stats.present, 1);
	assert_tables_clean(&mm);
	switch_mm(NULL, &mm);
	assert_int_equal(mmu_walk(this_cpu(), 0x7f1234567abc, MMU_WRITE, true, &pa, NULL), 0);
	assert_int_equal(pa, page_to_phys(page) + 0xabc);
	assert_int_equal(mmu_walk(this_cpu(), 0x7f1234567abc, MMU_EXEC, true, &pa, NULL), -EFAULT);
	assert_true(pte_dirty(mm_lookup_pte(&mm, 0x7f1234567000)));
	switch_mm(&mm, NULL);
	unmap_all(&mm, 0x7f1234567000, 0x7f1234568000);
	assert_int_equal(mm_pgtables_bytes(&mm), 0);
	assert_int_equal(pgtable_nr_alive(), 1);
	bare_mm_exit(&mm);
	assert_int_equal(ledger_live_kind(this_machine(), "pgtable"), 0);
}

/* A pool of places that share tables at every level in some way. */
static unsigned long place(struct rnd *rnd)
{
	unsigned long addr = (rnd_u64(rnd) % 3) << PGDIR_SHIFT;

	addr |= (rnd_u64(rnd) % 3) << PUD_SHIFT;
	addr |= (rnd_u64(rnd) % 3) << PMD_SHIFT;
	return addr | (rnd_u64(rnd) % 4) << PAGE_SHIFT;
}

/* Tables that a set of mapped places needs, counted the slow way. */
static unsigned long tables_needed(const unsigned long *addr, struct page *const *page)
{
	unsigned long nr = 0;

	for (unsigned int level = PGTABLE_PMD; level <= PGTABLE_PGD; level++) {
		unsigned int shift = pgtable_shift(level);

		for (unsigned int i = 0; i < NR_SLOTS; i++) {
			bool first = page[i] != NULL;

			for (unsigned int j = 0; j < i && first; j++)
				first = !page[j] || addr[j] >> shift != addr[i] >> shift;
			nr += first;
		}
	}
	return nr;
}

static int find_slot(const unsigned long *addr, struct page *const *page, unsigned long wanted)
{
	for (int i = 0; i < NR_SLOTS; i++)
		if (page[i] && addr[i] == wanted)
			return i;
	return -1;
}

static void assert_agrees(struct mm_struct *mm, const unsigned long *addr,
			  struct page *const *page)
{
	struct pgtable_stats stats;
	unsigned long mapped = 0;

	for (unsigned int i = 0; i < NR_SLOTS; i++) {
		if (!page[i])
			continue;
		mapped++;
		assert_int_equal(pte_pfn(mm_lookup_pte(mm, addr[i])), page_to_pfn(page[i]));
	}
	pgtable_count_all(mm, &stats);
	assert_int_equal(stats.present, mapped);
	assert_int_equal(mm_pgtables_bytes(mm), tables_needed(addr, page) * PAGE_SIZE);
	assert_tables_clean(mm);
}

static void random_maps_and_unmaps_agree_with_a_flat_model(void **state)
{
	unsigned long addr[NR_SLOTS] = { 0 };
	struct page *page[NR_SLOTS] = { 0 };
	u64 seed = machine_random(this_machine());
	struct mm_struct mm;
	struct rnd rnd;
	(void)state;

	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	bare_mm_init(&mm);
	for (unsigned int step = 0; step < 3000; step++) {
		unsigned long at = place(&rnd);
		int slot = find_slot(addr, page, at);

		if (slot >= 0 && rnd_u64(&rnd) % 2) {
			unmap_all(&mm, at, at + PAGE_SIZE);
			page[slot] = NULL;
		} else if (slot < 0) {
			for (slot = 0; page[slot]; slot++)
				;
			page[slot] = alloc_page(GFP_KERNEL);
			assert_non_null(page[slot]);
			addr[slot] = at;
			assert_int_equal(map_one(&mm, at, page[slot], PAGE_SHARED), 0);
		}
		if (rnd_u64(&rnd) % 64 == 0) {
			unsigned long end = at + (PMD_SIZE << rnd_u64(&rnd) % 12);

			unmap_all(&mm, at, end);
			for (slot = 0; slot < NR_SLOTS; slot++)
				if (page[slot] && addr[slot] >= at && addr[slot] < end)
					page[slot] = NULL;
		}
		if (step % 50 == 0)
			assert_agrees(&mm, addr, page);
	}
	assert_agrees(&mm, addr, page);
	unmap_all(&mm, 0, mm.task_size);
	assert_int_equal(mm_pgtables_bytes(&mm), 0);
	bare_mm_exit(&mm);
}

static void free_pgtables_keeps_tables_with_entries_outside_the_range(void **state)
{
	struct mm_struct mm;
	(void)state;

	bare_mm_init(&mm);
	assert_int_equal(map_one(&mm, PMD_SIZE, alloc_page(GFP_KERNEL), PAGE_SHARED), 0);
	assert_int_equal(map_one(&mm, PMD_SIZE + PAGE_SIZE, alloc_page(GFP_KERNEL), PAGE_SHARED),
			 0);
	unmap_all(&mm, PMD_SIZE, PMD_SIZE + PAGE_SIZE);
	assert_int_equal(mm_pgtables_bytes(&mm), 3 * PAGE_SIZE);
	unmap_all(&mm, PMD_SIZE + PAGE_SIZE, PMD_SIZE + 2 * PAGE_SIZE);
	assert_int_equal(mm_pgtables_bytes(&mm), 0);
	bare_mm_exit(&mm);
}

static void entries_that_are_not_present_keep_their_table(void **state)
{
	struct pgtable_stats stats;
	struct mm_struct mm;
	struct mmu_gather tlb;
	pmd_t *pmd;
	pte_t *pte;
	(void)state;

	bare_mm_init(&mm);
	assert_int_equal(map_one(&mm, PUD_SIZE, alloc_page(GFP_KERNEL), PAGE_SHARED), 0);
	pmd = mm_find_pmd(&mm, PUD_SIZE);
	pte = pte_offset_map(pmd, PUD_SIZE);
	set_pte_at(&mm, PUD_SIZE + PAGE_SIZE, pte + 1, __pte(0x1000));
	put_page(pte_page(ptep_get_and_clear(&mm, PUD_SIZE, pte)));
	tlb_gather_mmu(&tlb, &mm);
	free_pgtables(&tlb, &mm, 0, mm.task_size);
	tlb_finish_mmu(&tlb);
	pgtable_count_all(&mm, &stats);
	assert_int_equal(stats.tables[PGTABLE_PTE], 1);
	assert_int_equal(stats.swap, 1);
	pte_clear(&mm, PUD_SIZE + PAGE_SIZE, pte + 1);
	bare_mm_exit(&mm);
}

static void a_sparse_range_is_unmapped_without_visiting_it(void **state)
{
	unsigned long end = 16UL << 40;
	struct mm_struct mm;
	(void)state;

	bare_mm_init(&mm);
	assert_int_equal(map_one(&mm, end - PAGE_SIZE, alloc_page(GFP_KERNEL), PAGE_SHARED), 0);
	assert_int_equal(map_one(&mm, PAGE_SIZE, alloc_page(GFP_KERNEL), PAGE_SHARED), 0);
	unmap_all(&mm, 0, end);
	assert_int_equal(mm_pgtables_bytes(&mm), 0);
	bare_mm_exit(&mm);
}

/* ---- reserve and commit ---- */

static void commit_gives_back_what_was_not_needed(void **state)
{
	struct pgtable_reserve first, second;
	struct mm_struct mm;
	pmd_t *pmd;
	(void)state;

	bare_mm_init(&mm);
	assert_int_equal(pgtable_reserve(&mm, PUD_SIZE, &first), 0);
	assert_int_equal(pgtable_reserve(&mm, PUD_SIZE, &second), 0);
	assert_int_equal(pgtable_nr_alive(), 7);
	assert_int_equal(mm_pgtables_bytes(&mm), 0);
	pmd = pgtable_commit(&mm, PUD_SIZE, &first);
	assert_ptr_equal(pmd, mm_find_pmd(&mm, PUD_SIZE));
	pmd = pgtable_commit(&mm, PUD_SIZE, &second);
	assert_ptr_equal(pmd, mm_find_pmd(&mm, PUD_SIZE));
	assert_int_equal(pgtable_nr_alive(), 4);
	assert_int_equal(pgtable_reserve(&mm, PUD_SIZE + PAGE_SIZE, &first), 0);
	assert_int_equal(pgtable_nr_alive(), 4);
	pgtable_unreserve(&mm, &first);
	assert_tables_clean(&mm);
	bare_mm_exit(&mm);
}

static long reserve_body(void *arg)
{
	struct pgtable_reserve reserve;
	struct mm_struct *mm = arg;
	int err = pgtable_reserve(mm, 5 * PUD_SIZE, &reserve);

	if (!err)
		pgtable_commit(mm, 5 * PUD_SIZE, &reserve);
	return err;
}

static void reserve_undo(void *arg)
{
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, arg);
	free_pgtables(&tlb, arg, 5 * PUD_SIZE, 6 * PUD_SIZE);
	tlb_finish_mmu(&tlb);
}

static void reserve_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
	values[1] = pgtable_nr_alive();
	values[2] = mm_pgtables_bytes(arg);
	values[3] = ledger_live_total(this_machine());
}

static void a_failed_reservation_leaves_nothing_behind(void **state)
{
	struct mm_struct mm;
	(void)state;

	bare_mm_init(&mm);
	assert_int_equal(fixture_fail_nth(reserve_body, reserve_undo, reserve_snapshot, &mm), 3);
	bare_mm_exit(&mm);
}

static long root_body(void *arg)
{
	return pgd_alloc((struct mm_struct *)arg) ? 0 : -ENOMEM;
}

static void root_undo(void *arg)
{
	struct mm_struct *mm = arg;

	pgd_free(mm, mm->pgd);
}

static void a_failed_root_leaves_nothing_behind(void **state)
{
	struct mm_struct mm;
	(void)state;

	memset(&mm, 0, sizeof(mm));
	assert_int_equal(fixture_fail_nth(root_body, root_undo, reserve_snapshot, &mm), 1);
	assert_null(mm.pgd);
}

static long map_body(void *arg)
{
	static const unsigned long addr = 9 * PUD_SIZE;
	struct page *page = alloc_page(GFP_KERNEL);
	int err = -ENOMEM;

	if (page)
		err = map_one(arg, addr, page, PAGE_SHARED);
	if (page && err)
		put_page(page);
	/* The single-step functions keep what they made; the caller frees empty tables. */
	if (err)
		unmap_all(arg, addr, addr + PAGE_SIZE);
	return err;
}

static void map_undo(void *arg)
{
	unmap_all(arg, 9 * PUD_SIZE, 10 * PUD_SIZE);
}

static void half_built_paths_are_freed_by_free_pgtables(void **state)
{
	struct mm_struct mm;
	(void)state;

	bare_mm_init(&mm);
	assert_int_equal(fixture_fail_nth(map_body, map_undo, reserve_snapshot, &mm), 4);
	bare_mm_exit(&mm);
}

/* ---- destructors, life ---- */

struct drop_note {
	struct arc_dtor dtor;
	unsigned int *next;
	unsigned int order;
	struct page *table;
};

static void note_drop(void *obj, void *arg)
{
	struct drop_note *note = arg;

	note->order = ++*note->next;
	note->table = obj;
}

static void destructors_of_a_table_run_once_latest_first_when_its_last_entry_goes(void **state)
{
	struct drop_note first = { 0 }, second = { 0 }, parent = { 0 };
	unsigned int next = 0;
	struct mm_struct mm;
	struct page *table;
	(void)state;

	first.next = second.next = parent.next = &next;
	bare_mm_init(&mm);
	assert_int_equal(map_one(&mm, 0, alloc_page(GFP_KERNEL), PAGE_SHARED), 0);
	assert_int_equal(map_one(&mm, PAGE_SIZE, alloc_page(GFP_KERNEL), PAGE_SHARED), 0);
	table = pmd_page(pmdp_get(mm_find_pmd(&mm, 0)));
	assert_int_equal(pgtable_count(table), 3);
	pgtable_on_drop(table->pt_parent, &parent.dtor, note_drop, &parent);
	pgtable_on_drop(table, &first.dtor, note_drop, &first);
	pgtable_on_drop(table, &second.dtor, note_drop, &second);
	unmap_all(&mm, 0, PAGE_SIZE);
	assert_int_equal(next, 0);
	assert_int_equal(pgtable_count(table), 2);
	unmap_all(&mm, PAGE_SIZE, 2 * PAGE_SIZE);
	assert_int_equal(second.order, 1);
	assert_int_equal(first.order, 2);
	assert_int_equal(parent.order, 3);
	assert_ptr_equal(first.table, table);
	assert_int_equal(next, 3);
	bare_mm_exit(&mm);
}

/* ---- the check finds what is wrong ---- */

static void check_finds_a_wrong_count_a_wrong_parent_and_a_wrong_sum(void **state)
{
	struct check_report report = { .quiet = true };
	struct mm_struct mm;
	struct page *table;
	(void)state;

	bare_mm_init(&mm);
	assert_int_equal(map_one(&mm, 0, alloc_page(GFP_KERNEL), PAGE_SHARED), 0);
	table = pmd_page(pmdp_get(mm_find_pmd(&mm, 0)));
	table->pt_entries++;
	pgtable_check(&mm, &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "I1"));
	table->pt_entries--;
	table->pt_slot++;
	pgtable_check(&mm, &report);
	assert_int_equal(report.nr_violations, 2);
	assert_non_null(strstr(report.last, "I2"));
	table->pt_slot--;
	mm_inc_nr_ptes(&mm);
	pgtable_check(&mm, &report);
	assert_int_equal(report.nr_violations, 3);
	assert_non_null(strstr(report.last, "I3"));
	mm_dec_nr_ptes(&mm);
	unmap_all(&mm, 0, PAGE_SIZE);
	bare_mm_exit(&mm);
}

static void a_root_with_entries_is_warned_about_and_kept(void **state)
{
	struct mm_struct mm;
	pgd_t *pgd;
	(void)state;

	bare_mm_init(&mm);
	assert_int_equal(map_one(&mm, 0, alloc_page(GFP_KERNEL), PAGE_SHARED), 0);
	pgd = mm.pgd;
	pgd_free(&mm, mm.pgd);
	expect_warn("entries are left in the root table");
	mm.pgd = pgd;
	unmap_all(&mm, 0, PAGE_SIZE);
	bare_mm_exit(&mm);
}

static long free_loaded_root(void *arg)
{
	struct mm_struct *mm = arg;

	pgd_free(mm, mm->pgd);
	return 0;
}

static void freeing_a_loaded_root_is_a_bug(void **state)
{
	struct mm_struct mm;
	(void)state;

	bare_mm_init(&mm);
	switch_mm(NULL, &mm);
	expect_bug(free_loaded_root, &mm, "cpu_bitmap");
	switch_mm(&mm, NULL);
	bare_mm_exit(&mm);
}

/* ---- a leak is found ---- */

static void forget_a_table(void)
{
	static _Thread_local struct mm_struct mm;

	memset(&mm, 0, sizeof(mm));
	pgd_t *pgd = pgd_alloc(&mm);

	(void)pgd;
}

static void a_forgotten_table_turns_the_fixture_red(void **state)
{
	struct fixture_verdict verdict = fixture_run(1, forget_a_table);
	(void)state;

	assert_true(verdict.red);
	assert_true(verdict.nr_left >= 1);
	assert_non_null(strstr(verdict.reason, "pgtable"));
	assert_non_null(strstr(verdict.reason, "forget_a_table"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(entry_values_keep_frame_and_flags_apart),
		karc_unit_test(private_mappings_start_without_write_permission),
		KARC_TESTS(one_page_needs_one_table_of_each_level),
		KARC_TESTS(random_maps_and_unmaps_agree_with_a_flat_model),
		karc_unit_test(free_pgtables_keeps_tables_with_entries_outside_the_range),
		karc_unit_test(entries_that_are_not_present_keep_their_table),
		karc_unit_test(a_sparse_range_is_unmapped_without_visiting_it),
		KARC_TESTS(commit_gives_back_what_was_not_needed),
		karc_unit_test(a_failed_reservation_leaves_nothing_behind),
		karc_unit_test(a_failed_root_leaves_nothing_behind),
		karc_unit_test(half_built_paths_are_freed_by_free_pgtables),
		KARC_TESTS(destructors_of_a_table_run_once_latest_first_when_its_last_entry_goes),
		karc_unit_test(check_finds_a_wrong_count_a_wrong_parent_and_a_wrong_sum),
		karc_unit_test(a_root_with_entries_is_warned_about_and_kept),
		karc_unit_test(freeing_a_loaded_root_is_a_bug),
		cmocka_unit_test(a_forgotten_table_turns_the_fixture_red),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
