/* SPDX-License-Identifier: MIT */
/*
 * The system has a header of this name too, and libc includes some of those.  The system's comes
 * first, and outside the guard, so that it is found in whatever way this file was reached.
 */
#include_next <linux/string.h>

#ifndef KARC_COMPAT_LINUX_STRING_H
#define KARC_COMPAT_LINUX_STRING_H

/* libc's headers serve assembler and C++ as well; karc's are C. */
#if !defined(__ASSEMBLER__) && !defined(__cplusplus)
#include <string.h>

#include <karc/base/string.h>
#include <karc/mm/slab/kmalloc.h>
#endif

#endif
