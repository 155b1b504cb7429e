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

unsigned long vm_events(enum vm_event_item item)
{
	struct machine *m = karc_cpu->machine;
	unsigned long sum = 0;
	unsigned int i;

	for_each_cpu_of(m, i)
		sum += READ_ONCE(phys_hot_of(machine_cpu(m, i))->events[item]);
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
			s.nr_buddy += zone_page_state(zone, NR_FREE_PAGES);
		}
	}
	for_each_cpu_of(m, i) {
		const struct phys_hot *hot = phys_hot_of(machine_cpu(m, i));

		for (int type = 0; type < MAX_NR_ZONES; type++)
			s.nr_pcp += (unsigned long)READ_ONCE(hot->pcp[type].count);
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
