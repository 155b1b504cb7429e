/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_MEMPOOL_H
#define KARC_COMPAT_LINUX_MEMPOOL_H

#include <karc/mm/slab/mempool.h>

#endif
