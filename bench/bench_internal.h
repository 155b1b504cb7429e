/* SPDX-License-Identifier: MIT */
/*
 * bench_internal.h - what the files of the harness share
 */
#ifndef KARC_BENCH_BENCH_INTERNAL_H
#define KARC_BENCH_BENCH_INTERNAL_H

#include "bench.h"

/* ---- peers.c ---- */

struct peer {
	const char *file;		/* "rust": peer_rust.so */
	const char *name;		/* "Rust Arc" */
	void *handle;			/* NULL: skipped, and @text says why */
	char text[160];			/* its version, or why it is skipped */
};

struct peers {
	struct peer *peer;
	unsigned int nr;
	const char *dir;
};

int peers_open(struct peers *peers, const char *dir);
void peers_close(struct peers *peers);
struct peer *peers_find(struct peers *peers, const char *file);
/* The functions of a path; false when the peer is not there or does not know the path. */
bool peer_ops(const struct peer *peer, const struct bench_row *row, struct bench_ops *ops);

/* ---- measure.c ---- */

#define MAX_VARIANTS	8u

/* One way of a row and what it took: ns (or instructions) for one operation in each round. */
struct variant {
	const char *file;		/* peer's, "bare", or NULL for ours */
	const char *name;
	struct bench_ops ops;
	double value[BENCH_MAX_ROUNDS];
	double median;
};

struct measured {
	const struct bench_row *row;
	struct variant variant[MAX_VARIANTS];	/* the first is ours */
	unsigned int nr_variants;
	unsigned int nr_rounds;
	unsigned long n;
	bool yes;
	const char *skipped;		/* why nothing was measured, or NULL */
};

/* 0, or -1 after a line on stderr. */
int measure_row(const struct bench_unit *unit, struct measured *m,
		const struct bench_options *opt);
void measured_done(struct measured *m, unsigned int nr_rounds);

/* Boot the unit's machine for as many CPUs as @row has threads; NULL after a line on stderr. */
struct machine *bench_machine(const struct bench_unit *unit, const struct bench_row *row);

/* ---- count.c ---- */

int count_row(struct measured *m, const struct bench_options *opt);
/* The child of count_row(); the exit status. */
int count_ops(const struct bench_unit *unit, const struct bench_row *row,
	      const struct bench_ops *ops);

/* ---- report.c ---- */

enum verdict { MEETS, MISSES, WAIVED, SKIPPED };

/* One line of the table. */
struct line {
	const struct measured *m;
	const struct bench_goal *goal;
	const struct variant *best;	/* NULL: no peer */
	double ratio, low, high;	/* over the rounds: median, least, greatest */
	double limit;
	enum verdict verdict;
	char note[200];			/* why skipped or waived */
};

struct report;

struct report *bench_report_begin(const struct bench_options *opt, const struct peers *peers);
void bench_report_line(struct report *r, const struct line *line);
/* Returns the exit status. */
int bench_report_end(struct report *r);

#endif
