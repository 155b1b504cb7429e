/* SPDX-License-Identifier: MIT */
/*
 * rmap.h - which mappings a page may be found through
 *
 * An anon_vma stands for the private pages of one VMA and of its pieces; VMAs own it. A forked
 * VMA gets one of its own that owns its parent's, so that pages inherited from the parent keep a
 * valid page->mapping. File VMAs hang on their file's i_mmap list instead.
 */
#ifndef KARC_MM_CACHE_RMAP_H
#define KARC_MM_CACHE_RMAP_H

#include <karc/base/contract.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/mm_types.h>
#include <karc/refcount/arc.h>

/**
 * struct anon_vma - shared by the VMAs of one lineage
 * @parent: anon_vma of the VMA that was forked, owned; NULL for the first generation
 */
struct anon_vma {
	struct arc arc;
	struct anon_vma *parent;
};

static inline struct anon_vma *get_anon_vma_site(struct anon_vma *anon_vma,
						  const struct site *site)
{
	arc_get_site(&anon_vma->arc, site);
	return anon_vma;
}

static inline struct anon_vma *(get_anon_vma)(struct anon_vma *anon_vma)
{
	return get_anon_vma_site(anon_vma, SITE());
}
#define get_anon_vma(anon_vma) get_anon_vma_site((anon_vma), SITE())

static inline void put_anon_vma(struct anon_vma *anon_vma)
{
	if (anon_vma)
		arc_put(&anon_vma->arc);
}

/**
 * anon_vma_prepare - make sure that @vma has an anon_vma before its first private page
 *
 * A neighbour's is shared when the two could merge after an mprotect(), as Linux does.
 * Locks:  mmap_lock in any mode. Errors: -ENOMEM, nothing changed.
 */
KARC_MUST_CHECK int anon_vma_prepare(struct vm_area_struct *vma);

/* @dst is a piece of @src (split, move): it owns the same anon_vma. Cannot fail so far: 0. */
KARC_MUST_CHECK int anon_vma_clone(struct vm_area_struct *dst, struct vm_area_struct *src);

/* @dst is @src's copy in a forked space: an anon_vma of its own when @src has one. -ENOMEM. */
KARC_MUST_CHECK int anon_vma_fork(struct vm_area_struct *dst, struct vm_area_struct *src);

/* Give up @vma's anon_vma (a dying VMA's field table does the same). */
void unlink_anon_vmas(struct vm_area_struct *vma);

/* Linux's list_is_singular(&vma->anon_vma_chain): has one, and not a forked one. */
static inline bool anon_vma_is_singular(const struct vm_area_struct *vma)
{
	/* A fault on another CPU may be setting it: pairs with anon_vma_prepare(). */
	const struct anon_vma *anon_vma = smp_load_acquire(&vma->anon_vma);

	return anon_vma && !anon_vma->parent;
}

/* Linux's is_mergeable_anon_vma(): may VMAs with these two become one? @vma may be NULL. */
static inline bool is_mergeable_anon_vma(const struct anon_vma *a, const struct anon_vma *b,
					 const struct vm_area_struct *vma)
{
	if ((!a || !b) && (!vma || anon_vma_is_singular(vma)))
		return true;
	return a == b;
}

/* Put @vma on its file's i_mmap list, take it off. Does nothing without a file. May sleep. */
void vma_link_file(struct vm_area_struct *vma);
void unlink_file_vma(struct vm_area_struct *vma);

/*
 * One more / one less present entry for @page: _mapcount, and who it belongs to. The entry's
 * reference is the caller's business. Locks: the page-table lock of the entry.
 */
void page_add_new_anon_rmap(struct page *page, struct vm_area_struct *vma, unsigned long addr);
void page_add_anon_rmap(struct page *page, struct vm_area_struct *vma, unsigned long addr);
void page_add_file_rmap(struct page *page, struct vm_area_struct *vma);
void page_dup_rmap(struct page *page);
void page_remove_rmap(struct page *page, struct vm_area_struct *vma);

/* @page is @vma's alone now: later faults find it through @vma's own anon_vma. */
void page_move_anon_rmap(struct page *page, struct vm_area_struct *vma);

#endif
