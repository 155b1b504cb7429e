/* SPDX-License-Identifier: MIT */
/*
 * slab.c - objects: from the CPU's array, the node's shared array, the slabs, the buddy
 *
 * What it is
 *	A slab is a block of frames cut into objects of one size. Taking and giving an object moves
 *	a pointer to or from an array of the CPU, with nothing but the interrupt flag to protect it.
 *	When the array is empty or full, half of it moves at once, under the node's lock: first from
 *	or to an array that the node's CPUs share, then from or to the slabs. Slabs without a used
 *	object go back to the buddy when there are more free objects than free_limit.
 *
 * Objects
 *	kmem_cache -> cpu_cache[cpu] -> objects            -> node[nid] -> shared -> objects
 *	           -> node[nid] -> slabs_partial, slabs_full, slabs_free -> page (head of a block)
 *	page: slab_cache, s_mem (first object), freelist (indices of free objects), slab_active
 *	freelist: [ in use ... | active: index, index, ... ], on the slab's last bytes or, for large
 *	objects, in an object of a small kmalloc cache (OFF_SLAB)
 *
 *	A slab page is owned by its objects: slab_active is their count, and whatever was registered
 *	with slab_on_destroy() runs when the slab goes. Objects that lie in arrays count as used,
 *	so the count changes only when objects move between arrays and slabs.
 *
 * Invariants
 *	I1 slab_active is num on slabs_full, 0 on slabs_free, between on slabs_partial
 *	I2 free_objects is the sum of num - slab_active; total_slabs and free_slabs count the lists
 *	I3 freelist[active .. num) names each free object once; none of them is in an array
 *	I4 an array's avail is at most its limit; its entries are objects of its cache, each once
 *	I5 an object with a track that says "allocated" is in no array
 *
 * Locking
 *	cpu_cache[this cpu]		interrupts off; other CPUs' through an IPI
 *	a node's lists and shared array	list_lock (LR_SLAB_NODE), interrupts off
 *	frames are taken and given back without list_lock
 *
 * Life
 *	slab: kmem_getpages -> free -> partial <-> full -> free -> slab_destroy [-> grace period]
 *	      -> slab_release: destructors, frames to the buddy
 *
 * Worst case
 *	limit objects per CPU and batchcount * shared per node are held back; free_limit more on
 *	slabs. A refill or flush moves at most batchcount objects. slab_destroy() of an OFF_SLAB
 *	cache frees into its freelist_cache, which is never OFF_SLAB itself: one level.
 *
 * Unlike Linux
 *	Descriptors and arrays are bookkeeping in host memory; arrays are made when a CPU first
 *	needs them. No alien caches: an object of another node goes home one by one. No periodic
 *	reap, no pfmemalloc. A free of something that is no object is refused, not a crash.
 */
#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/inject.h>
#include "internal.h"

/* What a refill takes when the array was not used lately. */
#define BATCHREFILL_LIMIT	16u

/* gfp bits that decide where slabs come from are the cache's business. */
#define GFP_SLAB_BUG_MASK	(__GFP_DMA32 | __GFP_HIGHMEM | ~__GFP_BITS_MASK)
#define GFP_SLAB_PAGE_MASK	(__GFP_RECLAIM | __GFP_IO | __GFP_FS | __GFP_HIGH |	\
				 __GFP_ATOMIC | __GFP_NOWARN | __GFP_RETRY_MAYFAIL |	\
				 __GFP_NOFAIL | __GFP_NORETRY | __GFP_MEMALLOC |	\
				 __GFP_NOMEMALLOC | __GFP_HARDWALL | __GFP_THISNODE)

static_assert(sizeof(struct rcu_head) <= sizeof(struct list_head),
	      "a dying slab's rcu_head takes the place of its list entry");

static struct kmem_cache_node *get_node(const struct kmem_cache *cachep, int node)
{
	return cachep->node[node];
}

static int this_node(void)
{
	return phys_node_here();
}

/* ---- arrays ---- */

static struct array_cache *array_make(struct kmem_cache *cachep, unsigned int limit,
				      unsigned int batchcount)
{
	struct array_cache *ac = hostmem_zalloc(slab_hostmem(cachep->state),
						sizeof(*ac) + limit * sizeof(ac->entry[0]));

	if (ac) {
		ac->limit = limit;
		ac->batchcount = batchcount;
	}
	return ac;
}

