/* SPDX-License-Identifier: MIT */
/*
 * replay_tasks.c - recorded tasks and karc's: births, ends, and which number is whose
 *
 * Objects
 *	replay_task --reference--> task_struct; replay_group is shared by the threads of a process
 *	replay.tasks: ordinal -> replay_task; replay.numbers: karc's number -> replay_task
 *
 * Invariants
 *	I1  numbers and tasks are a bijection: a number is entered once, and leaves when its task
 *	    was reaped; karc giving a number twice is a finding
 *	I2  a replay_task goes when the line of its end was read and its number is free
 *
 * Life
 *	born (REC_BORN, or the end of the call that makes it) - lines - exited or killed - reaped by
 *	a recorded wait, by init, or (threads) by itself
 */
#include "replay.h"
#include <karc/base/err.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/exit.h>
#include <karc/proc/files.h>
#include <karc/proc/fork.h>
#include <karc/proc/sched.h>
#include <karc/proc/signal.h>
#include <karc/refcount/ledger.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define STATUS_MASK	0xff7f		/* whether a core was written is the host's affair */

/* ---- which is which ---------------------------------------------------------------------- */

struct replay_task *replay_task(struct replay *r, uint32_t pid)
{
	struct replay_task *t = r->last_task;

	if (t && t->pid == pid)
		return t;
	t = xa_load(&r->tasks, pid);
	r->last_task = t;
	return t;
}

uint32_t replay_ordinal(struct replay *r, pid_t pid)
{
	const struct replay_task *t = pid > 0 ? xa_load(&r->numbers, (unsigned long)pid) : NULL;

	return t ? t->pid : 0;
}

pid_t replay_karc_pid(struct replay *r, int32_t ordinal)
{
	const struct replay_task *t;

	if (ordinal < -1)
		return -replay_karc_pid(r, -ordinal);
	if (ordinal <= 0)
		return ordinal;
	t = replay_task(r, (uint32_t)ordinal);
	return t && !t->reaped ? t->number : PID_MAX_DEFAULT + 1;
}

/* ---- births ------------------------------------------------------------------------------ */

static bool enter(struct replay *r, struct replay_task *t)
{
	int err = xa_err(xa_store(&r->tasks, t->pid, t, GFP_KERNEL));

	if (!err)
		err = xa_insert(&r->numbers, (unsigned long)t->number, t, GFP_KERNEL);
	if (err == -EBUSY)		/* I1 */
		replay_stop(r, r->n.lines, false, "karc gave number %d a second time, to task %u",
			    t->number, t->pid);
	else if (err)
		replay_stop(r, r->n.lines, false, "no memory on the host");
	return !err;
}

static struct replay_group *group_of(struct replay_task *maker, bool thread)
{
	struct replay_group *group = thread ? maker->group : calloc(1, sizeof(*group));

	if (!group)
		return NULL;
	group->users++;
	group->nr_alive++;
	group->death.threads++;
	return group;
}

static void task_free(struct replay_task *t)
{
	replay_maps_free(t);
	free(t->begun_text);
	put_task_struct(t->task);
	if (!--t->group->users)
		free(t->group);
	free(t);
}

/* Takes the reference on @task. */
static struct replay_task *task_add(struct replay *r, uint32_t pid, struct replay_task *maker,
				    struct task_struct *task)
{
	struct replay_task *t = calloc(1, sizeof(*t));
	bool thread = maker && same_thread_group(maker->task, task);

	if (t)
		t->group = group_of(maker, thread);
	if (!t || !t->group) {
		free(t);
		put_task_struct(task);
		replay_stop(r, r->n.lines, false, "no memory on the host");
		return NULL;
	}
	t->pid = pid;
	t->maker = maker ? maker->pid : 0;
	t->task = task;
	t->number = task->pid;
	t->reserved[0] = t->reserved[1] = -1;
	INIT_LIST_HEAD(&t->open_node);
	INIT_LIST_HEAD(&t->touch_node);
	if (!thread)
		t->group->death.pid = pid;
	BUG_ON(migrate_task_to(task, (pid - 1) % r->opt.machine.cpus));
	r->last_task = NULL;
	if (!enter(r, t)) {
		xa_erase(&r->tasks, pid);
		task_free(t);
		return NULL;
	}
	r->n.processes += !thread;
	r->n.threads += thread;
	r->nr_alive++;
	if (r->nr_alive > r->n.most_alive)
		r->n.most_alive = r->nr_alive;
	return t;
}

