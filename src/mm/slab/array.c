/* SPDX-License-Identifier: MIT */
/*
 * array.c - the CPU's arrays: where nearly every object is taken from and given to
 *
 * What it is
 *	An array of free objects per CPU and cache. Taking one is a pop, giving one back a push
 *	(array.h has both, inlined), with nothing but the CPU itself to protect it: there is no safe
 *	point between its first access and the last. Behind it lies a second, larger one, the spare,
 *	which is this CPU's as well. An empty array gets a batch from there, a full one puts its
 *	coldest batch there, so that a lock is taken only when the spare is empty or full too, once
 *	in some hundreds of operations; then objects come from the node in batches and go there in
 *	batches, foreign ones among them: into the array that the node's CPUs share while that has
 *	room, so that what one CPU frees another takes with a lock for each batch and no look at a
 *	slab; else half of the spare at once, mostly to slabs. A batch is copied: pointers to
 *	arrays are kept by code that knows one (refcount/plain.c), so arrays are never exchanged,
 *	and a copy of 252 pointers costs a fraction of a nanosecond for each of the operations that
 *	it serves.
 *
 * Objects
 *	kmem_cache -> cpu_cache[cpu] -> objects; array_none until the CPU first needs one
 *	                             -> ready: objects that are handed out next (array_cache.h)
 *	                             -> spare -> objects; NULL until the array first is full
 *	slab_hot.array[class] -> the same array, where inlined code finds it; array_none as long as
 *	calls have to take the checked road
 *
 * Invariants
 *	I4 an array's avail is at most its limit; its entries are objects of its cache, each once
 *	I5 an object with a track that says "allocated" is in no array
 *	I6 of an array and its spare: allochit + allocmiss = readied - nr_ready, and
 *	came + frees = went + allochit + allocmiss + what is in both
 *	I7 array_none, where CPUs without an array meet, is empty and full and never written
 *
 * Locking
 *	cpu_cache[this cpu]	interrupts off, or no safe point; other CPUs' through an IPI
 *
 * Worst case
 *	limit + spare_limit objects per CPU are held back, which is at most one part in HELD_PART of
 *	the machine's memory for each cache and all CPUs together, or a few objects. A flush moves
 *	half a spare, batchcount objects under one lock.
 *
 * Unlike Linux
 *	Arrays are bookkeeping in host memory, made when a CPU first needs them. The spare is new.
 *	Hits are not counted but derived from batches (I6). The last object freed is the next one
 *	handed out, but in release builds not while an array is busy (ARRAY_BUSY allocations in a
 *	tick): then up to ARRAY_READY objects that were made ready before come first.
 */
#include <string.h>

#include <karc/base/bitmap.h>
#include <karc/base/log.h>
#include <karc/hw/clock.h>
#include <karc/hw/inject.h>
#include <karc/mm/phys/vmstat.h>
#include "internal.h"

/* What a refill takes when the array was not used lately. */
#define BATCHREFILL_LIMIT	16u

/* So many of the last frees may still be on their way to memory. */
#define FRESH			16u

/* Reading the time costs as much as some allocations. */
#define LOOK_AT_CLOCK		64u

#define HELD_PART		128u
#define SPARE_MAX_BYTES		(1u << 20)
#define SPARE_MAX		4096u

/* ---- how large ---- */

static unsigned int limit_by_size(unsigned int size)
{
	if (size > 131072)
		return 1;
	if (size > PAGE_SIZE)
		return 8;
	return size > 1024 ? 60 : 504;
}

/* Many of the small ones, few of the large, and less on machines that have little. */
void array_set_limits(struct kmem_cache *cachep)
{
	const struct slab_state *state = cachep->state;
	u64 managed = (u64)phys_stats(state->machine).nr_managed << PAGE_SHIFT;
	u64 share = managed / HELD_PART / state->nr_cpus / cachep->size;
	unsigned int limit = limit_by_size(cachep->size);

	if (limit > 8)
		limit = (unsigned int)clamp(share / 2, (u64)8, (u64)limit);
	cachep->limit = limit;
	cachep->batchcount = (limit + 1) / 2;
	share = min(share / 2, (u64)min(SPARE_MAX, SPARE_MAX_BYTES / cachep->size));
	cachep->spare_limit = share >= limit ? (unsigned int)share : 0;
}

