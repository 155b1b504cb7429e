/* SPDX-License-Identifier: MIT */
/*
 * bulk.c - many frames at once: in batches, of an exact size, or in one piece of any size
 *
 * What it is
 *	A bulk request takes single frames from one zone with as few visits to it as possible, as
 *	long as all of them leave it above its low mark. alloc_pages_exact() gives back what a power
 *	of two has too many. alloc_contig_pages() looks for a range that is free, or
 *	can be made free: it isolates the page blocks of the range, so that nobody else is handed
 *	anything there, has what is movable moved, and takes the frames off the lists one block at
 *	a time.
 *
 * Invariants
 *	I1 page blocks that were isolated here have their old type again when the call returns
 *	I2 a range is taken whole or not at all
 *
 * Locking
 *	zone->lock for the walk over the free blocks of a range and for taking them.
 *
 * Worst case
 *	A search for nr frames looks at every frame of every zone once, and isolates only what looked
 *	free. Blocks that change between the look and the isolation cost another try elsewhere.
 *
 * Unlike Linux
 *	Moving frames away is a hook (reclaim_ops.move_away); without one, only free ranges are found.
 */
#include <karc/hw/inject.h>
#include <karc/hw/irq.h>
#include <karc/mm/phys/memalloc.h>
#include <karc/mm/phys/page_fast.h>
#include "internal.h"

void *alloc_pages_exact_nid_site(int nid, size_t size_bytes, gfp_t gfp, const struct site *site)
{
	unsigned long nr = PAGE_ALIGN(size_bytes) >> PAGE_SHIFT;
	unsigned int order;
	struct page *page;

	if (WARN_ON_ONCE(gfp & (__GFP_COMP | __GFP_HIGHMEM)))
		gfp &= ~(__GFP_COMP | __GFP_HIGHMEM);
	if (!nr)
		return NULL;
	order = (unsigned int)get_order(size_bytes);
	page = __alloc_pages_site(gfp, order, nid, NULL, site);
	if (!page)
		return NULL;
	split_page(page, order);
	for (unsigned long i = nr; i < 1UL << order; i++)
		__free_pages_site(page + i, 0, site);
	return page_to_virt(page);
}

void *alloc_pages_exact_site(size_t size_bytes, gfp_t gfp, const struct site *site)
{
	return alloc_pages_exact_nid_site(NUMA_NO_NODE, size_bytes, gfp, site);
}

void free_pages_exact_site(void *virt, size_t size_bytes, const struct site *site)
{
	unsigned long nr = PAGE_ALIGN(size_bytes) >> PAGE_SHIFT;

	for (unsigned long i = 0; i < nr; i++)
		free_pages_site((unsigned long)virt + i * PAGE_SIZE, 0, site);
}

/* ---- bulk ---- */

/* Frames for @nr places from the first zone that can spare them all; may be fewer. */
static unsigned long take_batch(const struct alloc_context *ac, unsigned long nr,
				struct list_head *taken)
{
	for (struct zoneref *z = ac->zonelist->_zonerefs; z->zone; z++) {
		if (!alloc_zone_allowed(ac, z) ||
		    !zone_watermark_ok(z->zone, 0, low_wmark_pages(z->zone) + nr,
				       (int)ac->highest_zoneidx, ALLOC_WMARK_LOW))
			continue;
		return pcp_alloc_many(z->zone, ac->migratetype, ALLOC_WMARK_LOW, nr, taken);
	}
	return 0;
}

/* Where the frames go: to a list, or to the empty places of an array. */
struct bulk_sink {
	struct list_head *list;
	struct page **array;
	unsigned long at;
};

static void bulk_put(struct bulk_sink *sink, struct page *page)
{
	if (!sink->array) {
		list_add(&page->lru, sink->list);
		return;
	}
	while (sink->array[sink->at])
		sink->at++;
	sink->array[sink->at++] = page;
}

static unsigned long bulk_batch(gfp_t gfp, int nid, const nodemask_t *nodemask, unsigned long nr,
				struct bulk_sink *sink, const struct site *site)
{
	struct alloc_context ac;
	unsigned long got;
	LIST_HEAD(taken);

	if (!alloc_context_init(&ac, gfp, nid, nodemask))
		return 0;
	got = take_batch(&ac, nr, &taken);
	while (!list_empty(&taken)) {
		struct page *page = list_first_entry(&taken, struct page, lru);

		list_del(&page->lru);
		prep_new_block(page, 0, gfp, false, site);
		bulk_put(sink, page);
	}
	return got;
}

/* @nr is the number of places left; returns how many of them were filled. */
static unsigned long bulk_fill(gfp_t gfp, int nid, const nodemask_t *nodemask, unsigned long nr,
			       struct bulk_sink *sink, const struct site *site)
{
	unsigned long got = 0;
	struct page *page;

