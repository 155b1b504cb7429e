/* SPDX-License-Identifier: MIT */
/*
 * Goal: teardown runs flat, in Rust's order, and where it may.
 * Method: 2000 random ownership graphs, torn down by the library and by a recursive model on
 * plain arrays; both write down each step, and the lists must be equal. Then the corners: depth,
 * each kind of field, puts in bodies, atomic context, interrupts, bodies that sleep.
 */
#include "fixture.h"

#include <karc/base/rand.h>
#include <karc/base/rbtree.h>
#include <karc/hw/clock.h>
#include <karc/hw/irq.h>
#include <karc/hw/mutex.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/reap.h>
#include <karc/refcount/users.h>
#include <stdlib.h>

#include "refcount_test.h"

#define NR_GRAPHS	2000
#define MAX_NODES	40
#define NR_ARRAY	3
#define MAX_STEPS	(8 * MAX_NODES)
#if KARC_VARIANT <= KARC_VARIANT_DEBUG
#define CHAIN		1000000
#else
#define CHAIN		100000		/* a sanitizer has seen it all by then */
#endif
#define LONG_CHAIN	10000000	/* with KARC_TEST_LONG in the environment */
#define WIDE		CHAIN

/* ---- random graphs ---- */

struct node {
	int id;
	struct node *left;
	struct arc arc;
	struct node *array[NR_ARRAY];
	struct list_head children, sibling;
	struct node *weak;
	unsigned int nr_tail;
	struct node *right;
	struct node *used;		/* one of its users */
	struct rb_root tree;
	struct rb_node tree_node;
	struct arc_users users;
	struct node *body[2];		/* put by the drop body */
	struct node *at_empty;		/* put when the last user is gone */
	struct node *at_callback;	/* put by the destructor callback */
	struct arc_dtor dtor[2];
	struct node *tail[NR_ARRAY];
};

/* What the model knows of one node. */
struct model_node {
	int kind, strong, weak, users;
	int nr_callbacks, at_callback, at_empty, used;
	int left, right, weak_to, array[NR_ARRAY], tail[NR_ARRAY], nr_tail, body[2];
	int children[MAX_NODES], nr_children;
	int tree[MAX_NODES], nr_tree;
};

struct steps {
	int nr;
	int step[MAX_STEPS];	/* id * 4 + what */
};

enum { STEP_CALLBACK, STEP_DROP, STEP_FREE, STEP_EMPTY };

static struct steps real, expected;
static struct model_node model[MAX_NODES];
static struct node *nodes[MAX_NODES];

static void write_down(struct steps *s, int id, int what)
{
	assert_true(s->nr < MAX_STEPS);
	s->step[s->nr++] = id * 4 + what;
}

static void put_node(struct node *n)
{
	if (n)
		arc_put(&n->arc);
}

static void node_drop(void *obj)
{
	struct node *n = obj;

	write_down(&real, n->id, STEP_DROP);
	put_node(n->body[0]);
	put_node(n->body[1]);
}

static void node_empty(void *obj)
{
	struct node *n = obj;

	write_down(&real, n->id, STEP_EMPTY);
	put_node(n->at_empty);
}

static void node_free(void *obj)
{
	struct node *n = obj;

	write_down(&real, n->id, STEP_FREE);
	hostmem_free(NULL, n);
}

static void node_callback(void *obj, void *arg)
{
	struct node *n = obj;

	write_down(&real, n->id, STEP_CALLBACK);
	if (arg)
		put_node(n->at_callback);
}

static const struct arc_field fields0[] = {
	ARC_OWNED(node, left, node),
	ARC_ARRAY(node, array, node, NR_ARRAY),
	ARC_LIST(node, children, node, sibling),
	ARC_WEAK(node, weak, node),
	ARC_TREE(node, tree, node, tree_node),
	ARC_USER(node, used, node),
	ARC_ARRAY_COUNTED(node, tail, node, nr_tail),
	ARC_OWNED(node, right, node),
	ARC_FIELDS_END
};

static const struct arc_field fields1[] = {
	ARC_WEAK(node, weak, node),
	ARC_ARRAY_COUNTED(node, tail, node, nr_tail),
	ARC_OWNED(node, right, node),
	ARC_LIST(node, children, node, sibling),
	ARC_OWNED(node, left, node),
	ARC_ARRAY(node, array, node, NR_ARRAY),
	ARC_USER(node, used, node),
	ARC_TREE(node, tree, node, tree_node),
	ARC_FIELDS_END
};

