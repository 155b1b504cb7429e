/* SPDX-License-Identifier: MIT */
/*
 * plain.c - the end of objects about which there is nothing to do but their memory
 *
 * What it is      Most objects have no drop body, no callbacks and no weak references, and their
 *                 memory comes from an array of this CPU. For such an object (ARC_PLAIN) the
 *                 machinery of reap.c decides nothing: its end is an addition in the ledger and a
 *                 push. A leaf goes right in the put.
 *                 An owner goes in order, as in reap.c, but its memory goes with the last
 *                 reference taken out of it, before what that one kept is torn down. A chain is
 *                 walked once and needs no stack; of a tree only those owners wait (parked) that
 *                 still have a reference to give up, and what they will give up is on its way
 *                 into the cache.
 *                 An owner whose type says that nobody cares about the order (ARC_UNORDERED) goes
 *                 in a loop of its own: what it owns is put into a window of references whose
 *                 objects are on their way into the cache; its memory is returned at once; and
 *                 the reference that waits longest is put next. So the latency of WINDOW misses
 *                 is paid together, where a teardown in order looks a few ahead.
 * Objects         window  -> reference -> reference ...   taken out of owners, not put yet
 *                 parked  -> owner -> owner -> top        in order: own something still, ->field
 *                 parked  -> owner -> owner               else: what they own did not all fit
 *                 reap    -> object -> object             died, but not plain: reap.c's
 * Invariants      I1  A reference in the window is counted still, so its object is there.
 *                 I2  An object that died here was alone (strong and weak by I2 of arc.c), so
 *                     nobody sees that its count was not stored and its fields not cleared.
 *                 I3  An object that turns out not to be plain is torn down by reap.c, in order.
 *                 I4  Between the look at this CPU's array and the push there is no safe point.
 *                 I5  In order: an owner has given up fields[0..->field), and its word, state and
 *                     link are as reap.c has them, so at any reference reap.c can go on with it.
 *                     Its memory goes once all is taken out of it: earlier than in Rust, but who
 *                     could tell? It was alone and is never found without a count (ARC_PRIVATE),
 *                     a body below it that wants to look at it has to hold a weak reference, and
 *                     with that it is not alone; it has no body of its own; and its memory goes
 *                     into an array, which calls nobody. Only the ledger tells, as it should.
 * Locking         none; the arrays and cells are this CPU's
 * Worst case      Linear, no allocation; the window is WINDOW pointers on the stack. In order, a
 *                 tree's owners are touched twice, going down and coming back.
 */
#include <karc/base/array_cache.h>
#include <karc/base/bug.h>

#include "internal.h"

/* What must be set of state, flags and field, among what matters. */
#define ARC_KEY_PLAIN_PRIVATE	(ARC_KEY_PRIVATE | ARC_KEY_PRIVATE / ARC_PRIVATE * ARC_PLAIN)
#define ARC_KEY_PLAIN_ALONE	(ARC_KEY_OTHER | ARC_KEY_PLAIN_PRIVATE)

#define WINDOW		32u	/* a power of two */
#define NEIGHBOUR	192ul	/* bytes from one object to the next, at most */
#define AHEAD		32	/* objects */

/* Leaves from here, of this type, until another one comes; false when that cannot be known. */
static noinline bool plain_know(struct plain_hot *hot, const struct arc *arc)
{
	struct ledger_cell *cell = ledger_arc_cell(arc);
	struct array_cache *ac = *(struct array_cache **)(void *)((char *)this_cpu() +
								  arc->type->array);

	if (!ac->limit)
		return false;		/* not set up yet, or never */
	hot->type = arc->type;
	hot->site = arc->site;
	hot->cell = cell;
	hot->ac = ac;
	return true;
}

/* A leaf that nobody counts any more; false when reap.c has to do it. */
static __always_inline bool plain_leaf_ends(struct arc *arc)
{
	struct plain_hot *hot = &refcount_hot()->plain;
	struct array_cache *ac;
	unsigned int avail;

	if (unlikely(arc->type != hot->type || arc->site != hot->site) && !plain_know(hot, arc))
		return false;
	ac = hot->ac;
	avail = ac->avail;
	if (unlikely(avail >= ac->limit))
		return false;
	WRITE_ONCE(arc->word, ARC_WORD_POISON);
	ledger_cell_out(hot->cell);
	ac->entry[avail] = arc;
	WRITE_ONCE(ac->avail, avail + 1);
	return true;
}

#define PLAIN_LEAF	(ARC_PLAIN | ARC_LEAF)

