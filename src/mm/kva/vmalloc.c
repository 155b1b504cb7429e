/* SPDX-License-Identifier: MIT */
/*
 * vmalloc.c - frames from the buddy shown side by side; kvmalloc on top
 *
 * What it is
 *	Takes frames in the largest runs that the buddy has at hand, so that the host needs few
 *	mappings, makes single frames of them, and maps them into an area that it owns. Before that
 *	it asks for an area of this size that was freed and waits, frames and all (lazy.c).
 *
 * Invariants
 *	I1 each entry of an area's pages[] holds one reference on its frame
 *	I2 NR_VMALLOC_PAGES counts the frames of areas that are busy
 *
 * Worst case
 *	One attempt per order and run: a run that is not there lowers the order for all that follow.
 *
 * Unlike Linux
 *	No huge entries: vmalloc_huge() is vmalloc(). The array of frames is one block of the buddy,
 *	which limits an area to 2 GiB. Ranges are given as init_mm knows the window, from
 *	VMALLOC_START on. Memory that was freed a moment ago comes as it was left unless zero is
 *	asked for, as frames of the buddy do.
 */
#include <limits.h>
#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/inject.h>
#include <karc/hw/topology.h>
#include <karc/mm/phys/memalloc.h>
#include <karc/refcount/free_check.h>
#include "internal.h"

/* The buddy's largest block. */
#define MAX_RUN_ORDER	(MAX_ORDER - 1u)

/* What decides whether frames of one area would do for another request. */
static gfp_t frame_kind(gfp_t gfp)
{
	return gfp & (GFP_ZONEMASK | __GFP_ACCOUNT);
}

/* @sign: they are an area's now, or no longer. I2. */
static void count_pages(const struct vmap_area *va, long sign)
{
	unsigned int i;

	if (va->nid != NUMA_NO_NODE) {
		mod_node_page_state(NODE_DATA(va->nid), NR_VMALLOC_PAGES, sign * va->vm.nr_pages);
		return;
	}
	for (i = 0; i < va->vm.nr_pages; i++)
		mod_node_page_state(NODE_DATA(page_to_nid(va->vm.pages[i])), NR_VMALLOC_PAGES,
				    sign);
}

static void free_frames(struct page **pages, unsigned int nr_pages)
{
	unsigned int i;

	for (i = 0; i < nr_pages; i++)
		__free_page(pages[i]);
}

/* The node of all frames, or NUMA_NO_NODE. */
static int common_node(struct page **pages, unsigned int nr_pages)
{
	int nid = page_to_nid(pages[0]);
	unsigned int i;

	if (page_to_nid(pages[nr_pages - 1]) != nid)
		return NUMA_NO_NODE;
	if (pages[nr_pages - 1] == pages[0] + (nr_pages - 1))
		return nid;
	for (i = 1; i < nr_pages; i++) {
		if (page_to_nid(pages[i]) != nid)
			return NUMA_NO_NODE;
	}
	return nid;
}

/* Fill pages[] with single frames, in runs; -ENOMEM and nothing kept. I1. */
static int get_frames(struct page **pages, unsigned int nr_pages, gfp_t gfp, int node,
		      const struct site *site)
{
	unsigned int order = MAX_RUN_ORDER, got = 0, i;

	while (got < nr_pages) {
		gfp_t try = gfp;
		struct page *page;

		order = min(order, (unsigned int)ilog2(nr_pages - got));
		if (order)
			try = (gfp & ~__GFP_NOFAIL) | __GFP_NORETRY | __GFP_NOWARN;
		page = alloc_pages_node_site(node, try, order, site);
		if (!page && !order) {
			free_frames(pages, got);
			return -ENOMEM;
		}
		if (!page) {
			order--;
			continue;
		}
		if (order)
			split_page(page, order);
		for (i = 0; i < 1u << order; i++)
			pages[got++] = page + i;
	}
	return 0;
}

