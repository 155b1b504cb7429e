/* SPDX-License-Identifier: MIT */
/*
 * profile.h - what changed between kernel versions where programs can see it
 */
#ifndef KARC_MM_SPACE_PROFILE_H
#define KARC_MM_SPACE_PROFILE_H

#include <karc/base/types.h>

#define KERNEL_VERSION_CODE(major, minor)	(((unsigned int)(major) << 8) + (minor))

/* Which anonymous mappings without a hint are placed on a huge-page boundary. */
enum mm_anon_align {
	MM_ANON_ALIGN_NONE,
	MM_ANON_ALIGN_LARGE,	/* those of at least one huge page */
	MM_ANON_ALIGN_EXACT,	/* those whose length is a multiple of one */
};

/**
 * struct mm_profile - rules of a range of kernel versions
 * @name:        for reports
 * @from, @to:   KERNEL_VERSION_CODE() of the first and one past the last version
 * @huge_bytes:  size of a huge page for alignment; 0: the kernel has none
 * @anon_align:  see enum mm_anon_align
 * @min_addr_bounds_search: free ranges below mmap_min_addr are not looked at
 * @file_align:  files whose inode asks for it (placement_align) are placed on that boundary
 * @shmem_align: shared anonymous memory, memfds and SysV segments of at least one huge page are
 *               placed on that boundary; not a matter of the version but of the machine's setting
 *               shmem_enabled (anything but "never"), which whoever replays a recording copies here
 * @align_with_hint: anonymous mappings with a hint address are aligned too, when it is taken
 * @align_snug:  an aligned mapping leaves no hole above it where none is needed
 * @heap_strict: maps text calls a mapping [heap] only if it overlaps the heap, not if it touches
 * @merge_unfaulted: a VMA without private pages merges with one that has them (never forked)
 * @merge_prefers_prev: a new range that either neighbour could take, but not both, goes to the
 *               lower one
 * @mprotect_unaccounts: untouched private memory made read-only leaves Committed_AS
 * @vvar_vclock_bytes: the upper part of the vvar area, named [vvar_vclock]
 * @stack_nohuge: MAP_STACK mappings merge with their like only
 * @loader_aligned: a position-independent program without an interpreter is placed on the largest
 *               alignment of its segments
 * @loader_break_apart: its break begins two thirds up and not behind it
 * @mremap_many: mremap() to a fixed place without resizing moves all mappings of the range
 *
 * Profiles are values: a replay copies one and changes what the recording measured otherwise.
 */
struct mm_profile {
	const char *name;
	unsigned int from, to;
	unsigned long huge_bytes;
	unsigned long vvar_vclock_bytes;
	enum mm_anon_align anon_align;
	bool min_addr_bounds_search;
	bool file_align;
	bool shmem_align;
	bool align_with_hint;
	bool align_snug;
	bool heap_strict;
	bool merge_unfaulted;
	bool merge_prefers_prev;
	bool mprotect_unaccounts;
	bool stack_nohuge;
	bool loader_aligned;
	bool loader_break_apart;
	bool mremap_many;
};

/* The profile of a kernel version; versions older than the first or newer than the last row of
 * the table get that row. Never NULL; static. */
const struct mm_profile *mm_profile_for(unsigned int major, unsigned int minor);

/* The profile of Linux 6.1, which names and semantics follow, and of the newest known version. */
const struct mm_profile *mm_profile_reference(void);
const struct mm_profile *mm_profile_newest(void);

#endif
