/* SPDX-License-Identifier: MIT */
/*
 * The system has a header of this name too, and libc includes some of those.  The system's comes
 * first, and outside the guard, so that it is found in whatever way this file was reached.
 */
#include_next <linux/sched.h>

#ifndef KARC_COMPAT_LINUX_SCHED_H
#define KARC_COMPAT_LINUX_SCHED_H

/* libc's headers serve assembler and C++ as well; karc's are C. */
#if !defined(__ASSEMBLER__) && !defined(__cplusplus)
#include <sched.h>

#include <karc/hw/fiber.h>
#include <karc/proc/sched.h>
#include <karc/proc/task.h>
#endif

#endif
