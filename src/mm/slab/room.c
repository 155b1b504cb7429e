/* SPDX-License-Identifier: MIT */
/*
 * room.c - the slab room: power on, power off, what is left, what is wrong
 *
 * At power off the rooms above are down, so every object that is still in use is forgotten and
 * every cache that is not kmalloc's was not destroyed. Both are reported, the first by allocation
 * site in a machine that tracks; then their frames go back, so that one leak is reported once.
 * The check cites the invariants of slab.c, array.c and node.c, and of percpu.c as C.
 */
#include <stdio.h>
#include <string.h>

#include <karc/base/bitmap.h>
#include <karc/hw/clock.h>
#include <karc/hw/param.h>
#include <karc/refcount/graph.h>
#include "internal.h"

/* Of both tables of u16 that frames have, one behind the other: ->frame_class, ->block_use. */
static size_t frame_class_bytes(const struct slab_state *state)
{
	return (state->max_pfn + state->max_pfn / PHYSMEM_JOIN_FRAMES + 1) *
	       sizeof(*state->frame_class);
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
		for (unsigned int class = 0; class < NR_SLAB_CLASSES; class++)
			hot->array[class] = array_not_there();
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
	slab_options_init(state);
	state->noaliencache = boot_param_bool(m, "noaliencache", false);
	mutex_init_rank(&state->slab_mutex, LR_SLAB_MUTEX);
	spin_lock_init_rank(&state->percpu_lock, LR_SLAB_NODE);
	spin_lock_init_rank(&state->list_lock, LR_SLAB_LIST);
	spin_lock_init_rank(&state->gone_lock, LR_LEDGER);
	INIT_LIST_HEAD(&state->caches);
	if (reap_init(state))
		goto free_state;
	state->frame_class = hostmem_map(machine_hostmem(m), frame_class_bytes(state));
	if (!state->frame_class)
		goto free_reap;
	state->block_use = state->frame_class + state->max_pfn;
	state->track = hostmem_map(machine_hostmem(m), track_bytes(state));
	if (!state->track)
		goto unmap_class;
	hot_init(state);
	if (arc_graph_source_register(&slab_graph_source))
		goto unmap_objects;
	if (kmalloc_init(state))
		goto free_caches;
	machine_set_room(m, ROOM_SLAB, state);
	reap_start(state);
	account_start(state);
	watch_init(state);
	return 0;
free_caches:
	arc_graph_source_unregister(&slab_graph_source);
	caches_free(state);
unmap_objects:
	hostmem_unmap(machine_hostmem(m), state->track, track_bytes(state));
unmap_class:
	hostmem_unmap(machine_hostmem(m), state->frame_class, frame_class_bytes(state));
free_reap:
	reap_exit(state);
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
	drain_nodes(cachep);
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

	machine_on_room_tick(m, ROOM_SLAB, NULL);
	watch_exit(state);
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
	gone_exit(state);
	reap_exit(state);
	account_exit(state);
	hostmem_unmap(machine_hostmem(m), state->track, track_bytes(state));
	hostmem_unmap(machine_hostmem(m), state->frame_class, frame_class_bytes(state));
	hostmem_free(machine_hostmem(m), state);
	machine_set_room(m, ROOM_SLAB, NULL);
}

/* ---- check ---- */

/* All entries of a cache's arrays, to find one that is there twice. */
struct seen {
	struct kmem_cache *cachep;
	const void **entry;
	unsigned long nr, room;
	struct check_report *report;
};

