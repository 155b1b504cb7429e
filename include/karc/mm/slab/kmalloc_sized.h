/* SPDX-License-Identifier: MIT */
/*
 * kmalloc_sized.h - kmalloc() and kfree() of a size that the compiler knows, inlined
 *
 * Taking an object is a pop from an array of this CPU, giving it back a push: no lock, no atomic
 * operation, and no look at the memory's frame, because the size says which array it is. What
 * is not so simple (an empty or a full array, checked caches, several nodes, an armed fault
 * injection, a safe point that is due) goes the usual way.
 */
#ifndef KARC_MM_SLAB_KMALLOC_SIZED_H
#define KARC_MM_SLAB_KMALLOC_SIZED_H

#include <karc/hw/cpu.h>
#include <karc/mm/slab/kmalloc.h>

/* kmalloc's table, in Linux's order: index 0 is unused, 1 and 2 are the odd sizes. */
enum kmalloc_type { KMALLOC_NORMAL, KMALLOC_DMA, NR_KMALLOC_TYPES };

#define NR_KMALLOC_SIZES	(KMALLOC_SHIFT_HIGH + 1)
#define KMALLOC_CLASS(type, index)	((type) * NR_KMALLOC_SIZES + (index) + 1)
#define NR_KMALLOC_CLASSES	(NR_KMALLOC_TYPES * NR_KMALLOC_SIZES + 1)

/* The slab room's hot area of a CPU. */
struct slab_hot {
	struct slab_state *state;
	u16 *frame_class;
	/* by class; one that is never anything but empty and full stands for what has to be checked */
	struct array_cache *kmalloc_cache[NR_KMALLOC_CLASSES];
};

static_assert(sizeof(struct slab_hot) <= CPU_HOT_BYTES, "slab_hot does not fit");

/* Inlined code knows the arrays; what watches memory accesses and checked builds see calls. */
#if defined(KARC_VARIANT) && KARC_VARIANT == 0 && !defined(KARC_EXPLORE) && \
	!defined(__clang_analyzer__)
#define KMALLOC_SIZED_INLINE	1
#else
#define KMALLOC_SIZED_INLINE	0
#endif

/* In kmalloc's table, @size 1 .. KMALLOC_MAX_CACHE_SIZE. */
#define KMALLOC_INDEX(size)							\
	((size) <= 8 ? 3 : (size) > 64 && (size) <= 96 ? 1 :			\
	 (size) > 128 && (size) <= 192 ? 2 : 64 - __builtin_clzl((size) - 1))

/* arc_type.array of objects of @size bytes. */
#define KMALLOC_ARRAY(size)							\
	(offsetof(struct cpu, hot) + ROOM_SLAB * CPU_HOT_BYTES +		\
	 offsetof(struct slab_hot, kmalloc_cache) +				\
	 KMALLOC_CLASS(KMALLOC_NORMAL, KMALLOC_INDEX(size)) * sizeof(struct array_cache *))

/* Class of @size, 1 .. KMALLOC_MAX_CACHE_SIZE, a constant. */
static __always_inline unsigned int kmalloc_class(size_t size)
{
	return (unsigned int)KMALLOC_CLASS(KMALLOC_NORMAL, KMALLOC_INDEX(size));
}

static __always_inline struct array_cache *kmalloc_array_here(struct cpu *cpu, size_t size)
{
	struct slab_hot *hot = (struct slab_hot *)(void *)cpu->hot[ROOM_SLAB];

	return hot->kmalloc_cache[kmalloc_class(size)];
}

/* Is anything due on this CPU that the usual way would do? */
static __always_inline bool kmalloc_is_held_up(struct cpu *cpu, gfp_t gfp)
{
	u32 held = cpu->inject_armed;

	if (gfp & __GFP_DIRECT_RECLAIM)
		held |= (u32)cpu->preempt_count | cpu->irqs_off | (cpu->steps == 1) |
			__atomic_load_n(&cpu->pending, __ATOMIC_RELAXED);
	return held != 0;
}

/**
 * kmalloc_sized - kmalloc() of a constant size
 * @size: 1 .. KMALLOC_MAX_CACHE_SIZE
 * @gfp:  a constant; only GFP_KERNEL, GFP_NOWAIT and __GFP_NOWARN are fast
 *
 * Gives:   the memory; end it with kfree_sized() of the same size, or kfree().
 * Context: any if @gfp lacks __GFP_DIRECT_RECLAIM; otherwise may sleep.
 * Errors:  NULL; nothing changed.
 */
KARC_MUST_CHECK static __always_inline void *kmalloc_sized_site(size_t size, gfp_t gfp,
							       const struct site *site)
{
#if KMALLOC_SIZED_INLINE
	struct cpu *cpu = this_cpu();
	struct array_cache *ac = kmalloc_array_here(cpu, size);
	unsigned int left = ac->avail - 1;

	if ((gfp & ~(GFP_KERNEL | __GFP_NOWARN)) || unlikely((int)left < 0) ||
	    unlikely(kmalloc_is_held_up(cpu, gfp)))
		return kmalloc_site(size, gfp, site);
	if (gfp & __GFP_DIRECT_RECLAIM)
		cpu->steps--;
	WRITE_ONCE(cpu->nr_alloc_asked, cpu->nr_alloc_asked + 1);
	WRITE_ONCE(ac->avail, left);
	return ac->entry[left];
#else
	return kmalloc_site(size, gfp, site);
#endif
}

#define kmalloc_sized(size, gfp) kmalloc_sized_site(size, gfp, SITE())

/**
 * kfree_sized - give back what kmalloc_sized() of @size gave
 *
 * Takes:   @p, not NULL. Context: any.
 * Errors:  a wrong address or size is found where caches are checked, and only there.
 */
static __always_inline void kfree_sized_site(void *p, size_t size, const struct site *site)
{
#if KMALLOC_SIZED_INLINE
	struct array_cache *ac = kmalloc_array_here(this_cpu(), size);
	unsigned int avail = ac->avail;

	if (likely(avail < ac->limit)) {
		ac->entry[avail] = p;
		WRITE_ONCE(ac->avail, avail + 1);
		return;
	}
#endif
	(void)size;
	kfree_site(p, site);
}

#define kfree_sized(p, size) kfree_sized_site(p, size, SITE())

/**
 * DEFINE_KMALLOC_OPS - ops.alloc and ops.free of an arc type whose objects come from kmalloc()
 * @name: gives name_alloc() and name_free()
 * @type: of an object, with its struct
 */
#define DEFINE_KMALLOC_OPS(name, type)						\
static __maybe_unused void *name##_alloc(gfp_t gfp, const struct site *site)	\
{										\
	return kmalloc_site(sizeof(type), gfp | __GFP_ZERO, site);		\
}										\
static void name##_free(void *obj)						\
{										\
	kfree_sized(obj, sizeof(type));						\
}

#endif
