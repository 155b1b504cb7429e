/* SPDX-License-Identifier: MIT */
/*
 * cache.c - caches: geometry, creation, shrinking, destruction
 *
 * What it is
 *	Decides how a slab of a cache looks: how many frames, how many objects, where the free list
 *	lies, how much is left for colouring (starting the objects of successive slabs at different
 *	cache lines). Keeps the list of caches, which outlives a destroyed cache that still has
 *	live objects, so that those can be freed.
 *
 * Objects
 *	slab_state -> caches (list) -> kmem_cache -> name, cpu_cache[], node[]; all in host memory
 *
 * Invariants
 *	I1 a freelist_cache is never OFF_SLAB itself
 *	I2 num * size + colour offsets (+ the free list, if on the slab) fit the slab
 *
 * Locking
 *	slab_mutex: the list of caches. Taken before every list_lock.
 *
 * Life
 *	create -> used -> destroy -> freed; or destroy with live objects -> limbo -> shutdown
 *
 * Unlike Linux
 *	No merging of similar caches; each is what its creator called it. Tunables are fixed.
 */
#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/inject.h>
#include <karc/mm/phys/vmstat.h>
#include "internal.h"

#define CACHE_LINE_BYTES	64u

/* Between objects that sanitizers watch; what is larger would need a page more each. */
#define GAP_BYTES		16u
#define GAP_BELOW		1024u

/* Objects that the end of a cache names one by one. */
#define LIVE_SHOWN		32u

/* A slab whose waste is at most one part in so many needs not be larger. */
#define GOOD_WASTE_PART		8

/* Order above which slabs do not grow to save waste, on machines of more than 32 MiB. */
#define SLAB_BREAK_GFP_ORDER	1u

#define SHARED_SMALL		256u
#define SHARED_BATCHES		8u

/* ---- geometry ---- */

static unsigned int calculate_alignment(slab_flags_t flags, unsigned int align,
					unsigned int size)
{
	if (flags & SLAB_HWCACHE_ALIGN) {
		unsigned int line = CACHE_LINE_BYTES;

		while (size <= line / 2)
			line /= 2;
		align = max(align, line);
	}
	return max(align, (unsigned int)ARCH_SLAB_MINALIGN);
}

/* Where a slab's free list lies. */
enum freelist_kind { ON_SLAB, OFF_THE_SLAB, IN_FREE_OBJECT };

/* Objects in a slab of this order, and the bytes left over. */
static unsigned int cache_estimate(unsigned int order, unsigned int size, enum freelist_kind kind,
				   size_t *left_over)
{
	size_t slab_bytes = PAGE_SIZE << order;
	size_t each = size + (kind == ON_SLAB ? sizeof(freelist_idx_t) : 0);
	size_t num = min(slab_bytes / each, (size_t)SLAB_OBJECTS_MAX);

	*left_over = slab_bytes - num * each;
	return (unsigned int)num;
}

/* The cache for the free list of @num objects, or NULL: there is none, or it is not worth it. */
static struct kmem_cache *freelist_cache_for(const struct kmem_cache *cachep, unsigned int num)
{
	size_t bytes = num * sizeof(freelist_idx_t);
	struct kmem_cache *c = bytes <= KMALLOC_MAX_CACHE_SIZE ?
			       kmalloc_slab(cachep->state, bytes, 0) : NULL;

	return c && !OFF_SLAB(c) && c->size <= cachep->size / 2 ? c : NULL;
}

/* The smallest order that wastes little; sets num, gfporder and the free list. Returns waste. */
static size_t calculate_slab_order(struct kmem_cache *cachep, enum freelist_kind kind)
{
	unsigned int max_order = phys_stats(cachep->state->machine).nr_managed >
				 (32UL << 20) / PAGE_SIZE ? SLAB_BREAK_GFP_ORDER : 0;
	size_t best_left = 0;

	cachep->num = 0;
	cachep->freelist_cache = NULL;
	for (unsigned int order = 0; order <= KMALLOC_MAX_ORDER; order++) {
		struct kmem_cache *freelist_cache = NULL;
		size_t left;
		unsigned int num = cache_estimate(order, cachep->size, kind, &left);

		if (!num)
			continue;
		if (kind == OFF_THE_SLAB) {
			freelist_cache = freelist_cache_for(cachep, num);
			if (!freelist_cache)
				continue;
		}
		cachep->num = num;
		cachep->gfporder = order;
		cachep->freelist_cache = freelist_cache;
		cachep->freelist_bytes = num * (unsigned int)sizeof(freelist_idx_t);
		best_left = left;
		if ((cachep->flags & SLAB_RECLAIM_ACCOUNT) || order >= max_order ||
		    left * GOOD_WASTE_PART <= PAGE_SIZE << order)
			break;
	}
	return best_left;
}

