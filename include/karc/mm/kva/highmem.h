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
#include <karc/mm/phys/page.h>

/**
 * kmap - an address that all CPUs may use, until kunmap()
 *
 * Counts: the address stays until each kmap() has its kunmap(page).
 * Context: may sleep: waits for an address when all are taken.
 * Model:   Linux 6.1; unmapped with the last kunmap(), not later.
 */
void *kmap_site(struct page *page, const struct site *site);
void kunmap(struct page *page);
#define kmap(page) kmap_site(page, SITE())

/**
 * kmap_local_page - an address for the caller alone
 *
 * Context: any. Never fails; the addresses for it are KMAP_LOCAL_SLOTS at once, more is a BUG.
 */
void *kmap_local_page_site(struct page *page, const struct site *site);
void kunmap_local_address(const void *addr);
#define kmap_local_page(page) kmap_local_page_site(page, SITE())
#define kmap_local_pfn(pfn) kmap_local_page(pfn_to_page(pfn))
#define kunmap_local(addr) do {							\
	static_assert(!__same_type((addr), struct page *), "give the address, not the page"); \
	kunmap_local_address(addr);						\
} while (0)

#define KMAP_LOCAL_SLOTS	1024

/* The same with preemption off in between: nothing inside may sleep. */
void *kmap_atomic_site(struct page *page, const struct site *site);
void kunmap_atomic_address(const void *addr);
#define kmap_atomic(page) kmap_atomic_site(page, SITE())
#define kunmap_atomic(addr) do {						\
	static_assert(!__same_type((addr), struct page *), "give the address, not the page"); \
	kunmap_atomic_address(addr);						\
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

static inline void zero_user_segments(struct page *page, unsigned int start1, unsigned int end1,
				      unsigned int start2, unsigned int end2)
{
	if (end1 > start1)
		memzero_page(page, start1, end1 - start1);
	if (end2 > start2)
		memzero_page(page, start2, end2 - start2);
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
