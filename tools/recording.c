/* SPDX-License-Identifier: MIT */
/*
 * recording.c - reads a recording
 *
 * What it is   A line reader over a fixed buffer, a word cursor over one line, and two small
 *              grammars: the head (one fact, file or program header per line) and the body
 *              (one call or event per line). Nothing of a line outlives the next line.
 *
 * Objects      struct recording owns the head (info, files with their labels and program
 *              headers) and the table of tasks that are alive, keyed by pid ordinal. A task
 *              with a call under way keeps that call, so that its end carries its arguments.
 *
 * Invariants   I1  next_pid is one more than the number of tasks seen; each new task takes it.
 *              I2  the table holds exactly the tasks born and not dead, and those dead ones
 *                  whose making call has not ended yet (a vfork child may die before).
 *              I3  after an error or the end every recording_next() repeats that outcome.
 *
 * Worst case   Line length, files, program headers and tasks have the limits of recording.h, and
 *              arrays grow with what was read, never with what a line claims. A trace of any
 *              length needs the buffer, the head and one entry per live task.
 */
#include "recording_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- live tasks -------------------------------------------------------------------------- */

static uint32_t slot_of(const struct recording *rec, uint32_t pid)
{
	return (pid * UINT32_C(2654435769)) & (rec->nr_slots - 1);
}

static struct rec_task *find_task(struct recording *rec, uint32_t pid)
{
	uint32_t i = slot_of(rec, pid);

	while (rec->tasks[i].pid && rec->tasks[i].pid != pid)
		i = (i + 1) & (rec->nr_slots - 1);
	return rec->tasks[i].pid ? &rec->tasks[i] : NULL;
}

static struct rec_task *insert_task(struct recording *rec, const struct rec_task *task)
{
	uint32_t i = slot_of(rec, task->pid);

	while (rec->tasks[i].pid)
		i = (i + 1) & (rec->nr_slots - 1);
	rec->tasks[i] = *task;
	return &rec->tasks[i];
}

static int grow_tasks(struct recording *rec)
{
	uint32_t nr_old = rec->nr_slots;
	struct rec_task *old = rec->tasks;
	struct rec_task *tasks = calloc(nr_old * 2, sizeof(*tasks));

	if (!tasks)
		return rec_fail(rec, "out of memory");
	rec->tasks = tasks;
	rec->nr_slots = nr_old * 2;
	for (uint32_t i = 0; i < nr_old; i++)
		if (old[i].pid)
			insert_task(rec, &old[i]);
	free(old);
	return 1;
}

/* Empties the slot and closes the gap, so that no probe sequence is cut. */
static void remove_task(struct recording *rec, struct rec_task *task)
{
	uint32_t mask = rec->nr_slots - 1;
	uint32_t gap = (uint32_t)(task - rec->tasks);

	for (uint32_t i = (gap + 1) & mask; rec->tasks[i].pid; i = (i + 1) & mask) {
		uint32_t home = slot_of(rec, rec->tasks[i].pid);

		if (((i - home) & mask) >= ((i - gap) & mask)) {
			rec->tasks[gap] = rec->tasks[i];
			gap = i;
		}
	}
	rec->tasks[gap].pid = 0;
	rec->nr_tasks--;
}

/* I1: takes the next ordinal. */
int rec_new_task(struct recording *rec, uint32_t pid, bool claimed)
{
	struct rec_task task = { .pid = pid, .claimed = claimed };

	if (pid != rec->next_pid)
		return rec_fail(rec, "task %u starts where task %u belongs", pid, rec->next_pid);
	if (pid > rec->info.nr_tasks)
		return rec_fail(rec, "task %u starts, but the head announces %u tasks", pid,
				rec->info.nr_tasks);
	if ((rec->nr_tasks + 1) * 2 > rec->nr_slots && grow_tasks(rec) < 0)
		return -1;
	insert_task(rec, &task);
	rec->nr_tasks++;
	rec->next_pid++;
	return 1;
}

struct rec_task *rec_live_task(struct recording *rec, uint32_t pid)
{
	struct rec_task *task = find_task(rec, pid);

	if (task && !task->dead)
		return task;
	if (!pid || pid >= rec->next_pid)
		rec_fail(rec, "task %u was never started", pid);
	else
		rec_fail(rec, "task %u has ended before", pid);
	return NULL;
}

/* I2: a dead task stays known until the call that made it has ended. */
void rec_task_dies(struct recording *rec, struct rec_task *task)
{
	task->dead = true;
	task->in_call = false;
	free(task->text);
	task->text = NULL;
	if (task->claimed)
		remove_task(rec, task);
}

/* The call of @maker that makes tasks returned @pid. */
int rec_claim_task(struct recording *rec, uint32_t maker, int64_t pid)
{
	struct rec_task *task;

	if (pid == rec->next_pid)
		return rec_new_task(rec, (uint32_t)pid, true);
	if (pid > (int64_t)rec->next_pid || pid == maker)
		return rec_fail(rec, "task %u makes task %" PRId64 ", where task %u belongs", maker,
				pid, rec->next_pid);
	task = find_task(rec, (uint32_t)pid);
	if (!task || task->claimed)
		return rec_fail(rec, "task %" PRId64 " is started a second time", pid);
	task->claimed = true;
	if (task->dead)
		remove_task(rec, task);
	return 1;
}

/* ---- the body: whole --------------------------------------------------------------------- */

