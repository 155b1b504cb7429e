/* SPDX-License-Identifier: MIT */
/*
 * What it is      Life of a vm_area_struct, and the two moves that keep mappings few: cutting one
 *                 in two and melting neighbours into one.
 *
 * Objects         mm ==owns (index)==> VMA ==owns==> file, anon_vma
 *                                      VMA --weak--> mm
 *                 The weak reference keeps the mm's memory, not its life, so that a VMA held by
 *                 somebody else never points at freed memory; there is no strong cycle.
 *
 * Invariants      I1 a VMA in the index has one reference from it
 *                 I2 a VMA with a file is on the file's i_mmap list exactly while in the index
 *                 I3 neighbours that vma_merge() may join were looked at by every change; they
 *                    are still two only where Linux leaves two
 *
 * Locking         mmap_lock for writing for all but get and put. Ranges of file VMAs change under
 *                 i_mmap_rwsem as well: whoever walks i_mmap sees whole VMAs. While one mapping
 *                 is two (or the reverse) the list shows the pages twice, never not at all.
 *
 * Life            vm_area_alloc, filled in by the caller - vma_link - vma_unlink - vma_put. The
 *                 last put runs callbacks, vm_ops->close, then puts file, anon_vma and weak mm.
 *                 vm_area_free ends one that was never linked: close is not called. A VMA that
 *                 was merged away gets no close either: one that has it is never merged.
 *
 * Worst case      A split needs one VMA, which a stock may supply; a merge needs nothing: sharing
 *                 an anon_vma only takes a reference.
 *
 * Unlike Linux    close runs at the last put, not at unmap: later when somebody still holds the
 *                 VMA. vma_merge() is written as a plan of ranges; the cases are Linux's eight.
 */
#include <karc/base/bug.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/profile.h>
#include <karc/refcount/holder.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "vma_internal.h"

/* ---- names of anonymous memory ---- */

struct vma_name *vma_name_alloc(const char *text)
{
	size_t bytes = strlen(text) + 1;
	struct vma_name *name = kmalloc(sizeof(*name) + bytes, GFP_KERNEL);

	if (!name)
		return NULL;
	refcount_set(&name->count, 1);
	memcpy(name->text, text, bytes);
	return name;
}

struct vma_name *vma_name_get(struct vma_name *name)
{
	if (name)
		refcount_inc(&name->count);
	return name;
}

void vma_name_put(struct vma_name *name)
{
	if (name && refcount_dec_and_test(&name->count))
		kfree(name);
}

bool vma_name_eq(const struct vma_name *a, const struct vma_name *b)
{
	return a == b || (a && b && !strcmp(a->text, b->text));
}

/* ---- one VMA ---- */

static void vma_drop(void *obj)
{
	struct vm_area_struct *vma = obj;

	trace_step("vma_put", "VMA %lx-%lx: count 1 -> 0%s", vma->vm_start, vma->vm_end,
		   vma->vm_file ? ", puts its file" : "");
	if (vma->vm_ops && vma->vm_ops->close)
		vma->vm_ops->close(vma);
	vma_name_put(vma->anon_name);
}

static void vma_free_memory(void *obj)
{
	kmem_cache_free(space_state()->vma_cache, obj);
}

static void vma_arc_check(const void *obj, struct check_report *report)
{
	const struct vm_area_struct *vma = obj;

	if (vma->vm_start >= vma->vm_end)
		check_fail(report, "I2: VMA %lx-%lx is no range", vma->vm_start, vma->vm_end);
}

static void vma_describe(const void *obj, char *buf, size_t bytes)
{
	const struct vm_area_struct *vma = obj;

	snprintf(buf, bytes, "%lx-%lx %c%c%c%c", vma->vm_start, vma->vm_end,
		 vma->vm_flags & VM_READ ? 'r' : '-', vma->vm_flags & VM_WRITE ? 'w' : '-',
		 vma->vm_flags & VM_EXEC ? 'x' : '-', vma->vm_flags & VM_MAYSHARE ? 's' : 'p');
}

