/* SPDX-License-Identifier: MIT */
/*
 * topology.h - how physmem.c divides RAM and CPUs among nodes
 */
#ifndef KARC_SRC_HW_TOPOLOGY_H
#define KARC_SRC_HW_TOPOLOGY_H

#include <karc/hw/machine.h>
#include <karc/hw/topology.h>

/* Part of struct physmem; constant after boot. */
struct topology {
	unsigned long node_mask;
	cpumask_t cpus[MAX_NUMNODES];
};

/* physmem.c */
const struct topology *physmem_topology(const struct machine *m);

/*
 * Divide @nr sorted banks of @mem_bytes together into @nr_nodes even parts; @out has room for
 * @nr + @nr_nodes - 1. Returns how many there are. @mem_bytes is at least topology_bytes_needed().
 */
unsigned int topology_split(const struct machine_bank *bank, unsigned int nr, u64 mem_bytes,
			    unsigned int nr_nodes, struct machine_bank *out);
u64 topology_bytes_needed(unsigned int nr_nodes);

/* Give each CPU a node of @t->node_mask and fill @t->cpus. */
void topology_place_cpus(struct machine *m, struct topology *t);

#endif
