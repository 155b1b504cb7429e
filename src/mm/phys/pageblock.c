/* SPDX-License-Identifier: MIT */
/*
 * pageblock.c - migrate types: which 4 MiB of memory serve whom, and how that changes
 *
 * What it is
 *	Frames that stay (unmovable), that can be emptied (reclaimable) and that can be moved are kept
 *	apart, block by block, so that one that stays does not spoil a block of others for ever. A
 *	type that has run out takes from another one (steals), and takes the whole block over when
 *	most of it is free or like its own. Blocks of HIGHATOMIC are kept for requests of several
 *	frames that cannot wait; blocks of ISOLATE are handed out to nobody.
 *
 * Invariants (beside those of zone.c)
 *	I1 a zone's free frames in a block of ISOLATE or HIGHATOMIC are all on that type's lists
 *	I2 blocks of these two types lie in one zone; nr_isolate_pageblock counts the zone's of the
 *	   one, nr_reserved_highatomic the frames of the other
 *
 * Locking
 *	zone->lock for everything here. A block's byte is changed atomically: zones that meet in a
 *	block have a lock each.
 *
 * Worst case
 *	A fallback looks at MAX_ORDER lists of two types, and when it takes a block over it walks
 *	that block's 1024 frames once. HIGHATOMIC is at most a hundredth of a zone and a block.
 *
 * Unlike Linux
 *	The watermark is not boosted after a fallback. Requests without watermarks may use HIGHATOMIC
 *	blocks as a last resort, whatever their order.
 */
#include "internal.h"

/* Whose lists a request may take from when its own are empty, in this order. */
static const int fallbacks[MIGRATE_PCPTYPES][MIGRATE_PCPTYPES - 1] = {
	[MIGRATE_UNMOVABLE] = { MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE },
	[MIGRATE_MOVABLE] = { MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE },
	[MIGRATE_RECLAIMABLE] = { MIGRATE_UNMOVABLE, MIGRATE_MOVABLE },
};

int get_pageblock_migratetype(const struct page *page)
{
	return pageblock_type(phys_here(), page_to_pfn(page));
}

static void count_block(struct phys *phys, struct zone *zone, int migratetype, int delta)
{
	if (is_migrate_isolate(migratetype)) {
		zone->nr_isolate_pageblock += (unsigned long)delta;
		pcp_update_short_ways(phys, PCP_SAME_TRACING, delta);
	}
	if (is_migrate_highatomic(migratetype))
		WRITE_ONCE(zone->nr_reserved_highatomic, zone->nr_reserved_highatomic +
			   (unsigned long)delta * pageblock_nr_pages);
}

