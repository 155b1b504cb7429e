/* SPDX-License-Identifier: MIT */
/*
 * ranges.c - which part of the vmalloc window is whose
 *
 * What it is
 *	The window is cut into areas and holes. Both are in trees by address; the tree of holes also
 *	knows the largest hole below each node, so that the lowest one that is large enough is found
 *	by going down once. What has never been needed lies above top and is in no tree.
 *
 * Objects
 *	struct kva -> areas, holes: struct vmap_area, which is an area in the one tree and a hole in
 *	the other. An area that is given back becomes the hole, or a part of its neighbours.
 *
 * Invariants
 *	I1 areas, holes and what lies above top are disjoint and together the whole window
 *	I2 no two holes touch, and none touches top
 *	I3 max_hole of a hole is the size of the largest hole in its subtree
 *	I4 nr_areas counts the areas that are busy
 *
 * Locking
 *	everything: kva->lock (LR_VMAP, interrupts off)
 *
 * Worst case
 *	O(log n). A request for a range of its own, or for an alignment that only a hole of exactly
 *	the right place can serve, looks at all holes when nothing else fits.
 *
 * Unlike Linux
 *	The rest above top spares the common case the tree.
 */
#include "internal.h"

#define range_of(n) rb_entry_safe(n, struct vmap_area, node)

/* What a descriptor is asked for: the caller's patience, none of its wishes about the memory. */
#define GFP_OF_DESCRIPTOR(gfp)	((gfp) & ~(gfp_t)(GFP_ZONEMASK | __GFP_ZERO | __GFP_ACCOUNT | \
						  __GFP_THISNODE | __GFP_COMP))

/* ---- holes ---- */

static unsigned long hole_bytes(const struct vmap_area *hole)
{
	return hole->va_end - hole->va_start;
}

static unsigned long max_below(const struct rb_node *n)
{
	return n ? rb_entry(n, struct vmap_area, node)->max_hole : 0;
}

static unsigned long hole_max(const struct vmap_area *hole)
{
	return max3(hole_bytes(hole), max_below(hole->node.rb_left),
		    max_below(hole->node.rb_right));
}

static void holes_propagate(struct rb_node *n, struct rb_node *stop)
{
	while (n != stop) {
		struct vmap_area *hole = rb_entry(n, struct vmap_area, node);
		unsigned long largest = hole_max(hole);

		if (hole->max_hole == largest)
			return;
		hole->max_hole = largest;
		n = rb_parent(n);
	}
}

static void holes_copy(struct rb_node *from, struct rb_node *to)
{
	rb_entry(to, struct vmap_area, node)->max_hole =
		rb_entry(from, struct vmap_area, node)->max_hole;
}

static void holes_rotate(struct rb_node *from, struct rb_node *to)
{
	struct vmap_area *lower = rb_entry(from, struct vmap_area, node);

	holes_copy(from, to);
	lower->max_hole = hole_max(lower);
}

static const struct rb_augment_callbacks holes_augment = {
	.propagate = holes_propagate,
	.copy = holes_copy,
	.rotate = holes_rotate,
};

static void hole_insert(struct kva *kva, struct vmap_area *hole)
{
	struct rb_node **link = &kva->holes.rb_node, *parent = NULL;
	unsigned long bytes = hole_bytes(hole);

	while (*link) {
		struct vmap_area *at = rb_entry(*link, struct vmap_area, node);

		parent = *link;
		at->max_hole = max(at->max_hole, bytes);
		link = hole->va_start < at->va_start ? &parent->rb_left : &parent->rb_right;
	}
	hole->max_hole = bytes;
	rb_link_node(&hole->node, parent, link);
	rb_insert_augmented(&hole->node, &kva->holes, &holes_augment);
}

/* Its ends have moved. */
static void hole_resized(struct vmap_area *hole)
{
	holes_propagate(&hole->node, NULL);
}

static void hole_erase(struct kva *kva, struct vmap_area *hole, struct list_head *unused)
{
	rb_erase_augmented(&hole->node, &kva->holes, &holes_augment);
	list_add(&hole->lazy, unused);
}

/* The lowest hole of @bytes, or NULL. */
static struct vmap_area *lowest_hole(const struct kva *kva, unsigned long bytes)
{
	struct rb_node *n = kva->holes.rb_node;

	if (max_below(n) < bytes)
		return NULL;
	for (;;) {
		if (max_below(n->rb_left) >= bytes)
			n = n->rb_left;
		else if (hole_bytes(range_of(n)) >= bytes)
			return range_of(n);
		else
			n = n->rb_right;
	}
}

