/* SPDX-License-Identifier: MIT */
/*
 * pcp.c - per-CPU lists of single frames
 *
 * What it is
 *	Most requests are for one frame and most frees are of one. Each CPU keeps some frames of every
 *	zone and deals with the zone in batches, so that zone->lock is taken once in `batch` calls.
 *	The most recently freed frame is handed out first: it is likely still in the cache. The short
 *	ways of page_fast.h do the same without a call; what they do not do comes here.
 *
 * Objects
 *	phys.pcp_block: for each CPU per_cpu_pages[node << 3 | zone], found by phys_hot.pcp, and by
 *	per_cpu_ptr(zone->per_cpu_pageset, cpu) because cpu->room_percpu points there too
 *
 * Invariants
 *	I1 a frame is on a per-CPU list exactly if PG_pcp is set; it is not PG_buddy then
 *	I2 pcp_count() is the number of frames on all its lists, and is below high + batch at rest
 *	I3 a frame is on the list of its block's type as it was when the frame was freed, or of MOVABLE
 *	   for blocks of HIGHATOMIC; a refill puts frames on the list that asked
 *	I4 the links to the next frame are right; those to the one before only from mend_list() to the
 *	   end of the same function, for what takes from the lists' ends
 *
 * Locking
 *	A CPU touches its own lists only, with interrupts off or without a safe point in between;
 *	another CPU's are drained by an IPI, or directly when nothing runs on it.
 *
 * Worst case
 *	high frames for each CPU and zone are free and yet not in the buddy: they do not merge. Giving
 *	some back walks all of them once, which is why it gives back more each time. A request
 *	that may sleep drains all CPUs before it fails; an atomic one may fail.
 *
 * Unlike Linux
 *	Only order 0. pcp->lock is not taken here. A frame on the list is handed out even if its zone
 *	is below its low mark: it is free already, the zone does not get smaller by it.
 */
#include <string.h>

#include <karc/base/hostmem.h>
#include <karc/hw/ipi.h>
#include <karc/mm/phys/page_fast.h>
#include "internal.h"

#define PCP_NR		PCP_INDEX(MAX_NUMNODES, 0)
#define PCP_BYTES	(2 * PCP_NR * sizeof(struct per_cpu_pages))	/* ones without room too */

static_assert(PCP_BYTES <= PERCPU_ROOM_BYTES, "the lists do not fit their range");

static size_t block_bytes(const struct phys *phys)
{
	return PCP_BYTES * machine_nr_cpus(phys->machine);
}

static void lists_init(const struct phys *phys, struct per_cpu_pages *pcps)
{
	for (unsigned int i = 0; i < 2 * PCP_NR; i++) {
		const struct pglist_data *pgdat = i < PCP_NR ? phys->nodes[i >> 3] : NULL;
		struct per_cpu_pages *pcp = &pcps[i];

		spin_lock_init(&pcp->lock);
		for (int mt = 0; mt < NR_PCP_LISTS; mt++)
			INIT_LIST_HEAD(&pcp->lists[mt]);
		if (!pgdat || (i & 7) >= MAX_NR_ZONES)
			continue;
		pcp->high = pgdat->node_zones[i & 7].pageset_high;
		pcp->limit = (u64)pcp->high;
		pcp->batch = pgdat->node_zones[i & 7].pageset_batch;
	}
}

/* Where each kind of request looks first; lists of no zone are always empty. */
static struct per_cpu_pages *first_of(const struct phys_hot *hot, int type)
{
	const struct zoneref *z = hot->pgdat->node_zonelists[ZONELIST_FALLBACK]._zonerefs;

	while (z->zone && z->zone_idx > type)
		z++;
	if (!z->zone || z->zone->zone_pgdat != hot->pgdat)
		return &hot->pcp[PCP_NR];
	return &hot->pcp[PCP_INDEX(hot->pgdat->node_id, z->zone_idx)];
}

/* Open the short ways of all CPUs, or close them, for what there is now. Frames stay where they are. */
static void open_short_ways(struct phys *phys, bool open)
{
	unsigned int i;

	for_each_cpu_of(phys->machine, i) {
		struct phys_hot *hot = phys_hot_of(machine_cpu(phys->machine, i));

		WRITE_ONCE(hot->free_to, open ? hot->pcp : &hot->pcp[PCP_NR]);
		for (int type = 0; type < MAX_NR_ZONES; type++)
			WRITE_ONCE(hot->first[type],
				   open ? first_of(hot, type) : &hot->pcp[PCP_NR]);
	}
}

/*
 * Are the short ways open? Closed while sites are remembered, frames wiped, events announced, or
 * blocks isolated, whose frames must not go to the lists.
 */
void pcp_update_short_ways(struct phys *phys, u32 traced, int nr_isolated)
{
	const u32 ours = TRACE_BIT(TRACE_MM_PAGE_ALLOC) | TRACE_BIT(TRACE_MM_PAGE_FREE);
	unsigned long flags;

	spin_lock_irqsave(&phys->short_lock, flags);
	if (traced != PCP_SAME_TRACING)
		phys->traced = traced & ours;
	phys->nr_isolated += nr_isolated;
	open_short_ways(phys, !phys->track && !content_is_watched(phys) && !phys->traced &&
			      !phys->nr_isolated);
	spin_unlock_irqrestore(&phys->short_lock, flags);
}

