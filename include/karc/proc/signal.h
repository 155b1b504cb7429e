/* SPDX-License-Identifier: MIT */
/*
 * signal.h - what a thread group shares, and how a fault becomes a death
 *
 * Only fatal signals and SIGCHLD exist so far: handlers, masks and queues come later.
 */
#ifndef KARC_PROC_SIGNAL_H
#define KARC_PROC_SIGNAL_H

#include <karc/base/contract.h>
#include <karc/base/site.h>
#include <karc/hw/wait.h>
#include <karc/refcount/arc.h>

struct task_struct;

struct signal_struct {
	struct arc arc;
	wait_queue_head_t wait_chldexit;	/* woken when a child dies, or a dead one is adopted */
	int group_exit_code;		/* written by the group as it ends */
	bool group_exit;
};

/**
 * signal_alloc - what a new thread group shares
 *
 * Gives:   one reference; end it with put_signal_struct(), which ignores NULL.
 * Context: may sleep. Errors: NULL: no memory.
 */
KARC_MUST_CHECK KARC_GIVES struct signal_struct *signal_alloc_site(const struct site *site);
#define signal_alloc() signal_alloc_site(SITE())
void put_signal_struct(KARC_TAKES struct signal_struct *sig) KARC_PUTS(1);

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

#endif
