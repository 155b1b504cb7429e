/* SPDX-License-Identifier: MIT */
/*
 * What it is      mseal: VM_SEALED on all mappings of a range, for good. munmap, mmap over it,
 *                 mremap, mprotect and advice that throws pages away refuse it with -EPERM.
 *
 * Locking         mmap_lock for writing.
 */
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/profile.h>

#include "mmap_internal.h"

static bool range_whole(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	const struct vm_area_struct *vma = vma_lookup(mm, start);

	while (vma && vma->vm_end < end) {
		start = vma->vm_end;
		vma = vma_next(vma);
		if (vma && vma->vm_start != start)
			return false;
	}
	return vma;
}

static int seal_range(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma = vma_lookup(mm, start), *prev = vma_prev(vma);
	struct vma_change change = { .start = start };

	if (start > vma->vm_start)
		prev = vma;
	for (; change.start < end; vma = vma_next(vma)) {
		change.end = min(vma->vm_end, end);
		change.flags = vma->vm_flags | VM_SEALED;
		change.name = vma->anon_name;
		if (change.flags != vma->vm_flags) {
			vma = vma_modify(mm, prev, vma, &change);
			if (IS_ERR(vma))
				return PTR_ERR(vma);
		}
		prev = vma;
		change.start = max(change.end, vma->vm_end);
	}
	return 0;
}

long ksys_mseal(struct mm_struct *mm, unsigned long start, unsigned long len,
		unsigned long flags)
{
	unsigned long end = start + PAGE_ALIGN(len);
	int err;

	if (mm->profile->from < KERNEL_VERSION_CODE(6, 10))
		return -ENOSYS;
	if (flags || offset_in_page(start) || (len && !PAGE_ALIGN(len)) || end < start)
		return -EINVAL;
	if (end == start)
		return 0;
	mmap_write_lock(mm);
	err = range_whole(mm, start, end) ? seal_range(mm, start, end) : -ENOMEM;
	mmap_write_unlock(mm);
	return err;
}
