/* SPDX-License-Identifier: MIT */
/*
 * Goal: what the quarantine knows is true, bounded, and gone when it stops being true; what it
 * holds comes back, each object once.
 * Method: a pool of objects that counts their frees; small quarantines; reuse of addresses by
 * hand, with the same type, another type and no type; deaths on all CPUs at once.
 */
#include "fixture.h"

#include <string.h>

#include <karc/refcount/arc.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/quarantine.h>
#include <karc/refcount/rcu.h>
#include <karc/refcount/room.h>

#include "refcount_test.h"

#define NR_THINGS	64

struct thing {
	struct arc arc;
	u64 value;
	u32 nr_drops, nr_frees;		/* atomic */
	struct thing *owned;
};

static void thing_drop(void *obj)
{
	__atomic_fetch_add(&((struct thing *)obj)->nr_drops, 1, __ATOMIC_RELAXED);
}

static void thing_free(void *obj)
{
	__atomic_fetch_add(&((struct thing *)obj)->nr_frees, 1, __ATOMIC_RELAXED);
}

#define THING(type_name, type_flags) { \
	.name = (type_name), .size = sizeof(struct thing), \
	.offset = offsetof(struct thing, arc), .flags = (type_flags), \
	.ops = { .drop = thing_drop, .free = thing_free } }

static const struct arc_type thing_type = THING("thing", 0);
static const struct arc_type other_type = THING("other", 0);
static const struct arc_type rcu_type = THING("rcu", ARC_RCU);
static const struct arc_type findable_type = THING("findable", ARC_FINDABLE);

static void thing_init(struct thing *t, const struct arc_type *type)
{
	assert_int_equal(arc_type_register(type), 0);
	memset(t, 0, sizeof(*t));
	arc_init(&t->arc, type);
}

/* ---- what is known ---- */

static void obituary_tells_who_it_was(void **state)
{
	struct arc_obituary o;
	struct thing t;
	unsigned int line;

	(void)state;
	thing_init(&t, &thing_type);
	assert_false(arc_obituary(&t, &o));
	line = __LINE__ + 1;
	arc_put(&t.arc);
	assert_true(arc_obituary(&t.arc, &o));
	assert_ptr_equal(o.arc, &t.arc);
	assert_ptr_equal(o.object, &t);
	assert_ptr_equal(o.type, &thing_type);
	assert_string_equal(o.created->func, "thing_init");
	assert_string_equal(o.put->func, __func__);
	assert_int_equal(o.put->line, line);
	assert_string_equal(o.task, fiber_self()->name);
	assert_int_equal(o.task_id, fiber_self()->id);
	assert_null(o.owner);
}

static void every_address_inside_finds_it(void **state)
{
	struct arc_obituary o;
	struct thing t[3];

	(void)state;
	thing_init(&t[1], &thing_type);
	arc_put(&t[1].arc);
	assert_true(arc_obituary(&t[1], &o));
	assert_true(arc_obituary(&t[1].arc.weak, &o));
	assert_true(arc_obituary((char *)&t[2] - 1, &o));
	assert_false(arc_obituary(&t[2], &o));
	assert_false(arc_obituary((char *)&t[1] - 1, &o));
}

static void object_that_weak_references_keep_is_known_too(void **state)
{
	struct arc_obituary o;
	struct thing t;

	(void)state;
	thing_init(&t, &thing_type);
	arc_downgrade(&t.arc);
	arc_put(&t.arc);
	assert_true(arc_obituary(&t.arc, &o));
	assert_int_equal(t.nr_frees, 0);
	arc_weak_put(&t.arc);
	assert_true(arc_obituary(&t.arc, &o));
	assert_int_equal(t.nr_frees, 1);
}

static void new_object_at_the_address_drops_the_knowledge(void **state)
{
	static const struct arc_type *const types[] = { &thing_type, &other_type, &rcu_type };
	struct arc_obituary o;
	struct thing t;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		thing_init(&t, &thing_type);
		arc_put(&t.arc);
		assert_true(arc_obituary(&t.arc, &o));
		thing_init(&t, types[i]);
		assert_false(arc_obituary(&t.arc, &o));
		assert_false(arc_obituary(&t.arc.weak, &o));
		arc_put(&t.arc);
		assert_true(arc_obituary(&t.arc, &o));
		assert_ptr_equal(o.type, types[i]);
		rcu_barrier();
	}
}

