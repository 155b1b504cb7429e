/* SPDX-License-Identifier: MIT */
/*
 * Goal: one road for every fault: it is contained, counted, named, and the policy decides.
 * Method: the same faults under each policy; what the handler is told is looked at member by
 * member; the end of a machine is tested on machines of the test's own. The texts of many more
 * faults are compared whole in the test_corpus_*.c.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/panic.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/room.h>

#include "refcount_test.h"

struct thing {
	struct arc arc;
	long value;
};

static void thing_free(void *obj)
{
	(void)obj;		/* it is a local variable of the test */
}

static void thing_drop(void *obj)
{
	((struct thing *)obj)->value = -1;
}

static const struct arc_type thing_type = {
	.name = "thing", .size = sizeof(struct thing), .offset = offsetof(struct thing, arc),
	.ops = { .drop = thing_drop, .free = thing_free },
};

static void thing_init(struct thing *t)
{
	assert_int_equal(arc_type_register(&thing_type), 0);
	*t = (struct thing){ .value = 1 };
	arc_init(&t->arc, &thing_type);
}

/* ---- the handler ---- */

struct seen {
	struct arc_fault_info last;
	char text[1024], task[FIBER_NAME_LEN];
	unsigned int nr;
};

static void see(void *arg, const struct arc_fault_info *info)
{
	struct seen *seen = arg;

	seen->last = *info;
	snprintf(seen->text, sizeof(seen->text), "%s", info->text);
	snprintf(seen->task, sizeof(seen->task), "%s",
		 info->last_put.task ? info->last_put.task : "");
	seen->nr++;
}

static void handler_gets_everything_that_is_known(void **state)
{
	struct seen seen = { .nr = 0 };
	struct thing t;
	unsigned int last_put, faulty;

	(void)state;
	arc_fault_policy(this_machine(), ARC_POLICY_CALL, see, &seen);
	thing_init(&t);
	last_put = __LINE__ + 1;
	arc_put(&t.arc);
	faulty = __LINE__ + 1;
	arc_put(&t.arc);
	assert_int_equal(seen.nr, 1);
	assert_int_equal(seen.last.kind, ARC_FAULT_USE_AFTER_PUT);
	assert_ptr_equal(seen.last.counter, &t.arc);
	assert_ptr_equal(seen.last.object, &t);
	assert_ptr_equal(seen.last.type, &thing_type);
	assert_string_equal(seen.last.half, "strong");
	assert_int_equal(seen.last.state, ARC_DEAD);
	assert_string_equal(seen.last.created->func, "thing_init");
	assert_int_equal(seen.last.where->line, faulty);
	assert_int_equal(seen.last.last_put.site->line, last_put);
	assert_string_equal(seen.last.last_put.site->func, __func__);
	assert_int_equal(seen.last.last_put.task_id, fiber_self()->id);
	assert_string_equal(seen.task, fiber_self()->name);
	assert_null(seen.last.last_put.owner);
	assert_true(strstr(seen.text,
			   "refcount_t: underflow; use-after-free.\n object: thing at "));
	assert_true(strstr(seen.text, "\n last put: "));
	expect_no_warn();
}

static void handler_is_called_each_time(void **state)
{
	struct seen seen = { .nr = 0 };
	refcount_t r;
	int i;

	(void)state;
	arc_fault_policy(this_machine(), ARC_POLICY_CALL, see, &seen);
	for (i = 0; i < 5; i++) {
		refcount_set(&r, 0);
		refcount_inc(&r);
	}
	assert_int_equal(seen.nr, 5);
	assert_int_equal(seen.last.kind, ARC_FAULT_GET_ON_ZERO);
	assert_null(seen.last.type);
	assert_null(seen.last.object);
	assert_int_equal(seen.last.state, -1);
	assert_string_equal(seen.text, "refcount_t: addition on 0; use-after-free.");
	expect_no_warn();
}

static void nothing_of(void *arg, const struct arc_fault_info *info)
{
	struct thing *t = arg;

	/* The counter was pinned before: a handler may count, and finds no way back to life. */
	assert_int_equal(info->kind, ARC_FAULT_OVERFLOW);
	assert_int_equal((int)arc_count(&t->arc), REFCOUNT_SATURATED);
}

static void counter_is_pinned_before_anybody_is_told(void **state)
{
	struct thing t;

	(void)state;
	thing_init(&t);
	arc_fault_policy(this_machine(), ARC_POLICY_CALL, nothing_of, &t);
	refcount_set(&t.arc.kref.refcount, REFCOUNT_MAX);
	arc_get(&t.arc);
	arc_fault_policy(this_machine(), ARC_POLICY_WARN, NULL, NULL);
	refcount_set(&t.arc.kref.refcount, 1);
	arc_put(&t.arc);
}

