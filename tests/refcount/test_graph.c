/* SPDX-License-Identifier: MIT */
/*
 * Goal: the graph is what the objects say: nodes, edges, holders, paths, components, cycles.
 * Method: graphs made by hand with exact texts; 2000 random ones against matrices and a
 * recursive walk; a source with objects of small form; every allocation failed.
 */
#include "fixture.h"

#include <karc/base/math.h>
#include <karc/base/rand.h>

#include "graph_test.h"

#if defined(KARC_VARIANT) && KARC_VARIANT >= 2	/* under a sanitizer */
#define MANY	10000u
#define ROUNDS	700u
#else
#define MANY	100000u
#define ROUNDS	2000u
#endif

static struct arc_graph *take(unsigned int flags)
{
	struct arc_graph *g = arc_graph_take(this_machine(), flags);

	assert_non_null(g);
	return g;
}

static const struct arc_graph_node *node_at(const struct arc_graph *g, const struct folder *f)
{
	unsigned int i = arc_graph_find(g, &f->arc);

	assert_int_not_equal(i, ARC_NONE);
	return arc_graph_node(g, i);
}

/* The steps of all edges of @f, separated by blanks. */
static const char *steps(const struct arc_graph *g, const struct folder *f, char *buf, size_t size)
{
	const struct arc_graph_node *n = node_at(g, f);
	char step[64];
	unsigned int i;

	buf[0] = '\0';
	for (i = n->first_edge; i < n->first_edge + n->nr_edges; i++) {
		arc_graph_step_text(g, i, step, sizeof(step));
		snprintf(buf + strlen(buf), size - strlen(buf), "%s%s%s", buf[0] ? " " : "", step,
			 arc_graph_edge(g, i)->kind == ARC_EDGE_WEAK ? "?" : "");
	}
	return buf;
}

static struct folder *add_branch(struct folder *owner, struct folder *child)
{
	struct rb_node **link = &owner->tree.rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = &parent->rb_right;
	}
	rb_link_node(&child->branch, parent, link);
	rb_insert_color(&child->branch, &owner->tree);
	return child;
}

static void every_kind_of_field_is_an_edge_with_its_name(void **state)
{
	struct folder *root = folder_new(), *a, *b;
	struct arc_graph *g;
	char text[512];

	(void)state;
	audit_hold_as(&root->arc, ARC_EDGE_STRONG, "table", SITE());
	root->owner = folder_new();
	root->pages[0] = folder_new();
	root->pages[3] = folder_new();
	root->seen = root->owner;
	arc_downgrade(&root->owner->arc);
	a = folder_new();
	list_add_tail(&a->sibling, &root->children);
	b = folder_new();
	list_add_tail(&b->sibling, &root->children);
	add_branch(root, folder_new());
	add_branch(root, folder_new());
	root->hidden[1] = folder_new();
	g = take(0);
	assert_int_equal(arc_graph_nr_nodes(g), 9);
	assert_int_equal(arc_graph_nr_edges(g), 9);
	assert_string_equal(steps(g, root, text, sizeof(text)),
			    "folder.owner folder.pages[0] folder.pages[3] folder.seen? "
			    "folder.children[0] folder.children[1] folder.tree[0] folder.tree[1] "
			    "folder.hidden[1]");
	assert_int_equal(node_at(g, root->owner)->nr_in, 1);
	assert_int_equal(node_at(g, root->owner)->nr_weak_in, 1);
	assert_int_equal(node_at(g, root->owner)->weak, 1);
	assert_int_equal(node_at(g, b)->distance, 1);
	arc_graph_path_text(g, arc_graph_find(g, &b->arc), text, sizeof(text));
	assert_string_equal(text, "table: folder.children[1] -> folder");
	assert_int_equal(arc_graph_nr_verdict(g, ARC_REACHED), 9);
	arc_graph_free(g);
	audit_release(&root->arc);
	folder_put(root);
}

static struct arc *take_parent(void *obj)
{
	struct folder *f = obj, *parent = f->hidden[0];

