/* SPDX-License-Identifier: MIT */
/*
 * graph.c - the page cache in the ownership graph: an inode owns each of its pages
 */
#include <karc/refcount/graph.h>
#include "internal.h"

static void cache_visit(struct machine *m, struct arc_graph_see *see)
{
	struct cache_room_state *s = machine_room(m, ROOM_CACHE);
	struct inode *inode;
	unsigned long index;
	struct page *page;

	list_for_each_entry(inode, &s->inodes, i_list)
		xa_for_each(&inode->i_data.i_pages, index, page)
			arc_graph_see_edge(see, &inode->arc, page, ARC_EDGE_STRONG, "i_pages",
					   (unsigned int)index);
}

const struct arc_graph_source cache_graph_source = {
	.name = "cache",
	.ops = { .visit = cache_visit },
};
