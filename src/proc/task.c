/* SPDX-License-Identifier: MIT */
/*
 * task.c - what a task is made of, and running C code as one
 *
 * Objects
 *	task --owns--> thread_pid, files, fs, signal, sighand, real_parent
 *	task --mm_users--> mm            (until exit_mm)
 *	task --mm_count--> active_mm     (while it borrows one lazily)
 *	parent ~~lists~~> children       (holds nothing: the child holds the parent)
 *	signal ~~lists~~> threads        (holds nothing: the threads hold signal)
 *
 * Invariants
 *	I1  a task on a list of threads has a pid that finds it
 *	I2  a leader's sibling node is on its real_parent's list, and on no other; other threads are on
 *	    none, and have their leader's real_parent
 *	I3  a zombie has no mm and no files
 *	I4  nr_tasks is the number of threads of all leaders on the list of tasks
 *	I5  a thread's tgid is its leader's pid; leader and threads share one signal_struct, whose
 *	    nr_threads is the length of its list
 *
 * Locking
 *	tasks, nr_tasks, init, children, sibling,   proc_state.tasklist_lock (spins, interrupts
 *	real_parent, exit_state, exit_signal        on); real_parent also by the task's last put
 *	thread_node, group_leader                   tasklist_lock and siglock, see signal.c
 *	mm, files, fs, comm, vfork_*                the task itself, under alloc_lock; others under it
 *	flags, exit_code, personality, thread       the task itself
 *	fiber                                       wake_lock, see sched.c
 *	in_call                                     atomic, see below
 *	state                                       READ_ONCE/WRITE_ONCE
 *
 * Life
 *	task_alloc - copy_process or task_create_init links it - task_call ... - do_exit - zombie -
 *	release_task unlinks it - the last reference frees it.
 *	in_call: USER -> CALL -> USER ... by task_call(); USER -> DEATH by who kills it, for good.
 *	After its own do_exit() it stays at CALL.
 *
 * Worst case
 *	Freeing a task may free its ancestors' structs, one after the other: flat, and linear in
 *	those that nothing else held.
 *
 * Unlike Linux
 *	Pointers to the parent are counted, so a parent's struct outlives its children's. A thread
 *	that is not driven is ended by whoever kills it, on that one's stack.
 */
#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/uaccess.h>
#include <karc/proc/exit.h>
#include <karc/proc/files.h>
#include <karc/proc/fork.h>
#include <karc/proc/fs.h>
#include <karc/proc/sched.h>
#include <karc/proc/signal.h>
#include <karc/proc/task.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "internal.h"

static void task_drop(void *obj)
{
	struct task_struct *task = obj;

	BUG_ON(task->mm);
	BUG_ON(task->active_mm);
	BUG_ON(task->fiber);
	WARN_ON(!list_empty(&task->children));
	WARN_ON(!list_empty(&task->sibling));
	WARN_ON(!list_empty(&task->thread_node));
}

/* Lazily borrowed; gone long before the drop. While it has an mm, active_mm holds nothing. */
static void active_mm_visit(void *obj, void (*see)(void *arg, struct arc *child), void *arg)
{
	struct task_struct *task = obj;

	if (!task->mm && task->active_mm)
		see(arg, &task->active_mm->arc);
}

static struct arc *nothing_to_take(void *obj)
{
	(void)obj;
	return NULL;
}

static void task_free(void *obj)
{
	kmem_cache_free(proc_state()->task_cache, obj);
}

static void task_describe(const void *obj, char *buf, size_t bytes)
{
	const struct task_struct *task = obj;

	snprintf(buf, bytes, "%s, pid %d%s", task->comm, task->pid,
		 task->exit_state ? ", dead" : "");
}

static const struct arc_field task_fields[] = {
	ARC_USER(task_struct, mm, mm_struct),
	{ .kind = ARC_FIELD_VISITOR, .name = "active_mm", .count = 1,
	  .ops = { .take = nothing_to_take, .visit = active_mm_visit } },
	/* files_struct is private to files.c, its arc comes first */
	{ .kind = ARC_FIELD_OWNED, .name = "files", .offset = offsetof(struct task_struct, files) },
	ARC_OWNED(task_struct, fs, fs_struct),
	ARC_OWNED(task_struct, signal, signal_struct),
	ARC_OWNED(task_struct, sighand, sighand_struct),
	ARC_OWNED(task_struct, thread_pid, pid),
	ARC_OWNED(task_struct, real_parent, task_struct),
	ARC_FIELDS_END
};

