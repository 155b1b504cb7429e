/* SPDX-License-Identifier: MIT */
/*
 * Goal: a machine whose memory is full of clean cached pages can still allocate; what is dirty, in
 * use or mapped stays.
 * Method: a small machine and a file larger than its memory; shrinkers that hold pages.
 */
#include <string.h>

#include <karc/mm/cache/filemap.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/reclaim/shrinker.h>
#include <karc/mm/reclaim/vmscan.h>
#include <karc/mm/slab/kmalloc.h>
#include "fixture.h"
#include "mm/kva/internal.h"

static const struct machine_config small = { .mem_bytes = 16UL << 20 };

static int fill_index(void *priv, pgoff_t index, void *kaddr)
{
	(void)priv;
	memcpy(kaddr, &index, sizeof(index));
	return 0;
}

static const struct memfile_ops index_ops = { .fill = fill_index };

static void reading_a_file_larger_than_memory_recycles_its_clean_pages(void **state)
{
	const pgoff_t nr = (32UL << 20) >> PAGE_SHIFT;
	struct file *file = memfile_create("big", (loff_t)(nr << PAGE_SHIFT), 0600, &index_ops,
					   NULL);
	(void)state;

	for (pgoff_t round = 0; round < 2; round++) {
		for (pgoff_t i = 0; i < nr; i++) {
			struct page *page = read_cache_page(file->f_mapping, i);

			assert_false(IS_ERR(page));
			assert_int_equal(*(pgoff_t *)page_address(page), i);
			put_page(page);
		}
	}
	assert_true(reclaim_stats().cache_pages > nr / 2);
	assert_true(page_cache_count() < nr / 2);
	fput(file);
}

static void dirty_pages_are_never_dropped(void **state)
{
	struct file *file = memfile_create("dirty", 0, 0600, NULL, NULL);
	static char block[PAGE_SIZE];
	unsigned long i, nr = 0;
	loff_t pos = 0;
	(void)state;

	for (i = 0; ; i++) {
		memset(block, (int)i, sizeof(block));
		if (kernel_write(file, block, sizeof(block), &pos) != (ssize_t)sizeof(block))
			break;
	}
	/* Memory is full of them, and nothing of it can be taken. */
	assert_true(i > 2000);
	assert_int_equal(drop_caches() ? reclaim_stats().cache_pages : 0, 0);
	pos = 0;
	while (kernel_read(file, block, sizeof(block), &pos) == (ssize_t)sizeof(block))
		assert_int_equal((unsigned char)block[100], (unsigned char)nr++);
	assert_int_equal(nr, i);
	assert_true(reclaim_stats().useless > 0);
	fput(file);
}

/* A cache of pages that a shrinker gives back. */
struct hoard {
	struct shrinker shrinker;
	struct page *page[4096];
	unsigned long nr;
	unsigned int nested;
};

static unsigned long hoard_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	(void)sc;
	return container_of(shrinker, struct hoard, shrinker)->nr;
}

static unsigned long hoard_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct hoard *hoard = container_of(shrinker, struct hoard, shrinker);
	unsigned long freed = 0;

	/* Reclaim does not nest: from inside there is nothing. */
	hoard->nested += try_to_free_pages(GFP_KERNEL, 0, 1) != 0;
	for (; freed < sc->nr_to_scan && hoard->nr; freed++)
		put_page(hoard->page[--hoard->nr]);
	return freed;
}

