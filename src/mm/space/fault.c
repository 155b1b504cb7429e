/* SPDX-License-Identifier: MIT */
/*
 * fault.c - what happens when a user address is touched and the tables do not allow it
 *
 * What it is
 *	The MMU asks here. Either the access is wrong, then the answer is a signal; or it is right
 *	and the entry is missing or too strict, then it is made: from the zero page, a fresh
 *	frame, a page of a file, or a copy of a shared one.
 *
 * The decision, in order (do_user_addr_fault)
 *	no address at all, kernel's part      SIGSEGV (SI_KERNEL, SEGV_MAPERR)
 *	no VMA, and no stack that may grow    SIGSEGV, SEGV_MAPERR
 *	VMA does not allow the access         SIGSEGV, SEGV_ACCERR
 *	entry none, private memory            read: zero page; write: fresh zeroed frame
 *	entry none, file                      read: cached page; private write: a copy of it;
 *	                                      shared write: the page itself, dirty
 *	                                      past the end of the file: SIGBUS, BUS_ADRERR
 *	entry present, write, not writable    shared: made writable; private: taken back when nobody
 *	                                      else holds the frame, else copied
 *	entry allows it meanwhile             spurious: the CPU's stale translation is dropped
 *
 * Invariants
 *	I1 everything that can run out (tables, frame, anon_vma, cached page) is taken before the
 *	   entry's lock; under it the entry is compared with what was seen and then changed, which
 *	   cannot fail. So a fault that fails changed nothing but the page cache.
 *	I2 a frame enters a table with the reference that the allocation or the lookup gave
 *	I3 the old translation of a replaced entry is flushed everywhere before the new one is set
 *
 * Locking
 *	mmap_lock for reading (for writing while a stack grows), page lock of a file's page, the
 *	entry's lock. fault_hot: own CPU.
 *
 * Worst case
 *	One page, at most three tables, one anon_vma; no retries in here: when another CPU was
 *	faster the access is tried again.
 *
 * Unlike Linux
 *	No fault-around, no large pages, no swap, no userfaultfd, no NUMA hints. VM_FAULT_RETRY is
 *	never asked for, so mmap_lock is held throughout. Running out of memory is reported to the
 *	caller, who decides what dies.
 */
#include <signal.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/hw/trace.h>
#include <karc/mm/cache/rmap.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/vma.h>
#include "fault_internal.h"

static_assert(sizeof(struct fault_hot) <= CPU_HOT_BYTES, "the room's hot area is full");

static const char *const kind_names[NR_FAULT_KINDS] = {
	[FAULT_ANON_ZERO] = "zero page",
	[FAULT_ANON] = "fresh page",
	[FAULT_FILE_READ] = "file page",
	[FAULT_FILE_COW] = "file page copied",
	[FAULT_FILE_SHARED] = "shared file page written",
	[FAULT_COW_COPY] = "COW copied",
	[FAULT_COW_REUSE] = "COW taken back",
	[FAULT_SPURIOUS] = "spurious fault",
	[FAULT_STACK_GROW] = "stack growth",
	[FAULT_SEGV] = "SIGSEGV",
	[FAULT_BUS] = "SIGBUS",
};

static const char *const answer_names[] = {
	[FAULT_HANDLED] = "handled",
	[FAULT_NO_VMA] = "nothing is mapped there",
	[FAULT_NO_STACK] = "the stack may not grow that far",
	[FAULT_WRONG_ACCESS] = "the mapping does not allow this access",
	[FAULT_KERNEL_ADDRESS] = "not a user address",
	[FAULT_NON_CANONICAL] = "not an address of this CPU",
	[FAULT_BAD_PAGE] = "the mapping has no page there",
	[FAULT_NO_MEMORY] = "out of memory",
};

const char *fault_kind_name(enum fault_kind kind)
{
	return (unsigned int)kind < NR_FAULT_KINDS ? kind_names[kind] : "?";
}

const char *fault_answer_name(enum fault_answer answer)
{
	return (unsigned int)answer < ARRAY_SIZE(answer_names) ? answer_names[answer] : "?";
}

static void count_fault(struct mm_struct *mm, enum fault_kind kind)
{
	atomic64_inc(&mm->nr_faults[kind]);
}

/* ---- frames ---- */