static const struct arc_type task_type = {
	.name = "task_struct",
	.size = sizeof(struct task_struct),
	.offset = offsetof(struct task_struct, arc),
	.flags = ARC_FINDABLE,
	.ops = { .drop = task_drop, .free = task_free, .describe = task_describe },
	.fields = task_fields,
};

/* Another task's name may change at any moment; its number does not. */
static void describe_holder(const void *task, bool self, char *name, size_t size, u64 *id)
{
	const struct task_struct *holder = task;

	snprintf(name, size, "%s", self ? holder->comm : "");
	*id = (u64)holder->pid;
}

const struct holder_tasks proc_holder_tasks = {
	.ops = { .describe = describe_holder },
};

int task_types_register(struct proc_state *p)
{
	spin_lock_init_rank(&p->tasklist_lock, LR_TASKLIST);
	INIT_LIST_HEAD(&p->tasks);
	return arc_type_register(&task_type);
}

void set_task_comm(struct task_struct *task, const char *comm)
{
	size_t len = strnlen(comm, TASK_COMM_LEN - 1);

	task_lock(task);
	memcpy(task->comm, comm, len);
	task->comm[len] = '\0';
	task_unlock(task);
}

bool thread_group_empty(const struct task_struct *task)
{
	return READ_ONCE(task->signal->nr_threads) <= 1;
}

struct mm_struct *KARC_BODY(get_task_mm_site)(struct task_struct *task, const struct site *site)
{
	struct mm_struct *mm;

	task_lock(task);
	mm = task->mm;
	if (mm)
		mmget_site(mm, site);
	task_unlock(task);
	return mm;
}

struct mm_struct *(KARC_BODY(get_task_mm))(struct task_struct *task)
{
	return get_task_mm_site(task, SITE());
}

struct task_struct *KARC_BODY(task_alloc)(const char *comm, const struct site *site)
{
	struct task_struct *task;

	task = kmem_cache_alloc_site(proc_state()->task_cache, GFP_KERNEL | __GFP_ZERO, site);
	if (!task)
		return NULL;
	INIT_LIST_HEAD(&task->children);
	INIT_LIST_HEAD(&task->sibling);
	INIT_LIST_HEAD(&task->tasks);
	INIT_LIST_HEAD(&task->thread_node);
	INIT_LIST_HEAD(&task->doomed_node);
	spin_lock_init_rank(&task->alloc_lock, LR_TASK);
	spin_lock_init_rank(&task->wake_lock, LR_WAKE);
	task->group_leader = task;
	set_task_comm(task, comm);
	arc_init_site(&task->arc, &task_type, site);
	return task;
}

/* A new leader: into its parent's list, group and session. Both locks held. */
static void link_leader_locked(struct proc_state *p, struct task_struct *task,
			       struct signal_struct *from)
{
	list_add_tail(&task->sibling, &task->real_parent->children);
	list_add_tail(&task->tasks, &p->tasks);
	task->tgid = task->pid;
	task->signal->leader_task = task;
	if (from && from->pgrp)
		group_join(task->signal, PIDTYPE_PGID, from->pgrp);
	if (from && from->session)
		group_join(task->signal, PIDTYPE_SID, from->session);
}

static void link_locked(struct proc_state *p, struct task_struct *task,
			struct task_struct *creator, u64 clone_flags)
{
	struct task_struct *parent = creator;

