/* SPDX-License-Identifier: MIT */
/*
 * fiber_sched.c - who runs next: run queues, switching, blocking, safe points
 *
 * What it is
 *	In deterministic mode one host thread plays all CPUs: at a safe point it may leave CPU A in
 *	the middle of its fiber and go on with CPU B, which is what parallel CPUs look like to the
 *	code that runs on them. In parallel mode each CPU has a host thread, which goes on among the
 *	fibers of its CPU only. In both a fiber that blocks, yields or ends picks the next itself and
 *	switches stacks directly; there is no scheduler stack.
 *
 *	Two different things are called a switch. A *jump* moves the one host thread to another CPU;
 *	that CPU's current fiber goes on where it was. A *context switch* gives a CPU another
 *	current fiber; it counts in cpu->nr_switches and calls the proc room's hook.
 *
 * Objects
 *	struct cpu - fiber: its current one; idle: its current one when there is no other
 *	struct cpu_priv - run_queue: FIBER_READY fibers of that CPU
 *
 * Invariants
 *	I1 cpu->fiber is never NULL while the machine runs: FIBER_RUNNING, or the idle fiber
 *	I2 a context switch away from a fiber that goes on later happens only with preempt_count 0
 *	   and interrupts on; a jump may happen at every safe point
 *	I3 karc_cpu->fiber is the fiber on whose stack the host thread is
 *	I4 deterministic: no decision depends on an address or on host time: ids, queue order,
 *	   seeded numbers
 *	I5 a READY fiber is on the run queue of its CPU exactly once, no other fiber is on one
 *	I6 parallel: a fiber is taken from a queue only when no other host thread is on its stack:
 *	   ->on_cpu is set by the one who takes it, cleared by who comes next on the stack's old CPU
 *	   (idle fibers are on no queue: theirs means nothing)
 *	I7 no address of anything thread-local is remembered over a switch
 *
 * Locking (in parallel mode; deterministic mode has one host thread and takes none)
 *	f->lock		->woken, ->cpu, and changes of ->state to READY or BLOCKED
 *	p->run_lock	run_queue, nr_ready, and changes of ->state from READY; inside f->lock
 *	Everything else is the CPU's own. A fiber's saved counts and stack pointer go to its next
 *	CPU through ->on_cpu.
 *
 * Worst case
 *	Choosing looks at each CPU once (deterministic) and at READY_WINDOW fibers of one queue.
 *	Everything blocked and no timer left is reported as stuck, as are RELAX_LIMIT cpu_relax()
 *	calls during which no fiber was woken, made, blocked or ended (parallel: spin.c).
 *
 * Unlike Linux
 *	Switching follows a seed and ticks, not priorities. Idle time is skipped, not waited for.
 *	CPUs do not take fibers from each other.
 */
#include <sched.h>

#include <karc/base/bug.h>
#include <karc/base/math.h>
#include <karc/hw/context.h>
#include "internal.h"
#include "sanitizer.h"

#define READY_WINDOW		8u
#define RELAX_LIMIT		(1ULL << 19)
#define RELAX_TIMER_MASK	((1ULL << 13) - 1)
#define NS_PER_SAFEPOINT	100u
#define NS_PER_RELAX		100u
#define NS_PER_LONELY_RELAX	10000u
#define NO_SWITCH		((unsigned int)-1)
#define SETTLE_MAX		(4 * RELAX_LIMIT)	/* a spinner is found stuck before */
#define SETTLE_SOFTIRQS		(1ULL << 16)	/* rounds of softirqs that only start themselves */

/* ---- run queues ---- */

void fiber_sched_progress(struct machine *m)
{
	if (!m->parallel)
		m->relax_streak = 0;
	else if (karc_cpu)
		WRITE_ONCE(cpu_priv(karc_cpu)->nr_moves, cpu_priv(karc_cpu)->nr_moves + 1);
}

