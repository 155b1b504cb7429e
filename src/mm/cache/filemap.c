/* SPDX-License-Identifier: MIT */
/*
 * filemap.c - the page cache
 *
 * What it is
 *	The pages of a file's contents by index. Reading, writing and mapping all go through it, so
 *	they see the same bytes. A page that is clean and not mapped can be dropped and made again.
 *
 * Objects
 *	address_space --owns--> page: one reference each, found by i_pages[index]
 *	page->mapping, page->index: the way back, holds nothing; NULL once taken out
 *
 * Invariants
 *	I1 a page in i_pages has ->mapping and ->index of its place, and a count of 1 at least
 *	I2 nrpages is the number of pages in i_pages; the room's nr_pages the sum over all mappings
 *	I3 ->mapping changes under the page lock and i_lock together; either suffices to rely on it
 *	I4 bytes beyond the end of the file in a page that is up to date are zero, or were stored
 *	   there through a shared mapping; they are made zero before the file grows over them
 *
 * Locking
 *	page lock (LR_PAGE, sleeps)   filling, truncating; held with ->mapping checked, it keeps a
 *	                              page in its mapping
 *	i_lock (LR_PAGECACHE, spins)  i_pages, nrpages
 *	i_mmap_rwsem (LR_RMAP)        the list of VMAs
 *
 * Life
 *	alloc, locked -> add_to_page_cache -> filled, up to date, unlocked -> dirty ... ->
 *	delete_from_page_cache (truncate, invalidate, last iput) -> freed by its last put
 *
 * Worst case
 *	Storing may need tree nodes while i_lock is held: they are allocated before, one more for
 *	each try, at most XA_NODES_MAX of them. Truncation goes once over the pages that exist.
 *
 * Unlike Linux
 *	Lookups take i_lock instead of RCU. No read-ahead, no writeback: memory files are their own
 *	storage. Cached pages are never in high memory.
 */
#include <string.h>

#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include "internal.h"

#define XA_NODES_MAX	21	/* grow to 11 levels, then descend 10 */
#define GFP_CACHE	(GFP_USER | __GFP_MOVABLE | __GFP_ZERO)

/* ---- tree nodes: i_lock held, so only what was put aside ---- */

static void *node_take(void *arg, gfp_t gfp)
{
	struct address_space *mapping = arg;
	struct xa_node *node = mapping->spare_nodes;

	(void)gfp;
	if (node)
		mapping->spare_nodes = node->parent;
	return node;
}

static void node_free(void *arg, void *node)
{
	(void)arg;
	kmem_cache_free(cache_state()->node_cache, node);
}

static const struct xa_node_ops node_ops = { .alloc = node_take, .free = node_free };

static void free_spares(struct xa_node *list)
{
	while (list) {
		struct xa_node *next = list->parent;

		kmem_cache_free(cache_state()->node_cache, list);
		list = next;
	}
}

/* @nr nodes, linked by ->parent, or NULL. */
static struct xa_node *alloc_spares(unsigned int nr, gfp_t gfp)
{
	struct xa_node *list = NULL;

	while (nr--) {
		struct xa_node *node = kmem_cache_alloc(cache_state()->node_cache, gfp);

		if (!node) {
			free_spares(list);
			return NULL;
		}
		node->parent = list;
		list = node;
	}
	return list;
}

void mapping_init(struct address_space *mapping, struct inode *host)
{
	mapping->host = host;
	xa_init_ops(&mapping->i_pages, &node_ops, mapping);
	spin_lock_init_rank(&mapping->i_lock, LR_PAGECACHE);
	mapping->nrpages = 0;
	mapping->spare_nodes = NULL;
	init_rwsem_rank(&mapping->i_mmap_rwsem, LR_RMAP);
	INIT_LIST_HEAD(&mapping->i_mmap);
}

void mapping_exit(struct address_space *mapping)
{
	BUG_ON(!list_empty(&mapping->i_mmap));
	truncate_inode_pages(mapping, 0);
	BUG_ON(mapping->nrpages);
	xa_destroy(&mapping->i_pages);
}

