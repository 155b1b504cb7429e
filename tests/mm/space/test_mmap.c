/* SPDX-License-Identifier: MIT */
/*
 * Goal: mmap answers as Linux answers, error by error, and a refusal changes nothing.
 */
#include "space_test.h"

#include <fcntl.h>

#include <karc/hw/inject.h>

static void bad_lengths_and_offsets_are_refused(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 4);

	(void)state;
	assert_int_equal(ksys_mmap(mm, 0, 0, RW, ANON, NULL, 0), -EINVAL);
	assert_int_equal(ksys_mmap(mm, 0, ~0UL, RW, ANON, NULL, 0), -ENOMEM);
	assert_int_equal(ksys_mmap(mm, 0, ~0UL - P, RW, ANON, NULL, 0), -ENOMEM);
	assert_int_equal(ksys_mmap(mm, 0, TASK_SIZE + P, RW, ANON, NULL, 0), -ENOMEM);
	assert_int_equal(ksys_mmap(mm, 0, P, RW, MAP_PRIVATE, file, 17), -EINVAL);
	assert_int_equal(ksys_mmap(mm, 0, 2 * P, RW, MAP_PRIVATE, file, ~0UL & PAGE_MASK),
			 -EOVERFLOW);
	assert_int_equal(ksys_mmap(mm, 0, P, RW, MAP_PRIVATE, file, 1UL << 63), -EOVERFLOW);
	assert_int_equal(ksys_mmap(mm, 0, P, RW, MAP_PRIVATE, NULL, 0), -EBADF);
	assert_int_equal(ksys_mmap(mm, 0, P, RW, ANON | MAP_HUGETLB, NULL, 0), -ENOMEM);
	assert_int_equal(mm->map_count, 0);
	fput(file);
	mmput(mm);
}

static void lengths_round_up_to_pages(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(ksys_mmap(mm, BASE, 1, RW, FIXED, NULL, 0), BASE);
	assert_int_equal(ksys_mmap(mm, BASE + 4 * P, P + 1, RW, FIXED, NULL, 0), BASE + 4 * P);
	assert_ranges(mm, "10000000-10001000 rw-p, 10004000-10006000 rw-p");
	mmput(mm);
}

static void fixed_addresses_have_limits(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(ksys_mmap(mm, BASE + 1, P, RW, FIXED, NULL, 0), -EINVAL);
	assert_int_equal(ksys_mmap(mm, TASK_SIZE, P, RW, FIXED, NULL, 0), -ENOMEM);
	assert_int_equal(ksys_mmap(mm, TASK_SIZE - P, 2 * P, RW, FIXED, NULL, 0), -ENOMEM);
	assert_int_equal(ksys_mmap(mm, ~0UL & PAGE_MASK, P, RW, FIXED, NULL, 0), -ENOMEM);
	assert_int_equal(ksys_mmap(mm, 0, P, RW, FIXED, NULL, 0), -EPERM);
	assert_int_equal(ksys_mmap(mm, 0xf000, P, RW, FIXED, NULL, 0), -EPERM);
	assert_int_equal(ksys_mmap(mm, 0x10000, P, RW, FIXED, NULL, 0), 0x10000);
	assert_int_equal(ksys_mmap(mm, TASK_SIZE - P, P, RW, FIXED, NULL, 0), TASK_SIZE - P);
	mm_flag_assign(mm, MMF_CAPABLE, true);
	assert_int_equal(ksys_mmap(mm, 0, P, RW, FIXED, NULL, 0), 0);
	mmput(mm);
}

static void fixed_replaces_what_was_there(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 6, RW);
	assert_true(poke(mm, BASE + 2 * P, 9));
	assert_true(poke(mm, BASE + 5 * P, 8));
	map_at(mm, BASE + 2 * P, 2, PROT_READ);
	assert_ranges(mm, "10000000-10002000 rw-p, 10002000-10004000 r--p, 10004000-10006000 rw-p");
	assert_int_equal(peek(mm, BASE + 2 * P), 0);
	assert_int_equal(peek(mm, BASE + 5 * P), 8);
	assert_int_equal(vm_memory_committed(), 4);
	/* Over everything and into free space. */
	map_at(mm, BASE - P, 9, RW);
	assert_ranges(mm, "ffff000-10008000 rw-p");
	assert_int_equal(peek(mm, BASE + 5 * P), 0);
	assert_int_equal(vm_memory_committed(), 9);
	check_mm_clean(mm);
	mmput(mm);
}