	gfp = current_gfp_context(gfp & __GFP_BITS_MASK);
	if (gfp & __GFP_DIRECT_RECLAIM)
		might_sleep_site(site);
	if (inject_fail())
		return 0;
	/* What is charged or announced goes one by one, as does what is only one. */
	if (nr > 1 && !(gfp & __GFP_ACCOUNT) && !trace_event_on(TRACE_MM_PAGE_ALLOC))
		got = bulk_batch(gfp, nid, nodemask, nr, sink, site);
	while (got < nr) {
		page = __alloc_pages_site(gfp, 0, nid, nodemask, site);
		if (!page)
			break;
		bulk_put(sink, page);
		got++;
	}
	return got;
}

unsigned long __alloc_pages_bulk_site(gfp_t gfp, int nid, const nodemask_t *nodemask,
				      unsigned long nr_pages, struct list_head *list,
				      struct page **array, const struct site *site)
{
	struct bulk_sink sink = { .list = array ? NULL : list, .array = array };
	unsigned long have = 0;

	for (unsigned long i = 0; array && i < nr_pages; i++)
		have += array[i] != NULL;
	if (have == nr_pages)
		return have;
	return have + bulk_fill(gfp, nid, nodemask, nr_pages - have, &sink, site);
}

/* ---- a range of any size ---- */

/*
 * Is @pfn in a free block of the zone? Its first frame to *@head, its order is the result, or -1.
 * The lock is held.
 */
static int free_block_around(const struct zone *zone, unsigned long pfn, struct page **head)
{
	for (unsigned int order = 0; order < MAX_ORDER; order++) {
		struct page *page = pfn_to_page(ALIGN_DOWN(pfn, 1UL << order));

		if (page_is_free_block(zone, page) && buddy_order(page) >= order) {
			*head = page;
			return (int)buddy_order(page);
		}
	}
	return -1;
}

/* Does a frame that is not on the zone's lists stand in the way for good? */
static bool may_become_free(const struct phys *phys, const struct zone *zone,
			    const struct page *page)
{
	unsigned long flags = READ_ONCE(page->flags);

	if (!pfn_valid(page_to_pfn(page)) || (flags & PAGE_PLACE_MASK) != zone_page_flags(zone))
		return false;
	if (flags & 1UL << PG_pcp)
		return true;
	return phys->reclaim && phys->reclaim->move_away &&
	       flags & (1UL << PG_lru | 1UL << PG_anon);
}

/* The frame that is in the way of the range, or @end. Only a guess: frames come and go. */
static unsigned long first_obstacle(const struct phys *phys, struct zone *zone,
				    unsigned long start, unsigned long end)
{
	unsigned long at = start, flags;

	spin_lock_irqsave(&zone->lock, flags);
	while (at < end) {
		struct page *head;
		int order = free_block_around(zone, at, &head);

		if (order >= 0)
			at = page_to_pfn(head) + (1UL << order);
		else if (may_become_free(phys, zone, pfn_to_page(at)))
			at++;
		else
			break;
	}
	spin_unlock_irqrestore(&zone->lock, flags);
	return min(at, end);
}

/* Give what a free block has outside of [start, end) back. The lock is held. */
static void give_back_outside(struct zone *zone, unsigned long at, unsigned long block_end,
			      unsigned long start, unsigned long end)
{
	while (at < block_end) {
		unsigned int order = (unsigned int)min3(MAX_ORDER - 1UL,
							at ? __ffs(at) : MAX_ORDER - 1UL,
							(unsigned long)ilog2(block_end - at));

		while (order && at < end && at + (1UL << order) > start)
			order--;
		if (at < start || at >= end)
			zone_add_block(zone, pfn_to_page(at), order, MIGRATE_ISOLATE);
		at += 1UL << order;
	}
}

/* Take all of [start, end) off the zone's lists, if all of it is there. The lock is held. I2. */
static bool take_range_locked(struct zone *zone, unsigned long start, unsigned long end)
{
	struct page *head;
	unsigned long at;
	int order;

	for (at = start; at < end; at = page_to_pfn(head) + (1UL << order)) {
		order = free_block_around(zone, at, &head);
		if (order < 0)
			return false;
	}
	for (at = start; at < end; at = page_to_pfn(head) + (1UL << order)) {
		order = free_block_around(zone, at, &head);
		if (WARN_ON(order < 0))
			return false;
		zone_unlist_block(zone, head, (unsigned int)order);
		zone_count_free(zone, MIGRATE_ISOLATE, -(1L << order));
		for (unsigned long i = 0; i < 1UL << order; i++)
			page_set_flags(head + i, zone_page_flags(zone));
		give_back_outside(zone, page_to_pfn(head), page_to_pfn(head) + (1UL << order),
				  start, end);
	}
	return true;
}

static bool take_range(struct zone *zone, unsigned long start, unsigned long end)
{
	unsigned long flags;
	bool taken;

	spin_lock_irqsave(&zone->lock, flags);
	taken = take_range_locked(zone, start, end);
	spin_unlock_irqrestore(&zone->lock, flags);
	return taken;
}

