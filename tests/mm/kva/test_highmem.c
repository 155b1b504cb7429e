/* SPDX-License-Identifier: MIT */
/*
 * Goal: every frame can be given an address for a while; frames without one get it from the kmap
 * window, and whoever forgets to give it back is named.
 * Method: a machine with HIGHMEM; bytes written through one mapping are read through another.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/fiber.h>
#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmap.h>
#include <karc/mm/phys/page_alloc.h>

static const struct machine_config with_highmem = {
	.mem_bytes = 64ULL << 20,
	.highmem_start = 32ULL << 20,
};

static void mappings_of_one_frame_alias(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER);
	char *a, *b, *c;

	(void)state;
	assert_null(page_address(page));
	a = kmap(page);
	assert_ptr_equal(page_address(page), a);
	assert_ptr_equal(kmap(page), a);
	b = kmap_local_page(page);
	c = kmap_atomic(page);
	assert_true(in_atomic());
	assert_true(a != b && b != c);
	a[5] = 55;
	assert_int_equal(b[5], 55);
	c[4095] = 66;
	assert_int_equal(a[4095], 66);
	assert_ptr_equal(kmap_to_page(b + 100), page);
	assert_int_equal(kmap_nr_mapped(this_machine()), 3);
	kunmap_atomic(c);
	assert_false(in_atomic());
	kunmap_local(b);
	kunmap(page);
	assert_ptr_equal(page_address(page), a);
	kunmap(page);
	assert_null(page_address(page));
	assert_int_equal(kmap_nr_mapped(this_machine()), 0);
	__free_page(page);
}

static void lowmem_is_its_direct_map(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	void *p = kmap_atomic(page);

	(void)state;
	assert_ptr_equal(p, page_address(page));
	assert_true(in_atomic());
	kunmap_atomic(p);
	assert_ptr_equal(kmap(page), p);
	kunmap(page);
	assert_ptr_equal(kmap_local_page(page), p);
	kunmap_local(p);
	assert_ptr_equal(kmap_to_page(p), page);
	assert_int_equal(kmap_nr_mapped(this_machine()), 0);
	__free_page(page);
}

static void helpers_clear_copy_and_move_bytes(void **state)
{
	struct page *a = alloc_page(GFP_HIGHUSER), *b = alloc_page(GFP_HIGHUSER);
	char text[16] = "in high memory", back[16];

	(void)state;
	clear_highpage(a);
	memcpy_to_page(a, 1000, text, sizeof(text));
	copy_highpage(b, a);
	memcpy_from_page(back, b, 1000, sizeof(back));
	assert_string_equal(back, text);
	memzero_page(b, 1003, 5);
	zero_user(b, 0, 10);
	memcpy_from_page(back, b, 1000, sizeof(back));
	assert_memory_equal(back, "in \0\0\0\0\0memory", 14);
	clear_user_highpage(b, 0);
	memcpy_from_page(back, b, 1000, sizeof(back));
	assert_int_equal(back[0], 0);
	__free_page(a);
	__free_page(b);
}

static long touch(void *p)
{
	return *(volatile char *)p;
}

static void unmapped_address_faults(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER);
	void *p = kmap(page);

	(void)state;
	touch(p);
	kunmap(page);
	expect_oops(touch, p, "Oops");
	expect_oops(touch, phys_to_virt(page_to_phys(page)), "Oops");
	__free_page(page);
}

static struct page *shared_page;

static long maps_often(void *arg)
{
	for (int i = 0; i < 300; i++) {
		char *p = kmap(shared_page), *q = kmap_local_page(shared_page);
		unsigned int at = (unsigned int)(unsigned long)arg;

		p[at] = (char)i;
		cond_resched();
		assert_int_equal(q[at], (char)i);
		kunmap_local(q);
		kunmap(shared_page);
	}
	return 0;
}

static void all_cpus_may_map_one_frame(void **state)
{
	struct fiber *fibers[4];

	(void)state;
	shared_page = alloc_page(GFP_HIGHUSER);
	for (unsigned int i = 0; i < 4; i++)
		fibers[i] = fiber_spawn(i, "mapper", maps_often, (void *)(unsigned long)i);
	for (unsigned int i = 0; i < 4; i++)
		fiber_join(fibers[i], NULL);
	assert_int_equal(kmap_nr_mapped(this_machine()), 0);
	__free_page(shared_page);
}

static long unmap_later(void *arg)
{
	msleep(5);
	kunmap(arg);
	return 0;
}

/* The window has fewer slots than this machine has HIGHMEM frames. */
static void kmap_waits_for_an_address(void **state)
{
	static struct page *pages[5000];
	struct fiber *f;
	unsigned int nr = 0;
	u64 bytes;
	unsigned int slots;

	(void)state;
	physmem_window(this_machine(), WINDOW_KMAP, &bytes);
	slots = (unsigned int)(bytes >> PAGE_SHIFT) - KMAP_LOCAL_SLOTS;
	assert_true(slots < ARRAY_SIZE(pages));
	for (nr = 0; nr < slots; nr++) {
		pages[nr] = alloc_page(GFP_HIGHUSER);
		kmap(pages[nr]);
	}
	pages[nr] = alloc_page(GFP_HIGHUSER);
	f = fiber_spawn(0, "unmapper", unmap_later, pages[17]);
	assert_non_null(kmap(pages[nr]));
	fiber_join(f, NULL);
	for (unsigned int i = 0; i <= nr; i++) {
		if (i != 17)
			kunmap(pages[i]);
		__free_page(pages[i]);
	}
}

static void mistakes_are_reported(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER);
	void *p = kmap_local_page(page);

	(void)state;
	kunmap(page);
	expect_warn("kunmap of a frame that is not mapped");
	kunmap_local(p);
	kunmap_local(p);
	expect_warn("kmap_local_page() did not give");
	p = kmap_atomic(page);
	might_sleep();
	expect_warn("sleeping function called from invalid context");
	kunmap_atomic(p);
	__free_page(page);
}

static void forgets_to_unmap(void)
{
	struct page *page = alloc_page(GFP_HIGHUSER);

	kmap(page);
	__free_page(page);
}

static void forgotten_unmap_is_named_by_site(void **state)
{
	struct fixture_verdict v = fixture_run_config(&with_highmem, forgets_to_unmap);

	(void)state;
	assert_true(v.red);
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, "1 kmap mapping, 4096 bytes, from tests/mm/kva/"));
	assert_non_null(strstr(v.reason, "forgets_to_unmap"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(mappings_of_one_frame_alias, 1, &with_highmem),
		karc_unit_test_config(mappings_of_one_frame_alias, 4, &with_highmem),
		KARC_TESTS(lowmem_is_its_direct_map),
		karc_unit_test_config(helpers_clear_copy_and_move_bytes, 1, &with_highmem),
		karc_unit_test_config(unmapped_address_faults, 1, &with_highmem),
		karc_unit_test_config(all_cpus_may_map_one_frame, 4, &with_highmem),
		karc_unit_test_config(kmap_waits_for_an_address, 1, &with_highmem),
		karc_unit_test_config(mistakes_are_reported, 1, &with_highmem),
		cmocka_unit_test(forgotten_unmap_is_named_by_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
