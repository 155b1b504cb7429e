/* SPDX-License-Identifier: MIT */
/*
 * Goal: the explorer runs every schedule that can make a difference, once, finds what is wrong in
 * the one where it is wrong, and says which one that was.
 * Method: tiny tasks whose schedules can be counted by hand; random programs whose outcomes under
 * the reduced search equal those of every single interleaving; known bugs that must be found.
 */
#ifndef KARC_EXPLORE
#define KARC_EXPLORE
#endif
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/base/rand.h>
#include <karc/hw/clock.h>
#include <karc/hw/explore.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/hw/ipi.h>
#include <karc/hw/mutex.h>
#include <karc/hw/spinlock.h>

#define NR_WORDS	4u

/* What the tasks of one test share; zeroed by setup. */
struct shared {
	int word[NR_WORDS];
	int locked;			/* under lock[0] */
	int result[EXPLORE_MAX_TASKS];
	spinlock_t lock[2];
	struct mutex mutex;
	struct fiber *sleeper;
};

static int load(int *p)
{
	return __atomic_load_n(KARC_STEPPED(p, KARC_READS), __ATOMIC_RELAXED);
}

static void store(int *p, int value)
{
	__atomic_store_n(KARC_STEPPED(p, KARC_WRITES), value, __ATOMIC_RELAXED);
}

static int add(int *p, int value)
{
	return __atomic_fetch_add(KARC_STEPPED(p, KARC_WRITES), value, __ATOMIC_RELAXED);
}

static void clear(void *arg)
{
	struct shared *s = arg;

	memset(s, 0, sizeof(*s));
	mutex_init(&s->mutex);
}

static struct explore_result run(const struct exploration *e)
{
	struct explore_result r;

	explore(e, &r);
	print_message("%s: %lu schedules, %lu cut short, longest %u%s%s\n", e->name,
		      r.nr_schedules, r.nr_cut, r.longest, r.message[0] ? "; " : "", r.message);
	return r;
}

/* ---- counting ---- */

static void write_own_twice(void *arg)
{
	struct shared *s = arg;
	int *own = &s->word[explore_task()];

	store(own, 1);
	store(own, 2);
}

static void add_to_first(void *arg)
{
	struct shared *s = arg;

	s->result[explore_task()] = add(&s->word[0], 1);
}

static void read_first(void *arg)
{
	struct shared *s = arg;

	s->result[explore_task()] = load(&s->word[0]);
}

static void every_interleaving_is_run_once(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "two steps each", .nr_tasks = 2, .arg = &s, .setup = clear, .every = true,
		.task = { write_own_twice, write_own_twice, write_own_twice },
	};

	(void)state;
	assert_int_equal(run(&e).nr_schedules, 6);	/* 4! / (2! 2!) */
	e.nr_tasks = 3;
	assert_int_equal(run(&e).nr_schedules, 90);	/* 6! / (2! 2! 2!) */
	e.nr_tasks = 1;
	assert_int_equal(run(&e).nr_schedules, 1);
}

static void independent_steps_are_run_in_one_order(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "own words", .nr_tasks = 3, .arg = &s, .setup = clear,
		.task = { write_own_twice, write_own_twice, write_own_twice },
	};
	struct explore_result r = run(&e);

	(void)state;
	assert_int_equal(r.verdict, EXPLORE_PASSED);
	assert_int_equal(r.nr_schedules, 1);
	assert_int_equal(r.longest, 6);
	e.task[0] = e.task[1] = e.task[2] = read_first;
	assert_int_equal(run(&e).nr_schedules, 1);
}

static void conflicting_steps_are_run_in_every_order(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "one word", .nr_tasks = 3, .arg = &s, .setup = clear,
		.task = { add_to_first, add_to_first, add_to_first },
	};
	struct explore_result r = run(&e);

	(void)state;
	assert_int_equal(r.verdict, EXPLORE_PASSED);
	assert_int_equal(r.nr_schedules, 6);
	e.task[2] = read_first;		/* it may see 0, 1 or 2, and the adds come in two orders */
	assert_int_equal(run(&e).nr_schedules, 6);
}

