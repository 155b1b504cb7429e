/* SPDX-License-Identifier: MIT */
/*
 * Goal: the TLB really caches: a changed entry stays invisible until it is flushed, and after the
 * flush it is visible; statistics count.
 * Method: tables by hand that change behind the TLB's back; user accesses through it.
 */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include <karc/base/math.h>
#include <karc/hw/cpu.h>
#include <karc/hw/fiber.h>
#include <karc/hw/machine.h>
#include <karc/hw/mmu.h>
#include <karc/hw/physmem.h>
#include <karc/hw/tlb.h>
#include "tables.h"

#define MIB	(1ULL << 20)
#define VA	0x00007f1234567000ULL
#define FRAME_A	(64 * MIB)
#define FRAME_B	(65 * MIB)

/* These tests use stale translations on purpose; test_mmu.c is about noticing them. */
static const char *stale_is_fine(const struct mmu_stale *stale)
{
	(void)stale;
	return NULL;
}

static void map_ab(struct tables *t)
{
	mmu_on_stale(this_machine(), stale_is_fine);
	tables_init(t);
	*(char *)phys_to_virt(FRAME_A) = 'a';
	*(char *)phys_to_virt(FRAME_B) = 'b';
	tables_map(t, VA, FRAME_A, USER_RW);
	tables_map(t, VA + PAGE_SIZE, FRAME_A, USER_RW);
	mmu_on_fault(this_machine(), NULL);
	mmu_load_cr3(t->root);
	tlb_flush_all_local();
}

static char load(u64 va)
{
	char byte = 0;

	if (mmu_access_user(va, &byte, 1, MMU_READ))
		return 0;
	return byte;
}

static int store(u64 va, char byte)
{
	return mmu_access_user(va, &byte, 1, MMU_WRITE);
}

static void a_stale_translation_is_used_until_flushed(void **state)
{
	struct tables t;

	(void)state;
	map_ab(&t);
	assert_int_equal(load(VA), 'a');
	tables_map(&t, VA, FRAME_B, USER_RW);
	assert_int_equal(load(VA), 'a');
	tlb_flush_page_local(VA + 5);
	assert_int_equal(load(VA), 'b');

	*tables_entry(&t, VA, 0, 0) = 0;
	assert_int_equal(load(VA), 'b');
	tlb_flush_all_local();
	assert_int_equal(load(VA), 0);
}

static void a_stale_write_permission_is_used_until_flushed(void **state)
{
	struct tables t;

	(void)state;
	map_ab(&t);
	assert_int_equal(store(VA, 'w'), 0);
	*tables_entry(&t, VA, 0, 0) &= ~HW_PTE_RW;
	assert_int_equal(store(VA, 'x'), 0);
	assert_int_equal(*(char *)phys_to_virt(FRAME_A), 'x');
	tlb_flush_page_local(VA);
	assert_int_equal(store(VA, 'y'), -EFAULT);
	assert_int_equal(*(char *)phys_to_virt(FRAME_A), 'x');
}

static void a_cached_read_does_not_permit_a_write(void **state)
{
	struct tables t;
	u64 *leaf;

	(void)state;
	map_ab(&t);
	leaf = tables_entry(&t, VA, 0, 0);
	assert_int_equal(load(VA), 'a');
	assert_true(tlb_holds(this_cpu(), VA, false));
	assert_false(tlb_holds(this_cpu(), VA, true));
	assert_false(*leaf & HW_PTE_DIRTY);
	assert_int_equal(store(VA, 'w'), 0);		/* a walk, which sets dirty */
	assert_true(*leaf & HW_PTE_DIRTY);
	assert_true(tlb_holds(this_cpu(), VA, true));

	/* Cleaned without a flush: the store goes unnoticed, as on hardware. */
	*leaf &= ~(HW_PTE_DIRTY | HW_PTE_ACCESSED);
	assert_int_equal(store(VA, 'v'), 0);
	assert_false(*leaf & HW_PTE_DIRTY);
}

