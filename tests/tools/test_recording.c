/* SPDX-License-Identifier: MIT */
/*
 * Goal: the reader accepts every recording that was made, and answers everything else with an
 * error that names the line, never with a crash.
 * Method: the shipped traces are read, written again and compared byte by byte; then cut at every
 * place and mutated; a table of single mistakes says what each is answered with.
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

#include <glob.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "recording.h"

#define NR_MUTATIONS	20000

/* ---- inputs ------------------------------------------------------------------------------ */

/* A recording in memory, with a path by which it can be opened. */
struct input {
	int fd;
	char path[64];
};

static struct input input_of(const char *text, size_t length)
{
	struct input input = { .fd = memfd_create("recording", 0) };

	assert_true(input.fd >= 0);
	assert_int_equal(write(input.fd, text, length), length);
	snprintf(input.path, sizeof(input.path), "/proc/self/fd/%d", input.fd);
	return input;
}

/* Reads all of it: the number of body lines, or -1 and the error. */
static long read_all(const char *text, size_t length, struct recording_error *err)
{
	struct input input = input_of(text, length);
	struct recording *rec = recording_open(input.path, err);
	struct rec_call call;
	long nr = 0;
	int got = -1;

	if (rec)
		while ((got = recording_next(rec, &call, err)) > 0)
			nr++;
	if (rec && got < 0)
		assert_int_equal(recording_next(rec, &call, err), -1);
	recording_close(rec);
	close(input.fd);
	return got < 0 ? -1 : nr;
}

static const char head[] =
	"karc-recording 1\n"		/* line 1 */
	"kernel 6.1.0\n"
	"machine x86_64\n"
	"page 4096\n"
	"huge 2097152\n"
	"memory 8589934592\n"
	"swap 0\n"
	"cpus 2\n"
	"overcommit 0 50 0\n"
	"map-max 65530\n"		/* line 10 */
	"map-min 0x10000\n"
	"legacy-layout 0\n"
	"thp madvise\n"
	"thp-shmem never\n"
	"vvar 16384\n"
	"vdso 8192\n"
	"auxv 21\n"
	"platform 7\n"
	"personality 0x40000\n"
	"stack-top 0x7ffffffff000\n"	/* line 20 */
	"mmap-base 0x7ffff7fff000\n"
	"anon-align none\n"
	"align-fit loose\n"
	"limit cpu unlimited unlimited\n"
	"limit fsize unlimited unlimited\n"
	"limit data unlimited unlimited\n"
	"limit stack 8388608 unlimited\n"
	"limit core 0 unlimited\n"
	"limit rss unlimited unlimited\n"
	"limit nproc 100 100\n"		/* line 30 */
	"limit nofile 1024 4096\n"
	"limit memlock 65536 65536\n"
	"limit as unlimited unlimited\n"
	"limit locks unlimited unlimited\n"
	"limit sigpending 100 100\n"
	"limit msgqueue 819200 819200\n"
	"limit nice 0 0\n"
	"limit rtprio 0 0\n"
	"limit rttime unlimited unlimited\n";

#define HEAD_LINES	39

static const char files[] =
	"tasks 3\n"			/* line 40 */
	"files 2\n"
	"file 1 regular 0755 5000 2097152 /usr/bin/some%20thing\n"
	"elf 1 dyn 0x1000 6 @2\n"
	"load 1 0x0 0x0 0x800 0x800 4 0x1000\n"
	"load 1 0x1000 0x1000 0x100 0x2000 6 0x1000\n"
	"file 2 regular 0755 ? 4096 /lib/ld.so\n"
	"elf 2 dyn 0x40 -1 @-\n"
	"load 2 0x0 0x0 0x100 0x100 5 0x1000\n"
	"calls\n";			/* line 49 */

#define BODY_LINE	50

/* head + files + @body; the caller frees. */
static char *make_text(const char *body)
{
	char *text;

	assert_true(asprintf(&text, "%s%s%s", head, files, body) > 0);
	return text;
}

