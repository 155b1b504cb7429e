/* SPDX-License-Identifier: MIT */
/*
 * Goal: addresses that all CPUs take and give back at once never overlap, and show the frames that
 * they should.
 * Method: every area is filled with its own address and looked at again; aliases of one frame are
 * compared; frames and areas are counted before and after.
 */
#include <string.h>

#include <karc/base/math.h>
#include <karc/base/rand.h>
#include <karc/hw/fiber.h>
#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/kva/vmap.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/kmalloc.h>
#include "fixture.h"

#define MAX_CPUS	8u
#define NR_FRAMES	12u

struct storm {
	unsigned int nr;
	unsigned int next_id;
	unsigned int arrived;
	u64 seed;
	struct page *frame[NR_FRAMES];
};

static void storm_begin(struct storm *s)
{
	memset(s, 0, sizeof(*s));
	s->nr = min(machine_nr_cpus(this_machine()), MAX_CPUS);
	s->seed = machine_random(this_machine());
	print_message("seed %llu\n", (unsigned long long)s->seed);
}

static unsigned int enter(struct storm *s, struct rnd *rnd)
{
	unsigned int id = __atomic_fetch_add(&s->next_id, 1, __ATOMIC_RELAXED);

	rnd_seed(rnd, s->seed + id);
	__atomic_fetch_add(&s->arrived, 1, __ATOMIC_ACQ_REL);
	while (smp_load_acquire(&s->arrived) < s->nr)
		cpu_relax();
	return id;
}

static void storm_run(struct storm *s, long (*fn)(void *arg))
{
	struct fiber *f[MAX_CPUS];
	struct machine_result r;

	for (unsigned int i = 0; i < s->nr; i++)
		f[i] = fiber_spawn(i, "storm", fn, s);
	for (unsigned int i = 0; i < s->nr; i++) {
		fiber_join(f[i], &r);
		assert_string_equal(r.message, "");
		assert_int_equal(r.value, 0);
	}
}

struct area {
	unsigned long *p;
	size_t words;
};

static void area_fill(struct area *a, size_t bytes)
{
	a->p = vmalloc(bytes);
	assert_non_null(a->p);
	a->words = bytes / sizeof(*a->p);
	for (size_t i = 0; i < a->words; i += 64)
		a->p[i] = (unsigned long)&a->p[i];
}

static void area_end(struct area *a)
{
	for (size_t i = 0; i < a->words; i += 64)
		assert_int_equal(a->p[i], (unsigned long)&a->p[i]);
	assert_ptr_equal(find_vm_area(a->p)->addr, a->p);
	vfree(a->p);
	a->p = NULL;
}

static long takes_and_gives_areas(void *arg)
{
	struct storm *s = arg;
	struct area area[12] = { { 0 } };
	struct rnd rnd;

	enter(s, &rnd);
	for (unsigned int i = 0; i < 150; i++) {
		struct area *a = &area[rnd_below(&rnd, ARRAY_SIZE(area))];

		if (a->p)
			area_end(a);
		else
			area_fill(a, 512 + rnd_below(&rnd, rnd_chance(&rnd, 1, 8) ? 200000 : 9000));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(area); i++)
		if (area[i].p)
			area_end(&area[i]);
	return 0;
}

static void areas_of_all_cpus_are_apart(void **state)
{
	static struct storm s;
	unsigned long before;
	(void)state;

	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	storm_begin(&s);
	storm_run(&s, takes_and_gives_areas);
	assert_int_equal(vmap_nr_areas(this_machine()), 0);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

/* One word of each frame is this CPU's. */
static long maps_aliases(void *arg)
{
	struct storm *s = arg;
	struct rnd rnd;
	unsigned int id = enter(s, &rnd);

	for (unsigned int i = 0; i < 100; i++) {
		unsigned int first = rnd_below(&rnd, NR_FRAMES - 3);
		u64 *a = vmap(&s->frame[first], 3, VM_MAP, PAGE_KERNEL), *b;

		assert_non_null(a);
		a[2 * PAGE_SIZE / sizeof(*a) + id] = i;
		b = vmap(&s->frame[first + 2], 1, VM_MAP, PAGE_KERNEL);
		assert_non_null(b);
		assert_int_equal(b[id], i);
		vunmap(a);
		assert_int_equal(b[id], i);
		vunmap(b);
	}
	return 0;
}

static void aliases_show_the_same_frame_on_all_cpus(void **state)
{
	static struct storm s;
	(void)state;

	storm_begin(&s);
	for (unsigned int i = 0; i < NR_FRAMES; i++)
		s.frame[i] = alloc_page(GFP_KERNEL);
	storm_run(&s, maps_aliases);
	for (unsigned int i = 0; i < NR_FRAMES; i++)
		__free_page(s.frame[i]);
	assert_int_equal(vmap_nr_areas(this_machine()), 0);
}

static long maps_high_frames(void *arg)
{
	struct storm *s = arg;
	struct rnd rnd;
	unsigned int id = enter(s, &rnd);

	for (unsigned int i = 0; i < 200; i++) {
		struct page *page = s->frame[rnd_below(&rnd, NR_FRAMES)];
		u64 *p = kmap(page), *q;

		p[id] = i;
		q = kmap_local_page(page);
		assert_int_equal(q[id], i);
		kunmap_local(q);
		q = kmap_atomic(page);
		q[id] = i + 1;
		kunmap_atomic(q);
		assert_int_equal(p[id], i + 1);
		kunmap(page);
	}
	return 0;
}

static void high_frames_have_one_shared_address_and_many_own(void **state)
{
	static struct storm s;
	(void)state;

	storm_begin(&s);
	for (unsigned int i = 0; i < NR_FRAMES; i++)
		s.frame[i] = alloc_page(GFP_HIGHUSER);
	storm_run(&s, maps_high_frames);
	assert_int_equal(kmap_nr_mapped(this_machine()), 0);
	for (unsigned int i = 0; i < NR_FRAMES; i++)
		__free_page(s.frame[i]);
}

static const struct machine_config with_highmem = {
	.mem_bytes = 64ULL << 20,
	.highmem_start = 32ULL << 20,
};

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(areas_of_all_cpus_are_apart),
		KARC_TESTS(aliases_show_the_same_frame_on_all_cpus),
		karc_unit_test_config(high_frames_have_one_shared_address_and_many_own, 4,
				      &with_highmem),
		karc_unit_test_config(high_frames_have_one_shared_address_and_many_own, 8,
				      &with_highmem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
