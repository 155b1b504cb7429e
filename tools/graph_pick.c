/* SPDX-License-Identifier: MIT */
/*
 * graph_pick.c - which objects are shown, and which of them together in one box
 *
 * What it is
 *	A machine at work has thousands of objects, a person reads some dozens of boxes. Shown is what
 *	the story made and what that owns; then objects of one type, or of one type and site, become
 *	a box with a number, and their references arrows with a number. What is wrong (leaked, on a
 *	cycle, miscounted) never shares a box with what is right, so it cannot hide in a group.
 *
 * Worst case
 *	Linear in objects, n log n in references. Boxes of a picture in groups: two for each type.
 */
#include "graph.h"
#include <karc/refcount/arc.h>
#include <stdlib.h>
#include <string.h>

#define SINGLE_OBJECTS	48u	/* as many are drawn one by one, when nobody says how */
#define SINGLE_WRONG	24u	/* and so many of the wrong ones in a picture of groups */
#define HOLDERS_MAX	14u	/* more are put together */

/* ---- what is wrong ----------------------------------------------------------------------- */

/* Objects of smaller form have no date of birth: they leaked with whoever owns them. */
static bool born_in_story(const struct graph_scene *scene, const struct arc_graph_node *n)
{
	return n->arc && n->id > scene->at_boot;
}

static unsigned int wrong_by_itself(const struct graph_scene *scene,
				    const struct arc_graph_node *n)
{
	unsigned int wrong = 0;

	if (n->verdict == ARC_GONE)
		return GRAPH_DYING;
	if (n->verdict != ARC_REACHED || (scene->over && born_in_story(scene, n)))
		wrong |= GRAPH_LEAKED;
	if (n->cycle)
		wrong |= GRAPH_CYCLE;
	if (scene->quiet && n->count != ARC_NONE && !n->saturated &&
	    n->count < n->nr_in + n->nr_held)
		wrong |= GRAPH_MISCOUNT;
	return wrong;
}

unsigned int graph_wrong(const struct graph_scene *scene, unsigned int i)
{
	return wrong_by_itself(scene, arc_graph_node(scene->graph, i));
}

/* ---- what is shown ----------------------------------------------------------------------- */

struct pick {
	const struct graph_scene *scene;
	const struct arc_graph *g;
	const struct graph_options *opt;
	unsigned int nr;
	bool *shown;
	unsigned int *wrong;		/* by node: GRAPH_* */
	unsigned int *todo;		/* for closures: nodes still to be looked at */
};

static bool owns(const struct arc_graph_edge *e)
{
	return e->kind != ARC_EDGE_WEAK;
}

/* @in grows to all that its members own, directly or not; only nodes that @may has, if given. */
static void close_over(struct pick *pk, bool *in)
{
	unsigned int nr = 0, i, e;

	for (i = 0; i < pk->nr; i++)
		if (in[i])
			pk->todo[nr++] = i;
	while (nr) {
		const struct arc_graph_node *n = arc_graph_node(pk->g, pk->todo[--nr]);

		for (e = n->first_edge; e < n->first_edge + n->nr_edges; e++) {
			const struct arc_graph_edge *edge = arc_graph_edge(pk->g, e);

			if (!owns(edge) || in[edge->to])
				continue;
			in[edge->to] = true;
			pk->todo[nr++] = edge->to;
		}
	}
}

/* When the story is over, what the leaked ones own has leaked with them. */
static void spread_leaks(struct pick *pk)
{
	bool *leaked = calloc(pk->nr, sizeof(*leaked));
	unsigned int i;

	if (!leaked)
		return;
	for (i = 0; i < pk->nr; i++)
		leaked[i] = pk->wrong[i] & GRAPH_LEAKED;
	close_over(pk, leaked);
	for (i = 0; i < pk->nr; i++)
		if (leaked[i] && !arc_graph_node(pk->g, i)->arc)
			pk->wrong[i] |= GRAPH_LEAKED;
	free(leaked);
}

static void pick_story(struct pick *pk)
{
	unsigned int i;

	for (i = 0; i < pk->nr; i++) {
		pk->wrong[i] = graph_wrong(pk->scene, i);
		pk->shown[i] = pk->opt->all || pk->wrong[i] & (GRAPH_LEAKED | GRAPH_CYCLE) ||
			       born_in_story(pk->scene, arc_graph_node(pk->g, i));
	}
	if (pk->scene->over)
		spread_leaks(pk);
	close_over(pk, pk->shown);
}

