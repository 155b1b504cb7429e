/* SPDX-License-Identifier: MIT */
/*
 * highmem.h - an address for a frame that may have none
 *
 * Frames of lowmem have one for ever: the direct map. A HIGHMEM frame gets one of the kmap
 * window's, and must give it back.
 */
#ifndef KARC_MM_KVA_HIGHMEM_H
#define KARC_MM_KVA_HIGHMEM_H

#include <string.h>

#include <karc/base/site.h>
#include <karc/hw/context.h>
#include <karc/mm/phys/folio.h>
#include <karc/mm/phys/page.h>

/**
 * kmap - an address that all CPUs may use, until kunmap()
 *
 * Counts: the address stays until each kmap() has its kunmap(page).
 * Context: may sleep: waits for an address when all are taken; kunmap() too.
 * Errors:  none. kunmap() of a frame that is not mapped is reported.
 * Model:   Linux 6.1. Where nothing tracks, the address may go on showing the frame after the last
 *          kunmap() until kmap_flush_unused() or a number of others; page_address() is NULL.
 */
void *kmap_site(struct page *page, const struct site *site);
void kunmap_site(struct page *page, const struct site *site);
#define kmap(page) kmap_site(page, SITE())
#define kunmap(page) kunmap_site(page, SITE())

/* Unmap now what nobody uses any more. Context: any. */
void kmap_flush_unused(void);

/**
 * kmap_local_page - an address for the running task alone
 *
 * The mapping stays when the task is switched out and when it moves to another CPU. Mappings are
 * undone in reverse order by the task that made them; others are reported, as are those that a
 * task has when it ends. Any address inside the page will do for kunmap_local().
 * Frames of lowmem have their address anyway; a machine that tracks remembers these too.
 * Context: any; what an interrupt maps it unmaps.
 * Errors:  a BUG: more than KM_MAX_IDX of one task, more than KMAP_LOCAL_SLOTS of all.
 * Model:   Linux 6.1.
 */
void *kmap_local_page_site(struct page *page, const struct site *site);
void kunmap_local_address(const void *addr, const struct site *site);
#define kmap_local_page(page) kmap_local_page_site(page, SITE())
#define kmap_local_pfn(pfn) kmap_local_page(pfn_to_page(pfn))
/* The address of byte @offset of a folio, good to the end of its page. */
#define kmap_local_folio(folio, offset) \
	((void *)((char *)kmap_local_page(folio_page(folio, (offset) / PAGE_SIZE)) + \
		  (offset) % PAGE_SIZE))
#define kunmap_local(addr) do {							\
	static_assert(!__same_type((addr), struct page *), "give the address, not the page"); \
	kunmap_local_address(addr, SITE());					\
} while (0)

#define KM_MAX_IDX		16
#define KMAP_LOCAL_SLOTS	2048
#define KMAP_IDLE_MAX		512	/* mappings kept though nobody uses them */

/* The same with preemption off in between: whoever sleeps inside is reported with both places. */
void *kmap_atomic_site(struct page *page, const struct site *site);
void kunmap_atomic_address(const void *addr, const struct site *site);
#define kmap_atomic(page) kmap_atomic_site(page, SITE())
#define kmap_atomic_pfn(pfn) kmap_atomic(pfn_to_page(pfn))
#define kunmap_atomic(addr) do {						\
	static_assert(!__same_type((addr), struct page *), "give the address, not the page"); \
	kunmap_atomic_address(addr, SITE());					\
} while (0)

/* The frame behind an address of the direct map or of kmap; NULL if there is none. */
struct page *kmap_to_page(const void *addr);

/* Mappings of HIGHMEM frames now. */
unsigned long kmap_nr_mapped(struct machine *m);

static inline void clear_page(void *page)
{
	memset(page, 0, PAGE_SIZE);
}

static inline void copy_page(void *to, const void *from)
{
	memcpy(to, from, PAGE_SIZE);
}

#define flush_dcache_page(page) ((void)(page))
#define flush_kernel_dcache_page(page) ((void)(page))

