/* SPDX-License-Identifier: MIT */
/*
 * Goal: lookups, fills, truncations, holes, reclaim and the end of files hold when CPUs really do
 * them at once.
 * Method: pages whose bytes say what they may be; sums that must agree when it is quiet again;
 * files that die while others look for them.
 */
#include <fcntl.h>
#include <string.h>

#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/refcount/ledger.h>
#include "storm.h"

#define NR_PAGES	24u
#define P		((loff_t)PAGE_SIZE)
#define PUNCH		(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

/* All that the CPUs of one test share. */
struct shared {
	struct file *file;
	unsigned int fills;
	unsigned int locked;		/* plain: the page lock guards it */
	struct page *page;
};

static u64 word_of(pgoff_t index)
{
	return (index + 1) * 0x9e3779b97f4a7c15ULL;
}

static int fill_words(void *priv, pgoff_t index, void *kaddr)
{
	struct shared *s = priv;
	u64 *words = kaddr;

	__atomic_fetch_add(&s->fills, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		words[i] = word_of(index);
	return 0;
}

static const struct memfile_ops word_ops = { .fill = fill_words };

static void assert_page_is_whole(struct page *page, pgoff_t index)
{
	const u64 *words = page_address(page);
	u64 first = words[0];

	assert_true(first == word_of(index) || first == 0);
	assert_int_equal(words[PAGE_SIZE / sizeof(*words) - 1], first);
}

/* The first CPU cuts and grows, some drop what is clean, all look. Sizes are whole pages. */
static long looks_while_it_is_cut(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;
	unsigned int id = w->index;

	for (unsigned int i = 0; i < 400; i++) {
		pgoff_t index = rnd_below(&w->rnd, NR_PAGES);
		struct page *page;

		if (!id && i % 4 == 0)
			assert_int_equal(file_truncate(s->file, P * rnd_below(&w->rnd, NR_PAGES)),
					 0);
		if (i % 16 == id)
			page_cache_shrink(~0UL);
		page = read_cache_page(s->file->f_mapping, index);
		assert_false(IS_ERR(page));
		assert_page_is_whole(page, index);
		put_page(page);
		page = find_lock_page(s->file->f_mapping, index);
		if (page) {
			assert_int_equal(page->index, index);
			assert_page_is_whole(page, index);
			unlock_page(page);
			put_page(page);
		}
	}
	return 0;
}

static void lookups_see_whole_pages_while_the_file_is_cut(void **state)
{
	static struct shared s;
	struct storm storm;
	(void)state;

	memset(&s, 0, sizeof(s));
	s.file = memfile_create("f", NR_PAGES * P, 0600, &word_ops, &s);
	storm_run(&storm, 1, looks_while_it_is_cut, &s);
	assert_int_equal(machine_check(this_machine()), 0);
	fput(s.file);
	assert_int_equal(page_cache_count(), 0);
}

static long reads_all(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;

	for (pgoff_t i = 0; i < NR_PAGES; i++) {
		struct page *page = read_cache_page(s->file->f_mapping, i);

		assert_page_is_whole(page, i);
		put_page(page);
	}
	return 0;
}

static void each_page_is_filled_by_one_cpu(void **state)
{
	static struct shared s;
	struct storm storm;
	(void)state;

	memset(&s, 0, sizeof(s));
	s.file = memfile_create("f", NR_PAGES * P, 0600, &word_ops, &s);
	storm_run(&storm, 1, reads_all, &s);
	assert_int_equal(s.fills, NR_PAGES);
	fput(s.file);
}

/* ---- memory files ---- */

static void random_call(struct shared *s, struct rnd *rnd, unsigned int id)
{
	loff_t at = (loff_t)rnd_below(rnd, NR_PAGES) * P, len = (1 + (loff_t)rnd_below(rnd, 4)) * P;
	char byte = (char)id;

	switch (rnd_below(rnd, 6)) {
	case 0:
		assert_int_equal(vfs_fallocate(s->file, PUNCH, at, len), 0);
		break;
	case 1:
		assert_int_equal(vfs_fallocate(s->file, FALLOC_FL_KEEP_SIZE, at, len), 0);
		break;
	case 2:
		assert_int_equal(file_truncate(s->file, at), 0);
		break;
	case 3:
		put_page(read_cache_page(s->file->f_mapping, (pgoff_t)(at / P)));
		break;
	default:
		assert_int_equal(kernel_write(s->file, &byte, 1, &at), 1);
	}
}

static long changes_a_memory_file(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;
	unsigned int id = w->index;

	for (unsigned int i = 0; i < 300; i++) {
		random_call(s, &w->rnd, id);
		if (i % 32 == id)
			page_cache_shrink(~0UL);
	}
	return 0;
}

static void sums_of_a_memory_file_agree_after_the_storm(void **state)
{
	static struct shared s;
	struct storm storm;
	(void)state;

	memset(&s, 0, sizeof(s));
	s.file = ksys_memfd_create("storm", 0);
	storm_run(&storm, 1, changes_a_memory_file, &s);
	assert_int_equal(machine_check(this_machine()), 0);
	assert_int_equal(shmem_accounted_pages(), s.file->f_mapping->nrpages);
	assert_int_equal(global_node_page_state(NR_SHMEM), s.file->f_mapping->nrpages);
	fput(s.file);
	assert_int_equal(shmem_accounted_pages(), 0);
	assert_int_equal(global_node_page_state(NR_SHMEM), 0);
}

static long writes_its_part(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;
	unsigned int id = w->index;
	char line[700];

	memset(line, (int)('a' + id), sizeof(line));
	for (unsigned int i = 0; i < 60; i++) {
		loff_t pos = (loff_t)((i * w->storm->nr + id) * sizeof(line));

		assert_int_equal(kernel_write(s->file, line, sizeof(line), &pos), sizeof(line));
	}
	return 0;
}

static void writers_on_all_cpus_lose_nothing(void **state)
{
	static struct shared s;
	struct storm storm;
	char line[700];
	loff_t pos = 0;
	(void)state;

	memset(&s, 0, sizeof(s));
	s.file = ksys_memfd_create("storm", 0);
	storm_run(&storm, 1, writes_its_part, &s);
	for (unsigned int i = 0; i < 60 * storm.nr; i++) {
		assert_int_equal(kernel_read(s.file, line, sizeof(line), &pos), sizeof(line));
		assert_int_equal(line[0], 'a' + i % storm.nr);
		assert_int_equal(line[sizeof(line) - 1], line[0]);
	}
	fput(s.file);
}

/* ---- page locks ---- */

static long counts_under_the_lock(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;

	for (unsigned int i = 0; i < 500; i++) {
		lock_page(s->page);
		s->locked++;
		if (i % 16 == 0)
			cond_resched();
		unlock_page(s->page);
	}
	return 0;
}

static void a_page_lock_is_held_by_one_and_no_wakeup_is_lost(void **state)
{
	static struct shared s;
	struct storm storm;
	(void)state;

	memset(&s, 0, sizeof(s));
	s.page = alloc_page(GFP_KERNEL);
	storm_run(&storm, 1, counts_under_the_lock, &s);
	assert_int_equal(s.locked, storm.nr * 500);
	put_page(s.page);
}

/* ---- files that come and go ---- */

static long makes_files(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;
	unsigned int id = w->index;

	for (unsigned int i = 0; i < 60; i++) {
		struct file *file = memfile_create("f", 4 * P, 0600, &word_ops, s), *again;

		assert_false(IS_ERR(file));
		put_page(read_cache_page(file->f_mapping, rnd_below(&w->rnd, 4)));
		again = file_open_inode(file_inode(file), O_RDONLY);
		assert_false(IS_ERR(again));
		fput(file);
		/* It looks at all inodes there are, dying ones of other CPUs too. */
		if (i % 4 == id % 4)
			page_cache_shrink(rnd_below(&w->rnd, 8));
		fput(again);
	}
	return 0;
}

static void reclaim_meets_files_that_end(void **state)
{
	static struct shared s;
	struct storm storm;
	(void)state;

	memset(&s, 0, sizeof(s));
	storm_run(&storm, 1, makes_files, &s);
	assert_int_equal(page_cache_count(), 0);
	assert_int_equal(ledger_live_kind(this_machine(), "inode"), 0);
	assert_int_equal(ledger_live_kind(this_machine(), "file"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(lookups_see_whole_pages_while_the_file_is_cut),
		KARC_TESTS(each_page_is_filled_by_one_cpu),
		KARC_TESTS(sums_of_a_memory_file_agree_after_the_storm),
		KARC_TESTS(writers_on_all_cpus_lose_nothing),
		KARC_TESTS(a_page_lock_is_held_by_one_and_no_wakeup_is_lost),
		KARC_TESTS(reclaim_meets_files_that_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
