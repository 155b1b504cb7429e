/* SPDX-License-Identifier: MIT */
/*
 * pid.c - numbers for tasks, and the table that finds them
 *
 * What it is
 *	A struct pid is a counted name. The table maps numbers to names and owns nothing: it
 *	forgets a pid when its task is released and no process group or session is named by it, or in
 *	the pid's own destructor if nobody ever used it. Who holds a struct pid longer keeps an old
 *	name; the number may belong to another one.
 *
 * Objects
 *	task --owns--> pid ~~borrows~~> task (cleared by release_task)
 *	signal_struct --owns--> pid (group, session) ~~lists~~> signal_structs
 *	table ~~finds~~> pid
 *
 * Invariants
 *	I1  a pid in the table has the number it is stored under
 *	I2  pid->task is NULL or a task whose thread_pid is this pid; then the pid is in the table
 *	I3  nr_pids is the number of entries
 *	I4  nr_uses is 1 for the task plus the lengths of both lists
 *
 * Locking
 *	table, last_pid, nr_pids, task, nr_uses:  pid_lock (interrupts off). A pid found in the table
 *	                                          may be dying: lookups take arc_tryget() under it.
 *	groups[]                                  tasklist lock
 *
 * Life
 *	alloc_pid (in the table) - pid_attach, pid_use - pid_detach, pid_unuse (out of it) - last
 *	put_pid
 *
 * Worst case
 *	The search for a number looks at each one once: PID_MAX_DEFAULT lookups when all are taken.
 *
 * Unlike Linux
 *	One namespace. A process and its leading thread are one use of the number, not two.
 */
#include <karc/base/err.h>
#include <karc/base/math.h>
#include <karc/hw/inject.h>
#include <karc/proc/pid.h>
#include <stdio.h>
#include "internal.h"

/* Out of the table, if it is there still; pid_lock held. */
static void pid_forget_locked(struct proc_state *p, struct pid *pid)
{
	if (xa_load(&p->pids, (unsigned long)pid->nr) != pid)
		return;
	xa_erase(&p->pids, (unsigned long)pid->nr);
	p->nr_pids--;
}

static void pid_drop(void *obj)
{
	struct pid *pid = obj;
	struct proc_state *p = proc_state();
	unsigned long flags;

	BUG_ON(pid->task);
	spin_lock_irqsave(&p->pid_lock, flags);
	pid_forget_locked(p, pid);
	spin_unlock_irqrestore(&p->pid_lock, flags);
}

static void pid_free(void *obj)
{
	kmem_cache_free(proc_state()->pid_cache, obj);
}

static void pid_describe(const void *obj, char *buf, size_t bytes)
{
	snprintf(buf, bytes, "%d", ((const struct pid *)obj)->nr);
}

static const struct arc_type pid_type = {
	.name = "pid",
	.size = sizeof(struct pid),
	.offset = offsetof(struct pid, arc),
	.flags = ARC_FINDABLE,
	.ops = { .drop = pid_drop, .free = pid_free, .describe = pid_describe },
};

int pid_types_register(struct proc_state *p)
{
	spin_lock_init_rank(&p->pid_lock, LR_PIDS);
	xa_init(&p->pids);
	return arc_type_register(&pid_type);
}

/* The next free number after the last one given, wrapping as Linux does at 300; lock held. */
static pid_t next_free_locked(struct proc_state *p)
{
	pid_t nr = p->last_pid;
	int tries;

	for (tries = 0; tries < PID_MAX_DEFAULT; tries++) {
		nr = nr + 1 < PID_MAX_DEFAULT ? nr + 1 : 300;
		if (!xa_load(&p->pids, (unsigned long)nr))
			return nr;
	}
	return -EAGAIN;
}

/* A number for @pid, and into the table; pid_lock held. */
static int pid_enter_locked(struct proc_state *p, struct pid *pid, pid_t want,
			    const struct site *site)
{
	pid_t nr = want;
	int err;

	if (!want)
		nr = next_free_locked(p);
	else if (xa_load(&p->pids, (unsigned long)want))
		nr = -EEXIST;
	if (nr < 0)
		return nr;
	if (inject_fail())	/* the table's memory is the host's */
		return -ENOMEM;
	err = xa_err(xa_store(&p->pids, (unsigned long)nr, pid, GFP_ATOMIC));
	if (err)
		return err;
	pid->nr = nr;
	INIT_LIST_HEAD(&pid->groups[0]);
	INIT_LIST_HEAD(&pid->groups[1]);
	p->nr_pids++;
	if (!want)
		p->last_pid = nr;
	arc_init_site(&pid->arc, &pid_type, site);
	return 0;
}

struct pid *KARC_BODY(alloc_pid_site)(pid_t want, const struct site *site)
{
	struct proc_state *p = proc_state();
	unsigned long flags;
	struct pid *pid;
	int err;

	if (want < 0 || want >= PID_MAX_LIMIT)
		return ERR_PTR(-EINVAL);
	pid = kmem_cache_alloc_site(p->pid_cache, GFP_KERNEL | __GFP_ZERO, site);
	if (!pid)
		return ERR_PTR(-ENOMEM);
	spin_lock_irqsave(&p->pid_lock, flags);
	err = pid_enter_locked(p, pid, want, site);
	spin_unlock_irqrestore(&p->pid_lock, flags);
	if (!err)
		return pid;
	kmem_cache_free(p->pid_cache, pid);
	return ERR_PTR(err);
}