/* May a free object of this cache hold anything? */
static bool free_objects_are_ours(const struct kmem_cache *cachep)
{
	return !cachep->ctor && !(cachep->flags & SLAB_TYPESAFE_BY_RCU) &&
	       !(cachep->debug & DEBUG_FREE_IS_FIXED);
}

/* The cheapest kind that is possible, in Linux's order. False: the objects are too large. */
static bool choose_freelist(struct kmem_cache *cachep, size_t *left)
{
	if (free_objects_are_ours(cachep)) {
		*left = calculate_slab_order(cachep, IN_FREE_OBJECT);
		cachep->objfreelist = cachep->num && cachep->freelist_bytes <= cachep->object_size;
		if (cachep->objfreelist)
			return true;
	}
	if (!(cachep->flags & SLAB_NOLEAKTRACE)) {
		*left = calculate_slab_order(cachep, OFF_THE_SLAB);
		/* A list that fits into what is left over costs nothing on the slab. */
		if (cachep->num && *left < cachep->freelist_bytes)
			return true;
	}
	*left = calculate_slab_order(cachep, ON_SLAB);
	return cachep->num != 0;
}

/* The slot of an object: with guards on both sides, or a gap behind it, if they are wanted. */
static void cache_set_size(struct kmem_cache *cachep)
{
	unsigned int size = ALIGN(cachep->object_size, ARCH_SLAB_MINALIGN);

	cachep->red_left = 0;
	if (cachep->debug & DEBUG_REDZONE) {
		cachep->red_left = ALIGN(sizeof(u64), cachep->align);
		size += cachep->red_left + sizeof(u64);
	} else if (cachep->debug & DEBUG_APART && size < GAP_BELOW) {
		size += GAP_BYTES;
	}
	cachep->size = ALIGN(size, cachep->align);
}

/* slab_debug=O: no guards and patterns for whom they make a slab larger. */
static void cache_drop_dear_checks(struct kmem_cache *cachep)
{
	slab_flags_t dear = slab_debug_metadata(cachep->state, cachep->flags);

	if (!dear || get_order(cachep->size) <= get_order(cachep->object_size))
		return;
	cachep->flags &= ~dear;
	cachep->debug = slab_debug_bits(cachep->state, cachep->flags, cachep->ctor);
	cache_set_size(cachep);
}

static bool cache_set_geometry(struct kmem_cache *cachep, unsigned int align)
{
	size_t left = 0;

	cachep->align = calculate_alignment(cachep->flags, align, cachep->object_size);
	cache_set_size(cachep);
	cache_drop_dear_checks(cachep);
	cachep->reciprocal_size = (u32)(((1ULL << 32) + cachep->size - 1) / cachep->size);
	if (!choose_freelist(cachep, &left))
		return false;
	cachep->colour_off = max(CACHE_LINE_BYTES, cachep->align);
	cachep->colour = (unsigned int)(left / cachep->colour_off);
	return true;
}

/*
 * How many batches a node's shared array holds. Small objects, which are freed by the thousand,
 * find room there for what a consumer is ahead of its producer; where memory is short, none do.
 */
static unsigned int shared_factor(const struct kmem_cache *cachep)
{
	if (cachep->state->nr_cpus == 1 || cachep->size > PAGE_SIZE)
		return 0;
	return cachep->size <= SHARED_SMALL && SHARED_BATCHES * cachep->batchcount <=
	       cachep->spare_limit ? SHARED_BATCHES : 2;
}

static void cache_set_limits(struct kmem_cache *cachep)
{
	array_set_limits(cachep);
	cachep->shared = shared_factor(cachep);
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			cachep->node[nid]->free_limit =
				(1 + cpumask_weight(cpumask_of_node(nid))) * cachep->batchcount +
				cachep->num;
	}
}

/* From now on nothing of the cache goes a way that does not look at its debug bits. */
void cache_leave_fast_ways(struct kmem_cache *cachep, unsigned int bit)
{
	if (!(__atomic_fetch_or(&cachep->debug, bit, __ATOMIC_SEQ_CST) & bit))
		array_fast_off(cachep);
}