	f->hidden[0] = NULL;
	return parent ? &parent->arc : NULL;
}

static void visit_parent(void *obj, void (*see)(void *arg, struct arc *child), void *arg)
{
	struct folder *f = obj;

	if (f->hidden[0])
		see(arg, &f->hidden[0]->arc);
}

static const struct arc_field child_fields[] = {
	{ .kind = ARC_FIELD_VISITOR, .name = "parent", .count = 1,
	  .ops = { .take = take_parent, .visit = visit_parent } },
	ARC_FIELDS_END
};

static const struct arc_type child_type = {
	.name = "child", .size = sizeof(struct folder), .ops = { .free = folder_free },
	.fields = child_fields,
};

static void visitor_of_one_at_most_has_no_index(void **state)
{
	struct folder *child = folder_new_of(&child_type, SITE());
	struct arc_graph *g;
	char text[64];

	(void)state;
	child->hidden[0] = folder_new();
	g = take(0);
	assert_string_equal(steps(g, child, text, sizeof(text)), "child.parent");
	arc_graph_free(g);
	folder_put(child);
}

static void node_says_what_it_is(void **state)
{
	struct folder *f = folder_new();
	const struct arc_graph_node *n;
	struct arc_graph *g;

	(void)state;
	f->value = 7;
	arc_get(&f->arc);
	audit_hold(&f->arc);
	g = take(0);
	n = node_at(g, f);
	assert_ptr_equal(n->arc, &f->arc);
	assert_string_equal(n->type, "folder");
	assert_string_equal(n->label, "value 7");
	assert_string_equal(n->site->func, "node_says_what_it_is");
	assert_int_equal(n->id, audit_id(&f->arc));
	assert_int_equal(n->bytes, sizeof(struct folder));
	assert_int_equal(n->count, 2);
	assert_int_equal(n->nr_held, 1);
	assert_int_equal(n->nr_unknown, 1);
	assert_int_equal(n->users, ARC_NONE);
	assert_int_equal(n->state, ARC_LIVE);
	assert_int_equal(n->verdict, ARC_REACHED);
	assert_int_equal(arc_graph_nr_holders(g), 1);
	assert_string_equal(arc_graph_holder(g, 0)->site->func, "node_says_what_it_is");
	assert_int_equal(arc_graph_find(g, f->pages), ARC_NONE);
	audit_release(&f->arc);
	folder_put(f);
	folder_put(f);
	assert_string_equal(n->label, "value 7");	/* a copy: the object is gone */
	arc_graph_free(g);
}

static void weak_edges_own_nothing(void **state)
{
	struct folder *root = folder_new(), *seen = folder_new();
	struct arc_graph *g;

	(void)state;
	audit_hold(&root->arc);
	root->seen = seen;
	arc_downgrade(&seen->arc);
	g = take(0);
	assert_int_equal(node_at(g, seen)->verdict, ARC_LOST);
	assert_int_equal(node_at(g, seen)->distance, ARC_NONE);
	assert_int_equal(node_at(g, seen)->nr_in, 0);
	arc_graph_free(g);
	folder_put(seen);
	g = take(0);
	assert_int_equal(node_at(g, seen)->verdict, ARC_GONE);
	assert_int_equal(node_at(g, seen)->state, ARC_DEAD);
	arc_graph_free(g);
	audit_release(&root->arc);
	folder_put(root);
}

static void equal_holders_are_one_line_with_a_number(void **state)
{
	struct folder *f = folder_new();
	const struct site *here = SITE();
	struct arc_graph *g;
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		arc_get(&f->arc);
		audit_hold_as(&f->arc, ARC_EDGE_STRONG, "index", here);
	}
	audit_hold_as(&f->arc, ARC_EDGE_STRONG, "table", here);
	g = take(0);
	assert_int_equal(arc_graph_nr_holders(g), 2);
	assert_string_equal(arc_graph_holder(g, 0)->name, "table");
	assert_string_equal(arc_graph_holder(g, 1)->name, "index");
	assert_int_equal(arc_graph_holder(g, 1)->nr, 3);
	assert_int_equal(node_at(g, f)->nr_held, 4);
	assert_int_equal(node_at(g, f)->nr_unknown, 0);
	arc_graph_free(g);
	for (i = 0; i < 4; i++) {
		audit_release(&f->arc);
		folder_put(f);
	}
}

