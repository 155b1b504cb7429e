/* SPDX-License-Identifier: MIT */
/*
 * Goal: objects that are plain end as all others do, only quicker: each once, none too early, the
 * ledger balanced, and whatever makes one of them less plain (a weak reference, a callback, another
 * type below it) gets its due. In order: bodies run in the order of the recursive model, and the
 * memory of an owner that has given up all is gone by then.
 *
 * Method: machines without tracking and quarantine, where plain objects exist; arrays of the test's
 * own stand for those of the slab room. Random graphs with references from outside, objects that
 * are not plain and owners with more fields than the window has places are compared with a count of
 * who can still be reached.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <karc/base/array_cache.h>
#include <karc/base/math.h>
#include <karc/base/rand.h>
#include <karc/hw/cpu.h>
#include <karc/hw/machine.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/room.h>
#include <stdlib.h>
#include <string.h>

#define NR_FIELDS	40
#define NR_NODES	120
#define ARRAY_LIMIT	8u
#define DEEP		200000ul
/* Of the slab room, which these machines do not have. */
#define ARRAY_AT	(offsetof(struct cpu, hot) + ROOM_SLAB * CPU_HOT_BYTES)

struct bodies {
	struct node *first;
	unsigned int nr, run[NR_NODES];
};

struct node {
	struct arc arc;
	unsigned int nr_freed, nr_dropped;
	struct bodies *bodies;		/* its body writes its number down there */
	unsigned long nr_owners;	/* of ordered_type, when its body ran */
	struct node *owned[NR_FIELDS];
};

union stack {
	struct array_cache ac;
	char bytes[sizeof(struct array_cache) + ARRAY_LIMIT * sizeof(void *)];
};

static void node_free(void *obj)
{
	((struct node *)obj)->nr_freed++;
}

static const struct arc_type ordered_type;

static void node_drop(void *obj)
{
	struct node *n = obj;

	n->nr_dropped++;
	n->nr_owners = ledger_live(this_machine(), &ordered_type);
	if (n->bodies)
		n->bodies->run[n->bodies->nr++] = (unsigned int)(n - n->bodies->first);
}

#define F(i)	{ .kind = ARC_FIELD_OWNED, .name = "owned", \
		  .offset = offsetof(struct node, owned) + (i) * sizeof(void *) }
#define F8(i)	F(i), F(i + 1), F(i + 2), F(i + 3), F(i + 4), F(i + 5), F(i + 6), F(i + 7)

static const struct arc_field node_fields[] = {
	F8(0), F8(8), F8(16), F8(24), F8(32), ARC_FIELDS_END
};

static const struct arc_type leaf_type = {
	.name = "leaf", .size = sizeof(struct node), .array = ARRAY_AT,
	.flags = ARC_LEAF | ARC_PRIVATE, .ops = { .free = node_free },
};

static const struct arc_type counted_leaf_type = {
	.name = "counted_leaf", .size = sizeof(struct node), .array = ARRAY_AT,
	.flags = ARC_LEAF, .ops = { .free = node_free },
};

static const struct arc_type owner_type = {
	.name = "owner", .size = sizeof(struct node), .array = ARRAY_AT,
	.flags = ARC_PRIVATE | ARC_UNORDERED, .ops = { .free = node_free },
	.fields = node_fields,
};

static const struct arc_type dropped_type = {
	.name = "dropped", .size = sizeof(struct node),
	.ops = { .free = node_free, .drop = node_drop }, .fields = node_fields,
};

static const struct arc_type ordered_type = {
	.name = "ordered", .size = sizeof(struct node), .array = ARRAY_AT,
	.flags = ARC_PRIVATE, .ops = { .free = node_free },
	.fields = node_fields,
};

static const struct arc_type *const types[] = {
	&owner_type, &leaf_type, &counted_leaf_type, &dropped_type, &ordered_type,
};

static struct machine *boot(enum machine_mode mode, unsigned int cpus, union stack *stacks)
{
	static const struct room *const rooms[] = { &hw_room, &refcount_room };
	struct machine_config config = { .mode = mode, .nr_cpus = cpus, .quiet = true };
	struct machine *m = machine_boot_rooms(&config, rooms, ARRAY_SIZE(rooms));
	unsigned int i;

