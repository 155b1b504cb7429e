/* SPDX-License-Identifier: MIT */
/*
 * arc_inline.h - the fast paths of arc.h; included by it
 */
#ifndef KARC_REFCOUNT_ARC_INLINE_H
#define KARC_REFCOUNT_ARC_INLINE_H

#include <karc/refcount/arc.h>

/* One strong reference and the weak one that all strong ones share: the holder is alone. */
#define ARC_WORD_ONE	((1ULL << 32) | 1)

static inline struct arc *KARC_BODY(arc_get)(struct arc *arc)
{
	refcount_inc(&arc->kref.refcount);
	return arc;
}

static inline struct arc *KARC_BODY(arc_tryget)(struct arc *arc)
{
	return refcount_inc_not_zero(&arc->kref.refcount) ? arc : NULL;
}

static inline bool KARC_BODY(arc_is_unique)(const struct arc *arc)
{
	/* Pairs with the releases of the puts that made it unique. */
	return __atomic_load_n(&arc->word, __ATOMIC_ACQUIRE) == ARC_WORD_ONE;
}

/*
 * Give one strong reference back; true when it was the last. Who sees its own reference alone,
 * on an object that nobody finds without a count, races with nobody and needs no locked
 * instruction: any get or downgrade needs a reference, any upgrade a weak one. Only one load of
 * both halves shows that. Types have to ask for it, also because loading a word that a locked
 * instruction has just changed costs almost as much as another one (5 ns of 12 for get and put).
 */
static inline bool arc_ref_was_last(struct arc *arc)
{
	if ((arc->flags & ARC_PRIVATE) &&
	    __atomic_load_n(&arc->word, __ATOMIC_ACQUIRE) == ARC_WORD_ONE) {
		refcount_set(&arc->kref.refcount, 0);
		return true;
	}
	return refcount_dec_and_test(&arc->kref.refcount);
}

static inline void KARC_BODY(arc_put)(struct arc *arc)
{
	if (arc && arc_ref_was_last(arc))
		arc_last_put(arc);
}

#endif
