/* SPDX-License-Identifier: MIT */
/*
 * explore_run.c - one schedule of an exploration, from setup to check
 *
 * What it is
 *	The fiber that called explore() plays scheduler: it jumps to a task's CPU, the task runs up
 *	to its next step and jumps back, having said what that step touches. So the scheduler knows
 *	every task's next access before it happens, and one jump later it has happened. Between
 *	setup and check nothing else decides who runs: safe points do not switch, and whoever leaves
 *	a CPU (blocks, ends, idles) comes back here.
 *
 * Objects
 *	struct explore - stream[task] - a CPU - the task's fiber, and whatever else that CPU runs:
 *	interrupts, softirqs, fibers that handlers start. All of them are the task, as far as the
 *	schedule is concerned.
 *
 * Invariants
 *	I1 a stream is at a step, spins, or is away; only one at a step can be chosen
 *	I2 what a stream does between two stops touches nothing that races: it has no step there.
 *	   So letting it run there, in any order, changes no outcome (settle())
 *	I3 a stream that spins is chosen again only when a step since then conflicts with one of its
 *	   last round, its own in an interrupt included: otherwise it would find what it found
 *	   before, for ever. A loop that makes no steps waits for something else, and is looked at
 *	   after each step of others
 *	I4 each schedule begins with the same scheduler, and with a clock that stands still
 *
 * Life
 *	setup -> tasks run to their first steps -> (settle, choose, step) ... -> all have ended -> check
 *	When a task fails, the others go on to their ends in any order, so that check can clean up.
 *	When they cannot end, they are parked where they stand, and check does not run.
 *
 * Worst case
 *	Two jumps for a step, and two for each stream that spins. I3 in a loop that writes at each
 *	turn is no help: two of them wake each other, which ends as a livelock.
 *
 * Unlike Linux
 *	Nothing of the kind there.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <karc/base/bug.h>
#include "explore_internal.h"

#define SETTLE_ROUNDS	1000u
#define SKIPS_MAX	64u
#define POLLS		3u
#define RETRIES		8u		/* of who may wait for something that is no step */
#define STEPS_HELD	(1u << 30)	/* safe points until the scheduler looks: not in one schedule */

/* ---- stopping and going on ---- */

/* On a task's CPU: back to the scheduler. Returns when it is told to go on. */
static void stop(struct explore *x, enum explore_state state)
{
	x->stopped = state;
	fiber_sched_jump(x->m, x->home);
}

/* From the scheduler: @cpu goes on until it stops. */
static void go_cpu(struct explore *x, struct cpu *cpu)
{
	x->stopped = STREAM_AWAY;
	fiber_sched_jump(x->m, cpu);
}

static void go(struct explore *x, struct explore_stream *s)
{
	x->running = s;
	go_cpu(x, s->cpu);
	x->running = NULL;
	s->state = x->stopped;
}

void karc_step_hook(const struct site *site, const volatile void *p, unsigned long bytes,
		    unsigned int how)
{
	struct cpu *cpu = karc_cpu;
	struct explore *x = cpu ? cpu->machine->explore : NULL;

	if (likely(!x) || !x->active || !x->running || x->running->cpu != cpu)
		return;
	x->running->next = (struct explore_access){
		.p = p, .bytes = bytes, .site = site, .writes = how == KARC_WRITES,
	};
	stop(x, STREAM_AT_STEP);
}

bool explore_relax(struct machine *m)
{
	struct explore *x = m->explore;

	if (!x->active)
		return false;
	fiber_sched_deliver();
	stop(x, x->running ? STREAM_SPINS : STREAM_AWAY);
	fiber_sched_deliver();
	return true;
}

struct cpu *explore_home(struct machine *m)
{
	return m->explore->active ? m->explore->home : NULL;
}

int explore_task(void)
{
	struct explore *x = karc_cpu ? karc_cpu->machine->explore : NULL;

	return x && x->running ? (int)(x->running - x->stream) : -1;
}

/* ---- what is wrong ---- */

static void wrong(struct explore *x, enum explore_verdict verdict, const char *fmt, va_list args)
{
	x->loose = true;
	if (x->verdict != EXPLORE_PASSED)
		return;
	x->verdict = verdict;
	x->fail_task = x->running ? (int)(x->running - x->stream) : -1;
	x->fail_step = x->depth;
	vsnprintf(x->text, sizeof(x->text), fmt, args);
}

