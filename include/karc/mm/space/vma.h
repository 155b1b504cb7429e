/* SPDX-License-Identifier: MIT */
/*
 * vma.h - vm_area_struct: one mapping, and the ordered index of an mm's mappings
 *
 * A VMA is a counted object. Its mm owns one reference through the index; whoever keeps a pointer
 * beyond mmap_lock takes another with vma_get(). When the last one goes the VMA runs its
 * destructor callbacks, vm_ops->close, and puts its file, its anon_vma and its weak reference to
 * the mm.
 */
#ifndef KARC_MM_SPACE_VMA_H
#define KARC_MM_SPACE_VMA_H

#include <karc/base/cleanup.h>
#include <karc/base/contract.h>
#include <karc/base/list.h>
#include <karc/base/math.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/vm_fault.h>
#include <karc/mm/vm_flags.h>

/* vma_* walks: all need mmap_lock, read at least. */
#define for_each_vma_of(mm, vma) \
	list_for_each_entry(vma, &(mm)->vmas.list, vm_list)

/**
 * vm_area_alloc - a VMA of @mm, not yet in its index
 *
 * Zeroed but for vm_mm (one weak reference) and the list heads.
 * Gives:   one reference; vma_link() hands it to the mm, vm_area_free() ends it.
 * Context: may sleep. Errors: NULL.
 */
KARC_MUST_CHECK KARC_GIVES struct vm_area_struct *vm_area_alloc_site(struct mm_struct *mm,
								     const struct site *site);
#define vm_area_alloc(mm) vm_area_alloc_site(mm, SITE())

/**
 * vm_area_dup - a copy of @orig, not in any index
 *
 * Range, flags, protection, ops and private data are copied; the copy takes a reference on the
 * file. anon_vma is left NULL: the caller clones it (anon_vma_clone or anon_vma_fork).
 * Gives and errors as vm_area_alloc().
 */
KARC_MUST_CHECK KARC_GIVES struct vm_area_struct *
vm_area_dup_site(struct vm_area_struct *orig, const struct site *site);
#define vm_area_dup(orig) vm_area_dup_site(orig, SITE())

/* End a VMA that never was in an index: puts what it holds, vm_ops->close is not called. */
void vm_area_free(KARC_TAKES struct vm_area_struct *vma);

/* One more reference / one less; the last put tears the VMA down. May sleep. */
KARC_GIVES struct vm_area_struct *vma_get_site(struct vm_area_struct *vma,
						const struct site *site);
KARC_GIVES struct vm_area_struct *(vma_get)(struct vm_area_struct *vma);
#define vma_get(vma) vma_get_site((vma), SITE())
void vma_put(KARC_TAKES struct vm_area_struct *vma) KARC_PUTS(1);

/* First VMA with @addr < vm_end, or NULL. Borrows under mmap_lock. */
struct vm_area_struct *find_vma(struct mm_struct *mm, unsigned long addr);
/* The same, and the VMA before it (the last one when there is none at or above @addr). */
struct vm_area_struct *find_vma_prev(struct mm_struct *mm, unsigned long addr,
				     struct vm_area_struct **pprev);
/* The VMA that contains @addr, or NULL. */
struct vm_area_struct *vma_lookup(struct mm_struct *mm, unsigned long addr);
/* First VMA that intersects [start_addr, end_addr), or NULL. */
struct vm_area_struct *find_vma_intersection(struct mm_struct *mm, unsigned long start_addr,
					     unsigned long end_addr);
/* Neighbours in address order, or NULL. */
struct vm_area_struct *vma_next(const struct vm_area_struct *vma);
struct vm_area_struct *vma_prev(const struct vm_area_struct *vma);
struct vm_area_struct *vma_first(struct mm_struct *mm);
struct vm_area_struct *vma_last(struct mm_struct *mm);

static inline unsigned long vma_pages(const struct vm_area_struct *vma)
{
	return (vma->vm_end - vma->vm_start) >> PAGE_SHIFT;
}

static inline bool vma_is_anonymous(const struct vm_area_struct *vma)
{
	return !vma->vm_ops;
}

static inline void vma_set_anonymous(struct vm_area_struct *vma)
{
	vma->vm_ops = NULL;
}

static inline bool vma_is_accessible(const struct vm_area_struct *vma)
{
	return vma->vm_flags & (VM_READ | VM_WRITE | VM_EXEC);
}

static inline bool vma_is_initial_heap(const struct vm_area_struct *vma,
				       const struct mm_struct *mm)
{
	return vma->vm_start <= mm->brk && vma->vm_end >= mm->start_brk;
}

static inline bool vma_is_initial_stack(const struct vm_area_struct *vma,
					const struct mm_struct *mm)
{
	return vma->vm_start <= mm->start_stack && vma->vm_end >= mm->start_stack;
}

/* Lowest address that @vma reserves: a stack that grows keeps a guard gap below it. */
unsigned long vm_start_gap(const struct vm_area_struct *vma);

static inline unsigned long vm_end_gap(const struct vm_area_struct *vma)
{
	return vma->vm_end;
}

/* vm_page_prot from vm_flags, write-protected where writes must be noticed. */
void vma_set_page_prot(struct vm_area_struct *vma);

/**
 * insert_vm_struct - put a prepared VMA into its mm
 *
 * Takes:   the caller's reference, also on failure: the VMA is freed then.
 * Locks:   caller holds mmap_lock for writing.
 * Errors:  -ENOMEM: the range is taken, or the commit limit does not allow it.
 * Model:   Linux 6.1 insert_vm_struct(), which leaves a refused VMA to the caller.
 */
KARC_MUST_CHECK int insert_vm_struct(struct mm_struct *mm,
				     KARC_TAKES struct vm_area_struct *vma);

/**
 * split_vma - cut @vma at @addr; two VMAs afterwards
 * @new_below: false: @vma keeps the lower part; true: the upper part
 *
 * Locks:  caller holds mmap_lock for writing.
 * Errors: -ENOMEM (also at max_map_count), or what vm_ops->may_split said; nothing changed.
 */
KARC_MUST_CHECK int split_vma(struct mm_struct *mm, struct vm_area_struct *vma,
			      unsigned long addr, bool new_below);

/* On a variable: __free(vma_put); see base/cleanup.h. */
DEFINE_FREE(vma_put, struct vm_area_struct *, if (_T) vma_put(_T))

#endif
