/* SPDX-License-Identifier: MIT */
/*
 * vmap.c - areas: made, found, ended
 *
 * What it is
 *	An area is a range of the window (ranges.c) with frames in it (window.c) and somebody who
 *	asked for it. Behind its pages lies a guard page that is never mapped.
 *
 * Objects
 *	struct kva -> areas -> vmap_area -> vm_struct -> pages[]
 *	An area of vmalloc(), or of vmap() with VM_MAP_PUT_PAGES, owns its frames and the array.
 *	Others borrow the frames and keep no array: the tables know them.
 *
 * Invariants
 *	I1 only an area that is AREA_BUSY is found, ended or reported
 *	I2 vm.pages is valid while vm.nr_pages is not 0
 *
 * Locking
 *	state: kva->lock. An area that is AREA_GOING is nobody else's; its entries and mappings are
 *	changed without kva->lock.
 *
 * Life
 *	area_alloc (going) -> area_map_pages (busy) -> area_take (going) -> area_retire -> lazy.c
 *
 * Worst case
 *	A wrong free looks through the last NR_FREED frees.
 *
 * Unlike Linux
 *	vm_map_ram() has no blocks of its own for small maps: it is vmap() that find_vm_area() does
 *	not know. vmap_pfn() is absent, there being no memory without struct page.
 */
#include <stdio.h>

#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/mm/kva/set_memory.h>
#include <karc/mm/slab/slab.h>
#include "internal.h"

#define MADE_BY_VMALLOC	(VM_ALLOC | VM_MAP_PUT_PAGES)

/* ---- made ---- */

/* The part of the window that lies in [low, high) of simulated addresses. */
static bool want_range(const struct kva *kva, const struct area_want *want,
		       struct range_want *range)
{
	unsigned long base = kva_simulated(kva, kva->start);

	range->low = kva->start;
	range->high = kva->end;
	if (!want->high)
		return true;
	if (want->high <= base || want->low >= kva_simulated(kva, kva->end))
		return false;
	range->low += max(want->low, base) - base;
	range->high = min(kva->end, kva->start + (want->high - base));
	return range->low < range->high;
}

/**
 * area_alloc - a range of the window, nothing mapped in it, AREA_GOING
 * Errors: NULL: no descriptor, no room, an impossible alignment.
 */
struct vmap_area *area_alloc(const struct area_want *want)
{
	struct kva *kva = kva_here();
	struct range_want range = {
		.size = PAGE_ALIGN(want->size_bytes) +
			(want->flags & VM_NO_GUARD ? 0 : PAGE_SIZE),
		.align = max(want->align, PAGE_SIZE),
	};
	struct vmap_area *va;

	if (!is_power_of_2(range.align) || range.size <= want->size_bytes - 1 ||
	    range.size > kva->end - kva->start || !want_range(kva, want, &range))
		return NULL;
	va = range_alloc(kva, &range, want->gfp);
	if (!va && areas_purge(kva))
		va = range_alloc(kva, &range, want->gfp);
	if (!va)
		return NULL;
	va->vm = (struct vm_struct){
		.addr = (void *)va->va_start,
		.size = range.size,
		.flags = want->flags,
		.caller = want->site,
	};
	return va;
}

/* It can be found from now on. */
static void area_publish(struct kva *kva, struct vmap_area *va, struct page **pages,
			 unsigned int nr_pages)
{
	unsigned long irqs;

	spin_lock_irqsave(&kva->lock, irqs);
	va->vm.pages = pages;
	va->vm.nr_pages = nr_pages;
	va->state = AREA_BUSY;
	WRITE_ONCE(kva->nr_areas, kva->nr_areas + 1);
	spin_unlock_irqrestore(&kva->lock, irqs);
}

