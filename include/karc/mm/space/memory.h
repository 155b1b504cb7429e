/* SPDX-License-Identifier: MIT */
/*
 * memory.h - operations on the entries of a range: unmap, copy for fork, change protection
 */
#ifndef KARC_MM_SPACE_MEMORY_H
#define KARC_MM_SPACE_MEMORY_H

#include <karc/base/contract.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/pgtable/mmu_gather.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/pgtable/tlbflush.h>

struct address_space;

/**
 * unmap_vmas - clear the entries of a range, VMA by VMA
 * @tlb:   gathers what the entries held
 * @vma:   first VMA to look at; goes on through the mm's list, or stops after the last one on
 *         a list of the caller's own (vm_list), whichever comes first
 * @start, @end: only this part
 *
 * Locks: mmap_lock for writing (or the last user). Tables stay: free_pgtables() follows.
 */
void unmap_vmas(struct mmu_gather *tlb, struct mm_struct *mm, struct vm_area_struct *vma,
		unsigned long start, unsigned long end);

/* Clear the entries of [@start, @end) of one VMA into @tlb. Locks: mmap_lock in any mode. */
void unmap_page_range(struct mmu_gather *tlb, struct vm_area_struct *vma, unsigned long start,
		      unsigned long end);

/* The same with a gather of its own, sparing guards: clears, flushes, frees (MADV_DONTNEED). */
void zap_page_range_single(struct vm_area_struct *vma, unsigned long start, unsigned long size);

/* Tables of [@start, @end) that hold nothing and no mapping outside, which lie around it, needs. */
void free_unused_tables(struct mmu_gather *tlb, struct mm_struct *mm, unsigned long start,
			unsigned long end, const struct vm_area_struct *below,
			const struct vm_area_struct *above);

/**
 * copy_page_range - fork: give @dst_vma the entries of @src_vma
 *
 * Private writable pages are shared from now on and write-protected on both sides; every copied
 * entry is one more reference and mapcount of its frame. Entries that a fault can make again
 * (file pages not written privately) are left out, as in Linux. The parent's TLBs are flushed
 * here.
 * Locks:  the parent's mmap_lock for writing; the child is not running yet.
 * Errors: -ENOMEM; the child's range is empty again, tables included. The parent's pages may
 *         stay write-protected: the next store of the parent takes them back.
 */
KARC_MUST_CHECK int copy_page_range(struct vm_area_struct *dst_vma,
				    struct vm_area_struct *src_vma);

/**
 * change_protection - give the entries of [@start, @end) the protection @newprot
 *
 * Writable entries stay or become writable only where no later write fault is needed (COW,
 * first write to a shared page). Flushes. Returns the number of pages looked at.
 * Locks: mmap_lock for writing. Cannot fail.
 */
unsigned long change_protection(struct vm_area_struct *vma, unsigned long start,
				unsigned long end, pgprot_t newprot);

/**
 * move_reserve_tables - make the tables that entries of [@from, @from + @len) need at @to
 * Locks:  mmap_lock for writing; nothing is mapped at @to.
 * Errors: -ENOMEM; the caller frees what was made (free_unused_tables()).
 */
KARC_MUST_CHECK int move_reserve_tables(struct mm_struct *mm, unsigned long from,
					unsigned long to, unsigned long len);

/**
 * move_page_tables - the entries of [@from, @from + @len) are at @to from now on
 * @mapping: of the file whose pages they may be, or NULL
 *
 * Whole tables move where both places allow it. Flushes the old place. Cannot fail, given the
 * tables. Locks: mmap_lock for writing. Context: may sleep.
 */
void move_page_tables(struct mm_struct *mm, unsigned long from, unsigned long to,
		      unsigned long len, struct address_space *mapping);

/* The page behind a present entry, or NULL for the zero page and other special entries. */
struct page *vm_normal_page(struct vm_area_struct *vma, unsigned long addr, pte_t pte);

/* Which of mm->rss_stat counts an entry that maps @page. */
int mm_counter(const struct page *page);

/**
 * unmap_mapping_pages - take pages [@start, @start + @nr) of a file out of all address spaces
 * @even_cows: private copies too (truncate); else only pages of the file itself
 * Context: may sleep (i_mmap_rwsem).
 */
void unmap_mapping_pages(struct address_space *mapping, pgoff_t start, pgoff_t nr,
			 bool even_cows);

/* rss of one kind, as /proc shows it: never negative. */
static inline unsigned long mm_rss(const struct mm_struct *mm)
{
	long sum = atomic_long_read(&mm->rss_stat[MM_FILEPAGES]) +
		   atomic_long_read(&mm->rss_stat[MM_ANONPAGES]) +
		   atomic_long_read(&mm->rss_stat[MM_SHMEMPAGES]);

	return sum > 0 ? (unsigned long)sum : 0;
}

#endif
