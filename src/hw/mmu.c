/* SPDX-License-Identifier: MIT */
/*
 * mmu.c - the walker: reads table entries, sets A/D, raises faults
 *
 * What it is
 *	What the page-walk hardware of an x86-64 CPU does, on tables that the pgtable room keeps in
 *	simulated frames: four levels, 4 KiB leaves and 2 MiB leaves at the third level.
 *
 * Order of a walk
 *	1 canonical address, or a general-protection fault (-EINVAL)
 *	2 down the levels: an entry that is not present ends the walk; a reserved bit ends it
 *	3 permissions of all levels together: write and user must be set at each, NX at none
 *	4 accessed bits from the root down, dirty at the leaf, each with a compare-and-exchange on
 *	   the entry that was read; an entry that changed meanwhile starts the walk again
 *	A walk that faults changes nothing. A fault also drops the page from the faulting CPU's TLB.
 *
 * Hits
 *	The inlined hit of mmu.h takes what the TLB says. With machine_config.check_tlb the TLB's
 *	tags never match there; every hit comes here and is compared with a walk that changes
 *	nothing. What differs goes to the hook of mmu_on_stale(), which knows whether a flush for it
 *	is under way; if it is not, somebody forgot one, and the access is a BUG.
 *
 * Invariants
 *	I1 a TLB entry is filled from a walk of the same CPU with no safe point in between, so that
 *	   a flush that follows a change of the tables finds what the walk has put there
 *	I2 the dirty bit is in memory before the store it announces
 *	I3 there is no safe point between the look at the TLB and the end of the copy: a shootdown
 *	   that waits for this CPU waits for both
 *
 * Worst case
 *	Four loads and four compare-and-exchanges; a restart needs another CPU's change of an entry.
 *	An access whose fault is "handled" MMU_MAX_RETRIES times without progress is a BUG.
 *
 * Unlike hardware
 *	1 GiB leaves, protection keys, SMEP and SMAP are not there; EFER.NXE and CR0.WP are always
 *	on. A table or frame outside RAM is a reserved-bit fault, where hardware would read ones.
 */
#include <errno.h>
#include <string.h>

#include <karc/base/compiler.h>
#include <karc/hw/fiber.h>
#include <karc/hw/mmu.h>
#include <karc/hw/physmem.h>
#include "bugmsg.h"
#include "internal.h"

#define NR_LEVELS		4
#define INDEX_BITS		9
#define LARGE_LEVEL		1	/* the level whose entries may be 2 MiB leaves */
#define LARGE_SHIFT		21
/* Bits of an address above what exists, and bits 13 .. 20 of a 2 MiB leaf (12 is PAT). */
#define RSVD_ADDR		(HW_PTE_PFN_MASK & ~((1ULL << PHYSMEM_ADDR_BITS) - 1))
#define RSVD_LARGE		(RSVD_ADDR | 0x1fe000ULL)

static_assert((int)MMU_READ == TLB_READ && (int)MMU_WRITE == TLB_WRITE &&
	      (int)MMU_EXEC == TLB_EXEC, "accesses index the tags of a TLB entry");

/* One walk's way down: the entries that were read and where they are. */
struct walk {
	u64 *slot[NR_LEVELS];
	u64 entry[NR_LEVELS];
	unsigned int nr;
	const u64 *last;		/* the entry looked at last, present or not; NULL: none */
	u64 last_entry;
	phys_addr_t pa;
	bool huge;
};

static bool canonical(u64 va)
{
	return (u64)((s64)(va << 16) >> 16) == va;
}

static u32 access_bits(enum mmu_access access, bool user)
{
	return (access == MMU_WRITE ? PF_WRITE : 0) | (access == MMU_EXEC ? PF_INSTR : 0) |
	       (user ? PF_USER : 0);
}

/* Host address of a table's first entry, or NULL when the frame cannot hold a table. */
static u64 *table_at(struct cpu *cpu, phys_addr_t pa)
{
	if (pa >= cpu->direct_map_bytes || !physmem_pfn_is_ram(cpu->machine, pa >> TLB_PAGE_SHIFT))
		return NULL;
	return (u64 *)(cpu->arena + pa);
}

