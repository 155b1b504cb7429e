/* SPDX-License-Identifier: MIT */
/*
 * What it is      Locked memory: pages of VM_LOCKED mappings are faulted in when they are locked,
 *                 or (VM_LOCKONFAULT) stay once they have been touched. mm->def_flags makes later
 *                 mappings locked as well (MCL_FUTURE).
 *
 * Invariants      locked_vm is the sum of pages of VM_LOCKED mappings (mm_check).
 *
 * Order           limits, then flags mapping by mapping (what was done before an error stays), then
 *                 the pages, without the lock.
 *
 * Locking         mmap_lock for writing while flags change.
 *
 * Unlike Linux    locked pages are not moved to a list of their own and have no counter: nothing
 *                 takes pages from programs, and who asks for their number has them counted.
 */
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/space/mmap.h>

#include "mmap_internal.h"

int mlock_future_check(struct mm_struct *mm, vm_flags_t flags, unsigned long bytes)
{
	unsigned long locked = mm->locked_vm + (bytes >> PAGE_SHIFT);

	if (!(flags & VM_LOCKED) || mm_flag_test(mm, MMF_CAPABLE))
		return 0;
	return locked > mm->rlim.memlock >> PAGE_SHIFT ? -EAGAIN : 0;
}

bool can_do_mlock(const struct mm_struct *mm)
{
	return mm->rlim.memlock || mm_flag_test(mm, MMF_CAPABLE);
}

/* One mapping's part gets the locking bits of @change->flags. *@pprev becomes what covers it. */
static int mlock_fixup(struct mm_struct *mm, struct vm_area_struct **pprev,
		       struct vm_area_struct *vma, const struct vma_change *change)
{
	unsigned long pages = (change->end - change->start) >> PAGE_SHIFT;
	vm_flags_t old = vma->vm_flags;

	/* The kernel's own mappings have nothing that could go, droppable ones nothing to keep. */
	if (change->flags != old && !(old & (VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE))) {
		vma = vma_modify(mm, *pprev, vma, change);
		if (IS_ERR(vma))
			return PTR_ERR(vma);
		if ((change->flags & VM_LOCKED) && !(old & VM_LOCKED))
			mm->locked_vm += pages;
		else if (!(change->flags & VM_LOCKED) && (old & VM_LOCKED))
			mm->locked_vm -= pages;
	}
	*pprev = vma;
	return 0;
}

/* [start, end), page aligned, gets the locking bits @bits. mmap_lock held for writing. */
static int apply_lock_flags(struct mm_struct *mm, unsigned long start, unsigned long end,
			    vm_flags_t bits)
{
	struct vm_area_struct *vma = vma_lookup(mm, start), *prev;
	struct vma_change change = { .start = start };
	int err;

	if (end < start)
		return -EINVAL;
	if (end == start)
		return 0;
	if (!vma)
		return -ENOMEM;
	prev = start > vma->vm_start ? vma : vma_prev(vma);
	for (;;) {
		change.end = min(vma->vm_end, end);
		change.flags = (vma->vm_flags & ~VM_LOCKED_MASK) | bits;
		change.name = vma->anon_name;
		err = mlock_fixup(mm, &prev, vma, &change);
		if (err)
			return err;
		/* A merge may have brought us further. */
		change.start = max(change.end, min(prev->vm_end, end));
		if (change.start >= end)
			return 0;
		vma = vma_next(prev);
		if (!vma || vma->vm_start != change.start)
			return -ENOMEM;
	}
}

/* Pages of [start, end) that are locked already. */
static unsigned long locked_pages_in(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma = find_vma(mm, start);
	unsigned long pages = 0;

	for (; vma && vma->vm_start < end; vma = vma_next(vma))
		if (vma->vm_flags & VM_LOCKED)
			pages += (min(vma->vm_end, end) - max(vma->vm_start, start)) >> PAGE_SHIFT;
	return pages;
}

static bool memlock_allows(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	unsigned long limit = mm->rlim.memlock >> PAGE_SHIFT;
	unsigned long want = mm->locked_vm + ((end - start) >> PAGE_SHIFT);

	if (want <= limit || mm_flag_test(mm, MMF_CAPABLE))
		return true;
	return want - locked_pages_in(mm, start, end) <= limit;
}

