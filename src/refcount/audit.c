/* SPDX-License-Identifier: MIT */
/*
 * audit.c - every arc of a tracked machine, and whether its count agrees with the edges
 *
 * What it is      A field table says what a type owns, so the whole ownership graph can be read
 *                 off the live objects. At a quiet point each strong count must equal the edges
 *                 that lead in plus the holders registered from outside; a cycle of strong edges
 *                 never goes away by itself.
 * Objects         track -- nodes: one for each arc, in order of creation
 *                      `-- buckets: arc address -> node
 *                 graph (built for one audit): edges of node i are edges[first .. first + nr)
 * Invariants      I1  A node exists from arc_init() until the object leaves the ledger.
 *                 I2  A LIVE object has a strong count that is not zero and not less than its
 *                     in-edges plus registered holders, unless it is saturated.
 *                 I3  A DEAD object has no strong reference.
 * Locking         track->lock (LR_LEDGER), interrupts off: nodes, buckets. The audit itself wants
 *                 a quiet point and takes no lock while it walks.
 * Worst case      Linear in objects plus edges; iterative; memory for the edges from the host.
 * Unlike Linux    Nothing like it there. Left out so far: weak counts are not compared (outside
 *                 weak holders are not registered), no exact mark from roots, no snapshots.
 */
#include <karc/base/bug.h>
#include <karc/base/hostmem.h>
#include <karc/refcount/audit.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define FIRST_BUCKETS	256
#define LINE_MAX_BYTES	512

struct track_node {
	struct track_node *chain;
	struct list_head node;		/* order of creation */
	struct arc *arc;
	unsigned int nr_holders;	/* registered from outside */
	/* one audit's scratch */
	unsigned int nr_in;
	unsigned int nr_edges, next_edge;
	unsigned long first_edge;
	struct track_node *from;	/* depth-first: who led here */
	enum { WHITE, GREY, BLACK } colour;
};

struct track {
	spinlock_t lock;
	struct list_head nodes;
	struct track_node **buckets;
	unsigned int nr_buckets;	/* a power of two */
	unsigned long nr;
};

struct edge {
	struct track_node *to;
	const struct arc_field *field;
	unsigned int index;
};

/* The graph of one audit; with @edges NULL it is only counted. */
struct graph {
	struct track *track;
	struct track_node *owner;
	const struct arc_field *field;
	struct edge *edges;
	unsigned long nr;
	unsigned int index;
};

static struct track_node **bucket_of(const struct track *t, const struct arc *arc)
{
	u64 h = (u64)(uintptr_t)arc * 0x9e3779b97f4a7c15ULL;

	return &t->buckets[(h >> 32) & (t->nr_buckets - 1)];
}

static struct track_node *find_node(const struct track *t, const struct arc *arc)
{
	struct track_node *n = *bucket_of(t, arc);

	while (n && n->arc != arc)
		n = n->chain;
	return n;
}

static void track_grow(struct track *t)
{
	struct track_node **old = t->buckets, *n, **bucket;

	if (t->nr < t->nr_buckets)
		return;
	t->buckets = hostmem_zalloc(NULL, 2 * t->nr_buckets * sizeof(*old));
	if (!t->buckets) {	/* longer chains, then */
		t->buckets = old;
		return;
	}
	t->nr_buckets *= 2;
	list_for_each_entry(n, &t->nodes, node) {
		bucket = bucket_of(t, n->arc);
		n->chain = *bucket;
		*bucket = n;
	}
	hostmem_free(NULL, old);
}

void track_add(struct track *t, struct arc *arc)
{
	struct track_node *n = hostmem_zalloc(NULL, sizeof(*n)), **bucket;
	unsigned long flags;

	BUG_ON(!n);	/* a ledger that forgets is worth nothing */
	n->arc = arc;
	spin_lock_irqsave(&t->lock, flags);
	track_grow(t);
	bucket = bucket_of(t, arc);
	n->chain = *bucket;
	*bucket = n;
	list_add_tail(&n->node, &t->nodes);
	t->nr++;
	spin_unlock_irqrestore(&t->lock, flags);
}

void track_del(struct track *t, struct arc *arc)
{
	struct track_node **at, *n;
	unsigned long flags;

	spin_lock_irqsave(&t->lock, flags);
	at = bucket_of(t, arc);
	while (*at && (*at)->arc != arc)
		at = &(*at)->chain;
	n = *at;
	if (n) {
		*at = n->chain;
		list_del(&n->node);
		t->nr--;
	}
	spin_unlock_irqrestore(&t->lock, flags);
	hostmem_free(NULL, n);
}

