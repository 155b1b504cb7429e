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
 *	I3  proc_state.init is a task that is not past its group's end, or NULL
 *	I4  a leader is reaped after all other threads: its parent is told by whoever is last
 *
 * Locking
 *	exit_notify and release_task take tasklist_lock; references are put after unlock.
 *
 * Life
 *	running - PF_EXITING - no mm - no files - zombie - (reaped: EXIT_DEAD, unlinked) -
 *	TASK_DEAD, last switch - freed. Reaping and the last switch come in either order. A thread
 *	that leads no group is never a zombie: it goes straight to EXIT_DEAD.
 *
 * Worst case
 *	exit_notify walks the dying task's children, and their threads, once with the lock held.
 *
 * Unlike Linux
 *	Init may end: what it leaves behind reaps itself, and another init may be made. No ptrace, and
 *	no terminal that a session's end would tell.
 */
#include <karc/base/log.h>
#include <karc/hw/completion.h>
#include <karc/hw/context.h>
#include <karc/hw/trace.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/uaccess.h>
#include <karc/proc/exit.h>
#include <karc/proc/files.h>
#include <karc/proc/fs.h>
#include <karc/proc/futex.h>
#include <karc/proc/sched.h>
#include <karc/proc/signal.h>
#include <limits.h>
#include <signal.h>
#include "internal.h"

static void exit_signals(struct task_struct *task)
{
	WRITE_ONCE(task->flags, task->flags | PF_EXITING);
	trace_step("exit_signals", "%s (%d): PF_EXITING", task->comm, task->pid);
}

/* The word that a joiner waits on; what cannot be written is nobody's business any more. */
static void clear_tid(struct task_struct *task, struct mm_struct *mm)
{
	u32 __user *where = (u32 __user *)task->clear_child_tid;

	task->clear_child_tid = NULL;
	if (!where || mm_users(mm) < 2 || put_user(0u, where))
		return;
	do_futex(where, KARC_FUTEX_WAKE, 1, 0, 0);
}

void mm_release(struct task_struct *task, struct mm_struct *mm)
{
	if (mm)
		clear_tid(task, mm);
	task_lock(task);
	task->vfork_pending = false;
	if (task->vfork_done)
		complete(task->vfork_done);
	task->vfork_done = NULL;
	task_unlock(task);
}

static void exit_mm(struct task_struct *task)
{
	struct mm_struct *mm = task->mm;

	mm_release(task, mm);
	if (!mm)
		return;
	trace_step("exit_mm", "mm %llu: mm_users %d, mm_count %u; lazy reference taken",
		   (unsigned long long)mm->id, atomic_read(&mm->mm_users), arc_count(&mm->arc));
	mmgrab(mm);		/* active_mm stays loaded: it needs a reference of its own now */
	arc_hand_to_field(&mm->arc, &task->arc, "active_mm");
	task_lock(task);
	task->mm = NULL;
	task_unlock(task);
	arc_user_hand_from_field(&mm->arc, &task->arc, "mm");
	mmput(mm);
}

static void exit_files(struct task_struct *task)
{
	struct files_struct *files = task->files;
	struct fs_struct *fs = task->fs;

	if (files)
		trace_step("exit_files", "%u open", files_count(files));
	task_lock(task);
	task->files = NULL;
	task->fs = NULL;
	task_unlock(task);
	if (files)
		arc_hand_from_field(files_arc(files), &task->arc, "files");
	if (fs)
		arc_hand_from_field(&fs->arc, &task->arc, "fs");
	put_files_struct(files);
	put_fs_struct(fs);
}

/* A thread of @task's group that goes on; tasklist lock held. */
static struct task_struct *alive_thread(const struct task_struct *task)
{
	struct task_struct *thread;

	list_for_each_entry(thread, &task->signal->threads, thread_node)
		if (!(READ_ONCE(thread->flags) & PF_EXITING))
			return thread;
	return NULL;
}

/*
 * Who takes over the children of @task: a thread of its own group, the nearest ancestor that asked
 * for orphans, init, or idle when there is none.
 */
static struct task_struct *find_new_reaper(struct proc_state *p, struct task_struct *task)
{
	struct task_struct *reaper = alive_thread(task), *init = NULL;

