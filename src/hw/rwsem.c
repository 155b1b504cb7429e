/* SPDX-License-Identifier: MIT */
/*
 * rwsem.c - a sleeping lock for many readers or one writer
 *
 * What it is
 *	One word counts readers and has a bit for the writer and one for "somebody waits". While
 *	nobody waits, each operation is one atomic on that word. Once somebody waits, newcomers
 *	stand in line, and whoever releases grants the lock to the head of the line: one writer,
 *	or all readers up to the next writer.
 *
 * Invariants
 *	I1 a writer and readers are never there together
 *	I2 RWSEM_WAITERS is set exactly when the queue is not empty, seen under wait_lock; while it
 *	   is set the count rises only under wait_lock, by a grant
 *	I3 a waiter leaves the queue under wait_lock: granted, or giving up; not both
 *	I4 when the queue's head could hold the lock, somebody is about to grant it: the last
 *	   releaser that saw RWSEM_WAITERS, or the newcomer that set it
 *
 * Locking
 *	wait_lock (LR_WAITQUEUE): waiters, waiter->granted
 *
 * Worst case
 *	A waiter waits for those before it; a release wakes as many readers as stand at the head.
 *
 * Unlike Linux
 *	No optimistic spinning, no stealing. Readers are anonymous; only debug builds, through the
 *	fiber's list of held locks, notice an up_read() by somebody who does not read.
 */
#include <karc/hw/fiber.h>
#include <karc/hw/rwsem.h>
#include "bugmsg.h"

#define RWSEM_WRITER	1ULL
#define RWSEM_WAITERS	2ULL
#define RWSEM_READER	0x100ULL
#define RWSEM_READERS	(~(RWSEM_READER - 1))

struct rwsem_waiter {
	struct list_head node;
	struct fiber *fiber;
	bool write;
	bool granted;
};

void init_rwsem_rank(struct rw_semaphore *sem, unsigned int rank)
{
	sem->count = 0;
	sem->writer = NULL;
	spin_lock_init_rank(&sem->wait_lock, LR_WAITQUEUE);
	INIT_LIST_HEAD(&sem->waiters);
	karc_lock_set_rank(sem, rank);
	karc_lock_set_site(sem, NULL);
}

static u64 count_of(const struct rw_semaphore *sem)
{
	return __atomic_load_n(&sem->count, __ATOMIC_RELAXED);
}

int rwsem_is_locked(const struct rw_semaphore *sem)
{
	return (count_of(sem) & (RWSEM_WRITER | RWSEM_READERS)) != 0;
}

int rwsem_is_write_locked(const struct rw_semaphore *sem)
{
	return (count_of(sem) & RWSEM_WRITER) != 0;
}

int rwsem_is_contended(const struct rw_semaphore *sem)
{
	return (count_of(sem) & RWSEM_WAITERS) != 0;
}

