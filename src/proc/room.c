/* SPDX-License-Identifier: MIT */
/*
 * room.c - the proc room comes up and goes down
 */
#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/proc/sched.h>
#include <karc/refcount/graph.h>
#include <stdio.h>
#include "internal.h"

static struct kmem_cache *struct_cache(const char *name, size_t bytes)
{
	return kmem_cache_create(name, bytes, 0, SLAB_HWCACHE_ALIGN, NULL);
}

static void caches_destroy(struct proc_state *p)
{
	kmem_cache_destroy(p->files_cache);
	kmem_cache_destroy(p->sighand_cache);
	kmem_cache_destroy(p->signal_cache);
	kmem_cache_destroy(p->pid_cache);
	kmem_cache_destroy(p->task_cache);
}

static int caches_create(struct proc_state *p)
{
	p->task_cache = struct_cache("task_struct", sizeof(struct task_struct));
	p->pid_cache = struct_cache("pid", sizeof(struct pid));
	p->signal_cache = struct_cache("signal_cache", sizeof(struct signal_struct));
	p->sighand_cache = struct_cache("sighand_cache", sizeof(struct sighand_struct));
	return p->task_cache && p->pid_cache && p->signal_cache && p->sighand_cache ? 0 : -ENOMEM;
}

/* Orphans that were never ended hold their parent, idle: the report is to name them alone. */
static void idle_forget_children(struct proc_state *p, struct task_struct *idle)
{
	struct task_struct *child, *next, *thread;
	unsigned int nr = 0;

	spin_lock(&p->tasklist_lock);
	list_for_each_entry_safe(child, next, &idle->children, sibling) {
		list_del_init(&child->sibling);
		list_for_each_entry(thread, &child->signal->threads, thread_node) {
			thread->real_parent = NULL;
			nr++;
		}
	}
	spin_unlock(&p->tasklist_lock);
	while (nr--)
		put_task_struct(idle);
}

static void idle_destroy(struct machine *m, struct proc_state *p)
{
	unsigned int cpu;

	for_each_cpu_of(m, cpu) {
		if (!p->idle[cpu])
			continue;
		idle_forget_children(p, p->idle[cpu]);
		put_task_struct(p->idle[cpu]);
		p->idle[cpu] = NULL;
	}
}

static int idle_create(struct machine *m, struct proc_state *p)
{
	char comm[TASK_COMM_LEN + 16];
	unsigned int cpu;

	for_each_cpu_of(m, cpu) {
		struct task_struct *idle;

		snprintf(comm, sizeof(comm), "swapper/%u", cpu);
		idle = task_alloc(comm, SITE());
		if (!idle)
			return -ENOMEM;
		idle->flags = PF_IDLE;
		idle->cpu = cpu;
		p->idle[cpu] = idle;
	}
	return 0;
}

static int proc_init(struct machine *m)
{
	struct proc_state *p = kzalloc(sizeof(*p), GFP_KERNEL);
	int err;

	if (!p)
		return -ENOMEM;
	machine_set_room(m, ROOM_PROC, p);
	err = caches_create(p);
	if (!err)
		err = task_types_register(p);
	if (!err)
		err = pid_types_register(p);
	if (!err)
		err = signal_types_register(p);
	if (!err)
		err = files_types_register(p);
	if (!err)
		err = fs_types_register(p);
	if (!err)
		err = shm_init(p);
	if (!err)
		err = idle_create(m, p);
	if (!err)
		err = arc_graph_source_register(&proc_graph_source);
	if (err)
		goto undo;
	futex_init(p);
	sched_init(m);
	holder_set_tasks(m, &proc_holder_tasks);
	return 0;
undo:
	idle_destroy(m, p);
	shm_exit(p);
	caches_destroy(p);
	machine_set_room(m, ROOM_PROC, NULL);
	kfree(p);
	return err;
}

static void proc_exit(struct machine *m)
{
	struct proc_state *p = machine_room(m, ROOM_PROC);

	arc_graph_source_unregister(&proc_graph_source);
	holder_set_tasks(m, NULL);
	sched_drop_lazy_mms(m);
	fiber_on_switch(m, NULL);
	idle_destroy(m, p);
	shm_exit(p);
	xa_destroy(&p->pids);
	caches_destroy(p);
	machine_set_room(m, ROOM_PROC, NULL);
	kfree(p);
}

static void proc_check(struct machine *m, struct check_report *report)
{
	struct proc_state *p = machine_room(m, ROOM_PROC);

	task_check(p, report);
	pid_check(p, report);
	shm_check(p, report);
}

const struct room proc_room = {
	.name = "proc",
	.id = ROOM_PROC,
	.init = proc_init,
	.exit = proc_exit,
	.check = proc_check,
	.drain = sched_drop_lazy_mms,
};
