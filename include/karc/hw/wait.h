/* SPDX-License-Identifier: MIT */
/*
 * wait.h - wait queues, under Linux's names
 *
 * A fiber that waits for a condition puts an entry on the queue, tests the condition, and
 * sleeps; whoever makes the condition true wakes the queue. A wake between the test and the
 * sleep is not lost: prepare_to_wait() comes before the test.
 *
 * An entry belongs to the fiber that made it; the task pointers that Linux code passes are kept
 * in ->private and not used.
 */
#ifndef KARC_HW_WAIT_H
#define KARC_HW_WAIT_H

#include <limits.h>

#include <karc/base/atomic.h>
#include <karc/base/err.h>
#include <karc/base/list.h>
#include <karc/hw/clock.h>
#include <karc/hw/fiber.h>
#include <karc/hw/spinlock.h>

/* States of a sleeper, and which of them a wake-up reaches. Same numbers as Linux. */
#define TASK_RUNNING		0x0000u
#define TASK_INTERRUPTIBLE	0x0001u
#define TASK_UNINTERRUPTIBLE	0x0002u
#define TASK_WAKEKILL		0x0100u
#define TASK_NOLOAD		0x0400u
#define TASK_KILLABLE		(TASK_WAKEKILL | TASK_UNINTERRUPTIBLE)
#define TASK_IDLE		(TASK_UNINTERRUPTIBLE | TASK_NOLOAD)
#define TASK_NORMAL		(TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE)

#define MAX_SCHEDULE_TIMEOUT	LONG_MAX

/*
 * Is a signal pending that ends a sleep in @state? The proc room defines it; without it there
 * are no signals. Delivering one wakes the fiber with fiber_wake().
 */
bool karc_signal_pending(unsigned int state) __weak;

/* Must the running fiber give up a sleep in @state? */
static inline bool wait_interrupted(unsigned int state)
{
	return (state & (TASK_INTERRUPTIBLE | TASK_WAKEKILL)) && karc_signal_pending &&
	       karc_signal_pending(state);
}

typedef struct wait_queue_head {
	spinlock_t lock;
	struct list_head head;
} wait_queue_head_t;

struct wait_queue_entry;
typedef int (*wait_queue_func_t)(struct wait_queue_entry *entry, unsigned int mode, int flags,
				 void *key);

#define WQ_FLAG_EXCLUSIVE	0x01u	/* a wake-up of n stops after n of these */
#define WQ_FLAG_WOKEN		0x02u	/* wait_woken(): a wake-up came */

/* Sleeps in a way that the queue does not know (set_current_state() by hand): always woken. */
#define WAIT_STATE_UNKNOWN	(~0u)

typedef struct wait_queue_entry {
	unsigned int flags;
	unsigned int state;		/* TASK_*, or WAIT_STATE_UNKNOWN; queue's lock */
	void *private;
	struct fiber *fiber;
	wait_queue_func_t func;		/* nonzero: woke; negative: stop the wake-up */
	struct list_head entry;		/* queue's lock */
} wait_queue_entry_t;

int default_wake_function(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key);
int autoremove_wake_function(struct wait_queue_entry *entry, unsigned int mode, int flags,
			     void *key);
int woken_wake_function(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key);

#define __WAIT_QUEUE_HEAD_INITIALIZER(name) {					\
	.lock = { KARC_LOCK_INIT_RANK(LR_WAITQUEUE) },				\
	.head = LIST_HEAD_INIT((name).head) }
#define DECLARE_WAIT_QUEUE_HEAD(name) \
	wait_queue_head_t name = __WAIT_QUEUE_HEAD_INITIALIZER(name)
#define DECLARE_WAIT_QUEUE_HEAD_ONSTACK(name) DECLARE_WAIT_QUEUE_HEAD(name)

static inline void init_waitqueue_head(wait_queue_head_t *wq)
{
	spin_lock_init_rank(&wq->lock, LR_WAITQUEUE);
	INIT_LIST_HEAD(&wq->head);
}

#define DEFINE_WAIT_FUNC(name, function)					\
	struct wait_queue_entry name = {					\
		.state = WAIT_STATE_UNKNOWN,					\
		.fiber = fiber_self(),						\
		.func = (function),						\
		.entry = LIST_HEAD_INIT((name).entry) }