static noinline void put_private_slow(struct arc *arc, const struct site *site)
{
	if (arc_word(arc) != ARC_WORD_ONE) {
		if (arc_put_counted(arc, site))
			arc_last_put_site(arc, site);
		return;
	}
	if (likely((arc->flags & PLAIN_LEAF) == PLAIN_LEAF) && likely(plain_leaf_ends(arc)))
		return;
	refcount_set(&arc->kref.refcount, 0);
	arc_last_put_site(arc, site);
}

/* The leaf that is as the last one was; all else by a jump, so that this saves no registers. */
void arc_put_private(struct arc *arc, const struct site *site)
{
	struct plain_hot *hot = &refcount_hot()->plain;
	struct array_cache *ac = hot->ac;
	struct ledger_cell *cell = hot->cell;
	unsigned int avail;
	long live;

	if (unlikely(arc->type != hot->type || arc->site != hot->site ||
		     (arc->flags & PLAIN_LEAF) != PLAIN_LEAF || arc_word(arc) != ARC_WORD_ONE))
		goto slow;
	avail = ac->avail;
	live = cell->live - 1;
	if (unlikely(avail >= ac->limit || live < cell->low))
		goto slow;
	WRITE_ONCE(arc->word, ARC_WORD_POISON);
	WRITE_ONCE(cell->live, live);
	ac->entry[avail] = arc;
	WRITE_ONCE(ac->avail, avail + 1);
	return;
slow:
	put_private_slow(arc, site);
}

bool plain_last_put(struct arc *arc)
{
	return (arc->flags & PLAIN_LEAF) == PLAIN_LEAF && arc_word(arc) == ARC_WORD_ONE - 1 &&
	       plain_leaf_ends(arc);
}

/*
 * The state of one teardown. Objects of one kind come in rows, so what is known of the last one is
 * kept: an address that had to be loaded through each object would hold up all later loads.
 */
struct window {
	const struct arc_type *type;	/* of the last object; NULL: nothing is known */
	const struct site *from;
	const struct arc_field *only;	/* the one field of its type; NULL: it has none, or more */
	struct array_cache *ac;		/* for its memory */
	struct ledger_cell *cell;
	long nr_gone;			/* to be taken off @cell */
	struct arc *parked;
	struct arc *below;		/* end of @parked, in order */
	unsigned long head, tail;
	struct arc *ref[WINDOW];
};

static __always_inline unsigned long window_nr(const struct window *w)
{
	return w->tail - w->head;
}

/* Before anything else looks at the ledger, or this may go on with another CPU. */
static __always_inline void window_settle(struct window *w)
{
	if (w->nr_gone)
		ledger_cell_add(w->cell, -w->nr_gone);
	w->nr_gone = 0;
	w->type = NULL;
	w->only = NULL;
}

static noinline void window_know(struct window *w, const struct arc *arc)
{
	window_settle(w);
	w->type = arc->type;
	w->from = arc->site;
	w->only = arc->type->fields;
	if (w->only && w->only[1].kind != ARC_FIELD_END)
		w->only = NULL;
	w->cell = ledger_arc_cell(arc);
	w->ac = *(struct array_cache **)(void *)((char *)this_cpu() + arc->type->array);
}

static noinline void window_free(struct window *w, struct arc *arc)
{
	window_settle(w);
	arc->state = ARC_DEAD;
	arc->type->ops.free(arc);
}

/* An object that nobody counts any more. */
static __always_inline void window_ends(struct window *w, struct arc *arc)
{
	unsigned int avail;

	if (unlikely(arc->type != w->type || arc->site != w->from))
		window_know(w, arc);
	w->nr_gone++;
	WRITE_ONCE(arc->word, ARC_WORD_POISON);
	avail = w->ac->avail;
	if (unlikely(avail >= w->ac->limit)) {
		window_free(w, arc);
		return;
	}
	w->ac->entry[avail] = arc;
	WRITE_ONCE(w->ac->avail, avail + 1);
}

/*
 * Owner and owned lie side by side: they were made one after the other, and probably what that owns
 * in turn lies beyond. Hardware sees it too, but stops at the end of each page.
 */
static __always_inline void prefetch_row(const char *owner, const char *child)
{
	long stride = child - owner;

	__builtin_prefetch(child, 1);
	if ((unsigned long)(stride + NEIGHBOUR) < 2 * NEIGHBOUR)
		__builtin_prefetch(child + AHEAD * stride, 1);
}

