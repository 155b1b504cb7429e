/* SPDX-License-Identifier: MIT */
/*
 * Goal: every call that takes ranges of addresses, per-CPU memory, reserves, memory for devices or
 * names does all of its work or none, at whichever of its allocations memory runs out.
 * Method: a table of all those calls, run by fail_nth.h.
 */
#include <karc/kobject/device.h>
#include <karc/kobject/dma.h>
#include "fail_nth.h"

/* ---- ranges ---- */

static void undo_vfree(struct world *w)
{
	vfree(w->p);
}

static void undo_kvfree(struct world *w)
{
	kvfree(w->p);
}

static long row_vmalloc(struct world *w)
{
	return given_all(w, vmalloc(6 * PAGE_SIZE), 6 * PAGE_SIZE);
}

static long row_vzalloc(struct world *w)
{
	return given_all(w, vzalloc(100), 100);
}

static long row___vmalloc(struct world *w)
{
	return given_all(w, __vmalloc(3 * PAGE_SIZE, GFP_KERNEL | __GFP_ZERO), 3 * PAGE_SIZE);
}

static long row___vmalloc_node(struct world *w)
{
	return given_all(w, __vmalloc_node(PAGE_SIZE, 1UL << 20, GFP_KERNEL, NUMA_NO_NODE,
					   __builtin_return_address(0)), PAGE_SIZE);
}

static long row_vmalloc_node(struct world *w)
{
	return given_all(w, vmalloc_node(2 * PAGE_SIZE, 0), 2 * PAGE_SIZE);
}

static long row_vmalloc_user(struct world *w)
{
	return given_all(w, vmalloc_user(3 * PAGE_SIZE), 3 * PAGE_SIZE);
}

static long row_vmalloc_32(struct world *w)
{
	return given_all(w, vmalloc_32(2 * PAGE_SIZE), 2 * PAGE_SIZE);
}

static long row_vcalloc(struct world *w)
{
	return given_all(w, vcalloc(9, 1000), 9000);
}

static long row_kvmalloc(struct world *w)
{
	return given_all(w, kvmalloc(50, GFP_KERNEL), 50);
}

static long row_kvmalloc_large(struct world *w)
{
	return given_all(w, kvmalloc(40 * PAGE_SIZE, GFP_KERNEL), 40 * PAGE_SIZE);
}

static long row_kvcalloc(struct world *w)
{
	return given_all(w, kvcalloc(5, PAGE_SIZE, GFP_KERNEL), 5 * PAGE_SIZE);
}

static long row_kvrealloc(struct world *w)
{
	void *old = kvmalloc(PAGE_SIZE, GFP_KERNEL), *p;

	if (!old)
		return -ENOMEM;
	memset(old, 0x22, PAGE_SIZE);
	p = kvrealloc(old, PAGE_SIZE, 9 * PAGE_SIZE, GFP_KERNEL);
	if (!p) {
		assert_int_equal(((u8 *)old)[PAGE_SIZE - 1], 0x22);
		kvfree(old);
		return -ENOMEM;
	}
	assert_int_equal(((u8 *)p)[PAGE_SIZE - 1], 0x22);
	return given_all(w, p, 9 * PAGE_SIZE);
}

static long bulk_mapped(struct world *w, bool ram)
{
	void *p;

	if (bulk_pages(w))
		return -ENOMEM;
	p = ram ? vm_map_ram(w->pages, BULK, 0) : vmap(w->pages, BULK, VM_MAP, PAGE_KERNEL);
	if (!p)
		undo_bulk_pages(w);
	return given_all(w, p, BULK * PAGE_SIZE);
}

static long row_vmap(struct world *w)
{
	return bulk_mapped(w, false);
}

static void undo_vmap(struct world *w)
{
	vunmap(w->p);
	undo_bulk_pages(w);
}

static long row_vm_map_ram(struct world *w)
{
	return bulk_mapped(w, true);
}

static void undo_vm_map_ram(struct world *w)
{
	vm_unmap_ram(w->p, BULK);
	undo_bulk_pages(w);
}

