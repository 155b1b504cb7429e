/* SPDX-License-Identifier: MIT */
/*
 * Goal: the last user empties the object once and gives the users' one reference back; who merely
 * keeps it keeps it.
 * Method: objects that write down what happened in which order; users come and go on all CPUs.
 */
#include "fixture.h"

#include <karc/refcount/users.h>

#include "refcount_test.h"

#define NR_ROUNDS	100

struct space {
	struct arc_users users;		/* first: offset 0 is as good as any */
	struct arc arc;
};

static char happened[8];

static void note(char c)
{
	size_t len = strlen(happened);

	assert_true(len + 1 < sizeof(happened));
	happened[len] = c;
	happened[len + 1] = 0;
}

static void space_empty(void *obj)
{
	struct space *s = obj;

	assert_int_equal(s->arc.state, ARC_LIVE);
	assert_true(arc_count(&s->arc) >= 1);
	assert_int_equal(arc_users_count(&s->arc), 0);
	assert_null(arc_users_tryget(&s->arc));
	note('e');
}

static void space_drop(void *obj)
{
	(void)obj;
	note('d');
}

static void space_free(void *obj)
{
	note('f');
	hostmem_free(NULL, obj);
}

static const struct arc_type space_type = {
	.name = "space", .size = sizeof(struct space), .offset = offsetof(struct space, arc),
	.users = offsetof(struct space, users),
	.ops = { .drop = space_drop, .free = space_free, .on_last_user = space_empty },
};

static struct space *space_new(void)
{
	struct space *s = must_alloc(sizeof(*s));

	happened[0] = 0;
	assert_int_equal(arc_type_register(&space_type), 0);
	arc_init(&s->arc, &space_type);
	arc_users_init(&s->arc);
	return s;
}

static void all_users_hold_one_reference(void **state)
{
	struct space *s = space_new();

	(void)state;
	assert_int_equal(arc_users_count(&s->arc), 1);
	assert_int_equal(arc_count(&s->arc), 1);
	assert_ptr_equal(arc_users_get(&s->arc), &s->arc);
	assert_ptr_equal(arc_users_tryget(&s->arc), &s->arc);
	assert_int_equal(arc_users_count(&s->arc), 3);
	assert_int_equal(arc_count(&s->arc), 1);
	arc_users_put(&s->arc);
	arc_users_put(&s->arc);
	assert_string_equal(happened, "");
	arc_users_put(&s->arc);
	assert_string_equal(happened, "edf");
	arc_users_put(NULL);
}

static void functions_without_a_site_do_the_same(void **state)
{
	struct space *s = space_new();

	(void)state;
	(arc_users_init)(&s->arc);
	assert_ptr_equal((arc_users_get)(&s->arc), &s->arc);
	assert_ptr_equal((arc_users_tryget)(&s->arc), &s->arc);
	(arc_users_put)(&s->arc);
	(arc_users_put)(&s->arc);
	(arc_users_put)(&s->arc);
	assert_string_equal(happened, "edf");
}

static void who_keeps_it_keeps_it_empty(void **state)
{
	struct space *s = space_new();

	(void)state;
	arc_get(&s->arc);
	arc_users_put(&s->arc);
	assert_string_equal(happened, "e");
	assert_null(arc_users_tryget(&s->arc));
	arc_put(&s->arc);
	assert_string_equal(happened, "edf");
}

static void user_of_an_emptied_object_is_reported(void **state)
{
	struct space *s = space_new();

	(void)state;
	arc_get(&s->arc);
	arc_users_put(&s->arc);
	arc_users_get(&s->arc);
	expect_warn("refcount_t: addition on 0; use-after-free.");
	arc_users_put(&s->arc);
	expect_warn("refcount_t: underflow; use-after-free.");
	assert_string_equal(happened, "e");
	assert_int_equal((int)arc_users_count(&s->arc), REFCOUNT_SATURATED);
	refcount_set(&s->users.count, 0);
	arc_put(&s->arc);
}

static void one_user_too_few_is_reported(void **state)
{
	struct space *s = space_new();

	(void)state;
	arc_get(&s->arc);
	arc_users_put(&s->arc);
	arc_users_put(&s->arc);
	expect_warn("refcount_t: underflow; use-after-free.");
	assert_string_equal(happened, "e");
	refcount_set(&s->users.count, 0);
	arc_put(&s->arc);
}

