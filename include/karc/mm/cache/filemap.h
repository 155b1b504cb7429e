/* SPDX-License-Identifier: MIT */
/*
 * filemap.h - the page cache: (mapping, index) to page
 */
#ifndef KARC_MM_CACHE_FILEMAP_H
#define KARC_MM_CACHE_FILEMAP_H

#include <karc/base/bitops.h>
#include <karc/base/contract.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/phys/page.h>
#include <karc/mm/vm_fault.h>

struct check_report;

/* Page lock: a sleeping lock in page->flags. Guards page->mapping and filling. */
void lock_page(struct page *page);
bool trylock_page(struct page *page);
void unlock_page(struct page *page);

/**
 * find_get_page - the cached page at @index
 * Gives: one reference, or NULL when it is not cached. Not locked, maybe not up to date.
 */
KARC_MUST_CHECK struct page *find_get_page(struct address_space *mapping, pgoff_t index);

/* The same, locked, and checked to belong to @mapping still. */
KARC_MUST_CHECK struct page *find_lock_page(struct address_space *mapping, pgoff_t index);

/**
 * add_to_page_cache - put a locked page into @mapping at @index
 * The cache takes a reference of its own; the caller keeps his.
 * Errors: -EEXIST, -ENOMEM; nothing changed.
 */
KARC_MUST_CHECK int add_to_page_cache(struct page *page, struct address_space *mapping,
				      pgoff_t index, gfp_t gfp);

/* Take a locked page out of its mapping; the cache's reference is put. */
void delete_from_page_cache(struct page *page);

/**
 * read_cache_page - the page at @index with its contents, read in when needed
 * Gives:   one reference, up to date, not locked.
 * Errors:  ERR_PTR(-ENOMEM), or what a_ops->read_page answered; the cache is then unchanged.
 * Context: may sleep.
 */
KARC_MUST_CHECK struct page *read_cache_page_site(struct address_space *mapping, pgoff_t index,
						  const struct site *site);
#define read_cache_page(mapping, index) read_cache_page_site(mapping, index, SITE())

/* The fault operation of mapped files; VM_FAULT_SIGBUS past the end of the file. */
vm_fault_t filemap_fault(struct vm_fault *vmf);
extern const struct vm_operations_struct generic_file_vm_ops;
int generic_file_mmap(struct file *file, struct vm_area_struct *vma);

/* The page's bytes differ from what ->fill would write: it must not be dropped. */
bool set_page_dirty(struct page *page);

/**
 * truncate_inode_pages - drop the cached pages from byte @lstart on
 * The page that holds @lstart stays, with its tail zeroed. Pages are dropped mapped or not:
 * unmap first (truncate_setsize() does).
 * Context: may sleep (page locks).
 */
void truncate_inode_pages(struct address_space *mapping, loff_t lstart);

/* Change i_size, unmap and drop what is beyond. Context: may sleep; i_rwsem held for writing. */
void truncate_setsize(struct inode *inode, loff_t newsize);

/* The same behind i_rwsem, whoever may write: a file of @inode has another size from now on.
 * 0, -EINVAL (negative), or what the inode's setsize answered. */
int inode_truncate(struct inode *inode, loff_t newsize);

/* What ftruncate does: the same through an open file. -EINVAL when it is not open for writing. */
int file_truncate(struct file *file, loff_t newsize);

/**
 * truncate_pagecache_range - make [@start, @end) (bytes) of the file zero: holes punched
 * Whole pages are dropped, mapped or not; private copies of them stay. Context: as above.
 */
void truncate_pagecache_range(struct inode *inode, loff_t start, loff_t end);

/**
 * invalidate_mapping_pages - drop clean, unmapped, unlocked pages of [@start, @end]
 * Returns: how many.
 */
unsigned long invalidate_mapping_pages(struct address_space *mapping, pgoff_t start, pgoff_t end,
				       unsigned long max);

/* Drop up to @max clean unmapped pages of all files of the machine; returns how many. */
unsigned long page_cache_shrink(unsigned long max);

/* Pages in all mappings of the machine. */
unsigned long page_cache_count(void);

/* Hook for the space room: take [@start, @end) (pages) of @mapping out of every address space;
 * private copies of them too with @even_cows. */
struct cache_unmap_ops {
	void (*unmap_range)(struct address_space *mapping, pgoff_t start, pgoff_t end,
			    bool even_cows);
};
void cache_register_unmap(const struct cache_unmap_ops *ops);

/* Verify one mapping: page->mapping, index, counts, nrpages. */
void mapping_check(struct address_space *mapping, struct check_report *report);

#endif
