/* SPDX-License-Identifier: MIT */
/*
 * file.c - open files, inodes, memory files
 *
 * What it is
 *	A mapping needs something to map. An inode is contents with a name, a file is one opening of
 *	it; both are arcs. Memory files keep their bytes in the page cache: a page that was
 *	written is the only copy, a page that was not can be made again by the file's fill callback.
 *
 * Objects
 *	file --owns--> inode --embeds--> address_space --owns--> pages (one reference each)
 *	  ^               |
 *	  VMA.vm_file     '-- dentry (name), embedded; f_path.dentry points at it
 *
 * Invariants
 *	I1 an inode is on the room's list from its creation until its drop
 *	I2 bytes of a memory file at or beyond fill_end, and never written, are zero: truncation
 *	   lowers fill_end, so that what was cut off does not come back when the file grows again
 *
 * Locking
 *	i_size, contents: i_rwsem; i_size is read without it by faults, which look again under the
 *	page lock. The list of inodes: inodes_lock; who finds one there takes it with igrab().
 *
 * Life
 *	memfile_create: inode (1) owned by file (1). fput of the last: ->release, then the inode's
 *	reference; the inode's drop empties the cache, then its memory goes.
 *
 * Unlike Linux
 *	No dentry cache, no mounts, no link counts: a name is text. Blocks on disk do not exist, so
 *	writeback has nothing to do.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <karc/base/err.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/refcount/holder.h>
#include "internal.h"

#define NAME_BYTES_MAX	4096

static void file_drop(void *obj)
{
	struct file *file = obj;

	if (file->f_op && file->f_op->release)
		file->f_op->release(file->f_inode, file);
}

static void private_data_visit(void *obj, void (*see)(void *arg, struct arc *child), void *arg)
{
	const struct file *file = obj;
	struct arc *child = NULL;

	if (file->f_op && file->f_op->private_arc)
		child = file->f_op->private_arc(file);
	if (child)
		see(arg, child);
}

/* ->release has ended what private_data held, in the drop. */
static struct arc *nothing_to_take(void *obj)
{
	(void)obj;
	return NULL;
}

static void file_free(void *obj)
{
	kmem_cache_free(cache_state()->filp_cache, obj);
}

static void file_describe(const void *obj, char *buf, size_t bytes)
{
	snprintf(buf, bytes, "%s", file_name(obj));
}

static const struct arc_field file_fields[] = {
	{ .kind = ARC_FIELD_VISITOR, .name = "private_data", .count = 1,
	  .ops = { .take = nothing_to_take, .visit = private_data_visit } },
	ARC_OWNED(file, f_inode, inode),
	ARC_FIELDS_END
};

static const struct arc_type file_type = {
	.name = "file",
	.size = sizeof(struct file),
	.offset = offsetof(struct file, arc),
	.flags = ARC_SLEEPS,
	.ops = { .drop = file_drop, .free = file_free, .describe = file_describe },
	.fields = file_fields,
};

static void inode_drop(void *obj)
{
	struct inode *inode = obj;
	struct cache_room_state *s = cache_state();

	spin_lock(&s->inodes_lock);
	list_del(&inode->i_list);
	spin_unlock(&s->inodes_lock);
	mapping_exit(&inode->i_data);
	if (inode->i_ops.release)
		inode->i_ops.release(inode);
}

static void inode_free(void *obj)
{
	struct inode *inode = obj;

	kfree(inode->i_dentry.d_name.name);
	kmem_cache_free(cache_state()->inode_cache, inode);
}

static void inode_describe(const void *obj, char *buf, size_t bytes)
{
	const struct inode *inode = obj;
	unsigned long nr = READ_ONCE(inode->i_data.nrpages);

	snprintf(buf, bytes, "%s, %lu page%s", inode->i_dentry.d_name.name, nr,
		 nr == 1 ? "" : "s");
}

static const struct arc_type inode_type = {
	.name = "inode",
	.size = sizeof(struct inode),
	.offset = offsetof(struct inode, arc),
	.flags = ARC_SLEEPS | ARC_FINDABLE,
	.ops = { .drop = inode_drop, .free = inode_free, .describe = inode_describe },
};

