/* SPDX-License-Identifier: MIT */
/*
 * audit.c - every count against what is known to count
 *
 * What it is      At a quiet point each strong count must equal the edges that lead in plus the
 *                 holders outside, and so for weak counts and users. A cycle of owning edges never
 *                 goes away by itself. All of it is read off one graph (graph.c); only the check
 *                 that every machine_check() runs does without one: it may allocate nothing.
 * Invariants      I2  A LIVE object has a strong count that is not zero and not less than its
 *                     in-edges plus registered holders, unless it is saturated.
 *                 I3  A DEAD object has no strong reference.
 * Locking         wants a quiet point and takes no lock while it walks
 * Worst case      Linear in objects plus edges; iterative; memory from the host.
 * Unlike Linux    Nothing like it there.
 */
#include <karc/base/bug.h>
#include <karc/refcount/audit.h>
#include <stdio.h>

#include "graph_internal.h"
#include "track.h"

/* ---- machine_check(): without allocation ---- */

static void count_edge(void *arg, const struct arc_field *f, unsigned int index,
		       enum arc_edge_kind kind, struct arc *child)
{
	struct track_node *to = kind == ARC_EDGE_STRONG ? track_find(arg, child) : NULL;

	(void)f;
	(void)index;
	if (to)
		to->nr_in++;
}

static void check_node(const struct track_node *n, struct check_report *report)
{
	const struct arc *arc = n->arc;
	const struct arc_type *type = arc->type;
	unsigned int count = arc_count(arc), held = track_nr_held(n, ARC_EDGE_STRONG);
	const char *what = NULL;

	if (arc->state == ARC_LIVE && count < n->nr_in + held)
		what = "I2: arc";
	if (arc->state == ARC_LIVE && !count)
		what = "I2: live arc without a reference";
	if (arc->state == ARC_DEAD && count)
		what = "I3: dead arc";
	if (what)
		check_fail(report, "%s: %s from %s:%u: count %u, %u in-edges, %u holders", what,
			   type->name, arc->site ? arc->site->file : "?",
			   arc->site ? arc->site->line : 0, count, n->nr_in, held);
	if (arc->state == ARC_LIVE && type->ops.check)
		type->ops.check(arc_object(n->arc), report);
}

void track_check(struct track *t, struct check_report *report)
{
	struct track_node *n;

	list_for_each_entry(n, &t->nodes, node)
		n->nr_in = 0;
	list_for_each_entry(n, &t->nodes, node)
		fields_walk(n->arc, count_edge, t);
	list_for_each_entry(n, &t->nodes, node)
		check_node(n, report);
}

/* ---- counts ---- */

static void fail_node(struct check_report *report, const struct arc_graph_node *n,
		      const char *what, const char *counted, unsigned int count,
		      unsigned int nr_in, unsigned int nr_held)
{
	check_fail(report, "audit: %s than edges and holders: %s from %s:%u: "
		   "%s %u, %u in-edges, %u holders", what, n->type, n->site ? n->site->file : "?",
		   n->site ? n->site->line : 0, counted, count, nr_in, nr_held);
}

static long check_count(struct check_report *report, const struct arc_graph_node *n,
			const char *name, const char *counted, unsigned int count,
			unsigned int nr_in, unsigned int nr_held)
{
	char what[32];

	if (count == ARC_NONE || count == (u64)nr_in + nr_held)
		return 0;
	snprintf(what, sizeof(what), "%s %s", count > (u64)nr_in + nr_held ? "more" : "fewer",
		 name);
	fail_node(report, n, what, counted, count, nr_in, nr_held);
	return 1;
}

static long check_counts(struct check_report *report, const struct arc_graph_node *n)
{
	long nr = 0;

	if (n->saturated)
		return 0;
	if (n->state == ARC_LIVE) {
		nr += check_count(report, n, "references", "count", n->count, n->nr_in,
				  n->nr_held);
		nr += check_count(report, n, "users", "users", n->users, n->nr_user_in,
				  n->nr_user_held);
	}
	if (n->arc)
		nr += check_count(report, n, "weak references", "weak count", n->weak,
				  n->nr_weak_in, n->nr_weak_held);
	return nr;
}

static void fail_dangling(const struct arc_graph *g, struct check_report *report,
			  const struct arc_graph_dangling *d)
{
	const struct arc_graph_node *n = arc_graph_node(g, d->from);
	char at[16] = "";

	if (d->index != ARC_NONE)
		snprintf(at, sizeof(at), "[%u]", d->index);
	check_fail(report, "audit: %s.%s%s of the one from %s:%u points at nothing that lives",
		   n->type, d->field ? d->field : "", at, n->site ? n->site->file : "?",
		   n->site ? n->site->line : 0);
}

long audit_counts(struct machine *m, struct check_report *report)
{
	struct arc_graph *g;
	unsigned int i;
	long nr = 0;

	if (!refcount_state(m)->track)
		return 0;
	g = arc_graph_take(m, 0);
	if (!g)
		return -ENOMEM;
	for (i = 0; i < arc_graph_nr_nodes(g); i++)
		nr += check_counts(report, arc_graph_node(g, i));
	for (i = 0; i < arc_graph_nr_dangling(g); i++, nr++)
		fail_dangling(g, report, arc_graph_dangling(g, i));
	arc_graph_free(g);
	return nr;
}

/* ---- cycles ---- */

struct line_to {
	void (*fn)(void *arg, const char *text);
	void *arg;
};

static void pass_text(void *arg, const struct arc_graph_cycle *cycle)
{
	const struct line_to *to = arg;

	to->fn(to->arg, cycle->text);
}

long audit_cycles(struct machine *m, void (*fn)(void *arg, const char *text), void *arg)
{
	struct line_to to = { fn, arg };
	struct arc_graph *g;
	long nr;

	if (!refcount_state(m)->track)
		return 0;
	g = arc_graph_take(m, 0);
	if (!g)
		return -ENOMEM;
	nr = arc_graph_cycles(g, fn ? pass_text : NULL, &to);
	arc_graph_free(g);
	return nr;
}

/* ---- the mark ---- */

long audit_mark(struct machine *m, unsigned int flags,
		void (*fn)(void *arg, const struct arc_graph_node *node), void *arg)
{
	const struct arc_graph_node *n;
	struct arc_graph *g;
	unsigned int i;
	long nr = 0;

	if (!refcount_state(m)->track)
		return 0;
	g = arc_graph_take(m, flags);
	if (!g)
		return -ENOMEM;
	for (i = 0; i < arc_graph_nr_nodes(g); i++) {
		n = arc_graph_node(g, i);
		if (n->verdict != ARC_LOST && n->verdict != ARC_CYCLE && n->verdict != ARC_BEHIND)
			continue;
		nr++;
		if (fn)
			fn(arg, n);
	}
	arc_graph_free(g);
	return nr;
}
