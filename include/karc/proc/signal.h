/* SPDX-License-Identifier: MIT */
/*
 * signal.h - what a thread group shares, and how a signal or a fault becomes a death
 *
 * Programs' code is not run, so a handler is a number that is kept: a signal that has one is
 * consumed, one that is ignored is dropped, and every other one ends the process as its default
 * action says. There are no masks, queued values, stops or continues.
 */
#ifndef KARC_PROC_SIGNAL_H
#define KARC_PROC_SIGNAL_H

#include <karc/base/contract.h>
#include <karc/base/list.h>
#include <karc/base/site.h>
#include <karc/hw/spinlock.h>
#include <karc/hw/wait.h>
#include <karc/proc/pid.h>
#include <karc/refcount/arc.h>

struct task_struct;

#define KARC_NSIG		64	/* signals are 1 .. KARC_NSIG */
#define KARC_RLIM_NLIMITS	16	/* RLIMIT_*: 0 .. KARC_RLIM_NLIMITS - 1 */
#define KARC_RLIM_INFINITY	(~0UL)

struct task_rlimit {
	unsigned long cur, max;
};

/* What a process does about a signal; @handler: 0 default, 1 ignore, else an address. */
struct signal_action {
	unsigned long handler;
	unsigned long flags;		/* SA_* */
};

/* The handlers, shared with CLONE_SIGHAND. */
struct sighand_struct {
	struct arc arc;
	spinlock_t siglock;
	unsigned int users;			/* tasks not yet released; tasklist lock */
	struct signal_action action[KARC_NSIG];	/* of signal n: [n - 1]; siglock */
};

/* One for each thread group. */
struct signal_struct {
	struct arc arc;
	wait_queue_head_t wait_chldexit;	/* woken when a child dies, or a dead one is adopted */
	/* tasklist lock and siglock to write, either to read */
	struct list_head threads;		/* task_struct.thread_node, the leader first */
	unsigned int nr_threads;		/* not yet released */
	/* siglock */
	int group_exit_code;
	bool group_exit;			/* every thread ends with group_exit_code */
	struct task_struct *group_exec;		/* it waits for the others' end in execve */
	int notify_count;			/* how many it waits for; -1: for the leader's death */
	u64 pending;				/* signals sent to the group, bit signo - 1 */
	struct task_rlimit rlim[KARC_RLIM_NLIMITS];
	/* atomic */
	unsigned int live;			/* threads that have not begun to exit */
	/* tasklist lock */
	struct pid *pgrp, *session;		/* owned */
	struct list_head group_node[2];		/* pgrp->groups[0], session->groups[1] */
	struct task_struct *leader_task;	/* the thread group leader, while not released */
	bool leader;				/* it leads its session */
	bool is_child_subreaper;
	/* flags that the group's threads set and read */
	bool unkillable;			/* init: signals at their default do nothing */
	unsigned int dumpable;			/* PR_SET_DUMPABLE */
	bool thp_disabled;
};

/**
 * signal_alloc - what a new thread group shares; default limits, no group, no session
 *
 * Gives:   one reference; end it with put_signal_struct(), which ignores NULL.
 * Context: may sleep. Errors: NULL: no memory.
 */
KARC_MUST_CHECK KARC_GIVES struct signal_struct *signal_alloc_site(const struct site *site);
#define signal_alloc() signal_alloc_site(SITE())
void put_signal_struct(KARC_TAKES struct signal_struct *sig) KARC_PUTS(1);

/* The same for a table of handlers, all at their defaults. */
KARC_MUST_CHECK KARC_GIVES struct sighand_struct *sighand_alloc_site(const struct site *site);
#define sighand_alloc() sighand_alloc_site(SITE())
void put_sighand_struct(KARC_TAKES struct sighand_struct *sighand) KARC_PUTS(1);

/**
 * kill_task, kill_thread - send @signo to a process; to one thread of it
 * @task:  borrowed; any thread of the process
 * @signo: 1 .. KARC_NSIG, or 0: nothing is sent
 *
 * What ends the process ends all its threads: those inside a call when it returns or when they
 * sleep killably; those in user mode before this function returns, whether or not anybody drives
 * them. A task that kills itself ends at the return of its call: do_group_exit() ends it at once.
 * Context: may sleep, no lock held: the ends of others may run here.
 * Errors:  -EINVAL, -ESRCH (being released), -ENOSYS for SIGSTOP, SIGTSTP, SIGTTIN and SIGTTOU at
 *          their default.
 */
int kill_task(struct task_struct *task, int signo);
int kill_thread(struct task_struct *task, int signo);

/**
 * do_sigaction - set what @signo does in current's process
 * @act, @old: NULL: not set, not told
 *
 * Errors: -EINVAL: no such signal, or SIGKILL and SIGSTOP with an @act.
 */
int do_sigaction(int signo, const struct signal_action *act, struct signal_action *old);

/* Is a signal pending that ends current; one that ends an interruptible sleep? Context: a task. */
bool fatal_signal_pending(struct task_struct *task);
bool signal_pending(struct task_struct *task);

/**
 * force_sig_fault - the current task did something fatal at @addr
 * @signo: SIGSEGV, SIGBUS ...
 * @code:  si_code: SEGV_MAPERR ...
 *
 * Notes it in current->fault; the task dies of it when it would return to user mode, that is when
 * the caller calls do_group_exit(signo) as the default action does.
 * Context: a task.
 */
void force_sig_fault(int signo, int code, unsigned long addr);

/* current's limit; KARC_RLIM_INFINITY for kernel tasks. */
unsigned long rlimit(unsigned int which);

/**
 * do_prlimit - read, then write, one limit of @task's process
 * @which: RLIMIT_*
 * @set, @old: NULL: not set, not told
 *
 * AS, DATA, STACK and MEMLOCK go on to the address space too, which is where they are honoured.
 * Context: may sleep. Errors: -EINVAL: no such limit, or cur > max; -EPERM: raises max (or NOFILE's
 * beyond what the kernel allows) without the capability.
 */
int do_prlimit(struct task_struct *task, unsigned int which, const struct task_rlimit *set,
	       struct task_rlimit *old);

/* May @task do what needs a capability? The one switch of mm.h, MMF_CAPABLE. */
bool task_capable(struct task_struct *task);

#endif
