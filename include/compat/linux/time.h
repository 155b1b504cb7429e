/* SPDX-License-Identifier: MIT */
/*
 * The system's header of this name defines structs and constants that libc defines as well, and
 * cannot be mixed with libc's headers, which karc's include.  So libc's stands in for it.
 */
#ifndef KARC_COMPAT_LINUX_TIME_H
#define KARC_COMPAT_LINUX_TIME_H

#include <sys/time.h>
#include <time.h>

#include <karc/hw/clock.h>

#endif