static void policy_before_comes_back(void **state)
{
	struct seen outer = { .nr = 0 }, inner = { .nr = 0 };
	struct arc_fault_policy old;
	refcount_t r = REFCOUNT_INIT(0);

	(void)state;
	old = arc_fault_policy(this_machine(), ARC_POLICY_CALL, see, &outer);
	assert_int_equal(old.policy, ARC_POLICY_WARN);
	old = arc_fault_policy(this_machine(), ARC_POLICY_CALL, see, &inner);
	assert_int_equal(old.policy, ARC_POLICY_CALL);
	assert_ptr_equal(old.arg, &outer);
	refcount_dec(&r);
	arc_fault_policy_restore(this_machine(), &old);
	refcount_dec(&r);
	refcount_dec(&r);
	assert_int_equal(inner.nr, 1);
	assert_int_equal(outer.nr, 2);
}

/* ---- warnings ---- */

static void each_kind_warns_once_until_reset(void **state)
{
	refcount_t r = REFCOUNT_INIT(0);
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		refcount_set(&r, 0);
		refcount_inc(&r);
		refcount_set(&r, REFCOUNT_MAX);
		refcount_inc(&r);
	}
	assert_int_equal(count_in_log("refcount_t: addition on 0; use-after-free."), 1);
	assert_int_equal(count_in_log("refcount_t: saturated; leaking memory."), 1);
	machine_reset_once(this_machine());
	refcount_set(&r, 0);
	refcount_inc(&r);
	assert_int_equal(count_in_log("refcount_t: addition on 0; use-after-free."), 2);
	assert_int_equal(machine_counters(this_machine()).warnings, 3);
	expect_warn("refcount_t:");
}

static void kinds_about_one_reference_each_warn_each_time(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		arc_fault_tell(ARC_FAULT_FORGOTTEN, NULL, SITE(), "reference %d forgotten", i);
	assert_int_equal(count_in_log("forgotten"), 3);
	expect_warn("reference 2 forgotten");
}

static void every_fault_is_counted(void **state)
{
	refcount_t r = REFCOUNT_INIT(0);
	int i;

	(void)state;
	assert_int_equal(arc_fault_count(this_machine(), ARC_FAULT_DEC_LEAK), 0);
	for (i = 0; i < 7; i++)
		refcount_dec(&r);
	assert_int_equal(arc_fault_count(this_machine(), ARC_FAULT_DEC_LEAK), 7);
	assert_int_equal(arc_fault_count(this_machine(), ARC_FAULT_NR), 0);
	expect_warn("decrement hit 0");
}

static void each_kind_has_a_name_of_its_own(void **state)
{
	int i, j;

	(void)state;
	for (i = 0; i < ARC_FAULT_NR; i++) {
		assert_true(strlen(arc_fault_name(i)) > 3);
		for (j = 0; j < i; j++)
			assert_string_not_equal(arc_fault_name(i), arc_fault_name(j));
	}
	assert_string_equal(arc_fault_name(ARC_FAULT_NR), "?");
}

static void warning_shows_the_caller_of_the_faulty_operation(void **state)
{
	struct thing t;

	(void)state;
	thing_init(&t);
	arc_put(&t.arc);
	arc_put(&t.arc);
	assert_int_equal(count_in_log("Call Trace:"), 1);
	assert_true(fixture_log_contains(" warning_shows_the_caller"));
	assert_false(fixture_log_contains(" arc_saturate+"));	/* the report's own making */
	assert_false(fixture_log_contains(" arc_fault_"));
	expect_warn("test_fault.c");
}

static const struct arc_type senseless_type = { .name = "senseless", .size = 8 };

static void refused_type_is_a_line_and_no_warning(void **state)
{
	struct seen seen = { .nr = 0 };

	(void)state;
	assert_int_equal(arc_type_register(&senseless_type), -EINVAL);
	assert_true(fixture_log_contains("arc_type_register: type \"senseless\" refused:"));
	expect_no_warn();
	arc_fault_policy(this_machine(), ARC_POLICY_CALL, see, &seen);
	assert_int_equal(arc_type_register(&senseless_type), -EINVAL);
	assert_int_equal(seen.nr, 1);
}

/* ---- the end of the machine ---- */

static const struct room *const rooms[] = { &hw_room, &refcount_room };

static struct machine *boot(enum machine_mode mode, unsigned int cpus)
{
	struct machine_config config = {
		.nr_cpus = cpus, .mode = mode, .mem_bytes = 16 << 20, .quiet = true,
		.quarantine = 8,
	};
	struct machine *m = machine_boot_rooms(&config, rooms, ARRAY_SIZE(rooms));

