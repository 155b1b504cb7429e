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

#include <assert.h>
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
static int new_task(struct recording *rec, uint32_t pid, bool claimed)
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

static struct rec_task *live_task(struct recording *rec, uint32_t pid)
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
static void task_dies(struct recording *rec, struct rec_task *task)
{
	task->dead = true;
	task->in_call = false;
	if (task->claimed)
		remove_task(rec, task);
}

/* The call of @maker that makes tasks returned @pid. */
static int claim_task(struct recording *rec, uint32_t maker, int64_t pid)
{
	struct rec_task *task;

	if (pid == rec->next_pid)
		return new_task(rec, (uint32_t)pid, true);
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

/* ---- the body: calls --------------------------------------------------------------------- */

static unsigned int name_slot(const char *name, size_t length)
{
	unsigned int hash = (unsigned int)length;

	for (size_t i = 0; i < length; i++)
		hash = hash * 31 + (unsigned char)name[i];
	return (hash ^ (hash >> 9)) & (NAME_SLOTS - 1);
}

static_assert(REC_NR_CALLS < 256 && REC_NR_CALLS * 3 < NAME_SLOTS, "keys fit the name table");

static void build_names(struct recording *rec)
{
	for (unsigned int nr = 1; nr < REC_NR_CALLS; nr++) {
		const char *name = rec_call_desc((enum rec_call_nr)nr)->name;
		unsigned int slot = name_slot(name, strlen(name));

		while (rec->names[slot])
			slot = (slot + 1) & (NAME_SLOTS - 1);
		rec->names[slot] = (uint8_t)nr;
	}
}

static enum rec_call_nr lookup_name(const struct recording *rec, const char *name, size_t length)
{
	unsigned int slot = name_slot(name, length);

	for (; rec->names[slot]; slot = (slot + 1) & (NAME_SLOTS - 1)) {
		enum rec_call_nr nr = (enum rec_call_nr)rec->names[slot];

		if (rec_same(name, length, rec_call_desc(nr)->name))
			return nr;
	}
	return REC_NR_OTHER;
}

static int take_pid_value(struct rec_words *words, const char *word, size_t length, uint64_t *value)
{
	int64_t number;

	if (rec_same(word, length, "?")) {
		*value = REC_PID_UNKNOWN;
		return 1;
	}
	if (!rec_parse_signed(word, length, &number))
		return rec_bad_word(words, word, length, "a task");
	if (number >= (int64_t)words->rec->next_pid || -number >= (int64_t)words->rec->next_pid)
		if (number != -1)
			return rec_fail(words->rec, "task %.*s was never started",
					rec_shown(length), word);
	*value = (uint64_t)number;
	return 1;
}

static int take_fd(struct rec_words *words, const char *word, size_t length, uint64_t *value)
{
	int64_t number;

	if (!rec_parse_signed(word, length, &number) || number < INT32_MIN || number > INT32_MAX)
		return rec_bad_word(words, word, length, "a descriptor");
	*value = (uint64_t)number;
	return 1;
}

/* One value as its letter in REC_CALLS() says. */
static int take_value(struct rec_words *words, char letter, uint64_t *value)
{
	size_t length;
	const char *word;
	uint32_t id;

	if (letter == '@') {
		if (rec_take_file_id(words, words->rec->nr_files, &id) < 0)
			return -1;
		*value = id;
		return 1;
	}
	word = rec_next_word(words, &length);
	switch (letter) {
	case 'x':
		return rec_parse_hex(word, length, value) ? 1 :
		       rec_bad_word(words, word, length, "a hexadecimal number of 64 bits");
	case 'u':
		return rec_parse_digits(word, length, 10, value) ? 1 :
		       rec_bad_word(words, word, length, "a number of 64 bits");
	case 'o':
		return length && word[0] == '0' && rec_parse_digits(word, length, 8, value) ? 1 :
		       rec_bad_word(words, word, length, "an octal number");
	case 'p':
		return take_pid_value(words, word, length, value);
	case 'f':
		return take_fd(words, word, length, value);
	default:
		return rec_parse_signed(word, length, (int64_t *)value) ? 1 :
		       rec_bad_word(words, word, length, "a signed number of 64 bits");
	}
}

static int take_args(struct rec_words *words, struct rec_call *call)
{
	const char *letters = rec_call_desc(call->nr)->args;

	for (; letters[call->nr_args]; call->nr_args++)
		if (take_value(words, letters[call->nr_args], &call->args[call->nr_args]) < 0)
			return -1;
	return 1;
}

static int parse_errno(struct rec_words *words, const char *word, size_t length, int64_t *result)
{
	uint64_t number;
	int err = rec_errno_by_name(word + 1, length - 1);

	if (!err) {
		if (word[1] != 'E' || !rec_parse_digits(word + 2, length - 2, 10, &number) ||
		    !number || number > 4095)
			return rec_bad_word(words, word, length, "an error");
		err = (int)number;
	}
	*result = -err;
	return 1;
}

static int take_result(struct rec_words *words, struct rec_call *call)
{
	size_t length;
	const char *word = rec_next_word(words, &length);
	uint64_t number;

	if (!rec_same(word, length, "="))
		return rec_bad_word(words, word, length, "\"=\" and a result");
	word = rec_next_word(words, &length);
	if (rec_same(word, length, "?"))
		return 1;
	call->has_result = true;
	if (length > 1 && word[0] == '-')
		return parse_errno(words, word, length, &call->result);
	if (rec_parse_hex(word, length, &number)) {
		call->result = (int64_t)number;
		return 1;
	}
	if (!rec_parse_digits(word, length, 10, &number) || number > INT64_MAX)
		return rec_bad_word(words, word, length, "a result");
	call->result = (int64_t)number;
	return 1;
}

static int take_out(struct rec_words *words, struct rec_call *call)
{
	const char *letters = rec_call_desc(call->nr)->out;

	if (!*words->at)
		return 1;
	if (!call->has_result || call->result < 0)
		return rec_fail(words->rec, "outputs of a call that failed");
	for (; letters[call->nr_out]; call->nr_out++)
		if (take_value(words, letters[call->nr_out], &call->out[call->nr_out]) < 0)
			return -1;
	return 1;
}

/* What no kernel returns: catches damage that is still well-formed. */
static int check_memory_result(struct recording *rec, const struct rec_call *call)
{
	uint64_t result = (uint64_t)call->result, length = 0;

	if (call->nr == REC_NR_mmap || call->nr == REC_NR_munmap || call->nr == REC_NR_mprotect)
		length = call->args[1];
	else if (call->nr == REC_NR_mremap)
		length = call->args[2];
	if (length > REC_SIZE_MAX)
		return rec_fail(rec, "%s of %" PRIu64 " bytes cannot have succeeded", call->name,
				length);
	if (rec_call_desc(call->nr)->result != 'x')
		return 1;
	if (result > UINT64_C(1) << 56)
		return rec_fail(rec, "%s returns 0x%" PRIx64 ", which is no user address",
				call->name, result);
	if (call->nr != REC_NR_brk && (result & (rec->info.page_size - 1)))
		return rec_fail(rec, "%s returns 0x%" PRIx64 ", which is no page address",
				call->name, result);
	return 1;
}

static int check_result(struct recording *rec, const struct rec_call *call)
{
	char letter = rec_call_desc(call->nr)->result;
	bool makes_task = call->nr == REC_NR_clone || call->nr == REC_NR_clone3 ||
			  call->nr == REC_NR_fork || call->nr == REC_NR_vfork;

	if (!call->has_result || (call->result < 0 && call->result >= -4095))
		return 1;
	if (call->result < 0 && letter != 'd')
		return rec_fail(rec, "%s returns 0x%" PRIx64 ", which is no user address",
				call->name, (uint64_t)call->result);
	if (call->class == REC_CLASS_MEM && check_memory_result(rec, call) < 0)
		return -1;
	if (letter == 'f' && call->result > INT32_MAX)
		return rec_fail(rec, "%s returns no descriptor", call->name);
	if (makes_task)
		return claim_task(rec, call->pid, call->result);
	if (letter == 'p' && call->result >= rec->next_pid)
		return rec_fail(rec, "%s returns task %" PRId64 ", which was never started",
				call->name, call->result);
	return 1;
}

static int take_call_name(struct rec_words *words, const char *word, size_t length,
			  struct rec_call *call)
{
	if (!length || length >= sizeof(call->name) || word[0] < 'a' || word[0] > 'z' ||
	    strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789_") != length)
		return rec_bad_word(words, word, length, "a call or an event");
	memcpy(call->name, word, length);
	call->name[length] = '\0';
	call->nr = lookup_name(words->rec, word, length);
	call->class = rec_call_desc(call->nr)->class;
	return 1;
}

static int parse_begin(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	size_t length;
	const char *word = rec_next_word(words, &length);

	call->kind = REC_BEGIN;
	if (take_call_name(words, word, length, call) < 0 || take_args(words, call) < 0)
		return -1;
	task->in_call = true;
	task->call = *call;
	return 1;
}

static int parse_end(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	size_t length;
	const char *word = rec_next_word(words, &length);
	uint64_t line = call->line;

	if (!task->in_call)
		return rec_fail(words->rec, "a call of task %u ends that has not begun", task->pid);
	if (!rec_same(word, length, task->call.name))
		return rec_fail(words->rec,
				"%.*s of task %u ends, but %s had begun in line %" PRIu64,
				rec_shown(length), word, task->pid, task->call.name,
				task->call.line);
	*call = task->call;
	call->kind = REC_END;
	call->pid = task->pid;
	call->line = line;
	task->in_call = false;
	if (take_result(words, call) < 0 || take_out(words, call) < 0)
		return -1;
	return check_result(words->rec, call);
}

static int parse_whole(struct rec_words *words, const char *word, size_t length,
		       struct rec_call *call)
{
	call->kind = REC_CALL;
	if (take_call_name(words, word, length, call) < 0 || take_args(words, call) < 0 ||
	    take_result(words, call) < 0 || take_out(words, call) < 0)
		return -1;
	return check_result(words->rec, call);
}

/* ---- the body: events -------------------------------------------------------------------- */

static int parse_exited(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	if (rec_take_u64(words, 255, "an exit code", &call->args[0]) < 0)
		return -1;
	call->kind = REC_EXITED;
	call->nr_args = 1;
	task_dies(words->rec, task);
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
	task_dies(words->rec, task);
	return 1;
}

static int parse_signal(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	(void)task;
	call->kind = REC_SIGNAL;
	call->nr_args = 3;
	if (rec_take_u64(words, 64, "a signal", &call->args[0]) < 0 ||
	    take_value(words, 'd', &call->args[1]) < 0)
		return -1;
	return take_value(words, 'x', &call->args[2]);
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
	other = live_task(rec, call->other);
	if (!other)
		return -1;
	if (other == task || !other->in_call ||
	    (other->call.nr != REC_NR_execve && other->call.nr != REC_NR_execveat))
		return rec_fail(rec, "task %u supersedes without executing a program", call->other);
	call->kind = REC_SUPERSEDED;
	task->in_call = true;
	task->call = other->call;
	task_dies(rec, other);
	return 1;
}

static int parse_resized(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	(void)task;
	call->kind = REC_RESIZED;
	call->nr_args = 2;
	if (take_value(words, '@', &call->args[0]) < 0)
		return -1;
	if (!call->args[0])
		return rec_fail(words->rec, "no file to resize");
	return rec_take_u64(words, REC_SIZE_MAX, "a file size", &call->args[1]);
}

static int parse_readmaps(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	(void)task;
	call->kind = REC_MAPS_READ;
	call->nr_args = 1;
	return rec_take_u64(words, REC_SIZE_MAX, "a number of bytes", &call->args[0]);
}

static int parse_born(struct rec_words *words, struct rec_call *call)
{
	struct recording *rec = words->rec;

	call->kind = REC_BORN;
	if (rec_take_u32(words, REC_TASKS_MAX, "a task", &call->other) < 0)
		return -1;
	if (call->other && (call->other == call->pid || !live_task(rec, call->other))) {
		if (call->other == call->pid)
			rec_fail(rec, "task %u is its own parent", call->pid);
		return -1;
	}
	return new_task(rec, call->pid, false);
}

static const struct event {
	const char *name;
	int (*parse)(struct rec_words *words, struct rec_task *task, struct rec_call *call);
} events[] = {
	{ "exited", parse_exited }, { "killed", parse_killed }, { "signal", parse_signal },
	{ "stopped", parse_stopped }, { "superseded", parse_superseded },
	{ "resized", parse_resized }, { "readmaps", parse_readmaps },
};

static int parse_task_line(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	size_t length;
	const char *word = rec_next_word(words, &length);

	if (length == 1 && word[0] == '<')
		return parse_end(words, task, call);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (word[0] == events[i].name[0] && rec_same(word, length, events[i].name))
			return events[i].parse(words, task, call);
	if (task->in_call)
		return rec_fail(words->rec, "task %u begins a call inside %s of line %" PRIu64,
				task->pid, task->call.name, task->call.line);
	if (length == 1 && word[0] == '>')
		return parse_begin(words, task, call);
	return parse_whole(words, word, length, call);
}

/* ---- the body: whole --------------------------------------------------------------------- */

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
	int ok;

	if (rec_take_u32(&words, REC_TASKS_MAX, "a task or \"end\"", &call->pid) < 0)
		return -1;
	if (strncmp(words.at, "born ", 5) == 0) {
		words.at += 5;
		ok = parse_born(&words, call);
	} else {
		task = live_task(rec, call->pid);
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

static int open_file(struct recording *rec, const char *path)
{
	struct stat st;

	rec->in = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
	if (!rec->in)
		return rec_fail(rec, "cannot be opened: %s", strerror(errno));
	if (fstat(fileno(rec->in), &st) == 0 && S_ISREG(st.st_mode))
		rec->bytes_total = (uint64_t)st.st_size;
	return 1;
}

struct recording *recording_open(const char *path, struct recording_error *err)
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
	build_names(rec);
	if (!rec->tasks)
		rec_fail(rec, "out of memory");
	else if (open_file(rec, path) > 0 && rec_parse_head(rec) > 0)
		new_task(rec, 1, true);
	if (rec->outcome > 0)
		return rec;
	*err = rec->error;
	recording_close(rec);
	return NULL;
}

void recording_close(struct recording *rec)
{
	if (!rec)
		return;
	for (uint32_t i = 0; i < rec->nr_files; i++) {
		free(rec->files[i].label);
		free(rec->files[i].segments);
	}
	free(rec->files);
	free(rec->tasks);
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
