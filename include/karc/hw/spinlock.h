/* SPDX-License-Identifier: MIT */
/*
 * spinlock.h - spinlock_t and rwlock_t, under Linux's names
 *
 * Taking one disables preemption on the CPU; what waits for it spins politely (cpu_relax()), so
 * that in deterministic mode the holder's CPU runs. Nothing inside may sleep. Releasing one is a
 * safe point.
 *
 * Zero-filled is a valid free lock without a rank. Debug builds check the lock order, record
 * sites, and refuse an unlock by somebody else; all builds notice a CPU that waits for itself.
 */
#ifndef KARC_HW_SPINLOCK_H
#define KARC_HW_SPINLOCK_H

#include <karc/base/atomic.h>
#include <karc/base/cleanup.h>
#include <karc/base/compiler.h>
#include <karc/base/contract.h>
#include <karc/base/types.h>
#include <karc/hw/context.h>
#include <karc/hw/cpu.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/hw/lockrank.h>

typedef struct KARC_CAPABILITY("spinlock") spinlock {
	u32 owner;			/* 0: free; otherwise 1 + id of the CPU that holds it */
#ifdef KARC_DEBUG
	u32 rank;
	const struct site *site;	/* where it was taken */
#endif
} spinlock_t;

typedef spinlock_t raw_spinlock_t;

#define RWLOCK_WRITER 0x80000000u

typedef struct KARC_CAPABILITY("rwlock") rwlock {
	u32 value;			/* number of readers, or RWLOCK_WRITER | 1 + CPU's id */
#ifdef KARC_DEBUG
	u32 rank;
	const struct site *site;	/* where it was taken for writing */
#endif
} rwlock_t;

#ifdef KARC_DEBUG
#define KARC_LOCK_INIT_RANK(lock_rank) .rank = (lock_rank)
#define karc_lock_set_rank(lock, lock_rank) ((lock)->rank = (lock_rank))
#define karc_lock_rank(lock) ((lock)->rank)
#define karc_lock_set_site(lock, where) WRITE_ONCE((lock)->site, (where))
#else
#define KARC_LOCK_INIT_RANK(lock_rank)
#define karc_lock_set_rank(lock, lock_rank) ((void)(lock_rank))
#define karc_lock_rank(lock) 0
#define karc_lock_set_site(lock, where) ((void)(where))
#endif
#define SPIN_LOCK_UNLOCKED_RANK(rank) ((spinlock_t){ KARC_LOCK_INIT_RANK(rank) })
#define __SPIN_LOCK_UNLOCKED(name) ((spinlock_t){ 0 })
#define __RAW_SPIN_LOCK_UNLOCKED(name) __SPIN_LOCK_UNLOCKED(name)
#define __RW_LOCK_UNLOCKED(name) ((rwlock_t){ 0 })
#define DEFINE_SPINLOCK(name) spinlock_t name = { 0 }
#define DEFINE_RAW_SPINLOCK(name) raw_spinlock_t name = { 0 }
#define DEFINE_RWLOCK(name) rwlock_t name = { 0 }

/* The part of an acquisition that waits; BUGs when this CPU waits for itself. */
void spin_lock_slow(spinlock_t *lock, const struct site *site) __cold;
void read_lock_slow(rwlock_t *lock, const struct site *site) __cold;
void write_lock_slow(rwlock_t *lock, const struct site *site) __cold;

/* The owner word of this CPU. */
static inline u32 karc_lock_self(void)
{
	return karc_cpu->id + 1;
}