static inline __attribute__((always_inline)) void queue_add(struct machine *m, struct fiber *f)
{
	struct cpu_priv *p = cpu_priv(f->cpu);

	hw_lock(m, &p->run_lock);
	WRITE_ONCE(f->state, FIBER_READY);
	list_add_tail(&f->run_node, &p->run_queue);
	WRITE_ONCE(p->nr_ready, p->nr_ready + 1);
	hw_unlock(m, &p->run_lock);
}

static inline __attribute__((always_inline)) void queue_del(struct cpu_priv *p, struct fiber *f)
{
	list_del_init(&f->run_node);
	WRITE_ONCE(p->nr_ready, p->nr_ready - 1);
}

void fiber_sched_enqueue(struct fiber *f)
{
	struct machine *m = fiber_machine(f);
	struct cpu *cpu = f->cpu;

	queue_add(m, f);
	fiber_sched_progress(m);
	presence_kick(cpu);
}

bool fiber_sched_dequeue(struct fiber *f)
{
	struct cpu_priv *p = cpu_priv(f->cpu);
	struct machine *m = fiber_machine(f);
	bool ready;

	hw_lock(m, &p->run_lock);
	ready = fiber_state(f) == FIBER_READY;	/* else its CPU has taken it just now */
	if (ready)
		queue_del(p, f);
	hw_unlock(m, &p->run_lock);
	return ready;
}

static struct rnd *sched_rnd(struct cpu *cpu)
{
	return unlikely(cpu->machine->parallel) ? &cpu_priv(cpu)->rnd : &cpu->machine->rnd;
}

/*
 * I6: not while the CPU that @f came from is on its stack yet. Nobody waits for that on a stack
 * of his own that others may wait for: two CPUs that swap fibers would wait for each other.
 */
static bool stack_is_free(const struct cpu *cpu, const struct fiber *f)
{
	return f == cpu->fiber || !__atomic_load_n(&f->on_cpu, __ATOMIC_ACQUIRE);
}

/* One of the first few in the queue, by lot; NULL when it has none that can run now. */
static inline struct fiber *choose_ready(struct machine *m, struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	unsigned int window = min(p->nr_ready, READY_WINDOW);
	unsigned int skip = window > 1 ? rnd_below(sched_rnd(cpu), window) : 0;
	struct fiber *f, *found = NULL;

	list_for_each_entry(f, &p->run_queue, run_node) {
		if (unlikely(m->parallel) && !stack_is_free(cpu, f))
			continue;
		found = f;
		if (!skip--)
			break;
	}
	return found;
}

/* NULL when another CPU has moved the last one away, or not yet left it. */
static struct fiber *take_ready(struct machine *m, struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	struct fiber *f = NULL;

	hw_lock(m, &p->run_lock);
	if (p->nr_ready)
		f = choose_ready(m, cpu);
	if (f) {
		queue_del(p, f);
		WRITE_ONCE(f->state, FIBER_RUNNING);
	}
	hw_unlock(m, &p->run_lock);
	return f;
}

/* ---- switching ---- */

/* A quiescent state: see cpu_is_quiescent() for the other half of the pair. */
static void count_switch(struct cpu *cpu)
{
	if (unlikely(cpu->machine->parallel))
		__atomic_fetch_add(&cpu->nr_switches, 1, __ATOMIC_SEQ_CST);
	else
		cpu->nr_switches++;
}

/* Give @cpu another current fiber. The one before is put away as it is; counts go with it. */
void fiber_sched_set(struct cpu *cpu, struct fiber *next)
{
	struct cpu_priv *p = cpu_priv(cpu);
	struct fiber *prev = cpu->fiber;

	if (prev == next)
		return;			/* woken before it was left */
	prev->saved_preempt_count = cpu->preempt_count;
	prev->saved_irqs_off = cpu->irqs_off;
	if (READ_ONCE(cpu->machine->on_switch) && !p->switch_prev) {
		fiber_get(prev);
		p->switch_prev = prev;
	}
	WRITE_ONCE(next->on_cpu, true);
	if (prev == cpu->idle)
		p->tick_ns = 0;
	WRITE_ONCE(cpu->fiber, next);
	WRITE_ONCE(next->state, FIBER_RUNNING);
	cpu->preempt_count = next->saved_preempt_count;
	cpu->irqs_off = next->saved_irqs_off;
	count_switch(cpu);
}

