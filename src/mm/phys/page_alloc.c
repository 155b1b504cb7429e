/* SPDX-License-Identifier: MIT */
/*
 * page_alloc.c - the allocator that callers see: zones, watermarks, retries
 *
 * What it is
 *	A request names what it can bear (gfp). That decides the highest zone, the list, whether it
 *	may dig below the watermarks, and what may be done when memory is short. The fast path takes
 *	a frame off the CPU's list or a block off a zone that is above its low mark; the slow path
 *	lowers the mark, opens the reserves, asks the room above to make room, drains the CPUs'
 *	lists, and gives up or not as the flags say.
 *
 * Objects
 *	A block belongs to whoever holds references on its first frame; the last one frees it
 *	(page_free.c). The frames of a compound page point to the first; those of another block have
 *	no count. The first frame's flags say how large the block is.
 *
 * Invariants
 *	I1 an allocated block's first frame has a count of at least 1, its other frames have none
 *	I2 what is handed out showed no trace of an earlier owner when it was freed and when it left
 *	   its zone; what shows one is never handed out (the short way of page_fast.h does not look
 *	   again at what was on the CPU's list in between)
 *	I3 in a machine that tracks, track[pfn] has a site and no free_site while it is allocated
 *
 * Locking
 *	zone->lock inside zone_*; nothing is held while memory is cleared or reclaimed.
 *
 * Life
 *	buddy or pcp -> prep_new_block (count 1) -> put ... -> count 0 -> free_prepare
 *	-> pcp or buddy, or bad_pages (never again)
 *
 * Who may use how much of a zone's min mark
 *	GFP_KERNEL		nothing of it
 *	GFP_NOWAIT		nothing of it, and does not wait
 *	__GFP_HIGH		half; with __GFP_ATOMIC three eighths of it must stay
 *	__GFP_NOFAIL		a quarter, after the first round
 *	a victim of the OOM killer	half
 *	__GFP_MEMALLOC, PF_MEMALLOC	all; frames that came so say it (page_is_pfmemalloc())
 *	__GFP_NOMEMALLOC	like GFP_KERNEL or __GFP_HIGH, whatever else is said
 *
 * Worst case
 *	MAX_RECLAIM_ROUNDS of reclaim, then NULL. __GFP_NOFAIL goes on as long as anything changes;
 *	NOFAIL_ROUNDS without a frame is a BUG, because nothing in a simulation will bring one.
 *
 * Unlike Linux
 *	Compaction does not exist: a large block that is not there is not made, and so requests of
 *	more than 8 frames are retried like small ones. There are no cpusets, so __GFP_HARDWALL
 *	restricts nothing, and no dirty limits of nodes, so __GFP_WRITE spreads nothing.
 */
#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>
#include <karc/hw/irq.h>
#include <karc/hw/tracepoint.h>
#include <karc/mm/phys/memalloc.h>
#include <karc/mm/phys/page_fast.h>
#include "internal.h"

#define NOFAIL_ROUNDS	100000UL

/* Larger requests are not worth a task's life. */
#define COSTLY_ORDER	3

void phys_set_reclaim(struct machine *m, const struct reclaim_ops *ops)
{
	phys_of(m)->reclaim = ops;
}

void phys_set_lru_release(struct machine *m, void (*release)(struct page *page))
{
	phys_of(m)->lru_release = release;
}

void phys_set_highmem_address(struct machine *m, void *(*address)(const struct page *page))
{
	phys_of(m)->highmem_address = address;
}

static void track_block(struct phys *phys, const struct page *page, unsigned int order,
			const struct site *site)
{
	struct frame_track *track = &phys->track[page_to_pfn(page)];

	for (unsigned long i = 0; i < 1UL << order; i++)
		track[i] = (struct frame_track){ site, NULL, i ? TRACK_INTERIOR : (u8)order };
}

static void prep_compound_page(struct page *page, unsigned int order)
{
	__SetPageHead(page);
	for (unsigned long i = 1; i < 1UL << order; i++)
		page[i].compound_head = (unsigned long)page | 1;
	page[1].compound_order = (unsigned char)order;
}

