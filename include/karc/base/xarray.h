/* SPDX-License-Identifier: MIT */
/*
 * An index -> pointer map: a radix tree with 64 slots a node, under Linux's names.
 *
 * Entries are pointers aligned to 4 bytes, or small integers made with xa_mk_value(); NULL is
 * absence.  Three marks per entry can be searched for.  Nodes come from the caller's allocator;
 * storing may fail for lack of memory, everything else may not.
 *
 * Nothing is locked here: the owner serialises changes against everything else (Linux's
 * array has a spin lock of its own, which belongs to a room above this one).
 */
#ifndef KARC_BASE_XARRAY_H
#define KARC_BASE_XARRAY_H

#include <limits.h>

#include <karc/base/contract.h>
#include <karc/base/err.h>
#include <karc/base/types.h>

#define XA_CHUNK_SHIFT 6
#define XA_CHUNK_SIZE (1UL << XA_CHUNK_SHIFT)
#define XA_CHUNK_MASK (XA_CHUNK_SIZE - 1)
#define XA_MAX_MARKS 3

typedef unsigned int xa_mark_t;
#define XA_MARK_0 ((xa_mark_t)0U)
#define XA_MARK_1 ((xa_mark_t)1U)
#define XA_MARK_2 ((xa_mark_t)2U)
#define XA_PRESENT ((xa_mark_t)8U)	/* as a filter: every entry */

/* Where nodes come from.  alloc returns sizeof(struct xa_node) bytes or NULL. */
struct xa_node_ops {
	void *(*alloc)(void *arg, gfp_t gfp);
	void (*free)(void *arg, void *node);
};

struct xa_node {
	unsigned char shift;		/* of the index bits that select a slot here */
	unsigned char offset;		/* of this node in its parent */
	unsigned char count;		/* slots in use */
	struct xa_node *parent;		/* NULL: this is the top */
	void *slots[XA_CHUNK_SIZE];
	u64 marks[XA_MAX_MARKS];	/* bit i: slot i, or something below it, has the mark */
};

struct xarray {
	struct xa_node *top;		/* NULL: empty */
	const struct xa_node_ops *ops;	/* NULL: the host's memory */
	void *ops_arg;
};

#define XARRAY_INIT(name) { NULL, NULL, NULL }
#define DEFINE_XARRAY(name) struct xarray name = XARRAY_INIT(name)

/* Nodes from hostmem_alloc(), @gfp ignored. */
static inline void xa_init(struct xarray *xa)
{
	xa->top = NULL;
	xa->ops = NULL;
	xa->ops_arg = NULL;
}

/* Nodes from @ops, called with @arg; @ops outlives the array. */
static inline void xa_init_ops(struct xarray *xa, const struct xa_node_ops *ops, void *arg)
{
	xa->top = NULL;
	xa->ops = ops;
	xa->ops_arg = arg;
}

/* Integers as entries, 0 .. LONG_MAX. */
static inline void *xa_mk_value(unsigned long v)
{
	return (void *)((v << 1) | 1);
}

static inline unsigned long xa_to_value(const void *entry)
{
	return (unsigned long)entry >> 1;
}

static inline bool xa_is_value(const void *entry)
{
	return (unsigned long)entry & 1;
}

/* Errors come back as entries: a negative errno, shifted, with 2 in the low bits. */
static inline void *karc_xa_mk_err(long err)
{
	return (void *)(((unsigned long)err << 2) | 2);
}

static inline bool xa_is_err(const void *entry)
{
	return ((unsigned long)entry & 3) == 2 &&
	       (unsigned long)entry >= (unsigned long)karc_xa_mk_err(-MAX_ERRNO);
}

/* 0, or the negative errno in what xa_store() and friends returned. */
static inline int xa_err(void *entry)
{
	return xa_is_err(entry) ? (int)((long)entry >> 2) : 0;
}

static inline bool xa_empty(const struct xarray *xa)
{
	return xa->top == NULL;
}

/* The entry at @index, borrowed, or NULL. */
void *xa_load(struct xarray *xa, unsigned long index);

