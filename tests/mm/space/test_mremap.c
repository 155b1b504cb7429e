/* SPDX-License-Identifier: MIT */
/*
 * Goal: mremap keeps pages the same pages, says no as Linux does, and a refusal changes nothing.
 * Method: contents, frames and tables before and after; limits one by one; each allocation failed.
 * What results and maps are under random calls is the referee's business.
 */
#include <karc/mm/pgtable/tlbflush.h>
#include <karc/mm/space/uaccess.h>
#include "space_test.h"

#define FAR	(BASE + 64 * P)
#define MAY	MREMAP_MAYMOVE
#define TO	(MREMAP_MAYMOVE | MREMAP_FIXED)

static struct mm_struct *newest_mm(void)
{
	struct mm_struct *mm = new_mm();

	mm_set_layout(mm, mm_profile_newest(), NULL, false);
	return mm;
}

static long remap(struct mm_struct *mm, unsigned long addr, unsigned long old_pages,
		  unsigned long new_pages, unsigned long flags, unsigned long to)
{
	return ksys_mremap(mm, addr, old_pages * P, new_pages * P, flags, to);
}

/* Page i of [addr, ...) says first + i. */
static void fill(struct mm_struct *mm, unsigned long addr, unsigned long pages, unsigned int first)
{
	unsigned long i;

	for (i = 0; i < pages; i++)
		assert_true(poke(mm, addr + i * P, (unsigned char)(first + i)));
}

static void assert_filled(struct mm_struct *mm, unsigned long addr, unsigned long pages,
			  unsigned int first)
{
	unsigned long i;

	for (i = 0; i < pages; i++)
		assert_int_equal(peek(mm, addr + i * P), (unsigned char)(first + i));
}

static unsigned long frame(struct mm_struct *mm, unsigned long addr)
{
	pte_t pte = mm_lookup_pte(mm, addr);

	return pte_present(pte) ? pte_pfn(pte) : 0;
}

static void numbers_that_make_no_sense_are_refused(void **state)
{
	struct mm_struct *mm = newest_mm();

	(void)state;
	map_at(mm, BASE, 4, RW);
	assert_int_equal(ksys_mremap(mm, BASE + 1, P, P, 0, 0), -EINVAL);
	assert_int_equal(remap(mm, BASE, 4, 4, 8, 0), -EINVAL);
	assert_int_equal(remap(mm, BASE, 4, 0, MAY, 0), -EINVAL);
	assert_int_equal(ksys_mremap(mm, BASE, P, ~0UL, MAY, 0), -EINVAL);
	assert_int_equal(ksys_mremap(mm, BASE, P, TASK_SIZE + P, MAY, 0), -EINVAL);
	assert_int_equal(remap(mm, BASE, 4, 4, MREMAP_FIXED, FAR), -EINVAL);
	assert_int_equal(remap(mm, BASE, 4, 4, MREMAP_DONTUNMAP, FAR), -EINVAL);
	assert_int_equal(remap(mm, BASE, 4, 5, MAY | MREMAP_DONTUNMAP, FAR), -EINVAL);
	assert_int_equal(remap(mm, BASE, 4, 4, TO, FAR + 1), -EINVAL);
	assert_int_equal(remap(mm, BASE, 4, 4, TO, TASK_SIZE - 3 * P), -EINVAL);
	assert_int_equal(remap(mm, BASE, 4, 4, TO, BASE + 3 * P), -EINVAL);
	assert_int_equal(remap(mm, BASE, 4, 8, TO, BASE - 7 * P), -EINVAL);
	assert_int_equal(remap(mm, FAR, 1, 2, MAY, 0), -EFAULT);
	assert_int_equal(remap(mm, BASE, 5, 6, MAY, 0), -EFAULT);
	assert_int_equal(remap(mm, BASE, 0, 4, MAY, 0), -EINVAL);
	assert_ranges(mm, "10000000-10004000 rw-p");
	mmput(mm);
}