static void memory_in_other_use_drops_the_knowledge(void **state)
{
	struct arc_obituary o;
	struct thing t;

	(void)state;
	thing_init(&t, &thing_type);
	arc_put(&t.arc);
	memset(&t, 0x5a, sizeof(t));
	assert_false(arc_obituary(&t.arc, &o));
	memset(&t, 0, sizeof(t));
	assert_false(arc_obituary(&t.arc, &o));
}

static void oldest_is_forgotten_first(void **state)
{
	struct thing *t = must_alloc(NR_THINGS * sizeof(*t));
	struct arc_obituary o;
	unsigned int i;

	(void)state;
	for (i = 0; i < 12; i++) {
		thing_init(&t[i], &thing_type);
		arc_put(&t[i].arc);
	}
	for (i = 0; i < 12; i++)
		assert_int_equal(arc_obituary(&t[i].arc, &o), i >= 4);
	hostmem_free(NULL, t);
}

static const struct arc_field owner_fields[] = {
	ARC_OWNED(thing, owned, thing), ARC_FIELDS_END,
};

static const struct arc_type owner_type = {
	.name = "owner", .size = sizeof(struct thing), .offset = offsetof(struct thing, arc),
	.ops = { .free = thing_free }, .fields = owner_fields,
};

static void obituary_names_the_owner_that_took_it_along(void **state)
{
	struct thing owner, t;
	struct arc_obituary o;

	(void)state;
	thing_init(&t, &thing_type);
	thing_init(&owner, &owner_type);
	owner.owned = &t;
	arc_put(&owner.arc);
	assert_true(arc_obituary(&t, &o));
	assert_ptr_equal(o.owner, &owner_type);
	assert_string_equal(o.put->func, __func__);
	assert_true(arc_obituary(&owner, &o));
	assert_null(o.owner);
}

static void deferred_death_names_the_put(void **state)
{
	struct arc_obituary o;
	struct thing t;

	(void)state;
	thing_init(&t, &thing_type);
	arc_put_deferred(&t.arc);
	assert_true(arc_obituary(&t, &o));
	assert_string_equal(o.put->func, __func__);
	machine_quiesce(this_machine());
	assert_true(arc_obituary(&t, &o));
}

/* ---- poison ---- */

static void dead_word_is_poison(void **state)
{
	struct thing t;

	(void)state;
	thing_init(&t, &thing_type);
	arc_put(&t.arc);
	assert_int_equal((int)refcount_read(&t.arc.kref.refcount), ARC_POISON);
	assert_int_equal((int)refcount_read(&t.arc.weak), ARC_POISON);
	thing_init(&t, &findable_type);
	arc_put(&t.arc);
	assert_int_equal(refcount_read(&t.arc.kref.refcount), 0);
	assert_int_equal((int)refcount_read(&t.arc.weak), ARC_POISON);
}

static void reader_under_rcu_sees_zero_until_the_grace_period(void **state)
{
	struct thing t;

	(void)state;
	thing_init(&t, &rcu_type);
	rcu_read_lock();
	arc_put(&t.arc);
	assert_null(arc_tryget(&t.arc));
	assert_int_equal(refcount_read(&t.arc.kref.refcount), 0);
	rcu_read_unlock();
	rcu_barrier();
	assert_int_equal((int)refcount_read(&t.arc.kref.refcount), ARC_POISON);
	assert_int_equal(t.nr_frees, 1);
	expect_no_warn();
}

static long use_stale(void *arg)
{
	struct arc *arc = arg;
	int i;

	for (i = 0; i < 200; i++) {
		arc_get(arc);
		arc_put(arc);
		arc_put(arc);
		(void)!arc_tryget(arc);
		(void)!arc_upgrade(arc);
		arc_weak_put(arc);
		arc_downgrade(arc);
		hw_safepoint();
	}
	return 0;
}

