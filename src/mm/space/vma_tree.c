/* SPDX-License-Identifier: MIT */
/*
 * What it is      The index of an address space: VMAs by address, and the question "where is the
 *                 highest (or lowest) free range of this length?" in logarithmic time.
 *
 * Objects         mm->vmas.tree   red-black tree through vma->vm_rb, ordered by vm_start
 *                 mm->vmas.list   the same VMAs in the same order, through vma->vm_list
 *                 rb_subtree_gap  of a node: the largest own gap in its subtree. The own gap of a
 *                                 VMA is what lies free below it, from the end of the VMA before
 *                                 it, or from 0. Guard gaps of stacks are not part of it: a
 *                                 search that meets one goes on below it, as in Linux since 6.1,
 *                                 and so passes over holes above the guard's end.
 *
 * Invariants      I1 list and tree hold the same VMAs in the same order
 *                 I2 vm_start < vm_end, both page aligned; sorted; disjoint; below task_size
 *                 I3 mm->map_count is their number
 *                 I4 red-black rules (rb_check) and rb_subtree_gap are right
 *                 I5 total_vm, data_vm, exec_vm, stack_vm are the sums over them, locked_vm the
 *                    sum over those with VM_LOCKED
 *                 I6 vma->vm_mm is the mm, and each VMA is alive
 *
 * Locking         everything here: mmap_lock, for writing where it changes.
 *
 * Life            vma_index_insert() takes over the caller's reference; vma_index_remove() gives
 *                 it back. A VMA whose range changes tells the tree with vma_index_update(),
 *                 which repairs its own gap and that of the VMA after it.
 *
 * Worst case      O(log n) per operation; a gap search visits the path to the answer and at most
 *                 two nodes whose gap is large enough but cut off by the limits.
 *
 * Unlike Linux    6.1 keeps a maple tree: nodes with 16 slots, readers under RCU. This is the
 *                 tree of kernels before 6.1; it needs no memory of its own, so inserting and
 *                 splitting cannot fail half way, but a lookup touches more cache lines.
 */
#include <karc/base/bug.h>
#include <karc/mm/space/overcommit.h>

#include "vma_internal.h"

static struct vm_area_struct *vma_of(struct rb_node *node)
{
	return rb_entry(node, struct vm_area_struct, vm_rb);
}

unsigned long vm_start_gap(const struct vm_area_struct *vma)
{
	unsigned long gap, start = vma->vm_start;

	if (!(vma->vm_flags & VM_GROWSDOWN))
		return start;
	gap = space_sysctl()->stack_guard_gap;
	return start > gap ? start - gap : 0;
}

/* Where the free range below @vma begins. */
static unsigned long gap_start_of(const struct vm_area_struct *vma)
{
	const struct vm_area_struct *prev = vma_prev(vma);

	return prev ? vm_end_gap(prev) : 0;
}

static unsigned long own_gap(const struct vm_area_struct *vma)
{
	unsigned long start = gap_start_of(vma);

	/* Less than nothing for a moment, while a merge makes one VMA cover another. */
	return vma->vm_start > start ? vma->vm_start - start : 0;
}

static unsigned long subtree_gap(const struct rb_node *node)
{
	return node ? rb_entry(node, const struct vm_area_struct, vm_rb)->rb_subtree_gap : 0;
}

static unsigned long compute_subtree_gap(const struct vm_area_struct *vma)
{
	unsigned long gap = own_gap(vma);

	gap = max(gap, subtree_gap(vma->vm_rb.rb_left));
	return max(gap, subtree_gap(vma->vm_rb.rb_right));
}

static void gap_propagate(struct rb_node *node, struct rb_node *stop)
{
	struct vm_area_struct *vma;
	unsigned long gap;

	for (; node != stop; node = rb_parent(node)) {
		vma = vma_of(node);
		gap = compute_subtree_gap(vma);
		if (gap == vma->rb_subtree_gap)
			return;
		vma->rb_subtree_gap = gap;
	}
}

static void gap_copy(struct rb_node *from, struct rb_node *to)
{
	vma_of(to)->rb_subtree_gap = vma_of(from)->rb_subtree_gap;
}

static void gap_rotate(struct rb_node *from, struct rb_node *to)
{
	vma_of(to)->rb_subtree_gap = vma_of(from)->rb_subtree_gap;
	vma_of(from)->rb_subtree_gap = compute_subtree_gap(vma_of(from));
}

