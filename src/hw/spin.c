/* SPDX-License-Identifier: MIT */
/*
 * spin.c - cpu_relax() in parallel mode, and the watch over those who spin for ever
 *
 * What it is
 *	There are more CPUs than host CPUs, so whoever spins must not use up the time slice of the
 *	one it waits for: after a few pauses it gives the host CPU away, and after a while it sleeps
 *	for some microseconds at a time. It is also a place where interrupts are delivered, other
 *	fibers of the CPU run, and interrupts of CPUs outside are run for them.
 *
 *	The watch: when every CPU is idle or spins, and keeps spinning while nothing else moves,
 *	time is moved to the next timer, as when all are idle; without a timer the machine is stuck.
 *
 * Invariants
 *	I1 cpu_priv.spin counts the calls since the CPU did anything else: passed a safe point, or
 *	   woke, blocked, made or ended a fiber
 *	I2 a round of the watch is over when each spinning CPU has spun on since it began, with no
 *	   CPU taken by anybody meanwhile. A CPU that computes never ends a round
 *
 * Worst case
 *	A spinner looks at each CPU in each call from SPINS_TO_WATCH on. Stuck is said after STUCK_NS
 *	and ROUNDS_MIN rounds. What spinners hand each other through memory alone is not seen as
 *	moving; but in each round all who spin have looked several times, so that at least so many
 *	turns were had, however slow the host is.
 */
#include <sched.h>
#include <string.h>
#include <time.h>

#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include "internal.h"

#define SPINS_PER_LOOK	16u		/* pauses between two looks at the world */
#define SPINS_OF_YIELD	512u		/* from then on it sleeps */
#define SPINS_TO_WATCH	1024u
#define SLEEP_NS	20000
#define STUCK_NS	(NSEC_PER_SEC)
#define ROUNDS_MIN	256u		/* those of less than a second on a host that is idle */

struct spin_watch {
	u64 since_ns;			/* host time since when nothing moved */
	u64 activity;
	unsigned int rounds;
	u32 seen[MACHINE_MAX_CPUS];
};

struct spin_watch *spin_watch_alloc(struct machine *m)
{
	return hostmem_zalloc(&m->hostmem, sizeof(struct spin_watch));
}

/* I1 */
static u32 count_spin(struct cpu *self)
{
	struct cpu_priv *p = cpu_priv(self);
	u32 spin = p->spin + 1;

	if (p->spin_steps != self->steps || p->spin_moves != p->nr_moves) {
		p->spin_steps = self->steps;
		p->spin_moves = p->nr_moves;
		spin = 1;
	}
	WRITE_ONCE(p->spin, spin);
	return spin;
}

enum round { ROUND_BROKEN, ROUND_GOES_ON, ROUND_OVER };

/* What has become of @cpu since the round began. */
static enum round look_at(const struct cpu *cpu, u32 seen)
{
	u32 spin;

	switch (cpu_presence(cpu)) {
	case CPU_IDLE:
		return cpu_nr_ready(cpu) || (cpu_pending(cpu) & CPU_PENDING_WORK) ?
		       ROUND_BROKEN : ROUND_OVER;
	case CPU_OUTSIDE:
		return ROUND_BROKEN;
	case CPU_LENT:
		return ROUND_OVER;	/* its thread is the one that spins elsewhere */
	default:
		break;
	}
	spin = READ_ONCE(cpu_priv(cpu)->spin);
	if (spin < seen)
		return ROUND_BROKEN;
	return spin > seen + SPINS_PER_LOOK ? ROUND_OVER : ROUND_GOES_ON;
}

static void begin_round(struct machine *m, struct spin_watch *w)
{
	w->activity = __atomic_load_n(&m->activity, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		w->seen[i] = READ_ONCE(cpu_priv(m->cpus[i])->spin);
}

static enum round look_at_all(struct machine *m, const struct spin_watch *w)
{
	enum round worst = ROUND_OVER, round;

	if (__atomic_load_n(&m->activity, __ATOMIC_SEQ_CST) != w->activity)
		return ROUND_BROKEN;
	for (unsigned int i = 0; i < m->nr_cpus && worst != ROUND_BROKEN; i++) {
		round = look_at(m->cpus[i], w->seen[i]);
		if (round < worst)
			worst = round;
	}
	return worst;
}

/* True when the machine is stuck. Under idle_lock. */
static bool watch_locked(struct machine *m)
{
	struct spin_watch *w = m->watch;
	u64 now = parallel_host_ns();

	switch (look_at_all(m, w)) {
	case ROUND_BROKEN:
		w->rounds = 0;
		w->since_ns = now;
		begin_round(m, w);
		return false;
	case ROUND_GOES_ON:
		return false;
	case ROUND_OVER:
		break;
	}
	w->rounds++;
	begin_round(m, w);
	if (clock_skip(m) || w->rounds < ROUNDS_MIN || now - w->since_ns < STUCK_NS)
		return false;
	w->rounds = 0;
	w->since_ns = now;
	return true;
}

static void watch(struct machine *m)
{
	bool stuck;

	hw_lock(m, &m->idle_lock);
	stuck = watch_locked(m);
	hw_unlock(m, &m->idle_lock);
	if (stuck)
		fiber_stuck(m, true);
}

static void wait_a_little(u32 spin)
{
	static const struct timespec nap = { .tv_nsec = SLEEP_NS };

	if (spin < SPINS_OF_YIELD)
		sched_yield();
	else
		nanosleep(&nap, NULL);
}

static void look_around(struct cpu *self, u32 spin)
{
	struct machine *m = self->machine;

	parallel_check_stop(self);
	WRITE_ONCE(cpu_priv(self)->nr_slow, cpu_priv(self)->nr_slow + 1);
	clock_poll(self);
	presence_help(self);
	fiber_check_condemned(self->fiber);
	if (spin >= SPINS_TO_WATCH)
		watch(m);
	wait_a_little(spin);
}

void spin_relax(struct cpu *self)
{
	u32 spin = count_spin(self);

	if (unlikely(cpu_pending(self) & CPU_PENDING_FREEZE))
		freeze_wait(self);
	fiber_sched_deliver();
	if (spin >= SPINS_OF_YIELD || spin % SPINS_PER_LOOK == 0)
		look_around(self, spin);
	else
		karc_pause();
	if (need_resched())
		fiber_sched_resched(self);
	else
		fiber_sched_give_way(self);
	fiber_sched_deliver();
}
