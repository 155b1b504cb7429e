/* SPDX-License-Identifier: MIT */
/*
 * phys.c - the room of the frames: power on, power off, what is left, what is wrong
 *
 * At power off every CPU's list goes back to its zone. If then fewer frames are free than boot
 * handed out, a walk over RAM names the others: free blocks are steps of their size, so whatever
 * the walk stands on otherwise is somebody's. The check walks all lists and compares them with
 * the counters and with each frame's flags; it cites the
 * invariants of zone.c (Z), pageblock.c (B) and pcp.c (P).
 */
#include <string.h>

#include <karc/base/hostmem.h>
#include <karc/base/log.h>
#include <karc/hw/param.h>
#include <karc/refcount/graph.h>
#include <karc/mm/phys/poison.h>
#include "internal.h"

#define MAX_LEFT_GROUPS	64

/* What is left, added up by kind and site. */
struct left_group {
	const char *kind;
	const struct site *site;
	unsigned long count;
	unsigned long nr_pages;
};

struct left_report {
	struct left_group group[MAX_LEFT_GROUPS];
	unsigned int nr_groups;
};

static size_t pageblocks_bytes(const struct phys *phys)
{
	return (phys->max_pfn >> pageblock_order) + 1;
}

static size_t track_bytes(const struct phys *phys)
{
	return phys->max_pfn * sizeof(*phys->track);
}

static void tracing_changed(struct machine *m, u32 mask)
{
	pcp_update_short_ways(phys_of(m), mask, 0);
}

static int isolated_node_of(struct machine *m)
{
	unsigned long nid;

	if (boot_param_ulong(m, "isolated_node", &nid))
		return NUMA_NO_NODE;
	if (nid < MAX_NUMNODES && machine_node_mask(m) >> nid & 1)
		return (int)nid;
	boot_param_bad(m, "isolated_node", "a node of this machine");
	return NUMA_NO_NODE;
}

/* What the room has besides its nodes; phys_unmap() undoes it, also in part. */
static int phys_map(struct phys *phys)
{
	struct hostmem_account *account = machine_hostmem(phys->machine);

	phys->pageblock = hostmem_zalloc(account, pageblocks_bytes(phys));
	if (!phys->pageblock || content_init(phys))
		return -ENOMEM;
	if (machine_config(phys->machine)->track) {
		phys->track = hostmem_map(account, track_bytes(phys));
		if (!phys->track)
			return -ENOMEM;
	}
	return memcg_init();
}

static void phys_unmap(struct phys *phys)
{
	struct hostmem_account *account = machine_hostmem(phys->machine);

	memcg_exit(phys);
	if (phys->track)
		hostmem_unmap(account, phys->track, track_bytes(phys));
	content_exit(phys);
	hostmem_free(account, phys->pageblock);
}

static int phys_init(struct machine *m)
{
	struct phys *phys = hostmem_zalloc(machine_hostmem(m), sizeof(*phys));

	if (!phys)
		return -ENOMEM;
	phys->machine = m;
	phys->max_pfn = physmem_max_pfn(m);
	phys->fenced_node = isolated_node_of(m);
	spin_lock_init(&phys->warn_lock);
	spin_lock_init(&phys->short_lock);
	if (phys_map(phys) || arc_graph_source_register(&phys_graph_source))
		goto unmap;
	if (zones_init(phys))
		goto unregister;
	if (pcp_init(phys))
		goto exit_zones;
	machine_set_room(m, ROOM_PHYS, phys);
	trace_event_on_change(m, &phys->watch, tracing_changed);
	return 0;
exit_zones:
	zones_exit(phys);
unregister:
	arc_graph_source_unregister(&phys_graph_source);
unmap:
	phys_unmap(phys);
	hostmem_free(machine_hostmem(m), phys);
	return -ENOMEM;
}

/* One line may expand SITE() more than once. */
static bool same_site(const struct site *a, const struct site *b)
{
	return a == b || (a && b && a->line == b->line && !strcmp(a->file, b->file));
}

static void left_add(struct left_report *report, const char *kind, const struct site *site,
		     unsigned long nr_pages)
{
	unsigned int i;

	for (i = 0; i < report->nr_groups; i++) {
		if (report->group[i].kind == kind && same_site(report->group[i].site, site))
			break;
	}
	if (i == MAX_LEFT_GROUPS)
		i--;		/* the last group takes what does not fit */
	else if (i == report->nr_groups)
		report->group[report->nr_groups++] = (struct left_group){ kind, site, 0, 0 };
	report->group[i].count++;
	report->group[i].nr_pages += nr_pages;
}

static const char *frame_kind(const struct page *page)
{
	if (PageHWPoison(page))
		return "bad page";
	if (PageSlab(page))
		return "slab page";
	if (PageTable(page))
		return "page table";
	return PageHead(page) ? "compound page" : "page";
}