/* Show @pages from the area's start on, and let it be found. An owner keeps the array. */
int area_map_pages(struct vmap_area *va, struct page **pages, unsigned int nr_pages,
		   pgprot_t prot)
{
	bool owner = va->vm.flags & MADE_BY_VMALLOC;
	struct kva *kva = kva_here();

	if (window_map(kva, va->va_start, pages, nr_pages, prot))
		return -ENOMEM;
	va->nr_mapped = nr_pages;
	va->changed = !(pgprot_val(prot) & _PAGE_RW);
	area_publish(kva, va, owner ? pages : NULL, owner ? nr_pages : 0);
	return 0;
}

/* An area that was never found: back it goes. */
void area_discard(struct vmap_area *va)
{
	LIST_HEAD(one);

	list_add(&va->lazy, &one);
	ranges_free(kva_here(), &one);
}

/* ---- ended ---- */

static const char *kind_of(unsigned long flags)
{
	if (flags & VM_RAM)
		return "vm_map_ram() area, which vm_unmap_ram() ends";
	if (flags & MADE_BY_VMALLOC)
		return "vmalloc() area, which vfree() ends";
	if (flags & VM_MAP)
		return "vmap() area, which vunmap() ends";
	return "get_vm_area() area, which free_vm_area() ends";
}

/* The last free of a range that holds @addr, or NULL. Lock held. */
static const struct freed_area *last_free(const struct kva *kva, unsigned long addr)
{
	unsigned int i;

	for (i = 1; i <= NR_FREED; i++) {
		const struct freed_area *f = &kva->freed[(kva->next_freed - i) % NR_FREED];

		if (addr >= f->va_start && addr < f->va_end)
			return f;
	}
	return NULL;
}

static void print_site(char *buf, size_t bytes, const char *what, const struct site *site)
{
	size_t used = strnlen(buf, bytes);

	if (site)
		snprintf(buf + used, bytes - used, "%s %s:%d %s()", what, site->file, site->line,
			 site->func);
}

/* What is known of an address that was to be freed. Lock held. */
static void describe(const struct kva *kva, unsigned long addr, char *buf, size_t bytes)
{
	const struct vmap_area *va = area_find(kva, addr);
	const struct freed_area *freed;

	if (addr - kva->start >= kva->end - kva->start) {
		snprintf(buf, bytes, "not in the vmalloc window");
		if (virt_addr_valid((void *)addr) && !PageSlab(virt_to_head_page((void *)addr)))
			print_site(buf, bytes, "; a frame, taken at",
				   page_site(virt_to_page((void *)addr)));
		return;
	}
	if (va && va->state == AREA_BUSY) {
		snprintf(buf, bytes, "%lu bytes inside a %s", addr - va->va_start,
			 kind_of(va->vm.flags));
		print_site(buf, bytes, "; made at", va->vm.caller);
		return;
	}
	freed = last_free(kva, addr);
	snprintf(buf, bytes, freed ? "freed before" : "nothing was here lately");
	if (freed) {
		print_site(buf, bytes, " at", freed->freed);
		print_site(buf, bytes, "; made at", freed->made);
	}
}

static void remember_free(struct kva *kva, const struct vmap_area *va, const struct site *site)
{
	struct freed_area *f = &kva->freed[kva->next_freed++ % NR_FREED];

	*f = (struct freed_area){ va->va_start, va->va_end, va->vm.caller, site };
}

static bool may_end(const struct vmap_area *va, const void *addr, unsigned long flags)
{
	unsigned long kind = va->vm.flags & (MADE_BY_VMALLOC | VM_RAM);

	if (va->state != AREA_BUSY || va->vm.addr != addr)
		return false;
	return flags ? va->vm.flags & flags : !kind;
}

/*
 * The area that starts at @addr is the caller's now (AREA_GOING). @flags: it must have one of
 * them; 0: it must be of no special kind. What is wrong is reported and stays: NULL.
 */
