/* SPDX-License-Identifier: MIT */
/*
 * Goal: every frame can be given an address for a while; frames without one get it from the kmap
 * window, and whoever forgets to give it back is named.
 * Method: a machine with HIGHMEM; bytes written through one mapping are read through another.
 */
#include "fixture.h"
#include "storm.h"

#include <stdio.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
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
	kunmap_local((char *)p + 77);	/* any address of the page */
	kunmap_local(p);
	expect_warn("kmap_local_page() did not give");
	kunmap_local(&p);
	expect_warn("kmap_local_page() did not give");
	p = page_to_virt(pfn_to_page(100));
	kunmap_atomic(p);
	expect_warn("kunmap_atomic without kmap_atomic");
	assert_true(preemptible());
	p = kmap(page);
	kunmap_local(p);
	expect_warn("another task's, or kmap()'s");
	kunmap(page);
	__free_page(page);
}

/* ---- nesting, tasks, contexts ---- */

static void mappings_are_undone_in_reverse_order(void **state)
{
	struct page *page[3];
	char *p[3], text[128];

	(void)state;
	for (int i = 0; i < 3; i++) {
		page[i] = alloc_page(GFP_HIGHUSER);
		p[i] = kmap_local_page(page[i]);
	}
	snprintf(text, sizeof(text), "test_highmem.c:%d %s", __LINE__ + 1, __func__);
	kunmap_local(p[0]);
	expect_warn("kunmap_local out of order");
	assert_true(fixture_log_contains(text));
	assert_true(fixture_log_contains("the innermost one was mapped at tests/mm/kva/"));
	expect_oops(touch, p[0], "Oops");
	p[1][0] = p[2][0] = 1;		/* the others are still there */
	kunmap_local(p[2]);
	kunmap_local(p[1]);
	expect_no_warn();
	assert_int_equal(kmap_nr_mapped(this_machine()), 0);
	for (int i = 0; i < 3; i++)
		__free_page(page[i]);
}

static long unmaps_here(void *p)
{
	kunmap_local(p);
	return 0;
}

static void a_mapping_is_its_tasks_own(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER);
	char *p = kmap_local_page(page);

	(void)state;
	assert_int_equal(machine_call(this_machine(), 0, unmaps_here, p).end, MACHINE_VALUE);
	expect_warn("kunmap_local of a mapping that is another task's");
	p[0] = 1;
	kunmap_local(p);
	__free_page(page);
}

/* Switched out while others map, and on another CPU in the end: the address stays good. */
static long keeps_it_while_others_run(struct storm_worker *w)
{
	unsigned int nr_cpus = machine_nr_cpus(this_machine());
	struct page *page[4];
	char *p[4];

	for (int i = 0; i < 4; i++) {
		page[i] = alloc_page(GFP_HIGHUSER);
		p[i] = kmap_local_page(page[i]);
		memset(p[i], (int)w->index * 4 + i, PAGE_SIZE);
		fiber_yield();
	}
	fiber_set_cpu(fiber_self(), (smp_processor_id() + 1) % nr_cpus);
	fiber_yield();
	for (int i = 3; i >= 0; i--) {
		for (unsigned int at = 0; at < PAGE_SIZE; at += 101)
			assert_int_equal(p[i][at], (char)(w->index * 4 + (unsigned int)i));
		kunmap_local(p[i]);
		__free_page(page[i]);
		fiber_yield();
	}
	return 0;
}

static void mappings_follow_a_task_that_is_switched_out_and_moved(void **state)
{
	static struct storm s;

	(void)state;
	storm_run(&s, 2, keeps_it_while_others_run, NULL);
	assert_int_equal(kmap_nr_mapped(this_machine()), 0);
}

static long maps_and_ends(void *page)
{
	kmap_local_page(page);
	kmap_local_page(page);
	return 0;
}

static long maps_and_dies(void *page)
{
	kmap_local_page(page);
	kmap_atomic(page);
	BUG();
}

static void a_task_that_ends_gives_its_mappings_back(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER);

	(void)state;
	machine_call(this_machine(), 0, maps_and_ends, page);
	expect_warn("ends with 2 kmap_local mappings, the first of tests/mm/kva/test_highmem.c");
	assert_int_equal(kmap_nr_mapped(this_machine()), 0);
	expect_bug(maps_and_dies, page, "by kmap_atomic()");
	expect_no_warn();
	assert_int_equal(kmap_nr_mapped(this_machine()), 0);
	assert_true(preemptible());
	__free_page(page);
}