/* Tables are asked for with GFP_KERNEL; the caller's scope narrows that. */
static int map_in_scope(struct vmap_area *va, struct page **pages, unsigned int nr_pages,
			gfp_t gfp, pgprot_t prot)
{
	unsigned int had;
	int err;

	if ((gfp & (__GFP_FS | __GFP_IO)) == (__GFP_FS | __GFP_IO))
		return area_map_pages(va, pages, nr_pages, prot);
	if (gfp & __GFP_IO) {
		had = memalloc_nofs_save();
		err = area_map_pages(va, pages, nr_pages, prot);
		memalloc_nofs_restore(had);
	} else {
		had = memalloc_noio_save();
		err = area_map_pages(va, pages, nr_pages, prot);
		memalloc_noio_restore(had);
	}
	return err;
}

/* A new area with new frames. */
static struct vmap_area *area_make(const struct area_want *want, int node, pgprot_t prot)
{
	unsigned int nr_pages = (unsigned int)(PAGE_ALIGN(want->size_bytes) >> PAGE_SHIFT);
	struct kva *kva = kva_here();
	struct page **pages;
	struct vmap_area *va;

	pages = kmalloc_array_site(nr_pages, sizeof(*pages),
				   want->gfp & ~(GFP_ZONEMASK | __GFP_ZERO | __GFP_ACCOUNT |
						 __GFP_THISNODE), want->site);
	if (!pages)
		return NULL;
	va = area_alloc(want);
	if (!va)
		goto free_array;
	if (get_frames(pages, nr_pages, want->gfp, node, want->site) &&
	    (!areas_purge(kva) || get_frames(pages, nr_pages, want->gfp, node, want->site)))
		goto discard;
	va->kind = frame_kind(want->gfp);
	va->nid = common_node(pages, nr_pages);
	if (map_in_scope(va, pages, nr_pages, want->gfp, prot))
		goto put_frames;
	count_pages(va, 1);
	return va;
put_frames:
	free_frames(pages, nr_pages);
discard:
	area_discard(va);
free_array:
	kfree(pages);
	return NULL;
}

/* Memory that was somebody's a moment ago, or NULL. Asks for injection as a new area would. */
static struct vmap_area *area_reuse(const struct area_want *want, int node, pgprot_t prot)
{
	struct vmap_area *va;

	if ((want->gfp & __GFP_ACCOUNT) || (want->flags & VM_NO_GUARD) ||
	    pgprot_val(prot) != pgprot_val(PAGE_KERNEL))
		return NULL;
	va = area_again(want, frame_kind(want->gfp), node == NUMA_NO_NODE ? numa_mem_id() : node);
	if (!va)
		return NULL;
	if (want_init_on_alloc(want->gfp))
		memset(va->vm.addr, 0, (size_t)va->vm.nr_pages << PAGE_SHIFT);
	count_pages(va, 1);
	return va;
}

/* As Linux: memory without the direct map will do, unless a zone was asked for. */
static gfp_t area_gfp(gfp_t gfp)
{
	gfp = current_gfp_context(gfp);
	return gfp & (__GFP_DMA | __GFP_DMA32) ? gfp & ~__GFP_HIGHMEM : gfp | __GFP_HIGHMEM;
}

void *__vmalloc_node_range_site(unsigned long size_bytes, unsigned long align,
				unsigned long start, unsigned long end, gfp_t gfp, pgprot_t prot,
				unsigned long vm_flags, int node, const struct site *site)
{
	const struct area_want want = {
		.size_bytes = size_bytes, .align = align, .low = start, .high = end,
		.flags = VM_ALLOC | (vm_flags & (VM_NO_GUARD | VM_USERMAP)),
		.gfp = area_gfp(gfp), .site = site,
	};
	struct vmap_area *va;

	if (gfpflags_allow_blocking(gfp))
		might_sleep_site(site);
	WARN(in_interrupt(), "vmalloc in interrupt context at %s:%d", site->file, site->line);
	if (!size_bytes || PAGE_ALIGN(size_bytes) < size_bytes ||
	    PAGE_ALIGN(size_bytes) >> PAGE_SHIFT > physmem_nr_frames(karc_cpu->machine))
		return NULL;
	if (inject_fail())
		return NULL;
	va = area_reuse(&want, node, prot);
	if (!va)
		va = area_make(&want, node, prot);
	if (va)
		return va->vm.addr;
	if (!(gfp & __GFP_NOWARN))
		pr_warn("%s: vmalloc error: size %lu, failed to allocate pages, mode:%#x\n",
			site->func, size_bytes, gfp);
	return NULL;
}

