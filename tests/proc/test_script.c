/* SPDX-License-Identifier: MIT */
/*
 * test_script.c - what a first line asks for, and what it does to the initial stack
 *
 * Method: lines as they are found in scripts, and those that Linux refuses; then sizes of strings
 * and tables for chains of scripts, compared with sums made by hand.
 */
#include "guests.h"
#include "../../src/proc/internal.h"
#include <karc/proc/exec.h>
#include <string.h>

static int parse(const char *head, size_t bytes, const char *want_interp, const char *want_arg)
{
	struct exec_script script = { "/tmp/s", head, bytes };
	const char *interp, *arg;
	size_t interp_bytes, arg_bytes;
	int err = exec_script_parse(&script, &interp, &interp_bytes, &arg, &arg_bytes);

	if (err || !want_interp)
		return err;
	assert_int_equal(interp_bytes, strlen(want_interp));
	assert_memory_equal(interp, want_interp, interp_bytes);
	if (!want_arg) {
		assert_null(arg);
		return 0;
	}
	assert_int_equal(arg_bytes, strlen(want_arg));
	assert_memory_equal(arg, want_arg, arg_bytes);
	return 0;
}

#define PARSE(line, interp, arg) parse(line, sizeof(line) - 1, interp, arg)

static void lines_name_interpreter_and_argument(void **state)
{
	(void)state;
	assert_int_equal(PARSE("#!/bin/sh\necho", "/bin/sh", NULL), 0);
	assert_int_equal(PARSE("#! /usr/bin/env python3\n", "/usr/bin/env", "python3"), 0);
	assert_int_equal(PARSE("#!/bin/awk -f  \t\nx", "/bin/awk", "-f"), 0);
	assert_int_equal(PARSE("#!\t/bin/a   two words \n", "/bin/a", "two words"), 0);
	assert_int_equal(PARSE("#!/bin/sh", "/bin/sh", NULL), 0);	/* no newline, short file */
	assert_int_equal(PARSE("#!/bin/sh\0 -x\n", "/bin/sh", NULL), 0);
	assert_int_equal(PARSE("#!/bin/sh -x\0 -y\n", "/bin/sh", "-x"), 0);
}

static void what_is_no_script_is_enoexec(void **state)
{
	(void)state;
	assert_int_equal(PARSE("#", NULL, NULL), -ENOEXEC);
	assert_int_equal(PARSE("\177ELF", NULL, NULL), -ENOEXEC);
	assert_int_equal(PARSE("#!", NULL, NULL), -ENOEXEC);
	assert_int_equal(PARSE("#!  \t \n/bin/sh\n", NULL, NULL), -ENOEXEC);
	assert_int_equal(PARSE("#! \0\n", NULL, NULL), -ENOEXEC);
}

/* 256 bytes are looked at: a name that reaches to their end may be cut off, an argument may be. */
static void a_line_too_long_keeps_its_name_or_fails(void **state)
{
	char line[400], want[400];

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "#!/", 3);
	assert_int_equal(parse(line, sizeof(line), NULL, NULL), -ENOEXEC);
	memset(line + 2, ' ', 300);
	assert_int_equal(parse(line, sizeof(line), NULL, NULL), -ENOEXEC);
	memset(line, 'x', sizeof(line));
	memcpy(line, "#!/bin/sh ", 10);
	memset(want, 'x', sizeof(want));
	want[255 - 10] = '\0';
	assert_int_equal(parse(line, sizeof(line), "/bin/sh", want), 0);
}

static void arguments_are_rewritten(void **state)
{
	static const struct exec_elf program;
	static const struct exec_script scripts[] = {
		{ "./run", "#!/opt/wrap -q\n", 15 },
		{ "/opt/wrap", "#!/bin/sh\n", 10 },
	};
	struct exec_image image = { .program = &program, .scripts = scripts, .nr_scripts = 1,
				    .argv0_bytes = 4, .args_bytes = 100, .tables_bytes = 200 };
	u64 args, tables;

	(void)state;
	assert_int_equal(exec_scripts(&image, &args, &tables), 0);
	/* "run" goes; "/opt/wrap", "-q", "./run" come */
	assert_int_equal(args, 100 - 4 + 10 + 3 + 6);
	assert_int_equal(tables, 200 + 2 * 8);
	image.nr_scripts = 2;
	assert_int_equal(exec_scripts(&image, &args, &tables), 0);
	/* then "/opt/wrap" goes; "/bin/sh", "/opt/wrap" come */
	assert_int_equal(args, 100 - 4 + 10 + 3 + 6 - 10 + 8 + 10);
	assert_int_equal(tables, 200 + 3 * 8);
	image.nr_scripts = 1;
	image.argv0_bytes = 0;
	assert_int_equal(exec_scripts(&image, &args, &tables), 0);
	assert_int_equal(args, 100 + 10 + 3 + 6);
	assert_int_equal(tables, 200 + 3 * 8);
	image.argv0_bytes = 101;
	assert_int_equal(exec_scripts(&image, &args, &tables), -EINVAL);
}

static void scripts_nest_five_deep(void **state)
{
	static const struct exec_elf program;
	struct exec_script scripts[EXEC_SCRIPTS_MAX + 1];
	struct exec_image image = { .program = &program, .scripts = scripts, .argv0_bytes = 2,
				    .args_bytes = 10 };
	u64 args, tables;
	unsigned int i;

	(void)state;
	for (i = 0; i <= EXEC_SCRIPTS_MAX; i++)
		scripts[i] = (struct exec_script){ "/s", "#!/s\n", 5 };
	image.nr_scripts = EXEC_SCRIPTS_MAX;
	assert_int_equal(exec_scripts(&image, &args, &tables), 0);
	image.nr_scripts = EXEC_SCRIPTS_MAX + 1;
	assert_int_equal(exec_scripts(&image, &args, &tables), -ELOOP);
	scripts[2].head = "x!";
	assert_int_equal(exec_scripts(&image, &args, &tables), -ENOEXEC);
	image.nr_scripts = 0;
	image.program = NULL;
	assert_int_equal(exec_scripts(&image, &args, &tables), -ENOEXEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_name_interpreter_and_argument),
		cmocka_unit_test(what_is_no_script_is_enoexec),
		cmocka_unit_test(a_line_too_long_keeps_its_name_or_fails),
		cmocka_unit_test(arguments_are_rewritten),
		cmocka_unit_test(scripts_nest_five_deep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