/* Whatever is done through stale pointers, on all CPUs at once: nothing dies a second time. */
static void no_number_of_stale_uses_frees_it_again(void **state)
{
	unsigned int i, nr_cpus = machine_nr_cpus(this_machine());
	struct fiber *f[MACHINE_MAX_CPUS];
	struct thing t;

	(void)state;
	thing_init(&t, &thing_type);
	arc_put(&t.arc);
	for (i = 0; i < nr_cpus; i++)
		f[i] = spawn_on(i, use_stale, &t.arc);
	for (i = 0; i < nr_cpus; i++)
		join_clean(f[i]);
	assert_int_equal(t.nr_drops, 1);
	assert_int_equal(t.nr_frees, 1);
	assert_true(arc_fault_count(this_machine(), ARC_FAULT_USE_AFTER_PUT) >= 200);
	expect_warn("use-after-free.");
}

/* ---- holding memory ---- */

static void held_memory_comes_back_at_a_quiet_point(void **state)
{
	struct thing t[3];
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		thing_init(&t[i], &thing_type);
		arc_put(&t[i].arc);
	}
	assert_int_equal(quarantine_nr_held(this_machine()), 3);
	/* Dead all the same. */
	assert_int_equal(ledger_live(this_machine(), &thing_type), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(t[i].nr_drops, 1);
		assert_int_equal(t[i].nr_frees, 0);
	}
	machine_quiesce(this_machine());
	assert_int_equal(quarantine_nr_held(this_machine()), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(t[i].nr_frees, 1);
}

static void newer_dead_push_older_ones_out(void **state)
{
	struct thing *t = must_alloc(NR_THINGS * sizeof(*t));
	unsigned int i, nr_freed = 0;

	(void)state;
	for (i = 0; i < NR_THINGS; i++) {
		thing_init(&t[i], &thing_type);
		arc_put(&t[i].arc);
		/* A task returns what was pushed out. */
		while (quarantine_nr_held(this_machine()) > 8)
			fiber_yield();
	}
	for (i = 0; i < NR_THINGS; i++) {
		assert_int_equal(t[i].nr_frees, i < NR_THINGS - 8);
		nr_freed += t[i].nr_frees;
	}
	assert_int_equal(nr_freed, NR_THINGS - 8);
	machine_quiesce(this_machine());
	for (i = 0; i < NR_THINGS; i++)
		assert_int_equal(t[i].nr_frees, 1);
	hostmem_free(NULL, t);
}

static void rcu_type_is_held_after_its_grace_period(void **state)
{
	struct thing t;

	(void)state;
	thing_init(&t, &rcu_type);
	arc_put(&t.arc);
	rcu_barrier();
	assert_int_equal(t.nr_frees, 0);
	assert_int_equal(quarantine_nr_held(this_machine()), 1);
	machine_quiesce(this_machine());
	assert_int_equal(t.nr_frees, 1);
}

static void held_object_with_weak_references_waits_for_them_first(void **state)
{
	struct thing t;

	(void)state;
	thing_init(&t, &thing_type);
	arc_downgrade(&t.arc);
	arc_put(&t.arc);
	assert_int_equal(quarantine_nr_held(this_machine()), 0);
	assert_null(arc_upgrade(&t.arc));
	arc_weak_put(&t.arc);
	assert_int_equal(quarantine_nr_held(this_machine()), 1);
	machine_quiesce(this_machine());	/* it is on the stack */
	assert_int_equal(t.nr_frees, 1);
}

static void reported_uses_of_held_memory_are_not_reported_again(void **state)
{
	struct thing t;

	(void)state;
	thing_init(&t, &thing_type);
	arc_put(&t.arc);
	arc_get(&t.arc);
	arc_put(&t.arc);
	expect_warn("use-after-free.");
	machine_reset_once(this_machine());
	machine_quiesce(this_machine());
	expect_no_warn();
}

static void silent_change_of_held_memory_is_reported(void **state)
{
	struct thing t;

	(void)state;
	thing_init(&t, &thing_type);
	arc_put(&t.arc);
	refcount_set(&t.arc.kref.refcount, 1);
	machine_quiesce(this_machine());
	expect_warn("counts of a dead thing were changed behind its back");
	assert_int_equal(t.nr_frees, 1);
}

