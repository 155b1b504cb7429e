/* SPDX-License-Identifier: MIT */
/*
 * Goal: whatever is no recording is answered with an error that names the line, never with a
 * crash.
 * Method: a test for each kind of damage that files meet; tables of single mistakes; the shipped
 * traces cut at every place; a recording mutated from a seed. fuzz_recording.c does the same for
 * an hour.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>

#include "recording_input.h"

#define NR_MUTATIONS	20000

static void what_is_no_recording_is_called_so(void **state)
{
	struct recording_error err = { .line = 7 };

	(void)state;
	assert_null(recording_open("/nonexistent/trace", &err));
	assert_int_equal(err.line, 0);
	assert_non_null(strstr(err.what, "No such file"));
	assert_null(recording_open("/", &err));
	assert_int_equal(err.line, 0);
	expect_error("", 0, "not a recording: the file is empty");
	expect_error("#!/bin/sh\necho\n", 1, "not a recording");
	expect_error("\x7f" "ELF\2\1", 1, "not a recording");
	expect_error("karc-recording", 1, "not a recording");
	expect_error("karc-recording 1\n", 1, "format version 1");
	expect_error("karc-recording 99999999999999999999999\n", 1, "format version");
	expect_error("karc-recording 2\n", 1, "head does not end");
}

static void mistakes_in_the_head_are_named_with_their_line(void **state)
{
	static const struct {
		const char *text;	/* behind the head */
		uint64_t line;		/* of that, from 1 */
		const char *what;
	} cases[] = {
		{ "calls\n", 1, "does not say \"tasks\"" },
		{ "page 4096\n", 1, "\"page\" is given twice" },
		{ "limit stack 1 2\n", 1, "limit stack is given twice" },
		{ "limit height 1 2\n", 1, "name of a limit" },
		{ "colour red\n", 1, "\"colour\" is not a line of the head" },
		{ "\n", 1, "line ends where" },
		{ "tasks 0\nfds 0\nfiles 0\ncalls\n", 4, "without tasks" },
		{ "tasks 9999999999\n", 1, "too large" },
		{ "tasks 4194305\n", 1, "too large" },
		{ "files 65537\n", 1, "too large" },
		{ "tasks 1 2\n", 1, "left over" },
		{ "tasks -1\n", 1, "is not a number of tasks" },
		{ "tasks 1\nfds 0\nfiles 1\ncalls\n", 4, "0 files declared, 1 announced" },
		{ "file 2 regular 0755 5 4096 /a\n", 1, "file 2 where file 1 belongs" },
		{ "file 1 castle 0755 5 4096 /a\n", 1, "kind of file" },
		{ "file 1 regular 0799 5 4096 /a\n", 1, "file mode" },
		{ "file 1 regular 0755 140737488355329 4096 /a\n", 1, "too large for a file" },
		{ "file 1 regular 0755 99999999999999999999 4096 /a\n", 1, "not a file size" },
		{ "file 1 regular 0755 5 4097 /a\n", 1, "4097 is no alignment" },
		{ "file 1 regular 0755 5 4096\n", 1, "line ends where a label belongs" },
		{ "file 1 regular 0755 5 4096 /a%2\n", 1, "without two digits" },
		{ "file 1 regular 0755 5 4096 /a%00\n", 1, "without two digits" },
		{ "file 1 regular 0755 5 4096 /a b\n", 1, "left over" },
		{ "fds 5000\n", 1, "too large" },
		{ "fd 4294967296 @-\n", 1, "too large" },
		{ "fd 3 @-\nfd 3 @-\n", 2, "does not follow the one before" },
		{ "tasks 1\nfiles 0\nfds 2\nfd 0 @-\ncalls\n", 5,
		  "1 descriptors declared, 2 announced" },
		{ "tasks 1\nfiles 0\nfds 1\nfd 0 @1\ncalls\n", 5, "which is not declared" },
		{ "vvar 5\n", 1, "given twice" },
		{ "file 1 regular 0 5 4096 /a\nscript 1 @- 5 0\nscript 1 @- 5 0\n", 3,
		  "second elf or script" },
		{ "file 1 regular 0 5 4096 /a\nscript 1 @- 5000 0\n", 2, "too large" },
		{ "script 1 @- 5 0\n", 1, "does not follow that file" },
		{ "tasks 1\nfiles 1\nfds 0\nfile 1 regular 0 5 4096 /a\nscript 1 @2 5 0\ncalls\n", 6,
		  "interpreter @2 of file 1 is not declared" },
		{ "elf 1 dyn 0x0 6 @-\n", 1, "does not follow that file" },
		{ "file 1 regular 0 5 4096 /a\nload 1 0x0 0x0 0x0 0x0 4 0x0\n", 2, "before elf" },
		{ "file 1 regular 0 5 4096 /a\nelf 1 dyn 0x0 6 @-\nelf 1 dyn 0x0 6 @-\n", 3,
		  "second elf" },
		{ "file 1 regular 0 5 4096 /a\nelf 1 dyn 0x0 6 @-\n"
		  "load 1 0x0 0x0 0x20 0x10 4 0x0\n", 3, "more bytes in the file" },
		{ "file 1 regular 0 5 4096 /a\nelf 1 dyn 0x0 6 @-\n"
		  "load 1 0x0 0x7fffffffffff 0x0 0x10 4 0x0\n", 3, "beyond user space" },
		{ "tasks 1\nfds 0\nfiles 1\nfile 1 regular 0 5 4096 /a\nelf 1 dyn 0x0 6 @9\ncalls\n", 6,
		  "interpreter @9 of file 1" },
		{ "tasks 1\nfds 0\nfiles 1\nfile 1 regular 0 5 4096 /a\nelf 1 dyn 0x0 6 @1\ncalls\n"
		  "1 \x01\n", 7, "byte 0x01 in column 3" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text;

		assert_true(asprintf(&text, "%s%s", head, cases[i].text) > 0);
		expect_error(text, HEAD_LINES + cases[i].line, cases[i].what);
		free(text);
	}
}