static void expect_error(const char *text, uint64_t line, const char *what)
{
	struct recording_error err = { .line = 0 };

	if (read_all(text, strlen(text), &err) >= 0)
		fail_msg("accepted, but expected: line %" PRIu64 ": %s", line, what);
	if (err.line != line || !strstr(err.what, what))
		fail_msg("\"line %" PRIu64 ": %s\", expected \"line %" PRIu64 ": ..%s..\"",
			 err.line, err.what, line, what);
}

static char *slurp(const char *path, size_t *length)
{
	FILE *in = fopen(path, "r");
	char *text;

	assert_non_null(in);
	fseek(in, 0, SEEK_END);
	*length = (size_t)ftell(in);
	rewind(in);
	text = malloc(*length + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, *length, in), *length);
	text[*length] = '\0';
	fclose(in);
	return text;
}

/* The shipped traces; at least three. */
static void find_traces(glob_t *found)
{
	const char *root = getenv("KARC_ROOT");
	char pattern[512];

	snprintf(pattern, sizeof(pattern), "%s/examples/traces/*.trace", root ? root : ".");
	assert_int_equal(glob(pattern, 0, NULL, found), 0);
	assert_true(found->gl_pathc >= 3);
}

/* ---- what is right ----------------------------------------------------------------------- */

static void rewrite(struct recording *rec, FILE *out)
{
	const struct rec_info *info = recording_info(rec);
	struct recording_error err;
	struct rec_call call;
	uint64_t nr = 0;
	int got;

	recording_write_info(out, info);
	for (uint32_t id = 1; id <= info->nr_files; id++)
		recording_write_file(out, recording_file(rec, id));
	recording_write_body(out);
	while ((got = recording_next(rec, &call, &err)) > 0) {
		recording_write_call(out, &call);
		nr++;
	}
	assert_int_equal(got, 0);
	assert_int_equal(info->nr_lines, nr);
	recording_write_end(out, nr);
}

static void shipped_traces_are_read_and_written_to_the_same_bytes(void **state)
{
	glob_t found;

	(void)state;
	find_traces(&found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct recording_error err = { .line = 0 };
		struct recording *rec = recording_open(found.gl_pathv[i], &err);
		size_t length, written_length;
		char *text = slurp(found.gl_pathv[i], &length), *written;
		FILE *out = open_memstream(&written, &written_length);

		if (!rec)
			fail_msg("%s: line %" PRIu64 ": %s", found.gl_pathv[i], err.line, err.what);
		rewrite(rec, out);
		assert_int_equal(recording_bytes_read(rec), length);
		assert_int_equal(recording_bytes_total(rec), length);
		recording_close(rec);
		fclose(out);
		assert_int_equal(written_length, length);
		assert_memory_equal(written, text, length);
		free(written);
		free(text);
	}
	globfree(&found);
}

static void shipped_traces_begin_with_a_program_that_is_known(void **state)
{
	glob_t found;

	(void)state;
	find_traces(&found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct recording_error err;
		struct recording *rec = recording_open(found.gl_pathv[i], &err);
		const struct rec_file *image;
		struct rec_call call;

		assert_non_null(rec);
		assert_int_equal(recording_next(rec, &call, &err), 1);
		assert_int_equal(call.pid, 1);
		assert_int_equal(call.nr, REC_NR_execve);
		assert_int_equal(call.result, 0);
		image = recording_file(rec, (uint32_t)call.args[1]);
		assert_non_null(image);
		assert_non_null(image->elf);
		assert_true(image->elf->nr_segments > 0);
		assert_non_null(recording_file(rec, image->elf->interp)->elf);
		recording_close(rec);
	}
	globfree(&found);
}

