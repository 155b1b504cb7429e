/* SPDX-License-Identifier: MIT */
/*
 * slot.c - a place that holds one reference and is read without a lock
 *
 * What it is      A pointer that counts as one strong reference. Readers load it and try to get;
 *                 that fails only if a writer has taken the reference away meanwhile.
 * Objects         struct arc_slot ==> arc, or NULL
 * Invariants      I1  What is in a slot has a strong count that is not zero: the slot's reference.
 *                 I2  A reader inside rcu_read_lock() may look at the count of whatever it has
 *                     loaded: the type is ARC_RCU.
 * Locking         none; each change is one exchange
 * Worst case      A load that fails saw the pointer change, so some writer made progress.
 * Unlike Linux    Linux writes the loop out at each place (get_file_rcu() and the like).
 */
#include <karc/refcount/slot.h>

#include "internal.h"

static bool fits(const struct arc *arc, const struct site *site)
{
	if (likely(!arc || (arc->type->flags & ARC_RCU)))
		return true;
	arc_fault_tell(ARC_FAULT_NOT_RCU, arc, site,
		       "arc_slot: type \"%s\" is not ARC_RCU: a reader could meet freed memory",
		       arc->type->name);
	return false;
}

struct arc *arc_slot_load_site(struct arc_slot *slot, const struct site *site)
{
	struct arc *arc;

	rcu_read_lock();
	do {
		arc = smp_load_acquire(&slot->arc);
	} while (arc && !arc_tryget_site(arc, site));
	rcu_read_unlock();
	return arc;
}

void KARC_BODY(arc_slot_store_site)(struct arc_slot *slot, struct arc *arc,
				    const struct site *site)
{
	if (!fits(arc, site)) {
		arc_put_site(arc, site);
		return;
	}
	/* Pairs with rcu_dereference() in the loads. */
	arc_put_rcu_site(xchg(&slot->arc, arc), site);
}

struct arc *KARC_BODY(arc_slot_exchange_site)(struct arc_slot *slot, struct arc *arc,
					      const struct site *site)
{
	return fits(arc, site) ? xchg(&slot->arc, arc) : arc;
}

struct arc *KARC_BODY(arc_slot_compare_exchange_site)(struct arc_slot *slot,
						      const struct arc *old, struct arc *arc,
						      const struct site *site)
{
	struct arc *found = (struct arc *)old;

	if (!fits(arc, site) || !try_cmpxchg(&slot->arc, &found, arc))
		return arc;
	return found;
}

struct arc *(arc_slot_load)(struct arc_slot *slot)
{
	return arc_slot_load_site(slot, NULL);
}

void (arc_slot_store)(struct arc_slot *slot, struct arc *arc)
{
	arc_slot_store_site(slot, arc, NULL);
}

struct arc *(arc_slot_exchange)(struct arc_slot *slot, struct arc *arc)
{
	return arc_slot_exchange_site(slot, arc, NULL);
}

struct arc *(arc_slot_compare_exchange)(struct arc_slot *slot, const struct arc *old,
					struct arc *arc)
{
	return arc_slot_compare_exchange_site(slot, old, arc, NULL);
}
