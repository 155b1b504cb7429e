/* SPDX-License-Identifier: MIT */
/*
 * Goal: faults in the making, owning and ending of objects are reported whole.
 * Method: see corpus.h. Here: types that make no sense, constructors that lose what they had,
 * objects that own each other, destructors that do what they must not, references that nobody
 * gave back.
 */
#include "corpus.h"

#include <pthread.h>

#include <karc/hw/context.h>
#include <karc/refcount/audit.h>
#include <karc/refcount/dtor.h>
#include <karc/refcount/holder.h>
#include <karc/refcount/percpu_ref.h>
#include <karc/refcount/reap.h>
#include <karc/refcount/ref_tracker.h>
#include <karc/refcount/slot.h>

/* ---- types ---- */

static void type_without_a_destructor(void)
{
	static const struct arc_type type = THING_TYPE("mute", 0, NULL, thing_free);

	CHECK(arc_type_register(&type) == -EINVAL);
}

static void type_whose_field_lies_beyond_it(void)
{
	static const struct arc_field fields[] = {
		{ .kind = ARC_FIELD_OWNED, .name = "far", .offset = sizeof(struct thing) },
		ARC_FIELDS_END,
	};
	static const struct arc_type type = {
		.name = "wide", .size = sizeof(struct thing), .offset = offsetof(struct thing, arc),
		.ops = { .free = thing_free }, .fields = fields,
	};

	CHECK(arc_type_register(&type) == -EINVAL);
}

static void type_whose_visitor_takes_nothing(void)
{
	static const struct arc_field fields[] = {
		ARC_VISITOR("all", NULL, NULL), ARC_FIELDS_END,
	};
	static const struct arc_type type = {
		.name = "blind", .size = sizeof(struct thing),
		.offset = offsetof(struct thing, arc),
		.ops = { .free = thing_free }, .fields = fields,
	};

	CHECK(arc_type_register(&type) == -EINVAL);
}

static void rcu_type_that_cannot_wait(void)
{
	static const struct arc_type type = THING_TYPE("hasty", ARC_RCU, thing_drop, NULL);

	CHECK(arc_type_register(&type) == -EINVAL);
}

static void private_type_that_lookups_find(void)
{
	static const struct arc_type type =
		THING_TYPE("both", ARC_PRIVATE | ARC_FINDABLE, thing_drop, thing_free);

	CHECK(arc_type_register(&type) == -EINVAL);
}

/* ---- destructors that do what they must not ---- */

static void gets_itself(void *obj)
{
	AT(c), arc_get(&((struct thing *)obj)->arc);
}

static void puts_itself(void *obj)
{
	AT(c), arc_put(&((struct thing *)obj)->arc);
}

static void callback_gets(void *obj, void *arg)
{
	(void)arg;
	gets_itself(obj);
}

static void resurrection_in_the_drop(void)
{
	static const struct arc_type type = THING_TYPE("phoenix", 0, gets_itself, thing_free);
	struct thing *t = (AT(a), thing_of(&type));

	AT(b), arc_put(&t->arc);
}

static void resurrection_in_a_callback(void)
{
	struct thing *t = (AT(a), thing_new());
	struct arc_dtor dtor;

	arc_on_drop(&t->arc, &dtor, callback_gets, NULL);
	AT(b), arc_put(&t->arc);
}

static void resurrection_in_the_free(void)
{
	static const struct arc_type type = THING_TYPE("vampire", 0, thing_drop, gets_itself);
	struct thing *t = (AT(a), thing_of(&type));

	AT(b), arc_put(&t->arc);
}

static void put_again_in_the_drop(void)
{
	static const struct arc_type type = THING_TYPE("twice", 0, puts_itself, thing_free);
	struct thing *t = (AT(a), thing_of(&type));

	AT(b), arc_put(&t->arc);
}

static void asks_politely(void *obj)
{
	CHECK(!arc_tryget(&((struct thing *)obj)->arc));
}

static void tryget_in_the_drop(void)
{
	static const struct arc_type type = THING_TYPE("polite", 0, asks_politely, thing_free);

	arc_put(&thing_of(&type)->arc);		/* refused, and nothing to report */
}

