/* SPDX-License-Identifier: MIT */
/*
 * tables.h - a bare address space for tests of the pgtable room: an mm_struct with a root and
 * nothing of the space room
 */
#ifndef KARC_TESTS_PGTABLE_TABLES_H
#define KARC_TESTS_PGTABLE_TABLES_H

#include <string.h>

#include <karc/base/rand.h>
#include <karc/hw/mmu.h>
#include <karc/mm/pgtable/mmu_gather.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/pgtable/tlbflush.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/refcount/ledger.h>
#include "fixture.h"

static inline void bare_mm_init(struct mm_struct *mm)
{
	memset(mm, 0, sizeof(*mm));
	mm->task_size = TASK_SIZE_MAX;
	assert_non_null(pgd_alloc(mm));
}

/* The tables must be empty of pages. */
static inline void bare_mm_exit(struct mm_struct *mm)
{
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, mm);
	free_pgtables(&tlb, mm, 0, mm->task_size);
	tlb_finish_mmu(&tlb);
	assert_int_equal(mm_pgtables_bytes(mm), 0);
	pgd_free(mm, mm->pgd);
}

/* Map @page at @addr through the Linux-named path; takes the page's reference. 0 or -ENOMEM. */
static inline int map_one(struct mm_struct *mm, unsigned long addr, struct page *page,
			  pgprot_t prot)
{
	p4d_t *p4d = p4d_alloc(mm, pgd_offset(mm, addr), addr);
	pud_t *pud = pud_alloc(mm, p4d, addr);
	pmd_t *pmd = pud ? pmd_alloc(mm, pud, addr) : NULL;
	spinlock_t *ptl;
	pte_t *pte;

	if (!pmd)
		return -ENOMEM;
	pte = pte_alloc_map_lock(mm, pmd, addr, &ptl);
	if (!pte)
		return -ENOMEM;
	set_pte_at(mm, addr, pte, mk_pte(page, prot));
	pte_unmap_unlock(pte, ptl);
	return 0;
}

/* Clear what is mapped in [start, end) into a gather of its own; tables that become empty go. */
static inline void unmap_all(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct mmu_gather tlb;
	unsigned long addr = start;
	pmd_t *pmd;

	tlb_gather_mmu(&tlb, mm);
	while ((pmd = mm_next_leaf(mm, &addr, end))) {
		unsigned long stop = pmd_addr_end(addr, end);

		for (; addr < stop; addr += PAGE_SIZE) {
			spinlock_t *ptl;
			pte_t *pte = pte_offset_map_lock(mm, pmd, addr, &ptl);
			pte_t old = ptep_get_and_clear(mm, addr, pte);

			pte_unmap_unlock(pte, ptl);
			if (pte_none(old))
				continue;
			tlb_remove_tlb_entry(&tlb, addr);
			tlb_remove_page(&tlb, pte_page(old));
		}
	}
	free_pgtables(&tlb, mm, start, end);
	tlb_finish_mmu(&tlb);
}

static inline void assert_tables_clean(const struct mm_struct *mm)
{
	struct check_report report = { .quiet = false };

	pgtable_check(mm, &report);
	assert_int_equal(report.nr_violations, 0);
}

#endif
