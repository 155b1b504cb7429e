/* SPDX-License-Identifier: MIT */
/*
 * An index -> pointer map.
 *
 * What it is: a radix tree.  A node has 64 slots; six bits of the index choose one at each level.
 * The tree is as high as its largest index needs, at most 11 levels, and grows at the top.
 *
 * Objects:	xarray -> top (shift 6)  [0] -> leaf (shift 0)  [5] -> entry of index 5
 *					 [1] -> leaf            [0] -> entry of index 64
 * The array owns its nodes and not what the entries point at.
 *
 * Invariants:
 *   I1  the slots of a node with shift 0 are entries, of all others nodes or NULL;
 *   I2  count is the number of slots that are not NULL, and not 0: an empty node is freed;
 *   I3  child->parent and child->offset name the slot that holds it;
 *   I4  child->shift is its parent's less six;
 *   I5  bit i of marks[m] in an inner node is set exactly when marks[m] of child i is not 0; in a
 *       leaf it belongs to entry i, and is clear for an empty or reserved slot.
 *   I6  the top has something beyond slot 0, unless it is a leaf: the tree is no higher than it
 *       must be.
 *
 * A reservation is the entry RESERVED: it takes a slot (so its path exists) and reads as NULL.
 *
 * Locking: none; the owner serialises.
 *
 * Life: nodes appear on the way down of a store, all of them before anything changes that a reader
 * would see; what a failed store added is removed again.  They go when their last slot empties.
 *
 * Worst case: 11 levels; a store allocates at most 11 + 10 nodes (growing, then descending).
 *
 * Unlike Linux: a single entry at index 0 costs a node (Linux keeps it in the head); no
 * multi-index entries; no lock and no lock-free readers; xa_alloc() needs no flag at init.
 */
#include <karc/base/xarray.h>

#include <karc/base/bug.h>
#include <karc/base/hostmem.h>
#include <karc/base/math.h>

/* Not a pointer, not a value, not an error. */
#define RESERVED ((void *)6UL)

static struct xa_node *node_alloc(struct xarray *xa, gfp_t gfp, unsigned int shift)
{
	struct xa_node *node = xa->ops ? xa->ops->alloc(xa->ops_arg, gfp) :
			       hostmem_alloc(NULL, sizeof(*node));

	if (!node)
		return NULL;
	*node = (struct xa_node) { .shift = shift };
	return node;
}

static void node_free(struct xarray *xa, struct xa_node *node)
{
	if (xa->ops)
		xa->ops->free(xa->ops_arg, node);
	else
		hostmem_free(NULL, node);
}

/* The largest index below a node of this shift, for a top. */
static unsigned long max_index(const struct xa_node *node)
{
	unsigned int bits = node->shift + XA_CHUNK_SHIFT;

	return bits >= BITS_PER_LONG ? ULONG_MAX : (1UL << bits) - 1;
}

static unsigned int slot_of(const struct xa_node *node, unsigned long index)
{
	return (index >> node->shift) & XA_CHUNK_MASK;
}

static void *visible(void *entry)
{
	return entry == RESERVED ? NULL : entry;
}

/* The leaf that has a slot for @index, or NULL. */
static struct xa_node *find_leaf(const struct xarray *xa, unsigned long index)
{
	struct xa_node *node = xa->top;

	if (!node || index > max_index(node))
		return NULL;
	while (node && node->shift)
		node = node->slots[slot_of(node, index)];
	return node;
}

void *xa_load(struct xarray *xa, unsigned long index)
{
	struct xa_node *leaf = find_leaf(xa, index);

	return leaf ? visible(leaf->slots[slot_of(leaf, index)]) : NULL;
}

static void link_child(struct xa_node *parent, unsigned int offset, struct xa_node *child)
{
	parent->slots[offset] = child;
	parent->count++;
	child->parent = parent;
	child->offset = offset;
}

/* Keeps I5 above @node after a bit of its marks[@mark] was set or cleared. */
static void propagate_mark(struct xa_node *node, unsigned int mark)
{
	struct xa_node *parent;
	u64 old;

	for (; (parent = node->parent) != NULL; node = parent) {
		old = parent->marks[mark];
		if (node->marks[mark])
			parent->marks[mark] |= BIT_ULL(node->offset);
		else
			parent->marks[mark] &= ~BIT_ULL(node->offset);
		if (parent->marks[mark] == old)
			return;
	}
}