static void says_nothing(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
}

static void callback_registered_twice(void)
{
	struct thing *t = (AT(a), thing_new());
	struct arc_dtor first, second;

	arc_on_drop(&t->arc, &first, says_nothing, NULL);
	arc_on_drop(&t->arc, &second, says_nothing, NULL);
	arc_on_drop(&t->arc, &first, says_nothing, NULL);
	arc_put(&t->arc);
}

static void embedded_drop(void *obj)
{
	((struct thing *)obj)->value = -1;	/* it would return the memory */
}

static const struct arc_type embedded_type = THING_TYPE("embedded", 0, embedded_drop, NULL);

static void weak_reference_to_memory_that_the_drop_returns(void)
{
	struct thing *t = (AT(a), thing_of(&embedded_type));

	arc_downgrade(&t->arc);
}

static void memory_returned_with_weak_references_left(void)
{
	struct thing *t = (AT(a), thing_of(&embedded_type));

	refcount_inc(&t->arc.weak);		/* behind arc_downgrade()'s back */
	AT(b), arc_put(&t->arc);
	CHECK(t->value == 0);			/* its drop did not run */
}

/* ---- what sleeps, where nothing may ---- */

static void sleeps(void *obj)
{
	AT(b), might_sleep();
	((struct thing *)obj)->value = -1;
}

static void put_in_atomic_context_of_a_type_that_sleeps(void)
{
	static const struct arc_type type = THING_TYPE("sleeper", ARC_SLEEPS, sleeps, thing_free);
	struct thing *t = thing_of(&type);

	preempt_disable();
	arc_put(&t->arc);
	CHECK(t->value == 0);			/* waits for a task */
	preempt_enable();
	machine_quiesce(this_machine());
	CHECK(t->value == -1);			/* and nothing to report */
}

static void put_in_atomic_context_of_a_type_that_sleeps_without_saying_so(void)
{
	static const struct arc_type type = THING_TYPE("liar", 0, sleeps, thing_free);
	struct thing *t = thing_of(&type);

	preempt_disable();
	arc_put(&t->arc);
	preempt_enable();
}

static void deferred_puts_run_in_atomic_context(void)
{
	preempt_disable();
	reap_deferred();			/* its objects may sleep: it has no business here */
	preempt_enable();
}

/* ---- constructors in three steps that lose on the way out what they had ---- */

static const struct arc_field parts_fields[] = {
	ARC_OWNED(thing, left, thing), ARC_OWNED(thing, right, thing), ARC_FIELDS_END,
};

static const struct arc_type parts_type = {
	.name = "parts", .size = sizeof(struct thing), .offset = offsetof(struct thing, arc),
	.ops = { .free = thing_free }, .fields = parts_fields,
};

/* Fails at step @fail; @lose: the step whose undoing was forgotten. */
static struct thing *construct(int fail, int lose)
{
	struct thing *whole, *left, *right;

	whole = (AT(a), thing_of(&parts_type));
	if (fail == 1)
		goto put_whole;
	left = (AT(b), thing_new());
	if (fail == 2)
		goto put_left;
	right = (AT(c), thing_new());
	if (fail == 3)
		goto put_right;
	whole->left = left;
	whole->right = right;
	return whole;

put_right:
	if (lose != 3)
		arc_put(&right->arc);
put_left:
	if (lose != 2)
		arc_put(&left->arc);
put_whole:
	if (lose != 1)
		arc_put(&whole->arc);
	return NULL;
}

static void constructor_that_loses_nothing(void)
{
	int fail;

	for (fail = 1; fail <= 3; fail++)
		CHECK(!construct(fail, 0));
	arc_put(&construct(0, 0)->arc);
}

static void error_path_of_step_1_loses_the_object(void)
{
	CHECK(!construct(1, 1));
}

static void error_path_of_step_2_loses_the_left_part(void)
{
	CHECK(!construct(2, 2));
}

static void error_path_of_step_3_loses_the_right_part(void)
{
	CHECK(!construct(3, 3));
}

static void error_path_of_step_3_loses_the_whole(void)
{
	CHECK(!construct(3, 1));
}

/* ---- objects that own each other ---- */

