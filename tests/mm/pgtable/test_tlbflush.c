/* SPDX-License-Identifier: MIT */
/*
 * Goal: after a flush no CPU that has the space loaded remembers an old translation; CPUs that do
 * not have it loaded are left alone.
 * Method: a fiber on each CPU loads the space, fills its TLB, waits, and looks again. Changes
 * without a flush, with one that gets lost, and with one that is still under way show what the
 * detector of stale hits says to each.
 */
#include <sched.h>

#include <karc/base/math.h>
#include <karc/hw/fiber.h>
#include <karc/hw/ipi.h>

#include "storm.h"
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
	assert_int_equal(READ_ONCE(run->mm.cpu_bitmap), 0xe);
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

/* ---- the stale-hit detector: CPU 0 has the space loaded and remembers ADDR ---- */

struct stale_run {
	struct mm_struct mm;
	struct page *page, *other;
	pte_t *pte;
};

static long load_byte(void *arg)
{
	char byte = 0;

	(void)arg;
	return mmu_access_user(ADDR, &byte, 1, MMU_READ) ?: byte;
}

static long store_byte(void *arg)
{
	char byte = 's';

	(void)arg;
	return mmu_access_user(ADDR, &byte, 1, MMU_WRITE);
}

static void stale_begin(struct stale_run *run)
{
	memset(run, 0, sizeof(*run));
	bare_mm_init(&run->mm);
	run->page = alloc_page(GFP_KERNEL);
	run->other = alloc_page(GFP_KERNEL);
	memset(page_address(run->page), 'o', PAGE_SIZE);
	memset(page_address(run->other), 'n', PAGE_SIZE);
	assert_int_equal(map_one(&run->mm, ADDR, run->page, PAGE_SHARED), 0);
	run->pte = pte_offset_map(mm_find_pmd(&run->mm, ADDR), ADDR);
	switch_mm(NULL, &run->mm);
	assert_int_equal(load_byte(NULL), 'o');
	assert_int_equal(store_byte(NULL), 0);
	assert_int_equal(load_byte(NULL), 's');
	assert_true(tlb_holds(this_cpu(), ADDR, true));
}

/* The page that ADDR maps is @mapped; NULL: none any more. */
static void stale_end(struct stale_run *run, struct page *mapped)
{
	switch_mm(&run->mm, NULL);
	unmap_all(&run->mm, ADDR, ADDR + PAGE_SIZE);
	if (mapped)
		put_page(mapped == run->page ? run->other : run->page);
	bare_mm_exit(&run->mm);
}

/* Point ADDR at the other frame, as a copy-on-write would, and do not flush. */
static void replace_frame(struct stale_run *run)
{
	ptep_get_and_clear(&run->mm, ADDR, run->pte);
	set_pte_at(&run->mm, ADDR, run->pte, mk_pte(run->other, PAGE_SHARED));
}

static void a_forgotten_flush_of_a_replaced_frame_is_a_bug(void **state)
{
	struct stale_run run;
	(void)state;

	stale_begin(&run);
	replace_frame(&run);
	expect_bug(load_byte, NULL, "stale TLB entry: CPU 0, read at 0x400000, cached 0x");
	expect_bug(store_byte, NULL, "no flush is under way");
	flush_tlb_mm_range(&run.mm, ADDR, ADDR + PAGE_SIZE);
	assert_int_equal(load_byte(NULL), 'n');
	stale_end(&run, run.other);
}

static void a_forgotten_flush_of_a_dropped_permission_is_a_bug(void **state)
{
	struct stale_run run;
	(void)state;

	stale_begin(&run);
	ptep_set_wrprotect(&run.mm, ADDR, run.pte);
	assert_int_equal(load_byte(NULL), 's');		/* reading is still fine */
	expect_bug(store_byte, NULL, "stale TLB entry: CPU 0, write at 0x400000");
	flush_tlb_mm(&run.mm);
	assert_int_equal(store_byte(NULL), -EFAULT);
	stale_end(&run, run.page);
}

static long unmap_page(void *arg)
{
	struct stale_run *run = arg;

	unmap_all(&run->mm, ADDR, ADDR + PAGE_SIZE);
	return 0;
}

