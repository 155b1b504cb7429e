/* SPDX-License-Identifier: MIT */
/*
 * pidfd.h - descriptors that name a process
 */
#ifndef KARC_PROC_PIDFD_H
#define KARC_PROC_PIDFD_H

#include <karc/base/contract.h>
#include <karc/base/site.h>
#include <karc/proc/pid.h>

struct file;

/* A file that holds @pid. Gives a reference; ERR_PTR(-ENOMEM). @flags: O_*. Context: may sleep. */
KARC_MUST_CHECK KARC_GIVES struct file *pidfd_file_site(struct pid *pid, unsigned int flags,
							const struct site *site);
#define pidfd_file(pid, flags) pidfd_file_site(pid, flags, SITE())

/* The pid that descriptor @fd of current holds. Gives a reference; ERR_PTR(-EBADF). */
KARC_MUST_CHECK KARC_GIVES struct pid *pidfd_get_pid(unsigned int fd);

#endif
