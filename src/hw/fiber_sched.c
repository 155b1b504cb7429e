/* SPDX-License-Identifier: MIT */
/*
 * fiber_sched.c - who runs next: run queues, switching, blocking, safe points
 *
 * What it is
 *	In deterministic mode one host thread plays all CPUs: at a safe point it may leave CPU A in
 *	the middle of its fiber and go on with CPU B, which is what parallel CPUs look like to the
 *	code that runs on them. A fiber that blocks, yields or ends picks the next (CPU, fiber)
 *	itself and switches stacks directly; there is no scheduler stack.
 *
 *	Two different things are called a switch. A *jump* moves the host thread to another CPU;
 *	that CPU's current fiber goes on where it was. A *context switch* gives a CPU another
 *	current fiber; it counts in cpu->nr_switches and calls the proc room's hook.
 *
 * Objects
 *	struct cpu - fiber: its current one; idle: its current one when there is no other
 *	struct cpu_priv - run_queue: FIBER_READY fibers of that CPU
 *
 * Invariants
 *	I1 cpu->fiber is never NULL while the machine runs: FIBER_RUNNING, or the idle fiber
 *	I2 a context switch away from a fiber that goes on later happens only with preempt_count 0
 *	   and interrupts on; a jump may happen at every safe point
 *	I3 m->running is the fiber on whose stack the host thread is; karc_cpu->fiber is the same
 *	I4 no decision depends on an address or on host time: ids, queue order, seeded numbers
 *	I5 a READY fiber is on the run queue of its CPU exactly once, no other fiber is on one
 *
 * Locking
 *	None: one host thread. Run queues, switch_prev and steps belong to their CPU, pending is
 *	atomic, so that a thread per CPU needs a lock around each run queue and all_fibers only.
 *
 * Worst case
 *	Choosing looks at each CPU once and at READY_WINDOW fibers of one queue. Everything blocked
 *	and no timer left is reported as stuck, as are RELAX_LIMIT cpu_relax() calls during which
 *	no fiber was woken, made, blocked or ended.
 *
 * Unlike Linux
 *	Switching follows a seed, not priorities. Idle time is skipped, not waited for.
 */
#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include "internal.h"
#include "sanitizer.h"

#define READY_WINDOW		8u
#define RELAX_LIMIT		(1ULL << 19)
#define RELAX_TIMER_MASK	((1ULL << 13) - 1)
#define NS_PER_SAFEPOINT	100u
#define NS_PER_RELAX		100u
#define NS_PER_LONELY_RELAX	10000u
#define NO_SWITCH		((unsigned int)-1)
#define SETTLE_MAX		(4 * RELAX_LIMIT)	/* a spinner is found stuck before */
#define SETTLE_SOFTIRQS		(1ULL << 16)	/* rounds of softirqs that only start themselves */

/* ---- run queues ---- */

void fiber_sched_progress(struct machine *m)
{
	m->relax_streak = 0;
}

void fiber_sched_enqueue(struct fiber *f)
{
	struct cpu_priv *p = cpu_priv(f->cpu);

	f->state = FIBER_READY;
	list_add_tail(&f->run_node, &p->run_queue);
	p->nr_ready++;
	fiber_sched_progress(fiber_machine(f));
}

void fiber_sched_dequeue(struct fiber *f)
{
	list_del_init(&f->run_node);
	cpu_priv(f->cpu)->nr_ready--;
}

static struct fiber *take_ready(struct machine *m, struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	unsigned int window = p->nr_ready < READY_WINDOW ? p->nr_ready : READY_WINDOW;
	unsigned int skip = window > 1 ? rnd_below(&m->rnd, window) : 0;
	struct fiber *f;

	list_for_each_entry(f, &p->run_queue, run_node) {
		if (!skip--)
			break;
	}
	fiber_sched_dequeue(f);
	return f;
}

/* ---- switching ---- */

/* Give @cpu another current fiber. The one before is put away as it is; counts go with it. */
void fiber_sched_set(struct cpu *cpu, struct fiber *next)
{
	struct cpu_priv *p = cpu_priv(cpu);
	struct fiber *prev = cpu->fiber;

	prev->saved_preempt_count = cpu->preempt_count;
	prev->saved_irqs_off = cpu->irqs_off;
	if (cpu->machine->on_switch && !p->switch_prev) {
		prev->refs++;
		p->switch_prev = prev;
	}
	cpu->fiber = next;
	next->state = FIBER_RUNNING;
	cpu->preempt_count = next->saved_preempt_count;
	cpu->irqs_off = next->saved_irqs_off;
	WRITE_ONCE(cpu->nr_switches, cpu->nr_switches + 1);
}

