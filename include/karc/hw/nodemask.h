/* SPDX-License-Identifier: MIT */
/*
 * nodemask.h - sets of NUMA nodes
 *
 * Model: Linux 6.1 <linux/nodemask.h>. Every node that exists is online and has memory.
 */
#ifndef KARC_HW_NODEMASK_H
#define KARC_HW_NODEMASK_H

#include <karc/hw/topology.h>

enum node_states {
	N_POSSIBLE,
	N_ONLINE,
	N_NORMAL_MEMORY,
	N_HIGH_MEMORY = N_NORMAL_MEMORY,
	N_MEMORY,
	N_CPU,
	NR_NODE_STATES
};

#define NODE_MASK_NONE		((nodemask_t){ { 0 } })
#define NODE_MASK_ALL		((nodemask_t){ { (1UL << MAX_NUMNODES) - 1 } })
#define nodemask_of_node(nid)	((nodemask_t){ { 1UL << (nid) } })

#define node_set(nid, mask)	((void)((mask).bits[0] |= 1UL << (nid)))
#define node_clear(nid, mask)	((void)((mask).bits[0] &= ~(1UL << (nid))))
#define node_isset(nid, mask)	((int)((mask).bits[0] >> (nid) & 1))
#define node_test_and_set(nid, mask) (__extension__ ({				\
	int karc_was_ = node_isset(nid, mask);					\
	node_set(nid, mask);							\
	karc_was_; }))

#define nodes_clear(mask)	((void)((mask).bits[0] = 0))
#define nodes_setall(mask)	((void)((mask) = NODE_MASK_ALL))
#define nodes_and(dst, a, b)	((void)((dst).bits[0] = (a).bits[0] & (b).bits[0]))
#define nodes_or(dst, a, b)	((void)((dst).bits[0] = (a).bits[0] | (b).bits[0]))
#define nodes_xor(dst, a, b)	((void)((dst).bits[0] = (a).bits[0] ^ (b).bits[0]))
#define nodes_andnot(dst, a, b)	((void)((dst).bits[0] = (a).bits[0] & ~(b).bits[0]))
#define nodes_equal(a, b)	((a).bits[0] == (b).bits[0])
#define nodes_intersects(a, b)	(((a).bits[0] & (b).bits[0]) != 0)
#define nodes_subset(a, b)	(((a).bits[0] & ~(b).bits[0]) == 0)
#define nodes_empty(mask)	((mask).bits[0] == 0)
#define nodes_full(mask)	nodes_equal(mask, NODE_MASK_ALL)
#define nodes_weight(mask)	__builtin_popcountl((mask).bits[0])

/* The first node after @nid (-1: of all); MAX_NUMNODES when there is none. */
static inline int karc_next_node(int nid, const nodemask_t *mask)
{
	unsigned long left = nid + 1 < MAX_NUMNODES ? mask->bits[0] & ~0UL << (nid + 1) : 0;

	return left ? (int)__ffs(left) : MAX_NUMNODES;
}

#define next_node(nid, mask)	karc_next_node((nid), &(mask))
#define first_node(mask)	karc_next_node(-1, &(mask))

/* The same, and after the last comes the first again. */
static inline int karc_next_node_in(int nid, const nodemask_t *mask)
{
	int next = karc_next_node(nid, mask);

	return next < MAX_NUMNODES ? next : karc_next_node(-1, mask);
}

#define next_node_in(nid, mask)	karc_next_node_in((nid), &(mask))
#define for_each_node_mask(nid, mask) \
	for ((nid) = first_node(mask); (nid) < MAX_NUMNODES; (nid) = next_node((nid), mask))

/* The nodes of this machine in one of the states. */
static inline nodemask_t karc_node_state_mask(enum node_states state)
{
	nodemask_t mask = { { machine_node_mask(karc_cpu->machine) } };
	int nid;

	if (state == N_CPU)
		for_each_online_node(nid)
			if (cpumask_empty(cpumask_of_node(nid)))
				node_clear(nid, mask);
	return mask;
}

#define node_online_map		karc_node_state_mask(N_ONLINE)
#define node_possible_map	karc_node_state_mask(N_POSSIBLE)
#define num_node_state(state)	nodes_weight(karc_node_state_mask(state))
#define for_each_node_state(nid, state) for_each_online_node(nid) if (node_state(nid, state))

static inline int node_state(int nid, enum node_states state)
{
	nodemask_t mask = karc_node_state_mask(state);

	return (unsigned int)nid < MAX_NUMNODES && node_isset(nid, mask);
}

/* A mask is one word: it lives on the stack, and freeing it is nothing. */
#define NODEMASK_ALLOC(type, name, gfp)	type karc_mask_##name, *name = &karc_mask_##name
#define NODEMASK_FREE(name)		((void)(name))
#define NODEMASK_SCRATCH(name)		NODEMASK_ALLOC(struct nodemask_scratch, name, GFP_KERNEL)
#define NODEMASK_SCRATCH_FREE(name)	NODEMASK_FREE(name)

struct nodemask_scratch {
	nodemask_t mask1, mask2;
};

#endif