/* ---- page lock ---- */

static wait_queue_head_t *page_queue(const struct page *page)
{
	return &cache_state()->page_wait[page_to_pfn(page) % PAGE_WAIT_QUEUES];
}

bool trylock_page(struct page *page)
{
	return !test_and_set_bit_lock(PG_locked, &page->flags);
}

void lock_page(struct page *page)
{
	might_sleep();
	if (!trylock_page(page))
		wait_event(*page_queue(page), trylock_page(page));
}

void unlock_page(struct page *page)
{
	BUG_ON(!PageLocked(page));
	clear_bit_unlock(PG_locked, &page->flags);
	if (wq_has_sleeper(page_queue(page)))
		wake_up_all(page_queue(page));
}

/* ---- lookup, add, delete ---- */

struct page *find_get_page(struct address_space *mapping, pgoff_t index)
{
	struct page *page;

	spin_lock(&mapping->i_lock);
	page = xa_load(&mapping->i_pages, index);
	if (page)
		get_page(page);
	spin_unlock(&mapping->i_lock);
	return page;
}

struct page *find_lock_page(struct address_space *mapping, pgoff_t index)
{
	struct page *page;

	for (;;) {
		page = find_get_page(mapping, index);
		if (!page)
			return NULL;
		lock_page(page);
		if (page->mapping == mapping)
			return page;
		unlock_page(page);
		put_page(page);
	}
}

/* One try with what is put aside in @spares. -ENOMEM: more nodes are needed. */
static int insert_page(struct address_space *mapping, pgoff_t index, struct page *page,
		       struct xa_node *spares)
{
	int err;

	spin_lock(&mapping->i_lock);
	mapping->spare_nodes = spares;
	err = xa_insert(&mapping->i_pages, index, page, 0);
	spares = mapping->spare_nodes;
	mapping->spare_nodes = NULL;
	if (!err) {
		get_page(page);
		page->mapping = mapping;
		page->index = index;
		WRITE_ONCE(mapping->nrpages, mapping->nrpages + 1);
	}
	spin_unlock(&mapping->i_lock);
	free_spares(spares);
	return err == -EBUSY ? -EEXIST : err;
}

int add_to_page_cache(struct page *page, struct address_space *mapping, pgoff_t index, gfp_t gfp)
{
	struct xa_node *spares = NULL;
	unsigned int nr;
	int err;

	VM_BUG_ON(!PageLocked(page));
	err = insert_page(mapping, index, page, NULL);
	for (nr = 1; err == -ENOMEM && nr <= XA_NODES_MAX; nr++) {
		spares = alloc_spares(nr, gfp & ~(__GFP_ZERO | __GFP_MOVABLE | __GFP_HIGHMEM));
		if (!spares)
			return -ENOMEM;
		err = insert_page(mapping, index, page, spares);
	}
	if (!err) {
		atomic_long_inc(&cache_state()->nr_pages);
		inc_node_page_state(page, NR_FILE_PAGES);
	}
	return err;
}

/* Locks: page lock and i_lock. The caller owns the cache's reference afterwards. */
static void remove_locked(struct address_space *mapping, struct page *page)
{
	BUG_ON(xa_erase(&mapping->i_pages, page->index) != page);
	WRITE_ONCE(mapping->nrpages, mapping->nrpages - 1);
	page->mapping = NULL;
	if (TestClearPageDirty(page) && !PageSwapBacked(page))
		dec_node_page_state(page, NR_FILE_DIRTY);
}

static void removed(struct address_space *mapping, struct page *page)
{
	atomic_long_dec(&cache_state()->nr_pages);
	dec_node_page_state(page, NR_FILE_PAGES);
	if (mapping->a_ops && mapping->a_ops->page_removed)
		mapping->a_ops->page_removed(mapping, page);
	put_page(page);
}

