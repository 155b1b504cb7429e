/* SPDX-License-Identifier: MIT */
/*
 * ipi.c - cross-CPU calls: mailboxes and acknowledgements
 *
 * What it is
 *	Each CPU has, as a sender, one slot for each target. Posting a call fills the slot, links it
 *	into the target's mailbox and marks the target; the target runs the mailbox in hardirq
 *	context and frees each slot. Nothing is allocated, so a call cannot fail. In parallel mode a
 *	sender that waits claims a target that nobody plays and runs its mailbox itself (presence.c).
 *
 * Invariants
 *	I1 a slot is busy from posting until the target has run it; only its sender posts into it
 *	I2 a mailbox is run oldest first
 *	I3 a waiting sender keeps running its own mailbox, interrupts off or not, so that senders
 *	   never wait for each other in a circle; while it plays another CPU, others may run it (LENT)
 *
 * Locking
 *	mail_lock around a mailbox; a slot belongs to its sender until it is posted and after ->busy
 *	is cleared, in between to whoever plays the target.
 *
 * Worst case
 *	A second call to a target waits until the first was run there.
 */
#include <errno.h>

#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include <karc/hw/ipi.h>
#include "internal.h"

int ipi_init_cpu(struct cpu *cpu)
{
	struct machine *m = cpu->machine;
	struct cpu_priv *p = cpu_priv(cpu);

	p->slots = hostmem_zalloc(&m->hostmem, m->nr_cpus * sizeof(*p->slots));
	return p->slots ? 0 : -ENOMEM;
}

void ipi_exit_cpu(struct cpu *cpu)
{
	hostmem_free(&cpu->machine->hostmem, cpu_priv(cpu)->slots);
	cpu_priv(cpu)->slots = NULL;
}

/* The oldest call in @cpu's mailbox, taken out, or NULL. */
static struct ipi_slot *take_mail(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	struct ipi_slot *slot;

	hw_lock(cpu->machine, &p->mail_lock);
	slot = list_first_entry_or_null(&p->mailbox, struct ipi_slot, node);
	if (slot)
		list_del(&slot->node);
	hw_unlock(cpu->machine, &p->mail_lock);
	return slot;
}

bool ipi_has_mail(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	bool some;

	hw_lock(cpu->machine, &p->mail_lock);
	some = !list_empty(&p->mailbox);
	hw_unlock(cpu->machine, &p->mail_lock);
	return some;
}

void ipi_run_mailbox(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	struct ipi_slot *slot;

	while ((slot = take_mail(cpu))) {
		struct ipi_slot *outer = p->slot_running;
		smp_call_func_t fn = slot->fn;
		void *info = slot->info;
		bool wait = slot->wait;

		WRITE_ONCE(p->nr_ipis, p->nr_ipis + 1);
		/* Nobody waits: the slot is free for the next call while this one runs. */
		if (wait)
			p->slot_running = slot;
		else
			__atomic_store_n(&slot->busy, 0, __ATOMIC_RELEASE);
		fn(info);
		p->slot_running = outer;
		if (wait)
			__atomic_store_n(&slot->busy, 0, __ATOMIC_RELEASE);
	}
}

/* Run what others sent here, even with interrupts off: they may wait for it (I3). */
void ipi_poll_mailbox(struct cpu *cpu)
{
	u32 irqs_off = cpu->irqs_off;

	if (!(__atomic_load_n(&cpu->pending, __ATOMIC_ACQUIRE) & CPU_PENDING_IPI))
		return;
	cpu_clear_pending(cpu, CPU_PENDING_IPI);
	cpu->irqs_off = 1;
	preempt_count_add(HARDIRQ_OFFSET);
	ipi_run_mailbox(cpu);
	preempt_count_sub(HARDIRQ_OFFSET);
	cpu->irqs_off = irqs_off;
}

static bool slot_busy(const struct ipi_slot *slot)
{
	return __atomic_load_n(&slot->busy, __ATOMIC_ACQUIRE);
}

