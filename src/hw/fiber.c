/* SPDX-License-Identifier: MIT */
/*
 * fiber.c - fibers: their stacks, birth, death, and the ones that are always there
 *
 * What it is
 *	Every task of the machine is a fiber: a record and, until it ends, a stack from the machine's
 *	pool. Besides the tasks there are the host fiber (the harness thread on its own stack) and one
 *	idle fiber for each CPU. Who runs when is the business of fiber_sched.c.
 *
 * Objects
 *	struct machine - all_fibers --> struct fiber (record) - stack (pooled, guarded)
 *	struct machine - stacks (not in use), leaving (of the one that died just now)
 *
 * Invariants
 *	I1 a stack goes back to the pool only after the host thread has left it
 *	I2 a task ends preemptible and without locks; otherwise that is a BUG, and the CPU is
 *	   cleaned up for those who come after
 *	I3 a record lives while its owner (who joins it) or a CPU that switched away from it, and
 *	   has not told the hook yet, refers to it
 *
 * Life
 *	spawn: READY -> RUNNING <-> BLOCKED -> READY ... -> DEAD -> record freed by join, or at once
 *	when detached. A fiber ended by force at a place that it did not choose - not running, spinning,
 *	or in an interrupt - is PARKED (see fiber_stuck.c): it keeps its stack until shutdown, because
 *	wait queues, timers and calls in mailboxes may still point into it.
 *
 * Worst case
 *	One mapping with a guard, 2 entries in the host's map, for each fiber alive at the same time.
 *
 * Unlike Linux
 *	A task that dies in an interrupt handler takes the interrupted task with it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <karc/base/bug.h>
#include <karc/base/err.h>
#include <karc/hw/context.h>
#include "internal.h"
#include "sanitizer.h"

/* Large: a frame of some KiB must not step over it. */
#define GUARD_BYTES		(64UL << 10)

/* ---- stacks ---- */

static int stack_pool_reserve(struct machine *m)
{
	struct stack_pool *pool = &m->stacks;
	unsigned int capacity = pool->capacity ? 2 * pool->capacity : 16;
	char **stacks;

	if (pool->nr_made < pool->capacity)
		return 0;
	stacks = hostmem_alloc(&m->hostmem, capacity * sizeof(*stacks));
	if (!stacks)
		return -ENOMEM;
	if (pool->nr)
		memcpy(stacks, pool->stacks, pool->nr * sizeof(*stacks));
	hostmem_free(&m->hostmem, pool->stacks);
	pool->stacks = stacks;
	pool->capacity = capacity;
	return 0;
}

static char *stack_get(struct machine *m)
{
	struct stack_pool *pool = &m->stacks;
	char *map;

	if (pool->nr)
		return pool->stacks[--pool->nr];
	if (stack_pool_reserve(m))
		return NULL;
	map = hostmem_map(&m->hostmem, GUARD_BYTES + FIBER_STACK_BYTES);
	if (!map)
		return NULL;
	if (mprotect(map, GUARD_BYTES, PROT_NONE)) {
		hostmem_unmap(&m->hostmem, map, GUARD_BYTES + FIBER_STACK_BYTES);
		return NULL;
	}
	pool->nr_made++;
	return map + GUARD_BYTES;
}

void fiber_stack_put(struct machine *m, char *stack)
{
	sanitizer_forget_stack(stack, FIBER_STACK_BYTES);
	m->stacks.stacks[m->stacks.nr++] = stack;
}

static void stack_pool_exit(struct machine *m)
{
	struct stack_pool *pool = &m->stacks;

	while (pool->nr) {
		char *map = pool->stacks[--pool->nr] - GUARD_BYTES;

		hostmem_unmap(&m->hostmem, map, GUARD_BYTES + FIBER_STACK_BYTES);
		pool->nr_made--;
	}
	hostmem_free(&m->hostmem, pool->stacks);
	pool->stacks = NULL;
	pool->capacity = 0;
}

/* ---- records ---- */

static void fiber_main(void);

static struct fiber *fiber_alloc(struct machine *m, struct cpu *cpu, const char *name,
				 unsigned int flags)
{
	struct fiber *f = hostmem_zalloc(&m->hostmem, sizeof(*f));

	if (!f)
		return NULL;
	f->cpu = cpu;
	f->flags = flags;
	f->refs = 1;
	f->state = FIBER_BLOCKED;
	f->id = m->next_fiber_id++;
	snprintf(f->name, sizeof(f->name), "%s", name);
	INIT_LIST_HEAD(&f->run_node);
	list_add_tail(&f->all_node, &m->all_fibers);
	return f;
}

static int fiber_give_stack(struct machine *m, struct fiber *f)
{
	f->stack = stack_get(m);
	if (!f->stack)
		return -ENOMEM;
	f->stack_bytes = FIBER_STACK_BYTES;
	f->sp = switch_new_stack(f->stack, f->stack_bytes, fiber_main);
	f->sanitizer_stack = f->stack;
	f->sanitizer_bytes = f->stack_bytes;
	f->sanitizer_fake = NULL;
	f->sanitizer_fiber = sanitizer_new_fiber();
	return 0;
}

