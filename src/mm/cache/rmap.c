/* SPDX-License-Identifier: MIT */
/*
 * rmap.c - anon_vma, the file's list of VMAs, and the mapcount of pages
 *
 * What it is
 *	A page must be found from its mappings' side and, later, its mappings from the page's side.
 *	Private pages name an anon_vma, file pages name their address_space, which lists its VMAs.
 *
 * Objects
 *	VMA --owns--> anon_vma --owns--> parent's anon_vma (after fork)
 *	page->mapping (PG_anon): an anon_vma, holds nothing: each VMA that maps the page owns that
 *	anon_vma or a descendant of it
 *	VMA --> file --> inode;  mapping->i_mmap lists the VMA, holds nothing
 *
 * Invariants
 *	I1 _mapcount of a page is the number of present entries that map it
 *	I2 a VMA is on i_mmap exactly while it is linked (rmap_node not empty)
 *
 * Locking
 *	vma->anon_vma     set once, under page_table_lock; stays until the VMA dies
 *	i_mmap            i_mmap_rwsem
 *	_mapcount         atomic, changed under the page-table lock of the entry
 *
 * Unlike Linux
 *	No chains and no trees: walking from a page to all its private mappings comes with reclaim
 *	of such pages. anon_vma reuse along long fork lines is absent: each generation that faults
 *	or forks adds one.
 */
#include <karc/base/err.h>
#include <karc/mm/cache/rmap.h>
#include <karc/mm/phys/page.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/vm_flags.h>
#include <karc/refcount/holder.h>
#include "internal.h"

static void anon_vma_free(void *obj)
{
	kmem_cache_free(cache_state()->anon_vma_cache, obj);
}

static const struct arc_field anon_vma_fields[] = {
	ARC_OWNED(anon_vma, parent, anon_vma),
	ARC_FIELDS_END
};

static const struct arc_type anon_vma_type = {
	.name = "anon_vma",
	.size = sizeof(struct anon_vma),
	.offset = offsetof(struct anon_vma, arc),
	.ops = { .free = anon_vma_free },
	.fields = anon_vma_fields,
};

int rmap_types_register(void)
{
	return arc_type_register(&anon_vma_type);
}

static struct anon_vma *anon_vma_alloc(const struct site *site)
{
	struct anon_vma *anon_vma = kmem_cache_zalloc(cache_state()->anon_vma_cache, GFP_KERNEL);

	if (anon_vma)
		arc_init_site(&anon_vma->arc, &anon_vma_type, site);
	return anon_vma;
}

/* Another fault may be about to set it; it never changes after that while the VMA lives. */
static struct anon_vma *anon_vma_of(const struct vm_area_struct *vma)
{
	return smp_load_acquire(&vma->anon_vma);
}

/* Could @a and @b, neighbours in this order, merge if their permissions were equal? */
static bool anon_vma_compatible(const struct vm_area_struct *a, const struct vm_area_struct *b)
{
	return a->vm_end == b->vm_start && a->vm_file == b->vm_file &&
	       !((a->vm_flags ^ b->vm_flags) & ~(VM_ACCESS_FLAGS | VM_IGNORE_MERGE)) &&
	       b->vm_pgoff == a->vm_pgoff + ((b->vm_start - a->vm_start) >> PAGE_SHIFT);
}

static struct anon_vma *reusable_anon_vma(const struct vm_area_struct *old)
{
	struct anon_vma *anon_vma = anon_vma_of(old);

	return anon_vma && !anon_vma->parent ? anon_vma : NULL;
}

static struct anon_vma *find_mergeable_anon_vma(struct vm_area_struct *vma)
{
	struct list_head *head = &vma->vm_mm->vmas.list;
	struct anon_vma *anon_vma = NULL;
	struct vm_area_struct *near;

	if (list_empty(&vma->vm_list))
		return NULL;
	if (vma->vm_list.next != head) {
		near = list_next_entry(vma, vm_list);
		if (anon_vma_compatible(vma, near))
			anon_vma = reusable_anon_vma(near);
	}
	if (!anon_vma && vma->vm_list.prev != head) {
		near = list_prev_entry(vma, vm_list);
		if (anon_vma_compatible(near, vma))
			anon_vma = reusable_anon_vma(near);
	}
	return anon_vma;
}