static void a_head_that_leaves_a_fact_out_is_refused(void **state)
{
	unsigned int line = 0;

	(void)state;
	for (const char *at = head; *at; at = strchr(at, '\n') + 1) {
		size_t skip = (size_t)(strchr(at, '\n') + 1 - at);
		char *text;

		if (!line++)
			continue;
		assert_true(asprintf(&text, "%.*s%s%s%s", (int)(at - head), head, at + skip, files,
				     "end 0\n") > 0);
		expect_error(text, BODY_LINE - 2, "the head does not");
		free(text);
	}
	assert_int_equal(line, HEAD_LINES);
}

static void mistakes_in_the_body_are_named_with_their_line(void **state)
{
	static const struct {
		const char *body;
		uint64_t line;		/* of the body, from 0 */
		const char *what;
	} cases[] = {
		{ "", 0, "truncated" },
		{ "1 brk 0x0 = 0x0\n", 1, "truncated: it has no \"end\"" },
		{ "1 brk 0x0 = 0x0", 0, "truncated in the middle" },
		{ "1 brk 0x0 = 0x0\nend 2\n", 1, "1 lines in the body, 2 were recorded" },
		{ "end 0\n", 0, "1 tasks in the body, the head announces 3" },
		{ "1 fork = 2\n1 fork = 3\nend 2\nend 2\n", 3, "more after the end" },
		{ "1 fork = 2\n1 fork = 3\nend 2 \n", 2, "blank at the end" },
		{ "end x\n", 0, "not a number of lines" },
		{ "end 99999999999999999999\n", 0, "not a number of lines" },
		{ "hello\n", 0, "is not a task or" },
		{ "\n", 0, "line ends where" },
		{ "0 brk 0x0 = 0x0\n", 0, "task 0 was never started" },
		{ "2 brk 0x0 = 0x0\n", 0, "task 2 was never started" },
		{ "4294967297 brk 0x0 = 0x0\n", 0, "too large for a task" },
		{ "3 born 1\n", 0, "task 3 starts where task 2 belongs" },
		{ "1 born 1\n", 0, "own parent" },
		{ "2 born 3\n", 0, "task 3 was never started" },
		{ "2 born 1\n2 born 1\n", 1, "task 2 starts where task 3 belongs" },
		{ "1 fork = 3\n", 0, "makes task 3, where task 2 belongs" },
		{ "1 fork = 1\n", 0, "makes task 1" },
		{ "1 fork = 2\n1 fork = 2\n", 1, "started a second time" },
		{ "1 fork = 2\n2 exited 0\n1 fork = 2\n", 2, "started a second time" },
		{ "1 fork = 2\n1 fork = 3\n1 fork = 4\n", 2, "the head announces 3 tasks" },
		{ "1 exited 0\n1 exited 0\n", 1, "task 1 has ended before" },
		{ "1 exited 0\n1 brk 0x0 = 0x0\n", 1, "task 1 has ended before" },
		{ "1 exited 256\n", 0, "too large for an exit code" },
		{ "1 killed 65\n", 0, "too large for a signal" },
		{ "1 killed 9 dead\n", 0, "left over" },
		{ "1 < brk = 0x0\n", 0, "ends that has not begun" },
		{ "1 > brk 0x0\n1 < mmap = 0x0\n", 1, "brk had begun in line 59" },
		{ "1 > brk 0x0\n1 brk 0x0 = 0x0\n", 1, "begins a call inside brk of line 59" },
		{ "1 > brk 0x0\n1 > brk 0x0\n", 1, "inside brk" },
		{ "1 fork = 2\n1 superseded 2\n", 1, "without executing" },
		{ "1 superseded 2\n", 0, "never started" },
		{ "1 BRK 0x0 = 0x0\n", 0, "not a call or an event" },
		{ "1 \n", 0, "line ends where" },
		{ "1 brk  0x0 = 0x0\n", 0, "second blank" },
		{ "1 brk\n", 0, "line ends where a hexadecimal" },
		{ "1 brk 0 = 0x0\n", 0, "not a hexadecimal number" },
		{ "1 brk 0x10000000000000000 = 0x0\n", 0, "not a hexadecimal number" },
		{ "1 brk 0x = 0x0\n", 0, "not a hexadecimal number" },
		{ "1 brk 0xG = 0x0\n", 0, "not a hexadecimal number" },
		{ "1 brk 0x0 0x0\n", 0, "\"=\" and a result" },
		{ "1 brk 0x0 =\n", 0, "a result" },
		{ "1 brk 0x0 = -\n", 0, "not a result" },
		{ "1 brk 0x0 = -EWHAT\n", 0, "not an error" },
		{ "1 brk 0x0 = -E4096\n", 0, "not an error" },
		{ "1 brk 0x0 = 99999999999999999999\n", 0, "not a result" },
		{ "1 brk 0x0 = 0x0 7\n", 0, "left over" },
		{ "1 brk 0x0 = 0xffff000000000000\n", 0, "no user address" },
		{ "1 mmap 0x0 -5 0x3 0x22 -1 0x0 @- = 0x1000\n", 0, "not a number" },
		{ "1 mmap 0x0 18446744073709551616 0x3 0x22 -1 0x0 @- = -ENOMEM\n", 0,
		  "not a number" },
		{ "1 mmap 0x0 140737488355329 0x3 0x22 -1 0x0 @- = 0x1000\n", 0,
		  "cannot have succeeded" },
		{ "1 mmap 0x0 4096 0x3 0x22 -1 0x0 @- = 0x1001\n", 0, "no page address" },
		{ "1 mmap 0x0 4096 0x3 0x22 4294967296 0x0 @- = 0x1000\n", 0, "descriptor" },
		{ "1 mmap 0x0 4096 0x3 0x22 3 0x0 @4 = 0x1000\n", 0, "file @4 is not declared" },
		{ "1 mmap 0x0 4096 0x3 0x22 3 0x0 @0 = 0x1000\n", 0, "file @0 is not declared" },
		{ "1 mmap 0x0 4096 0x3 0x22 3 0x0 3 = 0x1000\n", 0, "not a file" },
		{ "1 openat 0x0 9 = 3 @1\n", 0, "octal" },
		{ "1 openat 0x0 0 = -ENOENT @1\n", 0, "outputs of a call that failed" },
		{ "1 openat 0x0 0 = 4294967296 @1\n", 0, "returns no descriptor" },
		{ "1 wait4 7 = -ECHILD\n", 0, "task 7 was never started" },
		{ "1 wait4 -1 = 2 0x0 0x0\n", 0, "returns task 2, which was never started" },
		{ "1 wait4 -1 = 1 0x0\n", 0, "line ends where" },
		{ "1 resized @- 5\n", 0, "no file is named" },
		{ "1 removed @-\n", 0, "no file is named" },
		{ "1 renamed @1\n", 0, "line ends where a text" },
		{ "1 renamed @1 a%2\n", 0, "without two digits" },
		{ "1 received -1 0 @-\n", 0, "not a descriptor" },
		{ "1 received 1 2 @-\n", 0, "too large for 0 or 1" },
		{ "1 received 1 0 @4\n", 0, "file @4 is not declared" },
		{ "1 maps 2 0 line a\n", 0, "task 2 was never started" },
		{ "1 maps 0 0 line a\n", 0, "task 0 was never started" },
		{ "1 maps 1 0 half a\n", 0, "is not line, begins, inside" },
		{ "1 maps 1 -1 line a\n", 0, "not a place in a file" },
		{ "1 maps 1 0 line a%00\n", 0, "without two digits" },
		{ "1 view 2 smaps 1\n", 0, "task 2 was never started" },
		{ "1 view 1 smaps\n", 0, "line ends where a number of bytes" },
		{ "1 signal 11 1 0x0 2\n", 0, "task 2 was never started" },
		{ "1 signal 11 1 0x0\n", 0, "line ends where a task" },
		{ "1 kill 2 15 = 0\n", 0, "task 2 was never started" },
		{ "1 prctl 1 0x0 0x0 0x0 0x0 = 0\n", 0, "\"=\" and a result" },
		{ "1 a_call_with_a_name_longer_than_any_call_has = 0\n", 0, "not a call" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = make_text(cases[i].body);

		expect_error(text, cases[i].body[0] ? BODY_LINE + cases[i].line -
			     (strstr(cases[i].what, "no \"end\"") != NULL) : BODY_LINE - 1,
			     cases[i].what);
		free(text);
	}
}

/* What a body with one mistake is answered with; @line counts in the body, from 0. */
static void expect_body_error(const char *body, uint64_t line, const char *what)
{
	char *text = make_text(body);

	expect_error(text, BODY_LINE + line, what);
	free(text);
}

static void a_line_cut_in_its_middle_is_refused(void **state)
{
	(void)state;
	expect_body_error("1 brk 0x0 = 0x1000\n1 brk 0x2", 1, "truncated in the middle");
}

static void a_megabyte_long_line_is_refused(void **state)
{
	char *body = malloc((1 << 20) + 32);

	(void)state;
	memset(body, 'a', 1 << 20);
	memcpy(body, "1 brk 0x0 = 0x0\n1 ", 18);
	strcpy(body + (1 << 20), "\n");
	expect_body_error(body, 1, "longer than 4095 bytes");
	free(body);
}

static void nul_bytes_and_others_that_are_no_text_are_refused(void **state)
{
	struct recording_error err = { .line = 0 };
	char *text = make_text("1 brk 0x0 = 0x0\n1 brk_0x0 = 0x0\n");
	size_t length = strlen(text);

	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		if ((byte >= ' ' && byte <= '~') || byte == '\n')
			continue;
		text[length - 11] = (char)byte;
		assert_int_equal(read_all(text, length, &err), -1);
		assert_int_equal(err.line, BODY_LINE + 1);
		assert_non_null(strstr(err.what, "in column 6 is no text"));
	}
	free(text);
}

