/* SPDX-License-Identifier: MIT */
/*
 * Goal: the three modes promise what Linux promises, exactly counted; a refusal counts nothing.
 */
#include "space_test.h"

static unsigned long ram_pages(void)
{
	return phys_stats(this_machine()).nr_managed;
}

static void guessing_refuses_only_the_impossible(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned long ram = ram_pages();

	(void)state;
	assert_int_equal(map(mm, 0, ram + 1, RW, ANON), -ENOMEM);
	assert_int_equal(vm_memory_committed(), 0);
	assert_true(map(mm, 0, ram, RW, ANON) > 0);
	/* Again and again: one request at a time is looked at. */
	assert_true(map(mm, 0, ram, RW, ANON) > 0);
	assert_int_equal(vm_memory_committed(), 2 * ram);
	assert_true(map(mm, 0, 4 * ram, RW, ANON | MAP_NORESERVE) > 0);
	assert_true(map(mm, 0, 4 * ram, PROT_READ, ANON) > 0);
	assert_int_equal(vm_memory_committed(), 2 * ram);
	mmput(mm);
	assert_int_equal(vm_memory_committed(), 0);
}

static void always_refuses_nothing(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	space_sysctl()->overcommit_memory = OVERCOMMIT_ALWAYS;
	assert_true(map(mm, 0, 16 * ram_pages(), RW, ANON) > 0);
	assert_int_equal(vm_memory_committed(), 16 * ram_pages());
	mmput(mm);
}

static void never_keeps_to_the_limit(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned long limit;

	(void)state;
	space_sysctl()->overcommit_memory = OVERCOMMIT_NEVER;
	assert_int_equal(vm_commit_limit(), ram_pages() / 2);
	space_sysctl()->overcommit_ratio = 80;
	assert_int_equal(vm_commit_limit(), ram_pages() * 80 / 100);
	space_sysctl()->overcommit_kbytes = 4000;
	assert_int_equal(vm_commit_limit(), 1000);
	space_sysctl()->admin_reserve_kbytes = 40;
	space_sysctl()->user_reserve_kbytes = 0;
	limit = 1000 - 10;
	/* The sum must stay below, not at, what is allowed. */
	assert_int_equal(map(mm, 0, limit, RW, ANON), -ENOMEM);
	assert_int_equal(vm_memory_committed(), 0);
	assert_true(map(mm, 0, limit - 1, RW, ANON) > 0);
	assert_int_equal(map(mm, 0, 1, RW, ANON), -ENOMEM);
	/* Nor does MAP_NORESERVE help in this mode. */
	assert_int_equal(map(mm, 0, 1, RW, ANON | MAP_NORESERVE), -ENOMEM);
	assert_int_equal(map(mm, 0, 1, RW, MAP_SHARED | MAP_ANONYMOUS), -ENOMEM);
	/* The administrator's share. */
	mm_flag_assign(mm, MMF_CAPABLE, true);
	assert_true(map(mm, 0, 10, RW, ANON) > 0);
	assert_int_equal(map(mm, 0, 1, RW, ANON), -ENOMEM);
	mmput(mm);
	assert_int_equal(vm_memory_committed(), 0);
}

static void user_reserve_grows_with_the_process(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	space_sysctl()->overcommit_memory = OVERCOMMIT_NEVER;
	space_sysctl()->overcommit_kbytes = 4000;
	space_sysctl()->admin_reserve_kbytes = 0;
	space_sysctl()->user_reserve_kbytes = 4000;
	assert_true(map(mm, 0, 320, RW, ANON) > 0);
	/* 320 / 32 pages are kept back now. */
	assert_int_equal(map(mm, 0, 1000 - 320 - 10, RW, ANON), -ENOMEM);
	assert_true(map(mm, 0, 1000 - 320 - 10 - 1, RW, ANON) > 0);
	mmput(mm);
}

static void replacing_needs_no_second_promise(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	space_sysctl()->overcommit_memory = OVERCOMMIT_NEVER;
	space_sysctl()->overcommit_kbytes = 400;
	space_sysctl()->admin_reserve_kbytes = 0;
	space_sysctl()->user_reserve_kbytes = 0;
	map_at(mm, BASE, 80, RW);
	map_at(mm, BASE, 80, RW);
	assert_int_equal(map(mm, BASE, 100, RW, FIXED), -ENOMEM);
	assert_ranges(mm, "10000000-10050000 rw-p");
	assert_int_equal(vm_memory_committed(), 80);
	map_at(mm, BASE, 99, RW);
	assert_int_equal(vm_memory_committed(), 99);
	mmput(mm);
}

static void bare_calls_count(void **state)
{
	(void)state;
	assert_int_equal(__vm_enough_memory(NULL, 10, 0), 0);
	vm_acct_memory(5);
	assert_int_equal(vm_memory_committed(), 15);
	vm_unacct_memory(15);
	assert_int_equal(vm_memory_committed(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(guessing_refuses_only_the_impossible),
		karc_unit_test(always_refuses_nothing),
		KARC_TESTS(never_keeps_to_the_limit),
		karc_unit_test(user_reserve_grows_with_the_process),
		karc_unit_test(replacing_needs_no_second_promise),
		karc_unit_test(bare_calls_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
