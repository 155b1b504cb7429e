/* SPDX-License-Identifier: MIT */
/*
 * Goal: vmalloc memory is real, private, guarded, and gives every frame back; kvmalloc chooses and
 * kvfree knows.
 * Method: content checks through both addresses of each frame; faults caught as Oopses; random
 * sizes with seed; fail-nth.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include <karc/base/rand.h>
#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>
#include <karc/hw/irq.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>

static u64 seed_of_run(void)
{
	const char *text = getenv("KARC_TEST_SEED");

	return text ? strtoull(text, NULL, 0) : 23;
}

static void *launder(const void *p)
{
	void *volatile q = (void *)p;

	return q;
}

static void memory_is_the_frames_seen_from_elsewhere(void **state)
{
	char *p = vmalloc(10 * PAGE_SIZE + 5);

	(void)state;
	assert_true(is_vmalloc_addr(p));
	assert_false(is_vmalloc_addr(&p));
	assert_true(PAGE_ALIGNED(p));
	for (size_t i = 0; i < 11; i++) {
		struct page *page = vmalloc_to_page(p + i * PAGE_SIZE);

		assert_non_null(page);
		assert_int_equal(page_count(page), 1);
		p[i * PAGE_SIZE + 7] = (char)i;
		assert_int_equal(((char *)page_address(page))[7], i);
		assert_int_equal(vmalloc_to_pfn(p + i * PAGE_SIZE), page_to_pfn(page));
	}
	assert_null(vmalloc_to_page(p + 11 * PAGE_SIZE));	/* the guard */
	assert_int_equal(global_node_page_state(NR_VMALLOC_PAGES), 11);
	vfree(p);
	assert_int_equal(global_node_page_state(NR_VMALLOC_PAGES), 0);
	assert_null(vmalloc_to_page(launder(p)));
}

static long touch(void *p)
{
	return *(volatile char *)p;
}

static void guard_page_and_freed_memory_fault(void **state)
{
	char *p = vmalloc(3 * PAGE_SIZE), *q = vmalloc(PAGE_SIZE), *freed = launder(p);

	(void)state;
	p[3 * PAGE_SIZE - 1] = 1;
	expect_oops(touch, p + 3 * PAGE_SIZE, "Oops");
	assert_ptr_equal(q, p + 4 * PAGE_SIZE);
	vfree(p);
	expect_oops(touch, freed, "Oops");
	vfree(q);
}

static void zeroed_memory_is_zero(void **state)
{
	(void)state;
	for (int round = 0; round < 3; round++) {
		u8 *p = vzalloc(20 * PAGE_SIZE);

		assert_int_equal(p[0], 0);
		assert_true(memcmp(p, p + 1, 20 * PAGE_SIZE - 1) == 0);
		memset(p, 0xdd, 20 * PAGE_SIZE);
		vfree(p);
	}
}

static void alignment_is_honoured(void **state)
{
	char *small = vmalloc(PAGE_SIZE);

	(void)state;
	for (unsigned long align = PAGE_SIZE; align <= 8UL << 20; align *= 8) {
		char *p = __vmalloc_node(2 * PAGE_SIZE, align, GFP_KERNEL, NUMA_NO_NODE, NULL);

		assert_non_null(p);
		assert_true(IS_ALIGNED((unsigned long)p, align));
		p[0] = 1;
		vfree(p);
	}
	assert_null(__vmalloc_node(PAGE_SIZE, 3 * PAGE_SIZE, GFP_KERNEL, NUMA_NO_NODE, NULL));
	vfree(small);
}

static void impossible_sizes_fail(void **state)
{
	(void)state;
	assert_null(vmalloc(0));
	assert_null(vmalloc(1UL << 40));
	assert_null(vmalloc(~0UL));
	assert_null(kvmalloc(~0UL, GFP_KERNEL));
	assert_null(kvmalloc_array(~0UL, 16, GFP_KERNEL));
	vfree(NULL);
	kvfree(NULL);
	expect_no_warn();
}

#define NR_WORKERS 8u
#define NR_AREAS 200
#define ROUNDS 1500

static struct {
	char *p;
	size_t size;
	u8 stamp;
} areas[NR_AREAS];