static void path_through_a_long_chain_is_cut_in_its_middle(void **state)
{
	struct folder *head = folder_new(), *last = head, *f;
	unsigned int edges[64], i, length;
	struct arc_graph *g;
	char text[1024], step[64];

	(void)state;
	audit_hold_as(&head->arc, ARC_EDGE_STRONG, "table", SITE());
	for (i = 0; i < 50; i++) {
		f = folder_new();
		*(i % 2 ? &last->owner : &last->pages[i % 4]) = f;
		last = f;
	}
	g = take(0);
	length = arc_graph_path(g, arc_graph_find(g, &last->arc), edges, 64);
	assert_int_equal(length, 50);
	assert_int_equal(arc_graph_edge(g, edges[0])->from, arc_graph_find(g, &head->arc));
	assert_int_equal(arc_graph_edge(g, edges[49])->to, arc_graph_find(g, &last->arc));
	for (i = 1; i < 50; i++)
		assert_int_equal(arc_graph_edge(g, edges[i])->from,
				 arc_graph_edge(g, edges[i - 1])->to);
	arc_graph_step_text(g, edges[48], step, sizeof(step));
	assert_string_equal(step, "folder.pages[0]");
	arc_graph_path_text(g, arc_graph_find(g, &last->arc), text, sizeof(text));
	assert_int_equal(strncmp(text, "table: folder.pages[0] -> folder.owner -> folder.pages[2] ->",
				 60), 0);
	assert_non_null(strstr(text, " -> (38 more) -> "));
	assert_string_equal(strrchr(text, '>'), "> folder");
	i = (unsigned int)arc_graph_path_text(g, arc_graph_find(g, &last->arc), text, 20);
	assert_int_equal(i, 19);
	assert_string_equal(text, "table: folder.pa...");
	arc_graph_free(g);
	audit_release(&head->arc);
	folder_put(head);
}

/* ---- random graphs against matrices ---- */

#define KNOTS	12u
#define OUT	6u
#define FAR	99u

struct knot {
	struct arc arc;
	unsigned int nr_out;
	struct knot *out[OUT];
	struct knot *seen;
};

static void knot_free(void *obj)
{
	hostmem_free(NULL, obj);
}

static const struct arc_field knot_fields[] = {
	ARC_ARRAY_COUNTED(knot, out, knot, nr_out),
	ARC_WEAK(knot, seen, knot),
	ARC_FIELDS_END
};

static const struct arc_type knot_type = {
	.name = "knot", .size = sizeof(struct knot), .ops = { .free = knot_free },
	.fields = knot_fields,
};

struct net {
	unsigned int nr;
	struct knot *knot[KNOTS];
	bool held[KNOTS], own[KNOTS];	/* registered; the maker's reference is still there */
	unsigned int distance[KNOTS][KNOTS];	/* shortest way by edges; FAR: none; 0: itself */
};

static void make_net(struct net *net, struct rnd *rnd)
{
	unsigned int i, j, to;

	memset(net, 0, sizeof(*net));
	net->nr = 1 + rnd_below(rnd, KNOTS);
	assert_int_equal(arc_type_register(&knot_type), 0);
	for (i = 0; i < net->nr; i++) {
		net->knot[i] = must_alloc(sizeof(struct knot));
		arc_init(&net->knot[i]->arc, &knot_type);
		net->own[i] = true;
	}
	for (i = 0; i < net->nr; i++) {
		net->knot[i]->nr_out = rnd_below(rnd, rnd_below(rnd, OUT) + 1);
		for (j = 0; j < net->knot[i]->nr_out; j++) {
			to = rnd_below(rnd, net->nr);
			arc_get(&net->knot[to]->arc);
			net->knot[i]->out[j] = net->knot[to];
		}
		if (rnd_below(rnd, 3))
			continue;
		to = rnd_below(rnd, net->nr);
		arc_downgrade(&net->knot[to]->arc);
		net->knot[i]->seen = net->knot[to];
	}
	for (i = 0; i < net->nr; i++) {
		net->held[i] = !rnd_below(rnd, 4);
		if (net->held[i]) {
			audit_hold(&net->knot[i]->arc);
		} else if (arc_count(&net->knot[i]->arc) > 1 && rnd_below(rnd, 4)) {
			arc_put(&net->knot[i]->arc);
			net->own[i] = false;
		}
	}
}

