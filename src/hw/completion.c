/* SPDX-License-Identifier: MIT */
/*
 * completion.c - a counter that is waited for
 *
 * What it is
 *	A number of completions not yet used, guarded by the lock of a wait queue on which waiters
 *	stand in order, exclusive.
 *
 * Invariants
 *	I1 done changes under wait.lock; UINT_MAX stays until reinit_completion()
 *	I2 a waiter that returns has taken the lock after the last complete() that it saw, so that
 *	   complete() has let go of the struct except for its unlock: the waiter may free it
 *	I3 completion_done() says true only when I2 holds for its caller too
 */
#include <karc/hw/completion.h>

static void complete_count(struct completion *x, bool all)
{
	unsigned long flags;

	spin_lock_irqsave(&x->wait.lock, flags);
	if (all)
		x->done = UINT_MAX;
	else if (x->done != UINT_MAX)
		x->done++;
	__wake_up_locked(&x->wait, TASK_NORMAL, all ? 0 : 1, NULL);
	spin_unlock_irqrestore(&x->wait.lock, flags);
}

void complete(struct completion *x)
{
	complete_count(x, false);
}

void complete_all(struct completion *x)
{
	complete_count(x, true);
}

static bool take_locked(struct completion *x)
{
	if (!x->done)
		return false;
	if (x->done != UINT_MAX)
		x->done--;
	return true;
}

bool try_wait_for_completion(struct completion *x)
{
	unsigned long flags;
	bool taken;

	spin_lock_irqsave(&x->wait.lock, flags);
	taken = take_locked(x);
	spin_unlock_irqrestore(&x->wait.lock, flags);
	return taken;
}

bool completion_done(struct completion *x)
{
	unsigned long flags;
	bool done;

	spin_lock_irqsave(&x->wait.lock, flags);
	done = x->done != 0;
	spin_unlock_irqrestore(&x->wait.lock, flags);
	return done;
}

long wait_for_completion_state_site(struct completion *x, long timeout, unsigned int state,
				    const struct site *site)
{
	struct wait_queue_entry entry;
	long left = timeout;
	bool taken;

	might_sleep_site(site);
	init_wait_entry(&entry, WQ_FLAG_EXCLUSIVE);
	spin_lock_irq(&x->wait.lock);
	while (!(taken = take_locked(x)) && left > 0) {
		fiber_prepare();	/* first: the wake of a signal from here on counts */
		if (wait_interrupted(state)) {
			left = -ERESTARTSYS;
			break;
		}
		if (list_empty(&entry.entry))
			__add_wait_queue_entry_tail(&x->wait, &entry);
		entry.state = state;
		spin_unlock_irq(&x->wait.lock);
		left = wait_sleep(left, site);
		spin_lock_irq(&x->wait.lock);
	}
	list_del_init(&entry.entry);
	spin_unlock_irq(&x->wait.lock);
	if (taken)
		return left > 0 ? left : 1;
	return left;
}
