/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_RECORDING_INTERNAL_H
#define KARC_TOOLS_RECORDING_INTERNAL_H

/*
 * recording_internal.h - what the files of the reader share
 *
 * recording_words.c cuts lines and words, recording_head.c reads the head, recording.c the body.
 */
#include "recording.h"

#define BUFFER_BYTES	65536
#define NAME_SLOTS	512	/* power of two, four times the number of known calls */

struct rec_task {
	uint32_t pid;		/* 0: slot is empty */
	bool dead, claimed;	/* claimed: the call that made it has ended */
	bool in_call;
	struct rec_call call;	/* if in_call */
	char *text;		/* the call's text, or NULL */
};

struct rec_file_slot {
	struct rec_file file;	/* id 0: not declared yet */
	struct rec_elf elf;
	struct rec_script script;
	bool is_script;
	struct rec_segment *segments;
	char *label;
};

struct recording {
	FILE *in;
	struct rec_info info;
	uint64_t facts_seen;	/* bit per row of facts[] */
	uint32_t limits_seen;
	struct rec_file_slot *files;	/* index = id - 1 */
	uint32_t nr_files, max_files, nr_segments;
	struct rec_born_fd *born_fds;
	uint32_t nr_born_fds;
	struct rec_task *tasks;	/* open addressing, linear probing */
	uint32_t nr_tasks, nr_slots;	/* nr_slots is a power of two */
	uint32_t next_pid;
	uint64_t line, nr_lines, bytes_read, bytes_total;
	int outcome;		/* 1: go on, 0: whole, -1: error */
	struct recording_error error;
	char *pos, *end;	/* unread part of the buffer */
	uint8_t names[NAME_SLOTS];	/* hash of a known call's name -> its key */
	char *text;		/* the present line in the buffer, ended with a NUL */
	char decoded[REC_TEXT_MAX + 1];	/* of a text in it */
	char *last_text;	/* text of the last call that ended; freed at the next line */
	char buffer[BUFFER_BYTES + 1];	/* there is always a NUL behind the end */
};

/* A cursor over the words of one line. */
struct rec_words {
	struct recording *rec;
	const char *at;
};

/* ---- recording_words.c ------------------------------------------------------------------- */

/* Makes the recording fail at its present line; gives -1. */
int rec_fail(struct recording *rec, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts the next line without its newline into rec->text: 1, 0 at the end of file, -1. */
int rec_next_raw_line(struct recording *rec);
/* The same without comments (lines that begin with #). */
int rec_next_line(struct recording *rec);
/* The next word, its length in *@length; length 0 at the end of the line. */
const char *rec_next_word(struct rec_words *words, size_t *length);
bool rec_same(const char *word, size_t length, const char *text);
/* Digits of @base only, without overflow; false otherwise. */
bool rec_parse_digits(const char *text, size_t length, unsigned int base, uint64_t *value);
bool rec_parse_hex(const char *text, size_t length, uint64_t *value);
bool rec_parse_signed(const char *text, size_t length, int64_t *value);
/* For messages: a word cut to what fits one. */
int rec_shown(size_t length);
int rec_bad_word(struct rec_words *words, const char *word, size_t length, const char *wanted);
/* These take the next word and fail when it is not what they are for. */
int rec_take_u64(struct rec_words *words, uint64_t max, const char *what, uint64_t *value);
int rec_take_u32(struct rec_words *words, uint32_t max, const char *what, uint32_t *value);
int rec_take_name(struct rec_words *words, const char *const *names, unsigned int nr_names,
		  const char *what, unsigned int *index);
int rec_take_file_id(struct rec_words *words, uint32_t max, uint32_t *id);
int rec_take_end(struct rec_words *words);
/* @coded with %XX for bytes, into rec->decoded: its length, or -1. */
int rec_decode_text(struct recording *rec, const char *coded, size_t length);

/* Nine digits and a hexadecimal number of fifteen cannot overflow: nearly all numbers. */
#define QUICK_DIGITS	9
#define QUICK_HEX	15

static inline bool rec_quick_decimal(struct rec_words *words, uint64_t *value)
{
	const char *at = words->at;
	uint64_t sum = 0;

	while (*at >= '0' && *at <= '9')
		sum = sum * 10 + (uint64_t)(*at++ - '0');
	if (at == words->at || at - words->at > QUICK_DIGITS || (*at && *at != ' '))
		return false;
	words->at = at + (*at == ' ');
	*value = sum;
	return true;
}

static inline bool rec_quick_hex(struct rec_words *words, uint64_t *value)
{
	const char *first = words->at + 2, *at;
	uint64_t sum = 0;

	if (words->at[0] != '0' || words->at[1] != 'x')
		return false;
	for (at = first; ; at++) {
		if (*at >= '0' && *at <= '9')
			sum = sum * 16 + (uint64_t)(*at - '0');
		else if (*at >= 'a' && *at <= 'f')
			sum = sum * 16 + (uint64_t)(*at - 'a' + 10);
		else
			break;
	}
	if (at == first || at - first > QUICK_HEX || (*at && *at != ' '))
		return false;
	words->at = at + (*at == ' ');
	*value = sum;
	return true;
}

/* ---- recording.c ------------------------------------------------------------------------- */

/* I1: takes the next ordinal. */
int rec_new_task(struct recording *rec, uint32_t pid, bool claimed);
/* NULL, and the recording has failed, if it is not alive. */
struct rec_task *rec_live_task(struct recording *rec, uint32_t pid);
void rec_task_dies(struct recording *rec, struct rec_task *task);
/* The call of @maker that makes tasks returned @pid. */
int rec_claim_task(struct recording *rec, uint32_t maker, int64_t pid);

/* ---- recording_calls.c ------------------------------------------------------------------- */

void rec_build_names(struct recording *rec);
/* One value as its letter in REC_CALLS() says; a text gets into rec->decoded. */
int rec_take_value(struct rec_words *words, char letter, uint64_t *value);
/* A word of text: *@value 0 if it is `-`, none. */
int rec_take_text(struct rec_words *words, uint64_t *value);
int rec_parse_begin(struct rec_words *words, struct rec_task *task, struct rec_call *call);
int rec_parse_end(struct rec_words *words, struct rec_task *task, struct rec_call *call);
/* @word is the call's name. */
int rec_parse_whole(struct rec_words *words, const char *word, size_t length,
		    struct rec_call *call);

/* ---- recording_events.c ------------------------------------------------------------------ */

/* 0: @word names no event. */
int rec_parse_event(struct rec_words *words, struct rec_task *task, const char *word, size_t length,
		    struct rec_call *call);
int rec_parse_born(struct rec_words *words, struct rec_call *call);

/* ---- recording_head.c -------------------------------------------------------------------- */

int rec_parse_head(struct recording *rec);

#endif /* KARC_TOOLS_RECORDING_INTERNAL_H */
