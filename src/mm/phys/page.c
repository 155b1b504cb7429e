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
#include <karc/mm/phys/memcg.h>
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
	[PG_memcg] = "memcg",
	[PG_pfmemalloc] = "pfmemalloc",
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

/* Linux's table, the longer combinations first; what a name says is not said again. */
static const struct {
	gfp_t bits;
	const char *name;
} gfp_names[] = {
	{ GFP_HIGHUSER_MOVABLE, "GFP_HIGHUSER_MOVABLE" },
	{ GFP_HIGHUSER, "GFP_HIGHUSER" },
	{ GFP_USER, "GFP_USER" },
	{ GFP_KERNEL_ACCOUNT, "GFP_KERNEL_ACCOUNT" },
	{ GFP_KERNEL, "GFP_KERNEL" },
	{ GFP_NOFS, "GFP_NOFS" },
	{ GFP_ATOMIC, "GFP_ATOMIC" },
	{ GFP_NOIO, "GFP_NOIO" },
	{ GFP_NOWAIT, "GFP_NOWAIT" },
	{ GFP_DMA, "GFP_DMA" },
	{ __GFP_HIGHMEM, "__GFP_HIGHMEM" },
	{ GFP_DMA32, "GFP_DMA32" },
	{ __GFP_HIGH, "__GFP_HIGH" },
	{ __GFP_ATOMIC, "__GFP_ATOMIC" },
	{ __GFP_IO, "__GFP_IO" },
	{ __GFP_FS, "__GFP_FS" },
	{ __GFP_NOWARN, "__GFP_NOWARN" },
	{ __GFP_RETRY_MAYFAIL, "__GFP_RETRY_MAYFAIL" },
	{ __GFP_NOFAIL, "__GFP_NOFAIL" },
	{ __GFP_NORETRY, "__GFP_NORETRY" },
	{ __GFP_COMP, "__GFP_COMP" },
	{ __GFP_ZERO, "__GFP_ZERO" },
	{ __GFP_NOMEMALLOC, "__GFP_NOMEMALLOC" },
	{ __GFP_MEMALLOC, "__GFP_MEMALLOC" },
	{ __GFP_HARDWALL, "__GFP_HARDWALL" },
	{ __GFP_THISNODE, "__GFP_THISNODE" },
	{ __GFP_RECLAIMABLE, "__GFP_RECLAIMABLE" },
	{ __GFP_MOVABLE, "__GFP_MOVABLE" },
	{ __GFP_ACCOUNT, "__GFP_ACCOUNT" },
	{ __GFP_WRITE, "__GFP_WRITE" },
	{ __GFP_RECLAIM, "__GFP_RECLAIM" },
	{ __GFP_DIRECT_RECLAIM, "__GFP_DIRECT_RECLAIM" },
	{ __GFP_KSWAPD_RECLAIM, "__GFP_KSWAPD_RECLAIM" },
};

const char *gfp_flag_names(gfp_t gfp, char *buf, size_t size_bytes)
{
	size_t at = 0;

	if (!gfp)
		snprintf(buf, size_bytes, "none");
	for (unsigned int i = 0; i < ARRAY_SIZE(gfp_names) && gfp && at < size_bytes; i++) {
		if ((gfp & gfp_names[i].bits) != gfp_names[i].bits)
			continue;
		gfp &= ~gfp_names[i].bits;
		at += (size_t)snprintf(buf + at, size_bytes - at, "%s%s", at ? "|" : "",
				       gfp_names[i].name);
	}
	if (gfp && at < size_bytes)
		snprintf(buf + at, size_bytes - at, "%s%#x", at ? "|" : "", gfp);
	return buf;
}

void say_site(const char *what, const struct site *site)
{
	if (site)
		pr_warn("page %s at %s:%u %s\n", what, site->file, site->line, site->func);
}

/* Who had the frame last, and how that ended. */
static void dump_track(const struct page *page)
{
	const struct phys *phys = phys_here();
	const struct frame_track *track;

	if (!phys->track)
		return;
	track = &phys->track[page_to_pfn(page)];
	say_site(track->free_site ? "last allocated" : "allocated", track->site);
	say_site("freed", track->free_site);
}

void dump_page(const struct page *page, const char *reason)
{
	const struct page *head = compound_head(page);
	char names[192];

	pr_warn("page: refcount:%d mapcount:%d mapping:%s index:0x%lx pfn:0x%lx\n",
		page_ref_count(page), page_mapcount(head), page->mapping ? "set" : "none",
		page->index, page_to_pfn(page));
	if (head != page || PageHead(page))
		pr_warn("head: pfn:0x%lx order:%u refcount:%d\n", page_to_pfn(head),
			compound_order(head), page_ref_count(head));
	pr_warn("flags: 0x%lx(%s) node:%d zone:%d order:%u\n", page->flags & PAGE_FLAG_BITS,
		page_flag_names(page->flags, names, sizeof(names)), page_to_nid(page),
		(int)page_zonenum(page), page_block_order(page));
	if (PageMemcg(page))
		pr_warn("charged to a group that has %zu bytes\n",
			mem_cgroup_usage(page_memcg(page)));
	dump_track(page);
	if (reason)
		pr_warn("page dumped because: %s\n", reason);
}

const struct site *page_site(const struct page *page)
{
	const struct phys *phys = phys_here();
	const struct frame_track *track = phys->track ? &phys->track[page_to_pfn(page)] : NULL;

	return track && !track->free_site ? track->site : NULL;
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

/*
 * The first frame of the block around @page for which @is says yes, @page itself included; or NULL.
 * Only a guess for a report: nobody keeps the others from changing.
 */
static const struct page *block_around(const struct page *page,
				       bool (*is)(const struct page *head, unsigned int order))
{
	unsigned long pfn = page_to_pfn(page);

	for (unsigned int order = 0; order < MAX_ORDER; order++) {
		const struct page *head = pfn_to_page(ALIGN_DOWN(pfn, 1UL << order));

		if (is(head, order))
			return head;
	}
	return NULL;
}

static bool is_free(const struct page *head, unsigned int order)
{
	return (PagePcp(head) && !order) || (PageBuddy(head) && READ_ONCE(head->private) >= order);
}

static bool is_used(const struct page *head, unsigned int order)
{
	return page_ref_count(head) > 0 && page_block_order(head) >= max(order, 1u);
}

bool page_put_of_nothing(struct page *page, const struct site *site)
{
	const struct page *head = block_around(page, is_free);
	const char *what = head ? " (it is free: a double free?)" : "";

	if (!head && page_ref_count(page) == 0)
		head = block_around(page, is_used);
	if (!*what && head)
		what = " (it lies inside a block)";
	WARN(1, "put of a frame that nobody holds: pfn:0x%05lx refcount:%d%s", page_to_pfn(page),
	     page_ref_count(page), what);
	say_site("put", site);
	if (head && head != page)
		pr_warn("the block begins at pfn:0x%05lx and has order %lu\n", page_to_pfn(head),
			PageBuddy(head) ? READ_ONCE(head->private) : page_block_order(head));
	dump_page(page, "put without a reference");
	return false;
}

void __put_page_site(struct page *page, const struct site *site)
{
	const struct phys *phys = phys_here();

	if (unlikely(PageLRU(page)) && phys->lru_release)
		phys->lru_release(page);
	free_the_block(page, compound_order(page), site);
}

void (put_page)(struct page *page)
{
	put_page_site(page, SITE());
}
