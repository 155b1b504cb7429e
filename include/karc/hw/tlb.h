/* SPDX-License-Identifier: MIT */
/*
 * tlb.h - per-CPU translation cache that really caches
 *
 * A changed table entry stays invisible on a CPU until that CPU's entry is flushed: a missing
 * shootdown is a visible bug. Direct-mapped, separate tags for read, write and execute, flushed
 * whole by generation. With machine_config.check_tlb each hit is compared with the tables, see
 * mmu_on_stale().
 */
#ifndef KARC_HW_TLB_H
#define KARC_HW_TLB_H

#include <karc/hw/cpu.h>

#define TLB_ENTRIES	1024u
#define TLB_PAGE_SHIFT	12
#define TLB_PAGE_BYTES	(1ULL << TLB_PAGE_SHIFT)

/* What a tag permits; same order as enum mmu_access. */
enum tlb_kind { TLB_READ, TLB_WRITE, TLB_EXEC, TLB_KINDS };

/* A tag is the page's address with the generation in the low bits; 0 matches nothing. */
struct tlb_entry {
	u64 tag[TLB_KINDS];
	phys_addr_t pa;			/* of the frame */
};

#define TLB_GEN_NEVER	(TLB_PAGE_BYTES - 1)	/* a generation that no tag has */

struct tlb {
	u64 fast_gen;			/* gen, or TLB_GEN_NEVER while hits are checked */
	u64 gen;			/* 1 .. TLB_GEN_NEVER - 1 */
	u64 hits;
	u64 misses;
	u64 flushes;
	bool has_huge;			/* a fragment of a large leaf may be cached */
	unsigned int nr_lose;		/* flushes that will be lost: tlb_lose_flushes() */
	u64 *leaf;			/* by slot: the leaf entry last walked to; NULL: unchecked */
	struct tlb_entry entry[TLB_ENTRIES];
};

static inline struct tlb_entry *tlb_slot(struct tlb *tlb, u64 va)
{
	return &tlb->entry[(va >> TLB_PAGE_SHIFT) % TLB_ENTRIES];
}

static inline u64 tlb_tag(const struct tlb *tlb, u64 va)
{
	return (va & ~(TLB_PAGE_BYTES - 1)) | tlb->gen;
}

/* What the inlined hit compares with: the tag, or something that matches nothing. */
static inline u64 tlb_fast_tag(const struct tlb *tlb, u64 va)
{
	return (va & ~(TLB_PAGE_BYTES - 1)) | tlb->fast_gen;
}

/**
 * tlb_flush_all_local, tlb_flush_page_local, tlb_flush_range_local - forget translations
 *
 * Of this CPU only. A flush may forget more than asked, as hardware does: a page inside a large
 * leaf flushes everything, and so does a range of many pages.
 * Context: any.
 */
void tlb_flush_all_local(void);
void tlb_flush_page_local(u64 va);
void tlb_flush_range_local(u64 start, u64 end);

struct tlb_stats { u64 hits, misses, flushes; };
struct tlb_stats tlb_stats(struct cpu *cpu);

/* Does @cpu's TLB hold a translation of @va (for tests)? */
bool tlb_holds(struct cpu *cpu, u64 va, bool for_write);

/* The next @nr flushes of @cpu's TLB do nothing: a broken shootdown, for tests of who notices. */
void tlb_lose_flushes(struct cpu *cpu, unsigned int nr);

/*
 * hw's own: the walker's result enters the cache, @leaf being the entry it was read from; a fault
 * takes a page out (not counted).
 */
void tlb_fill(struct tlb *tlb, u64 va, phys_addr_t pa, enum tlb_kind kind, bool huge, u64 leaf);
void tlb_drop(struct tlb *tlb, u64 va);
void tlb_flush_all(struct tlb *tlb);

#endif
