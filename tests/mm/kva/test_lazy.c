/* SPDX-License-Identifier: MIT */
/*
 * Goal: what is freed waits, is had again as it was when the next one wants just that, and goes in
 * one batch otherwise; wrong frees are named with both places and change nothing.
 * Method: machines of tests track, and are eager therefore: each body here makes its own lazy.
 * Calls to the host, purges and frames are counted.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/irq.h>
#include <karc/mm/kva/set_memory.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include "mm/kva/internal.h"
#include "storm.h"

static struct kva *lazy_kva(void)
{
	kva_here()->eager = false;
	return kva_here();
}

static void *launder(const void *p)
{
	void *volatile q = (void *)p;

	return q;
}

static void memory_of_the_same_size_comes_back_without_a_call_to_the_host(void **state)
{
	struct kva *kva = lazy_kva();
	char *p = vmalloc(50 * PAGE_SIZE), *q = launder(p), *z;
	unsigned long calls = kva->window.nr_host_calls;

	(void)state;
	p[49 * PAGE_SIZE] = 42;
	for (int i = 0; i < 20; i++) {
		vfree(p);
		assert_int_equal(vmap_nr_areas(this_machine()), 0);
		assert_int_equal(vmalloc_nr_pages(), 0);
		assert_int_equal(vmalloc_nr_lazy(this_machine()), 51);
		p = vmalloc(50 * PAGE_SIZE - 7);
		assert_ptr_equal(p, q);
		assert_int_equal(p[49 * PAGE_SIZE], 42);
		assert_int_equal(vmalloc_nr_pages(), 50);
	}
	vfree(p);
	z = vzalloc(50 * PAGE_SIZE);
	assert_ptr_equal(z, q);
	assert_int_equal(z[49 * PAGE_SIZE], 0);
	assert_int_equal(kva->window.nr_host_calls, calls);
	assert_int_equal(find_vm_area(z)->flags, VM_ALLOC);
	vfree(z);
	assert_int_equal(machine_check(this_machine()), 0);
}

static void what_does_not_fit_is_left_alone(void **state)
{
	char *p, *q, *first;

	(void)state;
	lazy_kva();
	p = vmalloc(3 * PAGE_SIZE);
	first = launder(p);
	assert_true(IS_ALIGNED((unsigned long)p, PMD_SIZE));	/* the first of all */
	q = vmalloc(3 * PAGE_SIZE);
	vfree(launder(q));
	assert_ptr_not_equal(vmalloc(4 * PAGE_SIZE), q);
	assert_ptr_not_equal(__vmalloc_node(3 * PAGE_SIZE, PMD_SIZE, GFP_KERNEL, NUMA_NO_NODE,
					    NULL), q);
	assert_ptr_not_equal(vmalloc_32(3 * PAGE_SIZE), q);
	assert_ptr_not_equal(__vmalloc(3 * PAGE_SIZE, GFP_KERNEL | __GFP_ACCOUNT), q);
	assert_int_equal(set_memory_ro((unsigned long)p, 1), 0);
	vfree(p);
	assert_ptr_equal(vmalloc(3 * PAGE_SIZE), q);
	assert_ptr_not_equal(vmalloc(3 * PAGE_SIZE), first);
	for (struct rb_node *n = rb_first(&kva_here()->areas), *next; n; n = next) {
		struct vmap_area *va = rb_entry(n, struct vmap_area, node);

		next = rb_next(n);
		if (va->state == AREA_BUSY)
			vfree(va->vm.addr);
	}
}

