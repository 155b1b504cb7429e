/* SPDX-License-Identifier: MIT */
/*
 * syscall.h - what a simulated program may ask for: entry points on current
 *
 * All return what Linux's system call returns: a value, or -errno. Context: a task with mm and
 * files (task_call), may sleep.
 */
#ifndef KARC_PROC_SYSCALL_H
#define KARC_PROC_SYSCALL_H

#include <karc/proc/task.h>

long sys_mmap(unsigned long addr, unsigned long len, unsigned long prot, unsigned long flags,
	      int fd, unsigned long offset_bytes);
/*
 * vm_mmap / vm_munmap - Linux's names for drivers: the same in current's address space
 * @file: borrowed, NULL for anonymous memory; @offset: bytes, page aligned
 */
unsigned long vm_mmap(struct file *file, unsigned long addr, unsigned long len,
		      unsigned long prot, unsigned long flag, unsigned long offset);
int vm_munmap(unsigned long start, size_t len);

long sys_munmap(unsigned long addr, unsigned long len);
long sys_mprotect(unsigned long addr, unsigned long len, unsigned long prot);
long sys_brk(unsigned long brk);
long sys_mremap(unsigned long addr, unsigned long old_len, unsigned long new_len,
		unsigned long flags, unsigned long new_addr);		/* -ENOSYS so far */
long sys_madvise(unsigned long addr, unsigned long len, int advice);	/* -ENOSYS so far */
long sys_fork_site(const struct site *site);
#define sys_fork() sys_fork_site(SITE())
long sys_wait4(pid_t pid, int *status, int options);
long sys_getpid(void);
long sys_close(int fd);
long sys_dup3(int oldfd, int newfd, int flags);

/**
 * user_read, user_write, user_exec - a load, store or fetch of the current program
 *
 * Through the CPU's TLB and MMU, with page faults. An access that crosses a page boundary is done
 * page by page; what came before a refused page is done.
 * Context: a task, may sleep.
 * Returns: 0; -EFAULT after a fatal fault, with what Linux would deliver in current->fault (signal,
 *          si_code, si_addr; SIGKILL for no memory). The caller decides whether to let the task die
 *          of it, do_group_exit(current->fault.signo), as the default action does. A task without
 *          an mm gets -EFAULT.
 */
int user_read(unsigned long addr, void *buf, size_t bytes);
int user_write(unsigned long addr, const void *buf, size_t bytes);
int user_exec(unsigned long addr);

#endif
