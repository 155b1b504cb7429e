/* SPDX-License-Identifier: MIT */
/*
 * things.h - objects that tell when they are released
 */
#ifndef KARC_TESTS_KOBJECT_THINGS_H
#define KARC_TESTS_KOBJECT_THINGS_H

#include "../support/fixture.h"

#include <karc/base/atomic.h>
#include <karc/hw/fiber.h>
#include <karc/kobject/kobject.h>
#include <karc/mm/slab/kmalloc.h>
#include <string.h>

#define THING_LOG_BYTES	256

/* What was released, in order: the names with a space behind each. */
struct thing_log {
	unsigned long nr;
	char text[THING_LOG_BYTES];
	bool busy;		/* releases come from all CPUs */
};

struct thing {
	struct kobject kobj;
	struct thing_log *log;
};

static inline void thing_release(struct kobject *kobj)
{
	struct thing *thing = container_of(kobj, struct thing, kobj);
	struct thing_log *log = thing->log;
	const char *name = kobj->name ? kobj->name : "?";

	while (xchg(&log->busy, true))
		cpu_relax();
	log->nr++;
	if (strlen(log->text) + strlen(name) + 2 < sizeof(log->text)) {
		strcat(log->text, name);
		strcat(log->text, " ");
	}
	smp_store_release(&log->busy, false);
	kfree(thing);
}

static const struct kobj_type thing_type = { .release = thing_release };

/* Initialised, in no tree. */
static inline struct thing *thing_new(struct thing_log *log)
{
	struct thing *thing = kzalloc(sizeof(*thing), GFP_KERNEL);

	assert_non_null(thing);
	thing->log = log;
	kobject_init(&thing->kobj, &thing_type);
	return thing;
}

/* In the tree, and in @kset if that is not NULL. */
static inline struct thing *thing_add(struct thing_log *log, const char *name,
				      struct kobject *parent, struct kset *kset)
{
	struct thing *thing = thing_new(log);

	thing->kobj.kset = kset;
	assert_int_equal(kobject_add(&thing->kobj, parent, "%s", name), 0);
	return thing;
}

static inline void thing_put(struct thing *thing)
{
	kobject_put(&thing->kobj);
}

static inline unsigned int thing_count(const struct thing *thing)
{
	return kref_read(&thing->kobj.kref);
}

#endif
