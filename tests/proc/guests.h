/* SPDX-License-Identifier: MIT */
/*
 * guests.h - what the tests of this room do to processes
 */
#ifndef KARC_TESTS_PROC_GUESTS_H
#define KARC_TESTS_PROC_GUESTS_H

#include "../support/fixture.h"

#include <karc/base/err.h>
#include <karc/hw/fiber.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/exit.h>
#include <karc/proc/fork.h>
#include <karc/proc/sched.h>
#include <karc/proc/syscall.h>
#include <karc/proc/task.h>
#include <karc/refcount/holder.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct guest {
	unsigned long a[4];
	int status;
	void *buf;
};

static inline long as_task(struct task_struct *task, long (*fn)(void *arg), void *arg)
{
	struct machine_result r = task_call(task, fn, arg);

	assert_true(r.end == MACHINE_VALUE || r.end == MACHINE_EXITED);
	return r.value;
}

/*
 * A call with numbers for arguments: GUEST_CALL(name, expression of a[0] .. a[5]) defines it,
 * as_guest(task, name, 1, 2) makes it as @task.
 */
#define GUEST_CALL(name, expr)							\
static __attribute__((unused)) long name(void *arg)				\
{										\
	const unsigned long *a = arg;						\
										\
	(void)a;								\
	return (long)(expr);							\
}
#define as_guest(task, fn, ...) \
	as_task(task, fn, (unsigned long[7]){ __VA_ARGS__ __VA_OPT__(,) 0 })

/* @nr fibers to their ends, each of which must be a return of 0. */
static inline void join_all(struct fiber **fibers, unsigned int nr)
{
	struct machine_result r;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		fiber_join(fibers[i], &r);
		assert_int_equal(r.end, MACHINE_VALUE);
		assert_int_equal(r.value, 0);
	}
}

static inline long entry_map(void *arg)
{
	struct guest *g = arg;

	return sys_mmap(0, g->a[0], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static inline unsigned long map_anon(struct task_struct *task, unsigned long bytes)
{
	struct guest g = { .a = { bytes } };
	long addr = as_task(task, entry_map, &g);

	assert_true(addr > 0);
	return (unsigned long)addr;
}

static inline long entry_write(void *arg)
{
	struct guest *g = arg;

	return user_write(g->a[0], g->buf, g->a[1]);
}

static inline long write_byte(struct task_struct *task, unsigned long addr, char byte)
{
	struct guest g = { .a = { addr, 1 }, .buf = &byte };

	return as_task(task, entry_write, &g);
}

static inline long entry_read(void *arg)
{
	struct guest *g = arg;

	return user_read(g->a[0], g->buf, g->a[1]);
}

static inline char read_byte(struct task_struct *task, unsigned long addr)
{
	char byte = 0;
	struct guest g = { .a = { addr, 1 }, .buf = &byte };

	assert_int_equal(as_task(task, entry_read, &g), 0);
	return byte;
}

static inline long entry_clone(void *arg)
{
	return kernel_clone(arg);
}

struct guest_clone {
	struct kernel_clone_args args;
	struct task_struct *child;
};

static inline long entry_copy(void *arg)
{
	struct guest_clone *g = arg;

	g->child = copy_process(&g->args);
	if (!IS_ERR(g->child))
		arc_hand_to_root(&g->child->arc, "the test");
	return IS_ERR(g->child) ? PTR_ERR(g->child) : 0;
}

/* The child's task, with a reference; nobody waits for a vfork child. */
static inline struct task_struct *clone_args(struct task_struct *task,
					     const struct kernel_clone_args *args)
{
	struct guest_clone g = { .args = *args };

	assert_int_equal(as_task(task, entry_copy, &g), 0);
	return g.child;
}

static inline struct task_struct *fork_flags(struct task_struct *task, u64 flags)
{
	const struct kernel_clone_args args = { .flags = flags, .exit_signal = SIGCHLD };

	return clone_args(task, &args);
}

/* One more thread of @task's process. */
static inline struct task_struct *new_thread(struct task_struct *task)
{
	return fork_flags(task, CLONE_PTHREAD);
}

static inline long entry_exit(void *arg)
{
	struct guest *g = arg;

	do_group_exit((int)g->a[0]);
}

static inline long entry_exit_thread(void *arg)
{
	struct guest *g = arg;

	do_exit((long)g->a[0]);
}

/* Only this thread. */
static inline void exit_thread(struct task_struct *task, int code)
{
	struct guest g = { .a = { (unsigned long)code << 8 } };

	assert_int_equal(as_task(task, entry_exit_thread, &g), code << 8);
}

static inline void exit_task(struct task_struct *task, int code)
{
	struct guest g = { .a = { (unsigned long)code << 8 } };

	assert_int_equal(as_task(task, entry_exit, &g), code << 8);
}

static inline long entry_wait(void *arg)
{
	struct guest *g = arg;

	return kernel_wait4((pid_t)(long)g->a[0], &g->status, (int)g->a[1]);
}

static inline long wait_for(struct task_struct *task, pid_t pid, int options, int *status)
{
	struct guest g = { .a = { (unsigned long)(long)pid, (unsigned long)options } };
	long ret = as_task(task, entry_wait, &g);

	if (status)
		*status = g.status;
	return ret;
}

/* Reaps @child and gives the caller's reference up; returns the wait status. */
static inline int reap(struct task_struct *parent, struct task_struct *child)
{
	int status = -1;

	assert_int_equal(wait_for(parent, child->pid, 0, &status), child->pid);
	put_task_struct(child);
	return status;
}

static inline struct task_struct *start_init(void)
{
	struct task_struct *init = task_create_init("init");

	assert_false(IS_ERR(init));
	return init;
}

static inline void end_init(struct task_struct *init)
{
	exit_task(init, 0);
	put_task_struct(init);
}

#endif