	assert_false(IS_ERR(m));
	for (i = 0; i < cpus; i++) {
		stacks[i].ac = (struct array_cache){ .limit = ARRAY_LIMIT };
		*(struct array_cache **)(void *)((char *)machine_cpu(m, i) + ARRAY_AT) =
			&stacks[i].ac;
	}
	machine_enter(m);
	for (i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(arc_type_register(types[i]), 0);
	return m;
}

/* From a line of its own for each kind, so that from the second on they are plain. */
static struct node *node_init(struct node *n, const struct arc_type *type)
{
	memset(n, 0, sizeof(*n));
	if (type == &owner_type)
		arc_init(&n->arc, &owner_type);
	else if (type == &leaf_type)
		arc_init(&n->arc, &leaf_type);
	else if (type == &counted_leaf_type)
		arc_init(&n->arc, &counted_leaf_type);
	else if (type == &ordered_type)
		arc_init(&n->arc, &ordered_type);
	else
		arc_init(&n->arc, type);
	return n;
}

/* What the arrays got counts as freed. */
static void empty(union stack *stacks, unsigned int cpus)
{
	unsigned int i;

	for (i = 0; i < cpus; i++)
		while (stacks[i].ac.avail)
			node_free(stacks[i].ac.entry[--stacks[i].ac.avail]);
}

static void leave(struct machine *m)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(ledger_live(m, types[i]), 0);
	assert_int_equal(machine_check(m), 0);
	machine_leave();
	assert_int_equal(machine_shutdown(m), 0);
}

static void leaf_goes_to_the_array_at_once(void **state)
{
	const struct arc_type *leaves[] = { &leaf_type, &counted_leaf_type };
	union stack stack[1];
	struct node n[3];
	unsigned int i, t;

	(void)state;
	for (t = 0; t < ARRAY_SIZE(leaves); t++) {
		struct machine *m = boot(MACHINE_DETERMINISTIC, 1, stack);

		for (i = 0; i < 3; i++)
			node_init(&n[i], leaves[t]);
		assert_int_equal(ledger_live(m, leaves[t]), 3);
		for (i = 3; i-- > 0;)
			arc_put(&n[i].arc);
		/* The first from each line is made the long way. */
		assert_int_equal(stack[0].ac.avail, 2);
		assert_ptr_equal(stack[0].ac.entry[0], &n[2]);
		assert_ptr_equal(stack[0].ac.entry[1], &n[1]);
		assert_int_equal(n[0].nr_freed, 1);
		assert_int_equal(n[1].nr_freed, 0);
		assert_int_equal(ledger_peak(m, leaves[t]), 3);
		leave(m);
	}
}

static void full_array_means_free(void **state)
{
	union stack stack[1];
	struct machine *m = boot(MACHINE_DETERMINISTIC, 1, stack);
	struct node n[ARRAY_LIMIT + 3];
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(n); i++)
		arc_put(&node_init(&n[i], &leaf_type)->arc);
	assert_int_equal(stack[0].ac.avail, ARRAY_LIMIT);
	assert_int_equal(n[0].nr_freed, 1);
	assert_int_equal(n[ARRAY_LIMIT].nr_freed, 0);
	assert_int_equal(n[ARRAY_LIMIT + 1].nr_freed, 1);
	assert_int_equal(n[ARRAY_LIMIT + 2].nr_freed, 1);
	leave(m);
}

static void weak_reference_keeps_the_memory(void **state)
{
	static const struct arc_type *const plain[] = { &leaf_type, &counted_leaf_type,
							&owner_type, &ordered_type };
	union stack stack[1];
	struct node n[2];
	unsigned int t;

	(void)state;
	for (t = 0; t < ARRAY_SIZE(plain); t++) {
		struct machine *m = boot(MACHINE_DETERMINISTIC, 1, stack);
		struct arc *weak;

		arc_put(&node_init(&n[0], plain[t])->arc);
		weak = arc_downgrade(&node_init(&n[1], plain[t])->arc);
		arc_put(&n[1].arc);
		assert_int_equal(n[1].nr_freed + stack[0].ac.avail, 0);
		assert_null(arc_upgrade(weak));
		assert_int_equal(ledger_live(m, plain[t]), 1);
		arc_weak_put(weak);
		assert_int_equal(n[1].nr_freed, 1);
		leave(m);
	}
}

static void count_call(void *obj, void *arg)
{
	(void)obj;
	++*(unsigned int *)arg;
}