void *__vmalloc_node_site(unsigned long size_bytes, unsigned long align, gfp_t gfp, int node,
			  const struct site *site)
{
	return __vmalloc_node_range_site(size_bytes, align, 0, 0, gfp, PAGE_KERNEL, 0, node, site);
}

void *vmalloc_user_site(unsigned long size_bytes, gfp_t gfp, const struct site *site)
{
	return __vmalloc_node_range_site(size_bytes, PAGE_SIZE, 0, 0,
					 gfp | __GFP_ZERO, PAGE_KERNEL, VM_USERMAP, NUMA_NO_NODE,
					 site);
}

/* The frames and the array of an area, nothing mapped any more. */
void area_put_pages(struct vmap_area *va)
{
	struct page **pages = va->vm.pages;
	unsigned int i;

	if (va->vm.flags & VM_ALLOC) {
		free_frames(pages, va->vm.nr_pages);
		kfree(pages);
	} else {
		for (i = 0; i < va->vm.nr_pages; i++)
			put_page(pages[i]);
		kvfree(pages);
	}
}

void vfree_site(const void *addr, const struct site *site)
{
	struct vmap_area *va;

	if (!addr)
		return;
	va = area_take(addr, VM_ALLOC | VM_MAP_PUT_PAGES, "vfree", site);
	if (!va)
		return;
	if (machine_config(karc_cpu->machine)->track)
		check_freed_memory(addr, (size_t)va->nr_mapped << PAGE_SHIFT, "vfree", site);
	if (va->vm.flags & VM_ALLOC)
		count_pages(va, -1);
	area_retire(va, (va->vm.flags & VM_ALLOC) && !(va->vm.flags & VM_NO_GUARD) &&
		    !va->changed && !(va->kind & __GFP_ACCOUNT) && va->nid != NUMA_NO_NODE &&
		    !want_init_on_free() && !page_poisoning_enabled());
}

void (vfree)(const void *addr)
{
	vfree_site(addr, SITE());
}

unsigned long vmalloc_nr_pages(void)
{
	return global_node_page_state(NR_VMALLOC_PAGES);
}

/* ---- kvmalloc ---- */

void *kvmalloc_site(size_t size, gfp_t gfp, const struct site *site)
{
	gfp_t easy = gfp;
	void *p;

	if (size > PAGE_SIZE) {
		easy |= __GFP_NOWARN;
		if (!(easy & __GFP_RETRY_MAYFAIL))
			easy |= __GFP_NORETRY;
		easy &= ~__GFP_NOFAIL;
	}
	if (size <= KMALLOC_MAX_SIZE) {
		p = kmalloc_site(size, easy, site);
		if (p || size <= PAGE_SIZE)
			return p;
	}
	if (!gfpflags_allow_blocking(gfp) || size > INT_MAX)
		return NULL;
	return __vmalloc_node_site(size, 1, gfp | __GFP_HIGHMEM, NUMA_NO_NODE, site);
}

void kvfree_site(const void *p, const struct site *site)
{
	if (is_vmalloc_addr(p))
		vfree_site(p, site);
	else
		kfree_site(p, site);
}

void (kvfree)(const void *p)
{
	kvfree_site(p, SITE());
}

void kvfree_sensitive(const void *p, size_t size)
{
	if (!ZERO_OR_NULL_PTR(p)) {
		memset((void *)p, 0, size);
		barrier();
		kvfree(p);
	}
}

void *kvrealloc_site(const void *p, size_t old_size, size_t new_size, gfp_t gfp,
		     const struct site *site)
{
	void *q;

	if (old_size >= new_size)
		return (void *)p;
	q = kvmalloc_site(new_size, gfp, site);
	if (!q)
		return NULL;
	memcpy(q, p, old_size);
	kvfree_site(p, site);
	return q;
}

void kvfree_rcu_callback(struct rcu_head *head)
{
	if (is_vmalloc_addr(head))
		vfree(find_vm_area(head) ? find_vm_area(head)->addr : (void *)head);
	else
		kfree_rcu_callback(head);
}

void kvfree_after_rcu(const void *p)
{
	if (ZERO_OR_NULL_PTR(p))
		return;
	synchronize_rcu();
	kvfree(p);
}
