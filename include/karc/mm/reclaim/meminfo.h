/* SPDX-License-Identifier: MIT */
/*
 * meminfo.h - what the memory is used for, as text: /proc/meminfo
 */
#ifndef KARC_MM_RECLAIM_MEMINFO_H
#define KARC_MM_RECLAIM_MEMINFO_H

#include <stdio.h>

/**
 * meminfo_show - write the text of /proc/meminfo to @out
 *
 * The lines, order and columns of an x86-64 kernel; the four about high memory, which such a kernel
 * has not, on a machine that has HIGHMEM. What karc has no such thing of is 0.
 *
 * Context: on a machine, any. Counters are exact while nobody allocates.
 * Model:   Linux 6.1.
 */
void meminfo_show(FILE *out);

/* Pages that new work could get without pushing anything out that is in use. Model: Linux 6.1. */
long si_mem_available(void);

#endif
