/* SPDX-License-Identifier: MIT */
/*
 * shmem.c - files that are nothing but memory
 *
 * What it is
 *	memfd, files of a tmpfs, shared anonymous memory and SysV segments are one kind of inode: a
 *	page is made, zero, when it is first written or mapped, and is the only copy of its bytes.
 *	A hole reads as zero without being filled.
 *
 * Objects
 *	inode --i_private owns--> shmem_info;  inode's mapping --owns--> pages (PG_swapbacked)
 *	file, VMA --own--> inode: the pages live as long as somebody has the file open or mapped
 *
 * Invariants
 *	I1 info->accounted is what this inode adds to Committed_AS: with per_page the number of its
 *	   pages with PG_swapbacked, else the pages of its size
 *	I2 the room's shmem_accounted is the sum of I1 over all inodes
 *	I3 a sealed property holds from the moment F_ADD_SEALS returned: WRITE is refused while a
 *	   VMA that may write is on i_mmap, and one that gets there later finds it in its faults
 *	I4 page->private is 0 but for pages that a running fallocate() made and nobody wrote
 *
 * Locking
 *	seals             written with i_rwsem and i_mmap_rwsem held for writing, read with either
 *	                  or, by mmap and faults, with neither (I3)
 *	accounted         atomic; by size only changed under i_rwsem
 *
 * Life
 *	shmem_inode -> file; last fput and munmap -> inode's drop: pages go, each with its promise,
 *	then release: the rest of the promise, shmem_info
 *
 * Worst case
 *	fallocate() makes one page after the other and takes back those it made when one cannot be
 *	had: two passes over the range.
 *
 * Unlike Linux
 *	No swap: the pages cannot be reclaimed. No huge pages, no quota of a mount (only the commit
 *	limit refuses). A read-only shared mapping of a file sealed against writing is allowed and
 *	can never become writable, as from 6.7 on; 6.1 refuses it. Pins do not delay F_SEAL_WRITE.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/pgtable/tlbflush.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/vm_flags.h>
#include "internal.h"

#define MEMFD_PREFIX		"memfd:"
#define MEMFD_NAME_MAX		(255 - (sizeof(MEMFD_PREFIX) - 1))	/* NAME_MAX less prefix */
#define DELETED			" (deleted)"
#define SHMEM_DEV_ID		1		/* 00:01 */
#define MFD_KNOWN		(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC)
#define MFD_HUGE_MASK		(0x3fU << 26)
#define F_ALL_SEALS		(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | \
				 F_SEAL_FUTURE_WRITE | F_SEAL_EXEC)
#define SEALED_WRITE		(F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
#define FALLOC_NEW		1UL		/* page->private: I4 */

struct shmem_info {
	bool per_page;			/* VM_NORESERVE */
	bool internal;
	unsigned int seals;
	atomic_long_t accounted;	/* pages: I1 */
};

static const struct address_space_operations shmem_aops;

bool shmem_mapping(const struct address_space *mapping)
{
	return mapping->a_ops == &shmem_aops;
}

static struct shmem_info *shmem_info(const struct inode *inode)
{
	return inode->i_private;
}

bool shmem_internal(const struct inode *inode)
{
	return shmem_mapping(inode->i_mapping) && shmem_info(inode)->internal;
}

static unsigned int seals_of(const struct shmem_info *info)
{
	return __atomic_load_n(&info->seals, __ATOMIC_ACQUIRE);
}

/* ---- the promise ---- */

void cache_register_acct(const struct cache_acct_ops *ops)
{
	cache_state()->acct = ops;
}

long shmem_accounted_pages(void)
{
	return atomic_long_read(&cache_state()->shmem_accounted);
}

long shmem_accounted_by(const struct inode *inode)
{
	return shmem_mapping(inode->i_mapping) ?
	       atomic_long_read(&shmem_info(inode)->accounted) : 0;
}

/* 0 or -ENOMEM. */
static int shmem_acct(struct shmem_info *info, struct mm_struct *mm, long pages)
{
	const struct cache_acct_ops *ops = cache_state()->acct;
	int err = ops && pages ? ops->charge(mm, pages) : 0;

	if (err)
		return err;
	atomic_long_add(pages, &info->accounted);
	atomic_long_add(pages, &cache_state()->shmem_accounted);
	return 0;
}

static void shmem_unacct(struct shmem_info *info, long pages)
{
	const struct cache_acct_ops *ops = cache_state()->acct;

	atomic_long_sub(pages, &info->accounted);
	atomic_long_sub(pages, &cache_state()->shmem_accounted);
	if (ops && pages)
		ops->uncharge(pages);
}

static long pages_of_size(loff_t size)
{
	return (long)(((u64)size + PAGE_SIZE - 1) >> PAGE_SHIFT);
}

