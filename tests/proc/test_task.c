/* SPDX-License-Identifier: MIT */
/*
 * test_task.c - running C code as a task, and what a reference on one keeps
 *
 * Method: calls that look at current; counts; corruptions of each invariant, which the room's
 * check must report.
 */
#include "guests.h"
#include <karc/proc/signal.h>
#include <karc/mm/space/mm.h>
#include <string.h>

static long who_am_i(void *arg)
{
	struct task_struct **who = arg;

	*who = current;
	return current->pid;
}

static void current_is_the_task_inside_and_idle_outside(void **state)
{
	struct task_struct *init = start_init(), *who = NULL;

	(void)state;
	assert_int_equal(as_task(init, who_am_i, &who), init->pid);
	assert_ptr_equal(who, init);
	assert_true(current->flags & PF_IDLE);
	assert_null(init->fiber);
	end_init(init);
}

static void only_one_init(void **state)
{
	struct task_struct *init = start_init(), *second = task_create_init("second");

	(void)state;
	assert_true(IS_ERR(second));
	assert_int_equal(PTR_ERR(second), -EBUSY);
	end_init(init);
	init = start_init();
	end_init(init);
}

static void tasks_alternate_on_one_cpu_with_their_own_memory(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *a = fork_flags(init, 0), *b = fork_flags(init, 0);
	unsigned long at_a = map_anon(a, PAGE_SIZE), at_b = map_anon(b, PAGE_SIZE);
	int i;

	(void)state;
	assert_int_equal(at_a, at_b);
	for (i = 0; i < 50; i++) {
		write_byte(a, at_a, (char)i);
		write_byte(b, at_b, (char)(i + 100));
		assert_int_equal(read_byte(a, at_a), i);
		assert_int_equal((unsigned char)read_byte(b, at_b), i + 100);
	}
	exit_task(a, 0);
	exit_task(b, 0);
	put_task_struct(a);
	put_task_struct(b);
	end_init(init);
}

static void references_keep_the_struct_and_nothing_else(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);

	(void)state;
	assert_ptr_equal(get_task_struct(child), child);
	exit_task(child, 4);
	assert_int_equal(wait_for(init, child->pid, 0, NULL), child->pid);
	assert_int_equal(arc_count(&child->arc), 2);
	put_task_struct(child);
	assert_int_equal(child->exit_code, 4 << 8);
	assert_null(child->mm);
	assert_ptr_equal(child->real_parent, init);
	put_task_struct(child);
	put_task_struct(NULL);
	end_init(init);
}

static long call_again(void *arg)
{
	return task_call(arg, who_am_i, NULL).value;
}

/* The BUG is the caller's; here both are the same task, which dies of it. */
static void body_calls_a_busy_task(void)
{
	struct task_struct *init = start_init();
	struct machine_result r = task_call(init, call_again, init);

	assert_int_equal(r.end, MACHINE_BUG);
	assert_non_null(strstr(r.message, "TASK_IN_CALL"));
	assert_int_equal(init->exit_state, EXIT_DEAD);
	put_task_struct(init);
}

static void a_task_has_one_call_at_a_time(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_calls_a_busy_task);

	(void)state;
	assert_int_equal(v.nr_bugs, 1);
	assert_int_equal(v.nr_failures + v.nr_left + v.nr_violations, 0);
}

static long call_another(void *arg)
{
	struct task_struct *who = NULL, *other = arg, *self = current;

	assert_int_equal(as_task(other, who_am_i, &who), other->pid);
	assert_ptr_equal(who, other);
	assert_ptr_equal(current, self);
	return user_write((unsigned long)self->user, "x", 1);
}

static void a_task_may_call_another(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);

	(void)state;
	init->user = (void *)map_anon(init, PAGE_SIZE);
	assert_int_equal(as_task(init, call_another, child), 0);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

static unsigned long violations(const char *text)
{
	struct check_report report = { .quiet = true };

	proc_room.check(fixture_machine(), &report);
	if (report.nr_violations)
		assert_non_null(strstr(report.last, text));
	return report.nr_violations;
}

static void corrupted_trees_are_found(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);
	struct pid *pid = init->thread_pid;

	(void)state;
	assert_int_equal(violations(""), 0);
	pid->task = NULL;
	pid->nr_uses--;
	assert_int_equal(violations("I1: task"), 1);
	pid->nr_uses++;
	assert_int_equal(violations("I4: pid"), 1 + 1);
	pid->task = init;
	child->real_parent = child;
	assert_int_equal(violations("I2: task"), 1);
	child->real_parent = init;
	child->signal->leader_task = init;
	assert_int_equal(violations("I1: "), 1);
	child->signal->leader_task = child;
	child->exit_state = EXIT_ZOMBIE;
	assert_int_equal(violations("I3: zombie"), 1);
	child->exit_state = 0;
	list_del_init(&child->tasks);
	assert_int_equal(violations("I4: "), 1);
	list_add_tail(&child->tasks, &init->tasks);
	child->tgid = 1;
	assert_int_equal(violations("I5: thread"), 1);
	child->tgid = child->pid;
	child->signal->nr_threads++;
	assert_int_equal(violations("I5: "), 1);
	child->signal->nr_threads--;
	assert_int_equal(violations(""), 0);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

static long nth_init(void *arg)
{
	struct task_struct **init = arg;

	*init = task_create_init("init");
	return IS_ERR(*init) ? PTR_ERR(*init) : 0;
}

static void nth_end(void *arg)
{
	end_init(*(struct task_struct **)arg);
}

static void failed_start_leaves_nothing(void **state)
{
	struct task_struct *init;

	(void)state;
	assert_true(fixture_fail_nth(.body = nth_init, .undo = nth_end, .arg = &init) >= 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(current_is_the_task_inside_and_idle_outside),
		KARC_TESTS(only_one_init),
		KARC_TESTS(tasks_alternate_on_one_cpu_with_their_own_memory),
		KARC_TESTS(references_keep_the_struct_and_nothing_else),
		KARC_TESTS(a_task_may_call_another),
		cmocka_unit_test(a_task_has_one_call_at_a_time),
		KARC_TESTS(corrupted_trees_are_found),
		KARC_TESTS(failed_start_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
