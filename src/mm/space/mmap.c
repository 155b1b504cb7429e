/* SPDX-License-Identifier: MIT */
/*
 * What it is      mmap: checks in Linux's order (programs see which error wins), a place, and then
 *                 a mapping that either joins its neighbours or is a VMA of its own.
 *
 * Objects         do_mmap -> get_unmapped_area (placement.c) -> mmap_region
 *
 * Invariants      decide, reserve, commit: a call that fails leaves the range, the counts and
 *                 Committed_AS as they were, also when MAP_FIXED was to replace something.
 *
 * Locking         mmap_lock for writing around do_mmap; faulting in for MAP_POPULATE comes after
 *                 it was dropped.
 *
 * Unlike Linux    6.1 unmaps what MAP_FIXED replaces before it checks the commit limit, so a
 *                 refusal leaves a hole; here, as in kernels from 6.12 on, it leaves the old
 *                 mapping (cut in two at the ends of the range by those). Only a driver's own mmap
 *                 that fails leaves a hole. f_op->mmap may change flags, not the address.
 *                 MAP_HUGETLB: -ENOMEM, none are reserved.
 */
#include <karc/base/bug.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>
#include <karc/mm/space/profile.h>
#include <karc/refcount/holder.h>
#include <limits.h>
#include <sys/stat.h>

#include "internal.h"
#include "mmap_internal.h"

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT	26
#endif
#ifndef MAP_HUGE_MASK
#define MAP_HUGE_MASK	0x3f
#endif

/* Flags that every mapping understands; MAP_SHARED_VALIDATE refuses others. */
#define LEGACY_MAP_MASK (MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | \
			 MAP_EXECUTABLE | MAP_UNINITIALIZED | MAP_GROWSDOWN | MAP_LOCKED | \
			 MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | \
			 MAP_32BIT | MAP_ABOVE4G | (21 << MAP_HUGE_SHIFT) | (30 << MAP_HUGE_SHIFT))

/* ---- limits and sums ---- */

void vm_stat_account(struct mm_struct *mm, vm_flags_t flags, long npages)
{
	struct vma_sums sum = { 0 };

	vma_sums_add(&sum, flags, npages);
	mm->total_vm += sum.total_vm;
	mm->data_vm += sum.data_vm;
	mm->exec_vm += sum.exec_vm;
	mm->stack_vm += sum.stack_vm;
}

bool may_expand_vm(struct mm_struct *mm, vm_flags_t flags, unsigned long npages)
{
	if (mm->total_vm + npages > mm->rlim.as >> PAGE_SHIFT)
		return false;
	return !is_data_mapping(flags) || mm->data_vm + npages <= mm->rlim.data >> PAGE_SHIFT;
}

/* Private memory that may be written is a promise, unless the caller renounces it. */
static bool accountable_mapping(vm_flags_t flags)
{
	return (flags & (VM_NORESERVE | VM_SHARED | VM_WRITE)) == VM_WRITE;
}

/* ---- the mapping itself ---- */

/* What is to be mapped. */
struct region {
	struct file *file;	/* borrowed, or NULL */
	unsigned long addr, len;
	vm_flags_t flags;
	pgoff_t pgoff;
};

/* What ->mmap had put into the tables before it failed. */
static void region_unfill(struct mm_struct *mm, struct vm_area_struct *vma)
{
	struct vm_area_struct *prev, *next = find_vma_prev(mm, vma->vm_start, &prev);
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, mm);
	unmap_page_range(&tlb, vma, vma->vm_start, vma->vm_end);
	free_unused_tables(&tlb, mm, vma->vm_start, vma->vm_end, prev, next);
	tlb_finish_mmu(&tlb);
}

/* Does the file's own mmap fill page tables, so that what was there must be gone before? */
static bool mmap_fills_tables(const struct region *region)
{
	return region->file && !region->file->f_op->mmap_lazy &&
	       region->file->f_op->mmap != generic_file_mmap;
}

