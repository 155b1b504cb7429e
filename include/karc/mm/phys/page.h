/* SPDX-License-Identifier: MIT */
/*
 * page.h - one frame: its flags, its count, its address
 *
 * struct page itself is in mm_types.h. A frame belongs to whoever holds a reference; the last
 * put_page() gives it back to the buddy allocator, whoever that is. The flags of a compound page
 * live in its head; these helpers look at the page they are given (Linux's PF_ANY).
 */
#ifndef KARC_MM_PHYS_PAGE_H
#define KARC_MM_PHYS_PAGE_H

#include <karc/base/bug.h>
#include <karc/base/cleanup.h>
#include <karc/base/contract.h>
#include <karc/base/math.h>
#include <karc/base/site.h>
#include <karc/hw/cpu.h>
#include <karc/hw/physmem.h>
#include <karc/mm/mm_types.h>

KARC_COUNTED(page);

/* PageX(), SetPageX(), ClearPageX() (atomic, relaxed) and __SetPageX(), __ClearPageX() (not). */
#define KARC_PAGEFLAG(uname, bit)						\
static inline int Page##uname(const struct page *page)				\
{										\
	return (READ_ONCE(page->flags) >> (bit)) & 1;				\
}										\
static inline void SetPage##uname(struct page *page)				\
{										\
	__atomic_fetch_or(&page->flags, 1UL << (bit), __ATOMIC_RELAXED);	\
}										\
static inline void ClearPage##uname(struct page *page)				\
{										\
	__atomic_fetch_and(&page->flags, ~(1UL << (bit)), __ATOMIC_RELAXED);	\
}										\
static inline void __SetPage##uname(struct page *page)				\
{										\
	WRITE_ONCE(page->flags, page->flags | 1UL << (bit));			\
}										\
static inline void __ClearPage##uname(struct page *page)			\
{										\
	WRITE_ONCE(page->flags, page->flags & ~(1UL << (bit)));		\
}										\
static inline int TestSetPage##uname(struct page *page)				\
{										\
	return (__atomic_fetch_or(&page->flags, 1UL << (bit),			\
				  __ATOMIC_SEQ_CST) >> (bit)) & 1;		\
}										\
static inline int TestClearPage##uname(struct page *page)			\
{										\
	return (__atomic_fetch_and(&page->flags, ~(1UL << (bit)),		\
				   __ATOMIC_SEQ_CST) >> (bit)) & 1;		\
}

KARC_PAGEFLAG(Locked, PG_locked)
KARC_PAGEFLAG(Referenced, PG_referenced)
KARC_PAGEFLAG(Uptodate, PG_uptodate)
KARC_PAGEFLAG(Dirty, PG_dirty)
KARC_PAGEFLAG(LRU, PG_lru)
KARC_PAGEFLAG(Active, PG_active)
KARC_PAGEFLAG(Writeback, PG_writeback)
KARC_PAGEFLAG(Head, PG_head)
KARC_PAGEFLAG(Slab, PG_slab)
KARC_PAGEFLAG(Table, PG_table)
KARC_PAGEFLAG(Buddy, PG_buddy)
KARC_PAGEFLAG(Pcp, PG_pcp)
KARC_PAGEFLAG(Reserved, PG_reserved)
KARC_PAGEFLAG(SwapBacked, PG_swapbacked)
KARC_PAGEFLAG(SwapCache, PG_swapcache)
KARC_PAGEFLAG(Unevictable, PG_unevictable)
KARC_PAGEFLAG(HWPoison, PG_hwpoison)
KARC_PAGEFLAG(Memcg, PG_memcg)
KARC_PAGEFLAG(PfMemalloc, PG_pfmemalloc)

#undef KARC_PAGEFLAG

static inline int PageAnon(const struct page *page)
{
	return (READ_ONCE(page->flags) >> PG_anon) & 1;
}

static inline void __SetPageAnon(struct page *page)
{
	WRITE_ONCE(page->flags, page->flags | 1UL << PG_anon);
}

static inline void __ClearPageAnon(struct page *page)
{
	WRITE_ONCE(page->flags, page->flags & ~(1UL << PG_anon));
}

