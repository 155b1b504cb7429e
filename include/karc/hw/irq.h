/* SPDX-License-Identifier: MIT */
/*
 * irq.h - the interrupt flag, interrupt lines, and softirqs
 *
 * An interrupt is a bit that a CPU looks at when it reaches a safe point with interrupts
 * enabled. Its handler then runs on top of whatever that CPU runs, in hardirq context with
 * interrupts off; softirqs that it raised run when it returns.
 */
#ifndef KARC_HW_IRQ_H
#define KARC_HW_IRQ_H

#include <karc/base/cleanup.h>
#include <karc/hw/context.h>

#define NR_IRQ_LINES	64

typedef enum irqreturn { IRQ_NONE, IRQ_HANDLED, IRQ_WAKE_THREAD } irqreturn_t;
typedef irqreturn_t (*irq_handler_t)(int irq, void *dev);

void irq_enable_slow(void);

static inline void local_irq_disable(void)
{
	karc_cpu->irqs_off = 1;
	barrier();
}

static inline void local_irq_enable(void)
{
	struct cpu *c = karc_cpu;

	barrier();
	c->irqs_off = 0;
	if (unlikely(__atomic_load_n(&c->pending, __ATOMIC_RELAXED)))
		irq_enable_slow();
}

static inline unsigned long irq_save_flags(void)
{
	unsigned long flags = karc_cpu->irqs_off;

	local_irq_disable();
	return flags;
}

static inline void irq_restore_flags(unsigned long flags)
{
	if (flags)
		local_irq_disable();
	else
		local_irq_enable();
}

#define local_save_flags(flags)		((void)((flags) = karc_cpu->irqs_off))
#define local_irq_save(flags)		((void)((flags) = irq_save_flags()))
#define local_irq_restore(flags)	irq_restore_flags(flags)
#define irqs_disabled_flags(flags)	((flags) != 0)
#define raw_local_irq_save(flags)	local_irq_save(flags)
#define raw_local_irq_restore(flags)	local_irq_restore(flags)
#define raw_local_irq_disable()		local_irq_disable()
#define raw_local_irq_enable()		local_irq_enable()
#define raw_irqs_disabled()		irqs_disabled()

/**
 * request_irq - handle an interrupt line, on whichever CPU it is raised
 * @irq:     0 .. NR_IRQ_LINES - 1
 * @handler: runs in hardirq context; must not sleep
 * @flags:   0; sharing a line is not built
 * @name:    for reports; must outlive the registration
 * @dev:     passed to the handler and to free_irq()
 *
 * Errors: -EINVAL for a bad line or no handler, -EBUSY when the line is taken.
 * Model:  Linux 6.1 request_irq().
 */
KARC_MUST_CHECK int request_irq(unsigned int irq, irq_handler_t handler, unsigned long flags,
				const char *name, void *dev);

/* Give a line back. A handler that still runs on another CPU has ended when it returns. */
const void *free_irq(unsigned int irq, void *dev);

/* What a device does: raise line @irq on CPU @cpu of @m. Any context, also outside the machine. */
void irq_raise(struct machine *m, unsigned int cpu, unsigned int irq);

/* Interrupts of line @irq handled so far, on all CPUs. */
u64 irq_count_of(struct machine *m, unsigned int irq);

enum {
	HI_SOFTIRQ,
	TIMER_SOFTIRQ,
	NET_TX_SOFTIRQ,
	NET_RX_SOFTIRQ,
	BLOCK_SOFTIRQ,
	IRQ_POLL_SOFTIRQ,
	TASKLET_SOFTIRQ,
	SCHED_SOFTIRQ,
	HRTIMER_SOFTIRQ,
	RCU_SOFTIRQ,
	NR_SOFTIRQS
};

struct softirq_action {
	void (*action)(struct softirq_action *action);
};

/* The machine-wide action of softirq @nr; NULL takes it away. */
void open_softirq(int nr, void (*action)(struct softirq_action *action));

/**
 * raise_softirq - run softirq @nr on this CPU soon
 *
 * At the end of the interrupt, at local_bh_enable(), or at the next safe point of a task.
 * Context: any.
 */
void raise_softirq(unsigned int nr);
#define raise_softirq_irqoff(nr)	raise_softirq(nr)

u32 local_softirq_pending(void);

/* guard(irq)(), guard(irqsave)(); see base/cleanup.h. */
DEFINE_LOCK_GUARD_0(irq, local_irq_disable(), local_irq_enable())
DEFINE_LOCK_GUARD_0(irqsave, local_irq_save(_T->flags), local_irq_restore(_T->flags),
		    unsigned long flags)

#endif
