/* SPDX-License-Identifier: MIT */
/*
 * rcu.c - grace periods and deferred frees
 *
 * What it is      Readers cost two plain additions; who removes something from their sight waits
 *                 until each CPU was outside readers once, and only then frees. Each CPU's
 *                 callbacks form batches with a grace period of their own: with at most 64 CPUs a
 *                 machine-wide sequence would save nothing.
 * Objects         CPU -- rcu_cpu: next (queued) -> wait (grace period runs) -> done -> called
 *                                 gp (CPUs still to be seen quiet), timer (looks again)
 * Invariants      I1  A callback is called after each CPU was seen quiet since it was queued.
 *                 I2  Callbacks of one CPU are called in the order they were queued, so that
 *                     nr_done >= an earlier nr_queued means that all of those ran.
 *                 I3  The timer is pending whenever @wait is not empty outside the softirq.
 *
 *                 I4  A callback that ends in a BUG or an Oops counts as called, and those behind
 *                     it are called by the next softirq; what it was to free stays and is reported.
 *                 I5  The queues are freed when no CPU is in its softirq outside of a callback.
 *
 *                 A CPU is quiet when cpu_is_quiescent() says so: it switches fibers, idles, is
 *                 outside, or (deterministic mode) has preemption and interrupts enabled: one
 *                 host thread runs all CPUs, so what it reads of another CPU is exact. Anything
 *                 that keeps preemption off is a reader.
 * Locking         rcu_cpu lists   its own CPU, interrupts off
 *                 nr_queued, nr_done  written by its CPU, read by any; nr_done with release and
 *                 acquire, so that who saw a callback counted sees what it did
 * Life            call_rcu: next. Softirq: next becomes wait when wait is empty, wait is called
 *                 when gp is done. rcu_barrier() and the room's drain kick every CPU's softirq.
 * Worst case      A reader that never ends holds all memory back; cpu_relax() reports a machine
 *                 in which nothing moves, and the wait names the CPU after STALL_ROUNDS.
 * Unlike Linux    One flavour, no nocb, no expedited grace periods, no polled ones
 *                 (get_state_synchronize_rcu). Parallel CPUs are seen quiet at a switch or idle
 *                 only, so a busy one is asked to reschedule.
 */
#include <karc/base/bug.h>
#include <karc/base/hostmem.h>
#include <karc/base/log.h>
#include <karc/hw/fiber.h>
#include <karc/hw/ipi.h>
#include <karc/hw/irq.h>
#include <karc/refcount/rcu.h>

#include "internal.h"

#define STALL_ROUNDS	(1UL << 16)
#define POLL_NS		(NSEC_PER_USEC * 100)

