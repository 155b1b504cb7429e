/* SPDX-License-Identifier: MIT */
/*
 * Goal: vmap shows the caller's frames, takes what it was told to take, and what is forgotten is
 * named.
 * Method: aliases of the same frames compared byte by byte; whole fixture runs for leaks.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/inject.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include "mm/kva/internal.h"

#define NR 6

static void take_frames(struct page **pages)
{
	for (int i = 0; i < NR; i++) {
		pages[i] = alloc_page(GFP_HIGHUSER);
		assert_non_null(pages[i]);
	}
}

static void put_frames(struct page **pages)
{
	for (int i = 0; i < NR; i++)
		__free_page(pages[i]);
}

static void aliases_see_the_same_memory(void **state)
{
	struct page *pages[NR], *twice[2 * NR];
	char *a, *b;

	(void)state;
	take_frames(pages);
	for (int i = 0; i < 2 * NR; i++)
		twice[i] = pages[NR - 1 - i % NR];
	a = vmap(pages, NR, VM_MAP, PAGE_KERNEL);
	b = vm_map_ram(twice, 2 * NR, NUMA_NO_NODE);
	for (int i = 0; i < NR; i++) {
		a[i * PAGE_SIZE + 9] = (char)(i + 1);
		assert_int_equal(b[(NR - 1 - i) * PAGE_SIZE + 9], i + 1);
		assert_int_equal(b[(2 * NR - 1 - i) * PAGE_SIZE + 9], i + 1);
		assert_ptr_equal(vmalloc_to_page(a + i * PAGE_SIZE), pages[i]);
		assert_int_equal(page_count(pages[i]), 1);
	}
	assert_int_equal(find_vm_area(a)->nr_pages, NR);
	assert_null(find_vm_area(pages));
	vunmap(a);
	vm_unmap_ram(b, 2 * NR);
	put_frames(pages);
}

static void put_pages_flag_hands_the_frames_over(void **state)
{
	struct page **pages = kvmalloc_array(NR, sizeof(*pages), GFP_KERNEL);
	unsigned long before;
	char *p;

	(void)state;
	before = phys_nr_free(this_machine());
	take_frames(pages);
	p = vmap(pages, NR, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	p[NR * PAGE_SIZE - 1] = 1;
	assert_true(phys_nr_free(this_machine()) <= before - NR);
	vfree(p);
	machine_quiesce(this_machine());
	assert_true(phys_nr_free(this_machine()) >= before);
}

static void nonsense_is_refused(void **state)
{
	struct page *pages[NR];
	char *p;

	(void)state;
	take_frames(pages);
	assert_null(vmap(pages, 0, VM_MAP, PAGE_KERNEL));
	assert_null(vmap(pages, ~0u, VM_MAP, PAGE_KERNEL));
	p = vmap(pages, NR, VM_MAP, PAGE_KERNEL);
	vunmap(NULL);
	expect_no_warn();
	vunmap(p + PAGE_SIZE);
	expect_warn("nonexistent vm area");
	vunmap(p);
	put_frames(pages);
}

static struct page *nth_pages[NR];
static void *nth_p;

static long nth_vmap(void *arg)
{
	(void)arg;
	nth_p = vmap(nth_pages, NR, VM_MAP, PAGE_KERNEL);
	return nth_p ? 0 : -ENOMEM;
}

static void nth_vunmap(void *arg)
{
	(void)arg;
	vunmap(nth_p);
}

static void injected_failure_changes_nothing(void **state)
{
	(void)state;
	take_frames(nth_pages);
	assert_true(fixture_fail_nth(.body = nth_vmap, .undo = nth_vunmap) >= 1);
	put_frames(nth_pages);
}

static void many_areas_live_at_once(void **state)
{
	static void *p[5000];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = vmalloc(1);
		assert_non_null(p[i]);
	}
	assert_int_equal(vmap_nr_areas(this_machine()), ARRAY_SIZE(p));
	assert_int_equal(machine_check(this_machine()), 0);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		vfree(p[i ^ 1]);
}

static void check_finds_overlap_and_wrong_counts(void **state)
{
	struct check_report report = { .quiet = true };
	void *p = vmalloc(1), *q = vmalloc(1);
	struct vmap_area *va = area_find(kva_here(), (unsigned long)p);

	(void)state;
	kva_here()->nr_areas++;
	kva_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "V4"));
	kva_here()->nr_areas--;
	va->va_end += PAGE_SIZE;
	kva_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 2);
	assert_non_null(strstr(report.last, "V1"));
	va->va_end -= PAGE_SIZE;
	vfree(p);
	vfree(q);
}

static void forgets_an_area(void)
{
	assert_non_null(vmalloc(3 * PAGE_SIZE));
}

static void forgets_a_mapping(void)
{
	static struct page *pages[NR];

	take_frames(pages);
	assert_non_null(vmap(pages, NR, VM_MAP, PAGE_KERNEL));
	put_frames(pages);
}

/* One leak is named once: by its area, not again by its frames and descriptors. */
static void forgotten_areas_are_named_by_site(void **state)
{
	struct fixture_verdict v = fixture_run(4, forgets_an_area);

	(void)state;
	assert_true(v.red);
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, "1 vmalloc area, 12288 bytes, from tests/mm/kva/"));
	assert_non_null(strstr(v.reason, "forgets_an_area"));
	v = fixture_run(1, forgets_a_mapping);
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, "1 vmap area"));
	assert_non_null(strstr(v.reason, "forgets_a_mapping"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(aliases_see_the_same_memory),
		karc_unit_test(put_pages_flag_hands_the_frames_over),
		karc_unit_test(nonsense_is_refused),
		KARC_TESTS(injected_failure_changes_nothing),
		karc_unit_test(many_areas_live_at_once),
		karc_unit_test(check_finds_overlap_and_wrong_counts),
		cmocka_unit_test(forgotten_areas_are_named_by_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
