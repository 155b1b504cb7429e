/* SPDX-License-Identifier: MIT */
/*
 * panic.c - the end of a machine
 *
 * What it is
 *	A BUG ends one task, and the others go on with what it may have left broken. After a panic
 *	none goes on: all are ended as those of a stuck machine are, wherever they stand.
 *
 * Invariants
 *	I1 the first panic of a machine decides the text; a second one only ends its task
 *	I2 every task alive at the panic is parked or condemned, and none is made afterwards,
 *	   until machine_shutdown() lifts it, so that rooms can report what is left
 *
 * Worst case
 *	A condemned task that computes without safe points runs on, as it does when powering off.
 *
 * Unlike Linux
 *	Idle CPUs still take interrupts and timers. There is no reboot and no notifier.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <karc/hw/panic.h>
#include "internal.h"

/* The first task alive that is not ended yet, with a reference; NULL when there is none. */
static struct fiber *next_alive(struct machine *m)
{
	struct fiber *f, *found = NULL;

	hw_lock(m, &m->fibers_lock);
	list_for_each_entry(f, &m->all_fibers, all_node) {
		if (f == karc_cpu->fiber || (fiber_flags(f) & (FIBER_HOST | FIBER_IDLE)) ||
		    fiber_state(f) == FIBER_DEAD ||
		    __atomic_load_n(&f->condemned, __ATOMIC_ACQUIRE))
			continue;
		found = f;
		fiber_get(f);
		break;
	}
	hw_unlock(m, &m->fibers_lock);
	return found;
}

static void end_all(struct machine *m)
{
	struct fiber *f;

	while ((f = next_alive(m))) {
		fiber_park(m, f, MACHINE_BUG, m->panic_message);
		fiber_put(m, f);
	}
}

static void report_panic(struct machine *m, const char *text)
{
	unsigned long nr = machine_count(&m->counters.bugs);
	bool outermost = report_begin(m);

	report_line(m, LOGLEVEL_EMERG, "%s", text);
	report_where(m, LOGLEVEL_EMERG);
	report_trace_here(m, LOGLEVEL_EMERG);
	report_line(m, LOGLEVEL_EMERG, "---[ end %s ]--- %lu", text, nr);
	if (outermost)
		report_end(m);
}

void panic(const char *fmt, ...)
{
	static const char prefix[] = "Kernel panic - not syncing: ";
	char text[sizeof_field(struct machine_result, message)];
	struct machine *m = this_machine();
	int length = snprintf(text, sizeof(text), "%s", prefix);
	u32 running = PANIC_NONE;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text + length, sizeof(text) - (size_t)length, fmt, args);
	va_end(args);
	if (!m) {
		fprintf(stderr, "%s\n", text);
		abort();
	}
	if (__atomic_compare_exchange_n(&m->panic, &running, PANIC_BEGUN, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE)) {
		snprintf(m->panic_message, sizeof(m->panic_message), "%s", text);
		/* Pairs with the acquire in machine_panicked(). */
		__atomic_store_n(&m->panic, PANIC_SAID, __ATOMIC_RELEASE);
		report_panic(m, text);
		end_all(m);
	}
	if ((fiber_flags(karc_cpu->fiber) & FIBER_HOST) && (m->config.quiet || !m->config.console))
		fprintf(stderr, "%s\n", text);
	/* Others may point into its stack. */
	if (!(fiber_flags(karc_cpu->fiber) & (FIBER_HOST | FIBER_IDLE)))
		fiber_set_flag(karc_cpu->fiber, FIBER_PARKED);
	fiber_end(MACHINE_BUG, 0, text);
}

const char *machine_panicked(const struct machine *m)
{
	return __atomic_load_n(&m->panic, __ATOMIC_ACQUIRE) == PANIC_SAID ? m->panic_message : NULL;
}

/* So that the rooms can be taken down, which is done by tasks. */
void panic_lift(struct machine *m)
{
	__atomic_store_n(&m->panic, PANIC_NONE, __ATOMIC_RELEASE);
}
