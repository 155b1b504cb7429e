/* SPDX-License-Identifier: MIT */
/*
 * Goal: single frames stay on the freeing CPU's list until they are drained, are handed out
 * again hottest first, and never exceed the high mark.
 * Method: looks into the CPUs' hot areas between allocations; other CPUs work through
 * machine_call().
 */
#include "fixture.h"

#include <string.h>

#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include "mm/phys/internal.h"

static struct per_cpu_pages *list_of(unsigned int cpu, const struct page *page)
{
	return per_cpu_ptr(page_zone(page)->per_cpu_pageset, cpu);
}

static void freed_frame_is_on_the_cpus_list_until_it_is_drained(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	struct per_cpu_pages *pcp = list_of(0, page);
	int before = pcp_count(pcp);

	(void)state;
	assert_false(PagePcp(page) || PageBuddy(page));
	__free_page(page);
	assert_true(PagePcp(page) && !PageBuddy(page));
	assert_int_equal(pcp_count(pcp), before + 1);
	drain_local_pages(NULL);
	assert_int_equal(pcp_count(pcp), 0);
	assert_false(PagePcp(page));
	assert_int_equal(phys_stats(this_machine()).nr_pcp, 0);
}

static void frames_recycle_last_in_first_out(void **state)
{
	struct page *a = alloc_page(GFP_KERNEL);
	struct page *b = alloc_page(GFP_KERNEL);

	(void)state;
	__free_page(a);
	__free_page(b);
	assert_ptr_equal(alloc_page(GFP_KERNEL), b);
	assert_ptr_equal(alloc_page(GFP_KERNEL), a);
	__free_page(a);
	__free_page(b);
}

static void refill_hands_out_ascending_frames(void **state)
{
	struct page *first, *second;

	(void)state;
	drain_local_pages(NULL);
	first = alloc_page(GFP_KERNEL);
	second = alloc_page(GFP_KERNEL);
	assert_ptr_equal(second, first + 1);
	__free_page(first);
	__free_page(second);
}

static void list_stays_below_its_high_mark(void **state)
{
	static struct page *pages[500];
	struct per_cpu_pages *pcp;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = alloc_page(GFP_KERNEL);
	pcp = list_of(0, pages[0]);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		__free_page(pages[i]);
		assert_true(pcp_count(pcp) < pcp->high + pcp->batch);
	}
	assert_true(pcp_count(pcp) > 0);
}

static long free_it(void *page)
{
	__free_page(page);
	return 0;
}

static void frame_goes_to_the_list_of_the_cpu_that_frees_it(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	assert_int_equal(machine_call(this_machine(), 3, free_it, page).end, MACHINE_VALUE);
	assert_int_equal(pcp_count(list_of(3, page)), 1);
	drain_local_pages(NULL);
	assert_int_equal(pcp_count(list_of(3, page)), 1);
	drain_all_pages(NULL);
	assert_int_equal(pcp_count(list_of(3, page)), 0);
	assert_int_equal(phys_stats(this_machine()).nr_pcp, 0);
}

#define ROUNDS 3000
#define SLOTS 64

/* CPU A allocates, CPU B frees, at rate. */
static struct page *slots[SLOTS];

static long producer(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS;) {
		struct page *page = alloc_page(GFP_KERNEL);

		*(int *)page_address(page) = i;
		while (READ_ONCE(slots[i % SLOTS]))
			cond_resched();
		smp_store_release(&slots[i % SLOTS], page);
		i++;
	}
	return 0;
}

static long consumer(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS;) {
		struct page *page = smp_load_acquire(&slots[i % SLOTS]);

		if (!page) {
			cond_resched();
			continue;
		}
		assert_int_equal(*(int *)page_address(page), i);
		WRITE_ONCE(slots[i % SLOTS], NULL);
		__free_page(page);
		i++;
	}
	return 0;
}

