/* SPDX-License-Identifier: MIT */
/*
 * pcp.c - per-CPU lists of single frames
 *
 * What it is
 *	Most requests are for one frame and most frees are of one. Each CPU keeps some frames of its
 *	node's zones and deals with its zone in batches, so that zone->lock is taken once in `batch`
 *	calls. The most recently freed frame is handed out first: it is likely still in the cache.
 *
 * Invariants
 *	I1 a frame is on a per-CPU list exactly if PG_pcp is set; it is not PG_buddy then
 *	I2 pcp->count is the number of frames on all its lists, and is below high + batch at rest
 *	I3 the list a frame is on is named by its migrate-type bits
 *
 * Locking
 *	A CPU touches its own lists only, with interrupts off; another CPU's are drained by an
 *	IPI, or directly when nothing runs on the machine (shutdown).
 *
 * Worst case
 *	high frames for each CPU and zone are free and yet not in the buddy: they do not merge. A
 *	request that may sleep drains all CPUs before it fails; an atomic one may fail.
 *
 * Unlike Linux
 *	Only order 0. Lists of another node's zones do not exist.
 */
#include <string.h>

#include <karc/hw/ipi.h>
#include "internal.h"

void pcp_init(struct phys *phys)
{
	unsigned int i;

	for_each_cpu_of(phys->machine, i) {
		struct cpu *cpu = machine_cpu(phys->machine, i);
		struct phys_hot *hot = phys_hot_of(cpu);

		memset(hot, 0, sizeof(*hot));
		hot->phys = phys;
		hot->pgdat = cpu->node < MAX_NUMNODES ? phys->nodes[cpu->node] : NULL;
		for (unsigned int nid = 0; !hot->pgdat; nid++)
			hot->pgdat = phys->nodes[nid];
		for (int type = 0; type < MAX_NR_ZONES; type++) {
			struct per_cpu_pages *pcp = &hot->pcp[type];

			pcp->high = hot->pgdat->node_zones[type].pcp_high;
			pcp->batch = hot->pgdat->node_zones[type].pcp_batch;
			for (int mt = 0; mt < MIGRATE_PCPTYPES; mt++)
				INIT_LIST_HEAD(&pcp->lists[mt]);
		}
	}
}

/* Only this CPU changes it; others read it to count free frames. */
static int pcp_count(struct per_cpu_pages *pcp, int delta)
{
	WRITE_ONCE(pcp->count, pcp->count + delta);
	return pcp->count;
}

static void mark_pcp(struct page *page, int migratetype)
{
	page_set_flags(page, (page->flags & PAGE_PLACE_MASK) | 1UL << PG_pcp |
			     (unsigned long)migratetype << PAGE_MIGRATE_SHIFT);
}

/* Up to pcp->batch frames from the zone, lowest address first. Interrupts are off. */
static void pcp_refill(struct phys *phys, struct zone *zone, struct per_cpu_pages *pcp,
		       int migratetype)
{
	spin_lock(&zone->lock);
	for (int i = 0; i < pcp->batch; i++) {
		struct page *page = zone_take_block(phys, zone, 0, migratetype);

		if (!page)
			break;
		mark_pcp(page, migratetype);
		list_add_tail(&page->pcp_list, &pcp->lists[migratetype]);
		pcp_count(pcp, 1);
	}
	spin_unlock(&zone->lock);
}

static struct page *pcp_pop(struct per_cpu_pages *pcp, int migratetype)
{
	struct page *page = list_first_entry(&pcp->lists[migratetype], struct page, pcp_list);

	list_del(&page->pcp_list);
	page_clear_flags(page);
	pcp_count(pcp, -1);
	return page;
}

/* One frame of a zone of this CPU's node, or NULL when the zone has none. */
struct page *pcp_alloc(struct zone *zone, int migratetype)
{
	struct page *page = NULL;
	struct per_cpu_pages *pcp;
	unsigned long flags;

	local_irq_save(flags);
	pcp = &phys_hot()->pcp[zone_idx(zone)];
	if (list_empty(&pcp->lists[migratetype]))
		pcp_refill(phys_here(), zone, pcp, migratetype);
	while (!list_empty(&pcp->lists[migratetype])) {
		page = pcp_pop(pcp, migratetype);
		if (likely(check_new_block(page, 0)))
			break;
		page = NULL;
	}
	local_irq_restore(flags);
	return page;
}

/* The frame that has been unused for longest, of the fullest types in turn. */
static struct page *pcp_coldest(struct per_cpu_pages *pcp, unsigned int *turn)
{
	for (;;) {
		struct list_head *list = &pcp->lists[(*turn)++ % MIGRATE_PCPTYPES];

		if (!list_empty(list))
			return list_last_entry(list, struct page, pcp_list);
	}
}

/* Move @nr frames to the zone; pcp->count is not less. Interrupts are off. */
static void pcp_give_back(struct phys *phys, struct zone *zone, struct per_cpu_pages *pcp, int nr)
{
	unsigned int turn = 0;

	spin_lock(&zone->lock);
	while (nr-- > 0) {
		struct page *page = pcp_coldest(pcp, &turn);

		list_del(&page->pcp_list);
		page_clear_flags(page);
		pcp_count(pcp, -1);
		zone_add_block(zone, page, 0, pageblock_type(phys, page_to_pfn(page)));
	}
	spin_unlock(&zone->lock);
}

/* A frame that has passed the checks of a free. */
void pcp_free(struct page *page)
{
	struct phys *phys = phys_here();
	struct per_cpu_pages *pcp;
	unsigned long flags;
	int migratetype = pageblock_type(phys, page_to_pfn(page));

	if (unlikely(migratetype >= MIGRATE_PCPTYPES ||
		     page_to_nid(page) != phys_hot()->pgdat->node_id)) {
		free_one_block(page_zone(page), page, 0);
		return;
	}
	local_irq_save(flags);
	pcp = &phys_hot()->pcp[page_zonenum(page)];
	mark_pcp(page, migratetype);
	list_add(&page->pcp_list, &pcp->lists[migratetype]);
	if (pcp_count(pcp, 1) >= pcp->high)
		pcp_give_back(phys, page_zone(page), pcp, pcp->batch);
	local_irq_restore(flags);
}

/* @cpu is this one with interrupts off, or one where nothing runs. Returns frames moved. */
unsigned long pcp_drain_cpu(struct phys *phys, struct cpu *cpu, struct zone *only)
{
	struct phys_hot *hot = phys_hot_of(cpu);
	unsigned long nr = 0;

	for (int type = 0; type < MAX_NR_ZONES; type++) {
		struct zone *zone = &hot->pgdat->node_zones[type];
		struct per_cpu_pages *pcp = &hot->pcp[type];

		if (!pcp->count || (only && only != zone))
			continue;
		nr += (unsigned long)pcp->count;
		pcp_give_back(phys, zone, pcp, pcp->count);
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
	pcp_drain_cpu(phys_here(), karc_cpu, zone);
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

void drain_pages(unsigned int cpu)
{
	pcp_drain_cpu(phys_here(), machine_cpu(karc_cpu->machine, cpu), NULL);
}