/* Where in [@start, @end) the wanted range may lie, or 0. */
static unsigned long place_in(const struct range_want *want, unsigned long start,
			      unsigned long end)
{
	unsigned long low = max(start, want->low), at = ALIGN(low, want->align);

	end = min(end, want->high);
	return at >= low && at < end && end - at >= want->size ? at : 0;
}

/* The hole to take it from; NULL with *@at: above top; NULL without: nowhere. */
static struct vmap_area *find_place(const struct kva *kva, const struct range_want *want,
				    unsigned long *at)
{
	bool anywhere = want->low <= kva->start && want->high >= kva->end;
	struct vmap_area *hole = NULL;

	if (anywhere && want->size + want->align > want->size)
		hole = lowest_hole(kva, want->size + want->align - PAGE_SIZE);
	if (hole) {
		*at = place_in(want, hole->va_start, hole->va_end);
		return hole;
	}
	*at = place_in(want, kva->top, kva->end);
	if (*at || (anywhere && want->align == PAGE_SIZE))
		return NULL;
	for (hole = range_of(rb_first(&kva->holes)); hole;
	     hole = range_of(rb_next(&hole->node))) {
		*at = place_in(want, hole->va_start, hole->va_end);
		if (*at)
			return hole;
	}
	return NULL;
}

/* Take [@at, @end) out of @hole, or of what is above top. @extra may become a hole. */
static void cut_out(struct kva *kva, struct vmap_area *hole, unsigned long at, unsigned long end,
		    struct vmap_area **extra, struct list_head *unused)
{
	unsigned long rest_start = hole ? end : kva->top;
	unsigned long rest_end = hole ? hole->va_end : at;

	if (!hole) {
		kva->top = end;
	} else if (hole->va_start < at) {
		hole->va_end = at;
		hole_resized(hole);
	} else if (end < hole->va_end) {
		hole->va_start = end;
		hole_resized(hole);
		return;
	} else {
		hole_erase(kva, hole, unused);
		return;
	}
	if (rest_start == rest_end)
		return;
	BUG_ON(!*extra);		/* only an alignment or a limit leaves two rests */
	(*extra)->va_start = rest_start;
	(*extra)->va_end = rest_end;
	hole_insert(kva, *extra);
	*extra = NULL;
}

/* ---- areas ---- */

struct vmap_area *area_find(const struct kva *kva, unsigned long addr)
{
	struct rb_node *n = kva->areas.rb_node;

	while (n) {
		struct vmap_area *va = rb_entry(n, struct vmap_area, node);

		if (addr < va->va_start)
			n = n->rb_left;
		else if (addr >= va->va_end)
			n = n->rb_right;
		else
			return va;
	}
	return NULL;
}

static void area_insert(struct kva *kva, struct vmap_area *va)
{
	struct rb_node **link = &kva->areas.rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		if (va->va_start < rb_entry(parent, struct vmap_area, node)->va_start)
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&va->node, parent, link);
	rb_insert_color(&va->node, &kva->areas);
}

static void free_descriptors(struct kva *kva, struct list_head *unused)
{
	struct vmap_area *va, *next;

	list_for_each_entry_safe(va, next, unused, lazy)
		kmem_cache_free(kva->area_cache, va);
}

/*
 * range_alloc - an area in the tree that nobody finds yet (AREA_GOING)
 * Errors: NULL: no descriptor, or no room.
 */
struct vmap_area *range_alloc(struct kva *kva, const struct range_want *want, gfp_t gfp)
{
	bool may_split = want->align > PAGE_SIZE || want->low > kva->start;
	struct vmap_area *va, *hole, *extra = NULL;
	unsigned long irqs, at;
	LIST_HEAD(unused);

	va = kmem_cache_alloc(kva->area_cache, GFP_OF_DESCRIPTOR(gfp));
	if (!va)
		return NULL;
	if (may_split) {
		extra = kmem_cache_alloc(kva->area_cache, GFP_OF_DESCRIPTOR(gfp));
		if (!extra) {
			kmem_cache_free(kva->area_cache, va);
			return NULL;
		}
	}
	*va = (struct vmap_area) { .state = AREA_GOING, .nid = NUMA_NO_NODE };
	spin_lock_irqsave(&kva->lock, irqs);
	hole = find_place(kva, want, &at);
	if (at) {
		cut_out(kva, hole, at, at + want->size, &extra, &unused);
		va->va_start = at;
		va->va_end = at + want->size;
		area_insert(kva, va);
	}
	spin_unlock_irqrestore(&kva->lock, irqs);
	if (!at)
		list_add(&va->lazy, &unused);
	if (extra)
		list_add(&extra->lazy, &unused);
	free_descriptors(kva, &unused);
	return at ? va : NULL;
}

