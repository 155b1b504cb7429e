/* SPDX-License-Identifier: MIT */
/*
 * segv.h - wild pointers: a small program, the pointers into and beside it, and what each use of
 * one made the CPU and the kernel look at
 */
#ifndef KARC_TOOLS_SEGV_H
#define KARC_TOOLS_SEGV_H

#include "scenario.h"
#include <karc/base/err.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/maps.h>
#include <karc/proc/task.h>

#define SEGV_NEVER_MAPPED	0x6b6b6b6b6b6bUL	/* what was never set often looks like this */
#define SEGV_SOMEWHERE		0x10000000UL		/* where only the other process has a page */
#define SEGV_VALUE		42			/* stored by who prepares */
#define SEGV_STORED		7			/* stored by the pointer's use */

/**
 * struct segv_world - the program `demo`, fresh for each pointer
 * @notes:        where a file of one page and a half is mapped, three pages long
 * @thread_stack: of the second thread: lowest usable page, a guard page below it
 * @arena:        the second thread's own heap, not used yet
 */
struct segv_world {
	struct stage *stage;
	struct task_struct *init, *demo;
	struct task_struct *thread;	/* shares demo's address space */
	struct task_struct *other;	/* another process, or NULL */
	struct task_struct *child;	/* demo's, or NULL */
	struct task_struct *user;	/* whose pointer it is: demo, thread or child */
	unsigned long code, data, heap, notes, thread_stack, arena;
	int notes_fd;
	unsigned long sharer;		/* address where another process is to see SEGV_VALUE still */
	bool was_held;			/* the user's CPU knew the page once */
	bool failed;			/* a preparation did not work */
};

/* What may be asked about an address, in order; the first three by the CPU alone. */
enum segv_step {
	SEGV_CANONICAL, SEGV_TLB, SEGV_TABLES,
	SEGV_HALF, SEGV_VMA, SEGV_STACK, SEGV_RIGHTS, SEGV_PAGE,
	NR_SEGV_STEPS
};

enum segv_mark { SEGV_NOT_ASKED, SEGV_YES, SEGV_NO };

/**
 * struct segv_case - one use of one pointer
 * @aim: prepares the world and gives the pointer
 * @signo, @code, @asked: what Linux does with it: the signal or 0, and how many page faults; the
 *       program's exit status says whether karc did too, and a test holds both against a host
 */
struct segv_case {
	const char *name;
	const char *what;
	const char *why;
	unsigned long (*aim)(struct segv_world *w);
	enum mmu_access access;
	unsigned int bytes;
	int signo, code;
	unsigned int asked;
};

#define SEGV_FAULTS_MAX	4u
#define SEGV_TEXT_MAX	8192u

/**
 * struct segv_facts - what happened, as it was seen from the machine
 * @there, @entry:  the line of the map and the page-table entry at the pointer, before
 * @owner:          whose it is, when the map has no name for it
 * @held:           the CPU's TLB knew the page right before; @was_held: earlier, then unmapped
 * @fault:          each page fault's record, in order
 * @steps:          "function\ttext\n" for each step announced meanwhile
 * @frame_refs:     references on the frame at the pointer before; 0: no frame
 */
struct segv_facts {
	unsigned long addr;
	unsigned int cpu;
	char there[MAPS_LINE_MAX];
	u64 entry_before, entry_after;
	int frame_refs;
	const char *owner;
	bool held, was_held;
	u64 walks;
	unsigned int nr_faults, nr_handled, nr_major;
	struct fault_info fault[SEGV_FAULTS_MAX];
	enum segv_mark mark[NR_SEGV_STEPS];
	int signo, code;
	unsigned long sig_addr;
	int value;			/* at the pointer, by the user, after; without a signal */
	int sharer_value;		/* at w->sharer, by demo */
	long rss_before, rss_after, tables_before, tables_after;
	char steps[SEGV_TEXT_MAX];
	size_t steps_len;
	bool ok;			/* as Linux does */
};

/* segv_cases.c */
const struct segv_case *segv_case_at(unsigned int i);	/* NULL past the last */
const struct segv_case *segv_case_find(const char *name);
/* The heading above the case, or NULL when the one before goes on. */
const char *segv_group_at(unsigned int i);

/* segv_world.c */
bool segv_world_make(struct segv_world *w, struct stage *stage, struct task_struct *init);
void segv_world_end(struct segv_world *w);
/* Things that tasks of the world do, for who prepares a pointer; failures set w->failed. */
void segv_store(struct segv_world *w, struct task_struct *task, unsigned long addr, int value);
int segv_load(struct segv_world *w, struct task_struct *task, unsigned long addr);
void segv_run_init(struct segv_world *w);	/* something else runs on demo's CPU */
void segv_discard(struct segv_world *w, unsigned long addr);	/* madvise(MADV_DONTNEED) */
void segv_unmap(struct segv_world *w, struct task_struct *task, unsigned long addr);
void segv_map_at(struct segv_world *w, struct task_struct *task, unsigned long addr);
unsigned long segv_map_notes(struct segv_world *w, unsigned long prot);	/* shared */
void segv_fork_child(struct segv_world *w);
void segv_end_child(struct segv_world *w);
void segv_start_other(struct segv_world *w);
unsigned long segv_stack_start(struct segv_world *w);
/* Does the TLB of @task's CPU know the page? */
bool segv_tlb_holds(struct segv_world *w, struct task_struct *task, unsigned long addr);
/* What the mapping without a name that covers @addr is for, or NULL. */
const char *segv_owner(const struct segv_world *w, unsigned long addr);

/* segv_use.c: use the pointer of @c as @w->user and write down what happened. */
void segv_use(struct segv_world *w, const struct segv_case *c, struct segv_facts *f);

/* segv_show.c */
void segv_show_intro(struct stage *s);
void segv_show_map(struct stage *s, struct segv_world *w);
void segv_show_row(struct stage *s, const struct segv_case *c, const struct segv_facts *f);
void segv_show_answer(struct stage *s, const struct segv_facts *all, unsigned int nr);
void segv_show_story(struct stage *s, const struct segv_case *c, const struct segv_facts *f);
void segv_show_json(struct stage *s, const struct segv_case *c, const struct segv_facts *f,
		    bool first);

#endif
