/* SPDX-License-Identifier: MIT */
/*
 * Goal: unmapping, copying for fork and protecting a range keep one reference and one mapcount for
 * each entry, flush before they free, and leave the world as it was when memory runs out.
 * Method: counts of single frames; fail-nth over copy_page_range(); programs on four CPUs that keep
 * touching what another CPU unmaps.
 */
#include "space_test.h"

#include <karc/hw/fiber.h>
#include <karc/hw/tlb.h>
#include <karc/mm/cache/rmap.h>
#include <karc/mm/pgtable/tlbflush.h>
#include <karc/mm/phys/page_alloc.h>

static struct page *page_at(struct mm_struct *mm, unsigned long addr)
{
	pte_t pte = mm_lookup_pte(mm, addr);

	return pte_present(pte) && !pte_special(pte) ? pte_page(pte) : NULL;
}

/* ---- unmap ---- */

static void a_range_is_emptied_and_its_neighbours_are_not(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma;
	(void)state;

	map_at(mm, BASE, 700, RW);
	for (unsigned int i = 0; i < 700; i++)
		assert_true(poke(mm, BASE + i * P, 1));
	vma = vma_lookup(mm, BASE);
	mmap_read_lock(mm);
	zap_page_range_single(vma, BASE + 10 * P, 500 * P);
	mmap_read_unlock(mm);
	assert_int_equal(get_mm_rss(mm), 200);
	assert_int_equal(peek(mm, BASE + 9 * P), 1);
	assert_int_equal(peek(mm, BASE + 10 * P), 0);
	assert_int_equal(peek(mm, BASE + 509 * P), 0);
	assert_int_equal(peek(mm, BASE + 510 * P), 1);
	check_mm_clean(mm);
	mmput(mm);
}

static void a_held_frame_outlives_its_mapping(void **state)
{
	struct mm_struct *mm = new_mm();
	struct page *page;
	(void)state;

	map_at(mm, BASE, 1, RW);
	assert_true(poke(mm, BASE, 'k'));
	page = page_at(mm, BASE);
	get_page(page);
	assert_int_equal(ksys_munmap(mm, BASE, P), 0);
	assert_int_equal(page_count(page), 1);
	assert_int_equal(page_mapcount(page), 0);
	assert_int_equal(*(char *)page_address(page), 'k');
	put_page(page);
	mmput(mm);
}

static void only_pages_of_the_file_go_when_copies_are_spared(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("f", 4);
	(void)state;

	assert_int_equal(ksys_mmap(mm, BASE, 4 * P, RW, MAP_PRIVATE | MAP_FIXED, file, 0), BASE);
	assert_int_equal(peek(mm, BASE), 0);
	assert_true(poke(mm, BASE + P, 'c'));
	assert_int_equal(peek(mm, BASE + 2 * P), 0);
	unmap_mapping_pages(file->f_mapping, 0, 2, false);
	assert_null(page_at(mm, BASE));
	assert_int_equal(peek(mm, BASE + P), 'c');
	assert_non_null(page_at(mm, BASE + 2 * P));
	unmap_mapping_pages(file->f_mapping, 1, ~0UL, true);
	assert_null(page_at(mm, BASE + P));
	assert_null(page_at(mm, BASE + 2 * P));
	assert_int_equal(get_mm_rss(mm), 0);
	fput(file);
	mmput(mm);
}

/* ---- fork ---- */

static void fork_shares_private_frames_and_leaves_out_what_faults_bring_back(void **state)
{
	struct mm_struct *mm = new_mm(), *child;
	struct file *file = new_file("f", 2);
	(void)state;

	map_at(mm, BASE, 2, RW);
	assert_int_equal(ksys_mmap(mm, BASE + 4 * P, 2 * P, RW, MAP_SHARED | MAP_FIXED, file, 0),
			 BASE + 4 * P);
	assert_int_equal(ksys_mmap(mm, BASE + 8 * P, 2 * P, RW, MAP_PRIVATE | MAP_FIXED, file, 0),
			 BASE + 8 * P);
	assert_true(poke(mm, BASE, 'a'));
	assert_int_equal(peek(mm, BASE + P), 0);
	assert_true(poke(mm, BASE + 4 * P, 's'));
	assert_int_equal(peek(mm, BASE + 8 * P), 's');
	child = dup_mm(mm);
	assert_ptr_equal(page_at(child, BASE), page_at(mm, BASE));
	assert_false(pte_write(mm_lookup_pte(mm, BASE)));
	assert_false(pte_write(mm_lookup_pte(child, BASE)));
	assert_true(pte_special(mm_lookup_pte(child, BASE + P)));
	assert_true(pte_none(mm_lookup_pte(child, BASE + 4 * P)));
	assert_true(pte_none(mm_lookup_pte(child, BASE + 8 * P)));
	assert_true(pte_write(mm_lookup_pte(mm, BASE + 4 * P)));
	assert_int_equal(get_mm_counter(child, MM_ANONPAGES), 1);
	assert_int_equal(get_mm_counter(child, MM_FILEPAGES), 0);
	assert_int_equal(peek(child, BASE + 4 * P), 's');
	assert_true(poke(child, BASE + 4 * P, 't'));
	assert_int_equal(peek(mm, BASE + 4 * P), 't');
	assert_int_equal(peek(mm, BASE + 8 * P), 't');
	check_mm_clean(child);
	mmput(child);
	fput(file);
	mmput(mm);
}

