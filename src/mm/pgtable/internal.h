/* SPDX-License-Identifier: MIT */
/*
 * internal.h - state of the pgtable room
 */
#ifndef KARC_SRC_MM_PGTABLE_INTERNAL_H
#define KARC_SRC_MM_PGTABLE_INTERNAL_H

#include <karc/base/atomic.h>
#include <karc/hw/machine.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/phys/page.h>

/* One per machine: machine->room[ROOM_PGTABLE]. */
struct pgtable_room_state {
	atomic_long_t nr_alive[4];	/* table pages by level */
};

static inline struct pgtable_room_state *pgtable_state(void)
{
	return this_room(ROOM_PGTABLE);
}

/* tlbflush.c: who judges stale hits. */
void tlbflush_init(struct machine *m);

/* pgtable.c: verify the tree below a root page. */
void pgtable_check_root(struct page *root, struct check_report *report);

static inline u64 *table_entries(const struct page *table)
{
	return page_to_virt(table);
}

#endif