void delete_from_page_cache(struct page *page)
{
	struct address_space *mapping = page->mapping;

	VM_BUG_ON(!PageLocked(page));
	spin_lock(&mapping->i_lock);
	remove_locked(mapping, page);
	spin_unlock(&mapping->i_lock);
	removed(mapping, page);
}

/* ---- reading ---- */

/* Who sees the flag without the page lock sees the bytes too: this pairs with the next one. */
static void mark_page_uptodate(struct page *page)
{
	__atomic_fetch_or(&page->flags, 1UL << PG_uptodate, __ATOMIC_RELEASE);
}

bool page_is_uptodate(const struct page *page)
{
	return (smp_load_acquire(&page->flags) >> PG_uptodate) & 1;
}

/* Fill a locked page that is not up to date. */
static int fill_page(struct address_space *mapping, struct page *page)
{
	int err = 0;

	if (mapping->a_ops && mapping->a_ops->read_page)
		err = mapping->a_ops->read_page(mapping, page);
	if (!err)
		mark_page_uptodate(page);
	return err;
}

/* A new page in the cache, locked and filled; ERR_PTR(-EEXIST) when somebody else was first. */
static struct page *read_new_page(struct address_space *mapping, pgoff_t index,
				  const struct site *site)
{
	struct page *page = alloc_pages_site(GFP_CACHE, 0, site);
	int err;

	if (!page)
		return ERR_PTR(-ENOMEM);
	__SetPageLocked(page);
	err = add_to_page_cache(page, mapping, index, GFP_KERNEL);
	if (err)
		goto put;
	err = fill_page(mapping, page);
	if (err)
		goto remove;
	return page;
remove:
	delete_from_page_cache(page);
put:
	unlock_page(page);
	put_page(page);
	return ERR_PTR(err);
}

/* The page at @index, locked, up to date, in @mapping. *@major: it was not cached. */
static struct page *get_locked_page(struct address_space *mapping, pgoff_t index, bool *major,
				    const struct site *site)
{
	struct page *page;

	*major = false;
	do {
		page = find_lock_page(mapping, index);
		if (page)
			break;
		*major = true;
		page = read_new_page(mapping, index, site);
	} while (PTR_ERR_OR_ZERO(page) == -EEXIST);
	return page;
}

struct page *read_cache_page_site(struct address_space *mapping, pgoff_t index,
				  const struct site *site)
{
	struct page *page = find_get_page(mapping, index);
	bool major;

	if (page && page_is_uptodate(page))
		return page;
	if (page)
		put_page(page);
	page = get_locked_page(mapping, index, &major, site);
	if (!IS_ERR(page))
		unlock_page(page);
	return page;
}

static pgoff_t pages_of(const struct inode *inode)
{
	loff_t size = __atomic_load_n(&inode->i_size, __ATOMIC_ACQUIRE);

	return (pgoff_t)(((u64)size + PAGE_SIZE - 1) >> PAGE_SHIFT);
}

vm_fault_t filemap_fault(struct vm_fault *vmf)
{
	struct address_space *mapping = vmf->vma->vm_file->f_mapping;
	struct inode *inode = mapping->host;
	struct page *page;
	bool major;

	if (vmf->pgoff >= pages_of(inode))
		return VM_FAULT_SIGBUS;
	page = get_locked_page(mapping, vmf->pgoff, &major, SITE());
	if (IS_ERR(page))
		return PTR_ERR(page) == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	/* Truncation changes the size before it waits for page locks: now it cannot be missed. */
	if (vmf->pgoff >= pages_of(inode)) {
		unlock_page(page);
		put_page(page);
		return VM_FAULT_SIGBUS;
	}
	vmf->page = page;
	return VM_FAULT_LOCKED | (major ? VM_FAULT_MAJOR : 0);
}

const struct vm_operations_struct generic_file_vm_ops = {
	.fault = filemap_fault,
};

int generic_file_mmap(struct file *file, struct vm_area_struct *vma)
{
	(void)file;
	vma->vm_ops = &generic_file_vm_ops;
	return 0;
}

