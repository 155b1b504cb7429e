/* SPDX-License-Identifier: MIT */
/*
 * page_alloc.h - take frames from the buddy allocator and give them back
 */
#ifndef KARC_MM_PHYS_PAGE_ALLOC_H
#define KARC_MM_PHYS_PAGE_ALLOC_H

#include <karc/base/cleanup.h>
#include <karc/base/site.h>
#include <karc/mm/phys/zone.h>

/* Rounds of asking for room before a request that may sleep fails. */
#define MAX_RECLAIM_ROUNDS	16

/**
 * alloc_pages - take 2^@order contiguous frames from the buddy allocator
 * @gfp:   what the caller can bear: sleeping, reserves, highmem, zeroing
 * @order: log2 of the number of frames, 0 .. MAX_ORDER - 1
 *
 * Gives:    one reference on the first frame; end it with __free_pages(page, @order).
 * Context:  any if @gfp lacks __GFP_DIRECT_RECLAIM; otherwise may sleep.
 * Locks:    takes and drops zone->lock; caller holds nothing ranked LR_ZONE or later.
 * Errors:   NULL when no block can be made, after at most MAX_RECLAIM_ROUNDS; nothing changed.
 *           An order of MAX_ORDER or more is refused with a warning (not with __GFP_NOWARN).
 * Units:    order, neither pages nor bytes. The block is aligned to its size.
 * Model:    Linux 6.1 alloc_pages().
 */
KARC_MUST_CHECK struct page *alloc_pages_site(gfp_t gfp, unsigned int order,
					      const struct site *site);
KARC_MUST_CHECK struct page *(alloc_pages)(gfp_t gfp, unsigned int order);
#define alloc_pages(gfp, order) alloc_pages_site(gfp, order, SITE())
#define alloc_page(gfp) alloc_pages(gfp, 0)

/* The same, beginning with the zones of node @nid (NUMA_NO_NODE: of this CPU's). */
KARC_MUST_CHECK struct page *alloc_pages_node_site(int nid, gfp_t gfp, unsigned int order,
						   const struct site *site);
KARC_MUST_CHECK struct page *(alloc_pages_node)(int nid, gfp_t gfp, unsigned int order);
#define alloc_pages_node(nid, gfp, order) alloc_pages_node_site(nid, gfp, order, SITE())

/* The same, and the direct-map address of the block, or 0. __GFP_HIGHMEM is refused. */
KARC_MUST_CHECK unsigned long __get_free_pages_site(gfp_t gfp, unsigned int order,
						    const struct site *site);
KARC_MUST_CHECK unsigned long (__get_free_pages)(gfp_t gfp, unsigned int order);
#define __get_free_pages(gfp, order) __get_free_pages_site(gfp, order, SITE())
#define __get_free_page(gfp) __get_free_pages(gfp, 0)
#define get_zeroed_page(gfp) __get_free_pages((gfp) | __GFP_ZERO, 0)
#define __get_dma_pages(gfp, order) __get_free_pages((gfp) | GFP_DMA, order)

/**
 * __free_pages - drop the reference that alloc_pages() gave
 *
 * Takes:    the reference. If it was the last the block is free; if not, and the block is not
 *           compound, all frames but the first are freed now and the first by its last put_page().
 * Context:  any.
 * Errors:   a frame that still has a count, a mapping, or flags of an owner is reported and
 *           never used again; a wrong @order is reported (compound pages, and all pages of a
 *           machine that tracks) and the right one used.
 * Model:    Linux 6.1 __free_pages().
 */
void __free_pages(struct page *page, unsigned int order);
void free_pages(unsigned long addr, unsigned int order);	/* 0 is ignored */
#define __free_page(page) __free_pages(page, 0)
#define free_page(addr) free_pages(addr, 0)

/* Make a block that is not compound into 2^@order frames that are freed one by one. */
void split_page(struct page *page, unsigned int order);

/* @size_bytes of contiguous frames; what the power of two has too many goes back at once. */
KARC_MUST_CHECK void *alloc_pages_exact_site(size_t size_bytes, gfp_t gfp,
					     const struct site *site);
#define alloc_pages_exact(size_bytes, gfp) alloc_pages_exact_site(size_bytes, gfp, SITE())
void free_pages_exact(void *virt, size_t size_bytes);

/**
 * alloc_pages_bulk_array - fill the NULL entries of an array with single frames
 * Returns: number of entries that are not NULL now; may be less than @nr_pages.
 */
unsigned long alloc_pages_bulk_array_site(gfp_t gfp, unsigned long nr_pages,
					  struct page **page_array, const struct site *site);
#define alloc_pages_bulk_array(gfp, nr_pages, array) \
	alloc_pages_bulk_array_site(gfp, nr_pages, array, SITE())

/**
 * struct reclaim_ops - what the slow path needs from a room above
 * @make_room:   give frames back; returns how many. May sleep. Called again from inside itself
 *               it must return 0
 * @last_resort: nothing can be reclaimed: true if it did something about it and trying again
 *               makes sense
 * @pressure:    the zone is below its low mark; any context, must not allocate
 */
struct reclaim_ops {
	unsigned long (*make_room)(gfp_t gfp, unsigned int order);
	bool (*last_resort)(gfp_t gfp, unsigned int order);
	void (*pressure)(struct zone *zone, unsigned int order);
};

/* Any member may be NULL; @ops NULL takes them away. The struct stays the caller's. */
void phys_set_reclaim(struct machine *m, const struct reclaim_ops *ops);

/* Called by the last put_page() of a frame with PG_lru, to take it off its list. */
void phys_set_lru_release(struct machine *m, void (*release)(struct page *page));

/* Where kmap() put a HIGHMEM frame, for page_address(); NULL if it is not mapped. */
void phys_set_highmem_address(struct machine *m, void *(*address)(const struct page *page));

/* Where this allocated frame was allocated, in a machine that tracks; else NULL. */
const struct site *page_site(const struct page *page);

/* On a variable: __free(free_page); see base/cleanup.h. */
DEFINE_FREE(free_page, void *, free_page((unsigned long)_T))

#endif
