/* SPDX-License-Identifier: MIT */
/*
 * replay_play.c - the loop: one line of the recording after the other
 *
 * What it is
 *	Recorded tasks are karc tasks, children of an init that stands for the shell. A call that
 *	was recorded whole is carried out at its line; one that was interrupted by others' lines at
 *	its end, or earlier where replay_order.c finds that the results demand it. A child that
 *	shows itself (REC_BORN) before the call that makes it ends is made then. A task ends at the
 *	line where it was seen to end.
 *
 *	The host fiber hands the loop to a task and the task goes on with it as long as the lines
 *	are its own or need nobody: a burst. Then it gives the loop back. So a program of one
 *	thread costs no switch at all, and with several CPUs each line is still carried out by its
 *	own task on its own CPU, one after the other in the recorded order. What has no recorded
 *	order, the accesses to memory between the calls, goes on meanwhile (replay_touch.c).
 *
 * Invariants
 *	I1  replay.line is carried out once: line_waits says that it was read and nobody has yet
 *	I2  only one party has the loop; it is handed over by task_call() and its end
 *
 * Locking
 *	What belongs to the loop needs none (I2). Sums that touching adds to are atomic.
 *
 * Worst case
 *	Memory grows with the tasks and files alive, not with the recording.
 */
#include "replay.h"
#include <karc/hw/cpu.h>
#include <karc/mm/phys/vmstat.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines that need no task ------------------------------------------------------------- */

/* A call that changes nothing karc has: it is counted wherever the loop is. */
static bool needs_nobody(const struct rec_call *call)
{
	switch (call->kind) {
	case REC_SIGNAL:
	case REC_STOPPED:
	case REC_VIEW_READ:
		return true;
	case REC_CALL:
	case REC_BEGIN:
	case REC_END:
		return call->class == REC_CLASS_OTHER && call->nr != REC_NR_rt_sigaction;
	default:
		return false;
	}
}

static void count_only(struct replay *r)
{
	if (r->line.kind == REC_CALL || r->line.kind == REC_END)
		r->n.skipped++;
}

/* ---- lines of a task --------------------------------------------------------------------- */

static void begin(struct replay *r, struct replay_task *t)
{
	t->begun = r->line;
	if (r->line.text) {		/* the line's own is gone with the next line */
		t->begun_text = strdup(r->line.text);
		t->begun.text = t->begun_text;
	}
	t->has_begun = true;
	t->looked_to = 0;
	replay_notes_exit(t, &t->begun);
	if (replay_orders(&t->begun))
		replay_order_begin(r, t);
}

void replay_call_over(struct replay_task *t)
{
	replay_order_end(t);
	free(t->begun_text);
	t->begun_text = NULL;
	t->has_begun = t->has_end = t->early = false;
}

static void carry_out(struct replay *r, struct replay_task *t)
{
	switch (r->line.kind) {
	case REC_BEGIN:
		begin(r, t);
		break;
	case REC_END:
		replay_call(r, t, &r->line);
		replay_call_over(t);
		break;
	case REC_CALL:
		replay_call(r, t, &r->line);
		break;
	case REC_RESIZED:
	case REC_REMOVED:
	case REC_RENAMED:
		replay_file_event(r, &r->line);
		break;
	case REC_RECEIVED:
		replay_received(r, t, &r->line);
		break;
	case REC_MAPS_READ:
		replay_maps_read(r, t, &r->line);
		break;
	default:
		break;
	}
}

/* Lines that the host fiber sees to: what begins and what ends a task. */
static bool is_for_host(const struct rec_call *call)
{
	return call->kind == REC_BORN || call->kind == REC_EXITED || call->kind == REC_KILLED ||
	       call->kind == REC_SUPERSEDED;
}

static void watch_memory(struct replay *r)
{
	unsigned long nr_free = phys_nr_free(r->m);

	if (nr_free < r->least_free)
		r->least_free = nr_free;
}

struct burst {
	struct replay *r;
	struct replay_task *t;
};

/* As the task: its lines, until one comes that is another's. */
static long burst_entry(void *arg)
{
	struct burst *b = arg;
	struct replay *r = b->r;
	struct replay_task *t = b->t;

	do {
		r->line_waits = false;
		if (needs_nobody(&r->line)) {
			count_only(r);
		} else if (replay_touch_now(r, t)) {
			carry_out(r, t);
			watch_memory(r);
		}
		if (r->stop || !replay_next(r))
			break;
		r->line_waits = true;
	} while (needs_nobody(&r->line) || (r->line.pid == t->pid && !is_for_host(&r->line)));
	if (r->opt.machine.cpus == 1)		/* nobody to go on meanwhile */
		replay_touch_now(r, t);
	return 0;
}

/* ---- the host fiber's part --------------------------------------------------------------- */

static void hand_over(struct replay *r)
{
	struct replay_task *t = replay_task(r, r->line.pid);
	struct burst b = { r, t };
	struct machine_result res;
	uint64_t line = r->line.line;

	if (!t || t->dead) {
		/* Its group has ended by another's exit; what it still said had no effect. */
		r->line_waits = false;
		if (!t || !t->group || (r->line.kind != REC_END && r->line.kind != REC_CALL))
			replay_stop(r, line, true, "task %u is not alive", r->line.pid);
		else
			r->n.noted++;
		return;
	}
	replay_touch_wait(r, t);
	t->group->cpus |= 1ULL << t->task->cpu;
	res = task_call(t->task, burst_entry, &b);
	if (res.end != MACHINE_VALUE)
		replay_stop(r, r->line.line, false, "%s ended the task: %s",
			    r->line.name[0] ? r->line.name : "this line",
			    res.message[0] ? res.message : "no memory for what it must write");
	else if (res.value)
		replay_stop(r, line, false, "no memory on the host");
	else if (!r->stop)
		replay_touch_aside(r, t);
}

static void host_line(struct replay *r)
{
	r->line_waits = false;
	switch (r->line.kind) {
	case REC_BORN:
		replay_born(r, &r->line);
		break;
	case REC_SUPERSEDED:
		replay_superseded(r, &r->line);
		break;
	default:
		replay_ended(r, &r->line);
		break;
	}
	watch_memory(r);
}

void replay_play(struct replay *r)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &r->began);
	while (!r->stop && (r->line_waits || replay_next(r))) {
		r->line_waits = true;
		if (is_for_host(&r->line))
			host_line(r);
		else if (needs_nobody(&r->line))
			r->line_waits = false, count_only(r);
		else
			hand_over(r);
	}
	replay_touch_wait_all(r);
	clock_gettime(CLOCK_MONOTONIC, &end);
	r->seconds = (double)(end.tv_sec - r->began.tv_sec) +
		     (double)(end.tv_nsec - r->began.tv_nsec) / 1e9;
	if (r->opt.progress)
		replay_progress(r, true);
}