static const struct arc_field vma_fields[] = {
	ARC_OWNED(vm_area_struct, vm_file, file),
	ARC_OWNED(vm_area_struct, anon_vma, anon_vma),
	ARC_WEAK(vm_area_struct, vm_mm, mm_struct),
	ARC_FIELDS_END
};

const struct arc_type vma_type = {
	.name = "vm_area_struct",
	.size = sizeof(struct vm_area_struct),
	.offset = offsetof(struct vm_area_struct, arc),
	.flags = ARC_SLEEPS,
	.ops = {
		.drop = vma_drop,
		.free = vma_free_memory,
		.check = vma_arc_check,
		.describe = vma_describe,
	},
	.fields = vma_fields,
};

struct vm_area_struct *KARC_BODY(vm_area_alloc_site)(struct mm_struct *mm,
						     const struct site *site)
{
	struct vm_area_struct *vma;

	vma = kmem_cache_alloc_site(space_state()->vma_cache, GFP_KERNEL | __GFP_ZERO, site);
	if (!vma)
		return NULL;
	arc_downgrade(&mm->arc);
	vma->vm_mm = mm;
	RB_CLEAR_NODE(&vma->vm_rb);
	INIT_LIST_HEAD(&vma->vm_list);
	INIT_LIST_HEAD(&vma->rmap_node);
	arc_init_site(&vma->arc, &vma_type, site);
	return vma;
}

/* All that makes @vma cover what @orig does; references included. */
static void vma_copy(struct vm_area_struct *vma, struct vm_area_struct *orig)
{
	vma->vm_start = orig->vm_start;
	vma->vm_end = orig->vm_end;
	vma->vm_page_prot = orig->vm_page_prot;
	vma->vm_flags = orig->vm_flags;
	vma->vm_ops = orig->vm_ops;
	vma->vm_pgoff = orig->vm_pgoff;
	vma->vm_private_data = orig->vm_private_data;
	vma->anon_name = vma_name_get(orig->anon_name);
	if (orig->vm_file) {
		vma->vm_file = get_file(orig->vm_file);
		arc_hand_to_field(&vma->vm_file->arc, &vma->arc, "vm_file");
	}
}

struct vm_area_struct *KARC_BODY(vma_dup_into)(struct mm_struct *mm, struct vm_area_struct *orig,
					       const struct site *site)
{
	struct vm_area_struct *vma = vm_area_alloc_site(mm, site);

	if (vma)
		vma_copy(vma, orig);
	return vma;
}

int vma_stock_fill(struct vma_stock *stock, struct mm_struct *mm, unsigned int nr)
{
	BUG_ON(nr > VMA_STOCK_MAX);
	for (stock->nr = 0; stock->nr < nr; stock->nr++) {
		stock->vma[stock->nr] = vm_area_alloc(mm);
		if (!stock->vma[stock->nr]) {
			vma_stock_drain(stock);
			return -ENOMEM;
		}
	}
	return 0;
}

void vma_stock_drain(struct vma_stock *stock)
{
	while (stock->nr)
		vm_area_free(stock->vma[--stock->nr]);
}

struct vm_area_struct *vma_stock_dup(struct vma_stock *stock, struct vm_area_struct *orig)
{
	struct vm_area_struct *vma;

	BUG_ON(!stock->nr);
	vma = stock->vma[--stock->nr];
	vma_copy(vma, orig);
	return vma;
}

struct vm_area_struct *KARC_BODY(vm_area_dup_site)(struct vm_area_struct *orig,
						   const struct site *site)
{
	return vma_dup_into(orig->vm_mm, orig, site);
}

void KARC_BODY(vm_area_free)(struct vm_area_struct *vma)
{
	if (!vma)
		return;
	BUG_ON(!list_empty(&vma->vm_list));
	vma->vm_ops = NULL;
	vma_put(vma);
}

