/* SPDX-License-Identifier: MIT */
/*
 * lazy.c - areas after their end: had again, or purged in batches
 *
 * What it is
 *	To unmap costs the host a call and its CPUs a flush. So an area that is given back stays
 *	mapped for a while. One of vmalloc() keeps its frames too, and the next vmalloc() of its
 *	size gets it as it is, without any call to the host. When too much waits, all of it goes at
 *	once: neighbours are unmapped by one call, then frames and ranges are given back.
 *
 * Objects
 *	kva->lazy: every area that waits, oldest first. kva->by_size[]: those of them that vmalloc()
 *	may have again, by a hash of their size, latest first.
 *
 * Invariants
 *	I1 kva->lazy holds exactly the areas that are AREA_LAZY; nr_lazy_pages are theirs
 *	I2 what is on by_size[] is on kva->lazy, owns its frames, and was mapped to be written
 *	I3 in an eager machine nothing is ever lazy: what is freed faults when vfree() returns
 *	I4 entries of borrowed frames are gone before their area is lazy: only what the host shows
 *	   is stale, as a TLB is in Linux
 *
 * Locking
 *	lists, counts: kva->lock. A purge takes the whole list (AREA_GOING) and works without it.
 *
 * Life
 *	area_retire -> lazy -> area_again, or areas_purge -> a hole
 *
 * Worst case
 *	lazy_max_pages wait, half as much again where every free comes from atomic context. A purge
 *	sorts what it took: O(n log n).
 *
 * Unlike Linux
 *	There, an area's frames go at once and only its addresses wait. Here they come back under
 *	pressure, by vmalloc_shrink(). The flush that a batch shares is the host's; the simulated
 *	TLBs hold no kernel addresses.
 */
#include <string.h>

#include "internal.h"

#define MAX_LOOK	8u	/* areas of one list that area_again() looks at */

static struct list_head *size_list(struct kva *kva, unsigned int nr_pages)
{
	return &kva->by_size[(nr_pages ^ nr_pages >> 6 ^ nr_pages >> 12) % NR_SIZE_LISTS];
}

/* ---- a batch goes ---- */

/* Two sorted lists become one, in @into. */
static void merge(struct list_head *into, struct list_head *other)
{
	struct vmap_area *a, *b, *next;

	a = list_first_entry(into, struct vmap_area, lazy);
	list_for_each_entry_safe(b, next, other, lazy) {
		while (&a->lazy != into && a->va_start < b->va_start)
			a = list_next_entry(a, lazy);
		list_move_tail(&b->lazy, &a->lazy);
	}
}

/* By address: bin i holds a sorted list of 2^i areas, or nothing. */
static void sort_areas(struct list_head *areas)
{
	struct list_head bin[24], one;
	unsigned int i, last = ARRAY_SIZE(bin) - 1;

	for (i = 0; i <= last; i++)
		INIT_LIST_HEAD(&bin[i]);
	while (!list_empty(areas)) {
		INIT_LIST_HEAD(&one);
		list_move(areas->next, &one);
		for (i = 0; i < last && !list_empty(&bin[i]); i++)
			merge(&one, &bin[i]);
		if (!list_empty(&bin[i]))
			merge(&one, &bin[i]);
		list_splice_init(&one, &bin[i]);
	}
	for (i = 0; i <= last; i++)
		merge(areas, &bin[i]);
}

/* Areas of a list that follow each other without a gap are unmapped together. */
static void hide_areas(struct kva *kva, struct list_head *areas)
{
	unsigned long start = 0, end = 0;
	struct vmap_area *va;

	list_for_each_entry(va, areas, lazy) {
		if (va->va_start != end) {
			if (end)
				window_hide(kva, start, end);
			start = va->va_start;
		}
		end = va->va_end;
	}
	window_hide(kva, start, end);
}

/* Areas that are going, in order of address, become holes; what they own is given back. */
static void areas_end(struct kva *kva, struct list_head *areas)
{
	struct vmap_area *va;

	hide_areas(kva, areas);
	list_for_each_entry(va, areas, lazy) {
		window_clear(kva, va->va_start, va->nr_mapped);
		if (va->vm.nr_pages)
			area_put_pages(va);
	}
	ranges_free(kva, areas);
}

