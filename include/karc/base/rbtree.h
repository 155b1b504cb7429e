/* SPDX-License-Identifier: MIT */
/*
 * Red-black trees with the nodes inside the caller's objects, under Linux's names.
 *
 * The tree knows no keys: the caller walks to the place, links the node there with
 * rb_link_node() and calls rb_insert_color() to rebalance; rb_add(), rb_find() and friends do
 * the walk with a comparison function.  Nothing allocates, nothing recurses, nothing is locked.
 */
#ifndef KARC_BASE_RBTREE_H
#define KARC_BASE_RBTREE_H

#include <karc/base/types.h>

struct rb_node {
	unsigned long __rb_parent_color;	/* parent | colour, which is bit 0 */
	struct rb_node *rb_right;
	struct rb_node *rb_left;
} __aligned(sizeof(long));

struct rb_root {
	struct rb_node *rb_node;
};

/* A root that remembers its leftmost node. */
struct rb_root_cached {
	struct rb_root rb_root;
	struct rb_node *rb_leftmost;
};

#define RB_ROOT (struct rb_root) { NULL, }
#define RB_ROOT_CACHED (struct rb_root_cached) { { NULL, }, NULL }

#define rb_parent(r) ((struct rb_node *)((r)->__rb_parent_color & ~3UL))
#define rb_entry(ptr, type, member) container_of(ptr, type, member)
#define rb_entry_safe(ptr, type, member) (__extension__ ({			\
	__typeof__(ptr) karc_rb_ = (ptr);					\
	karc_rb_ ? rb_entry(karc_rb_, type, member) : NULL; }))

#define RB_EMPTY_ROOT(root) (READ_ONCE((root)->rb_node) == NULL)
/* A node that is in no tree is its own parent. */
#define RB_EMPTY_NODE(node) ((node)->__rb_parent_color == (unsigned long)(node))
#define RB_CLEAR_NODE(node) ((node)->__rb_parent_color = (unsigned long)(node))

/* Rebalances after rb_link_node() has put @node in. */
void rb_insert_color(struct rb_node *node, struct rb_root *root);
/* Takes @node, which is in @root, out of it.  Its own fields stay as they are. */
void rb_erase(struct rb_node *node, struct rb_root *root);
/* Puts @new_node where @victim is, without rebalancing; their keys must compare the same. */
void rb_replace_node(struct rb_node *victim, struct rb_node *new_node, struct rb_root *root);

/*
 * Augmented trees: each node carries a value computed from its subtree (a maximum, a sum).
 * @propagate recomputes from @node up to, and not including, @stop; it may stop early when a
 * value does not change.  @copy gives @to the value of @from, which is about to leave.
 * @rotate is called after @to has taken @from's place above it: @to takes @from's value, @from's
 * is recomputed.  Before rb_insert_augmented() the caller has brought the path up to date.
 */
struct rb_augment_callbacks {
	void (*propagate)(struct rb_node *node, struct rb_node *stop);
	void (*copy)(struct rb_node *from, struct rb_node *to);
	void (*rotate)(struct rb_node *from, struct rb_node *to);
};

void rb_insert_augmented(struct rb_node *node, struct rb_root *root,
			 const struct rb_augment_callbacks *augment);
void rb_erase_augmented(struct rb_node *node, struct rb_root *root,
			const struct rb_augment_callbacks *augment);

/* In order; NULL at the end. */
struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *node);
struct rb_node *rb_prev(const struct rb_node *node);

/* Children before parents, for taking a tree apart. */
struct rb_node *rb_first_postorder(const struct rb_root *root);
struct rb_node *rb_next_postorder(const struct rb_node *node);

/**
 * rb_check - verify the invariants of a tree
 *
 * Returns NULL, or a sentence about the first violation found.  Only reads; O(n).
 */
const char *rb_check(const struct rb_root *root);

static inline void rb_link_node(struct rb_node *node, struct rb_node *parent,
				struct rb_node **link)
{
	node->__rb_parent_color = (unsigned long)parent;
	node->rb_left = NULL;
	node->rb_right = NULL;
	*link = node;
}

#define rb_first_cached(root) ((root)->rb_leftmost)

