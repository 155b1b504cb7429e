/* SPDX-License-Identifier: MIT */
/*
 * replay_touch.c - loads and stores that the program may have made
 *
 * What it is
 *	A recording knows the calls, not the accesses in between. --touch some|all makes them up:
 *	after each call that gives memory, pages of it are written where the mapping allows it and
 *	read otherwise. What a read of a file page must show is known, so it is checked.
 *
 *	The accesses belong between two calls of a task. When another task's line comes before its
 *	next one, and there is more than one CPU, they are made by the task on its CPU while the
 *	others go on: fork, mapping and unmapping elsewhere, and other tasks' accesses happen at the
 *	same time. Who goes on waits first if what it does could make them fail: a change of the
 *	same range, of a file's size, an end.
 *
 * Objects
 *	A task's accesses are one range, made later, now, or aside by a fiber that calls the task;
 *	replay.touching lists the tasks that have such a fiber.
 *
 * Invariants
 *	I1  a task that is touching aside runs nothing else: its next line waits for it
 *	I2  which pages --touch some takes depends on seed and line, not on who is faster
 */
#include "replay.h"
#include <karc/mm/space/mm.h>
#include <karc/mm/space/vma.h>
#include <karc/proc/syscall.h>
#include <inttypes.h>
#include <string.h>

bool replay_touch_parse(const char *who, const char *text, enum replay_touch *touch)
{
	static const char *const names[] = { "none", "some", "all" };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		if (!strcmp(text, names[i])) {
			*touch = (enum replay_touch)i;
			return true;
		}
	}
	fprintf(stderr, "%s: --touch: '%s' is not none, some or all\n", who, text);
	return false;
}

struct span {
	unsigned long start, end;
	vm_flags_t flags;
	uint32_t file;			/* whose contents are known, 0 = none */
	pgoff_t pgoff;			/* of start */
};

static void file_span(const struct replay *r, const struct vm_area_struct *vma, struct span *s,
		      unsigned long *to)
{
	uint32_t id = replay_file_id(vma->vm_file);
	u64 last = ((u64)file_inode(vma->vm_file)->i_size + PAGE_SIZE - 1) >> PAGE_SHIFT;
	u64 room = last > s->pgoff ? last - s->pgoff : 0;

	if (room < (*to - s->start) >> PAGE_SHIFT)
		*to = s->start + (room << PAGE_SHIFT);
	if (id <= r->info->nr_files && r->patterned[id])
		s->file = id;
}

/* The next piece of [start, end) that can be touched; false when there is none. */
static bool next_span(const struct replay *r, unsigned long start, unsigned long end,
		      struct span *s)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	bool found = false;

	mmap_read_lock(mm);
	for (vma = find_vma(mm, start); vma && vma->vm_start < end; vma = vma_next(vma)) {
		unsigned long to = min(vma->vm_end, end);

		s->start = max(vma->vm_start, start);
		s->pgoff = vma->vm_pgoff + ((s->start - vma->vm_start) >> PAGE_SHIFT);
		s->flags = vma->vm_flags;
		s->file = 0;
		if (vma->vm_file && vma->vm_ops)
			file_span(r, vma, s, &to);
		else if (vma->vm_ops)
			continue;	/* [vvar] and its like: nobody knows what is behind */
		if (!(s->flags & (VM_READ | VM_WRITE)) || to <= s->start)
			continue;
		s->end = to;
		found = true;
		break;
	}
	mmap_read_unlock(mm);
	return found;
}

/* 0, or what is wrong. */
static const char *touch_page(const struct span *s, unsigned long addr)
{
	uint64_t word = addr ^ (uint64_t)current->pid << 48;
	uint64_t want = replay_page_word(s->file, s->pgoff + ((addr - s->start) >> PAGE_SHIFT));

	if (s->flags & VM_WRITE)
		return user_write(addr + 8, &word, sizeof(word)) ? "cannot be written" : NULL;
	if (user_read(addr, &word, sizeof(word)))
		return "cannot be read";
	return s->file && word != want ? "shows the contents of another page" : NULL;
}

static uint64_t touch_span(struct replay *r, struct replay_task *t, const struct span *s,
			   struct rnd *rnd)
{
	uint64_t nr = 0;
	unsigned long addr;

