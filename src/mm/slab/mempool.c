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
 *	In a machine that tracks, elements of the reserve are filled with a pattern that is looked
 *	at when they leave, are off limits for AddressSanitizer, and have the place they were freed
 *	at; so what is used or freed once more is found. That needs to know what an element is:
 *	objects of caches (without constructor), kmalloc memory, frames that have an address.
 *
 * Objects
 *	pool - elements[min_nr], freed[min_nr] -> elements of the reserve; users own the others
 *
 * Invariants
 *	I1 0 <= curr_nr <= min_nr, except while mempool_resize() shrinks
 *	I2 freed[i] belongs to elements[i]
 *
 * Locking
 *	lock (no rank): curr_nr, min_nr, elements, freed. The allocator is never called under it.
 *	mempool_free() looks at curr_nr without it: whoever took the element out of the reserve did
 *	so before it could come back here, see there.
 *
 * Worst case
 *	A waiter looks again after each wake-up, and every five seconds of virtual time. The check
 *	for an element that is in the reserve already goes over the reserve, where tracked.
 *
 * Unlike Linux
 *	mempool_resize() fails when it cannot guarantee the new number. Patterns are not written
 *	over elements of a cache with a constructor, where Linux forbids such a pool.
 */
#include <string.h>

#include <karc/base/log.h>
#include <karc/base/poison.h>
#include <karc/mm/slab/mempool.h>
#include "internal.h"

#define WAIT_TIMEOUT	(5 * HZ)	/* memory may come from elsewhere */

/* ---- what an element is ---- */

/* Bytes of an element that nobody uses while it is kept; NULL if they are not known. */
static u8 *element_bytes(const mempool_t *pool, void *element, size_t *size_bytes)
{
	if (pool->alloc == mempool_alloc_slab) {
		const struct kmem_cache *cachep = pool->pool_data;

		*size_bytes = cachep->object_size;
		return cachep->ctor || cachep->flags & SLAB_TYPESAFE_BY_RCU ? NULL : element;
	}
	if (pool->alloc == mempool_kmalloc) {
		*size_bytes = (size_t)pool->pool_data;
		return element;
	}
	if (pool->alloc == mempool_alloc_pages) {
		*size_bytes = PAGE_SIZE << (unsigned long)pool->pool_data;
		return PageHighMem(element) ? NULL : page_address(element);
	}
	return NULL;
}

static void poison_element(mempool_t *pool, void *element)
{
	size_t size = 0;
	u8 *byte = element_bytes(pool, element, &size);

	if (!byte || !size)
		return;
	memset(byte, POISON_FREE, size - 1);
	byte[size - 1] = POISON_END;
	mem_poison(byte, size);
}

/* True if the pattern is as it was left; the element is the user's now. */
static bool unpoison_element(mempool_t *pool, void *element)
{
	size_t size = 0, i = 0;
	u8 *byte = element_bytes(pool, element, &size);
	bool whole;

	if (!byte || !size)
		return true;
	mem_unpoison(byte, size);
	while (i < size - 1 && byte[i] == POISON_FREE)
		i++;
	whole = i == size - 1 && byte[i] == POISON_END;
	memset(byte, POISON_INUSE, size);
	return whole;
}

/* Is the element free in the allocator it came from? As far as that remembers. */
static bool free_in_allocator(const mempool_t *pool, void *element, const struct site **freed)
{
	const struct obj_track *track;
	const struct page *page;

	if (pool->alloc == mempool_alloc_pages)
		return !page_ref_count(element);
	if ((pool->alloc != mempool_alloc_slab && pool->alloc != mempool_kmalloc) ||
	    !virt_addr_valid(element))
		return false;
	page = virt_to_head_page(element);
	if (!PageSlab(page) || !is_object(page->slab_cache, page, element))
		return false;
	track = track_of(page->slab_cache, page, element);
	if (track)
		*freed = track->freed;
	return track && !track->alloc;
}

static void report_element(const mempool_t *pool, const char *what, const struct site *first,
			   const struct site *again)
{
	WARN(1, "mempool: %s, pool of %s:%u %s", what, pool->site->file, pool->site->line,
	     pool->site->func);
	if (first)
		pr_warn("first freed at %s:%u %s\n", first->file, first->line, first->func);
	if (again)
		pr_warn("now at %s:%u %s\n", again->file, again->line, again->func);
}

/* Is it here already? The lock is held. */
static bool in_reserve(const mempool_t *pool, const void *element, const struct site **freed)
{
	for (int i = 0; i < pool->curr_nr; i++) {
		if (pool->elements[i] == element) {
			*freed = pool->freed[i];
			return true;
		}
	}
	return false;
}