/* The current fiber of @cpu cannot go on: another one of its queue, or idle. */
void fiber_sched_next(struct cpu *cpu)
{
	struct fiber *next = cpu_nr_ready(cpu) ? take_ready(cpu->machine, cpu) : NULL;

	fiber_sched_set(cpu, next ? next : cpu->idle);
}

/* What a context switch of this CPU still owes: the hook, on the new fiber, not preemptible. */
void fiber_sched_finish(struct machine *m, struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	void (*on_switch)(struct fiber *prev, struct fiber *next);
	struct fiber *prev = p->switch_prev;

	if (likely(!prev))
		return;
	p->switch_prev = NULL;
	on_switch = READ_ONCE(m->on_switch);
	if (prev != cpu->fiber && on_switch) {
		cpu->preempt_count++;
		on_switch(prev, cpu->fiber);
		cpu->preempt_count--;
	}
	fiber_put(m, prev);
}

/* What the fiber that died just now stood on, and its record. */
static void clear_away(struct machine *m, struct player *player)
{
	struct fiber_leaving left = player->leaving;

	if (likely(!left.record && !left.stack))
		return;
	player->leaving = (struct fiber_leaving){ .stack = NULL };
	if (left.stack) {
		sanitizer_end_fiber(left.tsan_fiber);
		fiber_stack_put(m, left.stack);
	}
	if (left.record)
		fiber_put(m, left.record);
}

/*
 * I7. On x86-64 every access to a thread-local goes through the segment register, and what the
 * compiler may keep is the offset: inlining is harmless. Elsewhere it may keep the address.
 */
#if defined(__x86_64__)
#define ACROSS_SWITCH
#else
#define ACROSS_SWITCH	noinline
#endif

/* First thing on a stack that was switched to; the host thread may be another one than before. */
ACROSS_SWITCH void fiber_sched_arrived(struct machine *m)
{
	struct cpu *cpu = karc_cpu;
	struct player *player = cpu_priv(cpu)->player;
	struct fiber *left = player->left;

	sanitizer_arrived(cpu->fiber->sanitizer_fake,
			  left && (fiber_flags(left) & FIBER_HOST) ? left : NULL);
	player->left = NULL;
	if (unlikely(m->parallel) && left)
		__atomic_store_n(&left->on_cpu, false, __ATOMIC_RELEASE);	/* I6 */
	clear_away(m, player);
	fiber_sched_finish(m, cpu);
}

static inline __attribute__((always_inline)) void leave_stack(struct cpu *cpu, struct fiber *prev,
								  struct fiber *next)
{
	void *nowhere;

	cpu_priv(cpu)->player->left = prev;
	sanitizer_leave(prev ? &prev->sanitizer_fake : NULL, next);
	switch_stacks(prev ? &prev->sp : &nowhere, next->sp);
}

ACROSS_SWITCH void fiber_sched_leave_stack(struct cpu *cpu, struct fiber *prev, struct fiber *next)
{
	leave_stack(cpu, prev, next);
}

/* Nothing of the CPU's current fiber is in the middle of something: idle really is idle. */
static bool cpu_quiet(const struct cpu *cpu)
{
	return cpu->fiber == cpu->idle && !cpu->preempt_count && !cpu->irqs_off;
}

static bool cpu_has_work(const struct cpu *cpu)
{
	const struct cpu_priv *p = cpu_priv(cpu);

	return !cpu_quiet(cpu) || p->nr_ready || p->switch_prev ||
	       (__atomic_load_n(&cpu->pending, __ATOMIC_ACQUIRE) & CPU_PENDING_WORK);
}

