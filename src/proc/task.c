/* SPDX-License-Identifier: MIT */
/*
 * task.c - what a task is made of, and running C code as one
 *
 * Objects
 *	task --owns--> thread_pid, files, signal, real_parent
 *	task --mm_users--> mm            (until exit_mm)
 *	task --mm_count--> active_mm     (while it borrows one lazily)
 *	parent ~~lists~~> children       (holds nothing: the child holds the parent)
 *
 * Invariants
 *	I1  a task on the list of tasks has a pid that finds it
 *	I2  a task's sibling node is on its real_parent's list, and on no other
 *	I3  a zombie has no mm and no files
 *	I4  nr_tasks is the length of the list of tasks
 *
 * Locking
 *	tasks, nr_tasks, init, children, sibling,   proc_state.tasklist_lock (spins, interrupts
 *	real_parent, exit_state, exit_signal        on); real_parent also by the task's last put
 *	mm, active_mm, files, flags, exit_code      the task itself
 *	fiber                                       task_call() sets it, the CPU clears it
 *	state                                       READ_ONCE/WRITE_ONCE
 *
 * Life
 *	task_alloc - copy_process or task_create_init links it - task_call ... - do_exit - zombie -
 *	release_task unlinks it - the last reference frees it.
 *
 * Worst case
 *	Freeing a task may free its ancestors' structs, one after the other: flat, and linear in
 *	those that nothing else held.
 *
 * Unlike Linux
 *	Pointers to the parent are counted, so a parent's struct outlives its children's. One
 *	thread per group so far.
 */
#include <karc/base/err.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/exit.h>
#include <karc/proc/files.h>
#include <karc/proc/sched.h>
#include <karc/proc/signal.h>
#include <karc/proc/task.h>
#include <signal.h>
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
}

static void task_free(void *obj)
{
	kmem_cache_free(proc_state()->task_cache, obj);
}

static const struct arc_field task_fields[] = {
	/* files_struct is private to files.c, its arc comes first */
	{ .kind = ARC_FIELD_OWNED, .name = "files", .offset = offsetof(struct task_struct, files) },
	ARC_OWNED(task_struct, signal, signal_struct),
	ARC_OWNED(task_struct, thread_pid, pid),
	ARC_OWNED(task_struct, real_parent, task_struct),
	ARC_FIELDS_END
};

static const struct arc_type task_type = {
	.name = "task_struct",
	.size = sizeof(struct task_struct),
	.offset = offsetof(struct task_struct, arc),
	.flags = ARC_FINDABLE,
	.ops = { .drop = task_drop, .free = task_free },
	.fields = task_fields,
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

	memcpy(task->comm, comm, len);
	task->comm[len] = '\0';
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
	task->group_leader = task;
	set_task_comm(task, comm);
	arc_init_site(&task->arc, &task_type, site);
	return task;
}

/*
 * Commit: from here on the task is found by number and by its parent. Cannot fail. Who the parent
 * is must be asked under the lock: @creator's own may be dying and giving its children away.
 */
void KARC_BODY(task_link)(struct task_struct *task, struct task_struct *creator,
			  bool as_sibling)
{
	struct proc_state *p = proc_state();
	struct task_struct *parent;

	get_task_struct(task);
	task->pid = task->tgid = pid_nr(task->thread_pid);
	spin_lock(&p->tasklist_lock);
	parent = as_sibling ? creator->real_parent : creator;
	task->real_parent = get_task_struct(parent);
	list_add_tail(&task->sibling, &parent->children);
	list_add_tail(&task->tasks, &p->tasks);
	p->nr_tasks++;
	pid_attach(task->thread_pid, task);
	spin_unlock(&p->tasklist_lock);
}

struct task_struct *KARC_BODY(get_task_struct)(struct task_struct *task)
{
	arc_get(&task->arc);
	return task;
}

void KARC_BODY(put_task_struct)(struct task_struct *task)
{
	if (task)
		arc_put(&task->arc);
}

struct task_struct *get_current(void)
{
	struct cpu *cpu = this_cpu();

	return cpu->fiber->task ? cpu->fiber->task : proc_state()->idle[cpu->id];
}

struct task_struct *KARC_BODY(task_create_init_site)(const char *comm, const struct site *site)
{
	struct proc_state *p = proc_state();
	struct task_struct *task;
	int err = -ENOMEM;

	if (p->init)
		return ERR_PTR(-EBUSY);
	task = task_alloc(comm, site);
	if (!task)
		return ERR_PTR(-ENOMEM);
	task->exit_signal = SIGCHLD;
	task->signal = signal_alloc_site(site);
	task->files = files_alloc_site(site);
	task->mm = mm_alloc_site(site);
	if (!task->signal || !task->files || !task->mm)
		goto put;
	task->thread_pid = alloc_pid_site(0, site);
	err = PTR_ERR_OR_ZERO(task->thread_pid);
	if (err) {
		task->thread_pid = NULL;
		goto put;
	}
	get_task_struct(task);		/* the caller's */
	get_task_struct(task);		/* proc_state's */
	task_link(task, p->idle[0], false);
	p->init = task;
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

static long task_entry(void *arg)
{
	const struct task_call_args *call = arg;
	struct task_struct *task = call->task;
	long value;

	sched_enter_task(task);
	value = call->fn(call->arg);
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
	struct fiber *fiber = fiber_spawn(task->cpu, task->comm, entry, arg);

	if (!fiber)
		return false;
	WRITE_ONCE(task->fiber, fiber);
	fiber_join(fiber, result);
	while (READ_ONCE(task->fiber))
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

struct machine_result task_call(struct task_struct *task, long (*fn)(void *arg), void *arg)
{
	struct task_call_args call = { task, fn, arg };
	struct machine_result result = { .end = MACHINE_VALUE, .value = -ENOMEM };

	might_sleep();
	BUG_ON(READ_ONCE(task->fiber) || READ_ONCE(task->state) == TASK_DEAD);
	if (!run_as(task, task_entry, &call, &result) || result.end == MACHINE_VALUE ||
	    READ_ONCE(task->state) == TASK_DEAD)
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

void task_check(struct proc_state *p, struct check_report *report)
{
	struct task_struct *task;
	unsigned long nr = 0;

	list_for_each_entry(task, &p->tasks, tasks) {
		const struct pid *pid = task->thread_pid;

		nr++;
		if (!pid || pid->task != task || pid->nr != task->pid)
			check_fail(report, "I1: task %d is not found by its pid", task->pid);
		if (!task->real_parent || list_empty(&task->sibling))
			check_fail(report, "I2: task %d is on no parent's list", task->pid);
		if (task->exit_state && (task->mm || task->files))
			check_fail(report, "I3: zombie %d still has mm or files", task->pid);
		check_children(task, report);
	}
	if (nr != p->nr_tasks)
		check_fail(report, "I4: %lu tasks on the list, %lu counted", nr, p->nr_tasks);
}
