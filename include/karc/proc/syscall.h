/* SPDX-License-Identifier: MIT */
/*
 * syscall.h - what a simulated program may ask for: entry points on current
 *
 * All return what Linux's system call returns: a value, or -errno. Context: a task with mm and
 * files (task_call), may sleep.
 */
#ifndef KARC_PROC_SYSCALL_H
#define KARC_PROC_SYSCALL_H

#include <karc/proc/exit.h>
#include <karc/proc/fork.h>
#include <karc/proc/signal.h>
#include <karc/proc/task.h>

long sys_mmap(unsigned long addr, unsigned long len, unsigned long prot, unsigned long flags,
	      int fd, unsigned long offset_bytes);
/* The same with the file instead of a descriptor (borrowed; NULL with MAP_ANONYMOUS). */
long sys_mmap_file(unsigned long addr, unsigned long len, unsigned long prot,
		   unsigned long flags, struct file *file, unsigned long offset_bytes);
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
		unsigned long flags, unsigned long new_addr);
long sys_madvise(unsigned long addr, unsigned long len, int advice);
long sys_mlock(unsigned long addr, unsigned long len);
long sys_mlock2(unsigned long addr, unsigned long len, int flags);
long sys_munlock(unsigned long addr, unsigned long len);
long sys_mlockall(int flags);
long sys_munlockall(void);
long sys_msync(unsigned long addr, unsigned long len, int flags);
/* @vec: kernel memory, one byte for each page */
long sys_mincore(unsigned long addr, unsigned long len, unsigned char *vec);
long sys_remap_file_pages(unsigned long addr, unsigned long size, unsigned long prot,
			  unsigned long pgoff, unsigned long flags);
long sys_mseal(unsigned long addr, unsigned long len, unsigned long flags);
long sys_pkey_mprotect(unsigned long addr, unsigned long len, unsigned long prot, int pkey);

/* ---- processes and threads; pointers without __user are kernel memory ---- */

long sys_fork_site(const struct site *site);
#define sys_fork() sys_fork_site(SITE())
/* vfork and clone with CLONE_VFORK return when the child is done with the memory, see fork.h. */
long sys_vfork_site(const struct site *site);
#define sys_vfork() sys_vfork_site(SITE())
/* @flags: exit signal in the low byte; @parent_tid: where a pidfd goes as well, as in Linux */
long sys_clone_site(unsigned long flags, unsigned long stack, int __user *parent_tid,
		    int __user *child_tid, unsigned long tls, const struct site *site);
#define sys_clone(flags, stack, parent_tid, child_tid, tls) \
	sys_clone_site(flags, stack, parent_tid, child_tid, tls, SITE())
long sys_clone3_site(const struct kernel_clone_args *args, const struct site *site);
#define sys_clone3(args) sys_clone3_site(args, SITE())
long sys_unshare(unsigned long flags);
/* exit ends the calling thread, exit_group the process; neither returns. */
void sys_exit(int code) __attribute__((noreturn));
void sys_exit_group(int code) __attribute__((noreturn));
long sys_wait4(pid_t pid, int *status, int options);
long sys_waitid(int which, pid_t upid, struct waitid_info *info, int options);
long sys_getpid(void);
long sys_gettid(void);
long sys_getppid(void);			/* 0 for the first process */
long sys_set_tid_address(int __user *tidptr);
long sys_setpgid(pid_t pid, pid_t pgid);
long sys_getpgid(pid_t pid);
long sys_getpgrp(void);
long sys_setsid(void);
long sys_getsid(pid_t pid);
long sys_kill(pid_t pid, int signo);	/* 0: own group, -1: all but init and self, < -1: a group */
long sys_tkill(pid_t pid, int signo);
long sys_tgkill(pid_t tgid, pid_t pid, int signo);
long sys_pidfd_open(pid_t pid, unsigned int flags);
long sys_pidfd_send_signal(int fd, int signo, unsigned int flags);
long sys_pidfd_getfd(int pidfd, int fd, unsigned int flags);
long sys_rt_sigaction(int signo, const struct signal_action *act, struct signal_action *old);
/* @timeout_ns, @bitset: see futex.h */
long sys_futex(u32 __user *uaddr, int op, u32 val, u64 timeout_ns, u32 bitset);

/* ---- limits and settings ---- */

long sys_getrlimit(unsigned int which, struct task_rlimit *old);
long sys_setrlimit(unsigned int which, const struct task_rlimit *set);
/* @pid: 0 the caller */
long sys_prlimit64(pid_t pid, unsigned int which, const struct task_rlimit *set,
		   struct task_rlimit *old);
long sys_personality(unsigned int persona);	/* the old one; 0xffffffff only asks */
long sys_umask(unsigned int mask);
/*
 * PR_SET/GET_ NAME, PDEATHSIG, DUMPABLE, CHILD_SUBREAPER, NO_NEW_PRIVS, THP_DISABLE; PR_SET_VMA.
 * Arguments that are addresses are addresses of the program's memory. -EINVAL for the rest.
 */
long sys_prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4,
	       unsigned long arg5);
/* ARCH_SET_FS, ARCH_GET_FS, ARCH_SET_GS, ARCH_GET_GS; -EINVAL for the rest */
long sys_arch_prctl(int code, unsigned long addr);

/* ---- descriptors ---- */

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