/* "type" or "type:part of the label". */
static bool matches(const struct arc_graph_node *n, const char *what)
{
	const char *colon = strchr(what, ':');
	size_t len = colon ? (size_t)(colon - what) : strlen(what);

	return strlen(n->type) == len && !strncmp(n->type, what, len) &&
	       (!colon || strstr(n->label, colon + 1));
}

static bool matches_any(const struct arc_graph_node *n, const char *const *what, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (matches(n, what[i]))
			return true;
	return false;
}

static bool keep_focus(struct pick *pk)
{
	bool *in = calloc(pk->nr + 1, sizeof(*in));
	unsigned int i;

	if (!in)
		return false;
	for (i = 0; i < pk->nr; i++)
		in[i] = pk->shown[i] && matches_any(arc_graph_node(pk->g, i), pk->opt->focus,
						    pk->opt->nr_focus);
	close_over(pk, in);
	for (i = 0; i < pk->nr; i++)
		pk->shown[i] &= in[i];
	free(in);
	return true;
}

/* Objects of the types, and both ends of each reference that one of them has or is. */
static bool keep_types(struct pick *pk)
{
	bool *of_type = calloc(pk->nr + 1, sizeof(*of_type));
	bool *in = calloc(pk->nr + 1, sizeof(*in));
	unsigned int i;

	for (i = 0; of_type && in && i < pk->nr; i++)
		of_type[i] = in[i] = pk->shown[i] &&
			matches_any(arc_graph_node(pk->g, i), pk->opt->types, pk->opt->nr_types);
	for (i = 0; of_type && in && i < arc_graph_nr_edges(pk->g); i++) {
		const struct arc_graph_edge *e = arc_graph_edge(pk->g, i);

		if (of_type[e->from] || of_type[e->to])
			in[e->from] = in[e->to] = true;
	}
	for (i = 0; of_type && in && i < pk->nr; i++)
		pk->shown[i] &= in[i];
	free(of_type);
	free(in);
	return of_type && in;
}

/* ---- boxes ------------------------------------------------------------------------------- */

static enum graph_grouping choose_grouping(const struct pick *pk, unsigned int nr_objects)
{
	if (pk->opt->grouping != GRAPH_GROUP_AUTO)
		return pk->opt->grouping;
	return nr_objects <= SINGLE_OBJECTS ? GRAPH_GROUP_NONE : GRAPH_GROUP_TYPE;
}

static bool same_site(const struct site *a, const struct site *b)
{
	return a == b || (a && b && a->line == b->line && !strcmp(a->file, b->file));
}

static bool is_single(const struct picture *p, unsigned int wrong, unsigned int nr_wrong)
{
	return p->grouping == GRAPH_GROUP_NONE || (wrong && nr_wrong <= SINGLE_WRONG);
}

/* The box that the object joins, or a new one at the end. */
static struct picture_node *box_for(struct picture *p, const struct arc_graph_node *n,
				    unsigned int wrong, unsigned int nr_wrong)
{
	struct picture_node *box;
	unsigned int i;

	for (i = 0; !is_single(p, wrong, nr_wrong) && i < p->nr_nodes; i++) {
		box = &p->nodes[i];
		if (box->type && !strcmp(box->type, n->type) && box->wrong == wrong &&
		    (p->grouping != GRAPH_GROUP_SITE || same_site(box->site, n->site)) &&
		    !is_single(p, box->wrong, nr_wrong))
			return box;
	}
	box = &p->nodes[p->nr_nodes++];
	*box = (struct picture_node){ .type = n->type, .label = n->label, .site = n->site,
				      .wrong = wrong, .count_low = n->count,
				      .count_high = n->count };
	return box;
}

static void box_add(struct picture_node *box, const struct arc_graph_node *n, unsigned int i,
		    unsigned int wrong)
{
	if (!box->nr++)
		box->first = i;
	else
		box->label = "";
	if (!same_site(box->site, n->site))
		box->site = NULL;
	if (n->count < box->count_low)
		box->count_low = n->count;
	if (n->count > box->count_high)
		box->count_high = n->count;
	box->weak += n->weak;
	box->users += n->users == ARC_NONE ? 0 : n->users;
	box->bytes += n->bytes;
	box->nr_wrong += wrong != 0;
}

