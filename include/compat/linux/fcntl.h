/* SPDX-License-Identifier: MIT */
/*
 * The system's header of this name defines structs and constants that libc defines as well, and
 * cannot be mixed with libc's headers, which karc's include.  So libc's stands in for it.
 */
#ifndef KARC_COMPAT_LINUX_FCNTL_H
#define KARC_COMPAT_LINUX_FCNTL_H

#include <fcntl.h>

#endif
