/* SPDX-License-Identifier: MIT */
/*
 * Goal: the break moves as Linux moves it, and a refusal is told by the old break alone.
 */
#include "space_test.h"

#define HEAP	0x600000UL

static void break_grows_and_shrinks(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(ksys_brk(mm, 0), HEAP);
	assert_int_equal(ksys_brk(mm, HEAP + 3 * P), HEAP + 3 * P);
	assert_ranges(mm, "600000-603000 rw-p");
	assert_true(poke(mm, HEAP + 2 * P, 5));
	assert_int_equal(ksys_brk(mm, HEAP + 5 * P), HEAP + 5 * P);
	assert_ranges(mm, "600000-605000 rw-p");
	assert_int_equal(peek(mm, HEAP + 2 * P), 5);
	assert_int_equal(ksys_brk(mm, HEAP + P), HEAP + P);
	assert_ranges(mm, "600000-601000 rw-p");
	assert_int_equal(vm_memory_committed(), 1);
	assert_int_equal(ksys_brk(mm, HEAP), HEAP);
	assert_int_equal(mm->map_count, 0);
	check_mm_clean(mm);
	mmput(mm);
}

static void unaligned_breaks_are_kept_as_they_are(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(ksys_brk(mm, HEAP + 1), HEAP + 1);
	assert_ranges(mm, "600000-601000 rw-p");
	assert_int_equal(ksys_brk(mm, HEAP + P), HEAP + P);
	assert_int_equal(ksys_brk(mm, HEAP + P + 1), HEAP + P + 1);
	assert_ranges(mm, "600000-602000 rw-p");
	assert_int_equal(ksys_brk(mm, HEAP + 7), HEAP + 7);
	assert_ranges(mm, "600000-601000 rw-p");
	mmput(mm);
}

static void refusal_returns_the_old_break(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(ksys_brk(mm, HEAP + 2 * P), HEAP + 2 * P);
	assert_int_equal(ksys_brk(mm, HEAP - 1), HEAP + 2 * P);
	assert_int_equal(ksys_brk(mm, ~0UL), HEAP + 2 * P);
	assert_int_equal(ksys_brk(mm, ~0UL - P), HEAP + 2 * P);
	assert_int_equal(ksys_brk(mm, TASK_SIZE + P), HEAP + 2 * P);
	/* The page below the next mapping stays free. */
	map_at(mm, HEAP + 8 * P, 1, RW);
	assert_int_equal(ksys_brk(mm, HEAP + 8 * P), HEAP + 2 * P);
	assert_int_equal(ksys_brk(mm, HEAP + 9 * P), HEAP + 2 * P);
	assert_int_equal(ksys_brk(mm, HEAP + 7 * P), HEAP + 7 * P);
	assert_ranges(mm, "600000-607000 rw-p, 608000-609000 rw-p");
	mmput(mm);
}

static void limits_refuse(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	mm->start_data = 0x400000;
	mm->end_data = 0x401000;
	mm->rlim.data = 4 * P;
	/* The data segment counts: one page of four. */
	assert_int_equal(ksys_brk(mm, HEAP + 3 * P + 1), HEAP);
	assert_int_equal(ksys_brk(mm, HEAP + 3 * P), HEAP + 3 * P);
	mm->rlim.data = MM_RLIM_UNLIMITED;
	mm->rlim.as = 5 * P;
	assert_int_equal(ksys_brk(mm, HEAP + 6 * P), HEAP + 3 * P);
	mm->rlim.as = MM_RLIM_UNLIMITED;
	space_sysctl()->max_map_count = 0;
	assert_int_equal(ksys_brk(mm, HEAP + 6 * P), HEAP + 3 * P);
	space_sysctl()->max_map_count = 100;
	space_sysctl()->overcommit_memory = OVERCOMMIT_NEVER;
	space_sysctl()->overcommit_kbytes = 4;
	assert_int_equal(ksys_brk(mm, HEAP + 6 * P), HEAP + 3 * P);
	assert_int_equal(vm_memory_committed(), 3);
	mmput(mm);
}

