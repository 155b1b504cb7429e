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
 *	struct machine - stacks (not in use)
 *	struct player - leaving (of the one that died just now)
 *
 * Invariants
 *	I1 a stack goes back to the pool only after the host thread has left it; so does a record
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
 * Locking
 *	m->fibers_lock	the list of all, ids, the pool of stacks
 *	f->lock		state (with the run queue's lock, see fiber_sched.c), woken, joiner, and
 *			whether the last reference is the owner's or, detached, the one of its end.
 *			A joiner's lock is taken inside the lock of the one it joins.
 *	Everything else belongs to the fiber itself, or to whoever made it until it runs.
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
#include <karc/hw/panic.h>
#include <karc/hw/valgrind.h>
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

/* Under Valgrind its number for the stack lies in the word that is used last of all. */
static void valgrind_stack_made(char *stack)
{
	if (valgrind_is_here())
		*(unsigned int *)(void *)stack = valgrind_add_stack(stack,
								    stack + FIBER_STACK_BYTES);
}

static void valgrind_stack_gone(char *stack)
{
	if (!valgrind_is_here())
		return;
	valgrind_defined(stack, sizeof(unsigned int));
	valgrind_drop_stack(*(unsigned int *)(void *)stack);
}

static char *stack_make(struct machine *m)
{
	char *map = hostmem_map(&m->hostmem, GUARD_BYTES + FIBER_STACK_BYTES);

	if (!map)
		return NULL;
	if (mprotect(map, GUARD_BYTES, PROT_NONE)) {
		hostmem_unmap(&m->hostmem, map, GUARD_BYTES + FIBER_STACK_BYTES);
		return NULL;
	}
	valgrind_stack_made(map + GUARD_BYTES);
	return map + GUARD_BYTES;
}

static char *stack_get(struct machine *m)
{
	struct stack_pool *pool = &m->stacks;
	char *stack = NULL;

	hw_lock(m, &m->fibers_lock);
	if (pool->nr) {
		stack = pool->stacks[--pool->nr];
	} else if (!stack_pool_reserve(m)) {
		stack = stack_make(m);
		pool->nr_made += stack != NULL;
	}
	hw_unlock(m, &m->fibers_lock);
	return stack;
}

void fiber_stack_put(struct machine *m, char *stack)
{
	sanitizer_forget_stack(stack, FIBER_STACK_BYTES);
	hw_lock(m, &m->fibers_lock);
	m->stacks.stacks[m->stacks.nr++] = stack;
	hw_unlock(m, &m->fibers_lock);
}

static void stack_pool_exit(struct machine *m)
{
	struct stack_pool *pool = &m->stacks;

	while (pool->nr) {
		char *map = pool->stacks[--pool->nr] - GUARD_BYTES;

		valgrind_stack_gone(map + GUARD_BYTES);
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
	snprintf(f->name, sizeof(f->name), "%s", name);
	INIT_LIST_HEAD(&f->run_node);
	hw_lock(m, &m->fibers_lock);
	f->id = m->next_fiber_id++;
	list_add_tail(&f->all_node, &m->all_fibers);
	hw_unlock(m, &m->fibers_lock);
	return f;
}

static int fiber_give_stack(struct machine *m, struct fiber *f)
{
	bool proxy = f == cpu_priv(f->cpu)->proxy;

	f->stack = stack_get(m);
	if (!f->stack)
		return -ENOMEM;
	f->stack_bytes = FIBER_STACK_BYTES;
	f->sp = switch_new_stack(f->stack, f->stack_bytes,
				 proxy ? presence_proxy_main : fiber_main);
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

void fiber_get(struct fiber *f)
{
	__atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED);
}

void fiber_put(struct machine *m, struct fiber *f)
{
	if (__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (fiber_flags(f) & FIBER_PARKED) {
		fiber_set_flag(f, FIBER_DETACHED);	/* fibers_exit() frees it, with its stack */
		return;
	}
	fiber_drop_stack(m, f);
	hw_lock(m, &m->fibers_lock);
	list_del(&f->all_node);
	hw_unlock(m, &m->fibers_lock);
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
	struct fiber *self = karc_cpu->fiber;
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

	if (cpu >= m->nr_cpus || unlikely(machine_panicked(m)))
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
	__atomic_fetch_add(&m->nr_fibers, 1, __ATOMIC_RELAXED);
	fiber_sched_enqueue(f);
	return f;
}

struct fiber *fiber_spawn(unsigned int cpu, const char *name, long (*fn)(void *arg), void *arg)
{
	return fiber_spawn_in(karc_cpu->machine, cpu, name, fn, arg, 0);
}

/*
 * The fiber has its result: tell its joiner, under the lock, so that it is there still. When the
 * fiber is detached, its owner's reference is the caller's now.
 */
bool fiber_dead(struct machine *m, struct fiber *f)
{
	bool detached;

	__atomic_fetch_sub(&m->nr_fibers, 1, __ATOMIC_RELAXED);
	fiber_sched_progress(m);
	hw_lock(m, &f->lock);
	WRITE_ONCE(f->state, FIBER_DEAD);
	detached = fiber_flags(f) & FIBER_DETACHED;
	if (f->joiner)
		fiber_wake(f->joiner);
	hw_unlock(m, &f->lock);
	return detached;
}

void fiber_set_result(struct fiber *f, enum machine_end end, long value, const char *message)
{
	f->result.end = end;
	f->result.value = value;
	snprintf(f->result.message, sizeof(f->result.message), "%s", message ? message : "");
}

static void set_joiner(struct fiber *f, struct fiber *joiner)
{
	struct machine *m = fiber_machine(f);

	hw_lock(m, &f->lock);
	f->joiner = joiner;
	hw_unlock(m, &f->lock);
}

static bool is_dead(struct fiber *f)
{
	struct machine *m = fiber_machine(f);
	bool dead;

	hw_lock(m, &f->lock);
	dead = fiber_state(f) == FIBER_DEAD;
	hw_unlock(m, &f->lock);
	return dead;
}

/* A fiber that ends while it waits in fiber_join() leaves the other to itself. */
void fiber_leave_join(struct fiber *f)
{
	struct fiber *joined = f->joins;

	if (!joined)
		return;
	f->joins = NULL;
	set_joiner(joined, NULL);
	fiber_detach(joined);
}

/* An idle fiber died in an interrupt handler, or a proxy: its CPU needs one that begins anew. */
void fiber_restart(struct machine *m, struct fiber *f)
{
	if (fiber_give_stack(m, f)) {
		fprintf(stderr, "karc: no host memory for a stack\n");
		abort();
	}
	f->saved_preempt_count = 0;
	f->saved_irqs_off = 0;
}

/* What the one that dies here stands on, and what it is, until the next one has arrived. */
static void leave_behind(struct cpu *cpu, struct fiber *self, bool keep_stack)
{
	struct fiber_leaving *leaving = &cpu_priv(cpu)->player->leaving;

	*leaving = (struct fiber_leaving){ .stack = NULL };
	if (!keep_stack) {
		leaving->stack = self->stack;
		leaving->tsan_fiber = self->sanitizer_fiber;
		self->stack = NULL;
		self->sanitizer_fiber = NULL;
	}
	if (!(fiber_flags(self) & FIBER_IDLE)) {
		fiber_get(self);
		leaving->record = self;
	}
}

/* Once, also when it dies in there. */
static void call_on_end(struct machine *m, struct fiber *self, enum machine_end end)
{
	void (*fn)(struct fiber *f) = READ_ONCE(m->on_end);

	if (!fn || self->ending || (fiber_flags(self) & FIBER_IDLE) || end == MACHINE_STUCK ||
	    self->nr_held || !preemptible())
		return;
	self->ending = true;
	fn(self);
}

void fiber_on_end(struct machine *m, void (*fn)(struct fiber *f))
{
	WRITE_ONCE(m->on_end, fn);
}

void fiber_on_temporary(struct machine *m, void (*fn)(struct fiber *f, enum machine_end end))
{
	WRITE_ONCE(m->on_temporary, fn);
}

/* Before the stack goes, which the reports name. */
static void give_up_temporary(struct machine *m, struct fiber *self, enum machine_end end)
{
	void (*fn)(struct fiber *f, enum machine_end end) = READ_ONCE(m->on_temporary);

	if (fn)
		fn(self, end);
	self->temporary = NULL;
	self->nr_kmap_atomic = 0;
	self->preempt_site = NULL;
}

void fiber_end(enum machine_end end, long value, const char *message)
{
	struct cpu *cpu = karc_cpu;
	struct machine *m = cpu->machine;
	struct fiber *self = cpu->fiber;

	if (fiber_flags(self) & FIBER_HOST)
		abort();	/* a BUG outside machine_call() */
	call_on_end(m, self, end);
	if (unlikely(self->temporary || self->preempt_site))
		give_up_temporary(m, self, end);
	if (!(fiber_flags(self) & FIBER_IDLE) && (end == MACHINE_STUCK || in_interrupt()))
		fiber_set_flag(self, FIBER_PARKED);
	leave_behind(cpu, self, fiber_flags(self) & FIBER_PARKED);
	lockrank_forget(m, self);
	report_abandon(m);
	irq_abandon(cpu);
	fiber_leave_join(self);
	if (self == cpu_priv(cpu)->proxy)
		presence_claim_died(cpu);
	if (self == cpu->idle) {
		fiber_restart(m, self);
	} else {
		fiber_set_result(self, end, value, message);
		if (fiber_dead(m, self))
			fiber_put(m, self);
		fiber_sched_next(cpu);
	}
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
	BUG_ON(f == self || f->joiner ||
	       (fiber_flags(f) & (FIBER_DETACHED | FIBER_HOST | FIBER_IDLE)));
	self->joins = f;
	set_joiner(f, self);
	for (;;) {
		fiber_prepare();
		if (is_dead(f))
			break;
		fiber_block(SITE());
	}
	self->joins = NULL;
	set_joiner(f, NULL);
	if (result)
		*result = f->result;
	fiber_put(fiber_machine(f), f);
}

void fiber_detach(struct fiber *f)
{
	struct machine *m = fiber_machine(f);
	bool dead;

	BUG_ON(f->joiner || (fiber_flags(f) & FIBER_DETACHED));
	hw_lock(m, &f->lock);
	fiber_set_flag(f, FIBER_DETACHED);
	dead = fiber_state(f) == FIBER_DEAD;
	hw_unlock(m, &f->lock);
	if (dead)
		fiber_put(m, f);
}

/* False when the fiber runs. */
static bool move_other(struct machine *m, struct fiber *f, struct cpu *cpu)
{
	bool ready, can;

	hw_lock(m, &f->lock);
	ready = fiber_state(f) == FIBER_READY && fiber_sched_dequeue(f);
	can = ready || fiber_state(f) == FIBER_BLOCKED || fiber_state(f) == FIBER_DEAD;
	if (can)
		WRITE_ONCE(f->cpu, cpu);
	if (ready)
		fiber_sched_enqueue(f);
	hw_unlock(m, &f->lock);
	return can;
}

void fiber_set_cpu(struct fiber *f, unsigned int id)
{
	struct cpu *old = f->cpu;
	struct machine *m = old->machine;

	BUG_ON(id >= m->nr_cpus || f->migrate_disabled ||
	       (fiber_flags(f) & (FIBER_HOST | FIBER_IDLE)));
	if (m->cpus[id] == old)
		return;
	if (f != fiber_self()) {
		BUG_ON(!move_other(m, f, m->cpus[id]));
		return;
	}
	might_sleep();
	hw_lock(m, &f->lock);
	WRITE_ONCE(f->cpu, m->cpus[id]);
	fiber_sched_enqueue(f);
	hw_unlock(m, &f->lock);
	fiber_sched_next(old);
	fiber_sched_away(m, f);
	fiber_sched_deliver();
}

unsigned int fiber_count(const struct machine *m)
{
	return READ_ONCE(m->nr_fibers);
}

void fiber_on_switch(struct machine *m, void (*fn)(struct fiber *prev, struct fiber *next))
{
	WRITE_ONCE(m->on_switch, fn);
}

/* ---- the host fiber, idle fibers, boot ---- */

static long idle_main(void *arg)
{
	struct cpu *cpu = arg;

	while (cpu->idle) {
		fiber_sched_deliver();
		if (cpu->machine->parallel)
			presence_idle(cpu);
		fiber_sched_away(cpu->machine, cpu->idle);
	}
	return 0;
}

/* A fiber that belongs to @cpu: its idle fiber, or its proxy. Stored in @place. */
static int make_own(struct machine *m, struct cpu *cpu, const char *what, struct fiber **place)
{
	char name[FIBER_NAME_LEN];
	struct fiber *f;

	snprintf(name, sizeof(name), "%s/%u", what, cpu->id);
	f = fiber_alloc(m, cpu, name, FIBER_IDLE);
	if (!f)
		return -ENOMEM;
	*place = f;
	f->fn = idle_main;
	f->arg = cpu;
	f->state = FIBER_RUNNING;
	return fiber_give_stack(m, f);	/* fibers_exit() frees it */
}

static int make_own_fibers(struct machine *m, struct cpu *cpu)
{
	int err = make_own(m, cpu, "idle", &cpu->idle);

	if (!err && m->parallel)
		err = make_own(m, cpu, "proxy", &cpu_priv(cpu)->proxy);
	cpu->fiber = cpu->idle;
	return err;
}

int fiber_make_host(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);

	if (!p->host)
		p->host = fiber_alloc(cpu->machine, cpu, "host", FIBER_HOST);
	return p->host ? 0 : -ENOMEM;
}

int fibers_init(struct machine *m)
{
	if (fiber_make_host(m->cpus[0]))
		return -ENOMEM;
	m->host = cpu_priv(m->cpus[0])->host;
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct cpu *cpu = m->cpus[i];

		if (make_own_fibers(m, cpu)) {
			fibers_exit(m);
			return -ENOMEM;
		}
		fiber_sched_load_steps(m, cpu);
	}
	return 0;
}

void fibers_exit(struct machine *m)
{
	struct fiber *f, *next;

	WRITE_ONCE(m->on_switch, NULL);
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

	hw_lock(m, &m->fibers_lock);
	list_for_each_entry(f, &m->all_fibers, all_node) {
		bool dead = fiber_state(f) == FIBER_DEAD;

		if ((fiber_flags(f) & (FIBER_HOST | FIBER_IDLE)) ||
		    (dead && (fiber_flags(f) & FIBER_DETACHED)))
			continue;
		machine_report_left(m, dead ? "fiber never joined" : "fiber",
				    READ_ONCE(f->wait_site), 1, f->stack_bytes);
	}
	hw_unlock(m, &m->fibers_lock);
}

void fiber_enter_host(struct cpu *cpu)
{
	struct fiber *host = cpu_priv(cpu)->host;

	if (cpu->machine->parallel)
		presence_enter(cpu);
	karc_cpu_store(cpu);
	fiber_sched_set(cpu, host);
	host->sanitizer_fiber = sanitizer_current_fiber();
	fiber_sched_finish(cpu->machine, cpu);
}

void fiber_leave_host(struct cpu *cpu)
{
	struct fiber *host = cpu_priv(cpu)->host;

	WRITE_ONCE(host->state, FIBER_BLOCKED);
	fiber_sched_set(cpu, cpu->idle);
	__atomic_store_n(&host->on_cpu, false, __ATOMIC_RELEASE);
	karc_cpu_store(NULL);
	if (cpu->machine->parallel)
		presence_leave(cpu);
}
