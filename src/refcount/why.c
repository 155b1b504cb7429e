/* SPDX-License-Identifier: MIT */
/*
 * why.c - why one object is alive, in a few lines
 *
 * What it is      All that a graph knows of one node: its counts taken apart, the fields and
 *                 holders behind them, and the one reason in the end: a shortest path from
 *                 somebody who holds it, the cycle that keeps it, or the lack of both.
 * Worst case      One graph is taken: linear in the machine's objects. Owners and holders beyond
 *                 ARC_WHY_OWNERS are counted only.
 */
#include <karc/base/log.h>
#include <karc/hw/stacktrace.h>
#include <karc/refcount/why.h>
#include <stdio.h>
#include <string.h>

#include "graph_internal.h"

#define TEXT_BYTES	8192u
#define STACK_BYTES	1024u

static const char *state_name(unsigned int state)
{
	static const char *const names[] = { "INIT", "LIVE", "DYING", "DEAD" };

	return state < 4 ? names[state] : "?";
}

static const char *plural(unsigned int nr)
{
	return nr == 1 ? "" : "s";
}

/* "count 3: 1 field, 1 holder, 1 unknown" */
static void add_count(struct graph_line *line, const char *name, unsigned int count,
		      unsigned int nr_in, unsigned int nr_held, bool all_users)
{
	const char *sep = ": ";
	unsigned int explained = nr_in + nr_held;

	line_add(line, "%s %u", name, count);
	if (nr_in > all_users) {
		line_add(line, "%s%u field%s", sep, nr_in - all_users, plural(nr_in - all_users));
		sep = ", ";
	}
	if (all_users) {
		line_add(line, "%s1 of all users", sep);
		sep = ", ";
	}
	if (nr_held) {
		line_add(line, "%s%u holder%s", sep, nr_held, plural(nr_held));
		sep = ", ";
	}
	if (count > explained)
		line_add(line, "%s%u unknown", sep, count - explained);
	if (count < explained)
		line_add(line, ", %u missing", explained - count);
}

static void add_counts(struct graph_line *line, const struct arc_graph_node *n)
{
	bool tiers = n->users != ARC_NONE;

	line_add(line, "  ");
	if (n->count == ARC_NONE)
		line_add(line, "not counted: %u field%s", n->nr_in, plural(n->nr_in));
	else if (n->saturated)
		line_add(line, "saturated: leaked on purpose");
	else
		add_count(line, "count", n->count, n->nr_in, n->nr_held, tiers && n->users);
	if (tiers && !n->saturated) {
		line_add(line, "; ");
		add_count(line, "users", n->users, n->nr_user_in, n->nr_user_held, false);
	}
	if (n->arc && !n->saturated && n->weak + n->nr_weak_in + n->nr_weak_held) {
		line_add(line, "; ");
		add_count(line, "weak", n->weak, n->nr_weak_in, n->nr_weak_held, false);
	}
	line_add(line, "\n");
}

static void add_owners(const struct arc_graph *g, unsigned int i, struct graph_line *line)
{
	const struct arc_graph_edge *e;
	unsigned int at, nr = 0;

	for (at = 0; at < g->edges.nr; at++) {
		e = graph_edge(g, at);
		if (e->to != i || !edge_owns(e) || nr++ >= ARC_WHY_OWNERS)
			continue;
		line_add(line, "  owned: ");
		line_step(g, at, line);
		line_add(line, " of ");
		line_object(g, e->from, line);
		line_add(line, "\n");
	}
	if (nr > ARC_WHY_OWNERS)
		line_add(line, "  owned: by %u more\n", nr - ARC_WHY_OWNERS);
}

static void add_stack(struct graph_line *line, const struct arc_graph_holder *h)
{
	char text[STACK_BYTES];

	if (!h->nr_stack)
		return;
	stack_trace_snprint(text, sizeof(text), h->stack, h->nr_stack, 4);
	line_add(line, "%s", text);
	if (text[0] && text[strlen(text) - 1] != '\n')
		line_add(line, "\n");
}

static void add_holder(struct graph_line *line, const struct arc_graph_holder *h)
{
	line_add(line, "  %s: %s", h->kind == ARC_HOLDER_GONE ? "forgotten" : "held",
		 h->name[0] ? h->name : "holder without a name");
	line_add(line, ": %u %sreference%s", h->nr, h->weak ? "weak " : h->user ? "user " : "",
		 plural(h->nr));
	if (h->site) {
		line_add(line, " from ");
		line_site(line, h->site);
	}
	line_add(line, "\n");
	add_stack(line, h);
}

