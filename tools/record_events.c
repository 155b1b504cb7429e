/* SPDX-License-Identifier: MIT */
/*
 * record_events.c - what the calls of other families mean for memory
 *
 * Most calls are kept by name and result. A few of them do something that a replay cannot know
 * from that: read what the kernel says of a task's memory, make a mapped file longer, take its
 * name away, bring a descriptor in a message. Each becomes a line of its own behind the call.
 */
#define _GNU_SOURCE
#include "record_internal.h"
#include "strace_text.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES	1000	/* of maps in one line; all of them coded fit a line */
#define SCM_RIGHTS_MARK	"cmsg_level=0x1, cmsg_type=0x1, cmsg_data=["

/* ---- views of memory --------------------------------------------------------------------- */

/* Whether a line of the view begins at @offset, where the next read begins. */
static bool is_line_start(const struct open_file *view, uint64_t offset)
{
	return !offset || (offset == view->offset && view->at_line);
}

/* Tells @text, which was read at @offset, line by line. Gives whether a line begins behind it. */
static bool tell_maps(struct record_trace *trace, const struct tracee *tracee,
		      const struct open_file *view, const char *text, uint64_t offset, bool begins)
{
	struct rec_call event = {
		.kind = REC_MAPS_READ, .pid = tracee->pid, .other = view->target,
		.text = trace->text,
	};

	while (*text) {
		size_t length = strcspn(text, "\n"), taken;
		bool ends = text[length] == '\n' && length <= PIECE_BYTES;

		length = length < PIECE_BYTES ? length : PIECE_BYTES;
		taken = length + ends;
		memcpy(trace->text, text, length);
		trace->text[length] = '\0';
		event.text_bytes = length;
		event.args[0] = offset;
		event.args[1] = (begins ? REC_MAPS_BEGINS : 0) | (ends ? REC_MAPS_ENDS : 0);
		record_write_line(trace, &event);
		begins = ends;
		text += taken;
		offset += taken;
	}
	return begins;
}

/* The bytes that the call stored: one string, or those of all iov_base together. */
static char *read_text(const char *args, size_t want)
{
	size_t room = strlen(args), used = 0, length;
	char *text;

	want = want < room ? want : room;	/* a byte is printed as one character at least */
	text = record_checked(malloc(want + 1));
	for (const char *at = strchr(args, '"'); at && used < want; at = strchr(at, '"')) {
		if (!strace_string(&at, text + used, want + 1 - used, &length))
			break;
		used += length < want - used ? length : want - used;
	}
	text[used] = '\0';
	return text;
}

/* The place in the file of a read; the offset is the last argument of pread64 and preadv. */
static uint64_t read_offset(const struct open_file *view, const char *args,
			    const struct rec_call *call)
{
	const char *last = strrchr(args, ',');
	uint64_t offset;

	if (call->name[0] != 'p' || !last)
		return view->offset;
	last += 1 + strspn(last + 1, " ");
	return strace_number(&last, &offset) ? offset : view->offset;
}

static void tell_view(struct record_trace *trace, const struct tracee *tracee,
		      const struct open_file *view, const struct rec_call *call)
{
	struct rec_call event = {
		.kind = REC_VIEW_READ, .pid = tracee->pid, .other = view->target,
		.text = view->view, .text_bytes = strlen(view->view),
	};

	event.args[0] = (uint64_t)call->result;
	if (call->result)
		record_write_line(trace, &event);
}

static void view_read(struct record_trace *trace, const struct tracee *tracee,
		      struct open_file *view, const char *args, const struct rec_call *call)
{
	struct rec_call eof = {
		.kind = REC_MAPS_READ, .pid = tracee->pid, .other = view->target,
		.args = { view->offset, REC_MAPS_EOF },
	};
	uint64_t offset = read_offset(view, args, call);
	bool begins = is_line_start(view, offset);

	if (!view->target || strcmp(view->view, "maps") != 0) {
		tell_view(trace, tracee, view, call);
	} else if (!call->result) {
		eof.args[0] = offset;
		if (begins)
			record_write_line(trace, &eof);
	} else {
		char *text = read_text(args, (size_t)call->result);

		begins = tell_maps(trace, tracee, view, text, offset, begins);
		free(text);
	}
	if (call->name[0] != 'p') {
		view->offset = offset + (uint64_t)call->result;
		view->at_line = begins;
	}
}

/* ---- files ------------------------------------------------------------------------------- */

void record_tell_size(struct record_trace *trace, struct tracee *tracee, uint32_t id, uint64_t size)
{
	struct rec_call event = { .kind = REC_RESIZED, .pid = tracee->pid };

	record_file_get(&trace->files, id)->size_now = size;
	event.args[0] = id;
	event.args[1] = size;
	record_write_line(trace, &event);
}

void record_note_size(struct record_trace *trace, struct tracee *tracee, uint32_t id, int64_t fd)
{
	struct record_file *file = record_file_get(&trace->files, id);

	if (file && record_file_measure(&trace->files, id, tracee->host_pid, fd) ==
		    RECORD_SIZE_CHANGED)
		record_tell_size(trace, tracee, id, file->size_now);
}

