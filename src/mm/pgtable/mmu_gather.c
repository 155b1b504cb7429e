/* SPDX-License-Identifier: MIT */
/*
 * mmu_gather.c - flush first, then free
 *
 * What it is
 *	An unmap clears entries, but other CPUs may still reach the frames and tables through their
 *	TLBs. So the references are gathered, the TLBs flushed, and only then everything is put.
 *
 * Invariants
 *	I1 nothing gathered is put before a flush that began after its entry was cleared
 *	I2 tables die in the order in which they were unhooked: children before parents
 *	I3 mm->tlb_flush_pending counts the open gathers
 *
 * Locking
 *	The gather is its caller's alone. tlb_flush_mmu() is called without spinlocks that a
 *	destructor may want; tlb_remove_table() and __tlb_remove_page() never flush.
 *
 * Worst case
 *	One flush for each MMU_GATHER_PAGES pages. Tables need no room: they are linked through
 *	their own pages.
 *
 * Unlike Linux
 *	One fixed batch on the caller's stack instead of batches from the page allocator: an unmap
 *	under memory pressure behaves like any other.
 */
#include <karc/base/bug.h>
#include <karc/mm/pgtable/mmu_gather.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/pgtable/tlbflush.h>

static_assert(sizeof(struct mmu_gather) <= 1024 + 64, "a gather lives on the stack");

static void reset_range(struct mmu_gather *tlb)
{
	tlb->start = ~0UL;
	tlb->end = 0;
	tlb->freed_tables = false;
}

void tlb_gather_mmu(struct mmu_gather *tlb, struct mm_struct *mm)
{
	tlb->mm = mm;
	tlb->fullmm = false;
	tlb->tables = NULL;
	tlb->last_table = NULL;
	tlb->nr = 0;
	reset_range(tlb);
	inc_tlb_flush_pending(mm);
}

void tlb_gather_mmu_fullmm(struct mmu_gather *tlb, struct mm_struct *mm)
{
	tlb_gather_mmu(tlb, mm);
	tlb->fullmm = true;
}

void tlb_remove_tlb_entry(struct mmu_gather *tlb, unsigned long addr)
{
	addr &= PAGE_MASK;
	if (addr < tlb->start)
		tlb->start = addr;
	if (addr + PAGE_SIZE > tlb->end)
		tlb->end = addr + PAGE_SIZE;
}

bool __tlb_remove_page(struct mmu_gather *tlb, struct page *page)
{
	BUG_ON(tlb->nr >= MMU_GATHER_PAGES);
	tlb->pages[tlb->nr++] = page;
	return tlb->nr == MMU_GATHER_PAGES;
}

void tlb_remove_page(struct mmu_gather *tlb, struct page *page)
{
	if (__tlb_remove_page(tlb, page))
		tlb_flush_mmu(tlb);
}

void tlb_remove_table(struct mmu_gather *tlb, struct page *table)
{
	BUG_ON(table->pt_parent);
	if (tlb->last_table)
		tlb->last_table->pt_parent = table;
	else
		tlb->tables = table;
	tlb->last_table = table;
	tlb->freed_tables = true;
}

static void free_tables(struct mmu_gather *tlb)
{
	struct page *table = tlb->tables;

	tlb->tables = NULL;
	tlb->last_table = NULL;
	while (table) {
		struct page *next = table->pt_parent;

		table->pt_parent = NULL;
		pgtable_destroy(table);
		table = next;
	}
}

void tlb_flush_mmu(struct mmu_gather *tlb)
{
	unsigned int i, nr = tlb->nr;

	if (tlb->start < tlb->end) {
		if (tlb->fullmm || tlb->freed_tables)
			flush_tlb_mm(tlb->mm);
		else
			flush_tlb_mm_range(tlb->mm, tlb->start, tlb->end);
	}
	reset_range(tlb);
	tlb->nr = 0;
	for (i = 0; i < nr; i++)
		put_page(tlb->pages[i]);
	free_tables(tlb);
}

void tlb_finish_mmu(struct mmu_gather *tlb)
{
	tlb_flush_mmu(tlb);
	dec_tlb_flush_pending(tlb->mm);
	tlb->mm = NULL;
}
