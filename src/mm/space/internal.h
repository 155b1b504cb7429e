/* SPDX-License-Identifier: MIT */
/*
 * internal.h - state of the space room of one machine
 */
#ifndef KARC_SRC_MM_SPACE_INTERNAL_H
#define KARC_SRC_MM_SPACE_INTERNAL_H

#include <karc/hw/machine.h>
#include <karc/hw/spinlock.h>
#include <karc/mm/slab/slab.h>
#include <karc/mm/space/overcommit.h>
#include <karc/refcount/arc.h>

struct arc_graph_source;

struct space_state {
	struct kmem_cache *mm_cache;		/* "mm_struct" */
	struct kmem_cache *vma_cache;		/* "vm_area_struct" */
	struct space_sysctl sysctl;
	unsigned long totalram_pages, total_swap_pages;
	atomic_long_t committed;		/* pages: Committed_AS, exact */

	spinlock_t mm_lock;			/* guards the two below */
	struct list_head mms;			/* every mm_struct, by mm_node; holds nothing */
	u64 next_mm_id;
};

extern const struct arc_type mm_struct_type;
extern const struct arc_type vma_type;

/* graph.c */
extern const struct arc_graph_source space_graph_source;

/* overcommit.c: defaults that depend on the size of memory. */
void overcommit_init(struct machine *m, struct space_state *space);

#endif
