/* SPDX-License-Identifier: MIT */
/*
 * Goal: strong references keep an object alive, weak ones its memory, and each ends once.
 * Method: objects that count their drops and frees; faults are provoked and then repaired, so
 * that nothing is left; races between the last put and upgrades run on 4 CPUs under many seeds.
 */
#include "fixture.h"

#include <karc/refcount/arc.h>
#include <karc/refcount/ledger.h>

#include "refcount_test.h"

#define ALIVE	0x600d
#define NR_SEEDS 200

struct thing {
	int value;
	struct arc arc;
	int *nr_drops, *nr_frees;
};

static void thing_drop(void *obj)
{
	struct thing *t = obj;

	t->value = 0;
	++*t->nr_drops;
}

static void thing_free(void *obj)
{
	struct thing *t = obj;

	++*t->nr_frees;
	hostmem_free(NULL, t);
}

#define THING(type_flags) { \
	.name = "thing", \
	.size = sizeof(struct thing), \
	.offset = offsetof(struct thing, arc), \
	.flags = (type_flags), \
	.ops = { .drop = thing_drop, .free = thing_free } }

static const struct arc_type thing_type = THING(0);
static const struct arc_type findable_type = THING(ARC_FINDABLE);
static const struct arc_type rcu_type = THING(ARC_RCU);
static const struct arc_type private_type = THING(ARC_PRIVATE);

struct counts {
	int drops, frees;
};

static struct thing *thing_new(const struct arc_type *type, struct counts *n)
{
	struct thing *t = must_alloc(sizeof(*t));

	assert_int_equal(arc_type_register(type), 0);
	*n = (struct counts){ 0, 0 };
	t->nr_drops = &n->drops;
	t->nr_frees = &n->frees;
	t->value = ALIVE;
	arc_init(&t->arc, type);
	return t;
}

static void layout_aliases_kref(void **state)
{
	struct arc arc = { .word = ARC_WORD_ONE };

	(void)state;
	assert_int_equal(sizeof(struct arc), 48);
	assert_int_equal(kref_read(&arc.kref), 1);
	assert_int_equal(refcount_read(&arc.weak), 1);
}

static void new_object_has_one_reference(void **state)
{
	struct counts n;
	struct thing *t = thing_new(&thing_type, &n);

	(void)state;
	assert_int_equal(t->arc.state, ARC_LIVE);
	assert_int_equal(arc_count(&t->arc), 1);
	assert_int_equal(arc_weak_count(&t->arc), 0);
	assert_true(arc_is_unique(&t->arc));
	assert_ptr_equal(arc_object(&t->arc), t);
	assert_string_equal(t->arc.site->func, "thing_new");
	arc_put(&t->arc);
	assert_int_equal(n.drops, 1);
	assert_int_equal(n.frees, 1);
}

static void object_lives_until_the_last_put(void **state)
{
	static const struct arc_type *const types[] = {
		&thing_type, &findable_type, &private_type,
	};
	struct counts n;
	struct thing *t;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		t = thing_new(types[i], &n);
		assert_ptr_equal(arc_get(&t->arc), &t->arc);
		assert_int_equal(arc_count(&t->arc), 2);
		assert_false(arc_is_unique(&t->arc));
		arc_put(&t->arc);
		assert_int_equal(n.drops, 0);
		assert_ptr_equal(arc_tryget(&t->arc), &t->arc);
		arc_put(&t->arc);
		arc_put(&t->arc);
		assert_int_equal(n.drops, 1);
		assert_int_equal(n.frees, 1);
	}
}

static void put_of_nothing_is_ignored(void **state)
{
	(void)state;
	arc_put(NULL);
	arc_put_deferred(NULL);
	arc_weak_put(NULL);
}

static void end_by_kref(struct kref *kref)
{
	arc_last_put(container_of(kref, struct arc, kref));
}

static void kref_and_arc_count_the_same(void **state)
{
	struct counts n;
	struct thing *t = thing_new(&thing_type, &n);

	(void)state;
	kref_get(&t->arc.kref);
	assert_int_equal(arc_count(&t->arc), 2);
	arc_put(&t->arc);
	assert_int_equal(kref_put(&t->arc.kref, end_by_kref), 1);
	assert_int_equal(n.drops, 1);
	assert_int_equal(n.frees, 1);
}

