/* SPDX-License-Identifier: MIT */
/*
 * bench_slab.c - rows A: memory by size and objects of a cache, and G1 for both
 *
 * What it is      The loops of peers/alloc.h, the same that the peers run, with kmalloc() and
 *                 kfree(), and some of them with a cache of 64-byte objects ("typed").
 *                 An object gets one word written. Statistics are on, as they are by default.
 * G1              What one object costs when a million are alive, next to a thousand: all are
 *                 allocated, then all freed in the order of allocation. The memory itself is not looked at
 *                 after it was written.
 * Waived          All with statistics on; figures of a quiet host first.
 *                 A1 typed and A8. callgrind counts 37 instructions for kmalloc(64) and kfree(), 25
 *                 typed: a loop of 20, what makes objects ready (a function call for 60 objects or
 *                 so), and 512 allocations that take the slow way until an array counts as busy.
 *                 Typed: 0.46 to 0.51 of tcmalloc. Fewer instructions change little: a loop of 18
 *                 (arrays found by a thread's variable) took 0.46. That each count has to go to
 *                 memory and back is a likely reason, not a measured one. The same code takes 0.70
 *                 to 0.82 where the loop begins elsewhere in a line of the cache, so loops here are
 *                 aligned as the peers' are. 128 objects made ready at once instead of 60: 34 and
 *                 23 instructions, 0.45, and batches of A4 a few percent dearer. One process
 *                 in ten takes 9 ns for LIFO of 64 bytes for as long as it runs, tcmalloc's as
 *                 well as ours. Sizes known only at run time are a call to allocate, 69 with the
 *                 table and the loop.
 *                 A3, 8 to 1024 bytes. 0.64 to 0.70. It is the host's TLB: on a host that makes no
 *                 large pages when it is asked (Linux before 6.1) it is 0.82 to 0.95.
 *                 A4, 8 to 1024 bytes. 0.93 to 0.99, seldom 1.4 for as long as a process runs. It
 *                 is the sizes of kmalloc's caches: stores to the first words of 1000 objects take
 *                 2.1 ns each where the objects lie by powers of two, for those of 1024 bytes
 *                 share 4 of the first cache's 64 sets, and 0.7 ns where they lie close together,
 *                 as tcmalloc's do. Sizes that are powers of two have to be aligned so. Where the
 *                 arrays lie decides over another 1 ns of 6: best is apart, as malloc() puts them.
 *                 A7. 0.66 to 0.87, to 0.95 beside other programs, which take a CPU from one of
 *                 two.
 *                 G1, objects. 3.7 to 3.9: 16 to 17.5 ns and 4.4. The loop without an allocator, one word written
 *                 to each of a million lines in a row and their addresses kept and read back,
 *                 takes 10.4 to 11.6 ns where a thousand take 2.9, and 5.9 to 9.5 where the host
 *                 has large pages below the objects, but not below the addresses. The rest is
 *                 objects' way from slabs and back, which a thousand never go: a miss for each
 *                 slab's frame and free list. To ask for those beforehand gained less than one run
 *                 differs from the next.
 */
#include "bench.h"
#include <karc/base/math.h>
#include <karc/mm/slab/kmalloc_sized.h>
#include <stdlib.h>

#define MILLION		1000000ul

/* ---- by size ---- */

#define ALLOC_PATH(type, name)	static __maybe_unused type sized_##name
#define ALLOC_CALL(name)	sized_##name
#define ALLOC_64()		kmalloc(64, GFP_KERNEL)
#define FREE_64(p)		kfree(p)
#define ALLOC(size)		kmalloc(size, GFP_KERNEL)
#define FREE(p)			kfree(p)
#include "peers/alloc.h"
#undef ALLOC_PATH
#undef ALLOC_CALL
#undef ALLOC_64
#undef FREE_64

/* ---- typed ---- */

struct object {
	u64 word[8];
};

/* One cache a machine: its machine is booted for each row. */
static struct kmem_cache *typed_cache(void)
{
	struct kmem_cache *cachep = KMEM_CACHE(object, 0);

	if (!cachep)
		abort();
	return cachep;
}

static void *typed_begin(unsigned long n, const unsigned int *order)
{
	(void)n, (void)order;
	return typed_cache();
}

static void typed_end(void *state)
{
	kmem_cache_destroy(state);
}

static void typed_run(void *state, unsigned long n)
{
	struct kmem_cache *cachep = state;

	while (n--) {
		void *p = alloc_used(kmem_cache_alloc(cachep, GFP_KERNEL));

		ALLOC_SEEN(p);
		kmem_cache_free(cachep, p);
	}
}