#define DEFINE_WAIT(name) DEFINE_WAIT_FUNC(name, autoremove_wake_function)
#define DECLARE_WAITQUEUE(name, task)						\
	struct wait_queue_entry name = {					\
		.state = WAIT_STATE_UNKNOWN,					\
		.private = (task),						\
		.fiber = fiber_self(),						\
		.func = default_wake_function,					\
		.entry = LIST_HEAD_INIT((name).entry) }

static inline void init_wait_entry(struct wait_queue_entry *entry, unsigned int flags)
{
	entry->flags = flags;
	entry->state = WAIT_STATE_UNKNOWN;
	entry->private = NULL;
	entry->fiber = fiber_self();
	entry->func = autoremove_wake_function;
	INIT_LIST_HEAD(&entry->entry);
}

#define init_wait(entry) init_wait_entry(entry, 0)

static inline void init_waitqueue_entry(struct wait_queue_entry *entry, void *task)
{
	init_wait_entry(entry, 0);
	entry->private = task;
	entry->func = default_wake_function;
}

static inline void init_waitqueue_func_entry(struct wait_queue_entry *entry,
					     wait_queue_func_t func)
{
	init_wait_entry(entry, 0);
	entry->func = func;
}

/* Does anybody wait? The caller orders this after what it changed (wq_has_sleeper() does). */
static inline int waitqueue_active(const wait_queue_head_t *wq)
{
	return !list_empty(&wq->head);
}

static inline bool wq_has_sleeper(const wait_queue_head_t *wq)
{
	smp_mb();	/* pairs with the one in prepare_to_wait() */
	return waitqueue_active(wq);
}

/**
 * add_wait_queue, add_wait_queue_exclusive, remove_wait_queue - an entry on or off a queue
 *
 * Ordinary entries go to the front, exclusive ones to the back. A wake-up calls each entry's
 * ->func from the front on until it has woken as many exclusive ones as it wants.
 */
void add_wait_queue(wait_queue_head_t *wq, struct wait_queue_entry *entry);
void add_wait_queue_exclusive(wait_queue_head_t *wq, struct wait_queue_entry *entry);
void remove_wait_queue(wait_queue_head_t *wq, struct wait_queue_entry *entry);

/* For callers that hold wq->lock. */
static inline void __add_wait_queue(wait_queue_head_t *wq, struct wait_queue_entry *entry)
{
	list_add(&entry->entry, &wq->head);
}

static inline void __add_wait_queue_entry_tail(wait_queue_head_t *wq,
					       struct wait_queue_entry *entry)
{
	list_add_tail(&entry->entry, &wq->head);
}

static inline void __remove_wait_queue(wait_queue_head_t *wq, struct wait_queue_entry *entry)
{
	(void)wq;
	list_del(&entry->entry);
}

/**
 * prepare_to_wait - queue the entry (unless it is queued) and get ready to sleep in @state
 *
 * Then test the condition, sleep with fiber_block() or schedule(), and repeat; finish_wait() at
 * the end. prepare_to_wait_exclusive() tells whether the queue was empty.
 * prepare_to_wait_event() returns -ERESTARTSYS, with the entry off the queue, when a signal
 * interrupts a sleep in @state; test the condition once more even then.
 * Context: may sleep afterwards; the call itself does not.
 */
void prepare_to_wait(wait_queue_head_t *wq, struct wait_queue_entry *entry, unsigned int state);
bool prepare_to_wait_exclusive(wait_queue_head_t *wq, struct wait_queue_entry *entry,
			       unsigned int state);
long prepare_to_wait_event(wait_queue_head_t *wq, struct wait_queue_entry *entry,
			   unsigned int state);
void finish_wait(wait_queue_head_t *wq, struct wait_queue_entry *entry);

/**
 * wait_sleep - sleep after prepare_to_wait(), at most @timeout jiffies
 * @timeout: MAX_SCHEDULE_TIMEOUT for ever
 * @site:    shown when everything is stuck
 *
 * Returns: jiffies that were left; 0 when the time ran out.
 */
