/* SPDX-License-Identifier: MIT */
/*
 * node.c - a node's slabs, what its CPUs share, and what other nodes' CPUs gave back
 *
 * What it is
 *	Behind the CPUs' arrays: the lists of slabs of each node, and an array that its CPUs share,
 *	so that objects which one CPU frees and another needs move without touching their slabs. A
 *	CPU that frees an object of another node puts it into its node's alien cache for that node;
 *	a full one goes home as a batch, into the other node's shared array first. Slabs without a
 *	used object go back to the buddy when there are more free objects than free_limit.
 *
 * Objects
 *	kmem_cache -> node[nid] -> shared -> objects of nid
 *	                        -> alien[other] -> objects of other
 *	                        -> slabs_partial, slabs_full, slabs_free -> page (head of a block)
 *
 * Invariants
 *	I1 slab_active is num on slabs_full, 0 on slabs_free, between on slabs_partial
 *	I2 free_objects is the sum of num - slab_active, total_slabs and free_slabs count the lists,
 *	   nr_reserve those of them that came from the reserves
 *	I9 CPU arrays and shared[nid] hold objects of their own node only, alien[other] of other
 *	I8 num_active = total_slabs * num - free_objects; it is what left slabs minus what came back
 *
 * Locking
 *	lists, counts, shared array	list_lock (LR_SLAB_NODE), interrupts off
 *	an alien cache			its lock (LR_SLAB_ALIEN), before the other node's list_lock
 *	shared, alien[]: the pointers are set once, under list_lock of their node
 *
 * Worst case
 *	batchcount * shared objects per node are held back (8 batches of small objects, as many as
 *	one CPU's spare at most, or 2), limit per pair of nodes, free_limit on slabs. A refill or
 *	flush moves at most batchcount objects and touches as many slabs.
 *	Passing by slabs of the reserves costs a step for each that the node has.
 *
 * Unlike Linux
 *	Shared arrays and alien caches are made when they are first needed. With one node there is
 *	no test for aliens in any fast way: the cache has no DEBUG_NODES bit.
 */
#include <string.h>

#include "internal.h"

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

static unsigned int shared_limit(const struct kmem_cache *cachep)
{
	return cachep->batchcount * cachep->shared;
}

/* The node's shared array, or NULL; list_lock is held. */
static struct array_cache *shared_get(struct kmem_cache *cachep, struct kmem_cache_node *n)
{
	if (!n->shared && cachep->shared)
		smp_store_release(&n->shared,
				  array_make(cachep, shared_limit(cachep), cachep->batchcount));
	return n->shared;
}

/* ---- lists ---- */

static struct page *first_ordinary(const struct list_head *slabs)
{
	struct page *page;

	list_for_each_entry(page, slabs, slab_list) {
		if (!PagePfMemalloc(page))
			return page;
	}
	return NULL;
}

static struct page *first_of_reserves(const struct list_head *slabs)
{
	struct page *page;

	list_for_each_entry(page, slabs, slab_list) {
		if (PagePfMemalloc(page))
			return page;
	}
	return NULL;
}

/* A slab with free objects, of the reserves or not; it leaves slabs_free with fixup_slab_list(). */
static struct page *get_first_slab(struct kmem_cache_node *n, bool reserves)
{
	struct page *page;