/* A whole unmap whose flush this CPU does not get: its frame and its tables are gone. */
static void a_lost_shootdown_is_a_bug(void **state)
{
	unsigned int other = machine_nr_cpus(this_machine()) - 1;
	struct machine_result r;
	struct stale_run run;
	struct fiber *f;
	(void)state;

	stale_begin(&run);
	tlb_lose_flushes(this_cpu(), 1);
	f = fiber_spawn(other, "unmap", unmap_page, &run);
	assert_non_null(f);
	fiber_join(f, &r);
	assert_int_equal(r.end, MACHINE_VALUE);
	expect_bug(load_byte, NULL, "in memory 0x0: its frame was given back");
	stale_end(&run, NULL);
	put_page(run.other);
}

static void a_stale_hit_before_the_flush_is_in_order(void **state)
{
	struct mmu_gather tlb;
	struct stale_run run;
	spinlock_t *ptl;
	(void)state;

	stale_begin(&run);
	inc_tlb_flush_pending(&run.mm);
	ptep_set_wrprotect(&run.mm, ADDR, run.pte);
	assert_int_equal(store_byte(NULL), 0);
	flush_tlb_mm(&run.mm);
	dec_tlb_flush_pending(&run.mm);
	assert_int_equal(store_byte(NULL), -EFAULT);
	assert_int_equal(load_byte(NULL), 's');

	/* Clearing and flushing under the entry's lock needs no bracket: copy-on-write. */
	ptl = pgtable_lockptr(run.pte);
	spin_lock(ptl);
	replace_frame(&run);
	assert_int_equal(load_byte(NULL), 's');
	flush_tlb_mm_range(&run.mm, ADDR, ADDR + PAGE_SIZE);
	spin_unlock(ptl);
	assert_int_equal(load_byte(NULL), 'n');

	tlb_gather_mmu(&tlb, &run.mm);
	ptep_get_and_clear(&run.mm, ADDR, run.pte);
	tlb_remove_tlb_entry(&tlb, ADDR);
	tlb_remove_page(&tlb, run.other);
	assert_int_equal(load_byte(NULL), 'n');
	tlb_finish_mmu(&tlb);
	assert_false(mm_tlb_flush_pending(&run.mm));
	assert_int_equal(load_byte(NULL), -EFAULT);
	stale_end(&run, NULL);
	put_page(run.page);
}

/* The gather is over, but nobody told it about the entry. */
static void an_entry_that_the_gather_was_not_told_of_is_a_bug(void **state)
{
	struct mmu_gather tlb;
	struct stale_run run;
	(void)state;

	stale_begin(&run);
	get_page(run.page);
	tlb_gather_mmu(&tlb, &run.mm);
	ptep_get_and_clear(&run.mm, ADDR, run.pte);
	tlb_remove_page(&tlb, run.page);
	assert_int_equal(load_byte(NULL), 's');
	tlb_finish_mmu(&tlb);
	expect_bug(load_byte, NULL, "no flush is under way");
	stale_end(&run, NULL);
	put_page(run.page);
	put_page(run.other);
}

static void a_widened_entry_is_not_stale(void **state)
{
	struct stale_run run;
	(void)state;

	stale_begin(&run);
	ptep_set_wrprotect(&run.mm, ADDR, run.pte);
	flush_tlb_mm(&run.mm);
	assert_int_equal(load_byte(NULL), 's');
	set_pte_at(&run.mm, ADDR, run.pte, pte_mkold(mk_pte(run.page, PAGE_SHARED)));
	assert_int_equal(load_byte(NULL), 's');
	assert_int_equal(store_byte(NULL), 0);
	stale_end(&run, run.page);
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

/* ---- CPUs that cannot answer by themselves ---- */

struct absent {
	struct mm_struct mm;
	bool is_away, may_come;		/* atomic */
	int err_before, err_after;
};

/* Fill the TLB, go and block outside karc, come back, and look again. */
static long looks_goes_and_looks_again(void *arg)
{
	struct absent *a = arg;
	char byte;

	switch_mm(NULL, &a->mm);
	a->err_before = mmu_access_user(ADDR, &byte, 1, MMU_READ);
	cpu_leave();
	__atomic_store_n(&a->is_away, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&a->may_come, __ATOMIC_ACQUIRE))
		sched_yield();
	cpu_enter();
	a->err_after = mmu_access_user(ADDR, &byte, 1, MMU_READ);
	switch_mm(&a->mm, NULL);
	return 0;
}