static void callback_is_called(void **state)
{
	static const struct arc_type *const plain[] = { &leaf_type, &counted_leaf_type,
							&owner_type, &ordered_type };
	union stack stack[1];
	struct arc_dtor dtor;
	const struct arc_type *owner;
	struct node n[3];
	unsigned int t, nr;

	(void)state;
	for (t = 0; t < ARRAY_SIZE(plain); t++) {
		struct machine *m = boot(MACHINE_DETERMINISTIC, 1, stack);

		nr = 0;
		arc_put(&node_init(&n[0], plain[t])->arc);
		arc_on_drop(&node_init(&n[1], plain[t])->arc, &dtor, count_call, &nr);
		/* Also where an owner's teardown comes by. */
		owner = t % 2 ? &owner_type : &ordered_type;
		node_init(&n[2], owner);
		arc_put(&node_init(&n[0], owner)->arc);
		node_init(&n[0], owner)->owned[0] = &n[1];
		arc_put(&n[0].arc);
		assert_int_equal(nr, 1);
		assert_int_equal(n[1].nr_freed, 1);
		arc_put(&n[2].arc);
		leave(m);
	}
}

/* Each node owns nodes with higher numbers, so there are no cycles. */
static void graph_build(struct rnd *rnd, struct node *n, unsigned int nr, bool *held,
			const struct arc_type *most)
{
	unsigned int i, f, nr_edges, to;

	for (i = 0; i < nr; i++)
		node_init(&n[i], i && rnd_below(rnd, 3) ? most :
				 types[rnd_below(rnd, ARRAY_SIZE(types))]);
	for (i = 0; i + 1 < nr; i++) {
		if (!n[i].arc.type->fields)
			continue;
		nr_edges = rnd_below(rnd, 8) ? rnd_below(rnd, 4) : NR_FIELDS;
		for (f = 0; f < nr_edges; f++) {
			to = (unsigned int)rnd_between(rnd, i + 1, nr - 1);
			arc_get(&n[to].arc);
			n[i].owned[rnd_below(rnd, 2) ? f : NR_FIELDS - 1 - f] = &n[to];
		}
	}
	for (i = 0; i < nr; i++)
		held[i] = !rnd_below(rnd, 10);
}

/* Two edges into one field: the first is forgotten, so give it back. */
static void graph_settle(struct node *n, unsigned int nr)
{
	unsigned int count[NR_NODES] = { 0 }, i, f;

	for (i = 0; i < nr; i++)
		for (f = 0; f < NR_FIELDS; f++)
			if (n[i].owned[f])
				count[n[i].owned[f] - n]++;
	for (i = 0; i < nr; i++)
		while (arc_count(&n[i].arc) > count[i] + 1)
			arc_put(&n[i].arc);
}

static void graph_reach(const struct node *n, unsigned int nr, bool *reached)
{
	unsigned int i, f;

	for (i = 0; i < nr; i++)
		for (f = 0; reached[i] && f < NR_FIELDS; f++)
			if (n[i].owned[f])
				reached[n[i].owned[f] - n] = true;
}

static void graphs(enum machine_mode mode, u64 seed)
{
	static struct node n[NR_NODES];
	bool held[NR_NODES], reached[NR_NODES];
	union stack stack[1];
	struct machine *m = boot(mode, 1, stack);
	unsigned int nr, i;
	struct rnd rnd;

	rnd_seed(&rnd, seed);
	nr = 2 + rnd_below(&rnd, NR_NODES - 2);
	graph_build(&rnd, n, nr, held, seed % 2 ? &owner_type : &ordered_type);
	graph_settle(n, nr);
	memcpy(reached, held, sizeof(held));
	graph_reach(n, nr, reached);
	for (i = 0; i < nr; i++)
		if (!held[i])
			arc_put(&n[i].arc);
	empty(stack, 1);
	for (i = 0; i < nr; i++) {
		assert_int_equal(n[i].nr_freed, !reached[i]);
		assert_int_equal(n[i].nr_dropped, !reached[i] && n[i].arc.type == &dropped_type);
	}
	for (i = 0; i < nr; i++)
		if (held[i])
			arc_put(&n[i].arc);
	empty(stack, 1);
	for (i = 0; i < nr; i++)
		assert_int_equal(n[i].nr_freed, 1);
	leave(m);
}