/* Frees @node and its ancestors as far as they are empty. */
static void free_empty(struct xarray *xa, struct xa_node *node)
{
	struct xa_node *parent;

	for (; node && node->count == 0; node = parent) {
		parent = node->parent;
		if (parent) {
			parent->slots[node->offset] = NULL;
			parent->count--;
		} else {
			xa->top = NULL;
		}
		node_free(xa, node);
	}
}

/* Removes tops that have only slot 0 (I6). */
static void shrink_top(struct xarray *xa)
{
	struct xa_node *top, *below;

	while ((top = xa->top) != NULL && top->shift && top->count == 1 && top->slots[0]) {
		below = top->slots[0];
		below->parent = NULL;
		below->offset = 0;
		xa->top = below;
		node_free(xa, top);
	}
}

/* Adds tops until @index fits; on failure what was added goes again. */
static bool grow_top(struct xarray *xa, unsigned long index, gfp_t gfp)
{
	struct xa_node *top;
	unsigned int m;

	if (!xa->top) {
		top = node_alloc(xa, gfp, index ? ilog2(index) / XA_CHUNK_SHIFT *
				 XA_CHUNK_SHIFT : 0);
		xa->top = top;
		return top != NULL;
	}
	while (index > max_index(xa->top)) {
		top = node_alloc(xa, gfp, xa->top->shift + XA_CHUNK_SHIFT);
		if (!top) {
			shrink_top(xa);
			return false;
		}
		link_child(top, 0, xa->top);
		for (m = 0; m < XA_MAX_MARKS; m++)
			top->marks[m] = xa->top->marks[m] ? 1 : 0;
		xa->top = top;
	}
	return true;
}

/* The leaf for @index, made with all nodes above it when missing; NULL: no memory. */
static struct xa_node *make_leaf(struct xarray *xa, unsigned long index, gfp_t gfp)
{
	struct xa_node *node, *child;

	if (!grow_top(xa, index, gfp))
		return NULL;
	node = xa->top;
	while (node->shift) {
		child = node->slots[slot_of(node, index)];
		if (!child) {
			child = node_alloc(xa, gfp, node->shift - XA_CHUNK_SHIFT);
			if (!child)
				goto undo;
			link_child(node, slot_of(node, index), child);
		}
		node = child;
	}
	return node;
undo:
	free_empty(xa, node);
	shrink_top(xa);
	return NULL;
}

static void clear_slot_marks(struct xa_node *leaf, unsigned int slot)
{
	unsigned int m;

	for (m = 0; m < XA_MAX_MARKS; m++) {
		if (leaf->marks[m] & BIT_ULL(slot)) {
			leaf->marks[m] &= ~BIT_ULL(slot);
			propagate_mark(leaf, m);
		}
	}
}

/* Empties the slot of @index; returns what was there, a reservation included. */
static void *remove_raw(struct xarray *xa, unsigned long index)
{
	struct xa_node *leaf = find_leaf(xa, index);
	unsigned int slot;
	void *old;

	if (!leaf)
		return NULL;
	slot = slot_of(leaf, index);
	old = leaf->slots[slot];
	if (!old)
		return NULL;
	clear_slot_marks(leaf, slot);
	leaf->slots[slot] = NULL;
	leaf->count--;
	free_empty(xa, leaf);
	shrink_top(xa);
	return old;
}

/* Fills the slot of @index with @entry, not NULL; returns what was there or an error. */
static void *store_raw(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	struct xa_node *leaf = make_leaf(xa, index, gfp);
	unsigned int slot;
	void *old;

	if (!leaf)
		return karc_xa_mk_err(-ENOMEM);
	slot = slot_of(leaf, index);
	old = leaf->slots[slot];
	leaf->slots[slot] = entry;
	if (!old)
		leaf->count++;
	return old;
}

/* The raw content of a slot: a reservation shows. */
static void *load_raw(const struct xarray *xa, unsigned long index)
{
	struct xa_node *leaf = find_leaf(xa, index);

	return leaf ? leaf->slots[slot_of(leaf, index)] : NULL;
}

static bool is_storable(void *entry)
{
	return xa_is_value(entry) || ((unsigned long)entry & 3) == 0;
}

void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	BUG_ON(!is_storable(entry));
	return visible(entry ? store_raw(xa, index, entry, gfp) : remove_raw(xa, index));
}