static void shrinking_gives_the_tail_back(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 8, RW);
	fill(mm, BASE, 8, 1);
	assert_int_equal(remap(mm, BASE, 8, 3, 0, 0), BASE);
	assert_ranges(mm, "10000000-10003000 rw-p");
	assert_int_equal(get_mm_rss(mm), 3);
	assert_int_equal(vm_memory_committed(), 3);
	/* What it removes may be more than one mapping. */
	map_at(mm, BASE + 3 * P, 2, PROT_READ);
	map_at(mm, BASE + 6 * P, 2, RW);
	assert_int_equal(remap(mm, BASE, 7, 2, 0, 0), BASE);
	assert_ranges(mm, "10000000-10002000 rw-p, 10007000-10008000 rw-p");
	assert_int_equal(remap(mm, BASE, 2, 2, 0, 0), BASE);
	assert_filled(mm, BASE, 2, 1);
	check_mm_clean(mm);
	mmput(mm);
}

static void growing_stays_in_place_while_there_is_room(void **state)
{
	struct mm_struct *mm = newest_mm();

	(void)state;
	map_at(mm, BASE, 4, RW);
	fill(mm, BASE, 4, 1);
	assert_int_equal(remap(mm, BASE, 4, 6, 0, 0), BASE);
	/* From the middle on: what counts is that it ends where the mapping ends. */
	assert_int_equal(remap(mm, BASE + 4 * P, 2, 4, 0, 0), BASE + 4 * P);
	assert_ranges(mm, "10000000-10008000 rw-p");
	assert_int_equal(vm_memory_committed(), 8);
	map_at(mm, BASE + 10 * P, 2, RW);
	assert_int_equal(mm->map_count, 2);
	assert_int_equal(remap(mm, BASE, 8, 11, 0, 0), -ENOMEM);
	assert_int_equal(remap(mm, BASE, 7, 8, 0, 0), -ENOMEM);
	/* The gap filled exactly: the neighbour joins. */
	assert_int_equal(remap(mm, BASE, 8, 10, 0, 0), BASE);
	assert_int_equal(mm->map_count, 1);
	assert_filled(mm, BASE, 4, 1);
	assert_int_equal(peek(mm, BASE + 9 * P), 0);
	check_mm_clean(mm);
	mmput(mm);
}

static void moving_takes_the_same_frames_along(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned long frames[4], i, at;

	(void)state;
	map_at(mm, BASE, 4, RW);
	map_at(mm, BASE + 4 * P, 1, PROT_READ);
	fill(mm, BASE, 3, 1);
	for (i = 0; i < 4; i++)
		frames[i] = frame(mm, BASE + i * P);
	at = (unsigned long)remap(mm, BASE, 4, 6, MAY, 0);
	assert_false(IS_ERR_VALUE(at));
	for (i = 0; i < 4; i++) {
		assert_int_equal(frame(mm, at + i * P), frames[i]);
		assert_int_equal(peek(mm, BASE + i * P), -1);
	}
	assert_filled(mm, at, 3, 1);
	assert_int_equal(get_mm_rss(mm), 3);
	assert_int_equal(vm_memory_committed(), 6);
	/* A part of a mapping leaves the rest where it is. */
	assert_int_equal(remap(mm, at + P, 1, 1, TO, FAR), FAR);
	assert_int_equal(frame(mm, FAR), frames[1]);
	assert_int_equal(peek(mm, at), 1);
	assert_int_equal(peek(mm, at + P), -1);
	assert_int_equal(peek(mm, at + 2 * P), 3);
	check_mm_clean(mm);
	mmput(mm);
}

/* The table page that translates @addr. */
static struct page *table_of(struct mm_struct *mm, unsigned long addr)
{
	pmd_t *pmd = mm_find_pmd(mm, addr);

	return pmd && !pmd_none(pmdp_get(pmd)) ? pmd_page(pmdp_get(pmd)) : NULL;
}

