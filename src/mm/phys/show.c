/* SPDX-License-Identifier: MIT */
/*
 * show.c - buddyinfo, zoneinfo and pagetypeinfo
 *
 * What it is
 *	Linux's texts about free frames. Each takes the numbers of a zone under its lock, lets go of
 *	it and writes; a number that karc does not keep because it has no such thing (no LRU lists,
 *	no swap, no huge pages) is a true 0 on its own line.
 *
 * Worst case
 *	pagetypeinfo walks each free list, at most PAGETYPEINFO_MOST blocks of it.
 *
 * Unlike Linux
 *	A block of frames in which zones meet counts for each of them (Linux: for that of its first
 *	frame). Allocations are not counted by node: numa_hit and its like are 0, as with
 *	vm.numa_stat=0. Counters are exact, so the threshold of their per-CPU parts is 0.
 */
#include <karc/mm/phys/show.h>
#include "internal.h"

/* What the counters of a node are called, in Linux's order; -1: karc has no such thing. */
static const struct node_line {
	const char *name;
	int item;
} node_lines[] = {
	{ "nr_inactive_anon", -1 },
	{ "nr_active_anon", -1 },
	{ "nr_inactive_file", -1 },
	{ "nr_active_file", -1 },
	{ "nr_unevictable", -1 },
	{ "nr_slab_reclaimable", NR_SLAB_RECLAIMABLE_B },
	{ "nr_slab_unreclaimable", NR_SLAB_UNRECLAIMABLE_B },
	{ "nr_isolated_anon", -1 },
	{ "nr_isolated_file", -1 },
	{ "workingset_nodes", -1 },
	{ "workingset_refault_anon", -1 },
	{ "workingset_refault_file", -1 },
	{ "workingset_activate_anon", -1 },
	{ "workingset_activate_file", -1 },
	{ "workingset_restore_anon", -1 },
	{ "workingset_restore_file", -1 },
	{ "workingset_nodereclaim", -1 },
	{ "nr_anon_pages", NR_ANON_MAPPED },
	{ "nr_mapped", NR_FILE_MAPPED },
	{ "nr_file_pages", NR_FILE_PAGES },
	{ "nr_dirty", NR_FILE_DIRTY },
	{ "nr_writeback", -1 },
	{ "nr_writeback_temp", -1 },
	{ "nr_shmem", NR_SHMEM },
	{ "nr_shmem_hugepages", -1 },
	{ "nr_shmem_pmdmapped", -1 },
	{ "nr_file_hugepages", -1 },
	{ "nr_file_pmdmapped", -1 },
	{ "nr_anon_transparent_hugepages", -1 },
	{ "nr_vmscan_write", -1 },
	{ "nr_vmscan_immediate_reclaim", -1 },
	{ "nr_dirtied", -1 },
	{ "nr_written", -1 },
	{ "nr_throttled_written", -1 },
	{ "nr_kernel_misc_reclaimable", -1 },
	{ "nr_foll_pin_acquired", -1 },
	{ "nr_foll_pin_released", -1 },
	{ "nr_kernel_stack", NR_KERNEL_STACK_KB },
	{ "nr_page_table_pages", NR_PAGETABLE },
	{ "nr_sec_page_table_pages", -1 },
	{ "nr_swapcached", -1 },
};

/* Lines of a zone behind nr_free_pages that are 0 here. */
static const char *const zone_lines[] = {
	"nr_zone_inactive_anon", "nr_zone_active_anon", "nr_zone_inactive_file",
	"nr_zone_active_file", "nr_zone_unevictable", "nr_zone_write_pending", "nr_mlock",
	"nr_bounce", "nr_zspages", "nr_free_cma", "numa_hit", "numa_miss", "numa_foreign",
	"numa_interleave", "numa_local", "numa_other",
};

const char *migratetype_name(int migratetype)
{
	static const char *const names[MIGRATE_TYPES] = {
		[MIGRATE_UNMOVABLE] = "Unmovable",
		[MIGRATE_MOVABLE] = "Movable",
		[MIGRATE_RECLAIMABLE] = "Reclaimable",
		[MIGRATE_HIGHATOMIC] = "HighAtomic",
		[MIGRATE_ISOLATE] = "Isolate",
	};

	return names[migratetype];
}

