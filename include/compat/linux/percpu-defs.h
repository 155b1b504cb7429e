/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PERCPU_DEFS_H
#define KARC_COMPAT_LINUX_PERCPU_DEFS_H

#include <karc/hw/percpu.h>

#endif
