/* SPDX-License-Identifier: MIT */
/* record_decode.c - arguments, results and outputs of one call, from strace's text */
#define _GNU_SOURCE
#include "record_internal.h"
#include "strace_text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* ---- arguments --------------------------------------------------------------------------- */

/* "path", [argv], [envp]: the sizes; the bytes themselves are dropped here. I2. */
static bool parse_exec_strings(const char **at, struct record_exec *exec, const char *dir)
{
	size_t length, ignored;

	if (!strace_string(at, exec->name, sizeof(exec->name), &length) ||
	    length >= sizeof(exec->name))
		return false;
	record_join_path(exec->path, sizeof(exec->path), dir, exec->name);
	exec->path_bytes += length + 1;
	return strace_string_array(at, &exec->argc, &exec->arg_bytes, &exec->first_length) &&
	       strace_string_array(at, &exec->envc, &exec->env_bytes, &ignored);
}

/* With a descriptor the kernel names the file /dev/fd/N/path, or /dev/fd/N without a path. */
static void name_by_fd(struct record_exec *exec, int64_t fd, const char *label)
{
	char name[PATH_MAX];

	if (fd == AT_FDCWD || exec->name[0] == '/')
		return;
	if (!exec->name[0])
		snprintf(exec->path, sizeof(exec->path), "%s", label);
	if (snprintf(name, sizeof(name), "/dev/fd/%d%s%s", (int)fd, exec->name[0] ? "/" : "",
		     exec->name) < (int)sizeof(name))
		strcpy(exec->name, name);
	exec->path_bytes = strlen(exec->name) + 1;
}

static bool decode_exec(struct record_trace *trace, struct tracee *tracee, const char *at,
			struct rec_call *call)
{
	struct record_exec exec = { .argc = 0 };
	char dir[PATH_MAX];
	int64_t fd = AT_FDCWD;
	const char *wrong;

	strcpy(dir, tracee->cwd->path);
	if (call->nr == REC_NR_execveat && !strace_fd(&at, &fd, dir, sizeof(dir)))
		return false;
	if (call->has_result && call->result < 0)
		return true;
	if (!parse_exec_strings(&at, &exec, dir))
		return !call->has_result;	/* unreadable strings: this call will fail */
	name_by_fd(&exec, fd, dir);
	wrong = record_resolve_image(&trace->files, tracee->cwd->path, &exec, &call->args[0],
				     &call->args[1]);
	if (wrong)
		return record_fail(trace, "%s %s", exec.path, wrong);
	call->args[2] = exec.argc;
	call->args[3] = exec.arg_bytes;
	call->args[4] = exec.envc;
	call->args[5] = exec.env_bytes;
	call->args[6] = exec.path_bytes;
	return true;
}

/* [dirfd<path>,] "name", flags, mode - or how={flags=.., mode=..} - or creat's mode alone */
static bool decode_open(struct tracee *tracee, const char *at, struct rec_call *call)
{
	char label[PATH_MAX];
	uint64_t *args = call->args;
	size_t length;
	int64_t dir;

	if (call->nr == REC_NR_openat || call->nr == REC_NR_openat2) {
		if (!strace_fd(&at, &dir, label, sizeof(label)))
			return false;
		if (dir == AT_FDCWD && label[0])
			strcpy(tracee->cwd->path, label);
	}
	if (!strace_string(&at, label, sizeof(label), &length) && !strace_number(&at, &args[0]))
		return false;
	args[0] = 0;
	if (call->nr == REC_NR_openat2) {
		strace_field(at, "flags", &args[0]);
		strace_field(at, "mode", &args[1]);
	} else {
		strace_number(&at, &args[0]);
		strace_number(&at, &args[1]);
	}
	return true;
}

static bool decode_mmap(struct record_trace *trace, struct tracee *tracee, const char *at,
			struct rec_call *call)
{
	char label[PATH_MAX];
	uint64_t *args = call->args;
	struct rec_call resized = { .kind = REC_RESIZED, .pid = tracee->pid };
	int64_t fd = -1;

	for (unsigned int i = 0; i < 4; i++)
		if (!strace_number(&at, &args[i]))
			return false;
	if (!strace_fd(&at, &fd, label, sizeof(label)) || !strace_number(&at, &args[5]))
		return false;
	args[4] = (uint64_t)fd;
	if (args[3] & 0x20)	/* MAP_ANONYMOUS: the descriptor does not count */
		return true;
	args[6] = record_file_by_fd(trace, tracee, fd, label);
	if (!args[6] || (call->has_result && call->result < 0))
		return true;
	if (record_file_mapped(&trace->files, (uint32_t)args[6], tracee->host_pid, fd)) {
		resized.args[0] = args[6];
		resized.args[1] = record_file_get(&trace->files, args[6])->file.size_bytes;
		record_write_line(trace, &resized);
	}
	return true;
}

