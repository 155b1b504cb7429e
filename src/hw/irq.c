/* SPDX-License-Identifier: MIT */
/*
 * irq.c - interrupt lines, softirqs, and the places where they are delivered
 *
 * What it is
 *	Raising something sets a bit in cpu->pending. A CPU that passes a safe point, enables
 *	interrupts or preemption, or is idle looks at the word and calls irq_deliver(), which runs
 *	what the CPU's context allows and leaves the rest for the next delivery point.
 *
 * Order of delivery
 *	cross-CPU calls, lines (lowest first), timers: each in hardirq context with interrupts off;
 *	then softirqs (lowest first) with interrupts on; then deferred puts, in a task of their own
 *
 * Invariants
 *	I1 a hardirq handler runs with interrupts off and is not interrupted on its CPU
 *	I2 softirqs never run inside hardirq, inside another softirq, or under local_bh_disable()
 *	I3 when irq_deliver() returns to a task with interrupts on, no pending work bit is set that
 *	   its context would have allowed
 *
 * Worst case
 *	A handler that raises its own line is run again at once; SOFTIRQ_ROUNDS bounds how long
 *	softirqs that raise themselves keep a task from going on.
 *
 * Unlike Linux
 *	No ksoftirqd: what is left after SOFTIRQ_ROUNDS runs at the next safe point. No shared or
 *	threaded lines, no affinity: the device names the CPU.
 */
#include <errno.h>

#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include "internal.h"

#define SOFTIRQ_ROUNDS	10

int request_irq(unsigned int irq, irq_handler_t handler, unsigned long flags, const char *name,
		void *dev)
{
	struct machine *m = karc_cpu->machine;

	if (irq >= NR_IRQ_LINES || !handler || flags)
		return -EINVAL;
	if (m->lines[irq].handler)
		return -EBUSY;
	m->lines[irq].name = name;
	m->lines[irq].dev = dev;
	m->lines[irq].handler = handler;
	return 0;
}

const void *free_irq(unsigned int irq, void *dev)
{
	struct machine *m = karc_cpu->machine;
	struct irq_line *line;
	const char *name;

	might_sleep();
	if (WARN_ON(irq >= NR_IRQ_LINES || !m->lines[irq].handler || m->lines[irq].dev != dev))
		return NULL;
	line = &m->lines[irq];
	name = line->name;
	line->handler = NULL;
	/* Pairs with the release in run_line(): the handler's last access is over. */
	while (__atomic_load_n(&line->running, __ATOMIC_ACQUIRE))
		cpu_relax();
	line->dev = NULL;
	line->name = NULL;
	return name;
}

void irq_raise(struct machine *m, unsigned int cpu, unsigned int irq)
{
	BUG_ON(cpu >= m->nr_cpus || irq >= NR_IRQ_LINES);
	__atomic_fetch_or(&cpu_priv(m->cpus[cpu])->irq_pending, 1ULL << irq, __ATOMIC_RELAXED);
	cpu_set_pending(m->cpus[cpu], CPU_PENDING_IRQ);
}

u64 irq_count_of(struct machine *m, unsigned int irq)
{
	return irq < NR_IRQ_LINES ? __atomic_load_n(&m->lines[irq].count, __ATOMIC_RELAXED) : 0;
}

void open_softirq(int nr, void (*action)(struct softirq_action *action))
{
	BUG_ON(nr < 0 || nr >= NR_SOFTIRQS);
	karc_cpu->machine->softirqs[nr].action = action;
}

void raise_softirq(unsigned int nr)
{
	struct cpu *cpu = karc_cpu;

	BUG_ON(nr >= NR_SOFTIRQS);
	cpu_priv(cpu)->softirq_pending |= 1u << nr;
	cpu_set_pending(cpu, CPU_PENDING_SOFTIRQ);
}

u32 local_softirq_pending(void)
{
	return cpu_priv(karc_cpu)->softirq_pending;
}

static void run_line(struct cpu *cpu, unsigned int irq)
{
	struct irq_line *line = &cpu->machine->lines[irq];
	irq_handler_t handler;

	__atomic_fetch_add(&line->running, 1, __ATOMIC_ACQUIRE);
	cpu_priv(cpu)->line_running = line;
	handler = READ_ONCE(line->handler);
	if (handler) {
		__atomic_fetch_add(&line->count, 1, __ATOMIC_RELAXED);
		handler((int)irq, line->dev);
	} else {
		WARN_ONCE(1, "irq %u: nobody cared", irq);
	}
	cpu_priv(cpu)->line_running = NULL;
	__atomic_fetch_sub(&line->running, 1, __ATOMIC_RELEASE);
}

