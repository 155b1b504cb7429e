/* SPDX-License-Identifier: MIT */
/*
 * show.h - the free frames as text: /proc/buddyinfo, zoneinfo and pagetypeinfo
 *
 * Line for line and column for column what Linux 6.1 prints, so that whatever reads those files
 * reads these texts. Numbers of one zone are taken under its lock; between zones others go on.
 */
#ifndef KARC_MM_PHYS_SHOW_H
#define KARC_MM_PHYS_SHOW_H

#include <karc/mm/phys/zone.h>
#include <stdio.h>

/* pagetypeinfo counts a list no further, and writes a > before the number. */
#define PAGETYPEINFO_MOST	100000ul

/**
 * buddyinfo_show, pagetypeinfo_show, zoneinfo_show - write the text to @out
 *
 * Context: on a machine, may sleep. Locks: each zone->lock in turn, none while writing.
 * Model:   Linux 6.1.
 */
void buddyinfo_show(FILE *out);
void pagetypeinfo_show(FILE *out);
void zoneinfo_show(FILE *out);

/* "Unmovable", "Movable" ... as pagetypeinfo calls them. */
const char *migratetype_name(int migratetype);

#endif
