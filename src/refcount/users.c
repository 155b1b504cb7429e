/* SPDX-License-Identifier: MIT */
/*
 * users.c - two tiers: who uses an object, and who merely keeps it
 *
 * What it is      A count of users beside the strong count. All users together hold one strong
 *                 reference, so an object in use exists, and one that exists need not be in use.
 * Objects         user --arc_users_get--> users --one reference, all together--> arc
 * Invariants      I1  users > 0 implies one strong reference on their behalf.
 *                 I2  users leaves zero never: on_last_user runs once.
 *                 I3  on_last_user runs while the users' strong reference is still there.
 * Locking         none: a refcount_t
 * Life            in use -last arc_users_put-> emptied -last arc_put-> DYING ...
 * Worst case      One locked instruction for get and put.
 * Unlike Linux    mm_users is an atomic_t there, which wraps; this one saturates.
 */
#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include <karc/refcount/users.h>

#include "internal.h"

void arc_users_init_site(struct arc *arc, const struct site *site)
{
	BUG_ON(!arc->type->ops.on_last_user);
	refcount_set(&arc_users_of(arc)->count, 1);
	if (unlikely(arc_flags(arc) & ARC_TRACKED))
		holder_users_born(arc, site);
}

struct arc *arc_users_get_site(struct arc *arc, const struct site *site)
{
	refcount_t *count = &arc_users_of(arc)->count;
	int old = __atomic_fetch_add(KARC_REFS(count), 1, __ATOMIC_RELAXED);

	if (arc_old_is_bad(old))
		arc_saturate(arc, count, arc_old_fault(old), site);
	if (unlikely(arc_flags(arc) & ARC_TRACKED))
		holder_user_get(arc, site);
	return arc;
}

struct arc *arc_users_tryget_site(struct arc *arc, const struct site *site)
{
	refcount_t *count = &arc_users_of(arc)->count;
	int old = (int)refcount_read(count);

	do {
		if (!old)
			return NULL;
	} while (!__atomic_compare_exchange_n(KARC_REFS(count), &old,
					      karc_refcount_sum(old, 1), false, __ATOMIC_ACQUIRE,
					      __ATOMIC_RELAXED));
	if (arc_old_is_bad(old))
		arc_saturate(arc, count, REFCOUNT_ADD_NOT_ZERO_OVF, site);
	if (unlikely(arc_flags(arc) & ARC_TRACKED))
		holder_user_get(arc, site);
	return arc;
}

bool users_were_last(struct arc *arc, const struct site *site)
{
	refcount_t *count = &arc_users_of(arc)->count;
	int old = __atomic_fetch_sub(KARC_REFS(count), 1, __ATOMIC_RELEASE);

	if (likely(old > 1))
		return false;
	if (unlikely(old <= 0)) {
		arc_saturate(arc, count, REFCOUNT_SUB_UAF, site);
		return false;
	}
	/* Pairs with the releases of all other puts. */
	__atomic_load_n(&count->refs.counter, __ATOMIC_ACQUIRE);
	if (unlikely((arc_flags(arc) & ARC_SLEEPS) && !preemptible())) {
		arc_fault_tell(ARC_FAULT_ATOMIC, arc, site, "arc: last user of a %s put in "
			       "atomic context, and it sleeps; leaking it", arc->type->name);
		return false;
	}
	arc->type->ops.on_last_user(arc_object(arc));
	if (unlikely(arc_flags(arc) & ARC_TRACKED))
		holder_users_end(arc);
	return true;
}

void arc_users_put_site(struct arc *arc, const struct site *site)
{
	if (!arc)
		return;
	if (unlikely(arc_flags(arc) & ARC_TRACKED))
		holder_user_put(arc, site);
	if (users_were_last(arc, site))
		arc_put_site(arc, site);
}

unsigned int arc_users_count(const struct arc *arc)
{
	return refcount_read(&arc_users_of(arc)->count);
}

void (arc_users_init)(struct arc *arc)
{
	arc_users_init_site(arc, NULL);
}

struct arc *(arc_users_get)(struct arc *arc)
{
	return arc_users_get_site(arc, NULL);
}

struct arc *(arc_users_tryget)(struct arc *arc)
{
	return arc_users_tryget_site(arc, NULL);
}

void (arc_users_put)(struct arc *arc)
{
	arc_users_put_site(arc, NULL);
}