static bool decode_clone3(const char *at, struct rec_call *call)
{
	static const char *const fields[] = {
		"flags", "exit_signal", "stack", "stack_size", "parent_tid", "child_tid", "tls",
	};

	for (unsigned int i = 0; i < 7; i++)
		strace_field(at, fields[i], &call->args[i]);
	return *at == '{';
}

/* Raw: flags stack parent_tid child_tid tls. */
static bool decode_clone(const char *at, struct rec_call *call)
{
	uint64_t raw[5];

	for (unsigned int i = 0; i < 5; i++)
		if (!strace_number(&at, &raw[i]))
			return false;
	call->args[0] = raw[0] & ~UINT64_C(0xff);
	call->args[1] = raw[0] & 0xff;
	call->args[2] = raw[1];
	call->args[4] = raw[2];
	call->args[5] = raw[3];
	call->args[6] = raw[4];
	return true;
}

/* -1 and 0 mean what they say; others are tasks, groups by their leader's negative. */
static uint64_t pid_argument(const struct record_trace *trace, uint64_t value)
{
	int32_t pid = (int32_t)value;
	uint32_t ordinal;

	if (pid == 0 || pid == -1)
		return (uint64_t)(int64_t)pid;
	ordinal = record_ordinal_of(trace, pid < 0 ? -(int64_t)pid : pid);
	if (!ordinal)
		return REC_PID_UNKNOWN;
	return pid < 0 ? (uint64_t)-(int64_t)ordinal : ordinal;
}

static bool decode_wait4(struct record_trace *trace, const char *at, struct rec_call *call)
{
	uint64_t pid;

	if (!strace_number(&at, &pid))
		return false;
	call->args[0] = pid_argument(trace, pid);
	return true;
}

static bool decode_waitid(struct record_trace *trace, const char *at, struct rec_call *call)
{
	uint64_t id;

	if (!strace_number(&at, &call->args[0]))
		return false;
	strace_number(&at, &id);
	if (call->args[0] == P_PID || call->args[0] == P_PGID)
		call->args[1] = pid_argument(trace, id);
	else
		call->args[1] = call->args[0] == P_ALL ? 0 : REC_PID_UNKNOWN;
	return true;
}

static bool decode_limit(struct record_trace *trace, const char *at, struct rec_call *call)
{
	uint64_t *args = call->args;
	uint64_t pid, nothing;

	if (call->nr == REC_NR_setrlimit)
		return strace_number(&at, &args[0]) && strace_field(at, "rlim_cur", &args[1]) &&
		       strace_field(at, "rlim_max", &args[2]);
	if (!strace_number(&at, &pid) || !strace_number(&at, &args[1]))
		return false;
	args[0] = pid_argument(trace, pid);
	if (strace_number(&at, &nothing))	/* NULL, or a pointer that could not be read */
		return true;
	args[2] = 1;
	return strace_field(at, "rlim_cur", &args[3]) && strace_field(at, "rlim_max", &args[4]);
}

static bool decode_truncate(struct record_trace *trace, struct tracee *tracee, const char *at,
			    struct rec_call *call)
{
	char name[PATH_MAX], path[PATH_MAX], real[PATH_MAX];
	uint64_t pointer;
	size_t length;

	if (!strace_string(&at, name, sizeof(name), &length))
		return strace_number(&at, &pointer) && strace_number(&at, &call->args[0]);
	record_join_path(path, sizeof(path), tracee->cwd->path, name);
	if (path[0] && realpath(path, real))
		call->args[1] = record_file_by_path(&trace->files, real);
	return strace_number(&at, &call->args[0]);
}

/* The rest is printed raw: registers in the order of the table's letters. */
static bool decode_raw(struct record_trace *trace, struct tracee *tracee, const char *at,
		       struct rec_call *call)
{
	const char *letters = rec_call_desc(call->nr)->args;

	if (call->nr == REC_NR_memfd_create)	/* the name's address comes first */
		strace_number(&at, &call->args[0]);
	for (unsigned int i = 0; letters[i]; i++) {
		if (letters[i] == '@') {
			call->args[i] = record_file_by_fd(trace, tracee,
							  (int64_t)call->args[0], "");
			continue;
		}
		if (!strace_number(&at, &call->args[i]))
			return false;
		if (letters[i] == 'f' || letters[i] == 'd')
			call->args[i] = (uint64_t)(int64_t)(int32_t)call->args[i];
	}
	return true;
}