static const struct rb_augment_callbacks gap_callbacks = {
	.propagate = gap_propagate,
	.copy = gap_copy,
	.rotate = gap_rotate,
};

void vma_index_update(struct vm_area_struct *vma)
{
	struct vm_area_struct *next = vma_next(vma);

	gap_propagate(&vma->vm_rb, NULL);
	if (next)
		gap_propagate(&next->vm_rb, NULL);
}

void KARC_BODY(vma_index_insert)(struct mm_struct *mm, struct vm_area_struct *vma)
{
	struct rb_node **link = &mm->vmas.tree.rb_node, *parent = NULL;
	struct list_head *after = &mm->vmas.list;
	struct vm_area_struct *at;

	while (*link) {
		parent = *link;
		at = vma_of(parent);
		BUG_ON(vma->vm_start < at->vm_end && at->vm_start < vma->vm_end);
		if (vma->vm_start < at->vm_start) {
			link = &parent->rb_left;
		} else {
			link = &parent->rb_right;
			after = &at->vm_list;
		}
	}
	list_add(&vma->vm_list, after);
	rb_link_node(&vma->vm_rb, parent, link);
	/* A value of 0 differs from what is right unless that is 0 too: the path is repaired. */
	vma->rb_subtree_gap = 0;
	vma_index_update(vma);
	rb_insert_augmented(&vma->vm_rb, &mm->vmas.tree, &gap_callbacks);
	mm->map_count++;
}

void vma_index_remove(struct mm_struct *mm, struct vm_area_struct *vma)
{
	struct vm_area_struct *next = vma_next(vma);

	rb_erase_augmented(&vma->vm_rb, &mm->vmas.tree, &gap_callbacks);
	RB_CLEAR_NODE(&vma->vm_rb);
	list_del_init(&vma->vm_list);
	if (next)
		gap_propagate(&next->vm_rb, NULL);
	mm->map_count--;
}

struct vm_area_struct *vma_next(const struct vm_area_struct *vma)
{
	struct list_head *next = vma->vm_list.next;

	return next == &vma->vm_mm->vmas.list ? NULL :
	       list_entry(next, struct vm_area_struct, vm_list);
}

struct vm_area_struct *vma_prev(const struct vm_area_struct *vma)
{
	struct list_head *prev = vma->vm_list.prev;

	return prev == &vma->vm_mm->vmas.list ? NULL :
	       list_entry(prev, struct vm_area_struct, vm_list);
}

struct vm_area_struct *vma_first(struct mm_struct *mm)
{
	return list_first_entry_or_null(&mm->vmas.list, struct vm_area_struct, vm_list);
}

struct vm_area_struct *vma_last(struct mm_struct *mm)
{
	return list_empty(&mm->vmas.list) ? NULL :
	       list_last_entry(&mm->vmas.list, struct vm_area_struct, vm_list);
}

struct vm_area_struct *find_vma(struct mm_struct *mm, unsigned long addr)
{
	struct rb_node *node = mm->vmas.tree.rb_node;
	struct vm_area_struct *found = NULL, *vma;

