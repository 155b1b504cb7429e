/* SPDX-License-Identifier: MIT */
/*
 * play_crowd.c - many processes that share much: what a picture of a thousand objects is made of
 */
#include "scenario.h"
#include <karc/base/err.h>
#include <karc/harness/guest.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/pid.h>
#include <karc/proc/sched.h>
#include <karc/refcount/ledger.h>
#include <sys/mman.h>

#define NR_CHILDREN	60u
#define NR_FILES	4u

static long map_page(struct task_struct *task, unsigned long prot, unsigned long flags, int fd)
{
	return guest_mmap(task, 0, 2 * PAGE_SIZE, prot, flags, fd);
}

/* Four libraries, mapped, and some memory: what every child inherits. */
static bool furnish(struct task_struct *task)
{
	char name[] = "/lib/libx.so";
	struct file *file;
	unsigned int i;
	char byte = 1;
	long at, fd;

	for (i = 0; i < NR_FILES; i++) {
		name[8] = (char)('a' + i);
		file = memfile_create(name, 4 * PAGE_SIZE, 0755, NULL, NULL);
		if (IS_ERR(file))
			return false;
		fd = guest_install(task, file);
		at = map_page(task, PROT_READ, MAP_PRIVATE, (int)fd);
		if (fd < 0 || at < 0 || guest_read(task, (unsigned long)at, &byte, 1))
			return false;
	}
	at = map_page(task, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	return at > 0 && !guest_write(task, (unsigned long)at, &byte, 1);
}

static struct task_struct *bear(struct stage *s, struct task_struct *parent, unsigned int i)
{
	struct task_struct *child;
	char comm[TASK_COMM_LEN];
	long pid = guest_fork(parent);

	child = pid > 0 ? find_get_task_by_vpid((pid_t)pid) : NULL;
	if (!child)
		return NULL;
	snprintf(comm, sizeof(comm), "worker-%u", i);
	set_task_comm(child, comm);
	if (machine_nr_cpus(s->m) > 1 && migrate_task_to(child, i % machine_nr_cpus(s->m)))
		stage_expect(s, false, "%s moves to another CPU", comm);
	return child;
}

static void end_all(struct task_struct *init, struct task_struct **child, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		guest_exit(child[i], 0);
		guest_wait(init, child[i]->pid, NULL);
		put_task_struct(child[i]);
	}
	guest_exit(init, 0);
	put_task_struct(init);
}

/* What allocators keep for the next one is nobody's. */
static unsigned long nr_alive(struct machine *m)
{
	return ledger_live_total(m) - ledger_live_kind(m, "slab page");
}

void play_crowd(struct stage *s)
{
	struct task_struct *init = task_create_init("init"), *child[NR_CHILDREN];
	unsigned int nr;

	stage_listen(s, false);		/* the story is the crowd, not one of them */
	stage_expect(s, !IS_ERR(init), "init is there");
	if (IS_ERR(init))
		return;
	stage_head(s, "init opens and maps %u files", NR_FILES);
	stage_expect(s, furnish(init), "files and memory");

	stage_head(s, "It forks sixty times");
	for (nr = 0; nr < NR_CHILDREN; nr++) {
		child[nr] = bear(s, init, nr);
		if (!child[nr])
			break;
	}
	stage_expect(s, nr == NR_CHILDREN, "%u children", nr);
	stage_say(s, "%lu objects alive", nr_alive(s->m));

	stage_head(s, "They end one after the other");
	end_all(init, child, nr);
	stage_say(s, "%lu objects alive", nr_alive(s->m));
}
