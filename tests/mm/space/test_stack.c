/* SPDX-License-Identifier: MIT */
/*
 * Goal: a stack grows as far as its limits and its guard gap allow, and starts as exec makes it.
 */
#include "space_test.h"

static struct vm_area_struct *stack_at(struct mm_struct *mm, unsigned long addr)
{
	assert_int_equal(map(mm, addr, 2, RW, FIXED | MAP_GROWSDOWN), addr);
	return vma_lookup(mm, addr);
}

static int expand(struct vm_area_struct *vma, unsigned long addr)
{
	struct mm_struct *mm = vma->vm_mm;
	int err;

	mmap_write_lock(mm);
	err = expand_stack(vma, addr);
	mmap_write_unlock(mm);
	check_mm_clean(mm);
	return err;
}

static void stack_grows_down_to_the_address(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma = stack_at(mm, BASE);

	(void)state;
	assert_int_equal(expand(vma, BASE - 5 * P + 17), 0);
	assert_int_equal(vma->vm_start, BASE - 5 * P);
	assert_int_equal(mm->stack_vm, 7);
	assert_int_equal(vm_memory_committed(), 7);
	assert_int_equal(expand(vma, BASE), 0);
	assert_int_equal(vma->vm_start, BASE - 5 * P);
	/* A store below it does the same. */
	assert_true(poke(mm, BASE - 9 * P, 1));
	assert_int_equal(vma->vm_start, BASE - 9 * P);
	mmput(mm);
}

static void only_stacks_grow(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 2, RW);
	assert_int_equal(expand(vma_lookup(mm, BASE), BASE - P), -EFAULT);
	assert_false(poke(mm, BASE - P, 1));
	mmput(mm);
}

static void stack_limit_ends_growth(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma = stack_at(mm, BASE);

	(void)state;
	mm->rlim.stack = 6 * P;
	assert_int_equal(expand(vma, BASE - 5 * P), -ENOMEM);
	assert_int_equal(vma->vm_start, BASE);
	assert_int_equal(expand(vma, BASE - 4 * P), 0);
	mm->rlim.stack = MM_RLIM_STACK_DEFAULT;
	mm->rlim.as = 7 * P;
	assert_int_equal(expand(vma, BASE - 6 * P), -ENOMEM);
	assert_int_equal(expand(vma, BASE - 5 * P), 0);
	mm->rlim.as = MM_RLIM_UNLIMITED;
	space_sysctl()->overcommit_memory = OVERCOMMIT_NEVER;
	space_sysctl()->overcommit_kbytes = 4;
	assert_int_equal(expand(vma, BASE - 6 * P), -ENOMEM);
	assert_int_equal(vm_memory_committed(), 7);
	mmput(mm);
}

static void guard_gap_is_kept_from_what_is_accessible(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma = stack_at(mm, BASE);

	(void)state;
	map_at(mm, BASE - 300 * P, 1, PROT_READ);
	assert_int_equal(expand(vma, BASE - 44 * P), -ENOMEM);
	assert_int_equal(expand(vma, BASE - 43 * P), 0);
	/* What nobody can touch may be near. */
	assert_int_equal(ksys_mprotect(mm, BASE - 300 * P, P, PROT_NONE), 0);
	assert_int_equal(expand(vma, BASE - 299 * P), 0);
	mmput(mm);
}

static void growth_ends_above_mmap_min_addr(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma = stack_at(mm, 0x11000);

	(void)state;
	assert_int_equal(expand(vma, 0xf000), -EPERM);
	assert_int_equal(expand(vma, 0x10000), 0);
	mmput(mm);
}

static void growth_of_unaccounted_memory_promises_nothing(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(map(mm, BASE, 1, RW, FIXED | MAP_GROWSDOWN | MAP_NORESERVE), BASE);
	assert_int_equal(expand(vma_lookup(mm, BASE), BASE - 3 * P), 0);
	assert_int_equal(vm_memory_committed(), 0);
	mmput(mm);
}

static void find_extend_vma_grows_what_may(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma = stack_at(mm, BASE);

	(void)state;
	mmap_write_lock(mm);
	assert_ptr_equal(find_extend_vma(mm, BASE), vma);
	assert_ptr_equal(find_extend_vma(mm, BASE - 3 * P), vma);
	assert_int_equal(vma->vm_start, BASE - 3 * P);
	assert_null(find_extend_vma(mm, BASE + 2 * P));
	mmap_write_unlock(mm);
	mmput(mm);
}

static void initial_stack_has_room_below_the_strings(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma;

	(void)state;
	assert_int_equal(setup_arg_pages(mm, STACK_TOP, 100, false), 0);
	vma = vma_last(mm);
	assert_int_equal(vma->vm_end, STACK_TOP);
	assert_int_equal(vma->vm_start, STACK_TOP - 33 * P);
	assert_int_equal(mm->start_stack, STACK_TOP - 108);
	assert_true(vma->vm_flags & VM_GROWSDOWN);
	assert_false(vma->vm_flags & VM_EXEC);
	assert_int_equal(vm_memory_committed(), 33);
	check_mm_clean(mm);
	mmput(mm);

	mm = new_mm();
	assert_int_equal(setup_arg_pages(mm, STACK_TOP, 3 * P, true), 0);
	vma = vma_last(mm);
	assert_int_equal(vma->vm_start, STACK_TOP - 36 * P);
	assert_true(vma->vm_flags & VM_EXEC);
	mmput(mm);
}

static void initial_stack_respects_its_limit(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	mm->rlim.stack = 64 * P;
	assert_int_equal(setup_arg_pages(mm, STACK_TOP, 33 * P, false), -E2BIG);
	assert_int_equal(mm->map_count, 0);
	assert_int_equal(setup_arg_pages(mm, STACK_TOP, 32 * P - 8, false), 0);
	assert_int_equal(vma_last(mm)->vm_start, STACK_TOP - 64 * P);
	mmput(mm);
	mm = new_mm();
	mm->rlim.stack = 8 * P;
	assert_int_equal(setup_arg_pages(mm, STACK_TOP, 10 * P, false), -ENOMEM);
	assert_int_equal(mm->map_count, 0);
	assert_int_equal(vm_memory_committed(), 0);
	mmput(mm);
}

static long nth_setup(void *arg)
{
	return setup_arg_pages(arg, STACK_TOP, 3 * P, false);
}

static void nth_undo(void *arg)
{
	struct mm_struct *mm = arg;
	struct vm_area_struct *vma = vma_last(mm);

	assert_int_equal(ksys_munmap(mm, vma->vm_start, vma->vm_end - vma->vm_start), 0);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	space_snapshot(arg, values);
}

static void setup_failing_anywhere_changes_nothing(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_true(fixture_fail_nth(.body = nth_setup, .undo = nth_undo, .snapshot = nth_snapshot,
				     .arg = mm) >= 2);
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(stack_grows_down_to_the_address),
		karc_unit_test(only_stacks_grow),
		karc_unit_test(stack_limit_ends_growth),
		karc_unit_test(guard_gap_is_kept_from_what_is_accessible),
		karc_unit_test(growth_ends_above_mmap_min_addr),
		karc_unit_test(growth_of_unaccounted_memory_promises_nothing),
		karc_unit_test(find_extend_vma_grows_what_may),
		KARC_TESTS(initial_stack_has_room_below_the_strings),
		karc_unit_test(initial_stack_respects_its_limit),
		karc_unit_test(setup_failing_anywhere_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
