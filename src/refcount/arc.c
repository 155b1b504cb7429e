/* SPDX-License-Identifier: MIT */
/*
 * arc.c - counts of owned objects
 *
 * What it is      Rust's Arc and Weak in C. Strong references keep an object alive, weak ones
 *                 keep its memory. All strong references together hold one weak one, given back
 *                 when the fields have been dropped; whoever brings the weak count to zero
 *                 returns the memory.
 * Objects         struct arc, embedded; 48 bytes. word: low half strong, high half weak.
 *                 The types of a machine are the kinds of its ledger.
 * Invariants      I1  Each half is a refcount_t of its own and is changed by 32-bit operations
 *                     only: one half can saturate or underflow without a carry into the other,
 *                     and Linux-style code may use kref_get() on the strong half.
 *                 I2  The word as a whole is only loaded. One strong and one (implicit) weak
 *                     reference means that the holder is alone: get, downgrade and upgrade all
 *                     start from a reference. So the last put of an object that nobody can find
 *                     without a count (ARC_PRIVATE) is a plain store.
 *                 I3  Strong leaves zero never: upgrade and tryget refuse, get saturates and
 *                     warns, and a count that is not zero at the end leaks the object.
 *                 I4  Downgrade needs a strong reference, so while it runs the implicit weak one
 *                     is there and the weak half is not zero.
 *
 *                 Proof of "exactly one teardown": the teardown starts where strong goes from 1
 *                 to 0. Each 32-bit decrement sees a different old value, so at most one sees 1;
 *                 the plain store happens only when the sole holder saw 1/1 and by I2 no other
 *                 operation can be under way on either half. By I3 it never becomes 1 again.
 *                 "Not before": every holder's decrement is a release, the last one (or the
 *                 acquire load of the word) acquires, so all accesses under other references
 *                 come before the drop body. "Memory once": the same for the weak half.
 * Locking         none; see dtor.c for callbacks, reap.c for teardown
 * Life            INIT -arc_init-> LIVE -last put-> DYING -fields dropped-> DEAD -last weak-> gone
 * Worst case      get and put: one locked instruction; last put of an ARC_PRIVATE object: none
 * Unlike Linux    No CPU-local counts, slots, get_mut, make_mut or try_unwrap so far.
 */
#include <karc/base/bug.h>
#include <karc/base/log.h>
#include <karc/refcount/arc.h>

#include "internal.h"

static bool field_is_sound(const struct arc_type *type, const struct arc_field *f)
{
	if (f->kind == ARC_FIELD_VISITOR)
		return f->ops.take != NULL;
	if (f->kind == ARC_FIELD_ARRAY && !f->count)	/* may lie behind the struct */
		return f->count_offset + sizeof(unsigned int) <= type->size;
	return f->kind < ARC_FIELD_VISITOR && f->offset + sizeof(void *) <= type->size;
}

/* What is wrong with @type, or NULL. */
static const char *type_fault(const struct arc_type *type)
{
	const struct arc_field *f = type->fields;

	if (!type->name || !type->name[0])
		return "it has no name";
	if (type->offset + sizeof(struct arc) > type->size)
		return "its arc lies beyond its size";
	if (!type->ops.drop && !f && !(type->flags & ARC_LEAF))
		return "it has neither drop nor fields: give it ops.drop or a field table, "
		       "or set ARC_LEAF if it owns nothing";
	if ((type->flags & ARC_RCU) && !type->ops.free)
		return "ARC_RCU needs ops.free, which is called after the grace period";
	if ((type->flags & ARC_PRIVATE) && (type->flags & (ARC_FINDABLE | ARC_RCU)))
		return "ARC_PRIVATE says that no lookup finds it, ARC_FINDABLE and ARC_RCU that "
		       "one may";
	if (type->flags & ~(ARC_LEAF | ARC_RCU | ARC_FINDABLE | ARC_SLEEPS | ARC_PRIVATE))
		return "it has unknown flags";
	for (; f && f->kind != ARC_FIELD_END; f++)
		if (!field_is_sound(type, f))
			return "a field lies beyond its size or lacks what its kind needs";
	return NULL;
}

int arc_type_register(const struct arc_type *type)
{
	const char *fault = type_fault(type);

	if (fault) {
		pr_err("arc_type_register: type \"%s\" refused: %s\n",
		       type->name ? type->name : "?", fault);
		return -EINVAL;
	}
	return ledger_register(refcount_state(this_machine())->ledger, type);
}

void arc_init_site(struct arc *arc, const struct arc_type *type, const struct site *site)
{
	struct track *track = refcount_hot()->track;

	WRITE_ONCE(arc->word, ARC_WORD_ONE);
	arc->type = type;
	arc->link = NULL;
	arc->site = site;
	arc->dtors = NULL;
	arc->cursor = 0;
	arc->state = ARC_LIVE;
	arc->flags = (u8)type->flags;
	arc->field = 0;
	ledger_arc_in(arc);
	if (unlikely(track))
		track_add(track, arc);
}

struct arc *arc_downgrade(struct arc *arc)
{
	const struct arc_type *type = arc->type;

	/* The drop of such a type may return the memory: a weak reference would dangle. */
	BUG_ON(type->ops.drop && !type->ops.free && !type->fields);
	refcount_inc(&arc->weak);
	return arc;
}

struct arc *arc_upgrade(struct arc *arc)
{
	return arc_tryget(arc);
}

unsigned int arc_count(const struct arc *arc)
{
	return refcount_read(&arc->kref.refcount);
}

unsigned int arc_weak_count(const struct arc *arc)
{
	return refcount_read(&arc->weak) - (arc->state != ARC_DEAD);
}
