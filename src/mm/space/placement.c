/* SPDX-License-Identifier: MIT */
/*
 * What it is      Where a new mapping goes when the caller does not force an address. As on x86-64
 *                 without randomisation: the hint if it is free, else the highest free range
 *                 below mmap_base, else the lowest above the legacy base. What newer kernels do
 *                 for huge pages comes from the mm's profile. Memory files (shmem) have a way of
 *                 their own: the plain place first, and if huge pages could be used and it is not
 *                 on their boundary, the place of a longer range, moved up within it.
 *
 * Locking         mmap_lock for writing, so that the range is still free when it is used.
 */
#include <karc/mm/cache/shmem.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>
#include <karc/mm/space/profile.h>

#include "mmap_internal.h"

#define MAP_32BIT_START		0x40000000UL
#define MAP_32BIT_END		0x80000000UL

/* A hint must not straddle the end of what is handed out by default. */
static bool mmap_address_hint_valid(unsigned long addr, unsigned long len)
{
	if (TASK_SIZE - len < addr)
		return false;
	return (addr > DEFAULT_MAP_WINDOW) == (addr + len > DEFAULT_MAP_WINDOW);
}

/* Is [addr, addr + len) free, guard gap of a stack above it included? */
static bool range_free(struct mm_struct *mm, unsigned long addr, unsigned long len)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	return !vma || addr + len <= vm_start_gap(vma);
}

/* 6.1 searches below mmap_min_addr too, and then refuses what it found. */
static unsigned long search_floor(const struct mm_struct *mm, unsigned long low)
{
	return mm->profile->min_addr_bounds_search ? max(low, space_sysctl()->mmap_min_addr) : low;
}

/* From the legacy base (or within the low 2 GiB for MAP_32BIT) upwards. */
static unsigned long area_bottomup(struct mm_struct *mm, unsigned long addr, unsigned long len,
				   unsigned long flags)
{
	struct vma_gap_request want = {
		.length = len, .high_limit = mm->task_size,
		.low_limit = search_floor(mm, mm->mmap_legacy_base),
	};

	if (flags & MAP_32BIT) {
		want.low_limit = MAP_32BIT_START;
		want.high_limit = MAP_32BIT_END;
	}
	if (len > want.high_limit)
		return -ENOMEM;
	if (addr) {
		addr = PAGE_ALIGN(addr);
		if (want.high_limit - len >= addr && range_free(mm, addr, len))
			return addr;
	}
	return vma_find_gap(mm, &want);
}

static unsigned long area_topdown(struct mm_struct *mm, unsigned long addr, unsigned long len,
				  unsigned long flags)
{
	struct vma_gap_request want = {
		.length = len, .low_limit = search_floor(mm, PAGE_SIZE),
		.high_limit = mm->mmap_base, .topdown = true,
	};
	unsigned long found;

	if (flags & MAP_32BIT)
		return area_bottomup(mm, addr, len, flags);
	if (addr) {
		addr &= PAGE_MASK;
		if (mmap_address_hint_valid(addr, len) && range_free(mm, addr, len))
			return addr;
	}
	found = vma_find_gap(mm, &want);
	if (!IS_ERR_VALUE(found))
		return found;
	/* A huge stack limit can leave too little below mmap_base. */
	return area_bottomup(mm, addr, len, flags);
}

/* The architecture's choice. */
static unsigned long area_plain(struct mm_struct *mm, unsigned long addr, unsigned long len,
				unsigned long flags)
{
	if (len > mm->task_size)
		return -ENOMEM;
	if (flags & MAP_FIXED)
		return addr;
	if (mm_flag_test(mm, MMF_TOPDOWN))
		return area_topdown(mm, addr, len, flags);
	return area_bottomup(mm, addr, len, flags);
}

/*
 * The same with address and file offset congruent modulo @align, when there is room for that: a
 * range longer by @align is looked for and the part that fits is used. 0: not possible.
 */
