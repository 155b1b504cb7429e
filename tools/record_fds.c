/* SPDX-License-Identifier: MIT */
/*
 * record_fds.c - the descriptors and working directories of the tracees
 *
 * A descriptor is a file that can be mapped, a view of a task's memory, or neither. dup and fork
 * share what open made, and with it the place where the next read or write goes on.
 */
#include "record_internal.h"

#include <stdlib.h>
#include <string.h>

#define FDS_MAX		(1 << 20)

static void put_open(struct open_file *open)
{
	if (open && --open->users == 0)
		free(open);
}

struct fd_table *record_new_fds(struct record_files *files)
{
	struct fd_table *fds = record_checked(calloc(1, sizeof(*fds)));

	fds->users = 1;
	fds->files = files;
	return fds;
}

struct fd_table *record_share_fds(struct fd_table *from, bool same)
{
	struct fd_table *fds;

	if (same) {
		from->users++;
		return from;
	}
	fds = record_new_fds(from->files);
	if (!from->nr)
		return fds;
	fds->nr = from->nr;
	fds->entries = record_checked(malloc(fds->nr * sizeof(*fds->entries)));
	memcpy(fds->entries, from->entries, fds->nr * sizeof(*fds->entries));
	for (unsigned int fd = 0; fd < fds->nr; fd++) {
		record_file_hold(fds->files, fds->entries[fd].file);
		if (fds->entries[fd].open)
			fds->entries[fd].open->users++;
	}
	return fds;
}

void record_drop_fds(struct fd_table *fds)
{
	if (!fds || --fds->users)
		return;
	for (unsigned int fd = 0; fd < fds->nr; fd++) {
		record_file_drop(fds->files, fds->entries[fd].file);
		put_open(fds->entries[fd].open);
	}
	free(fds->entries);
	free(fds);
}

void record_unshare_fds(struct tracee *tracee)
{
	struct fd_table *old = tracee->fds;

	if (old->users == 1)
		return;
	tracee->fds = record_share_fds(old, false);
	record_drop_fds(old);
}

struct cwd *record_share_cwd(struct cwd *from, bool same)
{
	struct cwd *cwd;

	if (same && from) {
		from->users++;
		return from;
	}
	cwd = record_checked(calloc(1, sizeof(*cwd)));
	cwd->users = 1;
	if (from)
		strcpy(cwd->path, from->path);
	return cwd;
}

void record_drop_cwd(struct cwd *cwd)
{
	if (cwd && --cwd->users == 0)
		free(cwd);
}

/* The entry of @fd, made when it is not there yet; NULL: no such descriptor can be. */
static struct fd_entry *entry_of(struct fd_table *fds, int64_t fd)
{
	if (fd < 0 || fd >= FDS_MAX)
		return NULL;
	if ((uint64_t)fd >= fds->nr) {
		unsigned int nr = fds->nr ? fds->nr : 16;

		while (nr <= (uint64_t)fd)
			nr *= 2;
		fds->entries = record_checked(realloc(fds->entries, nr * sizeof(*fds->entries)));
		memset(fds->entries + fds->nr, 0, (nr - fds->nr) * sizeof(*fds->entries));
		fds->nr = nr;
	}
	return &fds->entries[fd];
}

static void set_entry(struct fd_table *fds, int64_t fd, uint32_t file, struct open_file *open)
{
	struct fd_entry *entry;

	if (!file && !open && (uint64_t)fd >= fds->nr)
		return;
	entry = entry_of(fds, fd);
	if (!entry)
		return;
	if (open)
		open->users++;
	record_file_hold(fds->files, file);
	record_file_drop(fds->files, entry->file);
	put_open(entry->open);
	entry->file = file;
	entry->open = open;
}

void record_set_fd(struct fd_table *fds, int64_t fd, uint32_t file)
{
	set_entry(fds, fd, file, NULL);
}

uint32_t record_get_fd(const struct fd_table *fds, int64_t fd)
{
	return fd >= 0 && (uint64_t)fd < fds->nr ? fds->entries[fd].file : 0;
}

void record_copy_fd(struct fd_table *fds, int64_t from, int64_t to)
{
	set_entry(fds, to, record_get_fd(fds, from), record_get_open(fds, from));
}

/* ---- open files -------------------------------------------------------------------------- */

struct open_file *record_get_open(const struct fd_table *fds, int64_t fd)
{
	return fd >= 0 && (uint64_t)fd < fds->nr ? fds->entries[fd].open : NULL;
}

static struct open_file *new_open(struct fd_table *fds, int64_t fd, uint32_t file)
{
	struct open_file *open = record_checked(calloc(1, sizeof(*open)));

	set_entry(fds, fd, file, open);
	if (open->users)
		return open;
	free(open);		/* a number beyond all that are kept */
	return NULL;
}

void record_open_file(struct fd_table *fds, int64_t fd, uint32_t file, bool appends)
{
	struct open_file *open = new_open(fds, fd, file);

	if (open)
		open->appends = appends;
}

static bool is_view_name(const char *name)
{
	static const char *const names[] = {
		"maps", "smaps", "smaps_rollup", "numa_maps", "pagemap",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* "/proc/12/maps", "/proc/12/task/13/maps": the last number is the task's. */
bool record_open_view(struct record_trace *trace, struct fd_table *fds, int64_t fd,
		      const char *label)
{
	const char *name = strrchr(label, '/');
	struct open_file *open;
	long host_pid = 0;
	char *end;

	if (strncmp(label, "/proc/", 6) != 0 || !is_view_name(name + 1))
		return false;
	host_pid = strtol(label + 6, &end, 10);
	if (strncmp(end, "/task/", 6) == 0)
		host_pid = strtol(end + 6, &end, 10);
	if (end != name)
		return false;
	open = new_open(fds, fd, 0);
	if (!open)
		return true;
	open->target = record_ordinal_of(trace, host_pid);
	open->at_line = true;
	strcpy(open->view, name + 1);
	return true;
}

/* ---- files ------------------------------------------------------------------------------- */

static bool is_memfd_label(const char *label)
{
	return strncmp(label, "/memfd:", 7) == 0 || strncmp(label, "/secretmem", 10) == 0;
}

uint32_t record_new_memfd(struct record_trace *trace, int host_pid, int64_t fd,
			  const char *label)
{
	uint32_t id = record_file_new(&trace->files, label[0] ? label : "/memfd:");
	struct record_file *file = record_file_get(&trace->files, id);

	file->file.kind = REC_FILE_MEMFD;
	file->file.mode = 0777;
	record_file_note_inode(file, host_pid, fd);
	return id;
}

static uint32_t find_memfd(struct record_trace *trace, int host_pid, int64_t fd, const char *label)
{
	uint32_t id = record_file_by_inode(&trace->files, host_pid, fd);

	return id ? id : record_new_memfd(trace, host_pid, fd, label);
}

uint32_t record_file_by_fd(struct record_trace *trace, struct tracee *tracee, int64_t fd,
			   const char *label)
{
	uint32_t id = record_get_fd(tracee->fds, fd);
	const struct record_file *file = record_file_get(&trace->files, id);

	if (fd < 0)
		return 0;
	if (!label[0])
		return id;
	if (file && (strcmp(file->label, label) == 0 ||
		     (file->file.kind == REC_FILE_MEMFD && is_memfd_label(label))))
		return id;
	id = is_memfd_label(label) ? find_memfd(trace, tracee->host_pid, fd, label) :
	     record_file_by_path(&trace->files, label);
	record_set_fd(tracee->fds, fd, id);
	return id;
}