/* ---- the reductions lose nothing ---- */

#define NR_OPS		3u
#define NR_OUTCOMES	4096u

enum op { OP_LOAD, OP_STORE, OP_ADD, OP_LOCK, OP_CMPXCHG, OP_WAIT, OP_KINDS };

struct program {
	struct shared s;
	unsigned int nr_tasks, nr_ops;
	enum op op[EXPLORE_MAX_TASKS][NR_OPS];
	unsigned int word[EXPLORE_MAX_TASKS][NR_OPS];
	u64 outcome[NR_OUTCOMES];
	unsigned int nr_outcomes;
};

static void program_setup(void *arg)
{
	struct program *p = arg;

	clear(&p->s);
}

static int do_op(struct program *p, unsigned int t, unsigned int i, int seen)
{
	int *word = &p->s.word[p->word[t][i]];

	switch (p->op[t][i]) {
	case OP_LOAD:
		return load(word);
	case OP_STORE:
		store(word, (int)(t * NR_OPS + i + 1));
		return 0;
	case OP_ADD:
		return add(word, 1 << (4 * t));
	case OP_LOCK:
		spin_lock(&p->s.lock[0]);
		seen = p->s.locked = p->s.locked * 3 + (int)t + 1;
		spin_unlock(&p->s.lock[0]);
		return seen;
	case OP_CMPXCHG:
		return cmpxchg(word, seen, seen + 7);
	default:		/* wait for somebody else's write: task 0 never waits */
		while (t && !load(&p->s.word[NR_WORDS - 1]))
			cpu_relax();
		store(&p->s.word[NR_WORDS - 1], 1);
		return 0;
	}
}

static void program_task(void *arg)
{
	struct program *p = arg;
	unsigned int t = (unsigned int)explore_task();
	int seen = 0, hash = 0;

	for (unsigned int i = 0; i < p->nr_ops; i++) {
		seen = do_op(p, t, i, seen);
		hash = hash * 31 + seen;
	}
	/* Somebody may wait for it. */
	store(&p->s.word[NR_WORDS - 1], 1);
	p->s.result[t] = hash;
}

static void note_outcome(void *arg)
{
	struct program *p = arg;
	u64 hash = (u64)p->s.locked;

	for (unsigned int i = 0; i < NR_WORDS; i++)
		hash = hash * 1000003 + (u64)p->s.word[i];
	for (unsigned int t = 0; t < p->nr_tasks; t++)
		hash = hash * 1000003 + (u64)p->s.result[t];
	for (unsigned int i = 0; i < p->nr_outcomes; i++) {
		if (p->outcome[i] == hash)
			return;
	}
	if (p->nr_outcomes < NR_OUTCOMES)
		p->outcome[p->nr_outcomes++] = hash;
}

static int compare_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static struct explore_result outcomes_of(struct program *p, bool every)
{
	struct exploration e = {
		.name = "random program", .nr_tasks = p->nr_tasks, .arg = p,
		.setup = program_setup, .check = note_outcome, .every = every, .quiet = true,
		.task = { program_task, program_task, program_task },
	};
	struct explore_result r;

	p->nr_outcomes = 0;
	explore(&e, &r);
	assert_string_equal(r.message, "");
	assert_int_equal(r.verdict, EXPLORE_PASSED);
	qsort(p->outcome, p->nr_outcomes, sizeof(p->outcome[0]), compare_u64);
	return r;
}

static void make_program(struct program *p, struct rnd *rnd, unsigned int nr_tasks)
{
	p->nr_tasks = nr_tasks;
	p->nr_ops = nr_tasks == 2 ? NR_OPS : NR_OPS - 1;
	for (unsigned int t = 0; t < nr_tasks; t++) {
		for (unsigned int i = 0; i < p->nr_ops; i++) {
			/* Three tasks have ten thousand times as many interleavings. */
			unsigned int kinds = nr_tasks == 2 || !i ? OP_KINDS : OP_LOCK;

			p->op[t][i] = (enum op)rnd_below(rnd, kinds);
			p->word[t][i] = rnd_below(rnd, NR_WORDS - 1);
		}
	}
}