/* Two zones with a lock each may meet in a block, and PB_POISONED has no lock at all. */
static void set_byte(struct phys *phys, struct zone *zone, unsigned long pfn, u8 bits)
{
	u8 *block = &phys->pageblock[pfn >> pageblock_order];
	u8 was = READ_ONCE(*block);

	while (!__atomic_compare_exchange_n(block, &was, (u8)((was & PB_POISONED) | bits), false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	count_block(phys, zone, was & PB_TYPE_MASK, -1);
	count_block(phys, zone, bits & PB_TYPE_MASK, 1);
}

static void set_type(struct phys *phys, struct zone *zone, unsigned long pfn, int migratetype)
{
	set_byte(phys, zone, pfn, (u8)migratetype);
}

/* What a walk over a block found. */
struct block_look {
	unsigned long nr_free;
	unsigned long nr_movable;	/* in use, and can be moved away */
};

static void relist_block(struct zone *zone, struct page *page, unsigned int order, int to)
{
	int from = page_migratetype(page);

	zone_unlist_block(zone, page, order);
	zone_list_block(zone, page, order, to);
	if (is_migrate_isolate(from) == is_migrate_isolate(to))
		return;
	zone_count_free(zone, from, -(1L << order));
	zone_count_free(zone, to, 1L << order);
}

/* The zone's free blocks of a page block, moved to the lists of @to unless that is negative. */
static struct block_look walk_block(struct zone *zone, unsigned long pfn, int to)
{
	struct block_look look = { 0, 0 };
	unsigned long at = ALIGN_DOWN(pfn, pageblock_nr_pages);
	unsigned long end = min(at + pageblock_nr_pages, zone_end_pfn(zone));

	at = max(at, zone->zone_start_pfn);
	while (at < end) {
		struct page *page = pfn_to_page(at);
		unsigned int order;

		if (!PageBuddy(page) ||
		    (page->flags & PAGE_PLACE_MASK) != zone_page_flags(zone)) {
			look.nr_movable += PageLRU(page) || PageAnon(page);
			at++;
			continue;
		}
		order = buddy_order(page);
		if (to >= 0)
			relist_block(zone, page, order, to);
		look.nr_free += 1UL << order;
		at += 1UL << order;
	}
	return look;
}

/* A block becomes @to's with all that is free in it. I1. */
static void convert_block(struct phys *phys, struct zone *zone, unsigned long pfn, int to)
{
	set_type(phys, zone, pfn, to);
	walk_block(zone, pfn, to);
}

void set_pageblock_migratetype(struct page *page, int migratetype)
{
	struct zone *zone = page_zone(page);
	unsigned long flags;

	BUG_ON((unsigned int)migratetype >= MIGRATE_TYPES);
	spin_lock_irqsave(&zone->lock, flags);
	convert_block(phys_here(), zone, page_to_pfn(page), migratetype);
	spin_unlock_irqrestore(&zone->lock, flags);
}

/* Does nobody else have RAM in the page block of @pfn? I2. */
static bool block_is_of_one_zone(const struct phys *phys, const struct zone *zone,
				 unsigned long pfn)
{
	phys_addr_t start = (phys_addr_t)ALIGN_DOWN(pfn, pageblock_nr_pages) << PAGE_SHIFT;
	phys_addr_t end = start + (PAGE_SIZE << pageblock_order);
	struct machine_bank bank;

	for (unsigned int i = 0; physmem_bank(phys->machine, i, &bank); i++) {
		if (bank.start < end && bank.start + bank.size > start &&
		    ((int)bank.node != zone->node ||
		     phys_bank_zone(phys->machine, &bank) != (enum zone_type)zone_idx(zone)))
			return false;
	}
	return true;
}

/*
 * Whether a request of type @start may take a block over. What will stay anyway had better
 * fill one block than many; movable frames may lie anywhere, so for a few of them it is not worth it.
 */
static bool may_steal(unsigned int order, int start)
{
	return order >= pageblock_order / 2 || start == MIGRATE_RECLAIMABLE ||
	       start == MIGRATE_UNMOVABLE;
}

static int find_fallback(const struct free_area *area, int start)
{
	for (unsigned int i = 0; i < MIGRATE_PCPTYPES - 1; i++) {
		if (!list_empty(&area->free_list[fallbacks[start][i]]))
			return fallbacks[start][i];
	}
	return -1;
}

/* Take the block around a free block over if it is worth it, else the free block alone. */
static void steal(struct phys *phys, struct zone *zone, struct page *page, int start,
		  bool whole_block)
{
	unsigned int order = buddy_order(page);
	unsigned long pfn = page_to_pfn(page), alike = 0;
	int old = pageblock_type(phys, pfn);
	struct block_look look;

	if (order >= pageblock_order) {
		convert_block(phys, zone, pfn, start);
		return;
	}
	if (whole_block && migratetype_is_mergeable(old)) {
		look = walk_block(zone, pfn, start);
		if (start == MIGRATE_MOVABLE)
			alike = look.nr_movable;
		else if (old == MIGRATE_MOVABLE)
			alike = pageblock_nr_pages - look.nr_free - look.nr_movable;
		if (look.nr_free + alike >= pageblock_nr_pages / 2)
			set_type(phys, zone, pfn, start);
		return;
	}
	relist_block(zone, page, order, start);
}

/* Another type's free block, to be moved to @start's lists; NULL when there is none. */
static struct page *choose_victim(struct zone *zone, unsigned int order, int start,
				  unsigned int alloc_flags, bool *whole_block)
{
	unsigned int low = alloc_flags & ALLOC_NOFRAGMENT ? max(order, pageblock_order + 0u) :
			   order;
	unsigned int at = MAX_ORDER;
	int from = -1;

	while (from < 0 && at-- > low)
		from = find_fallback(&zone->free_area[at], start);
	if (from < 0)
		return NULL;
	*whole_block = may_steal(at, start);
	if (!*whole_block && at > order) {	/* then the smallest one does less harm */
		at = order;
		while ((from = find_fallback(&zone->free_area[at], start)) < 0)
			at++;
	}
	return list_first_entry(&zone->free_area[at].free_list[from], struct page, buddy_list);
}

/* A block of 2^@order frames off the zone's lists, or NULL. The lock is held. */
struct page *zone_take_block(struct phys *phys, struct zone *zone, unsigned int order,
			     int migratetype, unsigned int alloc_flags)
{
	bool whole_block = false;
	struct page *page = NULL, *victim;

	if (order && (alloc_flags & ALLOC_HARDER))
		page = zone_take_smallest(zone, order, MIGRATE_HIGHATOMIC);
	if (!page)
		page = zone_take_smallest(zone, order, migratetype);
	if (likely(page))
		return page;
	victim = choose_victim(zone, order, migratetype, alloc_flags, &whole_block);
	if (victim) {
		zone->nr_fallbacks++;
		steal(phys, zone, victim, migratetype, whole_block);
		return zone_take_smallest(zone, order, migratetype);
	}
	if (alloc_flags & (ALLOC_OOM | ALLOC_NO_WATERMARKS))
		page = zone_take_smallest(zone, order, MIGRATE_HIGHATOMIC);
	return page;
}

/* An atomic request for several frames had to dig: keep the rest of its block for the next. */
void highatomic_reserve(struct phys *phys, struct zone *zone, struct page *page)
{
	unsigned long most = zone->managed_pages / 100 + pageblock_nr_pages;
	unsigned long pfn = page_to_pfn(page), flags;

	if (READ_ONCE(zone->nr_reserved_highatomic) >= most ||
	    !block_is_of_one_zone(phys, zone, pfn))
		return;
	spin_lock_irqsave(&zone->lock, flags);
	if (zone->nr_reserved_highatomic < most &&
	    migratetype_is_mergeable(pageblock_type(phys, pfn)))
		convert_block(phys, zone, pfn, MIGRATE_HIGHATOMIC);
	spin_unlock_irqrestore(&zone->lock, flags);
}

/*
 * Give one kept block with something free in it to @migratetype. Unless @force, the zone's last
 * one stays.
 */
bool highatomic_unreserve(struct phys *phys, struct zone *zone, int migratetype, bool force)
{
	bool done = false;
	unsigned long flags;

	if (READ_ONCE(zone->nr_reserved_highatomic) <= (force ? 0 : pageblock_nr_pages))
		return false;
	spin_lock_irqsave(&zone->lock, flags);
	for (unsigned int order = 0; order < MAX_ORDER && !done; order++) {
		struct page *page = list_first_entry_or_null(
			&zone->free_area[order].free_list[MIGRATE_HIGHATOMIC], struct page,
			buddy_list);

		if (page) {
			convert_block(phys, zone, page_to_pfn(page), migratetype);
			done = true;
		}
	}
	spin_unlock_irqrestore(&zone->lock, flags);
	return done;
}

/* Nothing of the page block of @pfn is handed out from here on. False: it cannot be. */
bool pageblock_isolate(struct phys *phys, struct zone *zone, unsigned long pfn)
{
	unsigned long flags;
	int old;

	if (!block_is_of_one_zone(phys, zone, pfn))
		return false;
	spin_lock_irqsave(&zone->lock, flags);
	old = pageblock_type(phys, pfn);
	if (migratetype_is_mergeable(old)) {
		set_byte(phys, zone, pfn, (u8)(old << PB_OLD_SHIFT | MIGRATE_ISOLATE));
		walk_block(zone, pfn, MIGRATE_ISOLATE);
	}
	spin_unlock_irqrestore(&zone->lock, flags);
	return migratetype_is_mergeable(old);
}

/* The block has its old type again. */
void pageblock_unisolate(struct phys *phys, struct zone *zone, unsigned long pfn)
{
	unsigned long flags;

	spin_lock_irqsave(&zone->lock, flags);
	convert_block(phys, zone, pfn, READ_ONCE(phys->pageblock[pfn >> pageblock_order]) >>
		      PB_OLD_SHIFT & PB_TYPE_MASK);
	spin_unlock_irqrestore(&zone->lock, flags);
}
