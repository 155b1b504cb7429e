/* SPDX-License-Identifier: MIT */
/*
 * record_denied.c - whether this place lets a program be recorded, and if not, why
 *
 * Two things can be refused: switching address randomisation off, and tracing. Each is tried in a
 * child of its own, because a filter may kill whoever tries. What is refused is then explained
 * from what /proc says of this process.
 */
#define _GNU_SOURCE
#include "record.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int try_personality(void)
{
	unsigned int now = (unsigned int)personality(0xffffffff);

	return personality(now | ADDR_NO_RANDOMIZE) < 0 ? errno : 0;
}

static int try_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? errno : 0;
}

/* The errno that @try ends with in a child; -signal if it is killed, RECORD_NO_CHILD. */
static int in_child(int (*try)(void))
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return RECORD_NO_CHILD;
	if (child == 0)
		_exit(try() & 0xff);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return RECORD_NO_CHILD;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int read_int(const char *path, int otherwise)
{
	FILE *in = fopen(path, "r");
	int value;

	if (!in)
		return otherwise;
	if (fscanf(in, "%d", &value) != 1)
		value = otherwise;
	fclose(in);
	return value;
}

void record_look_around(struct record_denial *denial)
{
	FILE *in = fopen("/proc/self/status", "r");
	char line[256];

	memset(denial, 0, sizeof(*denial));
	while (in && fgets(line, sizeof(line), in)) {
		sscanf(line, "TracerPid: %d", &denial->tracer);
		sscanf(line, "Seccomp: %d", &denial->seccomp);
	}
	if (in)
		fclose(in);
	denial->yama_scope = read_int("/proc/sys/kernel/yama/ptrace_scope", -1);
	denial->personality_error = in_child(try_personality);
	denial->ptrace_error = in_child(try_ptrace);
}

/* "it ends with EPERM", "whoever tries is killed by SIGSYS" */
static void say_outcome(char *text, size_t bytes, int error)
{
	const char *name = error < 0 ? rec_signal_name(-error) : rec_errno_name(error);
	char number[16];

	snprintf(number, sizeof(number), "%d", error < 0 ? -error : error);
	snprintf(text, bytes, error < 0 ? "whoever tries is killed by %s" : "it ends with %s",
		 name ? name : number);
}

static void explain_personality(const struct record_denial *denial, char *text, size_t bytes)
{
	char outcome[64];

	say_outcome(outcome, sizeof(outcome), denial->personality_error);
	snprintf(text, bytes, "address randomisation cannot be switched off here (personality with "
		 "ADDR_NO_RANDOMIZE): %s. %s", outcome, denial->seccomp == 2 ?
		 "A seccomp filter is in force: run the container with "
		 "--security-opt seccomp=unconfined" :
		 "A security policy of this machine refuses it");
}

static void ptrace_reason(const struct record_denial *denial, char *text, size_t bytes)
{
	if (denial->tracer)
		snprintf(text, bytes, "This process is traced itself, by process %d, and a process "
			 "has one tracer: run it outside strace or the debugger", denial->tracer);
	else if (denial->yama_scope >= 3)
		snprintf(text, bytes, "/proc/sys/kernel/yama/ptrace_scope is 3: nobody may trace "
			 "before this machine starts anew with a lower value");
	else if (denial->seccomp == 2)
		snprintf(text, bytes, "A seccomp filter is in force: run the container with "
			 "--cap-add SYS_PTRACE or --security-opt seccomp=unconfined");
	else if (denial->yama_scope == 2)
		snprintf(text, bytes, "/proc/sys/kernel/yama/ptrace_scope is 2: only a process "
			 "with CAP_SYS_PTRACE may trace, so run it as root or set it to 1");
	else
		snprintf(text, bytes, "A security policy of this machine refuses it");
}

static void explain_ptrace(const struct record_denial *denial, char *text, size_t bytes)
{
	char outcome[64], reason[256];

	say_outcome(outcome, sizeof(outcome), denial->ptrace_error);
	ptrace_reason(denial, reason, sizeof(reason));
	snprintf(text, bytes, "tracing is denied here (ptrace): %s. %s", outcome, reason);
}

bool record_explain_denial(const struct record_denial *denial, char *text, size_t bytes)
{
	text[0] = '\0';
	if (denial->personality_error == RECORD_NO_CHILD ||
	    denial->ptrace_error == RECORD_NO_CHILD)
		snprintf(text, bytes, "cannot start a process");
	else if (denial->personality_error)
		explain_personality(denial, text, bytes);
	else if (denial->ptrace_error)
		explain_ptrace(denial, text, bytes);
	return text[0] != '\0';
}

/* ---- strace ------------------------------------------------------------------------------ */

/* The first line of `strace -V`. */
static void ask_version(const char *strace, char *line, size_t bytes)
{
	int ends[2];
	pid_t child;
	FILE *in;

	line[0] = '\0';
	if (pipe(ends) != 0)
		return;
	child = fork();
	if (child == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execl(strace, "strace", "-V", (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	in = fdopen(ends[0], "r");
	if (in && fgets(line, (int)bytes, in))
		line[strcspn(line, "\n")] = '\0';
	if (in)
		fclose(in);
	else
		close(ends[0]);
	if (child > 0)
		waitpid(child, NULL, 0);
}

bool record_strace_is_usable(const char *strace, char *text, size_t bytes)
{
	unsigned int major = 0, minor = 0;
	char line[128];

	ask_version(strace, line, sizeof(line));
	if (sscanf(line, "strace -- version %u.%u", &major, &minor) < 1) {
		snprintf(text, bytes, "%s does not say its version as strace does", strace);
		return false;
	}
	if (major > RECORD_STRACE_MAJOR ||
	    (major == RECORD_STRACE_MAJOR && minor >= RECORD_STRACE_MINOR))
		return true;
	snprintf(text, bytes, "%s is version %u.%u, too old: %d.%d or later is needed", strace,
		 major, minor, RECORD_STRACE_MAJOR, RECORD_STRACE_MINOR);
	return false;
}
