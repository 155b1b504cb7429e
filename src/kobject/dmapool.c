/* SPDX-License-Identifier: MIT */
/*
 * dmapool.c - small blocks of coherent memory
 *
 * What it is
 *	Coherent memory comes in pages; a pool cuts pages into blocks. Free blocks of a page form a
 *	chain inside themselves: the first word of each is the offset of the next. Pages with a free
 *	block come first in the pool's list, so that a block is found at once.
 *
 *	In a machine that tracks, a free block is filled with POOL_POISON_FREED behind that word,
 *	which is looked at when it is handed out, and a double free is found in the chain.
 *
 * Objects
 *	dma_pool - pages -> dma_page (a coherent block of pool->allocation bytes) - chain of offsets
 *
 * Invariants
 *	I1 page->first is an offset of the page, or pool->allocation when none is free
 *	I2 page->in_use blocks are not in the chain
 *	I3 pages with a free block precede those without
 *
 * Locking
 *	pages, chains: pool->lock (no rank, irqs off); pages are got without it
 *
 * Worst case
 *	A free looks for the page: linear in the pages of the pool. Empty pages stay until the end.
 */
#include <stdio.h>
#include <string.h>

#include <karc/base/limits.h>
#include <karc/base/poison.h>
#include <karc/kobject/dma.h>
#include <karc/mm/slab/kmalloc.h>
#include "internal.h"

struct dma_page {
	struct list_head list;
	char *vaddr;
	dma_addr_t addr;
	unsigned int in_use;
	unsigned int first;
};

struct dma_pool {
	struct list_head pages;
	spinlock_t lock;
	size_t size;
	size_t allocation;
	size_t boundary;
	struct device *dev;
	bool checked;
	char name[32];
};

/* Not aligned as a word by the caller's wish: a block may begin at any multiple of four. */
static unsigned int next_of(const char *block)
{
	unsigned int next;

	memcpy(&next, block, sizeof(next));
	return next;
}

static void set_next(char *block, unsigned int next)
{
	memcpy(block, &next, sizeof(next));
}

struct dma_pool *dma_pool_create_site(const char *name, struct device *dev, size_t size,
				      size_t align, size_t boundary, const struct site *site)
{
	struct dma_pool *pool;
	size_t allocation;

	might_sleep_site(site);
	align = align ? align : 1;
	if (!is_power_of_2(align) || !size || size > INT_MAX)
		return NULL;
	size = ALIGN(max(size, sizeof(unsigned int)), align);
	allocation = max(size, (size_t)PAGE_SIZE);
	if (boundary && (boundary < size || !is_power_of_2(boundary)))
		return NULL;
	pool = kmalloc_site(sizeof(*pool), GFP_KERNEL | __GFP_ZERO, site);
	if (!pool)
		return NULL;
	snprintf(pool->name, sizeof(pool->name), "%s", name);
	pool->dev = dev;
	pool->size = size;
	pool->allocation = allocation;
	pool->boundary = boundary ? min(boundary, allocation) : allocation;
	pool->checked = machine_config(this_machine())->track;
	INIT_LIST_HEAD(&pool->pages);
	spin_lock_init(&pool->lock);
	return pool;
}

/* Chain all blocks; none crosses a boundary, and none leaves the page. */
static void page_init(const struct dma_pool *pool, struct dma_page *page)
{
	size_t at = 0, boundary = pool->boundary;

	page->in_use = 0;
	page->first = 0;
	while (at < pool->allocation) {
		size_t next = at + pool->size;

		if (next + pool->size > boundary) {
			next = boundary;
			boundary += pool->boundary;
		}
		if (next + pool->size > pool->allocation)
			next = pool->allocation;
		set_next(page->vaddr + at, (unsigned int)next);
		if (pool->checked)
			memset(page->vaddr + at + sizeof(unsigned int), POOL_POISON_FREED,
			       pool->size - sizeof(unsigned int));
		at = next;
	}
}

/* Another page; false: no memory. */
static bool add_page(struct dma_pool *pool, gfp_t gfp, const struct site *site)
{
	struct dma_page *page = kmalloc_site(sizeof(*page), gfp & ~__GFP_ZERO, site);
	unsigned long flags;

	if (!page)
		return false;
	page->vaddr = dma_alloc_coherent_site(pool->dev, pool->allocation, &page->addr, gfp, site);
	if (!page->vaddr) {
		kfree(page);
		return false;
	}
	page_init(pool, page);
	spin_lock_irqsave(&pool->lock, flags);
	list_add(&page->list, &pool->pages);
	spin_unlock_irqrestore(&pool->lock, flags);
	return true;
}

