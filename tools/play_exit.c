/* SPDX-License-Identifier: MIT */
/*
 * play_exit.c - the road of death, and the same road with one mmput missing
 */
#include "scenario.h"
#include <karc/base/err.h>
#include <karc/harness/guest.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/pid.h>
#include <sys/mman.h>

/* A process with some anonymous memory, a mapped file and a break, as little as shows it all. */
static void furnish(struct stage *s, struct task_struct *task)
{
	struct file *file = memfile_create("/lib/libdemo.so", 4 * PAGE_SIZE, 0755, NULL, NULL);
	long heap, text, fd;
	char byte = 1;
	int i;

	stage_expect(s, !IS_ERR(file), "a file of four pages");
	if (IS_ERR(file))
		return;
	fd = guest_install(task, file);
	heap = guest_mmap(task, 0, 64 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1);
	text = guest_mmap(task, 0, 4 * PAGE_SIZE, PROT_READ, MAP_PRIVATE, (int)fd);
	stage_expect(s, heap > 0 && text > 0, "heap of 64 pages at 0x%lx, file at 0x%lx", heap,
		     text);
	for (i = 0; i < 3; i++)
		guest_write(task, (unsigned long)heap + i * 8 * PAGE_SIZE, &byte, 1);
	guest_read(task, (unsigned long)text, &byte, 1);
}

static void say_counts(struct stage *s, const struct mm_struct *mm)
{
	stage_say(s, "mm %llu: mm_users %u, mm_count %u, %d mappings, %lu pages resident, "
		  "%ld bytes of page tables", (unsigned long long)mm->id, mm_users(mm),
		  mm_count(mm), mm->map_count, mm_rss(mm), atomic_long_read(&mm->pgtables_bytes));
}

static struct task_struct *start_child(struct stage *s, struct task_struct *init)
{
	struct task_struct *child;
	long pid = guest_fork(init);

	child = pid > 0 ? find_get_task_by_vpid((pid_t)pid) : NULL;
	stage_expect(s, child != NULL, "init forks pid %ld", pid);
	return child;
}

/* ---- who borrows: the story itself, or a process that will forget it ---- */

static long borrow_entry(void *mm)
{
	mmget(mm);
	return 0;
}

static struct task_struct *start_debugger(struct stage *s, struct task_struct *init)
{
	struct task_struct *debugger;

	stage_listen(s, false);
	debugger = start_child(s, init);
	if (debugger)
		set_task_comm(debugger, "debugger");
	stage_listen(s, true);
	return debugger;
}

static void borrow(struct task_struct *debugger, struct mm_struct *mm)
{
	if (debugger)
		task_call(debugger, borrow_entry, mm);
	else
		mmget(mm);
}

static void end_debugger(struct stage *s, struct task_struct *init, struct task_struct *debugger)
{
	stage_listen(s, false);		/* what follows is as in the exit story */
	guest_exit(debugger, 0);
	guest_wait(init, debugger->pid, NULL);
	put_task_struct(debugger);
	stage_say(s, "one user is left and will never leave: the address space stays whole");
}

/*
 * Fork a child, let somebody borrow its mm (as a debugger or /proc would), and let it exit. The
 * borrower gives the mm back only if @polite.
 */
static void live_and_die(struct stage *s, bool polite)
{
	struct task_struct *init = task_create_init("init");
	struct task_struct *child, *debugger = NULL;
	struct mm_struct *borrowed;
	int status = -1;
	long waited;

	stage_expect(s, !IS_ERR(init), "init is there");
	if (IS_ERR(init))
		return;
	stage_head(s, "A child is born and gets some memory");
	child = start_child(s, init);
	if (!child)
		goto out;
	stage_listen(s, false);		/* the story is the end, not the beginning */
	set_task_comm(child, "child");
	furnish(s, child);
	stage_listen(s, true);
	say_counts(s, child->mm);

	stage_head(s, "Somebody borrows its address space: mmget()");
	borrowed = child->mm;
	if (!polite)
		debugger = start_debugger(s, init);
	borrow(debugger, borrowed);
	mmgrab(borrowed);		/* so that the counts can be shown to the end */
	say_counts(s, borrowed);

	stage_head(s, "The child calls exit(7)");
	guest_exit(child, 7);
	stage_say(s, "the borrower is the last user: nothing was unmapped");
	say_counts(s, borrowed);

	if (!debugger) {
		stage_head(s, "The borrower is done: mmput(), the last user");
		mmput(borrowed);
		stage_expect(s, mm_users(borrowed) == 0 && borrowed->map_count == 0,
			     "no user, no mapping; who holds mm_count still has the struct");
		stage_say(s, "and the reference that let this story show the counts goes:");
	} else {
		stage_head(s, "The borrower forgets its mmput() and ends");
		end_debugger(s, init, debugger);
	}
	mmdrop(borrowed);

	stage_head(s, "init waits for the child");
	waited = guest_wait(init, child->pid, &status);
	stage_expect(s, waited == child->pid && status == 7 << 8, "reaped, status 0x%x",
		     (unsigned int)status);
	put_task_struct(child);
out:
	stage_head(s, "init ends too");
	guest_exit(init, 0);
	put_task_struct(init);
}

void play_exit(struct stage *s)
{
	live_and_die(s, true);
}

void play_leak(struct stage *s)
{
	live_and_die(s, false);
}
