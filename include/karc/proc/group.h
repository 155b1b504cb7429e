/* SPDX-License-Identifier: MIT */
/*
 * group.h - process groups and sessions
 *
 * A process is in one group and one session, named by struct pids that it shares with the other
 * members. A new process is in its parent's; the first one has 0 for both, as before setsid().
 */
#ifndef KARC_PROC_GROUP_H
#define KARC_PROC_GROUP_H

#include <karc/proc/task.h>

/**
 * ksys_setpgid - put @pid (0: current's process) into group @pgid (0: @pid)
 *
 * Context: a task. Errors: as Linux: -EINVAL (@pgid < 0, a thread), -ESRCH (not the caller or its
 * child), -EPERM (session leader, other session, no such group there), -EACCES (the child has
 * called execve).
 */
int ksys_setpgid(pid_t pid, pid_t pgid);

pid_t ksys_getpgid(pid_t pid);		/* 0: current; -ESRCH */
pid_t ksys_getsid(pid_t pid);		/* 0: current; -ESRCH */

/* A new session and group with current's process in it: its number; -EPERM. */
pid_t ksys_setsid(void);

/* Number of the group, of the session; 0: none. Context: any. */
pid_t task_pgrp_nr(struct task_struct *task);
pid_t task_session_nr(struct task_struct *task);

/**
 * kill_pgrp - kill_task() for every process of group @pgrp
 * Returns: 0 when one was reached, else -ESRCH or the last error.
 */
int kill_pgrp(pid_t pgrp, int signo);

#endif
