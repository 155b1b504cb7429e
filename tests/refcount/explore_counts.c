/* SPDX-License-Identifier: MIT */
/*
 * Goal: strong counts are right in every interleaving of two and three tasks: one teardown, never
 * before the last reference, no lost reference, no resurrection.
 * Method: explore.h; objects that notice a second teardown or a use after one.
 */
#include "explore_test.h"

#include <karc/hw/mutex.h>
#include <karc/hw/spinlock.h>
#include <karc/refcount/kref.h>
#include <karc/refcount/refcount.h>

struct world {
	struct obj obj;
	struct obj *index;		/* what a lookup finds; under lock */
	spinlock_t lock;
	struct mutex mutex;
	unsigned int nr_found;
	const struct arc_type *type;
	unsigned int nr_refs;
	refcount_t count;
	unsigned int nr_zero;
};

static const struct arc_type plain = OBJ_TYPE("plain", 0);
static const struct arc_type private = OBJ_TYPE("private", ARC_PRIVATE);

static struct world world;

static void register_types(void)
{
	assert_int_equal(arc_type_register(&plain), 0);
	assert_int_equal(arc_type_register(&private), 0);
}

/* ->nr_refs references, one for each task that puts one. */
static void make(void *arg)
{
	struct world *w = arg;

	w->nr_found = w->nr_zero = 0;
	obj_init(&w->obj, w->type);
	for (unsigned int i = 1; i < w->nr_refs; i++)
		arc_get(&w->obj.arc);
	w->index = &w->obj;
	spin_lock_init(&w->lock);
	mutex_init(&w->mutex);
}

static void is_gone(void *arg)
{
	struct world *w = arg;

	obj_is_gone(&w->obj);
	explore_check(ledger_live(this_machine(), w->type) == 0);
}

static void use_and_put(void *arg)
{
	struct world *w = arg;

	obj_use(&w->obj);
	arc_put(&w->obj.arc);
}

static void get_put_put(void *arg)
{
	struct world *w = arg;

	arc_get(&w->obj.arc);
	arc_put(&w->obj.arc);
	obj_use(&w->obj);
	arc_put(&w->obj.arc);
}

static void explore_world(const char *name, const struct arc_type *type, unsigned int nr_tasks,
			  void (*a)(void *), void (*b)(void *), void (*c)(void *))
{
	struct exploration e = {
		.name = name, .nr_tasks = nr_tasks, .arg = &world, .setup = make,
		.task = { a, b, c }, .check = is_gone,
	};

	register_types();
	world.type = type;
	world.nr_refs = nr_tasks;
	explore_all(&e);
}

static void the_last_of_several_puts_tears_down(void **state)
{
	(void)state;
	explore_world("put vs put", &plain, 2, use_and_put, use_and_put, NULL);
	explore_world("put vs put vs put", &plain, 3, use_and_put, use_and_put, use_and_put);
	explore_world("private put vs put", &private, 2, use_and_put, use_and_put, NULL);
	explore_world("private put vs put vs put", &private, 3, use_and_put, use_and_put,
		      use_and_put);
}

static void a_get_keeps_the_object(void **state)
{
	(void)state;
	explore_world("get/put vs put", &plain, 2, get_put_put, use_and_put, NULL);
	explore_world("get/put vs get/put", &plain, 2, get_put_put, get_put_put, NULL);
	explore_world("get/put vs put vs put", &plain, 3, get_put_put, use_and_put, use_and_put);
	explore_world("private get/put vs put", &private, 2, get_put_put, use_and_put, NULL);
	explore_world("private get/put vs put vs put", &private, 3, get_put_put, use_and_put,
		      use_and_put);
}

/* ---- lookups under the lock of an index ---- */

static void unlink_obj(void *obj)
{
	(void)obj;
	KARC_STEP_WRITE(&world.index);
	world.index = NULL;
}

static void put_lock(void *arg)
{
	struct world *w = arg;

	obj_use(&w->obj);
	arc_put_lock(&w->obj.arc, &w->lock, unlink_obj);
}

static void lookup_put_lock(void *arg)
{
	struct world *w = arg;
	struct obj *o;

	spin_lock(&w->lock);
	KARC_STEP_READ(&w->index);
	o = w->index;
	if (o)
		arc_get(&o->arc);
	spin_unlock(&w->lock);
	if (!o)
		return;
	obj_use(o);
	arc_put_lock(&o->arc, &w->lock, unlink_obj);
}

