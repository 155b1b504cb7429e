/* SPDX-License-Identifier: MIT */
/*
 * Goal: every call that takes frames or objects does all of its work or none, at whichever of its
 * allocations memory runs out.
 * Method: a table of all those calls, run by fail_nth.h.
 */
#include <karc/mm/phys/folio.h>
#include <karc/mm/phys/memcg.h>
#include "fail_nth.h"

/* ---- frames ---- */

static void undo_page(struct world *w)
{
	__free_page(w->p);
}

static void undo_block(struct world *w)
{
	__free_pages(w->p, 3);
}

static void undo_address(struct world *w)
{
	free_page((unsigned long)w->p);
}

static void undo_pages_exact(struct world *w)
{
	free_pages_exact(w->p, 5 * PAGE_SIZE);
}

static long row_alloc_page(struct world *w)
{
	return given(w, alloc_page(w->gfp));
}

static long row_alloc_page_highmem(struct world *w)
{
	return given(w, alloc_page(w->gfp | __GFP_HIGHMEM | __GFP_ZERO));
}

static long row_alloc_pages(struct world *w)
{
	return given(w, alloc_pages(w->gfp, 3));
}

static long row_alloc_pages_comp(struct world *w)
{
	return given(w, alloc_pages(w->gfp | __GFP_COMP, 3));
}

static long row_alloc_pages_node(struct world *w)
{
	return given(w, alloc_pages_node(0, w->gfp | __GFP_THISNODE, 3));
}

static long row___get_free_page(struct world *w)
{
	return given(w, (void *)__get_free_page(w->gfp));
}

static long row_get_zeroed_page(struct world *w)
{
	return given(w, (void *)get_zeroed_page(w->gfp));
}

static long row___get_dma_pages(struct world *w)
{
	return given(w, (void *)__get_dma_pages(w->gfp, 0));
}

static long row_alloc_pages_exact(struct world *w)
{
	return given(w, alloc_pages_exact(5 * PAGE_SIZE, w->gfp));
}

static long row_alloc_pages_exact_nid(struct world *w)
{
	return given(w, alloc_pages_exact_nid(0, 5 * PAGE_SIZE, w->gfp));
}

static long row___alloc_pages(struct world *w)
{
	return given(w, __alloc_pages(w->gfp, 3, 0, NULL));
}

static long row_folio_alloc(struct world *w)
{
	return given(w, folio_alloc(w->gfp, 3));
}

static void undo_folio(struct world *w)
{
	folio_put(w->p);
}

static long row_alloc_contig_pages(struct world *w)
{
	return given(w, alloc_contig_pages(50, w->gfp, 0, NULL));
}

static void undo_contig(struct world *w)
{
	free_contig_range(page_to_pfn(w->p), 50);
}

static long row_alloc_pages_bulk_array(struct world *w)
{
	return bulk_pages(w);
}

static long row_alloc_pages_bulk_array_node(struct world *w)
{
	memset(w->pages, 0, sizeof(w->pages));
	if (alloc_pages_bulk_array_node(w->gfp, 0, BULK, w->pages) == BULK)
		return 0;
	undo_bulk_pages(w);
	return -ENOMEM;
}

static void free_list_of_pages(struct list_head *list)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, list, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
}

static long row_alloc_pages_bulk_list(struct world *w)
{
	unsigned long nr;

	INIT_LIST_HEAD(&w->list);
	nr = alloc_pages_bulk_list(w->gfp, BULK, &w->list);
	if (nr == BULK)
		return 0;
	free_list_of_pages(&w->list);
	return -ENOMEM;
}

static void undo_bulk_list(struct world *w)
{
	free_list_of_pages(&w->list);
}

static long row_mem_cgroup_alloc(struct world *w)
{
	return given(w, mem_cgroup_alloc(MEMCG_NO_LIMIT, w->gfp));
}

static void undo_group(struct world *w)
{
	mem_cgroup_put(w->p);
}

/* In a group of their own: what failed is charged to nobody. */
static long in_group(struct world *w, void *(*get)(struct world *w))
{
	struct mem_cgroup *old;

	w->group = mem_cgroup_alloc(1 << 20, w->gfp);
	if (!w->group)
		return -ENOMEM;
	old = set_active_memcg(w->group);
	w->p = get(w);
	set_active_memcg(old);
	if (w->p)
		return 0;
	assert_int_equal(mem_cgroup_usage(w->group), 0);
	mem_cgroup_put(w->group);
	return -ENOMEM;
}

