/* SPDX-License-Identifier: MIT */
/* record_decode.c - arguments, results and outputs of one call, from strace's text */
#define _GNU_SOURCE
#include "record_internal.h"
#include "strace_text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define IDTYPE_PIDFD	3	/* P_PIDFD, an enumerator in new headers only */
#ifndef PR_SET_VMA
#define PR_SET_VMA	0x53564d41
#endif

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
	const char *wrong, *slash;

	strcpy(dir, tracee->cwd->path);
	if (call->nr == REC_NR_execveat && !strace_fd(&at, &fd, dir, sizeof(dir)))
		return false;
	if (call->has_result && call->result < 0)
		return true;
	if (!parse_exec_strings(&at, &exec, dir))
		return !call->has_result;	/* unreadable strings: this call will fail */
	name_by_fd(&exec, fd, dir);
	call->args[7] = exec.argc;
	call->args[8] = exec.arg_bytes;
	call->args[9] = exec.path_bytes;
	call->args[10] = exec.argc ? exec.first_length + 1 : 0;
	slash = strrchr(exec.name, '/');
	snprintf(trace->text, sizeof(trace->text), "%.*s", REC_TEXT_MAX,
		 slash ? slash + 1 : exec.name);
	wrong = record_resolve_image(&trace->files, tracee->cwd->path, &exec, &call->args[0],
				     &call->args[1]);
	if (wrong)
		return record_fail(trace, "%s %s", exec.path, wrong);
	call->args[2] = exec.argc;
	call->args[3] = exec.arg_bytes;
	call->args[4] = exec.envc;
	call->args[5] = exec.env_bytes;
	call->args[6] = exec.path_bytes;
	call->args[11] = 1;
	call->text = trace->text;
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
	bool removed;
	int64_t fd = -1;

	for (unsigned int i = 0; i < 4; i++)
		if (!strace_number(&at, &args[i]))
			return false;
	removed = strace_fd_removed(at);
	if (!strace_fd(&at, &fd, label, sizeof(label)) || !strace_number(&at, &args[5]))
		return false;
	args[4] = (uint64_t)fd;
	if (args[3] & 0x20)	/* MAP_ANONYMOUS: the descriptor does not count */
		return true;
	args[6] = record_file_by_fd(trace, tracee, fd, label);
	if (!args[6] || (call->has_result && call->result < 0))
		return true;
	record_file_use(&trace->files, args[6]);
	record_note_size(trace, tracee, (uint32_t)args[6], fd);
	if (removed)
		record_note_removed(trace, tracee, (uint32_t)args[6]);
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
	else if (call->args[0] == IDTYPE_PIDFD)
		call->args[1] = id & INT32_MAX;
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

/* "name", flags: the name comes with the result, as that of the file. */
static bool decode_memfd(const char *at, struct rec_call *call)
{
	uint64_t pointer;
	size_t length;

	return (strace_string(&at, NULL, 0, &length) || strace_number(&at, &pointer)) &&
	       strace_number(&at, &call->args[0]);
}

/* Option and numbers; the one text that matters is the name of an anonymous mapping. */
static bool decode_prctl(struct record_trace *trace, const char *at, struct rec_call *call)
{
	size_t length;
	unsigned int i;

	for (i = 0; i < 5 && strace_number(&at, &call->args[i]); i++)
		;
	if (i && call->args[0] == PR_SET_VMA && !call->args[1] &&
	    strace_string(&at, trace->text, sizeof(trace->text), &length)) {
		call->args[5] = 1;
		call->text = trace->text;
	}
	return i != 0;
}

/* signal, {sa_handler=.., sa_flags=..} or NULL, .. */
static bool decode_sigaction(const char *at, struct rec_call *call)
{
	uint64_t handler = 0, nothing;

	if (!strace_number(&at, &call->args[0]))
		return false;
	call->args[1] = (uint64_t)-1;
	if (strace_number(&at, &nothing))
		return true;
	strace_field(at, "sa_handler", &handler);
	strace_field(at, "sa_flags", &call->args[2]);
	call->args[1] = handler < 2 ? handler : 2;
	return true;
}