static void head_is_there_after_open(void **state)
{
	char *text = make_text("end 0\n");
	struct input input = input_of(text, strlen(text));
	struct recording_error err;
	struct recording *rec = recording_open(input.path, &err);
	const struct rec_info *info;
	const struct rec_file *file;

	(void)state;
	assert_non_null(rec);
	info = recording_info(rec);
	assert_int_equal(info->kernel[0], 6);
	assert_int_equal(info->kernel[1], 1);
	assert_string_equal(info->machine, "x86_64");
	assert_int_equal(info->limits[3].cur, 8388608);
	assert_true(info->limits[3].max == REC_UNLIMITED);
	assert_int_equal(info->anon_align, REC_ANON_ALIGN_NONE);
	file = recording_file(rec, 1);
	assert_string_equal(file->label, "/usr/bin/some thing");
	assert_int_equal(file->mode, 0755);
	assert_int_equal(file->elf->nr_segments, 2);
	assert_int_equal(file->elf->segments[1].mem_bytes, 0x2000);
	assert_int_equal(file->elf->interp, 2);
	assert_true(recording_file(rec, 2)->size_bytes == REC_SIZE_UNKNOWN);
	assert_int_equal(recording_file(rec, 2)->elf->gnu_stack, -1);
	assert_null(recording_file(rec, 0));
	assert_null(recording_file(rec, 3));
	recording_close(rec);
	close(input.fd);
	free(text);
}

/* Reads @nr lines of @body into @calls; whole says whether the tasks announced all appear. */
static void read_calls(const char *body, struct rec_call *calls, unsigned int nr)
{
	char *text = make_text(body);
	struct input input = input_of(text, strlen(text));
	struct recording_error err;
	struct recording *rec = recording_open(input.path, &err);

	assert_non_null(rec);
	for (unsigned int i = 0; i < nr; i++)
		if (recording_next(rec, &calls[i], &err) != 1)
			fail_msg("line %" PRIu64 ": %s", err.line, err.what);
	assert_int_equal(recording_next(rec, &calls[nr], &err), 0);
	assert_int_equal(recording_next(rec, &calls[nr], &err), 0);
	recording_close(rec);
	close(input.fd);
	free(text);
}

static void end_of_a_call_carries_the_arguments_of_its_start(void **state)
{
	struct rec_call calls[16];

	(void)state;
	read_calls("1 > clone 0x1200000 17 0x0 0 0x0 0x10 0x0\n"
		   "2 born 1\n"
		   "2 > mmap 0x0 8192 0x3 0x22 -1 0x0 @-\n"
		   "1 < clone = 2 -1\n"
		   "2 < mmap = 0x7ffff7fc0000\n"
		   "2 exited 3\n"
		   "1 wait4 -1 = 2 0x300 0x1\n"
		   "1 clone3 0x3d0f00 0 0x1000 4096 0x0 0x0 0x0 = 3 7\n"
		   "end 8\n", calls, 8);
	assert_int_equal(calls[0].kind, REC_BEGIN);
	assert_int_equal(calls[1].kind, REC_BORN);
	assert_int_equal(calls[1].pid, 2);
	assert_int_equal(calls[1].other, 1);
	assert_int_equal(calls[3].kind, REC_END);
	assert_int_equal(calls[3].nr, REC_NR_clone);
	assert_int_equal(calls[3].args[0], 0x1200000);
	assert_int_equal(calls[3].args[1], 17);
	assert_int_equal(calls[3].result, 2);
	assert_int_equal(calls[3].line, BODY_LINE + 3);
	assert_int_equal(calls[4].args[1], 8192);
	assert_true(calls[4].args[4] == (uint64_t)-1);
	assert_true(calls[4].result == 0x7ffff7fc0000);
	assert_int_equal(calls[5].kind, REC_EXITED);
	assert_int_equal(calls[5].args[0], 3);
	assert_int_equal(calls[6].nr_out, 2);
	assert_int_equal(calls[6].out[0], 0x300);
	assert_int_equal(calls[7].out[0], 7);
}

static void vforked_child_may_die_before_its_maker_returns(void **state)
{
	struct rec_call calls[16];

	(void)state;
	read_calls("1 > vfork\n2 born 1\n2 exit 0 = ?\n2 exited 0\n1 < vfork = 2\n"
		   "1 fork = 3\n3 killed 11 core\nend 7\n", calls, 7);
	assert_false(calls[2].has_result);
	assert_int_equal(calls[4].result, 2);
	assert_int_equal(calls[6].kind, REC_KILLED);
	assert_int_equal(calls[6].args[1], 1);
}

