/* SPDX-License-Identifier: MIT */
/*
 * reap.c - giving back what is only cached: little by little, or all at once
 *
 * What it is
 *	An array that was not used for a while gives a fifth of its limit back at a time: first the
 *	CPUs' arrays, every two seconds of a CPU's time, then the shared ones and, a few at a time,
 *	the slabs without a used object. It rides on the CPU's tick, some caches at each, and so is
 *	deferrable as Linux's work is: a CPU that idles has no ticks, so the reaper keeps no machine
 *	from sleeping, moves no time and hides no deadlock; what an idle machine caches stays.
 *	kmem_cache_shrink() and the end of a cache give back everything at once.
 *
 * Objects
 *	slab_state -> reap[cpu]: when the next round begins, the cache where this one is
 *
 * Invariants
 *	I1 reap[cpu].next is NULL or on the list of caches
 *	I2 a cache that a CPU is reaping has nr_reaping > 0 and is not freed
 *
 * Locking
 *	reap[], nr_reaping, and changes of the list of caches: list_lock of slab_state
 *	(LR_SLAB_LIST), interrupts off; nothing else is taken under it
 *	an array of a CPU: that CPU, interrupts off
 *
 * Worst case
 *	REAP_CACHES caches per tick; of each a fifth of three arrays and of free_limit's slabs. A
 *	cache is gone through in 5 to 10 rounds after its last use.
 *
 * Unlike Linux
 *	It runs in the tick itself, not in a workqueue. Each round visits one alien cache per cache.
 */
#include <karc/hw/clock.h>
#include <karc/hw/ipi.h>
#include "internal.h"

#define REAP_CACHES		16u
#define REAP_CPU_NS		(2ULL * NSEC_PER_SEC)
#define REAP_NODE_NS		(4ULL * NSEC_PER_SEC)
#define REAP_AT_ONCE		(~0ULL)

/* ---- the list of caches, as seen from a tick ---- */

void caches_add(struct slab_state *state, struct kmem_cache *cachep)
{
	unsigned long flags;

	spin_lock_irqsave(&state->list_lock, flags);
	list_add_tail(&cachep->list, &state->caches);
	if (state->has_groups && cachep->flags & SLAB_ACCOUNT)
		cache_leave_fast_ways(cachep, DEBUG_ACCOUNT);
	spin_unlock_irqrestore(&state->list_lock, flags);
}

static struct kmem_cache *cache_after(const struct slab_state *state, struct kmem_cache *cachep)
{
	return list_is_last(&cachep->list, &state->caches) ? NULL :
							     list_next_entry(cachep, list);
}

/* Off the list; no tick looks at it any more when this returns. */
void caches_del(struct slab_state *state, struct kmem_cache *cachep)
{
	unsigned long flags;

	if (list_empty(&cachep->list))
		return;
	spin_lock_irqsave(&state->list_lock, flags);
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++) {
		if (state->reap[cpu].next == cachep)
			state->reap[cpu].next = cache_after(state, cachep);
	}
	list_del_init(&cachep->list);
	spin_unlock_irqrestore(&state->list_lock, flags);
	/* Pairs with the release in reap_some(). */
	while (__atomic_load_n(&cachep->nr_reaping, __ATOMIC_ACQUIRE))
		cpu_relax();
}

/* The next cache of this CPU's round, held; NULL: the round is over. */
static struct kmem_cache *reap_next(struct slab_state *state, struct slab_reap *r)
{
	struct kmem_cache *cachep;

	spin_lock(&state->list_lock);
	cachep = r->next;
	if (cachep) {
		__atomic_fetch_add(&cachep->nr_reaping, 1, __ATOMIC_RELAXED);
		r->next = cache_after(state, cachep);
	}
	spin_unlock(&state->list_lock);
	return cachep;
}

/* ---- one cache ---- */

/* This node's alien caches take turns. */
static unsigned long reap_aliens(struct kmem_cache *cachep, struct kmem_cache_node *n,
				 unsigned int round)
{
	int node = (int)(round % MAX_NUMNODES);

	return cachep->node[node] ? drain_alien_cache(cachep, n, node) : 0;
}

