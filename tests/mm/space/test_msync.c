/* SPDX-License-Identifier: MIT */
/*
 * Goal: msync and mincore answer as Linux does: which numbers are wrong, what a hole means, what is
 * in memory.
 */
#include "space_test.h"

static void msync_checks_flags_holes_and_locks(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 2);

	(void)state;
	assert_int_equal(ksys_mmap(mm, BASE, 2 * P, RW, MAP_SHARED | MAP_FIXED, file, 0), BASE);
	map_at(mm, BASE + 4 * P, 1, RW);
	assert_int_equal(ksys_msync(mm, BASE, P, 8), -EINVAL);
	assert_int_equal(ksys_msync(mm, BASE + 1, P, MS_SYNC), -EINVAL);
	assert_int_equal(ksys_msync(mm, BASE, P, MS_SYNC | MS_ASYNC), -EINVAL);
	assert_int_equal(ksys_msync(mm, BASE, ~0UL, MS_SYNC), 0);
	assert_int_equal(ksys_msync(mm, BASE, ~0UL - 2 * P, MS_SYNC), -ENOMEM);
	assert_int_equal(ksys_msync(mm, BASE, 0, MS_SYNC), 0);
	assert_int_equal(ksys_msync(mm, BASE, 2 * P, MS_SYNC), 0);
	assert_int_equal(ksys_msync(mm, BASE, 5 * P, MS_SYNC), -ENOMEM);
	assert_int_equal(ksys_msync(mm, BASE, 5 * P, MS_ASYNC), -ENOMEM);
	assert_int_equal(ksys_msync(mm, BASE + 2 * P, P, MS_SYNC), -ENOMEM);
	assert_int_equal(ksys_mlock(mm, BASE + 4 * P, P), 0);
	assert_int_equal(ksys_msync(mm, BASE + 4 * P, P, MS_INVALIDATE), -EBUSY);
	assert_int_equal(ksys_msync(mm, BASE + 4 * P, P, MS_SYNC), 0);
	mmput(mm);
	fput(file);
}

static int fsync_fails(struct file *file, loff_t start, loff_t end, int datasync)
{
	(void)file;
	(void)datasync;
	return start == (loff_t)P && end == (loff_t)(2 * P - 1) ? -EIO : 0;
}

static void msync_asks_the_file(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 4);
	struct file_operations fop = *file->f_op;
	const struct file_operations *old = file->f_op;

	(void)state;
	fop.fsync = fsync_fails;
	file->f_op = &fop;
	assert_int_equal(ksys_mmap(mm, BASE, 4 * P, RW, MAP_SHARED | MAP_FIXED, file, 0), BASE);
	assert_int_equal(ksys_msync(mm, BASE, 2 * P, MS_SYNC), 0);
	assert_int_equal(ksys_msync(mm, BASE + P, P, MS_SYNC), -EIO);
	assert_int_equal(ksys_msync(mm, BASE + P, P, MS_ASYNC), 0);
	file->f_op = old;
	mmput(mm);
	fput(file);
}

static void mincore_tells_what_is_in_memory(void **state)
{
	struct mm_struct *mm = new_mm(), *child;
	struct file *file = new_file("f", 4);
	unsigned char vec[8];

	(void)state;
	map_at(mm, BASE, 4, RW);
	assert_int_equal(ksys_mmap(mm, BASE + 4 * P, 4 * P, RW, MAP_SHARED | MAP_FIXED, file, 0),
			 BASE + 4 * P);
	assert_int_equal(ksys_mincore(mm, BASE, 8 * P, vec), 0);
	assert_memory_equal(vec, "\0\0\0\0\0\0\0\0", 8);
	assert_true(poke(mm, BASE + P, 1));
	assert_int_equal(peek(mm, BASE + 2 * P), 0);
	assert_int_equal(ksys_mlock(mm, BASE + 3 * P, P), 0);
	/* A page of a file is there for all who map it. */
	child = dup_mm(mm);
	assert_true(poke(child, BASE + 6 * P, 1));
	assert_true(poke(child, BASE, 1));
	mmput(child);
	assert_int_equal(ksys_mincore(mm, BASE, 7 * P + 1, vec), 0);
	assert_memory_equal(vec, "\0\1\1\1\0\0\1\0", 8);
	assert_int_equal(ksys_mincore(mm, BASE + 1, P, vec), -EINVAL);
	assert_int_equal(ksys_mincore(mm, BASE + 7 * P, 2 * P, vec), -ENOMEM);
	assert_int_equal(ksys_mincore(mm, TASK_SIZE, P, vec), -ENOMEM);
	assert_int_equal(ksys_mincore(mm, BASE + 32 * P, 0, vec), 0);
	mmput(mm);
	fput(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(msync_checks_flags_holes_and_locks),
		karc_unit_test(msync_asks_the_file),
		KARC_TESTS(mincore_tells_what_is_in_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