/* What is in use in the range is moved, as far as somebody knows how. */
static void move_range_away(const struct phys *phys, struct zone *zone, unsigned long start,
			    unsigned long end)
{
	if (preemptible())
		drain_all_pages(zone);
	else
		drain_local_pages(zone);
	if (!phys->reclaim || !phys->reclaim->move_away)
		return;
	for (unsigned long at = start; at < end; at++) {
		struct page *page = pfn_to_page(at);

		if (!(PageLRU(page) || PageAnon(page)) || !get_page_unless_zero(page))
			continue;
		phys->reclaim->move_away(page);
		put_page(page);
	}
	if (preemptible())
		drain_all_pages(zone);
}

/* The frames of a range that was taken: each is the caller's on its own. */
static bool prep_range(unsigned long start, unsigned long end, gfp_t gfp, const struct site *site)
{
	unsigned long at;

	for (at = start; at < end; at++) {
		if (unlikely(!check_new_block(pfn_to_page(at), 0)))
			break;
		prep_new_block(pfn_to_page(at), 0, gfp & ~__GFP_COMP, false, site);
		if ((gfp & __GFP_ACCOUNT) && memcg_charge_block(pfn_to_page(at), 0, gfp)) {
			__free_pages_site(pfn_to_page(at++), 0, site);
			goto undo;
		}
	}
	if (at == end)
		return true;
	at++;		/* the damaged one is out of use */
undo:
	for (unsigned long i = start; i < at - 1; i++)
		__free_pages_site(pfn_to_page(i), 0, site);
	for (; at < end; at++)
		free_one_block(page_zone(pfn_to_page(at)), pfn_to_page(at), 0);
	return false;
}

/* Isolate the page blocks of a range, empty it, take it, and give the blocks their types back. I1. */
static bool try_range(struct phys *phys, struct zone *zone, unsigned long start,
		      unsigned long end, gfp_t gfp)
{
	const unsigned long first = ALIGN_DOWN(start, pageblock_nr_pages);
	unsigned long at = first;
	bool taken = false;

	while (at < end && pageblock_isolate(phys, zone, at))
		at += pageblock_nr_pages;
	if (at >= end) {
		if (gfp & __GFP_DIRECT_RECLAIM)
			move_range_away(phys, zone, start, end);
		else
			drain_local_pages(zone);
		taken = take_range(zone, start, end);
	}
	while (at > first) {
		at -= pageblock_nr_pages;
		pageblock_unisolate(phys, zone, at);
	}
	return taken;
}

/* A range of @nr frames of a zone, taken; its first frame's number, or 0. */
static unsigned long take_from_zone(struct phys *phys, struct zone *zone, unsigned long nr,
				    gfp_t gfp)
{
	const unsigned long step = is_power_of_2(nr) ? nr : 1;
	unsigned long at = ALIGN(max(zone->zone_start_pfn, 1UL), step);

	while (at + nr <= zone_end_pfn(zone)) {
		unsigned long stop = first_obstacle(phys, zone, at, at + nr);

		if (stop == at + nr) {
			if (try_range(phys, zone, at, at + nr, gfp))
				return at;
			stop = at;
		}
		at = ALIGN(stop + 1, step);
	}
	return 0;
}

struct page *alloc_contig_pages_site(unsigned long nr_pages, gfp_t gfp, int nid,
				     const nodemask_t *nodemask, const struct site *site)
{
	struct phys *phys = phys_here();
	struct alloc_context ac;

	gfp = current_gfp_context(gfp & __GFP_BITS_MASK);
	if (gfp & __GFP_DIRECT_RECLAIM)
		might_sleep_site(site);
	if (!nr_pages || inject_fail() || !alloc_context_init(&ac, gfp, nid, nodemask))
		return NULL;
	for (struct zoneref *z = ac.zonelist->_zonerefs; z->zone; z++) {
		unsigned long pfn;

		if (!alloc_zone_allowed(&ac, z) ||
		    !zone_watermark_ok(z->zone, 0, min_wmark_pages(z->zone) + nr_pages,
				       (int)ac.highest_zoneidx, 0))
			continue;
		pfn = take_from_zone(phys, z->zone, nr_pages, gfp);
		if (pfn)
			return prep_range(pfn, pfn + nr_pages, gfp, site) ? pfn_to_page(pfn) : NULL;
	}
	return NULL;
}

void free_contig_range_site(unsigned long pfn, unsigned long nr_pages, const struct site *site)
{
	unsigned long nr_used = 0;

	for (; nr_pages--; pfn++) {
		nr_used += page_count(pfn_to_page(pfn)) > 1;
		__free_pages_site(pfn_to_page(pfn), 0, site);
	}
	WARN(nr_used, "free_contig_range: %lu pages are still in use!", nr_used);
}
