/* SPDX-License-Identifier: MIT */
/*
 * Goal: trackers behave and report as Linux's do.
 * Method: directories of two or three references; the log is searched for the report; no memory for
 * a tracker by injection.
 */
#include "fixture.h"

#include "refcount_test.h"
#include <karc/hw/inject.h>
#include <karc/hw/ipi.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/ref_tracker.h>

static void freed_references_leave_a_clean_directory(void **state)
{
	struct ref_tracker *a = NULL, *b = NULL;
	struct ref_tracker_dir dir;

	(void)state;
	ref_tracker_dir_init(&dir, 2, "books");
	assert_int_equal(ref_tracker_alloc(&dir, &a, 0), 0);
	assert_int_equal(ref_tracker_alloc(&dir, &b, 0), 0);
	assert_non_null(a);
	assert_int_equal(ref_tracker_free(&dir, &a), 0);
	assert_int_equal(ref_tracker_free(&dir, &b), 0);
	ref_tracker_dir_exit(&dir);
	expect_no_warn();
}

static void macro_takes_the_arguments_of_every_version(void **state)
{
	struct ref_tracker_dir dir;

	(void)state;
	ref_tracker_dir_init(&dir, 4);
	assert_string_equal(dir.name, "");
	ref_tracker_dir_exit(&dir);
	ref_tracker_dir_init(&dir, 4, "books");
	assert_string_equal(dir.name, "books");
	ref_tracker_dir_exit(&dir);
	ref_tracker_dir_init(&dir, 4, "class", "a name that is longer than the room for it");
	assert_int_equal(strlen(dir.name), sizeof(dir.name) - 1);
	ref_tracker_dir_exit(&dir);
}

static void leaked_reference_is_reported_with_its_line_and_callers(void **state)
{
	struct ref_tracker *a = NULL, *b = NULL;
	struct ref_tracker_dir dir;
	char place[96];

	(void)state;
	ref_tracker_dir_init(&dir, 2, "books");
	ref_tracker_alloc(&dir, &a, 0); unsigned int line = __LINE__;
	ref_tracker_alloc(&dir, &b, 0);
	ref_tracker_free(&dir, &b);
	ref_tracker_dir_exit(&dir);
	assert_int_equal(count_in_log("ref_tracker: leaked reference."), 1);
	snprintf(place, sizeof(place), "tests/refcount/test_ref_tracker.c:%u %s", line, __func__);
	assert_true(fixture_log_contains(place));
	assert_true(fixture_log_contains("run_body+"));
	expect_warn("ref_tracker: books has 1 leaked references, 0 untracked and 0 without");
	assert_int_equal(arc_fault_count(this_machine(), ARC_FAULT_LEFT_TRACKED), 1);
}

static void second_free_is_reported_with_both_places(void **state)
{
	struct ref_tracker *a = NULL;
	struct ref_tracker_dir dir;
	char place[96];

	(void)state;
	ref_tracker_dir_init(&dir, 2, "books");
	ref_tracker_alloc(&dir, &a, 0); unsigned int got = __LINE__;
	ref_tracker_free(&dir, &a); unsigned int freed = __LINE__;
	assert_int_equal(ref_tracker_free(&dir, &a), -EINVAL);
	assert_true(fixture_log_contains("ref_tracker: reference already released."));
	assert_true(fixture_log_contains("ref_tracker: allocated in:"));
	assert_true(fixture_log_contains("ref_tracker: freed in:"));
	snprintf(place, sizeof(place), "test_ref_tracker.c:%u ", got);
	assert_true(fixture_log_contains(place));
	snprintf(place, sizeof(place), "test_ref_tracker.c:%u ", freed);
	assert_true(fixture_log_contains(place));
	expect_warn("ref_tracker: a reference on books was released twice");
	ref_tracker_dir_exit(&dir);
}

static void tracker_of_another_directory_is_refused(void **state)
{
	struct ref_tracker_dir books, papers;
	struct ref_tracker *a = NULL;

	(void)state;
	ref_tracker_dir_init(&books, 2, "books");
	ref_tracker_dir_init(&papers, 2, "papers");
	ref_tracker_alloc(&books, &a, 0);
	assert_int_equal(ref_tracker_free(&papers, &a), -EINVAL);
	expect_warn("ref_tracker: a reference on books was released on papers");
	assert_int_equal(ref_tracker_free(&books, &a), 0);
	ref_tracker_dir_exit(&papers);
	ref_tracker_dir_exit(&books);
}

static void quarantine_forgets_the_oldest(void **state)
{
	struct ref_tracker *t[3];
	struct ref_tracker_dir dir;
	unsigned int i;

	(void)state;
	ref_tracker_dir_init(&dir, 1, "books");
	for (i = 0; i < 3; i++)
		ref_tracker_alloc(&dir, &t[i], 0);
	for (i = 0; i < 3; i++)
		ref_tracker_free(&dir, &t[i]);
	assert_int_equal(dir.quarantine_avail, 0);
	assert_int_equal(list_count_nodes(&dir.quarantine), 1);
	ref_tracker_dir_exit(&dir);
}