/* ---- classes: slots that inlined code finds ---- */

/* What is in the slot of @cachep on @cpu. */
static void array_install(struct kmem_cache *cachep, unsigned int cpu)
{
	struct slab_state *state = cachep->state;
	struct slab_hot *hot = cpu_hot(machine_cpu(state->machine, cpu), ROOM_SLAB);

	if (!cachep->hot_class)
		return;
	WRITE_ONCE(hot->array[cachep->hot_class],
		   READ_ONCE(cachep->debug) ? array_not_there() : array_of_cpu(cachep, cpu));
	smp_mb();	/* who begins to listen writes ->traced, then the slots */
	if (unlikely(READ_ONCE(state->traced)))
		WRITE_ONCE(hot->array[cachep->hot_class], array_not_there());
}

/* Nobody listens any more: the slot is used again. */
static void array_reinstall(struct kmem_cache *cachep, unsigned int cpu)
{
	if (unlikely(slab_hot()->array[cachep->hot_class] == &array_none) &&
	    cachep->hot_class)
		array_install(cachep, cpu);
}

/* From now on calls take the checked road: ->debug was set. */
void array_fast_off(struct kmem_cache *cachep)
{
	for (unsigned int cpu = 0; cpu < cachep->state->nr_cpus; cpu++)
		array_install(cachep, cpu);
}

/* A slot for a cache with a name, if there is one left. */
void array_class_get(struct kmem_cache *cachep)
{
	struct slab_state *state = cachep->state;
	unsigned int class;

	if (cachep->debug)
		return;
	do {
		class = NR_KMALLOC_CLASSES;
		while (class < NR_SLAB_CLASSES && test_bit(class, state->classes))
			class++;
		if (class >= NR_SLAB_CLASSES)
			return;
	} while (test_and_set_bit(class, state->classes));
	cachep->hot_class = (u16)class;
}

/* The cache has no slab any more, and no call is under way. */
void array_class_put(struct kmem_cache *cachep)
{
	struct slab_state *state = cachep->state;
	unsigned int class = cachep->hot_class;

	if (!class || cachep->kmalloc_class)
		return;
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++) {
		struct slab_hot *hot = cpu_hot(machine_cpu(state->machine, cpu), ROOM_SLAB);

		WRITE_ONCE(hot->array[class], array_not_there());
	}
	cachep->hot_class = 0;
	clear_bit(class, state->classes);
}

/* ---- making arrays ---- */

const struct array_cache array_none;