struct mm_watch {
	struct arc_dtor dtor;
	struct replay *r;
};

static void mm_dies(void *obj, void *arg)
{
	struct mm_struct *mm = obj;
	struct mm_watch *watch = arg;
	int kind;

	for (kind = 0; kind < NR_FAULT_KINDS; kind++)
		__atomic_fetch_add(&watch->r->n.faults[kind],
				   (uint64_t)atomic64_read(&mm->nr_faults[kind]), __ATOMIC_RELAXED);
	free(watch);
}

void replay_watch_mm(struct replay *r, struct mm_struct *mm)
{
	struct mm_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return;
	watch->r = r;
	arc_on_drop(&mm->arc, &watch->dtor, mm_dies, watch);
}

struct birth {
	struct replay *r;
	const struct rec_call *call;	/* NULL: the first task */
	struct task_struct *child;
};

static void clone_args(const struct rec_call *call, struct kernel_clone_args *args)
{
	const uint64_t *a = call->args;

	if (call->nr == REC_NR_vfork)
		args->flags = CLONE_VM | CLONE_VFORK;
	if (call->nr != REC_NR_clone && call->nr != REC_NR_clone3)
		return;
	args->flags = a[0] & ~(uint64_t)CLONE_PIDFD;	/* its address is not recorded */
	args->exit_signal = (int)a[1];
	args->stack = a[2];
	args->stack_size = a[3];
	args->parent_tid = (int __user *)a[4];
	args->child_tid = (int __user *)a[5];
	args->tls = a[6];
	if (a[0] & CLONE_PIDFD && call->nr == REC_NR_clone)
		args->parent_tid = NULL;		/* there it was where this is */
}

static long birth_entry(void *arg)
{
	struct birth *b = arg;
	struct kernel_clone_args args = { .exit_signal = SIGCHLD };

	if (b->call)
		clone_args(b->call, &args);
	b->child = copy_process(&args);
	if (IS_ERR(b->child))
		return PTR_ERR(b->child);
	if (!(args.flags & CLONE_VM))
		replay_watch_mm(b->r, b->child->mm);
	return 0;
}

static bool is_untraced(const struct rec_call *call)
{
	return (call->nr == REC_NR_clone || call->nr == REC_NR_clone3) &&
	       (call->args[0] & CLONE_UNTRACED);
}

struct replay_task *replay_birth(struct replay *r, struct replay_task *maker, uint32_t child,
				 const struct rec_call *call, long *result)
{
	struct birth b = { .r = r, .call = call };
	struct machine_result res = { .end = MACHINE_VALUE };
	struct replay_task *t;
	const char *flag;

	if (current == maker->task)
		res.value = birth_entry(&b);
	else
		res = task_call(maker->task, birth_entry, &b);
	*result = res.end == MACHINE_VALUE ? res.value : -EFAULT;
	if (*result == -ENOSYS) {
		flag = clone_flag_unbuilt(call->args[0]);
		replay_stop(r, call->line, true, "karc cannot replay %s with %s", call->name,
			    flag ? flag : "these flags");
	}
	if (*result)
		return NULL;
	t = task_add(r, child, maker, b.child);
	if (t)
		t->untraced = is_untraced(call);
	return t;
}

bool replay_first_task(struct replay *r)
{
	struct birth b = { .r = r };
	struct machine_result res = task_call(r->init, birth_entry, &b);

	return res.end == MACHINE_VALUE && !res.value && task_add(r, 1, NULL, b.child);
}

static bool is_making(const struct replay_task *t)
{
	return t && !t->dead && t->has_begun && !t->born_child && replay_is_clone(t->begun.nr);
}

/* A task shows itself before its maker's call ended: find that call. */
void replay_born(struct replay *r, const struct rec_call *call)
{
	struct replay_task *maker = call->other ? replay_task(r, call->other) : NULL, *t;
	unsigned long i;
	long result;

	if (replay_task(r, call->pid))
		return;
	if (!call->other) {
		xa_for_each(&r->tasks, i, t)
			if (is_making(t))
				maker = t;
	}
	if (!is_making(maker)) {
		replay_stop(r, call->line, true, "task %u is there, but nobody is making it",
			    call->pid);
		return;
	}
	replay_touch_wait(r, maker);
	if (replay_birth(r, maker, call->pid, &maker->begun, &result))
		maker->born_child = call->pid;
	else
		replay_stop(r, call->line, false, "%s failed with %s", maker->begun.name,
			    rec_errno_name((int)-result));
}

