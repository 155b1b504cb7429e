/* SPDX-License-Identifier: MIT */
/*
 * Goal: what is found without a reference is right in every interleaving: tryget under RCU
 * against the last put and the free after a grace period, slots, callbacks that register while
 * others put, puts that wait for a task, and the two tiers of users.
 * Method: explore.h. Readers and grace periods are events to it (base/atomic.h), and a grace
 * period is driven by the task that waits for it, so that memory goes as early as it may.
 */
#include "explore_test.h"

#include <karc/hw/context.h>
#include <karc/refcount/dtor.h>
#include <karc/refcount/rcu.h>
#include <karc/refcount/reap.h>
#include <karc/refcount/slot.h>
#include <karc/refcount/users.h>

#include "refcount/internal.h"

struct world {
	struct obj obj, other;
	const struct arc_type *type;
	unsigned int nr_refs;
	struct obj *shared;		/* published, read under RCU */
	struct arc_slot slot;
	bool stores_other;		/* a task takes ->other's reference */
	struct arc_dtor dtor[3];
	unsigned int nr_called[3];
};

static struct world world;

static const struct arc_type plain = OBJ_TYPE("plain", 0);
static const struct arc_type under_rcu = OBJ_TYPE("under RCU", ARC_RCU | ARC_FINDABLE);
static const struct arc_type sleepy = OBJ_TYPE("sleepy", ARC_SLEEPS);
static const struct arc_type tiers = {
	.name = "tiers", .size = sizeof(struct obj), .offset = offsetof(struct obj, arc),
	.users = offsetof(struct obj, users),
	.ops = { .drop = obj_drop, .free = obj_free, .on_last_user = obj_last_user },
};

static void use_and_put(void *arg)
{
	struct world *w = arg;

	obj_use(&w->obj);
	arc_put(&w->obj.arc);
}

static void wait_for_memory(const struct arc_type *type)
{
	rcu_barrier();
	explore_check(ledger_live(this_machine(), type) == 0);
}

/* The ledger's first line and its peak of two are not to be made in a task. */
static void warm_up(const struct arc_type *type)
{
	assert_int_equal(arc_type_register(type), 0);
	obj_init(&world.obj, type);
	obj_init(&world.other, type);
	arc_put(&world.obj.arc);
	arc_put(&world.other.arc);
	rcu_barrier();
}

static void explore_world(const char *name, const struct arc_type *type, unsigned int nr_tasks,
			  void (*setup)(void *), void (*a)(void *), void (*b)(void *),
			  void (*c)(void *), void (*check)(void *))
{
	struct exploration e = {
		.name = name, .nr_tasks = nr_tasks, .arg = &world, .setup = setup,
		.task = { a, b, c }, .check = check,
	};

	warm_up(type);
	world.type = type;
	explore_all(&e);
}

/* ---- a pointer read under RCU ---- */

static void publish(void *arg)
{
	struct world *w = arg;

	obj_init(&w->obj, w->type);
	w->shared = &w->obj;
}

static void unpublish_and_put(void *arg)
{
	struct world *w = arg;
	struct obj *o = xchg(&w->shared, NULL);

	if (o)
		arc_put(&o->arc);
	rcu_barrier();		/* memory goes as early as it may */
}

static void reader(void *arg)
{
	struct world *w = arg;
	struct obj *o;

	rcu_read_lock();
	o = rcu_dereference(w->shared);
	if (o && !arc_tryget(&o->arc))
		o = NULL;
	rcu_read_unlock();
	if (!o)
		return;
	obj_use(o);
	arc_put(&o->arc);
}

/* Only looks, and the memory is there. */
static void looker(void *arg)
{
	struct world *w = arg;
	struct obj *o;

	rcu_read_lock();
	o = rcu_dereference(w->shared);
	if (o) {
		KARC_STEP_READ(&o->word);
		explore_check(o->word != FREED);
	}
	rcu_read_unlock();
}

static void was_unpublished(void *arg)
{
	struct world *w = arg;

	wait_for_memory(w->type);
	obj_is_gone(&w->obj);
}

static void tryget_under_rcu_meets_memory_that_is_there(void **state)
{
	(void)state;
	explore_world("RCU tryget vs put", &under_rcu, 2, publish, reader, unpublish_and_put, NULL,
		      was_unpublished);
	explore_world("RCU look vs put", &under_rcu, 2, publish, looker, unpublish_and_put, NULL,
		      was_unpublished);
	explore_world("RCU tryget vs tryget vs put", &under_rcu, 3, publish, reader, reader,
		      unpublish_and_put, was_unpublished);
}

/* ---- slots ---- */

