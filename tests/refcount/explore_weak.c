/* SPDX-License-Identifier: MIT */
/*
 * Goal: weak references, and whoever wants to be alone, are right in every interleaving: an
 * upgrade gets the object alive or not at all, memory goes once and after the last weak
 * reference, and who is told that nobody else is there changes the object undisturbed.
 * Method: explore.h; objects that notice what must not happen. Writing to an object that one has
 * for oneself is a step that conflicts with every use of it.
 */
#include "explore_test.h"

struct world {
	struct obj obj, copy;
	const struct arc_type *type;
	unsigned int nr_strong, nr_weak;
	unsigned int nr_copies;
	unsigned int nr_moved;
	struct obj moved[3];
};

static struct world world;

/* A copy while somebody may write would be a torn one. */
static void *obj_clone(const void *obj, gfp_t gfp)
{
	const struct obj *from = obj;

	(void)gfp;
	KARC_STEP_READ(&from->word);
	explore_check(from->word == ALIVE);
	explore_check(!world.nr_copies++);
	obj_init(&world.copy, from->arc.type);
	return &world.copy;
}

static const struct arc_type plain = {
	.name = "plain", .size = sizeof(struct obj), .offset = offsetof(struct obj, arc),
	.ops = { .drop = obj_drop, .free = obj_free, .clone = obj_clone },
};

static const struct arc_type private = {
	.name = "private", .size = sizeof(struct obj), .offset = offsetof(struct obj, arc),
	.flags = ARC_PRIVATE, .ops = { .drop = obj_drop, .free = obj_free, .clone = obj_clone },
};

static void make(void *arg)
{
	struct world *w = arg;

	w->nr_copies = w->nr_moved = 0;
	memset(&w->copy, 0, sizeof(w->copy));
	obj_init(&w->obj, w->type);
	for (unsigned int i = 1; i < w->nr_strong; i++)
		arc_get(&w->obj.arc);
	for (unsigned int i = 0; i < w->nr_weak; i++)
		arc_downgrade(&w->obj.arc);
}

static void is_gone(void *arg)
{
	struct world *w = arg;

	obj_is_gone(&w->obj);
	explore_check(ledger_live(this_machine(), w->type) == 0);
}

static void explore_world(const char *name, const struct arc_type *type, unsigned int nr_strong,
			  unsigned int nr_weak, unsigned int nr_tasks, void (*a)(void *),
			  void (*b)(void *), void (*c)(void *), void (*check)(void *))
{
	struct exploration e = {
		.name = name, .nr_tasks = nr_tasks, .arg = &world, .setup = make,
		.task = { a, b, c }, .check = check,
	};

	assert_int_equal(arc_type_register(type), 0);
	/* The ledger's peak of two is not to be reached for the first time in a task. */
	obj_init(&world.obj, type);
	obj_init(&world.copy, type);
	arc_put(&world.obj.arc);
	arc_put(&world.copy.arc);
	world.type = type;
	world.nr_strong = nr_strong;
	world.nr_weak = nr_weak;
	explore_all(&e);
}

/* ---- each ends one reference ---- */

static void use_and_put(void *arg)
{
	struct world *w = arg;

	obj_use(&w->obj);
	arc_put(&w->obj.arc);
}

static void weak_put(void *arg)
{
	struct world *w = arg;

	arc_weak_put(&w->obj.arc);
}

static void upgrade(void *arg)
{
	struct world *w = arg;
	struct arc *strong = arc_upgrade(&w->obj.arc);

	if (strong) {
		obj_use(&w->obj);
		arc_put(strong);
	}
	arc_weak_put(&w->obj.arc);
}

static void downgrade_and_put(void *arg)
{
	struct world *w = arg;
	struct arc *weak = arc_downgrade(&w->obj.arc);

	arc_put(&w->obj.arc);
	arc_weak_put(weak);
}

static void downgrade_put_upgrade(void *arg)
{
	struct world *w = arg;
	struct arc *weak = arc_downgrade(&w->obj.arc);

	arc_put(&w->obj.arc);
	upgrade(arg);
	(void)weak;
}

static void weak_get_and_put(void *arg)
{
	struct world *w = arg;

	arc_weak_get(&w->obj.arc);
	arc_weak_put(&w->obj.arc);
	arc_weak_put(&w->obj.arc);
}