static void lines_that_end_with_cr_lf_are_refused(void **state)
{
	(void)state;
	expect_error("karc-recording 2\r\n", 1, "ends with CR LF");
	expect_body_error("1 brk 0x0 = 0x0\r\n", 0, "ends with CR LF");
}

static void numbers_out_of_range_are_refused(void **state)
{
	(void)state;
	expect_body_error("1 munmap 0x10000000000000000 1 = 0\n", 0, "64 bits");
	expect_body_error("1 munmap 0x0 18446744073709551616 = 0\n", 0, "64 bits");
	expect_body_error("1 close 2147483648 = 0\n", 0, "not a descriptor");
	expect_body_error("1 exited 256\n", 0, "too large");
	expect_body_error("4194305 exited 0\n", 0, "too large for a task");
	expect_body_error("1 resized @1 140737488355329\n", 0, "too large for a file size");
}

static void a_call_of_a_task_that_was_never_started_is_refused(void **state)
{
	(void)state;
	expect_body_error("1 fork = 2\n3 brk 0x0 = 0x0\n", 1, "task 3 was never started");
}

static void a_task_that_is_started_twice_is_refused(void **state)
{
	(void)state;
	expect_body_error("1 fork = 2\n1 fork = 2\n", 1, "task 2 is started a second time");
	expect_body_error("1 > fork\n2 born 1\n2 born 1\n", 2, "task 2 starts where task 3");
}

