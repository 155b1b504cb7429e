/* SPDX-License-Identifier: MIT */
/*
 * slab.c - one slab: a block of frames cut into objects, its free list, its life
 *
 * What it is
 *	A slab is a block of frames cut into objects of one size. Its free list is an array of
 *	indices; taking an object advances slab_active, giving one back steps it down: a stack.
 *	Where the list lies was decided with the cache's geometry (cache.c): on the slab's last
 *	bytes, in an object of a small kmalloc cache (OFF_SLAB), or in the slab's own free object that is
 *	handed out last (OBJFREELIST), which costs nothing.
 *
 * Objects
 *	page (head of a block): slab_cache, s_mem (first object), freelist, slab_active
 *	freelist: [ in use ... | slab_active: index, index, ... ]; bit 15 of element k says "object
 *	k is free on this slab", so that a second free is known in one look in every build
 *
 *	A slab page is owned by its objects: slab_active is their count, and whatever was registered
 *	with slab_on_destroy() runs when the slab goes. Objects that lie in arrays count as used,
 *	so the count changes only when objects move between arrays and slabs.
 *
 *	slab_state.block_use[pfn / PHYSMEM_JOIN_FRAMES]: how many of those frames slabs have, and
 *	whether the host was asked to map them all as one large page. That is as dear as touching
 *	them, holds three frames for each that slabs have at most, and is done by who may sleep.
 *
 * Invariants
 *	I3 freelist[active .. num) names each free object once, exactly those are marked FREE_HERE,
 *	   and none of them is in an array; a full OBJFREELIST slab has no list
 *	I7 no object of a slab from the reserves (PagePfMemalloc) is in an array, but where somebody
 *	   gave it back with kfree_sized() on a CPU that had read its array before the first of them
 *
 * Locking
 *	A slab on a list of its node: that node's list_lock. One that is on none: whoever made it or
 *	took it off. Frames are taken and given back without any lock.
 *
 * Life
 *	kmem_getpages -> free -> partial <-> full -> free -> slab_destroy [-> grace period]
 *	-> slab_release: destructors, frames to the buddy
 *
 * Worst case
 *	slab_destroy() of an OFF_SLAB cache frees into its freelist_cache, which is never OFF_SLAB
 *	itself: one level. A damaged free list costs the free objects of its slab, and is reported.
 *
 * Unlike Linux
 *	The index is 16 bits wide for every cache. A free of something that is no object, or is free
 *	already, is refused in every build, not a crash. Free lists are not shuffled: a list of
 *	objects is torn down fast when their addresses ascend.
 */
#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>
#include <karc/refcount/ledger.h>
#include "internal.h"

#define LEDGER_KIND		"slab page"

#define FREE_HERE		0x8000u
static_assert(SLAB_OBJECTS_MAX < FREE_HERE, "an index leaves room for the mark");

/* slab_state.block_use: frames that slabs have, of which so many are worth a large page; done. */
#define BLOCK_JOIN_AT		(PHYSMEM_JOIN_FRAMES / 4)
#define BLOCK_JOINED		0x8000u
static_assert(PHYSMEM_JOIN_FRAMES < BLOCK_JOINED, "a count leaves room for the mark");

/* gfp bits that decide where slabs come from are the cache's business. */
#define GFP_SLAB_BUG_MASK	(__GFP_DMA32 | __GFP_HIGHMEM | ~__GFP_BITS_MASK)
#define GFP_SLAB_PAGE_MASK	(__GFP_RECLAIM | __GFP_IO | __GFP_FS | __GFP_HIGH |	\
				 __GFP_ATOMIC | __GFP_NOWARN | __GFP_RETRY_MAYFAIL |	\
				 __GFP_NOFAIL | __GFP_NORETRY | __GFP_MEMALLOC |	\
				 __GFP_NOMEMALLOC | __GFP_HARDWALL | __GFP_THISNODE)

static_assert(sizeof(struct rcu_head) <= sizeof(struct list_head),
	      "a dying slab's rcu_head takes the place of its list entry");

/* ---- the free list ---- */

unsigned int slab_free_index(const struct page *page, unsigned int i)
{
	return ((const freelist_idx_t *)page->freelist)[i] & ~FREE_HERE;
}

/* Does object @index lie on its slab's free list? */
bool slab_is_free_here(const struct page *page, unsigned int index)
{
	const freelist_idx_t *list = page->freelist;

	return list && list[index] & FREE_HERE;
}

