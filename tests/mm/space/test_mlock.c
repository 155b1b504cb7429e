/* SPDX-License-Identifier: MIT */
/*
 * Goal: locked memory is there, is counted exactly, stays within its limit, and is told by Linux's
 * errors when it cannot be.
 */
#include "space_test.h"

static void locking_brings_the_pages_in_and_splits(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 8, RW);
	assert_true(poke(mm, BASE, 1));
	assert_int_equal(ksys_mlock(mm, BASE + 2 * P + 5, 3 * P), 0);
	assert_int_equal(mm->map_count, 3);
	assert_int_equal(mm->locked_vm, 4);
	assert_int_equal(get_mm_rss(mm), 5);
	/* Twice is once; together they are one again. */
	assert_int_equal(ksys_mlock(mm, BASE + P, 3 * P), 0);
	assert_int_equal(mm->locked_vm, 5);
	assert_int_equal(ksys_munlock(mm, BASE, 8 * P), 0);
	assert_int_equal(mm->locked_vm, 0);
	assert_ranges(mm, "10000000-10008000 rw-p");
	check_mm_clean(mm);
	mmput(mm);
}

static void on_fault_waits_for_the_touch(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 4, RW);
	assert_int_equal(ksys_mlock2(mm, BASE, P, 2), -EINVAL);
	assert_int_equal(ksys_mlock2(mm, BASE, 4 * P, MLOCK_ONFAULT), 0);
	assert_int_equal(mm->locked_vm, 4);
	assert_int_equal(get_mm_rss(mm), 0);
	assert_int_equal(nr_mlocked_pages(), 0);
	/* A plain lock over it wants the pages. */
	assert_int_equal(ksys_mlock2(mm, BASE, 2 * P, 0), 0);
	assert_int_equal(mm->locked_vm, 4);
	assert_int_equal(get_mm_rss(mm), 2);
	assert_int_equal(nr_mlocked_pages(), 2);
	assert_true(poke(mm, BASE + 3 * P, 1));
	assert_int_equal(nr_mlocked_pages(), 3);
	check_mm_clean(mm);
	mmput(mm);
}

static void errors_are_linux(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 1);

	(void)state;
	assert_int_equal(ksys_mlock(mm, BASE, P), -ENOMEM);
	assert_int_equal(ksys_mlock(mm, BASE, 0), 0);
	assert_int_equal(ksys_munlock(mm, BASE, P), -ENOMEM);
	assert_int_equal(ksys_munlock(mm, TASK_SIZE, ~0UL - TASK_SIZE - 2 * P), -ENOMEM);
	assert_int_equal(ksys_munlock(mm, ~0UL - 2 * P, 8 * P), -EINVAL);
	/* Up to the hole it is locked all the same. */
	map_at(mm, BASE, 2, RW);
	map_at(mm, BASE + 3 * P, 1, RW);
	assert_int_equal(ksys_mlock(mm, BASE, 4 * P), -ENOMEM);
	assert_int_equal(mm->locked_vm, 2);
	assert_int_equal(ksys_munlockall(mm), 0);
	/* What cannot be touched cannot be brought in; it counts as locked. */
	map_at(mm, BASE + 8 * P, 1, PROT_NONE);
	assert_int_equal(ksys_mlock(mm, BASE + 8 * P, P), -ENOMEM);
	assert_int_equal(mm->locked_vm, 1);
	assert_int_equal(ksys_mmap(mm, BASE + 16 * P, 2 * P, PROT_READ, MAP_SHARED | MAP_FIXED,
				   file, 0), BASE + 16 * P);
	assert_int_equal(ksys_mlock(mm, BASE + 16 * P, P), 0);
	assert_int_equal(ksys_mlock(mm, BASE + 16 * P, 2 * P), -ENOMEM);
	check_mm_clean(mm);
	mmput(mm);
	fput(file);
}

static void the_limit_counts_pages_once(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 8, RW);
	mm->rlim.memlock = 4 * P;
	assert_int_equal(ksys_mlock(mm, BASE, 5 * P), -ENOMEM);
	assert_int_equal(ksys_mlock(mm, BASE, 3 * P), 0);
	/* Three of the four are locked already. */
	assert_int_equal(ksys_mlock(mm, BASE, 4 * P), 0);
	assert_int_equal(ksys_mlock(mm, BASE + 4 * P, P), -ENOMEM);
	assert_int_equal(ksys_mlockall(mm, MCL_CURRENT), -ENOMEM);
	assert_int_equal(mm->locked_vm, 4);
	mm->rlim.memlock = 0;
	assert_int_equal(ksys_mlock(mm, BASE, P), -EPERM);
	assert_int_equal(ksys_mlockall(mm, MCL_FUTURE), -EPERM);
	assert_int_equal(map(mm, 0, 1, RW, ANON | MAP_LOCKED), -EPERM);
	assert_int_equal(ksys_munlock(mm, BASE, 8 * P), 0);
	mm_flag_assign(mm, MMF_CAPABLE, true);
	assert_int_equal(ksys_mlock(mm, BASE, 8 * P), 0);
	assert_int_equal(mm->locked_vm, 8);
	check_mm_clean(mm);
	mmput(mm);
}

