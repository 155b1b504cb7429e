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

#define SLAB_CONSISTENCY_CHECKS	((slab_flags_t)0x00000100u)	/* look at what is freed */
#define SLAB_RED_ZONE		((slab_flags_t)0x00000400u)	/* guards before and after each */
#define SLAB_POISON		((slab_flags_t)0x00000800u)	/* free objects carry a pattern */
#define SLAB_HWCACHE_ALIGN	((slab_flags_t)0x00002000u)
#define SLAB_CACHE_DMA		((slab_flags_t)0x00004000u)	/* slabs from ZONE_DMA */
#define SLAB_CACHE_DMA32	((slab_flags_t)0x00008000u)
#define SLAB_STORE_USER		((slab_flags_t)0x00010000u)	/* remember each object's sites */
#define SLAB_RECLAIM_ACCOUNT	((slab_flags_t)0x00020000u)
#define SLAB_PANIC		((slab_flags_t)0x00040000u)	/* BUG if it cannot be created */
#define SLAB_TYPESAFE_BY_RCU	((slab_flags_t)0x00080000u)	/* slabs go after a grace period */
#define SLAB_MEM_SPREAD		((slab_flags_t)0x00100000u)	/* accepted, does nothing */
#define SLAB_TRACE		((slab_flags_t)0x00200000u)	/* log each call */
#define SLAB_NOLEAKTRACE	((slab_flags_t)0x00800000u)	/* serves debugging: stores no users */
#define SLAB_ACCOUNT		((slab_flags_t)0x04000000u)	/* charged to the active group */
#define SLAB_TEMPORARY		SLAB_RECLAIM_ACCOUNT

/* What kmalloc(0) gives: may be freed, must not be read. */
#define ZERO_SIZE_PTR		((void *)16)
#define ZERO_OR_NULL_PTR(x)	((unsigned long)(x) <= (unsigned long)ZERO_SIZE_PTR)

#define ARCH_KMALLOC_MINALIGN	8
#define ARCH_SLAB_MINALIGN	8

/* Objects of another node that CPUs of one node have freed. */
struct alien_cache {
	spinlock_t lock;
	/* lock */
	unsigned long nr_frees;		/* since boot; read without */
	unsigned long nr_overflows;	/* times it went home because it was full */
	struct array_cache ac;
};

/* Since the cache was made; list_lock, read without. */
struct slab_node_stats {
	unsigned long allocated;	/* objects that left slabs */
	unsigned long grown, reaped;	/* slabs made, and given back by the reaper */
	unsigned long max_freeable;	/* most slabs without a used object after a free */
	unsigned long node_allocs;	/* objects that other nodes' CPUs took */
	unsigned long remote_frees;	/* objects freed from other nodes past alien caches */
};

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
	unsigned int nr_reserve;	/* slabs that came from the reserves */
	struct array_cache *shared;	/* NULL until first used */
	struct alien_cache *alien[MAX_NUMNODES];	/* by node of the objects; the same */
	struct slab_node_stats stats;
	/* atomic */
	bool free_touched;		/* slabs_free was used since the reaper looked */
	unsigned int colour_next;
	u64 next_reap_ns;
};

struct mem_cgroup;
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
	unsigned int spare_limit;	/* of a CPU's second level; 0: there is none */
	unsigned short kmalloc_class;	/* 1 + index into kmalloc's table; 0: another cache */
	u16 hot_class;			/* see array.h; 0: has no slot, or calls take the checked road */
	bool destroyed;			/* kmem_cache_destroy() found live objects */
	bool objfreelist;		/* a slab's free list lies in its last free object */
	struct { void (*ctor)(void *obj); };

	unsigned int align;
	unsigned int red_left;		/* guard before each object */
	unsigned int colour;		/* different offsets of the first object */
	unsigned int colour_off;	/* bytes from one to the next */
	unsigned int freelist_bytes;
	struct kmem_cache *freelist_cache;	/* NULL: the free list is on the slab */
	unsigned int useroffset, usersize;
	char *name;
	const struct site *site;	/* where it was created */
	struct slab_state *state;
	struct list_head list;		/* slab_mutex */
	unsigned int nr_reaping;	/* atomic: CPUs whose reaper is at it, see reap.c */
	unsigned long high_mark;	/* atomic: most objects that were off their slabs */
	unsigned long nr_errors;	/* atomic: damage and double frees found at the slabs */
	struct kmem_cache_node *node[MAX_NUMNODES];
	struct array_cache *cpu_cache[];	/* by CPU */
};

