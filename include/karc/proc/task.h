/* SPDX-License-Identifier: MIT */
/*
 * task.h - task_struct and the parts it owns
 *
 * A task is a process or thread of the simulated machine. It holds C code's stack (a fiber) only
 * while it runs in the kernel: task_call() puts a call on a fiber as this task, and when the call
 * returns the task is back in user mode without one. So a hundred thousand tasks need no hundred
 * thousand stacks.
 *
 * References: a new task has two, as in Linux. One stands for "visible by pid" and is put by
 * release_task(); one stands for "may be on a CPU" and is put after the last switch away from it
 * (finish_task_switch()). A child holds its real_parent; the parent's list of children holds
 * nothing.
 */
#ifndef KARC_PROC_TASK_H
#define KARC_PROC_TASK_H

#include <karc/base/contract.h>
#include <karc/base/list.h>
#include <karc/base/site.h>
#include <karc/hw/fiber.h>
#include <karc/hw/wait.h>
#include <karc/mm/mm_types.h>
#include <karc/proc/pid.h>
#include <karc/refcount/arc.h>
#include <sys/types.h>

struct files_struct;
struct signal_struct;

#define TASK_COMM_LEN	16

/* task->state: TASK_RUNNING and friends of hw/wait.h, or */
#ifndef TASK_DEAD
#define TASK_DEAD		0x0080
#endif

/* task->exit_state */
#define EXIT_DEAD	0x10
#define EXIT_ZOMBIE	0x20

/* task->flags */
#define PF_IDLE		0x00000002
#define PF_EXITING	0x00000004
#define PF_SIGNALED	0x00000400
#define PF_KTHREAD	0x00200000

struct task_struct {
	struct arc arc;
	unsigned int state;		/* READ_ONCE */
	int exit_state;			/* tasklist lock */
	int exit_code;
	int exit_signal;		/* sent to the parent at death; -1 for threads */
	unsigned int flags;		/* written by the task itself */
	pid_t pid;
	pid_t tgid;
	struct pid *thread_pid;		/* owned until release_task() */
	struct mm_struct *mm;		/* one mm_users reference, or NULL */
	struct mm_struct *active_mm;	/* == mm, or lazily borrowed: one mm_count reference */
	struct files_struct *files;	/* owned */
	struct signal_struct *signal;	/* owned, shared by the thread group */
	struct task_struct *real_parent;	/* owned; tasklist lock */
	struct task_struct *group_leader;	/* borrowed: leader is released last */
	struct list_head children;	/* tasklist lock; holds nothing */
	struct list_head sibling;
	struct list_head tasks;		/* every process of the machine; tasklist lock */
	struct fiber *fiber;		/* from task_call() to its end, the last switch included */
	unsigned int cpu;		/* where its calls run; migrate_task_to() */
	bool on_cpu;			/* it is the current task of a CPU */
	char comm[TASK_COMM_LEN];
	struct {			/* the fatal fault that ended it, for reports */
		int signo, code;
		unsigned long addr;
	} fault;
	void *user;			/* for the harness that drives it */
};

/* The running task; the CPU's idle task when no task is on it. Borrowed. */
KARC_LENDS struct task_struct *get_current(void);
#define current get_current()

/**
 * get_task_struct, put_task_struct - one reference more on the struct itself, one less
 *
 * Gives:   get_task_struct() returns its argument, which has one reference more.
 * Takes:   put_task_struct() takes one; NULL is ignored. The last one puts files, signal, pid and
 *          parent.
 * Context: any. Model: Linux 6.1.
 */
struct task_struct *get_task_struct(struct task_struct *task);
void put_task_struct(KARC_TAKES struct task_struct *task);

#ifdef __clang_analyzer__
KARC_RETAINS(task_struct);
#define get_task_struct(ptr) ((struct task_struct *)KARC_RETAIN(task_struct, ptr))
#endif

/**
 * task_call - run fn(arg) as @task in kernel mode on its CPU, to its end
 * @task: borrowed; alive, and not inside another call (both a BUG)
 *
 * A call that ends in do_exit() comes back as MACHINE_EXITED with the exit code. One that ends in a
 * BUG or Oops comes back as that; the task has then been killed as in Linux, by SIGSEGV after a BUG
 * and by SIGKILL after an Oops, and its parent told.
 * Context: host fiber, or another task; may sleep.
 * Errors:  .value -ENOMEM: no host memory for a stack; @fn did not run.
 */
struct machine_result task_call(struct task_struct *task, long (*fn)(void *arg), void *arg);

/**
 * task_create_init - the first process of the machine (pid 1), with an empty new mm
 *
 * Gives:   a reference besides the task's own two; end it with put_task_struct().
 * Context: may sleep; not called by two at once.
 * Errors:  ERR_PTR: -ENOMEM, -EAGAIN; -EBUSY when there is one already.
 */
KARC_MUST_CHECK KARC_GIVES struct task_struct *task_create_init_site(const char *comm,
								      const struct site *site);
#define task_create_init(comm) task_create_init_site(comm, SITE())

/* The task with this pid. Gives a reference, or NULL. Context: any. */
KARC_MUST_CHECK KARC_GIVES struct task_struct *find_get_task_by_vpid(pid_t nr);

/* At most TASK_COMM_LEN - 1 bytes are kept. Context: the task itself, or nobody runs it. */
void set_task_comm(struct task_struct *task, const char *comm);

extern const struct room proc_room;

#endif
