/* SPDX-License-Identifier: MIT */
/*
 * Goal: no wake-up is lost, exclusive waiters are woken one by one, timeouts and signals end a
 * wait with the right result.
 * Method: producers and consumers on all CPUs under the seeded scheduler; virtual time; this test
 * plays the room of signals by defining karc_signal_pending().
 */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/hw/clock.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/hw/machine.h>
#include <karc/hw/wait.h>

#define NR_FIBERS	8
#define NR_ITEMS	400

struct model {
	wait_queue_head_t wq;
	spinlock_t lock;
	unsigned int items, produced, consumed;
	_Atomic unsigned int condition;
	_Atomic unsigned int nr_woken;
	unsigned int order[NR_FIBERS];
	_Atomic unsigned int nr_order;
	int flags;
};

/* The fiber that has a signal pending. */
static struct fiber *_Atomic signalled;

/* The fiber that gets one right after it has found that it has none. */
static struct fiber *_Atomic signalled_late;

bool karc_signal_pending(unsigned int state)
{
	bool pending = (state & (TASK_INTERRUPTIBLE | TASK_WAKEKILL)) &&
		       signalled == fiber_self();

	if (signalled_late == fiber_self()) {
		signalled_late = NULL;
		signalled = fiber_self();
		fiber_wake(fiber_self());
	}
	return pending;
}

static void model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	init_waitqueue_head(&m->wq);
	spin_lock_init(&m->lock);
	signalled = NULL;
	signalled_late = NULL;
}

static struct fiber *spawn(unsigned int cpu, long (*fn)(void *), void *arg)
{
	struct fiber *f = fiber_spawn(cpu % machine_nr_cpus(this_machine()), "waiter", fn, arg);

	assert_non_null(f);
	return f;
}

static long join(struct fiber *f)
{
	struct machine_result r;

	fiber_join(f, &r);
	assert_int_equal(r.end, MACHINE_VALUE);
	return r.value;
}

static unsigned int queue_length(wait_queue_head_t *wq)
{
	struct list_head *pos;
	unsigned long flags;
	unsigned int nr = 0;

	spin_lock_irqsave(&wq->lock, flags);
	list_for_each(pos, &wq->head)
		nr++;
	spin_unlock_irqrestore(&wq->lock, flags);
	return nr;
}

static void wait_for_queue(wait_queue_head_t *wq, unsigned int length)
{
	while (queue_length(wq) != length)
		fiber_yield();
}

static long produce(void *arg)
{
	struct model *m = arg;

	for (unsigned int i = 0; i < NR_ITEMS; i++) {
		spin_lock(&m->lock);
		m->items++;
		m->produced++;
		spin_unlock(&m->lock);
		wake_up(&m->wq);
	}
	return 0;
}

static bool take_item(struct model *m)
{
	bool taken = false;

	spin_lock(&m->lock);
	if (m->items) {
		m->items--;
		m->consumed++;
		taken = true;
	}
	spin_unlock(&m->lock);
	return taken;
}

/* A wake-up may have chosen one that was about to go: who leaves something behind passes it on. */
static void pass_on(struct model *m)
{
	bool more;

	spin_lock(&m->lock);
	more = m->items != 0;
	spin_unlock(&m->lock);
	if (more)
		wake_up(&m->wq);
}

static long consume(void *arg)
{
	struct model *m = arg;

	for (unsigned int i = 0; i < NR_ITEMS; i++) {
		if (i % 2)
			wait_event(m->wq, take_item(m));
		else if (wait_event_interruptible_exclusive(m->wq, take_item(m)))
			return -1;
		pass_on(m);
	}
	return 0;
}

static void no_wakeup_is_lost(void **state)
{
	struct fiber *f[NR_FIBERS];
	struct model m;

	(void)state;
	model_init(&m);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		f[i] = spawn(i / 2, i % 2 ? produce : consume, &m);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		assert_int_equal(join(f[i]), 0);
	assert_int_equal(m.consumed, m.produced);
	assert_false(waitqueue_active(&m.wq));
}

