/* SPDX-License-Identifier: MIT */
/*
 * Goal: a wrong free is reported, with the places where the frame was allocated and freed if the
 * machine remembers them, and leaves the allocator as it was: what belongs to somebody stays his,
 * what is free stays free, and nothing is lost.
 * Method: every way to free wrongly, in machines that track and in ones that do not; free frames
 * are counted, and the fixture's checks walk all lists afterwards.
 */
#include "fixture.h"

#include <string.h>

#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include "mm/phys/internal.h"

#define MIB (1ULL << 20)

static const struct machine_config untracked = { .mem_bytes = 64 * MIB, .cmdline = "untracked" };

static unsigned long nr_free(void)
{
	return phys_nr_free(this_machine());
}

/* In a machine that tracks, the report has both places, which are in this file. */
static void expect_sites(const char *allocated, const char *freed)
{
	if (!phys_here()->track)
		return;
	assert_true(fixture_log_contains(allocated));
	assert_true(fixture_log_contains(freed));
}

static noinline struct page *allocates(gfp_t gfp, unsigned int order)
{
	return alloc_pages(gfp, order);
}

static noinline void frees(struct page *page, unsigned int order)
{
	__free_pages(page, order);
}

static noinline void frees_again(struct page *page, unsigned int order)
{
	__free_pages(page, order);
}

static void wrong_order_is_reported_and_the_right_one_freed(void **state)
{
	static const struct {
		gfp_t gfp;
		unsigned int order, freed;
		const char *text;
	} ways[] = {
		{ GFP_KERNEL, 2, 0, "frames freed with order 0, allocated with order 2" },
		{ GFP_KERNEL, 0, 3, "frames freed with order 3, allocated with order 0" },
		{ GFP_KERNEL, 3, 1, "frames freed with order 1, allocated with order 3" },
		{ GFP_KERNEL | __GFP_COMP, 2, 4, "frames freed with order 4, allocated with order 2" },
		{ GFP_KERNEL | __GFP_COMP, 4, 0, "frames freed with order 0, allocated with order 4" },
	};
	unsigned long before = nr_free();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct page *other = allocates(GFP_KERNEL, ways[i].order);
		struct page *page = allocates(ways[i].gfp, ways[i].order);

		memset(page_address(other), 0x11, PAGE_SIZE << ways[i].order);
		frees(page, ways[i].freed);
		expect_warn(ways[i].text);
		assert_true(fixture_log_contains("page freed at tests/mm/phys/test_page_free.c"));
		expect_sites("allocated at tests/mm/phys/test_page_free.c", " frees");
		assert_int_equal(*(u32 *)page_address(other), 0x11111111);
		__free_pages(other, ways[i].order);
		assert_int_equal(nr_free(), before);
	}
	drain_all_pages(NULL);
}

static void wrong_order_with_an_extra_reference_keeps_the_first_frame(void **state)
{
	unsigned long before = nr_free();
	struct page *page = allocates(GFP_KERNEL, 3);

	(void)state;
	get_page(page);
	frees(page, 1);
	expect_warn("frames freed with order 1, allocated with order 3");
	assert_int_equal(nr_free(), before - 1);
	put_page(page);
	assert_int_equal(nr_free(), before);
}

static void double_free_is_reported_and_changes_nothing(void **state)
{
	unsigned long before = nr_free();

	(void)state;
	for (unsigned int order = 0; order < 4; order++) {
		struct page *page = allocates(GFP_KERNEL, order);

		frees(page, order);
		frees_again(page, order);
		expect_warn("(it is free: a double free?)");
		assert_true(fixture_log_contains("frees_again"));
		expect_sites(" allocates", " frees");
		put_page(page);
		expect_warn("(it is free: a double free?)");
		drain_all_pages(NULL);
		frees_again(page, order);		/* and once it is inside a larger block */
		expect_warn("(it is free: a double free?)");
		assert_int_equal(nr_free(), before);
	}
}

static void free_of_a_frame_inside_a_block_is_reported_and_changes_nothing(void **state)
{
	unsigned long before = nr_free();
	struct page *page = allocates(GFP_KERNEL, 3);
	struct page *compound = allocates(GFP_KERNEL | __GFP_COMP, 3);

	(void)state;
	frees(page + 3, 0);
	expect_warn("(it lies inside a block)");
	frees(page + 4, 2);
	expect_warn("(it lies inside a block)");
	frees(compound + 5, 0);
	expect_warn("(it lies inside a block)");
	assert_int_equal(page_count(page), 1);
	assert_int_equal(page_count(compound), 1);
	assert_int_equal(nr_free(), before - 16);
	__free_pages(page, 3);
	__free_pages(compound, 3);
	assert_int_equal(nr_free(), before);
}

