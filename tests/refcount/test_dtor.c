/* SPDX-License-Identifier: MIT */
/*
 * Goal: destructor callbacks run once each, latest first, before the drop body.
 * Method: callbacks append their number to a string.
 */
#include "fixture.h"

#include <stdio.h>

#include <karc/refcount/arc.h>

#include "refcount_test.h"

static char story[256];

static void tell(const char *word)
{
	size_t at = strlen(story);

	snprintf(story + at, sizeof(story) - at, "%s ", word);
}

struct thing {
	struct arc arc;
	int value;
};

static void thing_drop(void *obj)
{
	(void)obj;
	tell("drop");
}

static void thing_free(void *obj)
{
	tell("free");
	hostmem_free(NULL, obj);
}

static const struct arc_type thing_type = {
	.name = "thing",
	.size = sizeof(struct thing),
	.offset = offsetof(struct thing, arc),
	.ops = { .drop = thing_drop, .free = thing_free },
};

static struct thing *thing_new(void)
{
	struct thing *t = must_alloc(sizeof(*t));

	story[0] = '\0';
	assert_int_equal(arc_type_register(&thing_type), 0);
	arc_init(&t->arc, &thing_type);
	t->value = 42;
	return t;
}

static void say(void *obj, void *arg)
{
	(void)obj;
	tell(arg);
}

static void callbacks_run_latest_first_then_drop(void **state)
{
	struct thing *t = thing_new();
	struct arc_dtor d[3];

	(void)state;
	arc_on_drop(&t->arc, &d[0], say, "a");
	arc_on_drop(&t->arc, &d[1], say, "b");
	arc_on_drop(&t->arc, &d[2], say, "c");
	assert_string_equal(story, "");
	arc_put(&t->arc);
	assert_string_equal(story, "c b a drop free ");
}

static void see_object(void *obj, void *arg)
{
	struct thing *t = obj;

	*(int *)arg = t->value;
}

static void callback_gets_the_object(void **state)
{
	struct thing *t = thing_new();
	struct arc_dtor d;
	int seen = 0;

	(void)state;
	arc_on_drop(&t->arc, &d, see_object, &seen);
	arc_put(&t->arc);
	assert_int_equal(seen, 42);
}

static void free_own_record(void *obj, void *arg)
{
	(void)obj;
	hostmem_free(NULL, arg);
	tell("freed");
}

static void callback_may_free_its_record(void **state)
{
	struct thing *t = thing_new();
	struct arc_dtor *d[4];
	int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		d[i] = must_alloc(sizeof(*d[i]));
		arc_on_drop(&t->arc, d[i], free_own_record, d[i]);
	}
	arc_put(&t->arc);
	assert_string_equal(story, "freed freed freed freed drop free ");
}

static void push_another(void *obj, void *arg)
{
	struct thing *t = obj;

	tell("first");
	arc_on_drop(&t->arc, arg, say, "late");
}

static void callback_registered_in_a_callback_runs_next(void **state)
{
	struct thing *t = thing_new();
	struct arc_dtor d[3];

	(void)state;
	arc_on_drop(&t->arc, &d[0], say, "oldest");
	arc_on_drop(&t->arc, &d[1], push_another, &d[2]);
	arc_put(&t->arc);
	assert_string_equal(story, "first late oldest drop free ");
}

static void put_it(void *obj, void *arg)
{
	(void)obj;
	tell("put");
	arc_put(arg);
	tell("done");
}

static void put_in_a_callback_is_torn_down_right_after_it(void **state)
{
	struct thing *t = thing_new(), *other = thing_new();
	struct arc_dtor d[2];

	(void)state;
	arc_on_drop(&t->arc, &d[0], say, "a");
	arc_on_drop(&t->arc, &d[1], put_it, &other->arc);
	arc_put(&t->arc);
	assert_string_equal(story, "put done drop free a drop free ");
}

static void small_form_runs_latest_first(void **state)
{
	struct arc_dtor d[3], *head = NULL;

	(void)state;
	story[0] = '\0';
	assert_int_equal(arc_dtor_run(&head, NULL), 0);
	arc_dtor_push(&head, &d[0], say, "a");
	arc_dtor_push(&head, &d[1], say, "b");
	arc_dtor_push(&head, &d[2], say, "c");
	assert_int_equal(arc_dtor_run(&head, &head), 3);
	assert_null(head);
	assert_string_equal(story, "c b a ");
	assert_int_equal(arc_dtor_run(&head, NULL), 0);
}

#define NR_PUSHERS	8
#define NR_PUSHES	20

struct crowd {
	struct thing *t;
	struct arc_dtor d[NR_PUSHERS][NR_PUSHES];
	unsigned int next, nr_run;
};

static void count_run(void *obj, void *arg)
{
	struct crowd *c = arg;

	(void)obj;
	c->nr_run++;
}

static long push_many(void *arg)
{
	struct crowd *c = arg;
	unsigned int mine = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED), i;

	for (i = 0; i < NR_PUSHES; i++) {
		arc_on_drop(&c->t->arc, &c->d[mine][i], count_run, c);
		hw_safepoint();
	}
	return 0;
}

static void holders_on_all_cpus_may_register(void **state)
{
	struct crowd *c = must_alloc(sizeof(*c));
	struct fiber *f[NR_PUSHERS];
	unsigned int i;

	(void)state;
	c->t = thing_new();
	for (i = 0; i < NR_PUSHERS; i++)
		f[i] = spawn_on(i, push_many, c);
	for (i = 0; i < NR_PUSHERS; i++)
		join_clean(f[i]);
	arc_put(&c->t->arc);
	assert_int_equal(c->nr_run, NR_PUSHERS * NR_PUSHES);
	hostmem_free(NULL, c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(callbacks_run_latest_first_then_drop),
		KARC_TESTS(callback_gets_the_object),
		KARC_TESTS(callback_may_free_its_record),
		KARC_TESTS(callback_registered_in_a_callback_runs_next),
		KARC_TESTS(put_in_a_callback_is_torn_down_right_after_it),
		KARC_TESTS(small_form_runs_latest_first),
		KARC_TESTS(holders_on_all_cpus_may_register),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
