/* SPDX-License-Identifier: MIT */
/*
 * explore.h - run a few tasks under every schedule of their steps
 *
 *	static void put_one(void *arg) { struct pair *p = arg; arc_put(&p->obj->arc); }
 *
 *	struct exploration e = {
 *		.name = "put vs put", .nr_tasks = 2, .arg = &pair,
 *		.setup = make_pair, .task = { put_one, put_one }, .check = freed_once,
 *	};
 *	struct explore_result r;
 *
 *	explore(&e, &r);
 *	if (r.verdict != EXPLORE_PASSED)
 *		... r.message, and r.schedule replays it
 *
 * Each task runs on a CPU of its own. Wherever its code passes a step (KARC_STEP() and its kin in
 * base/atomic.h, in code compiled with -DKARC_EXPLORE) any other task may go on instead; between
 * two steps a task runs alone. explore() begins anew with setup for each schedule, until there is
 * none left or one fails. A schedule fails when explore_fail() is called, when a task ends in a
 * BUG, an Oops or a failed assertion, when something warns, when tasks wait for each other for
 * ever, and when there is no end to it.
 *
 * Sequential consistency only: a schedule is an order of steps, and each step sees all before it.
 * What weaker memory may do besides is the thread sanitizer's business, and the proof's.
 */
#ifndef KARC_HW_EXPLORE_H
#define KARC_HW_EXPLORE_H

#include <karc/base/atomic.h>
#include <karc/base/contract.h>
#include <karc/base/types.h>

#define EXPLORE_MAX_TASKS	6u
#define EXPLORE_MAX_STEPS	2000u		/* of all tasks of one schedule */
#define EXPLORE_SCHEDULE_MAX	512u

enum explore_verdict {
	EXPLORE_PASSED,		/* every schedule was run */
	EXPLORE_FAILED,
	EXPLORE_DEADLOCK,	/* tasks are blocked, or spin, and nothing can change that */
	EXPLORE_LIVELOCK,	/* more steps than max_steps */
	EXPLORE_LIMIT,		/* max_schedules were run and none failed; there are more */
	EXPLORE_DIVERGED,	/* the same choices led elsewhere: a task depends on something else */
	EXPLORE_REFUSED,	/* cannot be run; the message says why */
};

/**
 * struct exploration - what to run; zero in a field means its default
 * @name:   for messages
 * @nr_tasks: 1 .. EXPLORE_MAX_TASKS
 * @setup:  before each schedule: makes what the tasks share (may be NULL)
 * @task:   the tasks. What they do may depend on @arg and on what the steps before did, and on
 *          nothing else: no time, no random numbers, nothing left by an earlier schedule.
 * @check:  after each schedule, when all tasks have ended: calls explore_fail() if the outcome is
 *          wrong, and gives back what is left (may be NULL)
 * @arg:    given to all of them
 * @max_preemptions: schedules with up to so many switches away from a task that could go on;
 *          0 = any number. With a bound nothing is left out as equivalent.
 * @max_steps: longest schedule; default EXPLORE_MAX_STEPS, which is also the most
 * @max_schedules: end with EXPLORE_LIMIT after so many; default 1,000,000
 * @every:  run every single interleaving, also those that differ only in the order of steps
 *          that have nothing to do with each other
 * @allow_warnings: a warning is no failure
 * @schedule: run this one only, as printed by a failed run, and show its steps
 * @quiet:  log nothing
 */
struct exploration {
	const char *name;
	unsigned int nr_tasks;
	void (*setup)(void *arg);
	void (*task[EXPLORE_MAX_TASKS])(void *arg);
	void (*check)(void *arg);
	void *arg;
	unsigned int max_preemptions;
	unsigned int max_steps;
	unsigned long max_schedules;
	bool every;
	bool allow_warnings;
	const char *schedule;
	bool quiet;
};

/**
 * struct explore_result - what came of it
 * @nr_schedules: schedules run to their end. Without @every: at least one for each class of those
 *          that differ only in the order of independent steps
 * @nr_cut: begun and found to be equivalent to one run before
 * @nr_steps: of all of them
 * @longest: steps of the longest schedule
 * @schedule: of the failure: one digit for each step, the task that made it
 * @message: "explore: NAME: task 1 at step 7: double free: schedule 0011201", or ""
 */
struct explore_result {
	enum explore_verdict verdict;
	unsigned long nr_schedules;
	unsigned long nr_cut;
	u64 nr_steps;
	unsigned int longest;
	char schedule[EXPLORE_SCHEDULE_MAX];
	char message[EXPLORE_SCHEDULE_MAX + 320];
};

/**
 * explore - run the tasks of @e under every schedule
 *
 * The failing schedule is run once more, and each of its steps goes to the log with file, line,
 * function, and what it touches.
 *
 * Context: a task or the host fiber on a machine in deterministic mode that has a CPU more than @e
 *          has tasks, and nothing else to do; may sleep. Not inside another explore().
 * Errors:  EXPLORE_REFUSED when that is not so, or without host memory. After a deadlock the tasks
 *          are ended where they stand; what they held is held for ever.
 */
void explore(const struct exploration *e, struct explore_result *result);

/**
 * explore_fail - this schedule is wrong
 *
 * Returns: the task goes on, and so do the others; the first failure of a schedule counts. Outside
 *          explore() it warns.
 * Context: any; in setup, check and tasks.
 */
void explore_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define explore_check(condition) \
	((condition) ? (void)0 : explore_fail("not true: %s (%s:%d)", #condition, __FILE__, __LINE__))

/* The running task, 0 .. nr_tasks - 1; -1 in setup and check, and outside explore(). */
int explore_task(void);

#endif
