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
#include <karc/hw/ipi.h>
#include <karc/mm/phys/vmstat.h>
#include "internal.h"

#define CACHE_LINE_BYTES	64u

/* Objects from this size on may have their free list elsewhere. */
#define OFF_SLAB_MIN_SIZE	(PAGE_SIZE >> 4)

/* A slab whose waste is at most one part in so many needs not be larger. */
#define GOOD_WASTE_PART		8

/* Order above which slabs do not grow to save waste, on machines of more than 32 MiB. */
#define SLAB_BREAK_GFP_ORDER	1u

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

/* Objects in a slab of this order, and the bytes left over. */
static unsigned int cache_estimate(unsigned int order, unsigned int size, bool off_slab,
				   size_t *left_over)
{
	size_t slab_bytes = PAGE_SIZE << order;
	size_t each = size + (off_slab ? 0 : sizeof(freelist_idx_t));
	size_t num = min(slab_bytes / each, (size_t)SLAB_OBJECTS_MAX);

	*left_over = slab_bytes - num * each;
	return (unsigned int)num;
}

/* The smallest order that wastes little; sets num, gfporder and the free list. Returns waste. */
static size_t calculate_slab_order(struct kmem_cache *cachep, bool off_slab)
{
	unsigned int max_order = phys_stats(cachep->state->machine).nr_managed >
				 (32UL << 20) / PAGE_SIZE ? SLAB_BREAK_GFP_ORDER : 0;
	size_t best_left = 0;

	cachep->num = 0;
	for (unsigned int order = 0; order <= KMALLOC_MAX_ORDER; order++) {
		struct kmem_cache *freelist_cache = NULL;
		size_t left;
		unsigned int num = cache_estimate(order, cachep->size, off_slab, &left);

		if (!num)
			continue;
		if (off_slab) {
			freelist_cache = kmalloc_slab(cachep->state,
						      num * sizeof(freelist_idx_t), 0);
			if (!freelist_cache || OFF_SLAB(freelist_cache))
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

static bool cache_set_geometry(struct kmem_cache *cachep, unsigned int align)
{
	unsigned int size = ALIGN(cachep->object_size, ARCH_SLAB_MINALIGN);
	size_t left = 0;

	if (cachep->debug & DEBUG_REDZONE)
		size += sizeof(u64);
	cachep->align = calculate_alignment(cachep->flags, align, cachep->object_size);
	cachep->size = ALIGN(size, cachep->align);
	cachep->reciprocal_size = (u32)(((1ULL << 32) + cachep->size - 1) / cachep->size);
	if (cachep->size >= OFF_SLAB_MIN_SIZE) {
		left = calculate_slab_order(cachep, true);
		/* A free list that fits into what is left over costs nothing on the slab. */
		if (left >= cachep->freelist_bytes)
			cachep->num = 0;
	}
	if (!cachep->num)
		left = calculate_slab_order(cachep, false);
	if (!cachep->num)
		return false;
	cachep->colour_off = max(CACHE_LINE_BYTES, cachep->align);
	cachep->colour = (unsigned int)(left / cachep->colour_off);
	return true;
}

/* How many objects a CPU may keep: many of the small ones, few of the large. */
static void cache_set_limits(struct kmem_cache *cachep)
{
	if (cachep->size > 131072)
		cachep->limit = 1;
	else if (cachep->size > PAGE_SIZE)
		cachep->limit = 8;
	else if (cachep->size > 1024)
		cachep->limit = 24;
	else if (cachep->size > 256)
		cachep->limit = 120;
	else
		cachep->limit = 504;
	cachep->batchcount = (cachep->limit + 1) / 2;
	cachep->shared = cachep->state->nr_cpus > 1 && cachep->size <= PAGE_SIZE ? 2 : 0;
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			cachep->node[nid]->free_limit =
				(1 + cachep->state->nr_cpus) * cachep->batchcount + cachep->num;
	}
}

static unsigned int debug_bits(const struct slab_state *state, slab_flags_t flags,
			       void (*ctor)(void *obj))
{
	unsigned int debug = 0;

	if ((flags & SLAB_STORE_USER) || machine_config(state->machine)->track)
		debug |= DEBUG_TRACK;
	/* Who holds a pointer under RCU may still read: such objects are never off limits. */
	if (mem_poison_active() && !(flags & SLAB_TYPESAFE_BY_RCU))
		debug |= DEBUG_ASAN;
	if ((flags & SLAB_POISON) && !(flags & SLAB_TYPESAFE_BY_RCU) && !ctor)
		debug |= DEBUG_PATTERN;
	if (flags & SLAB_RED_ZONE)
		debug |= DEBUG_REDZONE;
	if (state->multi_node)
		debug |= DEBUG_NODES;
	return debug;
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
	cachep->flags = flags;
	cachep->ctor = ctor;
	cachep->site = site;
	cachep->debug = debug_bits(state, flags, ctor);
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++)
		cachep->cpu_cache[cpu] = &state->none;
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
	list_add_tail(&cachep->list, &state->caches);
	return cachep;
}

/* The cache has no slab and no object in an array, or is not wanted any more. */
void cache_unmake(struct kmem_cache *cachep)
{
	struct slab_state *state = cachep->state;

	list_del(&cachep->list);
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++) {
		if (cachep->cpu_cache[cpu] != &state->none)
			hostmem_free(slab_hostmem(state), cachep->cpu_cache[cpu]);
	}
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			hostmem_free(slab_hostmem(state), cachep->node[nid]->shared);
		hostmem_free(slab_hostmem(state), cachep->node[nid]);
	}
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

