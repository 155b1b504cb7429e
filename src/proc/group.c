/* SPDX-License-Identifier: MIT */
/*
 * group.c - process groups and sessions
 *
 * What it is
 *	A group is a struct pid that lists the processes in it, a session another. A process owns a
 *	reference on both; being on the list also keeps the number in use.
 *
 * Objects
 *	signal_struct --owns--> pgrp, session (struct pid) ~~list~~> signal_structs
 *
 * Invariants
 *	I1  a linked leader's signal_struct is on the lists of exactly its group and its session
 *	I2  all processes of a group are in one session
 *
 * Locking
 *	pgrp, session, leader and the lists: tasklist lock. The references that a change frees are put
 *	after unlock.
 *
 * Unlike Linux
 *	No terminals, so there is no foreground group and nobody to hang up on. Processes are listed,
 *	not tasks. The first process begins outside any group, as Linux's init does.
 */
#include <karc/base/err.h>
#include <karc/proc/group.h>
#include <karc/proc/signal.h>
#include "internal.h"

static struct pid **group_slot(struct signal_struct *sig, enum pid_type type)
{
	return type == PIDTYPE_PGID ? &sig->pgrp : &sig->session;
}

static unsigned int group_index(enum pid_type type)
{
	return type == PIDTYPE_PGID ? 0 : 1;
}

static const char *group_field(enum pid_type type)
{
	return type == PIDTYPE_PGID ? "pgrp" : "session";
}

void group_join(struct signal_struct *sig, enum pid_type type, struct pid *pid)
{
	*group_slot(sig, type) = get_pid(pid);
	arc_hand_to_field(&pid->arc, &sig->arc, group_field(type));
	pid_use(pid);
	list_add_tail(&sig->group_node[group_index(type)], &pid->groups[group_index(type)]);
}

/* Off the list; the reference stays in the slot until it is replaced, or the struct goes. */
void group_leave(struct signal_struct *sig, enum pid_type type)
{
	struct pid *pid = *group_slot(sig, type);

	if (!pid || list_empty(&sig->group_node[group_index(type)]))
		return;
	list_del_init(&sig->group_node[group_index(type)]);
	pid_unuse(pid);
}

/* Gives back the reference on the group that was left. */
static struct pid *group_change(struct signal_struct *sig, enum pid_type type, struct pid *pid)
{
	struct pid *old = *group_slot(sig, type);

	if (old == pid)
		return NULL;
	group_leave(sig, type);
	if (old)
		arc_hand_from_field(&old->arc, &sig->arc, group_field(type));
	group_join(sig, type, pid);
	return old;
}

/* The leader with this number; tasklist lock held, borrowed. */
static struct task_struct *find_process_locked(struct proc_state *p, pid_t nr)
{
	struct task_struct *task = NULL;
	struct pid *pid;
	unsigned long flags;

	spin_lock_irqsave(&p->pid_lock, flags);
	pid = nr > 0 ? xa_load(&p->pids, (unsigned long)nr) : NULL;
	if (pid)
		task = pid->task;
	spin_unlock_irqrestore(&p->pid_lock, flags);
	return task;
}

/* A process of group @pid is in the caller's session. */
static bool group_in_session(const struct pid *pid, const struct signal_struct *caller)
{
	const struct signal_struct *member;

	if (list_empty(&pid->groups[0]))
		return false;
	member = list_first_entry(&pid->groups[0], struct signal_struct, group_node[0]);
	return member->session == caller->session;
}

/* May current's process put @task into another group at all? */
static int setpgid_check_locked(const struct task_struct *task, const struct task_struct *caller)
{
	if (!task || !task->signal)
		return -ESRCH;
	if (!thread_group_leader(task))
		return -EINVAL;
	if (same_thread_group(task->real_parent, caller)) {
		if (task->signal->session != caller->signal->session)
			return -EPERM;
		if (!(READ_ONCE(task->flags) & PF_FORKNOEXEC))
			return -EACCES;
	} else if (!same_thread_group(task, caller)) {
		return -ESRCH;
	}
	return task->signal->leader ? -EPERM : 0;
}

static int setpgid_locked(struct proc_state *p, struct task_struct *caller, pid_t pid,
			  pid_t pgid, struct pid *group, struct pid **old)
{
	struct task_struct *task = find_process_locked(p, pid);
	int err = setpgid_check_locked(task, caller);

	if (err)
		return err;
	if (pgid == pid)
		group = task->thread_pid;
	else if (!group || !group_in_session(group, caller->signal))
		return -EPERM;
	*old = group_change(task->signal, PIDTYPE_PGID, group);
	return 0;
}

