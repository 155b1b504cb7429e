/* SPDX-License-Identifier: MIT */
/*
 * bench_phys.c - rows P: single frames
 *
 * What it is      P1 is what the allocators do with 4 KiB: one taken, written to and given back; or
 *                 1024 of them taken, one word of each written, then given back in the order
 *                 they were taken. Ours are alloc_page(GFP_KERNEL), the frame's address in the
 *                 direct map, and __free_page(); statistics are on.
 *                 The machine has 8 GiB, so that a CPU's list holds 2300 frames (Linux's rule: all
 *                 CPUs together as many as the zone's low mark); the host has to give what is
 *                 touched only.
 *                 P2 is the same with __GFP_ZERO next to a memset of one page over and over.
 */
#include "bench.h"
#include <karc/base/math.h>
#include <karc/mm/phys/page_alloc.h>
#include <stdlib.h>
#include <string.h>

#define BATCH		1024ul

/* The compiler must believe that somebody looks at *@p here. */
#define SEEN(p)		__asm__ volatile("" : : "r"(p) : "memory")

static void lifo_run(void *state, unsigned long n)
{
	(void)state;
	while (n--) {
		struct page *page = alloc_page(GFP_KERNEL);

		if (unlikely(!page))
			abort();
		*(volatile unsigned long *)page_to_virt(page) = n;
		__free_page(page);
	}
}

static void batch_run(void *state, unsigned long n)
{
	struct page *page[BATCH];

	(void)state;
	for (; n >= BATCH; n -= BATCH) {
		for (unsigned long i = 0; i < BATCH; i++) {
			page[i] = alloc_page(GFP_KERNEL);
			if (unlikely(!page[i]))
				abort();
			*(volatile unsigned long *)page_to_virt(page[i]) = i;
		}
		for (unsigned long i = 0; i < BATCH; i++)
			__free_page(page[i]);
	}
}

static void zeroed_run(void *state, unsigned long n)
{
	(void)state;
	while (n--) {
		struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);

		if (unlikely(!page))
			abort();
		SEEN(page_to_virt(page));
		__free_page(page);
	}
}

static void *memset_begin(unsigned long n, const unsigned int *order)
{
	(void)n, (void)order;
	return alloc_page(GFP_KERNEL);
}

static void memset_run(void *state, unsigned long n)
{
	void *virt = page_to_virt(state);

	while (n--) {
		memset(virt, 0, PAGE_SIZE);
		SEEN(virt);
	}
}

static void memset_end(void *state)
{
	__free_page((struct page *)state);
}

#define ALLOCATORS	{ "glibc", "mimalloc", "jemalloc", "tcmalloc" }
#define END		{ .limit = 0 }

static const struct bench_goal lifo_goals[] = {
	{ .peers = ALLOCATORS, .limit = 0.95 },
	END,
};

static const struct bench_goal batch_goals[] = {
	{ .peers = ALLOCATORS, .limit = 0.60 },
	END,
};

static const struct bench_goal zero_goals[] = {
	{ .peers = { "bare" }, .limit = 1.25 },
	END,
};

static const struct bench_goal count_goals[] = {
	{ .peers = { "c11" }, .limit = 80 },
	END,
};

static const struct bench_row rows[] = {
	{
		.id = "P1", .path = "alloc_page+free_page, LIFO", .n = 50000, .quick_n = 1000,
		.slices = 20, .symbol = "page_lifo", .goals = lifo_goals,
		.ours = { .run = lifo_run },
	}, {
		.id = "P1", .path = "alloc_page+free_page, 1024 touched", .n = 8 * BATCH,
		.quick_n = BATCH, .slices = 20, .symbol = "page_batch", .goals = batch_goals,
		.ours = { .run = batch_run },
	}, {
		.id = "P1", .path = "instructions of alloc_page+free_page", .kind = BENCH_COUNT,
		.n = 10000, .goals = count_goals, .ours = { .run = lifo_run },
	}, {
		.id = "P2", .path = "zeroed page", .n = 5000, .quick_n = 500, .slices = 20,
		.goals = zero_goals, .ours = { .run = zeroed_run },
		.base = { memset_begin, memset_run, memset_end },
	},
};

const struct bench_unit bench_phys = {
	.name = "phys",
	.rows = rows,
	.nr_rows = ARRAY_SIZE(rows),
	.mem_bytes = 8ul << 30,
};