static void weak_reference_keeps_memory_only(void **state)
{
	struct counts n;
	struct thing *t = thing_new(&thing_type, &n);
	struct arc *weak = arc_downgrade(&t->arc);

	(void)state;
	assert_int_equal(arc_weak_count(weak), 1);
	assert_false(arc_is_unique(&t->arc));
	assert_ptr_equal(arc_upgrade(weak), weak);
	assert_int_equal(arc_count(weak), 2);
	arc_put(weak);
	arc_put(&t->arc);
	assert_int_equal(n.drops, 1);
	assert_int_equal(n.frees, 0);
	assert_int_equal(weak->state, ARC_DEAD);
	assert_int_equal(arc_weak_count(weak), 1);
	assert_null(arc_upgrade(weak));
	assert_null(arc_tryget(weak));
	assert_int_equal(ledger_live(this_machine(), &thing_type), 1);
	arc_weak_put(weak);
	assert_int_equal(n.frees, 1);
	assert_int_equal(ledger_live(this_machine(), &thing_type), 0);
}

static void weak_reference_given_back_first_changes_nothing(void **state)
{
	struct counts n;
	struct thing *t = thing_new(&thing_type, &n);

	(void)state;
	arc_weak_put(arc_downgrade(&t->arc));
	assert_int_equal(n.drops, 0);
	assert_true(arc_is_unique(&t->arc));
	arc_put(&t->arc);
	assert_int_equal(n.frees, 1);
}

static void halves_do_not_carry_into_each_other(void **state)
{
	struct counts n;
	struct thing *t = thing_new(&thing_type, &n);

	(void)state;
	refcount_set(&t->arc.kref.refcount, REFCOUNT_MAX);
	arc_get(&t->arc);
	assert_int_equal((int)arc_count(&t->arc), REFCOUNT_SATURATED);
	assert_int_equal(arc_weak_count(&t->arc), 0);
	refcount_set(&t->arc.kref.refcount, 1);
	refcount_set(&t->arc.weak, REFCOUNT_MAX);
	arc_downgrade(&t->arc);
	assert_int_equal((int)refcount_read(&t->arc.weak), REFCOUNT_SATURATED);
	assert_int_equal(arc_count(&t->arc), 1);
	assert_int_equal(count_in_log("refcount_t: saturated; leaking memory."), 1);
	expect_warn("refcount_t: saturated; leaking memory.");
	refcount_set(&t->arc.weak, 1);
	arc_put(&t->arc);
	assert_int_equal(n.frees, 1);
}

static void saturated_object_never_dies(void **state)
{
	struct counts n;
	struct thing *t = thing_new(&thing_type, &n);
	int i;

	(void)state;
	refcount_set(&t->arc.kref.refcount, REFCOUNT_MAX);
	arc_get(&t->arc);
	for (i = 0; i < 1000; i++)
		arc_put(&t->arc);
	assert_int_equal(n.drops, 0);
	assert_int_equal((int)arc_count(&t->arc), REFCOUNT_SATURATED);
	refcount_set(&t->arc.kref.refcount, 1);
	arc_put(&t->arc);
	assert_int_equal(n.drops, 1);
	expect_warn("refcount_t: saturated; leaking memory.");
}

static void saturated_weak_count_keeps_the_memory(void **state)
{
	struct counts n;
	struct thing *t = thing_new(&thing_type, &n);
	int i;

	(void)state;
	refcount_set(&t->arc.weak, REFCOUNT_MAX);
	arc_downgrade(&t->arc);
	arc_put(&t->arc);
	for (i = 0; i < 100; i++)
		arc_weak_put(&t->arc);
	assert_int_equal(n.drops, 1);
	assert_int_equal(n.frees, 0);
	refcount_set(&t->arc.weak, 1);
	arc_weak_put(&t->arc);
	assert_int_equal(n.frees, 1);
	expect_warn("refcount_t: saturated; leaking memory.");
}

