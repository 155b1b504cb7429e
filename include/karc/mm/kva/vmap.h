/* SPDX-License-Identifier: MIT */
/*
 * vmap.h - ranges of the vmalloc window: frames side by side that are not neighbours in RAM
 *
 * The addresses are real host addresses. Behind each area lies a guard page: touching it is an
 * Oops.
 */
#ifndef KARC_MM_KVA_VMAP_H
#define KARC_MM_KVA_VMAP_H

#include <karc/base/site.h>
#include <karc/hw/machine.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/pgtable/pgtable.h>

#define VM_ALLOC		0x00000002ul	/* by vmalloc() */
#define VM_MAP			0x00000004ul	/* by vmap() */
#define VM_NO_GUARD		0x00000040ul
#define VM_MAP_PUT_PAGES	0x00000200ul	/* vfree() puts the frames and frees the array */

/* One area, as users may see it. */
struct vm_struct {
	void *addr;
	unsigned long size;		/* bytes, guard page included */
	unsigned long flags;
	struct page **pages;
	unsigned int nr_pages;
	const struct site *caller;
};

/**
 * vmap - show frames side by side
 * @pages: the frames; borrowed while they are mapped, or with VM_MAP_PUT_PAGES taken (each by one
 *         reference, and the array, which must be kvmalloc() memory)
 * @flags: VM_MAP, perhaps with VM_MAP_PUT_PAGES
 * @prot:  PAGE_KERNEL; others are not told apart
 *
 * Gives:   the address; end it with vunmap(), or vfree() with VM_MAP_PUT_PAGES.
 * Context: may sleep. Errors: NULL; nothing was taken then.
 * Model:   Linux 6.1.
 */
KARC_MUST_CHECK void *vmap_site(struct page **pages, unsigned int count, unsigned long flags,
				pgprot_t prot, const struct site *site);
#define vmap(pages, count, flags, prot) vmap_site(pages, count, flags, prot, SITE())

/* Takes the mapping; NULL is ignored, what is no area's start is reported. */
void vunmap(const void *addr);

#define vm_map_ram(pages, count, node) ((void)(node), vmap(pages, count, VM_MAP, PAGE_KERNEL))
#define vm_unmap_ram(mem, count) ((void)(count), vunmap(mem))

/* Is @p in the vmalloc window? */
bool is_vmalloc_addr(const void *p);

/* The area that holds @addr, or NULL. Borrowed: the caller must know that it stays. */
struct vm_struct *find_vm_area(const void *addr);

/* The frame behind an address of an area, or NULL (guard page, no area). */
struct page *vmalloc_to_page(const void *addr);
unsigned long vmalloc_to_pfn(const void *addr);

/* Areas now, for tests and reports. */
unsigned long vmap_nr_areas(struct machine *m);

extern const struct room kva_room;

#endif
