/* SPDX-License-Identifier: MIT */
/*
 * test_graph.c - an area of the kernel range holds its frames, and borrowed ones not
 */
#include "graph_look.h"

#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/kva/vmap.h>
#include <karc/mm/phys/page_alloc.h>

static void a_vmalloc_area_holds_its_frames(void **state)
{
	char *area = vmalloc(3 * PAGE_SIZE);
	struct page *page = vmalloc_to_page(area + 2 * PAGE_SIZE);
	struct arc_graph *g = look();
	const struct vm_struct *vm = find_vm_area(area);

	(void)state;
	assert_string_equal(look_node(g, vm)->type, "vm_struct");
	assert_int_equal(look_roots(g, vm, "vmalloc range"), 1);
	assert_int_equal(look_edges(g, vm, page, ARC_EDGE_STRONG, "pages", 2), 1);
	assert_int_equal(look_node(g, page)->verdict, ARC_REACHED);
	arc_graph_free(g);
	vfree(area);
}

static void a_vmap_area_only_shows_its_frames(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	void *at = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	struct arc_graph *g = look();

	(void)state;
	assert_int_equal(look_node(g, find_vm_area(at))->nr_edges, 0);
	assert_int_equal(look_node(g, page)->nr_in, 0);
	arc_graph_free(g);
	vunmap(at);
	__free_page(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_vmalloc_area_holds_its_frames),
		KARC_TESTS(a_vmap_area_only_shows_its_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
