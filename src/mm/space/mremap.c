/* SPDX-License-Identifier: MIT */
/*
 * What it is      mremap: a mapping becomes longer, shorter, or lies elsewhere, and its pages stay
 *                 the same pages: entries and whole tables are moved, nothing is copied.
 *
 * Order           ksys_mremap   what the numbers alone say, then one VMA or several
 *                 remap_check   what the mapping says
 *                 remap_to      the caller chose the place, or the source is to stay mapped
 *                 remap_at      shrink and grow where it is; else move to a place of our choice
 *                 move_vma      the move: decide, reserve, commit
 *
 * Invariants      a move that fails leaves source, counts and promises as they were. With
 *                 MREMAP_FIXED what lay at the new place is gone before most of what can fail, as
 *                 in Linux.
 *
 * Locking         mmap_lock for writing; growing locked memory faults it in after that.
 *
 * Worst case      a move needs three VMAs at most (itself, two cuts of the source) and the tables
 *                 of its new place; all are there before anything changes.
 *
 * Unlike Linux    a mapping that MREMAP_DONTUNMAP leaves behind takes its locked pages out of
 *                 locked_vm with it. Kernels before 6.17 remove what lies at a fixed place before
 *                 they look at the source: here they look first. Mappings of /dev/zero and of
 *                 devices that choose addresses themselves move along with others.
 */
#include <karc/base/bug.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>
#include <karc/mm/space/profile.h>
#include <karc/refcount/holder.h>

#include "mmap_internal.h"

#define MREMAP_MAPS_SPARE	3	/* mappings a move may add for a moment, and one more */

/* One call, or one mapping's part of it. Lengths are whole pages. */
struct remap {
	struct mm_struct *mm;
	struct vm_area_struct *vma;	/* covers @addr */
	unsigned long addr, old_len, new_len, flags, new_addr;
	bool populate;			/* locked memory grew */
};

static bool names_place(const struct remap *r)
{
	return r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
}

static bool too_many_maps(const struct mm_struct *mm, int more)
{
	return mm->map_count + more >= space_sysctl()->max_map_count - MREMAP_MAPS_SPARE;
}

/* ---- what the numbers say ---- */

static int check_place(const struct remap *r)
{
	if (r->new_addr > TASK_SIZE - r->new_len || offset_in_page(r->new_addr))
		return -EINVAL;
	if (!(r->flags & MREMAP_MAYMOVE))
		return -EINVAL;
	if ((r->flags & MREMAP_DONTUNMAP) && r->old_len != r->new_len)
		return -EINVAL;
	if (r->addr + r->old_len > r->new_addr && r->new_addr + r->new_len > r->addr)
		return -EINVAL;
	/* What lies at either place may be cut in three. */
	return too_many_maps(r->mm, 2) ? -ENOMEM : 0;
}

static int check_numbers(const struct remap *r)
{
	if (r->flags & ~(unsigned long)(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP))
		return -EINVAL;
	if (offset_in_page(r->addr) || !r->new_len || r->new_len > TASK_SIZE)
		return -EINVAL;
	return names_place(r) ? check_place(r) : 0;
}

/* ---- what the mapping says ---- */

static int check_growth(struct remap *r)
{
	struct vm_area_struct *vma = r->vma;
	unsigned long grow = r->new_len - r->old_len;
	pgoff_t pgoff = ((r->addr - vma->vm_start) >> PAGE_SHIFT) + vma->vm_pgoff;

	r->populate = vma->vm_flags & VM_LOCKED;
	if (pgoff + (r->new_len >> PAGE_SHIFT) < pgoff)
		return -EINVAL;
	if (vma->vm_flags & (VM_DONTEXPAND | VM_PFNMAP))
		return -EFAULT;
	if (mlock_future_check(r->mm, vma->vm_flags, grow))
		return -EAGAIN;
	return may_expand_vm(r->mm, vma->vm_flags, grow >> PAGE_SHIFT) ? 0 : -ENOMEM;
}

