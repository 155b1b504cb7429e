/* SPDX-License-Identifier: MIT */
/*
 * play_kobject.c - a tree whose last reference is put at a leaf
 */
#include "scenario.h"
#include <karc/kobject/kobject.h>
#include <karc/mm/slab/kmalloc.h>

static const char *const tree[][2] = {	/* name, parent's name */
	{ "bus", "devices" },
	{ "disk0", "bus" },
	{ "part0", "disk0" },
	{ "part1", "disk0" },
	{ "disk1", "bus" },
};

#define NR_NODES	(sizeof(tree) / sizeof(tree[0]))

static void say_callback(void *obj, void *arg)
{
	struct kobject *kobj = obj;

	trace_announce("destructor callback", "'%s': %s", kobj->name, (const char *)arg);
}

static struct kobject *parent_of(struct kset *set, struct kobject **nodes, unsigned int i)
{
	unsigned int j;

	for (j = 0; j < i; j++)
		if (!__builtin_strcmp(tree[j][0], tree[i][1]))
			return nodes[j];
	return &set->kobj;
}

void play_kobject(struct stage *s)
{
	struct kobject *nodes[NR_NODES] = { NULL };
	struct arc_dtor first, second;
	struct kset *set;
	unsigned int i;
	char *path;

	stage_head(s, "A kset and five kobjects below it");
	set = kset_create_and_add("devices", NULL, NULL);
	stage_expect(s, set != NULL, "/devices");
	if (!set)
		return;
	for (i = 0; i < NR_NODES; i++) {
		nodes[i] = kobject_create_and_add(tree[i][0], parent_of(set, nodes, i));
		path = nodes[i] ? kobject_get_path(nodes[i], GFP_KERNEL) : NULL;
		stage_expect(s, path != NULL, "%s", path ? path : tree[i][0]);
		kfree(path);
	}
	arc_on_drop(&nodes[2]->arc, &first, say_callback, "registered first, runs last");
	arc_on_drop(&nodes[2]->arc, &second, say_callback, "registered second, runs first");

	stage_head(s, "Everybody lets go of the inner ones: the children keep them");
	kset_unregister(set);
	for (i = 0; i < NR_NODES; i++) {
		if (i == 2)
			continue;
		stage_say(s, "kobject_put(%s): %u -> %u", tree[i][0], kref_read(&nodes[i]->kref),
			  kref_read(&nodes[i]->kref) - 1);
		kobject_put(nodes[i]);
	}

	stage_head(s, "The last put, at a leaf: part0, and all that only it kept alive");
	stage_say(s, "kobject_put(part0): %u -> 0", kref_read(&nodes[2]->kref));
	kobject_put(nodes[2]);
}
