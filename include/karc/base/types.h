/* SPDX-License-Identifier: MIT */
/*
 * Types under their Linux names, and list heads.  libc's types (size_t, loff_t, pid_t, dev_t)
 * are libc's.  u64 is unsigned long long, as in Linux, so that %llu prints it.
 */
#ifndef KARC_BASE_TYPES_H
#define KARC_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <karc/base/compiler.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef signed short s16;
typedef signed int s32;
typedef signed long long s64;

typedef unsigned int gfp_t;		/* what an allocation may do: GFP_* */
typedef unsigned int slab_flags_t;
typedef unsigned int fmode_t;		/* FMODE_* of an open file */
typedef unsigned int vm_fault_t;	/* VM_FAULT_* */
typedef unsigned short umode_t;		/* S_I* */
typedef unsigned long pgoff_t;		/* offset in a file, in pages */
typedef unsigned long pfn_t;		/* number of a page frame (Linux: plain unsigned long) */
typedef u64 phys_addr_t;		/* byte address in simulated physical memory */
typedef u64 dma_addr_t;
typedef phys_addr_t resource_size_t;
typedef u64 sector_t;

struct list_head {
	struct list_head *next, *prev;
};

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

static_assert(sizeof(void *) == sizeof(unsigned long), "pointers and longs differ in size");
static_assert(sizeof(u64) == 8 && sizeof(u32) == 4, "fixed-size types have other sizes");

#endif
