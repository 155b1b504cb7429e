/* SPDX-License-Identifier: MIT */
/*
 * audit.h - do the counts agree with the edges?
 *
 * Works on machines booted with machine_config.track, where each arc is on a list; elsewhere
 * there is nothing to look at and every function reports 0. The field tables say who owns whom.
 * All of it wants a quiet point: no teardown under way, nobody inside a get or put.
 */
#ifndef KARC_REFCOUNT_AUDIT_H
#define KARC_REFCOUNT_AUDIT_H

#include <karc/base/types.h>
#include <karc/hw/machine.h>
#include <karc/refcount/arc.h>

/* Register / withdraw one strong reference that no field table shows (a local, a root). */
void audit_hold(struct arc *arc);
void audit_release(struct arc *arc);

/**
 * audit_counts - each live object's strong count equals its in-edges plus registered holders
 * @report: gets one line for each object that disagrees, naming type, site and numbers
 *
 * Returns: number of disagreements, or -ENOMEM.
 */
long audit_counts(struct machine *m, struct check_report *report);

/**
 * audit_cycles - strong cycles, edge by edge
 * @fn: gets one line for each: "mm.exe_file -> file.owner[2] -> mm"; may be NULL
 *
 * Every cycle contains a back edge of one depth-first walk in order of creation; each such edge
 * is reported once.
 * Returns: number of cycles reported, or -ENOMEM.
 */
long audit_cycles(struct machine *m, void (*fn)(void *arg, const char *text), void *arg);

/* Objects on the list: alive, dying, or dead with weak references. */
unsigned long audit_nr_tracked(struct machine *m);

#endif