/* All that waits goes; returns how many areas. */
unsigned long areas_purge(struct kva *kva)
{
	struct vmap_area *va;
	unsigned long irqs, nr = 0;
	LIST_HEAD(going);

	if (!READ_ONCE(kva->nr_lazy_pages))
		return 0;
	spin_lock_irqsave(&kva->lock, irqs);
	list_splice_init(&kva->lazy, &going);
	list_for_each_entry(va, &going, lazy) {
		va->state = AREA_GOING;
		list_del_init(&va->by_size);
		nr++;
	}
	WRITE_ONCE(kva->nr_lazy_pages, 0);
	kva->nr_purges += nr != 0;
	spin_unlock_irqrestore(&kva->lock, irqs);
	if (!nr)
		return 0;
	sort_areas(&going);
	areas_end(kva, &going);
	return nr;
}

/* ---- one ends, one is had again ---- */

/* @again: as it is, it would do for somebody else who wants memory of its size. */
void area_retire(struct vmap_area *va, bool again)
{
	bool owner = va->vm.flags & (VM_ALLOC | VM_MAP_PUT_PAGES);
	struct kva *kva = kva_here();
	unsigned long irqs, waiting;

	if (kva->eager) {
		LIST_HEAD(one);

		list_add(&va->lazy, &one);
		areas_end(kva, &one);
		return;
	}
	if (!owner) {
		window_clear(kva, va->va_start, va->nr_mapped);
		va->nr_mapped = 0;
	}
	INIT_LIST_HEAD(&va->by_size);
	spin_lock_irqsave(&kva->lock, irqs);
	va->state = AREA_LAZY;
	list_add_tail(&va->lazy, &kva->lazy);
	if (again)
		list_add(&va->by_size, size_list(kva, va->vm.nr_pages));
	waiting = kva->nr_lazy_pages + ((va->va_end - va->va_start) >> PAGE_SHIFT);
	WRITE_ONCE(kva->nr_lazy_pages, waiting);
	spin_unlock_irqrestore(&kva->lock, irqs);
	if (waiting > kva->lazy_max_pages &&
	    (preemptible() || waiting > kva->lazy_max_pages * 3 / 2))
		areas_purge(kva);
}

static bool will_do(const struct vmap_area *va, const struct area_want *want, gfp_t kind, int nid)
{
	return va->vm.size == PAGE_ALIGN(want->size_bytes) + PAGE_SIZE && va->kind == kind &&
	       va->nid == nid && IS_ALIGNED(va->va_start, max(want->align, PAGE_SIZE));
}

/* An area that waits and would do, frames and all; busy again. Or NULL. */
struct vmap_area *area_again(const struct area_want *want, gfp_t kind, int nid)
{
	struct kva *kva = kva_here();
	struct vmap_area *va, *found = NULL;
	unsigned int nr = 0;
	unsigned long irqs;

	if (!READ_ONCE(kva->nr_lazy_pages) || want->high ||
	    !is_power_of_2(max(want->align, PAGE_SIZE)))
		return NULL;
	spin_lock_irqsave(&kva->lock, irqs);
	list_for_each_entry(va, size_list(kva, (unsigned int)(PAGE_ALIGN(want->size_bytes) >>
							     PAGE_SHIFT)), by_size) {
		if (nr++ == MAX_LOOK)
			break;
		if (!will_do(va, want, kind, nid))
			continue;
		found = va;
		list_del(&va->by_size);
		list_del(&va->lazy);
		WRITE_ONCE(kva->nr_lazy_pages, kva->nr_lazy_pages - (va->vm.size >> PAGE_SHIFT));
		WRITE_ONCE(kva->nr_areas, kva->nr_areas + 1);
		va->state = AREA_BUSY;
		va->vm.flags = want->flags;
		va->vm.caller = want->site;
		break;
	}
	spin_unlock_irqrestore(&kva->lock, irqs);
	return found;
}

/* ---- pressure ---- */

unsigned long vmalloc_nr_lazy(struct machine *m)
{
	return READ_ONCE(((struct kva *)machine_room(m, ROOM_KVA))->nr_lazy_pages);
}

unsigned long vmalloc_shrink(void)
{
	struct kva *kva = kva_here();
	unsigned long nr_pages = READ_ONCE(kva->nr_lazy_pages);

	if (!areas_purge(kva))
		nr_pages = 0;
	return nr_pages + window_free_tables(kva);
}
