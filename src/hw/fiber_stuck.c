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
		if ((fiber_flags(f) & FIBER_CALL) && fiber_state(f) != FIBER_DEAD)
			newest = f;
	}
	return newest;
}

static void describe_wait(const struct fiber *f, char *buf, size_t size)
{
	const struct site *site = READ_ONCE(f->wait_site);
	enum fiber_state state = fiber_state(f);
	static const char *const states[] = { "ready", "running", "blocked", "dead" };

	if (state == FIBER_BLOCKED && site)
		snprintf(buf, size, "%s waits at %s:%u (%s)%s%s", f->name, site->file, site->line,
			 site->func, f->joins ? " for the end of " : "",
			 f->joins ? f->joins->name : "");
	else
		snprintf(buf, size, "%s is %s", f->name, states[state]);
}

/* Its saved frames can be read: no other host thread is on its stack. */
static bool stands_still(const struct machine *m, const struct fiber *f)
{
	return !m->parallel || f == karc_cpu->fiber ||
	       !__atomic_load_n(&f->on_cpu, __ATOMIC_ACQUIRE);
}

/* What it holds, and with @trace its callers; another host thread must say so itself. */
static void print_place(struct machine *m, struct fiber *f, bool trace)
{
	struct cpu *cpu = READ_ONCE(f->cpu);

	if (stands_still(m, f)) {
		lockrank_print_held(m, f);
		if (trace)
			trace_print_fiber(m, LOGLEVEL_EMERG, f);
	} else if (trace && READ_ONCE(cpu->fiber) == f) {
		silent_print_place(m, cpu);
	}
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
		if (fiber_state(f) == FIBER_DEAD || (fiber_flags(f) & FIBER_IDLE))
			continue;
		describe_wait(f, text, sizeof(text));
		report_line(m, LOGLEVEL_EMERG, "  CPU %u, fiber %llu: %s", READ_ONCE(f->cpu)->id,
			    f->id, text);
		print_place(m, f, nr++ < STUCK_TRACES_MAX);
	}
}

/* It runs on another host thread, and ends itself where it waits or passes a slow safe point. */
static void condemn(struct fiber *f, enum machine_end end, const char *message)
{
	if (f->condemned)
		return;
	fiber_set_result(f, end, 0, message);
	__atomic_store_n(&f->condemned, true, __ATOMIC_RELEASE);
}

void fiber_end_condemned(void)
{
	struct fiber *self = karc_cpu->fiber;
	struct machine_result judgement = self->result;

	fiber_set_flag(self, FIBER_PARKED);
	fiber_end(judgement.end, 0, judgement.message);
}

void fiber_park(struct machine *m, struct fiber *f, enum machine_end end, const char *message)
{
	struct cpu *cpu = f->cpu;
	bool running;

	hw_lock(m, &f->lock);
	running = fiber_state(f) == FIBER_RUNNING ||
		  (fiber_state(f) == FIBER_READY && !fiber_sched_dequeue(f));
	if (running && m->parallel)
		condemn(f, end, message);
	else
		WRITE_ONCE(f->state, FIBER_DEAD);	/* nobody wakes it any more */
	hw_unlock(m, &f->lock);
	if (running && m->parallel)
		return;
	fiber_leave_join(f);
	fiber_set_flag(f, FIBER_PARKED);
	lockrank_forget(m, f);
	fiber_set_result(f, end, 0, message);
	if (running)
		irq_abandon(cpu);
	fiber_dead(m, f);
	if (running)
		fiber_sched_next(cpu);
}

/* Nothing can move any more: end the call that waits for it, or who spins. */
void fiber_stuck(struct machine *m, bool spinning)
{
	struct fiber *self = karc_cpu->fiber, *victim;
	char text[160], message[192];

	hw_lock(m, &m->fibers_lock);
	victim = newest_call(m);
	if (!victim && spinning && !(fiber_flags(self) & (FIBER_HOST | FIBER_IDLE)))
		victim = self;
	if (victim)
		fiber_get(victim);
	describe_wait(victim ? victim : m->host, text, sizeof(text));
	snprintf(message, sizeof(message), "machine stuck: %s", text);
	report_stuck(m, spinning, message);
	hw_unlock(m, &m->fibers_lock);
	machine_count(&m->counters.stucks);
	fiber_sched_progress(m);
	if (!victim)
		abort();
	if (victim == self) {
		fiber_put(m, victim);	/* not the last one: it has not ended */
		fiber_end(MACHINE_STUCK, 0, message);
	}
	fiber_park(m, victim, MACHINE_STUCK, message);
	fiber_put(m, victim);
}