/* This CPU's array, made now if there is none yet; NULL if the host has no memory. */
static struct array_cache *cpu_cache_get(struct kmem_cache *cachep)
{
	unsigned int cpu = smp_processor_id();
	struct array_cache *ac = cachep->cpu_cache[cpu];

	if (likely(ac->limit))
		return ac;
	ac = array_make(cachep, cachep->limit, cachep->batchcount);
	if (!ac)
		return NULL;
	smp_store_release(&cachep->cpu_cache[cpu], ac);
	if (cachep->kmalloc_class && !cachep->debug)
		slab_hot()->kmalloc_cache[cachep->kmalloc_class] = ac;
	return ac;
}

/* The node's shared array, or NULL; list_lock is held. */
static struct array_cache *shared_get(struct kmem_cache *cachep, struct kmem_cache_node *n)
{
	if (!n->shared && cachep->shared)
		smp_store_release(&n->shared,
				  array_make(cachep, cachep->batchcount * cachep->shared,
					     cachep->batchcount));
	return n->shared;
}

/* Move up to @max objects, the hottest, from one array to another. Returns how many. */
static unsigned int transfer_objects(struct array_cache *to, struct array_cache *from,
				     unsigned int max)
{
	unsigned int nr = min3(from->avail, max, to->limit - to->avail);

	if (!nr)
		return 0;
	memcpy(to->entry + to->avail, from->entry + from->avail - nr, sizeof(void *) * nr);
	count_add(from->avail, -nr);
	count_add(to->avail, nr);
	return nr;
}

/* ---- one slab ---- */

static freelist_idx_t get_free_obj(const struct page *page, unsigned int i)
{
	return ((freelist_idx_t *)page->freelist)[i];
}

static void set_free_obj(struct page *page, unsigned int i, unsigned int index)
{
	((freelist_idx_t *)page->freelist)[i] = (freelist_idx_t)index;
}

static void *slab_get_obj(const struct kmem_cache *cachep, struct page *page)
{
	return index_to_obj(cachep, page, get_free_obj(page, page->slab_active++));
}

#ifdef KARC_DEBUG
static bool is_on_freelist(const struct kmem_cache *cachep, const struct page *page,
			   unsigned int index)
{
	for (unsigned int i = page->slab_active; i < cachep->num; i++) {
		if (get_free_obj(page, i) == index)
			return true;
	}
	return false;
}
#else
static bool is_on_freelist(const struct kmem_cache *cachep, const struct page *page,
			   unsigned int index)
{
	(void)cachep, (void)page, (void)index;
	return false;
}
#endif

/* False: it is no object of the slab, or free already; reported, nothing changed. */
static bool slab_put_obj(const struct kmem_cache *cachep, struct page *page, const void *obj)
{
	unsigned int index = obj_to_index(cachep, page, obj);

	if (unlikely(!is_object(cachep, page, obj))) {
		report_interior(cachep, obj, NULL);
		return false;
	}
	if (unlikely(!page->slab_active || is_on_freelist(cachep, page, index))) {
		report_double_free(cachep, obj, NULL);
		return false;
	}
	set_free_obj(page, --page->slab_active, index);
	return true;
}

static struct page *kmem_getpages(struct kmem_cache *cachep, gfp_t gfp, int node)
{
	struct page *page;
	int item = cachep->flags & SLAB_RECLAIM_ACCOUNT ? NR_SLAB_RECLAIMABLE_B :
							  NR_SLAB_UNRECLAIMABLE_B;

	page = alloc_pages_node(node, (gfp & GFP_SLAB_PAGE_MASK) | cachep->allocflags,
				cachep->gfporder);
	if (!page)
		return NULL;
	__SetPageSlab(page);
	mod_node_page_state(NODE_DATA(page_to_nid(page)), item,
			    (long)(PAGE_SIZE << cachep->gfporder));
	return page;
}

static void set_frame_class(struct kmem_cache *cachep, struct page *page, u16 class)
{
	if (!cachep->kmalloc_class || cachep->debug)
		return;
	for (unsigned long i = 0; i < 1UL << cachep->gfporder; i++)
		cachep->state->frame_class[page_to_pfn(page) + i] = class;
}

static void kmem_freepages(struct kmem_cache *cachep, struct page *page)
{
	int item = cachep->flags & SLAB_RECLAIM_ACCOUNT ? NR_SLAB_RECLAIMABLE_B :
							  NR_SLAB_UNRECLAIMABLE_B;

	BUG_ON(!PageSlab(page));
	mem_unpoison(page_to_virt(page), PAGE_SIZE << cachep->gfporder);
	set_frame_class(cachep, page, 0);
	__ClearPageSlab(page);
	page_mapcount_reset(page);
	page->mapping = NULL;
	mod_node_page_state(NODE_DATA(page_to_nid(page)), item,
			    -(long)(PAGE_SIZE << cachep->gfporder));
	__free_pages(page, cachep->gfporder);
}