/* Hands out array, then left; the rest is in the table behind it. */
static struct arc *take_any(void *obj)
{
	struct node *n = obj, *child;
	int i;

	for (i = 0; i < NR_ARRAY; i++) {
		child = n->array[i];
		n->array[i] = NULL;
		if (child)
			return &child->arc;
	}
	child = n->left;
	n->left = NULL;
	return child ? &child->arc : NULL;
}

static const struct arc_field fields2[] = {
	ARC_TREE(node, tree, node, tree_node),
	ARC_USER(node, used, node),
	ARC_LIST(node, children, node, sibling),
	ARC_VISITOR("any", take_any, NULL),
	ARC_OWNED(node, right, node),
	ARC_WEAK(node, weak, node),
	ARC_ARRAY_COUNTED(node, tail, node, nr_tail),
	ARC_FIELDS_END
};

#define NODE_TYPE(n) { \
	.name = "node" #n, .size = sizeof(struct node), .offset = offsetof(struct node, arc), \
	.users = offsetof(struct node, users), .fields = fields##n, \
	.ops = { .drop = node_drop, .free = node_free, .on_last_user = node_empty } }

static const struct arc_type node_types[] = { NODE_TYPE(0), NODE_TYPE(1), NODE_TYPE(2) };

/* The order in which the model drops its fields, by kind. */
enum { F_LEFT, F_ARRAY, F_LIST, F_WEAK, F_TAIL, F_RIGHT, F_TREE, F_USER, NR_F };

static const int field_order[3][NR_F] = {
	{ F_LEFT, F_ARRAY, F_LIST, F_WEAK, F_TREE, F_USER, F_TAIL, F_RIGHT },
	{ F_WEAK, F_TAIL, F_RIGHT, F_LIST, F_LEFT, F_ARRAY, F_USER, F_TREE },
	{ F_TREE, F_USER, F_LIST, F_ARRAY, F_LEFT, F_RIGHT, F_WEAK, F_TAIL },
};

static void model_destroy(int id);

static void model_weak_put(int id)
{
	if (id >= 0 && --model[id].weak == 0)
		write_down(&expected, id, STEP_FREE);
}

static void model_put(int id)
{
	if (id >= 0 && --model[id].strong == 0)
		model_destroy(id);
}

/* Puts made in a body: counted there, the destruction follows right after it. */
static void model_put_all(const int *ids, int nr)
{
	bool last[2];
	int i;

	for (i = 0; i < nr; i++)
		last[i] = ids[i] >= 0 && --model[ids[i]].strong == 0;
	for (i = 0; i < nr; i++)
		if (last[i])
			model_destroy(ids[i]);
}

/* The last user empties it, then the reference of all users goes. */
static void model_user_put(int id)
{
	if (id < 0 || --model[id].users)
		return;
	write_down(&expected, id, STEP_EMPTY);
	model_put_all(&model[id].at_empty, 1);
	model_put(id);
}

static void model_drop_field(struct model_node *n, int field)
{
	int i;

	switch (field) {
	case F_LEFT:
		model_put(n->left);
		break;
	case F_RIGHT:
		model_put(n->right);
		break;
	case F_WEAK:
		model_weak_put(n->weak_to);
		break;
	case F_ARRAY:
		for (i = 0; i < NR_ARRAY; i++)
			model_put(n->array[i]);
		break;
	case F_TAIL:
		for (i = 0; i < n->nr_tail; i++)
			model_put(n->tail[i]);
		break;
	case F_LIST:
		for (i = 0; i < n->nr_children; i++)
			model_put(n->children[i]);
		break;
	case F_TREE:
		for (i = 0; i < n->nr_tree; i++)
			model_put(n->tree[i]);
		break;
	case F_USER:
		model_user_put(n->used);
	}
}

/* The obvious, recursive way. */
static void model_destroy(int id)
{
	struct model_node *n = &model[id];
	int i;

	for (i = n->nr_callbacks; i > 0; i--) {
		write_down(&expected, id, STEP_CALLBACK);
		if (i == 1)
			model_put_all(&n->at_callback, 1);
	}
	write_down(&expected, id, STEP_DROP);
	model_put_all(n->body, 2);
	for (i = 0; i < NR_F; i++)
		model_drop_field(n, field_order[n->kind][i]);
	model_weak_put(id);
}

