/* SPDX-License-Identifier: MIT */
/*
 * de_thread.c - execve by one thread of several
 *
 * What it is
 *	A program begins with one thread, whose pid is the process's. So the other threads are
 *	ended; and when the caller does not lead the group, it waits until the leader is a zombie,
 *	takes over its pid and its place in every list, and releases the leader in its own old
 *	place.
 *
 * Life
 *	group_exec set, others killed - notify_count 0: all gone, the leader aside - notify_count -1:
 *	the leader is a zombie - places exchanged - group_exec cleared
 *
 * Locking
 *	group_exec, notify_count: siglock; the dying leader looks at notify_count under the tasklist
 *	lock, under which it becomes -1. The exchange: tasklist lock, so that no parent meets two
 *	leaders or none.
 *
 * Worst case
 *	Waits for threads that are inside a call until they sleep interruptibly or return.
 */
#include <karc/base/err.h>
#include <karc/hw/trace.h>
#include <karc/hw/wait.h>
#include <karc/proc/exit.h>
#include <karc/proc/signal.h>
#include <signal.h>
#include "internal.h"

/* -EAGAIN: the group is ending, or another thread is here already, and ends this one. */
static int kill_others(struct task_struct *task)
{
	struct signal_struct *sig = task->signal;
	int err = 0, nr;

	spin_lock(&task->sighand->siglock);
	if (sig->group_exit || sig->group_exec) {
		err = -EAGAIN;
	} else {
		WRITE_ONCE(sig->group_exec, task);
		nr = zap_other_threads_locked(task);
		WRITE_ONCE(sig->notify_count, thread_group_leader(task) ? nr : nr - 1);
	}
	spin_unlock(&task->sighand->siglock);
	doomed_run();
	return err;
}

static void stop_waiting(struct task_struct *task)
{
	spin_lock(&task->sighand->siglock);
	WRITE_ONCE(task->signal->group_exec, NULL);
	WRITE_ONCE(task->signal->notify_count, 0);
	spin_unlock(&task->sighand->siglock);
}

static bool others_gone(struct task_struct *task)
{
	bool gone;

	spin_lock(&task->sighand->siglock);
	gone = !task->signal->notify_count;
	spin_unlock(&task->sighand->siglock);
	return gone;
}

static bool leader_is_zombie(struct task_struct *task)
{
	struct proc_state *p = proc_state();
	bool zombie;

	spin_lock(&p->tasklist_lock);
	zombie = task->group_leader->exit_state != 0;
	WRITE_ONCE(task->signal->notify_count, zombie ? 0 : -1);
	spin_unlock(&p->tasklist_lock);
	return zombie;
}

/* The leader's place is @task's from here on, and the other way round; tasklist lock held. */
static void exchange_places_locked(struct task_struct *task, struct task_struct *leader)
{
	pid_exchange(task, leader);
	list_replace_init(&leader->sibling, &task->sibling);
	list_replace_init(&leader->tasks, &task->tasks);
	spin_lock(&task->sighand->siglock);
	list_move(&task->thread_node, &task->signal->threads);
	spin_unlock(&task->sighand->siglock);
	task->signal->leader_task = task;
	task->group_leader = leader->group_leader = task;
	WRITE_ONCE(task->exit_signal, SIGCHLD);
	WRITE_ONCE(leader->exit_signal, -1);
	WRITE_ONCE(leader->exit_state, EXIT_DEAD);
}

static void take_over(struct task_struct *task)
{
	struct proc_state *p = proc_state();
	struct task_struct *leader = task->group_leader, *old_init = NULL;

	spin_lock(&p->tasklist_lock);
	exchange_places_locked(task, leader);
	if (p->init == leader) {
		p->init = get_task_struct(task);
		arc_hand_to_root(&task->arc, TASK_HELD_AS_INIT);
		old_init = leader;
		arc_hand_from_root(&leader->arc, TASK_HELD_AS_INIT);
	}
	spin_unlock(&p->tasklist_lock);
	trace_step("de_thread", "%d takes over the pid %d of its leader", leader->pid, task->pid);
	put_task_struct(old_init);
	release_task(leader);
}

int de_thread(struct task_struct *task)
{
	wait_queue_head_t *wq = &task->signal->wait_chldexit;
	int err;

	might_sleep();
	if (thread_group_empty(task) && thread_group_leader(task))
		return 0;
	err = kill_others(task);
	if (err)
		return err;
	err = wait_event_killable(*wq, others_gone(task));
	if (!err && !thread_group_leader(task)) {
		err = wait_event_killable(*wq, leader_is_zombie(task));
		if (!err)
			take_over(task);
	}
	stop_waiting(task);
	return err ? -EAGAIN : 0;
}
