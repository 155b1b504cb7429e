/* SPDX-License-Identifier: MIT */
/*
 * Goal: cuts and merges leave the mappings Linux leaves, and what a VMA owns is counted right.
 */
#include "space_test.h"

#include <karc/hw/inject.h>

#include "mm/space/vma_internal.h"

static void neighbours_with_equal_rights_become_one(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 1, RW);
	map_at(mm, BASE + 2 * P, 1, RW);
	assert_int_equal(mm->map_count, 2);
	map_at(mm, BASE + P, 1, RW);
	assert_ranges(mm, "10000000-10003000 rw-p");
	map_at(mm, BASE - P, 1, RW);
	map_at(mm, BASE + 3 * P, 1, RW);
	assert_ranges(mm, "ffff000-10004000 rw-p");
	map_at(mm, BASE + 4 * P, 1, PROT_READ);
	assert_ranges(mm, "ffff000-10004000 rw-p, 10004000-10005000 r--p");
	check_mm_clean(mm);
	mmput(mm);
}

/* The eight cases of Linux's vma_merge(), through mprotect and mmap. */
static void mprotect_meets_every_merge_case(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 6, RW);
	/* split in the middle, then back: 6 (prev, mid and next become one) */
	assert_int_equal(ksys_mprotect(mm, BASE + 2 * P, 2 * P, PROT_READ), 0);
	assert_ranges(mm, "10000000-10002000 rw-p, 10002000-10004000 r--p, 10004000-10006000 rw-p");
	assert_int_equal(ksys_mprotect(mm, BASE + 2 * P, 2 * P, RW), 0);
	assert_ranges(mm, "10000000-10006000 rw-p");
	/* 4: prev gives its tail to next */
	assert_int_equal(ksys_mprotect(mm, BASE + 4 * P, 2 * P, PROT_READ), 0);
	assert_int_equal(ksys_mprotect(mm, BASE + 3 * P, P, PROT_READ), 0);
	assert_ranges(mm, "10000000-10003000 rw-p, 10003000-10006000 r--p");
	/* 5: the front of mid goes to prev */
	assert_int_equal(ksys_mprotect(mm, BASE + 3 * P, P, RW), 0);
	assert_ranges(mm, "10000000-10004000 rw-p, 10004000-10006000 r--p");
	/* 7: mid goes to prev whole, next stays different */
	map_at(mm, BASE + 6 * P, 1, PROT_NONE);
	assert_int_equal(ksys_mprotect(mm, BASE + 4 * P, 2 * P, RW), 0);
	assert_ranges(mm, "10000000-10006000 rw-p, 10006000-10007000 ---p");
	/* 8: mid goes to next whole, prev stays different */
	assert_int_equal(ksys_mprotect(mm, BASE + 5 * P, P, PROT_READ), 0);
	assert_int_equal(ksys_mprotect(mm, BASE + 6 * P, P, PROT_EXEC), 0);
	assert_int_equal(ksys_mprotect(mm, BASE + 6 * P, P, RW), 0);
	assert_ranges(mm, "10000000-10005000 rw-p, 10005000-10006000 r--p, 10006000-10007000 rw-p");
	assert_int_equal(ksys_mprotect(mm, BASE, 7 * P, RW), 0);
	assert_ranges(mm, "10000000-10007000 rw-p");
	check_mm_clean(mm);
	mmput(mm);
}

static void pages_survive_cuts_and_merges(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned int i;

	(void)state;
	map_at(mm, BASE, 6, RW);
	for (i = 0; i < 6; i++)
		assert_true(poke(mm, BASE + i * P, (unsigned char)(i + 1)));
	assert_int_equal(ksys_mprotect(mm, BASE + P, P, PROT_READ), 0);
	assert_int_equal(ksys_mprotect(mm, BASE + 3 * P, 2 * P, PROT_READ), 0);
	assert_int_equal(ksys_mprotect(mm, BASE, 6 * P, RW), 0);
	assert_int_equal(mm->map_count, 1);
	for (i = 0; i < 6; i++)
		assert_int_equal(peek(mm, BASE + i * P), i + 1);
	check_mm_clean(mm);
	mmput(mm);
}