static struct page *alloc_user_page(gfp_t extra, const struct site *site)
{
	return alloc_pages_site(GFP_HIGHUSER_MOVABLE | extra, 0, site);
}

static void copy_user_page(struct page *dst, const struct page *src)
{
	void *to = page_address(dst), *from = page_address(src);
	struct machine *m = this_machine();
	char part[512];
	u64 at;

	if (to && from) {
		memcpy(to, from, PAGE_SIZE);
		return;
	}
	/* High memory has no address of its own. */
	for (at = 0; at < PAGE_SIZE; at += sizeof(part)) {
		physmem_read(m, page_to_phys(src) + at, part, sizeof(part));
		physmem_write(m, page_to_phys(dst) + at, part, sizeof(part));
	}
}

static pte_t maybe_mkwrite(pte_t pte, const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_WRITE ? pte_mkwrite(pte) : pte;
}

/* Lock the entry of a fault whose tables exist; true when it is still what was seen. */
static bool lock_entry(struct vm_fault *vmf)
{
	vmf->pte = pte_offset_map_lock(vmf->vma->vm_mm, vmf->pmd, vmf->address, &vmf->ptl);
	return pte_same(ptep_get(vmf->pte), vmf->orig_pte);
}

static void unlock_entry(struct vm_fault *vmf)
{
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	vmf->pte = NULL;
}

/* ---- private memory, entry none ---- */

static vm_fault_t do_anonymous_zero(struct vm_fault *vmf, struct pgtable_reserve *reserve)
{
	struct vm_area_struct *vma = vmf->vma;
	pte_t entry = pte_mkspecial(pfn_pte(page_to_pfn(zero_page()), vma->vm_page_prot));

	vmf->pmd = pgtable_commit(vma->vm_mm, vmf->address, reserve);
	vmf->kind = FAULT_SPURIOUS;
	if (lock_entry(vmf)) {
		set_pte_at(vma->vm_mm, vmf->address, vmf->pte, entry);
		vmf->kind = FAULT_ANON_ZERO;
	}
	unlock_entry(vmf);
	return 0;
}

/* Commit: the page's reference becomes the entry's, or is put. */
static void install_new_anon(struct vm_fault *vmf, struct page *page)
{
	struct vm_area_struct *vma = vmf->vma;
	pte_t entry = maybe_mkwrite(pte_mkdirty(mk_pte(page, vma->vm_page_prot)), vma);
	bool same = lock_entry(vmf);

	if (same) {
		page_add_new_anon_rmap(page, vma, vmf->address);
		inc_mm_counter(vma->vm_mm, MM_ANONPAGES);
		set_pte_at(vma->vm_mm, vmf->address, vmf->pte, entry);
	}
	unlock_entry(vmf);
	if (!same) {
		vmf->kind = FAULT_SPURIOUS;
		put_page(page);
	}
}

static vm_fault_t do_anonymous_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct pgtable_reserve reserve;
	struct page *page;

	if (vma->vm_flags & VM_SHARED)
		return VM_FAULT_SIGBUS;
	if (pgtable_reserve(vma->vm_mm, vmf->address, &reserve))
		return VM_FAULT_OOM;
	if (!(vmf->flags & FAULT_FLAG_WRITE))
		return do_anonymous_zero(vmf, &reserve);
	page = alloc_user_page(__GFP_ZERO, SITE());
	if (!page)
		goto unreserve;
	if (anon_vma_prepare(vma))
		goto put_page;
	vmf->kind = FAULT_ANON;
	vmf->pmd = pgtable_commit(vma->vm_mm, vmf->address, &reserve);
	install_new_anon(vmf, page);
	return 0;
put_page:
	put_page(page);
unreserve:
	pgtable_unreserve(vma->vm_mm, &reserve);
	return VM_FAULT_OOM;
}

/* ---- files, entry none ---- */

/* Ask the mapping for its page: locked and referenced in vmf->page, or what ended it. */
static vm_fault_t ask_for_page(struct vm_fault *vmf)
{
	vm_fault_t ret = vmf->vma->vm_ops->fault(vmf);

	if (unlikely(trace_heard()))
		fault_trace_file(vmf, ret);
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY | VM_FAULT_DONE_COW))
		return ret;
	if (!(ret & VM_FAULT_LOCKED))
		lock_page(vmf->page);
	return ret | VM_FAULT_LOCKED;
}