static void reading_and_executing_are_cached_apart(void **state)
{
	struct tables t;
	char byte;

	(void)state;
	map_ab(&t);
	*tables_entry(&t, VA, 0, 0) |= HW_PTE_NX;
	assert_int_equal(load(VA), 'a');
	assert_int_equal(mmu_access_user(VA, &byte, 1, MMU_EXEC), -EFAULT);
	*tables_entry(&t, VA, 0, 0) &= ~HW_PTE_NX;
	assert_int_equal(mmu_access_user(VA, &byte, 1, MMU_EXEC), 0);
	*tables_entry(&t, VA, 0, 0) |= HW_PTE_NX;
	assert_int_equal(mmu_access_user(VA, &byte, 1, MMU_EXEC), 0);
	tlb_flush_page_local(VA);
	assert_int_equal(mmu_access_user(VA, &byte, 1, MMU_EXEC), -EFAULT);
}

/* A write that walks again finds another frame: the cached read must not stay with the old one. */
static void a_new_frame_for_writing_replaces_the_one_for_reading(void **state)
{
	struct tables t;

	(void)state;
	map_ab(&t);
	*tables_entry(&t, VA, 0, 0) &= ~HW_PTE_RW;
	assert_int_equal(load(VA), 'a');
	assert_int_equal(store(VA, 'x'), -EFAULT);	/* drops the page from this CPU's TLB */
	assert_false(tlb_holds(this_cpu(), VA, false));
	assert_int_equal(load(VA), 'a');
	tables_map(&t, VA, FRAME_B, USER_RW);		/* copy-on-write, without a flush */
	assert_int_equal(store(VA, 'x'), 0);
	assert_int_equal(load(VA), 'x');
	assert_int_equal(*(char *)phys_to_virt(FRAME_A), 'a');
}

static void flushing_a_range_leaves_the_rest(void **state)
{
	struct tables t;

	(void)state;
	map_ab(&t);
	for (u64 i = 0; i < 8; i++) {
		tables_map(&t, VA + i * PAGE_SIZE, FRAME_A, USER_RW);
		assert_int_equal(load(VA + i * PAGE_SIZE), 'a');
	}
	tlb_flush_range_local(VA + 2 * PAGE_SIZE + 1, VA + 4 * PAGE_SIZE + 1);
	for (u64 i = 0; i < 8; i++)
		assert_int_equal(tlb_holds(this_cpu(), VA + i * PAGE_SIZE, false), i < 2 || i > 4);
	tlb_flush_range_local(VA, VA);
	assert_true(tlb_holds(this_cpu(), VA, false));
	tlb_flush_range_local(0, ~0ULL);
	assert_false(tlb_holds(this_cpu(), VA, false));
}

static void a_new_root_flushes_and_the_same_root_does_not(void **state)
{
	struct tables t;

	(void)state;
	map_ab(&t);
	assert_int_equal(load(VA), 'a');
	mmu_load_cr3(t.root);
	assert_true(tlb_holds(this_cpu(), VA, false));
	mmu_load_cr3(tables_frame(&t));
	assert_false(tlb_holds(this_cpu(), VA, false));
	assert_int_equal(load(VA), 0);
	mmu_load_cr3(t.root);
	assert_int_equal(load(VA), 'a');
}

static void flushing_any_page_of_a_large_leaf_flushes_it_all(void **state)
{
	struct tables t;
	u64 base = VA & ~(2 * MIB - 1);
	u64 *pmd;

	(void)state;
	map_ab(&t);
	pmd = tables_entry(&t, base + 2 * MIB, 1, USER_RW);
	*pmd = FRAME_A | USER_RW | HW_PTE_PSE;
	base += 2 * MIB;
	assert_int_equal(load(base), 'a');
	assert_int_equal(load(base + MIB), 'b');		/* FRAME_B = FRAME_A + 1 MiB */
	*pmd = 0;
	assert_int_equal(load(base + MIB), 'b');
	tlb_flush_page_local(base + 0x7000);
	assert_false(tlb_holds(this_cpu(), base, false));
	assert_int_equal(load(base + MIB), 0);
}

