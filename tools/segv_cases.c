/* SPDX-License-Identifier: MIT */
/*
 * segv_cases.c - the pointers: into what belongs to the program, beside it, and nowhere
 */
#include "segv.h"
#include <karc/mm/space/mm.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

/* ---- where each pointer goes, and what has happened there before ---- */

static unsigned long aim_mapped(struct segv_world *w)
{
	segv_store(w, w->demo, w->heap, SEGV_VALUE);
	segv_run_init(w);		/* another process on this CPU: its TLB begins empty */
	return w->heap;
}

static unsigned long aim_mapped_again(struct segv_world *w)
{
	segv_store(w, w->demo, w->heap, SEGV_VALUE);
	segv_load(w, w->demo, w->heap);
	return w->heap;
}

static unsigned long aim_stack(struct segv_world *w)
{
	return w->demo->mm->start_stack;
}

static unsigned long aim_thread_stack(struct segv_world *w)
{
	unsigned long addr = w->thread_stack + 2 * PAGE_SIZE;

	segv_store(w, w->thread, addr, SEGV_VALUE);
	return addr;
}

static unsigned long aim_heap(struct segv_world *w)
{
	return w->heap;
}

static unsigned long aim_heap_after_read(struct segv_world *w)
{
	segv_load(w, w->demo, w->heap);
	return w->heap;
}

static unsigned long aim_discarded(struct segv_world *w)
{
	segv_store(w, w->demo, w->heap, SEGV_VALUE);
	segv_discard(w, w->heap);
	return w->heap;
}

static unsigned long aim_arena(struct segv_world *w)
{
	return w->arena;
}

static unsigned long aim_below_stack(struct segv_world *w)
{
	return segv_stack_start(w) - 16 * PAGE_SIZE;
}

static unsigned long aim_notes(struct segv_world *w)
{
	return w->notes;
}

static unsigned long aim_file_tail(struct segv_world *w)
{
	return w->notes + PAGE_SIZE + PAGE_SIZE / 2;
}

static unsigned long aim_data(struct segv_world *w)
{
	return w->data;
}

static unsigned long aim_shared_file(struct segv_world *w)
{
	return segv_map_notes(w, PROT_READ | PROT_WRITE);
}

static unsigned long aim_shared_by_fork(struct segv_world *w)
{
	segv_store(w, w->demo, w->heap, SEGV_VALUE);
	segv_fork_child(w);
	w->user = w->child;
	w->sharer = w->heap;
	return w->heap;
}

static unsigned long aim_alone_after_fork(struct segv_world *w)
{
	segv_store(w, w->demo, w->heap, SEGV_VALUE);
	segv_fork_child(w);
	segv_end_child(w);
	return w->heap;
}

static unsigned long aim_code(struct segv_world *w)
{
	return w->code;
}

static unsigned long aim_read_notes(struct segv_world *w)
{
	segv_load(w, w->demo, w->notes);
	return w->notes;
}

static unsigned long aim_guard_page(struct segv_world *w)
{
	return w->thread_stack - 16;
}

static unsigned long aim_null(struct segv_world *w)
{
	(void)w;
	return 0;
}

static unsigned long aim_hole(struct segv_world *w)
{
	(void)w;
	return SEGV_NEVER_MAPPED;
}

static unsigned long aim_other_process(struct segv_world *w)
{
	segv_start_other(w);
	segv_map_at(w, w->other, SEGV_SOMEWHERE);
	segv_store(w, w->other, SEGV_SOMEWHERE, SEGV_VALUE);
	return SEGV_SOMEWHERE;
}

/* The thread has used the page, so its CPU knows it; then demo unmaps it on another CPU. */
static unsigned long aim_unmapped(struct segv_world *w)
{
	segv_store(w, w->thread, w->arena, SEGV_VALUE);
	w->was_held = segv_tlb_holds(w, w->thread, w->arena);
	segv_unmap(w, w->demo, w->arena);
	w->user = w->thread;
	return w->arena;
}

static unsigned long aim_over_the_edge(struct segv_world *w)
{
	segv_unmap(w, w->demo, w->arena + PAGE_SIZE);
	segv_store(w, w->demo, w->arena, SEGV_VALUE);
	return w->arena + PAGE_SIZE - 2;
}

static unsigned long aim_past_stack_limit(struct segv_world *w)
{
	return w->demo->mm->start_stack - (8UL << 20) - 64 * PAGE_SIZE;
}

