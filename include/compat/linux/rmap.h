/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_RMAP_H
#define KARC_COMPAT_LINUX_RMAP_H

#include <karc/mm/cache/rmap.h>

#endif