bool fiber_sched_has_work(const struct cpu *cpu)
{
	return cpu_has_work(cpu);
}

/* A CPU that has something to do, by lot; NULL if none has. */
static struct cpu *choose_cpu(struct machine *m, const struct cpu *except)
{
	unsigned char choice[MACHINE_MAX_CPUS];
	unsigned int nr = 0;

	if (unlikely(m->explore) && explore_home(m))
		return explore_home(m);
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (m->cpus[i] != except && cpu_has_work(m->cpus[i]))
			choice[nr++] = (unsigned char)i;
	}
	if (!nr)
		return NULL;
	return m->cpus[choice[nr > 1 ? rnd_below(&m->rnd, nr) : 0]];
}

/* Go on with @cpu. @prev is the fiber whose stack this is; NULL when it will not come back. */
static ACROSS_SWITCH void jump(struct machine *m, struct fiber *prev, struct cpu *cpu)
{
	struct fiber *next = NULL;

	if (cpu_quiet(cpu) && cpu_nr_ready(cpu))
		next = take_ready(m, cpu);
	if (next)
		fiber_sched_set(cpu, next);
	karc_cpu_store(cpu);
	if (cpu->fiber == prev) {
		fiber_sched_finish(m, cpu);
		return;
	}
	leave_stack(cpu, prev, cpu->fiber);
	fiber_sched_arrived(m);
}

void fiber_sched_jump(struct machine *m, struct cpu *cpu)
{
	jump(m, karc_cpu->fiber, cpu);
}

/* The current fiber has left its CPU (or is idle): let whoever has something to do go on. */
void fiber_sched_away(struct machine *m, struct fiber *prev)
{
	const bool parallel = m->parallel;
	struct cpu *cpu = karc_cpu;

	while (!parallel && !(cpu = choose_cpu(m, NULL))) {
		if (m->next_expiry_ns != ~0ULL)
			clock_advance_to(m, m->next_expiry_ns);
		else
			fiber_stuck(m, false);
	}
	jump(m, prev, cpu);
}

/* Put the current fiber at the end of its queue and run another one of this CPU. */
static void give_way(struct machine *m, struct cpu *cpu)
{
	struct fiber *self = cpu->fiber;
	struct fiber *next = take_ready(m, cpu);

	if (!next)
		return;
	if (self != cpu->idle) {
		hw_lock(m, &self->lock);
		queue_add(m, self);
		hw_unlock(m, &self->lock);
	}
	fiber_sched_set(cpu, next);
	jump(m, self, cpu);
}

static bool can_give_way(const struct cpu *cpu)
{
	return !cpu->preempt_count && !cpu->irqs_off && cpu_nr_ready(cpu);
}

bool fiber_sched_give_way(struct cpu *cpu)
{
	if (!can_give_way(cpu))
		return false;
	give_way(cpu->machine, cpu);
	return true;
}

ACROSS_SWITCH void fiber_sched_deliver(void)
{
	struct cpu *cpu = karc_cpu;

	if (unlikely(__atomic_load_n(&cpu->pending, __ATOMIC_RELAXED) & CPU_PENDING_WORK) &&
	    !freeze_is_mine(cpu))
		irq_deliver(cpu);
}

/* So many safe points that the clock is looked at a few times in each tick. */
static u32 steps_by_time(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	u64 now = parallel_host_ns(), passed = now - p->polled_ns;
	u32 steps = p->steps_loaded ? p->steps_loaded : 64;

	p->polled_ns = now;
	if (passed > NSEC_PER_JIFFY / 8 && steps > 1)
		return steps / 2;
	return passed < NSEC_PER_JIFFY / 64 && steps < 1u << 16 ? 2 * steps : steps;
}

