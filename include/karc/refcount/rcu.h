/* SPDX-License-Identifier: MIT */
/*
 * rcu.h - read-copy update, the classic kind, under Linux's names
 *
 * A reader disables preemption and may not sleep; whatever an index pointed at while it reads
 * stays in memory until it is done. A grace period is over when every CPU was seen outside
 * readers once.
 */
#ifndef KARC_REFCOUNT_RCU_H
#define KARC_REFCOUNT_RCU_H

#include <karc/base/atomic.h>
#include <karc/base/cleanup.h>
#include <karc/base/compiler.h>
#include <karc/base/contract.h>
#include <karc/base/types.h>
#include <karc/hw/context.h>

/* Two words inside the object that waits. Valid memory until @func has been called. */
struct rcu_head {
	struct rcu_head *next;
	void (*func)(struct rcu_head *head);
};
#define callback_head rcu_head

typedef void (*rcu_callback_t)(struct rcu_head *head);
typedef void (*call_rcu_func_t)(struct rcu_head *head, rcu_callback_t func);

/* Nests. Between the two the CPU keeps its fiber; sleeping is reported by might_sleep(). */
static inline void rcu_read_lock(void)
{
	KARC_STEP_EVENT(karc_cpu->machine, KARC_READS);
	preempt_disable();
}

static inline void rcu_read_unlock(void)
{
	KARC_STEP_EVENT(karc_cpu->machine, KARC_READS);
	preempt_enable();
}

static inline void rcu_read_lock_bh(void)
{
	local_bh_disable();
}

static inline void rcu_read_unlock_bh(void)
{
	local_bh_enable();
}

static inline void rcu_read_lock_sched(void)
{
	preempt_disable();
}

static inline void rcu_read_unlock_sched(void)
{
	preempt_enable();
}

/* Whether this CPU counts as a reader now: anything that keeps preemption off is one. */
static inline int rcu_read_lock_held(void)
{
	return !preemptible();
}

#define rcu_read_lock_bh_held()		rcu_read_lock_held()
#define rcu_read_lock_sched_held()	rcu_read_lock_held()
#define rcu_read_lock_any_held()	rcu_read_lock_held()

/**
 * synchronize_rcu - wait until every reader that runs now is done
 *
 * Context: may sleep; inside a reader it would wait for itself, which might_sleep() reports.
 * Order:   what was unlinked before it is seen by no reader after it.
 * Model:   Linux 6.1.
 */
void synchronize_rcu(void);
#define synchronize_rcu_expedited()	synchronize_rcu()
#define synchronize_sched()		synchronize_rcu()

/**
 * call_rcu - call func(head) after a grace period, in softirq context on this CPU
 * @head: memory of the object; the callback may free it
 *
 * Context: any. Callbacks of one CPU run in the order they were queued. @func must not sleep.
 * Model:   Linux 6.1.
 */
void call_rcu(struct rcu_head *head, rcu_callback_t func);

/*
 * Number of the batch that call_rcu() would join on this CPU. While it is the same as it was then,
 * the grace period of what was queued here has not begun, and more may be left to its callback.
 * Context: interrupts off, from the look at it to the use.
 */
unsigned long rcu_batch_here(void);

/* Wait until every callback queued so far, on any CPU, has run. Context: may sleep. */
void rcu_barrier(void);

/* Callbacks that have not run yet, on all CPUs of the current machine. */
unsigned long rcu_nr_pending(void);

/*
 * Loading a published pointer. An acquire load: it costs nothing on x86, and the thread sanitizer
 * understands it, unlike a dependency.
 */
#define rcu_dereference_raw(p)		__atomic_load_n(KARC_STEPPED(&(p), KARC_READS), __ATOMIC_ACQUIRE)
#define rcu_dereference_check(p, c)	((void)sizeof((long)(c)), rcu_dereference_raw(p))
#define rcu_dereference(p)		rcu_dereference_raw(p)
#define rcu_dereference_bh(p)		rcu_dereference_raw(p)
#define rcu_dereference_sched(p)	rcu_dereference_raw(p)
#define rcu_dereference_bh_check(p, c)	rcu_dereference_check(p, c)
#define rcu_dereference_sched_check(p, c) rcu_dereference_check(p, c)
#define rcu_dereference_raw_check(p)	rcu_dereference_raw(p)
/* For the updater, who holds the lock @c speaks of. */
#define rcu_dereference_protected(p, c)	((void)sizeof((long)(c)), READ_ONCE(p))
/* The value itself, not what it points at. */
#define rcu_access_pointer(p)		READ_ONCE(p)
#define rcu_pointer_handoff(p)		(p)

/* Publish. Pairs with rcu_dereference(). */
#define rcu_assign_pointer(p, v)	karc_store(&(p), (v), __ATOMIC_RELEASE)
/* Publish NULL or what readers can see already: no ordering. */
#define RCU_INIT_POINTER(p, v)		WRITE_ONCE(p, v)
#define RCU_INITIALIZER(v)		(v)
#define RCU_POINTER_INITIALIZER(p, v)	.p = (v)

/* Publish @v, give the old pointer; the updater holds the lock @c speaks of. */
#define rcu_replace_pointer(p, v, c) (__extension__ ({				\
	__typeof__(p) karc_old_ = rcu_dereference_protected((p), (c));		\
	rcu_assign_pointer((p), (v));						\
	karc_old_; }))

/* guard(rcu)(); see base/cleanup.h. */
DEFINE_LOCK_GUARD_0(rcu, rcu_read_lock(), rcu_read_unlock())

#endif
