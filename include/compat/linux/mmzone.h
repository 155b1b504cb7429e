/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_MMZONE_H
#define KARC_COMPAT_LINUX_MMZONE_H

#include <karc/hw/nodemask.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/phys/zone.h>
#include <karc/mm/phys/zone_walk.h>

#endif