	if (clone_flags & (CLONE_PARENT | CLONE_THREAD))
		parent = creator->real_parent;
	task->real_parent = get_task_struct(parent);
	arc_hand_to_field(&parent->arc, &task->arc, "real_parent");
	task->pid = pid_nr(task->thread_pid);
	if (clone_flags & CLONE_THREAD) {
		task->group_leader = creator->group_leader;
		task->tgid = creator->tgid;
	} else {
		link_leader_locked(p, task, creator->signal);
	}
	list_add_tail(&task->thread_node, &task->signal->threads);
	WRITE_ONCE(task->signal->nr_threads, task->signal->nr_threads + 1);
	__atomic_fetch_add(&task->signal->live, 1, __ATOMIC_RELAXED);
	task->sighand->users++;
	WRITE_ONCE(p->nr_tasks, p->nr_tasks + 1);
	pid_attach(task->thread_pid, task);
}

/*
 * Commit: from here on the task is found by number and by its parent. Who the parent is must be
 * asked under the lock: @creator's own may be dying and giving its children away. And a group that
 * is being killed takes no new members: they would miss the signal.
 */
int KARC_BODY(task_link)(struct task_struct *task, struct task_struct *creator, u64 clone_flags)
{
	struct proc_state *p = proc_state();
	int err = 0;

	get_task_struct(task);
	spin_lock(&p->tasklist_lock);
	spin_lock(&task->sighand->siglock);
	if (fatal_signal_pending(creator))
		err = -EINTR;
	else
		link_locked(p, task, creator, clone_flags);
	spin_unlock(&task->sighand->siglock);
	spin_unlock(&p->tasklist_lock);
	if (err) {
		put_task_struct(task);
		put_task_struct(task);
		return err;
	}
	arc_hand_to_root(&task->arc, TASK_HELD_BY_PID);
	arc_hand_to_root(&task->arc, TASK_HELD_BY_CPU);
	return 0;
}

void task_hand_parts(struct task_struct *task)
{
	const struct arc *to = &task->arc;

	if (task->files)
		arc_hand_to_field(files_arc(task->files), to, "files");
	if (task->fs)
		arc_hand_to_field(&task->fs->arc, to, "fs");
	if (task->signal)
		arc_hand_to_field(&task->signal->arc, to, "signal");
	if (task->sighand)
		arc_hand_to_field(&task->sighand->arc, to, "sighand");
	if (task->thread_pid)
		arc_hand_to_field(&task->thread_pid->arc, to, "thread_pid");
	if (task->mm)
		arc_user_hand_to_field(&task->mm->arc, to, "mm");
}

void task_unlink_locked(struct proc_state *p, struct task_struct *task)
{
	struct signal_struct *sig = task->signal;

	spin_lock(&task->sighand->siglock);
	list_del_init(&task->thread_node);
	WRITE_ONCE(sig->nr_threads, sig->nr_threads - 1);
	if (sig->notify_count > 0)
		WRITE_ONCE(sig->notify_count, sig->notify_count - 1);
	if (sig->group_exec)
		wake_up_all(&sig->wait_chldexit);
	spin_unlock(&task->sighand->siglock);
	task->sighand->users--;
	WRITE_ONCE(p->nr_tasks, p->nr_tasks - 1);
	pid_detach(task->thread_pid);
	if (!thread_group_leader(task))
		return;
	list_del_init(&task->sibling);
	list_del_init(&task->tasks);
	sig->leader_task = NULL;
	group_leave(sig, PIDTYPE_PGID);
	group_leave(sig, PIDTYPE_SID);
}

struct task_struct *KARC_BODY(get_task_struct_site)(struct task_struct *task,
						     const struct site *site)
{
	arc_get_site(&task->arc, site);
	return task;
}

struct task_struct *(KARC_BODY(get_task_struct))(struct task_struct *task)
{
	return get_task_struct_site(task, SITE());
}

void KARC_BODY(put_task_struct_site)(struct task_struct *task, const struct site *site)
{
	if (task)
		arc_put_site(&task->arc, site);
}

void (put_task_struct)(struct task_struct *task)
{
	put_task_struct_site(task, SITE());
}

struct task_struct *get_current(void)
{
	struct cpu *cpu = this_cpu();

	return cpu->fiber->task ? cpu->fiber->task : proc_state()->idle[cpu->id];
}

