/* SPDX-License-Identifier: MIT */
/*
 * vmallocinfo.h - the areas of the vmalloc window, as text: /proc/vmallocinfo
 */
#ifndef KARC_MM_KVA_VMALLOCINFO_H
#define KARC_MM_KVA_VMALLOCINFO_H

#include <karc/hw/topology.h>
#include <karc/mm/kva/vmap.h>
#include <stdio.h>

enum vmallocinfo_kind {
	VMALLOCINFO_AREA,
	VMALLOCINFO_RAM,		/* of vm_map_ram() */
	VMALLOCINFO_UNPURGED,		/* freed, still mapped */
};

/**
 * struct vmallocinfo - what is known of one area; of the other kinds only where it is
 * @start, @end: from VMALLOC_START on; the guard page is inside
 * @nr_pages:    frames mapped, 0 if nobody counts them; @node_pages: of them by node
 */
struct vmallocinfo {
	u64 start, end;
	enum vmallocinfo_kind kind;
	unsigned long flags;		/* VM_* */
	unsigned int nr_pages;
	unsigned int node_pages[MAX_NUMNODES];
	bool array_in_vmalloc;		/* pages[] is vmalloc memory itself */
	const struct site *caller;
};

/**
 * vmallocinfo_each - call @fn for each area, in order of address
 * @fn: may do what it likes; areas that come and go meanwhile are seen or not
 *
 * Context: on a machine, any. Locks: the room's, not held during @fn.
 */
void vmallocinfo_each(void (*fn)(const struct vmallocinfo *info, void *arg), void *arg);

/**
 * vmallocinfo_show - write the text of /proc/vmallocinfo to @out
 *
 * The caller is the name of the function alone: no offset into it would mean anything.
 *
 * Model: Linux 6.1.
 */
void vmallocinfo_show(FILE *out);

/**
 * vmallocinfo_peek_frames - call @fn for each frame that vmalloc() took, without a lock
 *
 * For who looks at a deterministic machine from a place where nothing may be locked, such as an
 * event's listener: nobody else runs meanwhile.
 * Returns: false, and @fn was not called, while somebody changes the areas.
 */
bool vmallocinfo_peek_frames(void (*fn)(unsigned long pfn, void *arg), void *arg);

#endif
