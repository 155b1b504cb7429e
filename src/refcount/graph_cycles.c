/* SPDX-License-Identifier: MIT */
/*
 * graph_cycles.c - the cycles of a graph, as few and as short as tell everything
 *
 * What it is      A component of n objects may have exponentially many cycles. Reported are its
 *                 shortest one, which is mostly the programming error itself, and then one for
 *                 each back edge of a depth-first walk: who breaks those edges has no cycle left.
 * Objects         members: the nodes of all components, grouped, oldest first
 *                 room: arrays with one place for each node, shared by the walks
 * Invariants      I1  Every edge looked at joins two members of one component (edge.on_cycle).
 *                 I2  Back edges do not depend on anything but the order of nodes and edges.
 * Worst case      Depth-first walk: linear. Shortest: a breadth-first walk from each member while
 *                 members times edges is at most ARC_CYCLE_EXACT, else one walk from the oldest.
 *                 Lines: ARC_CYCLES_SHOWN for a component, each at most its size.
 */
#include <string.h>

#include "graph_internal.h"

#define TEXT_BYTES	2048u

enum { WHITE, GREY, BLACK };

struct finder {
	const struct arc_graph *g;
	void (*fn)(void *arg, const struct arc_graph_cycle *cycle);
	void *arg;
	char *text;
	unsigned int *members, *first;	/* of component c: members[first[c - 1] .. first[c]) */
	unsigned int *colour, *cursor;	/* depth-first */
	unsigned int *via;		/* the edge that led to a node, in either walk */
	unsigned int *queue, *distance;	/* distance: 0 not seen, else 1 + edges from the start */
	unsigned int *best, *found;	/* edges of a cycle */
	unsigned int *best_from;	/* by node: 1 + the edge of the shortest cycle, 0: none */
	unsigned int nr_best;
	unsigned int nr_members, component, nr_shown;
	bool best_seen;			/* by the depth-first walk */
	long nr;
};

static void report(struct finder *f, const unsigned int *edges, unsigned int nr, bool shortest)
{
	struct arc_graph_cycle cycle = {
		.component = f->component,
		.nr_objects = f->first[f->component] - f->first[f->component - 1],
		.edges = edges, .nr = nr, .shortest = shortest, .text = f->text,
	};
	struct graph_chain chain = { .nr = nr };
	struct graph_line line;
	unsigned int i;

	f->nr_shown++;
	for (i = 0; i < nr; i++)
		chain_put(&chain, i, edges[i]);
	line_start(&line, f->text, TEXT_BYTES);
	chain_text(f->g, &chain, &line);
	line_end(&line);
	f->fn(f->arg, &cycle);
}

/* The cycle that edge @last closes: back along ->via from its owner to its target. */
static unsigned int trace(const struct finder *f, unsigned int last, unsigned int *edges)
{
	unsigned int nr = 1, i, node, start = graph_edge(f->g, last)->to;

	for (node = graph_edge(f->g, last)->from; node != start; nr++)
		node = graph_edge(f->g, f->via[node])->from;
	edges[nr - 1] = last;
	for (i = nr - 1, node = graph_edge(f->g, last)->from; node != start; ) {
		edges[--i] = f->via[node];
		node = graph_edge(f->g, f->via[node])->from;
	}
	return nr;
}

/*
 * The edge that closes a shortest cycle through @start of at most @limit edges; ARC_NONE if there
 * is none. *@nr_seen is set to the number of nodes in the queue, to be forgotten by the caller.
 */
static unsigned int closing_edge(struct finder *f, unsigned int start, unsigned int limit,
				 unsigned int *nr_seen)
{
	unsigned int head = 0, tail = 0, i, node;
	const struct arc_graph_node *n;
	const struct arc_graph_edge *e;

	f->queue[tail++] = start;
	f->distance[start] = 1;
	*nr_seen = tail;
	while (head < tail) {
		node = f->queue[head++];
		n = graph_node(f->g, node);
		if (f->distance[node] > limit)
			break;
		for (i = n->first_edge; i < n->first_edge + n->nr_edges; i++) {
			e = graph_edge(f->g, i);
			if (!e->on_cycle)
				continue;
			if (e->to == start)
				return i;
			if (f->distance[e->to])
				continue;
			f->distance[e->to] = f->distance[node] + 1;
			f->via[e->to] = i;
			f->queue[tail++] = e->to;
			*nr_seen = tail;
		}
	}
	return ARC_NONE;
}

/* Is it shorter than what we have? Then it is the best. */
static void try_start(struct finder *f, unsigned int start)
{
	unsigned int limit = f->nr_best ? f->nr_best - 1 : ARC_NONE, nr_seen, i, last;

	last = closing_edge(f, start, limit, &nr_seen);
	if (last != ARC_NONE)
		f->nr_best = trace(f, last, f->best);
	for (i = 0; i < nr_seen; i++)
		f->distance[f->queue[i]] = 0;
}

static void find_shortest(struct finder *f)
{
	unsigned int from = f->first[f->component - 1], to = f->first[f->component], i, j;
	const struct arc_graph_node *n;
	u64 nr_edges = 0;

	for (i = from; i < to; i++) {
		n = graph_node(f->g, f->members[i]);
		for (j = n->first_edge; j < n->first_edge + n->nr_edges; j++)
			nr_edges += graph_edge(f->g, j)->on_cycle;
	}
	if ((to - from) * nr_edges > ARC_CYCLE_EXACT)
		to = from + 1;
	f->nr_best = 0;
	for (i = from; i < to && f->nr_best != 1; i++)
		try_start(f, f->members[i]);
	for (i = 0; i < f->nr_best; i++)
		f->best_from[graph_edge(f->g, f->best[i])->from] = f->best[i] + 1;
}

