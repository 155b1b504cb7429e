/* SPDX-License-Identifier: MIT */
/*
 * zone_walk.h - all zones, the zones of a request, and sums over them
 *
 * Model: Linux 6.1 <linux/mmzone.h>, <linux/swap.h>, si_meminfo() of <linux/mm.h>.
 */
#ifndef KARC_MM_PHYS_ZONE_WALK_H
#define KARC_MM_PHYS_ZONE_WALK_H

#include <sys/sysinfo.h>

#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>

/* Zone after zone, node after node, empty ones too; NULL behind the last. */
static inline struct zone *karc_next_zone(const struct zone *zone)
{
	struct pglist_data *pgdat = zone ? zone->zone_pgdat : node_by_index(0);
	unsigned int i = 0;

	if (!zone)
		return &pgdat->node_zones[0];
	if (zone_idx(zone) + 1 < MAX_NR_ZONES)
		return &pgdat->node_zones[zone_idx(zone) + 1];
	while (node_by_index(i) != pgdat)
		i++;
	pgdat = node_by_index(i + 1);
	return pgdat ? &pgdat->node_zones[0] : NULL;
}

#define for_each_zone(zone) \
	for ((zone) = karc_next_zone(NULL); (zone) != NULL; (zone) = karc_next_zone(zone))
#define for_each_populated_zone(zone) for_each_zone(zone) if (populated_zone(zone))

/* The zones that requests with @gfp try from node @nid, and those up to @highest, best first. */
static inline struct zonelist *node_zonelist(int nid, gfp_t gfp)
{
	return &NODE_DATA(nid)->node_zonelists[gfp & __GFP_THISNODE ? ZONELIST_NOFALLBACK :
					       ZONELIST_FALLBACK];
}

static inline struct zoneref *next_zones_zonelist(struct zoneref *z, int highest)
{
	while (z->zone && z->zone_idx > highest)
		z++;
	return z;
}

#define for_each_zone_zonelist(zone, z, list, highest)				\
	for ((z) = next_zones_zonelist((list)->_zonerefs, (int)(highest)), (zone) = (z)->zone; \
	     (zone) != NULL;							\
	     (z) = next_zones_zonelist((z) + 1, (int)(highest)), (zone) = (z)->zone)

#define wmark_pages(zone, i)	((zone)->_watermark[i])
#define pfn_to_nid(pfn)		page_to_nid(pfn_to_page(pfn))
#define nth_page(page, n)	((page) + (n))

/* Frames that users of the machine can have, free or not; and those without a direct map. */
static inline unsigned long karc_sum_zones(bool free, bool all, bool high)
{
	unsigned long sum = 0;
	struct zone *zone;

	for_each_zone(zone)
		if (all || is_highmem(zone) == high)
			sum += free ? zone_page_state(zone, NR_FREE_PAGES) :
				      zone_managed_pages(zone);
	return sum;
}

#define totalram_pages()	karc_sum_zones(false, true, false)
#define totalhigh_pages()	karc_sum_zones(false, false, true)
#define nr_free_pages()		global_zone_page_state(NR_FREE_PAGES)
#define nr_free_highpages()	karc_sum_zones(true, false, true)
#define nr_free_buffer_pages()	karc_sum_zones(true, false, false)

/* There is no swap. */
#define get_nr_swap_pages()	0L
#define total_swap_pages	0L

/* Frames on CPUs' lists count as used. Context: any. Model: Linux 6.1. */
static inline void si_meminfo(struct sysinfo *info)
{
	*info = (struct sysinfo){
		.totalram = totalram_pages(),
		.freeram = nr_free_pages(),
		.sharedram = global_node_page_state(NR_SHMEM),
		.totalhigh = totalhigh_pages(),
		.freehigh = nr_free_highpages(),
		.mem_unit = PAGE_SIZE,
	};
}

/* One reference of each page that is linked by ->lru. */
static inline void put_pages_list(struct list_head *pages)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, pages, lru) {
		list_del(&page->lru);
		put_page(page);
	}
}

#endif