void record_note_removed(struct record_trace *trace, struct tracee *tracee, uint32_t id)
{
	struct record_file *file = record_file_get(&trace->files, id);
	struct rec_call event = { .kind = REC_REMOVED, .pid = tracee->pid };

	if (!file || file->removed || file->file.kind == REC_FILE_MEMFD)
		return;
	file->removed = true;
	event.args[0] = id;
	record_write_line(trace, &event);
}

/* @nr bytes were written to @fd at @offset, or where it stands if that is NULL. */
static void wrote(struct record_trace *trace, struct tracee *tracee, int64_t fd,
		  const uint64_t *offset, uint64_t nr)
{
	struct open_file *open = record_get_open(tracee->fds, fd);
	uint32_t id = record_get_fd(tracee->fds, fd);
	struct record_file *file = record_file_get(&trace->files, id);
	uint64_t end;

	if (open && open->appends && file)
		end = file->size_followed + nr;
	else
		end = nr + (offset ? *offset : open ? open->offset : 0);
	if (open && !offset)
		open->offset = end;
	if (!file)
		return;
	if ((open || offset) && file->size_followed != REC_SIZE_UNKNOWN) {
		file->changed = true;
		if (end > file->size_followed)
			file->size_followed = end;
	}
	if (file->used)
		record_note_size(trace, tracee, id, fd);
}

/* Argument @nr, from 0, of those printed raw. */
static uint64_t raw_argument(const char *args, unsigned int nr)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i <= nr; i++)
		if (!strace_number(&args, &value))
			return 0;
	return value;
}

static void written(struct record_trace *trace, struct tracee *tracee, const char *args,
		    const struct rec_call *call)
{
	bool has_offset = call->name[0] == 'p';
	uint64_t offset = has_offset ? raw_argument(args, 3) : 0;

	has_offset &= offset != UINT64_MAX;	/* pwritev2 with -1: where it stands */
	wrote(trace, tracee, (int32_t)raw_argument(args, 0), has_offset ? &offset : NULL,
	      (uint64_t)call->result);
}

/* A read that took no offset of its own. */
static void advance(struct tracee *tracee, int64_t fd, uint64_t nr)
{
	struct open_file *open = record_get_open(tracee->fds, fd);

	if (open)
		open->offset += nr;
}

/* to, from, &offset, bytes */
static void sent(struct record_trace *trace, struct tracee *tracee, const char *args,
		 const struct rec_call *call)
{
	wrote(trace, tracee, (int32_t)raw_argument(args, 0), NULL, (uint64_t)call->result);
	if (!raw_argument(args, 2))
		advance(tracee, (int32_t)raw_argument(args, 1), (uint64_t)call->result);
}

/* from, &offset, to, &offset, bytes: offsets behind a pointer are not known */
static void copied(struct record_trace *trace, struct tracee *tracee, const char *args,
		   const struct rec_call *call)
{
	int64_t to = (int32_t)raw_argument(args, 2);

	if (!raw_argument(args, 1))
		advance(tracee, (int32_t)raw_argument(args, 0), (uint64_t)call->result);
	if (!raw_argument(args, 3))
		wrote(trace, tracee, to, NULL, (uint64_t)call->result);
}

/* [directory,] "name": the file of that name. "" when it is not known. */
static bool take_path(const struct tracee *tracee, const char **at, bool has_dir, char *path)
{
	char dir[PATH_MAX], name[PATH_MAX], joined[PATH_MAX], base[PATH_MAX], *real;
	size_t length;
	int64_t fd;

	strcpy(dir, tracee->cwd->path);
	path[0] = '\0';
	if ((has_dir && !strace_fd(at, &fd, dir, sizeof(dir))) ||
	    !strace_string(at, name, sizeof(name), &length) || length >= sizeof(name))
		return false;
	record_join_path(joined, sizeof(joined), dir, name);
	strcpy(base, joined);
	real = realpath(dirname(base), NULL);
	if (real && joined[0] && joined[strlen(joined) - 1] != '/')
		record_join_path(path, PATH_MAX, strcmp(real, "/") == 0 ? "" : real,
				 strrchr(joined, '/') ? strrchr(joined, '/') + 1 : joined);
	if (path[0] && path[0] != '/') {	/* in the root directory */
		memmove(path + 1, path, strlen(path) + 1 < PATH_MAX - 1 ? strlen(path) + 1 :
			PATH_MAX - 2);
		path[0] = '/';
		path[PATH_MAX - 1] = '\0';
	}
	free(real);
	return true;
}

/* Its name is gone: told now if it is mapped, else when it is mapped. */
static void forget_name(struct record_trace *trace, struct tracee *tracee, const char *path)
{
	uint32_t id = path[0] ? record_file_find(&trace->files, path) : 0;

	if (id && record_file_get(&trace->files, id)->used)
		record_note_removed(trace, tracee, id);
}

