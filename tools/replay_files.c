/* SPDX-License-Identifier: MIT */
/*
 * replay_files.c - recorded files: their sizes and names are real, their contents are a pattern
 *
 * A recording holds no contents. Each page of file n begins with a word made of n and the page's
 * index, so that a replayed read can tell whether it got the right page. Files that are nothing
 * but memory (memfd) begin as zeros instead, as they do for the program.
 */
#include "replay.h"
#include <karc/base/err.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/kstring.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MEMFD_LABEL	"/memfd:"
#define DELETED		" (deleted)"

/* Which recorded file an open file of a memory file is: nothing else uses that field. */
void replay_file_mark(struct file *file, uint32_t id)
{
	file->private_data = (void *)(uintptr_t)id;
}

uint32_t replay_file_id(const struct file *file)
{
	return (uint32_t)(uintptr_t)file->private_data;
}

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

/* /dev/zero: a private mapping of it is anonymous memory that keeps the file's name. */
static int zero_mmap(struct file *file, struct vm_area_struct *vma)
{
	(void)file;
	vma->vm_ops = NULL;
	return 0;
}

static const struct file_operations zero_fops = { .mmap = zero_mmap };

static struct file *zero_file(const struct rec_file *f)
{
	struct inode *inode = new_inode_named(f->label, S_IFCHR | (f->mode & 07777));
	struct file *file;

	if (IS_ERR(inode))
		return ERR_CAST(inode);
	inode->i_fop = &zero_fops;
	file = file_open_inode(inode, O_RDWR);
	iput(inode);
	return file;
}

static umode_t file_mode(const struct rec_file *f)
{
	return (umode_t)(f->mode & 07777) | S_IFREG;
}

static const char *memfd_name(const struct rec_file *f)
{
	size_t length = strlen(MEMFD_LABEL);

	return f && !strncmp(f->label, MEMFD_LABEL, length) ? f->label + length : "";
}

/* The id's file from now on. Takes the reference on @file. */
static void set_file(struct replay *r, uint32_t id, struct file *file, bool patterned)
{
	fput(r->files[id]);
	r->files[id] = file;
	r->patterned[id] = patterned;
	file_inode(file)->placement_align = recording_file(r->rec, id)->align_bytes;
	replay_file_mark(file, id);
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
	if (f->kind == REC_FILE_ZERO)
		file = zero_file(f);
	else
		file = memfile_create(f->label, (loff_t)size, file_mode(f), &ops,
				      (void *)(uintptr_t)id);
	if (IS_ERR(file))
		return NULL;
	set_file(r, id, file, f->kind != REC_FILE_ZERO);
	return file;
}

struct file *replay_new_memfd(struct replay *r, uint32_t id, unsigned int flags)
{
	const struct rec_file *f = recording_file(r->rec, id);
	struct file *file = ksys_memfd_create(memfd_name(f), flags);

	if (!IS_ERR(file) && f)
		set_file(r, id, get_file(file), false);
	return file;
}

/* A file of unknown size is at least as long as what was mapped of it. */
void replay_file_grow(struct replay *r, struct file *file, u64 size)
{
	if ((u64)file_inode(file)->i_size >= size)
		return;
	replay_touch_wait_all(r);
	inode_truncate(file_inode(file), (loff_t)size);
}

/* What maps text shows from now on. */
static bool rename_file(struct file *file, const char *name, const char *suffix)
{
	struct qstr *q = &file_inode(file)->i_dentry.d_name;
	char *copy = kasprintf(GFP_KERNEL, "%s%s", name, suffix);

	if (!copy)
		return false;
	kfree(q->name);
	q->name = copy;
	q->len = (u32)strlen(copy);
	return true;
}

void replay_file_event(struct replay *r, const struct rec_call *call)
{
	uint32_t id = (uint32_t)call->args[0];
	struct file *file = replay_file(r, id);
	bool ok = true;

	if (!file || file == r->any_file)
		return;
	if (call->kind == REC_RESIZED) {
		replay_touch_wait_all(r);
		inode_truncate(file_inode(file), (loff_t)call->args[1]);
	} else if (call->kind == REC_REMOVED) {
		ok = rename_file(file, file_name(file), DELETED);
	} else {
		ok = rename_file(file, call->text, "");
	}
	if (!ok)
		replay_stop(r, call->line, false, "no memory for a file's name");
}

bool replay_files_init(struct replay *r)
{
	unsigned int nr = r->info->nr_files + 1;

	r->files = calloc(nr, sizeof(*r->files));
	r->patterned = calloc(nr, sizeof(*r->patterned));
	if (!r->files || !r->patterned)
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
	free(r->patterned);
	r->files = NULL;
	r->patterned = NULL;
	r->any_file = NULL;
}
