/* SPDX-License-Identifier: MIT */
/*
 * quarantine.h - what is still known about objects that are gone
 *
 * With machine_config.quarantine each CPU remembers that many objects whose last reference was put
 * on it: what they were, where they were made, where and by whom that put was made. A report about
 * a stale pointer then has a name in it. With machine_config.quarantine_hold their memory is not
 * returned either, so that the stale pointer still points at a dead object and whatever is done
 * through it is caught; types whose drop returns the memory cannot be held.
 *
 * Held memory goes back, oldest first, when newer dead need the place, and at machine_quiesce() and
 * at shutdown: call machine_quiesce() before kmem_cache_destroy(). Without the two settings all of
 * it costs one test on the death of an object.
 */
#ifndef KARC_REFCOUNT_QUARANTINE_H
#define KARC_REFCOUNT_QUARANTINE_H

#include <karc/base/contract.h>
#include <karc/base/site.h>
#include <karc/base/types.h>
#include <karc/hw/fiber.h>
#include <karc/hw/machine.h>

struct arc;
struct arc_type;

/**
 * struct arc_obituary - an object whose last reference was put
 * @arc:       address of its struct arc; the memory may be gone
 * @object:    address of the object
 * @created:   where it was made, or NULL
 * @put:       where its last reference was put, or NULL
 * @task, @task_id: name and id of the fiber that did it
 * @owner:     it was a field of such an object, which was torn down there; or NULL
 */
struct arc_obituary {
	const struct arc *arc;
	const void *object;
	const struct arc_type *type;
	const struct site *created;
	const struct site *put;
	char task[FIBER_NAME_LEN];
	u64 task_id;
	const struct arc_type *owner;
};

/**
 * arc_obituary - what is known about the dead object that contains @address
 * @address: of the object, its arc, one of its counters, or anything else inside
 *
 * Context: any, in the current machine. The memory at the object's arc is read, to see that
 *          nobody has made something new of it: then what was known is out of date.
 * Returns: false when nothing is known, or not any more.
 */
KARC_MUST_CHECK bool arc_obituary(const void *address, struct arc_obituary *obituary);

/* How many objects' memory the quarantine of the machine holds now, all CPUs together. */
unsigned long quarantine_nr_held(struct machine *m);

#endif