/* ---- buddyinfo --------------------------------------------------------------------------- */

static void show_free_areas(FILE *out, struct zone *zone)
{
	unsigned long nr_free[MAX_ORDER], flags;

	spin_lock_irqsave(&zone->lock, flags);
	for (unsigned int order = 0; order < MAX_ORDER; order++)
		nr_free[order] = zone->free_area[order].nr_free;
	spin_unlock_irqrestore(&zone->lock, flags);
	fprintf(out, "Node %d, zone %8s ", zone->node, zone->name);
	for (unsigned int order = 0; order < MAX_ORDER; order++)
		fprintf(out, "%6lu ", nr_free[order]);
	fputc('\n', out);
}

/* Each zone of a node that has frames. */
static void for_populated_zones(FILE *out, struct pglist_data *pgdat,
				void (*show)(FILE *out, struct zone *zone))
{
	for (int type = 0; type < MAX_NR_ZONES; type++) {
		if (populated_zone(&pgdat->node_zones[type]))
			show(out, &pgdat->node_zones[type]);
	}
}

void buddyinfo_show(FILE *out)
{
	struct pglist_data *pgdat;

	for_each_online_pgdat(pgdat)
		for_populated_zones(out, pgdat, show_free_areas);
}

/* ---- pagetypeinfo ------------------------------------------------------------------------ */

/* Blocks on a free list, PAGETYPEINFO_MOST at most. Lock held. */
static unsigned long list_length(const struct list_head *list)
{
	const struct list_head *at;
	unsigned long nr = 0;

	list_for_each(at, list) {
		if (++nr >= PAGETYPEINFO_MOST)
			break;
	}
	return nr;
}

static void show_free_lists(FILE *out, struct zone *zone)
{
	unsigned long nr[MAX_ORDER], flags;

	for (int type = 0; type < MIGRATE_TYPES; type++) {
		spin_lock_irqsave(&zone->lock, flags);
		for (unsigned int order = 0; order < MAX_ORDER; order++)
			nr[order] = list_length(&zone->free_area[order].free_list[type]);
		spin_unlock_irqrestore(&zone->lock, flags);
		fprintf(out, "Node %4d, zone %8s, type %12s ", zone->node, zone->name,
			migratetype_name(type));
		for (unsigned int order = 0; order < MAX_ORDER; order++)
			fprintf(out, "%s%6lu ", nr[order] >= PAGETYPEINFO_MOST ? ">" : "",
				nr[order]);
		fputc('\n', out);
	}
}

/* Is the bank the zone's? It lies in one zone whole. */
static bool zone_has_bank(const struct zone *zone, const struct machine_bank *bank)
{
	return (int)bank->node == zone->node &&
	       zone_spans_pfn(zone, (unsigned long)(bank->start >> PAGE_SHIFT));
}

static void show_block_types(FILE *out, struct zone *zone)
{
	const struct phys *phys = phys_here();
	unsigned long count[MIGRATE_TYPES] = { 0 };
	unsigned long next = 0;		/* block that has not been counted */
	struct machine_bank bank;

	for (unsigned int i = 0; physmem_bank(phys->machine, i, &bank); i++) {
		unsigned long pfn = (unsigned long)(bank.start >> PAGE_SHIFT);
		unsigned long last = pfn + (unsigned long)(bank.size >> PAGE_SHIFT) - 1;

		if (!zone_has_bank(zone, &bank))
			continue;
		next = max(next, pfn >> pageblock_order);
		for (; next <= last >> pageblock_order; next++)
			count[pageblock_type(phys, next << pageblock_order)]++;
	}
	fprintf(out, "Node %d, zone %8s ", zone->node, zone->name);
	for (int type = 0; type < MIGRATE_TYPES; type++)
		fprintf(out, "%12lu ", count[type]);
	fputc('\n', out);
}

