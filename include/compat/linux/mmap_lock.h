/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_MMAP_LOCK_H
#define KARC_COMPAT_LINUX_MMAP_LOCK_H

#include <karc/mm/space/mm.h>

#endif