/**
 * xa_store - put @entry at @index, over what is there
 * @entry: NULL removes, and then cannot fail
 * @gfp:   for the allocator of nodes
 *
 * Returns the old entry (NULL: none), or an error for xa_err(): -ENOMEM; the array's entries are
 * then as before.  A new entry keeps the marks of the one it replaces.
 */
void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp);

/* Removes and returns the entry at @index, or NULL. */
void *xa_erase(struct xarray *xa, unsigned long index);

/* xa_store() only where nothing is: 0, -EBUSY (also for a reservation) or -ENOMEM. */
KARC_MUST_CHECK int xa_insert(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp);

/* xa_store() only over @old; returns what was there, or an error as xa_store(). */
void *xa_cmpxchg(struct xarray *xa, unsigned long index, void *old, void *entry, gfp_t gfp);

/* Makes sure that a later xa_store() at @index needs no memory: 0 or -ENOMEM.  Reads as NULL. */
KARC_MUST_CHECK int xa_reserve(struct xarray *xa, unsigned long index, gfp_t gfp);

/* Ends a reservation that was not used; an entry stays. */
void xa_release(struct xarray *xa, unsigned long index);

struct xa_limit {
	u32 max;
	u32 min;
};

#define XA_LIMIT(low, high) (struct xa_limit) { .min = (low), .max = (high) }
#define xa_limit_32b XA_LIMIT(0, UINT_MAX)
#define xa_limit_31b XA_LIMIT(0, INT_MAX)
#define xa_limit_16b XA_LIMIT(0, USHRT_MAX)

/* Stores at the lowest free index within @limit: 0, -EBUSY when full, -ENOMEM. */
KARC_MUST_CHECK int xa_alloc(struct xarray *xa, u32 *id, void *entry, struct xa_limit limit,
			     gfp_t gfp);

/*
 * The same from *@next on, once around; *@next becomes the index after.  1 when that wrapped (past
 * UINT_MAX, *@next wraps by itself and this tells nothing).
 */
KARC_MUST_CHECK int xa_alloc_cyclic(struct xarray *xa, u32 *id, void *entry,
				    struct xa_limit limit, u32 *next, gfp_t gfp);

/* The first entry at *@index .. @max that passes @filter; *@index becomes its place. */
void *xa_find(struct xarray *xa, unsigned long *index, unsigned long max, xa_mark_t filter);
/* The same, from *@index + 1. */
void *xa_find_after(struct xarray *xa, unsigned long *index, unsigned long max,
		    xa_mark_t filter);

/* Up to @n entries of @start .. @max into @dst, in order; returns how many. */
unsigned int xa_extract(struct xarray *xa, void **dst, unsigned long start, unsigned long max,
			unsigned int n, xa_mark_t filter);

bool xa_get_mark(struct xarray *xa, unsigned long index, xa_mark_t mark);
void xa_set_mark(struct xarray *xa, unsigned long index, xa_mark_t mark);
void xa_clear_mark(struct xarray *xa, unsigned long index, xa_mark_t mark);
/* Whether any entry has @mark. */
bool xa_marked(const struct xarray *xa, xa_mark_t mark);

/* Frees all nodes, not what the entries point at; the array is empty and usable after. */
void xa_destroy(struct xarray *xa);

/* NULL, or a sentence about the first broken invariant; only reads. */
const char *xa_check(const struct xarray *xa);

/* Entries may be stored and erased in the body. */
#define xa_for_each_range(xa, index, entry, start, last)			\
	for ((index) = (start),							\
	     (entry) = xa_find(xa, &(index), last, XA_PRESENT); (entry);	\
	     (entry) = xa_find_after(xa, &(index), last, XA_PRESENT))
#define xa_for_each_start(xa, index, entry, start) \
	xa_for_each_range(xa, index, entry, start, ULONG_MAX)
#define xa_for_each(xa, index, entry) xa_for_each_start(xa, index, entry, 0)
#define xa_for_each_marked(xa, index, entry, filter)				\
	for ((index) = 0, (entry) = xa_find(xa, &(index), ULONG_MAX, filter); (entry); \
	     (entry) = xa_find_after(xa, &(index), ULONG_MAX, filter))

#endif
