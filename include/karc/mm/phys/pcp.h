/* SPDX-License-Identifier: MIT */
/*
 * pcp.h - single frames on lists of the CPU: no lock, no atomic operation
 *
 * Every CPU has lists for each zone of each node, one for each migrate type. Only the CPU itself
 * changes them, in one go between two safe points, so nobody needs a lock; pcp->lock is there for
 * those who want to look at them as in Linux, and keeps nobody away.
 */
#ifndef KARC_MM_PHYS_PCP_H
#define KARC_MM_PHYS_PCP_H

#include <karc/hw/percpu.h>
#include <karc/mm/phys/vmstat.h>

struct phys;

#define NR_PCP_LISTS	MIGRATE_PCPTYPES

/*
 * What the short ways touch is one line of the cache. per_cpu_ptr(zone->per_cpu_pageset, cpu)
 * finds it. Eight list heads long, so that node, zone and type, which lie side by side
 * in page->flags, are the number of a list in an array of these. Allocations and frees
 * count in a word each, so that neither waits for what the other has just written.
 */
struct per_cpu_pages {
	struct list_head lists[NR_PCP_LISTS];	/* by migrate type, most recently freed first */
	u64 nr_put;		/* frames ever put on the lists */
	u64 limit;		/* frames ever taken off them, + high: what nr_put must stay below */
	int high;		/* a free that makes it so many ... */
	int batch;		/* ... moves so many to the zone; refills take as many */
	int free_factor;	/* batches in a row without an allocation: the next is 2^n as large */
	spinlock_t lock;
} __attribute__((aligned(128)));

_Static_assert(offsetof(struct per_cpu_pages, high) == 64, "the short ways touch one line");
_Static_assert(sizeof(struct per_cpu_pages) == 8 * sizeof(struct list_head), "see above");
_Static_assert(PAGE_ZONE_SHIFT == PAGE_MIGRATE_SHIFT + 3 && PAGE_NODE_SHIFT == PAGE_ZONE_SHIFT + 3,
	       "node, zone and type lie side by side");

/* Frames on all lists. */
static inline int pcp_count(const struct per_cpu_pages *pcp)
{
	return pcp->high - (int)(READ_ONCE(pcp->limit) - READ_ONCE(pcp->nr_put));
}

/* Places in a CPU's array of them. */
#define PCP_INDEX(nid, type)	((unsigned int)(nid) << 3 | (unsigned int)(type))

/*
 * The phys room's hot area of a CPU. While the short ways are closed, because sites are remembered,
 * frames wiped, events announced or blocks isolated, @first and @free_to lead to lists that
 * are always empty and never have room: so they need no test for that.
 */
struct phys_hot {
	/* line 0: all that the short ways touch */
	struct per_cpu_pages *first[MAX_NR_ZONES];	/* by gfp_zone(): of the zone tried first */
	struct per_cpu_pages *free_to;	/* @pcp, or its like without room */
	struct per_cpu_pages *pcp;	/* by PCP_INDEX() */
	unsigned long virt_bias;	/* + the address of a struct page * 64: that of the frame */
	/* all else */
	struct phys *phys;
	struct pglist_data *pgdat;	/* of the CPU's node, or where its memory comes from */
	unsigned long nr_put;		/* frames put on the lists the long way, */
	unsigned long nr_taken;		/* and taken off them */
	unsigned long events[NR_VM_EVENT_ITEMS];
	long node_stat[NR_VM_NODE_STAT_ITEMS];
	void *int_active_memcg;		/* active_memcg() in interrupts */
};

_Static_assert(sizeof(struct phys_hot) <= CPU_HOT_BYTES, "phys_hot does not fit");
_Static_assert(offsetof(struct phys_hot, phys) <= 64, "the short ways touch one line");

/* The node whose zones this CPU uses first: its own, or another if that has no memory. */
int phys_node_here(void);

/* This CPU's lists back to the zones. Context: any. */
void drain_local_pages(struct zone *zone);	/* NULL: of all zones */

/* The same on each CPU. Context: interrupts on, not in an interrupt (it sends IPIs). */
void drain_all_pages(struct zone *zone);

/* CPU @cpu's lists. Context: any if it is this one, else as drain_all_pages(). */
void drain_pages(unsigned int cpu);
void drain_pages_zone(unsigned int cpu, struct zone *zone);

#endif
