/* SPDX-License-Identifier: MIT */
/*
 * graph_mark.c - what is reached from holders, what lies on cycles, and so why each object is alive
 *
 * What it is      An exact mark: the field tables name every owning reference, so nothing is
 *                 guessed from bit patterns. A breadth-first walk from everything that somebody
 *                 holds from outside gives each object a shortest owning path. Tarjan's algorithm
 *                 gives the strongly connected components. The two together give the verdict.
 * Invariants      I1  A node that is reached and has no holder has a via edge from a node that is
 *                     one nearer.
 *                 I2  Two nodes have the same cycle number, not 0, exactly when owning edges lead
 *                     from each to the other.
 *                     The same way from a BEHIND object leads to a LOST or CYCLE one, or to one
 *                     whose teardown is not finished.
 *                 I3  Not reached, with a reference that nobody explains or with none at all: LOST.
 *                     Not reached, all explained: CYCLE on a component, BEHIND elsewhere.
 * Worst case      Linear; both walks keep their stacks in arrays, 20 bytes an object.
 */
#include <string.h>

#include "graph_internal.h"

/* Somebody outside holds it. */
static bool is_root(const struct arc_graph *g, const struct arc_graph_node *n)
{
	if (n->state != ARC_LIVE)
		return false;
	if (n->nr_held + n->nr_user_held)
		return true;
	if ((g->flags & ARC_GRAPH_TRUST) && (n->nr_unknown || n->saturated))
		return true;
	/* A small form whose count says nothing, and that no edge claims: its room has it. */
	return !n->arc && n->count == ARC_NONE && !n->nr_in;
}

/* @to is found over edge @via from @from. */
static void step(struct arc_graph *g, unsigned int via, unsigned int from, unsigned int to)
{
	graph_node(g, to)->via = via;
	graph_node(g, to)->root = graph_node(g, from)->root;
	g->depth[to] = g->depth[from] + 1;
	g->head[to] = g->depth[to] <= CHAIN_SHOWN ? to : g->head[from];
}

static void begin(struct arc_graph *g, unsigned int i)
{
	graph_node(g, i)->root = i;
	g->head[i] = i;
}

static void reach(struct arc_graph *g, unsigned int *queue)
{
	unsigned int head = 0, tail = 0, i, last;
	const struct arc_graph_node *n;
	const struct arc_graph_edge *e;
	struct arc_graph_node *to;

	for (i = 0; i < g->nodes.nr; i++) {
		if (!is_root(g, graph_node(g, i)))
			continue;
		graph_node(g, i)->distance = 0;
		begin(g, i);
		queue[tail++] = i;
	}
	while (head < tail) {
		n = graph_node(g, queue[head++]);
		last = n->first_edge + n->nr_edges;
		for (i = n->first_edge; i < last; i++) {
			e = graph_edge(g, i);
			to = graph_node(g, e->to);
			if (!edge_owns(e) || to->distance != ARC_NONE || to->state == ARC_DEAD)
				continue;
			to->distance = n->distance + 1;
			step(g, i, e->from, e->to);
			queue[tail++] = e->to;
		}
	}
}

/* What hangs on lost objects, cycles and unfinished teardowns: by which of them it is kept. */
static void hang(struct arc_graph *g, unsigned int *queue)
{
	unsigned int head = 0, tail = 0, i, last;
	const struct arc_graph_node *n;
	const struct arc_graph_edge *e;
	struct arc_graph_node *to;

	for (i = 0; i < g->nodes.nr; i++) {
		n = graph_node(g, i);
		if (n->verdict == ARC_REACHED || n->verdict == ARC_BEHIND)
			continue;
		begin(g, i);
		queue[tail++] = i;
	}
	while (head < tail) {
		n = graph_node(g, queue[head++]);
		last = n->first_edge + n->nr_edges;
		for (i = n->first_edge; i < last; i++) {
			e = graph_edge(g, i);
			to = graph_node(g, e->to);
			if (!edge_owns(e) || to->verdict != ARC_BEHIND || to->via != ARC_NONE)
				continue;
			step(g, i, e->from, e->to);
			queue[tail++] = e->to;
		}
	}
}

/* Tarjan's walk, its recursion in ->parent. Numbers are from 1; 0 is none yet. */
struct tarjan {
	struct arc_graph *g;
	unsigned int *number, *low, *cursor, *parent, *stack;
	unsigned int nr_stack, last_number, last_component;
};

static void tarjan_enter(struct tarjan *t, unsigned int i, unsigned int parent)
{
	t->number[i] = t->low[i] = ++t->last_number;
	t->cursor[i] = 0;
	t->parent[i] = parent;
	t->stack[t->nr_stack++] = i;
}

