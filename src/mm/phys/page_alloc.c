/* SPDX-License-Identifier: MIT */
/*
 * page_alloc.c - the allocator that callers see: zones, watermarks, retries, checks
 *
 * What it is
 *	A request names what it can bear (gfp). That decides the highest zone, the list, whether it
 *	may dig below the watermarks, and what may be done when memory is short. The fast path takes
 *	a frame off the CPU's list or a block off a zone that is above its low mark; the slow path
 *	lowers the mark, drains the CPUs' lists, asks the room above to make room, and gives up or
 *	not as the flags say.
 *
 * Objects
 *	A block belongs to whoever holds references on its first frame; the last one frees it. The
 *	frames of a compound page point to the first; those of another block have no count.
 *
 * Invariants
 *	I1 an allocated block's first frame has a count of at least 1, its other frames have none
 *	I2 what is handed out shows no trace of an earlier owner; what shows one is never handed out
 *	I3 in a machine that tracks, track[pfn].site is set exactly while the frame is allocated
 *
 * Locking
 *	zone->lock inside zone_*; nothing is held while memory is cleared or reclaimed.
 *
 * Life
 *	buddy or pcp -> prep_new_block (count 1) -> put ... -> count 0 -> free_prepare
 *	-> pcp or buddy, or bad_pages (never again)
 *
 * Worst case
 *	MAX_RECLAIM_ROUNDS of reclaim, then NULL. __GFP_NOFAIL goes on as long as anything changes;
 *	NOFAIL_ROUNDS without a frame is a BUG, because nothing in a simulation will bring one.
 *
 * Unlike Linux
 *	Compaction does not exist: a large block that is not there is not made. GFP_ATOMIC has no
 *	page-block reserve of its own, only the watermarks.
 */
#include <stdint.h>
#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>
#include <karc/hw/irq.h>
#include <karc/mm/phys/poison.h>
#include "internal.h"

#define NOFAIL_ROUNDS	100000UL

struct alloc_context {
	struct zonelist *zonelist;
	enum zone_type highest_zoneidx;
	int migratetype;
};

static const char zero_page[PAGE_SIZE];

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

/* Both ends of an allocation tell AddressSanitizer; HIGHMEM has no address to speak of. */
static void poison_block(struct page *page, unsigned int order)
{
	struct phys *phys = phys_here();

	if (likely(!mem_poison_active()) || PageHighMem(page))
		return;
	for (unsigned long i = 0; i < 1UL << order; i += pageblock_nr_pages)
		__atomic_fetch_or(&phys->pageblock[(page_to_pfn(page) + i) >> pageblock_order],
				  (u8)PB_POISONED, __ATOMIC_RELAXED);
	mem_poison(page_to_virt(page), PAGE_SIZE << order);
}

static void unpoison_block(struct page *page, unsigned int order)
{
	if (unlikely(mem_poison_active()) && !PageHighMem(page))
		mem_unpoison(page_to_virt(page), PAGE_SIZE << order);
}

static void clear_block(struct page *page, unsigned int order)
{
	if (likely(!PageHighMem(page))) {
		memset(page_to_virt(page), 0, PAGE_SIZE << order);
		return;
	}
	for (unsigned long i = 0; i < 1UL << order; i++)
		physmem_write(karc_cpu->machine, page_to_phys(page + i), zero_page, PAGE_SIZE);
}

static void track_block(struct phys *phys, const struct page *page, unsigned int order,
			const struct site *site)
{
	struct frame_track *track = &phys->track[page_to_pfn(page)];

	for (unsigned long i = 0; i < 1UL << order; i++)
		track[i] = (struct frame_track){ site, i ? TRACK_INTERIOR : (u8)order };
}

static void prep_compound_page(struct page *page, unsigned int order)
{
	__SetPageHead(page);
	for (unsigned long i = 1; i < 1UL << order; i++)
		page[i].compound_head = (unsigned long)page | 1;
	page[1].compound_order = (unsigned char)order;
}

