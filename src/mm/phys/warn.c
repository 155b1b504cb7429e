/* SPDX-License-Identifier: MIT */
/*
 * warn.c - what is said when a request fails
 *
 * What it is
 *	One line with the request, a stack, and how much memory of what kind there is, in Linux's
 *	words: the reader's first question is whether it is used up, in pieces, or reserved. What goes
 *	wrong often is said ten times in five seconds of the machine.
 *
 * Locking
 *	The rate is under phys.warn_lock. Zones are read without their locks: it is a picture.
 */
#include <stdio.h>

#include <karc/base/log.h>
#include <karc/hw/clock.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include "internal.h"

#define WARN_WINDOW_NS	5000000000ULL
#define WARN_BURST	10u

static unsigned long kib(unsigned long nr_pages)
{
	return nr_pages << (PAGE_SHIFT - 10);
}

static bool may_say(struct phys *phys)
{
	u64 now = ktime_get_ns();
	unsigned long flags;
	bool may;

	spin_lock_irqsave(&phys->warn_lock, flags);
	if (!phys->warn_nr || now - phys->warn_window_ns >= WARN_WINDOW_NS) {
		phys->warn_window_ns = now;
		phys->warn_nr = 0;
	}
	may = phys->warn_nr < WARN_BURST;
	phys->warn_nr += may;
	spin_unlock_irqrestore(&phys->warn_lock, flags);
	return may;
}

static unsigned long zone_nr_pcp(const struct zone *zone)
{
	struct machine *m = phys_here()->machine;
	unsigned long nr = 0;
	unsigned int i;

	for_each_cpu_of(m, i)
		nr += (unsigned long)pcp_count(pcp_of(machine_cpu(m, i), zone));
	return nr;
}

static void show_zone(const struct zone *zone)
{
	pr_info("Node %d %s free:%lukB min:%lukB low:%lukB high:%lukB reserved_highatomic:%luKB "
		"present:%lukB managed:%lukB free_pcp:%lukB local_pcp:%dkB\n", zone->node,
		zone->name, kib(zone_page_state(zone, NR_FREE_PAGES)), kib(min_wmark_pages(zone)),
		kib(low_wmark_pages(zone)), kib(high_wmark_pages(zone)),
		kib(READ_ONCE(zone->nr_reserved_highatomic)), kib(zone->present_pages),
		kib(zone->managed_pages), kib(zone_nr_pcp(zone)),
		pcp_count(pcp_of(karc_cpu, zone)) << (PAGE_SHIFT - 10));
	pr_info("lowmem_reserve[]: %ld %ld %ld %ld %ld\n", zone->lowmem_reserve[0],
		zone->lowmem_reserve[1], zone->lowmem_reserve[2], zone->lowmem_reserve[3],
		zone->lowmem_reserve[4]);
}

/* "Node 0 DMA: 1*4kB (U) 0*8kB 3*16kB (UME) ... = 15360kB" */
static void show_blocks(const struct zone *zone)
{
	static const char letter[MIGRATE_TYPES] = {
		[MIGRATE_UNMOVABLE] = 'U', [MIGRATE_MOVABLE] = 'M', [MIGRATE_RECLAIMABLE] = 'E',
		[MIGRATE_HIGHATOMIC] = 'H', [MIGRATE_ISOLATE] = 'I',
	};
	char text[400];
	size_t at = 0;

	for (unsigned int order = 0; order < MAX_ORDER && at < sizeof(text); order++) {
		const struct free_area *area = &zone->free_area[order];
		char types[MIGRATE_TYPES + 4] = "";
		unsigned int nr = 0;

		for (int mt = 0; mt < MIGRATE_TYPES; mt++) {
			if (!list_empty(&area->free_list[mt]))
				types[nr++] = letter[mt];
		}
		at += (size_t)snprintf(text + at, sizeof(text) - at, " %lu*%lukB%s%s%s",
				       READ_ONCE(area->nr_free), kib(1UL << order),
				       nr ? " (" : "", types, nr ? ")" : "");
	}
	pr_info("Node %d %s:%s = %lukB\n", zone->node, zone->name, text,
		kib(zone_page_state(zone, NR_FREE_PAGES)));
}

static void for_zones(void (*fn)(const struct zone *zone))
{
	struct pglist_data *pgdat;

	for_each_online_pgdat(pgdat) {
		for (int type = 0; type < MAX_NR_ZONES; type++) {
			if (populated_zone(&pgdat->node_zones[type]))
				fn(&pgdat->node_zones[type]);
		}
	}
}

void show_mem(void)
{
	struct phys_stats s = phys_stats(phys_here()->machine);

	pr_info("Mem-Info:\n");
	pr_info("anon:%lu file:%lu shmem:%lu slab_reclaimable:%lu slab_unreclaimable:%lu "
		"pagetables:%lu vmalloc:%lu free:%lu free_pcp:%lu\n",
		global_node_page_state(NR_ANON_MAPPED), global_node_page_state(NR_FILE_PAGES),
		global_node_page_state(NR_SHMEM),
		global_node_page_state(NR_SLAB_RECLAIMABLE_B) >> PAGE_SHIFT,
		global_node_page_state(NR_SLAB_UNRECLAIMABLE_B) >> PAGE_SHIFT,
		global_node_page_state(NR_PAGETABLE), global_node_page_state(NR_VMALLOC_PAGES),
		s.nr_buddy, s.nr_pcp);
	for_zones(show_zone);
	for_zones(show_blocks);
	pr_info("%lu pages RAM\n%lu pages reserved\n%lu pages hwpoisoned\n", s.nr_present,
		s.nr_reserved, s.nr_bad);
}

void warn_alloc_site(gfp_t gfp, const nodemask_t *nodemask, unsigned int order,
		     const struct site *site)
{
	char names[GFP_NAMES_BYTES], nodes[32] = "(null)";

	if ((gfp & __GFP_NOWARN) || !may_say(phys_here()))
		return;
	if (nodemask)
		snprintf(nodes, sizeof(nodes), "0x%lx", nodemask->bits[0]);
	pr_warn("%s: page allocation failure: order:%u, mode:%#x(%s), nodemask=%s\n",
		karc_cpu->fiber->name, order, gfp, gfp_flag_names(gfp, names, sizeof(names)), nodes);
	if (site)
		pr_warn("requested at %s:%u %s\n", site->file, site->line, site->func);
	dump_stack();
	show_mem();
}