/* All edges out, then everything falls. */
static void drop_net(struct net *net)
{
	struct knot *child;
	unsigned int i, j;

	for (i = 0; i < net->nr; i++)
		if (!net->own[i])
			arc_get(&net->knot[i]->arc);
	for (i = 0; i < net->nr; i++)
		for (j = 0; j < net->knot[i]->nr_out; j++) {
			child = net->knot[i]->out[j];
			net->knot[i]->out[j] = NULL;
			arc_put(&child->arc);
		}
	for (i = 0; i < net->nr; i++) {
		if (net->held[i])
			audit_release(&net->knot[i]->arc);
		arc_put(&net->knot[i]->arc);
	}
	assert_int_equal(audit_nr_tracked(this_machine()), 0);
}

static unsigned int index_of(const struct net *net, const struct knot *k)
{
	unsigned int i;

	for (i = 0; i < net->nr && net->knot[i] != k; i++)
		;
	return i;
}

static void measure_net(struct net *net)
{
	unsigned int i, j, k;

	for (i = 0; i < net->nr; i++)
		for (j = 0; j < net->nr; j++)
			net->distance[i][j] = i == j ? 0 : FAR;
	for (i = 0; i < net->nr; i++)
		for (j = 0; j < net->knot[i]->nr_out; j++) {
			k = index_of(net, net->knot[i]->out[j]);
			if (k != i)
				net->distance[i][k] = 1;
		}
	for (k = 0; k < net->nr; k++)
		for (i = 0; i < net->nr; i++)
			for (j = 0; j < net->nr; j++)
				net->distance[i][j] = min(net->distance[i][j],
							  net->distance[i][k] +
							  net->distance[k][j]);
}

static bool has_edge(const struct net *net, unsigned int from, unsigned int to)
{
	unsigned int i;

	for (i = 0; i < net->knot[from]->nr_out; i++)
		if (net->knot[from]->out[i] == net->knot[to])
			return true;
	return false;
}

/* Length of a shortest cycle through @i; FAR: none. */
static unsigned int cycle_through(const struct net *net, unsigned int i)
{
	unsigned int j, best = FAR;

	for (j = 0; j < net->nr; j++)
		if (has_edge(net, j, i))
			best = min(best, net->distance[i][j] + 1);
	return best;
}

static bool same_component(const struct net *net, unsigned int i, unsigned int j)
{
	return net->distance[i][j] < FAR && net->distance[j][i] < FAR;
}

static unsigned int distance_from_holder(const struct net *net, unsigned int i)
{
	unsigned int j, best = FAR;

	for (j = 0; j < net->nr; j++)
		if (net->held[j])
			best = min(best, net->distance[j][i]);
	return best;
}

static void mark_recursively(const struct net *net, unsigned int i, bool *reached)
{
	unsigned int j;

	if (reached[i])
		return;
	reached[i] = true;
	for (j = 0; j < net->nr; j++)
		if (has_edge(net, i, j))
			mark_recursively(net, j, reached);
}

static enum arc_verdict expected_verdict(const struct net *net, unsigned int i, const bool *reached)
{
	bool claimed = false;
	unsigned int j;

