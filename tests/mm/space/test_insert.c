/* SPDX-License-Identifier: MIT */
/*
 * Goal: memory of vmalloc_user() is the same to the kernel and to the programs that map it, lives
 * as long as the longer of both, and nothing else can be mapped that way.
 * Method: a driver whose mmap is remap_vmalloc_range(); both sides write and look; fail-nth.
 */
#include "space_test.h"

#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/space/insert.h>

static char *buffer;			/* the driver's */
static long last_error;

static int driver_mmap(struct file *file, struct vm_area_struct *vma)
{
	(void)file;
	last_error = remap_vmalloc_range(vma, buffer, vma->vm_pgoff);
	return (int)last_error;
}

static const struct file_operations driver_ops = { .mmap = driver_mmap };

static struct file *open_driver(void)
{
	struct file *file = new_file("driver", 4);

	file->f_op = &driver_ops;
	return file;
}

static long map_driver(struct mm_struct *mm, struct file *file, unsigned long pages, long pgoff)
{
	return ksys_mmap(mm, 0, pages * P, RW, MAP_SHARED, file, pgoff * (long)P);
}

static void kernel_and_program_see_the_same_memory(void **state)
{
	struct mm_struct *mm = new_mm(), *child;
	struct file *file = open_driver();
	unsigned long before;
	long at;

	(void)state;
	buffer = vmalloc_user(4 * P);
	assert_int_equal(buffer[4 * P - 1], 0);
	buffer[P] = 11;
	at = map_driver(mm, file, 3, 1);
	assert_true(at > 0);
	assert_int_equal(peek(mm, (unsigned long)at), 11);
	assert_true(poke(mm, (unsigned long)at + 2 * P + 5, 12));
	assert_int_equal(buffer[3 * P + 5], 12);
	assert_int_equal(get_mm_rss(mm), 3);
	assert_int_equal(page_count(vmalloc_to_page(buffer + P)), 2);
	assert_int_equal(page_count(vmalloc_to_page(buffer)), 1);
	assert_true(find_vma(mm, (unsigned long)at)->vm_flags & VM_MIXEDMAP);
	check_mm_clean(mm);
	/* A fork shares it. */
	child = dup_mm(mm);
	assert_false(IS_ERR_OR_NULL(child));
	assert_true(poke(child, (unsigned long)at, 13));
	assert_int_equal(buffer[P], 13);
	mmput(child);
	/* The program keeps the frames when the driver has let go. */
	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	vfree(buffer);
	machine_quiesce(this_machine());
	assert_in_range(phys_nr_free(this_machine()), before + 1, before + 6);
	assert_int_equal(peek(mm, (unsigned long)at), 13);
	assert_int_equal(ksys_munmap(mm, (unsigned long)at, 3 * P), 0);
	assert_int_equal(get_mm_rss(mm), 0);
	mmput(mm);
	fput(file);
}

static void what_is_not_for_users_is_refused(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = open_driver();
	char *area;

	(void)state;
	buffer = vmalloc(4 * P);
	assert_int_equal(map_driver(mm, file, 4, 0), -EINVAL);
	vfree(buffer);
	buffer = area = vmalloc_user(4 * P);
	assert_int_equal(map_driver(mm, file, 4, 1), -EINVAL);
	assert_int_equal(map_driver(mm, file, 5, 0), -EINVAL);
	buffer = area + P;
	assert_int_equal(map_driver(mm, file, 4, 0), -EINVAL);
	buffer = area + 5;
	assert_int_equal(map_driver(mm, file, 1, 0), -EINVAL);
	buffer = (char *)&file;
	assert_int_equal(map_driver(mm, file, 1, 0), -EINVAL);
	assert_int_equal(mm->map_count, 0);
	check_mm_clean(mm);
	vfree(area);
	mmput(mm);
	fput(file);
}

static int insert_error(struct vm_area_struct *vma, unsigned long addr, struct page *page)
{
	return vm_insert_page(vma, addr, page);
}

static void wrong_pages_and_places_are_refused(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = open_driver();
	struct page *slab = virt_to_head_page(file), *page = alloc_page(GFP_KERNEL);
	struct vm_area_struct *vma;
	long at;

	(void)state;
	buffer = vmalloc_user(P);
	at = map_driver(mm, file, 1, 0);
	assert_true(at > 0);
	mmap_write_lock(mm);
	vma = find_vma(mm, (unsigned long)at);
	assert_int_equal(insert_error(vma, (unsigned long)at, page), -EBUSY);
	assert_int_equal(insert_error(vma, vma->vm_end, page), -EFAULT);
	zap_page_range_single(vma, (unsigned long)at, P);
	assert_int_equal(insert_error(vma, (unsigned long)at, slab), -EINVAL);
	assert_int_equal(insert_error(vma, (unsigned long)at, page), 0);
	mmap_write_unlock(mm);
	assert_int_equal(page_count(page), 2);
	mmput(mm);
	assert_int_equal(page_count(page), 1);
	__free_page(page);
	vfree(buffer);
	fput(file);
}

static struct mm_struct *nth_mm;
static struct file *nth_file;
static long nth_at;

static long nth_map(void *arg)
{
	(void)arg;
	nth_at = map_driver(nth_mm, nth_file, 4, 0);
	return nth_at > 0 ? 0 : nth_at;
}

static void nth_unmap(void *arg)
{
	(void)arg;
	assert_int_equal(ksys_munmap(nth_mm, (unsigned long)nth_at, 4 * P), 0);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	space_snapshot(nth_mm, values);
}

static void injected_failure_changes_nothing(void **state)
{
	(void)state;
	nth_mm = new_mm();
	nth_file = open_driver();
	buffer = vmalloc_user(4 * P);
	assert_true(fixture_fail_nth(.body = nth_map, .undo = nth_unmap,
				     .snapshot = nth_snapshot) >= 3);
	vfree(buffer);
	mmput(nth_mm);
	fput(nth_file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(kernel_and_program_see_the_same_memory),
		karc_unit_test(what_is_not_for_users_is_refused),
		karc_unit_test(wrong_pages_and_places_are_refused),
		karc_unit_test(injected_failure_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