static void a_task_that_ends_twice_is_refused(void **state)
{
	(void)state;
	expect_body_error("1 fork = 2\n2 exited 0\n2 exited 0\n", 2, "task 2 has ended before");
	expect_body_error("1 fork = 2\n2 exited 0\n2 killed 9\n", 2, "task 2 has ended before");
}

static void the_end_of_a_call_that_has_not_begun_is_refused(void **state)
{
	(void)state;
	expect_body_error("1 < brk = 0x0\n", 0, "ends that has not begun");
}

static void files_that_are_not_declared_are_refused(void **state)
{
	(void)state;
	expect_body_error("1 openat 0x0 0 = 3 @4\n", 0, "file @4 is not declared");
	expect_body_error("1 openat 0x0 0 = 3 @18446744073709551615\n", 0, "is not declared");
	expect_body_error("1 openat 0x0 0 = 3 @18446744073709551616\n", 0, "is not a file");
	expect_body_error("1 resized @99999 5\n", 0, "file @99999 is not declared");
}

static void an_empty_file_and_a_directory_are_refused(void **state)
{
	struct recording_error err = { .line = 7 };

	(void)state;
	expect_error("", 0, "the file is empty");
	assert_null(recording_open("/", &err));
	assert_int_equal(err.line, 0);
	assert_non_null(strstr(err.what, "directory"));
}

