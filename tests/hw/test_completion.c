/* SPDX-License-Identifier: MIT */
/*
 * Goal: each complete() lets one waiter through, complete_all() all; timeouts and signals end a
 * wait; the waiter may drop the completion at once.
 * Method: fibers on all CPUs; this test plays the room of signals by defining
 * karc_signal_pending().
 */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/hw/clock.h>
#include <karc/hw/completion.h>
#include <karc/hw/fiber.h>
#include <karc/hw/machine.h>

#define NR_FIBERS	8

struct model {
	struct completion done;
	_Atomic unsigned int nr_through;
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
	init_completion(&m->done);
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

static long wait_through(void *arg)
{
	struct model *m = arg;

	wait_for_completion(&m->done);
	m->nr_through++;
	return 0;
}

/* Let everybody run who can. The time is skipped then, however slow the host is until then. */
static void settle(void)
{
	msleep(1000 * 1000);
}

static void each_complete_lets_one_through(void **state)
{
	struct fiber *f[NR_FIBERS];
	struct model m;

	(void)state;
	model_init(&m);
	complete(&m.done);			/* before anybody waits: remembered */
	complete(&m.done);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		f[i] = spawn(i, wait_through, &m);
	settle();
	for (unsigned int n = 2; n < NR_FIBERS; n++) {
		assert_int_equal(m.nr_through, n);
		assert_false(completion_done(&m.done));
		complete(&m.done);
		settle();
	}
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		join(f[i]);
	assert_false(try_wait_for_completion(&m.done));
}

static void complete_all_lets_everybody_through_until_reinit(void **state)
{
	struct fiber *f[NR_FIBERS];
	struct model m;

	(void)state;
	model_init(&m);
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		f[i] = spawn(i, wait_through, &m);
	settle();
	complete_all(&m.done);
	complete(&m.done);			/* adds nothing to "all" */
	for (unsigned int i = 0; i < NR_FIBERS; i++)
		join(f[i]);
	wait_for_completion(&m.done);
	assert_true(completion_done(&m.done));
	assert_true(try_wait_for_completion(&m.done));
	reinit_completion(&m.done);
	assert_false(completion_done(&m.done));
	assert_false(try_wait_for_completion(&m.done));
}

static void a_timeout_returns_zero_and_success_what_is_left(void **state)
{
	struct model m;
	u64 start = ktime_get_ns();

	(void)state;
	model_init(&m);
	assert_int_equal(wait_for_completion_timeout(&m.done, 2 * HZ), 0);
	assert_true(ktime_get_ns() - start >= 2 * NSEC_PER_SEC);
	assert_int_equal(wait_for_completion_timeout(&m.done, 0), 0);
	complete(&m.done);
	assert_int_equal(wait_for_completion_timeout(&m.done, 50), 50);
	complete(&m.done);
	assert_int_equal(wait_for_completion_timeout(&m.done, 0), 1);
	complete(&m.done);
	assert_int_equal(wait_for_completion_interruptible_timeout(&m.done, 50), 50);
	assert_false(waitqueue_active(&m.done.wait));
}

static long wait_interruptibly(void *arg)
{
	struct model *m = arg;

	return wait_for_completion_interruptible(&m->done);
}

static long wait_killably(void *arg)
{
	struct model *m = arg;

	return wait_for_completion_killable(&m->done);
}

static void a_signal_ends_the_wait_and_takes_nothing(void **state)
{
	long (*const waits[])(void *) = { wait_interruptibly, wait_killably };
	struct model m;
	struct fiber *f;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		model_init(&m);
		f = spawn(1, waits[i], &m);
		while (!waitqueue_active(&m.done.wait))
			fiber_yield();
		signalled = f;
		fiber_wake(f);
		assert_int_equal(join(f), -ERESTARTSYS);
		assert_false(waitqueue_active(&m.done.wait));
		complete(&m.done);
		assert_true(try_wait_for_completion(&m.done));
	}
	/* What is complete is taken in spite of a signal. */
	signalled = fiber_self();
	complete(&m.done);
	assert_int_equal(wait_for_completion_interruptible(&m.done), 0);
}

/* The wake must not be forgotten: nobody sends another one. */
static void a_signal_between_the_look_and_the_sleep_ends_the_wait(void **state)
{
	struct model m;

	(void)state;
	model_init(&m);
	signalled_late = fiber_self();
	assert_int_equal(wait_interruptibly(&m), -ERESTARTSYS);
	assert_null(signalled_late);
	assert_false(waitqueue_active(&m.done.wait));
}

static long complete_it(void *arg)
{
	complete(arg);
	return 0;
}

/* The waiter's frame is gone while the completer may still be on its way out. */
static void the_waiter_may_drop_it_at_once(void **state)
{
	struct fiber *f[64];

	(void)state;
	for (unsigned int i = 0; i < 64; i++) {
		DECLARE_COMPLETION_ONSTACK(done);

		f[i] = spawn(i, complete_it, &done);
		wait_for_completion(&done);
		memset(&done, 0xa5, sizeof(done));
	}
	for (unsigned int i = 0; i < 64; i++)
		join(f[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(each_complete_lets_one_through),
		KARC_TESTS(complete_all_lets_everybody_through_until_reinit),
		KARC_TESTS(a_timeout_returns_zero_and_success_what_is_left),
		KARC_TESTS(a_signal_ends_the_wait_and_takes_nothing),
		KARC_TESTS(a_signal_between_the_look_and_the_sleep_ends_the_wait),
		KARC_TESTS(the_waiter_may_drop_it_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
