/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_RECORD_H
#define KARC_TOOLS_RECORD_H

/*
 * record.h - what the files of `karc record` share
 *
 * record_host.c measures the host and the files; record_trace.c turns strace's lines into the
 * recording; cmd_record.c runs strace and talks to people.
 */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "recording.h"

/* ---- record_host.c ----------------------------------------------------------------------- */

/* What must be measured in a process whose addresses are not randomised. */
struct record_layout {
	uint64_t vvar_bytes, vvar_clock_bytes, vdso_bytes, stack_top, mmap_base, mmap_min_addr;
	uint64_t capabilities, ignored_signals;
	enum rec_vsyscall vsyscall;
	unsigned int auxv_entries, platform_bytes;
	enum rec_anon_align anon_align;
	bool align_snug;
};

/* Measures the calling process; to be called early in a fresh one. */
bool record_measure_layout(struct record_layout *layout);
/* All of @info but the counts. @layout comes from such a process. */
void record_fill_info(struct rec_info *info, const struct record_layout *layout);

/* A file and its program headers, as recording_write_file() takes them. */
struct record_file {
	struct rec_file file;
	struct rec_elf elf;
	struct rec_segment *segments;	/* NULL or REC_SEGMENTS_MAX of them */
	char *label;
	dev_t dev;
	ino_t ino;
	bool has_inode;
	struct rec_script script;
	uint64_t size_now;	/* as the recording tells it so far; REC_SIZE_UNKNOWN: not yet */
	uint64_t size_followed;	/* by the calls seen; REC_SIZE_UNKNOWN: not known */
	bool changed;		/* by calls seen: size_followed is right, a look may be too late */
	char *first_label;	/* the label when it was first used */
	bool probed;		/* the facts in file are measured, or cannot be any more */
	bool used;		/* mapped or executed: gets into the recording */
	bool removed;		/* its name is gone, and the recording says so */
	bool kept;		/* others of these may point to it */
	uint32_t nr_fds;	/* descriptors it is known by */
	uint32_t final_id;
	uint32_t next;		/* hash chain: id, 0 ends it */
};

enum record_elf_state { RECORD_ELF_NONE, RECORD_ELF_OK, RECORD_ELF_32BIT, RECORD_ELF_BAD };

/*
 * Fills kind, mode, size and alignment of the file at @path. Only regular files and /dev/zero
 * are opened: opening a device can do things. False: there is no such file.
 */
bool record_probe_file(struct record_file *file, const char *path);
/* Fills elf from the open @fd; @interp gets PT_INTERP's path or "". */
enum record_elf_state record_probe_elf(struct record_file *file, int fd, char *interp,
				       size_t interp_bytes);

/* ---- record_denied.c --------------------------------------------------------------------- */

/* The oldest that prints what strace_text.c reads: -X raw, clone3, paths of descriptors. */
#define RECORD_STRACE_MAJOR	5
#define RECORD_STRACE_MINOR	5
#define RECORD_NO_CHILD		1000

/* What recording needs, tried in a child: 0, an errno, or less: the signal that killed it. */
struct record_denial {
	int personality_error, ptrace_error;	/* or RECORD_NO_CHILD */
	int tracer;		/* process that traces this one, 0: none */
	int seccomp;		/* 2: a filter */
	int yama_scope;		/* -1: not there */
};

void record_look_around(struct record_denial *denial);
/* True: something is denied, and @text says what and why. */
bool record_explain_denial(const struct record_denial *denial, char *text, size_t bytes);
/* False: @text says what is wrong with the program at @strace. */
bool record_strace_is_usable(const char *strace, char *text, size_t bytes);

/* ---- record_files.c ---------------------------------------------------------------------- */

/*
 * The files the program has opened, by provisional id (1 ..). One that is neither mapped nor
 * executed is forgotten with its last descriptor: its number is not given again.
 */
struct record_files {
	struct record_file **files;	/* index = id - 1; NULL: forgotten */
	uint32_t nr, max;
	uint32_t hash[4096];		/* of labels -> id */
};

/* What execve names, and the sizes of what it puts on the stack. */
struct record_exec {
	char path[PATH_MAX];	/* what is named, absolute if that is known */
	char name[PATH_MAX];	/* the same as the program wrote it */
	uint64_t argc, arg_bytes, envc, env_bytes, path_bytes;
	size_t first_length;	/* of argv[0] */
};

/* What is left to tell of a file that is mapped. */
enum record_size { RECORD_SIZE_KNOWN, RECORD_SIZE_CHANGED };

void record_files_free(struct record_files *files);
struct record_file *record_file_get(struct record_files *files, uint64_t id);
/* A file that no path leads to (memfd), or one seen for the first time. */
uint32_t record_file_new(struct record_files *files, const char *label);
/* The file that has this path now: a path whose file was replaced is another file. */
uint32_t record_file_by_path(struct record_files *files, const char *label);
/* The file that @fd of a process is, among those no path leads to; 0: none that is known. */
uint32_t record_file_by_inode(struct record_files *files, int host_pid, int64_t fd);
void record_file_note_inode(struct record_file *file, int host_pid, int64_t fd);
/* A descriptor of it comes and goes. */
void record_file_hold(struct record_files *files, uint32_t id);
void record_file_drop(struct record_files *files, uint32_t id);
/* The newest file of that label; 0: there is none. */
uint32_t record_file_find(const struct record_files *files, const char *label);
void record_file_rename(struct record_files *files, uint32_t id, const char *label);
/*
 * Measures a file that is mapped: now for the first time, again, or written to. The recording has
 * to tell size_now if it changed.
 */
enum record_size record_file_measure(struct record_files *files, uint32_t id, int host_pid,
				     int64_t fd);
/* Marks it and its interpreter. */
void record_file_use(struct record_files *files, uint64_t id);
/* @name below @dir, unless it is absolute; "" when too long. */
void record_join_path(char *to, size_t bytes, const char *dir, const char *name);
/*
 * Follows scripts to the program that is mapped, changing @exec as the kernel changes the
 * arguments. @image 0: cannot be found out. NULL, or what is wrong with the program.
 */
const char *record_resolve_image(struct record_files *files, const char *cwd,
				 struct record_exec *exec, uint64_t *named, uint64_t *image);

/* ---- record_trace.c ---------------------------------------------------------------------- */

struct record_trace;

/* Ends the program when there is no memory. */
void *record_checked(void *memory);
/* The descriptors that a program gets which is executed now, in order. @labels: to be freed. */
unsigned int record_born_fds(int32_t *fds, char **labels, unsigned int max);

/* @body: a file opened for writing and reading, for the lines before files are numbered. */
struct record_trace *record_trace_new(FILE *body);
/* What the program is started with; before its first line. @label: its path. */
void record_trace_born_fd(struct record_trace *trace, int32_t fd, const char *label);
void record_trace_free(struct record_trace *trace);
/* One line of strace. False: it cannot be recorded; record_trace_error() says why. */
bool record_trace_line(struct record_trace *trace, char *line);
const char *record_trace_error(const struct record_trace *trace);
/* The host's pid of the recorded program; 0 before its first line. */
pid_t record_trace_first_pid(const struct record_trace *trace);
/* Writes the recording. */
bool record_trace_finish(struct record_trace *trace, struct rec_info *info, FILE *out);
uint64_t record_trace_calls(const struct record_trace *trace);
uint32_t record_trace_tasks(const struct record_trace *trace);

#endif /* KARC_TOOLS_RECORD_H */
