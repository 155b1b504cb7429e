/* SPDX-License-Identifier: MIT */
/*
 * tables.h - page tables by hand, for the tests of the MMU and the TLB
 *
 * hw has no frame allocator; frames come from a bump pointer that starts at TABLES_FIRST.
 */
#ifndef KARC_TESTS_HW_TABLES_H
#define KARC_TESTS_HW_TABLES_H

#include <string.h>

#include <karc/base/math.h>
#include <karc/hw/mmu.h>
#include <karc/hw/physmem.h>

#define TABLES_FIRST	(16ULL << 20)
#define USER_RW		(HW_PTE_PRESENT | HW_PTE_RW | HW_PTE_USER)

struct tables {
	phys_addr_t next;	/* next unused frame */
	phys_addr_t root;
};

static inline phys_addr_t tables_frame(struct tables *t)
{
	phys_addr_t pa = t->next;

	t->next += PAGE_SIZE;
	memset(phys_to_virt(pa), 0, PAGE_SIZE);
	return pa;
}

static inline void tables_init(struct tables *t)
{
	t->next = TABLES_FIRST;
	t->root = tables_frame(t);
}

/* The entry for @va at @level (3 is the root's), making tables with @flags on the way. */
static inline u64 *tables_entry(struct tables *t, u64 va, int level, u64 flags)
{
	u64 *table = phys_to_virt(t->root);
	u64 *entry;

	for (int l = 3; ; l--) {
		entry = &table[(va >> (PAGE_SHIFT + 9 * l)) % 512];
		if (l == level)
			return entry;
		if (!(*entry & HW_PTE_PRESENT))
			*entry = tables_frame(t) | flags;
		table = phys_to_virt(*entry & HW_PTE_PFN_MASK);
	}
}

/* Map one page; returns its leaf entry. */
static inline u64 *tables_map(struct tables *t, u64 va, phys_addr_t pa, u64 flags)
{
	u64 *entry = tables_entry(t, va, 0, USER_RW);

	*entry = pa | flags;
	return entry;
}

#endif
