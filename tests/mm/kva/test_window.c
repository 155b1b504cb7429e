/* SPDX-License-Identifier: MIT */
/*
 * Goal: what init_mm's tables say is what the host shows, sooner or later: when it is touched, by
 * whomever, and also beyond the host's limit of mappings.
 * Method: more areas than the host maps; a cap of a few mappings; areas hidden behind the program's
 * back; walks of the simulated MMU; host threads and host system calls.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <karc/base/rand.h>
#include <karc/hw/mmu.h>
#include <karc/mm/kva/set_memory.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/pgtable/tlbflush.h>
#include <karc/mm/phys/page_alloc.h>
#include "mm/kva/internal.h"
#include "storm.h"

static const struct machine_config roomy = { .mem_bytes = 512ULL << 20 };

/* The host's mapping of an area goes; nobody tells the area. */
static void darken(const void *p)
{
	const struct vm_struct *vm = find_vm_area(p);

	window_hide(kva_here(), (unsigned long)vm->addr, (unsigned long)vm->addr + vm->size);
}

/* ---- more areas than mappings ---- */

/* Sanitizers need longer for each; these are still more than the host maps. */
#define NR_MANY	(KARC_VARIANT >= KARC_VARIANT_ASAN ? 20000u : 60000u)

static unsigned long *many[60000];

static void take_areas(unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++) {
		many[i] = vmalloc(PAGE_SIZE);
		assert_non_null(many[i]);
		*many[i] = i;
	}
}

/* Each page from the direct map, and every seventh, in no order of addresses, from its own. */
static void look_at_areas(unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++) {
		const struct page *page = vmalloc_to_page(many[i]);

		assert_non_null(page);
		assert_int_equal(*(unsigned long *)page_address(page), i);
	}
	for (unsigned int i = 0; i < (to - from) / 7; i++) {
		unsigned int k = from + i * 7919 % (to - from);

		assert_int_equal(*many[k], k);
	}
}

static void sixty_thousand_areas_of_a_page_live_at_once(void **state)
{
	(void)state;
	take_areas(0, NR_MANY);
	assert_int_equal(vmap_nr_areas(this_machine()), NR_MANY);
	look_at_areas(0, NR_MANY);
	assert_true(vmalloc_nr_refills(this_machine()) > 500);
	assert_true(kva_here()->window.nr_starts <= kva_here()->window.cap + PTRS_PER_PTE);
	assert_int_equal(machine_check(this_machine()), 0);
	for (unsigned int i = 0; i < NR_MANY; i++)
		vfree(many[i ^ 1]);
	assert_int_equal(kva_here()->window.nr_starts, 0);
}

#define NR_FOUR	(NR_MANY == 60000u ? 12250u : 4500u)	/* 49,000 on four CPUs */

static long takes_its_share(struct storm_worker *w)
{
	unsigned int from = w->index * NR_FOUR;

	take_areas(from, from + NR_FOUR);
	look_at_areas(from, from + NR_FOUR);
	return 0;
}

static void forty_nine_thousand_areas_live_at_once_on_four_cpus(void **state)
{
	struct storm storm;

	(void)state;
	storm_run(&storm, 1, takes_its_share, NULL);
	assert_int_equal(vmap_nr_areas(this_machine()), 4 * NR_FOUR);
	for (unsigned int i = 0; i < 4 * NR_FOUR; i++)
		vfree(many[i]);
}

/* One mapping for a chunk, so that each counts; and all CPUs want what others have evicted. */
#define NR_FAR	40u

static long touches_far_areas(struct storm_worker *w)
{
	unsigned int id = w->index;

	for (unsigned int i = 0; i < 300; i++) {
		unsigned int k = rnd_below(&w->rnd, NR_FAR);

		many[k][id]++;
		memcpy(&many[k][64 + id], &many[(k + 1) % NR_FAR][id], sizeof(long));
	}
	return 0;
}

