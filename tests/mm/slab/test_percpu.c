/* SPDX-License-Identifier: MIT */
/*
 * Goal: every CPU has its own zeroed copy of an object, objects are disjoint and aligned, and
 * what is forgotten or freed wrongly is named.
 * Method: many objects of odd sizes with a stamp per CPU; whole fixture runs for leaks.
 */
#include "fixture.h"
#include "storm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/math.h>
#include <karc/base/rand.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/inject.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/percpu.h>

static long bump(void *p)
{
	this_cpu_add(*(long *)p, smp_processor_id() + 1);
	return 0;
}

static void each_cpu_has_a_copy_of_its_own(void **state)
{
	long *p = alloc_percpu(long);
	unsigned int cpu;

	(void)state;
	for_each_online_cpu(cpu) {
		assert_int_equal(*per_cpu_ptr(p, cpu), 0);
		machine_call(this_machine(), cpu, bump, p);
	}
	for_each_online_cpu(cpu)
		assert_int_equal(*per_cpu_ptr(p, cpu), cpu + 1);
	free_percpu(p);
	free_percpu(NULL);
	assert_int_equal(percpu_nr_objects(this_machine()), 0);
}

#define NR 3000

static void many_objects_of_odd_sizes_are_disjoint(void **state)
{
	static char *p[NR];
	static size_t size[NR];
	struct rnd rnd;

	(void)state;
	rnd_seed(&rnd, 5);
	for (int round = 0; round < 3 * NR; round++) {
		int i = (int)rnd_below(&rnd, NR);

		if (p[i]) {
			for (unsigned int cpu = 0; cpu < num_online_cpus(); cpu++)
				assert_int_equal(per_cpu_ptr(p[i], cpu)[size[i] - 1],
						 (char)(i + (int)cpu));
			free_percpu(p[i]);
			p[i] = NULL;
			continue;
		}
		size[i] = 1 + rnd_below(&rnd, 200);
		p[i] = __alloc_percpu(size[i], 1UL << rnd_below(&rnd, 7));
		assert_non_null(p[i]);
		for (unsigned int cpu = 0; cpu < num_online_cpus(); cpu++) {
			assert_int_equal(per_cpu_ptr(p[i], cpu)[0], 0);
			memset(per_cpu_ptr(p[i], cpu), i + (int)cpu, size[i]);
		}
	}
	assert_int_equal(machine_check(this_machine()), 0);
	for (int i = 0; i < NR; i++) {
		free_percpu(p[i]);
		p[i] = NULL;
	}
}

static void alignment_is_honoured_and_nonsense_refused(void **state)
{
	char *odd = __alloc_percpu(3, 1);

	(void)state;
	for (size_t align = 8; align <= PCPU_MAX_ALIGN; align *= 2) {
		char *p = __alloc_percpu(5, align);

		assert_true(IS_ALIGNED((unsigned long)this_cpu_ptr(p), align));
		free_percpu(p);
	}
	assert_null(__alloc_percpu(0, 8));
	expect_warn("illegal size");
	assert_null(__alloc_percpu(8, 8192));
	expect_warn("illegal size");
	free_percpu(odd);
}

/* Every wrong free says what it was given, and where that came from, and changes nothing. */
static void wrong_frees_are_reported_with_both_places(void **state)
{
	char *p = __alloc_percpu(40, 8), *other = __alloc_percpu(40, 8);
	char *slab = kmalloc(40, GFP_KERNEL);
	static DEFINE_PER_CPU(long, variable);
	char text[160];

	(void)state;
	free_percpu(p + 16);
	expect_warn("not the start of an object");
	assert_true(fixture_log_contains("allocated at tests/mm/slab/test_percpu.c"));
	free_percpu(p + 3);
	expect_warn("not the start of an object");
	free_percpu(this_cpu_ptr(p));
	expect_warn("one CPU's copy, not what alloc_percpu() gave");
	free_percpu(this_cpu_ptr(&variable));
	expect_warn("a copy of a static per-CPU variable");
	snprintf(text, sizeof(text), "freed at tests/mm/slab/test_percpu.c:%d %s",
		 __LINE__ + 1, __func__);
	free_percpu(slab);
	expect_warn("memory of kmalloc() or of a cache");
	assert_true(fixture_log_contains(text));
	free_percpu((char *)&slab);
	expect_warn("no per-CPU object");
	free_percpu(other + PERCPU_DYNAMIC_BYTES / 2);
	expect_warn("no grain of any object");
	free_percpu(p);
	free_percpu(p);
	expect_warn("double free");
	assert_true(fixture_log_contains("freed before at tests/mm/slab/test_percpu.c"));
	assert_int_equal(percpu_nr_objects(this_machine()), 1);
	assert_int_equal(machine_check(this_machine()), 0);
	free_percpu(other);
	kfree(slab);
	/* The chunk has lost its frames by now, but not its memory. */
	machine_quiesce(this_machine());
	assert_int_equal(percpu_bytes(this_machine()), 0);
	free_percpu(other);
	expect_warn("double free");
	assert_true(fixture_log_contains("freed before at tests/mm/slab/test_percpu.c"));
}