/* The destructor of a slab page: nobody can find it any more. */
void slab_release(struct kmem_cache *cachep, struct page *page)
{
	arc_dtor_run(&page->dtors, page);
	track_drop_slab(cachep, page);
	kmem_freepages(cachep, page);
}

static void kmem_rcu_free(struct rcu_head *head)
{
	struct page *page = container_of((struct list_head *)head, struct page, slab_list);

	slab_release(page->slab_cache, page);
}

/* A slab off every list, with no object in use. No lock is held. */
static void slab_destroy(struct kmem_cache *cachep, struct page *page)
{
	void *freelist = page->freelist;

	if (unlikely(cachep->flags & SLAB_TYPESAFE_BY_RCU))
		call_rcu((struct rcu_head *)&page->slab_list, kmem_rcu_free);
	else
		slab_release(cachep, page);
	if (OFF_SLAB(cachep))
		slab_free(cachep->freelist_cache, freelist, SITE());
}

static void slabs_destroy(struct kmem_cache *cachep, struct list_head *list)
{
	while (!list_empty(list)) {
		struct page *page = list_first_entry(list, struct page, slab_list);

		list_del(&page->slab_list);
		slab_destroy(cachep, page);
	}
}

/* ---- slabs to arrays ---- */

static struct page *get_first_slab(struct kmem_cache_node *n)
{
	struct page *page = list_first_entry_or_null(&n->slabs_partial, struct page, slab_list);

	if (page)
		return page;
	page = list_first_entry_or_null(&n->slabs_free, struct page, slab_list);
	if (page)
		count_add(n->free_slabs, -1);
	return page;
}

/* Onto the list that its count asks for. I1. */
static void fixup_slab_list(const struct kmem_cache *cachep, struct kmem_cache_node *n,
			    struct page *page)
{
	list_del(&page->slab_list);
	if (page->slab_active == cachep->num)
		list_add(&page->slab_list, &n->slabs_full);
	else
		list_add(&page->slab_list, &n->slabs_partial);
}

/*
 * Up to @batch objects of one slab into the array, in such an order that they are handed out in
 * the order of the free list: of a new slab, by ascending address, which is what makes tearing
 * down a list of them cheap. Returns what is left of @batch.
 */
static unsigned int alloc_block(const struct kmem_cache *cachep, struct array_cache *ac,
				struct page *page, unsigned int batch)
{
	unsigned int nr = min3(batch, cachep->num - page->slab_active, ac->limit - ac->avail);

	for (unsigned int i = nr; i-- > 0;)
		ac->entry[ac->avail + i] = slab_get_obj(cachep, page);
	count_add(ac->avail, nr);
	return batch - nr;
}

static bool alloc_slabmgmt(struct kmem_cache *cachep, struct page *page, size_t colour_offset,
			   gfp_t gfp)
{
	char *base = page_to_virt(page);

	page->s_mem = base + colour_offset;
	page->slab_active = 0;
	if (OFF_SLAB(cachep))
		page->freelist = slab_alloc(cachep->freelist_cache, gfp & ~__GFP_ZERO,
					    cachep->freelist_bytes, SITE());
	else
		page->freelist = base + (PAGE_SIZE << cachep->gfporder) -
				 cachep->freelist_bytes;
	return page->freelist != NULL;
}

static size_t next_colour(struct kmem_cache *cachep, struct kmem_cache_node *n)
{
	unsigned int colour;

	spin_lock(&n->list_lock);
	colour = n->colour_next++;
	if (n->colour_next >= cachep->colour)
		n->colour_next = 0;
	spin_unlock(&n->list_lock);
	return (size_t)(colour < cachep->colour ? colour : 0) * cachep->colour_off;
}

static void cache_init_objs(struct kmem_cache *cachep, struct page *page)
{
	for (unsigned int i = 0; i < cachep->num; i++) {
		set_free_obj(page, i, i);
		if (cachep->ctor)
			cachep->ctor(index_to_obj(cachep, page, i));
	}
}

/*
 * A new slab that is on no list yet, or NULL. Called with interrupts off; while a caller who may
 * sleep waits for frames they are on, so the CPU's array may have changed.
 */
