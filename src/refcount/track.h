/* SPDX-License-Identifier: MIT */
/*
 * track.h - the list of a tracked machine's arcs: what track.c keeps and graph.c reads
 */
#ifndef KARC_SRC_REFCOUNT_TRACK_H
#define KARC_SRC_REFCOUNT_TRACK_H

#include <karc/refcount/graph.h>

#include "internal.h"

/* One reference registered from outside. */
struct track_hold {
	struct track_hold *next;	/* latest first */
	const char *name;		/* or NULL */
	const struct site *site;
	enum arc_edge_kind kind;
};

struct track_node {
	struct track_node *chain;
	struct list_head node;		/* order of creation */
	struct arc *arc;
	u64 id;
	struct track_hold *holds;
	unsigned int nr_bare[3];	/* holds that no memory was there for, by kind */
	unsigned int nr_in;		/* one check's scratch: owning edges that lead here */
};

#define TRACK_PAGE_SLOTS	4096u

struct track {
	u32 in_page[TRACK_PAGE_SLOTS];	/* atomic: arcs by some bits of their page's address */
	spinlock_t lock;
	struct list_head nodes;
	struct track_node **buckets;	/* by address of the arc */
	unsigned int nr_buckets;	/* a power of two */
	unsigned long nr;
	u64 last_id;
};

struct track_node *track_find(const struct track *t, const struct arc *arc);

/* References registered from outside, of one kind. */
unsigned int track_nr_held(const struct track_node *n, enum arc_edge_kind kind);

/**
 * fields_walk - every reference that @arc's field table shows, in declared order
 * @see: @index is ARC_NONE for a field that holds one; @child is never NULL, and only an address
 */
void fields_walk(struct arc *arc,
		 void (*see)(void *arg, const struct arc_field *f, unsigned int index,
			     enum arc_edge_kind kind, struct arc *child), void *arg);

#endif
