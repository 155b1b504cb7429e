/* SPDX-License-Identifier: MIT */
/*
 * folio.h - a block of frames by its head: a page that is nobody's tail
 *
 * The head frame's struct page under another type, so that functions which want a whole block
 * cannot be given a part of one.
 * Model: Linux 6.1.
 */
#ifndef KARC_MM_PHYS_FOLIO_H
#define KARC_MM_PHYS_FOLIO_H

#include <karc/mm/phys/page_alloc.h>

struct folio {
	struct page page;
};

static_assert(sizeof(struct folio) == sizeof(struct page), "a folio is a page");

/* The folio that @page is part of. */
static inline struct folio *page_folio(const struct page *page)
{
	return (struct folio *)compound_head(page);
}

#define folio_page(folio, n)	(&(folio)->page + (n))

/**
 * folio_alloc - take 2^@order frames as one folio
 *
 * Gives:   one reference; end it with folio_put().
 * Context: as alloc_pages(). Errors: NULL.
 * Model:   Linux 6.1 folio_alloc().
 */
#define folio_alloc(gfp, order) \
	((struct folio *)alloc_pages((gfp) | __GFP_COMP, (order)))
#define __folio_alloc_node(gfp, order, nid) \
	((struct folio *)alloc_pages_node((nid), (gfp) | __GFP_COMP, (order)))

static inline void folio_get(struct folio *folio)
{
	get_page(&folio->page);
}

static inline bool folio_try_get(struct folio *folio)
{
	return get_page_unless_zero(&folio->page);
}

static inline void folio_put(struct folio *folio)
{
	put_page(&folio->page);
}

static inline void folio_put_refs(struct folio *folio, int refs)
{
	while (refs-- > 0)
		put_page(&folio->page);
}

static inline int folio_ref_count(const struct folio *folio)
{
	return page_ref_count(&folio->page);
}

static inline unsigned int folio_order(const struct folio *folio)
{
	return compound_order(&folio->page);
}

static inline long folio_nr_pages(const struct folio *folio)
{
	return (long)compound_nr(&folio->page);
}

static inline size_t folio_size(const struct folio *folio)
{
	return page_size(&folio->page);
}

static inline unsigned int folio_shift(const struct folio *folio)
{
	return PAGE_SHIFT + folio_order(folio);
}

static inline unsigned long folio_pfn(const struct folio *folio)
{
	return page_to_pfn(&folio->page);
}

/* As page_address(): NULL for HIGHMEM that is not mapped. */
static inline void *folio_address(const struct folio *folio)
{
	return page_address(&folio->page);
}

static inline struct folio *virt_to_folio(const void *p)
{
	return page_folio(virt_to_page(p));
}

static inline bool folio_test_large(const struct folio *folio)
{
	return PageCompound(&folio->page);
}

static inline bool folio_test_slab(const struct folio *folio)
{
	return PageSlab(&folio->page);
}

static inline int folio_nid(const struct folio *folio)
{
	return page_to_nid(&folio->page);
}

static inline struct zone *folio_zone(const struct folio *folio)
{
	return page_zone(&folio->page);
}

#endif