/* ---- making and unmaking ---- */

static int cache_make_nodes(struct kmem_cache *cachep)
{
	struct pglist_data *pgdat;

	for_each_online_pgdat(pgdat) {
		struct kmem_cache_node *n = hostmem_zalloc(slab_hostmem(cachep->state),
							   sizeof(*n));

		if (!n)
			return -ENOMEM;
		spin_lock_init_rank(&n->list_lock, LR_SLAB_NODE);
		INIT_LIST_HEAD(&n->slabs_partial);
		INIT_LIST_HEAD(&n->slabs_full);
		INIT_LIST_HEAD(&n->slabs_free);
		cachep->node[pgdat->node_id] = n;
	}
	return 0;
}

static char *copy_name(struct slab_state *state, const char *name)
{
	char *copy = hostmem_alloc(slab_hostmem(state), strlen(name) + 1);

	return copy ? strcpy(copy, name) : NULL;
}

/* A cache on the list; slab_mutex is held, or nobody else is there yet. NULL: no memory. */
struct kmem_cache *cache_make(struct slab_state *state, const char *name, unsigned int size,
			      unsigned int align, slab_flags_t flags, void (*ctor)(void *obj),
			      const struct site *site)
{
	struct kmem_cache *cachep;

	cachep = hostmem_zalloc(slab_hostmem(state), sizeof(*cachep) +
				state->nr_cpus * sizeof(cachep->cpu_cache[0]));
	if (!cachep)
		return NULL;
	cachep->state = state;
	cachep->object_size = size;
	cachep->flags = slab_debug_flags(state, flags, name);
	cachep->ctor = ctor;
	cachep->site = site;
	cachep->debug = slab_debug_bits(state, cachep->flags, ctor);
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++)
		cachep->cpu_cache[cpu] = array_not_there();
	INIT_LIST_HEAD(&cachep->list);
	cachep->name = copy_name(state, name);
	if (!cachep->name || cache_make_nodes(cachep) || !cache_set_geometry(cachep, align)) {
		cache_unmake(cachep);
		return NULL;
	}
	cache_set_limits(cachep);
	if (cachep->gfporder)
		cachep->allocflags |= __GFP_COMP;
	if (flags & SLAB_CACHE_DMA)
		cachep->allocflags |= __GFP_DMA;
	if (flags & SLAB_CACHE_DMA32)
		cachep->allocflags |= __GFP_DMA32;
	if (flags & SLAB_RECLAIM_ACCOUNT)
		cachep->allocflags |= __GFP_RECLAIMABLE;
	caches_add(state, cachep);
	return cachep;
}

static void cache_unmake_node(struct kmem_cache *cachep, struct kmem_cache_node *n)
{
	if (!n)
		return;
	for (int nid = 0; nid < MAX_NUMNODES; nid++)
		hostmem_free(slab_hostmem(cachep->state), n->alien[nid]);
	hostmem_free(slab_hostmem(cachep->state), n->shared);
	hostmem_free(slab_hostmem(cachep->state), n);
}

/* The cache has no slab and no object in an array, or is not wanted any more. */
void cache_unmake(struct kmem_cache *cachep)
{
	struct slab_state *state = cachep->state;

	caches_del(state, cachep);
	array_class_put(cachep);
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++)
		array_unmake(cachep, cpu);
	for (int nid = 0; nid < MAX_NUMNODES; nid++)
		cache_unmake_node(cachep, cachep->node[nid]);
	hostmem_free(slab_hostmem(state), cachep->name);
	hostmem_free(slab_hostmem(state), cachep);
}

struct kmem_cache *kmem_cache_create_usercopy_site(
	const char *name, unsigned int size, unsigned int align, slab_flags_t flags,
	unsigned int useroffset, unsigned int usersize, void (*ctor)(void *obj),
	const struct site *site)
{
	struct slab_state *state = slab_here();
	struct kmem_cache *cachep = NULL;

	might_sleep_site(site);
	if (WARN_ON(!name || in_interrupt() || !size || size > KMALLOC_MAX_SIZE ||
		    align > KMALLOC_MAX_SIZE || (align && !is_power_of_2(align)) ||
		    usersize > size || useroffset > size - usersize))
		goto out;
	if (inject_fail())
		goto out;
	mutex_lock(&state->slab_mutex);
	cachep = cache_make(state, name, size, align, flags, ctor, site);
	if (cachep) {
		array_class_get(cachep);
		cachep->useroffset = useroffset;
		cachep->usersize = usersize;
	}
	mutex_unlock(&state->slab_mutex);
out:
	if (!cachep && (flags & SLAB_PANIC))
		karc_bug_msg(KARC_BUG_SITE("SLAB_PANIC"), "kmem_cache_create(%s) failed",
			     name ? name : "NULL");
	return cachep;
}

