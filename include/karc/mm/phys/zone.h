/* SPDX-License-Identifier: MIT */
/*
 * zone.h - which frames serve which request: nodes, zones, free areas, watermarks
 *
 * Model: Linux 6.1 <linux/mmzone.h>.
 */
#ifndef KARC_MM_PHYS_ZONE_H
#define KARC_MM_PHYS_ZONE_H

#include <karc/hw/machine.h>
#include <karc/hw/topology.h>
#include <karc/mm/phys/page.h>

/* Orders are 0 .. MAX_ORDER - 1 (as up to Linux 6.2); MAX_PAGE_ORDER is the largest one. */
#define MAX_ORDER		11
#define MAX_PAGE_ORDER		(MAX_ORDER - 1)
#define MAX_ORDER_NR_PAGES	(1UL << (MAX_ORDER - 1))

/* Frames change their migrate type in blocks of this order. */
#define pageblock_order		(MAX_ORDER - 1)
#define pageblock_nr_pages	(1UL << pageblock_order)

enum zone_type {
	ZONE_DMA,		/* below machine_config.dma_end: 24-bit devices */
	ZONE_DMA32,		/* below machine_config.dma32_end */
	ZONE_NORMAL,
	ZONE_HIGHMEM,		/* no direct map */
	ZONE_MOVABLE,		/* only for what can be moved away */
	__MAX_NR_ZONES
};
#define MAX_NR_ZONES		__MAX_NR_ZONES

enum migratetype {
	MIGRATE_UNMOVABLE,
	MIGRATE_MOVABLE,
	MIGRATE_RECLAIMABLE,
	MIGRATE_PCPTYPES,	/* so many kinds have per-CPU lists */
	MIGRATE_HIGHATOMIC = MIGRATE_PCPTYPES,	/* kept for blocks that atomic requests want */
	MIGRATE_ISOLATE,	/* never allocated from */
	MIGRATE_TYPES
};

#define migratetype_is_mergeable(mt)	((mt) < MIGRATE_PCPTYPES)
#define is_migrate_highatomic(mt)	((mt) == MIGRATE_HIGHATOMIC)
#define is_migrate_isolate(mt)		((mt) == MIGRATE_ISOLATE)

enum zone_watermarks { WMARK_MIN, WMARK_LOW, WMARK_HIGH, NR_WMARK };

enum zone_stat_item { NR_FREE_PAGES, NR_VM_ZONE_STAT_ITEMS };

struct free_area {
	struct list_head free_list[MIGRATE_TYPES];
	unsigned long nr_free;
};

struct zone {
	/* constant after boot */
	unsigned long _watermark[NR_WMARK];	/* pages */
	long lowmem_reserve[MAX_NR_ZONES];	/* pages kept from requests for zone [i] */
	int node;
	int pageset_high, pageset_batch;	/* pages per CPU: at most, and moved at once */
	struct per_cpu_pages *per_cpu_pageset;	/* for per_cpu_ptr() and this_cpu_ptr(), pcp.h */
	struct pglist_data *zone_pgdat;
	const char *name;
	unsigned long zone_start_pfn;
	unsigned long spanned_pages;		/* holes included */
	unsigned long present_pages;
	unsigned long managed_pages;		/* given to the buddy at boot */

	/* lock */
	__attribute__((aligned(64))) spinlock_t lock;
	struct free_area free_area[MAX_ORDER];
	/* written under lock, read by anybody */
	long vm_stat[NR_VM_ZONE_STAT_ITEMS];
	unsigned long nr_fallbacks;		/* allocations from another type's list */
	unsigned long nr_reserved_highatomic;	/* pages in blocks of MIGRATE_HIGHATOMIC */
	unsigned long nr_isolate_pageblock;	/* blocks of MIGRATE_ISOLATE, ... */
	unsigned long nr_isolated_free;		/* ... and their free pages: not in NR_FREE_PAGES */
};

struct zoneref {
	struct zone *zone;
	int zone_idx;
};

/* Zones to try, best first; ends with a NULL zone. */
struct zonelist {
	struct zoneref _zonerefs[MAX_NUMNODES * MAX_NR_ZONES + 1];
};

enum { ZONELIST_FALLBACK, ZONELIST_NOFALLBACK, MAX_ZONELISTS };

/* Counters of a node; what the rooms above count. */
enum node_stat_item {
	NR_ANON_MAPPED,			/* pages */
	NR_FILE_MAPPED,
	NR_FILE_PAGES,
	NR_FILE_DIRTY,			/* not those of shared memory: nothing is written back */
	NR_SHMEM,
	NR_PAGETABLE,
	NR_SLAB_RECLAIMABLE_B,		/* bytes */
	NR_SLAB_UNRECLAIMABLE_B,
	NR_KERNEL_STACK_KB,
	NR_VMALLOC_PAGES,
	NR_VM_NODE_STAT_ITEMS
};

