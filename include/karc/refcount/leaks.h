/* SPDX-License-Identifier: MIT */
/*
 * leaks.h - what is lost, grouped by type, by site and by who is to blame, each with the reason
 *
 * A leak report is made from an ownership graph: of a running machine at a quiet point, where a
 * leak is what no holder reaches, or at shutdown, where it is what was still there when every room
 * had gone. On machines booted with machine_config.track.
 */
#ifndef KARC_REFCOUNT_LEAKS_H
#define KARC_REFCOUNT_LEAKS_H

#include <karc/base/contract.h>
#include <karc/refcount/graph.h>

struct arc_leaks;

/**
 * arc_leaks_take - what is lost on @m now
 * @flags: ARC_GRAPH_TRUST: references that nobody is known to hold are a running task's. Right in
 *         the middle of a run without machine_config.holders; only cycles are sure then.
 *
 * A leak is a live object whose verdict is ARC_LOST, ARC_CYCLE or ARC_BEHIND.
 * Gives:   the report; end it with arc_leaks_free(), before the machine goes.
 * Context: a quiet point. Errors: NULL without host memory.
 */
KARC_MUST_CHECK struct arc_leaks *arc_leaks_take(struct machine *m, unsigned int flags);
void arc_leaks_free(struct arc_leaks *leaks);

/**
 * arc_leaks_at_shutdown - have a report of what machine_shutdown() of @m finds left
 * @fn: called once while the machine goes down, when something with an arc is left; @leaks is
 *      borrowed. NULL: no more. Objects that a holder reached until the end are leaks too.
 */
void arc_leaks_at_shutdown(struct machine *m,
			   void (*fn)(void *arg, const struct arc_leaks *leaks), void *arg);

/* Number of leaked objects: not 0 is exit status 1 of a tool. */
unsigned long arc_leaks_nr(const struct arc_leaks *leaks);
u64 arc_leaks_bytes(const struct arc_leaks *leaks);

/* The graph they are nodes of, and the number of the @i-th leaked node there, oldest first. */
const struct arc_graph *arc_leaks_graph(const struct arc_leaks *leaks);
unsigned int arc_leaks_node(const struct arc_leaks *leaks, unsigned long i);

/**
 * struct arc_leak_row - one group of leaks
 * @name: the type, or who is to blame
 * @site: by site: where they were created; by holder: where the reference was taken
 * @nr_verdict: the @nr objects taken apart, by enum arc_verdict
 * @first: number of the oldest one in the graph
 */
struct arc_leak_row {
	const char *name;
	const struct site *site;
	unsigned long nr;
	u64 bytes;
	unsigned long nr_verdict[ARC_GONE + 1];
	unsigned int first;
};

enum arc_leak_table {
	ARC_LEAKS_BY_TYPE,
	ARC_LEAKS_BY_SITE,	/* and type */
	/*
	 * By whose reference it is in the end: a holder's name, "forgotten by cat, pid 7", "cycle:
	 * page.vma_set -> ...", "nobody known", "teardown not finished", "weak references only".
	 */
	ARC_LEAKS_BY_HOLDER,
	ARC_LEAKS_TABLES
};

/* Most objects first. */
unsigned int arc_leaks_nr_rows(const struct arc_leaks *leaks, enum arc_leak_table table);
const struct arc_leak_row *arc_leaks_row(const struct arc_leaks *leaks, enum arc_leak_table table,
					 unsigned int i);

/**
 * arc_leaks_text - the report for people, one screen
 * @write: gets the text piece by piece; pieces do not end where lines end
 *
 *	leaks: 3 objects, 216 bytes: 1 LOST, 2 CYCLE
 *
 *	by type             objects        bytes     LOST    CYCLE   BEHIND     held
 *	  folder                  3          216        1        2        0        0
 *	by site             ...
 *	by holder           ...
 *	why
 *	  #12 folder from dir.c:88 (LOST): nobody known: 1 reference without a holder
 *	  #13 folder from dir.c:90 (CYCLE): cycle: folder.pages[2] -> folder.owner
 *
 * At most ARC_LEAKS_SHOWN rows of each, the rest summed up. Under "why" stand the causes: what is
 * LOST, the oldest object of each cycle, what somebody holds; and then what hangs on them. Of
 * several in a row that one place made, the oldest.
 */
void arc_leaks_text(const struct arc_leaks *leaks, void (*write)(void *arg, const char *text),
		    void *arg);

#define ARC_LEAKS_SHOWN	10u

/**
 * arc_leaks_json - the report for programs, all of it, one object
 *
 *	{"schema": "karc-leaks-1", "objects": n, "bytes": n, COUNTS,
 *	 "by_type": [{"type": s, "objects": n, "bytes": n, COUNTS}],
 *	 "by_site": [{"type": s, "site": SITE, "objects": n, "bytes": n, COUNTS}],
 *	 "by_holder": [{"holder": s, "site": SITE, "objects": n, "bytes": n, COUNTS}],
 *	 "leaks": [{"id": n, "type": s, "label": s, "site": SITE, "bytes": n, "state": s,
 *	   "verdict": s, "count": n|null, "users": n|null, "weak": n, "unknown": n, "cycle": n,
 *	   "why": s, "holders": [{"name": s, "site": SITE, "references": n, "kind": s}]}]}
 *
 * COUNTS is "lost": n, "cycle": n, "behind": n, "held": n, "gone": n. SITE is null or {"file": s,
 * "line": n, "function": s}. "cycle" in a leak is 0 or the number of its component. "kind" is
 * "root", "machine", "task" or "forgotten". "verdict" is as arc_verdict_name() says. Later versions
 * of the schema only add names.
 */
void arc_leaks_json(const struct arc_leaks *leaks, void (*write)(void *arg, const char *text),
		    void *arg);

#endif
