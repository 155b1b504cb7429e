/* SPDX-License-Identifier: MIT */
/*
 * slab.h - caches of objects of one size: the SLAB design of Linux 5.10 to 6.1
 *
 * A slab is a block of frames cut into objects. Each CPU keeps an array of free objects per
 * cache, so that most calls take no lock and no atomic operation; behind it a shared array per
 * node, behind that the slabs themselves, behind them the buddy allocator.
 */
#ifndef KARC_MM_SLAB_SLAB_H
#define KARC_MM_SLAB_SLAB_H

#include <stdio.h>

#include <karc/base/array_cache.h>
#include <karc/base/site.h>
#include <karc/hw/spinlock.h>
#include <karc/mm/gfp.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/phys/zone.h>
#include <karc/refcount/dtor.h>

#define SLAB_CONSISTENCY_CHECKS	((slab_flags_t)0x00000100u)
#define SLAB_RED_ZONE		((slab_flags_t)0x00000400u)	/* a guard word after each object */
#define SLAB_POISON		((slab_flags_t)0x00000800u)	/* free objects carry a pattern */
#define SLAB_HWCACHE_ALIGN	((slab_flags_t)0x00002000u)
#define SLAB_CACHE_DMA		((slab_flags_t)0x00004000u)	/* slabs from ZONE_DMA */
#define SLAB_CACHE_DMA32	((slab_flags_t)0x00008000u)
#define SLAB_STORE_USER		((slab_flags_t)0x00010000u)	/* remember each object's sites */
#define SLAB_RECLAIM_ACCOUNT	((slab_flags_t)0x00020000u)
#define SLAB_PANIC		((slab_flags_t)0x00040000u)	/* BUG if it cannot be created */
#define SLAB_TYPESAFE_BY_RCU	((slab_flags_t)0x00080000u)	/* slabs go after a grace period */
#define SLAB_MEM_SPREAD		((slab_flags_t)0x00100000u)	/* accepted, does nothing */
#define SLAB_TRACE		((slab_flags_t)0x00200000u)	/* accepted, does nothing */
#define SLAB_NOLEAKTRACE	((slab_flags_t)0x00800000u)	/* accepted, does nothing */
#define SLAB_ACCOUNT		((slab_flags_t)0x04000000u)	/* accepted, charges nobody */
#define SLAB_TEMPORARY		SLAB_RECLAIM_ACCOUNT

/* What kmalloc(0) gives: may be freed, must not be read. */
#define ZERO_SIZE_PTR		((void *)16)
#define ZERO_OR_NULL_PTR(x)	((unsigned long)(x) <= (unsigned long)ZERO_SIZE_PTR)

#define ARCH_KMALLOC_MINALIGN	8
#define ARCH_SLAB_MINALIGN	8

/* A cache's slabs of one node. */
struct kmem_cache_node {
	spinlock_t list_lock;
	/* list_lock */
	struct list_head slabs_partial;	/* partial first: keeps full and free ones apart */
	struct list_head slabs_full;
	struct list_head slabs_free;
	unsigned long total_slabs;
	unsigned long free_slabs;
	unsigned long free_objects;	/* on slabs; those in arrays count as used */
	unsigned int free_limit;	/* more than this and empty slabs go back */
	unsigned int colour_next;
	struct array_cache *shared;	/* NULL until first used */
};

struct slab_state;

struct kmem_cache {
	/* line 0: read by every call */
	unsigned int debug;		/* not 0: the calls take the checked road */
	unsigned int object_size;	/* what users may use of each object */
	unsigned int size;		/* from one object to the next */
	u32 reciprocal_size;
	slab_flags_t flags;
	unsigned int num;		/* objects per slab */
	unsigned int gfporder;
	gfp_t allocflags;
	unsigned int limit, batchcount, shared;	/* of the arrays */
	unsigned short kmalloc_class;	/* 1 + index into kmalloc's table; 0: another cache */
	bool destroyed;			/* kmem_cache_destroy() found live objects */
	struct { void (*ctor)(void *obj); };

	unsigned int align;
	unsigned int colour;		/* different offsets of the first object */
	unsigned int colour_off;	/* bytes from one to the next */
	unsigned int freelist_bytes;
	struct kmem_cache *freelist_cache;	/* NULL: the free list is on the slab */
	unsigned int useroffset, usersize;
	char *name;
	const struct site *site;	/* where it was created */
	struct slab_state *state;
	struct list_head list;		/* slab_mutex */
	struct kmem_cache_node *node[MAX_NUMNODES];
	struct array_cache *cpu_cache[];	/* by CPU */
};

#define OFF_SLAB(cachep) ((cachep)->freelist_cache != NULL)

/**
 * kmem_cache_create - a new cache of objects of @size bytes
 * @name:  copied; for reports and slabinfo
 * @align: of each object; 0 means a pointer's
 * @flags: SLAB_*
 * @ctor:  NULL, or called once on each object when its slab is made; it must not sleep. Whoever
 *         frees an object leaves it as the ctor made it
 *
 * Gives:   the cache; end it with kmem_cache_destroy().
 * Context: may sleep.
 * Errors:  NULL: no memory, no name, a size above KMALLOC_MAX_SIZE, an impossible alignment.
 * Model:   Linux 6.1; caches are never merged.
 */
KARC_MUST_CHECK struct kmem_cache *kmem_cache_create_site(const char *name, unsigned int size,
							  unsigned int align,
							  slab_flags_t flags,
							  void (*ctor)(void *obj),
							  const struct site *site);
