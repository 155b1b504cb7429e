/* SPDX-License-Identifier: MIT */
/*
 * leaks.c - what is lost, grouped and with reasons
 *
 * What it is      A choice of nodes of one graph, sorted three ways. Each sorting gives one table.
 * Objects         arc_leaks -- graph (its own, or lent by the shutdown)
 *                     |     -- nodes: numbers of the leaked ones, oldest first
 *                     |     -- tables: rows by type, by site, by holder
 *                     `---- cycles: text of each component's shortest cycle
 * Invariants      I1  Each leak is in exactly one row of each table.
 *                 I2  Order depends on texts and ages, never on addresses.
 * Life            At shutdown the graph is taken before any room goes (refcount_room.parting),
 *                 because later the memory of the objects is gone; what is left is known only when
 *                 all rooms have gone, and then looked up in that graph by number of creation.
 * Worst case      n log n, iterative (a merge sort in arrays).
 */
#include <karc/base/bug.h>
#include <karc/base/log.h>
#include <karc/base/math.h>
#include <karc/refcount/leaks.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph_internal.h"
#include "track.h"

#define NAME_BYTES	256u
#define REASON_BYTES	640u
#define LOG_LINES	12u

struct arc_leaks {
	struct machine *m;
	struct arc_graph *g;
	bool owns_graph;
	unsigned int *nodes;
	unsigned int nr;
	u64 bytes;
	unsigned long nr_verdict[ARC_GONE + 1];
	struct graph_vec rows[ARC_LEAKS_TABLES];	/* struct arc_leak_row */
	char **cycles;				/* by component, from 1 */
	struct graph_vec names;			/* char *: texts of rows */
};

/* ---- who is to blame ---- */

enum keeper_kind { KEEPER_HOLDER, KEEPER_FORGOT, KEEPER_CYCLE, KEEPER_NOBODY, KEEPER_TEARDOWN,
		   KEEPER_WEAK };

struct keeper {
	enum keeper_kind kind;
	const char *name;
	const struct site *site;
	unsigned int cycle;
};

/* The first holder of node @n that owns; a forgotten reference only if @gone. */
static const struct arc_graph_holder *holder_of(const struct arc_graph *g,
						const struct arc_graph_node *n, bool gone)
{
	const struct arc_graph_holder *h;
	unsigned int i;

	for (i = n->first_holder; i < n->first_holder + n->nr_holders; i++) {
		h = graph_holder(g, i);
		if (!h->weak && (h->kind == ARC_HOLDER_GONE) == gone)
			return h;
	}
	return NULL;
}

static struct keeper keeper_of(const struct arc_graph *g, unsigned int i)
{
	const struct arc_graph_node *n = graph_node(g, i);
	const struct arc_graph_holder *h = NULL;

	if (n->root != ARC_NONE)
		n = graph_node(g, n->root);
	if (n->verdict == ARC_GONE)
		return (struct keeper){ n->state == ARC_DEAD ? KEEPER_WEAK : KEEPER_TEARDOWN, "",
					NULL, 0 };
	if (n->verdict == ARC_CYCLE)
		return (struct keeper){ KEEPER_CYCLE, "", NULL, n->cycle };
	h = holder_of(g, n, n->verdict == ARC_LOST);
	if (!h)
		return (struct keeper){ KEEPER_NOBODY, "", NULL, 0 };
	return (struct keeper){ h->kind == ARC_HOLDER_GONE ? KEEPER_FORGOT : KEEPER_HOLDER,
				h->name, h->site, 0 };
}

/* ---- tables ---- */

static int order_type(const void *ctx, unsigned int a, unsigned int b)
{
	return strcmp(graph_node(ctx, a)->type, graph_node(ctx, b)->type);
}

static int order_site(const void *ctx, unsigned int a, unsigned int b)
{
	int diff = order_sites(graph_node(ctx, a)->site, graph_node(ctx, b)->site);

	return diff ? diff : order_type(ctx, a, b);
}

static int order_holder(const void *ctx, unsigned int a, unsigned int b)
{
	struct keeper x = keeper_of(ctx, a), y = keeper_of(ctx, b);
	int diff = order_numbers(x.kind, y.kind);

	if (!diff)
		diff = strcmp(x.name, y.name);
	if (!diff)
		diff = order_sites(x.site, y.site);
	return diff ? diff : order_numbers(x.cycle, y.cycle);
}