struct vm_area_struct *KARC_BODY(vma_get_site)(struct vm_area_struct *vma,
						const struct site *site)
{
	arc_get_site(&vma->arc, site);
	return vma;
}

struct vm_area_struct *(KARC_BODY(vma_get))(struct vm_area_struct *vma)
{
	return vma_get_site(vma, SITE());
}

void KARC_BODY(vma_put)(struct vm_area_struct *vma)
{
	if (vma)
		arc_put(&vma->arc);
}

struct vm_area_struct *KARC_BODY(vma_link)(struct mm_struct *mm, struct vm_area_struct *vma)
{
	BUG_ON(vma->vm_mm != mm);
	vma_index_insert(mm, vma);
	arc_hand_to_field(&vma->arc, &mm->arc, "vmas.list");
	vma_link_file(vma);
	return vma;
}

void vma_unlink(struct mm_struct *mm, struct vm_area_struct *vma)
{
	BUG_ON(vma->vm_mm != mm);
	unlink_file_vma(vma);
	vma_index_remove(mm, vma);
	arc_hand_from_field(&vma->arc, &mm->arc, "vmas.list");
}

/* Do writes to @vma have to be noticed one page at a time? */
static bool vma_wants_writenotify(const struct vm_area_struct *vma)
{
	if ((vma->vm_flags & (VM_WRITE | VM_SHARED)) != (VM_WRITE | VM_SHARED))
		return false;
	return vma->vm_ops && (vma->vm_ops->page_mkwrite || vma->vm_ops->pfn_mkwrite);
}

void vma_set_page_prot(struct vm_area_struct *vma)
{
	vm_flags_t flags = vma->vm_flags;

	if (vma_wants_writenotify(vma))
		flags &= ~VM_SHARED;
	vma->vm_page_prot = vm_get_page_prot(flags);
}

int insert_vm_struct(struct mm_struct *mm, struct vm_area_struct *vma)
{
	unsigned long charged = vma_pages(vma);

	if (find_vma_intersection(mm, vma->vm_start, vma->vm_end))
		goto free_vma;
	if ((vma->vm_flags & VM_ACCOUNT) && security_vm_enough_memory_mm(mm, charged))
		goto free_vma;
	if (vma_is_anonymous(vma)) {
		BUG_ON(vma->anon_vma);
		vma->vm_pgoff = vma->vm_start >> PAGE_SHIFT;
	}
	vma_link(mm, vma);
	return 0;
free_vma:
	vm_area_free(vma);
	return -ENOMEM;
}

/* ---- changing ranges ---- */

static void vma_lock_file(struct vm_area_struct *vma)
{
	if (vma->vm_file)
		down_write(&vma->vm_file->f_mapping->i_mmap_rwsem);
}

static void vma_unlock_file(struct vm_area_struct *vma)
{
	if (vma->vm_file)
		up_write(&vma->vm_file->f_mapping->i_mmap_rwsem);
}

/* @vma stays where it is in the order. */
static void vma_set_range(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			  pgoff_t pgoff)
{
	vma_lock_file(vma);
	vma->vm_start = start;
	vma->vm_end = end;
	vma->vm_pgoff = pgoff;
	vma_unlock_file(vma);
	vma_index_update(vma);
}

static pgoff_t vma_pgoff_at(const struct vm_area_struct *vma, unsigned long addr)
{
	return vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
}

/* ---- split ---- */

int vma_split_prepare(struct vma_split *split, struct vm_area_struct *vma, unsigned long addr,
		      bool new_below, struct vma_stock *stock)
{
	struct vm_area_struct *new;
	int err;

	BUG_ON(addr <= vma->vm_start || addr >= vma->vm_end);
	/* Who brings VMAs along has asked already. */
	if (!stock && vma->vm_ops && vma->vm_ops->may_split) {
		err = vma->vm_ops->may_split(vma, addr);
		if (err)
			return err;
	}
	new = stock ? vma_stock_dup(stock, vma) : vm_area_dup(vma);
	if (!new)
		return -ENOMEM;
	if (new_below) {
		new->vm_end = addr;
	} else {
		new->vm_start = addr;
		new->vm_pgoff = vma_pgoff_at(vma, addr);
	}
	err = anon_vma_clone(new, vma);
	if (err) {
		vm_area_free(new);
		return err;
	}
	*split = (struct vma_split) {
		.vma = vma, .new = new, .addr = addr, .new_below = new_below,
	};
	return 0;
}

