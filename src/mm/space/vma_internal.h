/* SPDX-License-Identifier: MIT */
/*
 * vma_internal.h - what the files about VMAs share, and all that they need from outside
 *
 * Splits and merges are prepared and then committed. Preparing decides and reserves: it may fail
 * and leaves no trace. Committing cannot fail. So a call that needs two splits prepares both before
 * it changes anything.
 */
#ifndef KARC_SRC_MM_SPACE_VMA_INTERNAL_H
#define KARC_SRC_MM_SPACE_VMA_INTERNAL_H

#include <karc/base/err.h>
#include <karc/base/math.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/cache/rmap.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/vma.h>
#include <karc/refcount/refcount.h>

/* ---- vma_tree.c ---- */

/* Takes over one reference / gives it back. mmap_lock for writing. */
void vma_index_insert(struct mm_struct *mm, KARC_TAKES struct vm_area_struct *vma);
void vma_index_remove(struct mm_struct *mm, struct vm_area_struct *vma);
/* The range of @vma changed; its order did not. */
void vma_index_update(struct vm_area_struct *vma);

/**
 * struct vma_gap_request - a free range is wanted
 * @length:       bytes, page aligned
 * @low_limit, @high_limit: it must lie within
 * @align_mask, @align_offset: (address - align_offset) & align_mask must be 0
 * @topdown:      the highest one, else the lowest
 */
struct vma_gap_request {
	unsigned long length;
	unsigned long low_limit;
	unsigned long high_limit;
	unsigned long align_mask;
	unsigned long align_offset;
	bool topdown;
};

/* Start of the range found, or -ENOMEM. */
unsigned long vma_find_gap(struct mm_struct *mm, const struct vma_gap_request *want);

/* Pages by what they count as. */
struct vma_sums {
	unsigned long total_vm, data_vm, exec_vm, stack_vm;
};

static inline bool is_exec_mapping(vm_flags_t flags)
{
	return (flags & (VM_EXEC | VM_WRITE | VM_STACK)) == VM_EXEC;
}

static inline bool is_stack_mapping(vm_flags_t flags)
{
	return (flags & VM_STACK) == VM_STACK;
}

static inline bool is_data_mapping(vm_flags_t flags)
{
	return (flags & (VM_WRITE | VM_SHARED | VM_STACK)) == VM_WRITE;
}

static inline void vma_sums_add(struct vma_sums *sum, vm_flags_t flags, long pages)
{
	sum->total_vm += pages;
	if (is_exec_mapping(flags))
		sum->exec_vm += pages;
	else if (is_stack_mapping(flags))
		sum->stack_vm += pages;
	else if (is_data_mapping(flags))
		sum->data_vm += pages;
}

/* ---- vma.c ---- */

/* vm_area_dup() for another mm: fork. */
KARC_MUST_CHECK KARC_GIVES struct vm_area_struct *vma_dup_into(struct mm_struct *mm,
							       struct vm_area_struct *orig,
							       const struct site *site);

/* Into the index and the file's list; takes the caller's reference and lends the VMA back. */
KARC_LENDS struct vm_area_struct *vma_link(struct mm_struct *mm,
					   KARC_TAKES struct vm_area_struct *vma);
/* Out of both; the caller gets the index's reference. */
void vma_unlink(struct mm_struct *mm, struct vm_area_struct *vma);

/* VMAs that were allocated before something that must not fail. */
#define VMA_STOCK_MAX	3

struct vma_stock {
	struct vm_area_struct *vma[VMA_STOCK_MAX];
	unsigned int nr;
};

KARC_MUST_CHECK int vma_stock_fill(struct vma_stock *stock, struct mm_struct *mm, unsigned int nr);
void vma_stock_drain(struct vma_stock *stock);
/* vm_area_dup() out of the stock. */
KARC_GIVES struct vm_area_struct *vma_stock_dup(struct vma_stock *stock,
						struct vm_area_struct *orig);

/* The name of anonymous memory, shared by the pieces of a mapping. */
struct vma_name {
	refcount_t count;
	char text[];
};

/* -> count 1, or NULL for no memory. Get and put ignore NULL. */
KARC_MUST_CHECK struct vma_name *vma_name_alloc(const char *text);
struct vma_name *vma_name_get(struct vma_name *name);
void vma_name_put(struct vma_name *name);
bool vma_name_eq(const struct vma_name *a, const struct vma_name *b);

/**
 * struct vma_split - one cut, prepared
 * @vma: stays in the index and shrinks;  @new: will be linked;  @addr: where
 */
struct vma_split {
	struct vm_area_struct *vma;
	struct vm_area_struct *new;
	unsigned long addr;
	bool new_below;
};

/*
 * Prepare a cut of @vma, which may be the ->new of another prepared split; counts against
 * max_map_count are the caller's. Commit or abort follows, in order of preparation / in reverse.
 * With a @stock the VMA comes from there, ->may_split is not asked, and this cannot fail.
 */
KARC_MUST_CHECK int vma_split_prepare(struct vma_split *split, struct vm_area_struct *vma,
				      unsigned long addr, bool new_below, struct vma_stock *stock);
void vma_split_commit(struct mm_struct *mm, struct vma_split *split);
void vma_split_abort(struct vma_split *split);

/* What a mapping would be, for the question whether it merges with its neighbours. */
struct vma_shape {
	unsigned long start, end;
	vm_flags_t flags;
	struct anon_vma *anon_vma;
	struct file *file;
	pgoff_t pgoff;
	struct vma_name *name;
};

bool can_vma_merge_before(struct vm_area_struct *vma, const struct vma_shape *shape);
bool can_vma_merge_after(struct vm_area_struct *vma, const struct vma_shape *shape);

/**
 * vma_expand_new - let neighbours cover a new range instead of a VMA of its own
 * @prev, @next: what lies directly around shape->start .. end, or NULL; nothing lies in it
 *
 * Returns: the VMA that covers it now, or NULL when none merges; nothing changed then.
 */
struct vm_area_struct *vma_expand_new(struct mm_struct *mm, struct vm_area_struct *prev,
				      struct vm_area_struct *next,
				      const struct vma_shape *shape);

/**
 * vma_merge - the range [shape->start, shape->end) of existing VMAs gets shape->flags: merge it
 * @prev: the VMA before the range, or the one it lies in
 *
 * The eight cases of Linux. Returns: the VMA that covers the range now, or NULL when none merges;
 * nothing changed then. Its vm_flags are those asked for.
 */
struct vm_area_struct *vma_merge(struct mm_struct *mm, struct vm_area_struct *prev,
				 const struct vma_shape *shape);

/* What [start, end), a part of one VMA, becomes. */
struct vma_change {
	unsigned long start, end;
	vm_flags_t flags;
	struct vma_name *name;		/* lent */
};

/**
 * vma_modify - make the change: join a neighbour that is already so, or cut the part out
 * @prev: the VMA before the range, or @vma when that begins before it
 *
 * Returns: the VMA that covers the part now, flags and name as asked; or ERR_PTR (-ENOMEM, or what
 * may_split said), and nothing changed. Sums and entries are the caller's.
 */
KARC_MUST_CHECK struct vm_area_struct *vma_modify(struct mm_struct *mm,
						  struct vm_area_struct *prev,
						  struct vm_area_struct *vma,
						  const struct vma_change *change);

/* ---- mm.c, room.c ---- */

struct space_state;
struct space_state *space_state(void);

#endif