/* ---- what an end gives back -------------------------------------------------------------- */

static void snapshot(struct replay *r, long counts[NR_REPLAY_KINDS])
{
	int kind;

	for (kind = 0; kind < RK_FRAME; kind++)
		counts[kind] = (long)ledger_live_kind(r->m, replay_kind_names[kind]);
	counts[RK_FRAME] = -(long)phys_nr_free(r->m);
}

static void describe(struct replay_task *t, int status)
{
	const struct task_struct *task = t->task;
	struct replay_death *d = &t->group->death;
	struct mm_struct *mm = task->mm;

	d->status = status;
	memcpy(d->comm, task->comm, sizeof(d->comm));
	d->files = task->files ? files_count(task->files) : 0;
	if (!mm)
		return;
	d->shared_mm = mm_users(mm) > t->group->nr_alive;
	d->mappings = mm->map_count;
	d->anon_pages = get_mm_counter(mm, MM_ANONPAGES);
	d->file_pages = get_mm_counter(mm, MM_FILEPAGES) + get_mm_counter(mm, MM_SHMEMPAGES);
	d->pgtable_bytes = atomic_long_read(&mm->pgtables_bytes);
}

static void tell_death(struct replay *r, const struct replay_death *d)
{
	size_t max = r->max_deaths ? r->max_deaths * 2 : 16;
	struct replay_death *more;

	if (r->nr_deaths == r->max_deaths && max <= REPLAY_DEATHS_MAX) {
		more = reallocarray(r->deaths, max, sizeof(*more));
		if (more) {
			r->deaths = more;
			r->max_deaths = max;
		}
	}
	if (r->nr_deaths < r->max_deaths)
		r->deaths[r->nr_deaths++] = *d;
	else
		r->deaths_untold++;
}

/* ---- ends -------------------------------------------------------------------------------- */

/* I2 */
static void forget_if_over(struct replay *r, struct replay_task *t)
{
	if (!t->told || !t->reaped)
		return;
	xa_erase(&r->tasks, t->pid);
	r->last_task = NULL;
	task_free(t);
}

void replay_reaped(struct replay *r, struct replay_task *t)
{
	if (!t->reaped)
		xa_erase(&r->numbers, (unsigned long)t->number);
	t->reaped = true;
	forget_if_over(r, t);
}

static long nothing_entry(void *arg)
{
	(void)arg;
	return 0;
}

/* init is parent of who lost its own. */
static long reap_entry(void *arg)
{
	struct replay *r = arg;
	struct replay_task *t;
	pid_t pid;

	while ((pid = kernel_wait4(-1, NULL, WNOHANG | __WALL)) > 0) {
		t = xa_load(&r->numbers, (unsigned long)pid);
		if (t)
			replay_reaped(r, t);
	}
	return 0;
}

void replay_let_go(struct replay *r, uint64_t cpus)
{
	unsigned int cpu;

	for (cpu = 0; cpu < r->opt.machine.cpus; cpu++) {
		if (!(cpus & 1ULL << cpu))
			continue;
		BUG_ON(migrate_task_to(r->init, cpu));
		task_call(r->init, nothing_entry, NULL);
	}
}

static void mark_dead(struct replay *r, struct replay_task *t)
{
	t->dead = true;
	t->group->nr_alive--;
	r->nr_alive--;
	replay_call_over(t);
}

/* Who of @t's group has died; threads have no number any more. */
static void take_stock(struct replay *r, struct replay_task *t)
{
	struct replay_group *group = t->group;
	struct replay_task *other;
	unsigned long i;

	mark_dead(r, t);
	if (!group->nr_alive)
		return;
	xa_for_each(&r->tasks, i, other)
		if (other->group == group && !other->dead && task_is_dead(other->task))
			mark_dead(r, other);
}

struct ending {
	struct replay_task *t;
	int status;
};

static long exit_entry(void *arg)
{
	const struct ending *e = arg;

	if (e->t->leaves_group || e->t->group->nr_alive == 1)
		do_group_exit(e->status);
	do_exit(e->status);
}