/* All edges of @i are seen: is it the first of a component? Returns where the walk goes on. */
static unsigned int tarjan_leave(struct tarjan *t, unsigned int i)
{
	unsigned int parent = t->parent[i], member;

	if (t->low[i] == t->number[i]) {
		t->last_component++;
		do {
			member = t->stack[--t->nr_stack];
			graph_node(t->g, member)->cycle = t->last_component;
		} while (member != i);
	}
	if (parent != ARC_NONE && t->low[i] < t->low[parent])
		t->low[parent] = t->low[i];
	return parent;
}

static void tarjan_walk(struct tarjan *t, unsigned int i)
{
	const struct arc_graph_node *n;
	const struct arc_graph_edge *e;

	tarjan_enter(t, i, ARC_NONE);
	while (i != ARC_NONE) {
		n = graph_node(t->g, i);
		if (t->cursor[i] == n->nr_edges) {
			i = tarjan_leave(t, i);
			continue;
		}
		e = graph_edge(t->g, n->first_edge + t->cursor[i]++);
		if (!edge_owns(e))
			continue;
		if (!t->number[e->to]) {
			tarjan_enter(t, e->to, i);
			i = e->to;
		} else if (!graph_node(t->g, e->to)->cycle && t->number[e->to] < t->low[i]) {
			t->low[i] = t->number[e->to];
		}
	}
}

/*
 * Keep those components that have a cycle, numbered by their oldest node. @is_cyclic and @renamed
 * have one place for each component.
 */
static void keep_cyclic(struct arc_graph *g, unsigned int *is_cyclic, unsigned int *renamed)
{
	struct arc_graph_edge *e;
	struct arc_graph_node *n;
	unsigned int i;

	for (i = 0; i < g->edges.nr; i++) {
		e = graph_edge(g, i);
		n = graph_node(g, e->from);
		e->on_cycle = edge_owns(e) && n->cycle == graph_node(g, e->to)->cycle;
		if (e->on_cycle)
			is_cyclic[n->cycle - 1] = 1;
	}
	for (i = 0; i < g->nodes.nr; i++) {
		n = graph_node(g, i);
		if (is_cyclic[n->cycle - 1] && !renamed[n->cycle - 1])
			renamed[n->cycle - 1] = ++g->nr_components;
		n->cycle = renamed[n->cycle - 1];
	}
}

static enum arc_verdict verdict_of(const struct arc_graph_node *n)
{
	if (n->state != ARC_LIVE)
		return ARC_GONE;
	if (n->distance != ARC_NONE)
		return ARC_REACHED;
	if (n->nr_unknown || n->saturated || !n->nr_in)
		return ARC_LOST;
	return n->cycle ? ARC_CYCLE : ARC_BEHIND;
}

int graph_mark(struct arc_graph *g)
{
	unsigned int nr = g->nodes.nr, i, *room = graph_alloc_array(g->m, 5ul * nr, sizeof(*room));
	struct tarjan t = { .g = g };

	g->depth = graph_alloc_array(g->m, nr, sizeof(*g->depth));
	g->head = graph_alloc_array(g->m, nr, sizeof(*g->head));
	if (!room || !g->depth || !g->head) {	/* the graph itself is freed by the caller */
		graph_release(g->m, room);
		return -ENOMEM;
	}
	reach(g, room);
	t.number = memset(room, 0, nr * sizeof(*room));
	t.low = room + nr;
	t.cursor = room + 2ul * nr;
	t.parent = room + 3ul * nr;
	t.stack = room + 4ul * nr;
	for (i = 0; i < nr; i++)
		if (!t.number[i])
			tarjan_walk(&t, i);
	keep_cyclic(g, memset(room, 0, nr * sizeof(*room)),
		    memset(room + nr, 0, nr * sizeof(*room)));
	for (i = 0; i < nr; i++) {
		struct arc_graph_node *n = graph_node(g, i);

		n->verdict = (u8)verdict_of(n);
		g->nr_verdict[n->verdict]++;
	}
	hang(g, room);
	graph_release(g->m, room);
	return 0;
}

unsigned int arc_graph_path(const struct arc_graph *g, unsigned int i, unsigned int *edges,
			    unsigned int max)
{
	unsigned int length = arc_graph_node(g, i)->distance, at = length, via;

	if (length == ARC_NONE)
		return ARC_NONE;
	while (at > 0) {
		via = graph_node(g, i)->via;
		if (--at < max)
			edges[at] = via;
		i = graph_edge(g, via)->from;
	}
	return length;
}
