/* SPDX-License-Identifier: MIT */
/*
 * internal.h - state of the proc room and what its files share
 */
#ifndef KARC_SRC_PROC_INTERNAL_H
#define KARC_SRC_PROC_INTERNAL_H

#include <karc/base/xarray.h>
#include <karc/hw/cpu.h>
#include <karc/hw/spinlock.h>
#include <karc/mm/slab/slab.h>
#include <karc/proc/exec.h>
#include <karc/proc/signal.h>
#include <karc/proc/task.h>
#include <karc/refcount/holder.h>

#define FUTEX_BUCKETS	64

struct arc_graph_see;
struct arc_graph_source;
struct shm_ns;

struct futex_bucket {
	spinlock_t lock;
	struct list_head waiters;
};

/* One per machine: machine->room[ROOM_PROC]. */
struct proc_state {
	struct kmem_cache *task_cache;
	struct kmem_cache *pid_cache;
	struct kmem_cache *signal_cache;
	struct kmem_cache *sighand_cache;
	struct kmem_cache *files_cache;
	struct task_struct *idle[MACHINE_MAX_CPUS];	/* one reference each */
	struct task_struct *curr[MACHINE_MAX_CPUS];	/* borrowed; see sched.c */
	struct task_struct *init;	/* pid 1: one reference, or NULL */
	struct shm_ns *shm;		/* shm.c */

	spinlock_t tasklist_lock;	/* the tree: tasks, children, real_parent, exit_state */
	struct list_head tasks;		/* leaders */
	unsigned long nr_tasks;		/* threads */

	spinlock_t pid_lock;		/* the table: pids, last_pid, pid->task, pid->nr_uses */
	struct xarray pids;		/* number -> struct pid, owns nothing */
	pid_t last_pid;
	unsigned long nr_pids;

	spinlock_t doomed_lock;
	struct list_head doomed;	/* task_struct.doomed_node, one reference each */

	struct futex_bucket futex[FUTEX_BUCKETS];
};

static inline struct proc_state *proc_state(void)
{
	return this_room(ROOM_PROC);
}

/* pid.c */
KARC_MUST_CHECK int pid_types_register(struct proc_state *p);
void pid_attach(struct pid *pid, struct task_struct *task);
void pid_detach(struct pid *pid);	/* from its task; the number may be free again */
void pid_use(struct pid *pid);		/* a group or session has the number too */
void pid_unuse(struct pid *pid);
void pid_exchange(struct task_struct *a, struct task_struct *b);	/* they swap numbers */
void pid_check(struct proc_state *p, struct check_report *report);

/* Who holds a task besides fields, by name. */
#define TASK_HELD_BY_PID	"pid table"
#define TASK_HELD_BY_CPU	"CPU"
#define TASK_HELD_AS_INIT	"init of the machine"
#define TASK_HELD_DOOMED	"tasks to be ended"

/* The references on its parts are the task's fields' from here on. */
void task_hand_parts(struct task_struct *task);

/* task.c: task_link() keeps the task's first reference, "may be on a CPU", and adds "by pid". */
KARC_MUST_CHECK int task_types_register(struct proc_state *p);
KARC_MUST_CHECK KARC_GIVES struct task_struct *task_alloc(const char *comm,
							   const struct site *site);
/* -EINTR: @creator's group is ending; the first reference is gone then. */
KARC_MUST_CHECK int task_link(KARC_TAKES struct task_struct *task, struct task_struct *creator,
			      u64 clone_flags);
void task_check(struct proc_state *p, struct check_report *report);
/* Out of the list of threads and, for leaders, of group and session; tasklist lock held. */
void task_unlink_locked(struct proc_state *p, struct task_struct *task);
/* End @task, which the caller took to TASK_IN_DEATH, on the running fiber. May sleep. */
void task_end_here(KARC_TAKES struct task_struct *task);

extern const struct holder_tasks proc_holder_tasks;

/* shm.c */
KARC_MUST_CHECK int shm_init(struct proc_state *p);
void shm_exit(struct proc_state *p);
void shm_check(struct proc_state *p, struct check_report *report);
void shm_visit(struct proc_state *p, struct arc_graph_see *see);	/* what the table holds */

/* files.c */
struct arc *files_arc(struct files_struct *files);
KARC_MUST_CHECK int files_types_register(struct proc_state *p);

/* fs.c */
KARC_MUST_CHECK int fs_types_register(struct proc_state *p);

/* group.c; both with the tasklist lock held */
void group_join(struct signal_struct *sig, enum pid_type type, struct pid *pid);
void group_leave(struct signal_struct *sig, enum pid_type type);
void group_check(struct task_struct *leader, struct check_report *report);

/* signal.c */
KARC_MUST_CHECK int signal_types_register(struct proc_state *p);
/* What a child begins with: limits and settings of @from (NULL: the defaults), or its handlers. */
void signal_inherit(struct signal_struct *sig, struct signal_struct *from);
void sighand_inherit(struct sighand_struct *sighand, struct sighand_struct *from, bool clear);
/* Handlers go back to their default; what is ignored stays so. */
void sighand_flush(struct sighand_struct *sighand);
/* The group ends with this code from here on; siglock held, and it does not end yet. */
void group_exit_set_locked(struct signal_struct *sig, int code);
/* To the group of @task, siglock held; the caller runs doomed_run() when it holds no lock. */
int send_signal_locked(struct task_struct *task, int signo, bool group);
int send_signal(struct task_struct *task, int signo, bool group);	/* the same, takes siglock */
/* Every other thread of the group is to end: how many there are. siglock held. */
int zap_other_threads_locked(struct task_struct *task);
/* Run the ends of those that were killed in user mode. May sleep, no lock held. */
void doomed_run(void);
/* Before current goes back to user mode: it dies of what is pending, or consumes it. */
void exit_to_user(struct task_struct *task);

/* exit.c */
/* What do_exit() does, up to the last switch. */
void exit_parts(struct task_struct *task, long code);
/* Tell the parent that @task ended; tasklist lock held. True: nobody will wait for it. */
bool do_notify_parent_locked(struct task_struct *task, int signo);
/* The program's memory is no longer @task's: vfork's parent and the thread's joiner are told. */
void mm_release(struct task_struct *task, struct mm_struct *mm);
/* The code that a parent is told. */
int task_wait_status(struct task_struct *task);

/* de_thread.c: of @task's group only @task is left, as its leader. -EAGAIN: the group is ending. */
KARC_MUST_CHECK int de_thread(struct task_struct *task);

/* exec.c */
int exec_scripts(const struct exec_image *image, u64 *args_bytes, u64 *tables_bytes);

/* futex.c */
void futex_init(struct proc_state *p);

/* graph.c */
extern const struct arc_graph_source proc_graph_source;

/* limits.c */
void rlim_defaults(struct task_rlimit *rlim);

/* sched.c */
void sched_init(struct machine *m);
void sched_enter_task(struct task_struct *task);	/* the running fiber becomes @task's */
void sched_leave_task(struct task_struct *task);	/* and idle's again */
void sched_put_aside(struct task_struct *task);		/* the same, but the fiber stays its */
void sched_wake_fiber(struct task_struct *task);	/* if it sleeps or runs in the kernel */
/* The current task goes on in @mm, of which it becomes a user; what it had or borrowed it puts. */
void exec_mmap(struct task_struct *task, KARC_TAKES struct mm_struct *mm);
/* Idle CPUs give up the spaces they kept loaded: how many. Context: may sleep. */
unsigned long sched_drop_lazy_mms(struct machine *m);

#endif
