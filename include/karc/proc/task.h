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
 *
 * The threads of a process share one signal_struct and one sighand_struct (signal.h), and its
 * list of threads; group_leader is the thread whose pid is the process's.
 */
#ifndef KARC_PROC_TASK_H
#define KARC_PROC_TASK_H

#include <karc/base/cleanup.h>
#include <karc/base/contract.h>
#include <karc/base/list.h>
#include <karc/base/site.h>
#include <karc/hw/fiber.h>
#include <karc/hw/spinlock.h>
#include <karc/hw/wait.h>
#include <karc/mm/mm_types.h>
#include <karc/proc/pid.h>
#include <karc/refcount/arc.h>
#include <sys/types.h>

struct completion;
struct files_struct;
struct fs_struct;
struct sighand_struct;
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
#define PF_FORKNOEXEC	0x00000040	/* forked, and has not called execve yet */
#define PF_SIGNALED	0x00000400
#define PF_KTHREAD	0x00200000
#define PF_DOOMED	0x08000000	/* somebody else runs its end, see signal.c */

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
	struct mm_struct *mm;		/* one mm_users reference, or NULL; task_lock() */
	struct mm_struct *active_mm;	/* == mm, or lazily borrowed: one mm_count reference */
	struct files_struct *files;	/* owned; alloc_lock for others */
	struct fs_struct *fs;		/* owned; alloc_lock for others */
	struct signal_struct *signal;	/* owned, shared by the thread group */
	struct sighand_struct *sighand;	/* owned, shared by it at least; tasklist and own lock */
	struct task_struct *real_parent;	/* owned; tasklist lock */
	struct task_struct *group_leader;	/* borrowed: leader is released last */
	struct list_head children;	/* tasklist lock; holds nothing */
	struct list_head sibling;	/* leaders only */
	struct list_head tasks;		/* leaders: every process of the machine; tasklist lock */
	struct list_head thread_node;	/* signal->threads; tasklist lock and siglock */
	struct fiber *fiber;		/* while in the kernel; wake_lock for others */
	unsigned int in_call;		/* enum task_where, atomic: who may run it */
	unsigned int cpu;		/* where its calls run; migrate_task_to() */
	bool on_cpu;			/* it is the current task of a CPU */
	bool no_new_privs;
	bool vfork_pending;		/* vfork child that has its parent's memory; alloc_lock */
	char comm[TASK_COMM_LEN];	/* alloc_lock for others */
	spinlock_t alloc_lock;		/* task_lock(): mm, files, fs, comm, vfork_* */
	spinlock_t wake_lock;		/* fiber, against those who wake it */
	u64 pending;			/* signals sent to this thread, bit signo - 1; siglock */
	struct list_head doomed_node;	/* waits for somebody to run its end; doomed_lock */
	struct completion *vfork_done;	/* the parent of a vfork waits on it; alloc_lock */
	int __user *set_child_tid;	/* CLONE_CHILD_SETTID, until its first run */
	int __user *clear_child_tid;	/* CLONE_CHILD_CLEARTID, set_tid_address() */
	unsigned int personality;
	int pdeath_signal;		/* PR_SET_PDEATHSIG; tasklist lock */
	u32 parent_exec_id, self_exec_id;	/* an exec in between turns exit_signal to SIGCHLD */
	struct {
		unsigned long fsbase, gsbase;	/* arch_prctl(), CLONE_SETTLS */
		unsigned long stack;		/* top of the stack given to clone, or 0 */
	} thread;
	struct {			/* the fatal fault that ended it, for reports */
		int signo, code;
		unsigned long addr;
	} fault;
	void *user;			/* for the harness that drives it */
};

/* task->in_call: exactly one party runs a task's code, and this word says who. */
enum task_where {
	TASK_IN_USER,		/* nobody: between two calls */
	TASK_IN_CALL,		/* a task_call() */
	TASK_IN_DEATH,		/* whoever killed it runs its end */
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
struct task_struct *get_task_struct_site(struct task_struct *task, const struct site *site);
struct task_struct *(get_task_struct)(struct task_struct *task);
void put_task_struct_site(KARC_TAKES struct task_struct *task, const struct site *site);
void (put_task_struct)(KARC_TAKES struct task_struct *task);
#define put_task_struct(task) put_task_struct_site((task), SITE())

#ifdef __clang_analyzer__
KARC_RETAINS(task_struct);
#define get_task_struct(ptr) ((struct task_struct *)KARC_RETAIN(task_struct, ptr))
#define get_task_struct_site(ptr, site) get_task_struct(ptr)
#else
#define get_task_struct(task) get_task_struct_site((task), SITE())
#endif

/* Protects what others may look at: mm, files, fs, comm, vfork_done. Never across a sleep. */
static inline void task_lock(struct task_struct *task)
{
	spin_lock(&task->alloc_lock);
}

static inline void task_unlock(struct task_struct *task)
{
	spin_unlock(&task->alloc_lock);
}

static inline bool thread_group_leader(const struct task_struct *task)
{
	return READ_ONCE(task->exit_signal) >= 0;
}

static inline bool same_thread_group(const struct task_struct *a, const struct task_struct *b)
{
	return a->signal == b->signal;
}

/* No other thread is left. Context: tasklist lock, or the caller is the last one anyway. */
bool thread_group_empty(const struct task_struct *task);

/* Its address space, with one user more, or NULL (kernel task, or past exit_mm). Context: any. */
KARC_MUST_CHECK KARC_GIVES struct mm_struct *get_task_mm_site(struct task_struct *task,
							       const struct site *site);
KARC_MUST_CHECK KARC_GIVES struct mm_struct *(get_task_mm)(struct task_struct *task);
#define get_task_mm(task) get_task_mm_site((task), SITE())

/**
 * task_call - run fn(arg) as @task in kernel mode on its CPU, to its end
 * @task: borrowed; alive, and not inside another call (both a BUG)
 *
 * A call that ends in do_exit() comes back as MACHINE_EXITED with the exit code. One that ends in a
 * BUG or Oops comes back as that; the task has then been killed as in Linux, by SIGSEGV after a BUG
 * and by SIGKILL after an Oops, and its parent told. A task that another one has killed is no BUG:
 * its call comes back as MACHINE_EXITED with its exit code, after its end; @fn did not run. A kill
 * that arrives during the call ends the task when @fn returns, or its sleep if it may be killed.
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

/*
 * Is it past its end? False for a zombie leader whose other threads go on. A dead task's exit_code
 * is final. Context: any.
 */
static inline bool task_is_dead(const struct task_struct *task)
{
	return smp_load_acquire(&task->state) == TASK_DEAD;
}

/* The task with this pid. Gives a reference, or NULL. Context: any. */
KARC_MUST_CHECK KARC_GIVES struct task_struct *find_get_task_site(pid_t nr,
								   const struct site *site);
KARC_MUST_CHECK KARC_GIVES struct task_struct *(find_get_task_by_vpid)(pid_t nr);
#define find_get_task_by_vpid(nr) find_get_task_site((nr), SITE())

/* At most TASK_COMM_LEN - 1 bytes are kept. Context: the task itself, or nobody runs it. */
void set_task_comm(struct task_struct *task, const char *comm);

extern const struct room proc_room;

/* On a variable: __free(put_task); see base/cleanup.h. */
DEFINE_FREE(put_task, struct task_struct *, if (_T) put_task_struct(_T))

#endif
