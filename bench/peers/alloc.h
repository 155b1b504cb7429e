/* SPDX-License-Identifier: MIT */
/*
 * alloc.h - the paths of allocators, the same loops for all of them and for us
 *
 * Included by each peer, and by the rows of karc once for each way, after
 *
 *	ALLOC_PATH(type, name)	head of a function: its type, what it is called, how it is exported
 *	ALLOC_CALL(name)	what it is called
 *	ALLOC_64()		64 bytes
 *	ALLOC(size)		a size known only when it runs
 *	FREE_64(p), FREE(p)	back
 *
 * so that a way is nothing but what is behind those. An object gets one word written, since nobody
 * allocates what he does not use. The state of a path is the C library's, whoever is measured.
 * Paths of two threads call run() once in each; who is who says a ticket.
 */
#ifndef KARC_BENCH_ALLOC_H
#define KARC_BENCH_ALLOC_H

#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NR_SIZES	4096u		/* a power of two */
#define BATCH		1000u
#define LIVE		100000u
#define RING		16u		/* batches on their way */
#define RING_BATCH	100u
#define NR_TABLES	3u		/* two in work, one in between */
#define TABLE		1000u
#define HANDS_ON	10000u

#define ALLOC_SEEN(p)	__asm__ volatile("" : : "r"(p) : "memory")

/* What is in use, and what random numbers come from. */
struct table {
	void *slot[TABLE];
};

struct ring_batch {
	void *slot[RING_BATCH];
};

struct alloc_state {
	uint16_t size[NR_SIZES];
	unsigned int ticket;
	unsigned long filled __attribute__((aligned(64)));
	unsigned long emptied __attribute__((aligned(64)));
	struct ring_batch ring[RING] __attribute__((aligned(64)));
	struct table table[NR_TABLES];
	struct table *between;
	unsigned long nr_slots;
	void **slot;
};

static inline uint32_t alloc_random(uint32_t *seed)
{
	uint32_t x = *seed;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	*seed = x;
	return x;
}

