/* SPDX-License-Identifier: MIT */
/*
 * clock.c - time, one-shot timers, ticks
 *
 * What it is
 *	Deterministic mode: a counter of nanoseconds that moves a little at safe points, and jumps to
 *	the next timer when no fiber can run. Parallel mode: the host's monotonic time since boot,
 *	plus a skew that grows by as much idle time as was skipped: when all CPUs are idle and a
 *	timer waits, the last one moves the skew instead of sleeping.
 *	Timers wait in a tree of their CPU, ordered by time and then by order of starting; reaching a
 *	timer's time marks its CPU, which runs it as an interrupt. In parallel mode each CPU looks at
 *	the clock itself, at some of its safe points, and in its sleep with a timeout.
 *	A tick is such an interrupt every 1/HZ second of a CPU that runs a fiber.
 *
 * Invariants
 *	I1 a timer is in its CPU's tree exactly while ->pending
 *	I2 a CPU's next_expiry_ns is the time of its first timer, ~0 without one. Deterministic:
 *	   m->next_expiry_ns is the earliest of all; it may be too early after a cancel, never too
 *	   late
 *	I3 time never goes back
 *	I4 a timer whose function runs stays with that CPU: it never runs on two at once
 *
 * Locking
 *	cpu_priv.timer_lock	the CPU's tree, ->pending, and ->cpu of the timers that are its own
 *	cpu_priv.timer_running	written by its CPU, read by those who wait for the end
 *	m->skew_ns		grows under m->idle_lock, read by any
 *
 * Worst case
 *	Starting and cancelling are O(log n) in the timers of one CPU; finding the next expiry looks
 *	at each CPU's first timer. A parallel CPU that passes no safe point has its timers and ticks
 *	late; with machine_config.switch_every = never it looks at the clock 8 to 64 times in a tick.
 *
 * Unlike Linux
 *	HZ is 100, as libc says it is, and jiffies start at 0.
 */
#include <karc/base/bug.h>
#include <karc/base/math.h>
#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include "internal.h"

#define NEVER	(~0ULL)

u64 clock_now(const struct machine *m)
{
	if (!m->parallel)
		return m->now_ns;
	return parallel_host_ns() - m->boot_host_ns +
	       __atomic_load_n(&m->skew_ns, __ATOMIC_ACQUIRE);
}

u64 ktime_get_ns(void)
{
	return clock_now(karc_cpu->machine);
}

static struct hw_timer *first_timer(struct cpu *cpu)
{
	struct rb_node *node = cpu_priv(cpu)->timers.rb_leftmost;

	return node ? rb_entry(node, struct hw_timer, node) : NULL;
}

/* The tree of @cpu has changed: I2. Under its timer_lock. */
static void note_first(struct cpu *cpu)
{
	struct hw_timer *t = first_timer(cpu);

	__atomic_store_n(&cpu_priv(cpu)->next_expiry_ns, t ? t->expires_ns : NEVER,
			 __ATOMIC_RELEASE);
}

/* Deterministic mode's I2. */
static void find_next_expiry(struct machine *m)
{
	u64 next = NEVER;

	if (m->parallel)
		return;

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct hw_timer *t = first_timer(m->cpus[i]);

		if (t && t->expires_ns < next)
			next = t->expires_ns;
	}
	m->next_expiry_ns = next;
}

/* Mark every CPU whose first timer is due. */
static void mark_due(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct hw_timer *t = first_timer(m->cpus[i]);

		if (t && t->expires_ns <= m->now_ns)
			cpu_set_pending(m->cpus[i], CPU_PENDING_TIMER);
	}
	find_next_expiry(m);
}

void clock_advance(struct machine *m, u64 ns)
{
	m->now_ns += ns;
	if (unlikely(m->now_ns >= m->next_expiry_ns))
		mark_due(m);
}

void clock_advance_to(struct machine *m, u64 ns)
{
	if (ns > m->now_ns)
		m->now_ns = ns;
	mark_due(m);
}

static u64 next_expiry(const struct cpu *cpu)
{
	return __atomic_load_n(&cpu_priv(cpu)->next_expiry_ns, __ATOMIC_ACQUIRE);
}

/*
 * All CPUs are idle: move the time to the next timer, and have every CPU that has one look at the
 * clock again. False when there is no timer at all.
 */
bool clock_skip(struct machine *m)
{
	u64 next = NEVER, now = clock_now(m);

	for (unsigned int i = 0; i < m->nr_cpus; i++)
		next = min(next, next_expiry(m->cpus[i]));
	if (next == NEVER)
		return false;
	if (m->config.wall_time)
		return true;
	if (next > now)
		__atomic_fetch_add(&m->skew_ns, next - now, __ATOMIC_ACQ_REL);
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		u64 first = next_expiry(m->cpus[i]);

		if (first <= next)
			cpu_post(m->cpus[i], CPU_PENDING_TIMER);
		else if (first != NEVER)
			presence_kick(m->cpus[i]);	/* how long it sleeps has changed */
	}
	return true;
}