static const graph_order_t orders[ARC_LEAKS_TABLES] = { order_type, order_site, order_holder };

static char *keep_name(struct arc_leaks *l, const char *fmt, ...) __printf(2, 3);
static char *keep_name(struct arc_leaks *l, const char *fmt, ...)
{
	char text[NAME_BYTES], **place, *copy;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	place = graph_vec_add(l->m, &l->names);
	if (!place)
		return NULL;
	copy = graph_alloc(l->m, strlen(text) + 1);
	if (copy)
		strcpy(copy, text);
	*place = copy;
	return copy;
}

static const char *keeper_name(struct arc_leaks *l, const struct keeper *k)
{
	switch (k->kind) {
	case KEEPER_HOLDER:
		return k->name[0] ? k->name : "holder without a name";
	case KEEPER_FORGOT:
		return keep_name(l, "forgotten by %s", k->name);
	case KEEPER_CYCLE:
		return keep_name(l, "cycle: %s", l->cycles[k->cycle]);
	case KEEPER_TEARDOWN:
		return "teardown not finished";
	case KEEPER_WEAK:
		return "weak references only";
	default:
		return "nobody known";
	}
}

static int start_row(struct arc_leaks *l, enum arc_leak_table table, unsigned int node,
		     struct arc_leak_row **row)
{
	const struct arc_graph_node *n = graph_node(l->g, node);
	struct keeper keeper;

	*row = graph_vec_add(l->m, &l->rows[table]);
	if (!*row)
		return -ENOMEM;
	(*row)->first = node;
	(*row)->name = n->type;
	(*row)->site = table == ARC_LEAKS_BY_SITE ? n->site : NULL;
	if (table != ARC_LEAKS_BY_HOLDER)
		return 0;
	keeper = keeper_of(l->g, node);
	(*row)->name = keeper_name(l, &keeper);
	(*row)->site = keeper.site;
	return (*row)->name ? 0 : -ENOMEM;
}

/* Most objects first; the sort before made the texts' order, and this one is stable. */
static int order_rows(const void *ctx, unsigned int a, unsigned int b)
{
	const struct arc_leak_row *rows = ctx;

	return order_numbers(rows[b].nr, rows[a].nr);
}

