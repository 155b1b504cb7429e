/* SPDX-License-Identifier: MIT */
/*
 * wait.c - wait queues
 *
 * What it is
 *	A list of entries, each with a function that a wake-up calls under the queue's lock;
 *	usually it wakes the fiber that made the entry.
 *
 * Invariants
 *	I1 an entry is on at most one queue; ->entry and ->state change under that queue's lock
 *	I2 ordinary entries come before exclusive ones that were added by add_wait_queue_exclusive()
 *	I3 no wake-up is lost: fiber_prepare() runs under the queue's lock before the caller tests
 *	   its condition, and fiber_block() returns at once when a wake came since
 *
 * Locking
 *	wq->lock (LR_WAITQUEUE, interrupts off): head, entry->entry, entry->state
 *	entry->flags: atomic; WQ_FLAG_EXCLUSIVE changes under the lock
 *
 * Life of an entry
 *	initialised - prepare_to_wait() queues it - a wake-up or finish_wait() takes it off; the
 *	fiber may leave the frame that holds it once finish_wait() has returned, since that takes
 *	the lock unless it sees the entry off the queue by list_del_init_careful().
 *
 * Worst case
 *	A wake-up holds the lock for the whole list. Linux 6.1 breaks off after 64 entries.
 *
 * Unlike Linux
 *	The state of a sleeper is in its entry, not in its task: a wake-up in a mode that does not
 *	match passes an entry by only if prepare_to_wait() told its state.
 */
#include <karc/base/compiler.h>
#include <karc/hw/wait.h>

/* WQ_FLAG_WOKEN next to it changes without the lock: wait_woken_site(). */
static void set_exclusive(struct wait_queue_entry *entry, unsigned int flags)
{
	if (flags & WQ_FLAG_EXCLUSIVE)
		__atomic_fetch_or(&entry->flags, WQ_FLAG_EXCLUSIVE, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&entry->flags, ~WQ_FLAG_EXCLUSIVE, __ATOMIC_RELAXED);
}

void add_wait_queue(wait_queue_head_t *wq, struct wait_queue_entry *entry)
{
	unsigned long flags;

	spin_lock_irqsave(&wq->lock, flags);
	set_exclusive(entry, 0);
	list_add(&entry->entry, &wq->head);
	spin_unlock_irqrestore(&wq->lock, flags);
}

void add_wait_queue_exclusive(wait_queue_head_t *wq, struct wait_queue_entry *entry)
{
	unsigned long flags;

	spin_lock_irqsave(&wq->lock, flags);
	set_exclusive(entry, WQ_FLAG_EXCLUSIVE);
	list_add_tail(&entry->entry, &wq->head);
	spin_unlock_irqrestore(&wq->lock, flags);
}

void remove_wait_queue(wait_queue_head_t *wq, struct wait_queue_entry *entry)
{
	unsigned long flags;

	spin_lock_irqsave(&wq->lock, flags);
	list_del_init(&entry->entry);
	spin_unlock_irqrestore(&wq->lock, flags);
}

/* Queue the entry where it belongs, unless it is queued; true when the queue was empty. */
static bool queue_locked(wait_queue_head_t *wq, struct wait_queue_entry *entry)
{
	bool was_empty = list_empty(&wq->head);

	if (!list_empty(&entry->entry))
		return false;
	if (READ_ONCE(entry->flags) & WQ_FLAG_EXCLUSIVE)
		list_add_tail(&entry->entry, &wq->head);
	else
		list_add(&entry->entry, &wq->head);
	return was_empty;
}

static bool prepare(wait_queue_head_t *wq, struct wait_queue_entry *entry, unsigned int state,
		    unsigned int exclusive)
{
	unsigned long flags;
	bool was_empty;

	spin_lock_irqsave(&wq->lock, flags);
	set_exclusive(entry, exclusive);
	was_empty = queue_locked(wq, entry);
	entry->state = state;
	fiber_prepare();					/* I3 */
	WRITE_ONCE(fiber_self()->wait_queued, true);	/* schedule() sleeps from here on */
	smp_mb();	/* queued before the condition is read: pairs with wq_has_sleeper() */
	spin_unlock_irqrestore(&wq->lock, flags);
	return was_empty;
}

void prepare_to_wait(wait_queue_head_t *wq, struct wait_queue_entry *entry, unsigned int state)
{
	prepare(wq, entry, state, 0);
}

