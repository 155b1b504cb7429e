/* SPDX-License-Identifier: MIT */
/*
 * replay_calls.c - carry out one recorded call as the task that made it, and compare
 *
 * Each family of calls has its file; here is what is common: when a call is carried out at all,
 * what has to come before it, and what its answer is held against. What karc cannot carry out ends
 * the replay by name.
 */
#include "replay.h"
#include <karc/base/err.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* ---- differences ------------------------------------------------------------------------- */

void replay_mismatch(struct replay *r, const struct rec_call *call, const char *fmt, ...)
{
	va_list args;
	char text[240];
	uint8_t i;

	r->n.mismatched++;
	if (r->n.mismatched > 20)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fprintf(stderr, "%s:%" PRIu64 ": ", r->opt.path, call->line);
	if (call->name[0]) {
		fprintf(stderr, "%s(", call->name);
		for (i = 0; i < call->nr_args; i++)
			fprintf(stderr, "%s0x%" PRIx64, i ? ", " : "", call->args[i]);
		fprintf(stderr, ") of ");
	}
	fprintf(stderr, "task %u: %s\n", call->pid, text);
	if (r->n.mismatched == 20)
		fprintf(stderr, "%s: further differences are only counted\n", r->opt.path);
}

const char *replay_value_text(long value, char *buf, size_t size)
{
	const char *name = value < 0 && value >= -MAX_ERRNO ? rec_errno_name((int)-value) : NULL;

	if (name)
		return name;
	snprintf(buf, size, "0x%lx", (unsigned long)value);
	return buf;
}

static void say_difference(const struct replay_job *job, long got)
{
	char want_text[32], got_text[32];

	replay_mismatch(job->r, job->call, "expected %s, got %s%s%s",
			replay_value_text((long)job->call->result, want_text, sizeof(want_text)),
			replay_value_text(got, got_text, sizeof(got_text)),
			job->note[0] ? ": " : "", job->note);
}

/* ---- one call ---------------------------------------------------------------------------- */

/* Results in the kernel's own range: the call was restarted or interrupted. */
static bool was_interrupted(const struct rec_call *call)
{
	return call->has_result && call->result <= -512 && call->result >= -516;
}

static bool is_descriptor_call(const struct rec_call *call)
{
	return call->class == REC_CLASS_FILE || call->class == REC_CLASS_NEWFD;
}

static replay_fn fn_of(const struct rec_call *call)
{
	switch (call->class) {
	case REC_CLASS_MEM:
		return replay_mem_fn(call);
	case REC_CLASS_PROC:
		return replay_proc_fn(call);
	case REC_CLASS_FILE:
	case REC_CLASS_NEWFD:
		return replay_file_fn(call);
	default:
		return call->nr == REC_NR_rt_sigaction ? replay_sigaction : NULL;
	}
}

static void account(struct replay_job *job, long got)
{
	struct replay *r = job->r;
	const struct rec_call *call = job->call;
	bool same = got == call->result && !job->note[0];

	if (r->stop)
		return;
	if (got == REPLAY_REFUSED || (got == -ENOSYS && call->result != -ENOSYS)) {
		replay_stop(r, call->line, true, "karc cannot replay %s%s%s", call->name,
			    job->note[0] ? " " : "", job->note);
	} else if (got == REPLAY_NOTED) {
		r->n.noted++;
	} else if (got == REPLAY_SKIPPED) {
		r->n.skipped++;
	} else {
		if (is_descriptor_call(call)) {
			r->n.fd_calls++;
			r->n.fd_same += same;
		} else {
			r->n.replayed++;
			r->n.matched += same;
		}
		if (!same)
			say_difference(job, got);
	}
}

void replay_notes_exit(struct replay_task *t, const struct rec_call *call)
{
	if (call->nr != REC_NR_exit && call->nr != REC_NR_exit_group)
		return;
	t->leaves = true;
	t->exit_status = (int)(call->args[0] & 0xff) << 8;
	if (call->nr != REC_NR_exit_group)
		return;
	t->leaves_group = t->group->leaves = true;
	t->group->exit_status = t->exit_status;
}

void replay_call(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	struct replay_job job = { .r = r, .t = t, .call = call };
	replay_fn fn;

	if (t->early) {
		memcpy(job.note, t->early_note, sizeof(job.note));
		account(&job, t->early_value);
		return;
	}
	if (call->nr == REC_NR_exit || call->nr == REC_NR_exit_group) {
		replay_notes_exit(t, call);	/* counted when the task is seen to end */
		return;
	}
	fn = fn_of(call);
	if (!fn || !call->has_result || was_interrupted(call)) {
		r->n.noted++;
		return;
	}
	replay_order(r, t, call);
	if (!list_empty(&r->touching))
		replay_touch_wait_range(r, t, replay_mem_disturbs(call));
	r->n.per_cpu[smp_processor_id()]++;
	account(&job, fn(&job));
}

/* ---- ahead of its end -------------------------------------------------------------------- */

struct early {
	struct replay_job job;
	replay_fn fn;
};

static long early_entry(void *arg)
{
	struct early *early = arg;

	return early->fn(&early->job);
}

bool replay_call_early(struct replay *r, struct replay_task *t)
{
	struct early early = { .job = { .r = r, .t = t } };
	struct machine_result res;

	early.job.call = t->has_end ? &t->end : &t->begun;
	early.fn = fn_of(early.job.call);
	if (!early.fn || t->task == current)
		return false;
	replay_touch_wait(r, t);
	replay_touch_wait_range(r, t, replay_mem_disturbs(early.job.call));
	t->quiet = true;
	res = task_call(t->task, early_entry, &early);
	t->quiet = false;
	if (res.end != MACHINE_VALUE) {
		replay_stop(r, early.job.call->line, false, "%s ended the task: %s",
			    early.job.call->name, res.message);
		return false;
	}
	t->early = true;
	t->early_value = res.value;
	memcpy(t->early_note, early.job.note, sizeof(t->early_note));
	return true;
}