static long do_mlock(struct mm_struct *mm, unsigned long start, unsigned long len,
		     vm_flags_t bits)
{
	unsigned long end;
	int err = -ENOMEM;

	if (!can_do_mlock(mm))
		return -EPERM;
	len = PAGE_ALIGN(len + offset_in_page(start));
	start &= PAGE_MASK;
	end = start + len;
	mmap_write_lock(mm);
	if (memlock_allows(mm, start, end))
		err = apply_lock_flags(mm, start, end, bits);
	mmap_write_unlock(mm);
	if (err)
		return err;
	err = populate_range(mm, start, end, false);
	/* As POSIX wants it: there is no such memory; there is none left. */
	return err == -EFAULT ? -ENOMEM : err == -ENOMEM ? -EAGAIN : err;
}

long ksys_mlock(struct mm_struct *mm, unsigned long start, unsigned long len)
{
	return do_mlock(mm, start, len, VM_LOCKED);
}

long ksys_mlock2(struct mm_struct *mm, unsigned long start, unsigned long len, int flags)
{
	if (flags & ~MLOCK_ONFAULT)
		return -EINVAL;
	return do_mlock(mm, start, len, VM_LOCKED | (flags & MLOCK_ONFAULT ? VM_LOCKONFAULT : 0));
}

long ksys_munlock(struct mm_struct *mm, unsigned long start, unsigned long len)
{
	int err;

	len = PAGE_ALIGN(len + offset_in_page(start));
	start &= PAGE_MASK;
	mmap_write_lock(mm);
	err = apply_lock_flags(mm, start, start + len, 0);
	mmap_write_unlock(mm);
	return err;
}

/* ---- counting ---- */

/* Present pages of one VMA. mmap_lock held. */
static unsigned long present_pages(const struct vm_area_struct *vma)
{
	unsigned long addr = vma->vm_start, pages = 0, stop;
	const pte_t *ptep;
	pmd_t *pmd;
	pte_t pte;

	while ((pmd = mm_next_leaf(vma->vm_mm, &addr, vma->vm_end))) {
		stop = pmd_addr_end(addr, vma->vm_end);
		for (ptep = pte_offset_map(pmd, addr); addr < stop; ptep++, addr += PAGE_SIZE) {
			pte = ptep_get(ptep);
			pages += pte_present(pte) && !pte_special(pte);
		}
	}
	return pages;
}

static int add_mlocked(struct mm_struct *mm, void *arg)
{
	unsigned long *pages = arg;
	struct vm_area_struct *vma;

	mmap_read_lock(mm);
	for_each_vma_of(mm, vma)
		if (vma->vm_flags & VM_LOCKED)
			*pages += present_pages(vma);
	mmap_read_unlock(mm);
	return 0;
}

unsigned long nr_mlocked_pages(void)
{
	unsigned long pages = 0;

	mm_for_each(add_mlocked, &pages);
	return pages;
}

/* ---- all of them ---- */

/* Every mapping gets the bits. One that cannot (no memory for a cut is needed) stays as it is. */
static void lock_all(struct mm_struct *mm, vm_flags_t bits)
{
	struct vm_area_struct *vma = vma_first(mm), *prev = NULL;
	struct vma_change change;

	for (; vma; vma = vma_next(prev)) {
		change = (struct vma_change) {
			.start = vma->vm_start, .end = vma->vm_end, .name = vma->anon_name,
			.flags = (vma->vm_flags & ~VM_LOCKED_MASK) | bits,
		};
		if (mlock_fixup(mm, &prev, vma, &change))
			prev = vma;
	}
}

long ksys_mlockall(struct mm_struct *mm, int flags)
{
	vm_flags_t bits = VM_LOCKED | (flags & MCL_ONFAULT ? VM_LOCKONFAULT : 0);
	int err = -ENOMEM;

	if (!flags || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT)
		return -EINVAL;
	if (!can_do_mlock(mm))
		return -EPERM;
	mmap_write_lock(mm);
	if (!(flags & MCL_CURRENT) || mm->total_vm <= mm->rlim.memlock >> PAGE_SHIFT ||
	    mm_flag_test(mm, MMF_CAPABLE)) {
		mm->def_flags &= ~VM_LOCKED_MASK;
		if (flags & MCL_FUTURE)
			mm->def_flags |= bits;
		if (flags & MCL_CURRENT)
			lock_all(mm, bits);
		err = 0;
	}
	mmap_write_unlock(mm);
	if (!err && (flags & MCL_CURRENT))
		mm_populate(mm, 0, mm->task_size);
	return err;
}

long ksys_munlockall(struct mm_struct *mm)
{
	mmap_write_lock(mm);
	mm->def_flags &= ~VM_LOCKED_MASK;
	lock_all(mm, 0);
	mmap_write_unlock(mm);
	return 0;
}
