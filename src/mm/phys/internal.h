/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the phys room share and nobody else may see
 */
#ifndef KARC_SRC_MM_PHYS_INTERNAL_H
#define KARC_SRC_MM_PHYS_INTERNAL_H

#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/phys.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/phys/zone.h>

/* What a machine that tracks knows about an allocated frame. */
struct frame_track {
	const struct site *site;	/* NULL: free */
	u8 order;			/* of the block this frame is the first of ... */
};

#define TRACK_INTERIOR	0xff		/* ... or this: a later frame of a block */

/* phys->pageblock: bits of a block's byte. */
#define PB_TYPE_MASK	0x07u
#define PB_POISONED	0x80u		/* AddressSanitizer was told about frames in it */

struct arc_graph_source;

struct phys {
	struct machine *machine;
	unsigned long max_pfn;
	unsigned int nr_nodes;
	struct pglist_data *nodes[MAX_NUMNODES];	/* by number; NULL where there is none */
	u8 *pageblock;			/* by pfn >> pageblock_order; atomic, types: zone->lock */
	struct frame_track *track;	/* by pfn; NULL unless the machine tracks */
	unsigned long nr_bad;		/* atomic: frames taken out of use */
	const struct reclaim_ops *reclaim;
	struct {
		void (*lru_release)(struct page *page);
		void *(*highmem_address)(const struct page *page);
	};
};

static inline struct phys *phys_of(struct machine *m)
{
	return machine_room(m, ROOM_PHYS);
}

static inline struct phys_hot *phys_hot_of(struct cpu *cpu)
{
	return cpu_hot(cpu, ROOM_PHYS);
}

static inline struct phys_hot *phys_hot(void)
{
	return this_cpu_hot(ROOM_PHYS);
}

static inline struct phys *phys_here(void)
{
	return phys_hot()->phys;
}

/* Bits of page->flags that are not flags: zone, node, migrate type. */
#define PAGE_PLACE_MASK	(7UL << PAGE_ZONE_SHIFT | 7UL << PAGE_NODE_SHIFT)
#define PAGE_FLAG_BITS	((1UL << NR_PAGEFLAGS) - 1)

static_assert(NR_PAGEFLAGS <= PAGE_MIGRATE_SHIFT, "page flags run into the migrate type");
static_assert(MAX_NR_ZONES <= 8 && MAX_NUMNODES <= 8, "zone and node have three bits each");

/* An owner that left one of these on a frame had not finished with it. */
#define PAGE_FLAGS_CHECK_AT_FREE						\
	(1UL << PG_locked | 1UL << PG_lru | 1UL << PG_active | 1UL << PG_writeback |	\
	 1UL << PG_slab | 1UL << PG_table | 1UL << PG_buddy | 1UL << PG_pcp |	\
	 1UL << PG_reserved | 1UL << PG_unevictable | 1UL << PG_swapcache |	\
	 1UL << PG_hwpoison)

static inline unsigned long zone_page_flags(const struct zone *zone)
{
	return (unsigned long)zone_idx(zone) << PAGE_ZONE_SHIFT |
	       (unsigned long)zone->node << PAGE_NODE_SHIFT;
}

static inline int pageblock_type(const struct phys *phys, unsigned long pfn)
{
	return READ_ONCE(phys->pageblock[pfn >> pageblock_order]) & PB_TYPE_MASK;
}

static inline int page_migratetype(const struct page *page)
{
	return (int)((page->flags >> PAGE_MIGRATE_SHIFT) & 7);
}

/*
 * The whole word at once. Nobody else changes it then, but who looks for a free buddy reads the
 * words of frames that are somebody's.
 */
static inline void page_set_flags(struct page *page, unsigned long flags)
{
	WRITE_ONCE(page->flags, flags);
}

/* All flags off; zone and node stay. */
static inline void page_clear_flags(struct page *page)
{
	page_set_flags(page, page->flags & PAGE_PLACE_MASK);
}

/* Order of a block on a zone's list; its lock is held. */
static inline unsigned int buddy_order(const struct page *page)
{
	return (unsigned int)page->private;
}

/* graph.c */
extern const struct arc_graph_source phys_graph_source;

/* page.c */
bool page_is_damaged(const struct page *page, unsigned long bad_flags);
void bad_pages(struct page *page, unsigned long nr_pages, const char *reason);

/* zone.c: a zone's lists. The lock is held. */
void zone_add_block(struct zone *zone, struct page *page, unsigned int order, int migratetype);
struct page *zone_take_block(struct phys *phys, struct zone *zone, unsigned int order,
			     int migratetype);
int zones_init(struct phys *phys);
void zones_exit(struct phys *phys);

/* page_alloc.c */
bool check_new_block(struct page *page, unsigned int order);
void free_the_block(struct page *page, unsigned int order);
void free_one_block(struct zone *zone, struct page *page, unsigned int order);

/* pcp.c */
void pcp_init(struct phys *phys);
struct page *pcp_alloc(struct zone *zone, int migratetype);
void pcp_free(struct page *page);
unsigned long pcp_drain_cpu(struct phys *phys, struct cpu *cpu, struct zone *only);

#endif