/* A block that passed check_new_block() becomes the caller's. I1, I3. */
void prep_new_block(struct page *page, unsigned int order, gfp_t gfp, bool pfmemalloc,
		    const struct site *site)
{
	struct phys *phys = phys_here();
	unsigned long place = page->flags & PAGE_PLACE_MASK;

	set_page_private(page, 0);
	page_set_flags(page, place | (order ? (unsigned long)order << PAGE_ORDER_SHIFT :
					      page_type_bits(phys, page)));
	for (unsigned long i = 1; i < 1UL << order; i++) {
		page_set_flags(page + i, place);
		page[i].compound_head = 0;
	}
	content_on_alloc(phys, page, order, gfp);
	if (order && (gfp & __GFP_COMP))
		prep_compound_page(page, order);
	if (unlikely(pfmemalloc))
		__SetPagePfMemalloc(page);
	if (unlikely(phys->track))
		track_block(phys, page, order, site);
	count_vm_events(PGALLOC, 1UL << order);
	set_page_count(page, 1);
}

/* Did somebody write to the struct pages of a free block? Then it is not handed out. I2. */
bool check_new_block(struct page *page, unsigned int order)
{
	for (unsigned long i = 0; i < 1UL << order; i++) {
		if (unlikely(page_is_damaged(page + i, PAGE_FLAG_BITS))) {
			bad_pages(page, 1UL << order, "found when allocated");
			return false;
		}
	}
	return true;
}

static struct page *take_block(struct zone *zone, unsigned int order, int migratetype,
			       unsigned int alloc_flags)
{
	struct page *page;
	unsigned long flags;

	if (order == 0)
		return pcp_alloc(zone, migratetype, alloc_flags);
	do {
		spin_lock_irqsave(&zone->lock, flags);
		page = zone_take_block(phys_here(), zone, order, migratetype, alloc_flags);
		spin_unlock_irqrestore(&zone->lock, flags);
	} while (page && !check_new_block(page, order));
	return page;
}

/* May the request use this zone at all? */
bool alloc_zone_allowed(const struct alloc_context *ac, const struct zoneref *z)
{
	return z->zone_idx <= (int)ac->highest_zoneidx &&
	       (!ac->nodemask || ac->nodemask->bits[0] >> z->zone->node & 1);
}

static struct page *try_zone(struct zone *zone, unsigned int order, unsigned int alloc_flags,
			     const struct alloc_context *ac)
{
	struct page *page;

	if (!(alloc_flags & ALLOC_NO_WATERMARKS) &&
	    !zone_watermark_ok(zone, order, zone->_watermark[alloc_flags & ALLOC_WMARK_MASK],
			       (int)ac->highest_zoneidx, alloc_flags))
		return NULL;
	page = take_block(zone, order, ac->migratetype, alloc_flags);
	if (page && order && unlikely(alloc_flags & ALLOC_HARDER))
		highatomic_reserve(phys_here(), zone, page);
	return page;
}

static struct page *get_page_from_freelist(unsigned int order, unsigned int alloc_flags,
					   const struct alloc_context *ac)
{
	for (;;) {
		int nid = ac->zonelist->_zonerefs[0].zone ?
			  ac->zonelist->_zonerefs[0].zone->node : NUMA_NO_NODE;

		for (struct zoneref *z = ac->zonelist->_zonerefs; z->zone; z++) {
			struct page *page;

			/* Mixing types in a block is better than memory of another node. */
			if ((alloc_flags & ALLOC_NOFRAGMENT) && z->zone->node != nid)
				break;
			if (!alloc_zone_allowed(ac, z))
				continue;
			page = try_zone(z->zone, order, alloc_flags, ac);
			if (page)
				return page;
		}
		if (!(alloc_flags & ALLOC_NOFRAGMENT))
			return NULL;
		alloc_flags &= ~ALLOC_NOFRAGMENT;
	}
}

/* Worth it only where another zone of the node could serve the request as well. */
static unsigned int alloc_flags_nofragment(const struct alloc_context *ac)
{
	const struct zone *zone = ac->zonelist->_zonerefs[0].zone;

	if (!zone || zone_idx(zone) != ZONE_NORMAL || ac->highest_zoneidx < ZONE_NORMAL ||
	    !populated_zone(&zone->zone_pgdat->node_zones[ZONE_DMA32]))
		return 0;
	return ALLOC_NOFRAGMENT;
}

static unsigned int gfp_to_alloc_flags(gfp_t gfp)
{
	unsigned int flags = ALLOC_WMARK_MIN;

	if (gfp & __GFP_HIGH)
		flags |= ALLOC_HIGH;
	if ((gfp & __GFP_ATOMIC) && !(gfp & __GFP_NOMEMALLOC))
		flags |= ALLOC_HARDER;
	return flags;
}

