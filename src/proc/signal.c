/* SPDX-License-Identifier: MIT */
/*
 * signal.c - what threads share, and how a signal ends them
 *
 * What it is
 *	A fatal signal marks every thread of the group. A thread inside a call sees the mark when
 *	the call returns, or when it sleeps in a way that may be interrupted. A thread in user mode
 *	runs no code of karc's, and nobody may ever drive it again: whoever sent the signal takes it
 *	to TASK_IN_DEATH, queues it, and runs its end on its own fiber when no lock is held.
 *
 * Objects
 *	task --owns--> signal_struct --owns--> pids of group and session
 *	task --owns--> sighand_struct
 *	proc_state.doomed --owns--> tasks to be ended
 *
 * Invariants
 *	I1  in_call says who runs a task: only who moved it away from TASK_IN_USER may
 *	I2  a task with SIGKILL pending does not stay in TASK_IN_USER: either the sender moved it
 *	    to TASK_IN_DEATH, or the call it was in looks at the mark after it has gone back
 *	I3  a doomed task's end does not run another's: the loop that runs it goes on with those that
 *	    were added meanwhile. So a chain of deaths is flat
 *
 * Locking
 *	pending, group_*, notify_count, rlim, action     siglock (spins); pending is read without
 *	                                                 for a first look
 *	threads, nr_threads                              written under tasklist lock and siglock,
 *	                                                 read under either
 *	doomed                                           doomed_lock, inside siglock
 *	sighand of a task                                changes under tasklist lock (execve only)
 *
 * Worst case
 *	A fatal signal looks at each thread of the group once, with the siglock held.
 *
 * Unlike Linux
 *	No masks, queued values, stops, continues, core files or real handlers: a signal with a
 *	handler is consumed when its process next enters or leaves user mode, and interrupts a sleep
 *	before that. The
 *	thread that a group's signal wakes is the one named by the sender.
 */
#include <karc/base/err.h>
#include <karc/hw/trace.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/exit.h>
#include <karc/proc/signal.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "internal.h"

#define sig_bit(signo)	(1ULL << ((signo) - 1))

#define SIG_IS_DEFAULT	0ul
#define SIG_IS_IGNORED	1ul

/* What the default action leaves alone, and what it would stop. */
#define SIGS_DROPPED	(sig_bit(SIGCHLD) | sig_bit(SIGCONT) | sig_bit(SIGURG) | sig_bit(SIGWINCH))
#define SIGS_STOP	(sig_bit(SIGSTOP) | sig_bit(SIGTSTP) | sig_bit(SIGTTIN) | sig_bit(SIGTTOU))
#define SIGS_UNCATCHABLE (sig_bit(SIGKILL) | sig_bit(SIGSTOP))

/* ---- the two structs ---- */

static void signal_drop(void *obj)
{
	const struct signal_struct *sig = obj;

	WARN_ON(sig->nr_threads);
}

static void signal_free(void *obj)
{
	kmem_cache_free(proc_state()->signal_cache, obj);
}

static void signal_describe(const void *obj, char *buf, size_t bytes)
{
	unsigned int nr = ((const struct signal_struct *)obj)->nr_threads;

	snprintf(buf, bytes, "%u thread%s", nr, nr == 1 ? "" : "s");
}

static void sighand_free(void *obj)
{
	kmem_cache_free(proc_state()->sighand_cache, obj);
}

static const struct arc_field signal_fields[] = {
	ARC_OWNED(signal_struct, pgrp, pid),
	ARC_OWNED(signal_struct, session, pid),
	ARC_FIELDS_END
};

static const struct arc_type signal_type = {
	.name = "signal_struct",
	.size = sizeof(struct signal_struct),
	.offset = offsetof(struct signal_struct, arc),
	.ops = { .drop = signal_drop, .free = signal_free, .describe = signal_describe },
	.fields = signal_fields,
};

static const struct arc_type sighand_type = {
	.name = "sighand_struct",
	.size = sizeof(struct sighand_struct),
	.offset = offsetof(struct sighand_struct, arc),
	.flags = ARC_LEAF,
	.ops = { .free = sighand_free },
};

int signal_types_register(struct proc_state *p)
{
	int err;

	spin_lock_init_rank(&p->doomed_lock, LR_TASK);
	INIT_LIST_HEAD(&p->doomed);
	err = arc_type_register(&signal_type);
	return err ? err : arc_type_register(&sighand_type);
}

struct signal_struct *KARC_BODY(signal_alloc_site)(const struct site *site)
{
	struct signal_struct *sig;

