/* SPDX-License-Identifier: MIT */
/*
 * graph.c - what the machine itself holds of processes, in the ownership graph
 *
 * Three references on a task are no field of any object: "visible by pid" from task_link() to
 * release_task(), "may be on a CPU" from its birth to the last switch away from it, and that of
 * the list of tasks whose end somebody must run. The rest is in the field tables.
 */
#include <karc/refcount/graph.h>
#include "internal.h"

/* Its last switch is still to come, or is not finished. */
static bool may_be_on_cpu(const struct task_struct *task)
{
	return READ_ONCE(task->state) != TASK_DEAD || task->on_cpu;
}

static void see_group(struct arc_graph_see *see, struct task_struct *leader)
{
	struct task_struct *task;

	list_for_each_entry(task, &leader->signal->threads, thread_node) {
		arc_graph_see_root(see, &task->arc, "pid table");
		if (may_be_on_cpu(task))
			arc_graph_see_root(see, &task->arc, "CPU %u", task->cpu);
	}
}

/* Idle tasks, and those released before their last switch. */
static void see_cpu(struct arc_graph_see *see, struct proc_state *p, unsigned int cpu)
{
	struct task_struct *curr = p->curr[cpu];

	arc_graph_see_root(see, &p->idle[cpu]->arc, "CPU %u", cpu);
	if (curr != p->idle[cpu] && list_empty(&curr->thread_node))
		arc_graph_see_root(see, &curr->arc, "CPU %u", cpu);
}

static void proc_visit(struct machine *m, struct arc_graph_see *see)
{
	struct proc_state *p = machine_room(m, ROOM_PROC);
	struct task_struct *task;
	unsigned int cpu;

	for_each_cpu_of(m, cpu)
		see_cpu(see, p, cpu);
	list_for_each_entry(task, &p->tasks, tasks)
		see_group(see, task);
	list_for_each_entry(task, &p->doomed, doomed_node)
		arc_graph_see_root(see, &task->arc, "tasks to be ended");
	if (p->init)
		arc_graph_see_root(see, &p->init->arc, "init of the machine");
	shm_visit(p, see);
}

const struct arc_graph_source proc_graph_source = {
	.name = "proc",
	.ops = { .visit = proc_visit },
};
