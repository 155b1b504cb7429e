/* SPDX-License-Identifier: MIT */
/*
 * The system has a header of this name too, and libc includes some of those.  The system's comes
 * first, and outside the guard, so that it is found in whatever way this file was reached.
 */
#include_next <linux/mman.h>

#ifndef KARC_COMPAT_LINUX_MMAN_H
#define KARC_COMPAT_LINUX_MMAN_H

/* libc's headers serve assembler and C++ as well; karc's are C. */
#if !defined(__ASSEMBLER__) && !defined(__cplusplus)
#include <sys/mman.h>

#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>
#include <karc/mm/vm_flags.h>
#endif

#endif
