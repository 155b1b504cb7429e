/* SPDX-License-Identifier: MIT */
/*
 * The system has a header of this name too, and libc includes some of those.  The system's comes
 * first, and outside the guard, so that it is found in whatever way this file was reached.
 */
#include_next <linux/random.h>

#ifndef KARC_COMPAT_LINUX_RANDOM_H
#define KARC_COMPAT_LINUX_RANDOM_H

/* libc's headers serve assembler and C++ as well; karc's are C. */
#if !defined(__ASSEMBLER__) && !defined(__cplusplus)
#include <karc/hw/random.h>
#endif

#endif
