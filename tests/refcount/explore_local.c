/* SPDX-License-Identifier: MIT */
/*
 * Goal: counts that CPUs keep by themselves are right in every interleaving: percpu_ref against
 * its kill, ARC_PERCPU objects against theirs, ARC_BIASED objects between their owner and others.
 * Method: explore.h. The task that kills also drives the grace period, so that the counters are
 * added up as early as that may be. An ARC_BIASED object is made by a task, whose CPU owns it, and
 * handed to the others through a pointer.
 */
#include "explore_test.h"

#include <karc/hw/context.h>
#include <karc/refcount/local.h>
#include <karc/refcount/percpu_ref.h>
#include <karc/refcount/rcu.h>

static struct world {
	struct percpu_ref ref;
	unsigned int nr_released;
	int confirmed;
	struct obj obj;
	struct obj *handed[EXPLORE_MAX_TASKS];	/* with a reference */
	struct obj *shared;			/* without one */
} world;

/* ---- percpu_ref ---- */

static void ref_released(struct percpu_ref *ref)
{
	(void)ref;
	KARC_STEP_WRITE(&world.nr_released);
	explore_check(!world.nr_released++);
}

static void ref_confirmed(struct percpu_ref *ref)
{
	(void)ref;
	KARC_STEP_WRITE(&world.confirmed);
	world.confirmed = 1;
}

/* Two references: the initial one and another. */
static void make_ref(void *arg)
{
	(void)arg;
	memset(&world, 0, sizeof(world));
	explore_check(!percpu_ref_init(&world.ref, ref_released, 0, 0));
	percpu_ref_get(&world.ref);
}

static void ref_was_released(void *arg)
{
	(void)arg;
	rcu_barrier();
	explore_check(world.nr_released == 1);
	explore_check(percpu_ref_is_zero(&world.ref));
	percpu_ref_exit(&world.ref);
	rcu_barrier();
}

static void ref_use(void)
{
	KARC_STEP_READ(&world.nr_released);
	explore_check(!world.nr_released);
}

static void ref_kill(void *arg)
{
	(void)arg;
	percpu_ref_kill_and_confirm(&world.ref, ref_confirmed);
	rcu_barrier();
}

/* With three tasks the grace period ends when it can by itself: schedules are many as it is. */
static void ref_kill_and_leave(void *arg)
{
	(void)arg;
	percpu_ref_kill_and_confirm(&world.ref, ref_confirmed);
}

static void ref_put(void *arg)
{
	(void)arg;
	ref_use();
	percpu_ref_put(&world.ref);
}

static void ref_get_put(void *arg)
{
	percpu_ref_get(&world.ref);
	percpu_ref_put(&world.ref);
	ref_put(arg);
}

static void ref_tryget(void *arg)
{
	(void)arg;
	if (!percpu_ref_tryget(&world.ref))
		return;
	ref_use();
	percpu_ref_put(&world.ref);
}

static void ref_tryget_live(void *arg)
{
	int confirmed = smp_load_acquire(&world.confirmed);

	(void)arg;
	if (!percpu_ref_tryget_live(&world.ref))
		return;
	explore_check(!confirmed);
	ref_use();
	percpu_ref_put(&world.ref);
}

static void explore_ref(const char *name, unsigned int nr_tasks, void (*a)(void *),
			void (*b)(void *), void (*c)(void *))
{
	/* The first one makes the counters' memory. */
	make_ref(NULL);
	percpu_ref_kill(&world.ref);
	percpu_ref_put(&world.ref);
	ref_was_released(NULL);
	explore_all(&(struct exploration){
		.name = name, .nr_tasks = nr_tasks, .setup = make_ref, .task = { a, b, c },
		.check = ref_was_released,
	});
}

static void a_killed_ref_is_released_once(void **state)
{
	(void)state;
	explore_ref("percpu_ref: kill vs put", 2, ref_kill, ref_put, NULL);
	explore_ref("percpu_ref: kill vs get/put", 2, ref_kill, ref_get_put, NULL);
	explore_ref("percpu_ref: kill vs put vs tryget", 3, ref_kill_and_leave, ref_put, ref_tryget);
	explore_ref("percpu_ref: kill vs put vs tryget_live", 3, ref_kill_and_leave, ref_put,
		    ref_tryget_live);
}

/* ---- ARC_PERCPU ---- */

static const struct arc_type by_cpu = OBJ_TYPE("by CPU", ARC_PERCPU);
static const struct arc_type biased = OBJ_TYPE("biased", ARC_BIASED);
static const struct arc_type found = OBJ_TYPE("biased, found", ARC_BIASED | ARC_RCU | ARC_FINDABLE);

static void use_and_put(void *arg)
{
	(void)arg;
	obj_use(&world.obj);
	arc_put(&world.obj.arc);
}

static void make_by_cpu(void *arg)
{
	(void)arg;
	memset(&world, 0, sizeof(world));
	obj_init(&world.obj, &by_cpu);
	arc_get(&world.obj.arc);
}

static void obj_kill(void *arg)
{
	(void)arg;
	obj_use(&world.obj);
	arc_kill(&world.obj.arc, NULL);
	rcu_barrier();
}

static void obj_get_put(void *arg)
{
	arc_get(&world.obj.arc);
	arc_put(&world.obj.arc);
	use_and_put(arg);
}

static void was_torn_down(void *arg)
{
	(void)arg;
	rcu_barrier();
	machine_quiesce(this_machine());
	obj_is_gone(&world.obj);
}

