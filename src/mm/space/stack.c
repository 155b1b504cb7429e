/* SPDX-License-Identifier: MIT */
/*
 * What it is      Mappings that grow down: the initial stack of a program and its growth by page
 *                 faults, as far as the stack limit, the address-space limit, the commit limit and
 *                 the guard gap below allow.
 *
 * Locking         mmap_lock for writing. A page fault, which holds it for reading, takes it anew
 *                 and looks again: another fault may have grown the stack meanwhile.
 *
 * Unlike Linux    growth is added to Committed_AS only for mappings that are accounted at all.
 *                 Linux adds it always and never takes it back for the others.
 */
#include <karc/hw/trace.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>

#include "mmap_internal.h"

#define STACK_EXPAND_BYTES	(128UL << 10)	/* mapped below the strings by exec */
#define ARGS_MAX_BYTES		(6UL << 20)	/* three quarters of the default stack limit */

/* Limits and the promise for @grow pages more; @size is what the stack would have. */
static int acct_stack_growth(struct mm_struct *mm, struct vm_area_struct *vma,
			     unsigned long size, unsigned long grow)
{
	if (!may_expand_vm(mm, vma->vm_flags, grow))
		return -ENOMEM;
	if (size > mm->rlim.stack) {
		trace_step("expand_stack", "refused: it would have %lu KiB, RLIMIT_STACK is %lu KiB",
			   size >> 10, mm->rlim.stack >> 10);
		return -ENOMEM;
	}
	if (mlock_future_check(mm, vma->vm_flags, grow << PAGE_SHIFT))
		return -ENOMEM;
	return vma->vm_flags & VM_ACCOUNT ? security_vm_enough_memory_mm(mm, grow) : 0;
}

/* Is the guard gap below @address free of what could be written by mistake? */
static bool guard_gap_free(const struct vm_area_struct *vma, unsigned long address)
{
	const struct vm_area_struct *prev = vma_prev(vma);

	if (!prev || (prev->vm_flags & VM_GROWSDOWN) || !vma_is_accessible(prev))
		return true;
	if (address - prev->vm_end >= space_sysctl()->stack_guard_gap)
		return true;
	trace_step("expand_stack", "refused: %lu KiB above %lx-%lx, guard gap %lu KiB",
		   (address - prev->vm_end) >> 10, prev->vm_start, prev->vm_end,
		   space_sysctl()->stack_guard_gap >> 10);
	return false;
}

static int grow_to(struct mm_struct *mm, struct vm_area_struct *vma, unsigned long address)
{
	unsigned long grow;
	int err;

	if (address >= vma->vm_start)
		return 0;
	grow = (vma->vm_start - address) >> PAGE_SHIFT;
	if (grow > vma->vm_pgoff)
		return -ENOMEM;
	err = acct_stack_growth(mm, vma, vma->vm_end - address, grow);
	if (err)
		return err;
	if (vma->vm_flags & VM_LOCKED)
		mm->locked_vm += grow;
	vm_stat_account(mm, vma->vm_flags, (long)grow);
	vma->vm_start = address;
	vma->vm_pgoff -= grow;
	vma_index_update(vma);
	trace_step("expand_stack", "grown by %lu KiB to %lu KiB, RLIMIT_STACK is %lu KiB", grow << 2,
		   (vma->vm_end - vma->vm_start) >> 10, mm->rlim.stack >> 10);
	return 0;
}

int expand_stack(struct vm_area_struct *vma, unsigned long address)
{
	struct mm_struct *mm = vma->vm_mm;
	int err;

	if (!(vma->vm_flags & VM_GROWSDOWN))
		return -EFAULT;
	address &= PAGE_MASK;
	if (address < space_sysctl()->mmap_min_addr)
		return -EPERM;
	if (!guard_gap_free(vma, address))
		return -ENOMEM;
	err = anon_vma_prepare(vma);
	if (err)
		return err;
	return grow_to(mm, vma, address);
}

struct vm_area_struct *find_extend_vma(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	if (!vma || vma->vm_start <= addr)
		return vma;
	if (!(vma->vm_flags & VM_GROWSDOWN) || expand_stack(vma, addr))
		return NULL;
	return vma;
}

/* One page at the very top, as exec maps it before it knows how much it needs. */
static struct vm_area_struct *stack_vma_create(struct mm_struct *mm, unsigned long stack_top,
					       vm_flags_t flags)
{
	struct vm_area_struct *vma = vm_area_alloc(mm);

	if (!vma)
		return NULL;
	vma->vm_start = stack_top - PAGE_SIZE;
	vma->vm_end = stack_top;
	vma->vm_flags = flags | VM_SOFTDIRTY;
	vma_set_page_prot(vma);
	if (insert_vm_struct(mm, vma))
		return NULL;
	vm_stat_account(mm, vma->vm_flags, 1);
	return vma;
}

int setup_arg_pages(struct mm_struct *mm, unsigned long stack_top, unsigned long args_bytes,
		    bool executable)
{
	vm_flags_t flags = VM_STACK_FLAGS | mm->def_flags | (executable ? VM_EXEC : 0);
	unsigned long limit = max(min(mm->rlim.stack / 4, ARGS_MAX_BYTES), 32 * PAGE_SIZE);
	unsigned long lowest, base, room;
	struct vm_area_struct *vma;
	int err = -ENOMEM;

	if (args_bytes > limit)
		return -E2BIG;
	/* The last word of the range stays zero. */
	lowest = stack_top - sizeof(void *) - args_bytes;
	mmap_write_lock(mm);
	vma = stack_vma_create(mm, stack_top, flags);
	if (!vma)
		goto unlock;
	if (lowest < vma->vm_start) {
		err = expand_stack(vma, lowest);
		if (err)
			goto remove;
	}
	mm->start_stack = lowest;
	room = vma->vm_end - vma->vm_start + STACK_EXPAND_BYTES;
	base = stack_top - min(room, mm->rlim.stack & PAGE_MASK);
	err = base < vma->vm_start ? expand_stack(vma, base) : 0;
	if (!err)
		goto unlock;
remove:
	/* What was just put in comes out without any cut. */
	if (do_munmap(mm, vma->vm_start, vma->vm_end - vma->vm_start))
		BUG();
unlock:
	mmap_write_unlock(mm);
	return err;
}
