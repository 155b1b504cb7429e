/* SPDX-License-Identifier: MIT */
/*
 * rwsem.h - a sleeping lock for many readers or one writer, under Linux's names
 *
 * First come, first served: a reader that comes while a writer waits stands behind it, so
 * neither side starves. For that reason a fiber must not read-lock twice.
 */
#ifndef KARC_HW_RWSEM_H
#define KARC_HW_RWSEM_H

#include <karc/base/cleanup.h>
#include <karc/base/err.h>
#include <karc/base/list.h>
#include <karc/hw/spinlock.h>
#include <karc/hw/wait.h>

struct KARC_CAPABILITY("rwsem") rw_semaphore {
	u64 count;			/* atomic: RWSEM_WRITER | RWSEM_WAITERS | readers */
	struct fiber *writer;		/* the holder for writing; written by itself */
	spinlock_t wait_lock;
	struct list_head waiters;	/* wait_lock; oldest first */
#ifdef KARC_DEBUG
	u32 rank;
	const struct site *site;	/* where the writer took it */
#endif
};

#define __RWSEM_INITIALIZER(name) {						\
	.wait_lock = { KARC_LOCK_INIT_RANK(LR_WAITQUEUE) },			\
	.waiters = LIST_HEAD_INIT((name).waiters) }
#define DECLARE_RWSEM(name) struct rw_semaphore name = __RWSEM_INITIALIZER(name)

/* A free one with a place in the lock order: LR_*, before LR_SLEEP_LAST. */
void init_rwsem_rank(struct rw_semaphore *sem, unsigned int rank);
#define init_rwsem(sem) init_rwsem_rank(sem, LR_NONE)

/**
 * down_read_site, down_write_site - the ones behind down_read(), down_write() and their forms
 * @state: TASK_*: which signals end the wait
 * @flags: LOCK_NESTED or 0
 *
 * Context: may sleep. Errors: -EINTR when a signal ended the wait; not held then.
 */
int down_read_site(struct rw_semaphore *sem, unsigned int state, unsigned int flags,
		   const struct site *site);
int down_write_site(struct rw_semaphore *sem, unsigned int state, unsigned int flags,
		    const struct site *site);

/* 1 when taken, 0 when that would mean waiting. */
int down_read_trylock_site(struct rw_semaphore *sem, const struct site *site);
int down_write_trylock_site(struct rw_semaphore *sem, const struct site *site);

void up_read(struct rw_semaphore *sem);
void up_write(struct rw_semaphore *sem);

/* From writer to reader without letting another writer in. */
void downgrade_write(struct rw_semaphore *sem);

#define down_read(sem) ((void)down_read_site(sem, TASK_UNINTERRUPTIBLE, 0, LOCK_SITE()))
#define down_read_nested(sem, subclass) ((void)(subclass), \
	(void)down_read_site(sem, TASK_UNINTERRUPTIBLE, LOCK_NESTED, LOCK_SITE()))
#define down_read_interruptible(sem) \
	down_read_site(sem, TASK_INTERRUPTIBLE, 0, LOCK_SITE())
#define down_read_killable(sem) down_read_site(sem, TASK_KILLABLE, 0, LOCK_SITE())
#define down_read_killable_nested(sem, subclass) ((void)(subclass), \
	down_read_site(sem, TASK_KILLABLE, LOCK_NESTED, LOCK_SITE()))
#define down_read_trylock(sem) down_read_trylock_site(sem, LOCK_SITE())
#define down_write(sem) ((void)down_write_site(sem, TASK_UNINTERRUPTIBLE, 0, LOCK_SITE()))
#define down_write_nested(sem, subclass) ((void)(subclass), \
	(void)down_write_site(sem, TASK_UNINTERRUPTIBLE, LOCK_NESTED, LOCK_SITE()))
#define down_write_nest_lock(sem, outer) ((void)(outer), \
	(void)down_write_site(sem, TASK_UNINTERRUPTIBLE, LOCK_NESTED, LOCK_SITE()))
#define down_write_killable(sem) down_write_site(sem, TASK_KILLABLE, 0, LOCK_SITE())
#define down_write_killable_nested(sem, subclass) ((void)(subclass), \
	down_write_site(sem, TASK_KILLABLE, LOCK_NESTED, LOCK_SITE()))
#define down_write_trylock(sem) down_write_trylock_site(sem, LOCK_SITE())

/* Held by anybody, for reading or writing; for writing; with somebody waiting. */
int rwsem_is_locked(const struct rw_semaphore *sem);
int rwsem_is_write_locked(const struct rw_semaphore *sem);
int rwsem_is_contended(const struct rw_semaphore *sem);

/* Guards, see base/cleanup.h. */
DEFINE_GUARD(rwsem_read, struct rw_semaphore *, down_read(_T), up_read(_T))
DEFINE_GUARD_COND(rwsem_read, _try, down_read_trylock(_T))
DEFINE_GUARD_COND(rwsem_read, _intr, down_read_interruptible(_T) == 0)
DEFINE_GUARD(rwsem_write, struct rw_semaphore *, down_write(_T), up_write(_T))
DEFINE_GUARD_COND(rwsem_write, _try, down_write_trylock(_T))

#endif