static void whole_tables_move_as_they_are(void **state)
{
	const unsigned long from = 0x40000000, to = 0x7f0040000000, pages = 3 * 512;
	struct mm_struct *mm = new_mm();
	struct page *tables[3];
	unsigned long i, bytes;

	(void)state;
	map_at(mm, from, pages, RW);
	for (i = 0; i < pages; i += 100)
		assert_true(poke(mm, from + i * P, (unsigned char)i));
	for (i = 0; i < 3; i++)
		tables[i] = table_of(mm, from + i * PMD_SIZE);
	bytes = mm_pgtables_bytes(mm);
	assert_int_equal(remap(mm, from, pages, pages, TO, to), to);
	for (i = 0; i < 3; i++)
		assert_ptr_equal(table_of(mm, to + i * PMD_SIZE), tables[i]);
	for (i = 0; i < pages; i += 100)
		assert_int_equal(peek(mm, to + i * P), (unsigned char)i);
	/* Upper tables of the old place are gone, those of the new one came: as many. */
	assert_int_equal(mm_pgtables_bytes(mm), bytes);
	/* Off the boundary entries move one by one, over two tables each. */
	assert_int_equal(remap(mm, to, pages, pages, TO, from + 7 * P), from + 7 * P);
	for (i = 0; i < pages; i += 100)
		assert_int_equal(peek(mm, from + (i + 7) * P), (unsigned char)i);
	check_mm_clean(mm);
	assert_int_equal(ksys_munmap(mm, from, (pages + 7) * P), 0);
	assert_int_equal(mm_pgtables_bytes(mm), 0);
	mmput(mm);
}

static void a_fixed_place_is_emptied_first(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 4, RW);
	map_at(mm, FAR, 8, PROT_READ);
	fill(mm, BASE, 4, 1);
	assert_int_equal(remap(mm, BASE, 4, 4, TO, FAR + 2 * P), FAR + 2 * P);
	assert_filled(mm, FAR + 2 * P, 4, 1);
	assert_ranges(mm, "10040000-10042000 r--p, 10042000-10046000 rw-p, "
		      "10046000-10048000 r--p");
	/* Within one mapping, and shorter on the way. */
	assert_int_equal(remap(mm, FAR + 2 * P, 2, 1, TO, FAR + 5 * P), FAR + 5 * P);
	assert_int_equal(peek(mm, FAR + 5 * P), 1);
	assert_int_equal(peek(mm, FAR + 4 * P), 3);
	assert_int_equal(peek(mm, FAR + 2 * P), -1);
	check_mm_clean(mm);
	mmput(mm);
}

static void dontunmap_leaves_an_empty_mapping(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	mm_flag_assign(mm, MMF_CAPABLE, true);
	map_at(mm, BASE, 4, RW);
	fill(mm, BASE, 4, 1);
	assert_int_equal(ksys_mlock(mm, BASE, 4 * P), 0);
	assert_int_equal(remap(mm, BASE, 4, 4, TO | MREMAP_DONTUNMAP, FAR), FAR);
	assert_ranges(mm, "10000000-10004000 rw-p, 10040000-10044000 rw-p");
	assert_filled(mm, FAR, 4, 1);
	assert_int_equal(peek(mm, BASE), 0);
	assert_int_equal(mm->locked_vm, 4);
	assert_int_equal(vm_memory_committed(), 8);
	/* Its pages to come have nothing to do with those that went. */
	assert_null(vma_lookup(mm, BASE)->anon_vma);
	check_mm_clean(mm);
	mmput(mm);
}

static void length_zero_maps_shared_pages_twice(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 8);

	(void)state;
	assert_int_equal(ksys_mmap(mm, BASE, 4 * P, RW, MAP_SHARED | MAP_FIXED, file, 2 * P), BASE);
	fill(mm, BASE, 4, 1);
	assert_int_equal(remap(mm, BASE + P, 0, 3, 0, 0), -ENOMEM);
	assert_int_equal(remap(mm, BASE + P, 0, 3, TO, FAR), FAR);
	assert_filled(mm, FAR, 3, 2);
	assert_true(poke(mm, FAR, 99));
	assert_int_equal(peek(mm, BASE + P), 99);
	assert_int_equal(vma_lookup(mm, FAR)->vm_pgoff, 3);
	assert_int_equal(mm->total_vm, 7);
	check_mm_clean(mm);
	mmput(mm);
	fput(file);
}