static void noreplace_refuses_any_overlap_and_allows_adjacency(void **state)
{
	const int flags = ANON | MAP_FIXED_NOREPLACE;
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 4, RW);
	assert_int_equal(map(mm, BASE, 4, RW, flags), -EEXIST);
	assert_int_equal(map(mm, BASE + P, 1, RW, flags), -EEXIST);
	assert_int_equal(map(mm, BASE - P, 2, RW, flags), -EEXIST);
	assert_int_equal(map(mm, BASE + 3 * P, 2, RW, flags), -EEXIST);
	assert_int_equal(map(mm, BASE - P, 6, RW, flags), -EEXIST);
	assert_int_equal(map(mm, BASE - P, 1, RW, flags), BASE - P);
	assert_int_equal(map(mm, BASE + 4 * P, 1, RW, flags), BASE + 4 * P);
	assert_ranges(mm, "ffff000-10005000 rw-p");
	mmput(mm);
}

static void map_type_is_checked(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 4);

	(void)state;
	assert_int_equal(map(mm, 0, 1, RW, MAP_ANONYMOUS), -EINVAL);
	assert_int_equal(map(mm, 0, 1, RW, MAP_ANONYMOUS | MAP_SHARED_VALIDATE), -EINVAL);
	assert_int_equal(map(mm, 0, 1, RW, MAP_ANONYMOUS | 0x0f), -EINVAL);
	assert_int_equal(map(mm, 0, 1, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN), -EINVAL);
	assert_int_equal(ksys_mmap(mm, 0, P, RW, 0, file, 0), -EINVAL);
	assert_int_equal(ksys_mmap(mm, 0, P, RW, MAP_PRIVATE | MAP_GROWSDOWN, file, 0), -EINVAL);
	assert_int_equal(ksys_mmap(mm, 0, P, RW, MAP_SHARED_VALIDATE | MAP_SYNC, file, 0),
			 -EOPNOTSUPP);
	assert_int_equal(ksys_mmap(mm, 0, P, RW, MAP_SHARED_VALIDATE | (1 << 23), file, 0),
			 -EOPNOTSUPP);
	assert_true(ksys_mmap(mm, 0, P, RW, MAP_SHARED | MAP_SYNC, file, 0) > 0);
	assert_true(ksys_mmap(mm, 0, P, RW, MAP_SHARED_VALIDATE, file, 0) > 0);
	fput(file);
	mmput(mm);
}

static const struct file_operations no_mmap_ops = { .owner = NULL };

static void file_modes_decide_what_may_be_mapped(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 4);
	struct file *rdonly = reopen(file, O_RDONLY), *wronly = reopen(file, O_WRONLY);
	const struct file_operations *fop;
	struct vm_area_struct *vma;
	long at;

	(void)state;
	assert_int_equal(ksys_mmap(mm, 0, P, RW, MAP_SHARED, rdonly, 0), -EACCES);
	assert_int_equal(ksys_mmap(mm, 0, P, PROT_READ, MAP_PRIVATE, wronly, 0), -EACCES);
	assert_int_equal(ksys_mmap(mm, 0, P, PROT_WRITE, MAP_SHARED, wronly, 0), -EACCES);
	assert_true(ksys_mmap(mm, 0, P, RW, MAP_PRIVATE, rdonly, 0) > 0);
	/* Shared and read-only: may never become writable, and counts as private for the kernel. */
	at = ksys_mmap(mm, 0, P, PROT_READ, MAP_SHARED, rdonly, 0);
	assert_true(at > 0);
	vma = vma_lookup(mm, at);
	assert_int_equal(vma->vm_flags & (VM_SHARED | VM_MAYWRITE | VM_MAYSHARE), VM_MAYSHARE);
	assert_int_equal(ksys_mprotect(mm, at, P, RW), -EACCES);
	fop = file->f_op;
	file->f_op = &no_mmap_ops;
	assert_int_equal(ksys_mmap(mm, 0, P, PROT_READ, MAP_PRIVATE, file, 0), -ENODEV);
	file->f_op = fop;
	fput(rdonly);
	fput(wronly);
	fput(file);
	mmput(mm);
}

