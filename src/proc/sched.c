/* SPDX-License-Identifier: MIT */
/*
 * sched.c - which address space a CPU has loaded, and who still holds it
 *
 * What it is
 *	Fibers do the switching; this file does what Linux's context_switch() and
 *	finish_task_switch() do around it. A fiber without a task stands for its CPU's idle task.
 *	A task without an mm (idle, kernel thread, a dying task past exit_mm) borrows the mm that
 *	is loaded: its active_mm, one mm_count reference. The reference is handed from one
 *	borrower to the next and put when a task with an mm of its own comes.
 *
 * Objects
 *	CPU ~~runs~~> task ==mm_users==> mm        or    borrower ==mm_count==> active_mm
 *	CPU's CR3 ~~> the active_mm of the task that runs there
 *
 * Invariants
 *	I1  task->mm set and on a CPU: active_mm == mm, no mm_count reference for it
 *	I2  task->mm NULL: active_mm is NULL or one mm_count reference
 *	I3  only the task on a CPU has an active_mm
 *	I4  on_cpu: the task is some CPU's curr. The switch away from it is finished late, when
 *	    that CPU runs again; until then no other CPU runs the task
 *
 * Locking
 *	curr, on_cpu, mm,   the CPU in question, preemption off; no safe point lies between a
 *	active_mm           change of fiber->task and those that belong to it
 *	state               READ_ONCE; cleared by whoever wakes, with an exchange
 *	fiber               the task's CPU writes it under wake_lock (interrupts off); a waker
 *	                    looks at it and wakes it under the same lock, so that the fiber
 *	                    cannot end meanwhile
 *
 * Life
 *	user mode (no fiber) - sched_enter_task - on a CPU, off it, on it - sched_leave_task
 *	or: TASK_DEAD - the switch away from it - its "may be on a CPU" reference is put
 *
 * Worst case
 *	The last mmdrop of an mm may come here, long after its last user left: __mmdrop frees the
 *	page-table root and the struct, bounded work without sleeping.
 *
 * Unlike Linux
 *	No run queues or priorities here: fibers have them. fiber_set_cpu() does not move a task,
 *	migrate_task_to() does. A wait queue does not set the task's state: schedule() learns from
 *	the fiber that prepare_to_wait() ran.
 */
#include <karc/base/err.h>
#include <karc/hw/context.h>
#include <karc/hw/ipi.h>
#include <karc/hw/trace.h>
#include <karc/mm/pgtable/tlbflush.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/sched.h>
#include "internal.h"

static struct task_struct *idle_of(struct cpu *cpu)
{
	struct proc_state *p = machine_room(cpu->machine, ROOM_PROC);

	return p->idle[cpu->id];
}

/* The CPU goes over to @next; returns whom it leaves. */
static struct task_struct *switch_curr(struct cpu *cpu, struct task_struct *next)
{
	struct proc_state *p = machine_room(cpu->machine, ROOM_PROC);
	struct task_struct *prev = p->curr[cpu->id];

	BUG_ON(next != prev && next->on_cpu);	/* I4: only migrate_task_to() moves a task */
	prev->on_cpu = false;
	next->on_cpu = true;
	p->curr[cpu->id] = next;
	return prev;
}

/* The address-space half of context_switch(): what must be put afterwards is returned. */
static struct mm_struct *switch_task_mm(struct task_struct *prev, struct task_struct *next)
{
	struct mm_struct *loaded = prev->active_mm;
	struct mm_struct *drop = NULL;

	if (!next->mm) {			/* to a borrower */
		next->active_mm = loaded;
		if (prev->mm && loaded) {
			mmgrab(loaded);
			arc_hand_to_field(&loaded->arc, &next->arc, "active_mm");
		} else if (loaded) {
			arc_hand_field_to_field(&loaded->arc, &prev->arc, &next->arc, "active_mm");
		}
		prev->active_mm = NULL;
		return NULL;
	}
	if (!prev->mm)				/* from a borrower */
		drop = loaded;
	prev->active_mm = NULL;
	if (loaded != next->mm)
		switch_mm(loaded, next->mm);
	next->active_mm = next->mm;
	return drop;
}

static void set_task_fiber(struct task_struct *task, struct fiber *fiber)
{
	unsigned long flags;

	spin_lock_irqsave(&task->wake_lock, flags);
	smp_store_release(&task->fiber, fiber);	/* what the task did is seen by who sees NULL */
	spin_unlock_irqrestore(&task->wake_lock, flags);
}

static void finish_task_switch(struct task_struct *prev, struct mm_struct *drop)
{
	if (drop) {
		trace_step("finish_task_switch", "this CPU no longer borrows mm %llu",
			   (unsigned long long)drop->id);
		arc_hand_from_field(&drop->arc, &prev->arc, "active_mm");
		mmdrop(drop);
	}
	if (READ_ONCE(prev->state) == TASK_DEAD && !prev->fiber) {
		trace_step("finish_task_switch", "put_task_struct(%d)", prev->pid);
		arc_hand_from_root(&prev->arc, TASK_HELD_BY_CPU);
		put_task_struct(prev);
	}
}

static void sched_on_switch(struct fiber *prev_fiber, struct fiber *next_fiber)
{
	struct cpu *cpu = this_cpu();
	struct task_struct *next = next_fiber->task ? next_fiber->task : idle_of(cpu);
	struct task_struct *prev = switch_curr(cpu, next);
	struct mm_struct *drop;

	if (prev == next)
		return;
	drop = switch_task_mm(prev, next);
	if (prev->fiber == prev_fiber && READ_ONCE(prev_fiber->state) == FIBER_DEAD) {
		prev_fiber->task = NULL;
		set_task_fiber(prev, NULL);	/* do_exit, or an Oops: task_call() sees to that */
	}
	finish_task_switch(prev, drop);
}

