/* SPDX-License-Identifier: MIT */
/*
 * context.h - which context this code runs in: task, softirq, hardirq, atomic
 *
 * The preempt count has Linux's fields: 8 bits of preempt_disable() nesting, 8 bits of softirq
 * (the lowest: serving one; the rest: local_bh_disable() nesting), 4 bits of hardirq nesting. It
 * lives in struct cpu; a fiber's share is saved and restored when the CPU switches fibers.
 *
 * While the count is not 0 or interrupts are off, the CPU keeps its fiber. Other CPUs run.
 */
#ifndef KARC_HW_CONTEXT_H
#define KARC_HW_CONTEXT_H

#include <karc/base/cleanup.h>
#include <karc/base/compiler.h>
#include <karc/base/site.h>
#include <karc/hw/cpu.h>

#define PREEMPT_BITS		8
#define SOFTIRQ_BITS		8
#define HARDIRQ_BITS		4
#define PREEMPT_SHIFT		0
#define SOFTIRQ_SHIFT		(PREEMPT_SHIFT + PREEMPT_BITS)
#define HARDIRQ_SHIFT		(SOFTIRQ_SHIFT + SOFTIRQ_BITS)
#define PREEMPT_OFFSET		(1 << PREEMPT_SHIFT)
#define SOFTIRQ_OFFSET		(1 << SOFTIRQ_SHIFT)
#define HARDIRQ_OFFSET		(1 << HARDIRQ_SHIFT)
#define SOFTIRQ_DISABLE_OFFSET	(2 * SOFTIRQ_OFFSET)
#define PREEMPT_MASK		(((1 << PREEMPT_BITS) - 1) << PREEMPT_SHIFT)
#define SOFTIRQ_MASK		(((1 << SOFTIRQ_BITS) - 1) << SOFTIRQ_SHIFT)
#define HARDIRQ_MASK		(((1 << HARDIRQ_BITS) - 1) << HARDIRQ_SHIFT)

static inline int preempt_count(void)
{
	return karc_cpu->preempt_count;
}

static inline void preempt_count_add(int value)
{
	karc_cpu->preempt_count += value;
	barrier();
}

static inline void preempt_count_sub(int value)
{
	barrier();
	karc_cpu->preempt_count -= value;
}

#define hardirq_count()		(preempt_count() & HARDIRQ_MASK)
#define softirq_count()		(preempt_count() & SOFTIRQ_MASK)
#define in_hardirq()		(hardirq_count() != 0)
#define in_irq()		in_hardirq()
#define in_softirq()		(softirq_count() != 0)
#define in_serving_softirq()	((softirq_count() & SOFTIRQ_OFFSET) != 0)
#define in_interrupt()		((preempt_count() & (HARDIRQ_MASK | SOFTIRQ_MASK)) != 0)
#define in_nmi()		(0)
#define in_task()		(!(in_hardirq() || in_serving_softirq()))
#define in_atomic()		(preempt_count() != 0)
#define irqs_disabled()		(karc_cpu->irqs_off != 0)
#define preemptible()		(preempt_count() == 0 && !irqs_disabled())

void preempt_enable_slow(void);

static inline void preempt_disable(void)
{
	preempt_count_add(PREEMPT_OFFSET);
}

static inline void preempt_enable_no_resched(void)
{
	preempt_count_sub(PREEMPT_OFFSET);
}

/* The outermost one delivers what came meanwhile and gives way if that was asked for. */
static inline void preempt_enable(void)
{
	struct cpu *c = karc_cpu;

	barrier();
	c->preempt_count -= PREEMPT_OFFSET;
	if (unlikely(__atomic_load_n(&c->pending, __ATOMIC_RELAXED) && !c->preempt_count))
		preempt_enable_slow();
}

#define preempt_enable_notrace()	preempt_enable()
#define preempt_disable_notrace()	preempt_disable()

#define get_cpu()	({ preempt_disable(); smp_processor_id(); })
#define put_cpu()	preempt_enable()

/* The fiber stays on its CPU; it may still be switched out. */
void migrate_disable(void);
void migrate_enable(void);

static inline void local_bh_disable(void)
{
	preempt_count_add(SOFTIRQ_DISABLE_OFFSET);
}

/* The outermost one runs the softirqs that were raised meanwhile. */
void local_bh_enable(void);

/**
 * might_sleep - state that this function may sleep
 *
 * In atomic context it prints "BUG: sleeping function called from invalid context at FILE:LINE"
 * with the place of the macro, the counts and a Call Trace; counted as a warning. Otherwise it
 * is a safe point.
 * Model: Linux 6.1 might_sleep().
 */
void might_sleep_site(const struct site *site);
#define might_sleep()		might_sleep_site(SITE())
#define might_sleep_if(cond)	do { if (cond) might_sleep(); } while (0)

/* guard(preempt)(), guard(migrate)(); see base/cleanup.h. */
DEFINE_LOCK_GUARD_0(preempt, preempt_disable(), preempt_enable())
DEFINE_LOCK_GUARD_0(preempt_notrace, preempt_disable(), preempt_enable())
DEFINE_LOCK_GUARD_0(migrate, migrate_disable(), migrate_enable())

#endif