static bool make_boxes(struct picture *p, const struct pick *pk)
{
	unsigned int i, nr = 0, nr_wrong = 0;

	for (i = 0; i < pk->nr; i++) {
		nr += pk->shown[i];
		nr_wrong += pk->shown[i] && pk->wrong[i];
		p->nr_leaked += pk->shown[i] && (pk->wrong[i] & GRAPH_LEAKED);
	}
	p->nr_objects = nr;
	p->nr_hidden = pk->nr - nr;
	p->grouping = choose_grouping(pk, nr);
	p->nodes = calloc(nr + 1, sizeof(*p->nodes));
	p->box = calloc(pk->nr + 1, sizeof(*p->box));
	if (!p->nodes || !p->box)
		return false;
	for (i = 0; i < pk->nr; i++) {
		const struct arc_graph_node *n = arc_graph_node(pk->g, i);
		struct picture_node *box;

		p->box[i] = ARC_NONE;
		if (!pk->shown[i])
			continue;
		box = box_for(p, n, pk->wrong[i], nr_wrong);
		box_add(box, n, i, pk->wrong[i]);
		p->box[i] = (unsigned int)(box - p->nodes);
	}
	return true;
}

/* ---- arrows ------------------------------------------------------------------------------ */

static int compare_unsigned(unsigned int a, unsigned int b)
{
	return a < b ? -1 : a > b;
}

static int compare_arrows(const void *x, const void *y)
{
	const struct picture_arrow *a = x, *b = y;
	int d = compare_unsigned(a->from, b->from);

	if (!d)
		d = compare_unsigned(a->to, b->to);
	if (!d)
		d = compare_unsigned(a->kind, b->kind);
	if (!d)
		d = strcmp(a->field, b->field);
	return d ? d : compare_unsigned(a->index, b->index);
}

static bool same_arrow(const struct picture_arrow *a, const struct picture_arrow *b)
{
	return a->from == b->from && a->to == b->to && a->kind == b->kind &&
	       !strcmp(a->field, b->field);
}

/* Sorted ones that differ by their index only become one with a number. */
static void merge_arrows(struct picture *p)
{
	unsigned int i, nr = 0;

	for (i = 0; i < p->nr_arrows; i++) {
		struct picture_arrow *last = nr ? &p->arrows[nr - 1] : NULL;

		if (last && same_arrow(last, &p->arrows[i])) {
			last->index = ARC_NONE;
			last->nr++;
			last->on_cycle |= p->arrows[i].on_cycle;
		} else {
			p->arrows[nr++] = p->arrows[i];
		}
	}
	p->nr_arrows = nr;
}

static bool make_arrows(struct picture *p, const struct arc_graph *g)
{
	unsigned int i, nr = arc_graph_nr_edges(g);

	p->arrows = calloc(nr + 1, sizeof(*p->arrows));
	if (!p->arrows)
		return false;
	for (i = 0; i < nr; i++) {
		const struct arc_graph_edge *e = arc_graph_edge(g, i);

		if (p->box[e->from] == ARC_NONE || p->box[e->to] == ARC_NONE)
			continue;
		p->arrows[p->nr_arrows++] = (struct picture_arrow){
			p->box[e->from], p->box[e->to], e->field, e->index, 1, e->kind,
			e->on_cycle };
	}
	qsort(p->arrows, p->nr_arrows, sizeof(*p->arrows), compare_arrows);
	merge_arrows(p);
	return true;
}

/* ---- who holds from outside -------------------------------------------------------------- */

/* How much is told of a holder: who and where; who; which kind. */
enum { TELL_ALL, TELL_NAME, TELL_KIND };

