/* SPDX-License-Identifier: MIT */
/*
 * arc_inline.h - the fast paths of arc.h; included by it
 *
 * Each is one test of arc->field, in the line of the count, and one locked instruction. What is
 * counted CPU by CPU or tracked goes another way, and so does a count that left its range, out of
 * line: arc_saturate().
 */
#ifndef KARC_REFCOUNT_ARC_INLINE_H
#define KARC_REFCOUNT_ARC_INLINE_H

#include <karc/refcount/arc.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/local_inline.h>

/* arc.c: with ARC_TRACKED. arc_put_aside(): true when it was the last one. */
struct arc *arc_get_aside(struct arc *arc, const struct site *site);
struct arc *arc_tryget_aside(struct arc *arc, const struct site *site);
bool arc_put_aside(struct arc *arc, const struct site *site);

/* Changed by local.h alone, while others look at it. */
static inline u8 arc_flags(const struct arc *arc)
{
#ifdef KARC_EXPLORE
	if (arc->type->flags & (ARC_PERCPU | ARC_BIASED))
		KARC_STEP_READ(&arc->flags);
#endif
	return __atomic_load_n(&arc->flags, __ATOMIC_RELAXED);
}

/* Both halves at once. Pairs with the releases of all puts. */
static inline u64 arc_word(const struct arc *arc)
{
	return __atomic_load_n(KARC_STEPPED(&arc->word, KARC_READS), __ATOMIC_ACQUIRE);
}

/* An increment found @old: zero, saturated, or the last value there is. */
static inline bool arc_old_is_bad(int old)
{
	return unlikely((unsigned int)old - 1 >= INT_MAX - 1);
}

static inline enum refcount_saturation_type arc_old_fault(int old)
{
	return old ? REFCOUNT_ADD_OVF : REFCOUNT_ADD_UAF;
}

/* The strong half, whatever the flags. */
static __always_inline struct arc *arc_get_shared(struct arc *arc, const struct site *site)
{
	int old = __atomic_fetch_add(KARC_REFS(&arc->kref.refcount), 1, __ATOMIC_RELAXED);

	if (arc_old_is_bad(old))
		arc_saturate(arc, &arc->kref.refcount, arc_old_fault(old), site);
	return arc;
}

/*
 * state, flags and field in one load: a second one between two locked instructions would cost a
 * fifth of both.
 */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define ARC_KEY_LOADED(key)	((key) << 16 | (key) >> 16)
#define ARC_KEY_PRIVATE		ARC_PRIVATE
#else
#define ARC_KEY_LOADED(key)	(key)
#define ARC_KEY_PRIVATE		(ARC_PRIVATE << 8)
#endif
#define ARC_KEY_ASIDE		(ARC_FIELD_ASIDE << 16)
#define ARC_KEY_OTHER		(ARC_KEY_ASIDE | ARC_KEY_PRIVATE)

/* The field in its upper half. */
static __always_inline u32 arc_key(const struct arc *arc)
{
	typedef u32 __attribute__((may_alias)) any_u32;
	u32 key;

#ifdef KARC_EXPLORE
	if (arc->type->flags & (ARC_PERCPU | ARC_BIASED))
		KARC_STEP_READ(&arc->field);
#endif
	key = __atomic_load_n((const any_u32 *)&arc->state, __ATOMIC_ACQUIRE);
	return ARC_KEY_LOADED(key);
}

static __always_inline struct arc *KARC_BODY(arc_get_site)(struct arc *arc, const struct site *site)
{
	u32 key = arc_key(arc);

	if (unlikely(key & ARC_KEY_ASIDE)) {
		if (unlikely(!arc_local_get(arc, key)))
			arc_get_aside(arc, site);
		return arc;
	}
	arc_get_shared(arc, site);
	return arc;
}

