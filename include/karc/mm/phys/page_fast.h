/* SPDX-License-Identifier: MIT */
/*
 * page_fast.h - alloc_page() and __free_page(), the short ways
 *
 * A single frame is taken off a list of this CPU, and put back there: no lock, no atomic
 * operation, three lines of the cache (the CPU's, its lists', the frame's) and no safe point in
 * between, so that nothing interrupts. What is not so simple (an empty or a full list, a frame
 * that shows a trace of an owner, an armed fault injection, a safe point that is due) goes the
 * usual way, and everything does while sites, wiping or trace points close the short ones (pcp.h).
 *
 * The short ways use the lists' links to the next frame only, so those to the one before are not
 * right: walk forwards.
 *
 * A frame whose count is 1 and that has neither a flag nor a mapping is free without an atomic
 * operation: its only reference is the caller's. Lookups that take references of frames they do
 * not own (get_page_unless_zero) find what has a flag or a mapping, and such frames go the usual way.
 */
#ifndef KARC_MM_PHYS_PAGE_FAST_H
#define KARC_MM_PHYS_PAGE_FAST_H

#include <karc/hw/fiber.h>
#include <karc/mm/phys/pcp.h>
#include <string.h>

/* Watching and checked builds see calls. */
#if defined(KARC_VARIANT) && KARC_VARIANT == 0 && !defined(KARC_EXPLORE) && \
	!defined(__clang_analyzer__)
#define KARC_PAGE_INLINE	1
#else
#define KARC_PAGE_INLINE	0
#endif

/* A count that this CPU writes and others read. One instruction where nobody watches accesses. */
#if KARC_PAGE_INLINE
#define PAGE_FAST_READ(x)	(x)
#define PAGE_FAST_ADD(x, n)	((void)((x) += (__typeof__(x))(n)))
#else
#define PAGE_FAST_READ(x)	READ_ONCE(x)
#define PAGE_FAST_ADD(x, n)	WRITE_ONCE(x, (x) + (__typeof__(x))(n))
#endif

#define PAGE_FAST_SHIFT	(PAGE_SHIFT - ilog2(sizeof(struct page)))

/* What the short way can do; the rest needs a look at zones, groups or reserves. */
#define GFP_FAST_MASK								\
	(GFP_KERNEL | GFP_ATOMIC | GFP_HIGHUSER_MOVABLE | __GFP_RECLAIMABLE |	\
	 __GFP_DMA | __GFP_DMA32 | __GFP_NOWARN | __GFP_NORETRY | __GFP_RETRY_MAYFAIL | \
	 __GFP_COMP | __GFP_ZERO | __GFP_WRITE | __GFP_NOMEMALLOC)

static __always_inline struct phys_hot *page_hot(struct cpu *cpu)
{
	return (struct phys_hot *)(void *)cpu->hot[ROOM_PHYS];
}

/*
 * _mapcount and _refcount, which lie beside each other, at once. What is read as one must have
 * been written as one shortly before, or the CPU waits for the halves to reach its cache.
 */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define PAGE_COUNTS(refs)	((u64)(refs) << 32)
#else
#define PAGE_COUNTS(refs)	((u64)(refs))
#endif

static_assert(offsetof(struct page, _refcount) == offsetof(struct page, _mapcount) + 4 &&
	      offsetof(struct page, _mapcount) % 8 == 0, "the counts are read as one");

static __always_inline u64 page_counts(const struct page *page)
{
	const u64 *counts = (const u64 *)(const void *)&page->_mapcount;
#if KARC_PAGE_INLINE && defined(__x86_64__)
	u64 now = *counts;	/* an operand of the comparison */

	barrier();		/* x86 does the rest */
	return now;
#else
	return __atomic_load_n(counts, __ATOMIC_ACQUIRE);
#endif
}

static __always_inline void page_set_counts(struct page *page, u64 counts)
{
	__atomic_store_n((u64 *)(void *)&page->_mapcount, counts, __ATOMIC_RELAXED);
}