static void file_mappings_merge_only_where_offsets_go_on(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 8), *other = new_file("g", 8);
	unsigned long at = BASE;

	(void)state;
	assert_int_equal(ksys_mmap(mm, at, P, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0), at);
	at += P;
	assert_int_equal(ksys_mmap(mm, at, P, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, P), at);
	assert_int_equal(mm->map_count, 1);
	at += P;
	assert_int_equal(ksys_mmap(mm, at, P, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, P), at);
	assert_int_equal(mm->map_count, 2);
	at += P;
	assert_int_equal(ksys_mmap(mm, at, P, PROT_READ, MAP_PRIVATE | MAP_FIXED, other, 2 * P),
			 at);
	assert_int_equal(mm->map_count, 3);
	assert_int_equal(file_count(file), 3);
	assert_int_equal(file_count(other), 2);
	assert_int_equal(ksys_munmap(mm, BASE, 4 * P), 0);
	assert_int_equal(file_count(file), 1);
	fput(file);
	fput(other);
	mmput(mm);
}

static void shared_anonymous_mappings_stay_apart(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(map(mm, BASE, 1, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED), BASE);
	assert_int_equal(map(mm, BASE + P, 1, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED),
			 BASE + P);
	assert_int_equal(mm->map_count, 2);
	assert_true(poke(mm, BASE, 5));
	assert_int_equal(peek(mm, BASE), 5);
	assert_int_equal(peek(mm, BASE + P), 0);
	mmput(mm);
}

/* 6.1 does not merge an untouched VMA with a touched one on mprotect; 6.16 does. */
static void untouched_and_touched_merge_by_profile(void **state)
{
	unsigned int newest;

	(void)state;
	for (newest = 0; newest < 2; newest++) {
		struct mm_struct *mm = new_mm();

		if (newest)
			mm_set_layout(mm, mm_profile_newest(), NULL, false);
		map_at(mm, BASE, 1, RW);
		map_at(mm, BASE + P, 1, PROT_READ);
		map_at(mm, BASE + 2 * P, 1, PROT_NONE);
		/* The middle one gets a private page, its neighbours have none. */
		assert_int_equal(ksys_mprotect(mm, BASE + P, P, RW | PROT_EXEC), 0);
		assert_true(poke(mm, BASE + P, 1));
		assert_int_equal(ksys_mprotect(mm, BASE + P, P, RW), 0);
		assert_int_equal(mm->map_count, newest ? 2 : 3);
		assert_int_equal(peek(mm, BASE + P), 1);
		check_mm_clean(mm);
		mmput(mm);
	}
}

static void count_open(struct vm_area_struct *vma)
{
	int *counts = vma->vm_private_data;

	counts[0]++;
}

static void count_close(struct vm_area_struct *vma)
{
	int *counts = vma->vm_private_data;

	counts[1]++;
}

static const struct vm_operations_struct counting_ops = {
	.open = count_open,
	.close = count_close,
};

static void open_and_close_balance_over_split_and_unmap(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma = vm_area_alloc(mm);
	int counts[2] = { 0, 0 };

	(void)state;
	vma->vm_start = BASE;
	vma->vm_end = BASE + 8 * P;
	vma->vm_flags = VM_READ | VM_MAYREAD;
	vma->vm_ops = &counting_ops;
	vma->vm_private_data = counts;
	assert_int_equal(insert_vm_struct(mm, vma), 0);
	vm_stat_account(mm, vma->vm_flags, 8);
	/* A hole: two cuts, so two more VMAs, one of which goes. */
	assert_int_equal(ksys_munmap(mm, BASE + 3 * P, P), 0);
	assert_int_equal(counts[0], 2);
	assert_int_equal(counts[1], 1);
	/* One that wants to hear of its end is not merged away. */
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_NONE), 0);
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_READ), 0);
	assert_int_equal(mm->map_count, 3);
	mmput(mm);
	assert_int_equal(counts[1], counts[0] + 1);
}

