/* SPDX-License-Identifier: MIT */
/*
 * irq.c - interrupt lines, softirqs, and the places where they are delivered
 *
 * What it is
 *	Raising something sets a bit in cpu->pending. A CPU that passes a safe point, enables
 *	interrupts or preemption, or is idle looks at the word and calls irq_deliver(), which runs
 *	what the CPU's context allows and leaves the rest for the next delivery point. In parallel
 *	mode raising also wakes a CPU that sleeps, and others run what is raised for one that is
 *	outside (presence.c).
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
 * Locking
 *	irq_lock	who has which line. A handler runs without it; free_irq() waits for ->running
 *	pending words	atomic; what they announce belongs to the CPU, or to whoever claims it
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
	struct irq_line *line;
	int err = -EBUSY;

	if (irq >= NR_IRQ_LINES || !handler || flags)
		return -EINVAL;
	line = &m->lines[irq];
	hw_lock(m, &m->irq_lock);
	if (!line->taken) {
		line->taken = true;
		line->name = name;
		line->dev = dev;
		__atomic_store_n(&line->handler, handler, __ATOMIC_RELEASE);
		err = 0;
	}
	hw_unlock(m, &m->irq_lock);
	return err;
}

/* Take the handler of a line away; NULL when @dev has none there. */
static struct irq_line *line_quiet(struct machine *m, unsigned int irq, const void *dev)
{
	struct irq_line *line = &m->lines[irq];

	hw_lock(m, &m->irq_lock);
	if (!line->taken || !line->handler || line->dev != dev)
		line = NULL;
	else
		__atomic_store_n(&line->handler, NULL, __ATOMIC_SEQ_CST);
	hw_unlock(m, &m->irq_lock);
	return line;
}

const void *free_irq(unsigned int irq, void *dev)
{
	struct machine *m = karc_cpu->machine;
	struct irq_line *line;
	const char *name;

	might_sleep();
	line = irq < NR_IRQ_LINES ? line_quiet(m, irq, dev) : NULL;
	if (WARN(!line, "irq %u: free_irq() by somebody who has not requested it", irq))
		return NULL;
	/* Pairs with run_line(): it sees no handler any more, or the last access of one is over. */
	while (__atomic_load_n(&line->running, __ATOMIC_SEQ_CST))
		cpu_relax();
	hw_lock(m, &m->irq_lock);
	name = line->name;
	line->dev = NULL;
	line->name = NULL;
	line->taken = false;
	hw_unlock(m, &m->irq_lock);
	return name;
}

void irq_raise(struct machine *m, unsigned int cpu, unsigned int irq)
{
	BUG_ON(cpu >= m->nr_cpus || irq >= NR_IRQ_LINES);
	__atomic_fetch_or(&cpu_priv(m->cpus[cpu])->irq_pending, 1ULL << irq, __ATOMIC_RELAXED);
	cpu_post(m->cpus[cpu], CPU_PENDING_IRQ);
}

u64 irq_count_of(struct machine *m, unsigned int irq)
{
	return irq < NR_IRQ_LINES ? __atomic_load_n(&m->lines[irq].count, __ATOMIC_RELAXED) : 0;
}

void open_softirq(int nr, void (*action)(struct softirq_action *action))
{
	BUG_ON(nr < 0 || nr >= NR_SOFTIRQS);
	WRITE_ONCE(karc_cpu->machine->softirqs[nr].action, action);
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

	__atomic_fetch_add(&line->running, 1, __ATOMIC_SEQ_CST);
	cpu_priv(cpu)->line_running = line;
	handler = __atomic_load_n(&line->handler, __ATOMIC_SEQ_CST);
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
	__atomic_store_n(&p->timer_running, NULL, __ATOMIC_RELEASE);
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
	if (ipi_has_mail(cpu))
		cpu_set_pending(cpu, CPU_PENDING_IPI);
	if (READ_ONCE(p->next_expiry_ns) != ~0ULL)
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

void irq_run_hard(struct cpu *cpu, void (*run)(struct cpu *cpu))
{
	cpu->irqs_off = 1;
	preempt_count_add(HARDIRQ_OFFSET);
	run(cpu);
	preempt_count_sub(HARDIRQ_OFFSET);
	cpu->irqs_off = 0;
}

/* One source of hard interrupts, in its context. */
static void hardirq(struct cpu *cpu, u32 bit, void (*run)(struct cpu *cpu))
{
	cpu_clear_pending(cpu, bit);
	irq_run_hard(cpu, run);
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
		void (*action)(struct softirq_action *) = READ_ONCE(a->action);

		mask &= mask - 1;
		p->softirq_pending &= ~(1u << nr);
		if (action)
			action(a);
	}
	preempt_count_sub(SOFTIRQ_OFFSET);
}

static long deferred_main(void *arg)
{
	struct machine *m = arg;

	READ_ONCE(m->on_deferred)();
	return 0;
}

/* Puts from atomic context: a task that may sleep runs them. */
static void start_deferred(struct cpu *cpu)
{
	struct machine *m = cpu->machine;
	struct fiber *f;

	cpu_clear_pending(cpu, CPU_PENDING_DEFERRED);
	if (!READ_ONCE(m->on_deferred))
		return;
	f = fiber_spawn_in(m, cpu->id, "deferred", deferred_main, m, 0);
	if (f)
		fiber_detach(f);
	else
		READ_ONCE(m->on_deferred)();	/* no memory for a stack: this one has to do */
}

static void deliver_hard(struct cpu *cpu)
{
	u32 pending;

	while ((pending = cpu_pending(cpu)) &
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
		if (!(cpu_pending(cpu) & CPU_PENDING_SOFTIRQ))
			break;
		run_softirqs(cpu);
		deliver_hard(cpu);
	}
	if ((cpu_pending(cpu) & CPU_PENDING_DEFERRED) && !cpu->preempt_count)
		start_deferred(cpu);
}
