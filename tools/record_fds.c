/* SPDX-License-Identifier: MIT */
/* record_fds.c - the descriptors and working directories of the tracees */
#include "record_internal.h"

#include <stdlib.h>
#include <string.h>

#define FDS_MAX		(1 << 20)

struct fd_table *record_share_fds(struct fd_table *from, bool same)
{
	struct fd_table *fds;

	if (same && from) {
		from->users++;
		return from;
	}
	fds = record_checked(calloc(1, sizeof(*fds)));
	fds->users = 1;
	if (from && from->nr) {
		fds->nr = from->nr;
		fds->files = record_checked(malloc(fds->nr * sizeof(*fds->files)));
		memcpy(fds->files, from->files, fds->nr * sizeof(*fds->files));
	}
	return fds;
}

void record_drop_fds(struct fd_table *fds)
{
	if (fds && --fds->users == 0) {
		free(fds->files);
		free(fds);
	}
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

void record_set_fd(struct fd_table *fds, int64_t fd, uint32_t file)
{
	if (fd < 0 || fd >= FDS_MAX || ((uint64_t)fd >= fds->nr && !file))
		return;
	if ((uint64_t)fd >= fds->nr) {
		unsigned int nr = fds->nr ? fds->nr : 16;

		while (nr <= (uint64_t)fd)
			nr *= 2;
		fds->files = record_checked(realloc(fds->files, nr * sizeof(*fds->files)));
		memset(fds->files + fds->nr, 0, (nr - fds->nr) * sizeof(*fds->files));
		fds->nr = nr;
	}
	fds->files[fd] = file;
}

uint32_t record_get_fd(const struct fd_table *fds, int64_t fd)
{
	return fd >= 0 && (uint64_t)fd < fds->nr ? fds->files[fd] : 0;
}

static bool is_memfd_label(const char *label)
{
	return strncmp(label, "/memfd:", 7) == 0 || strncmp(label, "/secretmem", 10) == 0;
}

uint32_t record_new_memfd(struct record_trace *trace)
{
	uint32_t id = record_file_new(&trace->files, "memfd");
	struct record_file *file = record_file_get(&trace->files, id);

	file->file.kind = REC_FILE_MEMFD;
	file->file.mode = 0777;
	return id;
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
	id = is_memfd_label(label) ? record_new_memfd(trace) :
	     record_file_by_path(&trace->files, label);
	record_set_fd(tracee->fds, fd, id);
	return id;
}
