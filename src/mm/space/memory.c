/* SPDX-License-Identifier: MIT */
/*
 * memory.c - the entries of a range: unmap, copy for fork, protect
 *
 * What it is
 *	Everything that goes over many entries at once. All walk from one existing leaf
 *	table to the next (mm_next_leaf), take that table's lock, and work through its part of the
 *	range.
 *
 * Objects
 *	entry --one reference, one _mapcount--> frame; the zero page and other special entries hold
 *	nothing. mm->rss_stat counts the entries by kind of frame.
 *
 * Invariants
 *	I1 each present entry that is not special is one reference and one _mapcount of its frame,
 *	   and one in rss_stat; whoever clears the entry passes the reference on (to the gather)
 *	I2 a frame of private memory that two entries map is writable through neither
 *	I3 an entry that got stricter is flushed before mmap_lock is dropped
 *
 * Locking
 *	mmap_lock as each function says; entries under their table's lock, the child's before the
 *	parent's in copy_page_range(). unmap_mapping_pages() has no mmap_lock: i_mmap_rwsem keeps
 *	the VMAs, and a VMA leaves that list before its tables are freed (unmap_vmas()).
 *
 * Worst case
 *	Time grows with existing leaf tables, not with the range. A gather is flushed every
 *	MMU_GATHER_PAGES pages. copy_page_range() holds two locks for at most 512 entries.
 *
 * Unlike Linux
 *	fork copies entries table by table; sharing whole leaf tables is not built. No large pages,
 *	no swap entries: an entry that is neither none nor present is a guard or a BUG.
 */
#include <karc/base/err.h>
#include <karc/hw/fiber.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/rmap.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/vma.h>
#include "fault_internal.h"

struct page *vm_normal_page(struct vm_area_struct *vma, unsigned long addr, pte_t pte)
{
	(void)vma;
	(void)addr;
	return pte_special(pte) ? NULL : pte_page(pte);
}

int mm_counter(const struct page *page)
{
	if (PageAnon(page))
		return MM_ANONPAGES;
	return PageSwapBacked(page) ? MM_SHMEMPAGES : MM_FILEPAGES;
}

static void add_rss(struct mm_struct *mm, const long *rss)
{
	int i;

	for (i = 0; i < NR_MM_COUNTERS; i++)
		if (rss[i])
			add_mm_counter(mm, i, rss[i]);
}

/* ---- unmap ---- */

/* What a clearing spares. */
enum zap_mode {
	ZAP_ALL,		/* nothing: the mapping goes */
	ZAP_PAGES,		/* guards, which are no pages */
	ZAP_FILE_PAGES,		/* guards and private copies */
};

/* Clear one present entry. Returns true when the gather is full. */
static bool zap_entry(struct mmu_gather *tlb, struct vm_area_struct *vma, unsigned long addr,
		      pte_t *ptep, enum zap_mode mode, long *rss)
{
	struct page *page = vm_normal_page(vma, addr, ptep_get(ptep));
	pte_t pte;

	if (mode == ZAP_FILE_PAGES && page && PageAnon(page))
		return false;
	pte = ptep_get_and_clear_full(vma->vm_mm, addr, ptep, tlb->fullmm);
	tlb_remove_tlb_entry(tlb, addr);
	if (!page)
		return false;
	if (pte_dirty(pte) && !PageAnon(page))
		set_page_dirty(page);
	rss[mm_counter(page)]--;
	page_remove_rmap(page, vma);
	return __tlb_remove_page(tlb, page);
}

/* One leaf table's part of the range. Returns where it stopped: @end, or the gather is full. */
static unsigned long zap_leaf(struct mmu_gather *tlb, struct vm_area_struct *vma, pmd_t *pmd,
			      unsigned long addr, unsigned long end, enum zap_mode mode)
{
	long rss[NR_MM_COUNTERS] = { 0 };
	bool full = false;
	spinlock_t *ptl;
	pte_t *first, *ptep;

	first = ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	for (; addr < end && !full; ptep++, addr += PAGE_SIZE) {
		pte_t pte = ptep_get(ptep);

		if (pte_none(pte))
			continue;
		if (pte_guard(pte)) {
			if (mode == ZAP_ALL)
				pte_clear(vma->vm_mm, addr, ptep);
			continue;
		}
		BUG_ON(!pte_present(pte));
		full = zap_entry(tlb, vma, addr, ptep, mode, rss);
	}
	add_rss(vma->vm_mm, rss);
	pte_unmap_unlock(first, ptl);
	return addr;
}