	while (node) {
		vma = vma_of(node);
		if (vma->vm_end > addr) {
			found = vma;
			if (vma->vm_start <= addr)
				break;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

struct vm_area_struct *find_vma_prev(struct mm_struct *mm, unsigned long addr,
				     struct vm_area_struct **pprev)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	*pprev = vma ? vma_prev(vma) : vma_last(mm);
	return vma;
}

struct vm_area_struct *vma_lookup(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	return vma && vma->vm_start <= addr ? vma : NULL;
}

struct vm_area_struct *find_vma_intersection(struct mm_struct *mm, unsigned long start_addr,
					     unsigned long end_addr)
{
	struct vm_area_struct *vma = find_vma(mm, start_addr);

	return vma && vma->vm_start < end_addr ? vma : NULL;
}

/* The free range [*start, *end) below @vma (above all when NULL), cut to the limits of @want. */
static bool gap_fits(struct mm_struct *mm, const struct vm_area_struct *vma,
		     const struct vma_gap_request *want, unsigned long *start, unsigned long *end)
{
	const struct vm_area_struct *last;

	if (vma) {
		*start = gap_start_of(vma);
		*end = vma->vm_start;
	} else {
		last = vma_last(mm);
		*start = last ? vm_end_gap(last) : 0;
		*end = want->high_limit;
	}
	*start = max(*start, want->low_limit);
	*end = min(*end, want->high_limit);
	return *end > *start && *end - *start >= want->length + want->align_mask;
}

/* Is a gap of the right size below @node's VMAs, as far as the tree's sums can tell? */
static bool subtree_promising(const struct rb_node *node, const struct vma_gap_request *want)
{
	return node && subtree_gap(node) >= want->length + want->align_mask;
}

/* From @node to the next lower one of the walk: the parent of the first right child on the way. */
static struct rb_node *climb_from_right(struct rb_node *node)
{
	struct rb_node *parent;

	while ((parent = rb_parent(node)) && parent->rb_right != node)
		node = parent;
	return parent;
}

static struct rb_node *climb_from_left(struct rb_node *node)
{
	struct rb_node *parent;

	while ((parent = rb_parent(node)) && parent->rb_left != node)
		node = parent;
	return parent;
}

static bool highest_gap(struct mm_struct *mm, const struct vma_gap_request *want,
			unsigned long *start, unsigned long *end)
{
	struct rb_node *node = mm->vmas.tree.rb_node;
	bool descend = true;

	if (gap_fits(mm, NULL, want, start, end))
		return true;
	if (!subtree_promising(node, want))
		return false;
	while (node) {
		/* Gaps to the right begin above this VMA: of no use beyond the limit. */
		while (descend && subtree_promising(node->rb_right, want) &&
		       vma_of(node)->vm_end < want->high_limit)
			node = node->rb_right;
		if (gap_fits(mm, vma_of(node), want, start, end))
			return true;
		if (vma_of(node)->vm_start <= want->low_limit)
			return false;
		descend = subtree_promising(node->rb_left, want);
		node = descend ? node->rb_left : climb_from_right(node);
	}
	return false;
}

static bool lowest_gap(struct mm_struct *mm, const struct vma_gap_request *want,
		       unsigned long *start, unsigned long *end)
{
	struct rb_node *node = mm->vmas.tree.rb_node;
	bool descend = true;

	if (!subtree_promising(node, want))
		return gap_fits(mm, NULL, want, start, end);
	while (node) {
		/* Gaps to the left end below this VMA: of no use below the limit. */
		while (descend && subtree_promising(node->rb_left, want) &&
		       vma_of(node)->vm_start > want->low_limit)
			node = node->rb_left;
		if (gap_fits(mm, vma_of(node), want, start, end))
			return true;
		if (vma_of(node)->vm_end >= want->high_limit)
			return false;
		descend = subtree_promising(node->rb_right, want);
		node = descend ? node->rb_right : climb_from_left(node);
	}
	return gap_fits(mm, NULL, want, start, end);
}

/* The stack above the free range that ends at @end, if its guard gap reaches into the range. */
static const struct vm_area_struct *stack_in_the_way(struct mm_struct *mm, unsigned long end,
						     unsigned long last)
{
	const struct vm_area_struct *next = find_vma(mm, end - 1);

	if (!next || !(next->vm_flags & VM_GROWSDOWN) || vm_start_gap(next) >= last)
		return NULL;
	return next;
}

static unsigned long find_gap_topdown(struct mm_struct *mm, const struct vma_gap_request *want)
{
	struct vma_gap_request part = *want;
	const struct vm_area_struct *stack;
	unsigned long start, end, at;

	while (highest_gap(mm, &part, &start, &end)) {
		at = end - want->length;
		at -= (at - want->align_offset) & want->align_mask;
		stack = stack_in_the_way(mm, end, end);
		if (!stack)
			return at;
		part.high_limit = vm_start_gap(stack);
	}
	return -ENOMEM;
}

static unsigned long find_gap_bottomup(struct mm_struct *mm, const struct vma_gap_request *want)
{
	struct vma_gap_request part = *want;
	const struct vm_area_struct *stack;
	unsigned long start, end, at;

	while (lowest_gap(mm, &part, &start, &end)) {
		at = start + ((want->align_offset - start) & want->align_mask);
		stack = stack_in_the_way(mm, end, at + want->length);
		if (!stack)
			return at;
		part.low_limit = stack->vm_end;
	}
	return -ENOMEM;
}

unsigned long vma_find_gap(struct mm_struct *mm, const struct vma_gap_request *want)
{
	if (want->length + want->align_mask < want->length)
		return -ENOMEM;
	return want->topdown ? find_gap_topdown(mm, want) : find_gap_bottomup(mm, want);
}

/* One VMA by itself and against the one before it. */
static void check_one(struct mm_struct *mm, struct vm_area_struct *vma, unsigned long prev_end,
		      struct check_report *report)
{
	if (vma->vm_start >= vma->vm_end || offset_in_page(vma->vm_start | vma->vm_end))
		check_fail(report, "I2: mm %llu: VMA %lx-%lx is no page range",
			   (unsigned long long)mm->id, vma->vm_start, vma->vm_end);
	if (vma->vm_start < prev_end || vma->vm_end > mm->task_size)
		check_fail(report, "I2: mm %llu: VMA %lx-%lx overlaps what ends at %lx or the end",
			   (unsigned long long)mm->id, vma->vm_start, vma->vm_end, prev_end);
	if (vma->rb_subtree_gap != compute_subtree_gap(vma))
		check_fail(report, "I4: mm %llu: VMA %lx-%lx has subtree gap %lx, should be %lx",
			   (unsigned long long)mm->id, vma->vm_start, vma->vm_end,
			   vma->rb_subtree_gap, compute_subtree_gap(vma));
	if (vma->vm_mm != mm)
		check_fail(report, "I6: mm %llu: VMA %lx-%lx belongs to another mm",
			   (unsigned long long)mm->id, vma->vm_start, vma->vm_end);
	if (!arc_count(&vma->arc))
		check_fail(report, "I6: mm %llu: VMA %lx-%lx is dead",
			   (unsigned long long)mm->id, vma->vm_start, vma->vm_end);
}

static void check_sums(struct mm_struct *mm, const struct vma_sums *sum,
		       struct check_report *report)
{
	if (sum->total_vm != mm->total_vm || sum->data_vm != mm->data_vm ||
	    sum->exec_vm != mm->exec_vm || sum->stack_vm != mm->stack_vm)
		check_fail(report, "I5: mm %llu: total/data/exec/stack_vm are %lu/%lu/%lu/%lu, "
			   "the VMAs sum up to %lu/%lu/%lu/%lu", (unsigned long long)mm->id,
			   mm->total_vm, mm->data_vm, mm->exec_vm, mm->stack_vm,
			   sum->total_vm, sum->data_vm, sum->exec_vm, sum->stack_vm);
}

void mm_check(struct mm_struct *mm, struct check_report *report)
{
	struct rb_node *node = rb_first(&mm->vmas.tree);
	const char *wrong = rb_check(&mm->vmas.tree);
	struct vma_sums sum = { 0 };
	struct vm_area_struct *vma;
	unsigned long prev_end = 0, locked = 0;
	int count = 0;

	if (wrong)
		check_fail(report, "I4: mm %llu: %s", (unsigned long long)mm->id, wrong);
	for_each_vma_of(mm, vma) {
		if (!node || vma_of(node) != vma) {
			check_fail(report, "I1: mm %llu: list and tree differ at VMA %lx-%lx",
				   (unsigned long long)mm->id, vma->vm_start, vma->vm_end);
			return;
		}
		check_one(mm, vma, prev_end, report);
		vma_sums_add(&sum, vma->vm_flags, vma_pages(vma));
		locked += vma->vm_flags & VM_LOCKED ? vma_pages(vma) : 0;
		prev_end = vma->vm_end;
		node = rb_next(node);
		count++;
	}
	if (node)
		check_fail(report, "I1: mm %llu: the tree holds more than the list",
			   (unsigned long long)mm->id);
	if (count != mm->map_count)
		check_fail(report, "I3: mm %llu: map_count is %d, there are %d VMAs",
			   (unsigned long long)mm->id, mm->map_count, count);
	check_sums(mm, &sum, report);
	if (locked != mm->locked_vm)
		check_fail(report, "I5: mm %llu: locked_vm is %lu, %lu pages are VM_LOCKED",
			   (unsigned long long)mm->id, mm->locked_vm, locked);
}