/* Each random program has the same outcomes with and without reductions. */
static void compare_programs(unsigned int nr, unsigned int nr_tasks)
{
	struct program *a = calloc(2, sizeof(*a)), *b = a + 1;
	unsigned long all = 0, reduced = 0, cut = 0;
	u64 seed = machine_random(this_machine());
	struct explore_result r;
	struct rnd rnd;

	assert_non_null(a);
	print_message("seed %llu\n", (unsigned long long)seed);
	rnd_seed(&rnd, seed);
	for (unsigned int i = 0; i < nr; i++) {
		make_program(a, &rnd, nr_tasks);
		*b = *a;
		all += outcomes_of(a, true).nr_schedules;
		r = outcomes_of(b, false);
		reduced += r.nr_schedules;
		cut += r.nr_cut;
		assert_int_equal(a->nr_outcomes, b->nr_outcomes);
		assert_memory_equal(a->outcome, b->outcome, a->nr_outcomes * sizeof(u64));
	}
	print_message("%u programs of %u tasks: %lu interleavings, %lu schedules, %lu cut short\n",
		      nr, nr_tasks, all, reduced, cut);
	assert_true(reduced < all);
	free(a);
}

static void reductions_lose_no_outcome_of_two_tasks(void **state)
{
	(void)state;
	compare_programs(100, 2);
}

static void reductions_lose_no_outcome_of_three_tasks(void **state)
{
	(void)state;
	compare_programs(8, 3);
}

/* ---- finding ---- */

static void add_in_two_steps(void *arg)
{
	struct shared *s = arg;
	int seen = load(&s->word[0]);

	store(&s->word[0], seen + 1);
}

static void sum_is_tasks(void *arg)
{
	struct shared *s = arg;

	explore_check(s->word[0] == 2);
}

static void a_lost_update_is_found_and_replays(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "lost update", .nr_tasks = 2, .arg = &s, .setup = clear,
		.task = { add_in_two_steps, add_in_two_steps }, .check = sum_is_tasks,
	};
	struct explore_result r = run(&e), again;

	(void)state;
	assert_int_equal(r.verdict, EXPLORE_FAILED);
	assert_int_equal(strlen(r.schedule), 4);
	assert_non_null(strstr(r.message, "explore: lost update: after step 4: "
				       "not true: s->word[0] == 2"));
	assert_non_null(strstr(r.message, r.schedule));
	assert_true(fixture_log_contains("explore: step 0: task 0 reads word 0 (4 bytes) at "));
	assert_true(fixture_log_contains("explore: lost update: "));
	e.schedule = r.schedule;
	again = run(&e);
	assert_int_equal(again.verdict, EXPLORE_FAILED);
	assert_int_equal(again.nr_schedules, 1);
	assert_string_equal(again.message, r.message);
	e.schedule = "0011";
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
	e.schedule = "0001";		/* task 0 has two steps */
	assert_int_equal(run(&e).verdict, EXPLORE_DIVERGED);
}

/* Sees both only if each task stops in its middle for the other. */
static void reads_twice(void *arg)
{
	struct shared *s = arg;
	int before = load(&s->word[0]), after = load(&s->word[0]);

	explore_check(!(before == 0 && after == 1));
}

static void writes_twice(void *arg)
{
	struct shared *s = arg;

	store(&s->word[0], 1);
	store(&s->word[0], 2);
}

static void a_bound_on_preemptions_is_one(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "two preemptions", .nr_tasks = 2, .arg = &s, .setup = clear,
		.task = { reads_twice, writes_twice }, .max_preemptions = 1,
	};

	(void)state;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
	e.max_preemptions = 2;
	assert_int_equal(run(&e).verdict, EXPLORE_FAILED);
	e.max_preemptions = 0;
	assert_int_equal(run(&e).verdict, EXPLORE_FAILED);
}

