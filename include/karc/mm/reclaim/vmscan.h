/* SPDX-License-Identifier: MIT */
/*
 * vmscan.h - making room when an allocation finds none
 */
#ifndef KARC_MM_RECLAIM_VMSCAN_H
#define KARC_MM_RECLAIM_VMSCAN_H

#include <karc/mm/gfp.h>
#include <karc/hw/machine.h>

#define DEF_PRIORITY	12

/* What reclaim has done since boot. */
struct reclaim_stats {
	unsigned long runs;
	unsigned long cache_pages;	/* clean page-cache pages dropped */
	unsigned long slab_objects;	/* freed by shrinkers */
	unsigned long slab_pages;	/* frames of empty slabs given back */
	unsigned long area_pages;	/* of areas of vmalloc() that were freed and kept */
	unsigned long useless;		/* runs that freed nothing */
};

/**
 * try_to_free_pages - direct reclaim: free about @nr_pages
 * Returns:  progress; 0 = there is nothing to take.
 * Context:  may sleep; not from within itself (then 0).
 */
unsigned long try_to_free_pages(gfp_t gfp, unsigned int order, unsigned long nr_pages);

/* All that can be dropped: echo 3 > drop_caches. Returns progress. */
unsigned long drop_caches(void);

struct reclaim_stats reclaim_stats(void);

extern const struct room reclaim_room;

#endif