/* Not by the allocator that is measured, nor by one that stands for malloc() here. */
static inline void *alloc_host(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

/* Sizes from @least to @most, each as likely as any other. */
static inline struct alloc_state *alloc_state_new(unsigned int least, unsigned int most,
						  unsigned long nr_slots)
{
	struct alloc_state *s = (struct alloc_state *)alloc_host(sizeof(*s));
	uint32_t seed = 2463534242u;

	for (unsigned int i = 0; i < NR_SIZES; i++)
		s->size[i] = (uint16_t)(least + alloc_random(&seed) % (most - least + 1));
	s->nr_slots = nr_slots;
	if (nr_slots)
		s->slot = (void **)alloc_host(nr_slots * sizeof(void *));
	return s;
}

static inline void alloc_state_drop(struct alloc_state *s)
{
	if (s->nr_slots)
		munmap(s->slot, s->nr_slots * sizeof(void *));
	munmap(s, sizeof(*s));
}

static __attribute__((always_inline)) inline void *alloc_used(void *p)
{
	if (__builtin_expect(!p, 0))
		abort();
	*(volatile uint64_t *)p = 1;
	return p;
}

static inline void alloc_pause(unsigned int *waited)
{
	if (++*waited % 64 == 0)
		sched_yield();
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

#endif

/* ---- last in, first out: one object at a time ---- */

ALLOC_PATH(void, lifo64_run)(void *state, unsigned long n)
{
	(void)state;
	while (n--) {
		void *p = alloc_used(ALLOC_64());

		ALLOC_SEEN(p);
		FREE_64(p);
	}
}

ALLOC_PATH(void *, lifo_mixed_begin)(unsigned long n, const unsigned int *order)
{
	(void)n, (void)order;
	return alloc_state_new(8, 1024, 0);
}

ALLOC_PATH(void, lifo_mixed_run)(void *state, unsigned long n)
{
	struct alloc_state *s = (struct alloc_state *)state;

	while (n--) {
		void *p = alloc_used(ALLOC(s->size[n % NR_SIZES]));

		ALLOC_SEEN(p);
		FREE(p);
	}
}

ALLOC_PATH(void, lifo_mixed_end)(void *state)
{
	alloc_state_drop((struct alloc_state *)state);
}

/* ---- random replacement with many alive ---- */

ALLOC_PATH(void *, random64_begin)(unsigned long n, const unsigned int *order)
{
	struct alloc_state *s = alloc_state_new(64, 64, LIVE);

	(void)n, (void)order;
	for (unsigned long i = 0; i < LIVE; i++)
		s->slot[i] = alloc_used(ALLOC_64());
	return s;
}

/* Threads share nothing but the allocator: each has its half of the slots. */
ALLOC_PATH(void, random64_run)(void *state, unsigned long n)
{
	struct alloc_state *s = (struct alloc_state *)state;
	unsigned int id = __atomic_fetch_add(&s->ticket, 1, __ATOMIC_RELAXED) & 1;
	void **slot = s->slot + id * (LIVE / 2);
	uint32_t seed = 88172645u + id, nr = s->emptied ? LIVE / 2 : LIVE;

	while (n--) {
		unsigned long i = (uint64_t)alloc_random(&seed) * nr >> 32;

		FREE_64(slot[i]);
		slot[i] = alloc_used(ALLOC_64());
	}
}

ALLOC_PATH(void, random64_end)(void *state)
{
	struct alloc_state *s = (struct alloc_state *)state;

	for (unsigned long i = 0; i < LIVE; i++)
		FREE_64(s->slot[i]);
	alloc_state_drop(s);
}

ALLOC_PATH(void *, random64_two_begin)(unsigned long n, const unsigned int *order)
{
	struct alloc_state *s = (struct alloc_state *)ALLOC_CALL(random64_begin)(n, order);

	s->emptied = 1;		/* two of them */
	return s;
}

ALLOC_PATH(void, random64_two_run)(void *state, unsigned long n)
{
	ALLOC_CALL(random64_run)(state, n);
}

ALLOC_PATH(void, random64_two_end)(void *state)
{
	ALLOC_CALL(random64_end)(state);
}

ALLOC_PATH(void *, random_mixed_begin)(unsigned long n, const unsigned int *order)
{
	struct alloc_state *s = alloc_state_new(8, 1024, LIVE);

	(void)n, (void)order;
	for (unsigned long i = 0; i < LIVE; i++)
		s->slot[i] = alloc_used(ALLOC(s->size[i % NR_SIZES]));
	return s;
}

ALLOC_PATH(void, random_mixed_run)(void *state, unsigned long n)
{
	struct alloc_state *s = (struct alloc_state *)state;
	uint32_t seed = 88172645u;

	while (n--) {
		unsigned long i = (uint64_t)alloc_random(&seed) * LIVE >> 32;

		FREE(s->slot[i]);
		s->slot[i] = alloc_used(ALLOC(s->size[n % NR_SIZES]));
	}
}

ALLOC_PATH(void, random_mixed_end)(void *state)
{
	struct alloc_state *s = (struct alloc_state *)state;

	for (unsigned long i = 0; i < LIVE; i++)
		FREE(s->slot[i]);
	alloc_state_drop(s);
}

/* ---- batches, first in, first out; each thread for itself ---- */

ALLOC_PATH(void, fifo64_run)(void *state, unsigned long n)
{
	void *slot[BATCH];

	(void)state;
	for (; n >= BATCH; n -= BATCH) {
		for (unsigned int i = 0; i < BATCH; i++)
			slot[i] = alloc_used(ALLOC_64());
		for (unsigned int i = 0; i < BATCH; i++)
			FREE_64(slot[i]);
	}
}

ALLOC_PATH(void *, fifo_mixed_begin)(unsigned long n, const unsigned int *order)
{
	(void)n, (void)order;
	return alloc_state_new(8, 1024, 0);
}

ALLOC_PATH(void, fifo_mixed_run)(void *state, unsigned long n)
{
	struct alloc_state *s = (struct alloc_state *)state;
	void *slot[BATCH];

	for (; n >= BATCH; n -= BATCH) {
		for (unsigned int i = 0; i < BATCH; i++)
			slot[i] = alloc_used(ALLOC(s->size[(n + i) % NR_SIZES]));
		for (unsigned int i = 0; i < BATCH; i++)
			FREE(slot[i]);
	}
}

ALLOC_PATH(void, fifo_mixed_end)(void *state)
{
	alloc_state_drop((struct alloc_state *)state);
}

/* ---- one thread allocates, another one frees ---- */

ALLOC_PATH(void *, handover_begin)(unsigned long n, const unsigned int *order)
{
	(void)n, (void)order;
	return alloc_state_new(64, 64, 0);
}

static inline void ALLOC_CALL(produce)(struct alloc_state *s, unsigned long nr_batches)
{
	unsigned int waited = 0;

	for (unsigned long b = 0; b < nr_batches; b++) {
		struct ring_batch *batch = &s->ring[b % RING];

		while (b - __atomic_load_n(&s->emptied, __ATOMIC_ACQUIRE) >= RING)
			alloc_pause(&waited);
		for (unsigned int i = 0; i < RING_BATCH; i++)
			batch->slot[i] = alloc_used(ALLOC_64());
		__atomic_store_n(&s->filled, b + 1, __ATOMIC_RELEASE);
	}
}

static inline void ALLOC_CALL(consume)(struct alloc_state *s, unsigned long nr_batches)
{
	unsigned int waited = 0;

	for (unsigned long b = 0; b < nr_batches; b++) {
		struct ring_batch *batch = &s->ring[b % RING];

		while (__atomic_load_n(&s->filled, __ATOMIC_ACQUIRE) <= b)
			alloc_pause(&waited);
		for (unsigned int i = 0; i < RING_BATCH; i++)
			FREE_64(batch->slot[i]);
		__atomic_store_n(&s->emptied, b + 1, __ATOMIC_RELEASE);
	}
}

ALLOC_PATH(void, handover_run)(void *state, unsigned long n)
{
	struct alloc_state *s = (struct alloc_state *)state;

	if (__atomic_fetch_add(&s->ticket, 1, __ATOMIC_RELAXED) & 1)
		ALLOC_CALL(produce)(s, n / RING_BATCH);
	else
		ALLOC_CALL(consume)(s, n / RING_BATCH);
}

ALLOC_PATH(void, handover_end)(void *state)
{
	alloc_state_drop((struct alloc_state *)state);
}

/* ---- as larson: random replacement, and what is in use changes hands now and then ---- */

ALLOC_PATH(void *, larson_begin)(unsigned long n, const unsigned int *order)
{
	struct alloc_state *s = alloc_state_new(10, 500, 0);

	(void)n, (void)order;
	for (unsigned int t = 0; t < NR_TABLES; t++) {
		for (unsigned int i = 0; i < TABLE; i++)
			s->table[t].slot[i] = alloc_used(ALLOC(s->size[i % NR_SIZES]));
	}
	s->between = &s->table[2];
	return s;
}

ALLOC_PATH(void, larson_run)(void *state, unsigned long n)
{
	struct alloc_state *s = (struct alloc_state *)state;
	unsigned int id = __atomic_fetch_add(&s->ticket, 1, __ATOMIC_RELAXED) & 1;
	struct table *t = &s->table[id];
	uint32_t seed = 88172645u + id;

	for (unsigned long k = 1; k <= n; k++) {
		unsigned int i = (unsigned int)((uint64_t)alloc_random(&seed) * TABLE >> 32);

		FREE(t->slot[i]);
		t->slot[i] = alloc_used(ALLOC(s->size[(k + seed) % NR_SIZES]));
		if (k % HANDS_ON == 0)
			t = __atomic_exchange_n(&s->between, t, __ATOMIC_ACQ_REL);
	}
}

ALLOC_PATH(void, larson_end)(void *state)
{
	struct alloc_state *s = (struct alloc_state *)state;

	for (unsigned int t = 0; t < NR_TABLES; t++) {
		for (unsigned int i = 0; i < TABLE; i++)
			FREE(s->table[t].slot[i]);
	}
	alloc_state_drop(s);
}
