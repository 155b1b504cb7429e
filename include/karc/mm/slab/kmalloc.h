/* SPDX-License-Identifier: MIT */
/*
 * kmalloc.h - memory by size
 *
 * Caches kmalloc-8 .. kmalloc-8k serve sizes up to KMALLOC_MAX_CACHE_SIZE, the buddy allocator
 * those above, up to KMALLOC_MAX_SIZE. A size that is a power of two is aligned to itself.
 */
#ifndef KARC_MM_SLAB_KMALLOC_H
#define KARC_MM_SLAB_KMALLOC_H

#include <karc/base/cleanup.h>
#include <karc/base/overflow.h>
#include <karc/mm/slab/array.h>
#include <karc/mm/slab/kstring.h>
#include <karc/mm/slab/slab.h>
#include <karc/refcount/rcu.h>

#define KMALLOC_SHIFT_LOW	3
#define KMALLOC_SHIFT_HIGH	(PAGE_SHIFT + 1)
#define KMALLOC_SHIFT_MAX	(MAX_ORDER + PAGE_SHIFT - 1)
#define KMALLOC_MIN_SIZE	(1UL << KMALLOC_SHIFT_LOW)
#define KMALLOC_MAX_CACHE_SIZE	(1UL << KMALLOC_SHIFT_HIGH)
#define KMALLOC_MAX_SIZE	(1UL << KMALLOC_SHIFT_MAX)
#define KMALLOC_MAX_ORDER	(KMALLOC_SHIFT_MAX - PAGE_SHIFT)

/* The caches for sizes, in Linux's order: index 0 is unused, 1 and 2 are the odd sizes. */
enum kmalloc_type {
	KMALLOC_NORMAL,
	KMALLOC_DMA,
	KMALLOC_RECLAIM,
	KMALLOC_CGROUP,
	NR_KMALLOC_TYPES
};

#define NR_KMALLOC_SIZES	(KMALLOC_SHIFT_HIGH + 1)
#define KMALLOC_CLASS(type, index)	((type) * NR_KMALLOC_SIZES + (index) + 1)
#define NR_KMALLOC_CLASSES	(NR_KMALLOC_TYPES * NR_KMALLOC_SIZES + 1)

static_assert(NR_KMALLOC_CLASSES <= NR_SLAB_CLASSES, "each has a slot on every CPU");

/* In that table, @size 1 .. KMALLOC_MAX_CACHE_SIZE. */
#define KMALLOC_INDEX(size)							\
	((size) <= 8 ? 3 : (size) > 64 && (size) <= 96 ? 1 :			\
	 (size) > 128 && (size) <= 192 ? 2 : 64 - __builtin_clzl((size) - 1))

/* Bytes of its objects. */
#define KMALLOC_BYTES(index)	((index) == 1 ? 96u : (index) == 2 ? 192u : 1u << (index))

/**
 * kfree - give back what kmalloc() and its family gave, or an object of any cache
 *
 * Takes:   @p; NULL and ZERO_SIZE_PTR are ignored.
 * Context: any.
 * Errors:  an address that is not such memory (stack, another machine, inside an object, a page
 *          that is no slab) and, where checks are on, a double free: reported and left alone.
 * Model:   Linux 6.1.
 */
void kfree_site(const void *p, const struct site *site);
void (kfree)(const void *p);
#define kfree(p) kfree_inlined(p, SITE())

/* The same after wiping it. */
void kfree_sensitive_site(const void *p, const struct site *site);
#define kfree_sensitive(p) kfree_sensitive_site(p, SITE())
#define kzfree(p) kfree_sensitive(p)
#define kfree_const(p) kfree(p)

/**
 * kmalloc - @size bytes
 * @size: in bytes; 0 gives ZERO_SIZE_PTR
 *
 * Gives:   the memory; end it with kfree().
 * Context: any if @gfp lacks __GFP_DIRECT_RECLAIM; otherwise may sleep.
 * Errors:  NULL; a size above KMALLOC_MAX_SIZE warns once (not with __GFP_NOWARN).
 * Model:   Linux 6.1.
 */
KARC_MUST_CHECK void *kmalloc_site(size_t size, gfp_t gfp, const struct site *site)
	KARC_MALLOC(kfree_site, 1);
KARC_MUST_CHECK void *(kmalloc)(size_t size, gfp_t gfp);
#define kmalloc(size, gfp) kmalloc_inlined(size, gfp, SITE())
#define kzalloc(size, gfp) kmalloc(size, (gfp) | __GFP_ZERO)

/* The same from @node if it has room, from elsewhere if not, unless @gfp has __GFP_THISNODE. */
KARC_MUST_CHECK void *kmalloc_node_site(size_t size, gfp_t gfp, int node, const struct site *site)
	KARC_MALLOC(kfree_site, 1);
#define kmalloc_node(size, gfp, node) kmalloc_node_site(size, gfp, node, SITE())
#define kzalloc_node(size, gfp, node) kmalloc_node(size, (gfp) | __GFP_ZERO, node)