static void double_put_is_reported_and_drops_once(void **state)
{
	struct counts n;
	struct thing *t = thing_new(&thing_type, &n);
	struct arc *weak = arc_downgrade(&t->arc);

	(void)state;
	arc_put(&t->arc);
	arc_put(&t->arc);
	assert_int_equal(n.drops, 1);
	assert_int_equal(count_in_log("refcount_t: underflow; use-after-free."), 1);
	assert_int_equal(arc_count(weak), 0);	/* so that upgrades go on to fail */
	assert_null(arc_upgrade(weak));
	arc_weak_put(weak);
	assert_int_equal(n.frees, 1);
	expect_warn("refcount_t: underflow; use-after-free.");
}

/* ---- resurrection: on a machine of its own, because the object stays ---- */

static void rise(void *obj)
{
	struct thing *t = obj;

	thing_drop(obj);
	arc_get(&t->arc);
}

static void try_to_rise(void *obj)
{
	struct thing *t = obj;

	thing_drop(obj);
	if (arc_tryget(&t->arc) || arc_upgrade(&t->arc))
		t->value = ALIVE;
}

static void put_myself(void *obj)
{
	struct thing *t = obj;

	thing_drop(obj);
	arc_put(&t->arc);
}

static const struct arc_type rising_type = {
	.name = "phoenix", .size = sizeof(struct thing), .offset = offsetof(struct thing, arc),
	.ops = { .drop = rise, .free = thing_free },
};

static const struct arc_type polite_type = {
	.name = "polite", .size = sizeof(struct thing), .offset = offsetof(struct thing, arc),
	.ops = { .drop = try_to_rise, .free = thing_free },
};

static const struct arc_type twice_type = {
	.name = "twice", .size = sizeof(struct thing), .offset = offsetof(struct thing, arc),
	.ops = { .drop = put_myself, .free = thing_free },
};

static struct thing *left_behind;
static const struct arc_type *left_type;
static const char *left_why;

static void drop_one(void)
{
	struct counts n;

	left_behind = thing_new(left_type, &n);
	arc_put(&left_behind->arc);
	assert_int_equal(n.drops, 1);
	assert_int_equal(n.frees, 0);
	assert_true(fixture_log_contains(left_why));
	assert_true(fixture_log_contains(left_type->name));
	expect_warn("got or put again while dying; leaking it");
}

/* Drop an object of @type on a new machine: it stays, and @why says the reason. */
static void assert_leaked(const struct arc_type *type, const char *why)
{
	struct fixture_verdict v;

	left_type = type;
	left_why = why;
	v = fixture_run(1, drop_one);
	assert_int_equal(v.nr_failures, 0);
	assert_int_equal(v.nr_warnings, 0);
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, type->name));
	hostmem_free(NULL, left_behind);
}

static void get_on_a_dying_object_is_reported_and_leaks(void **state)
{
	(void)state;
	assert_leaked(&rising_type, "refcount_t: addition on 0; use-after-free.");
}

struct owner {
	struct arc arc;
	struct thing *child;
};

static struct owner *left_owner;
static struct thing *left_child;

static void owner_rise(void *obj)
{
	struct owner *o = obj;

	arc_get(&o->arc);
}

static void owner_free(void *obj)
{
	hostmem_free(NULL, obj);
}

static void drop_owner(void)
{
	static const struct arc_field fields[] = {
		ARC_OWNED(owner, child, thing), ARC_FIELDS_END
	};
	static const struct arc_type type = {
		.name = "owner", .size = sizeof(struct owner),
		.ops = { .drop = owner_rise, .free = owner_free }, .fields = fields,
	};
	struct counts n;

	left_owner = must_alloc(sizeof(*left_owner));
	assert_int_equal(arc_type_register(&type), 0);
	arc_init(&left_owner->arc, &type);
	left_child = thing_new(&thing_type, &n);
	left_owner->child = left_child;
	arc_put(&left_owner->arc);
	assert_ptr_equal(left_owner->child, left_child);
	assert_int_equal(arc_count(&left_child->arc), 1);
	expect_warn("got or put again while dying; leaking it");
}

static void resurrected_object_keeps_what_it_owns(void **state)
{
	struct fixture_verdict v = fixture_run(1, drop_owner);

	(void)state;
	assert_int_equal(v.nr_failures, 0);
	assert_int_equal(v.nr_left, 2);
	hostmem_free(NULL, left_owner);
	hostmem_free(NULL, left_child);
}

