/* SPDX-License-Identifier: MIT */
/*
 * kref.h - the classic face of refcount_t: a counter and the function that ends the object
 *
 * As in Linux 6.1. @release gets the kref and finds its object with container_of(). New objects
 * of karc embed a struct arc instead, whose strong half is a kref too.
 */
#ifndef KARC_REFCOUNT_KREF_H
#define KARC_REFCOUNT_KREF_H

#include <karc/hw/spinlock.h>
#include <karc/refcount/refcount.h>

struct mutex;

struct kref {
	refcount_t refcount;
};

#define KREF_INIT(n)	{ .refcount = REFCOUNT_INIT(n) }

/* One reference, the caller's. */
static inline void kref_init(struct kref *kref)
{
	refcount_set(&kref->refcount, 1);
}

static inline unsigned int kref_read(const struct kref *kref)
{
	return refcount_read(&kref->refcount);
}

static inline void kref_get(struct kref *kref)
{
	refcount_inc(&kref->refcount);
}

/* Takes one reference; 1 when it was the last and @release ran. */
static inline int kref_put(struct kref *kref, void (*release)(struct kref *kref))
{
	if (refcount_dec_and_test(&kref->refcount)) {
		release(kref);
		return 1;
	}
	return 0;
}

/* As kref_put(); @release runs with @mutex held and unlocks it. Context: may sleep. */
static inline int kref_put_mutex(struct kref *kref, void (*release)(struct kref *kref),
				 struct mutex *mutex)
{
	if (refcount_dec_and_mutex_lock(&kref->refcount, mutex)) {
		release(kref);
		return 1;
	}
	return 0;
}

/* As kref_put(); @release runs with @lock held and unlocks it. */
static inline int kref_put_lock(struct kref *kref, void (*release)(struct kref *kref),
				spinlock_t *lock)
{
	if (refcount_dec_and_lock(&kref->refcount, lock)) {
		release(kref);
		return 1;
	}
	return 0;
}

/* For lookups under a lock or RCU: false when the object is dying. */
static inline int __must_check kref_get_unless_zero(struct kref *kref)
{
	return refcount_inc_not_zero(&kref->refcount);
}

#endif
