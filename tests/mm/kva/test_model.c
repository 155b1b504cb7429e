/* SPDX-License-Identifier: MIT */
/*
 * Goal: under long random use areas lie where a slow, obvious model says, never overlap, keep what
 * was written to them, and show the frames that they should.
 * Method: an array of what is alive, searched from the front for everything; every few steps the
 * whole contents and the room's check. The seed is printed; KARC_TEST_LONG makes it a million
 * steps on one CPU and on four, half of them where nothing waits.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include <karc/base/rand.h>
#include <karc/mm/kva/set_memory.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include "mm/kva/internal.h"
#include "storm.h"

#define NR_SLOTS	48u
#define NR_FRAMES	24u		/* borrowed ones, shown again and again */

enum kind { NOTHING, ALLOC, VIEW, RAM, BARE };

struct slot {
	enum kind kind;
	unsigned long start, pages;	/* without the guard */
	unsigned int first;		/* VIEW, RAM: of the frames shown */
	u64 stamp;			/* ALLOC: in the first and last word of each page */
	bool read_only;
	struct vm_struct *bare;
};

/* One worker's model; what several have at once is in their machine's trees only. */
struct model {
	struct rnd rnd;
	struct slot slot[NR_SLOTS];
	struct page *frame[NR_FRAMES];
	bool alone;			/* nobody else takes addresses: places can be foretold */
};

static unsigned long end_of(const struct slot *s)
{
	return s->start + (s->pages + 1) * PAGE_SIZE;
}

/* The lowest address at which @pages and a guard are free, by trying. */
static unsigned long lowest_place(const struct model *m, unsigned long pages)
{
	unsigned long at = kva_here()->start;
	unsigned int i = 0;

	while (i < NR_SLOTS) {
		const struct slot *s = &m->slot[i++];

		if (s->kind != NOTHING && at < end_of(s) &&
		    s->start < at + (pages + 1) * PAGE_SIZE) {
			at = end_of(s);
			i = 0;
		}
	}
	return at;
}

static void is_apart_from_all(const struct model *m, const struct slot *new)
{
	for (unsigned int i = 0; i < NR_SLOTS; i++) {
		const struct slot *s = &m->slot[i];

		if (s != new && s->kind != NOTHING)
			assert_true(end_of(s) <= new->start || end_of(new) <= s->start);
	}
}

static u64 *word_of(const struct slot *s, unsigned long page, bool last)
{
	return (u64 *)(s->start + page * PAGE_SIZE) + (last ? PAGE_SIZE / sizeof(u64) - 1 : 0);
}

static void stamp_pages(struct slot *s)
{
	for (unsigned long i = 0; i < s->pages; i++)
		*word_of(s, i, false) = *word_of(s, i, true) = s->stamp + i;
}

static void look_at(const struct model *m, const struct slot *s)
{
	for (unsigned long i = 0; i < s->pages && s->kind != NOTHING; i++) {
		const struct page *page = vmalloc_to_page((void *)(s->start + i * PAGE_SIZE));

		if (s->kind == BARE) {
			assert_null(page);
		} else if (s->kind == ALLOC) {
			assert_int_equal(*word_of(s, i, false), s->stamp + i);
			assert_int_equal(*word_of(s, i, true), s->stamp + i);
			assert_int_equal(*(u64 *)page_address(page), s->stamp + i);
		} else {
			assert_ptr_equal(page, m->frame[s->first + i]);
			assert_int_equal(*word_of(s, i, false), s->first + i);
		}
	}
}

/* ---- steps ---- */

static void took(struct model *m, struct slot *s, enum kind kind, void *p, unsigned long align)
{
	bool exact = m->alone && kva_here()->eager && align <= PAGE_SIZE;
	unsigned long place = exact ? lowest_place(m, s->pages) : 0;

	assert_non_null(p);
	s->kind = kind;
	s->start = (unsigned long)p;
	s->read_only = false;
	assert_true(IS_ALIGNED(s->start, max(align, PAGE_SIZE)));
	if (exact)
		assert_int_equal(s->start, place);
	is_apart_from_all(m, s);
}

static void take_memory(struct model *m, struct slot *s)
{
	unsigned long align = rnd_chance(&m->rnd, 1, 8) ? PAGE_SIZE << rnd_below(&m->rnd, 12) : 1;
	bool zero = rnd_chance(&m->rnd, 1, 3);
	void *p;

	s->pages = 1 + rnd_below(&m->rnd, rnd_chance(&m->rnd, 1, 10) ? 80 : 6);
	s->stamp = rnd_u32(&m->rnd);
	p = __vmalloc_node(s->pages * PAGE_SIZE - rnd_below(&m->rnd, PAGE_SIZE), align,
			   GFP_KERNEL | (zero ? __GFP_ZERO : 0), NUMA_NO_NODE, NULL);
	took(m, s, ALLOC, p, align);
	for (unsigned long i = 0; i < s->pages && zero; i++)
		assert_int_equal(*word_of(s, i, false) | *word_of(s, i, true), 0);
	stamp_pages(s);
}

static void take_view(struct model *m, struct slot *s)
{
	bool ram = rnd_chance(&m->rnd, 1, 2);

	s->pages = 1 + rnd_below(&m->rnd, 8);
	s->first = rnd_below(&m->rnd, NR_FRAMES - 8);
	if (ram)
		took(m, s, RAM, vm_map_ram(m->frame + s->first, (unsigned int)s->pages,
					   NUMA_NO_NODE), 1);
	else
		took(m, s, VIEW, vmap(m->frame + s->first, (unsigned int)s->pages, VM_MAP,
				      PAGE_KERNEL), 1);
}

