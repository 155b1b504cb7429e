/* SPDX-License-Identifier: MIT */
/*
 * dtor.c - destructor callbacks of one object
 *
 * What it is      A stack of {function, argument} hanging off an object, emptied when it dies.
 *                 The memory of an entry is its registrant's, so registering cannot fail.
 * Objects         object -> arc_dtor (latest) -> ... -> arc_dtor (first) -> NULL
 * Invariants      I1  Each entry runs exactly once, or never if its object is leaked.
 *                 I2  An entry is off the list before its function runs, so the function may
 *                     free it or push another.
 * Locking         push: lock-free, any holder of a reference. run: only the dying fiber sees
 *                 the list.
 * Worst case      As many steps as callbacks were registered.
 * Unlike Linux    Linux has no such thing for counted objects; devm_add_action() is closest.
 */
#include <karc/refcount/arc.h>

#include "internal.h"

void arc_dtor_push(struct arc_dtor **head, struct arc_dtor *dtor,
		   void (*fn)(void *obj, void *arg), void *arg)
{
	struct arc_dtor *old;

	KARC_STEP_READ(head);
	old = READ_ONCE(*head);
	dtor->ops.fn = fn;
	dtor->arg = arg;
	do {
		dtor->next = old;
		/* Pairs with the acquire in arc_dtor_pop(). */
	} while (!try_cmpxchg_release(head, &old, dtor));
}

struct arc_dtor *arc_dtor_pop(struct arc_dtor **head)
{
	struct arc_dtor *dtor = smp_load_acquire(head);

	if (dtor)
		WRITE_ONCE(*KARC_STEPPED(head, KARC_WRITES), dtor->next);
	return dtor;
}

unsigned int arc_dtor_run(struct arc_dtor **head, void *obj)
{
	struct arc_dtor *dtor;
	unsigned int nr = 0;

	while ((dtor = arc_dtor_pop(head))) {
		dtor->ops.fn(obj, dtor->arg);
		nr++;
	}
	return nr;
}

/* On the list twice it would run for ever. All of the list is looked at on tracked machines. */
static bool is_pushed(const struct arc *arc, const struct arc_dtor *dtor)
{
	bool thorough = refcount_hot()->watch & WATCH_TRACK;
	const struct arc_dtor *d = smp_load_acquire(&arc->dtors);

	while (d && d != dtor && thorough)
		d = d->next;
	return d && d == dtor;
}

void arc_on_drop(struct arc *arc, struct arc_dtor *dtor, void (*fn)(void *obj, void *arg),
		 void *arg)
{
	if (unlikely(is_pushed(arc, dtor))) {
		arc_fault_raise(ARC_FAULT_DTOR_TWICE, arc, NULL);
		return;
	}
	if (arc_flags(arc) & ARC_PLAIN)
		__atomic_fetch_and(&arc->flags, (u8)~ARC_PLAIN, __ATOMIC_RELAXED);
	arc_dtor_push(&arc->dtors, dtor, fn, arg);
}
