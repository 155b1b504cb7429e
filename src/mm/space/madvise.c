/* SPDX-License-Identifier: MIT */
/*
 * What it is      madvise: advice that changes flags of mappings (they are cut and joined as by
 *                 mprotect), advice that does something to their pages, and names for anonymous
 *                 memory, which are handled alike.
 *
 * Order           what the numbers say; then mapping by mapping in address order. A hole is
 *                 reported at the end, after all that is mapped was treated; another error ends
 *                 the walk, and what was done before it stays.
 *
 * Locking         mmap_lock for writing where flags or guards change, for reading where pages do.
 *                 MADV_REMOVE and MADV_WILLNEED drop it while the file works.
 *
 * Unlike Linux    MADV_FREE, MADV_COLD and MADV_PAGEOUT only make entries clean or old: without
 *                 swap private memory stays, one of the outcomes that a program must expect.
 *                 There are no huge pages to collapse (-EINVAL) and no page merging: the flags are
 *                 kept all the same. MADV_HWPOISON and MADV_SOFT_OFFLINE are refused (-EINVAL).
 */
#include <string.h>

#include <karc/base/bug.h>
#include <karc/hw/fiber.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/rmap.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/pgtable/tlbflush.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/profile.h>

#include "mmap_internal.h"

#define SET_NAME	(-1)		/* not an advice of the system call */
#define NAME_BYTES	80		/* of a name, with its NUL */

/* One call, and where it has come to. */
struct advice {
	struct mm_struct *mm;
	int behavior;
	struct vma_name *name;		/* SET_NAME: lent, or NULL */
	struct vm_area_struct *prev;	/* before @vma, or @vma when the part begins inside it */
	struct vm_area_struct *vma;	/* NULL: mmap_lock was dropped, look again */
	unsigned long start, end;	/* the part within @vma */
};

/* ---- what the numbers say ---- */

/* First version in which each advice exists; 0: since long ago. */
static bool advice_known(const struct mm_struct *mm, int behavior)
{
	switch (behavior) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_DONTFORK:
	case MADV_DOFORK:
	case MADV_MERGEABLE:
	case MADV_UNMERGEABLE:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_WIPEONFORK:
	case MADV_KEEPONFORK:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
	case MADV_DONTNEED_LOCKED:
		return true;
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_COLLAPSE:
		return mm->profile->huge_bytes;
	case MADV_GUARD_INSTALL:
	case MADV_GUARD_REMOVE:
		return mm->profile->from >= KERNEL_VERSION_CODE(6, 13);
	default:
		return false;
	}
}

/* Does it only look at mappings and change pages? */
static bool advice_reads(int behavior)
{
	switch (behavior) {
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_COLLAPSE:
		return true;
	default:
		return false;
	}
}

static bool advice_discards(int behavior)
{
	switch (behavior) {
	case MADV_FREE:
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_REMOVE:
	case MADV_DONTFORK:
	case MADV_WIPEONFORK:
	case MADV_GUARD_INSTALL:
		return true;
	default:
		return false;
	}
}

/* ---- pages ---- */

/* Clear @bits of all present entries of the part. */
static void age_entries(struct advice *a, u64 bits)
{
	struct mm_struct *mm = a->mm;
	unsigned long addr = a->start, stop;
	pte_t *first, *ptep, pte;
	spinlock_t *ptl;
	pmd_t *pmd;

	inc_tlb_flush_pending(mm);
	while ((pmd = mm_next_leaf(mm, &addr, a->end))) {
		stop = pmd_addr_end(addr, a->end);
		first = ptep = pte_offset_map_lock(mm, pmd, addr, &ptl);
		for (; addr < stop; addr += PAGE_SIZE, ptep++) {
			pte = ptep_get(ptep);
			if (pte_present(pte) && !pte_special(pte))
				__atomic_fetch_and(&ptep->pte, ~bits, __ATOMIC_ACQ_REL);
		}
		pte_unmap_unlock(first, ptl);
		cond_resched();
	}
	flush_tlb_range(a->vma, a->start, a->end);
	dec_tlb_flush_pending(mm);
}

static int advise_dontneed(struct advice *a)
{
	vm_flags_t forbidden = VM_PFNMAP | (a->behavior == MADV_DONTNEED_LOCKED ? 0 : VM_LOCKED);

	if (a->vma->vm_flags & forbidden)
		return -EINVAL;
	zap_page_range_single(a->vma, a->start, a->end - a->start);
	return 0;
}

