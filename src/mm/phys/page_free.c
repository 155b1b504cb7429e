/* SPDX-License-Identifier: MIT */
/*
 * page_free.c - how a block ends: what is asked of it, and where its frames go
 *
 * What it is
 *	The last reference frees. What an owner left on a frame is found here and the frame taken out
 *	of use (bad_pages). A block's first frame says how large it is, whatever the caller
 *	says, so a wrong order neither frees what is somebody else's nor loses anything.
 *
 * Invariants
 *	those of page_alloc.c
 *
 * Locking
 *	zone->lock inside zone_*; a frame without a reference is ours alone.
 *
 * Worst case
 *	Clearing, poisoning and asking 1024 frames. The rest is MAX_ORDER steps.
 *
 * Unlike Linux
 *	Linux believes the order it is told.
 */
#include <string.h>

#include <karc/hw/tracepoint.h>
#include <karc/mm/phys/page_fast.h>
#include <karc/refcount/free_check.h>
#include "internal.h"

/* To a zone's lists, past the CPU's. */
void free_one_block(struct zone *zone, struct page *page, unsigned int order)
{
	unsigned long flags;

	spin_lock_irqsave(&zone->lock, flags);
	zone_add_block(zone, page, order, pageblock_type(phys_here(), page_to_pfn(page)));
	spin_unlock_irqrestore(&zone->lock, flags);
}

/* The order the block really has; a caller who says another is told. */
static unsigned int checked_order(const struct page *page, unsigned int order,
				  const struct site *site)
{
	unsigned int real = page_block_order(page);

	if (unlikely(real != order)) {
		WARN(1, "frames freed with order %u, allocated with order %u", order, real);
		say_site("freed", site);
		dump_page(page, "freed with the wrong order");
	}
	return real;
}

/* Undo what one frame of a block got when it was allocated. False: it is damaged. */
static bool free_prepare_frame(struct page *head, struct page *p)
{
	bool bad = false;

	if (p != head && PageTail(p)) {
		bad = compound_head(p) != head;
		p->compound_head = 0;
		p->compound_order = 0;
	}
	if (p->flags & 1UL << PG_anon)
		p->mapping = NULL;
	if (unlikely(PageMemcg(p)))
		memcg_uncharge_frame(p);
	if (unlikely(bad || page_is_damaged(p, PAGE_FLAGS_CHECK_AT_FREE)))
		return false;
	page_clear_flags(p);
	p->private = 0;
	return true;
}

/* Undo what makes a block somebody's. False: it is damaged and was taken out of use. I2, I3. */
static bool free_prepare(struct phys *phys, struct page *page, unsigned int order,
			 const struct site *site)
{
	struct frame_track *track = phys->track;
	bool good = true;

	for (unsigned long i = 0; i < 1UL << order; i++)
		good &= free_prepare_frame(page, page + i);
	if (unlikely(!good)) {
		bad_pages(page, 1UL << order, "found when freed");
		return false;
	}
	if (unlikely(track != NULL)) {
		track += page_to_pfn(page);
		for (unsigned long i = 0; i < 1UL << order; i++)
			track[i].free_site = site;
	}
	return true;
}

static noinline __cold void trace_free(const struct page *page, unsigned int order,
				       const struct site *site)
{
	struct trace_record record = {
		.event = TRACE_MM_PAGE_FREE,
		.site = site,
		.ptr = page,
		.pfn = page_to_pfn(page),
		.order = order,
		.node = page_to_nid(page),
	};

	trace_event_emit(&record);
}

/* A slab is its cache's, which says so before it frees one; it keeps the reference. */
static noinline __cold void refuse_slab(struct page *page, const struct site *site)
{
	WARN(1, "free of frames that are a slab's: pfn:0x%05lx", page_to_pfn(page));
	say_site("freed", site);
	set_page_count(page, 1);
	dump_page(page, "freed as frames, and a slab");
}

