/* SPDX-License-Identifier: MIT */
/*
 * What it is      The heap: one range of anonymous memory that begins at start_brk and ends at
 *                 brk. It grows its own last VMA when that still has the right flags, else
 *                 adds one; it never reaches below start_brk for a neighbour.
 *
 * Errors          brk has one way to say no: it returns the old break.
 */
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>

#include "mmap_internal.h"

bool data_rlimit_allows(const struct mm_struct *mm, unsigned long new)
{
	if (mm->rlim.data == MM_RLIM_UNLIMITED)
		return true;
	return new - mm->start_brk + (mm->end_data - mm->start_data) <= mm->rlim.data;
}

/* May [addr, addr + len) become heap? */
static bool brk_limits_allow(struct mm_struct *mm, unsigned long addr, unsigned long len)
{
	unsigned long at = get_unmapped_area(mm, NULL, addr, len, 0, MAP_FIXED | MAP_PRIVATE);

	return !IS_ERR_VALUE(at) && !mlock_future_check(mm, mm->def_flags, len);
}

int do_brk_flags(struct mm_struct *mm, struct vm_area_struct *prev, unsigned long addr,
		 unsigned long len, vm_flags_t flags)
{
	struct vma_shape shape = { .start = addr, .end = addr + len, .pgoff = addr >> PAGE_SHIFT };
	unsigned long pages = len >> PAGE_SHIFT;
	struct vm_area_struct *vma;

	flags |= VM_DATA_DEFAULT_FLAGS | VM_ACCOUNT | mm->def_flags;
	shape.flags = flags;
	if (!may_expand_vm(mm, flags, pages))
		return -ENOMEM;
	if (mm->map_count > space_sysctl()->max_map_count)
		return -ENOMEM;
	if (security_vm_enough_memory_mm(mm, pages))
		return -ENOMEM;
	/* Only downwards: the heap does not melt into what lies above it. */
	if (!vma_expand_new(mm, prev, NULL, &shape)) {
		vma = vm_area_alloc(mm);
		if (!vma)
			goto unaccount;
		vma->vm_start = addr;
		vma->vm_end = addr + len;
		vma->vm_pgoff = shape.pgoff;
		vma->vm_flags = flags | VM_SOFTDIRTY;
		vma_set_page_prot(vma);
		vma_link(mm, vma);
	}
	vm_stat_account(mm, flags, pages);
	if (flags & VM_LOCKED)
		mm->locked_vm += pages;
	return 0;
unaccount:
	vm_unacct_memory(pages);
	return -ENOMEM;
}

int vm_brk_flags(struct mm_struct *mm, unsigned long addr, unsigned long len, unsigned long flags)
{
	unsigned long size = PAGE_ALIGN(len);
	struct vm_area_struct *prev;
	struct unmap_plan plan;
	int err = -EINVAL;

	if (size < len)
		return -ENOMEM;
	if (!size)
		return 0;
	if (flags & ~VM_EXEC)
		return -EINVAL;
	mmap_write_lock(mm);
	if (offset_in_page(addr) || !brk_limits_allow(mm, addr, size))
		goto unlock;
	err = unmap_prepare(mm, &plan, addr, addr + size, NULL);
	if (err)
		goto unlock;
	unmap_commit(mm, &plan);
	find_vma_prev(mm, addr, &prev);
	err = do_brk_flags(mm, prev, addr, size, flags);
unlock:
	mmap_write_unlock(mm);
	return err;
}

/* [new_end, old_end) leaves the heap, if it still is heap there. */
static bool brk_shrink(struct mm_struct *mm, unsigned long new_end, unsigned long old_end)
{
	return find_vma_intersection(mm, new_end, old_end) &&
	       !do_munmap(mm, new_end, old_end - new_end);
}

static bool brk_grow(struct mm_struct *mm, unsigned long old_end, unsigned long new_end)
{
	struct vm_area_struct *next, *prev;

	if (!brk_limits_allow(mm, old_end, new_end - old_end))
		return false;
	next = find_vma_prev(mm, old_end, &prev);
	/* One page stays free above the heap, and the guard gap of a stack. */
	if (next && new_end + PAGE_SIZE > vm_start_gap(next))
		return false;
	if (prev && prev->vm_end <= mm->start_brk)
		prev = NULL;
	return !do_brk_flags(mm, prev, old_end, new_end - old_end, 0);
}

/* The break moves to @brk, or not: false. mmap_lock held for writing. */
static bool brk_move(struct mm_struct *mm, unsigned long brk)
{
	unsigned long old_end = PAGE_ALIGN(mm->brk), new_end = PAGE_ALIGN(brk);

	if (brk < mm->start_brk || !data_rlimit_allows(mm, brk))
		return false;
	if (new_end == old_end)
		return true;
	if (brk <= mm->brk)
		return brk_shrink(mm, new_end, old_end);
	/* An address near the top of the range rounds up to 0. */
	return new_end > old_end && brk_grow(mm, old_end, new_end);
}

long ksys_brk(struct mm_struct *mm, unsigned long brk)
{
	unsigned long old, grown = 0;
	long ret;

	mmap_write_lock(mm);
	old = mm->brk;
	if (brk_move(mm, brk)) {
		mm->brk = brk;
		if ((mm->def_flags & VM_LOCKED) && PAGE_ALIGN(brk) > PAGE_ALIGN(old))
			grown = PAGE_ALIGN(brk) - PAGE_ALIGN(old);
	}
	ret = (long)mm->brk;
	mmap_write_unlock(mm);
	if (grown)
		mm_populate(mm, PAGE_ALIGN(old), grown);
	return ret;
}
