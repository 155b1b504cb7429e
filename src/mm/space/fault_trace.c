/* SPDX-License-Identifier: MIT */
/*
 * What it is      The words of a page fault: each thing that fault.c looks at is announced as a
 *                 step of trace.h, in the order in which it is looked at, under the name of the
 *                 function of Linux that does it. Only called while somebody listens.
 * Locking         As the place in fault.c that calls; nothing is taken here.
 */
#include <karc/hw/trace.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/vma.h>
#include <stdio.h>

#include "fault_internal.h"

#define ENTRY_TEXT	48

static const char *const kind_functions[NR_FAULT_KINDS] = {
	[FAULT_ANON_ZERO] = "do_anonymous_page",
	[FAULT_ANON] = "do_anonymous_page",
	[FAULT_FILE_READ] = "do_read_fault",
	[FAULT_FILE_COW] = "do_cow_fault",
	[FAULT_FILE_SHARED] = "do_shared_fault",
	[FAULT_COW_COPY] = "wp_page_copy",
	[FAULT_COW_REUSE] = "wp_page_reuse",
	[FAULT_SPURIOUS] = "handle_pte_fault",
};

static const char *access_text(u32 error_code)
{
	return error_code & PF_WRITE ? "write" : error_code & PF_INSTR ? "fetch" : "read";
}

static const char *entry_text(u64 value, char *buf)
{
	pte_t pte = { value };

	if (pte_none(pte))
		return "none";
	snprintf(buf, ENTRY_TEXT, "%s %llu %c%c%c", pte_special(pte) ? "zero page, frame" : "frame",
		 (unsigned long long)pte_pfn(pte), pte_protnone(pte) ? '-' : 'r',
		 pte_write(pte) ? 'w' : '-', value & _PAGE_NX ? '-' : 'x');
	return buf;
}

void fault_trace_begin(const struct fault_info *info)
{
	trace_announce("do_user_addr_fault", "%s of 0x%lx, %s (error code 0x%x)",
		       access_text(info->error_code), info->address,
		       info->error_code & PF_PROT ? "a page is there but forbids it" :
		       "no page in the tables", info->error_code);
	if (info->address < info->mm->task_size)
		return;
	trace_announce("fault_in_kernel_space", "not below 0x%lx, where the user's part ends",
		       info->mm->task_size);
}

void fault_trace_vma(const struct fault_info *info)
{
	if (!info->vma_found) {
		trace_announce("find_vma", "nothing at the address, nothing above it");
		return;
	}
	trace_announce("find_vma", "%lx-%lx %c%c%c%s %s", info->vma_start, info->vma_end,
		       info->vma_flags & VM_READ ? 'r' : '-', info->vma_flags & VM_WRITE ? 'w' : '-',
		       info->vma_flags & VM_EXEC ? 'x' : '-',
		       info->vma_flags & VM_GROWSDOWN ? " (a stack)" : "",
		       info->covers ? "covers the address" : "is the next above it");
}

void fault_trace_access(const struct fault_info *info, bool allowed)
{
	trace_announce("access_error", "%s of %c%c%c: %s", access_text(info->error_code),
		       info->vma_flags & VM_READ ? 'r' : '-', info->vma_flags & VM_WRITE ? 'w' : '-',
		       info->vma_flags & VM_EXEC ? 'x' : '-', allowed ? "allowed" : "refused");
}

void fault_trace_entry(const struct vm_fault *vmf)
{
	char text[ENTRY_TEXT];

	trace_announce("handle_pte_fault", "entry: %s", entry_text(pte_val(vmf->orig_pte), text));
}

void fault_trace_file(const struct vm_fault *vmf, vm_fault_t ret)
{
	const struct file *file = vmf->vma->vm_file;
	long long bytes = file ? (long long)file_inode(file)->i_size : 0;

	trace_announce("__do_fault", "page %lu of %s (%lld bytes): %s", vmf->pgoff,
		       file ? file_name(file) : "a special mapping", bytes,
		       ret & VM_FAULT_SIGBUS ? "the file has no such page" :
		       ret & VM_FAULT_ERROR ? "not to be had" :
		       ret & VM_FAULT_MAJOR ? "loaded (a major fault)" : "in the page cache");
}

void fault_trace_wp(const struct page *page)
{
	if (page)
		trace_announce("do_wp_page", "%s frame %lu, _refcount %d, mapcount %d",
			       PageAnon(page) ? "anonymous" : "file's", page_to_pfn(page),
			       page_ref_count(page), page_mapcount(page));
	else
		trace_announce("do_wp_page", "the zero page");
}

void fault_trace_end(const struct fault_info *info)
{
	char text[ENTRY_TEXT];

	if (!info->si_signo) {
		trace_announce(kind_functions[info->kind], "%s; entry now: %s",
			       fault_kind_name(info->kind), entry_text(info->pte_after, text));
		return;
	}
	trace_announce(info->si_signo == SIGBUS ? "do_sigbus" :
		       info->si_signo == SIGKILL ? "pagefault_out_of_memory" : "bad_area", "%s",
		       fault_answer_name(info->answer));
}