static void a_cpu_that_is_outside_is_flushed_by_the_sender(void **state)
{
	struct fiber *f;
	struct absent a;
	(void)state;

	memset(&a, 0, sizeof(a));
	bare_mm_init(&a.mm);
	assert_int_equal(map_one(&a.mm, ADDR, alloc_page(GFP_KERNEL), PAGE_READONLY), 0);
	f = fiber_spawn(1, "absent", looks_goes_and_looks_again, &a);
	assert_non_null(f);
	while (!__atomic_load_n(&a.is_away, __ATOMIC_ACQUIRE))
		cpu_relax();
	assert_int_equal(READ_ONCE(a.mm.cpu_bitmap), 2);
	unmap_all(&a.mm, ADDR, ADDR + PAGE_SIZE);	/* does not wait for the thread */
	assert_false(tlb_holds(machine_cpu(this_machine(), 1), ADDR, false));
	__atomic_store_n(&a.may_come, true, __ATOMIC_RELEASE);
	fiber_join(f, NULL);
	assert_int_equal(a.err_before, 0);
	assert_int_equal(a.err_after, -EFAULT);
	bare_mm_exit(&a.mm);
}

static long looks_and_keeps_the_space(void *arg)
{
	char byte;

	switch_mm(NULL, arg);
	return mmu_access_user(ADDR, &byte, 1, MMU_READ);
}

static long looks_again_and_unloads(void *arg)
{
	char byte;
	int err = mmu_access_user(ADDR, &byte, 1, MMU_READ);

	switch_mm(arg, NULL);
	return err;
}

/* The space stays loaded on CPUs that have nothing to run. */
static void idle_cpus_are_flushed(void **state)
{
	struct machine *m = this_machine();
	struct mm_struct mm;
	unsigned int cpu;
	(void)state;

	bare_mm_init(&mm);
	assert_int_equal(map_one(&mm, ADDR, alloc_page(GFP_KERNEL), PAGE_READONLY), 0);
	for_each_cpu_of(m, cpu)
		assert_int_equal(machine_call(m, cpu, looks_and_keeps_the_space, &mm).value, 0);
	assert_int_equal(hweight64(READ_ONCE(mm.cpu_bitmap)), machine_nr_cpus(m));
	unmap_all(&mm, ADDR, ADDR + PAGE_SIZE);
	for_each_cpu_of(m, cpu) {
		assert_false(tlb_holds(machine_cpu(m, cpu), ADDR, false));
		assert_int_equal(machine_call(m, cpu, looks_again_and_unloads, &mm).value, -EFAULT);
	}
	assert_int_equal(mm.cpu_bitmap, 0);
	bare_mm_exit(&mm);
}

/* ---- a storm: one page changes its frame under readers and writers on all other CPUs ---- */

#define MOVES	40
#define FREED	0xee

struct moving {
	struct mm_struct mm;
	pte_t *pte;
	bool over;
};

/* Fill a frame with one letter; a reader must never see a frame that was given back. */
static struct page *new_frame(unsigned char letter)
{
	struct page *page = alloc_page(GFP_KERNEL);

	memset(page_address(page), letter, PAGE_SIZE);
	return page;
}

static void move_page(struct moving *mv, unsigned char letter)
{
	struct page *new = new_frame(letter);
	spinlock_t *ptl = pgtable_lockptr(mv->pte);
	struct page *old;

	spin_lock(ptl);
	old = pte_page(ptep_get_and_clear(&mv->mm, ADDR, mv->pte));
	flush_tlb_mm_range(&mv->mm, ADDR, ADDR + PAGE_SIZE);
	set_pte_at(&mv->mm, ADDR, mv->pte, mk_pte(new, PAGE_READONLY));
	spin_unlock(ptl);
	memset(page_address(old), FREED, PAGE_SIZE);
	put_page(old);
}

/* The same with the flush at the end of a gather. */
static void move_page_gathered(struct moving *mv, unsigned char letter)
{
	struct page *new = new_frame(letter);
	struct mmu_gather tlb;
	struct page *old;

	tlb_gather_mmu(&tlb, &mv->mm);
	old = pte_page(ptep_get_and_clear(&mv->mm, ADDR, mv->pte));
	set_pte_at(&mv->mm, ADDR, mv->pte, mk_pte(new, PAGE_READONLY));
	tlb_remove_tlb_entry(&tlb, ADDR);
	tlb_remove_page(&tlb, old);
	tlb_finish_mmu(&tlb);
}