static void release_page(struct vm_fault *vmf)
{
	unlock_page(vmf->page);
	put_page(vmf->page);
	vmf->page = NULL;
}

/* Commit: map the locked page itself. Its reference becomes the entry's, or is put. */
static void install_file_page(struct vm_fault *vmf, bool write)
{
	struct vm_area_struct *vma = vmf->vma;
	pte_t entry = mk_pte(vmf->page, vma->vm_page_prot);
	bool same = lock_entry(vmf);

	if (write)
		entry = maybe_mkwrite(pte_mkdirty(entry), vma);
	if (same) {
		page_add_file_rmap(vmf->page, vma);
		inc_mm_counter(vma->vm_mm, mm_counter(vmf->page));
		set_pte_at(vma->vm_mm, vmf->address, vmf->pte, entry);
	}
	unlock_entry(vmf);
	unlock_page(vmf->page);
	if (!same) {
		vmf->kind = FAULT_SPURIOUS;
		put_page(vmf->page);
	}
	vmf->page = NULL;
}

static vm_fault_t do_read_fault(struct vm_fault *vmf, struct pgtable_reserve *reserve)
{
	vm_fault_t ret = ask_for_page(vmf);

	vmf->kind = FAULT_FILE_READ;
	if (!(ret & VM_FAULT_LOCKED))
		return ret;
	vmf->pmd = pgtable_commit(vmf->vma->vm_mm, vmf->address, reserve);
	install_file_page(vmf, false);
	return ret & VM_FAULT_MAJOR;
}

/* The mapping may want to know, or to refuse. The page is locked before and after. */
static vm_fault_t do_page_mkwrite(struct vm_fault *vmf)
{
	unsigned int flags = vmf->flags;
	vm_fault_t ret;

	if (!vmf->vma->vm_ops || !vmf->vma->vm_ops->page_mkwrite)
		return 0;
	unlock_page(vmf->page);
	vmf->flags = FAULT_FLAG_WRITE | FAULT_FLAG_MKWRITE;
	ret = vmf->vma->vm_ops->page_mkwrite(vmf);
	vmf->flags = flags;
	if (!(ret & VM_FAULT_LOCKED))
		lock_page(vmf->page);
	return ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE);
}

static vm_fault_t do_shared_fault(struct vm_fault *vmf, struct pgtable_reserve *reserve)
{
	vm_fault_t ret = ask_for_page(vmf), refused;

	vmf->kind = FAULT_FILE_SHARED;
	if (!(ret & VM_FAULT_LOCKED))
		return ret;
	refused = do_page_mkwrite(vmf);
	if (refused) {
		release_page(vmf);
		return refused;
	}
	set_page_dirty(vmf->page);
	vmf->pmd = pgtable_commit(vmf->vma->vm_mm, vmf->address, reserve);
	install_file_page(vmf, true);
	return ret & VM_FAULT_MAJOR;
}

static vm_fault_t do_cow_fault(struct vm_fault *vmf, struct pgtable_reserve *reserve)
{
	struct vm_area_struct *vma = vmf->vma;
	struct page *copy;
	vm_fault_t ret;

	vmf->kind = FAULT_FILE_COW;
	copy = alloc_user_page(0, SITE());
	if (!copy)
		return VM_FAULT_OOM;
	vmf->cow_page = copy;
	ret = ask_for_page(vmf);
	vmf->cow_page = NULL;
	if (!(ret & VM_FAULT_LOCKED)) {
		/* Linux makes it before it asks: whether there is one shows in later merges. */
		if (!(ret & VM_FAULT_OOM) && anon_vma_prepare(vma))
			ret = VM_FAULT_OOM;
		goto put_copy;
	}
	copy_user_page(copy, vmf->page);
	release_page(vmf);
	if (anon_vma_prepare(vma)) {
		ret = VM_FAULT_OOM;
		goto put_copy;
	}
	__SetPageUptodate(copy);
	vmf->pmd = pgtable_commit(vma->vm_mm, vmf->address, reserve);
	install_new_anon(vmf, copy);
	return ret & VM_FAULT_MAJOR;
put_copy:
	put_page(copy);
	return ret;
}