static void add_holders(const struct arc_graph *g, const struct arc_graph_node *n,
			struct graph_line *line)
{
	unsigned int at;

	for (at = 0; at < n->nr_holders && at < ARC_WHY_OWNERS; at++)
		add_holder(line, graph_holder(g, n->first_holder + at));
	if (at < n->nr_holders)
		line_add(line, "  held: by %u more\n", n->nr_holders - at);
}

void graph_reason_straight(const struct arc_graph *g, unsigned int i, struct graph_line *line)
{
	const struct arc_graph_node *n = graph_node(g, i);
	char text[1024];

	if (n->distance != ARC_NONE || n->verdict == ARC_BEHIND) {
		arc_graph_path_text(g, i, text, sizeof(text));
		line_add(line, "%s%s", n->verdict == ARC_BEHIND ? "kept by " : "path: ", text);
	} else if (n->verdict == ARC_GONE) {
		line_add(line, "%s", n->state == ARC_DEAD ?
			 "torn down: weak references keep its memory" :
			 "its teardown is not finished");
	} else if (n->verdict == ARC_LOST && n->saturated) {
		line_add(line, "count is saturated");
	} else if (n->verdict == ARC_LOST) {
		line_add(line, "nobody known: %u reference%s without a holder", n->nr_unknown,
			 plural(n->nr_unknown));
	}
}

/* -ENOMEM, or 0. */
static long add_reason(const struct arc_graph *g, unsigned int i, struct graph_line *line)
{
	const struct arc_graph_node *n = graph_node(g, i);
	char text[1024];
	long len;

	graph_reason_straight(g, i, line);
	if (n->verdict != ARC_CYCLE && (n->verdict != ARC_LOST || !n->cycle))
		return 0;
	len = arc_graph_cycle_text(g, i, text, sizeof(text));
	line_add(line, "%scycle: %s", n->verdict == ARC_LOST ? "; " : "", text);
	return len < 0 ? len : 0;
}

long arc_graph_why_text(const struct arc_graph *g, unsigned int i, char *buf, size_t size)
{
	const struct arc_graph_node *n = arc_graph_node(g, i);
	struct graph_line line;
	long err;

	if (!size)
		return 0;
	line_start(&line, buf, size);
	line_object(g, i, &line);
	line_add(&line, ": %s, %s, %llu bytes\n", state_name(n->state),
		 arc_verdict_name(n->verdict), (unsigned long long)n->bytes);
	add_counts(&line, n);
	add_owners(g, i, &line);
	add_holders(g, n, &line);
	line_add(&line, "  ");
	err = add_reason(g, i, &line);
	if (err)
		return err;
	line_add(&line, "\n");
	return (long)line_end(&line);
}

/* The arc or small object at @obj, or the object with an arc that @obj lies in. */
static unsigned int find_around(const struct arc_graph *g, const void *obj)
{
	unsigned int i = arc_graph_find(g, obj);
	const struct arc_graph_node *n;
	const char *start;

	if (i != ARC_NONE)
		return i;
	for (i = 0; i < arc_graph_nr_nodes(g); i++) {
		n = arc_graph_node(g, i);
		start = n->arc ? (const char *)n->key - n->arc->type->offset : n->key;
		if ((const char *)obj >= start && (const char *)obj - start < (long)n->bytes)
			return i;
	}
	return ARC_NONE;
}

long arc_why_alive_text(const void *obj, char *buf, size_t size)
{
	struct arc_graph *g;
	unsigned int i;
	long len;

	if (size)
		buf[0] = '\0';
	g = arc_graph_take(this_machine(), 0);
	if (!g)
		return -ENOMEM;
	i = find_around(g, obj);
	len = i == ARC_NONE ? -ENOENT : arc_graph_why_text(g, i, buf, size);
	arc_graph_free(g);
	return len;
}

/* Line by line: a record of the log is shorter than the whole. */
static void print_lines(char *text)
{
	char *next;

	for (; *text; text = next) {
		next = text + strcspn(text, "\n");
		if (*next)
			*next++ = '\0';
		pr_warn("%s\n", text);
	}
}

void arc_why_alive(const void *obj)
{
	struct machine *m = this_machine();
	char *text = graph_alloc(m, TEXT_BYTES);
	long len = text ? arc_why_alive_text(obj, text, TEXT_BYTES) : -ENOMEM;

	if (len == -ENOENT)
		pr_warn("why alive: nothing that is known at this address\n");
	else if (len < 0)
		pr_warn("why alive: no host memory to look\n");
	else
		print_lines(text);
	graph_release(m, text);
}
