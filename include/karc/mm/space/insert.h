/* SPDX-License-Identifier: MIT */
/*
 * insert.h - kernel memory into a user mapping, page by page: for a file's mmap operation
 */
#ifndef KARC_MM_SPACE_INSERT_H
#define KARC_MM_SPACE_INSERT_H

#include <karc/base/contract.h>
#include <karc/mm/mm_types.h>

/**
 * vm_insert_page - map one frame of the kernel's
 * @addr: page aligned, inside @vma
 * @page: borrowed; the entry takes a reference of its own, so that the frame stays until both the
 *        kernel and the last process let it go
 *
 * The mapping becomes VM_MIXEDMAP.
 * Locks:  mmap_lock for writing, or within ->mmap.
 * Errors: -EFAULT: outside of @vma; -EINVAL: a frame that is free, anonymous or a slab's; -EBUSY:
 *         something is mapped there; -ENOMEM: no table.
 * Model:  Linux 6.1.
 */
KARC_MUST_CHECK int vm_insert_page(struct vm_area_struct *vma, unsigned long addr,
				   struct page *page);

/**
 * remap_vmalloc_range - map memory of vmalloc_user() into all of @vma
 * @addr:  its start, or a page further on
 * @pgoff: pages to leave out after @addr
 *
 * remap_vmalloc_range_partial() maps @size bytes at @uaddr. The mapping becomes VM_DONTEXPAND and
 * VM_DONTDUMP.
 * Locks:  as vm_insert_page().
 * Errors: -EINVAL: not page aligned, no area of vmalloc_user(), or more than it has; those of
 *         vm_insert_page(), and then some pages may be mapped: ->mmap fails, and its caller unmaps.
 * Model:  Linux 6.1.
 */
KARC_MUST_CHECK int remap_vmalloc_range_partial(struct vm_area_struct *vma, unsigned long uaddr,
						void *kaddr, unsigned long pgoff,
						unsigned long size);
KARC_MUST_CHECK int remap_vmalloc_range(struct vm_area_struct *vma, void *addr,
					unsigned long pgoff);

#endif