static void fork_with_most_of_memory_touched_succeeds(void **state)
{
	unsigned long pages = phys_nr_free(this_machine()) * 2 / 3;
	struct mm_struct *mm = new_mm(), *child;
	(void)state;

	for (unsigned int round = 0; round < 3; round++) {
		assert_int_equal(map(mm, BASE, pages, RW, FIXED | MAP_NORESERVE), BASE);
		for (unsigned long i = 0; i < pages; i++)
			assert_true(poke(mm, BASE + i * P, (unsigned char)i));
		child = dup_mm(mm);
		assert_non_null(child);
		assert_int_equal(get_mm_rss(child), pages);
		assert_true(poke(child, BASE, 77));
		mmput(child);
		for (unsigned long i = 0; i < pages; i += 97)
			assert_int_equal(peek(mm, BASE + i * P), (unsigned char)i);
		assert_int_equal(ksys_munmap(mm, BASE, pages * P), 0);
	}
	mmput(mm);
}

struct copy {
	struct mm_struct *mm;
	struct mm_struct *child;
	struct vm_area_struct *dst;
};

static long copy_body(void *arg)
{
	struct copy *c = arg;
	int err;

	mmap_write_lock(c->mm);
	err = copy_page_range(c->dst, vma_lookup(c->mm, BASE));
	mmap_write_unlock(c->mm);
	if (err)
		assert_int_equal(err, -ENOMEM);
	return err;
}

static void copy_undo(void *arg)
{
	struct copy *c = arg;
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, c->child);
	unmap_page_range(&tlb, c->dst, c->dst->vm_start, c->dst->vm_end);
	free_pgtables(&tlb, c->child, c->dst->vm_start, c->dst->vm_end);
	tlb_finish_mmu(&tlb);
}

static void copy_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct copy *c = arg;

	machine_quiesce(this_machine());
	space_snapshot(c->mm, values);
	values[20] = phys_nr_free(this_machine());
	values[21] = get_mm_rss(c->child);
	values[22] = mm_pgtables_bytes(c->child);
	values[23] = (u64)page_count(page_at(c->mm, BASE));
	values[24] = (u64)page_mapcount(page_at(c->mm, BASE + PUD_SIZE));
	values[25] = ledger_live_total(this_machine());
	check_mm_clean(c->child);
}

static void a_copy_that_runs_out_of_memory_leaves_the_child_empty(void **state)
{
	struct copy c = { new_mm(), new_mm(), NULL };
	const unsigned long pages = (2 * PUD_SIZE) >> PAGE_SHIFT;
	(void)state;

	assert_int_equal(map(c.mm, BASE, pages, RW, FIXED | MAP_NORESERVE), BASE);
	assert_true(poke(c.mm, BASE, 1));
	assert_true(poke(c.mm, BASE + 5 * PMD_SIZE, 2));
	assert_true(poke(c.mm, BASE + PUD_SIZE, 3));
	/* A child by hand: the same VMA, as dup_mmap() would have it. */
	assert_int_equal(map(c.child, BASE, pages, RW, FIXED | MAP_NORESERVE), BASE);
	c.dst = vma_lookup(c.child, BASE);
	assert_int_equal(anon_vma_fork(c.dst, vma_lookup(c.mm, BASE)), 0);
	assert_int_equal(fixture_fail_nth(copy_body, copy_undo, copy_snapshot, &c), 6);
	assert_int_equal(copy_body(&c), 0);
	assert_int_equal(peek(c.child, BASE + 5 * PMD_SIZE), 2);
	mmput(c.child);
	assert_int_equal(peek(c.mm, BASE + PUD_SIZE), 3);
	mmput(c.mm);
}

/* ---- protect ---- */

static void protection_keeps_dirty_and_gives_writing_back_only_when_alone(void **state)
{
	struct mm_struct *mm = new_mm(), *child;
	(void)state;

	map_at(mm, BASE, 2, RW);
	assert_true(poke(mm, BASE, 1));
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, PROT_READ), 0);
	assert_false(pte_write(mm_lookup_pte(mm, BASE)));
	assert_true(pte_dirty(mm_lookup_pte(mm, BASE)));
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, RW), 0);
	assert_true(pte_write(mm_lookup_pte(mm, BASE)));
	child = dup_mm(mm);
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, PROT_READ), 0);
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, RW), 0);
	assert_false(pte_write(mm_lookup_pte(mm, BASE)));
	assert_true(poke(mm, BASE, 2));
	assert_int_equal(peek(child, BASE), 1);
	mmput(child);
	/* The zero page never becomes writable. */
	assert_int_equal(peek(mm, BASE + P), 0);
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, PROT_READ), 0);
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, RW), 0);
	assert_false(pte_write(mm_lookup_pte(mm, BASE + P)));
	mmput(mm);
}

/* ---- several CPUs ---- */

