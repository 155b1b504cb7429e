/* SPDX-License-Identifier: MIT */
/*
 * ledger.h - what is alive: live and peak counts by kind, live counts by (kind, site)
 *
 * Always on. Objects with a struct arc enter and leave by themselves, under their type's name;
 * objects of a smaller form (page tables, slab pages) are entered by their room with
 * ledger_add() and ledger_sub().
 */
#ifndef KARC_REFCOUNT_LEDGER_H
#define KARC_REFCOUNT_LEDGER_H

#include <karc/base/site.h>
#include <karc/base/types.h>
#include <karc/hw/machine.h>

struct arc_type;

/**
 * struct ledger_row - the living of one kind, or of one kind from one site
 * @kind:  name of the type, or as given to ledger_add()
 * @type:  NULL for kinds of ledger_add()
 * @site:  where they were created; NULL if unknown, and in rows by kind
 * @live:  how many are alive; their memory is not returned yet
 * @peak:  most of this kind (all sites together) that were ever alive at once
 * @bytes: memory of the living
 */
struct ledger_row {
	const char *kind;
	const struct arc_type *type;
	const struct site *site;
	unsigned long live;
	unsigned long peak;
	u64 bytes;
};

/**
 * ledger_for_each - every (kind, site) ever seen, in order of first appearance
 * @fn: called without locks; rows with nothing alive are shown too
 *
 * Exact while nobody creates or destroys objects.
 */
void ledger_for_each(struct machine *m, void (*fn)(void *arg, const struct ledger_row *row),
		     void *arg);

/* The same by kind, all sites together. */
void ledger_for_each_kind(struct machine *m,
			  void (*fn)(void *arg, const struct ledger_row *row), void *arg);

unsigned long ledger_live(struct machine *m, const struct arc_type *type);
unsigned long ledger_peak(struct machine *m, const struct arc_type *type);

/* By name; also for kinds of ledger_add(). 0 for a name never seen. */
unsigned long ledger_live_kind(struct machine *m, const char *kind);
unsigned long ledger_peak_kind(struct machine *m, const char *kind);

/* All kinds together. */
unsigned long ledger_live_total(struct machine *m);

/**
 * ledger_add - count an object that has no struct arc
 * @kind:  a string that stays valid; equal texts are one kind
 * @site:  where it was created, or NULL
 * @bytes: of memory
 *
 * Context: any, in the current machine. ledger_sub() with the same @kind, @site and @bytes takes
 * it out again.
 */
void ledger_add(const char *kind, const struct site *site, u64 bytes);
void ledger_sub(const char *kind, const struct site *site, u64 bytes);

#endif