static void address_space_limit_counts_what_fixed_replaces(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 8, RW);
	mm->rlim.as = 10 * P;
	assert_int_equal(map(mm, 0, 3, RW, ANON), -ENOMEM);
	assert_int_equal(map(mm, BASE, 11, RW, FIXED), -ENOMEM);
	assert_int_equal(map(mm, BASE, 10, RW, FIXED), BASE);
	assert_int_equal(map(mm, 0, 1, RW, ANON), -ENOMEM);
	assert_ranges(mm, "10000000-1000a000 rw-p");
	mm->rlim.as = MM_RLIM_UNLIMITED;
	/* RLIMIT_DATA: private writable memory only. */
	mm->rlim.data = 12 * P;
	assert_int_equal(map(mm, 0, 3, RW, ANON), -ENOMEM);
	assert_true(map(mm, 0, 3, PROT_READ, ANON) > 0);
	assert_true(map(mm, 0, 2, RW, ANON) > 0);
	mmput(mm);
}

static void locked_memory_has_its_limit(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	mm->rlim.memlock = 4 * P;
	assert_int_equal(map(mm, 0, 5, RW, ANON | MAP_LOCKED), -EAGAIN);
	assert_int_equal(map(mm, BASE, 3, RW, FIXED | MAP_LOCKED), BASE);
	assert_int_equal(mm->locked_vm, 3);
	assert_int_equal(get_mm_rss(mm), 3);
	assert_int_equal(map(mm, 0, 2, RW, ANON | MAP_LOCKED), -EAGAIN);
	assert_int_equal(ksys_munmap(mm, BASE, P), 0);
	assert_int_equal(mm->locked_vm, 2);
	mm->rlim.memlock = 0;
	assert_int_equal(map(mm, 0, 1, RW, ANON | MAP_LOCKED), -EPERM);
	mmput(mm);
}

static void populate_faults_everything_in(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(map(mm, BASE, 5, RW, FIXED | MAP_POPULATE), BASE);
	assert_int_equal(get_mm_rss(mm), 5);
	assert_int_equal(map(mm, BASE + 8 * P, 5, PROT_NONE, FIXED | MAP_POPULATE), BASE + 8 * P);
	assert_int_equal(get_mm_rss(mm), 5);
	mmput(mm);
}

/* The historical rule: a mapping more than the limit is possible, two are not. */
static void map_count_has_a_limit(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned long i;

	(void)state;
	space_sysctl()->max_map_count = 8;
	for (i = 0; i < 9; i++)
		map_at(mm, BASE + 2 * i * P, 1, RW);
	assert_int_equal(mm->map_count, 9);
	assert_int_equal(map(mm, 0, 1, RW, ANON), -ENOMEM);
	/* Also where it would have merged. */
	assert_int_equal(map(mm, BASE + P, 1, RW, FIXED), -ENOMEM);
	assert_int_equal(mm->map_count, 9);
	assert_int_equal(ksys_munmap(mm, BASE, P), 0);
	assert_int_equal(map(mm, BASE + 3 * P, 1, RW, FIXED), BASE + 3 * P);
	assert_int_equal(mm->map_count, 7);
	mmput(mm);
}

static void noreserve_is_not_accounted(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_true(map(mm, 0, 8, RW, ANON | MAP_NORESERVE) > 0);
	assert_int_equal(vm_memory_committed(), 0);
	assert_true(map(mm, 0, 8, PROT_READ, ANON) > 0);
	assert_int_equal(vm_memory_committed(), 0);
	assert_true(map(mm, 0, 8, RW, ANON) > 0);
	assert_int_equal(vm_memory_committed(), 8);
	assert_true(map(mm, 0, 8, RW, MAP_SHARED | MAP_ANONYMOUS) > 0);
	assert_int_equal(vm_memory_committed(), 16);
	mmput(mm);
	assert_int_equal(vm_memory_committed(), 0);
}

