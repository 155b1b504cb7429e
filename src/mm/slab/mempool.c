/* SPDX-License-Identifier: MIT */
/*
 * mempool.c - elements kept for when memory is short
 *
 * What it is
 *	An allocator with a bottom: as long as it can allocate it does, and an element that comes
 *	back refills the reserve first. When it cannot, it takes from the reserve; when that is
 *	empty, a caller who may sleep waits for an element to come back. Progress needs users who
 *	give elements back, not the allocator.
 *
 * Invariants
 *	I1 0 <= curr_nr <= min_nr, except while mempool_resize() shrinks
 *
 * Locking
 *	lock (no rank): curr_nr, min_nr, elements. The allocator is never called under it.
 *
 * Worst case
 *	A waiter looks again after each wake-up, and every five seconds of virtual time.
 */
#include <karc/base/hostmem.h>
#include <karc/hw/inject.h>
#include <karc/hw/irq.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/slab/mempool.h>

void mempool_destroy(mempool_t *pool)
{
	if (!pool)
		return;
	while (pool->curr_nr > 0)
		pool->free(pool->elements[--pool->curr_nr], pool->pool_data);
	kfree(pool->elements);
	kfree(pool);
}

/* Fill up to min_nr; -ENOMEM if an element could not be had. */
static int mempool_fill(mempool_t *pool)
{
	unsigned long flags;

	for (;;) {
		void *element;

		spin_lock_irqsave(&pool->lock, flags);
		if (pool->curr_nr >= pool->min_nr) {
			spin_unlock_irqrestore(&pool->lock, flags);
			return 0;
		}
		spin_unlock_irqrestore(&pool->lock, flags);
		element = pool->alloc(GFP_KERNEL, pool->pool_data);
		if (!element)
			return -ENOMEM;
		mempool_free(element, pool);
	}
}

mempool_t *mempool_create(int min_nr, mempool_alloc_t *alloc_fn, mempool_free_t *free_fn,
			  void *pool_data)
{
	mempool_t *pool = kzalloc(sizeof(*pool), GFP_KERNEL);

	BUG_ON(min_nr < 0);
	if (!pool)
		return NULL;
	spin_lock_init(&pool->lock);
	init_waitqueue_head(&pool->wait);
	pool->min_nr = min_nr;
	pool->alloc = alloc_fn;
	pool->free = free_fn;
	pool->pool_data = pool_data;
	pool->elements = kmalloc_array((size_t)min_nr, sizeof(void *), GFP_KERNEL);
	if (!pool->elements || mempool_fill(pool)) {
		mempool_destroy(pool);
		return NULL;
	}
	return pool;
}

/* Give up elements beyond @min_nr. */
static void mempool_trim(mempool_t *pool, int min_nr)
{
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	pool->min_nr = min_nr;
	while (pool->curr_nr > min_nr) {
		void *element = pool->elements[--pool->curr_nr];

		spin_unlock_irqrestore(&pool->lock, flags);
		pool->free(element, pool->pool_data);
		spin_lock_irqsave(&pool->lock, flags);
	}
	spin_unlock_irqrestore(&pool->lock, flags);
}

int mempool_resize(mempool_t *pool, int new_min_nr)
{
	int old_min_nr = pool->min_nr;
	unsigned long flags;
	void **elements, **old;

	BUG_ON(new_min_nr <= 0);
	might_sleep();
	if (new_min_nr <= old_min_nr) {
		mempool_trim(pool, new_min_nr);
		return 0;
	}
	elements = kmalloc_array((size_t)new_min_nr, sizeof(void *), GFP_KERNEL);
	if (!elements)
		return -ENOMEM;
	spin_lock_irqsave(&pool->lock, flags);
	old = pool->elements;
	for (int i = 0; i < pool->curr_nr; i++)
		elements[i] = old[i];
	pool->elements = elements;
	pool->min_nr = new_min_nr;
	spin_unlock_irqrestore(&pool->lock, flags);
	kfree(old);
	if (mempool_fill(pool)) {
		mempool_trim(pool, old_min_nr);
		return -ENOMEM;
	}
	return 0;
}

static void *mempool_take(mempool_t *pool)
{
	unsigned long flags;
	void *element = NULL;

	spin_lock_irqsave(&pool->lock, flags);
	if (pool->curr_nr > 0)
		element = pool->elements[--pool->curr_nr];
	spin_unlock_irqrestore(&pool->lock, flags);
	return element;
}

void *mempool_alloc(mempool_t *pool, gfp_t gfp)
{
	/* The pool waits itself, so the allocator need not try hard. */
	gfp_t quick = (gfp | __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN) &
		      ~(__GFP_DIRECT_RECLAIM | __GFP_IO);
	DEFINE_WAIT(wait);
	void *element;

	if (gfpflags_allow_blocking(gfp))
		might_sleep();
	for (;;) {
		element = pool->alloc(quick, pool->pool_data);
		if (!element)
			element = mempool_take(pool);
		if (element || !gfpflags_allow_blocking(gfp))
			break;
		prepare_to_wait(&pool->wait, &wait, TASK_UNINTERRUPTIBLE);
		if (!READ_ONCE(pool->curr_nr))
			wait_sleep(5 * HZ, SITE());	/* memory may come from elsewhere */
		finish_wait(&pool->wait, &wait);
	}
	return element;
}

void mempool_free(void *element, mempool_t *pool)
{
	unsigned long flags;

	if (!element)
		return;
	spin_lock_irqsave(&pool->lock, flags);
	if (pool->curr_nr < pool->min_nr) {
		pool->elements[pool->curr_nr++] = element;
		spin_unlock_irqrestore(&pool->lock, flags);
		wake_up(&pool->wait);
		return;
	}
	spin_unlock_irqrestore(&pool->lock, flags);
	pool->free(element, pool->pool_data);
}

void *mempool_alloc_slab(gfp_t gfp, void *pool_data)
{
	return kmem_cache_alloc((struct kmem_cache *)pool_data, gfp);
}

void mempool_free_slab(void *element, void *pool_data)
{
	kmem_cache_free((struct kmem_cache *)pool_data, element);
}

void *mempool_kmalloc(gfp_t gfp, void *pool_data)
{
	return kmalloc((size_t)pool_data, gfp);
}

void mempool_kfree(void *element, void *pool_data)
{
	(void)pool_data;
	kfree(element);
}

void *mempool_alloc_pages(gfp_t gfp, void *pool_data)
{
	return alloc_pages(gfp, (unsigned int)(unsigned long)pool_data);
}

void mempool_free_pages(void *element, void *pool_data)
{
	__free_pages(element, (unsigned int)(unsigned long)pool_data);
}