/* A block of a page that has one; NULL if none has. */
static char *take_block(struct dma_pool *pool, dma_addr_t *handle)
{
	struct dma_page *page;
	unsigned long flags;
	char *block = NULL;

	spin_lock_irqsave(&pool->lock, flags);
	page = list_first_entry_or_null(&pool->pages, struct dma_page, list);
	if (page && page->first < pool->allocation) {
		block = page->vaddr + page->first;
		*handle = page->addr + page->first;
		page->first = next_of(block);
		page->in_use++;
		if (page->first >= pool->allocation)
			list_move_tail(&page->list, &pool->pages);
	}
	spin_unlock_irqrestore(&pool->lock, flags);
	return block;
}

static void check_block(const struct dma_pool *pool, const char *block, const struct site *site)
{
	for (size_t i = sizeof(unsigned int); i < pool->size; i++) {
		if ((u8)block[i] == POOL_POISON_FREED)
			continue;
		WARN(1, "dma_pool_alloc %s: a free block was written to, at %s:%u %s", pool->name,
		     site->file, site->line, site->func);
		return;
	}
}

void *dma_pool_alloc_site(struct dma_pool *pool, gfp_t gfp, dma_addr_t *handle,
			  const struct site *site)
{
	char *block;

	if (gfpflags_allow_blocking(gfp))
		might_sleep_site(site);
	/* Another CPU may take the blocks of a page that was added. */
	while ((block = take_block(pool, handle)) == NULL) {
		if (!add_page(pool, gfp, site))
			return NULL;
	}
	if (pool->checked)
		check_block(pool, block, site);
	if (gfp & __GFP_ZERO)
		memset(block, 0, pool->size);
	else if (pool->checked)
		memset(block, POOL_POISON_ALLOCATED, pool->size);
	return block;
}

static struct dma_page *page_of(const struct dma_pool *pool, dma_addr_t addr)
{
	struct dma_page *page;

	list_for_each_entry(page, &pool->pages, list) {
		if (addr >= page->addr && addr - page->addr < pool->allocation)
			return page;
	}
	return NULL;
}

/* What is wrong with giving this block back, or NULL. The lock is held. */
static const char *bad_block(const struct dma_pool *pool, const struct dma_page *page,
			     const char *vaddr, dma_addr_t addr)
{
	if (!page)
		return "bad dma";
	if (vaddr != page->vaddr + (addr - page->addr))
		return "bad vaddr";
	for (unsigned int at = page->first; pool->checked && at < pool->allocation;
	     at = next_of(page->vaddr + at)) {
		if (at == addr - page->addr)
			return "already free";
	}
	return (addr - page->addr) % pool->boundary % pool->size ? "not the start of a block" :
	       !page->in_use ? "already free" : NULL;
}

void dma_pool_free_site(struct dma_pool *pool, void *vaddr, dma_addr_t addr,
			const struct site *site)
{
	struct dma_page *page;
	unsigned long flags;
	const char *bad;

	spin_lock_irqsave(&pool->lock, flags);
	page = page_of(pool, addr);
	bad = bad_block(pool, page, vaddr, addr);
	if (!bad) {
		if (pool->checked)
			memset(vaddr, POOL_POISON_FREED, pool->size);
		set_next(vaddr, page->first);
		page->first = (unsigned int)(addr - page->addr);
		page->in_use--;
		list_move(&page->list, &pool->pages);
	}
	spin_unlock_irqrestore(&pool->lock, flags);
	WARN(bad, "dma_pool_free %s: 0x%llx (%s), at %s:%u %s", pool->name,
	     (unsigned long long)addr, bad, site->file, site->line, site->func);
}

void dma_pool_destroy(struct dma_pool *pool)
{
	struct dma_page *page, *next;

	if (!pool)
		return;
	list_for_each_entry_safe(page, next, &pool->pages, list) {
		if (page->in_use)
			WARN(1, "dma_pool_destroy %s: %u blocks at 0x%llx are busy", pool->name,
			     page->in_use, (unsigned long long)page->addr);
		else
			dma_free_coherent(pool->dev, pool->allocation, page->vaddr, page->addr);
		kfree(page);
	}
	kfree(pool);
}
