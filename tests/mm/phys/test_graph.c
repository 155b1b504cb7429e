/* SPDX-License-Identifier: MIT */
/*
 * test_graph.c - frames in use are objects of the ownership graph, free ones are not
 *
 * Method: take frames, take the graph, ask for them; give them back, ask again.
 */
#include "graph_look.h"

#include <karc/mm/phys/page_alloc.h>
#include <stdio.h>

static void a_frame_in_use_is_an_object_with_its_count_and_site(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	const struct arc_graph_node *n;
	struct arc_graph *g;
	char label[32];

	(void)state;
	get_page(page);
	g = look();
	n = look_node(g, page);
	snprintf(label, sizeof(label), "frame %lu", page_to_pfn(page));
	assert_string_equal(n->type, "page");
	assert_string_equal(n->label, label);
	assert_string_equal(n->site->func, __func__);
	assert_int_equal(n->count, 2);
	assert_int_equal(n->bytes, PAGE_SIZE);
	assert_int_equal(n->verdict, ARC_LOST);		/* nobody said who has it */
	arc_graph_free(g);
	put_page(page);
	put_page(page);
	g = look();
	assert_int_equal(arc_graph_find(g, page), ARC_NONE);
	arc_graph_free(g);
}

static void a_compound_page_is_one_object_of_its_size(void **state)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, 3);
	struct arc_graph *g = look();

	(void)state;
	assert_int_equal(look_node(g, page)->bytes, PAGE_SIZE << 3);
	assert_int_equal(look_node(g, page)->count, 1);
	assert_int_equal(arc_graph_find(g, page + 1), ARC_NONE);
	arc_graph_free(g);
	__free_pages(page, 3);
}

static void a_block_of_single_frames_is_its_first(void **state)
{
	struct page *page = alloc_pages(GFP_KERNEL, 2);
	struct arc_graph *g = look();

	(void)state;
	assert_int_equal(look_node(g, page)->count, 1);
	assert_int_equal(arc_graph_find(g, page + 1), ARC_NONE);
	arc_graph_free(g);
	__free_pages(page, 2);
}

static void nothing_is_in_use_after_boot(void **state)
{
	struct arc_graph *g = look();

	(void)state;
	assert_int_equal(arc_graph_nr_nodes(g), 0);
	arc_graph_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_frame_in_use_is_an_object_with_its_count_and_site),
		KARC_TESTS(a_compound_page_is_one_object_of_its_size),
		KARC_TESTS(a_block_of_single_frames_is_its_first),
		KARC_TESTS(nothing_is_in_use_after_boot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
