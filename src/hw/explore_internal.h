/* SPDX-License-Identifier: MIT */
/*
 * explore_internal.h - what explore.c (which schedule next) and explore_run.c (how one is run) share
 */
#ifndef KARC_SRC_HW_EXPLORE_INTERNAL_H
#define KARC_SRC_HW_EXPLORE_INTERNAL_H

#include <karc/hw/explore.h>
#include "internal.h"

#define EXPLORE_ROUND_MAX	8u
#define EXPLORE_WORDS_MAX	64u

/* What a step is about to touch; without @p: anything. */
struct explore_access {
	const volatile void *p;
	unsigned long bytes;		/* 0: an event */
	const struct site *site;
	bool writes;
};

enum explore_state {
	STREAM_AT_STEP,			/* stands before ->next */
	STREAM_SPINS,			/* in cpu_relax() or fiber_yield() */
	STREAM_AWAY,			/* its CPU has nothing to run */
};

/* What one task's CPU does: the task, interrupts, and what else they start there. */
struct explore_stream {
	struct cpu *cpu;
	struct fiber *fiber;		/* of this schedule and the next ones; NULL: to be made */
	bool ended;			/* the task returned; the fiber waits for the next schedule */
	enum explore_state state;
	struct explore_access next;
	/* the round: steps since it last spun; when it spins, those that may end that */
	struct explore_access round[EXPLORE_ROUND_MAX];
	unsigned int nr_round;
	bool round_full;		/* more than fit: any step may end it */
	bool round_moved;		/* it changed itself what it had looked at */
	bool spun;			/* no step since it spun */
	bool muted;			/* its next step would find what it found before */
	u8 nr_retries;			/* times it was made to do that, for want of anybody else */
	u32 clock[EXPLORE_MAX_TASKS];	/* 1 + last step of each task that comes before its next */
};

/* One step of the schedule under way, and what is left to try in its place. */
struct explore_node {
	struct explore_access access;
	u32 clock[EXPLORE_MAX_TASKS];	/* 1 + last step of each task at or before this one */
	u8 task;
	u8 enabled;			/* masks of tasks */
	u8 backtrack;			/* to be tried here */
	u8 done;			/* tried */
	u8 sleep;			/* trying them leads to what was tried elsewhere */
	u8 preemptions;			/* up to and including this step, stops at 255 */
};

struct explore {
	const struct exploration *e;
	struct explore_result *result;
	struct machine *m;
	struct cpu *home;		/* where explore() was called */
	struct rnd rnd;			/* the scheduler's, at the begin of each schedule */
	unsigned int max_steps;

	/* running one schedule */
	bool active;			/* tasks run, and only when they are told to */
	bool over;			/* the fibers may go */
	struct explore_stream *running;
	enum explore_state stopped;	/* how it came back */
	struct explore_stream stream[EXPLORE_MAX_TASKS];
	struct explore_stream *of_cpu[MACHINE_MAX_CPUS];
	unsigned int depth;		/* steps made */
	unsigned int nr_skips;		/* of time */
	char *taken;			/* the schedule so far, as text */

	/* the search */
	struct explore_node *node;
	unsigned int nr_nodes;		/* of the schedule under way that count */
	unsigned int nr_prefix;		/* of them decided before it began */
	const char *forced;		/* a schedule given as text, or NULL */
	bool loose;			/* the rest does not matter: go on to the end */
	bool cut;
	bool show;			/* log every step */

	/* the first thing that went wrong in this schedule */
	enum explore_verdict verdict;
	int fail_task;
	unsigned int fail_step;
	char text[200];

	const volatile void *word[EXPLORE_WORDS_MAX];	/* named in the order of appearance */
	unsigned int nr_words;
};

bool explore_conflict(const struct explore_access *a, const struct explore_access *b);

/* explore.c: the task that makes the next step, one of @enabled. */
unsigned int explore_choose(struct explore *x, unsigned int enabled);

/* explore_run.c: from setup to check. */
void explore_play(struct explore *x);
void explore_end_tasks(struct explore *x);
void explore_wrong(struct explore *x, enum explore_verdict verdict, const char *fmt, ...)
	__printf(3, 4);

#endif
