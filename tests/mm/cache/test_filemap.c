/* SPDX-License-Identifier: MIT */
/*
 * Goal: a mapping owns its pages, each index has one page that is filled once, and what is dropped
 * can be made again.
 * Method: counts of single pages, fill callbacks that yield and count, concurrent readers on four
 * CPUs, corrupted structures shown to the check.
 */
#include <string.h>

#include <karc/hw/fiber.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/refcount/ledger.h>
#include "fixture.h"

struct contents {
	unsigned int fills;
	int err;
};

static int fill_ones(void *priv, pgoff_t index, void *kaddr)
{
	struct contents *c = priv;

	(void)index;
	__atomic_fetch_add(&c->fills, 1, __ATOMIC_RELAXED);
	fiber_yield();
	memset(kaddr, 0xff, PAGE_SIZE);
	return c->err;
}

static const struct memfile_ops ones_ops = { .fill = fill_ones };

static struct file *ones_file(struct contents *c, loff_t size)
{
	struct file *file;

	*c = (struct contents) { 0 };
	file = memfile_create("ones", size, 0644, &ones_ops, c);
	assert_false(IS_ERR(file));
	return file;
}

static void the_cache_holds_one_reference_on_each_page(void **state)
{
	struct contents c;
	struct file *file = ones_file(&c, 10 * PAGE_SIZE);
	struct address_space *mapping = file->f_mapping;
	struct page *page, *same;
	(void)state;

	assert_null(find_get_page(mapping, 3));
	page = read_cache_page(mapping, 3);
	assert_false(IS_ERR(page));
	assert_int_equal(page_count(page), 2);
	assert_true(PageUptodate(page));
	assert_false(PageLocked(page));
	same = read_cache_page(mapping, 3);
	assert_ptr_equal(same, page);
	assert_int_equal(c.fills, 1);
	put_page(same);
	assert_int_equal(mapping->nrpages, 1);
	assert_int_equal(page_cache_count(), 1);
	fput(file);
	assert_int_equal(page_count(page), 1);
	assert_null(page->mapping);
	put_page(page);
}

static void bytes_past_the_end_of_the_file_read_as_zero(void **state)
{
	struct contents c;
	struct file *file = ones_file(&c, PAGE_SIZE + 10);
	struct page *page = read_cache_page(file->f_mapping, 1);
	unsigned char *bytes = page_address(page);
	(void)state;

	for (unsigned int i = 0; i < PAGE_SIZE; i++)
		assert_int_equal(bytes[i], i < 10 ? 0xff : 0);
	put_page(page);
	page = read_cache_page(file->f_mapping, 2);
	bytes = page_address(page);
	assert_int_equal(bytes[0], 0);
	put_page(page);
	assert_int_equal(c.fills, 1);
	fput(file);
}

static void a_page_that_cannot_be_filled_does_not_stay(void **state)
{
	struct contents c;
	struct file *file = ones_file(&c, PAGE_SIZE);
	struct page *page;
	(void)state;

	c.err = -EIO;
	assert_int_equal(PTR_ERR(read_cache_page(file->f_mapping, 0)), -EIO);
	assert_int_equal(file->f_mapping->nrpages, 0);
	c.err = 0;
	page = read_cache_page(file->f_mapping, 0);
	assert_false(IS_ERR(page));
	assert_int_equal(c.fills, 2);
	put_page(page);
	fput(file);
}

struct reader {
	struct address_space *mapping;
	struct page *page[8];
};

static long read_all(void *arg)
{
	struct reader *r = arg;

	for (unsigned int i = 0; i < 8; i++) {
		r->page[i] = read_cache_page(r->mapping, i);
		assert_false(IS_ERR(r->page[i]));
		assert_int_equal(*(unsigned char *)page_address(r->page[i]), 0xff);
	}
	return 0;
}

static void concurrent_readers_share_one_page_filled_once(void **state)
{
	struct contents c;
	struct file *file = ones_file(&c, 8 * PAGE_SIZE);
	struct reader reader[4];
	struct fiber *fiber[4];
	(void)state;

	for (unsigned int i = 0; i < 4; i++) {
		reader[i].mapping = file->f_mapping;
		fiber[i] = fiber_spawn(i, "reader", read_all, &reader[i]);
	}
	for (unsigned int i = 0; i < 4; i++)
		fiber_join(fiber[i], NULL);
	assert_int_equal(c.fills, 8);
	for (unsigned int p = 0; p < 8; p++) {
		assert_int_equal(page_count(reader[0].page[p]), 5);
		for (unsigned int i = 0; i < 4; i++) {
			assert_ptr_equal(reader[i].page[p], reader[0].page[p]);
			put_page(reader[i].page[p]);
		}
	}
	fput(file);
}

struct locker {
	struct page *page;
	bool got;
};

static long lock_and_note(void *arg)
{
	struct locker *l = arg;

	lock_page(l->page);
	WRITE_ONCE(l->got, true);
	unlock_page(l->page);
	return 0;
}

static void the_page_lock_is_exclusive_and_sleeps(void **state)
{
	struct locker locker = { alloc_page(GFP_KERNEL), false };
	struct fiber *fiber;
	(void)state;

	assert_true(trylock_page(locker.page));
	assert_false(trylock_page(locker.page));
	fiber = fiber_spawn(smp_processor_id(), "locker", lock_and_note, &locker);
	for (unsigned int i = 0; i < 50; i++)
		fiber_yield();
	assert_false(READ_ONCE(locker.got));
	unlock_page(locker.page);
	fiber_join(fiber, NULL);
	assert_true(locker.got);
	put_page(locker.page);
}

