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
#define LABEL_MAX	1024

struct rec_task {
	uint32_t pid;		/* 0: slot is empty */
	bool dead, claimed;	/* claimed: the call that made it has ended */
	bool in_call;
	struct rec_call call;	/* if in_call */
};

struct rec_file_slot {
	struct rec_file file;	/* id 0: not declared yet */
	struct rec_elf elf;
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
	struct rec_task *tasks;	/* open addressing, linear probing */
	uint32_t nr_tasks, nr_slots;	/* nr_slots is a power of two */
	uint32_t next_pid;
	uint64_t line, nr_lines, bytes_read, bytes_total;
	int outcome;		/* 1: go on, 0: whole, -1: error */
	struct recording_error error;
	char *pos, *end;	/* unread part of the buffer */
	uint8_t names[NAME_SLOTS];	/* hash of a known call's name -> its key */
	char buffer[BUFFER_BYTES];
	char text[REC_LINE_MAX + 1];
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

/* ---- recording_head.c -------------------------------------------------------------------- */

int rec_parse_head(struct recording *rec);

#endif /* KARC_TOOLS_RECORDING_INTERNAL_H */
