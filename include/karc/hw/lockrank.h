/* SPDX-License-Identifier: MIT */
/*
 * lockrank.h - the lock order of the house, outermost first
 *
 * A lock may be taken only while every lock held ranks before it; the same rank nests by
 * address inside the arena or by the caller's word (spin_lock_nested). Locks that sleep rank
 * before locks that spin. Rank 0 means "not ours" (a user's lock): only self-deadlock and
 * sleeping inside a spinlock are checked.
 */
#ifndef KARC_HW_LOCKRANK_H
#define KARC_HW_LOCKRANK_H

#include <karc/base/bug.h>
#include <karc/base/site.h>
#include <karc/base/types.h>

enum lock_rank {
	LR_NONE,
	/* locks that sleep */
	LR_KOBJECT,		/* a kset's or sysfs tree's mutex */
	LR_EXEC,
	LR_MMAP,		/* mm->mmap_lock */
	LR_VMA,
	LR_SLAB_MUTEX,		/* list of caches */
	LR_INODE,		/* inode->i_rwsem */
	LR_PAGE,		/* page lock */
	LR_RMAP,		/* anon_vma */
	LR_SLEEP_LAST,
	/* locks that spin */
	LR_TASKLIST,
	LR_SIGHAND,
	LR_PIDS,
	LR_TASK,		/* task_lock(), and the list of the doomed */
	LR_FILES,
	LR_PGTABLE,		/* page-table page */
	LR_PAGECACHE,		/* mapping->i_pages */
	LR_SWAP,
	LR_LRU,
	LR_KSET,
	LR_SLAB_LIST,		/* list of caches, for who cannot sleep */
	LR_SLAB_ALIEN,
	LR_SLAB_NODE,
	LR_VMAP,
	LR_ZONE,
	LR_PCP,
	LR_WAITQUEUE,
	LR_WAKE,		/* a task's fiber, against those who wake it */
	LR_RCU,
	LR_LEDGER,
	LR_HW,			/* hw's own */
	LR_NR
};

/* How a lock is taken. */
#define LOCK_NESTED	0x1u	/* the caller vouches for the order within the same rank */
#define LOCK_TRY	0x2u	/* it was got without waiting: cannot deadlock, any order */
#define LOCK_RECURSIVE	0x4u	/* a reader that may read again: rwlock_t */

const char *lock_rank_name(unsigned int rank);

/* Number of locks the running fiber holds (0 without KARC_DEBUG). */
unsigned int lockrank_held(void);

#ifdef KARC_DEBUG

/**
 * lockrank_take - the running fiber is about to take (with LOCK_TRY: has taken) a lock
 * @flags: LOCK_*
 * @site:  where, for the BUG's text and the list of held locks
 *
 * Every lock calls it before it waits. A wrong order, or a lock that the fiber holds already, is
 * a BUG that names both locks and both sites. lockrank_release() is the other half; releasing a
 * lock that the fiber does not hold is a BUG.
 */
void lockrank_take(const void *lock, unsigned int rank, unsigned int flags,
		   const struct site *site);
void lockrank_release(const void *lock);

/* Does the running fiber hold @lock? Where did it take it (NULL: does not hold it)? */
bool lockrank_holds(const void *lock);
const struct site *lockrank_site(const void *lock);

/* A lock that lies in memory somebody is about to free, and who holds it or waits for it. */
struct lock_in_memory {
	const void *lock;
	const struct site *site;
	unsigned int rank;
	char task[24];
	u64 task_id;
	bool mine;			/* the running fiber */
};

/**
 * lockrank_find_in - a lock in [@p, @p + @bytes) that a fiber of this machine holds
 *
 * One that is held by another CPU's fiber right now may be missed. Costs a look at a small table
 * as long as no lock is held in such an address.
 * Context: any. Model: what Linux's debug_check_no_locks_freed() asks, of all tasks.
 */
bool lockrank_find_in(const void *p, size_t bytes, struct lock_in_memory *found);

/* The call site, recorded in debug builds only. */
#define LOCK_SITE() SITE()

#define lockdep_is_held(lock) lockrank_holds(lock)
#define lockdep_assert_held(lock) ((void)WARN_ON(!lockrank_holds(lock)))
#define lockdep_assert_not_held(lock) ((void)WARN_ON(lockrank_holds(lock)))

#else

static inline void lockrank_take(const void *lock, unsigned int rank, unsigned int flags,
				 const struct site *site)
{
	(void)lock;
	(void)rank;
	(void)flags;
	(void)site;
}

static inline void lockrank_release(const void *lock)
{
	(void)lock;
}

static inline const struct site *lockrank_site(const void *lock)
{
	(void)lock;
	return NULL;
}

#define LOCK_SITE() ((const struct site *)NULL)

#define lockdep_is_held(lock) ((void)(lock), 1)
#define lockdep_assert_held(lock) ((void)(lock))
#define lockdep_assert_not_held(lock) ((void)(lock))

#endif

#define lockdep_assert_held_write(lock) lockdep_assert_held(lock)
#define lockdep_assert_held_read(lock) lockdep_assert_held(lock)
#define lockdep_assert_held_once(lock) lockdep_assert_held(lock)

/* The plain case, for locks of one's own making. */
static inline void lockrank_acquire(const void *lock, unsigned int rank, const struct site *site)
{
	lockrank_take(lock, rank, 0, site);
}

#endif