	if (reaper)
		return reaper;
	if (p->init && !same_thread_group(p->init, task))
		init = alive_thread(p->init);
	for (reaper = task->real_parent; init && reaper->signal; reaper = reaper->real_parent) {
		struct task_struct *thread;

		if (same_thread_group(reaper, init))
			break;
		thread = reaper->signal->is_child_subreaper ? alive_thread(reaper) : NULL;
		if (thread)
			return thread;
	}
	return init ? init : p->idle[0];
}

static void wake_parent(struct task_struct *parent)
{
	if (parent->signal)
		wake_up_all(&parent->signal->wait_chldexit);
}

bool do_notify_parent_locked(struct task_struct *task, int signo)
{
	struct task_struct *parent = task->real_parent;
	const struct signal_action *act;
	bool autoreap = false;

	if (!parent->signal)		/* idle */
		return true;
	if (task->parent_exec_id != READ_ONCE(parent->self_exec_id))
		signo = SIGCHLD;
	spin_lock(&parent->sighand->siglock);
	act = &parent->sighand->action[SIGCHLD - 1];
	if (signo == SIGCHLD && (act->handler == (unsigned long)SIG_IGN ||
				 (act->flags & SA_NOCLDWAIT)))
		autoreap = true;
	if (signo > 0 && signo <= KARC_NSIG && send_signal_locked(parent, signo, true))
		pr_debug("exit signal %d is not built\n", signo);
	spin_unlock(&parent->sighand->siglock);
	wake_parent(parent);
	return autoreap;
}

/* What a dying task leaves for after the unlock. */
struct exit_leftovers {
	struct list_head dead;		/* zombies to be released */
	struct task_struct *forgotten;	/* the task: children's references on it to be put */
	unsigned int nr_forgotten;
	unsigned int nr_children;
	bool autoreap;			/* nobody will wait for it */
	struct task_struct *init;	/* proc_state's reference on it */
};

/* One child, with its threads, goes to @reaper; its signal for the parent's death is sent. */
static void reparent_child(struct task_struct *child, struct task_struct *reaper,
			   struct exit_leftovers *left)
{
	struct task_struct *thread;

	list_for_each_entry(thread, &child->signal->threads, thread_node) {
		arc_hand_from_field(&thread->real_parent->arc, &thread->arc, "real_parent");
		thread->real_parent = get_task_struct(reaper);
		arc_hand_to_field(&reaper->arc, &thread->arc, "real_parent");
		left->nr_forgotten++;
		if (!thread->pdeath_signal)
			continue;
		spin_lock(&thread->sighand->siglock);
		if (send_signal_locked(thread, thread->pdeath_signal, true))
			pr_debug("death signal %d is not built\n", thread->pdeath_signal);
		spin_unlock(&thread->sighand->siglock);
	}
	left->nr_children++;
	list_move_tail(&child->sibling, &reaper->children);
}

/* A child that is now somebody else's altogether: it may be dead, and nobody may want it. */
static void adopt_child(struct task_struct *child, struct exit_leftovers *left)
{
	WRITE_ONCE(child->exit_signal, SIGCHLD);
	if (child->exit_state != EXIT_ZOMBIE || !thread_group_empty(child) ||
	    !do_notify_parent_locked(child, SIGCHLD))
		return;
	WRITE_ONCE(child->exit_state, EXIT_DEAD);
	list_move_tail(&child->sibling, &left->dead);
}

/* Give the children a new parent; tasklist_lock held. */
static void forget_original_parent_locked(struct proc_state *p, struct task_struct *task,
					  struct exit_leftovers *left)
{
	struct task_struct *child, *next, *reaper;

	if (list_empty(&task->children))
		return;
	reaper = find_new_reaper(p, task);
	list_for_each_entry_safe(child, next, &task->children, sibling) {
		reparent_child(child, reaper, left);
		if (!same_thread_group(reaper, task))
			adopt_child(child, left);
	}
}

static void exit_notify_locked(struct proc_state *p, struct task_struct *task, bool group_dead,
			       struct exit_leftovers *left)
{
	struct signal_struct *sig = task->signal;

	forget_original_parent_locked(p, task, left);
	if (group_dead && p->init && same_thread_group(p->init, task)) {
		left->init = p->init;
		p->init = NULL;
		arc_hand_from_root(&left->init->arc, TASK_HELD_AS_INIT);
	}
	if (thread_group_leader(task))
		left->autoreap = thread_group_empty(task) &&
				 do_notify_parent_locked(task, task->exit_signal);
	else
		left->autoreap = true;
	WRITE_ONCE(task->exit_state, left->autoreap ? EXIT_DEAD : EXIT_ZOMBIE);
	if (READ_ONCE(sig->notify_count) < 0)
		wake_up_all(&sig->wait_chldexit);
}

