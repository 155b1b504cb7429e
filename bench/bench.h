/* SPDX-License-Identifier: MIT */
/*
 * bench.h - rows of the benchmark, and what runs them
 *
 * A row is one hot path: how we do it, which peers do the same, and how we want to compare. A file
 * bench_<unit>.c has the rows of one unit and exports a struct bench_unit; the table of units is in
 * bench.c. To add rows, write such a file, list it there and in configure.py.
 */
#ifndef KARC_BENCH_BENCH_H
#define KARC_BENCH_BENCH_H

#include <karc/base/types.h>
#include <karc/hw/machine.h>
#include <stdbool.h>
#include <stdio.h>

/**
 * struct bench_ops - one way to do what a row measures
 * @begin: prepare @n operations; the row's @order says where the k-th object goes (peer.h). May be
 *         NULL. Not timed; returns what the others get
 * @run:   what is timed: @n operations, or the teardown of @n objects
 * @end:   undo @begin, if @run does not; may be NULL
 *
 * Ours run inside the machine, as the host fiber of CPU 0; @run of a row with several threads on a
 * CPU each.
 */
struct bench_ops {
	void *(*begin)(unsigned long n, const unsigned int *order);
	void (*run)(void *state, unsigned long n);
	void (*end)(void *state);
};

enum bench_kind {
	BENCH_TIME,		/* a ratio of times */
	BENCH_COUNT,		/* instructions, by callgrind; goals are absolute */
	BENCH_YES,		/* @ours.run gets a bool and sets it when it did what it should */
};

#define BENCH_GOAL_PEERS	6

/**
 * struct bench_goal - one line of the table: against whom, and how much of their time at most
 * @peers:  file names of peers ("rust"); the fastest that is installed counts
 * @limit:  ours / theirs; for BENCH_COUNT the number itself; BENCH_YES has none
 * @waiver: why it may miss, in one line, with figures; the unit's theory statement says more
 */
struct bench_goal {
	const char *peers[BENCH_GOAL_PEERS];
	double limit;
	const char *waiver;
};

/**
 * struct bench_row - one path
 * @id:      of the table of goals: "R1"
 * @path:    what is measured, short
 * @n:       operations of one slice
 * @quick_n: the same with --quick; 0: @n
 * @slices:  of one round; the fastest counts
 * @threads: that do it at once, each on a CPU of its own; 0 means one
 * @order:   of creation, see struct bench_ops; host memory, to be freed
 * @symbol:  the peers' functions are <symbol>_begin, _run, _end
 * @begin_symbol: other than @symbol for begin and end (may be NULL)
 * @ours:    our way
 * @base:    another way of ours to compare with, called "bare" in goals
 * @goals:   one line each; ended by one without peers and limit
 */
struct bench_row {
	const char *id;
	const char *path;
	enum bench_kind kind;
	unsigned long n, quick_n;
	unsigned int slices;
	unsigned int threads;
	unsigned int *(*order)(unsigned long n);
	const char *symbol;
	const char *begin_symbol;
	struct bench_ops ours;
	struct bench_ops base;
	const struct bench_goal *goals;
};

struct bench_unit {
	const char *name;
	const struct bench_row *rows;
	unsigned int nr_rows;
	u64 mem_bytes;			/* of the machine; 0: the default */
};

extern const struct bench_unit bench_refcount;
extern const struct bench_unit bench_phys;
extern const struct bench_unit bench_slab;
extern const struct bench_unit bench_kva;

#define BENCH_MAX_ROUNDS	101u

/* What the user asked for. */
struct bench_options {
	const char *filter;		/* NULL: everything */
	unsigned int rounds;
	bool quick;			/* small and few: to see that it works */
	double goal;			/* judge by this instead of the row's; 0: the row's */
	const char *peers;		/* directory of the peers */
	const char *self;		/* this program, for callgrind */
	FILE *out;			/* the table; NULL for none */
	FILE *json;			/* NULL for none */
	FILE *progress;			/* NULL for none */
	bool colour;
};

/**
 * bench_run - measure what @opt selects, and report it
 * Returns: 0 when all rows meet their goals, are waived or were skipped, 1 when one misses, 2 when
 *          the filter selects nothing or there is no machine.
 */
int bench_run(const struct bench_options *opt);

/* Ids and paths of all rows, for --list. */
void bench_list(FILE *out);

/**
 * bench_count_child - what callgrind looks at: one way of one row, once
 * Returns: 0, or 2 when there is no such row or peer.
 */
int bench_count_child(const char *id_path, const char *peer, const char *peers_dir);

#endif
