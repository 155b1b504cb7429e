/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the kva room share and nobody else may see
 */
#ifndef KARC_SRC_MM_KVA_INTERNAL_H
#define KARC_SRC_MM_KVA_INTERNAL_H

#include <karc/base/hostmem.h>
#include <karc/hw/irq.h>
#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/kva/vmap.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>

struct arc_graph_source;
struct kmap_state;

/* An area and its place in the tree. [va_start, va_end) includes the guard page. */
struct vmap_area {
	struct rb_node node;
	unsigned long va_start;
	unsigned long va_end;
	struct vm_struct vm;
};

struct kva {
	struct machine *machine;
	struct kmem_cache *area_cache;
	unsigned long start, end;	/* of the vmalloc window */

	spinlock_t lock;
	/* lock */
	struct rb_root areas;
	unsigned long nr_areas;
	unsigned long search_from;	/* no hole below this is larger than skipped_hole */
	unsigned long skipped_hole;	/* bytes */

	struct kmap_state *kmap;	/* NULL in a machine without HIGHMEM */
};

static inline struct kva *kva_here(void)
{
	return this_room(ROOM_KVA);
}

/* vmap.c */
struct vmap_area *area_alloc(unsigned long size_bytes, unsigned long align, unsigned long flags,
			     gfp_t gfp, const struct site *site);
struct vmap_area *area_take(const void *addr);
struct vmap_area *area_find(struct kva *kva, unsigned long addr);
void area_free(struct vmap_area *va);
int area_map_pages(struct vmap_area *va, struct page **pages, unsigned int nr_pages);

/* vmalloc.c */
void area_release(struct vmap_area *va);

/* graph.c */
extern const struct arc_graph_source kva_graph_source;

/* highmem.c */
int kmap_init(struct kva *kva);
void kmap_exit(struct kva *kva);
void kmap_check(struct kva *kva, struct check_report *report);

#endif