void vma_split_commit(struct mm_struct *mm, struct vma_split *split)
{
	struct vm_area_struct *vma = split->vma, *new = split->new;

	if (new->vm_ops && new->vm_ops->open)
		new->vm_ops->open(new);
	/* The file's list learns about the new VMA before the old one gives up its part. */
	vma_link_file(new);
	if (split->new_below)
		vma_set_range(vma, split->addr, vma->vm_end, vma_pgoff_at(vma, split->addr));
	else
		vma_set_range(vma, vma->vm_start, split->addr, vma->vm_pgoff);
	vma_index_insert(mm, new);
	arc_hand_to_field(&new->arc, &mm->arc, "vmas.list");
	split->new = NULL;
}

void vma_split_abort(struct vma_split *split)
{
	vm_area_free(split->new);
	split->new = NULL;
}

int split_vma(struct mm_struct *mm, struct vm_area_struct *vma, unsigned long addr, bool new_below)
{
	struct vma_split split;
	int err;

	if (mm->map_count >= space_sysctl()->max_map_count)
		return -ENOMEM;
	err = vma_split_prepare(&split, vma, addr, new_below, NULL);
	if (err)
		return err;
	vma_split_commit(mm, &split);
	return 0;
}

/* ---- merge ---- */

static bool is_mergeable_vma(const struct vm_area_struct *vma, const struct vma_shape *shape)
{
	if ((vma->vm_flags ^ shape->flags) & ~VM_IGNORE_MERGE)
		return false;
	if (vma->vm_file != shape->file || !vma_name_eq(vma->anon_name, shape->name))
		return false;
	return !(vma->vm_ops && vma->vm_ops->close);
}

/* May pages of @source come under @target, which stays? Newer kernels let it inherit. */
static bool anon_vmas_merge(const struct vm_area_struct *target, const struct anon_vma *source)
{
	if (!target->anon_vma && source && target->vm_mm->profile->merge_unfaulted)
		return !source->parent;
	return is_mergeable_anon_vma(source, target->anon_vma, target);
}

bool can_vma_merge_before(struct vm_area_struct *vma, const struct vma_shape *shape)
{
	pgoff_t pages = (shape->end - shape->start) >> PAGE_SHIFT;

	return is_mergeable_vma(vma, shape) && anon_vmas_merge(vma, shape->anon_vma) &&
	       vma->vm_pgoff == shape->pgoff + pages;
}

bool can_vma_merge_after(struct vm_area_struct *vma, const struct vma_shape *shape)
{
	return is_mergeable_vma(vma, shape) && anon_vmas_merge(vma, shape->anon_vma) &&
	       vma->vm_pgoff + vma_pages(vma) == shape->pgoff;
}

/* A VMA that another one covers now. */
static void vma_merge_away(struct mm_struct *mm, struct vm_area_struct *vma)
{
	vma_unlink(mm, vma);
	vma->vm_ops = NULL;
	vma_put(vma);
}

/*
 * What a merge does: @keep gets [start, end); what it swallows whole goes; @trim, a neighbour that
 * gives up a part to @keep, becomes [trim_start, trim_end).
 */
struct merge_plan {
	struct vm_area_struct *keep;
	unsigned long start, end;
	struct vm_area_struct *away[2];
	struct vm_area_struct *trim;
	unsigned long trim_start, trim_end;
	struct anon_vma *anon;		/* which @keep must share, when it has none */
	vm_flags_t sticky;		/* of VM_IGNORE_MERGE: what @keep must have */
};