static void zap_range(struct mmu_gather *tlb, struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, enum zap_mode mode)
{
	unsigned long addr = start;
	pmd_t *pmd;

	while ((pmd = mm_next_leaf(vma->vm_mm, &addr, end))) {
		unsigned long stop = pmd_addr_end(addr, end);

		addr = zap_leaf(tlb, vma, pmd, addr, stop, mode);
		if (tlb->nr == MMU_GATHER_PAGES)
			tlb_flush_mmu(tlb);
		cond_resched();
	}
}

void unmap_page_range(struct mmu_gather *tlb, struct vm_area_struct *vma, unsigned long start,
		      unsigned long end)
{
	zap_range(tlb, vma, start, end, ZAP_ALL);
}

void unmap_vmas(struct mmu_gather *tlb, struct mm_struct *mm, struct vm_area_struct *vma,
		unsigned long start, unsigned long end)
{
	while (vma && vma->vm_start < end) {
		unmap_page_range(tlb, vma, max(start, vma->vm_start), min(end, vma->vm_end));
		/* Truncation finds its way to tables through the file: no more, they may go. */
		if (start <= vma->vm_start && vma->vm_end <= end)
			unlink_file_vma(vma);
		vma = list_is_last(&vma->vm_list, &mm->vmas.list) ?
		      NULL : list_next_entry(vma, vm_list);
	}
}

void zap_page_range_single(struct vm_area_struct *vma, unsigned long start, unsigned long size)
{
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, vma->vm_mm);
	zap_range(&tlb, vma, start, start + size, ZAP_PAGES);
	tlb_finish_mmu(&tlb);
}

void free_unused_tables(struct mmu_gather *tlb, struct mm_struct *mm, unsigned long start,
			unsigned long end, const struct vm_area_struct *below,
			const struct vm_area_struct *above)
{
	free_pgtables_between(tlb, mm, start, end, below ? below->vm_end : 0,
			      above ? above->vm_start : 0);
}

/* ---- file pages out of every space ---- */

static void unmap_mapping_vma(struct vm_area_struct *vma, pgoff_t first, pgoff_t last,
			      bool even_cows)
{
	pgoff_t vba = vma->vm_pgoff, vea = vba + vma_pages(vma) - 1;
	struct mmu_gather tlb;
	pgoff_t from = max(first, vba), to = min(last, vea);

	if (from > to)
		return;
	tlb_gather_mmu(&tlb, vma->vm_mm);
	zap_range(&tlb, vma, vma->vm_start + ((from - vba) << PAGE_SHIFT),
		  vma->vm_start + ((to - vba + 1) << PAGE_SHIFT),
		  even_cows ? ZAP_PAGES : ZAP_FILE_PAGES);
	tlb_finish_mmu(&tlb);
}

void unmap_mapping_pages(struct address_space *mapping, pgoff_t start, pgoff_t nr,
			 bool even_cows)
{
	pgoff_t last = nr - 1 > ~0UL - start ? ~0UL : start + nr - 1;
	struct vm_area_struct *vma;

	if (!nr)
		return;
	down_read(&mapping->i_mmap_rwsem);
	list_for_each_entry(vma, &mapping->i_mmap, rmap_node)
		unmap_mapping_vma(vma, start, last, even_cows);
	up_read(&mapping->i_mmap_rwsem);
}

static void unmap_truncated(struct address_space *mapping, pgoff_t start, pgoff_t end,
			    bool even_cows)
{
	unmap_mapping_pages(mapping, start, end - start, even_cows);
}

const struct cache_unmap_ops space_unmap_ops = { .unmap_range = unmap_truncated };

/* ---- fork ---- */

/* Faults can make the entries of other VMAs again, from the file or from the zero page. */
static bool vma_needs_copy(const struct vm_area_struct *src)
{
	return (src->vm_flags & (VM_PFNMAP | VM_MIXEDMAP | VM_MAYBE_GUARD)) || src->anon_vma;
}

