/* SPDX-License-Identifier: MIT */
/*
 * topology.c - NUMA nodes: how RAM and CPUs are divided among them
 *
 * What it is
 *	RAM is divided by address: node 0 has the lowest part, each next node the part above, as
 *	firmware of a machine without interleaving tells it. Explicit banks say themselves where
 *	they belong. CPUs are numbered socket by socket, so each node has a block of neighbours.
 *
 * Invariants
 *	I1 every node of the mask has memory
 *	I2 parts of nr_nodes meet at multiples of the largest buddy block: no block has two nodes
 *	I3 each CPU is in the mask of exactly one node, and cpu->node names it
 *
 * Unlike Linux
 *	All foreign nodes are equally far away. Nodes do not come and go.
 */
#include <errno.h>

#include <karc/base/math.h>
#include <karc/hw/topology.h>
#include "internal.h"
#include "topology.h"

#define NODE_ALIGN	(4ULL << 20)	/* I2 */

static_assert(MAX_NUMNODES == PHYSMEM_MAX_NODES, "a bank can name each node, and no other");

/* The physical address of byte @offset of RAM, or the end of RAM. */
static u64 ram_address(const struct machine_bank *bank, unsigned int nr, u64 offset)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (offset < bank[i].size)
			return bank[i].start + offset;
		offset -= bank[i].size;
	}
	return bank[nr - 1].start + bank[nr - 1].size;
}

unsigned int topology_split(const struct machine_bank *bank, unsigned int nr, u64 mem_bytes,
			    unsigned int nr_nodes, struct machine_bank *out)
{
	u64 share = mem_bytes / nr_nodes;
	unsigned int nr_out = 0, node = 0;

	for (unsigned int i = 0; i < nr; i++) {
		u64 pa = bank[i].start, end = pa + bank[i].size;

		while (pa < end) {
			u64 limit = ram_address(bank, nr, (node + 1) * share);

			limit = node + 1 < nr_nodes ? ALIGN_DOWN(limit, NODE_ALIGN) : ~0ULL;
			if (pa >= limit) {
				node++;
				continue;
			}
			limit = min(limit, end);
			out[nr_out++] = (struct machine_bank){ pa, limit - pa, node };
			pa = limit;
		}
	}
	return nr_out;
}

u64 topology_bytes_needed(unsigned int nr_nodes)
{
	return nr_nodes > 1 ? nr_nodes * NODE_ALIGN : PAGE_SIZE;
}

/* The @i-th node of a mask. */
static unsigned int nth_node(unsigned long mask, unsigned int i)
{
	while (i--)
		mask &= mask - 1;
	return (unsigned int)__ffs(mask);
}

void topology_place_cpus(struct machine *m, struct topology *t)
{
	unsigned int nr_nodes = (unsigned int)hweight64(t->node_mask);

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		/* In blocks, as even as they can be; with fewer CPUs than nodes one each. */
		unsigned int nth = m->nr_cpus > nr_nodes ? i * nr_nodes / m->nr_cpus : i;
		unsigned int node = nth_node(t->node_mask, nth);

		m->cpus[i]->node = node;
		cpumask_set_cpu(i, &t->cpus[node]);
	}
}

unsigned long machine_node_mask(const struct machine *m)
{
	return physmem_topology(m)->node_mask;
}

unsigned int machine_nr_nodes(const struct machine *m)
{
	return (unsigned int)hweight64(machine_node_mask(m));
}

const struct cpumask *cpumask_of_node(int nid)
{
	return &physmem_topology(karc_cpu->machine)->cpus[nid];
}