void *xa_erase(struct xarray *xa, unsigned long index)
{
	return visible(remove_raw(xa, index));
}

int xa_insert(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	BUG_ON(!is_storable(entry));
	if (load_raw(xa, index))
		return -EBUSY;
	return xa_err(store_raw(xa, index, entry ? entry : RESERVED, gfp));
}

void *xa_cmpxchg(struct xarray *xa, unsigned long index, void *old, void *entry, gfp_t gfp)
{
	void *found = xa_load(xa, index);

	return found == old ? xa_store(xa, index, entry, gfp) : found;
}

int xa_reserve(struct xarray *xa, unsigned long index, gfp_t gfp)
{
	if (load_raw(xa, index))
		return 0;
	return xa_err(store_raw(xa, index, RESERVED, gfp));
}

void xa_release(struct xarray *xa, unsigned long index)
{
	if (load_raw(xa, index) == RESERVED)
		remove_raw(xa, index);
}

/* Whether slot @i passes @filter, whatever lies in it or below it. */
static bool slot_passes(const struct xa_node *node, unsigned int i, xa_mark_t filter)
{
	if (filter < XA_MAX_MARKS)
		return node->marks[filter] & BIT_ULL(i);
	return node->slots[i] && node->slots[i] != RESERVED;
}

/* The first slot from @from on that passes, or XA_CHUNK_SIZE. */
static unsigned int next_slot(const struct xa_node *node, unsigned int from, xa_mark_t filter)
{
	while (from < XA_CHUNK_SIZE && !slot_passes(node, from, filter))
		from++;
	return from;
}

/*
 * Walks down to *@index; where the way ends, goes on with the next slot that passes, up
 * when a node has none left.  A slot that passes may hold only reservations, so the walk may climb
 * again; each step moves on in index order, so it ends.
 */
void *xa_find(struct xarray *xa, unsigned long *index, unsigned long max, xa_mark_t filter)
{
	struct xa_node *node = xa->top;
	unsigned long at = *index;
	unsigned int i;

	if (!node || at > max || at > max_index(node))
		return NULL;
	i = slot_of(node, at);
	for (;;) {
		unsigned int next = next_slot(node, i, filter);

		if (next == XA_CHUNK_SIZE) {
			if (!node->parent)
				return NULL;
			i = node->offset + 1;
			node = node->parent;
			continue;
		}
		/* The index's lower bits start from 0 in a slot that the walk moved on to. */
		if (next != slot_of(node, at)) {
			at = at >> node->shift >> XA_CHUNK_SHIFT;
			at = ((at << XA_CHUNK_SHIFT) | next) << node->shift;
		}
		if (at > max)
			return NULL;
		if (!node->shift) {
			*index = at;
			return node->slots[next];
		}
		node = node->slots[next];
		i = slot_of(node, at);
	}
}

void *xa_find_after(struct xarray *xa, unsigned long *index, unsigned long max,
		    xa_mark_t filter)
{
	unsigned long after = *index + 1;
	void *entry;

	if (after == 0)
		return NULL;
	entry = xa_find(xa, &after, max, filter);
	if (entry)
		*index = after;
	return entry;
}

unsigned int xa_extract(struct xarray *xa, void **dst, unsigned long start, unsigned long max,
			unsigned int n, xa_mark_t filter)
{
	unsigned long index = start;
	unsigned int found = 0;
	void *entry;

	if (!n)
		return 0;
	for (entry = xa_find(xa, &index, max, filter); entry;
	     entry = xa_find_after(xa, &index, max, filter)) {
		dst[found++] = entry;
		if (found == n)
			break;
	}
	return found;
}

/* The lowest index at @from .. @max with an empty slot; false when all are taken. */
static bool find_free(const struct xarray *xa, u32 from, u32 max, u32 *id)
{
	unsigned long index = from;
	struct xa_node *leaf;
	unsigned int i;

	while (index <= max) {
		leaf = find_leaf(xa, index);
		if (!leaf) {
			*id = index;
			return true;
		}
		for (i = slot_of(leaf, index); i < XA_CHUNK_SIZE && index <= max; i++, index++) {
			if (!leaf->slots[i]) {
				*id = index;
				return true;
			}
		}
	}
	return false;
}

