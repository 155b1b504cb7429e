/* SPDX-License-Identifier: MIT */
/*
 * internal.h - state of the cache room
 */
#ifndef KARC_SRC_MM_CACHE_INTERNAL_H
#define KARC_SRC_MM_CACHE_INTERNAL_H

#include <karc/hw/machine.h>
#include <karc/hw/spinlock.h>
#include <karc/hw/wait.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/slab/slab.h>

#define PAGE_WAIT_QUEUES	16

struct arc_graph_source;

/* One per machine: machine->room[ROOM_CACHE]. */
struct cache_room_state {
	struct kmem_cache *filp_cache;		/* "filp" */
	struct kmem_cache *inode_cache;		/* "inode_cache" */
	struct kmem_cache *anon_vma_cache;	/* "anon_vma" */
	struct kmem_cache *node_cache;		/* "radix_tree_node" */
	const struct cache_unmap_ops *unmap;	/* set by the space room, or NULL */
	const struct cache_acct_ops *acct;	/* the same */
	atomic_long_t shmem_accounted;		/* pages of Committed_AS, by shmem inodes */

	spinlock_t inodes_lock;			/* the list and the number */
	struct list_head inodes;		/* by i_list, holds nothing; drained first */
	unsigned long next_ino;

	atomic_long_t nr_pages;			/* in all mappings */
	wait_queue_head_t page_wait[PAGE_WAIT_QUEUES];	/* for page locks, by pfn */
};

static inline struct cache_room_state *cache_state(void)
{
	return this_room(ROOM_CACHE);
}

/* filemap.c: an empty address_space / its last pages and nodes go. */
void mapping_init(struct address_space *mapping, struct inode *host);
void mapping_exit(struct address_space *mapping);
/* Is @page filled? If so its bytes can be read without the page lock. */
bool page_is_uptodate(const struct page *page);
/* Zero the cached page that holds byte @lstart from there to its end. */
void mapping_zero_tail(struct address_space *mapping, loff_t lstart);
/* Zero bytes [@from, @to) of one page, if it is cached. */
void mapping_zero_range(struct address_space *mapping, loff_t from, loff_t to);

/* shmem.c: pages of Committed_AS because of @inode; 0 for other kinds. */
long shmem_accounted_by(const struct inode *inode);

/* graph.c */
extern const struct arc_graph_source cache_graph_source;

/* file.c, rmap.c: types known to the ledger. */
int file_types_register(void);
int rmap_types_register(void);

#endif