static void a_head_that_lies_about_counts_is_refused(void **state)
{
	static const struct {
		const char *from, *to, *what;
		uint64_t line;
	} lies[] = {
		{ "tasks 3\n", "tasks 4\n", "3 tasks in the body, the head announces 4",
		  BODY_LINE + 2 },
		{ "tasks 3\n", "tasks 2\n", "the head announces 2 tasks", BODY_LINE + 1 },
		{ "files 3\n", "files 4\n", "3 files declared, 4 announced", BODY_LINE - 1 },
		{ "files 3\n", "files 2\n", "3 files declared, 2 announced", BODY_LINE - 1 },
		{ "fds 2\n", "fds 3\n", "2 descriptors declared, 3 announced", BODY_LINE - 1 },
		{ "end 2\n", "end 3\n", "2 lines in the body, 3 were recorded", BODY_LINE + 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		char *text = make_text("1 fork = 2\n1 fork = 3\nend 2\n");
		size_t at = (size_t)(strstr(text, lies[i].from) - text);

		memcpy(text + at, lies[i].to, strlen(lies[i].to));
		expect_error(text, lies[i].line, lies[i].what);
		free(text);
	}
}

static void a_trace_cut_anywhere_is_refused(void **state)
{
	glob_t found;

	(void)state;
	find_traces(&found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		size_t length, step;
		char *text = slurp(found.gl_pathv[i], &length);
		uint64_t lines = 1;

		step = length < 6000 ? 1 : length < 20000 ? length / 600 : length / 60;
		for (size_t cut = 0; cut < length; cut++) {
			struct recording_error err = { .line = 0 };

			if (cut && text[cut - 1] == '\n')
				lines++;
			if (cut % step && length - cut > 40)
				continue;
			assert_int_equal(read_all(text, cut, &err), -1);
			assert_true(err.line == lines || err.line == lines - 1);
		}
		free(text);
	}
	globfree(&found);
}

/* ---- mutations --------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static const char *random_word(uint64_t *seed)
{
	static const char *const words[] = {
		"0", "-1", "0x0", "0xffffffffffffffff", "18446744073709551615", "@1", "@-", "?",
		"=", ">", "<", "born", "exited", "superseded", "fork", "execve", "-ENOENT",
		"9999999999",
		"1", "2", "3", "end", "calls", "load", "elf", "file", "%", "140737488355328",
		"core", "maps", "line", "view", "renamed", "%20", "script", "fd",
	};

	return words[next_random(seed) % (sizeof(words) / sizeof(words[0]))];
}

/* One change somewhere: a byte, a word, a line taken away, doubled or swapped. Gives the length. */
static size_t mutate(char *text, size_t length, size_t room, uint64_t *seed)
{
	size_t at = next_random(seed) % length, end, size;
	const char *word;

	switch (next_random(seed) % 6) {
	case 0:
		text[at] = (char)next_random(seed);
		return length;
	case 1:
		text[at] = "0123456789 \n@=-<>?xabf"[next_random(seed) % 22];
		return length;
	case 2:		/* a word replaced */
		while (at && text[at - 1] != ' ' && text[at - 1] != '\n')
			at--;
		end = at + strcspn(text + at, " \n");
		word = random_word(seed);
		size = strlen(word);
		if (length + size > room)
			return length;
		memmove(text + at + size, text + end, length - end);
		memcpy(text + at, word, size);
		return length - (end - at) + size;
	case 3:		/* a stretch removed */
		end = at + next_random(seed) % 80;
		end = end > length ? length : end;
		memmove(text + at, text + end, length - end);
		return length - (end - at);
	case 4:		/* a line doubled somewhere else */
		while (at && text[at - 1] != '\n')
			at--;
		size = strcspn(text + at, "\n") + 1;
		if (at + size > length || length + size > room)
			return length;
		memmove(text + at + size, text + at, length - at);
		return length + size;
	default:	/* a line removed */
		while (at && text[at - 1] != '\n')
			at--;
		size = strcspn(text + at, "\n") + 1;
		size = at + size > length ? length - at : size;
		memmove(text + at, text + at + size, length - at - size);
		return length - size;
	}
}

static uint64_t pick_seed(void)
{
	const char *given = getenv("KARC_SEED");
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec << 20 ^ 88172645463) | 1;
}