static void check_entry(struct seen *seen, const void *obj, const char *whose, int node)
{
	const struct page *page = virt_addr_valid(obj) ? virt_to_head_page(obj) : NULL;
	struct kmem_cache *cachep = seen->cachep;
	const struct obj_track *track;

	if (!page || !PageSlab(page) || page->slab_cache != cachep ||
	    !is_object(cachep, page, obj)) {
		check_fail(seen->report, "I4: %s: an entry of the %s array is no object of it",
			   cachep->name, whose);
		return;
	}
	track = track_of(cachep, page, obj);
	if (track && track->alloc)
		check_fail(seen->report, "I5: %s: object in the %s array is allocated at %s:%u",
			   cachep->name, whose, track->alloc->file, track->alloc->line);
	if (page_to_nid(page) != node)
		check_fail(seen->report, "I9: %s: object of node %d in the %s array of node %d's",
			   cachep->name, page_to_nid(page), whose, node);
	if (PagePfMemalloc(page) && !cachep->kmalloc_class)
		check_fail(seen->report, "I7: %s: object of the reserves in the %s array",
			   cachep->name, whose);
	if (slab_is_free_here(page, obj_to_index(cachep, page, obj)))
		check_fail(seen->report, "I3: %s: object in the %s array is free on its slab",
			   cachep->name, whose);
	if (seen->nr < seen->room)
		seen->entry[seen->nr++] = obj;
}

static void check_entries(struct seen *seen, const struct array_cache *ac, const char *whose,
			  int node)
{
	if (ac->avail > ac->limit) {
		check_fail(seen->report, "I4: %s: %s array has %u of %u", seen->cachep->name,
			   whose, ac->avail, ac->limit);
		return;
	}
	for (unsigned int i = 0; i < ac->avail; i++)
		check_entry(seen, ac->entry[i], whose, node);
}

static void sift_down(const void **entry, unsigned long i, unsigned long nr)
{
	for (unsigned long child = 2 * i + 1; child < nr; child = 2 * i + 1) {
		if (child + 1 < nr && entry[child + 1] > entry[child])
			child++;
		if (entry[i] >= entry[child])
			return;
		swap(entry[i], entry[child]);
		i = child;
	}
}

/* I4: sorted, so that twins are neighbours. */
static void check_twins(struct seen *seen)
{
	for (unsigned long i = seen->nr / 2; i-- > 0;)
		sift_down(seen->entry, i, seen->nr);
	for (unsigned long nr = seen->nr; nr-- > 1;) {
		swap(seen->entry[0], seen->entry[nr]);
		sift_down(seen->entry, 0, nr);
	}
	for (unsigned long i = 1; i < seen->nr; i++) {
		if (seen->entry[i] == seen->entry[i - 1])
			check_fail(seen->report, "I4: %s: an object is in two places of arrays",
				   seen->cachep->name);
	}
}

static void check_arrays(struct kmem_cache *cachep, struct check_report *report)
{
	unsigned long room = arrays_cached(cachep) + nodes_cached(cachep);
	struct seen seen = { .cachep = cachep, .report = report, .room = room };
	struct slab_state *state = cachep->state;

	if (!room)
		return;
	seen.entry = hostmem_alloc(slab_hostmem(state), room * sizeof(*seen.entry));
	if (!seen.entry)
		seen.room = 0;
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++) {
		const struct array_cache *ac = cachep->cpu_cache[cpu];

		check_entries(&seen, ac, "CPU's", cpu_to_node(cpu));
		for (unsigned int i = 0; i < ac->nr_ready; i++)
			check_entry(&seen, ac->ready[i], "CPU's", cpu_to_node(cpu));
		if (ac->spare)
			check_entries(&seen, ac->spare, "CPU's spare", cpu_to_node(cpu));
	}
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		const struct kmem_cache_node *n = cachep->node[nid];

		if (n && n->shared)
			check_entries(&seen, n->shared, "shared", nid);
		for (int to = 0; n && to < MAX_NUMNODES; to++) {
			if (n->alien[to])
				check_entries(&seen, &n->alien[to]->ac, "alien", to);
		}
	}
	check_twins(&seen);
	hostmem_free(slab_hostmem(state), seen.entry);
}