#define OFF_SLAB(cachep) ((cachep)->freelist_cache != NULL)
#define OBJFREELIST(cachep) ((cachep)->objfreelist)

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
void kmem_cache_destroy_site(struct kmem_cache *cachep, const struct site *site);
void (kmem_cache_destroy)(struct kmem_cache *cachep);
#define kmem_cache_destroy(cachep) kmem_cache_destroy_site(cachep, SITE())

/* Free objects of all CPUs to their slabs, empty slabs to the buddy. 0: no slab is left. */
int kmem_cache_shrink(struct kmem_cache *cachep);

/* The same for all caches, for reclaim: returns frames given back; 0 while caches are made. */
unsigned long kmem_cache_shrink_all(void);

/*
 * What the tick does little by little, every 2 seconds of a busy CPU, at once: arrays of this CPU
 * and its node that were not used since the last time give a fifth back, empty slabs go. Any
 * context.
 */
void slab_reap_round(void);

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
#define kmem_cache_alloc(cachep, gfp) slab_cache_alloc(cachep, gfp, SITE())
#define kmem_cache_zalloc(cachep, gfp) kmem_cache_alloc(cachep, (gfp) | __GFP_ZERO)
#define kmem_cache_alloc_lru(cachep, lru, gfp) ((void)(lru), kmem_cache_alloc(cachep, gfp))

/*
 * The same from a slab of @node, past the CPU's array if that is another node than this CPU's;
 * from elsewhere when it has none, unless @gfp has __GFP_THISNODE. NUMA_NO_NODE is this one.
 */
KARC_MUST_CHECK void *kmem_cache_alloc_node_site(struct kmem_cache *cachep, gfp_t gfp, int node,
						 const struct site *site);
#define kmem_cache_alloc_node(cachep, gfp, node) \
	kmem_cache_alloc_node_site(cachep, gfp, node, SITE())

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
#define kmem_cache_free(cachep, obj) slab_cache_free(cachep, obj, SITE())

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

/* The group that pays for an allocated object, or NULL; see mm/phys/memcg.h. */
struct mem_cgroup *slab_object_memcg(const void *obj);

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

/* What the CPUs' arrays did for a cache; all sums of slabinfo are since it was made. */
struct slab_cpustat {
	unsigned long allochit, allocmiss;	/* allocations that found an object there, or not */
	unsigned long freehit, freemiss;	/* frees that found room there, or not */
};

/* A line of slabinfo. Exact while nobody allocates. */
struct slabinfo {
	unsigned long active_objs, num_objs;	/* off their slabs: users' and those in arrays */
	unsigned long active_slabs, num_slabs;
	unsigned long shared_avail;
	unsigned int object_bytes, objects_per_slab, cache_order;
	unsigned int limit, batchcount, shared;
	unsigned long list_allocs, max_objs;	/* that left slabs; most of them at a time */
	unsigned long grown, reaped, errors, max_freeable;
	unsigned long node_allocs, node_frees, alien_overflows;
	struct slab_cpustat cpu;
};

void get_slabinfo(struct kmem_cache *cachep, struct slabinfo *info);

/* Text of /proc/slabinfo. Context: may sleep. */
void slabinfo_show(FILE *out);

/**
 * validate_slab_cache - look at all objects of a cache with SLAB_POISON or SLAB_RED_ZONE
 *
 * Writes to free objects and to guards are reported and repaired.
 * Returns: how many objects were damaged; 0 for a cache without these; -EAGAIN: a CPU of a
 *          parallel machine could not be stopped.
 * Context: preemptible. Model: Linux 6.1 (SLUB).
 */
KARC_MUST_CHECK long validate_slab_cache(struct kmem_cache *cachep);

/**
 * kmem_dump_obj - say what is known of the object that @p points into
 *
 * Also of large blocks, and of slabs and large blocks that are gone and still remembered.
 * Returns: false when nothing is known.
 * Context: any. Model: Linux 6.1.
 */
bool kmem_dump_obj(const void *p);

/**
 * check_heap_object - are the @n bytes at @ptr one object's, and meant for users?
 * @to_user: which way they are copied
 *
 * What is not in the direct map is no business of this check. For copy_to_user() and the like.
 * Errors: a BUG that names the cache. Boot option hardened_usercopy=off turns it off.
 * Model:  Linux 6.1.
 */
void check_heap_object(const void *ptr, unsigned long n, bool to_user);

/* A room above says (pr_warn) what is known of an address outside the direct map. */
void slab_on_foreign(struct machine *m, void (*say)(const void *p));

/* Start of the object that @p points into and its cache; NULL if @p is in no slab. */
void *slab_object_of(const void *p, struct kmem_cache **cachep);

extern const struct room slab_room;

#include <karc/mm/slab/array.h>		/* kmem_cache_alloc() and _free(), inlined */

#endif
