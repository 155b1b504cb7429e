/* SPDX-License-Identifier: MIT */
/*
 * Goal: the room boots, drains and shuts down, and what is forgotten is named.
 * Method: the fixture's own verdict on bodies that leak on purpose; many machines in a row and
 * two at once.
 */
#include "fixture.h"

#include <karc/refcount/arc.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/room.h>

#include "refcount_test.h"

struct lost {
	struct arc arc;
};

static void lost_free(void *obj)
{
	hostmem_free(NULL, obj);
}

static const struct arc_type lost_type = {
	.name = "lost_thing", .size = sizeof(struct lost), .flags = ARC_LEAF,
	.ops = { .free = lost_free },
};

static struct lost *kept[4];
static int nr_kept;

static void lose_two(void)
{
	assert_int_equal(arc_type_register(&lost_type), 0);
	for (nr_kept = 0; nr_kept < 2; nr_kept++) {
		kept[nr_kept] = must_alloc(sizeof(struct lost));
		arc_init(&kept[nr_kept]->arc, &lost_type);
	}
}

static void lose_a_weak_reference(void)
{
	assert_int_equal(arc_type_register(&lost_type), 0);
	kept[0] = must_alloc(sizeof(struct lost));
	nr_kept = 1;
	arc_init(&kept[0]->arc, &lost_type);
	arc_downgrade(&kept[0]->arc);
	arc_put(&kept[0]->arc);
}

static void lose_nothing(void)
{
	lose_two();
	while (nr_kept)
		arc_put(&kept[--nr_kept]->arc);
}

static void lose_a_small_one(void)
{
	ledger_add("small_thing", SITE(), 512);
}

static void free_kept(void)
{
	while (nr_kept)
		hostmem_free(NULL, kept[--nr_kept]);
}

static void forgotten_object_turns_the_fixture_red(void **state)
{
	struct fixture_verdict v;
	unsigned int cpus;

	(void)state;
	for (cpus = 1; cpus <= 4; cpus += 3) {
		v = fixture_run(cpus, lose_two);
		free_kept();
		assert_true(v.red);
		assert_int_equal(v.nr_left, 2);
		assert_int_equal(v.nr_failures, 0);
		assert_non_null(strstr(v.reason, "left: 2 lost_thing, 96 bytes, from "));
		assert_non_null(strstr(v.reason, "test_room.c:"));
		assert_non_null(strstr(v.reason, " lose_two"));
	}
}

static void forgotten_weak_reference_turns_it_red_too(void **state)
{
	struct fixture_verdict v = fixture_run(1, lose_a_weak_reference);

	(void)state;
	free_kept();
	assert_true(v.red);
	assert_int_equal(v.nr_left, 1);
}

static void forgotten_small_object_turns_it_red_too(void **state)
{
	struct fixture_verdict v = fixture_run(1, lose_a_small_one);

	(void)state;
	assert_true(v.red);
	assert_non_null(strstr(v.reason, "left: 1 small_thing, 512 bytes, from "));
}

static void nothing_forgotten_is_green(void **state)
{
	struct fixture_verdict v = fixture_run(4, lose_nothing);

	(void)state;
	assert_false(v.red);
	assert_int_equal(v.nr_left, 0);
}

static void many_machines_in_a_row_leak_nothing(void **state)
{
	const struct room *const rooms[] = { &hw_room, &refcount_room };
	struct machine_config config = { .nr_cpus = 4, .mem_bytes = 16 << 20, .track = true };
	struct machine *m;
	int i;

	(void)state;
	for (i = 0; i < 50; i++) {
		m = machine_boot_rooms(&config, rooms, ARRAY_SIZE(rooms));
		assert_false(IS_ERR(m));
		assert_int_equal(machine_check(m), 0);
		assert_int_equal(machine_shutdown(m), 0);
	}
}

static long make_one(void *arg)
{
	struct lost **slot = arg;

	if (arc_type_register(&lost_type))
		return -1;
	*slot = must_alloc(sizeof(struct lost));
	arc_init(&(*slot)->arc, &lost_type);
	return 0;
}

static long put_one(void *arg)
{
	struct lost **slot = arg;

	arc_put(&(*slot)->arc);
	return 0;
}

static void machines_do_not_see_each_other(void **state)
{
	const struct room *const rooms[] = { &hw_room, &refcount_room };
	struct machine *a, *b;
	struct lost *in_a;

	(void)state;
	a = machine_boot_rooms(NULL, rooms, ARRAY_SIZE(rooms));
	b = machine_boot_rooms(NULL, rooms, ARRAY_SIZE(rooms));
	assert_false(IS_ERR(a));
	assert_false(IS_ERR(b));
	assert_int_equal(machine_call(a, 0, make_one, &in_a).value, 0);
	assert_int_equal(ledger_live(a, &lost_type), 1);
	assert_int_equal(ledger_live(b, &lost_type), 0);
	assert_int_equal(machine_shutdown(b), 0);
	assert_int_equal(machine_call(a, 0, put_one, &in_a).value, 0);
	assert_int_equal(machine_shutdown(a), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forgotten_object_turns_the_fixture_red),
		cmocka_unit_test(forgotten_weak_reference_turns_it_red_too),
		cmocka_unit_test(forgotten_small_object_turns_it_red_too),
		cmocka_unit_test(nothing_forgotten_is_green),
		cmocka_unit_test(many_machines_in_a_row_leak_nothing),
		cmocka_unit_test(machines_do_not_see_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