static void mutated_traces_never_crash_the_reader(void **state)
{
	static const char body[] =
		"1 execve @1 @1 1 4 2 50 9 1 4 9 2 b%20c = 0\n1 brk 0x0 = 0x555555559000\n"
		"1 > clone 0x1200000 17 0x0 0 0x0 0x10 0x0\n2 born 1\n"
		"2 mmap 0x0 8192 0x3 0x22 -1 0x0 @2 = 0x7ffff7fc0000\n1 < clone = 2 -1\n"
		"2 > execve @1 @1 1 2 3 4 5 1 2 5 2 a\n1 openat 0x80000 0 = 3 @2\n2 < execve = -ENOENT\n"
		"1 fork = 3\n3 exited 3\n1 wait4 -1 = 3 0x300 0x1\n1 resized @2 77\n"
		"1 pipe2 = 0 4 5 0x0\n2 signal 11 1 0x1234 1\n2 killed 11 core\n"
		"1 maps 1 0 line 1000-2000 r--p 00000000 08:01 7    /a%20b\n1 renamed @2 x\n"
		"1 view 1 smaps 7\n1 prctl 1398164801 0x0 0x0 0x0 0x0 name = 0\n"
		"1 received 9 0 @2\n1 removed @1\n1 exited 0\nend 23\n";
	uint64_t seed = pick_seed(), accepted = 0;
	char *text = make_text(body), *copy;
	size_t length = strlen(text), room = length + 4096;
	struct recording_error err;

	(void)state;
	print_message("seed %" PRIu64 " (KARC_SEED repeats it)\n", seed);
	assert_int_equal(read_all(text, length, &err), 23);
	copy = malloc(room + 1);
	for (unsigned int i = 0; i < NR_MUTATIONS; i++) {
		size_t now = length;
		unsigned int times = 1 + next_random(&seed) % 3;

		memcpy(copy, text, length + 1);
		while (times-- && now) {
			now = mutate(copy, now, room, &seed);
			copy[now] = '\0';
		}
		accepted += read_all(copy, now, &err) >= 0;
	}
	print_message("%" PRIu64 " of %d mutations are recordings still\n", accepted, NR_MUTATIONS);
	free(copy);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_recording_is_called_so),
		cmocka_unit_test(mistakes_in_the_head_are_named_with_their_line),
		cmocka_unit_test(a_head_that_leaves_a_fact_out_is_refused),
		cmocka_unit_test(mistakes_in_the_body_are_named_with_their_line),
		cmocka_unit_test(a_line_cut_in_its_middle_is_refused),
		cmocka_unit_test(a_megabyte_long_line_is_refused),
		cmocka_unit_test(nul_bytes_and_others_that_are_no_text_are_refused),
		cmocka_unit_test(lines_that_end_with_cr_lf_are_refused),
		cmocka_unit_test(numbers_out_of_range_are_refused),
		cmocka_unit_test(a_call_of_a_task_that_was_never_started_is_refused),
		cmocka_unit_test(a_task_that_is_started_twice_is_refused),
		cmocka_unit_test(a_task_that_ends_twice_is_refused),
		cmocka_unit_test(the_end_of_a_call_that_has_not_begun_is_refused),
		cmocka_unit_test(files_that_are_not_declared_are_refused),
		cmocka_unit_test(an_empty_file_and_a_directory_are_refused),
		cmocka_unit_test(a_head_that_lies_about_counts_is_refused),
		cmocka_unit_test(a_trace_cut_anywhere_is_refused),
		cmocka_unit_test(mutated_traces_never_crash_the_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
