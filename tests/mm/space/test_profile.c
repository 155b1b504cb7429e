/* SPDX-License-Identifier: MIT */
/*
 * Goal: every kernel version has exactly one row of rules.
 */
#include "space_test.h"

static void rows_cover_every_version_once(void **state)
{
	const struct mm_profile *profile, *before = NULL;
	unsigned int minor;

	(void)state;
	for (minor = 1; minor < 30; minor++) {
		profile = mm_profile_for(6, minor);
		assert_true(profile->from <= KERNEL_VERSION_CODE(6, minor));
		assert_true(profile->to > KERNEL_VERSION_CODE(6, minor));
		if (before && before != profile)
			assert_int_equal(before->to, profile->from);
		before = profile;
	}
}

static void versions_outside_get_the_nearest_row(void **state)
{
	(void)state;
	assert_ptr_equal(mm_profile_for(5, 10), mm_profile_reference());
	assert_ptr_equal(mm_profile_for(6, 1), mm_profile_reference());
	assert_ptr_equal(mm_profile_for(9, 0), mm_profile_newest());
	assert_string_equal(mm_profile_reference()->name, "linux-6.1");
}

static void rules_change_with_their_version(void **state)
{
	(void)state;
	assert_int_equal(mm_profile_for(6, 6)->anon_align, MM_ANON_ALIGN_NONE);
	assert_int_equal(mm_profile_for(6, 7)->anon_align, MM_ANON_ALIGN_LARGE);
	assert_int_equal(mm_profile_for(6, 18)->anon_align, MM_ANON_ALIGN_EXACT);
	assert_false(mm_profile_for(6, 5)->heap_strict);
	assert_true(mm_profile_for(6, 6)->heap_strict);
	assert_false(mm_profile_for(6, 15)->merge_unfaulted);
	assert_true(mm_profile_for(6, 16)->merge_unfaulted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_cover_every_version_once),
		cmocka_unit_test(versions_outside_get_the_nearest_row),
		cmocka_unit_test(rules_change_with_their_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
