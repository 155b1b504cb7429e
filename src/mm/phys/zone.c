/* SPDX-License-Identifier: MIT */
/*
 * zone.c - nodes, zones and their free lists: the buddy system itself
 *
 * What it is
 *	A zone keeps its free frames in blocks of 2^order frames that are aligned to their size.
 *	Each block has one buddy: the block that differs in bit `order` of the number of its first
 *	frame. A request takes the smallest block that is large enough and puts the halves it does
 *	not need back; a freed block swallows its buddy as long as that is free and as large.
 *
 * Objects
 *	struct phys -> pglist_data (a node) -> zone[5] -> free_area[order].free_list[type]
 *	-> page.buddy_list of the first frame of each free block
 *	phys.pageblock: the migrate type of each 4 MiB block, which is where its frames go when they
 *	are freed; the list they were taken from may be another's (fallback, see pageblock.c)
 *
 * Invariants
 *	I1 a frame is on a zone's list exactly if PG_buddy is set; page->private is its order
 *	I2 a free block is aligned to its size and lies in one zone
 *	I3 two buddies of the same order are never both free
 *	I4 NR_FREE_PAGES is the number of frames on the lists, but for those of MIGRATE_ISOLATE,
 *	   which nr_isolated_free counts; nr_free counts the blocks
 *	I5 a free block's migrate-type bits name the list it is on
 *	I6 a free frame has no reference, no mapping, no flag but PG_buddy or PG_pcp
 *
 * Locking
 *	lists, NR_FREE_PAGES, pageblock types	read and write under zone->lock (LR_ZONE, irqs off)
 *	NR_FREE_PAGES, nr_free, list heads	may be read without: a watermark is a guess anyway
 *	page->flags of any frame		the owner's; read by whoever looks for a free buddy,
 *						who believes PG_buddy only with his zone's bits
 *	everything else				constant after boot
 *
 * Life
 *	Boot puts whole blocks of each bank on the lists and touches only their first struct page.
 *	A frame's zone and node bits are written when it first heads a block or is first allocated.
 *
 * Worst case
 *	Taking or freeing a block: MAX_ORDER steps.
 *
 * Unlike Linux
 *	Frame 0 is never given out. There is no CMA; page blocks are of the largest order; zones do
 *	not change at run time. A toy machine keeps at most one frame in 32 for its watermarks.
 */
#include <karc/base/hostmem.h>
#include <karc/base/log.h>
#include "internal.h"

/* Linux's sysctl_lowmem_reserve_ratio: one frame in so many of the zones above is kept. */
static const int lowmem_reserve_ratio[MAX_NR_ZONES] = {
	[ZONE_DMA] = 256,
	[ZONE_DMA32] = 256,
	[ZONE_NORMAL] = 32,
	[ZONE_HIGHMEM] = 0,
	[ZONE_MOVABLE] = 0,
};

static const char *const zone_names[MAX_NR_ZONES] = {
	[ZONE_DMA] = "DMA",
	[ZONE_DMA32] = "DMA32",
	[ZONE_NORMAL] = "Normal",
	[ZONE_HIGHMEM] = "HighMem",
	[ZONE_MOVABLE] = "Movable",
};

struct pglist_data *node_data(int nid)
{
	return (unsigned int)nid < MAX_NUMNODES ? phys_here()->nodes[nid] : NULL;
}

int phys_isolated_node(void)
{
	return phys_here()->fenced_node;
}

struct pglist_data *node_by_index(unsigned int i)
{
	const struct phys *phys = phys_here();

	for (unsigned int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (phys->nodes[nid] && i-- == 0)
			return phys->nodes[nid];
	}
	return NULL;
}

/* I4. Once for each change, so that who reads without the lock never sees too few. */
void zone_count_free(struct zone *zone, int migratetype, long delta)
{
	if (unlikely(is_migrate_isolate(migratetype)))
		zone->nr_isolated_free += (unsigned long)delta;
	else
		WRITE_ONCE(zone->vm_stat[NR_FREE_PAGES], zone->vm_stat[NR_FREE_PAGES] + delta);
}

