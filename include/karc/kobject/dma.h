/* SPDX-License-Identifier: MIT */
/*
 * dma.h - memory that a device reads and writes
 *
 * A DMA address is a physical address: there is no IOMMU, and nothing is bounced. A device reaches
 * the addresses below its mask, which is why coherent memory comes from a zone that the mask
 * covers, and why memory beyond it cannot be mapped.
 *
 * A mapping is a resource, counted from dma_map_x() to dma_unmap_x(). Whoever unmaps what is not
 * mapped, with another size, direction or function, or forgets to, is told so with the places
 * (Linux's CONFIG_DMA_API_DEBUG).
 */
#ifndef KARC_KOBJECT_DMA_H
#define KARC_KOBJECT_DMA_H

#include <karc/kobject/device.h>
#include <karc/mm/phys/page.h>

enum dma_data_direction {
	DMA_BIDIRECTIONAL,
	DMA_TO_DEVICE,
	DMA_FROM_DEVICE,
	DMA_NONE,
};

#define DMA_BIT_MASK(n)		((n) == 64 ? ~0ULL : (1ULL << (n)) - 1)
#define DMA_MAPPING_ERROR	(~(dma_addr_t)0)

/* Accepted, and without meaning here: memory is coherent with every device. */
#define DMA_ATTR_WEAK_ORDERING		(1UL << 1)
#define DMA_ATTR_WRITE_COMBINE		(1UL << 2)
#define DMA_ATTR_SKIP_CPU_SYNC		(1UL << 5)
#define DMA_ATTR_NO_WARN		(1UL << 8)

static inline bool valid_dma_direction(enum dma_data_direction dir)
{
	return dir == DMA_BIDIRECTIONAL || dir == DMA_TO_DEVICE || dir == DMA_FROM_DEVICE;
}

/* Could a device with this mask do DMA? Not if it reached less than the DMA zone. */
bool dma_supported(const struct device *dev, u64 mask);

/**
 * dma_set_mask - say which addresses the device reaches
 *
 * Errors: -EIO: the device has no dma_mask to set, or it would reach too little; unchanged then.
 * Model:  Linux 6.1. dma_coerce_mask_and_coherent() gives it a dma_mask first.
 */
KARC_MUST_CHECK int dma_set_mask(struct device *dev, u64 mask);
KARC_MUST_CHECK int dma_set_coherent_mask(struct device *dev, u64 mask);

static inline int dma_set_mask_and_coherent(struct device *dev, u64 mask)
{
	int err = dma_set_mask(dev, mask);

	return err ? err : dma_set_coherent_mask(dev, mask);
}

static inline int dma_coerce_mask_and_coherent(struct device *dev, u64 mask)
{
	dev->dma_mask = &dev->coherent_dma_mask;
	return dma_set_mask_and_coherent(dev, mask);
}

static inline u64 dma_get_mask(const struct device *dev)
{
	return dev->dma_mask && *dev->dma_mask ? *dev->dma_mask : DMA_BIT_MASK(32);
}

/* The least mask that covers all of this machine's memory. */
u64 dma_get_required_mask(const struct device *dev);

/**
 * dma_alloc_coherent - zeroed memory for CPU and device, in whole pages
 * @handle: where the device sees it
 * @gfp:    zone flags are ignored: the device's coherent mask picks the zone
 *
 * Gives:   the memory, contiguous and aligned to its size's power of two; end it with
 *          dma_free_coherent() with the same numbers.
 * Context: any if @gfp lacks __GFP_DIRECT_RECLAIM; otherwise may sleep. Freeing it with
 *          interrupts off is warned about.
 * Errors:  NULL: no memory that the device reaches, or the device has no coherent mask.
 * Model:   Linux 6.1.
 */
KARC_MUST_CHECK void *dma_alloc_coherent_site(struct device *dev, size_t size,
					      dma_addr_t *handle, gfp_t gfp,
					      const struct site *site);
void dma_free_coherent_site(struct device *dev, size_t size, void *cpu_addr,
			    dma_addr_t handle, const struct site *site);
#define dma_alloc_coherent(dev, size, handle, gfp) \
	dma_alloc_coherent_site(dev, size, handle, gfp, SITE())
#define dma_alloc_attrs(dev, size, handle, gfp, attrs) \
	((void)(attrs), dma_alloc_coherent(dev, size, handle, gfp))
#define dma_free_coherent(dev, size, cpu_addr, handle) \
	dma_free_coherent_site(dev, size, cpu_addr, handle, SITE())
#define dma_free_attrs(dev, size, cpu_addr, handle, attrs) \
	((void)(attrs), dma_free_coherent(dev, size, cpu_addr, handle))

/**
 * dma_map_single - let the device use a piece of the direct map for a while
 *
 * Gives:   where the device sees it; end it with dma_unmap_single() with the same numbers.
 * Context: any.
 * Errors:  DMA_MAPPING_ERROR, to be asked for with dma_mapping_error(), with a warning: vmalloc
 *          memory, a stack, a kmap address, other memory of the host, memory that is free, memory
 *          beyond the device's mask, a device without one.
 * Model:   Linux 6.1 with CONFIG_DMA_API_DEBUG; there the stack and free memory are mapped.
 */
