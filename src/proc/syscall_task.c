/* SPDX-License-Identifier: MIT */
/*
 * syscall_task.c - entry points about tasks, processes, groups and limits
 */
#include <karc/base/err.h>
#include <karc/mm/cache/file.h>
#include <karc/proc/exit.h>
#include <karc/proc/files.h>
#include <karc/proc/fork.h>
#include <karc/proc/fs.h>
#include <karc/proc/futex.h>
#include <karc/proc/group.h>
#include <karc/proc/pidfd.h>
#include <karc/proc/signal.h>
#include <karc/proc/syscall.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include "internal.h"

/* ---- making tasks ---- */

long sys_fork_site(const struct site *site)
{
	const struct kernel_clone_args args = { .exit_signal = SIGCHLD };

	return kernel_clone_site(&args, site);
}

long sys_vfork_site(const struct site *site)
{
	const struct kernel_clone_args args = {
		.flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD,
	};

	return kernel_clone_site(&args, site);
}

long sys_clone_site(unsigned long flags, unsigned long stack, int __user *parent_tid,
		    int __user *child_tid, unsigned long tls, const struct site *site)
{
	const struct kernel_clone_args args = {
		.flags = (u32)flags & ~KARC_CSIGNAL,
		.exit_signal = (int)(flags & KARC_CSIGNAL),
		.pidfd = parent_tid, .parent_tid = parent_tid, .child_tid = child_tid,
		.stack = stack, .tls = tls,
	};

	return kernel_clone_site(&args, site);
}

long sys_clone3_site(const struct kernel_clone_args *args, const struct site *site)
{
	int err = clone3_args_check(args);

	return err ? err : kernel_clone_site(args, site);
}

long sys_unshare(unsigned long flags)
{
	return ksys_unshare(flags);
}

/* ---- ending them, and waiting for that ---- */

void sys_exit(int code)
{
	do_exit((code & 0xff) << 8);
}

void sys_exit_group(int code)
{
	do_group_exit((code & 0xff) << 8);
}

long sys_wait4(pid_t pid, int *status, int options)
{
	return kernel_wait4(pid, status, options);
}

long sys_waitid(int which, pid_t upid, struct waitid_info *info, int options)
{
	return kernel_waitid(which, upid, info, options);
}

long sys_futex(u32 __user *uaddr, int op, u32 val, u64 timeout_ns, u32 bitset)
{
	return do_futex(uaddr, op, val, timeout_ns, bitset);
}

/* ---- who is who ---- */

long sys_getpid(void)
{
	return current->tgid;
}

long sys_gettid(void)
{
	return current->pid;
}

long sys_getppid(void)
{
	struct proc_state *p = proc_state();
	pid_t nr;

	spin_lock(&p->tasklist_lock);
	nr = current->real_parent ? current->real_parent->tgid : 0;
	spin_unlock(&p->tasklist_lock);
	return nr;
}

long sys_set_tid_address(int __user *tidptr)
{
	current->clear_child_tid = tidptr;
	return current->pid;
}

long sys_setpgid(pid_t pid, pid_t pgid)
{
	return ksys_setpgid(pid, pgid);
}

long sys_getpgid(pid_t pid)
{
	return ksys_getpgid(pid);
}

long sys_getpgrp(void)
{
	return ksys_getpgid(0);
}

long sys_setsid(void)
{
	return ksys_setsid();
}

long sys_getsid(pid_t pid)
{
	return ksys_getsid(pid);
}

/* ---- signals ---- */

long sys_rt_sigaction(int signo, const struct signal_action *act, struct signal_action *old)
{
	return do_sigaction(signo, act, old);
}

static long kill_one(pid_t pid, int signo)
{
	struct task_struct *task = find_get_task_by_vpid(pid);
	long err;

	if (!task)
		return -ESRCH;
	err = kill_task(task, signo);
	put_task_struct(task);
	return err;
}

/* Everybody but init and the caller's own process. */
static long kill_all(int signo)
{
	struct proc_state *p = proc_state();
	struct task_struct *task;
	long err = -ESRCH;

	spin_lock(&p->tasklist_lock);
	list_for_each_entry(task, &p->tasks, tasks) {
		if (task->signal->unkillable || same_thread_group(task, current))
			continue;
		spin_lock(&task->sighand->siglock);
		err = signo ? send_signal_locked(task, signo, true) : 0;
		spin_unlock(&task->sighand->siglock);
	}
	spin_unlock(&p->tasklist_lock);
	doomed_run();
	return err;
}