/* Read without the lock when a watermark is looked at. */
static void area_count(struct free_area *area, long delta)
{
	WRITE_ONCE(area->nr_free, area->nr_free + (unsigned long)delta);
}

/* Put a block on its list as it is; no merging. */
void zone_list_block(struct zone *zone, struct page *page, unsigned int order, int migratetype)
{
	page->private = order;
	page_set_flags(page, zone_page_flags(zone) | 1UL << PG_buddy |
			     (unsigned long)migratetype << PAGE_MIGRATE_SHIFT);
	list_add(&page->buddy_list, &zone->free_area[order].free_list[migratetype]);
	area_count(&zone->free_area[order], 1);
}

void zone_unlist_block(struct zone *zone, struct page *page, unsigned int order)
{
	list_del(&page->buddy_list);
	page_set_flags(page, zone_page_flags(zone));
	page->private = 0;
	area_count(&zone->free_area[order], -1L);
}

/* Is the block at @pfn free, of this order, in this zone? */
static bool block_is_free(struct zone *zone, const struct page *page, unsigned long pfn,
			  unsigned int order)
{
	const unsigned long place = PAGE_PLACE_MASK | 1UL << PG_buddy;

	return zone_spans_pfn(zone, pfn) &&
	       (READ_ONCE(page->flags) & place) == (zone_page_flags(zone) | 1UL << PG_buddy) &&
	       buddy_order(page) == order;
}

/* Give a block to its zone, merged with its buddies. I3, I4. */
void zone_add_block(struct zone *zone, struct page *page, unsigned int order, int migratetype)
{
	unsigned long pfn = page_to_pfn(page);

	VM_BUG_ON(!IS_ALIGNED(pfn, 1UL << order));
	zone_count_free(zone, migratetype, 1L << order);
	while (order < MAX_ORDER - 1) {
		unsigned long buddy_pfn = pfn ^ 1UL << order;
		struct page *buddy = page + (long)(buddy_pfn - pfn);

		if (!block_is_free(zone, buddy, buddy_pfn, order))
			break;
		zone_unlist_block(zone, buddy, order);
		page += (long)((buddy_pfn & pfn) - pfn);
		pfn &= buddy_pfn;
		order++;
	}
	zone_list_block(zone, page, order, migratetype);
}

/* Take a block off a list of order @high and give back the halves beyond @low. */
static struct page *split_block(struct zone *zone, struct page *page, unsigned int high,
				unsigned int low, int migratetype)
{
	zone_unlist_block(zone, page, high);
	zone_count_free(zone, migratetype, -(1L << low));
	while (high > low) {
		high--;
		zone_list_block(zone, page + (1UL << high), high, migratetype);
	}
	return page;
}

/* From the smallest block of this type that is large enough, or NULL. */
struct page *zone_take_smallest(struct zone *zone, unsigned int order, int migratetype)
{
	for (unsigned int high = order; high < MAX_ORDER; high++) {
		struct free_area *area = &zone->free_area[high];
		struct page *page = list_first_entry_or_null(&area->free_list[migratetype],
							     struct page, buddy_list);

		if (page)
			return split_block(zone, page, high, order, migratetype);
	}
	return NULL;
}

static bool has_block(const struct zone *zone, unsigned int order, unsigned int alloc_flags)
{
	const int end = alloc_flags & (ALLOC_HARDER | ALLOC_OOM) ? MIGRATE_HIGHATOMIC + 1 :
			MIGRATE_PCPTYPES;

	for (; order < MAX_ORDER; order++) {
		const struct free_area *area = &zone->free_area[order];

		if (!READ_ONCE(area->nr_free))
			continue;
		for (int type = 0; type < end; type++) {
			if (!list_empty(&area->free_list[type]))
				return true;
		}
	}
	return false;
}

