/* SPDX-License-Identifier: MIT */
/*
 * Goal: what callers of the allocator rely on: aligned blocks that nobody else has, zeroing,
 * failure that changes nothing, reserves, the rules of freeing, and that damaged frames are
 * never seen again.
 * Method: exhaustion in small machines; fail-nth; whole fixture runs for what must turn a test red.
 * Random operations against a model are in test_model.c, a test for each flag in test_gfp.c.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include <karc/base/rand.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>

#define MIB (1ULL << 20)

static void stamp(struct page *page, unsigned int order, u32 who)
{
	u32 *words = page_address(page);

	for (unsigned long i = 0; i < 1UL << order; i++)
		words[i * PAGE_SIZE / sizeof(u32)] = who;
}

static void assert_stamped(struct page *page, unsigned int order, u32 who)
{
	const u32 *words = page_address(page);

	for (unsigned long i = 0; i < 1UL << order; i++)
		assert_int_equal(words[i * PAGE_SIZE / sizeof(u32)], who);
}

/* ---- single promises ---- */

static void every_order_is_aligned_and_merges_back(void **state)
{
	struct page *pages[MAX_ORDER];

	(void)state;
	for (unsigned int order = 0; order < MAX_ORDER; order++) {
		pages[order] = alloc_pages(GFP_KERNEL, order);
		assert_non_null(pages[order]);
		assert_true(IS_ALIGNED(page_to_pfn(pages[order]), 1UL << order));
		assert_true(IS_ALIGNED((unsigned long)page_address(pages[order]),
				       PAGE_SIZE << order));
		stamp(pages[order], order, order + 1);
	}
	for (unsigned int order = 0; order < MAX_ORDER; order++) {
		assert_stamped(pages[order], order, order + 1);
		__free_pages(pages[order], order);
	}
	drain_all_pages(NULL);
	for (unsigned int order = 0; order < 10; order++)
		assert_true(NODE_DATA(0)->node_zones[ZONE_DMA32].free_area[order].nr_free <= 1);
}

static void order_too_large_is_refused(void **state)
{
	(void)state;
	assert_null(alloc_pages(GFP_KERNEL, MAX_ORDER));
	expect_warn("__GFP_NOWARN");
	assert_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, 40));
	expect_no_warn();
}

static bool is_zero(const char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (p[i])
			return false;
	}
	return true;
}

static void zeroed_frames_are_zero_after_use(void **state)
{
	unsigned long addr;

	(void)state;
	for (unsigned int order = 0; order < 4; order++) {
		struct page *page = alloc_pages(GFP_KERNEL, order);

		memset(page_address(page), 0x5a, PAGE_SIZE << order);
		__free_pages(page, order);
		page = alloc_pages(GFP_KERNEL | __GFP_ZERO, order);
		assert_true(is_zero(page_address(page), PAGE_SIZE << order));
		__free_pages(page, order);
	}
	addr = get_zeroed_page(GFP_KERNEL);
	assert_true(is_zero((char *)addr, PAGE_SIZE));
	free_page(addr);
	free_page(0);
}

static const struct machine_config with_highmem = {
	.mem_bytes = 64 * MIB,
	.highmem_start = 32 * MIB,
};

static void zeroed_highmem_frames_are_zero(void **state)
{
	char buf[256];
	struct page *page = alloc_page(GFP_HIGHUSER);

	(void)state;
	memset(buf, 7, sizeof(buf));
	physmem_write(this_machine(), page_to_phys(page) + 100, buf, sizeof(buf));
	__free_page(page);
	assert_ptr_equal(alloc_page(GFP_HIGHUSER | __GFP_ZERO), page);
	physmem_read(this_machine(), page_to_phys(page) + 100, buf, sizeof(buf));
	assert_true(is_zero(buf, sizeof(buf)));
	__free_page(page);
}

static void addresses_never_come_from_highmem(void **state)
{
	unsigned long addr = __get_free_pages(GFP_KERNEL | __GFP_HIGHMEM, 2);

	(void)state;
	assert_true(virt_addr_valid((void *)addr));
	free_pages(addr, 2);
}