static void tell_holder(struct picture_holder *to, const struct arc_graph_holder *h, int how)
{
	static const char *const kinds[] = {
		[ARC_HOLDER_ROOT] = "registered roots", [ARC_HOLDER_MACHINE] = "the machine",
		[ARC_HOLDER_TASK] = "tasks", [ARC_HOLDER_GONE] = "tasks that are gone",
	};
	const char *name = h->name && h->name[0] ? h->name : kinds[h->kind];

	memset(to, 0, sizeof(*to));
	to->machine = h->kind == ARC_HOLDER_MACHINE;
	to->gone = h->kind == ARC_HOLDER_GONE;
	snprintf(to->text, sizeof(to->text), "%s", how == TELL_KIND ? kinds[h->kind] : name);
	if (how == TELL_ALL && h->site)
		snprintf(to->where, sizeof(to->where), "%s:%u %s()", h->site->file, h->site->line,
			 h->site->func);
}

static unsigned int find_holder(struct picture *p, const struct picture_holder *h)
{
	unsigned int i;

	for (i = 0; i < p->nr_holders; i++)
		if (p->holders[i].machine == h->machine && p->holders[i].gone == h->gone &&
		    !strcmp(p->holders[i].text, h->text) && !strcmp(p->holders[i].where, h->where))
			return i;
	p->holders[p->nr_holders] = *h;
	return p->nr_holders++;
}

static void add_hold(struct picture *p, unsigned int holder, unsigned int node, unsigned int nr,
		     u8 kind)
{
	unsigned int i;

	for (i = 0; i < p->nr_holds; i++) {
		struct picture_hold *hold = &p->holds[i];

		if (hold->holder == holder && hold->node == node && hold->kind == kind) {
			hold->nr += nr;
			return;
		}
	}
	p->holds[p->nr_holds++] = (struct picture_hold){ holder, node, nr, kind };
}

/* False: too many of them to be told like this. */
static bool tell_holders(struct picture *p, const struct arc_graph *g, int how)
{
	unsigned int i;

	p->nr_holders = p->nr_holds = 0;
	for (i = 0; i < arc_graph_nr_holders(g); i++) {
		const struct arc_graph_holder *h = arc_graph_holder(g, i);
		struct picture_holder told;

		if (p->box[h->node] == ARC_NONE || !h->nr)
			continue;
		tell_holder(&told, h, how);
		add_hold(p, find_holder(p, &told), p->box[h->node], h->nr,
			 h->weak ? ARC_EDGE_WEAK : h->user ? ARC_EDGE_USER : ARC_EDGE_STRONG);
		if (p->nr_holders > HOLDERS_MAX && how < TELL_KIND)
			return false;
	}
	return true;
}

static bool make_holders(struct picture *p, const struct arc_graph *g)
{
	unsigned int nr = arc_graph_nr_holders(g);
	int how;

	p->holders = calloc(nr + 1, sizeof(*p->holders));
	p->holds = calloc(nr + 1, sizeof(*p->holds));
	if (!p->holders || !p->holds)
		return false;
	for (how = TELL_ALL; !tell_holders(p, g, how); how++)
		;
	return true;
}

/* ---- all of it --------------------------------------------------------------------------- */

static bool pick_all(struct pick *pk)
{
	pick_story(pk);
	if (pk->opt->nr_focus && !keep_focus(pk))
		return false;
	return !pk->opt->nr_types || keep_types(pk);
}

bool picture_make(struct picture *p, const struct graph_scene *scene,
		  const struct graph_options *opt)
{
	struct pick pk = { .scene = scene, .g = scene->graph, .opt = opt };
	bool ok;

	*p = (struct picture){ .scene = scene };
	pk.nr = arc_graph_nr_nodes(pk.g);
	pk.shown = calloc(pk.nr + 1, sizeof(*pk.shown));
	pk.wrong = calloc(pk.nr + 1, sizeof(*pk.wrong));
	pk.todo = calloc(pk.nr + 1, sizeof(*pk.todo));
	ok = pk.shown && pk.wrong && pk.todo && pick_all(&pk) && make_boxes(p, &pk) &&
	     make_arrows(p, pk.g) && make_holders(p, pk.g);
	p->nr_cycles = arc_graph_nr_components(pk.g);
	free(pk.shown);
	free(pk.wrong);
	free(pk.todo);
	if (!ok)
		picture_free(p);
	return ok;
}

void picture_free(struct picture *p)
{
	free(p->box);
	free(p->nodes);
	free(p->arrows);
	free(p->holders);
	free(p->holds);
	*p = (struct picture){ .scene = p->scene };
}