static void put_of_a_dying_object_is_reported_and_leaks(void **state)
{
	(void)state;
	assert_leaked(&twice_type, "refcount_t: underflow; use-after-free.");
}

static void dying_object_refuses_tryget_and_upgrade(void **state)
{
	struct counts n;
	struct thing *t = thing_new(&polite_type, &n);
	struct arc *weak = arc_downgrade(&t->arc);

	(void)state;
	arc_put(&t->arc);
	assert_int_equal(t->value, 0);
	assert_int_equal(n.drops, 1);
	arc_weak_put(weak);
	assert_int_equal(n.frees, 1);
}

/* ---- registration ---- */

static void type_without_drop_and_fields_is_refused(void **state)
{
	struct arc_type type = { .name = "empty", .size = sizeof(struct arc) };

	(void)state;
	assert_int_equal(arc_type_register(&type), -EINVAL);
	assert_int_equal(count_in_log("type \"empty\" refused: it has neither drop nor fields: "
				      "give it ops.drop or a field table, or set ARC_LEAF"), 1);
}

static void leaf_type_is_accepted(void **state)
{
	static const struct arc_type type = {
		.name = "leaf", .size = sizeof(struct arc), .flags = ARC_LEAF
	};

	(void)state;
	assert_int_equal(arc_type_register(&type), 0);
	assert_int_equal(arc_type_register(&type), 0);	/* again */
}

struct two_tier {
	struct arc arc;
	refcount_t users;
};

static void two_tier_free(void *obj)
{
	(void)obj;
}

#define ODD(what, ...) { what, { .name = "odd", .size = sizeof(struct two_tier), __VA_ARGS__ } }
#define ODD_FIELD(...) .fields = (const struct arc_field[]){ { .name = "x", __VA_ARGS__ }, \
							     ARC_FIELDS_END }

static void senseless_types_are_refused_with_the_reason(void **state)
{
	static const char beyond[] = "a field lies beyond its size or lacks what its kind needs";
	const struct {
		const char *why;
		struct arc_type type;
	} odd[] = {
		{ "type \"?\" refused: it has no name",
		  { .size = sizeof(struct arc), .flags = ARC_LEAF } },
		{ "type \"\" refused: it has no name",
		  { .name = "", .size = sizeof(struct arc), .flags = ARC_LEAF } },
		{ "type \"small\" refused: its arc lies beyond its size",
		  { .name = "small", .size = 8, .flags = ARC_LEAF } },
		ODD("its arc lies beyond its size", .offset = 16, .flags = ARC_LEAF),
		ODD("its arc is not aligned", .offset = 4, .flags = ARC_LEAF),
		ODD("ARC_RCU needs ops.free, which is called after the grace period",
		    .flags = ARC_LEAF | ARC_RCU),
		ODD("it has unknown flags", .flags = ARC_LEAF | ARC_LOCAL),
		ODD("it has unknown flags", .flags = ARC_LEAF | ARC_TRACKED),
		ODD("it has unknown flags", .flags = ARC_LEAF | 1u << 31),
		ODD("ARC_PRIVATE says that no lookup finds it, ARC_FINDABLE and ARC_RCU that one "
		    "may", .flags = ARC_LEAF | ARC_PRIVATE | ARC_FINDABLE),
		ODD("ARC_PRIVATE says that no lookup finds it, ARC_FINDABLE and ARC_RCU that one "
		    "may", .flags = ARC_LEAF | ARC_PRIVATE | ARC_RCU,
		    .ops = { .free = two_tier_free }),
		ODD("ARC_PRIVATE wants one count, ARC_PERCPU and ARC_BIASED make several",
		    .flags = ARC_LEAF | ARC_PRIVATE | ARC_PERCPU),
		ODD("ARC_PRIVATE wants one count, ARC_PERCPU and ARC_BIASED make several",
		    .flags = ARC_LEAF | ARC_PRIVATE | ARC_BIASED),
		ODD("ARC_PERCPU and ARC_BIASED are two ways of counting: choose one",
		    .flags = ARC_LEAF | ARC_PERCPU | ARC_BIASED),
		ODD("ARC_LEAF says that it owns nothing, its field table that it does",
		    .flags = ARC_LEAF, .fields = (const struct arc_field[]){ ARC_FIELDS_END }),
		ODD("its users lie beyond its size", .flags = ARC_LEAF,
		    .users = sizeof(struct two_tier), .ops = { .on_last_user = two_tier_free }),
		ODD("ops.on_last_user needs a struct arc_users, and .users says where it is",
		    .flags = ARC_LEAF, .ops = { .on_last_user = two_tier_free }),
		ODD("it has neither drop nor fields: give it ops.drop or a field table, or set "
		    "ARC_LEAF if it owns nothing", .flags = ARC_FINDABLE),
		ODD(beyond, ODD_FIELD(.kind = ARC_FIELD_OWNED, .offset = 4096)),
		ODD(beyond, ODD_FIELD(.kind = ARC_FIELD_WEAK, .offset = 50)),
		ODD(beyond, ODD_FIELD(.kind = ARC_FIELD_USER, .offset = 52)),
		ODD(beyond, ODD_FIELD(.kind = ARC_FIELD_ARRAY, .offset = 40, .count = 3)),
		ODD(beyond, ODD_FIELD(.kind = ARC_FIELD_ARRAY, .count_offset = 54)),
		ODD(beyond, ODD_FIELD(.kind = ARC_FIELD_LIST, .offset = 48)),
		ODD(beyond, ODD_FIELD(.kind = ARC_FIELD_TREE, .offset = 56)),
		ODD(beyond, ODD_FIELD(.kind = ARC_FIELD_VISITOR)),
		ODD(beyond, ODD_FIELD(.kind = ARC_FIELD_VISITOR + 1)),
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		karc_log_clear(machine_log(this_machine()));
		assert_int_equal(arc_type_register(&odd[i].type), -EINVAL);
		assert_int_equal(count_in_log("arc_type_register: type"), 1);
		assert_true(fixture_log_contains(odd[i].why));
	}
}