	sig = kmem_cache_alloc_site(proc_state()->signal_cache, GFP_KERNEL | __GFP_ZERO, site);
	if (!sig)
		return NULL;
	init_waitqueue_head(&sig->wait_chldexit);
	INIT_LIST_HEAD(&sig->threads);
	INIT_LIST_HEAD(&sig->group_node[0]);
	INIT_LIST_HEAD(&sig->group_node[1]);
	sig->dumpable = 1;
	rlim_defaults(sig->rlim);
	arc_init_site(&sig->arc, &signal_type, site);
	return sig;
}

void KARC_BODY(put_signal_struct)(struct signal_struct *sig)
{
	if (sig)
		arc_put(&sig->arc);
}

void signal_inherit(struct signal_struct *sig, struct signal_struct *from)
{
	if (!from)
		return;
	memcpy(sig->rlim, from->rlim, sizeof(sig->rlim));
	sig->dumpable = READ_ONCE(from->dumpable);
	sig->thp_disabled = READ_ONCE(from->thp_disabled);
}

struct sighand_struct *KARC_BODY(sighand_alloc_site)(const struct site *site)
{
	struct kmem_cache *cache = proc_state()->sighand_cache;
	struct sighand_struct *sighand;

	sighand = kmem_cache_alloc_site(cache, GFP_KERNEL | __GFP_ZERO, site);
	if (!sighand)
		return NULL;
	spin_lock_init_rank(&sighand->siglock, LR_SIGHAND);
	arc_init_site(&sighand->arc, &sighand_type, site);
	return sighand;
}

void KARC_BODY(put_sighand_struct)(struct sighand_struct *sighand)
{
	if (sighand)
		arc_put(&sighand->arc);
}

void sighand_flush(struct sighand_struct *sighand)
{
	int i;

	for (i = 0; i < KARC_NSIG; i++) {
		if (sighand->action[i].handler != SIG_IS_IGNORED)
			sighand->action[i].handler = SIG_IS_DEFAULT;
		sighand->action[i].flags = 0;
	}
}

void sighand_inherit(struct sighand_struct *sighand, struct sighand_struct *from, bool clear)
{
	if (!from)
		return;
	spin_lock(&from->siglock);
	memcpy(sighand->action, from->action, sizeof(sighand->action));
	spin_unlock(&from->siglock);
	if (clear)
		sighand_flush(sighand);
}

int do_sigaction(int signo, const struct signal_action *act, struct signal_action *old)
{
	struct sighand_struct *sighand = current->sighand;
	struct signal_action *slot;

	if (signo < 1 || signo > KARC_NSIG || (act && (sig_bit(signo) & SIGS_UNCATCHABLE)))
		return -EINVAL;
	if (!sighand)
		return -EINVAL;
	slot = &sighand->action[signo - 1];
	spin_lock(&sighand->siglock);
	if (old)
		*old = *slot;
	if (act)
		*slot = *act;
	spin_unlock(&sighand->siglock);
	return 0;
}

/* ---- who is woken, who is ended ---- */

/* SIGKILL for one thread; siglock held. Ended at once, if it is in user mode, by doomed_run(). */
static void kill_thread_locked(struct task_struct *task)
{
	struct proc_state *p = proc_state();
	unsigned int where = TASK_IN_USER;

	WRITE_ONCE(task->pending, task->pending | sig_bit(SIGKILL));
	if (!try_cmpxchg(&task->in_call, &where, TASK_IN_DEATH)) {	/* orders the store above */
		sched_wake_fiber(task);
		return;
	}
	get_task_struct(task);
	arc_hand_to_root(&task->arc, TASK_HELD_DOOMED);
	spin_lock(&p->doomed_lock);
	list_add_tail(&task->doomed_node, &p->doomed);
	spin_unlock(&p->doomed_lock);
}

static struct task_struct *doomed_pop(struct proc_state *p)
{
	struct task_struct *task;

	spin_lock(&p->doomed_lock);
	task = list_first_entry_or_null(&p->doomed, struct task_struct, doomed_node);
	if (task)
		list_del_init(&task->doomed_node);
	spin_unlock(&p->doomed_lock);
	return task;
}

void doomed_run(void)
{
	struct proc_state *p = proc_state();
	struct task_struct *task;

	if (current->flags & PF_DOOMED)
		return;			/* I3 */
	while ((task = doomed_pop(p)))
		task_end_here(task);
}

