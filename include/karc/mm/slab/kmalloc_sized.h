/* SPDX-License-Identifier: MIT */
/*
 * kmalloc_sized.h - kmalloc() and kfree() of a size that the compiler knows
 *
 * kmalloc() of a constant size is a pop from an array of this CPU by itself. Who frees memory
 * and knows its size can say so: then the size says which array it is, and the memory's frame
 * is not looked at. See array.h for what is inlined.
 */
#ifndef KARC_MM_SLAB_KMALLOC_SIZED_H
#define KARC_MM_SLAB_KMALLOC_SIZED_H

#include <karc/mm/slab/kmalloc.h>

/* arc_type.array of objects of @size bytes. */
#define KMALLOC_ARRAY(size)							\
	(offsetof(struct cpu, hot) + ROOM_SLAB * CPU_HOT_BYTES +		\
	 offsetof(struct slab_hot, array) +					\
	 KMALLOC_CLASS(KMALLOC_NORMAL, KMALLOC_INDEX(size)) * sizeof(struct array_cache *))

/**
 * kmalloc_sized - kmalloc() of a constant size
 * @size: 1 .. KMALLOC_MAX_CACHE_SIZE
 * @gfp:  a constant
 *
 * What kmalloc() does by itself when the compiler knows the size; this says that it must.
 *
 * Gives:   the memory; end it with kfree_sized() of the same size, or kfree().
 * Context: any if @gfp lacks __GFP_DIRECT_RECLAIM; otherwise may sleep.
 * Errors:  NULL; nothing changed.
 */
#define kmalloc_sized_site(size, gfp, site)	kmalloc_inlined(size, gfp, site)
#define kmalloc_sized(size, gfp) kmalloc_sized_site(size, gfp, SITE())

/**
 * kfree_sized - give back what kmalloc_sized() of @size gave
 *
 * Takes:   @p, not NULL. Context: any.
 * Errors:  a wrong address or size is found where caches are checked, and only there.
 */
static __always_inline void kfree_sized_site(void *p, size_t size, const struct site *site)
{
#if SLAB_INLINE
	if (likely(slab_push(slab_array_here(this_cpu(), kmalloc_class(size)), p)))
		return;
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