/* True: the element was given back before; reported. */
static bool is_double_free(mempool_t *pool, void *element, const struct site *site)
{
	const struct site *first = NULL;
	unsigned long flags;
	bool found;

	spin_lock_irqsave(&pool->lock, flags);
	found = in_reserve(pool, element, &first);
	spin_unlock_irqrestore(&pool->lock, flags);
	if (!found && !free_in_allocator(pool, element, &first))
		return false;
	report_element(pool, "double free of an element", first, site);
	return true;
}

/* ---- the reserve; the lock is held ---- */

static void add_element(mempool_t *pool, void *element, const struct site *site)
{
	int at = pool->curr_nr;

	pool->elements[at] = element;
	if (pool->freed) {
		poison_element(pool, element);
		pool->freed[at] = site;
	}
	WRITE_ONCE(pool->curr_nr, at + 1);
}

static void *remove_element(mempool_t *pool, const struct site **freed, bool *whole)
{
	int at = pool->curr_nr - 1;
	void *element = pool->elements[at];

	WRITE_ONCE(pool->curr_nr, at);
	*whole = true;
	if (pool->freed) {
		*freed = pool->freed[at];
		*whole = unpoison_element(pool, element);
	}
	return element;
}

/* ---- pools ---- */

/* Give up elements beyond @min_nr. */
static void mempool_trim(mempool_t *pool, int min_nr)
{
	const struct site *freed = NULL;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	WRITE_ONCE(pool->min_nr, min_nr);
	while (pool->curr_nr > min_nr) {
		bool whole;
		void *element = remove_element(pool, &freed, &whole);

		spin_unlock_irqrestore(&pool->lock, flags);
		if (!whole)
			report_element(pool, "element was written to after it was freed", freed,
				       NULL);
		pool->free(element, pool->pool_data);
		spin_lock_irqsave(&pool->lock, flags);
	}
	spin_unlock_irqrestore(&pool->lock, flags);
}

void mempool_exit(mempool_t *pool)
{
	if (!mempool_initialized(pool))
		return;
	mempool_trim(pool, 0);
	if (atomic_read(&pool->nr_out))
		report_element(pool, "ends while users have elements of it", NULL, NULL);
	kfree(pool->elements);
	kfree(pool->freed);
	pool->elements = NULL;
	pool->freed = NULL;
}

void mempool_destroy(mempool_t *pool)
{
	if (!pool)
		return;
	mempool_exit(pool);
	kfree(pool);
}

/* Fill up to min_nr; -ENOMEM if an element could not be had. */
static int mempool_fill(mempool_t *pool, gfp_t gfp, const struct site *site)
{
	unsigned long flags;

	for (;;) {
		void *element;

		if (mempool_is_saturated(pool))
			return 0;
		element = pool->alloc(gfp, pool->pool_data);
		if (!element)
			return -ENOMEM;
		spin_lock_irqsave(&pool->lock, flags);
		if (pool->curr_nr < pool->min_nr) {
			add_element(pool, element, site);
			element = NULL;
		}
		spin_unlock_irqrestore(&pool->lock, flags);
		if (element)
			pool->free(element, pool->pool_data);
		else
			wake_up(&pool->wait);
	}
}

/* Room for @nr elements; *@freed stays NULL where nothing tracks. */
static void **elements_alloc(int nr, gfp_t gfp, int node, const struct site ***freed,
			     const struct site *site)
{
	size_t n = (size_t)max(nr, 1);
	void **elements = node == NUMA_NO_NODE ?
		kmalloc_array_site(n, sizeof(void *), gfp, site) :
		kmalloc_array_node(n, sizeof(void *), gfp, node);

	*freed = NULL;
	if (!elements || !machine_config(this_machine())->track)
		return elements;
	*freed = kmalloc_array_site(n, sizeof(**freed), gfp, site);
	if (!*freed) {
		kfree(elements);
		return NULL;
	}
	return elements;
}

int mempool_init_site(mempool_t *pool, int min_nr, mempool_alloc_t *alloc_fn,
		      mempool_free_t *free_fn, void *pool_data, gfp_t gfp, int node,
		      const struct site *site)
{
	BUG_ON(min_nr < 0);
	if (gfpflags_allow_blocking(gfp))
		might_sleep_site(site);
	*pool = (mempool_t){ .min_nr = min_nr, .pool_data = pool_data, .alloc = alloc_fn,
			     .free = free_fn, .site = site };
	spin_lock_init(&pool->lock);
	init_waitqueue_head(&pool->wait);
	pool->elements = elements_alloc(min_nr, gfp, node, &pool->freed, site);
	if (!pool->elements)
		return -ENOMEM;
	if (mempool_fill(pool, gfp, site)) {
		mempool_exit(pool);
		return -ENOMEM;
	}
	return 0;
}

