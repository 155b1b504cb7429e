/* SPDX-License-Identifier: MIT */
/*
 * limits.c - resource limits of a process
 *
 * The limits belong to the signal_struct, that is to the process. Four of them are honoured by the
 * address space, which keeps a copy: do_prlimit() passes a change on, execve gives the new space
 * what the process has. A space that is shared with another process, a vfork parent, is its own
 * limits' keeper and is not told.
 *
 * RLIMIT_NOFILE is asked when a descriptor is made, RLIMIT_NPROC at fork; the rest is kept only.
 *
 * Unlike Linux
 *	A limit of the space lives in two places, see above. There is one user, so nobody may be
 *	refused another process's limits.
 */
#include <karc/base/err.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/signal.h>
#include <karc/proc/task.h>
#include <sys/resource.h>
#include "internal.h"

#define NOFILE_CEILING	(1UL << 20)	/* Linux's fs.nr_open */

void rlim_defaults(struct task_rlimit *rlim)
{
	unsigned int i;

	for (i = 0; i < KARC_RLIM_NLIMITS; i++)
		rlim[i] = (struct task_rlimit){ KARC_RLIM_INFINITY, KARC_RLIM_INFINITY };
	rlim[RLIMIT_STACK].cur = MM_RLIM_STACK_DEFAULT;
	rlim[RLIMIT_CORE].cur = 0;
	rlim[RLIMIT_NOFILE] = (struct task_rlimit){ 1024, 4096 };
	rlim[RLIMIT_MEMLOCK] = (struct task_rlimit){ MM_RLIM_MEMLOCK_DEFAULT,
						     MM_RLIM_MEMLOCK_DEFAULT };
	rlim[RLIMIT_MSGQUEUE] = (struct task_rlimit){ 819200, 819200 };
	rlim[RLIMIT_NICE] = (struct task_rlimit){ 0, 0 };
	rlim[RLIMIT_RTPRIO] = (struct task_rlimit){ 0, 0 };
}

unsigned long rlimit(unsigned int which)
{
	struct signal_struct *sig = current->signal;

	return sig ? READ_ONCE(sig->rlim[which].cur) : KARC_RLIM_INFINITY;
}

bool task_capable(struct task_struct *task)
{
	struct mm_struct *mm;
	bool capable = true;

	if (!task->signal)
		return true;		/* the kernel itself */
	task_lock(task);
	mm = task->mm;
	if (mm)
		capable = mm_flag_test(mm, MMF_CAPABLE);
	task_unlock(task);
	return capable && mm;
}

/* The field of @mm that follows limit @which, or NULL. */
static unsigned long *mm_limit(struct mm_struct *mm, unsigned int which)
{
	switch (which) {
	case RLIMIT_AS:
		return &mm->rlim.as;
	case RLIMIT_DATA:
		return &mm->rlim.data;
	case RLIMIT_STACK:
		return &mm->rlim.stack;
	case RLIMIT_MEMLOCK:
		return &mm->rlim.memlock;
	default:
		return NULL;
	}
}

static void tell_mm(struct task_struct *task, unsigned int which, unsigned long cur)
{
	struct mm_struct *mm = get_task_mm(task);
	unsigned long *limit;

	if (!mm)
		return;
	limit = mm_limit(mm, which);
	if (limit && mm_users(mm) - 1 <= READ_ONCE(task->signal->nr_threads)) {
		mmap_write_lock(mm);
		WRITE_ONCE(*limit, cur);
		mmap_write_unlock(mm);
	}
	mmput(mm);
}

static int prlimit_locked(struct task_rlimit *slot, const struct task_rlimit *set,
			  struct task_rlimit *old, bool may_raise)
{
	if (set && set->max > slot->max && !may_raise)
		return -EPERM;
	if (old)
		*old = *slot;
	if (set) {
		WRITE_ONCE(slot->cur, set->cur);
		WRITE_ONCE(slot->max, set->max);
	}
	return 0;
}

int do_prlimit(struct task_struct *task, unsigned int which, const struct task_rlimit *set,
	       struct task_rlimit *old)
{
	struct proc_state *p = proc_state();
	bool may_raise = task_capable(current);
	int err = -ESRCH;

	if (which >= KARC_RLIM_NLIMITS || !task->signal)
		return -EINVAL;
	if (set && set->cur > set->max)
		return -EINVAL;
	if (set && which == RLIMIT_NOFILE && set->max > NOFILE_CEILING)
		return -EPERM;
	spin_lock(&p->tasklist_lock);	/* its sighand stays */
	spin_lock(&task->sighand->siglock);
	err = prlimit_locked(&task->signal->rlim[which], set, old, may_raise);
	spin_unlock(&task->sighand->siglock);
	spin_unlock(&p->tasklist_lock);
	if (!err && set)
		tell_mm(task, which, set->cur);
	return err;
}