/* One more reference to a random later node, or none: later ones never own earlier ones. */
static int pick(struct rnd *rnd, int id, int nr)
{
	int to;

	if (id + 1 >= nr || rnd_chance(rnd, 2, 5))
		return -1;
	to = id + 1 + (int)rnd_below(rnd, (u32)(nr - id - 1));
	model[to].strong++;
	return to;
}

static int pick_used(struct rnd *rnd, int id, int nr)
{
	int to = pick(rnd, id, nr);

	if (to < 0)
		return to;
	model[to].strong--;
	model[to].users++;
	arc_users_get(&nodes[to]->arc);
	return to;
}

static struct node *node_at(int id)
{
	if (id < 0)
		return NULL;
	arc_get(&nodes[id]->arc);
	return nodes[id];
}

/* Model node and real node @id with random edges; @rnd also decides what is missing. */
static void make_edges(struct rnd *rnd, int id, int nr)
{
	struct model_node *m = &model[id];
	struct node *n = nodes[id];
	int i;

	n->left = node_at(m->left = pick(rnd, id, nr));
	n->right = node_at(m->right = pick(rnd, id, nr));
	for (i = 0; i < NR_ARRAY; i++)
		n->array[i] = node_at(m->array[i] = pick(rnd, id, nr));
	n->nr_tail = rnd_below(rnd, NR_ARRAY + 1);
	m->nr_tail = (int)n->nr_tail;
	for (i = 0; i < m->nr_tail; i++)
		n->tail[i] = node_at(m->tail[i] = pick(rnd, id, nr));
	for (i = 0; i < 2; i++)
		n->body[i] = node_at(m->body[i] = pick(rnd, id, nr));
	n->at_empty = node_at(m->at_empty = pick(rnd, id, nr));
	m->used = pick_used(rnd, id, nr);
	n->used = m->used < 0 ? NULL : nodes[m->used];
	m->nr_callbacks = (int)rnd_below(rnd, 3);
	m->at_callback = -1;
	if (m->nr_callbacks)
		n->at_callback = node_at(m->at_callback = pick(rnd, id, nr));
	for (i = 0; i < m->nr_callbacks; i++)
		arc_on_drop(&n->arc, &n->dtor[i], node_callback, i ? NULL : n);
	m->weak_to = rnd_chance(rnd, 1, 2) ? (int)rnd_below(rnd, (u32)nr) : -1;
	if (m->weak_to >= 0) {
		model[m->weak_to].weak++;
		arc_downgrade(&nodes[m->weak_to]->arc);
		n->weak = nodes[m->weak_to];
	}
}

/* Give each node with some luck one earlier node's list to be on. */
static void make_lists(struct rnd *rnd, int nr)
{
	int id, owner;

	for (id = 1; id < nr; id++) {
		if (rnd_chance(rnd, 1, 2))
			continue;
		owner = (int)rnd_below(rnd, (u32)id);
		model[owner].children[model[owner].nr_children++] = id;
		model[id].strong++;
		list_add_tail(&node_at(id)->sibling, &nodes[owner]->children);
	}
}

static bool id_is_less(struct rb_node *a, const struct rb_node *b)
{
	return rb_entry(a, struct node, tree_node)->id < rb_entry(b, struct node, tree_node)->id;
}

/* The same with trees, which are in order of the ids whatever the order of insertion. */
static void make_trees(struct rnd *rnd, int nr)
{
	int id, first, owner[MAX_NODES];

	for (id = 1; id < nr; id++) {
		owner[id] = rnd_chance(rnd, 1, 2) ? (int)rnd_below(rnd, (u32)id) : -1;
		if (owner[id] < 0)
			continue;
		model[owner[id]].tree[model[owner[id]].nr_tree++] = id;
		model[id].strong++;
	}
	for (first = nr - 1; first > nr - 3; first--)
		for (id = first; id > 0; id -= 2)
			if (owner[id] >= 0)
				rb_add(&node_at(id)->tree_node, &nodes[owner[id]]->tree,
				       id_is_less);
}

