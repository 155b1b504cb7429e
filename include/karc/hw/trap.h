/* SPDX-License-Identifier: MIT */
/*
 * trap.h - host faults inside simulated kernel code become Oopses
 *
 * A SIGSEGV, SIGBUS, SIGFPE or SIGILL that a fiber raises ends that fiber with a Call Trace. The
 * handler runs on an alternate stack and only edits the saved program counter; the report is
 * made by normal code. Faults of the host fiber, or of threads outside a machine, go to the
 * handler that was there before, unless a machine repairs them.
 */
#ifndef KARC_HW_TRAP_H
#define KARC_HW_TRAP_H

#include <karc/hw/machine.h>

/* Install the signal handlers; machine_boot does it. Counts: trap_remove() undoes the last. */
int trap_install(void);
void trap_remove(void);

/* Install them again if somebody replaced them (CMocka does, before each test). */
void trap_rearm(void);

/**
 * trap_on_fault - register a repair for host faults (a window that is mapped on access)
 * @fn: true = the access can be retried. Runs inside the signal handler, on whatever thread of
 *      the process raised the fault, in a machine or not: no lock that the interrupted code might
 *      hold, no allocation, no log, nothing of this_cpu(); host system calls are fine. NULL: none
 *
 * Every machine's is asked about every fault: it knows its own addresses.
 */
typedef bool (*trap_fixup_t)(struct machine *m, void *addr, bool write);
void trap_on_fault(struct machine *m, trap_fixup_t fn);

#endif