/* ---- ticks ---- */

static void tick(struct cpu *cpu)
{
	void (*on_tick)(void) = READ_ONCE(cpu->machine->on_tick);

	if (cpu_nr_ready(cpu))
		resched_cpu(cpu);
	for (unsigned int id = 0; id < ROOM_NR; id++) {
		void (*on_room_tick)(void) = READ_ONCE(cpu->machine->on_room_tick[id]);

		if (on_room_tick)
			on_room_tick();
	}
	if (on_tick)
		on_tick();
}

/* An idle CPU has no ticks, and one with interrupts off has its tick later. */
static void tick_at(struct cpu *cpu, u64 now)
{
	struct cpu_priv *p = cpu_priv(cpu);

	if (cpu->fiber == cpu->idle || cpu->irqs_off || in_hardirq())
		return;
	if (p->tick_ns > now)
		return;
	if (p->tick_ns)
		irq_run_hard(cpu, tick);
	p->tick_ns = now + NSEC_PER_JIFFY;
}

void clock_tick(struct cpu *cpu)
{
	tick_at(cpu, cpu->machine->now_ns);
}

void machine_on_tick(struct machine *m, void (*fn)(void))
{
	WRITE_ONCE(m->on_tick, fn);
}

void machine_on_room_tick(struct machine *m, enum room_id id, void (*fn)(void))
{
	WRITE_ONCE(m->on_room_tick[id], fn);
}

void clock_poll(struct cpu *cpu)
{
	u64 now = clock_now(cpu->machine);

	if (next_expiry(cpu) <= now)
		cpu_set_pending(cpu, CPU_PENDING_TIMER);
	tick_at(cpu, now);
}

/* ---- timers ---- */

static bool timer_less(struct rb_node *a, const struct rb_node *b)
{
	const struct hw_timer *x = rb_entry(a, struct hw_timer, node);
	const struct hw_timer *y = rb_entry(b, struct hw_timer, node);

	if (x->expires_ns != y->expires_ns)
		return x->expires_ns < y->expires_ns;
	return x->seq < y->seq;
}

/* Under the timer_lock of its CPU. */
static void timer_remove(struct hw_timer *timer)
{
	struct machine *m = timer->cpu->machine;

	rb_erase_cached(&timer->node, &cpu_priv(timer->cpu)->timers);
	timer->pending = false;
	address_filter_add(m, &m->armed_timers, timer, (u32)-1);
	note_first(timer->cpu);
}

/* The first timer of @cpu, if it is due, taken out. It counts as running from here on. */
static struct hw_timer *take_due(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	u64 now = clock_now(cpu->machine);
	struct hw_timer *t;

	hw_lock(cpu->machine, &p->timer_lock);
	t = first_timer(cpu);
	if (t && t->expires_ns > now)
		t = NULL;
	if (t) {
		timer_remove(t);
		WRITE_ONCE(p->timer_running, t);
	}
	hw_unlock(cpu->machine, &p->timer_lock);
	return t;
}

void clock_run_due(struct cpu *cpu)
{
	struct hw_timer *t;

	while ((t = take_due(cpu))) {
		t->fn(t);
		/* Pairs with hw_timer_cancel_sync(). */
		__atomic_store_n(&cpu_priv(cpu)->timer_running, NULL, __ATOMIC_RELEASE);
	}
	find_next_expiry(cpu->machine);
}

void hw_timer_init(struct hw_timer *timer, void (*fn)(struct hw_timer *timer))
{
	*timer = (struct hw_timer){ .fn = fn };
}

/* Lock the timers of the CPU that has @timer; NULL when it was never started. */
static struct cpu *lock_timer(struct machine *m, struct hw_timer *timer)
{
	struct cpu *cpu;

	while ((cpu = READ_ONCE(timer->cpu))) {
		hw_lock(m, &cpu_priv(cpu)->timer_lock);
		if (READ_ONCE(timer->cpu) == cpu)
			break;
		hw_unlock(m, &cpu_priv(cpu)->timer_lock);
	}
	return cpu;
}

static void unlock_timers(struct machine *m, struct cpu *cpu)
{
	hw_unlock(m, &cpu_priv(cpu)->timer_lock);
}

/*
 * Make @timer one of CPU @self, unless its function is running: it stays where that is, so that
 * it never runs twice at once. Returns its CPU, locked.
 */
static struct cpu *lock_timer_for(struct machine *m, struct hw_timer *timer, struct cpu *self)
{
	struct cpu *cpu;

	for (;;) {
		cpu = lock_timer(m, timer);
		if (!cpu) {
			WRITE_ONCE(timer->cpu, self);
			continue;
		}
		if (timer->pending)
			timer_remove(timer);
		if (cpu == self || READ_ONCE(cpu_priv(cpu)->timer_running) == timer)
			return cpu;
		WRITE_ONCE(timer->cpu, self);
		unlock_timers(m, cpu);
	}
}