static int init_parts(struct task_struct *task, const struct site *site)
{
	int err;

	task->exit_signal = SIGCHLD;
	task->signal = signal_alloc_site(site);
	task->sighand = sighand_alloc_site(site);
	task->files = files_alloc_site(site);
	task->fs = fs_alloc_site(022, site);
	task->mm = mm_alloc_site(site);
	if (!task->signal || !task->sighand || !task->files || !task->fs || !task->mm)
		return -ENOMEM;
	task->signal->unkillable = true;
	task->thread_pid = alloc_pid_site(0, site);
	if (!IS_ERR(task->thread_pid))
		return 0;
	err = (int)PTR_ERR(task->thread_pid);
	task->thread_pid = NULL;
	return err;
}

static bool init_exists(struct proc_state *p)
{
	bool exists;

	spin_lock(&p->tasklist_lock);
	exists = p->init != NULL;
	spin_unlock(&p->tasklist_lock);
	return exists;
}

struct task_struct *KARC_BODY(task_create_init_site)(const char *comm, const struct site *site)
{
	struct proc_state *p = proc_state();
	struct task_struct *task;
	int err;

	if (init_exists(p))
		return ERR_PTR(-EBUSY);
	task = task_alloc(comm, site);
	if (!task)
		return ERR_PTR(-ENOMEM);
	err = init_parts(task, site);
	if (err)
		goto put;
	task_hand_parts(task);
	get_task_struct_site(task, site);	/* the caller's */
	err = task_link(task, p->idle[0], 0);
	BUG_ON(err);			/* nobody kills idle */
	spin_lock(&p->tasklist_lock);
	p->init = get_task_struct(task);
	arc_hand_to_root(&task->arc, TASK_HELD_AS_INIT);
	spin_unlock(&p->tasklist_lock);
	return task;
put:
	mmput(task->mm);
	task->mm = NULL;
	put_task_struct(task);
	return ERR_PTR(err);
}

/* ---- running C code as a task ---- */

struct task_call_args {
	struct task_struct *task;
	long (*fn)(void *arg);
	void *arg;
};

/* A new task's first step: its number, where the one who made it wants it. */
static void schedule_tail(struct task_struct *task)
{
	int __user *where = task->set_child_tid;

	task->set_child_tid = NULL;
	if (where && put_user(task->pid, where))
		pr_debug("the new task's number was not written\n");
}

static long task_entry(void *arg)
{
	const struct task_call_args *call = arg;
	struct task_struct *task = call->task;
	long value;

	sched_enter_task(task);
	if (unlikely(task->set_child_tid))
		schedule_tail(task);
	exit_to_user(task);		/* what came while it was there */
	value = call->fn(call->arg);
	exit_to_user(task);
	sched_leave_task(task);
	return value;
}

/*
 * On a fiber of its own, which becomes @task's; waits for the end, and for the CPU to have
 * finished with the task. False: no host memory for a stack.
 */
static bool run_as(struct task_struct *task, long (*entry)(void *arg), void *arg,
		   struct machine_result *result)
{
	struct fiber *fiber = fiber_spawn(READ_ONCE(task->cpu), task->comm, entry, arg);

	if (!fiber)
		return false;
	fiber_join(fiber, result);
	while (smp_load_acquire(&task->fiber))
		fiber_yield();
	return true;
}

static long oops_entry(void *arg)
{
	sched_enter_task(arg);
	make_task_dead(SIGKILL);
}

static long bug_entry(void *arg)
{
	sched_enter_task(arg);
	make_task_dead(SIGSEGV);
}

void task_end_here(struct task_struct *task)
{
	struct task_struct *self = fiber_self()->task;

	if (self)
		sched_put_aside(self);
	sched_enter_task(task);
	WRITE_ONCE(task->flags, task->flags | PF_DOOMED);
	exit_parts(task, task_wait_status(task));
	holder_settle();
	smp_store_release(&task->state, TASK_DEAD);
	sched_leave_task(task);
	arc_hand_from_root(&task->arc, TASK_HELD_BY_CPU);
	put_task_struct(task);		/* "may be on a CPU" */
	arc_hand_from_root(&task->arc, TASK_HELD_DOOMED);
	put_task_struct(task);		/* the list's */
	if (self)
		sched_enter_task(self);
}