static const struct arc_type wheel_type = {
	.name = "wheel", .size = sizeof(struct thing), .offset = offsetof(struct thing, arc),
	.ops = { .free = thing_free }, .fields = parts_fields,
};

static const struct arc_type axle_type = {
	.name = "axle", .size = sizeof(struct thing), .offset = offsetof(struct thing, arc),
	.ops = { .free = thing_free }, .fields = parts_fields,
};

static void cycle_of_one_object(void)
{
	struct thing *t = (AT(a), thing_of(&parts_type));

	t->left = t;		/* its only reference is its own */
}

static void cycle_through_one_type(void)
{
	struct thing *t = (AT(a), thing_of(&parts_type));
	struct thing *u = (AT(b), thing_of(&parts_type));

	t->left = u;
	u->right = t;
}

static void cycle_through_two_types(void)
{
	struct thing *t = (AT(a), thing_of(&parts_type));
	struct thing *u = (AT(b), thing_of(&wheel_type));

	t->left = u;
	u->left = t;
}

static void cycle_through_three_types(void)
{
	struct thing *t = (AT(a), thing_of(&parts_type));
	struct thing *u = (AT(b), thing_of(&wheel_type));
	struct thing *v = (AT(c), thing_of(&axle_type));

	t->left = u;
	u->right = v;
	v->left = t;
}

static void field_that_owns_what_nobody_gave_it(void)
{
	struct thing *t = (AT(a), thing_of(&parts_type));
	struct thing *u = (AT(b), thing_new());
	struct check_report report = { .nr_violations = 0 };

	t->left = u;
	t->right = u;		/* one reference, two fields */
	audit_hold(&t->arc);
	CHECK(audit_counts(this_machine(), &report) == 1);
	audit_release(&t->arc);
	AT(c), arc_put(&t->arc);
}

/* ---- machines ---- */

static struct arc *arc_of_the_other;

static long puts_what_is_not_its_own(void *arg)
{
	AT(b), arc_put(arc_of_the_other);
	return (long)arg;
}

/* A host thread is in one machine at a time. */
static void *another_machine(void *arg)
{
	static const struct room *const rooms[] = { &hw_room, &refcount_room };
	struct machine *m = machine_boot_rooms(arg, rooms, ARRAY_SIZE(rooms));

	machine_call(m, 0, puts_what_is_not_its_own, NULL);
	machine_shutdown(m);
	return NULL;
}

static void object_of_another_machine(void)
{
	struct machine_config config = *machine_config(this_machine());
	struct thing *t = (AT(a), thing_new());
	pthread_t thread;

	arc_of_the_other = &t->arc;
	CHECK(!pthread_create(&thread, NULL, another_machine, &config));
	CHECK(!pthread_join(thread, NULL));
	CHECK((int)arc_count(&t->arc) == REFCOUNT_SATURATED);
	refcount_set(&t->arc.kref.refcount, 1);
	arc_put(&t->arc);
}

/* ---- slots, counts by CPU, trackers ---- */

static void slot_of_a_type_that_does_not_wait_for_readers(void)
{
	struct arc_slot slot = ARC_SLOT_EMPTY;
	struct thing *t = (AT(a), thing_new());

	AT(b), arc_slot_store(&slot, &t->arc);
	CHECK(!arc_slot_load(&slot));
}

static void ref_released(struct percpu_ref *ref)
{
	(void)ref;
}

static void percpu_ref_killed_twice(void)
{
	struct percpu_ref ref;

	CHECK(!percpu_ref_init(&ref, ref_released, 0, 0));
	percpu_ref_get(&ref);
	percpu_ref_kill(&ref);
	AT(a), percpu_ref_kill(&ref);
	rcu_barrier();
	percpu_ref_put(&ref);
	percpu_ref_exit(&ref);
}

static void percpu_ref_put_too_often(void)
{
	struct percpu_ref ref;

	CHECK((AT(a), !percpu_ref_init(&ref, ref_released, 0, 0)));
	percpu_ref_put(&ref);
	percpu_ref_put(&ref);
	percpu_ref_kill(&ref);
	rcu_barrier();
	percpu_ref_exit(&ref);
}

