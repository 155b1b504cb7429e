/* SPDX-License-Identifier: MIT */
/*
 * fork.c - copy_process(): everything is reserved before anything shows
 *
 * What it is
 *	A child is built in the order files, fs, handlers, signal, mm, pid, pidfd; each step can
 *	fail, and failing undoes the steps before it by putting the half-made task, whose destructor
 *	does the rest. task_link() is the commit.
 *
 * Life
 *	task_alloc (one reference) - parts - task_link (visible, one more) - the caller's, one more
 *
 * Worst case
 *	copy_process() costs what copying the space costs; the rest is constant.
 *
 * Unlike Linux
 *	Namespaces and cgroups answer -ENOSYS. CLONE_SYSVSEM, IO, PTRACE, UNTRACED and DETACHED are
 *	accepted and change nothing that karc keeps. A thread's stack pointer is kept and not looked
 *	at. RLIMIT_NPROC counts all tasks of the machine: there is one user.
 */
#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/hw/completion.h>
#include <karc/hw/trace.h>
#include <karc/mm/space/dup.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/uaccess.h>
#include <karc/proc/files.h>
#include <karc/proc/fork.h>
#include <karc/proc/fs.h>
#include <karc/proc/pidfd.h>
#include <karc/proc/sched.h>
#include <karc/proc/signal.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include "internal.h"

#define CLONE_BUILT	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_PIDFD |	\
			 CLONE_PTRACE | CLONE_VFORK | CLONE_PARENT | CLONE_THREAD |		\
			 CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |			\
			 CLONE_CHILD_CLEARTID | CLONE_DETACHED | CLONE_UNTRACED |		\
			 CLONE_CHILD_SETTID | CLONE_IO | CLONE_CLEAR_SIGHAND)

/* What clone3 knows; CLONE_DETACHED is of the old clone only. */
#define CLONE3_FLAGS	(((u64)0xffffff00 & ~(u64)CLONE_DETACHED) | CLONE_NEWTIME |		\
			 CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP)

#define UNSHARE_FLAGS	((u64)(CLONE_THREAD | CLONE_FS | CLONE_NEWNS | CLONE_SIGHAND |		\
			       CLONE_VM | CLONE_FILES | CLONE_SYSVSEM | CLONE_NEWUTS |		\
			       CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUSER | CLONE_NEWPID |	\
			       CLONE_NEWCGROUP | CLONE_NEWTIME))

/* ---- flags ---- */

const char *clone_flag_unbuilt(u64 flags)
{
	static const struct {
		u64 flag;
		const char *name;
	} unbuilt[] = {
		{ CLONE_NEWNS, "CLONE_NEWNS" },
		{ CLONE_NEWCGROUP, "CLONE_NEWCGROUP" },
		{ CLONE_NEWUTS, "CLONE_NEWUTS" },
		{ CLONE_NEWIPC, "CLONE_NEWIPC" },
		{ CLONE_NEWUSER, "CLONE_NEWUSER" },
		{ CLONE_NEWPID, "CLONE_NEWPID" },
		{ CLONE_NEWNET, "CLONE_NEWNET" },
		{ CLONE_NEWTIME, "CLONE_NEWTIME" },
		{ CLONE_INTO_CGROUP, "CLONE_INTO_CGROUP" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(unbuilt); i++)
		if (flags & unbuilt[i].flag)
			return unbuilt[i].name;
	return NULL;
}

/* What Linux refuses about a thread, or about what a thread needs. */
static int clone_thread_check(u64 flags)
{
	if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND))
		return -EINVAL;
	if ((flags & CLONE_SIGHAND) && (!(flags & CLONE_VM) || (flags & CLONE_CLEAR_SIGHAND)))
		return -EINVAL;
	if ((flags & CLONE_THREAD) && (flags & (CLONE_NEWUSER | CLONE_NEWPID)))
		return -EINVAL;
	if ((flags & CLONE_PIDFD) && (flags & (CLONE_DETACHED | CLONE_THREAD)))
		return -EINVAL;
	return 0;
}