void explore_wrong(struct explore *x, enum explore_verdict verdict, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	wrong(x, verdict, fmt, args);
	va_end(args);
}

void explore_fail(const char *fmt, ...)
{
	struct explore *x = karc_cpu ? karc_cpu->machine->explore : NULL;
	va_list args;

	if (WARN_ON(!x))
		return;
	va_start(args, fmt);
	wrong(x, EXPLORE_FAILED, fmt, args);
	va_end(args);
}

/* ---- conflicts ---- */

bool explore_conflict(const struct explore_access *a, const struct explore_access *b)
{
	const volatile char *p = a->p, *q = b->p;

	if (!p || !q)
		return true;
	if (!a->writes && !b->writes)
		return false;
	return p < q + max(b->bytes, 1UL) && q < p + max(a->bytes, 1UL);
}

static bool in_round(const struct explore_stream *s, const struct explore_access *a)
{
	for (unsigned int i = 0; i < s->nr_round; i++) {
		if (s->round[i].p == a->p)
			return true;
	}
	return s->round_full;
}

static bool wakes(const struct explore_stream *s, const struct explore_access *a)
{
	for (unsigned int i = 0; i < s->nr_round; i++) {
		if (explore_conflict(&s->round[i], a))
			return true;
	}
	return s->round_full;
}

static void note_round(struct explore_stream *s)
{
	if (s->spun) {
		s->nr_round = 0;
		s->round_full = s->round_moved = false;
		s->spun = false;
	}
	s->round_moved |= s->next.writes && wakes(s, &s->next);	/* an interrupt of its own */
	if (s->nr_round < EXPLORE_ROUND_MAX)
		s->round[s->nr_round++] = s->next;
	else
		s->round_full = true;
}

/* ---- between steps ---- */

/* It spun; see what it does now: up to a step, or another round. True when it is not that. */
static bool poll(struct explore *x, struct explore_stream *s)
{
	/* More than once: it may leave one such loop and find itself in the next. */
	for (unsigned int i = 0; i < POLLS && s->state == STREAM_SPINS; i++)
		go(x, s);
	if (s->state == STREAM_SPINS) {
		s->nr_round = 0;	/* it made no step: it does not wait for one */
		s->round_full = false;
		return false;
	}
	if (s->state == STREAM_AT_STEP)
		s->muted = s->muted && in_round(s, &s->next);
	return true;
}

static bool run_what_waits(struct explore *x)
{
	bool some = false;

	fiber_sched_deliver();
	for (unsigned int i = 0; i < x->m->nr_cpus; i++) {
		struct cpu *cpu = x->m->cpus[i];
		struct explore_stream *s = x->of_cpu[i];

		if (cpu == x->home || (s && s->state != STREAM_AWAY) || !fiber_sched_has_work(cpu))
			continue;
		if (s)
			go(x, s);
		else
			go_cpu(x, cpu);
		some = true;
	}
	return some;
}

static unsigned int enabled_tasks(const struct explore *x)
{
	unsigned int mask = 0;

	for (unsigned int t = 0; t < x->e->nr_tasks; t++) {
		if (x->stream[t].state == STREAM_AT_STEP && !x->stream[t].muted)
			mask |= 1u << t;
	}
	return mask;
}

static bool has_ended(const struct explore_stream *s)
{
	return s->state == STREAM_AWAY && (s->ended || fiber_state(s->fiber) == FIBER_DEAD);
}

static bool all_have_ended(const struct explore *x)
{
	for (unsigned int t = 0; t < x->e->nr_tasks; t++) {
		if (!has_ended(&x->stream[t]))
			return false;
	}
	return true;
}

/* When nobody can go on by himself: to the next timer. */
static bool skip_time(struct explore *x)
{
	u64 next = x->m->next_expiry_ns;

	if (next == ~0ULL || next <= x->m->now_ns || enabled_tasks(x) || all_have_ended(x) ||
	    x->nr_skips++ >= SKIPS_MAX)
		return false;
	clock_advance_to(x->m, next);
	return true;
}

