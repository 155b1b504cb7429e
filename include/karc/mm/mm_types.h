/* SPDX-License-Identifier: MIT */
/*
 * mm_types.h - shapes shared by the mm rooms, and no functions
 */
#ifndef KARC_MM_MM_TYPES_H
#define KARC_MM_MM_TYPES_H

#include <karc/base/atomic.h>
#include <karc/base/list.h>
#include <karc/base/rbtree.h>
#include <karc/base/types.h>
#include <karc/hw/rwsem.h>
#include <karc/hw/spinlock.h>
#include <karc/mm/gfp.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/users.h>

struct address_space;
struct anon_vma;
struct file;
struct inode;
struct kmem_cache;
struct vm_operations_struct;
struct vma_name;

typedef struct { u64 pte; } pte_t;
typedef struct { u64 pmd; } pmd_t;
typedef struct { u64 pud; } pud_t;
typedef struct { u64 p4d; } p4d_t;
typedef struct { u64 pgd; } pgd_t;
typedef struct { u64 pgprot; } pgprot_t;
typedef struct page *pgtable_t;
typedef unsigned long vm_flags_t;

/* Bits of page->flags; the zone and node sit in the top bits. */
enum pageflags {
	PG_locked,
	PG_referenced,
	PG_uptodate,
	PG_dirty,
	PG_lru,
	PG_active,
	PG_writeback,
	PG_head,		/* first page of a compound page */
	PG_slab,
	PG_table,		/* holds a page table */
	PG_buddy,		/* free, head of a block of order page->private */
	PG_pcp,			/* free, on a per-CPU list */
	PG_reserved,		/* hole or firmware: never allocated */
	PG_anon,		/* mapping is an anon_vma */
	PG_swapbacked,
	PG_swapcache,
	PG_unevictable,
	PG_hwpoison,
	PG_memcg,		/* charged to a group, see mm/phys/memcg.h */
	PG_pfmemalloc,		/* came from the reserves: for what frees memory only */
	NR_PAGEFLAGS
};

#define PAGE_ZONE_SHIFT		56	/* 3 bits of zone type */
#define PAGE_NODE_SHIFT		59	/* 3 bits of node */
#define PAGE_MIGRATE_SHIFT	53	/* 3 bits: migrate type, of blocks their list, of single frames
					   the per-CPU list they go to when they are freed */
#define PAGE_ORDER_SHIFT	44	/* 4 bits: order of the allocated block that it heads */

/**
 * struct page - one frame; 64 bytes; all zero means free and never used
 *
 * @_refcount decides when the frame goes back to the buddy, whoever holds it. @_mapcount counts
 * the present PTEs and is 0 (not -1 as in Linux) when there is none.
 */
struct page {
	unsigned long flags;
	union {
		struct {			/* page cache and anonymous */
			union {
				struct list_head lru;
				struct list_head buddy_list;
				struct list_head pcp_list;
			};
			struct address_space *mapping;	/* or anon_vma with PG_anon */
			pgoff_t index;
			unsigned long private;		/* buddy: order */
		};
		struct {			/* tail of a compound page */
			unsigned long compound_head;	/* bit 0 set */
			unsigned char compound_dtor;	/* first tail only */
			unsigned char compound_order;
		};
		struct {			/* slab; see mm/slab */
			/* Lies where others look for ->compound_head: so nothing that changes. */
			struct kmem_cache *slab_cache;
			struct list_head slab_list;
			void *freelist;
			void *s_mem;
		};
		struct {			/* page table; see mm/pgtable */
			struct page *pt_parent;		/* table that points here; NULL: root */
			struct mm_struct *pt_mm;
			spinlock_t ptl;
			unsigned int pt_entries;	/* present entries = references from below */
			unsigned short pt_slot;		/* index in the parent */
			unsigned short pt_level;	/* 0 PTE .. 3 PGD */
		};
	};
	union {
		atomic_t _mapcount;		/* user mappings */
		unsigned int slab_active;	/* objects in use: the slab page's own count */
		unsigned int page_type;
	};
	atomic_t _refcount;
	struct arc_dtor *dtors;			/* destructor callbacks of a slab or table page */
};

