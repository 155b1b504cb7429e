/* SPDX-License-Identifier: MIT */
/*
 * Red-black trees.
 *
 * What it is: a binary tree kept nearly balanced by two colours.  Nodes live in the caller's
 * objects; a node holds its children and, in one word, its parent and its colour (bit 0: black).
 *
 * Invariants:
 *   I1  the root is black;
 *   I2  a red node has black children (NULL counts as black);
 *   I3  all paths from a node down to NULL hold the same number of black nodes;
 *   I4  a child's parent field names its parent.
 * rb_check() verifies them.
 *
 * Insertion puts a red node in and repairs I2 upwards; removal takes a node with at most one
 * child out (a node with two children first swaps places with its successor) and repairs I3
 * upwards.  Each repair loop climbs, so it ends; at most three rotations happen in all.
 *
 * Augmented trees: every rotation tells the callbacks.  The plain entry points pass callbacks that
 * do nothing, which costs an indirect call per rotation, and in exchange there is one code.
 *
 * Worst case: the height is at most 2 log2(n + 1); no recursion, no allocation.
 *
 * Unlike Linux: no lock-free readers during a rotation, no _rcu variants.
 */
#include <karc/base/rbtree.h>

#define RB_BLACK 1UL

static void no_propagate(struct rb_node *node, struct rb_node *stop)
{
	(void)node;
	(void)stop;
}

static void no_copy(struct rb_node *from, struct rb_node *to)
{
	(void)from;
	(void)to;
}

static const struct rb_augment_callbacks no_augment = { no_propagate, no_copy, no_copy };

static bool is_black(const struct rb_node *node)
{
	return !node || (node->__rb_parent_color & RB_BLACK);
}

static void set_black(struct rb_node *node)
{
	node->__rb_parent_color |= RB_BLACK;
}

static void set_red(struct rb_node *node)
{
	node->__rb_parent_color &= ~RB_BLACK;
}

static void set_parent(struct rb_node *node, struct rb_node *parent)
{
	node->__rb_parent_color = (unsigned long)parent | (node->__rb_parent_color & RB_BLACK);
}

static void copy_color(struct rb_node *to, const struct rb_node *from)
{
	to->__rb_parent_color = (to->__rb_parent_color & ~RB_BLACK) |
				(from->__rb_parent_color & RB_BLACK);
}

/* Makes @parent (NULL: the root) point at @to where it points at @from. */
static void replace_child(struct rb_root *root, struct rb_node *parent, struct rb_node *from,
			  struct rb_node *to)
{
	if (!parent)
		root->rb_node = to;
	else if (parent->rb_left == from)
		parent->rb_left = to;
	else
		parent->rb_right = to;
}

/* @node's child on the other side of @left comes up; @node goes down to side @left. */
static void rotate(struct rb_root *root, struct rb_node *node, bool left,
		   const struct rb_augment_callbacks *augment)
{
	struct rb_node *up = left ? node->rb_right : node->rb_left;
	struct rb_node *inner = left ? up->rb_left : up->rb_right;

	replace_child(root, rb_parent(node), node, up);
	set_parent(up, rb_parent(node));
	if (left) {
		up->rb_left = node;
		node->rb_right = inner;
	} else {
		up->rb_right = node;
		node->rb_left = inner;
	}
	set_parent(node, up);
	if (inner)
		set_parent(inner, node);
	augment->rotate(node, up);
}

/*
 * @node is red.  While its parent is red too: a red uncle lets the colours move up two levels;
 * otherwise one or two rotations end it.
 */
