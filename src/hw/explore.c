/* SPDX-License-Identifier: MIT */
/*
 * explore.c - every schedule of a few tasks, without running equivalent ones twice
 *
 * What it is
 *	A depth-first search over the choices "which task makes the next step". No state is saved: a
 *	schedule is run from the beginning, and the next one repeats its choices up to the last place
 *	where something else is still to be tried (stateless model checking). explore_run.c runs one.
 *
 *	Two steps are independent when they touch different memory or both only read: in either order
 *	they lead to the same state. Schedules that differ only in the order of independent steps
 *	are equivalent, and one of each class is enough. Two reductions find it:
 *	- Backtracking where it matters (dynamic partial-order reduction of Flanagan and Godefroid,
 *	  with the source sets of Abdulla, Aronis, Jonsson and Sagonas): when a task's next step
 *	  conflicts with an earlier step of another task, and nothing in between puts them in that
 *	  order, some schedule in which it comes first is to be begun in that step's place.
 *	- Sleep sets (Godefroid): when all that begins with step a has been tried at some place, then
 *	  after trying step b there, a needs no trying until something that conflicts with it happened.
 *	@every, and a bound on preemptions, switch both off: with a bound, the one schedule of a class
 *	that is run might be one that the bound forbids.
 *
 * Objects
 *	struct explore (on the host heap, while explore() runs) - node[step]: who made it, who could
 *	have, who was tried, who is to be tried, who need not be
 *
 * Invariants
 *	I1 node[0 .. nr_prefix) are decided; replaying them meets the same enabled tasks at the same
 *	   sites. Otherwise a task depends on something that is not in its steps: EXPLORE_DIVERGED
 *	I2 a task in node->sleep or node->done is never chosen there again; all others in
 *	   node->backtrack will be. The search ends when no node has any
 *	I3 clocks: step i happens before step j (same task, or a chain of conflicts) exactly when
 *	   node[j].clock[task of i] > i
 *	I4 nothing here depends on an address: conflicts are computed anew in each run, and a choice
 *	   is kept as a task's number
 *
 *	Why no outcome is lost: at each place the tasks tried are a source set of it (the proof is in
 *	the papers; persistent sets as in the first one lose schedules with sleep sets, because a task
 *	that sleeps stands in for one that does not), provided that I2 of explore_run.c holds: whatever may race stands
 *	behind a step that names it. Freeing memory is such a thing: a KARC_STEP_BYTES over all of it.
 *	The tests compare with @every on random programs.
 *
 *	A step is atomic and all tasks see one memory: sequential consistency.
 *
 * Locking
 *	none: deterministic mode, and only one exploration of a machine at a time
 *
 * Worst case
 *	Exponential in the number of conflicts. A step looks back at all earlier ones of its schedule.
 *
 * Unlike Linux
 *	Nothing of the kind there. Compare CHESS, Nidhugg, loom.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <karc/base/bug.h>
#include "explore_internal.h"

#define MAX_SCHEDULES	1000000UL

static unsigned int lowest(unsigned int mask)
{
	return (unsigned int)__builtin_ctz(mask);
}

static bool reduces(const struct explore *x)
{
	return !x->e->every && !x->e->max_preemptions;
}

/* Without a reason to switch: the task that made the last step, or the first one that can. */
static unsigned int usual_choice(const struct explore *x, unsigned int mask)
{
	unsigned int last = x->depth ? (unsigned int)(x->taken[x->depth - 1] - '0') : 0;

	return mask & 1u << last ? last : lowest(mask);
}

/* ---- what happens before what ---- */

static void join_clock(u32 *into, const u32 *from)
{
	for (unsigned int t = 0; t < EXPLORE_MAX_TASKS; t++)
		into[t] = max(into[t], from[t]);
}

/* The node of the step that @task is about to make: I3. */
static void note_step(struct explore *x, struct explore_node *n, unsigned int task)
{
	struct explore_stream *s = &x->stream[task];
	unsigned int k = (unsigned int)(n - x->node);

	n->task = (u8)task;
	n->access = s->next;
	for (unsigned int i = 0; i < k; i++) {
		if (explore_conflict(&x->node[i].access, &n->access))
			join_clock(s->clock, x->node[i].clock);
	}
	s->clock[task] = k + 1;
	memcpy(n->clock, s->clock, sizeof(n->clock));
}