/* ---- shrinking and the end ---- */

static void drain_on_cpu(void *info)
{
	struct kmem_cache *cachep = info;
	unsigned long flags;

	local_irq_save(flags);
	drain_cpu_array(cachep, smp_processor_id());
	local_irq_restore(flags);
}

static unsigned long cache_nr_slabs(const struct kmem_cache *cachep)
{
	unsigned long nr = 0;

	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			nr += READ_ONCE(cachep->node[nid]->total_slabs);
	}
	return nr;
}

static bool arrays_have_objects(const struct kmem_cache *cachep)
{
	for (unsigned int cpu = 0; cpu < cachep->state->nr_cpus; cpu++) {
		if (READ_ONCE(array_of_cpu(cachep, cpu)->avail))
			return true;
	}
	return false;
}

/* Arrays to slabs, empty slabs to the buddy; returns how many slabs went. May sleep. */
static unsigned long cache_shrink(struct kmem_cache *cachep)
{
	unsigned long nr = 0;

	if (arrays_have_objects(cachep))
		on_each_cpu(drain_on_cpu, cachep, 1);
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (!cachep->node[nid])
			continue;
		drain_shared_array(cachep, cachep->node[nid], nid);
		nr += drain_freelist(cachep, cachep->node[nid]);
	}
	return nr;
}

int kmem_cache_shrink(struct kmem_cache *cachep)
{
	might_sleep();
	cache_shrink(cachep);
	return cache_nr_slabs(cachep) != 0;
}

static bool is_alive(const struct slab_state *state, const struct kmem_cache *cachep)
{
	const struct kmem_cache *each;

	list_for_each_entry(each, &state->caches, list) {
		if (each == cachep)
			return !each->destroyed && !each->kmalloc_class;
	}
	return false;
}

void kmem_cache_destroy(struct kmem_cache *cachep)
{
	struct slab_state *state = slab_here();
	bool alive, rcu;

	if (!cachep)
		return;
	might_sleep();
	mutex_lock(&state->slab_mutex);
	alive = is_alive(state, cachep);
	if (WARN(!alive, "kmem_cache_destroy: not a cache, or destroyed already"))
		goto unlock;
	rcu = cachep->flags & SLAB_TYPESAFE_BY_RCU;
	cache_shrink(cachep);
	cachep->destroyed = true;
	if (cache_nr_slabs(cachep)) {
		WARN(1, "kmem_cache_destroy %s: Slab cache still has objects", cachep->name);
		report_live(cachep, false);
		goto unlock;
	}
	/* Slabs that wait for a grace period still name the cache. */
	list_del_init(&cachep->list);
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
		const struct kmem_cache_node *n = cachep->node[nid];

		if (n)
			used += READ_ONCE(n->total_slabs) * cachep->num -
				READ_ONCE(n->free_objects) - shared_avail(n);
	}
	for (unsigned int cpu = 0; cpu < cachep->state->nr_cpus; cpu++)
		used -= READ_ONCE(array_of_cpu(cachep, cpu)->avail);
	return used;
}

static void show_cache(FILE *out, struct kmem_cache *cachep)
{
	unsigned long slabs = 0, free_slabs = 0, free_objects = 0, in_shared = 0;

	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		const struct kmem_cache_node *n = cachep->node[nid];

		if (!n)
			continue;
		slabs += READ_ONCE(n->total_slabs);
		free_slabs += READ_ONCE(n->free_slabs);
		free_objects += READ_ONCE(n->free_objects);
		in_shared += shared_avail(n);
	}
	fprintf(out, "%-17s %6lu %6lu %6u %4u %4d", cachep->name,
		slabs * cachep->num - free_objects, slabs * cachep->num, cachep->size, cachep->num,
		1 << cachep->gfporder);
	fprintf(out, " : tunables %4u %4u %4u", cachep->limit, cachep->batchcount, cachep->shared);
	fprintf(out, " : slabdata %6lu %6lu %6lu\n", slabs - free_slabs, slabs, in_shared);
}

void slabinfo_show(FILE *out)
{
	struct slab_state *state = slab_here();
	struct kmem_cache *cachep;

	fputs("slabinfo - version: 2.1\n"
	      "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
	      " : tunables <limit> <batchcount> <sharedfactor>"
	      " : slabdata <active_slabs> <num_slabs> <sharedavail>\n", out);
	mutex_lock(&state->slab_mutex);
	list_for_each_entry_reverse(cachep, &state->caches, list)
		show_cache(out, cachep);
	mutex_unlock(&state->slab_mutex);
}
