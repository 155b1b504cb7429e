/* SPDX-License-Identifier: MIT */
/*
 * slabinfo.c - what the caches hold and have done, as Linux's /proc/slabinfo says it
 *
 * Counts of slabs and objects are exact while nobody allocates. Those of globalstat are kept where
 * objects move between arrays and slabs; cpustat's come from the arrays (array.c). Columns and
 * widths are those of a Linux kernel whose SLAB keeps statistics.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static void sum_node(struct slabinfo *info, const struct kmem_cache *cachep,
		     const struct kmem_cache_node *n)
{
	const struct slab_node_stats *s = &n->stats;

	info->num_slabs += READ_ONCE(n->total_slabs);
	info->active_slabs += READ_ONCE(n->total_slabs) - READ_ONCE(n->free_slabs);
	info->active_objs += node_num_active(cachep, n);
	info->shared_avail += shared_avail(n);
	info->list_allocs += READ_ONCE(s->allocated);
	info->grown += READ_ONCE(s->grown);
	info->reaped += READ_ONCE(s->reaped);
	info->max_freeable += READ_ONCE(s->max_freeable);
	info->node_allocs += READ_ONCE(s->node_allocs);
	info->node_frees += READ_ONCE(s->remote_frees);
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		const struct alien_cache *alien = smp_load_acquire(&n->alien[nid]);

		if (!alien)
			continue;
		info->node_frees += READ_ONCE(alien->nr_frees);
		info->alien_overflows += READ_ONCE(alien->nr_overflows);
	}
}

void get_slabinfo(struct kmem_cache *cachep, struct slabinfo *info)
{
	memset(info, 0, sizeof(*info));
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cachep->node[nid])
			sum_node(info, cachep, cachep->node[nid]);
	}
	info->num_objs = info->num_slabs * cachep->num;
	info->objects_per_slab = cachep->num;
	info->object_bytes = cachep->size;
	info->cache_order = cachep->gfporder;
	info->limit = cachep->limit;
	info->batchcount = cachep->batchcount;
	info->shared = cachep->shared;
	info->max_objs = READ_ONCE(cachep->high_mark);
	info->errors = READ_ONCE(cachep->nr_errors);
	array_stats(cachep, &info->cpu);
}

static void show_cache(FILE *out, struct kmem_cache *cachep)
{
	struct slabinfo s;

	get_slabinfo(cachep, &s);
	fprintf(out, "%-17s %6lu %6lu %6u %4u %4d", cachep->name, s.active_objs, s.num_objs,
		s.object_bytes, s.objects_per_slab, 1 << s.cache_order);
	fprintf(out, " : tunables %4u %4u %4u", s.limit, s.batchcount, s.shared);
	fprintf(out, " : slabdata %6lu %6lu %6lu", s.active_slabs, s.num_slabs, s.shared_avail);
	fprintf(out, " : globalstat %7lu %6lu %5lu %4lu %4lu %4lu %4lu %4lu %4lu", s.list_allocs,
		s.max_objs, s.grown, s.reaped, s.errors, s.max_freeable, s.node_allocs,
		s.node_frees, s.alien_overflows);
	fprintf(out, " : cpustat %6lu %6lu %6lu %6lu\n", s.cpu.allochit, s.cpu.allocmiss,
		s.cpu.freehit, s.cpu.freemiss);
}

void slabinfo_show(FILE *out)
{
	struct slab_state *state = slab_here();
	struct kmem_cache *cachep;

	fputs("slabinfo - version: 2.1 (statistics)\n"
	      "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
	      " : tunables <limit> <batchcount> <sharedfactor>"
	      " : slabdata <active_slabs> <num_slabs> <sharedavail>"
	      " : globalstat <listallocs> <maxobjs> <grown> <reaped> <error> <maxfreeable>"
	      " <nodeallocs> <remotefrees> <alienoverflow>"
	      " : cpustat <allochit> <allocmiss> <freehit> <freemiss>\n", out);
	mutex_lock(&state->slab_mutex);
	list_for_each_entry_reverse(cachep, &state->caches, list)
		show_cache(out, cachep);
	mutex_unlock(&state->slab_mutex);
}