/* A mapping 2 MiB below the stack; the pointer is nearer to it than the guard gap of 1 MiB. */
static unsigned long aim_stack_gap(struct segv_world *w)
{
	unsigned long start = segv_stack_start(w);

	segv_map_at(w, w->demo, start - (2UL << 20));
	return start - (2UL << 20) + (512UL << 10);
}

static unsigned long aim_past_end(struct segv_world *w)
{
	return w->notes + 2 * PAGE_SIZE;
}

static unsigned long aim_last_page(struct segv_world *w)
{
	return w->demo->mm->task_size;
}

static unsigned long aim_kernel(struct segv_world *w)
{
	(void)w;
	return 0xffff888000001000UL;	/* where Linux maps all of RAM, without randomisation */
}

static unsigned long aim_no_address(struct segv_world *w)
{
	(void)w;
	return 0xdeadbeefdeadbeefUL;
}

/* ---- the table ---- */

#define READ		.access = MMU_READ, .bytes = sizeof(int)
#define WRITE		.access = MMU_WRITE, .bytes = sizeof(int)
#define FETCH		.access = MMU_EXEC, .bytes = 1
#define MAPERR		.signo = SIGSEGV, .code = SEGV_MAPERR
#define ACCERR		.signo = SIGSEGV, .code = SEGV_ACCERR

