/* SPDX-License-Identifier: MIT */
/*
 * Goal: what CPUs share stays whole when all of them use it at once: locks exclude, no wake-up is
 * lost, hand-off goes on, per-CPU variables belong to their CPU, reports do not mix.
 * Method: storms of fibers on every CPU, over plain variables that only the lock protects; sums
 * and orders are exact at the end. ThreadSanitizer sees the same tests in parallel mode.
 */
#include "storm.h"

#include <stdio.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/hw/completion.h>
#include <karc/hw/mutex.h>
#include <karc/hw/percpu.h>
#include <karc/hw/rwsem.h>
#include <karc/hw/spinlock.h>
#include <karc/hw/trace.h>
#include <karc/hw/wait.h>

#define ROUNDS	300

/* Two counters that are equal whenever the lock allows to look; nothing about them is atomic. */
struct pair {
	unsigned long a, b;
	spinlock_t spin;
	rwlock_t rw;
	struct mutex mutex;
	struct rw_semaphore sem;
};

static void pair_init(struct pair *p)
{
	memset(p, 0, sizeof(*p));
	spin_lock_init(&p->spin);
	rwlock_init(&p->rw);
	mutex_init(&p->mutex);
	init_rwsem(&p->sem);
}

static void pair_bump(struct pair *p)
{
	p->a++;
	hw_safepoint();
	p->b++;
}

static long spin_worker(struct storm_worker *w)
{
	struct pair *p = w->storm->arg;
	unsigned long flags;

	for (int i = 0; i < ROUNDS; i++) {
		switch (rnd_below(&w->rnd, 5)) {
		case 0:
			spin_lock(&p->spin);
			pair_bump(p);
			spin_unlock(&p->spin);
			break;
		case 1:
			spin_lock_irqsave(&p->spin, flags);
			pair_bump(p);
			spin_unlock_irqrestore(&p->spin, flags);
			break;
		case 2:
			spin_lock_bh(&p->spin);
			pair_bump(p);
			spin_unlock_bh(&p->spin);
			break;
		case 3:
			spin_lock_irq(&p->spin);
			pair_bump(p);
			spin_unlock_irq(&p->spin);
			break;
		default:
			while (!spin_trylock(&p->spin))
				cpu_relax();
			pair_bump(p);
			spin_unlock(&p->spin);
		}
	}
	return 0;
}

static void spinlocks_exclude(void **state)
{
	struct pair p;
	struct storm s;

	(void)state;
	pair_init(&p);
	storm_run(&s, 2, spin_worker, &p);
	assert_int_equal(p.a, s.nr * ROUNDS);
	assert_int_equal(p.b, s.nr * ROUNDS);
}

static long rwlock_worker(struct storm_worker *w)
{
	struct pair *p = w->storm->arg;
	bool equal;

	for (int i = 0; i < ROUNDS; i++) {
		if (i % 3 == 0) {
			write_lock(&p->rw);
			pair_bump(p);
			write_unlock(&p->rw);
			continue;
		}
		read_lock(&p->rw);
		equal = p->a == p->b;
		read_unlock(&p->rw);
		if (!equal)
			return -1;
	}
	return 0;
}

static void rwlocks_keep_readers_and_writers_apart(void **state)
{
	struct pair p;
	struct storm s;

	(void)state;
	pair_init(&p);
	storm_run(&s, 2, rwlock_worker, &p);
	assert_int_equal(p.a, s.nr * ROUNDS / 3);
	assert_int_equal(p.b, p.a);
}

static long mutex_worker(struct storm_worker *w)
{
	struct pair *p = w->storm->arg;

	for (int i = 0; i < ROUNDS; i++) {
		mutex_lock(&p->mutex);
		p->a++;
		if (i % 4 == 0)
			fiber_yield();		/* others queue up: hand-off */
		p->b++;
		if (p->a != p->b)
			return -1;
		mutex_unlock(&p->mutex);
	}
	return 0;
}

static void mutexes_exclude_and_hand_over(void **state)
{
	struct pair p;
	struct storm s;

	(void)state;
	pair_init(&p);
	storm_run(&s, 3, mutex_worker, &p);
	assert_int_equal(p.a, s.nr * ROUNDS);
	assert_false(mutex_is_locked(&p.mutex));
}