/* What the request may do beyond that, because memory comes of it; 0: nothing. */
static unsigned int reserve_flags(gfp_t gfp)
{
	if (!gfp_pfmemalloc_allowed(gfp))
		return 0;
	if (gfp & __GFP_MEMALLOC || memalloc_flags() & PF_MEMALLOC)
		return ALLOC_NO_WATERMARKS;
	return ALLOC_OOM;
}

static void tell_pressure(const struct phys *phys, unsigned int order,
			  const struct alloc_context *ac)
{
	if (!phys->reclaim || !phys->reclaim->pressure)
		return;
	for (struct zoneref *z = ac->zonelist->_zonerefs; z->zone; z++) {
		if (alloc_zone_allowed(ac, z))
			phys->reclaim->pressure(z->zone, order);
	}
}

static bool unreserve(struct phys *phys, const struct alloc_context *ac, bool force)
{
	for (struct zoneref *z = ac->zonelist->_zonerefs; z->zone; z++) {
		if (highatomic_unreserve(phys, z->zone, ac->migratetype, force))
			return true;
	}
	return false;
}

/* Is a task to be killed for this? Not for what killing would hardly bring. */
static bool worth_a_task(gfp_t gfp, unsigned int order, const struct alloc_context *ac)
{
	return order <= COSTLY_ORDER && (gfp & __GFP_FS) &&
	       !(gfp & (__GFP_NORETRY | __GFP_RETRY_MAYFAIL | __GFP_THISNODE)) &&
	       ac->highest_zoneidx >= ZONE_NORMAL;
}

/* One round of making room, on the reserves itself. True if trying again makes sense. */
static bool make_room(struct phys *phys, gfp_t gfp, unsigned int order,
		      const struct alloc_context *ac)
{
	const struct reclaim_ops *ops = phys->reclaim;
	unsigned int scope = memalloc_noreclaim_save();
	bool done = ops && ops->make_room && ops->make_room(gfp, order);

	memalloc_noreclaim_restore(scope);
	if (unreserve(phys, ac, !done) || done)
		return true;
	return worth_a_task(gfp, order, ac) && ops && ops->last_resort &&
	       ops->last_resort(gfp, order);
}

/* A request that may sleep: drain, make room, try, in rounds. */
static struct page *reclaim_and_alloc(gfp_t gfp, unsigned int order, unsigned int alloc_flags,
				      const struct alloc_context *ac)
{
	struct phys *phys = phys_here();
	struct page *page;
	bool again = true;

	for (unsigned long round = 0; ; round++) {
		/* An IPI needs interrupts; who comes here without them has been warned about. */
		if (preemptible())
			drain_all_pages(NULL);
		page = get_page_from_freelist(order, alloc_flags, ac);
		if (page)
			return page;
		if (!(gfp & __GFP_NOFAIL) &&
		    (!again || round >= MAX_RECLAIM_ROUNDS ||
		     (round && (gfp & __GFP_NORETRY))))
			return NULL;
		BUG_ON(round >= NOFAIL_ROUNDS);
		again = make_room(phys, gfp, order, ac);
		if (gfp & __GFP_NOFAIL) {
			alloc_flags |= ALLOC_HARDER;
			if (preemptible())
				cond_resched();
		}
	}
}

/* May this request wait for memory, and is it not itself what makes room? */
static bool may_reclaim(gfp_t gfp)
{
	if ((gfp & __GFP_NOFAIL) && WARN_ON_ONCE(!(gfp & __GFP_DIRECT_RECLAIM)))
		return false;
	return (gfp & __GFP_DIRECT_RECLAIM) &&
	       (!(memalloc_flags() & PF_MEMALLOC) || (gfp & __GFP_NOFAIL));
}

static noinline struct page *alloc_pages_slowpath(gfp_t gfp, unsigned int order,
						  struct alloc_context *ac,
						  const struct site *site)
{
	unsigned int alloc_flags = gfp_to_alloc_flags(gfp), reserve = reserve_flags(gfp);
	struct page *page;

	if (gfp & __GFP_KSWAPD_RECLAIM)
		tell_pressure(phys_here(), order, ac);
	page = get_page_from_freelist(order, alloc_flags, ac);
	if (!page && reserve) {
		alloc_flags = ALLOC_WMARK_MIN | reserve;
		page = get_page_from_freelist(order, alloc_flags, ac);
	}
	if (!page && may_reclaim(gfp))
		page = reclaim_and_alloc(gfp, order, alloc_flags, ac);
	if (!page)
		warn_alloc_site(gfp, ac->nodemask, order, site);
	ac->pfmemalloc = page && (alloc_flags & ALLOC_NO_WATERMARKS);
	return page;
}

