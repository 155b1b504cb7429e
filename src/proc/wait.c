/* SPDX-License-Identifier: MIT */
/*
 * wait.c - reaping children
 *
 * A zombie belongs to whoever turns its exit_state to EXIT_DEAD under tasklist_lock, see exit.c.
 * The parent sleeps on its signal_struct's wait_chldexit, which every death of a child and every
 * adoption of a zombie wakes. The threads of a process wait for each other's children too, unless
 * __WNOTHREAD says no. A leader whose other threads go on is not ready, dead or not.
 *
 * Unlike Linux
 *	No stopped or continued children: WUNTRACED, WSTOPPED and WCONTINUED are accepted and find
 *	none. No resource usage is told.
 */
#include <karc/base/err.h>
#include <karc/hw/trace.h>
#include <karc/hw/wait.h>
#include <karc/proc/exit.h>
#include <karc/proc/group.h>
#include <karc/proc/pidfd.h>
#include <karc/proc/signal.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#include "internal.h"

#define WAIT_COMMON	((unsigned int)(WNOHANG | __WNOTHREAD | __WCLONE | __WALL))
#define WAIT4_OPTIONS	(WAIT_COMMON | WUNTRACED | WCONTINUED)
#define WAITID_OPTIONS	(WAIT_COMMON | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED)

struct wait_opts {
	enum pid_type type;		/* PIDTYPE_MAX: any child */
	struct pid *pid;		/* owned, or NULL: nothing has that number */
	unsigned int options;
	bool found;
	struct task_struct *claimed;	/* a zombie, now EXIT_DEAD and ours */
	pid_t pid_nr;			/* of what was found */
	int status;
	bool any;			/* there is a child that could die yet */
};

static bool eligible_pid(const struct wait_opts *wo, const struct task_struct *child)
{
	if (wo->type == PIDTYPE_MAX)
		return true;
	if (wo->type == PIDTYPE_PGID)
		return wo->pid && child->signal->pgrp == wo->pid;
	return wo->pid && child->thread_pid == wo->pid;
}

static bool eligible_child(const struct wait_opts *wo, const struct task_struct *child)
{
	bool clone = child->exit_signal != SIGCHLD;

	if (child->exit_state == EXIT_DEAD || !eligible_pid(wo, child))
		return false;
	return (wo->options & __WALL) || clone == !!(wo->options & __WCLONE);
}

/* True: this one it is. */
static bool wait_consider(struct wait_opts *wo, struct task_struct *child)
{
	if (!eligible_child(wo, child))
		return false;
	if (child->exit_state != EXIT_ZOMBIE || !thread_group_empty(child)) {
		wo->any = true;
		return false;
	}
	if (!(wo->options & WEXITED))
		return false;
	wo->any = wo->found = true;
	wo->pid_nr = child->pid;
	wo->status = task_wait_status(child);
	if (!(wo->options & WNOWAIT)) {
		WRITE_ONCE(child->exit_state, EXIT_DEAD);
		wo->claimed = child;
	}
	return true;
}

static bool wait_thread(struct wait_opts *wo, struct task_struct *parent)
{
	struct task_struct *child;

	list_for_each_entry(child, &parent->children, sibling)
		if (wait_consider(wo, child))
			return true;
	return false;
}

/* One look at the children: claim the first zombie that fits. True: no use in waiting. */
static bool wait_look(struct task_struct *parent, struct wait_opts *wo)
{
	struct proc_state *p = proc_state();
	struct task_struct *thread;

	wo->any = false;
	spin_lock(&p->tasklist_lock);
	if (!wait_thread(wo, parent) && !(wo->options & __WNOTHREAD)) {
		list_for_each_entry(thread, &parent->signal->threads, thread_node)
			if (thread != parent && wait_thread(wo, thread))
				break;
	}
	spin_unlock(&p->tasklist_lock);
	return wo->found || !wo->any;
}