/* ---- reductions ---- */

/*
 * Step @i and what @task is about to do are a race: they could come the other way round. Of the
 * steps after @i, those that do not come after it because of it can all be made before it, and
 * then @task's. Those tasks are returned that can begin with that: whose first such step waits
 * for none of the others. @clock is @task's next step's.
 */
static unsigned int who_can_begin(const struct explore *x, unsigned int i, unsigned int k,
				  unsigned int task, const u32 *clock)
{
	unsigned int first = x->node[i].task, seen = 0, begin = 0;
	u32 earliest[EXPLORE_MAX_TASKS];	/* 1 + first of those steps, by task */

	for (unsigned int j = i + 1; j <= k; j++) {
		const u32 *c = j < k ? x->node[j].clock : clock;
		unsigned int t = j < k ? x->node[j].task : task;
		bool waits = false;

		if ((j < k && c[first] > i) || (seen & 1u << t))
			continue;
		for (unsigned int other = 0; other < x->e->nr_tasks; other++)
			waits |= (seen & 1u << other) && c[other] >= earliest[other];
		if (!waits)
			begin |= 1u << t;
		seen |= 1u << t;
		earliest[t] = j + 1;
	}
	return begin;
}

static void try_before(struct explore *x, unsigned int i, unsigned int k, unsigned int task,
		       const u32 *clock)
{
	struct explore_node *n = &x->node[i];
	unsigned int begin = who_can_begin(x, i, k, task, clock) & n->enabled;

	if (begin & (n->backtrack | n->done | n->sleep))
		return;
	n->backtrack |= (u8)(begin ? 1u << lowest(begin) : n->enabled);
}

/* The earlier steps that @task's next one conflicts with, unless others in between order them. */
static void find_race(struct explore *x, unsigned int k, unsigned int task)
{
	const struct explore_stream *s = &x->stream[task];
	u32 clock[EXPLORE_MAX_TASKS];

	memcpy(clock, s->clock, sizeof(clock));
	for (unsigned int i = k; i-- > 0;) {
		const struct explore_node *n = &x->node[i];

		if (n->task == task || clock[n->task] > i ||
		    !explore_conflict(&n->access, &s->next))
			continue;
		try_before(x, i, k, task, clock);
		join_clock(clock, n->clock);
	}
}

static void find_races(struct explore *x, unsigned int k)
{
	for (unsigned int t = 0; t < x->e->nr_tasks; t++) {
		if (x->stream[t].state == STREAM_AT_STEP)
			find_race(x, k, t);
	}
}

/* Who sleeps after the last step: slept or was tried before it, and does not conflict with it. */
static unsigned int sleep_after(const struct explore *x, const struct explore_node *n)
{
	unsigned int mask = (n->sleep | n->done) & ~(1u << n->task), sleep = 0;

	for (unsigned int t = 0; t < x->e->nr_tasks; t++) {
		if ((mask & 1u << t) && !explore_conflict(&x->stream[t].next, &n->access))
			sleep |= 1u << t;
	}
	return sleep;
}

/* ---- choosing ---- */

static bool is_preemption(const struct explore *x, unsigned int k, unsigned int task)
{
	unsigned int last = k ? x->node[k - 1].task : task;

	return task != last && (x->node[k].enabled & 1u << last);
}

/* Who may go on at node @k when all are to be tried. */
static unsigned int allowed(const struct explore *x, unsigned int k)
{
	const struct explore_node *n = &x->node[k];
	unsigned int mask = n->enabled, last = k ? x->node[k - 1].task : 0;

	if (k && x->e->max_preemptions && (mask & 1u << last) &&
	    x->node[k - 1].preemptions >= x->e->max_preemptions)
		return 1u << last;
	return mask;
}

/* A place that was not there before. EXPLORE_MAX_TASKS when all that begins here is known. */
static unsigned int open_node(struct explore *x, unsigned int k, unsigned int enabled)
{
	struct explore_node *n = &x->node[k];
	unsigned int task;

	*n = (struct explore_node){ .enabled = (u8)enabled };
	if (!reduces(x)) {
		n->backtrack = (u8)allowed(x, k);
		return usual_choice(x, n->backtrack);
	}
	find_races(x, k);
	n->sleep = k ? (u8)sleep_after(x, &x->node[k - 1]) : 0;
	if (!(enabled & ~n->sleep))
		return EXPLORE_MAX_TASKS;
	task = usual_choice(x, enabled & ~n->sleep);
	n->backtrack = (u8)(1u << task);
	return task;
}

