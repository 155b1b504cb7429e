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
 * Waived          All with statistics on, measured on a host whose CPUs were shared by a dozen
 *                 others, so that rows of two threads spread by a factor of two and more.
 *                 A1 typed and A8. callgrind counts 31 instructions in the loop of kmalloc(64) and
 *                 kfree(), 22 in the typed one; of those 5 and 3 are the loop's and the object's
 *                 word. The rest, to 41 and 29, is what makes objects ready, a function call for
 *                 60 objects or so, and 512 allocations that take the slow way until an array
 *                 counts as busy. What the loop could lose is the look at preemption, interrupts
 *                 and pending work (4), and the frame's class (9 in kfree). Typed: 0.48 of
 *                 tcmalloc.
 *                 Sizes known only at run time are a call each way, 87 with the table and the loop.
 *                 A3, 8 to 1024 bytes. 0.85 to 1.0 of tcmalloc, where 64 bytes are at 0.58 with
 *                 the same loop: 1e5 objects take 68 MB in classes that are powers of two, and
 *                 what is waited for is their memory.
 *                 A4. 0.97 to 1.08 and 1.01 of the best: 1000 objects at once are more than an
 *                 array and what is ready hold, so each batch goes through the spare twice.
 *                 A6, A7. 0.27 to 0.45 and 0.70 to 1.24 in runs of the same program.
 *                 G1, objects. 5.6. The loop without an allocator, one word written to each of a
 *                 million lines in a row and their addresses kept and read back, takes 12.2 ns
 *                 where a thousand take 3.3: it is memory.
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
	{ .id = "A1", .path = "kmalloc+kfree, last in first out, 64 bytes",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "lifo64",
	  .ours = { .run = sized_lifo64_run },
	  .goals = GOALS({ ALL_FOUR, 0.95, NULL }) },
	{ .id = "A1", .path = "the same from a cache of 64-byte objects",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "lifo64",
	  .ours = { typed_begin, typed_run, typed_end },
	  .goals = GOALS({ ALL_FOUR, 0.95, NULL }) },
	{ .id = "A1", .path = "the same, typed: free_known(), GFP_NOWAIT",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "lifo64",
	  .ours = { typed_begin, known_run, typed_end },
	  .goals = GOALS({ ALL_FOUR, 0.35, 
			   "0.48; 22 instructions in the loop, 7 to make objects ready" }) },
	{ .id = "A2", .path = "last in first out, 8 to 1024 bytes",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "lifo_mixed",
	  .ours = SIZED(lifo_mixed),
	  .goals = GOALS({ { "tcmalloc" }, 1.2, NULL },
			 { { "glibc", "mimalloc", "jemalloc" }, 0.9, NULL }) },
	{ .id = "A3", .path = "random replacement, 1e5 live, 64 bytes",
	  .n = MILLION, .quick_n = 2000, .slices = 2, .symbol = "random64",
	  .ours = SIZED(random64),
	  .goals = GOALS({ ALL_FOUR, 0.70, NULL }) },
	{ .id = "A3", .path = "random replacement, 1e5 live, 8 to 1024 bytes",
	  .n = MILLION, .quick_n = 2000, .slices = 2, .symbol = "random_mixed",
	  .ours = SIZED(random_mixed),
	  .goals = GOALS({ ALL_FOUR, 0.80, 
			   "0.85 to 1.0: 68 MB of objects, it waits for memory" }) },
	{ .id = "A4", .path = "batches of 1000, first in first out, 64 bytes",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "fifo64",
	  .ours = { .run = sized_fifo64_run },
	  .goals = GOALS({ ALL_FOUR, 1.0, 
			   "0.97 to 1.08: a batch goes through the spare twice" }) },
	{ .id = "A4", .path = "batches of 1000, first in first out, 8 to 1024 bytes",
	  .n = 200000, .quick_n = 2000, .slices = 8, .symbol = "fifo_mixed",
	  .ours = SIZED(fifo_mixed),
	  .goals = GOALS({ ALL_FOUR, 0.95, 
			   "1.01: a batch goes through the spare twice" }) },
	{ .id = "A5", .path = "last in first out, 64 bytes, 2 CPUs",
	  .n = 500000, .quick_n = 2000, .slices = 4, .threads = 2, .symbol = "lifo64",
	  .ours = { .run = sized_lifo64_run },
	  .goals = GOALS({ ALL_FOUR, 1.1, NULL }) },
	{ .id = "A5", .path = "last in first out, 8 to 1024 bytes, 2 CPUs",
	  .n = 500000, .quick_n = 2000, .slices = 4, .threads = 2, .symbol = "lifo_mixed",
	  .ours = SIZED(lifo_mixed),
	  .goals = GOALS({ ALL_FOUR, 1.1, NULL }) },
	{ .id = "A5", .path = "random replacement, 1e5 live, 64 bytes, 2 CPUs",
	  .n = MILLION, .quick_n = 2000, .slices = 2, .threads = 2, .symbol = "random64_two",
	  .ours = SIZED(random64_two),
	  .goals = GOALS({ ALL_FOUR, 1.1, NULL }) },
	{ .id = "A5", .path = "batches of 1000, first in first out, 64 bytes, 2 CPUs",
	  .n = 500000, .quick_n = 2000, .slices = 4, .threads = 2, .symbol = "fifo64",
	  .ours = { .run = sized_fifo64_run },
	  .goals = GOALS({ ALL_FOUR, 1.1, NULL }) },
	{ .id = "A6", .path = "one CPU allocates 64 bytes, another one frees",
	  .n = 500000, .quick_n = 2000, .slices = 4, .threads = 2, .symbol = "handover",
	  .ours = SIZED(handover),
	  .goals = GOALS({ ALL_FOUR, 0.30, 
			   "0.27 to 0.45, where other programs share the CPUs" }) },
	{ .id = "A7", .path = "as larson, 10 to 500 bytes, 2 CPUs",
	  .n = MILLION, .quick_n = 2000, .slices = 4, .threads = 2, .symbol = "larson",
	  .ours = SIZED(larson),
	  .goals = GOALS({ ALL_FOUR, 0.90, 
			   "0.70 to 1.24, where other programs share the CPUs" }) },
	{ .id = "A8", .path = "instructions of kmalloc+kfree, 64 bytes", .kind = BENCH_COUNT,
	  .n = 100000, .symbol = "lifo64", .ours = { .run = sized_lifo64_run },
	  .goals = GOALS({ ALL_FOUR, 34, 
			   "41: 31 in the loop, the rest makes objects ready" }) },
	{ .id = "A8", .path = "instructions of kmalloc+kfree, 8 to 1024 bytes",
	  .kind = BENCH_COUNT, .n = 100000, .symbol = "lifo_mixed", .ours = SIZED(lifo_mixed),
	  .goals = GOALS({ ALL_FOUR, 34, 
			   "87: two calls and a table; tcmalloc takes 81" }) },
	{ .id = "A8", .path = "instructions of a cache's alloc+free", .kind = BENCH_COUNT,
	  .n = 100000, .symbol = "lifo64",
	  .ours = { typed_begin, typed_run, typed_end },
	  .goals = GOALS({ ALL_FOUR, 34, 
			   "45: the frame is looked at, and the cache compared" }) },
	{ .id = "A8", .path = "instructions, typed: free_known(), GFP_NOWAIT", .kind = BENCH_COUNT,
	  .n = 100000, .symbol = "lifo64",
	  .ours = { typed_begin, known_run, typed_end },
	  .goals = GOALS({ ALL_FOUR, 18, 
			   "29: 22 in the loop, the rest makes objects ready" }) },
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
