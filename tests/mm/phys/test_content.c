/* SPDX-License-Identifier: MIT */
/*
 * Goal: with init_on_alloc, init_on_free or page_poison, nobody reads what a frame's last owner
 * wrote, whichever way it is allocated; writing to a free frame is found and its place named.
 * Method: the same round for every way to get frames: write, free, look at the free memory, get
 * them again, look again. HIGHMEM frames are read through the machine's memory.
 */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include <karc/hw/param.h>
#include <karc/hw/physmem.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/poison.h>
#include "mm/phys/internal.h"

#define MIB	(1ULL << 20)
#define NR	8

enum option { ON_ALLOC, ON_FREE, POISON };

#define CONFIG(name, words)							\
	static const struct machine_config name = {				\
		.mem_bytes = 32 * MIB, .highmem_start = 24 * MIB, .cmdline = words, \
	}
CONFIG(on_alloc, "init_on_alloc=1 untracked");
CONFIG(on_free, "init_on_free=1");
CONFIG(poison, "page_poison=1 init_on_alloc=1 init_on_free=on");
CONFIG(nothing, "init_on_alloc=0 untracked");

/* Ways to get NR frames, and to give them back. */
struct way {
	const char *name;
	void (*get)(struct page **page, gfp_t gfp);
	void (*put)(struct page **page);
};

static void from_block(struct page **page, gfp_t gfp)
{
	page[0] = alloc_pages(gfp, 3);
	assert_non_null(page[0]);
	for (int i = 1; i < NR; i++)
		page[i] = page[0] + i;
}

static void put_block(struct page **page)
{
	__free_pages(page[0], 3);
}

static void from_pcp(struct page **page, gfp_t gfp)
{
	for (int i = 0; i < NR; i++)
		page[i] = alloc_page(gfp);
}

static void put_singles(struct page **page)
{
	for (int i = 0; i < NR; i++)
		__free_page(page[i]);
}

static void from_bulk(struct page **page, gfp_t gfp)
{
	memset(page, 0, NR * sizeof(*page));
	assert_int_equal(alloc_pages_bulk_array(gfp, NR, page), NR);
}

static void from_exact(struct page **page, gfp_t gfp)
{
	char *virt = alloc_pages_exact(NR * PAGE_SIZE, gfp & ~__GFP_HIGHMEM);

	for (int i = 0; i < NR; i++)
		page[i] = virt_to_page(virt + i * PAGE_SIZE);
}

static void put_exact(struct page **page)
{
	free_pages_exact(page_to_virt(page[0]), NR * PAGE_SIZE);
}

static void from_contig(struct page **page, gfp_t gfp)
{
	page[0] = alloc_contig_pages(NR, gfp, NUMA_NO_NODE, NULL);
	assert_non_null(page[0]);
	for (int i = 1; i < NR; i++)
		page[i] = page[0] + i;
}

static void put_contig(struct page **page)
{
	free_contig_range(page_to_pfn(page[0]), NR);
}

static void put_tails_first(struct page **page)
{
	get_page(page[0]);
	__free_pages(page[0], 3);
	put_page(page[0]);
}

static const struct way ways[] = {
	{ "block", from_block, put_block },
	{ "per-CPU list", from_pcp, put_singles },
	{ "bulk", from_bulk, put_singles },
	{ "exact", from_exact, put_exact },
	{ "range", from_contig, put_contig },
	{ "tails first", from_block, put_tails_first },
};

static void fill(const struct page *page, int byte)
{
	char line[256];

	memset(line, byte, sizeof(line));
	for (unsigned int at = 0; at < PAGE_SIZE; at += sizeof(line))
		physmem_write(this_machine(), page_to_phys(page) + at, line, sizeof(line));
}

static bool holds(const struct page *page, int byte)
{
	char line[256], want[256];

	memset(want, byte, sizeof(want));
	for (unsigned int at = 0; at < PAGE_SIZE; at += sizeof(line)) {
		physmem_read(this_machine(), page_to_phys(page) + at, line, sizeof(line));
		if (memcmp(line, want, sizeof(line)))
			return false;
	}
	return true;
}

/* AddressSanitizer says that free frames are nobody's to look at. */
static bool free_frame_holds(const struct page *page, int byte)
{
	bool yes;

	if (!PageHighMem(page))
		mem_unpoison(page_to_virt(page), PAGE_SIZE);
	yes = holds(page, byte);
	if (!PageHighMem(page))
		mem_poison(page_to_virt(page), PAGE_SIZE);
	return yes;
}