static void take_bare(struct model *m, struct slot *s)
{
	s->pages = 1 + rnd_below(&m->rnd, 20);
	s->bare = get_vm_area(s->pages * PAGE_SIZE, VM_MAP);
	assert_non_null(s->bare);
	took(m, s, BARE, s->bare->addr, 1);
}

static void end_slot(struct model *m, struct slot *s)
{
	look_at(m, s);
	if (s->kind == ALLOC)
		vfree((void *)s->start);
	else if (s->kind == VIEW)
		vunmap((void *)s->start);
	else if (s->kind == RAM)
		vm_unmap_ram((void *)s->start, (unsigned int)s->pages);
	else if (s->kind == BARE)
		free_vm_area(s->bare);
	s->kind = NOTHING;
}

static void change_slot(struct model *m, struct slot *s)
{
	if (s->kind == ALLOC && rnd_chance(&m->rnd, 1, 4)) {
		s->read_only = !s->read_only;
		if (s->read_only)
			assert_int_equal(set_memory_ro(s->start, (int)s->pages), 0);
		else
			assert_int_equal(set_memory_rw(s->start, (int)s->pages), 0);
	} else if (s->kind == ALLOC && !s->read_only) {
		s->stamp = rnd_u32(&m->rnd);
		stamp_pages(s);
	}
	look_at(m, s);
}

static void step(struct model *m)
{
	struct slot *s = &m->slot[rnd_below(&m->rnd, NR_SLOTS)];
	unsigned int choice = rnd_below(&m->rnd, 100);

	if (choice < 1)
		vm_unmap_aliases();
	else if (choice < 2)
		window_free_tables(kva_here());
	else if (choice < 30)
		change_slot(m, s);
	else if (s->kind != NOTHING)
		end_slot(m, s);
	else if (choice < 75)
		take_memory(m, s);
	else if (choice < 90)
		take_view(m, s);
	else
		take_bare(m, s);
}

/* ---- runs ---- */

static void begin(struct model *m, u64 seed)
{
	memset(m, 0, sizeof(*m));
	rnd_seed(&m->rnd, seed);
	for (unsigned int i = 0; i < NR_FRAMES; i++) {
		m->frame[i] = alloc_page(GFP_KERNEL);
		assert_non_null(m->frame[i]);
		*(u64 *)page_address(m->frame[i]) = i;
	}
}

static void end(struct model *m)
{
	for (unsigned int i = 0; i < NR_SLOTS; i++)
		end_slot(m, &m->slot[i]);
	for (unsigned int i = 0; i < NR_FRAMES; i++)
		__free_page(m->frame[i]);
}

static unsigned long short_run(unsigned long usual)
{
	return KARC_VARIANT == KARC_VARIANT_TSAN ? usual / 4 : usual;
}

static unsigned long nr_steps(unsigned long usual)
{
	return getenv("KARC_TEST_LONG") ? 1000000 : short_run(usual);
}

static void run_alone(bool eager)
{
	u64 seed = machine_random(this_machine());
	unsigned long nr = nr_steps(5000) / 2;
	struct model *m = malloc(sizeof(*m));

	assert_non_null(m);
	print_message("seed %llu\n", (unsigned long long)seed);
	kva_here()->eager = eager;
	kva_here()->lazy_max_pages = 200;
	kva_here()->window.cap = 12;
	begin(m, seed);
	m->alone = true;
	for (unsigned long i = 0; i < nr; i++) {
		step(m);
		if (i % (nr / 25) == 0) {
			for (unsigned int k = 0; k < NR_SLOTS; k++)
				look_at(m, &m->slot[k]);
			assert_int_equal(machine_check(this_machine()), 0);
		}
	}
	end(m);
	free(m);
}

static void one_cpu_agrees_with_the_model_where_nothing_waits(void **state)
{
	(void)state;
	run_alone(true);
	assert_int_equal(vmap_nr_areas(this_machine()), 0);
	assert_int_equal(kva_here()->top, kva_here()->start);
}

static void one_cpu_agrees_with_the_model_where_freed_areas_wait(void **state)
{
	(void)state;
	run_alone(false);
	assert_int_equal(vmap_nr_areas(this_machine()), 0);
	machine_quiesce(this_machine());
	assert_int_equal(kva_here()->top, kva_here()->start);
}

static long works_on_its_own(struct storm_worker *w)
{
	struct model *m = malloc(sizeof(*m));
	unsigned int nr_cpus = w->storm->nr;
	unsigned long nr = (nr_cpus == 4 ? nr_steps(3000) : short_run(3000)) / 2 / nr_cpus;

	assert_non_null(m);
	begin(m, rnd_u32(&w->rnd));
	for (unsigned long i = 0; i < nr; i++)
		step(m);
	end(m);
	free(m);
	return 0;
}

static void cpus_at_once_agree_with_their_models(void **state)
{
	unsigned long before;
	struct storm storm;

	(void)state;
	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	for (int eager = 0; eager < 2; eager++) {
		kva_here()->eager = eager;
		kva_here()->lazy_max_pages = 100;
		kva_here()->window.cap = 12;
		storm_run(&storm, 1, works_on_its_own, NULL);
		assert_int_equal(vmap_nr_areas(this_machine()), 0);
		machine_quiesce(this_machine());
		assert_int_equal(kva_here()->top, kva_here()->start);
		assert_int_equal(kva_here()->window.nr_starts, 0);
		assert_int_equal(phys_nr_free(this_machine()), before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(one_cpu_agrees_with_the_model_where_nothing_waits),
		karc_unit_test(one_cpu_agrees_with_the_model_where_freed_areas_wait),
		KARC_TESTS(cpus_at_once_agree_with_their_models),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