long wait_sleep(long timeout, const struct site *site);

/* Sleep until woken_wake_function() ran on the entry since the last call, or the time is out. */
long wait_woken_site(struct wait_queue_entry *entry, unsigned int state, long timeout,
		     const struct site *site);
#define wait_woken(entry, state, timeout) wait_woken_site(entry, state, timeout, SITE())

/**
 * __wake_up - wake sleepers whose state is in @mode
 * @nr_exclusive: how many exclusive ones; 0 for all
 * @key:          passed to each entry's function
 *
 * Context: any. Returns: how many were woken (Linux 6.1 returns nothing).
 */
int __wake_up(wait_queue_head_t *wq, unsigned int mode, int nr_exclusive, void *key);
int __wake_up_locked(wait_queue_head_t *wq, unsigned int mode, int nr_exclusive, void *key);

#define wake_up(wq)			__wake_up(wq, TASK_NORMAL, 1, NULL)
#define wake_up_nr(wq, nr)		__wake_up(wq, TASK_NORMAL, nr, NULL)
#define wake_up_all(wq)			__wake_up(wq, TASK_NORMAL, 0, NULL)
#define wake_up_sync(wq)		wake_up(wq)
#define wake_up_locked(wq)		__wake_up_locked(wq, TASK_NORMAL, 1, NULL)
#define wake_up_all_locked(wq)		__wake_up_locked(wq, TASK_NORMAL, 0, NULL)
#define wake_up_interruptible(wq)	__wake_up(wq, TASK_INTERRUPTIBLE, 1, NULL)
#define wake_up_interruptible_nr(wq, nr) __wake_up(wq, TASK_INTERRUPTIBLE, nr, NULL)
#define wake_up_interruptible_all(wq)	__wake_up(wq, TASK_INTERRUPTIBLE, 0, NULL)
#define wake_up_interruptible_sync(wq)	wake_up_interruptible(wq)
#define wake_up_poll(wq, mask) \
	__wake_up(wq, TASK_NORMAL, 1, (void *)(unsigned long)(mask))
#define wake_up_interruptible_poll(wq, mask) \
	__wake_up(wq, TASK_INTERRUPTIBLE, 1, (void *)(unsigned long)(mask))

/*
 * The loop behind all wait_event forms. @first is the value to start from (jiffies, or 0), @done
 * the condition as this form sees it, @sleep what to do while it is false; both may use
 * karc_left_. The result is karc_left_, or what interrupted the sleep.
 */
#define KARC_WAIT_EVENT(wq, done, wait_state, wait_flags, first, sleep) (__extension__ ({ \
	wait_queue_head_t *karc_wq_ = &(wq);					\
	struct wait_queue_entry karc_entry_;					\
	long karc_left_ = (first);						\
										\
	init_wait_entry(&karc_entry_, wait_flags);				\
	for (;;) {								\
		long karc_stop_ = prepare_to_wait_event(karc_wq_, &karc_entry_,	\
							wait_state);		\
		if (done)							\
			break;							\
		if (karc_stop_) {						\
			karc_left_ = karc_stop_;				\
			break;							\
		}								\
		sleep;								\
	}									\
	finish_wait(karc_wq_, &karc_entry_);					\
	karc_left_; }))

/* True when waiting is over: the condition holds (then at least 1 is left) or time is out. */
#define KARC_WAIT_TIMED(condition, left) (__extension__ ({			\
	bool karc_true_ = !!(condition);					\
	if (karc_true_ && !(left))						\
		(left) = 1;							\
	karc_true_ || !(left); }))

#define KARC_WAIT_FOREVER ((void)wait_sleep(MAX_SCHEDULE_TIMEOUT, SITE()))
#define KARC_WAIT_LEFT (karc_left_ = wait_sleep(karc_left_, SITE()))

/* What a form without timeout returns: 0, or -ERESTARTSYS. */
#define KARC_WAIT_PLAIN(wq, condition, state, flags) (__extension__ ({		\
	int karc_result_ = 0;							\
	might_sleep();								\
	if (!(condition))							\
		karc_result_ = (int)KARC_WAIT_EVENT(wq, condition, state, flags, 0, \
						    KARC_WAIT_FOREVER);		\
	karc_result_; }))