/* kmap() itself cannot fail, so it is here for its frame. */
static long row_kmap(struct world *w)
{
	w->p = alloc_page(w->gfp | __GFP_HIGHMEM);
	if (!w->p)
		return -ENOMEM;
	memset(kmap((struct page *)w->p), 1, PAGE_SIZE);
	return 0;
}

static void undo_kmap(struct world *w)
{
	kunmap((struct page *)w->p);
	__free_page(w->p);
}

/* ---- per-CPU memory, reserves, names ---- */

static long row_alloc_percpu(struct world *w)
{
	return given(w, (void *)alloc_percpu(struct world));
}

static long row___alloc_percpu_gfp(struct world *w)
{
	return given(w, (void *)__alloc_percpu_gfp(3000, 64, w->gfp));
}

static void undo_percpu(struct world *w)
{
	free_percpu(w->p);
}

static long row_mempool_create_kmalloc_pool(struct world *w)
{
	return given(w, mempool_create_kmalloc_pool(4, 300));
}

static long row_mempool_create_page_pool(struct world *w)
{
	return given(w, mempool_create_page_pool(3, 1));
}

static void undo_pool(struct world *w)
{
	mempool_destroy(w->p);
}

static long row_mempool_create_slab_pool(struct world *w)
{
	w->cache = kmem_cache_create("nth", 120, 0, 0, NULL);
	if (!w->cache)
		return -ENOMEM;
	w->p = mempool_create_slab_pool(5, w->cache);
	if (w->p)
		return 0;
	kmem_cache_destroy(w->cache);
	return -ENOMEM;
}

static void undo_slab_pool(struct world *w)
{
	mempool_destroy(w->p);
	kmem_cache_destroy(w->cache);
}

/* A reserve is for exactly this: whatever fails below, the element comes. */
static long row_mempool_alloc(struct world *w)
{
	w->pool = mempool_create_kmalloc_pool(2, 300);
	if (!w->pool)
		return -ENOMEM;
	w->p = mempool_alloc(w->pool, w->gfp);
	assert_non_null(w->p);
	return 0;
}

static void undo_pool_element(struct world *w)
{
	mempool_free(w->p, w->pool);
	mempool_destroy(w->pool);
}

static long row_mempool_resize(struct world *w)
{
	mempool_t *pool = mempool_create_kmalloc_pool(2, 300);

	if (!pool)
		return -ENOMEM;
	if (mempool_resize(pool, 9)) {
		assert_int_equal(pool->min_nr, 2);
		mempool_destroy(pool);
		return -ENOMEM;
	}
	return given(w, pool);
}

static long row_mempool_init(struct world *w)
{
	mempool_t *pool = kzalloc(sizeof(*pool), GFP_KERNEL);

	if (!pool)
		return -ENOMEM;
	if (mempool_init_kmalloc_pool(pool, 3, 500)) {
		assert_false(mempool_initialized(pool));
		kfree(pool);
		return -ENOMEM;
	}
	return given(w, pool);
}

static void undo_pool_of_caller(struct world *w)
{
	mempool_exit(w->p);
	kfree(w->p);
}

/* A device that reaches the lowest 16 MiB. */
static int device_start(struct world *w)
{
	w->dev = root_device_register("nth");
	if (IS_ERR(w->dev))
		return -ENOMEM;
	assert_int_equal(dma_coerce_mask_and_coherent(w->dev, DMA_BIT_MASK(24)), 0);
	return 0;
}

static long row_dma_alloc_coherent(struct world *w)
{
	dma_addr_t handle;

	if (device_start(w))
		return -ENOMEM;
	w->p = dma_alloc_coherent(w->dev, 3 * PAGE_SIZE, &handle, w->gfp);
	if (w->p) {
		assert_true(handle + 3 * PAGE_SIZE <= 16 << 20);
		w->dma = handle;
		return 0;
	}
	assert_int_equal(dma_nr_mapped(w->dev), 0);
	root_device_unregister(w->dev);
	return -ENOMEM;
}