/*
 * Each frame holds @freed while it is free and @again when it is allocated again; negative: what
 * nobody knows, for it may be another frame.
 */
static void one_round(const struct way *way, gfp_t gfp, int freed, int again)
{
	struct page *page[NR];

	way->get(page, gfp);
	for (int i = 0; i < NR; i++)
		fill(page[i], 0x5a);
	way->put(page);
	for (int i = 0; i < NR; i++)
		assert_true(free_frame_holds(page[i], freed));
	way->get(page, gfp);
	for (int i = 0; i < NR; i++)
		assert_true(again < 0 || holds(page[i], again));
	for (int i = 0; i < NR; i++)
		fill(page[i], 0x33);
	way->put(page);
}

static void every_way(int freed, int again, int zeroed)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		one_round(&ways[i], GFP_KERNEL, freed, again);
		one_round(&ways[i], GFP_HIGHUSER, freed, again);
		one_round(&ways[i], GFP_KERNEL | __GFP_ZERO, freed, zeroed);
		one_round(&ways[i], GFP_HIGHUSER | __GFP_ZERO, freed, zeroed);
		drain_all_pages(NULL);
	}
}

static void init_on_alloc_clears_on_every_way(void **state)
{
	(void)state;
	assert_true(want_init_on_alloc(GFP_KERNEL));
	assert_false(want_init_on_free());
	every_way(0x5a, 0, 0);
}

static void init_on_free_wipes_before_anybody_can_read_on_every_way(void **state)
{
	(void)state;
	assert_true(want_init_on_free());
	assert_false(want_init_on_alloc(GFP_KERNEL));
	assert_true(want_init_on_alloc(GFP_KERNEL | __GFP_ZERO));
	every_way(0, 0, 0);
}

static void page_poison_fills_on_every_way_and_zero_still_zeroes(void **state)
{
	(void)state;
	assert_true(page_poisoning_enabled());
	assert_false(want_init_on_alloc(GFP_KERNEL) || want_init_on_free());
	every_way(PAGE_POISON, -1, 0);
	expect_no_warn();
}

static void nothing_is_done_without_an_option(void **state)
{
	(void)state;
	every_way(0x5a, -1, 0);
}

static void write_at(const struct page *page, unsigned int at, unsigned char byte)
{
	if (!PageHighMem(page))
		mem_unpoison(page_to_virt(page), PAGE_SIZE);
	physmem_write(this_machine(), page_to_phys(page) + at, &byte, 1);
}

static void write_to_a_free_frame_is_found_with_its_place(void **state)
{
	static const gfp_t kinds[] = { GFP_KERNEL, GFP_HIGHUSER };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct page *page = alloc_page(kinds[i]);
		char text[64];

		__free_page(page);
		write_at(page, 1234, 0x77);
		assert_ptr_equal(alloc_page(kinds[i]), page);
		expect_warn("memory corruption in a free frame");
		assert_true(fixture_log_contains("pagealloc: 1234: 77"));
		snprintf(text, sizeof(text), "from byte 1234");
		assert_true(fixture_log_contains(text));
		assert_true(fixture_log_contains("corrupted page details"));
		__free_page(page);
		write_at(page, 77, PAGE_POISON ^ 4);
		assert_ptr_equal(alloc_page(kinds[i]), page);
		expect_warn("single bit error in a free frame");
		__free_page(page);
	}
}

static long refuses(void *arg)
{
	return boot_param_bool(this_machine(), arg, false);
}

static void options_are_linuxs(void **state)
{
	(void)state;
	assert_int_equal(refuses("page_poison"), 1);
	assert_true(fixture_log_contains("page_poison takes precedence over init_on_alloc"));
}

int main(void)
{
#define WITH(config, fn)							\
	karc_unit_test_config(fn, 1, &(config)), karc_unit_test_config(fn, 4, &(config))
	const struct CMUnitTest tests[] = {
		WITH(on_alloc, init_on_alloc_clears_on_every_way),
		WITH(on_free, init_on_free_wipes_before_anybody_can_read_on_every_way),
		WITH(poison, page_poison_fills_on_every_way_and_zero_still_zeroes),
		WITH(nothing, nothing_is_done_without_an_option),
		WITH(poison, write_to_a_free_frame_is_found_with_its_place),
		karc_unit_test_config(options_are_linuxs, 1, &poison),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