/* The current fiber of @cpu cannot go on: another one of its queue, or idle. */
void fiber_sched_next(struct cpu *cpu)
{
	bool some = cpu_priv(cpu)->nr_ready != 0;

	fiber_sched_set(cpu, some ? take_ready(cpu->machine, cpu) : cpu->idle);
}

/* What a context switch of this CPU still owes: the hook, on the new fiber, not preemptible. */
void fiber_sched_finish(struct machine *m, struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	struct fiber *prev = p->switch_prev;

	if (likely(!prev))
		return;
	p->switch_prev = NULL;
	if (prev != cpu->fiber && m->on_switch) {
		cpu->preempt_count++;
		m->on_switch(prev, cpu->fiber);
		cpu->preempt_count--;
	}
	fiber_put(m, prev);
}

/* First thing on a stack that was switched to. */
void fiber_sched_arrived(struct machine *m)
{
	struct fiber *self = m->running;
	struct fiber_leaving left = m->leaving;

	sanitizer_arrived(self->sanitizer_fake, m->left_host ? m->host : NULL);
	m->left_host = false;
	if (left.stack) {
		m->leaving = (struct fiber_leaving){ NULL, NULL };
		sanitizer_end_fiber(left.tsan_fiber);
		fiber_stack_put(m, left.stack);
	}
	fiber_sched_finish(m, karc_cpu);
}

static void leave_stack(struct machine *m, struct fiber *prev, struct fiber *next)
{
	void *nowhere;

	m->running = next;
	m->left_host = prev == m->host;
	sanitizer_leave(prev ? &prev->sanitizer_fake : NULL, next);
	switch_stacks(prev ? &prev->sp : &nowhere, next->sp);
}

/* Nothing of the CPU's current fiber is in the middle of something: idle really is idle. */
static bool cpu_quiet(const struct cpu *cpu)
{
	return cpu->fiber == cpu->idle && !cpu->preempt_count && !cpu->irqs_off;
}

static bool cpu_has_work(const struct cpu *cpu)
{
	const struct cpu_priv *p = cpu->priv;

	return !cpu_quiet(cpu) || p->nr_ready || p->switch_prev ||
	       (__atomic_load_n(&cpu->pending, __ATOMIC_ACQUIRE) & CPU_PENDING_WORK);
}

/* A CPU that has something to do, by lot; NULL if none has. */
static struct cpu *choose_cpu(struct machine *m, const struct cpu *except)
{
	unsigned char choice[MACHINE_MAX_CPUS];
	unsigned int nr = 0;

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (m->cpus[i] != except && cpu_has_work(m->cpus[i]))
			choice[nr++] = (unsigned char)i;
	}
	if (!nr)
		return NULL;
	return m->cpus[choice[nr > 1 ? rnd_below(&m->rnd, nr) : 0]];
}

/* Go on with @cpu. @prev is the fiber whose stack this is; NULL when it will not come back. */
static void jump(struct machine *m, struct fiber *prev, struct cpu *cpu)
{
	if (cpu_quiet(cpu) && cpu_priv(cpu)->nr_ready)
		fiber_sched_set(cpu, take_ready(m, cpu));
	karc_cpu = cpu;
	if (cpu->fiber == prev) {
		fiber_sched_finish(m, cpu);
		return;
	}
	leave_stack(m, prev, cpu->fiber);
	fiber_sched_arrived(m);
}

/* The current fiber has left its CPU (or is idle): let whoever has something to do go on. */
void fiber_sched_away(struct machine *m, struct fiber *prev)
{
	struct cpu *cpu;

	while (!(cpu = choose_cpu(m, NULL))) {
		if (m->next_expiry_ns != ~0ULL)
			clock_advance_to(m, m->next_expiry_ns);
		else
			fiber_stuck(m, false);
	}
	jump(m, prev, cpu);
}

