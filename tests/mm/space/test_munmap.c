/* SPDX-License-Identifier: MIT */
/*
 * Goal: munmap takes out exactly the range, pages and promises with it, or nothing at all.
 */
#include "space_test.h"

#include <karc/hw/inject.h>

static void bad_ranges_are_refused(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 2, RW);
	assert_int_equal(ksys_munmap(mm, BASE, 0), -EINVAL);
	assert_int_equal(ksys_munmap(mm, BASE + 1, P), -EINVAL);
	assert_int_equal(ksys_munmap(mm, TASK_SIZE + P, P), -EINVAL);
	assert_int_equal(ksys_munmap(mm, TASK_SIZE - P, 2 * P), -EINVAL);
	assert_int_equal(ksys_munmap(mm, BASE, ~0UL), -EINVAL);
	assert_int_equal(ksys_munmap(mm, 0, TASK_SIZE + 1), -EINVAL);
	assert_int_equal(mm->map_count, 1);
	/* Where nothing is mapped there is nothing to complain about. */
	assert_int_equal(ksys_munmap(mm, BASE + 16 * P, P), 0);
	assert_int_equal(ksys_munmap(mm, 0, TASK_SIZE), 0);
	assert_int_equal(mm->map_count, 0);
	mmput(mm);
}

static void hole_in_the_middle_splits(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned int i;

	(void)state;
	map_at(mm, BASE, 8, RW);
	for (i = 0; i < 8; i++)
		assert_true(poke(mm, BASE + i * P, (unsigned char)(i + 1)));
	assert_int_equal(ksys_munmap(mm, BASE + 3 * P, 2 * P - 1), 0);
	assert_ranges(mm, "10000000-10003000 rw-p, 10005000-10008000 rw-p");
	assert_int_equal(get_mm_rss(mm), 6);
	assert_int_equal(vm_memory_committed(), 6);
	for (i = 0; i < 8; i++)
		assert_int_equal(peek(mm, BASE + i * P), i == 3 || i == 4 ? -1 : (int)i + 1);
	check_mm_clean(mm);
	mmput(mm);
}

static void one_call_takes_many_mappings_and_parts_of_two(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned long i;

	(void)state;
	for (i = 0; i < 6; i++)
		map_at(mm, BASE + 4 * i * P, 3, i % 2 ? RW : PROT_READ);
	assert_int_equal(ksys_munmap(mm, BASE + P, 17 * P), 0);
	assert_ranges(mm, "10000000-10001000 r--p, 10012000-10013000 r--p, 10014000-10017000 rw-p");
	check_mm_clean(mm);
	mmput(mm);
}

static void frames_and_tables_come_back(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned long free, i;

	(void)state;
	map_at(mm, BASE, 1, RW);
	assert_true(poke(mm, BASE, 1));
	assert_int_equal(ksys_munmap(mm, BASE, P), 0);
	machine_quiesce(this_machine());
	free = phys_nr_free(this_machine());
	map_at(mm, BASE, 600, RW);
	for (i = 0; i < 600; i++)
		assert_true(poke(mm, BASE + i * P, 1));
	assert_true(phys_nr_free(this_machine()) + 600 <= free);
	assert_int_equal(ksys_munmap(mm, BASE, 600 * P), 0);
	assert_int_equal(atomic_long_read(&mm->pgtables_bytes), 0);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), free);
	mmput(mm);
}

static void hole_needs_room_for_one_more_mapping(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 8, RW);
	map_at(mm, BASE + 16 * P, 8, RW);
	space_sysctl()->max_map_count = 2;
	assert_int_equal(ksys_munmap(mm, BASE + P, P), -ENOMEM);
	assert_int_equal(mm->map_count, 2);
	/* Cutting off ends leaves no more mappings than before. */
	assert_int_equal(ksys_munmap(mm, BASE, P), 0);
	assert_int_equal(ksys_munmap(mm, BASE + 7 * P, P), 0);
	assert_int_equal(ksys_munmap(mm, BASE + 6 * P, 12 * P), 0);
	assert_int_equal(mm->map_count, 2);
	space_sysctl()->max_map_count = 3;
	assert_int_equal(ksys_munmap(mm, BASE + 3 * P, P), 0);
	assert_int_equal(mm->map_count, 3);
	mmput(mm);
}

static long nth_munmap(void *arg)
{
	return ksys_munmap(arg, BASE + 3 * P, 2 * P);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	space_snapshot(arg, values);
	values[20] = (u64)peek(arg, BASE + 3 * P);
}

static void split_failing_anywhere_changes_nothing(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 8, RW);
	assert_true(poke(mm, BASE + 3 * P, 3));
	assert_true(fixture_fail_nth(.body = nth_munmap, .snapshot = nth_snapshot, .arg = mm) >= 2);
	assert_int_equal(mm->map_count, 2);
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(bad_ranges_are_refused),
		KARC_TESTS(hole_in_the_middle_splits),
		KARC_TESTS(one_call_takes_many_mappings_and_parts_of_two),
		KARC_TESTS(frames_and_tables_come_back),
		karc_unit_test(hole_needs_room_for_one_more_mapping),
		KARC_TESTS(split_failing_anywhere_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