static void a_cap_of_a_few_mappings_is_enough_for_all(void **state)
{
	unsigned long sum = 0;
	struct storm storm;

	(void)state;
	kva_here()->window.cap = 5;
	for (unsigned int i = 0; i < NR_FAR; i++)
		many[i] = __vmalloc_node(PAGE_SIZE, PMD_SIZE, GFP_KERNEL | __GFP_ZERO,
					 NUMA_NO_NODE, NULL);
	storm_run(&storm, 1, touches_far_areas, NULL);
	for (unsigned int i = 0; i < NR_FAR; i++)
		for (unsigned int id = 0; id < storm.nr; id++)
			sum += many[i][id];
	assert_int_equal(sum, 300 * storm.nr);
	assert_int_equal(kva_here()->window.nr_starts, 5);
	assert_int_equal(machine_check(this_machine()), 0);
	for (unsigned int i = 0; i < NR_FAR; i++)
		vfree(many[i]);
}

static void an_area_of_a_quarter_gigabyte_is_whole(void **state)
{
	const unsigned long words = (256UL << 20) / sizeof(long), step = (2UL << 20) / sizeof(long);
	unsigned long *p = vmalloc(256UL << 20);

	(void)state;
	assert_non_null(p);
	for (unsigned long i = 0; i < words; i += step) {
		p[i] = i;
		p[i + step - 1] = ~i;
	}
	for (unsigned long i = 0; i < words; i += step) {
		assert_int_equal(p[i], i);
		assert_int_equal(*(long *)page_address(vmalloc_to_page(&p[i])), i);
		assert_int_equal(p[i + step - 1], ~i);
	}
	assert_null(vmalloc_to_page(p + words));
	assert_int_equal(machine_check(this_machine()), 0);
	vfree(p);
}

/* ---- who touches ---- */

static long touch(void *p)
{
	return *(volatile char *)p;
}

struct host_thread {
	pthread_t thread;
	unsigned char *p;
	unsigned int id;		/* the byte of each page that is its own */
};

static void *host_thread(void *arg)
{
	struct host_thread *t = arg;

	for (unsigned int i = 0; i < 5; i++) {
		if (t->p[i * PAGE_SIZE] != i + 1)
			return NULL;
		t->p[i * PAGE_SIZE + t->id] = (unsigned char)(i + 50);
	}
	return t;
}

static void threads_that_know_no_machine_see_the_same_memory(void **state)
{
	unsigned char *p = vmalloc(5 * PAGE_SIZE);
	struct host_thread t[3];
	void *result;

	(void)state;
	for (int i = 0; i < 5; i++)
		p[i * PAGE_SIZE] = (unsigned char)(i + 1);
	for (int round = 0; round < 20; round++) {
		darken(p);
		for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
			t[i].p = p;
			t[i].id = i + 1;
			assert_int_equal(pthread_create(&t[i].thread, NULL, host_thread, &t[i]),
					 0);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
			pthread_join(t[i].thread, &result);
			assert_ptr_equal(result, &t[i]);
			assert_int_equal(p[3 * PAGE_SIZE + t[i].id], 53);
		}
	}
	vfree(p);
}

static void a_host_system_call_wants_memory_that_was_touched(void **state)
{
	char *p = vmalloc(3 * PAGE_SIZE);
	int end[2];

	(void)state;
	memset(p, 'x', 3 * PAGE_SIZE);
	assert_int_equal(pipe(end), 0);
	darken(p);
	assert_int_equal(write(end[1], p + PAGE_SIZE - 2, 4), -1);
	assert_int_equal(errno, EFAULT);
	vmalloc_prefault(p + PAGE_SIZE - 2, 4);
	assert_int_equal(write(end[1], p + PAGE_SIZE - 2, 4), 4);
	close(end[0]);
	close(end[1]);
	vfree(p);
}

static const struct machine_config with_highmem = {
	.mem_bytes = 64ULL << 20,
	.highmem_start = 32ULL << 20,
};

