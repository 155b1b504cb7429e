/* SPDX-License-Identifier: MIT */
#ifndef KARC_TESTS_TOOLS_RECORDING_INPUT_H
#define KARC_TESTS_TOOLS_RECORDING_INPUT_H

/*
 * recording_input.h - recordings as text, for the tests of their reader
 *
 * To be included behind <cmocka.h>. Not every test needs all of it.
 */
#include <glob.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "recording.h"

#define TEST_HELPER	static __attribute__((unused))

/* A recording in memory, with a path by which it can be opened. */
struct input {
	int fd;
	char path[64];
};

TEST_HELPER struct input input_of(const char *text, size_t length)
{
	struct input input = { .fd = memfd_create("recording", 0) };

	assert_true(input.fd >= 0);
	assert_int_equal(write(input.fd, text, length), length);
	snprintf(input.path, sizeof(input.path), "/proc/self/fd/%d", input.fd);
	return input;
}

/* Reads all of it: the number of body lines, or -1 and the error. */
TEST_HELPER long read_all(const char *text, size_t length, struct recording_error *err)
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

TEST_HELPER const char head[] =
	"karc-recording 2\n"		/* line 1 */
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
	"vvar-vclock 0\n"
	"vdso 8192\n"
	"vsyscall xonly\n"
	"auxv 21\n"
	"platform 7\n"
	"personality 0x40000\n"
	"capabilities 0x1ff\n"		/* line 22 */
	"ignored 0x1000\n"
	"stack-top 0x7ffffffff000\n"
	"mmap-base 0x7ffff7fff000\n"
	"anon-align none\n"
	"align-fit loose\n"
	"limit cpu unlimited unlimited\n"
	"limit fsize unlimited unlimited\n"
	"limit data unlimited unlimited\n"
	"limit stack 8388608 unlimited\n"
	"limit core 0 unlimited\n"
	"limit rss unlimited unlimited\n"
	"limit nproc 100 100\n"
	"limit nofile 1024 4096\n"
	"limit memlock 65536 65536\n"
	"limit as unlimited unlimited\n"
	"limit locks unlimited unlimited\n"
	"limit sigpending 100 100\n"
	"limit msgqueue 819200 819200\n"
	"limit nice 0 0\n"
	"limit rtprio 0 0\n"
	"limit rttime unlimited unlimited\n";

#define HEAD_LINES	43

TEST_HELPER const char files[] =
	"tasks 3\n"			/* line 44 */
	"files 3\n"
	"fds 2\n"
	"fd 0 @-\n"
	"fd 7 @2\n"
	"file 1 regular 0755 5000 2097152 /usr/bin/some%20thing\n"
	"elf 1 dyn 0x1000 6 @2\n"
	"load 1 0x0 0x0 0x800 0x800 4 0x1000\n"
	"load 1 0x1000 0x1000 0x100 0x2000 6 0x1000\n"
	"file 2 regular 0755 ? 4096 /lib/ld.so\n"
	"elf 2 dyn 0x40 -1 @-\n"
	"load 2 0x0 0x0 0x100 0x100 5 0x1000\n"
	"file 3 regular 0755 100 4096 /usr/bin/script\n"
	"script 3 @1 19 3\n"
	"calls\n";			/* line 58 */

#define FILES_LINES	15
#define BODY_LINE	(HEAD_LINES + FILES_LINES + 1)

/* head + files + @body; the caller frees. */
TEST_HELPER char *make_text(const char *body)
{
	size_t bytes = sizeof(head) + sizeof(files) + strlen(body);
	char *text = malloc(bytes);

	assert_non_null(text);
	snprintf(text, bytes, "%s%s%s", head, files, body);
	return text;
}

TEST_HELPER void expect_error(const char *text, uint64_t line, const char *what)
{
	struct recording_error err = { .line = 0 };

	if (read_all(text, strlen(text), &err) >= 0)
		fail_msg("accepted, but expected: line %" PRIu64 ": %s", line, what);
	if (err.line != line || !strstr(err.what, what))
		fail_msg("\"line %" PRIu64 ": %s\", expected \"line %" PRIu64 ": ..%s..\"",
			 err.line, err.what, line, what);
}

TEST_HELPER char *slurp(const char *path, size_t *length)
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

/* The shipped traces: ten real programs at least. */
TEST_HELPER void find_traces(glob_t *found)
{
	const char *root = getenv("KARC_ROOT");
	char pattern[512];

	snprintf(pattern, sizeof(pattern), "%s/examples/traces/*.trace", root ? root : ".");
	assert_int_equal(glob(pattern, 0, NULL, found), 0);
	assert_true(found->gl_pathc >= 10);
}

#endif /* KARC_TESTS_TOOLS_RECORDING_INPUT_H */
