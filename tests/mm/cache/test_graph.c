/* SPDX-License-Identifier: MIT */
/*
 * test_graph.c - who owns whom in the page cache: file, inode, pages
 */
#include "graph_look.h"

#include <karc/base/err.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/shmem.h>
#include <karc/refcount/audit.h>

static void an_inode_owns_its_pages_by_index(void **state)
{
	struct file *file = memfile_create("/lib/x.so", 8 * PAGE_SIZE, 0644, NULL, NULL);
	struct inode *inode = file_inode(file);
	struct page *page = read_cache_page(inode->i_mapping, 5);
	struct arc_graph *g = look();

	(void)state;
	assert_int_equal(look_edges(g, &file->arc, &inode->arc, ARC_EDGE_STRONG, "f_inode",
				    ARC_NONE), 1);
	assert_int_equal(look_edges(g, &inode->arc, page, ARC_EDGE_STRONG, "i_pages", 5), 1);
	assert_int_equal(look_node(g, page)->count, 2);		/* the test's too */
	assert_string_equal(look_node(g, &file->arc)->label, "/lib/x.so");
	assert_string_equal(look_node(g, &inode->arc)->label, "/lib/x.so, 1 page");
	arc_graph_free(g);
	put_page(page);
	fput(file);
}

static void every_count_is_explained(void **state)
{
	struct file *file = memfile_create("/lib/x.so", 8 * PAGE_SIZE, 0644, NULL, NULL);
	struct check_report report = { .quiet = true };
	char text[3 * PAGE_SIZE];
	loff_t pos = 0;

	(void)state;
	audit_hold(&file->arc);
	memset(text, 'x', sizeof(text));
	assert_int_equal(kernel_write(file, text, sizeof(text), &pos), sizeof(text));
	assert_int_equal(audit_counts(fixture_machine(), &report), 0);
	assert_int_equal(file_truncate(file, PAGE_SIZE), 0);
	assert_int_equal(audit_counts(fixture_machine(), &report), 0);
	assert_int_equal(audit_mark(fixture_machine(), 0, NULL, NULL), 0);
	audit_release(&file->arc);
	fput(file);
	assert_int_equal(audit_counts(fixture_machine(), &report), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(an_inode_owns_its_pages_by_index),
		KARC_TESTS(every_count_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
