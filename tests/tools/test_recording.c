/* SPDX-License-Identifier: MIT */
/*
 * Goal: the reader understands every recording that was made, and what is written reads back.
 * Method: the shipped traces are read, written again and compared byte by byte; short bodies and
 * the extremes of every number are read and looked at. test_recording_errors.c has the rest.
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

#include "recording_input.h"

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
	assert_null(recording_file(rec, 3)->elf);
	assert_int_equal(recording_file(rec, 3)->script->interp, 1);
	assert_int_equal(recording_file(rec, 3)->script->name_bytes, 19);
	assert_int_equal(recording_file(rec, 3)->script->arg_bytes, 3);
	assert_null(recording_file(rec, 1)->script);
	assert_int_equal(info->nr_born_fds, 2);
	assert_int_equal(info->born_fds[1].fd, 7);
	assert_int_equal(info->born_fds[1].file, 2);
	assert_int_equal(info->capabilities, 0x1ff);
	assert_int_equal(info->vsyscall, REC_VSYSCALL_XONLY);
	assert_null(recording_file(rec, 4));
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
		   "2 > execve @1 @1 1 2 3 4 5 1 2 5 2 a\n1 superseded 2\n1 < execve = 0\nend 5\n",
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
		   "1 signal 11 -6 0x10 0\n1 resized @2 77\n1 view 1 smaps 4096\n1 stopped 19\nend 10\n",
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
	assert_int_equal(calls[8].kind, REC_VIEW_READ);
}

/* Reads @body, expecting of each line the text given; NULL is none. */
static void expect_texts(const char *body, const char *const *texts, unsigned int nr)
{
	char *text = make_text(body);
	struct input input = input_of(text, strlen(text));
	struct recording_error err;
	struct recording *rec = recording_open(input.path, &err);
	struct rec_call call;

	assert_non_null(rec);
	for (unsigned int i = 0; i < nr; i++) {
		if (recording_next(rec, &call, &err) != 1)
			fail_msg("line %" PRIu64 ": %s", err.line, err.what);
		assert_int_equal(call.text != NULL, texts[i] != NULL);
		if (!texts[i])
			continue;
		assert_string_equal(call.text, texts[i]);
		assert_int_equal(call.text_bytes, strlen(texts[i]));
	}
	recording_close(rec);
	close(input.fd);
	free(text);
}

static void texts_are_decoded_and_kept_for_the_end_of_a_call(void **state)
{
	static const char *const texts[] = {
		"a %b", NULL, "-", NULL, "", "x y", "-", NULL,
	};

	(void)state;
	expect_texts("1 prctl 1398164801 0x0 0x1000 0x1000 0x0 a%20%25b = 0\n"
		     "1 prctl 1398164801 0x0 0x1000 0x1000 0x0 - = 0\n"
		     "1 > prctl 1398164801 0x0 0x1000 0x1000 0x0 %2D\n"
		     "1 fork = 2\n", texts, 3);
	expect_texts("1 prctl 1398164801 0x0 0x1000 0x1000 0x0 a%20%25b = 0\n"
		     "1 fork = 2\n"
		     "1 > prctl 1398164801 0x0 0x1000 0x1000 0x0 %2D\n"
		     "2 exited 0\n"
		     "1 renamed @2 \"\"\n"
		     "1 renamed @1 x%20y\n"
		     "1 < prctl = 0\n"
		     "1 brk 0x0 = 0x1000\n", texts, 8);
}

static void what_was_read_of_maps_comes_line_by_line(void **state)
{
	static const char *const texts[] = {
		NULL, "1000-2000 r--p 00000000 08:01 7    /a %b", "2000-30", "  00 rw", "-p", NULL,
		"smaps",
	};
	static const char body[] =
		"1 read = 100\n"
		"1 maps 1 0 line 1000-2000 r--p 00000000 08:01 7    /a %25b\n"
		"1 maps 1 80 begins 2000-30\n"
		"1 maps 1 87 inside   00 rw\n"
		"1 maps 1 94 ends -p\n"
		"1 maps 1 97 eof\n"
		"1 view 1 smaps 4096\n";
	struct rec_call calls[16];
	char *whole;

	(void)state;
	expect_texts(body, texts, 7);
	assert_true(asprintf(&whole, "%s1 fork = 2\n1 fork = 3\nend 9\n", body) > 0);
	read_calls(whole, calls, 9);
	free(whole);
	assert_int_equal(calls[1].kind, REC_MAPS_READ);
	assert_int_equal(calls[1].other, 1);
	assert_int_equal(calls[1].args[1], REC_MAPS_LINE);
	assert_int_equal(calls[2].args[0], 80);
	assert_int_equal(calls[2].args[1], REC_MAPS_BEGINS);
	assert_int_equal(calls[3].args[1], REC_MAPS_INSIDE);
	assert_int_equal(calls[4].args[1], REC_MAPS_ENDS);
	assert_int_equal(calls[5].args[1], REC_MAPS_EOF);
	assert_int_equal(calls[6].kind, REC_VIEW_READ);
	assert_int_equal(calls[6].args[0], 4096);
}

static void events_carry_their_numbers(void **state)
{
	struct rec_call calls[16];

	(void)state;
	read_calls("1 fork = 2\n1 fork = 3\n1 removed @2\n1 received 7 1 @3\n1 received 8 0 @-\n"
		   "2 signal 15 0 0x0 1\n1 socketpair = 0 3 4 0x80001\n1 kill -2 15 = 0\n"
		   "1 kill ? 15 = -EPERM\n1 getrlimit 7 = 0 10 20\n1 shmctl 5 2 = 0 4096 1\n"
		   "1 shmctl 5 0 = 0\n1 socket 1 = 9\nend 13\n", calls, 13);
	assert_int_equal(calls[2].kind, REC_REMOVED);
	assert_int_equal(calls[2].args[0], 2);
	assert_int_equal(calls[3].kind, REC_RECEIVED);
	assert_int_equal(calls[3].args[1], 1);
	assert_int_equal(calls[3].args[2], 3);
	assert_int_equal(calls[4].args[2], 0);
	assert_int_equal(calls[5].other, 1);
	assert_int_equal(calls[6].out[2], 0x80001);
	assert_true((int64_t)calls[7].args[0] == -2);
	assert_int_equal(calls[8].args[0], REC_PID_UNKNOWN);
	assert_int_equal(calls[9].out[1], 20);
	assert_int_equal(calls[10].nr_out, 2);
	assert_int_equal(calls[11].nr_out, 0);
	assert_int_equal(calls[12].args[0], 1);
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
	case 'q':
		return pids[round % 5];
	case '@':
		return round % 3;
	case 's':
		return 0;
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
	fputs("tasks 100001\nfiles 0\nfds 0\ncalls\n", out);
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
		cmocka_unit_test(texts_are_decoded_and_kept_for_the_end_of_a_call),
		cmocka_unit_test(what_was_read_of_maps_comes_line_by_line),
		cmocka_unit_test(events_carry_their_numbers),
		cmocka_unit_test(numbers_of_every_call_survive_writing_and_reading),
		cmocka_unit_test(a_long_trace_is_read_in_constant_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
