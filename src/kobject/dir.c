/* SPDX-License-Identifier: MIT */
/*
 * dir.c - the tree of directories: names unique below each parent
 *
 * What it is
 *	Each object in the tree has a directory: a node in its parent's ordered tree of names. The
 *	nodes hold nothing; an object takes its node out before it dies.
 *
 * Objects
 *	kobject ==owns==> kernfs_node ~~lists by name~~> nodes of the children
 *
 * Invariants
 *	I1  a reachable node's kobject has this node as its sd, and state_in_sysfs
 *	I2  siblings are in strict order of name
 *	I3  no more than nr_dirs nodes are reachable
 *
 * Life
 *	A directory may be removed before what is in it (kset_unregister before the members): its
 *	node then lingers, nameless and unreachable, until its last child is removed.
 *
 * Locking
 *	every tree, nr_dirs, kobj->sd, node->*     tree_mutex; it sleeps, so kobject_add and
 *	                                           kobject_del may
 *	kobj->name of an object in the tree        written under tree_mutex and, in a kset, its
 *	                                           list_lock; read under either
 *
 * Worst case
 *	Logarithmic in the number of siblings. A removed directory keeps its node, 48 bytes, until
 *	the last directory in it is removed.
 *
 * Unlike Linux
 *	Directories only: attributes, links and the file system come with the sysfs issue.
 */
#include <karc/base/err.h>
#include <karc/mm/slab/kmalloc.h>
#include <string.h>
#include "internal.h"

static struct rb_root *dir_children(struct kobject_state *state, struct kernfs_node *parent)
{
	return parent ? &parent->children : &state->root;
}

/* The place for @name below @children, or NULL when it is taken. */
static struct rb_node **dir_slot(struct rb_root *children, const char *name,
				 struct rb_node **parent)
{
	struct rb_node **link = &children->rb_node;

	*parent = NULL;
	while (*link) {
		struct kernfs_node *node = rb_entry(*link, struct kernfs_node, rb);
		int order = strcmp(name, node->kobj->name);

		if (order == 0)
			return NULL;
		*parent = *link;
		link = order < 0 ? &(*link)->rb_left : &(*link)->rb_right;
	}
	return link;
}

static bool dir_insert(struct rb_root *children, struct kernfs_node *node, const char *name)
{
	struct rb_node *above;
	struct rb_node **slot = dir_slot(children, name, &above);

	if (!slot)
		return false;
	rb_link_node(&node->rb, above, slot);
	rb_insert_color(&node->rb, children);
	return true;
}

/* Under the parent's directory, which another CPU may be removing: tree_mutex held. */
static int dir_add_locked(struct kobject_state *state, struct kobject *kobj,
			  struct kernfs_node *node)
{
	node->kobj = kobj;
	node->parent = kobj->parent ? kobj->parent->sd : NULL;
	if (kobj->parent && !node->parent)
		return -ENOENT;
	if (!dir_insert(dir_children(state, node->parent), node, kobj->name))
		return -EEXIST;
	kobj->sd = node;
	state->nr_dirs++;
	return 0;
}

int dir_add(struct kobject *kobj)
{
	struct kobject_state *state = kobject_state();
	struct kernfs_node *node = kzalloc(sizeof(*node), GFP_KERNEL);
	int err;

	if (!node)
		return -ENOMEM;
	mutex_lock(&state->tree_mutex);
	err = dir_add_locked(state, kobj, node);
	mutex_unlock(&state->tree_mutex);
	if (err)
		kfree(node);
	return err;
}

void dir_remove(struct kobject *kobj)
{
	struct kobject_state *state = kobject_state();
	struct kernfs_node *node, *parent;

	mutex_lock(&state->tree_mutex);
	node = kobj->sd;
	parent = node->parent;
	rb_erase(&node->rb, dir_children(state, parent));
	kobj->sd = NULL;
	node->kobj = NULL;
	if (!parent || parent->kobj || !RB_EMPTY_ROOT(&parent->children))
		parent = NULL;
	if (!RB_EMPTY_ROOT(&node->children))
		node = NULL;
	state->nr_dirs -= !!node + !!parent;
	mutex_unlock(&state->tree_mutex);
	kfree(node);
	kfree(parent);
}

/* kset_find_obj() compares names under list_lock. */
static void dir_set_name(struct kobject *kobj, const char *name)
{
	struct kset *kset = kobj->kset;

	if (kset)
		spin_lock(&kset->list_lock);
	kobj->name = name;
	if (kset)
		spin_unlock(&kset->list_lock);
}

/* tree_mutex held. */
static int dir_rename_locked(struct kobject_state *state, struct kobject *kobj, const char *name)
{
	struct kernfs_node *node = kobj->sd;
	struct rb_root *children;

	if (!node)
		return -EINVAL;
	children = dir_children(state, node->parent);
	rb_erase(&node->rb, children);
	if (!dir_insert(children, node, name)) {
		BUG_ON(!dir_insert(children, node, kobj->name));
		return -EEXIST;
	}
	dir_set_name(kobj, name);
	return 0;
}

int dir_rename(struct kobject *kobj, const char *new_name)
{
	struct kobject_state *state = kobject_state();
	const char *name = kstrdup(new_name, GFP_KERNEL), *old;
	int err;

	if (!name)
		return -ENOMEM;
	mutex_lock(&state->tree_mutex);
	old = kobj->name;
	err = dir_rename_locked(state, kobj, name);
	mutex_unlock(&state->tree_mutex);
	kfree(err ? name : old);
	return err;
}

/* Walk without recursion: down to the first child, else on to the next in the nearest tree. */
static struct kernfs_node *dir_next(struct kernfs_node *node)
{
	struct rb_node *rb = rb_first(&node->children);

	while (!rb && node) {
		rb = rb_next(&node->rb);
		node = node->parent;
	}
	return rb ? rb_entry(rb, struct kernfs_node, rb) : NULL;
}

void dir_check(struct kobject_state *state, struct check_report *report)
{
	struct rb_node *first = rb_first(&state->root);
	struct kernfs_node *node = first ? rb_entry(first, struct kernfs_node, rb) : NULL;
	unsigned long nr = 0;

	for (; node && nr <= state->nr_dirs; node = dir_next(node), nr++) {
		struct rb_node *next = rb_next(&node->rb);

		if (node->kobj->sd != node || !node->kobj->state_in_sysfs)
			check_fail(report, "I1: directory of '%s' and object disagree",
				   node->kobj->name);
		if (next && strcmp(node->kobj->name,
				   rb_entry(next, struct kernfs_node, rb)->kobj->name) >= 0)
			check_fail(report, "I2: '%s' is out of order", node->kobj->name);
	}
	if (nr > state->nr_dirs)
		check_fail(report, "I3: %lu directories counted, more seen", state->nr_dirs);
}