static long worker(void *arg)
{
	unsigned long who = (unsigned long)arg;
	struct rnd rnd;

	rnd_seed(&rnd, seed_of_run() * NR_WORKERS + who);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		/* each CPU has slots of its own */
		unsigned int k = rnd_below(&rnd, NR_AREAS / NR_WORKERS) * NR_WORKERS +
				 (unsigned int)who;

		if (areas[k].p) {
			assert_int_equal(areas[k].p[0], (char)areas[k].stamp);
			assert_int_equal(areas[k].p[areas[k].size - 1], (char)areas[k].stamp);
			vfree(areas[k].p);
			areas[k].p = NULL;
			continue;
		}
		areas[k].size = 1 + rnd_below(&rnd, rnd_chance(&rnd, 1, 20) ? 300000 : 20000);
		areas[k].p = vmalloc(areas[k].size);
		assert_non_null(areas[k].p);
		areas[k].stamp = (u8)rnd_u32(&rnd);
		areas[k].p[0] = areas[k].p[areas[k].size - 1] = (char)areas[k].stamp;
	}
	return 0;
}

static void areas_of_all_cpus_are_disjoint_and_give_all_back(void **state)
{
	unsigned int nr_cpus = machine_nr_cpus(this_machine());
	unsigned long before;
	struct fiber *fibers[NR_WORKERS];

	(void)state;
	print_message("seed %llu\n", seed_of_run());
	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	memset(areas, 0, sizeof(areas));
	for (unsigned int i = 0; i < nr_cpus; i++)
		fibers[i] = fiber_spawn(i, "worker", worker, (void *)(unsigned long)i);
	for (unsigned int i = 0; i < nr_cpus; i++)
		fiber_join(fibers[i], NULL);
	assert_int_equal(machine_check(this_machine()), 0);
	for (unsigned int i = 0; i < NR_AREAS; i++)
		vfree(areas[i].p);
	assert_int_equal(vmap_nr_areas(this_machine()), 0);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static void freed_addresses_are_used_again_lowest_first(void **state)
{
	char *p[10], *q;

	(void)state;
	for (int i = 0; i < 10; i++)
		p[i] = vmalloc(PAGE_SIZE);
	q = launder(p[3]);
	vfree(p[3]);
	p[3] = vmalloc(2 * PAGE_SIZE);		/* does not fit there */
	assert_true(p[3] > p[9]);
	assert_ptr_equal(vmalloc(PAGE_SIZE), q);
	vfree(q);
	for (int i = 0; i < 10; i++)
		vfree(p[i]);
}

static void highmem_frames_serve_vmalloc_first(void **state)
{
	char *p = vmalloc(5 * PAGE_SIZE);

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct page *page = vmalloc_to_page(p + i * PAGE_SIZE);
		char byte;

		assert_true(PageHighMem(page));
		p[i * PAGE_SIZE] = (char)(i + 50);
		physmem_read(this_machine(), page_to_phys(page), &byte, 1);
		assert_int_equal(byte, i + 50);
	}
	vfree(p);
}

static void kvmalloc_prefers_kmalloc_and_falls_back(void **state)
{
	void *small = kvmalloc(100, GFP_KERNEL), *large = kvzalloc(16UL << 20, GFP_KERNEL);
	char *grown = kvmalloc(5000, GFP_KERNEL);

	(void)state;
	assert_false(is_vmalloc_addr(small));
	assert_true(is_vmalloc_addr(large));
	assert_int_equal(((char *)large)[(16UL << 20) - 1], 0);
	strcpy(grown, "kept");
	grown = kvrealloc(grown, 5000, 8UL << 20, GFP_KERNEL);
	assert_true(is_vmalloc_addr(grown));
	assert_string_equal(grown, "kept");
	assert_null(kvmalloc(16UL << 20, GFP_ATOMIC));
	kvfree(small);
	kvfree(large);
	kvfree_sensitive(grown, 8UL << 20);
}

struct with_head {
	char pad[9000];
	struct rcu_head rcu;
};

