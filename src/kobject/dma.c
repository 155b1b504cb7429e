/* SPDX-License-Identifier: MIT */
/*
 * dma.c - mappings for devices, coherent memory
 *
 * What it is
 *	A DMA address is a physical address, so mapping is finding it out, and checking: is it memory
 *	that a device may be given, and does the device reach it. What is mapped is remembered, with
 *	the place, until it is unmapped; so are the last unmaps, for reports of second ones.
 *
 * Objects
 *	kobject_state -> dma_state -> hash by address -> dma_entry (host memory); done[] a ring
 *
 * Invariants
 *	I1 an entry is in the bucket of its address; nr counts them all
 *	I2 an entry names a device that lives: a device that dies takes its entries along
 *
 * Locking
 *	hash, nr, ring: dma_state.lock (no rank, irqs off). Reports and frees happen without it.
 *
 * Worst case
 *	A bucket holds the mappings of addresses that are congruent in pages modulo DMA_BUCKETS.
 *
 * Unlike Linux
 *	No IOMMU, no bouncing, no scatterlists. The checks of CONFIG_DMA_API_DEBUG are always on; a
 *	mapping that they object to fails, where Linux reports it and goes on.
 */
#include <string.h>

#include <karc/base/hostmem.h>
#include <karc/hw/fiber.h>
#include <karc/kobject/dma.h>
#include <karc/mm/kva/vmap.h>
#include <karc/mm/phys/page_alloc.h>
#include "internal.h"

#define DMA_BUCKETS	256u
#define DMA_DONE_MAX	64u

enum dma_kind { DMA_SINGLE, DMA_PAGE, DMA_COHERENT };

static const char *const kind_name[] = {
	[DMA_SINGLE] = "single", [DMA_PAGE] = "page", [DMA_COHERENT] = "coherent",
};

static const char *const dir_name[] = {
	[DMA_BIDIRECTIONAL] = "DMA_BIDIRECTIONAL", [DMA_TO_DEVICE] = "DMA_TO_DEVICE",
	[DMA_FROM_DEVICE] = "DMA_FROM_DEVICE", [DMA_NONE] = "DMA_NONE",
};

struct dma_entry {
	struct hlist_node node;
	const struct device *dev;
	dma_addr_t addr;
	size_t size;
	enum dma_kind kind;
	enum dma_data_direction dir;
	bool asked;			/* dma_mapping_error() was */
	const struct site *site;
};

struct dma_done {
	const struct device *dev;	/* for comparing only */
	dma_addr_t addr;
	const struct site *mapped, *unmapped;
};

struct dma_state {
	struct machine *machine;
	spinlock_t lock;
	/* lock */
	unsigned long nr;
	unsigned int next_done;
	struct dma_done done[DMA_DONE_MAX];
	struct hlist_head hash[DMA_BUCKETS];
};

static struct dma_state *dma_here(void)
{
	const struct kobject_state *state = kobject_state();

	return state ? state->dma : NULL;
}

/* ---- the book of mappings ---- */

static struct hlist_head *bucket_of(struct dma_state *ds, dma_addr_t addr)
{
	return &ds->hash[(addr >> PAGE_SHIFT) % DMA_BUCKETS];
}

/* The best match at this address: kind, size and direction right if there is such a one. */
static struct dma_entry *entry_find(struct dma_state *ds, const struct device *dev,
				    dma_addr_t addr, size_t size, enum dma_kind kind,
				    enum dma_data_direction dir)
{
	struct dma_entry *e, *best = NULL;
	int best_fit = -1;

	hlist_for_each_entry(e, bucket_of(ds, addr), node) {
		int fit = 4 * (e->kind == kind) + 2 * (e->size == size) + (e->dir == dir);

		if (e->dev == dev && e->addr == addr && fit > best_fit) {
			best = e;
			best_fit = fit;
		}
	}
	return best;
}

/* The mapping that has @addr somewhere inside, for part of which it is handed over. */
static const struct dma_entry *entry_around(struct dma_state *ds, const struct device *dev,
					    dma_addr_t addr, size_t size)
{
	const struct dma_entry *e;

	for (unsigned int b = 0; b < DMA_BUCKETS; b++) {
		hlist_for_each_entry(e, &ds->hash[b], node) {
			if (e->dev == dev && addr >= e->addr && addr + size <= e->addr + e->size)
				return e;
		}
	}
	return NULL;
}