static int sort_rows(struct arc_leaks *l, struct graph_vec *v, unsigned int *items,
		     unsigned int *room)
{
	struct arc_leak_row *rows = v->items, *sorted;
	unsigned int i;

	sorted = graph_alloc_array(l->m, v->nr, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (i = 0; i < v->nr; i++)
		items[i] = i;
	items = graph_sort(items, room, v->nr, order_rows, rows);
	for (i = 0; i < v->nr; i++)
		sorted[i] = rows[items[i]];
	graph_release(l->m, rows);
	v->items = sorted;
	v->max = v->nr;
	return 0;
}

/* @room is twice as large as there are leaks. */
static int make_table(struct arc_leaks *l, enum arc_leak_table table, unsigned int *room)
{
	const struct arc_graph_node *n;
	struct arc_leak_row *row = NULL;
	unsigned int *items = room, i, v;

	for (i = 0; i < l->nr; i++)
		items[i] = l->nodes[i];
	items = graph_sort(items, room + l->nr, l->nr, orders[table], l->g);
	for (i = 0; i < l->nr; i++) {
		if ((!i || orders[table](l->g, items[i - 1], items[i])) &&
		    start_row(l, table, items[i], &row))
			return -ENOMEM;
		n = graph_node(l->g, items[i]);
		row->nr++;
		row->bytes += n->bytes;
		for (v = 0; v <= ARC_GONE; v++)
			row->nr_verdict[v] += n->verdict == v;
	}
	return sort_rows(l, &l->rows[table], room, room + l->nr);
}

static void keep_cycle(void *arg, const struct arc_graph_cycle *cycle)
{
	struct arc_leaks *l = arg;
	char *copy;

	if (!cycle->shortest)
		return;
	copy = graph_alloc(l->m, strlen(cycle->text) + 1);
	if (copy)
		strcpy(copy, cycle->text);
	l->cycles[cycle->component] = copy;
}

static int keep_cycles(struct arc_leaks *l)
{
	unsigned int i;

	if (!l->g->nr_components)
		return 0;
	l->cycles = graph_alloc_array(l->m, l->g->nr_components + 1ul, sizeof(*l->cycles));
	if (!l->cycles || arc_graph_cycles(l->g, keep_cycle, l) < 0)
		return -ENOMEM;
	for (i = 1; i <= l->g->nr_components; i++)
		if (!l->cycles[i])
			return -ENOMEM;
	return 0;
}

/* ---- taking ---- */

static void sum_up(struct arc_leaks *l)
{
	const struct arc_graph_node *n;
	unsigned int i;

	for (i = 0; i < l->nr; i++) {
		n = graph_node(l->g, l->nodes[i]);
		l->bytes += n->bytes;
		l->nr_verdict[n->verdict]++;
	}
}

static bool is_leak(const struct arc_graph_node *n)
{
	return n->verdict == ARC_LOST || n->verdict == ARC_CYCLE || n->verdict == ARC_BEHIND;
}

/* Which nodes: of a moment by verdict, at shutdown those whose numbers are still on @t's list. */
static void choose(struct arc_leaks *l, const struct track *t)
{
	const struct arc_graph *g = l->g;
	const struct track_node *left;
	unsigned int i = 0;

	if (!t) {
		for (i = 0; i < g->nodes.nr; i++)
			if (is_leak(graph_node(g, i)))
				l->nodes[l->nr++] = i;
		return;
	}
	list_for_each_entry(left, &t->nodes, node) {
		while (i < g->nodes.nr && graph_node(g, i)->id < left->id)
			i++;
		if (i < g->nodes.nr && graph_node(g, i)->id == left->id)
			l->nodes[l->nr++] = i;
	}
}

/* Of @g, which becomes the report's if @owns. */
static struct arc_leaks *leaks_make(struct machine *m, struct arc_graph *g, bool owns,
				    const struct track *t)
{
	struct arc_leaks *l = graph_alloc(m, sizeof(*l));
	unsigned int *room = NULL;
	int table, err = -ENOMEM;

	if (!l) {
		if (owns)
			arc_graph_free(g);
		return NULL;
	}
	l->m = m;
	l->g = g;
	l->owns_graph = owns;
	l->names.item_bytes = sizeof(char *);
	for (table = 0; table < ARC_LEAKS_TABLES; table++)
		l->rows[table].item_bytes = sizeof(struct arc_leak_row);
	l->nodes = graph_alloc_array(m, g->nodes.nr, sizeof(*l->nodes));
	if (l->nodes) {
		choose(l, t);
		sum_up(l);
		room = graph_alloc_array(m, 2ul * l->nr, sizeof(*room));
	}
	if (room)
		err = keep_cycles(l);
	for (table = 0; !err && table < ARC_LEAKS_TABLES; table++)
		err = make_table(l, (enum arc_leak_table)table, room);
	graph_release(m, room);
	if (!err)
		return l;
	arc_leaks_free(l);
	return NULL;
}

struct arc_leaks *arc_leaks_take(struct machine *m, unsigned int flags)
{
	struct arc_graph *g = arc_graph_take(m, flags);

	return g ? leaks_make(m, g, true, NULL) : NULL;
}

void arc_leaks_free(struct arc_leaks *l)
{
	unsigned int i;

	if (!l)
		return;
	for (i = 0; i < l->names.nr; i++)
		graph_release(l->m, ((char **)l->names.items)[i]);
	for (i = 1; l->cycles && i <= l->g->nr_components; i++)
		graph_release(l->m, l->cycles[i]);
	graph_release(l->m, l->cycles);
	graph_vec_free(l->m, &l->names);
	for (i = 0; i < ARC_LEAKS_TABLES; i++)
		graph_vec_free(l->m, &l->rows[i]);
	graph_release(l->m, l->nodes);
	if (l->owns_graph)
		arc_graph_free(l->g);
	graph_release(l->m, l);
}

/* ---- reading ---- */

unsigned long arc_leaks_nr(const struct arc_leaks *l)
{
	return l->nr;
}

u64 arc_leaks_bytes(const struct arc_leaks *l)
{
	return l->bytes;
}

const struct arc_graph *arc_leaks_graph(const struct arc_leaks *l)
{
	return l->g;
}

unsigned int arc_leaks_node(const struct arc_leaks *l, unsigned long i)
{
	BUG_ON(i >= l->nr);
	return l->nodes[i];
}

unsigned int arc_leaks_nr_rows(const struct arc_leaks *l, enum arc_leak_table table)
{
	return l->rows[table].nr;
}

const struct arc_leak_row *arc_leaks_row(const struct arc_leaks *l, enum arc_leak_table table,
					 unsigned int i)
{
	BUG_ON(i >= l->rows[table].nr);
	return &((struct arc_leak_row *)l->rows[table].items)[i];
}

/* Why node @i is there; O(1) for any of them, unlike graph_reason(). */
static void add_reason(const struct arc_leaks *l, unsigned int i, struct graph_line *line)
{
	const struct arc_graph_node *n = graph_node(l->g, i);
	const struct arc_graph_holder *h;

	if (n->verdict == ARC_CYCLE) {
		line_add(line, "cycle: %s", l->cycles[n->cycle]);
		return;
	}
	h = n->verdict == ARC_LOST ? holder_of(l->g, n, true) : NULL;
	if (h) {
		line_add(line, "forgotten by %s: reference from ", h->name);
		line_site(line, h->site);
		return;
	}
	graph_reason_straight(l->g, i, line);
	if (n->verdict == ARC_LOST && n->cycle)
		line_add(line, "; cycle: %s", l->cycles[n->cycle]);
}

/* ---- for people ---- */

static size_t row_name(const struct arc_leak_row *row, enum arc_leak_table table, char *buf,
		       size_t size)
{
	struct graph_line line;

	line_start(&line, buf, size);
	line_add(&line, "%s", row->name);
	if (table == ARC_LEAKS_BY_SITE || row->site) {
		line_add(&line, table == ARC_LEAKS_BY_SITE ? " from " : " at ");
		line_site(&line, row->site);
	}
	return line_end(&line);
}

static void text_row(const struct graph_out *out, const char *name, int width,
		     const struct arc_leak_row *row)
{
	out_text(out, "  %-*s %8lu %12llu %8lu %8lu %8lu %8lu\n", width, name, row->nr,
		 (unsigned long long)row->bytes, row->nr_verdict[ARC_LOST],
		 row->nr_verdict[ARC_CYCLE], row->nr_verdict[ARC_BEHIND],
		 row->nr_verdict[ARC_REACHED] + row->nr_verdict[ARC_GONE]);
}

#define ROW_NAME_BYTES	61u

static void text_table(const struct arc_leaks *l, const struct graph_out *out,
		       enum arc_leak_table table, int width)
{
	static const char *const titles[] = { "by type", "by site", "by holder" };
	struct arc_leak_row rest = { .nr = 0 };
	const struct arc_leak_row *row;
	char name[ROW_NAME_BYTES];
	unsigned int i, v, nr = arc_leaks_nr_rows(l, table);

	out_text(out, "\n%-*s %8s %12s %8s %8s %8s %8s\n", width + 2, titles[table], "objects",
		 "bytes", "LOST", "CYCLE", "BEHIND", "held");
	for (i = 0; i < nr; i++) {
		row = arc_leaks_row(l, table, i);
		if (i < ARC_LEAKS_SHOWN) {
			row_name(row, table, name, sizeof(name));
			text_row(out, name, width, row);
			continue;
		}
		rest.nr += row->nr;
		rest.bytes += row->bytes;
		for (v = 0; v <= ARC_GONE; v++)
			rest.nr_verdict[v] += row->nr_verdict[v];
	}
	if (nr <= ARC_LEAKS_SHOWN)
		return;
	snprintf(name, sizeof(name), "(%u more)", nr - ARC_LEAKS_SHOWN);
	text_row(out, name, width, &rest);
}

/* One column's width for all tables. */
static int name_width(const struct arc_leaks *l)
{
	char name[ROW_NAME_BYTES];
	size_t width = 16;
	unsigned int i;
	int table;

	for (table = 0; table < ARC_LEAKS_TABLES; table++)
		for (i = 0; i < l->rows[table].nr && i < ARC_LEAKS_SHOWN; i++)
			width = max(width, row_name(arc_leaks_row(l, (enum arc_leak_table)table, i),
						    (enum arc_leak_table)table, name,
						    sizeof(name)));
	return (int)width;
}

static void text_why(const struct arc_leaks *l, const struct graph_out *out, unsigned int node)
{
	const struct arc_graph_node *n = graph_node(l->g, node);
	char text[REASON_BYTES];
	struct graph_line line;

	line_start(&line, text, sizeof(text));
	line_object(l->g, node, &line);
	line_add(&line, " (%s): ", arc_verdict_name(n->verdict));
	add_reason(l, node, &line);
	line_end(&line);
	out_text(out, "  %s\n", text);
}

/* What "why" shows, in this order: the causes, and then what hangs on them. */
static const struct telling {
	enum arc_verdict verdict;
	bool far;			/* not the one that is held, but what it leads to */
} telling[] = {
	{ ARC_LOST, false }, { ARC_CYCLE, false }, { ARC_REACHED, false }, { ARC_GONE, false },
	{ ARC_REACHED, true }, { ARC_BEHIND, false },
};

#define NR_CAUSES	4u

/* Of a cycle only its oldest object; components are numbered by that. */
static bool is_telling(const struct arc_graph_node *n, const struct telling *what,
		       unsigned int *last_cycle)
{
	if (n->verdict != what->verdict)
		return false;
	if (n->verdict == ARC_REACHED)
		return (n->distance > 0) == what->far;
	if (n->verdict != ARC_CYCLE)
		return true;
	if (n->cycle <= *last_cycle)
		return false;
	*last_cycle = n->cycle;
	return true;
}

static void text_reasons(const struct arc_leaks *l, const struct graph_out *out, unsigned int max,
			 unsigned int nr_telling)
{
	unsigned int t, i, shown = 0, last_cycle = 0;
	const struct arc_graph_node *n;
	const struct site *last;

	for (t = 0; t < nr_telling; t++) {
		last = NULL;
		for (i = 0; i < l->nr && shown < max; i++) {
			n = graph_node(l->g, l->nodes[i]);
			if (!is_telling(n, &telling[t], &last_cycle))
				continue;
			if (n->verdict != ARC_CYCLE && n->site && n->site == last)
				continue;	/* one loop made them all */
			last = n->site;
			text_why(l, out, l->nodes[i]);
			shown++;
		}
	}
}

static void text_summary(const struct arc_leaks *l, const struct graph_out *out)
{
	static const char *const names[] = { "held", "LOST", "CYCLE", "BEHIND", "gone" };
	static const enum arc_verdict order[] = { ARC_LOST, ARC_CYCLE, ARC_BEHIND, ARC_REACHED,
						  ARC_GONE };
	const char *sep = ": ";
	unsigned int i;

	out_text(out, "leaks: %u object%s, %llu bytes", l->nr, l->nr == 1 ? "" : "s",
		 (unsigned long long)l->bytes);
	for (i = 0; i < ARRAY_SIZE(order); i++) {
		if (!l->nr_verdict[order[i]])
			continue;
		out_text(out, "%s%lu %s", sep, l->nr_verdict[order[i]], names[order[i]]);
		sep = ", ";
	}
	out_text(out, "\n");
}

void arc_leaks_text(const struct arc_leaks *l, void (*write)(void *arg, const char *text),
		    void *arg)
{
	struct graph_out out = { write, arg };
	int table, width = name_width(l);

	text_summary(l, &out);
	if (!l->nr)
		return;
	for (table = 0; table < ARC_LEAKS_TABLES; table++)
		text_table(l, &out, (enum arc_leak_table)table, width);
	out_text(&out, "\nwhy\n");
	text_reasons(l, &out, ARC_LEAKS_SHOWN, ARRAY_SIZE(telling));
}

/* ---- for programs ---- */

static void json_counts(const struct graph_out *out, unsigned long nr, u64 bytes,
			const unsigned long *nr_verdict)
{
	out_text(out, "\"objects\":%lu,\"bytes\":%llu,\"lost\":%lu,\"cycle\":%lu,\"behind\":%lu,"
		 "\"held\":%lu,\"gone\":%lu", nr, (unsigned long long)bytes, nr_verdict[ARC_LOST],
		 nr_verdict[ARC_CYCLE], nr_verdict[ARC_BEHIND], nr_verdict[ARC_REACHED],
		 nr_verdict[ARC_GONE]);
}

static void json_table(const struct arc_leaks *l, const struct graph_out *out,
		       enum arc_leak_table table)
{
	static const char *const names[] = { "by_type", "by_site", "by_holder" };
	const struct arc_leak_row *row;
	unsigned int i;

	out_text(out, ",\n\"%s\":[", names[table]);
	for (i = 0; i < arc_leaks_nr_rows(l, table); i++) {
		row = arc_leaks_row(l, table, i);
		out_text(out, "%s\n {\"%s\":", i ? "," : "",
			 table == ARC_LEAKS_BY_HOLDER ? "holder" : "type");
		out_json(out, row->name);
		if (table != ARC_LEAKS_BY_TYPE) {
			out_text(out, ",\"site\":");
			out_json_site(out, row->site);
		}
		out_text(out, ",");
		json_counts(out, row->nr, row->bytes, row->nr_verdict);
		out_text(out, "}");
	}
	out_text(out, "]");
}

static void json_holders(const struct arc_graph *g, const struct arc_graph_node *n,
			 const struct graph_out *out)
{
	static const char *const kinds[] = { "root", "machine", "task", "forgotten" };
	const struct arc_graph_holder *h;
	unsigned int i;

	out_text(out, ",\"holders\":[");
	for (i = 0; i < n->nr_holders; i++) {
		h = graph_holder(g, n->first_holder + i);
		out_text(out, "%s{\"name\":", i ? "," : "");
		out_json(out, h->name);
		out_text(out, ",\"site\":");
		out_json_site(out, h->site);
		out_text(out, ",\"references\":%u,\"kind\":\"%s\"}", h->nr, kinds[h->kind]);
	}
	out_text(out, "]");
}

static void json_leak(const struct arc_leaks *l, const struct graph_out *out, unsigned int node)
{
	static const char *const states[] = { "INIT", "LIVE", "DYING", "DEAD" };
	const struct arc_graph_node *n = graph_node(l->g, node);
	char why[REASON_BYTES];
	struct graph_line line;

	out_text(out, "{\"id\":%llu,\"type\":", (unsigned long long)n->id);
	out_json(out, n->type);
	out_text(out, ",\"label\":");
	out_json(out, n->label);
	out_text(out, ",\"site\":");
	out_json_site(out, n->site);
	out_text(out, ",\"bytes\":%llu,\"state\":\"%s\",\"verdict\":\"%s\"",
		 (unsigned long long)n->bytes, n->state < 4 ? states[n->state] : "?",
		 arc_verdict_name(n->verdict));
	out_json_number(out, "count", n->count);
	out_json_number(out, "users", n->users);
	out_text(out, ",\"weak\":%u,\"unknown\":%u,\"cycle\":%u,\"why\":", n->weak, n->nr_unknown,
		 n->cycle);
	line_start(&line, why, sizeof(why));
	add_reason(l, node, &line);
	line_end(&line);
	out_json(out, why);
	json_holders(l->g, n, out);
	out_text(out, "}");
}

void arc_leaks_json(const struct arc_leaks *l, void (*write)(void *arg, const char *text),
		    void *arg)
{
	struct graph_out out = { write, arg };
	unsigned int i;
	int table;

	out_text(&out, "{\"schema\":\"karc-leaks-1\",");
	json_counts(&out, l->nr, l->bytes, l->nr_verdict);
	for (table = 0; table < ARC_LEAKS_TABLES; table++)
		json_table(l, &out, (enum arc_leak_table)table);
	out_text(&out, ",\n\"leaks\":[");
	for (i = 0; i < l->nr; i++) {
		out_text(&out, "%s\n ", i ? "," : "");
		json_leak(l, &out, l->nodes[i]);
	}
	out_text(&out, "]}\n");
}

/* ---- shutdown ---- */

void arc_leaks_at_shutdown(struct machine *m,
			   void (*fn)(void *arg, const struct arc_leaks *leaks), void *arg)
{
	struct leaks_at_shutdown *s = &refcount_state(m)->leaks;

	s->ops.fn = fn;
	s->arg = arg;
}

void leaks_parting(struct machine *m)
{
	struct refcount_state *state = refcount_state(m);

	if (state->track && state->track->nr && !state->leaks.graph)
		state->leaks.graph = arc_graph_take(m, 0);
}

/* One line of the log for each line of the report. */
static void write_log(void *arg, const char *text)
{
	(void)arg;
	pr_err("alive:%s", text + 1);	/* which begins with two blanks */
}

void leaks_report_left(struct machine *m)
{
	struct leaks_at_shutdown *s = &refcount_state(m)->leaks;
	struct graph_out out = { write_log, NULL };
	struct arc_leaks *l;

	if (!s->graph)
		return;
	l = leaks_make(m, s->graph, false, refcount_state(m)->track);
	if (l && l->nr) {
		text_reasons(l, &out, LOG_LINES, NR_CAUSES);
		if (s->ops.fn)
			s->ops.fn(s->arg, l);
	}
	arc_leaks_free(l);
	arc_graph_free(s->graph);
	s->graph = NULL;
}