/* A VMA of its own for @region, not linked. Gives it, or ERR_PTR. */
static struct vm_area_struct *region_vma(struct mm_struct *mm, const struct region *region)
{
	struct vm_area_struct *vma = vm_area_alloc(mm);
	struct file *file;
	int err;

	if (!vma)
		return ERR_PTR(-ENOMEM);
	vma->vm_start = region->addr;
	vma->vm_end = region->addr + region->len;
	vma->vm_flags = region->flags;
	vma->vm_page_prot = vm_get_page_prot(region->flags);
	vma->vm_pgoff = region->pgoff;
	if (region->file) {
		vma->vm_file = get_file(region->file);
	} else if (region->flags & VM_SHARED) {
		/* Shared anonymous memory is a nameless file. */
		file = shmem_file_setup_mm(mm, "dev/zero", (loff_t)region->len,
					   region->flags & VM_NORESERVE);
		if (IS_ERR(file)) {
			err = PTR_ERR(file);
			goto free_vma;
		}
		vma->vm_file = file;
	}
	if (vma->vm_file) {
		arc_hand_to_field(&vma->vm_file->arc, &vma->arc, "vm_file");
		err = call_mmap(vma->vm_file, vma);
		if (err && mmap_fills_tables(region))
			region_unfill(mm, vma);
		if (err)
			goto free_vma;
		BUG_ON(vma->vm_start != region->addr);
	}
	if (vma->vm_flags & (VM_SPECIAL | VM_DROPPABLE))
		vma->vm_flags &= ~VM_LOCKED_MASK;
	vma->vm_flags |= VM_SOFTDIRTY;
	vma_set_page_prot(vma);
	return vma;
free_vma:
	vm_area_free(vma);
	return ERR_PTR(err);
}

/* Limits and the promise for @region, which replaces what @plan removes. 0 or -ENOMEM. */
static int region_reserve(struct mm_struct *mm, struct region *region,
			  const struct unmap_plan *plan, long *charged)
{
	unsigned long pages = region->len >> PAGE_SHIFT;

	*charged = 0;
	if (!may_expand_vm(mm, region->flags, pages) &&
	    !may_expand_vm(mm, region->flags, pages - plan->pages))
		return -ENOMEM;
	if (!accountable_mapping(region->flags))
		return 0;
	/* What goes gives its promise back in the same step. */
	*charged = (long)pages - (long)plan->accounted;
	if (*charged > 0 && security_vm_enough_memory_mm(mm, *charged)) {
		*charged = 0;
		return -ENOMEM;
	}
	if (*charged < 0)
		*charged = 0;
	region->flags |= VM_ACCOUNT;
	return 0;
}

/* The neighbours of the free range that @region fills. */
static struct vm_area_struct *region_merge(struct mm_struct *mm, const struct region *region)
{
	struct vm_area_struct *prev, *next;
	struct vma_shape shape = {
		.start = region->addr, .end = region->addr + region->len,
		.flags = region->flags, .file = region->file, .pgoff = region->pgoff,
	};

	/* Shared anonymous memory is a new file each time: it merges with nothing. */
	if (!region->file && (region->flags & VM_SHARED))
		return NULL;
	next = find_vma_prev(mm, region->addr, &prev);
	return vma_expand_new(mm, prev, next, &shape);
}

/* A VMA of its own in place of what @plan removes. Gives nothing; 0 or -errno. */
static int region_install(struct mm_struct *mm, struct region *region, struct unmap_plan *plan)
{
	struct vm_area_struct *vma;
	bool alone;

	if (mmap_fills_tables(region))
		unmap_commit(mm, plan);
	vma = region_vma(mm, region);
	if (IS_ERR(vma))
		return PTR_ERR(vma);
	unmap_commit(mm, plan);
	/* What ->mmap changed, or wants to hear the end of, stays on its own. */
	alone = ((vma->vm_flags ^ region->flags) & ~VM_SOFTDIRTY) ||
		(vma->vm_ops && vma->vm_ops->close);
	if (alone || !region_merge(mm, region)) {
		region->flags = vma->vm_flags;
		vma_link(mm, vma);
	} else {
		vm_area_free(vma);
	}
	return 0;
}

