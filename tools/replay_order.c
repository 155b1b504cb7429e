/* SPDX-License-Identifier: MIT */
/*
 * replay_order.c - calls that overlap: which takes effect first
 *
 * What it is
 *	A recording says when calls began and ended, not when in between they took effect. A call
 *	that overlaps none of its kind takes effect at its end. Where several are under way on the
 *	same address space or the same table of descriptors, an order is looked for in which all are
 *	answered as recorded (replay_search.c), and becomes a plan. Before a call takes effect at
 *	its end, those that the plan has before it take effect, ahead of their ends.
 *
 * Objects
 *	replay.open holds the tasks that are inside such a call, oldest first. A call that took
 *	effect early keeps its answer for the line of its end; one that gets a descriptor has the
 *	number reserved instead, because the file is known at its end only.
 *
 * Invariants
 *	I1  nothing takes effect before the line of its begin
 *	I2  a call that is in no plan takes effect at its end, and if it differs is a finding
 *
 * Worst case
 *	A search for every REPLAY_STEPS_MAX / 4 overlapping calls, bounded there. A call that waits
 *	(accept, open of a pipe) competes for descriptors only; waiting for children does not.
 *
 * Unlike Linux
 *	A fork and a call of another thread at the same time are taken in the order of their ends;
 *	which it was shows in the child only.
 */
#include "replay_order.h"
#include <karc/base/err.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/files.h>
#include <fcntl.h>
#include <inttypes.h>

/* ---- which calls ------------------------------------------------------------------------- */

bool replay_orders_memory(const struct rec_call *call)
{
	switch (call->nr) {
	case REC_NR_mmap: case REC_NR_munmap: case REC_NR_mremap: case REC_NR_brk:
	case REC_NR_shmat: case REC_NR_shmdt:
		return true;
	default:
		return false;
	}
}

bool replay_takes_fd(const struct rec_call *call, unsigned int *start)
{
	*start = 0;
	switch (call->nr) {
	case REC_NR_open: case REC_NR_openat: case REC_NR_openat2: case REC_NR_creat:
	case REC_NR_memfd_create: case REC_NR_memfd_secret: case REC_NR_dup: case REC_NR_pipe:
	case REC_NR_pipe2: case REC_NR_socketpair:
		return true;
	case REC_NR_fcntl:
		*start = (unsigned int)call->args[2];
		return call->args[1] == F_DUPFD || call->args[1] == F_DUPFD_CLOEXEC;
	default:
		return call->class == REC_CLASS_NEWFD || call->kind == REC_RECEIVED;
	}
}

bool replay_frees_fds(const struct rec_call *call, uint64_t *first, uint64_t *last)
{
	if (call->nr == REC_NR_close) {
		*first = *last = call->args[0];
		return true;
	}
	if (call->nr != REC_NR_close_range || (call->args[2] & 4))	/* CLOSE_RANGE_CLOEXEC */
		return false;
	*first = call->args[0];
	*last = call->args[1];
	return true;
}

bool replay_orders_fds(const struct rec_call *call)
{
	unsigned int start;
	uint64_t first, last;

	return replay_takes_fd(call, &start) || replay_frees_fds(call, &first, &last) ||
	       call->nr == REC_NR_dup2 || call->nr == REC_NR_dup3;
}

/* A call that can only succeed while the task it names is there. */
static bool names_task(const struct rec_call *call, uint32_t pid)
{
	switch (call->nr) {
	case REC_NR_kill: case REC_NR_tkill: case REC_NR_setpgid: case REC_NR_prlimit64:
	case REC_NR_getpgid: case REC_NR_getsid: case REC_NR_rt_sigqueueinfo:
		return call->args[0] == pid;
	case REC_NR_tgkill: case REC_NR_rt_tgsigqueueinfo:
		return call->args[0] == pid || call->args[1] == pid;
	default:
		return false;
	}
}

bool replay_orders(const struct rec_call *call)
{
	return replay_orders_memory(call) || replay_orders_fds(call) ||
	       names_task(call, (uint32_t)call->args[0]);
}

void replay_order_begin(struct replay *r, struct replay_task *t)
{
	list_add_tail(&t->open_node, &r->open);
}

void replay_order_end(struct replay_task *t)
{
	unsigned int i;

	list_del_init(&t->open_node);
	for (i = 0; i < 2; i++) {
		if (t->reserved[i] >= 0 && t->task->files)
			close_fd_of(t->task->files, (unsigned int)t->reserved[i]);
		t->reserved[i] = -1;
	}
}

