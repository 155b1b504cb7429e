/* SPDX-License-Identifier: MIT */
/*
 * Goal: several tasks of one address space on several CPUs map, touch, move, protect, advise,
 * unmap and fork at once, and in the end every byte and every count is right.
 *
 * Method: each worker has pages of its own, whose contents it knows exactly, and a byte of its own
 * in each page that all share: a fault, copy or move that loses a store of somebody else shows
 * there. Hits of the TLBs are checked against the tables throughout. Seed: KARC_TEST_SEED.
 */
#include <karc/hw/fiber.h>
#include <karc/mm/pgtable/tlbflush.h>
#include "space_test.h"

#define OWN_PAGES	32u
#define COMMON_PAGES	16u
#define WORKERS_MAX	8u
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEPS		250u		/* each takes many times as long */
#else
#define STEPS		1000u
#endif
#define OWN(w)		(BASE + (w) * 0x1000000UL)
#define AWAY(w)		(OWN(w) + 0x800000UL)
#define COMMON		0x70000000UL	/* private */
#define FILE_AT		0x71000000UL	/* shared, of a file that keeps its size */
#define SHRINKING_AT	0x72000000UL	/* of one that does not */
#define STACK_END	0x74000000UL

struct storm {
	struct mm_struct *mm;
	struct file *shrinking;
	unsigned int nr_workers;
};

struct worker {
	struct storm *storm;
	unsigned int nr;
	struct rnd rnd;
	int own[OWN_PAGES];		/* first byte of each page; -1: not accessible */
	bool writable[OWN_PAGES];
	unsigned char common, file;	/* the byte last stored in all shared pages */
};

/* As the program itself, on this CPU. */
static bool store(unsigned long addr, unsigned char value)
{
	bool ok = !mmu_access_user(addr, &value, 1, MMU_WRITE);

	if (!ok)
		fault_take_pending(NULL);
	return ok;
}

static int load(unsigned long addr)
{
	unsigned char value;

	if (!mmu_access_user(addr, &value, 1, MMU_READ))
		return value;
	fault_take_pending(NULL);
	return -1;
}

static void own_check(struct worker *w)
{
	unsigned int i;

	for (i = 0; i < OWN_PAGES; i++)
		assert_int_equal(load(OWN(w->nr) + i * P), w->own[i]);
}

/* A byte in each of the pages that everybody writes to: nobody else's store may undo it. */
static void common_step(struct worker *w)
{
	unsigned int i;

	for (i = 0; i < COMMON_PAGES; i++) {
		assert_int_equal(load(COMMON + i * P + w->nr), w->common);
		assert_int_equal(load(FILE_AT + i * P + w->nr), w->file);
	}
	w->common++;
	w->file += 3;
	for (i = 0; i < COMMON_PAGES; i++) {
		assert_true(store(COMMON + i * P + w->nr, w->common));
		assert_true(store(FILE_AT + i * P + w->nr, w->file));
	}
}

static void set_own(struct worker *w, unsigned int at, unsigned int len, int value, bool writable)
{
	for (; len--; at++) {
		w->own[at] = value;
		w->writable[at] = writable;
	}
}

static void own_step(struct worker *w)
{
	unsigned int at = rnd_below(&w->rnd, OWN_PAGES - 8), len = 1 + rnd_below(&w->rnd, 8), i;
	unsigned long addr = OWN(w->nr) + at * P;
	struct mm_struct *mm = w->storm->mm;
	bool rw = rnd_below(&w->rnd, 2), whole = true;

	for (i = at; i < at + len; i++)
		whole &= w->own[i] >= 0;
	switch (rnd_below(&w->rnd, 8)) {
	case 0:
		assert_int_equal(map(mm, addr, len, rw ? RW : PROT_READ, FIXED), addr);
		set_own(w, at, len, 0, rw);
		break;
	case 1:
		assert_int_equal(ksys_munmap(mm, addr, len * P), 0);
		set_own(w, at, len, -1, false);
		break;
	case 2:
		if (!whole)
			break;
		assert_int_equal(ksys_mprotect(mm, addr, len * P, rw ? RW : PROT_READ), 0);
		for (i = at; i < at + len; i++)
			w->writable[i] = rw;
		break;
	case 3:
		/* Away and back: several mappings at once, page by page for an old kernel. */
		for (i = 0; i < len; i++) {
			if (w->own[at + i] < 0)
				continue;
			assert_int_equal(ksys_mremap(mm, addr + i * P, P, P, MREMAP_MAYMOVE |
						     MREMAP_FIXED, AWAY(w->nr)), AWAY(w->nr));
			assert_int_equal(load(addr + i * P), -1);
			assert_int_equal(load(AWAY(w->nr)), w->own[at + i]);
			assert_int_equal(ksys_mremap(mm, AWAY(w->nr), P, P, MREMAP_MAYMOVE |
						     MREMAP_FIXED, addr + i * P), addr + i * P);
		}
		break;
	case 4:
		if (!whole)
			break;
		assert_int_equal(ksys_madvise(mm, addr, len * P, MADV_DONTNEED), 0);
		for (i = at; i < at + len; i++)
			w->own[i] = 0;
		break;
	case 5:
		if (!whole)
			break;
		assert_int_equal(ksys_mlock2(mm, addr, len * P, rw ? MLOCK_ONFAULT : 0), 0);
		assert_int_equal(ksys_munlock(mm, addr, len * P), 0);
		break;
	default:
		for (i = at; i < at + len; i++) {
			assert_int_equal(store(OWN(w->nr) + i * P, (unsigned char)(i + len)),
					 w->writable[i]);
			if (w->writable[i])
				w->own[i] = (unsigned char)(i + len);
		}
	}
}

