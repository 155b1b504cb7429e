/* SPDX-License-Identifier: MIT */
/*
 * segv_world.c - the program whose pointers go wild: code, data, heap, stack, a mapped file and a
 * second thread; made by exec and system calls, as a real one is
 */
#include "segv.h"
#include <karc/harness/guest.h>
#include <karc/hw/tlb.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/vma.h>
#include <karc/proc/exec.h>
#include <karc/proc/exit.h>
#include <karc/proc/fork.h>
#include <karc/proc/sched.h>
#include <karc/proc/syscall.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#define THREAD_STACK_PAGES	8UL
#define ARENA_PAGES		4UL
#define HEAP_PAGES		33UL

static const unsigned long demo_bytes = 0x5000;
static const unsigned long notes_bytes = PAGE_SIZE + PAGE_SIZE / 2;

static const struct exec_segment demo_segments[] = {	/* offset, vaddr, file, memory, align, rwx */
	{ 0x0000, 0x400000, 0x1000, 0x1000, PAGE_SIZE, 4 },
	{ 0x1000, 0x401000, 0x1000, 0x1000, PAGE_SIZE, 5 },
	{ 0x2000, 0x402000, 0x1000, 0x1000, PAGE_SIZE, 4 },
	{ 0x3000, 0x403000, 0x2000, 0x2000, PAGE_SIZE, 6 },
};

/* As far as the file goes; @kaddr is all zero. */
static int fill_letters(void *priv, pgoff_t index, void *kaddr)
{
	const unsigned long *file_bytes = priv;

	memset(kaddr, 'a' + (int)(index % 26), min(*file_bytes - index * PAGE_SIZE, PAGE_SIZE));
	return 0;
}

static const struct memfile_ops letters = { .fill = fill_letters };

static struct file *letters_create(const char *name, const unsigned long *bytes)
{
	return memfile_create(name, (loff_t)*bytes, 0755, &letters, (void *)(unsigned long)bytes);
}

struct call {
	long (*fn)(struct call *c);
	unsigned long a[4];
	struct file *file;
};

static long call_entry(void *arg)
{
	struct call *c = arg;

	return c->fn(c);
}

/* A system call of @task that has to work. */
static long must(struct segv_world *w, struct task_struct *task, struct call *c)
{
	struct machine_result r = { .end = MACHINE_VALUE, .value = -ESRCH };

	if (task)
		r = task_call(task, call_entry, c);
	if (r.end != MACHINE_VALUE || r.value < 0) {
		w->failed = true;
		return -EFAULT;
	}
	return r.value;
}

static long do_exec(struct call *c)
{
	const struct exec_elf elf = { .file = c->file, .gnu_stack = 6, .nr_segments = 4,
				      .segments = demo_segments };
	const struct exec_image image = { .program = &elf, .args_bytes = 512, .tables_bytes = 512,
					  .comm = "demo" };

	return kernel_execve_image(&image);
}

static long do_brk_up(struct call *c)
{
	long start = sys_brk(0);

	return sys_brk((unsigned long)start + c->a[0]) == start ? -ENOMEM : start;
}

static long do_map_file(struct call *c)
{
	return sys_mmap(0, c->a[0], c->a[1], MAP_SHARED, (int)c->a[2], 0);
}

