/* SPDX-License-Identifier: MIT */
/*
 * room.c - the slab room: power on, power off, what is left, what is wrong
 *
 * At power off the rooms above are down, so every object that is still in use is forgotten and
 * every cache that is not kmalloc's was not destroyed. Both are reported, the first by allocation
 * site in a machine that tracks; then their frames go back, so that one leak is reported once.
 * The check cites the invariants of slab.c, and of percpu.c as C.
 */
#include <stdio.h>
#include <string.h>

#include <karc/base/bitmap.h>
#include <karc/refcount/graph.h>
#include "internal.h"

static size_t frame_class_bytes(const struct slab_state *state)
{
	return state->max_pfn * sizeof(*state->frame_class);
}

static size_t track_bytes(const struct slab_state *state)
{
	return state->max_pfn * sizeof(*state->track);
}

static void caches_free(struct slab_state *state)
{
	struct kmem_cache *cachep, *next;

	list_for_each_entry_safe(cachep, next, &state->caches, list)
		cache_unmake(cachep);
}

static void hot_init(struct slab_state *state)
{
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++) {
		struct slab_hot *hot = cpu_hot(machine_cpu(state->machine, cpu), ROOM_SLAB);

		hot->state = state;
		hot->frame_class = state->frame_class;
		for (unsigned int class = 0; class < NR_KMALLOC_CLASSES; class++)
			hot->kmalloc_cache[class] = &state->none;
	}
}

static int slab_init(struct machine *m)
{
	struct slab_state *state = hostmem_zalloc(machine_hostmem(m), sizeof(*state));

	if (!state)
		return -ENOMEM;
	state->machine = m;
	state->max_pfn = physmem_max_pfn(m);
	state->nr_cpus = machine_nr_cpus(m);
	state->multi_node = node_by_index(1) != NULL;
	mutex_init_rank(&state->slab_mutex, LR_SLAB_MUTEX);
	spin_lock_init_rank(&state->percpu_lock, LR_SLAB_NODE);
	INIT_LIST_HEAD(&state->caches);
	state->frame_class = hostmem_map(machine_hostmem(m), frame_class_bytes(state));
	if (!state->frame_class)
		goto free_state;
	state->track = hostmem_map(machine_hostmem(m), track_bytes(state));
	if (!state->track)
		goto unmap_class;
	hot_init(state);
	if (arc_graph_source_register(&slab_graph_source))
		goto unmap_objects;
	if (kmalloc_init(state))
		goto free_caches;
	machine_set_room(m, ROOM_SLAB, state);
	return 0;
free_caches:
	arc_graph_source_unregister(&slab_graph_source);
	caches_free(state);
unmap_objects:
	hostmem_unmap(machine_hostmem(m), state->track, track_bytes(state));
unmap_class:
	hostmem_unmap(machine_hostmem(m), state->frame_class, frame_class_bytes(state));
free_state:
	hostmem_free(machine_hostmem(m), state);
	return -ENOMEM;
}

/* All objects out of arrays. Nothing runs on the other CPUs. */
static void drain_arrays(struct kmem_cache *cachep)
{
	unsigned long flags;

	local_irq_save(flags);
	for (unsigned int cpu = 0; cpu < cachep->state->nr_cpus; cpu++)
		drain_cpu_array(cachep, cpu);
	local_irq_restore(flags);
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			drain_shared_array(cachep, cachep->node[nid], nid);
	}
}

static unsigned long drop_empty_slabs(struct kmem_cache *cachep)
{
	unsigned long nr = 0;

	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			nr += drain_freelist(cachep, cachep->node[nid]);
	}
	return nr;
}

static void wait_for_rcu(void)
{
	if (rcu_nr_pending())
		rcu_barrier();
}

/* Slabs that have live objects; those were reported. Registered destructors do not run. */
static void drop_slabs_by_force(struct kmem_cache *cachep, struct list_head *slabs)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, slabs, slab_list) {
		void *freelist = page->freelist;

		list_del(&page->slab_list);
		page->dtors = NULL;
		slab_release(cachep, page);
		if (OFF_SLAB(cachep))
			slab_free(cachep->freelist_cache, freelist, SITE());
	}
}

/* Report what lives in a cache, and the cache itself if somebody should have destroyed it. */
static void cache_down(struct machine *m, struct kmem_cache *cachep)
{
	char kind[80];

	drain_arrays(cachep);
	drop_empty_slabs(cachep);
	if (!cachep->kmalloc_class && !cachep->destroyed) {
		snprintf(kind, sizeof(kind), "kmem_cache '%s'", cachep->name);
		machine_report_left(m, kind, cachep->site, 1, 0);
	}
	report_live(cachep, true);
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (!cachep->node[nid])
			continue;
		drop_slabs_by_force(cachep, &cachep->node[nid]->slabs_partial);
		drop_slabs_by_force(cachep, &cachep->node[nid]->slabs_full);
	}
}

/* Caches whose free lists lie in others go first, then those others. */
static void slab_exit(struct machine *m)
{
	struct slab_state *state = machine_room(m, ROOM_SLAB);
	struct kmem_cache *cachep;

	arc_graph_source_unregister(&slab_graph_source);
	wait_for_rcu();
	list_for_each_entry(cachep, &state->caches, list) {
		drain_arrays(cachep);
		drop_empty_slabs(cachep);
	}
	wait_for_rcu();
	list_for_each_entry(cachep, &state->caches, list) {
		if (OFF_SLAB(cachep))
			cache_down(m, cachep);
	}
	list_for_each_entry(cachep, &state->caches, list) {
		if (!OFF_SLAB(cachep))
			cache_down(m, cachep);
	}
	percpu_alloc_exit(state);
	caches_free(state);
	hostmem_unmap(machine_hostmem(m), state->track, track_bytes(state));
	hostmem_unmap(machine_hostmem(m), state->frame_class, frame_class_bytes(state));
	hostmem_free(machine_hostmem(m), state);
	machine_set_room(m, ROOM_SLAB, NULL);
}