/*
 * @arc is an owner that nobody counts any more: what it owns, from field @f on, into the window,
 * except the last, which is returned; then its memory goes. When not all of it fits it waits.
 */
static __always_inline struct arc *window_owner_ends(struct window *w, struct arc *arc,
						     const struct arc_field *f)
{
	struct arc *last = NULL;
	char *child;

	for (; f->kind != ARC_FIELD_END; f++) {
		child = *(char **)(void *)((char *)arc + f->offset);
		if (!child)
			continue;
		child += f->target;
		if (unlikely(window_nr(w) >= WINDOW - 1)) {
			arc->field = (u16)(f - arc->type->fields);
			arc->link = w->parked;
			w->parked = arc;
			return last;
		}
		prefetch_row((char *)arc, child);
		if (last)
			w->ref[w->tail++ % WINDOW] = last;
		last = (struct arc *)(void *)child;
	}
	window_ends(w, arc);
	return last;
}

/* Is @arc plain, and this reference the only one? I2. */
static __always_inline bool plain_alone(const struct arc *arc)
{
	return likely((arc_key(arc) & ARC_KEY_PLAIN_ALONE) == ARC_KEY_PLAIN_PRIVATE) &&
	       likely(arc_word(arc) == ARC_WORD_ONE);
}

/*
 * A chain of objects that are like the last one and own one thing: as far as that goes, and there
 * is room in the array. Returns the reference where it ends, or NULL.
 */
static __always_inline struct arc *window_chain(struct window *w, struct arc *arc)
{
	unsigned int offset = w->only->offset, target = w->only->target;
	unsigned int avail = w->ac->avail, first = avail, limit = w->ac->limit;
	struct array_cache *ac = w->ac;
	char *child;

	while (arc && avail < limit && arc->type == w->type && arc->site == w->from &&
	       plain_alone(arc)) {
		child = *(char **)(void *)((char *)arc + offset);
		WRITE_ONCE(arc->word, ARC_WORD_POISON);
		ac->entry[avail++] = arc;
		if (child) {
			child += target;
			prefetch_row((char *)arc, child);
		}
		arc = (struct arc *)(void *)child;
	}
	WRITE_ONCE(ac->avail, avail);
	w->nr_gone += avail - first;
	return arc;
}

/* Put one reference; a dying object that is not plain goes to @r. I3. */
static __always_inline struct arc *window_put(struct window *w, struct reap *r, struct arc *arc,
					      const struct site *site)
{
	if (plain_alone(arc)) {
		if (!arc->type->fields) {
			window_ends(w, arc);
			return NULL;
		}
		if (likely(arc->type->flags & ARC_UNORDERED))
			return window_owner_ends(w, arc, arc->type->fields);
	}
	window_settle(w);
	if (arc_ref_was_last(arc, site))
		reap_died(r, arc, site);
	return NULL;
}

/* The reference to put next: @last when it would only go through the window. */
static __always_inline struct arc *window_next(struct window *w, struct arc *last)
{
	if (!window_nr(w))
		return last;
	if (last)
		w->ref[w->tail++ % WINDOW] = last;
	return w->ref[w->head++ % WINDOW];
}

static __always_inline void window_begin(struct window *w, const struct arc *first,
					 struct arc *parked)
{
	w->nr_gone = 0;
	w->parked = parked;
	w->below = parked;
	w->head = 0;
	w->tail = 0;
	window_know(w, first);
}

void plain_unordered(struct reap *r, struct arc *arc, const struct site *site)
{
	struct window w;
	struct arc *last;

	window_begin(&w, arc, NULL);
	last = window_owner_ends(&w, arc, arc->type->fields);
	for (;;) {
		if (w.only && !window_nr(&w))
			last = window_chain(&w, last);
		arc = window_next(&w, last);
		if (likely(arc)) {
			last = window_put(&w, r, arc, site);
			if (likely(!w.parked) || window_nr(&w) > WINDOW / 2)
				continue;
			if (last)
				w.ref[w.tail++ % WINDOW] = last;
		} else if (!w.parked) {
			break;
		}
		arc = w.parked;
		w.parked = arc->link;
		last = window_owner_ends(&w, arc, &arc->type->fields[arc->field]);
	}
	window_settle(&w);
}

/* ---- in order ---- */

static __always_inline char **slot_of(struct arc *arc, const struct arc_field *f)
{
	return (char **)(void *)((char *)arc + f->offset);
}