/* Compound pages: bit 0 of ->compound_head marks a tail; list pointers never have it. */

static inline int PageTail(const struct page *page)
{
	return READ_ONCE(page->compound_head) & 1;
}

static inline int PageCompound(const struct page *page)
{
	return PageHead(page) || PageTail(page);
}

/* The first page of the compound page that @page is in; @page itself if in none. */
static inline struct page *compound_head(const struct page *page)
{
	unsigned long head = READ_ONCE(page->compound_head);

	return unlikely(head & 1) ? (struct page *)(head - 1) : (struct page *)page;
}

/* @page is a head or no compound page. */
static inline unsigned int compound_order(const struct page *page)
{
	return PageHead(page) ? page[1].compound_order : 0;
}

static inline unsigned long compound_nr(const struct page *page)
{
	return 1UL << compound_order(page);
}

static inline unsigned long page_size(const struct page *page)
{
	return PAGE_SIZE << compound_order(page);
}

/* Frames and numbers. A pfn is an index into the memmap, which has an entry for holes too. */

static inline unsigned long page_to_pfn(const struct page *page)
{
	return (unsigned long)(page - karc_cpu->memmap);
}

static inline struct page *pfn_to_page(unsigned long pfn)
{
	return karc_cpu->memmap + pfn;
}

bool pfn_valid(unsigned long pfn);	/* RAM of this machine */

static inline phys_addr_t page_to_phys(const struct page *page)
{
	return (phys_addr_t)page_to_pfn(page) << PAGE_SHIFT;
}

static inline struct page *phys_to_page(phys_addr_t pa)
{
	return pfn_to_page((unsigned long)(pa >> PAGE_SHIFT));
}

#define __phys_to_pfn(pa) ((unsigned long)((pa) >> PAGE_SHIFT))
#define __pfn_to_phys(pfn) ((phys_addr_t)(pfn) << PAGE_SHIFT)
#define PFN_PHYS(pfn) __pfn_to_phys(pfn)
#define PHYS_PFN(pa) __phys_to_pfn(pa)
#define PFN_UP(x) (((x) + PAGE_SIZE - 1) >> PAGE_SHIFT)
#define PFN_DOWN(x) ((x) >> PAGE_SHIFT)

/* Is @p an address of the direct map that is backed by RAM? */
bool virt_addr_valid(const void *p);

/* @p points into the direct map; VM_BUG_ON otherwise. */
static inline struct page *virt_to_page(const void *p)
{
	VM_BUG_ON(!virt_addr_valid_fast(p));
	return phys_to_page(virt_to_phys(p));
}

static inline struct page *virt_to_head_page(const void *p)
{
	return compound_head(virt_to_page(p));
}

static inline bool PageHighMem(const struct page *page)
{
	return page_to_phys(page) >= karc_cpu->direct_map_bytes;
}

void *page_highmem_address(const struct page *page);

/* Host address of the frame: the direct map, or where kmap() put it; NULL if it is nowhere. */
static inline void *page_address(const struct page *page)
{
	phys_addr_t pa = page_to_phys(page);

	if (likely(pa < karc_cpu->direct_map_bytes))
		return karc_cpu->arena + pa;
	return page_highmem_address(page);
}

/* For a frame of the direct map. One shift, for a struct page is 2^6 bytes. */
static inline void *page_to_virt(const struct page *page)
{
	const struct cpu *cpu = karc_cpu;

	return cpu->arena + (((unsigned long)page - (unsigned long)cpu->memmap) <<
			     (PAGE_SHIFT - ilog2(sizeof(struct page))));
}

/* References. */

static inline int page_ref_count(const struct page *page)
{
	return atomic_read(&page->_refcount);
}

static inline int page_count(const struct page *page)
{
	return page_ref_count(compound_head(page));
}

static inline void set_page_count(struct page *page, int count)
{
	atomic_set(&page->_refcount, count);
}

static inline void page_ref_add(struct page *page, int nr)
{
	atomic_add(nr, &page->_refcount);
}