static void saturated_users_never_empty_it(void **state)
{
	struct space *s = space_new();
	int i;

	(void)state;
	refcount_set(&s->users.count, REFCOUNT_MAX);
	arc_users_get(&s->arc);
	expect_warn("refcount_t: saturated; leaking memory.");
	for (i = 0; i < 100; i++)
		arc_users_put(&s->arc);
	expect_warn("refcount_t: underflow; use-after-free.");
	assert_ptr_equal(arc_users_tryget(&s->arc), &s->arc);
	assert_int_equal((int)arc_users_count(&s->arc), REFCOUNT_SATURATED);
	assert_string_equal(happened, "");
	refcount_set(&s->users.count, 1);
	arc_users_put(&s->arc);
	assert_string_equal(happened, "edf");
}

static long init_without_users(void *arg)
{
	static const struct arc_type type = {
		.name = "unused", .size = sizeof(struct space),
		.offset = offsetof(struct space, arc), .ops = { .free = space_free },
		.flags = ARC_LEAF,
	};
	struct space *s = arg;

	if (arc_type_register(&type))
		return -1;
	arc_init(&s->arc, &type);
	arc_users_init(&s->arc);
	return 0;
}

static void users_of_a_type_without_a_second_tier_are_a_bug(void **state)
{
	struct space *s = must_alloc(sizeof(*s));

	(void)state;
	happened[0] = 0;
	expect_bug(init_without_users, s, "on_last_user");
	arc_put(&s->arc);
	assert_string_equal(happened, "f");
}

/* ---- as a field ---- */

struct thread {
	struct arc arc;
	struct space *space;
	struct space *kept;
};

static void thread_free(void *obj)
{
	hostmem_free(NULL, obj);
}

static void field_of_a_user_is_given_back(void **state)
{
	static const struct arc_field fields[] = {
		ARC_USER(thread, space, space), ARC_OWNED(thread, kept, space), ARC_FIELDS_END
	};
	static const struct arc_type type = {
		.name = "thread", .size = sizeof(struct thread),
		.ops = { .free = thread_free }, .fields = fields,
	};
	struct thread *t[2];
	unsigned int i;

	(void)state;
	assert_int_equal(arc_type_register(&type), 0);
	for (i = 0; i < 2; i++) {
		t[i] = must_alloc(sizeof(*t[i]));
		arc_init(&t[i]->arc, &type);
	}
	t[0]->space = space_new();
	t[1]->space = t[0]->space;
	arc_users_get(&t[0]->space->arc);
	t[0]->kept = t[0]->space;
	arc_get(&t[0]->kept->arc);
	arc_put(&t[1]->arc);
	assert_string_equal(happened, "");
	arc_put(&t[0]->arc);
	assert_string_equal(happened, "edf");
}

/* ---- on all CPUs ---- */

static long come_and_go(void *arg)
{
	struct space *s = arg;
	int i;

	for (i = 0; i < NR_ROUNDS; i++) {
		if (!arc_users_tryget(&s->arc))
			break;
		hw_safepoint();
		arc_users_get(&s->arc);
		arc_users_put(&s->arc);
		hw_safepoint();
		arc_users_put(&s->arc);
	}
	arc_put(&s->arc);
	return 0;
}

static void last_user_of_all_cpus_empties_once(void **state)
{
	unsigned int i, nr = machine_nr_cpus(this_machine());
	struct fiber *f[MACHINE_MAX_CPUS];
	struct space *s = space_new();

	(void)state;
	for (i = 0; i < nr; i++)
		arc_get(&s->arc);
	for (i = 0; i < nr; i++)
		f[i] = spawn_on(i, come_and_go, s);
	arc_users_put(&s->arc);
	for (i = 0; i < nr; i++)
		join_clean(f[i]);
	assert_string_equal(happened, "edf");
}

/* The same once more where each reference has a holder: the records must come out even, too. */
static const struct machine_config held = { .holders = true };

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(all_users_hold_one_reference),
		karc_unit_test_config(all_users_hold_one_reference, 1, &held),
		karc_unit_test(functions_without_a_site_do_the_same),
		karc_unit_test(who_keeps_it_keeps_it_empty),
		karc_unit_test_config(who_keeps_it_keeps_it_empty, 1, &held),
		karc_unit_test(user_of_an_emptied_object_is_reported),
		karc_unit_test(one_user_too_few_is_reported),
		karc_unit_test(saturated_users_never_empty_it),
		karc_unit_test(users_of_a_type_without_a_second_tier_are_a_bug),
		karc_unit_test(field_of_a_user_is_given_back),
		karc_unit_test_config(field_of_a_user_is_given_back, 1, &held),
		KARC_TESTS(last_user_of_all_cpus_empties_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
