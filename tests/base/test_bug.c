/* SPDX-License-Identifier: MIT */
/*
 * Goal: assertions call the hooks with the right record and text; without hooks they print, and
 * BUG aborts.
 * Method: this file defines the hooks itself; a BUG jumps back into the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <karc/base/bug.h>

static struct {
	jmp_buf back;
	const struct bug_site *site;
	char msg[600];
	int nr_warnings;
	const void *seen_key;
} caught;

void karc_bug_hook(const struct bug_site *site, const char *msg)
{
	caught.site = site;
	snprintf(caught.msg, sizeof(caught.msg), "%s", msg);
	longjmp(caught.back, 1);
}

void karc_warn_hook(const struct bug_site *site, const char *msg)
{
	caught.site = site;
	caught.nr_warnings++;
	snprintf(caught.msg, sizeof(caught.msg), "%s", msg);
}

bool karc_once_hook(const void *key)
{
	bool first = caught.seen_key != key;

	caught.seen_key = key;
	return first;
}

static int forget(void **state)
{
	(void)state;
	memset(&caught, 0, sizeof(caught));
	return 0;
}

static void bug_on_names_its_condition_and_place(void **state)
{
	volatile int line = 0;

	(void)state;
	if (!setjmp(caught.back)) {
		line = __LINE__ + 1;
		BUG_ON(line > 0 && 1 < 2);
		fail_msg("BUG_ON returned");
	}
	assert_string_equal(caught.site->text, "line > 0 && 1 < 2");
	assert_int_equal(caught.site->site.line, line);
	assert_string_equal(caught.site->site.func, __func__);
	assert_non_null(strstr(caught.site->site.file, "test_bug.c"));
	assert_string_equal(caught.msg, "");
}

static void bug_does_not_return(void **state)
{
	(void)state;
	if (!setjmp(caught.back)) {
		BUG();
		fail_msg("BUG returned");
	}
	assert_string_equal(caught.site->text, "");
}

static void false_conditions_do_nothing_and_are_evaluated_once(void **state)
{
	int n = 0;

	(void)state;
	BUG_ON(n++ > 0);
	assert_false(WARN_ON(n++ > 1));
	assert_false(WARN(n++ > 2, "no %d\n", n));
	assert_false(WARN_ON_ONCE(n++ > 3));
	assert_false(WARN_ONCE(n++ > 4, "no\n"));
	assert_int_equal(n, 5);
	assert_null(caught.site);
}

static void warnings_return_their_condition_and_drop_the_newline(void **state)
{
	(void)state;
	assert_true(WARN_ON(caught.nr_warnings == 0));
	assert_string_equal(caught.msg, "");
	assert_true(WARN(7, "count %d of %s\n", 3, "pages"));
	assert_string_equal(caught.msg, "count 3 of pages");
	assert_int_equal(caught.nr_warnings, 2);
}

static void long_messages_are_cut(void **state)
{
	char text[900];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	WARN(1, "%s", text);
	assert_int_equal(strlen(caught.msg), 511);
}

static void once_warns_once_for_each_place(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		assert_true(WARN_ON_ONCE(true));
	assert_int_equal(caught.nr_warnings, 1);
	for (i = 0; i < 3; i++)
		assert_true(WARN_ONCE(true, "round %d", i));
	assert_int_equal(caught.nr_warnings, 2);
	assert_string_equal(caught.msg, "round 0");
}

static void vm_bug_on_exists_in_debug_builds_only(void **state)
{
	volatile bool evaluated = false, bugged = false;

	(void)state;
	if (setjmp(caught.back))
		bugged = true;
	else
		VM_BUG_ON((evaluated = true));
#ifdef KARC_DEBUG
	assert_true(evaluated && bugged);
#else
	assert_false(evaluated || bugged);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bug_on_names_its_condition_and_place, forget),
		cmocka_unit_test_setup(bug_does_not_return, forget),
		cmocka_unit_test_setup(false_conditions_do_nothing_and_are_evaluated_once, forget),
		cmocka_unit_test_setup(warnings_return_their_condition_and_drop_the_newline, forget),
		cmocka_unit_test_setup(long_messages_are_cut, forget),
		cmocka_unit_test_setup(once_warns_once_for_each_place, forget),
		cmocka_unit_test_setup(vm_bug_on_exists_in_debug_builds_only, forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
