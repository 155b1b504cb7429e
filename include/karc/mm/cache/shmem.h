/* SPDX-License-Identifier: MIT */
/*
 * shmem.h - files that are nothing but memory: memfd, tmpfs, shared anonymous memory, SysV
 *
 * One kind of inode stands behind all four. Its pages are made when they are first needed, are the
 * only copy, and go with the inode or when it is truncated or punched.
 */
#ifndef KARC_MM_CACHE_SHMEM_H
#define KARC_MM_CACHE_SHMEM_H

#include <karc/base/contract.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/vm_fault.h>
#include <fcntl.h>
#include <sys/mman.h>

struct check_report;

/* Flags of memfd_create() and seals, where the C library hides them. */
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC		0x0001U
#define MFD_ALLOW_SEALING	0x0002U
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB		0x0004U
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL		0x0008U
#define MFD_EXEC		0x0010U
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS		1033
#define F_GET_SEALS		1034
#define F_SEAL_SEAL		0x0001	/* no more seals */
#define F_SEAL_SHRINK		0x0002
#define F_SEAL_GROW		0x0004
#define F_SEAL_WRITE		0x0008
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE	0x0010
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC		0x0020
#endif

/**
 * shmem_file_setup - a nameless file: shown as "/@name (deleted)" in maps text, device 00:01
 * @size:  bytes
 * @flags: VM_NORESERVE: each page counts in Committed_AS when it is made; otherwise the whole size
 *         does at once
 *
 * Gives:   an open file (O_RDWR) on an inode of its own; end it with fput().
 * Context: may sleep.
 * Errors:  ERR_PTR(-ENOMEM): no memory, or overcommit refuses; ERR_PTR(-EINVAL): bad size.
 * Model:   Linux 6.1 shmem_file_setup(). Who asks for the promise is the CPU's loaded mm.
 */
KARC_MUST_CHECK KARC_GIVES struct file *shmem_file_setup_site(const char *name, loff_t size,
							       vm_flags_t flags,
							       const struct site *site);
#define shmem_file_setup(name, size, flags) shmem_file_setup_site(name, size, flags, SITE())

/* The same for another asker than the loaded mm; @mm may be NULL (nobody: no privilege). */
KARC_MUST_CHECK KARC_GIVES struct file *shmem_file_setup_mm_site(struct mm_struct *mm,
								  const char *name, loff_t size,
								  vm_flags_t flags,
								  const struct site *site);
#define shmem_file_setup_mm(mm, name, size, flags) \
	shmem_file_setup_mm_site(mm, name, size, flags, SITE())

/**
 * shmem_create - a file of a tmpfs, such as POSIX shared memory: shown as @path, pages count singly
 * @mode: permissions
 *
 * Gives: an open file (O_RDWR). Errors: ERR_PTR(-ENOMEM), ERR_PTR(-EINVAL).
 */
KARC_MUST_CHECK KARC_GIVES struct file *shmem_create_site(const char *path, loff_t size,
							   umode_t mode, const struct site *site);
#define shmem_create(path, size, mode) shmem_create_site(path, size, mode, SITE())

/**
 * ksys_memfd_create - the system call, but for the descriptor (MFD_CLOEXEC is the caller's)
 * @name: at most 249 bytes; shown as "/memfd:@name (deleted)"
 *
 * Gives:  an open file (O_RDWR), size 0.
 * Errors: ERR_PTR(-EINVAL): unknown flags, long name; -ENOMEM; -ENOSYS for MFD_HUGETLB.
 */
KARC_MUST_CHECK KARC_GIVES struct file *ksys_memfd_create_site(const char *name,
								unsigned int flags,
								const struct site *site);
#define ksys_memfd_create(name, flags) ksys_memfd_create_site(name, flags, SITE())

/**
 * memfd_fcntl - F_ADD_SEALS and F_GET_SEALS
 *
 * Context: may sleep.
 * Errors:  -EINVAL (not such a file, unknown seal or command), -EPERM (not writable, or sealed
 *          against sealing), -EBUSY: F_SEAL_WRITE while a shared mapping may write.
 */
long memfd_fcntl(struct file *file, unsigned int cmd, unsigned int arg);

/* Is this memory such a file's? */
bool shmem_mapping(const struct address_space *mapping);

/* Is it on the kernel's own mount (memfd, /dev/zero, SysV), where shmem_enabled is obeyed? */
bool shmem_internal(const struct inode *inode);

/* The mapping's own part of mmap(): fills no tables, may take VM_MAYWRITE away (seals). */
int shmem_mmap(struct file *file, struct vm_area_struct *vma);
vm_fault_t shmem_fault(struct vm_fault *vmf);

/* Pages of Committed_AS that all such files of the machine account for. */
long shmem_accounted_pages(void);

/**
 * struct cache_acct_ops - hook for the room that keeps Committed_AS
 * @charge:   promise @pages more for @mm (may be NULL); 0 or -ENOMEM and nothing changed
 * @uncharge: take them back; cannot fail
 */
struct cache_acct_ops {
	int (*charge)(struct mm_struct *mm, long pages);
	void (*uncharge)(long pages);
};
void cache_register_acct(const struct cache_acct_ops *ops);

/* Verify one inode's sums against its pages. Ignores inodes of other kinds. */
void shmem_check(struct inode *inode, struct check_report *report);

#endif