static int advise_free(struct advice *a)
{
	if ((a->vma->vm_flags & (VM_PFNMAP | VM_LOCKED)) || !vma_is_anonymous(a->vma))
		return -EINVAL;
	age_entries(a, _PAGE_DIRTY | _PAGE_ACCESSED);
	return 0;
}

static int advise_cold(struct advice *a)
{
	if (a->vma->vm_flags & (VM_PFNMAP | VM_LOCKED | VM_HUGETLB))
		return -EINVAL;
	age_entries(a, _PAGE_ACCESSED);
	return 0;
}

static loff_t offset_of(const struct advice *a)
{
	return (loff_t)((a->start - a->vma->vm_start) + (a->vma->vm_pgoff << PAGE_SHIFT));
}

/* Read the file's pages ahead. Errors are found again by who needs them. */
static int advise_willneed(struct advice *a)
{
	struct vm_area_struct *vma = a->vma;
	unsigned long nr = (a->end - a->start) >> PAGE_SHIFT, i;
	pgoff_t first, size;
	struct file *file;
	struct page *page;

	if (!vma->vm_file || shmem_mapping(vma->vm_file->f_mapping))
		return 0;
	first = (pgoff_t)(offset_of(a) >> PAGE_SHIFT);
	file = get_file(vma->vm_file);
	a->vma = NULL;
	mmap_read_unlock(a->mm);
	size = (pgoff_t)(PAGE_ALIGN((u64)READ_ONCE(file_inode(file)->i_size)) >> PAGE_SHIFT);
	for (i = 0; i < nr && first + i < size; i++) {
		page = read_cache_page(file->f_mapping, first + i);
		if (IS_ERR(page))
			break;
		put_page(page);
		cond_resched();
	}
	fput(file);
	mmap_read_lock(a->mm);
	return 0;
}

static int advise_remove(struct advice *a)
{
	struct vm_area_struct *vma = a->vma;
	loff_t from;
	struct file *file;
	int err;

	if ((vma->vm_flags & VM_LOCKED) || !vma->vm_file)
		return -EINVAL;
	if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) != (VM_SHARED | VM_MAYWRITE))
		return -EACCES;
	from = offset_of(a);
	file = get_file(vma->vm_file);
	a->vma = NULL;
	mmap_read_unlock(a->mm);
	err = vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from,
			    (loff_t)(a->end - a->start));
	fput(file);
	mmap_read_lock(a->mm);
	return err;
}

/* ---- guards ---- */

/* All that guards need, so that they can be put without fail. */
static int guard_prepare(struct advice *a)
{
	struct pgtable_reserve reserve;
	struct mmu_gather tlb;
	unsigned long addr;
	int err = -ENOMEM;

	for (addr = a->start; addr < a->end; addr = pmd_addr_end(addr, a->end)) {
		if (pgtable_reserve(a->mm, addr, &reserve))
			goto free;
		pgtable_commit(a->mm, addr, &reserve);
		cond_resched();
	}
	err = vma_is_anonymous(a->vma) ? anon_vma_prepare(a->vma) : 0;
	if (!err)
		return 0;
free:
	if (!a->vma->vm_file) {
		tlb_gather_mmu(&tlb, a->mm);
		free_unused_tables(&tlb, a->mm, a->start, a->end, vma_prev(a->vma),
				   vma_next(a->vma));
		tlb_finish_mmu(&tlb);
	}
	return err;
}

/* Where the part has @from it gets @to; both are no pages. */
static void guard_entries(struct advice *a, pte_t from, pte_t to)
{
	unsigned long addr = a->start, stop;
	pte_t *first, *ptep;
	spinlock_t *ptl;
	pmd_t *pmd;

	while ((pmd = mm_next_leaf(a->mm, &addr, a->end))) {
		stop = pmd_addr_end(addr, a->end);
		first = ptep = pte_offset_map_lock(a->mm, pmd, addr, &ptl);
		for (; addr < stop; addr += PAGE_SIZE, ptep++)
			if (pte_same(ptep_get(ptep), from))
				set_pte_at(a->mm, addr, ptep, to);
		pte_unmap_unlock(first, ptl);
		cond_resched();
	}
}

