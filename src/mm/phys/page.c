/* SPDX-License-Identifier: MIT */
/*
 * page.c - what is not inline about one frame: its last put, its picture, its damage
 *
 * What it is
 *	Everything that happens to a frame off the fast path. A frame that is freed although an
 *	owner left traces on it is "bad": it is reported once and goes nowhere, because whoever left
 *	the trace may still use it. Such frames keep PG_hwpoison and count as left at shutdown.
 *
 * Invariants
 *	I1 a frame with PG_hwpoison is on no list and is never allocated
 *
 * Unlike Linux
 *	PageX() does not look at the head of a compound page. The LRU release of the last put is a
 *	hook, because the LRU is a room above.
 */
#include <stdio.h>

#include <karc/base/log.h>
#include "internal.h"

bool pfn_valid(unsigned long pfn)
{
	return physmem_pfn_is_ram(karc_cpu->machine, pfn);
}

bool virt_addr_valid(const void *p)
{
	return virt_addr_valid_fast(p) &&
	       pfn_valid((unsigned long)(virt_to_phys(p) >> PAGE_SHIFT));
}

void *page_highmem_address(const struct page *page)
{
	const struct phys *phys = phys_here();

	return phys->highmem_address ? phys->highmem_address(page) : NULL;
}

static const char *const flag_names[NR_PAGEFLAGS] = {
	[PG_locked] = "locked",
	[PG_referenced] = "referenced",
	[PG_uptodate] = "uptodate",
	[PG_dirty] = "dirty",
	[PG_lru] = "lru",
	[PG_active] = "active",
	[PG_writeback] = "writeback",
	[PG_head] = "head",
	[PG_slab] = "slab",
	[PG_table] = "table",
	[PG_buddy] = "buddy",
	[PG_pcp] = "pcp",
	[PG_reserved] = "reserved",
	[PG_anon] = "anon",
	[PG_swapbacked] = "swapbacked",
	[PG_swapcache] = "swapcache",
	[PG_unevictable] = "unevictable",
	[PG_hwpoison] = "hwpoison",
};

const char *page_flag_names(unsigned long flags, char *buf, size_t size_bytes)
{
	size_t at = 0;

	buf[0] = '\0';
	for (unsigned int bit = 0; bit < NR_PAGEFLAGS; bit++) {
		if (!(flags >> bit & 1) || at >= size_bytes)
			continue;
		at += (size_t)snprintf(buf + at, size_bytes - at, "%s%s", at ? "|" : "",
				       flag_names[bit]);
	}
	return buf;
}

void dump_page(const struct page *page, const char *reason)
{
	const struct page *head = compound_head(page);
	const struct site *site = page_site(page);
	char names[160];

	pr_warn("page: refcount:%d mapcount:%d mapping:%s index:0x%lx pfn:0x%lx\n",
		page_ref_count(page), page_mapcount(head), page->mapping ? "set" : "none",
		page->index, page_to_pfn(page));
	if (head != page)
		pr_warn("head: pfn:0x%lx order:%u refcount:%d\n", page_to_pfn(head),
			compound_order(head), page_ref_count(head));
	pr_warn("flags: (%s) node:%d zone:%d\n",
		page_flag_names(page->flags, names, sizeof(names)), page_to_nid(page),
		(int)page_zonenum(page));
	if (site)
		pr_warn("page allocated at %s:%u %s\n", site->file, site->line, site->func);
	if (reason)
		pr_warn("page dumped because: %s\n", reason);
}

const struct site *page_site(const struct page *page)
{
	const struct phys *phys = phys_here();

	return phys->track ? phys->track[page_to_pfn(page)].site : NULL;
}

/* Does the frame show traces of an owner? I6 of zone.c says what a free one looks like. */
bool page_is_damaged(const struct page *page, unsigned long bad_flags)
{
	return (page->flags & bad_flags) | (unsigned long)page->mapping |
	       (unsigned long)page->dtors | (unsigned int)atomic_read(&page->_mapcount) |
	       (unsigned int)page_ref_count(page);
}

/* Name the first thing that is wrong. */
static const char *damage_of(const struct page *page)
{
	if (atomic_read(&page->_mapcount))
		return "nonzero mapcount";
	if (page->mapping)
		return "non-NULL mapping";
	if (page_ref_count(page))
		return "nonzero _refcount";
	if (page->dtors)
		return "destructors that have not run";
	return "page flags of an owner";
}

/* Take frames out of use for good; the first damaged one is shown. */
void bad_pages(struct page *page, unsigned long nr_pages, const char *reason)
{
	struct page *worst = page;

	for (unsigned long i = 0; i < nr_pages; i++) {
		if (page_is_damaged(page + i, PAGE_FLAGS_CHECK_AT_FREE)) {
			worst = page + i;
			break;
		}
	}
	WARN(1, "Bad page state: pfn:0x%05lx, %s (%s)", page_to_pfn(worst), damage_of(worst),
	     reason);
	dump_page(worst, damage_of(worst));
	for (unsigned long i = 0; i < nr_pages; i++) {
		page_set_flags(page + i, (page[i].flags & PAGE_PLACE_MASK) | 1UL << PG_hwpoison);
		page[i].mapping = NULL;
		page[i].dtors = NULL;
		page_mapcount_reset(page + i);
		set_page_count(page + i, 1);
	}
	__atomic_fetch_add(&phys_here()->nr_bad, nr_pages, __ATOMIC_RELAXED);
}

bool page_put_of_nothing(struct page *page)
{
	WARN(1, "put of a frame that nobody holds: pfn:0x%05lx refcount:%d%s", page_to_pfn(page),
	     page_ref_count(page),
	     PageBuddy(page) || PagePcp(page) ? " (it is free: a double free?)" : "");
	dump_page(page, "put without a reference");
	return false;
}

void __put_page(struct page *page)
{
	const struct phys *phys = phys_here();

	if (unlikely(PageLRU(page)) && phys->lru_release)
		phys->lru_release(page);
	free_the_block(page, compound_order(page));
}
