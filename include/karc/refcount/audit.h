/* SPDX-License-Identifier: MIT */
/*
 * audit.h - do the counts agree with the edges?
 *
 * Works on machines booted with machine_config.track, where each arc is on a list; elsewhere
 * there is nothing to look at and every function reports 0. The field tables, and what the rooms'
 * graph sources add, say who owns whom. All of it wants a quiet point: no teardown under way,
 * nobody inside a get or put. graph.h has the same knowledge as a data structure.
 */
#ifndef KARC_REFCOUNT_AUDIT_H
#define KARC_REFCOUNT_AUDIT_H

#include <karc/base/types.h>
#include <karc/hw/machine.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/graph.h>

/**
 * audit_hold - a reference is held outside, where no field table shows it (a local, a root)
 *
 * Context: any. Counts do not change. Without host memory it counts, but loses its name.
 * audit_release() withdraws the latest one; one that was never registered is ARC_FAULT_HOLDER.
 * arc_hold() of holder.h is the same with a name.
 */
#define audit_hold(arc) audit_hold_as((arc), ARC_EDGE_STRONG, NULL, SITE())
#define audit_release(arc) audit_release_as((arc), ARC_EDGE_STRONG, NULL, SITE())

/* The same for weak references, and for users of a two-tier object. */
#define audit_hold_weak(arc) audit_hold_as((arc), ARC_EDGE_WEAK, NULL, SITE())
#define audit_release_weak(arc) audit_release_as((arc), ARC_EDGE_WEAK, NULL, SITE())
#define audit_hold_user(arc) audit_hold_as((arc), ARC_EDGE_USER, NULL, SITE())
#define audit_release_user(arc) audit_release_as((arc), ARC_EDGE_USER, NULL, SITE())

/*
 * @name: of the holder, for reports; must stay valid; NULL: none. Released by name: the latest one
 * of that name, by NULL the latest one.
 */
void audit_hold_as(struct arc *arc, enum arc_edge_kind kind, const char *name,
		   const struct site *site);
void audit_release_as(struct arc *arc, enum arc_edge_kind kind, const char *name,
		      const struct site *site);

/**
 * audit_counts - every count equals what is known to count
 * @report: gets one line for each object that disagrees, naming type, site and numbers, and one
 *          for each field that points at nothing that lives
 *
 * Strong count: owning in-edges, registered holders, machine roots of the sources, one for all
 * users together, and with machine_config.holders what tasks hold. Weak count: weak edges and
 * registered weak holders. Users: user edges and user holders. Counts kept CPU by CPU are added up;
 * saturated ones are left out.
 *
 *	audit: more references than edges and holders: folder from x.c:7: count 2, 1 in-edges, 0
 *	holders
 *
 * Returns: number of lines, or -ENOMEM.
 */
long audit_counts(struct machine *m, struct check_report *report);

/**
 * audit_cycles - cycles of owning references, edge by edge
 * @fn: gets one line for each: "page.vma_set -> vma.shared_anon -> pages[3]"; the last step leads
 *      back to the object that the line begins with; may be NULL
 *
 * Which ones: see arc_graph_cycles(). Returns: number of cycles, or -ENOMEM.
 */
long audit_cycles(struct machine *m, void (*fn)(void *arg, const char *text), void *arg);

/**
 * audit_mark - what no holder reaches
 * @flags: ARC_GRAPH_TRUST, see arc_graph_take()
 * @fn: gets each live object that no path leads to from a holder, with its verdict ARC_LOST,
 *      ARC_CYCLE or ARC_BEHIND, oldest first; may be NULL
 *
 * Returns: number of them, or -ENOMEM.
 */
long audit_mark(struct machine *m, unsigned int flags,
		void (*fn)(void *arg, const struct arc_graph_node *node), void *arg);

/* Objects on the list: alive, dying, or dead with weak references. */
unsigned long audit_nr_tracked(struct machine *m);

/* Number of creation of an arc of the current machine; 0 if it is not on the list. */
u64 audit_id(const struct arc *arc);

#endif