bool set_page_dirty(struct page *page)
{
	if (TestSetPageDirty(page))
		return false;
	if (page->mapping && !PageAnon(page) && !PageSwapBacked(page))
		inc_node_page_state(page, NR_FILE_DIRTY);
	return true;
}

/* ---- dropping ---- */

/* The first cached page at or after *@index, with a reference; *@index becomes its place. */
static struct page *next_page(struct address_space *mapping, unsigned long *index,
			      unsigned long last)
{
	struct page *page;

	spin_lock(&mapping->i_lock);
	page = xa_find(&mapping->i_pages, index, last, XA_PRESENT);
	if (page)
		get_page(page);
	spin_unlock(&mapping->i_lock);
	return page;
}

void mapping_zero_range(struct address_space *mapping, loff_t from, loff_t to)
{
	struct page *page = find_lock_page(mapping, (pgoff_t)(from >> PAGE_SHIFT));

	if (!page)
		return;
	memset((char *)page_to_virt(page) + offset_in_page(from), 0, (size_t)(to - from));
	unlock_page(page);
	put_page(page);
}

void mapping_zero_tail(struct address_space *mapping, loff_t lstart)
{
	loff_t rest = (loff_t)(PAGE_SIZE - offset_in_page(lstart));

	if (offset_in_page(lstart))
		mapping_zero_range(mapping, lstart, lstart + rest);
}

/* Drop the cached pages of [@index, @last]. */
static void drop_pages(struct address_space *mapping, unsigned long index, unsigned long last)
{
	struct page *page;

	while (index <= last && (page = next_page(mapping, &index, last))) {
		lock_page(page);
		if (page->mapping == mapping)
			delete_from_page_cache(page);
		unlock_page(page);
		put_page(page);
		cond_resched();
	}
}

void truncate_inode_pages(struct address_space *mapping, loff_t lstart)
{
	mapping_zero_tail(mapping, lstart);
	drop_pages(mapping, ((u64)lstart + PAGE_SIZE - 1) >> PAGE_SHIFT, ~0UL);
}

static void unmap_pages(struct address_space *mapping, pgoff_t start, pgoff_t end, bool even_cows)
{
	const struct cache_unmap_ops *unmap = cache_state()->unmap;

	if (unmap)
		unmap->unmap_range(mapping, start, end, even_cows);
}

void truncate_setsize(struct inode *inode, loff_t newsize)
{
	struct address_space *mapping = inode->i_mapping;
	loff_t oldsize = inode->i_size;
	pgoff_t first = (pgoff_t)(((u64)newsize + PAGE_SIZE - 1) >> PAGE_SHIFT);

	if (newsize > oldsize)
		mapping_zero_tail(mapping, oldsize);
	__atomic_store_n(&inode->i_size, newsize, __ATOMIC_RELEASE);
	if (newsize >= oldsize)
		return;
	if (mapping->a_ops && mapping->a_ops->truncated)
		mapping->a_ops->truncated(inode, newsize);
	unmap_pages(mapping, first, ~0UL, true);
	truncate_inode_pages(mapping, newsize);
	/* A private mapping may have copied a page between the two steps above. */
	unmap_pages(mapping, first, ~0UL, true);
}

void truncate_pagecache_range(struct inode *inode, loff_t start, loff_t end)
{
	struct address_space *mapping = inode->i_mapping;
	loff_t head = min((loff_t)PAGE_ALIGN((u64)start), end), tail = end & (loff_t)PAGE_MASK;
	pgoff_t first = (pgoff_t)(head >> PAGE_SHIFT), stop = (pgoff_t)(tail >> PAGE_SHIFT);

	if (start < head)
		mapping_zero_range(mapping, start, head);
	if (tail < end && tail >= head)
		mapping_zero_range(mapping, tail, end);
	if (first >= stop || head >= end)
		return;
	unmap_pages(mapping, first, stop, false);
	drop_pages(mapping, first, stop - 1);
	/* A fault that had its page before it was dropped may have mapped it since. */
	unmap_pages(mapping, first, stop, false);
}

