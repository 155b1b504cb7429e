/* SPDX-License-Identifier: MIT */
/*
 * panic.h - the end of a machine that cannot be trusted any more
 */
#ifndef KARC_HW_PANIC_H
#define KARC_HW_PANIC_H

#include <karc/base/compiler.h>
#include <karc/base/types.h>
#include <karc/hw/machine.h>

/**
 * panic - stop the machine: no task of it runs any further
 *
 * Prints "Kernel panic - not syncing: ..." with a Call Trace. Every task ends where it stands, its
 * stack is kept, its locks stay held; each machine_call() under way returns MACHINE_BUG with that
 * text as its message, and so does each later one at once, and fiber_spawn() gives NULL. Harness
 * threads, other machines and the host process go on; machine_shutdown() takes the machine apart
 * as always and reports what is left.
 *
 * Context: any; in parallel mode a task on another CPU runs on to its next slow safe point. In the
 *          host fiber, outside machine_call(), it aborts the process as BUG() does there.
 */
void panic(const char *fmt, ...) __noreturn __cold __printf(1, 2);

/* The text of its panic, or NULL. */
const char *machine_panicked(const struct machine *m);

#endif