static vm_fault_t do_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct pgtable_reserve reserve;
	vm_fault_t ret;

	if (!vma->vm_ops->fault)
		return VM_FAULT_SIGBUS;
	if (pgtable_reserve(vma->vm_mm, vmf->address, &reserve))
		return VM_FAULT_OOM;
	if (!(vmf->flags & FAULT_FLAG_WRITE))
		ret = do_read_fault(vmf, &reserve);
	else if (!(vma->vm_flags & VM_SHARED))
		ret = do_cow_fault(vmf, &reserve);
	else
		ret = do_shared_fault(vmf, &reserve);
	pgtable_unreserve(vma->vm_mm, &reserve);
	return ret;
}

/* ---- write to a present entry without write permission; the entry's lock is held ---- */

static void wp_reuse(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	pte_t entry = maybe_mkwrite(pte_mkdirty(pte_mkyoung(vmf->orig_pte)), vma);

	/* Wider than before: other CPUs find out by a spurious fault. */
	ptep_set_access_flags(vma, vmf->address, vmf->pte, entry, 1);
	unlock_entry(vmf);
}

static vm_fault_t wp_shared(struct vm_fault *vmf, struct page *page)
{
	vm_fault_t ret = 0;

	vmf->kind = FAULT_FILE_SHARED;
	if (!page) {
		wp_reuse(vmf);
		return 0;
	}
	get_page(page);
	unlock_entry(vmf);
	vmf->page = page;
	lock_page(page);
	ret = do_page_mkwrite(vmf);
	if (!ret) {
		if (lock_entry(vmf)) {
			set_page_dirty(page);
			wp_reuse(vmf);
		} else {
			vmf->kind = FAULT_SPURIOUS;
			unlock_entry(vmf);
		}
	}
	release_page(vmf);
	return ret;
}

/* Commit of a copy: the new frame takes the old one's place. I3. The old one's reference goes. */
static void install_copy(struct vm_fault *vmf, struct page *old, struct page *copy)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	pte_t entry = maybe_mkwrite(pte_mkdirty(mk_pte(copy, vma->vm_page_prot)), vma);

	if (!old || !PageAnon(old)) {
		if (old)
			dec_mm_counter(mm, mm_counter(old));
		inc_mm_counter(mm, MM_ANONPAGES);
	}
	ptep_get_and_clear(mm, vmf->address, vmf->pte);
	flush_tlb_page(vma, vmf->address);
	page_add_new_anon_rmap(copy, vma, vmf->address);
	set_pte_at(mm, vmf->address, vmf->pte, entry);
	if (old)
		page_remove_rmap(old, vma);
	unlock_entry(vmf);
	if (old)
		put_page(old);
}

static vm_fault_t wp_copy(struct vm_fault *vmf, struct page *old)
{
	struct vm_area_struct *vma = vmf->vma;
	vm_fault_t ret = VM_FAULT_OOM;
	struct page *copy;

	vmf->kind = FAULT_COW_COPY;
	if (old)
		get_page(old);
	unlock_entry(vmf);
	copy = alloc_user_page(old ? 0 : __GFP_ZERO, SITE());
	if (!copy)
		goto put_old;
	if (anon_vma_prepare(vma)) {
		put_page(copy);
		goto put_old;
	}
	if (old)
		copy_user_page(copy, old);
	__SetPageUptodate(copy);
	if (lock_entry(vmf)) {
		install_copy(vmf, old, copy);
	} else {
		unlock_entry(vmf);
		vmf->kind = FAULT_SPURIOUS;
		put_page(copy);
	}
	ret = 0;
put_old:
	if (old)
		put_page(old);
	return ret;
}

static vm_fault_t do_wp_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct page *page = vm_normal_page(vma, vmf->address, vmf->orig_pte);

	if (unlikely(trace_heard()))
		fault_trace_wp(page);
	if ((vma->vm_flags & (VM_WRITE | VM_SHARED)) == (VM_WRITE | VM_SHARED))
		return wp_shared(vmf, page);
	/*
	 * One reference is this entry's own. A frame that only this entry holds cannot be gained by
	 * anybody meanwhile: fork would need mmap_lock for writing.
	 */
	if (page && PageAnon(page) && page_ref_count(page) == 1) {
		vmf->kind = FAULT_COW_REUSE;
		page_move_anon_rmap(page, vma);
		wp_reuse(vmf);
		return 0;
	}
	return wp_copy(vmf, page);
}

/* ---- one entry ---- */