/* Jiffies left (at least 1), 0 when time ran out first, or -ERESTARTSYS. */
#define KARC_WAIT_TIMEOUT(wq, condition, state, timeout) (__extension__ ({	\
	long karc_timeout_ = (timeout);						\
	might_sleep();								\
	if (!KARC_WAIT_TIMED(condition, karc_timeout_))				\
		karc_timeout_ = KARC_WAIT_EVENT(wq,				\
			KARC_WAIT_TIMED(condition, karc_left_), state, 0,	\
			karc_timeout_, KARC_WAIT_LEFT);				\
	karc_timeout_; }))

/**
 * wait_event and its forms - sleep until @condition is true; it is tested after each wake-up
 *
 * Whoever changes what the condition reads calls wake_up() afterwards.
 * Context: may sleep. Model: Linux 6.1 wait_event().
 */
#define wait_event(wq, condition) \
	((void)KARC_WAIT_PLAIN(wq, condition, TASK_UNINTERRUPTIBLE, 0))
#define wait_event_exclusive(wq, condition) \
	((void)KARC_WAIT_PLAIN(wq, condition, TASK_UNINTERRUPTIBLE, WQ_FLAG_EXCLUSIVE))
#define wait_event_idle(wq, condition) \
	((void)KARC_WAIT_PLAIN(wq, condition, TASK_IDLE, 0))
#define wait_event_interruptible(wq, condition) \
	KARC_WAIT_PLAIN(wq, condition, TASK_INTERRUPTIBLE, 0)
#define wait_event_interruptible_exclusive(wq, condition) \
	KARC_WAIT_PLAIN(wq, condition, TASK_INTERRUPTIBLE, WQ_FLAG_EXCLUSIVE)
#define wait_event_killable(wq, condition) \
	KARC_WAIT_PLAIN(wq, condition, TASK_KILLABLE, 0)
#define wait_event_killable_exclusive(wq, condition) \
	KARC_WAIT_PLAIN(wq, condition, TASK_KILLABLE, WQ_FLAG_EXCLUSIVE)
#define io_wait_event(wq, condition) wait_event(wq, condition)
#define wait_event_freezable(wq, condition) wait_event_interruptible(wq, condition)
#define wait_event_timeout(wq, condition, timeout) \
	KARC_WAIT_TIMEOUT(wq, condition, TASK_UNINTERRUPTIBLE, timeout)
#define wait_event_idle_timeout(wq, condition, timeout) \
	KARC_WAIT_TIMEOUT(wq, condition, TASK_IDLE, timeout)
#define wait_event_interruptible_timeout(wq, condition, timeout) \
	KARC_WAIT_TIMEOUT(wq, condition, TASK_INTERRUPTIBLE, timeout)
#define wait_event_killable_timeout(wq, condition, timeout) \
	KARC_WAIT_TIMEOUT(wq, condition, TASK_KILLABLE, timeout)

/* With a lock that the caller holds: the condition is tested under it, the sleep is without. */
#define KARC_WAIT_LOCKED(wq, condition, state, unlock, relock) (__extension__ ({ \
	int karc_result_ = 0;							\
	if (!(condition))							\
		karc_result_ = (int)KARC_WAIT_EVENT(wq, condition, state, 0, 0, \
			({ unlock; KARC_WAIT_FOREVER; relock; }));		\
	karc_result_; }))

#define wait_event_cmd(wq, condition, before, after) \
	((void)KARC_WAIT_LOCKED(wq, condition, TASK_UNINTERRUPTIBLE, before, after))
#define wait_event_lock_irq(wq, condition, lock)				\
	((void)KARC_WAIT_LOCKED(wq, condition, TASK_UNINTERRUPTIBLE,		\
				spin_unlock_irq(&(lock)), spin_lock_irq(&(lock))))
#define wait_event_interruptible_lock_irq(wq, condition, lock)			\
	KARC_WAIT_LOCKED(wq, condition, TASK_INTERRUPTIBLE,			\
			 spin_unlock_irq(&(lock)), spin_lock_irq(&(lock)))

#endif