static const struct arc_type unknown_type = {
	.name = "stranger", .size = sizeof(struct arc), .flags = ARC_LEAF
};

static long init_unknown(void *arg)
{
	struct arc arc;

	(void)arg;
	arc_init(&arc, &unknown_type);
	return 0;
}

static void object_of_unregistered_type_is_a_bug(void **state)
{
	(void)state;
	expect_bug(init_unknown, NULL, "type \"stranger\" is not registered");
}

static int nr_embedded_drops;

static void embedded_drop(void *obj)
{
	nr_embedded_drops++;
	hostmem_free(NULL, obj);	/* the drop returns the memory itself */
}

static const struct arc_type embedded_type = {
	.name = "embedded", .size = sizeof(struct arc), .ops = { .drop = embedded_drop }
};

static long downgrade_embedded(void *arg)
{
	arc_downgrade(arg);
	return 0;
}

static void drop_may_return_the_memory_itself(void **state)
{
	struct arc *arc = must_alloc(sizeof(*arc));

	(void)state;
	nr_embedded_drops = 0;
	assert_int_equal(arc_type_register(&embedded_type), 0);
	arc_init(arc, &embedded_type);
	expect_bug(downgrade_embedded, arc, "type->ops.drop");
	arc_put(arc);
	assert_int_equal(nr_embedded_drops, 1);
	assert_int_equal(ledger_live(this_machine(), &embedded_type), 0);
}

/* ---- races ---- */

struct race {
	struct thing *t;
	struct counts n;
	unsigned int nr_upgrades, nr_refused;
	bool weak;
	const struct arc_type *type;
};

static long upgrade_and_look(void *arg)
{
	struct race *race = arg;
	struct arc *arc = &race->t->arc;
	int i;

	for (i = 0; i < 20; i++) {
		if (race->weak ? arc_upgrade(arc) : arc_tryget(arc)) {
			assert_int_equal(race->t->value, ALIVE);
			hw_safepoint();
			assert_int_equal(race->t->value, ALIVE);
			race->nr_upgrades++;
			arc_put(arc);
		} else {
			race->nr_refused++;
		}
		hw_safepoint();
	}
	arc_weak_put(arc);
	return 0;
}

static struct race *running_race;

