/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_SCHED_MM_H
#define KARC_COMPAT_LINUX_SCHED_MM_H

#include <karc/hw/fiber.h>
#include <karc/mm/phys/memalloc.h>
#include <karc/mm/space/mm.h>

#endif
