/* SPDX-License-Identifier: MIT */
/*
 * presence.c - who plays a CPU: inside, outside, asleep, claimed (parallel mode)
 *
 * What it is
 *	In parallel mode a CPU is played by a host thread: CPU 0 by the harness thread while it is
 *	in, each other by a thread of its own. One word per CPU says whether somebody plays it. A CPU
 *	whose player sleeps, is blocked outside karc, or is not there can be *claimed*: another
 *	thread takes the word, runs what interrupts that CPU on a stack that is kept for this (the
 *	proxy), and gives it back. So a cross-CPU call never waits for a thread that may be away for
 *	ever, and never wakes one for a moment's work.
 *
 *	    OUTSIDE <--cpu_leave, cpu_enter--> INSIDE <--idle, kick--> IDLE (futex)
 *	       |                                  |  \--plays another--> LENT
 *	       +----------- CLAIMED <-------------+-- from OUTSIDE, IDLE, LENT, and back to the same
 *
 * Invariants
 *	I1 what belongs to a CPU (counts, softirqs, current fiber) is touched only by the thread
 *	   that made its word INSIDE or CLAIMED; each change of the word is an acquire or a release
 *	I2 whoever makes the word IDLE looks for work afterwards; whoever makes work looks at the
 *	   word afterwards, with an atomic operation on it: one of the two sees the other
 *	I3 a claim runs interrupts only: its fiber is the proxy, with preemption off, so it never
 *	   switches fibers, and it ends on the host thread that began it
 *	I4 a CPU that is LENT is claimed for its mailbox only: its fiber is in the middle of
 *	   something, but waits for another CPU and would run its own mailbox (ipi.c, I3)
 *	I5 ->activity grows with each change to INSIDE or CLAIMED: if it is the same before and after
 *	   all words were read as IDLE, all CPUs were idle at one time
 *
 * Locking
 *	idle_lock	held by who decides what happens when all CPUs are idle
 *
 * Life of an idle CPU
 *	help those who are outside; become IDLE; look for work; if all CPUs are idle, skip the time
 *	to the next timer, or say that everybody is stuck; sleep until kicked or the next timer.
 *
 * Worst case
 *	Going idle and kicking a CPU that is outside look at each CPU once. A claim lasts as long as
 *	the handlers do; a thread that comes back meanwhile waits for its end.
 */
#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <karc/base/bug.h>
#include <karc/base/math.h>
#include <karc/hw/context.h>
#include "internal.h"
#include "sanitizer.h"

#define NEVER		(~0ULL)
#define SETTLE_NS	(10ULL * NSEC_PER_SEC)	/* fibers that always move */
#define SETTLE_IRQ_NS	(NSEC_PER_SEC / 2)	/* interrupts and softirqs that start themselves */
#define SLEEP_MAX_NS	(1000ULL * NSEC_PER_SEC)

/* The CPU that this thread left with cpu_leave(). */
static __thread struct cpu *left_cpu __attribute__((tls_model("initial-exec")));

/* ---- the word ---- */

static u32 *presence_word(const struct cpu *cpu)
{
	return &cpu_priv(cpu)->presence;
}

static bool change(const struct cpu *cpu, enum cpu_presence from, enum cpu_presence to)
{
	u32 expected = from;

	if (!__atomic_compare_exchange_n(presence_word(cpu), &expected, to, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE))
		return false;
	if (to == CPU_INSIDE || to == CPU_CLAIMED)
		__atomic_fetch_add(&cpu->machine->activity, 1, __ATOMIC_SEQ_CST);
	return true;
}

static enum cpu_presence set(const struct cpu *cpu, enum cpu_presence to)
{
	return (enum cpu_presence)__atomic_exchange_n(presence_word(cpu), to, __ATOMIC_SEQ_CST);
}

/* The word, in one order with all changes of it: I2. */
static enum cpu_presence look(const struct cpu *cpu)
{
	return (enum cpu_presence)__atomic_fetch_add(presence_word(cpu), 0, __ATOMIC_SEQ_CST);
}

/* From @from to INSIDE; waits while somebody claims the CPU. */
static void take_back(const struct cpu *cpu, enum cpu_presence from)
{
	while (!change(cpu, from, CPU_INSIDE))
		sched_yield();
}

static void wake(const struct cpu *cpu)
{
	if (change(cpu, CPU_IDLE, CPU_INSIDE))
		futex_wake_all(presence_word(cpu));
}

bool presence_is_idle(const struct cpu *cpu)
{
	return cpu_presence(cpu) == CPU_IDLE;
}

/* ---- work ---- */

