/* SPDX-License-Identifier: MIT */
/*
 * test_pid.c - the table owns nothing, and numbers are not given twice while held
 */
#include "guests.h"
#include <stdio.h>
#include <string.h>

/* What alloc_pid() answers for a number; a pid that it gives is put. */
static long answer_for(pid_t want)
{
	struct pid *pid = alloc_pid(want);

	if (IS_ERR(pid))
		return PTR_ERR(pid);
	put_pid(pid);
	return 0;
}

static void numbers_count_up_and_are_found(void **state)
{
	struct pid *a = alloc_pid(0), *b = alloc_pid(0), *found;

	(void)state;
	assert_int_equal(pid_nr(b), pid_nr(a) + 1);
	found = find_get_pid(pid_nr(a));
	assert_ptr_equal(found, a);
	assert_int_equal(arc_count(&a->arc), 2);
	put_pid(found);
	put_pid(a);
	put_pid(b);
	assert_null(find_get_pid(0));
	assert_null(find_get_pid(-5));
}

static void the_last_put_takes_it_out_of_the_table(void **state)
{
	struct pid *a = alloc_pid(100);
	pid_t nr = pid_nr(a);

	(void)state;
	assert_int_equal(answer_for(100), -EEXIST);
	put_pid(a);
	assert_null(find_get_pid(nr));
	a = alloc_pid(100);
	assert_false(IS_ERR(a));
	put_pid(a);
}

static void a_held_pid_outlives_its_task(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);
	struct pid *pid = get_pid(child->thread_pid);
	struct pid *again, *found;
	pid_t nr = child->pid;

	(void)state;
	exit_task(child, 0);
	found = find_get_pid(nr);		/* a zombie has its number still */
	assert_ptr_equal(found, pid);
	put_pid(found);
	wait_for(init, nr, 0, NULL);
	put_task_struct(child);
	assert_null(find_get_task_by_vpid(nr));
	assert_null(find_get_pid(nr));
	assert_null(pid->task);
	assert_int_equal(pid_nr(pid), nr);
	again = alloc_pid(nr);			/* the number may belong to another one */
	assert_false(IS_ERR(again));
	put_pid(pid);
	found = find_get_pid(nr);
	assert_ptr_equal(found, again);
	put_pid(found);
	put_pid(again);
	end_init(init);
}

static void numbers_have_bounds(void **state)
{
	(void)state;
	assert_int_equal(answer_for(PID_MAX_LIMIT - 1), 0);
	assert_int_equal(answer_for(PID_MAX_LIMIT), -EINVAL);
	assert_int_equal(answer_for(-1), -EINVAL);
	assert_int_equal(pid_nr(NULL), 0);
}

/* After the last number come those from 300 on; what is in use is left out. */
static void numbers_wrap_around(void **state)
{
	struct pid *kept = alloc_pid(301), *pid = NULL;
	int i;

	(void)state;
	for (i = 0; i < PID_MAX_DEFAULT - 1; i++) {
		pid = alloc_pid(0);
		assert_false(IS_ERR(pid));
		put_pid(pid);
	}
	pid = alloc_pid(0);
	assert_int_equal(pid_nr(pid), 302);
	put_pid(pid);
	put_pid(kept);
}

static void corrupted_table_is_found(void **state)
{
	struct check_report report = { .quiet = true };
	struct pid *pid = alloc_pid(77);

	(void)state;
	pid->nr = 78;
	proc_room.check(fixture_machine(), &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "I1"));
	pid->nr = 77;
	put_pid(pid);
}

static long nth_alloc(void *arg)
{
	struct pid **pid = arg;

	*pid = alloc_pid(0);
	return IS_ERR(*pid) ? PTR_ERR(*pid) : 0;
}

static void nth_put(void *arg)
{
	put_pid(*(struct pid **)arg);
}

static void failed_allocation_gives_no_number_away(void **state)
{
	struct pid *pid;

	(void)state;
	assert_true(fixture_fail_nth(.body = nth_alloc, .undo = nth_put, .arg = &pid) >= 2);
}

static struct pid *left_behind;

enum { LEAK_LINE = __LINE__ + 4 };

static void body_leaks_a_pid(void)
{
	left_behind = alloc_pid(0);
}

static void leaked_pid_is_named(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_leaks_a_pid);
	char site[64];

	(void)state;
	snprintf(site, sizeof(site), "test_pid.c:%d body_leaks_a_pid", LEAK_LINE);
	assert_true(v.red);
	assert_non_null(strstr(v.reason, "1 pid"));
	assert_non_null(strstr(v.reason, site));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(numbers_count_up_and_are_found),
		KARC_TESTS(the_last_put_takes_it_out_of_the_table),
		KARC_TESTS(a_held_pid_outlives_its_task),
		KARC_TESTS(numbers_have_bounds),
		KARC_TESTS(numbers_wrap_around),
		KARC_TESTS(corrupted_table_is_found),
		KARC_TESTS(failed_allocation_gives_no_number_away),
		cmocka_unit_test(leaked_pid_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