static void frames_flow_from_one_cpu_to_another_without_loss(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	struct fiber *a = fiber_spawn(1, "producer", producer, NULL);
	struct fiber *b = fiber_spawn(2, "consumer", consumer, NULL);

	(void)state;
	fiber_join(a, NULL);
	fiber_join(b, NULL);
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static bool is_listed(unsigned int cpu, const struct page *page)
{
	struct per_cpu_pages *pcp = per_cpu_ptr(page_zone(page)->per_cpu_pageset, cpu);
	const struct page *at;
	bool found = false;

	spin_lock(&pcp->lock);
	for (int type = 0; type < NR_PCP_LISTS; type++) {
		list_for_each_entry(at, &pcp->lists[type], pcp_list)
			found |= at == page;
	}
	spin_unlock(&pcp->lock);
	return found;
}

/* What a test of the kernel's own does with a node that nobody else uses. */
static void frame_of_an_isolated_node_is_on_this_cpus_list_until_its_zone_is_drained(void **state)
{
	struct page *page = alloc_pages_node(isolated_node, GFP_KERNEL | __GFP_THISNODE, 0);
	nodemask_t only = { { 1UL << isolated_node } };
	LIST_HEAD(taken);

	(void)state;
	assert_int_equal(isolated_node, 1);
	assert_int_equal(page_to_nid(page), 1);
	assert_false(is_listed(smp_processor_id(), page));
	__free_page(page);
	assert_true(is_listed(smp_processor_id(), page));
	assert_false(PageBuddy(page));
	drain_pages_zone(smp_processor_id(), page_zone(page));
	assert_false(is_listed(smp_processor_id(), page));
	assert_false(PagePcp(page));
	page = __alloc_pages(GFP_KERNEL, 0, 0, &only);
	assert_null(page);			/* node 0 does not fall back to it */
	while ((page = alloc_page(GFP_ATOMIC | __GFP_NOWARN))) {
		assert_int_equal(page_to_nid(page), 0);
		list_add(&page->lru, &taken);
	}
	while (!list_empty(&taken)) {
		page = list_first_entry(&taken, struct page, lru);
		list_del(&page->lru);
		__free_page(page);
	}
}

static void frame_is_buddy_after_the_drain(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL), *next = alloc_page(GFP_KERNEL);
	struct page *low = page_to_pfn(page) & 1 ? next : page;
	struct page *high = low == page ? next : page;

	(void)state;
	/* Its buddy is kept, so that it is the first of a block afterwards. */
	__free_page(high);
	assert_false(PageBuddy(high));
	drain_pages(smp_processor_id());
	assert_true(PageBuddy(high));
	__free_page(low);
}

static const struct machine_config with_isolated_node = {
	.mem_bytes = 32ULL << 20, .nr_nodes = 2, .cmdline = "isolated_node=1",
};
static const struct machine_config isolated_untracked = {
	.mem_bytes = 32ULL << 20, .nr_nodes = 2, .cmdline = "isolated_node=1 untracked",
};

static void check_finds_a_wrong_count(void **state)
{
	struct check_report report = { .quiet = true };
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	__free_page(page);
	list_of(0, page)->nr_put++;
	phys_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "P2"));
	list_of(0, page)->nr_put--;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(freed_frame_is_on_the_cpus_list_until_it_is_drained),
		KARC_TESTS(frames_recycle_last_in_first_out),
		karc_unit_test(refill_hands_out_ascending_frames),
		KARC_TESTS(list_stays_below_its_high_mark),
		karc_unit_test_cpus(frame_goes_to_the_list_of_the_cpu_that_frees_it, 4),
		karc_unit_test_cpus(frames_flow_from_one_cpu_to_another_without_loss, 4),
		karc_unit_test_config(frame_of_an_isolated_node_is_on_this_cpus_list_until_its_zone_is_drained,
				      1, &with_isolated_node),
		karc_unit_test_config(frame_of_an_isolated_node_is_on_this_cpus_list_until_its_zone_is_drained,
				      4, &isolated_untracked),
		KARC_TESTS(frame_is_buddy_after_the_drain),
		karc_unit_test(check_finds_a_wrong_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
