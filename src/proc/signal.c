/* SPDX-License-Identifier: MIT */
/*
 * signal.c - signal_struct, and faults that kill
 *
 * Unlike Linux
 *	No handlers, masks or queues yet: a fault notes what it would deliver, and the default
 *	action (the end of the group) is the caller's next step.
 */
#include <karc/proc/signal.h>
#include "internal.h"

static void signal_free(void *obj)
{
	kmem_cache_free(proc_state()->signal_cache, obj);
}

static const struct arc_type signal_type = {
	.name = "signal_struct",
	.size = sizeof(struct signal_struct),
	.offset = offsetof(struct signal_struct, arc),
	.flags = ARC_LEAF,
	.ops = { .free = signal_free },
};

int signal_types_register(struct proc_state *p)
{
	(void)p;
	return arc_type_register(&signal_type);
}

struct signal_struct *KARC_BODY(signal_alloc_site)(const struct site *site)
{
	struct signal_struct *sig;

	sig = kmem_cache_alloc_site(proc_state()->signal_cache, GFP_KERNEL | __GFP_ZERO, site);
	if (!sig)
		return NULL;
	init_waitqueue_head(&sig->wait_chldexit);
	arc_init_site(&sig->arc, &signal_type, site);
	return sig;
}

void KARC_BODY(put_signal_struct)(struct signal_struct *sig)
{
	if (sig)
		arc_put(&sig->arc);
}

void force_sig_fault(int signo, int code, unsigned long addr)
{
	struct task_struct *task = current;

	task->fault.signo = signo;
	task->fault.code = code;
	task->fault.addr = addr;
}