static bool entry_reserved(u64 entry, unsigned int level)
{
	if (entry & RSVD_ADDR)
		return true;
	if (level == 0 || !(entry & HW_PTE_PSE))
		return false;
	return level != LARGE_LEVEL || (entry & RSVD_LARGE);
}

/* Go down to the leaf. Returns 0, or the fault's PF_PROT and PF_RSVD bits with *@fault set. */
static u32 walk_down(struct cpu *cpu, u64 va, struct walk *w, bool *fault)
{
	phys_addr_t table = cpu->cr3 & HW_PTE_PFN_MASK;

	w->nr = 0;
	w->huge = false;
	w->last = NULL;
	w->last_entry = 0;
	*fault = true;
	if (!table)
		return 0;
	for (unsigned int level = NR_LEVELS; level-- > 0; ) {
		unsigned int shift = TLB_PAGE_SHIFT + level * INDEX_BITS;
		u64 *slot = table_at(cpu, table);
		u64 entry;

		if (!slot)
			return PF_PROT | PF_RSVD;
		slot += (va >> shift) & ((1u << INDEX_BITS) - 1);
		entry = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
		w->last = slot;
		w->last_entry = entry;
		if (!(entry & HW_PTE_PRESENT))
			return 0;
		if (entry_reserved(entry, level))
			return PF_PROT | PF_RSVD;
		w->slot[w->nr] = slot;
		w->entry[w->nr++] = entry;
		table = entry & HW_PTE_PFN_MASK;
		if (level == LARGE_LEVEL && (entry & HW_PTE_PSE)) {
			w->huge = true;
			table &= ~((1ULL << LARGE_SHIFT) - 1);
			table += va & ((1ULL << LARGE_SHIFT) - 1) & ~(TLB_PAGE_BYTES - 1);
			break;
		}
	}
	w->pa = table + va % TLB_PAGE_BYTES;
	if (!physmem_pfn_is_ram(cpu->machine, table >> TLB_PAGE_SHIFT))
		return PF_PROT | PF_RSVD;
	*fault = false;
	return 0;
}

/* Do all levels together allow the access? */
static bool walk_allows(const struct walk *w, enum mmu_access access, bool user)
{
	u64 all = ~0ULL, any = 0;

	for (unsigned int i = 0; i < w->nr; i++) {
		all &= w->entry[i];
		any |= w->entry[i];
	}
	if (user && !(all & HW_PTE_USER))
		return false;
	if (access == MMU_WRITE && !(all & HW_PTE_RW))
		return false;
	return access != MMU_EXEC || !(any & HW_PTE_NX);
}

/* Set accessed and dirty bits; false when an entry is no longer what the walk read. */
static bool walk_mark(struct walk *w, enum mmu_access access)
{
	for (unsigned int i = 0; i < w->nr; i++) {
		u64 old = w->entry[i];
		u64 new = old | HW_PTE_ACCESSED;

		if (access == MMU_WRITE && i + 1 == w->nr)
			new |= HW_PTE_DIRTY;
		if (new != old &&
		    !__atomic_compare_exchange_n(w->slot[i], &old, new, false, __ATOMIC_ACQ_REL,
						 __ATOMIC_RELAXED))
			return false;
	}
	return true;
}

static int walk(struct cpu *cpu, u64 va, enum mmu_access access, bool user, struct walk *w,
		u32 *error_code)
{
	bool fault;

	*error_code = 0;
	if (!canonical(va))
		return -EINVAL;
	do {
		u32 code = walk_down(cpu, va, w, &fault);

		if (!fault && !walk_allows(w, access, user)) {
			fault = true;
			code = PF_PROT;
		}
		if (fault) {
			*error_code = code | access_bits(access, user);
			return -EFAULT;
		}
	} while (!walk_mark(w, access));
	return 0;
}

