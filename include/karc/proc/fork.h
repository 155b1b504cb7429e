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

/**
 * struct kernel_clone_args - what a new task shares and how it ends
 * @flags:       CLONE_*, without a signal in the low byte
 * @exit_signal: SIGCHLD for what wait4() finds without __WCLONE
 * @stack, @stack_size, @tls: kept for nobody: karc runs no user code
 * @want_pid:    > 0: this number; 0: the next free one
 */
struct kernel_clone_args {
	u64 flags;
	int exit_signal;
	unsigned long stack, stack_size, tls;
	pid_t want_pid;
};

/**
 * copy_process - a child of current, not yet running
 *
 * Gives:   a reference to the child (besides its own two); put_task_struct() ends it.
 * Context: a task (task_call), may sleep.
 * Errors:  ERR_PTR: -EINVAL for flag combinations Linux refuses and impossible pids, -EEXIST for a
 *          pid in use, -EAGAIN, -ENOMEM, -ENOSYS for flags karc does not build; everything is as
 *          before.
 * Model:   Linux 6.1 copy_process(), which does not give a reference.
 */
KARC_MUST_CHECK KARC_GIVES struct task_struct *
copy_process_site(const struct kernel_clone_args *args, const struct site *site);
#define copy_process(args) copy_process_site(args, SITE())

/* copy_process() without the reference: the child's pid, or -errno. Linux's kernel_clone(). */
pid_t kernel_clone_site(const struct kernel_clone_args *args, const struct site *site);
#define kernel_clone(args) kernel_clone_site(args, SITE())

#endif