/*
 * Up to @nr free objects, the next one in @to[nr - 1] and so on downwards; returns how many: fewer
 * when there are no more, or the list is damaged.
 */
unsigned int slab_get_objs(const struct kmem_cache *cachep, struct page *page, void **to,
			   unsigned int nr)
{
	const unsigned int num = cachep->num, size = cachep->size;
	unsigned int active = page->slab_active, got = 0, index;
	freelist_idx_t *list = page->freelist;

	if (unlikely(!list))
		return 0;
	while (got < nr && active < num) {
		index = list[active] & ~FREE_HERE;
		if (unlikely(index >= num || !(list[index] & FREE_HERE)))
			break;
		list[index] &= (freelist_idx_t)~FREE_HERE;
		active++;
		to[nr - ++got] = (char *)page->s_mem + (size_t)index * size;
	}
	page->slab_active = active;
	if (active == num && OBJFREELIST(cachep))
		page->freelist = NULL;		/* it was in the object that goes now */
	return got;
}

/* False: it is no object of the slab, or free already; reported, nothing changed. */
bool slab_put_obj(const struct kmem_cache *cachep, struct page *page, void *obj)
{
	unsigned int index = obj_to_index(cachep, page, obj);
	freelist_idx_t *list;

	if (unlikely(!is_object(cachep, page, obj))) {
		report_interior(cachep, obj, NULL);
		return false;
	}
	if (!page->freelist)
		page->freelist = memset(obj, 0, cachep->freelist_bytes);
	list = page->freelist;
	if (unlikely(!page->slab_active || list[index] & FREE_HERE)) {
		report_double_free(cachep, obj, NULL);
		return false;
	}
	page->slab_active--;
	list[page->slab_active] = (freelist_idx_t)((list[page->slab_active] & FREE_HERE) | index);
	list[index] |= FREE_HERE;
	return true;
}

/*
 * As slab_put_obj() for objects of one slab that follow each other in @objpp, up to the first that
 * is not of this slab or not as it should be; returns how many.
 */
unsigned int slab_put_objs(const struct kmem_cache *cachep, struct page *page, void **objpp,
			   unsigned int nr)
{
	const char *first = page->s_mem;
	freelist_idx_t *list = page->freelist;
	unsigned int active = page->slab_active, index, i;
	const unsigned int size = cachep->size;
	const u32 reciprocal = cachep->reciprocal_size;

	if (unlikely(!list))
		return 0;
	for (i = 0; i < nr && active; i++) {
		size_t offset = (size_t)((const char *)objpp[i] - first);

		index = (unsigned int)((u64)(u32)offset * reciprocal >> 32);
		if ((size_t)index * size != offset || index >= cachep->num ||
		    unlikely(list[index] & FREE_HERE))
			break;
		active--;
		list[active] = (freelist_idx_t)((list[active] & FREE_HERE) | index);
		list[index] |= FREE_HERE;
	}
	page->slab_active = active;
	return i;
}

/* A free list that says nonsense: what it named is given up, the objects in use stay. */
void slab_give_up_free(const struct kmem_cache *cachep, struct page *page)
{
	WARN(1, "slab: free list of a slab of cache '%s' at pfn 0x%lx is damaged, %u objects lost",
	     cachep->name, page_to_pfn(page), cachep->num - page->slab_active);
	page->slab_active = cachep->num;
	if (OBJFREELIST(cachep))
		page->freelist = NULL;
	else
		memset(page->freelist, 0, cachep->freelist_bytes);
}

/* ---- frames ---- */

static int stat_item(const struct kmem_cache *cachep)
{
	return cachep->flags & SLAB_RECLAIM_ACCOUNT ? NR_SLAB_RECLAIMABLE_B :
						      NR_SLAB_UNRECLAIMABLE_B;
}

/*
 * Objects that are used in any order lie on more frames than a TLB has entries. So where slabs have
 * a good part of a large page of the host's, it is asked to make one, once.
 */
static void count_frames(struct kmem_cache *cachep, const struct page *page, gfp_t gfp)
{
	unsigned long pfn = page_to_pfn(page);
	u16 *use = &cachep->state->block_use[pfn / PHYSMEM_JOIN_FRAMES];
	u16 now = (u16)(1u << cachep->gfporder);

	now = (u16)(now + __atomic_fetch_add(use, now, __ATOMIC_RELAXED));
	if (likely(now < BLOCK_JOIN_AT || now & BLOCK_JOINED) || !gfpflags_allow_blocking(gfp))
		return;
	if (!(__atomic_fetch_or(use, BLOCK_JOINED, __ATOMIC_RELAXED) & BLOCK_JOINED))
		physmem_join(cachep->state->machine, pfn);
}

