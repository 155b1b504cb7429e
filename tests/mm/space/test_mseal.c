/* SPDX-License-Identifier: MIT */
/*
 * Goal: what is sealed stays as it is, and everything else goes on.
 */
#include "space_test.h"

static struct mm_struct *newest_mm(void)
{
	struct mm_struct *mm = new_mm();

	mm_set_layout(mm, mm_profile_newest(), NULL, false);
	return mm;
}

static void every_change_is_refused(void **state)
{
	struct mm_struct *mm = newest_mm();

	(void)state;
	map_at(mm, BASE, 8, RW);
	assert_int_equal(ksys_mseal(mm, BASE + 2 * P, 3 * P, 0), 0);
	assert_int_equal(mm->map_count, 3);
	assert_int_equal(ksys_munmap(mm, BASE + 2 * P, P), -EPERM);
	assert_int_equal(ksys_munmap(mm, BASE + P, 8 * P), -EPERM);
	assert_int_equal(ksys_mprotect(mm, BASE + 3 * P, P, PROT_READ), -EPERM);
	assert_int_equal(ksys_mremap(mm, BASE + 2 * P, P, P, MREMAP_MAYMOVE | MREMAP_FIXED,
				     BASE + 32 * P), -EPERM);
	assert_int_equal(map(mm, BASE + 4 * P, 1, RW, FIXED), -EPERM);
	assert_true(poke(mm, BASE + 3 * P, 1));
	assert_int_equal(peek(mm, BASE + 3 * P), 1);
	/* The rest of the range is the caller's. */
	assert_int_equal(ksys_munmap(mm, BASE, 2 * P), 0);
	assert_int_equal(ksys_munmap(mm, BASE + 5 * P, 3 * P), 0);
	assert_ranges(mm, "10002000-10005000 rw-p");
	mmput(mm);
}

static void only_what_can_be_written_again_may_be_discarded(void **state)
{
	struct mm_struct *mm = newest_mm();

	(void)state;
	map_at(mm, BASE, 2, RW);
	map_at(mm, BASE + 4 * P, 2, PROT_READ);
	assert_int_equal(ksys_mseal(mm, BASE, 2 * P, 0), 0);
	assert_int_equal(ksys_mseal(mm, BASE + 4 * P, 2 * P, 0), 0);
	assert_int_equal(ksys_madvise(mm, BASE, P, MADV_DONTNEED), 0);
	assert_int_equal(ksys_madvise(mm, BASE + 4 * P, P, MADV_DONTNEED), -EPERM);
	assert_int_equal(ksys_madvise(mm, BASE + 4 * P, P, MADV_DONTDUMP), 0);
	assert_int_equal(ksys_mlock(mm, BASE, 2 * P), 0);
	check_mm_clean(mm);
	mmput(mm);
}

static void ranges_are_checked_and_holes_refused_whole(void **state)
{
	struct mm_struct *mm = newest_mm();

	(void)state;
	map_at(mm, BASE, 2, RW);
	map_at(mm, BASE + 3 * P, 1, RW);
	assert_int_equal(ksys_mseal(mm, BASE, P, 1), -EINVAL);
	assert_int_equal(ksys_mseal(mm, BASE + 1, P, 0), -EINVAL);
	assert_int_equal(ksys_mseal(mm, BASE, ~0UL, 0), -EINVAL);
	assert_int_equal(ksys_mseal(mm, BASE, 0, 0), 0);
	assert_int_equal(ksys_mseal(mm, BASE, 4 * P, 0), -ENOMEM);
	assert_int_equal(ksys_mseal(mm, BASE - P, 2 * P, 0), -ENOMEM);
	assert_int_equal(ksys_munmap(mm, BASE, 4 * P), 0);
	mm->profile = mm_profile_reference();
	assert_int_equal(ksys_mseal(mm, BASE, P, 0), -ENOSYS);
	mmput(mm);
}

static long nth_seal(void *arg)
{
	return ksys_mseal(arg, BASE + 2 * P, 3 * P, 0);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	space_snapshot(arg, values);
}

static void failing_to_seal_changes_nothing(void **state)
{
	struct mm_struct *mm = newest_mm();

	(void)state;
	map_at(mm, BASE, 8, RW);
	assert_int_equal(fixture_fail_nth(.body = nth_seal, .snapshot = nth_snapshot, .arg = mm),
			 2);
	assert_int_equal(mm->map_count, 3);
	check_mm_clean(mm);
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(every_change_is_refused),
		karc_unit_test(only_what_can_be_written_again_may_be_discarded),
		karc_unit_test(ranges_are_checked_and_holes_refused_whole),
		karc_unit_test(failing_to_seal_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