static unsigned long mmap_region(struct mm_struct *mm, struct region *region)
{
	unsigned long pages = region->len >> PAGE_SHIFT;
	struct unmap_plan plan;
	long charged;
	int err;

	err = unmap_prepare(mm, &plan, region->addr, region->addr + region->len, NULL);
	if (err)
		return mm->profile->from >= KERNEL_VERSION_CODE(6, 12) ? err : -ENOMEM;
	err = region_reserve(mm, region, &plan, &charged);
	if (err) {
		/* Refused by a limit, newer kernels have made the cuts by now. */
		if (mm->profile->from >= KERNEL_VERSION_CODE(6, 12))
			unmap_commit_cuts(mm, &plan);
		goto abort_unmap;
	}
	/* In free space a neighbour may take it without any memory. */
	if (plan.first || !region_merge(mm, region)) {
		err = region_install(mm, region, &plan);
		if (err)
			goto unaccount;
	}
	/* The part of the promise that was taken over from what is gone. */
	if (region->flags & VM_ACCOUNT)
		vm_acct_memory((long)pages - charged);
	vm_stat_account(mm, region->flags, pages);
	if (region->flags & VM_LOCKED)
		mm->locked_vm += pages;
	return region->addr;
unaccount:
	vm_unacct_memory(charged);
abort_unmap:
	unmap_abort(&plan);
	return err;
}

/* ---- checks, in Linux's order ---- */

static vm_flags_t calc_vm_prot_bits(unsigned long prot)
{
	return (prot & PROT_READ ? VM_READ : 0) | (prot & PROT_WRITE ? VM_WRITE : 0) |
	       (prot & PROT_EXEC ? VM_EXEC : 0);
}

static vm_flags_t calc_vm_flag_bits(const struct mm_struct *mm, unsigned long flags)
{
	vm_flags_t bits = 0;

	if (flags & MAP_GROWSDOWN)
		bits |= VM_GROWSDOWN;
	if (flags & MAP_LOCKED)
		bits |= VM_LOCKED;
	if ((flags & MAP_STACK) && mm->profile->stack_nohuge)
		bits |= VM_NOHUGEPAGE;
	return bits;
}

static unsigned long round_hint_to_min(unsigned long hint)
{
	unsigned long min_addr = PAGE_ALIGN(space_sysctl()->mmap_min_addr);

	hint &= PAGE_MASK;
	return hint && hint < min_addr ? min_addr : hint;
}

/* Can a regular file have this range at all? Others map what their driver likes. */
static bool file_mmap_ok(struct file *file, pgoff_t pgoff, unsigned long len)
{
	unsigned long max = S_ISREG(file_inode(file)->i_mode) ? LLONG_MAX : ULONG_MAX;

	if (len > max)
		return false;
	return pgoff <= (max - len) >> PAGE_SHIFT;
}

