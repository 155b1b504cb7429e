/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - two graphs of one machine, compared
 *
 * What it is      A graph is a copy, so a snapshot is simply a graph that is kept. Nodes with an
 *                 arc are in order of creation in both, and their numbers are never used twice:
 *                 one merge finds who came and who went. Small forms are matched by address.
 * Objects         arc_diff -- changes: gone and changed ones, then new ones
 *                     `------ rows: by type, by site and type
 * Invariants      I1  Every node of either graph is in exactly one change, or the same in both.
 * Worst case      n log n for the rows, the rest linear; iterative.
 */
#include <karc/base/bug.h>
#include <karc/base/math.h>
#include <karc/refcount/snapshot.h>
#include <stdio.h>
#include <string.h>

#include "graph_internal.h"

#define NAME_BYTES	61u
#define TEXT_BYTES	640u

struct arc_snapshot {
	struct arc_graph *g;
};

struct arc_diff {
	struct machine *m;
	const struct arc_graph *before, *after;
	struct graph_vec changes;		/* struct arc_change */
	unsigned int nr[ARC_CHANGE_KINDS];
	s64 bytes;
	struct graph_vec rows[2];		/* struct arc_diff_row: by type, by site */
};

struct arc_snapshot *arc_snapshot_take(struct machine *m)
{
	struct arc_snapshot *s = graph_alloc(m, sizeof(*s));

	if (!s)
		return NULL;
	s->g = arc_graph_take(m, 0);
	if (!s->g) {
		graph_release(m, s);
		return NULL;
	}
	return s;
}

void arc_snapshot_free(struct arc_snapshot *s)
{
	struct machine *m;

	if (!s)
		return;
	m = s->g->m;
	arc_graph_free(s->g);
	graph_release(m, s);
}

const struct arc_graph *arc_snapshot_graph(const struct arc_snapshot *s)
{
	return s->g;
}

/* ---- comparing ---- */

static bool same_edge(const struct arc_diff *d, const struct arc_graph_edge *x,
		      const struct arc_graph_edge *y)
{
	return x->kind == y->kind && x->index == y->index &&
	       (x->field == y->field || !strcmp(x->field ? x->field : "", y->field ? y->field : "")) &&
	       graph_node(d->before, x->to)->key == graph_node(d->after, y->to)->key;
}

static bool same_edges(const struct arc_diff *d, const struct arc_graph_node *x,
		       const struct arc_graph_node *y)
{
	unsigned int i;

	if (x->nr_edges != y->nr_edges)
		return false;
	for (i = 0; i < x->nr_edges; i++)
		if (!same_edge(d, graph_edge(d->before, x->first_edge + i),
			       graph_edge(d->after, y->first_edge + i)))
			return false;
	return true;
}

static unsigned int differences(const struct arc_diff *d, const struct arc_graph_node *x,
				const struct arc_graph_node *y)
{
	unsigned int what = 0;

	what |= x->state != y->state ? ARC_DIFF_STATE : 0;
	what |= x->count != y->count ? ARC_DIFF_COUNT : 0;
	what |= x->users != y->users ? ARC_DIFF_USERS : 0;
	what |= x->weak != y->weak ? ARC_DIFF_WEAK : 0;
	what |= !same_edges(d, x, y) ? ARC_DIFF_FIELDS : 0;
	what |= x->nr_held != y->nr_held || x->nr_user_held != y->nr_user_held ||
		x->nr_weak_held != y->nr_weak_held ? ARC_DIFF_HOLDERS : 0;
	what |= x->verdict != y->verdict ? ARC_DIFF_VERDICT : 0;
	what |= strcmp(x->label, y->label) ? ARC_DIFF_LABEL : 0;
	return what;
}

/* The object as it is in the graph that has it, the later one if both. */
static const struct arc_graph_node *node_of(const struct arc_diff *d, const struct arc_change *c)
{
	return c->after != ARC_NONE ? graph_node(d->after, c->after) :
	       graph_node(d->before, c->before);
}

static int add_change(struct arc_diff *d, enum arc_change_kind kind, unsigned int before,
		      unsigned int after, unsigned int what)
{
	struct arc_change *c = graph_vec_add(d->m, &d->changes);

	if (!c)
		return -ENOMEM;
	*c = (struct arc_change){ kind, before, after, what };
	d->nr[kind]++;
	if (kind == ARC_CHANGE_NEW)
		d->bytes += (s64)node_of(d, c)->bytes;
	if (kind == ARC_CHANGE_LEFT)
		d->bytes -= (s64)node_of(d, c)->bytes;
	return 0;
}

/* Number in @g of what is node @n of the other graph; @from moves along the arcs of @g. */
static unsigned int counterpart(const struct arc_graph *g, const struct arc_graph_node *n,
				unsigned int *from)
{
	unsigned int i;

	if (!n->arc) {
		i = arc_graph_find(g, n->key);
		return i != ARC_NONE && !graph_node(g, i)->arc &&
		       !strcmp(graph_node(g, i)->type, n->type) ? i : ARC_NONE;
	}
	while (*from < g->nodes.nr && graph_node(g, *from)->arc && graph_node(g, *from)->id < n->id)
		++*from;
	if (*from < g->nodes.nr && graph_node(g, *from)->arc && graph_node(g, *from)->id == n->id)
		return *from;
	return ARC_NONE;
}

static int compare(struct arc_diff *d)
{
	const struct arc_graph_node *n;
	unsigned int i, other, what, from = 0;
	int err = 0;

	for (i = 0; !err && i < d->before->nodes.nr; i++) {
		n = graph_node(d->before, i);
		other = counterpart(d->after, n, &from);
		if (other == ARC_NONE) {
			err = add_change(d, ARC_CHANGE_LEFT, i, ARC_NONE, 0);
			continue;
		}
		what = differences(d, n, graph_node(d->after, other));
		if (what)
			err = add_change(d, ARC_CHANGE_IN, i, other, what);
	}
	from = 0;
	for (i = 0; !err && i < d->after->nodes.nr; i++)
		if (counterpart(d->before, graph_node(d->after, i), &from) == ARC_NONE)
			err = add_change(d, ARC_CHANGE_NEW, ARC_NONE, i, 0);
	return err;
}

/* ---- rows ---- */

static const struct arc_change *change_at(const struct arc_diff *d, unsigned int i)
{
	return &((struct arc_change *)d->changes.items)[i];
}

static int order_type(const void *ctx, unsigned int a, unsigned int b)
{
	const struct arc_diff *d = ctx;

	return strcmp(node_of(d, change_at(d, a))->type, node_of(d, change_at(d, b))->type);
}

static int order_site(const void *ctx, unsigned int a, unsigned int b)
{
	const struct arc_diff *d = ctx;
	int diff = order_sites(node_of(d, change_at(d, a))->site,
			       node_of(d, change_at(d, b))->site);

	return diff ? diff : order_type(ctx, a, b);
}

static s64 growth(const struct arc_diff_row *row)
{
	return (s64)row->nr[ARC_CHANGE_NEW] - row->nr[ARC_CHANGE_LEFT];
}

static int order_growth(const void *ctx, unsigned int a, unsigned int b)
{
	const struct arc_diff_row *rows = ctx;
	s64 x = growth(&rows[a]), y = growth(&rows[b]);

	return x > y ? -1 : x < y;
}

/* The rows in order of growth; the texts' order stays among equals. */
static int sort_rows(struct arc_diff *d, struct graph_vec *v, unsigned int *room)
{
	struct arc_diff_row *sorted = graph_alloc_array(d->m, v->nr, sizeof(*sorted));
	unsigned int i, *items = room;

	if (!sorted)
		return -ENOMEM;
	for (i = 0; i < v->nr; i++)
		items[i] = i;
	items = graph_sort(items, room + d->changes.nr, v->nr, order_growth, v->items);
	for (i = 0; i < v->nr; i++)
		sorted[i] = ((struct arc_diff_row *)v->items)[items[i]];
	graph_release(d->m, v->items);
	v->items = sorted;
	v->max = v->nr;
	return 0;
}

static int make_rows(struct arc_diff *d, bool by_site, unsigned int *room)
{
	graph_order_t order = by_site ? order_site : order_type;
	unsigned int *items = room, i;
	const struct arc_graph_node *n;
	const struct arc_change *c;
	struct arc_diff_row *row = NULL;

	for (i = 0; i < d->changes.nr; i++)
		items[i] = i;
	items = graph_sort(items, room + d->changes.nr, d->changes.nr, order, d);
	for (i = 0; i < d->changes.nr; i++) {
		c = change_at(d, items[i]);
		n = node_of(d, c);
		if (!i || order(d, items[i - 1], items[i])) {
			row = graph_vec_add(d->m, &d->rows[by_site]);
			if (!row)
				return -ENOMEM;
			row->type = n->type;
			row->site = by_site ? n->site : NULL;
		}
		row->nr[c->kind]++;
		if (c->kind != ARC_CHANGE_IN)
			row->bytes += c->kind == ARC_CHANGE_NEW ? (s64)n->bytes : -(s64)n->bytes;
	}
	return sort_rows(d, &d->rows[by_site], room);
}

struct arc_diff *arc_snapshot_diff(const struct arc_snapshot *before,
				   const struct arc_snapshot *after)
{
	struct machine *m = after->g->m;
	struct arc_diff *d = graph_alloc(m, sizeof(*d));
	unsigned int *room = NULL;
	int err;

	if (!d)
		return NULL;
	d->m = m;
	d->before = before->g;
	d->after = after->g;
	d->changes.item_bytes = sizeof(struct arc_change);
	d->rows[0].item_bytes = d->rows[1].item_bytes = sizeof(struct arc_diff_row);
	err = compare(d);
	if (!err)
		room = graph_alloc_array(m, 2ul * d->changes.nr, sizeof(*room));
	if (!room || make_rows(d, false, room) || make_rows(d, true, room))
		err = -ENOMEM;
	graph_release(m, room);
	if (!err)
		return d;
	arc_diff_free(d);
	return NULL;
}

void arc_diff_free(struct arc_diff *d)
{
	if (!d)
		return;
	graph_vec_free(d->m, &d->changes);
	graph_vec_free(d->m, &d->rows[0]);
	graph_vec_free(d->m, &d->rows[1]);
	graph_release(d->m, d);
}

/* ---- reading ---- */

unsigned int arc_diff_nr(const struct arc_diff *d)
{
	return d->changes.nr;
}

unsigned int arc_diff_nr_of(const struct arc_diff *d, enum arc_change_kind kind)
{
	return d->nr[kind];
}

const struct arc_change *arc_diff_change(const struct arc_diff *d, unsigned int i)
{
	BUG_ON(i >= d->changes.nr);
	return change_at(d, i);
}

unsigned int arc_diff_nr_rows(const struct arc_diff *d, bool by_site)
{
	return d->rows[by_site].nr;
}

const struct arc_diff_row *arc_diff_row(const struct arc_diff *d, bool by_site, unsigned int i)
{
	BUG_ON(i >= d->rows[by_site].nr);
	return &((struct arc_diff_row *)d->rows[by_site].items)[i];
}

/* ---- for people ---- */

static void text_row(const struct graph_out *out, const char *name, int width,
		     const struct arc_diff_row *row)
{
	out_text(out, "  %-*s %8u %8u %8u %+12lld\n", width, name, row->nr[ARC_CHANGE_NEW],
		 row->nr[ARC_CHANGE_LEFT], row->nr[ARC_CHANGE_IN], (long long)row->bytes);
}

static size_t row_name(const struct arc_diff_row *row, bool by_site, char *buf, size_t size)
{
	struct graph_line line;

	line_start(&line, buf, size);
	line_add(&line, "%s", row->type);
	if (by_site) {
		line_add(&line, " from ");
		line_site(&line, row->site);
	}
	return line_end(&line);
}

static void text_rows(const struct arc_diff *d, const struct graph_out *out, bool by_site,
		      int width)
{
	struct arc_diff_row rest = { .type = "" };
	const struct arc_diff_row *row;
	char name[NAME_BYTES];
	unsigned int i, k, nr = arc_diff_nr_rows(d, by_site);

	out_text(out, "\n%-*s %8s %8s %8s %12s\n", width + 2, by_site ? "by site" : "by type",
		 "new", "gone", "changed", "bytes");
	for (i = 0; i < nr; i++) {
		row = arc_diff_row(d, by_site, i);
		if (i < ARC_DIFF_SHOWN) {
			row_name(row, by_site, name, sizeof(name));
			text_row(out, name, width, row);
			continue;
		}
		rest.bytes += row->bytes;
		for (k = 0; k < ARC_CHANGE_KINDS; k++)
			rest.nr[k] += row->nr[k];
	}
	if (nr <= ARC_DIFF_SHOWN)
		return;
	snprintf(name, sizeof(name), "(%u more)", nr - ARC_DIFF_SHOWN);
	text_row(out, name, width, &rest);
}

static int name_width(const struct arc_diff *d)
{
	char name[NAME_BYTES];
	size_t width = 16;
	unsigned int i;

	for (i = 0; i < d->rows[0].nr && i < ARC_DIFF_SHOWN; i++)
		width = max(width, row_name(arc_diff_row(d, false, i), false, name, sizeof(name)));
	for (i = 0; i < d->rows[1].nr && i < ARC_DIFF_SHOWN; i++)
		width = max(width, row_name(arc_diff_row(d, true, i), true, name, sizeof(name)));
	return (int)width;
}

static void add_number(struct graph_line *line, const char *sep, const char *name,
		       unsigned int before, unsigned int after)
{
	if (before != ARC_NONE && after != ARC_NONE)
		line_add(line, "%s%s %u -> %u", sep, name, before, after);
}

static void add_what(struct graph_line *line, unsigned int what, const struct arc_graph_node *x,
		     const struct arc_graph_node *y)
{
	const char *sep = ": ";
	static const struct {
		unsigned int bit;
		const char *name;
	} rest[] = {
		{ ARC_DIFF_STATE, "state" }, { ARC_DIFF_FIELDS, "fields" },
		{ ARC_DIFF_HOLDERS, "holders" }, { ARC_DIFF_LABEL, "label" },
	};
	unsigned int i;

	if (what & ARC_DIFF_COUNT)
		add_number(line, sep, "count", x->count, y->count);
	sep = what & ARC_DIFF_COUNT ? ", " : sep;
	if (what & ARC_DIFF_USERS)
		add_number(line, sep, "users", x->users, y->users);
	sep = what & ARC_DIFF_USERS ? ", " : sep;
	if (what & ARC_DIFF_WEAK)
		add_number(line, sep, "weak", x->weak, y->weak);
	sep = what & ARC_DIFF_WEAK ? ", " : sep;
	for (i = 0; i < ARRAY_SIZE(rest); i++) {
		if (!(what & rest[i].bit))
			continue;
		line_add(line, "%s%s", sep, rest[i].name);
		sep = ", ";
	}
	if (what & ARC_DIFF_VERDICT)
		line_add(line, "%s%s -> %s", sep, arc_verdict_name(x->verdict),
			 arc_verdict_name(y->verdict));
}

static void text_change(const struct arc_diff *d, const struct graph_out *out,
			const struct arc_change *c)
{
	static const char *const kinds[] = { "new    ", "gone   ", "changed" };
	char text[TEXT_BYTES];
	struct graph_line line;

	line_start(&line, text, sizeof(text));
	if (c->kind == ARC_CHANGE_LEFT)
		line_object(d->before, c->before, &line);
	else
		line_object(d->after, c->after, &line);
	if (c->kind == ARC_CHANGE_IN)
		add_what(&line, c->what, graph_node(d->before, c->before),
			 graph_node(d->after, c->after));
	if (c->kind == ARC_CHANGE_NEW) {
		line_add(&line, " (%s)", arc_verdict_name(graph_node(d->after, c->after)->verdict));
		if (graph_node(d->after, c->after)->verdict != ARC_CYCLE) {
			line_add(&line, ": ");
			graph_reason_straight(d->after, c->after, &line);
		}
	}
	line_end(&line);
	out_text(out, "  %s %s\n", kinds[c->kind], text);
}

static void text_changes(const struct arc_diff *d, const struct graph_out *out)
{
	static const enum arc_change_kind order[] = { ARC_CHANGE_LEFT, ARC_CHANGE_IN,
						      ARC_CHANGE_NEW };
	unsigned int k, i, shown;

	out_text(out, "\nobjects\n");
	for (k = 0; k < ARRAY_SIZE(order); k++) {
		for (i = 0, shown = 0; i < d->changes.nr && shown < ARC_DIFF_SHOWN; i++) {
			if (change_at(d, i)->kind != order[k])
				continue;
			text_change(d, out, change_at(d, i));
			shown++;
		}
		if (d->nr[order[k]] > shown)
			out_text(out, "  (%u more)\n", d->nr[order[k]] - shown);
	}
}

void arc_diff_text(const struct arc_diff *d, void (*write)(void *arg, const char *text),
		   void *arg)
{
	struct graph_out out = { write, arg };
	int width = name_width(d);

	out_text(&out, "changes: %u new, %u gone, %u changed; %+lld bytes\n",
		 d->nr[ARC_CHANGE_NEW], d->nr[ARC_CHANGE_LEFT], d->nr[ARC_CHANGE_IN],
		 (long long)d->bytes);
	if (!d->changes.nr)
		return;
	text_rows(d, &out, false, width);
	text_rows(d, &out, true, width);
	text_changes(d, &out);
}

/* ---- for programs ---- */

static void json_rows(const struct arc_diff *d, const struct graph_out *out, bool by_site)
{
	const struct arc_diff_row *row;
	unsigned int i;

	out_text(out, ",\n\"%s\":[", by_site ? "by_site" : "by_type");
	for (i = 0; i < arc_diff_nr_rows(d, by_site); i++) {
		row = arc_diff_row(d, by_site, i);
		out_text(out, "%s\n {\"type\":", i ? "," : "");
		out_json(out, row->type);
		if (by_site) {
			out_text(out, ",\"site\":");
			out_json_site(out, row->site);
		}
		out_text(out, ",\"new\":%u,\"gone\":%u,\"changed\":%u,\"bytes\":%lld}",
			 row->nr[ARC_CHANGE_NEW], row->nr[ARC_CHANGE_LEFT], row->nr[ARC_CHANGE_IN],
			 (long long)row->bytes);
	}
	out_text(out, "]");
}

static void json_what(const struct graph_out *out, unsigned int what)
{
	static const char *const names[] = { "state", "count", "users", "weak", "fields", "holders",
					     "verdict", "label" };
	const char *sep = "";
	unsigned int i;

	out_text(out, ",\"what\":[");
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (!(what & 1u << i))
			continue;
		out_text(out, "%s\"%s\"", sep, names[i]);
		sep = ",";
	}
	out_text(out, "]");
}

static void json_state(const struct graph_out *out, const char *name, const struct arc_graph *g,
		       unsigned int i)
{
	static const char *const states[] = { "INIT", "LIVE", "DYING", "DEAD" };
	const struct arc_graph_node *n;

	if (i == ARC_NONE) {
		out_text(out, ",\"%s\":null", name);
		return;
	}
	n = graph_node(g, i);
	out_text(out, ",\"%s\":{\"state\":\"%s\",\"verdict\":\"%s\"", name,
		 n->state < 4 ? states[n->state] : "?", arc_verdict_name(n->verdict));
	out_json_number(out, "count", n->count);
	out_json_number(out, "users", n->users);
	out_text(out, ",\"weak\":%u,\"fields\":%u,\"held\":%u}", n->weak, n->nr_edges,
		 n->nr_held + n->nr_user_held);
}

static void json_change(const struct arc_diff *d, const struct graph_out *out,
			const struct arc_change *c)
{
	static const char *const kinds[] = { "new", "gone", "changed" };
	const struct arc_graph_node *n = node_of(d, c);

	out_text(out, "{\"kind\":\"%s\",\"id\":%llu,\"type\":", kinds[c->kind],
		 (unsigned long long)n->id);
	out_json(out, n->type);
	out_text(out, ",\"label\":");
	out_json(out, n->label);
	out_text(out, ",\"site\":");
	out_json_site(out, n->site);
	out_text(out, ",\"bytes\":%llu", (unsigned long long)n->bytes);
	json_what(out, c->what);
	json_state(out, "before", d->before, c->before);
	json_state(out, "after", d->after, c->after);
	out_text(out, "}");
}

void arc_diff_json(const struct arc_diff *d, void (*write)(void *arg, const char *text),
		   void *arg)
{
	struct graph_out out = { write, arg };
	unsigned int i;

	out_text(&out, "{\"schema\":\"karc-diff-1\",\"new\":%u,\"gone\":%u,\"changed\":%u,"
		 "\"bytes\":%lld", d->nr[ARC_CHANGE_NEW], d->nr[ARC_CHANGE_LEFT],
		 d->nr[ARC_CHANGE_IN], (long long)d->bytes);
	json_rows(d, &out, false);
	json_rows(d, &out, true);
	out_text(&out, ",\n\"changes\":[");
	for (i = 0; i < d->changes.nr; i++) {
		out_text(&out, "%s\n ", i ? "," : "");
		json_change(d, &out, change_at(d, i));
	}
	out_text(&out, "]}\n");
}