static void unlinked(struct record_trace *trace, struct tracee *tracee, const char *args,
		     const struct rec_call *call)
{
	char path[PATH_MAX];

	if (take_path(tracee, &args, strcmp(call->name, "unlinkat") == 0, path))
		forget_name(trace, tracee, path);
}

static void renamed(struct record_trace *trace, struct tracee *tracee, const char *args,
		    const struct rec_call *call)
{
	bool has_dirs = strcmp(call->name, "rename") != 0;
	struct rec_call event = { .kind = REC_RENAMED, .pid = tracee->pid };
	char from[PATH_MAX], to[PATH_MAX];
	uint32_t id;

	if (!take_path(tracee, &args, has_dirs, from) || !take_path(tracee, &args, has_dirs, to) ||
	    !from[0] || !to[0])
		return;
	forget_name(trace, tracee, to);
	id = record_file_find(&trace->files, from);
	if (!id)
		return;
	record_file_rename(&trace->files, id, to);
	event.args[0] = id;
	event.text = record_file_get(&trace->files, id)->label;
	event.text_bytes = strlen(event.text);
	if (record_file_get(&trace->files, id)->used)
		record_write_line(trace, &event);
}

/* chdir("path"), fchdir(fd<path>): kept for the sake of relative names. */
static void moved(struct record_trace *trace, struct tracee *tracee, const char *args,
		  const struct rec_call *call)
{
	char path[PATH_MAX], joined[PATH_MAX];
	size_t length;
	int64_t fd;

	(void)trace;
	if (strcmp(call->name, "chdir") == 0) {
		if (!strace_string(&args, path, sizeof(path), &length))
			return;
		record_join_path(joined, sizeof(joined), tracee->cwd->path, path);
	} else if (!strace_fd(&args, &fd, joined, sizeof(joined))) {
		return;
	}
	strcpy(tracee->cwd->path, joined);
}

/* ---- descriptors ------------------------------------------------------------------------- */

/* Descriptors in a message: they take effect with the call that takes it. */
static void received(struct record_trace *trace, struct tracee *tracee, const char *args,
		     const struct rec_call *call)
{
	struct rec_call event = { .kind = REC_RECEIVED, .pid = tracee->pid };
	char label[PATH_MAX];
	uint64_t flags = 0;
	int64_t fd;

	(void)call;
	strace_field(args, "msg_flags", &flags);
	for (const char *at = args; (at = strstr(at, SCM_RIGHTS_MARK)) != NULL; ) {
		at += strlen(SCM_RIGHTS_MARK);
		while (strace_fd(&at, &fd, label, sizeof(label))) {
			record_set_fd(tracee->fds, fd, 0);
			event.args[0] = (uint64_t)fd;
			event.args[1] = (flags & 0x40000000) != 0;	/* MSG_CMSG_CLOEXEC */
			event.args[2] = label[0] == '/' ?
					record_file_by_fd(trace, tracee, fd, label) : 0;
			record_write_line(trace, &event);
		}
	}
}

/* ---- which is which ---------------------------------------------------------------------- */

static void seen(struct record_trace *trace, struct tracee *tracee, const char *args,
		 const struct rec_call *call)
{
	struct open_file *open;
	const char *at = args;
	uint64_t fd;

	if (!strace_number(&at, &fd))
		return;
	open = record_get_open(tracee->fds, (int32_t)fd);
	if (open && open->view[0])
		view_read(trace, tracee, open, args, call);
	else if (call->name[0] != 'p')
		advance(tracee, (int32_t)fd, (uint64_t)call->result);
}

static void sought(struct record_trace *trace, struct tracee *tracee, const char *args,
		   const struct rec_call *call)
{
	struct open_file *open = record_get_open(tracee->fds, (int32_t)raw_argument(args, 0));

	(void)trace;
	if (!open || open->offset == (uint64_t)call->result)
		return;
	open->offset = (uint64_t)call->result;
	open->at_line = !open->offset;
}

static const struct {
	const char *name;
	void (*take)(struct record_trace *trace, struct tracee *tracee, const char *args,
		     const struct rec_call *call);
} meanings[] = {
	{ "read", seen }, { "pread64", seen }, { "readv", seen }, { "preadv", seen },
	{ "lseek", sought },
	{ "write", written }, { "pwrite64", written }, { "writev", written },
	{ "pwritev", written }, { "pwritev2", written }, { "sendfile", sent },
	{ "copy_file_range", copied },
	{ "unlink", unlinked }, { "unlinkat", unlinked },
	{ "rename", renamed }, { "renameat", renamed }, { "renameat2", renamed },
	{ "chdir", moved }, { "fchdir", moved },
	{ "recvmsg", received }, { "recvmmsg", received },
};

void record_other_call(struct record_trace *trace, struct tracee *tracee, const char *args,
		       const struct rec_call *call)
{
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].name[0] == call->name[0] &&
		    strcmp(meanings[i].name, call->name) == 0) {
			meanings[i].take(trace, tracee, args, call);
			return;
		}
}
