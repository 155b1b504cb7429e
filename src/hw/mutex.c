/* SPDX-License-Identifier: MIT */
/*
 * mutex.c - a sleeping lock with hand-off
 *
 * What it is
 *	A word that names the owner, and a queue. Without waiters taking and releasing are one
 *	atomic operation each. With waiters the releaser makes the oldest one the owner before it
 *	wakes it, so that nobody overtakes and nobody starves.
 *
 * Invariants
 *	I1 owner is 0 exactly when the mutex is free; then nobody waits
 *	I2 MUTEX_WAITERS is set exactly when the queue is not empty, seen under wait_lock
 *	I3 a waiter leaves the queue under wait_lock: granted, or giving up; not both
 *
 * Locking
 *	wait_lock (LR_WAITQUEUE, interrupts on): waiters, waiter->granted
 *	owner: atomic; becomes 0 without wait_lock only while MUTEX_WAITERS is clear
 *
 * Life of a waiter
 *	on its fiber's stack; after it has seen the grant it takes and drops wait_lock, so that the
 *	releaser is done with it
 *
 * Unlike Linux
 *	No spinning on a running owner and no stealing; hand-off costs a switch for each contended
 *	release and buys the same order in each run.
 */
#include <karc/hw/fiber.h>
#include <karc/hw/mutex.h>
#include "bugmsg.h"

#define MUTEX_WAITERS 1ULL

struct mutex_waiter {
	struct list_head node;
	struct fiber *fiber;
	bool granted;
};

static u64 self_word(void)
{
	return (u64)(unsigned long)fiber_self();
}

void mutex_init_rank(struct mutex *lock, unsigned int rank)
{
	lock->owner = 0;
	spin_lock_init_rank(&lock->wait_lock, LR_WAITQUEUE);
	INIT_LIST_HEAD(&lock->waiters);
	karc_lock_set_rank(lock, rank);
	karc_lock_set_site(lock, NULL);
}

void mutex_destroy(struct mutex *lock)
{
	BUG_ON(mutex_is_locked(lock));
}

static bool try_lock(struct mutex *lock)
{
	u64 free = 0;

	/* Pairs with the release in mutex_unlock(). */
	return __atomic_compare_exchange_n(KARC_STEPPED(&lock->owner, KARC_WRITES), &free,
					   self_word(), false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

/* Under wait_lock: take the mutex, or note that somebody waits. True when taken. */
static bool try_lock_or_flag(struct mutex *lock)
{
	u64 owner = __atomic_load_n(&lock->owner, __ATOMIC_RELAXED);
	u64 want;

	do {
		want = owner ? owner | MUTEX_WAITERS : self_word();
	} while (!__atomic_compare_exchange_n(KARC_STEPPED(&lock->owner, KARC_WRITES), &owner,
					      want, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	return !owner;
}

/* Under wait_lock: a waiter left the queue; clear the flag with the last one: I2. */
static void unflag_if_empty(struct mutex *lock)
{
	if (list_empty(&lock->waiters))
		__atomic_fetch_and(&lock->owner, ~MUTEX_WAITERS, __ATOMIC_RELAXED);
}

/* Sleep until granted, or until a signal ends the wait. */
static int wait_for_grant(struct mutex *lock, struct mutex_waiter *w, unsigned int state,
			  const struct site *site)
{
	int err = 0;

	for (;;) {
		fiber_prepare();
		if (smp_load_acquire(&w->granted))
			break;
		if (wait_interrupted(state)) {
			err = -EINTR;
			break;
		}
		fiber_block(site);
	}
	spin_lock(&lock->wait_lock);
	if (w->granted) {
		err = 0;
	} else {
		list_del(&w->node);
		unflag_if_empty(lock);
	}
	spin_unlock(&lock->wait_lock);
	return err;
}

static int lock_slow(struct mutex *lock, unsigned int state, const struct site *site)
{
	struct mutex_waiter w = { .fiber = fiber_self() };

	if ((__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) & ~MUTEX_WAITERS) == self_word())
		BUG_MSG("deadlock: this fiber waits for a mutex that it holds");
	spin_lock(&lock->wait_lock);
	if (try_lock_or_flag(lock)) {
		spin_unlock(&lock->wait_lock);
		return 0;
	}
	list_add_tail(&w.node, &lock->waiters);
	spin_unlock(&lock->wait_lock);
	return wait_for_grant(lock, &w, state, site);
}

int mutex_lock_site(struct mutex *lock, unsigned int state, unsigned int flags,
		    const struct site *site)
{
	might_sleep_site(site ? site : SITE());
	lockrank_take(lock, karc_lock_rank(lock), flags, site);
	if (!try_lock(lock)) {
		int err = lock_slow(lock, state, site ? site : SITE());

		if (err) {
			lockrank_release(lock);
			return err;
		}
	}
	karc_lock_set_site(lock, site);
	return 0;
}

int mutex_trylock_site(struct mutex *lock, const struct site *site)
{
	if (in_interrupt())
		BUG_MSG("mutex_trylock in an interrupt handler: a mutex has a task as its owner");
	if (!try_lock(lock))
		return 0;
	lockrank_take(lock, karc_lock_rank(lock), LOCK_TRY, site);
	karc_lock_set_site(lock, site);
	return 1;
}

static void bad_unlock(const struct mutex *lock, u64 owner)
{
	const struct fiber *f = (const struct fiber *)(unsigned long)(owner & ~MUTEX_WAITERS);
#ifdef KARC_DEBUG
	const struct site *site = READ_ONCE(lock->site);
#else
	const struct site *site = NULL;

	(void)lock;
#endif
	if (!f)
		BUG_MSG("unlock: %s releases a mutex that nobody holds", fiber_self()->name);
	BUG_MSG("unlock: %s releases a mutex that %s took at %s:%u", fiber_self()->name, f->name,
		site ? site->file : "?", site ? site->line : 0);
}

/* Make the oldest waiter the owner. */
static void hand_off(struct mutex *lock)
{
	struct mutex_waiter *w;
	u64 next;

	spin_lock(&lock->wait_lock);
	if (list_empty(&lock->waiters)) {
		/* The last waiter gave up after our first look. */
		smp_store_release(&lock->owner, 0);
		spin_unlock(&lock->wait_lock);
		return;
	}
	w = list_first_entry(&lock->waiters, struct mutex_waiter, node);
	list_del(&w->node);
	next = (u64)(unsigned long)w->fiber;
	if (!list_empty(&lock->waiters))
		next |= MUTEX_WAITERS;
	smp_store_release(&lock->owner, next);
	smp_store_release(&w->granted, true);
	fiber_wake(w->fiber);
	spin_unlock(&lock->wait_lock);
}

void mutex_unlock(struct mutex *lock)
{
	u64 owner = self_word();

	if ((__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) & ~MUTEX_WAITERS) != owner)
		bad_unlock(lock, __atomic_load_n(&lock->owner, __ATOMIC_RELAXED));
	lockrank_release(lock);
	if (!__atomic_compare_exchange_n(KARC_STEPPED(&lock->owner, KARC_WRITES), &owner, 0, false,
					 __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		hand_off(lock);
	hw_safepoint();
}