/* Is the cycle that @last closes the shortest one, which is reported already? */
static bool is_best(const struct finder *f, unsigned int last)
{
	unsigned int node = graph_edge(f->g, last)->from, start = graph_edge(f->g, last)->to;

	if (f->distance[node] - f->distance[start] + 1 != f->nr_best ||
	    f->best_from[node] != last + 1)
		return false;
	for (; node != start; node = graph_edge(f->g, f->via[node])->from)
		if (f->best_from[graph_edge(f->g, f->via[node])->from] != f->via[node] + 1)
			return false;
	return true;
}

static void back_edge(struct finder *f, unsigned int edge)
{
	if (!f->best_seen && is_best(f, edge)) {
		f->best_seen = true;
		return;
	}
	f->nr++;
	if (f->fn && f->nr_shown < ARC_CYCLES_SHOWN)
		report(f, f->found, trace(f, edge, f->found), false);
}

static void find_back_edges(struct finder *f, unsigned int start)
{
	unsigned int node = start, edge, to;
	const struct arc_graph_node *n;

	f->colour[start] = GREY;
	f->via[start] = ARC_NONE;
	f->distance[start] = 1;
	while (node != ARC_NONE) {
		n = graph_node(f->g, node);
		if (f->cursor[node] == n->nr_edges) {
			f->colour[node] = BLACK;
			node = f->via[node] == ARC_NONE ? ARC_NONE :
			       graph_edge(f->g, f->via[node])->from;
			continue;
		}
		edge = n->first_edge + f->cursor[node]++;
		to = graph_edge(f->g, edge)->to;
		if (!graph_edge(f->g, edge)->on_cycle || f->colour[to] == BLACK)
			continue;
		if (f->colour[to] == GREY) {
			back_edge(f, edge);
			continue;
		}
		f->colour[to] = GREY;
		f->via[to] = edge;
		f->distance[to] = f->distance[node] + 1;
		node = to;
	}
}

/* Members by component, each in order of age. */
static void group_members(struct finder *f)
{
	const struct arc_graph *g = f->g;
	unsigned int i, c;

	for (i = 0; i < g->nodes.nr; i++)
		if (graph_node(g, i)->cycle)
			f->first[graph_node(g, i)->cycle]++;
	for (c = 1; c <= g->nr_components; c++)
		f->first[c] += f->first[c - 1];
	for (i = g->nodes.nr; i-- > 0; )	/* fills each from its end; first[] moves to begins */
		if (graph_node(g, i)->cycle)
			f->members[--f->first[graph_node(g, i)->cycle]] = i;
	for (c = 1; c <= g->nr_components; c++)
		f->first[c - 1] = f->first[c];
	f->first[g->nr_components] = f->nr_members;
}

static void find_all(struct finder *f)
{
	for (f->component = 1; f->component <= f->g->nr_components; f->component++) {
		f->nr_shown = 0;
		f->best_seen = false;
		find_shortest(f);
		f->nr++;
		if (f->fn)
			report(f, f->best, f->nr_best, true);
		find_back_edges(f, f->members[f->first[f->component - 1]]);
	}
}

static int finder_start(struct finder *f, const struct arc_graph *g)
{
	size_t nr = g->nodes.nr + 1ul;
	unsigned int *room = graph_alloc_array(g->m, 10 * nr, sizeof(*room)), i;

	f->g = g;
	f->text = graph_alloc(g->m, TEXT_BYTES);
	if (!room || !f->text) {
		graph_release(g->m, room);
		graph_release(g->m, f->text);
		return -ENOMEM;
	}
	f->members = room;
	f->first = room + nr;
	f->colour = room + 2 * nr;
	f->cursor = room + 3 * nr;
	f->via = room + 4 * nr;
	f->queue = room + 5 * nr;
	f->distance = room + 6 * nr;
	f->best = room + 7 * nr;
	f->found = room + 8 * nr;
	f->best_from = room + 9 * nr;
	for (i = 0; i < g->nodes.nr; i++)
		f->nr_members += graph_node(g, i)->cycle != 0;
	group_members(f);
	return 0;
}

static void finder_end(struct finder *f)
{
	graph_release(f->g->m, f->members);
	graph_release(f->g->m, f->text);
}

long arc_graph_cycles(const struct arc_graph *g,
		      void (*fn)(void *arg, const struct arc_graph_cycle *cycle), void *arg)
{
	struct finder f = { .fn = fn, .arg = arg };

	if (!g->nr_components)
		return 0;
	if (finder_start(&f, g))
		return -ENOMEM;
	find_all(&f);
	finder_end(&f);
	return f.nr;
}

long arc_graph_cycle_text(const struct arc_graph *g, unsigned int i, char *buf, size_t size)
{
	struct graph_chain chain;
	struct finder f = { .g = g };
	struct graph_line line;
	unsigned int at;

	if (!size)
		return 0;
	line_start(&line, buf, size);
	if (!arc_graph_node(g, i)->cycle)
		return 0;
	if (finder_start(&f, g))
		return -ENOMEM;
	try_start(&f, i);
	chain.nr = f.nr_best;
	for (at = 0; at < chain.nr; at++)
		chain_put(&chain, at, f.best[at]);
	chain_text(g, &chain, &line);
	finder_end(&f);
	return (long)line_end(&line);
}