void fiber_sched_to_idle(struct cpu *cpu)
{
	struct machine *m = cpu->machine;
	struct fiber *self = cpu->fiber;

	hw_lock(m, &self->lock);
	queue_add(m, self);
	hw_unlock(m, &self->lock);
	fiber_sched_set(cpu, cpu->idle);
	fiber_sched_leave_stack(cpu, self, cpu->idle);
	fiber_sched_arrived(m);
}

void fiber_sched_load_steps(struct machine *m, struct cpu *cpu)
{
	unsigned int every = m->config.switch_every;
	u32 steps = 1;

	if (every == NO_SWITCH)
		steps = m->parallel ? steps_by_time(cpu) : 1u << 16;
	else if (every > 1)
		steps = 1 + rnd_below(sched_rnd(cpu), every < 1u << 30 ? 2 * every - 1 : 1u << 31);
	cpu->steps = steps;
	cpu_priv(cpu)->steps_loaded = steps;
}

/* An involuntary switch: any CPU, or another fiber of this one, by lot. */
static void preempt(struct machine *m, struct cpu *self)
{
	struct cpu *cpu = m->parallel ? NULL : choose_cpu(m, NULL);

	if (cpu && cpu != self)
		jump(m, self->fiber, cpu);
	else if (can_give_way(self) && rnd_below(sched_rnd(self), cpu_nr_ready(self) + 1))
		give_way(m, self);
}

/* Where the fiber is now, after a call that may have switched. */
static ACROSS_SWITCH struct cpu *karc_cpu_now(void)
{
	return karc_cpu;
}

/* It answers: see silent.c. And it lets a harness thread have the CPU: see parallel.c. */
static ACROSS_SWITCH void note_slow(struct cpu *cpu)
{
	WRITE_ONCE(cpu_priv(cpu)->nr_slow, cpu_priv(cpu)->nr_slow + 1);
	parallel_check_stop(cpu);
	fiber_check_condemned(cpu->fiber);
	if (unlikely(cpu_pending(cpu) & CPU_PENDING_GUEST) && preemptible() &&
	    !(fiber_flags(cpu->fiber) & (FIBER_HOST | FIBER_IDLE)))
		fiber_sched_to_idle(cpu);
}

static void steps_are_over(struct machine *m, struct cpu *cpu)
{
	if (m->parallel) {
		clock_poll(cpu);
	} else {
		clock_advance(m, (u64)cpu_priv(cpu)->steps_loaded * NS_PER_SAFEPOINT);
		clock_tick(cpu);
	}
	fiber_sched_load_steps(m, cpu);	/* before handlers run, which pass safe points too */
}

void hw_safepoint_slow(void)
{
	struct cpu *cpu = karc_cpu;
	struct machine *m = cpu->machine;
	bool due = !cpu->steps;

	if (freeze_is_mine(cpu)) {
		cpu->steps = 1;
		return;
	}
	if (unlikely(cpu_pending(cpu) & CPU_PENDING_FREEZE))
		freeze_wait(cpu);
	if (due)
		steps_are_over(m, cpu);	/* first: whoever runs here next counts on */
	if (m->parallel)
		note_slow(cpu);
	fiber_sched_deliver();
	if (due && m->config.switch_every != NO_SWITCH && !m->explore)
		preempt(m, karc_cpu_now());
	preempt_enable_slow();
	fiber_sched_deliver();
}

ACROSS_SWITCH void preempt_enable_slow(void)
{
	fiber_sched_deliver();
	if (need_resched() && preemptible())
		cond_resched();
}

void irq_enable_slow(void)
{
	preempt_enable_slow();
}

static ACROSS_SWITCH void fiber_sched_safepoint(void)
{
	hw_safepoint();
}

bool fiber_sched_resched(struct cpu *cpu)
{
	if (!preemptible())
		return false;
	cpu_clear_pending(cpu, CPU_PENDING_RESCHED);
	if (cpu->machine->parallel)
		count_switch(cpu);	/* whoever asked for it waits for readers here */
	return fiber_sched_give_way(cpu);
}