int mmu_walk(struct cpu *cpu, u64 va, enum mmu_access access, bool user, phys_addr_t *pa,
	     u32 *error_code)
{
	struct walk w;
	u32 code;
	int err = walk(cpu, va, access, user, &w, &code);

	if (error_code)
		*error_code = code;
	if (!err && pa)
		*pa = w.pa;
	return err;
}

/* Get @va's translation into the running CPU's TLB, or ask the hook. 0 = look again. */
static int translate(u64 va, enum mmu_access access, phys_addr_t *pa)
{
	struct walk w;
	u32 code;

	for (unsigned int tries = 0; tries < MMU_MAX_RETRIES; tries++) {
		struct cpu *cpu = this_cpu();		/* the hook may have slept */
		int err = walk(cpu, va, access, true, &w, &code);

		if (!err) {
			tlb_fill(cpu->tlb, va, w.pa, (enum tlb_kind)access, w.huge,
				 w.last_entry);
			*pa = w.pa;
			return 0;
		}
		if (err != -EFAULT)
			return err;
		tlb_drop(cpu->tlb, va);
		if (!cpu->machine->fault_hook || cpu->machine->fault_hook(va, code) < 0)
			return -EFAULT;
	}
	BUG_MSG("mmu: %u faults at 0x%llx (error code 0x%x) were handled and nothing changed",
		MMU_MAX_RETRIES, (unsigned long long)va, code);
}

/* ---- moving bytes ---- */

#if KARC_VARIANT == KARC_VARIANT_TSAN
/* The simulated program's races are not ours: ThreadSanitizer does not look in here. */
#define COPY_ATTRIBUTES	noinline __no_sanitize_thread
#else
#define COPY_ATTRIBUTES
#endif

/* In words where both the place and the size allow it: each is moved at once. */
#define COPY_AS(type) do {							\
	type karc_word_;							\
	if (write) {								\
		__builtin_memcpy(&karc_word_, buf, sizeof(type));		\
		__atomic_store_n((type *)host, karc_word_, __ATOMIC_RELAXED);	\
	} else {								\
		karc_word_ = __atomic_load_n((type *)host, __ATOMIC_RELAXED);	\
		__builtin_memcpy(buf, &karc_word_, sizeof(type));		\
	}									\
} while (0)

/* A buffer of the caller's: it may have any alignment. */
static COPY_ATTRIBUTES void copy_words(char *host, char *buf, u64 bytes, bool write)
{
	while (bytes) {
		u64 step = 1;

		if (bytes >= 8 && (u64)host % 8 == 0) {
			COPY_AS(u64);
			step = 8;
		} else if (bytes >= 4 && (u64)host % 4 == 0) {
			COPY_AS(u32);
			step = 4;
		} else if (bytes >= 2 && (u64)host % 2 == 0) {
			COPY_AS(u16);
			step = 2;
		} else {
			COPY_AS(u8);
		}
		host += step;
		buf += step;
		bytes -= step;
	}
}

void mmu_copy_slow(char *host, void *buf, u64 bytes, bool write)
{
	if (KARC_VARIANT == KARC_VARIANT_TSAN || bytes <= 8)
		copy_words(host, buf, bytes, write);
	else if (write)
		memcpy(host, buf, bytes);
	else
		memcpy(buf, host, bytes);
}

/* Move bytes between @buf and the frame; HIGHMEM has no direct map and takes the long way. */
static void copy_frame(struct cpu *cpu, phys_addr_t pa, void *buf, u64 bytes,
		       enum mmu_access access)
{
	if (!buf)
		return;
	if (pa < cpu->direct_map_bytes)
		mmu_copy_slow(cpu->arena + pa, buf, bytes, access == MMU_WRITE);
	else if (access == MMU_WRITE)
		physmem_write(cpu->machine, pa, buf, bytes);
	else
		physmem_read(cpu->machine, pa, buf, bytes);
}

/* ---- hits that are checked: machine_config.check_tlb ---- */

static const char *const access_names[] = { "read", "write", "execute" };

