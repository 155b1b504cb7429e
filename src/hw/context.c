/* SPDX-License-Identifier: MIT */
/*
 * context.c - out-of-line parts of context.h: might_sleep, bottom halves, migration
 *
 * Invariants
 *	I1 the outermost preempt_enable(), local_bh_enable() and local_irq_enable() are delivery
 *	   points: nothing that came meanwhile waits longer than that
 *	I2 migrate_disable() is a matter of the fiber, preempt_disable() one of the CPU
 */
#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include "internal.h"

void might_sleep_site(const struct site *site)
{
	struct cpu *cpu = karc_cpu;
	struct machine *m;
	bool outermost;

	if (likely(!cpu->preempt_count && !cpu->irqs_off)) {
		hw_safepoint();
		return;
	}
	m = cpu->machine;
	machine_count(&m->counters.warnings);
	outermost = report_begin(m);
	report_line(m, LOGLEVEL_ERR,
		    "BUG: sleeping function called from invalid context at %s:%u", site->file,
		    site->line);
	report_line(m, LOGLEVEL_ERR, "in_atomic(): %d, irqs_disabled(): %u, function: %s",
		    in_atomic(), cpu->irqs_off, site->func);
	report_line(m, LOGLEVEL_ERR, "preempt_count: %x", (unsigned int)cpu->preempt_count);
	report_where(m, LOGLEVEL_ERR);
	report_trace_here(m, LOGLEVEL_ERR);
	if (outermost)
		report_end(m);
}

void local_bh_enable(void)
{
	struct cpu *cpu = karc_cpu;

	WARN_ON_ONCE(in_hardirq());
	preempt_count_sub(SOFTIRQ_DISABLE_OFFSET);
	if (unlikely(__atomic_load_n(&cpu->pending, __ATOMIC_RELAXED)) && !in_interrupt())
		preempt_enable_slow();
}

void migrate_disable(void)
{
	fiber_self()->migrate_disabled++;
}

void migrate_enable(void)
{
	struct fiber *self = fiber_self();

	if (WARN_ON_ONCE(self->migrate_disabled <= 0))
		return;
	self->migrate_disabled--;
}
