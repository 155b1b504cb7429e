/* SPDX-License-Identifier: MIT */
/*
 * vmap.c - areas of the vmalloc window, and frames mapped into them
 *
 * What it is
 *	The window is a range of host addresses in which nothing is mapped. An area is a piece of
 *	it; mapping makes the host show frames there, one host mapping for each run of frames that
 *	are neighbours in RAM too. Areas are found by address in a tree and placed first fit.
 *
 * Objects
 *	struct kva -> areas (rbtree by address) -> vmap_area -> vm_struct -> pages[]
 *	An area of vmalloc() owns its frames and the array; one of vmap() borrows both.
 *
 * Invariants
 *	I1 areas are disjoint, inside the window, page aligned, in the order of the tree
 *	I2 the last page of an area is its guard and is never mapped (but VM_NO_GUARD)
 *	I3 no hole below search_from is larger than skipped_hole
 *	I4 nr_areas counts the tree
 *
 * Locking
 *	tree, counters, search cache: kva->lock (LR_VMAP, irqs off). Host mappings are changed
 *	without it: an area that is in the tree and not yet returned, or out of it and not yet
 *	freed, is nobody else's.
 *
 * Life
 *	area_alloc -> area_map_pages -> used -> area_take (out of the tree after the unmap) -> freed
 *
 * Worst case
 *	Placing looks at all areas once when a hole of the right size may lie among them, else
 *	starts after the last one placed. The host limits mappings to about 65,000 in all.
 *
 * Unlike Linux
 *	Unmapping is at once, not lazy; areas are not mirrored in the simulated page tables; prot is
 *	not looked at.
 */
#include <karc/base/err.h>
#include "internal.h"

#define rb_area(n) rb_entry_safe(n, struct vmap_area, node)

/* The area that holds @addr, or NULL. Lock held. */
struct vmap_area *area_find(struct kva *kva, unsigned long addr)
{
	struct rb_node *n = kva->areas.rb_node;

	while (n) {
		struct vmap_area *va = rb_entry(n, struct vmap_area, node);

		if (addr < va->va_start)
			n = n->rb_left;
		else if (addr >= va->va_end)
			n = n->rb_right;
		else
			return va;
	}
	return NULL;
}

/* The lowest area that ends above @addr, or NULL. */
static struct vmap_area *area_above(struct kva *kva, unsigned long addr)
{
	struct rb_node *n = kva->areas.rb_node;
	struct vmap_area *best = NULL;

	while (n) {
		struct vmap_area *va = rb_entry(n, struct vmap_area, node);

		if (va->va_end > addr) {
			best = va;
			n = n->rb_left;
		} else {
			n = n->rb_right;
		}
	}
	return best;
}

static void area_insert(struct kva *kva, struct vmap_area *va)
{
	struct rb_node **link = &kva->areas.rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		if (va->va_start < rb_entry(parent, struct vmap_area, node)->va_start)
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&va->node, parent, link);
	rb_insert_color(&va->node, &kva->areas);
	WRITE_ONCE(kva->nr_areas, kva->nr_areas + 1);
}

/* First fit from @from; 0 if there is no hole. Remembers the largest hole it skipped. */
static unsigned long find_hole(struct kva *kva, unsigned long from, unsigned long size,
			       unsigned long align)
{
	struct vmap_area *va = area_above(kva, from);
	unsigned long low = from;

	for (;;) {
		unsigned long at = ALIGN(low, align);
		unsigned long high = va ? va->va_start : kva->end;

		if (at >= low && at < high && high - at >= size)
			return at;
		if (!va)
			return 0;
		if (high > low)
			kva->skipped_hole = max(kva->skipped_hole, high - low);
		low = va->va_end;
		va = rb_area(rb_next(&va->node));
	}
}

/* I3: what lies below search_from need not be looked at for a larger request. */
static unsigned long place_area(struct kva *kva, unsigned long size, unsigned long align)
{
	unsigned long at;

	if (size <= kva->skipped_hole || align > PAGE_SIZE || kva->search_from == kva->start) {
		kva->search_from = kva->start;
		kva->skipped_hole = 0;
	}
	at = find_hole(kva, kva->search_from, size, align);
	if (!at)
		return 0;
	if (at > kva->search_from) {
		/* What alignment wasted before the area is a hole too. */
		kva->skipped_hole = max(kva->skipped_hole, align > PAGE_SIZE ? align : 0UL);
		kva->search_from = at;
	}
	return at;
}

/**
 * area_alloc - a piece of the window, nothing mapped in it
 * @size_bytes: without the guard page
 * Errors: NULL: no descriptor, no room, an impossible alignment.
 */