static void fill_slot(void *arg)
{
	struct world *w = arg;

	obj_init(&w->obj, w->type);
	obj_init(&w->other, w->type);
	arc_slot_init(&w->slot);
	arc_slot_store(&w->slot, &w->obj.arc);
}

static void slot_load(void *arg)
{
	struct world *w = arg;
	struct arc *arc = arc_slot_load(&w->slot);

	if (!arc)
		return;
	obj_use(arc_object(arc));
	arc_put_rcu(arc);
}

static void slot_look(void *arg)
{
	struct world *w = arg;
	struct arc *arc;

	rcu_read_lock();
	arc = arc_slot_load_rcu(&w->slot);
	if (arc)
		obj_use(arc_object(arc));	/* lent: its content stays whole */
	rcu_read_unlock();
}

static void slot_store(void *arg)
{
	struct world *w = arg;

	arc_slot_store(&w->slot, &w->other.arc);
	rcu_barrier();
}

/* The grace period ends when it can by itself: there are more than enough schedules as it is. */
static void slot_store_and_leave(void *arg)
{
	struct world *w = arg;

	arc_slot_store(&w->slot, &w->other.arc);
}

static void slot_clear(void *arg)
{
	struct world *w = arg;

	arc_slot_store(&w->slot, NULL);
	rcu_barrier();
}

static void slot_exchange(void *arg)
{
	struct world *w = arg;
	struct arc *old = arc_slot_exchange(&w->slot, NULL);

	if (!old)
		return;
	obj_use(arc_object(old));
	arc_put_rcu(old);
}

static void slot_replace(void *arg)
{
	struct world *w = arg;
	struct arc *old = arc_slot_compare_exchange(&w->slot, &w->obj.arc, &w->other.arc);

	arc_put_rcu(old);	/* either the old one or the new one, which did not fit */
}

/* What is left in it goes; ->other goes by hand when no task was to put it there. */
static void slot_is_emptied(void *arg)
{
	struct world *w = arg;

	arc_slot_store(&w->slot, NULL);
	rcu_barrier();
	if (!w->stores_other)
		arc_put(&w->other.arc);
	wait_for_memory(w->type);
	obj_is_gone(&w->obj);
	obj_is_gone(&w->other);
}

static void slots_hand_out_living_objects(void **state)
{
	(void)state;
	world.stores_other = false;
	explore_world("slot: load vs clear", &under_rcu, 2, fill_slot, slot_load, slot_clear, NULL,
		      slot_is_emptied);
	explore_world("slot: look vs clear", &under_rcu, 2, fill_slot, slot_look, slot_clear, NULL,
		      slot_is_emptied);
	explore_world("slot: exchange vs exchange", &under_rcu, 2, fill_slot, slot_exchange,
		      slot_exchange, NULL, slot_is_emptied);
	world.stores_other = true;
	explore_world("slot: load vs store", &under_rcu, 2, fill_slot, slot_load, slot_store, NULL,
		      slot_is_emptied);
	explore_world("slot: compare_exchange vs exchange", &under_rcu, 2, fill_slot, slot_replace,
		      slot_exchange, NULL, slot_is_emptied);
	explore_world("slot: load vs store vs exchange", &under_rcu, 3, fill_slot, slot_load,
		      slot_store_and_leave, slot_exchange, slot_is_emptied);
}

/* ---- callbacks ---- */

static void two_references(void *arg)
{
	struct world *w = arg;

	memset(w->nr_called, 0, sizeof(w->nr_called));
	memset(w->dtor, 0, sizeof(w->dtor));
	obj_init(&w->obj, w->type);
	for (unsigned int i = 1; i < w->nr_refs; i++)
		arc_get(&w->obj.arc);
}

static void called(void *obj, void *arg)
{
	struct obj *o = obj;
	unsigned int *nr = arg;

	KARC_STEP_READ(&o->word);
	explore_check(o->word == ALIVE);	/* before the body */
	(*nr)++;
}

static void register_and_put(void *arg)
{
	struct world *w = arg;
	int t = explore_task();

	arc_on_drop(&w->obj.arc, &w->dtor[t], called, &w->nr_called[t]);
	arc_put(&w->obj.arc);
}

static void both_were_called(void *arg)
{
	struct world *w = arg;

	obj_is_gone(&w->obj);
	explore_check(w->nr_called[0] == 1 && w->nr_called[1] == 1);
}

static void all_were_called(void *arg)
{
	both_were_called(arg);
	explore_check(world.nr_called[2] == 1);
}

static void first_was_called(void *arg)
{
	struct world *w = arg;

	obj_is_gone(&w->obj);
	explore_check(w->nr_called[0] == 1);
}