/* Give up the stack of a fiber that is not running. */
static void fiber_drop_stack(struct machine *m, struct fiber *f)
{
	if (!f->stack)
		return;
	sanitizer_end_fiber(f->sanitizer_fiber);
	fiber_stack_put(m, f->stack);
	f->stack = NULL;
	f->sanitizer_fiber = NULL;
}

void fiber_put(struct machine *m, struct fiber *f)
{
	if (--f->refs)
		return;
	if (f->flags & FIBER_PARKED) {
		f->flags |= FIBER_DETACHED;	/* fibers_exit() frees it, with its stack */
		return;
	}
	fiber_drop_stack(m, f);
	list_del(&f->all_node);
	hostmem_free(&m->hostmem, f);
}

/* ---- birth and death ---- */

/* A task that ends keeps nothing that others wait for. */
static void check_end(const struct fiber *self, const char *how)
{
	const struct cpu *cpu = karc_cpu;

	if (unlikely(self->nr_held || cpu->preempt_count || cpu->irqs_off))
		karc_bug_msg(KARC_BUG_SITE(""), "%s %s with %u locks held, preempt_count 0x%x%s",
			     self->name, how, self->nr_held, (unsigned int)cpu->preempt_count,
			     cpu->irqs_off ? ", interrupts off" : "");
}

static void fiber_main(void)
{
	struct machine *m = karc_cpu->machine;
	struct fiber *self = m->running;
	long value;

	fiber_sched_arrived(m);
	fiber_sched_deliver();
	value = self->fn(self->arg);
	check_end(self, "returned");
	fiber_end(MACHINE_VALUE, value, NULL);
}

struct fiber *fiber_spawn_in(struct machine *m, unsigned int cpu, const char *name,
			     long (*fn)(void *arg), void *arg, unsigned int flags)
{
	struct fiber *f;

	if (cpu >= m->nr_cpus)
		return NULL;
	f = fiber_alloc(m, m->cpus[cpu], name, flags);
	if (!f)
		return NULL;
	if (fiber_give_stack(m, f)) {
		fiber_put(m, f);
		return NULL;
	}
	f->fn = fn;
	f->arg = arg;
	m->nr_fibers++;
	fiber_sched_enqueue(f);
	return f;
}

struct fiber *fiber_spawn(unsigned int cpu, const char *name, long (*fn)(void *arg), void *arg)
{
	return fiber_spawn_in(karc_cpu->machine, cpu, name, fn, arg, 0);
}

/* The fiber has its result: tell its joiner. */
void fiber_dead(struct machine *m, struct fiber *f)
{
	f->state = FIBER_DEAD;
	m->nr_fibers--;
	fiber_sched_progress(m);
	if (f->joiner)
		fiber_wake(f->joiner);
}

void fiber_set_result(struct fiber *f, enum machine_end end, long value, const char *message)
{
	f->result.end = end;
	f->result.value = value;
	snprintf(f->result.message, sizeof(f->result.message), "%s", message ? message : "");
}

/* A fiber that ends while it waits in fiber_join() leaves the other to itself. */
void fiber_leave_join(struct fiber *f)
{
	struct fiber *joined = f->joins;

	if (!joined)
		return;
	f->joins = NULL;
	joined->joiner = NULL;
	fiber_detach(joined);
}

/* The idle fiber died in an interrupt handler: its CPU needs one that begins anew. */
static void restart_idle(struct machine *m, struct fiber *idle)
{
	if (fiber_give_stack(m, idle)) {
		fprintf(stderr, "karc: no host memory for a stack\n");
		abort();
	}
	idle->saved_preempt_count = 0;
	idle->saved_irqs_off = 0;
}

void fiber_end(enum machine_end end, long value, const char *message)
{
	struct cpu *cpu = karc_cpu;
	struct machine *m = cpu->machine;
	struct fiber *self = cpu->fiber;

	if (self == m->host)
		abort();	/* a BUG outside machine_call() */
	if (self != cpu->idle && (end == MACHINE_STUCK || in_interrupt())) {
		self->flags |= FIBER_PARKED;
	} else {
		m->leaving = (struct fiber_leaving){ self->stack, self->sanitizer_fiber };
		self->stack = NULL;
		self->sanitizer_fiber = NULL;
	}
	self->nr_held = 0;
	m->reporting = false;
	irq_abandon(cpu);
	fiber_leave_join(self);
	if (self == cpu->idle) {
		restart_idle(m, self);
	} else {
		fiber_set_result(self, end, value, message);
		fiber_dead(m, self);
		fiber_sched_next(cpu);
		if (self->flags & FIBER_DETACHED)
			fiber_put(m, self);
	}
	m->running = NULL;
	fiber_sched_away(m, NULL);
	__builtin_unreachable();
}