/* Put the current fiber at the end of its queue and run another one of this CPU. */
static void give_way(struct machine *m, struct cpu *cpu)
{
	struct fiber *self = cpu->fiber;
	struct fiber *next = take_ready(m, cpu);
	struct cpu_priv *p = cpu_priv(cpu);

	if (self != cpu->idle) {
		self->state = FIBER_READY;
		list_add_tail(&self->run_node, &p->run_queue);
		p->nr_ready++;
	}
	fiber_sched_set(cpu, next);
	jump(m, self, cpu);
}

static bool can_give_way(const struct cpu *cpu)
{
	return !cpu->preempt_count && !cpu->irqs_off && cpu_priv((struct cpu *)cpu)->nr_ready;
}

void fiber_sched_deliver(void)
{
	struct cpu *cpu = karc_cpu;

	if (unlikely(__atomic_load_n(&cpu->pending, __ATOMIC_RELAXED) & CPU_PENDING_WORK))
		irq_deliver(cpu);
}

void fiber_sched_load_steps(struct machine *m, struct cpu *cpu)
{
	unsigned int every = m->config.switch_every;
	u32 steps = 1;

	if (every == NO_SWITCH)
		steps = 1u << 16;
	else if (every > 1)
		steps = 1 + rnd_below(&m->rnd, every < 1u << 30 ? 2 * every - 1 : 1u << 31);
	cpu->steps = steps;
	cpu_priv(cpu)->steps_loaded = steps;
}

/* An involuntary switch: any CPU, or another fiber of this one, by lot. */
static void preempt(struct machine *m, struct cpu *self)
{
	struct cpu *cpu = choose_cpu(m, NULL);

	if (cpu && cpu != self)
		jump(m, self->fiber, cpu);
	else if (can_give_way(self) && rnd_below(&m->rnd, cpu_priv(self)->nr_ready + 1))
		give_way(m, self);
}

void hw_safepoint_slow(void)
{
	struct cpu *cpu = karc_cpu;
	struct machine *m = cpu->machine;
	bool due = !cpu->steps;

	if (due) {
		clock_advance(m, (u64)cpu_priv(cpu)->steps_loaded * NS_PER_SAFEPOINT);
		fiber_sched_load_steps(m, cpu);	/* before handlers run, which pass safe points too */
	}
	fiber_sched_deliver();
	if (due && m->config.switch_every != NO_SWITCH)
		preempt(m, cpu);
	if (need_resched() && preemptible())
		cond_resched();
	fiber_sched_deliver();
}

void preempt_enable_slow(void)
{
	fiber_sched_deliver();
	if (need_resched() && preemptible())
		cond_resched();
}

void irq_enable_slow(void)
{
	preempt_enable_slow();
}

int cond_resched(void)
{
	struct cpu *cpu = karc_cpu;
	bool gave_way = false;

	if (preemptible()) {
		cpu_clear_pending(cpu, CPU_PENDING_RESCHED);
		if (can_give_way(cpu)) {
			give_way(cpu->machine, cpu);
			gave_way = true;
		}
	}
	hw_safepoint();
	return gave_way;
}

void fiber_yield(void)
{
	struct cpu *self = karc_cpu;
	struct machine *m = self->machine;
	struct cpu *cpu;
	bool local;

	might_sleep();
	clock_advance(m, NS_PER_SAFEPOINT);
	local = can_give_way(self);
	cpu = choose_cpu(m, self);
	if (cpu && local && rnd_below(&m->rnd, 2))
		cpu = NULL;
	if (cpu)
		jump(m, self->fiber, cpu);
	else if (local)
		give_way(m, self);
	fiber_sched_deliver();
}

/* Nobody else can run: only time can end the waiting. */
static void relax_alone(struct machine *m)
{
	if (m->next_expiry_ns != ~0ULL)
		clock_advance_to(m, m->next_expiry_ns);
	else
		clock_advance(m, NS_PER_LONELY_RELAX);
}

void cpu_relax(void)
{
	struct cpu *self = karc_cpu, *cpu;
	struct machine *m;
	bool local;

	if (!self)
		return;
	m = self->machine;
	clock_advance(m, NS_PER_RELAX);
	m->relax_streak++;
	if (unlikely(!(m->relax_streak & RELAX_TIMER_MASK))) {
		if (m->relax_streak >= RELAX_LIMIT)
			fiber_stuck(m, true);
		else if (m->next_expiry_ns != ~0ULL)
			clock_advance_to(m, m->next_expiry_ns);
	}
	fiber_sched_deliver();
	local = can_give_way(self);
	cpu = choose_cpu(m, self);
	if (cpu && local && rnd_below(&m->rnd, 2))
		cpu = NULL;
	if (cpu)
		jump(m, self->fiber, cpu);
	else if (local)
		give_way(m, self);
	else
		relax_alone(m);
	fiber_sched_deliver();
}