static void undo_coherent(struct world *w)
{
	dma_free_coherent(w->dev, 3 * PAGE_SIZE, w->p, w->dma);
	root_device_unregister(w->dev);
}

static long row_dma_pool_alloc(struct world *w)
{
	dma_addr_t handle;

	if (device_start(w))
		return -ENOMEM;
	w->p = NULL;
	w->pool_of_dev = dma_pool_create("nth", w->dev, 100, 16, 0);
	if (w->pool_of_dev)
		w->p = dma_pool_alloc(w->pool_of_dev, w->gfp, &handle);
	if (w->p) {
		w->dma = handle;
		return 0;
	}
	dma_pool_destroy(w->pool_of_dev);
	root_device_unregister(w->dev);
	return -ENOMEM;
}

static void undo_dma_pool(struct world *w)
{
	dma_pool_free(w->pool_of_dev, w->p, w->dma);
	dma_pool_destroy(w->pool_of_dev);
	root_device_unregister(w->dev);
}

static long row_dma_map_single(struct world *w)
{
	dma_addr_t handle;

	if (device_start(w))
		return -ENOMEM;
	w->p = kmalloc(300, GFP_KERNEL | GFP_DMA);
	if (!w->p)
		goto no_memory;
	handle = dma_map_single(w->dev, w->p, 300, DMA_TO_DEVICE);
	if (!dma_mapping_error(w->dev, handle)) {
		w->dma = handle;
		return 0;
	}
	kfree(w->p);
no_memory:
	root_device_unregister(w->dev);
	return -ENOMEM;
}

static void undo_dma_map(struct world *w)
{
	dma_unmap_single(w->dev, w->dma, 300, DMA_TO_DEVICE);
	kfree(w->p);
	root_device_unregister(w->dev);
}

static long row_kobject_create_and_add(struct world *w)
{
	return given(w, kobject_create_and_add("nth", NULL));
}

static void undo_kobject(struct world *w)
{
	kobject_put(w->p);
}

static const struct row rows[] = {
	ROW_SLEEPS(vmalloc, undo_vfree),
	ROW_SLEEPS(vzalloc, undo_vfree),
	ROW_SLEEPS(__vmalloc, undo_vfree),
	ROW_SLEEPS(__vmalloc_node, undo_vfree),
	ROW_SLEEPS(vmalloc_node, undo_vfree),
	ROW_SLEEPS(vmalloc_user, undo_vfree),
	ROW_SLEEPS(vmalloc_32, undo_vfree),
	ROW_SLEEPS(vcalloc, undo_vfree),
	ROW_SLEEPS(kvmalloc, undo_kvfree),
	ROW_SLEEPS(kvmalloc_large, undo_kvfree),
	ROW_SLEEPS(kvcalloc, undo_kvfree),
	ROW_SLEEPS(kvrealloc, undo_kvfree),
	ROW_SLEEPS(vmap, undo_vmap),
	ROW_SLEEPS(vm_map_ram, undo_vm_map_ram),
	ROW_SLEEPS(kmap, undo_kmap),
	ROW_SLEEPS(alloc_percpu, undo_percpu),
	ROW(__alloc_percpu_gfp, undo_percpu),
	ROW_SLEEPS(mempool_create_kmalloc_pool, undo_pool),
	ROW_SLEEPS(mempool_create_page_pool, undo_pool),
	ROW_SLEEPS(mempool_create_slab_pool, undo_slab_pool),
	ROW(mempool_alloc, undo_pool_element),
	ROW_SLEEPS(mempool_resize, undo_pool),
	ROW_SLEEPS(mempool_init, undo_pool_of_caller),
	ROW_SLEEPS(dma_alloc_coherent, undo_coherent),
	ROW_SLEEPS(dma_pool_alloc, undo_dma_pool),
	ROW_SLEEPS(dma_map_single, undo_dma_map),
	ROW_SLEEPS(kobject_create_and_add, undo_kobject),
};

FAIL_NTH_MAIN(rows)