static bool guardable(const struct advice *a, vm_flags_t also_forbidden)
{
	const struct vm_area_struct *vma = a->vma;

	if (vma->vm_flags & (VM_SPECIAL | VM_HUGETLB | also_forbidden))
		return false;
	/* Other than private memory that may be written: since 6.15. */
	return a->mm->profile->from >= KERNEL_VERSION_CODE(6, 15) ||
	       (vma_is_anonymous(vma) && (vma->vm_flags & VM_MAYWRITE));
}

static int advise_guard_install(struct advice *a)
{
	int err;

	if (!guardable(a, VM_LOCKED))
		return -EINVAL;
	err = guard_prepare(a);
	if (err)
		return err;
	a->vma->vm_flags |= VM_MAYBE_GUARD;
	/* Nobody faults in between: mmap_lock is held for writing. */
	zap_page_range_single(a->vma, a->start, a->end - a->start);
	guard_entries(a, __pte(0), pte_mkguard());
	return 0;
}

static int advise_guard_remove(struct advice *a)
{
	if (!guardable(a, 0))
		return -EINVAL;
	guard_entries(a, pte_mkguard(), __pte(0));
	return 0;
}

/* ---- flags ---- */

static bool ksm_compatible(vm_flags_t flags)
{
	return !(flags & (VM_SHARED | VM_MAYSHARE | VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE));
}

/* What the advice makes of *@flags; 0 or -errno. */
static int advised_flags(const struct advice *a, vm_flags_t *flags)
{
	const struct vm_area_struct *vma = a->vma;

	switch (a->behavior) {
	case MADV_NORMAL:
		*flags &= ~(VM_RAND_READ | VM_SEQ_READ);
		return 0;
	case MADV_SEQUENTIAL:
		*flags = (*flags & ~VM_RAND_READ) | VM_SEQ_READ;
		return 0;
	case MADV_RANDOM:
		*flags = (*flags & ~VM_SEQ_READ) | VM_RAND_READ;
		return 0;
	case MADV_DONTFORK:
		*flags |= VM_DONTCOPY;
		return 0;
	case MADV_DOFORK:
		*flags &= ~VM_DONTCOPY;
		return *flags & VM_IO ? -EINVAL : 0;
	case MADV_WIPEONFORK:
		*flags |= VM_WIPEONFORK;
		return vma->vm_file || (*flags & VM_SHARED) ? -EINVAL : 0;
	case MADV_KEEPONFORK:
		*flags &= ~VM_WIPEONFORK;
		return *flags & VM_DROPPABLE ? -EINVAL : 0;
	case MADV_DONTDUMP:
		*flags |= VM_DONTDUMP;
		return 0;
	case MADV_DODUMP:
		*flags &= ~VM_DONTDUMP;
		return *flags & (VM_SPECIAL | VM_DROPPABLE) ? -EINVAL : 0;
	case MADV_MERGEABLE:
		if (ksm_compatible(*flags))
			*flags |= VM_MERGEABLE;
		return 0;
	case MADV_UNMERGEABLE:
		*flags &= ~VM_MERGEABLE;
		return 0;
	case MADV_HUGEPAGE:
		*flags = (*flags & ~VM_NOHUGEPAGE) | VM_HUGEPAGE;
		return 0;
	case MADV_NOHUGEPAGE:
		*flags = (*flags & ~VM_HUGEPAGE) | VM_NOHUGEPAGE;
		return 0;
	default:
		return -EINVAL;
	}
}

static int change_part(struct advice *a, vm_flags_t flags, struct vma_name *name)
{
	struct vma_change change = {
		.start = a->start, .end = a->end, .flags = flags, .name = name,
	};
	struct vm_area_struct *vma;

	if (flags == a->vma->vm_flags && vma_name_eq(name, a->vma->anon_name))
		return 0;
	vma = vma_modify(a->mm, a->prev, a->vma, &change);
	if (IS_ERR(vma))
		return PTR_ERR(vma) == -ENOMEM ? -EAGAIN : PTR_ERR(vma);
	a->vma = vma;
	return 0;
}

static int advise_flags(struct advice *a)
{
	vm_flags_t flags = a->vma->vm_flags;
	int err = advised_flags(a, &flags);

	return err ? err : change_part(a, flags, a->vma->anon_name);
}

static int advise_name(struct advice *a)
{
	struct file *file = a->vma->vm_file;

	if (file && !(shmem_mapping(file->f_mapping) && shmem_internal(file_inode(file))))
		return -EBADF;
	return change_part(a, a->vma->vm_flags, a->name);
}

/* ---- the walk ---- */