/*
 * I2: whatever can go on without making a step does. Time passes before those who spin look
 * again: while they are in cpu_relax() they can be interrupted.
 */
static void settle(struct explore *x)
{
	bool some = true;

	for (unsigned int round = 0; some && round < SETTLE_ROUNDS; round++) {
		some = run_what_waits(x) || skip_time(x);
		for (unsigned int t = 0; t < x->e->nr_tasks; t++) {
			if (x->stream[t].state == STREAM_SPINS)
				some |= poll(x, &x->stream[t]);
		}
	}
}

/* Nobody can be chosen: let those who spin look once more. False when they did that before. */
static bool unstick(struct explore *x)
{
	bool some = false;

	for (unsigned int t = 0; t < x->e->nr_tasks; t++) {
		struct explore_stream *s = &x->stream[t];

		if (s->state != STREAM_AT_STEP || s->nr_retries == RETRIES)
			continue;
		s->muted = false;
		s->nr_retries++;
		some = true;
	}
	return some;
}

/* ---- steps ---- */

/* Addresses differ from run to run; the order in which they first appear does not. */
static unsigned int name_word(struct explore *x, const volatile void *p)
{
	unsigned int i;

	for (i = 0; i < x->nr_words; i++) {
		if (x->word[i] == p)
			return i;
	}
	if (x->nr_words < EXPLORE_WORDS_MAX)
		x->word[x->nr_words++] = p;
	return i;
}

static void show_step(struct explore *x, unsigned int t)
{
	const struct explore_access *a = &x->stream[t].next;
	char what[48] = "anything";

	if (a->p)
		snprintf(what, sizeof(what), "%s %u (%lu bytes)", a->bytes ? "word" : "event",
			 name_word(x, a->p), a->bytes);
	pr_info("explore: step %u: task %u %s %s at %s:%u %s\n", x->depth, t,
		a->writes ? "writes" : "reads", what, a->site->file, a->site->line, a->site->func);
}

/* Task @t makes its step and goes on to the next. */
static void step(struct explore *x, unsigned int t)
{
	struct explore_stream *s = &x->stream[t], *other;
	struct explore_access a = s->next;

	if (x->show)
		show_step(x, t);
	x->taken[x->depth++] = (char)('0' + t);
	note_round(s);
	go(x, s);
	if (s->state == STREAM_SPINS) {
		s->spun = true;
		s->muted = !s->round_moved;
	}
	for (unsigned int i = 0; i < x->e->nr_tasks; i++) {
		other = &x->stream[i];
		if (i != t && other->spun && wakes(other, &a)) {
			other->muted = false;
			other->nr_retries = 0;
		}
		if (!s->nr_retries)
			other->nr_retries = 0;
	}
}

static void describe_waiters(const struct explore *x, char *buf, size_t size)
{
	size_t used = 0;

	buf[0] = '\0';
	for (unsigned int t = 0; t < x->e->nr_tasks && used < size; t++) {
		const struct explore_stream *s = &x->stream[t];
		const struct site *site = s->state == STREAM_AT_STEP ? s->next.site :
					  READ_ONCE(s->fiber->wait_site);
		const char *how = fiber_state(s->fiber) == FIBER_BLOCKED ? "sleeps" : "spins";

		if (has_ended(s))
			continue;
		used += (size_t)snprintf(buf + used, size - used, "%stask %u %s%s%s",
					 used ? ", " : "", t, how, site ? " at " : "",
					 site ? site->func : "");
	}
}

/* Until all have ended, or cannot. */
static void play_tasks(struct explore *x)
{
	unsigned int enabled, limit = x->max_steps;
	char waiters[160];

	for (unsigned int t = 0; t < x->e->nr_tasks; t++)
		go(x, &x->stream[t]);
	for (;;) {
		settle(x);
		enabled = enabled_tasks(x);
		if (!enabled && all_have_ended(x))
			return;
		if (!enabled && unstick(x))
			continue;
		if (!enabled || x->depth >= limit)
			break;
		step(x, explore_choose(x, enabled));
	}
	describe_waiters(x, waiters, sizeof(waiters));
	explore_wrong(x, enabled ? EXPLORE_LIVELOCK : EXPLORE_DEADLOCK, "%s: %s",
		      enabled ? "no end after so many steps" : "they wait for ever", waiters);
}