/* What Linux refuses first, then what is not built. */
static int clone_flags_check(const struct kernel_clone_args *args,
			     const struct task_struct *parent)
{
	u64 flags = args->flags;
	const char *unbuilt = clone_flag_unbuilt(flags);
	int err;

	if (flags & KARC_CSIGNAL & ~(u64)CLONE_NEWTIME)
		return -EINVAL;
	if ((flags & CLONE_FS) && (flags & (CLONE_NEWNS | CLONE_NEWUSER)))
		return -EINVAL;
	err = clone_thread_check(flags);
	if (err)
		return err;
	if ((flags & CLONE_PIDFD) && (flags & CLONE_PARENT_SETTID) &&
	    args->pidfd == args->parent_tid)
		return -EINVAL;
	if ((flags & CLONE_PARENT) && (!parent->signal || parent->signal->unkillable))
		return -EINVAL;
	if ((flags & CLONE_THREAD) && !parent->signal)
		return -EINVAL;
	if (unbuilt)
		pr_info("clone: %s is not built\n", unbuilt);
	return flags & ~CLONE_BUILT ? -ENOSYS : 0;
}

int clone3_args_check(const struct kernel_clone_args *args)
{
	u64 flags = args->flags;

	if ((flags & ~CLONE3_FLAGS) || (flags & CLONE_DETACHED))
		return -EINVAL;
	if ((flags & CLONE_SIGHAND) && (flags & CLONE_CLEAR_SIGHAND))
		return -EINVAL;
	if ((flags & (CLONE_THREAD | CLONE_PARENT)) && args->exit_signal)
		return -EINVAL;
	if (args->exit_signal < 0 || args->exit_signal > KARC_NSIG)
		return -EINVAL;
	if (!args->stack != !args->stack_size)
		return -EINVAL;
	if (args->stack && !access_ok((void __user *)args->stack, args->stack_size))
		return -EINVAL;
	return 0;
}

/* ---- the parts ---- */

static int copy_files(struct task_struct *child, struct task_struct *parent, u64 flags)
{
	if (!parent->files)
		return 0;
	if (flags & CLONE_FILES) {
		child->files = files_get(parent->files);
		return 0;
	}
	child->files = dup_fd_site(parent->files, child->arc.site);
	return child->files ? 0 : -ENOMEM;
}

static int copy_fs(struct task_struct *child, struct task_struct *parent, u64 flags)
{
	if (!parent->fs)
		return 0;
	if (flags & CLONE_FS) {
		arc_get(&parent->fs->arc);
		child->fs = parent->fs;
		return 0;
	}
	child->fs = fs_alloc_site(READ_ONCE(parent->fs->umask), child->arc.site);
	return child->fs ? 0 : -ENOMEM;
}

static int copy_sighand(struct task_struct *child, struct task_struct *parent, u64 flags)
{
	if (flags & CLONE_SIGHAND && parent->sighand) {
		arc_get(&parent->sighand->arc);
		child->sighand = parent->sighand;
		return 0;
	}
	child->sighand = sighand_alloc_site(child->arc.site);
	if (!child->sighand)
		return -ENOMEM;
	sighand_inherit(child->sighand, parent->sighand, flags & CLONE_CLEAR_SIGHAND);
	return 0;
}

static int copy_signal(struct task_struct *child, struct task_struct *parent, u64 flags)
{
	if (flags & CLONE_THREAD) {
		arc_get(&parent->signal->arc);
		child->signal = parent->signal;
		return 0;
	}
	child->signal = signal_alloc_site(child->arc.site);
	if (!child->signal)
		return -ENOMEM;
	if (parent->signal) {
		spin_lock(&parent->sighand->siglock);
		signal_inherit(child->signal, parent->signal);
		spin_unlock(&parent->sighand->siglock);
	}
	return 0;
}

static int copy_mm(struct task_struct *child, struct task_struct *parent, u64 flags)
{
	if (!parent->mm)
		return 0;
	child->mm = flags & CLONE_VM ? mmget(parent->mm) :
		    dup_mm_site(parent->mm, child->arc.site);
	return child->mm ? 0 : -ENOMEM;
}

static int copy_pid(struct task_struct *child, pid_t want)
{
	struct pid *pid = alloc_pid_site(want, child->arc.site);

	if (IS_ERR(pid))
		return (int)PTR_ERR(pid);
	child->thread_pid = pid;
	return 0;
}