static void warm_up(const struct arc_type *type)
{
	struct obj *o = &world.obj;

	assert_int_equal(arc_type_register(type), 0);
	obj_init(o, type);
	if (type == &by_cpu)
		arc_kill(&o->arc, NULL);
	else
		arc_put(&o->arc);
	rcu_barrier();
	machine_quiesce(this_machine());
	assert_int_equal(o->nr_freed, 1);
}

static void explore_by_cpu(const char *name, unsigned int nr_tasks, void (*a)(void *),
			   void (*b)(void *), void (*c)(void *))
{
	warm_up(&by_cpu);
	explore_all(&(struct exploration){
		.name = name, .nr_tasks = nr_tasks, .setup = make_by_cpu, .task = { a, b, c },
		.check = was_torn_down,
	});
}

static void a_killed_object_is_torn_down_once(void **state)
{
	(void)state;
	explore_by_cpu("ARC_PERCPU: kill vs put", 2, obj_kill, use_and_put, NULL);
	explore_by_cpu("ARC_PERCPU: kill vs get/put", 2, obj_kill, obj_get_put, NULL);
}

/* ---- ARC_BIASED ---- */

static void nothing_yet(void *arg)
{
	(void)arg;
	memset(&world, 0, sizeof(world));
}

static void hand_over(unsigned int task)
{
	arc_get(&world.obj.arc);
	smp_store_release(&world.handed[task], &world.obj);
}

/* Its CPU owns the object; @nr others get a reference each. */
static void own(unsigned int nr)
{
	obj_init(&world.obj, &biased);
	for (unsigned int i = 0; i < nr; i++)
		hand_over(i + 1);
}

static void owner_hands_one(void *arg)
{
	own(1);
	use_and_put(arg);
}

static void owner_hands_one_get_put(void *arg)
{
	own(1);
	arc_get(&world.obj.arc);
	arc_put(&world.obj.arc);
	use_and_put(arg);
}

static void owner_hands_two(void *arg)
{
	own(2);
	use_and_put(arg);
}

static void take_and_put(void *arg)
{
	struct obj *o = xchg(&world.handed[explore_task()], NULL);

	(void)arg;
	if (!o)
		return;
	obj_use(o);
	arc_put(&o->arc);
}

static void take_get_put_put(void *arg)
{
	struct obj *o = xchg(&world.handed[explore_task()], NULL);

	(void)arg;
	if (!o)
		return;
	arc_get(&o->arc);
	arc_put(&o->arc);
	obj_use(o);
	arc_put(&o->arc);
}

static void take_and_put_atomically(void *arg)
{
	preempt_disable();
	take_and_put(arg);
	preempt_enable();
}

static void take_exact_and_put(void *arg)
{
	struct obj *o = xchg(&world.handed[explore_task()], NULL);

	(void)arg;
	if (!o)
		return;
	explore_check(arc_local_exact(&o->arc));
	obj_use(o);
	arc_put(&o->arc);
}

/* What nobody took is put here. */
static void rest_is_put(void *arg)
{
	for (unsigned int i = 0; i < EXPLORE_MAX_TASKS; i++) {
		if (world.handed[i])
			arc_put(&world.handed[i]->arc);
	}
	was_torn_down(arg);
}

/* Found by others, who count in the strong half: the owner's count may end before theirs. */
static void owner_publishes(void *arg)
{
	(void)arg;
	obj_init(&world.obj, &found);
	smp_store_release(&world.shared, &world.obj);
	obj_use(&world.obj);
	smp_store_release(&world.shared, NULL);
	arc_put(&world.obj.arc);
}

static void find_and_put(void *arg)
{
	struct obj *o;

	(void)arg;
	rcu_read_lock();
	o = rcu_dereference(world.shared);
	if (o && !arc_tryget(&o->arc))
		o = NULL;
	rcu_read_unlock();
	if (!o)
		return;
	obj_use(o);
	arc_put(&o->arc);
}

static void explore_biased(const char *name, unsigned int nr_tasks, void (*a)(void *),
			   void (*b)(void *), void (*c)(void *))
{
	warm_up(&biased);
	warm_up(&found);
	explore_all(&(struct exploration){
		.name = name, .nr_tasks = nr_tasks, .setup = nothing_yet, .task = { a, b, c },
		.check = rest_is_put,
	});
}

static void owner_and_others_count_together(void **state)
{
	(void)state;
	explore_biased("ARC_BIASED: owner vs put", 2, owner_hands_one, take_and_put, NULL);
	explore_biased("ARC_BIASED: owner vs get/put", 2, owner_hands_one_get_put,
		       take_get_put_put, NULL);
	explore_biased("ARC_BIASED: owner vs put in atomic context", 2, owner_hands_one,
		       take_and_put_atomically, NULL);
	explore_biased("ARC_BIASED: owner vs exact count", 2, owner_hands_one,
		       take_exact_and_put, NULL);
	explore_biased("ARC_BIASED: owner vs tryget", 2, owner_publishes, find_and_put, NULL);
	/* Of three tasks with so many steps all would take minutes. */
	explore_all(&(struct exploration){
		.name = "ARC_BIASED: owner vs tryget vs tryget", .nr_tasks = 3,
		.setup = nothing_yet, .check = rest_is_put, .max_preemptions = 2,
		.task = { owner_publishes, find_and_put, find_and_put },
	});
	explore_biased("ARC_BIASED: owner vs put vs put", 3, owner_hands_two, take_and_put,
		       take_and_put);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* Schedules are those of deterministic mode; each task has a CPU of its own. */
		karc_unit_test_cpus_deterministic(a_killed_ref_is_released_once, 4),
		karc_unit_test_cpus_deterministic(a_killed_object_is_torn_down_once, 4),
		karc_unit_test_cpus_deterministic(owner_and_others_count_together, 4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