static long rwsem_worker(struct storm_worker *w)
{
	struct pair *p = w->storm->arg;
	bool equal;

	for (int i = 0; i < ROUNDS; i++) {
		if (i % 3 == 0) {
			down_write(&p->sem);
			p->a++;
			if (i % 6 == 0)
				fiber_yield();
			p->b++;
			if (i % 2) {
				downgrade_write(&p->sem);
				equal = p->a == p->b;
				up_read(&p->sem);
			} else {
				equal = p->a == p->b;
				up_write(&p->sem);
			}
		} else {
			down_read(&p->sem);
			equal = p->a == p->b;
			if (i % 5 == 0)
				fiber_yield();
			equal = equal && p->a == p->b;
			up_read(&p->sem);
		}
		if (!equal)
			return -1;
	}
	return 0;
}

static void rwsems_keep_readers_and_writers_apart(void **state)
{
	struct pair p;
	struct storm s;

	(void)state;
	pair_init(&p);
	storm_run(&s, 2, rwsem_worker, &p);
	assert_int_equal(p.a, s.nr * ROUNDS / 3);
	assert_false(rwsem_is_locked(&p.sem));
	assert_false(rwsem_is_contended(&p.sem));
}

/* ---- wake-ups ---- */

/* Whose turn it is goes round; everybody sleeps until it is his. One lost wake-up stops it all. */
struct ring {
	wait_queue_head_t queue;
	unsigned int turn;
	unsigned long nr_turns;		/* only the one whose turn it is writes */
};

static long ring_worker(struct storm_worker *w)
{
	struct ring *r = w->storm->arg;

	for (int i = 0; i < ROUNDS / 3; i++) {
		wait_event(r->queue, __atomic_load_n(&r->turn, __ATOMIC_ACQUIRE) == w->index);
		r->nr_turns++;
		__atomic_store_n(&r->turn, (w->index + 1) % w->storm->nr, __ATOMIC_RELEASE);
		wake_up_all(&r->queue);
	}
	return 0;
}

static void no_wake_up_is_lost(void **state)
{
	struct ring r = { .turn = 0 };
	struct storm s;

	(void)state;
	init_waitqueue_head(&r.queue);
	storm_run(&s, 2, ring_worker, &r);
	assert_int_equal(r.nr_turns, s.nr * (ROUNDS / 3));
	assert_false(waitqueue_active(&r.queue));
}

/* Items are put and taken; each exclusive wake-up is for one taker. */
struct store {
	wait_queue_head_t not_empty;
	spinlock_t lock;
	unsigned long nr_items, nr_taken;
};

static bool take_item(struct store *st)
{
	bool taken;

	spin_lock(&st->lock);
	taken = st->nr_items != 0;
	st->nr_items -= taken;
	st->nr_taken += taken;
	spin_unlock(&st->lock);
	return taken;
}

/*
 * A wake-up may choose a taker that has taken something just now and is about to go, as in Linux:
 * who takes and leaves something passes it on.
 */
static void pass_on(struct store *st)
{
	bool more;

	spin_lock(&st->lock);
	more = st->nr_items != 0;
	spin_unlock(&st->lock);
	if (more)
		wake_up(&st->not_empty);
}

static long store_worker(struct storm_worker *w)
{
	struct store *st = w->storm->arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (w->index % 2) {
			wait_event_exclusive(st->not_empty, take_item(st));
			pass_on(st);
			continue;
		}
		spin_lock(&st->lock);
		st->nr_items++;
		spin_unlock(&st->lock);
		wake_up(&st->not_empty);
	}
	return 0;
}

static void each_item_wakes_a_taker(void **state)
{
	struct store st = { .nr_items = 0 };
	struct storm s;

	(void)state;
	init_waitqueue_head(&st.not_empty);
	spin_lock_init(&st.lock);
	storm_run(&s, 2, store_worker, &st);
	/* Workers are even in number; an odd CPU count pairs its two fibers. */
	assert_int_equal(st.nr_taken, s.nr / 2 * ROUNDS);
	assert_int_equal(st.nr_items, 0);
}

/* ---- completions that are gone as soon as they are done ---- */

struct mailbox {
	struct completion *letter;	/* on the sender's stack */
};

