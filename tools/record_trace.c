/* SPDX-License-Identifier: MIT */
/*
 * record_trace.c - turns strace's lines into a recording
 *
 * What it is   Two passes. While the program runs, each line of strace becomes a line of the
 *              body, in a temporary file, with provisional file numbers: only at the end is it
 *              known which of the opened files were ever mapped. The second pass writes the head,
 *              then copies the body with those files numbered anew and all others as @-.
 *
 * Objects      struct tracee, one per host pid: ordinal, descriptor table and working directory,
 *              both shared or copied as clone's flags say. Descriptors are tracked because
 *              strace names a file by its path only, and memfds and removed files have none
 *              that can be looked up; the path it prints decides when both disagree.
 *
 * Invariants   I1  a tracee's first line is preceded by its birth: either the return of the call
 *              that made it, or a `born` line.
 *              I2  nothing strace read from the program's memory gets into the recording but
 *              numbers, names of anonymous mappings, and what was read of /proc/PID/maps; of
 *              paths only those of mapped and executed files.
 *
 * Worst case   Memory grows with the number of tasks (one parent number each), of files mapped or
 *              executed, and by a pointer for each file opened.
 */
#define _GNU_SOURCE
#include "record_internal.h"
#include "strace_text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool record_fail(struct record_trace *trace, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(trace->error, sizeof(trace->error), format, list);
	va_end(list);
	trace->failed = true;
	return false;
}

/* ---- tracees ----------------------------------------------------------------------------- */

void record_write_line(struct record_trace *trace, const struct rec_call *call)
{
	recording_write_call(trace->body, call);
	trace->nr_lines++;
}

uint32_t record_ordinal_of(const struct record_trace *trace, int64_t host_pid)
{
	const struct tracee *tracee;

	if (host_pid <= 0 || host_pid >= PID_SLOTS)
		return 0;
	tracee = trace->by_pid[host_pid];
	return tracee ? tracee->pid : 0;
}

static struct tracee *new_tracee(struct record_trace *trace, int host_pid)
{
	struct tracee *tracee = trace->by_pid[host_pid];

	if (!tracee) {
		tracee = record_checked(calloc(1, sizeof(*tracee)));
		trace->by_pid[host_pid] = tracee;
		tracee->host_pid = host_pid;
	}
	if (trace->nr_tasks + 1 >= trace->max_tasks) {
		trace->max_tasks = trace->max_tasks ? trace->max_tasks * 2 : 64;
		trace->parents = record_checked(realloc(trace->parents, trace->max_tasks *
							sizeof(*trace->parents)));
	}
	tracee->pid = ++trace->nr_tasks;
	tracee->live = true;
	tracee->claimed = false;
	trace->parents[tracee->pid] = 0;
	return tracee;
}

static bool makes_task(enum rec_call_nr nr)
{
	return nr == REC_NR_clone || nr == REC_NR_clone3 || nr == REC_NR_fork ||
	       nr == REC_NR_vfork;
}

static void add_maker(struct record_trace *trace, struct tracee *tracee)
{
	if (trace->nr_makers == trace->max_makers) {
		trace->max_makers = trace->max_makers ? trace->max_makers * 2 : 16;
		trace->makers = record_checked(realloc(trace->makers, trace->max_makers *
						       sizeof(*trace->makers)));
	}
	tracee->child_seen = false;
	trace->makers[trace->nr_makers++] = tracee;
}

static void set_in_call(struct record_trace *trace, struct tracee *tracee,
			const struct rec_call *call, const char *text)
{
	tracee->call = *call;
	tracee->text = record_checked(strdup(text));
	tracee->in_call = true;
	if (makes_task(call->nr))
		add_maker(trace, tracee);
}

static void leave_call(struct record_trace *trace, struct tracee *tracee)
{
	if (tracee->in_call && makes_task(tracee->call.nr))
		for (uint32_t i = 0; i < trace->nr_makers; i++)
			if (trace->makers[i] == tracee)
				trace->makers[i--] = trace->makers[--trace->nr_makers];
	free(tracee->text);
	tracee->text = NULL;
	tracee->in_call = false;
}

static void end_tracee(struct record_trace *trace, struct tracee *tracee)
{
	leave_call(trace, tracee);
	record_drop_fds(tracee->fds);
	record_drop_cwd(tracee->cwd);
	tracee->fds = NULL;
	tracee->cwd = NULL;
	tracee->live = false;
}