/* Takes wo->pid. 1: found; 0: none is dead (WNOHANG); -ECHILD, -ERESTARTSYS. */
static int do_wait(struct wait_opts *wo)
{
	struct task_struct *parent = current;
	int err = 0;

	might_sleep();
	if (!parent->signal)		/* idle: its children reap themselves */
		wo->any = false;
	else if (wo->options & WNOHANG)
		wait_look(parent, wo);
	else
		err = wait_event_interruptible(parent->signal->wait_chldexit,
					       wait_look(parent, wo));
	put_pid(wo->pid);
	if (wo->claimed) {
		trace_step("wait4", "%d reaps %d, status 0x%x", parent->pid, wo->pid_nr,
			   wo->status);
		release_task(wo->claimed);
	}
	if (wo->found)
		return 1;
	return err ? err : wo->any ? 0 : -ECHILD;
}

/* The caller's process group, counted; or NULL. */
static struct pid *own_pgrp(void)
{
	struct proc_state *p = proc_state();
	struct signal_struct *sig = current->signal;
	struct pid *pid;

	spin_lock(&p->tasklist_lock);
	pid = sig ? get_pid(sig->pgrp) : NULL;
	spin_unlock(&p->tasklist_lock);
	return pid;
}

pid_t kernel_wait4(pid_t pid, int *status, int options)
{
	struct wait_opts wo = { .options = (unsigned int)options | WEXITED };
	int ret;

	if ((unsigned int)options & ~WAIT4_OPTIONS)
		return -EINVAL;
	if (pid == INT_MIN)
		return -ESRCH;
	wo.type = pid == -1 ? PIDTYPE_MAX : pid > 0 ? PIDTYPE_TGID : PIDTYPE_PGID;
	if (pid == 0)
		wo.pid = own_pgrp();
	else if (pid != -1)
		wo.pid = find_get_pid(pid > 0 ? pid : -pid);
	ret = do_wait(&wo);
	if (ret <= 0)
		return ret;
	if (status)
		*status = wo.status;
	return wo.pid_nr;
}

static void waitid_tell(const struct wait_opts *wo, struct waitid_info *info)
{
	*info = (struct waitid_info){ 0 };
	if (!wo->found)
		return;
	info->pid = wo->pid_nr;
	info->wait_status = wo->status;
	if (wo->status & 0x7f) {
		info->code = wo->status & 0x80 ? CLD_DUMPED : CLD_KILLED;
		info->status = wo->status & 0x7f;
	} else {
		info->code = CLD_EXITED;
		info->status = wo->status >> 8 & 0xff;
	}
}

/* What to wait for, in @wo->type and ->pid. */
static int waitid_which(int which, pid_t upid, struct wait_opts *wo)
{
	switch (which) {
	case KARC_P_ALL:
		wo->type = PIDTYPE_MAX;
		return 0;
	case KARC_P_PID:
		if (upid <= 0)
			return -EINVAL;
		wo->type = PIDTYPE_TGID;
		wo->pid = find_get_pid(upid);
		return 0;
	case KARC_P_PGID:
		if (upid < 0)
			return -EINVAL;
		wo->type = PIDTYPE_PGID;
		wo->pid = upid ? find_get_pid(upid) : own_pgrp();
		return 0;
	case KARC_P_PIDFD:
		if (upid < 0)
			return -EINVAL;
		wo->type = PIDTYPE_TGID;
		wo->pid = pidfd_get_pid((unsigned int)upid);
		if (!IS_ERR(wo->pid))
			return 0;
		return (int)PTR_ERR(wo->pid);
	default:
		return -EINVAL;
	}
}

int kernel_waitid(int which, pid_t upid, struct waitid_info *info, int options)
{
	struct wait_opts wo = { .options = (unsigned int)options };
	int ret;

	if ((unsigned int)options & ~WAITID_OPTIONS)
		return -EINVAL;
	if (!(options & (WEXITED | WSTOPPED | WCONTINUED)))
		return -EINVAL;
	ret = waitid_which(which, upid, &wo);
	if (ret)
		return ret;
	ret = do_wait(&wo);
	if (ret < 0)
		return ret;
	if (info)
		waitid_tell(&wo, info);
	return 0;
}
