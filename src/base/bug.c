/* SPDX-License-Identifier: MIT */
/*
 * What a failed assertion does: format, hand to the hook of the machine, and without one print to
 * stderr.  Kept out of line so that call sites stay small.
 *
 * Unlike Linux: there is no trap instruction; a BUG is a call, and the record of its place is an
 * argument.  Messages are cut at MSG_MAX bytes, because formatting must not allocate.
 */
#include <karc/base/bug.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MSG_MAX 512

static void print_plain(const char *what, const struct bug_site *site, const char *msg)
{
	fprintf(stderr, "%s at %s:%u (%s)%s%s%s%s\n", what, site->site.file, site->site.line,
		site->site.func, site->text[0] ? ": " : "", site->text, msg[0] ? ": " : "", msg);
}

static void __noreturn bug_now(const struct bug_site *site, const char *msg)
{
	if (karc_bug_hook)
		karc_bug_hook(site, msg);
	else
		print_plain("kernel BUG", site, msg);
	abort();
}

static void warn_now(const struct bug_site *site, const char *msg)
{
	if (karc_warn_hook)
		karc_warn_hook(site, msg);
	else
		print_plain("WARNING", site, msg);
}

/* Formats without the newline that WARN() messages usually end with. */
static void format_msg(char *msg, const char *fmt, va_list args) __printf(2, 0);
static void format_msg(char *msg, const char *fmt, va_list args)
{
	int len = vsnprintf(msg, MSG_MAX, fmt, args);

	if (len >= MSG_MAX)
		len = MSG_MAX - 1;
	while (len > 0 && msg[len - 1] == '\n')
		msg[--len] = '\0';
}

void karc_bug(const struct bug_site *site)
{
	bug_now(site, "");
}

void karc_bug_msg(const struct bug_site *site, const char *fmt, ...)
{
	char msg[MSG_MAX];
	va_list args;

	va_start(args, fmt);
	format_msg(msg, fmt, args);
	va_end(args);
	bug_now(site, msg);
}

void karc_warn(const struct bug_site *site)
{
	warn_now(site, "");
}

void karc_warn_msg(const struct bug_site *site, const char *fmt, ...)
{
	char msg[MSG_MAX];
	va_list args;

	va_start(args, fmt);
	format_msg(msg, fmt, args);
	va_end(args);
	warn_now(site, msg);
}

bool karc_once(const void *key)
{
	return karc_once_hook ? karc_once_hook(key) : true;
}