static int parse_task_line(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	size_t length;
	const char *word = rec_next_word(words, &length);
	int got;

	if (length == 1 && word[0] == '<')
		return rec_parse_end(words, task, call);
	got = rec_parse_event(words, task, word, length, call);
	if (got)
		return got;
	if (task->in_call)
		return rec_fail(words->rec, "task %u begins a call inside %s of line %" PRIu64,
				task->pid, task->call.name, task->call.line);
	if (length == 1 && word[0] == '>')
		return rec_parse_begin(words, task, call);
	return rec_parse_whole(words, word, length, call);
}

static int parse_trailer(struct recording *rec)
{
	struct rec_words words = { rec, rec->text + strlen("end ") };
	uint64_t nr_lines;
	int got;

	if (rec_take_u64(&words, REC_CALLS_MAX, "a number of lines", &nr_lines) < 0 ||
	    rec_take_end(&words) < 0)
		return -1;
	if (nr_lines != rec->nr_lines)
		return rec_fail(rec, "%" PRIu64 " lines in the body, %" PRIu64 " were recorded",
				rec->nr_lines, nr_lines);
	if (rec->next_pid - 1 != rec->info.nr_tasks)
		return rec_fail(rec, "%u tasks in the body, the head announces %u",
				rec->next_pid - 1, rec->info.nr_tasks);
	got = rec_next_line(rec);
	if (got > 0)
		return rec_fail(rec, "there is more after the end");
	if (got < 0)
		return -1;
	rec->info.nr_lines = nr_lines;
	rec->outcome = 0;
	return 0;
}

static int parse_body_line(struct recording *rec, struct rec_call *call)
{
	struct rec_words words = { rec, rec->text };
	struct rec_task *task;
	uint64_t pid;
	int ok;

	if (rec_quick_decimal(&words, &pid) && pid <= REC_TASKS_MAX) {
		call->pid = (uint32_t)pid;
	} else {
		words.at = rec->text;
		if (rec_take_u32(&words, REC_TASKS_MAX, "a task or \"end\"", &call->pid) < 0)
			return -1;
	}
	if (strncmp(words.at, "born ", 5) == 0) {
		words.at += 5;
		ok = rec_parse_born(&words, call);
	} else {
		task = rec_live_task(rec, call->pid);
		ok = task ? parse_task_line(&words, task, call) : -1;
	}
	if (ok < 0 || rec_take_end(&words) < 0)
		return -1;
	rec->nr_lines++;
	return 1;
}

int recording_next(struct recording *rec, struct rec_call *call, struct recording_error *err)
{
	int got = rec->outcome;

	free(rec->last_text);
	rec->last_text = NULL;
	if (got > 0) {
		got = rec_next_line(rec);
		if (got == 0)
			got = rec_fail(rec, "the recording is truncated: it has no \"end\" line");
	}
	if (got > 0) {
		memset(call, 0, sizeof(*call));
		call->line = rec->line;
		if (strncmp(rec->text, "end ", 4) == 0)
			got = parse_trailer(rec);
		else
			got = parse_body_line(rec, call);
	}
	if (got < 0)
		*err = rec->error;
	return got;
}

/* ---- open, close, ask -------------------------------------------------------------------- */

static struct recording *new_recording(struct recording_error *err)
{
	struct recording *rec = calloc(1, sizeof(*rec));

	if (!rec) {
		*err = (struct recording_error){ 0, "out of memory" };
		return NULL;
	}
	rec->outcome = 1;
	rec->pos = rec->end = rec->buffer;
	rec->next_pid = 1;
	rec->nr_slots = 64;
	rec->tasks = calloc(rec->nr_slots, sizeof(*rec->tasks));
	rec_build_names(rec);
	if (!rec->tasks)
		rec_fail(rec, "out of memory");
	return rec;
}

/* The head; gives @rec, or NULL and closes it. */
static struct recording *begin(struct recording *rec, struct recording_error *err)
{
	if (rec->outcome > 0 && rec_parse_head(rec) > 0)
		rec_new_task(rec, 1, true);
	if (rec->outcome > 0)
		return rec;
	*err = rec->error;
	recording_close(rec);
	return NULL;
}

struct recording *recording_open(const char *path, struct recording_error *err)
{
	struct recording *rec = new_recording(err);
	struct stat st;

	if (!rec)
		return NULL;
	rec->in = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
	if (!rec->in)
		rec_fail(rec, "cannot be opened: %s", strerror(errno));
	else if (fstat(fileno(rec->in), &st) == 0 && S_ISREG(st.st_mode))
		rec->bytes_total = (uint64_t)st.st_size;
	return begin(rec, err);
}

struct recording *recording_open_stream(FILE *in, struct recording_error *err)
{
	struct recording *rec = new_recording(err);

	if (!rec) {
		fclose(in);
		return NULL;
	}
	rec->in = in;
	return begin(rec, err);
}

void recording_close(struct recording *rec)
{
	if (!rec)
		return;
	for (uint32_t i = 0; i < rec->nr_files; i++) {
		free(rec->files[i].label);
		free(rec->files[i].segments);
	}
	for (uint32_t i = 0; rec->tasks && i < rec->nr_slots; i++)
		if (rec->tasks[i].pid)
			free(rec->tasks[i].text);
	free(rec->files);
	free(rec->tasks);
	free(rec->born_fds);
	free(rec->last_text);
	if (rec->in && rec->in != stdin)
		fclose(rec->in);
	free(rec);
}

const struct rec_info *recording_info(const struct recording *rec)
{
	return &rec->info;
}

const struct rec_file *recording_file(const struct recording *rec, uint32_t id)
{
	return id && id <= rec->nr_files ? &rec->files[id - 1].file : NULL;
}

uint64_t recording_bytes_read(const struct recording *rec)
{
	return rec->bytes_read;
}

uint64_t recording_bytes_total(const struct recording *rec)
{
	return rec->bytes_total;
}
