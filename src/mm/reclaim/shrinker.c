/* SPDX-License-Identifier: MIT */
/*
 * shrinker.c - asking caches to give memory back
 *
 * What it is
 *	Whoever keeps objects only because they might be wanted again registers a shrinker. Under
 *	pressure each is asked how much it has and then to free a share of it, the larger the more
 *	urgent the need.
 *
 * Objects
 *	The shrinker belongs to its owner from register to unregister; the list holds nothing.
 *	in_use counts callbacks that run now; unregister waits for them.
 *
 * Invariants
 *	I1 a shrinker with in_use > 0 is on the list
 *
 * Locking
 *	list, in_use: shrinkers_lock, dropped around callbacks; nr_deferred: atomic. The walk finds its way
 *	back because its current shrinker cannot leave the list while in_use.
 *
 * Worst case
 *	Each shrinker once; one callback frees at most twice what it counted, in batches.
 *
 * Unlike Linux
 *	No memory control groups and no NUMA-aware calls (nid is passed through). A counted walk
 *	replaces the rwsem, so that registering does not wait for reclaim.
 */
#include <karc/base/bug.h>
#include <karc/base/math.h>
#include <karc/hw/wait.h>
#include <karc/refcount/ledger.h>
#include "internal.h"

#define SHRINK_BATCH	128
#define LEDGER_KIND	"shrinker"

int register_shrinker_site(struct shrinker *shrinker, const char *name, const struct site *site)
{
	struct reclaim_room_state *s = reclaim_state();

	BUG_ON(!shrinker->count_objects || !shrinker->scan_objects);
	BUG_ON(shrinker->site);
	shrinker->name = name;
	shrinker->site = site;
	shrinker->nr_deferred = 0;
	shrinker->in_use = 0;
	ledger_add(LEDGER_KIND, site, sizeof(*shrinker));
	spin_lock(&s->shrinkers_lock);
	list_add_tail(&shrinker->list, &s->shrinkers);
	spin_unlock(&s->shrinkers_lock);
	return 0;
}

/* Off the list when nobody is inside. */
static bool try_unlink(struct reclaim_room_state *s, struct shrinker *shrinker)
{
	bool ok;

	spin_lock(&s->shrinkers_lock);
	ok = !shrinker->in_use;
	if (ok)
		list_del(&shrinker->list);
	spin_unlock(&s->shrinkers_lock);
	return ok;
}

void unregister_shrinker(struct shrinker *shrinker)
{
	struct reclaim_room_state *s = reclaim_state();

	if (!shrinker->site)
		return;
	might_sleep();
	wait_event(s->idle, try_unlink(s, shrinker));
	ledger_sub(LEDGER_KIND, shrinker->site, sizeof(*shrinker));
	shrinker->site = NULL;
}

/* How many objects a pass at @priority should look at, for what they cost to make again. */
static unsigned long scan_share(const struct shrinker *shrinker, unsigned long freeable,
				int priority)
{
	if (!shrinker->seeks)
		return freeable / 2;
	return (freeable >> priority) * 4 / (unsigned int)shrinker->seeks;
}

static unsigned long do_shrink(struct shrinker *shrinker, struct shrink_control *sc, int priority)
{
	unsigned long batch = shrinker->batch ? (unsigned long)shrinker->batch : SHRINK_BATCH;
	unsigned long freeable = shrinker->count_objects(shrinker, sc);
	unsigned long freed = 0, share, total, scanned = 0, deferred;

	if (freeable == 0 || freeable == SHRINK_EMPTY)
		return 0;
	/* Taken whole: another CPU that shrinks the same has none of it to do. */
	deferred = __atomic_exchange_n(&shrinker->nr_deferred, 0, __ATOMIC_RELAXED);
	share = scan_share(shrinker, freeable, priority);
	total = min((deferred >> priority) + share, 2 * freeable);
	while (total && (total >= batch || total >= freeable)) {
		unsigned long got;

		sc->nr_to_scan = min(batch, total);
		sc->nr_scanned = sc->nr_to_scan;
		got = shrinker->scan_objects(shrinker, sc);
		if (got == SHRINK_STOP)
			break;
		freed += got;
		scanned += sc->nr_scanned;
		total -= min(total, max(sc->nr_scanned, 1UL));
	}
	/* What was too little for a batch, or was refused, counts next time. */
	share += deferred;
	__atomic_fetch_add(&shrinker->nr_deferred, min(share - min(share, scanned), 2 * freeable),
			   __ATOMIC_RELAXED);
	return freed;
}

unsigned long shrink_slab(gfp_t gfp, int nid, int priority)
{
	struct reclaim_room_state *s = reclaim_state();
	struct shrinker *shrinker;
	unsigned long freed = 0;
	bool wake;

	spin_lock(&s->shrinkers_lock);
	list_for_each_entry(shrinker, &s->shrinkers, list) {
		struct shrink_control sc = { .gfp_mask = gfp, .nid = nid };

		shrinker->in_use++;
		spin_unlock(&s->shrinkers_lock);
		freed += do_shrink(shrinker, &sc, priority);
		spin_lock(&s->shrinkers_lock);
		wake = --shrinker->in_use == 0;
		if (wake && wq_has_sleeper(&s->idle))
			wake_up_all(&s->idle);
	}
	spin_unlock(&s->shrinkers_lock);
	return freed;
}