/* The size is to become @newsize. Locks: i_rwsem. */
static int shmem_reacct_size(struct inode *inode, loff_t newsize)
{
	struct shmem_info *info = shmem_info(inode);
	long more = pages_of_size(newsize) - atomic_long_read(&info->accounted);

	if (info->per_page)
		return 0;
	if (more > 0)
		return shmem_acct(info, current_loaded_mm(), more);
	shmem_unacct(info, -more);
	return 0;
}

/* ---- pages ---- */

/* A fresh page, zero already: only its promise is missing. */
static int shmem_read_page(struct address_space *mapping, struct page *page)
{
	struct shmem_info *info = shmem_info(mapping->host);

	if (info->per_page && shmem_acct(info, current_loaded_mm(), 1))
		return -ENOSPC;
	/* The page lock is held and the flag is read under it: I1. */
	SetPageSwapBacked(page);
	inc_node_page_state(page, NR_SHMEM);
	return 0;
}

static void shmem_page_removed(struct address_space *mapping, struct page *page)
{
	struct shmem_info *info = shmem_info(mapping->host);

	if (!PageSwapBacked(page))	/* it never got its promise */
		return;
	page->private = 0;
	dec_node_page_state(page, NR_SHMEM);
	if (info->per_page)
		shmem_unacct(info, 1);
}

static const struct address_space_operations shmem_aops = {
	.read_page = shmem_read_page,
	.page_removed = shmem_page_removed,
};

/* Could @vma store into the file itself? */
static bool vma_may_write_file(const struct vm_area_struct *vma)
{
	vm_flags_t flags = READ_ONCE(vma->vm_flags);

	return (flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE);
}

vm_fault_t shmem_fault(struct vm_fault *vmf)
{
	struct inode *inode = vmf->vma->vm_file->f_inode;

	/* mmap() looked before the seal came, F_ADD_SEALS before the VMA was on the list: I3. */
	if ((seals_of(shmem_info(inode)) & F_SEAL_WRITE) && vma_may_write_file(vmf->vma))
		return VM_FAULT_SIGBUS;
	/* A page that has to be made is no input or output. */
	return filemap_fault(vmf) & ~VM_FAULT_MAJOR;
}

static const struct vm_operations_struct shmem_vm_ops = { .fault = shmem_fault };

int shmem_mmap(struct file *file, struct vm_area_struct *vma)
{
	if ((seals_of(shmem_info(file->f_inode)) & SEALED_WRITE) && (vma->vm_flags & VM_SHARED)) {
		if (vma->vm_flags & VM_WRITE)
			return -EPERM;
		vma->vm_flags &= ~VM_MAYWRITE;
	}
	vma->vm_ops = &shmem_vm_ops;
	return 0;
}

/* ---- size and contents ---- */

static int shmem_setsize(struct inode *inode, loff_t newsize)
{
	unsigned int seals = seals_of(shmem_info(inode));

	if (((seals & F_SEAL_SHRINK) && newsize < inode->i_size) ||
	    ((seals & F_SEAL_GROW) && newsize > inode->i_size))
		return -EPERM;
	return shmem_reacct_size(inode, newsize);
}

static int shmem_write_begin(struct inode *inode, loff_t pos, size_t len)
{
	unsigned int seals = seals_of(shmem_info(inode));
	loff_t end = pos + (loff_t)len;

	if (seals & SEALED_WRITE)
		return -EPERM;
	if (end <= inode->i_size)
		return 0;
	if (seals & F_SEAL_GROW)
		return -EPERM;
	return shmem_reacct_size(inode, end);
}

static void shmem_release(struct inode *inode)
{
	struct shmem_info *info = shmem_info(inode);

	shmem_unacct(info, atomic_long_read(&info->accounted));
	kfree(info);
}

/* The page at @index exists from now on, marked when it is new. */
static int falloc_page(struct address_space *mapping, pgoff_t index)
{
	struct page *page = find_get_page(mapping, index);
	bool is_new = !page;

	if (page)
		put_page(page);
	page = read_cache_page(mapping, index);
	if (IS_ERR(page))
		return (int)PTR_ERR(page);
	if (is_new) {
		lock_page(page);
		if (page->mapping == mapping && !PageDirty(page))
			page->private = FALLOC_NEW;
		unlock_page(page);
	}
	put_page(page);
	return 0;
}

/* The marks go, and with @undo the pages that nobody came to use meanwhile. */
static void falloc_settle(struct address_space *mapping, pgoff_t first, pgoff_t end, bool undo)
{
	pgoff_t index;

	for (index = first; index < end; index++) {
		struct page *page = find_lock_page(mapping, index);

		if (!page)
			continue;
		if (page->private == FALLOC_NEW) {
			page->private = 0;
			if (undo && !PageDirty(page) && !page_mapped(page))
				delete_from_page_cache(page);
		}
		unlock_page(page);
		put_page(page);
	}
}

