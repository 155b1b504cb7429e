/* SPDX-License-Identifier: MIT */
/*
 * replay.h - a recorded life lived again on a simulated machine
 *
 *	cmd_replay.c     command line
 *	replay.c         the machine before and after; the verdict
 *	replay_play.c    the loop over the lines: who carries out which
 *	replay_lines.c   the lines, and a look at those that come
 *	replay_order.c   calls that overlap: which takes effect first
 *	replay_search.c  ... an order that explains all answers
 *	replay_model.c   ... what would be answered
 *	replay_tasks.c   tasks, their births and ends, numbers <-> tasks
 *	replay_calls.c   one call: carry it out, compare
 *	replay_mem.c     ... on the address space, System V shared memory
 *	replay_proc.c    ... on tasks
 *	replay_exec.c    ... execve
 *	replay_fds.c     ... on descriptors
 *	replay_files.c   recorded files as memory files
 *	replay_maps.c    what the program read of /proc/PID/maps
 *	replay_touch.c   the accesses that a program makes between its calls
 *	replay_report.c  what came of it, for people and as JSON
 *
 * The recording gives the order; each line is carried out by the karc task that stands for the
 * recorded one, on that task's CPU, and its result is held against the recorded result.
 */
#ifndef KARC_TOOLS_REPLAY_H
#define KARC_TOOLS_REPLAY_H

#include "machine_options.h"
#include "recording.h"
#include <karc/base/contract.h>
#include <karc/base/list.h>
#include <karc/base/rand.h>
#include <karc/base/xarray.h>
#include <karc/karc.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/profile.h>
#include <karc/proc/task.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

#define REPLAY_DEATHS_MAX	4096	/* processes whose end is told; others are counted */
#define REPLAY_AHEAD_MAX	4096	/* lines looked ahead for the end of a call */

enum replay_touch { TOUCH_NONE, TOUCH_SOME, TOUCH_ALL };

/* @text, the argument of --touch, into *@touch; false after a line that @who does not know it. */
bool replay_touch_parse(const char *who, const char *text, enum replay_touch *touch);

/**
 * struct replay_watch - who wants to look at the machine meanwhile
 * @ops.after: the line has been carried out and the next one not read; 0: before the first
 * @ops.over:  every process has ended, everything postponed has run
 */
struct replay_watch {
	struct {
		void (*after)(struct machine *m, uint64_t line, const struct rec_call *call,
			      void *arg);
		void (*over)(struct machine *m, void *arg);
	} ops;
	void *arg;
};

/**
 * struct replay_options - what was asked for
 * @who:     begins messages: "karc replay"
 * @holders: the machine remembers who holds each reference
 * @watch:   or NULL
 */
struct replay_options {
	const char *who;
	const char *path;
	bool holders;
	const struct replay_watch *watch;
	struct machine_options machine;
	enum replay_touch touch;
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
	unsigned int threads;		/* that it ever had */
	int mappings;
	unsigned long anon_pages, file_pages;
	long pgtable_bytes;
	unsigned int files;
	bool shared_mm;			/* other users lived on: nothing was unmapped */
	bool killed_by_us;		/* alive when the recording ended */
	long freed[NR_REPLAY_KINDS];
};

/* One recorded process: what its threads share. */
struct replay_group {
	unsigned int users;		/* replay_tasks that point here */
	unsigned int nr_alive;
	uint64_t cpus;			/* where its tasks ran: bit per CPU */
	bool leaves;			/* one of them has called exit_group, */
	int exit_status;		/* passing this */
	struct replay_death death;
};

/* Where a task is in the maps text of another one, or its own; see replay_maps.c. */
struct replay_maps {
	struct replay_maps *next;	/* the same task reads another's */
	uint32_t of;			/* ordinal */
	uint64_t offset;		/* the next piece begins here */
	unsigned long address;		/* the next line is of the first mapping that ends beyond */
	bool past_end;			/* nothing but [vsyscall] was left, and it has been shown */
	bool lost;			/* it went elsewhere in the file */
	char *text;			/* karc's line that was begun and not ended, or NULL */
	size_t read_bytes;
	char read[REC_TEXT_MAX];	/* what was read of it */
};