static const struct {
	const char *group;		/* begins here */
	struct segv_case c;
} cases[] = {
	{ "A page is mapped and in the tables: no fault, the kernel never hears of it", {
		"mapped", "a heap page that was used before",
		"A wild pointer that happens to hit what is mapped is served by the hardware alone.",
		aim_mapped, READ } },
	{ NULL, {
		"mapped-again", "the same page once more",
		"The CPU remembers the translation in its TLB: not even the tables are read.",
		aim_mapped_again, READ } },
	{ NULL, {
		"stack", "the program's own stack",
		"The loader wrote arguments and environment there, so the page exists.",
		aim_stack, READ } },
	{ NULL, {
		"thread-stack", "a local variable of another thread",
		"Threads share one address space: for the hardware there is no 'other thread'.",
		aim_thread_stack, READ } },
	{ "A mapping of the program, the page not made yet: the kernel makes it, no signal", {
		"heap-read", "own heap, never touched, read",
		"Nothing was ever stored there, so one page of zeros is enough for all who read.",
		aim_heap, READ, .asked = 1 } },
	{ NULL, {
		"heap-write", "own heap, never touched, written",
		"A frame of its own, zeroed so that nobody sees what another process left in it.",
		aim_heap, WRITE, .asked = 1 } },
	{ NULL, {
		"heap-zero", "own heap, read before, now written",
		"The shared zero page must stay zero: the write gets a frame of its own.",
		aim_heap_after_read, WRITE, .asked = 1 } },
	{ NULL, {
		"heap-dropped", "own heap after madvise(MADV_DONTNEED)",
		"The mapping stayed, its page went: what was stored is gone, and nobody complains.",
		aim_discarded, READ, .asked = 1 } },
	{ NULL, {
		"thread-heap", "another thread's heap, never touched",
		"The kernel asks whether the address space has it, not which thread does.",
		aim_arena, READ, .asked = 1 } },
	{ NULL, {
		"stack-grow", "64 KiB below the stack",
		"No mapping covers it, but the next one above is a stack, and it may still grow.",
		aim_below_stack, READ, .asked = 1 } },
	{ NULL, {
		"file", "a file's page, not loaded yet",
		"The contents come when they are wanted: demand paging.",
		aim_notes, READ, .asked = 1 } },
	{ NULL, {
		"file-tail", "behind a file's last byte, same page",
		"A page is mapped whole; what the file does not fill reads as zero.",
		aim_file_tail, READ, .asked = 1 } },
	{ NULL, {
		"data-write", "a global variable, first write",
		"The page belongs to the program's file; the write gets a private copy at once.",
		aim_data, WRITE, .asked = 1 } },
	{ NULL, {
		"file-shared", "a file mapped shared, first write",
		"The page of the cache itself becomes writable: everybody who maps the file sees it.",
		aim_shared_file, WRITE, .asked = 1 } },
	{ "Write-protected since fork: copy-on-write, no signal", {
		"cow-copy", "a page shared since fork, child writes",
		"The entry says read-only, the mapping says writable: the kernel copies the frame.",
		aim_shared_by_fork, WRITE, .asked = 1 } },
	{ NULL, {
		"cow-reuse", "the same in the parent, child gone",
		"Nobody else holds the frame any more: it is made writable again, nothing is copied.",
		aim_alone_after_fork, WRITE, .asked = 1 } },
	{ "Mapped, but not for this: SEGV_ACCERR", {
		"code-write", "a write to the program's code",
		"There is a mapping, and it does not allow writing.",
		aim_code, WRITE, ACCERR, .asked = 1 } },
	{ NULL, {
		"file-write", "a write to a read-only mapping of a file",
		"The page is in the tables, read-only; the mapping decides, and it says no.",
		aim_read_notes, WRITE, ACCERR, .asked = 1 } },
	{ NULL, {
		"stack-exec", "a jump to the stack",
		"The page is there; the NX bit of its entry stops the fetch.",
		aim_stack, FETCH, ACCERR, .asked = 1 } },
	{ NULL, {
		"heap-exec", "a jump to a heap page never touched",
		"Two faults: the first makes the page, as for a read; the fetch tried again meets NX.",
		aim_heap, FETCH, ACCERR, .asked = 2 } },
	{ NULL, {
		"guard-page", "below another thread's stack (PROT_NONE)",
		"The C library put a mapping without any right there, to catch just this.",
		aim_guard_page, WRITE, ACCERR, .asked = 1 } },
	{ "Nothing is mapped there: SEGV_MAPERR", {
		"null", "NULL",
		"No mapping may begin below vm.mmap_min_addr, so this is a hole like any other.",
		aim_null, READ, MAPERR, .asked = 1 } },
	{ NULL, {
		"null-call", "a call through a NULL pointer",
		"A fetch is asked about like a read: nothing is mapped there.",
		aim_null, FETCH, MAPERR, .asked = 1 } },
	{ NULL, {
		"hole", "an address between the mappings",
		"The next mapping begins above it and is no stack.",
		aim_hole, READ, MAPERR, .asked = 1 } },
	{ NULL, {
		"other-process", "what only another process has mapped",
		"Each process has tables and mappings of its own: the same number means nothing here.",
		aim_other_process, READ, MAPERR, .asked = 1 } },
	{ NULL, {
		"unmapped", "a page that another thread has unmapped",
		"munmap() made every CPU forget the page before the frame was free again.",
		aim_unmapped, READ, MAPERR, .asked = 1 } },
	{ NULL, {
		"edge", "an int that begins in a page, ends in a hole",
		"si_addr is the first byte that could not be read, not the pointer.",
		aim_over_the_edge, READ, MAPERR, .asked = 1 } },
	{ NULL, {
		"stack-limit", "further below the stack than RLIMIT_STACK",
		"The next mapping above is a stack; the limit is what stops it.",
		aim_past_stack_limit, READ, MAPERR, .asked = 1 } },
	{ NULL, {
		"stack-gap", "below the stack, close to another mapping",
		"Within the limit; but a stack keeps 1 MiB away from what lies below.",
		aim_stack_gap, READ, MAPERR, .asked = 1 } },
	{ "Mapped, but there is no such page: SIGBUS", {
		"file-end", "a page past the end of a file",
		"A mapping may be longer than its file; what is missing can not be loaded.",
		aim_past_end, READ, .signo = SIGBUS, .code = BUS_ADRERR, .asked = 1 } },
	{ "Not an address of the user's", {
		"last-page", "just behind the last page a program may map",
		"The user's part ends one page early; its last address is never mapped.",
		aim_last_page, READ, MAPERR, .asked = 1 } },
	{ NULL, {
		"kernel", "an address of the kernel's",
		"The half decides, not what is there: no mapping is looked for.",
		aim_kernel, READ, MAPERR, .asked = 1 } },
	{ NULL, {
		"no-address", "a number that is no address",
		"Bits 63 .. 47 differ: another exception, which does not even name the address.",
		aim_no_address, READ, .signo = SIGSEGV, .code = SI_KERNEL } },
};

#define NR_CASES	(sizeof(cases) / sizeof(cases[0]))

const struct segv_case *segv_case_at(unsigned int i)
{
	return i < NR_CASES ? &cases[i].c : NULL;
}

const char *segv_group_at(unsigned int i)
{
	return i < NR_CASES ? cases[i].group : NULL;
}

const struct segv_case *segv_case_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < NR_CASES; i++)
		if (!strcmp(cases[i].c.name, name))
			return &cases[i].c;
	return NULL;
}
