/* SPDX-License-Identifier: MIT */
/*
 * fault_internal.h - what memory.c, fault.c and uaccess.c share
 */
#ifndef KARC_SRC_MM_SPACE_FAULT_INTERNAL_H
#define KARC_SRC_MM_SPACE_FAULT_INTERNAL_H

#include <karc/hw/cpu.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/space/fault.h>

/* memory.c: registered with the cache room, so that truncation reaches the spaces. */
extern const struct cache_unmap_ops space_unmap_ops;

static inline struct fault_hot *fault_hot(void)
{
	return this_cpu_hot(ROOM_SPACE);
}

#endif
