/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the kobject room share
 */
#ifndef KARC_SRC_KOBJECT_INTERNAL_H
#define KARC_SRC_KOBJECT_INTERNAL_H

#include <karc/base/rbtree.h>
#include <karc/hw/mutex.h>
#include <karc/kobject/kobject.h>

/* One directory: children by name. It holds nothing; the objects hold their parents. */
struct kernfs_node {
	struct rb_node rb;		/* in parent->children */
	struct rb_root children;
	struct kernfs_node *parent;	/* NULL: directly under the root */
	struct kobject *kobj;
};

struct device;
struct dma_state;

struct kobject_state {
	struct mutex tree_mutex;	/* every children tree */
	struct rb_root root;
	unsigned long nr_dirs;
	struct mutex devices_mutex;	/* for making ->devices */
	struct kset *devices;		/* NULL until there is one */
	struct dma_state *dma;
};

static inline struct kobject_state *kobject_state(void)
{
	return this_room(ROOM_KOBJECT);
}

/* dir.c */
KARC_MUST_CHECK int dir_add(struct kobject *kobj);	/* -EEXIST, -ENOENT, -ENOMEM */
void dir_remove(struct kobject *kobj);			/* it has a directory */
KARC_MUST_CHECK int dir_rename(struct kobject *kobj, const char *new_name);
void dir_check(struct kobject_state *state, struct check_report *report);

/* dma.c */
KARC_MUST_CHECK struct dma_state *dma_state_make(struct machine *m);
void dma_state_end(struct dma_state *ds);
void dma_device_ends(const struct device *dev);
void dma_check(struct dma_state *ds, struct check_report *report);

/* kobject.c */
KARC_MUST_CHECK int kobject_types_register(void);
void kobject_init_internal(struct kobject *kobj, const struct site *site);
KARC_MUST_CHECK int kobject_add_internal(struct kobject *kobj);

#endif