	if (unlikely(n->nr_reserve || reserves)) {
		page = reserves ? first_of_reserves(&n->slabs_partial) :
				  first_ordinary(&n->slabs_partial);
		if (page)
			return page;
		page = reserves ? first_of_reserves(&n->slabs_free) :
				  first_ordinary(&n->slabs_free);
	} else {
		page = list_first_entry_or_null(&n->slabs_partial, struct page, slab_list);
		if (page)
			return page;
		page = list_first_entry_or_null(&n->slabs_free, struct page, slab_list);
	}
	if (page) {
		count_add(n->free_slabs, -1);
		WRITE_ONCE(n->free_touched, true);
	}
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

/* A slab without a used object off its list. */
static void unlink_free_slab(const struct kmem_cache *cachep, struct kmem_cache_node *n,
			     struct page *page)
{
	list_del(&page->slab_list);
	count_add(n->free_slabs, -1);
	count_add(n->total_slabs, -1);
	count_add(n->free_objects, -(unsigned long)cachep->num);
	if (unlikely(PagePfMemalloc(page)))
		n->nr_reserve--;
}

/* Objects that left their slabs and did not come back: users', and those in arrays. */
unsigned long node_num_active(const struct kmem_cache *cachep, const struct kmem_cache_node *n)
{
	return READ_ONCE(n->total_slabs) * cachep->num - READ_ONCE(n->free_objects);
}

/* @nr objects have left slabs of @n; list_lock is held. */
static void count_taken(struct kmem_cache *cachep, struct kmem_cache_node *n, unsigned long nr)
{
	unsigned long active;

	count_add(n->free_objects, -nr);
	count_add(n->stats.allocated, nr);
	active = node_num_active(cachep, n);
	for (int nid = 0; cachep->state->multi_node && nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid] && cachep->node[nid] != n)
			active += node_num_active(cachep, cachep->node[nid]);
	}
	if (active > READ_ONCE(cachep->high_mark))
		WRITE_ONCE(cachep->high_mark, active);
}

/* A CPU of another node takes an object of @node. */
void count_node_alloc(struct kmem_cache *cachep, int node)
{
	__atomic_fetch_add(&get_node(cachep, node)->stats.node_allocs, 1, __ATOMIC_RELAXED);
}

/* ---- slabs to arrays ---- */

/*
 * Up to @nr objects of one slab to @to, in such an order that they are handed out from its end in
 * the order of the free list: of a new slab, by ascending address, which is what makes tearing
 * down a list of them cheap. Returns how many.
 */
static unsigned int take_objects(struct kmem_cache *cachep, struct page *page, void **to,
				 unsigned int nr)
{
	unsigned int got;

	nr = min(nr, cachep->num - page->slab_active);
	got = slab_get_objs(cachep, page, to, nr);
	if (unlikely(got < nr)) {
		slab_give_up_free(cachep, page);
		cache_count_error(cachep);
		memmove(to, to + nr - got, sizeof(*to) * got);
	}
	return got;
}

/* The same into an array; returns what is left of @batch. Nothing of a slab of the reserves. */
unsigned int alloc_block(struct kmem_cache *cachep, struct array_cache *ac, struct page *page,
			 unsigned int batch)
{
	unsigned int nr;

	if (unlikely(PagePfMemalloc(page)))
		return batch;
	nr = take_objects(cachep, page, ac->entry + ac->avail,
			  min(batch, ac->limit - ac->avail));
	count_add(ac->avail, nr);
	return batch - nr;
}

/* A new slab, from which objects may have been taken already, onto its list. */
void cache_grow_end(struct kmem_cache *cachep, struct page *page)
{
	struct kmem_cache_node *n = get_node(cachep, page_to_nid(page));

	INIT_LIST_HEAD(&page->slab_list);
	spin_lock(&n->list_lock);
	count_add(n->total_slabs, 1);
	count_add(n->free_objects, cachep->num);
	count_add(n->stats.grown, 1);
	if (unlikely(PagePfMemalloc(page)))
		n->nr_reserve++;
	if (!page->slab_active) {
		list_add_tail(&page->slab_list, &n->slabs_free);
		count_add(n->free_slabs, 1);
	} else {
		fixup_slab_list(cachep, n, page);
		count_taken(cachep, n, page->slab_active);
	}
	spin_unlock(&n->list_lock);
}