static void percpu_ref_overflows(void)
{
	struct percpu_ref ref;

	CHECK((AT(a), !percpu_ref_init(&ref, ref_released, 0, 0)));
	percpu_ref_get_many(&ref, LONG_MAX);	/* and the one that it began with */
	percpu_ref_kill(&ref);
	rcu_barrier();
	percpu_ref_exit(&ref);
}

static const struct arc_type biased_type = THING_TYPE("biased", ARC_BIASED, thing_drop, thing_free);

static void biased_count_put_too_often(void)
{
	struct thing *t = (AT(a), thing_of(&biased_type));

	arc_get(&t->arc);
	arc_put(&t->arc);
	AT(b), arc_put(&t->arc);
	AT(c), arc_put(&t->arc);
}

static const struct arc_type percpu_type = THING_TYPE("percpu", ARC_PERCPU, thing_drop, thing_free);

static void percpu_object_never_killed(void)
{
	struct thing *t = (AT(a), thing_of(&percpu_type));

	arc_get(&t->arc);
	arc_put(&t->arc);
}

static void tracked_reference_never_freed(void)
{
	struct ref_tracker *tracker = NULL;
	struct ref_tracker_dir dir;

	ref_tracker_dir_init(&dir, 4, "netdev");
	CHECK((AT(a), !ref_tracker_alloc(&dir, &tracker, 0)));
	ref_tracker_dir_exit(&dir);
}

static void tracked_reference_freed_twice(void)
{
	struct ref_tracker *tracker = NULL, *again;
	struct ref_tracker_dir dir;

	ref_tracker_dir_init(&dir, 4, "netdev");
	CHECK((AT(a), !ref_tracker_alloc(&dir, &tracker, 0)));
	again = tracker;
	AT(b), ref_tracker_free(&dir, &tracker);
	AT(c), ref_tracker_free(&dir, &again);
	ref_tracker_dir_exit(&dir);
}

/* ---- who holds it ---- */

static struct thing *lost_by_a_task;

static long forgets(void *arg)
{
	(void)arg;
	AT(b), arc_get(&lost_by_a_task->arc);
	return 0;		/* its stack had the only pointer */
}

static void reference_left_on_the_stack_of_a_task_that_ended(void)
{
	struct machine_result r;

	lost_by_a_task = (AT(a), thing_new());
	fiber_join(fiber_spawn(0, "forgetful", forgets, NULL), &r);
	arc_put(&lost_by_a_task->arc);
}

static void holder_released_that_was_never_registered(void)
{
	struct thing *t = (AT(a), thing_new());

	AT(b), arc_release(&t->arc);
	arc_put(&t->arc);
}

static void object_held_by_a_root_at_the_end(void)
{
	struct thing *t = (AT(a), thing_new());

	AT(b), arc_hold(&t->arc, "cache");
}

/* ---- the machine stops ---- */

static void fault_that_stops_the_machine(void)
{
	struct thing *t = (AT(a), thing_new());

	arc_fault_policy(this_machine(), ARC_POLICY_STOP, NULL, NULL);
	AT(b), arc_put(&t->arc);
	AT(c), arc_put(&t->arc);
	CHECK(0);		/* not reached */
}

#define CASE(fn, ...) { .name = #fn, .run = fn, __VA_ARGS__ }