/* What a file allows; may restrict *@vm_flags. */
static int file_flags(struct file *file, pgoff_t pgoff, unsigned long len, unsigned long prot,
		      unsigned long flags, vm_flags_t *vm_flags)
{
	if (!file_mmap_ok(file, pgoff, len))
		return -EOVERFLOW;
	switch (flags & MAP_TYPE) {
	case MAP_SHARED:
		flags &= LEGACY_MAP_MASK;
		fallthrough;
	case MAP_SHARED_VALIDATE:
		if (flags & ~(unsigned long)LEGACY_MAP_MASK)
			return -EOPNOTSUPP;
		if ((prot & PROT_WRITE) && !(file->f_mode & FMODE_WRITE))
			return -EACCES;
		*vm_flags |= VM_SHARED | VM_MAYSHARE;
		if (!(file->f_mode & FMODE_WRITE))
			*vm_flags &= ~(VM_MAYWRITE | VM_SHARED);
		fallthrough;
	case MAP_PRIVATE:
		if (!(file->f_mode & FMODE_READ))
			return -EACCES;
		if (!file->f_op || !file->f_op->mmap)
			return -ENODEV;
		return *vm_flags & VM_GROWSDOWN ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

static int anon_flags(const struct mm_struct *mm, unsigned long addr, unsigned long flags,
		      vm_flags_t *vm_flags, pgoff_t *pgoff)
{
	switch (flags & MAP_TYPE) {
	case MAP_SHARED:
		if (*vm_flags & VM_GROWSDOWN)
			return -EINVAL;
		*pgoff = 0;
		*vm_flags |= VM_SHARED | VM_MAYSHARE;
		return 0;
	case MAP_DROPPABLE:
		if (mm->profile->from < KERNEL_VERSION_CODE(6, 10) || (flags & MAP_LOCKED) ||
		    (*vm_flags & VM_GROWSDOWN))
			return -EINVAL;
		/* Nothing to rely on, so nothing to promise, to inherit or to dump. */
		*vm_flags |= VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP;
		fallthrough;
	case MAP_PRIVATE:
		*pgoff = addr >> PAGE_SHIFT;
		return 0;
	default:
		return -EINVAL;
	}
}

/* Address and length: what the caller may have got wrong, then where it goes. */
static unsigned long mmap_place(struct mm_struct *mm, struct file *file, unsigned long addr,
				unsigned long len, unsigned long flags, pgoff_t pgoff)
{
	bool noreplace = flags & MAP_FIXED_NOREPLACE;

	if (noreplace)
		flags |= MAP_FIXED;
	if (!(flags & MAP_FIXED))
		addr = round_hint_to_min(addr);
	if (pgoff + (len >> PAGE_SHIFT) < pgoff)
		return -EOVERFLOW;
	if (mm->map_count > space_sysctl()->max_map_count)
		return -ENOMEM;
	addr = get_unmapped_area(mm, file, addr, len, pgoff, flags);
	if (IS_ERR_VALUE(addr))
		return addr;
	if (noreplace && find_vma_intersection(mm, addr, addr + len))
		return -EEXIST;
	return addr;
}

unsigned long do_mmap(struct mm_struct *mm, struct file *file, unsigned long addr,
		      unsigned long len, unsigned long prot, unsigned long flags,
		      unsigned long pgoff, unsigned long *populate)
{
	struct region region = { .file = file, .pgoff = pgoff };
	bool locked;
	int err;

	*populate = 0;
	if (!len)
		return -EINVAL;
	len = PAGE_ALIGN(len);
	if (!len)
		return -ENOMEM;
	addr = mmap_place(mm, file, addr, len, flags, pgoff);
	if (IS_ERR_VALUE(addr))
		return addr;
	region.addr = addr;
	region.len = len;
	region.flags = calc_vm_prot_bits(prot) | calc_vm_flag_bits(mm, flags) | mm->def_flags |
		       VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
	if ((flags & MAP_LOCKED) && !can_do_mlock(mm))
		return -EPERM;
	err = mlock_future_check(mm, region.flags, len);
	if (err)
		return err;
	err = file ? file_flags(file, pgoff, len, prot, flags, &region.flags) :
	      anon_flags(mm, addr, flags, &region.flags, &region.pgoff);
	if (err)
		return err;
	if ((flags & MAP_NORESERVE) && space_sysctl()->overcommit_memory != OVERCOMMIT_NEVER)
		region.flags |= VM_NORESERVE;
	/* The mapping may turn out not to be lockable; what was asked for counts. */
	locked = region.flags & VM_LOCKED;
	addr = mmap_region(mm, &region);
	if (!IS_ERR_VALUE(addr) && (locked ||
				    (flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE))
		*populate = len;
	return addr;
}

static unsigned long vm_mmap_pgoff(struct mm_struct *mm, struct file *file, unsigned long addr,
				   unsigned long len, unsigned long prot, unsigned long flags,
				   unsigned long pgoff)
{
	unsigned long ret, populate;

	mmap_write_lock(mm);
	ret = do_mmap(mm, file, addr, len, prot, flags, pgoff, &populate);
	mmap_write_unlock(mm);
	if (populate)
		mm_populate(mm, ret, populate);
	return ret;
}

unsigned long mm_mmap(struct mm_struct *mm, struct file *file, unsigned long addr,
		      unsigned long len, unsigned long prot, unsigned long flags,
		      unsigned long offset)
{
	if (offset + PAGE_ALIGN(len) < offset || offset_in_page(offset))
		return -EINVAL;
	return vm_mmap_pgoff(mm, file, addr, len, prot, flags, offset >> PAGE_SHIFT);
}

/* As a machine answers that has huge pages of 2 MiB and 1 GiB, but none reserved. */
static long hugetlb_refusal(const struct file *file, unsigned long len, unsigned long flags)
{
	unsigned long shift = (flags >> MAP_HUGE_SHIFT) & MAP_HUGE_MASK;

	if (file || !len || (shift && shift != 21 && shift != 30))
		return -EINVAL;
	return -ENOMEM;
}

static struct vm_area_struct *shared_range(struct mm_struct *mm, unsigned long start,
					   unsigned long end)
{
	struct vm_area_struct *vma = vma_lookup(mm, start), *next, *prev = vma;

	if (!vma || !(vma->vm_flags & VM_SHARED))
		return NULL;
	for (; prev->vm_end < end; prev = next) {
		next = vma_next(prev);
		if (!next || next->vm_start != prev->vm_end || next->vm_file != vma->vm_file ||
		    next->vm_flags != vma->vm_flags)
			return NULL;
	}
	return vma;
}

/* The same file from another page on, in place of what is there. mmap_lock held for writing. */
static unsigned long remap_pages(struct mm_struct *mm, unsigned long start, unsigned long size,
				 unsigned long pgoff, unsigned long flags, unsigned long *populate)
{
	struct vm_area_struct *vma = shared_range(mm, start, start + size);
	unsigned long prot, ret;
	struct file *file;

	if (!vma)
		return -EINVAL;
	prot = (vma->vm_flags & VM_READ ? PROT_READ : 0) |
	       (vma->vm_flags & VM_WRITE ? PROT_WRITE : 0) |
	       (vma->vm_flags & VM_EXEC ? PROT_EXEC : 0);
	flags = (flags & MAP_NONBLOCK) | MAP_SHARED | MAP_FIXED | MAP_POPULATE |
		(vma->vm_flags & VM_LOCKED ? MAP_LOCKED : 0);
	file = get_file(vma->vm_file);
	ret = do_mmap(mm, file, start, size, prot, flags, pgoff, populate);
	fput(file);
	return ret;
}

long ksys_remap_file_pages(struct mm_struct *mm, unsigned long start, unsigned long size,
			   unsigned long prot, unsigned long pgoff, unsigned long flags)
{
	unsigned long ret, populate = 0;

	start &= PAGE_MASK;
	size &= PAGE_MASK;
	if (prot || start + size <= start || pgoff + (size >> PAGE_SHIFT) < pgoff)
		return -EINVAL;
	mmap_write_lock(mm);
	ret = remap_pages(mm, start, size, pgoff, flags, &populate);
	mmap_write_unlock(mm);
	if (IS_ERR_VALUE(ret))
		return (long)ret;
	if (populate)
		mm_populate(mm, ret, populate);
	return 0;
}

long ksys_mmap(struct mm_struct *mm, unsigned long addr, unsigned long len, unsigned long prot,
	       unsigned long flags, struct file *file, unsigned long offset_bytes)
{
	if (offset_in_page(offset_bytes))
		return -EINVAL;
	if (flags & MAP_ANONYMOUS)
		file = NULL;
	else if (!file)
		return -EBADF;
	if (flags & MAP_HUGETLB)
		return hugetlb_refusal(file, len, flags);
	return (long)vm_mmap_pgoff(mm, file, addr, len, prot, flags, offset_bytes >> PAGE_SHIFT);
}