/* ---- a schedule ---- */

/* Making a fiber takes longer than most tasks, so it runs its task in each schedule. */
static long task_main(void *arg)
{
	struct explore *x = arg;
	struct explore_stream *s = x->running;

	while (!x->over) {
		x->e->task[s - x->stream](x->e->arg);
		s->ended = true;
		for (;;) {
			fiber_prepare();
			if (!s->ended)
				break;
			fiber_block(SITE());
		}
	}
	return 0;
}

static void next_schedule(struct explore_stream *s)
{
	s->ended = false;
	fiber_wake(s->fiber);
}

/* The i-th CPU that is not the scheduler's. */
static struct cpu *cpu_for(const struct explore *x, unsigned int i)
{
	return x->m->cpus[i + (i >= x->home->id)];
}

static bool spawn_tasks(struct explore *x)
{
	for (unsigned int t = 0; t < x->e->nr_tasks; t++) {
		struct explore_stream *s = &x->stream[t];
		struct cpu *cpu = cpu_for(x, t);
		char name[FIBER_NAME_LEN];

		*s = (struct explore_stream){ .cpu = cpu, .fiber = s->fiber, .state = STREAM_AWAY };
		if (s->fiber) {
			next_schedule(s);
			continue;
		}
		snprintf(name, sizeof(name), "explore/%u", t);
		s->fiber = fiber_spawn(cpu->id, name, task_main, x);
		if (!s->fiber) {
			explore_wrong(x, EXPLORE_REFUSED, "no host memory for the tasks");
			return false;
		}
	}
	return true;
}

/* I4 */
static void hold_scheduler(struct explore *x)
{
	x->m->rnd = x->rnd;
	for (unsigned int i = 0; i < x->m->nr_cpus; i++) {
		x->m->cpus[i]->steps = STEPS_HELD;
		cpu_priv(x->m->cpus[i])->steps_loaded = STEPS_HELD;
	}
}

static void release_scheduler(struct explore *x)
{
	for (unsigned int i = 0; i < x->m->nr_cpus; i++)
		fiber_sched_load_steps(x->m, x->m->cpus[i]);
}

/* Tasks that did not return; false when one had to be ended, and may hold anything. */
static bool join_tasks(struct explore *x)
{
	struct machine_result r;
	bool orderly = true;

	for (unsigned int t = 0; t < x->e->nr_tasks; t++) {
		struct explore_stream *s = &x->stream[t];

		if (!s->fiber || s->ended)
			continue;
		if (fiber_state(s->fiber) != FIBER_DEAD) {
			fiber_park(x->m, s->fiber, MACHINE_STUCK, "parked by explore()");
			orderly = false;
		}
		fiber_join(s->fiber, &r);
		s->fiber = NULL;
		if (orderly && r.end != MACHINE_VALUE)
			explore_wrong(x, EXPLORE_FAILED, "task %u ended: %s", t, r.message);
	}
	return orderly;
}

void explore_end_tasks(struct explore *x)
{
	x->over = true;
	for (unsigned int t = 0; t < x->e->nr_tasks; t++) {
		if (!x->stream[t].fiber)
			continue;
		next_schedule(&x->stream[t]);
		fiber_join(x->stream[t].fiber, NULL);
	}
}

static void play_active(struct explore *x)
{
	hold_scheduler(x);
	x->active = true;
	play_tasks(x);
	x->active = false;
	release_scheduler(x);
}

void explore_play(struct explore *x)
{
	const struct exploration *e = x->e;
	unsigned long warnings;
	bool orderly;

	x->depth = x->nr_skips = x->nr_words = 0;
	x->verdict = EXPLORE_PASSED;
	x->loose = x->cut = false;
	machine_reset_once(x->m);
	warnings = READ_ONCE(x->m->counters.warnings);
	if (e->setup)
		e->setup(e->arg);
	if (spawn_tasks(x))
		play_active(x);
	x->taken[x->depth] = '\0';
	orderly = join_tasks(x);
	if (orderly && e->check)
		e->check(e->arg);
	if (!e->allow_warnings && READ_ONCE(x->m->counters.warnings) != warnings)
		explore_wrong(x, EXPLORE_FAILED, "something warned");
}