struct vmap_area *area_take(const void *addr, unsigned long flags, const char *who,
			    const struct site *site)
{
	struct kva *kva = kva_here();
	struct vmap_area *va;
	unsigned long irqs;
	char what[256], here[160] = "";

	spin_lock_irqsave(&kva->lock, irqs);
	va = area_find(kva, (unsigned long)addr);
	if (va && may_end(va, addr, flags)) {
		va->state = AREA_GOING;
		WRITE_ONCE(kva->nr_areas, kva->nr_areas - 1);
		remember_free(kva, va, site);
		spin_unlock_irqrestore(&kva->lock, irqs);
		return va;
	}
	describe(kva, (unsigned long)addr, what, sizeof(what));
	spin_unlock_irqrestore(&kva->lock, irqs);
	print_site(here, sizeof(here), " at", site);
	WARN(1, "Trying to %s() nonexistent vm area, or not its start%s: %s", who, here, what);
	kmem_dump_obj(addr);
	return NULL;
}

/* For the slab room, of an address that it was to free. */
void area_say(const void *addr)
{
	struct kva *kva = kva_here();
	unsigned long irqs;
	char what[256];

	if (!is_vmalloc_addr(addr))
		return;
	spin_lock_irqsave(&kva->lock, irqs);
	describe(kva, (unsigned long)addr, what, sizeof(what));
	spin_unlock_irqrestore(&kva->lock, irqs);
	pr_warn("%s\n", what);
}

/* ---- vmap ---- */

static void *map_frames(struct page **pages, unsigned int count, unsigned long flags,
			pgprot_t prot, const struct site *site)
{
	const struct area_want want = {
		.size_bytes = (unsigned long)count << PAGE_SHIFT,
		.flags = flags, .gfp = GFP_KERNEL, .site = site,
	};
	struct vmap_area *va;

	might_sleep_site(site);
	WARN(in_interrupt(), "vmap in interrupt context at %s:%d", site->file, site->line);
	if (!count || count > physmem_nr_frames(karc_cpu->machine))
		return NULL;
	va = area_alloc(&want);
	if (!va)
		return NULL;
	if (area_map_pages(va, pages, count, prot)) {
		area_discard(va);
		return NULL;
	}
	return va->vm.addr;
}

void *vmap_site(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot,
		const struct site *site)
{
	flags &= VM_NO_GUARD | VM_MAP_PUT_PAGES | VM_USERMAP;
	return map_frames(pages, count, VM_MAP | flags, prot, site);
}

void vunmap_site(const void *addr, const struct site *site)
{
	struct vmap_area *va;

	if (!addr)
		return;
	WARN(in_interrupt(), "vunmap in interrupt context at %s:%d", site->file, site->line);
	va = area_take(addr, VM_MAP, "vunmap", site);
	if (!va)
		return;
	/* The frames and the array stay whose they were. */
	va->vm.flags &= ~VM_MAP_PUT_PAGES;
	va->vm.nr_pages = 0;
	area_retire(va, false);
}

void (vunmap)(const void *addr)
{
	vunmap_site(addr, SITE());
}

void *vm_map_ram_site(struct page **pages, unsigned int count, int node, const struct site *site)
{
	(void)node;
	return map_frames(pages, count, VM_RAM, PAGE_KERNEL, site);
}

void vm_unmap_ram_site(const void *mem, unsigned int count, const struct site *site)
{
	struct vmap_area *va;

	might_sleep_site(site);
	va = area_take(mem, VM_RAM, "vm_unmap_ram", site);
	if (!va)
		return;
	WARN(va->nr_mapped != count, "vm_unmap_ram() of %u pages, %u were mapped, at %s:%d", count,
	     va->nr_mapped, site->file, site->line);
	area_retire(va, false);
}

void vm_unmap_aliases(void)
{
	might_sleep();
	areas_purge(kva_here());
}

/* ---- bare areas ---- */

