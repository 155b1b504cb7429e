/* SPDX-License-Identifier: MIT */
/*
 * The system has a header of this name too, and libc includes some of those.  The system's comes
 * first, and outside the guard, so that it is found in whatever way this file was reached.
 */
#include_next <linux/module.h>

#ifndef KARC_COMPAT_LINUX_MODULE_H
#define KARC_COMPAT_LINUX_MODULE_H

/* libc's headers serve assembler and C++ as well; karc's are C. */
#if !defined(__ASSEMBLER__) && !defined(__cplusplus)
#include <karc/base/bug.h>
#include <karc/base/err.h>
#include <karc/base/kconfig.h>
#include <karc/base/list.h>
#include <karc/base/log.h>
#include <karc/base/math.h>
#include <karc/base/types.h>
#include <karc/harness/module.h>
#include <karc/hw/context.h>
#include <karc/hw/percpu.h>
#include <karc/kobject/kobject.h>
#include <karc/mm/slab/percpu.h>
#endif

#endif