static inline void clear_highpage(struct page *page)
{
	void *p = kmap_local_page(page);

	clear_page(p);
	kunmap_local(p);
}

static inline void copy_highpage(struct page *to, struct page *from)
{
	void *dst = kmap_local_page(to);
	void *src = kmap_local_page(from);

	copy_page(dst, src);
	kunmap_local(src);
	kunmap_local(dst);
}

static inline void clear_user_highpage(struct page *page, unsigned long vaddr)
{
	(void)vaddr;	/* of use for caches that are indexed by virtual address */
	clear_highpage(page);
}

static inline void copy_user_highpage(struct page *to, struct page *from, unsigned long vaddr,
				      struct vm_area_struct *vma)
{
	(void)vaddr, (void)vma;
	copy_highpage(to, from);
}

static inline void memcpy_from_page(void *to, struct page *page, size_t offset, size_t len)
{
	char *from = kmap_local_page(page);

	VM_BUG_ON(offset + len > PAGE_SIZE);
	memcpy(to, from + offset, len);
	kunmap_local(from);
}

static inline void memcpy_to_page(struct page *page, size_t offset, const void *from, size_t len)
{
	char *to = kmap_local_page(page);

	VM_BUG_ON(offset + len > PAGE_SIZE);
	memcpy(to + offset, from, len);
	kunmap_local(to);
}

static inline void memzero_page(struct page *page, size_t offset, size_t len)
{
	char *p = kmap_local_page(page);

	VM_BUG_ON(offset + len > PAGE_SIZE);
	memset(p + offset, 0, len);
	kunmap_local(p);
}

static inline void memset_page(struct page *page, size_t offset, int value, size_t len)
{
	char *p = kmap_local_page(page);

	VM_BUG_ON(offset + len > PAGE_SIZE);
	memset(p + offset, value, len);
	kunmap_local(p);
}

/* Two pages, or ranges of one page that do not overlap. */
static inline void memcpy_page(struct page *to, size_t to_offset, struct page *from,
			       size_t from_offset, size_t len)
{
	char *dst = kmap_local_page(to);
	char *src = kmap_local_page(from);

	VM_BUG_ON(to_offset + len > PAGE_SIZE || from_offset + len > PAGE_SIZE);
	memcpy(dst + to_offset, src + from_offset, len);
	kunmap_local(src);
	kunmap_local(dst);
}

/* The ranges may overlap: inside one page they need one address, not two. */
static inline void memmove_page(struct page *to, size_t to_offset, struct page *from,
				size_t from_offset, size_t len)
{
	char *p;

	if (to != from) {
		memcpy_page(to, to_offset, from, from_offset, len);
		return;
	}
	p = kmap_local_page(to);
	VM_BUG_ON(to_offset + len > PAGE_SIZE || from_offset + len > PAGE_SIZE);
	memmove(p + to_offset, p + from_offset, len);
	kunmap_local(p);
}

/* Zero two ranges of the (compound) page; an end beyond it is a BUG, an empty range is none. */
void zero_user_segments(struct page *page, unsigned int start1, unsigned int end1,
			unsigned int start2, unsigned int end2);

static inline void folio_zero_segments(struct folio *folio, size_t start1, size_t end1,
				       size_t start2, size_t end2)
{
	zero_user_segments(&folio->page, (unsigned int)start1, (unsigned int)end1,
			   (unsigned int)start2, (unsigned int)end2);
}

static inline void folio_zero_segment(struct folio *folio, size_t start, size_t end)
{
	folio_zero_segments(folio, start, end, 0, 0);
}

static inline void folio_zero_range(struct folio *folio, size_t start, size_t length)
{
	folio_zero_segment(folio, start, start + length);
}

static inline void zero_user_segment(struct page *page, unsigned int start, unsigned int end)
{
	zero_user_segments(page, start, end, 0, 0);
}

static inline void zero_user(struct page *page, unsigned int start, unsigned int size)
{
	zero_user_segments(page, start, start + size, 0, 0);
}

#endif
