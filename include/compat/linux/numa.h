/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_NUMA_H
#define KARC_COMPAT_LINUX_NUMA_H

#include <karc/hw/topology.h>
#include <karc/mm/phys/zone.h>

#endif
