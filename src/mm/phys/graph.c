/* SPDX-License-Identifier: MIT */
/*
 * graph.c - frames in the ownership graph
 *
 * A frame in use is an object of the small form whose count is _refcount. Who refers to it is told
 * by the rooms above: tables, mappings of files, caches, areas. What nobody tells of is lost.
 */
#include <karc/refcount/graph.h>
#include "internal.h"

static const char *frame_type(const struct page *page)
{
	if (PageSlab(page))
		return "slab page";
	return PageTable(page) ? "page table" : "page";
}

static void see_frame(struct arc_graph_see *see, const struct page *page,
		      unsigned long pfn)
{
	static const char *const levels[] = { "PTE ", "PMD ", "PUD ", "PGD " };
	const char *level = PageTable(page) ? levels[page->pt_level & 3] : "";
	const struct site *site = page_site(page);

	arc_graph_see_object(see, page, frame_type(page), site,
			     PageHWPoison(page) ? ARC_NONE : (unsigned int)page_ref_count(page),
			     (u64)PAGE_SIZE << page_block_order(page), "%sframe %lu", level, pfn);
}

/* Free blocks are steps of their size; what is on a per-CPU list, or reserved, is nobody's. */
static void see_bank(struct arc_graph_see *see, const struct machine_bank *bank)
{
	unsigned long pfn = (unsigned long)(bank->start >> PAGE_SHIFT);
	unsigned long end = pfn + (unsigned long)(bank->size >> PAGE_SHIFT);

	while (pfn < end) {
		const struct page *page = pfn_to_page(pfn);
		unsigned long nr = 1;

		if (PageBuddy(page)) {
			nr = 1UL << buddy_order(page);
		} else if (!PageReserved(page) && !PagePcp(page)) {
			nr = 1UL << page_block_order(page);
			if (page_ref_count(page))
				see_frame(see, page, pfn);
		}
		pfn += nr;
	}
}

static void phys_visit(struct machine *m, struct arc_graph_see *see)
{
	struct machine_bank bank;
	unsigned int i;

	for (i = 0; physmem_bank(m, i, &bank); i++)
		see_bank(see, &bank);
}

const struct arc_graph_source phys_graph_source = {
	.name = "phys",
	.ops = { .visit = phys_visit },
};
