/* SPDX-License-Identifier: MIT */
/*
 * Goal: mprotect changes what it may, in Linux's order of errors, and keeps promises counted.
 */
#include "space_test.h"

#include <fcntl.h>

#include <karc/hw/inject.h>

static void bad_arguments_are_refused(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 4, RW);
	assert_int_equal(ksys_mprotect(mm, BASE + 1, P, RW), -EINVAL);
	assert_int_equal(ksys_mprotect(mm, BASE, P, 0x100), -EINVAL);
	assert_int_equal(ksys_mprotect(mm, BASE, P, RW | PROT_GROWSDOWN | PROT_GROWSUP), -EINVAL);
	assert_int_equal(ksys_mprotect(mm, BASE, 0, 0x100), 0);
	assert_int_equal(ksys_mprotect(mm, BASE, ~0UL, RW), -ENOMEM);
	assert_int_equal(ksys_mprotect(mm, BASE - P, P, RW), -ENOMEM);
	assert_int_equal(ksys_mprotect(mm, TASK_SIZE, P, RW), -ENOMEM);
	assert_int_equal(ksys_mprotect(mm, BASE, P, RW | PROT_GROWSDOWN), -EINVAL);
	assert_int_equal(ksys_mprotect(mm, BASE, P, RW | PROT_GROWSUP), -EINVAL);
	assert_ranges(mm, "10000000-10004000 rw-p");
	assert_int_equal(ksys_mprotect(mm, BASE, P, RW | PROT_SEM), 0);
	mmput(mm);
}

/* What lies before the hole is changed, as in Linux. */
static void a_hole_ends_the_call_half_way(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 2, RW);
	map_at(mm, BASE + 3 * P, 2, RW);
	assert_int_equal(ksys_mprotect(mm, BASE, 5 * P, PROT_READ), -ENOMEM);
	assert_ranges(mm, "10000000-10002000 r--p, 10003000-10005000 rw-p");
	assert_int_equal(ksys_mprotect(mm, BASE + 4 * P, 3 * P, PROT_READ), -ENOMEM);
	assert_ranges(mm, "10000000-10002000 r--p, 10003000-10004000 rw-p, 10004000-10005000 r--p");
	mmput(mm);
}

static void rights_decide_about_accesses(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 1, RW);
	assert_true(poke(mm, BASE, 5));
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_READ), 0);
	assert_false(poke(mm, BASE, 6));
	assert_int_equal(peek(mm, BASE), 5);
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_NONE), 0);
	assert_int_equal(peek(mm, BASE), -1);
	assert_int_equal(ksys_mprotect(mm, BASE, P, RW), 0);
	assert_int_equal(peek(mm, BASE), 5);
	assert_true(poke(mm, BASE, 7));
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_WRITE), 0);
	assert_true(poke(mm, BASE, 8));
	mmput(mm);
}

static void shared_read_only_file_never_becomes_writable(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 4), *rdonly = reopen(file, O_RDONLY);

	(void)state;
	map_at(mm, BASE, 1, RW);
	assert_int_equal(ksys_mmap(mm, BASE + P, P, PROT_READ, MAP_SHARED | MAP_FIXED, rdonly, 0),
			 BASE + P);
	/* The first mapping is changed before the second is looked at. */
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, RW | PROT_EXEC), -EACCES);
	assert_ranges(mm, "10000000-10001000 rwxp, 10001000-10002000 r--s");
	assert_int_equal(ksys_mprotect(mm, BASE + P, P, PROT_READ | PROT_EXEC), 0);
	mmput(mm);
	fput(rdonly);
	fput(file);
}

static void becoming_writable_is_a_promise(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 4, PROT_NONE);
	assert_int_equal(vm_memory_committed(), 0);
	assert_int_equal(mm->data_vm, 0);
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, RW), 0);
	assert_int_equal(vm_memory_committed(), 2);
	assert_int_equal(mm->data_vm, 2);
	/* 6.1 keeps the promise of what was writable once. */
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, PROT_NONE), 0);
	assert_int_equal(vm_memory_committed(), 2);
	assert_int_equal(mm->map_count, 2);
	assert_int_equal(ksys_munmap(mm, BASE, 4 * P), 0);
	assert_int_equal(vm_memory_committed(), 0);
	mmput(mm);
}

static void newer_kernels_take_untouched_promises_back(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	mm_set_layout(mm, mm_profile_newest(), NULL, false);
	map_at(mm, BASE, 4, RW);
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_READ), 0);
	assert_int_equal(vm_memory_committed(), 3);
	assert_true(poke(mm, BASE + P, 1));
	assert_int_equal(ksys_mprotect(mm, BASE + P, P, PROT_READ), 0);
	assert_int_equal(vm_memory_committed(), 3);
	mmput(mm);
	assert_int_equal(vm_memory_committed(), 0);
}