/* May a sealed mapping take this advice? What throws away what cannot be written again may not. */
static bool seal_allows(const struct advice *a)
{
	vm_flags_t flags = a->vma->vm_flags;

	if (!(flags & VM_SEALED) || !advice_discards(a->behavior))
		return true;
	return !vma_is_anonymous(a->vma) || (flags & VM_WRITE);
}

static int advise_part(struct advice *a)
{
	if (!seal_allows(a))
		return -EPERM;
	switch (a->behavior) {
	case SET_NAME:
		return advise_name(a);
	case MADV_REMOVE:
		return advise_remove(a);
	case MADV_WILLNEED:
		return advise_willneed(a);
	case MADV_COLD:
	case MADV_PAGEOUT:
		return advise_cold(a);
	case MADV_FREE:
		return advise_free(a);
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
		return advise_dontneed(a);
	case MADV_GUARD_INSTALL:
		return advise_guard_install(a);
	case MADV_GUARD_REMOVE:
		return advise_guard_remove(a);
	default:
		return advise_flags(a);
	}
}

/* [start, last), not empty. mmap_lock held. */
static int advise_range(struct advice *a, unsigned long start, unsigned long last)
{
	int err, hole = 0;

	a->vma = find_vma_prev(a->mm, start, &a->prev);
	if (a->vma && start > a->vma->vm_start)
		a->prev = a->vma;
	for (;;) {
		if (!a->vma)
			return -ENOMEM;
		if (start < a->vma->vm_start) {
			hole = -ENOMEM;
			start = a->vma->vm_start;
			if (start >= last)
				return hole;
		}
		a->start = start;
		a->end = min(a->vma->vm_end, last);
		err = advise_part(a);
		if (err)
			return err;
		/* A merge may have brought us further. */
		start = a->vma ? max(a->end, a->vma->vm_end) : a->end;
		if (start >= last)
			return hole;
		a->prev = a->vma;
		a->vma = find_vma(a->mm, start);
		if (!a->prev)
			find_vma_prev(a->mm, start, &a->prev);
	}
}

static int advise_locked(struct advice *a, unsigned long start, unsigned long end)
{
	int err;

	if (advice_reads(a->behavior)) {
		mmap_read_lock(a->mm);
		err = advise_range(a, start, end);
		mmap_read_unlock(a->mm);
	} else {
		mmap_write_lock(a->mm);
		err = advise_range(a, start, end);
		mmap_write_unlock(a->mm);
	}
	return err;
}

/* Whole pages from @start on; *@end is where. 0, -EINVAL, or 1: there is nothing to do. */
static int page_range(unsigned long start, unsigned long len, unsigned long *end)
{
	unsigned long bytes = PAGE_ALIGN(len);

	if (offset_in_page(start) || (len && !bytes) || start + bytes < start)
		return -EINVAL;
	*end = start + bytes;
	return !bytes;
}

long ksys_madvise(struct mm_struct *mm, unsigned long start, unsigned long len, int behavior)
{
	struct advice a = { .mm = mm, .behavior = behavior };
	unsigned long end;
	int ret;

	if (!advice_known(mm, behavior))
		return -EINVAL;
	ret = page_range(start, len, &end);
	if (ret)
		return min(ret, 0);
	if (behavior == MADV_POPULATE_READ || behavior == MADV_POPULATE_WRITE)
		return faultin_range(mm, start, end, behavior == MADV_POPULATE_WRITE);
	return advise_locked(&a, start, end);
}

/* Printable, and nothing that would be taken for the brackets around it. */
static bool name_valid(const char *name)
{
	size_t len = strnlen(name, NAME_BYTES), i;

	for (i = 0; i < len; i++)
		if (name[i] < ' ' || name[i] > '~' || strchr("\\`$[]", name[i]))
			return false;
	return len < NAME_BYTES;
}

long ksys_set_anon_name(struct mm_struct *mm, unsigned long start, unsigned long len,
			const char *name)
{
	struct advice a = { .mm = mm, .behavior = SET_NAME };
	unsigned long end;
	int ret;

	if (name && !name_valid(name))
		return -EINVAL;
	if (name) {
		a.name = vma_name_alloc(name);
		if (!a.name)
			return -ENOMEM;
	}
	ret = page_range(start, len, &end);
	ret = ret ? min(ret, 0) : advise_locked(&a, start, end);
	vma_name_put(a.name);
	return ret;
}