/* By its own exit, or by a signal from outside, as if just sent. */
static bool end_it(struct replay_task *t, int status, char message[192])
{
	struct ending e = { t, status };
	struct machine_result res;
	int err;

	if (WIFSIGNALED(status)) {
		err = kill_task(t->task, WTERMSIG(status));
		snprintf(message, 192, "kill answered %d", err);
		return !err && task_is_dead(t->task);
	}
	res = task_call(t->task, exit_entry, &e);
	memcpy(message, res.message, sizeof(res.message));
	return res.end == MACHINE_EXITED;
}

static void death(struct replay *r, struct replay_task *t, int status, bool by_us)
{
	long before[NR_REPLAY_KINDS], after[NR_REPLAY_KINDS];
	struct replay_group *group = t->group;
	char message[192];
	int kind;

	replay_order_death(r, t);
	replay_touch_wait_all(r);
	snapshot(r, before);
	if (group->nr_alive == 1 || t->leaves_group || WIFSIGNALED(status)) {
		describe(t, status);
		group->death.killed_by_us = by_us;
	}
	if (!end_it(t, status, message))
		replay_stop(r, r->n.lines, false, "task %u did not end: %s", t->pid, message);
	/* Who kills runs the end of who is killed, wherever that is. */
	replay_let_go(r, WIFSIGNALED(status) ? ~0ULL : group->cpus | 1ULL << t->task->cpu);
	snapshot(r, after);
	for (kind = 0; kind < NR_REPLAY_KINDS; kind++)
		group->death.freed[kind] += before[kind] - after[kind];
	take_stock(r, t);
	if (!group->nr_alive)
		tell_death(r, &group->death);
}

/* What it, or its group, passed to exit counts; @recorded if none did. */
static int status_passed(const struct replay_task *t, int recorded)
{
	if (t->leaves)
		return t->exit_status;
	return t->group->leaves ? t->group->exit_status : recorded;
}

void replay_ended(struct replay *r, const struct rec_call *call)
{
	struct replay_task *t = replay_task(r, call->pid);
	int status = call->kind == REC_EXITED ? (int)(call->args[0] & 0xff) << 8 :
		     (int)(call->args[0] & 0x7f), got;
	bool leader;

	if (!t || t->told) {
		replay_stop(r, call->line, true, "task %u is not alive", call->pid);
		return;
	}
	if (!t->dead)
		death(r, t, call->kind == REC_EXITED ? status_passed(t, status) : status, false);
	leader = thread_group_leader(t->task);
	t->told = true;
	got = t->task->exit_code & STATUS_MASK;
	r->n.replayed++;		/* exit, exit_group, or the signal */
	if (got == status)
		r->n.matched += !r->stop;
	else
		replay_mismatch(r, call, "ended with status 0x%x, it was 0x%x", got, status);
	if (!leader || READ_ONCE(t->task->exit_state) == EXIT_DEAD) {
		replay_reaped(r, t);		/* by itself */
		return;
	}
	task_call(r->init, reap_entry, r);
}

void replay_ended_unseen(struct replay *r, struct replay_task *t, int status)
{
	death(r, t, status, false);
	t->told = true;
}

/* Thread @call->other executes a program: from here on it is what @call->pid was. */
void replay_superseded(struct replay *r, const struct rec_call *call)
{
	struct replay_task *leader = replay_task(r, call->pid);
	struct replay_task *thread = replay_task(r, call->other);
	struct task_struct *old;

	if (!leader || !thread || thread->dead || leader->group != thread->group) {
		replay_stop(r, call->line, true, "task %u cannot take the place of task %u",
			    call->other, call->pid);
		return;
	}
	replay_touch_wait_all(r);
	replay_call_over(leader);
	old = leader->task;
	leader->task = thread->task;
	thread->task = old;		/* its reference goes with the thread's record */
	if (leader->dead) {
		leader->dead = false;
		leader->group->nr_alive++;
		r->nr_alive++;
	}
	mark_dead(r, thread);
	thread->told = true;
	replay_reaped(r, thread);
}

/* What is alive when the recording ends, and what nobody waited for. */
void replay_end_all(struct replay *r)
{
	struct replay_task *t;
	unsigned long i;

	replay_touch_wait_all(r);
	xa_for_each(&r->tasks, i, t)
		if (!t->dead)
			death(r, t, SIGKILL, true);
	xa_for_each(&r->tasks, i, t)
		task_free(t);
	xa_destroy(&r->tasks);
	xa_destroy(&r->numbers);
	r->last_task = NULL;
}