static void free_of_what_is_no_frame_is_reported(void **state)
{
	unsigned long before = nr_free(), addr = __get_free_page(GFP_KERNEL);
	unsigned long on_the_stack[32];

	(void)state;
	memset(on_the_stack, 0x3c, sizeof(on_the_stack));
	free_pages((unsigned long)on_the_stack, 0);
	expect_warn("free_pages() of an address that is no frame's");
	frees((struct page *)on_the_stack, 0);
	expect_warn("free of a frame that this machine does not have");
	frees((struct page *)((unsigned long)pfn_to_page(20) + 8), 0);
	expect_warn("free of a frame that this machine does not have");
	frees(pfn_to_page(physmem_max_pfn(this_machine()) + 5), 0);
	expect_warn("free of a frame that this machine does not have");
	free_pages(addr + 100, 0);
	expect_warn("100 bytes inside a frame");
	free_page(0);
	assert_int_equal(nr_free(), before);
}

static void put_of_a_whole_block_that_is_not_compound_frees_all_of_it(void **state)
{
	unsigned long before = nr_free();

	(void)state;
	put_page(allocates(GFP_KERNEL, 2));
	expect_warn("frames freed with order 0, allocated with order 2");
	assert_int_equal(nr_free(), before);
}

static void split_with_the_wrong_order_is_reported(void **state)
{
	unsigned long before = nr_free();
	struct page *page = allocates(GFP_KERNEL, 2);

	(void)state;
	split_page(page, 3);
	expect_warn("split_page() of order 3, allocated with order 2");
	for (int i = 0; i < 4; i++)
		__free_page(page + i);
	assert_int_equal(nr_free(), before);
}

/* What a frame may not have when it is freed; each one takes it out of use. */
static void with_flags(struct page *page)
{
	SetPageLocked(page);
}

static void with_mapping(struct page *page)
{
	page->mapping = (void *)8;
}

static void with_mapcount(struct page *page)
{
	atomic_inc(&page->_mapcount);
}

static struct {
	void (*fn)(struct page *page);
	const char *text;
} marks[] = {
	{ with_flags, "page flags of an owner" },
	{ with_mapping, "non-NULL mapping" },
	{ with_mapcount, "nonzero mapcount" },
};

static size_t mark;

static void frees_a_marked_frame(void)
{
	struct page *page = alloc_page(GFP_KERNEL), *again;
	LIST_HEAD(taken);

	marks[mark].fn(page);
	__free_page(page);
	expect_warn(marks[mark].text);
	assert_true(PageHWPoison(page));
	assert_int_equal(phys_stats(this_machine()).nr_bad, 1);
	drain_all_pages(NULL);
	while ((again = alloc_page(GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOWARN))) {
		assert_ptr_not_equal(again, page);
		list_add(&again->lru, &taken);
	}
	while (!list_empty(&taken)) {
		again = list_first_entry(&taken, struct page, lru);
		list_del(&again->lru);
		__free_page(again);
	}
}

static void frame_freed_with_flags_mapping_or_mapcount_is_never_reused(void **state)
{
	static const struct machine_config configs[] = {
		{ .mem_bytes = 8 * MIB }, { .mem_bytes = 8 * MIB, .cmdline = "untracked" },
	};

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(configs); c++) {
		for (mark = 0; mark < ARRAY_SIZE(marks); mark++) {
			struct fixture_verdict v = fixture_run_config(&configs[c],
								      frees_a_marked_frame);

			assert_int_equal(v.nr_failures, 0);
			assert_int_equal(v.nr_warnings, 0);
			assert_int_equal(v.nr_violations, 0);
			assert_int_equal(v.nr_left, 1);
			assert_non_null(strstr(v.reason, "bad page"));
		}
	}
}

/* Somebody else's reference is no damage: the frame stays his. */
static void frame_freed_with_another_count_stays_with_its_holder(void **state)
{
	unsigned long before = nr_free();
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	get_page(page);
	__free_page(page);
	assert_int_equal(page_count(page), 1);
	assert_int_equal(nr_free(), before - 1);
	put_page(page);
	assert_int_equal(nr_free(), before);
}

int main(void)
{
#define BOTH(fn)								\
	KARC_TESTS(fn), karc_unit_test_config(fn, 1, &untracked),		\
	karc_unit_test_config(fn, 4, &untracked)
	const struct CMUnitTest tests[] = {
		BOTH(wrong_order_is_reported_and_the_right_one_freed),
		BOTH(wrong_order_with_an_extra_reference_keeps_the_first_frame),
		BOTH(double_free_is_reported_and_changes_nothing),
		BOTH(free_of_a_frame_inside_a_block_is_reported_and_changes_nothing),
		BOTH(free_of_what_is_no_frame_is_reported),
		BOTH(put_of_a_whole_block_that_is_not_compound_frees_all_of_it),
		BOTH(split_with_the_wrong_order_is_reported),
		cmocka_unit_test(frame_freed_with_flags_mapping_or_mapcount_is_never_reused),
		BOTH(frame_freed_with_another_count_stays_with_its_holder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