struct nth {
	struct mm_struct *mm;
	struct file *file;
	int way;
};

static long nth_mmap(void *arg)
{
	struct nth *n = arg;
	long ret;

	switch (n->way) {
	case 0:
		ret = map(n->mm, BASE + 64 * P, 4, RW, FIXED);
		break;
	case 1:		/* in the middle of a touched mapping, other rights: two cuts */
		ret = map(n->mm, BASE + 2 * P, 2, PROT_READ, FIXED);
		break;
	case 2:
		ret = map(n->mm, BASE + 64 * P, 4, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED);
		break;
	default:
		ret = ksys_mmap(n->mm, BASE + 2 * P, 3 * P, RW, MAP_PRIVATE | MAP_FIXED, n->file,
				P);
	}
	return ret < 0 ? ret : 0;
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct nth *n = arg;

	space_snapshot(n->mm, values);
	values[20] = (u64)peek(n->mm, BASE + 2 * P);
	values[21] = (u64)peek(n->mm, BASE + 7 * P);
}

static void mmap_failing_anywhere_changes_nothing(void **state)
{
	struct nth n = { .mm = new_mm(), .file = new_file("f", 8) };

	(void)state;
	map_at(n.mm, BASE, 8, RW);
	assert_true(poke(n.mm, BASE + 2 * P, 3));
	assert_true(poke(n.mm, BASE + 7 * P, 4));
	for (n.way = 0; n.way < 4; n.way++)
		assert_true(fixture_fail_nth(.body = nth_mmap, .snapshot = nth_snapshot,
					     .arg = &n) >= 1);
	mmput(n.mm);
	fput(n.file);
}

/* A driver whose mmap fills page tables itself. */
static int driver_mmap_fails(struct file *file, struct vm_area_struct *vma)
{
	(void)file;
	(void)vma;
	return -EIO;
}

static int driver_mmap_io(struct file *file, struct vm_area_struct *vma)
{
	(void)file;
	vma->vm_flags |= VM_IO | VM_DONTEXPAND;
	return 0;
}

static const struct file_operations failing_ops = { .mmap = driver_mmap_fails };
static const struct file_operations io_ops = { .mmap = driver_mmap_io };

static void huge_pages_are_not_reserved(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 4);

	(void)state;
	assert_int_equal(map(mm, 0, 512, RW, ANON | MAP_HUGETLB), -ENOMEM);
	assert_int_equal(map(mm, 0, 512, RW, ANON | MAP_HUGETLB | (21 << 26)), -ENOMEM);
	assert_int_equal(map(mm, 0, 512, RW, ANON | MAP_HUGETLB | (16 << 26)), -EINVAL);
	assert_int_equal(ksys_mmap(mm, 0, P, RW, MAP_SHARED | MAP_HUGETLB, file, 0), -EINVAL);
	assert_int_equal(mm->map_count, 0);
	mmput(mm);
	fput(file);
}

static void droppable_memory_is_promised_to_nobody(void **state)
{
	const int droppable = MAP_DROPPABLE | MAP_ANONYMOUS;
	struct mm_struct *mm = new_mm(), *child;

	(void)state;
	assert_int_equal(map(mm, BASE, 2, RW, droppable | MAP_FIXED), -EINVAL);
	mm->profile = mm_profile_newest();
	assert_int_equal(map(mm, 0, 2, RW, droppable | MAP_LOCKED), -EINVAL);
	assert_int_equal(map(mm, 0, 2, RW, droppable | MAP_GROWSDOWN), -EINVAL);
	assert_int_equal(map(mm, BASE, 2, RW, droppable | MAP_FIXED), BASE);
	map_at(mm, BASE + 2 * P, 2, RW);
	assert_int_equal(mm->map_count, 2);
	assert_int_equal(vm_memory_committed(), 2);
	assert_true(poke(mm, BASE, 1));
	assert_int_equal(peek(mm, BASE), 1);
	assert_int_equal(ksys_madvise(mm, BASE, P, MADV_KEEPONFORK), -EINVAL);
	assert_int_equal(ksys_mlock(mm, BASE, 4 * P), 0);
	assert_int_equal(mm->locked_vm, 2);
	child = dup_mm(mm);
	assert_non_null(child);
	assert_int_equal(peek(child, BASE), 0);
	mmput(child);
	check_mm_clean(mm);
	mmput(mm);
}