void sched_init(struct machine *m)
{
	struct proc_state *p = machine_room(m, ROOM_PROC);
	unsigned int cpu;

	for_each_cpu_of(m, cpu) {
		p->curr[cpu] = p->idle[cpu];
		p->idle[cpu]->on_cpu = true;
	}
	fiber_on_switch(m, sched_on_switch);
}

/* The running fiber, so far idle's, becomes @task's. */
void sched_enter_task(struct task_struct *task)
{
	struct fiber *fiber = fiber_self();
	struct task_struct *idle;
	struct mm_struct *drop;

	BUG_ON(fiber->task || (task->fiber && task->fiber != fiber));
	set_task_fiber(task, fiber);
	preempt_disable();
	idle = switch_curr(this_cpu(), task);
	drop = switch_task_mm(idle, task);
	fiber->task = task;
	finish_task_switch(idle, drop);
	preempt_enable();
}

/* And back: the task is in user mode again, its mm stays loaded lazily. */
void sched_put_aside(struct task_struct *task)
{
	struct fiber *fiber = fiber_self();
	struct mm_struct *drop;

	preempt_disable();
	BUG_ON(fiber->task != task);
	switch_curr(this_cpu(), idle_of(this_cpu()));
	drop = switch_task_mm(task, idle_of(this_cpu()));
	BUG_ON(drop);		/* idle is a borrower: it took the hold over */
	fiber->task = NULL;
	preempt_enable();
}

void sched_leave_task(struct task_struct *task)
{
	sched_put_aside(task);
	set_task_fiber(task, NULL);
}

int migrate_task_to(struct task_struct *task, unsigned int cpu)
{
	if (cpu >= machine_nr_cpus(this_machine()) || (READ_ONCE(task->flags) & PF_IDLE))
		return -EINVAL;
	if (task == current) {
		sched_put_aside(task);
		fiber_set_cpu(fiber_self(), cpu);
		sched_enter_task(task);
	} else if (READ_ONCE(task->fiber)) {
		return -EBUSY;
	}
	WRITE_ONCE(task->cpu, cpu);
	return 0;
}

void KARC_BODY(exec_mmap)(struct task_struct *task, struct mm_struct *mm)
{
	struct mm_struct *old = task->mm, *borrowed = old ? NULL : task->active_mm;

	trace_step("exec_mmap", "%d: mm %llu -> mm %llu", task->pid,
		   old ? (unsigned long long)old->id : 0ULL, (unsigned long long)mm->id);
	mm_release(task, old);
	task_lock(task);		/* not preemptible either: all three are one step */
	switch_mm(task->active_mm, mm);
	task->mm = mm;
	task->active_mm = mm;
	arc_user_hand_to_field(&mm->arc, &task->arc, "mm");
	if (old)
		arc_user_hand_from_field(&old->arc, &task->arc, "mm");
	if (borrowed)
		arc_hand_from_field(&borrowed->arc, &task->arc, "active_mm");
	task_unlock(task);
	mmput(old);
	mmdrop(borrowed);
}

struct lazy_mms {
	struct mm_struct *mm[MACHINE_MAX_CPUS];
};

/* In an interrupt, which may have stopped somebody who holds mm locks: nothing is put here. */
static void give_up_lazy_mm(void *info)
{
	struct proc_state *p = proc_state();
	struct lazy_mms *lazy = info;
	struct task_struct *idle = idle_of(this_cpu());
	struct mm_struct *mm = idle->active_mm;

	if (!mm || p->curr[smp_processor_id()] != idle)
		return;
	idle->active_mm = NULL;
	switch_mm(mm, NULL);
	lazy->mm[smp_processor_id()] = mm;
}

unsigned long sched_drop_lazy_mms(struct machine *m)
{
	struct lazy_mms lazy = { { NULL } };
	unsigned long nr = 0;
	unsigned int cpu;

	on_each_cpu(give_up_lazy_mm, &lazy, 1);
	for_each_cpu_of(m, cpu) {
		if (!lazy.mm[cpu])
			continue;
		nr++;
		arc_hand_from_field(&lazy.mm[cpu]->arc, &idle_of(machine_cpu(m, cpu))->arc,
				    "active_mm");
		mmdrop(lazy.mm[cpu]);
	}
	return nr;
}

void karc_set_task_state(unsigned int state)
{
	if (state != TASK_RUNNING)
		fiber_prepare();	/* a wake from here on is for this sleep */
	smp_store_mb(current->state, state);
}

void schedule(void)
{
	struct task_struct *task = current;
	bool asleep = READ_ONCE(fiber_self()->wait_queued) ||
		      (READ_ONCE(task->state) != TASK_RUNNING && task->fiber);

	if (asleep)
		fiber_block(SITE());
	else
		fiber_yield();
	WRITE_ONCE(task->state, TASK_RUNNING);
}

void sched_wake_fiber(struct task_struct *task)
{
	unsigned long flags;

	spin_lock_irqsave(&task->wake_lock, flags);
	if (task->fiber)
		fiber_wake(task->fiber);
	spin_unlock_irqrestore(&task->wake_lock, flags);
}

int wake_up_process(struct task_struct *task)
{
	unsigned int state = READ_ONCE(task->state);

	do {
		if (!(state & TASK_NORMAL))
			return 0;
	} while (!try_cmpxchg(&task->state, &state, TASK_RUNNING));
	sched_wake_fiber(task);
	return 1;
}

unsigned long machine_nr_tasks(struct machine *m)
{
	return READ_ONCE(((struct proc_state *)machine_room(m, ROOM_PROC))->nr_tasks);
}
