/* SPDX-License-Identifier: MIT */
/*
 * graph_holders.c - who holds what from outside, and which references that leaves unexplained
 *
 * What it is      Each count is taken apart: edges explain it first, then what was registered and
 *                 what the machine itself holds, then records of holders, and the rest is unknown.
 *                 The order matters: records of tasks (machine_config.holders) may be stale, since
 *                 nothing tells them that a reference was stored where a field table shows it.
 * Invariants      I1  Records of an object never explain more than its count leaves.
 *                 I2  What a task that ended forgot is named, but explains nothing.
 * Worst case      Linear in objects, holders and records.
 */
#include <karc/base/math.h>
#include <karc/refcount/holder.h>
#include <string.h>

#include "graph_internal.h"
#include "track.h"

/* ---- holders ---- */

static struct arc_graph_holder *add_holder(struct arc_graph_see *see, unsigned int node,
					   enum arc_holder_kind kind, const char *name,
					   const struct site *site)
{
	struct arc_graph *g = see->g;
	struct arc_graph_holder *h = see->failed ? NULL : graph_vec_add(g->m, &g->holders);

	if (!h) {
		see->failed = true;
		return NULL;
	}
	h->node = node;
	h->kind = kind;
	h->name = name ? name : "";
	h->site = site;
	h->nr = 1;
	return h;
}

static void set_kind(struct arc_graph_holder *h, enum arc_edge_kind kind)
{
	if (h) {
		h->weak = kind == ARC_EDGE_WEAK;
		h->user = kind == ARC_EDGE_USER;
	}
}

/* Same reference again as the one before? Then it only counts. */
static bool repeats(const struct arc_graph *g, unsigned int node, const char *name,
		    const struct track_hold *hold)
{
	struct arc_graph_holder *h;

	if (!g->holders.nr)
		return false;
	h = graph_holder(g, g->holders.nr - 1);
	if (h->node != node || h->site != hold->site || h->weak != (hold->kind == ARC_EDGE_WEAK) ||
	    h->user != (hold->kind == ARC_EDGE_USER) || strcmp(h->name, name))
		return false;
	h->nr++;
	return true;
}

static void add_held(struct arc_graph_see *see, unsigned int node, const struct track_node *t)
{
	struct arc_graph_holder *h;
	const struct track_hold *hold;
	int kind;

	for (hold = t->holds; hold; hold = hold->next)
		if (!repeats(see->g, node, hold->name ? hold->name : "", hold))
			set_kind(add_holder(see, node, ARC_HOLDER_ROOT,
					    hold->name ? graph_keep_text(see, hold->name) : "",
					    hold->site), hold->kind);
	for (kind = 0; kind <= ARC_EDGE_USER; kind++) {
		if (!t->nr_bare[kind])
			continue;
		h = add_holder(see, node, ARC_HOLDER_ROOT, "", NULL);
		set_kind(h, (enum arc_edge_kind)kind);
		if (h)
			h->nr = t->nr_bare[kind];
	}
}

static void add_holders(struct arc_graph_see *see, struct track *t)
{
	const struct seen_root *root;
	struct track_node *n;
	unsigned int i = 0, node;

	if (t)
		list_for_each_entry(n, &t->nodes, node)
			add_held(see, i++, n);
	for (i = 0; i < see->roots.nr; i++) {
		root = &((struct seen_root *)see->roots.items)[i];
		node = arc_graph_find(see->g, root->to);
		if (node != ARC_NONE)
			add_holder(see, node, ARC_HOLDER_MACHINE, root->name, NULL);
	}
}

/* ---- counts ---- */

/* What of @have is explained by nothing. */
static unsigned int beyond(unsigned int have, u64 explained)
{
	return have != ARC_NONE && have > explained ? (unsigned int)(have - explained) : 0;
}

/* References (or users) of @n that edges and the holders seen so far leave unexplained. */
static unsigned int unexplained(const struct arc_graph_node *n, bool user)
{
	if (n->saturated)
		return 0;
	if (user)
		return beyond(n->users, (u64)n->nr_user_in + n->nr_user_held);
	return beyond(n->count, (u64)n->nr_in + n->nr_held);
}

/* One tier: users are strong references. */
static bool is_user(const struct arc_graph_node *n, bool user)
{
	return user && n->users != ARC_NONE;
}

static void count_edges(struct arc_graph *g)
{
	const struct arc_graph_edge *e;
	struct arc_graph_node *n;
	unsigned int i;

	for (i = 0; i < g->edges.nr; i++) {
		e = graph_edge(g, i);
		n = graph_node(g, e->to);
		if (e->kind == ARC_EDGE_WEAK)
			n->nr_weak_in++;
		else if (is_user(n, e->kind == ARC_EDGE_USER))
			n->nr_user_in++;
		else
			n->nr_in++;
	}
	for (i = 0; i < g->nodes.nr; i++) {	/* one that all users share */
		n = graph_node(g, i);
		n->nr_in += n->users != ARC_NONE && n->users > 0;
	}
}

