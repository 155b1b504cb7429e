/* SPDX-License-Identifier: MIT */
/*
 * vm_fault.h - what a page fault hands to a mapping's own operations, and what they answer
 *
 * Shapes and values as in Linux 6.1. The cache room supplies operations for files, drivers
 * supply their own, the space room calls them.
 */
#ifndef KARC_MM_VM_FAULT_H
#define KARC_MM_VM_FAULT_H

#include <karc/base/types.h>
#include <karc/mm/gfp.h>
#include <karc/mm/mm_types.h>

#define VM_FAULT_OOM		0x000001u
#define VM_FAULT_SIGBUS		0x000002u
#define VM_FAULT_MAJOR		0x000004u
#define VM_FAULT_HWPOISON	0x000010u
#define VM_FAULT_HWPOISON_LARGE	0x000020u
#define VM_FAULT_SIGSEGV	0x000040u
#define VM_FAULT_NOPAGE		0x000100u	/* ->fault installed the entry itself */
#define VM_FAULT_LOCKED		0x000200u	/* ->fault returns its page locked */
#define VM_FAULT_RETRY		0x000400u
#define VM_FAULT_FALLBACK	0x000800u
#define VM_FAULT_DONE_COW	0x001000u
#define VM_FAULT_NEEDDSYNC	0x002000u
#define VM_FAULT_COMPLETED	0x004000u

#define VM_FAULT_ERROR	(VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV | \
			 VM_FAULT_HWPOISON | VM_FAULT_HWPOISON_LARGE | VM_FAULT_FALLBACK)

enum fault_flag {
	FAULT_FLAG_WRITE = 1 << 0,
	FAULT_FLAG_MKWRITE = 1 << 1,
	FAULT_FLAG_ALLOW_RETRY = 1 << 2,
	FAULT_FLAG_RETRY_NOWAIT = 1 << 3,
	FAULT_FLAG_KILLABLE = 1 << 4,
	FAULT_FLAG_TRIED = 1 << 5,
	FAULT_FLAG_USER = 1 << 6,
	FAULT_FLAG_REMOTE = 1 << 7,
	FAULT_FLAG_INSTRUCTION = 1 << 8,
	FAULT_FLAG_INTERRUPTIBLE = 1 << 9,
	FAULT_FLAG_UNSHARE = 1 << 10,
	FAULT_FLAG_ORIG_PTE_VALID = 1 << 11,
};

#define FAULT_FLAG_DEFAULT \
	(FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE | FAULT_FLAG_INTERRUPTIBLE)

/**
 * struct vm_fault - one fault in progress; lives on the handler's stack
 * @vma, @address, @pgoff, @flags: set before ->fault; @address is page aligned
 * @real_address: as the access had it
 * @page:     ->fault's answer: a page with one reference for the caller
 * @cow_page: the private copy being prepared, or NULL
 * @pmd, @pte, @ptl, @orig_pte: the entry under its lock, while the handler holds it
 * @kind:     what the handler did (enum fault_kind of mm/space/fault.h), for counters
 */
struct vm_fault {
	struct vm_area_struct *vma;
	gfp_t gfp_mask;
	pgoff_t pgoff;
	unsigned long address;
	unsigned long real_address;
	unsigned int flags;
	pmd_t *pmd;
	pud_t *pud;
	pte_t orig_pte;
	struct page *cow_page;
	struct page *page;
	pte_t *pte;
	spinlock_t *ptl;
	unsigned int kind;
};

/**
 * struct vm_operations_struct - what a mapping does its own way; NULL members mean the default
 * @open:  another VMA now covers part of this mapping (split, fork); not called for the first
 * @close: a VMA of this mapping goes away
 * @may_split: 0 or -errno when cutting at @addr is not possible
 * @mprotect: asked before protection changes
 * @fault: put the page for vmf->pgoff into vmf->page, with a reference
 * @page_mkwrite: a read-only shared page is about to become writable
 * @name:  text for the maps file instead of the file's name
 */
struct vm_operations_struct {
	void (*open)(struct vm_area_struct *area);
	void (*close)(struct vm_area_struct *area);
	int (*may_split)(struct vm_area_struct *area, unsigned long addr);
	int (*mremap)(struct vm_area_struct *area);
	int (*mprotect)(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			unsigned long newflags);
	vm_fault_t (*fault)(struct vm_fault *vmf);
	vm_fault_t (*map_pages)(struct vm_fault *vmf, pgoff_t start_pgoff, pgoff_t end_pgoff);
	vm_fault_t (*page_mkwrite)(struct vm_fault *vmf);
	vm_fault_t (*pfn_mkwrite)(struct vm_fault *vmf);
	int (*access)(struct vm_area_struct *vma, unsigned long addr, void *buf, int len,
		      int write);
	const char *(*name)(struct vm_area_struct *vma);
};

#endif