	assert_false(IS_ERR(m));
	arc_fault_policy(m, ARC_POLICY_STOP, NULL, NULL);
	return m;
}

static long puts_twice(void *arg)
{
	struct thing *t = arg;

	if (arc_type_register(&thing_type))
		return -1;
	arc_init(&t->arc, &thing_type);
	arc_put(&t->arc);
	arc_put(&t->arc);
	return 0;			/* not reached */
}

static long waits_for_ever(void *arg)
{
	for (;;)
		cpu_relax();
	return *(long *)arg;
}

static void stop_ends_the_machine_and_not_the_process(void **state)
{
	static const char text[] = "Kernel panic - not syncing: ownership fault: use-after-put";
	struct machine *m = boot(MACHINE_DETERMINISTIC, 1);
	struct machine_result r;
	struct thing t;

	(void)state;
	r = machine_call(m, 0, puts_twice, &t);
	assert_int_equal(r.end, MACHINE_BUG);
	assert_string_equal(r.message, text);
	assert_string_equal(machine_panicked(m), text);
	/* The report comes first, then the panic. */
	assert_true(karc_log_contains(machine_log(m), "refcount_t: underflow; use-after-free."));
	assert_true(karc_log_contains(machine_log(m), " object: thing at "));
	assert_true(karc_log_contains(machine_log(m), text));
	/* It runs nothing any more, and is taken apart as usual. */
	assert_int_equal(machine_call(m, 0, puts_twice, &t).end, MACHINE_BUG);
	assert_int_equal(machine_counters(m).warnings, 1);
	assert_int_equal(machine_shutdown(m), 0);
}

static long spawns_and_faults(void *arg)
{
	unsigned int i;

	for (i = 0; i < machine_nr_cpus(this_machine()); i++)
		fiber_detach(fiber_spawn(i, "bystander", waits_for_ever, arg));
	for (i = 0; i < 20; i++)
		fiber_yield();
	return puts_twice(arg);
}

static void stop_ends_the_other_tasks_too(void **state)
{
	static const enum machine_mode modes[] = { MACHINE_DETERMINISTIC, MACHINE_PARALLEL };
	struct machine_result r;
	struct machine *m;
	struct thing t;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		m = boot(modes[i], 4);
		r = machine_call(m, 0, spawns_and_faults, &t);
		assert_int_equal(r.end, MACHINE_BUG);
		assert_int_equal(machine_shutdown(m), 0);
	}
}

static long refuses_a_type(void *arg)
{
	(void)arg;
	return arc_type_register(&senseless_type);
}

static void stop_also_at_a_type_that_is_refused(void **state)
{
	struct machine *m = boot(MACHINE_DETERMINISTIC, 1);
	struct machine_result r = machine_call(m, 0, refuses_a_type, NULL);

	(void)state;
	assert_int_equal(r.end, MACHINE_BUG);
	assert_true(strstr(r.message, "ownership fault: "));
	assert_int_equal(machine_shutdown(m), 0);
}

static long asks_for_warnings(void *arg)
{
	refcount_t r = REFCOUNT_INIT(0);

	(void)arg;
	refcount_inc(&r);
	return 5;
}

static void policy_is_the_machines_own(void **state)
{
	struct machine *stern = boot(MACHINE_DETERMINISTIC, 1);
	struct machine *mild = boot(MACHINE_DETERMINISTIC, 1);

	(void)state;
	arc_fault_policy(mild, ARC_POLICY_WARN, NULL, NULL);
	assert_int_equal(machine_call(stern, 0, asks_for_warnings, NULL).end, MACHINE_BUG);
	assert_int_equal(machine_call(mild, 0, asks_for_warnings, NULL).value, 5);
	assert_int_equal(machine_counters(mild).warnings, 1);
	assert_int_equal(machine_shutdown(stern), 0);
	assert_int_equal(machine_shutdown(mild), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(handler_gets_everything_that_is_known),
		karc_unit_test(handler_is_called_each_time),
		karc_unit_test(counter_is_pinned_before_anybody_is_told),
		karc_unit_test(policy_before_comes_back),
		KARC_TESTS(each_kind_warns_once_until_reset),
		karc_unit_test(kinds_about_one_reference_each_warn_each_time),
		karc_unit_test(every_fault_is_counted),
		karc_unit_test(each_kind_has_a_name_of_its_own),
		karc_unit_test(warning_shows_the_caller_of_the_faulty_operation),
		karc_unit_test(refused_type_is_a_line_and_no_warning),
		cmocka_unit_test(stop_ends_the_machine_and_not_the_process),
		cmocka_unit_test(stop_ends_the_other_tasks_too),
		cmocka_unit_test(stop_also_at_a_type_that_is_refused),
		cmocka_unit_test(policy_is_the_machines_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
