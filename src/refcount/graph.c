/* SPDX-License-Identifier: MIT */
/*
 * graph.c - taking the ownership graph of a machine
 *
 * What it is      A field table says what a type owns, so the whole ownership graph can be read
 *                 off the objects. It is copied once, at a quiet point, into arrays of nodes,
 *                 edges and holders; whatever wants to know about ownership reads these.
 * Objects         arc_graph -- nodes   arcs by number of creation, then small forms
 *                     |     -- edges   grouped by owner: first_edge .. first_edge + nr_edges
 *                     |     -- holders grouped by object in the same way
 *                     |     -- table   hash: address of arc or small object -> node
 *                     `---- texts   labels and names, in blocks
 *                 arc_graph_see: the graph in the making, which sources fill through.
 * Invariants      I1  Order of nodes, edges, holders does not depend on an address.
 *                 I2  Edges of one node: its field table's first, in declared order, then what
 *                     sources add, in their order.
 *                 I3  A reference to an address that is no node is no edge: it dangles.
 *                 I4  After a failed allocation everything made so far is given back.
 * Locking         state->sources: changed by room init and exit only. Taking needs a quiet point.
 * Worst case      Linear in objects plus references; iterative. While edges are sorted there are
 *                 two copies of them.
 * Unlike Linux    Nothing like it there.
 */
#include <karc/base/bug.h>
#include <karc/hw/inject.h>
#include <karc/refcount/users.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph_internal.h"
#include "track.h"

#define FIRST_ITEMS	64u
#define FIRST_TABLE	8u		/* log2 */
#define TEXT_BLOCK	4096u

struct graph_texts {
	struct graph_texts *next;
	size_t used, size;
	char text[];
};

/* As a source showed it: the nodes may still come. */
struct seen_edge {
	const void *from, *to;
	const char *field;
	unsigned int index;
	enum arc_edge_kind kind;
};

/* ---- memory ---- */

void *graph_alloc(struct machine *m, size_t bytes)
{
	return inject_fail() ? NULL : hostmem_zalloc(machine_hostmem(m), bytes);
}

void *graph_alloc_array(struct machine *m, size_t nr, size_t bytes)
{
	size_t size;

	if (__builtin_mul_overflow(nr ? nr : 1, bytes, &size))
		return NULL;
	return graph_alloc(m, size);
}

void graph_release(struct machine *m, void *block)
{
	hostmem_free(machine_hostmem(m), block);
}

void *graph_vec_add(struct machine *m, struct graph_vec *v)
{
	unsigned int max = v->max ? 2 * v->max : FIRST_ITEMS;
	void *items;

	if (v->nr == v->max) {
		items = max > v->max ? graph_alloc_array(m, max, v->item_bytes) : NULL;
		if (!items)
			return NULL;
		if (v->nr)
			memcpy(items, v->items, v->nr * v->item_bytes);
		graph_release(m, v->items);
		v->items = items;
		v->max = max;
	}
	return (char *)v->items + v->nr++ * v->item_bytes;
}

void graph_vec_free(struct machine *m, struct graph_vec *v)
{
	graph_release(m, v->items);
	v->items = NULL;
	v->nr = v->max = 0;
}

const char *graph_keep_text(struct arc_graph_see *see, const char *text)
{
	struct arc_graph *g = see->g;
	struct graph_texts *block = g->texts;
	size_t bytes = strlen(text) + 1;
	char *copy;

	if (bytes == 1 || see->failed)
		return "";
	if (!block || block->size - block->used < bytes) {
		block = graph_alloc(g->m, sizeof(*block) + TEXT_BLOCK);
		if (!block) {
			see->failed = true;
			return "";
		}
		block->size = TEXT_BLOCK;
		block->next = g->texts;
		g->texts = block;
	}
	copy = block->text + block->used;
	memcpy(copy, text, bytes);
	block->used += bytes;
	return copy;
}

static const char *keep_args(struct arc_graph_see *see, const char *fmt, va_list args)
{
	char text[LABEL_BYTES];

	if (!fmt)
		return "";
	vsnprintf(text, sizeof(text), fmt, args);
	return graph_keep_text(see, text);
}

/* ---- nodes ---- */

static unsigned int *table_place(const struct arc_graph *g, const void *key)
{
	unsigned int mask = (1u << g->table_bits) - 1;
	u64 h = (u64)(uintptr_t)key * 0x9e3779b97f4a7c15ULL;
	unsigned int i = (unsigned int)(h >> (64 - g->table_bits));

	while (g->table[i] && graph_node(g, g->table[i] - 1)->key != key)
		i = (i + 1) & mask;
	return &g->table[i];
}