/* Up to @nr objects from slabs that exist to @to; list_lock is held. */
static unsigned int take_from_slabs(struct kmem_cache *cachep, struct kmem_cache_node *n,
				    void **to, unsigned int nr, bool reserves)
{
	unsigned int got = 0;
	unsigned long active = 0;
	struct page *page;

	while (got < nr && (page = get_first_slab(n, reserves))) {
		unsigned int before = page->slab_active;

		got += take_objects(cachep, page, to + got, nr - got);
		active += page->slab_active - before;
		fixup_slab_list(cachep, n, page);
	}
	if (active)
		count_taken(cachep, n, active);
	return got;
}

/* Fill the array from the node's shared one or from slabs that exist. */
void node_refill(struct kmem_cache *cachep, struct array_cache *ac, int node, unsigned int batch)
{
	struct kmem_cache_node *n = get_node(cachep, node);
	unsigned int nr;

	if (!READ_ONCE(n->free_objects) && !shared_avail(n))
		return;
	spin_lock(&n->list_lock);
	nr = n->shared ? transfer_objects(ac, n->shared, batch) : 0;
	if (nr) {
		n->shared->touched = 1;
		trace_slab_step("transfer_objects", "cache %s: %u objects from the shared array",
				cachep->name, nr);
	} else {
		batch = min(batch, ac->limit - ac->avail);
		nr = take_from_slabs(cachep, n, ac->entry + ac->avail, batch, false);
		count_add(ac->avail, nr);
	}
	spin_unlock(&n->list_lock);
}

/* Objects of @node straight to @to, past all arrays; returns how many there were. */
unsigned int node_take(struct kmem_cache *cachep, int node, void **to, unsigned int nr,
		       bool reserves)
{
	struct kmem_cache_node *n = get_node(cachep, node);

	if (!READ_ONCE(n->free_objects))
		return 0;
	spin_lock(&n->list_lock);
	nr = take_from_slabs(cachep, n, to, nr, reserves);
	spin_unlock(&n->list_lock);
	return nr;
}

/* ---- arrays to slabs ---- */

/* Objects of one slab that follow each other; counts in *@put what came back, returns how many. */
static unsigned int put_run(struct kmem_cache *cachep, struct kmem_cache_node *n, void **objpp,
			    unsigned int nr, unsigned int *put)
{
	struct page *page = virt_to_head_page(objpp[0]);
	unsigned int done = slab_put_objs(cachep, page, objpp, nr);

	if (!done) {
		/* The first of a full slab, whose free list goes into it; or it is reported. */
		if (!slab_put_obj(cachep, page, objpp[0])) {
			cache_count_error(cachep);
			return 1;
		}
		done = 1 + slab_put_objs(cachep, page, objpp + 1, nr - 1);
	}
	*put += done;
	requeue_slab(n, page);
	return done;
}

/* Objects back to their slabs; slabs that go are put on @list. list_lock of @node is held. */
static void free_block(struct kmem_cache *cachep, void **objpp, unsigned int nr_objects, int node,
		       struct list_head *list)
{
	struct kmem_cache_node *n = get_node(cachep, node);
	unsigned int nr = 0;

	trace_slab_step("free_block", "cache %s: %u objects to slabs of node %d", cachep->name,
			nr_objects, node);
	for (unsigned int i = 0; i < nr_objects;)
		i += put_run(cachep, n, objpp + i, nr_objects - i, &nr);
	count_add(n->free_objects, nr);
	while (n->free_objects > n->free_limit && !list_empty(&n->slabs_free)) {
		struct page *page = list_last_entry(&n->slabs_free, struct page, slab_list);

		unlink_free_slab(cachep, n, page);
		list_add(&page->slab_list, list);
	}
	if (n->free_slabs > n->stats.max_freeable)
		WRITE_ONCE(n->stats.max_freeable, n->free_slabs);
}

/* Up to @nr objects to the shared array; returns how many it had room for. list_lock is held. */
static unsigned int push_shared(struct kmem_cache *cachep, struct kmem_cache_node *n, void **objpp,
				unsigned int nr)
{
	struct array_cache *shared = shared_get(cachep, n);

	if (!shared || shared->avail >= shared->limit)
		return 0;
	nr = min(nr, shared->limit - shared->avail);
	memcpy(shared->entry + shared->avail, objpp, sizeof(void *) * nr);
	count_add(shared->avail, nr);
	trace_slab_step("transfer_objects", "cache %s: %u objects to the shared array",
			cachep->name, nr);
	return nr;
}

