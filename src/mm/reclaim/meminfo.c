/* SPDX-License-Identifier: MIT */
/*
 * meminfo.c - the text of /proc/meminfo
 *
 * What it is
 *	Sums over zones and nodes, in the order and columns of Linux. It stands in this room, the
 *	highest of the mm rooms, because it asks all of them.
 *
 * Invariants
 *	I1 MemFree is NR_FREE_PAGES of all zones: frames on CPUs' lists are not in it, as in Linux
 *	I2 Slab is SReclaimable and SUnreclaim; what kmalloc() got from the buddy is in SUnreclaim
 *
 * Unlike Linux
 *	There are no LRU lists and no swap: Active, Inactive, Unevictable, SwapTotal and their like
 *	are 0, and so is Mlocked, because frames of locked memory carry no mark. Kernel stacks are
 *	the host's: KernelStack, which counts frames, is 0. All of the direct map counts as mapped
 *	by pages of 4 KiB.
 */
#include <karc/base/math.h>
#include <karc/hw/physmem.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/reclaim/meminfo.h>
#include <karc/mm/slab/percpu.h>
#include <karc/mm/space/overcommit.h>

#define KIB_PER_PAGE	(PAGE_SIZE >> 10)
#define HUGE_PAGE_KIB	((PAGE_SIZE * (PAGE_SIZE / 8)) >> 10)	/* a table of 8-byte entries */

/* Frames of a machine by what zones say of themselves. */
struct zone_sums {
	unsigned long managed, free, low_marks, reserve;
	unsigned long present_high, managed_high, free_high, present;
};

/* What nobody gets: the largest reserve that the zone keeps, and its high mark. */
static unsigned long zone_reserve(const struct zone *zone)
{
	long most = 0;

	for (int type = 0; type < MAX_NR_ZONES; type++)
		most = max(most, zone->lowmem_reserve[type]);
	return min((unsigned long)most + high_wmark_pages(zone), zone_managed_pages(zone));
}

static struct zone_sums sum_zones(void)
{
	struct zone_sums s = { 0 };
	struct pglist_data *pgdat;

	for_each_online_pgdat(pgdat) {
		for (int type = 0; type < MAX_NR_ZONES; type++) {
			const struct zone *zone = &pgdat->node_zones[type];
			unsigned long free = zone_page_state(zone, NR_FREE_PAGES);

			s.managed += zone_managed_pages(zone);
			s.present += zone->present_pages;
			s.free += free;
			s.low_marks += low_wmark_pages(zone);
			s.reserve += zone_reserve(zone);
			if (is_highmem(zone)) {
				s.managed_high += zone_managed_pages(zone);
				s.present_high += zone->present_pages;
				s.free_high += free;
			}
		}
	}
	return s;
}

/* Of what could be dropped half, or all but the low marks, whichever is more. */
static unsigned long droppable(unsigned long pages, unsigned long low_marks)
{
	return pages - min(pages / 2, low_marks);
}

static unsigned long file_pages_to_drop(void)
{
	unsigned long file = global_node_page_state(NR_FILE_PAGES);

	return file - min(file, global_node_page_state(NR_SHMEM));
}

static unsigned long slab_pages(enum node_stat_item item)
{
	return global_node_page_state(item) >> PAGE_SHIFT;
}

static long available(const struct zone_sums *s)
{
	long pages = (long)s->free - (long)s->reserve;

	pages += (long)droppable(file_pages_to_drop(), s->low_marks);
	pages += (long)droppable(slab_pages(NR_SLAB_RECLAIMABLE_B), s->low_marks);
	return max(pages, 0L);
}

long si_mem_available(void)
{
	const struct zone_sums s = sum_zones();

	return available(&s);
}

static void line(FILE *out, const char *name, unsigned long kib)
{
	fprintf(out, "%-15s %8lu kB\n", name, kib);
}

static void pages_line(FILE *out, const char *name, unsigned long pages)
{
	line(out, name, pages * KIB_PER_PAGE);
}

static void nothing(FILE *out, const char *const *names)
{
	for (; *names; names++)
		line(out, *names, 0);
}

