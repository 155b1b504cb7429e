/* SPDX-License-Identifier: MIT */
/*
 * fiber_stuck.c - when nothing can move any more
 *
 * What it is
 *	Two ways to be stuck: every fiber is blocked and no timer is left, or CPUs spin in
 *	cpu_relax() while nothing else happens. The report says who waits where. Then the newest
 *	machine_call() ends, because its caller waits for it; without one, a spinner ends itself.
 *	When only the host fiber is left to blame, the process aborts.
 *
 * Invariants
 *	I1 whoever is ended by force keeps its stack (FIBER_PARKED): others may point into it
 *	I2 each report ends one fiber, so that reports end too
 */
#include <stdio.h>
#include <stdlib.h>

#include <karc/base/bug.h>
#include "internal.h"

#define STUCK_TRACES_MAX	8u

/* The machine_call() made last that still runs; the others wait for it in the end. */
static struct fiber *newest_call(struct machine *m)
{
	struct fiber *f, *newest = NULL;

	list_for_each_entry(f, &m->all_fibers, all_node) {
		if ((f->flags & FIBER_CALL) && f->state != FIBER_DEAD)
			newest = f;
	}
	return newest;
}

static void describe_wait(const struct fiber *f, char *buf, size_t size)
{
	const struct site *site = f->wait_site;
	static const char *const states[] = { "ready", "running", "blocked", "dead" };

	if (f->state == FIBER_BLOCKED && site)
		snprintf(buf, size, "%s waits at %s:%u (%s)%s%s", f->name, site->file, site->line,
			 site->func, f->joins ? " for the end of " : "",
			 f->joins ? f->joins->name : "");
	else
		snprintf(buf, size, "%s is %s", f->name, states[f->state]);
}

static void report_stuck(struct machine *m, bool spinning, const char *first)
{
	struct fiber *f;
	char text[160];
	unsigned int nr = 0;

	report_line(m, LOGLEVEL_EMERG, "%s", first);
	report_line(m, LOGLEVEL_EMERG, "%s", spinning ?
		    "CPUs spin in cpu_relax() and nothing else moves:" :
		    "every fiber is blocked and no timer is left:");
	list_for_each_entry(f, &m->all_fibers, all_node) {
		if (f->state == FIBER_DEAD || (f->flags & FIBER_IDLE))
			continue;
		describe_wait(f, text, sizeof(text));
		report_line(m, LOGLEVEL_EMERG, "  CPU %u, fiber %llu: %s", f->cpu->id, f->id, text);
		lockrank_print_held(m, f);
		if (nr++ < STUCK_TRACES_MAX)
			trace_print_fiber(m, LOGLEVEL_EMERG, f);
	}
}

/* End a fiber that is not the running one, wherever it stands, and keep its stack. */
static void park(struct machine *m, struct fiber *f, const char *message)
{
	struct cpu *cpu = f->cpu;

	if (f->state == FIBER_READY)
		fiber_sched_dequeue(f);
	fiber_leave_join(f);
	f->flags |= FIBER_PARKED;
	f->nr_held = 0;
	fiber_set_result(f, MACHINE_STUCK, 0, message);
	if (f->state == FIBER_RUNNING) {
		irq_abandon(cpu);
		fiber_dead(m, f);
		fiber_sched_next(cpu);
	} else {
		fiber_dead(m, f);
	}
}

/* Nothing can move any more: end the call that waits for it, or who spins. */
void fiber_stuck(struct machine *m, bool spinning)
{
	struct fiber *victim = newest_call(m);
	char text[160], message[192];

	if (!victim && spinning && !(m->running->flags & (FIBER_HOST | FIBER_IDLE)))
		victim = m->running;
	describe_wait(victim ? victim : m->host, text, sizeof(text));
	snprintf(message, sizeof(message), "machine stuck: %s", text);
	report_stuck(m, spinning, message);
	m->counters.stucks++;
	fiber_sched_progress(m);
	if (!victim)
		abort();
	if (victim == m->running && victim->state == FIBER_RUNNING)
		fiber_end(MACHINE_STUCK, 0, message);
	park(m, victim, message);
}