struct vm_struct *get_vm_area_site(unsigned long size, unsigned long flags,
				   const struct site *site)
{
	const struct area_want want = {
		.size_bytes = size, .flags = flags & ~(MADE_BY_VMALLOC | VM_RAM),
		.align = flags & VM_IOREMAP ? roundup_pow_of_two(clamp(size, PAGE_SIZE,
								       PMD_SIZE)) : 0,
		.gfp = GFP_KERNEL, .site = site,
	};
	struct vmap_area *va;

	might_sleep_site(site);
	if (!size)
		return NULL;
	va = area_alloc(&want);
	if (!va)
		return NULL;
	area_publish(kva_here(), va, NULL, 0);
	return &va->vm;
}

void free_vm_area_site(struct vm_struct *vm, const struct site *site)
{
	struct vmap_area *va = vm ? area_take(vm->addr, 0, "free_vm_area", site) : NULL;

	if (va)
		area_retire(va, false);
}

/* ---- found ---- */

bool is_vmalloc_addr(const void *p)
{
	const struct kva *kva = kva_here();

	return (unsigned long)p - kva->start < kva->end - kva->start;
}

struct vm_struct *find_vm_area(const void *addr)
{
	struct kva *kva = kva_here();
	struct vmap_area *va;
	unsigned long irqs;
	bool found;

	spin_lock_irqsave(&kva->lock, irqs);
	va = area_find(kva, (unsigned long)addr);
	found = va && va->state == AREA_BUSY && !(va->vm.flags & VM_RAM);
	spin_unlock_irqrestore(&kva->lock, irqs);
	return found ? &va->vm : NULL;
}

struct page *vmalloc_to_page(const void *addr)
{
	pte_t entry;

	if (WARN(!is_vmalloc_addr(addr), "vmalloc_to_page() of what is no vmalloc address"))
		return NULL;
	entry = window_entry(kva_here(), (unsigned long)addr);
	return pte_present(entry) ? pte_page(entry) : NULL;
}

unsigned long vmalloc_to_pfn(const void *addr)
{
	const struct page *page = vmalloc_to_page(addr);

	return page ? page_to_pfn(page) : 0;
}

unsigned long vmalloc_simulated(const void *addr)
{
	return kva_simulated(kva_here(), (unsigned long)addr);
}

unsigned long vmalloc_end(void)
{
	return kva_simulated(kva_here(), kva_here()->end);
}

struct mm_struct *karc_init_mm(void)
{
	return &kva_here()->kernel_mm;
}

unsigned long vmap_nr_areas(struct machine *m)
{
	return READ_ONCE(((struct kva *)machine_room(m, ROOM_KVA))->nr_areas);
}

/* ---- protection ---- */

static int set_memory(unsigned long addr, int nr_pages, u64 set, u64 clear)
{
	struct kva *kva = kva_here();
	struct vmap_area *va;
	unsigned long irqs;
	bool inside;

	if (WARN(offset_in_page(addr) || nr_pages < 0, "set_memory() of a part of a page"))
		return -EINVAL;
	if (!nr_pages)
		return 0;
	spin_lock_irqsave(&kva->lock, irqs);
	va = area_find(kva, addr);
	inside = va && va->state == AREA_BUSY &&
		 (unsigned long)nr_pages <= (va->va_end - addr) >> PAGE_SHIFT;
	if (inside)
		va->changed = true;
	spin_unlock_irqrestore(&kva->lock, irqs);
	if (!inside || !window_change(kva, addr, (unsigned long)nr_pages, set, clear))
		return -EINVAL;
	return 0;
}

int set_memory_ro(unsigned long addr, int nr_pages)
{
	return set_memory(addr, nr_pages, 0, _PAGE_RW | _PAGE_DIRTY);
}

int set_memory_rw(unsigned long addr, int nr_pages)
{
	return set_memory(addr, nr_pages, _PAGE_RW | _PAGE_DIRTY, 0);
}

int set_memory_x(unsigned long addr, int nr_pages)
{
	return set_memory(addr, nr_pages, 0, _PAGE_NX);
}

int set_memory_nx(unsigned long addr, int nr_pages)
{
	return set_memory(addr, nr_pages, _PAGE_NX, 0);
}
