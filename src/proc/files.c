/* SPDX-License-Identifier: MIT */
/*
 * files.c - the table of open files of a process
 *
 * What it is
 *	An array of references, one for each open descriptor, that grows by doubling.
 *
 * Objects
 *	files_struct --owns--> fds[n].file. Tasks share a table with CLONE_FILES; the last one
 *	that leaves closes everything, lowest number first, through the type's visitor field.
 *
 * Invariants
 *	I1  nr_open is the number of descriptors that have a file
 *
 * Locking
 *	fds, nr_open, max_fds: files->lock (spins). Files are put after unlock. Growing allocates
 *	before the lock and rechecks. max_fds only grows.
 *
 * Worst case
 *	Finding a free number is linear in the open ones below it; a table of FD_MAX entries is the
 *	largest block that kmalloc() gives.
 *
 * Unlike Linux
 *	A table ends at FD_MAX, whatever RLIMIT_NOFILE says. It is not read under RCU.
 */
#include <karc/base/err.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/proc/files.h>
#include <karc/proc/signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include "internal.h"

#define FD_FIRST	64

struct fd_slot {
	struct file *file;	/* owned */
	bool cloexec;
};

#define FD_MAX		((unsigned int)(KMALLOC_MAX_SIZE / sizeof(struct fd_slot)))

struct files_struct {
	struct arc arc;
	spinlock_t lock;
	unsigned int max_fds;
	unsigned int nr_open;
	unsigned int next_take;	/* teardown: numbers below are closed */
	struct fd_slot *fds;
};

/* Teardown: hand out one open file after the other. */
static struct arc *files_take(void *obj)
{
	struct files_struct *files = obj;

	while (files->next_take < files->max_fds) {
		struct fd_slot *slot = &files->fds[files->next_take++];
		struct file *file = slot->file;

		if (!file)
			continue;
		slot->file = NULL;
		WRITE_ONCE(files->nr_open, files->nr_open - 1);
		return &file->arc;
	}
	return NULL;
}

static void files_visit(void *obj, void (*see)(void *arg, struct arc *child), void *arg)
{
	struct files_struct *files = obj;
	unsigned int fd;

	for (fd = 0; fd < files->max_fds; fd++)		/* NULL: the number is free */
		see(arg, files->fds[fd].file ? &files->fds[fd].file->arc : NULL);
}

static void files_free(void *obj)
{
	struct files_struct *files = obj;

	kfree(files->fds);
	kmem_cache_free(proc_state()->files_cache, files);
}

static void files_describe(const void *obj, char *buf, size_t bytes)
{
	snprintf(buf, bytes, "%u open", ((const struct files_struct *)obj)->nr_open);
}

static const struct arc_field files_fields[] = {
	{ .kind = ARC_FIELD_VISITOR, .name = "fds",
	  .ops = { .take = files_take, .visit = files_visit } },
	ARC_FIELDS_END
};

static const struct arc_type files_type = {
	.name = "files_struct",
	.size = sizeof(struct files_struct),
	.offset = offsetof(struct files_struct, arc),
	.flags = ARC_SLEEPS,
	.ops = { .free = files_free, .describe = files_describe },
	.fields = files_fields,
};

int files_types_register(struct proc_state *p)
{
	p->files_cache = kmem_cache_create("files_cache", sizeof(struct files_struct), 0, 0, NULL);
	if (!p->files_cache)
		return -ENOMEM;
	return arc_type_register(&files_type);
}

static struct files_struct *files_alloc_sized(unsigned int max_fds, const struct site *site)
{
	struct kmem_cache *cache = proc_state()->files_cache;
	struct files_struct *files = kmem_cache_alloc_site(cache, GFP_KERNEL | __GFP_ZERO, site);

	if (!files)
		return NULL;
	files->fds = kmalloc_array_site(max_fds, sizeof(*files->fds), GFP_KERNEL | __GFP_ZERO,
					site);
	if (!files->fds) {
		kmem_cache_free(cache, files);
		return NULL;
	}
	files->max_fds = max_fds;
	spin_lock_init_rank(&files->lock, LR_FILES);
	arc_init_site(&files->arc, &files_type, site);
	return files;
}

struct files_struct *KARC_BODY(files_alloc_site)(const struct site *site)
{
	return files_alloc_sized(FD_FIRST, site);
}

/* The first @max slots, if that is all there are; a table that grew meanwhile is not copied. */
static bool files_copy(struct files_struct *files, struct files_struct *old, unsigned int max)
{
	unsigned int fd;
	bool same;

	spin_lock(&old->lock);
	same = old->max_fds == max;
	for (fd = 0; same && fd < max; fd++) {
		if (!old->fds[fd].file)
			continue;
		files->fds[fd] = old->fds[fd];
		get_file(files->fds[fd].file);
		arc_hand_to_field(&files->fds[fd].file->arc, &files->arc, "fds");
		WRITE_ONCE(files->nr_open, files->nr_open + 1);
	}
	spin_unlock(&old->lock);
	return same;
}

struct files_struct *KARC_BODY(dup_fd_site)(struct files_struct *old, const struct site *site)
{
	struct files_struct *files;
	unsigned int max;

	for (;;) {	/* it doubles each time round, up to FD_MAX */
		max = READ_ONCE(old->max_fds);
		files = files_alloc_sized(max, site);
		if (!files || files_copy(files, old, max))
			return files;
		put_files_struct(files);
	}
}