/* The last reference is gone. */
void free_the_block(struct page *page, unsigned int order, const struct site *site)
{
	struct phys *phys = phys_here();

	if (unlikely(PageSlab(page))) {
		refuse_slab(page, site);
		return;
	}
	order = checked_order(page, order, site);
	if (trace_event_on(TRACE_MM_PAGE_FREE))
		trace_free(page, order, site);
	if (unlikely(phys->track != NULL) && !PageHighMem(page))
		check_freed_memory(page_to_virt(page), PAGE_SIZE << order, "free_pages", site);
	if (unlikely(!free_prepare(phys, page, order, site)))
		return;
	count_vm_events(PGFREE, 1UL << order);
	content_on_free(phys, page, order);
	if (order == 0)
		pcp_free(page);
	else
		free_one_block(page_zone(page), page, order);
}

/* Somebody else still holds the first frame of a block: free the others, it keeps that one. */
static void free_tails(struct phys *phys, struct page *page, unsigned int order,
		       const struct site *site)
{
	unsigned int real = page_block_order(page);

	if (unlikely(real != order))
		order = checked_order(page, order, site);
	page_set_block_order(phys, page, 0);
	if (phys->track)
		phys->track[page_to_pfn(page)].order = 0;
	while (order-- > 0) {
		page_set_block_order(phys, page + (1UL << order), order);
		free_the_block(page + (1UL << order), order, site);
	}
}

/* Is it a struct page of this machine at all? */
static bool is_struct_page(const struct phys *phys, const struct page *page,
			   const struct site *site)
{
	unsigned long offset = (unsigned long)page - (unsigned long)karc_cpu->memmap;

	if (likely(offset < phys->max_pfn * sizeof(*page) && offset % sizeof(*page) == 0))
		return true;
	WARN(1, "free of a frame that this machine does not have");
	say_site("freed", site);
	return false;
}

void __free_pages_slow(struct page *page, unsigned int order, const struct site *site)
{
	struct phys *phys = phys_here();
	bool head;

	if (unlikely(!is_struct_page(phys, page, site)))
		return;
	head = PageHead(page);
	if (unlikely(page_ref_count(page) <= 0))
		page_put_of_nothing(page, site);
	else if (page_ref_dec_and_test(page))
		free_the_block(page, order, site);
	else if (!head && (order || page_block_order(page)))
		free_tails(phys, page, order, site);
}

void (__free_pages_site)(struct page *page, unsigned int order, const struct site *site)
{
	if (order || !page_free_fast(page))
		__free_pages_slow(page, order, site);
}

void (__free_pages)(struct page *page, unsigned int order)
{
	(__free_pages_site)(page, order, SITE());
}

void free_pages_site(unsigned long addr, unsigned int order, const struct site *site)
{
	if (!addr)
		return;
	if (unlikely(!virt_addr_valid((void *)addr))) {
		WARN(1, "free_pages() of an address that is no frame's");
		say_site("freed", site);
		return;
	}
	if (unlikely(offset_in_page(addr))) {
		WARN(1, "free_pages() of an address %lu bytes inside a frame",
		     (unsigned long)offset_in_page(addr));
		say_site("freed", site);
	}
	(__free_pages_site)(virt_to_page((void *)addr), order, site);
}

void (free_pages)(unsigned long addr, unsigned int order)
{
	free_pages_site(addr, order, SITE());
}

void split_page(struct page *page, unsigned int order)
{
	struct phys *phys = phys_here();
	unsigned long pfn = page_to_pfn(page);

	VM_BUG_ON(PageCompound(page));
	VM_BUG_ON(page_ref_count(page) <= 0);
	WARN(page_block_order(page) != order, "split_page() of order %u, allocated with order %u",
	     order, page_block_order(page));
	order = page_block_order(page);
	page_set_block_order(phys, page, 0);
	for (unsigned long i = 1; i < 1UL << order; i++) {
		page_set_block_order(phys, page + i, 0);
		set_page_count(page + i, 1);
	}
	for (unsigned long i = 0; phys->track && i < 1UL << order; i++)
		phys->track[pfn + i].order = 0;
}
