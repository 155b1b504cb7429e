/* SPDX-License-Identifier: MIT */
/*
 * fork.c - copy_process(): everything is reserved before anything shows
 *
 * What it is
 *	A child is built in the order files, signal, mm, pid; each step can fail, and failing undoes
 *	the steps before it by putting the half-made task, whose destructor does the rest.
 *	task_link() is the commit.
 *
 * Life
 *	task_alloc (one reference) - parts - task_link (visible, one more) - the caller's, one more
 *
 * Unlike Linux
 *	CLONE_THREAD and CLONE_SIGHAND answer -ENOSYS so far, as do namespaces and pidfds. CLONE_FS,
 *	SYSVSEM, IO, the TID and TLS flags and CLONE_CLEAR_SIGHAND are accepted and change nothing
 *	that karc keeps: no thread id is written to memory. CLONE_VFORK does not make the parent
 *	wait: who drives the tasks decides when it goes on.
 */
#include <karc/base/err.h>
#include <karc/hw/trace.h>
#include <karc/mm/space/dup.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/files.h>
#include <karc/proc/fork.h>
#include <karc/proc/signal.h>
#include <signal.h>
#include "internal.h"

#define CLONE_BUILT	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_PTRACE | CLONE_VFORK |	\
			 CLONE_PARENT | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |	\
			 CLONE_CHILD_CLEARTID | CLONE_DETACHED | CLONE_UNTRACED |		\
			 CLONE_CHILD_SETTID | CLONE_IO | CLONE_CLEAR_SIGHAND)

#define CLONE_SIGNAL_BITS	0x7fu	/* the old system call's exit signal; see exit_signal */

/* What Linux refuses first, then what is not built. */
static int clone_flags_check(u64 flags, const struct task_struct *parent)
{
	if (flags & CLONE_SIGNAL_BITS)
		return -EINVAL;
	if ((flags & CLONE_FS) && (flags & (CLONE_NEWNS | CLONE_NEWUSER)))
		return -EINVAL;
	if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND))
		return -EINVAL;
	if ((flags & CLONE_SIGHAND) && (!(flags & CLONE_VM) || (flags & CLONE_CLEAR_SIGHAND)))
		return -EINVAL;
	if ((flags & CLONE_THREAD) && (flags & (CLONE_NEWUSER | CLONE_NEWPID)))
		return -EINVAL;
	if ((flags & CLONE_PIDFD) && (flags & (CLONE_DETACHED | CLONE_THREAD)))
		return -EINVAL;
	if ((flags & CLONE_PARENT) && parent == proc_state()->init)
		return -EINVAL;
	return flags & ~CLONE_BUILT ? -ENOSYS : 0;
}

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

static int copy_mm(struct task_struct *child, struct task_struct *parent, u64 flags)
{
	if (!parent->mm)
		return 0;
	child->mm = flags & CLONE_VM ? mmget(parent->mm) :
		    dup_mm_site(parent->mm, child->arc.site);
	return child->mm ? 0 : -ENOMEM;
}

static int copy_signal(struct task_struct *child)
{
	child->signal = signal_alloc_site(child->arc.site);
	return child->signal ? 0 : -ENOMEM;
}

static int copy_pid(struct task_struct *child, pid_t want)
{
	struct pid *pid = alloc_pid_site(want, child->arc.site);

	if (IS_ERR(pid))
		return (int)PTR_ERR(pid);
	child->thread_pid = pid;
	return 0;
}

static int copy_parts(struct task_struct *child, struct task_struct *parent,
		      const struct kernel_clone_args *args)
{
	int err = copy_files(child, parent, args->flags);

	if (!err)
		err = copy_signal(child);
	if (!err)
		err = copy_mm(child, parent, args->flags);
	if (!err)
		err = copy_pid(child, args->want_pid);
	return err;
}

/* Undo of a child that never ran: it has no index entry and no CPU; its drop puts the rest. */
static void child_abandon(KARC_TAKES struct task_struct *child)
{
	mmput(child->mm);
	child->mm = NULL;
	put_task_struct(child);
}

struct task_struct *KARC_BODY(copy_process_site)(const struct kernel_clone_args *args,
						  const struct site *site)
{
	struct task_struct *parent = current;
	bool as_sibling = args->flags & CLONE_PARENT;
	struct task_struct *child;
	int err = clone_flags_check(args->flags, parent);

	might_sleep();
	if (args->exit_signal < 0 || args->exit_signal >= NSIG)
		err = -EINVAL;
	if (err)
		return ERR_PTR(err);
	child = task_alloc(parent->comm, site);
	if (!child)
		return ERR_PTR(-ENOMEM);
	child->exit_signal = as_sibling ? parent->exit_signal : args->exit_signal;
	child->cpu = parent->cpu;
	err = copy_parts(child, parent, args);
	if (err) {
		child_abandon(child);
		return ERR_PTR(err);
	}
	get_task_struct(child);		/* the caller's, before anybody else sees it */
	task_link(child, parent, as_sibling);
	trace_step("copy_process", "%d -> %d", parent->pid, child->pid);
	return child;
}

pid_t kernel_clone_site(const struct kernel_clone_args *args, const struct site *site)
{
	struct task_struct *child = copy_process_site(args, site);
	pid_t pid;

	if (IS_ERR(child))
		return (pid_t)PTR_ERR(child);
	pid = child->pid;
	put_task_struct(child);
	return pid;
}
