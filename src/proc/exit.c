/* SPDX-License-Identifier: MIT */
/*
 * exit.c - how a task ends
 *
 * What it is
 *	do_exit() gives up what the task owns, one owner after the other, and tells the parent.
 *	Nothing is freed because somebody remembered to: mm, files, pid and the struct itself go
 *	when their last owner has left, here or anywhere else.
 *
 * Invariants
 *	I1  exit_state goes 0 - ZOMBIE - DEAD or 0 - DEAD, under tasklist_lock; who sets DEAD, and
 *	    nobody else, calls release_task()
 *	I2  no task is on the children's list of a task that is past exit_notify()
 *	I3  proc_state.init is a task that is not past exit_notify(), or NULL
 *
 * Locking
 *	exit_notify and release_task take tasklist_lock; references are put after unlock.
 *
 * Life
 *	running - PF_EXITING - no mm - no files - zombie - (reaped: EXIT_DEAD, unlinked) -
 *	TASK_DEAD, last switch - freed. Reaping and the last switch come in either order.
 *
 * Worst case
 *	exit_notify walks the dying task's children once, with the lock held.
 *
 * Unlike Linux
 *	Init may end: what it leaves behind reaps itself, and another init may be made. No process
 *	groups, sessions, ptrace, CLONE_CHILD_CLEARTID, nor vfork completion yet.
 */
#include <karc/base/log.h>
#include <karc/hw/context.h>
#include <karc/hw/trace.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/exit.h>
#include <karc/proc/files.h>
#include <karc/proc/sched.h>
#include <karc/proc/signal.h>
#include <signal.h>
#include "internal.h"

static void exit_signals(struct task_struct *task)
{
	task->flags |= PF_EXITING;
	trace_step("exit_signals", "%s (%d): PF_EXITING", task->comm, task->pid);
}

static void exit_mm(struct task_struct *task)
{
	struct mm_struct *mm = task->mm;

	if (!mm)
		return;
	trace_step("exit_mm", "mm %llu: mm_users %d, mm_count %u; lazy reference taken",
		   (unsigned long long)mm->id, atomic_read(&mm->mm_users), arc_count(&mm->arc));
	mmgrab(mm);		/* active_mm stays loaded: it needs a reference of its own now */
	task->mm = NULL;
	mmput(mm);
}

static void exit_files(struct task_struct *task)
{
	struct files_struct *files = task->files;

	if (!files)
		return;
	trace_step("exit_files", "%u open", files_count(files));
	task->files = NULL;
	put_files_struct(files);
}

/* Who takes over the children of @task: init, or idle when there is none. */
static struct task_struct *child_reaper(struct task_struct *task)
{
	struct proc_state *p = proc_state();

	return p->init && p->init != task ? p->init : p->idle[0];
}

static void wake_parent(struct task_struct *parent)
{
	if (parent->signal)
		wake_up_all(&parent->signal->wait_chldexit);
}

/*
 * Give the children a new parent; tasklist_lock held. The references that the children held on
 * @task are counted in the result, the caller puts them. Zombies nobody will wait for are moved
 * to @dead; for others the new parent may be waiting already.
 */
static unsigned int forget_original_parent_locked(struct task_struct *task, struct list_head *dead)
{
	struct task_struct *reaper = child_reaper(task);
	struct task_struct *child, *next;
	unsigned int nr = 0;

	list_for_each_entry_safe(child, next, &task->children, sibling) {
		child->real_parent = get_task_struct(reaper);
		child->exit_signal = SIGCHLD;
		nr++;
		list_move_tail(&child->sibling, &reaper->children);
		if (child->exit_state != EXIT_ZOMBIE)
			continue;
		wake_parent(reaper);
		if (reaper->flags & PF_IDLE) {
			child->exit_state = EXIT_DEAD;
			list_move_tail(&child->sibling, dead);
		}
	}
	return nr;
}

/* What a dying task leaves for after the unlock. */
struct exit_leftovers {
	struct list_head dead;		/* zombies to be released */
	unsigned int nr_forgotten;	/* children's references on the task */
	bool autoreap;			/* nobody will wait for it */
	bool was_init;			/* proc_state's reference on it */
};

static void exit_notify_locked(struct proc_state *p, struct task_struct *task,
			       struct exit_leftovers *left)
{
	left->was_init = p->init == task;
	left->nr_forgotten = forget_original_parent_locked(task, &left->dead);
	if (left->was_init)
		p->init = NULL;
	left->autoreap = task->real_parent->flags & PF_IDLE;
	task->exit_state = left->autoreap ? EXIT_DEAD : EXIT_ZOMBIE;
	wake_parent(task->real_parent);
}

static void exit_notify(struct task_struct *task)
{
	struct proc_state *p = proc_state();
	struct task_struct *child, *next;
	struct exit_leftovers left = { .dead = LIST_HEAD_INIT(left.dead) };

	spin_lock(&p->tasklist_lock);
	exit_notify_locked(p, task, &left);
	spin_unlock(&p->tasklist_lock);

	trace_step("exit_notify", "%d %s, children reparented: %u", task->pid,
		   left.autoreap ? "reaps itself" : "is a zombie, parent told",
		   left.nr_forgotten);
	list_for_each_entry_safe(child, next, &left.dead, sibling)
		release_task(child);
	while (left.nr_forgotten--)
		put_task_struct(task);
	if (left.was_init)
		put_task_struct(task);
	if (left.autoreap)
		release_task(task);
}

void release_task(struct task_struct *task)
{
	struct proc_state *p = proc_state();

	trace_step("release_task", "%d: out of every list, pid detached", task->pid);
	BUG_ON(task->exit_state != EXIT_DEAD);
	spin_lock(&p->tasklist_lock);
	list_del_init(&task->sibling);
	list_del_init(&task->tasks);
	p->nr_tasks--;
	pid_detach(task->thread_pid);
	spin_unlock(&p->tasklist_lock);
	put_task_struct(task);
}

/* The switch away from the task puts its last own reference. */
static void __noreturn do_task_dead(struct task_struct *task, long code)
{
	trace_step("schedule", "%d: the last time", task->pid);
	WRITE_ONCE(task->state, TASK_DEAD);
	fiber_exit(code);
}

void do_exit(long code)
{
	struct task_struct *task = current;

	BUG_ON(in_interrupt());
	BUG_ON(task->flags & PF_IDLE);
	might_sleep();
	trace_step("do_exit", "%s (%d), code 0x%lx", task->comm, task->pid, code);
	exit_signals(task);
	task->exit_code = (int)code;
	exit_mm(task);
	exit_files(task);
	exit_notify(task);
	do_task_dead(task, code);
}

void make_task_dead(int signo)
{
	struct task_struct *task = current;

	if (!(task->flags & PF_EXITING))
		do_exit(signo);
	/* It died of dying. What is still in use nobody knows: it is left, and stays visible. */
	pr_alert("Fixing recursive fault but reboot is needed!\n");
	get_task_struct(task);
	do_task_dead(task, signo);
}

void do_group_exit(int code)
{
	struct signal_struct *sig = current->signal;

	if (sig) {
		sig->group_exit = true;
		sig->group_exit_code = code;
	}
	if (code & 0x7f)
		current->flags |= PF_SIGNALED;
	do_exit(code);
}
