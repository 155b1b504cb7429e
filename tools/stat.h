/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_STAT_H
#define KARC_TOOLS_STAT_H

/*
 * stat.h - what the files of `karc stat` share
 *
 * cmd_stat.c talks to people and takes the texts at the moment; stat_json.c reads them as any
 * parser of /proc would and writes JSON; stat_use.c looks at what each frame is used for, again
 * and again during a run; stat_plot.c draws that.
 */
#include "moment.h"
#include <stdbool.h>
#include <stdio.h>

/* ---- stat_json.c ------------------------------------------------------------------------- */

/**
 * struct stat_kind - one of the texts
 * @show:  writes it, on the machine
 * @json:  writes what stands in @text as a JSON value
 */
struct stat_kind {
	const char *name;
	void (*show)(FILE *out);
	void (*json)(FILE *out, const char *text);
	const char *what;
};

void stat_json_buddyinfo(FILE *out, const char *text);
void stat_json_zoneinfo(FILE *out, const char *text);
void stat_json_pagetypeinfo(FILE *out, const char *text);
void stat_json_slabinfo(FILE *out, const char *text);
void stat_json_vmallocinfo(FILE *out, const char *text);
void stat_json_meminfo(FILE *out, const char *text);

/* ---- stat_use.c -------------------------------------------------------------------------- */

enum frame_use {
	USE_FREE,
	USE_PCP,		/* free, on a CPU's list */
	USE_SLAB,
	USE_LARGE,		/* kmalloc() beyond the slabs */
	USE_TABLE,
	USE_ANON,
	USE_CACHE,
	USE_VMALLOC,
	USE_OTHER,		/* alloc_pages() for somebody who does not say what for */
	USE_RESERVED,
	USE_BAD,		/* taken out of use: freed damaged */
	NR_USES
};

/* Frames [first, first + nr) have one use. */
struct use_run {
	unsigned int first, nr;
	u8 use;
};

/**
 * struct use_sample - the frames at one time
 * @tick: page events and moments before
 */
struct use_sample {
	uint64_t tick;
	unsigned int first_run, nr_runs;	/* in its own array */
	struct use_run *runs;
	unsigned long total[NR_USES];
};

/* A moment that the picture names: a heading, or a line of the recording. */
struct use_mark {
	uint64_t tick;
	char name[120];
};

/* A zone that has frames. */
struct use_zone {
	char name[32];			/* "Node 0, zone Normal" */
	unsigned long first, end;	/* frames; holes are in it */
	unsigned long present;
};

#define USE_SAMPLES_MOST	1024u
#define USE_ZONES_MOST		40u
#define USE_MARKS_MOST		64u

/**
 * struct use_history - a run, as the frames saw it
 * @stride: ticks between two samples, @next: the next one's; the same of a recording's marks
 */
struct use_history {
	char title[200];
	struct use_sample samples[USE_SAMPLES_MOST];
	unsigned int nr_samples;
	struct use_zone zones[USE_ZONES_MOST];
	unsigned int nr_zones;
	struct use_mark marks[USE_MARKS_MOST];
	unsigned int nr_marks;
	uint64_t tick, stride, next, mark_stride, next_mark;
	bool recording;			/* marks are lines of a recording */
	bool no_memory;			/* on the host: the history is not whole */
};

/* Play and look. The history is freed with use_history_free() whatever is returned: 0 or 2. */
int use_history_take(const struct moment_options *opt, struct use_history *history);
void use_history_free(struct use_history *history);

/* ---- stat_rows.c ------------------------------------------------------------------------- */

/* A row of a zone's strip: frames [first, first + nr), of which @present exist. */
struct use_row {
	unsigned long first, nr, present;
	bool gap;			/* no frame of it is ever in use: drawn thin */
	bool hole;			/* no frame of it exists */
};

#define USE_ROWS_MOST		64u	/* that are no gaps, of a zone */

/**
 * struct use_strip - a zone's rows, and what they were used for
 * @frames_per_row: of a row that is no gap
 */
struct use_strip {
	const struct use_zone *zone;
	struct use_row *rows;
	unsigned int nr_rows;
	unsigned long frames_per_row;
};

/* Choose rows: as few frames each as the most of rows allows. False: no host memory. */
bool use_strip_make(struct use_strip *strip, const struct use_history *history,
		    const struct use_zone *zone);
void use_strip_free(struct use_strip *strip);

/* Frames of @row by use in a sample, into @nr. @*run: a hint, 0 for the first row; rows ascend. */
void use_row_count(const struct use_row *row, const struct use_sample *sample, unsigned int *run,
		   unsigned long nr[NR_USES]);

/* ---- stat_plot.c ------------------------------------------------------------------------- */

/* The history as an SVG picture. False: no host memory. */
bool use_history_plot(const struct use_history *history, FILE *out);

#endif
