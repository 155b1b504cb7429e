/* SPDX-License-Identifier: MIT */
/*
 * What it is      Removal of a range: at most two VMAs are cut, those inside go, their pages and
 *                 tables with them. Prepared first (both cuts), then committed: MAP_FIXED uses the
 *                 same two steps to replace a range only when the new mapping is certain.
 *
 * Order           entries cleared and gathered, empty tables unhooked, TLBs flushed, frames put -
 *                 and only then the VMAs leave the index: nobody faults a page in meanwhile, since
 *                 that needs mmap_lock.
 */
#include <karc/base/bug.h>
#include <karc/base/log.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>

#include "mmap_internal.h"

/* Sum up what goes, as the VMAs are before the cuts. */
static void plan_sum(struct unmap_plan *plan)
{
	struct vm_area_struct *vma;
	unsigned long pages;

	for (vma = plan->first; vma && vma->vm_start < plan->end; vma = vma_next(vma)) {
		pages = (min(vma->vm_end, plan->end) - max(vma->vm_start, plan->start)) >>
			PAGE_SHIFT;
		plan->pages += pages;
		if (vma->vm_flags & VM_ACCOUNT)
			plan->accounted += pages;
	}
}

/*
 * Does a VMA from @first on refuse to go? As in Linux, the cut at @start has been made by the time
 * when another one than the first is met that does.
 */
static bool range_sealed(struct mm_struct *mm, struct vm_area_struct *first, unsigned long start,
			 unsigned long end)
{
	struct vm_area_struct *vma = first;

	while (vma && vma->vm_start < end && !(vma->vm_flags & VM_SEALED))
		vma = vma_next(vma);
	if (!vma || vma->vm_start >= end)
		return false;
	if (vma != first && start > first->vm_start && split_vma(mm, first, start, true))
		pr_debug("%s: %lx stays in one piece\n", __func__, first->vm_start);
	return true;
}

int unmap_prepare(struct mm_struct *mm, struct unmap_plan *plan, unsigned long start,
		  unsigned long end, struct vma_stock *stock)
{
	struct vm_area_struct *first, *last;
	int err;

	*plan = (struct unmap_plan) { .start = start, .end = end };
	first = find_vma_intersection(mm, start, end);
	if (!first)
		return 0;
	plan->first = first;
	plan_sum(plan);
	/* Only a hole in the middle leaves one mapping more than before. */
	if (start > first->vm_start && end < first->vm_end &&
	    mm->map_count >= space_sysctl()->max_map_count)
		return -ENOMEM;
	if (range_sealed(mm, first, start, end))
		return -EPERM;
	if (start > first->vm_start) {
		err = vma_split_prepare(&plan->split[0], first, start, false, stock);
		if (err)
			return err;
		plan->nr_splits = 1;
		plan->first = plan->split[0].new;
	}
	last = find_vma(mm, end - 1);
	if (last && last->vm_start < end && last->vm_end > end) {
		if (last == first && plan->nr_splits)
			last = plan->split[0].new;
		err = vma_split_prepare(&plan->split[plan->nr_splits], last, end, true,
					stock);
		if (err)
			goto abort;
		/* The part below the cut goes: when it is the first of the range, start there. */
		if (last == plan->first)
			plan->first = plan->split[plan->nr_splits].new;
		plan->nr_splits++;
	}
	return 0;
abort:
	unmap_abort(plan);
	return err;
}

void unmap_abort(struct unmap_plan *plan)
{
	while (plan->nr_splits)
		vma_split_abort(&plan->split[--plan->nr_splits]);
}

/* The pages and tables of the range. */
static void unmap_region(struct mm_struct *mm, const struct unmap_plan *plan)
{
	const struct vm_area_struct *below = vma_prev(plan->first);
	const struct vm_area_struct *above = find_vma(mm, plan->end);
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, mm);
	unmap_vmas(&tlb, mm, plan->first, plan->start, plan->end);
	free_unused_tables(&tlb, mm, plan->start, plan->end, below, above);
	tlb_finish_mmu(&tlb);
}

void unmap_commit_cuts(struct mm_struct *mm, struct unmap_plan *plan)
{
	unsigned int i;

	for (i = 0; i < plan->nr_splits; i++)
		vma_split_commit(mm, &plan->split[i]);
	plan->nr_splits = 0;
}

void unmap_commit(struct mm_struct *mm, struct unmap_plan *plan)
{
	struct vm_area_struct *vma, *next;

	if (!plan->first)
		return;
	unmap_commit_cuts(mm, plan);
	unmap_region(mm, plan);
	for (vma = plan->first; vma && vma->vm_start < plan->end; vma = next) {
		next = vma_next(vma);
		if (vma->vm_flags & VM_LOCKED)
			mm->locked_vm -= vma_pages(vma);
		vm_stat_account(mm, vma->vm_flags, -(long)vma_pages(vma));
		vma_unlink(mm, vma);
		vma_put(vma);
	}
	vm_unacct_memory(plan->accounted);
	plan->first = NULL;
}

int do_munmap(struct mm_struct *mm, unsigned long start, size_t len)
{
	struct unmap_plan plan;
	unsigned long end;
	int err;

	if (offset_in_page(start) || start > mm->task_size || len > mm->task_size - start)
		return -EINVAL;
	end = start + PAGE_ALIGN(len);
	if (end == start)
		return -EINVAL;
	err = unmap_prepare(mm, &plan, start, end, NULL);
	if (err)
		return err;
	unmap_commit(mm, &plan);
	return 0;
}

int mm_munmap(struct mm_struct *mm, unsigned long start, size_t len)
{
	int err;

	mmap_write_lock(mm);
	err = do_munmap(mm, start, len);
	mmap_write_unlock(mm);
	return err;
}

long ksys_munmap(struct mm_struct *mm, unsigned long addr, unsigned long len)
{
	return mm_munmap(mm, addr, len);
}