static int remap_check(struct remap *r)
{
	struct vm_area_struct *vma = r->vma;

	if (!vma)
		return -EFAULT;
	if (vma->vm_flags & VM_SEALED)
		return -EPERM;
	if (r->old_len >= r->new_len && !names_place(r))
		return 0;
	/* Length 0 asks for the same pages a second time, which only shared ones can be. */
	if (!r->old_len && !(vma->vm_flags & (VM_SHARED | VM_MAYSHARE)))
		return -EINVAL;
	if ((r->flags & MREMAP_DONTUNMAP) && (vma->vm_flags & (VM_DONTEXPAND | VM_PFNMAP)))
		return -EINVAL;
	/* What a shrink removes may reach over other mappings, what moves may not. */
	if (min(r->old_len, r->new_len) > vma->vm_end - r->addr)
		return -EFAULT;
	return r->new_len > r->old_len ? check_growth(r) : 0;
}

/* ---- places ---- */

static int choose_place(struct remap *r)
{
	struct vm_area_struct *vma = r->vma;
	unsigned long flags = vma->vm_flags & VM_MAYSHARE ? MAP_SHARED : MAP_PRIVATE, at;
	pgoff_t pgoff = ((r->addr - vma->vm_start) >> PAGE_SHIFT) + vma->vm_pgoff;

	if (r->flags & MREMAP_FIXED)
		flags |= MAP_FIXED;
	at = get_unmapped_area(r->mm, vma->vm_file, names_place(r) ? r->new_addr : 0, r->new_len,
			       pgoff, flags);
	if (IS_ERR_VALUE(at))
		return (int)at;
	r->new_addr = at;
	return 0;
}

static void account_new(struct mm_struct *mm, vm_flags_t flags, unsigned long bytes)
{
	vm_stat_account(mm, flags, (long)(bytes >> PAGE_SHIFT));
	if (flags & VM_LOCKED)
		mm->locked_vm += bytes >> PAGE_SHIFT;
}

/* ---- the move ---- */

/* What a move needs beyond what it changes. */
struct move {
	struct vma_stock stock;
	long charged;			/* pages newly promised */
};

/* Pages that the whole is more than before. */
static long move_charge(const struct remap *r)
{
	if (!(r->vma->vm_flags & VM_ACCOUNT))
		return 0;
	if (r->flags & MREMAP_DONTUNMAP)
		return (long)(r->new_len >> PAGE_SHIFT);
	return (long)((r->new_len - r->old_len) >> PAGE_SHIFT);
}

static int may_cut(const struct remap *r)
{
	struct vm_area_struct *vma = r->vma;
	int err = 0;

	if (!vma->vm_ops || !vma->vm_ops->may_split)
		return 0;
	if (vma->vm_start != r->addr)
		err = vma->vm_ops->may_split(vma, r->addr);
	if (!err && vma->vm_end != r->addr + r->old_len)
		err = vma->vm_ops->may_split(vma, r->addr + r->old_len);
	return err;
}

/* Tables made for [start, start + len), where nothing is mapped, go. */
static void free_new_tables(struct mm_struct *mm, unsigned long start, unsigned long len)
{
	struct vm_area_struct *above, *below;
	struct mmu_gather tlb;

	above = find_vma_prev(mm, start, &below);
	tlb_gather_mmu(&tlb, mm);
	free_unused_tables(&tlb, mm, start, start + len, below, above);
	tlb_finish_mmu(&tlb);
}

static int move_reserve(struct remap *r, struct move *move)
{
	struct mm_struct *mm = r->mm;

	move->charged = move_charge(r);
	if (move->charged && security_vm_enough_memory_mm(mm, move->charged))
		return -ENOMEM;
	if (vma_stock_fill(&move->stock, mm, VMA_STOCK_MAX))
		goto unaccount;
	if (move_reserve_tables(mm, r->addr, r->new_addr, r->old_len))
		goto free_tables;
	return 0;
free_tables:
	free_new_tables(mm, r->new_addr, r->new_len);
	vma_stock_drain(&move->stock);
unaccount:
	vm_unacct_memory(move->charged);
	return -ENOMEM;
}

/*
 * The VMA that covers the new place: a neighbour that takes it, or one of its own. A neighbour may
 * be the source, or swallow it, while no private page fixes where the source must lie: r->vma
 * follows.
 */
static struct vm_area_struct *move_target(struct remap *r, struct vma_stock *stock)
{
	struct vm_area_struct *vma = r->vma, *prev, *next, *new;
	unsigned long source_start = vma->vm_start;
	struct vma_shape shape = {
		.start = r->new_addr, .end = r->new_addr + r->new_len, .flags = vma->vm_flags,
		.anon_vma = vma->anon_vma, .file = vma->vm_file, .name = vma->anon_name,
		.pgoff = vma->vm_pgoff + ((r->addr - vma->vm_start) >> PAGE_SHIFT),
	};