int anon_vma_prepare(struct vm_area_struct *vma)
{
	struct anon_vma *anon_vma;

	if (likely(anon_vma_of(vma)))
		return 0;
	anon_vma = find_mergeable_anon_vma(vma);
	anon_vma = anon_vma ? get_anon_vma(anon_vma) : anon_vma_alloc(SITE());
	if (!anon_vma)
		return -ENOMEM;
	/* mmap_lock may be held for reading only: another fault may do the same. */
	spin_lock(&vma->vm_mm->page_table_lock);
	if (!vma->anon_vma) {
		smp_store_release(&vma->anon_vma, anon_vma);
		arc_hand_to_field(&anon_vma->arc, &vma->arc, "anon_vma");
		anon_vma = NULL;
	}
	spin_unlock(&vma->vm_mm->page_table_lock);
	put_anon_vma(anon_vma);
	return 0;
}

int anon_vma_clone(struct vm_area_struct *dst, struct vm_area_struct *src)
{
	if (src->anon_vma) {
		dst->anon_vma = get_anon_vma(src->anon_vma);
		arc_hand_to_field(&dst->anon_vma->arc, &dst->arc, "anon_vma");
	}
	return 0;
}

int anon_vma_fork(struct vm_area_struct *dst, struct vm_area_struct *src)
{
	struct anon_vma *anon_vma;

	if (!src->anon_vma)
		return 0;
	anon_vma = anon_vma_alloc(SITE());
	if (!anon_vma)
		return -ENOMEM;
	anon_vma->parent = get_anon_vma(src->anon_vma);
	arc_hand_to_field(&anon_vma->parent->arc, &anon_vma->arc, "parent");
	dst->anon_vma = anon_vma;
	arc_hand_to_field(&anon_vma->arc, &dst->arc, "anon_vma");
	return 0;
}

void unlink_anon_vmas(struct vm_area_struct *vma)
{
	struct anon_vma *anon_vma = vma->anon_vma;

	vma->anon_vma = NULL;
	put_anon_vma(anon_vma);
}

void vma_link_file(struct vm_area_struct *vma)
{
	struct address_space *mapping;

	if (!vma->vm_file)
		return;
	mapping = vma->vm_file->f_mapping;
	down_write(&mapping->i_mmap_rwsem);
	list_add_tail(&vma->rmap_node, &mapping->i_mmap);
	up_write(&mapping->i_mmap_rwsem);
}

void unlink_file_vma(struct vm_area_struct *vma)
{
	struct address_space *mapping;

	if (!vma->vm_file)
		return;
	mapping = vma->vm_file->f_mapping;
	down_write(&mapping->i_mmap_rwsem);
	if (!list_empty(&vma->rmap_node))
		list_del_init(&vma->rmap_node);
	up_write(&mapping->i_mmap_rwsem);
}

/* ---- mapcount ---- */

static pgoff_t linear_page_index(const struct vm_area_struct *vma, unsigned long addr)
{
	return ((addr - vma->vm_start) >> PAGE_SHIFT) + vma->vm_pgoff;
}

void page_add_new_anon_rmap(struct page *page, struct vm_area_struct *vma, unsigned long addr)
{
	VM_BUG_ON(!vma->anon_vma);
	page->mapping = (struct address_space *)vma->anon_vma;
	page->index = linear_page_index(vma, addr);
	/* Nobody else knows the page yet: plain stores. */
	__SetPageAnon(page);
	__SetPageSwapBacked(page);
	atomic_set(&page->_mapcount, 1);
	inc_node_page_state(page, NR_ANON_MAPPED);
}

void page_add_anon_rmap(struct page *page, struct vm_area_struct *vma, unsigned long addr)
{
	(void)vma;
	(void)addr;
	VM_BUG_ON(!PageAnon(page));
	if (atomic_inc_return(&page->_mapcount) == 1)
		inc_node_page_state(page, NR_ANON_MAPPED);
}

void page_add_file_rmap(struct page *page, struct vm_area_struct *vma)
{
	(void)vma;
	if (atomic_inc_return(&page->_mapcount) == 1)
		inc_node_page_state(page, NR_FILE_MAPPED);
}

void page_dup_rmap(struct page *page)
{
	atomic_inc(&page->_mapcount);
}

void page_remove_rmap(struct page *page, struct vm_area_struct *vma)
{
	int left = atomic_dec_return(&page->_mapcount);

	(void)vma;
	BUG_ON(left < 0);
	if (!left)
		dec_node_page_state(page, PageAnon(page) ? NR_ANON_MAPPED : NR_FILE_MAPPED);
}

void page_move_anon_rmap(struct page *page, struct vm_area_struct *vma)
{
	WRITE_ONCE(page->mapping, (struct address_space *)vma->anon_vma);
}
