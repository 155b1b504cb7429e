/* SPDX-License-Identifier: MIT */
/*
 * Goal: error pointers carry errno values and nothing else looks like one; without hooks BUG
 * aborts and prints where.
 * Method: the whole range at its edges; a child process for the abort.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <karc/base/bug.h>
#include <karc/base/err.h>

static void the_last_4095_addresses_are_errors(void **state)
{
	(void)state;
	assert_true(IS_ERR(ERR_PTR(-1)));
	assert_true(IS_ERR(ERR_PTR(-MAX_ERRNO)));
	assert_false(IS_ERR(ERR_PTR(-MAX_ERRNO - 1)));
	assert_false(IS_ERR(NULL));
	assert_true(IS_ERR_OR_NULL(NULL));
	assert_true(IS_ERR_OR_NULL(ERR_PTR(-ENOMEM)));
	assert_false(IS_ERR_OR_NULL(&state));
}

static void the_number_comes_back(void **state)
{
	(void)state;
	assert_int_equal(PTR_ERR(ERR_PTR(-ENOMEM)), -ENOMEM);
	assert_int_equal(PTR_ERR_OR_ZERO(ERR_PTR(-ERESTARTSYS)), -512);
	assert_int_equal(PTR_ERR_OR_ZERO(&state), 0);
	assert_ptr_equal(ERR_CAST(ERR_PTR(-ENOTSUPP)), ERR_PTR(-524));
}

/* Runs @fn in a child; its stderr goes to @text. Returns the wait status. */
static int in_child(void (*fn)(void), char *text, size_t size)
{
	int fds[2], status;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		fn();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], text + used, size - 1 - used)) > 0)
		used += n;
	text[used] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void do_bug(void)
{
	signal(SIGABRT, SIG_DFL);
	BUG_ON(1 + 1 == 2);
}

static void do_warn(void)
{
	if (!WARN_ON_ONCE(2 + 2 == 4) || !WARN(1, "text %d\n", 5))
		_exit(1);
}

static void bug_without_hook_prints_and_aborts(void **state)
{
	char text[1000];
	int status = in_child(do_bug, text, sizeof(text));

	(void)state;
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(text, "kernel BUG at "));
	assert_non_null(strstr(text, "test_err.c:"));
	assert_non_null(strstr(text, "(do_bug): 1 + 1 == 2\n"));
}

static void warning_without_hook_prints_and_goes_on(void **state)
{
	char text[1000];
	int status = in_child(do_warn, text, sizeof(text));

	(void)state;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_non_null(strstr(text, "(do_warn): 2 + 2 == 4\n"));
	assert_non_null(strstr(text, "(do_warn): 1: text 5\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_4095_addresses_are_errors),
		cmocka_unit_test(the_number_comes_back),
		cmocka_unit_test(bug_without_hook_prints_and_aborts),
		cmocka_unit_test(warning_without_hook_prints_and_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