static void queue_init(struct rcu_queue *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

/* Append all of @from, which is empty then. */
static void queue_move(struct rcu_queue *to, struct rcu_queue *from)
{
	if (!from->head)
		return;
	*to->tail = from->head;
	to->tail = from->tail;
	queue_init(from);
}

/* Outside readers now, or since @wait began. */
static bool cpu_is_quiet(struct machine *m, unsigned int id, const struct rcu_wait *wait)
{
	return cpu_is_quiescent(machine_cpu(m, id), wait->nr_switches[id]);
}

/* Take quiet CPUs off; true when none is left. */
static bool wait_is_over(struct machine *m, struct rcu_wait *wait)
{
	u64 left;

	KARC_STEP_EVENT(m, KARC_WRITES);	/* waits for readers: see rcu_read_lock() */
	for (left = wait->cpus; left; left &= left - 1)
		if (cpu_is_quiet(m, (unsigned int)__builtin_ctzll(left), wait))
			wait->cpus &= ~(left & -left);
	if (wait->cpus)
		return false;
	smp_mb();	/* what readers did comes before what the waiter does now */
	return true;
}

static void wait_begin(struct machine *m, struct rcu_wait *wait, bool self_is_quiet)
{
	unsigned int i, nr = machine_nr_cpus(m);

	KARC_STEP_EVENT(m, KARC_WRITES);
	smp_mb();	/* what was unlinked is unlinked for readers that begin now */
	for (i = 0; i < nr; i++)
		wait->nr_switches[i] = cpu_quiescent_count(machine_cpu(m, i));
	wait->cpus = nr == 64 ? ~0ULL : (1ULL << nr) - 1;
	if (self_is_quiet)
		wait->cpus &= ~(1ULL << smp_processor_id());
}

static void report_stall(const struct rcu_wait *wait, unsigned long round)
{
	if (round == STALL_ROUNDS)
		pr_err("rcu: a grace period waits for CPUs %#llx: reader that does not end?\n",
		       wait->cpus);
}

void synchronize_rcu(void)
{
	struct machine *m = this_machine();
	struct cpu_wait silent = { .cpu = NULL };
	unsigned long round = 0;
	struct rcu_wait wait;

	might_sleep();
	wait_begin(m, &wait, true);
	while (!wait_is_over(m, &wait)) {
		report_stall(&wait, ++round);
		cpu_wait_check(&silent, machine_cpu(m, (unsigned int)__builtin_ctzll(wait.cpus)),
			       "an RCU grace period");
		cpu_relax();
	}
}

void call_rcu(struct rcu_head *head, rcu_callback_t func)
{
	struct rcu_cpu *rcu;
	unsigned long flags;

	head->next = NULL;
	head->func = func;
	local_irq_save(flags);
	rcu = refcount_hot()->rcu;
	*rcu->next.tail = head;
	rcu->next.tail = &head->next;
	WRITE_ONCE(rcu->nr_queued, rcu->nr_queued + 1);
	raise_softirq(RCU_SOFTIRQ);
	local_irq_restore(flags);
}

unsigned long rcu_batch_here(void)
{
	return refcount_hot()->rcu->nr_begun;
}

/* Move on as far as grace periods allow; @rcu->done gets what may be called. Interrupts off. */
static void rcu_advance(struct machine *m, struct rcu_cpu *rcu, bool self_is_quiet)
{
	if (rcu->wait.head && self_is_quiet)
		rcu->gp.cpus &= ~(1ULL << smp_processor_id());
	if (rcu->wait.head && wait_is_over(m, &rcu->gp))
		queue_move(&rcu->done, &rcu->wait);
	if (!rcu->wait.head && rcu->next.head) {
		queue_move(&rcu->wait, &rcu->next);
		rcu->nr_begun++;
		wait_begin(m, &rcu->gp, self_is_quiet);
		if (wait_is_over(m, &rcu->gp))
			queue_move(&rcu->done, &rcu->wait);
	}
	if (rcu->wait.head)
		hw_timer_start(&rcu->timer, ktime_get_ns() + POLL_NS);
}

/* I4: the softirq does not nest, so a mark that is set at its begin is of one that died. */
static void rcu_call_end(struct rcu_cpu *rcu)
{
	if (!rcu->calling)
		return;
	rcu->calling = false;
	/* Pairs with the acquire in rcu_barrier(): what the callback did is seen there. */
	smp_store_release(&rcu->nr_done, rcu->nr_done + 1);
}

static struct rcu_head *rcu_take_done(struct rcu_cpu *rcu)
{
	struct rcu_head *head = rcu->done.head;

	if (!head)
		return NULL;
	rcu->done.head = head->next;
	if (!head->next)
		queue_init(&rcu->done);
	return head;
}

/*
 * Between these two rcu_exit() waits. Either it sees the mark, or we see that it has begun: both
 * write first and then read, in one order for all.
 */
static struct rcu_cpu *rcu_enter(struct refcount_hot *hot)
{
	struct rcu_cpu *rcu;

	__atomic_store_n(&hot->rcu_busy, true, __ATOMIC_SEQ_CST);
	rcu = __atomic_load_n(&hot->rcu, __ATOMIC_SEQ_CST);
	if (!rcu)
		__atomic_store_n(&hot->rcu_busy, false, __ATOMIC_RELEASE);
	return rcu;
}

static void rcu_leave(struct refcount_hot *hot)
{
	/* Pairs with the loop in rcu_exit(). No step for the explorer: the calls are over. */
	__atomic_store_n(&hot->rcu_busy, false, __ATOMIC_RELEASE);
}

static void rcu_softirq(struct softirq_action *action)
{
	struct machine *m = this_machine();
	struct refcount_hot *hot = refcount_hot();
	struct rcu_cpu *rcu = rcu_enter(hot);
	struct rcu_head *head;
	unsigned long flags;
	bool self_is_quiet;

	(void)action;
	if (!rcu)
		return;
	rcu_call_end(rcu);
	local_irq_save(flags);
	/* What the softirq interrupted was no reader if the softirq alone is on the count. */
	self_is_quiet = !flags && preempt_count() == SOFTIRQ_OFFSET;
	rcu_advance(m, rcu, self_is_quiet);
	local_irq_restore(flags);
	while ((head = rcu_take_done(rcu))) {
		rcu->calling = true;
		rcu_leave(hot);		/* it may never return */
		head->func(head);
		rcu = rcu_enter(hot);
		if (!rcu)
			return;
		rcu_call_end(rcu);
	}
	rcu_leave(hot);
}

static void rcu_timer(struct hw_timer *timer)
{
	(void)timer;
	raise_softirq(RCU_SOFTIRQ);
}

/*
 * From rcu_barrier() on the CPU that *@info names, which is no reader: while it waits for this call
 * it is not preemptible and would never be seen quiet. Interrupts are off.
 */
static void rcu_kick(void *info)
{
	unsigned int *waiter = info;

	refcount_hot()->rcu->gp.cpus &= ~(1ULL << *waiter);
	raise_softirq(RCU_SOFTIRQ);
}

static void rcu_kick_cpu(unsigned int cpu)
{
	unsigned int self;

	preempt_disable();
	self = smp_processor_id();
	smp_call_function_single((int)cpu, rcu_kick, &self, 1);
	preempt_enable();
}

void rcu_barrier(void)
{
	struct machine *m = this_machine();
	struct rcu_cpu *rcu = refcount_state(m)->rcu;
	unsigned int i, nr = machine_nr_cpus(m);
	u64 target[MACHINE_MAX_CPUS];
	unsigned long round;

	might_sleep();
	for (i = 0; i < nr; i++)
		target[i] = READ_ONCE(rcu[i].nr_queued);
	for (i = 0; i < nr; i++) {
		for (round = 1; smp_load_acquire(&rcu[i].nr_done) < target[i]; round++) {
			rcu_kick_cpu(i);
			report_stall(&rcu[i].gp, round);
			cpu_relax();
		}
	}
}

static unsigned long nr_pending(struct machine *m)
{
	struct rcu_cpu *rcu = refcount_state(m)->rcu;
	unsigned long sum = 0;
	unsigned int i;

	for (i = 0; i < machine_nr_cpus(m); i++)
		sum += READ_ONCE(rcu[i].nr_queued) - READ_ONCE(rcu[i].nr_done);
	return sum;
}

unsigned long rcu_nr_pending(void)
{
	return nr_pending(this_machine());
}

unsigned long rcu_drain(struct machine *m)
{
	unsigned long nr = nr_pending(m);

	if (nr)
		rcu_barrier();
	return nr;
}

int rcu_init(struct machine *m)
{
	unsigned int i, nr = machine_nr_cpus(m);
	struct rcu_cpu *rcu = hostmem_zalloc(NULL, nr * sizeof(*rcu));

	if (!rcu)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		queue_init(&rcu[i].next);
		queue_init(&rcu[i].wait);
		queue_init(&rcu[i].done);
		hw_timer_init(&rcu[i].timer, rcu_timer);
		refcount_hot_of(m, i)->rcu = &rcu[i];
	}
	refcount_state(m)->rcu = rcu;
	open_softirq(RCU_SOFTIRQ, rcu_softirq);
	return 0;
}

void rcu_exit(struct machine *m)
{
	struct rcu_cpu *rcu = refcount_state(m)->rcu;
	unsigned long nr = nr_pending(m);
	struct refcount_hot *hot;
	unsigned int i;

	if (nr)
		machine_report_left(m, "rcu callback", NULL, nr, 0);
	open_softirq(RCU_SOFTIRQ, NULL);
	for (i = 0; i < machine_nr_cpus(m); i++) {
		hot = refcount_hot_of(m, i);
		__atomic_store_n(&hot->rcu, NULL, __ATOMIC_SEQ_CST);
		/* Another CPU may be on its way out of the softirq that made the last call. */
		while (__atomic_load_n(&hot->rcu_busy, __ATOMIC_SEQ_CST))
			cpu_relax();
		hw_timer_cancel(&rcu[i].timer);		/* after it: the softirq starts it */
	}
	hostmem_free(NULL, rcu);
}