static inline bool karc_spin_try(spinlock_t *lock)
{
	u32 free = 0;

	/* Pairs with the release in karc_spin_release(). */
	return __atomic_compare_exchange_n(KARC_STEPPED(&lock->owner, KARC_WRITES), &free,
					   karc_lock_self(), false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

#ifdef KARC_DEBUG
void spin_check_unlock(const spinlock_t *lock);
#else
static inline void spin_check_unlock(const spinlock_t *lock)
{
	(void)lock;
}
#endif

/* Preemption is off already. */
static inline void karc_spin_acquire(spinlock_t *lock, unsigned int flags,
				     const struct site *site) KARC_LOCK_BODY
{
	lockrank_take(lock, karc_lock_rank(lock), flags, site);
	if (unlikely(!karc_spin_try(lock)))
		spin_lock_slow(lock, site);
	karc_lock_set_site(lock, site);
}

static inline void karc_spin_release(spinlock_t *lock) KARC_LOCK_BODY
{
	spin_check_unlock(lock);
	lockrank_release(lock);
	__atomic_store_n(KARC_STEPPED(&lock->owner, KARC_WRITES), 0, __ATOMIC_RELEASE);
}

/**
 * spin_lock_init_rank - make a free lock with a place in the lock order
 * @rank: LR_*; spin_lock_init() gives LR_NONE
 */
static inline void spin_lock_init_rank(spinlock_t *lock, unsigned int rank)
{
	lock->owner = 0;
	karc_lock_set_rank(lock, rank);
	karc_lock_set_site(lock, NULL);
}

static inline void karc_rwlock_init_rank(rwlock_t *lock, unsigned int rank)
{
	lock->value = 0;
	karc_lock_set_rank(lock, rank);
	karc_lock_set_site(lock, NULL);
}

#define spin_lock_init(lock) spin_lock_init_rank(lock, LR_NONE)
#define raw_spin_lock_init(lock) spin_lock_init(lock)
#define rwlock_init_rank(lock, rank) karc_rwlock_init_rank(lock, rank)
#define rwlock_init(lock) karc_rwlock_init_rank(lock, LR_NONE)

static inline void spin_lock_site(spinlock_t *lock, unsigned int flags, const struct site *site)
	KARC_ACQUIRES(*lock) KARC_LOCK_BODY
{
	preempt_disable();
	karc_spin_acquire(lock, flags, site);
}

static inline void spin_unlock(spinlock_t *lock) KARC_RELEASES(*lock) KARC_LOCK_BODY
{
	karc_spin_release(lock);
	preempt_enable();
	hw_safepoint();
}

/* Returns 1 when taken, 0 when somebody else holds it. */
static inline int spin_trylock_site(spinlock_t *lock, const struct site *site)
	KARC_TRY_ACQUIRES(1, *lock) KARC_LOCK_BODY
{
	preempt_disable();
	if (karc_spin_try(lock)) {
		lockrank_take(lock, karc_lock_rank(lock), LOCK_TRY, site);
		karc_lock_set_site(lock, site);
		return 1;
	}
	preempt_enable();
	return 0;
}

static inline void spin_lock_irq_site(spinlock_t *lock, const struct site *site)
	KARC_ACQUIRES(*lock) KARC_LOCK_BODY
{
	local_irq_disable();
	spin_lock_site(lock, 0, site);
}

static inline void spin_unlock_irq(spinlock_t *lock) KARC_RELEASES(*lock) KARC_LOCK_BODY
{
	karc_spin_release(lock);
	local_irq_enable();
	preempt_enable();
	hw_safepoint();
}

static inline unsigned long spin_lock_irqsave_site(spinlock_t *lock, unsigned int nested,
						   const struct site *site)
	KARC_ACQUIRES(*lock) KARC_LOCK_BODY
{
	unsigned long flags;

	local_irq_save(flags);
	spin_lock_site(lock, nested, site);
	return flags;
}

static inline void spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
	KARC_RELEASES(*lock) KARC_LOCK_BODY
{
	karc_spin_release(lock);
	local_irq_restore(flags);
	preempt_enable();
	hw_safepoint();
}

static inline void spin_lock_bh_site(spinlock_t *lock, const struct site *site)
	KARC_ACQUIRES(*lock) KARC_LOCK_BODY
{
	local_bh_disable();
	spin_lock_site(lock, 0, site);
}

static inline void spin_unlock_bh(spinlock_t *lock) KARC_RELEASES(*lock) KARC_LOCK_BODY
{
	karc_spin_release(lock);
	preempt_enable();
	local_bh_enable();
	hw_safepoint();
}

static inline int spin_trylock_irq_site(spinlock_t *lock, const struct site *site)
	KARC_TRY_ACQUIRES(1, *lock) KARC_LOCK_BODY
{
	local_irq_disable();
	if (spin_trylock_site(lock, site))
		return 1;
	local_irq_enable();
	return 0;
}

static inline int spin_trylock_bh_site(spinlock_t *lock, const struct site *site)
	KARC_TRY_ACQUIRES(1, *lock) KARC_LOCK_BODY
{
	local_bh_disable();
	if (spin_trylock_site(lock, site))
		return 1;
	local_bh_enable();
	return 0;
}

/* Held by anybody. */
static inline int spin_is_locked(const spinlock_t *lock)
{
	return READ_ONCE(lock->owner) != 0;
}

/* Whether somebody waits is not recorded; 0 is an allowed answer. */
static inline int spin_is_contended(const spinlock_t *lock)
{
	(void)lock;
	return 0;
}

#define spin_lock(lock) spin_lock_site(lock, 0, LOCK_SITE())
#define spin_lock_nested(lock, subclass) \
	((void)(subclass), spin_lock_site(lock, LOCK_NESTED, LOCK_SITE()))
#define spin_lock_nest_lock(lock, outer) \
	((void)(outer), spin_lock_site(lock, LOCK_NESTED, LOCK_SITE()))
#define spin_trylock(lock) spin_trylock_site(lock, LOCK_SITE())
#define spin_lock_irq(lock) spin_lock_irq_site(lock, LOCK_SITE())
#define spin_lock_bh(lock) spin_lock_bh_site(lock, LOCK_SITE())
#define spin_trylock_irq(lock) spin_trylock_irq_site(lock, LOCK_SITE())
#define spin_trylock_bh(lock) spin_trylock_bh_site(lock, LOCK_SITE())
#define spin_lock_irqsave(lock, flags) \
	((void)((flags) = spin_lock_irqsave_site(lock, 0, LOCK_SITE())))
#define spin_lock_irqsave_nested(lock, flags, subclass) \
	((void)(subclass), \
	 (void)((flags) = spin_lock_irqsave_site(lock, LOCK_NESTED, LOCK_SITE())))
#define spin_trylock_irqsave(lock, flags) (__extension__ ({			\
	local_irq_save(flags);							\
	spin_trylock(lock) ? 1 : ({ local_irq_restore(flags); 0; }); }))