struct kmem_cache *kmem_cache_create_site(const char *name, unsigned int size,
					  unsigned int align, slab_flags_t flags,
					  void (*ctor)(void *obj), const struct site *site)
{
	return kmem_cache_create_usercopy_site(name, size, align, flags, 0, 0, ctor, site);
}

/* ---- the end ---- */

static bool is_alive(const struct slab_state *state, const struct kmem_cache *cachep)
{
	const struct kmem_cache *each;

	list_for_each_entry(each, &state->caches, list) {
		if (each == cachep)
			return !each->destroyed && !each->kmalloc_class;
	}
	return false;
}

/* The first few objects that were not freed; list_lock is held. Returns how many it said. */
static unsigned int say_live_of(const struct kmem_cache *cachep, const struct list_head *slabs,
				unsigned int said)
{
	const struct page *page;

	list_for_each_entry(page, slabs, slab_list) {
		for (unsigned int i = 0; i < cachep->num && said < LIVE_SHOWN; i++) {
			const void *obj = index_to_obj(cachep, page, i);
			const struct obj_track *track = track_of(cachep, page, obj);
			const struct site *site = track ? track->alloc : NULL;

			if (slab_is_free_here(page, i))
				continue;
			pr_err("%s: object 0x%llx of slab at pfn 0x%lx, from %s:%u %s\n",
			       cachep->name, (unsigned long long)trace_address(obj),
			       page_to_pfn(page), site ? site->file : "?",
			       site ? site->line : 0, site ? site->func : "?");
			said++;
		}
	}
	return said;
}

/* All arrays were drained, so who is not free on a slab is somebody's. */
static void say_live(struct kmem_cache *cachep)
{
	unsigned int said = 0;
	unsigned long flags;

	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		struct kmem_cache_node *n = cachep->node[nid];

		if (!n)
			continue;
		spin_lock_irqsave(&n->list_lock, flags);
		said = say_live_of(cachep, &n->slabs_full, said);
		said = say_live_of(cachep, &n->slabs_partial, said);
		spin_unlock_irqrestore(&n->list_lock, flags);
	}
}

void (kmem_cache_destroy)(struct kmem_cache *cachep)
{
	kmem_cache_destroy_site(cachep, SITE());
}

void kmem_cache_destroy_site(struct kmem_cache *cachep, const struct site *site)
{
	struct slab_state *state = slab_here();
	bool alive, rcu;

	if (!cachep)
		return;
	might_sleep();
	mutex_lock(&state->slab_mutex);
	alive = is_alive(state, cachep);
	if (unlikely(!alive)) {
		mutex_unlock(&state->slab_mutex);
		report_bad_destroy(cachep, site);
		return;
	}
	rcu = cachep->flags & SLAB_TYPESAFE_BY_RCU;
	cache_shrink(cachep);
	cachep->destroyed = true;
	if (cache_nr_slabs(cachep)) {
		WARN(1, "kmem_cache_destroy %s: Slab cache still has objects", cachep->name);
		say_live(cachep);
		report_live(cachep, false);
		goto unlock;
	}
	gone_cache_remember(cachep, site);
	/* Slabs that wait for a grace period still name the cache. */
	caches_del(state, cachep);
	mutex_unlock(&state->slab_mutex);
	if (rcu)
		rcu_barrier();
	cache_unmake(cachep);
	return;
unlock:
	mutex_unlock(&state->slab_mutex);
}

/* ---- questions ---- */

unsigned int kmem_cache_size(const struct kmem_cache *cachep)
{
	return cachep->object_size;
}

const char *kmem_cache_name(const struct kmem_cache *cachep)
{
	return cachep->name;
}

unsigned long kmem_cache_nr_slabs(struct kmem_cache *cachep)
{
	return cache_nr_slabs(cachep);
}

unsigned long kmem_cache_live_objects(struct kmem_cache *cachep)
{
	unsigned long used = 0;

	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			used += node_num_active(cachep, cachep->node[nid]);
	}
	return used - nodes_cached(cachep) - arrays_cached(cachep);
}
