/* SPDX-License-Identifier: MIT */
/*
 * replay_files.c - recorded files: their sizes are real, their contents are a pattern
 *
 * A recording holds no contents. Each page of file n begins with a word made of n and the page's
 * index, so that a replayed read can tell whether it got the right page.
 */
#include "replay.h"
#include <karc/base/err.h>
#include <karc/mm/cache/filemap.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

uint64_t replay_page_word(uint32_t id, pgoff_t index)
{
	return ((uint64_t)id << 40 ^ (uint64_t)index) * 0x9e3779b97f4a7c15ULL | 1;
}

static int fill(void *priv, pgoff_t index, void *kaddr)
{
	uint64_t word = replay_page_word((uint32_t)(uintptr_t)priv, index);

	memcpy(kaddr, &word, sizeof(word));
	return 0;
}

static const struct memfile_ops ops = { .fill = fill };

static umode_t file_mode(const struct rec_file *f)
{
	return (umode_t)(f->mode & 07777) | S_IFREG;
}

struct file *replay_file(struct replay *r, uint32_t id)
{
	const struct rec_file *f = recording_file(r->rec, id);
	struct file *file;
	u64 size;

	if (!f)
		return r->any_file;
	if (r->files[id])
		return r->files[id];
	size = f->size_bytes == REC_SIZE_UNKNOWN ? 0 : f->size_bytes;
	file = memfile_create(f->label, (loff_t)size, file_mode(f), &ops, (void *)(uintptr_t)id);
	if (IS_ERR(file))
		return NULL;
	file_inode(file)->placement_align = f->align_bytes;
	r->files[id] = file;
	return file;
}

/* A file of unknown size is at least as long as what was mapped of it. */
void replay_file_grow(struct file *file, u64 size)
{
	if ((u64)file_inode(file)->i_size < size)
		file_truncate(file, (loff_t)size);
}

bool replay_files_init(struct replay *r)
{
	r->files = calloc(r->info->nr_files + 1, sizeof(*r->files));
	if (!r->files)
		return false;
	r->any_file = memfile_create("(never mapped)", 0, S_IFREG | 0600, NULL, NULL);
	if (!IS_ERR(r->any_file))
		return true;
	r->any_file = NULL;
	return false;
}

void replay_files_exit(struct replay *r)
{
	unsigned int id;

	for (id = 0; r->files && id <= r->info->nr_files; id++)
		fput(r->files[id]);
	fput(r->any_file);
	free(r->files);
	r->files = NULL;
	r->any_file = NULL;
}
