/* SPDX-License-Identifier: MIT */
/*
 * kthread.h - as much of kernel threads as the referee's modules use, over fibers
 *
 * The library itself has no kernel threads yet. A struct task_struct here is a handle of the
 * thread's fiber and nothing else.
 */
#ifndef KARC_REFEREE_KTHREAD_H
#define KARC_REFEREE_KTHREAD_H

#include <linux/err.h>
#include <linux/sched.h>
#include <linux/slab.h>

struct referee_thread {
	struct fiber *fiber;
	int (*fn)(void *arg);
	void *arg;
	bool stop;
};

static long referee_thread_main(void *arg)
{
	struct referee_thread *t = arg;

	return t->fn(t->arg);
}

static inline struct task_struct *referee_thread_run(int (*fn)(void *arg), void *arg)
{
	struct referee_thread *t = kzalloc(sizeof(*t), GFP_KERNEL);
	unsigned int cpu;

	if (!t)
		return ERR_PTR(-ENOMEM);
	t->fn = fn;
	t->arg = arg;
	cpu = (unsigned int)machine_random(this_machine()) % machine_nr_cpus(this_machine());
	t->fiber = fiber_spawn(cpu, "kthread", referee_thread_main, t);
	if (!t->fiber) {
		kfree(t);
		return ERR_PTR(-ENOMEM);
	}
	return (struct task_struct *)t;
}

#define kthread_run(fn, arg, ...)	referee_thread_run(fn, arg)

static inline bool kthread_should_stop(void)
{
	struct referee_thread *t = fiber_self()->arg;

	return READ_ONCE(t->stop);
}

static inline int kthread_stop(struct task_struct *task)
{
	struct referee_thread *t = (struct referee_thread *)task;
	struct machine_result r;

	WRITE_ONCE(t->stop, true);
	fiber_join(t->fiber, &r);
	kfree(t);
	return (int)r.value;
}

#endif