static void a_true_condition_does_not_wait(void **state)
{
	struct model m;

	(void)state;
	model_init(&m);
	wait_event(m.wq, true);
	assert_int_equal(wait_event_interruptible(m.wq, true), 0);
	assert_int_equal(wait_event_killable(m.wq, true), 0);
	assert_int_equal(wait_event_timeout(m.wq, true, 17), 17);
	assert_int_equal(wait_event_timeout(m.wq, true, 0), 1);
	assert_int_equal(wait_event_interruptible_timeout(m.wq, true, 17), 17);
}

static long wait_marked(void *arg)
{
	struct model *m = arg;
	unsigned int number = queue_length(&m->wq);
	struct wait_queue_entry entry;

	init_wait_entry(&entry, m->flags);
	for (;;) {
		prepare_to_wait_event(&m->wq, &entry, TASK_UNINTERRUPTIBLE);
		if (m->condition)
			break;
		fiber_block(SITE());
		m->order[m->nr_order++] = number;
		m->condition = 1;
	}
	finish_wait(&m->wq, &entry);
	return 0;
}

static void exclusive_waiters_are_woken_one_by_one_in_order(void **state)
{
	struct fiber *f[NR_FIBERS];
	struct model m;

	(void)state;
	model_init(&m);
	m.flags = WQ_FLAG_EXCLUSIVE;
	for (unsigned int i = 0; i < NR_FIBERS; i++) {
		f[i] = spawn(i, wait_marked, &m);
		wait_for_queue(&m.wq, i + 1);
		while (READ_ONCE(f[i]->state) != FIBER_BLOCKED)	/* it has tested the condition */
			fiber_yield();
	}
	for (unsigned int i = 0; i < NR_FIBERS - 3; i++) {
		m.condition = 0;
		assert_int_equal(wake_up(&m.wq), 1);
		assert_int_equal(join(f[i]), 0);
		assert_int_equal(m.nr_order, i + 1);
		assert_int_equal(m.order[i], i);
	}
	m.condition = 0;
	assert_int_equal(wake_up_nr(&m.wq, 2), 2);
	join(f[NR_FIBERS - 3]);
	join(f[NR_FIBERS - 2]);
	assert_int_equal(queue_length(&m.wq), 1);
	assert_int_equal(wake_up_all(&m.wq), 1);
	join(f[NR_FIBERS - 1]);
	assert_int_equal(wake_up(&m.wq), 0);
}

static long wait_for_condition(void *arg)
{
	struct model *m = arg;

	wait_event(m->wq, m->condition);
	m->nr_woken++;
	return 0;
}

static long wait_for_condition_interruptibly(void *arg)
{
	struct model *m = arg;

	return wait_event_interruptible(m->wq, m->condition);
}

static void wake_up_wakes_all_that_are_not_exclusive(void **state)
{
	struct fiber *f[NR_FIBERS];
	struct model m;

	(void)state;
	model_init(&m);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		f[i] = spawn(i, wait_for_condition, &m);
	wait_for_queue(&m.wq, NR_FIBERS);
	m.condition = 1;
	assert_int_equal(wake_up(&m.wq), NR_FIBERS);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		join(f[i]);
	assert_int_equal(m.nr_woken, NR_FIBERS);
}

static void an_interruptible_wakeup_passes_uninterruptible_waiters(void **state)
{
	struct fiber *hard, *soft;
	struct model m;

	(void)state;
	model_init(&m);
	hard = spawn(0, wait_for_condition, &m);
	wait_for_queue(&m.wq, 1);
	soft = spawn(1, wait_for_condition_interruptibly, &m);
	wait_for_queue(&m.wq, 2);
	m.condition = 1;
	assert_int_equal(wake_up_interruptible_all(&m.wq), 1);
	assert_int_equal(join(soft), 0);
	assert_int_equal(queue_length(&m.wq), 1);
	assert_int_equal(m.nr_woken, 0);
	wake_up(&m.wq);
	join(hard);
}