	for (j = 0; j < net->nr; j++)
		claimed |= has_edge(net, j, i);
	if (reached[i])
		return ARC_REACHED;
	if (net->own[i] || !claimed)
		return ARC_LOST;
	return cycle_through(net, i) < FAR ? ARC_CYCLE : ARC_BEHIND;
}

/* Nodes of a graph are in order of creation, so node i is knot i. */
static void compare_nodes(const struct net *net, const struct arc_graph *g)
{
	bool reached[KNOTS] = { false };
	const struct arc_graph_node *n;
	unsigned int i, j, far, length;

	for (i = 0; i < net->nr; i++)
		if (net->held[i])
			mark_recursively(net, i, reached);
	assert_int_equal(arc_graph_nr_nodes(g), net->nr);
	for (i = 0; i < net->nr; i++) {
		n = arc_graph_node(g, i);
		assert_ptr_equal(n->key, &net->knot[i]->arc);
		far = distance_from_holder(net, i);
		assert_int_equal(n->distance, far == FAR ? ARC_NONE : far);
		length = arc_graph_path(g, i, NULL, 0);
		assert_int_equal(length, n->distance);
		assert_int_equal(n->distance != ARC_NONE, reached[i]);
		assert_int_equal(n->verdict, expected_verdict(net, i, reached));
		assert_int_equal(n->nr_unknown, net->own[i] && !net->held[i]);
		assert_int_equal(n->cycle != 0, cycle_through(net, i) < FAR);
		for (j = 0; j < i; j++)
			if (n->cycle && arc_graph_node(g, j)->cycle)
				assert_int_equal(n->cycle == arc_graph_node(g, j)->cycle,
						 same_component(net, i, j));
	}
}

static void compare_edges(const struct net *net, const struct arc_graph *g)
{
	const struct arc_graph_node *n;
	const struct arc_graph_edge *e;
	unsigned int i, j;

	for (i = 0; i < net->nr; i++) {
		n = arc_graph_node(g, i);
		assert_int_equal(n->nr_edges, net->knot[i]->nr_out + (net->knot[i]->seen != NULL));
		for (j = 0; j < n->nr_edges; j++) {
			e = arc_graph_edge(g, n->first_edge + j);
			assert_int_equal(e->from, i);
			assert_int_equal(e->kind, j < net->knot[i]->nr_out ? ARC_EDGE_STRONG :
					 ARC_EDGE_WEAK);
			assert_ptr_equal(net->knot[e->to], j < net->knot[i]->nr_out ?
					 net->knot[i]->out[j] : net->knot[i]->seen);
			assert_int_equal(e->on_cycle, e->kind == ARC_EDGE_STRONG &&
					 same_component(net, i, e->to));
		}
	}
}

struct seen_cycles {
	const struct net *net;
	const struct arc_graph *g;
	unsigned int nr, last_component;
	bool broken[KNOTS * (OUT + 1)];		/* by edge: it closes a cycle that was reported */
};

static void see_cycle(void *arg, const struct arc_graph_cycle *c)
{
	struct seen_cycles *s = arg;
	unsigned int i, best = FAR, start;

	s->nr++;
	assert_true(c->nr >= 1);
	for (i = 0; i < c->nr; i++) {
		assert_int_equal(arc_graph_edge(s->g, c->edges[i])->to,
				 arc_graph_edge(s->g, c->edges[(i + 1) % c->nr])->from);
		assert_int_equal(arc_graph_edge(s->g, c->edges[i])->kind, ARC_EDGE_STRONG);
	}
	start = arc_graph_edge(s->g, c->edges[0])->from;
	assert_int_equal(arc_graph_node(s->g, start)->cycle, c->component);
	assert_int_equal(c->shortest, c->component != s->last_component);
	if (c->shortest) {
		assert_int_equal(c->component, s->last_component + 1);
		s->last_component = c->component;
		for (i = 0; i < s->net->nr; i++)
			if (same_component(s->net, start, i))
				best = min(best, cycle_through(s->net, i));
		assert_int_equal(c->nr, best);
	}
	for (i = 0; i < c->nr; i++)
		s->broken[c->edges[i]] = true;
}

