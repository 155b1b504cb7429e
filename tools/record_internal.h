/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_RECORD_INTERNAL_H
#define KARC_TOOLS_RECORD_INTERNAL_H

/*
 * record_internal.h - what record_trace.c, record_decode.c and record_fds.c share
 */
#include "record.h"

#define PID_SLOTS	(REC_TASKS_MAX + 1)

/* A descriptor table, shared by the tracees cloned with CLONE_FILES. */
struct fd_table {
	unsigned int users, nr;
	uint32_t *files;	/* provisional file id, 0: none or not a file */
};

struct cwd {
	unsigned int users;
	char path[PATH_MAX];
};

struct tracee {
	int host_pid;
	uint32_t pid;		/* ordinal */
	bool live, claimed;	/* claimed: the call that made it has returned */
	bool in_call;
	bool child_seen;	/* of the task-making call it is in */
	struct rec_call call;	/* its REC_BEGIN */
	char *text;		/* arguments printed at its start */
	struct fd_table *fds;
	struct cwd *cwd;
};

struct record_trace {
	FILE *body;
	struct record_files files;
	struct tracee **by_pid;		/* host pid -> tracee; untouched pages cost nothing */
	struct tracee **makers;		/* tracees inside a call that makes a task */
	uint32_t nr_makers, max_makers;
	uint32_t *parents;		/* ordinal -> ordinal */
	uint32_t nr_tasks, max_tasks;
	uint64_t nr_lines, nr_calls;
	pid_t first_pid;
	bool failed;
	char error[256];
};

/* Keeps the first reason; gives false. */
bool record_fail(struct record_trace *trace, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void record_write_line(struct record_trace *trace, const struct rec_call *call);
/* The ordinal of a host pid, 0: never seen. */
uint32_t record_ordinal_of(const struct record_trace *trace, int64_t host_pid);

/* ---- record_fds.c ------------------------------------------------------------------------ */

/* @from itself with one more user if @same, else a copy of it; @from may be NULL. */
struct fd_table *record_share_fds(struct fd_table *from, bool same);
void record_drop_fds(struct fd_table *fds);
/* Gives @tracee a table of its own. */
void record_unshare_fds(struct tracee *tracee);
void record_set_fd(struct fd_table *fds, int64_t fd, uint32_t file);
uint32_t record_get_fd(const struct fd_table *fds, int64_t fd);
struct cwd *record_share_cwd(struct cwd *from, bool same);
void record_drop_cwd(struct cwd *cwd);
uint32_t record_new_memfd(struct record_trace *trace);
/* What @fd of @tracee is, given the path strace printed for it ("" when it printed none). */
uint32_t record_file_by_fd(struct record_trace *trace, struct tracee *tracee, int64_t fd,
			   const char *label);

/* ---- record_decode.c --------------------------------------------------------------------- */

/* Fills call->args from @at; @call's result is known, or it has only begun. */
bool record_decode_args(struct record_trace *trace, struct tracee *tracee, const char *at,
			struct rec_call *call);
/* Fills call->result; @label gets the path behind a descriptor, or "". */
bool record_parse_result(const char *at, struct rec_call *call, char *label, size_t bytes);
/* Fills call->out of a call that succeeded; @at is its whole argument list. */
bool record_decode_out(struct record_trace *trace, struct tracee *tracee, const char *at,
		       struct rec_call *call);

#endif /* KARC_TOOLS_RECORD_INTERNAL_H */