int zap_other_threads_locked(struct task_struct *task)
{
	struct task_struct *thread;
	int nr = 0;

	list_for_each_entry(thread, &task->signal->threads, thread_node) {
		if (thread == task)
			continue;
		nr++;
		if (!READ_ONCE(thread->exit_state))
			kill_thread_locked(thread);
	}
	return nr;
}

/* ---- sending ---- */

void group_exit_set_locked(struct signal_struct *sig, int code)
{
	sig->group_exit_code = code;
	smp_store_release(&sig->group_exit, true);	/* the code is never changed after it */
}

/* A group whose threads are all on their way out has its code already. */
static bool group_is_leaving(const struct signal_struct *sig)
{
	const struct task_struct *thread;

	list_for_each_entry(thread, &sig->threads, thread_node)
		if (!(READ_ONCE(thread->flags) & PF_EXITING))
			return false;
	return true;
}

/* The group ends with this code, all its threads do. */
static void group_fatal_locked(struct task_struct *task, int signo)
{
	struct signal_struct *sig = task->signal;
	struct task_struct *thread;

	if (sig->group_exit || group_is_leaving(sig))
		return;
	group_exit_set_locked(sig, signo);
	list_for_each_entry(thread, &sig->threads, thread_node)
		if (!READ_ONCE(thread->exit_state))
			kill_thread_locked(thread);
}

int send_signal_locked(struct task_struct *task, int signo, bool group)
{
	unsigned long handler = task->sighand->action[signo - 1].handler;
	struct signal_struct *sig = task->signal;
	u64 bit = sig_bit(signo), *pending = group ? &sig->pending : &task->pending;

	if (handler == SIG_IS_IGNORED)
		return 0;
	if (handler == SIG_IS_DEFAULT) {
		if ((bit & SIGS_DROPPED) || sig->unkillable)
			return 0;
		if (bit & SIGS_STOP)
			return -ENOSYS;
		group_fatal_locked(task, signo);
		return 0;
	}
	WRITE_ONCE(*pending, *pending | bit);
	sched_wake_fiber(task);
	return 0;
}

int send_signal(struct task_struct *task, int signo, bool group)
{
	struct proc_state *p = proc_state();
	int err = -ESRCH;

	if (signo < 0 || signo > KARC_NSIG)
		return -EINVAL;
	spin_lock(&p->tasklist_lock);	/* so that neither the thread nor its sighand goes */
	if (task->sighand && !list_empty(&task->thread_node)) {
		spin_lock(&task->sighand->siglock);
		err = signo ? send_signal_locked(task, signo, group) : 0;
		spin_unlock(&task->sighand->siglock);
	}
	spin_unlock(&p->tasklist_lock);
	return err;
}

int kill_task(struct task_struct *task, int signo)
{
	int err;

	might_sleep();
	err = send_signal(task, signo, true);
	doomed_run();
	return err;
}

int kill_thread(struct task_struct *task, int signo)
{
	int err;

	might_sleep();
	err = send_signal(task, signo, false);
	doomed_run();
	return err;
}

/* ---- receiving ---- */

bool fatal_signal_pending(struct task_struct *task)
{
	return READ_ONCE(task->pending) & sig_bit(SIGKILL);
}

bool signal_pending(struct task_struct *task)
{
	return READ_ONCE(task->pending) || (task->signal && READ_ONCE(task->signal->pending));
}

bool karc_signal_pending(unsigned int state)
{
	struct task_struct *task = current;

	if (task->flags & PF_EXITING)
		return false;		/* what it waits for on its way out it must have */
	return state & TASK_INTERRUPTIBLE ? signal_pending(task) : fatal_signal_pending(task);
}

void exit_to_user(struct task_struct *task)
{
	if (likely(!signal_pending(task)))
		return;
	if (fatal_signal_pending(task))
		do_group_exit(SIGKILL);
	spin_lock(&task->sighand->siglock);
	WRITE_ONCE(task->pending, task->pending & sig_bit(SIGKILL));
	WRITE_ONCE(task->signal->pending, 0);
	spin_unlock(&task->sighand->siglock);
	if (fatal_signal_pending(task))
		do_group_exit(SIGKILL);
}

void force_sig_fault(int signo, int code, unsigned long addr)
{
	struct task_struct *task = current;

	task->fault.signo = signo;
	task->fault.code = code;
	task->fault.addr = addr;
	trace_step("force_sig_fault", "%s, si_code %d, si_addr 0x%lx",
		   signo == SIGSEGV ? "SIGSEGV" : signo == SIGBUS ? "SIGBUS" : "SIGKILL", code, addr);
}