static void an_upgrade_gets_the_object_alive_or_not_at_all(void **state)
{
	(void)state;
	explore_world("upgrade vs put", &plain, 1, 1, 2, use_and_put, upgrade, NULL, is_gone);
	explore_world("upgrade vs put vs put", &plain, 2, 1, 3, use_and_put, use_and_put, upgrade,
		      is_gone);
	explore_world("upgrade vs upgrade vs put", &plain, 1, 2, 3, use_and_put, upgrade, upgrade,
		      is_gone);
	explore_world("private upgrade vs put", &private, 1, 1, 2, use_and_put, upgrade, NULL,
		      is_gone);
	explore_world("private upgrade vs put vs put", &private, 2, 1, 3, use_and_put, use_and_put,
		      upgrade, is_gone);
	explore_world("private upgrade vs upgrade vs put", &private, 1, 2, 3, use_and_put, upgrade,
		      upgrade, is_gone);
}

static void memory_goes_with_the_last_weak_reference(void **state)
{
	(void)state;
	explore_world("weak_put vs put", &plain, 1, 1, 2, use_and_put, weak_put, NULL, is_gone);
	explore_world("weak_put vs weak_put vs put", &plain, 1, 2, 3, use_and_put, weak_put,
		      weak_put, is_gone);
	explore_world("weak_get vs weak_put vs put", &plain, 1, 2, 3, use_and_put, weak_put,
		      weak_get_and_put, is_gone);
	explore_world("downgrade vs put", &plain, 2, 0, 2, use_and_put, downgrade_and_put, NULL,
		      is_gone);
	explore_world("downgrade vs downgrade", &plain, 2, 0, 2, downgrade_and_put,
		      downgrade_and_put, NULL, is_gone);
	explore_world("downgrade/upgrade vs put", &plain, 2, 0, 2, use_and_put,
		      downgrade_put_upgrade, NULL, is_gone);
	explore_world("downgrade vs upgrade vs put", &plain, 2, 1, 3, use_and_put,
		      downgrade_and_put, upgrade, is_gone);
	explore_world("downgrade/upgrade vs weak_put vs put", &plain, 2, 1, 3, use_and_put,
		      downgrade_put_upgrade, weak_put, is_gone);
	explore_world("private downgrade vs put", &private, 2, 0, 2, use_and_put,
		      downgrade_and_put, NULL, is_gone);
	explore_world("private downgrade vs upgrade vs put", &private, 2, 1, 3, use_and_put,
		      downgrade_and_put, upgrade, is_gone);
}

/* ---- try_unwrap ---- */

static void unwrap(void *arg)
{
	struct world *w = arg;
	struct obj *to = &w->moved[explore_task()];

	obj_use(&w->obj);
	if (arc_try_unwrap(&w->obj.arc, to)) {
		arc_put(&w->obj.arc);
		return;
	}
	explore_check(to->word == ALIVE);
	KARC_STEP_WRITE(&w->obj.word);
	w->nr_moved++;
	w->obj.word = TORN_DOWN;	/* so that a later use is noticed; free expects it */
}

/* The memory may go before the mover has marked it: its content counts as gone either way. */
static void moved_free(void *obj)
{
	struct obj *o = obj;

	KARC_STEP_BYTES(o, sizeof(*o), KARC_WRITES);
	explore_check(!o->nr_freed);
	o->nr_freed++;
	o->arc.kref.refcount.refs.counter = o->arc.weak.refs.counter = REFCOUNT_SATURATED;
}

static const struct arc_type movable = {
	.name = "movable", .size = sizeof(struct obj), .offset = offsetof(struct obj, arc),
	.ops = { .drop = obj_drop, .free = moved_free },
};

/* Either moved or torn down, one of them once; the memory goes in any case. */
static void moved_or_torn_down(void *arg)
{
	struct world *w = arg;

	explore_check(w->nr_moved + w->obj.nr_dropped == 1);
	explore_check(w->obj.nr_freed == 1);
	explore_check(ledger_live(this_machine(), w->type) == 0);
}