/* Keep half of it empty. */
static int table_grow(struct arc_graph *g)
{
	unsigned int bits = g->table ? g->table_bits + 1 : FIRST_TABLE, *table, i;

	if (g->table && 2 * g->nodes.nr < 1u << g->table_bits)
		return 0;
	table = bits < 32 ? graph_alloc_array(g->m, 1ul << bits, sizeof(*table)) : NULL;
	if (!table)
		return -ENOMEM;
	graph_release(g->m, g->table);
	g->table = table;
	g->table_bits = bits;
	for (i = 0; i < g->nodes.nr; i++)
		*table_place(g, graph_node(g, i)->key) = i + 1;
	return 0;
}

unsigned int arc_graph_find(const struct arc_graph *g, const void *key)
{
	return g->table ? *table_place(g, key) - 1 : ARC_NONE;
}

/* The new node of @key; NULL when there is one, or no memory. */
static struct arc_graph_node *add_node(struct arc_graph_see *see, const void *key)
{
	struct arc_graph *g = see->g;
	struct arc_graph_node *n;
	unsigned int *place;

	if (see->failed || table_grow(g)) {
		see->failed = true;
		return NULL;
	}
	place = table_place(g, key);
	if (*place)
		return NULL;
	n = graph_vec_add(g->m, &g->nodes);
	if (!n) {
		see->failed = true;
		return NULL;
	}
	*place = g->nodes.nr;
	n->key = key;
	n->label = "";
	n->state = ARC_LIVE;
	n->users = ARC_NONE;
	n->via = ARC_NONE;
	n->distance = ARC_NONE;
	n->root = ARC_NONE;
	return n;
}

static void see_arc(struct arc_graph_see *see, const struct track_node *t)
{
	struct arc_graph_node *n = add_node(see, t->arc);
	const struct arc *arc = t->arc;
	char text[LABEL_BYTES];

	if (!n)
		return;
	n->arc = arc;
	n->type = arc->type->name;
	n->site = arc->site;
	n->id = t->id;
	n->bytes = arc->type->size;
	n->state = arc->state;
	n->count = arc_count(arc);
	n->weak = arc_weak_count(arc);
	if (arc->type->ops.on_last_user)
		n->users = refcount_read(&arc_users_of(arc)->count);
	n->saturated = n->count > INT_MAX || n->weak > INT_MAX ||
		       (n->users != ARC_NONE && n->users > INT_MAX);
	if (arc->type->ops.describe && arc->state == ARC_LIVE) {
		text[0] = '\0';
		arc->type->ops.describe(arc_object(t->arc), text, sizeof(text));
		n->label = graph_keep_text(see, text);
	}
}

void arc_graph_see_object(struct arc_graph_see *see, const void *obj, const char *type,
			  const struct site *site, unsigned int count, u64 bytes,
			  const char *label_fmt, ...)
{
	struct arc_graph_node *n = add_node(see, obj);
	va_list args;

	if (!n)
		return;
	n->type = type;
	n->site = site;
	n->id = ++see->last_id;
	n->bytes = bytes;
	n->count = count;
	n->saturated = count != ARC_NONE && count > INT_MAX;
	va_start(args, label_fmt);
	n->label = keep_args(see, label_fmt, args);
	va_end(args);
}

void arc_graph_see_label(struct arc_graph_see *see, const struct arc *arc, const char *fmt, ...)
{
	unsigned int i = arc_graph_find(see->g, arc);
	const char *text;
	va_list args;

	va_start(args, fmt);
	text = keep_args(see, fmt, args);
	va_end(args);
	if (i != ARC_NONE)
		graph_node(see->g, i)->label = text;
}

void arc_graph_see_edge(struct arc_graph_see *see, const void *from, const void *to,
			enum arc_edge_kind kind, const char *field, unsigned int index)
{
	struct seen_edge *e = see->failed ? NULL : graph_vec_add(see->g->m, &see->edges);

	if (e)
		*e = (struct seen_edge){ from, to, field, index, kind };
	else
		see->failed = true;
}

void arc_graph_see_root(struct arc_graph_see *see, const void *to, const char *fmt, ...)
{
	struct seen_root *root = see->failed ? NULL : graph_vec_add(see->g->m, &see->roots);
	va_list args;

	if (!root) {
		see->failed = true;
		return;
	}
	va_start(args, fmt);
	*root = (struct seen_root){ to, keep_args(see, fmt, args) };
	va_end(args);
}

/* ---- edges ---- */