static void *get_counted_block(struct world *w)
{
	return alloc_pages(w->gfp | __GFP_ACCOUNT, 3);
}

static long row_alloc_pages_account(struct world *w)
{
	return in_group(w, get_counted_block);
}

static void undo_counted_block(struct world *w)
{
	__free_pages(w->p, 3);
	assert_int_equal(mem_cgroup_usage(w->group), 0);
	mem_cgroup_put(w->group);
}

/* ---- objects ---- */

static void undo_kfree(struct world *w)
{
	kfree(w->p);
}

static long row_kmalloc(struct world *w)
{
	return given_all(w, kmalloc(100, w->gfp), 100);
}

static long row_kmalloc_off_slab(struct world *w)
{
	return given_all(w, kmalloc(8192, w->gfp), 8192);
}

static long row_kmalloc_large(struct world *w)
{
	return given_all(w, kmalloc(20000, w->gfp), 20000);
}

static long row_kmalloc_dma(struct world *w)
{
	return given_all(w, kmalloc(96, w->gfp | GFP_DMA), 96);
}

static long row_kmalloc_node(struct world *w)
{
	return given_all(w, kmalloc_node(500, w->gfp, 0), 500);
}

static long row_kzalloc(struct world *w)
{
	return given_all(w, kzalloc(3000, w->gfp), 3000);
}

static long row_kmalloc_array(struct world *w)
{
	return given_all(w, kmalloc_array(30, 50, w->gfp), 1500);
}

static long row_kcalloc(struct world *w)
{
	return given_all(w, kcalloc(30, 50, w->gfp), 1500);
}

static long row_kmalloc_array_node(struct world *w)
{
	return given_all(w, kmalloc_array_node(30, 50, w->gfp, 0), 1500);
}

static long row_kzalloc_node(struct world *w)
{
	return given_all(w, kzalloc_node(33, w->gfp, 0), 33);
}

static void *get_counted_object(struct world *w)
{
	return kmalloc(200, w->gfp | __GFP_ACCOUNT);
}

static long row_kmalloc_account(struct world *w)
{
	return in_group(w, get_counted_object);
}

static void undo_counted_object(struct world *w)
{
	kfree(w->p);
	assert_int_equal(mem_cgroup_usage(w->group), 0);
	mem_cgroup_put(w->group);
}

static long row_krealloc_array(struct world *w)
{
	return given_all(w, krealloc_array(NULL, 7, 90, w->gfp), 630);
}

static long row_krealloc(struct world *w)
{
	void *old = kmalloc(40, w->gfp), *p;

	if (!old)
		return -ENOMEM;
	memset(old, 0x11, 40);
	p = krealloc(old, 5000, w->gfp);
	if (!p) {
		/* It stays the caller's, and whole. */
		assert_int_equal(((u8 *)old)[39], 0x11);
		kfree(old);
		return -ENOMEM;
	}
	assert_int_equal(((u8 *)p)[39], 0x11);
	return given_all(w, p, 5000);
}

static long row_kstrdup(struct world *w)
{
	return given(w, kstrdup("a string", w->gfp));
}

static long row_kstrndup(struct world *w)
{
	return given(w, kstrndup("a string", 3, w->gfp));
}

static long row_kmemdup(struct world *w)
{
	return given(w, kmemdup("0123456789abcdef", 16, w->gfp));
}

static long row_kmemdup_nul(struct world *w)
{
	return given(w, kmemdup_nul("0123456789abcdef", 16, w->gfp));
}

static long row_kasprintf(struct world *w)
{
	return given(w, kasprintf(w->gfp, "%d-%s", 7, "a string"));
}

static long row_kmem_cache_create(struct world *w)
{
	return given(w, kmem_cache_create("nth", 120, 0, SLAB_HWCACHE_ALIGN, NULL));
}

static long row_kmem_cache_create_usercopy(struct world *w)
{
	return given(w, kmem_cache_create_usercopy("nth", 4000, 0, 0, 8, 16, NULL));
}

static void undo_cache(struct world *w)
{
	kmem_cache_destroy(w->p);
}

/* The first object of a cache is the one with the most to be made for it. */
static long first_object(struct world *w, unsigned int size, gfp_t gfp)
{
	w->cache = kmem_cache_create("nth", size, 0, 0, NULL);
	if (!w->cache)
		return -ENOMEM;
	w->p = kmem_cache_alloc(w->cache, gfp);
	if (w->p)
		return 0;
	assert_int_equal(kmem_cache_live_objects(w->cache), 0);
	kmem_cache_destroy(w->cache);
	return -ENOMEM;
}

