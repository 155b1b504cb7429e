/* SPDX-License-Identifier: MIT */
/*
 * mempool.h - allocation that does not fail: some elements are kept for when memory is short
 */
#ifndef KARC_MM_SLAB_MEMPOOL_H
#define KARC_MM_SLAB_MEMPOOL_H

#include <karc/hw/topology.h>
#include <karc/hw/wait.h>
#include <karc/mm/slab/kmalloc.h>

typedef void *(mempool_alloc_t)(gfp_t gfp, void *pool_data);
typedef void (mempool_free_t)(void *element, void *pool_data);

typedef struct mempool_s {
	spinlock_t lock;
	/* lock */
	int min_nr;			/* elements it guarantees */
	int curr_nr;			/* of them here now */
	void **elements;
	const struct site **freed;	/* where each came from; NULL unless the machine tracks */

	void *pool_data;
	mempool_alloc_t *alloc;
	mempool_free_t *free;
	wait_queue_head_t wait;
	const struct site *site;	/* who made it */
	atomic_t nr_out;		/* elements that users have; in a machine that tracks */
} mempool_t;

/* Does the pool have its elements? For a zeroed one it is false. */
static inline bool mempool_initialized(const mempool_t *pool)
{
	return pool->elements != NULL;
}

/* Are all guaranteed elements here? */
static inline bool mempool_is_saturated(const mempool_t *pool)
{
	return READ_ONCE(pool->curr_nr) >= READ_ONCE(pool->min_nr);
}

/**
 * mempool_create - a pool that guarantees @min_nr elements
 * @alloc_fn, @free_fn: how to get an element and how to give it back, with @pool_data
 * @gfp:                for the pool and its first elements
 *
 * Gives:   the pool, filled; end it with mempool_destroy().
 * Context: may sleep. Errors: NULL: no memory. A negative @min_nr is a BUG.
 * Model:   Linux 6.1.
 */
KARC_MUST_CHECK mempool_t *mempool_create_site(int min_nr, mempool_alloc_t *alloc_fn,
					       mempool_free_t *free_fn, void *pool_data,
					       gfp_t gfp, int node, const struct site *site);
#define mempool_create_node(min_nr, alloc_fn, free_fn, pool_data, gfp, node) \
	mempool_create_site(min_nr, alloc_fn, free_fn, pool_data, gfp, node, SITE())
#define mempool_create(min_nr, alloc_fn, free_fn, pool_data) \
	mempool_create_node(min_nr, alloc_fn, free_fn, pool_data, GFP_KERNEL, NUMA_NO_NODE)

/*
 * Takes the pool; all elements must be back: where the machine tracks, missing ones are reported.
 * NULL is ignored. Context: any in which the pool's free_fn may be called.
 */
void mempool_destroy(mempool_t *pool);

/**
 * mempool_init - the same in the caller's memory
 *
 * Ends with mempool_exit(), which ignores a pool that is zeroed or was ended before.
 * Errors: -ENOMEM: the pool is as mempool_exit() leaves it.
 */
KARC_MUST_CHECK int mempool_init_site(mempool_t *pool, int min_nr, mempool_alloc_t *alloc_fn,
				      mempool_free_t *free_fn, void *pool_data, gfp_t gfp,
				      int node, const struct site *site);
#define mempool_init_node(pool, min_nr, alloc_fn, free_fn, pool_data, gfp, node) \
	mempool_init_site(pool, min_nr, alloc_fn, free_fn, pool_data, gfp, node, SITE())
#define mempool_init(pool, min_nr, alloc_fn, free_fn, pool_data) \
	mempool_init_node(pool, min_nr, alloc_fn, free_fn, pool_data, GFP_KERNEL, NUMA_NO_NODE)
void mempool_exit(mempool_t *pool);

/**
 * mempool_resize - guarantee another number
 *
 * Context: may sleep; not at the same time as another one, or as the pool's end.
 * Errors:  -ENOMEM: the old number holds. A number below 1 is a BUG.
 * Model:   Linux 6.1, which says 0 when elements for the new number cannot be had.
 */
KARC_MUST_CHECK int mempool_resize_site(mempool_t *pool, int new_min_nr,
					const struct site *site);
#define mempool_resize(pool, new_min_nr) mempool_resize_site(pool, new_min_nr, SITE())

/**
 * mempool_alloc - an element: new if there is memory, else one that was kept
 * @gfp: __GFP_ZERO is warned about, since a kept element is not zeroed
 *
 * The allocator is asked twice: as if the caller could not sleep, then, when nothing is kept
 * either, with @gfp; it is never allowed to use the reserves or to try again and again.
 * Gives:   the element; end it with mempool_free().
 * Context: any if @gfp lacks __GFP_DIRECT_RECLAIM; otherwise may sleep.
 * Errors:  NULL only if @gfp lacks __GFP_DIRECT_RECLAIM; otherwise it waits for an element.
 * Model:   Linux 6.1.
 */
KARC_MUST_CHECK void *mempool_alloc_site(mempool_t *pool, gfp_t gfp, const struct site *site);
#define mempool_alloc(pool, gfp) mempool_alloc_site(pool, gfp, SITE())

/**
 * mempool_free - an element comes back: to the reserve first, else to its allocator
 *
 * Takes:   the element; NULL is ignored.
 * Context: any.
 * Errors:  in a machine that tracks, an element that is free already is reported with the places
 *          and left alone.
 */
void mempool_free_site(void *element, mempool_t *pool, const struct site *site);
void (mempool_free)(void *element, mempool_t *pool);
#define mempool_free(element, pool) mempool_free_site(element, pool, SITE())

/* Pools over a cache, kmalloc and the buddy. */
void *mempool_alloc_slab(gfp_t gfp, void *pool_data);
void mempool_free_slab(void *element, void *pool_data);
void *mempool_kmalloc(gfp_t gfp, void *pool_data);
void mempool_kfree(void *element, void *pool_data);
void *mempool_alloc_pages(gfp_t gfp, void *pool_data);
void mempool_free_pages(void *element, void *pool_data);

#define mempool_create_slab_pool(min_nr, cache) \
	mempool_create(min_nr, mempool_alloc_slab, mempool_free_slab, (void *)(cache))
#define mempool_create_kmalloc_pool(min_nr, size) \
	mempool_create(min_nr, mempool_kmalloc, mempool_kfree, (void *)(unsigned long)(size))
#define mempool_create_page_pool(min_nr, order) \
	mempool_create(min_nr, mempool_alloc_pages, mempool_free_pages, \
		       (void *)(unsigned long)(order))
#define mempool_init_slab_pool(pool, min_nr, cache) \
	mempool_init(pool, min_nr, mempool_alloc_slab, mempool_free_slab, (void *)(cache))
#define mempool_init_kmalloc_pool(pool, min_nr, size) \
	mempool_init(pool, min_nr, mempool_kmalloc, mempool_kfree, \
		     (void *)(unsigned long)(size))
#define mempool_init_page_pool(pool, min_nr, order) \
	mempool_init(pool, min_nr, mempool_alloc_pages, mempool_free_pages, \
		     (void *)(unsigned long)(order))

#endif
