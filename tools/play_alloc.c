/* SPDX-License-Identifier: MIT */
/*
 * play_alloc.c - who may be called where: every cell is a call that was made there
 */
#include "play_alloc.h"
#include <karc/base/err.h>
#include <karc/hw/irq.h>
#include <karc/hw/spinlock.h>
#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/refcount/rcu.h>
#include <string.h>

#define DEMO_IRQ	7
#define WAIT_MOST	100000u		/* safe points until an interrupt is handled */

enum where { IN_TASK, PREEMPT_OFF, UNDER_SPINLOCK, IN_SOFTIRQ, IN_IRQ, NR_WHERE };

static const char *const where_names[NR_WHERE] = {
	"task", "preempt off", "spinlock", "softirq", "interrupt",
};

struct trial;

/* @atomic: may be called anywhere; otherwise it may sleep, and only a task may. */
struct call {
	const char *name;
	bool atomic;
	gfp_t gfp;
	struct {
		void (*take)(struct trial *t);
		void (*give)(struct trial *t);
	};
};

/**
 * struct trial - one call in one place
 * @page:  what is to be mapped
 * @cache: where objects come from
 * @got:   what the call gave
 * @as_meant: the place was what it is called
 */
struct trial {
	const struct call *call;
	enum where where;
	struct page *page;
	struct kmem_cache *cache;
	void *got;
	spinlock_t lock;
	struct rcu_head rcu;
	bool done, as_meant;
};

static void take_kmalloc(struct trial *t)
{
	t->got = kmalloc(100, t->call->gfp);
}

static void give_kmalloc(struct trial *t)
{
	kfree(t->got);
}

static void take_object(struct trial *t)
{
	t->got = kmem_cache_alloc(t->cache, t->call->gfp);
}

static void give_object(struct trial *t)
{
	kmem_cache_free(t->cache, t->got);
}

static void take_pages(struct trial *t)
{
	t->got = alloc_pages(t->call->gfp, 1);
}

static void give_pages(struct trial *t)
{
	__free_pages(t->got, 1);
}

static void take_vmalloc(struct trial *t)
{
	t->got = vmalloc(3 * PAGE_SIZE);
}

static void give_vmalloc(struct trial *t)
{
	vfree(t->got);
}

static void take_kmap(struct trial *t)
{
	t->got = kmap(t->page);
}

static void give_kmap(struct trial *t)
{
	kunmap(t->page);
}

/* What it maps must be unmapped where it was mapped. */
static void take_kmap_atomic(struct trial *t)
{
	t->got = kmap_atomic(t->page);
	kunmap_atomic(t->got);
}

static void give_nothing(struct trial *t)
{
	(void)t;
}

static const struct call calls[] = {
	{ "kmalloc(GFP_KERNEL)", false, GFP_KERNEL, { take_kmalloc, give_kmalloc } },
	{ "kmalloc(GFP_ATOMIC)", true, GFP_ATOMIC, { take_kmalloc, give_kmalloc } },
	{ "kmem_cache_alloc(GFP_KERNEL)", false, GFP_KERNEL, { take_object, give_object } },
	{ "kmem_cache_alloc(GFP_ATOMIC)", true, GFP_ATOMIC, { take_object, give_object } },
	{ "alloc_pages(GFP_KERNEL)", false, GFP_KERNEL, { take_pages, give_pages } },
	{ "alloc_pages(GFP_ATOMIC)", true, GFP_ATOMIC, { take_pages, give_pages } },
	{ "vmalloc", false, GFP_KERNEL, { take_vmalloc, give_vmalloc } },
	{ "kmap", false, 0, { take_kmap, give_kmap } },
	{ "kmap_atomic", true, 0, { take_kmap_atomic, give_nothing } },
};

#define NR_CALLS	ARRAY_SIZE(calls)

/* ---- one trial --------------------------------------------------------------------------- */

static void try_it(struct trial *t)
{
	static const int counts[NR_WHERE] = {
		[PREEMPT_OFF] = PREEMPT_MASK, [UNDER_SPINLOCK] = PREEMPT_MASK,
		[IN_SOFTIRQ] = SOFTIRQ_OFFSET, [IN_IRQ] = HARDIRQ_MASK,
	};

	t->as_meant = t->where == IN_TASK ? preemptible() :
					    (preempt_count() & counts[t->where]) != 0;
	t->call->take(t);
	WRITE_ONCE(t->done, true);
}

static irqreturn_t try_in_irq(int irq, void *dev)
{
	(void)irq;
	try_it(dev);
	return IRQ_HANDLED;
}

/* Callbacks of RCU run in its softirq. */
static void try_in_softirq(struct rcu_head *head)
{
	try_it(container_of(head, struct trial, rcu));
}

static long try_entry(void *arg)
{
	struct trial *t = arg;
	unsigned int i;

	switch (t->where) {
	case PREEMPT_OFF:
		preempt_disable();
		try_it(t);
		preempt_enable();
		break;
	case UNDER_SPINLOCK:
		spin_lock(&t->lock);
		try_it(t);
		spin_unlock(&t->lock);
		break;
	case IN_IRQ:
		irq_raise(this_machine(), smp_processor_id(), DEMO_IRQ);
		for (i = 0; i < WAIT_MOST && !READ_ONCE(t->done); i++)
			might_sleep();
		break;
	case IN_SOFTIRQ:
		call_rcu(&t->rcu, try_in_softirq);
		rcu_barrier();
		break;
	default:
		try_it(t);
	}
	return 0;
}