static void kvfree_rcu_frees_either_kind_after_a_grace_period(void **state)
{
	struct with_head *a = kmalloc(sizeof(*a), GFP_KERNEL), *b = vmalloc(sizeof(*b));
	struct with_head *none = NULL;

	(void)state;
	rcu_read_lock();
	kvfree_rcu(a, rcu);
	kvfree_rcu(b, rcu);
	kvfree_rcu(none, rcu);
	assert_int_equal(vmap_nr_areas(this_machine()), 1);
	rcu_read_unlock();
	rcu_barrier();
	assert_int_equal(vmap_nr_areas(this_machine()), 0);
	b = vmalloc(sizeof(*b));
	kvfree_rcu(b);
	assert_int_equal(vmap_nr_areas(this_machine()), 0);
}

static void vfree_works_in_atomic_context(void **state)
{
	void *p = vmalloc(PAGE_SIZE);
	unsigned long flags;

	(void)state;
	local_irq_save(flags);
	vfree(p);
	local_irq_restore(flags);
	expect_no_warn();
	preempt_disable();
	p = vmalloc(PAGE_SIZE);
	preempt_enable();
	expect_warn("invalid context at tests/mm/kva/test_vmalloc.c");
	vfree(p);
}

static void wrong_pointers_are_reported_and_left_alone(void **state)
{
	char *p = vmalloc(3 * PAGE_SIZE), *k = kmalloc(100, GFP_KERNEL), *again = launder(p);

	(void)state;
	vfree(launder(p + PAGE_SIZE));
	expect_warn("nonexistent vm area");
	vfree(launder(k));
	expect_warn("nonexistent vm area");
	kfree(launder(p));
	expect_warn("vmalloc memory, which vfree() frees");
	p[0] = 1;
	vfree(p);
	vfree(again);
	expect_warn("nonexistent vm area");
	kfree(k);
}

static char *nth_p;

static long nth_vmalloc(void *arg)
{
	nth_p = __vmalloc((size_t)arg, GFP_KERNEL | __GFP_ZERO);
	return nth_p ? 0 : -ENOMEM;
}

static void nth_vfree(void *arg)
{
	(void)arg;
	vfree(nth_p);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
	values[1] = vmap_nr_areas(this_machine());
	values[2] = global_node_page_state(NR_VMALLOC_PAGES);
}

static void injected_failure_changes_nothing(void **state)
{
	(void)state;
	assert_true(fixture_fail_nth(.body = nth_vmalloc, .undo = nth_vfree,
				     .snapshot = nth_snapshot, .arg = (void *)PAGE_SIZE) >= 3);
	assert_true(fixture_fail_nth(.body = nth_vmalloc, .undo = nth_vfree,
				     .snapshot = nth_snapshot, .arg = (void *)(13 * PAGE_SIZE)) >=
		    3);
}

static const struct machine_config small = { .mem_bytes = 16ULL << 20 };

static void exhaustion_fails_cleanly_and_recovers(void **state)
{
	static void *p[200];
	unsigned long before;
	unsigned int nr = 0;

	(void)state;
	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	while ((p[nr] = __vmalloc(1UL << 20, GFP_KERNEL | __GFP_NOWARN)))
		nr++;
	assert_true(nr >= 12);
	while (nr)
		vfree(p[--nr]);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static const struct machine_config with_highmem = {
	.mem_bytes = 64ULL << 20,
	.highmem_start = 32ULL << 20,
};

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(memory_is_the_frames_seen_from_elsewhere),
		karc_unit_test(guard_page_and_freed_memory_fault),
		karc_unit_test(zeroed_memory_is_zero),
		karc_unit_test(alignment_is_honoured),
		karc_unit_test(impossible_sizes_fail),
		KARC_TESTS(areas_of_all_cpus_are_disjoint_and_give_all_back),
		karc_unit_test(freed_addresses_are_used_again_lowest_first),
		karc_unit_test_config(highmem_frames_serve_vmalloc_first, 1, &with_highmem),
		karc_unit_test(kvmalloc_prefers_kmalloc_and_falls_back),
		KARC_TESTS(kvfree_rcu_frees_either_kind_after_a_grace_period),
		karc_unit_test(vfree_works_in_atomic_context),
		karc_unit_test(wrong_pointers_are_reported_and_left_alone),
		KARC_TESTS(injected_failure_changes_nothing),
		karc_unit_test_config(exhaustion_fails_cleanly_and_recovers, 1, &small),
		karc_unit_test_config(exhaustion_fails_cleanly_and_recovers, 4, &small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