static inline void page_ref_sub(struct page *page, int nr)
{
	atomic_sub(nr, &page->_refcount);
}

static inline void page_ref_inc(struct page *page)
{
	atomic_inc(&page->_refcount);
}

static inline void page_ref_dec(struct page *page)
{
	atomic_dec(&page->_refcount);
}

static inline int page_ref_dec_and_test(struct page *page)
{
	return atomic_dec_and_test(&page->_refcount);
}

static inline int page_ref_sub_and_test(struct page *page, int nr)
{
	return atomic_sub_and_test(nr, &page->_refcount);
}

/* Makes the count 0 if it is @count: no lookup can take a reference until it is unfrozen. */
static inline int page_ref_freeze(struct page *page, int count)
{
	return atomic_cmpxchg(&page->_refcount, count, 0) == count;
}

static inline void page_ref_unfreeze(struct page *page, int count)
{
	atomic_set_release(&page->_refcount, count);
}

/* The count would become negative: reported, the frame is left alone. Returns false. */
bool page_put_of_nothing(struct page *page, const struct site *site) __cold;

/* Drop one reference; true when it was the last, and the caller must free the page. */
static inline bool put_page_testzero_site(struct page *page, const struct site *site)
{
	if (unlikely(page_ref_count(page) <= 0))
		return page_put_of_nothing(page, site);
	return page_ref_dec_and_test(page);
}

#define put_page_testzero(page) put_page_testzero_site(page, SITE())

/* One more reference on the (compound) page; the caller holds one already. */
static inline void get_page(struct page *page)
{
	page = compound_head(page);
	VM_BUG_ON(page_ref_count(page) <= 0);
	page_ref_inc(page);
}

/* A reference unless the frame is free or the count has gone mad. */
static inline __must_check bool try_get_page(struct page *page)
{
	page = compound_head(page);
	if (WARN_ON_ONCE(page_ref_count(page) <= 0))
		return false;
	page_ref_inc(page);
	return true;
}

/* For lockless lookups: a reference unless there is none left to share. */
static inline bool get_page_unless_zero(struct page *page)
{
	return atomic_inc_not_zero(&page->_refcount);
}

void __put_page_site(struct page *page, const struct site *site);

/**
 * put_page - drop one reference on the (compound) page
 *
 * Takes:   the reference; the last one gives the frame, or all frames of a compound page, back.
 * Context: any.
 * Model:   Linux 6.1: the last put of a block that is not compound and whose other frames
 *          free_pages() has freed frees its first frame only.
 */
static inline void put_page_site(struct page *page, const struct site *site)
{
	page = compound_head(page);
	if (put_page_testzero_site(page, site))
		__put_page_site(page, site);
}
void (put_page)(struct page *page);
#define put_page(page) put_page_site(page, SITE())

/* Present PTEs that map this frame; a slab or table page has none. */
static inline int page_mapcount(const struct page *page)
{
	if (unlikely(READ_ONCE(page->flags) & (1UL << PG_slab | 1UL << PG_table)))
		return 0;
	return atomic_read(&page->_mapcount);
}

static inline bool page_mapped(const struct page *page)
{
	return page_mapcount(page) > 0;
}

static inline void page_mapcount_reset(struct page *page)
{
	atomic_set(&page->_mapcount, 0);
}

#define page_private(page) ((page)->private)

static inline void set_page_private(struct page *page, unsigned long private)
{
	page->private = private;
}

/* Prints what is known of a frame, and @reason. */
void dump_page(const struct page *page, const char *reason);

/* Names of the flags that are set, "locked|lru", in @buf. */
const char *page_flag_names(unsigned long flags, char *buf, size_t size_bytes);

/* Flags of a request as Linux's %pGg has them, "GFP_KERNEL|__GFP_ZERO", in @buf. */
const char *gfp_flag_names(gfp_t gfp, char *buf, size_t size_bytes);
#define GFP_NAMES_BYTES	256		/* enough for all of them */

/* On a variable: __free(put_page); see base/cleanup.h. */
DEFINE_FREE(put_page, struct page *, if (_T) put_page(_T))

#endif