static vm_fault_t handle_present(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	pte_t entry;

	vmf->kind = FAULT_SPURIOUS;
	if (!lock_entry(vmf)) {
		unlock_entry(vmf);
		return 0;
	}
	if (write && !pte_write(vmf->orig_pte))
		return do_wp_page(vmf);
	entry = pte_mkyoung(write ? pte_mkdirty(vmf->orig_pte) : vmf->orig_pte);
	ptep_set_access_flags(vma, vmf->address, vmf->pte, entry, write);
	unlock_entry(vmf);
	flush_tlb_fix_spurious_fault(vma, vmf->address);
	return 0;
}

static vm_fault_t handle_entry(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;

	vmf->pmd = mm_find_pmd(mm, vmf->address);
	if (vmf->pmd && !pmd_none(pmdp_get(vmf->pmd)))
		vmf->orig_pte = ptep_get(pte_offset_map(vmf->pmd, vmf->address));
	if (unlikely(trace_heard()))
		fault_trace_entry(vmf);
	if (pte_none(vmf->orig_pte))
		return vma_is_anonymous(vmf->vma) ? do_anonymous_page(vmf) : do_fault(vmf);
	if (pte_guard(vmf->orig_pte))
		return VM_FAULT_SIGSEGV;
	BUG_ON(!pte_present(vmf->orig_pte));
	return handle_present(vmf);
}

vm_fault_t handle_mm_fault_kind(struct vm_area_struct *vma, unsigned long addr,
				unsigned int flags, enum fault_kind *kind)
{
	struct vm_fault vmf = {
		.vma = vma,
		.gfp_mask = GFP_KERNEL,
		.address = addr & PAGE_MASK,
		.real_address = addr,
		.flags = flags,
		.pgoff = (((addr & PAGE_MASK) - vma->vm_start) >> PAGE_SHIFT) + vma->vm_pgoff,
		.kind = FAULT_SPURIOUS,
	};
	vm_fault_t ret;

	might_sleep();
	count_vm_event(PGFAULT);
	ret = handle_entry(&vmf);
	if (!(ret & VM_FAULT_ERROR)) {
		count_fault(vma->vm_mm, vmf.kind);
		if (ret & VM_FAULT_MAJOR)
			count_vm_event(PGMAJFAULT);
	}
	*kind = vmf.kind;
	return ret;
}

vm_fault_t handle_mm_fault(struct vm_area_struct *vma, unsigned long addr, unsigned int flags)
{
	enum fault_kind kind;

	return handle_mm_fault_kind(vma, addr, flags, &kind);
}

/* ---- the whole decision ---- */

/* May the VMA be accessed like this? As x86's access_error(). */
static bool access_allowed(const struct vm_area_struct *vma, u32 error_code)
{
	if (error_code & PF_WRITE)
		return vma->vm_flags & VM_WRITE;
	/* Reading or running what is present was refused: by the entry's protection. */
	if (error_code & PF_PROT)
		return false;
	return vma_is_accessible(vma);
}

static int refuse(struct fault_info *info, enum fault_answer answer, int signo, int code)
{
	info->answer = answer;
	info->si_signo = signo;
	info->si_code = code;
	info->sig_addr = answer == FAULT_NON_CANONICAL ? 0 : info->address;
	info->kind = signo == SIGBUS ? FAULT_BUS : FAULT_SEGV;
	if (signo == SIGSEGV || signo == SIGBUS)
		count_fault(info->mm, info->kind);
	return signo == SIGKILL ? -ENOMEM : -EFAULT;
}

static int judge_result(struct fault_info *info)
{
	if (!(info->result & VM_FAULT_ERROR))
		return 0;
	if (info->result & VM_FAULT_OOM)
		return refuse(info, FAULT_NO_MEMORY, SIGKILL, SI_KERNEL);
	if (info->result & VM_FAULT_SIGSEGV)
		return refuse(info, FAULT_BAD_PAGE, SIGSEGV, SEGV_MAPERR);
	return refuse(info, FAULT_BAD_PAGE, SIGBUS, BUS_ADRERR);
}

static void note_vma(struct fault_info *info, const struct vm_area_struct *vma)
{
	info->vma_found = true;
	info->vma_start = vma->vm_start;
	info->vma_end = vma->vm_end;
	info->vma_flags = vma->vm_flags;
	info->covers = vma->vm_start <= info->address;
}