static void a_signal_ends_an_interruptible_wait(void **state)
{
	struct fiber *f;
	struct model m;

	(void)state;
	model_init(&m);
	f = spawn(1, wait_for_condition_interruptibly, &m);
	wait_for_queue(&m.wq, 1);
	signalled = f;
	fiber_wake(f);
	assert_int_equal(join(f), -ERESTARTSYS);
	assert_false(waitqueue_active(&m.wq));

	/* The condition wins when both are there. */
	signalled = fiber_self();
	assert_int_equal(wait_event_interruptible(m.wq, m.condition), -ERESTARTSYS);
	/* False when first tested, true when tested after the signal. */
	assert_int_equal(wait_event_interruptible(m.wq, m.condition++), 0);
	assert_int_equal(wait_event_interruptible_timeout(m.wq, false, 5), -ERESTARTSYS);
}

/* The wake must not be forgotten: nobody sends another one. */
static void a_signal_between_the_look_and_the_sleep_ends_the_wait(void **state)
{
	struct model m;

	(void)state;
	model_init(&m);
	signalled_late = fiber_self();
	assert_int_equal(wait_event_interruptible(m.wq, m.condition), -ERESTARTSYS);
	assert_null(signalled_late);
	assert_false(waitqueue_active(&m.wq));
}

/* In parallel mode time passes while the host runs others. */
static bool host_is_late(void)
{
	return machine_config(this_machine())->mode == MACHINE_PARALLEL;
}

static void a_timeout_ends_the_wait_at_its_time(void **state)
{
	struct model m;
	u64 start = ktime_get_ns();
	u64 passed;

	(void)state;
	model_init(&m);
	assert_int_equal(wait_event_timeout(m.wq, false, 10 * HZ), 0);
	passed = ktime_get_ns() - start;
	assert_true(passed >= 10 * NSEC_PER_SEC);
	assert_true(passed < 11 * NSEC_PER_SEC || host_is_late());
	assert_int_equal(wait_event_interruptible_timeout(m.wq, false, 1), 0);
	assert_int_equal(wait_event_timeout(m.wq, false, 0), 0);
	assert_false(waitqueue_active(&m.wq));
	/* True when time is out: that counts as in time. */
	start = ktime_get_ns();
	assert_int_equal(wait_event_timeout(m.wq, ktime_get_ns() >= start + 1000 * NSEC_PER_SEC,
					    1000 * HZ), 1);
}

static long set_condition_after_a_second(void *arg)
{
	struct model *m = arg;

	msleep(1000);
	m->condition = 1;
	wake_up(&m->wq);
	return 0;
}

static void a_timed_wait_returns_what_was_left(void **state)
{
	const long timeout = host_is_late() ? 1000 * HZ : 3 * HZ;
	struct model m;
	struct fiber *f;
	long left;

	(void)state;
	model_init(&m);
	f = spawn(1, set_condition_after_a_second, &m);
	left = wait_event_timeout(m.wq, m.condition, timeout);
	assert_true(left > 0 && left <= timeout);
	assert_true((left > 2 * HZ - 10 && left <= 2 * HZ + 1) || host_is_late());
	join(f);
}

static void arguments_are_evaluated_once(void **state)
{
	struct model m;
	long timeout = 3;
	unsigned int nr = 0;
	wait_queue_head_t *wq = &m.wq;

	(void)state;
	model_init(&m);
	assert_int_equal(wait_event_timeout(*wq, ++nr == 100, timeout++), 0);
	assert_int_equal(timeout, 4);
	assert_int_equal(nr, 3);
}

/* The classic loop by hand, with an entry that stays on the queue. */
static long wait_by_hand(void *arg)
{
	struct model *m = arg;
	DECLARE_WAITQUEUE(entry, NULL);

	add_wait_queue(&m->wq, &entry);
	for (;;) {
		fiber_prepare();
		if (m->condition)
			break;
		fiber_block(SITE());
		m->nr_woken++;
	}
	remove_wait_queue(&m->wq, &entry);
	return 0;
}

static void an_entry_of_ones_own_stays_queued_until_removed(void **state)
{
	struct model m;
	struct fiber *f;

	(void)state;
	model_init(&m);
	f = spawn(1, wait_by_hand, &m);
	wait_for_queue(&m.wq, 1);
	for (unsigned int i = 1; i <= 3; i++) {
		while (READ_ONCE(f->state) != FIBER_BLOCKED)
			fiber_yield();
		assert_int_equal(wake_up(&m.wq), 1);
		while (m.nr_woken < i)
			fiber_yield();
		assert_true(waitqueue_active(&m.wq));
	}
	m.condition = 1;
	wake_up(&m.wq);
	join(f);
	assert_false(wq_has_sleeper(&m.wq));
}

