/* SPDX-License-Identifier: MIT */
/*
 * fault.h - what happens when a user address is touched and the tables do not allow it
 */
#ifndef KARC_MM_SPACE_FAULT_H
#define KARC_MM_SPACE_FAULT_H

#include <karc/base/contract.h>
#include <karc/hw/cpu.h>
#include <karc/hw/mmu.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/vm_fault.h>
#include <signal.h>		/* SIGSEGV, SEGV_MAPERR ... */

/* What a fault turned out to be; mm->nr_faults[] counts them. */
enum fault_kind {
	FAULT_ANON_ZERO,	/* first read of private memory: the shared zero page */
	FAULT_ANON,		/* first write of private memory: a fresh page */
	FAULT_FILE_READ,	/* a page of a file, read-only */
	FAULT_FILE_COW,		/* first write to a private file mapping: a copy right away */
	FAULT_FILE_SHARED,	/* write to a shared file mapping */
	FAULT_COW_COPY,		/* write to a page somebody else holds too: a copy */
	FAULT_COW_REUSE,	/* write to a write-protected page that nobody else holds */
	FAULT_SPURIOUS,		/* the tables allow it meanwhile: nothing to do */
	FAULT_STACK_GROW,	/* besides another kind: the stack was extended first */
	FAULT_SEGV,		/* ends in SIGSEGV */
	FAULT_BUS,		/* ends in SIGBUS */
	NR_FAULT_KINDS
};
_Static_assert(NR_FAULT_KINDS <= sizeof(((struct mm_struct *)0)->nr_faults) / sizeof(atomic64_t),
	       "mm->nr_faults has room for every kind");

/* "anonymous zero page", "copy-on-write, copied" ... for reports. */
const char *fault_kind_name(enum fault_kind kind);

/* Why a fault ends in a signal. */
enum fault_answer {
	FAULT_HANDLED,		/* the access may be tried again */
	FAULT_NO_VMA,		/* nothing is mapped there */
	FAULT_NO_STACK,		/* below a stack that may not grow that far */
	FAULT_WRONG_ACCESS,	/* mapped, but not for this access */
	FAULT_KERNEL_ADDRESS,	/* beyond the user's part of the address range */
	FAULT_NON_CANONICAL,	/* no address at all on this CPU */
	FAULT_BAD_PAGE,		/* mapped, but no page there: past the end of a file */
	FAULT_NO_MEMORY,	/* no frame, no table */
};

const char *fault_answer_name(enum fault_answer answer);

/**
 * struct fault_info - one fault: what was looked at and what was decided
 * @vma_found: find_vma() found a VMA at or above the address; its range and flags follow
 * @covers:    that VMA covers the address (after stack growth)
 * @pte_before, @pte_after: the leaf entry, 0 = none
 * @kind:      of a handled fault
 * @si_signo:  0 when handled, else SIGSEGV or SIGBUS, with @si_code and @sig_addr; SIGKILL for
 *             no memory (Linux's OOM killer would choose; here the caller may)
 */
struct fault_info {
	struct mm_struct *mm;		/* borrowed; for comparing only once it may be gone */
	unsigned long address;
	u32 error_code;			/* x86 bits: PF_PROT, PF_WRITE ... */
	bool vma_found;
	bool covers;
	bool stack_grown;
	unsigned long vma_start, vma_end;
	vm_flags_t vma_flags;
	u64 pte_before, pte_after;
	vm_fault_t result;
	enum fault_answer answer;
	enum fault_kind kind;
	int si_signo;
	int si_code;
	unsigned long sig_addr;
};

/**
 * handle_mm_fault - make the page at @addr of @vma accessible
 * @flags: FAULT_FLAG_WRITE and others; the access is allowed by @vma->vm_flags
 *
 * Locks:   mmap_lock for reading.
 * Context: may sleep.
 * Returns: VM_FAULT_* bits; 0 or VM_FAULT_MAJOR alone is success. On VM_FAULT_OOM nothing changed.
 */
vm_fault_t handle_mm_fault(struct vm_area_struct *vma, unsigned long addr, unsigned int flags);

/* The same, telling the kind of fault too. */
vm_fault_t handle_mm_fault_kind(struct vm_area_struct *vma, unsigned long addr,
				unsigned int flags, enum fault_kind *kind);

/**
 * do_user_addr_fault - the whole decision for one user fault
 * @error_code: x86 bits
 * @out:        filled in completely
 *
 * Takes and drops mmap_lock for reading. Context: may sleep.
 * Returns: 0 when the access may be tried again, -EFAULT with a signal in @out, -ENOMEM.
 */
int do_user_addr_fault(struct mm_struct *mm, unsigned long addr, u32 error_code,
		       struct fault_info *out);

/**
 * fixup_user_fault / faultin_page - fault @addr in on behalf of somebody else
 * @write: for a store
 * Returns: 0, -EFAULT, -ENOMEM. Takes and drops mmap_lock. Context: may sleep.
 */
KARC_MUST_CHECK int fixup_user_fault(struct mm_struct *mm, unsigned long addr, bool write);

/*
 * Read or write another space's memory without loading it (reports, replay, tests): faults
 * pages in as the space's own access would. Bytes done; short at the first bad page.
 */
size_t access_remote_vm(struct mm_struct *mm, unsigned long addr, void *buf, size_t len,
			bool write);

/* The fault that made this CPU's last user access fail. True when there was one; forgets it. */
bool fault_take_pending(struct fault_info *out);

/**
 * struct fault_watch - who wants to see every decision; the caller's memory
 * @ops.decided: called by the faulting task once the fault is decided, no lock held: handled or not
 */
struct fault_watch {
	struct {
		void (*decided)(void *arg, const struct fault_info *info);
	} ops;
	void *arg;
};

/* Start watching on @m, or stop with NULL; @watch stays valid in between. Quiet times only. */
void fault_on_decided(struct machine *m, const struct fault_watch *watch);

/* What fault.c keeps on each CPU; first in the room's hot area. */
struct fault_hot {
	struct page *zero_page;		/* the machine's; read without asking the room */
	const struct fault_watch *watch;
	bool pending_valid;
	struct fault_info pending;
};

static inline struct page *zero_page(void)
{
	return ((struct fault_hot *)this_cpu_hot(ROOM_SPACE))->zero_page;
}

/* Called by the space room's init and exit: the zero page, and the MMU's hook. */
KARC_MUST_CHECK int fault_init(struct machine *m);
void fault_exit(struct machine *m);

#endif