static void put_mutex(void *arg)
{
	struct world *w = arg;

	obj_use(&w->obj);
	arc_put_mutex(&w->obj.arc, &w->mutex, unlink_obj);
}

static void lookup_mutex(void *arg)
{
	struct world *w = arg;
	struct obj *o;

	mutex_lock(&w->mutex);
	KARC_STEP_READ(&w->index);
	o = w->index;
	if (o)
		arc_get(&o->arc);
	mutex_unlock(&w->mutex);
	if (!o)
		return;
	obj_use(o);
	arc_put_mutex(&o->arc, &w->mutex, unlink_obj);
}

/* The object leaves the index in its drop, so that a lookup may meet it dying: tryget. */
static void index_drop(void *obj)
{
	spin_lock(&world.lock);
	KARC_STEP_WRITE(&world.index);
	world.index = NULL;
	spin_unlock(&world.lock);
	obj_drop(obj);
}

static const struct arc_type indexed = {
	.name = "indexed", .size = sizeof(struct obj), .offset = offsetof(struct obj, arc),
	.flags = ARC_FINDABLE, .ops = { .drop = index_drop, .free = obj_free },
};

static void lookup_tryget(void *arg)
{
	struct world *w = arg;
	struct obj *o;

	spin_lock(&w->lock);
	KARC_STEP_READ(&w->index);
	o = w->index;
	if (o && !arc_tryget(&o->arc))
		o = NULL;
	spin_unlock(&w->lock);
	if (!o)
		return;
	obj_use(o);
	arc_put(&o->arc);
}

static void explore_lookup(const char *name, const struct arc_type *type, unsigned int nr_refs,
			   unsigned int nr_tasks, void (*a)(void *), void (*b)(void *),
			   void (*c)(void *))
{
	struct exploration e = {
		.name = name, .nr_tasks = nr_tasks, .arg = &world, .setup = make,
		.task = { a, b, c }, .check = is_gone,
	};

	register_types();
	assert_int_equal(arc_type_register(&indexed), 0);
	world.type = type;
	world.nr_refs = nr_refs;
	explore_all(&e);
}

static void lookups_under_the_lock_meet_living_objects(void **state)
{
	(void)state;
	explore_lookup("put_lock vs lookup", &plain, 1, 2, put_lock, lookup_put_lock, NULL);
	explore_lookup("put_lock vs put_lock vs lookup", &plain, 2, 3, put_lock, put_lock,
		       lookup_put_lock);
	explore_lookup("put_mutex vs lookup", &plain, 1, 2, put_mutex, lookup_mutex, NULL);
	explore_lookup("put_mutex vs put_mutex", &plain, 2, 2, put_mutex, put_mutex, NULL);
}

static void a_lookup_refuses_what_is_dying(void **state)
{
	(void)state;
	explore_lookup("tryget in index vs put", &indexed, 1, 2, lookup_tryget, use_and_put, NULL);
	explore_lookup("tryget in index vs put vs put", &indexed, 2, 3, lookup_tryget,
		       use_and_put, use_and_put);
	explore_lookup("tryget vs tryget vs put", &indexed, 1, 3, lookup_tryget, lookup_tryget,
		       use_and_put);
}

/* ---- refcount_t by itself ---- */

static void make_count(void *arg)
{
	struct world *w = arg;

	refcount_set(&w->count, (int)w->nr_refs);
	w->nr_zero = w->nr_found = 0;
	spin_lock_init(&w->lock);
}

static void count_down(void *arg)
{
	struct world *w = arg;

	if (refcount_dec_and_test(&w->count))
		w->nr_zero++;
}

static void count_down_locked(void *arg)
{
	struct world *w = arg;

	if (refcount_dec_and_lock(&w->count, &w->lock)) {
		w->nr_zero++;
		spin_unlock(&w->lock);
	}
}

static void count_up_not_zero(void *arg)
{
	struct world *w = arg;

	if (refcount_inc_not_zero(&w->count))
		count_down(arg);
}

static void take_if_one(void *arg)
{
	struct world *w = arg;

	if (refcount_dec_if_one(&w->count))
		w->nr_zero++;
	else
		count_down(arg);
}

static void zero_was_seen_once(void *arg)
{
	struct world *w = arg;

	explore_check(w->nr_zero == 1);
	explore_check(refcount_read(&w->count) == 0);
}