/* I1. False when it is broken. */
static bool same_place(struct explore *x, unsigned int k, unsigned int enabled)
{
	const struct explore_node *n = &x->node[k];

	if (n->enabled != enabled) {
		explore_wrong(x, EXPLORE_DIVERGED, "step %u met tasks 0x%x before, 0x%x now", k,
			      n->enabled, enabled);
		return false;
	}
	if (k + 1 < x->nr_prefix && x->stream[n->task].next.site != n->access.site) {
		explore_wrong(x, EXPLORE_DIVERGED, "step %u of task %u was at %s, is at %s", k,
			      n->task, n->access.site->func, x->stream[n->task].next.site->func);
		return false;
	}
	return true;
}

static unsigned int forced_choice(struct explore *x, unsigned int enabled)
{
	unsigned int task = (unsigned int)(x->forced[x->depth] - '0');

	if (x->depth + 1 == strlen(x->forced))
		x->loose = true;
	if (task < x->e->nr_tasks && (enabled & 1u << task))
		return task;
	explore_wrong(x, EXPLORE_DIVERGED, "step %u: the schedule says %c, which cannot go on",
		      x->depth, x->forced[x->depth]);
	return usual_choice(x, enabled);
}

unsigned int explore_choose(struct explore *x, unsigned int enabled)
{
	unsigned int k = x->depth, task;
	struct explore_node *n;

	if (x->loose)
		return usual_choice(x, enabled);
	if (x->forced)
		return forced_choice(x, enabled);
	if (k < x->nr_prefix) {
		if (!same_place(x, k, enabled))
			return usual_choice(x, enabled);
		task = x->node[k].task;
	} else {
		task = open_node(x, k, enabled);
		if (task == EXPLORE_MAX_TASKS) {
			x->cut = x->loose = true;
			return usual_choice(x, enabled);
		}
	}
	n = &x->node[k];
	note_step(x, n, task);
	n->preemptions = (u8)min((k ? x->node[k - 1].preemptions : 0u) +
				 is_preemption(x, k, task), 255u);
	x->nr_nodes = k + 1;
	return task;
}

/* ---- the search ---- */

/* The last place where something is left to try; false when there is none. */
static bool go_back(struct explore *x)
{
	for (unsigned int k = x->nr_nodes; k-- > 0;) {
		struct explore_node *n = &x->node[k];
		unsigned int left;

		n->done |= (u8)(1u << n->task);
		left = n->backtrack & ~(n->done | n->sleep);
		if (left) {
			n->task = (u8)lowest(left);
			x->nr_prefix = k + 1;
			return true;
		}
	}
	return false;
}

static void count(struct explore *x)
{
	struct explore_result *r = x->result;

	if (x->cut && x->verdict == EXPLORE_PASSED)
		r->nr_cut++;
	else
		r->nr_schedules++;
	r->nr_steps += x->depth;
	r->longest = max(r->longest, x->depth);
}

static void search(struct explore *x)
{
	unsigned long most = x->e->max_schedules ? x->e->max_schedules : MAX_SCHEDULES;

	do {
		if (x->result->nr_schedules + x->result->nr_cut == most) {
			x->verdict = EXPLORE_LIMIT;
			return;
		}
		x->nr_nodes = 0;
		explore_play(x);
		count(x);
	} while (x->verdict == EXPLORE_PASSED && !x->forced && go_back(x));
}

/* ---- saying it ---- */

static void say(struct explore *x)
{
	struct explore_result *r = x->result;
	char who[48] = "check";

	r->verdict = x->verdict;
	if (x->verdict == EXPLORE_PASSED || x->verdict == EXPLORE_LIMIT)
		return;
	if (x->fail_task >= 0)
		snprintf(who, sizeof(who), "task %d at step %u", x->fail_task, x->fail_step);
	else if (x->fail_step)
		snprintf(who, sizeof(who), "after step %u", x->fail_step);
	x->taken[x->fail_step] = '\0';
	snprintf(r->schedule, sizeof(r->schedule), "%s", x->taken);
	snprintf(r->message, sizeof(r->message), "explore: %s: %s: %s: schedule %s", x->e->name,
		 who, x->text, r->schedule);
	if (!x->e->quiet)
		pr_info("%s\n", r->message);
}