static void plan_away(struct merge_plan *plan, struct vm_area_struct *vma)
{
	plan->away[plan->away[0] ? 1 : 0] = vma;
	if (vma->anon_vma)
		plan->anon = vma->anon_vma;
	plan->sticky |= vma->vm_flags & VM_IGNORE_MERGE;
}

static void merge_commit(struct mm_struct *mm, const struct merge_plan *plan)
{
	struct vm_area_struct *keep = plan->keep, *trim = plan->trim;
	pgoff_t pgoff = keep->vm_pgoff - ((keep->vm_start - plan->start) >> PAGE_SHIFT);
	unsigned int i;

	if (plan->anon && !keep->anon_vma) {
		keep->anon_vma = get_anon_vma(plan->anon);
		arc_hand_to_field(&plan->anon->arc, &keep->arc, "anon_vma");
	}
	keep->vm_flags |= plan->sticky;
	/* The file's list may show pages twice for a moment, never not at all. */
	vma_lock_file(keep);
	keep->vm_start = plan->start;
	keep->vm_end = plan->end;
	keep->vm_pgoff = pgoff;
	if (trim) {
		trim->vm_pgoff += (plan->trim_start - trim->vm_start) >> PAGE_SHIFT;
		trim->vm_start = plan->trim_start;
		trim->vm_end = plan->trim_end;
	}
	vma_unlock_file(keep);
	/* Before anything leaves the tree: rotations trust the sums of what they turn. */
	vma_index_update(keep);
	if (trim)
		vma_index_update(trim);
	for (i = 0; i < ARRAY_SIZE(plan->away) && plan->away[i]; i++)
		vma_merge_away(mm, plan->away[i]);
}

/*
 * Which of the two neighbours of a new range take it. Where both could but not together, kernels up
 * to 6.11 let the upper one win, later ones the lower one.
 */
static void expand_sides(struct mm_struct *mm, struct vm_area_struct *prev,
			 struct vm_area_struct *next, const struct vma_shape *shape,
			 bool *with_prev, bool *with_next)
{
	struct vma_shape joined = *shape;

	*with_next = next && next->vm_start == shape->end && can_vma_merge_before(next, shape);
	*with_prev = prev && prev->vm_end == shape->start && can_vma_merge_after(prev, shape);
	if (!*with_prev || !*with_next)
		return;
	if (mm->profile->merge_prefers_prev) {
		*with_next = is_mergeable_anon_vma(prev->anon_vma, next->anon_vma, NULL);
	} else {
		joined.anon_vma = next->anon_vma;
		*with_prev = can_vma_merge_after(prev, &joined);
	}
}

struct vm_area_struct *vma_expand_new(struct mm_struct *mm, struct vm_area_struct *prev,
				      struct vm_area_struct *next, const struct vma_shape *shape)
{
	struct merge_plan plan = {
		.start = shape->start, .end = shape->end, .anon = shape->anon_vma,
		.sticky = shape->flags & VM_IGNORE_MERGE,
	};
	bool with_prev, with_next;

	if (shape->flags & VM_SPECIAL)
		return NULL;
	expand_sides(mm, prev, next, shape, &with_prev, &with_next);
	if (with_prev) {
		plan.keep = prev;
		plan.start = prev->vm_start;
		if (with_next) {
			plan.end = next->vm_end;
			plan_away(&plan, next);
		}
	} else if (with_next) {
		plan.keep = next;
		plan.end = next->vm_end;
	}
	if (plan.keep)
		merge_commit(mm, &plan);
	return plan.keep;
}

/* What the range takes from @mid, the VMA in which it ends, when @keep grows to @end. */
static void plan_mid(struct merge_plan *plan, struct vm_area_struct *mid, unsigned long end)
{
	if (!mid || mid == plan->keep || mid->vm_start >= end)
		return;
	if (mid->vm_end <= end) {
		plan_away(plan, mid);
		return;
	}
	plan->trim = mid;
	plan->trim_start = end;
	plan->trim_end = mid->vm_end;
}