static void count_holder(struct arc_graph *g, const struct arc_graph_holder *h)
{
	struct arc_graph_node *n = graph_node(g, h->node);

	if (h->weak)
		n->nr_weak_held += h->nr;
	else if (is_user(n, h->user))
		n->nr_user_held += h->nr;
	else
		n->nr_held += h->nr;
}

/* From holder @i on; what the ended forgot is held by nobody. */
static void count_holders(struct arc_graph *g, unsigned int i)
{
	for (; i < g->holders.nr; i++)
		if (graph_holder(g, i)->kind != ARC_HOLDER_GONE)
			count_holder(g, graph_holder(g, i));
}

/* ---- what is recorded of holders ---- */

/*
 * A record may be stale: nobody told it that the reference was stored in a field. So the latest
 * records of an object explain what is left to explain, and the older ones are skipped; those of
 * roots come before those of tasks.
 */
struct seen_records {
	struct arc_graph_see *see;
	bool roots;			/* this time; else tasks */
	unsigned int *nr[2];		/* by node: strong, user; first all records, then to skip */
};

static bool is_wanted(const struct seen_records *r, const struct holder *h)
{
	if (r->roots)
		return h->kind == HOLDER_ROOT;
	return h->kind == HOLDER_TASK || h->kind == HOLDER_SOFTIRQ ||
	       h->kind == HOLDER_HARDIRQ || h->kind == HOLDER_GONE;
}

static void count_record(void *arg, const struct holder *h)
{
	struct seen_records *r = arg;
	unsigned int node = arc_graph_find(r->see->g, h->arc);

	if (is_wanted(r, h) && node != ARC_NONE)
		r->nr[is_user(graph_node(r->see->g, node), h->user)][node]++;
}

static enum arc_holder_kind kind_of(const struct holder *h)
{
	return h->kind == HOLDER_ROOT ? ARC_HOLDER_MACHINE :
	       h->kind == HOLDER_GONE ? ARC_HOLDER_GONE : ARC_HOLDER_TASK;
}

static void add_record(void *arg, const struct holder *h)
{
	struct seen_records *r = arg;
	struct arc_graph *g = r->see->g;
	unsigned int node = arc_graph_find(g, h->arc);
	struct arc_graph_holder *to;
	char name[LABEL_BYTES];
	bool user;

	if (!is_wanted(r, h) || node == ARC_NONE)
		return;
	user = is_user(graph_node(g, node), h->user);
	if (r->nr[user][node]) {
		r->nr[user][node]--;
		return;
	}
	holder_text(h, name, sizeof(name));
	to = add_holder(r->see, node, kind_of(h), graph_keep_text(r->see, name), h->site);
	if (!to)
		return;
	to->user = user;
	to->nr_stack = min(h->nr_stack, (unsigned int)ARC_HOLDER_STACK);
	memcpy(to->stack, h->stack, to->nr_stack * sizeof(to->stack[0]));
}

/*
 * From how many there are to how many of them are too many. A root's record and what a source or
 * arc_hold() says of that root are the same reference: only the records beyond those are news.
 */
static void set_surplus(const struct seen_records *r, bool user)
{
	const struct arc_graph *g = r->see->g;
	const struct arc_graph_node *n;
	unsigned int i, known, wanted, *nr = r->nr[user];

	for (i = 0; i < g->nodes.nr; i++) {
		n = graph_node(g, i);
		known = !r->roots ? 0 : user ? n->nr_user_held : n->nr_held;
		wanted = n->saturated ? 0 : unexplained(n, user);
		nr[i] -= min(wanted, nr[i] > known ? nr[i] - known : 0);
	}
}

static void add_records(struct arc_graph_see *see, struct machine *m, bool roots)
{
	struct arc_graph *g = see->g;
	struct seen_records r = { .see = see, .roots = roots };
	unsigned int *room, first = g->holders.nr;

	if (!refcount_state(m)->holders || see->failed)
		return;
	room = graph_alloc_array(m, 2ul * g->nodes.nr, sizeof(*room));
	if (!room) {
		see->failed = true;
		return;
	}
	r.nr[0] = room;
	r.nr[1] = room + g->nodes.nr;
	holder_for_each_of(m, count_record, &r);
	set_surplus(&r, false);
	set_surplus(&r, true);
	holder_for_each_of(m, add_record, &r);
	graph_release(m, room);
	count_holders(g, first);
}

static void count_unknown(struct arc_graph *g)
{
	struct arc_graph_node *n;
	unsigned int i;

	for (i = 0; i < g->nodes.nr; i++) {
		n = graph_node(g, i);
		n->nr_unknown = unexplained(n, false) + unexplained(n, true);
	}
}

void graph_add_holders(struct arc_graph_see *see, struct track *t)
{
	count_edges(see->g);
	add_holders(see, t);
	count_holders(see->g, 0);
	add_records(see, see->g->m, true);
	add_records(see, see->g->m, false);
	count_unknown(see->g);
}
