/* SPDX-License-Identifier: MIT */
/*
 * exit.h - the road of death
 *
 *   do_exit -> exit_signals -> exit_mm -> mmput (last user: __mmput -> exit_mmap) -> exit_files
 *   -> exit_notify (zombie, parent told) -> the last schedule -> finish_task_switch -> mmdrop
 *   (last: __mmdrop -> mm_free_pgd -> check_mm -> free_mm) and put_task_struct
 */
#ifndef KARC_PROC_EXIT_H
#define KARC_PROC_EXIT_H

#include <karc/proc/task.h>

/**
 * do_exit - end the current task; never returns
 * @code: a wait status: exit code << 8 | signal
 *
 * Context: a task, may sleep; no lock held. Model: Linux 6.1 do_exit().
 */
void do_exit(long code) __attribute__((noreturn));

/* End every thread of the current group. Never returns. Context: as do_exit(). */
void do_group_exit(int code) __attribute__((noreturn));

/**
 * make_task_dead - end the current task after a BUG or Oops in it; never returns
 * @signo: the signal that its parent is told
 *
 * A task that was exiting already goes no further: it stays behind, and shutdown reports it.
 * Context: a task, may sleep. Model: Linux 6.1 make_task_dead().
 */
void make_task_dead(int signo) __attribute__((noreturn));

/**
 * release_task - take a dead task out of every index
 * @task: whose exit_state the caller has set to EXIT_DEAD
 *
 * Takes:   the reference "visible by pid". Context: any but interrupts; takes tasklist_lock.
 */
void release_task(KARC_TAKES struct task_struct *task);

/* kernel_wait4()'s options that some libc headers lack */
#ifndef __WNOTHREAD
#define __WNOTHREAD	0x20000000
#endif
#ifndef __WALL
#define __WALL		0x40000000
#endif
#ifndef __WCLONE
#define __WCLONE	0x80000000
#endif

/**
 * kernel_wait4 - reap a child of current
 * @pid:     > 0 that child, -1 any
 * @status:  where the wait status goes, or NULL
 * @options: WNOHANG; WUNTRACED and WCONTINUED find nothing yet; __WCLONE: children whose exit
 *           signal is not SIGCHLD, __WALL: those too; __WNOTHREAD
 *
 * Context: a task, may sleep.
 * Returns: the pid reaped, 0 (WNOHANG: there are children, none dead), -ECHILD, -EINVAL, -ESRCH,
 *          -ENOSYS for process groups (pid 0 and below -1).
 * Model:   Linux 6.1 kernel_wait4().
 */
pid_t kernel_wait4(pid_t pid, int *status, int options);

#endif