static void make_graph(struct rnd *rnd, int nr)
{
	int id;

	real.nr = expected.nr = 0;
	memset(model, 0, sizeof(model));
	for (id = 0; id < nr; id++) {
		nodes[id] = must_alloc(sizeof(struct node));
		nodes[id]->id = id;
		INIT_LIST_HEAD(&nodes[id]->children);
		INIT_LIST_HEAD(&nodes[id]->sibling);
		model[id].kind = (int)rnd_below(rnd, 3);
		model[id].strong = 1;
		model[id].weak = 1;
		model[id].users = 1;
		arc_init(&nodes[id]->arc, &node_types[model[id].kind]);
		arc_users_init(&nodes[id]->arc);
	}
	for (id = 0; id < nr; id++)
		make_edges(rnd, id, nr);
	make_lists(rnd, nr);
	make_trees(rnd, nr);
}

/* The harness is a user of each; it leaves them in random order. */
static void put_all(struct rnd *rnd, int nr)
{
	int order[MAX_NODES], i, j, swap;

	for (i = 0; i < nr; i++)
		order[i] = i;
	for (i = nr - 1; i > 0; i--) {
		j = (int)rnd_below(rnd, (u32)i + 1);
		swap = order[i];
		order[i] = order[j];
		order[j] = swap;
	}
	for (i = 0; i < nr; i++) {
		arc_users_put(&nodes[order[i]]->arc);
		model_user_put(order[i]);
	}
}

static void random_graphs_die_in_the_order_of_the_recursive_model(void **state)
{
	unsigned int graph, i;
	struct rnd rnd;
	int nr;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(node_types); i++)
		assert_int_equal(arc_type_register(&node_types[i]), 0);
	for (graph = 0; graph < NR_GRAPHS; graph++) {
		rnd_seed(&rnd, graph);
		nr = 1 + (int)rnd_below(&rnd, MAX_NODES);
		make_graph(&rnd, nr);
		put_all(&rnd, nr);
		if (real.nr != expected.nr ||
		    memcmp(real.step, expected.step, (size_t)real.nr * sizeof(int)))
			fail_msg("graph %u: order differs from the model's", graph);
		for (i = 0; i < 3; i++)
			assert_int_equal(ledger_live(this_machine(), &node_types[i]), 0);
	}
}

/* ---- depth and width ---- */

struct link {
	struct arc arc;
	struct link *next;
};

static unsigned long nr_links_freed;

static void link_free(void *obj)
{
	nr_links_freed++;
	hostmem_free(NULL, obj);
}

static const struct arc_field link_fields[] = { ARC_OWNED(link, next, link), ARC_FIELDS_END };

static const struct arc_type link_type = {
	.name = "link", .size = sizeof(struct link), .ops = { .free = link_free },
	.fields = link_fields,
};

static struct link *make_chain(unsigned long nr)
{
	struct link *head = NULL, *l;

	assert_int_equal(arc_type_register(&link_type), 0);
	while (nr--) {
		l = must_alloc(sizeof(*l));
		arc_init(&l->arc, &link_type);
		l->next = head;
		head = l;
	}
	return head;
}

static void count_freed(void *obj)
{
	(void)obj;
	nr_links_freed++;
}

/* Their memory is one array. */
static const struct arc_type packed_type = {
	.name = "packed link", .size = sizeof(struct link), .ops = { .free = count_freed },
	.fields = link_fields,
};

static void assert_small_stack(void)
{
#if KARC_VARIANT <= KARC_VARIANT_DEBUG	/* sanitizers need larger frames everywhere */
	assert_int_equal(fiber_self()->stack_bytes, 64 << 10);
#endif
}

static void deep_chain_dies_on_a_small_stack(void **state)
{
	unsigned long i, nr = getenv("KARC_TEST_LONG") ? LONG_CHAIN : CHAIN;
	struct link *links = hostmem_alloc(NULL, nr * sizeof(*links));

	(void)state;
	assert_non_null(links);
	assert_small_stack();
	assert_int_equal(arc_type_register(&packed_type), 0);
	for (i = 0; i < nr; i++) {
		arc_init(&links[i].arc, &packed_type);
		links[i].next = i + 1 < nr ? &links[i + 1] : NULL;
	}
	nr_links_freed = 0;
	assert_int_equal(ledger_live(this_machine(), &packed_type), nr);
	arc_put(&links[0].arc);
	assert_int_equal(nr_links_freed, nr);
	assert_int_equal(ledger_live(this_machine(), &packed_type), 0);
	assert_int_equal(ledger_peak(this_machine(), &packed_type), nr);
	hostmem_free(NULL, links);
}