/* One recorded task. */
struct replay_task {
	uint32_t pid;			/* ordinal */
	uint32_t maker;			/* ordinal of the task that made it */
	struct replay_group *group;
	struct task_struct *task;	/* one reference */
	bool dead;			/* past its end; its number may be in use still */
	bool told;			/* the line that tells its end was read */
	bool untraced;			/* made so that no tracer sees it: it has no lines */
	bool reaped;			/* its number is free */
	pid_t number;			/* karc's */
	bool leaves;			/* it has called exit or exit_group */
	bool leaves_group;		/* the latter */
	int exit_status;		/* that it passed */

	/* the call under way */
	struct rec_call begun;
	char *begun_text;		/* its text, owned */
	bool has_begun;
	struct list_head open_node;	/* on replay.open if others' calls may depend on it */
	bool early;			/* its effect has taken place before its end was read */
	long early_value;
	char early_note[64];
	bool quiet;			/* it makes no accesses after this call */
	int reserved[2];		/* descriptors that its call has already, -1: none */
	struct rec_call end;		/* its end, found ahead */
	bool has_end;
	uint64_t looked_to;		/* lines of the ring that were looked at for it */

	uint32_t born_child;		/* child made before its call ended */

	/* accesses that are due: [touch_start, touch_end) */
	unsigned long touch_start, touch_end;
	uint64_t touch_line;
	const char *touch_what;		/* what went wrong, or NULL */
	unsigned long touch_where;
	struct fiber *toucher;		/* makes them while others go on */
	struct replay *touch_of;
	unsigned long aside_start, aside_end;	/* the range, while toucher is there */
	struct list_head touch_node;	/* on replay.touching while toucher is there */

	struct replay_maps *maps;
};

struct replay_counts {
	uint64_t lines;
	uint64_t replayed, matched, mismatched;	/* calls, those on descriptors aside */
	uint64_t skipped;		/* calls of other families */
	uint64_t noted;			/* calls of our families with nothing to compare */
	uint64_t fd_calls, fd_same;	/* on descriptors; answered as recorded */
	uint64_t reordered;		/* took effect before others that ended first */
	uint64_t searches;		/* for an order */
	uint64_t maps_reads, maps_lines, maps_same;
	uint64_t touched;		/* pages; atomic */
	uint64_t touch_skipped;		/* pages not touched: more than the machine has; atomic */
	uint64_t touched_aside;		/* accesses made while others went on: batches */
	uint64_t processes, threads, execs;
	unsigned int most_alive;
	uint64_t faults[NR_FAULT_KINDS];	/* atomic */
	uint64_t per_cpu[MACHINE_MAX_CPUS];	/* calls carried out */
};

/* What is to be done in which order about overlapping calls, see replay_order.c. */
struct replay_step {
	uint32_t pid;
	uint64_t line;			/* where the call began: no other call of anybody did */
	uint8_t part;			/* of a call that has two effects */
	bool last;			/* part of it */
	bool passing;			/* a number that is had for some time only */
};

struct replay_plan {
	const void *mm, *files;		/* which of them it is about */
	struct replay_step steps[64];
	unsigned int nr, pos;		/* steps before pos are done */
	bool cut;			/* more calls followed than were looked at */
};

#define REPLAY_PLANS	4

/* Lines read ahead of the one that is carried out: a ring, made when first needed. */
struct replay_ahead {
	struct rec_call *slots;
	unsigned int head, nr;
	uint64_t passed;		/* lines that went through the ring */
	int more;			/* of the line behind the last slot: 1, 0 end, -1 error */
	char *held;			/* text of replay.line, if it came from here */
	struct recording_error err;
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
	bool *patterned;		/* by id: its pages begin with replay_page_word() */
	struct xarray tasks;		/* ordinal -> struct replay_task */
	struct xarray numbers;		/* karc's number -> the same: a bijection */
	struct replay_task *last_task;	/* found last */
	struct xarray shm_ids;		/* recorded segment number -> karc's, as a value */
	struct xarray shm_ids_back;
	struct list_head open;		/* calls begun that others may depend on, oldest first */
	struct list_head touching;	/* tasks whose accesses are under way */
	unsigned int nr_alive;

