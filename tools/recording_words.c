/* SPDX-License-Identifier: MIT */
/* recording_words.c - lines, words and numbers of a recording, with errors that say where */
#include "recording_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

int rec_fail(struct recording *rec, const char *format, ...)
{
	va_list list;

	rec->outcome = -1;
	rec->error.line = rec->line;
	va_start(list, format);
	vsnprintf(rec->error.what, sizeof(rec->error.what), format, list);
	va_end(list);
	return -1;
}

/* ---- lines ------------------------------------------------------------------------------- */

static int fill_buffer(struct recording *rec)
{
	size_t left = (size_t)(rec->end - rec->pos), got;

	memmove(rec->buffer, rec->pos, left);
	got = fread(rec->buffer + left, 1, BUFFER_BYTES - left, rec->in);
	rec->pos = rec->buffer;
	rec->end = rec->buffer + left + got;
	*rec->end = '\0';
	rec->bytes_read += got;
	if (!got && ferror(rec->in))
		return rec_fail(rec, "cannot be read: %s", strerror(errno));
	return got ? 1 : 0;
}

#define BYTES(c)	(UINT64_C(0x0101010101010101) * (c))

/* Eight bytes at a time: any that is below a blank, a DEL, or beyond ASCII. */
static uint64_t no_text(uint64_t bytes)
{
	uint64_t del = bytes ^ BYTES(0x7f);

	return (bytes | ((bytes - BYTES(' ')) & ~bytes) | ((del - BYTES(1)) & ~del)) & BYTES(0x80);
}

static int check_bytes(struct recording *rec, const char *text, size_t length)
{
	uint64_t bytes;
	size_t i = 0;

	for (; i + sizeof(bytes) <= length; i += sizeof(bytes)) {
		memcpy(&bytes, text + i, sizeof(bytes));
		if (no_text(bytes))
			break;
	}
	for (; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\r' && i + 1 == length)
			return rec_fail(rec, "the line ends with CR LF, not with LF alone");
		if (c < ' ' || c > '~')
			return rec_fail(rec, "byte 0x%02x in column %zu is no text", c, i + 1);
	}
	return 1;
}

/* Makes rec->text the next line, its newline replaced: 1, 0 at the end of file, -1. */
int rec_next_raw_line(struct recording *rec)
{
	size_t room = REC_LINE_MAX, have;
	char *newline;

	have = (size_t)(rec->end - rec->pos);
	newline = memchr(rec->pos, '\n', have < room ? have : room);
	if (!newline && have < room) {
		if (fill_buffer(rec) < 0)
			return -1;
		have = (size_t)(rec->end - rec->pos);
		newline = memchr(rec->pos, '\n', have < room ? have : room);
	}
	if (!have)
		return 0;
	rec->line++;
	if (!newline && have >= room)
		return rec_fail(rec, "line is longer than %d bytes", REC_LINE_MAX - 1);
	if (check_bytes(rec, rec->pos, newline ? (size_t)(newline - rec->pos) : have) < 0)
		return -1;
	if (!newline)
		return rec_fail(rec, "the recording is truncated in the middle of this line");
	*newline = '\0';
	rec->text = rec->pos;
	rec->pos = newline + 1;
	return 1;
}

int rec_next_line(struct recording *rec)
{
	int got;

	do {
		got = rec_next_raw_line(rec);
	} while (got > 0 && rec->text[0] == '#');
	return got;
}

/* ---- words and numbers ------------------------------------------------------------------- */

/* The next word, its length in *length; length 0 at the end of the line. */
const char *rec_next_word(struct rec_words *words, size_t *length)
{
	const char *word = words->at;

	const char *end = word;

	while (*end && *end != ' ')
		end++;
	*length = (size_t)(end - word);
	words->at = end + (*end == ' ');
	return word;
}

bool rec_same(const char *word, size_t length, const char *text)
{
	return strncmp(word, text, length) == 0 && !text[length];
}

/* Digits of @base only, without overflow; false otherwise. */
bool rec_parse_digits(const char *text, size_t length, unsigned int base, uint64_t *value)
{
	uint64_t sum = 0;

	if (!length)
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];
		unsigned int digit = c >= '0' && c <= '9' ? c - '0' :
				     c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;

		if (digit >= base || __builtin_mul_overflow(sum, (uint64_t)base, &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)digit, &sum))
			return false;
	}
	*value = sum;
	return true;
}