static int entry_add(const struct device *dev, dma_addr_t addr, size_t size, enum dma_kind kind,
		     enum dma_data_direction dir, const struct site *site)
{
	struct dma_state *ds = dma_here();
	struct dma_entry *e = hostmem_zalloc(machine_hostmem(ds->machine), sizeof(*e));
	unsigned long flags;

	if (!e)
		return -ENOMEM;
	*e = (struct dma_entry){ .dev = dev, .addr = addr, .size = size, .kind = kind, .dir = dir,
				 .asked = kind == DMA_COHERENT, .site = site };
	spin_lock_irqsave(&ds->lock, flags);
	hlist_add_head(&e->node, bucket_of(ds, addr));
	ds->nr++;
	spin_unlock_irqrestore(&ds->lock, flags);
	return 0;
}

static void entry_forget(struct dma_state *ds, struct dma_entry *e, const struct site *site)
{
	hlist_del(&e->node);
	ds->nr--;
	ds->done[ds->next_done++ % DMA_DONE_MAX] =
		(struct dma_done){ e->dev, e->addr, e->site, site };
}

static void report(const struct device *dev, const char *what, const struct dma_entry *e,
		   dma_addr_t addr, size_t size, const struct site *site)
{
	WARN(1, "DMA-API: %s: device driver %s [device address=0x%016llx] [size=%zu bytes], "
	     "at %s:%u %s", dev_name(dev), what, (unsigned long long)addr, size, site->file,
	     site->line, site->func);
	if (e)
		pr_warn("mapped as %s, %zu bytes, %s, at %s:%u %s\n", kind_name[e->kind], e->size,
			dir_name[e->dir], e->site->file, e->site->line, e->site->func);
}

static void report_unknown(struct dma_state *ds, const struct device *dev, dma_addr_t addr,
			   size_t size, const struct site *site)
{
	struct dma_done done = { NULL, 0, NULL, NULL };
	unsigned long flags;

	spin_lock_irqsave(&ds->lock, flags);
	for (unsigned int i = 0; i < DMA_DONE_MAX; i++) {
		const struct dma_done *d = &ds->done[(ds->next_done + i) % DMA_DONE_MAX];

		if (d->dev == dev && d->addr == addr)
			done = *d;	/* the latest */
	}
	spin_unlock_irqrestore(&ds->lock, flags);
	report(dev, "tries to free DMA memory it has not allocated", NULL, addr, size, site);
	if (done.mapped)
		pr_warn("mapped at %s:%u %s, unmapped at %s:%u %s\n", done.mapped->file,
			done.mapped->line, done.mapped->func, done.unmapped->file,
			done.unmapped->line, done.unmapped->func);
}

/*
 * Take the mapping out of the book and say what is wrong with the way it ends. False: there is no
 * such mapping. *@e is a copy of what there was.
 */
static bool entry_end(const struct device *dev, dma_addr_t addr, size_t size, enum dma_kind kind,
		      enum dma_data_direction dir, const struct site *site, struct dma_entry *e)
{
	struct dma_state *ds = dma_here();
	struct dma_entry *found;
	unsigned long flags;

	spin_lock_irqsave(&ds->lock, flags);
	found = entry_find(ds, dev, addr, size, kind, dir);
	if (found) {
		*e = *found;
		entry_forget(ds, found, site);
	}
	spin_unlock_irqrestore(&ds->lock, flags);
	if (!found) {
		report_unknown(ds, dev, addr, size, site);
		return false;
	}
	hostmem_free(machine_hostmem(ds->machine), found);
	if (e->kind != kind)
		report(dev, "frees DMA memory with wrong function", e, addr, size, site);
	else if (e->size != size)
		report(dev, "frees DMA memory with different size", e, addr, size, site);
	else if (e->dir != dir)
		report(dev, "frees DMA memory with different direction", e, addr, size, site);
	else if (!e->asked)
		report(dev, "failed to check map error", e, addr, size, site);
	return true;
}

unsigned long dma_nr_mapped(const struct device *dev)
{
	struct dma_state *ds = dma_here();
	const struct dma_entry *e;
	unsigned long nr = 0, flags;

	spin_lock_irqsave(&ds->lock, flags);
	for (unsigned int b = 0; b < DMA_BUCKETS; b++) {
		hlist_for_each_entry(e, &ds->hash[b], node)
			nr += !dev || e->dev == dev;
	}
	spin_unlock_irqrestore(&ds->lock, flags);
	return nr;
}

