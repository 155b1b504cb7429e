/* SPDX-License-Identifier: MIT */
/*
 * mutex.h - a sleeping lock with an owner, under Linux's names
 *
 * Waiters get it in the order in which they came. Only the owner unlocks, and not from
 * interrupts; both are checked in all builds.
 */
#ifndef KARC_HW_MUTEX_H
#define KARC_HW_MUTEX_H

#include <karc/base/cleanup.h>
#include <karc/base/err.h>
#include <karc/base/list.h>
#include <karc/hw/spinlock.h>
#include <karc/hw/wait.h>

struct KARC_CAPABILITY("mutex") mutex {
	u64 owner;			/* atomic: struct fiber *, MUTEX_WAITERS in bit 0 */
	spinlock_t wait_lock;
	struct list_head waiters;	/* wait_lock; oldest first */
#ifdef KARC_DEBUG
	u32 rank;
	const struct site *site;	/* where the owner took it */
#endif
};

#define __MUTEX_INITIALIZER(name) {						\
	.wait_lock = { KARC_LOCK_INIT_RANK(LR_WAITQUEUE) },			\
	.waiters = LIST_HEAD_INIT((name).waiters) }
#define DEFINE_MUTEX(name) struct mutex name = __MUTEX_INITIALIZER(name)

/* A free mutex with a place in the lock order: LR_*, before LR_SLEEP_LAST. */
void mutex_init_rank(struct mutex *lock, unsigned int rank);
#define mutex_init(lock) mutex_init_rank(lock, LR_NONE)

/* The end of a mutex: BUG if it is held. */
void mutex_destroy(struct mutex *lock);

/**
 * mutex_lock_site - the one behind mutex_lock() and its forms
 * @state: TASK_*: which signals end the wait
 * @flags: LOCK_NESTED or 0
 *
 * Context: may sleep. Errors: -EINTR when a signal ended the wait; the mutex is not held then.
 */
int mutex_lock_site(struct mutex *lock, unsigned int state, unsigned int flags,
		    const struct site *site) KARC_TRY_ACQUIRES(0, *lock) KARC_LOCK_BODY;

/* Returns 1 when taken, 0 when it is held. Context: task, need not be able to sleep. */
int mutex_trylock_site(struct mutex *lock, const struct site *site)
	KARC_TRY_ACQUIRES(1, *lock) KARC_LOCK_BODY;

void mutex_unlock(struct mutex *lock) KARC_RELEASES(*lock) KARC_LOCK_BODY;

static inline void mutex_lock_uninterruptible_site(struct mutex *lock, unsigned int flags,
						   const struct site *site)
	KARC_ACQUIRES(*lock) KARC_LOCK_BODY
{
	(void)mutex_lock_site(lock, TASK_UNINTERRUPTIBLE, flags, site);
}

#define mutex_lock(lock) mutex_lock_uninterruptible_site(lock, 0, LOCK_SITE())
#define mutex_lock_io(lock) mutex_lock(lock)
#define mutex_lock_nested(lock, subclass) \
	((void)(subclass), mutex_lock_uninterruptible_site(lock, LOCK_NESTED, LOCK_SITE()))
#define mutex_lock_nest_lock(lock, outer) \
	((void)(outer), mutex_lock_uninterruptible_site(lock, LOCK_NESTED, LOCK_SITE()))
#define mutex_lock_interruptible(lock) \
	mutex_lock_site(lock, TASK_INTERRUPTIBLE, 0, LOCK_SITE())
#define mutex_lock_killable(lock) mutex_lock_site(lock, TASK_KILLABLE, 0, LOCK_SITE())
#define mutex_lock_interruptible_nested(lock, subclass) \
	((void)(subclass), mutex_lock_site(lock, TASK_INTERRUPTIBLE, LOCK_NESTED, LOCK_SITE()))
#define mutex_lock_killable_nested(lock, subclass) \
	((void)(subclass), mutex_lock_site(lock, TASK_KILLABLE, LOCK_NESTED, LOCK_SITE()))
#define mutex_trylock(lock) mutex_trylock_site(lock, LOCK_SITE())

static inline bool mutex_is_locked(const struct mutex *lock)
{
	return __atomic_load_n(&lock->owner, __ATOMIC_RELAXED) != 0;
}

/* guard(mutex)(&lock), mutex_try and mutex_intr for scoped_cond_guard(); see base/cleanup.h. */
DEFINE_GUARD(mutex, struct mutex *, mutex_lock(_T), mutex_unlock(_T))
DEFINE_GUARD_COND(mutex, _try, mutex_trylock(_T))
DEFINE_GUARD_COND(mutex, _intr, mutex_lock_interruptible(_T) == 0)

#endif
