/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_STRACE_TEXT_H
#define KARC_TOOLS_STRACE_TEXT_H

/*
 * strace_text.h - takes apart what strace prints
 *
 * For lines of `strace -f -y -X raw -xx -o`: pid first, constants as numbers, every byte of a
 * string or path as \xNN. So no quote, bracket or comma of a string can be mistaken.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum strace_kind {
	STRACE_CALL,		/* name(args) = result */
	STRACE_UNFINISHED,	/* name(args <unfinished ...> */
	STRACE_RESUMED,		/* <... name resumed>args) = result */
	STRACE_SIGNAL,		/* --- SIGNAME {args} --- */
	STRACE_STOPPED,		/* --- stopped by SIGNAME --- */
	STRACE_EXITED,		/* +++ exited with value +++ */
	STRACE_KILLED,		/* +++ killed by SIGNAME +++ */
	STRACE_SUPERSEDED,	/* +++ superseded by execve in pid value +++ */
};

struct strace_line {
	enum strace_kind kind;
	int pid;
	int64_t value;		/* exit code, pid; for STRACE_KILLED 1 if core dumped */
	char name[40];		/* of the call or signal */
	const char *args;	/* from behind "(", "resumed>" or "{"; ends with a NUL */
	const char *result;	/* from behind "= "; NULL without one */
};

/* Cuts @line (writing NULs into it). False: it has none of the shapes. */
bool strace_split(char *line, struct strace_line *out);

/*
 * Each of these reads one thing at *@at, skips it with the comma and blanks behind it, and says
 * whether it was there; *@at does not move when it was not.
 */
bool strace_number(const char **at, uint64_t *value);	/* 12, -1, 0x1f, 0666, NULL */
bool strace_flags(const char **at, uint64_t *value);	/* 0x1|0x80000 */
/* A descriptor with its path in <>; @label becomes "" without one. */
bool strace_fd(const char **at, int64_t *fd, char *label, size_t label_bytes);
/* Whether the descriptor at @at is printed as one of a file whose name is gone. */
bool strace_fd_removed(const char *at);
/* A string; *@length is that of the whole, also when @text is too small for it. */
bool strace_string(const char **at, char *text, size_t text_bytes, size_t *length);
/* An array of strings: their number and bytes with the terminating NULs. NULL is an empty one. */
bool strace_string_array(const char **at, uint64_t *count, uint64_t *bytes, size_t *first_length);
bool strace_char(const char **at, char c);
/* Past the structure or array that begins at *@at, and its comma: no string in it can mislead. */
bool strace_skip_braces(const char **at);
/* The number behind the first "@key=" at or after @text. */
bool strace_field(const char *text, const char *key, uint64_t *value);
/* What wait4 printed for a status, as the number it was. */
bool strace_wait_status(const char **at, uint64_t *status);

#endif /* KARC_TOOLS_STRACE_TEXT_H */
