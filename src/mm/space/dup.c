/* SPDX-License-Identifier: MIT */
/*
 * What it is      fork's copy of an address space: each mapping again, its private pages shared
 *                 and write-protected on both sides until one of them writes.
 *
 * Invariants      a copy that fails in the middle is a smaller copy: every mapping in it is whole
 *                 (index, file list, accounting, pages), so that exit_mmap() undoes it.
 *
 * Locking         the old mmap_lock for writing (its entries change), the new one nested in it:
 *                 nobody else knows the new mm.
 *
 * Worst case      linear in mappings and present private entries, as in Linux.
 */
#include <karc/base/bug.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/space/dup.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>
#include <karc/refcount/holder.h>

#include "mmap_internal.h"

/* The sums begin as the parent's would be without what is not copied. */
static void dup_settings(struct mm_struct *mm, const struct mm_struct *oldmm)
{
	mm->mmap_base = oldmm->mmap_base;
	mm->mmap_legacy_base = oldmm->mmap_legacy_base;
	mm->task_size = oldmm->task_size;
	mm->def_flags = oldmm->def_flags & VM_INIT_DEF_MASK;
	mm->start_code = oldmm->start_code;
	mm->end_code = oldmm->end_code;
	mm->start_data = oldmm->start_data;
	mm->end_data = oldmm->end_data;
	mm->start_brk = oldmm->start_brk;
	mm->brk = oldmm->brk;
	mm->start_stack = oldmm->start_stack;
	mm->arg_start = oldmm->arg_start;
	mm->arg_end = oldmm->arg_end;
	mm->env_start = oldmm->env_start;
	mm->env_end = oldmm->env_end;
	mm->profile = oldmm->profile;
	mm->rlim = oldmm->rlim;
	mm_flag_assign(mm, MMF_TOPDOWN, mm_flag_test(oldmm, MMF_TOPDOWN));
	mm_flag_assign(mm, MMF_CAPABLE, mm_flag_test(oldmm, MMF_CAPABLE));
}

/* Put an unlinked copy into @mm, with what belongs to a linked one: sums, open, pages. */
static int dup_vma_commit(struct mm_struct *mm, struct vm_area_struct *copy,
			  struct vm_area_struct *orig)
{
	copy = vma_link(mm, copy);
	vm_stat_account(mm, copy->vm_flags, (long)vma_pages(copy));
	if (copy->vm_ops && copy->vm_ops->open)
		copy->vm_ops->open(copy);
	return copy->vm_flags & VM_WIPEONFORK ? 0 : copy_page_range(copy, orig);
}

/* One mapping. -ENOMEM: it is in @mm whole, possibly without its pages, or not at all. */
static int dup_vma(struct mm_struct *mm, struct mm_struct *oldmm, struct vm_area_struct *orig)
{
	long charge = orig->vm_flags & VM_ACCOUNT ? (long)vma_pages(orig) : 0;
	struct vm_area_struct *copy;

	if (orig->vm_flags & VM_DONTCOPY)
		return 0;
	if (charge && security_vm_enough_memory_mm(oldmm, charge))
		return -ENOMEM;
	copy = vma_dup_into(mm, orig, SITE());
	if (!copy)
		goto unaccount;
	/* A wiped mapping starts clean: nothing inherited, nothing to find through rmap. */
	if (!(orig->vm_flags & VM_WIPEONFORK) && anon_vma_fork(copy, orig))
		goto free_copy;
	copy->vm_flags &= ~VM_LOCKED_MASK;
	return dup_vma_commit(mm, copy, orig);
free_copy:
	vm_area_free(copy);
unaccount:
	vm_unacct_memory(charge);
	return -ENOMEM;
}

int dup_mmap(struct mm_struct *mm, struct mm_struct *oldmm)
{
	struct vm_area_struct *vma;
	int err = 0;

	mmap_write_lock(oldmm);
	down_write_nested(&mm->mmap_lock, 1);
	dup_settings(mm, oldmm);
	if (oldmm->exe_file) {
		mm->exe_file = get_file(oldmm->exe_file);
		arc_hand_to_field(&mm->exe_file->arc, &mm->arc, "exe_file");
	}
	for_each_vma_of(oldmm, vma) {
		err = dup_vma(mm, oldmm, vma);
		if (err)
			break;
	}
	mmap_write_unlock(mm);
	mmap_write_unlock(oldmm);
	return err;
}

struct mm_struct *KARC_BODY(dup_mm_site)(struct mm_struct *oldmm, const struct site *site)
{
	struct mm_struct *mm;

	might_sleep();
	mm = mm_alloc_site(site);
	if (!mm)
		return NULL;
	if (dup_mmap(mm, oldmm)) {
		mmput(mm);
		return NULL;
	}
	mm->hiwater_rss = get_mm_rss(mm);
	mm->hiwater_vm = mm->total_vm;
	return mm;
}
