/* SPDX-License-Identifier: MIT */
/*
 * kmalloc.c - memory by size, and the road of a kfree
 *
 * What it is
 *	A table of caches for sizes up to 8 KiB, the buddy above. kfree() finds from the address
 *	alone whose memory it is: the offset from the arena, one unsigned compare, the frame's class
 *	in a table of two bytes per frame, the CPU's array of that class. Everything else (caches
 *	with names, large blocks, tracked machines, mistakes) is the slow road through struct page.
 *
 * Objects
 *	slab_state.kmalloc[type][index] -> kmem_cache
 *	slab_state.frame_class[pfn] -> class of the kmalloc cache whose slab has the frame, or 0
 *	slab_hot.array[class] -> the CPU's array of that cache; array_none until there is one,
 *	and always for caches with debug bits: its limit of 0 sends the caller to the slow road
 *
 * Invariants
 *	I1 frame_class[pfn] is not 0 exactly for slabs of kmalloc caches without debug bits
 *	I2 a block that kmalloc() got from the buddy has KMALLOC_LARGE_MARK in its head's private
 *
 * Worst case
 *	The fast road reads three cache lines besides the object's array slot, and calls nobody.
 *
 * Unlike Linux
 *	A double free or an interior pointer is always caught in a machine that tracks; elsewhere
 *	when the object is the last one freed, or when it moves back to its slab.
 */
#include <stdarg.h>
#include <string.h>

#include <karc/base/log.h>
#include <karc/refcount/free_check.h>
#include "internal.h"

struct kmalloc_info {
	const char *name[NR_KMALLOC_TYPES];
	unsigned int size;
};

#define KMALLOC_INFO(text, bytes) {						\
	{ "kmalloc-" text, "dma-kmalloc-" text, "kmalloc-rcl-" text, "kmalloc-cg-" text }, bytes }

static const struct kmalloc_info kmalloc_info[NR_KMALLOC_SIZES] = {
	[1] = KMALLOC_INFO("96", 96),
	[2] = KMALLOC_INFO("192", 192),
	[3] = KMALLOC_INFO("8", 8),
	[4] = KMALLOC_INFO("16", 16),
	[5] = KMALLOC_INFO("32", 32),
	[6] = KMALLOC_INFO("64", 64),
	[7] = KMALLOC_INFO("128", 128),
	[8] = KMALLOC_INFO("256", 256),
	[9] = KMALLOC_INFO("512", 512),
	[10] = KMALLOC_INFO("1k", 1024),
	[11] = KMALLOC_INFO("2k", 2048),
	[12] = KMALLOC_INFO("4k", 4096),
	[13] = KMALLOC_INFO("8k", 8192),
};

/* By (size - 1) / 8 for sizes up to SIZE_INDEX_MAX. */
#define SIZE_INDEX_MAX	1024u
static const u8 size_index[SIZE_INDEX_MAX / 8] = {
	[0] = 3, [1] = 4, [2 ... 3] = 5, [4 ... 7] = 6, [8 ... 11] = 1, [12 ... 15] = 7,
	[16 ... 23] = 2, [24 ... 31] = 8, [32 ... 63] = 9, [64 ... 127] = 10,
};

static unsigned int kmalloc_index(size_t size)
{
	return size <= SIZE_INDEX_MAX ? size_index[(size - 1) / 8] : (unsigned int)fls64(size - 1);
}

static enum kmalloc_type kmalloc_type(gfp_t gfp)
{
	if (likely(!(gfp & (__GFP_DMA | __GFP_RECLAIMABLE | __GFP_ACCOUNT))))
		return KMALLOC_NORMAL;
	if (gfp & __GFP_DMA)
		return KMALLOC_DMA;
	return gfp & __GFP_RECLAIMABLE ? KMALLOC_RECLAIM : KMALLOC_CGROUP;
}

