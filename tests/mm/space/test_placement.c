/* SPDX-License-Identifier: MIT */
/*
 * Goal: a mapping without a forced address goes where Linux puts it, by profile.
 */
#include "space_test.h"

#define TOP	0x7ffff7fff000UL
#define HUGE	(2UL << 20)

#ifndef MAP_32BIT
#define MAP_32BIT 0x40
#endif

static void first_mapping_ends_at_mmap_base(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(mm->mmap_base, TOP);
	assert_int_equal(map(mm, 0, 3, RW, ANON), TOP - 3 * P);
	assert_int_equal(map(mm, 0, 1, PROT_READ, ANON), TOP - 4 * P);
	/* The highest hole that is large enough. */
	assert_int_equal(ksys_munmap(mm, TOP - 2 * P, P), 0);
	assert_int_equal(map(mm, 0, 2, RW, ANON), TOP - 6 * P);
	assert_int_equal(map(mm, 0, 1, RW, ANON), TOP - 2 * P);
	mmput(mm);
}

static void stack_limit_moves_the_base(void **state)
{
	struct mm_struct *mm = new_mm();
	struct mm_rlimits rlim = mm->rlim;

	(void)state;
	rlim.stack = 1UL << 30;
	mm_set_layout(mm, NULL, &rlim, false);
	assert_int_equal(mm->mmap_base, TASK_SIZE - (1UL << 30) - 256 * P);
	rlim.stack = MM_RLIM_UNLIMITED;
	mm_set_layout(mm, NULL, &rlim, false);
	assert_int_equal(mm->mmap_base, PAGE_ALIGN(TASK_SIZE - TASK_SIZE / 6 * 5));
	mm_set_layout(mm, NULL, NULL, true);
	assert_int_equal(mm->mmap_base, PAGE_ALIGN(TASK_SIZE / 3));
	assert_int_equal(map(mm, 0, 3, RW, ANON), PAGE_ALIGN(TASK_SIZE / 3));
	assert_int_equal(map(mm, 0, 3, RW, ANON), PAGE_ALIGN(TASK_SIZE / 3) + 3 * P);
	mmput(mm);
}

static void hints_are_taken_when_free(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(map(mm, BASE, 2, RW, ANON), BASE);
	assert_int_equal(map(mm, BASE + 5, 2, RW, ANON), TOP - 2 * P);
	assert_int_equal(map(mm, BASE + 2 * P + 5, 2, RW, ANON), BASE + 2 * P);
	assert_int_equal(map(mm, BASE - P, 2, RW, ANON), TOP - 4 * P);
	/* Too low: rounded up to what is allowed. Too high: not a hint. */
	assert_int_equal(map(mm, P, 1, RW, ANON), 0x10000);
	assert_int_equal(map(mm, TASK_SIZE - P, 2, RW, ANON), TOP - 6 * P);
	assert_int_equal(map(mm, 1UL << 50, 1, RW, ANON), TOP - 7 * P);
	/* Within the guard gap of a stack: taken is taken. */
	assert_int_equal(map(mm, 0x20000000, 1, RW, FIXED | MAP_GROWSDOWN), 0x20000000);
	assert_int_equal(map(mm, 0x20000000 - 8 * P, 1, RW, ANON), TOP - 8 * P);
	mmput(mm);
}

static void full_range_below_the_base_goes_on_above_the_legacy_base(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned long legacy = mm->mmap_legacy_base;

	(void)state;
	space_sysctl()->mmap_min_addr = P;
	assert_int_equal(map(mm, P, TOP / P - 1, PROT_NONE, FIXED), P);
	assert_int_equal(map(mm, 0, 1, RW, ANON), TOP);
	assert_int_equal(map(mm, 0, 1UL << 30, RW, ANON), -ENOMEM);
	assert_int_equal(ksys_munmap(mm, legacy + 5 * P, 4 * P), 0);
	assert_int_equal(map(mm, 0, 2, RW, ANON), legacy + 7 * P);
	mmput(mm);
}

/* As on x86: the search goes below mmap_min_addr and the check comes after it. */
static void last_free_range_may_be_too_low(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(map(mm, 0x10000, (TOP - 0x10000) / P, PROT_NONE, FIXED), 0x10000);
	assert_int_equal(map(mm, 0, 1, RW, ANON), -EPERM);
	mm_set_layout(mm, mm_profile_for(6, 2), NULL, false);
	assert_int_equal(map(mm, 0, 1, RW, ANON), TOP);
	mm_set_layout(mm, mm_profile_reference(), NULL, false);
	mm_flag_assign(mm, MMF_CAPABLE, true);
	assert_int_equal(map(mm, 0, 1, RW, ANON), 0xf000);
	mmput(mm);
}

/* The guard gap of a stack reaches over a mapping below it: holes above its end are not used. */
static void search_goes_on_below_the_end_of_a_guard_gap(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(map(mm, TOP - 4 * P, 4, RW, FIXED | MAP_GROWSDOWN), TOP - 4 * P);
	map_at(mm, TOP - 20 * P, 4, PROT_READ);
	assert_int_equal(map(mm, 0, 2, RW, ANON), TOP - 260 * P - 2 * P);
	mmput(mm);
}

