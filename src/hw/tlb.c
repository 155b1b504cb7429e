/* SPDX-License-Identifier: MIT */
/*
 * tlb.c - per-CPU translation cache
 *
 * What it is
 *	A direct-mapped table of pages: each entry has one tag for each kind of access and the
 *	frame's physical address. A tag is the page's address with the TLB's generation in its low
 *	bits, so one compare answers "this page, this kind, not flushed since", and a flush of
 *	everything is an increment. Only user-mode translations are cached.
 *
 * Invariants
 *	I1 a tag that matches was put there by a walk since the last flush of its page, and the
 *	   walk allowed that kind of access; a write tag implies that the entry's dirty bit was set
 *	I2 all matching tags of an entry speak of the same page and the same frame
 *	I3 the generation is never 0, so a zero tag matches nothing; nor TLB_GEN_NEVER, with which
 *	   the inlined hit compares while hits are checked, so that all of them come to mmu.c
 *
 * Locking
 *	A TLB is used and flushed by its own CPU only; others send an IPI.
 *
 * Worst case
 *	The generation has 12 bits; one flush in 4094 clears 32 KiB.
 *
 * Unlike hardware
 *	No global pages (a new CR3 forgets them too), no PCID. A large leaf is cached in fragments
 *	of 4 KiB; while any may be present, flushing a page flushes everything, so that no fragment
 *	outlives an INVLPG of its leaf.
 */
#include <errno.h>
#include <string.h>

#include <karc/base/compiler.h>
#include <karc/base/hostmem.h>
#include <karc/hw/tlb.h>
#include "internal.h"

/* Above this many pages a full flush is cheaper; Linux's tlb_single_page_flush_ceiling. */
#define TLB_RANGE_PAGES_MAX	33

int tlb_init_cpu(struct cpu *cpu)
{
	cpu->tlb = hostmem_zalloc(&cpu->machine->hostmem, sizeof(*cpu->tlb));
	if (!cpu->tlb)
		return -ENOMEM;
	cpu->tlb->gen = 1;
	cpu->tlb->fast_gen = 1;
	if (!cpu->machine->config.check_tlb)
		return 0;
	cpu->tlb->leaf = hostmem_zalloc(&cpu->machine->hostmem, TLB_ENTRIES * sizeof(u64));
	cpu->tlb->fast_gen = TLB_GEN_NEVER;
	return cpu->tlb->leaf ? 0 : -ENOMEM;
}

void tlb_exit_cpu(struct cpu *cpu)
{
	hostmem_free(&cpu->machine->hostmem, cpu->tlb->leaf);
	hostmem_free(&cpu->machine->hostmem, cpu->tlb);
	cpu->tlb = NULL;
}

void tlb_flush_all(struct tlb *tlb)
{
	tlb->flushes++;
	tlb->has_huge = false;
	tlb->gen++;
	if (tlb->gen == TLB_GEN_NEVER) {
		memset(tlb->entry, 0, sizeof(tlb->entry));
		tlb->gen = 1;
	}
	if (!tlb->leaf)
		tlb->fast_gen = tlb->gen;
}

void tlb_lose_flushes(struct cpu *cpu, unsigned int nr)
{
	cpu->tlb->nr_lose = nr;
}

static bool is_lost(struct tlb *tlb)
{
	if (likely(!tlb->nr_lose))
		return false;
	tlb->nr_lose--;
	return true;
}

/* Is the entry's page the one of @va, under any generation? */
static bool slot_has_page(const struct tlb_entry *e, u64 va)
{
	u64 tags = e->tag[TLB_READ] | e->tag[TLB_EXEC];

	return ((tags ^ va) & ~(TLB_PAGE_BYTES - 1)) == 0;
}

void tlb_drop(struct tlb *tlb, u64 va)
{
	struct tlb_entry *e = tlb_slot(tlb, va);

	if (slot_has_page(e, va))
		memset(e->tag, 0, sizeof(e->tag));
}

static void flush_page(struct tlb *tlb, u64 va)
{
	if (is_lost(tlb))
		return;
	if (tlb->has_huge) {
		tlb_flush_all(tlb);
		return;
	}
	tlb->flushes++;
	tlb_drop(tlb, va);
}

void tlb_flush_all_local(void)
{
	if (!is_lost(this_cpu()->tlb))
		tlb_flush_all(this_cpu()->tlb);
}

void tlb_flush_page_local(u64 va)
{
	flush_page(this_cpu()->tlb, va);
}

void tlb_flush_range_local(u64 start, u64 end)
{
	struct tlb *tlb = this_cpu()->tlb;
	u64 va = start & ~(TLB_PAGE_BYTES - 1);

	if (start >= end || is_lost(tlb))
		return;
	if (tlb->has_huge || (end - va) / TLB_PAGE_BYTES >= TLB_RANGE_PAGES_MAX) {
		tlb_flush_all(tlb);
		return;
	}
	/* At most TLB_RANGE_PAGES_MAX rounds; va cannot wrap, since the last page ends the loop. */
	for (u64 nr = (end - va + TLB_PAGE_BYTES - 1) / TLB_PAGE_BYTES; nr; nr--) {
		tlb_drop(tlb, va);
		va += TLB_PAGE_BYTES;
	}
	tlb->flushes++;
}

/* The CPU goes on counting and filling meanwhile: these tell how it is just now. */
__no_sanitize_thread struct tlb_stats tlb_stats(struct cpu *cpu)
{
	return (struct tlb_stats){ cpu->tlb->hits, cpu->tlb->misses, cpu->tlb->flushes };
}

__no_sanitize_thread bool tlb_holds(struct cpu *cpu, u64 va, bool for_write)
{
	const struct tlb_entry *e = &cpu->tlb->entry[(va >> TLB_PAGE_SHIFT) % TLB_ENTRIES];
	u64 tag = (va & ~(TLB_PAGE_BYTES - 1)) | cpu->tlb->gen;

	if (for_write)
		return e->tag[TLB_WRITE] == tag;
	return e->tag[TLB_READ] == tag || e->tag[TLB_EXEC] == tag;
}

void tlb_fill(struct tlb *tlb, u64 va, phys_addr_t pa, enum tlb_kind kind, bool huge, u64 leaf)
{
	struct tlb_entry *e = tlb_slot(tlb, va);
	u64 tag = tlb_tag(tlb, va);
	phys_addr_t frame = pa & ~(TLB_PAGE_BYTES - 1);

	if (e->pa != frame || (e->tag[TLB_READ] != tag && e->tag[TLB_EXEC] != tag))
		memset(e->tag, 0, sizeof(e->tag));	/* I2: another page or another frame */
	e->pa = frame;
	e->tag[kind] = tag;
	if (kind == TLB_WRITE)
		e->tag[TLB_READ] = tag;		/* whatever is writable is readable on x86 */
	if (huge)
		tlb->has_huge = true;
	if (tlb->leaf)
		tlb->leaf[e - tlb->entry] = leaf;
}
