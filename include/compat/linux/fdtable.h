/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_FDTABLE_H
#define KARC_COMPAT_LINUX_FDTABLE_H

#include <karc/proc/files.h>

#endif
