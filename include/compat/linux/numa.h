/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_NUMA_H
#define KARC_COMPAT_LINUX_NUMA_H

#include <karc/mm/phys/zone.h>

#endif
