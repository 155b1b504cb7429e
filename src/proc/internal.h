/* SPDX-License-Identifier: MIT */
/*
 * internal.h - state of the proc room and what its files share
 */
#ifndef KARC_SRC_PROC_INTERNAL_H
#define KARC_SRC_PROC_INTERNAL_H

#include <karc/base/xarray.h>
#include <karc/hw/cpu.h>
#include <karc/hw/spinlock.h>
#include <karc/mm/slab/slab.h>
#include <karc/proc/signal.h>
#include <karc/proc/task.h>

/* One per machine: machine->room[ROOM_PROC]. */
struct proc_state {
	struct kmem_cache *task_cache;
	struct kmem_cache *pid_cache;
	struct kmem_cache *signal_cache;
	struct kmem_cache *files_cache;
	struct task_struct *idle[MACHINE_MAX_CPUS];	/* one reference each */
	struct task_struct *curr[MACHINE_MAX_CPUS];	/* borrowed; see sched.c */
	struct task_struct *init;	/* pid 1: one reference, or NULL */

	spinlock_t tasklist_lock;	/* the tree: tasks, children, real_parent, exit_state */
	struct list_head tasks;
	unsigned long nr_tasks;

	spinlock_t pid_lock;		/* the table: pids, last_pid, pid->task */
	struct xarray pids;		/* number -> struct pid, owns nothing */
	pid_t last_pid;
	unsigned long nr_pids;
};

static inline struct proc_state *proc_state(void)
{
	return this_room(ROOM_PROC);
}

/* pid.c */
KARC_MUST_CHECK int pid_types_register(struct proc_state *p);
void pid_attach(struct pid *pid, struct task_struct *task);
void pid_detach(struct pid *pid);	/* from its task; the number is free again */
void pid_check(struct proc_state *p, struct check_report *report);

/* task.c: task_link() keeps the task's first reference, "may be on a CPU", and adds "by pid". */
KARC_MUST_CHECK int task_types_register(struct proc_state *p);
KARC_MUST_CHECK KARC_GIVES struct task_struct *task_alloc(const char *comm,
							   const struct site *site);
void task_link(KARC_TAKES struct task_struct *task, struct task_struct *creator,
	       bool as_sibling);
void task_check(struct proc_state *p, struct check_report *report);

/* files.c */
KARC_MUST_CHECK int files_types_register(struct proc_state *p);

/* signal.c */
KARC_MUST_CHECK int signal_types_register(struct proc_state *p);

/* sched.c */
void sched_init(struct machine *m);
void sched_enter_task(struct task_struct *task);	/* the running fiber becomes @task's */
void sched_leave_task(struct task_struct *task);	/* and idle's again */
/* The current task goes on in @mm, of which it becomes a user; what it had or borrowed it puts. */
void exec_mmap(struct task_struct *task, KARC_TAKES struct mm_struct *mm);
/* Idle CPUs give up the spaces they kept loaded: how many. Context: may sleep. */
unsigned long sched_drop_lazy_mms(struct machine *m);

#endif
