/* SPDX-License-Identifier: MIT */
/*
 * fork.h - making tasks: kernel_clone() and copy_process()
 */
#ifndef KARC_PROC_FORK_H
#define KARC_PROC_FORK_H

#include <karc/proc/task.h>
#include <sched.h>		/* CLONE_* under _GNU_SOURCE; else the same numbers follow */

#ifndef CLONE_VM
#define CLONE_VM		0x00000100
#define CLONE_FS		0x00000200
#define CLONE_FILES		0x00000400
#define CLONE_SIGHAND		0x00000800
#define CLONE_PTRACE		0x00002000
#define CLONE_VFORK		0x00004000
#define CLONE_PARENT		0x00008000
#define CLONE_THREAD		0x00010000
#define CLONE_NEWNS		0x00020000
#define CLONE_SYSVSEM		0x00040000
#define CLONE_SETTLS		0x00080000
#define CLONE_PARENT_SETTID	0x00100000
#define CLONE_CHILD_CLEARTID	0x00200000
#define CLONE_DETACHED		0x00400000
#define CLONE_UNTRACED		0x00800000
#define CLONE_CHILD_SETTID	0x01000000
#define CLONE_NEWUSER		0x10000000
#define CLONE_NEWPID		0x20000000
#define CLONE_IO		0x80000000
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD		0x00001000
#endif
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND	0x100000000ULL
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP	0x200000000ULL
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME		0x00000080
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP		0x02000000
#define CLONE_NEWUTS		0x04000000
#define CLONE_NEWIPC		0x08000000
#define CLONE_NEWNET		0x40000000
#endif

/* The low byte of the old clone's flags: the exit signal. */
#define KARC_CSIGNAL		0xffu

/* What pthread_create() of a common libc passes; for tests and scenarios. */
#define CLONE_PTHREAD	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
			 CLONE_SYSVSEM)

/**
 * struct kernel_clone_args - what a new task shares and how it ends
 * @flags:       CLONE_*, without a signal in the low byte
 * @exit_signal: SIGCHLD for what wait4() finds without __WCLONE; not used for threads
 * @stack, @stack_size: kept in child->thread.stack, their sum, and not looked at
 * @tls:         becomes child->thread.fsbase with CLONE_SETTLS
 * @pidfd:       CLONE_PIDFD: where the descriptor's number goes
 * @parent_tid:  CLONE_PARENT_SETTID: where the child's number goes in the parent's memory
 * @child_tid:   CLONE_CHILD_SETTID: the same in the child's, before it first runs;
 *               CLONE_CHILD_CLEARTID: where 0 is written, and a futex woken, when it ends
 * @want_pid:    > 0: this number; 0: the next free one
 */
struct kernel_clone_args {
	u64 flags;
	int exit_signal;
	unsigned long stack, stack_size, tls;
	int __user *pidfd, *parent_tid, *child_tid;
	pid_t want_pid;
};

/**
 * copy_process - a child of current, or a thread of its process, not yet running
 *
 * Does all that the system call does except waiting for a vfork child (wait_for_vfork_done()).
 * Gives:   a reference to the child (besides its own two); put_task_struct() ends it.
 * Context: a task (task_call), may sleep.
 * Errors:  ERR_PTR: -EINVAL for flag combinations Linux refuses and impossible pids, -EEXIST for a
 *          pid in use, -EAGAIN (RLIMIT_NPROC, no number left, or the group is ending or in execve),
 *          -ENOMEM, -EFAULT and -EMFILE for a pidfd, -ENOSYS for flags karc does not build
 *          (clone_flag_unbuilt() names them); everything is as before.
 * Model:   Linux 6.1 copy_process(), which does not give a reference.
 */
KARC_MUST_CHECK KARC_GIVES struct task_struct *
copy_process_site(const struct kernel_clone_args *args, const struct site *site);
#define copy_process(args) copy_process_site(args, SITE())

/**
 * kernel_clone - copy_process() without the reference: the child's pid, or -errno
 *
 * With CLONE_VFORK it returns when the child has called execve or ended; somebody else must drive
 * the child meanwhile. A kill ends the wait. Model: Linux 6.1 kernel_clone().
 */
pid_t kernel_clone_site(const struct kernel_clone_args *args, const struct site *site);
#define kernel_clone(args) kernel_clone_site(args, SITE())

/**
 * vfork_pending - has @child, made with CLONE_VFORK, its parent's memory still?
 *
 * For who drives tasks call by call and used copy_process(): while this is true the parent's call
 * would not have returned.
 */
bool vfork_pending(struct task_struct *child);

/* What clone3 checks before all others, given Linux's struct clone_args: -EINVAL or 0. */
int clone3_args_check(const struct kernel_clone_args *args);

/* The first flag in @flags that karc knows and does not build ("CLONE_NEWNET"), or NULL. */
const char *clone_flag_unbuilt(u64 flags);

/**
 * ksys_unshare - current gets its own copy of what it shares
 *
 * CLONE_FILES and CLONE_FS; CLONE_SYSVSEM has nothing to undo. CLONE_THREAD, CLONE_SIGHAND and
 * CLONE_VM ask whether it shares: 0 or -EINVAL.
 * Context: a task, may sleep. Errors: -EINVAL, -ENOMEM, -ENOSYS for CLONE_NEW*.
 */
int ksys_unshare(u64 flags);

#endif