static unsigned long nr_cached(const struct kmem_cache *cachep)
{
	unsigned long nr = 0;

	for (unsigned int cpu = 0; cpu < cachep->state->nr_cpus; cpu++)
		nr += READ_ONCE(array_of_cpu(cachep, cpu)->avail);
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		const struct kmem_cache_node *n = cachep->node[nid];

		if (n)
			nr += shared_avail(n) + READ_ONCE(n->free_slabs);
	}
	return nr;
}

static unsigned long slab_drain(struct machine *m)
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
	return moved;
}

static unsigned long frames_of(struct kmem_cache *cachep)
{
	return kmem_cache_nr_slabs(cachep) << cachep->gfporder;
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

/* ---- check ---- */

static void check_entries(struct kmem_cache *cachep, const struct array_cache *ac,
			  const char *whose, struct check_report *report)
{
	if (ac->avail > ac->limit) {
		check_fail(report, "I4: %s: %s array has %u of %u", cachep->name, whose, ac->avail,
			   ac->limit);
		return;
	}
	for (unsigned int i = 0; i < ac->avail; i++) {
		const void *obj = ac->entry[i];
		const struct page *page = virt_addr_valid(obj) ? virt_to_head_page(obj) : NULL;
		const struct obj_track *track;

		if (!page || !PageSlab(page) || page->slab_cache != cachep ||
		    !is_object(cachep, page, obj)) {
			check_fail(report, "I4: %s: entry %u of the %s array is no object of it",
				   cachep->name, i, whose);
			continue;
		}
		track = track_of(cachep, page, obj);
		if (track && track->alloc)
			check_fail(report, "I5: %s: object in the %s array is allocated at %s:%u",
				   cachep->name, whose, track->alloc->file, track->alloc->line);
		for (unsigned int k = i + 1; k < ac->avail; k++) {
			if (ac->entry[k] == obj)
				check_fail(report, "I4: %s: an object is twice in the %s array",
					   cachep->name, whose);
		}
	}
}

/* I3: each index of the free part is in range and there once. */
static void check_freelist(const struct kmem_cache *cachep, const struct page *page,
			   struct check_report *report)
{
	const freelist_idx_t *freelist = page->freelist;
	DECLARE_BITMAP(seen, SLAB_OBJECTS_MAX + 1);

	bitmap_zero(seen, cachep->num);
	for (unsigned int i = page->slab_active; i < cachep->num; i++) {
		if (freelist[i] >= cachep->num || test_bit(freelist[i], seen)) {
			check_fail(report, "I3: %s: free list of the slab at pfn 0x%lx is damaged",
				   cachep->name, page_to_pfn(page));
			return;
		}
		__set_bit(freelist[i], seen);
	}
}

enum slab_list { FULL, PARTIAL, FREE };

struct slab_sums {
	unsigned long slabs, free_slabs, free_objects;
};

static void check_slabs(struct kmem_cache *cachep, const struct list_head *slabs,
			enum slab_list which, struct slab_sums *sums,
			struct check_report *report)
{
	const struct page *page;

	list_for_each_entry(page, slabs, slab_list) {
		unsigned int active = page->slab_active;
		enum slab_list belongs = active == 0 ? FREE :
					 active == cachep->num ? FULL : PARTIAL;

		if (!PageSlab(page) || page->slab_cache != cachep || active > cachep->num) {
			check_fail(report, "I1: %s: pfn 0x%lx is listed and is no slab of it",
				   cachep->name, page_to_pfn(page));
			continue;
		}
		if (belongs != which)
			check_fail(report, "I1: %s: slab at pfn 0x%lx, %u of %u: wrong list",
				   cachep->name, page_to_pfn(page), active, cachep->num);
		check_freelist(cachep, page, report);
		sums->slabs++;
		sums->free_slabs += active == 0;
		sums->free_objects += cachep->num - active;
	}
}

static void check_node(struct kmem_cache *cachep, struct kmem_cache_node *n,
		       struct check_report *report)
{
	struct slab_sums sums = { 0, 0, 0 };

	check_slabs(cachep, &n->slabs_full, FULL, &sums, report);
	check_slabs(cachep, &n->slabs_partial, PARTIAL, &sums, report);
	check_slabs(cachep, &n->slabs_free, FREE, &sums, report);
	if (sums.slabs != n->total_slabs || sums.free_slabs != n->free_slabs ||
	    sums.free_objects != n->free_objects)
		check_fail(report, "I2: %s: slabs %lu, free %lu, objects %lu, not %lu, %lu, %lu",
			   cachep->name, sums.slabs, sums.free_slabs, sums.free_objects,
			   n->total_slabs, n->free_slabs, n->free_objects);
	if (n->shared)
		check_entries(cachep, n->shared, "shared", report);
}

static void slab_check(struct machine *m, struct check_report *report)
{
	struct slab_state *state = machine_room(m, ROOM_SLAB);
	struct kmem_cache *cachep;

	list_for_each_entry(cachep, &state->caches, list) {
		for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++)
			check_entries(cachep, cachep->cpu_cache[cpu], "CPU's", report);
		for (int nid = 0; nid < MAX_NUMNODES; nid++) {
			if (cachep->node[nid])
				check_node(cachep, cachep->node[nid], report);
		}
	}
	percpu_alloc_check(state, report);
}

const struct room slab_room = {
	.name = "slab",
	.id = ROOM_SLAB,
	.init = slab_init,
	.exit = slab_exit,
	.check = slab_check,
	.drain = slab_drain,
};