mempool_t *mempool_create_site(int min_nr, mempool_alloc_t *alloc_fn, mempool_free_t *free_fn,
			       void *pool_data, gfp_t gfp, int node, const struct site *site)
{
	mempool_t *pool;

	if (gfpflags_allow_blocking(gfp))
		might_sleep_site(site);
	pool = node == NUMA_NO_NODE ? kmalloc_site(sizeof(*pool), gfp | __GFP_ZERO, site) :
				      kzalloc_node(sizeof(*pool), gfp, node);
	if (!pool)
		return NULL;
	if (mempool_init_site(pool, min_nr, alloc_fn, free_fn, pool_data, gfp, node, site)) {
		kfree(pool);
		return NULL;
	}
	return pool;
}

int mempool_resize_site(mempool_t *pool, int new_min_nr, const struct site *site)
{
	const struct site **freed, **old_freed;
	int old_min_nr = pool->min_nr;
	void **elements, **old;
	unsigned long flags;

	BUG_ON(new_min_nr <= 0);
	might_sleep_site(site);
	if (new_min_nr <= old_min_nr) {
		mempool_trim(pool, new_min_nr);
		return 0;
	}
	elements = elements_alloc(new_min_nr, GFP_KERNEL, NUMA_NO_NODE, &freed, site);
	if (!elements)
		return -ENOMEM;
	spin_lock_irqsave(&pool->lock, flags);
	old = pool->elements;
	old_freed = pool->freed;
	memcpy(elements, old, (size_t)pool->curr_nr * sizeof(*elements));
	if (freed && old_freed)
		memcpy(freed, old_freed, (size_t)pool->curr_nr * sizeof(*freed));
	pool->elements = elements;
	pool->freed = freed;
	WRITE_ONCE(pool->min_nr, new_min_nr);
	spin_unlock_irqrestore(&pool->lock, flags);
	kfree(old);
	kfree(old_freed);
	if (mempool_fill(pool, GFP_KERNEL, site)) {
		mempool_trim(pool, old_min_nr);
		return -ENOMEM;
	}
	return 0;
}

/* ---- elements ---- */

/* One of the reserve, or NULL; then, with @wait, the caller is queued for the next one. */
static void *take_reserved(mempool_t *pool, struct wait_queue_entry *wait,
			   const struct site *site)
{
	const struct site *freed = NULL;
	void *element = NULL;
	unsigned long flags;
	bool whole = true;

	spin_lock_irqsave(&pool->lock, flags);
	if (pool->curr_nr)
		element = remove_element(pool, &freed, &whole);
	else if (wait)
		prepare_to_wait(&pool->wait, wait, TASK_UNINTERRUPTIBLE);
	spin_unlock_irqrestore(&pool->lock, flags);
	if (!whole)
		report_element(pool, "element was written to after it was freed", freed, site);
	/* Pairs with mempool_free(): curr_nr is less before the element can be seen there. */
	smp_wmb();
	return element;
}

void *mempool_alloc_site(mempool_t *pool, gfp_t gfp, const struct site *site)
{
	gfp_t full = gfp | __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN;
	gfp_t now = full & ~(__GFP_DIRECT_RECLAIM | __GFP_IO);
	bool may_wait = gfpflags_allow_blocking(gfp);
	DEFINE_WAIT(wait);
	void *element;

	WARN_ON_ONCE(gfp & __GFP_ZERO);
	if (may_wait)
		might_sleep_site(site);
	for (;;) {
		bool last_resort = now == full;

		element = pool->alloc(now, pool->pool_data);
		if (!element)
			element = take_reserved(pool, last_resort && may_wait ? &wait : NULL,
						site);
		if (element || (last_resort && !may_wait))
			break;
		now = full;
		if (!last_resort)
			continue;
		wait_sleep(WAIT_TIMEOUT, site);
		finish_wait(&pool->wait, &wait);
	}
	if (element && pool->freed)
		atomic_inc(&pool->nr_out);
	return element;
}

void mempool_free_site(void *element, mempool_t *pool, const struct site *site)
{
	unsigned long flags;

	if (!element)
		return;
	if (pool->freed) {
		if (is_double_free(pool, element, site))
			return;
		atomic_dec(&pool->nr_out);
	}
	/*
	 * Pairs with take_reserved(). If the element came from the reserve, whoever handed it over
	 * made curr_nr < min_nr visible too. If another was taken meanwhile, its return refills.
	 */
	smp_rmb();
	if (!mempool_is_saturated(pool)) {
		spin_lock_irqsave(&pool->lock, flags);
		if (pool->curr_nr < pool->min_nr) {
			add_element(pool, element, site);
			spin_unlock_irqrestore(&pool->lock, flags);
			wake_up(&pool->wait);
			return;
		}
		spin_unlock_irqrestore(&pool->lock, flags);
	}
	pool->free(element, pool->pool_data);
}

void (mempool_free)(void *element, mempool_t *pool)
{
	mempool_free_site(element, pool, SITE());
}

/* ---- elements of well-known kinds ---- */

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
