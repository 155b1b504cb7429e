/* SPDX-License-Identifier: MIT */
/*
 * script.c - programs that begin with a line for their interpreter
 *
 * execve of a script runs the interpreter that its first line names, with the line's rest and the
 * script's name as arguments instead of argv[0]. Only sizes matter here: of the strings on the
 * initial stack, and of the pointers to them.
 *
 * Model: Linux 6.1 load_script(): the line is what lies within the first EXEC_HEAD_BYTES; all after
 * the name and its blanks is one argument; trailing blanks do not count.
 */
#include <karc/base/err.h>
#include <karc/proc/exec.h>
#include <string.h>
#include "internal.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static size_t skip_blanks(const char *s, size_t from, size_t end)
{
	while (from < end && is_blank(s[from]))
		from++;
	return from;
}

/* The end of the word at @from: a blank, a NUL, or @end. */
static size_t word_end(const char *s, size_t from, size_t end)
{
	while (from < end && s[from] && !is_blank(s[from]))
		from++;
	return from;
}

/* Where the line ends; 0: the name itself is cut off, or there is none. */
static size_t line_end(const char *head, size_t bytes)
{
	const char *newline = memchr(head, '\n', bytes);
	size_t end, name;

	if (newline) {
		end = (size_t)(newline - head);
	} else if (bytes < EXEC_HEAD_BYTES) {
		end = bytes;		/* a short file ends in zeros */
	} else {
		end = EXEC_HEAD_BYTES - 1;
		name = skip_blanks(head, 2, end);
		if (word_end(head, name, end) == end)
			return 0;
	}
	while (end > 2 && is_blank(head[end - 1]))
		end--;
	return end;
}

int exec_script_parse(const struct exec_script *script, const char **interp,
		      size_t *interp_bytes, const char **arg, size_t *arg_bytes)
{
	const char *head = script->head;
	size_t bytes = min(script->head_bytes, (size_t)EXEC_HEAD_BYTES);
	size_t end, name, after;

	if (bytes < 2 || head[0] != '#' || head[1] != '!')
		return -ENOEXEC;
	end = line_end(head, bytes);
	name = skip_blanks(head, 2, end);
	if (name >= end)
		return -ENOEXEC;
	after = word_end(head, name, end);
	if (after == name)
		return -ENOEXEC;
	*interp = head + name;
	*interp_bytes = after - name;
	*arg = NULL;
	*arg_bytes = 0;
	if (after < end && head[after])
		after = skip_blanks(head, after, end);
	if (after < end && head[after]) {
		*arg = head + after;
		*arg_bytes = strnlen(head + after, end - after);
	}
	return 0;
}

/* One script: argv[0] goes, the interpreter's name, its argument and the script's name come. */
static int add_script(const struct exec_script *script, u64 argv0, u64 *args_bytes,
		      u64 *tables_bytes, u64 *new_argv0)
{
	size_t interp_bytes, arg_bytes;
	const char *interp, *arg;
	u64 strings = *args_bytes;
	int err = exec_script_parse(script, &interp, &interp_bytes, &arg, &arg_bytes);

	if (err)
		return err;
	if (argv0 > strings)
		return -EINVAL;
	strings += interp_bytes + 1 + strlen(script->path) + 1 - argv0;
	if (arg)
		strings += arg_bytes + 1;
	*args_bytes = strings;
	*tables_bytes += 8 * (u64)(1 + (arg != NULL) + (argv0 == 0));
	*new_argv0 = interp_bytes + 1;
	return 0;
}

int exec_scripts(const struct exec_image *image, u64 *args_bytes, u64 *tables_bytes)
{
	u64 argv0 = image->argv0_bytes;
	unsigned int i;
	int err;

	*args_bytes = image->args_bytes;
	*tables_bytes = image->tables_bytes;
	for (i = 0; i < image->nr_scripts; i++) {
		if (i == EXEC_SCRIPTS_MAX)
			return -ELOOP;
		err = add_script(&image->scripts[i], argv0, args_bytes, tables_bytes, &argv0);
		if (err)
			return err;
	}
	return image->program ? 0 : -ENOEXEC;
}
