/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PAGEBLOCK_FLAGS_H
#define KARC_COMPAT_LINUX_PAGEBLOCK_FLAGS_H

#include <karc/mm/phys/zone.h>

#endif