/* @now: REAP_AT_ONCE is always late enough. */
static unsigned long reap_node(struct kmem_cache *cachep, struct kmem_cache_node *n, int node,
			       u64 now)
{
	unsigned long nr, max = (n->free_limit + 5UL * cachep->num - 1) / (5UL * cachep->num);

	if (now == REAP_AT_ONCE)
		now = ktime_get_ns();
	else if (now < READ_ONCE(n->next_reap_ns))
		return 0;
	WRITE_ONCE(n->next_reap_ns, now + REAP_NODE_NS);
	nr = reap_shared_array(cachep, n, node);
	if (READ_ONCE(n->free_touched)) {
		WRITE_ONCE(n->free_touched, false);
		return nr;
	}
	return nr + drain_freelist(cachep, n, max, true);
}

/* Interrupts are off. */
static void reap_cache(struct kmem_cache *cachep, unsigned int round, u64 now)
{
	int node = this_node();
	struct kmem_cache_node *n = get_node(cachep, node);
	unsigned long nr = 0;

	if (cachep->state->multi_node)
		nr += reap_aliens(cachep, n, round);
	nr += reap_cpu_array(cachep);
	nr += reap_node(cachep, n, node, now);
	if (nr)
		trace_slab_step("cache_reap", "cache %s: %lu objects or slabs given back",
				cachep->name, nr);
}

/* ---- the tick ---- */

/* Interrupts are off. True: the round is over. */
static bool reap_some(struct slab_state *state, struct slab_reap *r, unsigned int max, u64 now)
{
	for (unsigned int i = 0; i < max; i++) {
		struct kmem_cache *cachep = reap_next(state, r);

		if (!cachep)
			return true;
		reap_cache(cachep, r->round, now);
		__atomic_fetch_sub(&cachep->nr_reaping, 1, __ATOMIC_RELEASE);
	}
	return false;
}

static void reap_begin(struct slab_state *state, struct slab_reap *r)
{
	spin_lock(&state->list_lock);
	r->round++;
	r->next = list_first_entry_or_null(&state->caches, struct kmem_cache, list);
	r->active = r->next != NULL;
	spin_unlock(&state->list_lock);
}

static void reap_tick(void)
{
	struct slab_state *state = slab_here();
	struct slab_reap *r = &state->reap[smp_processor_id()];
	u64 now = ktime_get_ns();

	if (now < r->next_ns)
		return;
	if (!r->active)
		reap_begin(state, r);
	if (reap_some(state, r, REAP_CACHES, now)) {
		r->active = false;
		r->next_ns = now + REAP_CPU_NS;
	}
}

/* A whole round of this CPU now, whatever the time. */
void slab_reap_round(void)
{
	struct slab_state *state = slab_here();
	unsigned long flags;

	local_irq_save(flags);
	reap_begin(state, &state->reap[smp_processor_id()]);
	reap_some(state, &state->reap[smp_processor_id()], ~0U, REAP_AT_ONCE);
	state->reap[smp_processor_id()].active = false;
	local_irq_restore(flags);
}

int reap_init(struct slab_state *state)
{
	state->reap = hostmem_zalloc(slab_hostmem(state), state->nr_cpus * sizeof(*state->reap));
	if (!state->reap)
		return -ENOMEM;
	/* Not all CPUs at the same tick. */
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++)
		state->reap[cpu].next_ns = REAP_CPU_NS + cpu * NSEC_PER_JIFFY;
	return 0;
}

void reap_start(struct slab_state *state)
{
	machine_on_room_tick(state->machine, ROOM_SLAB, reap_tick);
}

void reap_exit(struct slab_state *state)
{
	machine_on_room_tick(state->machine, ROOM_SLAB, NULL);
	hostmem_free(slab_hostmem(state), state->reap);
}

/* ---- all at once ---- */

static void drain_on_cpu(void *info)
{
	struct kmem_cache *cachep = info;
	unsigned long flags;

	local_irq_save(flags);
	drain_cpu_array(cachep, smp_processor_id());
	local_irq_restore(flags);
}

