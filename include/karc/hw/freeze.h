/* SPDX-License-Identifier: MIT */
/*
 * freeze.h - stop all other CPUs at a safe point, look at everything, let them go on
 *
 * For who reads structures of the whole machine while it runs: at a safe point no list is half
 * linked, and no lock of those that are held for a few steps without one is held.
 */
#ifndef KARC_HW_FREEZE_H
#define KARC_HW_FREEZE_H

#include <karc/base/contract.h>
#include <karc/base/types.h>

/**
 * machine_freeze - nothing but the caller moves until machine_thaw()
 *
 * In between, the caller waits for nobody: it takes no lock that others may hold, does not sleep,
 * and no interrupt comes. Preemption is off. What others did before is seen.
 *
 * Context: preemptible; may give way to others that freeze.
 * Errors:  false: a CPU of a parallel machine passed no safe point in FREEZE_WAIT_MS, although the
 *          host ran its thread: nothing is frozen. Always true in deterministic mode.
 */
KARC_MUST_CHECK bool machine_freeze(void);
void machine_thaw(void);

#define FREEZE_WAIT_MS	200u

/**
 * machine_give_turns - let everybody else go on a little
 * @nr: how often fibers of this CPU come before the caller, and how many times each other CPU that
 *      is at work looks for interrupts
 *
 * For who freezes the machine again to see whether something was only in the middle of a change: on
 * a parallel machine a CPU that was let go may not have run at all before it is frozen again.
 *
 * Context: may sleep.
 * Errors:  none; a CPU that passes no safe point is waited for as long as in machine_freeze().
 */
void machine_give_turns(unsigned int nr);

#endif