struct track *track_create(void)
{
	struct track *t = hostmem_zalloc(NULL, sizeof(*t));

	if (!t)
		return NULL;
	spin_lock_init_rank(&t->lock, LR_LEDGER);
	INIT_LIST_HEAD(&t->nodes);
	t->nr_buckets = FIRST_BUCKETS;
	t->buckets = hostmem_zalloc(NULL, FIRST_BUCKETS * sizeof(*t->buckets));
	if (!t->buckets) {
		hostmem_free(NULL, t);
		return NULL;
	}
	return t;
}

void track_destroy(struct track *t)
{
	struct track_node *n, *next;

	if (!t)
		return;
	list_for_each_entry_safe(n, next, &t->nodes, node)
		hostmem_free(NULL, n);
	hostmem_free(NULL, t->buckets);
	hostmem_free(NULL, t);
}

unsigned long audit_nr_tracked(struct machine *m)
{
	struct track *t = refcount_state(m)->track;

	return t ? t->nr : 0;
}

static void change_holders(struct arc *arc, int by)
{
	struct track *t = refcount_hot()->track;
	struct track_node *n;
	unsigned long flags;

	if (!t)
		return;
	spin_lock_irqsave(&t->lock, flags);
	n = find_node(t, arc);
	if (n)
		n->nr_holders += (unsigned int)by;
	spin_unlock_irqrestore(&t->lock, flags);
}

void audit_hold(struct arc *arc)
{
	change_holders(arc, 1);
}

void audit_release(struct arc *arc)
{
	change_holders(arc, -1);
}

/* One strong edge from @graph's owner to @child. */
static void see_edge(void *arg, struct arc *child)
{
	struct graph *g = arg;
	struct track_node *to = find_node(g->track, child);

	if (to) {
		if (g->edges)
			g->edges[g->nr] = (struct edge){ to, g->field, g->index };
		else
			to->nr_in++;
		g->owner->nr_edges++;
		g->nr++;
	}
	g->index++;
}

static void see_pointers(struct graph *g, char *obj, const struct arc_field *f, unsigned int n)
{
	char **slot = (char **)(obj + f->offset);
	unsigned int i;

	for (i = 0; i < n; i++) {
		g->index = i;
		if (slot[i])
			see_edge(g, (struct arc *)(slot[i] + f->target));
	}
}

static void see_members(struct graph *g, char *obj, const struct arc_field *f)
{
	struct list_head *head = (struct list_head *)(obj + f->offset), *node;

	for (node = head->next; node && node != head; node = node->next)
		see_edge(g, (struct arc *)((char *)node - f->member + f->target));
}

static void see_field(struct graph *g, char *obj, const struct arc_field *f)
{
	unsigned int n = 1;

	g->field = f;
	g->index = 0;
	switch (f->kind) {
	case ARC_FIELD_ARRAY:
		n = f->count ? f->count : *(unsigned int *)(obj + f->count_offset);
		see_pointers(g, obj, f, n);
		break;
	case ARC_FIELD_OWNED:
		see_pointers(g, obj, f, n);
		break;
	case ARC_FIELD_LIST:
		see_members(g, obj, f);
		break;
	case ARC_FIELD_VISITOR:
		if (f->ops.visit)
			f->ops.visit(obj, see_edge, g);
		break;
	default:
		break;
	}
}

/* The edges of every live object: counted, or stored if @g->edges is there. */
static void walk_edges(struct graph *g)
{
	const struct arc_field *f;
	struct track_node *n;

	g->nr = 0;
	list_for_each_entry(n, &g->track->nodes, node) {
		n->nr_edges = 0;
		n->next_edge = 0;
		n->first_edge = g->nr;
		n->colour = WHITE;
		n->from = NULL;
		g->owner = n;
		f = n->arc->state == ARC_LIVE ? n->arc->type->fields : NULL;
		for (; f && f->kind != ARC_FIELD_END; f++)
			see_field(g, arc_object(n->arc), f);
	}
}

static void count_edges(struct graph *g, struct track *t)
{
	struct track_node *n;

	*g = (struct graph){ .track = t };
	list_for_each_entry(n, &t->nodes, node)
		n->nr_in = 0;
	walk_edges(g);
}

static void fail_node(struct check_report *report, const struct track_node *n, const char *what)
{
	const struct site *site = n->arc->site;

	check_fail(report, "%s: %s from %s:%u: count %u, %u in-edges, %u holders", what,
		   n->arc->type->name, site ? site->file : "?", site ? site->line : 0,
		   arc_count(n->arc), n->nr_in, n->nr_holders);
}