/* One object with a list of many, a tree of them, and an array that names each once more. */
struct crowd {
	struct arc arc;
	struct list_head members;
	struct rb_root tree;
	unsigned int nr;
	struct member *again[];
};

struct member {
	struct arc arc;
	struct list_head node;
	struct rb_node tree_node;
};

static const struct arc_field crowd_fields[] = {
	ARC_LIST(crowd, members, member, node),
	ARC_TREE(crowd, tree, member, tree_node),
	ARC_ARRAY_COUNTED(crowd, again, member, nr),
	ARC_FIELDS_END
};

static void memory_free(void *obj)
{
	hostmem_free(NULL, obj);
}

static const struct arc_type crowd_type = {
	.name = "crowd", .size = sizeof(struct crowd), .ops = { .free = memory_free },
	.fields = crowd_fields,
};

static const struct arc_type member_type = {
	.name = "member", .size = sizeof(struct member), .flags = ARC_LEAF,
	.ops = { .free = count_freed },
};

static bool is_before(struct rb_node *a, const struct rb_node *b)
{
	return (char *)a < (const char *)b;
}

static void wide_graph_dies_on_a_small_stack(void **state)
{
	struct crowd *c = must_alloc(sizeof(*c) + WIDE * sizeof(c->again[0]));
	struct member *m = hostmem_zalloc(NULL, WIDE * sizeof(*m));
	unsigned int i;

	(void)state;
	assert_non_null(m);
	assert_small_stack();
	assert_int_equal(arc_type_register(&crowd_type), 0);
	assert_int_equal(arc_type_register(&member_type), 0);
	arc_init(&c->arc, &crowd_type);
	INIT_LIST_HEAD(&c->members);
	c->nr = WIDE;
	for (i = 0; i < WIDE; i++) {
		arc_init(&m[i].arc, &member_type);
		list_add_tail(&m[i].node, &c->members);
		c->again[i] = &m[i];
		arc_get(&m[i].arc);
		if (i % 16)
			continue;
		arc_get(&m[i].arc);
		rb_add(&m[i].tree_node, &c->tree, is_before);
	}
	nr_links_freed = 0;
	arc_put(&c->arc);
	assert_int_equal(nr_links_freed, WIDE);
	assert_int_equal(ledger_live(this_machine(), &member_type), 0);
	hostmem_free(NULL, m);
}

/* ---- trees that change while they are torn down ---- */

struct leaf {
	struct arc arc;
	struct rb_node node;
	struct grove *grove;
	struct leaf *takes_along;	/* removed from the tree by the drop body */
};

struct grove {
	struct arc arc;
	struct rb_root tree;
};

static void leaf_drop(void *obj)
{
	struct leaf *l = obj, *other = l->takes_along;

	assert_true(RB_EMPTY_NODE(&l->node));
	nr_links_freed++;
	if (!other || RB_EMPTY_NODE(&other->node))
		return;
	rb_erase(&other->node, &l->grove->tree);
	RB_CLEAR_NODE(&other->node);
	arc_put(&other->arc);
}

static void body_may_take_others_out_of_the_tree(void **state)
{
	static const struct arc_field fields[] = {
		ARC_TREE(grove, tree, leaf, node), ARC_FIELDS_END
	};
	static const struct arc_type grove_type = {
		.name = "grove", .size = sizeof(struct grove), .ops = { .free = memory_free },
		.fields = fields,
	};
	static const struct arc_type leaf_type = {
		.name = "leaf", .size = sizeof(struct leaf),
		.ops = { .drop = leaf_drop, .free = memory_free },
	};
	struct grove *g = must_alloc(sizeof(*g));
	struct leaf *l[200];
	struct rnd rnd;
	unsigned int i;

	(void)state;
	rnd_seed(&rnd, 1);
	assert_int_equal(arc_type_register(&grove_type), 0);
	assert_int_equal(arc_type_register(&leaf_type), 0);
	arc_init(&g->arc, &grove_type);
	for (i = 0; i < ARRAY_SIZE(l); i++) {
		l[i] = must_alloc(sizeof(*l[i]));
		arc_init(&l[i]->arc, &leaf_type);
		l[i]->grove = g;
		rb_add(&l[i]->node, &g->tree, is_before);
	}
	for (i = 0; i < ARRAY_SIZE(l); i++)
		if (rnd_chance(&rnd, 1, 2))
			l[i]->takes_along = l[rnd_below(&rnd, ARRAY_SIZE(l))];
	for (i = 0; i < ARRAY_SIZE(l); i++)	/* whom a body names must outlive it */
		arc_downgrade(&l[i]->arc);
	nr_links_freed = 0;
	arc_put(&g->arc);
	assert_int_equal(nr_links_freed, ARRAY_SIZE(l));
	for (i = 0; i < ARRAY_SIZE(l); i++)
		arc_weak_put(&l[i]->arc);
}

