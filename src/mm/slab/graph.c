/* SPDX-License-Identifier: MIT */
/*
 * graph.c - slabs in the ownership graph
 *
 * Each slab has one reference, its cache's, which ends when the last of its objects has left it.
 * Large blocks of kmalloc() are whole frames with one reference, the allocation's.
 */
#include <karc/refcount/graph.h>
#include "internal.h"

static void see_list(struct arc_graph_see *see, const struct kmem_cache *cachep,
		     const struct list_head *slabs)
{
	struct page *page;

	list_for_each_entry(page, slabs, slab_list)
		arc_graph_see_root(see, page, "cache %s", cachep->name);
}

static void see_cache(struct arc_graph_see *see, const struct kmem_cache *cachep)
{
	int nid;

	for (nid = 0; nid < MAX_NUMNODES; nid++) {
		const struct kmem_cache_node *n = cachep->node[nid];

		if (!n)
			continue;
		see_list(see, cachep, &n->slabs_full);
		see_list(see, cachep, &n->slabs_partial);
		see_list(see, cachep, &n->slabs_free);
	}
}

static void see_large_blocks(struct machine *m, struct arc_graph_see *see)
{
	struct machine_bank bank;
	unsigned int i;

	for (i = 0; physmem_bank(m, i, &bank); i++) {
		unsigned long pfn = (unsigned long)(bank.start >> PAGE_SHIFT);
		unsigned long end = pfn + (unsigned long)(bank.size >> PAGE_SHIFT);

		while (pfn < end) {
			const struct page *page = pfn_to_page(pfn);

			if (kmalloc_is_large(page))
				arc_graph_see_root(see, page, "kmalloc");
			pfn += PageBuddy(page) ? 1UL << page_private(page) : compound_nr(page);
		}
	}
}

static void slab_visit(struct machine *m, struct arc_graph_see *see)
{
	struct slab_state *state = machine_room(m, ROOM_SLAB);
	struct kmem_cache *cachep;

	list_for_each_entry(cachep, &state->caches, list)
		see_cache(see, cachep);
	see_large_blocks(m, see);
}

const struct arc_graph_source slab_graph_source = {
	.name = "slab",
	.ops = { .visit = slab_visit },
};