/* Where to look; false: there is no such node. */
bool alloc_context_init(struct alloc_context *ac, gfp_t gfp, int nid, const nodemask_t *nodemask)
{
	struct pglist_data *pgdat = phys_hot()->pgdat;

	if (nid != NUMA_NO_NODE && nid != pgdat->node_id) {
		pgdat = node_data(nid);
		if (WARN_ON_ONCE(!pgdat))
			return false;
	}
	ac->zonelist = &pgdat->node_zonelists[gfp & __GFP_THISNODE ? ZONELIST_NOFALLBACK :
					      ZONELIST_FALLBACK];
	ac->nodemask = nodemask;
	ac->highest_zoneidx = gfp_zone(gfp);
	ac->migratetype = gfp_migratetype(gfp);
	ac->pfmemalloc = false;
	return true;
}

static noinline __cold void trace_alloc(const struct page *page, unsigned int order, gfp_t gfp,
					int migratetype, const struct site *site)
{
	char names[256];
	struct trace_record record = {
		.event = TRACE_MM_PAGE_ALLOC,
		.site = site,
		.ptr = page,
		.pfn = page ? page_to_pfn(page) : ~0UL,
		.gfp = gfp,
		.gfp_text = gfp_flag_names(gfp, names, sizeof(names)),
		.order = order,
		.migratetype = migratetype,
		.node = page ? page_to_nid(page) : NUMA_NO_NODE,
		.accounted = gfp & __GFP_ACCOUNT,
		.bytes_alloc = PAGE_SIZE << order,
	};

	trace_event_emit(&record);
}

static struct page *alloc_block(gfp_t gfp, unsigned int order, int nid,
				const nodemask_t *nodemask, const struct site *site)
{
	struct alloc_context ac;
	struct page *page;

	if (!alloc_context_init(&ac, gfp, nid, nodemask))
		return NULL;
	page = get_page_from_freelist(order, ALLOC_WMARK_LOW | alloc_flags_nofragment(&ac), &ac);
	if (unlikely(!page))
		page = alloc_pages_slowpath(gfp, order, &ac, site);
	if (page)
		prep_new_block(page, order, gfp, ac.pfmemalloc, site);
	if (page && unlikely(gfp & __GFP_ACCOUNT) && memcg_charge_block(page, order, gfp)) {
		__free_pages_site(page, order, site);
		page = NULL;
	}
	if (trace_event_on(TRACE_MM_PAGE_ALLOC))
		trace_alloc(page, order, gfp, ac.migratetype, site);
	return page;
}

struct page *__alloc_pages_site(gfp_t gfp, unsigned int order, int nid,
				const nodemask_t *nodemask, const struct site *site)
{
	if (unlikely(order >= MAX_ORDER)) {
		WARN_ON_ONCE(!(gfp & __GFP_NOWARN));
		return NULL;
	}
	gfp = current_gfp_context(gfp & __GFP_BITS_MASK);
	if (gfp & __GFP_DIRECT_RECLAIM)
		might_sleep_site(site);
	if (!(gfp & __GFP_NOFAIL) && inject_fail())
		return NULL;
	return alloc_block(gfp, order, nid, nodemask, site);
}

struct page *alloc_pages_node_site(int nid, gfp_t gfp, unsigned int order,
				   const struct site *site)
{
	return __alloc_pages_site(gfp, order, nid, NULL, site);
}

struct page *(alloc_pages_node)(int nid, gfp_t gfp, unsigned int order)
{
	return alloc_pages_node_site(nid, gfp, order, SITE());
}

struct page *(alloc_pages_site)(gfp_t gfp, unsigned int order, const struct site *site)
{
	struct page *page = order ? NULL : page_alloc_fast(gfp);

	return page ? page : __alloc_pages_site(gfp, order, NUMA_NO_NODE, NULL, site);
}

struct page *(alloc_pages)(gfp_t gfp, unsigned int order)
{
	return (alloc_pages_site)(gfp, order, SITE());
}

unsigned long __get_free_pages_site(gfp_t gfp, unsigned int order, const struct site *site)
{
	struct page *page = alloc_pages_site(gfp & ~__GFP_HIGHMEM, order, site);

	return page ? (unsigned long)page_to_virt(page) : 0;
}

unsigned long (__get_free_pages)(gfp_t gfp, unsigned int order)
{
	return __get_free_pages_site(gfp, order, SITE());
}
