/* SPDX-License-Identifier: MIT */
/*
 * What it is      Faulting in ahead: for MAP_POPULATE and locked memory as far as it goes, for
 *                 mlock and MADV_POPULATE_* with an answer.
 *
 * Locking         mmap_lock for reading, dropped every few pages: what is mapped may change in
 *                 between, and then what is there now counts.
 */
#include <karc/hw/fiber.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/mmap.h>

#include "mmap_internal.h"

#define POPULATE_BATCH_PAGES	64	/* under one hold of mmap_lock */
#define POPULATE_TRIES		16	/* of one page that others take away again */

static bool entry_allows(struct mm_struct *mm, unsigned long addr, bool write)
{
	pte_t pte = mm_lookup_pte(mm, addr);

	return pte_present(pte) && (!write || pte_write(pte));
}

/* 0, -EFAULT (the access would be a signal) or -ENOMEM. Locks: mmap_lock. */
static int populate_page(struct vm_area_struct *vma, unsigned long addr, bool write)
{
	unsigned int flags = FAULT_FLAG_REMOTE | (write ? FAULT_FLAG_WRITE : 0u), tries;
	vm_fault_t ret;

	for (tries = 0; tries < POPULATE_TRIES; tries++) {
		if (entry_allows(vma->vm_mm, addr, write))
			return 0;
		ret = handle_mm_fault(vma, addr, flags);
		if (ret & VM_FAULT_OOM)
			return -ENOMEM;
		if (ret & VM_FAULT_ERROR)
			return -EFAULT;
	}
	return 0;
}

int populate_vma_page_range(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	/* Copies are made now where they will be needed; shared pages are left as they are. */
	bool write = (vma->vm_flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
	int err = 0;

	if (vma->vm_flags & VM_LOCKONFAULT)
		return 0;
	if (!vma_is_accessible(vma))
		return -EFAULT;
	for (; !err && start < end; start += PAGE_SIZE)
		err = populate_page(vma, start, write);
	return err;
}

int populate_range(struct mm_struct *mm, unsigned long start, unsigned long end,
		   bool ignore_errors)
{
	struct vm_area_struct *vma;
	unsigned long next;
	int err = 0;

	while (start < end) {
		mmap_read_lock(mm);
		vma = find_vma_intersection(mm, start, end);
		if (!vma) {
			mmap_read_unlock(mm);
			break;
		}
		start = max(start, vma->vm_start);
		next = min(vma->vm_end, end);
		if (!(vma->vm_flags & (VM_IO | VM_PFNMAP | VM_LOCKONFAULT))) {
			next = min(next, start + POPULATE_BATCH_PAGES * PAGE_SIZE);
			err = populate_vma_page_range(vma, start, next);
			/* The rest of a mapping that refused is not tried. */
			if (err)
				next = min(vma->vm_end, end);
		}
		mmap_read_unlock(mm);
		if (err && !ignore_errors)
			return err;
		start = next;
		cond_resched();
	}
	return 0;
}

void mm_populate(struct mm_struct *mm, unsigned long addr, unsigned long len)
{
	populate_range(mm, addr, addr + len, true);
}

/* What would an access of this kind find? 0 or -EINVAL. */
static int check_access(const struct vm_area_struct *vma, bool write)
{
	if (vma->vm_flags & (VM_IO | VM_PFNMAP))
		return -EINVAL;
	return vma->vm_flags & (write ? VM_WRITE : VM_READ) ? 0 : -EINVAL;
}

int faultin_range(struct mm_struct *mm, unsigned long start, unsigned long end, bool write)
{
	struct vm_area_struct *vma;
	unsigned long stop;
	int err;

	while (start < end) {
		mmap_read_lock(mm);
		vma = vma_lookup(mm, start);
		err = vma ? check_access(vma, write) : -ENOMEM;
		if (!err) {
			stop = min(min(vma->vm_end, end), start + POPULATE_BATCH_PAGES * PAGE_SIZE);
			for (; !err && start < stop; start += PAGE_SIZE)
				err = populate_page(vma, start, write);
		}
		mmap_read_unlock(mm);
		if (err)
			return err;
		cond_resched();
	}
	return 0;
}