/* Somebody holds the first frame: free_pages() frees the others, the last put that one. */
static void extra_reference_keeps_only_the_first_frame(void **state)
{
	struct machine *m = this_machine();
	unsigned long before = phys_nr_free(m);
	struct page *page = alloc_pages(GFP_KERNEL, 3);

	(void)state;
	get_page(page);
	__free_pages(page, 3);
	assert_int_equal(page_count(page), 1);
	assert_int_equal(phys_nr_free(m), before - 1);
	put_page(page);
	assert_int_equal(phys_nr_free(m), before);
}

static void extra_reference_keeps_all_of_a_compound_page(void **state)
{
	struct machine *m = this_machine();
	unsigned long before = phys_nr_free(m);
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, 3);

	(void)state;
	get_page(page);
	__free_pages(page, 3);
	assert_int_equal(phys_nr_free(m), before - 8);
	put_page(page + 2);
	assert_int_equal(phys_nr_free(m), before);
}

static void split_blocks_are_freed_one_by_one(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	struct page *page = alloc_pages(GFP_KERNEL, 3);

	(void)state;
	split_page(page, 3);
	for (int i = 7; i >= 0; i--)
		put_page(page + i);
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static void exact_allocations_keep_no_more_than_asked(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	char *p = alloc_pages_exact(5 * PAGE_SIZE + 1, GFP_KERNEL);

	(void)state;
	assert_int_equal(phys_nr_free(this_machine()), before - 6);
	memset(p, 1, 6 * PAGE_SIZE);
	free_pages_exact(p, 5 * PAGE_SIZE + 1);
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static void bulk_fills_the_empty_entries(void **state)
{
	struct page *pages[20] = { 0 };
	struct page *own = alloc_page(GFP_KERNEL);

	(void)state;
	pages[7] = own;
	assert_int_equal(alloc_pages_bulk_array(GFP_KERNEL, 20, pages), 20);
	assert_ptr_equal(pages[7], own);
	for (int i = 0; i < 20; i++) {
		assert_non_null(pages[i]);
		__free_page(pages[i]);
	}
}

static void wrong_order_is_reported_and_the_right_one_freed(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);

	(void)state;
	__free_pages(page, 4);
	expect_warn("frames freed with order 4, allocated with order 2");
	assert_int_equal(phys_nr_free(this_machine()), before);
	page = alloc_pages(GFP_KERNEL, 2);
	__free_pages(page, 0);
	expect_warn("frames freed with order 0, allocated with order 2");
	assert_int_equal(phys_nr_free(this_machine()), before);
	free_pages((unsigned long)&before, 0);
	expect_warn("no frame's");
}

static void sleeping_request_in_atomic_context_names_the_caller(void **state)
{
	struct page *page;

	(void)state;
	preempt_disable();
	page = alloc_page(GFP_KERNEL);
	preempt_enable();
	expect_warn("sleeping function called from invalid context at tests/mm/phys/");
	__free_page(page);
	preempt_disable();
	page = alloc_page(GFP_ATOMIC);
	preempt_enable();
	expect_no_warn();
	__free_page(page);
}

/* ---- memory that runs out ---- */

static const struct machine_config small = { .mem_bytes = 16 * MIB };

static unsigned long take_all(gfp_t gfp, unsigned int order, struct list_head *taken)
{
	unsigned long nr = 0;
	struct page *page;

	while ((page = alloc_pages(gfp | __GFP_NOWARN, order))) {
		list_add(&page->lru, taken);
		nr++;
	}
	return nr;
}

static void give_all(unsigned int order, struct list_head *taken)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, taken, lru) {
		list_del(&page->lru);
		__free_pages(page, order);
	}
}

/* Each kind of request gets further than the one before, and all comes back. */
static void exhaustion_keeps_reserves_and_recovers(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	unsigned long kernel, atomic, rest;
	LIST_HEAD(taken);

	(void)state;
	kernel = take_all(GFP_KERNEL, 0, &taken);
	assert_true(phys_nr_free(this_machine()) > 0);
	atomic = take_all(GFP_ATOMIC, 0, &taken);
	assert_true(atomic > 0);
	assert_true(phys_nr_free(this_machine()) > 0);
	assert_null(alloc_pages(GFP_ATOMIC | __GFP_NOWARN, 0));
	rest = take_all(GFP_ATOMIC | __GFP_MEMALLOC, 0, &taken);
	assert_true(rest > 0);
	assert_int_equal(kernel + atomic + rest, before);
	assert_int_equal(phys_nr_free(this_machine()), 0);
	give_all(0, &taken);
	assert_int_equal(phys_nr_free(this_machine()), before);
	assert_int_equal(take_all(GFP_KERNEL, MAX_ORDER - 1, &taken), 3);
	give_all(MAX_ORDER - 1, &taken);
}

