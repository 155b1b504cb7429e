/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - what has changed between two moments: which objects came, went, changed
 *
 * "Ten requests served: what is there now that was not there before?" A snapshot is an ownership
 * graph that is kept; two of the same machine can be compared, also after the objects are gone.
 */
#ifndef KARC_REFCOUNT_SNAPSHOT_H
#define KARC_REFCOUNT_SNAPSHOT_H

#include <karc/base/contract.h>
#include <karc/refcount/graph.h>

struct arc_snapshot;
struct arc_diff;

/**
 * arc_snapshot_take - remember who owns whom on @m now
 *
 * Gives:   the snapshot; end it with arc_snapshot_free(), before the machine goes.
 * Context: a quiet point, see arc_graph_take(). Errors: NULL without host memory.
 */
KARC_MUST_CHECK struct arc_snapshot *arc_snapshot_take(struct machine *m);
void arc_snapshot_free(struct arc_snapshot *snapshot);
const struct arc_graph *arc_snapshot_graph(const struct arc_snapshot *snapshot);

/**
 * arc_snapshot_diff - from @before to @after, two snapshots of one machine
 *
 * Objects with an arc are the same when their number of creation is. Objects of small form have
 * none: there the same type at the same address is the same object.
 * Gives:   the difference; end it with arc_diff_free(), before the two snapshots.
 * Errors:  NULL without host memory. Cost: n log n.
 */
KARC_MUST_CHECK struct arc_diff *arc_snapshot_diff(const struct arc_snapshot *before,
						   const struct arc_snapshot *after);
void arc_diff_free(struct arc_diff *diff);

enum arc_change_kind {
	ARC_CHANGE_NEW,
	ARC_CHANGE_LEFT,	/* was there before */
	ARC_CHANGE_IN,		/* is there in both, and something about it differs */
	ARC_CHANGE_KINDS
};

/* What differs. */
#define ARC_DIFF_STATE		0x1u
#define ARC_DIFF_COUNT		0x2u
#define ARC_DIFF_USERS		0x4u
#define ARC_DIFF_WEAK		0x8u
#define ARC_DIFF_FIELDS		0x10u	/* what it refers to, of whatever kind */
#define ARC_DIFF_HOLDERS	0x20u	/* how many references holders have */
#define ARC_DIFF_VERDICT	0x40u	/* reached, LOST, CYCLE, BEHIND */
#define ARC_DIFF_LABEL		0x80u

/**
 * struct arc_change - one object
 * @before / @after: its number in the one and the other graph, or ARC_NONE
 * @what:  ARC_CHANGE_IN: ARC_DIFF_*
 */
struct arc_change {
	enum arc_change_kind kind;
	unsigned int before, after;
	unsigned int what;
};

/* Gone ones and changed ones by age, then new ones by age. */
unsigned int arc_diff_nr(const struct arc_diff *diff);
const struct arc_change *arc_diff_change(const struct arc_diff *diff, unsigned int i);
unsigned int arc_diff_nr_of(const struct arc_diff *diff, enum arc_change_kind kind);

/**
 * struct arc_diff_row - the changes of one type, or of one type from one site
 * @bytes: of the new ones less those of the gone ones
 */
struct arc_diff_row {
	const char *type;
	const struct site *site;
	unsigned int nr[ARC_CHANGE_KINDS];
	s64 bytes;
};

/* By type, or by site and type; those that grew most in number first. */
unsigned int arc_diff_nr_rows(const struct arc_diff *diff, bool by_site);
const struct arc_diff_row *arc_diff_row(const struct arc_diff *diff, bool by_site,
					unsigned int i);

/**
 * arc_diff_text - for people, one screen
 *
 *	changes: 2 new, 1 gone, 1 changed; +72 bytes
 *
 *	by type                  new     gone  changed        bytes
 *	  folder                   2        1        1          +72
 *	by site ...
 *	objects
 *	  gone    #3 folder from dir.c:88
 *	  changed #2 folder from dir.c:80: count 1 -> 2, fields
 *	  new     #9 folder from dir.c:88 (LOST): nobody known: 1 reference without a holder
 *
 * At most ARC_DIFF_SHOWN of each, the rest summed up.
 */
void arc_diff_text(const struct arc_diff *diff, void (*write)(void *arg, const char *text),
		   void *arg);

#define ARC_DIFF_SHOWN	10u

/**
 * arc_diff_json - for programs, all of it, one object
 *
 *	{"schema": "karc-diff-1", "new": n, "gone": n, "changed": n, "bytes": n,
 *	 "by_type": [{"type": s, "new": n, "gone": n, "changed": n, "bytes": n}],
 *	 "by_site": [{"type": s, "site": SITE, ...}],
 *	 "changes": [{"kind": "new"|"gone"|"changed", "id": n, "type": s, "label": s, "site": SITE,
 *	   "bytes": n, "what": [s], "before": STATE|null, "after": STATE|null}]}
 *
 * STATE is {"state": s, "verdict": s, "count": n|null, "users": n|null, "weak": n, "fields": n,
 * "held": n}; SITE is as in leaks.h. "what" has "state", "count", "users", "weak", "fields",
 * "holders", "verdict", "label". Later versions of the schema only add names.
 */
void arc_diff_json(const struct arc_diff *diff, void (*write)(void *arg, const char *text),
		   void *arg);

#endif