static long read_moving_page(struct moving *mv)
{
	long err = 0;

	switch_mm(NULL, &mv->mm);
	while (!__atomic_load_n(&mv->over, __ATOMIC_ACQUIRE) && !err) {
		unsigned char byte[2] = { 'a', 'a' };
		int first = mmu_access_user(ADDR + 8, &byte[0], 1, MMU_READ);
		int last = mmu_access_user(ADDR + PAGE_SIZE - 1, &byte[1], 1, MMU_READ);

		/* Between clearing and setting there is nothing; that is a fault, no error. */
		if ((!first && (byte[0] < 'a' || byte[0] > 'z')) ||
		    (!last && (byte[1] < 'a' || byte[1] > 'z')))
			err = byte[0];
		cpu_relax();
	}
	switch_mm(&mv->mm, NULL);
	return err;
}

static long moving_worker(struct storm_worker *w)
{
	struct moving *mv = w->storm->arg;

	if (w->index)
		return read_moving_page(mv);
	for (unsigned int i = 0; i < MOVES; i++) {
		if (i % 2)
			move_page(mv, (unsigned char)('a' + i % 26));
		else
			move_page_gathered(mv, (unsigned char)('a' + i % 26));
	}
	__atomic_store_n(&mv->over, true, __ATOMIC_RELEASE);
	return 0;
}

static void no_cpu_reads_a_frame_that_was_given_back(void **state)
{
	struct moving mv;
	struct storm s;
	(void)state;

	memset(&mv, 0, sizeof(mv));
	bare_mm_init(&mv.mm);
	assert_int_equal(map_one(&mv.mm, ADDR, new_frame('a'), PAGE_READONLY), 0);
	mv.pte = pte_offset_map(mm_find_pmd(&mv.mm, ADDR), ADDR);
	storm_run(&s, 1, moving_worker, &mv);
	assert_int_equal(mv.mm.cpu_bitmap, 0);
	unmap_all(&mv.mm, ADDR, ADDR + PAGE_SIZE);
	bare_mm_exit(&mv.mm);
}

/* CPUs flush each other all the time, and load and unload the space meanwhile. */
static long flush_worker(struct storm_worker *w)
{
	struct moving *mv = w->storm->arg;
	unsigned char byte;

	for (unsigned int i = 0; i < 100; i++) {
		switch_mm(NULL, &mv->mm);
		if (mmu_access_user(ADDR, &byte, 1, MMU_READ) || byte != 'a')
			return -1;
		if (i % 3 == w->index % 3)
			flush_tlb_mm(&mv->mm);
		else
			flush_tlb_mm_range(&mv->mm, ADDR, ADDR + PAGE_SIZE);
		switch_mm(&mv->mm, NULL);
	}
	return 0;
}

static void everybody_may_flush_everybody(void **state)
{
	struct moving mv;
	struct storm s;
	(void)state;

	memset(&mv, 0, sizeof(mv));
	bare_mm_init(&mv.mm);
	assert_int_equal(map_one(&mv.mm, ADDR, new_frame('a'), PAGE_READONLY), 0);
	storm_run(&s, 1, flush_worker, &mv);
	assert_int_equal(mv.mm.cpu_bitmap, 0);
	unmap_all(&mv.mm, ADDR, ADDR + PAGE_SIZE);
	bare_mm_exit(&mv.mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_cpus(an_unmapped_page_is_seen_by_no_cpu, 4),
		KARC_TESTS(a_forgotten_flush_of_a_replaced_frame_is_a_bug),
		KARC_TESTS(a_forgotten_flush_of_a_dropped_permission_is_a_bug),
		KARC_TESTS(a_lost_shootdown_is_a_bug),
		KARC_TESTS(a_stale_hit_before_the_flush_is_in_order),
		KARC_TESTS(an_entry_that_the_gather_was_not_told_of_is_a_bug),
		KARC_TESTS(a_widened_entry_is_not_stale),
		karc_unit_test_cpus(a_flush_reaches_only_cpus_that_run_the_space, 4),
		KARC_TESTS(switching_away_forgets_the_old_space),
		/* In deterministic mode the waiting thread would be the only one. */
		karc_unit_test_cpus_parallel(a_cpu_that_is_outside_is_flushed_by_the_sender, 4),
		KARC_TESTS(idle_cpus_are_flushed),
		KARC_TESTS(no_cpu_reads_a_frame_that_was_given_back),
		KARC_TESTS(everybody_may_flush_everybody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