/* A copy of the space in the middle of it all: what is this worker's own is exact in it. */
static void fork_step(struct worker *w)
{
	struct mm_struct *mm = w->storm->mm, *child = dup_mm(mm);
	unsigned int i;

	assert_non_null(child);
	switch_mm(mm, child);
	own_check(w);
	for (i = 0; i < COMMON_PAGES; i++) {
		assert_int_equal(load(COMMON + i * P + w->nr), w->common);
		assert_true(store(COMMON + i * P + w->nr, 99));
	}
	switch_mm(child, mm);
	mmput(child);
}

/* The size of the file changes: pages come and go under everybody's hands. */
static void shrink_step(struct worker *w)
{
	unsigned int i;

	if (w->nr == 0) {
		assert_int_equal(file_truncate(w->storm->shrinking, 0), 0);
		assert_int_equal(file_truncate(w->storm->shrinking, COMMON_PAGES * P), 0);
		return;
	}
	for (i = 0; i < COMMON_PAGES; i++)
		if (store(SHRINKING_AT + i * P + w->nr, 5))
			load(SHRINKING_AT + i * P + w->nr);
}

/* Every worker finds the stack grown as far as it needs, whoever grew it. */
static void stack_step(struct worker *w, unsigned int step)
{
	unsigned long addr = STACK_END - (step + 1) * P + w->nr;

	assert_true(store(addr, (unsigned char)step));
	assert_int_equal(load(addr), (unsigned char)step);
}

static long work(void *arg)
{
	struct worker *w = arg;
	unsigned int step;

	switch_mm(NULL, w->storm->mm);
	for (step = 0; step < STEPS; step++) {
		own_step(w);
		if (step % 4 == 0)
			common_step(w);
		if (step % 16 == w->nr)
			fork_step(w);
		if (step % 8 == 0)
			shrink_step(w);
		if (step % 4 == 1)
			stack_step(w, step);
		if (step % 16 == 0)
			own_check(w);
		cond_resched();
	}
	own_check(w);
	switch_mm(w->storm->mm, NULL);
	return 0;
}

/* Pages that entries of @mm stand for, special ones left out. */
static unsigned long count_pages(struct mm_struct *mm)
{
	unsigned long addr = 0, pages = 0, stop;
	pmd_t *pmd;
	pte_t *pte;

	while ((pmd = mm_next_leaf(mm, &addr, mm->task_size))) {
		stop = pmd_addr_end(addr, mm->task_size);
		for (pte = pte_offset_map(pmd, addr); addr < stop; pte++, addr += P)
			pages += pte_present(ptep_get(pte)) && !pte_special(ptep_get(pte));
	}
	return pages;
}

static void storm_begin(struct storm *storm, struct file *steady)
{
	struct mm_struct *mm = new_mm();

	storm->mm = mm;
	mm_set_layout(mm, mm_profile_newest(), NULL, false);
	map_at(mm, COMMON, COMMON_PAGES, RW);
	map_at(mm, STACK_END - P, 1, RW);
	assert_int_equal(ksys_munmap(mm, STACK_END - P, P), 0);
	assert_int_equal(map(mm, STACK_END - P, 1, RW, FIXED | MAP_GROWSDOWN), STACK_END - P);
	assert_int_equal(ksys_mmap(mm, FILE_AT, COMMON_PAGES * P, RW, MAP_SHARED | MAP_FIXED,
				   steady, 0), FILE_AT);
	assert_int_equal(ksys_mmap(mm, SHRINKING_AT, COMMON_PAGES * P, RW, MAP_SHARED | MAP_FIXED,
				   storm->shrinking, 0), SHRINKING_AT);
}

static void tasks_of_one_space_do_everything_at_once(void **state)
{
	struct file *steady = new_file("steady", COMMON_PAGES);
	struct storm storm = {
		.shrinking = new_file("shrinking", COMMON_PAGES),
		.nr_workers = min(machine_nr_cpus(this_machine()), WORKERS_MAX),
	};
	static __thread struct worker workers[WORKERS_MAX];
	struct worker *w = workers;
	struct fiber *fiber[WORKERS_MAX];
	struct check_report report = { 0 };
	unsigned int i;

	(void)state;
	storm_begin(&storm, steady);
	for (i = 0; i < storm.nr_workers; i++) {
		w[i] = (struct worker) { .storm = &storm, .nr = i };
		rnd_seed(&w[i].rnd, test_seed() + i);
		set_own(&w[i], 0, OWN_PAGES, -1, false);
		fiber[i] = fiber_spawn(i, "worker", work, &w[i]);
		assert_non_null(fiber[i]);
	}
	for (i = 0; i < storm.nr_workers; i++)
		fiber_join(fiber[i], NULL);
	check_mm_clean(storm.mm);
	pgtable_check(storm.mm, &report);
	assert_int_equal(report.nr_violations, 0);
	assert_int_equal(get_mm_rss(storm.mm), count_pages(storm.mm));
	assert_int_equal(storm.mm->locked_vm, 0);
	mmput(storm.mm);
	fput(storm.shrinking);
	fput(steady);
	assert_int_equal(vm_memory_committed(), 0);
}

static const struct machine_config config = { .check_tlb = true };
static const struct machine_config tracked = { .check_tlb = true, .holders = true };

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(tasks_of_one_space_do_everything_at_once, 1, &config),
		karc_unit_test_config(tasks_of_one_space_do_everything_at_once, 4, &config),
		karc_unit_test_config(tasks_of_one_space_do_everything_at_once, 8, &config),
		karc_unit_test_config(tasks_of_one_space_do_everything_at_once, 4, &tracked),
	};

	printf("seed %llu\n", (unsigned long long)test_seed());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