/* EDGE_CASES: 35 k live objects of odd sizes and alignments, zeroed, distinct on each CPU. */
#define NR_LIVE	35000

struct live_object {
	u32 *p;
	unsigned int size;
};

static void fill_object(const struct live_object *o, unsigned int i)
{
	unsigned int cpu;

	for_each_online_cpu(cpu) {
		u32 *copy = per_cpu_ptr(o->p, cpu);

		for (unsigned int at = 0; at < o->size / 4; at++) {
			if (copy[at])
				fail_msg("object %u is not zeroed", i);
		}
		copy[0] = copy[o->size / 4 - 1] = i * 16 + cpu;
	}
}

static void check_object(const struct live_object *o, unsigned int i)
{
	unsigned int cpu;

	for_each_online_cpu(cpu) {
		const u32 *copy = per_cpu_ptr(o->p, cpu);

		if (copy[0] != i * 16 + cpu || copy[o->size / 4 - 1] != i * 16 + cpu)
			fail_msg("object %u was overwritten on CPU %u", i, cpu);
	}
}

static void many_live_objects_of_odd_sizes_and_alignments(void **state)
{
	struct live_object *live = calloc(NR_LIVE, sizeof(*live));
	unsigned long before = phys_nr_free(this_machine());
	struct rnd rnd;

	(void)state;
	rnd_seed(&rnd, 35);
	for (unsigned int i = 0; i < NR_LIVE; i++) {
		unsigned long align = 1UL << (1 + rnd_below(&rnd, 11));

		live[i].size = 4 + (unsigned int)rnd_below(&rnd, PAGE_SIZE / 4 - 4);
		live[i].p = __alloc_percpu(live[i].size, align);
		if (!live[i].p || !IS_ALIGNED((unsigned long)this_cpu_ptr(live[i].p), align))
			fail_msg("object %u of %u bytes", i, live[i].size);
		fill_object(&live[i], i);
	}
	assert_int_equal(percpu_nr_objects(this_machine()), NR_LIVE);
	assert_true(percpu_bytes(this_machine()) >= NR_LIVE * 500UL * num_online_cpus());
	assert_true(before - phys_nr_free(this_machine()) >=
		    percpu_bytes(this_machine()) / PAGE_SIZE);
	assert_int_equal(machine_check(this_machine()), 0);
	for (unsigned int i = 0; i < NR_LIVE; i++)
		check_object(&live[i], i);
	for (unsigned int i = 0; i < NR_LIVE; i++)
		free_percpu(live[i * 7919UL % NR_LIVE].p);
	machine_quiesce(this_machine());
	assert_int_equal(percpu_bytes(this_machine()), 0);
	assert_int_equal(phys_nr_free(this_machine()), before);
	free(live);
}

