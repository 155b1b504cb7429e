/* SPDX-License-Identifier: MIT */
/*
 * internal.h - state of the reclaim room
 */
#ifndef KARC_SRC_MM_RECLAIM_INTERNAL_H
#define KARC_SRC_MM_RECLAIM_INTERNAL_H

#include <karc/base/list.h>
#include <karc/hw/machine.h>
#include <karc/hw/rwsem.h>
#include <karc/hw/spinlock.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/reclaim/shrinker.h>
#include <karc/mm/reclaim/vmscan.h>

/* One per machine: machine->room[ROOM_RECLAIM]. */
struct reclaim_room_state {
	spinlock_t shrinkers_lock;	/* the list, in_use */
	struct list_head shrinkers;	/* by registration; holds nothing */
	wait_queue_head_t idle;		/* a callback ended: unregister may go on */

	spinlock_t runs_lock;		/* the fibers that reclaim now, and the statistics */
	struct list_head runs;
	struct reclaim_stats stats;
	struct reclaim_ops ops;		/* as given to the phys room */
};

static inline struct reclaim_room_state *reclaim_state(void)
{
	return this_room(ROOM_RECLAIM);
}

#endif