static void failure_is_said_once(void **state)
{
	LIST_HEAD(taken);

	(void)state;
	take_all(GFP_KERNEL, 0, &taken);
	assert_false(fixture_log_contains("page allocation failure"));
	assert_null(alloc_pages(GFP_KERNEL, 3));
	assert_true(fixture_log_contains("page allocation failure: order:3"));
	give_all(0, &taken);
	expect_no_warn();
}

static long put_some_on_my_list(void *arg)
{
	struct page *pages[4];

	(void)arg;
	for (int i = 0; i < 4; i++)
		pages[i] = alloc_page(GFP_KERNEL);
	for (int i = 0; i < 4; i++)
		__free_page(pages[i]);
	return 0;
}

/* Frames on another CPU's list are out of reach for an atomic request, not for one that sleeps. */
static void sleeping_request_gets_other_cpus_frames(void **state)
{
	LIST_HEAD(taken);

	(void)state;
	machine_call(this_machine(), 2, put_some_on_my_list, NULL);
	take_all(GFP_ATOMIC | __GFP_MEMALLOC, 0, &taken);
	assert_true(phys_stats(this_machine()).nr_pcp > 0);
	assert_true(take_all(GFP_KERNEL | __GFP_MEMALLOC, 0, &taken) > 0);
	assert_int_equal(phys_nr_free(this_machine()), 0);
	give_all(0, &taken);
}

static struct list_head reclaimable;
static unsigned int nr_make_room, nr_last_resort, nr_pressure;

static unsigned long make_room(gfp_t gfp, unsigned int order)
{
	struct page *page = list_first_entry_or_null(&reclaimable, struct page, lru);

	(void)gfp, (void)order;
	nr_make_room++;
	if (!page)
		return 0;
	list_del(&page->lru);
	__free_page(page);
	return 1;
}

static bool last_resort(gfp_t gfp, unsigned int order)
{
	(void)gfp, (void)order;
	return ++nr_last_resort < 3;
}

static void pressure(struct zone *zone, unsigned int order)
{
	(void)zone, (void)order;
	nr_pressure++;
}

static const struct reclaim_ops ops = {
	.make_room = make_room,
	.last_resort = last_resort,
	.pressure = pressure,
};

static void slow_path_asks_the_room_above(void **state)
{
	struct page *page;

	(void)state;
	INIT_LIST_HEAD(&reclaimable);
	nr_make_room = nr_last_resort = nr_pressure = 0;
	take_all(GFP_KERNEL, 0, &reclaimable);
	phys_set_reclaim(this_machine(), &ops);
	page = alloc_page(GFP_KERNEL);
	assert_non_null(page);
	assert_true(nr_make_room > 0 && nr_pressure > 0);
	__free_page(page);
	nr_make_room = 0;
	assert_null(alloc_pages(GFP_NOWAIT | __GFP_NOWARN, 5));
	assert_int_equal(nr_make_room, 0);
	assert_null(alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 9));
	assert_int_equal(nr_make_room, 1);
	assert_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, 9));
	assert_in_range(nr_make_room, 2, MAX_RECLAIM_ROUNDS + 2);
	phys_set_reclaim(this_machine(), NULL);
	give_all(0, &reclaimable);
}

static void request_that_must_not_fail_goes_on(void **state)
{
	struct page *page;

	(void)state;
	INIT_LIST_HEAD(&reclaimable);
	take_all(GFP_KERNEL, 0, &reclaimable);
	phys_set_reclaim(this_machine(), &ops);
	page = alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 4);
	assert_non_null(page);
	phys_set_reclaim(this_machine(), NULL);
	__free_pages(page, 4);
	give_all(0, &reclaimable);
}