static void chain_held_in_the_middle_stops_there(void **state)
{
	struct link *head = make_chain(10), *middle = head;
	int i;

	(void)state;
	for (i = 0; i < 4; i++)
		middle = middle->next;
	arc_get(&middle->arc);
	nr_links_freed = 0;
	arc_put(&head->arc);
	assert_int_equal(nr_links_freed, 4);
	arc_put(&middle->arc);
	assert_int_equal(nr_links_freed, 10);
}

/* A body that puts the next of a chain: no recursion there either. */
struct bead {
	struct arc arc;
	struct bead *next;
};

static unsigned int bead_depth, bead_deepest;
static unsigned long nr_beads_dropped;

static void bead_drop(void *obj)
{
	struct bead *b = obj;

	if (++bead_depth > bead_deepest)
		bead_deepest = bead_depth;
	nr_beads_dropped++;
	if (b->next)
		arc_put(&b->next->arc);
	bead_depth--;
}

static void bead_free(void *obj)
{
	hostmem_free(NULL, obj);
}

static const struct arc_type bead_type = {
	.name = "bead", .size = sizeof(struct bead),
	.ops = { .drop = bead_drop, .free = bead_free },
};

static void chain_through_bodies_does_not_recurse(void **state)
{
	struct bead *head = NULL, *b;
	int i;

	(void)state;
	bead_depth = bead_deepest = 0;
	nr_beads_dropped = 0;
	assert_int_equal(arc_type_register(&bead_type), 0);
	for (i = 0; i < CHAIN / 10; i++) {
		b = must_alloc(sizeof(*b));
		arc_init(&b->arc, &bead_type);
		b->next = head;
		head = b;
	}
	arc_put(&head->arc);
	assert_int_equal(bead_deepest, 1);
	assert_int_equal(nr_beads_dropped, CHAIN / 10);
}

/* ---- where it may run ---- */

static void note_number(void *obj, void *arg)
{
	(void)obj;
	write_down(&real, (int)(long)arg, 0);
}

struct sleeper {
	struct arc arc;
	bool *dropped;
	struct mutex *mutex;		/* taken by the body, may be NULL */
	struct sleeper *child;
};

static void sleeper_drop(void *obj)
{
	struct sleeper *s = obj;

	might_sleep();
	if (s->mutex) {
		mutex_lock(s->mutex);
		mutex_unlock(s->mutex);
	}
	*s->dropped = true;
}

static void sleeper_free(void *obj)
{
	hostmem_free(NULL, obj);
}

static const struct arc_field sleeper_fields[] = {
	ARC_OWNED(sleeper, child, sleeper), ARC_FIELDS_END
};

static const struct arc_type sleeper_type = {
	.name = "sleeper", .size = sizeof(struct sleeper), .flags = ARC_SLEEPS,
	.ops = { .drop = sleeper_drop, .free = sleeper_free }, .fields = sleeper_fields,
};

static const struct arc_type quick_type = {
	.name = "quick", .size = sizeof(struct sleeper),
	.ops = { .drop = sleeper_drop, .free = sleeper_free }, .fields = sleeper_fields,
};

static struct sleeper *sleeper_new(const struct arc_type *type, bool *dropped)
{
	struct sleeper *s = must_alloc(sizeof(*s));

	assert_int_equal(arc_type_register(type), 0);
	arc_init(&s->arc, type);
	s->dropped = dropped;
	*dropped = false;
	return s;
}

static void sleeping_type_put_in_a_task_dies_at_once(void **state)
{
	bool dropped;

	(void)state;
	arc_put(&sleeper_new(&sleeper_type, &dropped)->arc);
	assert_true(dropped);
}

