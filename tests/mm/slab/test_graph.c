/* SPDX-License-Identifier: MIT */
/*
 * test_graph.c - each slab is held by its cache, each large block by its allocation
 */
#include "graph_look.h"

#include <karc/mm/phys/page.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/slab.h>
#include <karc/refcount/audit.h>

static void a_slab_is_held_by_its_cache(void **state)
{
	struct kmem_cache *cache = kmem_cache_create("boxes", 64, 0, 0, NULL);
	void *box = kmem_cache_alloc(cache, GFP_KERNEL);
	const struct arc_graph_node *n;
	struct arc_graph *g = look();

	(void)state;
	n = look_node(g, virt_to_head_page(box));
	assert_string_equal(n->type, "slab page");
	assert_int_equal(look_roots(g, virt_to_head_page(box), "cache boxes"), 1);
	assert_int_equal(n->count, 1);
	assert_int_equal(n->verdict, ARC_REACHED);
	arc_graph_free(g);
	kmem_cache_free(cache, box);
	kmem_cache_destroy(cache);
}

static void a_large_block_is_held_by_its_allocation(void **state)
{
	void *block = kmalloc(KMALLOC_MAX_CACHE_SIZE + 1, GFP_KERNEL);
	struct arc_graph *g = look();

	(void)state;
	assert_int_equal(look_roots(g, virt_to_head_page(block), "kmalloc"), 1);
	assert_int_equal(look_node(g, virt_to_head_page(block))->verdict, ARC_REACHED);
	arc_graph_free(g);
	kfree(block);
}

static void every_count_is_explained(void **state)
{
	struct kmem_cache *cache = kmem_cache_create("boxes", 700, 0, 0, NULL);
	struct check_report report = { .quiet = true };
	void *box[100];
	unsigned int i;

	(void)state;
	for (i = 0; i < 100; i++)
		box[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	assert_int_equal(audit_counts(fixture_machine(), &report), 0);
	for (i = 0; i < 100; i += 2)
		kmem_cache_free(cache, box[i]);
	assert_int_equal(audit_counts(fixture_machine(), &report), 0);
	for (i = 1; i < 100; i += 2)
		kmem_cache_free(cache, box[i]);
	kmem_cache_destroy(cache);
	assert_int_equal(audit_counts(fixture_machine(), &report), 0);
	assert_int_equal(audit_mark(fixture_machine(), 0, NULL, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_slab_is_held_by_its_cache),
		KARC_TESTS(a_large_block_is_held_by_its_allocation),
		KARC_TESTS(every_count_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
