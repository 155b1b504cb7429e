/* SPDX-License-Identifier: MIT */
/*
 * mmap_internal.h - what the files of the mmap family share
 */
#ifndef KARC_SRC_MM_SPACE_MMAP_INTERNAL_H
#define KARC_SRC_MM_SPACE_MMAP_INTERNAL_H

#include <karc/mm/space/mmap.h>

#include "vma_internal.h"

#ifndef MAP_32BIT
#define MAP_32BIT	0x40
#endif
#ifndef MAP_TYPE
#define MAP_TYPE	0x0f
#endif

/* Would @bytes more of locked memory stay within RLIMIT_MEMLOCK? 0 or -EAGAIN. */
int mlock_future_check(struct mm_struct *mm, vm_flags_t flags, unsigned long bytes);

/* May this space lock anything at all? */
bool can_do_mlock(const struct mm_struct *mm);

/* ---- populate.c: 0, -EFAULT (an access there would be a signal) or -ENOMEM ---- */

/* One mapping's pages, written to where it is private and may be. mmap_lock in any mode. */
int populate_vma_page_range(struct vm_area_struct *vma, unsigned long start, unsigned long end);

/*
 * The same for all mappings of a range, holes passed over; with @ignore_errors a mapping that
 * refuses is left at that point, and the answer is 0. mmap_lock not held.
 */
int populate_range(struct mm_struct *mm, unsigned long start, unsigned long end,
		   bool ignore_errors);

/* As reads or writes of the program itself. Holes: -ENOMEM; access not allowed: -EINVAL. */
KARC_MUST_CHECK int faultin_range(struct mm_struct *mm, unsigned long start, unsigned long end,
				  bool write);

/* RLIMIT_DATA for the break: false when [start, @new) and the data segment exceed @rlim. */
bool data_rlimit_allows(const struct mm_struct *mm, unsigned long new);

/**
 * struct unmap_plan - removal of [start, end), prepared: the cuts at both ends
 * @first:     first VMA in the range once the cuts are made, or NULL: nothing is mapped there
 * @nr_splits: of @split, in order
 * @accounted: pages of Committed_AS that go
 * @pages:     pages of total_vm that go
 */
struct unmap_plan {
	unsigned long start, end;
	struct vm_area_struct *first;
	struct vma_split split[2];
	unsigned int nr_splits;
	unsigned long accounted;
	unsigned long pages;
};

/*
 * mmap_lock for writing. -ENOMEM (no memory, max_map_count), -EPERM (sealed) or what may_split
 * said; nothing changed. With a @stock of two VMAs there is memory, and may_split is not asked.
 * Then commit, which cannot fail, or abort. Commit empties the plan: either may follow it.
 */
KARC_MUST_CHECK int unmap_prepare(struct mm_struct *mm, struct unmap_plan *plan,
				  unsigned long start, unsigned long end,
				  struct vma_stock *stock);
void unmap_commit(struct mm_struct *mm, struct unmap_plan *plan);
/* Make the cuts and remove nothing. */
void unmap_commit_cuts(struct mm_struct *mm, struct unmap_plan *plan);
void unmap_abort(struct unmap_plan *plan);

/*
 * Anonymous memory at [addr, addr + len), which is free: the heap's way, growing only @prev (may be
 * NULL). mmap_lock for writing. 0 or -ENOMEM.
 */
KARC_MUST_CHECK int do_brk_flags(struct mm_struct *mm, struct vm_area_struct *prev,
				 unsigned long addr, unsigned long len, vm_flags_t flags);

#endif
