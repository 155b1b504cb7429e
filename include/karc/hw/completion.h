/* SPDX-License-Identifier: MIT */
/*
 * completion.h - wait until something has happened, under Linux's names
 *
 * complete() adds one, a waiter takes one; complete_all() lets everybody through until
 * reinit_completion(). The waiter may free the completion as soon as its wait returned.
 */
#ifndef KARC_HW_COMPLETION_H
#define KARC_HW_COMPLETION_H

#include <karc/hw/wait.h>

struct completion {
	unsigned int done;		/* wait.lock; UINT_MAX: complete_all() */
	wait_queue_head_t wait;
};

#define COMPLETION_INITIALIZER(name) \
	{ .done = 0, .wait = __WAIT_QUEUE_HEAD_INITIALIZER((name).wait) }
#define COMPLETION_INITIALIZER_ONSTACK(name) \
	(*({ init_completion(&(name)); &(name); }))
#define DECLARE_COMPLETION(name) struct completion name = COMPLETION_INITIALIZER(name)
#define DECLARE_COMPLETION_ONSTACK(name) DECLARE_COMPLETION(name)

static inline void init_completion(struct completion *x)
{
	x->done = 0;
	init_waitqueue_head(&x->wait);
}

/* Use it again; nobody waits. */
static inline void reinit_completion(struct completion *x)
{
	x->done = 0;
}

void complete(struct completion *x);		/* any context */
void complete_all(struct completion *x);	/* any context */

/* Take one without waiting; false when there is none. */
bool try_wait_for_completion(struct completion *x);

/* True when nobody would have to wait now. */
bool completion_done(struct completion *x);

/**
 * wait_for_completion_state_site - the one behind the family
 * @timeout: jiffies, MAX_SCHEDULE_TIMEOUT for ever
 * @state:   TASK_*: which signals end the wait
 *
 * Context: may sleep. Returns: jiffies left (at least 1); 0 when time ran out; -ERESTARTSYS.
 */
long wait_for_completion_state_site(struct completion *x, long timeout, unsigned int state,
				    const struct site *site);

/* The forms without timeout return 0 or -ERESTARTSYS. */
static inline int wait_for_completion_plain(struct completion *x, unsigned int state,
					    const struct site *site)
{
	long left = wait_for_completion_state_site(x, MAX_SCHEDULE_TIMEOUT, state, site);

	return left < 0 ? (int)left : 0;
}

#define wait_for_completion(x) \
	((void)wait_for_completion_plain(x, TASK_UNINTERRUPTIBLE, SITE()))
#define wait_for_completion_io(x) wait_for_completion(x)
#define wait_for_completion_interruptible(x) \
	wait_for_completion_plain(x, TASK_INTERRUPTIBLE, SITE())
#define wait_for_completion_killable(x) \
	wait_for_completion_plain(x, TASK_KILLABLE, SITE())
#define wait_for_completion_state(x, state) \
	wait_for_completion_plain(x, state, SITE())
#define wait_for_completion_timeout(x, timeout) ((unsigned long) \
	wait_for_completion_state_site(x, (long)(timeout), TASK_UNINTERRUPTIBLE, SITE()))
#define wait_for_completion_io_timeout(x, timeout) wait_for_completion_timeout(x, timeout)
#define wait_for_completion_interruptible_timeout(x, timeout) \
	wait_for_completion_state_site(x, (long)(timeout), TASK_INTERRUPTIBLE, SITE())
#define wait_for_completion_killable_timeout(x, timeout) \
	wait_for_completion_state_site(x, (long)(timeout), TASK_KILLABLE, SITE())

#endif