bool zone_watermark_ok(struct zone *zone, unsigned int order, unsigned long mark,
		       int highest_zoneidx, unsigned int alloc_flags)
{
	long free = READ_ONCE(zone->vm_stat[NR_FREE_PAGES]) - ((1L << order) - 1);
	long min = (long)mark;

	if (!(alloc_flags & (ALLOC_HARDER | ALLOC_OOM)))
		free -= (long)READ_ONCE(zone->nr_reserved_highatomic);
	if (alloc_flags & ALLOC_HIGH)
		min -= min / 2;
	if (alloc_flags & ALLOC_OOM)
		min -= min / 2;
	else if (alloc_flags & ALLOC_HARDER)
		min -= min / 4;
	if (free <= min + zone->lowmem_reserve[highest_zoneidx])
		return false;
	return order == 0 || has_block(zone, order, alloc_flags);
}

/* Which zone a bank lies in; hw cuts banks at the boundaries. */
enum zone_type phys_bank_zone(const struct machine *m, const struct machine_bank *bank)
{
	const struct machine_config *c = machine_config(m);

	if (physmem_pfn_is_highmem(m, (unsigned long)(bank->start >> PAGE_SHIFT)))
		return ZONE_HIGHMEM;
	if (c->movable_start && bank->start >= c->movable_start)
		return ZONE_MOVABLE;
	if (bank->start < c->dma_end)
		return ZONE_DMA;
	return bank->start < c->dma32_end ? ZONE_DMA32 : ZONE_NORMAL;
}

static void zone_init(struct pglist_data *pgdat, enum zone_type type)
{
	struct zone *zone = &pgdat->node_zones[type];

	zone->name = zone_names[type];
	zone->per_cpu_pageset = (struct per_cpu_pages *)
		(PERCPU_ROOM_BASE +
		 PCP_INDEX(pgdat->node_id, type) * sizeof(struct per_cpu_pages));
	zone->node = pgdat->node_id;
	zone->zone_pgdat = pgdat;
	spin_lock_init_rank(&zone->lock, LR_ZONE);
	for (unsigned int order = 0; order < MAX_ORDER; order++) {
		for (int mt = 0; mt < MIGRATE_TYPES; mt++)
			INIT_LIST_HEAD(&zone->free_area[order].free_list[mt]);
	}
}

static struct pglist_data *node_make(struct phys *phys, unsigned int nid)
{
	struct pglist_data *pgdat = phys->nodes[nid];

	if (pgdat)
		return pgdat;
	/* Mapped, not allocated: a zone's lock has a cache line of its own. */
	pgdat = hostmem_map(machine_hostmem(phys->machine), sizeof(*pgdat));
	if (!pgdat)
		return NULL;
	pgdat->node_id = (int)nid;
	for (enum zone_type type = 0; type < MAX_NR_ZONES; type++)
		zone_init(pgdat, type);
	phys->nodes[nid] = pgdat;
	phys->nr_nodes++;
	return pgdat;
}

/* Widen a span [*start, *start + *nr) to hold another. */
static void span_add(unsigned long *start, unsigned long *nr, unsigned long pfn,
		     unsigned long nr_pages)
{
	unsigned long end = max(*start + *nr, pfn + nr_pages);

	if (!*nr || pfn < *start)
		*start = pfn;
	*nr = end - *start;
}

static int bank_add(struct phys *phys, const struct machine_bank *bank)
{
	unsigned long pfn = (unsigned long)(bank->start >> PAGE_SHIFT);
	unsigned long nr = (unsigned long)(bank->size >> PAGE_SHIFT);
	struct pglist_data *pgdat = node_make(phys, bank->node);
	struct zone *zone;

	if (!pgdat)
		return -ENOMEM;
	zone = &pgdat->node_zones[phys_bank_zone(phys->machine, bank)];
	span_add(&zone->zone_start_pfn, &zone->spanned_pages, pfn, nr);
	span_add(&pgdat->node_start_pfn, &pgdat->node_spanned_pages, pfn, nr);
	zone->present_pages += nr;
	zone->managed_pages += nr - (pfn == 0);
	pgdat->node_present_pages += nr;
	return 0;
}