static void an_object_is_moved_out_or_torn_down(void **state)
{
	(void)state;
	explore_world("unwrap vs put", &movable, 2, 0, 2, unwrap, use_and_put, NULL,
		      moved_or_torn_down);
	explore_world("unwrap vs unwrap", &movable, 2, 0, 2, unwrap, unwrap, NULL,
		      moved_or_torn_down);
	explore_world("unwrap vs upgrade", &movable, 1, 1, 2, unwrap, upgrade, NULL,
		      moved_or_torn_down);
	explore_world("unwrap vs weak_put", &movable, 1, 1, 2, unwrap, weak_put, NULL,
		      moved_or_torn_down);
	explore_world("unwrap vs upgrade vs put", &movable, 2, 1, 3, unwrap, upgrade, use_and_put,
		      moved_or_torn_down);
	explore_world("unwrap vs unwrap vs upgrade", &movable, 2, 1, 3, unwrap, unwrap, upgrade,
		      moved_or_torn_down);
	explore_world("unwrap vs downgrade vs put", &movable, 3, 0, 3, unwrap, downgrade_and_put,
		      use_and_put, moved_or_torn_down);
}

/* ---- is_unique, get_mut, make_mut ---- */

/* Nobody may look while it is changed. */
static void change(struct obj *o)
{
	KARC_STEP_WRITE(&o->word);
	explore_check(o->word == ALIVE);
	o->word = ALIVE + 1;
	KARC_STEP_WRITE(&o->word);
	o->word = ALIVE;
}

static void get_mut(void *arg)
{
	struct world *w = arg;
	struct obj *o = arc_get_mut(&w->obj.arc);

	if (o)
		change(o);
	arc_put(&w->obj.arc);
}

static void change_if_unique(void *arg)
{
	struct world *w = arg;

	if (arc_is_unique(&w->obj.arc))
		change(&w->obj);
	arc_put(&w->obj.arc);
}

static void make_mut(void *arg)
{
	struct world *w = arg;
	struct arc *ref = &w->obj.arc;
	struct obj *o = arc_make_mut(&ref, 0);

	explore_check(o == container_of(ref, struct obj, arc));
	change(o);
	arc_put(ref);
}

static void get_use_put_put(void *arg)
{
	struct world *w = arg;

	arc_get(&w->obj.arc);
	obj_use(&w->obj);
	arc_put(&w->obj.arc);
	obj_use(&w->obj);
	arc_put(&w->obj.arc);
}

static void and_the_copy(void *arg)
{
	struct world *w = arg;

	is_gone(arg);
	if (w->nr_copies)
		obj_is_gone(&w->copy);
}

static void who_is_alone_stays_alone(void **state)
{
	(void)state;
	explore_world("get_mut vs put", &plain, 2, 0, 2, get_mut, use_and_put, NULL, is_gone);
	explore_world("get_mut vs get_mut", &plain, 2, 0, 2, get_mut, get_mut, NULL, is_gone);
	explore_world("get_mut vs get/put", &plain, 2, 0, 2, get_mut, get_use_put_put, NULL,
		      is_gone);
	explore_world("get_mut vs upgrade", &plain, 1, 1, 2, get_mut, upgrade, NULL, is_gone);
	explore_world("get_mut vs downgrade", &plain, 2, 0, 2, get_mut, downgrade_put_upgrade,
		      NULL, is_gone);
	explore_world("get_mut vs put vs upgrade", &plain, 2, 1, 3, get_mut, use_and_put, upgrade,
		      is_gone);
	explore_world("is_unique vs put vs get/put", &plain, 3, 0, 3, change_if_unique,
		      use_and_put, get_use_put_put, is_gone);
	explore_world("private get_mut vs get/put", &private, 2, 0, 2, get_mut, get_use_put_put,
		      NULL, is_gone);
	explore_world("make_mut vs put", &plain, 2, 0, 2, make_mut, use_and_put, NULL,
		      and_the_copy);
	explore_world("make_mut vs get/put", &plain, 2, 0, 2, make_mut, get_use_put_put, NULL,
		      and_the_copy);
	explore_world("make_mut vs upgrade", &plain, 1, 1, 2, make_mut, upgrade, NULL,
		      and_the_copy);
	explore_world("make_mut vs put vs upgrade", &plain, 2, 1, 3, make_mut, use_and_put,
		      upgrade, and_the_copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* Schedules are those of deterministic mode; each task has a CPU of its own. */
		karc_unit_test_cpus_deterministic(an_upgrade_gets_the_object_alive_or_not_at_all,
						  4),
		karc_unit_test_cpus_deterministic(memory_goes_with_the_last_weak_reference, 4),
		karc_unit_test_cpus_deterministic(an_object_is_moved_out_or_torn_down, 4),
		karc_unit_test_cpus_deterministic(who_is_alone_stays_alone, 4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
