/* SPDX-License-Identifier: MIT */
/*
 * shm.h - System V shared memory, and the system calls of memory files
 *
 * A segment is a shmem inode with a key and a number. Attaching maps it; it goes when it was marked
 * for removal (IPC_RMID) and the last mapping of it is gone.
 */
#ifndef KARC_PROC_SHM_H
#define KARC_PROC_SHM_H

#include <karc/base/contract.h>
#include <karc/base/types.h>
#include <karc/mm/mm_types.h>
#include <sys/ipc.h>
#include <sys/shm.h>		/* struct shmid_ds, IPC_*, SHM_* */

#ifndef IPC_INFO
#define IPC_INFO	3
#endif
#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY	15
#endif

#define SHM_MIN_BYTES	1UL
#define SHM_MAX_BYTES	(~0UL - (1UL << 24))	/* SHMMAX */
#define SHM_ALL_PAGES	(~0UL - (1UL << 24))	/* SHMALL */
#define SHM_MAX_SEGMENTS 4096			/* SHMMNI */

/**
 * ksys_shmget - find or make the segment of @key
 * @mm: who asks: its promise (mode 2), its privilege
 *
 * Context: may sleep. Returns: its number, or -ENOENT, -EEXIST, -EINVAL, -ENOSPC, -ENOMEM, -EACCES;
 * -ENOSYS for SHM_HUGETLB.
 */
long ksys_shmget(struct mm_struct *mm, key_t key, size_t size, int shmflg);

/**
 * ksys_shmat - map a segment
 * @addr: 0: placed like a shared mapping; else the place, rounded down with SHM_RND
 *
 * Context: may sleep; mmap_lock not held. Returns: the address, or -EINVAL, -ENOMEM, -EACCES,
 * -EIDRM and what mmap answers.
 */
long ksys_shmat(struct mm_struct *mm, int shmid, unsigned long addr, int shmflg);

/* Unmap what is left of the attachment that began at @addr. 0 or -EINVAL. */
long ksys_shmdt(struct mm_struct *mm, unsigned long addr);

/**
 * ksys_shmctl - what is known about a segment, or its end
 * @buf: struct shmid_ds (IPC_STAT, SHM_STAT, SHM_STAT_ANY, IPC_SET), struct shminfo (IPC_INFO),
 *       struct shm_info (SHM_INFO): memory of the kernel's; else unused
 *
 * Returns: 0, a number or an index as Linux does, or -EINVAL, -EIDRM, -EACCES, -EPERM.
 */
long ksys_shmctl(struct mm_struct *mm, int shmid, int cmd, void *buf);

/* Segments of the machine. */
unsigned long shm_nr_segments(void);

/* Linux's exit_shm() is not needed: attachments end with their mappings. */

/* ---- the system calls of the current task ---- */

long sys_shmget(key_t key, size_t size, int shmflg);
long sys_shmat(int shmid, unsigned long addr, int shmflg);
long sys_shmdt(unsigned long addr);
long sys_shmctl(int shmid, int cmd, unsigned long user_buf);

/* A descriptor, or -errno. @name: the kernel's memory. */
long sys_memfd_create(const char *name, unsigned int flags);
long sys_ftruncate(int fd, loff_t length);
long sys_fallocate(int fd, int mode, loff_t offset, loff_t len);
/* F_ADD_SEALS, F_GET_SEALS; -EINVAL for other commands. */
long sys_fcntl_seals(int fd, unsigned int cmd, unsigned int arg);

#endif
