/* SPDX-License-Identifier: MIT */
/*
 * Goal: mappings of the kernel's own have names, stay whole, and go away like others.
 */
#include "space_test.h"

#define TOP	0x7ffff7fff000UL

static void vdso_and_vvar_lie_side_by_side(void **state)
{
	struct mm_struct *mm = new_mm();
	char text[1024];

	(void)state;
	assert_int_equal(map_vdso(mm, 4 * P, 2 * P), TOP - 2 * P);
	assert_int_equal(mm->map_count, 2);
	maps_text(mm, text, sizeof(text));
	assert_string_equal(text,
		"7ffff7ff9000-7ffff7ffd000 r--p 00000000 00:00 0                          [vvar]\n"
		"7ffff7ffd000-7ffff7fff000 r-xp 00000000 00:00 0                          [vdso]\n");
	check_mm_clean(mm);
	mmput(mm);
}

static void newer_kernels_have_a_clock_between(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	mm_set_layout(mm, mm_profile_newest(), NULL, false);
	assert_int_equal(map_vdso(mm, 6 * P, 2 * P), TOP - 2 * P);
	assert_ranges(mm, "7ffff7ff7000-7ffff7ffb000 r--p, 7ffff7ffb000-7ffff7ffd000 r--p, "
			  "7ffff7ffd000-7ffff7fff000 r-xp");
	mmput(mm);
}

static void parts_may_be_left_out(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(map_vdso(mm, 0, 0), 0);
	assert_int_equal(map_vdso(mm, 0, P), TOP - P);
	assert_int_equal(map_vdso(mm, P, 0), TOP - 2 * P);
	assert_int_equal(map_vdso(mm, 5, P), -EINVAL);
	assert_int_equal(mm->map_count, 2);
	mmput(mm);
}

static void they_are_not_cut_and_not_merged(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned long at = TOP - 2 * P;

	(void)state;
	assert_int_equal(map_vdso(mm, 0, 2 * P), at);
	assert_int_equal(ksys_munmap(mm, at, P), -EINVAL);
	assert_int_equal(ksys_mprotect(mm, at, P, PROT_READ), -EINVAL);
	assert_int_equal(ksys_mmap(mm, at, P, RW, FIXED, NULL, 0), -ENOMEM);
	assert_int_equal(ksys_mprotect(mm, at, 2 * P, PROT_READ), 0);
	assert_int_equal(peek(mm, at), -1);
	assert_int_equal(ksys_munmap(mm, at, 2 * P), 0);
	mmput(mm);
}

static void range_must_be_free(void **state)
{
	static const struct vm_special_mapping mapping = { .name = "[test]" };
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma;

	(void)state;
	map_at(mm, BASE, 1, RW);
	mmap_write_lock(mm);
	vma = _install_special_mapping(mm, BASE - P, 2 * P, VM_READ, &mapping);
	assert_int_equal(PTR_ERR(vma), -ENOMEM);
	vma = _install_special_mapping(mm, BASE - P, P, VM_READ, &mapping);
	assert_false(IS_ERR(vma));
	assert_string_equal(vma->vm_ops->name(vma), "[test]");
	mmap_write_unlock(mm);
	mmput(mm);
}

static long nth_vdso(void *arg)
{
	long at = map_vdso(arg, P, P);

	return at < 0 ? at : 0;
}

static void nth_undo(void *arg)
{
	assert_int_equal(ksys_munmap(arg, TOP - 2 * P, 2 * P), 0);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	space_snapshot(arg, values);
}

static void failing_anywhere_changes_nothing(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_true(fixture_fail_nth(.body = nth_vdso, .undo = nth_undo, .snapshot = nth_snapshot,
				     .arg = mm) >= 2);
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(vdso_and_vvar_lie_side_by_side),
		karc_unit_test(newer_kernels_have_a_clock_between),
		karc_unit_test(parts_may_be_left_out),
		karc_unit_test(they_are_not_cut_and_not_merged),
		karc_unit_test(range_must_be_free),
		karc_unit_test(failing_anywhere_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
