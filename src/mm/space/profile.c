/* SPDX-License-Identifier: MIT */
/*
 * One row per range of kernel versions in which programs see the same rules. Each difference to the
 * row above is a change that came with the row's first version:
 *
 *	6.1	the reference
 *	6.2	the search for a free range begins at mmap_min_addr
 *	6.6	[heap] in maps text: the mapping must overlap the heap
 *	6.7	large anonymous mappings go on a huge-page boundary; MAP_STACK means no huge pages;
 *		memory never touched leaves Committed_AS when it is made read-only
 *	6.8	an aligned mapping leaves no hole above it where none is needed
 *	6.10	a position-independent program without an interpreter (a loader, a static PIE) is
 *		placed on its segments' alignment
 *	6.12	which neighbour takes a new range that both could
 *	6.13	alignment only for anonymous mappings whose length is a multiple of a huge page and
 *		that come without a hint; [vvar_vclock]
 *	6.15	the break of such a program lies apart from it, without randomisation too
 *	6.16	a VMA without private pages merges with one that has them
 *	6.17	mremap to a fixed place takes all mappings of the range along
 *
 * Calls that a kernel lacks are asked for where they are built, by the row's first version: mseal
 * 6.10, MAP_DROPPABLE 6.11 (here from the row of 6.10 on), guards 6.13, on all mappings 6.15.
 *
 * Distribution kernels carry later changes; what a recording measured goes before this table.
 */
#include <karc/base/compiler.h>
#include <karc/base/math.h>
#include <karc/mm/space/profile.h>

#define HUGE_BYTES	(2UL << 20)

static const struct mm_profile profiles[] = {
	{
		.name = "linux-6.1",
		.from = KERNEL_VERSION_CODE(6, 1), .to = KERNEL_VERSION_CODE(6, 2),
		.huge_bytes = HUGE_BYTES, .file_align = true, .align_with_hint = true,
	}, {
		.name = "linux-6.2",
		.from = KERNEL_VERSION_CODE(6, 2), .to = KERNEL_VERSION_CODE(6, 6),
		.huge_bytes = HUGE_BYTES, .file_align = true, .min_addr_bounds_search = true,
		.align_with_hint = true,
	}, {
		.name = "linux-6.6",
		.from = KERNEL_VERSION_CODE(6, 6), .to = KERNEL_VERSION_CODE(6, 7),
		.huge_bytes = HUGE_BYTES, .file_align = true, .min_addr_bounds_search = true,
		.align_with_hint = true,
		.heap_strict = true,
	}, {
		.name = "linux-6.7",
		.from = KERNEL_VERSION_CODE(6, 7), .to = KERNEL_VERSION_CODE(6, 8),
		.huge_bytes = HUGE_BYTES, .file_align = true, .min_addr_bounds_search = true,
		.anon_align = MM_ANON_ALIGN_LARGE, .align_with_hint = true,
		.heap_strict = true, .stack_nohuge = true, .mprotect_unaccounts = true,
	}, {
		.name = "linux-6.8",
		.from = KERNEL_VERSION_CODE(6, 8), .to = KERNEL_VERSION_CODE(6, 10),
		.huge_bytes = HUGE_BYTES, .file_align = true, .min_addr_bounds_search = true,
		.anon_align = MM_ANON_ALIGN_LARGE, .align_with_hint = true, .align_snug = true,
		.heap_strict = true, .stack_nohuge = true, .mprotect_unaccounts = true,
	}, {
		.name = "linux-6.10",
		.from = KERNEL_VERSION_CODE(6, 10), .to = KERNEL_VERSION_CODE(6, 12),
		.huge_bytes = HUGE_BYTES, .file_align = true, .min_addr_bounds_search = true,
		.anon_align = MM_ANON_ALIGN_LARGE, .align_with_hint = true, .align_snug = true,
		.heap_strict = true, .stack_nohuge = true, .mprotect_unaccounts = true,
		.loader_aligned = true,
	}, {
		.name = "linux-6.12",
		.from = KERNEL_VERSION_CODE(6, 12), .to = KERNEL_VERSION_CODE(6, 13),
		.huge_bytes = HUGE_BYTES, .file_align = true, .min_addr_bounds_search = true,
		.anon_align = MM_ANON_ALIGN_LARGE, .align_with_hint = true, .align_snug = true,
		.heap_strict = true, .stack_nohuge = true, .mprotect_unaccounts = true,
		.merge_prefers_prev = true, .loader_aligned = true,
	}, {
		.name = "linux-6.13",
		.from = KERNEL_VERSION_CODE(6, 13), .to = KERNEL_VERSION_CODE(6, 15),
		.huge_bytes = HUGE_BYTES, .file_align = true, .min_addr_bounds_search = true,
		.anon_align = MM_ANON_ALIGN_EXACT, .align_snug = true, .heap_strict = true,
		.stack_nohuge = true, .mprotect_unaccounts = true, .merge_prefers_prev = true,
		.vvar_vclock_bytes = 2 * PAGE_SIZE, .loader_aligned = true,
	}, {
		.name = "linux-6.15",
		.from = KERNEL_VERSION_CODE(6, 15), .to = KERNEL_VERSION_CODE(6, 16),
		.huge_bytes = HUGE_BYTES, .file_align = true, .min_addr_bounds_search = true,
		.anon_align = MM_ANON_ALIGN_EXACT, .align_snug = true, .heap_strict = true,
		.stack_nohuge = true, .mprotect_unaccounts = true, .merge_prefers_prev = true,
		.vvar_vclock_bytes = 2 * PAGE_SIZE, .loader_aligned = true,
		.loader_break_apart = true,
	}, {
		.name = "linux-6.16",
		.from = KERNEL_VERSION_CODE(6, 16), .to = KERNEL_VERSION_CODE(6, 17),
		.huge_bytes = HUGE_BYTES, .file_align = true, .min_addr_bounds_search = true,
		.anon_align = MM_ANON_ALIGN_EXACT, .align_snug = true, .heap_strict = true,
		.stack_nohuge = true, .mprotect_unaccounts = true, .merge_prefers_prev = true,
		.merge_unfaulted = true, .vvar_vclock_bytes = 2 * PAGE_SIZE,
		.loader_aligned = true, .loader_break_apart = true,
	}, {
		.name = "linux-6.17",
		.from = KERNEL_VERSION_CODE(6, 17), .to = ~0u,
		.huge_bytes = HUGE_BYTES, .file_align = true, .min_addr_bounds_search = true,
		.anon_align = MM_ANON_ALIGN_EXACT, .align_snug = true, .heap_strict = true,
		.stack_nohuge = true, .mprotect_unaccounts = true, .merge_prefers_prev = true,
		.merge_unfaulted = true, .vvar_vclock_bytes = 2 * PAGE_SIZE,
		.loader_aligned = true, .loader_break_apart = true,
		.mremap_many = true,
	},
};

const struct mm_profile *mm_profile_for(unsigned int major, unsigned int minor)
{
	unsigned int version = KERNEL_VERSION_CODE(major, minor), i;

	for (i = ARRAY_SIZE(profiles) - 1; i > 0; i--)
		if (version >= profiles[i].from)
			break;
	return &profiles[i];
}

const struct mm_profile *mm_profile_reference(void)
{
	return &profiles[0];
}

const struct mm_profile *mm_profile_newest(void)
{
	return &profiles[ARRAY_SIZE(profiles) - 1];
}