static void thread_that_executes_takes_over_its_leader(void **state)
{
	struct rec_call calls[16];

	(void)state;
	read_calls("1 clone 0x10000 0 0x0 0 0x0 0x0 0x0 = 2 -1\n1 fork = 3\n"
		   "2 > execve @1 @1 1 2 3 4 5\n1 superseded 2\n1 < execve = 0\nend 5\n",
		   calls, 5);
	assert_int_equal(calls[3].kind, REC_SUPERSEDED);
	assert_int_equal(calls[3].other, 2);
	assert_int_equal(calls[4].pid, 1);
	assert_int_equal(calls[4].args[6], 5);
}

static void other_calls_are_kept_by_name_and_result(void **state)
{
	struct rec_call calls[16];

	(void)state;
	read_calls("# a comment\n1 getxattr = -EOPNOTSUPP\n1 syscall_0x1f0 = -E3000\n"
		   "1 read = 100\n1 pause = -ERESTARTNOHAND\n1 fork = 2\n1 fork = 3\n"
		   "1 signal 11 -6 0x10\n1 resized @2 77\n1 readmaps 4096\n1 stopped 19\nend 10\n",
		   calls, 10);
	assert_int_equal(calls[0].nr, REC_NR_OTHER);
	assert_string_equal(calls[0].name, "getxattr");
	assert_int_equal(calls[0].result, -95);
	assert_int_equal(calls[0].line, BODY_LINE + 1);
	assert_int_equal(calls[1].result, -3000);
	assert_int_equal(calls[3].result, -514);
	assert_true((int64_t)calls[6].args[1] == -6);
	assert_int_equal(calls[7].kind, REC_RESIZED);
	assert_int_equal(calls[7].args[1], 77);
	assert_int_equal(calls[8].kind, REC_MAPS_READ);
}

static uint64_t extreme(char letter, unsigned int round)
{
	static const uint64_t wide[] = { 0, 1, UINT64_MAX, INT64_MAX, UINT64_C(1) << 63 };
	static const int64_t fds[] = { 0, -1, INT32_MAX, INT32_MIN, -100 };
	static const uint64_t pids[] = { 0, (uint64_t)-1, REC_PID_UNKNOWN, 1, 1 };

	switch (letter) {
	case 'f':
		return (uint64_t)fds[round % 5];
	case 'p':
		return pids[round % 5];
	case '@':
		return round % 3;
	default:
		return wide[round % 5];
	}
}

static void numbers_of_every_call_survive_writing_and_reading(void **state)
{
	(void)state;
	for (unsigned int nr = 1; nr < REC_NR_CALLS; nr++)
		for (unsigned int round = 0; round < 5; round++) {
			const struct rec_call_desc *desc = rec_call_desc((enum rec_call_nr)nr);
			struct rec_call call = { .nr = (enum rec_call_nr)nr, .pid = 1 }, got[4];
			char *body;
			size_t length;
			FILE *out = open_memstream(&body, &length);

			call.has_result = true;
			call.result = -(int64_t)(1 + round * 700);
			for (unsigned int i = 0; desc->args[i]; i++)
				call.args[i] = extreme(desc->args[i], round + i);
			recording_write_call(out, &call);
			fputs("1 fork = 2\n1 fork = 3\nend 3\n", out);
			fclose(out);
			read_calls(body, got, 3);
			free(body);
			assert_int_equal(got[0].nr, nr);
			assert_string_equal(got[0].name, desc->name);
			assert_int_equal(got[0].result, call.result);
			assert_int_equal(got[0].nr_args, strlen(desc->args));
			assert_memory_equal(got[0].args, call.args, sizeof(call.args));
		}
}

static void a_long_trace_is_read_in_constant_memory(void **state)
{
	struct input input = input_of("", 0);
	struct recording_error err;
	struct recording *rec;
	struct rec_call call;
	FILE *out = fopen(input.path, "w");
	long nr = 0;

	(void)state;
	fputs(head, out);
	fputs("tasks 100001\nfiles 0\ncalls\n", out);
	for (unsigned int i = 2; i <= 100001; i++)
		fprintf(out, "1 fork = %u\n%u exited 0\n", i, i);
	fputs("end 200000\n", out);
	fclose(out);
	rec = recording_open(input.path, &err);
	assert_non_null(rec);
	while (recording_next(rec, &call, &err) > 0)
		nr++;
	assert_int_equal(nr, 200000);
	assert_int_equal(recording_info(rec)->nr_lines, 200000);
	recording_close(rec);
	close(input.fd);
}