static void random_graphs_end_as_reachability_says(void **state)
{
	u64 seed;

	(void)state;
	for (seed = 1; seed <= 150; seed++)
		graphs(seed % 8 ? MACHINE_DETERMINISTIC : MACHINE_PARALLEL, seed);
}

static long put_all(void *arg)
{
	struct node *n = arg;
	unsigned int i;

	for (i = 0; i < 9; i++)
		arc_put(&n[i].arc);
	return 0;
}

static void made_on_one_cpu_and_put_on_another(void **state)
{
	static const struct arc_type *const each[] = { &leaf_type, &owner_type, &ordered_type };
	union stack stack[2];
	struct node n[9];
	unsigned int i, mode;

	(void)state;
	for (mode = 0; mode < 2; mode++) {
		struct machine *m = boot(mode ? MACHINE_PARALLEL : MACHINE_DETERMINISTIC, 2,
					 stack);

		for (i = 0; i < 9; i++)
			node_init(&n[i], each[i / 3]);
		assert_int_equal(machine_call(m, 1, put_all, n).end, MACHINE_VALUE);
		empty(stack, 2);
		for (i = 0; i < 9; i++)
			assert_int_equal(n[i].nr_freed, 1);
		leave(m);
	}
}

/* ---- in order ---- */

/* What the bodies are to write down: one put, by the rules and by recursion. */
static void model_put(const struct node *n, unsigned int *count, unsigned int i,
		      struct bodies *bodies)
{
	unsigned int f;

	if (--count[i])
		return;
	if (n[i].arc.type == &dropped_type)
		bodies->run[bodies->nr++] = i;
	for (f = 0; f < NR_FIELDS; f++)
		if (n[i].owned[f])
			model_put(n, count, (unsigned int)(n[i].owned[f] - n), bodies);
}

/* No owner that does not care about the order. */
static void graph_in_order(struct rnd *rnd, struct node *n, unsigned int nr)
{
	static const struct arc_type *const ordered[] = { &ordered_type, &ordered_type,
		&ordered_type, &dropped_type, &leaf_type, &counted_leaf_type };
	unsigned int i, f, to;

	for (i = 0; i < nr; i++)
		node_init(&n[i], ordered[rnd_below(rnd, ARRAY_SIZE(ordered))]);
	for (i = 0; i + 1 < nr; i++) {
		for (f = 0; n[i].arc.type->fields && f < 1 + rnd_below(rnd, 4); f++) {
			to = (unsigned int)rnd_between(rnd, i + 1, min(nr - 1, i + 6));
			n[i].owned[f] = &n[to];
			arc_get(&n[to].arc);
		}
	}
}

static void one_graph_in_order(u64 seed)
{
	static struct node n[NR_NODES];
	struct bodies real = { .first = n }, expected = { .first = n };
	unsigned int count[NR_NODES], nr, i;
	struct arc *weak[NR_NODES];
	union stack stack[1];
	struct machine *m = boot(MACHINE_DETERMINISTIC, 1, stack);
	struct rnd rnd;

	rnd_seed(&rnd, seed);
	nr = 2 + rnd_below(&rnd, NR_NODES - 2);
	graph_in_order(&rnd, n, nr);
	for (i = 0; i < nr; i++) {
		n[i].bodies = &real;
		count[i] = arc_count(&n[i].arc);
		weak[i] = rnd_below(&rnd, 16) ? NULL : arc_downgrade(&n[i].arc);
	}
	for (i = nr; i-- > 0;)
		model_put(n, count, i, &expected);
	for (i = nr; i-- > 0;)
		arc_put(&n[i].arc);
	assert_int_equal(real.nr, expected.nr);
	assert_memory_equal(real.run, expected.run, real.nr * sizeof(real.run[0]));
	empty(stack, 1);
	for (i = 0; i < nr; i++) {
		assert_int_equal(n[i].nr_freed, !weak[i]);
		arc_weak_put(weak[i]);
	}
	empty(stack, 1);
	for (i = 0; i < nr; i++)
		assert_int_equal(n[i].nr_freed, 1);
	leave(m);
}

static void bodies_run_in_the_order_of_the_recursive_model(void **state)
{
	u64 seed;

	(void)state;
	for (seed = 1; seed <= 300; seed++)
		one_graph_in_order(seed);
}

