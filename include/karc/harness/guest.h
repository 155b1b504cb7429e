/* SPDX-License-Identifier: MIT */
/*
 * guest.h - simulated processes that a harness drives from outside
 *
 * A guest is a task whose system calls and memory accesses the harness makes for it, one at a
 * time. Context of all: the host fiber or a task that may sleep; the guest must not be running.
 */
#ifndef KARC_HARNESS_GUEST_H
#define KARC_HARNESS_GUEST_H

#include <karc/base/contract.h>
#include <karc/proc/task.h>

struct file;

/**
 * guest_mmap, guest_fork, guest_wait, guest_exit - the system call of that name as @task
 * @code: of exit(), the low 8 bits count
 *
 * Returns: the call's result; of guest_exit() the wait status. -EFAULT when the task died in the
 *          call of a BUG or Oops.
 */
long guest_mmap(struct task_struct *task, unsigned long addr, unsigned long len,
		unsigned long prot, unsigned long flags, int fd);
long guest_fork_site(struct task_struct *task, const struct site *site);	/* the child's pid */
#define guest_fork(task) guest_fork_site(task, SITE())
long guest_wait(struct task_struct *task, pid_t pid, int *status);
long guest_exit(struct task_struct *task, int code);

/* A store or load of the program: 0, or -EFAULT with task->fault filled in. */
long guest_write(struct task_struct *task, unsigned long addr, const void *buf, size_t bytes);
long guest_read(struct task_struct *task, unsigned long addr, void *buf, size_t bytes);

/* Takes @file, on failure too: the lowest free descriptor of @task, or -EMFILE, -ENOMEM. */
long guest_install(struct task_struct *task, KARC_TAKES struct file *file);

#endif