static struct page *cache_grow_begin(struct kmem_cache *cachep, gfp_t gfp, int node)
{
	struct page *page;
	size_t offset;

	if (WARN_ON_ONCE(gfp & GFP_SLAB_BUG_MASK))
		gfp &= ~GFP_SLAB_BUG_MASK;
	WARN_ON_ONCE(cachep->ctor && (gfp & __GFP_ZERO));
	offset = next_colour(cachep, get_node(cachep, node));
	if (gfpflags_allow_blocking(gfp))
		local_irq_enable();
	page = kmem_getpages(cachep, gfp, node);
	if (!page)
		goto out;
	if (!alloc_slabmgmt(cachep, page, offset, gfp & GFP_SLAB_PAGE_MASK))
		goto free_page;
	page->slab_cache = cachep;
	if (track_new_slab(cachep, page))
		goto free_mgmt;
	cache_init_objs(cachep, page);
	debug_new_slab(cachep, page);
	set_frame_class(cachep, page, cachep->kmalloc_class);
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

static void cache_grow_end(struct kmem_cache *cachep, struct page *page)
{
	struct kmem_cache_node *n = get_node(cachep, page_to_nid(page));

	INIT_LIST_HEAD(&page->slab_list);
	spin_lock(&n->list_lock);
	count_add(n->total_slabs, 1);
	count_add(n->free_objects, cachep->num - page->slab_active);
	if (!page->slab_active) {
		list_add_tail(&page->slab_list, &n->slabs_free);
		count_add(n->free_slabs, 1);
	} else {
		fixup_slab_list(cachep, n, page);
	}
	spin_unlock(&n->list_lock);
}

/* Fill the array from the shared one or from slabs that exist. */
static void refill_from_node(struct kmem_cache *cachep, struct array_cache *ac,
			     struct kmem_cache_node *n, unsigned int batch)
{
	unsigned int before = ac->avail;
	struct page *page;

	spin_lock(&n->list_lock);
	if (n->shared && transfer_objects(ac, n->shared, batch)) {
		n->shared->touched = 1;
		goto out;
	}
	while (batch > 0 && ac->avail < ac->limit) {
		page = get_first_slab(n);
		if (!page)
			break;
		batch = alloc_block(cachep, ac, page, batch);
		fixup_slab_list(cachep, n, page);
	}
	count_add(n->free_objects, -(unsigned long)(ac->avail - before));
out:
	spin_unlock(&n->list_lock);
}

/* The array is empty: fill it and take one. Interrupts are off. */
static noinline void *cache_alloc_refill(struct kmem_cache *cachep, gfp_t gfp)
{
	int node = this_node();
	struct kmem_cache_node *n = get_node(cachep, node);
	struct array_cache *ac = cpu_cache_get(cachep);
	unsigned int batch;
	struct page *page;

	if (!ac)
		return NULL;
	batch = ac->batchcount;
	if (!ac->touched)
		batch = min(batch, BATCHREFILL_LIMIT);
	if (READ_ONCE(n->free_objects) || shared_avail(n))
		refill_from_node(cachep, ac, n, batch);
	if (!ac->avail) {
		page = cache_grow_begin(cachep, gfp, node);
		/* It may have slept, and this may be another CPU. */
		ac = cpu_cache_get(cachep);
		if (page) {
			if (ac && !ac->avail)
				alloc_block(cachep, ac, page, batch);
			cache_grow_end(cachep, page);
		}
		if (!ac || !ac->avail)
			return NULL;
	}
	ac->touched = 1;
	return array_pop(ac);
}

/* @size: bytes of the object that were asked for. */
void *slab_alloc(struct kmem_cache *cachep, gfp_t gfp, size_t size, const struct site *site)
{
	struct array_cache *ac;
	unsigned long flags;
	void *obj;

	if (gfpflags_allow_blocking(gfp))
		might_sleep_site(site);
	if (!(gfp & __GFP_NOFAIL) && inject_fail())
		return NULL;
	local_irq_save(flags);
	ac = cachep->cpu_cache[smp_processor_id()];
	if (likely(ac->avail)) {
		ac->touched = 1;
		obj = array_pop(ac);
	} else {
		obj = cache_alloc_refill(cachep, gfp);
	}
	local_irq_restore(flags);
	if (unlikely(!obj))
		return NULL;
	if (unlikely(cachep->debug))
		debug_alloc(cachep, obj, site);
	if (gfp & __GFP_ZERO && likely(!cachep->ctor))
		memset(obj, 0, cachep->object_size);
	if (unlikely(cachep->debug & DEBUG_ASAN) && size < cachep->object_size)
		mem_poison((char *)obj + size, cachep->object_size - size);
	return obj;
}

/* ---- arrays to slabs ---- */

/* A slab that objects came back to, onto the list that its count asks for. I1. */
static void requeue_slab(struct kmem_cache_node *n, struct page *page)
{
	list_del(&page->slab_list);
	if (page->slab_active == 0) {
		list_add(&page->slab_list, &n->slabs_free);
		count_add(n->free_slabs, 1);
	} else {
		list_add_tail(&page->slab_list, &n->slabs_partial);
	}
}

/* Objects back to their slabs; slabs that go are put on @list. list_lock of @node is held. */
static void free_block(struct kmem_cache *cachep, void **objpp, unsigned int nr_objects, int node,
		       struct list_head *list)
{
	struct kmem_cache_node *n = get_node(cachep, node);
	size_t slab_bytes = PAGE_SIZE << cachep->gfporder;
	unsigned int nr = 0, nr_of_page = 0;
	struct page *page = NULL;
	char *base = NULL;

