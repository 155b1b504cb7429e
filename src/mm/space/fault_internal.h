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

/* fault_trace.c: the steps of a fault in words; called while somebody listens. */
void fault_trace_begin(const struct fault_info *info);
void fault_trace_vma(const struct fault_info *info);
void fault_trace_access(const struct fault_info *info, bool allowed);
void fault_trace_entry(const struct vm_fault *vmf);
void fault_trace_file(const struct vm_fault *vmf, vm_fault_t ret);
void fault_trace_wp(const struct page *page);		/* NULL: the zero page */
void fault_trace_end(const struct fault_info *info);

static inline struct fault_hot *fault_hot(void)
{
	return this_cpu_hot(ROOM_SPACE);
}

#endif