long audit_counts(struct machine *m, struct check_report *report)
{
	struct track *t = refcount_state(m)->track;
	struct track_node *n;
	struct graph g;
	long nr = 0;

	if (!t)
		return 0;
	count_edges(&g, t);
	list_for_each_entry(n, &t->nodes, node) {
		if (n->arc->state != ARC_LIVE || arc_count(n->arc) == n->nr_in + n->nr_holders)
			continue;
		fail_node(report, n, arc_count(n->arc) > n->nr_in + n->nr_holders ?
			  "audit: more references than edges and holders" :
			  "audit: fewer references than edges and holders");
		nr++;
	}
	return nr;
}

void track_check(struct track *t, struct check_report *report)
{
	const struct arc_type *type;
	struct track_node *n;
	struct graph g;

	count_edges(&g, t);
	list_for_each_entry(n, &t->nodes, node) {
		type = n->arc->type;
		if (n->arc->state == ARC_LIVE && arc_count(n->arc) < n->nr_in + n->nr_holders)
			fail_node(report, n, "I2: arc");
		if (n->arc->state == ARC_LIVE && !arc_count(n->arc))
			fail_node(report, n, "I2: live arc without a reference");
		if (n->arc->state == ARC_DEAD && arc_count(n->arc))
			fail_node(report, n, "I3: dead arc");
		if (n->arc->state == ARC_LIVE && type->ops.check)
			type->ops.check(arc_object(n->arc), report);
	}
}

/* One step of a cycle's line: "type.field[3] -> ". */
static size_t print_edge(char *buf, size_t at, const struct track_node *n, const struct edge *e)
{
	int len;

	if (at >= LINE_MAX_BYTES)
		return at;
	if (e->field->kind == ARC_FIELD_OWNED)
		len = snprintf(buf + at, LINE_MAX_BYTES - at, "%s.%s -> ", n->arc->type->name,
			       e->field->name);
	else
		len = snprintf(buf + at, LINE_MAX_BYTES - at, "%s.%s[%u] -> ",
			       n->arc->type->name, e->field->name, e->index);
	return at + (size_t)len;
}

/*
 * The cycle that the edge from @last back to @first closes. The walk's path leads from @first to
 * @last through ->from; turned round for the printing, and back.
 */
static void report_cycle(struct graph *g, struct track_node *first, struct track_node *last,
			 void (*fn)(void *arg, const char *text), void *arg)
{
	struct track_node *n, *prev = NULL, *next;
	char line[LINE_MAX_BYTES];
	size_t at = 0;

	for (n = last; n != first; n = next) {
		next = n->from;
		n->from = prev;
		prev = n;
	}
	at = print_edge(line, at, first, &g->edges[first->first_edge + first->next_edge - 1]);
	for (n = prev, prev = first; n; n = next) {
		at = print_edge(line, at, n, &g->edges[n->first_edge + n->next_edge - 1]);
		next = n->from;
		n->from = prev;
		prev = n;
	}
	if (at < sizeof(line))
		snprintf(line + at, sizeof(line) - at, "%s", first->arc->type->name);
	if (fn)
		fn(arg, line);
}

/* Depth-first from @root; returns the number of back edges. */
static long walk_cycles(struct graph *g, struct track_node *root,
			void (*fn)(void *arg, const char *text), void *arg)
{
	struct track_node *n = root, *to;
	long nr = 0;

	root->colour = GREY;
	while (n) {
		if (n->next_edge == n->nr_edges) {
			n->colour = BLACK;
			n = n->from;
			continue;
		}
		to = g->edges[n->first_edge + n->next_edge++].to;
		if (to->colour == GREY) {
			report_cycle(g, to, n, fn, arg);
			nr++;
		} else if (to->colour == WHITE) {
			to->colour = GREY;
			to->from = n;
			n = to;
		}
	}
	return nr;
}

long audit_cycles(struct machine *m, void (*fn)(void *arg, const char *text), void *arg)
{
	struct track *t = refcount_state(m)->track;
	struct track_node *n;
	struct graph g;
	long nr = 0;

	if (!t)
		return 0;
	count_edges(&g, t);
	g.edges = hostmem_alloc(NULL, g.nr * sizeof(*g.edges) + 1);
	if (!g.edges)
		return -ENOMEM;
	walk_edges(&g);
	list_for_each_entry(n, &t->nodes, node)
		if (n->colour == WHITE)
			nr += walk_cycles(&g, n, fn, arg);
	hostmem_free(NULL, g.edges);
	return nr;
}
