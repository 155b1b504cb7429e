/* SPDX-License-Identifier: MIT */
/*
 * users.h - two tiers: who uses an object, and who merely keeps it
 *
 * The strong count of the arc says how long the object exists. A second count, of users, may empty
 * it earlier: when the last user is gone the type's ops.on_last_user() runs, once, and then the
 * one strong reference that all users have together is put. So an address space loses its mappings
 * with the last thread while a lazy CPU still keeps the page-table root (mm_users and mm_count).
 */
#ifndef KARC_REFCOUNT_USERS_H
#define KARC_REFCOUNT_USERS_H

#include <karc/base/cleanup.h>
#include <karc/refcount/arc.h>

/* Embedded in objects of a type with ops.on_last_user; type->users says where. */
struct arc_users {
	refcount_t count;
};

/* The count of users of @arc's object; its type has ops.on_last_user. */
static inline struct arc_users *arc_users_of(const struct arc *arc)
{
	return (struct arc_users *)((char *)arc - arc->type->offset + arc->type->users);
}

/**
 * arc_users_init - one user, the caller, who gives the users its strong reference
 * @arc: live; the caller holds a strong reference
 *
 * Takes: the strong reference: it is put after the last user. A type without ops.on_last_user is
 *        a BUG.
 */
void arc_users_init_site(struct arc *arc, const struct site *site);
void (arc_users_init)(struct arc *arc);
#define arc_users_init(arc) arc_users_init_site((arc), SITE())

/**
 * arc_users_get - one more user; the caller is one
 *
 * Gives:   @arc, one use. Context: any. Order: relaxed.
 * Errors:  without any user, and on overflow, it reports and saturates: on_last_user never runs
 *          (again), the object is leaked.
 */
struct arc *arc_users_get_site(struct arc *arc, const struct site *site);
struct arc *(arc_users_get)(struct arc *arc);
#define arc_users_get(arc) arc_users_get_site((arc), SITE())

/**
 * arc_users_tryget - one more user unless the last one is gone
 * @arc: the caller holds a strong reference or the lock of an index
 *
 * Gives:   @arc, one use; or NULL. Context: any. Order: acquire when it succeeds.
 */
KARC_MUST_CHECK struct arc *arc_users_tryget_site(struct arc *arc, const struct site *site);
KARC_MUST_CHECK struct arc *(arc_users_tryget)(struct arc *arc);
#define arc_users_tryget(arc) arc_users_tryget_site((arc), SITE())

/**
 * arc_users_put - one user less; the last one empties the object
 *
 * Takes:   one use; NULL is ignored. The last one runs ops.on_last_user() here and now, and then
 *          puts the users' strong reference.
 * Context: as ops.on_last_user(). Order: release; the last one acquires.
 * Errors:  the last one of an ARC_SLEEPS type in atomic context is an ARC_FAULT_ATOMIC:
 *          on_last_user does not run, and the object is leaked.
 */
void arc_users_put_site(struct arc *arc, const struct site *site);
void (arc_users_put)(struct arc *arc);
#define arc_users_put(arc) arc_users_put_site((arc), SITE())

/* For reports and tests. */
unsigned int arc_users_count(const struct arc *arc);

/* On a variable: __free(arc_users_put); see base/cleanup.h. */
DEFINE_FREE(arc_users_put, struct arc *, if (_T) arc_users_put(_T))

#endif