static void undo_object(struct world *w)
{
	kmem_cache_free(w->cache, w->p);
	kmem_cache_destroy(w->cache);
}

static long row_kmem_cache_alloc(struct world *w)
{
	return first_object(w, 120, w->gfp);
}

static long row_kmem_cache_zalloc_off_slab(struct world *w)
{
	return first_object(w, 2000, w->gfp | __GFP_ZERO);
}

static long row_kmem_cache_alloc_node(struct world *w)
{
	w->cache = kmem_cache_create("nth", 300, 0, 0, NULL);
	if (!w->cache)
		return -ENOMEM;
	w->p = kmem_cache_alloc_node(w->cache, w->gfp, 0);
	if (w->p)
		return 0;
	kmem_cache_destroy(w->cache);
	return -ENOMEM;
}

static long row_kmem_cache_alloc_rcu(struct world *w)
{
	w->cache = kmem_cache_create("nth", 300, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	if (!w->cache)
		return -ENOMEM;
	w->p = kmem_cache_alloc_lru(w->cache, NULL, w->gfp);
	if (w->p)
		return 0;
	kmem_cache_destroy(w->cache);
	return -ENOMEM;
}

static void undo_bulk_objects(struct world *w)
{
	kmem_cache_free_bulk(w->cache, BULK, w->bulk);
	kmem_cache_destroy(w->cache);
}

static long row_kmem_cache_alloc_bulk(struct world *w)
{
	int nr;

	w->cache = kmem_cache_create("nth", 900, 0, 0, NULL);
	if (!w->cache)
		return -ENOMEM;
	nr = kmem_cache_alloc_bulk(w->cache, w->gfp, BULK, w->bulk);
	if (nr == BULK)
		return 0;
	assert_int_equal(nr, 0);
	assert_int_equal(kmem_cache_live_objects(w->cache), 0);
	kmem_cache_destroy(w->cache);
	return -ENOMEM;
}

static const struct row rows[] = {
	ROW(alloc_page, undo_page),
	ROW(alloc_page_highmem, undo_page),
	ROW(alloc_pages, undo_block),
	ROW(alloc_pages_comp, undo_block),
	ROW(alloc_pages_node, undo_block),
	ROW(__get_free_page, undo_address),
	ROW(get_zeroed_page, undo_address),
	ROW(__get_dma_pages, undo_address),
	ROW(alloc_pages_exact, undo_pages_exact),
	ROW(alloc_pages_exact_nid, undo_pages_exact),
	ROW(__alloc_pages, undo_block),
	ROW(folio_alloc, undo_folio),
	ROW(alloc_contig_pages, undo_contig),
	ROW(alloc_pages_bulk_array, undo_bulk_pages),
	ROW(alloc_pages_bulk_array_node, undo_bulk_pages),
	ROW(alloc_pages_bulk_list, undo_bulk_list),
	ROW(mem_cgroup_alloc, undo_group),
	ROW(alloc_pages_account, undo_counted_block),
	ROW(kmalloc, undo_kfree),
	ROW(kmalloc_off_slab, undo_kfree),
	ROW(kmalloc_large, undo_kfree),
	ROW(kmalloc_dma, undo_kfree),
	ROW(kmalloc_node, undo_kfree),
	ROW(kzalloc, undo_kfree),
	ROW(kmalloc_array, undo_kfree),
	ROW(kcalloc, undo_kfree),
	ROW(kmalloc_array_node, undo_kfree),
	ROW(kzalloc_node, undo_kfree),
	ROW(kmalloc_account, undo_counted_object),
	ROW(krealloc, undo_kfree),
	ROW(krealloc_array, undo_kfree),
	ROW(kstrdup, undo_kfree),
	ROW(kstrndup, undo_kfree),
	ROW(kmemdup, undo_kfree),
	ROW(kmemdup_nul, undo_kfree),
	ROW(kasprintf, undo_kfree),
	ROW_SLEEPS(kmem_cache_create, undo_cache),
	ROW_SLEEPS(kmem_cache_create_usercopy, undo_cache),
	ROW(kmem_cache_alloc, undo_object),
	ROW(kmem_cache_zalloc_off_slab, undo_object),
	ROW(kmem_cache_alloc_node, undo_object),
	ROW(kmem_cache_alloc_rcu, undo_object),
	ROW(kmem_cache_alloc_bulk, undo_bulk_objects),
};

FAIL_NTH_MAIN(rows)
