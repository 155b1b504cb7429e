/* SPDX-License-Identifier: MIT */
/*
 * Goal: every CPU has its own zeroed copy of an object, objects are disjoint and aligned, and
 * what is forgotten or freed wrongly is named.
 * Method: many objects of odd sizes with a stamp per CPU; whole fixture runs for leaks.
 */
#include "fixture.h"

#include <string.h>

#include <karc/base/math.h>
#include <karc/base/rand.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/inject.h>
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
	free_percpu(odd);
	expect_warn("free already");
	free_percpu((char *)&odd);
	expect_warn("no per-CPU object");
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
}

static void injected_failure_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(fixture_fail_nth(.body = nth_alloc, .undo = nth_free), 1);
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
		karc_unit_test(injected_failure_changes_nothing),
		cmocka_unit_test(forgotten_object_is_named_by_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
