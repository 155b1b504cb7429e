/* SPDX-License-Identifier: MIT */
/*
 * guest.c - system calls and accesses on behalf of a task, each through task_call()
 */
#include <karc/base/err.h>
#include <karc/harness/guest.h>
#include <karc/proc/exit.h>
#include <karc/proc/files.h>
#include <karc/proc/syscall.h>

struct guest_call {
	unsigned long a[5];
	int fd;
	void *buf;
	const struct site *site;
};

static long call(struct task_struct *task, long (*fn)(void *arg), struct guest_call *args)
{
	struct machine_result r = task_call(task, fn, args);

	return r.end == MACHINE_VALUE || r.end == MACHINE_EXITED ? r.value : -EFAULT;
}

static long do_mmap_call(void *arg)
{
	struct guest_call *c = arg;

	return sys_mmap(c->a[0], c->a[1], c->a[2], c->a[3], c->fd, 0);
}

long guest_mmap(struct task_struct *task, unsigned long addr, unsigned long len,
		unsigned long prot, unsigned long flags, int fd)
{
	struct guest_call c = { .a = { addr, len, prot, flags }, .fd = fd };

	return call(task, do_mmap_call, &c);
}

static long do_fork_call(void *arg)
{
	struct guest_call *c = arg;

	return sys_fork_site(c->site);
}

long guest_fork_site(struct task_struct *task, const struct site *site)
{
	struct guest_call c = { .site = site };

	return call(task, do_fork_call, &c);
}

static long do_wait_call(void *arg)
{
	struct guest_call *c = arg;

	return sys_wait4((pid_t)c->a[0], c->buf, 0);
}

long guest_wait(struct task_struct *task, pid_t pid, int *status)
{
	struct guest_call c = { .a = { (unsigned long)pid }, .buf = status };

	return call(task, do_wait_call, &c);
}

static long do_exit_call(void *arg)
{
	struct guest_call *c = arg;

	do_group_exit((int)c->a[0]);
}

long guest_exit(struct task_struct *task, int code)
{
	struct guest_call c = { .a = { (unsigned long)(code & 0xff) << 8 } };

	return call(task, do_exit_call, &c);
}

static long do_write_call(void *arg)
{
	struct guest_call *c = arg;

	return user_write(c->a[0], c->buf, c->a[1]);
}

long guest_write(struct task_struct *task, unsigned long addr, const void *buf, size_t bytes)
{
	struct guest_call c = { .a = { addr, bytes }, .buf = (void *)buf };

	return call(task, do_write_call, &c);
}

static long do_read_call(void *arg)
{
	struct guest_call *c = arg;

	return user_read(c->a[0], c->buf, c->a[1]);
}

long guest_read(struct task_struct *task, unsigned long addr, void *buf, size_t bytes)
{
	struct guest_call c = { .a = { addr, bytes }, .buf = buf };

	return call(task, do_read_call, &c);
}

long KARC_BODY(guest_install)(struct task_struct *task, struct file *file)
{
	return fd_alloc_install(task->files, 0, file, false);
}