static struct seeded cases[] = {
	CASE(type_without_a_destructor,
	     .expected =
		"arc_type_register: type \"mute\" refused: it has neither drop nor fields: give "
		"it ops.drop or a field table, or set ARC_LEAF if it owns nothing\n"),
	CASE(type_whose_field_lies_beyond_it,
	     .expected =
		"arc_type_register: type \"wide\" refused: a field lies beyond its size or "
		"lacks what its kind needs\n"),
	CASE(type_whose_visitor_takes_nothing,
	     .expected =
		"arc_type_register: type \"blind\" refused: a field lies beyond its size or "
		"lacks what its kind needs\n"),
	CASE(rcu_type_that_cannot_wait,
	     .expected =
		"arc_type_register: type \"hasty\" refused: ARC_RCU needs ops.free, which is "
		"called after the grace period\n"),
	CASE(private_type_that_lookups_find,
	     .expected =
		"arc_type_register: type \"both\" refused: ARC_PRIVATE says that no lookup "
		"finds it, ARC_FINDABLE and ARC_RCU that one may\n"),
	CASE(resurrection_in_the_drop,
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n"
		" object: phoenix at ADDR, N bytes, dying; strong count\n"
		" created: $a resurrection_in_the_drop\n"
		" last put: $b resurrection_in_the_drop, by task call (N)\n",
		"$c gets_itself")
		WARNED_NR(
		"arc: phoenix from $a was got or put again while dying; leaking it\n"
		" object: phoenix at ADDR, N bytes, dying\n"
		" created: $a resurrection_in_the_drop\n"
		" last put: $b resurrection_in_the_drop, by task call (N)\n",
		"fault.c:N arc_fault_tell", "2")
		"left: 1 phoenix, N bytes, from $a resurrection_in_the_drop\n"
		"alive: #1 phoenix from $a (gone): its teardown is not finished\n"),
	CASE(resurrection_in_a_callback,
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n"
		" object: thing at ADDR, N bytes, dying; strong count\n"
		" created: $a resurrection_in_a_callback\n"
		" last put: $b resurrection_in_a_callback, by task call (N)\n",
		"$c gets_itself")
		WARNED_NR(
		"arc: thing from $a was got or put again while dying; leaking it\n"
		" object: thing at ADDR, N bytes, dying\n"
		" created: $a resurrection_in_a_callback\n"
		" last put: $b resurrection_in_a_callback, by task call (N)\n",
		"fault.c:N arc_fault_tell", "2")
		"left: 1 thing, N bytes, from $a resurrection_in_a_callback\n"
		"alive: #1 thing from $a (gone): its teardown is not finished\n"),
	CASE(resurrection_in_the_free,
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n"
		" object: vampire at ADDR, N bytes, dead; strong count\n"
		" created: $a resurrection_in_the_free\n"
		" last put: $b resurrection_in_the_free, by task call (N)\n",
		"$c gets_itself")),
	CASE(put_again_in_the_drop,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: twice at ADDR, N bytes, dying; strong count\n"
		" created: $a put_again_in_the_drop\n"
		" last put: $b put_again_in_the_drop, by task call (N)\n",
		"$c puts_itself")
		WARNED_NR(
		"arc: twice from $a was got or put again while dying; leaking it\n"
		" object: twice at ADDR, N bytes, dying\n"
		" created: $a put_again_in_the_drop\n"
		" last put: $b put_again_in_the_drop, by task call (N)\n",
		"fault.c:N arc_fault_tell", "2")
		"left: 1 twice, N bytes, from $a put_again_in_the_drop\n"
		"alive: #1 twice from $a (gone): its teardown is not finished\n"),
	CASE(tryget_in_the_drop, .expected = ""),
	CASE(callback_registered_twice,
	     .expected =
		WARNED(
		"arc: destructor callback registered twice\n"
		" object: thing at ADDR, N bytes, alive\n"
		" created: $a callback_registered_twice\n",
		"fault.c:N arc_fault_raise")),
	CASE(weak_reference_to_memory_that_the_drop_returns,
	     .expected =
		"------------[ cut here ]------------\n"
		"kernel BUG at arc.c:N! (type->ops.drop && !type->ops.free && !type->fields)\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"left: 1 embedded, N bytes, from $a "
		"weak_reference_to_memory_that_the_drop_returns\n"
		"alive: #1 embedded from $a (LOST): nobody known: 1 reference without a holder\n"),
	CASE(memory_returned_with_weak_references_left,
	     .expected =
		WARNED(
		"arc: memory returned with weak references left\n"
		" object: embedded at ADDR, N bytes, dying; weak count\n"
		" created: $a memory_returned_with_weak_references_left\n"
		" last put: $b memory_returned_with_weak_references_left, by task call (N)\n",
		"$b memory_returned_with_weak_references_left")
		"left: 1 embedded, N bytes, from $a memory_returned_with_weak_references_left\n"
		"alive: #1 embedded from $a (gone): its teardown is not finished\n"),
	CASE(put_in_atomic_context_of_a_type_that_sleeps, .expected = ""),
	CASE(put_in_atomic_context_of_a_type_that_sleeps_without_saying_so,
	     .expected =
		"BUG: sleeping function called from invalid context at $b\n"
		"in_atomic(): 1, irqs_disabled(): 0, function: sleeps\n"
		"preempt_count: 1\n"
		"CPU: 0 PID: N Comm: call preempt_count: 1\n"
		"Call Trace:\n"),
	CASE(deferred_puts_run_in_atomic_context,
	     .expected =
		"BUG: sleeping function called from invalid context at reap.c:N\n"
		"in_atomic(): 1, irqs_disabled(): 0, function: reap_deferred\n"
		"preempt_count: 1\n"
		"CPU: 0 PID: N Comm: call preempt_count: 1\n"
		"Call Trace:\n"),
	CASE(constructor_that_loses_nothing, .expected = ""),
	CASE(error_path_of_step_1_loses_the_object,
	     .expected =
		"left: 1 parts, N bytes, from $a construct\n"
		"alive: #1 parts from $a (LOST): nobody known: 1 reference without a holder\n"),
	CASE(error_path_of_step_2_loses_the_left_part,
	     .expected =
		"left: 1 thing, N bytes, from $b construct\n"
		"alive: #2 thing from $b (LOST): nobody known: 1 reference without a holder\n"),
	CASE(error_path_of_step_3_loses_the_right_part,
	     .expected =
		"left: 1 thing, N bytes, from $c construct\n"
		"alive: #3 thing from $c (LOST): nobody known: 1 reference without a holder\n"),
	CASE(error_path_of_step_3_loses_the_whole,
	     .expected =
		"left: 1 parts, N bytes, from $a construct\n"
		"alive: #1 parts from $a (LOST): nobody known: 1 reference without a holder\n"),
	CASE(cycle_of_one_object,
	     .expected =
		"left: 1 parts, N bytes, from $a cycle_of_one_object\n"
		"alive: #1 parts from $a (CYCLE): cycle: parts.left\n"),
	CASE(cycle_through_one_type,
	     .expected =
		"left: 1 parts, N bytes, from $a cycle_through_one_type\n"
		"left: 1 parts, N bytes, from $b cycle_through_one_type\n"
		"alive: #1 parts from $a (CYCLE): cycle: parts.left -> parts.right\n"),
	CASE(cycle_through_two_types,
	     .expected =
		"left: 1 parts, N bytes, from $a cycle_through_two_types\n"
		"left: 1 wheel, N bytes, from $b cycle_through_two_types\n"
		"alive: #1 parts from $a (CYCLE): cycle: parts.left -> wheel.left\n"),
	CASE(cycle_through_three_types,
	     .expected =
		"left: 1 parts, N bytes, from $a cycle_through_three_types\n"
		"left: 1 wheel, N bytes, from $b cycle_through_three_types\n"
		"left: 1 axle, N bytes, from $c cycle_through_three_types\n"
		"alive: #1 parts from $a (CYCLE): cycle: parts.left -> wheel.right -> axle.left\n"),
	CASE(field_that_owns_what_nobody_gave_it,
	     .expected =
		"check: audit: fewer references than edges and holders: thing from $b: count 1, "
		"2 in-edges, 0 holders\n"
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $b field_that_owns_what_nobody_gave_it\n"
		" last put: $c field_that_owns_what_nobody_gave_it, in the teardown of parts, "
		"by task call (N)\n",
		"$c field_that_owns_what_nobody_gave_it")),
	CASE(object_of_another_machine,
	     .expected =
		WARNED(
		"arc: object of another machine; leaking it\n"
		" object: memory at ADDR, not of this machine\n",
		"$b puts_what_is_not_its_own")),
	CASE(slot_of_a_type_that_does_not_wait_for_readers,
	     .expected =
		WARNED(
		"arc_slot: type \"thing\" is not ARC_RCU: a reader could meet freed memory\n"
		" object: thing at ADDR, N bytes, alive\n"
		" created: $a slot_of_a_type_that_does_not_wait_for_readers\n",
		"$b slot_of_a_type_that_does_not_wait_for_readers")),
	CASE(percpu_ref_killed_twice,
	     .expected =
		WARNED(
		"percpu_ref_kill: it is killed already\n",
		"fault.c:N arc_fault_tell")),
	CASE(percpu_ref_put_too_often,
	     .expected =
		"------------[ cut here ]------------\n"
		"percpu_ref of $a: -1 references: put more than was got\n"
		"WARNING: CPU: 0 PID: N at fault.c:N arc_fault_tell\n"
		"CPU: 0 PID: N Comm: call in softirq preempt_count: 102\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"),
	CASE(percpu_ref_overflows,
	     .expected =
		"------------[ cut here ]------------\n"
		"percpu_ref of $a: -9223372036854775808 references: put more than was got\n"
		"WARNING: CPU: 0 PID: N at fault.c:N arc_fault_tell\n"
		"CPU: 0 PID: N Comm: call in softirq preempt_count: 102\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"),
	CASE(biased_count_put_too_often,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: biased at ADDR, N bytes, dead; strong count\n"
		" created: $a biased_count_put_too_often\n"
		" last put: $b biased_count_put_too_often, by task call (N)\n",
		"$c biased_count_put_too_often")),
	CASE(percpu_object_never_killed,
	     .expected =
		"left: 1 percpu, N bytes, from $a percpu_object_never_killed\n"
		"alive: #1 percpu from $a (LOST): nobody known: 1 reference without a holder\n"),
	CASE(tracked_reference_never_freed,
	     .expected =
		"ref_tracker: leaked reference.\n"
		" $a tracked_reference_never_freed\n"
		WARNED(
		"ref_tracker: netdev has 1 leaked references, 0 untracked and 0 without tracker\n",
		"fault.c:N arc_fault_tell")),
	CASE(tracked_reference_freed_twice,
	     .expected =
		"ref_tracker: reference already released.\n"
		"ref_tracker: allocated in:\n"
		" $a tracked_reference_freed_twice\n"
		"ref_tracker: freed in:\n"
		" $b tracked_reference_freed_twice\n"
		WARNED(
		"ref_tracker: a reference on netdev was released twice\n",
		"$c tracked_reference_freed_twice")),
	CASE(reference_left_on_the_stack_of_a_task_that_ended,
	     .config = { .holders = true },
	     .expected =
		"------------[ cut here ]------------\n"
		"arc: forgetful (fiber N) ends and has forgotten a reference of thing ADDR, got "
		"at $b forgets\n"
		" object: thing at ADDR, N bytes, alive\n"
		" created: $a reference_left_on_the_stack_of_a_task_that_ended\n"
		"WARNING: CPU: 0 PID: N at $b forgets\n"
		"CPU: 0 PID: N Comm: forgetful preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"It was got by:\n"
		"left: 1 thing, N bytes, from $a "
		"reference_left_on_the_stack_of_a_task_that_ended\n"
		"alive: #1 thing from $a (LOST): forgotten by forgetful, fiber N (ended): "
		"reference from $b\n"),
	CASE(holder_released_that_was_never_registered,
	     .config = { .holders = true },
	     .expected =
		WARNED(
		"arc: thing released by \"?\", which does not hold it\n"
		" object: thing at ADDR, N bytes, alive\n"
		" created: $a holder_released_that_was_never_registered\n",
		"fault.c:N arc_fault_tell")),
	CASE(object_held_by_a_root_at_the_end,
	     .config = { .holders = true },
	     .expected =
		"left: 1 thing, N bytes, from $a object_held_by_a_root_at_the_end\n"
		"alive: #1 thing from $a (reached): path: cache: thing\n"),
	CASE(fault_that_stops_the_machine,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $a fault_that_stops_the_machine\n"
		" last put: $b fault_that_stops_the_machine, by task call (N)\n",
		"$c fault_that_stops_the_machine")
		"Kernel panic - not syncing: ownership fault: use-after-put\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end Kernel panic - not syncing: ownership fault: use-after-put ]--- 1\n"),
};

int main(void)
{
	return corpus_main(cases, ARRAY_SIZE(cases), __FILE__);
}
