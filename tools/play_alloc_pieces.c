/* SPDX-License-Identifier: MIT */
/*
 * play_alloc_pieces.c - memory in pieces: who still gives 64 KiB when no two free frames are
 * neighbours
 */
#include "play_alloc.h"
#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/reclaim/vmscan.h>
#include <karc/mm/slab/kmalloc.h>
#include <stdlib.h>

static unsigned long pfn_at(const char *p)
{
	return is_vmalloc_addr(p) ? vmalloc_to_pfn(p) : page_to_pfn(kmap_to_page((void *)p));
}

unsigned long alloc_runs_of(const char *p, unsigned long bytes)
{
	unsigned long nr = 1;

	for (unsigned long at = PAGE_SIZE; at < bytes; at += PAGE_SIZE)
		nr += pfn_at(p + at) != pfn_at(p + at - PAGE_SIZE) + 1;
	return nr;
}

bool alloc_is_contiguous(char *p, unsigned long bytes)
{
	for (unsigned long at = 0; at < bytes; at++)
		p[at] = (char)at;
	for (unsigned long at = 0; at < bytes; at++)
		if (p[at] != (char)at)
			return false;
	return true;
}

/* ---- memory in pieces -------------------------------------------------------------------- */

/**
 * struct holder - who has every second frame of the machine
 * @page: those that it has, @nr of them; there is room for @max
 */
struct holder {
	struct page **page;
	unsigned long nr, max;
};

/* Take what there is, then give back the even ones: no two free frames are neighbours. */
static bool hold_every_second(struct holder *h, struct machine *m)
{
	unsigned long i, kept = 0;

	h->max = physmem_nr_frames(m);
	h->nr = 0;
	h->page = calloc(h->max, sizeof(*h->page));
	if (!h->page)
		return false;
	vm_unmap_aliases();		/* what is only kept: nobody may give it back later */
	drop_caches();
	for (unsigned int round = 0; round < 2; round++) {
		drain_all_pages(NULL);
		/* The reserves too: what is left in them would be in one piece. */
		while (h->nr < h->max && (h->page[h->nr] = alloc_page(GFP_NOWAIT | ALLOC_QUIETLY |
								      __GFP_HIGHMEM |
								      __GFP_MEMALLOC)))
			h->nr++;
	}
	for (i = 0; i < h->nr; i++) {
		if (page_to_pfn(h->page[i]) % 2)
			h->page[kept++] = h->page[i];
		else
			__free_page(h->page[i]);
	}
	h->nr = kept;
	return true;
}

/* Frames of the largest free block. */
static unsigned long largest_block(void)
{
	struct pglist_data *pgdat;
	unsigned long order, most = 0;

	for_each_online_pgdat(pgdat)
		for (int type = 0; type < MAX_NR_ZONES; type++)
			for (order = 0; order < MAX_ORDER; order++)
				if (pgdat->node_zones[type].free_area[order].nr_free)
					most = max(most, 1ul << order);
	return most;
}

static void let_go(struct holder *h)
{
	while (h->nr)
		__free_page(h->page[--h->nr]);
	free(h->page);
}

/* In how many places of RAM vmalloc() memory lies when that is all there is. */
unsigned long alloc_vmalloc_places(struct machine *m)
{
	struct holder holder;
	unsigned long places = 0;
	void *v;

	if (!hold_every_second(&holder, m))
		return 0;
	v = vmalloc(ALLOC_BLOCK_BYTES);
	if (v)
		places = alloc_runs_of(v, ALLOC_BLOCK_BYTES);
	vfree(v);
	let_go(&holder);
	return places;
}

/* ---- who still gives memory then --------------------------------------------------------- */

void alloc_tell_fragments(struct stage *s)
{
	struct holder holder;
	struct page *page;
	void *k, *v;

	stage_head(s, "Memory in pieces: every second frame is taken. Who still gives 64 KiB?");
	if (!hold_every_second(&holder, s->m)) {
		stage_expect(s, false, "memory on the host");
		return;
	}
	stage_say(s, "%lu frames are free, %lu at most beside each other", phys_nr_free(s->m),
		  largest_block());
	k = kmalloc(ALLOC_BLOCK_BYTES, GFP_KERNEL | ALLOC_QUIETLY);
	page = alloc_pages(GFP_KERNEL | ALLOC_QUIETLY, ALLOC_BLOCK_ORDER);
	v = __vmalloc(ALLOC_BLOCK_BYTES, GFP_KERNEL | __GFP_HIGHMEM | ALLOC_QUIETLY);
	stage_expect(s, !k && !page, "kmalloc and alloc_pages do not: theirs is contiguous in RAM, or "
		     "none");
	stage_expect(s, v && alloc_runs_of(v, ALLOC_BLOCK_BYTES) > 1 && alloc_is_contiguous(v, ALLOC_BLOCK_BYTES),
		     "vmalloc does: %lu frames in %lu places of RAM, one range of addresses",
		     ALLOC_BLOCK_BYTES / PAGE_SIZE, v ? alloc_runs_of(v, ALLOC_BLOCK_BYTES) : 0);
	kfree(k);
	if (page)
		__free_pages(page, ALLOC_BLOCK_ORDER);
	vfree(v);
	let_go(&holder);
	k = kmalloc(ALLOC_BLOCK_BYTES, GFP_KERNEL);
	stage_expect(s, k && alloc_runs_of(k, ALLOC_BLOCK_BYTES) == 1,
		     "with the frames back kmalloc gives them, one after the other");
	kfree(k);
}
