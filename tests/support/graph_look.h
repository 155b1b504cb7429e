/* SPDX-License-Identifier: MIT */
/*
 * graph_look.h - questions that tests of graph sources ask the ownership graph
 */
#ifndef KARC_TESTS_GRAPH_LOOK_H
#define KARC_TESTS_GRAPH_LOOK_H

#include "fixture.h"

#include <karc/refcount/graph.h>
#include <string.h>

/* The graph of the running test's machine; to be freed. */
static inline struct arc_graph *look(void)
{
	struct arc_graph *g = arc_graph_take(fixture_machine(), 0);

	assert_non_null(g);
	return g;
}

static inline const struct arc_graph_node *look_node(const struct arc_graph *g, const void *key)
{
	unsigned int i = arc_graph_find(g, key);

	assert_true(i != ARC_NONE);
	return arc_graph_node(g, i);
}

/* Number of references of @kind from one object's @field[@index] to another. */
static inline unsigned int look_edges(const struct arc_graph *g, const void *from, const void *to,
				      enum arc_edge_kind kind, const char *field,
				      unsigned int index)
{
	const struct arc_graph_node *n = look_node(g, from);
	unsigned int target = arc_graph_find(g, to), nr = 0, i;

	for (i = n->first_edge; i < n->first_edge + n->nr_edges; i++) {
		const struct arc_graph_edge *e = arc_graph_edge(g, i);

		nr += e->to == target && e->kind == kind && e->index == index &&
		      !strcmp(e->field, field);
	}
	return nr;
}

/* Number of references that the machine itself has under this name. */
static inline unsigned int look_roots(const struct arc_graph *g, const void *key,
				      const char *name)
{
	const struct arc_graph_node *n = look_node(g, key);
	unsigned int nr = 0, i;

	for (i = n->first_holder; i < n->first_holder + n->nr_holders; i++) {
		const struct arc_graph_holder *h = arc_graph_holder(g, i);

		if (h->kind == ARC_HOLDER_MACHINE && !strcmp(h->name, name))
			nr += h->nr;
	}
	return nr;
}

#endif