static void map_32bit_stays_low(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(map(mm, 0, 2, RW, ANON | MAP_32BIT), 0x40000000);
	assert_int_equal(map(mm, 0, 2, PROT_READ, ANON | MAP_32BIT), 0x40002000);
	assert_int_equal(map(mm, 0, 0x80000, RW, ANON | MAP_32BIT), -ENOMEM);
	mmput(mm);
}

static struct mm_struct *mm_of(unsigned int major, unsigned int minor)
{
	struct mm_struct *mm = new_mm();

	mm_set_layout(mm, mm_profile_for(major, minor), NULL, false);
	/* Something small on top, so that nothing is aligned by chance. */
	assert_int_equal(map(mm, 0, 1, PROT_READ, ANON), TOP - P);
	return mm;
}

static void large_anonymous_mappings_are_aligned_by_version(void **state)
{
	const unsigned long plain = TOP - P - HUGE, aligned = round_down(TOP - P - HUGE, HUGE);
	const unsigned long odd = TOP - P - HUGE - P;
	static const struct {
		unsigned int minor;
		bool exact, odd, hint;
	} rows[] = {
		{ 1, false, false, false },
		{ 6, false, false, false },
		{ 7, true, true, true },
		{ 12, true, true, true },
		{ 13, true, false, false },
		{ 18, true, false, false },
	};
	struct mm_struct *mm;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		mm = mm_of(6, rows[i].minor);
		assert_int_equal(map(mm, 0, HUGE / P, RW, ANON), rows[i].exact ? aligned : plain);
		mmput(mm);
		mm = mm_of(6, rows[i].minor);
		assert_int_equal(map(mm, 0, HUGE / P + 1, RW, ANON),
				 rows[i].odd ? round_down(odd, HUGE) : odd);
		mmput(mm);
		/* A hint that is taken already. */
		mm = mm_of(6, rows[i].minor);
		assert_int_equal(map(mm, TOP - P, HUGE / P, RW, ANON),
				 rows[i].hint ? aligned : plain);
		mmput(mm);
		/* Small, shared, fixed: never. */
		mm = mm_of(6, rows[i].minor);
		assert_int_equal(map(mm, 0, 511, RW, ANON), TOP - P - 511 * P);
		assert_int_equal(map(mm, 0, 512, RW, MAP_SHARED | MAP_ANONYMOUS),
				 TOP - P - 1023 * P);
		mmput(mm);
	}
}

static void aligned_mappings_follow_each_other_without_holes(void **state)
{
	struct mm_struct *mm = mm_of(6, 18);
	unsigned long first = map(mm, 0, HUGE / P, RW, ANON);

	(void)state;
	assert_int_equal(first % HUGE, 0);
	assert_int_equal(map(mm, 0, HUGE / P, RW, ANON), first - HUGE);
	assert_int_equal(map(mm, 0, HUGE / P * 3, RW, ANON), first - 4 * HUGE);
	assert_int_equal(mm->map_count, 2);
	mmput(mm);
}

static void files_that_ask_for_it_are_aligned_to_their_offset(void **state)
{
	struct mm_struct *mm = mm_of(6, 1);
	struct file *file = new_file("large", 4096);
	long at;

	(void)state;
	at = ksys_mmap(mm, 0, 2 * HUGE, PROT_READ, MAP_PRIVATE, file, 0);
	assert_int_equal(at, TOP - P - 2 * HUGE);
	assert_int_equal(ksys_munmap(mm, at, 2 * HUGE), 0);
	file_inode(file)->placement_align = HUGE;
	at = ksys_mmap(mm, 0, 2 * HUGE, PROT_READ, MAP_PRIVATE, file, 0);
	assert_int_equal(at, round_down(TOP - P - 2 * HUGE, HUGE));
	at = ksys_mmap(mm, 0, 2 * HUGE, PROT_READ, MAP_PRIVATE, file, 3 * P);
	assert_int_equal(((unsigned long)at - 3 * P) % HUGE, 0);
	/* Without a whole aligned block of the file inside it is not worth it. */
	at = ksys_mmap(mm, 0, HUGE - P, PROT_READ, MAP_PRIVATE, file, 0);
	assert_int_not_equal((unsigned long)at % HUGE, 0);
	fput(file);
	mmput(mm);
}

static void get_unmapped_area_answers_without_mapping(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	mmap_write_lock(mm);
	assert_int_equal(get_unmapped_area(mm, NULL, 0, P, 0, ANON), TOP - P);
	assert_int_equal(get_unmapped_area(mm, NULL, BASE + 1, P, 0, FIXED), -EINVAL);
	assert_int_equal(get_unmapped_area(mm, NULL, TASK_SIZE, P, 0, FIXED), -ENOMEM);
	mmap_write_unlock(mm);
	assert_int_equal(mm->map_count, 0);
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(first_mapping_ends_at_mmap_base),
		karc_unit_test(stack_limit_moves_the_base),
		karc_unit_test(hints_are_taken_when_free),
		karc_unit_test(full_range_below_the_base_goes_on_above_the_legacy_base),
		karc_unit_test(last_free_range_may_be_too_low),
		karc_unit_test(search_goes_on_below_the_end_of_a_guard_gap),
		karc_unit_test(map_32bit_stays_low),
		karc_unit_test(large_anonymous_mappings_are_aligned_by_version),
		karc_unit_test(aligned_mappings_follow_each_other_without_holes),
		karc_unit_test(files_that_ask_for_it_are_aligned_to_their_offset),
		karc_unit_test(get_unmapped_area_answers_without_mapping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