unsigned long cache_nr_slabs(const struct kmem_cache *cachep)
{
	unsigned long nr = 0;

	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			nr += READ_ONCE(cachep->node[nid]->total_slabs);
	}
	return nr;
}

/* What all alien caches of @cachep have gathered goes home. */
unsigned long drain_aliens(struct kmem_cache *cachep)
{
	unsigned long nr = 0;

	for (int from = 0; cachep->state->multi_node && from < MAX_NUMNODES; from++) {
		for (int to = 0; cachep->node[from] && to < MAX_NUMNODES; to++)
			nr += drain_alien_cache(cachep, cachep->node[from], to);
	}
	return nr;
}

/* Shared arrays too; nothing is left anywhere but on slabs and in CPUs' arrays. */
unsigned long drain_nodes(struct kmem_cache *cachep)
{
	unsigned long nr = drain_aliens(cachep);

	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			nr += drain_shared_array(cachep, cachep->node[nid], nid);
	}
	return nr;
}

unsigned long drop_empty_slabs(struct kmem_cache *cachep)
{
	unsigned long nr = 0;

	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			nr += drain_freelist(cachep, cachep->node[nid], ~0UL, false);
	}
	return nr;
}

/* Objects in aliens' and shared arrays. */
unsigned long nodes_cached(const struct kmem_cache *cachep)
{
	unsigned long nr = 0;

	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		const struct kmem_cache_node *n = cachep->node[nid];

		if (!n)
			continue;
		nr += shared_avail(n);
		for (int to = 0; cachep->state->multi_node && to < MAX_NUMNODES; to++) {
			const struct alien_cache *alien = smp_load_acquire(&n->alien[to]);

			nr += alien ? READ_ONCE(alien->ac.avail) : 0;
		}
	}
	return nr;
}

/* Arrays to slabs, empty slabs to the buddy; returns how many slabs went. May sleep. */
unsigned long cache_shrink(struct kmem_cache *cachep)
{
	if (arrays_cached(cachep))
		on_each_cpu(drain_on_cpu, cachep, 1);
	drain_nodes(cachep);
	return drop_empty_slabs(cachep);
}

int kmem_cache_shrink(struct kmem_cache *cachep)
{
	might_sleep();
	cache_shrink(cachep);
	return cache_nr_slabs(cachep) != 0;
}

/* Objects and slabs that are only cached. */
static unsigned long nr_cached(const struct kmem_cache *cachep)
{
	unsigned long nr = arrays_cached(cachep) + nodes_cached(cachep);

	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			nr += READ_ONCE(cachep->node[nid]->free_slabs);
	}
	return nr;
}

unsigned long slab_drain(struct machine *m)
{
	struct slab_state *state = machine_room(m, ROOM_SLAB);
	struct kmem_cache *cachep;
	unsigned long moved = 0;

	mutex_lock(&state->slab_mutex);
	list_for_each_entry(cachep, &state->caches, list) {
		unsigned long nr = nr_cached(cachep);

		if (nr)
			kmem_cache_shrink(cachep);
		moved += nr;
	}
	mutex_unlock(&state->slab_mutex);
	return moved + percpu_drain(state);
}

static unsigned long frames_of(const struct kmem_cache *cachep)
{
	return cache_nr_slabs(cachep) << cachep->gfporder;
}

unsigned long kmem_cache_shrink_all(void)
{
	struct slab_state *state = slab_here();
	struct kmem_cache *cachep;
	unsigned long frames = 0;

	/* Reclaim may run under any sleeping lock, this one included: so it never waits for it. */
	if (!mutex_trylock(&state->slab_mutex))
		return 0;
	list_for_each_entry(cachep, &state->caches, list) {
		unsigned long before = frames_of(cachep);

		if (nr_cached(cachep))
			kmem_cache_shrink(cachep);
		before -= min(before, frames_of(cachep));
		frames += before;
	}
	mutex_unlock(&state->slab_mutex);
	return frames;
}