/* The cache for @size bytes, 1 .. KMALLOC_MAX_CACHE_SIZE; NULL while it does not exist. */
struct kmem_cache *kmalloc_slab(struct slab_state *state, size_t size, gfp_t gfp)
{
	return state->kmalloc[kmalloc_type(gfp)][kmalloc_index(size)];
}

/* Small sizes first: their slabs hold the free lists of the large ones. */
int kmalloc_init(struct slab_state *state)
{
	static const u8 order[] = { 3, 4, 5, 6, 1, 7, 2, 8, 9, 10, 11, 12, 13 };
	static const slab_flags_t flags[NR_KMALLOC_TYPES] = {
		[KMALLOC_DMA] = SLAB_CACHE_DMA,
		[KMALLOC_RECLAIM] = SLAB_RECLAIM_ACCOUNT,
		[KMALLOC_CGROUP] = SLAB_ACCOUNT,
	};

	for (int type = 0; type < NR_KMALLOC_TYPES; type++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(order); i++) {
			const struct kmalloc_info *info = &kmalloc_info[order[i]];
			unsigned int size = info->size;
			struct kmem_cache *cachep;

			cachep = cache_make(state, info->name[type], size,
					    is_power_of_2(size) ? size : ARCH_KMALLOC_MINALIGN,
					    flags[type], NULL, NULL);
			if (!cachep)
				return -ENOMEM;
			cachep->kmalloc_class = (unsigned short)KMALLOC_CLASS(type, order[i]);
			cachep->hot_class = cachep->debug ? 0 : cachep->kmalloc_class;
			cachep->usersize = size;
			state->kmalloc[type][order[i]] = cachep;
		}
	}
	return 0;
}

/* ---- large blocks ---- */

static void count_large(const struct page *page, long bytes)
{
	mod_node_page_state(NODE_DATA(page_to_nid(page)), NR_SLAB_UNRECLAIMABLE_B, bytes);
}

static void *kmalloc_large(size_t size, gfp_t gfp, int node, const struct site *site)
{
	unsigned int order = (unsigned int)get_order(size);
	struct page *page;

	if (WARN_ON_ONCE(gfp & __GFP_HIGHMEM))
		gfp &= ~__GFP_HIGHMEM;
	page = alloc_pages_node_site(node, gfp | __GFP_COMP, order, site);
	if (!page)
		return NULL;
	set_page_private(page, KMALLOC_LARGE_MARK);
	count_large(page, (long)page_size(page));
	mem_poison((char *)page_to_virt(page) + size, page_size(page) - size);
	return page_to_virt(page);
}

bool kmalloc_is_large(const struct page *page)
{
	return PageHead(page) && !PageSlab(page) && page_private(page) == KMALLOC_LARGE_MARK;
}

static void free_large_kmalloc(struct page *page, const void *p, const struct site *site)
{
	if (p != page_to_virt(page)) {
		report_bad_free("kfree", p, site);
		return;
	}
	trace_slab_step("free_large_kmalloc", "order %u to the buddy", compound_order(page));
	check_freed_memory(p, page_size(page), "kfree", site);
	gone_remember_large(page, site);
	set_page_private(page, 0);
	count_large(page, -(long)page_size(page));
	__free_pages_site(page, compound_order(page), site);
}

/* ---- kmalloc and kfree ---- */

static noinline void *kmalloc_slow(size_t size, gfp_t gfp, const struct site *site)
{
	struct kmem_cache *cachep;
	void *p;

	if (unlikely(!size))
		return ZERO_SIZE_PTR;
	if (unlikely(size > KMALLOC_MAX_CACHE_SIZE)) {
		p = kmalloc_large(size, gfp, NUMA_NO_NODE, site);
		trace_alloc(TRACE_KMALLOC, NULL, p, size, PAGE_SIZE << get_order(size), gfp, site);
		return p;
	}
	cachep = kmalloc_slab(slab_here(), size, gfp);
	p = slab_alloc(cachep, gfp, size, site);
	trace_alloc(TRACE_KMALLOC, cachep, p, size, cachep->object_size, gfp, site);
	return p;
}