static void search_ends_at_its_limit(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "limit", .nr_tasks = 3, .arg = &s, .setup = clear, .max_schedules = 5,
		.task = { add_to_first, add_to_first, add_to_first },
	};

	(void)state;
	assert_int_equal(run(&e).verdict, EXPLORE_LIMIT);
	e.max_schedules = 6;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
}

static void warns_if_second(void *arg)
{
	struct shared *s = arg;

	WARN_ONCE(add(&s->word[0], 1) == 1, "second");
}

static void a_warning_is_a_failure_unless_allowed(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "warning", .nr_tasks = 2, .arg = &s, .setup = clear,
		.task = { warns_if_second, warns_if_second },
	};

	(void)state;
	assert_int_equal(run(&e).verdict, EXPLORE_FAILED);
	e.allow_warnings = true;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
	expect_warn("second");
}

static void bugs_if_second(void *arg)
{
	struct shared *s = arg;

	BUG_ON(add(&s->word[0], 1) == 1);
}

static void explores_a_bug(void)
{
	struct shared s;
	struct exploration e = {
		.name = "bug", .nr_tasks = 2, .arg = &s, .setup = clear, .quiet = true,
		.task = { bugs_if_second, add_to_first },
	};
	struct explore_result r = run(&e);

	assert_int_equal(r.verdict, EXPLORE_FAILED);
	assert_non_null(strstr(r.message, "task 0 ended: "));
	assert_string_equal(r.schedule, "10");
}

/* The fixture says what it saw: the task's BUG, which is no failure of the body. */
static void a_bug_in_a_task_is_a_failure(void **state)
{
	struct fixture_verdict v = fixture_run(4, explores_a_bug);

	(void)state;
	assert_int_equal(v.nr_failures, 0);
	assert_int_equal(v.nr_bugs, 1);
	assert_int_equal(v.nr_left, 0);
}

/* ---- waiting ---- */

static void counts_locked(void *arg)
{
	struct shared *s = arg;

	spin_lock(&s->lock[0]);
	add_in_two_steps(arg);
	spin_unlock(&s->lock[0]);
}

static void counts_under_mutex(void *arg)
{
	struct shared *s = arg;

	mutex_lock(&s->mutex);
	add_in_two_steps(arg);
	mutex_unlock(&s->mutex);
}

static void locks_exclude_each_other(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "spinlock", .nr_tasks = 2, .arg = &s, .setup = clear,
		.task = { counts_locked, counts_locked }, .check = sum_is_tasks,
	};

	(void)state;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
	assert_true(run(&e).nr_schedules > 1);
	e.every = true;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
	e.name = "mutex";
	e.task[0] = e.task[1] = counts_under_mutex;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
	e.every = false;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
}

static void locks_0_then_1(void *arg)
{
	struct shared *s = arg;

	spin_lock(&s->lock[0]);
	spin_lock_nested(&s->lock[1], 1);
	spin_unlock(&s->lock[1]);
	spin_unlock(&s->lock[0]);
}

static void locks_1_then_0(void *arg)
{
	struct shared *s = arg;

	spin_lock(&s->lock[1]);
	spin_lock_nested(&s->lock[0], 1);
	spin_unlock(&s->lock[0]);
	spin_unlock(&s->lock[1]);
}

static void locks_in_two_orders_deadlock(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "two locks", .nr_tasks = 2, .arg = &s, .setup = clear,
		.task = { locks_0_then_1, locks_1_then_0 },
	};
	struct explore_result r = run(&e);

	(void)state;
	assert_int_equal(r.verdict, EXPLORE_DEADLOCK);
	assert_non_null(strstr(r.message, "they wait for ever: task 0 spins, task 1 spins"));
	e.task[1] = locks_0_then_1;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
}

static void waits_for_first_word(void *arg)
{
	struct shared *s = arg;

	while (!load(&s->word[0]))
		cpu_relax();
	s->result[0] = load(&s->word[1]);
	explore_check(s->result[0] == 5);
}

