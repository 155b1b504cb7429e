/* SPDX-License-Identifier: MIT */
/*
 * freeze.c - the whole machine stands still
 *
 * What it is
 *	In deterministic mode one host thread plays everything: it is enough to pass over the
 *	safe points of who froze. In parallel mode each other CPU is claimed when nobody plays
 *	it, as for a cross-CPU call (presence.c), or its player finds CPU_PENDING_FREEZE at its
 *	next safe point and waits there.
 *
 * Invariants
 *	I1 one freezes at a time: ->freezer; who wants to as well waits, and is frozen meanwhile
 *	I2 a CPU is frozen when this thread made its word CLAIMED, or its player has written the
 *	   number of this freeze to ->frozen, and leaves that loop only when the bit is cleared
 *	I3 a claim is given back with the word it had, and whoever sleeps is woken if work came
 *
 * Locking
 *	m->freezer	1 + id of the CPU that freezes, atomic
 *
 * Worst case
 *	FREEZE_WAIT_MS, when a player runs host code without a safe point: then it is given up.
 *	On a busy host longer: until all have had the time, see struct patience.
 *
 * Unlike Linux
 *	stop_machine() runs a function on threads of its own; here the caller goes on by itself.
 */
#include <karc/base/math.h>
#include <karc/hw/context.h>
#include <karc/hw/freeze.h>
#include "internal.h"

#define FREEZE_WAIT_NS	(FREEZE_WAIT_MS * (u64)NSEC_PER_MSEC)

/*
 * Called by its player at a safe point: I2. The number is read before the bit: when the bit is set
 * it belongs to this freeze or a later one, never to one before.
 */
void freeze_wait(struct cpu *cpu)
{
	struct machine *m = cpu->machine;
	u64 number;
	u32 freezer;

	for (;;) {
		number = __atomic_load_n(&m->nr_freezes, __ATOMIC_ACQUIRE);
		freezer = __atomic_load_n(&m->freezer, __ATOMIC_ACQUIRE);
		if (!(cpu_pending(cpu) & CPU_PENDING_FREEZE) || freezer == cpu->id + 1)
			return;
		__atomic_store_n(&cpu_priv(cpu)->frozen, number, __ATOMIC_RELEASE);
		if (freezer)
			futex_wait(&m->freezer, freezer, NSEC_PER_MSEC);
	}
}

static bool is_frozen(const struct machine *m, const struct cpu *cpu)
{
	return __atomic_load_n(&cpu_priv(cpu)->frozen, __ATOMIC_ACQUIRE) == m->nr_freezes;
}

/* Until it is; false: it takes too long. */
static bool freeze_cpu(struct machine *m, struct cpu *cpu, struct patience *patience)
{
	while (!is_frozen(m, cpu)) {
		if (presence_hold(cpu))
			return true;
		if (patience_is_over(patience, m, FREEZE_WAIT_NS))
			return false;
		sched_yield();
	}
	return true;
}

static void thaw_cpus(struct machine *m, struct cpu *self)
{
	unsigned int i;

	/* Pairs with the acquire in freeze_wait(): what was looked at may change from here on. */
	for (i = 0; i < m->nr_cpus; i++)
		__atomic_fetch_and(&m->cpus[i]->pending, ~CPU_PENDING_FREEZE, __ATOMIC_RELEASE);
	for (i = 0; i < m->nr_cpus; i++)
		if (m->cpus[i] != self)
			presence_unhold(m->cpus[i]);
}

static bool freeze_cpus(struct machine *m, struct cpu *self)
{
	struct patience patience;
	unsigned int i;

	patience_begin(&patience);
	__atomic_fetch_add(&m->nr_freezes, 1, __ATOMIC_RELEASE);
	for (i = 0; i < m->nr_cpus; i++)
		if (m->cpus[i] != self)
			cpu_set_pending(m->cpus[i], CPU_PENDING_FREEZE);
	for (i = 0; i < m->nr_cpus; i++)
		if (m->cpus[i] != self && !freeze_cpu(m, m->cpus[i], &patience))
			return false;
	return true;
}

static void release_freezer(struct machine *m)
{
	__atomic_store_n(&m->freezer, 0, __ATOMIC_RELEASE);
	if (m->parallel)
		futex_wake_all(&m->freezer);
}

/* Preemption is off from here on. */
static struct cpu *become_freezer(struct machine *m)
{
	u32 nobody = 0;

	for (;;) {
		preempt_disable();
		if (__atomic_compare_exchange_n(&m->freezer, &nobody, karc_cpu->id + 1, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return karc_cpu;
		preempt_enable();
		cpu_relax();
		nobody = 0;
	}
}

bool machine_freeze(void)
{
	struct machine *m = karc_cpu->machine;
	struct cpu *self = become_freezer(m);

	if (!m->parallel || freeze_cpus(m, self))
		return true;
	thaw_cpus(m, self);
	release_freezer(m);
	preempt_enable();
	return false;
}

static bool is_at_work(const struct cpu *cpu)
{
	enum cpu_presence now = cpu_presence(cpu);

	return now == CPU_INSIDE || now == CPU_LENT;
}

void machine_give_turns(unsigned int nr)
{
	struct machine *m = karc_cpu->machine;
	struct patience patience;
	u64 before[MACHINE_MAX_CPUS] = { 0 };
	unsigned int i;

	for (i = 0; i < m->nr_cpus; i++)
		before[i] = READ_ONCE(cpu_priv(m->cpus[i])->nr_slow);
	for (i = 0; i < nr; i++)
		fiber_yield();
	if (!m->parallel)
		return;
	patience_begin(&patience);
	for (i = 0; i < m->nr_cpus; i++) {
		const struct cpu *cpu = m->cpus[i];

		while (cpu != karc_cpu && is_at_work(cpu) &&
		       READ_ONCE(cpu_priv(cpu)->nr_slow) - before[i] < nr &&
		       !patience_is_over(&patience, m, FREEZE_WAIT_NS)) {
			sched_yield();
			fiber_yield();
		}
	}
}

void machine_thaw(void)
{
	struct cpu *self = karc_cpu;
	struct machine *m = self->machine;

	if (m->parallel)
		thaw_cpus(m, self);
	release_freezer(m);
	preempt_enable();
}
