/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_SWAP_H
#define KARC_COMPAT_LINUX_SWAP_H

#include <karc/mm/phys/memalloc.h>
#include <karc/mm/phys/zone_walk.h>
#include <karc/mm/reclaim/meminfo.h>
#include <karc/mm/reclaim/vmscan.h>

#endif