int cond_resched(void)
{
	bool gave_way = fiber_sched_resched(karc_cpu);

	fiber_sched_safepoint();
	return gave_way;
}

static void yield_parallel(struct cpu *self)
{
	parallel_check_stop(self);
	clock_poll(self);
	if (!fiber_sched_give_way(self)) {
		presence_help(self);
		sched_yield();
	}
	fiber_sched_deliver();
}

void fiber_yield(void)
{
	struct cpu *self = karc_cpu;
	struct machine *m = self->machine;
	struct cpu *cpu;
	bool local;

	might_sleep();
	if (unlikely(m->parallel)) {
		yield_parallel(self);
		return;
	}
	if (unlikely(m->explore) && explore_relax(m))
		return;
	clock_advance(m, NS_PER_SAFEPOINT);
	local = can_give_way(self);
	cpu = choose_cpu(m, self);
	if (cpu && local && rnd_below(&m->rnd, 2))
		cpu = NULL;
	if (cpu)
		jump(m, self->fiber, cpu);
	else if (local)
		give_way(m, self);
	fiber_sched_deliver();
}

/* Nobody else can run: only time can end the waiting. */
static void relax_alone(struct machine *m)
{
	if (m->next_expiry_ns != ~0ULL)
		clock_advance_to(m, m->next_expiry_ns);
	else
		clock_advance(m, NS_PER_LONELY_RELAX);
}

void cpu_relax(void)
{
	struct cpu *self = karc_cpu, *cpu;
	struct machine *m;
	bool local;

	if (!self)
		return;
	m = self->machine;
	if (m->parallel) {
		spin_relax(self);
		return;
	}
	if (unlikely(m->explore) && explore_relax(m))
		return;
	clock_advance(m, NS_PER_RELAX);
	m->relax_streak++;
	if (unlikely(!(m->relax_streak & RELAX_TIMER_MASK))) {
		if (m->relax_streak >= RELAX_LIMIT)
			fiber_stuck(m, true);
		else if (m->next_expiry_ns != ~0ULL)
			clock_advance_to(m, m->next_expiry_ns);
	}
	fiber_sched_deliver();
	local = can_give_way(self);
	cpu = choose_cpu(m, self);
	if (cpu && local && rnd_below(&m->rnd, 2))
		cpu = NULL;
	if (cpu)
		jump(m, self->fiber, cpu);
	else if (local)
		give_way(m, self);
	else
		relax_alone(m);
	fiber_sched_deliver();
}

/* ---- blocking ---- */

struct fiber *fiber_self(void)
{
	return karc_cpu ? karc_cpu->fiber : NULL;
}

void fiber_prepare(void)
{
	struct fiber *self = fiber_self();
	struct machine *m = fiber_machine(self);

	/* With the lock: what the waker of a wake that is forgotten here did before is seen. */
	hw_lock(m, &self->lock);
	self->woken = false;
	hw_unlock(m, &self->lock);
}

/* False when a wake came already. */
static bool begin_block(struct machine *m, struct fiber *self, const struct site *site)
{
	bool woken;

	hw_lock(m, &self->lock);
	woken = self->woken;
	if (!woken) {
		WRITE_ONCE(self->wait_site, site);
		WRITE_ONCE(self->state, FIBER_BLOCKED);
	}
	hw_unlock(m, &self->lock);
	return !woken;
}

void fiber_block(const struct site *site)
{
	struct cpu *cpu = karc_cpu;
	struct machine *m = cpu->machine;
	struct fiber *self = cpu->fiber;

	fiber_sched_deliver();
	fiber_check_condemned(self);
	if (!preemptible() || self == cpu->idle)
		karc_bug_msg(KARC_BUG_SITE(""),
			     "scheduling while atomic: %s, preempt_count 0x%x%s, at %s:%u",
			     self->name, (unsigned int)cpu->preempt_count,
			     cpu->irqs_off ? ", interrupts off" : "", site->file, site->line);
	if (!begin_block(m, self, site)) {
		fiber_sched_safepoint();
		return;
	}
	fiber_sched_progress(m);
	fiber_sched_next(cpu);
	fiber_sched_away(m, self);
	WRITE_ONCE(self->wait_site, NULL);
	fiber_sched_deliver();
}

