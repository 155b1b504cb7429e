/* SPDX-License-Identifier: MIT */
/*
 * ref_tracker.h - references that give account: each get has a tracker, which the put returns
 *
 * As in Linux 6.1 and later: an object embeds a directory; whoever takes a reference on it
 * allocates a tracker there and frees it when the reference is given back. A tracker that is
 * still there at the end was leaked, and its report says where it was taken; one freed twice is
 * reported with both places. It works on all machines; holder.h does the same for every arc,
 * without being told.
 */
#ifndef KARC_REFCOUNT_REF_TRACKER_H
#define KARC_REFCOUNT_REF_TRACKER_H

#include <karc/base/list.h>
#include <karc/base/site.h>
#include <karc/base/types.h>
#include <karc/hw/spinlock.h>
#include <karc/refcount/refcount.h>

struct ref_tracker;

/*
 * @untracked:  1, plus references whose tracker could not be allocated
 * @no_tracker: 1, plus references whose owners want none
 */
struct ref_tracker_dir {
	spinlock_t lock;		/* what follows, down to quarantine */
	unsigned int quarantine_avail;
	bool dead;
	struct list_head list;		/* of living references */
	struct list_head quarantine;	/* dead trackers, oldest first */
	refcount_t untracked;
	refcount_t no_tracker;
	char name[32];
};

/**
 * ref_tracker_dir_init - a directory without references
 * @quarantine_count: so many dead trackers are remembered, to tell a second free
 *
 * The macro takes Linux's arguments of all versions: (dir, count), (dir, count, name) and
 * (dir, count, class, name). Context: any.
 */
void ref_tracker_dir_init_named(struct ref_tracker_dir *dir, unsigned int quarantine_count,
				const char *name);

#define karc_ref_tracker_init_2(dir, count) ref_tracker_dir_init_named(dir, count, "")
#define karc_ref_tracker_init_3(dir, count, name) ref_tracker_dir_init_named(dir, count, name)
#define karc_ref_tracker_init_4(dir, count, class, name) \
	((void)(class), ref_tracker_dir_init_named(dir, count, name))
#define karc_ref_tracker_init_of(a, b, c, d, which, ...) which
#define ref_tracker_dir_init(...) \
	karc_ref_tracker_init_of(__VA_ARGS__, karc_ref_tracker_init_4, karc_ref_tracker_init_3, \
				 karc_ref_tracker_init_2, 0)(__VA_ARGS__)

/**
 * ref_tracker_dir_exit - the object goes: what is left in the directory was leaked
 *
 * Reports each ("ref_tracker: leaked reference.", where it was taken, by which callers) and then
 * an ARC_FAULT_LEFT_TRACKED; and references counted in @untracked or @no_tracker. Frees all
 * trackers. Context: any.
 */
void ref_tracker_dir_exit(struct ref_tracker_dir *dir);

/**
 * ref_tracker_alloc - a reference is taken
 * @trackerp: gets the tracker; NULL: no tracker is wanted, only the number is kept
 * @gfp:      trackers come from the host and never wait: it is not looked at
 *
 * Context: any.
 * Errors:  -ENOMEM: *@trackerp is NULL; the reference is counted as untracked. It may be ignored:
 *          ref_tracker_free() understands.
 */
int ref_tracker_alloc_site(struct ref_tracker_dir *dir, struct ref_tracker **trackerp, gfp_t gfp,
			   const struct site *site);
int (ref_tracker_alloc)(struct ref_tracker_dir *dir, struct ref_tracker **trackerp, gfp_t gfp);
#define ref_tracker_alloc(dir, trackerp, gfp) \
	ref_tracker_alloc_site((dir), (trackerp), (gfp), SITE())

/**
 * ref_tracker_free - the reference is given back
 * @trackerp: as it was given to ref_tracker_alloc()
 *
 * Context: any.
 * Errors:  -EEXIST: it was untracked. -EINVAL: it was freed already ("reference already released",
 *          with both places), or belongs to another directory: an ARC_FAULT_TRACKER.
 */
int ref_tracker_free_site(struct ref_tracker_dir *dir, struct ref_tracker **trackerp,
			  const struct site *site);
int (ref_tracker_free)(struct ref_tracker_dir *dir, struct ref_tracker **trackerp);
#define ref_tracker_free(dir, trackerp) ref_tracker_free_site((dir), (trackerp), SITE())

/**
 * ref_tracker_dir_print - who holds references now, grouped by callers
 * @display_limit: trackers looked at
 *
 * "name@address has 2/3 users at", then the callers. Context: any; with _locked, dir->lock is held.
 */
void ref_tracker_dir_print(struct ref_tracker_dir *dir, unsigned int display_limit);
void ref_tracker_dir_print_locked(struct ref_tracker_dir *dir, unsigned int display_limit);

/* The same text to @buf, which it is cut to. Returns: length of the text in @buf. */
int ref_tracker_dir_snprint(struct ref_tracker_dir *dir, char *buf, size_t size);

#endif