static void references_without_tracker_are_counted(void **state)
{
	struct ref_tracker_dir dir;

	(void)state;
	ref_tracker_dir_init(&dir, 1, "books");
	assert_int_equal(ref_tracker_alloc(&dir, NULL, 0), 0);
	assert_int_equal(refcount_read(&dir.no_tracker), 2);
	assert_int_equal(ref_tracker_free(&dir, NULL), 0);
	assert_int_equal(refcount_read(&dir.no_tracker), 1);
	ref_tracker_alloc(&dir, NULL, 0);
	ref_tracker_dir_exit(&dir);
	expect_warn("books has 0 leaked references, 0 untracked and 1 without tracker");
}

static void reference_without_memory_is_untracked_and_can_be_freed(void **state)
{
	struct ref_tracker *a = (void *)1;
	struct ref_tracker_dir dir;

	(void)state;
	ref_tracker_dir_init(&dir, 1, "books");
	inject_arm(this_machine(), 1);
	assert_int_equal(ref_tracker_alloc(&dir, &a, 0), -ENOMEM);
	assert_true(inject_disarm(this_machine()));
	assert_null(a);
	assert_int_equal(refcount_read(&dir.untracked), 2);
	assert_true(fixture_log_contains("unreliable refcount tracker"));
	assert_int_equal(ref_tracker_free(&dir, &a), -EEXIST);
	ref_tracker_dir_exit(&dir);
	expect_no_warn();
}

static void use_after_exit_is_reported(void **state)
{
	struct ref_tracker *a = NULL;
	struct ref_tracker_dir dir;

	(void)state;
	ref_tracker_dir_init(&dir, 1, "books");
	ref_tracker_dir_exit(&dir);
	ref_tracker_alloc(&dir, &a, 0);
	expect_warn("ref_tracker: books is used after its exit");
	ref_tracker_free(&dir, &a);
	expect_warn("ref_tracker: books is used after its exit");
	ref_tracker_dir_exit(&dir);
}

static void users_are_grouped_by_callers(void **state)
{
	struct ref_tracker *t[4];
	struct ref_tracker_dir dir;
	char text[4096], cut[24];
	unsigned int i;
	int len;

	(void)state;
	ref_tracker_dir_init(&dir, 4, "books");
	for (i = 0; i < 3; i++)
		ref_tracker_alloc(&dir, &t[i], 0);
	ref_tracker_alloc(&dir, &t[3], 0);
	len = ref_tracker_dir_snprint(&dir, text, sizeof(text));
	assert_int_equal(len, strlen(text));
	assert_non_null(strstr(text, "has 3/4 users at\n"));
	assert_non_null(strstr(text, "has 1/4 users at\n"));
	assert_non_null(strstr(text, __func__));
	len = ref_tracker_dir_snprint(&dir, cut, sizeof(cut));
	assert_int_equal(len, sizeof(cut) - 1);
	assert_int_equal(strlen(cut), sizeof(cut) - 1);
	ref_tracker_dir_print(&dir, 2);
	assert_int_equal(count_in_log("skipped reports about 2/4 users."), 1);
	for (i = 0; i < 4; i++)
		ref_tracker_free(&dir, &t[i]);
	ref_tracker_dir_exit(&dir);
}

struct storm {
	struct ref_tracker_dir dir;
};

static long storm_fiber(void *arg)
{
	struct storm *s = arg;
	struct ref_tracker *t[5];
	unsigned int i, round;

	for (round = 0; round < 40; round++) {
		for (i = 0; i < 5; i++)
			ref_tracker_alloc(&s->dir, &t[i], 0);
		for (i = 5; i-- > 0;)
			if (ref_tracker_free(&s->dir, &t[i]))
				return 1;
	}
	return 0;
}

static void all_cpus_share_a_directory(void **state)
{
	struct fiber *fibers[8];
	struct storm s;
	unsigned int i;

	(void)state;
	ref_tracker_dir_init(&s.dir, 8, "books");
	for (i = 0; i < 8; i++)
		fibers[i] = spawn_on(i, storm_fiber, &s);
	for (i = 0; i < 8; i++)
		join_clean(fibers[i]);
	ref_tracker_dir_exit(&s.dir);
	expect_no_warn();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(freed_references_leave_a_clean_directory),
		karc_unit_test(macro_takes_the_arguments_of_every_version),
		karc_unit_test(leaked_reference_is_reported_with_its_line_and_callers),
		karc_unit_test(second_free_is_reported_with_both_places),
		karc_unit_test(tracker_of_another_directory_is_refused),
		karc_unit_test(quarantine_forgets_the_oldest),
		karc_unit_test(references_without_tracker_are_counted),
		karc_unit_test(reference_without_memory_is_untracked_and_can_be_freed),
		karc_unit_test(use_after_exit_is_reported),
		karc_unit_test(users_are_grouped_by_callers),
		KARC_TESTS(all_cpus_share_a_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