	if (vma_is_anonymous(vma) && !vma->anon_vma)
		shape.pgoff = r->new_addr >> PAGE_SHIFT;
	next = find_vma_prev(r->mm, r->new_addr, &prev);
	new = vma_expand_new(r->mm, prev, next, &shape);
	if (new) {
		if (source_start >= new->vm_start && source_start < new->vm_end)
			r->vma = new;
		return new;
	}
	new = vma_stock_dup(stock, vma);
	new->vm_start = shape.start;
	new->vm_end = shape.end;
	new->vm_pgoff = shape.pgoff;
	if (vma->anon_vma) {
		new->anon_vma = get_anon_vma(vma->anon_vma);
		arc_hand_to_field(&new->anon_vma->arc, &new->arc, "anon_vma");
	}
	if (new->vm_ops && new->vm_ops->open)
		new->vm_ops->open(new);
	return vma_link(r->mm, new);
}

/* The source stays, empty and not locked; nothing ties its pages to come to the old ones. */
static void leave_source(struct remap *r, const struct vm_area_struct *new)
{
	struct vm_area_struct *vma = r->vma;

	if (vma->vm_flags & VM_LOCKED)
		r->mm->locked_vm -= vma_pages(vma);
	vma->vm_flags &= ~VM_LOCKED_MASK;
	if (vma != new && r->addr == vma->vm_start && r->addr + r->old_len == vma->vm_end)
		unlink_anon_vmas(vma);
}

/* Remove a range that is one VMA's; @accounted: pages of Committed_AS that go with it. */
static void remove_moved(struct mm_struct *mm, unsigned long start, unsigned long len,
			 unsigned long accounted, struct vma_stock *stock)
{
	struct unmap_plan plan;

	/* Neither the number of mappings nor a cut was left to chance. */
	if (unmap_prepare(mm, &plan, start, start + len, stock))
		BUG();
	plan.accounted = accounted;
	unmap_commit(mm, &plan);
}

static int move_vma(struct remap *r)
{
	struct address_space *mapping = r->vma->vm_file ? r->vma->vm_file->f_mapping : NULL;
	struct mm_struct *mm = r->mm;
	struct vm_area_struct *new;
	struct move move = { 0 };
	int err;

	if (too_many_maps(mm, 0))
		return -ENOMEM;
	err = may_cut(r);
	if (!err)
		err = move_reserve(r, &move);
	if (err)
		return err;
	new = move_target(r, &move.stock);
	move_page_tables(mm, r->addr, r->new_addr, r->old_len, mapping);
	account_new(mm, new->vm_flags, r->new_len);
	if (new->vm_ops && new->vm_ops->mremap)
		err = new->vm_ops->mremap(new);
	if (err) {
		move_page_tables(mm, r->new_addr, r->addr, r->old_len, mapping);
		remove_moved(mm, r->new_addr, r->new_len, (unsigned long)move.charged, &move.stock);
	} else if (r->flags & MREMAP_DONTUNMAP) {
		leave_source(r, new);
	} else if (r->old_len) {
		/* The promise went along with the pages. */
		remove_moved(mm, r->addr, r->old_len, 0, &move.stock);
	}
	vma_stock_drain(&move.stock);
	return err;
}

/* ---- the forms of the call; each returns the address or -errno ---- */

static int remove_tail(struct remap *r)
{
	int err = do_munmap(r->mm, r->addr + r->new_len, r->old_len - r->new_len);

	if (err)
		return err;
	r->old_len = r->new_len;
	r->vma = vma_lookup(r->mm, r->addr);
	return 0;
}

static long remap_to(struct remap *r)
{
	int err;

	if (r->flags & MREMAP_FIXED) {
		err = do_munmap(r->mm, r->new_addr, r->new_len);
		if (err)
			return err;
		/* A cut may have left another VMA at the source; of length 0 it may be gone. */
		r->vma = vma_lookup(r->mm, r->addr);
		if (!r->vma)
			return -EFAULT;
	}
	if (r->old_len > r->new_len) {
		err = remove_tail(r);
		if (err)
			return err;
	}
	if ((r->flags & MREMAP_DONTUNMAP) &&
	    !may_expand_vm(r->mm, r->vma->vm_flags, r->old_len >> PAGE_SHIFT))
		return -ENOMEM;
	err = choose_place(r);
	if (!err)
		err = move_vma(r);
	return err ? err : (long)r->new_addr;
}