/* Free a bank in the largest blocks that fit; only their first struct pages are touched. */
static void bank_free(struct phys *phys, const struct machine_bank *bank)
{
	unsigned long pfn = (unsigned long)(bank->start >> PAGE_SHIFT);
	unsigned long end = pfn + (unsigned long)(bank->size >> PAGE_SHIFT);
	struct pglist_data *pgdat = phys->nodes[bank->node];
	struct zone *zone = &pgdat->node_zones[phys_bank_zone(phys->machine, bank)];

	if (pfn == 0) {
		struct page *page = pfn_to_page(0);

		page->flags = zone_page_flags(zone) | 1UL << PG_reserved;
		set_page_count(page, 1);
		pfn = 1;
	}
	while (pfn < end) {
		unsigned long order = min3(MAX_ORDER - 1UL, __ffs(pfn),
					   (unsigned long)ilog2(end - pfn));

		zone_add_block(zone, pfn_to_page(pfn), (unsigned int)order,
			       MIGRATE_MOVABLE);
		pfn += 1UL << order;
	}
}

static unsigned int zonelist_add(struct zonelist *list, unsigned int nr,
				 struct pglist_data *pgdat)
{
	for (int type = MAX_NR_ZONES - 1; type >= 0; type--) {
		struct zone *zone = &pgdat->node_zones[type];

		if (zone->managed_pages)
			list->_zonerefs[nr++] = (struct zoneref){ zone, type };
	}
	return nr;
}

/* Own zones first, highest first; then the other nodes', in order of their distance in number. */
static void zonelists_build(struct phys *phys, struct pglist_data *pgdat)
{
	struct zonelist *all = &pgdat->node_zonelists[ZONELIST_FALLBACK];
	unsigned int nr;

	zonelist_add(&pgdat->node_zonelists[ZONELIST_NOFALLBACK], 0, pgdat);
	nr = zonelist_add(all, 0, pgdat);
	for (unsigned int i = 1; i < MAX_NUMNODES; i++) {
		struct pglist_data *other = phys->nodes[(pgdat->node_id + i) % MAX_NUMNODES];

		if (other && other->node_id != phys->fenced_node)
			nr = zonelist_add(all, nr, other);
	}
}

static unsigned long isqrt(unsigned long n)
{
	unsigned long root = 0;

	for (unsigned long bit = 1UL << 31; bit; bit >>= 1) {
		if ((root + bit) * (root + bit) <= n)
			root += bit;
	}
	return root;
}

/* Linux's init_per_zone_wmark_min(): 4 * sqrt(lowmem in KiB), 128 KiB .. 256 MiB. */
static unsigned long min_free_pages(const struct phys *phys)
{
	unsigned long lowmem = 0, kib;

	for (unsigned int nid = 0; nid < MAX_NUMNODES; nid++) {
		for (int type = 0; phys->nodes[nid] && type < MAX_NR_ZONES; type++) {
			if (type != ZONE_HIGHMEM)
				lowmem += phys->nodes[nid]->node_zones[type].managed_pages;
		}
	}
	kib = isqrt((lowmem << (PAGE_SHIFT - 10)) * 16);
	/* A toy machine must not spend its memory on a reserve: at most one frame in 32. */
	return min(clamp(kib, 128UL, 262144UL) >> (PAGE_SHIFT - 10), lowmem / 32);
}

static unsigned int cpus_of_node(const struct phys *phys, int nid)
{
	unsigned int nr = 0, i;

	for_each_cpu_of(phys->machine, i)
		nr += machine_cpu(phys->machine, i)->node == (unsigned int)nid;
	return nr ? nr : machine_nr_cpus(phys->machine);
}