static void inherit(struct record_trace *trace, struct tracee *child,
		    const struct tracee *parent, const struct rec_call *call)
{
	bool has_flags = call && (call->nr == REC_NR_clone || call->nr == REC_NR_clone3);
	uint64_t flags = has_flags ? call->args[0] : 0;

	child->fds = parent ? record_share_fds(parent->fds, flags & CLONE_FILES) :
		     record_new_fds(&trace->files);
	child->cwd = record_share_cwd(parent ? parent->cwd : NULL, flags & CLONE_FS);
	if (parent)
		trace->parents[child->pid] = parent->pid;
}

/* "Tgid:" and "PPid:" of a process; false when it is gone. */
static bool read_family(int host_pid, int *group, int *parent)
{
	char path[64], line[256];
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/status", host_pid);
	in = fopen(path, "r");
	*group = *parent = 0;
	if (!in)
		return false;
	while (fgets(line, sizeof(line), in)) {
		sscanf(line, "Tgid: %d", group);
		sscanf(line, "PPid: %d", parent);
	}
	fclose(in);
	return *parent != 0;
}

static int group_of(int host_pid)
{
	int group, parent;

	return read_family(host_pid, &group, &parent) ? group : host_pid;
}

/*
 * Who is making the task that shows itself as @host_pid: a tracee inside such a call whose
 * child was not seen yet. With several of them the kernel is asked; the return of the call
 * corrects a wrong guess.
 */
static struct tracee *guess_parent(struct record_trace *trace, int host_pid)
{
	struct tracee *found = NULL;
	int group = 0, parent = 0;

	for (uint32_t i = 0; i < trace->nr_makers; i++) {
		struct tracee *tracee = trace->makers[i];

		if (tracee->child_seen)
			continue;
		if (!found) {
			found = tracee;
			continue;
		}
		if (!group && !read_family(host_pid, &group, &parent))
			break;
		if (group_of(tracee->host_pid) == (group == host_pid ? parent : group))
			found = tracee;
	}
	return found;
}

static struct tracee *first_tracee(struct record_trace *trace, int host_pid)
{
	struct tracee *tracee = new_tracee(trace, host_pid);

	tracee->claimed = true;
	trace->first_pid = host_pid;
	inherit(trace, tracee, NULL, NULL);
	record_drop_fds(tracee->fds);
	tracee->fds = record_share_fds(trace->born_fds, false);
	if (!getcwd(tracee->cwd->path, sizeof(tracee->cwd->path)))
		tracee->cwd->path[0] = '\0';
	return tracee;
}

/* I1: the tracee of a line; makes one at first sight. */
static struct tracee *tracee_of(struct record_trace *trace, int host_pid)
{
	struct rec_call line = { .kind = REC_BORN };
	struct tracee *tracee = trace->by_pid[host_pid], *parent;

	if (tracee && tracee->live)
		return tracee;
	if (!trace->nr_tasks)
		return first_tracee(trace, host_pid);
	parent = guess_parent(trace, host_pid);
	tracee = new_tracee(trace, host_pid);
	inherit(trace, tracee, parent, parent ? &parent->call : NULL);
	if (parent)
		parent->child_seen = true;
	line.pid = tracee->pid;
	line.other = trace->parents[tracee->pid];
	record_write_line(trace, &line);
	return tracee;
}

/* The call of @parent returned its child's host pid: gives the ordinal. */
static uint32_t claim_child(struct record_trace *trace, struct tracee *parent,
			    const struct rec_call *call, int64_t host_pid)
{
	struct tracee *child;

	if (host_pid <= 0 || host_pid >= PID_SLOTS)
		return 0;
	child = trace->by_pid[host_pid];
	if (!child || child->claimed) {
		if (child && child->live)
			end_tracee(trace, child);
		child = new_tracee(trace, (int)host_pid);
		inherit(trace, child, parent, call);
	}
	child->claimed = true;
	trace->parents[child->pid] = parent->pid;
	return child->pid;
}

/* ---- consequences ------------------------------------------------------------------------ */

static void close_fds(struct fd_table *fds, uint64_t first, uint64_t last)
{
	for (uint64_t fd = first; fd <= last && fd < fds->nr; fd++)
		record_set_fd(fds, (int64_t)fd, 0);
}

/* Only a regular file can be made or resized so: a look may come too late to tell. */
static void must_be_regular(struct record_file *file)
{
	if (file->file.kind == REC_FILE_UNKNOWN)
		file->file.kind = REC_FILE_REGULAR;
}

