/* SPDX-License-Identifier: MIT */
/*
 * wait.c - reaping children
 *
 * A zombie belongs to whoever turns its exit_state to EXIT_DEAD under tasklist_lock, see exit.c.
 * The parent sleeps on its signal_struct's wait_chldexit, which every death of a child and every
 * adoption of a zombie wakes.
 *
 * Unlike Linux
 *	No stopped or continued children yet: WUNTRACED and WCONTINUED are accepted and find none.
 *	Process groups do not exist: a pid of 0 or below -1 answers -ENOSYS. One thread per group,
 *	so that __WNOTHREAD changes nothing.
 */
#include <karc/base/err.h>
#include <karc/hw/trace.h>
#include <karc/hw/wait.h>
#include <karc/proc/exit.h>
#include <karc/proc/signal.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#include "internal.h"

#define WAIT_OPTIONS	(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL)

struct wait_opts {
	pid_t pid;
	unsigned int options;
	struct task_struct *found;	/* a zombie, now EXIT_DEAD and ours */
	bool any;			/* there is a child that could die yet */
};

static bool eligible_child(const struct wait_opts *wo, const struct task_struct *child)
{
	bool clone = child->exit_signal != SIGCHLD;

	if (wo->pid > 0 && child->pid != wo->pid)
		return false;
	if (child->exit_state == EXIT_DEAD)
		return false;
	return (wo->options & __WALL) || clone == !!(wo->options & __WCLONE);
}

/* One look at the children: claim the first zombie that fits. True: no use in waiting. */
static bool wait_look(struct task_struct *parent, struct wait_opts *wo)
{
	struct proc_state *p = proc_state();
	struct task_struct *child;

	wo->any = false;
	spin_lock(&p->tasklist_lock);
	list_for_each_entry(child, &parent->children, sibling) {
		if (!eligible_child(wo, child))
			continue;
		wo->any = true;
		if (child->exit_state != EXIT_ZOMBIE)
			continue;
		child->exit_state = EXIT_DEAD;
		wo->found = child;
		break;
	}
	spin_unlock(&p->tasklist_lock);
	return wo->found || !wo->any;
}

/* End of a claimed zombie, whose "visible by pid" reference is ours with it. */
static pid_t wait_reap(struct task_struct *child, int *status)
{
	pid_t pid = child->pid;

	if (status)
		*status = child->exit_code;
	trace_step("wait4", "%d reaps %d, status 0x%x", current->pid, pid, child->exit_code);
	release_task(child);
	return pid;
}

pid_t kernel_wait4(pid_t pid, int *status, int options)
{
	struct task_struct *parent = current;
	struct wait_opts wo = { .pid = pid, .options = (unsigned int)options };

	if ((unsigned int)options & ~WAIT_OPTIONS)
		return -EINVAL;
	if (pid == INT_MIN)
		return -ESRCH;
	if (pid == 0 || pid < -1)
		return -ENOSYS;
	might_sleep();
	if (!parent->signal)		/* idle: its children reap themselves */
		return -ECHILD;
	if (options & WNOHANG)
		wait_look(parent, &wo);
	else
		wait_event(parent->signal->wait_chldexit, wait_look(parent, &wo));
	if (wo.found)
		return wait_reap(wo.found, status);
	return wo.any ? 0 : -ECHILD;
}