/* A block that passed check_new_block() becomes the caller's. I1, I3. */
static void prep_new_block(struct page *page, unsigned int order, gfp_t gfp,
			   const struct site *site)
{
	struct phys *phys = phys_here();
	unsigned long place = page->flags;

	set_page_private(page, 0);
	for (unsigned long i = 1; i < 1UL << order; i++) {
		page_set_flags(page + i, place);
		page[i].compound_head = 0;
	}
	unpoison_block(page, order);
	if (gfp & __GFP_ZERO)
		clear_block(page, order);
	if (order && (gfp & __GFP_COMP))
		prep_compound_page(page, order);
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

static struct page *take_block(struct zone *zone, unsigned int order, int migratetype)
{
	struct page *page;
	unsigned long flags;

	if (order == 0 && zone->zone_pgdat == phys_hot()->pgdat)
		return pcp_alloc(zone, migratetype);
	do {
		spin_lock_irqsave(&zone->lock, flags);
		page = zone_take_block(phys_here(), zone, order, migratetype);
		spin_unlock_irqrestore(&zone->lock, flags);
	} while (page && !check_new_block(page, order));
	return page;
}

static struct page *get_page_from_freelist(unsigned int order, unsigned int alloc_flags,
					   const struct alloc_context *ac)
{
	for (struct zoneref *z = ac->zonelist->_zonerefs; z->zone; z++) {
		struct zone *zone = z->zone;
		struct page *page;

		if (z->zone_idx > (int)ac->highest_zoneidx)
			continue;
		if (!(alloc_flags & ALLOC_NO_WATERMARKS) &&
		    !zone_watermark_ok(zone, order,
				       zone->_watermark[alloc_flags & ALLOC_WMARK_MASK],
				       (int)ac->highest_zoneidx, alloc_flags))
			continue;
		page = take_block(zone, order, ac->migratetype);
		if (page)
			return page;
	}
	return NULL;
}

static unsigned int gfp_to_alloc_flags(gfp_t gfp)
{
	unsigned int flags = ALLOC_WMARK_MIN;

	if (gfp & __GFP_HIGH)
		flags |= ALLOC_HIGH;
	if (gfp & __GFP_NOMEMALLOC)
		return flags;
	if (gfp & __GFP_ATOMIC)
		flags |= ALLOC_HARDER;
	if (gfp & __GFP_MEMALLOC)
		flags |= ALLOC_NO_WATERMARKS;
	return flags;
}

static void tell_pressure(const struct phys *phys, unsigned int order,
			  const struct alloc_context *ac)
{
	if (!phys->reclaim || !phys->reclaim->pressure)
		return;
	for (struct zoneref *z = ac->zonelist->_zonerefs; z->zone; z++) {
		if (z->zone_idx <= (int)ac->highest_zoneidx)
			phys->reclaim->pressure(z->zone, order);
	}
}

/* One round of making room. True if trying again makes sense. */
static bool make_room(const struct phys *phys, gfp_t gfp, unsigned int order)
{
	const struct reclaim_ops *ops = phys->reclaim;

	if (ops && ops->make_room && ops->make_room(gfp, order))
		return true;
	if (gfp & (__GFP_NORETRY | __GFP_RETRY_MAYFAIL))
		return false;
	return ops && ops->last_resort && ops->last_resort(gfp, order);
}

/* A request that may sleep: drain, make room, try, in rounds. */
static struct page *reclaim_and_alloc(gfp_t gfp, unsigned int order, unsigned int alloc_flags,
				      const struct alloc_context *ac)
{
	const struct phys *phys = phys_here();
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
		again = make_room(phys, gfp, order);
		if (gfp & __GFP_NOFAIL) {
			alloc_flags |= ALLOC_HARDER;
			if (preemptible())
				cond_resched();
		}
	}
}

