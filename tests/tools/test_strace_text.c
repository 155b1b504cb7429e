/* SPDX-License-Identifier: MIT */
/*
 * Goal: every shape of line that strace prints is cut into the right parts.
 * Method: lines as strace 6.1 printed them for real programs, and damaged ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "strace_text.h"

static struct strace_line split(const char *text)
{
	static char line[1024];
	struct strace_line out;

	assert_true(strlen(text) < sizeof(line));
	strcpy(line, text);
	if (!strace_split(line, &out))
		fail_msg("not understood: %s", text);
	return out;
}

static void whole_calls_have_name_arguments_and_result(void **state)
{
	struct strace_line line;

	(void)state;
	line = split("4891  mmap(NULL, 8192, 0x3, 0x22, -1, 0) = 0x7ffff7fc0000");
	assert_int_equal(line.kind, STRACE_CALL);
	assert_int_equal(line.pid, 4891);
	assert_string_equal(line.name, "mmap");
	assert_string_equal(line.args, "NULL, 8192, 0x3, 0x22, -1, 0");
	assert_string_equal(line.result, "0x7ffff7fc0000");
	line = split("1     access(0x7ffff7ff42a0, 0x4)       = -1 ENOENT (No such file)");
	assert_string_equal(line.result, "-1 ENOENT (No such file)");
	line = split("4921  exit_group(0x3)                   = ?");
	assert_string_equal(line.result, "?");
	line = split("9 read(0, <unfinished ...>)            = ?");
	assert_int_equal(line.kind, STRACE_CALL);
	assert_string_equal(line.args, "0, ");
	line = split("1 clone3({flags=0x1} => {parent_tid=[3]}, 88) = 3");
	assert_string_equal(line.args, "{flags=0x1} => {parent_tid=[3]}, 88");
	line = split("1 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 2");
	assert_string_equal(line.result, "2");
}

static void unfinished_and_resumed_parts_are_told_apart(void **state)
{
	struct strace_line line;

	(void)state;
	line = split("3338  vfork( <unfinished ...>");
	assert_int_equal(line.kind, STRACE_UNFINISHED);
	assert_string_equal(line.name, "vfork");
	assert_null(line.result);
	line = split("4923  execve(\"\\x2f\", [], [] <pid changed to 4918 ...>");
	assert_int_equal(line.kind, STRACE_UNFINISHED);
	line = split("8 <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, 0) = 4892");
	assert_int_equal(line.kind, STRACE_RESUMED);
	assert_string_equal(line.name, "wait4");
	assert_string_equal(line.result, "4892");
	line = split("4918  <... pause resumed>)              = ?");
	assert_string_equal(line.result, "?");
}

static void signals_and_ends_are_recognised(void **state)
{
	struct strace_line line;
	uint64_t value;

	(void)state;
	line = split("4920  --- SIGSEGV {si_signo=11, si_code=0x1, si_addr=0x1234} ---");
	assert_int_equal(line.kind, STRACE_SIGNAL);
	assert_string_equal(line.name, "SIGSEGV");
	assert_true(strace_field(line.args, "si_code", &value));
	assert_int_equal(value, 1);
	assert_true(strace_field(line.args, "si_addr", &value));
	assert_int_equal(value, 0x1234);
	assert_false(strace_field(line.args, "si_pid", &value));
	line = split("7 --- stopped by SIGSTOP ---");
	assert_int_equal(line.kind, STRACE_STOPPED);
	assert_string_equal(line.name, "SIGSTOP");
	line = split("7 +++ exited with 3 +++");
	assert_int_equal(line.kind, STRACE_EXITED);
	assert_int_equal(line.value, 3);
	line = split("7 +++ killed by SIGSEGV (core dumped) +++");
	assert_int_equal(line.kind, STRACE_KILLED);
	assert_string_equal(line.name, "SIGSEGV");
	assert_int_equal(line.value, 1);
	line = split("7 +++ superseded by execve in pid 4923 +++");
	assert_int_equal(line.kind, STRACE_SUPERSEDED);
	assert_int_equal(line.value, 4923);
}

static void damaged_lines_are_refused(void **state)
{
	static const char *const damaged[] = {
		"", "strace: exec: Exec format error", "12", "12 ", "12 mmap", "12 mmap(",
		"12 mmap()", "-3 brk(0) = 0", "99999999 brk(0) = 0", "1 <... brk", "1 +++ gone +++",
		"1 +++ superseded by execve in pid x +++", "1 (0) = 0",
		"1 a_name_that_is_longer_than_any_system_call_has(0) = 0",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		struct strace_line out;
		char line[128];

		strcpy(line, damaged[i]);
		if (strace_split(line, &out))
			fail_msg("accepted: %s", damaged[i]);
	}
}

static void numbers_strings_and_paths_are_read_one_by_one(void **state)
{
	const char *at = "NULL, -100<\\x2f>, 0x1f, 0666, \"\\x61\\x00\\x22\", "
			 "3<\\x6d\\x3e>(deleted), x";
	char text[16];
	uint64_t value;
	size_t length;
	int64_t fd;

	(void)state;
	assert_true(strace_number(&at, &value));
	assert_int_equal(value, 0);
	assert_true(strace_fd(&at, &fd, text, sizeof(text)));
	assert_int_equal(fd, -100);
	assert_string_equal(text, "/");
	assert_true(strace_number(&at, &value));
	assert_int_equal(value, 0x1f);
	assert_true(strace_number(&at, &value));
	assert_int_equal(value, 0666);
	assert_true(strace_string(&at, text, sizeof(text), &length));
	assert_int_equal(length, 3);
	assert_memory_equal(text, "a\0\"", 4);
	assert_true(strace_fd(&at, &fd, text, sizeof(text)));
	assert_string_equal(text, "m>");
	assert_false(strace_number(&at, &value));
	assert_string_equal(at, "x");
}

static void string_arrays_are_counted(void **state)
{
	const char *at = "[\"\\x61\\x62\", \"\", \"\\x63\"], NULL, []";
	uint64_t count, bytes;
	size_t first;

	(void)state;
	assert_true(strace_string_array(&at, &count, &bytes, &first));
	assert_int_equal(count, 3);
	assert_int_equal(bytes, 6);
	assert_int_equal(first, 2);
	assert_true(strace_string_array(&at, &count, &bytes, &first));
	assert_int_equal(count, 0);
	assert_true(strace_string_array(&at, &count, &bytes, &first));
	assert_int_equal(bytes, 0);
	at = "[\"\\x61\", 0x1234]";
	assert_false(strace_string_array(&at, &count, &bytes, &first));
}

static void wait_status_is_the_number_it_was(void **state)
{
	static const struct {
		const char *text;
		uint64_t status;
	} cases[] = {
		{ "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0", 0x300 },
		{ "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGTERM}], 0", 15 },
		{ "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}], 0", 0x8b },
		{ "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGRT_2}], 0", 34 },
		{ "[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}], 0", 0x137f },
		{ "[{WIFCONTINUED(s)}], 0", 0xffff },
		{ "[0x1234], 0", 0x1234 },
		{ "NULL, 0", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *at = cases[i].text;
		uint64_t status;

		assert_true(strace_wait_status(&at, &status));
		assert_int_equal(status, cases[i].status);
		assert_string_equal(at, "0");
	}
}

static void flags_are_put_together(void **state)
{
	const char *at = "0x1|0x80000, 0x4100|17, 7|x";
	uint64_t value;

	(void)state;
	assert_true(strace_flags(&at, &value));
	assert_int_equal(value, 0x80001);
	assert_true(strace_flags(&at, &value));
	assert_int_equal(value, 0x4111);
	assert_true(strace_flags(&at, &value));
	assert_int_equal(value, 7);
	assert_string_equal(at, "|x");
}

static void descriptors_of_removed_files_are_told_apart(void **state)
{
	(void)state;
	assert_true(strace_fd_removed("3<\\x2f\\x61>(deleted), 0"));
	assert_false(strace_fd_removed("3<\\x2f\\x61>, 4<\\x2f>(deleted)"));
	assert_false(strace_fd_removed("3, 0"));
	assert_false(strace_fd_removed("-1, 0"));
	assert_false(strace_fd_removed("3<\\x2f"));
}

static void structures_are_skipped_whole(void **state)
{
	const char *at = "{a=[1, {b=2}], c=3}, [4], 5";

	(void)state;
	assert_true(strace_skip_braces(&at));
	assert_string_equal(at, "[4], 5");
	assert_true(strace_skip_braces(&at));
	assert_string_equal(at, "5");
	assert_false(strace_skip_braces(&at));
	assert_string_equal(at, "5");
	at = "{a=1";
	assert_false(strace_skip_braces(&at));
	assert_string_equal(at, "{a=1");
}

static void calls_that_strace_knows_by_number_get_their_names(void **state)
{
	struct strace_line line;

	(void)state;
	line = split("7 syscall_0x1ce(0x7ffff7fbf000, 0x1000, 0, 0x8, 0, 0x68) = 0");
	assert_string_equal(line.name, "mseal");
	line = split("7 syscall_0x1c5(0, 0x1000, 0, 0, 0, 0) = -1 ENOSYS (Function not implemented)");
	assert_string_equal(line.name, "map_shadow_stack");
	line = split("7 syscall_0x999(0) = 0");
	assert_string_equal(line.name, "syscall_0x999");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_calls_have_name_arguments_and_result),
		cmocka_unit_test(unfinished_and_resumed_parts_are_told_apart),
		cmocka_unit_test(signals_and_ends_are_recognised),
		cmocka_unit_test(damaged_lines_are_refused),
		cmocka_unit_test(numbers_strings_and_paths_are_read_one_by_one),
		cmocka_unit_test(string_arrays_are_counted),
		cmocka_unit_test(wait_status_is_the_number_it_was),
		cmocka_unit_test(flags_are_put_together),
		cmocka_unit_test(descriptors_of_removed_files_are_told_apart),
		cmocka_unit_test(structures_are_skipped_whole),
		cmocka_unit_test(calls_that_strace_knows_by_number_get_their_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