	for (unsigned int i = 0; i < nr_objects; i++) {
		if (!page || (size_t)((char *)objpp[i] - base) >= slab_bytes) {
			if (nr_of_page)
				requeue_slab(n, page);
			page = virt_to_head_page(objpp[i]);
			base = page_to_virt(page);
			nr_of_page = 0;
		}
		if (unlikely(!slab_put_obj(cachep, page, objpp[i])))
			continue;
		nr_of_page++;
		nr++;
	}
	if (nr_of_page)
		requeue_slab(n, page);
	count_add(n->free_objects, nr);
	while (n->free_objects > n->free_limit && !list_empty(&n->slabs_free)) {
		count_add(n->free_objects, -(unsigned long)cachep->num);
		page = list_last_entry(&n->slabs_free, struct page, slab_list);
		list_move(&page->slab_list, list);
		count_add(n->free_slabs, -1);
		count_add(n->total_slabs, -1);
	}
}

/* The array is full: the coldest batch to the shared array, or else to the slabs. */
static noinline void cache_flusharray(struct kmem_cache *cachep, struct array_cache *ac)
{
	int node = this_node();
	struct kmem_cache_node *n = get_node(cachep, node);
	unsigned int batch = ac->batchcount;
	struct array_cache *shared;
	LIST_HEAD(list);

	spin_lock(&n->list_lock);
	shared = shared_get(cachep, n);
	if (shared && shared->avail < shared->limit) {
		batch = min(batch, shared->limit - shared->avail);
		memcpy(shared->entry + shared->avail, ac->entry, sizeof(void *) * batch);
		count_add(shared->avail, batch);
	} else {
		free_block(cachep, ac->entry, batch, node, &list);
	}
	spin_unlock(&n->list_lock);
	count_add(ac->avail, -batch);
	memmove(ac->entry, ac->entry + batch, sizeof(void *) * ac->avail);
	slabs_destroy(cachep, &list);
}

/* Straight to the slab: an object of another node, or a CPU without an array. */
static void free_to_node(struct kmem_cache *cachep, void *obj, int node)
{
	struct kmem_cache_node *n = get_node(cachep, node);
	LIST_HEAD(list);

	spin_lock(&n->list_lock);
	free_block(cachep, &obj, 1, node, &list);
	spin_unlock(&n->list_lock);
	slabs_destroy(cachep, &list);
}

/* Off the fast path; interrupts are off. */
static noinline void cache_free_slow(struct kmem_cache *cachep, void *obj)
{
	int node = page_to_nid(virt_to_head_page(obj));
	struct array_cache *ac = cpu_cache_get(cachep);

	if (!ac || node != this_node()) {
		free_to_node(cachep, obj, node);
		return;
	}
	if (ac->avail >= ac->limit)
		cache_flusharray(cachep, ac);
	array_push(ac, obj);
}

void slab_free(struct kmem_cache *cachep, void *obj, const struct site *site)
{
	struct array_cache *ac;
	unsigned long flags;

	if (unlikely(cachep->debug) && !debug_free(cachep, obj, site))
		return;
	local_irq_save(flags);
	ac = cachep->cpu_cache[smp_processor_id()];
	if (unlikely(ac->avail && ac->entry[ac->avail - 1] == obj))
		report_double_free(cachep, obj, site);
	else if (likely(ac->avail < ac->limit && !(cachep->debug & DEBUG_NODES)))
		array_push(ac, obj);
	else
		cache_free_slow(cachep, obj);
	local_irq_restore(flags);
}

/* ---- giving back what is only cached; each returns how many objects or slabs moved ---- */

/* @cpu is this one with interrupts off, or one where nothing runs. */
unsigned long drain_cpu_array(struct kmem_cache *cachep, unsigned int cpu)
{
	struct array_cache *ac = cachep->cpu_cache[cpu];
	unsigned long nr = ac->avail;

	while (ac->avail) {
		void *obj = array_pop(ac);

		free_to_node(cachep, obj, page_to_nid(virt_to_head_page(obj)));
	}
	return nr;
}

unsigned long drain_shared_array(struct kmem_cache *cachep, struct kmem_cache_node *n, int node)
{
	unsigned long flags, nr = 0;
	LIST_HEAD(list);

	spin_lock_irqsave(&n->list_lock, flags);
	if (n->shared) {
		nr = n->shared->avail;
		WRITE_ONCE(n->shared->avail, 0);
		free_block(cachep, n->shared->entry, (unsigned int)nr, node, &list);
	}
	spin_unlock_irqrestore(&n->list_lock, flags);
	slabs_destroy(cachep, &list);
	return nr;
}

/* All slabs without a used object to the buddy. */
unsigned long drain_freelist(struct kmem_cache *cachep, struct kmem_cache_node *n)
{
	unsigned long flags, nr = 0;
	struct page *page;

	for (;;) {
		spin_lock_irqsave(&n->list_lock, flags);
		page = list_first_entry_or_null(&n->slabs_free, struct page, slab_list);
		if (page) {
			list_del(&page->slab_list);
			count_add(n->free_slabs, -1);
			count_add(n->total_slabs, -1);
			count_add(n->free_objects, -(unsigned long)cachep->num);
		}
		spin_unlock_irqrestore(&n->list_lock, flags);
		if (!page)
			return nr;
		slab_destroy(cachep, page);
		nr++;
	}
}

/* ---- what users call ---- */

void *kmem_cache_alloc_site(struct kmem_cache *cachep, gfp_t gfp, const struct site *site)
{
	return slab_alloc(cachep, gfp, cachep->object_size, site);
}

void *(kmem_cache_alloc)(struct kmem_cache *cachep, gfp_t gfp)
{
	return kmem_cache_alloc_site(cachep, gfp, SITE());
}

/* The slab that @p is in, or NULL. */
static struct page *slab_page_of(const void *p)
{
	struct page *page;