/* ---- injected failure ---- */

static struct page *nth_page;

static long nth_alloc(void *arg)
{
	(void)arg;
	nth_page = alloc_pages(GFP_KERNEL | __GFP_COMP | __GFP_ZERO, 2);
	return nth_page ? 0 : -ENOMEM;
}

static long nth_alloc_nofail(void *arg)
{
	(void)arg;
	nth_page = alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 2);
	return nth_page ? 0 : -ENOMEM;
}

static void nth_free(void *arg)
{
	(void)arg;
	__free_pages(nth_page, 2);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	values[0] = phys_nr_free(this_machine());
}

static void injected_failure_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(fixture_fail_nth(.body = nth_alloc, .undo = nth_free,
					  .snapshot = nth_snapshot), 1);
	assert_int_equal(fixture_fail_nth(.body = nth_alloc_nofail, .undo = nth_free,
					  .snapshot = nth_snapshot), 0);
}

/* ---- damaged frames ---- */

static void frees_with_a_mapping(void)
{
	struct page *page = alloc_page(GFP_KERNEL);
	struct page *again[64];

	page->mapping = (void *)8;
	__free_page(page);
	expect_warn("Bad page state");
	for (int i = 0; i < 64; i++) {
		again[i] = alloc_page(GFP_KERNEL);
		assert_ptr_not_equal(again[i], page);
	}
	for (int i = 0; i < 64; i++)
		__free_page(again[i]);
}

static void frees_with_a_flag(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	SetPageLocked(page);
	__free_page(page);
	expect_warn("page flags of an owner");
}

static void frees_with_a_mapcount(void)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);

	atomic_inc(&page[3]._mapcount);
	__free_pages(page, 2);
	expect_warn("nonzero mapcount");
}

static void writes_to_a_free_frames_struct(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	__free_page(page);
	page->mapping = (void *)8;
	assert_ptr_not_equal(alloc_page(GFP_KERNEL), NULL);
	expect_warn("found when allocated");
}

static void damaged_frames_are_reported_and_never_reused(void **state)
{
	static void (*const bodies[])(void) = {
		frees_with_a_mapping, frees_with_a_flag, frees_with_a_mapcount,
		writes_to_a_free_frames_struct,
	};
	static const unsigned long nr_left[] = { 1, 1, 4, 2 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct fixture_verdict v = fixture_run(1, bodies[i]);

		assert_int_equal(v.nr_failures, 0);
		assert_int_equal(v.nr_warnings, 0);
		assert_int_equal(v.nr_violations, 0);
		assert_int_equal(v.nr_left, nr_left[i]);
		assert_non_null(strstr(v.reason, "bad page"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(every_order_is_aligned_and_merges_back),
		karc_unit_test(order_too_large_is_refused),
		KARC_TESTS(zeroed_frames_are_zero_after_use),
		karc_unit_test_config(zeroed_highmem_frames_are_zero, 1, &with_highmem),
		karc_unit_test_config(addresses_never_come_from_highmem, 1, &with_highmem),
		karc_unit_test(extra_reference_keeps_only_the_first_frame),
		karc_unit_test(extra_reference_keeps_all_of_a_compound_page),
		karc_unit_test(split_blocks_are_freed_one_by_one),
		karc_unit_test(exact_allocations_keep_no_more_than_asked),
		karc_unit_test(bulk_fills_the_empty_entries),
		karc_unit_test(wrong_order_is_reported_and_the_right_one_freed),
		karc_unit_test(sleeping_request_in_atomic_context_names_the_caller),
		karc_unit_test_config(exhaustion_keeps_reserves_and_recovers, 1, &small),
		karc_unit_test_config(exhaustion_keeps_reserves_and_recovers, 4, &small),
		karc_unit_test_config(failure_is_said_once, 1, &small),
		karc_unit_test_config(sleeping_request_gets_other_cpus_frames, 4, &small),
		karc_unit_test_config(slow_path_asks_the_room_above, 1, &small),
		karc_unit_test_config(request_that_must_not_fail_goes_on, 1, &small),
		KARC_TESTS(injected_failure_changes_nothing),
		cmocka_unit_test(damaged_frames_are_reported_and_never_reused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