static void remap_file_pages_maps_anew(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 8);
	unsigned long i;

	(void)state;
	assert_int_equal(ksys_mmap(mm, BASE, 8 * P, RW, MAP_SHARED | MAP_FIXED, file, 0), BASE);
	for (i = 0; i < 8; i++)
		assert_true(poke(mm, BASE + i * P, (unsigned char)i));
	map_at(mm, BASE + 16 * P, 2, RW);
	assert_int_equal(ksys_remap_file_pages(mm, BASE + P, 2 * P, PROT_READ, 4, 0), -EINVAL);
	assert_int_equal(ksys_remap_file_pages(mm, BASE + P, 0, 0, 4, 0), -EINVAL);
	assert_int_equal(ksys_remap_file_pages(mm, BASE + P, P, 0, ~0UL, 0), -EINVAL);
	assert_int_equal(ksys_remap_file_pages(mm, BASE + 7 * P, 2 * P, 0, 0, 0), -EINVAL);
	assert_int_equal(ksys_remap_file_pages(mm, BASE + 16 * P, P, 0, 0, 0), -EINVAL);
	assert_int_equal(ksys_remap_file_pages(mm, BASE + P, 2 * P, 0, 4, 0), 0);
	assert_int_equal(mm->map_count, 4);
	assert_int_equal(peek(mm, BASE + P), 4);
	assert_int_equal(peek(mm, BASE + 2 * P), 5);
	assert_int_equal(peek(mm, BASE + 3 * P), 3);
	/* Over the seams, back to one. */
	assert_int_equal(ksys_remap_file_pages(mm, BASE + P, 2 * P, 0, 1, 0), 0);
	assert_int_equal(mm->map_count, 2);
	check_mm_clean(mm);
	mmput(mm);
	fput(file);
}

static void driver_mmap_may_fail_or_change_flags(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("dev", 4);
	const struct file_operations *fop = file->f_op;

	(void)state;
	file->f_op = &failing_ops;
	assert_int_equal(ksys_mmap(mm, 0, P, PROT_READ, MAP_PRIVATE, file, 0), -EIO);
	assert_int_equal(file_count(file), 1);
	file->f_op = &io_ops;
	assert_int_equal(ksys_mmap(mm, BASE, P, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0), BASE);
	assert_int_equal(ksys_mmap(mm, BASE + P, P, PROT_READ, MAP_SHARED | MAP_FIXED, file, P),
			 BASE + P);
	/* VM_SPECIAL: never merged. */
	assert_int_equal(mm->map_count, 2);
	file->f_op = fop;
	mmput(mm);
	fput(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(bad_lengths_and_offsets_are_refused),
		karc_unit_test(lengths_round_up_to_pages),
		KARC_TESTS(fixed_addresses_have_limits),
		KARC_TESTS(fixed_replaces_what_was_there),
		karc_unit_test(noreplace_refuses_any_overlap_and_allows_adjacency),
		karc_unit_test(map_type_is_checked),
		KARC_TESTS(file_modes_decide_what_may_be_mapped),
		karc_unit_test(address_space_limit_counts_what_fixed_replaces),
		karc_unit_test(locked_memory_has_its_limit),
		KARC_TESTS(populate_faults_everything_in),
		karc_unit_test(map_count_has_a_limit),
		karc_unit_test(noreserve_is_not_accounted),
		KARC_TESTS(mmap_failing_anywhere_changes_nothing),
		karc_unit_test(huge_pages_are_not_reserved),
		karc_unit_test(droppable_memory_is_promised_to_nobody),
		karc_unit_test(remap_file_pages_maps_anew),
		karc_unit_test(driver_mmap_may_fail_or_change_flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