static void put_while_others_upgrade(void)
{
	struct race *race = running_race;
	struct fiber *f[6];
	unsigned int i;

	race->t = thing_new(race->type, &race->n);
	for (i = 0; i < ARRAY_SIZE(f); i++) {
		arc_downgrade(&race->t->arc);
		f[i] = spawn_on(i, upgrade_and_look, race);
	}
	for (i = 0; i < 30; i++)
		hw_safepoint();
	arc_put(&race->t->arc);
	for (i = 0; i < ARRAY_SIZE(f); i++)
		join_clean(f[i]);
}

static void race_last_put(const struct arc_type *type, bool weak)
{
	unsigned int seed, nr_upgrades = 0, nr_refused = 0;

	for (seed = 1; seed <= NR_SEEDS; seed++) {
		struct machine_config config = {
			.nr_cpus = 4, .seed = seed, .switch_every = 1 + seed % 3,
			.mem_bytes = 16 << 20,
		};
		struct race race = { .type = type, .weak = weak };
		struct fixture_verdict v;

		running_race = &race;
		v = fixture_run_config(&config, put_while_others_upgrade);
		if (v.red)
			fail_msg("seed %u: %s", seed, v.reason);
		assert_int_equal(race.n.drops, 1);
		assert_int_equal(race.n.frees, 1);
		nr_upgrades += race.nr_upgrades;
		nr_refused += race.nr_refused;
	}
	assert_true(nr_upgrades > NR_SEEDS);	/* both outcomes were really met */
	assert_true(nr_refused > NR_SEEDS);
}

static void upgrade_races_with_the_last_put(void **state)
{
	(void)state;
	race_last_put(&thing_type, true);
	race_last_put(&private_type, true);
}

static void tryget_races_with_the_last_put(void **state)
{
	(void)state;
	race_last_put(&findable_type, false);
}

/* ---- RCU types ---- */

static void rcu_type_keeps_memory_for_readers(void **state)
{
	struct counts n;
	struct thing *t = thing_new(&rcu_type, &n);

	(void)state;
	rcu_read_lock();
	arc_put(&t->arc);
	assert_int_equal(n.drops, 1);
	hw_safepoint();
	assert_null(arc_tryget(&t->arc));	/* the memory is still there */
	assert_int_equal(n.frees, 0);
	rcu_read_unlock();
	rcu_barrier();
	assert_int_equal(n.frees, 1);
}

static void rcu_type_with_weak_reference_waits_for_both(void **state)
{
	struct counts n;
	struct thing *t = thing_new(&rcu_type, &n);
	struct arc *weak = arc_downgrade(&t->arc);

	(void)state;
	arc_put(&t->arc);
	rcu_barrier();
	assert_int_equal(n.frees, 0);
	assert_null(arc_upgrade(weak));
	arc_weak_put(weak);
	rcu_barrier();
	assert_int_equal(n.frees, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout_aliases_kref),
		karc_unit_test(new_object_has_one_reference),
		karc_unit_test(object_lives_until_the_last_put),
		karc_unit_test(put_of_nothing_is_ignored),
		karc_unit_test(kref_and_arc_count_the_same),
		karc_unit_test(weak_reference_keeps_memory_only),
		karc_unit_test(weak_reference_given_back_first_changes_nothing),
		karc_unit_test(halves_do_not_carry_into_each_other),
		karc_unit_test(saturated_object_never_dies),
		karc_unit_test(saturated_weak_count_keeps_the_memory),
		karc_unit_test(double_put_is_reported_and_drops_once),
		cmocka_unit_test(get_on_a_dying_object_is_reported_and_leaks),
		cmocka_unit_test(resurrected_object_keeps_what_it_owns),
		cmocka_unit_test(put_of_a_dying_object_is_reported_and_leaks),
		karc_unit_test(dying_object_refuses_tryget_and_upgrade),
		karc_unit_test(type_without_drop_and_fields_is_refused),
		karc_unit_test(leaf_type_is_accepted),
		karc_unit_test(senseless_types_are_refused_with_the_reason),
		karc_unit_test(object_of_unregistered_type_is_a_bug),
		karc_unit_test(drop_may_return_the_memory_itself),
		cmocka_unit_test(upgrade_races_with_the_last_put),
		cmocka_unit_test(tryget_races_with_the_last_put),
		karc_unit_test(rcu_type_keeps_memory_for_readers),
		karc_unit_test(rcu_type_with_weak_reference_waits_for_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