void pagetypeinfo_show(FILE *out)
{
	struct pglist_data *pgdat;

	for_each_online_pgdat(pgdat) {
		if (!pgdat->node_present_pages)
			continue;
		fprintf(out, "Page block order: %d\nPages per block:  %lu\n\n", pageblock_order,
			pageblock_nr_pages);
		fprintf(out, "%-43s ", "Free pages count per migrate type at order");
		for (int order = 0; order < MAX_ORDER; order++)
			fprintf(out, "%6d ", order);
		fputc('\n', out);
		for_populated_zones(out, pgdat, show_free_lists);
		fprintf(out, "\n%-23s", "Number of blocks type ");
		for (int type = 0; type < MIGRATE_TYPES; type++)
			fprintf(out, "%12s ", migratetype_name(type));
		fputc('\n', out);
		for_populated_zones(out, pgdat, show_block_types);
	}
}

/* ---- zoneinfo ---------------------------------------------------------------------------- */

/* Slabs are counted in bytes and shown in pages; kernel stacks in KiB, and shown so. */
static unsigned long shown_count(struct pglist_data *pgdat, int item)
{
	unsigned long nr = item < 0 ? 0 : node_page_state(pgdat, (enum node_stat_item)item);

	return item == NR_SLAB_RECLAIMABLE_B || item == NR_SLAB_UNRECLAIMABLE_B ?
	       nr >> PAGE_SHIFT : nr;
}

static void show_node_stats(FILE *out, struct pglist_data *pgdat)
{
	fputs("\n  per-node stats", out);
	for (size_t i = 0; i < ARRAY_SIZE(node_lines); i++)
		fprintf(out, "\n      %-12s %lu", node_lines[i].name,
			shown_count(pgdat, node_lines[i].item));
}

static void show_limits(FILE *out, const struct zone *zone)
{
	fprintf(out, "\n  pages free     %lu\n        boost    %lu\n        min      %lu"
		"\n        low      %lu\n        high     %lu\n        spanned  %lu"
		"\n        present  %lu\n        managed  %lu\n        cma      %lu",
		zone_page_state(zone, NR_FREE_PAGES), 0ul, min_wmark_pages(zone),
		low_wmark_pages(zone), high_wmark_pages(zone), zone->spanned_pages,
		zone->present_pages, zone_managed_pages(zone), 0ul);
	fprintf(out, "\n        protection: (%ld", zone->lowmem_reserve[0]);
	for (int type = 1; type < MAX_NR_ZONES; type++)
		fprintf(out, ", %ld", zone->lowmem_reserve[type]);
	fputc(')', out);
}

static void show_cpu_lists(FILE *out, const struct zone *zone)
{
	struct machine *m = phys_here()->machine;
	unsigned int cpu;

	fputs("\n  pagesets", out);
	for_each_cpu_of(m, cpu) {
		const struct per_cpu_pages *pcp = per_cpu_ptr(zone->per_cpu_pageset, cpu);

		fprintf(out, "\n    cpu: %u\n              count: %i\n              high:  %i"
			"\n              batch: %i\n  vm stats threshold: 0", cpu,
			pcp_count(pcp), READ_ONCE(pcp->high), READ_ONCE(pcp->batch));
	}
}

static bool is_first_populated(const struct zone *zone)
{
	const struct zone *at = zone->zone_pgdat->node_zones;

	while (at < zone && !populated_zone(at))
		at++;
	return at == zone && populated_zone(zone);
}

static void show_zone(FILE *out, struct zone *zone)
{
	fprintf(out, "Node %d, zone %8s", zone->node, zone->name);
	if (is_first_populated(zone))
		show_node_stats(out, zone->zone_pgdat);
	show_limits(out, zone);
	if (populated_zone(zone)) {
		fprintf(out, "\n      %-12s %lu", "nr_free_pages",
			zone_page_state(zone, NR_FREE_PAGES));
		for (size_t i = 0; i < ARRAY_SIZE(zone_lines); i++)
			fprintf(out, "\n      %-12s 0", zone_lines[i]);
		show_cpu_lists(out, zone);
		fprintf(out, "\n  node_unreclaimable:  0\n  start_pfn:           %lu",
			zone->zone_start_pfn);
	}
	fputc('\n', out);
}

void zoneinfo_show(FILE *out)
{
	struct pglist_data *pgdat;

	for_each_online_pgdat(pgdat) {
		for (int type = 0; type < MAX_NR_ZONES; type++)
			show_zone(out, &pgdat->node_zones[type]);
	}
}