void fiber_exit(long value)
{
	check_end(fiber_self(), "exited");
	fiber_end(MACHINE_EXITED, value, NULL);
}

void fiber_join(struct fiber *f, struct machine_result *result)
{
	struct fiber *self = fiber_self();

	might_sleep();
	BUG_ON(f == self || f->joiner || (f->flags & (FIBER_DETACHED | FIBER_HOST | FIBER_IDLE)));
	f->joiner = self;
	self->joins = f;
	for (;;) {
		fiber_prepare();
		if (f->state == FIBER_DEAD)
			break;
		fiber_block(SITE());
	}
	self->joins = NULL;
	f->joiner = NULL;
	if (result)
		*result = f->result;
	fiber_put(fiber_machine(f), f);
}

void fiber_detach(struct fiber *f)
{
	BUG_ON(f->joiner || (f->flags & FIBER_DETACHED));
	f->flags |= FIBER_DETACHED;
	if (f->state == FIBER_DEAD)
		fiber_put(fiber_machine(f), f);
}

void fiber_set_cpu(struct fiber *f, unsigned int id)
{
	struct cpu *old = f->cpu;
	struct machine *m = old->machine;
	bool self = f == fiber_self();

	BUG_ON(id >= m->nr_cpus || f->migrate_disabled || (f->flags & (FIBER_HOST | FIBER_IDLE)));
	BUG_ON(f->state == FIBER_RUNNING && !self);
	if (m->cpus[id] == old)
		return;
	if (!self) {
		if (f->state == FIBER_READY)
			fiber_sched_dequeue(f);
		f->cpu = m->cpus[id];
		if (f->state == FIBER_READY)
			fiber_sched_enqueue(f);
		return;
	}
	might_sleep();
	f->cpu = m->cpus[id];
	fiber_sched_enqueue(f);
	fiber_sched_next(old);
	fiber_sched_away(m, f);
	fiber_sched_deliver();
}

unsigned int fiber_count(const struct machine *m)
{
	return m->nr_fibers;
}

void fiber_on_switch(struct machine *m, void (*fn)(struct fiber *prev, struct fiber *next))
{
	m->on_switch = fn;
}

/* ---- the host fiber, idle fibers, boot ---- */

static long idle_main(void *arg)
{
	struct cpu *cpu = arg;

	while (cpu->idle) {
		fiber_sched_deliver();
		fiber_sched_away(cpu->machine, cpu->idle);
	}
	return 0;
}

static struct fiber *make_idle(struct machine *m, struct cpu *cpu)
{
	char name[FIBER_NAME_LEN];
	struct fiber *f;

	snprintf(name, sizeof(name), "idle/%u", cpu->id);
	f = fiber_alloc(m, cpu, name, FIBER_IDLE);
	if (!f)
		return NULL;
	if (fiber_give_stack(m, f)) {
		fiber_put(m, f);
		return NULL;
	}
	f->fn = idle_main;
	f->arg = cpu;
	f->state = FIBER_RUNNING;
	return f;
}

int fibers_init(struct machine *m)
{
	m->host = fiber_alloc(m, m->cpus[0], "host", FIBER_HOST);
	if (!m->host)
		return -ENOMEM;
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct cpu *cpu = m->cpus[i];

		cpu->idle = make_idle(m, cpu);
		if (!cpu->idle) {
			fibers_exit(m);
			return -ENOMEM;
		}
		cpu->fiber = cpu->idle;
		fiber_sched_load_steps(m, cpu);
	}
	return 0;
}

void fibers_exit(struct machine *m)
{
	struct fiber *f, *next;

	m->on_switch = NULL;
	list_for_each_entry_safe(f, next, &m->all_fibers, all_node) {
		fiber_drop_stack(m, f);
		list_del(&f->all_node);
		hostmem_free(&m->hostmem, f);
	}
	m->host = NULL;
	stack_pool_exit(m);
}

void fibers_report_left(struct machine *m)
{
	struct fiber *f;

	list_for_each_entry(f, &m->all_fibers, all_node) {
		if ((f->flags & (FIBER_HOST | FIBER_IDLE)) ||
		    (f->state == FIBER_DEAD && (f->flags & FIBER_DETACHED)))
			continue;
		machine_report_left(m, f->state == FIBER_DEAD ? "fiber never joined" : "fiber",
				    f->wait_site, 1, f->stack_bytes);
	}
}

void fiber_enter_host(struct machine *m)
{
	struct cpu *cpu = m->cpus[0];

	karc_cpu = cpu;
	m->running = m->host;
	fiber_sched_set(cpu, m->host);
	m->host->sanitizer_fiber = sanitizer_current_fiber();
	fiber_sched_finish(m, cpu);
}

void fiber_leave_host(struct machine *m)
{
	struct cpu *cpu = m->cpus[0];

	m->host->state = FIBER_BLOCKED;
	fiber_sched_set(cpu, cpu->idle);
	m->running = NULL;
	karc_cpu = NULL;
}