static void mlockall_has_a_present_and_a_future(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned long at;

	(void)state;
	assert_int_equal(ksys_mlockall(mm, 0), -EINVAL);
	assert_int_equal(ksys_mlockall(mm, MCL_ONFAULT), -EINVAL);
	assert_int_equal(ksys_mlockall(mm, 8), -EINVAL);
	map_at(mm, BASE, 2, RW);
	map_at(mm, BASE + 4 * P, 2, PROT_NONE);
	assert_int_equal(ksys_mlockall(mm, MCL_CURRENT), 0);
	assert_int_equal(mm->locked_vm, 4);
	assert_int_equal(get_mm_rss(mm), 2);
	map_at(mm, BASE + 8 * P, 2, RW);
	assert_int_equal(mm->locked_vm, 4);
	assert_int_equal(ksys_mlockall(mm, MCL_FUTURE), 0);
	map_at(mm, BASE + 16 * P, 2, RW);
	assert_int_equal(mm->locked_vm, 6);
	assert_int_equal(get_mm_rss(mm), 4);
	assert_int_equal(ksys_brk(mm, 0x603000), 0x603000);
	assert_int_equal(mm->locked_vm, 9);
	assert_int_equal(get_mm_rss(mm), 7);
	assert_int_equal(ksys_mlockall(mm, MCL_FUTURE | MCL_ONFAULT), 0);
	at = (unsigned long)map(mm, 0, 3, RW, ANON);
	assert_int_equal(mm->locked_vm, 12);
	assert_int_equal(get_mm_rss(mm), 7);
	assert_true(poke(mm, at, 1));
	assert_int_equal(ksys_munlockall(mm), 0);
	assert_int_equal(mm->locked_vm, 0);
	assert_int_equal(mm->def_flags, 0);
	check_mm_clean(mm);
	mmput(mm);
}

static void the_kernels_own_mappings_are_passed_over(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_true(map_vdso(mm, 4 * P, 2 * P) > 0);
	assert_int_equal(ksys_mlockall(mm, MCL_CURRENT | MCL_FUTURE), 0);
	assert_int_equal(mm->locked_vm, 0);
	check_mm_clean(mm);
	mmput(mm);
}

static void a_fork_is_not_locked(void **state)
{
	struct mm_struct *mm = new_mm(), *child;

	(void)state;
	map_at(mm, BASE, 4, RW);
	assert_int_equal(ksys_mlockall(mm, MCL_CURRENT | MCL_FUTURE), 0);
	child = dup_mm(mm);
	assert_non_null(child);
	assert_int_equal(child->locked_vm, 0);
	assert_int_equal(child->def_flags, 0);
	assert_int_equal(mm->locked_vm, 4);
	check_mm_clean(child);
	mmput(child);
	mmput(mm);
}

static long nth_lock(void *arg)
{
	return ksys_mlock(arg, BASE + 2 * P, 3 * P);
}

/* Pages that were brought in before may stay; nothing else may. */
static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct mm_struct *mm = arg;

	/* The flags are as wanted once they are changed: only the pages could not be had. */
	if (mm->locked_vm)
		assert_int_equal(ksys_munlock(mm, BASE, 8 * P), 0);
	zap_page_range_single(vma_lookup(mm, BASE), BASE, 8 * P);
	space_snapshot(mm, values);
	values[12] = 0;			/* empty tables stay */
	values[9] = 0;			/* and the anon_vma, once made */
}

static void failing_to_lock_leaves_a_sound_space(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 8, RW);
	assert_true(poke(mm, BASE, 1));
	assert_true(fixture_fail_nth(.body = nth_lock, .snapshot = nth_snapshot, .arg = mm) >= 3);
	assert_int_equal(mm->locked_vm, 3);
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(locking_brings_the_pages_in_and_splits),
		karc_unit_test(on_fault_waits_for_the_touch),
		karc_unit_test(errors_are_linux),
		karc_unit_test(the_limit_counts_pages_once),
		KARC_TESTS(mlockall_has_a_present_and_a_future),
		karc_unit_test(the_kernels_own_mappings_are_passed_over),
		karc_unit_test(a_fork_is_not_locked),
		karc_unit_test(failing_to_lock_leaves_a_sound_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