void fiber_wake(struct fiber *f)
{
	struct machine *m = fiber_machine(f);

	hw_lock(m, &f->lock);
	f->woken = true;
	if (fiber_state(f) == FIBER_BLOCKED)
		fiber_sched_enqueue(f);
	hw_unlock(m, &f->lock);
}

struct timeout {
	struct hw_timer timer;
	struct fiber *fiber;
};

static void timeout_expired(struct hw_timer *timer)
{
	fiber_wake(container_of(timer, struct timeout, timer)->fiber);
}

u64 fiber_block_timeout(const struct site *site, u64 timeout_ns)
{
	struct timeout timeout = { .fiber = fiber_self() };
	u64 now = ktime_get_ns();
	u64 end = timeout_ns > ~0ULL - now ? ~0ULL - 1 : now + timeout_ns;

	hw_timer_init(&timeout.timer, timeout_expired);
	hw_timer_start(&timeout.timer, end);
	fiber_block(site);
	hw_timer_cancel_sync(&timeout.timer);
	now = ktime_get_ns();
	return now < end ? end - now : 0;
}

/* ---- quiet ---- */

static bool others_have_work(struct machine *m)
{
	struct cpu *self = karc_cpu;

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (m->cpus[i] != self && cpu_has_work(m->cpus[i]))
			return true;
	}
	return cpu_priv(self)->nr_ready ||
	       (__atomic_load_n(&self->pending, __ATOMIC_RELAXED) & CPU_PENDING_WORK);
}

/* Is there a fiber that wants to run, besides the caller? */
static bool others_are_ready(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct cpu *cpu = m->cpus[i];

		if (cpu_priv(cpu)->nr_ready || (cpu != karc_cpu && cpu->fiber != cpu->idle))
			return true;
	}
	return false;
}

/* Let everybody run until they are blocked or gone; false when there seems to be no end to it. */
bool fibers_settle(struct machine *m)
{
	u64 nr_softirqs = 0;

	if (m->parallel)
		return presence_settle(m);
	for (u64 i = 0; i < SETTLE_MAX && nr_softirqs < SETTLE_SOFTIRQS; i++) {
		if (!others_have_work(m))
			return true;
		nr_softirqs = others_are_ready(m) ? 0 : nr_softirqs + 1;
		fiber_yield();
	}
	return !others_have_work(m);
}

static void check_queue(struct machine *m, struct cpu *cpu, struct check_report *report)
{
	struct cpu_priv *p = cpu_priv(cpu);
	unsigned int nr = 0, counted;
	const struct fiber *stray = NULL, *f;

	hw_lock(m, &p->run_lock);
	list_for_each_entry(f, &p->run_queue, run_node) {
		nr++;
		if (fiber_state(f) != FIBER_READY || f->cpu != cpu)
			stray = f;
	}
	counted = p->nr_ready;
	hw_unlock(m, &p->run_lock);
	if (stray)
		check_fail(report, "I5: %s does not belong on CPU %u's queue", stray->name,
			   cpu->id);
	if (nr != counted)
		check_fail(report, "I5: CPU %u counts %u ready fibers, has %u", cpu->id, counted,
			   nr);
}

void fibers_check(struct machine *m, struct check_report *report)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct fiber *f = READ_ONCE(m->cpus[i]->fiber);
		bool stays = !m->parallel || m->cpus[i] == karc_cpu;

		if (!f || (stays && fiber_state(f) != FIBER_RUNNING))
			check_fail(report, "I1: CPU %u has no running fiber", i);
		check_queue(m, m->cpus[i], report);
	}
}
