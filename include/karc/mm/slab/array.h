/* SPDX-License-Identifier: MIT */
/*
 * array.h - the arrays of a CPU, and what is inlined of taking and giving objects
 *
 * Taking an object is a pop from an array of this CPU, giving it back a push: no lock, no atomic
 * operation, no look at the memory's frame. What is not so simple (an empty or a full array,
 * checked caches, trace points, several nodes, an armed fault injection, a safe point that is due)
 * goes the usual way, through functions, which begin anew: whoever gives up here has changed
 * nothing.
 */
#ifndef KARC_MM_SLAB_ARRAY_H
#define KARC_MM_SLAB_ARRAY_H

#include <karc/base/array_cache.h>
#include <karc/base/site.h>
#include <karc/hw/cpu.h>
#include <karc/mm/slab/slab.h>

/*
 * A class is a cache that has a slot for its array in each CPU's hot area: kmalloc's, then those
 * with names while there are slots. 0 is the class of no cache.
 */
#define NR_SLAB_CLASSES	((unsigned int)((CPU_HOT_BYTES - 2 * sizeof(void *)) / sizeof(void *)))

/* The slab room's hot area of a CPU. */
struct slab_hot {
	struct slab_state *state;
	u16 *frame_class;	/* by pfn: class of the frame's slab, or 0 */
	/* by class; one that is never anything but empty and full stands for what has to be checked */
	struct array_cache *array[NR_SLAB_CLASSES];
};

static_assert(sizeof(struct slab_hot) <= CPU_HOT_BYTES, "slab_hot does not fit");

/* Inlined code knows the arrays; what watches memory accesses and checked builds see calls. */
#if defined(KARC_VARIANT) && KARC_VARIANT == 0 && !defined(KARC_EXPLORE) && \
	!defined(__clang_analyzer__)
#define SLAB_INLINE	1
#else
#define SLAB_INLINE	0
#endif

/* Flags with which any object of a cache will do; what they say about frames does not matter. */
#define GFP_ANY_OBJECT	(GFP_KERNEL | GFP_ATOMIC | __GFP_NOWARN | __GFP_NORETRY | \
			 __GFP_RETRY_MAYFAIL | __GFP_NOFAIL | __GFP_NOMEMALLOC | __GFP_HARDWALL | \
			 __GFP_ZERO)

static __always_inline struct array_cache *slab_array_here(struct cpu *cpu, unsigned int class)
{
	struct slab_hot *hot = (struct slab_hot *)(void *)cpu->hot[ROOM_SLAB];

	return hot->array[class];
}

/* Is anything due on this CPU, or wrong with the call, that the usual way would see to? */
static __always_inline bool slab_is_held_up(const struct cpu *cpu, gfp_t gfp)
{
#if SLAB_INLINE
	u32 pending = cpu->pending;	/* plain, so that the compiler can join it with the others */
#else
	u32 pending = __atomic_load_n(&cpu->pending, __ATOMIC_RELAXED);
#endif
	return (gfp & __GFP_DIRECT_RECLAIM) &&
	       unlikely(((u32)cpu->preempt_count | cpu->irqs_off | pending) != 0);
}

/* In a register as wide as an index: what is one more or less is one instruction then. */
static __always_inline unsigned long slab_count(const unsigned int *count)
{
	unsigned long nr = *count;

	__asm__("" : "+r"(nr));
	return nr;
}

/*
 * Take an object into *@obj, or give up. The safe point that a caller who may sleep passes was
 * counted when the object was made ready: there are never more of them than steps were left.
 */
static __always_inline bool slab_pop(struct cpu *cpu, struct array_cache *ac, gfp_t gfp, void **obj)
{
	unsigned long left;
	void *p;

	if (unlikely(__builtin_sub_overflow(slab_count(&ac->nr_ready), 1ul, &left)) ||
	    unlikely(slab_is_held_up(cpu, gfp)))
		return false;
	WRITE_ONCE(ac->nr_ready, (unsigned int)left);
	p = ac->ready[left];
	if (!p)
		__builtin_unreachable();
	*obj = p;
	return true;
}