/* The call itself tells the size: no line of its own is needed. */
static void set_size(struct record_trace *trace, uint64_t id, uint64_t size, bool only_grow)
{
	struct record_file *file = record_file_get(&trace->files, id);

	if (!file)
		return;
	if (!only_grow || (file->size_now != REC_SIZE_UNKNOWN && file->size_now < size))
		file->size_now = size;
	if (!only_grow || (file->size_followed != REC_SIZE_UNKNOWN && file->size_followed < size))
		file->size_followed = size;
	file->changed = true;
	must_be_regular(file);
}

static void follow_open(struct record_trace *trace, struct tracee *tracee, const char *label,
			struct rec_call *call)
{
	bool is_memfd = call->nr == REC_NR_memfd_create || call->nr == REC_NR_memfd_secret;
	uint64_t flags = call->nr == REC_NR_creat ? O_TRUNC : is_memfd ? 0 : call->args[0];
	bool is_new = (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
	struct record_file *file;
	uint32_t id = 0;

	if (is_memfd)
		id = record_new_memfd(trace, tracee->host_pid, call->result, label);
	else if (record_open_view(trace, tracee->fds, call->result, label))
		return;
	else if (label[0])
		id = record_file_by_path(&trace->files, label);
	record_open_file(tracee->fds, call->result, id, flags & O_APPEND);
	call->out[0] = id;
	file = record_file_get(&trace->files, id);
	if (!file || (!is_memfd && !is_new && !(flags & O_TRUNC)))
		return;
	if (is_new)
		must_be_regular(file);
	file->size_followed = 0;
	file->changed = true;
	if (file->used && file->file.kind == REC_FILE_REGULAR)
		record_tell_size(trace, tracee, id, 0);
}

/* What a call that succeeded changes of what is tracked here: descriptors and sizes. */
static void follow_file(struct record_trace *trace, struct tracee *tracee, const char *label,
			struct rec_call *call)
{
	struct fd_table *fds = tracee->fds;
	const uint64_t *args = call->args;