/* I3: each index of the free part is in range, marked, and there once; no other is marked. */
static void check_freelist(const struct kmem_cache *cachep, const struct page *page,
			   struct check_report *report)
{
	DECLARE_BITMAP(seen, SLAB_OBJECTS_MAX + 1);
	unsigned int marked = 0;

	if (!page->freelist) {
		if (!OBJFREELIST(cachep) || page->slab_active != cachep->num)
			check_fail(report, "I3: %s: the slab at pfn 0x%lx has no free list",
				   cachep->name, page_to_pfn(page));
		return;
	}
	bitmap_zero(seen, cachep->num);
	for (unsigned int i = 0; i < cachep->num; i++)
		marked += slab_is_free_here(page, i);
	for (unsigned int i = page->slab_active; i < cachep->num; i++) {
		unsigned int index = slab_free_index(page, i);

		if (index >= cachep->num || test_bit(index, seen) ||
		    !slab_is_free_here(page, index)) {
			check_fail(report, "I3: %s: free list of the slab at pfn 0x%lx is damaged",
				   cachep->name, page_to_pfn(page));
			return;
		}
		__set_bit(index, seen);
	}
	if (marked != cachep->num - page->slab_active)
		check_fail(report, "I3: %s: slab at pfn 0x%lx: %u objects marked free, not %u",
			   cachep->name, page_to_pfn(page), marked,
			   cachep->num - page->slab_active);
}

enum slab_list { FULL, PARTIAL, FREE };

struct slab_sums {
	unsigned long slabs, free_slabs, free_objects, reserve;
};

static void check_slabs(struct kmem_cache *cachep, const struct kmem_cache_node *n,
			const struct list_head *slabs, enum slab_list which,
			struct slab_sums *sums, struct check_report *report)
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
		if (get_node(cachep, page_to_nid(page)) != n)
			check_fail(report, "I1: %s: slab at pfn 0x%lx is on another node's list",
				   cachep->name, page_to_pfn(page));
		if (belongs != which)
			check_fail(report, "I1: %s: slab at pfn 0x%lx, %u of %u: wrong list",
				   cachep->name, page_to_pfn(page), active, cachep->num);
		check_freelist(cachep, page, report);
		account_check_slab(cachep, page, report);
		sums->slabs++;
		sums->free_slabs += active == 0;
		sums->reserve += PagePfMemalloc(page);
		sums->free_objects += cachep->num - active;
	}
}

static void check_node(struct kmem_cache *cachep, struct kmem_cache_node *n,
		       struct check_report *report)
{
	struct slab_sums sums = { 0, 0, 0, 0 };

	check_slabs(cachep, n, &n->slabs_full, FULL, &sums, report);
	check_slabs(cachep, n, &n->slabs_partial, PARTIAL, &sums, report);
	check_slabs(cachep, n, &n->slabs_free, FREE, &sums, report);
	if (sums.slabs != n->total_slabs || sums.free_slabs != n->free_slabs ||
	    sums.free_objects != n->free_objects || sums.reserve != n->nr_reserve)
		check_fail(report, "I2: %s: slabs %lu, free %lu, objects %lu, not %lu, %lu, %lu",
			   cachep->name, sums.slabs, sums.free_slabs, sums.free_objects,
			   n->total_slabs, n->free_slabs, n->free_objects);
}

/* D: a debug cache's free objects and guards are as slab_debug.c left them. */
static void check_damage(const struct kmem_cache *cachep, void *obj, enum damage damage,
			 const u8 *at, u8 want, void *arg)
{
	(void)damage;
	check_fail(arg, "D: %s: byte %ld of an object is 0x%02x, not 0x%02x", cachep->name,
		   (long)(at - (const u8 *)obj), *at, want);
}

static void slab_check(struct machine *m, struct check_report *report)
{
	struct slab_state *state = machine_room(m, ROOM_SLAB);
	struct kmem_cache *cachep;

	list_for_each_entry(cachep, &state->caches, list) {
		check_arrays(cachep, report);
		debug_validate(cachep, check_damage, report);
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