int file_types_register(void)
{
	int err = arc_type_register(&file_type);

	return err ? err : arc_type_register(&inode_type);
}

static char *copy_name(const char *name, u32 *len)
{
	size_t bytes = strnlen(name, NAME_BYTES_MAX - 1);
	char *copy = kmalloc(bytes + 1, GFP_KERNEL);

	if (!copy)
		return NULL;
	memcpy(copy, name, bytes);
	copy[bytes] = '\0';
	*len = (u32)bytes;
	return copy;
}

struct inode *KARC_BODY(new_inode_site)(const char *name, umode_t mode, const struct site *site)
{
	struct cache_room_state *s = cache_state();
	struct inode *inode = kmem_cache_zalloc(s->inode_cache, GFP_KERNEL);

	if (!inode)
		return ERR_PTR(-ENOMEM);
	inode->i_dentry.d_name.name = copy_name(name, &inode->i_dentry.d_name.len);
	if (!inode->i_dentry.d_name.name) {
		kmem_cache_free(s->inode_cache, inode);
		return ERR_PTR(-ENOMEM);
	}
	inode->i_dentry.d_inode = inode;
	inode->i_mode = mode;
	init_rwsem_rank(&inode->i_rwsem, LR_INODE);
	mapping_init(&inode->i_data, inode);
	inode->i_mapping = &inode->i_data;
	arc_init_site(&inode->arc, &inode_type, site);
	spin_lock(&s->inodes_lock);
	inode->i_ino = ++s->next_ino;
	list_add_tail(&inode->i_list, &s->inodes);
	spin_unlock(&s->inodes_lock);
	return inode;
}

static fmode_t mode_of_flags(unsigned int flags)
{
	fmode_t mode = FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;

	if ((flags & O_ACCMODE) != O_WRONLY)
		mode |= FMODE_READ;
	if ((flags & O_ACCMODE) != O_RDONLY)
		mode |= FMODE_WRITE;
	return mode;
}

struct file *KARC_BODY(file_open_inode_site)(struct inode *inode, unsigned int flags,
					     const struct site *site)
{
	struct file *file = kmem_cache_zalloc(cache_state()->filp_cache, GFP_KERNEL);
	int err;

	if (!file)
		return ERR_PTR(-ENOMEM);
	ihold(inode);
	file->f_inode = inode;
	file->f_mapping = inode->i_mapping;
	file->f_path.dentry = &inode->i_dentry;
	file->f_flags = flags;
	file->f_mode = mode_of_flags(flags);
	arc_init_site(&file->arc, &file_type, site);
	arc_hand_to_field(&inode->arc, &file->arc, "f_inode");
	err = inode->i_fop && inode->i_fop->open ? inode->i_fop->open(inode, file) : 0;
	if (err) {
		/* Not opened, so ->release is not owed: f_op is still NULL. */
		fput(file);
		return ERR_PTR(err);
	}
	file->f_op = inode->i_fop;
	return file;
}

int call_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (!file->f_op || !file->f_op->mmap)
		return -ENODEV;
	return file->f_op->mmap(file, vma);
}

/* ---- memory files ---- */

struct memfile {
	const struct memfile_ops *ops;
	void *priv;
	loff_t fill_end;	/* bytes from here on do not come from ops->fill: I2 */
};

static int memfile_read_page(struct address_space *mapping, struct page *page)
{
	struct memfile *mf = mapping->host->i_private;
	loff_t start = (loff_t)page->index << PAGE_SHIFT;
	loff_t end = READ_ONCE(mf->fill_end);
	char *kaddr = page_to_virt(page);
	int err;

	if (!mf->ops || !mf->ops->fill || start >= end)
		return 0;
	err = mf->ops->fill(mf->priv, page->index, kaddr);
	if (!err && end - start < (loff_t)PAGE_SIZE)
		memset(kaddr + (end - start), 0, PAGE_SIZE - (size_t)(end - start));
	return err;
}

static void memfile_truncated(struct inode *inode, loff_t size)
{
	struct memfile *mf = inode->i_private;

	if (size < mf->fill_end)
		WRITE_ONCE(mf->fill_end, size);
}