/* Is there a way from @i to @to without edges that a reported cycle uses? */
static bool leads_back(const struct arc_graph *g, const bool *broken, unsigned int i,
		       unsigned int to, bool *been)
{
	const struct arc_graph_node *n = arc_graph_node(g, i);
	unsigned int e, next;

	if (been[i])
		return false;
	been[i] = true;
	for (e = n->first_edge; e < n->first_edge + n->nr_edges; e++) {
		next = arc_graph_edge(g, e)->to;
		if (broken[e] || arc_graph_edge(g, e)->kind == ARC_EDGE_WEAK)
			continue;
		if (next == to || leads_back(g, broken, next, to, been))
			return true;
	}
	return false;
}

static void compare_cycles(const struct net *net, const struct arc_graph *g)
{
	struct seen_cycles seen = { .net = net, .g = g };
	bool been[KNOTS];
	char text[512];
	unsigned int i;
	long nr;

	nr = arc_graph_cycles(g, see_cycle, &seen);
	assert_int_equal(nr, seen.nr);
	assert_int_equal(seen.last_component, arc_graph_nr_components(g));
	for (i = 0; i < net->nr; i++) {
		memset(been, 0, sizeof(been));
		assert_false(leads_back(g, seen.broken, i, i, been));
		nr = arc_graph_cycle_text(g, i, text, sizeof(text));
		assert_int_equal(nr > 0, cycle_through(net, i) < FAR);
	}
}

static void random_graphs_agree_with_matrices(void **state)
{
	struct arc_graph *g;
	struct net net;
	struct rnd rnd;
	unsigned int round;

	(void)state;
	rnd_seed(&rnd, machine_random(this_machine()));
	for (round = 0; round < ROUNDS; round++) {
		make_net(&net, &rnd);
		measure_net(&net);
		g = take(0);
		compare_nodes(&net, g);
		compare_edges(&net, g);
		compare_cycles(&net, g);
		arc_graph_free(g);
		drop_net(&net);
	}
}

/* ---- many back edges, large components ---- */

static void count_cycle(void *arg, const struct arc_graph_cycle *c)
{
	struct lines *lines = arg;

	keep_line(lines, c->text);
}

/* A ring of n objects where each owns the next six. */
static void dense_component_reports_a_bounded_number_of_lines(void **state)
{
	static const unsigned int n = 30;
	struct knot *first, *knot[30];
	struct lines lines = { .nr = 0 };
	struct arc_graph *g;
	unsigned int i, j;
	long nr;

	(void)state;
	assert_int_equal(arc_type_register(&knot_type), 0);
	for (i = 0; i < n; i++) {
		knot[i] = must_alloc(sizeof(struct knot));
		arc_init(&knot[i]->arc, &knot_type);
		knot[i]->nr_out = OUT;
	}
	for (i = 0; i < n; i++)
		for (j = 0; j < OUT; j++) {
			knot[i]->out[j] = knot[(i + j + 1) % n];
			arc_get(&knot[(i + j + 1) % n]->arc);
		}
	g = take(0);
	assert_int_equal(arc_graph_nr_components(g), 1);
	nr = arc_graph_cycles(g, count_cycle, &lines);
	assert_true(nr > 6);
	assert_true(lines.nr <= ARC_CYCLES_SHOWN);
	assert_string_equal(lines.text[0], "knot.out[5] -> knot.out[5] -> knot.out[5] -> "
					   "knot.out[5] -> knot.out[5]");	/* 5 * 6 = 30 */
	arc_graph_free(g);
	for (i = 0; i < n; i++)
		for (j = 0; j < OUT; j++) {
			first = knot[i]->out[j];
			knot[i]->out[j] = NULL;
			arc_put(&first->arc);
		}
	for (i = 0; i < n; i++)
		arc_put(&knot[i]->arc);
}

/* ---- sources ---- */

struct small {
	const char *name;
	struct folder *owner;
};

static struct small small[3];

