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
 * Takes:   @addr; NULL is ignored. What is not the start of an area of vmalloc(), or of vmap() with
 *          VM_MAP_PUT_PAGES, is reported with both sites, and left alone.
 * Context: any. In atomic context nothing is unmapped, unless far too much waits: the memory waits
 *          for the next vmalloc() of its size, or for the purge, at the latest in
 *          machine_quiesce(). On a machine that tracks, and in debug builds, it is unmapped here
 *          and a later touch is an Oops.
 * Model:   Linux 6.1, but for spinlocks: they may be held.
 */
void vfree_site(const void *addr, const struct site *site);
void vfree(const void *addr);
#define vfree(addr) vfree_site(addr, SITE())
#define vfree_atomic(addr) vfree_site(addr, SITE())

/**
 * vmalloc - @size_bytes of memory, in whole pages, from any zone
 *
 * Gives:   the memory, page aligned, with a guard page behind; end it with vfree().
 * Context: may sleep. Errors: NULL; nothing changed.
 * Model:   Linux 6.1.
 */
KARC_MUST_CHECK void *__vmalloc_node_site(unsigned long size_bytes, unsigned long align,
					  gfp_t gfp, int node, const struct site *site)
	KARC_MALLOC(vfree_site, 1);
#define __vmalloc_node(size, align, gfp, node, caller) \
	((void)(caller), __vmalloc_node_site(size, align, gfp, node, SITE()))
#define __vmalloc(size, gfp) __vmalloc_node_site(size, 1, gfp, NUMA_NO_NODE, SITE())
#define vmalloc(size) __vmalloc(size, GFP_KERNEL | __GFP_HIGHMEM)
#define vzalloc(size) __vmalloc(size, GFP_KERNEL | __GFP_HIGHMEM | __GFP_ZERO)
#define vmalloc_node(size, node) \
	__vmalloc_node_site(size, 1, GFP_KERNEL | __GFP_HIGHMEM, node, SITE())
#define vzalloc_node(size, node) \
	__vmalloc_node_site(size, 1, GFP_KERNEL | __GFP_HIGHMEM | __GFP_ZERO, node, SITE())
#define __vmalloc_array(n, size, gfp) __vmalloc(size_mul(n, size), gfp)
#define __vcalloc(n, size, gfp) __vmalloc_array(n, size, (gfp) | __GFP_ZERO)
#define vmalloc_array(n, size) vmalloc(size_mul(n, size))
#define vcalloc(n, size) vzalloc(size_mul(n, size))

/* Of frames that 32-bit devices reach; the same, zeroed and to be mapped to users. */
#define vmalloc_32(size) __vmalloc(size, GFP_DMA32 | GFP_KERNEL)
#define vmalloc_32_user(size) vmalloc_user_site(size, GFP_DMA32 | GFP_KERNEL, SITE())

/* vmalloc() here: no large entries. */
#define arch_vmap_pud_supported(prot) ((void)(prot), false)
#define arch_vmap_pmd_supported(prot) ((void)(prot), false)
#define vmalloc_huge(size, gfp) __vmalloc(size, gfp)

/* Zeroed, and remap_vmalloc_range() maps it to users. */
KARC_MUST_CHECK void *vmalloc_user_site(unsigned long size_bytes, gfp_t gfp,
					const struct site *site) KARC_MALLOC(vfree_site, 1);
#define vmalloc_user(size) vmalloc_user_site(size, GFP_KERNEL | __GFP_HIGHMEM, SITE())

/**
 * __vmalloc_node_range - all that can be asked for
 * @start:    the addresses must lie in [@start, @end) as init_mm knows them, from VMALLOC_START
 *            on; 0, 0: anywhere
 * @prot:     PAGE_KERNEL, or PAGE_KERNEL_RO: stores are an Oops
 * @vm_flags: VM_NO_GUARD, VM_USERMAP
 */
KARC_MUST_CHECK void *__vmalloc_node_range_site(unsigned long size_bytes, unsigned long align,
						unsigned long start, unsigned long end, gfp_t gfp,
						pgprot_t prot, unsigned long vm_flags, int node,
						const struct site *site)
	KARC_MALLOC(vfree_site, 1);
#define __vmalloc_node_range(size, align, start, end, gfp, prot, vm_flags, node, caller) \
	((void)(caller), __vmalloc_node_range_site(size, align, start, end, gfp, prot, vm_flags, \
						   node, SITE()))

/* Frames of all areas of vmalloc(). */
unsigned long vmalloc_nr_pages(void);

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
