/* SPDX-License-Identifier: MIT */
/*
 * tlbflush.h - which CPUs may remember a space's translations, and making them forget
 */
#ifndef KARC_MM_PGTABLE_TLBFLUSH_H
#define KARC_MM_PGTABLE_TLBFLUSH_H

#include <karc/hw/cpu.h>
#include <karc/mm/mm_types.h>

/* This room's part of each CPU. */
struct pgtable_hot {
	struct mm_struct *loaded_mm;	/* whose tables CR3 points at; borrowed */
	u64 nr_shootdowns;		/* flushes that this CPU asked other CPUs for */
	u64 nr_flushed;			/* flushes done here, asked for by anyone */
};

/* The space that is loaded on this CPU, or NULL. Borrowed. Not to be kept across a switch. */
static inline struct mm_struct *current_loaded_mm(void)
{
	return ((struct pgtable_hot *)this_cpu_hot(ROOM_PGTABLE))->loaded_mm;
}

/**
 * switch_mm - load @next's tables on this CPU
 * @prev: what is loaded now or NULL; for the reader, the CPU knows it itself
 * @next: the space to load, borrowed until the next switch_mm() on this CPU; NULL unloads
 *
 * Keeps mm->cpu_bitmap: the CPU's bit is set before @next can be walked and cleared in the old
 * space after its translations are gone.
 * Context: any; not preempted while it runs.
 */
void switch_mm(struct mm_struct *prev, struct mm_struct *next);

/**
 * inc_tlb_flush_pending - entries are about to be taken back; the flush comes later
 * dec_tlb_flush_pending - it is done
 *
 * In between, other CPUs may still use what they remember. Outside, a CPU that does is a bug, and
 * a machine with machine_config.check_tlb says so: whoever clears an entry, makes it point
 * elsewhere or allow less brackets the change and its flush with these two, or does both under
 * the entry's lock. mmu_gather brackets what it gathers. Nests; other threads' changes may be
 * under way too.
 * Model: Linux 6.1.
 */
static inline void inc_tlb_flush_pending(struct mm_struct *mm)
{
	/* Before the entries in the order of this CPU; who sees them changed sees this. */
	__atomic_fetch_add(&mm->tlb_flush_pending, 1, __ATOMIC_SEQ_CST);
}

static inline void dec_tlb_flush_pending(struct mm_struct *mm)
{
	__atomic_fetch_sub(&mm->tlb_flush_pending, 1, __ATOMIC_SEQ_CST);
}

static inline bool mm_tlb_flush_pending(const struct mm_struct *mm)
{
	return __atomic_load_n(&mm->tlb_flush_pending, __ATOMIC_ACQUIRE) != 0;
}

/*
 * Make every CPU in mm->cpu_bitmap forget, and wait until each has. The tables were changed
 * before. Context: interrupts on, may not be called in hard interrupt; spinlocks may be held.
 */
void flush_tlb_mm(struct mm_struct *mm);
void flush_tlb_mm_range(struct mm_struct *mm, unsigned long start, unsigned long end);
void flush_tlb_range(struct vm_area_struct *vma, unsigned long start, unsigned long end);
void flush_tlb_page(struct vm_area_struct *vma, unsigned long addr);

/* This CPU took a fault that its tables do not explain: drop its own stale entry. */
void flush_tlb_fix_spurious_fault(struct vm_area_struct *vma, unsigned long addr);

#endif