static inline struct arc *arc_tryget_shared(struct arc *arc, const struct site *site)
{
	int old = (int)refcount_read(&arc->kref.refcount);

	do {
		if (!old)
			return NULL;
	} while (!__atomic_compare_exchange_n(KARC_REFS(&arc->kref.refcount), &old,
					      karc_refcount_sum(old, 1), false, __ATOMIC_ACQUIRE,
					      __ATOMIC_RELAXED));
	if (arc_old_is_bad(old) &&
	    !arc_saturate(arc, &arc->kref.refcount, REFCOUNT_ADD_NOT_ZERO_OVF, site))
		return NULL;
	return arc;
}

static inline struct arc *KARC_BODY(arc_tryget_site)(struct arc *arc, const struct site *site)
{
	u32 key = arc_key(arc);

	if (unlikely(key & ARC_KEY_ASIDE))
		return likely(arc_local_get(arc, key)) ? arc : arc_tryget_aside(arc, site);
	return arc_tryget_shared(arc, site);
}

static inline struct arc *KARC_BODY(arc_upgrade_site)(struct arc *arc, const struct site *site)
{
	return arc_tryget_site(arc, site);
}

static inline bool KARC_BODY(arc_is_unique)(const struct arc *arc)
{
	return arc_word(arc) == ARC_WORD_ONE &&
	       !(arc_flags(arc) & ARC_LOCAL);
}

/* Take one strong reference off, whatever the flags; true when it was the last. */
static __always_inline bool arc_put_counted(struct arc *arc, const struct site *site)
{
	int old = __atomic_fetch_sub(KARC_REFS(&arc->kref.refcount), 1, __ATOMIC_RELEASE);

	if (likely(old > 1))
		return false;
	if (unlikely(old != 1)) {
		arc_saturate(arc, &arc->kref.refcount, REFCOUNT_SUB_UAF, site);
		return false;
	}
	/* Pairs with the releases of all other puts. */
	__atomic_load_n(&arc->kref.refcount.refs.counter, __ATOMIC_ACQUIRE);
	return true;
}

/*
 * Give one strong reference back; true when it was the last. Who sees its own reference alone,
 * on an object that nobody finds without a count, races with nobody and needs no locked
 * instruction: any get or downgrade needs a reference, any upgrade a weak one. Only one load of
 * both halves shows that. Types have to ask for it, also because loading a word that a locked
 * instruction has just changed costs almost as much as another one (5 ns of 12 for get and put).
 */
static __always_inline bool arc_put_shared(struct arc *arc, const struct site *site)
{
	if ((arc_flags(arc) & ARC_PRIVATE) &&
	    arc_word(arc) == ARC_WORD_ONE) {
		refcount_set(&arc->kref.refcount, 0);
		return true;
	}
	return arc_put_counted(arc, site);
}

static __always_inline bool arc_ref_was_last(struct arc *arc, const struct site *site)
{
	u32 key = arc_key(arc);

	if (unlikely(key & ARC_KEY_ASIDE))
		return likely(arc_local_put(arc, key)) ? false : arc_put_aside(arc, site);
	return arc_put_shared(arc, site);
}

/* plain.c: a put of an object that is ARC_PRIVATE. */
void arc_put_private(struct arc *arc, const struct site *site);

static __always_inline void arc_put_other(struct arc *arc, u32 key, const struct site *site)
{
	if (unlikely(!(key & ARC_KEY_ASIDE)))
		arc_put_private(arc, site);
	else if (unlikely(!arc_local_put(arc, key)) && arc_put_aside(arc, site))
		arc_last_put_site(arc, site);
}

static __always_inline void KARC_BODY(arc_put_site)(struct arc *arc, const struct site *site)
{
	u32 key;

	if (!arc)
		return;
	key = arc_key(arc);
	if (unlikely(key & ARC_KEY_OTHER))
		arc_put_other(arc, key, site);
	else if (unlikely(arc_put_counted(arc, site)))
		arc_last_put_site(arc, site);
}

#endif
