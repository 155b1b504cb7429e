/* SPDX-License-Identifier: MIT */
/*
 * cpu.c - the simulated CPUs and their per-CPU areas
 *
 * What it is
 *	A CPU is one cache-aligned block: what every fast path reads comes first, then a fixed area
 *	for each room at a constant offset, so that inlined fast paths of an upper room need no
 *	pointer of their own. What only this room reads sits in struct cpu_priv.
 *
 * Life
 *	made by machine_boot_rooms(), before any room's init; freed after the last room's exit
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/bug.h>
#include "internal.h"

#undef karc_cpu
__thread struct cpu *karc_cpu __attribute__((tls_model("initial-exec")));

static_assert(offsetof(struct cpu, percpu_offset) == 64, "the fast paths' line is full");
static_assert(sizeof(struct cpu) % 64 == 0, "CPUs share no cache line");

static struct cpu *cpu_alloc(struct machine *m, unsigned int id)
{
	struct cpu *cpu = hostmem_map(&m->hostmem, sizeof(*cpu));
	struct cpu_priv *p;

	if (!cpu)
		return NULL;
	p = hostmem_zalloc(&m->hostmem, sizeof(*p));
	if (!p) {
		hostmem_unmap(&m->hostmem, cpu, sizeof(*cpu));
		return NULL;
	}
	INIT_LIST_HEAD(&p->run_queue);
	INIT_LIST_HEAD(&p->mailbox);
	p->timers = RB_ROOT_CACHED;
	p->next_expiry_ns = ~0ULL;
	p->player = m->parallel ? &p->own_player : &m->player;
	rnd_seed(&p->rnd, m->config.seed + id);
	cpu->machine = m;
	cpu->id = id;
	cpu->priv = p;
	cpu->steps = 1;
	return cpu;
}

static void cpu_free(struct cpu *cpu)
{
	struct machine *m = cpu->machine;

	ipi_exit_cpu(cpu);
	if (cpu->tlb)
		tlb_exit_cpu(cpu);
	hostmem_free(&m->hostmem, cpu->priv);
	hostmem_unmap(&m->hostmem, cpu, sizeof(*cpu));
}

void cpus_exit(struct machine *m)
{
	for (unsigned int i = 0; i < MACHINE_MAX_CPUS; i++) {
		if (m->cpus[i])
			cpu_free(m->cpus[i]);
		m->cpus[i] = NULL;
	}
}

int cpus_init(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct cpu *cpu = cpu_alloc(m, i);

		m->cpus[i] = cpu;
		if (!cpu)
			goto out_of_memory;
		if (tlb_init_cpu(cpu) || ipi_init_cpu(cpu))
			goto out_of_memory;
	}
	return 0;
out_of_memory:
	cpus_exit(m);
	return -ENOMEM;
}

void cpu_on_deferred(struct machine *m, void (*fn)(void))
{
	WRITE_ONCE(m->on_deferred, fn);
}

bool cpu_is_idle(const struct cpu *cpu)
{
	if (cpu->machine->parallel)
		return presence_is_idle(cpu);
	return cpu->fiber == cpu->idle && !cpu->preempt_count && !cpu->irqs_off;
}

/* Pairs with count_switch(): what comes after a switch that is not in @count sees all of this. */
u64 cpu_quiescent_count(const struct cpu *cpu)
{
	return __atomic_load_n(&cpu->nr_switches, __ATOMIC_SEQ_CST);
}

bool cpu_is_quiescent(struct cpu *cpu, u64 count)
{
	enum cpu_presence presence;

	if (__atomic_load_n(&cpu->nr_switches, __ATOMIC_SEQ_CST) != count)
		return true;
	if (!cpu->machine->parallel)
		return !cpu->preempt_count && !cpu->irqs_off;
	presence = cpu_presence(cpu);
	if (presence == CPU_IDLE || presence == CPU_OUTSIDE)
		return true;
	resched_cpu(cpu);
	return false;
}

void resched_cpu(struct cpu *cpu)
{
	cpu_set_pending(cpu, CPU_PENDING_RESCHED);
}

bool need_resched(void)
{
	return __atomic_load_n(&karc_cpu->pending, __ATOMIC_RELAXED) & CPU_PENDING_RESCHED;
}