int pcp_init(struct phys *phys)
{
	unsigned int i;

	phys->pcp_block = hostmem_map(machine_hostmem(phys->machine), block_bytes(phys));
	if (!phys->pcp_block)
		return -ENOMEM;
	for_each_cpu_of(phys->machine, i) {
		struct cpu *cpu = machine_cpu(phys->machine, i);
		struct phys_hot *hot = phys_hot_of(cpu);

		memset(hot, 0, sizeof(*hot));
		hot->phys = phys;
		hot->virt_bias = (unsigned long)cpu->arena -
				 ((unsigned long)cpu->memmap << PAGE_FAST_SHIFT);
		hot->pcp = phys->pcp_block + 2 * i * PCP_NR;
		cpu->room_percpu = (char *)hot->pcp;
		hot->pgdat = cpu->node < MAX_NUMNODES ? phys->nodes[cpu->node] : NULL;
		for (unsigned int nid = 0; !hot->pgdat; nid++)
			hot->pgdat = phys->nodes[nid];
		lists_init(phys, hot->pcp);
	}
	pcp_update_short_ways(phys, 0, 0);
	return 0;
}

void pcp_exit(struct phys *phys)
{
	unsigned int i;

	for_each_cpu_of(phys->machine, i) {
		phys_hot_of(machine_cpu(phys->machine, i))->pcp = NULL;
		machine_cpu(phys->machine, i)->room_percpu = NULL;
	}
	hostmem_unmap(machine_hostmem(phys->machine), phys->pcp_block, block_bytes(phys));
	phys->pcp_block = NULL;
}

/* Only this CPU changes it; others read it to count free frames. */
static void count_put(struct per_cpu_pages *pcp)
{
	phys_hot()->nr_put++;
	WRITE_ONCE(pcp->nr_put, pcp->nr_put + 1);
}

static void count_taken(struct per_cpu_pages *pcp)
{
	phys_hot()->nr_taken++;
	WRITE_ONCE(pcp->limit, pcp->limit + 1);
}

static void mark_pcp(struct phys *phys, struct page *page)
{
	page_set_flags(page, (page->flags & PAGE_PLACE_MASK) | 1UL << PG_pcp |
			     page_type_bits(phys, page));
}

/* I4. */
static void mend_list(struct list_head *list)
{
	struct list_head *at = list, *next;

	do {
		next = at->next;
		next->prev = at;
		at = next;
	} while (at != list);
}

/*
 * Up to @nr frames from the zone, lowest address first. What shows a trace of an owner is found
 * here; the short way does not look. Interrupts are off.
 */
static void pcp_refill(struct phys *phys, struct zone *zone, struct per_cpu_pages *pcp,
		       int migratetype, unsigned int alloc_flags, int nr)
{
	pcp->free_factor >>= 1;
	mend_list(&pcp->lists[migratetype]);
	spin_lock(&zone->lock);
	while (nr-- > 0) {
		struct page *page = zone_take_block(phys, zone, 0, migratetype, alloc_flags);

		if (!page)
			break;
		if (unlikely(!check_new_block(page, 0)))
			continue;
		mark_pcp(phys, page);
		list_add_tail(&page->pcp_list, &pcp->lists[migratetype]);
		count_put(pcp);
	}
	spin_unlock(&zone->lock);
}

/* Not list_del(): see I4. */
static struct page *pcp_pop(struct per_cpu_pages *pcp, int migratetype)
{
	struct list_head *list = &pcp->lists[migratetype];
	struct page *page = list_first_entry(list, struct page, pcp_list);

	list->next = page->pcp_list.next;
	page_clear_flags(page);
	count_taken(pcp);
	return page;
}

/* A frame that shows no trace of an owner, after at most one refill of @nr. Interrupts are off. */
static struct page *pcp_take(struct phys *phys, struct zone *zone, int migratetype,
			     unsigned int alloc_flags, int nr)
{
	struct per_cpu_pages *pcp = pcp_of(karc_cpu, zone);

	if (list_empty(&pcp->lists[migratetype]))
		pcp_refill(phys, zone, pcp, migratetype, alloc_flags, nr);
	while (!list_empty(&pcp->lists[migratetype])) {
		struct page *page = pcp_pop(pcp, migratetype);

		if (likely(check_new_block(page, 0)))
			return page;
	}
	return NULL;
}

/* One frame of a zone, or NULL when the zone has none. */
struct page *pcp_alloc(struct zone *zone, int migratetype, unsigned int alloc_flags)
{
	struct page *page;
	unsigned long flags;

	local_irq_save(flags);
	page = pcp_take(phys_here(), zone, migratetype, alloc_flags,
			pcp_of(karc_cpu, zone)->batch);
	local_irq_restore(flags);
	return page;
}