struct vmap_area *area_alloc(unsigned long size_bytes, unsigned long align, unsigned long flags,
			     gfp_t gfp, const struct site *site)
{
	struct kva *kva = kva_here();
	unsigned long size = PAGE_ALIGN(size_bytes) + (flags & VM_NO_GUARD ? 0 : PAGE_SIZE);
	struct vmap_area *va;
	unsigned long irqs;

	align = max(align, PAGE_SIZE);
	if (!is_power_of_2(align) || size < size_bytes || size > kva->end - kva->start)
		return NULL;
	va = kmem_cache_alloc(kva->area_cache, gfp & ~(__GFP_HIGHMEM | __GFP_ZERO));
	if (!va)
		return NULL;
	spin_lock_irqsave(&kva->lock, irqs);
	va->va_start = place_area(kva, size, align);
	if (va->va_start) {
		va->va_end = va->va_start + size;
		va->vm = (struct vm_struct){
			.addr = (void *)va->va_start,
			.size = size,
			.flags = flags,
			.caller = site,
		};
		area_insert(kva, va);
	}
	spin_unlock_irqrestore(&kva->lock, irqs);
	if (!va->va_start) {
		kmem_cache_free(kva->area_cache, va);
		return NULL;
	}
	return va;
}

/* Out of the tree and gone. Nothing is mapped in it. */
void area_free(struct vmap_area *va)
{
	struct kva *kva = kva_here();
	struct vmap_area *before;
	unsigned long irqs;

	spin_lock_irqsave(&kva->lock, irqs);
	before = rb_area(rb_prev(&va->node));
	rb_erase(&va->node, &kva->areas);
	WRITE_ONCE(kva->nr_areas, kva->nr_areas - 1);
	kva->search_from = min(kva->search_from, before ? before->va_end : kva->start);
	spin_unlock_irqrestore(&kva->lock, irqs);
	kmem_cache_free(kva->area_cache, va);
}

/* Show @pages from the area's start on, one host mapping for each run of neighbours. */
int area_map_pages(struct vmap_area *va, struct page **pages, unsigned int nr_pages)
{
	struct machine *m = kva_here()->machine;
	unsigned int i = 0;

	while (i < nr_pages) {
		unsigned long pfn = page_to_pfn(pages[i]);
		unsigned int run = 1;

		while (i + run < nr_pages && page_to_pfn(pages[i + run]) == pfn + run)
			run++;
		if (physmem_window_map(m, (char *)va->vm.addr + i * PAGE_SIZE, pfn, run)) {
			physmem_window_unmap(m, va->vm.addr, i);
			return -ENOMEM;
		}
		i += run;
	}
	va->vm.pages = pages;
	va->vm.nr_pages = nr_pages;
	return 0;
}

/* The area that starts at @addr, with nothing mapped in it any more; NULL if there is none. */
struct vmap_area *area_take(const void *addr)
{
	struct kva *kva = kva_here();
	struct vmap_area *va;
	unsigned long irqs;

	spin_lock_irqsave(&kva->lock, irqs);
	va = area_find(kva, (unsigned long)addr);
	spin_unlock_irqrestore(&kva->lock, irqs);
	if (!va || va->vm.addr != addr)
		return NULL;
	physmem_window_unmap(kva->machine, va->vm.addr, va->vm.nr_pages);
	return va;
}

void *vmap_site(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot,
		const struct site *site)
{
	struct vmap_area *va;

	(void)prot;
	might_sleep_site(site);
	if (!count || count > physmem_nr_frames(karc_cpu->machine))
		return NULL;
	va = area_alloc((unsigned long)count << PAGE_SHIFT, PAGE_SIZE,
			VM_MAP | (flags & (VM_NO_GUARD | VM_MAP_PUT_PAGES)), GFP_KERNEL, site);
	if (!va)
		return NULL;
	if (area_map_pages(va, pages, count)) {
		area_free(va);
		return NULL;
	}
	return va->vm.addr;
}

void vunmap(const void *addr)
{
	struct vmap_area *va;

	if (!addr)
		return;
	WARN(in_interrupt(), "vunmap in interrupt context");
	va = area_take(addr);
	if (!WARN(!va, "Trying to vunmap() nonexistent vm area"))
		area_free(va);
}

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

	spin_lock_irqsave(&kva->lock, irqs);
	va = area_find(kva, (unsigned long)addr);
	spin_unlock_irqrestore(&kva->lock, irqs);
	return va ? &va->vm : NULL;
}

struct page *vmalloc_to_page(const void *addr)
{
	const struct vm_struct *vm = find_vm_area(addr);
	unsigned long i;

	if (!vm)
		return NULL;
	i = ((unsigned long)addr - (unsigned long)vm->addr) >> PAGE_SHIFT;
	return i < vm->nr_pages ? vm->pages[i] : NULL;
}

unsigned long vmalloc_to_pfn(const void *addr)
{
	const struct page *page = vmalloc_to_page(addr);

	return page ? page_to_pfn(page) : 0;
}

unsigned long vmap_nr_areas(struct machine *m)
{
	return READ_ONCE(((struct kva *)machine_room(m, ROOM_KVA))->nr_areas);
}
