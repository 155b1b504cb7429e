/* SPDX-License-Identifier: MIT */
/*
 * The system has a header of this name too, and libc includes some of those.  The system's comes
 * first, and outside the guard, so that it is found in whatever way this file was reached.
 */
#include_next <linux/stat.h>

#ifndef KARC_COMPAT_LINUX_STAT_H
#define KARC_COMPAT_LINUX_STAT_H

#include <sys/stat.h>

#endif