KARC_MUST_CHECK dma_addr_t dma_map_single_site(struct device *dev, void *ptr, size_t size,
					       enum dma_data_direction dir,
					       const struct site *site);
#define dma_map_single(dev, ptr, size, dir) dma_map_single_site(dev, ptr, size, dir, SITE())
#define dma_map_single_attrs(dev, ptr, size, dir, attrs) \
	((void)(attrs), dma_map_single(dev, ptr, size, dir))

/* The same for part of a frame, which need not have an address (HIGHMEM). */
KARC_MUST_CHECK dma_addr_t dma_map_page_site(struct device *dev, struct page *page,
					     size_t offset, size_t size,
					     enum dma_data_direction dir,
					     const struct site *site);
#define dma_map_page(dev, page, offset, size, dir) \
	dma_map_page_site(dev, page, offset, size, dir, SITE())
#define dma_map_page_attrs(dev, page, offset, size, dir, attrs) \
	((void)(attrs), dma_map_page(dev, page, offset, size, dir))

/* Both unmaps. A mapping that dma_mapping_error() was not asked about is reported. */
void dma_unmap_site(struct device *dev, dma_addr_t addr, size_t size,
		    enum dma_data_direction dir, bool single, const struct site *site);
#define dma_unmap_single(dev, addr, size, dir) \
	dma_unmap_site(dev, addr, size, dir, true, SITE())
#define dma_unmap_single_attrs(dev, addr, size, dir, attrs) \
	((void)(attrs), dma_unmap_single(dev, addr, size, dir))
#define dma_unmap_page(dev, addr, size, dir) dma_unmap_site(dev, addr, size, dir, false, SITE())
#define dma_unmap_page_attrs(dev, addr, size, dir, attrs) \
	((void)(attrs), dma_unmap_page(dev, addr, size, dir))

/* -ENOMEM if the mapping failed, else 0. */
KARC_MUST_CHECK int dma_mapping_error(struct device *dev, dma_addr_t addr);

/* Hand a mapping, or part of it, to the CPU or to the device: checked, nothing to do. */
void dma_sync_site(struct device *dev, dma_addr_t addr, size_t size,
		   enum dma_data_direction dir, const struct site *site);
#define dma_sync_single_for_cpu(dev, addr, size, dir) \
	dma_sync_site(dev, addr, size, dir, SITE())
#define dma_sync_single_for_device(dev, addr, size, dir) \
	dma_sync_site(dev, addr, size, dir, SITE())
#define dma_sync_single_range_for_cpu(dev, addr, offset, size, dir) \
	dma_sync_site(dev, (addr) + (offset), size, dir, SITE())
#define dma_sync_single_range_for_device(dev, addr, offset, size, dir) \
	dma_sync_site(dev, (addr) + (offset), size, dir, SITE())

/* Mappings and coherent blocks now, of one device or of all (NULL). */
unsigned long dma_nr_mapped(const struct device *dev);

struct dma_pool;

/**
 * dma_pool_create - small blocks of coherent memory
 * @align:    a power of two, or 0
 * @boundary: no block crosses a multiple of it (a power of two, at least the size), or 0
 *
 * Gives:   the pool; end it with dma_pool_destroy(). Context: may sleep.
 * Errors:  NULL: no memory, or sizes that make no sense.
 * Model:   Linux 6.1 <linux/dmapool.h>.
 */
KARC_MUST_CHECK struct dma_pool *dma_pool_create_site(const char *name, struct device *dev,
						      size_t size, size_t align,
						      size_t boundary, const struct site *site);
#define dma_pool_create(name, dev, size, align, boundary) \
	dma_pool_create_site(name, dev, size, align, boundary, SITE())

/* Takes the pool; blocks still in use are reported, and their memory stays. NULL is ignored. */
void dma_pool_destroy(struct dma_pool *pool);

/**
 * dma_pool_alloc - a block; not zeroed without __GFP_ZERO
 *
 * Gives:   the block; end it with dma_pool_free() with the same numbers.
 * Context: any if @gfp lacks __GFP_DIRECT_RECLAIM; otherwise may sleep. Freeing: any.
 * Errors:  NULL: no memory. A wrong free is reported and ignored.
 */
KARC_MUST_CHECK void *dma_pool_alloc_site(struct dma_pool *pool, gfp_t gfp, dma_addr_t *handle,
					  const struct site *site);
void dma_pool_free_site(struct dma_pool *pool, void *vaddr, dma_addr_t addr,
			const struct site *site);
#define dma_pool_alloc(pool, gfp, handle) dma_pool_alloc_site(pool, gfp, handle, SITE())
#define dma_pool_zalloc(pool, gfp, handle) dma_pool_alloc(pool, (gfp) | __GFP_ZERO, handle)
#define dma_pool_free(pool, vaddr, addr) dma_pool_free_site(pool, vaddr, addr, SITE())

#endif