/* Give @p back to the array of its cache, or give up. */
static __always_inline bool slab_push(struct array_cache *ac, const void *p)
{
	unsigned long avail = slab_count(&ac->avail);

	if (unlikely((unsigned int)avail >= ac->limit))
		return false;
	ac->entry[avail] = (void *)p;
	WRITE_ONCE(ac->avail, (unsigned int)avail + 1);
	return true;
}

/* Was @p the last one that was given back? Below the first entry there is one that is nothing. */
static __always_inline bool slab_is_top(const struct array_cache *ac, const void *p)
{
	const char *below = (const char *)ac + offsetof(struct array_cache, below);

	return ((void *const *)(const void *)below)[ac->avail] == p;
}

/* The class of the slab that @p is in; 0 if it has none, or @p is not in the direct map. */
static __always_inline unsigned int slab_class_of(struct cpu *cpu, const void *p)
{
	struct slab_hot *hot = (struct slab_hot *)(void *)cpu->hot[ROOM_SLAB];
	u64 offset = (u64)((const char *)p - cpu->arena);

	if (unlikely(offset >= cpu->direct_map_bytes))
		return 0;
	return hot->frame_class[offset >> PAGE_SHIFT];
}

/* Is @p in a slab of @class? 0, which has no array, is that of all others, too. */
static __always_inline bool slab_is_of_class(struct cpu *cpu, const void *p, unsigned int class)
{
	struct slab_hot *hot = (struct slab_hot *)(void *)cpu->hot[ROOM_SLAB];
	u64 offset = (u64)((const char *)p - cpu->arena);

	return likely(offset < cpu->direct_map_bytes) &&
	       hot->frame_class[offset >> PAGE_SHIFT] == (u16)class;
}

/* ---- objects of caches with names ---- */

static __always_inline void *slab_cache_alloc(struct kmem_cache *cachep, gfp_t gfp,
					      const struct site *site)
{
#if SLAB_INLINE
	struct cpu *cpu = this_cpu();
	void *obj;

	if (!(gfp & ~(GFP_ANY_OBJECT & ~__GFP_ZERO)) &&
	    likely(slab_pop(cpu, slab_array_here(cpu, cachep->hot_class), gfp, &obj)))
		return obj;
#endif
	return kmem_cache_alloc_site(cachep, gfp, site);
}

static __always_inline void slab_cache_free(struct kmem_cache *cachep, void *obj,
					    const struct site *site)
{
#if SLAB_INLINE
	struct cpu *cpu = this_cpu();
	unsigned int class = likely(cachep) ? cachep->hot_class : 0;
	struct array_cache *ac = slab_array_here(cpu, class);

	/* Compared, not used: what follows need not wait for the frame's class. */
	if (likely(slab_is_of_class(cpu, obj, class)) && likely(!slab_is_top(ac, obj)) &&
	    likely(slab_push(ac, obj)))
		return;
#endif
	kmem_cache_free_site(cachep, obj, site);
}

/**
 * kmem_cache_free_known - kmem_cache_free() of an object that is one of the cache's for certain
 *
 * For code that has nothing else in its hands, such as a type's own functions. The memory is
 * taken at its word: neither the frame nor the last object freed is looked at.
 *
 * Takes:   the object, not NULL. Context: any.
 * Errors:  a wrong object is found where caches are checked, and only there.
 */
static __always_inline void kmem_cache_free_known_site(struct kmem_cache *cachep, void *obj,
						       const struct site *site)
{
#if SLAB_INLINE
	if (likely(slab_push(slab_array_here(this_cpu(), cachep->hot_class), obj)))
		return;
#endif
	kmem_cache_free_site(cachep, obj, site);
}

#define kmem_cache_free_known(cachep, obj) kmem_cache_free_known_site(cachep, obj, SITE())

#endif