static void known_run(void *state, unsigned long n)
{
	struct kmem_cache *cachep = state;

	while (n--) {
		void *p = alloc_used(kmem_cache_alloc(cachep, GFP_NOWAIT));

		ALLOC_SEEN(p);
		kmem_cache_free_known(cachep, p);
	}
}

/* ---- G1 ---- */

static void *grow_begin(unsigned long n, const unsigned int *order)
{
	(void)order;
	return alloc_state_new(64, 64, n);
}

static void grow_end(void *state)
{
	alloc_state_drop(state);
}

static void grow_by(struct alloc_state *s, unsigned long n, unsigned long live)
{
	for (; n >= live; n -= live) {
		for (unsigned long i = 0; i < live; i++)
			s->slot[i] = alloc_used(kmalloc(64, GFP_KERNEL));
		for (unsigned long i = 0; i < live; i++)
			kfree(s->slot[i]);
	}
}

static void grow_run(void *state, unsigned long n)
{
	grow_by(state, n, n);
}

static void grow_thousand_run(void *state, unsigned long n)
{
	grow_by(state, n, 1000);
}

static void caches_by(struct alloc_state *s, unsigned long n, unsigned long live)
{
	for (; n >= live; n -= live) {
		for (unsigned long i = 0; i < live; i++) {
			s->slot[i] = kmem_cache_create("grow", 64, 0, 0, NULL);
			if (!s->slot[i])
				abort();
		}
		for (unsigned long i = 0; i < live; i++)
			kmem_cache_destroy(s->slot[i]);
	}
}

static void caches_run(void *state, unsigned long n)
{
	caches_by(state, n, n);
}

static void caches_thousand_run(void *state, unsigned long n)
{
	caches_by(state, n, 1000);
}

/* ---- rows ---- */

#define ALL_FOUR { "glibc", "mimalloc", "jemalloc", "tcmalloc" }
#define GOALS(...) (const struct bench_goal[]){ __VA_ARGS__, { { NULL }, 0, NULL } }

#define SIZED(path) { sized_##path##_begin, sized_##path##_run, sized_##path##_end }