static long wait_until_woken(void *arg)
{
	struct model *m = arg;
	DEFINE_WAIT_FUNC(entry, woken_wake_function);

	add_wait_queue(&m->wq, &entry);
	while (!m->condition)
		wait_woken(&entry, TASK_INTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);
	remove_wait_queue(&m->wq, &entry);
	return 0;
}

static void wait_woken_does_not_miss_a_wakeup(void **state)
{
	struct model m;
	struct fiber *f;

	(void)state;
	for (int i = 0; i < 20; i++) {
		model_init(&m);
		f = spawn((unsigned int)i, wait_until_woken, &m);
		while (!waitqueue_active(&m.wq))
			fiber_yield();
		m.condition = 1;
		wake_up(&m.wq);
		join(f);
	}
}

static int count_and_stop(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	(void)mode;
	(void)flags;
	++*(unsigned int *)entry->private;
	return key ? -1 : 1;
}

static void custom_functions_see_the_key_and_may_stop(void **state)
{
	struct wait_queue_entry first, second;
	unsigned int nr_first = 0, nr_second = 0;
	struct model m;

	(void)state;
	model_init(&m);
	init_waitqueue_func_entry(&first, count_and_stop);
	init_waitqueue_func_entry(&second, count_and_stop);
	first.private = &nr_first;
	second.private = &nr_second;
	add_wait_queue(&m.wq, &second);
	add_wait_queue(&m.wq, &first);		/* ordinary entries go to the front */
	wake_up_poll(&m.wq, 4);
	assert_int_equal(nr_first, 1);
	assert_int_equal(nr_second, 0);
	wake_up(&m.wq);
	assert_int_equal(nr_first, 2);
	assert_int_equal(nr_second, 1);
	remove_wait_queue(&m.wq, &first);
	remove_wait_queue(&m.wq, &second);
}

static long wait_locked(void *arg)
{
	struct model *m = arg;

	spin_lock_irq(&m->lock);
	wait_event_lock_irq(m->wq, m->condition, m->lock);
	m->condition = 0;
	spin_unlock_irq(&m->lock);
	return 0;
}

static void wait_event_lock_irq_tests_under_the_lock(void **state)
{
	struct fiber *a, *b;
	struct model m;

	(void)state;
	model_init(&m);
	a = spawn(0, wait_locked, &m);
	b = spawn(1, wait_locked, &m);
	wait_for_queue(&m.wq, 2);
	for (int i = 0; i < 2; i++) {
		spin_lock_irq(&m.lock);
		assert_int_equal(m.condition, 0);
		m.condition = 1;
		wake_up_all(&m.wq);
		spin_unlock_irq(&m.lock);
		while (m.condition)
			fiber_yield();
	}
	join(a);
	join(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(no_wakeup_is_lost),
		KARC_TESTS(a_true_condition_does_not_wait),
		KARC_TESTS(exclusive_waiters_are_woken_one_by_one_in_order),
		KARC_TESTS(wake_up_wakes_all_that_are_not_exclusive),
		KARC_TESTS(an_interruptible_wakeup_passes_uninterruptible_waiters),
		KARC_TESTS(a_signal_ends_an_interruptible_wait),
		KARC_TESTS(a_signal_between_the_look_and_the_sleep_ends_the_wait),
		KARC_TESTS(a_timeout_ends_the_wait_at_its_time),
		KARC_TESTS(a_timed_wait_returns_what_was_left),
		KARC_TESTS(arguments_are_evaluated_once),
		KARC_TESTS(an_entry_of_ones_own_stays_queued_until_removed),
		KARC_TESTS(wait_woken_does_not_miss_a_wakeup),
		KARC_TESTS(custom_functions_see_the_key_and_may_stop),
		KARC_TESTS(wait_event_lock_irq_tests_under_the_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
