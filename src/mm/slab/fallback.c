/* SPDX-License-Identifier: MIT */
/*
 * fallback.c - objects past the CPU's arrays: new slabs, other nodes, reserves, many at once
 *
 * What it is
 *	What an empty array and an empty node leave to do, in this order: objects of slabs that came
 *	from the reserves, for those who may use them; a new slab of this very node, without
 *	waiting; other nodes' free objects, one by one; a new slab from wherever there are frames,
 *	waiting if the caller may. On a machine with one node the second and the last are one.
 *	An object of another node or of the reserves never enters an array of this CPU, so the way
 *	back is decided here too.
 *
 * Invariants
 *	I7 of slab.c and I9 of node.c are kept here.
 *
 * Locking
 *	Interrupts are off wherever a comment says so; a grow that may sleep has them on meanwhile,
 *	after which this may be another CPU, and of another node.
 *
 * Worst case
 *	One slab is made per call, two when the first one's objects were taken by others. A bulk
 *	request takes list_lock once per slab it makes and once for all that exist.
 *
 * Unlike Linux
 *	A slab from the reserves makes its cache slow for good: its frees look at the frame.
 */
#include <string.h>

#include <karc/hw/inject.h>
#include <karc/mm/phys/memalloc.h>
#include "internal.h"

/* Only of the node asked, and rather not at all than waiting: there are others. */
static gfp_t gfp_exact_node(const struct kmem_cache *cachep, gfp_t gfp)
{
	if (!cachep->state->multi_node)
		return gfp;
	return (gfp | __GFP_THISNODE | __GFP_NOWARN) & ~(__GFP_RECLAIM | __GFP_NOFAIL);
}

/* Make a slab and take one object of it. Interrupts are off. */
static void *grow_and_take(struct kmem_cache *cachep, gfp_t gfp, int node)
{
	struct page *page = cache_grow_begin(cachep, gfp, node);
	void *obj;

	if (!page)
		return NULL;
	obj = slab_get_obj(cachep, page);
	cache_grow_end(cachep, page);
	return obj;
}

/* An object of a slab from the reserves, for who may have one. Interrupts are off. */
static void *take_reserve(struct kmem_cache *cachep, gfp_t gfp)
{
	void *obj;

	if (likely(!(READ_ONCE(cachep->debug) & DEBUG_RESERVES)) || !gfp_pfmemalloc_allowed(gfp))
		return NULL;
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid] && node_take(cachep, nid, &obj, 1, true))
			return obj;
	}
	return NULL;
}

/* Everything of this node failed. Interrupts are off. */
static void *take_elsewhere(struct kmem_cache *cachep, gfp_t gfp)
{
	int here = this_node();
	void *obj;

	if (!cachep->state->multi_node || gfp & __GFP_THISNODE)
		return NULL;
	for (int i = 1; i < MAX_NUMNODES; i++) {
		int nid = (here + i) % MAX_NUMNODES;

		if (!cachep->node[nid] || !node_take(cachep, nid, &obj, 1, false))
			continue;
		count_node_alloc(cachep, nid);
		return obj;
	}
	return grow_and_take(cachep, gfp, here);
}

/*
 * The CPU's array and the node are empty. One object, and up to @batch more into the array if it
 * is still empty and the new slab is of its node. Interrupts are off.
 */
void *cache_alloc_grow(struct kmem_cache *cachep, gfp_t gfp, unsigned int batch)
{
	void *obj = take_reserve(cachep, gfp);
	struct array_cache *ac;
	struct page *page;

	if (unlikely(obj))
		return obj;
	page = cache_grow_begin(cachep, gfp_exact_node(cachep, gfp), this_node());
	if (!page)
		return take_elsewhere(cachep, gfp);
	obj = slab_get_obj(cachep, page);
	/* It may have slept, and this may be another CPU. */
	ac = cachep->cpu_cache[smp_processor_id()];
	if (ac->limit && !ac->avail && page_to_nid(page) == this_node()) {
		alloc_block(cachep, ac, page, batch - 1);
		count_add(ac->came, ac->avail);
		ac->touched = 1;
	}
	cache_grow_end(cachep, page);
	return obj;
}

/* ---- the node that was asked for ---- */

/* Interrupts are off. */
static void *take_of_node(struct kmem_cache *cachep, gfp_t gfp, int node)
{
	void *obj;

	if (node_take(cachep, node, &obj, 1, false))
		return obj;
	obj = take_reserve(cachep, gfp);
	if (!obj)
		obj = grow_and_take(cachep, gfp | __GFP_THISNODE, node);
	if (!obj && !(gfp & __GFP_THISNODE))
		obj = take_elsewhere(cachep, gfp);
	return obj;
}

void *slab_alloc_node(struct kmem_cache *cachep, gfp_t gfp, int node, size_t size,
		      const struct site *site)
{
	unsigned long flags;
	void *obj;

	if (node == NUMA_NO_NODE || node == this_node())
		return slab_alloc(cachep, gfp, size, site);
	if (WARN((unsigned int)node >= MAX_NUMNODES || !cachep->node[node],
		 "slab: there is no node %d, at %s:%u", node, site->file, site->line))
		return slab_alloc(cachep, gfp, size, site);
	if (!slab_alloc_begin(cachep, gfp, site))
		return NULL;
	local_irq_save(flags);
	obj = take_of_node(cachep, gfp, node);
	if (obj)
		count_node_alloc(cachep, node);
	local_irq_restore(flags);
	return slab_alloc_end(cachep, gfp, obj, size, site);
}

