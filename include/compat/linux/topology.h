/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_TOPOLOGY_H
#define KARC_COMPAT_LINUX_TOPOLOGY_H

#include <karc/hw/cpumask.h>
#include <karc/hw/nodemask.h>
#include <karc/hw/topology.h>
#include <karc/mm/phys/zone.h>

#endif
