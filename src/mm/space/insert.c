/* SPDX-License-Identifier: MIT */
/*
 * What it is      Frames that the kernel has made are mapped where a program asked for a device's
 *                 or a driver's memory: from inside the file's ->mmap, before the mapping is
 *                 linked, entry by entry.
 *
 * Objects         each entry holds one reference and one mapcount of its frame, as those of file
 *                 pages do; unmapping puts both back. vmalloc's frames are single ones, so the area
 *                 and the program may end in either order.
 *
 * Locking         mmap_lock for writing; entries under their table's lock.
 *
 * Unlike Linux    vm_insert_pages() and vm_map_pages(), which do many in a call, are absent.
 */
#include <limits.h>

#include <karc/base/err.h>
#include <karc/base/overflow.h>
#include <karc/mm/cache/rmap.h>
#include <karc/mm/kva/vmap.h>
#include <karc/mm/space/insert.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/vm_flags.h>

int vm_insert_page(struct vm_area_struct *vma, unsigned long addr, struct page *page)
{
	struct mm_struct *mm = vma->vm_mm;
	struct pgtable_reserve reserve;
	spinlock_t *ptl;
	pte_t *pte;
	int err;

	if (addr < vma->vm_start || addr >= vma->vm_end)
		return -EFAULT;
	if (!page_count(page) || PageAnon(page) || PageSlab(page) || PageTable(page))
		return -EINVAL;
	BUG_ON(vma->vm_flags & VM_PFNMAP);
	err = pgtable_reserve(mm, addr, &reserve);
	if (err)
		return err;
	pte = pte_offset_map_lock(mm, pgtable_commit(mm, addr, &reserve), addr, &ptl);
	err = -EBUSY;
	if (pte_none(ptep_get(pte))) {
		get_page(page);
		page_add_file_rmap(page, vma);
		inc_mm_counter(mm, mm_counter(page));
		set_pte_at(mm, addr, pte, mk_pte(page, vma->vm_page_prot));
		vma->vm_flags |= VM_MIXEDMAP;
		err = 0;
	}
	pte_unmap_unlock(pte, ptl);
	return err;
}

int remap_vmalloc_range_partial(struct vm_area_struct *vma, unsigned long uaddr, void *kaddr,
				unsigned long pgoff, unsigned long size)
{
	unsigned long skip, last, done;
	const struct vm_struct *area;

	size = PAGE_ALIGN(size);
	if (pgoff > ULONG_MAX >> PAGE_SHIFT)
		return -EINVAL;
	skip = pgoff << PAGE_SHIFT;
	if (!PAGE_ALIGNED(uaddr) || !PAGE_ALIGNED(kaddr))
		return -EINVAL;
	area = find_vm_area(kaddr);
	if (!area || !(area->flags & (VM_USERMAP | VM_DMA_COHERENT)))
		return -EINVAL;
	if (check_add_overflow(size, skip, &last) ||
	    last > get_vm_area_size(area) - (unsigned long)((char *)kaddr - (char *)area->addr))
		return -EINVAL;
	for (done = 0; done < size; done += PAGE_SIZE) {
		int err = vm_insert_page(vma, uaddr + done,
					 vmalloc_to_page((char *)kaddr + skip + done));

		if (err)
			return err;
	}
	vma->vm_flags |= VM_DONTEXPAND | VM_DONTDUMP;
	return 0;
}

int remap_vmalloc_range(struct vm_area_struct *vma, void *addr, unsigned long pgoff)
{
	return remap_vmalloc_range_partial(vma, vma->vm_start, addr, pgoff,
					   vma->vm_end - vma->vm_start);
}