	switch (call->nr) {
	case REC_NR_close:
		if (call->kind == REC_CALL)
			record_set_fd(fds, (int64_t)args[0], 0);
		break;
	case REC_NR_close_range:
		if (args[2] & 2)	/* CLOSE_RANGE_UNSHARE */
			record_unshare_fds(tracee);
		if (!(args[2] & 4))	/* CLOSE_RANGE_CLOEXEC */
			close_fds(tracee->fds, args[0], args[1]);
		break;
	case REC_NR_fcntl:
		if (args[1] == F_DUPFD || args[1] == F_DUPFD_CLOEXEC)
			record_copy_fd(fds, (int64_t)args[0], call->result);
		break;
	case REC_NR_dup:
	case REC_NR_dup2:
	case REC_NR_dup3:
		if ((int64_t)args[0] != call->result)
			record_copy_fd(fds, (int64_t)args[0], call->result);
		break;
	case REC_NR_ftruncate:
		set_size(trace, args[2], args[1], false);
		break;
	case REC_NR_truncate:
		set_size(trace, args[1], args[0], false);
		break;
	case REC_NR_fallocate:
		if (!args[1])
			set_size(trace, args[4], args[2] + args[3], true);
		break;
	case REC_NR_pipe:
	case REC_NR_pipe2:
	case REC_NR_socketpair:
		break;
	default:
		follow_open(trace, tracee, label, call);
	}
}

static void follow_proc(struct record_trace *trace, struct tracee *tracee, struct rec_call *call)
{
	struct cwd *cwd = tracee->cwd;

	if (makes_task(call->nr)) {
		call->result = claim_child(trace, tracee, call, call->result);
	} else if (rec_call_desc(call->nr)->result == 'p') {
		call->result = record_ordinal_of(trace, call->result);
	} else if (call->nr == REC_NR_execve || call->nr == REC_NR_execveat) {
		record_unshare_fds(tracee);
		record_file_use(&trace->files, call->args[0]);
		record_file_use(&trace->files, call->args[1]);
	} else if (call->nr == REC_NR_unshare) {
		if (call->args[0] & CLONE_FILES)
			record_unshare_fds(tracee);
		if (call->args[0] & CLONE_FS && cwd->users > 1) {
			tracee->cwd = record_share_cwd(cwd, false);
			record_drop_cwd(cwd);
		}
	}
}

/* What @call, which succeeded, changes here. */
static void follow(struct record_trace *trace, struct tracee *tracee, const char *label,
		   struct rec_call *call)
{
	switch (call->class) {
	case REC_CLASS_MEM:
		if (call->nr == REC_NR_mmap)
			record_file_use(&trace->files, call->args[6]);
		else if (call->nr == REC_NR_userfaultfd)
			record_set_fd(tracee->fds, call->result, 0);
		break;
	case REC_CLASS_PROC:
		follow_proc(trace, tracee, call);
		break;
	case REC_CLASS_FILE:
		follow_file(trace, tracee, label, call);
		break;
	case REC_CLASS_NEWFD:
		record_set_fd(tracee->fds, call->result, 0);
		break;
	case REC_CLASS_OTHER:
		break;
	}
}

/* ---- lines ------------------------------------------------------------------------------- */

static bool not_understood(struct record_trace *trace, const struct strace_line *line)
{
	if (trace->failed)
		return false;
	return record_fail(trace, "strace printed a %s that is not understood: (%.100s) = %.60s",
			   line->name, line->args, line->result ? line->result : "(none)");
}

static void start_call(struct rec_call *call, const struct strace_line *line, uint32_t pid)
{
	memset(call, 0, sizeof(*call));
	call->pid = pid;
	/* "????" stands for a call whose task was killed before strace could ask for it. */
	strcpy(call->name, line->name[0] >= 'a' && line->name[0] <= 'z' ? line->name : "unknown");
	call->nr = rec_call_by_name(call->name, strlen(call->name));
	call->class = rec_call_desc(call->nr)->class;
}

/* Result, outputs and consequences, then the line. @args is the whole argument list. */
static bool finish_call(struct record_trace *trace, struct tracee *tracee, const char *label,
			const char *args, struct rec_call *call)
{
	if (call->has_result && call->result >= 0) {
		if (!record_decode_out(trace, tracee, args, call))
			return false;
		follow(trace, tracee, label, call);
	}
	record_write_line(trace, call);
	trace->nr_calls++;
	if (call->has_result && call->result >= 0 && call->class == REC_CLASS_OTHER)
		record_other_call(trace, tracee, args, call);
	return true;
}

static bool take_call(struct record_trace *trace, struct tracee *tracee,
		      const struct strace_line *line)
{
	char label[PATH_MAX];
	struct rec_call call;

	start_call(&call, line, tracee->pid);
	call.kind = REC_CALL;
	if (tracee->in_call || !record_parse_result(line->result, &call, label, sizeof(label)))
		return not_understood(trace, line);
	/* A killed call may be printed without all its arguments. */
	if (!record_decode_args(trace, tracee, line->args, &call) &&
	    (trace->failed || call.has_result))
		return not_understood(trace, line);
	if (!trace->nr_lines && call.result < 0)
		return record_fail(trace, "it cannot be executed: %s",
				   rec_errno_name((int)-call.result) ?
				   rec_errno_name((int)-call.result) : "unknown error");
	return finish_call(trace, tracee, label, line->args, &call) ||
	       not_understood(trace, line);
}

static bool take_unfinished(struct record_trace *trace, struct tracee *tracee,
			    const struct strace_line *line)
{
	struct rec_call call;

	start_call(&call, line, tracee->pid);
	call.kind = REC_BEGIN;
	if (tracee->in_call || !record_decode_args(trace, tracee, line->args, &call))
		return not_understood(trace, line);
	record_write_line(trace, &call);
	/* The number is free from here on: another thread may get it before this call returns. */
	if (call.nr == REC_NR_close)
		record_set_fd(tracee->fds, (int64_t)call.args[0], 0);
	set_in_call(trace, tracee, &call, line->args);
	return true;
}

static bool take_resumed(struct record_trace *trace, struct tracee *tracee,
			 const struct strace_line *line)
{
	char label[PATH_MAX], *args;
	struct rec_call call;
	bool good;

	if (!tracee->in_call ||
	    (strcmp(tracee->call.name, line->name) != 0 && line->name[0] != '?'))
		return not_understood(trace, line);
	call = tracee->call;
	call.kind = REC_END;
	call.pid = tracee->pid;
	args = record_checked(malloc(strlen(tracee->text) + strlen(line->args) + 1));
	strcpy(args, tracee->text);
	strcat(args, line->args);
	leave_call(trace, tracee);
	good = record_parse_result(line->result, &call, label, sizeof(label)) &&
	       finish_call(trace, tracee, label, args, &call);
	free(args);
	return good || not_understood(trace, line);
}

/* A thread executed a program: strace gives its call to the leader's pid from here on. */
static bool take_superseded(struct record_trace *trace, struct tracee *leader,
			    const struct strace_line *line)
{
	struct tracee *thread = line->value < PID_SLOTS ? trace->by_pid[line->value] : NULL;
	struct rec_call event = { .kind = REC_SUPERSEDED, .pid = leader->pid };

	if (!thread || !thread->live || !thread->in_call || thread == leader)
		return record_fail(trace, "strace reports an execve by a thread it did not show");
	event.other = thread->pid;
	record_write_line(trace, &event);
	leave_call(trace, leader);
	set_in_call(trace, leader, &thread->call, thread->text);
	record_drop_fds(leader->fds);
	leader->fds = record_share_fds(thread->fds, true);
	end_tracee(trace, thread);
	return true;
}

static bool take_end(struct record_trace *trace, struct tracee *tracee,
		     const struct strace_line *line)
{
	struct rec_call event = { .kind = REC_EXITED, .pid = tracee->pid };

	event.args[0] = (uint64_t)line->value;
	if (line->kind == STRACE_KILLED) {
		event.kind = REC_KILLED;
		event.args[0] = (uint64_t)rec_signal_by_name(line->name, strlen(line->name));
		event.args[1] = line->value != 0;
	}
	record_write_line(trace, &event);
	end_tracee(trace, tracee);
	return true;
}

static bool take_signal(struct record_trace *trace, struct tracee *tracee,
			const struct strace_line *line)
{
	struct rec_call event = { .kind = REC_SIGNAL, .pid = tracee->pid };
	uint64_t sender = 0;

	event.args[0] = (uint64_t)rec_signal_by_name(line->name, strlen(line->name));
	if (line->kind == STRACE_STOPPED) {
		event.kind = REC_STOPPED;
	} else {
		strace_field(line->args, "si_code", &event.args[1]);
		strace_field(line->args, "si_addr", &event.args[2]);
		strace_field(line->args, "si_pid", &sender);
		event.args[1] = (uint64_t)(int64_t)(int32_t)event.args[1];
		event.other = record_ordinal_of(trace, (int32_t)sender);
	}
	record_write_line(trace, &event);
	return true;
}

/* "12 [ Process PID=12 runs in 32 bit mode. ]" */
static bool is_mode_note(const char *text)
{
	text += strspn(text, "0123456789 ");
	return text[0] == '[' && (strstr(text, "runs in 32 bit mode") ||
				  strstr(text, "runs in x32 mode"));
}

bool record_trace_line(struct record_trace *trace, char *text)
{
	struct strace_line line;
	struct tracee *tracee;

	if (trace->failed)
		return false;
	if (is_mode_note(text))
		return record_fail(trace, "the program runs in 32-bit mode");
	if (!strace_split(text, &line))
		return record_fail(trace, "strace printed what is not understood: %.150s", text);
	tracee = tracee_of(trace, line.pid);
	if (trace->nr_tasks >= REC_TASKS_MAX || trace->files.nr >= UINT32_MAX / 2)
		return record_fail(trace, "more tasks or files than a recording can hold");
	switch (line.kind) {
	case STRACE_CALL:
		return take_call(trace, tracee, &line);
	case STRACE_UNFINISHED:
		return take_unfinished(trace, tracee, &line);
	case STRACE_RESUMED:
		return take_resumed(trace, tracee, &line);
	case STRACE_SUPERSEDED:
		return take_superseded(trace, tracee, &line);
	case STRACE_EXITED:
	case STRACE_KILLED:
		return take_end(trace, tracee, &line);
	case STRACE_SIGNAL:
	case STRACE_STOPPED:
		return take_signal(trace, tracee, &line);
	}
	return false;
}

/* ---- the second pass --------------------------------------------------------------------- */

/* Numbers the files that were used, in the order in which they were first seen. */
static uint32_t number_files(struct record_files *files)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < files->nr; i++)
		if (files->files[i] && files->files[i]->used)
			files->files[i]->final_id = ++nr;
	return nr;
}

