/* SPDX-License-Identifier: MIT */
/*
 * clock.c - virtual time and one-shot timers
 *
 * What it is
 *	A counter of nanoseconds. It moves a little at safe points, and jumps to the next timer
 *	when no fiber can run. Timers wait in a tree of their CPU, ordered by time and then by
 *	order of starting; reaching a timer's time marks its CPU, which runs it as an interrupt.
 *
 * Invariants
 *	I1 a timer is in its CPU's tree exactly while ->pending
 *	I2 m->next_expiry_ns is the earliest time of any pending timer, ~0 without one; it may be
 *	   too early after a cancel, never too late
 *	I3 time never goes back
 *
 * Worst case
 *	Starting and cancelling are O(log n) in the timers of one CPU; finding the next expiry looks
 *	at each CPU's first timer.
 *
 * Unlike Linux
 *	HZ is 100, as libc says it is, and jiffies start at 0. Time is the machine's alone: it does
 *	not follow the host's.
 */
#include <karc/base/bug.h>
#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include "internal.h"

#define NEVER	(~0ULL)

u64 ktime_get_ns(void)
{
	return karc_cpu->machine->now_ns;
}

static struct hw_timer *first_timer(struct cpu *cpu)
{
	struct rb_node *node = cpu_priv(cpu)->timers.rb_leftmost;

	return node ? rb_entry(node, struct hw_timer, node) : NULL;
}

static void find_next_expiry(struct machine *m)
{
	u64 next = NEVER;

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

static bool timer_less(struct rb_node *a, const struct rb_node *b)
{
	const struct hw_timer *x = rb_entry(a, struct hw_timer, node);
	const struct hw_timer *y = rb_entry(b, struct hw_timer, node);

	if (x->expires_ns != y->expires_ns)
		return x->expires_ns < y->expires_ns;
	return x->seq < y->seq;
}

static void timer_remove(struct hw_timer *timer)
{
	rb_erase_cached(&timer->node, &cpu_priv(timer->cpu)->timers);
	timer->pending = false;
}

void clock_run_due(struct cpu *cpu)
{
	struct machine *m = cpu->machine;
	struct cpu_priv *p = cpu_priv(cpu);
	struct hw_timer *t;

	while ((t = first_timer(cpu)) && t->expires_ns <= m->now_ns) {
		timer_remove(t);
		p->timer_running = t;
		t->fn(t);
		p->timer_running = NULL;
	}
	find_next_expiry(m);
}

void hw_timer_init(struct hw_timer *timer, void (*fn)(struct hw_timer *timer))
{
	*timer = (struct hw_timer){ .fn = fn };
}

void hw_timer_start(struct hw_timer *timer, u64 expires_ns)
{
	struct cpu *cpu = karc_cpu;
	struct machine *m = cpu->machine;

	if (timer->pending)
		timer_remove(timer);
	timer->expires_ns = expires_ns;
	timer->seq = m->timer_seq++;
	timer->cpu = cpu;
	timer->pending = true;
	rb_add_cached(&timer->node, &cpu_priv(cpu)->timers, timer_less);
	if (expires_ns < m->next_expiry_ns)
		m->next_expiry_ns = expires_ns;
	if (expires_ns <= m->now_ns)
		cpu_set_pending(cpu, CPU_PENDING_TIMER);
}

bool hw_timer_cancel(struct hw_timer *timer)
{
	if (!timer->pending)
		return false;
	timer_remove(timer);
	find_next_expiry(karc_cpu->machine);
	return true;
}

bool hw_timer_cancel_sync(struct hw_timer *timer)
{
	bool was_pending = hw_timer_cancel(timer);

	while (timer->cpu && READ_ONCE(cpu_priv(timer->cpu)->timer_running) == timer)
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
		us += rnd_between(&karc_cpu->machine->rnd, 0, max_us - min_us);
	sleep_ns(us * NSEC_PER_USEC);
}

/* Timers that nobody cancelled: their owners' memory may be gone, so only count them. */
unsigned int clock_nr_pending(struct machine *m)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct rb_node *node = cpu_priv(m->cpus[i])->timers.rb_leftmost;

		for (; node; node = rb_next(node))
			nr++;
	}
	return nr;
}