/*
 * Wait until the target has run what is in the slot. When nobody plays the target, or its thread
 * sleeps, this one runs it: only the mailbox, because the caller may hold what other handlers
 * wait for. It waits for a call there in any case.
 */
static void wait_slot(struct cpu *self, unsigned int target)
{
	struct ipi_slot *slot = &cpu_priv(self)->slots[target];
	struct cpu *cpu = self->machine->cpus[target];
	struct cpu_wait wait = { .cpu = NULL };

	while (slot_busy(slot)) {
		ipi_poll_mailbox(self);
		if (self->machine->parallel) {
			if (presence_claim(self, cpu, false))
				continue;
			cpu_wait_check(&wait, cpu, "a cross-CPU call");
		}
		cpu_relax();
	}
}

/* Context: preemption disabled. */
static void post(struct cpu *self, unsigned int target, smp_call_func_t fn, void *info, bool wait)
{
	struct ipi_slot *slot = &cpu_priv(self)->slots[target];
	struct cpu *cpu = self->machine->cpus[target];
	struct cpu_priv *p = cpu_priv(cpu);

	wait_slot(self, target);
	slot->fn = fn;
	slot->info = info;
	slot->wait = wait;
	__atomic_store_n(&slot->busy, 1, __ATOMIC_RELAXED);
	hw_lock(self->machine, &p->mail_lock);
	list_add_tail(&slot->node, &p->mailbox);
	hw_unlock(self->machine, &p->mail_lock);
	/* Who waits claims a CPU that sleeps; nobody waits for this one. */
	if (wait)
		cpu_set_pending(cpu, CPU_PENDING_IPI);
	else
		cpu_post(cpu, CPU_PENDING_IPI);
}

static void check_context(void)
{
	WARN_ON_ONCE(irqs_disabled() || in_hardirq());
}

static void call_here(smp_call_func_t fn, void *info)
{
	unsigned long flags;

	local_irq_save(flags);
	fn(info);
	local_irq_restore(flags);
}

int smp_call_function_single(int target, smp_call_func_t func, void *info, int wait)
{
	struct cpu *self;

	preempt_disable();
	self = karc_cpu;
	if (target < 0 || (unsigned int)target >= self->machine->nr_cpus) {
		preempt_enable();
		return -ENXIO;
	}
	if ((unsigned int)target == self->id) {
		call_here(func, info);
	} else {
		check_context();
		post(self, (unsigned int)target, func, info, wait);
		if (wait)
			wait_slot(self, (unsigned int)target);
	}
	preempt_enable();
	return 0;
}

void smp_call_function_many(const cpumask_t *mask, smp_call_func_t func, void *info, bool wait)
{
	struct cpu *self = karc_cpu;
	cpumask_t others = *mask;
	unsigned int cpu;

	cpumask_clear_cpu(self->id, &others);
	others.bits[0] &= cpumask_word_below(self->machine->nr_cpus);
	if (cpumask_empty(&others))
		return;
	check_context();
	preempt_disable();
	for_each_cpu(cpu, &others)
		post(self, cpu, func, info, wait);
	if (wait) {
		for_each_cpu(cpu, &others)
			wait_slot(self, cpu);
	}
	preempt_enable();
}

void smp_call_function(smp_call_func_t func, void *info, int wait)
{
	preempt_disable();
	smp_call_function_many(cpu_online_mask, func, info, wait);
	preempt_enable();
}

void on_each_cpu_mask(const cpumask_t *mask, smp_call_func_t func, void *info, bool wait)
{
	preempt_disable();
	smp_call_function_many(mask, func, info, wait);
	if (cpumask_test_cpu(karc_cpu->id, mask))
		call_here(func, info);
	preempt_enable();
}

void on_each_cpu(smp_call_func_t func, void *info, int wait)
{
	on_each_cpu_mask(cpu_online_mask, func, info, wait);
}

u64 ipi_count(struct cpu *cpu)
{
	return READ_ONCE(cpu_priv(cpu)->nr_ipis);
}