/* Add up every frame of a bank that is not free. */
static void left_of_bank(const struct machine_bank *bank, struct left_report *report)
{
	unsigned long pfn = (unsigned long)(bank->start >> PAGE_SHIFT);
	unsigned long end = pfn + (unsigned long)(bank->size >> PAGE_SHIFT);

	while (pfn < end) {
		const struct page *page = pfn_to_page(pfn);
		unsigned long nr = 1;

		if (PageBuddy(page)) {
			nr = 1UL << buddy_order(page);
		} else if (!PageReserved(page)) {
			nr = 1UL << page_block_order(page);
			left_add(report, frame_kind(page), page_site(page), nr);
		}
		pfn += nr;
	}
}

static void report_left(struct phys *phys)
{
	struct hostmem_account *account = machine_hostmem(phys->machine);
	struct left_report *report = hostmem_zalloc(account, sizeof(*report));
	struct machine_bank bank;

	if (!report) {
		machine_report_left(phys->machine, "frames", NULL, 1, 0);
		return;
	}
	for (unsigned int i = 0; physmem_bank(phys->machine, i, &bank); i++)
		left_of_bank(&bank, report);
	for (unsigned int i = 0; i < report->nr_groups; i++) {
		const struct left_group *g = &report->group[i];

		machine_report_left(phys->machine, g->kind, g->site, g->count,
				    (u64)g->nr_pages << PAGE_SHIFT);
	}
	hostmem_free(account, report);
}

/* The host reuses the addresses; AddressSanitizer must forget what it was told about them. */
static void unpoison_all(const struct phys *phys)
{
	for (size_t i = 0; mem_poison_active() && i < pageblocks_bytes(phys); i++) {
		if (phys->pageblock[i] & PB_POISONED)
			mem_unpoison(karc_cpu->arena + (i << (pageblock_order + PAGE_SHIFT)),
				     PAGE_SIZE << pageblock_order);
	}
}

static void phys_exit(struct machine *m)
{
	struct phys *phys = phys_of(m);
	struct phys_stats stats;

	arc_graph_source_unregister(&phys_graph_source);
	drain_all_pages(NULL);
	stats = phys_stats(m);
	if (stats.nr_buddy != stats.nr_managed)
		report_left(phys);
	unpoison_all(phys);
	trace_event_off_change(m, &phys->watch);
	pcp_exit(phys);
	zones_exit(phys);
	phys_unmap(phys);
	hostmem_free(machine_hostmem(m), phys);
	machine_set_room(m, ROOM_PHYS, NULL);
}

static unsigned long phys_drain(struct machine *m)
{
	unsigned long before = phys_stats(m).nr_pcp;

	if (before)
		drain_all_pages(NULL);
	return before;
}

/* Z1, Z2, Z5, Z6 of one block. */
static void check_block(const struct zone *zone, const struct page *page, unsigned int order,
			int migratetype, struct check_report *report)
{
	unsigned long pfn = page_to_pfn(page);

	if (!PageBuddy(page) || buddy_order(page) != order)
		check_fail(report, "Z1: pfn 0x%lx is listed as a free block of order %u", pfn,
			   order);
	if (!IS_ALIGNED(pfn, 1UL << order) || !zone_spans_pfn(zone, pfn) ||
	    (page->flags & PAGE_PLACE_MASK) != zone_page_flags(zone))
		check_fail(report, "Z2: pfn 0x%lx, order %u, does not belong to zone %s", pfn,
			   order, zone->name);
	if (page_migratetype(page) != migratetype)
		check_fail(report, "Z5: pfn 0x%lx is on list %d and says %d", pfn, migratetype,
			   page_migratetype(page));
	if (page_is_damaged(page, PAGE_FLAG_BITS & ~(1UL << PG_buddy)))
		check_fail(report, "Z6: free pfn 0x%lx shows traces of an owner", pfn);
}

static void check_buddy(struct zone *zone, const struct page *page, unsigned int order,
			struct check_report *report)
{
	unsigned long buddy_pfn = page_to_pfn(page) ^ 1UL << order;
	const struct page *buddy = pfn_to_page(buddy_pfn);

	if (order < MAX_ORDER - 1 && zone_spans_pfn(zone, buddy_pfn) && PageBuddy(buddy) &&
	    buddy_order(buddy) == order &&
	    (buddy->flags & PAGE_PLACE_MASK) == (page->flags & PAGE_PLACE_MASK))
		check_fail(report, "Z3: pfn 0x%lx and its buddy of order %u are both free",
			   page_to_pfn(page), order);
}

