/* SPDX-License-Identifier: MIT */
/*
 * fs.h - what CLONE_FS shares: the umask
 *
 * karc has no paths, so there are no root and working directory.
 */
#ifndef KARC_PROC_FS_H
#define KARC_PROC_FS_H

#include <karc/base/cleanup.h>
#include <karc/base/contract.h>
#include <karc/base/site.h>
#include <karc/refcount/arc.h>

struct fs_struct {
	struct arc arc;
	unsigned int umask;		/* READ_ONCE, xchg */
};

/* Gives one reference; NULL: no memory. put_fs_struct() ends it and ignores NULL. */
KARC_MUST_CHECK KARC_GIVES struct fs_struct *fs_alloc_site(unsigned int umask,
							   const struct site *site);
#define fs_alloc(umask) fs_alloc_site(umask, SITE())
void put_fs_struct(KARC_TAKES struct fs_struct *fs) KARC_PUTS(1);

/* On a variable: __free(put_fs_struct); see base/cleanup.h. */
DEFINE_FREE(put_fs_struct, struct fs_struct *, if (_T) put_fs_struct(_T))

#endif
