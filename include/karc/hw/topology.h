/* SPDX-License-Identifier: MIT */
/*
 * topology.h - NUMA nodes: which CPUs and which memory are near each other
 *
 * A node is a part of RAM (machine_config.nr_nodes, or the nodes that the banks name) and the CPUs
 * next to it. Every node has memory and is online; a node may have no CPU. Nodes that banks leave
 * out do not exist.
 *
 * Model: Linux 6.1 <linux/topology.h>, <linux/nodemask.h>.
 */
#ifndef KARC_HW_TOPOLOGY_H
#define KARC_HW_TOPOLOGY_H

#include <karc/base/bitops.h>
#include <karc/hw/cpumask.h>

#define NODES_SHIFT		3
#define MAX_NUMNODES		(1 << NODES_SHIFT)
#define NUMA_NO_NODE		(-1)
#define LOCAL_DISTANCE		10
#define REMOTE_DISTANCE		20

typedef struct nodemask {
	unsigned long bits[1];
} nodemask_t;

/* The nodes of @m: bit n for node n. */
unsigned long machine_node_mask(const struct machine *m);
unsigned int machine_nr_nodes(const struct machine *m);

/* The CPUs of node @nid; an empty mask for a node without any. @nid is below MAX_NUMNODES. */
const struct cpumask *cpumask_of_node(int nid);

#define numa_node_id()		((int)karc_cpu->node)
#define numa_mem_id()		numa_node_id()
#define cpu_to_node(cpu)	((int)machine_cpu(karc_cpu->machine, (cpu))->node)
#define cpu_to_mem(cpu)		cpu_to_node(cpu)
#define node_to_mem_node(nid)	(nid)

static inline bool node_online(int nid)
{
	return (unsigned int)nid < MAX_NUMNODES &&
	       (machine_node_mask(karc_cpu->machine) >> nid & 1);
}

static inline int node_distance(int from, int to)
{
	return from == to ? LOCAL_DISTANCE : REMOTE_DISTANCE;
}

/* The first online node after @nid (-1: the first of all); MAX_NUMNODES when there is none. */
static inline int next_online_node(int nid)
{
	unsigned long left = machine_node_mask(karc_cpu->machine) & ~0UL << (nid + 1);

	return left ? (int)__ffs(left) : MAX_NUMNODES;
}

#define num_online_nodes()	machine_nr_nodes(karc_cpu->machine)
#define num_possible_nodes()	num_online_nodes()
#define nr_online_nodes		num_online_nodes()
#define nr_node_ids		((unsigned int)fls64(machine_node_mask(karc_cpu->machine)))
#define node_possible(nid)	node_online(nid)
#define first_online_node	next_online_node(-1)
#define first_memory_node	first_online_node
#define next_memory_node(nid)	next_online_node(nid)

#define for_each_online_node(nid) \
	for ((nid) = first_online_node; (nid) < MAX_NUMNODES; (nid) = next_online_node(nid))
#define for_each_node(nid)	for_each_online_node(nid)
#define for_each_node_with_cpus(nid) \
	for_each_online_node(nid) if (!cpumask_empty(cpumask_of_node(nid)))

#endif