static void newer_kernels_move_several_mappings_with_their_holes(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 2, RW);
	map_at(mm, BASE + 2 * P, 1, PROT_READ);
	map_at(mm, BASE + 5 * P, 2, RW);
	fill(mm, BASE, 2, 1);
	fill(mm, BASE + 5 * P, 2, 6);
	assert_int_equal(remap(mm, BASE, 7, 7, TO, FAR), -EFAULT);
	mm->profile = mm_profile_newest();
	assert_int_equal(remap(mm, BASE + 3 * P, 4, 4, TO, FAR), -EFAULT);
	assert_int_equal(remap(mm, BASE + P, 5, 5, TO, FAR + P), FAR + P);
	assert_ranges(mm, "10000000-10001000 rw-p, 10006000-10007000 rw-p, "
		      "10041000-10042000 rw-p, 10042000-10043000 r--p, 10045000-10046000 rw-p");
	assert_int_equal(peek(mm, FAR + P), 2);
	assert_int_equal(peek(mm, FAR + 5 * P), 6);
	assert_int_equal(peek(mm, BASE + 6 * P), 7);
	/* Resizing is for one. */
	assert_int_equal(remap(mm, FAR + P, 5, 4, TO, BASE + 16 * P), -EFAULT);
	check_mm_clean(mm);
	mmput(mm);
}

static void limits_are_asked_before_anything_moves(void **state)
{
	struct mm_struct *mm = newest_mm();

	(void)state;
	map_at(mm, BASE, 4, RW);
	mm->rlim.as = 6 * P;
	assert_int_equal(remap(mm, BASE, 4, 7, MAY, 0), -ENOMEM);
	assert_int_equal(remap(mm, BASE, 4, 4, MAY | MREMAP_DONTUNMAP, 0), -ENOMEM);
	assert_int_equal(remap(mm, BASE, 4, 6, 0, 0), BASE);
	mm->rlim.as = MM_RLIM_UNLIMITED;
	mm->rlim.data = 7 * P;
	assert_int_equal(remap(mm, BASE, 6, 8, 0, 0), -ENOMEM);
	mm->rlim.data = MM_RLIM_UNLIMITED;
	assert_int_equal(ksys_mlock(mm, BASE, 6 * P), 0);
	mm->rlim.memlock = 7 * P;
	assert_int_equal(remap(mm, BASE, 6, 8, 0, 0), -EAGAIN);
	/* Locked memory that grows is there at once. */
	assert_int_equal(remap(mm, BASE, 6, 7, 0, 0), BASE);
	assert_int_equal(get_mm_rss(mm), 7);
	assert_int_equal(mm->locked_vm, 7);
	space_sysctl()->max_map_count = 4;
	assert_int_equal(remap(mm, BASE, 7, 7, TO, FAR), -ENOMEM);
	space_sysctl()->max_map_count = DEFAULT_MAX_MAP_COUNT;
	space_sysctl()->overcommit_memory = OVERCOMMIT_NEVER;
	space_sysctl()->overcommit_kbytes = 8;
	assert_int_equal(remap(mm, BASE, 7, 8, MAY, 0), -EAGAIN);
	mm_flag_assign(mm, MMF_CAPABLE, true);
	assert_int_equal(remap(mm, BASE, 7, 8, MAY, 0), -ENOMEM);
	assert_ranges(mm, "10000000-10007000 rw-p");
	check_mm_clean(mm);
	mmput(mm);
}

static void file_pages_are_found_at_their_new_place(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 8);

	(void)state;
	assert_int_equal(ksys_mmap(mm, BASE, 8 * P, RW, MAP_PRIVATE | MAP_FIXED, file, 0), BASE);
	fill(mm, BASE, 2, 1);
	assert_int_equal(peek(mm, BASE + 5 * P), 0);
	assert_int_equal(remap(mm, BASE + P, 7, 7, TO, FAR), FAR);
	assert_int_equal(vma_lookup(mm, FAR)->vm_pgoff, 1);
	assert_int_equal(peek(mm, FAR), 2);
	assert_int_equal(file_truncate(file, 4 * P), 0);
	assert_int_equal(peek(mm, FAR + 4 * P), -1);
	assert_int_equal(peek(mm, FAR + 2 * P), 0);
	check_mm_clean(mm);
	mmput(mm);
	fput(file);
}

