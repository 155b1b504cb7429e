/* SPDX-License-Identifier: MIT */
/*
 * file.h - open files, inodes, and files that live in memory
 *
 * struct file and struct inode are arcs. A file owns its inode; the inode owns the pages of its
 * contents through its address_space (filemap.h). Fields that drivers touch have Linux's names.
 */
#ifndef KARC_MM_CACHE_FILE_H
#define KARC_MM_CACHE_FILE_H

#include <karc/base/cleanup.h>
#include <karc/base/contract.h>
#include <karc/base/list.h>
#include <karc/base/types.h>
#include <karc/base/xarray.h>
#include <karc/hw/rwsem.h>
#include <karc/hw/spinlock.h>
#include <karc/mm/gfp.h>
#include <karc/mm/mm_types.h>
#include <karc/refcount/arc.h>

struct address_space;
struct cdev;
struct dentry;
struct file;
struct iov_iter;
struct kiocb;
struct module;
struct poll_table_struct;

/* file->f_mode */
#define FMODE_READ	((fmode_t)0x1)
#define FMODE_WRITE	((fmode_t)0x2)
#define FMODE_LSEEK	((fmode_t)0x4)
#define FMODE_PREAD	((fmode_t)0x8)
#define FMODE_PWRITE	((fmode_t)0x10)
#define FMODE_EXEC	((fmode_t)0x20)

struct qstr {
	const char *name;
	u32 len;
};

/* A name, as much of it as drivers and the maps file look at. Part of its inode. */
struct dentry {
	struct inode *d_inode;		/* borrowed: the dentry sits inside it */
	struct qstr d_name;
};

struct path {
	struct dentry *dentry;
};

/* Linux's operations on an open file; a NULL member is "not supported". */
struct file_operations {
	struct module *owner;
	loff_t (*llseek)(struct file *file, loff_t offset, int whence);
	ssize_t (*read)(struct file *file, char __user *buf, size_t count, loff_t *pos);
	ssize_t (*write)(struct file *file, const char __user *buf, size_t count, loff_t *pos);
	ssize_t (*read_iter)(struct kiocb *iocb, struct iov_iter *to);
	ssize_t (*write_iter)(struct kiocb *iocb, struct iov_iter *from);
	unsigned int (*poll)(struct file *file, struct poll_table_struct *wait);
	long (*unlocked_ioctl)(struct file *file, unsigned int cmd, unsigned long arg);
	long (*compat_ioctl)(struct file *file, unsigned int cmd, unsigned long arg);
	int (*mmap)(struct file *file, struct vm_area_struct *vma);
	int (*open)(struct inode *inode, struct file *file);
	int (*flush)(struct file *file, void *owner);
	int (*release)(struct inode *inode, struct file *file);
	int (*fsync)(struct file *file, loff_t start, loff_t end, int datasync);
	int (*fasync)(int fd, struct file *file, int on);
	long (*fallocate)(struct file *file, int mode, loff_t offset, loff_t len);
	/* ->mmap fills no tables: what the mapping replaces may still be there when it runs. */
	bool mmap_lazy;
	/* What ->private_data holds one reference on until ->release, or NULL; for the audit. */
	struct arc *(*private_arc)(const struct file *file);
};

/* How the pages of a mapping get their contents. */
struct address_space_operations {
	/* Fill @page (locked, all zero) for page->index; 0 or -errno. May sleep. */
	int (*read_page)(struct address_space *mapping, struct page *page);
	/* The file became @size bytes long; what is beyond is gone for good. May be NULL. */
	void (*truncated)(struct inode *inode, loff_t size);
	/* @page was taken out of the cache; it lives yet. May be NULL. Locks: page lock. */
	void (*page_removed)(struct address_space *mapping, struct page *page);
};

/**
 * struct address_space - the contents of one inode: owner of its cached pages
 *
 * Each page in @i_pages holds one reference, this structure's.
 */