/* ---- masks ---- */

/* The last byte of memory. */
static u64 last_byte(void)
{
	return ((u64)physmem_max_pfn(this_machine()) << PAGE_SHIFT) - 1;
}

bool dma_supported(const struct device *dev, u64 mask)
{
	(void)dev;
	return mask >= min(last_byte(), (u64)DMA_BIT_MASK(24));
}

int dma_set_mask(struct device *dev, u64 mask)
{
	if (!dev->dma_mask || !dma_supported(dev, mask))
		return -EIO;
	*dev->dma_mask = mask;
	return 0;
}

int dma_set_coherent_mask(struct device *dev, u64 mask)
{
	if (!dma_supported(dev, mask))
		return -EIO;
	dev->coherent_dma_mask = mask;
	return 0;
}

u64 dma_get_required_mask(const struct device *dev)
{
	(void)dev;
	return DMA_BIT_MASK(fls64(last_byte()));
}

/* Does the device reach all of it? */
static bool reaches(const struct device *dev, u64 mask, dma_addr_t addr, size_t size)
{
	return addr + size - 1 <= min_not_zero(mask, dev->bus_dma_limit);
}

/* ---- coherent memory ---- */

/* The zone that the device certainly reaches, or one it may reach, if it is lucky. */
static gfp_t zone_for(u64 limit, unsigned int attempt)
{
	gfp_t zones[] = { 0, GFP_DMA32, GFP_DMA };
	unsigned int first = limit <= DMA_BIT_MASK(24) ? 2 : limit <= DMA_BIT_MASK(32) ? 1 : 0;

	return zones[min(first + attempt, 2u)];
}

/* A block the device reaches: if a zone gives one beyond the limit, the next lower zone. */
static struct page *reachable_pages(struct device *dev, size_t size, gfp_t gfp,
				    const struct site *site)
{
	u64 limit = min_not_zero(dev->coherent_dma_mask, dev->bus_dma_limit);
	unsigned int order = (unsigned int)get_order(size);

	for (unsigned int attempt = 0; attempt < 3; attempt++) {
		gfp_t zone = zone_for(limit, attempt);
		struct page *page = alloc_pages_node_site(dev->numa_node, gfp | zone, order, site);

		if (page && reaches(dev, dev->coherent_dma_mask, page_to_phys(page), size))
			return page;
		if (page)
			__free_pages(page, order);
		if (zone == GFP_DMA)
			break;
	}
	return NULL;
}

static void free_range(struct page *page, unsigned long nr_pages)
{
	for (unsigned long i = 0; i < nr_pages; i++)
		__free_page(page + i);
}

void *dma_alloc_coherent_site(struct device *dev, size_t size, dma_addr_t *handle, gfp_t gfp,
			      const struct site *site)
{
	struct page *page;
	unsigned int order;
	void *cpu_addr;

	if (gfpflags_allow_blocking(gfp))
		might_sleep_site(site);
	if (WARN_ON_ONCE(!dev->coherent_dma_mask) || WARN_ON_ONCE(gfp & __GFP_COMP) || !size ||
	    size > PAGE_SIZE << (MAX_ORDER - 1))
		return NULL;
	gfp &= ~(__GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM | __GFP_ZERO);
	size = PAGE_ALIGN(size);
	order = (unsigned int)get_order(size);
	page = reachable_pages(dev, size, gfp, site);
	if (!page)
		return NULL;
	split_page(page, order);
	free_range(page + (size >> PAGE_SHIFT), (1UL << order) - (size >> PAGE_SHIFT));
	if (entry_add(dev, page_to_phys(page), size, DMA_COHERENT, DMA_BIDIRECTIONAL, site)) {
		free_range(page, size >> PAGE_SHIFT);
		return NULL;
	}
	cpu_addr = page_address(page);
	memset(cpu_addr, 0, size);
	*handle = page_to_phys(page);
	return cpu_addr;
}