/* The generation wraps many times; what was cached long ago must not come back. */
static void old_generations_never_match_again(void **state)
{
	struct tables t;

	(void)state;
	map_ab(&t);
	assert_int_equal(load(VA), 'a');
	for (unsigned int i = 0; i < 3 * 4096; i++) {
		tlb_flush_all_local();
		if (tlb_holds(this_cpu(), VA, false))
			fail_msg("a translation came back after %u flushes", i + 1);
	}
}

static void pages_that_share_a_slot_evict_each_other(void **state)
{
	struct tables t;
	u64 other = VA + TLB_ENTRIES * PAGE_SIZE;

	(void)state;
	map_ab(&t);
	tables_map(&t, other, FRAME_B, USER_RW);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(load(VA), 'a');
		assert_false(tlb_holds(this_cpu(), other, false));
		assert_int_equal(load(other), 'b');
		assert_false(tlb_holds(this_cpu(), VA, false));
	}
}

static void statistics_count_hits_misses_and_flushes(void **state)
{
	struct tables t;
	struct tlb_stats before, after;

	(void)state;
	map_ab(&t);
	before = tlb_stats(this_cpu());
	for (int i = 0; i < 1000; i++)
		assert_int_equal(load(VA), 'a');
	assert_int_equal(load(VA + PAGE_SIZE), 'a');
	tlb_flush_page_local(VA);
	tlb_flush_all_local();
	after = tlb_stats(this_cpu());
	assert_int_equal(after.hits - before.hits, 999);
	assert_int_equal(after.misses - before.misses, 2);
	assert_int_equal(after.flushes - before.flushes, 2);
}

static long load_on_other_cpu(void *arg)
{
	struct tables *t = arg;
	char byte;

	mmu_load_cr3(t->root);
	byte = load(VA);
	return byte;
}

static long load_again_on_other_cpu(void *arg)
{
	(void)arg;
	return load(VA);
}

static long on_cpu(unsigned int cpu, long (*fn)(void *), void *arg)
{
	struct machine_result r;
	struct fiber *f = fiber_spawn(cpu, "other", fn, arg);

	assert_non_null(f);
	fiber_join(f, &r);
	assert_int_equal(r.end, MACHINE_VALUE);
	return r.value;
}

static void each_cpu_has_its_own(void **state)
{
	unsigned int other = (smp_processor_id() + 1) % machine_nr_cpus(this_machine());
	struct tables t;

	(void)state;
	if (machine_nr_cpus(this_machine()) == 1)
		return;
	map_ab(&t);
	assert_int_equal(load(VA), 'a');
	assert_int_equal(on_cpu(other, load_on_other_cpu, &t), 'a');
	tables_map(&t, VA, FRAME_B, USER_RW);
	tlb_flush_page_local(VA);
	assert_int_equal(load(VA), 'b');
	/* Nobody told the other CPU: that is what a missing shootdown looks like. */
	assert_int_equal(on_cpu(other, load_again_on_other_cpu, &t), 'a');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_stale_translation_is_used_until_flushed),
		KARC_TESTS(a_stale_write_permission_is_used_until_flushed),
		KARC_TESTS(a_cached_read_does_not_permit_a_write),
		KARC_TESTS(reading_and_executing_are_cached_apart),
		KARC_TESTS(a_new_frame_for_writing_replaces_the_one_for_reading),
		KARC_TESTS(flushing_a_range_leaves_the_rest),
		KARC_TESTS(a_new_root_flushes_and_the_same_root_does_not),
		KARC_TESTS(flushing_any_page_of_a_large_leaf_flushes_it_all),
		KARC_TESTS(old_generations_never_match_again),
		KARC_TESTS(pages_that_share_a_slot_evict_each_other),
		KARC_TESTS(statistics_count_hits_misses_and_flushes),
		KARC_TESTS(each_cpu_has_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
