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
	/* The array was the caller's: nobody remembers it. */
	assert_null(find_vm_area(a)->pages);
	assert_int_equal(find_vm_area(a)->flags, VM_MAP);
	assert_null(find_vm_area(b));
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

/* Each call that allocates, and what ends it. */
enum maker { BY_VMAP, BY_RAM, BY_AREA, BY_USER, BY_ALIGNED, BY_RANGE, NR_MAKERS };

static struct page *nth_pages[NR];
static void *nth_p;

static long nth_make(void *arg)
{
	unsigned long top = VMALLOC_START + (64UL << 20);

	switch ((enum maker)(unsigned long)arg) {
	case BY_VMAP:
		nth_p = vmap(nth_pages, NR, VM_MAP, PAGE_KERNEL);
		break;
	case BY_RAM:
		nth_p = vm_map_ram(nth_pages, NR, NUMA_NO_NODE);
		break;
	case BY_AREA:
		nth_p = get_vm_area(5 * PAGE_SIZE, VM_IOREMAP);
		break;
	case BY_USER:
		nth_p = vmalloc_user(NR * PAGE_SIZE);
		break;
	case BY_ALIGNED:
		nth_p = __vmalloc_node(NR * PAGE_SIZE, 4 * PMD_SIZE, GFP_NOFS, NUMA_NO_NODE, NULL);
		break;
	default:
		nth_p = __vmalloc_node_range(NR * PAGE_SIZE, PMD_SIZE, top, top + (8UL << 20),
					     GFP_NOIO, PAGE_KERNEL, VM_NO_GUARD, NUMA_NO_NODE,
					     NULL);
	}
	return nth_p ? 0 : -ENOMEM;
}

static void nth_undo(void *arg)
{
	switch ((enum maker)(unsigned long)arg) {
	case BY_VMAP:
		vunmap(nth_p);
		break;
	case BY_RAM:
		vm_unmap_ram(nth_p, NR);
		break;
	case BY_AREA:
		free_vm_area(nth_p);
		break;
	default:
		vfree(nth_p);
	}
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
	values[1] = vmap_nr_areas(this_machine());
	values[2] = kva_here()->top;
	values[3] = kva_here()->window.nr_starts;
	values[4] = mm_pgtables_bytes(&init_mm);
}

static void injected_failure_changes_nothing(void **state)
{
	void *first = vmalloc(PAGE_SIZE);

	(void)state;
	take_frames(nth_pages);
	for (unsigned long maker = 0; maker < NR_MAKERS; maker++)
		assert_true(fixture_fail_nth(.body = nth_make, .undo = nth_undo,
					     .snapshot = nth_snapshot, .arg = (void *)maker) >= 1);
	put_frames(nth_pages);
	vfree(first);
}

static void a_range_of_ones_own_is_kept(void **state)
{
	unsigned long low = VMALLOC_START + (16UL << 20), at;
	void *p[5];

	(void)state;
	/* Two areas of three pages and a guard fit into eight pages; then it is full. */
	for (int i = 0; i < 3; i++)
		p[i] = __vmalloc_node_range(3 * PAGE_SIZE, 1, low, low + 8 * PAGE_SIZE, GFP_KERNEL,
					    PAGE_KERNEL, 0, NUMA_NO_NODE, NULL);
	assert_int_equal(vmalloc_simulated(p[0]), low);
	assert_int_equal(vmalloc_simulated(p[1]), low + 4 * PAGE_SIZE);
	assert_null(p[2]);
	/* What lies before them serves others, to the last page. */
	p[2] = vmalloc((16UL << 20) - PAGE_SIZE);
	assert_int_equal(vmalloc_simulated(p[2]), VMALLOC_START);
	p[3] = vmalloc(1);
	at = vmalloc_simulated(p[3]);
	assert_int_equal(at, low + 8 * PAGE_SIZE);
	/* A hole of just the right place serves an alignment that leaves nothing over. */
	vfree(p[2]);
	p[2] = __vmalloc_node((16UL << 20) - PAGE_SIZE, 4UL << 20, GFP_KERNEL, NUMA_NO_NODE, NULL);
	assert_true(IS_ALIGNED((unsigned long)p[2], 4UL << 20));
	assert_null(__vmalloc_node_range(1, 1, 4096, 8192, GFP_KERNEL, PAGE_KERNEL, 0,
					 NUMA_NO_NODE, NULL));
	assert_null(__vmalloc_node_range(1, 1, VMALLOC_END, ~0UL, GFP_KERNEL, PAGE_KERNEL, 0,
					 NUMA_NO_NODE, NULL));
	assert_int_equal(machine_check(this_machine()), 0);
	for (int i = 0; i < 4; i++)
		vfree(p[i]);
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
	ranges_check(kva_here(), &report);
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
		karc_unit_test(a_range_of_ones_own_is_kept),
		karc_unit_test(many_areas_live_at_once),
		karc_unit_test(check_finds_overlap_and_wrong_counts),
		cmocka_unit_test(forgotten_areas_are_named_by_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
