/* SPDX-License-Identifier: MIT */
/*
 * play_alloc_walk.c - TLB misses of walks over kmalloc() and vmalloc() memory
 *
 * What it is
 *	vmalloc() memory is mapped frame by frame in init_mm's tables, which the MMU walks. The
 *	direct map, where kmalloc() memory lies, is Linux's as it is made at boot: entries of 2 MiB,
 *	in tables of this story's own, because karc's CPU needs none for it. Every translation that
 *	the TLB lacks is a walk of the simulated MMU through those tables, and must lead to the
 *	frame that the allocator knows.
 *
 *	The TLB has 64 places for pages of 4 KiB and 32 for pages of 2 MiB, the least recently used
 *	goes: a small x86 core's. The one in hw/tlb.h is of no use here, it keeps large pages in
 *	pieces of 4 KiB.
 */
#include "play_alloc.h"
#include <karc/hw/mmu.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/slab/kmalloc.h>
#include <string.h>

#define DIRECT_MAP	0xffff888000000000ULL	/* x86-64's page_offset_base without KASLR */
#define LARGE_SHIFT	21
#define SMALL_PLACES	64u
#define LARGE_PLACES	32u
#define WALKED_BYTES	(2ul << 20)
#define GIBS_MOST	8u

/* Fully associative: page numbers, the most recently used first. */
struct model_tlb {
	u64 small[SMALL_PLACES], large[LARGE_PLACES];
	unsigned int nr_small, nr_large;
	unsigned long hits, misses, wrong;
};

/**
 * struct kernel_tables - a root with init_mm's vmalloc part and a direct map
 * @pmd: tables of 1 GiB each
 */
struct kernel_tables {
	struct page *root, *pud, *pmd[GIBS_MOST];
};

static u64 entry_of(const struct page *table)
{
	return page_to_phys(table) | HW_PTE_PRESENT | HW_PTE_RW | HW_PTE_ACCESSED;
}

static void tables_free(struct kernel_tables *t)
{
	for (unsigned int i = 0; i < GIBS_MOST; i++)
		if (t->pmd[i])
			__free_page(t->pmd[i]);
	if (t->pud)
		__free_page(t->pud);
	if (t->root)
		__free_page(t->root);
}

/* A gibibyte of the direct map in entries of 2 MiB. */
static void fill_pmd(struct page *pmd, unsigned int gib)
{
	u64 *entry = page_address(pmd);

	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*entry); i++)
		entry[i] = ((u64)gib << 30 | (u64)i << LARGE_SHIFT) | HW_PTE_PRESENT | HW_PTE_RW |
			   HW_PTE_PSE | HW_PTE_ACCESSED;
}

static bool tables_make(struct kernel_tables *t)
{
	u64 *root, *pud;

	memset(t, 0, sizeof(*t));
	t->root = alloc_page(GFP_KERNEL | __GFP_ZERO);
	t->pud = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!t->root || !t->pud)
		goto fail;
	root = page_address(t->root);
	pud = page_address(t->pud);
	root[pgd_index(DIRECT_MAP)] = entry_of(t->pud);
	root[pgd_index(VMALLOC_START)] = pgd_val(*pgd_offset_k(VMALLOC_START));
	for (unsigned int i = 0; i < GIBS_MOST; i++) {
		t->pmd[i] = alloc_page(GFP_KERNEL);
		if (!t->pmd[i])
			goto fail;
		fill_pmd(t->pmd[i], i);
		pud[i] = entry_of(t->pmd[i]);
	}
	return true;
fail:
	tables_free(t);
	return false;
}

/* Was @page in a TLB of @places? In any case it is now, in front. */
static bool look_up(u64 *tlb, unsigned int *nr, unsigned int places, u64 page)
{
	unsigned int i;
	bool hit;

	for (i = 0; i < *nr && tlb[i] != page; i++)
		;
	hit = i < *nr;
	if (!hit && *nr < places)
		(*nr)++;
	if (i == places)
		i--;
	memmove(tlb + 1, tlb, i * sizeof(*tlb));
	tlb[0] = page;
	return hit;
}

/* One access at @p, which must lead to the frame that the allocator has there. */
static void touch(struct model_tlb *tlb, const char *p, bool large)
{
	u64 va = large ? DIRECT_MAP + virt_to_phys(p) : vmalloc_simulated(p);
	phys_addr_t pa = 0, want;

	if (large ? look_up(tlb->large, &tlb->nr_large, LARGE_PLACES, va >> LARGE_SHIFT) :
		    look_up(tlb->small, &tlb->nr_small, SMALL_PLACES, va >> PAGE_SHIFT)) {
		tlb->hits++;
		return;
	}
	tlb->misses++;
	want = large ? virt_to_phys(p) : PFN_PHYS(vmalloc_to_pfn(p)) + offset_in_page(p);
	if (mmu_walk(this_cpu(), va, MMU_READ, false, &pa, NULL) || pa != want)
		tlb->wrong++;
}

/* Twice from one end to the other, a cache line at a time. */
static void walk_over(struct model_tlb *tlb, const char *p, bool large)
{
	for (unsigned int round = 0; round < 2; round++)
		for (unsigned long at = 0; at < WALKED_BYTES; at += 64)
			touch(tlb, p + at, large);
}

static void tell(struct stage *s, const char *what, const struct model_tlb *tlb)
{
	stage_say(s, "%-10s %6lu accesses, %4lu misses, each a walk through the tables", what,
		  tlb->hits + tlb->misses, tlb->misses);
}

void alloc_tell_walks(struct stage *s)
{
	struct model_tlb of_kmalloc = { .hits = 0 }, of_vmalloc = { .hits = 0 };
	struct kernel_tables tables;
	char *k = kmalloc(WALKED_BYTES, GFP_KERNEL), *v = vmalloc(WALKED_BYTES);
	u64 old;

	stage_head(s, "What the MMU has to do: twice over %lu MiB, 64 bytes at a time",
		   WALKED_BYTES >> 20);
	stage_say(s, "(a TLB of %u places for pages of 4 KiB and %u for pages of 2 MiB)",
		  SMALL_PLACES, LARGE_PLACES);
	if (!k || !v || virt_to_phys(k) >> 30 >= GIBS_MOST || !tables_make(&tables)) {
		stage_expect(s, false, "memory for it, below %u GiB", GIBS_MOST);
		goto out;
	}
	stage_mark(s, "2 MiB of kmalloc() and of vmalloc() memory are there");
	preempt_disable();		/* the CPU's tables are not its task's meanwhile */
	old = this_cpu()->cr3;
	mmu_load_cr3(page_to_phys(tables.root));
	walk_over(&of_kmalloc, k, true);
	walk_over(&of_vmalloc, v, false);
	mmu_load_cr3(old);
	preempt_enable();
	tables_free(&tables);
	tell(s, "kmalloc", &of_kmalloc);
	tell(s, "vmalloc", &of_vmalloc);
	stage_expect(s, !of_kmalloc.wrong && !of_vmalloc.wrong,
		     "every walk leads to the frame that the allocator knows");
	stage_expect(s, of_kmalloc.misses <= (WALKED_BYTES >> LARGE_SHIFT) + 1 &&
		     of_vmalloc.misses == 2 * (WALKED_BYTES >> PAGE_SHIFT),
		     "the direct map has large pages; vmalloc memory has a miss for each of its "
		     "frames, each time");
out:
	vfree(v);
	kfree(k);
}