static void refused_promise_changes_nothing(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned long committed;

	(void)state;
	map_at(mm, BASE, 4, PROT_READ);
	space_sysctl()->overcommit_memory = OVERCOMMIT_NEVER;
	space_sysctl()->overcommit_kbytes = 4;
	committed = vm_memory_committed();
	assert_int_equal(ksys_mprotect(mm, BASE, 4 * P, RW), -ENOMEM);
	assert_int_equal(vm_memory_committed(), committed);
	assert_ranges(mm, "10000000-10004000 r--p");
	space_sysctl()->overcommit_memory = OVERCOMMIT_GUESS;
	mm->rlim.data = 3 * P;
	assert_int_equal(ksys_mprotect(mm, BASE, 4 * P, RW), -ENOMEM);
	assert_int_equal(ksys_mprotect(mm, BASE, 3 * P, RW), 0);
	mmput(mm);
}

static void cuts_stop_at_max_map_count(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 8, RW);
	space_sysctl()->max_map_count = 2;
	assert_int_equal(ksys_mprotect(mm, BASE + 2 * P, P, PROT_READ), -ENOMEM);
	assert_ranges(mm, "10000000-10008000 rw-p");
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_READ), 0);
	assert_int_equal(ksys_mprotect(mm, BASE + 7 * P, P, PROT_READ), -ENOMEM);
	/* Moving a border needs no new mapping. */
	assert_int_equal(ksys_mprotect(mm, BASE + P, P, PROT_READ), 0);
	assert_ranges(mm, "10000000-10002000 r--p, 10002000-10008000 rw-p");
	mmput(mm);
}

static void growsdown_reaches_to_the_start_of_the_stack(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(map(mm, BASE, 4, RW, FIXED | MAP_GROWSDOWN), BASE);
	assert_int_equal(ksys_mprotect(mm, BASE + 2 * P, P, RW | PROT_EXEC | PROT_GROWSDOWN), 0);
	assert_ranges(mm, "10000000-10003000 rwxp, 10003000-10004000 rw-p");
	mmput(mm);
}

static void locked_memory_that_becomes_writable_is_copied_at_once(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(map(mm, BASE, 3, PROT_READ, FIXED | MAP_LOCKED), BASE);
	assert_int_equal(get_mm_rss(mm), 0);
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, RW), 0);
	assert_int_equal(get_mm_rss(mm), 2);
	mmput(mm);
}

static long nth_mprotect(void *arg)
{
	return ksys_mprotect(arg, BASE + 2 * P, 2 * P, PROT_READ);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	space_snapshot(arg, values);
	values[20] = (u64)peek(arg, BASE + 2 * P);
}

static void failing_anywhere_changes_nothing(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 8, RW);
	assert_true(poke(mm, BASE + 2 * P, 3));
	assert_true(fixture_fail_nth(.body = nth_mprotect, .snapshot = nth_snapshot,
				     .arg = mm) >= 2);
	assert_int_equal(mm->map_count, 3);
	mmput(mm);
}

static void without_protection_keys_there_is_none_but_minus_one(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 2, RW);
	assert_int_equal(ksys_pkey_mprotect(mm, BASE, P, PROT_READ, -1), 0);
	assert_int_equal(ksys_pkey_mprotect(mm, BASE, P, RW, 0), -EINVAL);
	assert_int_equal(ksys_pkey_mprotect(mm, BASE, P, RW, 1), -EINVAL);
	assert_int_equal(ksys_pkey_mprotect(mm, BASE, 0, RW, 1), 0);
	assert_ranges(mm, "10000000-10001000 r--p, 10001000-10002000 rw-p");
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(bad_arguments_are_refused),
		KARC_TESTS(a_hole_ends_the_call_half_way),
		KARC_TESTS(rights_decide_about_accesses),
		karc_unit_test(shared_read_only_file_never_becomes_writable),
		karc_unit_test(becoming_writable_is_a_promise),
		karc_unit_test(newer_kernels_take_untouched_promises_back),
		karc_unit_test(refused_promise_changes_nothing),
		karc_unit_test(cuts_stop_at_max_map_count),
		karc_unit_test(growsdown_reaches_to_the_start_of_the_stack),
		karc_unit_test(locked_memory_that_becomes_writable_is_copied_at_once),
		KARC_TESTS(failing_anywhere_changes_nothing),
		karc_unit_test(without_protection_keys_there_is_none_but_minus_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