static long make_and_put(void *arg)
{
	struct thing *t = arg;
	unsigned int i;

	for (i = 0; i < NR_THINGS; i++) {
		arc_init(&t[i].arc, &thing_type);
		arc_put(&t[i].arc);
		hw_safepoint();
	}
	return 0;
}

static void every_cpus_dead_are_freed_once(void **state)
{
	unsigned int i, nr_cpus = machine_nr_cpus(this_machine());
	struct thing *t = must_alloc(nr_cpus * NR_THINGS * sizeof(*t));
	struct fiber *f[MACHINE_MAX_CPUS];

	(void)state;
	assert_int_equal(arc_type_register(&thing_type), 0);
	for (i = 0; i < nr_cpus; i++)
		f[i] = spawn_on(i, make_and_put, t + i * NR_THINGS);
	for (i = 0; i < nr_cpus; i++)
		join_clean(f[i]);
	machine_quiesce(this_machine());
	for (i = 0; i < nr_cpus * NR_THINGS; i++)
		assert_int_equal(t[i].nr_frees, 1);
	hostmem_free(NULL, t);
}

/* ---- without it ---- */

static struct machine *boot(const struct machine_config *config)
{
	static const struct room *const rooms[] = { &hw_room, &refcount_room };

	return machine_boot_rooms(config, rooms, ARRAY_SIZE(rooms));
}

static long dies_unknown(void *arg)
{
	struct arc_obituary o;
	struct thing *t = arg;

	if (arc_type_register(&thing_type))
		return -1;
	arc_init(&t->arc, &thing_type);
	arc_put(&t->arc);
	return arc_obituary(&t->arc, &o) + t->nr_frees;
}

static void machine_without_quarantine_knows_nothing(void **state)
{
	struct machine_config config = { .mem_bytes = 16 << 20, .quiet = true };
	struct machine *m = boot(&config);
	struct thing t = { .value = 0 };

	(void)state;
	assert_false(IS_ERR(m));
	assert_int_equal(machine_call(m, 0, dies_unknown, &t).value, 1);
	assert_int_equal(quarantine_nr_held(m), 0);
	assert_int_equal(machine_shutdown(m), 0);
}

static const struct machine_config small = { .quarantine = 8 };
static const struct machine_config holding = { .quarantine = 8, .quarantine_hold = true };
static const struct machine_config holding4 = {
	.nr_cpus = 4, .quarantine = 8, .quarantine_hold = true,
};

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(obituary_tells_who_it_was),
		karc_unit_test(every_address_inside_finds_it),
		karc_unit_test(object_that_weak_references_keep_is_known_too),
		karc_unit_test(new_object_at_the_address_drops_the_knowledge),
		karc_unit_test(memory_in_other_use_drops_the_knowledge),
		karc_unit_test_config(oldest_is_forgotten_first, 1, &small),
		karc_unit_test(obituary_names_the_owner_that_took_it_along),
		karc_unit_test(deferred_death_names_the_put),
		karc_unit_test(dead_word_is_poison),
		karc_unit_test(reader_under_rcu_sees_zero_until_the_grace_period),
		KARC_TESTS(no_number_of_stale_uses_frees_it_again),
		karc_unit_test_config(held_memory_comes_back_at_a_quiet_point, 1, &holding),
		karc_unit_test_config(newer_dead_push_older_ones_out, 1, &holding),
		karc_unit_test_config(rcu_type_is_held_after_its_grace_period, 1, &holding),
		karc_unit_test_config(held_object_with_weak_references_waits_for_them_first, 1,
				      &holding),
		karc_unit_test_config(reported_uses_of_held_memory_are_not_reported_again, 1,
				      &holding),
		karc_unit_test_config(silent_change_of_held_memory_is_reported, 1, &holding),
		karc_unit_test_config(every_cpus_dead_are_freed_once, 1, &holding),
		karc_unit_test_config(every_cpus_dead_are_freed_once, 4, &holding4),
		cmocka_unit_test(machine_without_quarantine_knows_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
