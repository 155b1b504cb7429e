/* SPDX-License-Identifier: MIT */
/*
 * page_alloc.h - take frames from the buddy allocator and give them back
 */
#ifndef KARC_MM_PHYS_PAGE_ALLOC_H
#define KARC_MM_PHYS_PAGE_ALLOC_H

#include <karc/base/cleanup.h>
#include <karc/base/site.h>
#include <karc/mm/phys/page_fast.h>
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
KARC_MUST_CHECK struct page *(alloc_pages_site)(gfp_t gfp, unsigned int order,
						const struct site *site);
KARC_MUST_CHECK struct page *(alloc_pages)(gfp_t gfp, unsigned int order);

/* The short way where the compiler knows what is asked for, else the call. */
static __always_inline KARC_MUST_CHECK struct page *
karc_alloc_pages_inline(gfp_t gfp, unsigned int order, const struct site *site)
{
#if KARC_PAGE_INLINE
	if (__builtin_constant_p(order) && __builtin_constant_p(gfp) && !order) {
		struct page *page = page_alloc_fast(gfp);

		if (likely(page != NULL))
			return page;
	}
#endif
	return (alloc_pages_site)(gfp, order, site);
}

#define alloc_pages_site(gfp, order, site) karc_alloc_pages_inline(gfp, order, site)
#define alloc_pages(gfp, order) alloc_pages_site(gfp, order, SITE())
#define alloc_page(gfp) alloc_pages(gfp, 0)

/* The same, beginning with the zones of node @nid (NUMA_NO_NODE: of this CPU's). */
KARC_MUST_CHECK struct page *alloc_pages_node_site(int nid, gfp_t gfp, unsigned int order,
						   const struct site *site);
KARC_MUST_CHECK struct page *(alloc_pages_node)(int nid, gfp_t gfp, unsigned int order);
#define alloc_pages_node(nid, gfp, order) alloc_pages_node_site(nid, gfp, order, SITE())

/* The same, from the nodes of @nodemask only; NULL: from any. */
KARC_MUST_CHECK struct page *__alloc_pages_site(gfp_t gfp, unsigned int order, int nid,
						const nodemask_t *nodemask,
						const struct site *site);
#define __alloc_pages(gfp, order, nid, nodemask) \
	__alloc_pages_site(gfp, order, nid, nodemask, SITE())

/* The same, and the direct-map address of the block, or 0. __GFP_HIGHMEM is refused. */
KARC_MUST_CHECK unsigned long __get_free_pages_site(gfp_t gfp, unsigned int order,
						    const struct site *site);
KARC_MUST_CHECK unsigned long (__get_free_pages)(gfp_t gfp, unsigned int order);
#define __get_free_pages(gfp, order) __get_free_pages_site(gfp, order, SITE())
#define __get_free_page(gfp) __get_free_pages(gfp, 0)
#define get_zeroed_page(gfp) __get_free_pages((gfp) | __GFP_ZERO, 0)
#define __get_dma_pages(gfp, order) __get_free_pages((gfp) | GFP_DMA, order)

/* Did the frame come from the reserves? Then it is for what frees memory only. */
static inline bool page_is_pfmemalloc(const struct page *page)
{
	return PagePfMemalloc(page);
}

/**
 * __free_pages - drop the reference that alloc_pages() gave
 *
 * Takes:    the reference. If it was the last the block is free; if not, and the block is not
 *           compound, all frames but the first are freed now and the first by its last put_page().
 * Context:  any.
 * Errors:   a frame that still has a count, a mapping, or flags of an owner is reported and
 *           never used again; a wrong @order is reported and the right one used; a frame that is
 *           free, or inside a block, is reported and left alone. In a machine that tracks
 *           with the places where it was allocated and freed.
 * Model:    Linux 6.1 __free_pages().
 */
void (__free_pages)(struct page *page, unsigned int order);
void (__free_pages_site)(struct page *page, unsigned int order, const struct site *site);
void __free_pages_slow(struct page *page, unsigned int order, const struct site *site);

static __always_inline void karc_free_pages_inline(struct page *page, unsigned int order,
						   const struct site *site)
{
#if KARC_PAGE_INLINE
	if (__builtin_constant_p(order) && !order) {
		if (unlikely(!page_free_fast(page)))
			__free_pages_slow(page, 0, site);
		return;
	}
#endif
	(__free_pages_site)(page, order, site);
}

#define __free_pages_site(page, order, site) karc_free_pages_inline(page, order, site)
#define __free_pages(page, order) __free_pages_site(page, order, SITE())
#define __free_page(page) __free_pages(page, 0)

void free_pages_site(unsigned long addr, unsigned int order, const struct site *site);
void (free_pages)(unsigned long addr, unsigned int order);
#define free_pages(addr, order) free_pages_site(addr, order, SITE())	/* 0 is ignored */
#define free_page(addr) free_pages(addr, 0)

/* Make a block that is not compound into 2^@order frames that are freed one by one. */
void split_page(struct page *page, unsigned int order);

/* @size_bytes of contiguous frames; what the power of two has too many goes back at once. */
KARC_MUST_CHECK void *alloc_pages_exact_site(size_t size_bytes, gfp_t gfp,
					     const struct site *site);