	struct rec_call line;		/* the line that is carried out */
	bool line_waits;		/* it is read and nobody has carried it out */
	bool at_end;
	struct replay_ahead ahead;
	struct replay_plan plans[REPLAY_PLANS];
	unsigned int next_plan;

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
	uint64_t deaths_untold;
	struct replay_left {
		char kind[32];
		char site[96];
		unsigned long count;
		uint64_t bytes;
	} left[32];
	unsigned int nr_left;
	unsigned long machine_left;
	struct timespec began, shown;	/* of the progress line */
	uint64_t checked_line;
	bool progress_on;
	double seconds;			/* of the loop */
	char error[256];		/* why it stopped early */
	uint64_t error_line;
	bool bad_input;			/* exit status 2 */
	bool stop;
};

/* ---- replay.c ---- */

int replay_run(const struct replay_options *opt);	/* the exit status */
void replay_stop(struct replay *r, uint64_t line, bool bad_input, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Has the recorded program the privilege that counts for memory? */
bool replay_capable(const struct replay *r);
long replay_live_delta(const struct replay *r);	/* objects alive at the end and not at boot */

/* ---- replay_play.c ---- */

void replay_play(struct replay *r);
/* The call that @t has begun is over, or will never be. */
void replay_call_over(struct replay_task *t);

/* ---- replay_lines.c ---- */

/* The next line becomes replay.line. False at the end, or at an error, which stops the replay. */
bool replay_next(struct replay *r);
/* The end of the call that @t has begun, looked for ahead: filled into @t. False: not near. */
bool replay_look_for_end(struct replay *r, struct replay_task *t);
/* The line that comes @i lines after the next one, borrowed until replay_next(); NULL: not near. */
const struct rec_call *replay_ahead(struct replay *r, unsigned int i);
void replay_ahead_free(struct replay *r);

/* ---- replay_order.c ---- */

/* Does a call of this kind change what others' overlapping calls answer, or depend on them? */
bool replay_orders(const struct rec_call *call);
void replay_order_begin(struct replay *r, struct replay_task *t);
void replay_order_end(struct replay_task *t);
/* Before @t's @call is carried out: let others that have begun go first where it must be so. */
void replay_order(struct replay *r, struct replay_task *t, const struct rec_call *call);
/* The same before the end of @t, or before it executes a program: calls that name it. */
void replay_order_death(struct replay *r, struct replay_task *t);

/* ---- replay_tasks.c ---- */

struct replay_task *replay_task(struct replay *r, uint32_t pid);
/* The recorded number of what karc calls @pid; 0: init, or none of the recorded. */
uint32_t replay_ordinal(struct replay *r, pid_t pid);
/* karc's number for a recorded one; one that nobody has if there is no such task. */
pid_t replay_karc_pid(struct replay *r, int32_t ordinal);
struct replay_task *replay_birth(struct replay *r, struct replay_task *maker, uint32_t child,
				 const struct rec_call *call, long *result);
bool replay_first_task(struct replay *r);
void replay_born(struct replay *r, const struct rec_call *call);
void replay_ended(struct replay *r, const struct rec_call *call);
void replay_superseded(struct replay *r, const struct rec_call *call);
/* It was waited for: its number is free. @t may be gone afterwards. */
void replay_reaped(struct replay *r, struct replay_task *t);
void replay_end_all(struct replay *r);
/* One that has no lines was waited for: it has ended, with this status. */
void replay_ended_unseen(struct replay *r, struct replay_task *t, int status);
/* Let CPUs go on to another process, so that what they hold of one that is over goes too. */
void replay_let_go(struct replay *r, uint64_t cpus);
void replay_watch_mm(struct replay *r, struct mm_struct *mm);	/* count its faults when it dies */

/* ---- replay_calls.c ---- */

/* What carrying out a call may answer besides what the call returns. */
#define REPLAY_NOTED	(LONG_MIN + 1)	/* nothing to compare */
#define REPLAY_SKIPPED	(LONG_MIN + 2)	/* none of ours */
#define REPLAY_REFUSED	(LONG_MIN + 3)	/* karc cannot */

/* One call on its way through its task. */
struct replay_job {
	struct replay *r;
	struct replay_task *t;
	const struct rec_call *call;
	char note[64];			/* what is different besides the value; empty: nothing */
};

typedef long (*replay_fn)(struct replay_job *job);

/* As the task itself. Carries out replay.line, a REC_CALL or REC_END. */
void replay_call(struct replay *r, struct replay_task *t, const struct rec_call *call);
/* exit and exit_group are carried out where the task is seen to end; this remembers them. */
void replay_notes_exit(struct replay_task *t, const struct rec_call *call);
/* As anybody: carry out what @t has begun now, ahead of its end. False: it could not. */
bool replay_call_early(struct replay *r, struct replay_task *t);
bool replay_is_clone(enum rec_call_nr nr);
void replay_mismatch(struct replay *r, const struct rec_call *call, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
const char *replay_value_text(long value, char *buf, size_t size);

/* ---- calls ---- */

replay_fn replay_mem_fn(const struct rec_call *call);
replay_fn replay_proc_fn(const struct rec_call *call);
replay_fn replay_file_fn(const struct rec_call *call);
/* Refused by name, unless it failed on the host too. */
long replay_refuse(struct replay_job *job);
long replay_sigaction(struct replay_job *job);
long replay_execve(struct replay_job *job);
long replay_clone(struct replay_job *job);

/* A range of addresses; empty if start == end. */
struct replay_range {
	unsigned long start, end;
};

static inline bool replay_overlap(struct replay_range a, struct replay_range b)
{
	return a.start < b.end && b.start < a.end;
}

/* Where @t's @call would be placed in @mm, its own or one like it; 0: nothing, or a fixed place. */
unsigned long replay_mem_would(struct replay *r, struct replay_task *t, struct mm_struct *mm,
			       const struct rec_call *call);
/* What it frees and what it takes, by its arguments and recorded result (@known). */
void replay_mem_effect(struct replay *r, struct replay_task *t, const struct rec_call *call,
		       bool known, struct replay_range *freed, struct replay_range *taken);
/* What others must not be touching while it is carried out. */
struct replay_range replay_mem_disturbs(const struct rec_call *call);

/* ---- replay_files.c ---- */

/* Borrowed file for an id, made when first needed; NULL: out of memory. */
KARC_LENDS struct file *replay_file(struct replay *r, uint32_t id);
bool replay_files_init(struct replay *r);
void replay_files_exit(struct replay *r);
void replay_file_mark(struct file *file, uint32_t id);
uint32_t replay_file_id(const struct file *file);
void replay_file_grow(struct replay *r, struct file *file, u64 size);
uint64_t replay_page_word(uint32_t id, pgoff_t index);
/* A memfd for @id (0: one that is never mapped). Gives an open file, or ERR_PTR. */
KARC_GIVES struct file *replay_new_memfd(struct replay *r, uint32_t id, unsigned int flags);
void replay_file_event(struct replay *r, const struct rec_call *call);

/* ---- replay_fds.c ---- */

bool replay_first_fds(struct replay *r, struct task_struct *task);
/* As the task: a descriptor came in a message (REC_RECEIVED). */
void replay_received(struct replay *r, struct replay_task *t, const struct rec_call *call);
/* A new descriptor as @job's recording has it; -errno. As the task. Takes the file. */
long replay_put_fd(struct replay_job *job, int64_t want, unsigned int start,
		   KARC_TAKES struct file *file, bool cloexec);

/* ---- replay_maps.c: @call is a REC_MAPS_READ ---- */

void replay_maps_read(struct replay *r, struct replay_task *t, const struct rec_call *call);
void replay_maps_free(struct replay_task *t);

/* ---- replay_touch.c ---- */

/* As the task: [start, end) is to be touched before its next call. */
void replay_touch_later(struct replay *r, struct replay_task *t, unsigned long start,
			unsigned long end);
/* As the task: now. False: the replay was stopped. */
bool replay_touch_now(struct replay *r, struct replay_task *t);
/* As anybody but the task: at the same time as what follows. */
void replay_touch_aside(struct replay *r, struct replay_task *t);
/* Wait for what is under way: of @t; of those that share @t's memory within @range; of all. */
void replay_touch_wait(struct replay *r, struct replay_task *t);
void replay_touch_wait_range(struct replay *r, struct replay_task *t, struct replay_range range);
void replay_touch_wait_all(struct replay *r);

/* ---- replay_report.c ---- */

extern const char *const replay_kind_names[NR_REPLAY_KINDS];
void replay_report(const struct replay *r);
void replay_progress(struct replay *r, bool done);

#endif