/* Class of @size, 1 .. KMALLOC_MAX_CACHE_SIZE, a constant. */
static __always_inline unsigned int kmalloc_class(size_t size)
{
	return (unsigned int)KMALLOC_CLASS(KMALLOC_NORMAL, KMALLOC_INDEX(size));
}

/* kmalloc(): a pop from an array of this CPU when the compiler knows which one; see array.h. */
KARC_MUST_CHECK static __always_inline void *kmalloc_inlined(size_t size, gfp_t gfp,
							    const struct site *site)
{
#if SLAB_INLINE
	struct cpu *cpu = this_cpu();
	void *p;

	if (__builtin_constant_p(size) && size - 1 < KMALLOC_MAX_CACHE_SIZE &&
	    __builtin_constant_p(gfp) && !(gfp & ~GFP_ANY_OBJECT) &&
	    likely(slab_pop(cpu, slab_array_here(cpu, kmalloc_class(size)), gfp, &p))) {
		if (gfp & __GFP_ZERO)
			__builtin_memset(p, 0, KMALLOC_BYTES(KMALLOC_INDEX(size)));
		return p;
	}
#endif
	return kmalloc_site(size, gfp, site);
}

/* kfree(): the frame's class says which array it is. */
static __always_inline void kfree_inlined(const void *p, const struct site *site)
{
#if SLAB_INLINE
	struct cpu *cpu = this_cpu();
	struct array_cache *ac = slab_array_here(cpu, slab_class_of(cpu, p));

	if (likely(!slab_is_top(ac, p)) && likely(slab_push(ac, p)))
		return;
#endif
	kfree_site(p, site);
}

/* @n elements of @size bytes; NULL when the product does not fit. */
KARC_MUST_CHECK void *kmalloc_array_site(size_t n, size_t size, gfp_t gfp,
					 const struct site *site) KARC_MALLOC(kfree_site, 1);
#define kmalloc_array(n, size, gfp) kmalloc_array_site(n, size, gfp, SITE())
#define kcalloc(n, size, gfp) kmalloc_array(n, size, (gfp) | __GFP_ZERO)
KARC_MUST_CHECK void *kmalloc_array_node_site(size_t n, size_t size, gfp_t gfp, int node,
					      const struct site *site) KARC_MALLOC(kfree_site, 1);
#define kmalloc_array_node(n, size, gfp, node) \
	kmalloc_array_node_site(n, size, gfp, node, SITE())
#define kcalloc_node(n, size, gfp, node) kmalloc_array_node(n, size, (gfp) | __GFP_ZERO, node)

/**
 * krealloc - make @p's memory at least @size bytes, moving it if need be
 *
 * Takes:  @p on success only: on failure it stays the caller's. NULL is kmalloc(), size 0 kfree().
 * Errors: NULL; ZERO_SIZE_PTR for size 0.
 */
KARC_MUST_CHECK void *krealloc_site(const void *p, size_t size, gfp_t gfp,
				    const struct site *site);
#define krealloc(p, size, gfp) krealloc_site(p, size, gfp, SITE())
#define krealloc_array(p, n, size, gfp) krealloc(p, size_mul(n, size), gfp)

/* Bytes that may be used at @p, at least what was asked for; 0 for NULL and ZERO_SIZE_PTR. */
size_t ksize(const void *p);

/* Is this the first frame of a block that kmalloc() took from the buddy allocator? */
bool kmalloc_is_large(const struct page *page);

/* What kmalloc(size) would really give. */
size_t kmalloc_size_roundup(size_t size);

/**
 * kfree_rcu - kfree after a grace period
 * @ptr:    memory of kmalloc() or of a cache
 * @member: name of the struct rcu_head inside
 *
 * Context: any. Without @member (kfree_rcu(ptr)) it may sleep: the pointer is put into a block that
 *          waits for all of them together; without memory for one it waits itself.
 */
#define kfree_rcu(ptr, ...) karc_kfree_rcu_(ptr, ##__VA_ARGS__, 2, 1)
#define karc_kfree_rcu_(ptr, a, nr, ...) karc_kfree_rcu__(ptr, a, nr)
#define karc_kfree_rcu__(ptr, a, nr) karc_kfree_rcu_##nr(ptr, a)
#define karc_kfree_rcu_1(ptr, two) kfree_after_rcu(ptr)
#define karc_kfree_rcu_2(ptr, member) do {					\
	__typeof__(ptr) karc_ptr_ = (ptr);					\
	if (karc_ptr_)								\
		call_rcu(&karc_ptr_->member, kfree_rcu_callback);		\
} while (0)
#define kfree_rcu_mightsleep(ptr) kfree_after_rcu(ptr)

void kfree_rcu_callback(struct rcu_head *head);
void kfree_after_rcu(const void *p);

/* The same with another function, for memory that kfree() does not know; it must not sleep. */
void free_after_rcu(const void *p, void (*free_one)(const void *p));

/* On a variable: __free(kfree); see base/cleanup.h. */
DEFINE_FREE(kfree, void *, if (!IS_ERR_OR_NULL(_T)) kfree(_T))
DEFINE_FREE(kfree_sensitive, void *, if (_T) kfree_sensitive(_T))

#endif
