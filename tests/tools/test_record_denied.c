/* SPDX-License-Identifier: MIT */
/*
 * Goal: what forbids recording is explained, also where it cannot be provoked: the settings of a
 * host that a test must not change.
 * Method: the explanation of made-up findings. test_record.py provokes the others really.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>

#include "record.h"

static void expect(const struct record_denial *denial, const char *const *said, unsigned int nr)
{
	char text[512];

	assert_true(record_explain_denial(denial, text, sizeof(text)));
	for (unsigned int i = 0; i < nr; i++)
		if (!strstr(text, said[i]))
			fail_msg("\"%s\" does not say \"%s\"", text, said[i]);
}

#define EXPECT(denial, ...) do { \
	static const char *const said_[] = { __VA_ARGS__ }; \
\
	expect(&(denial), said_, sizeof(said_) / sizeof(said_[0])); \
} while (0)

static void nothing_denied_needs_no_explanation(void **state)
{
	const struct record_denial denial = { .yama_scope = 1, .seccomp = 2 };
	char text[512] = "x";

	(void)state;
	assert_false(record_explain_denial(&denial, text, sizeof(text)));
	assert_string_equal(text, "");
}

static void yama_scope_is_explained(void **state)
{
	struct record_denial denial = { .ptrace_error = EPERM, .yama_scope = 3 };

	(void)state;
	EXPECT(denial, "EPERM", "ptrace_scope is 3", "starts anew");
	denial.yama_scope = 2;
	EXPECT(denial, "ptrace_scope is 2", "CAP_SYS_PTRACE", "as root");
	denial.yama_scope = 1;
	EXPECT(denial, "security policy");
}

static void a_tracer_is_named_before_all_else(void **state)
{
	const struct record_denial denial = {
		.ptrace_error = EPERM, .yama_scope = 3, .seccomp = 2, .tracer = 4711,
	};

	(void)state;
	EXPECT(denial, "by process 4711", "outside strace");
}

static void a_filter_is_named(void **state)
{
	struct record_denial denial = { .ptrace_error = -SIGSYS, .yama_scope = -1, .seccomp = 2 };

	(void)state;
	EXPECT(denial, "killed by SIGSYS", "--cap-add SYS_PTRACE");
	denial.ptrace_error = ENOSYS;
	EXPECT(denial, "ENOSYS", "seccomp");
	denial.personality_error = EPERM;
	EXPECT(denial, "address randomisation", "seccomp=unconfined");
	denial.seccomp = 0;
	EXPECT(denial, "address randomisation", "security policy");
}

static void no_process_at_all_is_told(void **state)
{
	const struct record_denial denial = { .personality_error = RECORD_NO_CHILD };

	(void)state;
	EXPECT(denial, "cannot start a process");
}

static void explanations_fit_whatever_the_room(void **state)
{
	const struct record_denial denial = { .ptrace_error = EPERM, .tracer = 1 };
	char text[512], cut[512];

	(void)state;
	assert_true(record_explain_denial(&denial, text, sizeof(text)));
	for (size_t room = 1; room <= strlen(text) + 1; room++) {
		memset(cut, '#', sizeof(cut));
		record_explain_denial(&denial, cut, room);
		assert_int_equal(strlen(cut), room - 1);
		assert_memory_equal(cut, text, room - 1);
		assert_int_equal(cut[room], '#');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_denied_needs_no_explanation),
		cmocka_unit_test(yama_scope_is_explained),
		cmocka_unit_test(a_tracer_is_named_before_all_else),
		cmocka_unit_test(a_filter_is_named),
		cmocka_unit_test(no_process_at_all_is_told),
		cmocka_unit_test(explanations_fit_whatever_the_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