#define SHOOT_PAGES	16

struct toucher {
	struct mm_struct *mm;
	const unsigned char *current;	/* what the page last mapped there holds */
	const bool *stop;
	unsigned long seen;
};

/* Loads must never see bytes of a mapping that is gone. */
static long touch(void *arg)
{
	struct toucher *t = arg;
	unsigned char byte;
	unsigned int i = 0;

	switch_mm(NULL, t->mm);
	while (!READ_ONCE(*t->stop)) {
		unsigned char before = READ_ONCE(*t->current);

		if (!mmu_access_user(BASE + (i++ % SHOOT_PAGES) * P, &byte, 1, MMU_READ)) {
			/* Current, or newer, or new and not yet written. */
			if (byte)
				assert_true((unsigned char)(byte - before) < 128);
			WRITE_ONCE(t->seen, t->seen + 1);
		}
		fault_take_pending(NULL);
		fiber_yield();
	}
	switch_mm(t->mm, NULL);
	return 0;
}

static void no_cpu_sees_a_mapping_that_was_replaced(void **state)
{
	struct mm_struct *mm = new_mm();
	struct toucher toucher[4];
	struct fiber *fiber[4];
	unsigned char current = 0;
	bool stop = false;
	(void)state;

	for (unsigned int cpu = 1; cpu < 4; cpu++) {
		toucher[cpu] = (struct toucher) { mm, &current, &stop, 0 };
		fiber[cpu] = fiber_spawn(cpu, "toucher", touch, &toucher[cpu]);
	}
	for (unsigned int round = 1; round < 100; round++) {
		map_at(mm, BASE, SHOOT_PAGES, RW);
		for (unsigned int i = 0; i < SHOOT_PAGES; i++) {
			assert_true(poke(mm, BASE + i * P, (unsigned char)round));
			fiber_yield();
		}
		/* All are at it before the first mapping goes. */
		for (unsigned int cpu = 1; cpu < 4; cpu++)
			while (!READ_ONCE(toucher[cpu].seen))
				fiber_yield();
		assert_int_equal(ksys_munmap(mm, BASE, SHOOT_PAGES * P), 0);
		for (unsigned int cpu = 1; cpu < 4; cpu++)
			for (unsigned int i = 0; i < SHOOT_PAGES; i++)
				assert_false(tlb_holds(machine_cpu(this_machine(), cpu),
						       BASE + i * P, false));
		WRITE_ONCE(current, (unsigned char)(round + 1));
	}
	WRITE_ONCE(stop, true);
	for (unsigned int cpu = 1; cpu < 4; cpu++)
		fiber_join(fiber[cpu], NULL);
	mmput(mm);
}

struct truncater {
	struct file *file;
	const bool *stop;
};

static long truncate_again_and_again(void *arg)
{
	struct truncater *t = arg;

	while (!READ_ONCE(*t->stop)) {
		assert_int_equal(file_truncate(t->file, 0), 0);
		assert_int_equal(file_truncate(t->file, 8 * (loff_t)P), 0);
		fiber_yield();
	}
	return 0;
}

static void truncation_and_unmapping_at_the_same_time_lose_nothing(void **state)
{
	struct file *file = new_file("f", 8);
	struct mm_struct *mm = new_mm();
	bool stop = false;
	struct truncater t = { file, &stop };
	struct fiber *fiber = fiber_spawn(1, "truncater", truncate_again_and_again, &t);
	(void)state;

	for (unsigned int round = 0; round < 100; round++) {
		assert_int_equal(ksys_mmap(mm, BASE, 8 * P, RW, MAP_SHARED | MAP_FIXED, file, 0),
				 BASE);
		for (unsigned int i = 0; i < 8; i++)
			poke(mm, BASE + i * P, 1);	/* may be past the end just now */
		assert_int_equal(ksys_munmap(mm, BASE, 8 * P), 0);
		assert_int_equal(get_mm_rss(mm), 0);
		assert_int_equal(mm_pgtables_bytes(mm), 0);
	}
	WRITE_ONCE(stop, true);
	fiber_join(fiber, NULL);
	fput(file);
	mmput(mm);
}

int main(void)
{
	static const struct machine_config small = { .mem_bytes = 32UL << 20 };
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_range_is_emptied_and_its_neighbours_are_not),
		karc_unit_test(a_held_frame_outlives_its_mapping),
		karc_unit_test(only_pages_of_the_file_go_when_copies_are_spared),
		karc_unit_test(fork_shares_private_frames_and_leaves_out_what_faults_bring_back),
		karc_unit_test_config(fork_with_most_of_memory_touched_succeeds, 1, &small),
		karc_unit_test_config(fork_with_most_of_memory_touched_succeeds, 4, &small),
		karc_unit_test(a_copy_that_runs_out_of_memory_leaves_the_child_empty),
		karc_unit_test(protection_keeps_dirty_and_gives_writing_back_only_when_alone),
		karc_unit_test_cpus(no_cpu_sees_a_mapping_that_was_replaced, 4),
		karc_unit_test_cpus(truncation_and_unmapping_at_the_same_time_lose_nothing, 4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