int xa_alloc(struct xarray *xa, u32 *id, void *entry, struct xa_limit limit, gfp_t gfp)
{
	u32 free_id;
	int err;

	BUG_ON(!is_storable(entry));
	if (!find_free(xa, limit.min, limit.max, &free_id))
		return -EBUSY;
	err = xa_err(store_raw(xa, free_id, entry ? entry : RESERVED, gfp));
	if (err)
		return err;
	*id = free_id;
	return 0;
}

int xa_alloc_cyclic(struct xarray *xa, u32 *id, void *entry, struct xa_limit limit, u32 *next,
		    gfp_t gfp)
{
	u32 start = max(*next, limit.min);
	int err, wrapped = 0;

	err = xa_alloc(xa, id, entry, XA_LIMIT(start, limit.max), gfp);
	if (err == -EBUSY && start > limit.min) {
		wrapped = 1;
		err = xa_alloc(xa, id, entry, XA_LIMIT(limit.min, min(start - 1, limit.max)),
			       gfp);
	}
	if (err)
		return err;
	*next = *id + 1;
	return wrapped;
}

bool xa_get_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	struct xa_node *leaf = find_leaf(xa, index);

	return leaf && (leaf->marks[mark] & BIT_ULL(slot_of(leaf, index)));
}

/* Does nothing where no entry is. */
void xa_set_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	struct xa_node *leaf = find_leaf(xa, index);

	if (!leaf || !visible(leaf->slots[slot_of(leaf, index)]))
		return;
	leaf->marks[mark] |= BIT_ULL(slot_of(leaf, index));
	propagate_mark(leaf, mark);
}

void xa_clear_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	struct xa_node *leaf = find_leaf(xa, index);

	if (!leaf)
		return;
	leaf->marks[mark] &= ~BIT_ULL(slot_of(leaf, index));
	propagate_mark(leaf, mark);
}

bool xa_marked(const struct xarray *xa, xa_mark_t mark)
{
	return xa->top && xa->top->marks[mark];
}

/* The node after @node in an order that visits children before their parent; NULL at the end. */
static struct xa_node *descend(struct xa_node *node)
{
	unsigned int i;

	while (node->shift) {
		for (i = 0; i < XA_CHUNK_SIZE && !node->slots[i]; i++)
			;
		if (i == XA_CHUNK_SIZE)
			break;
		node = node->slots[i];
	}
	return node;
}

void xa_destroy(struct xarray *xa)
{
	struct xa_node *node, *parent;

	while (xa->top) {
		node = descend(xa->top);
		parent = node->parent;
		if (parent)
			parent->slots[node->offset] = NULL;
		else
			xa->top = NULL;
		node_free(xa, node);
	}
}

/* One node against I1 .. I5; @leaf_mask is the marks an entry may have here. */
static const char *check_node(const struct xa_node *node)
{
	unsigned int i, m, count = 0;
	const struct xa_node *child;

	for (i = 0; i < XA_CHUNK_SIZE; i++) {
		count += node->slots[i] != NULL;
		for (m = 0; m < XA_MAX_MARKS; m++) {
			bool marked = node->marks[m] & BIT_ULL(i);

			child = node->shift ? node->slots[i] : NULL;
			if (marked && !visible(node->slots[i]))
				return "a mark on an empty slot (I5)";
			if (child && marked != (child->marks[m] != 0))
				return "a mark differs from those below it (I5)";
		}
		child = node->shift ? node->slots[i] : NULL;
		if (child && (child->parent != node || child->offset != i))
			return "a child names another slot (I3)";
		if (child && child->shift != node->shift - XA_CHUNK_SHIFT)
			return "a child of the wrong height (I4)";
	}
	if (count != node->count || !count)
		return "a count that differs from the slots in use (I2)";
	return NULL;
}

const char *xa_check(const struct xarray *xa)
{
	const struct xa_node *node = xa->top;
	const char *wrong;
	unsigned int i = 0;

	if (!node)
		return NULL;
	if (node->parent)
		return "the top has a parent (I3)";
	if (node->shift && node->count == 1 && node->slots[0])
		return "a top with nothing beyond slot 0 (I6)";
	wrong = check_node(node);
	/* Depth first: @i is the next slot of @node to go into. */
	while (node && !wrong) {
		if (!node->shift || i == XA_CHUNK_SIZE) {
			i = node->offset + 1;
			node = node->parent;
		} else if (node->slots[i]) {
			node = node->slots[i];
			i = 0;
			wrong = check_node(node);
		} else {
			i++;
		}
	}
	return wrong;
}