static inline void rb_insert_color_cached(struct rb_node *node, struct rb_root_cached *root,
					  bool leftmost)
{
	if (leftmost)
		root->rb_leftmost = node;
	rb_insert_color(node, &root->rb_root);
}

static inline struct rb_node *rb_erase_cached(struct rb_node *node, struct rb_root_cached *root)
{
	struct rb_node *leftmost = NULL;

	if (root->rb_leftmost == node)
		leftmost = root->rb_leftmost = rb_next(node);
	rb_erase(node, &root->rb_root);
	return leftmost;
}

static inline void rb_replace_node_cached(struct rb_node *victim, struct rb_node *new_node,
					  struct rb_root_cached *root)
{
	if (root->rb_leftmost == victim)
		root->rb_leftmost = new_node;
	rb_replace_node(victim, new_node, &root->rb_root);
}

/* Insert by @less; equal nodes go after those that are there. */
static inline void rb_add(struct rb_node *node, struct rb_root *tree,
			  bool (*less)(struct rb_node *a, const struct rb_node *b))
{
	struct rb_node **link = &tree->rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = less(node, parent) ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(node, parent, link);
	rb_insert_color(node, tree);
}

/* Returns @node when it is the new leftmost, else NULL. */
static inline struct rb_node *rb_add_cached(struct rb_node *node, struct rb_root_cached *tree,
					    bool (*less)(struct rb_node *a,
							 const struct rb_node *b))
{
	struct rb_node **link = &tree->rb_root.rb_node, *parent = NULL;
	bool leftmost = true;

	while (*link) {
		parent = *link;
		if (less(node, parent)) {
			link = &parent->rb_left;
		} else {
			link = &parent->rb_right;
			leftmost = false;
		}
	}
	rb_link_node(node, parent, link);
	rb_insert_color_cached(node, tree, leftmost);
	return leftmost ? node : NULL;
}

/* The node that compares equal to @node, or NULL after @node was inserted. */
static inline struct rb_node *rb_find_add(struct rb_node *node, struct rb_root *tree,
					  int (*cmp)(struct rb_node *a, const struct rb_node *b))
{
	struct rb_node **link = &tree->rb_node, *parent = NULL;
	int order;

	while (*link) {
		parent = *link;
		order = cmp(node, parent);
		if (!order)
			return parent;
		link = order < 0 ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(node, parent, link);
	rb_insert_color(node, tree);
	return NULL;
}

/* Any node that compares equal to @key, or NULL. */
static inline struct rb_node *rb_find(const void *key, const struct rb_root *tree,
				      int (*cmp)(const void *key, const struct rb_node *node))
{
	struct rb_node *node = tree->rb_node;

	while (node) {
		int order = cmp(key, node);

		if (!order)
			return node;
		node = order < 0 ? node->rb_left : node->rb_right;
	}
	return NULL;
}

/* The first, in order, of the nodes that compare equal to @key, or NULL. */
static inline struct rb_node *rb_find_first(const void *key, const struct rb_root *tree,
					    int (*cmp)(const void *key,
						       const struct rb_node *node))
{
	struct rb_node *node = tree->rb_node, *match = NULL;

	while (node) {
		int order = cmp(key, node);

		if (order <= 0) {
			if (!order)
				match = node;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return match;
}

static inline struct rb_node *rb_next_match(const void *key, struct rb_node *node,
					    int (*cmp)(const void *key,
						       const struct rb_node *node))
{
	node = rb_next(node);
	return node && !cmp(key, node) ? node : NULL;
}

#define rb_for_each(node, key, tree, cmp) \
	for ((node) = rb_find_first((key), (tree), (cmp)); (node); \
	     (node) = rb_next_match((key), (node), (cmp)))

#define rbtree_postorder_for_each_entry_safe(pos, n, root, field)		\
	for ((pos) = rb_entry_safe(rb_first_postorder(root), __typeof__(*(pos)), field); \
	     (pos) && ((n) = rb_entry_safe(rb_next_postorder(&(pos)->field),	\
					   __typeof__(*(pos)), field), 1);	\
	     (pos) = (n))

#endif