_Static_assert(sizeof(struct page) == 64, "struct page is one cache line");

/* What a task that reclaims counts besides the pages it frees itself: fiber->reclaim_state. */
struct reclaim_state {
	unsigned long reclaimed_slab;		/* frames of slabs that went back to the buddy */
};

/* mm->rss_stat */
enum { MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES, NR_MM_COUNTERS };

/**
 * struct mm_struct - one address space
 *
 * Two tiers: @mm_users (threads and borrowers; the last mmput() empties the space) and the arc
 * (Linux's mm_count; all users together hold one; the last mmdrop() frees the page-table root
 * and the struct).
 */
struct mm_struct {
	struct arc arc;				/* mm_count */
	union {
		struct arc_users users;
		atomic_t mm_users;		/* the same, under Linux's name */
	};
	int map_count;				/* mmap_lock */
	/* guarded by mmap_lock */
	struct {
		struct rb_root tree;		/* VMAs by address; ordered index (vma_tree.c) */
		struct list_head list;		/* the same VMAs in order */
	} vmas;
	unsigned long mmap_base;		/* top-down placement starts below this */
	unsigned long mmap_legacy_base;		/* bottom-up placement starts here */
	unsigned long task_size;
	unsigned long total_vm, locked_vm, data_vm, exec_vm, stack_vm;	/* pages */
	unsigned long def_flags;
	unsigned long start_code, end_code, start_data, end_data;
	unsigned long start_brk, brk, start_stack;
	unsigned long arg_start, arg_end, env_start, env_end;
	struct file *exe_file;			/* owned */
	const struct mm_profile *profile;	/* kernel-version dependent rules (space room) */
	struct mm_rlimits {
		unsigned long as, data, stack, memlock;	/* bytes, ~0UL = unlimited */
	} rlim;
	/* own locks */
	struct rw_semaphore mmap_lock;
	spinlock_t page_table_lock;
	pgd_t *pgd;				/* direct-map address of the root table */
	atomic_long_t pgtables_bytes;
	atomic_long_t rss_stat[NR_MM_COUNTERS];
	unsigned long hiwater_rss, hiwater_vm;	/* pages */
	atomic64_t nr_faults[12];		/* by enum fault_kind of mm/space/fault.h */
	unsigned long flags;			/* MMF_*, atomic bits */
	u64 id;					/* order of creation */
	struct list_head mm_node;		/* all mms of the machine; space room's lock */
	unsigned long cpu_bitmap;		/* CPUs whose TLB may hold this mm (atomic) */
	int tlb_flush_pending;			/* atomic: changes of entries under way, tlbflush.h */
};

/**
 * struct vm_area_struct - one mapping: [vm_start, vm_end)
 *
 * Holds its file and anon_vma strongly; its mm weakly (the mm owns it through the index).
 * @vm_mm is only to be followed while the mm is known to be alive: under its mmap_lock.
 */
struct vm_area_struct {
	struct arc arc;
	unsigned long vm_start;
	unsigned long vm_end;
	struct mm_struct *vm_mm;		/* one weak reference */
	pgprot_t vm_page_prot;
	vm_flags_t vm_flags;
	struct rb_node vm_rb;
	unsigned long rb_subtree_gap;		/* largest free gap below any VMA of the subtree, bytes */
	struct list_head vm_list;
	struct anon_vma *anon_vma;		/* owned or NULL */
	const struct vm_operations_struct *vm_ops;
	pgoff_t vm_pgoff;			/* pages */
	struct file *vm_file;			/* owned or NULL */
	void *vm_private_data;
	struct vma_name *anon_name;		/* one count, or NULL */
	struct list_head rmap_node;		/* mapping->i_mmap or anon_vma's list */
};

#endif