struct files_struct *KARC_BODY(files_get_site)(struct files_struct *files,
						const struct site *site)
{
	arc_get_site(&files->arc, site);
	return files;
}

struct arc *files_arc(struct files_struct *files)
{
	return &files->arc;
}

bool files_shared(const struct files_struct *files)
{
	return arc_count(&files->arc) > 1;
}

void KARC_BODY(put_files_struct)(struct files_struct *files)
{
	if (files)
		arc_put(&files->arc);
}

/* Make room for number @fd; nothing changes on failure. */
static int files_grow(struct files_struct *files, unsigned int fd)
{
	struct fd_slot *bigger, *old;
	unsigned int max;

	if (fd >= FD_MAX)
		return -EMFILE;
	for (max = READ_ONCE(files->max_fds); max <= fd; max *= 2)
		;
	bigger = kcalloc(max, sizeof(*bigger), GFP_KERNEL);
	if (!bigger)
		return -ENOMEM;
	spin_lock(&files->lock);
	old = bigger;
	if (files->max_fds < max) {
		memcpy(bigger, files->fds, files->max_fds * sizeof(*bigger));
		old = files->fds;
		files->fds = bigger;
		WRITE_ONCE(files->max_fds, max);
	}
	spin_unlock(&files->lock);
	kfree(old);
	return 0;
}

/*
 * The lowest free number >= *@fd gets @file; false, with the number in *@fd: it needs growing, or
 * is beyond @limit.
 */
static bool fd_install_lowest(struct files_struct *files, unsigned int *fd, unsigned long limit,
			      struct file *file, bool cloexec)
{
	bool fits;

	spin_lock(&files->lock);
	while (*fd < files->max_fds && files->fds[*fd].file)
		++*fd;
	fits = *fd < files->max_fds && *fd < limit;
	if (fits) {
		files->fds[*fd] = (struct fd_slot){ file, cloexec };
		arc_hand_to_field(&file->arc, &files->arc, "fds");
		WRITE_ONCE(files->nr_open, files->nr_open + 1);
	}
	spin_unlock(&files->lock);
	return fits;
}

int KARC_BODY(fd_alloc_install)(struct files_struct *files, unsigned int start,
				struct file *file, bool cloexec)
{
	unsigned long limit = rlimit(RLIMIT_NOFILE);
	unsigned int fd = start;
	int err;

	while (!fd_install_lowest(files, &fd, limit, file, cloexec)) {
		err = fd >= limit ? -EMFILE : files_grow(files, fd);
		if (err) {
			fput(file);
			return err;
		}
		fd = start;
	}
	return (int)fd;
}

int KARC_BODY(fd_install_at)(struct files_struct *files, unsigned int fd, struct file *file,
			     bool cloexec)
{
	struct file *old;
	int err;

	if (fd >= READ_ONCE(files->max_fds)) {
		err = files_grow(files, fd);
		if (err) {
			fput(file);
			return err;
		}
	}
	spin_lock(&files->lock);
	old = files->fds[fd].file;
	files->fds[fd] = (struct fd_slot){ file, cloexec };
	if (file)
		arc_hand_to_field(&file->arc, &files->arc, "fds");
	if (old)
		arc_hand_from_field(&old->arc, &files->arc, "fds");
	else
		WRITE_ONCE(files->nr_open, files->nr_open + 1);
	spin_unlock(&files->lock);
	fput(old);
	return 0;
}

struct file *KARC_BODY(fget_files_site)(struct files_struct *files, unsigned int fd,
					 const struct site *site)
{
	struct file *file = NULL;

	spin_lock(&files->lock);
	if (fd < files->max_fds && files->fds[fd].file)
		file = get_file_site(files->fds[fd].file, site);
	spin_unlock(&files->lock);
	return file;
}

int close_fd_of(struct files_struct *files, unsigned int fd)
{
	struct file *file = NULL;

	spin_lock(&files->lock);
	if (fd < files->max_fds) {
		file = files->fds[fd].file;
		files->fds[fd].file = NULL;
		if (file) {
			arc_hand_from_field(&file->arc, &files->arc, "fds");
			WRITE_ONCE(files->nr_open, files->nr_open - 1);
		}
	}
	spin_unlock(&files->lock);
	if (!file)
		return -EBADF;
	fput(file);
	return 0;
}

int fd_set_cloexec(struct files_struct *files, unsigned int fd, bool on)
{
	int err = -EBADF;

	spin_lock(&files->lock);
	if (fd < files->max_fds && files->fds[fd].file) {
		files->fds[fd].cloexec = on;
		err = 0;
	}
	spin_unlock(&files->lock);
	return err;
}

void do_close_on_exec(struct files_struct *files)
{
	unsigned int fd;

	for (fd = 0; fd < READ_ONCE(files->max_fds); fd++) {
		bool close;

		spin_lock(&files->lock);
		close = files->fds[fd].file && files->fds[fd].cloexec;
		spin_unlock(&files->lock);
		if (close)
			close_fd_of(files, fd);
	}
}

unsigned int files_count(struct files_struct *files)
{
	return READ_ONCE(files->nr_open);
}

unsigned int files_max(struct files_struct *files)
{
	return READ_ONCE(files->max_fds);
}