bool rec_parse_hex(const char *text, size_t length, uint64_t *value)
{
	return length > 2 && text[0] == '0' && text[1] == 'x' &&
	       rec_parse_digits(text + 2, length - 2, 16, value);
}

bool rec_parse_signed(const char *text, size_t length, int64_t *value)
{
	bool minus = length && text[0] == '-';
	uint64_t size;

	if (!rec_parse_digits(text + minus, length - minus, 10, &size) ||
	    size > (uint64_t)INT64_MAX + minus)
		return false;
	*value = (int64_t)(minus ? 0 - size : size);
	return true;
}

/* For messages: a word cut to what fits one. */
int rec_shown(size_t length)
{
	return length < 40 ? (int)length : 40;
}

int rec_bad_word(struct rec_words *words, const char *word, size_t length, const char *wanted)
{
	if (!length)
		return rec_fail(words->rec, "%s where %s belongs",
				*words->at ? "there is a second blank" : "line ends", wanted);
	return rec_fail(words->rec, "\"%.*s\" is not %s", rec_shown(length), word, wanted);
}

int rec_take_u64(struct rec_words *words, uint64_t max, const char *what, uint64_t *value)
{
	size_t length;
	const char *word = rec_next_word(words, &length);

	if (!rec_parse_digits(word, length, 10, value) && !rec_parse_hex(word, length, value))
		return rec_bad_word(words, word, length, what);
	if (*value > max)
		return rec_fail(words->rec, "%.*s is too large for %s (limit %" PRIu64 ")",
				rec_shown(length), word, what, max);
	return 1;
}

int rec_take_u32(struct rec_words *words, uint32_t max, const char *what, uint32_t *value)
{
	uint64_t wide;

	if (rec_take_u64(words, max, what, &wide) < 0)
		return -1;
	*value = (uint32_t)wide;
	return 1;
}

int rec_take_name(struct rec_words *words, const char *const *names, unsigned int nr_names,
		  const char *what, unsigned int *index)
{
	size_t length;
	const char *word = rec_next_word(words, &length);

	for (unsigned int i = 0; length && i < nr_names; i++)
		if (rec_same(word, length, names[i])) {
			*index = i;
			return 1;
		}
	return rec_bad_word(words, word, length, what);
}

int rec_take_file_id(struct rec_words *words, uint32_t max, uint32_t *id)
{
	size_t length;
	const char *word = rec_next_word(words, &length);
	uint64_t value;

	*id = 0;
	if (rec_same(word, length, "@-"))
		return 1;
	if (length < 2 || word[0] != '@' || !rec_parse_digits(word + 1, length - 1, 10, &value))
		return rec_bad_word(words, word, length, "a file (@N or @-)");
	if (!value || value > max)
		return rec_fail(words->rec, "file @%" PRIu64 " is not declared", value);
	*id = (uint32_t)value;
	return 1;
}

int rec_take_end(struct rec_words *words)
{
	if (words->at > words->rec->text && words->at[-1] == ' ' && !*words->at)
		return rec_fail(words->rec, "there is a blank at the end of the line");
	if (*words->at)
		return rec_fail(words->rec, "\"%.40s\" is left over at the end of the line",
				words->at);
	return 1;
}

/* ---- texts ------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int rec_decode_text(struct recording *rec, const char *coded, size_t length)
{
	size_t used = 0;

	for (size_t i = 0; i < length; i++) {
		int value = (unsigned char)coded[i];

		if (value == '%') {
			int high = i + 2 < length ? hex_digit(coded[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(coded[i + 2]) : -1;

			value = high * 16 + low;
			if (low < 0 || !value)
				return rec_fail(rec, "%% in a text without two digits");
			i += 2;
		}
		if (used == REC_TEXT_MAX)
			return rec_fail(rec, "text is longer than %d bytes", REC_TEXT_MAX);
		rec->decoded[used++] = (char)value;
	}
	rec->decoded[used] = '\0';
	return (int)used;
}