static void exit_notify(struct task_struct *task, bool group_dead)
{
	struct proc_state *p = proc_state();
	struct task_struct *child, *next;
	struct exit_leftovers left = { .dead = LIST_HEAD_INIT(left.dead) };

	spin_lock(&p->tasklist_lock);
	exit_notify_locked(p, task, group_dead, &left);
	spin_unlock(&p->tasklist_lock);

	trace_step("exit_notify", "%d %s, children reparented: %u", task->pid,
		   left.autoreap ? "reaps itself" : "is a zombie, parent told",
		   left.nr_children);
	list_for_each_entry_safe(child, next, &left.dead, sibling)
		release_task(child);
	while (left.nr_forgotten--)
		put_task_struct(task);
	put_task_struct(left.init);
	if (left.autoreap)
		release_task(task);
}

/*
 * @task is out of its group's list: was it the last one that its leader's zombie waited for? The
 * leader, if nobody will reap it; tasklist lock held.
 */
static struct task_struct *last_thread_left_locked(struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	if (leader == task)
		return NULL;
	task->group_leader = task;	/* the leader may go before this struct does */
	if (!thread_group_empty(leader) || leader->exit_state != EXIT_ZOMBIE ||
	    !do_notify_parent_locked(leader, leader->exit_signal))
		return NULL;
	WRITE_ONCE(leader->exit_state, EXIT_DEAD);
	return leader;
}

void release_task(struct task_struct *task)
{
	struct proc_state *p = proc_state();
	struct task_struct *leader;

	for (; task; task = leader) {	/* twice at most */
		trace_step("release_task", "%d: out of every list, pid detached", task->pid);
		BUG_ON(task->exit_state != EXIT_DEAD);
		spin_lock(&p->tasklist_lock);
		task_unlink_locked(p, task);
		leader = last_thread_left_locked(task);
		spin_unlock(&p->tasklist_lock);
		arc_hand_from_root(&task->arc, TASK_HELD_BY_PID);
		put_task_struct(task);
	}
}

int task_wait_status(struct task_struct *task)
{
	struct signal_struct *sig = task->signal;

	/* pairs with group_exit_set_locked() */
	return smp_load_acquire(&sig->group_exit) ? sig->group_exit_code : task->exit_code;
}

void exit_parts(struct task_struct *task, long code)
{
	bool group_dead;

	trace_step("do_exit", "%s (%d), code 0x%lx", task->comm, task->pid, code);
	exit_signals(task);
	group_dead = !__atomic_sub_fetch(&task->signal->live, 1, __ATOMIC_ACQ_REL);
	task->exit_code = (int)code;
	exit_mm(task);
	exit_files(task);
	exit_notify(task, group_dead);
}

/* The switch away from the task puts its last own reference. */
static void __noreturn do_task_dead(struct task_struct *task, long code)
{
	trace_step("schedule", "%d: the last time", task->pid);
	smp_store_release(&task->state, TASK_DEAD);
	fiber_exit(code);
}

void do_exit(long code)
{
	struct task_struct *task = current;

	BUG_ON(in_interrupt());
	BUG_ON(task->flags & PF_IDLE);
	might_sleep();
	exit_parts(task, code);
	doomed_run();		/* children whose parent's death kills them */
	holder_settle();	/* what it still has, it has forgotten */
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

/* The code that the group ends with: this one, unless it is ending already. */
static int group_exit_code(struct task_struct *task, int code)
{
	struct signal_struct *sig = task->signal;

	spin_lock(&task->sighand->siglock);
	if (sig->group_exit) {
		code = sig->group_exit_code;
	} else if (sig->group_exec) {
		code = 0;
	} else {
		group_exit_set_locked(sig, code);
		zap_other_threads_locked(task);
	}
	spin_unlock(&task->sighand->siglock);
	return code;
}

void do_group_exit(int code)
{
	struct task_struct *task = current;

	BUG_ON(task->flags & PF_IDLE);
	might_sleep();
	code = group_exit_code(task, code);
	if (code & 0x7f)
		WRITE_ONCE(task->flags, task->flags | PF_SIGNALED);
	doomed_run();
	do_exit(code);
}