static unsigned long area_aligned(struct mm_struct *mm, unsigned long addr, unsigned long len,
				  unsigned long offset, unsigned long flags, unsigned long align)
{
	unsigned long first = round_up(offset, align), found, padded, shift;

	/* Not one aligned block inside the mapping. */
	if (offset + len <= first || offset + len - first < align)
		return 0;
	padded = len + align;
	if (padded < len || offset + padded < offset)
		return 0;
	found = area_plain(mm, addr, padded, flags);
	if (IS_ERR_VALUE(found))
		return 0;
	if (found == addr)
		return addr;
	shift = (offset - found) & (align - 1);
	if (!shift && mm->profile->align_snug && mm_flag_test(mm, MMF_TOPDOWN))
		return found + align;
	return found + shift;
}

/* The boundary this mapping would like to be on, or 0. */
static unsigned long wanted_align(struct mm_struct *mm, struct file *file, unsigned long addr,
				  unsigned long len, unsigned long flags)
{
	const struct mm_profile *profile = mm->profile;

	if (!profile->huge_bytes || (flags & MAP_FIXED))
		return 0;
	if (file) {
		if (!profile->file_align || file_inode(file)->placement_align <= PAGE_SIZE ||
		    shmem_mapping(file->f_mapping))
			return 0;
		return file_inode(file)->placement_align;
	}
	/* Shared anonymous memory goes shmem's way. */
	if ((flags & MAP_SHARED) || (addr && !profile->align_with_hint))
		return 0;
	switch (profile->anon_align) {
	case MM_ANON_ALIGN_EXACT:
		return IS_ALIGNED(len, profile->huge_bytes) ? profile->huge_bytes : 0;
	case MM_ANON_ALIGN_LARGE:
		return len >= profile->huge_bytes ? profile->huge_bytes : 0;
	default:
		return 0;
	}
}

/* The boundary that shmem would like, or 0. @file NULL: anonymous memory. */
static unsigned long shmem_wanted_align(struct mm_struct *mm, struct file *file,
					unsigned long flags)
{
	unsigned long align = mm->profile->shmem_align ? mm->profile->huge_bytes : 0;

	if (flags & MAP_FIXED)
		return 0;
	if (!file)
		return (flags & MAP_TYPE) == MAP_SHARED ? align : 0;
	if (!shmem_mapping(file->f_mapping))
		return 0;
	if (shmem_internal(file_inode(file)))
		return align;
	/* The setting of its mount. */
	align = file_inode(file)->placement_align;
	return align > PAGE_SIZE ? align : 0;
}

/*
 * @plain is where [@offset, @offset + @len) of a memory file goes without regard to huge pages, for
 * @hint. Returns a place congruent to @offset modulo @align, or @plain.
 */
static unsigned long area_shmem(struct mm_struct *mm, unsigned long hint, unsigned long plain,
				unsigned long len, unsigned long offset, unsigned long flags,
				unsigned long align)
{
	unsigned long padded = len + align - PAGE_SIZE, found, rest;

	offset &= align - 1;
	if (len < align || plain == hint || (plain & (align - 1)) == offset)
		return plain;
	/* Not one aligned block inside the mapping. */
	if (offset && offset + len < 2 * align)
		return plain;
	if (padded < len || padded > mm->task_size)
		return plain;
	found = area_plain(mm, 0, padded, flags);
	if (IS_ERR_VALUE(found) || offset_in_page(found))
		return plain;
	rest = found & (align - 1);
	found += offset - rest;
	if (rest > offset)
		found += align;
	return found > mm->task_size - len ? plain : found;
}

unsigned long get_unmapped_area(struct mm_struct *mm, struct file *file, unsigned long addr,
				unsigned long len, unsigned long pgoff, unsigned long flags)
{
	unsigned long offset = file ? pgoff << PAGE_SHIFT : 0, found = 0, align;

	if (len > mm->task_size)
		return -ENOMEM;
	align = wanted_align(mm, file, addr, len, flags);
	if (align)
		found = area_aligned(mm, addr, len, offset, flags, align);
	if (!found)
		found = area_plain(mm, addr, len, flags);
	if (IS_ERR_VALUE(found))
		return found;
	if (found > mm->task_size - len)
		return -ENOMEM;
	if (offset_in_page(found))
		return -EINVAL;
	align = shmem_wanted_align(mm, file, flags);
	if (align)
		found = area_shmem(mm, addr, found, len, offset, flags, align);
	if (found < space_sysctl()->mmap_min_addr && !mm_flag_test(mm, MMF_CAPABLE))
		return -EPERM;
	return found;
}
