/* SPDX-License-Identifier: MIT */
/*
 * Goal: counters say where the frames are, on whichever CPU something was counted.
 * Method: sums before and after single operations.
 */
#include "fixture.h"

#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>

static void assert_sums(struct phys_stats s)
{
	assert_int_equal(s.nr_present, s.nr_managed + s.nr_reserved);
	assert_int_equal(s.nr_managed, s.nr_buddy + s.nr_pcp + s.nr_bad + s.nr_used);
}

static void every_frame_is_somewhere(void **state)
{
	struct machine *m = this_machine();
	struct phys_stats s = phys_stats(m);
	struct page *page;

	(void)state;
	assert_sums(s);
	assert_int_equal(s.nr_present, physmem_nr_frames(m));
	assert_int_equal(s.nr_used, 0);
	page = alloc_pages(GFP_KERNEL, 5);
	s = phys_stats(m);
	assert_sums(s);
	assert_int_equal(s.nr_used, 32);
	__free_pages(page, 5);
	page = alloc_page(GFP_KERNEL);
	assert_int_equal(phys_stats(m).nr_used, 1);
	__free_page(page);
	s = phys_stats(m);
	assert_sums(s);
	assert_int_equal(s.nr_used, 0);
	assert_true(s.nr_pcp > 0);
}

static void free_pages_counter_leaves_out_per_cpu_lists(void **state)
{
	unsigned long before = global_zone_page_state(NR_FREE_PAGES);
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	assert_true(global_zone_page_state(NR_FREE_PAGES) < before);
	__free_page(page);
	drain_local_pages(NULL);
	assert_int_equal(global_zone_page_state(NR_FREE_PAGES), before);
	assert_int_equal(zone_page_state(page_zone(page), NR_FREE_PAGES),
			 page_zone(page)->managed_pages);
}

static long count_some(void *page)
{
	inc_node_page_state(page, NR_ANON_MAPPED);
	mod_node_page_state(NODE_DATA(0), NR_PAGETABLE, 5);
	count_vm_events(PGFAULT, 3);
	return 0;
}

static void counts_of_all_cpus_add_up(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	for (unsigned int cpu = 0; cpu < 4; cpu++)
		machine_call(this_machine(), cpu, count_some, page);
	assert_int_equal(global_node_page_state(NR_ANON_MAPPED), 4);
	assert_int_equal(node_page_state(NODE_DATA(0), NR_PAGETABLE), 20);
	assert_int_equal(vm_events(PGFAULT), 12);
	dec_node_page_state(page, NR_ANON_MAPPED);
	assert_int_equal(global_node_page_state(NR_ANON_MAPPED), 3);
	__free_page(page);
}

static void allocations_and_frees_are_counted_in_frames(void **state)
{
	unsigned long allocated = vm_events(PGALLOC), freed = vm_events(PGFREE);
	struct page *page = alloc_pages(GFP_KERNEL, 4);

	(void)state;
	assert_int_equal(vm_events(PGALLOC), allocated + 16);
	__free_pages(page, 4);
	assert_int_equal(vm_events(PGFREE), freed + 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(every_frame_is_somewhere),
		KARC_TESTS(free_pages_counter_leaves_out_per_cpu_lists),
		karc_unit_test_cpus(counts_of_all_cpus_add_up, 4),
		karc_unit_test(allocations_and_frees_are_counted_in_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
