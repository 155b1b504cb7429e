/* SPDX-License-Identifier: MIT */
/*
 * Goal: copies are whole, ended, and fail cleanly.
 * Method: small strings compared; fail-nth.
 */
#include "fixture.h"

#include <errno.h>

#include <karc/hw/inject.h>
#include <karc/mm/slab/kmalloc.h>

static void copies_are_whole(void **state)
{
	char *a = kstrdup("hello", GFP_KERNEL), *b = kstrndup("hello", 3, GFP_KERNEL);
	char *c = kmemdup("a\0b", 4, GFP_KERNEL), *d = kmemdup_nul("xyz", 2, GFP_KERNEL);
	char *e = kasprintf(GFP_KERNEL, "%d-%s", 42, "end");

	(void)state;
	assert_string_equal(a, "hello");
	assert_string_equal(b, "hel");
	assert_memory_equal(c, "a\0b", 4);
	assert_string_equal(d, "xy");
	assert_string_equal(e, "42-end");
	kfree(a);
	kfree(b);
	kfree(c);
	kfree(d);
	kfree(e);
}

static void nothing_gives_nothing(void **state)
{
	(void)state;
	assert_null(kstrdup(NULL, GFP_KERNEL));
	assert_null(kstrndup(NULL, 3, GFP_KERNEL));
	assert_null(kmemdup_nul(NULL, 3, GFP_KERNEL));
}

static char *nth_copy;

static long nth_print(void *arg)
{
	(void)arg;
	nth_copy = kasprintf(GFP_KERNEL, "%s", "text");
	return nth_copy ? 0 : -ENOMEM;
}

static void nth_free(void *arg)
{
	(void)arg;
	kfree(nth_copy);
}

static void injected_failure_is_null(void **state)
{
	(void)state;
	assert_true(fixture_fail_nth(.body = nth_print, .undo = nth_free) >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(copies_are_whole),
		karc_unit_test(nothing_gives_nothing),
		karc_unit_test(injected_failure_is_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
