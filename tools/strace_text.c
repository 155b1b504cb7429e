/* SPDX-License-Identifier: MIT */
/* strace_text.c - takes apart what strace prints */
#include "strace_text.h"
#include "recording.h"

#include <stdlib.h>
#include <string.h>

#define UNFINISHED "<unfinished ...>"
#define PID_CHANGED "<pid changed to "	/* of an execve by a thread that is not the leader */

/* Calls that an older strace knows by their number only, which it prints as their name. */
static const struct {
	const char *printed, *name;
} later_calls[] = {
	{ "syscall_0x1bf", "memfd_secret" }, { "syscall_0x1c0", "process_mrelease" },
	{ "syscall_0x1c2", "set_mempolicy_home_node" }, { "syscall_0x1c3", "cachestat" },
	{ "syscall_0x1c4", "fchmodat2" }, { "syscall_0x1c5", "map_shadow_stack" },
	{ "syscall_0x1c6", "futex_wake" }, { "syscall_0x1c7", "futex_wait" },
	{ "syscall_0x1c8", "futex_requeue" }, { "syscall_0x1ce", "mseal" },
};

static bool copy_name(struct strace_line *out, const char *from, size_t length)
{
	if (!length || length >= sizeof(out->name))
		return false;
	memcpy(out->name, from, length);
	out->name[length] = '\0';
	if (strncmp(out->name, "syscall_0x", strlen("syscall_0x")) != 0)
		return true;
	for (size_t i = 0; i < sizeof(later_calls) / sizeof(later_calls[0]); i++)
		if (strcmp(out->name, later_calls[i].printed) == 0)
			strcpy(out->name, later_calls[i].name);
	return true;
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* The last "<blanks>= " that closes an argument list: behind a ")" and no "==" or "=>". */
static char *find_result(char *text)
{
	char *found = NULL;

	for (char *at = strchr(text, ')'); at; at = strchr(at + 1, ')')) {
		size_t blanks = strspn(at + 1, " ");

		if (blanks && at[1 + blanks] == '=' && at[2 + blanks] == ' ')
			found = at;
	}
	return found;
}

/* @args up to the result, or up to the mark of an unfinished call. */
static bool split_args(char *args, struct strace_line *out)
{
	char *close = find_result(args);
	char *mark;

	out->args = args;
	if (close) {
		*close = '\0';
		out->result = close + 1 + strspn(close + 1, " ") + 2;
	}
	mark = strstr(args, UNFINISHED);
	if (!mark)
		mark = strstr(args, PID_CHANGED);
	if (mark)
		*mark = '\0';
	if (!close && !mark)
		return false;
	if (!close)
		out->kind = STRACE_UNFINISHED;
	return true;
}

static bool split_call(char *text, struct strace_line *out)
{
	char *open = strchr(text, '(');

	out->kind = STRACE_CALL;
	return open && copy_name(out, text, (size_t)(open - text)) && split_args(open + 1, out);
}

static bool split_resumed(char *text, struct strace_line *out)
{
	char *name = text + strlen("<... ");
	char *end = strstr(name, " resumed>");

	out->kind = STRACE_RESUMED;
	return end && copy_name(out, name, (size_t)(end - name)) &&
	       split_args(end + strlen(" resumed>"), out) && out->kind == STRACE_RESUMED;
}

/* "--- SIGCHLD {...} ---", "--- stopped by SIGSTOP ---" */
static bool split_signal(char *text, struct strace_line *out)
{
	out->kind = STRACE_SIGNAL;
	text += strlen("--- ");
	if (starts(text, "stopped by ")) {
		out->kind = STRACE_STOPPED;
		text += strlen("stopped by ");
	}
	if (!copy_name(out, text, strcspn(text, " ")))
		return false;
	out->args = strchr(text, '{');
	if (!out->args)
		out->args = "";
	return true;
}

/* "+++ exited with 0 +++", "+++ killed by SIGSEGV (core dumped) +++", "+++ superseded ... 7 +++" */
static bool split_end(char *text, struct strace_line *out)
{
	static const char exited[] = "exited with ", killed[] = "killed by ";
	static const char superseded[] = "superseded by execve in pid ";

	text += strlen("+++ ");
	if (starts(text, exited)) {
		out->kind = STRACE_EXITED;
		out->value = atoi(text + strlen(exited));
		return true;
	}
	if (starts(text, superseded)) {
		out->kind = STRACE_SUPERSEDED;
		out->value = atoi(text + strlen(superseded));
		return out->value > 0;
	}
	if (!starts(text, killed))
		return false;
	out->kind = STRACE_KILLED;
	out->value = strstr(text, "(core dumped)") != NULL;
	text += strlen(killed);
	return copy_name(out, text, strcspn(text, " "));
}

bool strace_split(char *line, struct strace_line *out)
{
	char *text;
	long pid = strtol(line, &text, 10);

	memset(out, 0, sizeof(*out));
	out->args = "";
	if (text == line || pid <= 0 || pid > REC_TASKS_MAX || *text != ' ')
		return false;
	out->pid = (int)pid;
	text += strspn(text, " ");
	text[strcspn(text, "\n")] = '\0';
	if (starts(text, "+++ "))
		return split_end(text, out);
	if (starts(text, "--- "))
		return split_signal(text, out);
	if (starts(text, "<... "))
		return split_resumed(text, out);
	return split_call(text, out);
}

/* Past blanks, one comma, blanks. */
static void skip_comma(const char **at)
{
	*at += strspn(*at, " ");
	if (**at == ',')
		++*at;
	*at += strspn(*at, " ");
}

bool strace_number(const char **at, uint64_t *value)
{
	char *end;

	if (starts(*at, "NULL")) {
		*value = 0;
		*at += 4;
	} else {
		if (**at != '-' && (**at < '0' || **at > '9'))
			return false;
		*value = **at == '-' ? (uint64_t)strtoll(*at, &end, 0) : strtoull(*at, &end, 0);
		if (end == *at)
			return false;
		*at = end;
	}
	skip_comma(at);
	return true;
}

bool strace_flags(const char **at, uint64_t *value)
{
	const char *next;
	uint64_t more;

	if (!strace_number(at, value))
		return false;
	while (**at == '|') {
		next = *at + 1;
		if (!strace_number(&next, &more))
			break;
		*value |= more;
		*at = next;
	}
	return true;
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Bytes up to @close; those that fit go to @text, which is terminated. */
static const char *read_bytes(const char *at, char close, char *text, size_t text_bytes,
			      size_t *length)
{
	size_t n = 0;

	while (*at && *at != close) {
		char c = *at++;

		if (c == '\\' && *at == 'x' && hex_value(at[1]) >= 0 && hex_value(at[2]) >= 0) {
			c = (char)(hex_value(at[1]) * 16 + hex_value(at[2]));
			at += 3;
		}
		if (n + 1 < text_bytes)
			text[n] = c;
		n++;
	}
	if (text_bytes)
		text[n < text_bytes ? n : text_bytes - 1] = '\0';
	*length = n;
	return *at ? at + 1 : NULL;
}

bool strace_fd(const char **at, int64_t *fd, char *label, size_t label_bytes)
{
	const char *from = *at;
	uint64_t value;
	size_t length;

	label[0] = '\0';
	if (!strace_number(at, &value))
		return false;
	*fd = (int32_t)value;
	if (**at == '<') {
		const char *end = read_bytes(*at + 1, '>', label, label_bytes, &length);

		if (!end) {
			*at = from;
			return false;
		}
		*at = end;
		if (starts(*at, "(deleted)"))
			*at += strlen("(deleted)");
		skip_comma(at);
	}
	return true;
}

bool strace_fd_removed(const char *at)
{
	at += strspn(at, "-0123456789x");
	if (*at != '<')
		return false;
	at = strchr(at, '>');
	return at && starts(at + 1, "(deleted)");
}

bool strace_string(const char **at, char *text, size_t text_bytes, size_t *length)
{
	const char *end;

	if (**at != '"')
		return false;
	end = read_bytes(*at + 1, '"', text, text_bytes, length);
	if (!end)
		return false;
	*at = end;
	if (starts(*at, "..."))
		*at += 3;
	skip_comma(at);
	return true;
}

bool strace_string_array(const char **at, uint64_t *count, uint64_t *bytes, size_t *first_length)
{
	const char *from = *at;
	size_t length;

	*count = *bytes = *first_length = 0;
	if (starts(*at, "NULL")) {
		*at += 4;
		skip_comma(at);
		return true;
	}
	if (!strace_char(at, '['))
		return false;
	while (strace_string(at, NULL, 0, &length)) {
		if (!(*count)++)
			*first_length = length;
		*bytes += length + 1;
	}
	if (strace_char(at, ']')) {
		skip_comma(at);
		return true;
	}
	*at = from;
	return false;
}

bool strace_char(const char **at, char c)
{
	if (**at != c)
		return false;
	++*at;
	return true;
}

bool strace_skip_braces(const char **at)
{
	unsigned int depth = 0;

	for (const char *to = *at; *to; to++) {
		if (*to == '{' || *to == '[')
			depth++;
		else if ((*to == '}' || *to == ']') && depth && !--depth) {
			*at = to + 1;
			skip_comma(at);
			return true;
		}
		if (!depth)
			return false;
	}
	return false;
}

bool strace_field(const char *text, const char *key, uint64_t *value)
{
	size_t length = strlen(key);

	for (const char *at = strstr(text, key); at; at = strstr(at + 1, key)) {
		const char *number = at + length + 1;

		if (at[length] != '=' || (at > text && at[-1] != '{' && at[-1] != ' '))
			continue;
		if (*number == '[')
			number++;
		return strace_number(&number, value);
	}
	return false;
}

static bool signal_behind(const char *text, const char *key, uint64_t *sig)
{
	const char *at = strstr(text, key);

	if (!at)
		return false;
	at += strlen(key);
	*sig = (uint64_t)rec_signal_by_name(at, strcspn(at, "}] &"));
	if (!*sig)
		*sig = strtoull(at, NULL, 0);
	return *sig != 0;
}

/* [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], [{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && ...}] */
bool strace_wait_status(const char **at, uint64_t *status)
{
	const char *end = strchr(*at, ']');
	const char *text = *at;
	uint64_t sig;

	*status = 0;
	if (**at != '[' || !end)
		return strace_number(at, &sig);	/* the pointer: nothing was stored */
	if (starts(text, "[{WIFEXITED")) {
		const char *code = strstr(text, "== ");

		*status = code ? (strtoull(code + 3, NULL, 0) & 255) << 8 : 0;
	} else if (starts(text, "[{WIFSIGNALED") && signal_behind(text, "WTERMSIG(s) == ", &sig)) {
		*status = sig | (strstr(text, "WCOREDUMP") ? 0x80 : 0);
	} else if (starts(text, "[{WIFSTOPPED") && signal_behind(text, "WSTOPSIG(s) == ", &sig)) {
		*status = sig << 8 | 0x7f;
	} else if (starts(text, "[{WIFCONTINUED")) {
		*status = 0xffff;
	} else {
		const char *number = text + 1;

		if (!strace_number(&number, status))
			return false;
	}
	*at = end + 1;
	skip_comma(at);
	return true;
}