static void show_totals(FILE *out, const struct zone_sums *s)
{
	static const char *const lists[] = {
		"SwapCached:", "Active:", "Inactive:", "Active(anon):", "Inactive(anon):",
		"Active(file):", "Inactive(file):", "Unevictable:", "Mlocked:", NULL,
	};
	static const char *const swap[] = {
		"SwapTotal:", "SwapFree:", "Zswap:", "Zswapped:", NULL,
	};

	pages_line(out, "MemTotal:", s->managed);
	pages_line(out, "MemFree:", s->free);
	pages_line(out, "MemAvailable:", (unsigned long)available(s));
	line(out, "Buffers:", 0);
	pages_line(out, "Cached:", global_node_page_state(NR_FILE_PAGES));
	nothing(out, lists);
	if (s->present_high) {
		pages_line(out, "HighTotal:", s->managed_high);
		pages_line(out, "HighFree:", s->free_high);
		pages_line(out, "LowTotal:", s->managed - s->managed_high);
		pages_line(out, "LowFree:", s->free - s->free_high);
	}
	nothing(out, swap);
}

static void show_uses(FILE *out)
{
	unsigned long reclaimable = slab_pages(NR_SLAB_RECLAIMABLE_B);
	unsigned long unreclaimable = slab_pages(NR_SLAB_UNRECLAIMABLE_B);
	static const char *const none[] = {
		"SecPageTables:", "NFS_Unstable:", "Bounce:", "WritebackTmp:", NULL,
	};

	pages_line(out, "Dirty:", global_node_page_state(NR_FILE_DIRTY));
	line(out, "Writeback:", 0);
	pages_line(out, "AnonPages:", global_node_page_state(NR_ANON_MAPPED));
	pages_line(out, "Mapped:", global_node_page_state(NR_FILE_MAPPED));
	pages_line(out, "Shmem:", global_node_page_state(NR_SHMEM));
	pages_line(out, "KReclaimable:", reclaimable);
	pages_line(out, "Slab:", reclaimable + unreclaimable);
	pages_line(out, "SReclaimable:", reclaimable);
	pages_line(out, "SUnreclaim:", unreclaimable);
	line(out, "KernelStack:", global_node_page_state(NR_KERNEL_STACK_KB));
	pages_line(out, "PageTables:", global_node_page_state(NR_PAGETABLE));
	nothing(out, none);
}

static void show_ranges(FILE *out)
{
	u64 window = 0;

	physmem_window(this_machine(), WINDOW_VMALLOC, &window);
	pages_line(out, "CommitLimit:", vm_commit_limit());
	pages_line(out, "Committed_AS:", vm_memory_committed());
	line(out, "VmallocTotal:", (unsigned long)(window >> 10));
	pages_line(out, "VmallocUsed:", global_node_page_state(NR_VMALLOC_PAGES));
	line(out, "VmallocChunk:", 0);
	line(out, "Percpu:", (unsigned long)(percpu_bytes(this_machine()) >> 10));
	fprintf(out, "HardwareCorrupted: %5lu kB\n",
		phys_stats(this_machine()).nr_bad * KIB_PER_PAGE);
}

static void show_huge(FILE *out, const struct zone_sums *s)
{
	static const char *const transparent[] = {
		"AnonHugePages:", "ShmemHugePages:", "ShmemPmdMapped:", "FileHugePages:",
		"FilePmdMapped:", NULL,
	};
	static const char *const pools[] = { "Total", "Free", "Rsvd", "Surp" };

	nothing(out, transparent);
	for (size_t i = 0; i < ARRAY_SIZE(pools); i++)
		fprintf(out, "HugePages_%s:%*s%5d\n", pools[i], i == 0 ? 3 : 4, "", 0);
	line(out, "Hugepagesize:", HUGE_PAGE_KIB);
	line(out, "Hugetlb:", 0);
	pages_line(out, "DirectMap4k:", s->present - s->present_high);
	line(out, "DirectMap2M:", 0);
	line(out, "DirectMap1G:", 0);
}

void meminfo_show(FILE *out)
{
	const struct zone_sums s = sum_zones();

	show_totals(out, &s);
	show_uses(out);
	show_ranges(out);
	show_huge(out, &s);
}
