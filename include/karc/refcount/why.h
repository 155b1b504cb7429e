/* SPDX-License-Identifier: MIT */
/*
 * why.h - why is this object still alive?
 *
 * Works on machines booted with machine_config.track. With machine_config.holders the tasks that
 * hold it are named, with the place and the callers of the get; without, references that no field
 * and no registered holder explain are counted only.
 */
#ifndef KARC_REFCOUNT_WHY_H
#define KARC_REFCOUNT_WHY_H

#include <karc/base/types.h>
#include <karc/refcount/graph.h>

/**
 * arc_why_alive - print to the log why @obj is alive
 * @obj: address of a struct arc, of the object around one, or of an object that a graph source
 *       shows
 *
 *	#12 folder "value 3" from dir.c:88: LIVE, BEHIND, 72 bytes
 *	  count 2: 1 field, 1 holder; weak 1: 1 field
 *	  owned: folder.pages[2] of #7 folder from dir.c:80
 *	  held: cat, pid 9: 1 reference from open.c:31
 *	    do_open+0x51/0x120
 *	  path: pid table: task_struct.files -> files_struct.fds[3] -> folder
 *
 * and in place of the path, for an object that no holder reaches, the cycle that keeps it ("cycle:
 * folder.pages[2] -> folder.owner"), what keeps it ("kept by #7 folder (LOST): folder.owner ->
 * folder") or "nobody known: 1 reference without a holder".
 * Context: a quiet point. Without host memory it says so.
 */
void arc_why_alive(const void *obj);

/**
 * arc_why_alive_text - the same into @buf
 *
 * Returns: length of the text, which is cut to @size - 1 ("..." at its end); -ENOENT: nothing
 * that is known; -ENOMEM.
 */
KARC_MUST_CHECK long arc_why_alive_text(const void *obj, char *buf, size_t size);

/* The same from a graph that is there already, about its node @i; at most -ENOMEM. */
KARC_MUST_CHECK long arc_graph_why_text(const struct arc_graph *g, unsigned int i, char *buf,
					size_t size);

#define ARC_WHY_OWNERS	8u	/* so many fields and holders are shown, the rest counted */

#endif