static bool is_cow_mapping(vm_flags_t flags)
{
	return (flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
}

/* Both locks are held. Returns true when the parent's entry lost its write permission. */
static bool copy_entry(struct vm_area_struct *dst_vma, struct vm_area_struct *src_vma,
		       unsigned long addr, pte_t *dst_pte, pte_t *src_pte, long *rss)
{
	pte_t pte = ptep_get(src_pte);
	bool protect = is_cow_mapping(src_vma->vm_flags) && pte_write(pte);
	struct page *page;

	if (pte_guard(pte)) {
		set_pte_at(dst_vma->vm_mm, addr, dst_pte, pte);
		return false;
	}
	BUG_ON(!pte_present(pte));
	page = vm_normal_page(src_vma, addr, pte);
	if (protect) {
		ptep_set_wrprotect(src_vma->vm_mm, addr, src_pte);
		pte = pte_wrprotect(pte);
	}
	if (src_vma->vm_flags & VM_SHARED)
		pte = pte_mkclean(pte);
	if (page) {
		get_page(page);
		page_dup_rmap(page);
		rss[mm_counter(page)]++;
		pte = pte_mkold(pte);
	}
	set_pte_at(dst_vma->vm_mm, addr, dst_pte, pte);
	return protect;
}

static bool copy_leaf(struct vm_area_struct *dst_vma, struct vm_area_struct *src_vma,
		      pmd_t *dst_pmd, pmd_t *src_pmd, unsigned long addr, unsigned long end)
{
	long rss[NR_MM_COUNTERS] = { 0 };
	pte_t *src_first, *src_pte, *dst_first, *dst_pte;
	spinlock_t *src_ptl, *dst_ptl;
	bool protected = false;

	dst_first = dst_pte = pte_offset_map_lock(dst_vma->vm_mm, dst_pmd, addr, &dst_ptl);
	src_first = src_pte = pte_offset_map(src_pmd, addr);
	src_ptl = pte_lockptr(src_vma->vm_mm, src_pmd);
	spin_lock_nested(src_ptl, 1);
	for (; addr < end; addr += PAGE_SIZE, src_pte++, dst_pte++)
		if (!pte_none(ptep_get(src_pte)))
			protected |= copy_entry(dst_vma, src_vma, addr, dst_pte, src_pte, rss);
	pte_unmap_unlock(src_first, src_ptl);
	add_rss(dst_vma->vm_mm, rss);
	pte_unmap_unlock(dst_first, dst_ptl);
	return protected;
}

/* Take back what was copied: the child has nothing in the range, and no table for it. */
static void uncopy_range(struct vm_area_struct *dst_vma, unsigned long end)
{
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, dst_vma->vm_mm);
	unmap_page_range(&tlb, dst_vma, dst_vma->vm_start, end);
	free_unused_tables(&tlb, dst_vma->vm_mm, dst_vma->vm_start, end, vma_prev(dst_vma),
			   vma_next(dst_vma));
	tlb_finish_mmu(&tlb);
}

int copy_page_range(struct vm_area_struct *dst_vma, struct vm_area_struct *src_vma)
{
	unsigned long addr = src_vma->vm_start, end = src_vma->vm_end;
	bool protected = false;
	int err = 0;
	pmd_t *src_pmd;

	if (!vma_needs_copy(src_vma))
		return 0;
	inc_tlb_flush_pending(src_vma->vm_mm);
	while ((src_pmd = mm_next_leaf(src_vma->vm_mm, &addr, end))) {
		unsigned long next = pmd_addr_end(addr, end);
		struct pgtable_reserve reserve;
		pmd_t *dst_pmd;

		/* An emptied table is not worth a copy. */
		if (READ_ONCE(pmd_page(pmdp_get(src_pmd))->pt_entries)) {
			err = pgtable_reserve(dst_vma->vm_mm, addr, &reserve);
			if (err)
				break;
			dst_pmd = pgtable_commit(dst_vma->vm_mm, addr, &reserve);
			protected |= copy_leaf(dst_vma, src_vma, dst_pmd, src_pmd, addr, next);
		}
		addr = next;
		cond_resched();
	}
	if (protected)
		flush_tlb_range(src_vma, src_vma->vm_start, end);
	dec_tlb_flush_pending(src_vma->vm_mm);
	if (err)
		uncopy_range(dst_vma, addr);
	return err;
}

/* ---- protect ---- */

/* Would a write fault on this entry only find that writing is fine? */
static bool can_write_at_once(const struct vm_area_struct *vma, const struct page *page, pte_t pte)
{
	if (!(vma->vm_flags & VM_WRITE) || (vma->vm_flags & VM_SHARED) || !pte_dirty(pte))
		return false;
	return page && PageAnon(page) && page_ref_count(page) == 1;
}

static bool protect_entry(struct vm_area_struct *vma, unsigned long addr, pte_t *ptep,
			  pgprot_t newprot)
{
	struct mm_struct *mm = vma->vm_mm;
	pte_t old = ptep_get(ptep), new = pte_modify(old, newprot);

	if (can_write_at_once(vma, vm_normal_page(vma, addr, old), old))
		new = pte_mkwrite(new);
	if (pte_same(old, new))
		return false;
	/* Clear first: the MMU must not set A or D in an entry that is being replaced. */
	old = ptep_get_and_clear(mm, addr, ptep);
	new = pte_set_flags(new, pte_flags(old) & (_PAGE_ACCESSED | _PAGE_DIRTY));
	set_pte_at(mm, addr, ptep, new);
	return true;
}