/* i_rwsem is held for writing. */
static int shmem_falloc_range(struct inode *inode, loff_t start, loff_t end)
{
	struct address_space *mapping = inode->i_mapping;
	pgoff_t first = (pgoff_t)((u64)start >> PAGE_SHIFT), index;
	pgoff_t last = (pgoff_t)pages_of_size(end);
	int err = 0;

	if (last - first > phys_stats(this_machine()).nr_managed)
		return -ENOSPC;
	for (index = first; index < last; index++) {
		err = falloc_page(mapping, index);
		if (err)
			break;
		cond_resched();
	}
	falloc_settle(mapping, first, index, err);
	return err;
}

static int shmem_grow(struct inode *inode, int mode, loff_t offset, loff_t end)
{
	bool grows = !(mode & FALLOC_FL_KEEP_SIZE) && end > inode->i_size;
	loff_t oldsize = inode->i_size;
	int err;

	if ((seals_of(shmem_info(inode)) & F_SEAL_GROW) && end > oldsize)
		return -EPERM;
	err = grows ? shmem_reacct_size(inode, end) : 0;
	if (err)
		return err;
	err = shmem_falloc_range(inode, offset, end);
	if (!err && grows)
		truncate_setsize(inode, end);
	/* Giving back cannot fail. */
	if (err && grows && shmem_reacct_size(inode, oldsize))
		BUG();
	return err;
}

static int shmem_punch(struct inode *inode, loff_t start, loff_t end)
{
	if (seals_of(shmem_info(inode)) & SEALED_WRITE)
		return -EPERM;
	truncate_pagecache_range(inode, start, end);
	return 0;
}

static long shmem_fallocate(struct file *file, int mode, loff_t offset, loff_t len)
{
	struct inode *inode = file->f_inode;
	int err;

	down_write(&inode->i_rwsem);
	if (mode & FALLOC_FL_PUNCH_HOLE)
		err = shmem_punch(inode, offset, offset + len);
	else
		err = shmem_grow(inode, mode, offset, offset + len);
	up_write(&inode->i_rwsem);
	return err;
}

static const struct file_operations shmem_fops = {
	.mmap = shmem_mmap,
	.mmap_lazy = true,
	.fallocate = shmem_fallocate,
};

/* ---- making one ---- */

struct shmem_args {
	const char *name;	/* as maps text shows it */
	loff_t size;
	umode_t mode;
	unsigned int seals;
	bool per_page, internal;
};

/* The inode owns @info from here on. */
static void shmem_init_inode(struct inode *inode, struct shmem_info *info,
			     const struct shmem_args *args)
{
	info->seals = args->seals;
	info->per_page = args->per_page;
	info->internal = args->internal;
	inode->i_private = info;
	inode->i_size = args->size;
	inode->i_dev_id = args->internal ? SHMEM_DEV_ID : 0;
	inode->i_fop = &shmem_fops;
	inode->i_ops.setsize = shmem_setsize;
	inode->i_ops.write_begin = shmem_write_begin;
	inode->i_ops.release = shmem_release;
	/* Pairs with the acquire in page_cache_shrink(), which finds the inode on its list. */
	smp_store_release(&inode->i_data.a_ops, &shmem_aops);
}

static struct file *shmem_file(const struct shmem_args *args, struct mm_struct *mm,
			       const struct site *site)
{
	struct shmem_info *info;
	struct inode *inode;
	struct file *file;
	int err;

	if (args->size < 0)
		return ERR_PTR(-EINVAL);
	info = kzalloc(sizeof(*info), GFP_KERNEL);
	if (!info)
		return ERR_PTR(-ENOMEM);
	err = args->per_page ? 0 : shmem_acct(info, mm, pages_of_size(args->size));
	if (err)
		goto free_info;
	inode = new_inode_site(args->name, S_IFREG | args->mode, site);
	if (IS_ERR(inode)) {
		err = (int)PTR_ERR(inode);
		goto unacct;
	}
	shmem_init_inode(inode, info, args);
	file = file_open_inode_site(inode, O_RDWR, site);
	iput(inode);
	return file;
unacct:
	shmem_unacct(info, atomic_long_read(&info->accounted));
free_info:
	kfree(info);
	return ERR_PTR(err);
}

struct file *KARC_BODY(shmem_file_setup_mm_site)(struct mm_struct *mm, const char *name,
						 loff_t size, vm_flags_t flags,
						 const struct site *site)
{
	char shown[256 + sizeof(DELETED)];
	const struct shmem_args args = {
		.name = shown, .size = size, .mode = 0777, .seals = F_SEAL_SEAL,
		.per_page = flags & VM_NORESERVE, .internal = true,
	};

	snprintf(shown, sizeof(shown), "/%.255s" DELETED, name);
	return shmem_file(&args, mm, site);
}

