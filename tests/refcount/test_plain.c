/* SPDX-License-Identifier: MIT */
/*
 * Goal: objects that are plain end as all others do, only quicker: each once, none too early, the
 * ledger balanced, and whatever makes one of them less plain (a weak reference, a callback, another
 * type below it) gets its due.
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
/* Of the slab room, which these machines do not have. */
#define ARRAY_AT	(offsetof(struct cpu, hot) + ROOM_SLAB * CPU_HOT_BYTES)

struct node {
	struct arc arc;
	unsigned int nr_freed, nr_dropped;
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

static void node_drop(void *obj)
{
	((struct node *)obj)->nr_dropped++;
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

static const struct arc_type *const types[] = {
	&owner_type, &leaf_type, &counted_leaf_type, &dropped_type,
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
							&owner_type };
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
							&owner_type };
	union stack stack[1];
	struct arc_dtor dtor;
	struct node n[3];
	unsigned int t, nr;

	(void)state;
	for (t = 0; t < ARRAY_SIZE(plain); t++) {
		struct machine *m = boot(MACHINE_DETERMINISTIC, 1, stack);

		nr = 0;
		arc_put(&node_init(&n[0], plain[t])->arc);
		arc_on_drop(&node_init(&n[1], plain[t])->arc, &dtor, count_call, &nr);
		/* Also where an owner's teardown comes by. */
		node_init(&n[2], &owner_type);
		arc_put(&node_init(&n[0], &owner_type)->arc);
		node_init(&n[0], &owner_type)->owned[0] = &n[1];
		arc_put(&n[0].arc);
		assert_int_equal(nr, 1);
		assert_int_equal(n[1].nr_freed, 1);
		arc_put(&n[2].arc);
		leave(m);
	}
}

/* Each node owns nodes with higher numbers, so there are no cycles. */
static void graph_build(struct rnd *rnd, struct node *n, unsigned int nr, bool *held)
{
	unsigned int i, f, nr_edges, to;

	for (i = 0; i < nr; i++)
		node_init(&n[i], types[i && rnd_below(rnd, 3) ? 0 : rnd_below(rnd, 4)]);
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
	graph_build(&rnd, n, nr, held);
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

	for (i = 0; i < 6; i++)
		arc_put(&n[i].arc);
	return 0;
}

static void made_on_one_cpu_and_put_on_another(void **state)
{
	union stack stack[2];
	struct node n[6];
	unsigned int i, mode;

	(void)state;
	for (mode = 0; mode < 2; mode++) {
		struct machine *m = boot(mode ? MACHINE_PARALLEL : MACHINE_DETERMINISTIC, 2,
					 stack);

		for (i = 0; i < 6; i++)
			node_init(&n[i], i < 3 ? &leaf_type : &owner_type);
		assert_int_equal(machine_call(m, 1, put_all, n).end, MACHINE_VALUE);
		empty(stack, 2);
		for (i = 0; i < 6; i++)
			assert_int_equal(n[i].nr_freed, 1);
		leave(m);
	}
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