static long maps_too_deep(void *page)
{
	for (int i = 0; i <= KM_MAX_IDX; i++)
		kmap_local_page(page);
	return 0;
}

static void a_task_has_so_many_mappings(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER);
	void *p[KM_MAX_IDX];

	(void)state;
	for (int i = 0; i < KM_MAX_IDX; i++)
		p[i] = kmap_local_page(page);
	for (int i = KM_MAX_IDX - 1; i >= 0; i--)
		kunmap_local(p[i]);
	expect_bug(maps_too_deep, page, "the task has 16");
	assert_int_equal(kmap_nr_mapped(this_machine()), 0);
	__free_page(page);
}

static long sleeps_inside(void *page)
{
	kmap_atomic(page);
	fiber_prepare();
	fiber_block(SITE());
	return 0;
}

/* EDGE_CASES: sleeping inside kmap_atomic is reported: where it sleeps, and who is atomic. */
static void sleeping_inside_kmap_atomic_names_both_places(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER);
	char text[160];
	char *p, *q;

	(void)state;
	snprintf(text, sizeof(text), "Preemption disabled at: tests/mm/kva/test_highmem.c:%d %s",
		 __LINE__ + 1, __func__);
	p = kmap_atomic(page);
	q = kmap_atomic(page);
	snprintf(p, 90, "called from invalid context at tests/mm/kva/test_highmem.c:%d",
		 __LINE__ + 1);
	might_sleep();
	expect_warn(q);
	assert_true(fixture_log_contains(text));
	kunmap_atomic(q);
	kunmap_atomic(p);
	might_sleep();
	expect_no_warn();
	expect_bug(sleeps_inside, page, "scheduling while atomic");
	assert_true(fixture_log_contains("sleeps_inside, by kmap_atomic()"));
	__free_page(page);
}

static struct page *irq_page;
static char *irq_address;

static irqreturn_t maps_in_interrupt(int irq, void *how)
{
	(void)irq;
	if (how) {
		kmap(irq_page);
		kunmap(irq_page);
	} else {
		irq_address = kmap_atomic(irq_page);
		irq_address[0] = 77;
		kunmap_atomic(irq_address);
	}
	return IRQ_HANDLED;
}

static void interrupts_map_atomically_only(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER);
	char *p = kmap_local_page(page);
	char how;

	(void)state;
	irq_page = page;
	assert_int_equal(request_irq(7, maps_in_interrupt, 0, "mapper", NULL), 0);
	irq_raise(this_machine(), smp_processor_id(), 7);
	cond_resched();
	free_irq(7, NULL);
	expect_no_warn();
	assert_int_equal(p[0], 77);
	assert_int_equal(request_irq(7, maps_in_interrupt, 0, "mapper", &how), 0);
	irq_raise(this_machine(), smp_processor_id(), 7);
	cond_resched();
	free_irq(7, &how);
	expect_warn("sleeping function called from invalid context");
	assert_true(fixture_log_contains("maps_in_interrupt"));
	kunmap_local(p);
	__free_page(page);
}