static u64 next_expiry(const struct cpu *cpu)
{
	return __atomic_load_n(&cpu_priv(cpu)->next_expiry_ns, __ATOMIC_ACQUIRE);
}

/* Something to do on @cpu besides its current fiber. */
static bool has_work(const struct cpu *cpu)
{
	return (cpu_pending(cpu) & (CPU_PENDING_WORK | CPU_PENDING_STOP | CPU_PENDING_GUEST)) ||
	       cpu_nr_ready(cpu);
}

/* Interrupts that wait for a CPU that is outside; marks its timers that are due. */
static bool needs_help(struct cpu *cpu)
{
	if (cpu_presence(cpu) != CPU_OUTSIDE)
		return false;
	if (next_expiry(cpu) <= clock_now(cpu->machine))
		cpu_set_pending(cpu, CPU_PENDING_TIMER);
	return cpu_pending(cpu) & (CPU_PENDING_IPI | CPU_PENDING_IRQ | CPU_PENDING_SOFTIRQ |
				   CPU_PENDING_TIMER);
}

void presence_help(struct cpu *self)
{
	struct machine *m = self->machine;

	if (!preemptible())
		return;
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (m->cpus[i] != self && needs_help(m->cpus[i])) {
			preempt_disable();
			presence_claim(self, m->cpus[i], true);
			preempt_enable_no_resched();
		}
	}
}

/* Somebody who sleeps may see to the interrupts of those who are outside. */
static void wake_a_helper(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (cpu_presence(m->cpus[i]) == CPU_IDLE) {
			wake(m->cpus[i]);
			return;
		}
	}
}

void presence_kick(struct cpu *cpu)
{
	if (cpu->machine->parallel && cpu != karc_cpu && look(cpu) == CPU_IDLE)
		wake(cpu);
}

void cpu_post(struct cpu *cpu, u32 bits)
{
	cpu_set_pending(cpu, bits);
	if (!cpu->machine->parallel || cpu == karc_cpu)
		return;
	switch (look(cpu)) {
	case CPU_IDLE:
		wake(cpu);
		break;
	case CPU_OUTSIDE:
		wake_a_helper(cpu->machine);
		break;
	default:
		break;
	}
}

/* ---- entering and leaving ---- */

void presence_enter(struct cpu *cpu)
{
	take_back(cpu, CPU_OUTSIDE);
	WRITE_ONCE(cpu_priv(cpu)->player_tid, (int)syscall(SYS_gettid));
}

void presence_leave(struct cpu *cpu)
{
	set(cpu, CPU_OUTSIDE);
	if (cpu->machine->parallel && (next_expiry(cpu) != NEVER || needs_help(cpu)))
		wake_a_helper(cpu->machine);
}

/* Not inlined: the safe point before may have moved the fiber to another host thread. */
static noinline void leave_now(void)
{
	left_cpu = karc_cpu;
	karc_cpu_store(NULL);
	presence_leave(left_cpu);
}

void cpu_leave(void)
{
	struct cpu *cpu = karc_cpu;
	const struct fiber *self;

	if (!cpu)
		karc_bug_msg(KARC_BUG_SITE(""), "cpu_leave: this thread %s", left_cpu ?
			     "has left its CPU already" : "has not entered a machine");
	self = cpu->fiber;
	if (!preemptible() || self->nr_held || self == cpu->idle)
		karc_bug_msg(KARC_BUG_SITE(""), "cpu_leave: %s in atomic context: preempt_count "
			     "0x%x%s, %u locks held", self->name,
			     (unsigned int)cpu->preempt_count,
			     cpu->irqs_off ? ", interrupts off" : "", self->nr_held);
	if (left_cpu)
		karc_bug_msg(KARC_BUG_SITE(""), "cpu_leave: this thread is outside another machine");
	hw_safepoint();
	leave_now();
}

void cpu_enter(void)
{
	struct cpu *cpu = left_cpu;

	if (!cpu || karc_cpu)
		karc_bug_msg(KARC_BUG_SITE(""), "cpu_enter: this thread has not left %s",
			     karc_cpu ? "its CPU" : "a CPU");
	left_cpu = NULL;
	presence_enter(cpu);
	karc_cpu_store(cpu);
	fiber_sched_deliver();
}

/* ---- claiming ---- */

struct cpu_loan {
	struct fiber *lender;		/* whose thread plays the CPU */
	bool all;			/* not only the mailbox */
	int preempt_count;		/* of the CPU that is played */
	u32 irqs_off;
	struct fiber *fiber;
};

/* Back to the lender's stack. @fake is NULL when this stack is given up. */
static noinline void give_back(struct cpu *cpu, void **fake, void **sp)
{
	struct fiber *lender = cpu_priv(cpu)->loan->lender;

	sanitizer_leave(fake, lender);
	switch_stacks(sp, lender->sp);
}

