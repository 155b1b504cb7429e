/* SPDX-License-Identifier: MIT */
/*
 * mmu.h - the walker: 4-level x86-64 tables stored in simulated frames
 *
 * The MMU reads the tables that the pgtable room writes, sets accessed and dirty bits, checks
 * present, write, user and NX at every level, fills the CPU's TLB, and raises page faults with
 * x86 error codes through the hook that the space room registers.
 */
#ifndef KARC_HW_MMU_H
#define KARC_HW_MMU_H

#include <karc/base/compiler.h>
#include <karc/hw/cpu.h>
#include <karc/hw/tlb.h>
#include <string.h>

/* Bits of a table entry, x86-64 format. */
#define HW_PTE_PRESENT	(1ULL << 0)
#define HW_PTE_RW	(1ULL << 1)
#define HW_PTE_USER	(1ULL << 2)
#define HW_PTE_ACCESSED	(1ULL << 5)
#define HW_PTE_DIRTY	(1ULL << 6)
#define HW_PTE_PSE	(1ULL << 7)
#define HW_PTE_GLOBAL	(1ULL << 8)
#define HW_PTE_NX	(1ULL << 63)
#define HW_PTE_PFN_MASK	0x000ffffffffff000ULL

/* Page-fault error code bits (x86). */
#define PF_PROT		(1u << 0)	/* the page was present: a protection fault */
#define PF_WRITE	(1u << 1)
#define PF_USER		(1u << 2)
#define PF_RSVD		(1u << 3)
#define PF_INSTR	(1u << 4)

enum mmu_access { MMU_READ, MMU_WRITE, MMU_EXEC };

/* A fault that its hook called handled this often, at one page, without progress, is a BUG. */
#define MMU_MAX_RETRIES	100u

/* TLB hits between two safe points of a run of hits (a power of two). */
#define MMU_HITS_PER_SAFEPOINT	64u

/**
 * mmu_walk - translate through the tables alone, no TLB, no hook
 * @user: an access from user mode; otherwise the kernel's, with CR0.WP set
 *
 * Sets accessed bits on the way, and the dirty bit for MMU_WRITE, but only when the access is
 * allowed. *@pa and *@error_code may be NULL.
 * Returns: 0 and *@pa, or -EFAULT and *@error_code (x86 bits). -EINVAL for a non-canonical
 * address.
 */
int mmu_walk(struct cpu *cpu, u64 va, enum mmu_access access, bool user, phys_addr_t *pa,
	     u32 *error_code);

/*
 * Bytes between simulated user memory, at @host, and a buffer. Two CPUs that meet on one byte are
 * the simulated program's business: no order between them is promised, but a naturally aligned
 * word of 1, 2, 4 or 8 bytes is moved in one piece. A constant size is one instruction.
 */
void mmu_copy_slow(char *host, void *buf, u64 bytes, bool write);

static inline void mmu_copy(char *host, void *buf, u64 bytes, bool write)
{
#if KARC_VARIANT != KARC_VARIANT_TSAN
	if (__builtin_constant_p(bytes) && bytes <= 8 && !(bytes & (bytes - 1))) {
		if (write)
			memcpy(host, buf, bytes);
		else
			memcpy(buf, host, bytes);
		return;
	}
#endif
	mmu_copy_slow(host, buf, bytes, write);
}

/* The part of mmu_access_user() behind the TLB's fast hit; same contract. */
int mmu_access_user_slow(u64 va, void *buf, u64 bytes, enum mmu_access access);

/* Does the running CPU's TLB serve this access at once? Then it is done when this returns true. */
static inline bool mmu_access_user_hit(u64 va, void *buf, u64 bytes, enum mmu_access access)
{
	struct cpu *cpu = karc_cpu;
	struct tlb *tlb = cpu->tlb;
	struct tlb_entry *e = tlb_slot(tlb, va);
	u64 offset = va % TLB_PAGE_BYTES;

	if (e->tag[access] != tlb_fast_tag(tlb, va) || bytes > TLB_PAGE_BYTES - offset ||
	    e->pa >= cpu->direct_map_bytes)
		return false;
	if (READ_ONCE(cpu->pending) ||
	    tlb->hits % MMU_HITS_PER_SAFEPOINT == MMU_HITS_PER_SAFEPOINT - 1)
		return false;		/* a safe point is due */
	tlb->hits++;
	if (buf)
		mmu_copy(cpu->arena + e->pa + offset, buf, bytes, access == MMU_WRITE);
	return true;
}

/**
 * mmu_access_user - what user-mode code on this CPU does: load or store @bytes at @va
 * @va:   simulated user address
 * @buf:  data read into or written from; NULL only touches
 *
 * TLB, then walk, then the fault hook, until done or the hook gives up. An access that crosses
 * a page boundary is done page by page; what came before a refused page is done.
 * Context: may sleep (faults); a safe point.
 * Returns: 0, or -EFAULT when the hook refused; what to deliver is the hook's business. -EINVAL
 * for a non-canonical address (hardware's general-protection fault; the hook is not asked).
 */
static inline int mmu_access_user(u64 va, void *buf, u64 bytes, enum mmu_access access)
{
	if (mmu_access_user_hit(va, buf, bytes, access))
		return 0;
	return mmu_access_user_slow(va, buf, bytes, access);
}

/**
 * mmu_on_fault - register the page-fault handler
 * @fn: gets the faulting address and error code on the faulting CPU; 0 = retry the access,
 *      negative = give up
 */
void mmu_on_fault(struct machine *m, int (*fn)(u64 va, u32 error_code));

/**
 * struct mmu_stale - a TLB hit that the tables in memory no longer agree with
 * @cached: the leaf entry as it was when this CPU walked to it
 * @now:    the entry in memory that refuses the access, or leads to another frame
 * @slot:   where that one lies, in the direct map; NULL when no table was there to look at
 * @pa:     the frame that the hit is about to use
 */
struct mmu_stale {
	struct cpu *cpu;
	u64 va;
	enum mmu_access access;
	u64 cached, now;
	const u64 *slot;
	phys_addr_t pa;
};

/**
 * mmu_on_stale - register who knows when a stale hit is in order
 * @fn: NULL when it is (the flush is under way), else what is wrong, for the BUG's text.
 *      Called with no safe point since the hit; must pass none, take no lock and not sleep
 *
 * Asked only on machines with machine_config.check_tlb, where each hit is compared with a walk
 * that changes nothing: another frame, or an access that is not allowed any more, is stale; wider
 * permissions and differences of accessed and dirty bits are not. Without @fn each is a BUG, which
 * names CPU, address and both entries.
 */
typedef const char *(*mmu_stale_t)(const struct mmu_stale *stale);
void mmu_on_stale(struct machine *m, mmu_stale_t fn);

/* Load a page-table root on this CPU; flushes its TLB unless @cr3 is loaded already. */
void mmu_load_cr3(u64 cr3);

#endif