static void every_registered_callback_runs_once(void **state)
{
	(void)state;
	world.nr_refs = 2;
	explore_world("on_drop vs on_drop", &plain, 2, two_references, register_and_put,
		      register_and_put, NULL, both_were_called);
	explore_world("on_drop vs put", &plain, 2, two_references, register_and_put, use_and_put,
		      NULL, first_was_called);
	world.nr_refs = 3;
	explore_world("on_drop vs on_drop vs on_drop", &plain, 3, two_references, register_and_put,
		      register_and_put, register_and_put, all_were_called);
	explore_world("on_drop vs put vs put", &plain, 3, two_references, register_and_put,
		      use_and_put, use_and_put, first_was_called);
}

/* ---- puts that wait ---- */

static void put_later(void *arg)
{
	struct world *w = arg;

	preempt_disable();
	obj_use(&w->obj);
	arc_put_deferred(&w->obj.arc);
	preempt_enable();
}

static void put_atomically(void *arg)
{
	struct world *w = arg;

	preempt_disable();
	obj_use(&w->obj);
	arc_put(&w->obj.arc);
	preempt_enable();
}

static void put_and_reap(void *arg)
{
	put_later(arg);
	reap_deferred();
}

static void reap_all(void *arg)
{
	(void)arg;
	reap_drain(this_machine());
}

static void is_gone_at_last(void *arg)
{
	struct world *w = arg;

	machine_quiesce(this_machine());
	explore_check(reap_nr_deferred() == 0);
	obj_is_gone(&w->obj);
}

static void deferred_puts_are_done_once(void **state)
{
	(void)state;
	world.nr_refs = 2;
	explore_world("deferred put vs put", &plain, 2, two_references, put_later, use_and_put,
		      NULL, is_gone_at_last);
	explore_world("deferred put vs deferred put", &plain, 2, two_references, put_later,
		      put_and_reap, NULL, is_gone_at_last);
	explore_world("atomic put vs put of a type that sleeps", &sleepy, 2, two_references,
		      put_atomically, use_and_put, NULL, is_gone_at_last);
	world.nr_refs = 1;
	explore_world("deferred put vs reap of all", &plain, 2, two_references, put_later,
		      reap_all, NULL, is_gone_at_last);
	world.nr_refs = 3;
	explore_world("deferred put vs deferred put vs put", &plain, 3, two_references, put_later,
		      put_and_reap, use_and_put, is_gone_at_last);
}

/* ---- users ---- */

/* The users' reference, and one of who only keeps it. */
static void users_and_keeper(void *arg)
{
	struct world *w = arg;

	obj_init(&w->obj, w->type);
	arc_get(&w->obj.arc);
	arc_users_init(&w->obj.arc);
	for (unsigned int i = 1; i < w->nr_refs; i++)
		arc_users_get(&w->obj.arc);
}

static void use_as_user(struct obj *o)
{
	obj_use(o);
	KARC_STEP_READ(&o->nr_emptied);
	explore_check(!o->nr_emptied);
}

static void user_put(void *arg)
{
	struct world *w = arg;

	use_as_user(&w->obj);
	arc_users_put(&w->obj.arc);
}

static void user_get_put(void *arg)
{
	struct world *w = arg;

	arc_users_get(&w->obj.arc);
	arc_users_put(&w->obj.arc);
	user_put(arg);
}

static void keeper(void *arg)
{
	struct world *w = arg;

	if (arc_users_tryget(&w->obj.arc)) {
		use_as_user(&w->obj);
		arc_users_put(&w->obj.arc);
	}
	use_and_put(arg);
}

static void was_emptied_once(void *arg)
{
	struct world *w = arg;

	obj_is_gone(&w->obj);
	explore_check(w->obj.nr_emptied == 1);
}

static void the_last_user_empties_the_object_once(void **state)
{
	(void)state;
	world.nr_refs = 1;
	explore_world("users tryget vs put", &tiers, 2, users_and_keeper, keeper, user_put, NULL,
		      was_emptied_once);
	world.nr_refs = 2;
	explore_world("users tryget vs put vs put", &tiers, 3, users_and_keeper, keeper, user_put,
		      user_put, was_emptied_once);
	explore_world("users put vs keeper's put vs get/put", &tiers, 3, users_and_keeper,
		      use_and_put, user_put, user_get_put, was_emptied_once);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* Schedules are those of deterministic mode; each task has a CPU of its own. */
		karc_unit_test_cpus_deterministic(tryget_under_rcu_meets_memory_that_is_there, 4),
		karc_unit_test_cpus_deterministic(slots_hand_out_living_objects, 4),
		karc_unit_test_cpus_deterministic(every_registered_callback_runs_once, 4),
		karc_unit_test_cpus_deterministic(deferred_puts_are_done_once, 4),
		karc_unit_test_cpus_deterministic(the_last_user_empties_the_object_once, 4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