static noinline void proxy_arrived(struct fiber *proxy, struct fiber *lender)
{
	sanitizer_arrived(proxy->sanitizer_fake, fiber_flags(lender) & FIBER_HOST ? lender : NULL);
}

/* Entry of a proxy's stack. */
void presence_proxy_main(void)
{
	struct cpu *cpu = karc_cpu;
	struct fiber *proxy = cpu->fiber;

	for (;;) {
		proxy_arrived(proxy, cpu_priv(cpu)->loan->lender);
		if (cpu_priv(cpu)->loan->all)
			irq_deliver(cpu);
		else
			ipi_poll_mailbox(cpu);
		give_back(cpu, &proxy->sanitizer_fake, &proxy->sp);
	}
}

/* A handler that ran for @cpu ended in a BUG: the proxy's old stack is in ->leaving. */
void presence_claim_died(struct cpu *cpu)
{
	void *nowhere;

	fiber_restart(cpu->machine, cpu_priv(cpu)->proxy);
	give_back(cpu, NULL, &nowhere);
	__builtin_unreachable();
}

static void clear_away_proxy(struct machine *m, struct player *player)
{
	struct fiber_leaving left = player->leaving;

	player->leaving = (struct fiber_leaving){ .stack = NULL };
	if (left.stack) {
		sanitizer_end_fiber(left.tsan_fiber);
		fiber_stack_put(m, left.stack);
	}
}

/* Play @cpu on the proxy's stack. Not inlined: thread-local addresses on both sides differ. */
static noinline void play(struct cpu *self, struct fiber *lender, struct cpu *cpu)
{
	struct fiber *proxy = cpu_priv(cpu)->proxy;

	karc_cpu_store(cpu);
	sanitizer_leave(&lender->sanitizer_fake, proxy);
	switch_stacks(&lender->sp, proxy->sp);
	sanitizer_arrived(lender->sanitizer_fake, NULL);
	karc_cpu_store(self);
}

/* The CPU's word is CLAIMED: it is this thread's. That of @self may be LENT: it is not. */
static void run_for(struct cpu *self, struct fiber *lender, struct cpu *cpu,
		    enum cpu_presence was, bool all)
{
	struct cpu_priv *p = cpu_priv(cpu);
	struct cpu_loan loan = {
		.lender = lender, .all = all && was != CPU_LENT, .fiber = cpu->fiber,
		.preempt_count = cpu->preempt_count, .irqs_off = cpu->irqs_off,
	};
	struct cpu_loan *outer = p->loan;

	if (was != CPU_LENT)
		__atomic_fetch_add(&cpu->nr_switches, 1, __ATOMIC_SEQ_CST);	/* it was quiet */
	p->loan = &loan;
	WRITE_ONCE(cpu->fiber, p->proxy);
	cpu->preempt_count = PREEMPT_OFFSET;	/* I3 */
	cpu->irqs_off = 0;
	play(self, lender, cpu);
	clear_away_proxy(cpu->machine, p->player);
	WRITE_ONCE(cpu->fiber, loan.fiber);
	cpu->preempt_count = loan.preempt_count;
	cpu->irqs_off = loan.irqs_off;
	p->loan = outer;
}

bool presence_claim(struct cpu *self, struct cpu *cpu, bool all)
{
	enum cpu_presence was = cpu_presence(cpu);
	struct fiber *lender = self->fiber;
	bool lend;

	if (was != CPU_IDLE && was != CPU_OUTSIDE && was != CPU_LENT)
		return false;
	if (!change(cpu, was, CPU_CLAIMED))
		return false;
	lend = change(self, CPU_INSIDE, CPU_LENT);	/* else it is claimed itself */
	run_for(self, lender, cpu, was, all);
	set(cpu, was);
	if (was == CPU_IDLE && has_work(cpu))		/* I2 */
		wake(cpu);
	if (lend)
		take_back(self, CPU_LENT);
	return true;
}

bool presence_hold(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	enum cpu_presence was = cpu_presence(cpu);

	if (was != CPU_IDLE && was != CPU_OUTSIDE && was != CPU_LENT)
		return false;
	if (!change(cpu, was, CPU_CLAIMED))
		return false;
	p->held_as = was;
	p->held = true;
	return true;
}

void presence_unhold(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);

	if (!p->held)
		return;
	p->held = false;
	set(cpu, (enum cpu_presence)p->held_as);
	if (p->held_as == CPU_IDLE && has_work(cpu))		/* I2 */
		wake(cpu);
	else if (p->held_as == CPU_OUTSIDE && needs_help(cpu))
		wake_a_helper(cpu->machine);
}

