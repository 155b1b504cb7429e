/* SPDX-License-Identifier: MIT */
/*
 * Goal: RAM and CPUs are divided among NUMA nodes evenly, in blocks; Linux's names tell about it;
 * a machine that cannot have its nodes is refused with one clear line.
 * Method: machines of hw alone with 1, 2, 4 and 8 nodes, holes, sparse node numbers, and more and
 * fewer CPUs than nodes.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/base/math.h>
#include <karc/hw/physmem.h>
#include <karc/hw/topology.h>

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static const struct room *const rooms[] = { &hw_room };

static struct machine *boot_with(struct machine_config config)
{
	struct machine *m;

	config.quiet = true;
	m = machine_boot_rooms(&config, rooms, 1);
	assert_false(IS_ERR(m));
	machine_enter(m);
	return m;
}

static void power_off(struct machine *m)
{
	machine_leave();
	assert_int_equal(machine_shutdown(m), 0);
}

/* Bytes of each node; no bank crosses a boundary of the largest block with another node's. */
static void sum_nodes(struct machine *m, u64 bytes[MAX_NUMNODES])
{
	struct machine_bank b, last = { 0, 0, 0 };

	memset(bytes, 0, MAX_NUMNODES * sizeof(bytes[0]));
	for (unsigned int i = 0; physmem_bank(m, i, &b); i++) {
		bytes[b.node] += b.size;
		assert_true(b.node >= last.node);
		if (b.node != last.node)
			assert_int_equal(b.start % (4 * MIB), 0);
		last = b;
	}
}

static void memory_is_divided_evenly(void **state)
{
	static const u64 sizes[] = { 32 * MIB, 100 * MIB, 256 * MIB, 24 * GIB };

	(void)state;
	for (unsigned int nodes = 1; nodes <= 8; nodes++) {
		for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
			struct machine *m = boot_with((struct machine_config){
				.mem_bytes = sizes[s], .nr_nodes = nodes, .nr_cpus = 8 });
			u64 bytes[MAX_NUMNODES], sum = 0, share = sizes[s] / nodes;

			assert_int_equal(machine_nr_nodes(m), nodes);
			sum_nodes(m, bytes);
			for (unsigned int n = 0; n < nodes; n++) {
				assert_true(bytes[n] + 4 * MIB >= share);
				assert_true(bytes[n] < share + 5 * MIB);
				sum += bytes[n];
			}
			assert_int_equal(sum, sizes[s]);
			power_off(m);
		}
	}
}

static void assert_cpu_nodes(unsigned int nr_cpus, unsigned int nr_nodes, const char *nodes)
{
	struct machine *m = boot_with((struct machine_config){
		.mem_bytes = 64 * MIB, .nr_nodes = nr_nodes, .nr_cpus = nr_cpus });

	for (unsigned int cpu = 0; cpu < nr_cpus; cpu++) {
		int node = nodes[cpu] - '0';

		assert_int_equal(cpu_to_node(cpu), node);
		for (int other = 0; other < MAX_NUMNODES; other++)
			assert_int_equal(cpumask_test_cpu(cpu, cpumask_of_node(other)),
					 other == node);
	}
	power_off(m);
}

static void cpus_come_in_blocks(void **state)
{
	(void)state;
	assert_cpu_nodes(1, 1, "0");
	assert_cpu_nodes(4, 1, "0000");
	assert_cpu_nodes(4, 2, "0011");
	assert_cpu_nodes(5, 2, "00011");
	assert_cpu_nodes(6, 4, "001223");
	assert_cpu_nodes(8, 8, "01234567");
	assert_cpu_nodes(3, 8, "012");
	assert_cpu_nodes(16, 4, "0000111122223333");
}

static void linux_names_tell_the_same(void **state)
{
	struct machine *m = boot_with((struct machine_config){
		.mem_bytes = 64 * MIB, .nr_nodes = 4, .nr_cpus = 2 });
	unsigned int nr = 0, nr_with_cpus = 0;
	int nid;

	(void)state;
	for_each_online_node(nid) {
		assert_int_equal(nid, nr++);
		assert_true(node_online(nid));
		assert_int_equal(node_distance(nid, nid), 10);
		assert_int_equal(node_distance(nid, (nid + 1) % 4), 20);
	}
	for_each_node_with_cpus(nid)
		nr_with_cpus++;
	assert_int_equal(nr, 4);
	assert_int_equal(nr_with_cpus, 2);
	assert_int_equal(num_online_nodes(), 4);
	assert_int_equal(nr_node_ids, 4);
	assert_int_equal(first_online_node, 0);
	assert_false(node_online(4));
	assert_false(node_online(-1));
	assert_false(node_online(64));
	assert_int_equal(numa_node_id(), 0);
	power_off(m);
}

static void banks_may_name_any_nodes(void **state)
{
	static const struct machine_bank banks[] = {
		{ 0, 16 * MIB, 6 }, { 16 * MIB, 16 * MIB, 1 }, { 64 * MIB, 16 * MIB, 6 },
	};
	struct machine *m = boot_with((struct machine_config){
		.banks = banks, .nr_banks = 3, .nr_cpus = 4 });
	int nid, nr = 0;

	(void)state;
	assert_int_equal(machine_node_mask(m), 0x42);
	for_each_online_node(nid)
		nr = nr * 10 + nid;
	assert_int_equal(nr, 16);
	assert_int_equal(nr_node_ids, 7);
	assert_int_equal(cpu_to_node(0), 1);
	assert_int_equal(cpu_to_node(1), 1);
	assert_int_equal(cpu_to_node(2), 6);
	assert_int_equal(cpu_to_node(3), 6);
	power_off(m);
}

static void assert_refused(struct machine_config config, const char *line)
{
	char *text = NULL;
	size_t size = 0;

	config.console = open_memstream(&text, &size);
	assert_ptr_equal(machine_boot_rooms(&config, rooms, 1), ERR_PTR(-EINVAL));
	fclose(config.console);
	if (strcmp(text, line))
		fail_msg("console says \"%s\", not \"%s\"", text, line);
	free(text);
}

static void more_nodes_than_memory_are_refused(void **state)
{
	static const struct machine_bank banks[] = {
		{ 0, 16 * MIB, 0 }, { 16 * MIB, 16 * MIB, 2 },
	};

	(void)state;
	assert_refused((struct machine_config){ .mem_bytes = 16 * MIB, .nr_nodes = 8 },
		       "machine config: nr_nodes: 8 nodes need at least 32 MiB, "
		       "mem_bytes is 16777216\n");
	assert_refused((struct machine_config){ .mem_bytes = 64 * MIB, .nr_nodes = 9 },
		       "machine config: nr_nodes: 9, but a machine has 1 .. 8\n");
	assert_refused((struct machine_config){ .banks = banks, .nr_banks = 2, .nr_nodes = 3 },
		       "machine config: nr_nodes: node 1 of 3 has no memory\n");
	assert_refused((struct machine_config){ .banks = banks, .nr_banks = 1, .nr_nodes = 2 },
		       "machine config: nr_nodes: node 1 of 2 has no memory\n");
	assert_refused((struct machine_config){ .banks = banks + 1, .nr_banks = 1, .nr_nodes = 1 },
		       "machine config: banks[0]: node 2, but nr_nodes is 1\n"
		       "machine config: nr_nodes: node 0 of 1 has no memory\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_divided_evenly),
		cmocka_unit_test(cpus_come_in_blocks),
		cmocka_unit_test(linux_names_tell_the_same),
		cmocka_unit_test(banks_may_name_any_nodes),
		cmocka_unit_test(more_nodes_than_memory_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
