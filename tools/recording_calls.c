/* SPDX-License-Identifier: MIT */
/*
 * recording_calls.c - reads the calls of a recording's body
 *
 * A call's words are what its letters in REC_CALLS() say, so this file knows no call by name but
 * those whose results can be checked: what no kernel returns is damage that is still well-formed.
 */
#include "recording_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ------------------------------------------------------------------------------- */

/* First, middle and last letter and the length tell nearly all of them apart. */
static unsigned int name_slot(const char *name, size_t length)
{
	unsigned int hash = (unsigned int)length * 5;

	hash += (unsigned char)name[0] * 7u + (unsigned char)name[length / 2] * 17u;
	hash += (unsigned char)name[length - 1] * 31u;
	return (hash ^ (hash >> 9)) & (NAME_SLOTS - 1);
}

static_assert(REC_NR_CALLS < 256 && REC_NR_CALLS * 3 < NAME_SLOTS, "keys fit the name table");

void rec_build_names(struct recording *rec)
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

static int take_pid_value(struct rec_words *words, char letter, const char *word, size_t length,
			  uint64_t *value)
{
	int64_t number, next = words->rec->next_pid;

	if (rec_same(word, length, "?")) {
		*value = REC_PID_UNKNOWN;
		return 1;
	}
	if (!rec_parse_signed(word, length, &number) || number < INT32_MIN || number > INT32_MAX)
		return rec_bad_word(words, word, length, "a task");
	if (letter == 'p' && number != -1 && (number >= next || -number >= next))
		return rec_fail(words->rec, "task %.*s was never started", rec_shown(length), word);
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

/* A word of text: `-` is none, `""` an empty one. */
int rec_take_text(struct rec_words *words, uint64_t *value)
{
	struct recording *rec = words->rec;
	size_t length;
	const char *word = rec_next_word(words, &length);

	*value = !rec_same(word, length, "-");
	if (!length)
		return rec_bad_word(words, word, length, "a text");
	return rec_decode_text(rec, word, rec_same(word, length, "\"\"") ? 0 : length) < 0 ? -1 : 1;
}

/* The words that are no plain hexadecimal or decimal number: everything else, and errors. */
static int take_word(struct rec_words *words, char letter, uint64_t *value)
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
	if (letter == 's')
		return rec_take_text(words, value);
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
	case 'q':
		return take_pid_value(words, letter, word, length, value);
	case 'f':
		return take_fd(words, word, length, value);
	default:
		return rec_parse_signed(word, length, (int64_t *)value) ? 1 :
		       rec_bad_word(words, word, length, "a signed number of 64 bits");
	}
}

/* One value as its letter in REC_CALLS() says. */
int rec_take_value(struct rec_words *words, char letter, uint64_t *value)
{
	if (letter == 'x') {
		if (rec_quick_hex(words, value))
			return 1;
	} else if (letter == 'u' || letter == 'd' || letter == 'f') {
		if (rec_quick_decimal(words, value))
			return 1;
	}
	return take_word(words, letter, value);
}

static int take_args(struct rec_words *words, struct rec_call *call)
{
	const char *letters = rec_call_desc(call->nr)->args;

	for (; letters[call->nr_args]; call->nr_args++) {
		uint64_t *value = &call->args[call->nr_args];

		if (rec_take_value(words, letters[call->nr_args], value) < 0)
			return -1;
		if (letters[call->nr_args] == 's' && *value) {
			call->text = words->rec->decoded;
			call->text_bytes = strlen(call->text);
		}
	}
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
	if (rec_quick_decimal(words, &number) || rec_quick_hex(words, &number)) {
		call->has_result = true;
		call->result = (int64_t)number;
		return 1;
	}
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
		if (rec_take_value(words, letters[call->nr_out], &call->out[call->nr_out]) < 0)
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
		return rec_claim_task(rec, call->pid, call->result);
	if (letter == 'p' && call->result >= rec->next_pid)
		return rec_fail(rec, "%s returns task %" PRId64 ", which was never started",
				call->name, call->result);
	return 1;
}

static int take_call_name(struct rec_words *words, const char *word, size_t length,
			  struct rec_call *call)
{
	bool good = length && length < sizeof(call->name) && word[0] >= 'a' && word[0] <= 'z';

	for (size_t i = 0; good && i < length; i++)
		good = (word[i] >= 'a' && word[i] <= 'z') || word[i] == '_' ||
		       (word[i] >= '0' && word[i] <= '9');
	if (!good)
		return rec_bad_word(words, word, length, "a call or an event");
	memcpy(call->name, word, length);
	call->name[length] = '\0';
	call->nr = lookup_name(words->rec, word, length);
	call->class = rec_call_desc(call->nr)->class;
	return 1;
}

int rec_parse_begin(struct rec_words *words, struct rec_task *task, struct rec_call *call)
{
	size_t length;
	const char *word = rec_next_word(words, &length);

	call->kind = REC_BEGIN;
	if (take_call_name(words, word, length, call) < 0 || take_args(words, call) < 0)
		return -1;
	if (call->text) {
		task->text = strdup(call->text);
		if (!task->text)
			return rec_fail(words->rec, "out of memory");
	}
	task->in_call = true;
	task->call = *call;
	return 1;
}

int rec_parse_end(struct rec_words *words, struct rec_task *task, struct rec_call *call)
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
	call->text = words->rec->last_text = task->text;
	task->text = NULL;
	task->in_call = false;
	if (take_result(words, call) < 0 || take_out(words, call) < 0)
		return -1;
	return check_result(words->rec, call);
}

int rec_parse_whole(struct rec_words *words, const char *word, size_t length,
		       struct rec_call *call)
{
	call->kind = REC_CALL;
	if (take_call_name(words, word, length, call) < 0 || take_args(words, call) < 0 ||
	    take_result(words, call) < 0 || take_out(words, call) < 0)
		return -1;
	return check_result(words->rec, call);
}