static void add_edge(struct arc_graph_see *see, unsigned int from, const void *to,
		     enum arc_edge_kind kind, const char *field, unsigned int index)
{
	struct arc_graph *g = see->g;
	unsigned int target = arc_graph_find(g, to);
	struct arc_graph_dangling *d;
	struct arc_graph_edge *e;

	if (target != ARC_NONE) {
		e = graph_vec_add(g->m, &g->edges);
		see->failed |= !e;
		if (e)
			*e = (struct arc_graph_edge){ from, target, field, index, (u8)kind, false };
	} else {
		d = graph_vec_add(g->m, &g->dangling);
		see->failed |= !d;
		if (d)
			*d = (struct arc_graph_dangling){ from, field, index, (u8)kind };
	}
}

static void see_field(void *arg, const struct arc_field *f, unsigned int index,
		      enum arc_edge_kind kind, struct arc *child)
{
	struct arc_graph_see *see = arg;

	if (!see->failed)
		add_edge(see, see->from, child, kind, f->name, index);
}

/* What the field tables say, then what sources said. */
static void add_edges(struct arc_graph_see *see, struct track *t)
{
	const struct seen_edge *e;
	struct track_node *n;
	unsigned int i, from;

	see->from = 0;
	if (t)
		list_for_each_entry(n, &t->nodes, node) {
			fields_walk(n->arc, see_field, see);
			see->from++;
		}
	for (i = 0; i < see->edges.nr && !see->failed; i++) {
		e = &((struct seen_edge *)see->edges.items)[i];
		from = arc_graph_find(see->g, e->from);
		if (from != ARC_NONE)
			add_edge(see, from, e->to, e->kind, e->field, e->index);
	}
}

/*
 * Stable counting sort of @v's items by the node number that each begins with. @first is room for
 * the nodes plus one; afterwards the items of node i are [first[i], first[i + 1]).
 */
static int sort_by_node(struct arc_graph *g, struct graph_vec *v, unsigned int *first)
{
	char *from = v->items, *to = graph_alloc_array(g->m, v->nr, v->item_bytes);
	unsigned int i, node;

	if (!to)
		return -ENOMEM;
	memset(first, 0, (g->nodes.nr + 1ul) * sizeof(*first));
	for (i = 0; i < v->nr; i++)
		first[*(unsigned int *)(from + i * v->item_bytes) + 1]++;
	for (i = 0; i < g->nodes.nr; i++)
		first[i + 1] += first[i];
	for (i = 0; i < v->nr; i++) {
		node = *(unsigned int *)(from + i * v->item_bytes);
		memcpy(to + first[node]++ * v->item_bytes, from + i * v->item_bytes,
		       v->item_bytes);
	}
	for (i = g->nodes.nr; i > 0; i--)	/* each is at its end now, the next one's begin */
		first[i] = first[i - 1];
	first[0] = 0;
	graph_release(g->m, v->items);
	v->items = to;
	v->max = v->nr;
	return 0;
}

static_assert(offsetof(struct arc_graph_edge, from) == 0, "sort_by_node() reads it");
static_assert(offsetof(struct arc_graph_holder, node) == 0, "sort_by_node() reads it");

/* Edges and holders to their nodes. */
static int group(struct arc_graph *g)
{
	unsigned int *first = graph_alloc_array(g->m, g->nodes.nr + 1ul, sizeof(*first)), i;
	int err = first ? sort_by_node(g, &g->edges, first) : -ENOMEM;

	for (i = 0; !err && i < g->nodes.nr; i++) {
		graph_node(g, i)->first_edge = first[i];
		graph_node(g, i)->nr_edges = first[i + 1] - first[i];
	}
	if (!err)
		err = sort_by_node(g, &g->holders, first);
	for (i = 0; !err && i < g->nodes.nr; i++) {
		graph_node(g, i)->first_holder = first[i];
		graph_node(g, i)->nr_holders = first[i + 1] - first[i];
	}
	graph_release(g->m, first);
	return err;
}

/* ---- taking ---- */

static void visit_sources(struct arc_graph_see *see, struct machine *m)
{
	const struct arc_graph_sources *s = &refcount_state(m)->sources;
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		s->source[i]->ops.visit(m, see);
}

static int fill(struct arc_graph_see *see, struct machine *m)
{
	struct track *t = refcount_state(m)->track;
	struct track_node *n;

	if (t) {
		see->last_id = t->last_id;
		list_for_each_entry(n, &t->nodes, node)
			see_arc(see, n);
	}
	visit_sources(see, m);
	if (!see->failed)
		add_edges(see, t);
	if (!see->failed)
		graph_add_holders(see, t);
	if (see->failed || group(see->g))
		return -ENOMEM;
	return graph_mark(see->g);
}

