/* SPDX-License-Identifier: MIT */
/*
 * mempool.h - allocation that does not fail: some elements are kept for when memory is short
 */
#ifndef KARC_MM_SLAB_MEMPOOL_H
#define KARC_MM_SLAB_MEMPOOL_H

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

	void *pool_data;
	struct {
		mempool_alloc_t *alloc;
		mempool_free_t *free;
	};
	wait_queue_head_t wait;
} mempool_t;

/**
 * mempool_create - a pool that guarantees @min_nr elements
 *
 * Gives:   the pool, filled; end it with mempool_destroy(). Context: may sleep. Errors: NULL.
 */
KARC_MUST_CHECK mempool_t *mempool_create(int min_nr, mempool_alloc_t *alloc_fn,
					  mempool_free_t *free_fn, void *pool_data);

/* Takes the pool; all elements must be back. NULL is ignored. */
void mempool_destroy(mempool_t *pool);

/* Guarantee another number. Errors: -ENOMEM; the old number holds then. Context: may sleep. */
KARC_MUST_CHECK int mempool_resize(mempool_t *pool, int new_min_nr);

/**
 * mempool_alloc - an element: new if there is memory, else one that was kept
 *
 * Errors: NULL only if @gfp lacks __GFP_DIRECT_RECLAIM; otherwise it waits for an element.
 */
KARC_MUST_CHECK void *mempool_alloc(mempool_t *pool, gfp_t gfp);

/* Takes the element; NULL is ignored. Context: any. */
void mempool_free(void *element, mempool_t *pool);

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

#endif
