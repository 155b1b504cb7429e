/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_RECORD_INTERNAL_H
#define KARC_TOOLS_RECORD_INTERNAL_H

/*
 * record_internal.h - what record_trace.c, record_decode.c and record_fds.c share
 */
#include "record.h"

#define PID_SLOTS	(REC_TASKS_MAX + 1)

/* What open() makes, and dup and fork share: a file, or a view of a task's memory in /proc. */
struct open_file {
	unsigned int users;	/* descriptors */
	uint64_t offset;
	bool appends;
	bool at_line;		/* of a view: a line begins at offset */
	uint32_t target;	/* ordinal of the task, 0: none of the recorded */
	char view[16];		/* maps, smaps ..; "": it is no view */
};

/* A descriptor table, shared by the tracees cloned with CLONE_FILES. */
struct fd_table {
	unsigned int users, nr;
	struct record_files *files;
	struct fd_entry {
		uint32_t file;	/* provisional file id, 0: none or not a file */
		struct open_file *open;	/* NULL: its opening was not seen */
	} *entries;
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
	struct fd_table *born_fds;
	struct rec_born_fd *born;	/* provisional file ids */
	unsigned int nr_born;
	char text[REC_TEXT_MAX + 1];	/* of the call being decoded */
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

struct fd_table *record_new_fds(struct record_files *files);
/* @from itself with one more user if @same, else a copy of it. */
struct fd_table *record_share_fds(struct fd_table *from, bool same);
void record_drop_fds(struct fd_table *fds);
/* Gives @tracee a table of its own. */
void record_unshare_fds(struct tracee *tracee);
void record_set_fd(struct fd_table *fds, int64_t fd, uint32_t file);
uint32_t record_get_fd(const struct fd_table *fds, int64_t fd);
/* Makes @to what @from is. */
void record_copy_fd(struct fd_table *fds, int64_t from, int64_t to);
/* @file has been opened as @fd. */
void record_open_file(struct fd_table *fds, int64_t fd, uint32_t file, bool appends);
/* A view has been opened as @fd: the file with @label, if it is one; false: it is none. */
bool record_open_view(struct record_trace *trace, struct fd_table *fds, int64_t fd,
		      const char *label);
struct open_file *record_get_open(const struct fd_table *fds, int64_t fd);
struct cwd *record_share_cwd(struct cwd *from, bool same);
void record_drop_cwd(struct cwd *cwd);
uint32_t record_new_memfd(struct record_trace *trace, int host_pid, int64_t fd,
			  const char *label);
/* What @fd of @tracee is, given the path strace printed for it ("" when it printed none). */
uint32_t record_file_by_fd(struct record_trace *trace, struct tracee *tracee, int64_t fd,
			   const char *label);

/* ---- record_events.c --------------------------------------------------------------------- */

/* What a call of class OTHER that has come back means: views read, files written, names gone. */
void record_other_call(struct record_trace *trace, struct tracee *tracee, const char *args,
		       const struct rec_call *call);
void record_tell_size(struct record_trace *trace, struct tracee *tracee, uint32_t id,
		      uint64_t size);
/* Tells a new size of the mapped file @id, if it has one. */
void record_note_size(struct record_trace *trace, struct tracee *tracee, uint32_t id, int64_t fd);
/* Tells once that the name of a mapped file is gone. */
void record_note_removed(struct record_trace *trace, struct tracee *tracee, uint32_t id);

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