static bool decode_shmctl(const char *at, struct rec_call *call)
{
	for (unsigned int i = 0; i < 2; i++) {
		if (!strace_number(&at, &call->args[i]))
			return false;
		call->args[i] = (uint64_t)(int64_t)(int32_t)call->args[i];
	}
	return true;
}

/* Where in its registers a call says that the new descriptor is closed on exec; -1: always. */
static const struct {
	enum rec_call_nr nr;
	int index;
	uint64_t flag;
} cloexec_flags[] = {
	{ REC_NR_socket, 1, O_CLOEXEC }, { REC_NR_accept4, 3, O_CLOEXEC },
	{ REC_NR_eventfd2, 1, O_CLOEXEC }, { REC_NR_epoll_create1, 0, O_CLOEXEC },
	{ REC_NR_timerfd_create, 1, O_CLOEXEC }, { REC_NR_signalfd4, 3, O_CLOEXEC },
	{ REC_NR_inotify_init1, 0, O_CLOEXEC }, { REC_NR_fanotify_init, 0, 1 },
	{ REC_NR_pidfd_open, -1, 0 }, { REC_NR_pidfd_getfd, -1, 0 },
	{ REC_NR_perf_event_open, 4, 8 }, { REC_NR_io_uring_setup, -1, 0 },
	{ REC_NR_open_by_handle_at, 2, O_CLOEXEC }, { REC_NR_open_tree, 2, O_CLOEXEC },
	{ REC_NR_fsopen, 1, 1 }, { REC_NR_fsmount, 1, 1 }, { REC_NR_fspick, 2, 1 },
	{ REC_NR_mq_open, -1, 0 }, { REC_NR_landlock_create_ruleset, -1, 0 },
};

static bool decode_newfd(const char *at, struct rec_call *call)
{
	uint64_t value = 0;

	for (size_t i = 0; i < sizeof(cloexec_flags) / sizeof(cloexec_flags[0]); i++) {
		if (cloexec_flags[i].nr != call->nr)
			continue;
		for (int arg = 0; arg <= cloexec_flags[i].index; arg++)
			if (!strace_number(&at, &value))
				return false;
		call->args[0] = cloexec_flags[i].index < 0 || (value & cloexec_flags[i].flag);
	}
	return true;
}

/* The rest is printed raw: registers in the order of the table's letters. */
static bool decode_raw(struct record_trace *trace, struct tracee *tracee, const char *at,
		       struct rec_call *call)
{
	const char *letters = rec_call_desc(call->nr)->args;

	for (unsigned int i = 0; letters[i]; i++) {
		if (letters[i] == '@') {
			call->args[i] = record_file_by_fd(trace, tracee,
							  (int64_t)call->args[0], "");
			continue;
		}
		if (!strace_number(&at, &call->args[i]))
			return false;
		if (letters[i] == 'p')
			call->args[i] = pid_argument(trace, call->args[i]);
		else if (letters[i] == 'f' || letters[i] == 'd')
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
	case REC_NR_memfd_create:
		return decode_memfd(at, call);
	case REC_NR_prctl:
		return decode_prctl(trace, at, call);
	case REC_NR_rt_sigaction:
		return decode_sigaction(at, call);
	case REC_NR_shmctl:
		return decode_shmctl(at, call);
	case REC_NR_getrlimit:
		return strace_number(&at, &call->args[0]);
	default:
		return call->class == REC_CLASS_NEWFD ? decode_newfd(at, call) :
		       decode_raw(trace, tracee, at, call);
	}
}

/* ---- results and outputs ----------------------------------------------------------------- */

/* "(errno 524)". Beyond all errors: strace could not ask, as the task was killed in its call. */
static bool parse_errno_number(const char *at, struct rec_call *call)
{
	unsigned long long number = strtoull(at + strlen("(errno "), NULL, 10);

	if (number > 4095)
		return false;
	call->result = -(int64_t)number;
	return true;
}

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
		call->has_result = parse_errno_number(at, call);
	else if (from[0] == '?')
		call->has_result = false;
	return !failed || !call->has_result || call->result < 0;
}

