/* SPDX-License-Identifier: MIT */
/*
 * Goal: what is not built says -ENOSYS, and nothing else happens.
 */
#include "space_test.h"

static void calls_that_are_not_built_say_so(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned char vec[4];

	(void)state;
	map_at(mm, BASE, 4, RW);
	assert_int_equal(ksys_mremap(mm, BASE, P, 2 * P, 0, 0), -ENOSYS);
	assert_int_equal(ksys_madvise(mm, BASE, P, 4), -ENOSYS);
	assert_int_equal(ksys_mlock(mm, BASE, P, 0), -ENOSYS);
	assert_int_equal(ksys_munlock(mm, BASE, P), -ENOSYS);
	assert_int_equal(ksys_mlockall(mm, 1), -ENOSYS);
	assert_int_equal(ksys_munlockall(mm), -ENOSYS);
	assert_int_equal(ksys_msync(mm, BASE, P, 0), -ENOSYS);
	assert_int_equal(ksys_mincore(mm, BASE, P, vec), -ENOSYS);
	assert_int_equal(ksys_remap_file_pages(mm, BASE, P, 0, 0, 0), -ENOSYS);
	assert_ranges(mm, "10000000-10004000 rw-p");
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(calls_that_are_not_built_say_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