void rb_insert_augmented(struct rb_node *node, struct rb_root *root,
			 const struct rb_augment_callbacks *augment)
{
	struct rb_node *parent, *grandparent, *uncle;
	bool parent_is_left;

	set_red(node);
	while ((parent = rb_parent(node)) != NULL && !is_black(parent)) {
		/* A red parent is not the root (I1), so there is a grandparent. */
		grandparent = rb_parent(parent);
		parent_is_left = grandparent->rb_left == parent;
		uncle = parent_is_left ? grandparent->rb_right : grandparent->rb_left;
		if (!is_black(uncle)) {
			set_black(parent);
			set_black(uncle);
			set_red(grandparent);
			node = grandparent;
			continue;
		}
		if (node == (parent_is_left ? parent->rb_right : parent->rb_left)) {
			rotate(root, parent, parent_is_left, augment);
			parent = node;
		}
		set_black(parent);
		set_red(grandparent);
		rotate(root, grandparent, !parent_is_left, augment);
		break;
	}
	set_black(root->rb_node);
}

void rb_insert_color(struct rb_node *node, struct rb_root *root)
{
	rb_insert_augmented(node, root, &no_augment);
}

/*
 * The paths through @node (perhaps NULL), below @parent, lack one black.  A red node there
 * takes the colour; else a red nephew can be moved over, else the sibling gives one up as well
 * and the lack moves to the parent.
 */
static void repair_missing_black(struct rb_root *root, struct rb_node *node,
				 struct rb_node *parent,
				 const struct rb_augment_callbacks *augment)
{
	struct rb_node *sibling, *near, *far;
	bool left;

	while (parent && is_black(node)) {
		left = parent->rb_left == node;
		sibling = left ? parent->rb_right : parent->rb_left;
		if (!is_black(sibling)) {
			set_black(sibling);
			set_red(parent);
			rotate(root, parent, left, augment);
			sibling = left ? parent->rb_right : parent->rb_left;
		}
		near = left ? sibling->rb_left : sibling->rb_right;
		far = left ? sibling->rb_right : sibling->rb_left;
		if (is_black(near) && is_black(far)) {
			set_red(sibling);
			node = parent;
			parent = rb_parent(node);
			continue;
		}
		if (is_black(far)) {
			set_black(near);
			set_red(sibling);
			rotate(root, sibling, !left, augment);
			far = sibling;
			sibling = near;
		}
		copy_color(sibling, parent);
		set_black(parent);
		set_black(far);
		rotate(root, parent, left, augment);
		return;
	}
	if (node)
		set_black(node);
}

/* @victim has two children: @next, its successor, takes its place, colour and children. */
static void take_place_of(struct rb_root *root, struct rb_node *next, struct rb_node *victim)
{
	next->rb_left = victim->rb_left;
	set_parent(next->rb_left, next);
	if (victim->rb_right) {
		next->rb_right = victim->rb_right;
		set_parent(next->rb_right, next);
	} else {
		next->rb_right = NULL;
	}
	replace_child(root, rb_parent(victim), victim, next);
	next->__rb_parent_color = victim->__rb_parent_color;
}

void rb_erase_augmented(struct rb_node *node, struct rb_root *root,
			const struct rb_augment_callbacks *augment)
{
	struct rb_node *out = node, *child, *parent;
	struct rb_node saved;
	bool lost_black;

	if (node->rb_left && node->rb_right) {
		out = node->rb_right;
		while (out->rb_left)
			out = out->rb_left;
	}
	/* @out has at most one child, which moves up. */
	child = out->rb_left ? out->rb_left : out->rb_right;
	parent = rb_parent(out);
	lost_black = is_black(out);
	saved = *node;
	if (child)
		set_parent(child, parent);
	replace_child(root, parent, out, child);
	if (out != node) {
		take_place_of(root, out, node);
		augment->copy(node, out);
		if (parent == node)
			parent = out;
	}
	if (parent)
		augment->propagate(parent, NULL);
	/* That may have stopped below @out, whose value is still @node's. */
	if (out != node)
		augment->propagate(out, NULL);
	if (lost_black)
		repair_missing_black(root, child, parent, augment);
	*node = saved;
}

void rb_erase(struct rb_node *node, struct rb_root *root)
{
	rb_erase_augmented(node, root, &no_augment);
}

