/* SPDX-License-Identifier: MIT */
/*
 * ipi.h - run a function on another CPU
 *
 * The request goes to the target's mailbox and is run there in hardirq context at its next safe
 * point with interrupts enabled; an idle CPU wakes for it. A sender that waits runs its own
 * mailbox meanwhile, so that two CPUs calling each other both get through.
 */
#ifndef KARC_HW_IPI_H
#define KARC_HW_IPI_H

#include <karc/hw/cpumask.h>
#include <karc/hw/irq.h>

typedef void (*smp_call_func_t)(void *info);

/**
 * smp_call_function_single - run func(info) on CPU @cpu
 * @wait: return only when it has run
 *
 * On this CPU it is called directly with interrupts off.
 * Context: not in an interrupt, interrupts on (otherwise it warns, and still works).
 * Errors:  -ENXIO when there is no such CPU.
 * Model:   Linux 6.1.
 */
int smp_call_function_single(int cpu, smp_call_func_t func, void *info, int wait);

/* The same on each CPU of @mask but this one. Context: preemption disabled. */
void smp_call_function_many(const cpumask_t *mask, smp_call_func_t func, void *info, bool wait);

/* On each CPU but this one. */
void smp_call_function(smp_call_func_t func, void *info, int wait);

/* On each CPU / each CPU of @mask, this one included. */
void on_each_cpu(smp_call_func_t func, void *info, int wait);
void on_each_cpu_mask(const cpumask_t *mask, smp_call_func_t func, void *info, bool wait);

/* Cross-CPU calls that @cpu has run. */
u64 ipi_count(struct cpu *cpu);

#endif