static void explore_count(const char *name, unsigned int nr_refs, unsigned int nr_tasks,
			  void (*a)(void *), void (*b)(void *), void (*c)(void *))
{
	struct exploration e = {
		.name = name, .nr_tasks = nr_tasks, .arg = &world, .setup = make_count,
		.task = { a, b, c }, .check = zero_was_seen_once,
	};

	world.nr_refs = nr_refs;
	explore_all(&e);
}

static void exactly_one_decrement_sees_zero(void **state)
{
	(void)state;
	explore_count("dec vs dec vs dec", 3, 3, count_down, count_down, count_down);
	explore_count("inc_not_zero vs dec", 1, 2, count_up_not_zero, count_down, NULL);
	explore_count("inc_not_zero vs inc_not_zero vs dec", 1, 3, count_up_not_zero,
		      count_up_not_zero, count_down);
	explore_count("dec_and_lock vs dec_and_lock", 2, 2, count_down_locked, count_down_locked,
		      NULL);
	explore_count("dec_and_lock vs dec_and_lock vs inc_not_zero", 2, 3, count_down_locked,
		      count_down_locked, count_up_not_zero);
	explore_count("dec_if_one vs dec", 2, 2, take_if_one, count_down, NULL);
	explore_count("dec_if_one vs dec_if_one vs inc_not_zero", 2, 3, take_if_one, take_if_one,
		      count_up_not_zero);
}

/* ---- saturation ---- */

static void saturated(void *arg)
{
	struct world *w = arg;

	explore_check(w->nr_zero == 0);
	explore_check((int)refcount_read(&w->count) < 0);
}

static void make_full(void *arg)
{
	struct world *w = arg;

	make_count(arg);
	refcount_set(&w->count, REFCOUNT_MAX);
}

static void make_full_arc(void *arg)
{
	struct world *w = arg;

	make(arg);
	w->obj.arc.kref.refcount.refs.counter = REFCOUNT_MAX;
}

static void count_up(void *arg)
{
	struct world *w = arg;

	refcount_inc(&w->count);
}

static void get_overflowing(void *arg)
{
	struct world *w = arg;

	arc_get(&w->obj.arc);
}

/* Leaked, never torn down; the memory is this test's, so the ledger alone has to forget it. */
static void leaked(void *arg)
{
	struct world *w = arg;

	explore_check(!w->obj.nr_dropped && !w->obj.nr_freed);
	explore_check((int)refcount_read(&w->obj.arc.kref.refcount) < 0);
	w->obj.arc.kref.refcount.refs.counter = 1;
	arc_put(&w->obj.arc);
}

static void a_saturated_count_stays_saturated(void **state)
{
	(void)state;
	register_types();
	/* Each warning is a long report: the ways through it are many, and not the subject. */
	explore_all(&(struct exploration){
		.name = "overflow vs overflow", .nr_tasks = 2, .arg = &world, .setup = make_full,
		.task = { count_up, count_up }, .check = saturated, .allow_warnings = true,
	});
	world.type = &plain;
	world.nr_refs = 1;
	explore_all(&(struct exploration){
		.name = "arc: overflow vs overflow", .nr_tasks = 2, .arg = &world,
		.setup = make_full_arc, .task = { get_overflowing, get_overflowing },
		.check = leaked, .allow_warnings = true,
	});
	explore_all(&(struct exploration){
		.name = "arc: overflow vs overflow vs overflow", .nr_tasks = 3, .arg = &world,
		.setup = make_full_arc, .check = leaked, .allow_warnings = true,
		.task = { get_overflowing, get_overflowing, get_overflowing },
	});
	expect_warn("refcount_t: saturated; leaking memory.");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* Schedules are those of deterministic mode; each task has a CPU of its own. */
		karc_unit_test_cpus_deterministic(the_last_of_several_puts_tears_down, 4),
		karc_unit_test_cpus_deterministic(a_get_keeps_the_object, 4),
		karc_unit_test_cpus_deterministic(lookups_under_the_lock_meet_living_objects, 4),
		karc_unit_test_cpus_deterministic(a_lookup_refuses_what_is_dying, 4),
		karc_unit_test_cpus_deterministic(exactly_one_decrement_sees_zero, 4),
		karc_unit_test_cpus_deterministic(a_saturated_count_stays_saturated, 4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
