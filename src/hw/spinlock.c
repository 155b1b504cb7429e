/* SPDX-License-Identifier: MIT */
/*
 * spinlock.c - what spinlock.h keeps out of its fast paths: waiting, and complaining
 *
 * What it is
 *	The owner word names the CPU, not the fiber: preemption is off while the lock is held, so
 *	the CPU cannot run anybody else meanwhile, and a CPU that finds its own number waits for
 *	itself. That is a BUG in every build; debug builds know the sites too.
 *
 * Worst case
 *	A waiter spins through cpu_relax(), which lets the other CPUs run in deterministic mode,
 *	gives way on the host in parallel mode, and reports a machine on which nothing moves any
 *	more. There is no queue: under a seeded scheduler each waiter's chance is fair; with host
 *	threads a queue would hand the lock to threads that the host has put aside.
 *
 * Unlike Linux
 *	spin_lock_irqsave() spins with interrupts off. rwlock_t prefers readers.
 */
#ifndef KARC_EXPLORE
#define KARC_EXPLORE	/* whoever waits is slow anyway: let explore.h see it in all builds */
#endif
#include <karc/hw/spinlock.h>
#include "bugmsg.h"

/* Parts of a site for a message; a release build has none. */
#define SITE_FMT "%s:%u"
#define SITE_ARGS(site) (site) ? (site)->file : "?", (site) ? (site)->line : 0

#ifdef KARC_DEBUG
#define taken_at(lock) READ_ONCE((lock)->site)	/* whoever holds it may write it */
#else
#define taken_at(lock) ((const struct site *)NULL)
#endif

void spin_lock_slow(spinlock_t *lock, const struct site *site)
{
	do {
		if (READ_ONCE(lock->owner) == karc_lock_self()) {
			const struct site *held = taken_at(lock);

			BUG_MSG("deadlock: CPU %u waits for a spinlock (" SITE_FMT
				") that it holds (" SITE_FMT ")", smp_processor_id(),
				SITE_ARGS(site), SITE_ARGS(held));
		}
		cpu_relax();
		/* Look first: a failed exchange takes the cache line from who holds the lock. */
	} while (READ_ONCE(lock->owner) || !karc_spin_try(lock));
}

static void check_own_write(const rwlock_t *lock, const struct site *site)
{
	const struct site *held = taken_at(lock);

	if (READ_ONCE(lock->value) == (RWLOCK_WRITER | karc_lock_self()))
		BUG_MSG("deadlock: CPU %u waits for an rwlock (" SITE_FMT
			") that it holds for writing (" SITE_FMT ")", smp_processor_id(),
			SITE_ARGS(site), SITE_ARGS(held));
}

void read_lock_slow(rwlock_t *lock, const struct site *site)
{
	do {
		check_own_write(lock, site);
		cpu_relax();
	} while (!karc_read_try(lock));
}

void write_lock_slow(rwlock_t *lock, const struct site *site)
{
	do {
		check_own_write(lock, site);
		cpu_relax();
	} while (!karc_write_try(lock));
}

#ifdef KARC_DEBUG

void spin_check_unlock(const spinlock_t *lock)
{
	u32 owner = READ_ONCE(lock->owner);
	const struct site *site;

	if (owner == karc_lock_self())
		return;
	if (!owner)
		BUG_MSG("unlock: CPU %u releases a spinlock that nobody holds",
			smp_processor_id());
	site = taken_at(lock);
	BUG_MSG("unlock: CPU %u releases a spinlock that CPU %u took at " SITE_FMT,
		smp_processor_id(), owner - 1, SITE_ARGS(site));
}

void read_check_unlock(const rwlock_t *lock)
{
	u32 value = READ_ONCE(lock->value);

	if (!value || (value & RWLOCK_WRITER))
		BUG_MSG("unlock: CPU %u ends reading an rwlock that has no reader",
			smp_processor_id());
}

void write_check_unlock(const rwlock_t *lock)
{
	if (READ_ONCE(lock->value) != (RWLOCK_WRITER | karc_lock_self()))
		BUG_MSG("unlock: CPU %u ends writing an rwlock that it does not hold",
			smp_processor_id());
}

#endif
