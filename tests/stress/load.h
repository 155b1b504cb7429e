/* SPDX-License-Identifier: MIT */
/*
 * load.h - memory of every allocator that says itself what it must contain
 *
 * A parcel begins with its own head; all bytes behind it follow from the seed in the head. It is
 * checked before it is freed, on whichever CPU that is: memory that two owners had at once, that
 * was written to after its free or that lost its end is found at its own address.
 */
#ifndef KARC_TESTS_STRESS_LOAD_H
#define KARC_TESTS_STRESS_LOAD_H

#include <stdlib.h>
#include <string.h>

#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/slab/kmalloc.h>
#include "storm.h"

enum parcel_kind { PARCEL_KMALLOC, PARCEL_CACHE, PARCEL_PAGES, PARCEL_VMALLOC, NR_PARCEL_KINDS };

struct parcel {
	u64 seed;
	u32 size;			/* bytes, this head included */
	u8 kind, order, cache;
	struct parcel *next;		/* whoever owns it */
};

#define LOAD_CACHES	3

/* What the workers of a test share to make parcels with. */
struct load {
	struct kmem_cache *cache[LOAD_CACHES];
	gfp_t gfp;			/* of what may sleep; a part is asked for with GFP_ATOMIC */
	bool may_fail;			/* the machine is too small on purpose */
	unsigned int vmalloc_in;	/* so many parcels to one of vmalloc(); 0: none */
	unsigned long nr_failed;	/* atomic */
};

static inline void load_init(struct load *l)
{
	static const unsigned int size[LOAD_CACHES] = { 40, 256, 1500 };
	static const slab_flags_t flags[LOAD_CACHES] = { 0, SLAB_HWCACHE_ALIGN, 0 };

	*l = (struct load){ .gfp = GFP_KERNEL, .vmalloc_in = 250 };
	for (unsigned int i = 0; i < LOAD_CACHES; i++) {
		l->cache[i] = kmem_cache_create("load", size[i], 0, flags[i], NULL);
		assert_non_null(l->cache[i]);
	}
}

/* Every object must be back. */
static inline void load_end(struct load *l)
{
	for (unsigned int i = 0; i < LOAD_CACHES; i++) {
		assert_int_equal(kmem_cache_live_objects(l->cache[i]), 0);
		kmem_cache_destroy(l->cache[i]);
	}
}

/* Small sizes are frequent, and each power of two down from 16 KiB is half as frequent. */
static inline u32 load_size(struct rnd *rnd)
{
	u32 bits = 5 + (u32)__builtin_ctz(rnd_u32(rnd) | 1u << 9);

	return (u32)sizeof(struct parcel) + rnd_below(rnd, 1u << bits);
}

static inline struct parcel *parcel_memory(struct load *l, struct parcel *p, gfp_t gfp)
{
	struct page *page;

	switch (p->kind) {
	case PARCEL_KMALLOC:
		return kmalloc(p->size, gfp);
	case PARCEL_CACHE:
		return kmem_cache_alloc(l->cache[p->cache], gfp);
	case PARCEL_PAGES:
		page = alloc_pages(gfp, p->order);
		return page ? page_address(page) : NULL;
	default:
		return vmalloc(p->size);
	}
}

static inline void parcel_fill(struct parcel *p)
{
	u8 *byte = (u8 *)(p + 1), *end = (u8 *)p + p->size;
	u64 state = p->seed, word;

	for (; byte + sizeof(word) <= end; byte += sizeof(word)) {
		word = state += 0x9e3779b97f4a7c15ULL;
		memcpy(byte, &word, sizeof(word));
	}
	memset(byte, (u8)p->seed, (size_t)(end - byte));
}

static inline void parcel_check(const struct parcel *p)
{
	const u8 *byte = (const u8 *)(p + 1), *end = (const u8 *)p + p->size;
	u64 state = p->seed, word;

	for (; byte + sizeof(word) <= end; byte += sizeof(word)) {
		memcpy(&word, byte, sizeof(word));
		state += 0x9e3779b97f4a7c15ULL;
		if (word != state)
			fail_msg("byte %zu of %u of a parcel of kind %u is wrong: 0x%llx",
				 (size_t)(byte - (const u8 *)p), p->size, p->kind,
				 (unsigned long long)word);
	}
	for (; byte < end; byte++)
		if (*byte != (u8)p->seed)
			fail_msg("the end of a parcel of %u bytes, kind %u, is wrong", p->size,
				 p->kind);
}

/* A new parcel, or NULL where the load may fail. */
static inline struct parcel *parcel_make(struct load *l, struct rnd *rnd)
{
	gfp_t gfp = rnd_chance(rnd, 1, 4) ? GFP_ATOMIC : l->gfp;
	struct parcel head = { .seed = rnd_u64(rnd), .size = load_size(rnd) }, *p;

	if (l->vmalloc_in && rnd_chance(rnd, 1, l->vmalloc_in)) {
		head.kind = PARCEL_VMALLOC;
		head.size += rnd_below(rnd, 5 * PAGE_SIZE);
		gfp = l->gfp;
	} else if (rnd_chance(rnd, 1, 3)) {
		head.kind = PARCEL_CACHE;
		head.cache = (u8)rnd_below(rnd, LOAD_CACHES);
		head.size = kmem_cache_size(l->cache[head.cache]);
	} else if (rnd_chance(rnd, 1, 40)) {
		head.kind = PARCEL_PAGES;
		head.order = (u8)rnd_below(rnd, 4);
		head.size = (u32)PAGE_SIZE << head.order;
	}
	p = parcel_memory(l, &head, l->may_fail ? gfp | __GFP_NOWARN : gfp);
	if (!p) {
		assert_true(l->may_fail);
		__atomic_fetch_add(&l->nr_failed, 1, __ATOMIC_RELAXED);
		return NULL;
	}
	*p = head;
	parcel_fill(p);
	return p;
}

/* Takes the parcel; NULL is ignored. */
static inline void parcel_end(struct load *l, struct parcel *p)
{
	if (!p)
		return;
	parcel_check(p);
	p->seed = 0;
	switch (p->kind) {
	case PARCEL_KMALLOC:
		kfree(p);
		break;
	case PARCEL_CACHE:
		kmem_cache_free(l->cache[p->cache], p);
		break;
	case PARCEL_PAGES:
		free_pages((unsigned long)p, p->order);
		break;
	default:
		vfree(p);
	}
}

/* So many times more work when KARC_TEST_LONG is set, and less where each access is watched. */
static inline unsigned int load_rounds(unsigned int usual)
{
	if (getenv("KARC_TEST_LONG"))
		return 50 * usual;
	return KARC_VARIANT == KARC_VARIANT_TSAN ? (usual + 2) / 3 : usual;
}

#endif