/* ---- idle ---- */

/* All CPUs but @except asleep, and nothing to do for any: I5. */
bool presence_all_idle(struct machine *m, const struct cpu *except)
{
	u64 before = __atomic_load_n(&m->activity, __ATOMIC_SEQ_CST);

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (m->cpus[i] == except)
			continue;
		if (cpu_presence(m->cpus[i]) != CPU_IDLE || has_work(m->cpus[i]))
			return false;
	}
	return __atomic_load_n(&m->activity, __ATOMIC_SEQ_CST) == before;
}

/* This CPU is IDLE. True when nobody can ever move again. */
static bool nothing_left(struct machine *m)
{
	bool stuck = false;

	hw_lock(m, &m->idle_lock);
	if (presence_all_idle(m, NULL))
		stuck = !clock_skip(m);
	hw_unlock(m, &m->idle_lock);
	return stuck;
}

/* How long nobody need look: until a timer of this CPU, or of one that is outside. */
static u64 sleep_ns(struct cpu *cpu)
{
	struct machine *m = cpu->machine;
	u64 next = next_expiry(cpu), now;

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (cpu_presence(m->cpus[i]) == CPU_OUTSIDE)
			next = min(next, next_expiry(m->cpus[i]));
	}
	if (next == NEVER)
		return SLEEP_MAX_NS;
	now = clock_now(m);
	return next > now ? min(next - now, SLEEP_MAX_NS) : 0;
}

/* Until the word is INSIDE, made so by who kicks or by this thread itself when time has come. */
static void sleep_until_kicked(struct cpu *cpu)
{
	for (;;) {
		enum cpu_presence now = look(cpu);
		u64 ns = sleep_ns(cpu);

		if (now == CPU_INSIDE)
			return;
		if (now == CPU_IDLE && (!ns || has_work(cpu)) && change(cpu, CPU_IDLE, CPU_INSIDE))
			return;
		futex_wait(presence_word(cpu), now, now == CPU_IDLE ? ns : NSEC_PER_MSEC);
	}
}

void presence_idle(struct cpu *cpu)
{
	struct machine *m = cpu->machine;
	bool stuck = false;

	parallel_check_stop(cpu);
	if (cpu_pending(cpu) & CPU_PENDING_GUEST)
		parallel_step_aside(cpu);
	if (cpu_nr_ready(cpu)) {
		/* It cannot run before another CPU has left its stack, which is soon. */
		if (cpu_priv(cpu)->found_busy++)
			sched_yield();
		return;
	}
	cpu_priv(cpu)->found_busy = 0;
	presence_help(cpu);
	set(cpu, CPU_IDLE);
	if (!has_work(cpu))
		stuck = nothing_left(m);
	if (!stuck) {
		sleep_until_kicked(cpu);
	} else {
		/* It may have been woken meanwhile after all: by a thread outside the machine. */
		if (change(cpu, CPU_IDLE, CPU_INSIDE))
			fiber_stuck(m, false);
		else
			sleep_until_kicked(cpu);
	}
	clock_poll(cpu);
	parallel_check_stop(cpu);
}

/* ---- quiet ---- */

/* Only interrupts move, if anything does: no fiber runs or is ready, this one aside. */
static bool only_interrupts(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		const struct cpu *cpu = m->cpus[i];
		const struct fiber *f = READ_ONCE(cpu->fiber);

		if (cpu_nr_ready(cpu) ||
		    (cpu != karc_cpu && f != cpu->idle && f != cpu_priv(cpu)->proxy))
			return false;
	}
	return true;
}

/* Nothing moves on any CPU but this one, which has nothing else to do. */
static bool others_quiet(struct machine *m)
{
	struct cpu *self = karc_cpu;
	u64 before = __atomic_load_n(&m->activity, __ATOMIC_SEQ_CST);

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct cpu *cpu = m->cpus[i];
		enum cpu_presence now = cpu_presence(cpu);

		if (cpu == self ? has_work(cpu) :
		    (now == CPU_OUTSIDE ? needs_help(cpu) : now != CPU_IDLE || has_work(cpu)))
			return false;
	}
	return __atomic_load_n(&m->activity, __ATOMIC_SEQ_CST) == before;
}

bool presence_settle(struct machine *m)
{
	u64 begin = parallel_host_ns();
	struct patience only;

	patience_begin(&only);
	while (!others_quiet(m)) {
		if (parallel_host_ns() - begin > SETTLE_NS ||
		    patience_is_over(&only, m, SETTLE_IRQ_NS))
			return false;
		fiber_yield();
		if (!only_interrupts(m))
			patience_begin(&only);
	}
	return true;
}
