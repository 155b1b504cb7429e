/* SPDX-License-Identifier: MIT */
/*
 * inject.h - make the nth fallible allocation fail
 *
 * Every allocation that may fail asks inject_fail() once, before it changes anything. The
 * fail-nth loop of the tests arms n = 1, 2, 3 ... until the operation succeeds.
 */
#ifndef KARC_HW_INJECT_H
#define KARC_HW_INJECT_H

#include <karc/hw/cpu.h>

/* The armed case: counts down; true for the one that fails. */
bool inject_fail_armed(void);

/*
 * True when this allocation must fail now. Never true in the machine's own bookkeeping. Costs an
 * increment of this CPU's counter while nothing is armed: no locked instruction.
 */
static inline bool inject_fail(void)
{
	struct cpu *cpu = this_cpu();

	if (!cpu)
		return false;
	WRITE_ONCE(cpu->nr_alloc_asked, cpu->nr_alloc_asked + 1);
	return unlikely(READ_ONCE(cpu->inject_armed)) && inject_fail_armed();
}

/* Fail the @nth allocation from now (1 = the next); 0 disarms. Counts on all CPUs together. */
void inject_arm(struct machine *m, unsigned long nth);

/* Did the armed failure happen? Disarms. */
bool inject_disarm(struct machine *m);

/* Fallible allocations asked for since boot; without those that were a pop, inlined, from an array. */
unsigned long inject_count(struct machine *m);

#endif
