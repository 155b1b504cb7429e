/* SPDX-License-Identifier: MIT */
/*
 * mmu_gather.h - flush first, then free
 *
 * A frame or a table that was mapped may be given back only when no CPU's TLB can reach it any
 * more. What an unmap takes out of the tables is gathered here, with its reference, and put
 * after the flush.
 */
#ifndef KARC_MM_PGTABLE_MMU_GATHER_H
#define KARC_MM_PGTABLE_MMU_GATHER_H

#include <karc/mm/mm_types.h>

#define MMU_GATHER_PAGES	120	/* the struct stays below 1 KiB of stack */

struct mmu_gather {
	struct mm_struct *mm;
	unsigned long start, end;	/* what must be flushed; start >= end: nothing */
	bool fullmm;			/* the whole space goes */
	bool freed_tables;
	struct page *tables;		/* unhooked tables, linked by pt_parent */
	struct page *last_table;
	unsigned int nr;
	struct page *pages[MMU_GATHER_PAGES];
};

/**
 * tlb_gather_mmu - begin an unmap; end it with tlb_finish_mmu()
 * Context: may sleep at the end. Uses no memory but @tlb, so nothing can fail.
 */
void tlb_gather_mmu(struct mmu_gather *tlb, struct mm_struct *mm);

/* The same when the space's last user is gone: nobody runs on it. */
void tlb_gather_mmu_fullmm(struct mmu_gather *tlb, struct mm_struct *mm);

/* An entry for @addr was cleared: its translation must be flushed. */
void tlb_remove_tlb_entry(struct mmu_gather *tlb, unsigned long addr);

/**
 * __tlb_remove_page - give @tlb one reference on @page, to be put after the flush
 * Takes:   the reference that the cleared entry held.
 * Returns: true when the batch is full: call tlb_flush_mmu() before the next one, after
 *          dropping the page-table lock.
 */
bool __tlb_remove_page(struct mmu_gather *tlb, struct page *page);

/* The same, flushing by itself when full; no spinlock held. */
void tlb_remove_page(struct mmu_gather *tlb, struct page *page);

/* Takes an unhooked table; it dies after the flush. */
void tlb_remove_table(struct mmu_gather *tlb, struct page *table);

/* Flush now and give back what was gathered. */
void tlb_flush_mmu(struct mmu_gather *tlb);
void tlb_finish_mmu(struct mmu_gather *tlb);

#endif
