/* SPDX-License-Identifier: MIT */
/*
 * exec.h - a new program in an old task
 *
 * The image is described, not read: program headers and sizes, as a recording or a scenario gives
 * them. Mapping follows Linux's ELF loader: stack, segments, interpreter, break, vdso.
 */
#ifndef KARC_PROC_EXEC_H
#define KARC_PROC_EXEC_H

#include <karc/mm/cache/file.h>
#include <karc/mm/space/profile.h>
#include <karc/proc/task.h>

#define EXEC_STACK_DEFAULT	(-1)	/* no PT_GNU_STACK header */

/* One PT_LOAD header, as in the file; @flags: PF_X 1, PF_W 2, PF_R 4. */
struct exec_segment {
	u64 offset, vaddr, file_bytes, mem_bytes, align;
	unsigned int flags;
};

/**
 * struct exec_elf - one executable file
 * @file:      borrowed for the call
 * @dyn:       ET_DYN: position independent
 * @gnu_stack: flags of PT_GNU_STACK, or EXEC_STACK_DEFAULT
 * @segments:  in ascending order of vaddr
 */
struct exec_elf {
	struct file *file;
	bool dyn;
	int gnu_stack;
	unsigned int nr_segments;
	const struct exec_segment *segments;
};

/* How deep scripts may be interpreted by scripts, and how much of the first line counts. */
#define EXEC_SCRIPTS_MAX	5
#define EXEC_HEAD_BYTES		256

/**
 * struct exec_script - a file that begins with a line for its interpreter
 * @path:       the name under which it was opened; it becomes an argument of the interpreter
 * @head:       its first bytes, up to EXEC_HEAD_BYTES of them ("#!/bin/sh -e\n..."); borrowed
 * @head_bytes: how many there are
 */
struct exec_script {
	const char *path;
	const char *head;
	size_t head_bytes;
};

/**
 * struct exec_image - a program and how it starts
 * @program:       the program that is mapped at last; NULL: no file format fits (-ENOEXEC)
 * @interp:        NULL for static programs
 * @nr_scripts:    0, or how many scripts lead to @program
 * @scripts:       the one that was asked for first; the interpreter that the last one names is
 *                 @program
 * @argv0_bytes:   with scripts: what their names take the place of, NUL included; 0: empty argv
 * @args_bytes:    argument, environment and file-name strings, NULs included, as the caller of
 *                 execve passed them; what scripts change is added here
 * @tables_bytes:  argv, envp, auxv and the rest below the strings
 * @vdso_bytes, @vvar_bytes: page aligned; 0: none
 * @profile:       placement rules; NULL: the newest
 * @rlim:          NULL: those of the current process; else they become its own
 * @legacy_layout: bottom-up placement
 * @comm:          the task's new name; NULL: it keeps the old one
 */
struct exec_image {
	const struct exec_elf *program;
	const struct exec_elf *interp;
	const struct exec_script *scripts;
	unsigned int nr_scripts;
	u64 argv0_bytes;
	u64 args_bytes;
	u64 tables_bytes;
	u64 vdso_bytes, vvar_bytes;
	const struct mm_profile *profile;
	const struct mm_rlimits *rlim;
	bool legacy_layout;
	const char *comm;
};

/**
 * exec_script_parse - the interpreter and its argument in a script's first line
 * @interp, @interp_bytes: name in @script->head and its length
 * @arg, @arg_bytes:       the same for all that follows it, or NULL and 0
 *
 * Errors: -ENOEXEC: no "#!", no name, or a name that the first EXEC_HEAD_BYTES cut off.
 * Model:  Linux 6.1 load_script().
 */
KARC_MUST_CHECK int exec_script_parse(const struct exec_script *script, const char **interp,
				      size_t *interp_bytes, const char **arg, size_t *arg_bytes);

/**
 * kernel_execve_image - replace current's mm by the program of @image
 *
 * A table of open files that is shared is copied first; what is marked close-on-exec is closed. The
 * other threads of the process end, and the caller takes over the leader's pid, if it is not the
 * leader itself: then current->pid changes, and the old leader's struct is released. Handlers go
 * back to their defaults (ignored signals stay so); a vfork parent goes on.
 * Context: a task, may sleep.
 * Errors:  -ENOMEM, -E2BIG, -EINVAL, -ENOEXEC, -ELOOP (scripts), -EAGAIN (the group is ending, or
 *          another of its threads is in execve) and what mapping says (-EEXIST ...): the task is as
 *          it was, unless the others have ended already: then it dies of SIGSEGV. The
 *          pages written afterwards (end of .data, initial stack) may lack memory too: then the
 *          task dies of SIGSEGV, as in Linux past the point of no return.
 * Model:   Linux 6.1 load_elf_binary(); unlike there the new address space is whole before the old
 *          one goes.
 */
KARC_MUST_CHECK int kernel_execve_image(const struct exec_image *image);

#endif