static const struct bench_row rows[] = {
	{ .id = "A1", .path = "LIFO, 64 bytes",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "lifo64",
	  .ours = { .run = sized_lifo64_run },
	  .goals = GOALS({ ALL_FOUR, 0.95, NULL }) },
	{ .id = "A1", .path = "LIFO, a cache of 64-byte objects",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "lifo64",
	  .ours = { typed_begin, typed_run, typed_end },
	  .goals = GOALS({ ALL_FOUR, 0.95, NULL }) },
	{ .id = "A1", .path = "LIFO, typed: free_known(), NOWAIT",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "lifo64",
	  .ours = { typed_begin, known_run, typed_end },
	  .goals = GOALS({ ALL_FOUR, 0.35,
			   "0.46 to 0.51; fewer instructions changed little: see above" }) },
	{ .id = "A2", .path = "LIFO, 8..1024 bytes",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "lifo_mixed",
	  .ours = SIZED(lifo_mixed),
	  .goals = GOALS({ { "tcmalloc" }, 1.2, NULL },
			 { { "glibc", "mimalloc", "jemalloc" }, 0.9, NULL }) },
	{ .id = "A3", .path = "replace 1 of 1e5, 64 bytes",
	  .n = MILLION, .quick_n = 2000, .slices = 2, .symbol = "random64",
	  .ours = SIZED(random64),
	  .goals = GOALS({ ALL_FOUR, 0.70, NULL }) },
	{ .id = "A3", .path = "replace 1 of 1e5, 8..1024 bytes",
	  .n = MILLION, .quick_n = 2000, .slices = 2, .symbol = "random_mixed",
	  .ours = SIZED(random_mixed),
	  .goals = GOALS({ ALL_FOUR, 0.80,
			   "0.82 to 0.95 where the host makes no large pages: TLB misses" }) },
	{ .id = "A4", .path = "batches of 1000 FIFO, 64 bytes",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "fifo64",
	  .ours = { .run = sized_fifo64_run },
	  .goals = GOALS({ ALL_FOUR, 1.0,
			   "0.76 quiet, to 1.08 beside other programs; the cause is not measured" }) },
	{ .id = "A4", .path = "batches of 1000 FIFO, 8..1024 B",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "fifo_mixed",
	  .ours = SIZED(fifo_mixed),
	  .goals = GOALS({ ALL_FOUR, 0.95,
			   "0.93 to 0.99: sizes of powers of two share sets of the cache" }) },
	{ .id = "A5", .path = "LIFO, 64 bytes, 2 CPUs",
	  .n = 500000, .quick_n = 2000, .slices = 4, .threads = 2, .symbol = "lifo64",
	  .ours = { .run = sized_lifo64_run },
	  .goals = GOALS({ ALL_FOUR, 1.1, NULL }) },
	{ .id = "A5", .path = "LIFO, 8..1024 bytes, 2 CPUs",
	  .n = 500000, .quick_n = 2000, .slices = 4, .threads = 2, .symbol = "lifo_mixed",
	  .ours = SIZED(lifo_mixed),
	  .goals = GOALS({ ALL_FOUR, 1.1, NULL }) },
	{ .id = "A5", .path = "replace 1 of 1e5, 64 B, 2 CPUs",
	  .n = MILLION, .quick_n = 2000, .slices = 2, .threads = 2, .symbol = "random64_two",
	  .ours = SIZED(random64_two),
	  .goals = GOALS({ ALL_FOUR, 1.1, NULL }) },
	{ .id = "A5", .path = "batches of 1000 FIFO, 64 B, 2 CPUs",
	  .n = 500000, .quick_n = 2000, .slices = 4, .threads = 2, .symbol = "fifo64",
	  .ours = { .run = sized_fifo64_run },
	  .goals = GOALS({ ALL_FOUR, 1.1, NULL }) },
	{ .id = "A6", .path = "64 bytes, freed by another CPU",
	  .n = 500000, .quick_n = 2000, .slices = 4, .threads = 2, .symbol = "handover",
	  .ours = SIZED(handover),
	  .goals = GOALS({ ALL_FOUR, 0.30, NULL }) },
	{ .id = "A7", .path = "as larson, 10..500 bytes, 2 CPUs",
	  .n = MILLION, .quick_n = 2000, .slices = 4, .threads = 2, .symbol = "larson",
	  .ours = SIZED(larson),
	  .goals = GOALS({ ALL_FOUR, 0.90,
			   "0.66 to 0.87; to 0.95 beside programs that take a CPU" }) },
	{ .id = "A8", .path = "instructions, 64 bytes", .kind = BENCH_COUNT,
	  .n = 100000, .symbol = "lifo64", .ours = { .run = sized_lifo64_run },
	  .goals = GOALS({ ALL_FOUR, 34,
			   "37: some 5 of them make objects ready" }) },
	{ .id = "A8", .path = "instructions, 8..1024 bytes",
	  .kind = BENCH_COUNT, .n = 100000, .symbol = "lifo_mixed", .ours = SIZED(lifo_mixed),
	  .goals = GOALS({ ALL_FOUR, 34,
			   "69: a call and a table; tcmalloc takes 81" }) },
	{ .id = "A8", .path = "instructions, a cache's objects", .kind = BENCH_COUNT,
	  .n = 100000, .symbol = "lifo64",
	  .ours = { typed_begin, typed_run, typed_end },
	  .goals = GOALS({ ALL_FOUR, 34,
			   "40: the frame is looked at, and the cache compared" }) },
	{ .id = "A8", .path = "instructions, typed: free_known()", .kind = BENCH_COUNT,
	  .n = 100000, .symbol = "lifo64",
	  .ours = { typed_begin, known_run, typed_end },
	  .goals = GOALS({ ALL_FOUR, 18,
			   "25: some 5 of them make objects ready" }) },
	{ .id = "G1", .path = "an object, 1e6 alive, next to 1e3",
	  .n = MILLION, .quick_n = 2000, .slices = 1,
	  .ours = { grow_begin, grow_run, grow_end },
	  .base = { grow_begin, grow_thousand_run, grow_end },
	  .goals = GOALS({ { "bare" }, 2.0,
			   "it is memory: see the theory statement" }) },
	{ .id = "G1", .path = "a cache, 2e4 alive, next to 1e3",
	  .n = 20000, .quick_n = 2000, .slices = 1,
	  .ours = { grow_begin, caches_run, grow_end },
	  .base = { grow_begin, caches_thousand_run, grow_end },
	  .goals = GOALS({ { "bare" }, 2.0, NULL }) },
};

const struct bench_unit bench_slab = {
	.name = "slab",
	.rows = rows,
	.nr_rows = ARRAY_SIZE(rows),
	.mem_bytes = 1ULL << 30,
};