static void heap_of_several_mappings_after_mprotect(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(ksys_brk(mm, HEAP + 6 * P), HEAP + 6 * P);
	assert_int_equal(ksys_mprotect(mm, HEAP + 2 * P, 2 * P, PROT_READ), 0);
	assert_int_equal(ksys_mprotect(mm, HEAP + 5 * P, P, PROT_READ), 0);
	/* The last piece has other rights: a new one follows. */
	assert_int_equal(ksys_brk(mm, HEAP + 8 * P), HEAP + 8 * P);
	assert_ranges(mm, "600000-602000 rw-p, 602000-604000 r--p, 604000-605000 rw-p, "
			  "605000-606000 r--p, 606000-608000 rw-p");
	assert_int_equal(ksys_brk(mm, HEAP + P), HEAP + P);
	assert_ranges(mm, "600000-601000 rw-p");
	mmput(mm);
}

static void shrinking_over_a_hole(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(ksys_brk(mm, HEAP + 6 * P), HEAP + 6 * P);
	assert_int_equal(ksys_munmap(mm, HEAP + 3 * P, 3 * P), 0);
	/* Nothing of the heap is left there: Linux refuses. */
	assert_int_equal(ksys_brk(mm, HEAP + 4 * P), HEAP + 6 * P);
	assert_int_equal(ksys_brk(mm, HEAP + 2 * P), HEAP + 2 * P);
	assert_ranges(mm, "600000-602000 rw-p");
	mmput(mm);
}

static void heap_does_not_join_what_lies_below_its_start(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(vm_brk_flags(mm, HEAP - 2 * P, 2 * P, 0), 0);
	assert_int_equal(ksys_brk(mm, HEAP + P), HEAP + P);
	assert_ranges(mm, "5fe000-600000 rw-p, 600000-601000 rw-p");
	mmput(mm);
}

static void vm_brk_maps_over_what_is_there(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 4, PROT_READ);
	assert_int_equal(vm_brk_flags(mm, BASE + P, 2 * P, VM_EXEC), 0);
	assert_ranges(mm, "10000000-10001000 r--p, 10001000-10003000 rwxp, 10003000-10004000 r--p");
	assert_int_equal(vm_brk_flags(mm, BASE, 0, 0), 0);
	assert_int_equal(vm_brk_flags(mm, BASE, ~0UL, 0), -ENOMEM);
	assert_int_equal(vm_brk_flags(mm, BASE, P, VM_SHARED), -EINVAL);
	assert_int_equal(vm_brk_flags(mm, BASE + 1, P, 0), -EINVAL);
	mmput(mm);
}

static void stack_guard_above_the_heap_is_kept(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(map(mm, HEAP + 300 * P, 1, RW, FIXED | MAP_GROWSDOWN), HEAP + 300 * P);
	assert_int_equal(ksys_brk(mm, HEAP + 44 * P), HEAP);
	assert_int_equal(ksys_brk(mm, HEAP + 43 * P), HEAP + 43 * P);
	mmput(mm);
}

static long nth_brk(void *arg)
{
	struct mm_struct *mm = arg;

	return ksys_brk(mm, HEAP + 4 * P) == (long)(HEAP + 4 * P) ? 0 : -ENOMEM;
}

static void nth_undo(void *arg)
{
	assert_int_equal(ksys_brk(arg, HEAP), HEAP);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	space_snapshot(arg, values);
}

static void failing_anywhere_changes_nothing(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_true(fixture_fail_nth(.body = nth_brk, .undo = nth_undo, .snapshot = nth_snapshot,
				     .arg = mm) >= 1);
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(break_grows_and_shrinks),
		karc_unit_test(unaligned_breaks_are_kept_as_they_are),
		karc_unit_test(refusal_returns_the_old_break),
		karc_unit_test(limits_refuse),
		karc_unit_test(heap_of_several_mappings_after_mprotect),
		karc_unit_test(shrinking_over_a_hole),
		karc_unit_test(heap_does_not_join_what_lies_below_its_start),
		karc_unit_test(vm_brk_maps_over_what_is_there),
		karc_unit_test(stack_guard_above_the_heap_is_kept),
		KARC_TESTS(failing_anywhere_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