struct address_space {
	struct inode *host;		/* borrowed: embedded in it */
	struct xarray i_pages;		/* i_lock */
	spinlock_t i_lock;
	unsigned long nrpages;		/* i_lock */
	struct xa_node *spare_nodes;	/* i_lock; see filemap.c */
	struct rw_semaphore i_mmap_rwsem;
	struct list_head i_mmap;	/* i_mmap_rwsem; VMAs that map this, by rmap_node */
	const struct address_space_operations *a_ops;
	void *private_data;
};

/**
 * struct inode - a file's identity and contents
 */
struct inode {
	struct arc arc;
	unsigned long i_ino;
	loff_t i_size;			/* bytes; written under i_rwsem */
	umode_t i_mode;
	dev_t i_rdev;
	unsigned long placement_align;	/* large mappings go on this boundary, bytes; 0: any */
	u32 i_dev_id;			/* device number shown in maps text, MKDEV(major, minor) */
	struct rw_semaphore i_rwsem;
	struct address_space *i_mapping;
	struct address_space i_data;
	struct dentry i_dentry;
	struct cdev *i_cdev;
	void *i_private;
	const struct file_operations *i_fop;
	struct {
		void (*release)(struct inode *inode);	/* the contents are gone, end i_private */
		/* May the size change, may [pos, pos + len) be written? 0, -errno. Locks: i_rwsem */
		int (*setsize)(struct inode *inode, loff_t newsize);
		int (*write_begin)(struct inode *inode, loff_t pos, size_t len);
	} i_ops;
	struct list_head i_list;	/* the room's list of inodes; holds nothing */
};

/**
 * struct file - one open file
 */
struct file {
	struct arc arc;
	fmode_t f_mode;
	unsigned int f_flags;		/* O_* */
	loff_t f_pos;
	const struct file_operations *f_op;
	struct inode *f_inode;		/* owned */
	struct address_space *f_mapping; /* borrowed from the inode */
	struct path f_path;
	void *private_data;
};

KARC_COUNTED(file);
KARC_COUNTED(inode);

static inline struct inode *file_inode(const struct file *file)
{
	return file->f_inode;
}

static inline const char *file_name(const struct file *file)
{
	return file->f_path.dentry->d_name.name;
}

/* One more reference on an open file: gives its argument back. */
static inline struct file *get_file_site(struct file *file, const struct site *site)
{
	arc_get_site(&file->arc, site);
	return file;
}

static inline struct file *(get_file)(struct file *file)
{
	return get_file_site(file, SITE());
}
#define get_file(file) get_file_site((file), SITE())

/* Takes one reference; NULL is ignored. The last one calls ->release. */
static inline void fput_site(struct file *file, const struct site *site)
{
	if (file)
		arc_put_site(&file->arc, site);
}

static inline void (fput)(struct file *file)
{
	fput_site(file, SITE());
}
#define fput(file) fput_site((file), SITE())

static inline struct inode *igrab_site(struct inode *inode, const struct site *site)
{
	return arc_tryget_site(&inode->arc, site) ? inode : NULL;
}

static inline struct inode *(igrab)(struct inode *inode)
{
	return igrab_site(inode, SITE());
}
#define igrab(inode) igrab_site((inode), SITE())

static inline void ihold_site(struct inode *inode, const struct site *site)
{
	arc_get_site(&inode->arc, site);
}

static inline void (ihold)(struct inode *inode)
{
	ihold_site(inode, SITE());
}
#define ihold(inode) ihold_site((inode), SITE())

static inline void iput(struct inode *inode)
{
	if (inode)
		arc_put(&inode->arc);
}

#define file_count(file) arc_count(&(file)->arc)

/**
 * new_inode_named - an inode with no pages, size 0
 * @name: copied; shown in maps text
 * @mode: S_IFREG | permissions and so on
 *
 * Gives:  one reference; end it with iput(). Errors: ERR_PTR(-ENOMEM).
 */
