/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the phys room share and nobody else may see
 */
#ifndef KARC_SRC_MM_PHYS_INTERNAL_H
#define KARC_SRC_MM_PHYS_INTERNAL_H

#include <karc/hw/tracepoint.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/phys.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/phys/zone.h>

/* What a machine that tracks knows about a frame: its last allocation, and how that ended. */
struct frame_track {
	const struct site *site;	/* NULL: never allocated */
	const struct site *free_site;	/* NULL: allocated now */
	u8 order;			/* of the block this frame is the first of ... */
};

#define TRACK_INTERIOR	0xff		/* ... or this: a later frame of a block */

/* phys->pageblock: bits of a block's byte. */
#define PB_TYPE_MASK	0x07u
#define PB_OLD_SHIFT	3		/* of an isolated block: the type it will have again */
#define PB_POISONED	0x80u		/* AddressSanitizer was told about frames in it */

struct arc_graph_source;
struct mem_cgroup;

struct phys {
	struct machine *machine;
	unsigned long max_pfn;
	unsigned int nr_nodes;
	struct pglist_data *nodes[MAX_NUMNODES];	/* by number; NULL where there is none */
	u8 *pageblock;			/* by pfn >> pageblock_order; atomic, types: zone->lock */
	struct frame_track *track;	/* by pfn; NULL unless the machine tracks */
	unsigned long nr_bad;		/* atomic: frames taken out of use */
	struct mem_cgroup **memcg_of;	/* by pfn; NULL until there is a group; atomic */
	bool init_on_alloc, init_on_free;
	u8 *poisoned;			/* by pfn: holds the pattern; NULL without page_poison */
	int fenced_node;		/* isolated_node(): NUMA_NO_NODE for none */
	struct per_cpu_pages *pcp_block;	/* see pcp.c */
	struct trace_event_watch watch;
	spinlock_t short_lock;		/* inside zone->lock; what the short ways depend on: */
	u32 traced;			/* events of ours that somebody listens to */
	int nr_isolated;		/* isolated blocks */
	u64 warn_window_ns;		/* rate limit of warn_alloc(), under warn_lock */
	unsigned int warn_nr;
	spinlock_t warn_lock;
	const struct reclaim_ops *reclaim;
	struct {
		void (*memcg_begin)(struct machine *m);
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

/* Bits of page->flags that are flags. */
#define PAGE_FLAG_BITS	((1UL << NR_PAGEFLAGS) - 1)
#define PAGE_ORDER_MASK	(15UL << PAGE_ORDER_SHIFT)

static_assert(NR_PAGEFLAGS <= PAGE_ORDER_SHIFT, "page flags run into the order");
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

/* This CPU's lists of a zone, or another's that stands still. */
static inline struct per_cpu_pages *pcp_of(struct cpu *cpu, const struct zone *zone)
{
	return &phys_hot_of(cpu)->pcp[PCP_INDEX(zone->node, zone_idx(zone))];
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

/* Is the frame the first of a free block of the zone? Its lock is held. */
static inline bool page_is_free_block(const struct zone *zone, const struct page *page)
{
	return (READ_ONCE(page->flags) & (PAGE_PLACE_MASK | 1UL << PG_buddy)) ==
	       (zone_page_flags(zone) | 1UL << PG_buddy);
}

/* How large an allocated block is, as its first frame says. */
static inline unsigned int page_block_order(const struct page *page)
{
	return (unsigned int)(READ_ONCE(page->flags) >> PAGE_ORDER_SHIFT & 15);
}

/*
 * Which per-CPU list a single frame goes to when it is freed, as bits of its flags: its block's.
 * They are set while the frame is allocated and on a list, so that who frees it need not look.
 */
static inline unsigned long page_type_bits(const struct phys *phys, const struct page *page)
{
	int type = pageblock_type(phys, page_to_pfn(page));

	return (unsigned long)(type < NR_PCP_LISTS ? type : MIGRATE_MOVABLE) << PAGE_MIGRATE_SHIFT;
}

/* The block has become smaller. Others may hold references and change flags. */
static inline void page_set_block_order(const struct phys *phys, struct page *page,
					unsigned int order)
{
	const unsigned long type = 7UL << PAGE_MIGRATE_SHIFT;

	__atomic_fetch_and(&page->flags, ~(PAGE_ORDER_MASK | type), __ATOMIC_RELAXED);
	__atomic_fetch_or(&page->flags, order ? (unsigned long)order << PAGE_ORDER_SHIFT :
			  page_type_bits(phys, page), __ATOMIC_RELAXED);
}

#define PAGE_POISON	0xaa

struct alloc_context {
	struct zonelist *zonelist;
	const nodemask_t *nodemask;	/* NULL: all */
	enum zone_type highest_zoneidx;
	int migratetype;
	bool pfmemalloc;		/* what it got came from below all marks */
};

/* graph.c */
extern const struct arc_graph_source phys_graph_source;

/* page.c */
bool page_is_damaged(const struct page *page, unsigned long bad_flags);
void bad_pages(struct page *page, unsigned long nr_pages, const char *reason);
void say_site(const char *what, const struct site *site);

/* memcg.c */
int memcg_init(void);
void memcg_exit(struct phys *phys);
int memcg_charge_block(struct page *page, unsigned int order, gfp_t gfp);
void memcg_uncharge_frame(struct page *page);

/* content.c */
int content_init(struct phys *phys);
void content_exit(struct phys *phys);
bool content_is_watched(const struct phys *phys);
void content_on_free(struct phys *phys, struct page *page, unsigned int order);
void content_on_alloc(struct phys *phys, struct page *page, unsigned int order, gfp_t gfp);

/* zone.c: a zone's lists. The lock is held. */
void zone_add_block(struct zone *zone, struct page *page, unsigned int order, int migratetype);
struct page *zone_take_smallest(struct zone *zone, unsigned int order, int migratetype);
void zone_list_block(struct zone *zone, struct page *page, unsigned int order, int migratetype);
void zone_unlist_block(struct zone *zone, struct page *page, unsigned int order);
void zone_count_free(struct zone *zone, int migratetype, long delta);
enum zone_type phys_bank_zone(const struct machine *m, const struct machine_bank *bank);
int zones_init(struct phys *phys);
void zones_exit(struct phys *phys);

/* pageblock.c */
struct page *zone_take_block(struct phys *phys, struct zone *zone, unsigned int order,
			     int migratetype, unsigned int alloc_flags);	/* lock held */
void highatomic_reserve(struct phys *phys, struct zone *zone, struct page *page);
bool highatomic_unreserve(struct phys *phys, struct zone *zone, int migratetype, bool force);
bool pageblock_isolate(struct phys *phys, struct zone *zone, unsigned long pfn);
void pageblock_unisolate(struct phys *phys, struct zone *zone, unsigned long pfn);

/* page_alloc.c */
bool check_new_block(struct page *page, unsigned int order);
bool alloc_context_init(struct alloc_context *ac, gfp_t gfp, int nid, const nodemask_t *nodemask);
bool alloc_zone_allowed(const struct alloc_context *ac, const struct zoneref *z);
void prep_new_block(struct page *page, unsigned int order, gfp_t gfp, bool pfmemalloc,
		    const struct site *site);

/* page_free.c */
void free_the_block(struct page *page, unsigned int order, const struct site *site);
void free_one_block(struct zone *zone, struct page *page, unsigned int order);

/* pcp.c */
int pcp_init(struct phys *phys);
void pcp_exit(struct phys *phys);
void pcp_update_short_ways(struct phys *phys, u32 traced, int nr_isolated);
#define PCP_SAME_TRACING	(~0u)
struct page *pcp_alloc(struct zone *zone, int migratetype, unsigned int alloc_flags);
unsigned long pcp_alloc_many(struct zone *zone, int migratetype, unsigned int alloc_flags,
			     unsigned long nr, struct list_head *taken);
void pcp_free(struct page *page);

#endif