struct arc_graph *arc_graph_take(struct machine *m, unsigned int flags)
{
	struct arc_graph *g = graph_alloc(m, sizeof(*g));
	struct arc_graph_see see = {
		.g = g,
		.edges.item_bytes = sizeof(struct seen_edge),
		.roots.item_bytes = sizeof(struct seen_root),
	};
	int err;

	if (!g)
		return NULL;
	g->m = m;
	g->flags = flags;
	g->nodes.item_bytes = sizeof(struct arc_graph_node);
	g->edges.item_bytes = sizeof(struct arc_graph_edge);
	g->holders.item_bytes = sizeof(struct arc_graph_holder);
	g->dangling.item_bytes = sizeof(struct arc_graph_dangling);
	err = fill(&see, m);
	graph_vec_free(m, &see.edges);
	graph_vec_free(m, &see.roots);
	if (err) {
		arc_graph_free(g);
		return NULL;
	}
	return g;
}

void arc_graph_free(struct arc_graph *g)
{
	struct graph_texts *block, *next;
	struct machine *m;

	if (!g)
		return;
	m = g->m;
	for (block = g->texts; block; block = next) {
		next = block->next;
		graph_release(m, block);
	}
	graph_vec_free(m, &g->nodes);
	graph_vec_free(m, &g->edges);
	graph_vec_free(m, &g->holders);
	graph_vec_free(m, &g->dangling);
	graph_release(m, g->table);
	graph_release(m, g->depth);
	graph_release(m, g->head);
	graph_release(m, g);
}

/* ---- reading ---- */

unsigned int arc_graph_nr_nodes(const struct arc_graph *g)
{
	return g->nodes.nr;
}

unsigned int arc_graph_nr_edges(const struct arc_graph *g)
{
	return g->edges.nr;
}

unsigned int arc_graph_nr_holders(const struct arc_graph *g)
{
	return g->holders.nr;
}

unsigned int arc_graph_nr_dangling(const struct arc_graph *g)
{
	return g->dangling.nr;
}

unsigned int arc_graph_nr_components(const struct arc_graph *g)
{
	return g->nr_components;
}

unsigned int arc_graph_nr_verdict(const struct arc_graph *g, enum arc_verdict verdict)
{
	return verdict <= ARC_GONE ? g->nr_verdict[verdict] : 0;
}

const struct arc_graph_node *arc_graph_node(const struct arc_graph *g, unsigned int i)
{
	BUG_ON(i >= g->nodes.nr);
	return graph_node(g, i);
}

const struct arc_graph_edge *arc_graph_edge(const struct arc_graph *g, unsigned int i)
{
	BUG_ON(i >= g->edges.nr);
	return graph_edge(g, i);
}

const struct arc_graph_holder *arc_graph_holder(const struct arc_graph *g, unsigned int i)
{
	BUG_ON(i >= g->holders.nr);
	return graph_holder(g, i);
}

const struct arc_graph_dangling *arc_graph_dangling(const struct arc_graph *g, unsigned int i)
{
	BUG_ON(i >= g->dangling.nr);
	return &((struct arc_graph_dangling *)g->dangling.items)[i];
}

/* ---- sources ---- */

int arc_graph_source_register(const struct arc_graph_source *source)
{
	struct machine *m = this_machine();
	struct arc_graph_sources *s = &refcount_state(m)->sources;
	const struct arc_graph_source **bigger;
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (s->source[i] == source)
			return -EEXIST;
	if (s->nr == s->max) {
		bigger = graph_alloc_array(m, 2ul * s->max + 4, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		if (s->nr)
			memcpy(bigger, s->source, s->nr * sizeof(*bigger));
		graph_release(m, s->source);
		s->source = bigger;
		s->max = 2 * s->max + 4;
	}
	s->source[s->nr++] = source;
	return 0;
}

void arc_graph_source_unregister(const struct arc_graph_source *source)
{
	struct machine *m = this_machine();
	struct arc_graph_sources *s = &refcount_state(m)->sources;
	unsigned int i, kept = 0;

	for (i = 0; i < s->nr; i++)
		if (s->source[i] != source)
			s->source[kept++] = s->source[i];
	s->nr = kept;
	if (!kept)
		graph_sources_exit(m, s);
}

void graph_sources_exit(struct machine *m, struct arc_graph_sources *s)
{
	graph_release(m, s->source);
	*s = (struct arc_graph_sources){ .nr = 0 };
}