long sys_kill(pid_t pid, int signo)
{
	if (signo < 0 || signo > KARC_NSIG)
		return -EINVAL;
	if (pid > 0)
		return kill_one(pid, signo);
	if (pid == -1)
		return kill_all(signo);
	if (pid == INT_MIN)
		return -ESRCH;
	return kill_pgrp(pid ? -pid : ksys_getpgid(0), signo);
}

/* @tgid 0: whatever process the thread is of. */
static long kill_one_thread(pid_t tgid, pid_t pid, int signo)
{
	struct task_struct *task = find_get_task_by_vpid(pid);
	long err = -ESRCH;

	if (task && (!tgid || task->tgid == tgid))
		err = kill_thread(task, signo);
	put_task_struct(task);
	return err;
}

long sys_tkill(pid_t pid, int signo)
{
	return pid <= 0 ? -EINVAL : kill_one_thread(0, pid, signo);
}

long sys_tgkill(pid_t tgid, pid_t pid, int signo)
{
	return pid <= 0 || tgid <= 0 ? -EINVAL : kill_one_thread(tgid, pid, signo);
}

/* ---- pidfds ---- */

/* The task that has @pid as its number now, with a reference, or NULL. */
static struct task_struct *get_pid_task(struct pid *pid)
{
	struct proc_state *p = proc_state();
	struct task_struct *task = NULL;
	unsigned long flags;

	spin_lock_irqsave(&p->pid_lock, flags);
	if (pid->task && arc_tryget(&pid->task->arc))
		task = pid->task;
	spin_unlock_irqrestore(&p->pid_lock, flags);
	return task;
}

static long pidfd_install(struct pid *pid, unsigned int flags)
{
	struct file *file = pidfd_file(pid, O_RDWR | flags);

	if (IS_ERR(file))
		return PTR_ERR(file);
	return fd_alloc_install(current->files, 0, file, true);
}

long sys_pidfd_open(pid_t nr, unsigned int flags)
{
	struct task_struct *task;
	struct pid *pid;
	long ret = -EINVAL;

	if ((flags & ~(unsigned int)O_NONBLOCK) || nr <= 0)
		return -EINVAL;
	pid = find_get_pid(nr);
	if (!pid)
		return -ESRCH;
	task = get_pid_task(pid);
	if (task && thread_group_leader(task))
		ret = pidfd_install(pid, flags);
	put_task_struct(task);
	put_pid(pid);
	return ret;
}

long sys_pidfd_send_signal(int fd, int signo, unsigned int flags)
{
	struct task_struct *task;
	struct pid *pid;
	long err = -ESRCH;

	if (flags)
		return -EINVAL;
	pid = fd < 0 ? ERR_PTR(-EBADF) : pidfd_get_pid((unsigned int)fd);
	if (IS_ERR(pid))
		return PTR_ERR(pid);
	task = get_pid_task(pid);
	if (task)
		err = kill_task(task, signo);
	put_task_struct(task);
	put_pid(pid);
	return err;
}

/* A file of another task: its table may be given up any time, so it is held for the look. */
static struct file *fget_task(struct task_struct *task, unsigned int fd)
{
	struct files_struct *files;
	struct file *file;

	task_lock(task);
	files = task->files ? files_get(task->files) : NULL;
	task_unlock(task);
	if (!files)
		return NULL;
	file = fget_files(files, fd);
	put_files_struct(files);
	return file;
}

long sys_pidfd_getfd(int pidfd, int fd, unsigned int flags)
{
	struct task_struct *task;
	struct file *file = NULL;
	struct pid *pid;

	if (flags)
		return -EINVAL;
	pid = pidfd < 0 ? ERR_PTR(-EBADF) : pidfd_get_pid((unsigned int)pidfd);
	if (IS_ERR(pid))
		return PTR_ERR(pid);
	task = get_pid_task(pid);
	put_pid(pid);
	if (!task)
		return -ESRCH;
	if (fd >= 0)
		file = fget_task(task, (unsigned int)fd);
	put_task_struct(task);
	return file ? fd_alloc_install(current->files, 0, file, true) : -EBADF;
}

/* ---- limits, umask ---- */

long sys_prlimit64(pid_t pid, unsigned int which, const struct task_rlimit *set,
		   struct task_rlimit *old)
{
	struct task_struct *task = pid ? find_get_task_by_vpid(pid) : get_task_struct(current);
	long err;

	if (!task)
		return -ESRCH;
	err = do_prlimit(task, which, set, old);
	put_task_struct(task);
	return err;
}

long sys_getrlimit(unsigned int which, struct task_rlimit *old)
{
	return do_prlimit(current, which, NULL, old);
}

long sys_setrlimit(unsigned int which, const struct task_rlimit *set)
{
	return do_prlimit(current, which, set, NULL);
}

long sys_umask(unsigned int mask)
{
	return xchg(&current->fs->umask, mask & 0777);
}