typedef struct pglist_data {
	struct zone node_zones[MAX_NR_ZONES];
	struct zonelist node_zonelists[MAX_ZONELISTS];
	int node_id;
	unsigned long node_start_pfn;
	unsigned long node_present_pages;
	unsigned long node_spanned_pages;
	/* What CPUs of other nodes counted; the rest is in the CPUs' hot areas (vmstat.h). */
	atomic_long_t vm_stat[NR_VM_NODE_STAT_ITEMS];
} pg_data_t;

/* The node's data, or NULL if the machine has no such node. */
struct pglist_data *node_data(int nid);
#define NODE_DATA(nid) node_data(nid)

/* Node @i in ascending order of its number, or NULL: for loops over all nodes. */
struct pglist_data *node_by_index(unsigned int i);

#define for_each_online_pgdat(pgdat) \
	for (unsigned int karc_i_ = 0; ((pgdat) = node_by_index(karc_i_)) != NULL; karc_i_++)

#define zone_idx(zone)	((int)((zone) - (zone)->zone_pgdat->node_zones))
#define min_wmark_pages(z)	((z)->_watermark[WMARK_MIN])
#define low_wmark_pages(z)	((z)->_watermark[WMARK_LOW])
#define high_wmark_pages(z)	((z)->_watermark[WMARK_HIGH])

static inline unsigned long zone_managed_pages(const struct zone *zone)
{
	return zone->managed_pages;
}

static inline bool populated_zone(const struct zone *zone)
{
	return zone->present_pages != 0;
}

static inline bool managed_zone(const struct zone *zone)
{
	return zone->managed_pages != 0;
}

static inline unsigned long zone_end_pfn(const struct zone *zone)
{
	return zone->zone_start_pfn + zone->spanned_pages;
}

static inline bool zone_spans_pfn(const struct zone *zone, unsigned long pfn)
{
	return pfn - zone->zone_start_pfn < zone->spanned_pages;
}

/* Bits of page->flags that are not flags and stay: zone and node. */
#define PAGE_PLACE_MASK	(7UL << PAGE_ZONE_SHIFT | 7UL << PAGE_NODE_SHIFT)

/*
 * Zone and node of a frame. The bits are written when a frame is first allocated or first heads
 * a free block; frames inside a block that was never split read as node 0, ZONE_DMA.
 */
static inline enum zone_type page_zonenum(const struct page *page)
{
	return (enum zone_type)((READ_ONCE(page->flags) >> PAGE_ZONE_SHIFT) & 7);
}

static inline int page_to_nid(const struct page *page)
{
	return (int)((READ_ONCE(page->flags) >> PAGE_NODE_SHIFT) & 7);
}

static inline struct zone *page_zone(const struct page *page)
{
	return &NODE_DATA(page_to_nid(page))->node_zones[page_zonenum(page)];
}

static inline bool is_highmem(const struct zone *zone)
{
	return zone_idx(zone) == ZONE_HIGHMEM;
}

/* The highest zone that a request with these flags may use. */
static inline enum zone_type gfp_zone(gfp_t gfp)
{
	if (gfp & __GFP_DMA)
		return ZONE_DMA;
	if (gfp & __GFP_DMA32)
		return ZONE_DMA32;
	if (gfp & __GFP_HIGHMEM)
		return gfp & __GFP_MOVABLE ? ZONE_MOVABLE : ZONE_HIGHMEM;
	return ZONE_NORMAL;
}

/* Which free list serves it. */
static inline int gfp_migratetype(gfp_t gfp)
{
	if (gfp & __GFP_MOVABLE)
		return MIGRATE_MOVABLE;
	return gfp & __GFP_RECLAIMABLE ? MIGRATE_RECLAIMABLE : MIGRATE_UNMOVABLE;
}

/* Migrate type of the block that holds a frame: where the frame goes when it is freed. */
int get_pageblock_migratetype(const struct page *page);
void set_pageblock_migratetype(struct page *page, int migratetype);

/* Order of the free block that @page heads; only while nobody may take it. */
static inline unsigned int buddy_order(const struct page *page)
{
	return (unsigned int)page->private;
}

/**
 * zone_watermark_ok - would a block of 2^@order frames leave the zone above @mark?
 * @mark:            pages
 * @highest_zoneidx: zone that the request was made for: its reserve is kept
 * @alloc_flags:     ALLOC_HIGH, ALLOC_HARDER and ALLOC_OOM lower the mark
 *
 * Also false when there is no free block large enough.
 */
bool zone_watermark_ok(struct zone *zone, unsigned int order, unsigned long mark,
		       int highest_zoneidx, unsigned int alloc_flags);

/* alloc_flags */
#define ALLOC_WMARK_MIN		WMARK_MIN
#define ALLOC_WMARK_LOW		WMARK_LOW
#define ALLOC_WMARK_HIGH	WMARK_HIGH
#define ALLOC_WMARK_MASK	0x03u
#define ALLOC_NO_WATERMARKS	0x04u
#define ALLOC_OOM		0x08u	/* a victim of the OOM killer: half of it */
#define ALLOC_HARDER		0x10u	/* may use a quarter of what is below the mark */
#define ALLOC_HIGH		0x20u	/* may use half of it */
#define ALLOC_NOFRAGMENT	0x100u	/* rather another zone than mix types in a block */

#endif
