/* SPDX-License-Identifier: MIT */
/*
 * vmstat.c - counters of zones, nodes and events
 *
 * Per-CPU counters need no atomic operation, and no irq protection either: interrupts arrive at
 * safe points only, and there is none between the load and the store of an addition.
 */
#include "internal.h"

unsigned long zone_page_state(const struct zone *zone, enum zone_stat_item item)
{
	long n = READ_ONCE(zone->vm_stat[item]);

	return n > 0 ? (unsigned long)n : 0;
}

unsigned long global_zone_page_state(enum zone_stat_item item)
{
	const struct phys *phys = phys_here();
	unsigned long sum = 0;

	for (unsigned int nid = 0; nid < MAX_NUMNODES; nid++) {
		for (int type = 0; phys->nodes[nid] && type < MAX_NR_ZONES; type++)
			sum += zone_page_state(&phys->nodes[nid]->node_zones[type], item);
	}
	return sum;
}

void mod_node_page_state(struct pglist_data *pgdat, enum node_stat_item item, long delta)
{
	struct phys_hot *hot = phys_hot();

	if (likely(hot->pgdat == pgdat))
		WRITE_ONCE(hot->node_stat[item], hot->node_stat[item] + delta);
	else
		atomic_long_add(delta, &pgdat->vm_stat[item]);
}

unsigned long node_page_state(struct pglist_data *pgdat, enum node_stat_item item)
{
	struct machine *m = karc_cpu->machine;
	long sum = atomic_long_read(&pgdat->vm_stat[item]);
	unsigned int i;

	for_each_cpu_of(m, i) {
		const struct phys_hot *hot = phys_hot_of(machine_cpu(m, i));

		if (hot->pgdat == pgdat)
			sum += READ_ONCE(hot->node_stat[item]);
	}
	return sum > 0 ? (unsigned long)sum : 0;
}

unsigned long global_node_page_state(enum node_stat_item item)
{
	const struct phys *phys = phys_here();
	unsigned long sum = 0;

	for (unsigned int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (phys->nodes[nid])
			sum += node_page_state(phys->nodes[nid], item);
	}
	return sum;
}

void count_vm_events(enum vm_event_item item, unsigned long nr)
{
	struct phys_hot *hot = phys_hot();

	WRITE_ONCE(hot->events[item], hot->events[item] + nr);
}

static unsigned long nr_on_lists(const struct phys_hot *hot)
{
	unsigned long nr = 0;

	for (unsigned int at = 0; at < PCP_INDEX(MAX_NUMNODES, 0); at++)
		nr += (unsigned long)pcp_count(&hot->pcp[at]);
	return nr;
}

/* The short ways count on the lists only. What went there or left the long way is not theirs. */
static unsigned long counted_on_the_way(const struct phys_hot *hot, enum vm_event_item item)
{
	unsigned long put = 0, taken = 0;

	for (unsigned int at = 0; at < PCP_INDEX(MAX_NUMNODES, 0); at++) {
		put += READ_ONCE(hot->pcp[at].nr_put);
		taken += READ_ONCE(hot->pcp[at].limit) - (unsigned long)hot->pcp[at].high;
	}
	if (item == PGFREE)
		return put - READ_ONCE(hot->nr_put);
	return item == PGALLOC ? taken - READ_ONCE(hot->nr_taken) : 0;
}

unsigned long vm_events(enum vm_event_item item)
{
	struct machine *m = karc_cpu->machine;
	unsigned long sum = 0;
	unsigned int i;

	for_each_cpu_of(m, i) {
		const struct phys_hot *hot = phys_hot_of(machine_cpu(m, i));

		sum += READ_ONCE(hot->events[item]) + counted_on_the_way(hot, item);
	}
	return sum;
}

struct phys_stats phys_stats(struct machine *m)
{
	const struct phys *phys = phys_of(m);
	struct phys_stats s = { .nr_bad = READ_ONCE(phys->nr_bad) };
	unsigned int i;

	for (unsigned int nid = 0; nid < MAX_NUMNODES; nid++) {
		for (int type = 0; phys->nodes[nid] && type < MAX_NR_ZONES; type++) {
			const struct zone *zone = &phys->nodes[nid]->node_zones[type];

			s.nr_present += zone->present_pages;
			s.nr_managed += zone->managed_pages;
			s.nr_buddy += zone_page_state(zone, NR_FREE_PAGES) +
				      READ_ONCE(zone->nr_isolated_free);
		}
	}
	for_each_cpu_of(m, i) {
		const struct phys_hot *hot = phys_hot_of(machine_cpu(m, i));

		s.nr_pcp += nr_on_lists(hot);
	}
	s.nr_reserved = s.nr_present - s.nr_managed;
	s.nr_used = s.nr_managed - s.nr_buddy - s.nr_pcp - s.nr_bad;
	return s;
}

unsigned long phys_nr_free(struct machine *m)
{
	struct phys_stats s = phys_stats(m);

	return s.nr_buddy + s.nr_pcp;
}
