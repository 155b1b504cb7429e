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
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>

struct arc_graph_source;
struct kmap_state;

#define VM_RAM			0x00010000ul	/* by vm_map_ram(); has no vm_struct to be found */

enum area_state {
	AREA_BUSY,		/* somebody's */
	AREA_GOING,		/* nobody's, on its way to one of the other two */
	AREA_LAZY,		/* freed, still mapped, on kva->lazy */
};

/*
 * A range of the window: [va_start, va_end) with the guard page. Either an area, in kva->areas, or
 * a hole, in kva->holes, where only the first part means anything.
 */
struct vmap_area {
	struct rb_node node;
	unsigned long va_start;
	unsigned long va_end;
	unsigned long max_hole;		/* of a hole: bytes of the largest in its subtree */
	enum area_state state;
	bool changed;			/* set_memory_x() was here: entries are not alike */
	unsigned int nr_mapped;		/* pages from the start that have an entry */
	int nid;			/* all frames are of this node, or NUMA_NO_NODE */
	gfp_t kind;			/* of the frames, see frame_kind() */
	struct list_head lazy;		/* kva->lazy, or somebody's list of what goes */
	struct list_head by_size;	/* kva->by_size[], while it can be had again */
	struct vm_struct vm;
};

/* A free of the past, for the report of the next one. */
struct freed_area {
	unsigned long va_start, va_end;
	const struct site *made, *freed;
};

#define NR_SIZE_LISTS	64u
#define NR_FREED	64u

/* window.c: the host's mappings of the window. One bit for each page. */
struct window {
	u32 lock;		/* a host lock: the fault handler takes it on any thread */
	/* lock */
	unsigned long *shown;	/* the host has it mapped */
	unsigned long *starts;	/* shown, and one of the host's mappings begins here */
	unsigned long nr_starts;
	unsigned long cap;	/* more mappings than this are not asked for */
	unsigned long hand;	/* where the next eviction looks, in chunks */
	unsigned long high;	/* no page from here on is shown */
	unsigned int nr_mapping;	/* who is about to fill tables: no empty one may go */
	/* atomic */
	unsigned long nr_refills;	/* faults repaired */
	unsigned long nr_host_calls;	/* changes of mappings */
};

struct kva {
	struct machine *machine;
	struct kmem_cache *area_cache;
	unsigned long start, end;	/* of the vmalloc window */
	char *arena;
	bool eager;			/* a freed area faults at once */
	struct mm_struct kernel_mm;	/* init_mm */
	struct window window;

	spinlock_t lock;
	/* lock */
	struct rb_root areas;		/* busy, going or lazy */
	unsigned long nr_areas;		/* busy */
	struct rb_root holes;		/* below top */
	unsigned long top;		/* all from here to the end is free */
	struct list_head lazy;		/* oldest first */
	unsigned long nr_lazy_pages;
	struct list_head by_size[NR_SIZE_LISTS];
	unsigned long lazy_max_pages;
	unsigned long nr_purges;
	struct freed_area freed[NR_FREED];
	unsigned int next_freed;

	struct kmap_state *kmap;	/* NULL in a machine without HIGHMEM */
};

static inline struct kva *kva_here(void)
{
	return this_room(ROOM_KVA);
}

/* An address of the window as init_mm's tables know it. */
static inline unsigned long kva_simulated(const struct kva *kva, unsigned long addr)
{
	return VMALLOC_START + (addr - kva->start);
}

static inline unsigned long kva_page(const struct kva *kva, unsigned long addr)
{
	return (addr - kva->start) >> PAGE_SHIFT;
}

/* ranges.c: which part of the window is whose */
struct range_want {
	unsigned long size;		/* bytes, guard page included */
	unsigned long align;
	unsigned long low, high;	/* host addresses it must lie between */
};

struct vmap_area *range_alloc(struct kva *kva, const struct range_want *want, gfp_t gfp);
void ranges_free(struct kva *kva, struct list_head *areas);
struct vmap_area *area_find(const struct kva *kva, unsigned long addr);
void ranges_check(struct kva *kva, struct check_report *report);

/* window.c: entries of init_mm, and what the host shows of them */
int window_init(struct kva *kva);
void window_arm(struct kva *kva);
void window_exit(struct kva *kva);
int window_map(struct kva *kva, unsigned long addr, struct page **pages, unsigned int nr_pages,
	       pgprot_t prot);
void window_clear(struct kva *kva, unsigned long addr, unsigned long nr_pages);
void window_hide(struct kva *kva, unsigned long start, unsigned long end);
bool window_change(struct kva *kva, unsigned long addr, unsigned long nr_pages, u64 set,
		   u64 clear);
pte_t window_entry(struct kva *kva, unsigned long addr);
unsigned long window_free_tables(struct kva *kva);
void window_check(struct kva *kva, struct check_report *report);

/* vmap.c: areas */
struct area_want {
	unsigned long size_bytes, align;
	unsigned long low, high;	/* as init_mm's tables know them; 0: anywhere */
	unsigned long flags;
	gfp_t gfp;
	const struct site *site;
};

struct vmap_area *area_alloc(const struct area_want *want);
void area_say(const void *addr);
struct vmap_area *area_take(const void *addr, unsigned long flags, const char *who,
			    const struct site *site);
int area_map_pages(struct vmap_area *va, struct page **pages, unsigned int nr_pages,
		   pgprot_t prot);
void area_discard(struct vmap_area *va);
void area_retire(struct vmap_area *va, bool again);
struct vmap_area *area_again(const struct area_want *want, gfp_t kind, int nid);
unsigned long areas_purge(struct kva *kva);

/* vmalloc.c */
void area_put_pages(struct vmap_area *va);

/* graph.c */
extern const struct arc_graph_source kva_graph_source;

/* highmem.c */
int kmap_init(struct kva *kva);
void kmap_exit(struct kva *kva);
void kmap_check(struct kva *kva, struct check_report *report);

#endif