/* From @f on, the field that owns something, or the end. */
static __always_inline const struct arc_field *next_held(struct arc *arc,
							 const struct arc_field *f)
{
	while (f->kind != ARC_FIELD_END && !*slot_of(arc, f))
		f++;
	return f;
}

/* As reap.c would have left it, should it have to go on. */
static __always_inline void park(struct window *w, struct arc *arc, const struct arc_field *f)
{
	WRITE_ONCE(arc->word, ARC_WORD_ONE - 1);
	WRITE_ONCE(arc->state, ARC_DYING);
	WRITE_ONCE(arc->field, (u16)(f - arc->type->fields));
	arc->link = w->parked;
	w->parked = arc;
}

/* What @owner, which is parked, will give up next. */
static __always_inline struct arc *pending_of(struct arc *owner)
{
	const struct arc_field *f = &owner->type->fields[owner->field];

	return (struct arc *)(void *)(*slot_of(owner, f) + f->target);
}

struct two_arcs {
	struct arc *a, *b;
};

/* What @arc owns by its first two fields; nothing if somebody else could write there. */
static __always_inline struct two_arcs look_into(struct arc *arc)
{
	const struct arc_field *f = arc->type->fields;
	struct two_arcs two = { NULL, NULL };

	if (!f || !plain_alone(arc))
		return two;
	if (*slot_of(arc, f))
		two.a = (struct arc *)(void *)(*slot_of(arc, f) + f->target);
	f++;
	if (f->kind != ARC_FIELD_END && *slot_of(arc, f))
		two.b = (struct arc *)(void *)(*slot_of(arc, f) + f->target);
	return two;
}

static __always_inline void prefetch_owned(struct arc *arc)
{
	struct two_arcs two;

	if (!arc)
		return;
	two = look_into(arc);
	__builtin_prefetch(two.a, 1);
	__builtin_prefetch(two.b, 1);
}

/*
 * What a parked owner gives up next was prefetched when it was parked, so now it can be looked
 * into, and of the owner below that one even what it owns. Else each pair of leaves of a tree is
 * waited for alone.
 */
static __always_inline void look_ahead(const struct window *w)
{
	struct arc *owner = w->parked;
	struct two_arcs two;

	if (owner == w->below)
		return;
	prefetch_owned(pending_of(owner));
	owner = owner->link;
	if (owner == w->below)
		return;
	two = look_into(pending_of(owner));
	prefetch_owned(two.a);
	prefetch_owned(two.b);
}

/*
 * The next reference that @arc, which nobody counts any more, owns from field @f on, or NULL. With
 * the last one its memory goes: I5.
 */
static __always_inline struct arc *ordered_take(struct window *w, struct arc *arc,
						const struct arc_field *f)
{
	const struct arc_field *next;
	char *child;

	f = next_held(arc, f);
	if (f->kind == ARC_FIELD_END) {
		window_ends(w, arc);
		return NULL;
	}
	child = *slot_of(arc, f) + f->target;
	prefetch_row((char *)arc, child);
	next = next_held(arc, f + 1);
	if (next->kind == ARC_FIELD_END) {
		window_ends(w, arc);
	} else {
		__builtin_prefetch(*slot_of(arc, next) + next->target, 1);
		*slot_of(arc, f) = NULL;
		look_ahead(w);
		park(w, arc, next);
	}
	return (struct arc *)(void *)child;
}

/* Is @arc such that the loop below goes on with it? I3. */
static __always_inline bool ordered_goes_on(const struct arc *arc)
{
	return plain_alone(arc) &&
	       ((arc->flags & ARC_LEAF) || !(arc->type->flags & ARC_UNORDERED));
}

void plain_ordered(struct reap *r, struct arc **top, struct arc *arc, const struct site *site)
{
	struct arc *child;
	struct window w;

	window_begin(&w, arc, *top);
	child = ordered_take(&w, arc, &arc->type->fields[arc->field]);
	for (;;) {
		if (w.only)
			child = window_chain(&w, child);
		if (child && likely(ordered_goes_on(child))) {
			if (child->type->fields) {
				child = ordered_take(&w, child, child->type->fields);
				continue;
			}
			window_ends(&w, child);
		} else if (child) {
			window_settle(&w);
			if (arc_ref_was_last(child, site)) {
				*top = w.parked;
				reap_died(r, child, site);
				return;
			}
		}
		if (w.parked == w.below)
			break;
		arc = w.parked;
		w.parked = arc->link;
		child = ordered_take(&w, arc, &arc->type->fields[arc->field]);
	}
	window_settle(&w);
}
