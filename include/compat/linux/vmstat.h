/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_VMSTAT_H
#define KARC_COMPAT_LINUX_VMSTAT_H

#include <karc/mm/phys/vmstat.h>
#include <karc/mm/phys/zone.h>

#endif
