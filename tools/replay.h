/* SPDX-License-Identifier: MIT */
/*
 * replay.h - a recorded life lived again on a simulated machine
 *
 *	cmd_replay.c     command line
 *	replay.c         the loop over the recording's lines; tasks and their births and deaths
 *	replay_calls.c   one function for each kind of call, run as the task that made it
 *	replay_files.c   recorded files as memory files, descriptors
 *	replay_touch.c   the accesses that a program makes between its calls
 *	replay_report.c  what came of it, for people and as JSON
 *
 * The recording gives the order; each line is carried out when it is read, by the karc task that
 * stands for the recorded one, and its result is held against the recorded result.
 */
#ifndef KARC_TOOLS_REPLAY_H
#define KARC_TOOLS_REPLAY_H

#include "recording.h"
#include <karc/base/rand.h>
#include <karc/base/xarray.h>
#include <karc/karc.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/profile.h>
#include <karc/proc/task.h>
#include <stdio.h>

enum replay_touch { TOUCH_NONE, TOUCH_SOME, TOUCH_ALL };

struct replay_options {
	const char *path;
	unsigned int cpus;
	uint64_t mem_bytes;		/* 0: as recorded */
	enum replay_touch touch;
	uint64_t seed;
	bool json;
	bool colour;
	bool progress;
	bool verbose;			/* the teardown of every process, however many */
	FILE *out;
};

/* Kinds of objects whose deaths a teardown counts, in the order of the report. */
enum replay_kind { RK_MM, RK_VMA, RK_ANON_VMA, RK_PGTABLE, RK_FILE, RK_FRAME, NR_REPLAY_KINDS };

/* What the end of one process gave back. */
struct replay_death {
	uint32_t pid;			/* ordinal */
	char comm[TASK_COMM_LEN];
	int status;			/* wait status */
	int mappings;
	unsigned long anon_pages, file_pages;
	long pgtable_bytes;
	unsigned int files;
	bool shared_mm;			/* other users lived on: nothing was unmapped */
	bool killed_by_us;		/* alive when the recording ended */
	long freed[NR_REPLAY_KINDS];
};

/* One recorded task. */
struct replay_task {
	uint32_t pid;			/* ordinal */
	uint32_t parent;
	struct task_struct *task;	/* one reference, or NULL after its end */
	struct task_struct *zombie;	/* reference kept until it is reaped, for its number */
	struct rec_call begun;		/* the call under way, if has_begun */
	bool has_begun;
	uint32_t born_child;		/* child made before its call ended */
};

struct replay_counts {
	uint64_t lines;
	uint64_t replayed, matched, mismatched;	/* memory and process calls */
	uint64_t skipped;		/* calls of other families */
	uint64_t noted;			/* calls of our families with nothing to compare */
	uint64_t fd_calls, fd_same;	/* on descriptors; answered as recorded */
	uint64_t touched;		/* pages */
	uint64_t touch_skipped;		/* pages not touched: more than the machine has */
	uint64_t processes, execs;
	unsigned int most_alive;
	uint64_t faults[NR_FAULT_KINDS];
};

struct replay {
	struct replay_options opt;
	struct machine *m;
	struct recording *rec;
	const struct rec_info *info;
	struct mm_profile profile;
	struct task_struct *init;
	struct file *any_file;		/* stands for every descriptor that is never mapped */
	struct file **files;		/* by id, opened once, for exec and sizes */
	struct xarray tasks;		/* ordinal -> struct replay_task */
	unsigned int nr_alive;
	struct rnd rnd;
	struct replay_counts n;
	unsigned long free_at_boot, least_free, free_at_end;
	unsigned long nr_frames;
	struct replay_live {		/* live objects by type */
		const char *kind;
		long at_boot, at_end;
	} live[48];
	unsigned int nr_live;
	struct replay_death *deaths;
	size_t nr_deaths, max_deaths;
	struct replay_left {
		char kind[32];
		char site[96];
		unsigned long count;
		uint64_t bytes;
	} left[32];
	unsigned int nr_left;
	unsigned long machine_left;
	char error[256];		/* why it stopped early */
	uint64_t error_line;
	bool bad_input;			/* exit status 2 */
	bool stop;
};

/* replay.c */
int replay_run(const struct replay_options *opt);	/* the exit status */
struct replay_task *replay_task(struct replay *r, uint32_t pid);
void replay_stop(struct replay *r, uint64_t line, bool bad_input, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void replay_mismatch(struct replay *r, const struct rec_call *call, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
struct replay_task *replay_birth(struct replay *r, struct replay_task *parent, uint32_t child,
				 const struct rec_call *call, long *result);

/* replay_calls.c */
void replay_call(struct replay *r, struct replay_task *t, const struct rec_call *call);
bool replay_is_clone(enum rec_call_nr nr);

/* replay_files.c: borrowed file for an id, made when first needed; NULL: out of memory */
struct file *replay_file(struct replay *r, uint32_t id);
bool replay_files_init(struct replay *r);
void replay_files_exit(struct replay *r);
void replay_file_grow(struct file *file, u64 size);
uint64_t replay_page_word(uint32_t id, pgoff_t index);

/* replay_touch.c: run as the task whose mm it is */
bool replay_touch_range(struct replay *r, unsigned long start, unsigned long end);

void replay_watch_mm(struct replay *r, struct mm_struct *mm);	/* count its faults when it dies */

long replay_live_delta(const struct replay *r);	/* objects alive at the end and not at boot */

/* replay_report.c */
extern const char *const replay_kind_names[NR_REPLAY_KINDS];
void replay_report(const struct replay *r);
void replay_progress(const struct replay *r, bool done);

#endif
