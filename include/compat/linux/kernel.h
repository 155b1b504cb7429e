/* SPDX-License-Identifier: MIT */
/*
 * The system has a header of this name too, and libc includes some of those.  The system's comes
 * first, and outside the guard, so that it is found in whatever way this file was reached.
 */
#include_next <linux/kernel.h>

#ifndef KARC_COMPAT_LINUX_KERNEL_H
#define KARC_COMPAT_LINUX_KERNEL_H

/* libc's headers serve assembler and C++ as well; karc's are C. */
#if !defined(__ASSEMBLER__) && !defined(__cplusplus)
#include <limits.h>

#include <karc/base/bitops.h>
#include <karc/base/bug.h>
#include <karc/base/compiler.h>
#include <karc/base/kconfig.h>
#include <karc/base/limits.h>
#include <karc/base/log.h>
#include <karc/base/math.h>
#include <karc/base/math64.h>
#include <karc/base/string.h>
#include <karc/base/types.h>
#include <karc/hw/context.h>
#include <karc/hw/panic.h>
#endif

#endif
