/* SPDX-License-Identifier: MIT */
/*
 * What it is      mprotect: VMA by VMA, each piece either joins a neighbour that already is as
 *                 it will be, or is cut out of its VMA. An error in the middle leaves the VMAs
 *                 before it changed, as in Linux; within one VMA it is all or nothing.
 *
 * Locking         mmap_lock for writing.
 */
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>
#include <karc/mm/space/profile.h>

#include "mmap_internal.h"

/* One piece of the call: [start, end) of one VMA. */
struct piece {
	struct vm_area_struct *vma;
	unsigned long start, end;
	vm_flags_t flags;		/* wanted */
	long charged;			/* pages newly promised */
};

/* Limits and promises. 0 or -ENOMEM. May add or remove VM_ACCOUNT in piece->flags. */
static int piece_reserve(struct mm_struct *mm, struct piece *piece)
{
	vm_flags_t old = piece->vma->vm_flags;
	unsigned long pages = (piece->end - piece->start) >> PAGE_SHIFT;

	if (piece->flags & VM_WRITE) {
		if (!may_expand_vm(mm, piece->flags, pages) && may_expand_vm(mm, old, pages))
			return -ENOMEM;
		if (old & (VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED | VM_NORESERVE))
			return 0;
		if (security_vm_enough_memory_mm(mm, pages))
			return -ENOMEM;
		piece->charged = (long)pages;
		piece->flags |= VM_ACCOUNT;
	} else if (mm->profile->mprotect_unaccounts && (old & VM_ACCOUNT) &&
		   vma_is_anonymous(piece->vma) && !piece->vma->anon_vma) {
		piece->flags &= ~VM_ACCOUNT;
	}
	return 0;
}

/* Apply @piece; *@pprev is the VMA before it, and is then the one that covers it. */
static int mprotect_fixup(struct mm_struct *mm, struct vm_area_struct **pprev, struct piece *piece)
{
	struct vm_area_struct *vma = piece->vma;
	vm_flags_t old = vma->vm_flags;
	long pages = (long)((piece->end - piece->start) >> PAGE_SHIFT);
	struct vma_change change = {
		.start = piece->start, .end = piece->end, .name = vma->anon_name,
	};
	int err;

	if (old & VM_SEALED)
		return -EPERM;
	if (piece->flags == old) {
		*pprev = vma;
		return 0;
	}
	err = piece_reserve(mm, piece);
	if (err)
		return err;
	change.flags = piece->flags;
	vma = vma_modify(mm, *pprev, vma, &change);
	if (IS_ERR(vma)) {
		vm_unacct_memory(piece->charged);
		return PTR_ERR(vma);
	}
	*pprev = vma;
	vma_set_page_prot(vma);
	change_protection(vma, piece->start, piece->end, vma->vm_page_prot);
	/* Locked memory that may be written from now on gets its copies now, not at a fault. */
	if ((old & (VM_WRITE | VM_SHARED | VM_LOCKED)) == VM_LOCKED && (vma->vm_flags & VM_WRITE))
		populate_vma_page_range(vma, piece->start, piece->end);
	if ((old & VM_ACCOUNT) && !(piece->flags & VM_ACCOUNT))
		vm_unacct_memory(pages);
	vm_stat_account(mm, old, -pages);
	vm_stat_account(mm, piece->flags, pages);
	return 0;
}

/* What @vma's flags become, or an error. */
static int piece_flags(struct piece *piece, unsigned long prot)
{
	struct vm_area_struct *vma = piece->vma;

	piece->flags = (vma->vm_flags & ~VM_ACCESS_FLAGS) | (prot & PROT_READ ? VM_READ : 0) |
		       (prot & PROT_WRITE ? VM_WRITE : 0) | (prot & PROT_EXEC ? VM_EXEC : 0);
	/* VM_MAYx is VM_x shifted left by four. */
	if ((piece->flags & ~(piece->flags >> 4)) & VM_ACCESS_FLAGS)
		return -EACCES;
	if (vma->vm_ops && vma->vm_ops->mprotect)
		return vma->vm_ops->mprotect(vma, piece->start, piece->end, piece->flags);
	return 0;
}

/* The VMAs of [start, end), which begins in @vma. */
static int mprotect_range(struct mm_struct *mm, struct vm_area_struct *vma, unsigned long start,
			  unsigned long end, unsigned long prot)
{
	struct vm_area_struct *prev = start > vma->vm_start ? vma : vma_prev(vma);
	struct piece piece;
	int err;

	for (;;) {
		piece = (struct piece) {
			.vma = vma, .start = start, .end = min(vma->vm_end, end),
		};
		err = piece_flags(&piece, prot);
		if (!err)
			err = mprotect_fixup(mm, &prev, &piece);
		if (err)
			return err;
		/* A merge may have brought us further. */
		start = max(piece.end, prev->vm_end);
		if (start >= end)
			return 0;
		vma = vma_next(prev);
		if (!vma || vma->vm_start != start)
			return -ENOMEM;
	}
}

/* Where the range begins and ends when PROT_GROWSDOWN or PROT_GROWSUP moves a bound. */
static int mprotect_grows(const struct vm_area_struct *vma, unsigned long grows,
			  unsigned long *start, unsigned long end)
{
	if (grows & PROT_GROWSDOWN) {
		if (vma->vm_start >= end)
			return -ENOMEM;
		*start = vma->vm_start;
		return vma->vm_flags & VM_GROWSDOWN ? 0 : -EINVAL;
	}
	if (vma->vm_start > *start)
		return -ENOMEM;
	/* No mapping of this architecture grows up. */
	return grows & PROT_GROWSUP ? -EINVAL : 0;
}

static long mprotect_pkey(struct mm_struct *mm, unsigned long start, unsigned long len,
			  unsigned long prot, int pkey)
{
	const unsigned long grows_bits = (unsigned int)PROT_GROWSDOWN | (unsigned int)PROT_GROWSUP;
	unsigned long grows = prot & grows_bits, end;
	struct vm_area_struct *vma;
	int err = -ENOMEM;

	prot &= ~grows_bits;
	if (grows == grows_bits || offset_in_page(start))
		return -EINVAL;
	if (!len)
		return 0;
	end = start + PAGE_ALIGN(len);
	if (end <= start)
		return -ENOMEM;
	if (prot & ~(unsigned long)(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM))
		return -EINVAL;
	mmap_write_lock(mm);
	vma = find_vma(mm, start);
	/* Without protection keys none is ever allocated. */
	if (pkey != -1)
		err = -EINVAL;
	else if (vma)
		err = mprotect_grows(vma, grows, &start, end);
	if (!err)
		err = mprotect_range(mm, vma, start, end, prot);
	mmap_write_unlock(mm);
	return err;
}

long ksys_mprotect(struct mm_struct *mm, unsigned long start, unsigned long len,
		   unsigned long prot)
{
	return mprotect_pkey(mm, start, len, prot, -1);
}

long ksys_pkey_mprotect(struct mm_struct *mm, unsigned long start, unsigned long len,
			unsigned long prot, int pkey)
{
	return mprotect_pkey(mm, start, len, prot, pkey);
}
