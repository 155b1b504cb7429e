/* SPDX-License-Identifier: MIT */
/*
 * pcp.h - single frames on lists of the CPU: no lock, no atomic operation
 *
 * The lists are in the CPU's hot area, one set for each zone of the CPU's own node. A frame
 * freed by a CPU of another node goes straight to its zone.
 */
#ifndef KARC_MM_PHYS_PCP_H
#define KARC_MM_PHYS_PCP_H

#include <karc/mm/phys/vmstat.h>

struct phys;

struct per_cpu_pages {
	int count;		/* frames on all lists */
	int high;		/* a free that makes it so many ... */
	int batch;		/* ... moves so many to the zone; refills take as many */
	int spare;
	struct list_head lists[MIGRATE_PCPTYPES];	/* most recently freed first */
};

/* The phys room's hot area of a CPU. */
struct phys_hot {
	struct phys *phys;
	struct pglist_data *pgdat;	/* of the CPU's node */
	struct per_cpu_pages pcp[MAX_NR_ZONES];
	long node_stat[NR_VM_NODE_STAT_ITEMS];
	unsigned long events[NR_VM_EVENT_ITEMS];
};

_Static_assert(sizeof(struct phys_hot) <= CPU_HOT_BYTES, "phys_hot does not fit");

/* The node whose zones this CPU uses first: its own, or another if that has no memory. */
int phys_node_here(void);

/* This CPU's lists back to the zones. Context: any. */
void drain_local_pages(struct zone *zone);	/* NULL: of all zones */

/* The same on each CPU. Context: interrupts on, not in an interrupt (it sends IPIs). */
void drain_all_pages(struct zone *zone);

/* CPU @cpu's lists, while nothing runs there. */
void drain_pages(unsigned int cpu);

#endif
