/* SPDX-License-Identifier: MIT */
/*
 * holder_internal.h - what holder.c keeps and holder_settle.c reads
 */
#ifndef KARC_SRC_REFCOUNT_HOLDER_INTERNAL_H
#define KARC_SRC_REFCOUNT_HOLDER_INTERNAL_H

#include <karc/base/hostmem.h>
#include <karc/refcount/holder.h>

#include "internal.h"

#define HOLDER_TASK_BUCKETS	1024u
#define HOLDER_NR_KINDS		(HOLDER_GONE + 1)

/* The references on one object. */
struct holder_set {
	struct holder_set *chain;
	struct arc *arc;
	struct list_head records;	/* in order of taking */
	struct list_head kinds[HOLDER_NR_KINDS];	/* in order of becoming that */
	unsigned int nr_untracked[2];	/* references without a record; [1]: of the users tier */
	/* scratch of one holder_settle() */
	u64 look;			/* which one: 0 is none */
	u64 judged;			/* the same, when it was asked what it explains */
	unsigned int nr_in[2];		/* edges of live objects that lead here */
};

struct holder_record {
	struct list_head of_set;
	struct list_head of_kind;
	struct list_head of_pair;	/* TASK, FIELD: of one holder and object, latest first */
	struct list_head of_task;	/* TASK: those of one task; else empty */
	struct list_head all;		/* of the machine, in order of taking */
	struct holder_set *set;
	const void *key;		/* TASK: the task_struct or fiber; FIELD: the owner's arc */
	u64 look;			/* scratch: the edge that is this FIELD was seen */
	bool accused;			/* GONE: the report is to come */
	struct holder h;
};

struct holders {
	u32 held;			/* the lock; see holder.c */
	bool parallel;
	struct machine *machine;
	const struct holder_tasks *tasks;	/* atomic */
	struct holder_set **buckets;	/* by address of the arc */
	unsigned int nr_buckets;	/* a power of two */
	unsigned long nr_sets;
	struct list_head *pairs;	/* by holder and object */
	unsigned int nr_pairs;		/* buckets, a power of two */
	struct list_head by_task[HOLDER_TASK_BUCKETS];
	struct list_head all;
	struct list_head free;		/* records to be used again */
	unsigned int nr_free;
	unsigned long nr_records;
	unsigned long nr_lost;
	u64 seq;
	u64 look;
};

/* Who runs here. */
struct holder_who {
	enum holder_kind kind;
	const void *key;
	u64 id;
	bool is_pid;
	char name[HOLDER_NAME_LEN];
};

void holders_lock(struct holders *h);
void holders_unlock(struct holders *h);
struct holder_set *holder_find_set(const struct holders *h, const struct arc *arc);
struct holder_who holder_who(struct holders *h);
struct list_head *holder_task_bucket(struct holders *h, const void *task);
struct list_head *holder_pair_bucket(const struct holders *h, const void *key,
				     const struct arc *arc);
bool holder_is_own(const struct holder_record *r, const struct holder_who *who, bool user);
void holder_make_field(struct holders *h, struct holder_record *r, const struct arc *owner,
		       const char *field);
void holder_make_gone(struct holder_record *r, const struct holder_who *who);

#endif