void dma_free_coherent_site(struct device *dev, size_t size, void *cpu_addr, dma_addr_t handle,
			    const struct site *site)
{
	struct dma_entry e;

	WARN(irqs_disabled(), "DMA-API: %s: coherent memory is freed with interrupts off, at %s:%u %s",
	     dev_name(dev), site->file, site->line, site->func);
	if (!cpu_addr)
		return;
	if (!virt_addr_valid(cpu_addr) || virt_to_phys(cpu_addr) != handle) {
		report(dev, "frees DMA memory with different CPU address", NULL, handle, size,
		       site);
		return;
	}
	if (entry_end(dev, handle, PAGE_ALIGN(size), DMA_COHERENT, DMA_BIDIRECTIONAL, site, &e) &&
	    e.kind == DMA_COHERENT)
		free_range(phys_to_page(e.addr), e.size >> PAGE_SHIFT);
}

/* ---- mappings ---- */

/* Why a device must not be given this, or NULL. */
static const char *unfit_page(const struct device *dev, const struct page *page, size_t offset,
			      size_t size)
{
	dma_addr_t addr = page_to_phys(page) + offset;
	unsigned long last = (unsigned long)((addr + (size ? size - 1 : 0)) >> PAGE_SHIFT);

	if (!pfn_valid(page_to_pfn(page)) || !pfn_valid(last))
		return "maps memory that does not exist";
	page = pfn_to_page((unsigned long)(addr >> PAGE_SHIFT));
	if (PageBuddy(page) || PagePcp(page))
		return "maps memory that is free";
	if (!reaches(dev, *dev->dma_mask, addr, size ? size : 1))
		return "maps memory beyond the mask of the device";
	return NULL;
}

static const char *unfit_address(const void *p, size_t size)
{
	const struct fiber *f = fiber_self();

	if (is_vmalloc_addr(p))
		return "maps vmalloc memory";
	if (f->stack && (u64)((const char *)p - f->stack) < f->stack_bytes)
		return "maps memory from stack";
	if (!virt_addr_valid(p) || !virt_addr_valid((const char *)p + (size ? size - 1 : 0)))
		return "maps memory that is not of the direct map";
	return NULL;
}

static dma_addr_t map_page(struct device *dev, struct page *page, size_t offset, size_t size,
			   enum dma_kind kind, enum dma_data_direction dir,
			   const struct site *site)
{
	dma_addr_t addr = page_to_phys(page) + offset;
	const char *unfit = unfit_page(dev, page, offset, size);

	if (unfit) {
		report(dev, unfit, NULL, addr, size, site);
		pr_warn("mask %llx, bus limit %llx\n", (unsigned long long)*dev->dma_mask,
			(unsigned long long)dev->bus_dma_limit);
		return DMA_MAPPING_ERROR;
	}
	return entry_add(dev, addr, size, kind, dir, site) ? DMA_MAPPING_ERROR : addr;
}

dma_addr_t dma_map_page_site(struct device *dev, struct page *page, size_t offset, size_t size,
			     enum dma_data_direction dir, const struct site *site)
{
	BUG_ON(!valid_dma_direction(dir));
	if (WARN_ON_ONCE(!dev->dma_mask))
		return DMA_MAPPING_ERROR;
	return map_page(dev, page, offset, size, DMA_PAGE, dir, site);
}

dma_addr_t dma_map_single_site(struct device *dev, void *ptr, size_t size,
			       enum dma_data_direction dir, const struct site *site)
{
	const char *unfit;

	BUG_ON(!valid_dma_direction(dir));
	if (WARN_ON_ONCE(!dev->dma_mask))
		return DMA_MAPPING_ERROR;
	unfit = unfit_address(ptr, size);
	if (unfit) {
		report(dev, unfit, NULL, DMA_MAPPING_ERROR, size, site);
		return DMA_MAPPING_ERROR;
	}
	return map_page(dev, virt_to_page(ptr), offset_in_page(ptr), size, DMA_SINGLE, dir, site);
}

int dma_mapping_error(struct device *dev, dma_addr_t addr)
{
	struct dma_state *ds = dma_here();
	struct dma_entry *e;
	unsigned long flags;

	if (addr == DMA_MAPPING_ERROR)
		return -ENOMEM;
	spin_lock_irqsave(&ds->lock, flags);
	hlist_for_each_entry(e, bucket_of(ds, addr), node) {
		if (e->dev == dev && e->addr == addr && !e->asked) {
			e->asked = true;
			break;
		}
	}
	spin_unlock_irqrestore(&ds->lock, flags);
	return 0;
}