/* A machine that tracks notices the same of frames that have their address anyway. */
static void lowmem_is_watched_too(void **state)
{
	struct page *a = alloc_page(GFP_KERNEL), *b = alloc_page(GFP_KERNEL);
	void *many[600], *p = kmap_local_page(a), *q = kmap_local_page(b);

	(void)state;
	assert_true(p == page_address(a) && q == page_address(b));
	kunmap_local(p);
	expect_warn("kunmap_local out of order");
	kunmap_local(q);
	kunmap_local(q);
	expect_warn("kmap_local_page() did not give");
	p = kmap_atomic(a);
	q = kmap_atomic(a);		/* twice: the inner one goes first */
	kunmap_atomic(q);
	kunmap_atomic(p);
	assert_true(preemptible());
	machine_call(this_machine(), 0, maps_and_ends, a);
	expect_warn("ends with 2 kmap_local mappings");
	for (unsigned int i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = kmap_local_page(i % 2 ? a : b);	/* more than it remembers */
	for (unsigned int i = ARRAY_SIZE(many); i-- > 0; )
		kunmap_local(many[i]);
	expect_no_warn();
	assert_int_equal(machine_check(this_machine()), 0);
	assert_int_equal(kmap_nr_mapped(this_machine()), 0);
	__free_page(a);
	__free_page(b);
}

/* ---- bytes ---- */

static void bytes_move_between_pages_and_inside_one(void **state)
{
	struct page *a = alloc_page(GFP_HIGHUSER), *b = alloc_page(GFP_HIGHUSER);
	char back[8] = "";

	(void)state;
	memset_page(a, 0, 'a', PAGE_SIZE);
	memset_page(b, 0, 'b', PAGE_SIZE);
	memcpy_to_page(a, 100, "0123456", 7);
	memmove_page(a, 102, a, 100, 7);
	memcpy_from_page(back, a, 100, 7);
	assert_memory_equal(back, "0101234", 7);
	memmove_page(a, 100, a, 103, 6);
	memcpy_from_page(back, a, 100, 7);
	assert_memory_equal(back, "123456" "4", 7);
	memcpy_page(b, PAGE_SIZE - 3, a, 100, 3);
	memcpy_from_page(back, b, PAGE_SIZE - 4, 4);
	assert_memory_equal(back, "b123", 4);
	memmove_page(b, 0, a, 100, 2);
	memcpy_from_page(back, b, 0, 3);
	assert_memory_equal(back, "12b", 3);
	__free_page(a);
	__free_page(b);
}

static void segments_of_compound_pages_are_zeroed(void **state)
{
	struct page *page = alloc_pages(GFP_HIGHUSER | __GFP_COMP, 2);
	char byte = 0;

	(void)state;
	for (unsigned int i = 0; i < 4; i++)
		memset_page(page + i, 0, 'x', PAGE_SIZE);
	zero_user_segments(page, 4000, 4200, 8192, 16384);
	zero_user(page, 5, 0);
	for (unsigned int at = 0; at < 4 * PAGE_SIZE; at++) {
		bool zero = (at >= 4000 && at < 4200) || at >= 8192;

		memcpy_from_page(&byte, page + at / PAGE_SIZE, at % PAGE_SIZE, 1);
		if (byte != (zero ? 0 : 'x'))
			fail_msg("byte %u is %d", at, byte);
	}
	__free_pages(page, 2);
}

static void folios_are_mapped_by_offset(void **state)
{
	struct folio *folio = folio_alloc(GFP_HIGHUSER, 2);
	char *p, *q;

	(void)state;
	for (unsigned int i = 0; i < 4; i++)
		memset_page(folio_page(folio, i), 0, 'x', PAGE_SIZE);
	folio_zero_range(folio, PAGE_SIZE + 10, 2 * PAGE_SIZE);
	folio_zero_segments(folio, 0, 1, 5, 6);
	p = kmap_local_folio(folio, PAGE_SIZE + 9);
	q = kmap_local_folio(folio, 3 * PAGE_SIZE + 9);
	assert_true(p[0] == 'x' && p[1] == 0 && q[0] == 0 && q[1] == 'x');
	kunmap_local(q);
	kunmap_local(p);
	p = kmap_local_folio(folio, 0);
	assert_memory_equal(p, "\0xxxx\0x", 7);
	kunmap_local(p);
	folio_put(folio);
}

/* ---- lazy unmapping: a machine that does not track ---- */

#define MUST(condition) do {							\
	if (!(condition))							\
		return __LINE__;						\
} while (0)

static long stays_mapped_for_a_while(void *arg)
{
	struct page *page = alloc_page(GFP_HIGHUSER), *other = alloc_page(GFP_HIGHUSER);
	char *p = kmap(page), *q;

	(void)arg;
	p[0] = 'p';
	kunmap(page);
	MUST(!page_address(page) && !kmap_to_page(p) && !kmap_nr_mapped(this_machine()));
	MUST(touch(p) == 'p');
	MUST(kmap(page) == p && page_address(page) == p);
	kunmap(page);
	q = kmap_local_page(page);
	MUST(q[0] == 'p' && q != p);
	kunmap_local(q);
	MUST(kmap_local_page(page) == q);
	kunmap_local(q);
	MUST(machine_check(this_machine()) == 0);
	kmap_flush_unused();
	MUST(machine_call(this_machine(), 0, touch, p).end == MACHINE_OOPS);
	MUST(machine_call(this_machine(), 0, touch, q).end == MACHINE_OOPS);
	/* A frame that was freed and reused shows what is in it now. */
	p = kmap(page);
	kunmap(page);
	__free_page(page);
	clear_highpage(other);
	MUST(machine_check(this_machine()) == 0);
	__free_page(other);
	return 0;
}