static void warn_alloc(gfp_t gfp, unsigned int order, const struct site *site)
{
	static const char once;

	if (!(gfp & __GFP_NOWARN) && karc_once(&once))
		pr_warn("page allocation failure: order:%u, mode:0x%x, at %s:%u %s\n", order, gfp,
			site ? site->file : "?", site ? site->line : 0, site ? site->func : "?");
}

static noinline struct page *alloc_pages_slowpath(gfp_t gfp, unsigned int order,
						  const struct alloc_context *ac,
						  const struct site *site)
{
	unsigned int alloc_flags = gfp_to_alloc_flags(gfp);
	struct page *page;

	if (gfp & __GFP_KSWAPD_RECLAIM)
		tell_pressure(phys_here(), order, ac);
	page = get_page_from_freelist(order, alloc_flags, ac);
	if (!page && (gfp & (__GFP_DIRECT_RECLAIM | __GFP_NOFAIL)))
		page = reclaim_and_alloc(gfp, order, alloc_flags, ac);
	if (!page)
		warn_alloc(gfp, order, site);
	return page;
}

struct page *alloc_pages_node_site(int nid, gfp_t gfp, unsigned int order,
				   const struct site *site)
{
	struct pglist_data *pgdat = phys_hot()->pgdat;
	struct alloc_context ac;
	struct page *page;

	if (unlikely(order >= MAX_ORDER)) {
		WARN_ON_ONCE(!(gfp & __GFP_NOWARN));
		return NULL;
	}
	if (gfp & __GFP_DIRECT_RECLAIM)
		might_sleep_site(site);
	if (!(gfp & __GFP_NOFAIL) && inject_fail())
		return NULL;
	if (nid != NUMA_NO_NODE && nid != pgdat->node_id) {
		pgdat = node_data(nid);
		if (WARN_ON_ONCE(!pgdat))
			return NULL;
	}
	ac.zonelist = &pgdat->node_zonelists[gfp & __GFP_THISNODE ? ZONELIST_NOFALLBACK :
					     ZONELIST_FALLBACK];
	ac.highest_zoneidx = gfp_zone(gfp);
	ac.migratetype = gfp_migratetype(gfp);
	page = get_page_from_freelist(order, ALLOC_WMARK_LOW, &ac);
	if (unlikely(!page)) {
		page = alloc_pages_slowpath(gfp, order, &ac, site);
		if (!page)
			return NULL;
	}
	prep_new_block(page, order, gfp, site);
	return page;
}

struct page *(alloc_pages_node)(int nid, gfp_t gfp, unsigned int order)
{
	return alloc_pages_node_site(nid, gfp, order, SITE());
}

struct page *alloc_pages_site(gfp_t gfp, unsigned int order, const struct site *site)
{
	return alloc_pages_node_site(NUMA_NO_NODE, gfp, order, site);
}