/* The hole that begins at or below @addr; *@after is the next one. */
static struct vmap_area *hole_before(const struct kva *kva, unsigned long addr,
				     struct vmap_area **after)
{
	struct rb_node *n = kva->holes.rb_node;
	struct vmap_area *before = NULL;

	*after = NULL;
	while (n) {
		if (range_of(n)->va_start > addr) {
			*after = range_of(n);
			n = n->rb_left;
		} else {
			before = range_of(n);
			n = n->rb_right;
		}
	}
	return before;
}

static void give_back(struct kva *kva, struct vmap_area *va, struct list_head *unused)
{
	struct vmap_area *after, *before = hole_before(kva, va->va_start, &after);

	if (before && before->va_end != va->va_start)
		before = NULL;
	if (va->va_end == kva->top) {
		kva->top = before ? before->va_start : va->va_start;
		if (before)
			hole_erase(kva, before, unused);
		list_add(&va->lazy, unused);
		return;
	}
	if (after && after->va_start == va->va_end) {
		va->va_end = after->va_end;
		hole_erase(kva, after, unused);
	}
	if (before) {
		before->va_end = va->va_end;
		hole_resized(before);
		list_add(&va->lazy, unused);
	} else {
		hole_insert(kva, va);
	}
}

/* Areas on a list (of ->lazy), nothing mapped in any, become holes. */
void ranges_free(struct kva *kva, struct list_head *areas)
{
	struct vmap_area *va, *next;
	unsigned long irqs;
	LIST_HEAD(unused);

	spin_lock_irqsave(&kva->lock, irqs);
	list_for_each_entry_safe(va, next, areas, lazy) {
		list_del(&va->lazy);
		rb_erase(&va->node, &kva->areas);
		give_back(kva, va, &unused);
	}
	spin_unlock_irqrestore(&kva->lock, irqs);
	free_descriptors(kva, &unused);
}

/* ---- check ---- */

/* Areas and holes in order of address, from the first. */
static void check_order(const struct kva *kva, struct check_report *report)
{
	struct vmap_area *area = range_of(rb_first(&kva->areas));
	struct vmap_area *hole = range_of(rb_first(&kva->holes));
	unsigned long at = kva->start, nr = 0;
	bool after_hole = false;

	while (area || hole) {
		bool is_hole = !area || (hole && hole->va_start < area->va_start);
		struct vmap_area *r = is_hole ? hole : area;

		if (r->va_start != at || r->va_end <= r->va_start || r->va_end > kva->end ||
		    offset_in_page(r->va_start | r->va_end))
			check_fail(report, "V1: %s %lu overlaps or is out of place",
				   is_hole ? "hole" : "area", nr);
		if (is_hole && after_hole)
			check_fail(report, "V2: two holes touch at range %lu", nr);
		after_hole = is_hole;
		at = r->va_end;
		nr++;
		if (is_hole)
			hole = range_of(rb_next(&hole->node));
		else
			area = range_of(rb_next(&area->node));
	}
	if (at != kva->top)
		check_fail(report, "V1: the ranges end %ld bytes before top",
			   (long)(kva->top - at));
	if (after_hole)
		check_fail(report, "V2: a hole touches top");
}

void ranges_check(struct kva *kva, struct check_report *report)
{
	struct vmap_area *r;
	unsigned long busy = 0;

	check_order(kva, report);
	for (r = range_of(rb_first(&kva->holes)); r; r = range_of(rb_next(&r->node))) {
		if (r->max_hole != hole_max(r))
			check_fail(report, "V3: a hole says %lu bytes, below it are %lu",
				   r->max_hole, hole_max(r));
	}
	for (r = range_of(rb_first(&kva->areas)); r; r = range_of(rb_next(&r->node)))
		busy += r->state == AREA_BUSY;
	if (busy != kva->nr_areas)
		check_fail(report, "V4: %lu areas, %lu counted", busy, kva->nr_areas);
	if (rb_check(&kva->areas) || rb_check(&kva->holes))
		check_fail(report, "V1: a tree is out of balance");
}