/* Frames that only the host's system calls reach are copied to and from dark memory. */
static void high_frames_are_copied_to_memory_that_is_dark(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER);
	char *p = vmalloc(2 * PAGE_SIZE), *q = vmalloc(2 * PAGE_SIZE);

	(void)state;
	assert_true(PageHighMem(page));
	memset(p, 'h', 2 * PAGE_SIZE);
	darken(p);
	physmem_write(this_machine(), page_to_phys(page), p + 100, PAGE_SIZE);
	darken(q);
	q[0] = 1;
	window_hide(kva_here(), (unsigned long)q + PAGE_SIZE, (unsigned long)q + 2 * PAGE_SIZE);
	physmem_read(this_machine(), page_to_phys(page), q + 100, PAGE_SIZE);
	assert_memory_equal(q + 100, p + 100, PAGE_SIZE);
	vfree(p);
	vfree(q);
	__free_page(page);
}

static void a_guard_page_stays_one_whatever_is_shown_around_it(void **state)
{
	char *p = vmalloc(3 * PAGE_SIZE), *q = vmalloc(3 * PAGE_SIZE);

	(void)state;
	darken(p);
	expect_oops(touch, p + 3 * PAGE_SIZE, "Oops");
	p[2 * PAGE_SIZE] = 1;
	q[0] = 1;
	expect_oops(touch, p + 3 * PAGE_SIZE, "Oops");
	expect_oops(touch, q + 3 * PAGE_SIZE, "Oops");
	vfree(p);
	vfree(q);
}

/* ---- the simulated tables ---- */

static int walk_to(const void *p, enum mmu_access access, bool user, phys_addr_t *pa)
{
	return mmu_walk(karc_cpu, vmalloc_simulated(p), access, user, pa, NULL);
}

static void the_mmu_finds_the_frames_in_the_kernel_half(void **state)
{
	char *p = vmalloc(600 * PAGE_SIZE);
	phys_addr_t pa;

	(void)state;
	preempt_disable();
	switch_mm(NULL, &init_mm);
	for (unsigned long i = 0; i < 600; i += 7) {
		assert_int_equal(walk_to(p + i * PAGE_SIZE + 5, MMU_WRITE, false, &pa), 0);
		assert_int_equal(pa, page_to_phys(vmalloc_to_page(p + i * PAGE_SIZE)) + 5);
	}
	assert_int_equal(walk_to(p, MMU_READ, true, &pa), -EFAULT);
	assert_int_equal(walk_to(p, MMU_EXEC, false, &pa), -EFAULT);
	assert_int_equal(walk_to(p + 600 * PAGE_SIZE, MMU_READ, false, &pa), -EFAULT);
	switch_mm(&init_mm, NULL);
	preempt_enable();
	assert_true(vmalloc_simulated(p) >= VMALLOC_START && vmalloc_simulated(p) < VMALLOC_END);
	assert_int_equal(pgd_index(VMALLOC_START), 402);
	vfree(p);
}

static void tables_come_with_areas_and_go_when_empty(void **state)
{
	void *p;

	(void)state;
	assert_int_equal(mm_pgtables_bytes(&init_mm), 0);
	p = __vmalloc_node(3 * PMD_SIZE, PMD_SIZE, GFP_KERNEL, NUMA_NO_NODE, NULL);
	assert_int_equal(mm_pgtables_bytes(&init_mm), 5 * PAGE_SIZE);
	machine_quiesce(this_machine());
	assert_int_equal(mm_pgtables_bytes(&init_mm), 5 * PAGE_SIZE);
	vfree(p);
	machine_quiesce(this_machine());
	assert_int_equal(mm_pgtables_bytes(&init_mm), 0);
}

/* ---- protection ---- */

static long store(void *p)
{
	*(volatile char *)p = 1;
	return 0;
}

