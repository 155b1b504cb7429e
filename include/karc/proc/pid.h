/* SPDX-License-Identifier: MIT */
/*
 * pid.h - process numbers: counted names for tasks
 *
 * A struct pid outlives its task as long as somebody holds it; the table that finds it by number
 * owns nothing, so lookups take a reference with arc_tryget under the table's lock. The number is
 * free again when the task has been reaped and no process group or session has it as its name.
 */
#ifndef KARC_PROC_PID_H
#define KARC_PROC_PID_H

#include <karc/base/cleanup.h>
#include <karc/base/contract.h>
#include <karc/base/list.h>
#include <karc/base/site.h>
#include <karc/refcount/arc.h>
#include <sys/types.h>

struct task_struct;

#define PID_MAX_DEFAULT	32768		/* numbers given out by themselves are below */
#define PID_MAX_LIMIT	(4 << 20)	/* numbers asked for are below */

/* What a number can stand for. */
enum pid_type {
	PIDTYPE_PID,		/* one task */
	PIDTYPE_TGID,		/* a process: the leader of a thread group */
	PIDTYPE_PGID,		/* a process group */
	PIDTYPE_SID,		/* a session */
	PIDTYPE_MAX
};

struct pid {
	struct arc arc;
	pid_t nr;
	unsigned int nr_uses;		/* task, and members of groups and session; pids lock */
	struct task_struct *task;	/* borrowed; NULL after the task was released; pids lock */
	struct list_head groups[2];	/* signal_structs of PGID, of SID; tasklist lock */
};

/**
 * alloc_pid - a new name for a task to come
 * @want: 0: the next free number after the last one given; > 0: that number
 *
 * Gives:   one reference; end it with put_pid().
 * Context: may sleep.
 * Errors:  ERR_PTR: -EAGAIN (all taken), -EEXIST, -EINVAL (no number at all), -ENOMEM.
 */
KARC_MUST_CHECK KARC_GIVES struct pid *alloc_pid_site(pid_t want, const struct site *site);
#define alloc_pid(want) alloc_pid_site(want, SITE())

/* One reference more: gives @pid. One less. NULL is ignored. Context: any. */
struct pid *get_pid_site(struct pid *pid, const struct site *site);
struct pid *(get_pid)(struct pid *pid);
void put_pid_site(KARC_TAKES struct pid *pid, const struct site *site);
void (put_pid)(KARC_TAKES struct pid *pid);
#define put_pid(pid) put_pid_site((pid), SITE())

#ifdef __clang_analyzer__
KARC_RETAINS(pid);
#define get_pid(ptr) ((struct pid *)KARC_RETAIN(pid, ptr))
#define get_pid_site(ptr, site) get_pid(ptr)
#else
#define get_pid(pid) get_pid_site((pid), SITE())
#endif

/* The pid in use with this number. Gives a reference, or NULL. Context: any. */
KARC_MUST_CHECK KARC_GIVES struct pid *find_get_pid_site(pid_t nr, const struct site *site);
KARC_MUST_CHECK KARC_GIVES struct pid *(find_get_pid)(pid_t nr);
#define find_get_pid(nr) find_get_pid_site((nr), SITE())

static inline pid_t pid_nr(const struct pid *pid)
{
	return pid ? pid->nr : 0;
}

/* On a variable: __free(put_pid); see base/cleanup.h. */
DEFINE_FREE(put_pid, struct pid *, if (_T) put_pid(_T))

#endif