/* A batch of objects of @node to the shared array, in one step and if there is room for it. */
bool node_share(struct kmem_cache *cachep, void **objpp, int node, unsigned int nr)
{
	struct kmem_cache_node *n = get_node(cachep, node);
	bool fits;

	if (!cachep->shared || shared_avail(n) + nr > shared_limit(cachep))
		return false;
	spin_lock(&n->list_lock);
	fits = shared_get(cachep, n) && n->shared->limit - n->shared->avail >= nr;
	if (fits)
		push_shared(cachep, n, objpp, nr);
	spin_unlock(&n->list_lock);
	return fits;
}

/*
 * @nr objects of @node, the coldest first, to the shared array, or else to the slabs. Interrupts
 * are off. Returns how many were taken: fewer than @nr when the shared array had little room.
 */
unsigned int node_flush(struct kmem_cache *cachep, void **objpp, int node, unsigned int nr)
{
	struct kmem_cache_node *n = get_node(cachep, node);
	unsigned int shared;
	LIST_HEAD(list);

	spin_lock(&n->list_lock);
	shared = push_shared(cachep, n, objpp, nr);
	if (shared)
		nr = shared;
	else
		free_block(cachep, objpp, nr, node, &list);
	spin_unlock(&n->list_lock);
	slabs_destroy(cachep, &list);
	return nr;
}

/* Straight to the slabs. Interrupts are off. */
void free_many_to_node(struct kmem_cache *cachep, void **objpp, unsigned int nr, int node)
{
	struct kmem_cache_node *n = get_node(cachep, node);
	LIST_HEAD(list);

	spin_lock(&n->list_lock);
	free_block(cachep, objpp, nr, node, &list);
	spin_unlock(&n->list_lock);
	slabs_destroy(cachep, &list);
}

void free_to_node(struct kmem_cache *cachep, void *obj, int node)
{
	free_many_to_node(cachep, &obj, 1, node);
}

/* ---- aliens ---- */

/* This node's cache for objects of @node, made now if there is none yet; NULL: none to be had. */
static struct alien_cache *alien_get(struct kmem_cache *cachep, struct kmem_cache_node *n, int node)
{
	struct alien_cache *alien = smp_load_acquire(&n->alien[node]);
	unsigned int limit = cachep->limit;

	if (likely(alien) || cachep->state->noaliencache)
		return alien;
	spin_lock(&n->list_lock);
	alien = n->alien[node];
	if (!alien) {
		alien = hostmem_zalloc(slab_hostmem(cachep->state),
				       sizeof(*alien) + limit * sizeof(alien->ac.entry[0]));
		if (alien) {
			spin_lock_init_rank(&alien->lock, LR_SLAB_ALIEN);
			alien->ac.limit = limit;
			alien->ac.batchcount = cachep->batchcount;
			smp_store_release(&n->alien[node], alien);
		}
	}
	spin_unlock(&n->list_lock);
	return alien;
}

/* All of an alien cache home to @node; its lock is held. Slabs that go are put on @list. */
static void drain_alien_locked(struct kmem_cache *cachep, struct array_cache *ac, int node,
			       struct list_head *list)
{
	struct kmem_cache_node *n = get_node(cachep, node);

	if (!ac->avail)
		return;
	trace_slab_step("__drain_alien_cache", "cache %s: %u objects home to node %d",
			cachep->name, ac->avail, node);
	spin_lock(&n->list_lock);
	if (shared_get(cachep, n))
		transfer_objects(n->shared, ac, ac->limit);
	free_block(cachep, ac->entry, ac->avail, node, list);
	WRITE_ONCE(ac->avail, 0);
	spin_unlock(&n->list_lock);
}

