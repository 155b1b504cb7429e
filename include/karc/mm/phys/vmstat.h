/* SPDX-License-Identifier: MIT */
/*
 * vmstat.h - how many frames are free, and what the others are used for
 *
 * Free frames are counted by zone, under its lock. What rooms above count is added up in the
 * CPU's hot area, without an atomic operation; a reader sums over the CPUs and is exact when
 * nobody counts at the same time.
 */
#ifndef KARC_MM_PHYS_VMSTAT_H
#define KARC_MM_PHYS_VMSTAT_H

#include <karc/mm/phys/zone.h>

enum vm_event_item {
	PGALLOC,		/* frames */
	PGFREE,
	PGFAULT,
	PGMAJFAULT,
	NR_VM_EVENT_ITEMS
};

unsigned long zone_page_state(const struct zone *zone, enum zone_stat_item item);
unsigned long global_zone_page_state(enum zone_stat_item item);

void mod_node_page_state(struct pglist_data *pgdat, enum node_stat_item item, long delta);
unsigned long node_page_state(struct pglist_data *pgdat, enum node_stat_item item);
unsigned long global_node_page_state(enum node_stat_item item);

static inline void inc_node_page_state(struct page *page, enum node_stat_item item)
{
	mod_node_page_state(NODE_DATA(page_to_nid(page)), item, 1);
}

static inline void dec_node_page_state(struct page *page, enum node_stat_item item)
{
	mod_node_page_state(NODE_DATA(page_to_nid(page)), item, -1);
}

void count_vm_events(enum vm_event_item item, unsigned long nr);
unsigned long vm_events(enum vm_event_item item);

#define count_vm_event(item) count_vm_events(item, 1)

/* All frames of a machine by where they are; the sum of the parts is nr_present. */
struct phys_stats {
	unsigned long nr_present;	/* frames that exist */
	unsigned long nr_managed;	/* of them given to the buddy at boot */
	unsigned long nr_reserved;	/* the rest */
	unsigned long nr_buddy;		/* free, in the zones' lists */
	unsigned long nr_pcp;		/* free, on per-CPU lists */
	unsigned long nr_bad;		/* taken out of use because they were freed damaged */
	unsigned long nr_used;
};

/* @m may be another machine than the caller's, if nothing runs on it. */
struct phys_stats phys_stats(struct machine *m);

/* Free frames wherever they are: what must be at the end as it was at boot. */
unsigned long phys_nr_free(struct machine *m);

#endif
