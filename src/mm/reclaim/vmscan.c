/* SPDX-License-Identifier: MIT */
/*
 * vmscan.c - making room: what to take when no frame is free
 *
 * What it is
 *	The buddy allocator's slow path asks here. What costs least goes first: areas of vmalloc()
 *	that were freed and kept, clean page-cache pages that nobody maps, then what shrinkers
 *	offer, then the empty slabs that this left behind. Each round is more urgent than the one
 *	before.
 *
 * Invariants
 *	I1 a fiber is on the list of runs while it reclaims; a request of its own from inside gets
 *	   nothing, so reclaim never nests in one fiber
 *
 * Locking
 *	runs, stats: runs_lock. Nothing is held while pages are dropped or callbacks run.
 *
 * Worst case
 *	DEF_PRIORITY rounds, each once over the files' cached pages that it takes and once over the
 *	shrinkers.
 *
 * Unlike Linux
 *	No LRU, no swap, no kswapd: private memory and dirty pages are not reclaimed yet. There is
 *	no OOM killer here: when nothing can be taken the allocation fails.
 */
#include <karc/base/err.h>
#include <karc/base/hostmem.h>
#include <karc/base/math.h>
#include <karc/hw/fiber.h>
#include <karc/hw/wait.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/kva/vmap.h>
#include <karc/mm/slab/slab.h>
#include "internal.h"

#define SWAP_CLUSTER_MAX	32UL

/* One fiber's reclaim; on its stack. */
struct reclaim_run {
	struct list_head node;
	struct fiber *fiber;
	struct reclaim_state slabs;	/* that went while others' objects were freed */
};

static bool run_begin(struct reclaim_room_state *s, struct reclaim_run *run)
{
	struct reclaim_run *other;
	bool nested = false;

	run->fiber = fiber_self();
	spin_lock(&s->runs_lock);
	list_for_each_entry(other, &s->runs, node)
		nested |= other->fiber == run->fiber;
	if (!nested)
		list_add_tail(&run->node, &s->runs);
	spin_unlock(&s->runs_lock);
	return !nested;
}

static void run_end(struct reclaim_room_state *s, struct reclaim_run *run,
		    const struct reclaim_stats *done)
{
	spin_lock(&s->runs_lock);
	list_del(&run->node);
	s->stats.runs++;
	s->stats.cache_pages += done->cache_pages;
	s->stats.slab_objects += done->slab_objects;
	s->stats.slab_pages += done->slab_pages;
	s->stats.area_pages += done->area_pages;
	s->stats.useless += !done->cache_pages && !done->slab_objects && !done->slab_pages &&
			    !done->area_pages;
	spin_unlock(&s->runs_lock);
}

/* Shrinkers free objects; slabs that this empties may go at once, and are counted as they do. */
static void shrink_slabs(gfp_t gfp, int priority, struct reclaim_run *run,
			 struct reclaim_stats *done)
{
	run->slabs.reclaimed_slab = 0;
	run->fiber->reclaim_state = &run->slabs;
	done->slab_objects += shrink_slab(gfp, 0, priority);
	run->fiber->reclaim_state = NULL;
	done->slab_pages += run->slabs.reclaimed_slab + kmem_cache_shrink_all();
}

static unsigned long progress_of(const struct reclaim_stats *done)
{
	return done->cache_pages + done->slab_objects + done->slab_pages + done->area_pages;
}

unsigned long try_to_free_pages(gfp_t gfp, unsigned int order, unsigned long nr_pages)
{
	struct reclaim_room_state *s = reclaim_state();
	struct reclaim_stats done = { 0 };
	struct reclaim_run run;
	int priority;

	nr_pages = max3(nr_pages, 1UL << order, SWAP_CLUSTER_MAX);
	if (!run_begin(s, &run))
		return 0;
	done.area_pages = vmalloc_shrink();
	for (priority = DEF_PRIORITY; priority >= 0; priority--) {
		if (progress_of(&done) >= nr_pages)
			break;
		done.cache_pages += page_cache_shrink(nr_pages - min(nr_pages, done.cache_pages));
		shrink_slabs(gfp, priority, &run, &done);
	}
	run_end(s, &run, &done);
	return progress_of(&done);
}

unsigned long drop_caches(void)
{
	struct reclaim_room_state *s = reclaim_state();
	struct reclaim_stats done = { 0 };
	struct reclaim_run run;

	if (!run_begin(s, &run))
		return 0;
	done.area_pages = vmalloc_shrink();
	done.cache_pages = page_cache_shrink(~0UL);
	shrink_slabs(GFP_KERNEL, 0, &run, &done);
	run_end(s, &run, &done);
	return progress_of(&done);
}

struct reclaim_stats reclaim_stats(void)
{
	struct reclaim_room_state *s = reclaim_state();
	struct reclaim_stats stats;

	spin_lock(&s->runs_lock);
	stats = s->stats;
	spin_unlock(&s->runs_lock);
	return stats;
}

static unsigned long make_room(gfp_t gfp, unsigned int order)
{
	return try_to_free_pages(gfp, order, SWAP_CLUSTER_MAX);
}

static int reclaim_init(struct machine *m)
{
	struct reclaim_room_state *s = hostmem_zalloc(NULL, sizeof(*s));

	if (!s)
		return -ENOMEM;
	spin_lock_init_rank(&s->shrinkers_lock, LR_LRU);
	INIT_LIST_HEAD(&s->shrinkers);
	init_waitqueue_head(&s->idle);
	spin_lock_init_rank(&s->runs_lock, LR_LRU);
	INIT_LIST_HEAD(&s->runs);
	s->ops.make_room = make_room;
	machine_set_room(m, ROOM_RECLAIM, s);
	phys_set_reclaim(m, &s->ops);
	return 0;
}

static void reclaim_exit(struct machine *m)
{
	phys_set_reclaim(m, NULL);
	hostmem_free(NULL, machine_room(m, ROOM_RECLAIM));
	machine_set_room(m, ROOM_RECLAIM, NULL);
}

const struct room reclaim_room = {
	.name = "reclaim",
	.id = ROOM_RECLAIM,
	.init = reclaim_init,
	.exit = reclaim_exit,
};