	for (addr = s->start; addr < s->end && !t->touch_what; addr += PAGE_SIZE) {
		if (r->opt.touch == TOUCH_SOME && rnd_below(rnd, 4))
			continue;
		nr++;
		t->touch_what = touch_page(s, addr);
		t->touch_where = addr;
	}
	return nr;
}

/* As the task. What goes wrong is kept in @t: others may be running. */
static void touch(struct replay *r, struct replay_task *t)
{
	unsigned long start = t->touch_start, room = r->free_at_boot / 4;
	uint64_t nr = 0, skipped = 0;
	struct rnd rnd;
	struct span s;

	rnd_seed(&rnd, r->opt.machine.seed ^ t->touch_line * 0x9e3779b97f4a7c15ULL);	/* I2 */
	while (!t->touch_what && next_span(r, start, t->touch_end, &s)) {
		start = s.end;
		if ((s.end - s.start) >> PAGE_SHIFT > room)
			skipped += (s.end - s.start) >> PAGE_SHIFT;
		else
			nr += touch_span(r, t, &s, &rnd);
	}
	t->touch_start = t->touch_end = 0;
	__atomic_fetch_add(&r->n.touched, nr, __ATOMIC_RELAXED);
	__atomic_fetch_add(&r->n.touch_skipped, skipped, __ATOMIC_RELAXED);
}

/* With the loop: tell what went wrong. */
static bool touched_well(struct replay *r, struct replay_task *t)
{
	if (!t->touch_what)
		return true;
	replay_stop(r, t->touch_line, false, "task %u: its memory at 0x%lx %s (signal %d)", t->pid,
		    t->touch_where, t->touch_what, t->task->fault.signo);
	return false;
}

void replay_touch_later(struct replay *r, struct replay_task *t, unsigned long start,
			unsigned long end)
{
	if (r->opt.touch == TOUCH_NONE || t->quiet)
		return;
	t->touch_start = start;
	t->touch_end = end;
	t->touch_line = r->n.lines;
}

bool replay_touch_now(struct replay *r, struct replay_task *t)
{
	if (t->touch_start == t->touch_end)
		return true;
	touch(r, t);
	return touched_well(r, t);
}

/* ---- while others go on ------------------------------------------------------------------ */

struct touch_call {
	struct replay *r;
	struct replay_task *t;
};

static long touch_entry(void *arg)
{
	struct touch_call *call = arg;

	touch(call->r, call->t);
	return 0;
}

static long aside_entry(void *arg)
{
	struct replay_task *t = arg;
	struct touch_call call = { t->touch_of, t };
	struct machine_result res = task_call(t->task, touch_entry, &call);

	if (res.end != MACHINE_VALUE || res.value)
		t->touch_what = "ended the task that touched it";
	return 0;
}

void replay_touch_aside(struct replay *r, struct replay_task *t)
{
	if (t->touch_start == t->touch_end)
		return;
	t->touch_of = r;
	t->aside_start = t->touch_start;
	t->aside_end = t->touch_end;
	t->toucher = fiber_spawn(t->task->cpu, "touch", aside_entry, t);
	if (!t->toucher) {
		replay_stop(r, r->n.lines, false, "no memory on the host");
		return;
	}
	r->n.touched_aside++;
	list_add_tail(&t->touch_node, &r->touching);
}

void replay_touch_wait(struct replay *r, struct replay_task *t)
{
	if (!t->toucher)
		return;
	fiber_join(t->toucher, NULL);
	t->toucher = NULL;
	list_del_init(&t->touch_node);
	touched_well(r, t);
}

void replay_touch_wait_range(struct replay *r, struct replay_task *t, struct replay_range range)
{
	struct replay_task *other, *next;

	list_for_each_entry_safe(other, next, &r->touching, touch_node) {
		struct replay_range aside = { other->aside_start, other->aside_end };

		if (other->task->mm == t->task->mm && replay_overlap(range, aside))
			replay_touch_wait(r, other);
	}
}

void replay_touch_wait_all(struct replay *r)
{
	struct replay_task *other, *next;

	list_for_each_entry_safe(other, next, &r->touching, touch_node)
		replay_touch_wait(r, other);
}