void hw_timer_start_site(struct hw_timer *timer, u64 expires_ns, const struct site *site)
{
	struct machine *m = karc_cpu->machine;
	struct cpu *cpu = lock_timer_for(m, timer, karc_cpu);

	timer->expires_ns = expires_ns;
	timer->seq = __atomic_fetch_add(&m->timer_seq, 1, __ATOMIC_RELAXED);
	timer->pending = true;
	timer->site = site;
	address_filter_add(m, &m->armed_timers, timer, 1);
	rb_add_cached(&timer->node, &cpu_priv(cpu)->timers, timer_less);
	note_first(cpu);
	unlock_timers(m, cpu);
	if (!m->parallel && expires_ns < m->next_expiry_ns)
		m->next_expiry_ns = expires_ns;
	if (expires_ns <= clock_now(m))
		cpu_set_pending(cpu, CPU_PENDING_TIMER);
}

void (hw_timer_start)(struct hw_timer *timer, u64 expires_ns)
{
	hw_timer_start_site(timer, expires_ns, SITE());
}

/* The first of @cpu's timers in the range, copied. */
static bool find_armed(struct machine *m, struct cpu *cpu, const char *p, size_t bytes,
		       struct hw_timer **found, const struct site **site)
{
	struct rb_node *node;

	hw_lock(m, &cpu_priv(cpu)->timer_lock);
	for (node = cpu_priv(cpu)->timers.rb_leftmost; node; node = rb_next(node)) {
		*found = rb_entry(node, struct hw_timer, node);
		if ((u64)((const char *)*found - p) < bytes)
			break;
	}
	if (node)
		*site = (*found)->site;
	hw_unlock(m, &cpu_priv(cpu)->timer_lock);
	return node != NULL;
}

struct hw_timer *hw_timer_find_in(const void *p, size_t bytes, const struct site **site)
{
	struct machine *m = karc_cpu->machine;
	struct hw_timer *timer;
	unsigned int cpu;

	if (likely(!address_filter_may_have(m, &m->armed_timers, p, bytes)))
		return NULL;
	for_each_cpu_of(m, cpu) {
		if (find_armed(m, m->cpus[cpu], p, bytes, &timer, site))
			return timer;
	}
	return NULL;
}

bool hw_timer_cancel(struct hw_timer *timer)
{
	struct machine *m = karc_cpu->machine;
	struct cpu *cpu = lock_timer(m, timer);
	bool was_pending;

	if (!cpu)
		return false;
	was_pending = timer->pending;
	if (was_pending)
		timer_remove(timer);
	unlock_timers(m, cpu);
	if (was_pending)
		find_next_expiry(m);
	return was_pending;
}

/* Does the function of @timer run now? Pairs with the release in clock_run_due(). */
static bool timer_runs(const struct hw_timer *timer)
{
	const struct cpu *cpu = READ_ONCE(timer->cpu);

	return cpu &&
	       __atomic_load_n(&cpu_priv(cpu)->timer_running, __ATOMIC_ACQUIRE) == timer;
}

bool hw_timer_cancel_sync(struct hw_timer *timer)
{
	bool was_pending = hw_timer_cancel(timer);

	while (timer_runs(timer))
		cpu_relax();
	return was_pending;
}

void ndelay(unsigned long ns)
{
	u64 end = ktime_get_ns() + ns;

	while (ktime_get_ns() < end)
		cpu_relax();
}

void udelay(unsigned long us)
{
	ndelay(us * NSEC_PER_USEC);
}

void mdelay(unsigned long ms)
{
	ndelay(ms * NSEC_PER_MSEC);
}

static void sleep_ns(u64 ns)
{
	might_sleep();
	fiber_prepare();
	while ((ns = fiber_block_timeout(SITE(), ns)))
		fiber_prepare();
}

void msleep(unsigned int ms)
{
	sleep_ns((u64)ms * NSEC_PER_MSEC);
}

void usleep_range(unsigned long min_us, unsigned long max_us)
{
	u64 us = min_us;

	if (max_us > min_us)
		us += rnd_between(karc_cpu->machine->parallel ? &cpu_priv(karc_cpu)->rnd :
				  &karc_cpu->machine->rnd, 0, max_us - min_us);
	sleep_ns(us * NSEC_PER_USEC);
}

/* Timers that nobody cancelled: their owners' memory may be gone, so only count them. */
unsigned int clock_nr_pending(struct machine *m)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct cpu_priv *p = cpu_priv(m->cpus[i]);

		hw_lock(m, &p->timer_lock);
		for (struct rb_node *node = p->timers.rb_leftmost; node; node = rb_next(node))
			nr++;
		hw_unlock(m, &p->timer_lock);
	}
	return nr;
}