/* Is anything due on this CPU that only the usual way does? Takes a step if not. */
static __always_inline bool page_alloc_is_held_up(struct cpu *cpu, gfp_t gfp)
{
	u32 held = PAGE_FAST_READ(cpu->inject_armed);

	if (gfp & __GFP_MOVABLE)
		held |= cpu->fiber->memalloc;
	if (gfp & __GFP_DIRECT_RECLAIM) {
		held |= (u32)cpu->preempt_count | cpu->irqs_off | PAGE_FAST_READ(cpu->pending);
		if (unlikely(held))
			return true;
		if (likely(--cpu->steps))
			return false;
		cpu->steps++;
		return true;
	}
	return held != 0;
}

/* page_to_virt() with one addition less, for what waits for the address only. */
static __always_inline void *page_fast_virt(const struct phys_hot *hot, const struct page *page)
{
	return (void *)(((unsigned long)page << PAGE_FAST_SHIFT) + hot->virt_bias);
}

/* A frame off this CPU's list, or NULL: then nothing has changed. */
static __always_inline struct page *page_alloc_fast(gfp_t gfp)
{
	struct cpu *cpu = karc_cpu;
	struct per_cpu_pages *pcp = READ_ONCE(page_hot(cpu)->first[gfp_zone(gfp)]);
	struct list_head *list = &pcp->lists[gfp_migratetype(gfp)];
	struct list_head *first = list->next;
	struct page *page = list_entry(first, struct page, pcp_list);

	if ((gfp & ~GFP_FAST_MASK) || ((gfp & __GFP_ZERO) && (gfp & __GFP_HIGHMEM)) ||
	    unlikely(first == list) || unlikely(page_alloc_is_held_up(cpu, gfp)))
		return NULL;
	list->next = first->next;
	PAGE_FAST_ADD(pcp->limit, 1);
	PAGE_FAST_ADD(cpu->nr_alloc_asked, 1);
	/* Not read from the frame, so that nothing waits for the free that wrote it. */
	WRITE_ONCE(page->flags, ((unsigned long)list - (unsigned long)page_hot(cpu)->pcp) <<
				(PAGE_MIGRATE_SHIFT - ilog2(sizeof(*list))));
	page_set_counts(page, PAGE_COUNTS(1));
	if (gfp & __GFP_ZERO)
		memset(__builtin_assume_aligned(page_fast_virt(page_hot(cpu), page), PAGE_SIZE),
		       0, PAGE_SIZE);
	return page;
}

/*
 * Nothing but a reference of the caller's? What others did before they dropped theirs is seen
 * after it.
 */
static __always_inline bool page_is_plain(const struct page *page)
{
	return likely(page_counts(page) == PAGE_COUNTS(1)) &&
	       likely(!((unsigned long)page->mapping | page->private |
			(unsigned long)page->dtors));
}

/*
 * Where the list of a frame with these flags lies in the CPU's lists, in bytes: node, zone and type
 * rotated to the low end. Any flag, and an order, makes it PCP_LISTS_BYTES or more.
 */
#define PCP_LISTS_BYTES	(PCP_INDEX(MAX_NUMNODES, 0) * sizeof(struct per_cpu_pages))

static __always_inline unsigned long page_list_offset(unsigned long flags)
{
	const unsigned int shift = PAGE_MIGRATE_SHIFT - ilog2(sizeof(struct list_head));

	return flags >> shift | flags << (BITS_PER_LONG - shift);
}

static_assert(PAGE_ORDER_SHIFT + 4 <= PAGE_MIGRATE_SHIFT - 4, "a list's offset has low bits");

/* A frame whose only reference is the caller's, to this CPU's list. False: nothing has changed. */
static __always_inline bool page_free_fast(struct page *page)
{
	unsigned long flags = page->flags, offset = page_list_offset(flags);
	struct per_cpu_pages *pcp;
	struct list_head *list;
	u64 nr_put;

	if (unlikely(offset >= PCP_LISTS_BYTES) || unlikely(!page_is_plain(page)))
		return false;
	list = (struct list_head *)((char *)READ_ONCE(page_hot(karc_cpu)->free_to) + offset);
	pcp = (struct per_cpu_pages *)((unsigned long)list & ~(sizeof(*pcp) - 1));
	nr_put = pcp->nr_put + 1;
	if (unlikely(nr_put >= pcp->limit))
		return false;
	page->pcp_list.next = list->next;
	list->next = &page->pcp_list;
	WRITE_ONCE(pcp->nr_put, nr_put);
	WRITE_ONCE(page->flags, flags | 1UL << PG_pcp);
	set_page_count(page, 0);
	return true;
}

#endif