static void visit_small(struct machine *m, struct arc_graph_see *see)
{
	(void)m;
	arc_graph_see_edge(see, &small[1], &small[2], ARC_EDGE_STRONG, "next", ARC_NONE);
	arc_graph_see_object(see, &small[0], "small", NULL, 1, 64, NULL);
	arc_graph_see_object(see, &small[1], "small", SITE(), 2, 64, "the %s one", "second");
	arc_graph_see_object(see, &small[2], "leaf", NULL, ARC_NONE, 16, NULL);
	arc_graph_see_object(see, &small[2], "again", NULL, 5, 16, NULL);
	arc_graph_see_edge(see, &small[0].owner->arc, &small[0], ARC_EDGE_STRONG, "slots", 4);
	arc_graph_see_edge(see, &small[1], &small[0].owner->arc, ARC_EDGE_WEAK, "up", ARC_NONE);
	arc_graph_see_edge(see, &small[0], &small[0].owner, ARC_EDGE_STRONG, "bad", 2);
	arc_graph_see_root(see, &small[1], "table of %d", 3);
	arc_graph_see_label(see, &small[0].owner->arc, "the owner");
}

static const struct arc_graph_source small_source = {
	.name = "small", .ops = { .visit = visit_small },
};

static void sources_add_objects_edges_roots_and_labels(void **state)
{
	struct folder *owner = folder_new();
	struct check_report report = { .quiet = true };
	const struct arc_graph_node *n;
	struct arc_graph *g;
	char text[128];

	(void)state;
	small[0].owner = owner;
	assert_int_equal(arc_graph_source_register(&small_source), 0);
	assert_int_equal(arc_graph_source_register(&small_source), -EEXIST);
	owner->owner = folder_new();
	audit_hold_as(&owner->arc, ARC_EDGE_STRONG, "table", SITE());
	g = take(0);
	assert_int_equal(arc_graph_nr_nodes(g), 5);
	assert_string_equal(steps(g, owner, text, sizeof(text)), "folder.owner folder.slots[4]");
	assert_string_equal(node_at(g, owner)->label, "the owner");
	assert_int_equal(node_at(g, owner)->nr_weak_in, 1);
	n = arc_graph_node(g, arc_graph_find(g, &small[1]));
	assert_string_equal(n->label, "the second one");
	assert_int_equal(n->nr_held, 1);
	assert_int_equal(n->nr_unknown, 1);
	assert_int_equal(n->verdict, ARC_REACHED);
	assert_null(n->arc);
	n = arc_graph_node(g, arc_graph_find(g, &small[2]));
	assert_string_equal(n->type, "leaf");
	assert_int_equal(n->id, audit_id(&owner->owner->arc) + 3);
	arc_graph_path_text(g, arc_graph_find(g, &small[2]), text, sizeof(text));
	assert_string_equal(text, "table of 3: small.next -> leaf");
	arc_graph_path_text(g, arc_graph_find(g, &small[0]), text, sizeof(text));
	assert_string_equal(text, "table: folder.slots[4] -> small");
	assert_int_equal(arc_graph_nr_dangling(g), 1);
	assert_string_equal(arc_graph_dangling(g, 0)->field, "bad");
	arc_graph_free(g);
	assert_int_equal(audit_counts(this_machine(), &report), 3);	/* small[1], weak, bad */
	arc_graph_source_unregister(&small_source);
	audit_release(&owner->arc);
	folder_put(owner);
}

static long register_source(void *arg)
{
	return arc_graph_source_register(arg);
}

static void unregister_source(void *arg)
{
	arc_graph_source_unregister(arg);
}

static void hostmem_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	values[0] = machine_hostmem(this_machine())->nr_blocks;
	values[1] = machine_hostmem(this_machine())->bytes;
}

static long take_graph(void *arg)
{
	struct arc_graph **g = arg;

	*g = arc_graph_take(this_machine(), 0);
	return *g ? 0 : -ENOMEM;
}

static void free_graph(void *arg)
{
	struct arc_graph **g = arg;

	arc_graph_free(*g);
}

