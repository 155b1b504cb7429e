/* SPDX-License-Identifier: MIT */
/*
 * inject.h - make the nth fallible allocation fail
 *
 * Every allocation that may fail asks inject_fail() once, before it changes anything. The
 * fail-nth loop of the tests arms n = 1, 2, 3 ... until the operation succeeds.
 */
#ifndef KARC_HW_INJECT_H
#define KARC_HW_INJECT_H

#include <karc/hw/machine.h>

/* True when this allocation must fail now. Never true in the machine's own bookkeeping. */
bool inject_fail(void);

/* Fail the @nth allocation from now (1 = the next); 0 disarms. Counts on all CPUs together. */
void inject_arm(struct machine *m, unsigned long nth);

/* Did the armed failure happen? Disarms. */
bool inject_disarm(struct machine *m);

/* Number of fallible allocations asked for since boot. */
unsigned long inject_count(struct machine *m);

#endif