struct array_cache *array_make(struct kmem_cache *cachep, unsigned int limit,
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

void array_unmake(struct kmem_cache *cachep, unsigned int cpu)
{
	struct array_cache *ac = cachep->cpu_cache[cpu];

	if (ac == &array_none)
		return;
	hostmem_free(slab_hostmem(cachep->state), ac->spare);
	hostmem_free(slab_hostmem(cachep->state), ac);
}

/* This CPU's array, made now if there is none yet; NULL if the host has no memory. */
static struct array_cache *cpu_cache_get(struct kmem_cache *cachep)
{
	unsigned int cpu = smp_processor_id();
	struct array_cache *ac = cachep->cpu_cache[cpu];

	if (likely(ac->limit)) {
		array_reinstall(cachep, cpu);
		return ac;
	}
	ac = array_make(cachep, cachep->limit, cachep->batchcount);
	if (!ac)
		return NULL;
	smp_store_release(&cachep->cpu_cache[cpu], ac);
	array_install(cachep, cpu);
	return ac;
}

/* Behind @ac, which is full; NULL if there is to be none, or the host has no memory. */
static struct array_cache *spare_get(struct kmem_cache *cachep, struct array_cache *ac)
{
	if (!ac->spare && cachep->spare_limit)
		smp_store_release(&ac->spare, array_make(cachep, cachep->spare_limit,
							 cachep->batchcount));
	return ac->spare;
}

/* Objects that lie in the arrays of a CPU, which may be another one. */
unsigned int array_cached(const struct kmem_cache *cachep, unsigned int cpu)
{
	const struct array_cache *ac = array_of_cpu(cachep, cpu);
	const struct array_cache *spare = smp_load_acquire(&ac->spare);

	return READ_ONCE(ac->nr_ready) + READ_ONCE(ac->avail) +
	       (spare ? READ_ONCE(spare->avail) : 0);
}

/* The same of all CPUs. */
unsigned long arrays_cached(const struct kmem_cache *cachep)
{
	unsigned long nr = 0;

	for (unsigned int cpu = 0; cpu < cachep->state->nr_cpus; cpu++)
		nr += array_cached(cachep, cpu);
	return nr;
}

/* Sums over all CPUs; exact while nobody allocates. I6. */
void array_stats(const struct kmem_cache *cachep, struct slab_cpustat *sum)
{
	*sum = (struct slab_cpustat){ 0 };
	for (unsigned int cpu = 0; cpu < cachep->state->nr_cpus; cpu++) {
		const struct array_cache *ac = array_of_cpu(cachep, cpu);
		unsigned long taken = READ_ONCE(ac->readied) - READ_ONCE(ac->nr_ready);

		sum->allochit += taken - READ_ONCE(ac->allocmiss);
		sum->allocmiss += READ_ONCE(ac->allocmiss);
		sum->freemiss += READ_ONCE(ac->freemiss);
		sum->freehit += taken + READ_ONCE(ac->went) + array_cached(cachep, cpu) -
				READ_ONCE(ac->came) - READ_ONCE(ac->freemiss);
	}
}

/* ---- in batches ---- */

/* The coldest @nr of @ac, which are somewhere else now, leave it. */
static void array_drop(struct array_cache *ac, unsigned int nr)
{
	unsigned int left = ac->avail - nr;

	memmove(ac->entry, ac->entry + nr, sizeof(void *) * left);
	WRITE_ONCE(ac->avail, left);
}

/* At least @nr of the coldest of @from, the array or its spare, to the node. Returns how many. */
static unsigned int array_to_node(struct kmem_cache *cachep, struct array_cache *ac,
				  struct array_cache *from, unsigned int nr)
{
	unsigned int moved = 0;

	while (moved < nr)
		moved += node_flush(cachep, from->entry + moved, this_node(),
				    min(from->avail - moved, ac->batchcount));
	count_add(ac->went, moved);
	array_drop(from, moved);
	return moved;
}

static void array_to_spare(const struct array_cache *ac, struct array_cache *spare, unsigned int nr)
{
	memcpy(spare->entry + spare->avail, ac->entry, sizeof(void *) * nr);
	count_add(spare->avail, nr);
}

/*
 * The array is full: the coldest batch to the spare, or else to the node: if its CPUs share an
 * array that has room, whoever allocates what this CPU frees gets it from there.
 */
static noinline void cache_flusharray(struct kmem_cache *cachep, struct array_cache *ac)
{
	struct array_cache *spare = spare_get(cachep, ac);
	unsigned int batch = ac->batchcount;

	count_add(ac->freemiss, 1);
	trace_slab_step("cache_flusharray", "cache %s: %u of %u leave the CPU's array", cachep->name,
			batch, ac->avail);
	if (!spare) {
		array_to_node(cachep, ac, ac, batch);
		return;
	}
	if (spare->limit - spare->avail >= batch) {
		array_to_spare(ac, spare, batch);
	} else if (node_share(cachep, ac->entry, this_node(), batch)) {
		count_add(ac->went, batch);
	} else {
		array_to_node(cachep, ac, spare, spare->limit / 2);
		array_to_spare(ac, spare, batch);
	}
	array_drop(ac, batch);
}

/*
 * The last stores to @from are on their way yet: a load of two pointers at once would have to wait
 * for them, and for all stores before them, where a load of one gets it in passing.
 */
static void copy_fresh(void **to, void **from, unsigned int nr)
{
	typedef unsigned long two_words __attribute__((vector_size(16), aligned(8), may_alias));
	unsigned int i = 0;

#pragma GCC unroll 8
	for (; i + FRESH < nr; i += 2)
		*(two_words *)(void *)(to + i) = *(two_words *)(void *)(from + i);
#pragma GCC unroll 8
	for (; i < nr; i++)
		WRITE_ONCE(to[i], READ_ONCE(from[i]));
}

/*
 * Is the array in such use that many objects at once should be made ready? They are not handed out
 * in the order in which they were freed then, see array_cache.h. Below that, and where nothing is
 * inlined, the last one freed is the next one handed out.
 */
static bool is_busy(struct array_cache *ac)
{
	unsigned long now;

	if (!SLAB_INLINE)
		return false;
	if (++ac->nr_slow % LOOK_AT_CLOCK)
		return ac->nr_slow >= ARRAY_BUSY;
	now = jiffies;
	if (ac->slow_since != now) {
		ac->slow_since = now;
		ac->nr_slow = 0;
	}
	return ac->nr_slow >= ARRAY_BUSY;
}

/*
 * Nothing is ready: the hottest objects that were freed, one or many. If the caller may sleep, so
 * may those who will take them: the safe points that they pass are counted now. False: there are
 * none.
 */
bool array_make_ready(struct array_cache *ac, gfp_t gfp)
{
	struct cpu *cpu = this_cpu();
	unsigned int nr = min(ac->avail, 1u);

	if (!nr)
		return false;
	if (is_busy(ac))
		nr = min3(ac->avail, ac->batchcount, ARRAY_READY);
	if (gfpflags_allow_blocking(gfp)) {
		nr = min(nr, max(cpu->steps, 1u));
		cpu->steps = max(cpu->steps - nr, 1u);
	}
	count_add(ac->avail, -nr);
	copy_fresh(ac->ready, ac->entry + ac->avail, nr);
	count_add(ac->readied, nr);
	WRITE_ONCE(ac->nr_ready, nr);
	return true;
}

/* The one to hand out next; there is one. */
static void *array_take(struct array_cache *ac)
{
	unsigned int left = ac->nr_ready - 1;

	WRITE_ONCE(ac->nr_ready, left);
	return ac->ready[left];
}

/* The hottest batch of the spare into an empty array. */
static bool refill_from_spare(struct array_cache *ac)
{
	struct array_cache *spare = ac->spare;
	unsigned int nr;

	if (!spare || !spare->avail)
		return false;
	nr = min(ac->batchcount, spare->avail);
	count_add(spare->avail, -nr);
	memcpy(ac->entry, spare->entry + spare->avail, sizeof(void *) * nr);
	WRITE_ONCE(ac->avail, nr);
	return true;
}

/* From slabs that exist into an empty array. False: the node has nothing. */
static bool refill_from_node(struct kmem_cache *cachep, struct array_cache *ac, unsigned int batch)
{
	node_refill(cachep, ac, this_node(), batch);
	count_add(ac->came, ac->avail);
	return ac->avail != 0;
}

/* A new slab for the node, for those who can do without: nobody waits, nothing is warned about. */
static void grow_if_easy(struct kmem_cache *cachep)
{
	gfp_t gfp = GFP_NOWAIT | __GFP_NOWARN | __GFP_NORETRY | __GFP_NOMEMALLOC | __GFP_THISNODE;
	struct page *page;

	if (READ_ONCE(this_cpu()->inject_armed))
		return;
	page = cache_grow_begin(cachep, gfp & ~__GFP_RECLAIM, this_node());
	if (page)
		cache_grow_end(cachep, page);
}

/* The fewest objects to make ready: with less, the way to them costs more than they do. */
static unsigned int few(const struct array_cache *ac)
{
	return min(ac->batchcount / 2, ARRAY_FEW);
}

/*
 * Few objects go round between frees and allocations: get some more below them. The third time that
 * the node has none a slab is made.
 */
static void top_up(struct kmem_cache *cachep, struct array_cache *ac)
{
	unsigned int nr = ac->avail;
	void *hot[ARRAY_FEW];

	memcpy(hot, ac->entry, sizeof(hot[0]) * nr);
	WRITE_ONCE(ac->avail, 0);
	if (!refill_from_spare(ac) && !refill_from_node(cachep, ac, ac->batchcount / 2) &&
	    ++ac->nr_few > 2 && !READ_ONCE(cachep->debug)) {
		ac->nr_few = 0;
		grow_if_easy(cachep);
		refill_from_node(cachep, ac, ac->batchcount / 2);
	}
	memcpy(ac->entry + ac->avail, hot, sizeof(hot[0]) * nr);
	count_add(ac->avail, nr);
}

/* Objects that went past the array, to users and from them. Interrupts are off. */
void array_count_past(const struct kmem_cache *cachep, unsigned int taken, unsigned int given)
{
	struct array_cache *ac = cachep->cpu_cache[smp_processor_id()];

	if (!ac->limit)
		return;
	count_add(ac->came, taken);
	count_add(ac->readied, taken);
	count_add(ac->allocmiss, taken);
	count_add(ac->went, given);
	count_add(ac->freemiss, given);
}

/* Nothing is ready: see to it, and take one. Interrupts are off. */
static noinline void *cache_alloc_refill(struct kmem_cache *cachep, gfp_t gfp)
{
	struct array_cache *ac = cpu_cache_get(cachep);
	unsigned int batch;
	void *obj;

	if (!ac)
		return NULL;
	batch = ac->touched ? ac->batchcount : min(ac->batchcount, BATCHREFILL_LIMIT);
	if (ac->avail) {
		if (ac->avail < few(ac) && ac->nr_slow >= ARRAY_BUSY)
			top_up(cachep, ac);
	} else if (refill_from_spare(ac) || refill_from_node(cachep, ac, batch)) {
		count_add(ac->allocmiss, 1);
	} else {
		/* It may sleep, and this may be another CPU then. */
		obj = cache_alloc_grow(cachep, gfp, batch);
		if (obj)
			array_count_past(cachep, 1, 0);
		return obj;
	}
	ac->touched = 1;
	array_make_ready(ac, gfp);
	return array_take(ac);
}

/* ---- one object ---- */

/* False: the request fails before anything changed. */
bool slab_alloc_begin(struct kmem_cache *cachep, gfp_t gfp, const struct site *site)
{
	(void)cachep;
	if (gfpflags_allow_blocking(gfp))
		might_sleep_site(site);
	return (gfp & __GFP_NOFAIL) || !inject_fail();
}

/* NULL: the group that would pay for it has reached its limit; it is back where it was. */
static noinline void *alloc_end_checked(struct kmem_cache *cachep, gfp_t gfp, void *obj,
					size_t size, const struct site *site)
{
	if (!memcg_slab_alloc_hook(cachep, gfp, obj)) {
		slab_give_back(cachep, 1, &obj);
		return NULL;
	}
	if (READ_ONCE(cachep->debug))
		debug_alloc(cachep, obj, size, gfp, site);
	else if (gfp & __GFP_ZERO && likely(!cachep->ctor))
		memset(obj, 0, cachep->object_size);
	return obj;
}

/* What an object goes through on its way to a user. @size: bytes that were asked for. */
void *slab_alloc_end(struct kmem_cache *cachep, gfp_t gfp, void *obj, size_t size,
		     const struct site *site)
{
	if (unlikely(!obj))
		return NULL;
	if (unlikely(READ_ONCE(cachep->debug) || gfp & __GFP_ACCOUNT))
		return alloc_end_checked(cachep, gfp, obj, size, site);
	if (gfp & __GFP_ZERO && likely(!cachep->ctor))
		memset(obj, 0, cachep->object_size);
	return obj;
}

void *slab_alloc(struct kmem_cache *cachep, gfp_t gfp, size_t size, const struct site *site)
{
	struct array_cache *ac;
	unsigned long flags;
	void *obj;

	if (!slab_alloc_begin(cachep, gfp, site))
		return NULL;
	local_irq_save(flags);
	ac = cachep->cpu_cache[smp_processor_id()];
	if (ac->nr_ready)
		obj = array_take(ac);
	else
		obj = cache_alloc_refill(cachep, gfp);
	local_irq_restore(flags);
	return slab_alloc_end(cachep, gfp, obj, size, site);
}

static void array_push_traced(const struct kmem_cache *cachep, struct array_cache *ac, void *obj)
{
	array_push(ac, obj);
	trace_slab_step("___cache_free", "pushed: the CPU's array of %s has %u of %u", cachep->name,
			ac->avail, ac->limit);
}

/* Off the fast path; interrupts are off. */
static noinline void cache_free_slow(struct kmem_cache *cachep, void *obj)
{
	struct array_cache *ac = cpu_cache_get(cachep);

	if (READ_ONCE(cachep->debug) & DEBUG_HOME && cache_free_home(cachep, obj))
		return;
	if (!ac) {
		free_to_node(cachep, obj, this_node());
		return;
	}
	if (ac->avail >= ac->limit)
		cache_flusharray(cachep, ac);
	array_push_traced(cachep, ac, obj);
}

/* What an object goes through on its way back. False: it must not go there; reported. */
bool slab_free_begin(struct kmem_cache *cachep, void *obj, const struct site *site)
{
	if (!debug_free(cachep, obj, site))
		return false;
	trace_slab_step("memcg_slab_free_hook", "cache %s: %s", cachep->name,
			READ_ONCE(cachep->debug) & DEBUG_ACCOUNT ? "uncharged" : "nobody is charged");
	if (READ_ONCE(cachep->debug) & DEBUG_ACCOUNT)
		memcg_slab_free_hook(cachep, obj);
	return true;
}

void slab_free(struct kmem_cache *cachep, void *obj, const struct site *site)
{
	struct array_cache *ac;
	unsigned long flags;

	if (unlikely(READ_ONCE(cachep->debug)) && !slab_free_begin(cachep, obj, site))
		return;
	local_irq_save(flags);
	ac = cachep->cpu_cache[smp_processor_id()];
	trace_slab_step("local_irq_save", "interrupts off: the array of %s is this CPU's, %u of %u",
			cachep->name, ac->avail, ac->limit);
	if (unlikely(slab_is_top(ac, obj)))
		report_double_free(cachep, obj, site);
	else if (likely(ac->avail < ac->limit && !(READ_ONCE(cachep->debug) & DEBUG_HOME)))
		array_push_traced(cachep, ac, obj);
	else
		cache_free_slow(cachep, obj);
	local_irq_restore(flags);
}

/* ---- several; interrupts are off ---- */

/* Up to @nr objects that are here. Returns how many. */
unsigned int array_pop_many(struct kmem_cache *cachep, void **to, unsigned int nr)
{
	struct array_cache *ac = cachep->cpu_cache[smp_processor_id()];
	unsigned int taken = 0;

	while (taken < nr && ac->nr_ready)
		to[taken++] = array_take(ac);
	while (taken < nr && (ac->avail || refill_from_spare(ac))) {
		unsigned int some = min(nr - taken, ac->avail);

		for (unsigned int i = 0; i < some; i++)
			to[taken + i] = ac->entry[ac->avail - 1 - i];
		count_add(ac->avail, -some);
		count_add(ac->readied, some);
		taken += some;
	}
	return taken;
}

/* Up to @nr objects of this node, as far as there is room. Returns how many. */
unsigned int array_push_many(struct kmem_cache *cachep, void **from, unsigned int nr)
{
	struct array_cache *ac = cachep->cpu_cache[smp_processor_id()];

	nr = min(nr, ac->limit - ac->avail);
	memcpy(ac->entry + ac->avail, from, sizeof(void *) * nr);
	if (nr)
		count_add(ac->avail, nr);
	return nr;
}

/* ---- giving back what is only cached; each returns how many objects moved ---- */

static void drain_stack(struct kmem_cache *cachep, struct array_cache *ac, void **entry,
			unsigned int *nr)
{
	if (!*nr)
		return;
	count_add(ac->went, *nr);
	free_many_to_node(cachep, entry, *nr, page_to_nid(virt_to_head_page(entry[0])));
	WRITE_ONCE(*nr, 0);
}

/* @cpu is this one with interrupts off, or one where nothing runs. */
unsigned long drain_cpu_array(struct kmem_cache *cachep, unsigned int cpu)
{
	struct array_cache *ac = cachep->cpu_cache[cpu];
	unsigned long nr = array_cached(cachep, cpu);

	if (!nr)
		return 0;	/* perhaps there is no array (I7) */
	if (ac->spare)
		drain_stack(cachep, ac, ac->spare->entry, &ac->spare->avail);
	drain_stack(cachep, ac, ac->entry, &ac->avail);
	ac->nr_slow = 0;
	count_add(ac->readied, -(unsigned long)ac->nr_ready);
	drain_stack(cachep, ac, ac->ready, &ac->nr_ready);
	return nr;
}

/*
 * Some of what this CPU has not used since the last look: of the spare, then of the array.
 * Interrupts are off.
 */
unsigned long reap_cpu_array(struct kmem_cache *cachep)
{
	struct array_cache *ac = cachep->cpu_cache[smp_processor_id()];
	struct array_cache *from = ac->spare && ac->spare->avail ? ac->spare : ac;
	unsigned long taken = ac->readied - ac->nr_ready;
	bool used = ac->touched || taken != ac->seen;

	if (!ac->limit)
		return 0;
	ac->touched = 0;
	ac->seen = taken;
	if (used)
		return 0;
	while (ac->nr_ready && ac->avail < ac->limit) {
		array_push(ac, array_take(ac));
		count_add(ac->readied, -1ul);
	}
	if (!from->avail)
		return 0;
	return array_to_node(cachep, ac, from, min((from->limit + 4) / 5, from->avail));
}

/* ---- what users call ---- */

/* array.h has the same for those whose flags the compiler knew, and who found something ready. */
void *kmem_cache_alloc_site(struct kmem_cache *cachep, gfp_t gfp, const struct site *site)
{
	struct cpu *cpu = this_cpu();
	struct array_cache *ac = slab_array_here(cpu, cachep->hot_class);
	void *obj;

	if (unlikely(!ac->nr_ready) && array_may_make_ready(cpu, ac, gfp))
		array_make_ready(ac, gfp);
	if (likely(!(gfp & ~(GFP_ANY_OBJECT & ~__GFP_ZERO))) && likely(slab_pop(cpu, ac, gfp, &obj)))
		return obj;
	obj = slab_alloc(cachep, gfp, cachep->object_size, site);
	trace_alloc(TRACE_KMEM_CACHE_ALLOC, cachep, obj, cachep->object_size, cachep->size, gfp,
		    site);
	return obj;
}

void *(kmem_cache_alloc)(struct kmem_cache *cachep, gfp_t gfp)
{
	return kmem_cache_alloc_site(cachep, gfp, SITE());
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
	if (unlikely(page->slab_cache != cachep)) {
		report_wrong_cache(cachep, page->slab_cache, obj, site);
		cachep = page->slab_cache;
	}
	trace_free(TRACE_KMEM_CACHE_FREE, cachep, obj, site);
	slab_free(cachep, obj, site);
}

void (kmem_cache_free)(struct kmem_cache *cachep, void *obj)
{
	kmem_cache_free_site(cachep, obj, SITE());
}