/* Up to @nr frames of a zone, with few visits to it, added to the end of @taken. */
unsigned long pcp_alloc_many(struct zone *zone, int migratetype, unsigned int alloc_flags,
			     unsigned long nr, struct list_head *taken)
{
	struct phys *phys = phys_here();
	unsigned long flags, got = 0;

	local_irq_save(flags);
	while (got < nr) {
		int batch = (int)min(nr - got, 512UL);
		struct page *page = pcp_take(phys, zone, migratetype, alloc_flags,
					     max(batch, pcp_of(karc_cpu, zone)->batch));

		if (!page)
			break;
		list_add_tail(&page->lru, taken);
		got++;
	}
	local_irq_restore(flags);
	return got;
}

/* The frame that has been unused for longest, of the types in turn. */
static struct page *pcp_coldest(struct per_cpu_pages *pcp, unsigned int *turn)
{
	for (;;) {
		struct list_head *list = &pcp->lists[(*turn)++ % NR_PCP_LISTS];

		if (!list_empty(list))
			return list_last_entry(list, struct page, pcp_list);
	}
}

/* Move @nr frames to the zone; there are not less. Interrupts are off. */
static void pcp_give_back(struct phys *phys, struct zone *zone, struct per_cpu_pages *pcp, int nr)
{
	unsigned int turn = 0;

	for (int mt = 0; mt < NR_PCP_LISTS; mt++)
		mend_list(&pcp->lists[mt]);
	spin_lock(&zone->lock);
	while (nr-- > 0) {
		struct page *page = pcp_coldest(pcp, &turn);

		list_del(&page->pcp_list);
		page_clear_flags(page);
		count_taken(pcp);
		zone_add_block(zone, page, 0, pageblock_type(phys, page_to_pfn(page)));
	}
	spin_unlock(&zone->lock);
}

/* How many to move: more each time, as long as nothing but frees comes. */
static int nr_to_give_back(struct per_cpu_pages *pcp)
{
	const int most = max(pcp->high - pcp->batch, pcp->batch);
	int nr = pcp->batch << pcp->free_factor;

	if (nr < most)
		pcp->free_factor++;
	return min(min(nr, most), pcp_count(pcp));
}

/* A frame that has passed the checks of a free. */
void pcp_free(struct page *page)
{
	struct phys *phys = phys_here();
	struct zone *zone = page_zone(page);
	int migratetype = pageblock_type(phys, page_to_pfn(page));
	struct per_cpu_pages *pcp;
	unsigned long flags;

	if (unlikely(is_migrate_isolate(migratetype))) {
		free_one_block(zone, page, 0);
		return;
	}
	if (unlikely(is_migrate_highatomic(migratetype)))
		migratetype = MIGRATE_MOVABLE;
	local_irq_save(flags);
	pcp = pcp_of(karc_cpu, zone);
	mark_pcp(phys, page);
	page->pcp_list.next = pcp->lists[migratetype].next;
	pcp->lists[migratetype].next = &page->pcp_list;
	count_put(pcp);
	if (pcp_count(pcp) >= pcp->high)
		pcp_give_back(phys, zone, pcp, nr_to_give_back(pcp));
	local_irq_restore(flags);
}

/* @cpu is this one with interrupts off, or one where nothing runs. Returns frames moved. */
static unsigned long drain_cpu(struct phys *phys, struct cpu *cpu, struct zone *only)
{
	unsigned long nr = 0;

	for (unsigned int i = 0; i < PCP_NR; i++) {
		struct pglist_data *pgdat = phys->nodes[i >> 3];
		struct per_cpu_pages *pcp = &phys_hot_of(cpu)->pcp[i];
		struct zone *zone;

		if (!pgdat) {
			i |= 7;
			continue;
		}
		if (!pcp_count(pcp))
			continue;
		zone = &pgdat->node_zones[i & 7];
		if (only && only != zone)
			continue;
		nr += (unsigned long)pcp_count(pcp);
		pcp_give_back(phys, zone, pcp, pcp_count(pcp));
	}
	return nr;
}

int phys_node_here(void)
{
	return phys_hot()->pgdat->node_id;
}

void drain_local_pages(struct zone *zone)
{
	unsigned long flags;

	local_irq_save(flags);
	drain_cpu(phys_here(), karc_cpu, zone);
	local_irq_restore(flags);
}

static void drain_on_cpu(void *info)
{
	drain_local_pages(info);
}

void drain_all_pages(struct zone *zone)
{
	if (machine_nr_cpus(karc_cpu->machine) == 1)
		drain_local_pages(zone);
	else
		on_each_cpu(drain_on_cpu, zone, 1);
}

void drain_pages_zone(unsigned int cpu, struct zone *zone)
{
	if (cpu == smp_processor_id())
		drain_local_pages(zone);
	else
		smp_call_function_single((int)cpu, drain_on_cpu, zone, 1);
}

void drain_pages(unsigned int cpu)
{
	drain_pages_zone(cpu, NULL);
}