static void untouched_memory_melts_into_its_new_neighbours(void **state)
{
	struct mm_struct *mm = newest_mm();

	(void)state;
	map_at(mm, BASE, 4, RW);
	map_at(mm, BASE + 8 * P, 4, RW);
	assert_int_equal(remap(mm, BASE + 8 * P, 4, 4, TO, BASE + 4 * P), BASE + 4 * P);
	assert_ranges(mm, "10000000-10008000 rw-p");
	/* Its own other part is a neighbour too. */
	assert_int_equal(remap(mm, BASE, 2, 2, TO, BASE + 8 * P), BASE + 8 * P);
	assert_ranges(mm, "10002000-1000a000 rw-p");
	assert_int_equal(remap(mm, BASE + 8 * P, 2, 2, TO, BASE), BASE);
	assert_ranges(mm, "10000000-10008000 rw-p");
	/* Between two others, one of them the rest of itself. */
	map_at(mm, BASE + 12 * P, 4, RW);
	assert_int_equal(remap(mm, BASE, 4, 4, TO, BASE + 8 * P), BASE + 8 * P);
	assert_ranges(mm, "10004000-10010000 rw-p");
	assert_int_equal(vm_memory_committed(), 12);
	check_mm_clean(mm);
	mmput(mm);
}

static void touched_memory_keeps_its_anon_vma_when_it_melts(void **state)
{
	struct mm_struct *mm = newest_mm();

	(void)state;
	map_at(mm, BASE, 2, RW);
	map_at(mm, FAR, 4, RW);
	fill(mm, FAR, 4, 1);
	/* Moved on, a page knows where it was first: back there it fits without a seam. */
	assert_int_equal(remap(mm, FAR + 2 * P, 2, 2, TO, BASE + 2 * P), BASE + 2 * P);
	assert_int_equal(mm->map_count, 3);
	assert_int_equal(remap(mm, BASE + 2 * P, 2, 2, TO, FAR + 2 * P), FAR + 2 * P);
	assert_int_equal(mm->map_count, 2);
	assert_filled(mm, FAR, 4, 1);
	check_mm_clean(mm);
	mmput(mm);
}

static void special_mappings_move_whole_or_not_at_all(void **state)
{
	struct mm_struct *mm = newest_mm();
	unsigned long vdso = (unsigned long)map_vdso(mm, 4 * P, 2 * P);

	(void)state;
	assert_int_equal(remap(mm, vdso, 1, 1, TO, FAR), -EINVAL);
	assert_int_equal(remap(mm, vdso, 2, 3, MAY, 0), -EFAULT);
	assert_int_equal(remap(mm, vdso, 2, 2, TO | MREMAP_DONTUNMAP, FAR), -EINVAL);
	assert_int_equal(remap(mm, vdso, 2, 2, TO, FAR), FAR);
	assert_int_equal(vma_lookup(mm, FAR)->vm_end, FAR + 2 * P);
	check_mm_clean(mm);
	mmput(mm);
}

static int refuse_move(struct vm_area_struct *vma)
{
	(void)vma;
	return -EBUSY;
}

static const struct vm_operations_struct staying_ops = {
	.fault = filemap_fault, .mremap = refuse_move,
};

static void a_mapping_that_refuses_goes_back(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 4);
	const struct vm_operations_struct *ops;

	(void)state;
	assert_int_equal(ksys_mmap(mm, BASE, 4 * P, RW, MAP_SHARED | MAP_FIXED, file, 0), BASE);
	fill(mm, BASE, 4, 1);
	ops = vma_lookup(mm, BASE)->vm_ops;
	vma_lookup(mm, BASE)->vm_ops = &staying_ops;
	assert_int_equal(remap(mm, BASE, 4, 4, TO, FAR), -EBUSY);
	assert_ranges(mm, "10000000-10004000 rw-s");
	assert_filled(mm, BASE, 4, 1);
	vma_lookup(mm, BASE)->vm_ops = ops;
	check_mm_clean(mm);
	mmput(mm);
	fput(file);
}