/*
 * The same VMA, grown to the address; NULL: refused. mmap_lock is taken for writing meanwhile, so
 * what is found may be another one, or one that somebody else has grown.
 */
static struct vm_area_struct *grow_fault_vma(struct fault_info *info)
{
	struct vm_area_struct *vma;

	mmap_read_unlock(info->mm);
	mmap_write_lock(info->mm);
	vma = find_vma(info->mm, info->address);
	if (vma && vma->vm_start > info->address) {
		info->stack_grown = !expand_stack(vma, info->address);
		if (!info->stack_grown)
			vma = NULL;
	}
	mmap_write_downgrade(info->mm);
	return vma;
}

/* The VMA that covers the address, grown to it when it is a stack; NULL: refused. */
static struct vm_area_struct *find_fault_vma(struct fault_info *info)
{
	struct vm_area_struct *vma = find_vma(info->mm, info->address);

	info->answer = FAULT_NO_VMA;
	if (vma)
		note_vma(info, vma);
	if (unlikely(trace_heard()))
		fault_trace_vma(info);
	if (!vma)
		return NULL;
	if (info->covers)
		return vma;
	if (!(vma->vm_flags & VM_GROWSDOWN))
		return NULL;
	info->answer = FAULT_NO_STACK;
	vma = grow_fault_vma(info);
	if (!vma)
		return NULL;
	if (info->stack_grown)
		count_fault(info->mm, FAULT_STACK_GROW);
	note_vma(info, vma);
	return vma;
}

static unsigned int flags_of(u32 error_code)
{
	return (error_code & PF_WRITE ? FAULT_FLAG_WRITE : 0u) |
	       (error_code & PF_INSTR ? FAULT_FLAG_INSTRUCTION : 0u) |
	       (error_code & PF_USER ? FAULT_FLAG_USER : 0u);
}

static int fault_locked(struct fault_info *info)
{
	struct vm_area_struct *vma = find_fault_vma(info);
	bool allowed;

	if (!vma)
		return refuse(info, info->answer, SIGSEGV, SEGV_MAPERR);
	info->pte_before = pte_val(mm_lookup_pte(info->mm, info->address));
	info->pte_after = info->pte_before;
	allowed = access_allowed(vma, info->error_code);
	if (unlikely(trace_heard()))
		fault_trace_access(info, allowed);
	if (!allowed)
		return refuse(info, FAULT_WRONG_ACCESS, SIGSEGV, SEGV_ACCERR);
	info->answer = FAULT_HANDLED;
	info->result = handle_mm_fault_kind(vma, info->address, flags_of(info->error_code),
					    &info->kind);
	info->pte_after = pte_val(mm_lookup_pte(info->mm, info->address));
	return judge_result(info);
}

static bool is_canonical(unsigned long addr)
{
	return (unsigned long)((long)(addr << 16) >> 16) == addr;
}

static int decide(struct fault_info *info)
{
	struct mm_struct *mm = info->mm;
	int err;

	if (!is_canonical(info->address))
		return refuse(info, FAULT_NON_CANONICAL, SIGSEGV, SI_KERNEL);
	if (info->address >= mm->task_size)
		return refuse(info, info->address >> 63 ? FAULT_KERNEL_ADDRESS : FAULT_NO_VMA,
			      SIGSEGV, SEGV_MAPERR);
	mmap_read_lock(mm);
	err = fault_locked(info);
	mmap_read_unlock(mm);
	return err;
}

int do_user_addr_fault(struct mm_struct *mm, unsigned long addr, u32 error_code,
		       struct fault_info *out)
{
	const struct fault_watch *watch;
	int err;

	*out = (struct fault_info) { .mm = mm, .address = addr, .error_code = error_code };
	if (unlikely(trace_heard()))
		fault_trace_begin(out);
	err = decide(out);
	if (unlikely(trace_heard()))
		fault_trace_end(out);
	watch = READ_ONCE(fault_hot()->watch);
	if (unlikely(watch))
		watch->ops.decided(watch->arg, out);
	return err;
}

/* ---- for somebody else ---- */

int fixup_user_fault(struct mm_struct *mm, unsigned long addr, bool write)
{
	struct fault_info info;

	return do_user_addr_fault(mm, addr, PF_USER | (write ? PF_WRITE : 0u), &info);
}

