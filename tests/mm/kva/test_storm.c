/* SPDX-License-Identifier: MIT */
/*
 * Goal: addresses that all CPUs take and give back at once never overlap, and show the frames that
 * they should.
 * Method: every area is filled with its own address and looked at again; aliases of one frame are
 * compared; frames and areas are counted before and after.
 */
#include <string.h>

#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/kva/vmap.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/kmalloc.h>
#include "storm.h"

#define NR_FRAMES	12u

/* All that the CPUs of one test share. */
struct shared {
	struct page *frame[NR_FRAMES];
};

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

static long takes_and_gives_areas(struct storm_worker *w)
{
	struct area area[12] = { { 0 } };

	for (unsigned int i = 0; i < 150; i++) {
		struct area *a = &area[rnd_below(&w->rnd, ARRAY_SIZE(area))];

		if (a->p)
			area_end(a);
		else
			area_fill(a, 512 + rnd_below(&w->rnd,
						       rnd_chance(&w->rnd, 1, 8) ? 200000 : 9000));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(area); i++)
		if (area[i].p)
			area_end(&area[i]);
	return 0;
}

static void areas_of_all_cpus_are_apart(void **state)
{
	struct storm storm;
	unsigned long before;
	(void)state;

	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	storm_run(&storm, 1, takes_and_gives_areas, NULL);
	assert_int_equal(vmap_nr_areas(this_machine()), 0);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

struct with_head {
	char pad[5000];
	struct rcu_head rcu;
};

/* Memory of both kinds, each with and without a head, to be freed when nobody reads any more. */
static long frees_after_readers(struct storm_worker *w)
{
	for (unsigned int i = 0; i < 40; i++) {
		struct with_head *p = rnd_chance(&w->rnd, 1, 2) ? vmalloc(sizeof(*p)) :
								  kmalloc(sizeof(*p), GFP_KERNEL);

		assert_non_null(p);
		memset(p, (int)w->index, sizeof(*p));
		rcu_read_lock();
		assert_int_equal(p->pad[4999], w->index);
		rcu_read_unlock();
		if (rnd_chance(&w->rnd, 1, 4))
			kvfree_rcu(p);
		else
			kvfree_rcu(p, rcu);
	}
	return 0;
}

static void both_kinds_are_freed_after_readers_from_many_fibers(void **state)
{
	unsigned long before;
	struct storm storm;
	(void)state;

	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	storm_run(&storm, 3, frees_after_readers, NULL);
	rcu_barrier();
	machine_quiesce(this_machine());
	assert_int_equal(vmap_nr_areas(this_machine()), 0);
	assert_int_equal(phys_nr_free(this_machine()), before);
}

/* One word of each frame is this CPU's. */
static long maps_aliases(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;
	unsigned int id = w->index;

	for (unsigned int i = 0; i < 100; i++) {
		unsigned int first = rnd_below(&w->rnd, NR_FRAMES - 3);
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
	static struct shared s;
	struct storm storm;
	(void)state;

	memset(&s, 0, sizeof(s));
	for (unsigned int i = 0; i < NR_FRAMES; i++)
		s.frame[i] = alloc_page(GFP_KERNEL);
	storm_run(&storm, 1, maps_aliases, &s);
	for (unsigned int i = 0; i < NR_FRAMES; i++)
		__free_page(s.frame[i]);
	assert_int_equal(vmap_nr_areas(this_machine()), 0);
}

static long maps_high_frames(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;
	unsigned int id = w->index;

	for (unsigned int i = 0; i < 200; i++) {
		struct page *page = s->frame[rnd_below(&w->rnd, NR_FRAMES)];
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
	static struct shared s;
	struct storm storm;
	(void)state;

	memset(&s, 0, sizeof(s));
	for (unsigned int i = 0; i < NR_FRAMES; i++)
		s.frame[i] = alloc_page(GFP_HIGHUSER);
	storm_run(&storm, 1, maps_high_frames, &s);
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
		KARC_TESTS(both_kinds_are_freed_after_readers_from_many_fibers),
		KARC_TESTS(aliases_show_the_same_frame_on_all_cpus),
		karc_unit_test_config(high_frames_have_one_shared_address_and_many_own, 4,
				      &with_highmem),
		karc_unit_test_config(high_frames_have_one_shared_address_and_many_own, 8,
				      &with_highmem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