struct vm_area_struct *vma_merge(struct mm_struct *mm, struct vm_area_struct *prev,
				 const struct vma_shape *shape)
{
	struct vm_area_struct *mid = prev ? vma_next(prev) : vma_first(mm), *next = mid;
	unsigned long start = shape->start, end = shape->end;
	struct merge_plan plan = {
		.start = start, .end = end, .anon = shape->anon_vma,
		.sticky = shape->flags & VM_IGNORE_MERGE,
	};
	bool with_prev, with_next;

	/* Mergeable means the same flags: this keeps neighbours with VM_SPECIAL apart as well. */
	if (shape->flags & VM_SPECIAL)
		return NULL;
	if (next && next->vm_end == end)		/* cases 6, 7, 8 */
		next = vma_next(next);
	with_prev = prev && prev->vm_end == start && can_vma_merge_after(prev, shape);
	with_next = next && next->vm_start == end && can_vma_merge_before(next, shape);

	if (with_prev && with_next && is_mergeable_anon_vma(prev->anon_vma, next->anon_vma, NULL)) {
		plan.keep = prev;			/* cases 1, 6 */
		plan.start = prev->vm_start;
		plan.end = next->vm_end;
		if (mid != next)
			plan_away(&plan, mid);
		plan_away(&plan, next);
	} else if (with_prev) {				/* cases 2, 5, 7 */
		plan.keep = prev;
		plan.start = prev->vm_start;
		plan_mid(&plan, mid, end);
	} else if (with_next) {
		plan.keep = next;
		plan.end = next->vm_end;
		if (prev && start < prev->vm_end) {	/* case 4 */
			plan.trim = prev;
			plan.trim_start = prev->vm_start;
			plan.trim_end = start;
		} else {				/* cases 3, 8 */
			plan_mid(&plan, mid, end);
		}
	}
	if (plan.keep)
		merge_commit(mm, &plan);
	return plan.keep;
}

/* ---- one part of a VMA becomes different ---- */

/* Cut [start, end) out of @vma, which keeps it. 0 or -errno; nothing changed then. */
static int vma_cut_out(struct mm_struct *mm, struct vm_area_struct *vma, unsigned long start,
		       unsigned long end)
{
	bool low = start != vma->vm_start, high = end != vma->vm_end;
	struct vma_split split[2];
	unsigned int nr = 0, i;
	int err;

	if (mm->map_count + low + high > space_sysctl()->max_map_count)
		return -ENOMEM;
	if (low) {
		err = vma_split_prepare(&split[nr], vma, start, true, NULL);
		if (err)
			return err;
		nr++;
	}
	if (high) {
		err = vma_split_prepare(&split[nr], vma, end, false, NULL);
		if (err)
			goto abort;
		nr++;
	}
	for (i = 0; i < nr; i++)
		vma_split_commit(mm, &split[i]);
	return 0;
abort:
	while (nr)
		vma_split_abort(&split[--nr]);
	return err;
}

struct vm_area_struct *vma_modify(struct mm_struct *mm, struct vm_area_struct *prev,
				  struct vm_area_struct *vma, const struct vma_change *change)
{
	struct vma_shape shape = {
		.start = change->start, .end = change->end, .flags = change->flags,
		.anon_vma = vma->anon_vma, .file = vma->vm_file, .name = change->name,
		.pgoff = vma_pgoff_at(vma, change->start),
	};
	struct vm_area_struct *merged;
	struct vma_name *old;
	int err;

	merged = vma_merge(mm, prev, &shape);
	if (merged)
		return merged;
	err = vma_cut_out(mm, vma, change->start, change->end);
	if (err)
		return ERR_PTR(err);
	WRITE_ONCE(vma->vm_flags, change->flags);
	old = vma->anon_name;
	vma->anon_name = vma_name_get(change->name);
	vma_name_put(old);
	return vma;
}