/* The end of a task that somebody killed in user mode, here or where it runs now. */
static struct machine_result await_death(struct task_struct *task)
{
	struct machine_result result = { .end = MACHINE_EXITED };

	doomed_run();
	while (!task_is_dead(task) || smp_load_acquire(&task->fiber))
		fiber_yield();
	result.value = task->exit_code;
	return result;
}

/* The task is the caller's to run; false: somebody else ends it. */
static bool begin_call(struct task_struct *task)
{
	unsigned int where = TASK_IN_USER;

	if (try_cmpxchg(&task->in_call, &where, TASK_IN_CALL))
		return true;
	BUG_ON(where == TASK_IN_CALL);	/* inside another call, or ended in one */
	return false;
}

/* Back in user mode: a kill that came too late for the call to see it takes the task here. */
static bool end_call(struct task_struct *task)
{
	unsigned int where = TASK_IN_USER;

	smp_store_mb(task->in_call, TASK_IN_USER);	/* pairs with kill_thread_locked() */
	if (!fatal_signal_pending(task))
		return true;
	if (try_cmpxchg(&task->in_call, &where, TASK_IN_DEATH)) {
		get_task_struct(task);
		arc_hand_to_root(&task->arc, TASK_HELD_DOOMED);
		task_end_here(task);
	}
	return false;
}

struct machine_result task_call(struct task_struct *task, long (*fn)(void *arg), void *arg)
{
	struct task_call_args call = { task, fn, arg };
	struct machine_result result = { .end = MACHINE_VALUE, .value = -ENOMEM };

	might_sleep();
	if (!begin_call(task))
		return await_death(task);
	if (!run_as(task, task_entry, &call, &result) || result.end == MACHINE_VALUE) {
		if (!end_call(task))
			return await_death(task);
		return result;
	}
	if (task_is_dead(task))
		return result;
	/* The code died of a BUG or Oops: the task itself ends the ordinary way. */
	WARN_ON(!run_as(task, result.end == MACHINE_OOPS ? oops_entry : bug_entry, task, NULL));
	return result;
}

/* ---- the check ---- */

static void check_children(struct task_struct *parent, struct check_report *report)
{
	struct task_struct *child;

	list_for_each_entry(child, &parent->children, sibling)
		if (child->real_parent != parent)
			check_fail(report, "I2: task %d is on the list of %d, not its parent",
				   child->pid, parent->pid);
}

static void check_thread(const struct task_struct *leader, struct task_struct *task,
			 struct check_report *report)
{
	const struct pid *pid = task->thread_pid;

	if (!pid || pid->task != task || pid->nr != task->pid)
		check_fail(report, "I1: task %d is not found by its pid", task->pid);
	if (task->real_parent != leader->real_parent)
		check_fail(report, "I2: thread %d has another parent than its leader %d",
			   task->pid, leader->pid);
	if (task->exit_state && (task->mm || task->files))
		check_fail(report, "I3: zombie %d still has mm or files", task->pid);
	if (task->signal != leader->signal || task->tgid != leader->pid ||
	    task->group_leader != leader)
		check_fail(report, "I5: thread %d is none of its leader %d", task->pid,
			   leader->pid);
	check_children(task, report);
}

static unsigned long check_group(struct task_struct *leader, struct check_report *report)
{
	struct task_struct *task;
	unsigned long nr = 0;

	list_for_each_entry(task, &leader->signal->threads, thread_node) {
		nr++;
		check_thread(leader, task, report);
	}
	if (nr != leader->signal->nr_threads)
		check_fail(report, "I5: %lu threads of %d on the list, %u counted", nr,
			   leader->pid, leader->signal->nr_threads);
	if (!leader->real_parent || list_empty(&leader->sibling))
		check_fail(report, "I2: task %d is on no parent's list", leader->pid);
	group_check(leader, report);
	return nr;
}

void task_check(struct proc_state *p, struct check_report *report)
{
	struct task_struct *leader;
	unsigned long nr = 0;

	list_for_each_entry(leader, &p->tasks, tasks)
		nr += check_group(leader, report);
	if (nr != p->nr_tasks)
		check_fail(report, "I4: %lu tasks on the list, %lu counted", nr, p->nr_tasks);
}