/* Change the count from what it was seen to be; pairs with the releases in up_*(). */
static bool change_count(struct rw_semaphore *sem, u64 *seen, u64 to)
{
	return __atomic_compare_exchange_n(&sem->count, seen, to, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static bool try_read(struct rw_semaphore *sem)
{
	u64 count = count_of(sem);

	while (!(count & (RWSEM_WRITER | RWSEM_WAITERS))) {
		if (change_count(sem, &count, count + RWSEM_READER))
			return true;
	}
	return false;
}

static bool try_write(struct rw_semaphore *sem)
{
	u64 count = 0;

	return change_count(sem, &count, RWSEM_WRITER);
}

/* Under wait_lock: give the lock to the waiter at the head if it can be; true when given. */
static bool grant_head(struct rw_semaphore *sem)
{
	struct rwsem_waiter *w = list_first_entry(&sem->waiters, struct rwsem_waiter, node);
	bool last = list_is_singular(&sem->waiters);
	u64 count = count_of(sem);
	u64 want;

	do {
		if (count & RWSEM_WRITER || (w->write && (count & RWSEM_READERS)))
			return false;
		want = w->write ? count | RWSEM_WRITER : count + RWSEM_READER;
		if (last)
			want &= ~RWSEM_WAITERS;
	} while (!change_count(sem, &count, want));
	list_del(&w->node);
	__atomic_store_n(&w->granted, true, __ATOMIC_RELEASE);
	fiber_wake(w->fiber);
	return true;
}

/* Under wait_lock. Ends: each round takes a waiter off the queue. */
static void grant_locked(struct rw_semaphore *sem)
{
	while (!list_empty(&sem->waiters) && grant_head(sem))
		;
}

static void grant(struct rw_semaphore *sem)
{
	spin_lock(&sem->wait_lock);
	grant_locked(sem);
	spin_unlock(&sem->wait_lock);
}

/* Sleep until granted, or until a signal ends the wait. */
static int wait_for_grant(struct rw_semaphore *sem, struct rwsem_waiter *w, unsigned int state,
			  const struct site *site)
{
	int err = 0;

	for (;;) {
		fiber_prepare();
		if (__atomic_load_n(&w->granted, __ATOMIC_ACQUIRE))
			break;
		if (wait_interrupted(state)) {
			err = -EINTR;
			break;
		}
		fiber_block(site);
	}
	spin_lock(&sem->wait_lock);	/* whoever granted is done with *w after this */
	if (w->granted) {
		err = 0;
	} else {
		list_del(&w->node);
		if (list_empty(&sem->waiters))
			__atomic_fetch_and(&sem->count, ~RWSEM_WAITERS, __ATOMIC_RELAXED);
		else
			grant_locked(sem);	/* the one behind may be able to hold it now */
	}
	spin_unlock(&sem->wait_lock);
	return err;
}

static int down_slow(struct rw_semaphore *sem, bool write, unsigned int state,
		     const struct site *site)
{
	struct rwsem_waiter w = { .fiber = fiber_self(), .write = write };

	if (READ_ONCE(sem->writer) == w.fiber)
		BUG_MSG("deadlock: this fiber waits for an rwsem that it holds for writing");
	spin_lock(&sem->wait_lock);
	list_add_tail(&w.node, &sem->waiters);
	__atomic_fetch_or(&sem->count, RWSEM_WAITERS, __ATOMIC_RELAXED);
	grant_locked(sem);		/* I4: perhaps it was released just now */
	spin_unlock(&sem->wait_lock);
	return wait_for_grant(sem, &w, state, site);
}

static int down_any(struct rw_semaphore *sem, bool write, unsigned int state, unsigned int flags,
		    const struct site *site)
{
	int err = 0;

	might_sleep_site(site ? site : SITE());
	lockrank_take(sem, karc_lock_rank(sem), flags, site);
	if (!(write ? try_write(sem) : try_read(sem)))
		err = down_slow(sem, write, state, site ? site : SITE());
	if (err)
		lockrank_release(sem);
	return err;
}

static void own_write(struct rw_semaphore *sem, const struct site *site)
{
	WRITE_ONCE(sem->writer, fiber_self());
	karc_lock_set_site(sem, site);
}

int down_read_site(struct rw_semaphore *sem, unsigned int state, unsigned int flags,
		   const struct site *site)
{
	return down_any(sem, false, state, flags, site);
}

int down_write_site(struct rw_semaphore *sem, unsigned int state, unsigned int flags,
		    const struct site *site)
{
	int err = down_any(sem, true, state, flags, site);

	if (!err)
		own_write(sem, site);
	return err;
}

int down_read_trylock_site(struct rw_semaphore *sem, const struct site *site)
{
	if (!try_read(sem))
		return 0;
	lockrank_take(sem, karc_lock_rank(sem), LOCK_TRY, site);
	return 1;
}

int down_write_trylock_site(struct rw_semaphore *sem, const struct site *site)
{
	if (!try_write(sem))
		return 0;
	lockrank_take(sem, karc_lock_rank(sem), LOCK_TRY, site);
	own_write(sem, site);
	return 1;
}

void up_read(struct rw_semaphore *sem)
{
	u64 before;

	if (!(count_of(sem) & RWSEM_READERS))
		BUG_MSG("unlock: %s ends reading an rwsem that has no reader", fiber_self()->name);
	lockrank_release(sem);
	before = __atomic_fetch_sub(&sem->count, RWSEM_READER, __ATOMIC_RELEASE);
	if ((before & RWSEM_WAITERS) && (before & RWSEM_READERS) == RWSEM_READER)
		grant(sem);
	hw_safepoint();
}

/* The running fiber must hold @sem for writing. */
static void check_writer(const struct rw_semaphore *sem, const char *what)
{
	const struct fiber *writer = READ_ONCE(sem->writer);
#ifdef KARC_DEBUG
	const struct site *site = READ_ONCE(sem->site);
#else
	const struct site *site = NULL;
#endif

	if (writer == fiber_self())
		return;
	if (!writer)
		BUG_MSG("unlock: %s: %s of an rwsem that has no writer", fiber_self()->name, what);
	BUG_MSG("unlock: %s: %s of an rwsem that %s took at %s:%u", fiber_self()->name, what,
		writer->name, site ? site->file : "?", site ? site->line : 0);
}

void up_write(struct rw_semaphore *sem)
{
	u64 before;

	check_writer(sem, "up_write");
	lockrank_release(sem);
	WRITE_ONCE(sem->writer, NULL);
	before = __atomic_fetch_and(&sem->count, ~RWSEM_WRITER, __ATOMIC_RELEASE);
	if (before & RWSEM_WAITERS)
		grant(sem);
	hw_safepoint();
}

void downgrade_write(struct rw_semaphore *sem)
{
	u64 before;

	check_writer(sem, "downgrade_write");
	WRITE_ONCE(sem->writer, NULL);
	before = __atomic_fetch_add(&sem->count, RWSEM_READER - RWSEM_WRITER, __ATOMIC_RELEASE);
	if (before & RWSEM_WAITERS)
		grant(sem);
}