/* Linux's zone_batchsize() and zone_highsize(): all CPUs together hoard as much as the low mark. */
static void zone_set_pageset(const struct phys *phys, struct zone *zone)
{
	unsigned long batch = min(zone->managed_pages / 1024, (1UL << 20) / PAGE_SIZE) / 4;
	unsigned long high = low_wmark_pages(zone) / cpus_of_node(phys, zone->node);

	/* One less than a power of two, which users' own powers do not beat with. */
	batch = batch ? batch : 1;
	zone->pageset_batch = (int)rounddown_pow_of_two(batch + batch / 2);
	if (zone->pageset_batch > 1)
		zone->pageset_batch--;
	zone->pageset_high = max((int)high, 4 * zone->pageset_batch);
}

static void zone_set_limits(const struct phys *phys, struct zone *zone, unsigned long share)
{
	unsigned long step = max(share / 4, zone->managed_pages / 1000);

	zone->_watermark[WMARK_MIN] = share;
	zone->_watermark[WMARK_LOW] = share + step;
	zone->_watermark[WMARK_HIGH] = share + 2 * step;
	zone_set_pageset(phys, zone);
}

/* Watermarks in proportion to size, and what lower zones keep from requests for higher ones. */
static void node_set_limits(const struct phys *phys, struct pglist_data *pgdat)
{
	unsigned long min_free = min_free_pages(phys), lowmem = 0;
	unsigned long managed[MAX_NR_ZONES];

	for (unsigned int nid = 0; nid < MAX_NUMNODES; nid++) {
		for (int type = 0; phys->nodes[nid] && type < MAX_NR_ZONES; type++) {
			if (type != ZONE_HIGHMEM)
				lowmem += phys->nodes[nid]->node_zones[type].managed_pages;
		}
	}
	for (int type = 0; type < MAX_NR_ZONES; type++) {
		struct zone *zone = &pgdat->node_zones[type];

		managed[type] = zone->managed_pages;
		if (type == ZONE_HIGHMEM)
			zone_set_limits(phys, zone, clamp(managed[type] / 1024, 0UL, 128UL));
		else
			zone_set_limits(phys, zone,
					lowmem ? min_free * managed[type] / lowmem : 0);
	}
	for (int type = 0; type < MAX_NR_ZONES; type++) {
		unsigned long above = 0;

		for (int high = type + 1; high < MAX_NR_ZONES; high++) {
			above += managed[high];
			if (lowmem_reserve_ratio[type])
				pgdat->node_zones[type].lowmem_reserve[high] =
					(long)(above / (unsigned long)lowmem_reserve_ratio[type]);
		}
	}
}

void zones_exit(struct phys *phys)
{
	for (unsigned int nid = 0; nid < MAX_NUMNODES; nid++) {
		hostmem_unmap(machine_hostmem(phys->machine), phys->nodes[nid],
			      sizeof(*phys->nodes[nid]));
		phys->nodes[nid] = NULL;
	}
}

/* Every CPU's node must exist: a CPU of a node without memory uses node 0's zones. */
int zones_init(struct phys *phys)
{
	struct machine_bank bank;
	unsigned int i;

	for (i = 0; physmem_bank(phys->machine, i, &bank); i++) {
		if (bank_add(phys, &bank)) {
			zones_exit(phys);
			return -ENOMEM;
		}
	}
	for (i = 0; i < (phys->max_pfn >> pageblock_order) + 1; i++)
		phys->pageblock[i] = MIGRATE_MOVABLE;
	for (i = 0; physmem_bank(phys->machine, i, &bank); i++)
		bank_free(phys, &bank);
	for (i = 0; i < MAX_NUMNODES; i++) {
		if (phys->nodes[i]) {
			zonelists_build(phys, phys->nodes[i]);
			node_set_limits(phys, phys->nodes[i]);
		}
	}
	return 0;
}