unsigned long change_protection(struct vm_area_struct *vma, unsigned long start,
				unsigned long end, pgprot_t newprot)
{
	unsigned long addr = start, pages = 0;
	bool changed = false;
	pmd_t *pmd;

	inc_tlb_flush_pending(vma->vm_mm);
	while ((pmd = mm_next_leaf(vma->vm_mm, &addr, end))) {
		unsigned long stop = pmd_addr_end(addr, end);
		pte_t *first, *ptep;
		spinlock_t *ptl;

		first = ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
		for (; addr < stop; addr += PAGE_SIZE, ptep++) {
			if (!pte_present(ptep_get(ptep)))
				continue;
			changed |= protect_entry(vma, addr, ptep, newprot);
			pages++;
		}
		pte_unmap_unlock(first, ptl);
		cond_resched();
	}
	if (changed)
		flush_tlb_range(vma, start, end);
	dec_tlb_flush_pending(vma->vm_mm);
	return pages;
}

/* ---- move ---- */

/* Can the table of [@from, @from + @len) be hooked at @to as it is? */
static bool whole_table(unsigned long from, unsigned long to, unsigned long len)
{
	return !((from | to) & ~PMD_MASK) && len == PMD_SIZE;
}

/* The part of [@from, @end) that one table covers on either side. */
static unsigned long move_part(unsigned long from, unsigned long to, unsigned long end)
{
	unsigned long part = pmd_addr_end(from, end) - from;

	return min(part, pmd_addr_end(to, to + part) - to);
}

int move_reserve_tables(struct mm_struct *mm, unsigned long from, unsigned long to,
			unsigned long len)
{
	unsigned long addr = from, end = from + len, part, dst;
	struct pgtable_reserve reserve;

	while (mm_next_leaf(mm, &addr, end)) {
		dst = to + (addr - from);
		part = move_part(addr, dst, end);
		if (pgtable_reserve_down_to(mm, dst, whole_table(addr, dst, part) ? PGTABLE_PMD :
					    PGTABLE_PTE, &reserve))
			return -ENOMEM;
		pgtable_commit(mm, dst, &reserve);
		addr += part;
	}
	return 0;
}

static void move_entries(struct mm_struct *mm, pmd_t *from_pmd, unsigned long from, pmd_t *to_pmd,
			 unsigned long to, unsigned long len)
{
	spinlock_t *from_ptl, *to_ptl = pte_lockptr(mm, to_pmd);
	pte_t *first, *src, *dst = pte_offset_map(to_pmd, to), pte;
	unsigned long addr;
	bool present = false;

	first = src = pte_offset_map_lock(mm, from_pmd, from, &from_ptl);
	if (to_ptl != from_ptl)
		spin_lock_nested(to_ptl, 1);
	for (addr = from; addr < from + len; addr += PAGE_SIZE, src++, dst++) {
		if (pte_none(ptep_get(src)))
			continue;
		pte = ptep_get_and_clear(mm, addr, src);
		present |= pte_present(pte);
		set_pte_at(mm, to + (addr - from), dst, pte);
	}
	/* Before the locks go: nobody may store through the old place into a page that moved on. */
	if (present)
		flush_tlb_mm_range(mm, from, from + len);
	if (to_ptl != from_ptl)
		spin_unlock(to_ptl);
	pte_unmap_unlock(first, from_ptl);
}

void move_page_tables(struct mm_struct *mm, unsigned long from, unsigned long to,
		      unsigned long len, struct address_space *mapping)
{
	unsigned long addr = from, end = from + len, part, dst;
	pmd_t *src_pmd, *dst_pmd;

	/* Truncation must find each page at one place or the other. */
	if (mapping)
		down_write(&mapping->i_mmap_rwsem);
	inc_tlb_flush_pending(mm);
	while ((src_pmd = mm_next_leaf(mm, &addr, end))) {
		dst = to + (addr - from);
		part = move_part(addr, dst, end);
		dst_pmd = mm_find_pmd(mm, dst);
		if (!whole_table(addr, dst, part) ||
		    !pgtable_move_leaf(mm, src_pmd, dst_pmd, addr))
			move_entries(mm, src_pmd, addr, dst_pmd, dst, part);
		addr += part;
		cond_resched();
	}
	dec_tlb_flush_pending(mm);
	if (mapping)
		up_write(&mapping->i_mmap_rwsem);
}