static void shrinkers_give_their_memory_to_an_allocation_in_need(void **state)
{
	static struct hoard hoard;
	struct page *page[256];
	unsigned int nr = 0;
	(void)state;

	memset(&hoard, 0, sizeof(hoard));
	hoard.shrinker.count_objects = hoard_count;
	hoard.shrinker.scan_objects = hoard_scan;
	hoard.shrinker.seeks = DEFAULT_SEEKS;
	while (hoard.nr < ARRAY_SIZE(hoard.page)) {
		struct page *p = alloc_page(GFP_KERNEL | __GFP_NOWARN);

		if (!p)
			break;
		hoard.page[hoard.nr++] = p;
	}
	assert_null(alloc_page(GFP_KERNEL | __GFP_NOWARN));
	assert_int_equal(register_shrinker(&hoard.shrinker, "hoard"), 0);
	for (nr = 0; nr < ARRAY_SIZE(page); nr++) {
		page[nr] = alloc_page(GFP_KERNEL);
		assert_non_null(page[nr]);
	}
	assert_int_equal(hoard.nested, 0);
	assert_true(reclaim_stats().slab_objects > 0);
	while (nr)
		put_page(page[--nr]);
	unregister_shrinker(&hoard.shrinker);
	while (hoard.nr)
		put_page(hoard.page[--hoard.nr]);
}

static void empty_slabs_go_back(void **state)
{
	static void *object[2000];
	unsigned long before;
	(void)state;

	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	for (unsigned int i = 0; i < ARRAY_SIZE(object); i++) {
		object[i] = kmalloc(512, GFP_KERNEL);
		assert_non_null(object[i]);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(object); i++)
		kfree(object[i]);
	assert_true(drop_caches() > 0);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static void drop_caches_takes_all_clean_pages(void **state)
{
	struct file *file = memfile_create("f", 64 * PAGE_SIZE, 0600, &index_ops, NULL);
	struct page *held;
	(void)state;

	for (pgoff_t i = 0; i < 64; i++)
		put_page(read_cache_page(file->f_mapping, i));
	held = read_cache_page(file->f_mapping, 9);
	assert_true(drop_caches() >= 63);
	assert_int_equal(page_cache_count(), 1);
	put_page(held);
	fput(file);
}

static void an_allocation_that_may_not_sleep_does_not_reclaim(void **state)
{
	struct file *file = memfile_create("f", 8192 * PAGE_SIZE, 0600, &index_ops, NULL);
	unsigned long runs;
	struct page *page;
	pgoff_t i = 0;
	(void)state;

	while (!reclaim_stats().runs) {
		page = read_cache_page(file->f_mapping, i++);
		assert_false(IS_ERR(page));
		put_page(page);
	}
	runs = reclaim_stats().runs;
	for (i = 0; i < 10000; i++) {
		page = alloc_page(GFP_NOWAIT | __GFP_NOWARN);
		if (!page)
			break;
		put_page(page);
	}
	assert_int_equal(reclaim_stats().runs, runs);
	fput(file);
}

/* Tests' machines track, and keep nothing: this one is told to. */
static void areas_that_were_freed_and_kept_go_first(void **state)
{
	struct kva *kva = machine_room(this_machine(), ROOM_KVA);
	struct reclaim_stats before, after;

	(void)state;
	kva->eager = false;
	vfree(vmalloc(40 * PAGE_SIZE));
	assert_int_equal(vmalloc_nr_lazy(this_machine()), 41);
	before = reclaim_stats();
	assert_true(try_to_free_pages(GFP_KERNEL, 0, 1) >= 40);
	after = reclaim_stats();
	assert_int_equal(vmalloc_nr_lazy(this_machine()), 0);
	assert_true(after.area_pages >= before.area_pages + 40);
	assert_int_equal(after.slab_objects, before.slab_objects);
	assert_int_equal(after.useless, before.useless);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(areas_that_were_freed_and_kept_go_first),
		karc_unit_test_config(reading_a_file_larger_than_memory_recycles_its_clean_pages, 1,
				      &small),
		karc_unit_test_config(reading_a_file_larger_than_memory_recycles_its_clean_pages, 4,
				      &small),
		karc_unit_test_config(dirty_pages_are_never_dropped, 1, &small),
		karc_unit_test_config(shrinkers_give_their_memory_to_an_allocation_in_need, 1,
				      &small),
		KARC_TESTS(empty_slabs_go_back),
		KARC_TESTS(drop_caches_takes_all_clean_pages),
		karc_unit_test_config(an_allocation_that_may_not_sleep_does_not_reclaim, 1, &small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