void irq_abandon(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);

	cpu->preempt_count = 0;
	cpu->irqs_off = 0;
	p->timer_running = NULL;
	if (p->line_running)
		__atomic_fetch_sub(&p->line_running->running, 1, __ATOMIC_RELEASE);
	p->line_running = NULL;
	if (p->slot_running)
		__atomic_store_n(&p->slot_running->busy, 0, __ATOMIC_RELEASE);
	p->slot_running = NULL;
	/* What the handlers had not come to yet. */
	if (READ_ONCE(p->irq_pending))
		cpu_set_pending(cpu, CPU_PENDING_IRQ);
	if (p->softirq_pending)
		cpu_set_pending(cpu, CPU_PENDING_SOFTIRQ);
	if (!list_empty(&p->mailbox))
		cpu_set_pending(cpu, CPU_PENDING_IPI);
	if (p->timers.rb_leftmost)
		cpu_set_pending(cpu, CPU_PENDING_TIMER);
}

static void run_lines(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	u64 mask;

	/* One bit at a time: a handler that does not come back leaves the others pending. */
	while ((mask = __atomic_load_n(&p->irq_pending, __ATOMIC_RELAXED))) {
		unsigned int irq = (unsigned int)__builtin_ctzll(mask);

		__atomic_fetch_and(&p->irq_pending, ~(1ULL << irq), __ATOMIC_RELAXED);
		run_line(cpu, irq);
	}
}

/* One source of hard interrupts, in its context. */
static void hardirq(struct cpu *cpu, u32 bit, void (*run)(struct cpu *cpu))
{
	cpu_clear_pending(cpu, bit);
	cpu->irqs_off = 1;
	preempt_count_add(HARDIRQ_OFFSET);
	run(cpu);
	preempt_count_sub(HARDIRQ_OFFSET);
	cpu->irqs_off = 0;
}

static void run_softirqs(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	u32 mask = p->softirq_pending;	/* what they raise themselves waits for the next round */

	cpu_clear_pending(cpu, CPU_PENDING_SOFTIRQ);
	preempt_count_add(SOFTIRQ_OFFSET);
	while (mask) {
		int nr = __builtin_ctz(mask);
		struct softirq_action *a = &cpu->machine->softirqs[nr];

		mask &= mask - 1;
		p->softirq_pending &= ~(1u << nr);
		if (a->action)
			a->action(a);
	}
	preempt_count_sub(SOFTIRQ_OFFSET);
}

static long deferred_main(void *arg)
{
	struct machine *m = arg;

	m->on_deferred();
	return 0;
}

/* Puts from atomic context: a task that may sleep runs them. */
static void start_deferred(struct cpu *cpu)
{
	struct machine *m = cpu->machine;
	struct fiber *f;

	cpu_clear_pending(cpu, CPU_PENDING_DEFERRED);
	if (!m->on_deferred)
		return;
	f = fiber_spawn_in(m, cpu->id, "deferred", deferred_main, m, 0);
	if (f)
		fiber_detach(f);
	else
		m->on_deferred();	/* no memory for a stack: this one has to do */
}

static u32 pending_of(const struct cpu *cpu)
{
	return __atomic_load_n(&cpu->pending, __ATOMIC_ACQUIRE);
}

static void deliver_hard(struct cpu *cpu)
{
	u32 pending;

	while ((pending = pending_of(cpu)) &
	       (CPU_PENDING_IPI | CPU_PENDING_IRQ | CPU_PENDING_TIMER)) {
		if (pending & CPU_PENDING_IPI)
			hardirq(cpu, CPU_PENDING_IPI, ipi_run_mailbox);
		if (pending & CPU_PENDING_IRQ)
			hardirq(cpu, CPU_PENDING_IRQ, run_lines);
		if (pending & CPU_PENDING_TIMER)
			hardirq(cpu, CPU_PENDING_TIMER, clock_run_due);
	}
}

void irq_deliver(struct cpu *cpu)
{
	if (cpu->irqs_off || in_hardirq())
		return;
	deliver_hard(cpu);
	if (in_interrupt())
		return;
	for (int round = 0; round < SOFTIRQ_ROUNDS; round++) {
		if (!(pending_of(cpu) & CPU_PENDING_SOFTIRQ))
			break;
		run_softirqs(cpu);
		deliver_hard(cpu);
	}
	if ((pending_of(cpu) & CPU_PENDING_DEFERRED) && !cpu->preempt_count)
		start_deferred(cpu);
}