static void sleeping_type_put_under_a_lock_waits(void **state)
{
	struct sleeper *s;
	bool dropped;
	DEFINE_SPINLOCK(lock);

	(void)state;
	s = sleeper_new(&sleeper_type, &dropped);
	spin_lock(&lock);
	arc_put(&s->arc);
	assert_false(dropped);
	assert_int_equal(reap_nr_deferred(), 1);
	spin_unlock(&lock);
	machine_quiesce(this_machine());
	assert_true(dropped);
	assert_int_equal(reap_nr_deferred(), 0);
}

static void deferred_put_runs_by_itself_soon(void **state)
{
	bool dropped;
	int i;

	(void)state;
	arc_put_deferred(&sleeper_new(&sleeper_type, &dropped)->arc);
	assert_false(dropped);
	for (i = 0; i < 1000 && !READ_ONCE(dropped); i++)
		fiber_yield();
	assert_true(dropped);
}

static void deferred_put_of_a_shared_object_only_counts(void **state)
{
	struct sleeper *s;
	bool dropped;

	(void)state;
	s = sleeper_new(&sleeper_type, &dropped);
	arc_get(&s->arc);
	arc_put_deferred(&s->arc);
	assert_int_equal(arc_count(&s->arc), 1);
	assert_int_equal(reap_nr_deferred(), 0);
	arc_put(&s->arc);
	assert_true(dropped);
}

static void reap_deferred_sees_it_through(void **state)
{
	bool dropped[3];
	int i;

	(void)state;
	preempt_disable();
	for (i = 0; i < 3; i++)
		arc_put(&sleeper_new(&sleeper_type, &dropped[i])->arc);
	assert_int_equal(reap_nr_deferred(), 3);
	preempt_enable_no_resched();
	reap_deferred();
	machine_quiesce(this_machine());
	for (i = 0; i < 3; i++)
		assert_true(dropped[i]);
}

