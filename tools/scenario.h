/* SPDX-License-Identifier: MIT */
/*
 * scenario.h - small stories on a fresh machine that a person reads and a test checks
 */
#ifndef KARC_TOOLS_SCENARIO_H
#define KARC_TOOLS_SCENARIO_H

#include "leak_report.h"
#include "machine_options.h"
#include <karc/hw/trace.h>
#include <karc/karc.h>
#include <stdbool.h>
#include <stdio.h>

struct stage;

enum stage_moment {
	STAGE_BOOTED,		/* before anything happens */
	STAGE_STEP,		/* a room announces one: in the middle of something */
	STAGE_HEADED,		/* what stood under a heading has happened: a quiet point */
	STAGE_OVER,		/* the story is over and everything postponed has run */
};

/**
 * struct stage_watch - who wants to look at the machine meanwhile
 * @ops.moment: @name is the step's function, or the heading
 */
struct stage_watch {
	struct {
		void (*moment)(struct stage *s, enum stage_moment moment, const char *name,
			       void *arg);
	} ops;
	void *arg;
};

/**
 * struct scenario_options - how a story is to be told
 * @who:  begins messages: "karc run"
 * @out:  where to; NULL: not at all
 * @part: one of the scenario's parts, or NULL for all of it
 * @json: one JSON object instead of text; only scenarios that have parts can
 * @holders: the machine remembers who holds each reference
 * @report: or NULL: gets what is left
 * @watch: or NULL
 */
struct scenario_options {
	const char *who;
	FILE *out;
	bool colour;
	bool json;
	const char *part;
	struct machine_options machine;
	bool holders;
	struct leak_report *report;
	const struct stage_watch *watch;
};

/* Where a story is told. */
struct stage {
	const struct scenario_options *opt;
	FILE *out;			/* opt->out, or the null device */
	struct machine *m;
	struct trace_listener listener;
	bool mute;			/* atomic: announced steps are not shown */
	u64 log_seq;			/* records of the machine's log before this one were seen */
	char heading[256];		/* what happens now stands under it */
	struct stage_left {		/* the leak report */
		bool object;		/* a row of the ledger, not the memory below it */
		char kind[32];
		const struct site *site;
		unsigned long count;
		u64 bytes;
	} left[64];
	unsigned int nr_left;
	unsigned int nr_wrong;		/* expectations that did not hold */
};

struct scenario {
	const char *name;
	const char *what;
	bool leaks;			/* a leak is its point: the expected exit status is 1 */
	const char *look;		/* part of the heading after which a picture says most */
	void (*play)(struct stage *s);	/* on the host fiber of a booted machine */
	/* Name of part @i and what it shows, NULL past the last; NULL: it has no parts. */
	const char *(*part_at)(unsigned int i, const char **what);
	/* Fills what the options leave open of the machine's memory; NULL: 64 MiB, one node. */
	void (*machine)(struct machine_config *config);
};

const struct scenario *scenario_find(const char *name);
const struct scenario *scenario_at(unsigned int i);	/* NULL past the last */

/* Does @sc have a part of that name? */
bool scenario_has_part(const struct scenario *sc, const char *name);

/**
 * scenario_run - boot a machine, play, shut down, tell what is left
 * Returns: 0 all as expected and nothing left, 1 something left or wrong, 2 no machine.
 */
int scenario_run(const struct scenario *sc, const struct scenario_options *opt);

/* For the plays. */
void stage_head(struct stage *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Now, and not at the next heading, what stands under this one has happened. */
void stage_look(struct stage *s);
/* A quiet point that has a name and no heading. */
void stage_mark(struct stage *s, const char *name);
void stage_say(struct stage *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *stage_colour(const struct stage *s, const char *code);	/* @code, or "" */
void stage_listen(struct stage *s, bool on);	/* show the steps that the rooms announce */
/* Say it, and count it as wrong unless @ok. */
void stage_expect(struct stage *s, bool ok, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A step, as those that the rooms announce are shown. */
void stage_step(struct stage *s, const char *fn, const char *text);

/*
 * What the machine's log says: stage_log() shows the first line with @text in it since the last
 * call of either. False: there is none.
 */
void stage_log_skip(struct stage *s);
bool stage_log(struct stage *s, const char *text);

void play_alloc(struct stage *s);
void alloc_machine(struct machine_config *config);
void play_exit(struct stage *s);
void play_segv(struct stage *s);
void play_kfree(struct stage *s);
void kfree_machine(struct machine_config *config);
void play_kobject(struct stage *s);
void play_cow(struct stage *s);
void play_leak(struct stage *s);
void play_cycle(struct stage *s);
void play_crowd(struct stage *s);
const char *segv_part_at(unsigned int i, const char **what);

#endif