/* ---- blocking ---- */

struct fiber *fiber_self(void)
{
	return karc_cpu ? karc_cpu->fiber : NULL;
}

void fiber_prepare(void)
{
	fiber_self()->woken = false;
}

void fiber_block(const struct site *site)
{
	struct cpu *cpu = karc_cpu;
	struct machine *m = cpu->machine;
	struct fiber *self = cpu->fiber;

	fiber_sched_deliver();
	if (!preemptible() || self == cpu->idle)
		karc_bug_msg(KARC_BUG_SITE(""),
			     "scheduling while atomic: %s, preempt_count 0x%x%s, at %s:%u",
			     self->name, (unsigned int)cpu->preempt_count,
			     cpu->irqs_off ? ", interrupts off" : "", site->file, site->line);
	if (self->woken) {
		hw_safepoint();
		return;
	}
	self->wait_site = site;
	self->state = FIBER_BLOCKED;
	fiber_sched_progress(m);
	fiber_sched_next(cpu);
	fiber_sched_away(m, self);
	self->wait_site = NULL;
	fiber_sched_deliver();
}

void fiber_wake(struct fiber *f)
{
	f->woken = true;
	if (f->state == FIBER_BLOCKED)
		fiber_sched_enqueue(f);
}

struct timeout {
	struct hw_timer timer;
	struct fiber *fiber;
};

static void timeout_expired(struct hw_timer *timer)
{
	fiber_wake(container_of(timer, struct timeout, timer)->fiber);
}

u64 fiber_block_timeout(const struct site *site, u64 timeout_ns)
{
	struct timeout timeout = { .fiber = fiber_self() };
	u64 now = ktime_get_ns();
	u64 end = timeout_ns > ~0ULL - now ? ~0ULL - 1 : now + timeout_ns;

	hw_timer_init(&timeout.timer, timeout_expired);
	hw_timer_start(&timeout.timer, end);
	fiber_block(site);
	hw_timer_cancel_sync(&timeout.timer);
	now = ktime_get_ns();
	return now < end ? end - now : 0;
}

/* ---- quiet ---- */

static bool others_have_work(struct machine *m)
{
	struct cpu *self = karc_cpu;

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (m->cpus[i] != self && cpu_has_work(m->cpus[i]))
			return true;
	}
	return cpu_priv(self)->nr_ready ||
	       (__atomic_load_n(&self->pending, __ATOMIC_RELAXED) & CPU_PENDING_WORK);
}

/* Is there a fiber that wants to run, besides the caller? */
static bool others_are_ready(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct cpu *cpu = m->cpus[i];

		if (cpu_priv(cpu)->nr_ready || (cpu != karc_cpu && cpu->fiber != cpu->idle))
			return true;
	}
	return false;
}

/* Let everybody run until they are blocked or gone; false when there seems to be no end to it. */
bool fibers_settle(struct machine *m)
{
	u64 nr_softirqs = 0;

	for (u64 i = 0; i < SETTLE_MAX && nr_softirqs < SETTLE_SOFTIRQS; i++) {
		if (!others_have_work(m))
			return true;
		nr_softirqs = others_are_ready(m) ? 0 : nr_softirqs + 1;
		fiber_yield();
	}
	return !others_have_work(m);
}

void fibers_check(struct machine *m, struct check_report *report)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct cpu *cpu = m->cpus[i];
		unsigned int nr = 0;
		struct fiber *f;

		if (!cpu->fiber || cpu->fiber->state != FIBER_RUNNING)
			check_fail(report, "I1: CPU %u has no running fiber", i);
		list_for_each_entry(f, &cpu_priv(cpu)->run_queue, run_node) {
			nr++;
			if (f->state != FIBER_READY || f->cpu != cpu)
				check_fail(report, "I5: %s does not belong on CPU %u's queue",
					   f->name, i);
		}
		if (nr != cpu_priv(cpu)->nr_ready)
			check_fail(report, "I5: CPU %u counts %u ready fibers, has %u", i,
				   cpu_priv(cpu)->nr_ready, nr);
	}
}