#define kmem_cache_create(name, size, align, flags, ctor) \
	kmem_cache_create_site(name, size, align, flags, ctor, SITE())

/* The same, and bytes [useroffset, useroffset + usersize) may be copied to and from users. */
KARC_MUST_CHECK struct kmem_cache *kmem_cache_create_usercopy_site(
	const char *name, unsigned int size, unsigned int align, slab_flags_t flags,
	unsigned int useroffset, unsigned int usersize, void (*ctor)(void *obj),
	const struct site *site);
#define kmem_cache_create_usercopy(name, size, align, flags, useroffset, usersize, ctor) \
	kmem_cache_create_usercopy_site(name, size, align, flags, useroffset, usersize, ctor, \
					SITE())

/* A cache named and aligned as struct @s. */
#define KMEM_CACHE(s, flags) \
	kmem_cache_create(#s, sizeof(struct s), __alignof__(struct s), (flags), NULL)

/**
 * kmem_cache_destroy - end of a cache that has no live objects
 *
 * Takes:   the cache; NULL is ignored. With live objects it warns, names them, and the cache stays
 *          until shutdown so that they can still be freed. A cache that is not (or no longer)
 *          alive is reported and left alone.
 * Context: may sleep; waits for a grace period with SLAB_TYPESAFE_BY_RCU.
 */
void kmem_cache_destroy(struct kmem_cache *cachep);

/* Free objects of all CPUs to their slabs, empty slabs to the buddy. 0: no slab is left. */
int kmem_cache_shrink(struct kmem_cache *cachep);

/* The same for all caches, for reclaim: returns frames given back; 0 while caches are made. */
unsigned long kmem_cache_shrink_all(void);

/**
 * kmem_cache_alloc - one object
 *
 * Gives:   the object; end it with kmem_cache_free().
 * Context: any if @gfp lacks __GFP_DIRECT_RECLAIM; otherwise may sleep.
 * Errors:  NULL; nothing changed.
 * Model:   Linux 6.1.
 */
KARC_MUST_CHECK void *kmem_cache_alloc_site(struct kmem_cache *cachep, gfp_t gfp,
					    const struct site *site);
KARC_MUST_CHECK void *(kmem_cache_alloc)(struct kmem_cache *cachep, gfp_t gfp);
#define kmem_cache_alloc(cachep, gfp) kmem_cache_alloc_site(cachep, gfp, SITE())
#define kmem_cache_zalloc(cachep, gfp) kmem_cache_alloc(cachep, (gfp) | __GFP_ZERO)
#define kmem_cache_alloc_lru(cachep, lru, gfp) ((void)(lru), kmem_cache_alloc(cachep, gfp))
#define kmem_cache_alloc_node(cachep, gfp, node) ((void)(node), kmem_cache_alloc(cachep, gfp))

/**
 * kmem_cache_free - give an object back
 *
 * Takes:   the object; NULL is ignored with a warning.
 * Context: any.
 * Errors:  an object of another cache is reported and freed to its own. What is no object at all,
 *          lies inside one, or is free already (where the cache is checked) is reported and left
 *          alone.
 */
void kmem_cache_free_site(struct kmem_cache *cachep, void *obj, const struct site *site);
void (kmem_cache_free)(struct kmem_cache *cachep, void *obj);
#define kmem_cache_free(cachep, obj) kmem_cache_free_site(cachep, obj, SITE())

/* All @nr or none: returns @nr or 0. */
KARC_MUST_CHECK int kmem_cache_alloc_bulk_site(struct kmem_cache *cachep, gfp_t gfp, size_t nr,
					       void **p, const struct site *site);
#define kmem_cache_alloc_bulk(cachep, gfp, nr, p) \
	kmem_cache_alloc_bulk_site(cachep, gfp, nr, p, SITE())

/* @cachep NULL: each object to the cache it is from (kfree_bulk). */
void kmem_cache_free_bulk_site(struct kmem_cache *cachep, size_t nr, void **p,
			       const struct site *site);
#define kmem_cache_free_bulk(cachep, nr, p) kmem_cache_free_bulk_site(cachep, nr, p, SITE())
#define kfree_bulk(nr, p) kmem_cache_free_bulk(NULL, nr, p)

unsigned int kmem_cache_size(const struct kmem_cache *cachep);
const char *kmem_cache_name(const struct kmem_cache *cachep);

/* Objects that users hold now; exact while nobody allocates. */
unsigned long kmem_cache_live_objects(struct kmem_cache *cachep);

/* Slabs the cache owns now, and frames per slab. */
unsigned long kmem_cache_nr_slabs(struct kmem_cache *cachep);

/**
 * slab_on_destroy - call fn(page, arg) when the slab is destroyed, before its frames are free
 * @page: of the slab; virt_to_head_page(object)
 * @dtor: caller's memory until it has run
 *
 * Latest registered first, once each.
 * Context: the caller holds an object of the slab. @fn runs in atomic context.
 */
void slab_on_destroy(struct page *page, struct arc_dtor *dtor, void (*fn)(void *page, void *arg),
		     void *arg);

/* Text of /proc/slabinfo. Context: may sleep. */
void slabinfo_show(FILE *out);

/* Start of the object that @p points into and its cache; NULL if @p is in no slab. */
void *slab_object_of(const void *p, struct kmem_cache **cachep);

extern const struct room slab_room;

#endif
