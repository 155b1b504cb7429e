/* SPDX-License-Identifier: MIT */
/*
 * vmalloc.h - memory that is contiguous by address only
 */
#ifndef KARC_MM_KVA_VMALLOC_H
#define KARC_MM_KVA_VMALLOC_H

#include <karc/base/cleanup.h>
#include <karc/mm/kva/vmap.h>
#include <karc/mm/slab/kmalloc.h>

/**
 * vfree - give vmalloc() memory back
 *
 * Takes:   @addr; NULL is ignored. What is not the start of an area is reported.
 * Context: any.
 * Model:   Linux 6.1; never deferred, because it cannot sleep here.
 */
void vfree(const void *addr);

/**
 * vmalloc - @size_bytes of memory, in whole pages, from any zone
 *
 * Gives:   the memory, page aligned, with a guard page behind; end it with vfree().
 * Context: may sleep. Errors: NULL; nothing changed.
 * Model:   Linux 6.1.
 */
KARC_MUST_CHECK void *__vmalloc_node_site(unsigned long size_bytes, unsigned long align,
					  gfp_t gfp, int node, const struct site *site)
	KARC_MALLOC(vfree, 1);
#define __vmalloc_node(size, align, gfp, node, caller) \
	((void)(caller), __vmalloc_node_site(size, align, gfp, node, SITE()))
#define __vmalloc(size, gfp) __vmalloc_node_site(size, 1, gfp, NUMA_NO_NODE, SITE())
#define vmalloc(size) __vmalloc(size, GFP_KERNEL | __GFP_HIGHMEM)
#define vzalloc(size) __vmalloc(size, GFP_KERNEL | __GFP_HIGHMEM | __GFP_ZERO)
#define vmalloc_node(size, node) \
	__vmalloc_node_site(size, 1, GFP_KERNEL | __GFP_HIGHMEM, node, SITE())
#define vzalloc_node(size, node) \
	__vmalloc_node_site(size, 1, GFP_KERNEL | __GFP_HIGHMEM | __GFP_ZERO, node, SITE())
#define vmalloc_array(n, size) vmalloc(size_mul(n, size))
#define vcalloc(n, size) vzalloc(size_mul(n, size))

/**
 * kvmalloc - kmalloc() if that is easy, else vmalloc()
 *
 * Gives:   the memory; end it with kvfree().
 * Context: may sleep. Errors: NULL.
 */
KARC_MUST_CHECK void *kvmalloc_site(size_t size, gfp_t gfp, const struct site *site);
#define kvmalloc(size, gfp) kvmalloc_site(size, gfp, SITE())
#define kvzalloc(size, gfp) kvmalloc(size, (gfp) | __GFP_ZERO)
#define kvmalloc_node(size, gfp, node) ((void)(node), kvmalloc(size, gfp))
#define kvzalloc_node(size, gfp, node) ((void)(node), kvzalloc(size, gfp))
#define kvmalloc_array(n, size, gfp) kvmalloc(size_mul(n, size), gfp)
#define kvcalloc(n, size, gfp) kvzalloc(size_mul(n, size), gfp)

/* Linux 6.1's: the caller knows the old size. @p stays the caller's on failure. */
KARC_MUST_CHECK void *kvrealloc_site(const void *p, size_t old_size, size_t new_size, gfp_t gfp,
				     const struct site *site);
#define kvrealloc(p, old_size, new_size, gfp) \
	kvrealloc_site(p, old_size, new_size, gfp, SITE())

/* For memory of kmalloc(), vmalloc() or kvmalloc(). Context: any. */
void kvfree_site(const void *p, const struct site *site);
void (kvfree)(const void *p);
#define kvfree(p) kvfree_site(p, SITE())
void kvfree_sensitive(const void *p, size_t size);

/* kvfree() after a grace period; with the name of a struct rcu_head member, or without. */
#define kvfree_rcu(ptr, ...) karc_kvfree_rcu_(ptr, ##__VA_ARGS__, 2, 1)
#define karc_kvfree_rcu_(ptr, a, nr, ...) karc_kvfree_rcu__(ptr, a, nr)
#define karc_kvfree_rcu__(ptr, a, nr) karc_kvfree_rcu_##nr(ptr, a)
#define karc_kvfree_rcu_1(ptr, two) kvfree_after_rcu(ptr)
#define karc_kvfree_rcu_2(ptr, member) do {					\
	__typeof__(ptr) karc_ptr_ = (ptr);					\
	if (karc_ptr_)								\
		call_rcu(&karc_ptr_->member, kvfree_rcu_callback);		\
} while (0)
#define kvfree_rcu_mightsleep(ptr) kvfree_after_rcu(ptr)

void kvfree_rcu_callback(struct rcu_head *head);
void kvfree_after_rcu(const void *p);

/* On a variable: __free(kvfree); see base/cleanup.h. */
DEFINE_FREE(vfree, void *, if (_T) vfree(_T))
DEFINE_FREE(kvfree, void *, if (!IS_ERR_OR_NULL(_T)) kvfree(_T))

#endif
