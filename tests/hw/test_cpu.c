/* SPDX-License-Identifier: MIT */
/*
 * Goal: the per-CPU blocks are what the fast paths assume. Method: look at every CPU from itself
 * and from CPU 0; write to every hot area and see that no other changed.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/physmem.h>

static long looks_right(void *arg)
{
	struct cpu *cpu = this_cpu();

	return cpu == arg && cpu->machine == this_machine() && cpu->fiber == fiber_self() &&
	       smp_processor_id() == cpu->id;
}

static void every_cpu_knows_itself_and_the_memory(void **state)
{
	struct machine *m = this_machine();

	(void)state;
	for (unsigned int i = 0; i < machine_nr_cpus(m); i++) {
		struct cpu *cpu = machine_cpu(m, i);

		assert_int_equal(cpu->id, i);
		assert_non_null(cpu->tlb);
		assert_non_null(cpu->memmap);
		assert_true(cpu->direct_map_bytes >= MACHINE_MEM_DEFAULT);
		assert_int_equal((u64)cpu % 64, 0);
		assert_int_equal(machine_call(m, i, looks_right, cpu).value, 1);
	}
}

static long wants_a_cpu_too_many(void *arg)
{
	return machine_cpu(arg, machine_nr_cpus(arg)) != NULL;
}

static void a_cpu_that_is_not_there_is_a_bug(void **state)
{
	(void)state;
	expect_bug(wants_a_cpu_too_many, this_machine(), "cpu >= m->nr_cpus");
}

static void hot_areas_are_zero_at_boot_and_apart(void **state)
{
	static const unsigned char zero[CPU_HOT_BYTES];
	struct cpu *cpu = this_cpu();

	(void)state;
	assert_memory_equal(this_cpu_hot(ROOM_NR - 1), zero, CPU_HOT_BYTES);
	memset(this_cpu_hot(ROOM_NR - 1), 0xff, CPU_HOT_BYTES);
	assert_memory_equal(this_cpu_hot(ROOM_NR - 2), zero, CPU_HOT_BYTES);
	assert_ptr_equal(this_cpu_hot(ROOM_SLAB), cpu_hot(cpu, ROOM_SLAB));
	if (num_online_cpus() > 1)
		assert_memory_equal(cpu_hot(machine_cpu(this_machine(), 1), ROOM_NR - 1), zero,
				    CPU_HOT_BYTES);
	memset(this_cpu_hot(ROOM_NR - 1), 0, CPU_HOT_BYTES);
}

static void pending_bits_come_and_go(void **state)
{
	struct cpu *cpu = this_cpu();

	(void)state;
	cpu_set_pending(cpu, CPU_PENDING_RESCHED);
	cpu_set_pending(cpu, CPU_PENDING_RESCHED);
	assert_true(need_resched());
	cpu_clear_pending(cpu, CPU_PENDING_RESCHED);
	assert_false(need_resched());
}

static void cpumasks_behave_as_in_linux(void **state)
{
	unsigned int n = num_online_cpus(), cpu, seen = 0;
	cpumask_t a = CPU_MASK_NONE, b;

	(void)state;
	assert_true(cpumask_empty(&a));
	assert_true(cpumask_first(&a) >= nr_cpu_ids);
	cpumask_set_cpu(n - 1, &a);
	assert_true(cpumask_test_cpu(n - 1, &a));
	assert_false(cpumask_test_and_set_cpu(63, &a));
	assert_true(cpumask_test_and_clear_cpu(63, &a));
	assert_true(cpumask_equal(&a, cpumask_of(n - 1)));
	assert_int_equal(cpumask_first(&a), n - 1);
	cpumask_setall(&b);
	assert_int_equal(cpumask_weight(&b), n);
	assert_true(cpumask_and(&b, &b, &a));
	assert_false(cpumask_andnot(&b, &b, &a));
	for_each_cpu(cpu, cpu_online_mask)
		seen |= 1u << cpu;
	assert_int_equal(seen, cpumask_word_below(n));
	seen = 0;
	for_each_online_cpu(cpu)
		seen++;
	assert_int_equal(seen, n);
	assert_true(cpu_online(n - 1) && !cpu_online(n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(every_cpu_knows_itself_and_the_memory),
		KARC_TESTS(a_cpu_that_is_not_there_is_a_bug),
		KARC_TESTS(hot_areas_are_zero_at_boot_and_apart),
		KARC_TESTS(pending_bits_come_and_go),
		KARC_TESTS(cpumasks_behave_as_in_linux),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
