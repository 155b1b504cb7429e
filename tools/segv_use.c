/* SPDX-License-Identifier: MIT */
/*
 * segv_use.c - one use of one pointer, and everything that can be seen of it from the machine
 *
 * The program's own load, store or fetch is made by the task; before and after, its CPU's TLB
 * counters, its address space and the entry at the pointer are read, and in between the fault
 * path's records and announced steps are kept.
 */
#include "segv.h"
#include <karc/hw/tlb.h>
#include <karc/mm/phys/page.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/vma.h>
#include <karc/proc/syscall.h>
#include <signal.h>
#include <string.h>

struct use {
	struct segv_world *w;
	const struct segv_case *c;
	struct segv_facts *f;
	struct task_struct *task;
	bool on;			/* written and read by the task */
};

static void keep_fault(void *arg, const struct fault_info *info)
{
	struct use *u = arg;
	struct segv_facts *f = u->f;

	if (current != u->task)
		return;
	f->nr_handled += !info->si_signo;
	f->nr_major += !info->si_signo && (info->result & VM_FAULT_MAJOR);
	if (f->nr_faults < SEGV_FAULTS_MAX)
		f->fault[f->nr_faults] = *info;
	f->nr_faults++;
}

static void keep_step(void *arg, const char *fn, const char *text)
{
	struct use *u = arg;
	struct segv_facts *f = u->f;
	int n;

	if (current != u->task || !u->on)
		return;
	n = snprintf(f->steps + f->steps_len, sizeof(f->steps) - f->steps_len, "%s\t%s\n", fn, text);
	if (n > 0 && (size_t)n < sizeof(f->steps) - f->steps_len)
		f->steps_len += (size_t)n;
	f->steps[f->steps_len] = '\0';
}

/* ---- before ---- */

static void look_at_vma(struct segv_facts *f, struct mm_struct *mm)
{
	struct vm_area_struct *vma;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, f->addr);
	if (vma)
		f->there[maps_line(vma, f->there) - 1] = '\0';	/* its newline */
	mmap_read_unlock(mm);
}

static void look_at_entry(struct segv_facts *f, struct mm_struct *mm)
{
	pte_t pte = { 0 };

	if (f->addr < mm->task_size)
		pte = mm_lookup_pte(mm, f->addr);
	f->entry_before = pte_val(pte);
	if (pte_present(pte) && !pte_special(pte))
		f->frame_refs = page_ref_count(pte_page(pte));
}

/* ---- the use itself, in the task ---- */

static void load_or_store(const struct segv_case *c, unsigned long addr)
{
	int value = SEGV_STORED;

	switch (c->access) {
	case MMU_READ:
		(void)user_read(addr, &value, c->bytes);
		break;
	case MMU_WRITE:
		(void)user_write(addr, &value, c->bytes);
		break;
	case MMU_EXEC:
		(void)user_exec(addr);
		break;
	}
}

static long use_entry(void *arg)
{
	struct use *u = arg;
	struct segv_facts *f = u->f;
	struct task_struct *task = current;
	struct cpu *cpu = this_cpu();
	struct tlb_stats before;

	f->cpu = cpu->id;
	f->held = tlb_holds(cpu, f->addr, u->c->access == MMU_WRITE);
	memset(&task->fault, 0, sizeof(task->fault));
	before = tlb_stats(cpu);
	u->on = true;
	load_or_store(u->c, f->addr);
	u->on = false;
	f->walks = tlb_stats(cpu).misses - before.misses;
	f->signo = task->fault.signo;
	f->code = task->fault.code;
	f->sig_addr = task->fault.addr;
	memset(&task->fault, 0, sizeof(task->fault));
	return 0;
}

static long value_entry(void *arg)
{
	unsigned long *addr = arg;
	int value = -1;

	return user_read(*addr, &value, sizeof(value)) ? -EFAULT : value;
}

static int value_at(struct task_struct *task, unsigned long addr)
{
	struct machine_result r = task_call(task, value_entry, &addr);

	return r.end == MACHINE_VALUE ? (int)r.value : -1;
}

/* ---- what it means ---- */

/* Where the kernel's questions about one fault ended. */
static void mark_fault(struct segv_facts *f, const struct fault_info *info)
{
	bool half = info->address < info->mm->task_size;

	f->mark[SEGV_HALF] = half ? SEGV_YES : SEGV_NO;
	if (!half)
		return;
	f->mark[SEGV_VMA] = info->covers && !info->stack_grown ? SEGV_YES : SEGV_NO;
	if (info->stack_grown)
		f->mark[SEGV_STACK] = SEGV_YES;
	else if (!info->covers && info->vma_found)
		f->mark[SEGV_STACK] = SEGV_NO;
	if (!info->covers)
		return;
	f->mark[SEGV_RIGHTS] = info->answer == FAULT_WRONG_ACCESS ? SEGV_NO : SEGV_YES;
	if (info->answer != FAULT_WRONG_ACCESS)
		f->mark[SEGV_PAGE] = info->answer == FAULT_HANDLED ? SEGV_YES : SEGV_NO;
}

static void mark_steps(struct segv_facts *f)
{
	bool exception = f->signo && !f->nr_faults;	/* the hardware refused, without a page fault */

	f->mark[SEGV_CANONICAL] = exception ? SEGV_NO : SEGV_YES;
	if (exception)
		return;
	f->mark[SEGV_TLB] = f->walks ? SEGV_NO : SEGV_YES;
	if (!f->walks)
		return;
	f->mark[SEGV_TABLES] = f->nr_faults ? SEGV_NO : SEGV_YES;
	if (f->nr_faults && f->nr_faults <= SEGV_FAULTS_MAX)
		mark_fault(f, &f->fault[f->nr_faults - 1]);
}

void segv_use(struct segv_world *w, const struct segv_case *c, struct segv_facts *f)
{
	struct use u = { .w = w, .c = c, .f = f, .task = w->user };
	const struct fault_watch watch = { .ops = { keep_fault }, .arg = &u };
	struct mm_struct *mm = w->user->mm;
	struct trace_listener listener;

	f->was_held = w->was_held;
	look_at_vma(f, mm);
	if (f->there[0])
		f->owner = segv_owner(w, f->addr);
	look_at_entry(f, mm);
	f->rss_before = (long)mm_rss(mm);
	f->tables_before = atomic_long_read(&mm->pgtables_bytes);
	fault_on_decided(w->stage->m, &watch);
	trace_listen(w->stage->m, &listener, keep_step, &u);
	task_call(w->user, use_entry, &u);
	trace_unlisten(w->stage->m, &listener);
	fault_on_decided(w->stage->m, NULL);
	f->rss_after = (long)mm_rss(mm);
	f->tables_after = atomic_long_read(&mm->pgtables_bytes);
	if (f->addr < mm->task_size)
		f->entry_after = pte_val(mm_lookup_pte(mm, f->addr));
	mark_steps(f);
	if (!f->signo && c->access != MMU_EXEC)
		f->value = value_at(w->user, f->addr);
	if (w->sharer)
		f->sharer_value = value_at(w->demo, w->sharer);
	f->ok = !w->failed && f->signo == c->signo && f->code == c->code &&
		f->nr_faults == c->asked;
}