/* Is [vm_end, vm_end + grow) free? Another stack's guard gap does not matter, as in Linux. */
static bool room_above(struct remap *r, unsigned long grow)
{
	struct vm_area_struct *vma = r->vma;
	unsigned long end = vma->vm_end + grow;

	if (end < vma->vm_end || find_vma_intersection(r->mm, vma->vm_end, end))
		return false;
	return !IS_ERR_VALUE(get_unmapped_area(r->mm, NULL, vma->vm_start, end - vma->vm_start, 0,
					       MAP_FIXED));
}

static long grow_in_place(struct remap *r, unsigned long grow)
{
	struct vm_area_struct *vma = r->vma;
	long charge = vma->vm_flags & VM_ACCOUNT ? (long)(grow >> PAGE_SHIFT) : 0;
	struct vma_shape shape = {
		.start = vma->vm_end, .end = vma->vm_end + grow, .flags = vma->vm_flags,
		.anon_vma = vma->anon_vma, .file = vma->vm_file, .name = vma->anon_name,
		.pgoff = vma->vm_pgoff + vma_pages(vma),
	};

	if (charge && security_vm_enough_memory_mm(r->mm, charge))
		return -ENOMEM;
	if (!vma_expand_new(r->mm, vma, vma_next(vma), &shape)) {
		vm_unacct_memory(charge);
		return -ENOMEM;
	}
	account_new(r->mm, shape.flags, grow);
	return (long)r->addr;
}

static long remap_grow(struct remap *r)
{
	unsigned long grow = r->new_len - r->old_len;
	int err;

	if (r->old_len == r->vma->vm_end - r->addr && room_above(r, grow))
		return grow_in_place(r, grow);
	if (!(r->flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	err = choose_place(r);
	if (!err)
		err = move_vma(r);
	return err ? err : (long)r->new_addr;
}

static long remap_at(struct remap *r)
{
	int err;

	if (r->new_len > r->old_len)
		return remap_grow(r);
	err = r->new_len < r->old_len ? remove_tail(r) : 0;
	return err ? err : (long)r->addr;
}

static long remap_one(struct remap *r)
{
	int err;

	r->vma = vma_lookup(r->mm, r->addr);
	err = remap_check(r);
	if (err)
		return err;
	return names_place(r) ? remap_to(r) : remap_at(r);
}

/* All mappings of the range, with the holes between them, move to the chosen place. */
static long remap_many(const struct remap *all)
{
	unsigned long at = all->addr, end = all->addr + all->old_len;
	struct vm_area_struct *vma = find_vma(all->mm, at);
	struct remap part;
	long ret = -EFAULT;

	for (; vma && vma->vm_start < end; vma = find_vma(all->mm, at)) {
		if (at == all->addr && vma->vm_start > at)
			return -EFAULT;
		part = *all;
		part.addr = max(vma->vm_start, at);
		part.new_addr = all->new_addr + (part.addr - all->addr);
		at = min(vma->vm_end, end);
		part.old_len = part.new_len = at - part.addr;
		ret = remap_one(&part);
		if (ret < 0 && ret >= -MAX_ERRNO)
			return ret;
		if (at == end)
			break;
	}
	return ret == -EFAULT ? ret : (long)all->new_addr;
}

long ksys_mremap(struct mm_struct *mm, unsigned long addr, unsigned long old_len,
		 unsigned long new_len, unsigned long flags, unsigned long new_addr)
{
	struct remap r = {
		.mm = mm, .addr = addr, .old_len = PAGE_ALIGN(old_len),
		.new_len = PAGE_ALIGN(new_len), .flags = flags, .new_addr = new_addr,
	};
	unsigned long old = r.old_len, grown = r.new_len - r.old_len;
	long ret;

	/* The number of mappings is one of the numbers: only the lock makes it one. */
	mmap_write_lock(mm);
	ret = check_numbers(&r);
	if (ret)
		goto unlock;
	if ((flags & MREMAP_FIXED) && r.old_len == r.new_len && mm->profile->mremap_many)
		ret = remap_many(&r);
	else
		ret = remap_one(&r);
unlock:
	mmap_write_unlock(mm);
	if (r.populate && !IS_ERR_VALUE((unsigned long)ret))
		mm_populate(mm, (unsigned long)ret + old, grown);
	return ret;
}