/* Two descriptors in brackets; pipe2 has its flags behind them, socketpair its type before. */
static bool decode_fd_pair(struct tracee *tracee, const char *at, struct rec_call *call)
{
	char label[PATH_MAX];
	uint64_t family;
	int64_t fd;

	if (call->nr == REC_NR_socketpair &&
	    (!strace_number(&at, &family) || !strace_flags(&at, &call->out[2])))
		return false;
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
	bool asked;

	if (!strace_number(&at, &pid))
		return false;
	asked = at[0] == '[';
	if (!strace_wait_status(&at, &call->out[0]) || !strace_number(&at, &call->out[1]))
		return false;
	if (!asked)
		call->out[0] = REC_STATUS_UNKNOWN;
	return true;
}

/* idtype, id, {si_..}, options, rusage. Without the structure nothing is known of it. */
static bool decode_waitid_out(struct record_trace *trace, const char *at, struct rec_call *call)
{
	uint64_t pid = 0, code = 0, status = 0;
	char label[PATH_MAX];
	int64_t id;
	bool asked;

	if (!strace_number(&at, &pid) || !strace_fd(&at, &id, label, sizeof(label)))
		return false;
	pid = 0;
	strace_field(at, "si_pid", &pid);
	strace_field(at, "si_code", &code);
	strace_field(at, "si_status", &status);
	asked = strace_skip_braces(&at);
	if (!asked && !strace_number(&at, &call->out[3]))
		return false;
	call->out[0] = asked ? record_ordinal_of(trace, (int64_t)pid) : REC_PID_UNKNOWN;
	call->out[1] = (uint64_t)(int64_t)(int32_t)code;
	call->out[2] = (uint64_t)(int64_t)(int32_t)status;
	return strace_number(&at, &call->out[3]);
}

/* A pair of numbers, in the structure at @at; a pointer or NULL there: no outputs. */
static bool decode_pair_out(const char *at, const char *first, const char *second,
			    struct rec_call *call)
{
	call->nr_out = 0;
	if (strace_field(at, first, &call->out[0]) && strace_field(at, second, &call->out[1]))
		call->nr_out = 2;
	return true;
}

/* The old limits stand behind the new ones, in the same words. */
static bool decode_limit_out(const char *at, struct rec_call *call)
{
	uint64_t skipped;

	if (!strace_number(&at, &skipped))
		return false;
	if (call->nr == REC_NR_prlimit64 &&
	    (!strace_number(&at, &skipped) ||
	     (!strace_number(&at, &skipped) && !strace_skip_braces(&at))))
		return false;
	return decode_pair_out(at, "rlim_cur", "rlim_max", call);
}

/*
 * The old clone stores its pidfd where parent_tid points, and strace prints registers only. What
 * lies there by now is believed if it is a pidfd.
 */
static int64_t find_pidfd(const struct tracee *tracee, const struct rec_call *call)
{
	char path[64], target[64] = "";
	int32_t fd = -1;
	struct iovec here = { &fd, sizeof(fd) };
	struct iovec there = { (void *)(uintptr_t)call->args[4], sizeof(fd) };

	if (!(call->args[0] & CLONE_PIDFD) ||
	    process_vm_readv(tracee->host_pid, &here, 1, &there, 1, 0) != sizeof(fd))
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/fd/%" PRId32, tracee->host_pid, fd);
	if (fd < 0 || readlink(path, target, sizeof(target) - 1) < 0)
		return -1;
	return strcmp(target, "anon_inode:[pidfd]") == 0 ? fd : -1;
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
		call->out[0] = (uint64_t)find_pidfd(tracee, call);
		return true;
	case REC_NR_clone3:
		call->out[0] = (uint64_t)-1;
		at = strstr(at, "=>");
		if (at)
			strace_field(at, "pidfd", &call->out[0]);
		return true;
	case REC_NR_prlimit64:
	case REC_NR_getrlimit:
		return decode_limit_out(at, call);
	case REC_NR_shmctl:
		return decode_pair_out(at, "shm_segsz", "shm_nattch", call);
	case REC_NR_io_setup:
		bracket = strchr(at, '[');
		bracket = bracket ? bracket + 1 : "";
		return strace_number(&bracket, &call->out[0]);
	default:
		return true;	/* @: filled by follow() */
	}
}