static long unlock_twice(void *arg)
{
	unlock_page(arg);
	return 0;
}

static void unlocking_what_is_not_locked_is_a_bug(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	(void)state;

	expect_bug(unlock_twice, page, "PageLocked");
	put_page(page);
}

static void truncation_drops_pages_and_growing_again_reads_zero(void **state)
{
	struct contents c;
	struct file *file = ones_file(&c, 4 * PAGE_SIZE);
	struct address_space *mapping = file->f_mapping;
	struct page *page;
	unsigned char *bytes;
	(void)state;

	for (pgoff_t i = 0; i < 4; i++)
		put_page(read_cache_page(mapping, i));
	assert_int_equal(file_truncate(file, PAGE_SIZE + 100), 0);
	assert_int_equal(mapping->nrpages, 2);
	assert_int_equal(file_truncate(file, 4 * PAGE_SIZE), 0);
	page = read_cache_page(mapping, 1);
	bytes = page_address(page);
	assert_int_equal(bytes[99], 0xff);
	assert_int_equal(bytes[100], 0);
	put_page(page);
	page_cache_shrink(~0UL);
	page = read_cache_page(mapping, 1);
	bytes = page_address(page);
	assert_int_equal(bytes[99], 0xff);
	assert_int_equal(bytes[100], 0);
	put_page(page);
	page = read_cache_page(mapping, 2);
	assert_int_equal(*(unsigned char *)page_address(page), 0);
	put_page(page);
	fput(file);
}

static void only_clean_unused_pages_are_invalidated(void **state)
{
	struct contents c;
	struct file *file = ones_file(&c, 5 * PAGE_SIZE);
	struct address_space *mapping = file->f_mapping;
	struct page *page[5];
	(void)state;

	for (pgoff_t i = 0; i < 5; i++) {
		page[i] = read_cache_page(mapping, i);
		if (i != 1)
			put_page(page[i]);
	}
	assert_true(set_page_dirty(page[2]));
	assert_false(set_page_dirty(page[2]));
	lock_page(page[3]);
	assert_int_equal(invalidate_mapping_pages(mapping, 0, ~0UL, ~0UL), 2);
	assert_int_equal(mapping->nrpages, 3);
	unlock_page(page[3]);
	put_page(page[1]);
	assert_int_equal(invalidate_mapping_pages(mapping, 0, ~0UL, ~0UL), 2);
	assert_int_equal(mapping->nrpages, 1);
	fput(file);
}

static void shrinking_takes_from_all_files_and_as_much_as_asked(void **state)
{
	struct contents c[3];
	struct file *file[3];
	(void)state;

	for (unsigned int i = 0; i < 3; i++) {
		file[i] = ones_file(&c[i], 10 * PAGE_SIZE);
		for (pgoff_t p = 0; p < 10; p++)
			put_page(read_cache_page(file[i]->f_mapping, p));
	}
	assert_int_equal(page_cache_count(), 30);
	assert_int_equal(page_cache_shrink(12), 12);
	assert_int_equal(page_cache_count(), 18);
	assert_int_equal(page_cache_shrink(~0UL), 18);
	assert_int_equal(page_cache_shrink(~0UL), 0);
	for (unsigned int i = 0; i < 3; i++)
		fput(file[i]);
}

static long read_far(void *arg)
{
	struct file *file = arg;
	struct page *page = read_cache_page(file->f_mapping, 1UL << 40);

	if (IS_ERR(page))
		return PTR_ERR(page);
	put_page(page);
	return 0;
}

static void read_far_undo(void *arg)
{
	struct file *file = arg;

	invalidate_mapping_pages(file->f_mapping, 0, ~0UL, ~0UL);
}

static void world(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
	values[1] = ledger_live_total(this_machine());
	values[2] = page_cache_count();
}

static void a_failed_read_leaves_the_cache_unchanged(void **state)
{
	struct contents c;
	struct file *file = ones_file(&c, 1LL << 60);
	(void)state;

	assert_true(fixture_fail_nth(read_far, read_far_undo, world, file) >= 2);
	fput(file);
}

static void check_finds_a_wrong_index_and_a_wrong_number(void **state)
{
	struct check_report report = { .quiet = true };
	struct contents c;
	struct file *file = ones_file(&c, PAGE_SIZE);
	struct page *page = read_cache_page(file->f_mapping, 0);
	(void)state;

	page->index = 7;
	mapping_check(file->f_mapping, &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "I1"));
	page->index = 0;
	file->f_mapping->nrpages = 2;
	mapping_check(file->f_mapping, &report);
	assert_int_equal(report.nr_violations, 2);
	assert_non_null(strstr(report.last, "I2"));
	file->f_mapping->nrpages = 1;
	put_page(page);
	fput(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(the_cache_holds_one_reference_on_each_page),
		karc_unit_test(bytes_past_the_end_of_the_file_read_as_zero),
		karc_unit_test(a_page_that_cannot_be_filled_does_not_stay),
		karc_unit_test_cpus(concurrent_readers_share_one_page_filled_once, 4),
		KARC_TESTS(the_page_lock_is_exclusive_and_sleeps),
		karc_unit_test(unlocking_what_is_not_locked_is_a_bug),
		karc_unit_test(truncation_drops_pages_and_growing_again_reads_zero),
		karc_unit_test(only_clean_unused_pages_are_invalidated),
		karc_unit_test(shrinking_takes_from_all_files_and_as_much_as_asked),
		karc_unit_test(a_failed_read_leaves_the_cache_unchanged),
		karc_unit_test(check_finds_a_wrong_index_and_a_wrong_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