KARC_MUST_CHECK void *alloc_pages_exact_nid_site(int nid, size_t size_bytes, gfp_t gfp,
						 const struct site *site);
void free_pages_exact_site(void *virt, size_t size_bytes, const struct site *site);
#define alloc_pages_exact(size_bytes, gfp) alloc_pages_exact_site(size_bytes, gfp, SITE())
#define alloc_pages_exact_nid(nid, size_bytes, gfp) \
	alloc_pages_exact_nid_site(nid, size_bytes, gfp, SITE())
#define free_pages_exact(virt, size_bytes) free_pages_exact_site(virt, size_bytes, SITE())

/**
 * alloc_pages_bulk_array - fill the NULL entries of an array with single frames
 * alloc_pages_bulk_list - add single frames to a list, by page->lru
 *
 * Gives:   a reference on each frame. Context: as alloc_pages().
 * Returns: number of entries that are not NULL now; frames added. May be less than @nr_pages.
 * Model:   Linux 6.1 __alloc_pages_bulk(), but goes on one by one where that stops after one.
 */
unsigned long __alloc_pages_bulk_site(gfp_t gfp, int nid, const nodemask_t *nodemask,
				      unsigned long nr_pages, struct list_head *list,
				      struct page **page_array, const struct site *site);
#define __alloc_pages_bulk(gfp, nid, nodemask, nr_pages, list, array) \
	__alloc_pages_bulk_site(gfp, nid, nodemask, nr_pages, list, array, SITE())
#define alloc_pages_bulk_array_site(gfp, nr_pages, array, site) \
	__alloc_pages_bulk_site(gfp, NUMA_NO_NODE, NULL, nr_pages, NULL, array, site)
#define alloc_pages_bulk_array(gfp, nr_pages, array) \
	alloc_pages_bulk_array_site(gfp, nr_pages, array, SITE())
#define alloc_pages_bulk_array_node(gfp, nid, nr_pages, array) \
	__alloc_pages_bulk_site(gfp, nid, NULL, nr_pages, NULL, array, SITE())
#define alloc_pages_bulk_list(gfp, nr_pages, list) \
	__alloc_pages_bulk_site(gfp, NUMA_NO_NODE, NULL, nr_pages, list, NULL, SITE())

/**
 * alloc_contig_pages - contiguous frames, as many as there are
 * @nr_pages: a power of two is also the alignment
 * @nid, @nodemask: as __alloc_pages()
 *
 * Gives:   one reference on each frame; end them with free_contig_range(), or one by one.
 * Context: may sleep unless @gfp lacks __GFP_DIRECT_RECLAIM; then nothing is moved away for it.
 * Errors:  NULL: no such range is free or can be emptied; nothing changed.
 * Model:   Linux 6.1 alloc_contig_pages().
 */
KARC_MUST_CHECK struct page *alloc_contig_pages_site(unsigned long nr_pages, gfp_t gfp, int nid,
						     const nodemask_t *nodemask,
						     const struct site *site);
#define alloc_contig_pages(nr_pages, gfp, nid, nodemask) \
	alloc_contig_pages_site(nr_pages, gfp, nid, nodemask, SITE())

/* Takes the references; reports frames that somebody else holds too. */
void free_contig_range_site(unsigned long pfn, unsigned long nr_pages, const struct site *site);
#define free_contig_range(pfn, nr_pages) free_contig_range_site(pfn, nr_pages, SITE())

/*
 * Boot options of what is in frames: init_on_alloc=, init_on_free=, page_poison= (see content.c).
 * Other allocators do to their memory what these say; for __GFP_ZERO the first is true as well.
 */
bool want_init_on_alloc(gfp_t gfp);
bool want_init_on_free(void);
bool page_poisoning_enabled(void);

/**
 * warn_alloc - say that a request failed, unless it has __GFP_NOWARN
 *
 * With the flags by name, the caller, where it was, and how much memory of what kind is free; at
 * most ten times in five seconds. Context: any.
 */
void warn_alloc_site(gfp_t gfp, const nodemask_t *nodemask, unsigned int order,
		     const struct site *site);

/* What is free and what the rest is used for, to the log. Model: Linux 6.1 show_mem(). */
void show_mem(void);

/* A node that others' requests never fall back to (boot option isolated_node=), or NUMA_NO_NODE. */
int phys_isolated_node(void);
#define isolated_node	phys_isolated_node()

/**
 * struct reclaim_ops - what the slow path needs from a room above
 * @make_room:   give frames back; returns how many. May sleep. Called again from inside itself
 *               it must return 0
 * @last_resort: nothing can be reclaimed: true if it did something about it and trying again
 *               makes sense
 * @pressure:    the zone is below its low mark; any context, must not allocate
 * @move_away:   put the content of a frame on an LRU list, or of an anonymous one, elsewhere, so
 *               that it is freed; the caller holds a reference. It may find that it cannot
 */
struct reclaim_ops {
	unsigned long (*make_room)(gfp_t gfp, unsigned int order);
	bool (*last_resort)(gfp_t gfp, unsigned int order);
	void (*pressure)(struct zone *zone, unsigned int order);
	void (*move_away)(struct page *page);
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
