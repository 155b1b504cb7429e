/* SPDX-License-Identifier: MIT */
/*
 * files.h - the table of open files of a process
 */
#ifndef KARC_PROC_FILES_H
#define KARC_PROC_FILES_H

#include <karc/base/cleanup.h>
#include <karc/base/contract.h>
#include <karc/base/site.h>
#include <karc/mm/cache/file.h>
#include <karc/refcount/arc.h>

struct files_struct;

/**
 * files_alloc, dup_fd - an empty table; a copy with a reference on each file of @old
 *
 * Gives:   one reference; end it with put_files_struct(), which ignores NULL.
 * Context: may sleep. Errors: NULL: no memory.
 */
KARC_MUST_CHECK KARC_GIVES struct files_struct *files_alloc_site(const struct site *site);
#define files_alloc() files_alloc_site(SITE())
KARC_MUST_CHECK KARC_GIVES struct files_struct *dup_fd_site(struct files_struct *old,
							     const struct site *site);
#define dup_fd(old) dup_fd_site(old, SITE())

/* Gives one more reference. Context: any. */
KARC_MUST_CHECK KARC_GIVES struct files_struct *files_get_site(struct files_struct *files,
								const struct site *site);
#define files_get(files) files_get_site((files), SITE())

/* Takes one; the last closes every file, lowest number first. Context: any; closing may wait. */
void put_files_struct(KARC_TAKES struct files_struct *files) KARC_PUTS(1);

/* Does anybody else hold the table? Exact if the caller holds it and nobody else runs. */
bool files_shared(const struct files_struct *files);

/**
 * fd_alloc_install - the lowest free number >= @start for @file
 *
 * Takes:   @file, on failure too.
 * Context: may sleep. Errors: -EMFILE (the table is full, or current's RLIMIT_NOFILE says so),
 *          -ENOMEM.
 */
int fd_alloc_install(struct files_struct *files, unsigned int start,
		     KARC_TAKES struct file *file, bool cloexec);

/**
 * fd_install_at - @file at exactly @fd, closing what was there (dup2)
 *
 * Takes:   @file, on failure too.
 * Context: may sleep. Errors: -EMFILE, -ENOMEM: what was there stays.
 */
int fd_install_at(struct files_struct *files, unsigned int fd, KARC_TAKES struct file *file,
		  bool cloexec);

/* The file at @fd: gives a reference, or NULL. Context: any but interrupts. */
KARC_MUST_CHECK KARC_GIVES struct file *fget_files_site(struct files_struct *files,
							 unsigned int fd, const struct site *site);
#define fget_files(files, fd) fget_files_site((files), (fd), SITE())

int close_fd_of(struct files_struct *files, unsigned int fd);		/* 0, -EBADF; may sleep */
int fd_set_cloexec(struct files_struct *files, unsigned int fd, bool on);	/* 0, -EBADF */
void do_close_on_exec(struct files_struct *files);			/* may sleep */
unsigned int files_count(struct files_struct *files);	/* open now */
unsigned int files_max(struct files_struct *files);	/* one past the highest possible fd so far */

/* On a variable: __free(put_files_struct); see base/cleanup.h. */
DEFINE_FREE(put_files_struct, struct files_struct *, if (_T) put_files_struct(_T))

#endif
