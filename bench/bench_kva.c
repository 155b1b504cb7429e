/* SPDX-License-Identifier: MIT */
/*
 * bench_kva.c - rows L: memory that is contiguous by address only, and G1 for areas
 *
 * What it is      L1 is vmalloc() and vfree() of 4 MiB again and again, the first word written: the
 *                 area that was freed comes back as it was, as the peers' block does.
 *                 L2 is first use: areas are made, each page is written, all are freed, and then
 *                 purged, so that the next ones are new again: frames from the buddy, a mapping by
 *                 the host, and its end. The peer asks the host for memory and touches it.
 * G1              What one area of a page costs with a million alive, next to a thousand; both are
 *                 purged after each round. Beyond the cap of mappings the host is not asked, which
 *                 makes the million cheaper. And the same for ranges with nothing in them: the
 *                 trees alone. All are freed in the order they were made; without any pattern in it
 *                 the million was measured at 2.5 us a range, nine times the thousand: each step
 *                 down two trees of 200 MiB misses the cache.
 */
#include "bench.h"
#include <karc/base/math.h>
#include <karc/mm/kva/vmalloc.h>
#include <stdlib.h>

#define MILLION		1000000ul
#define THOUSAND	1000ul
#define AREA_BYTES	(4ul << 20)

/* The compiler must believe that somebody looks at *@p here. */
#define SEEN(p)		__asm__ volatile("" : : "r"(p) : "memory")

static void again_run(void *state, unsigned long n)
{
	(void)state;
	while (n--) {
		char *p = vmalloc(AREA_BYTES);

		if (!p)
			abort();
		*(volatile u64 *)p = n;
		SEEN(p);
		vfree(p);
	}
}

/* ---- first use ---- */

/* 8 MiB of areas at a time, then they are purged. */
#define BATCH_PAGES	2048ul

static void touch_pages(volatile char *p, unsigned long nr_pages)
{
	for (unsigned long i = 0; i < nr_pages; i++)
		p[i * PAGE_SIZE] = 1;
}

static void first_use(unsigned long nr_pages, unsigned long n)
{
	void *area[BATCH_PAGES / 16];
	unsigned long batch = BATCH_PAGES / nr_pages, k;

	for (; n; n -= k) {
		for (k = 0; k < min(batch, n); k++) {
			area[k] = vmalloc(nr_pages * PAGE_SIZE);
			if (!area[k])
				abort();
			touch_pages(area[k], nr_pages);
		}
		for (unsigned long i = 0; i < k; i++)
			vfree(area[i]);
		vm_unmap_aliases();
	}
}

#define FIRST_USE(pages)						\
static void first_use_##pages##_run(void *state, unsigned long n)	\
{									\
	(void)state;							\
	first_use(pages, n);						\
}

FIRST_USE(16)
FIRST_USE(64)
FIRST_USE(256)
FIRST_USE(1024)

/* ---- growth ---- */

static void *many_begin(unsigned long n, const unsigned int *order)
{
	void **area = malloc(n * sizeof(*area));

	(void)order;
	if (!area)
		abort();
	return area;
}

static void many_end(void *state)
{
	free(state);
}

static void areas_by(void **area, unsigned long n, unsigned long live)
{
	for (; n >= live; n -= live) {
		for (unsigned long i = 0; i < live; i++) {
			area[i] = vmalloc(PAGE_SIZE);
			if (!area[i])
				abort();
		}
		for (unsigned long i = 0; i < live; i++)
			vfree(area[i]);
		vm_unmap_aliases();
	}
}

static void million_areas_run(void *state, unsigned long n)
{
	areas_by(state, n, n);
}

static void thousand_areas_run(void *state, unsigned long n)
{
	areas_by(state, n, THOUSAND);
}

static void ranges_by(void **area, unsigned long n, unsigned long live)
{
	for (; n >= live; n -= live) {
		for (unsigned long i = 0; i < live; i++) {
			area[i] = get_vm_area(PAGE_SIZE, VM_MAP);
			if (!area[i])
				abort();
		}
		for (unsigned long i = 0; i < live; i++)
			free_vm_area(area[i]);
		vm_unmap_aliases();
	}
}

static void million_ranges_run(void *state, unsigned long n)
{
	ranges_by(state, n, n);
}

static void thousand_ranges_run(void *state, unsigned long n)
{
	ranges_by(state, n, THOUSAND);
}

/* ---- rows ---- */

#define GOALS(...) (const struct bench_goal[]){ __VA_ARGS__, { { NULL }, 0, NULL } }

#define L2_ROW(pages, count)							\
	{ .id = "L2", .path = "vmalloc, first use, " #pages " pages",		\
	  .n = (count), .quick_n = 16, .slices = 2, .symbol = "map_touch_" #pages,	\
	  .ours = { .run = first_use_##pages##_run },				\
	  .goals = GOALS({ { "host" }, 0.65, NULL }) }

static const struct bench_row rows[] = {
	{ .id = "L1", .path = "vmalloc+vfree, 4 MiB, freed a moment ago",
	  .n = 20000, .quick_n = 100, .slices = 4, .symbol = "area_4m",
	  .ours = { .run = again_run },
	  .goals = GOALS({ { "mimalloc" }, 1.0, NULL }) },
	L2_ROW(16, 1024),
	L2_ROW(64, 256),
	L2_ROW(256, 64),
	L2_ROW(1024, 16),
	{ .id = "G1", .path = "an area, 1e6 alive, next to 1e3",
	  .n = MILLION, .quick_n = 2000, .slices = 1,
	  .ours = { many_begin, million_areas_run, many_end },
	  .base = { many_begin, thousand_areas_run, many_end },
	  .goals = GOALS({ { "bare" }, 2.0, NULL }) },
	{ .id = "G1", .path = "a bare range, 1e6 alive, next to 1e3",
	  .n = MILLION, .quick_n = 2000, .slices = 1,
	  .ours = { many_begin, million_ranges_run, many_end },
	  .base = { many_begin, thousand_ranges_run, many_end },
	  .goals = GOALS({ { "bare" }, 2.0, NULL }) },
};

const struct bench_unit bench_kva = {
	.name = "kva",
	.rows = rows,
	.nr_rows = ARRAY_SIZE(rows),
	.mem_bytes = 6ULL << 30,
};