static void memfile_release(struct inode *inode)
{
	struct memfile *mf = inode->i_private;

	if (mf->ops && mf->ops->release)
		mf->ops->release(mf->priv);
	kfree(mf);
}

static const struct address_space_operations memfile_aops = {
	.read_page = memfile_read_page,
	.truncated = memfile_truncated,
};

/* A page that is zero and dirty, so that it is not filled again. */
static int memfile_blank_page(struct address_space *mapping, pgoff_t index)
{
	struct page *page = read_cache_page(mapping, index);

	if (IS_ERR(page))
		return (int)PTR_ERR(page);
	lock_page(page);
	set_page_dirty(page);
	unlock_page(page);
	put_page(page);
	return 0;
}

/*
 * What the fill callback would write into a hole again must stay as pages of zeros; they are made
 * before the range is changed.
 */
static int memfile_punch(struct inode *inode, loff_t start, loff_t end)
{
	struct memfile *mf = inode->i_private;
	loff_t filled = min(end, mf->ops && mf->ops->fill ? mf->fill_end : 0), at;
	int err;

	for (at = start & (loff_t)PAGE_MASK; at < filled; at += (loff_t)PAGE_SIZE) {
		err = memfile_blank_page(inode->i_mapping, (pgoff_t)(at >> PAGE_SHIFT));
		if (err)
			return err;
	}
	for (at = start; at < filled; at = (loff_t)PAGE_ALIGN((u64)at + 1))
		mapping_zero_range(inode->i_mapping, at,
				   min(filled, (loff_t)PAGE_ALIGN((u64)at + 1)));
	if (start < end && filled < end)
		truncate_pagecache_range(inode, max(start, filled), end);
	return 0;
}

/* Blocks on disk do not exist: there is nothing to allocate. */
static long memfile_fallocate(struct file *file, int mode, loff_t offset, loff_t len)
{
	struct inode *inode = file->f_inode;
	int err = 0;

	down_write(&inode->i_rwsem);
	if (mode & FALLOC_FL_PUNCH_HOLE)
		err = memfile_punch(inode, offset, min(offset + len, inode->i_size));
	else if (!(mode & FALLOC_FL_KEEP_SIZE) && offset + len > inode->i_size)
		truncate_setsize(inode, offset + len);
	up_write(&inode->i_rwsem);
	return err;
}

static const struct file_operations memfile_fops = {
	.mmap = generic_file_mmap,
	.mmap_lazy = true,
	.fallocate = memfile_fallocate,
};

struct file *KARC_BODY(memfile_create_site)(const char *name, loff_t size, umode_t mode,
					    const struct memfile_ops *ops, void *priv,
					    const struct site *site)
{
	struct memfile *mf;
	struct inode *inode;
	struct file *file;

	if (size < 0)
		return ERR_PTR(-EINVAL);
	mf = kzalloc(sizeof(*mf), GFP_KERNEL);
	if (!mf)
		return ERR_PTR(-ENOMEM);
	inode = new_inode_site(name, mode & S_IFMT ? mode : mode | S_IFREG, site);
	if (IS_ERR(inode)) {
		kfree(mf);
		return ERR_CAST(inode);
	}
	mf->fill_end = size;
	inode->i_private = mf;
	inode->i_size = size;
	inode->i_fop = &memfile_fops;
	/* Pairs with the acquire in page_cache_shrink(), which finds the inode on its list. */
	smp_store_release(&inode->i_data.a_ops, &memfile_aops);
	file = file_open_inode_site(inode, O_RDWR, site);
	if (!IS_ERR(file)) {
		/* From here on the inode's death ends the caller's private data too. */
		mf->ops = ops;
		mf->priv = priv;
	}
	inode->i_ops.release = memfile_release;
	iput(inode);
	return file;
}

/* ---- reading and writing ---- */

static loff_t size_of(const struct inode *inode)
{
	return __atomic_load_n(&inode->i_size, __ATOMIC_ACQUIRE);
}

/* NULL: a hole of a file that is nothing but memory, which reading does not fill. */
static struct page *page_to_read(struct address_space *mapping, pgoff_t index)
{
	struct page *page;