static void writes_second_then_first(void *arg)
{
	struct shared *s = arg;

	store(&s->word[2], 1);
	store(&s->word[1], 5);
	store(&s->word[0], 1);
}

static void writes_first_then_second(void *arg)
{
	struct shared *s = arg;

	store(&s->word[0], 1);
	store(&s->word[1], 5);
}

static void does_nothing(void *arg)
{
	(void)arg;
}

static void a_spinning_task_waits_for_a_change(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "flag", .nr_tasks = 2, .arg = &s, .setup = clear,
		.task = { waits_for_first_word, writes_second_then_first },
	};
	struct explore_result r;

	(void)state;
	r = run(&e);
	assert_int_equal(r.verdict, EXPLORE_PASSED);
	assert_int_equal(r.nr_schedules, 2);	/* it looks too early, or not */
	e.every = true;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
	e.every = false;
	e.task[1] = writes_first_then_second;
	assert_int_equal(run(&e).verdict, EXPLORE_FAILED);
	e.task[1] = does_nothing;
	r = run(&e);
	assert_int_equal(r.verdict, EXPLORE_DEADLOCK);
	assert_non_null(strstr(r.message, "task 0 spins at load"));
}

static void sleeps_until_told(void *arg)
{
	struct shared *s = arg;

	WRITE_ONCE(s->sleeper, fiber_self());
	for (;;) {
		fiber_prepare();
		if (load(&s->word[0]))
			break;
		fiber_block(SITE());
	}
}

static void sleeps_without_preparing(void *arg)
{
	struct shared *s = arg;

	WRITE_ONCE(s->sleeper, fiber_self());
	while (!load(&s->word[0])) {
		KARC_STEP_READ(&s->word[1]);
		fiber_prepare();
		fiber_block(SITE());
	}
}

static void tells(void *arg)
{
	struct shared *s = arg;

	store(&s->word[0], 1);
	KARC_STEP_WRITE(&s->word[1]);
	if (READ_ONCE(s->sleeper))
		fiber_wake(s->sleeper);
}

static void a_lost_wakeup_is_a_deadlock(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "wakeup", .nr_tasks = 2, .arg = &s, .setup = clear,
		.task = { sleeps_until_told, tells },
	};
	struct explore_result r = run(&e);

	(void)state;
	assert_int_equal(r.verdict, EXPLORE_PASSED);
	e.task[0] = sleeps_without_preparing;
	r = run(&e);
	assert_int_equal(r.verdict, EXPLORE_DEADLOCK);
	assert_non_null(strstr(r.message, "task 0 sleeps at sleeps_without_preparing"));
}

static void never_ends(void *arg)
{
	struct shared *s = arg;

	while (s->word[3] == 0)
		add(&s->word[0], 1);
}

static void no_end_is_a_livelock(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "for ever", .nr_tasks = 2, .arg = &s, .setup = clear, .max_steps = 50,
		.task = { never_ends, add_to_first },
	};

	(void)state;
	assert_int_equal(run(&e).verdict, EXPLORE_LIVELOCK);
}

static void sleeps_a_while(void *arg)
{
	struct shared *s = arg;

	add(&s->word[0], 1);
	fiber_prepare();
	fiber_block_timeout(SITE(), NSEC_PER_MSEC);
	add(&s->word[0], 1);
}

static void time_passes_when_nobody_can_go_on(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "timeout", .nr_tasks = 2, .arg = &s, .setup = clear,
		.task = { sleeps_a_while, sleeps_a_while },
	};

	(void)state;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
}

static void answers(void *info)
{
	struct shared *s = info;

	add(&s->word[1], 1);
}

static void asks_the_others(void *arg)
{
	struct shared *s = arg;

	add(&s->word[0], 1);
	smp_call_function(answers, s, 1);
	add(&s->word[0], 1);
}

static void waits_for_answers(void *arg)
{
	struct shared *s = arg;

	explore_check(s->word[0] == 4 && s->word[1] == 6);
}

