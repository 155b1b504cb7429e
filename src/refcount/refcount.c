/* SPDX-License-Identifier: MIT */
/*
 * refcount.c - the slow halves of refcount_t
 *
 * What it is      A counter that cannot wrap. Wrapping frees an object in use; a counter that
 *                 sticks leaks it, which is the smaller evil and is reported.
 * Objects         Four bytes inside whoever is counted.
 * Invariants      I1  1 .. REFCOUNT_MAX: alive. 0: dead. Negative: saturated, for ever.
 *                 I2  The fast operations are one unconditional add, checked after the fact.
 *                     REFCOUNT_SATURATED lies in the middle of the negative half, so 2^30
 *                     racing operations are needed to leave it before one of them pins it again.
 *                 I3  No operation on a saturated counter reports zero.
 * Locking         None. refcount_dec_and_lock() and its kin never let the count reach zero
 *                 without the lock, so that a lookup under the lock sees no dying object.
 * Worst case      The compare-exchange loops repeat only when another CPU succeeded.
 * Unlike Linux    Nothing missing. The warnings are "once" per machine, and the machine can
 *                 forget that they were given (machine_reset_once()).
 */
#include <karc/hw/mutex.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/refcount.h>

bool refcount_dec_if_one(refcount_t *r)
{
	int one = 1;

	return __atomic_compare_exchange_n(KARC_REFS(r), &one, 0, false, __ATOMIC_RELEASE,
					   __ATOMIC_RELAXED);
}

bool refcount_dec_not_one(refcount_t *r)
{
	int old = (int)refcount_read(r);

	do {
		if (unlikely(old == REFCOUNT_SATURATED))
			return true;
		if (old == 1)
			return false;
		if (unlikely(old == 0)) {
			arc_fault_raise(ARC_FAULT_UNDERFLOW, r, NULL);
			return true;
		}
	} while (!__atomic_compare_exchange_n(KARC_REFS(r), &old, karc_refcount_sum(old, -1), false,
					      __ATOMIC_RELEASE, __ATOMIC_RELAXED));
	return true;
}

bool refcount_dec_and_mutex_lock(refcount_t *r, struct mutex *lock)
{
	if (refcount_dec_not_one(r))
		return false;
	mutex_lock(lock);
	if (!refcount_dec_and_test(r)) {
		mutex_unlock(lock);
		return false;
	}
	return true;
}

bool refcount_dec_and_lock(refcount_t *r, spinlock_t *lock)
{
	if (refcount_dec_not_one(r))
		return false;
	spin_lock(lock);
	if (!refcount_dec_and_test(r)) {
		spin_unlock(lock);
		return false;
	}
	return true;
}

bool refcount_dec_and_lock_irqsave(refcount_t *r, spinlock_t *lock, unsigned long *flags)
{
	if (refcount_dec_not_one(r))
		return false;
	spin_lock_irqsave(lock, *flags);
	if (!refcount_dec_and_test(r)) {
		spin_unlock_irqrestore(lock, *flags);
		return false;
	}
	return true;
}