/* An object of another node, freed here. Interrupts are off. */
void free_to_alien(struct kmem_cache *cachep, void *obj, int node)
{
	struct alien_cache *alien = alien_get(cachep, get_node(cachep, this_node()), node);
	LIST_HEAD(list);

	if (!alien) {
		struct kmem_cache_node *n = get_node(cachep, node);

		spin_lock(&n->list_lock);
		count_add(n->stats.remote_frees, 1);
		free_block(cachep, &obj, 1, node, &list);
		spin_unlock(&n->list_lock);
		slabs_destroy(cachep, &list);
		return;
	}
	trace_slab_step("__cache_free_alien", "cache %s: object of node %d freed on node %d",
			cachep->name, node, this_node());
	spin_lock(&alien->lock);
	count_add(alien->nr_frees, 1);
	if (unlikely(alien->ac.avail == alien->ac.limit)) {
		count_add(alien->nr_overflows, 1);
		drain_alien_locked(cachep, &alien->ac, node, &list);
	}
	array_push(&alien->ac, obj);
	spin_unlock(&alien->lock);
	slabs_destroy(cachep, &list);
}

/* What CPUs of @n's node have gathered for @node. Returns how many objects went home. */
unsigned long drain_alien_cache(struct kmem_cache *cachep, struct kmem_cache_node *n, int node)
{
	struct alien_cache *alien = smp_load_acquire(&n->alien[node]);
	unsigned long flags, nr;
	LIST_HEAD(list);

	if (!alien || !READ_ONCE(alien->ac.avail))
		return 0;
	spin_lock_irqsave(&alien->lock, flags);
	nr = alien->ac.avail;
	drain_alien_locked(cachep, &alien->ac, node, &list);
	spin_unlock_irqrestore(&alien->lock, flags);
	slabs_destroy(cachep, &list);
	return nr;
}

/* ---- giving back what is only cached; each returns how many objects or slabs moved ---- */

/* The coldest @nr objects of the node's shared array. */
static unsigned long drain_shared(struct kmem_cache *cachep, struct kmem_cache_node *n, int node,
				  bool all)
{
	unsigned long flags, nr = 0;
	struct array_cache *shared;
	LIST_HEAD(list);

	spin_lock_irqsave(&n->list_lock, flags);
	shared = n->shared;
	if (shared)
		nr = all ? shared->avail : array_reap_share(shared);
	if (nr) {
		free_block(cachep, shared->entry, (unsigned int)nr, node, &list);
		count_add(shared->avail, -(unsigned int)nr);
		memmove(shared->entry, shared->entry + nr, sizeof(void *) * shared->avail);
	}
	spin_unlock_irqrestore(&n->list_lock, flags);
	slabs_destroy(cachep, &list);
	return nr;
}

unsigned long drain_shared_array(struct kmem_cache *cachep, struct kmem_cache_node *n, int node)
{
	return drain_shared(cachep, n, node, true);
}

unsigned long reap_shared_array(struct kmem_cache *cachep, struct kmem_cache_node *n, int node)
{
	return drain_shared(cachep, n, node, false);
}

/* Up to @max slabs without a used object to the buddy. */
unsigned long drain_freelist(struct kmem_cache *cachep, struct kmem_cache_node *n,
			     unsigned long max, bool reaps)
{
	unsigned long flags, nr;
	struct page *page;

	for (nr = 0; nr < max; nr++) {
		spin_lock_irqsave(&n->list_lock, flags);
		page = list_empty(&n->slabs_free) ? NULL :
		       list_last_entry(&n->slabs_free, struct page, slab_list);
		if (page) {
			unlink_free_slab(cachep, n, page);
			if (reaps)
				count_add(n->stats.reaped, 1);
		}
		spin_unlock_irqrestore(&n->list_lock, flags);
		if (!page)
			break;
		slab_destroy(cachep, page);
	}
	return nr;
}