	if (!virt_addr_valid(p))
		return NULL;
	page = virt_to_head_page(p);
	return PageSlab(page) ? page : NULL;
}

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

void kmem_cache_free_site(struct kmem_cache *cachep, void *obj, const struct site *site)
{
	struct page *page;

	if (WARN(!obj, "kmem_cache_free: NULL, at %s:%u", site->file, site->line))
		return;
	page = slab_page_of(obj);
	if (unlikely(!page)) {
		report_bad_free("kmem_cache_free", obj, site);
		return;
	}
	if (WARN(page->slab_cache != cachep,
		 "kmem_cache_free: wrong slab cache: %s, but the object is from %s, at %s:%u",
		 cachep ? cachep->name : "NULL", page->slab_cache->name, site->file, site->line))
		cachep = page->slab_cache;
	slab_free(cachep, obj, site);
}

void (kmem_cache_free)(struct kmem_cache *cachep, void *obj)
{
	kmem_cache_free_site(cachep, obj, SITE());
}

int kmem_cache_alloc_bulk_site(struct kmem_cache *cachep, gfp_t gfp, size_t nr, void **p,
			       const struct site *site)
{
	for (size_t i = 0; i < nr; i++) {
		p[i] = kmem_cache_alloc_site(cachep, gfp, site);
		if (unlikely(!p[i])) {
			kmem_cache_free_bulk_site(cachep, i, p, site);
			return 0;
		}
	}
	return (int)nr;
}

void kmem_cache_free_bulk_site(struct kmem_cache *cachep, size_t nr, void **p,
			       const struct site *site)
{
	for (size_t i = 0; i < nr; i++) {
		if (cachep)
			kmem_cache_free_site(cachep, p[i], site);
		else
			kfree_site(p[i], site);
	}
}

void slab_on_destroy(struct page *page, struct arc_dtor *dtor, void (*fn)(void *page, void *arg),
		     void *arg)
{
	BUG_ON(!PageSlab(page));
	arc_dtor_push(&page->dtors, dtor, fn, arg);
}