static void ordered_below_unordered_keeps_its_order(void **state)
{
	struct node n[5];
	struct bodies real = { .first = n };
	union stack stack[1];
	struct machine *m = boot(MACHINE_DETERMINISTIC, 1, stack);
	unsigned int i;

	(void)state;
	arc_put(&node_init(&n[0], &owner_type)->arc);
	arc_put(&node_init(&n[1], &ordered_type)->arc);
	node_init(&n[0], &owner_type)->owned[0] = &n[1];
	node_init(&n[1], &ordered_type);
	for (i = 2; i < 5; i++) {
		n[1].owned[i] = node_init(&n[i], &dropped_type);
		n[i].bodies = &real;
	}
	arc_put(&n[0].arc);
	assert_int_equal(real.nr, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(real.run[i], i + 2);
	leave(m);
}

/* A chain: gone when the innermost one's body runs. A comb: but for those that own more. */
static void owner_goes_with_the_last_reference_it_owns(void **state)
{
	static struct node n[NR_NODES];
	union stack stack[1];
	unsigned int comb, i;

	(void)state;
	for (comb = 0; comb < 2; comb++) {
		struct machine *m = boot(MACHINE_DETERMINISTIC, 1, stack);
		struct node leaf;

		arc_put(&node_init(&n[0], &ordered_type)->arc);
		node_init(&leaf, &leaf_type);
		for (i = 0; i < NR_NODES; i++)
			node_init(&n[i], i + 1 < NR_NODES ? &ordered_type : &dropped_type);
		for (i = 0; i + 1 < NR_NODES; i++) {
			n[i].owned[3] = &n[i + 1];
			if (comb && i % 2) {
				n[i].owned[7] = &leaf;
				arc_get(&leaf.arc);
			}
		}
		arc_put(&n[0].arc);
		assert_int_equal(n[NR_NODES - 1].nr_dropped, 1);
		assert_int_equal(n[NR_NODES - 1].nr_owners, comb ? (NR_NODES - 1) / 2 : 0);
		assert_int_equal(arc_count(&leaf.arc), 1);
		arc_put(&leaf.arc);
		leave(m);
	}
}

struct deep {
	struct arc arc;
	struct deep *first, *second;
};

static const struct arc_field deep_fields[] = {
	ARC_OWNED(deep, first, deep), ARC_OWNED(deep, second, deep), ARC_FIELDS_END
};

static void deep_free(void *obj)
{
	((struct deep *)obj)->first = obj;
}

static const struct arc_type deep_type = {
	.name = "deep", .size = sizeof(struct deep), .array = ARRAY_AT,
	.flags = ARC_PRIVATE, .ops = { .free = deep_free }, .fields = deep_fields,
};

/* Every owner waits for what is below it: the second one is owned by all. */
static void deep_comb_dies_without_recursion(void **state)
{
	struct deep *d = calloc(DEEP + 1, sizeof(*d));
	union stack stack[1];
	struct machine *m = boot(MACHINE_DETERMINISTIC, 1, stack);
	unsigned long i;

	(void)state;
	assert_non_null(d);
	assert_int_equal(arc_type_register(&deep_type), 0);
	for (i = 0; i <= DEEP; i++)
		arc_init(&d[i].arc, &deep_type);
	for (i = 0; i < DEEP; i++) {
		d[i].first = i + 1 < DEEP ? &d[i + 1] : NULL;
		d[i].second = &d[DEEP];
		arc_get(&d[DEEP].arc);
	}
	arc_put(&d[0].arc);
	assert_int_equal(ledger_live(m, &deep_type), 1);
	assert_int_equal(arc_count(&d[DEEP].arc), 1);
	arc_put(&d[DEEP].arc);
	assert_int_equal(ledger_live(m, &deep_type), 0);
	leave(m);
	free(d);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaf_goes_to_the_array_at_once),
		cmocka_unit_test(full_array_means_free),
		cmocka_unit_test(weak_reference_keeps_the_memory),
		cmocka_unit_test(callback_is_called),
		cmocka_unit_test(random_graphs_end_as_reachability_says),
		cmocka_unit_test(made_on_one_cpu_and_put_on_another),
		cmocka_unit_test(bodies_run_in_the_order_of_the_recursive_model),
		cmocka_unit_test(ordered_below_unordered_keeps_its_order),
		cmocka_unit_test(owner_goes_with_the_last_reference_it_owns),
		cmocka_unit_test(deep_comb_dies_without_recursion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