void rb_replace_node(struct rb_node *victim, struct rb_node *new_node, struct rb_root *root)
{
	*new_node = *victim;
	if (victim->rb_left)
		set_parent(victim->rb_left, new_node);
	if (victim->rb_right)
		set_parent(victim->rb_right, new_node);
	replace_child(root, rb_parent(victim), victim, new_node);
}

static struct rb_node *leftmost(struct rb_node *node)
{
	while (node && node->rb_left)
		node = node->rb_left;
	return node;
}

static struct rb_node *rightmost(struct rb_node *node)
{
	while (node && node->rb_right)
		node = node->rb_right;
	return node;
}

struct rb_node *rb_first(const struct rb_root *root)
{
	return leftmost(root->rb_node);
}

struct rb_node *rb_last(const struct rb_root *root)
{
	return rightmost(root->rb_node);
}

struct rb_node *rb_next(const struct rb_node *node)
{
	struct rb_node *parent;

	if (RB_EMPTY_NODE(node))
		return NULL;
	if (node->rb_right)
		return leftmost(node->rb_right);
	while ((parent = rb_parent(node)) != NULL && parent->rb_right == node)
		node = parent;
	return parent;
}

struct rb_node *rb_prev(const struct rb_node *node)
{
	struct rb_node *parent;

	if (RB_EMPTY_NODE(node))
		return NULL;
	if (node->rb_left)
		return rightmost(node->rb_left);
	while ((parent = rb_parent(node)) != NULL && parent->rb_left == node)
		node = parent;
	return parent;
}

/* The first node without children, going left where possible. */
static struct rb_node *deepest(struct rb_node *node)
{
	while (node->rb_left || node->rb_right)
		node = node->rb_left ? node->rb_left : node->rb_right;
	return node;
}

struct rb_node *rb_first_postorder(const struct rb_root *root)
{
	return root->rb_node ? deepest(root->rb_node) : NULL;
}

struct rb_node *rb_next_postorder(const struct rb_node *node)
{
	struct rb_node *parent;

	if (!node)
		return NULL;
	parent = rb_parent(node);
	if (parent && node == parent->rb_left && parent->rb_right)
		return deepest(parent->rb_right);
	return parent;
}

/* Blacks from @node up to the root; the same for every node that lacks a child (I3). */
static unsigned int blacks_above(const struct rb_node *node)
{
	unsigned int blacks = 0;

	for (; node; node = rb_parent(node))
		blacks += is_black(node);
	return blacks;
}

/* One node and the links to its children. */
static const char *check_node(const struct rb_node *node)
{
	if ((node->rb_left && rb_parent(node->rb_left) != node) ||
	    (node->rb_right && rb_parent(node->rb_right) != node))
		return "a child names another parent (I4)";
	if (!is_black(node) && (!is_black(node->rb_left) || !is_black(node->rb_right)))
		return "a red node has a red child (I2)";
	return NULL;
}

/* Parents before children, so that the walk uses only links that were checked: it ends. */
static const struct rb_node *next_preorder(const struct rb_node *node)
{
	const struct rb_node *parent;

	if (node->rb_left || node->rb_right)
		return node->rb_left ? node->rb_left : node->rb_right;
	while ((parent = rb_parent(node)) != NULL) {
		if (node == parent->rb_left && parent->rb_right)
			return parent->rb_right;
		node = parent;
	}
	return NULL;
}

const char *rb_check(const struct rb_root *root)
{
	const struct rb_node *node;
	unsigned int blacks = 0, here;
	const char *wrong;

	if (root->rb_node && rb_parent(root->rb_node))
		return "the root has a parent (I4)";
	if (!is_black(root->rb_node))
		return "the root is red (I1)";
	for (node = root->rb_node; node; node = next_preorder(node)) {
		wrong = check_node(node);
		if (wrong)
			return wrong;
		if (node->rb_left && node->rb_right)
			continue;
		here = blacks_above(node);
		if (blacks && here != blacks)
			return "paths with different numbers of black nodes (I3)";
		blacks = here;
	}
	return NULL;
}
