/* SPDX-License-Identifier: MIT */
/*
 * vmalloc.c - frames from the buddy shown side by side; kvmalloc on top
 *
 * What it is
 *	Takes frames in the largest runs that the buddy has at hand, so that the host needs few
 *	mappings, makes single frames of them, and maps them into an area that it owns.
 *
 * Invariants
 *	I1 each entry of an area's pages[] holds one reference on its frame
 *
 * Worst case
 *	One attempt per order and run: a run that is not there lowers the order for all that follow.
 */
#include <limits.h>
#include <string.h>

#include "internal.h"

/* Runs beyond this are not worth asking for: the host's cost per mapping is spread already. */
#define MAX_RUN_ORDER	9u

static void put_pages(struct page **pages, unsigned int nr_pages)
{
	for (unsigned int i = 0; i < nr_pages; i++) {
		mod_node_page_state(NODE_DATA(page_to_nid(pages[i])), NR_VMALLOC_PAGES, -1);
		__free_page(pages[i]);
	}
}

/* Fill pages[] with single frames, in runs; -ENOMEM and nothing kept. I1. */
static int get_pages(struct page **pages, unsigned int nr_pages, gfp_t gfp, int node,
		     const struct site *site)
{
	unsigned int order = MAX_RUN_ORDER, got = 0;

	while (got < nr_pages) {
		gfp_t try = gfp;
		struct page *page;

		order = min(order, (unsigned int)ilog2(nr_pages - got));
		if (order)
			try = (gfp & ~__GFP_NOFAIL) | __GFP_NORETRY | __GFP_NOWARN;
		page = alloc_pages_node_site(node, try, order, site);
		if (!page && !order) {
			put_pages(pages, got);
			return -ENOMEM;
		}
		if (!page) {
			order--;
			continue;
		}
		if (order)
			split_page(page, order);
		for (unsigned int i = 0; i < 1u << order; i++)
			pages[got++] = page + i;
		mod_node_page_state(NODE_DATA(page_to_nid(page)), NR_VMALLOC_PAGES, 1L << order);
	}
	return 0;
}

void *__vmalloc_node_site(unsigned long size_bytes, unsigned long align, gfp_t gfp, int node,
			  const struct site *site)
{
	unsigned long nr_pages = PAGE_ALIGN(size_bytes) >> PAGE_SHIFT;
	struct page **pages;
	struct vmap_area *va;

	if (gfpflags_allow_blocking(gfp))
		might_sleep_site(site);
	if (!size_bytes || PAGE_ALIGN(size_bytes) < size_bytes ||
	    nr_pages > physmem_nr_frames(karc_cpu->machine))
		return NULL;
	pages = kmalloc_array_site(nr_pages, sizeof(*pages),
				   gfp & ~(__GFP_HIGHMEM | __GFP_ZERO), site);
	if (!pages)
		return NULL;
	va = area_alloc(size_bytes, align, VM_ALLOC, gfp, site);
	if (!va)
		goto free_array;
	if (get_pages(pages, (unsigned int)nr_pages, gfp, node, site))
		goto free_area;
	if (area_map_pages(va, pages, (unsigned int)nr_pages))
		goto put;
	return va->vm.addr;
put:
	put_pages(pages, (unsigned int)nr_pages);
free_area:
	area_free(va);
free_array:
	kfree(pages);
	return NULL;
}

/* An area with nothing mapped any more: its frames, its array, itself. */
void area_release(struct vmap_area *va)
{
	struct page **pages = va->vm.pages;
	unsigned int nr_pages = va->vm.nr_pages;
	unsigned long flags = va->vm.flags;

	area_free(va);
	if (flags & VM_ALLOC) {
		put_pages(pages, nr_pages);
		kfree(pages);
	} else if (flags & VM_MAP_PUT_PAGES) {
		for (unsigned int i = 0; i < nr_pages; i++)
			put_page(pages[i]);
		kvfree(pages);
	}
}

void vfree(const void *addr)
{
	struct vmap_area *va;

	if (!addr)
		return;
	va = area_take(addr);
	if (WARN(!va, "Trying to vfree() nonexistent vm area, or not its start"))
		return;
	area_release(va);
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
		vfree(p);
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