static void memory_that_is_read_only_refuses_stores(void **state)
{
	char *p = vmalloc(4 * PAGE_SIZE);
	unsigned long at = (unsigned long)p;

	(void)state;
	memset(p, 7, 4 * PAGE_SIZE);
	assert_int_equal(set_memory_ro(at + PAGE_SIZE, 2), 0);
	assert_int_equal(p[PAGE_SIZE], 7);
	expect_oops(store, p + PAGE_SIZE, "Oops");
	expect_oops(store, p + 3 * PAGE_SIZE - 1, "Oops");
	p[0] = p[3 * PAGE_SIZE] = 8;
	assert_int_equal(machine_check(this_machine()), 0);
	assert_int_equal(set_memory_rw(at + PAGE_SIZE, 2), 0);
	p[PAGE_SIZE] = 9;
	assert_int_equal(p[2 * PAGE_SIZE], 7);
	assert_int_equal(set_memory_ro(at, 5), -EINVAL);	/* the guard */
	assert_int_equal(set_memory_ro((unsigned long)&init_mm & PAGE_MASK, 1), -EINVAL);
	assert_int_equal(set_memory_x(at, 1), 0);
	assert_true(pte_exec(window_entry(kva_here(), at)));
	assert_int_equal(set_memory_nx(at, 1), 0);
	assert_false(pte_exec(window_entry(kva_here(), at)));
	assert_int_equal(set_memory_ro(at, 4), 0);
	vfree(p);
}

static void a_view_may_be_read_only(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	char *view = vmap(&page, 1, VM_MAP, PAGE_KERNEL_RO);

	(void)state;
	*(char *)page_address(page) = 42;
	assert_int_equal(*view, 42);
	expect_oops(store, view, "Oops");
	vunmap(view);
	__free_page(page);
}

/* ---- the check ---- */

static unsigned long violations(const char **last)
{
	static struct check_report report;

	report = (struct check_report){ .quiet = true };
	window_check(kva_here(), &report);
	*last = report.last;
	return report.nr_violations;
}

static void check_finds_wrong_entries_and_wrong_bits(void **state)
{
	char *p = vmalloc(2 * PAGE_SIZE);
	struct window *w = &kva_here()->window;
	struct vmap_area *va = area_find(kva_here(), (unsigned long)p);
	const char *last;

	(void)state;
	assert_int_equal(violations(&last), 0);
	w->nr_starts++;
	assert_int_equal(violations(&last), 1);
	assert_non_null(strstr(last, "W3"));
	w->nr_starts--;
	swap(va->vm.pages[0], va->vm.pages[1]);
	assert_int_equal(violations(&last), 2);
	assert_non_null(strstr(last, "W1"));
	swap(va->vm.pages[0], va->vm.pages[1]);
	va->nr_mapped = 1;
	assert_int_equal(violations(&last), 1);
	va->nr_mapped = 2;
	vfree(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config_deterministic(sixty_thousand_areas_of_a_page_live_at_once, 1,
						    &roomy),
		karc_unit_test_config_parallel(forty_nine_thousand_areas_live_at_once_on_four_cpus,
					       4, &roomy),
		KARC_TESTS(a_cap_of_a_few_mappings_is_enough_for_all),
		karc_unit_test_config(an_area_of_a_quarter_gigabyte_is_whole, 1, &roomy),
		KARC_TESTS(threads_that_know_no_machine_see_the_same_memory),
		karc_unit_test(a_host_system_call_wants_memory_that_was_touched),
		karc_unit_test_config(high_frames_are_copied_to_memory_that_is_dark, 1,
				      &with_highmem),
		KARC_TESTS(a_guard_page_stays_one_whatever_is_shown_around_it),
		KARC_TESTS(the_mmu_finds_the_frames_in_the_kernel_half),
		karc_unit_test(tables_come_with_areas_and_go_when_empty),
		KARC_TESTS(memory_that_is_read_only_refuses_stores),
		karc_unit_test(a_view_may_be_read_only),
		karc_unit_test(check_finds_wrong_entries_and_wrong_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