bool prepare_to_wait_exclusive(wait_queue_head_t *wq, struct wait_queue_entry *entry,
			       unsigned int state)
{
	return prepare(wq, entry, state, WQ_FLAG_EXCLUSIVE);
}

long prepare_to_wait_event(wait_queue_head_t *wq, struct wait_queue_entry *entry,
			   unsigned int state)
{
	unsigned long flags;

	prepare(wq, entry, state, READ_ONCE(entry->flags));
	/* After it: the wake of a signal that came before is forgotten, its mark is not. */
	if (!wait_interrupted(state))
		return 0;
	/*
	 * A wake-up may have chosen this entry already. The caller tests its condition once more,
	 * so that what was meant for it is used; later wake-ups go to the others.
	 */
	WRITE_ONCE(fiber_self()->wait_queued, false);
	spin_lock_irqsave(&wq->lock, flags);
	list_del_init(&entry->entry);
	spin_unlock_irqrestore(&wq->lock, flags);
	return -ERESTARTSYS;
}

void finish_wait(wait_queue_head_t *wq, struct wait_queue_entry *entry)
{
	unsigned long flags;

	WRITE_ONCE(fiber_self()->wait_queued, false);
	/* Off the queue already: the waker is done with it, see autoremove_wake_function(). */
	if (list_empty_careful(&entry->entry))
		return;
	spin_lock_irqsave(&wq->lock, flags);
	list_del_init(&entry->entry);
	spin_unlock_irqrestore(&wq->lock, flags);
}

int default_wake_function(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	(void)flags;
	(void)key;
	if (!(entry->state & mode))
		return 0;
	if (entry->state != WAIT_STATE_UNKNOWN)
		entry->state = TASK_RUNNING;
	WRITE_ONCE(entry->fiber->wait_queued, false);
	fiber_wake(entry->fiber);
	return 1;
}

int autoremove_wake_function(struct wait_queue_entry *entry, unsigned int mode, int flags,
			     void *key)
{
	int woken = default_wake_function(entry, mode, flags, key);

	if (woken)
		list_del_init_careful(&entry->entry);
	return woken;
}

int woken_wake_function(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	/* Pairs with the exchange in wait_woken_site(): what the waker did before is seen. */
	__atomic_fetch_or(&entry->flags, WQ_FLAG_WOKEN, __ATOMIC_RELEASE);
	return default_wake_function(entry, mode, flags, key);
}

long wait_sleep(long timeout, const struct site *site)
{
	u64 left_ns;

	if (timeout == MAX_SCHEDULE_TIMEOUT) {
		fiber_block(site);
		return timeout;
	}
	if (timeout <= 0)
		return 0;
	left_ns = fiber_block_timeout(site, (u64)timeout * NSEC_PER_JIFFY);
	return (long)((left_ns + NSEC_PER_JIFFY - 1) / NSEC_PER_JIFFY);
}

long wait_woken_site(struct wait_queue_entry *entry, unsigned int state, long timeout,
		     const struct site *site)
{
	fiber_prepare();
	if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) & WQ_FLAG_WOKEN) &&
	    !wait_interrupted(state))
		timeout = wait_sleep(timeout, site);
	__atomic_fetch_and(&entry->flags, ~WQ_FLAG_WOKEN, __ATOMIC_ACQ_REL);
	return timeout;
}

int __wake_up_locked(wait_queue_head_t *wq, unsigned int mode, int nr_exclusive, void *key)
{
	struct wait_queue_entry *entry, *next;
	int nr_woken = 0;

	list_for_each_entry_safe(entry, next, &wq->head, entry) {
		/* The function may take the entry off and its fiber may go: read first. */
		bool exclusive = READ_ONCE(entry->flags) & WQ_FLAG_EXCLUSIVE;
		int woken = entry->func(entry, mode, 0, key);

		if (woken < 0)
			break;
		nr_woken += woken != 0;
		if (woken && exclusive && --nr_exclusive == 0)
			break;
	}
	return nr_woken;
}

int __wake_up(wait_queue_head_t *wq, unsigned int mode, int nr_exclusive, void *key)
{
	unsigned long flags;
	int nr_woken;

	spin_lock_irqsave(&wq->lock, flags);
	nr_woken = __wake_up_locked(wq, mode, nr_exclusive, key);
	spin_unlock_irqrestore(&wq->lock, flags);
	return nr_woken;
}
