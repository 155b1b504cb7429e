/* SPDX-License-Identifier: MIT */
/*
 * play_cow.c - one frame, two address spaces: its counts tell who shares it
 */
#include "scenario.h"
#include <karc/base/err.h>
#include <karc/harness/guest.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/phys/page.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/sched.h>
#include <sys/mman.h>

struct look {
	unsigned long addr;
	unsigned long pfn;
	bool writable;
	char byte;
};

static long look_entry(void *arg)
{
	struct look *l = arg;
	phys_addr_t pa;
	u32 error_code;

	if (mmu_walk(this_cpu(), l->addr, MMU_READ, true, &pa, &error_code))
		return -1;
	l->pfn = pa >> PAGE_SHIFT;
	l->writable = !mmu_walk(this_cpu(), l->addr, MMU_WRITE, true, &pa, &error_code);
	physmem_read(this_machine(), (u64)l->pfn << PAGE_SHIFT, &l->byte, 1);
	return 0;
}

static struct look look(struct stage *s, struct task_struct *task, unsigned long addr)
{
	struct look l = { .addr = addr };
	struct page *page;

	task_call(task, look_entry, &l);
	page = pfn_to_page(l.pfn);
	stage_say(s, "%-7s frame %lu '%c', entry %s; the frame: _refcount %d, mapcount %d",
		  task->comm, l.pfn, l.byte, l.writable ? "writable" : "read-only",
		  page_ref_count(page), page_mapcount(page));
	return l;
}

static void share_and_write(struct stage *s, struct task_struct *parent,
			    struct task_struct *child, unsigned long addr)
{
	struct look before, p, c;

	before = look(s, parent, addr);
	c = look(s, child, addr);
	stage_expect(s, before.pfn == c.pfn && !before.writable && !c.writable,
		     "one frame for both, writable for neither");

	stage_head(s, "The child writes 'B': a copy for itself");
	guest_write(child, addr, "B", 1);
	p = look(s, parent, addr);
	c = look(s, child, addr);
	stage_expect(s, p.pfn == before.pfn && c.pfn != p.pfn && p.byte == 'A' && c.byte == 'B',
		     "two frames, two contents");

	stage_head(s, "The parent writes 'C': nobody shares any more, no copy");
	guest_write(parent, addr, "C", 1);
	p = look(s, parent, addr);
	stage_expect(s, p.pfn == before.pfn && p.writable && p.byte == 'C',
		     "the same frame as at the beginning, writable again");
}

void play_cow(struct stage *s)
{
	struct task_struct *parent = task_create_init("parent");
	struct task_struct *child;
	int status;
	long addr, pid;

	stage_listen(s, false);		/* the story is the frames */
	stage_expect(s, !IS_ERR(parent), "a process");
	if (IS_ERR(parent))
		return;
	addr = guest_mmap(parent, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1);
	stage_head(s, "The parent writes 'A' to a page of its own");
	guest_write(parent, (unsigned long)addr, "A", 1);
	look(s, parent, (unsigned long)addr);

	stage_head(s, "It forks: both hold the frame, both read-only");
	pid = guest_fork(parent);
	child = pid > 0 ? find_get_task_by_vpid((pid_t)pid) : NULL;
	stage_expect(s, child != NULL, "fork gives pid %ld", pid);
	if (child) {
		set_task_comm(child, "child");
		if (machine_nr_cpus(s->m) > 1)	/* each CPU with a TLB of its own */
			stage_expect(s, !migrate_task_to(child, 1), "the child runs on CPU 1");
		share_and_write(s, parent, child, (unsigned long)addr);
		guest_exit(child, 0);
		guest_wait(parent, child->pid, &status);
		put_task_struct(child);
	}
	guest_exit(parent, 0);
	put_task_struct(parent);
}