bool replay_has_resource(const struct replay_task *t, struct replay_resource of)
{
	if (t->dead)
		return false;
	return of.mm ? t->task->mm == of.mm : t->task->files == of.files;
}

/* ---- carrying out a plan ----------------------------------------------------------------- */

/* @t's call has the lowest free number from now on; or no longer, if it passes. */
static bool reserve(struct replay *r, struct replay_task *t, const struct replay_step *step)
{
	struct files_struct *files = t->task->files;
	unsigned int start, part = step->passing ? 0 : step->part;

	if (step->passing && step->part) {
		if (t->reserved[0] >= 0)
			close_fd_of(files, (unsigned int)t->reserved[0]);
		t->reserved[0] = -1;
		return true;
	}
	replay_takes_fd(&t->begun, &start);
	t->reserved[part] = fd_alloc_install(files, start, get_file(r->any_file), true);
	return t->reserved[part] >= 0;
}

/* One step before the call @self is at: ahead of its end, unless it is over. */
static void carry_out(struct replay *r, struct replay_task *self, const struct replay_step *step)
{
	struct replay_task *t = replay_task(r, step->pid);
	unsigned int start;
	bool done;

	if (!t || t->dead || !t->has_begun || t->begun.line != step->line || t->early)
		return;
	if (replay_takes_fd(&t->begun, &start))
		done = reserve(r, t, step);
	else
		done = t != self && replay_call_early(r, t);
	r->n.reordered += done && t != self;
}

static int step_of(const struct replay_plan *plan, uint32_t pid, uint64_t line)
{
	unsigned int i;

	for (i = plan->pos; i < plan->nr; i++)
		if (plan->steps[i].pid == pid && plan->steps[i].line == line && plan->steps[i].last)
			return (int)i;
	return -1;
}

/* A plan that has this call and does not end soon after it without having seen more. */
static struct replay_plan *plan_for(struct replay *r, struct replay_task *t,
				    const struct rec_call *call, struct replay_resource of)
{
	uint64_t line = call->kind == REC_END ? t->begun.line : call->line;
	struct replay_plan *plan;
	unsigned int i;
	int at;

	for (i = 0; i < REPLAY_PLANS; i++) {
		plan = &r->plans[i];
		if (!plan->nr || plan->mm != of.mm || plan->files != of.files)
			continue;
		at = step_of(plan, t->pid, line);
		if (at >= 0 && (!plan->cut || (unsigned int)at < plan->nr / 2))
			return plan;
		break;
	}
	if (i == REPLAY_PLANS)
		plan = &r->plans[r->next_plan++ % REPLAY_PLANS];
	plan->nr = plan->pos = 0;
	replay_search(r, t, call, of, plan);
	return plan;
}

static bool others_open(struct replay *r, struct replay_task *self, struct replay_resource of)
{
	struct replay_task *t;

	list_for_each_entry(t, &r->open, open_node)
		if (t != self && !t->early && replay_has_resource(t, of) &&
		    (of.mm ? replay_orders_memory(&t->begun) : replay_orders_fds(&t->begun)))
			return true;
	return false;
}

static void order_on(struct replay *r, struct replay_task *t, const struct rec_call *call,
		     struct replay_resource of)
{
	struct replay_plan *plan;
	int at;

	if (!others_open(r, t, of))
		return;
	plan = plan_for(r, t, call, of);
	at = step_of(plan, t->pid, call->kind == REC_END ? t->begun.line : call->line);
	for (; (int)plan->pos < at && !r->stop; plan->pos++)
		carry_out(r, t, &plan->steps[plan->pos]);
	if (at >= 0)				/* else I2 */
		plan->pos = (unsigned int)at + 1;
}

void replay_order(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	struct replay_resource of = { NULL, NULL };

	if (list_empty(&r->open) || (list_is_singular(&r->open) && r->open.next == &t->open_node))
		return;
	if (call->nr == REC_NR_execve || call->nr == REC_NR_execveat) {
		replay_order_death(r, t);
		return;
	}
	if (replay_orders_memory(call))
		of.mm = t->task->mm;
	else if (replay_orders_fds(call))
		of.files = t->task->files;
	if (of.mm || of.files)
		order_on(r, t, call, of);
}

void replay_order_death(struct replay *r, struct replay_task *t)
{
	struct replay_task *other, *next;

	list_for_each_entry_safe(other, next, &r->open, open_node) {
		if (other == t || other->early || !names_task(&other->begun, t->pid))
			continue;
		if (replay_look_for_end(r, other) && other->end.has_result &&
		    !other->end.result && replay_call_early(r, other))
			r->n.reordered++;
	}
}
