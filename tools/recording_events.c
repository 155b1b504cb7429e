/* SPDX-License-Identifier: MIT */
/* recording_events.c - reads the events of a recording's body: what happens besides calls */
#include "recording_internal.h"

#include <stdlib.h>
#include <string.h>

static int parse_exited(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	if (rec_take_u64(words, 255, "an exit code", &call->args[0]) < 0)
		return -1;
	call->kind = REC_EXITED;
	call->nr_args = 1;
	rec_task_dies(words->rec, task);
	return 1;
}

static int parse_killed(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	if (rec_take_u64(words, 64, "a signal", &call->args[0]) < 0)
		return -1;
	if (strcmp(words->at, "core") == 0) {
		words->at += 4;
		call->args[1] = 1;
	}
	call->kind = REC_KILLED;
	call->nr_args = 2;
	rec_task_dies(words->rec, task);
	return 1;
}

/* A task that was started, dead or alive; or @least 0, which is none. */
static int take_started(struct rec_words *words, uint32_t least, uint32_t *pid)
{
	if (rec_take_u32(words, REC_TASKS_MAX, "a task", pid) < 0)
		return -1;
	if (*pid < least || *pid >= words->rec->next_pid)
		return rec_fail(words->rec, "task %u was never started", *pid);
	return 1;
}

static int parse_signal(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	(void)task;
	call->kind = REC_SIGNAL;
	call->nr_args = 3;
	if (rec_take_u64(words, 64, "a signal", &call->args[0]) < 0 ||
	    rec_take_value(words, 'd', &call->args[1]) < 0 ||
	    rec_take_value(words, 'x', &call->args[2]) < 0)
		return -1;
	return take_started(words, 0, &call->other);
}

static int parse_stopped(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	(void)task;
	call->kind = REC_STOPPED;
	call->nr_args = 1;
	return rec_take_u64(words, 64, "a signal", &call->args[0]);
}

static int parse_superseded(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	struct recording *rec = words->rec;
	struct rec_task *other;

	if (rec_take_u32(words, REC_TASKS_MAX, "a task", &call->other) < 0)
		return -1;
	other = rec_live_task(rec, call->other);
	if (!other)
		return -1;
	if (other == task || !other->in_call ||
	    (other->call.nr != REC_NR_execve && other->call.nr != REC_NR_execveat))
		return rec_fail(rec, "task %u supersedes without executing a program", call->other);
	call->kind = REC_SUPERSEDED;
	free(task->text);
	task->text = other->text;
	other->text = NULL;
	task->in_call = true;
	task->call = other->call;
	rec_task_dies(rec, other);
	return 1;
}

static int take_event_file(struct rec_words *words, struct rec_call *call)
{
	if (rec_take_value(words, '@', &call->args[0]) < 0)
		return -1;
	return call->args[0] ? 1 : rec_fail(words->rec, "no file is named");
}

static int parse_resized(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	(void)task;
	call->kind = REC_RESIZED;
	call->nr_args = 2;
	if (take_event_file(words, call) < 0)
		return -1;
	return rec_take_u64(words, REC_SIZE_MAX, "a file size", &call->args[1]);
}

static int take_event_text(struct rec_words *words, struct rec_call *call)
{
	uint64_t present;

	if (rec_take_text(words, &present) < 0)
		return -1;
	call->text = words->rec->decoded;
	call->text_bytes = strlen(call->text);
	return 1;
}

static int parse_removed(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	(void)task;
	call->kind = REC_REMOVED;
	call->nr_args = 1;
	return take_event_file(words, call);
}

static int parse_renamed(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	(void)task;
	call->kind = REC_RENAMED;
	call->nr_args = 1;
	if (take_event_file(words, call) < 0)
		return -1;
	return take_event_text(words, call);
}

static int parse_received(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	(void)task;
	call->kind = REC_RECEIVED;
	call->nr_args = 3;
	if (rec_take_u64(words, INT32_MAX, "a descriptor", &call->args[0]) < 0 ||
	    rec_take_u64(words, 1, "0 or 1", &call->args[1]) < 0)
		return -1;
	return rec_take_value(words, '@', &call->args[2]);
}

static int parse_view(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	(void)task;
	call->kind = REC_VIEW_READ;
	call->nr_args = 1;
	if (take_started(words, 0, &call->other) < 0 || take_event_text(words, call) < 0)
		return -1;
	return rec_take_u64(words, REC_SIZE_MAX, "a number of bytes", &call->args[0]);
}

static int take_maps_piece(struct rec_words *words, uint64_t *piece)
{
	static const char *const names[] = { "inside", "begins", "ends", "line", "eof" };
	unsigned int index;

	if (rec_take_name(words, names, 5, "line, begins, inside, ends or eof", &index) < 0)
		return -1;
	*piece = index;
	return 1;
}

/* The text is the rest of the line, so that it can be read as it was. */
static int parse_maps(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	int length;

	(void)task;
	call->kind = REC_MAPS_READ;
	call->nr_args = 2;
	if (take_started(words, 1, &call->other) < 0 ||
	    rec_take_u64(words, REC_SIZE_MAX, "a place in a file", &call->args[0]) < 0 ||
	    take_maps_piece(words, &call->args[1]) < 0)
		return -1;
	if (call->args[1] == REC_MAPS_EOF)
		return 1;
	length = rec_decode_text(words->rec, words->at, strlen(words->at));
	if (length < 0)
		return -1;
	words->at += strlen(words->at);
	call->text = words->rec->decoded;
	call->text_bytes = (size_t)length;
	return 1;
}

int rec_parse_born(struct rec_words *words, struct rec_call *call)
{
	struct recording *rec = words->rec;

	call->kind = REC_BORN;
	if (rec_take_u32(words, REC_TASKS_MAX, "a task", &call->other) < 0)
		return -1;
	if (call->other && (call->other == call->pid || !rec_live_task(rec, call->other))) {
		if (call->other == call->pid)
			rec_fail(rec, "task %u is its own parent", call->pid);
		return -1;
	}
	return rec_new_task(rec, call->pid, false);
}

static const struct event {
	const char *name;
	int (*parse)(struct rec_words *words, struct rec_task *task, struct rec_call *call);
} events[] = {
	{ "exited", parse_exited }, { "killed", parse_killed }, { "signal", parse_signal },
	{ "stopped", parse_stopped }, { "superseded", parse_superseded },
	{ "resized", parse_resized }, { "removed", parse_removed },
	{ "renamed", parse_renamed }, { "received", parse_received },
	{ "maps", parse_maps }, { "view", parse_view },
};

int rec_parse_event(struct rec_words *words, struct rec_task *task, const char *word, size_t length,
		    struct rec_call *call)
{
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (word[0] == events[i].name[0] && rec_same(word, length, events[i].name))
			return events[i].parse(words, task, call);
	return 0;
}