static int refuse_split(struct vm_area_struct *vma, unsigned long addr)
{
	(void)vma;
	(void)addr;
	return -EINVAL;
}

static const struct vm_operations_struct whole_ops = { .may_split = refuse_split };

static void refused_split_fails_the_call_and_changes_nothing(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma = vm_area_alloc(mm);

	(void)state;
	vma->vm_start = BASE;
	vma->vm_end = BASE + 4 * P;
	vma->vm_flags = VM_READ | VM_MAYREAD;
	vma->vm_ops = &whole_ops;
	assert_int_equal(insert_vm_struct(mm, vma), 0);
	vm_stat_account(mm, vma->vm_flags, 4);
	assert_int_equal(ksys_munmap(mm, BASE + P, P), -EINVAL);
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_NONE), -EINVAL);
	assert_ranges(mm, "10000000-10004000 r--p");
	assert_int_equal(ksys_munmap(mm, BASE, 4 * P), 0);
	mmput(mm);
}

static void insert_refuses_a_taken_range(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma = vm_area_alloc(mm);

	(void)state;
	map_at(mm, BASE, 2, RW);
	vma->vm_start = BASE + P;
	vma->vm_end = BASE + 3 * P;
	assert_int_equal(insert_vm_struct(mm, vma), -ENOMEM);
	mmput(mm);
}

static void split_vma_keeps_the_part_it_was_asked_to(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma;

	(void)state;
	map_at(mm, BASE, 4, RW);
	vma = vma_lookup(mm, BASE);
	mmap_write_lock(mm);
	assert_int_equal(split_vma(mm, vma, BASE + P, false), 0);
	assert_int_equal(vma->vm_end, BASE + P);
	vma = vma_next(vma);
	assert_int_equal(split_vma(mm, vma, BASE + 2 * P, true), 0);
	assert_int_equal(vma->vm_start, BASE + 2 * P);
	assert_int_equal(vma->vm_pgoff, (BASE + 2 * P) >> PAGE_SHIFT);
	mmap_write_unlock(mm);
	assert_int_equal(mm->map_count, 3);
	check_mm_clean(mm);
	mmput(mm);
}

static void dup_shares_the_file_and_not_the_anon_vma(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 4);
	struct vm_area_struct *vma, *copy;

	(void)state;
	assert_int_equal(ksys_mmap(mm, BASE, 4 * P, RW, MAP_PRIVATE | MAP_FIXED, file, 0), BASE);
	assert_true(poke(mm, BASE, 1));
	vma = vma_lookup(mm, BASE);
	assert_non_null(vma->anon_vma);
	copy = vm_area_dup(vma);
	assert_non_null(copy);
	assert_int_equal(file_count(file), 3);
	assert_null(copy->anon_vma);
	assert_true(list_empty(&copy->vm_list));
	vm_area_free(copy);
	assert_int_equal(file_count(file), 2);
	mmput(mm);
	fput(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(neighbours_with_equal_rights_become_one),
		KARC_TESTS(mprotect_meets_every_merge_case),
		KARC_TESTS(pages_survive_cuts_and_merges),
		KARC_TESTS(file_mappings_merge_only_where_offsets_go_on),
		KARC_TESTS(shared_anonymous_mappings_stay_apart),
		KARC_TESTS(untouched_and_touched_merge_by_profile),
		KARC_TESTS(open_and_close_balance_over_split_and_unmap),
		karc_unit_test(refused_split_fails_the_call_and_changes_nothing),
		karc_unit_test(insert_refuses_a_taken_range),
		karc_unit_test(split_vma_keeps_the_part_it_was_asked_to),
		karc_unit_test(dup_shares_the_file_and_not_the_anon_vma),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
