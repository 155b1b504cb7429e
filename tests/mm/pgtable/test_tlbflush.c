/* SPDX-License-Identifier: MIT */
/*
 * Goal: after a flush no CPU that has the space loaded remembers an old translation; CPUs that do
 * not have it loaded are left alone.
 * Method: a fiber on each CPU loads the space, fills its TLB, waits, and looks again. A change
 * without a flush is shown to be visible, so that the other tests prove something.
 */
#include <karc/hw/fiber.h>
#include <karc/hw/ipi.h>

#include "tables.h"

#define ADDR	0x400000UL

struct visitor {
	struct mm_struct *mm;
	unsigned int *ready;
	const bool *go;
	char before, after;
	int err;
};

/* Read the page, wait for the change, read again. */
static long visit(void *arg)
{
	struct visitor *v = arg;

	switch_mm(NULL, v->mm);
	v->err = mmu_access_user(ADDR, &v->before, 1, MMU_READ);
	__atomic_fetch_add(v->ready, 1, __ATOMIC_SEQ_CST);
	while (!READ_ONCE(*v->go))
		cpu_relax();
	v->err = mmu_access_user(ADDR, &v->after, 1, MMU_READ);
	switch_mm(v->mm, NULL);
	return 0;
}

struct visit_run {
	struct mm_struct mm;
	struct visitor visitor[4];
	struct fiber *fiber[4];
	struct page *page;
	unsigned int ready;
	bool go;
};

static void visits_begin(struct visit_run *run)
{
	unsigned int cpu;

	memset(run, 0, sizeof(*run));
	bare_mm_init(&run->mm);
	run->page = alloc_page(GFP_KERNEL);
	memset(page_address(run->page), 'o', PAGE_SIZE);
	get_page(run->page);
	assert_int_equal(map_one(&run->mm, ADDR, run->page, PAGE_READONLY), 0);
	for (cpu = 1; cpu < 4; cpu++) {
		run->visitor[cpu] = (struct visitor) { &run->mm, &run->ready, &run->go, 0, 0, 0 };
		run->fiber[cpu] = fiber_spawn(cpu, "visitor", visit, &run->visitor[cpu]);
		assert_non_null(run->fiber[cpu]);
	}
	while (READ_ONCE(run->ready) != 3)
		cpu_relax();
	assert_int_equal(run->mm.cpu_bitmap, 0xe);
}

static void visits_end(struct visit_run *run)
{
	unsigned int cpu;

	WRITE_ONCE(run->go, true);
	for (cpu = 1; cpu < 4; cpu++)
		fiber_join(run->fiber[cpu], NULL);
	assert_int_equal(run->mm.cpu_bitmap, 0);
	put_page(run->page);
	bare_mm_exit(&run->mm);
}

static void an_unmapped_page_is_seen_by_no_cpu(void **state)
{
	struct visit_run run;
	unsigned int cpu;
	(void)state;

	visits_begin(&run);
	unmap_all(&run.mm, ADDR, ADDR + PAGE_SIZE);
	for (cpu = 1; cpu < 4; cpu++)
		assert_false(tlb_holds(machine_cpu(this_machine(), cpu), ADDR, false));
	memset(page_address(run.page), 'x', PAGE_SIZE);
	visits_end(&run);
	for (cpu = 1; cpu < 4; cpu++) {
		assert_int_equal(run.visitor[cpu].before, 'o');
		assert_int_equal(run.visitor[cpu].err, -EFAULT);
	}
}

static void a_missing_flush_is_visible(void **state)
{
	struct page *other = alloc_page(GFP_KERNEL);
	struct visit_run run;
	unsigned int cpu;
	pte_t *pte;
	(void)state;

	memset(page_address(other), 'n', PAGE_SIZE);
	visits_begin(&run);
	pte = pte_offset_map(mm_find_pmd(&run.mm, ADDR), ADDR);
	ptep_get_and_clear(&run.mm, ADDR, pte);
	set_pte_at(&run.mm, ADDR, pte, mk_pte(other, PAGE_READONLY));
	for (cpu = 1; cpu < 4; cpu++)
		assert_true(tlb_holds(machine_cpu(this_machine(), cpu), ADDR, false));
	WRITE_ONCE(run.go, true);
	for (cpu = 1; cpu < 4; cpu++) {
		fiber_join(run.fiber[cpu], NULL);
		assert_int_equal(run.visitor[cpu].after, 'o');
	}
	put_page(run.page);	/* the entry's, which was overwritten */
	put_page(run.page);
	unmap_all(&run.mm, ADDR, ADDR + PAGE_SIZE);
	bare_mm_exit(&run.mm);
}

static void a_flush_reaches_only_cpus_that_run_the_space(void **state)
{
	struct machine *m = this_machine();
	struct pgtable_hot *hot;
	struct mm_struct other;
	struct visit_run run;
	unsigned int cpu;
	(void)state;

	visits_begin(&run);
	memset(&other, 0, sizeof(other));
	assert_non_null(pgd_alloc(&other));
	flush_tlb_mm(&other);
	for (cpu = 0; cpu < 4; cpu++) {
		hot = cpu_hot(machine_cpu(m, cpu), ROOM_PGTABLE);
		assert_int_equal(hot->nr_flushed, 0);
	}
	flush_tlb_mm_range(&run.mm, ADDR, ADDR + PAGE_SIZE);
	for (cpu = 0; cpu < 4; cpu++) {
		hot = cpu_hot(machine_cpu(m, cpu), ROOM_PGTABLE);
		assert_int_equal(hot->nr_flushed, cpu != 0);
	}
	pgd_free(&other, other.pgd);
	unmap_all(&run.mm, ADDR, ADDR + PAGE_SIZE);
	visits_end(&run);
}

static void switching_away_forgets_the_old_space(void **state)
{
	struct mm_struct a, b;
	char byte;
	(void)state;

	bare_mm_init(&a);
	bare_mm_init(&b);
	assert_int_equal(map_one(&a, ADDR, alloc_page(GFP_KERNEL), PAGE_SHARED), 0);
	switch_mm(NULL, &a);
	assert_ptr_equal(current_loaded_mm(), &a);
	assert_int_equal(mmu_access_user(ADDR, &byte, 1, MMU_READ), 0);
	switch_mm(&a, &b);
	assert_int_equal(a.cpu_bitmap, 0);
	assert_int_equal(b.cpu_bitmap, 1);
	assert_int_equal(mmu_access_user(ADDR, &byte, 1, MMU_READ), -EFAULT);
	switch_mm(&b, &a);
	assert_int_equal(mmu_access_user(ADDR, &byte, 1, MMU_READ), 0);
	switch_mm(&a, NULL);
	assert_null(current_loaded_mm());
	assert_int_equal(mmu_access_user(ADDR, &byte, 1, MMU_READ), -EFAULT);
	unmap_all(&a, ADDR, ADDR + PAGE_SIZE);
	bare_mm_exit(&a);
	bare_mm_exit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_cpus(an_unmapped_page_is_seen_by_no_cpu, 4),
		karc_unit_test_cpus(a_missing_flush_is_visible, 4),
		karc_unit_test_cpus(a_flush_reaches_only_cpus_that_run_the_space, 4),
		KARC_TESTS(switching_away_forgets_the_old_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