/* What an object costs depends on its chunk, not on how many others there are. */
static void the_frames_of_empty_chunks_go_back(void **state)
{
	unsigned long before = phys_nr_free(this_machine()), one;
	char *p[64];

	(void)state;
	p[0] = __alloc_percpu(PCPU_MIN_UNIT_SIZE, 8);
	one = percpu_bytes(this_machine());
	assert_int_equal(one, PCPU_MIN_UNIT_SIZE * num_online_cpus());
	for (int i = 1; i < 64; i++)
		p[i] = __alloc_percpu(PCPU_MIN_UNIT_SIZE, 4096);
	assert_int_equal(percpu_bytes(this_machine()), 64 * one);
	assert_int_equal(before - phys_nr_free(this_machine()), 64 * one / PAGE_SIZE);
	for (int i = 0; i < 64; i++)
		free_percpu(p[i]);
	assert_int_equal(percpu_bytes(this_machine()), one);	/* one is kept for the next */
	p[0] = __alloc_percpu(8, 8);
	assert_int_equal(percpu_bytes(this_machine()), one);
	assert_true(is_dynamic_percpu_address(per_cpu_ptr(p[0], num_online_cpus() - 1) + 7));
	assert_false(is_dynamic_percpu_address(this_cpu_ptr(p[0]) + 64));
	assert_false(is_dynamic_percpu_address(p));
	free_percpu(p[0]);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static const struct machine_config small_machine = { .mem_bytes = 16ULL << 20 };

static void exhausted_memory_gives_null_and_recovers(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	static char *p[8192];
	unsigned int nr = 0;

	(void)state;
	while (nr < ARRAY_SIZE(p) && (p[nr] = __alloc_percpu_gfp(9000, 8, GFP_NOWAIT)) != NULL)
		nr++;
	assert_in_range(nr, 20, ARRAY_SIZE(p) - 1);
	while (nr)
		free_percpu(p[--nr]);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
	p[0] = __alloc_percpu_gfp(9000, 8, GFP_NOWAIT);
	assert_non_null(p[0]);
	free_percpu(p[0]);
}

/* ---- storm ---- */

static long allocates_everywhere(struct storm_worker *w)
{
	u32 *mine[32] = { NULL };

	for (unsigned int i = 0; i < 600; i++) {
		unsigned int at = (unsigned int)rnd_below(&w->rnd, 32), cpu;
		u32 stamp = w->index * 64 + at;

		if (mine[at]) {
			for_each_online_cpu(cpu)
				assert_int_equal(*per_cpu_ptr(mine[at], cpu), stamp + cpu * 4096);
			free_percpu(mine[at]);
			mine[at] = NULL;
			continue;
		}
		mine[at] = __alloc_percpu_gfp(4 + rnd_below(&w->rnd, 3000),
					      8UL << rnd_below(&w->rnd, 6),
					      i % 3 ? GFP_KERNEL : GFP_ATOMIC);
		assert_non_null(mine[at]);
		for_each_online_cpu(cpu) {
			assert_int_equal(*per_cpu_ptr(mine[at], cpu), 0);
			*per_cpu_ptr(mine[at], cpu) = stamp + cpu * 4096;
		}
	}
	for (unsigned int at = 0; at < 32; at++)
		free_percpu(mine[at]);
	return 0;
}

static void objects_of_many_tasks_do_not_mix(void **state)
{
	static struct storm s;

	(void)state;
	storm_run(&s, 2, allocates_everywhere, NULL);
	assert_int_equal(percpu_nr_objects(this_machine()), 0);
}

static long *nth_p;

static long nth_alloc(void *arg)
{
	(void)arg;
	nth_p = alloc_percpu(long);
	return nth_p ? 0 : -12;
}

static void nth_free(void *arg)
{
	(void)arg;
	free_percpu(nth_p);
	machine_quiesce(this_machine());
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
	values[1] = percpu_nr_objects(this_machine());
	values[2] = percpu_bytes(this_machine());
}

static void injected_failure_changes_nothing(void **state)
{
	(void)state;
	/* The call itself, and a block of frames for each CPU, where single ones do as well. */
	assert_int_equal(fixture_fail_nth(.body = nth_alloc, .undo = nth_free,
					  .snapshot = nth_snapshot), 1 + num_online_cpus());
}

static void forgets_an_object(void)
{
	assert_non_null(alloc_percpu(long));
}

static void forgotten_object_is_named_by_site(void **state)
{
	struct fixture_verdict v = fixture_run(4, forgets_an_object);

	(void)state;
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, "1 percpu object, 32 bytes"));
	assert_non_null(strstr(v.reason, "forgets_an_object"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(each_cpu_has_a_copy_of_its_own),
		KARC_TESTS(many_objects_of_odd_sizes_are_disjoint),
		karc_unit_test(alignment_is_honoured_and_nonsense_refused),
		karc_unit_test(wrong_frees_are_reported_with_both_places),
		karc_unit_test_cpus(many_live_objects_of_odd_sizes_and_alignments, 4),
		KARC_TESTS(the_frames_of_empty_chunks_go_back),
		karc_unit_test_config(exhausted_memory_gives_null_and_recovers, 4,
				      &small_machine),
		KARC_TESTS(objects_of_many_tasks_do_not_mix),
		KARC_TESTS(injected_failure_changes_nothing),
		cmocka_unit_test(forgotten_object_is_named_by_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
