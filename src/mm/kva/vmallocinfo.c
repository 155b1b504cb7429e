/* SPDX-License-Identifier: MIT */
/*
 * vmallocinfo.c - the text of /proc/vmallocinfo
 *
 * What it is
 *	A list of the areas in order of address. They are copied out under the lock, some at a time,
 *	and told without it; the next ones are looked for behind the last that was copied. As in
 *	Linux those that are freed and still mapped come last, with nothing but their addresses.
 *
 * Worst case
 *	The lock is held for BATCH areas, and for the frames of each while they are counted by node.
 *
 * Unlike Linux
 *	Addresses are those of the window in simulated kernel memory, not the host's.
 */
#include <karc/mm/kva/vmallocinfo.h>
#include "internal.h"

#define BATCH	16u

/* The lowest area at or above @addr, or NULL. Lock held. */
static const struct vmap_area *area_from(const struct kva *kva, unsigned long addr)
{
	const struct rb_node *n = kva->areas.rb_node;
	const struct vmap_area *best = NULL;

	while (n) {
		const struct vmap_area *va = rb_entry(n, struct vmap_area, node);

		if (va->va_start >= addr) {
			best = va;
			n = n->rb_left;
		} else {
			n = n->rb_right;
		}
	}
	return best;
}

static enum vmallocinfo_kind kind_of(const struct vmap_area *va)
{
	if (va->state == AREA_LAZY)
		return VMALLOCINFO_UNPURGED;
	return va->vm.flags & VM_RAM ? VMALLOCINFO_RAM : VMALLOCINFO_AREA;
}

static void copy_out(const struct kva *kva, const struct vmap_area *va, struct vmallocinfo *info)
{
	*info = (struct vmallocinfo){
		.start = kva_simulated(kva, va->va_start),
		.end = kva_simulated(kva, va->va_end),
		.kind = kind_of(va),
	};
	if (info->kind != VMALLOCINFO_AREA)
		return;
	info->flags = va->vm.flags;
	info->nr_pages = va->vm.nr_pages;
	info->array_in_vmalloc = is_vmalloc_addr(va->vm.pages);
	info->caller = va->vm.caller;
	for (unsigned int i = 0; i < va->vm.nr_pages; i++)
		info->node_pages[page_to_nid(va->vm.pages[i])]++;
}

/* Areas from *@from on into @batch; returns how many, and where to go on. */
static unsigned int take_batch(struct kva *kva, unsigned long *from, struct vmallocinfo *batch)
{
	const struct vmap_area *va;
	unsigned long irqs;
	unsigned int nr = 0;

	spin_lock_irqsave(&kva->lock, irqs);
	va = area_from(kva, *from);
	while (va && nr < BATCH) {
		if (va->state != AREA_GOING)
			copy_out(kva, va, &batch[nr++]);
		*from = va->va_end;
		va = rb_entry_safe(rb_next(&va->node), struct vmap_area, node);
	}
	spin_unlock_irqrestore(&kva->lock, irqs);
	return nr;
}

void vmallocinfo_each(void (*fn)(const struct vmallocinfo *info, void *arg), void *arg)
{
	struct kva *kva = kva_here();
	struct vmallocinfo batch[BATCH];
	unsigned long from = 0;
	unsigned int nr;

	while ((nr = take_batch(kva, &from, batch))) {
		for (unsigned int i = 0; i < nr; i++)
			fn(&batch[i], arg);
	}
}

static void write_range(FILE *out, const struct vmallocinfo *info)
{
	fprintf(out, "0x%016llx-0x%016llx %7lld", (unsigned long long)info->start,
		(unsigned long long)info->end, (long long)(info->end - info->start));
}

static void show_unpurged(const struct vmallocinfo *info, void *arg)
{
	if (info->kind != VMALLOCINFO_UNPURGED)
		return;
	write_range(arg, info);
	fputs(" unpurged vm_area\n", arg);
}

static void show_area(const struct vmallocinfo *info, void *arg)
{
	FILE *out = arg;

	if (info->kind == VMALLOCINFO_UNPURGED)
		return;
	write_range(out, info);
	if (info->kind == VMALLOCINFO_RAM)
		fputs(" vm_map_ram", out);
	if (info->caller)
		fprintf(out, " %s", info->caller->func);
	if (info->nr_pages)
		fprintf(out, " pages=%u", info->nr_pages);
	if (info->flags & VM_IOREMAP)
		fputs(" ioremap", out);
	if (info->flags & VM_ALLOC)
		fputs(" vmalloc", out);
	if (info->flags & VM_MAP)
		fputs(" vmap", out);
	if (info->flags & VM_USERMAP)
		fputs(" user", out);
	if (info->flags & VM_DMA_COHERENT)
		fputs(" dma-coherent", out);
	if (info->array_in_vmalloc)
		fputs(" vpages", out);
	for (unsigned int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (info->node_pages[nid])
			fprintf(out, " N%u=%u", nid, info->node_pages[nid]);
	}
	fputc('\n', out);
}

void vmallocinfo_show(FILE *out)
{
	vmallocinfo_each(show_area, out);
	vmallocinfo_each(show_unpurged, out);
}

bool vmallocinfo_peek_frames(void (*fn)(unsigned long pfn, void *arg), void *arg)
{
	struct kva *kva = kva_here();
	const struct vmap_area *va;

	if (spin_is_locked(&kva->lock))
		return false;
	for (va = area_from(kva, 0); va;
	     va = rb_entry_safe(rb_next(&va->node), struct vmap_area, node)) {
		bool has = (va->vm.flags & VM_ALLOC) && va->state != AREA_GOING;

		for (unsigned int i = 0; has && i < va->vm.nr_pages; i++)
			fn(page_to_pfn(va->vm.pages[i]), arg);
	}
	return true;
}
