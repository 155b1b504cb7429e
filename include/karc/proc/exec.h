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

/**
 * struct exec_image - a program and how it starts
 * @interp:        NULL for static programs
 * @args_bytes:    argument, environment and file-name strings, NULs included
 * @tables_bytes:  argv, envp, auxv and the rest below the strings
 * @vdso_bytes, @vvar_bytes: page aligned; 0: none
 * @profile:       placement rules; NULL: the newest
 * @rlim:          NULL: those of the current mm, or the defaults
 * @legacy_layout: bottom-up placement
 * @comm:          the task's new name; NULL: it keeps the old one
 */
struct exec_image {
	const struct exec_elf *program;
	const struct exec_elf *interp;
	u64 args_bytes;
	u64 tables_bytes;
	u64 vdso_bytes, vvar_bytes;
	const struct mm_profile *profile;
	const struct mm_rlimits *rlim;
	bool legacy_layout;
	const char *comm;
};

/**
 * kernel_execve_image - replace current's mm by the program of @image
 *
 * A table of open files that is shared is copied first; what is marked close-on-exec is closed.
 * Context: a task, may sleep.
 * Errors:  -ENOMEM, -E2BIG, -EINVAL and what mapping says (-EEXIST ...): the task is as it was. The
 *          pages written afterwards (end of .data, initial stack) may lack memory too: then the
 *          task dies of SIGSEGV, as in Linux past the point of no return.
 * Model:   Linux 6.1 load_elf_binary(); unlike there the new address space is whole before the old
 *          one goes.
 */
KARC_MUST_CHECK int kernel_execve_image(const struct exec_image *image);

#endif
