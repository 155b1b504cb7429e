/* SPDX-License-Identifier: MIT */
/*
 * Questions about and promises for pages that change nothing: msync and mincore.
 *
 * Unlike Linux    files live in their page cache, so msync has nothing to write; a file's own fsync
 *                 operation is asked all the same. mincore looks for a cached page of any file,
 *                 Linux only for those the caller may write to.
 */
#include <karc/mm/cache/filemap.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/space/mmap.h>
#include <string.h>

#include "mmap_internal.h"

/* The file behind [start, end) of @vma. mmap_lock is dropped meanwhile. */
static int sync_file(struct mm_struct *mm, struct vm_area_struct *vma, unsigned long start,
		     unsigned long end)
{
	loff_t from = (loff_t)((start - vma->vm_start) + (vma->vm_pgoff << PAGE_SHIFT));
	struct file *file = get_file(vma->vm_file);
	int err = 0;

	mmap_read_unlock(mm);
	if (file->f_op && file->f_op->fsync)
		err = file->f_op->fsync(file, from, from + (loff_t)(end - start) - 1, 1);
	fput(file);
	mmap_read_lock(mm);
	return err;
}

/* [start, end) with mmap_lock held for reading. */
static int msync_range(struct mm_struct *mm, unsigned long start, unsigned long end, int flags)
{
	struct vm_area_struct *vma;
	int err, hole = 0;

	for (;;) {
		unsigned long at, stop;

		vma = find_vma(mm, start);
		if (!vma)
			return -ENOMEM;
		if (start < vma->vm_start) {
			if (flags == MS_ASYNC)
				return -ENOMEM;
			start = vma->vm_start;
			if (start >= end)
				return -ENOMEM;
			hole = -ENOMEM;
		}
		if ((flags & MS_INVALIDATE) && (vma->vm_flags & VM_LOCKED))
			return -EBUSY;
		at = start;
		stop = min(end, vma->vm_end);
		start = vma->vm_end;
		if ((flags & MS_SYNC) && vma->vm_file && (vma->vm_flags & VM_SHARED)) {
			err = sync_file(mm, vma, at, stop);
			if (err)
				return err;
		}
		if (start >= end)
			return hole;
	}
}

long ksys_msync(struct mm_struct *mm, unsigned long start, unsigned long len, int flags)
{
	unsigned long end;
	int err;

	if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || offset_in_page(start) ||
	    ((flags & MS_ASYNC) && (flags & MS_SYNC)))
		return -EINVAL;
	end = start + PAGE_ALIGN(len);
	if (end < start)
		return -ENOMEM;
	if (end == start)
		return 0;
	mmap_read_lock(mm);
	err = msync_range(mm, start, end, flags);
	mmap_read_unlock(mm);
	return err;
}

/* Is the page of @vma at @addr in memory, whether this space has it mapped or not? */
static bool page_resident(const struct vm_area_struct *vma, unsigned long addr)
{
	struct page *page;
	bool resident;

	if (pte_present(mm_lookup_pte(vma->vm_mm, addr)))
		return true;
	if (!vma->vm_file)
		return false;
	page = find_get_page(vma->vm_file->f_mapping,
			     vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT));
	if (!page)
		return false;
	resident = PageUptodate(page);
	put_page(page);
	return resident;
}

long ksys_mincore(struct mm_struct *mm, unsigned long start, unsigned long len,
		  unsigned char *vec)
{
	unsigned long pages = (len >> PAGE_SHIFT) + !!offset_in_page(len), i;
	struct vm_area_struct *vma = NULL;
	int err = 0;

	if (offset_in_page(start))
		return -EINVAL;
	if (start > mm->task_size || len > mm->task_size - start)
		return -ENOMEM;
	mmap_read_lock(mm);
	for (i = 0; i < pages; i++, start += PAGE_SIZE) {
		if (!vma || start >= vma->vm_end)
			vma = vma_lookup(mm, start);
		if (!vma) {
			err = -ENOMEM;
			break;
		}
		vec[i] = page_resident(vma, start);
	}
	mmap_read_unlock(mm);
	return err;
}