void *kmem_cache_alloc_node_site(struct kmem_cache *cachep, gfp_t gfp, int node,
				 const struct site *site)
{
	void *obj = slab_alloc_node(cachep, gfp, node, cachep->object_size, site);

	trace_alloc(TRACE_KMEM_CACHE_ALLOC, cachep, obj, cachep->object_size, cachep->size, gfp,
		    site);
	return obj;
}

/* ---- the way back ---- */

/* True: @obj may not lie in an array of this CPU, and went home. Interrupts are off. */
bool cache_free_home(struct kmem_cache *cachep, void *obj)
{
	struct page *page = virt_to_head_page(obj);
	int node = page_to_nid(page);

	if (unlikely(PagePfMemalloc(page)))
		free_to_node(cachep, obj, node);
	else if (node != this_node())
		free_to_alien(cachep, obj, node);
	else
		return false;
	return true;
}

/* ---- many at once ---- */

#define BULK_CHUNK	128u

/* Objects that no check has to see, to the array, and what does not fit home in one visit. */
void slab_give_back(struct kmem_cache *cachep, size_t nr, void **p)
{
	bool home = READ_ONCE(cachep->debug) & DEBUG_HOME;
	void *local[BULK_CHUNK];
	unsigned long flags;
	unsigned int n, k;

	local_irq_save(flags);
	for (size_t i = 0; i < nr;) {
		for (n = 0; n < BULK_CHUNK && i < nr; i++) {
			if (!home || !cache_free_home(cachep, p[i]))
				local[n++] = p[i];
		}
		k = array_push_many(cachep, local, n);
		if (k == n)
			continue;
		free_many_to_node(cachep, local + k, n - k, this_node());
		array_count_past(cachep, 0, n - k);
	}
	local_irq_restore(flags);
}

/* As many as there are, up to @nr. */
static size_t take_many(struct kmem_cache *cachep, gfp_t gfp, size_t nr, void **p)
{
	unsigned long flags;
	size_t got = 0;

	local_irq_save(flags);
	while (got < nr) {
		unsigned int want = (unsigned int)min(nr - got, (size_t)INT_MAX);
		unsigned int n = array_pop_many(cachep, p + got, want);

		got += n;
		n = node_take(cachep, this_node(), p + got, want - n, false);
		got += n;
		array_count_past(cachep, n, 0);
		if (got == nr)
			break;
		p[got] = cache_alloc_grow(cachep, gfp, cachep->batchcount);
		if (!p[got])
			break;
		array_count_past(cachep, 1, 0);
		got++;
	}
	local_irq_restore(flags);
	return got;
}

int kmem_cache_alloc_bulk_site(struct kmem_cache *cachep, gfp_t gfp, size_t nr, void **p,
			       const struct site *site)
{
	size_t got, done;

	for (size_t i = 0; i < nr; i++) {
		if (!slab_alloc_begin(cachep, gfp, site))
			return 0;
	}
	got = take_many(cachep, gfp, nr, p);
	if (got < nr) {
		slab_give_back(cachep, got, p);
		return 0;
	}
	for (done = 0; done < nr; done++) {
		if (!slab_alloc_end(cachep, gfp, p[done], cachep->object_size, site))
			break;
	}
	if (done == nr)
		return (int)nr;
	kmem_cache_free_bulk_site(cachep, done, p, site);
	slab_give_back(cachep, nr - done - 1, p + done + 1);
	return 0;
}

/* The cache that @obj of a bulk free goes to; NULL: it was dealt with. */
static struct kmem_cache *cache_for_free(struct kmem_cache *cachep, void *obj,
					 const struct site *site)
{
	struct page *page = slab_page_of(obj);

	if (unlikely(!page || (cachep && page->slab_cache != cachep))) {
		if (cachep)
			kmem_cache_free_site(cachep, obj, site);
		else
			kfree_site(obj, site);
		return NULL;
	}
	cachep = page->slab_cache;
	if (unlikely(READ_ONCE(cachep->debug)) && !slab_free_begin(cachep, obj, site))
		return NULL;
	return cachep;
}

void kmem_cache_free_bulk_site(struct kmem_cache *cachep, size_t nr, void **p,
			       const struct site *site)
{
	struct kmem_cache *last = NULL;
	void *local[BULK_CHUNK];
	unsigned int n = 0;

	for (size_t i = 0; i < nr; i++) {
		struct kmem_cache *c = cache_for_free(cachep, p[i], site);

		if (!c)
			continue;
		if (n == BULK_CHUNK || (n && c != last)) {
			slab_give_back(last, n, local);
			n = 0;
		}
		if (unlikely(n && local[n - 1] == p[i])) {
			report_double_free(c, p[i], site);
			continue;
		}
		last = c;
		local[n++] = p[i];
	}
	if (n)
		slab_give_back(last, n, local);
}