static void uncount_frames(const struct kmem_cache *cachep, const struct page *page)
{
	__atomic_fetch_sub(&cachep->state->block_use[page_to_pfn(page) / PHYSMEM_JOIN_FRAMES],
			   1u << cachep->gfporder, __ATOMIC_RELAXED);
}

static struct page *kmem_getpages(struct kmem_cache *cachep, gfp_t gfp, int node)
{
	struct page *page = alloc_pages_node(node, (gfp & GFP_SLAB_PAGE_MASK) |
					     cachep->allocflags, cachep->gfporder);

	if (!page)
		return NULL;
	__SetPageSlab(page);
	ledger_add(LEDGER_KIND, cachep->site, PAGE_SIZE << cachep->gfporder);
	mod_node_page_state(NODE_DATA(page_to_nid(page)), stat_item(cachep),
			    (long)(PAGE_SIZE << cachep->gfporder));
	count_frames(cachep, page, gfp);
	return page;
}

static void set_frame_class(struct kmem_cache *cachep, struct page *page, u16 class)
{
	if (!class || READ_ONCE(cachep->debug))
		return;
	for (unsigned long i = 0; i < 1UL << cachep->gfporder; i++)
		cachep->state->frame_class[page_to_pfn(page) + i] = class;
}

static void clear_frame_class(struct kmem_cache *cachep, struct page *page)
{
	u16 *class = &cachep->state->frame_class[page_to_pfn(page)];

	for (unsigned long i = 0; *class && i < 1UL << cachep->gfporder; i++)
		class[i] = 0;
}

/* Whoever reclaims wants to know how many frames came of it. */
static void count_reclaimed(unsigned long nr_frames)
{
	struct fiber *f = fiber_self();

	if (f && f->reclaim_state)
		f->reclaim_state->reclaimed_slab += nr_frames;
}

static void kmem_freepages(struct kmem_cache *cachep, struct page *page)
{
	BUG_ON(!PageSlab(page));
	trace_slab_step("kmem_freepages", "cache %s: %u frames from pfn 0x%lx to the buddy",
			cachep->name, 1u << cachep->gfporder, page_to_pfn(page));
	mem_unpoison(page_to_virt(page), PAGE_SIZE << cachep->gfporder);
	clear_frame_class(cachep, page);
	uncount_frames(cachep, page);
	__ClearPageSlab(page);
	page_mapcount_reset(page);
	page->mapping = NULL;
	count_reclaimed(1UL << cachep->gfporder);
	mod_node_page_state(NODE_DATA(page_to_nid(page)), stat_item(cachep),
			    -(long)(PAGE_SIZE << cachep->gfporder));
	ledger_sub(LEDGER_KIND, cachep->site, PAGE_SIZE << cachep->gfporder);
	__free_pages(page, cachep->gfporder);
}

/* The destructor of a slab page: nobody can find it any more. */
void slab_release(struct kmem_cache *cachep, struct page *page)
{
	arc_dtor_run(&page->dtors, page);
	track_drop_slab(cachep, page);
	account_drop_slab(cachep, page);
	kmem_freepages(cachep, page);
}

static void kmem_rcu_free(struct rcu_head *head)
{
	struct page *page = container_of((struct list_head *)head, struct page, slab_list);

	slab_release(page->slab_cache, page);
}

/* A slab off every list, with no object in use. No lock is held. */
void slab_destroy(struct kmem_cache *cachep, struct page *page)
{
	void *freelist = page->freelist;

	trace_slab_step("slab_destroy", "cache %s: slab at pfn 0x%lx%s", cachep->name,
			page_to_pfn(page), cachep->flags & SLAB_TYPESAFE_BY_RCU ?
			", after a grace period" : "");
	if (unlikely(cachep->flags & SLAB_TYPESAFE_BY_RCU))
		call_rcu((struct rcu_head *)&page->slab_list, kmem_rcu_free);
	else
		slab_release(cachep, page);
	if (OFF_SLAB(cachep))
		slab_free(cachep->freelist_cache, freelist, SITE());
}