/* Nothing is ready, or zeroes are wanted: what kmalloc_site() leaves to others. */
static noinline void *kmalloc_unready(size_t size, gfp_t gfp, const struct site *site)
{
	struct cpu *cpu = this_cpu();
	unsigned int index = size_index[(size - 1) / 8];
	struct array_cache *ac = slab_array_here(cpu, KMALLOC_CLASS(KMALLOC_NORMAL, index));
	void *p;

	if (!ac->nr_ready && array_may_make_ready(cpu, ac, gfp))
		array_make_ready(ac, gfp);
	if (unlikely(!slab_pop(cpu, ac, gfp, &p)))
		return kmalloc_slow(size, gfp, site);
	if (gfp & __GFP_ZERO)
		memset(p, 0, kmalloc_info[index].size);
	return p;
}

/*
 * Sizes that the compiler did not know; kmalloc_inlined() is the same for those that it knew. It
 * calls nobody but in its last step, so it needs no stack.
 */
void *kmalloc_site(size_t size, gfp_t gfp, const struct site *site)
{
	struct cpu *cpu = this_cpu();
	unsigned int index;
	void *p;

	if (unlikely(size - 1 >= SIZE_INDEX_MAX) || unlikely(gfp & ~GFP_ANY_OBJECT))
		return kmalloc_slow(size, gfp, site);
	index = size_index[(size - 1) / 8];
	if (unlikely(gfp & __GFP_ZERO) ||
	    unlikely(!slab_pop(cpu, slab_array_here(cpu, KMALLOC_CLASS(KMALLOC_NORMAL, index)),
			       gfp, &p)))
		return kmalloc_unready(size, gfp, site);
	return p;
}

void *kmalloc_node_site(size_t size, gfp_t gfp, int node, const struct site *site)
{
	struct kmem_cache *cachep = NULL;
	size_t bytes = 0;
	void *p;

	if (!size || node == NUMA_NO_NODE)
		return kmalloc_site(size, gfp, site);
	if (size > KMALLOC_MAX_CACHE_SIZE) {
		bytes = PAGE_SIZE << get_order(size);
		p = kmalloc_large(size, gfp, node, site);
	} else {
		cachep = kmalloc_slab(slab_here(), size, gfp);
		bytes = cachep->object_size;
		p = slab_alloc_node(cachep, gfp, node, size, site);
	}
	trace_alloc(TRACE_KMALLOC, cachep, p, size, bytes, gfp, site);
	return p;
}

void *kmalloc_array_node_site(size_t n, size_t size, gfp_t gfp, int node, const struct site *site)
{
	size_t bytes;

	if (check_mul_overflow(n, size, &bytes))
		return NULL;
	return kmalloc_node_site(bytes, gfp, node, site);
}

void *(kmalloc)(size_t size, gfp_t gfp)
{
	return kmalloc_site(size, gfp, SITE());
}

static void not_a_slab(const void *p, const struct site *site)
{
	trace_slab_step("not_a_slab", "a frame that is no slab page, and no large block: a warning");
	report_bad_free("kfree", p, site);
}

static noinline void kfree_slow(const void *p, const struct site *site)
{
	struct page *page;

	trace_free(TRACE_KFREE, NULL, p, site);
	if (unlikely(!virt_addr_valid(p))) {
		report_bad_free("kfree", p, site);
		return;
	}
	page = virt_to_head_page(p);
	trace_slab_step("virt_to_head_page", "pfn 0x%lx, head 0x%lx: %s",
			page_to_pfn(virt_to_page(p)), page_to_pfn(page),
			PageSlab(page) ? page->slab_cache->name : "not a slab");
	if (likely(PageSlab(page)))
		slab_free(page->slab_cache, (void *)p, site);
	else if (kmalloc_is_large(page))
		free_large_kmalloc(page, p, site);
	else
		not_a_slab(p, site);
}