static long do_map_anon(struct call *c)
{
	unsigned long fixed = c->a[0] ? MAP_FIXED_NOREPLACE : 0;

	return sys_mmap(c->a[0], c->a[1], c->a[2], MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
}

static long do_protect(struct call *c)
{
	return sys_mprotect(c->a[0], c->a[1], c->a[2]);
}

static long do_unmap(struct call *c)
{
	return sys_munmap(c->a[0], c->a[1]);
}

static long do_discard(struct call *c)
{
	return sys_madvise(c->a[0], c->a[1], MADV_DONTNEED);
}

static long do_clone(struct call *c)
{
	const struct kernel_clone_args args = {
		.flags = c->a[0], .exit_signal = (int)c->a[1], .stack = c->a[2],
		.stack_size = c->a[3],
	};

	return kernel_clone(&args);
}

static long do_store(struct call *c)
{
	int value = (int)c->a[1];

	return user_write(c->a[0], &value, sizeof(value));
}

static long do_load(struct call *c)
{
	return user_read(c->a[0], &c->a[1], sizeof(int));
}

void segv_store(struct segv_world *w, struct task_struct *task, unsigned long addr, int value)
{
	must(w, task, &(struct call){ .fn = do_store, .a = { addr, (unsigned long)value } });
}

int segv_load(struct segv_world *w, struct task_struct *task, unsigned long addr)
{
	struct call c = { .fn = do_load, .a = { addr, 0 } };

	must(w, task, &c);
	return (int)c.a[1];
}

static long do_nothing(struct call *c)
{
	(void)c;
	return 0;
}

void segv_run_init(struct segv_world *w)
{
	must(w, w->init, &(struct call){ .fn = do_nothing });
}

void segv_discard(struct segv_world *w, unsigned long addr)
{
	must(w, w->demo, &(struct call){ .fn = do_discard, .a = { addr, PAGE_SIZE } });
}

void segv_unmap(struct segv_world *w, struct task_struct *task, unsigned long addr)
{
	must(w, task, &(struct call){ .fn = do_unmap, .a = { addr, PAGE_SIZE } });
}

void segv_map_at(struct segv_world *w, struct task_struct *task, unsigned long addr)
{
	must(w, task, &(struct call){ .fn = do_map_anon,
				      .a = { addr, PAGE_SIZE, PROT_READ | PROT_WRITE } });
}

unsigned long segv_map_notes(struct segv_world *w, unsigned long prot)
{
	return (unsigned long)must(w, w->demo, &(struct call){ .fn = do_map_file,
				   .a = { 3 * PAGE_SIZE, prot, (unsigned long)w->notes_fd } });
}

unsigned long segv_stack_start(struct segv_world *w)
{
	struct vm_area_struct *vma;
	unsigned long start = 0;

	mmap_read_lock(w->demo->mm);
	vma = vma_lookup(w->demo->mm, w->demo->mm->start_stack);
	if (vma)
		start = vma->vm_start;
	mmap_read_unlock(w->demo->mm);
	w->failed |= !vma;
	return start;
}

bool segv_tlb_holds(struct segv_world *w, struct task_struct *task, unsigned long addr)
{
	return task && tlb_holds(machine_cpu(w->stage->m, task->cpu), addr, false);
}

const char *segv_owner(const struct segv_world *w, unsigned long addr)
{
	if (addr >= w->arena && addr < w->arena + ARENA_PAGES * PAGE_SIZE)
		return "2nd heap";
	if (addr >= w->thread_stack - PAGE_SIZE && addr < w->thread_stack)
		return "2nd guard";
	if (addr >= w->thread_stack && addr < w->thread_stack + THREAD_STACK_PAGES * PAGE_SIZE)
		return "2nd stack";
	return NULL;
}

/* A new task of @parent's on CPU @cpu, or as near as there is one. Gives a reference, or NULL. */
static struct task_struct *start(struct segv_world *w, struct task_struct *parent, u64 flags,
				 unsigned long stack, unsigned int cpu)
{
	struct call c = {
		.fn = do_clone,
		.a = { flags, flags & CLONE_THREAD ? 0 : SIGCHLD, stack,
		       stack ? THREAD_STACK_PAGES * PAGE_SIZE : 0 },
	};
	long pid = must(w, parent, &c);
	struct task_struct *task = pid > 0 ? find_get_task_by_vpid((pid_t)pid) : NULL;

	if (!task || migrate_task_to(task, cpu % machine_nr_cpus(w->stage->m)))
		w->failed = true;
	return task;
}

static void finish(struct segv_world *w, struct task_struct *parent, struct task_struct **task)
{
	int status;

	if (!*task)
		return;
	guest_exit(*task, 0);
	if (guest_wait(parent, (*task)->pid, &status) != (*task)->pid)
		w->failed = true;
	put_task_struct(*task);
	*task = NULL;
}

void segv_fork_child(struct segv_world *w)
{
	w->child = start(w, w->demo, 0, 0, 2);
}

void segv_end_child(struct segv_world *w)
{
	finish(w, w->demo, &w->child);
}

void segv_start_other(struct segv_world *w)
{
	w->other = start(w, w->init, 0, 0, 3);
}

/* A second thread as a C library makes it: a mapped stack with a guard page below. */
static void start_thread(struct segv_world *w)
{
	long low;

	low = must(w, w->demo, &(struct call){ .fn = do_map_anon,
		   .a = { 0, (THREAD_STACK_PAGES + 1) * PAGE_SIZE, PROT_NONE } });
	w->thread_stack = (unsigned long)low + PAGE_SIZE;
	must(w, w->demo, &(struct call){ .fn = do_protect,
	     .a = { w->thread_stack, THREAD_STACK_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE } });
	w->arena = (unsigned long)must(w, w->demo, &(struct call){ .fn = do_map_anon,
				       .a = { 0, ARENA_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE } });
	w->thread = start(w, w->demo, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
			  CLONE_THREAD, w->thread_stack, 1);
}

static void furnish(struct segv_world *w, struct file *program, struct file *notes)
{
	must(w, w->demo, &(struct call){ .fn = do_exec, .file = program });
	w->code = demo_segments[1].vaddr;
	w->data = demo_segments[3].vaddr;
	w->heap = (unsigned long)must(w, w->demo, &(struct call){ .fn = do_brk_up,
				      .a = { HEAP_PAGES * PAGE_SIZE } });
	w->notes_fd = (int)guest_install(w->demo, get_file(notes));
	w->notes = segv_map_notes(w, PROT_READ);
	start_thread(w);
}

bool segv_world_make(struct segv_world *w, struct stage *stage, struct task_struct *init)
{
	struct file *program = letters_create("/bin/demo", &demo_bytes);
	struct file *notes = letters_create("/tmp/notes", &notes_bytes);

	*w = (struct segv_world){ .stage = stage, .init = init };
	if (IS_ERR(program) || IS_ERR(notes)) {
		w->failed = true;
	} else {
		w->demo = start(w, init, 0, 0, 0);
		if (w->demo)
			furnish(w, program, notes);
	}
	w->user = w->demo;
	if (!IS_ERR(program))
		fput(program);
	if (!IS_ERR(notes))
		fput(notes);
	return !w->failed;
}

/* The end of demo's group is the thread's end too. */
void segv_world_end(struct segv_world *w)
{
	finish(w, w->demo, &w->child);
	finish(w, w->init, &w->other);
	finish(w, w->init, &w->demo);
	if (w->thread)
		put_task_struct(w->thread);
}