void slabs_destroy(struct kmem_cache *cachep, struct list_head *list)
{
	while (!list_empty(list)) {
		struct page *page = list_first_entry(list, struct page, slab_list);

		list_del(&page->slab_list);
		slab_destroy(cachep, page);
	}
}

/* ---- a new slab ---- */

static bool alloc_slabmgmt(struct kmem_cache *cachep, struct page *page, size_t colour_offset,
			   gfp_t gfp)
{
	char *base = page_to_virt(page);

	page->s_mem = base + colour_offset + cachep->red_left;
	page->slab_active = 0;
	if (OBJFREELIST(cachep))
		page->freelist = index_to_obj(cachep, page, cachep->num - 1);
	else if (OFF_SLAB(cachep))
		page->freelist = slab_alloc(cachep->freelist_cache,
					    gfp & ~(__GFP_ZERO | __GFP_THISNODE),
					    cachep->freelist_bytes, SITE());
	else
		page->freelist = base + (PAGE_SIZE << cachep->gfporder) -
				 cachep->freelist_bytes;
	return page->freelist != NULL;
}

/* Only a hint, so CPUs may take the same one: no lock. */
static size_t next_colour(const struct kmem_cache *cachep, struct kmem_cache_node *n)
{
	unsigned int colour = READ_ONCE(n->colour_next);

	WRITE_ONCE(n->colour_next, colour + 1 < cachep->colour ? colour + 1 : 0);
	return (size_t)(colour < cachep->colour ? colour : 0) * cachep->colour_off;
}

static void cache_init_objs(struct kmem_cache *cachep, struct page *page)
{
	freelist_idx_t *list = page->freelist;

	for (unsigned int i = 0; i < cachep->num; i++) {
		list[i] = (freelist_idx_t)(FREE_HERE | i);
		if (cachep->ctor)
			cachep->ctor(index_to_obj(cachep, page, i));
	}
}

/*
 * A new slab that is on no list yet, or NULL. Called with interrupts off; while a caller who may
 * sleep waits for frames they are on, so the CPU's array may have changed.
 */
struct page *cache_grow_begin(struct kmem_cache *cachep, gfp_t gfp, int node)
{
	struct page *page;
	size_t offset;

	if (WARN_ON_ONCE(gfp & GFP_SLAB_BUG_MASK))
		gfp &= ~GFP_SLAB_BUG_MASK;
	WARN_ON_ONCE(cachep->ctor && (gfp & __GFP_ZERO));
	if (gfpflags_allow_blocking(gfp))
		local_irq_enable();
	page = kmem_getpages(cachep, gfp, node);
	if (!page)
		goto out;
	offset = next_colour(cachep, get_node(cachep, page_to_nid(page)));
	if (unlikely(PagePfMemalloc(page)))
		cache_leave_fast_ways(cachep, DEBUG_RESERVES);
	if (!alloc_slabmgmt(cachep, page, offset, gfp & GFP_SLAB_PAGE_MASK))
		goto free_page;
	page->slab_cache = cachep;
	if (track_new_slab(cachep, page))
		goto free_mgmt;
	cache_init_objs(cachep, page);
	debug_new_slab(cachep, page);
	if (!PagePfMemalloc(page))
		set_frame_class(cachep, page, cachep->hot_class);
	goto out;
free_mgmt:
	if (OFF_SLAB(cachep))
		slab_free(cachep->freelist_cache, page->freelist, SITE());
free_page:
	kmem_freepages(cachep, page);
	page = NULL;
out:
	if (gfpflags_allow_blocking(gfp))
		local_irq_disable();
	return page;
}

/* ---- what users call ---- */

void *slab_object_of(const void *p, struct kmem_cache **cachep)
{
	struct page *page = slab_page_of(p);
	unsigned int index;

	if (!page || (const char *)p < (const char *)page->s_mem)
		return NULL;
	index = obj_to_index(page->slab_cache, page, p);
	if (index >= page->slab_cache->num)
		return NULL;
	if (cachep)
		*cachep = page->slab_cache;
	return index_to_obj(page->slab_cache, page, index);
}

void slab_on_destroy(struct page *page, struct arc_dtor *dtor, void (*fn)(void *page, void *arg),
		     void *arg)
{
	BUG_ON(!PageSlab(page));
	arc_dtor_push(&page->dtors, dtor, fn, arg);
}
