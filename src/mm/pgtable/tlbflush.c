/* SPDX-License-Identifier: MIT */
/*
 * tlbflush.c - loading a space on a CPU, and the shootdown
 *
 * What it is
 *	A CPU's TLB remembers translations of the space that is loaded. Who changes an entry so that
 *	it allows less, or points elsewhere, tells every CPU that may remember the old one and
 *	waits.
 *
 * Objects
 *	mm->cpu_bitmap: one bit for each CPU that has the space loaded. pgtable_hot.loaded_mm: the
 *	CPU's side of it, borrowed from the task or kernel thread that runs there.
 *
 * Invariants
 *	I1 a CPU's bit is set before its CR3 is, and cleared after the load of another CR3, which
 *	   forgets all translations: a CPU without the bit remembers nothing of the space
 *	I2 entries are changed before the bitmap is read; a CPU that sets its bit later walks the
 *	   changed tables. Both sides are read-modify-writes of the bitmap: one of them is first.
 *	I3 a CPU uses a translation that the tables do not agree with only while the change that
 *	   made it stale is under way: mm->tlb_flush_pending is raised or the entry's lock is held
 *	   from before the change until every CPU has flushed. The frame is not free meanwhile.
 *
 * Stale hits
 *	Machines with check_tlb compare each hit with the tables. On a difference stale_hit() asks
 *	for I3. It cannot ask too late: the flush waits for this CPU, which passes no safe point
 *	between its look at the tables and the question. Somebody else's change in the same space
 *	or table can hide a forgotten flush only as long as it lasts; the entry stays in the TLB,
 *	and its next use is caught.
 *
 * Locking
 *	cpu_bitmap is atomic. loaded_mm is written by its own CPU with preemption off.
 *
 * Worst case
 *	One cross-CPU call to each CPU of the bitmap; a CPU that has switched away meanwhile does
 *	nothing in it.
 *
 * Unlike Linux
 *	No PCIDs, no generations, no lazy mode: a kernel thread that keeps a space loaded gets the
 *	flushes too.
 */
#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include <karc/hw/ipi.h>
#include <karc/hw/mmu.h>
#include <karc/hw/physmem.h>
#include <karc/hw/tlb.h>
#include <karc/mm/pgtable/tlbflush.h>
#include <karc/mm/phys/page.h>
#include "internal.h"

static_assert(sizeof(struct pgtable_hot) <= CPU_HOT_BYTES, "the room's hot area is full");

static struct pgtable_hot *pgtable_hot(void)
{
	return this_cpu_hot(ROOM_PGTABLE);
}

void switch_mm(struct mm_struct *prev, struct mm_struct *next)
{
	unsigned long bit;
	struct mm_struct *old;

	preempt_disable();
	bit = 1UL << smp_processor_id();
	old = pgtable_hot()->loaded_mm;
	VM_WARN_ON(prev && prev != old);
	if (old != next) {
		if (next)
			__atomic_fetch_or(&next->cpu_bitmap, bit, __ATOMIC_SEQ_CST);
		pgtable_hot()->loaded_mm = next;
		mmu_load_cr3(next ? virt_to_phys(next->pgd) : 0);
		if (old)
			__atomic_fetch_and(&old->cpu_bitmap, ~bit, __ATOMIC_SEQ_CST);
	}
	preempt_enable();
}

struct flush_request {
	struct mm_struct *mm;
	unsigned long start, end;
};

/* In hardirq context on each CPU of the bitmap. */
static void flush_here(void *info)
{
	const struct flush_request *f = info;
	struct pgtable_hot *hot = pgtable_hot();

	if (hot->loaded_mm != f->mm)
		return;
	hot->nr_flushed++;
	if (f->end - f->start == PAGE_SIZE)
		tlb_flush_page_local(f->start);
	else
		tlb_flush_range_local(f->start, f->end);
}

void flush_tlb_mm_range(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct flush_request f = { mm, start, end };
	cpumask_t mask;
	u64 self;

	if (start >= end)
		return;
	preempt_disable();
	/* Reads by writing nothing new: ordered against the bit set in switch_mm(), see I2. */
	mask.bits[0] = __atomic_fetch_or(&mm->cpu_bitmap, 0, __ATOMIC_SEQ_CST);
	self = 1ULL << smp_processor_id();
	if (mask.bits[0] & self)
		flush_here(&f);
	mask.bits[0] &= ~self;
	if (mask.bits[0]) {
		pgtable_hot()->nr_shootdowns++;
		smp_call_function_many(&mask, flush_here, &f, true);
	}
	preempt_enable();
}

static const char *stale_hit(const struct mmu_stale *stale)
{
	const struct mm_struct *mm = pgtable_hot()->loaded_mm;
	const struct page *table;

	if (!page_ref_count(compound_head(phys_to_page(stale->pa))))
		return "its frame was given back";
	if (!mm)
		return "no space is loaded";
	if (mm_tlb_flush_pending(mm))
		return NULL;
	if (stale->slot) {
		table = virt_to_page((const void *)((unsigned long)stale->slot & PAGE_MASK));
		if (PageTable(table) && spin_is_locked(&table->ptl))
			return NULL;
	}
	return "no flush is under way";
}

void tlbflush_init(struct machine *m)
{
	mmu_on_stale(m, stale_hit);
}

void flush_tlb_mm(struct mm_struct *mm)
{
	flush_tlb_mm_range(mm, 0, ~0UL);
}

void flush_tlb_range(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	flush_tlb_mm_range(vma->vm_mm, start, end);
}

void flush_tlb_page(struct vm_area_struct *vma, unsigned long addr)
{
	addr &= PAGE_MASK;
	flush_tlb_mm_range(vma->vm_mm, addr, addr + PAGE_SIZE);
}

void flush_tlb_fix_spurious_fault(struct vm_area_struct *vma, unsigned long addr)
{
	preempt_disable();
	if (pgtable_hot()->loaded_mm == vma->vm_mm)
		tlb_flush_page_local(addr);
	preempt_enable();
}
