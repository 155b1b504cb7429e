/* SPDX-License-Identifier: MIT */
/*
 * dup.h - fork's side of an address space
 */
#ifndef KARC_MM_SPACE_DUP_H
#define KARC_MM_SPACE_DUP_H

#include <karc/base/contract.h>
#include <karc/mm/mm_types.h>

/**
 * dup_mm - a copy of @oldmm whose private pages are shared copy-on-write
 *
 * VM_DONTCOPY mappings stay out, VM_WIPEONFORK ones are there but empty, locked ones are not
 * locked in the copy.
 * Gives:   an mm with one user; end it with mmput().
 * Context: may sleep; takes oldmm->mmap_lock for writing.
 * Errors:  NULL; @oldmm and all accounting are as before.
 * Model:   Linux 6.1 dup_mm().
 */
KARC_MUST_CHECK KARC_GIVES struct mm_struct *dup_mm_site(struct mm_struct *oldmm,
							 const struct site *site);
#define dup_mm(oldmm) dup_mm_site(oldmm, SITE())

/**
 * dup_mmap - fill the empty @mm with copies of @oldmm's mappings
 *
 * Errors: -ENOMEM; what was copied so far is in @mm, as in Linux, and goes with its mmput().
 */
KARC_MUST_CHECK int dup_mmap(struct mm_struct *mm, struct mm_struct *oldmm);

#endif