static uint32_t final_id(struct record_files *files, uint64_t id)
{
	const struct record_file *file = record_file_get(files, id);

	return file ? file->final_id : 0;
}

static void write_files(struct record_files *files, FILE *out)
{
	for (uint32_t i = 0; i < files->nr; i++) {
		struct record_file *file = files->files[i];
		const struct record_file *interp;

		if (!file || !file->used)
			continue;
		interp = record_file_get(files, file->elf.interp);
		file->file.id = file->final_id;
		file->file.label = file->first_label;
		file->elf.interp = interp ? interp->final_id : 0;
		file->script.interp = final_id(files, file->script.interp);
		recording_write_file(out, &file->file);
	}
}

/* "12 maps .." and "12 renamed @3 label": only what stands before the text is ours. */
static const char *end_of_numbers(const char *line)
{
	const char *name = strchr(line, ' ');

	if (name && strncmp(name, " maps ", 6) == 0)
		return line;
	return line + strlen(line);
}

/* @line with its provisional file numbers replaced. */
static void copy_line(struct record_trace *trace, const char *line, FILE *out)
{
	const char *at, *end_of_ids = end_of_numbers(line);
	uint32_t pid;
	int length = 0;

	if (sscanf(line, "%" SCNu32 " born %n", &pid, &length) == 1 && length) {
		fprintf(out, "%u born %u\n", pid, trace->parents[pid]);
		return;
	}
	while ((at = strstr(line, " @")) != NULL && at < end_of_ids) {
		uint32_t id;
		char *end;

		fwrite(line, 1, (size_t)(at - line), out);
		id = final_id(&trace->files, strtoul(at + 2, &end, 10));
		if (id)
			fprintf(out, " @%u", id);
		else
			fputs(" @-", out);
		line = end == at + 2 ? at + 3 : end;
	}
	fputs(line, out);
}