static void neighbours_are_unmapped_by_one_call(void **state)
{
	struct kva *kva = lazy_kva();
	void *p[100];
	unsigned long calls, before;

	(void)state;
	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	for (int i = 0; i < 100; i++)
		p[i] = vmalloc((1 + (unsigned long)i % 3) * PAGE_SIZE);
	calls = kva->window.nr_host_calls;
	for (int i = 0; i < 100; i++)
		vfree(p[(i * 37) % 100]);
	assert_int_equal(kva->window.nr_host_calls, calls);
	assert_int_equal(machine_check(this_machine()), 0);
	vm_unmap_aliases();
	assert_int_equal(kva->window.nr_host_calls, calls + 1);
	assert_int_equal(kva->nr_purges, 1);
	assert_int_equal(kva->top, kva->start);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static void too_much_that_waits_is_purged(void **state)
{
	struct kva *kva = lazy_kva();

	(void)state;
	kva->lazy_max_pages = 64;
	for (unsigned long i = 1; i < 40; i++) {
		vfree(vmalloc(i * PAGE_SIZE));
		assert_true(vmalloc_nr_lazy(this_machine()) <= 64);
	}
	assert_true(kva->nr_purges > 5);
}

static void interrupts_free_without_a_call_to_the_host(void **state)
{
	struct kva *kva = lazy_kva();
	void *p[30];
	unsigned long flags, calls;

	(void)state;
	kva->lazy_max_pages = 50;
	for (int i = 0; i < 30; i++)
		p[i] = vmalloc(PAGE_SIZE);
	calls = kva->window.nr_host_calls;
	local_irq_save(flags);
	for (int i = 0; i < 30; i++)
		vfree_atomic(p[i]);
	local_irq_restore(flags);
	expect_no_warn();
	assert_int_equal(kva->window.nr_host_calls, calls);
	assert_int_equal(vmalloc_nr_lazy(this_machine()), 60);
	/* A bound there is: they are not kept for ever. */
	for (int i = 0; i < 10; i++)
		p[i] = vmalloc((2 + (unsigned long)i) * PAGE_SIZE);
	preempt_disable();
	for (int i = 0; i < 10; i++)
		vfree(p[i]);
	preempt_enable();
	assert_true(vmalloc_nr_lazy(this_machine()) <= 75);
	machine_quiesce(this_machine());
	assert_int_equal(vmalloc_nr_lazy(this_machine()), 0);
}

static const struct machine_config small = { .mem_bytes = 32ULL << 20 };

static void what_waits_gives_way_to_who_needs_frames(void **state)
{
	struct kva *kva = lazy_kva();
	unsigned long nr_pages;
	void *p;

	(void)state;
	kva->lazy_max_pages = ~0UL / 2;
	nr_pages = phys_nr_free(this_machine()) / 2;
	p = vmalloc(nr_pages * PAGE_SIZE);
	assert_non_null(p);
	vfree(p);
	p = vmalloc((nr_pages + 300) * PAGE_SIZE);
	assert_non_null(p);
	assert_int_equal(kva->nr_purges, 1);
	vfree(p);
	assert_true(vmalloc_shrink() >= nr_pages + 300);
	assert_int_equal(vmalloc_shrink(), 0);
}

static void a_view_leaves_the_tables_at_once_and_the_host_later(void **state)
{
	struct kva *kva = lazy_kva();
	struct page *page = alloc_page(GFP_KERNEL);
	char *a = vmap(&page, 1, VM_MAP, PAGE_KERNEL), *b = vm_map_ram(&page, 1, NUMA_NO_NODE);
	unsigned long at = kva_page(kva, (unsigned long)a);

	(void)state;
	a[5] = 1;
	assert_int_equal(b[5], 1);
	vunmap(a);
	vm_unmap_ram(b, 1);
	assert_null(vmalloc_to_page(launder(a)));
	assert_true(test_bit(at % BITS_PER_LONG, &kva->window.shown[at / BITS_PER_LONG]));
	vm_unmap_aliases();
	assert_false(test_bit(at % BITS_PER_LONG, &kva->window.shown[at / BITS_PER_LONG]));
	__free_page(page);
}

/* ---- wrong frees ---- */

static void wrong_ends_are_named_with_both_places(bool eager)
{
	struct page *page = alloc_page(GFP_KERNEL);
	char *area, *view, *ram, *k, *gone;
	struct vm_struct *bare;

	kva_here()->eager = eager;
	area = vmalloc(2 * PAGE_SIZE);
	view = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	ram = vm_map_ram(&page, 1, NUMA_NO_NODE);
	bare = get_vm_area(PAGE_SIZE, VM_IOREMAP);
	k = (char *)__get_free_page(GFP_KERNEL);
	vfree(launder(view));
	expect_warn("vfree() nonexistent vm area, or not its start at tests/mm/kva/test_lazy.c");
	vfree(launder(view));
	expect_warn("vmap() area, which vunmap() ends; made at tests/mm/kva/test_lazy.c");
	vunmap(area);
	expect_warn("vmalloc() area, which vfree() ends; made at");
	vunmap(ram);
	expect_warn("vm_map_ram() area, which vm_unmap_ram() ends");
	vfree(launder(bare->addr));
	expect_warn("get_vm_area() area, which free_vm_area() ends");
	vm_unmap_ram(view, 1);
	expect_warn("vmap() area");
	vfree(launder(area + PAGE_SIZE));
	expect_warn("4096 bytes inside a vmalloc() area");
	vfree(launder(k));
	expect_warn("not in the vmalloc window; a frame");
	vfree((void *)(VMALLOC_END - VMALLOC_START + area));
	expect_warn("nonexistent");
	assert_int_equal(machine_check(this_machine()), 0);
	*area = *view = *ram = 1;
	gone = launder(area);
	vfree(area);
	vfree(gone);
	expect_warn("freed before at tests/mm/kva/test_lazy.c");
	vunmap(view);
	vunmap(launder(view));
	expect_warn("freed before at");
	vm_unmap_ram(ram, 2);
	expect_warn("vm_unmap_ram() of 2 pages, 1 were mapped");
	free_vm_area(bare);
	free_page((unsigned long)k);
	__free_page(page);
}

static void wrong_ends_change_nothing(void **state)
{
	(void)state;
	wrong_ends_are_named_with_both_places(true);
	wrong_ends_are_named_with_both_places(false);
}

/* ---- all CPUs at once ---- */

static long takes_and_gives(struct storm_worker *w)
{
	unsigned long *p[8] = { NULL };
	unsigned int size[8];

	for (unsigned int i = 0; i < 400; i++) {
		unsigned int k = rnd_below(&w->rnd, 8);

		if (p[k]) {
			assert_int_equal(*p[k], (unsigned long)p[k] + w->index);
			assert_int_equal(p[k][size[k] * 512 - 1], i % 1 + k);
			vfree(p[k]);
			p[k] = NULL;
			continue;
		}
		size[k] = 1 + rnd_below(&w->rnd, 6);
		p[k] = rnd_chance(&w->rnd, 1, 2) ? vmalloc(size[k] * PAGE_SIZE) :
						   vzalloc(size[k] * PAGE_SIZE);
		assert_non_null(p[k]);
		*p[k] = (unsigned long)p[k] + w->index;
		p[k][size[k] * 512 - 1] = k;
	}
	for (unsigned int k = 0; k < 8; k++)
		vfree(p[k]);
	return 0;
}

static void areas_that_are_had_again_belong_to_one_at_a_time(void **state)
{
	struct storm storm;

	(void)state;
	lazy_kva()->lazy_max_pages = 40;
	storm_run(&storm, 1, takes_and_gives, NULL);
	assert_int_equal(vmap_nr_areas(this_machine()), 0);
	assert_true(kva_here()->nr_purges > 0);
}

static void check_finds_wrong_counts_of_what_waits(void **state)
{
	struct check_report report = { .quiet = true };
	struct kva *kva = lazy_kva();

	(void)state;
	vfree(vmalloc(1));
	kva->nr_lazy_pages++;
	kva_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "L1"));
	kva->nr_lazy_pages--;
	kva->eager = true;
	kva_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 2);
	assert_non_null(strstr(report.last, "L3"));
	kva->eager = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(memory_of_the_same_size_comes_back_without_a_call_to_the_host),
		karc_unit_test(what_does_not_fit_is_left_alone),
		KARC_TESTS(neighbours_are_unmapped_by_one_call),
		karc_unit_test(too_much_that_waits_is_purged),
		KARC_TESTS(interrupts_free_without_a_call_to_the_host),
		karc_unit_test_config(what_waits_gives_way_to_who_needs_frames, 1, &small),
		KARC_TESTS(a_view_leaves_the_tables_at_once_and_the_host_later),
		karc_unit_test(wrong_ends_change_nothing),
		KARC_TESTS(areas_that_are_had_again_belong_to_one_at_a_time),
		karc_unit_test(check_finds_wrong_counts_of_what_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
