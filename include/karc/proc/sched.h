/* SPDX-License-Identifier: MIT */
/*
 * sched.h - tasks on CPUs
 */
#ifndef KARC_PROC_SCHED_H
#define KARC_PROC_SCHED_H

#include <karc/proc/task.h>

/**
 * set_current_state - what the running task is about to sleep for
 * @state: TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE ..., or TASK_RUNNING: not at all
 *
 * Then test the condition, then schedule(): a wake_up_process() in between is not lost.
 * Order:   a full barrier behind the store, so that the condition is read later.
 * Context: a task, or the host fiber. Model: Linux 6.1.
 */
#define set_current_state(state) karc_set_task_state(state)
#define __set_current_state(state) karc_set_task_state(state)
void karc_set_task_state(unsigned int state);

/**
 * schedule - give up the CPU
 *
 * In state TASK_RUNNING the task stays runnable; in another one, or after prepare_to_wait(), it
 * sleeps until it is woken. In state TASK_RUNNING on return.
 * Context: a task or the host fiber, may sleep.
 * Model:   Linux 6.1 schedule().
 */
void schedule(void);

/* Make a sleeping task runnable: 1 if its state said that it sleeps, else 0. Context: any. */
int wake_up_process(struct task_struct *task);

/**
 * migrate_task_to - move a task to CPU @cpu
 *
 * The current task goes on there; any other one runs its next call there.
 * Context: may sleep. Errors: -EINVAL: no such CPU; -EBUSY: another task that is inside a call.
 */
int migrate_task_to(struct task_struct *task, unsigned int cpu);

/* How many processes and threads there are, zombies included and idle tasks not. */
unsigned long machine_nr_tasks(struct machine *m);

#endif