/* The failing schedule again, step by step. */
static void show(struct explore *x)
{
	char schedule[EXPLORE_SCHEDULE_MAX];

	snprintf(schedule, sizeof(schedule), "%s", x->result->schedule);
	x->forced = schedule[0] ? schedule : NULL;
	x->loose = !x->forced;
	x->show = true;
	explore_play(x);
	x->forced = NULL;
}

static void sum_up(const struct explore *x)
{
	const struct explore_result *r = x->result;

	pr_info("explore: %s: %lu schedules, %lu cut short, %llu steps, longest %u\n", x->e->name,
		r->nr_schedules, r->nr_cut, (unsigned long long)r->nr_steps, r->longest);
}

static void run(struct explore *x)
{
	x->forced = x->e->schedule && x->e->schedule[0] ? x->e->schedule : NULL;
	x->show = x->forced != NULL;
	search(x);
	say(x);
	if (x->e->quiet)
		return;
	if (x->verdict == EXPLORE_FAILED && !x->show)
		show(x);
	sum_up(x);
}

/* ---- the call ---- */

/* Why @e cannot be run here, or NULL. */
static const char *refusal(const struct machine *m, const struct exploration *e)
{
	if (m->parallel)
		return "the machine is not in deterministic mode";
	if (m->explore)
		return "an exploration is under way";
	if (!e->nr_tasks || e->nr_tasks > EXPLORE_MAX_TASKS)
		return "too many tasks, or none";
	if (e->nr_tasks >= m->nr_cpus)
		return "the machine needs a CPU more than there are tasks";
	for (unsigned int t = 0; t < e->nr_tasks; t++) {
		if (!e->task[t])
			return "a task is missing";
	}
	return NULL;
}

static bool alloc_search(struct explore *x)
{
	struct machine *m = x->m;

	x->node = hostmem_zalloc(&m->hostmem, x->max_steps * sizeof(*x->node));
	x->taken = hostmem_zalloc(&m->hostmem, x->max_steps + 1);
	return x->node && x->taken;
}

static void free_search(struct explore *x)
{
	struct machine *m = x->m;

	hostmem_free(&m->hostmem, x->taken);
	hostmem_free(&m->hostmem, x->node);
	hostmem_free(&m->hostmem, x);
}

static void refuse(struct explore_result *result, const struct exploration *e, const char *why)
{
	result->verdict = EXPLORE_REFUSED;
	snprintf(result->message, sizeof(result->message), "explore: %s: %s", e->name, why);
}

static struct explore *make_search(struct machine *m, const struct exploration *e,
				   struct explore_result *result)
{
	struct explore *x = hostmem_zalloc(&m->hostmem, sizeof(*x));

	if (!x)
		return NULL;
	x->e = e;
	x->result = result;
	x->m = m;
	x->home = karc_cpu;
	x->rnd = m->rnd;
	x->max_steps = e->max_steps ? min(e->max_steps, EXPLORE_MAX_STEPS) : EXPLORE_MAX_STEPS;
	for (unsigned int t = 0; t < e->nr_tasks; t++)
		x->of_cpu[t + (t >= x->home->id)] = &x->stream[t];
	if (alloc_search(x))
		return x;
	free_search(x);
	return NULL;
}

void explore(const struct exploration *e, struct explore_result *result)
{
	struct machine *m = karc_cpu->machine;
	const char *why = refusal(m, e);
	struct explore *x;

	might_sleep();
	*result = (struct explore_result){ .verdict = EXPLORE_PASSED };
	if (why) {
		refuse(result, e, why);
		return;
	}
	x = make_search(m, e, result);
	if (!x) {
		refuse(result, e, "no host memory");
		return;
	}
	m->explore = x;
	run(x);
	explore_end_tasks(x);
	m->explore = NULL;
	m->rnd = x->rnd;
	free_search(x);
}