static void no_cpu_remembers_the_old_place(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned char byte = 0;

	(void)state;
	map_at(mm, BASE, 2, RW);
	switch_mm(NULL, mm);
	byte = 5;
	assert_int_equal(copy_to_user((void *)BASE, &byte, 1), 0);
	assert_int_equal(remap(mm, BASE, 2, 2, TO, FAR), FAR);
	assert_int_equal(copy_from_user(&byte, (void *)BASE, 1), 1);
	assert_int_equal(copy_from_user(&byte, (void *)FAR, 1), 0);
	assert_int_equal(byte, 5);
	switch_mm(mm, NULL);
	mmput(mm);
}

struct nth {
	struct mm_struct *mm;
	struct file *file;
	unsigned int way;
	unsigned long at;
};

static long nth_remap(void *arg)
{
	struct nth *n = arg;
	long ret;

	switch (n->way) {
	case 0:				/* longer, elsewhere */
		ret = remap(n->mm, BASE, 8, 12, MAY, 0);
		break;
	case 1:				/* a part, to another gigabyte: new tables */
		ret = remap(n->mm, BASE + 2 * P, 4, 4, TO, BASE + (3UL << 30));
		break;
	case 2:
		ret = remap(n->mm, BASE, 8, 8, MAY | MREMAP_DONTUNMAP, 0);
		break;
	default:			/* a file's pages a second time */
		ret = remap(n->mm, FAR, 0, 4, MAY, 0);
	}
	n->at = (unsigned long)ret;
	return IS_ERR_VALUE((unsigned long)ret) ? ret : 0;
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct nth *n = arg;

	space_snapshot(n->mm, values);
	values[20] = (u64)peek(n->mm, BASE + 2 * P);
	values[21] = (u64)peek(n->mm, BASE + 7 * P);
	values[22] = (u64)peek(n->mm, FAR);
}

static void failing_anywhere_leaves_everything_where_it_was(void **state)
{
	struct nth n = { .file = new_file("f", 8) };

	(void)state;
	for (n.way = 0; n.way < 4; n.way++) {
		n.mm = new_mm();
		map_at(n.mm, BASE, 8, RW);
		map_at(n.mm, BASE + 8 * P, 1, PROT_READ);
		assert_int_equal(ksys_mmap(n.mm, FAR, 4 * P, RW, MAP_SHARED | MAP_FIXED, n.file, 0),
				 FAR);
		fill(n.mm, BASE, 8, 1);
		fill(n.mm, FAR, 4, 1);
		assert_true(fixture_fail_nth(.body = nth_remap, .snapshot = nth_snapshot,
					     .arg = &n) >= 1);
		assert_int_equal(peek(n.mm, n.at), n.way == 1 ? 3 : 1);
		check_mm_clean(n.mm);
		mmput(n.mm);
	}
	fput(n.file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(numbers_that_make_no_sense_are_refused),
		KARC_TESTS(shrinking_gives_the_tail_back),
		KARC_TESTS(growing_stays_in_place_while_there_is_room),
		KARC_TESTS(moving_takes_the_same_frames_along),
		KARC_TESTS(whole_tables_move_as_they_are),
		karc_unit_test(a_fixed_place_is_emptied_first),
		karc_unit_test(dontunmap_leaves_an_empty_mapping),
		karc_unit_test(length_zero_maps_shared_pages_twice),
		karc_unit_test(newer_kernels_move_several_mappings_with_their_holes),
		karc_unit_test(limits_are_asked_before_anything_moves),
		KARC_TESTS(file_pages_are_found_at_their_new_place),
		KARC_TESTS(untouched_memory_melts_into_its_new_neighbours),
		karc_unit_test(touched_memory_keeps_its_anon_vma_when_it_melts),
		karc_unit_test(special_mappings_move_whole_or_not_at_all),
		karc_unit_test(a_mapping_that_refuses_goes_back),
		KARC_TESTS(no_cpu_remembers_the_old_place),
		KARC_TESTS(failing_anywhere_leaves_everything_where_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