struct pid *KARC_BODY(get_pid_site)(struct pid *pid, const struct site *site)
{
	if (pid)
		arc_get_site(&pid->arc, site);
	return pid;
}

struct pid *(KARC_BODY(get_pid))(struct pid *pid)
{
	return get_pid_site(pid, SITE());
}

void KARC_BODY(put_pid_site)(struct pid *pid, const struct site *site)
{
	if (pid)
		arc_put_site(&pid->arc, site);
}

void (put_pid)(struct pid *pid)
{
	put_pid_site(pid, SITE());
}

struct pid *KARC_BODY(find_get_pid_site)(pid_t nr, const struct site *site)
{
	struct proc_state *p = proc_state();
	struct pid *pid = NULL;
	unsigned long flags;

	if (nr <= 0)
		return NULL;
	spin_lock_irqsave(&p->pid_lock, flags);
	pid = xa_load(&p->pids, (unsigned long)nr);
	if (pid && !arc_tryget_site(&pid->arc, site))
		pid = NULL;
	spin_unlock_irqrestore(&p->pid_lock, flags);
	return pid;
}

struct pid *(KARC_BODY(find_get_pid))(pid_t nr)
{
	return find_get_pid_site(nr, SITE());
}

void pid_attach(struct pid *pid, struct task_struct *task)
{
	struct proc_state *p = proc_state();
	unsigned long flags;

	spin_lock_irqsave(&p->pid_lock, flags);
	pid->task = task;
	pid->nr_uses++;
	spin_unlock_irqrestore(&p->pid_lock, flags);
}

/* One use less; pid_lock held. */
static void pid_unuse_locked(struct proc_state *p, struct pid *pid)
{
	BUG_ON(!pid->nr_uses);
	if (!--pid->nr_uses)
		pid_forget_locked(p, pid);
}

void pid_detach(struct pid *pid)
{
	struct proc_state *p = proc_state();
	unsigned long flags;

	spin_lock_irqsave(&p->pid_lock, flags);
	pid->task = NULL;
	pid_unuse_locked(p, pid);
	spin_unlock_irqrestore(&p->pid_lock, flags);
}

void pid_use(struct pid *pid)
{
	struct proc_state *p = proc_state();
	unsigned long flags;

	spin_lock_irqsave(&p->pid_lock, flags);
	pid->nr_uses++;
	spin_unlock_irqrestore(&p->pid_lock, flags);
}

void pid_unuse(struct pid *pid)
{
	struct proc_state *p = proc_state();
	unsigned long flags;

	spin_lock_irqsave(&p->pid_lock, flags);
	pid_unuse_locked(p, pid);
	spin_unlock_irqrestore(&p->pid_lock, flags);
}

void pid_exchange(struct task_struct *a, struct task_struct *b)
{
	struct proc_state *p = proc_state();
	unsigned long flags;

	spin_lock_irqsave(&p->pid_lock, flags);
	arc_hand_field_to_field(&a->thread_pid->arc, &a->arc, &b->arc, "thread_pid");
	arc_hand_field_to_field(&b->thread_pid->arc, &b->arc, &a->arc, "thread_pid");
	swap(a->thread_pid, b->thread_pid);
	a->thread_pid->task = a;
	b->thread_pid->task = b;
	swap(a->pid, b->pid);
	spin_unlock_irqrestore(&p->pid_lock, flags);
}

void pid_check(struct proc_state *p, struct check_report *report)
{
	unsigned long nr = 0, index;
	struct pid *pid;

	xa_for_each(&p->pids, index, pid) {
		nr++;
		if ((unsigned long)pid->nr != index)
			check_fail(report, "I1: pid %d is stored under %lu", pid->nr, index);
		if (pid->task && pid->task->thread_pid != pid)
			check_fail(report, "I2: pid %d names a task of another pid", pid->nr);
		if (pid->nr_uses != (pid->task != NULL) + list_count_nodes(&pid->groups[0]) +
				    list_count_nodes(&pid->groups[1]))
			check_fail(report, "I4: pid %d has %u uses counted", pid->nr,
				   pid->nr_uses);
	}
	if (nr != p->nr_pids)
		check_fail(report, "I3: %lu pids in the table, %lu counted", nr, p->nr_pids);
}

struct task_struct *KARC_BODY(find_get_task_site)(pid_t nr, const struct site *site)
{
	struct proc_state *p = proc_state();
	struct task_struct *task = NULL;
	struct pid *pid;
	unsigned long flags;

	if (nr <= 0)
		return NULL;
	spin_lock_irqsave(&p->pid_lock, flags);
	pid = xa_load(&p->pids, (unsigned long)nr);
	if (pid && pid->task && arc_tryget_site(&pid->task->arc, site))
		task = pid->task;
	spin_unlock_irqrestore(&p->pid_lock, flags);
	return task;
}

struct task_struct *(KARC_BODY(find_get_task_by_vpid))(pid_t nr)
{
	return find_get_task_site(nr, SITE());
}