struct page *(alloc_pages)(gfp_t gfp, unsigned int order)
{
	return alloc_pages_site(gfp, order, SITE());
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

/* To a zone's lists, past the CPU's. */
void free_one_block(struct zone *zone, struct page *page, unsigned int order)
{
	unsigned long flags;

	spin_lock_irqsave(&zone->lock, flags);
	zone_add_block(zone, page, order, pageblock_type(phys_here(), page_to_pfn(page)));
	spin_unlock_irqrestore(&zone->lock, flags);
}

/* The order the block really has; a caller who says another is told. */
static unsigned int checked_order(const struct phys *phys, const struct page *page,
				  unsigned int order)
{
	unsigned int real = order;

	if (PageHead(page))
		real = compound_order(page);
	else if (phys->track && phys->track[page_to_pfn(page)].order != TRACK_INTERIOR)
		real = phys->track[page_to_pfn(page)].order;
	if (WARN(real != order, "frames freed with order %u, allocated with order %u", order, real))
		dump_page(page, "freed with the wrong order");
	return real;
}

/* Undo what makes a block somebody's. False: it is damaged and was taken out of use. I2, I3. */
static bool free_prepare(struct phys *phys, struct page *page, unsigned int order)
{
	bool bad = false;

	for (unsigned long i = 0; i < 1UL << order; i++) {
		struct page *p = page + i;

		if (i && PageTail(p)) {
			bad |= compound_head(p) != page;
			p->compound_head = 0;
			p->compound_order = 0;
		}
		if (p->flags & 1UL << PG_anon)
			p->mapping = NULL;
		if (unlikely(page_is_damaged(p, PAGE_FLAGS_CHECK_AT_FREE))) {
			bad = true;
			continue;
		}
		page_clear_flags(p);
	}
	if (unlikely(bad)) {
		bad_pages(page, 1UL << order, "found when freed");
		return false;
	}
	if (unlikely(phys->track))
		memset(&phys->track[page_to_pfn(page)], 0, sizeof(*phys->track) << order);
	return true;
}

/* The last reference is gone. */
void free_the_block(struct page *page, unsigned int order)
{
	struct phys *phys = phys_here();

	order = checked_order(phys, page, order);
	if (unlikely(!free_prepare(phys, page, order)))
		return;
	count_vm_events(PGFREE, 1UL << order);
	poison_block(page, order);
	if (order == 0)
		pcp_free(page);
	else
		free_one_block(page_zone(page), page, order);
}

/* Somebody else still holds the first frame of a block: free the others, it keeps that one. */
static void free_tails(struct phys *phys, struct page *page, unsigned int order)
{
	if (phys->track)
		phys->track[page_to_pfn(page)].order = 0;
	while (order-- > 0)
		free_the_block(page + (1UL << order), order);
}

void __free_pages(struct page *page, unsigned int order)
{
	bool head = PageHead(page);

	if (unlikely(page_ref_count(page) <= 0))
		page_put_of_nothing(page);
	else if (page_ref_dec_and_test(page))
		free_the_block(page, order);
	else if (!head && order)
		free_tails(phys_here(), page, order);
}

void free_pages(unsigned long addr, unsigned int order)
{
	if (!addr)
		return;
	if (WARN(!virt_addr_valid((void *)addr), "free_pages() of an address that is no frame's"))
		return;
	__free_pages(virt_to_page((void *)addr), order);
}

void split_page(struct page *page, unsigned int order)
{
	struct phys *phys = phys_here();
	unsigned long pfn = page_to_pfn(page);

	VM_BUG_ON(PageCompound(page));
	VM_BUG_ON(page_ref_count(page) <= 0);
	for (unsigned long i = 1; i < 1UL << order; i++)
		set_page_count(page + i, 1);
	for (unsigned long i = 0; phys->track && i < 1UL << order; i++)
		phys->track[pfn + i].order = 0;
}

void *alloc_pages_exact_site(size_t size_bytes, gfp_t gfp, const struct site *site)
{
	unsigned long nr = PAGE_ALIGN(size_bytes) >> PAGE_SHIFT;
	unsigned int order;
	struct page *page;

	if (!nr || WARN_ON_ONCE(gfp & (__GFP_COMP | __GFP_HIGHMEM)))
		return NULL;
	order = (unsigned int)get_order(size_bytes);
	page = alloc_pages_site(gfp, order, site);
	if (!page)
		return NULL;
	split_page(page, order);
	for (unsigned long i = nr; i < 1UL << order; i++)
		__free_page(page + i);
	return page_to_virt(page);
}

void free_pages_exact(void *virt, size_t size_bytes)
{
	unsigned long nr = PAGE_ALIGN(size_bytes) >> PAGE_SHIFT;

	for (unsigned long i = 0; i < nr; i++)
		free_page((unsigned long)virt + i * PAGE_SIZE);
}

unsigned long alloc_pages_bulk_array_site(gfp_t gfp, unsigned long nr_pages,
					  struct page **page_array, const struct site *site)
{
	unsigned long filled = 0;

	for (unsigned long i = 0; i < nr_pages; i++) {
		if (!page_array[i])
			page_array[i] = alloc_pages_site(gfp, 0, site);
		if (!page_array[i])
			break;
		filled++;
	}
	return filled;
}
