/* SPDX-License-Identifier: MIT */
/*
 * vmap.h - ranges of the vmalloc window: frames side by side that are not neighbours in RAM
 *
 * The addresses are real host addresses. Behind each area lies a guard page: touching it is an
 * Oops. init_mm's tables map the same frames at VMALLOC_START plus the place in the window.
 *
 * The host has a limit of mappings, so that beyond some ten thousand areas not all are mapped at a
 * time: a touch maps, unseen by the program. Host system calls do not see that, they return EFAULT:
 * touch such memory first, with vmalloc_prefault(), when it is handed to one.
 */
#ifndef KARC_MM_KVA_VMAP_H
#define KARC_MM_KVA_VMAP_H

#include <karc/base/site.h>
#include <karc/hw/machine.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/pgtable/pgtable.h>

/* Where the window is in init_mm's tables, and in the texts of reports. */
#define VMALLOC_START		0xffffc90000000000ul
#define VMALLOC_END		vmalloc_end()

#define VM_IOREMAP		0x00000001ul
#define VM_ALLOC		0x00000002ul	/* by vmalloc() */
#define VM_MAP			0x00000004ul	/* by vmap() */
#define VM_USERMAP		0x00000008ul	/* may be mapped to users: remap_vmalloc_range() */
#define VM_DMA_COHERENT		0x00000010ul
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

/* Bytes without the guard page. */
static inline size_t get_vm_area_size(const struct vm_struct *area)
{
	return area->flags & VM_NO_GUARD ? area->size : area->size - PAGE_SIZE;
}

/**
 * vmap - show frames side by side
 * @pages: the frames; borrowed while they are mapped, or with VM_MAP_PUT_PAGES taken (each by one
 *         reference, and the array, which must be kvmalloc() memory)
 * @flags: VM_MAP, perhaps with VM_MAP_PUT_PAGES
 * @prot:  PAGE_KERNEL, or PAGE_KERNEL_RO: stores are an Oops
 *
 * Gives:   the address; end it with vunmap(), or vfree() with VM_MAP_PUT_PAGES.
 * Context: may sleep. Errors: NULL; nothing was taken then.
 * Model:   Linux 6.1.
 */
KARC_MUST_CHECK void *vmap_site(struct page **pages, unsigned int count, unsigned long flags,
				pgprot_t prot, const struct site *site);
#define vmap(pages, count, flags, prot) vmap_site(pages, count, flags, prot, SITE())

/**
 * vunmap - end what vmap() began
 *
 * Takes:   the mapping; NULL is ignored. What is no vmap() area's start is reported with what it
 *          is, and left alone.
 * Context: may sleep. The addresses fault at the latest after vm_unmap_aliases().
 * Model:   Linux 6.1.
 */
void vunmap_site(const void *addr, const struct site *site);
void vunmap(const void *addr);
#define vunmap(addr) vunmap_site(addr, SITE())

/**
 * vm_map_ram, vm_unmap_ram - vmap() for a short time; find_vm_area() knows nothing of it
 * @count: of pages, the same in both
 * @node:  is not looked at
 * Gives:  the address; end it with vm_unmap_ram(). Errors: NULL. Context: may sleep.
 */
KARC_MUST_CHECK void *vm_map_ram_site(struct page **pages, unsigned int count, int node,
				      const struct site *site);
void vm_unmap_ram_site(const void *mem, unsigned int count, const struct site *site);
#define vm_map_ram(pages, count, node) vm_map_ram_site(pages, count, node, SITE())
#define vm_unmap_ram(mem, count) vm_unmap_ram_site(mem, count, SITE())

/* Unmap and give back all that was freed and waits for it. Context: may sleep. */
void vm_unmap_aliases(void);

/**
 * get_vm_area, free_vm_area - addresses with nothing behind them
 * Gives:  the area, for free_vm_area(). Errors: NULL. Context: may sleep.
 */
KARC_MUST_CHECK struct vm_struct *get_vm_area_site(unsigned long size, unsigned long flags,
						   const struct site *site);
#define get_vm_area(size, flags) get_vm_area_site(size, flags, SITE())
#define get_vm_area_caller(size, flags, caller) \
	((void)(caller), get_vm_area_site(size, flags, SITE()))
void free_vm_area_site(struct vm_struct *vm, const struct site *site);
#define free_vm_area(vm) free_vm_area_site(vm, SITE())

/* Is @p in the vmalloc window? */
bool is_vmalloc_addr(const void *p);
#define is_vmalloc_or_module_addr(p) is_vmalloc_addr(p)

/* Where init_mm has an address of the window, and where it ends there. */
unsigned long vmalloc_simulated(const void *addr);
unsigned long vmalloc_end(void);

/*
 * The space of the kernel: tables, no users, no VMAs. Processes' tables do not have its half: a
 * CPU that is to walk it loads it with switch_mm().
 */
struct mm_struct *karc_init_mm(void);
#define init_mm (*karc_init_mm())
#define pgd_offset_k(addr) pgd_offset(&init_mm, addr)

/* The area that holds @addr, or NULL. Borrowed: the caller must know that it stays. */
struct vm_struct *find_vm_area(const void *addr);

/* The frame behind an address of an area, or NULL (guard page, no area). */
struct page *vmalloc_to_page(const void *addr);
unsigned long vmalloc_to_pfn(const void *addr);

/* Areas now, for tests and reports. */
unsigned long vmap_nr_areas(struct machine *m);

/* Pages of areas that were freed and wait for the purge, with their frames. */
unsigned long vmalloc_nr_lazy(struct machine *m);

/* Give them back: somebody needs frames. Returns how many pages. Context: may sleep. */
unsigned long vmalloc_shrink(void);

/* Have the host map [@addr, @addr + @bytes) now, if it is mapped at all. */
void vmalloc_prefault(const void *addr, size_t bytes);

/* Touches so far that had to map first. */
unsigned long vmalloc_nr_refills(struct machine *m);

extern const struct room kva_room;

#endif