KARC_MUST_CHECK KARC_GIVES struct inode *new_inode_site(const char *name, umode_t mode,
							 const struct site *site);
#define new_inode_named(name, mode) new_inode_site(name, mode, SITE())

/**
 * file_open_inode - open @inode once more
 * @flags: O_RDONLY, O_WRONLY or O_RDWR, other O_* are kept in f_flags
 *
 * Gives:  an open file with a reference of its own on @inode; end it with fput().
 * Errors: ERR_PTR(-ENOMEM), or what the inode's ->open answered.
 */
KARC_MUST_CHECK KARC_GIVES struct file *file_open_inode_site(struct inode *inode,
							      unsigned int flags,
							      const struct site *site);
#define file_open_inode(inode, flags) file_open_inode_site(inode, flags, SITE())

/**
 * struct memfile_ops - where the contents of a memory file come from
 * @fill: write PAGE_SIZE bytes of page @index at @kaddr (zeroed before); 0 or -errno; may be
 *        called again for the same page after reclaim dropped a clean one, and must then
 *        write the same bytes
 * @release: the inode dies
 */
struct memfile_ops {
	int (*fill)(void *priv, pgoff_t index, void *kaddr);
	void (*release)(void *priv);
};

/**
 * memfile_create - a file whose storage is its own page cache
 * @name:  copied
 * @size:  bytes
 * @mode:  permissions; S_IFREG is added when no type is given
 * @ops:   contents of pages not yet written; NULL: zero
 * @priv:  handed to @ops
 *
 * Gives:  an open file (O_RDWR) on a new inode; end it with fput().
 * Errors: ERR_PTR(-ENOMEM); ERR_PTR(-EINVAL) for a negative size; @ops->release is not called.
 */
KARC_MUST_CHECK KARC_GIVES struct file *memfile_create_site(const char *name, loff_t size,
							     umode_t mode,
							     const struct memfile_ops *ops,
							     void *priv, const struct site *site);
#define memfile_create(name, size, mode, ops, priv) \
	memfile_create_site(name, size, mode, ops, priv, SITE())

/**
 * call_mmap - ask a file's operations to set up @vma
 * Errors: -ENODEV when it cannot be mapped, or the operation's own.
 */
int call_mmap(struct file *file, struct vm_area_struct *vma);

/* Modes of fallocate, where the C library hides them. */
#ifndef FALLOC_FL_KEEP_SIZE
#define FALLOC_FL_KEEP_SIZE	0x01
#define FALLOC_FL_PUNCH_HOLE	0x02
#endif

/**
 * vfs_fallocate - the system call on an open file
 * @mode: 0: the range exists from now on, the file grows over it; FALLOC_FL_KEEP_SIZE: its size
 *        stays; FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE: the range reads as zero, its pages go
 *
 * Context: may sleep.
 * Errors:  -EINVAL, -EOPNOTSUPP (other modes), -EBADF, -ENODEV, -EFBIG, -EPERM (seals), -ENOSPC,
 *          -ENOMEM; the file is as it was.
 */
int vfs_fallocate(struct file *file, int mode, loff_t offset, loff_t len);

/*
 * Read and write through the page cache with kernel buffers; *@pos moves. Bytes done, 0 at the
 * end of the file, or -EBADF (mode), -EINVAL, -ENOMEM, -EIO. A write beyond the end grows the file.
 */
ssize_t kernel_read(struct file *file, void *buf, size_t count, loff_t *pos);
ssize_t kernel_write(struct file *file, const void *buf, size_t count, loff_t *pos);

extern const struct room cache_room;

/* On a variable: __free(fput); see base/cleanup.h. */
DEFINE_FREE(fput, struct file *, if (!IS_ERR_OR_NULL(_T)) fput(_T))
DEFINE_FREE(iput, struct inode *, if (_T) iput(_T))

#endif