static void check_zone(struct zone *zone, struct check_report *report)
{
	unsigned long nr_free = 0, nr_isolated = 0;

	for (unsigned int order = 0; order < MAX_ORDER; order++) {
		unsigned long nr_blocks = 0;

		for (int mt = 0; mt < MIGRATE_TYPES; mt++) {
			const struct page *page;

			list_for_each_entry(page, &zone->free_area[order].free_list[mt],
					    buddy_list) {
				check_block(zone, page, order, mt, report);
				check_buddy(zone, page, order, report);
				nr_blocks++;
				nr_isolated += is_migrate_isolate(mt) ? 1UL << order : 0;
			}
		}
		if (nr_blocks != zone->free_area[order].nr_free)
			check_fail(report, "Z4: zone %s order %u: %lu blocks listed, %lu counted",
				   zone->name, order, nr_blocks, zone->free_area[order].nr_free);
		nr_free += nr_blocks << order;
	}
	if (nr_free != zone_page_state(zone, NR_FREE_PAGES) + zone->nr_isolated_free ||
	    nr_isolated != zone->nr_isolated_free)
		check_fail(report, "Z4: zone %s: %lu frames listed, %lu of them isolated, %lu and "
			   "%lu counted", zone->name, nr_free, nr_isolated,
			   zone_page_state(zone, NR_FREE_PAGES), zone->nr_isolated_free);
}

/* A free frame is on the list of its block's type, if that is one that keeps frames apart. */
static void check_kept_apart(const struct phys *phys, struct zone *zone,
			     struct check_report *report)
{
	for (unsigned int order = 0; order < MAX_ORDER; order++) {
		for (int mt = 0; mt < MIGRATE_TYPES; mt++) {
			const struct page *page;

			list_for_each_entry(page, &zone->free_area[order].free_list[mt],
					    buddy_list) {
				int block = pageblock_type(phys, page_to_pfn(page));

				if (block != mt && !(migratetype_is_mergeable(block) &&
						     migratetype_is_mergeable(mt)))
					check_fail(report, "B1: free pfn 0x%lx of a block of type "
						   "%d is on list %d", page_to_pfn(page), block,
						   mt);
			}
		}
	}
}

/* B2 of pageblock.c: the blocks by type, and what the zones count. */
static void check_block_counts(const struct phys *phys, struct check_report *report)
{
	unsigned long isolated = 0, kept = 0;

	for (size_t i = 0; i < pageblocks_bytes(phys); i++) {
		isolated += is_migrate_isolate(phys->pageblock[i] & PB_TYPE_MASK);
		kept += is_migrate_highatomic(phys->pageblock[i] & PB_TYPE_MASK);
	}
	for (unsigned int nid = 0; nid < MAX_NUMNODES; nid++) {
		for (int type = 0; phys->nodes[nid] && type < MAX_NR_ZONES; type++) {
			isolated -= phys->nodes[nid]->node_zones[type].nr_isolate_pageblock;
			kept -= phys->nodes[nid]->node_zones[type].nr_reserved_highatomic /
				pageblock_nr_pages;
		}
	}
	if (isolated || kept)
		check_fail(report, "B2: %ld isolated and %ld atomic blocks that no zone counts",
			   (long)isolated, (long)kept);
}

static void check_pcp(const struct per_cpu_pages *pcp, unsigned int place,
		      struct check_report *report)
{
	int count = 0;

	for (int mt = 0; mt < MIGRATE_PCPTYPES; mt++) {
		const struct page *page;

		list_for_each_entry(page, &pcp->lists[mt], pcp_list) {
			if (!PagePcp(page) || PageBuddy(page) ||
			    page->flags >> PAGE_ZONE_SHIFT != place)
				check_fail(report, "P1: pfn 0x%lx is on a per-CPU list",
					   page_to_pfn(page));
			if (page_is_damaged(page, PAGE_FLAG_BITS & ~(1UL << PG_pcp)))
				check_fail(report, "Z6: free pfn 0x%lx shows traces of an owner",
					   page_to_pfn(page));
			count++;
		}
	}
	if (count != pcp_count(pcp) || (count && count >= pcp->high + pcp->batch))
		check_fail(report, "P2: %d frames listed, %d counted, high %d", count,
			   pcp_count(pcp), pcp->high);
}

static void check_pcps(struct machine *m, const struct phys *phys, struct check_report *report)
{
	unsigned int i;

	for_each_cpu_of(m, i) {
		for (unsigned int at = 0; at < PCP_INDEX(MAX_NUMNODES, 0); at++) {
			if (phys->nodes[at >> 3])
				check_pcp(&phys_hot_of(machine_cpu(m, i))->pcp[at], at, report);
		}
	}
}

static void phys_check(struct machine *m, struct check_report *report)
{
	const struct phys *phys = phys_of(m);

	for (unsigned int nid = 0; nid < MAX_NUMNODES; nid++) {
		for (int type = 0; phys->nodes[nid] && type < MAX_NR_ZONES; type++) {
			check_zone(&phys->nodes[nid]->node_zones[type], report);
			check_kept_apart(phys, &phys->nodes[nid]->node_zones[type], report);
		}
	}
	check_block_counts(phys, report);
	check_pcps(m, phys, report);
}

const struct room phys_room = {
	.name = "phys",
	.id = ROOM_PHYS,
	.init = phys_init,
	.exit = phys_exit,
	.check = phys_check,
	.drain = phys_drain,
};