struct file *KARC_BODY(shmem_file_setup_site)(const char *name, loff_t size, vm_flags_t flags,
					      const struct site *site)
{
	return shmem_file_setup_mm_site(current_loaded_mm(), name, size, flags, site);
}

struct file *KARC_BODY(shmem_create_site)(const char *path, loff_t size, umode_t mode,
					  const struct site *site)
{
	const struct shmem_args args = {
		.name = path, .size = size, .mode = mode & 07777, .seals = F_SEAL_SEAL,
		.per_page = true,
	};

	return shmem_file(&args, NULL, site);
}

struct file *KARC_BODY(ksys_memfd_create_site)(const char *name, unsigned int flags,
					       const struct site *site)
{
	char shown[256 + sizeof(MEMFD_PREFIX DELETED)];
	struct shmem_args args = {
		.name = shown, .mode = 0777, .seals = F_SEAL_SEAL,
		.per_page = true, .internal = true,
	};

	if (flags & MFD_HUGETLB)
		return ERR_PTR(flags & ~(MFD_KNOWN | MFD_HUGETLB | MFD_HUGE_MASK) ?
			       -EINVAL : -ENOSYS);
	if ((flags & ~MFD_KNOWN) || (flags & MFD_EXEC && flags & MFD_NOEXEC_SEAL))
		return ERR_PTR(-EINVAL);
	if (strnlen(name, MEMFD_NAME_MAX + 1) > MEMFD_NAME_MAX)
		return ERR_PTR(-EINVAL);
	if (flags & MFD_ALLOW_SEALING)
		args.seals = 0;
	if (flags & MFD_NOEXEC_SEAL) {
		args.seals = F_SEAL_EXEC;
		args.mode = 0666;
	}
	snprintf(shown, sizeof(shown), "/" MEMFD_PREFIX "%s" DELETED, name);
	return shmem_file(&args, NULL, site);
}

/* ---- seals ---- */

/* i_rwsem and i_mmap_rwsem are held for writing. */
static int add_seals_locked(struct inode *inode, unsigned int seals)
{
	struct shmem_info *info = shmem_info(inode);
	unsigned int old = info->seals;
	struct vm_area_struct *vma;

	if (old & F_SEAL_SEAL)
		return -EPERM;
	/* A file that is to stay executable must keep its contents. */
	if ((seals & F_SEAL_EXEC) && (inode->i_mode & 0111))
		seals |= F_SEAL_SHRINK | F_SEAL_GROW | SEALED_WRITE;
	if (seals & ~old & F_SEAL_WRITE)
		list_for_each_entry(vma, &inode->i_mapping->i_mmap, rmap_node)
			if (vma_may_write_file(vma))
				return -EBUSY;
	__atomic_store_n(&info->seals, old | seals, __ATOMIC_RELEASE);
	return 0;
}

static int add_seals(struct inode *inode, unsigned int seals)
{
	int err;

	down_write(&inode->i_rwsem);
	down_write(&inode->i_mapping->i_mmap_rwsem);
	err = add_seals_locked(inode, seals);
	up_write(&inode->i_mapping->i_mmap_rwsem);
	up_write(&inode->i_rwsem);
	return err;
}

long memfd_fcntl(struct file *file, unsigned int cmd, unsigned int arg)
{
	struct inode *inode = file->f_inode;

	if (cmd == F_ADD_SEALS && !(file->f_mode & FMODE_WRITE))
		return -EPERM;
	if (!shmem_mapping(inode->i_mapping))
		return -EINVAL;
	if (cmd == F_GET_SEALS)
		return (long)seals_of(shmem_info(inode));
	if (cmd != F_ADD_SEALS || (arg & ~(unsigned int)F_ALL_SEALS))
		return -EINVAL;
	return add_seals(inode, arg);
}

/* ---- check ---- */

void shmem_check(struct inode *inode, struct check_report *report)
{
	const char *name = inode->i_dentry.d_name.name;
	unsigned long index;
	struct page *page;
	long pages = 0, accounted;

	if (!shmem_mapping(inode->i_mapping))
		return;
	accounted = atomic_long_read(&shmem_info(inode)->accounted);
	xa_for_each(&inode->i_data.i_pages, index, page) {
		pages += PageSwapBacked(page);
		if (page->private)
			check_fail(report, "I4: page at index %lu of \"%s\" is marked", index,
				   name);
	}
	if (!shmem_info(inode)->per_page)
		pages = pages_of_size(inode->i_size);
	if (pages != accounted)
		check_fail(report, "I1: \"%s\" accounts for %ld pages and should for %ld", name,
			   accounted, pages);
}