/* The descriptor is there for the parent's other threads before the child is, as in Linux. */
static int copy_pidfd(struct task_struct *child, struct task_struct *parent,
		      const struct kernel_clone_args *args, int *fd)
{
	struct file *file;

	if (!(args->flags & CLONE_PIDFD))
		return 0;
	if (!parent->files)
		return -EINVAL;
	file = pidfd_file_site(child->thread_pid, O_RDWR, child->arc.site);
	if (IS_ERR(file))
		return (int)PTR_ERR(file);
	*fd = fd_alloc_install(parent->files, 0, file, true);
	if (*fd < 0)
		return *fd;
	if (put_user(*fd, args->pidfd)) {
		close_fd_of(parent->files, (unsigned int)*fd);
		*fd = -1;
		return -EFAULT;
	}
	return 0;
}

static int copy_parts(struct task_struct *child, struct task_struct *parent,
		      const struct kernel_clone_args *args, int *fd)
{
	int err = copy_files(child, parent, args->flags);

	if (!err)
		err = copy_fs(child, parent, args->flags);
	if (!err)
		err = copy_sighand(child, parent, args->flags);
	if (!err)
		err = copy_signal(child, parent, args->flags);
	if (!err)
		err = copy_mm(child, parent, args->flags);
	if (!err)
		err = copy_pid(child, args->want_pid);
	if (!err)
		err = copy_pidfd(child, parent, args, fd);
	return err;
}

static int exit_signal_of(const struct task_struct *parent, const struct kernel_clone_args *args)
{
	if (args->flags & CLONE_THREAD)
		return -1;
	return args->flags & CLONE_PARENT ? parent->group_leader->exit_signal : args->exit_signal;
}

/* What is plain values. */
static void copy_settings(struct task_struct *child, const struct task_struct *parent,
			  const struct kernel_clone_args *args)
{
	bool old_ids = args->flags & (CLONE_PARENT | CLONE_THREAD);

	child->flags = PF_FORKNOEXEC;
	child->exit_signal = exit_signal_of(parent, args);
	child->cpu = READ_ONCE(parent->cpu);
	child->no_new_privs = parent->no_new_privs;
	child->personality = parent->personality;
	child->self_exec_id = parent->self_exec_id;
	child->parent_exec_id = old_ids ? parent->parent_exec_id : parent->self_exec_id;
	child->thread.fsbase = args->flags & CLONE_SETTLS ? args->tls : parent->thread.fsbase;
	child->thread.gsbase = parent->thread.gsbase;
	child->thread.stack = args->stack ? args->stack + args->stack_size : parent->thread.stack;
	child->set_child_tid = args->flags & CLONE_CHILD_SETTID ? args->child_tid : NULL;
	child->clear_child_tid = args->flags & CLONE_CHILD_CLEARTID ? args->child_tid : NULL;
	child->vfork_pending = args->flags & CLONE_VFORK;
}

/* Undo of a child that never ran: it has no index entry and no CPU; its drop puts the rest. */
static void child_abandon(KARC_TAKES struct task_struct *child, struct task_struct *parent, int fd)
{
	if (fd >= 0)
		close_fd_of(parent->files, (unsigned int)fd);
	mmput(child->mm);
	child->mm = NULL;
	put_task_struct(child);
}

static int copy_allowed(const struct kernel_clone_args *args, struct task_struct *parent)
{
	int err = clone_flags_check(args, parent);

	if (err)
		return err;
	if (args->exit_signal < 0 || args->exit_signal > (int)KARC_CSIGNAL)
		return -EINVAL;
	if (fatal_signal_pending(parent))
		return -EINTR;
	if (machine_nr_tasks(this_machine()) >= rlimit(RLIMIT_NPROC) && !task_capable(parent))
		return -EAGAIN;
	return 0;
}