/*
 * Is what the TLB says still what the tables say? There is no safe point between the hit, this,
 * and the use of the frame: a flush by cross-CPU call waits, so that who changed the entry is
 * still in the middle of it if a flush is on its way.
 */
static void check_hit(struct cpu *cpu, const struct tlb_entry *e, u64 va, enum mmu_access access)
{
	struct mmu_stale stale = { .cpu = cpu, .va = va, .access = access };
	const char *wrong = "it was not flushed";
	struct walk w;
	bool fault;

	walk_down(cpu, va, &w, &fault);
	if (!fault && walk_allows(&w, access, true) && w.pa - va % TLB_PAGE_BYTES == e->pa)
		return;
	stale.cached = cpu->tlb->leaf[e - cpu->tlb->entry];
	stale.now = w.last_entry;
	stale.slot = w.last;
	stale.pa = e->pa + va % TLB_PAGE_BYTES;
	if (cpu->machine->stale_hook)
		wrong = cpu->machine->stale_hook(&stale);
	if (!wrong)
		return;
	BUG_MSG("stale TLB entry: CPU %u, %s at 0x%llx, cached 0x%llx, in memory 0x%llx: %s",
		cpu->id, access_names[access], va, stale.cached, stale.now, wrong);
}

void mmu_on_stale(struct machine *m, mmu_stale_t fn)
{
	m->stale_hook = fn;
}

/* mmu_access_user_hit() with a look at the tables. */
static bool checked_hit(struct cpu *cpu, u64 va, void *buf, u64 bytes, enum mmu_access access)
{
	struct tlb *tlb = cpu->tlb;
	struct tlb_entry *e = tlb_slot(tlb, va);
	u64 offset = va % TLB_PAGE_BYTES;

	if (e->tag[access] != tlb_tag(tlb, va) || bytes > TLB_PAGE_BYTES - offset ||
	    e->pa >= cpu->direct_map_bytes)
		return false;
	if (READ_ONCE(cpu->pending) ||
	    tlb->hits % MMU_HITS_PER_SAFEPOINT == MMU_HITS_PER_SAFEPOINT - 1)
		return false;
	check_hit(cpu, e, va, access);
	tlb->hits++;
	copy_frame(cpu, e->pa + offset, buf, bytes, access);
	return true;
}

/* One access inside one page. */
static int access_page(u64 va, void *buf, u64 bytes, enum mmu_access access)
{
	struct tlb *tlb = this_cpu()->tlb;
	struct tlb_entry *e = tlb_slot(tlb, va);
	phys_addr_t pa;
	int err;

	if (e->tag[access] == tlb_tag(tlb, va)) {
		if (unlikely(tlb->leaf))
			check_hit(this_cpu(), e, va, access);
		tlb->hits++;
		pa = e->pa + va % TLB_PAGE_BYTES;
	} else {
		tlb->misses++;
		err = translate(va, access, &pa);
		if (err)
			return err;
	}
	copy_frame(this_cpu(), pa, buf, bytes, access);
	return 0;
}

int mmu_access_user_slow(u64 va, void *buf, u64 bytes, enum mmu_access access)
{
	char *p = buf;

	if (this_cpu()->tlb->leaf && checked_hit(this_cpu(), va, buf, bytes, access))
		return 0;
	hw_safepoint();
	while (bytes) {
		u64 part = TLB_PAGE_BYTES - va % TLB_PAGE_BYTES;
		int err;

		if (part > bytes)
			part = bytes;
		err = access_page(va, p, part, access);
		if (err)
			return err;
		va += part;
		bytes -= part;
		if (p)
			p += part;
	}
	return 0;
}

void mmu_on_fault(struct machine *m, int (*fn)(u64 va, u32 error_code))
{
	m->fault_hook = fn;
}

void mmu_load_cr3(u64 cr3)
{
	struct cpu *cpu = this_cpu();

	if (cpu->cr3 == cr3)
		return;
	cpu->cr3 = cr3;
	tlb_flush_all(cpu->tlb);
}