	if (!shmem_mapping(mapping))
		return read_cache_page(mapping, index);
	page = find_get_page(mapping, index);
	if (page && !page_is_uptodate(page)) {
		put_page(page);
		page = NULL;
	}
	return page;
}

ssize_t kernel_read(struct file *file, void *buf, size_t count, loff_t *pos)
{
	struct inode *inode = file->f_inode;
	size_t done = 0;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (*pos < 0)
		return -EINVAL;
	while (done < count && *pos < size_of(inode)) {
		size_t part = PAGE_SIZE - offset_in_page(*pos);
		struct page *page;

		part = min(part, count - done);
		part = min(part, (size_t)(size_of(inode) - *pos));
		page = page_to_read(inode->i_mapping, (pgoff_t)(*pos >> PAGE_SHIFT));
		if (IS_ERR(page))
			return done ? (ssize_t)done : PTR_ERR(page);
		if (page) {
			memcpy((char *)buf + done,
			       (char *)page_to_virt(page) + offset_in_page(*pos), part);
			put_page(page);
		} else {
			memset((char *)buf + done, 0, part);
		}
		done += part;
		*pos += (loff_t)part;
	}
	return (ssize_t)done;
}

/* Up to the end of one page: bytes written, or -errno. Locks: i_rwsem. */
static ssize_t write_part(struct inode *inode, const char *buf, size_t count, loff_t pos)
{
	size_t part = min(PAGE_SIZE - offset_in_page(pos), count);
	struct page *page;
	int err;

	if (inode->i_ops.write_begin) {
		err = inode->i_ops.write_begin(inode, pos, part);
		if (err)
			return err;
	}
	page = read_cache_page(inode->i_mapping, (pgoff_t)(pos >> PAGE_SHIFT));
	if (IS_ERR(page))
		return PTR_ERR(page);
	lock_page(page);
	memcpy((char *)page_to_virt(page) + offset_in_page(pos), buf, part);
	set_page_dirty(page);
	unlock_page(page);
	put_page(page);
	return (ssize_t)part;
}

ssize_t kernel_write(struct file *file, const void *buf, size_t count, loff_t *pos)
{
	struct inode *inode = file->f_inode;
	size_t done = 0;
	ssize_t n = 0;

	if (!(file->f_mode & FMODE_WRITE))
		return -EBADF;
	if (*pos < 0 || (loff_t)count < 0 || *pos + (loff_t)count < 0)
		return -EINVAL;
	down_write(&inode->i_rwsem);
	if (*pos > inode->i_size)
		mapping_zero_tail(inode->i_mapping, inode->i_size);
	while (done < count) {
		n = write_part(inode, (const char *)buf + done, count - done, *pos);
		if (n < 0)
			break;
		done += (size_t)n;
		*pos += n;
		if (*pos > inode->i_size)
			__atomic_store_n(&inode->i_size, *pos, __ATOMIC_RELEASE);
	}
	up_write(&inode->i_rwsem);
	return done ? (ssize_t)done : n;
}

int inode_truncate(struct inode *inode, loff_t newsize)
{
	int err = 0;

	if (newsize < 0)
		return -EINVAL;
	down_write(&inode->i_rwsem);
	if (inode->i_ops.setsize)
		err = inode->i_ops.setsize(inode, newsize);
	if (!err)
		truncate_setsize(inode, newsize);
	up_write(&inode->i_rwsem);
	return err;
}

int file_truncate(struct file *file, loff_t newsize)
{
	if (!(file->f_mode & FMODE_WRITE))
		return -EINVAL;
	return inode_truncate(file->f_inode, newsize);
}

int vfs_fallocate(struct file *file, int mode, loff_t offset, loff_t len)
{
	if (offset < 0 || len <= 0)
		return -EINVAL;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		return -EOPNOTSUPP;
	if ((mode & FALLOC_FL_PUNCH_HOLE) && !(mode & FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (!(file->f_mode & FMODE_WRITE))
		return -EBADF;
	if (!S_ISREG(file->f_inode->i_mode))
		return -ENODEV;
	if (len > LLONG_MAX - offset)
		return -EFBIG;
	if (!file->f_op || !file->f_op->fallocate)
		return -EOPNOTSUPP;
	return (int)file->f_op->fallocate(file, mode, offset, len);
}