struct task_struct *KARC_BODY(copy_process_site)(const struct kernel_clone_args *args,
						  const struct site *site)
{
	struct task_struct *parent = current;
	struct task_struct *child;
	int err = copy_allowed(args, parent);
	int fd = -1;

	might_sleep();
	if (err)
		return ERR_PTR(err);
	child = task_alloc(parent->comm, site);
	if (!child)
		return ERR_PTR(-ENOMEM);
	copy_settings(child, parent, args);
	err = copy_parts(child, parent, args, &fd);
	if (err)
		goto abandon;
	task_hand_parts(child);
	get_task_struct_site(child, site);	/* the caller's, before anybody else sees it */
	err = task_link(child, parent, args->flags);
	if (err)
		goto abandon;		/* with the caller's */
	trace_step("copy_process", "%d -> %d", parent->pid, child->pid);
	if ((args->flags & CLONE_PARENT_SETTID) && put_user(child->pid, args->parent_tid))
		pr_debug("the new task's number was not written\n");
	return child;
abandon:
	child_abandon(child, parent, fd);
	return ERR_PTR(err);
}

/* ---- vfork ---- */

bool vfork_pending(struct task_struct *child)
{
	bool pending;

	task_lock(child);
	pending = child->vfork_pending;
	task_unlock(child);
	return pending;
}

/* Until the child has left the memory; a kill ends the wait, and the child goes on alone. */
static void wait_for_vfork_done(struct task_struct *child)
{
	DECLARE_COMPLETION_ONSTACK(done);
	bool pending;

	task_lock(child);
	pending = child->vfork_pending;
	if (pending)
		child->vfork_done = &done;
	task_unlock(child);
	if (!pending || !wait_for_completion_killable(&done))
		return;
	task_lock(child);
	child->vfork_done = NULL;
	task_unlock(child);
}

pid_t kernel_clone_site(const struct kernel_clone_args *args, const struct site *site)
{
	struct task_struct *child = copy_process_site(args, site);
	pid_t pid;

	if (IS_ERR(child))
		return (pid_t)PTR_ERR(child);
	pid = child->pid;
	if (args->flags & CLONE_VFORK)
		wait_for_vfork_done(child);
	put_task_struct(child);
	return pid;
}

/* ---- unshare ---- */

/* Threads, handlers and memory cannot be taken apart: the question is whether they are alone. */
static int unshare_check(u64 flags, struct task_struct *task)
{
	struct proc_state *p = proc_state();
	const char *unbuilt = clone_flag_unbuilt(flags);
	bool alone = true;

	if (flags & ~UNSHARE_FLAGS)
		return -EINVAL;
	spin_lock(&p->tasklist_lock);
	if (flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM))
		alone = thread_group_empty(task);
	if (flags & (CLONE_SIGHAND | CLONE_VM))
		alone = alone && task->sighand->users == 1;
	spin_unlock(&p->tasklist_lock);
	if ((flags & CLONE_VM) && task->mm && mm_users(task->mm) > 1)
		alone = false;
	if (!alone)
		return -EINVAL;
	if (unbuilt)
		pr_info("unshare: %s is not built\n", unbuilt);
	return unbuilt ? -ENOSYS : 0;
}

int ksys_unshare(u64 flags)
{
	struct task_struct *task = current;
	struct files_struct *files = NULL;
	struct fs_struct *fs = NULL;
	int err = unshare_check(flags, task);

	might_sleep();
	if (err)
		return err;
	if ((flags & CLONE_FS) && task->fs) {
		fs = fs_alloc(READ_ONCE(task->fs->umask));
		if (!fs)
			return -ENOMEM;
	}
	if ((flags & CLONE_FILES) && task->files && files_shared(task->files)) {
		files = dup_fd(task->files);
		if (!files) {
			put_fs_struct(fs);
			return -ENOMEM;
		}
	}
	task_lock(task);
	if (fs) {
		swap(task->fs, fs);
		arc_hand_to_field(&task->fs->arc, &task->arc, "fs");
		arc_hand_from_field(&fs->arc, &task->arc, "fs");
	}
	if (files) {
		swap(task->files, files);
		arc_hand_to_field(files_arc(task->files), &task->arc, "files");
		arc_hand_from_field(files_arc(files), &task->arc, "files");
	}
	task_unlock(task);
	put_files_struct(files);
	put_fs_struct(fs);
	return 0;
}