#define assert_spin_locked(lock) BUG_ON(!spin_is_locked(lock))

#define raw_spin_lock(lock) spin_lock(lock)
#define raw_spin_lock_nested(lock, subclass) spin_lock_nested(lock, subclass)
#define raw_spin_unlock(lock) spin_unlock(lock)
#define raw_spin_trylock(lock) spin_trylock(lock)
#define raw_spin_lock_irq(lock) spin_lock_irq(lock)
#define raw_spin_unlock_irq(lock) spin_unlock_irq(lock)
#define raw_spin_lock_bh(lock) spin_lock_bh(lock)
#define raw_spin_unlock_bh(lock) spin_unlock_bh(lock)
#define raw_spin_lock_irqsave(lock, flags) spin_lock_irqsave(lock, flags)
#define raw_spin_unlock_irqrestore(lock, flags) spin_unlock_irqrestore(lock, flags)
#define raw_spin_trylock_irqsave(lock, flags) spin_trylock_irqsave(lock, flags)
#define raw_spin_is_locked(lock) spin_is_locked(lock)
#define assert_raw_spin_locked(lock) assert_spin_locked(lock)

/*
 * rwlock_t: any number of readers or one writer. As in Linux a reader may read again, also from
 * an interrupt handler; so readers never wait for a waiting writer.
 */