enum verdict { WORKS, REPORTED, REFUSED, STOPPED, FAILED };

static const char *const verdict_names[] = { "yes", "reported", "refused", "BUG", "failed" };

/* What came of it: worked in silence, with a report, with a report and nothing given, a BUG. */
static enum verdict verdict_of(const struct trial *t, const struct machine_result *res,
			       unsigned long warnings)
{
	if (res->end == MACHINE_BUG)
		return STOPPED;
	if (res->end != MACHINE_VALUE || !t->done || !t->as_meant)
		return FAILED;
	if (warnings)
		return t->got ? REPORTED : REFUSED;
	return t->got ? WORKS : FAILED;
}

static enum verdict try_call(struct stage *s, struct trial *t, const struct call *call,
			     enum where where)
{
	unsigned long before;
	struct machine_result res;
	enum verdict v;

	machine_reset_once(s->m);
	t->call = call;
	t->where = where;
	t->got = NULL;
	t->done = t->as_meant = false;
	before = machine_counters(s->m).warnings;
	res = machine_call(s->m, 0, try_entry, t);
	v = verdict_of(t, &res, machine_counters(s->m).warnings - before);
	if (t->got)
		call->give(t);
	return v;
}

/* ---- the table --------------------------------------------------------------------------- */

static void say_row(struct stage *s, const char *name, const enum verdict *cell)
{
	static const char *const colours[] = { "\033[32m", "\033[33m", "\033[33m", "\033[31m",
					       "\033[31m" };
	char line[400];
	int at, i;

	at = snprintf(line, sizeof(line), "%-29s", name);
	for (i = 0; i < NR_WHERE; i++)
		at += snprintf(line + at, sizeof(line) - (size_t)at, "%s%-12s%s",
			       stage_colour(s, colours[cell[i]]), verdict_names[cell[i]],
			       stage_colour(s, "\033[0m"));
	while (at && line[at - 1] == ' ')
		line[--at] = '\0';
	stage_say(s, "%s", line);
}

static void tell_places(struct stage *s, struct trial *t)
{
	unsigned int i, where, nr_reported = 0, nr_wrong = 0;
	char head[120];
	int at = snprintf(head, sizeof(head), "%-29s", "");

	for (where = 0; where < NR_WHERE; where++)
		at += snprintf(head + at, sizeof(head) - (size_t)at, "%-12s", where_names[where]);
	stage_say(s, "%.*s", at - 3, head);	/* no spaces at the end */
	for (i = 0; i < NR_CALLS; i++) {
		enum verdict cell[NR_WHERE];

		for (where = 0; where < NR_WHERE; where++) {
			bool allowed = calls[i].atomic || where == IN_TASK;

			cell[where] = try_call(s, t, &calls[i], where);
			nr_reported += cell[where] != WORKS;
			nr_wrong += (cell[where] == WORKS) != allowed || cell[where] == FAILED;
		}
		say_row(s, calls[i].name, cell);
	}
	stage_expect(s, !nr_wrong, "a task may call all of them, everybody the atomic ones; %u other "
		     "cells were reported", nr_reported);
}

/* ---- sleeping with an atomic mapping ----------------------------------------------------- */

static long sleep_inside(void *page)
{
	void *p = kmap_atomic(page);

	might_sleep();
	kunmap_atomic(p);
	return 0;
}

static void tell_sleeper(struct stage *s, struct page *page)
{
	unsigned long before = machine_counters(s->m).warnings;

	stage_head(s, "Between kmap_atomic and kunmap_atomic nobody may sleep");
	stage_log_skip(s);
	machine_call(s->m, 0, sleep_inside, page);
	stage_expect(s, machine_counters(s->m).warnings > before &&
		     stage_log(s, "sleeping function called from invalid context"),
		     "whoever does is told where");
	stage_say(s, "kunmap_atomic(page) instead of kunmap_atomic(address) does not compile");
}

/* ---- the story --------------------------------------------------------------------------- */

/*
 * Little memory with all that a PC may have: 16 MiB for 24-bit devices, some below 4 GiB, some
 * above, the last of it without direct map.
 */
void alloc_machine(struct machine_config *config)
{
	static const struct machine_bank banks[] = {
		{ 0, 640ULL << 10, 0 }, { 1ULL << 20, 31ULL << 20, 0 },
		{ 4ULL << 30, 24ULL << 20, 0 },
	};

	config->mem_bytes = 0;
	config->banks = banks;
	config->nr_banks = ARRAY_SIZE(banks);
	config->highmem_start = (4ULL << 30) + (16ULL << 20);
}

void play_alloc(struct stage *s)
{
	struct trial t = { .call = NULL };

	stage_listen(s, false);
	spin_lock_init(&t.lock);
	t.page = alloc_page(GFP_KERNEL | __GFP_HIGHMEM);
	t.cache = kmem_cache_create("demo", 100, 0, 0, NULL);
	if (t.page && t.cache && !request_irq(DEMO_IRQ, try_in_irq, 0, "demo", &t)) {
		stage_head(s, "Who may be called where: each cell is a call that was made there");
		tell_places(s, &t);
		tell_sleeper(s, t.page);
		free_irq(DEMO_IRQ, &t);
	} else {
		stage_expect(s, false, "a page, a cache and an interrupt line");
	}
	kmem_cache_destroy(t.cache);
	if (t.page)
		__free_page(t.page);
	alloc_tell_memory(s);
	alloc_tell_fragments(s);
	alloc_tell_walks(s);
	machine_reset_once(s->m);
}
