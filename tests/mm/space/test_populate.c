/* SPDX-License-Identifier: MIT */
/*
 * Goal: faulting in ahead goes over holes and refusals as far as Linux does, and writes only where
 * a private page is due.
 */
#include "space_test.h"

static void populate_passes_over_what_refuses(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 1);

	(void)state;
	map_at(mm, BASE, 2, RW);
	map_at(mm, BASE + 4 * P, 2, PROT_NONE);
	assert_int_equal(ksys_mmap(mm, BASE + 6 * P, 3 * P, PROT_READ, MAP_SHARED | MAP_FIXED, file,
				   0), BASE + 6 * P);
	map_at(mm, BASE + 12 * P, 200, RW);
	mm_populate(mm, BASE, 212 * P);
	/* Beyond the end of the file there is nothing; after it things go on. */
	assert_int_equal(get_mm_rss(mm), 2 + 1 + 200);
	mm_populate(mm, BASE + 300 * P, 8 * P);
	mmput(mm);
	fput(file);
}

static void private_pages_are_copied_ahead_shared_ones_only_read(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 2);

	(void)state;
	assert_int_equal(ksys_mmap(mm, BASE, P, RW, MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, file,
				   0), BASE);
	assert_int_equal(ksys_mmap(mm, BASE + P, P, RW, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file,
				   0), BASE + P);
	assert_int_equal(ksys_mmap(mm, BASE + 2 * P, P, PROT_READ, MAP_PRIVATE | MAP_FIXED |
				   MAP_POPULATE, file, 0), BASE + 2 * P);
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 1);
	assert_int_equal(get_mm_counter(mm, MM_FILEPAGES), 2);
	assert_false(pte_dirty(mm_lookup_pte(mm, BASE + P)));
	/* Write-only memory can be brought in too. */
	assert_int_equal(map(mm, BASE + 4 * P, 1, PROT_WRITE, FIXED | MAP_POPULATE), BASE + 4 * P);
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 2);
	mmput(mm);
	fput(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(populate_passes_over_what_refuses),
		karc_unit_test(private_pages_are_copied_ahead_shared_ones_only_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