void dma_unmap_site(struct device *dev, dma_addr_t addr, size_t size,
		    enum dma_data_direction dir, bool single, const struct site *site)
{
	struct dma_entry e;

	BUG_ON(!valid_dma_direction(dir));
	if (addr == DMA_MAPPING_ERROR)
		report(dev, "tries to free an invalid DMA memory address", NULL, addr, size, site);
	else
		entry_end(dev, addr, size, single ? DMA_SINGLE : DMA_PAGE, dir, site, &e);
}

void dma_sync_site(struct device *dev, dma_addr_t addr, size_t size,
		   enum dma_data_direction dir, const struct site *site)
{
	struct dma_state *ds = dma_here();
	const struct dma_entry *found;
	struct dma_entry e;
	unsigned long flags;

	BUG_ON(!valid_dma_direction(dir));
	spin_lock_irqsave(&ds->lock, flags);
	found = entry_find(ds, dev, addr, size, DMA_SINGLE, dir);
	if (!found || size > found->size)
		found = entry_around(ds, dev, addr, size);
	if (found)
		e = *found;
	spin_unlock_irqrestore(&ds->lock, flags);
	if (!found)
		report(dev, "tries to sync DMA memory it has not allocated", NULL, addr, size,
		       site);
	else if (e.dir != dir && e.dir != DMA_BIDIRECTIONAL)
		report(dev, "syncs DMA memory with different direction", &e, addr, size, site);
}

/* ---- ends ---- */

/* One entry of the device, or of any (NULL), out of the book; NULL when there is none. */
static struct dma_entry *entry_pull(struct dma_state *ds, const struct device *dev)
{
	struct dma_entry *e, *found = NULL;
	unsigned long flags;

	spin_lock_irqsave(&ds->lock, flags);
	for (unsigned int b = 0; b < DMA_BUCKETS && ds->nr && !found; b++) {
		hlist_for_each_entry(e, &ds->hash[b], node) {
			if (!dev || e->dev == dev) {
				found = e;
				hlist_del(&e->node);
				ds->nr--;
				break;
			}
		}
	}
	spin_unlock_irqrestore(&ds->lock, flags);
	return found;
}

/* A device is released; nobody can unmap for it any more. Coherent memory stays and is a leak. */
void dma_device_ends(const struct device *dev)
{
	struct dma_state *ds = dma_here();
	struct dma_entry *e;

	while (ds && (e = entry_pull(ds, dev)) != NULL) {
		WARN(1, "DMA-API: %s: device driver has pending DMA allocations while released from "
		     "device: %zu bytes mapped as %s at %s:%u %s", dev_name(dev), e->size,
		     kind_name[e->kind], e->site->file, e->site->line, e->site->func);
		hostmem_free(machine_hostmem(ds->machine), e);
	}
}

struct dma_state *dma_state_make(struct machine *m)
{
	struct dma_state *ds = hostmem_zalloc(machine_hostmem(m), sizeof(*ds));

	if (!ds)
		return NULL;
	ds->machine = m;
	spin_lock_init(&ds->lock);
	return ds;
}

/* Devices that live on are reported by the ledger; here their mappings, memory included. */
void dma_state_end(struct dma_state *ds)
{
	struct dma_entry *e;

	while ((e = entry_pull(ds, NULL)) != NULL) {
		machine_report_left(ds->machine, e->kind == DMA_COHERENT ? "coherent DMA block" :
				    "DMA mapping", e->site, 1, e->size);
		if (e->kind == DMA_COHERENT)
			free_range(phys_to_page(e->addr), e->size >> PAGE_SHIFT);
		hostmem_free(machine_hostmem(ds->machine), e);
	}
	hostmem_free(machine_hostmem(ds->machine), ds);
}

void dma_check(struct dma_state *ds, struct check_report *report)
{
	const struct dma_entry *e;
	unsigned long nr = 0;

	for (unsigned int b = 0; b < DMA_BUCKETS; b++) {
		hlist_for_each_entry(e, &ds->hash[b], node) {
			nr++;
			if (bucket_of(ds, e->addr) != &ds->hash[b])
				check_fail(report, "D1: DMA mapping 0x%llx is in the wrong bucket",
					   (unsigned long long)e->addr);
		}
	}
	if (nr != ds->nr)
		check_fail(report, "D1: %lu DMA mappings, %lu counted", nr, ds->nr);
}
