/* SPDX-License-Identifier: MIT */
/*
 * shrinker.h - caches that can give memory back when asked
 */
#ifndef KARC_MM_RECLAIM_SHRINKER_H
#define KARC_MM_RECLAIM_SHRINKER_H

#include <karc/base/contract.h>
#include <karc/base/list.h>
#include <karc/base/site.h>
#include <karc/mm/gfp.h>

struct shrinker;

/* One request: what the caller can bear, how much to look at; the answer in @nr_scanned. */
struct shrink_control {
	gfp_t gfp_mask;
	int nid;
	unsigned long nr_to_scan;
	unsigned long nr_scanned;
};

#define SHRINK_STOP	(~0UL)		/* scan: no progress is possible now */
#define SHRINK_EMPTY	(~0UL - 1)	/* count: nothing to free */
#define DEFAULT_SEEKS	2

/**
 * struct shrinker - one cache; memory from its owner, registered between the two calls
 * @count_objects: how many objects could be freed
 * @scan_objects:  free up to sc->nr_to_scan, return how many went, or SHRINK_STOP
 * @seeks:         cost of making an object again; 0: cheap
 * @batch:         how many to ask for at once, 0: 128
 */
struct shrinker {
	unsigned long (*count_objects)(struct shrinker *shrinker, struct shrink_control *sc);
	unsigned long (*scan_objects)(struct shrinker *shrinker, struct shrink_control *sc);
	long batch;
	int seeks;
	unsigned int flags;
	/* the room's */
	struct list_head list;
	const struct site *site;
	const char *name;
	unsigned long nr_deferred;
	unsigned int in_use;
};

/**
 * register_shrinker - ask this cache too when memory is short
 * @name: for reports; must stay valid (Linux formats it)
 * Errors: none so far: 0. Registering twice is a BUG.
 */
KARC_MUST_CHECK int register_shrinker_site(struct shrinker *shrinker, const char *name,
					   const struct site *site);
#define register_shrinker(shrinker, name) register_shrinker_site(shrinker, name, SITE())

/* No callback runs any more when this returns. May sleep. Not registered: does nothing. */
void unregister_shrinker(struct shrinker *shrinker);

/**
 * shrink_slab - ask every shrinker for a share of what it holds
 * @priority: the share is count >> @priority: 12 is gentle, 0 asks for everything
 * Returns:   objects freed. Context: may sleep, callbacks may allocate only as @gfp allows.
 */
unsigned long shrink_slab(gfp_t gfp, int nid, int priority);

#endif