static inline bool karc_read_try(rwlock_t *lock)
{
	u32 value = READ_ONCE(lock->value);

	while (!(value & RWLOCK_WRITER)) {
		/* Fails when other readers came or went: that keeps nobody out. */
		if (__atomic_compare_exchange_n(&lock->value, &value, value + 1, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

static inline bool karc_write_try(rwlock_t *lock)
{
	u32 free = 0;

	return __atomic_compare_exchange_n(&lock->value, &free, RWLOCK_WRITER | karc_lock_self(),
					   false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

#ifdef KARC_DEBUG
void read_check_unlock(const rwlock_t *lock);
void write_check_unlock(const rwlock_t *lock);
#else
static inline void read_check_unlock(const rwlock_t *lock)
{
	(void)lock;
}

static inline void write_check_unlock(const rwlock_t *lock)
{
	(void)lock;
}
#endif

static inline void read_lock_site(rwlock_t *lock, const struct site *site) KARC_LOCK_BODY
{
	preempt_disable();
	lockrank_take(lock, karc_lock_rank(lock), LOCK_RECURSIVE, site);
	if (unlikely(!karc_read_try(lock)))
		read_lock_slow(lock, site);
}

static inline void karc_read_release(rwlock_t *lock)
{
	read_check_unlock(lock);
	lockrank_release(lock);
	__atomic_fetch_sub(&lock->value, 1, __ATOMIC_RELEASE);
}

static inline void write_lock_site(rwlock_t *lock, const struct site *site)
	KARC_ACQUIRES(*lock) KARC_LOCK_BODY
{
	preempt_disable();
	lockrank_take(lock, karc_lock_rank(lock), 0, site);
	if (unlikely(!karc_write_try(lock)))
		write_lock_slow(lock, site);
	karc_lock_set_site(lock, site);
}

static inline void karc_write_release(rwlock_t *lock) KARC_LOCK_BODY
{
	write_check_unlock(lock);
	lockrank_release(lock);
	__atomic_store_n(&lock->value, 0, __ATOMIC_RELEASE);
}

static inline void read_unlock(rwlock_t *lock)
{
	karc_read_release(lock);
	preempt_enable();
	hw_safepoint();
}

static inline void write_unlock(rwlock_t *lock) KARC_RELEASES(*lock) KARC_LOCK_BODY
{
	karc_write_release(lock);
	preempt_enable();
	hw_safepoint();
}

static inline int read_trylock_site(rwlock_t *lock, const struct site *site)
{
	preempt_disable();
	if (karc_read_try(lock)) {
		lockrank_take(lock, karc_lock_rank(lock), LOCK_TRY, site);
		return 1;
	}
	preempt_enable();
	return 0;
}

static inline int write_trylock_site(rwlock_t *lock, const struct site *site)
	KARC_TRY_ACQUIRES(1, *lock) KARC_LOCK_BODY
{
	preempt_disable();
	if (karc_write_try(lock)) {
		lockrank_take(lock, karc_lock_rank(lock), LOCK_TRY, site);
		karc_lock_set_site(lock, site);
		return 1;
	}
	preempt_enable();
	return 0;
}

/* The _irq, _irqsave and _bh forms are the plain ones inside the context's own pair. */
#define read_lock(lock) read_lock_site(lock, LOCK_SITE())
#define write_lock(lock) write_lock_site(lock, LOCK_SITE())
#define read_trylock(lock) read_trylock_site(lock, LOCK_SITE())
#define write_trylock(lock) write_trylock_site(lock, LOCK_SITE())
#define read_lock_irq(lock) do { local_irq_disable(); read_lock(lock); } while (0)
#define write_lock_irq(lock) do { local_irq_disable(); write_lock(lock); } while (0)
#define read_lock_bh(lock) do { local_bh_disable(); read_lock(lock); } while (0)
#define write_lock_bh(lock) do { local_bh_disable(); write_lock(lock); } while (0)
#define read_lock_irqsave(lock, flags) \
	do { local_irq_save(flags); read_lock(lock); } while (0)
#define write_lock_irqsave(lock, flags) \
	do { local_irq_save(flags); write_lock(lock); } while (0)

static inline void read_unlock_irq(rwlock_t *lock)
{
	karc_read_release(lock);
	local_irq_enable();
	preempt_enable();
	hw_safepoint();
}

static inline void write_unlock_irq(rwlock_t *lock) KARC_RELEASES(*lock) KARC_LOCK_BODY
{
	karc_write_release(lock);
	local_irq_enable();
	preempt_enable();
	hw_safepoint();
}

static inline void read_unlock_irqrestore(rwlock_t *lock, unsigned long flags)
{
	karc_read_release(lock);
	local_irq_restore(flags);
	preempt_enable();
	hw_safepoint();
}

static inline void write_unlock_irqrestore(rwlock_t *lock, unsigned long flags)
	KARC_RELEASES(*lock) KARC_LOCK_BODY
{
	karc_write_release(lock);
	local_irq_restore(flags);
	preempt_enable();
	hw_safepoint();
}

static inline void read_unlock_bh(rwlock_t *lock)
{
	karc_read_release(lock);
	preempt_enable();
	local_bh_enable();
	hw_safepoint();
}

static inline void write_unlock_bh(rwlock_t *lock) KARC_RELEASES(*lock) KARC_LOCK_BODY
{
	karc_write_release(lock);
	preempt_enable();
	local_bh_enable();
	hw_safepoint();
}

/* Guards, see base/cleanup.h: guard(spinlock_irqsave)(&lock). */
DEFINE_LOCK_GUARD_1(raw_spinlock, raw_spinlock_t, raw_spin_lock(_T->lock),
		    raw_spin_unlock(_T->lock))
DEFINE_LOCK_GUARD_1_COND(raw_spinlock, _try, raw_spin_trylock(_T->lock))
DEFINE_LOCK_GUARD_1(raw_spinlock_nested, raw_spinlock_t, raw_spin_lock_nested(_T->lock, 1),
		    raw_spin_unlock(_T->lock))
DEFINE_LOCK_GUARD_1(raw_spinlock_irq, raw_spinlock_t, raw_spin_lock_irq(_T->lock),
		    raw_spin_unlock_irq(_T->lock))
DEFINE_LOCK_GUARD_1(raw_spinlock_bh, raw_spinlock_t, raw_spin_lock_bh(_T->lock),
		    raw_spin_unlock_bh(_T->lock))
DEFINE_LOCK_GUARD_1(raw_spinlock_irqsave, raw_spinlock_t,
		    raw_spin_lock_irqsave(_T->lock, _T->flags),
		    raw_spin_unlock_irqrestore(_T->lock, _T->flags), unsigned long flags)
DEFINE_LOCK_GUARD_1_COND(raw_spinlock_irqsave, _try,
			 raw_spin_trylock_irqsave(_T->lock, _T->flags))
DEFINE_LOCK_GUARD_1(spinlock, spinlock_t, spin_lock(_T->lock), spin_unlock(_T->lock))
DEFINE_LOCK_GUARD_1_COND(spinlock, _try, spin_trylock(_T->lock))
DEFINE_LOCK_GUARD_1(spinlock_nested, spinlock_t, spin_lock_nested(_T->lock, 1),
		    spin_unlock(_T->lock))
DEFINE_LOCK_GUARD_1(spinlock_irq, spinlock_t, spin_lock_irq(_T->lock),
		    spin_unlock_irq(_T->lock))
DEFINE_LOCK_GUARD_1_COND(spinlock_irq, _try, spin_trylock_irq(_T->lock))
DEFINE_LOCK_GUARD_1(spinlock_bh, spinlock_t, spin_lock_bh(_T->lock), spin_unlock_bh(_T->lock))
DEFINE_LOCK_GUARD_1_COND(spinlock_bh, _try, spin_trylock_bh(_T->lock))
DEFINE_LOCK_GUARD_1(spinlock_irqsave, spinlock_t, spin_lock_irqsave(_T->lock, _T->flags),
		    spin_unlock_irqrestore(_T->lock, _T->flags), unsigned long flags)
DEFINE_LOCK_GUARD_1_COND(spinlock_irqsave, _try, spin_trylock_irqsave(_T->lock, _T->flags))
DEFINE_LOCK_GUARD_1(read_lock, rwlock_t, read_lock(_T->lock), read_unlock(_T->lock))
DEFINE_LOCK_GUARD_1(read_lock_irq, rwlock_t, read_lock_irq(_T->lock), read_unlock_irq(_T->lock))
DEFINE_LOCK_GUARD_1(read_lock_irqsave, rwlock_t, read_lock_irqsave(_T->lock, _T->flags),
		    read_unlock_irqrestore(_T->lock, _T->flags), unsigned long flags)
DEFINE_LOCK_GUARD_1(write_lock, rwlock_t, write_lock(_T->lock), write_unlock(_T->lock))
DEFINE_LOCK_GUARD_1(write_lock_irq, rwlock_t, write_lock_irq(_T->lock),
		    write_unlock_irq(_T->lock))
DEFINE_LOCK_GUARD_1(write_lock_irqsave, rwlock_t, write_lock_irqsave(_T->lock, _T->flags),
		    write_unlock_irqrestore(_T->lock, _T->flags), unsigned long flags)

#endif