void cache_register_unmap(const struct cache_unmap_ops *ops)
{
	cache_state()->unmap = ops;
}

/* Take out a page that only the cache and the caller hold. Locks: page lock. */
static bool drop_clean_page(struct address_space *mapping, struct page *page)
{
	bool ok;

	if (page->mapping != mapping || PageDirty(page) || PageSwapBacked(page) ||
	    page_mapped(page))
		return false;
	spin_lock(&mapping->i_lock);
	/* Lookups need i_lock: with it held nobody can come to hold the page. */
	ok = page_ref_count(page) == 2 && !PageDirty(page);
	if (ok)
		remove_locked(mapping, page);
	spin_unlock(&mapping->i_lock);
	if (ok)
		removed(mapping, page);
	return ok;
}

unsigned long invalidate_mapping_pages(struct address_space *mapping, pgoff_t start, pgoff_t end,
				       unsigned long max)
{
	unsigned long index = start, nr = 0;
	struct page *page;

	while (nr < max && (page = next_page(mapping, &index, end))) {
		if (trylock_page(page)) {
			nr += drop_clean_page(mapping, page);
			unlock_page(page);
		}
		put_page(page);
		if (index++ == end)
			break;
	}
	return nr;
}

/* The inode that waited longest, with a reference, put to the end of the list; or NULL. */
static struct inode *next_inode(struct cache_room_state *s, unsigned long *budget)
{
	struct inode *inode = NULL;

	spin_lock(&s->inodes_lock);
	while (!inode && *budget && !list_empty(&s->inodes)) {
		inode = list_first_entry(&s->inodes, struct inode, i_list);
		list_move_tail(&inode->i_list, &s->inodes);
		inode = igrab(inode);
		--*budget;
	}
	spin_unlock(&s->inodes_lock);
	return inode;
}

static unsigned long count_inodes(struct cache_room_state *s)
{
	unsigned long nr;

	spin_lock(&s->inodes_lock);
	nr = list_count_nodes(&s->inodes);
	spin_unlock(&s->inodes_lock);
	return nr;
}

unsigned long page_cache_shrink(unsigned long max)
{
	struct cache_room_state *s = cache_state();
	unsigned long budget = count_inodes(s), nr = 0;
	struct inode *inode;

	while (nr < max && (inode = next_inode(s, &budget))) {
		struct address_space *mapping = inode->i_mapping;

		/* Without a_ops it is still being made. */
		if (smp_load_acquire(&mapping->a_ops) && READ_ONCE(mapping->nrpages) &&
		    !shmem_mapping(mapping))
			nr += invalidate_mapping_pages(mapping, 0, ~0UL, max - nr);
		iput(inode);
	}
	return nr;
}

unsigned long page_cache_count(void)
{
	return (unsigned long)atomic_long_read(&cache_state()->nr_pages);
}

/* ---- check ---- */

void mapping_check(struct address_space *mapping, struct check_report *report)
{
	unsigned long index, nr = 0;
	struct page *page;
	const char *broken;

	broken = xa_check(&mapping->i_pages);
	if (broken) {
		check_fail(report, "I1: %s", broken);
		return;
	}
	xa_for_each(&mapping->i_pages, index, page) {
		nr++;
		if (page->mapping != mapping || page->index != index)
			check_fail(report, "I1: page at index %lu of \"%s\" has index %lu%s", index,
				   mapping->host->i_dentry.d_name.name, page->index,
				   page->mapping != mapping ? " and another mapping" : "");
		if (page_ref_count(page) < 1 + page_mapcount(page))
			check_fail(report, "I1: page at index %lu has count %d with %d mappings",
				   index, page_ref_count(page), page_mapcount(page));
	}
	if (nr != mapping->nrpages)
		check_fail(report, "I2: \"%s\" has %lu pages and nrpages is %lu",
			   mapping->host->i_dentry.d_name.name, nr, mapping->nrpages);
}