bool record_decode_args(struct record_trace *trace, struct tracee *tracee, const char *at,
			struct rec_call *call)
{
	switch (call->nr) {
	case REC_NR_execve:
	case REC_NR_execveat:
		return decode_exec(trace, tracee, at, call);
	case REC_NR_open:
	case REC_NR_openat:
	case REC_NR_openat2:
	case REC_NR_creat:
		return decode_open(tracee, at, call);
	case REC_NR_mmap:
		return decode_mmap(trace, tracee, at, call);
	case REC_NR_clone3:
		return decode_clone3(at, call);
	case REC_NR_clone:
		return decode_clone(at, call);
	case REC_NR_wait4:
		return decode_wait4(trace, at, call);
	case REC_NR_waitid:
		return decode_waitid(trace, at, call);
	case REC_NR_prlimit64:
	case REC_NR_setrlimit:
		return decode_limit(trace, at, call);
	case REC_NR_truncate:
		return decode_truncate(trace, tracee, at, call);
	default:
		return decode_raw(trace, tracee, at, call);
	}
}

/* ---- results and outputs ----------------------------------------------------------------- */

/* "0", "0x7f..", "3<path>", "-1 ENOENT (..)", "? ERESTARTSYS (..)", "?" */
bool record_parse_result(const char *at, struct rec_call *call, char *label, size_t bytes)
{
	const char *from = at;
	bool failed = at[0] == '?';
	uint64_t value = 0;
	int64_t fd;

	label[0] = '\0';
	if (failed)
		at++;
	else if (!strace_number(&at, &value))
		return false;
	if (at[0] == '<')
		strace_fd(&from, &fd, label, bytes);
	failed |= (int64_t)value == -1;
	at += strspn(at, " ");
	call->has_result = true;
	call->result = (int64_t)value;
	if (failed && at[0] == 'E')
		call->result = -rec_errno_by_name(at, strcspn(at, " "));
	else if (failed && strncmp(at, "(errno ", 7) == 0)
		call->result = -atoi(at + 7);
	else if (from[0] == '?')
		call->has_result = false;
	return !failed || !call->has_result || call->result < 0;
}

/* Two descriptors in brackets; pipe2 has its flags behind them. */
static bool decode_fd_pair(struct tracee *tracee, const char *at, struct rec_call *call)
{
	char label[PATH_MAX];
	int64_t fd;

	at = strchr(at, '[');
	if (!at)
		return false;
	at++;
	for (unsigned int i = 0; i < 2; i++) {
		if (!strace_fd(&at, &fd, label, sizeof(label)))
			return false;
		record_set_fd(tracee->fds, fd, 0);
		call->out[i] = (uint64_t)fd;
	}
	if (call->nr == REC_NR_pipe2) {
		at += strspn(at, "], ");
		strace_number(&at, &call->out[2]);
	}
	return true;
}

static bool decode_wait4_out(const char *at, struct rec_call *call)
{
	uint64_t pid;

	return strace_number(&at, &pid) && strace_wait_status(&at, &call->out[0]) &&
	       strace_number(&at, &call->out[1]);
}

static bool decode_waitid_out(struct record_trace *trace, const char *at, struct rec_call *call)
{
	uint64_t pid = 0, code = 0, status = 0;
	const char *behind = strchr(at, '}');

	strace_field(at, "si_pid", &pid);
	strace_field(at, "si_code", &code);
	strace_field(at, "si_status", &status);
	call->out[0] = record_ordinal_of(trace, (int64_t)pid);
	call->out[1] = (uint64_t)(int64_t)(int32_t)code;
	call->out[2] = (uint64_t)(int64_t)(int32_t)status;
	if (behind) {
		behind += strspn(behind, "}, ");
		strace_number(&behind, &call->out[3]);
	}
	return true;
}

bool record_decode_out(struct record_trace *trace, struct tracee *tracee, const char *at,
		       struct rec_call *call)
{
	const char *bracket;

	call->nr_out = (uint8_t)strlen(rec_call_desc(call->nr)->out);
	switch (call->nr) {
	case REC_NR_wait4:
		return decode_wait4_out(at, call);
	case REC_NR_waitid:
		return decode_waitid_out(trace, at, call);
	case REC_NR_pipe:
	case REC_NR_pipe2:
	case REC_NR_socketpair:
		return decode_fd_pair(tracee, at, call);
	case REC_NR_clone:
	case REC_NR_clone3:
		call->out[0] = (uint64_t)-1;
		at = strstr(at, "=>");
		if (at)
			strace_field(at, "pidfd", &call->out[0]);
		return true;
	case REC_NR_io_setup:
		bracket = strchr(at, '[');
		bracket = bracket ? bracket + 1 : "";
		return strace_number(&bracket, &call->out[0]);
	default:
		return true;	/* @: filled by follow() */
	}
}
