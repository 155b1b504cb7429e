/* SPDX-License-Identifier: MIT */
/*
 * refcount.h - refcount_t: a counter that saturates instead of wrapping
 *
 * Names, values, orderings and warnings are those of Linux 6.1; refcount_set_release() and the
 * _acquire forms came later. A counter in
 * [1, REFCOUNT_MAX] is alive, 0 is dead, everything negative is saturated: it stays there and
 * what it guards is never freed. Each of the warnings is given once per machine.
 *
 * Ordering: increments are relaxed (who increments has a reference already, and with it the
 * object); decrements release; the decrement that reaches zero acquires, and so sees every
 * access made under the other references.
 */
#ifndef KARC_REFCOUNT_REFCOUNT_H
#define KARC_REFCOUNT_REFCOUNT_H

#include <limits.h>

#include <karc/base/atomic.h>
#include <karc/base/compiler.h>
#include <karc/base/contract.h>
#include <karc/base/types.h>
#include <karc/hw/spinlock.h>

struct mutex;

typedef struct refcount_struct {
	atomic_t refs;
} refcount_t;

#define REFCOUNT_INIT(n)	{ .refs = ATOMIC_INIT(n) }
#define REFCOUNT_MAX		INT_MAX
#define REFCOUNT_SATURATED	(INT_MIN / 2)

enum refcount_saturation_type {
	REFCOUNT_ADD_NOT_ZERO_OVF,
	REFCOUNT_ADD_OVF,
	REFCOUNT_ADD_UAF,
	REFCOUNT_SUB_UAF,
	REFCOUNT_DEC_LEAK,
};

/* The counter itself, for an access that other CPUs race with; see KARC_STEPPED(). */
#define KARC_REFS(r)		KARC_STEPPED(&(r)->refs.counter, KARC_WRITES)
#define KARC_REFS_READ(r)	KARC_STEPPED(&(r)->refs.counter, KARC_READS)

/* Pin the counter at REFCOUNT_SATURATED and say why. Context: any. */
void refcount_warn_saturate(refcount_t *r, enum refcount_saturation_type t) __cold;

static inline void refcount_set(refcount_t *r, int n)
{
	__atomic_store_n(KARC_REFS(r), n, __ATOMIC_RELAXED);
}

/* As refcount_set(); what was written before is seen by who acquires a reference after it. */
static inline void refcount_set_release(refcount_t *r, int n)
{
	smp_store_release(&r->refs.counter, n);
}

static inline unsigned int refcount_read(const refcount_t *r)
{
	return (unsigned int)__atomic_load_n(KARC_REFS_READ(r), __ATOMIC_RELAXED);
}

/* @old + @i as the machine counts: wraps. */
static inline int karc_refcount_sum(int old, int i)
{
	return (int)((unsigned int)old + (unsigned int)i);
}

/* The __refcount_ forms also store the value found before the operation in *@oldp. */
static inline void __refcount_add(int i, refcount_t *r, int *oldp)
{
	int old = __atomic_fetch_add(KARC_REFS(r), i, __ATOMIC_RELAXED);

	if (oldp)
		*oldp = old;
	if (unlikely(!old))
		refcount_warn_saturate(r, REFCOUNT_ADD_UAF);
	else if (unlikely((old | karc_refcount_sum(old, i)) < 0))
		refcount_warn_saturate(r, REFCOUNT_ADD_OVF);
}

static inline void refcount_add(int i, refcount_t *r)
{
	__refcount_add(i, r, NULL);
}

static inline void __refcount_inc(refcount_t *r, int *oldp)
{
	__refcount_add(1, r, oldp);
}

/* One more reference; the caller holds one. Warns and saturates on zero and on overflow. */
static inline void refcount_inc(refcount_t *r)
{
	__refcount_add(1, r, NULL);
}

static inline __must_check bool karc_refcount_add_not_zero(int i, refcount_t *r, int *oldp,
							   int order)
{
	int old = (int)refcount_read(r);

	do {
		if (!old)
			break;
	} while (!__atomic_compare_exchange_n(KARC_REFS(r), &old, karc_refcount_sum(old, i),
					      false, order, __ATOMIC_RELAXED));
	if (oldp)
		*oldp = old;
	if (unlikely((old | karc_refcount_sum(old, i)) < 0))
		refcount_warn_saturate(r, REFCOUNT_ADD_NOT_ZERO_OVF);
	return old != 0;
}