/* ---- what is wrong ----------------------------------------------------------------------- */

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
	expect_error("karc-recording 2\n", 1, "format version 2");
	expect_error("karc-recording 99999999999999999999999\n", 1, "format version");
	expect_error("karc-recording 1\n", 1, "head does not end");
}

static void mistakes_in_the_head_are_named_with_their_line(void **state)
{
	static const struct {
		const char *text;	/* behind the head */
		uint64_t line;
		const char *what;
	} cases[] = {
		{ "calls\n", 40, "does not say \"tasks\"" },
		{ "page 4096\n", 40, "\"page\" is given twice" },
		{ "limit stack 1 2\n", 40, "limit stack is given twice" },
		{ "limit height 1 2\n", 40, "name of a limit" },
		{ "colour red\n", 40, "\"colour\" is not a line of the head" },
		{ "\n", 40, "line ends where" },
		{ "tasks 0\nfiles 0\ncalls\n", 42, "without tasks" },
		{ "tasks 9999999999\n", 40, "too large" },
		{ "tasks 4194305\n", 40, "too large" },
		{ "files 65537\n", 40, "too large" },
		{ "tasks 1 2\n", 40, "left over" },
		{ "tasks -1\n", 40, "is not a number of tasks" },
		{ "tasks 1\nfiles 1\ncalls\n", 42, "0 files declared, 1 announced" },
		{ "file 2 regular 0755 5 4096 /a\n", 40, "file 2 where file 1 belongs" },
		{ "file 1 castle 0755 5 4096 /a\n", 40, "kind of file" },
		{ "file 1 regular 0799 5 4096 /a\n", 40, "file mode" },
		{ "file 1 regular 0755 140737488355329 4096 /a\n", 40, "too large for a file" },
		{ "file 1 regular 0755 99999999999999999999 4096 /a\n", 40, "not a file size" },
		{ "file 1 regular 0755 5 4097 /a\n", 40, "4097 is no alignment" },
		{ "file 1 regular 0755 5 4096\n", 40, "line ends where a label belongs" },
		{ "file 1 regular 0755 5 4096 /a%2\n", 40, "without two digits" },
		{ "file 1 regular 0755 5 4096 /a%00\n", 40, "without two digits" },
		{ "file 1 regular 0755 5 4096 /a b\n", 40, "left over" },
		{ "elf 1 dyn 0x0 6 @-\n", 40, "does not follow that file" },
		{ "file 1 regular 0 5 4096 /a\nload 1 0x0 0x0 0x0 0x0 4 0x0\n", 41, "before elf" },
		{ "file 1 regular 0 5 4096 /a\nelf 1 dyn 0x0 6 @-\nelf 1 dyn 0x0 6 @-\n", 42,
		  "second elf" },
		{ "file 1 regular 0 5 4096 /a\nelf 1 dyn 0x0 6 @-\n"
		  "load 1 0x0 0x0 0x20 0x10 4 0x0\n", 42, "more bytes in the file" },
		{ "file 1 regular 0 5 4096 /a\nelf 1 dyn 0x0 6 @-\n"
		  "load 1 0x0 0x7fffffffffff 0x0 0x10 4 0x0\n", 42, "beyond user space" },
		{ "tasks 1\nfiles 1\nfile 1 regular 0 5 4096 /a\nelf 1 dyn 0x0 6 @9\ncalls\n", 44,
		  "interpreter @9 of file 1" },
		{ "tasks 1\nfiles 1\nfile 1 regular 0 5 4096 /a\nelf 1 dyn 0x0 6 @1\ncalls\n"
		  "1 \x01\n", 45, "byte 0x01 in column 3" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text;

		assert_true(asprintf(&text, "%s%s", head, cases[i].text) > 0);
		expect_error(text, cases[i].line, cases[i].what);
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
		expect_error(text, HEAD_LINES - 1 + 10, "the head does not");
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
		{ "1 > brk 0x0\n1 < mmap = 0x0\n", 1, "brk had begun in line 50" },
		{ "1 > brk 0x0\n1 brk 0x0 = 0x0\n", 1, "begins a call inside brk of line 50" },
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
		{ "1 mmap 0x0 4096 0x3 0x22 3 0x0 @3 = 0x1000\n", 0, "file @3 is not declared" },
		{ "1 mmap 0x0 4096 0x3 0x22 3 0x0 @0 = 0x1000\n", 0, "file @0 is not declared" },
		{ "1 mmap 0x0 4096 0x3 0x22 3 0x0 3 = 0x1000\n", 0, "not a file" },
		{ "1 openat 0x0 9 = 3 @1\n", 0, "octal" },
		{ "1 openat 0x0 0 = -ENOENT @1\n", 0, "outputs of a call that failed" },
		{ "1 openat 0x0 0 = 4294967296 @1\n", 0, "returns no descriptor" },
		{ "1 wait4 7 = -ECHILD\n", 0, "task 7 was never started" },
		{ "1 wait4 -1 = 2 0x0 0x0\n", 0, "returns task 2, which was never started" },
		{ "1 wait4 -1 = 1 0x0\n", 0, "line ends where" },
		{ "1 resized @- 5\n", 0, "no file to resize" },
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

static void a_megabyte_long_line_is_refused(void **state)
{
	char *body = malloc((1 << 20) + 16), *text;

	(void)state;
	memset(body, 'a', 1 << 20);
	memcpy(body, "1 brk 0x0 = 0x0\n1 ", 18);
	strcpy(body + (1 << 20), "\n");
	text = make_text(body);
	expect_error(text, BODY_LINE + 1, "longer than 4095 bytes");
	free(text);
	free(body);
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

		step = length < 6000 ? 1 : length / 600;
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
		"core",
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
		"1 execve @1 @1 1 4 2 50 9 = 0\n1 brk 0x0 = 0x555555559000\n"
		"1 > clone 0x1200000 17 0x0 0 0x0 0x10 0x0\n2 born 1\n"
		"2 mmap 0x0 8192 0x3 0x22 -1 0x0 @2 = 0x7ffff7fc0000\n1 < clone = 2 -1\n"
		"2 > execve @1 @1 1 2 3 4 5\n1 openat 0x80000 0 = 3 @2\n2 < execve = -ENOENT\n"
		"1 fork = 3\n3 exited 3\n1 wait4 -1 = 3 0x300 0x1\n1 resized @2 77\n"
		"1 pipe2 = 0 4 5 0x0\n2 signal 11 1 0x1234\n2 killed 11 core\n1 exited 0\nend 17\n";
	uint64_t seed = pick_seed(), accepted = 0;
	char *text = make_text(body), *copy;
	size_t length = strlen(text), room = length + 4096;
	struct recording_error err;

	(void)state;
	print_message("seed %" PRIu64 " (KARC_SEED repeats it)\n", seed);
	assert_int_equal(read_all(text, length, &err), 17);
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
		cmocka_unit_test(shipped_traces_are_read_and_written_to_the_same_bytes),
		cmocka_unit_test(shipped_traces_begin_with_a_program_that_is_known),
		cmocka_unit_test(head_is_there_after_open),
		cmocka_unit_test(end_of_a_call_carries_the_arguments_of_its_start),
		cmocka_unit_test(vforked_child_may_die_before_its_maker_returns),
		cmocka_unit_test(thread_that_executes_takes_over_its_leader),
		cmocka_unit_test(other_calls_are_kept_by_name_and_result),
		cmocka_unit_test(numbers_of_every_call_survive_writing_and_reading),
		cmocka_unit_test(a_long_trace_is_read_in_constant_memory),
		cmocka_unit_test(what_is_no_recording_is_called_so),
		cmocka_unit_test(mistakes_in_the_head_are_named_with_their_line),
		cmocka_unit_test(a_head_that_leaves_a_fact_out_is_refused),
		cmocka_unit_test(mistakes_in_the_body_are_named_with_their_line),
		cmocka_unit_test(a_megabyte_long_line_is_refused),
		cmocka_unit_test(a_trace_cut_anywhere_is_refused),
		cmocka_unit_test(mutated_traces_never_crash_the_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