static long post_worker(struct storm_worker *w)
{
	struct mailbox *box = (struct mailbox *)w->storm->arg + w->index / 2;

	for (int i = 0; i < ROUNDS; i++) {
		struct completion *letter, mine;

		if (w->index % 2) {
			init_completion(&mine);
			__atomic_store_n(&box->letter, &mine, __ATOMIC_RELEASE);
			wait_for_completion(&mine);
			memset(&mine, 0xa5, sizeof(mine));
			continue;
		}
		while (!(letter = __atomic_exchange_n(&box->letter, NULL, __ATOMIC_ACQ_REL)))
			cpu_relax();
		if (i % 2)
			complete(letter);
		else
			complete_all(letter);
	}
	return 0;
}

static void a_completion_may_go_when_it_is_done(void **state)
{
	struct mailbox box[STORM_MAX / 2] = { { NULL } };
	struct storm s;

	(void)state;
	storm_run(&s, 2, post_worker, box);
}

/* ---- per-CPU variables ---- */

static DEFINE_PER_CPU(unsigned long, storm_count) = 5;
static DEFINE_PER_CPU(int, storm_level);

static long percpu_worker(struct storm_worker *w)
{
	unsigned int nr_cpus = machine_nr_cpus(this_machine());
	unsigned long sum = 0, before = 0;

	for (int i = 0; i < ROUNDS; i++) {
		this_cpu_inc(storm_count);
		if (this_cpu_add_return(storm_level, 3) < 3)
			return -1;
		this_cpu_sub(storm_level, 3);
		if (i % 16 == (int)w->index % 16) {
			sum = 0;
			for (unsigned int cpu = 0; cpu < nr_cpus; cpu++)
				sum += READ_ONCE(per_cpu(storm_count, cpu));
			if (sum < before)
				return -2;
			before = sum;
		}
		hw_safepoint();
	}
	return 0;
}

/* The image of this program's section is made by whichever CPU comes first. */
static void per_cpu_variables_are_each_cpus_own(void **state)
{
	unsigned int nr_cpus = machine_nr_cpus(this_machine());
	unsigned long sum = 0;
	struct storm s;

	(void)state;
	storm_run(&s, 2, percpu_worker, NULL);
	for (unsigned int cpu = 0; cpu < nr_cpus; cpu++) {
		assert_int_equal(per_cpu(storm_count, cpu), 5 + 2 * ROUNDS);
		assert_int_equal(per_cpu(storm_level, cpu), 0);
		sum += per_cpu(storm_count, cpu);
	}
	assert_int_equal(sum, nr_cpus * (5 + 2 * ROUNDS));
}

/* ---- reports ---- */

#define REPORTS	5

static long warn_worker(struct storm_worker *w)
{
	for (int i = 0; i < REPORTS; i++) {
		WARN(1, "storm of CPU %u", w->index);
		printk(KERN_INFO "plain line\n");
		hw_safepoint();
	}
	return 0;
}

/* Between "cut here" and "end trace" stand the lines of one CPU. */
static unsigned int count_whole_reports(struct log *log)
{
	unsigned int nr = 0, speaker = 0, cpu;
	struct log_record record;
	bool inside = false;
	u64 seq = 0;

	while (karc_log_read(log, &seq, &record)) {
		if (strstr(record.text, "cut here")) {
			assert_false(inside);
			inside = true;
		} else if (sscanf(record.text, "storm of CPU %u", &cpu) == 1) {
			assert_true(inside);
			speaker = cpu;
		} else if (sscanf(record.text, "WARNING: CPU: %u", &cpu) == 1 ||
			   sscanf(record.text, "CPU: %u", &cpu) == 1) {
			assert_true(inside);
			assert_int_equal(cpu, speaker);
		} else if (strstr(record.text, "end trace")) {
			assert_true(inside);
			inside = false;
			nr++;
		}
	}
	return nr;
}

static void reports_of_several_cpus_do_not_mix(void **state)
{
	struct machine *m = this_machine();
	struct storm s;

	(void)state;
	storm_run(&s, 1, warn_worker, NULL);
	assert_int_equal(machine_counters(m).warnings, s.nr * REPORTS);
	assert_int_equal(count_whole_reports(machine_log(m)), s.nr * REPORTS);
	expect_warn("storm of CPU 0");
}

struct steps {
	unsigned long nr;		/* plain: steps come one after the other */
	char last[32];
};

static void hear(void *arg, const char *fn, const char *text)
{
	struct steps *steps = arg;

	(void)fn;
	steps->nr++;
	snprintf(steps->last, sizeof(steps->last), "%s", text);
}