static long idle_mappings_are_few(void *arg)
{
	static struct page *pages[3 * KMAP_IDLE_MAX];
	char *first = NULL;

	(void)arg;
	kmap_flush_unused();
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++) {
		char *p;

		pages[i] = alloc_page(GFP_HIGHUSER);
		MUST(pages[i]);
		p = kmap(pages[i]);
		first = first ? first : p;
		p[1] = (char)i;
		kunmap(pages[i]);
		if (i == KMAP_IDLE_MAX - 1)
			MUST(touch(first) >= 0);
	}
	MUST(machine_check(this_machine()) == 0);
	MUST(machine_call(this_machine(), 0, touch, first).end == MACHINE_OOPS);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++) {
		char byte;

		memcpy_from_page(&byte, pages[i], 1, 1);
		MUST(byte == (char)i);
		__free_page(pages[i]);
	}
	return 0;
}

#define X(name) extern const struct room name;
KARC_TEST_ROOMS
#undef X

static const struct room *const rooms[] = {
#define X(name) &name,
	KARC_TEST_ROOMS
#undef X
};

static void unmapping_waits_where_nothing_tracks(void **state)
{
	struct machine_config config = with_highmem;
	struct machine *m;

	(void)state;
	config.quiet = true;
	m = machine_boot_rooms(&config, rooms, ARRAY_SIZE(rooms));
	assert_false(IS_ERR(m));
	assert_int_equal(machine_call(m, 0, stays_mapped_for_a_while, NULL).value, 0);
	assert_int_equal(machine_call(m, 0, idle_mappings_are_few, NULL).value, 0);
	assert_int_equal(machine_counters(m).oopses, 3);
	assert_int_equal(machine_counters(m).warnings + machine_counters(m).bugs, 0);
	assert_int_equal(machine_shutdown(m), 0);
}

/* ---- storm ---- */

#define STORM_PAGES	64

/* Word w of each page is changed by worker w only. */
static long maps_at_random(struct storm_worker *w)
{
	struct page **pages = w->storm->arg;
	u32 mine[STORM_PAGES] = { 0 };
	unsigned int depth = 0, at[4];
	u32 *p[4];

	for (int i = 0; i < 400; i++) {
		unsigned int n = (unsigned int)rnd_below(&w->rnd, STORM_PAGES);

		if (depth == 4 || (depth && rnd_below(&w->rnd, 2))) {
			depth--;
			assert_int_equal(p[depth][w->index], mine[at[depth]]);
			kunmap_local(p[depth]);
		} else if (rnd_below(&w->rnd, 2)) {
			at[depth] = n;
			p[depth++] = kmap_local_page(pages[n]);
		} else {
			u32 *q = kmap(pages[n]);

			assert_int_equal(q[w->index], mine[n]);
			q[w->index] = ++mine[n];
			kunmap(pages[n]);
		}
	}
	while (depth)
		kunmap_local(p[--depth]);
	return 0;
}

static void mappings_of_many_tasks_do_not_mix(void **state)
{
	static struct page *pages[STORM_PAGES];
	static struct storm s;

	(void)state;
	for (int i = 0; i < STORM_PAGES; i++)
		pages[i] = alloc_page(GFP_HIGHUSER | __GFP_ZERO);
	storm_run(&s, 2, maps_at_random, pages);
	assert_int_equal(kmap_nr_mapped(this_machine()), 0);
	for (int i = 0; i < STORM_PAGES; i++)
		__free_page(pages[i]);
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

#define KARC_TESTS_ON(fn)							\
	karc_unit_test_config(fn, 1, &with_highmem),				\
	karc_unit_test_config(fn, 4, &with_highmem),				\
	karc_unit_test_config(fn, 8, &with_highmem)

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
		karc_unit_test_config(mappings_are_undone_in_reverse_order, 1, &with_highmem),
		karc_unit_test_config(a_mapping_is_its_tasks_own, 1, &with_highmem),
		KARC_TESTS_ON(mappings_follow_a_task_that_is_switched_out_and_moved),
		karc_unit_test_config(a_task_that_ends_gives_its_mappings_back, 1, &with_highmem),
		karc_unit_test_config(a_task_has_so_many_mappings, 1, &with_highmem),
		karc_unit_test_config(sleeping_inside_kmap_atomic_names_both_places, 1,
				      &with_highmem),
		karc_unit_test_config(interrupts_map_atomically_only, 4, &with_highmem),
		karc_unit_test(lowmem_is_watched_too),
		karc_unit_test_config(bytes_move_between_pages_and_inside_one, 1, &with_highmem),
		karc_unit_test_config(segments_of_compound_pages_are_zeroed, 1, &with_highmem),
		karc_unit_test_config(folios_are_mapped_by_offset, 1, &with_highmem),
		cmocka_unit_test(unmapping_waits_where_nothing_tracks),
		KARC_TESTS_ON(mappings_of_many_tasks_do_not_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