static void cpus_answer_each_other(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "cross-CPU calls", .nr_tasks = 2, .arg = &s, .setup = clear,
		.task = { asks_the_others, asks_the_others }, .check = waits_for_answers,
	};

	(void)state;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
}

/* ---- what it cannot run ---- */

static int outside;

static void depends_on_the_past(void *arg)
{
	struct shared *s = arg;

	add(&s->word[0], 1);
	if (outside++ % 3 == 0)
		store(&s->word[1], 1);
	add(&s->word[0], 1);
}

static void a_task_that_remembers_is_found_out(void **state)
{
	struct shared s;
	struct exploration e = {
		.name = "memory", .nr_tasks = 2, .arg = &s, .setup = clear,
		.task = { depends_on_the_past, add_to_first },
	};

	(void)state;
	outside = 0;
	assert_int_equal(run(&e).verdict, EXPLORE_DIVERGED);
}

static void explores_inside(void *arg)
{
	struct exploration e = {
		.name = "inner", .nr_tasks = 1, .task = { does_nothing },
	};
	struct explore_result r;

	(void)arg;
	explore(&e, &r);
	explore_check(r.verdict == EXPLORE_REFUSED);
}

static void what_cannot_be_run_is_refused(void **state)
{
	struct exploration e = { .name = "none" };

	(void)state;
	assert_int_equal(run(&e).verdict, EXPLORE_REFUSED);
	e.nr_tasks = machine_nr_cpus(this_machine());
	e.task[0] = e.task[1] = e.task[2] = e.task[3] = does_nothing;
	assert_int_equal(run(&e).verdict, EXPLORE_REFUSED);
	e.nr_tasks = 2;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
	e.task[1] = NULL;
	assert_int_equal(run(&e).verdict, EXPLORE_REFUSED);
	e.task[1] = explores_inside;
	assert_int_equal(run(&e).verdict, EXPLORE_PASSED);
}

static void parallel_machines_are_refused(void **state)
{
	struct exploration e = { .name = "parallel", .nr_tasks = 1, .task = { does_nothing } };

	(void)state;
	assert_int_equal(run(&e).verdict, EXPLORE_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* Its subject is deterministic mode; a task needs a CPU of its own. */
		karc_unit_test_cpus_deterministic(every_interleaving_is_run_once, 4),
		karc_unit_test_cpus_deterministic(independent_steps_are_run_in_one_order, 4),
		karc_unit_test_cpus_deterministic(conflicting_steps_are_run_in_every_order, 4),
		karc_unit_test_cpus_deterministic(reductions_lose_no_outcome_of_two_tasks, 4),
		karc_unit_test_cpus_deterministic(reductions_lose_no_outcome_of_three_tasks, 4),
		karc_unit_test_cpus_deterministic(a_lost_update_is_found_and_replays, 4),
		karc_unit_test_cpus_deterministic(a_bound_on_preemptions_is_one, 4),
		karc_unit_test_cpus_deterministic(search_ends_at_its_limit, 8),
		karc_unit_test_cpus_deterministic(a_warning_is_a_failure_unless_allowed, 4),
		cmocka_unit_test(a_bug_in_a_task_is_a_failure),
		karc_unit_test_cpus_deterministic(locks_exclude_each_other, 4),
		karc_unit_test_cpus_deterministic(locks_in_two_orders_deadlock, 4),
		karc_unit_test_cpus_deterministic(a_spinning_task_waits_for_a_change, 4),
		karc_unit_test_cpus_deterministic(a_lost_wakeup_is_a_deadlock, 4),
		karc_unit_test_cpus_deterministic(no_end_is_a_livelock, 4),
		karc_unit_test_cpus_deterministic(time_passes_when_nobody_can_go_on, 4),
		karc_unit_test_cpus_deterministic(cpus_answer_each_other, 4),
		karc_unit_test_cpus_deterministic(a_task_that_remembers_is_found_out, 4),
		karc_unit_test_cpus_deterministic(what_cannot_be_run_is_refused, 4),
		karc_unit_test_cpus_parallel(parallel_machines_are_refused, 4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
