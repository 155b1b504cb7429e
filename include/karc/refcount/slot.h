/* SPDX-License-Identifier: MIT */
/*
 * slot.h - a place that holds one reference and is read without a lock
 *
 * A published pointer (the current configuration, a device's driver): readers take a reference of
 * their own or borrow it under RCU, writers put another object in its place. Only types whose
 * memory waits for a grace period (ARC_RCU) may be in a slot: a reader that has just loaded the
 * pointer still looks at the count when the last reference is gone. Put the slot into the owner's
 * field table with ARC_SLOT().
 */
#ifndef KARC_REFCOUNT_SLOT_H
#define KARC_REFCOUNT_SLOT_H

#include <karc/refcount/arc.h>

struct arc_slot {
	struct arc *arc;
};

#define ARC_SLOT_EMPTY	{ NULL }

/* An empty slot; memory that is all zero is one too. */
static inline void arc_slot_init(struct arc_slot *slot)
{
	WRITE_ONCE(slot->arc, NULL);
}

/**
 * arc_slot_load - a reference to what is in the slot
 *
 * Gives:   one strong reference; NULL when the slot is empty. Context: any.
 * Order:   acquire: what was done before the store is seen.
 * It is tried again only when a writer has exchanged the content meanwhile.
 */
KARC_MUST_CHECK struct arc *arc_slot_load_site(struct arc_slot *slot, const struct site *site);
KARC_MUST_CHECK struct arc *(arc_slot_load)(struct arc_slot *slot);
#define arc_slot_load(slot) arc_slot_load_site((slot), SITE())

/**
 * arc_slot_load_rcu - a look at what is in the slot
 *
 * Lends:   the object, or NULL: valid until rcu_read_unlock(). Its content stays whole if each
 *          reference to such objects is put with arc_put_rcu(), as arc_slot_store() does; after
 *          an arc_put() elsewhere only its memory and count do (arc_tryget()).
 * Context: under rcu_read_lock(). Order: acquire.
 */
static inline struct arc *arc_slot_load_rcu(const struct arc_slot *slot)
{
	return rcu_dereference(slot->arc);
}

/**
 * arc_slot_store - put an object, or nothing, in the place of what is in the slot
 * @arc: NULL empties the slot
 *
 * Takes:   the caller's reference; it is the slot's now. What was there is put with arc_put_rcu().
 * Context: any; writers need no lock among themselves. Order: release.
 * Errors:  a type that is not ARC_RCU is refused: ARC_FAULT_NOT_RCU is reported, @arc is put and
 *          the slot keeps what it has.
 */
void arc_slot_store_site(struct arc_slot *slot, KARC_TAKES struct arc *arc,
			 const struct site *site);
void (arc_slot_store)(struct arc_slot *slot, KARC_TAKES struct arc *arc);
#define arc_slot_store(slot, arc) arc_slot_store_site((slot), (arc), SITE())

/**
 * arc_slot_exchange - the same, and the caller gets what was there
 *
 * Takes:   @arc. Gives: the reference that the slot had, or NULL; end it with arc_put_rcu() if
 *          readers borrow from the slot. A refused @arc comes back itself.
 * Context: any. Order: full.
 */
KARC_MUST_CHECK struct arc *arc_slot_exchange_site(struct arc_slot *slot,
						   KARC_TAKES struct arc *arc,
						   const struct site *site);
KARC_MUST_CHECK struct arc *(arc_slot_exchange)(struct arc_slot *slot,
						KARC_TAKES struct arc *arc);
#define arc_slot_exchange(slot, arc) arc_slot_exchange_site((slot), (arc), SITE())

/**
 * arc_slot_compare_exchange - the same, only if @old is there
 * @old: compared only; the caller keeps a reference to it, or it may be another object by now
 *
 * Takes:   @arc. Gives: what is not in the slot now: @old (the slot's reference to it) when it was
 *          exchanged, @arc when it was not.
 * Context: any. Order: full when exchanged, else none.
 */
KARC_MUST_CHECK struct arc *arc_slot_compare_exchange_site(struct arc_slot *slot,
							   const struct arc *old,
							   KARC_TAKES struct arc *arc,
							   const struct site *site);
KARC_MUST_CHECK struct arc *(arc_slot_compare_exchange)(struct arc_slot *slot,
							const struct arc *old,
							KARC_TAKES struct arc *arc);
#define arc_slot_compare_exchange(slot, old, arc) \
	arc_slot_compare_exchange_site((slot), (old), (arc), SITE())

#endif