static long trace_worker(struct storm_worker *w)
{
	for (int i = 0; i < ROUNDS; i++)
		trace_step("storm", "worker %u", w->index);
	return 0;
}

static void steps_are_heard_one_after_the_other(void **state)
{
	struct trace_listener listener;
	struct steps steps = { 0 };
	struct storm s;

	(void)state;
	trace_listen(this_machine(), &listener, hear, &steps);
	storm_run(&s, 2, trace_worker, NULL);
	trace_unlisten(this_machine(), &listener);
	assert_int_equal(steps.nr, s.nr * ROUNDS);
	assert_int_equal(strncmp(steps.last, "worker ", 7), 0);
}

/* ---- fibers that end badly, on all CPUs at once ---- */

#define VICTIMS	24

struct victim {
	struct fiber *fiber;
	unsigned long id;
	const bool *go;
};

__attribute__((no_sanitize("undefined", "address", "thread")))
static noinline long read_wild(unsigned long address)
{
	return *(volatile char *)address;
}

static long end_badly(void *arg)
{
	struct victim *v = arg;

	while (!__atomic_load_n(v->go, __ATOMIC_ACQUIRE))
		cpu_relax();
	if (v->id % 3 == 0)
		return read_wild(8 * v->id + 8);
	if (v->id % 3 == 1)
		karc_bug_msg(KARC_BUG_SITE(""), "victim %lu", v->id);
	return (long)v->id;
}

static void check_victim(struct victim *v)
{
	char expected[40] = "";
	struct machine_result r;

	fiber_join(v->fiber, &r);
	if (v->id % 3 == 0)
		snprintf(expected, sizeof(expected), "address: %016lx", 8 * v->id + 8);
	else if (v->id % 3 == 1)
		snprintf(expected, sizeof(expected), "victim %lu", v->id);
	else
		assert_int_equal(r.value, v->id);
	assert_int_equal(r.end, v->id % 3 == 0 ? MACHINE_OOPS :
				v->id % 3 == 1 ? MACHINE_BUG : MACHINE_VALUE);
	if (!strstr(r.message, expected))
		fail_msg("victim %lu ended with \"%s\"", v->id, r.message);
}

static void each_bad_end_is_ones_own(enum machine_mode mode)
{
	static const struct room *const rooms[] = { &hw_room };
	const struct machine_config config = { .nr_cpus = 4, .mode = mode, .quiet = true };
	struct machine *m = machine_boot_rooms(&config, rooms, 1);
	struct victim victim[VICTIMS];
	bool go = false;

	assert_false(IS_ERR(m));
	machine_enter(m);
	for (unsigned int i = 0; i < VICTIMS; i++) {
		victim[i] = (struct victim){ NULL, i, &go };
		victim[i].fiber = fiber_spawn(i % 4, "victim", end_badly, &victim[i]);
		assert_non_null(victim[i].fiber);
	}
	__atomic_store_n(&go, true, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < VICTIMS; i++)
		check_victim(&victim[i]);
	assert_int_equal(machine_counters(m).oopses, VICTIMS / 3);
	assert_int_equal(machine_counters(m).bugs, VICTIMS / 3);
	machine_leave();
	assert_int_equal(machine_shutdown(m), 0);
}

static void bad_ends_on_one_host_thread(void **state)
{
	(void)state;
	each_bad_end_is_ones_own(MACHINE_DETERMINISTIC);
}

/* Host faults of several threads at once, each taken over on its own alternate stack. */
static void bad_ends_on_four_host_threads(void **state)
{
	(void)state;
	each_bad_end_is_ones_own(MACHINE_PARALLEL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(spinlocks_exclude),
		KARC_TESTS(rwlocks_keep_readers_and_writers_apart),
		KARC_TESTS(mutexes_exclude_and_hand_over),
		KARC_TESTS(rwsems_keep_readers_and_writers_apart),
		KARC_TESTS(no_wake_up_is_lost),
		KARC_TESTS(each_item_wakes_a_taker),
		KARC_TESTS(a_completion_may_go_when_it_is_done),
		KARC_TESTS(per_cpu_variables_are_each_cpus_own),
		KARC_TESTS(reports_of_several_cpus_do_not_mix),
		KARC_TESTS(steps_are_heard_one_after_the_other),
		cmocka_unit_test(bad_ends_on_one_host_thread),
		cmocka_unit_test(bad_ends_on_four_host_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