/* The frame behind @addr with a reference, when the entry allows the access. Zero page: no ref. */
static struct page *peek_page(struct mm_struct *mm, unsigned long addr, bool write)
{
	struct page *page = NULL;
	pte_t *ptep, pte;
	spinlock_t *ptl;
	pmd_t *pmd = mm_find_pmd(mm, addr);

	if (!pmd || pmd_none(pmdp_get(pmd)))
		return NULL;
	ptep = pte_offset_map_lock(mm, pmd, addr, &ptl);
	pte = ptep_get(ptep);
	if ((pte_val(pte) & _PAGE_PRESENT) && (!write || pte_write(pte))) {
		page = pte_page(pte);
		if (!pte_special(pte))
			get_page(page);
		if (write)
			set_pte(ptep, pte_mkdirty(pte_mkyoung(pte)));
	}
	pte_unmap_unlock(ptep, ptl);
	return page;
}

/* One page's part, if the entry allows it. Under mmap_lock: no fork shares the page meanwhile. */
static bool copy_present(struct mm_struct *mm, unsigned long addr, void *buf, size_t len,
			 bool write)
{
	struct machine *m = this_machine();
	struct page *page = peek_page(mm, addr, write);

	if (!page)
		return false;
	if (write)
		physmem_write(m, page_to_phys(page) + offset_in_page(addr), buf, len);
	else
		physmem_read(m, page_to_phys(page) + offset_in_page(addr), buf, len);
	if (page != zero_page())
		put_page(page);
	return true;
}

/* One page's part. False: not accessible. */
static bool remote_part(struct mm_struct *mm, unsigned long addr, void *buf, size_t len,
			bool write)
{
	unsigned int tries;
	bool done;

	for (tries = 0; tries < MMU_MAX_RETRIES; tries++) {
		mmap_read_lock(mm);
		done = addr < mm->task_size && copy_present(mm, addr, buf, len, write);
		mmap_read_unlock(mm);
		if (done)
			return true;
		if (fixup_user_fault(mm, addr, write))
			return false;
	}
	return false;
}

size_t access_remote_vm(struct mm_struct *mm, unsigned long addr, void *buf, size_t len,
			bool write)
{
	size_t done = 0;

	while (done < len) {
		size_t part = min(PAGE_SIZE - offset_in_page(addr + done), len - done);

		if (!remote_part(mm, addr + done, (char *)buf + done, part, write))
			break;
		done += part;
	}
	return done;
}

/* ---- the MMU's hook ---- */

static int on_mmu_fault(u64 va, u32 error_code)
{
	struct mm_struct *mm = current_loaded_mm();
	struct fault_info info;
	struct fault_hot *hot;
	int err;

	if (!mm)
		return -EFAULT;
	err = do_user_addr_fault(mm, va, error_code, &info);
	if (!err)
		return 0;
	/* Only now: the handler may have slept, and this may be another CPU. */
	hot = fault_hot();
	hot->pending = info;
	hot->pending_valid = true;
	return err;
}

bool fault_take_pending(struct fault_info *out)
{
	struct fault_hot *hot = fault_hot();

	if (!hot->pending_valid)
		return false;
	hot->pending_valid = false;
	if (out)
		*out = hot->pending;
	return true;
}

static void set_zero_page(struct machine *m, struct page *page)
{
	unsigned int cpu;

	for_each_cpu_of(m, cpu)
		((struct fault_hot *)cpu_hot(machine_cpu(m, cpu), ROOM_SPACE))->zero_page = page;
}

void fault_on_decided(struct machine *m, const struct fault_watch *watch)
{
	unsigned int cpu;

	for_each_cpu_of(m, cpu) {
		struct fault_hot *hot = cpu_hot(machine_cpu(m, cpu), ROOM_SPACE);

		WRITE_ONCE(hot->watch, watch);
	}
}

int fault_init(struct machine *m)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);

	if (!page)
		return -ENOMEM;
	SetPageUptodate(page);
	set_zero_page(m, page);
	cache_register_unmap(&space_unmap_ops);
	mmu_on_fault(m, on_mmu_fault);
	return 0;
}

void fault_exit(struct machine *m)
{
	struct page *page = zero_page();

	mmu_on_fault(m, NULL);
	cache_register_unmap(NULL);
	set_zero_page(m, NULL);
	put_page(page);
}