int ksys_setpgid(pid_t pid, pid_t pgid)
{
	struct proc_state *p = proc_state();
	struct task_struct *task = current;
	struct pid *group, *old = NULL;
	int err;

	if (!pid)
		pid = task->tgid;
	if (!pgid)
		pgid = pid;
	if (pgid < 0)
		return -EINVAL;
	group = find_get_pid(pgid);
	spin_lock(&p->tasklist_lock);
	err = setpgid_locked(p, task, pid, pgid, group, &old);
	spin_unlock(&p->tasklist_lock);
	put_pid(old);
	put_pid(group);
	return err;
}

pid_t ksys_setsid(void)
{
	struct proc_state *p = proc_state();
	struct task_struct *leader;
	struct signal_struct *sig = current->signal;
	struct pid *old_group = NULL, *old_session = NULL;
	pid_t ret = -EPERM;

	if (!sig)
		return -EPERM;
	spin_lock(&p->tasklist_lock);
	leader = current->group_leader;
	if (!sig->leader && list_empty(&leader->thread_pid->groups[0])) {
		sig->leader = true;
		old_group = group_change(sig, PIDTYPE_PGID, leader->thread_pid);
		old_session = group_change(sig, PIDTYPE_SID, leader->thread_pid);
		ret = leader->pid;
	}
	spin_unlock(&p->tasklist_lock);
	put_pid(old_group);
	put_pid(old_session);
	return ret;
}

static pid_t group_nr(struct task_struct *task, enum pid_type type)
{
	struct proc_state *p = proc_state();
	pid_t nr;

	spin_lock(&p->tasklist_lock);
	nr = task->signal ? pid_nr(*group_slot(task->signal, type)) : 0;
	spin_unlock(&p->tasklist_lock);
	return nr;
}

pid_t task_pgrp_nr(struct task_struct *task)
{
	return group_nr(task, PIDTYPE_PGID);
}

pid_t task_session_nr(struct task_struct *task)
{
	return group_nr(task, PIDTYPE_SID);
}

static pid_t group_nr_of(pid_t pid, enum pid_type type)
{
	struct task_struct *task;
	pid_t nr;

	if (!pid)
		return group_nr(current, type);
	task = find_get_task_by_vpid(pid);
	if (!task)
		return -ESRCH;
	nr = group_nr(task, type);
	put_task_struct(task);
	return nr;
}

pid_t ksys_getpgid(pid_t pid)
{
	return group_nr_of(pid, PIDTYPE_PGID);
}

pid_t ksys_getsid(pid_t pid)
{
	return group_nr_of(pid, PIDTYPE_SID);
}

static int kill_pgrp_locked(const struct pid *pid, int signo)
{
	struct signal_struct *sig;
	int err = -ESRCH;
	bool reached = false;

	list_for_each_entry(sig, &pid->groups[0], group_node[0]) {
		struct sighand_struct *sighand = sig->leader_task->sighand;

		spin_lock(&sighand->siglock);
		err = signo ? send_signal_locked(sig->leader_task, signo, true) : 0;
		spin_unlock(&sighand->siglock);
		reached |= !err;
	}
	return reached ? 0 : err;
}

int kill_pgrp(pid_t pgrp, int signo)
{
	struct proc_state *p = proc_state();
	struct pid *pid;
	int err;

	if (signo < 0 || signo > KARC_NSIG)
		return -EINVAL;
	might_sleep();
	pid = find_get_pid(pgrp);
	if (!pid)
		return -ESRCH;
	spin_lock(&p->tasklist_lock);
	err = kill_pgrp_locked(pid, signo);
	spin_unlock(&p->tasklist_lock);
	put_pid(pid);
	doomed_run();
	return err;
}

static bool on_list(const struct pid *pid, const struct signal_struct *sig, unsigned int index)
{
	const struct list_head *node;

	list_for_each(node, &pid->groups[index])
		if (node == &sig->group_node[index])
			return true;
	return false;
}

void group_check(struct task_struct *leader, struct check_report *report)
{
	const struct signal_struct *sig = leader->signal;
	const struct signal_struct *first;

	if (sig->leader_task != leader)
		check_fail(report, "I1: %d is not the leader its process has", leader->pid);
	if ((sig->pgrp && !on_list(sig->pgrp, sig, 0)) ||
	    (sig->session && !on_list(sig->session, sig, 1)))
		check_fail(report, "I1: %d is not on the list of its group or session",
			   leader->pid);
	if (!sig->pgrp || list_empty(&sig->pgrp->groups[0]))
		return;
	first = list_first_entry(&sig->pgrp->groups[0], struct signal_struct, group_node[0]);
	if (first->session != sig->session)
		check_fail(report, "I2: group %d is in two sessions", sig->pgrp->nr);
}