static inline __must_check bool __refcount_add_not_zero(int i, refcount_t *r, int *oldp)
{
	return karc_refcount_add_not_zero(i, r, oldp, __ATOMIC_RELAXED);
}

/* False when the count is zero, and then nothing changed. True for a saturated counter. */
static inline __must_check bool refcount_add_not_zero(int i, refcount_t *r)
{
	return __refcount_add_not_zero(i, r, NULL);
}

static inline __must_check bool __refcount_inc_not_zero(refcount_t *r, int *oldp)
{
	return __refcount_add_not_zero(1, r, oldp);
}

static inline __must_check bool refcount_inc_not_zero(refcount_t *r)
{
	return __refcount_add_not_zero(1, r, NULL);
}

/* For objects whose memory is used again at once: the reads of the new object come after. */
static inline __must_check bool __refcount_add_not_zero_acquire(int i, refcount_t *r, int *oldp)
{
	return karc_refcount_add_not_zero(i, r, oldp, __ATOMIC_ACQUIRE);
}

static inline __must_check bool refcount_add_not_zero_acquire(int i, refcount_t *r)
{
	return __refcount_add_not_zero_acquire(i, r, NULL);
}

static inline __must_check bool __refcount_inc_not_zero_acquire(refcount_t *r, int *oldp)
{
	return __refcount_add_not_zero_acquire(1, r, oldp);
}

static inline __must_check bool refcount_inc_not_zero_acquire(refcount_t *r)
{
	return __refcount_add_not_zero_acquire(1, r, NULL);
}

static inline __must_check bool __refcount_sub_and_test(int i, refcount_t *r, int *oldp)
{
	int old = __atomic_fetch_sub(KARC_REFS(r), i, __ATOMIC_RELEASE);

	if (oldp)
		*oldp = old;
	if (old == i) {
		/* Pairs with the releases of all other decrements. */
		__atomic_load_n(&r->refs.counter, __ATOMIC_ACQUIRE);
		return true;
	}
	if (unlikely((old | karc_refcount_sum(old, -i)) < 0))
		refcount_warn_saturate(r, REFCOUNT_SUB_UAF);
	return false;
}

/* True when this brought the count to zero. False, with a warning, below zero. */
static inline __must_check bool refcount_sub_and_test(int i, refcount_t *r)
{
	return __refcount_sub_and_test(i, r, NULL);
}

static inline __must_check bool __refcount_dec_and_test(refcount_t *r, int *oldp)
{
	return __refcount_sub_and_test(1, r, oldp);
}

static inline __must_check bool refcount_dec_and_test(refcount_t *r)
{
	return __refcount_sub_and_test(1, r, NULL);
}

static inline void __refcount_dec(refcount_t *r, int *oldp)
{
	int old = __atomic_fetch_sub(KARC_REFS(r), 1, __ATOMIC_RELEASE);

	if (oldp)
		*oldp = old;
	if (unlikely(old <= 1))
		refcount_warn_saturate(r, REFCOUNT_DEC_LEAK);
}

/* For who knows that it is not the last: reaching zero is a leak, warned about. */
static inline void refcount_dec(refcount_t *r)
{
	__refcount_dec(r, NULL);
}

/* 1 -> 0 and nothing else; no acquire: the caller says what it orders. */
__must_check bool refcount_dec_if_one(refcount_t *r);

/* Decrement unless the count is one; false when it is. True for a saturated counter. */
__must_check bool refcount_dec_not_one(refcount_t *r);

/**
 * refcount_dec_and_lock - decrement; when that makes zero, return with the lock held
 *
 * Context: may sleep for the mutex form; any for the spinlock forms.
 * Locks:   takes @lock only if the count may reach zero; held on return when true.
 */
__must_check bool refcount_dec_and_mutex_lock(refcount_t *r, struct mutex *lock);
__must_check bool refcount_dec_and_lock(refcount_t *r, spinlock_t *lock);
__must_check bool refcount_dec_and_lock_irqsave(refcount_t *r, spinlock_t *lock,
						unsigned long *flags);

#endif