bool record_trace_finish(struct record_trace *trace, struct rec_info *info, FILE *out)
{
	char line[REC_LINE_MAX];

	info->nr_files = number_files(&trace->files);
	info->nr_tasks = trace->nr_tasks;
	info->born_fds = trace->born;
	info->nr_born_fds = trace->nr_born;
	for (unsigned int i = 0; i < trace->nr_born; i++)
		trace->born[i].file = final_id(&trace->files, trace->born[i].file);
	if (info->nr_files > REC_FILES_MAX)
		return record_fail(trace, "more files than a recording can hold");
	if (!info->nr_tasks)
		return record_fail(trace, "strace printed nothing");
	recording_write_info(out, info);
	write_files(&trace->files, out);
	recording_write_body(out);
	rewind(trace->body);
	while (fgets(line, sizeof(line), trace->body))
		copy_line(trace, line, out);
	recording_write_end(out, trace->nr_lines);
	if (ferror(trace->body) || fflush(out) != 0 || ferror(out))
		return record_fail(trace, "the recording cannot be written; is the disk full?");
	return true;
}

/* ---- making and asking ------------------------------------------------------------------- */

struct record_trace *record_trace_new(FILE *body)
{
	struct record_trace *trace = record_checked(calloc(1, sizeof(*trace)));

	trace->body = body;
	trace->by_pid = record_checked(calloc(PID_SLOTS, sizeof(*trace->by_pid)));
	trace->born_fds = record_new_fds(&trace->files);
	return trace;
}

void record_trace_born_fd(struct record_trace *trace, int32_t fd, const char *label)
{
	struct rec_born_fd *born = record_checked(realloc(trace->born, (trace->nr_born + 1) *
							  sizeof(*born)));

	trace->born = born;
	born += trace->nr_born++;
	born->fd = fd;
	born->file = label[0] == '/' ? record_file_by_path(&trace->files, label) : 0;
	record_set_fd(trace->born_fds, fd, born->file);
}

void record_trace_free(struct record_trace *trace)
{
	for (uint32_t i = 0; i < PID_SLOTS; i++)
		if (trace->by_pid[i]) {
			end_tracee(trace, trace->by_pid[i]);
			free(trace->by_pid[i]);
		}
	free(trace->by_pid);
	free(trace->makers);
	free(trace->parents);
	free(trace->born);
	record_drop_fds(trace->born_fds);
	record_files_free(&trace->files);
	free(trace);
}

const char *record_trace_error(const struct record_trace *trace)
{
	return trace->error;
}

pid_t record_trace_first_pid(const struct record_trace *trace)
{
	return trace->first_pid;
}

uint64_t record_trace_calls(const struct record_trace *trace)
{
	return trace->nr_calls;
}

uint32_t record_trace_tasks(const struct record_trace *trace)
{
	return trace->nr_tasks;
}