void kfree_site(const void *p, const struct site *site)
{
	struct cpu *cpu = this_cpu();
	struct array_cache *ac;

	if (unlikely(ZERO_OR_NULL_PTR(p))) {
		trace_free(TRACE_KFREE, NULL, p, site);
		trace_slab_step("ZERO_OR_NULL_PTR", "nothing to free");
		return;
	}
	/* No safe point in here: nobody else runs on this CPU meanwhile. */
	ac = slab_array_here(cpu, slab_class_of(cpu, p));
	if (unlikely(slab_is_top(ac, p)) || unlikely(!slab_push(ac, p)))
		kfree_slow(p, site);
}

void (kfree)(const void *p)
{
	kfree_site(p, SITE());
}

size_t ksize(const void *p)
{
	struct page *page;
	size_t size = 0;

	if (ZERO_OR_NULL_PTR(p))
		return 0;
	if (WARN(!virt_addr_valid(p), "ksize: %s", foreign_kind(p)))
		return 0;
	page = virt_to_head_page(p);
	if (PageSlab(page))
		size = page->slab_cache->object_size;
	else if (kmalloc_is_large(page))
		size = page_size(page);
	WARN(!size, "ksize: %s", foreign_kind(p));
	/* From now on the caller may use all of it. */
	if (PageSlab(page) && READ_ONCE(page->slab_cache->debug))
		debug_use_all(page->slab_cache, page, (void *)p);
	else
		mem_unpoison(p, size);
	return size;
}

size_t kmalloc_size_roundup(size_t size)
{
	if (!size || size > KMALLOC_MAX_SIZE)
		return size;
	if (size > KMALLOC_MAX_CACHE_SIZE)
		return PAGE_SIZE << get_order(size);
	return kmalloc_info[kmalloc_index(size)].size;
}

void kfree_sensitive_site(const void *p, const struct site *site)
{
	size_t size = ksize(p);

	if (size)
		memset((void *)p, 0, size);
	barrier();	/* the compiler must not drop stores to memory that is about to be freed */
	kfree_site(p, site);
}

void *kmalloc_array_site(size_t n, size_t size, gfp_t gfp, const struct site *site)
{
	size_t bytes;

	if (check_mul_overflow(n, size, &bytes))
		return NULL;
	return kmalloc_site(bytes, gfp, site);
}

/* Is the memory at @p an allocated object, as far as somebody keeps track? */
static bool is_allocated(const void *p)
{
	struct page *page = virt_to_head_page(p);
	const struct obj_track *track;

	if (!PageSlab(page))
		return true;
	track = track_of(page->slab_cache, page, p);
	return !track || track->alloc;
}

void *krealloc_site(const void *p, size_t size, gfp_t gfp, const struct site *site)
{
	size_t have;
	void *q;

	if (!size) {
		kfree_site(p, site);
		return ZERO_SIZE_PTR;
	}
	if (ZERO_OR_NULL_PTR(p))
		return kmalloc_site(size, gfp, site);
	if (WARN(virt_addr_valid(p) && !is_allocated(p), "krealloc of freed memory, at %s:%u",
		 site->file, site->line)) {
		kmem_dump_obj(p);
		return NULL;
	}
	have = ksize(p);
	if (!have)
		return NULL;
	if (have >= size) {
		mem_poison((const char *)p + size, have - size);
		return (void *)p;
	}
	q = kmalloc_site(size, gfp, site);
	if (q) {
		memcpy(q, p, have);
		kfree_site(p, site);
	}
	return q;
}

/* ---- freeing after a grace period ---- */

void kfree_rcu_callback(struct rcu_head *head)
{
	void *obj = slab_object_of(head, NULL);

	if (!obj && virt_addr_valid(head) && kmalloc_is_large(virt_to_head_page(head)))
		obj = page_to_virt(virt_to_head_page(head));
	kfree_site(obj ? obj : (void *)head, SITE());
}