static void graph_without_memory_is_none_and_keeps_nothing(void **state)
{
	struct folder *owner = folder_new(), *f;
	struct arc_graph *g;
	int i;

	(void)state;
	small[0].owner = owner;
	assert_int_equal(fixture_fail_nth(.body = register_source, .undo = unregister_source,
					  .snapshot = hostmem_snapshot,
					  .arg = (void *)&small_source), 1);
	assert_int_equal(arc_graph_source_register(&small_source), 0);
	for (i = 0; i < 200; i++) {
		f = folder_new();
		list_add(&f->sibling, &owner->children);
		audit_hold_as(&f->arc, ARC_EDGE_STRONG, "one of so many names", SITE());
	}
	assert_true(fixture_fail_nth(.body = take_graph, .undo = free_graph,
				     .snapshot = hostmem_snapshot, .arg = &g) > 15);
	arc_graph_source_unregister(&small_source);
	folder_put(owner);
}

/* Names, ids, edges and holders of two graphs of the same moment, and of another machine's run. */
static void graph_does_not_depend_on_addresses(void **state)
{
	struct folder *root = folder_new(), *pad[3], *f;
	struct arc_graph *g;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++)
		pad[i] = folder_new();
	folder_put(pad[1]);		/* its memory is likely to come back for a younger one */
	for (i = 0; i < 4; i++) {
		f = folder_new();
		root->pages[3 - i] = f;
	}
	g = take(ARC_GRAPH_TRUST);
	for (i = 1; i < arc_graph_nr_nodes(g); i++)
		assert_true(arc_graph_node(g, i)->id > arc_graph_node(g, i - 1)->id);
	assert_ptr_equal(arc_graph_node(g, arc_graph_nr_nodes(g) - 1)->key, &root->pages[0]->arc);
	arc_graph_free(g);
	folder_put(root);
	folder_put(pad[0]);
	folder_put(pad[2]);
}

/* ---- size ---- */

static void large_graph_needs_no_stack(void **state)
{
	struct folder *head = folder_new(), *tail = head, *f;
	struct arc_graph *g;
	unsigned int i;
	char text[512], middle[32];

	(void)state;
	for (i = 1; i < MANY; i++) {
		f = folder_new();
		*(i % 3 ? &f->owner : &f->pages[i % 4]) = head;
		head = f;
	}
	audit_hold_as(&head->arc, ARC_EDGE_STRONG, "table", SITE());
	g = take(0);
	assert_int_equal(arc_graph_nr_nodes(g), MANY);
	assert_int_equal(arc_graph_node(g, 0)->distance, MANY - 1);
	arc_graph_path_text(g, 0, text, sizeof(text));
	snprintf(middle, sizeof(middle), "(%u more)", MANY - 1 - 12);
	assert_non_null(strstr(text, middle));
	arc_graph_free(g);
	arc_get(&head->arc);
	tail->owner = head;
	g = take(0);
	assert_int_equal(arc_graph_nr_components(g), 1);
	assert_int_equal(arc_graph_cycles(g, NULL, NULL), 1);
	arc_graph_free(g);
	folder_drop(&tail->owner);
	audit_release(&head->arc);
	folder_put(head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(every_kind_of_field_is_an_edge_with_its_name),
		karc_unit_test(visitor_of_one_at_most_has_no_index),
		karc_unit_test(node_says_what_it_is),
		karc_unit_test(weak_edges_own_nothing),
		karc_unit_test(equal_holders_are_one_line_with_a_number),
		karc_unit_test(path_through_a_long_chain_is_cut_in_its_middle),
		karc_unit_test(random_graphs_agree_with_matrices),
		karc_unit_test(dense_component_reports_a_bounded_number_of_lines),
		karc_unit_test(sources_add_objects_edges_roots_and_labels),
		karc_unit_test(graph_without_memory_is_none_and_keeps_nothing),
		karc_unit_test(graph_does_not_depend_on_addresses),
		karc_unit_test(large_graph_needs_no_stack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
