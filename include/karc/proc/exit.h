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

/**
 * do_group_exit - end every thread of the current group; never returns
 *
 * The others end as kill_task() has it: those in user mode before this one does. When the group is
 * ending already, or one of its threads is in execve, the code is that one's.
 * Context: as do_exit().
 */
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

/* Options that some libc headers lack */
#ifndef __WNOTHREAD
#define __WNOTHREAD	0x20000000
#endif
#ifndef __WALL
#define __WALL		0x40000000
#endif
#ifndef __WCLONE
#define __WCLONE	0x80000000
#endif
#ifndef WNOWAIT
#define WNOWAIT		0x01000000
#endif

/**
 * kernel_wait4 - reap a child of current, or of a thread of its process
 * @pid:     > 0 that child, -1 any, 0 of the caller's process group, < -1 of process group -pid
 * @status:  where the wait status goes, or NULL
 * @options: WNOHANG; WUNTRACED and WCONTINUED find nothing; __WCLONE: children whose exit signal is
 *           not SIGCHLD, __WALL: those too; __WNOTHREAD: the caller's own children only
 *
 * Context: a task, may sleep.
 * Returns: the pid reaped, 0 (WNOHANG: there are children, none dead), -ECHILD, -EINVAL, -ESRCH,
 *          -ERESTARTSYS (a signal came).
 * Model:   Linux 6.1 kernel_wait4().
 */
pid_t kernel_wait4(pid_t pid, int *status, int options);

/* waitid()'s first argument; <sys/wait.h> has the same numbers as an enum. */
#define KARC_P_ALL	0
#define KARC_P_PID	1
#define KARC_P_PGID	2
#define KARC_P_PIDFD	3

/* What waitid() tells: pid 0 when nothing was found. @code: CLD_EXITED, CLD_KILLED, CLD_DUMPED. */
struct waitid_info {
	pid_t pid;
	int status;		/* exit code, or the signal */
	int code;
	int wait_status;	/* the same as wait4() has it */
};

/**
 * kernel_waitid - wait4() with a choice of what to wait for
 * @which:   KARC_P_*; @upid a pid, process group (0: the caller's) or pidfd
 * @info:    filled in, or NULL
 * @options: WEXITED, WSTOPPED, WCONTINUED (one at least), WNOHANG, WNOWAIT and wait4()'s __W*
 *
 * Returns: 0 (see @info->pid), -EINVAL, -ECHILD, -EBADF, -ERESTARTSYS.
 */
int kernel_waitid(int which, pid_t upid, struct waitid_info *info, int options);

#endif