static void deferred_puts_run_oldest_first(void **state)
{
	struct link *l[3];
	struct arc_dtor d[3];
	int i;

	(void)state;
	real.nr = 0;
	preempt_disable();
	for (i = 0; i < 3; i++) {
		l[i] = make_chain(1);
		arc_on_drop(&l[i]->arc, &d[i], note_number, (void *)(long)i);
		arc_put_deferred(&l[i]->arc);
	}
	preempt_enable_no_resched();
	machine_quiesce(this_machine());
	assert_int_equal(real.nr, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(real.step[i], i * 4);
}

/* The putter holds the mutex that the deferred body wants: it must not run on top of it. */
static void deferred_body_may_want_a_mutex_of_the_putter(void **state)
{
	struct sleeper *s;
	struct mutex mutex;
	bool dropped;
	int i;

	(void)state;
	mutex_init(&mutex);
	s = sleeper_new(&sleeper_type, &dropped);
	s->mutex = &mutex;
	mutex_lock(&mutex);
	preempt_disable();
	arc_put(&s->arc);
	preempt_enable();
	for (i = 0; i < 100; i++)
		fiber_yield();
	assert_false(READ_ONCE(dropped));
	mutex_unlock(&mutex);
	machine_quiesce(this_machine());
	for (i = 0; i < 1000 && !READ_ONCE(dropped); i++)
		fiber_yield();
	assert_true(dropped);
	mutex_destroy(&mutex);
}

static void sleeping_child_of_an_atomic_teardown_waits(void **state)
{
	struct sleeper *parent;
	bool parent_dropped, child_dropped;
	static const struct arc_type atomic_type = {
		.name = "atomic parent", .size = sizeof(struct sleeper),
		.ops = { .free = sleeper_free }, .fields = sleeper_fields,
	};

	(void)state;
	parent = sleeper_new(&atomic_type, &parent_dropped);
	parent->child = sleeper_new(&sleeper_type, &child_dropped);
	preempt_disable();
	arc_put(&parent->arc);
	assert_int_equal(ledger_live(this_machine(), &atomic_type), 0);
	assert_false(child_dropped);
	preempt_enable();
	machine_quiesce(this_machine());
	assert_true(child_dropped);
}

/* ---- interrupts on top of a body ---- */

struct interrupted {
	struct arc arc;
	struct arc *for_irq;
};

static struct interrupted *in_body;
static bool irq_saw_its_drop;
static bool quick_dropped;

static void interrupted_drop(void *obj)
{
	int i;

	in_body = obj;
	irq_raise(this_machine(), smp_processor_id(), 5);
	for (i = 0; i < 3; i++)
		hw_safepoint();
	in_body = NULL;
}

static irqreturn_t put_in_irq(int irq, void *dev)
{
	(void)irq;
	(void)dev;
	arc_put(in_body->for_irq);
	irq_saw_its_drop = quick_dropped;
	return IRQ_HANDLED;
}

static void plain_drop(void *obj)
{
	(void)obj;
	quick_dropped = true;
}

static void interrupt_tears_down_its_own(void **state)
{
	static const struct arc_type outer_type = {
		.name = "interrupted", .size = sizeof(struct interrupted),
		.ops = { .drop = interrupted_drop, .free = sleeper_free },
	};
	static const struct arc_type inner_type = {
		.name = "inner", .size = sizeof(struct arc),
		.ops = { .drop = plain_drop, .free = sleeper_free },
	};
	struct interrupted *outer = must_alloc(sizeof(*outer));

	(void)state;
	quick_dropped = irq_saw_its_drop = false;
	assert_int_equal(arc_type_register(&outer_type), 0);
	assert_int_equal(arc_type_register(&inner_type), 0);
	arc_init(&outer->arc, &outer_type);
	outer->for_irq = must_alloc(sizeof(struct arc));
	arc_init(outer->for_irq, &inner_type);
	assert_int_equal(request_irq(5, put_in_irq, 0, "test", NULL), 0);
	arc_put(&outer->arc);
	free_irq(5, NULL);
	assert_true(irq_saw_its_drop);	/* not queued behind the body it interrupted */
}

/* ---- bodies that sleep, on all CPUs at once ---- */

static long drop_sleepers(void *arg)
{
	struct sleeper *s, *child;
	bool dropped, child_dropped;
	int i;

	for (i = 0; i < 20; i++) {
		s = sleeper_new(&quick_type, &dropped);
		child = sleeper_new(&sleeper_type, &child_dropped);
		s->child = child;
		s->mutex = arg;
		child->mutex = arg;
		arc_put(&s->arc);
		assert_true(dropped);
		assert_true(child_dropped);
	}
	return 0;
}

static void bodies_may_sleep_on_all_cpus(void **state)
{
	struct fiber *f[8];
	struct mutex mutex;
	unsigned int i;

	(void)state;
	mutex_init(&mutex);
	for (i = 0; i < ARRAY_SIZE(f); i++)
		f[i] = spawn_on(i, drop_sleepers, &mutex);
	for (i = 0; i < ARRAY_SIZE(f); i++)
		join_clean(f[i]);
	mutex_destroy(&mutex);
}

/* ---- fields of an object that was never filled in ---- */

static void empty_fields_own_nothing(void **state)
{
	struct node *n = must_alloc(sizeof(*n));

	(void)state;
	real.nr = 0;
	assert_int_equal(arc_type_register(&node_types[0]), 0);
	n->id = 1;
	arc_init(&n->arc, &node_types[0]);	/* its list head is all zero */
	arc_put(&n->arc);
	assert_int_equal(real.nr, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(random_graphs_die_in_the_order_of_the_recursive_model),
		karc_unit_test(deep_chain_dies_on_a_small_stack),
		karc_unit_test_cpus_deterministic(wide_graph_dies_on_a_small_stack, 1),
		karc_unit_test(body_may_take_others_out_of_the_tree),
		karc_unit_test(chain_held_in_the_middle_stops_there),
		karc_unit_test(chain_through_bodies_does_not_recurse),
		KARC_TESTS(sleeping_type_put_in_a_task_dies_at_once),
		KARC_TESTS(sleeping_type_put_under_a_lock_waits),
		KARC_TESTS(deferred_put_runs_by_itself_soon),
		KARC_TESTS(deferred_put_of_a_shared_object_only_counts),
		KARC_TESTS(reap_deferred_sees_it_through),
		KARC_TESTS(deferred_puts_run_oldest_first),
		KARC_TESTS(deferred_body_may_want_a_mutex_of_the_putter),
		KARC_TESTS(sleeping_child_of_an_atomic_teardown_waits),
		KARC_TESTS(interrupt_tears_down_its_own),
		KARC_TESTS(bodies_may_sleep_on_all_cpus),
		karc_unit_test(empty_fields_own_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
