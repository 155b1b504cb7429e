/* SPDX-License-Identifier: MIT */
/*
 * silent.c - a CPU that does not answer is reported, with its stack (parallel mode)
 *
 * What it is
 *	Interrupts are flags that a CPU looks at when it passes a safe point. One that is inside and
 *	passes none holds up everybody who waits for it: cross-CPU calls, grace periods. When the
 *	wait has lasted machine_config.silent_ms and the CPU has looked at nothing since, a host
 *	signal goes to the thread that plays it. The handler notes where that thread is and what its
 *	fiber holds; the one who waits prints it, and goes on waiting.
 *
 * Invariants
 *	I1 a CPU is reported once for each time that it falls silent, whoever waits
 *	I2 the handler touches the CPU's probe and the stack it interrupted, nothing else; it runs
 *	   only while a probe is under way, otherwise the signal is the host program's
 *
 * Locking
 *	probe_process.lock, a host lock for the process: one probe at a time, since the disposition
 *	of a signal belongs to the process. Like trap.c's this is state of the host's, not karc's.
 *
 * Worst case
 *	A thread that does not take the signal in ANSWER_MS (a host call that nothing interrupts, a
 *	sanitizer that holds signals back) is reported without its stack.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include "internal.h"

#define PROBE_SIGNAL		SIGURG	/* ignored unless somebody handles it */
#define ANSWER_MS		200u
#define LOOK_EVERY		64u	/* calls between two looks at the clock */
#define HOST_WALK_BYTES		(16UL << 10)

static struct probe_process {
	u32 lock;
	struct sigaction before;
} probe_process;

/* ---- in the thread that is asked ---- */

static void read_place(const void *context, u64 *pc, u64 *sp, u64 *fp)
{
	const ucontext_t *uc = context;

#if defined(__x86_64__)
	*pc = (u64)uc->uc_mcontext.gregs[REG_RIP];
	*sp = (u64)uc->uc_mcontext.gregs[REG_RSP];
	*fp = (u64)uc->uc_mcontext.gregs[REG_RBP];
#elif defined(__aarch64__)
	*pc = uc->uc_mcontext.pc;
	*sp = uc->uc_mcontext.sp;
	*fp = uc->uc_mcontext.regs[29];
#else
	(void)uc;
	*pc = *sp = *fp = 0;
#endif
}

static void note_place(struct silent_probe *probe, const struct fiber *f, const void *context)
{
	u64 pc, sp, fp, high;

	read_place(context, &pc, &sp, &fp);
	high = f->stack ? (u64)f->stack + f->stack_bytes : sp + HOST_WALK_BYTES;
	probe->id = f->id;
	memcpy(probe->name, f->name, sizeof(probe->name));
	probe->nr_held = f->nr_held;
	memcpy(probe->held, f->held, sizeof(probe->held));
	probe->trace[0] = (void *)(pc + 1);	/* as a return address */
	probe->nr_trace = 1 + trace_collect(fp, sp, high, probe->trace + 1, CALL_TRACE_MAX - 1);
}

static void probe_handler(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *before = &probe_process.before;
	int saved_errno = errno;
	struct cpu *cpu = karc_cpu;
	struct silent_probe *probe = cpu ? cpu_priv(cpu)->probe : NULL;
	u32 asked = PROBE_ASKED;

	if (probe && __atomic_compare_exchange_n(&probe->state, &asked, PROBE_ANSWERING, false,
						 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		note_place(probe, cpu->fiber, context);
		__atomic_store_n(&probe->state, PROBE_ANSWERED, __ATOMIC_RELEASE);
	} else if ((before->sa_flags & SA_SIGINFO) && before->sa_sigaction) {
		before->sa_sigaction(sig, info, context);
	} else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
		before->sa_handler(sig);
	}
	errno = saved_errno;
}

/* ---- in the one that asks ---- */

static bool answered(struct silent_probe *probe)
{
	static const struct timespec nap = { .tv_nsec = 1000000 };

	for (unsigned int ms = 0; ms < ANSWER_MS; ms++) {
		if (__atomic_load_n(&probe->state, __ATOMIC_ACQUIRE) == PROBE_ANSWERED)
			return true;
		nanosleep(&nap, NULL);
	}
	/* Take the question back; or it is being answered just now. */
	for (;;) {
		u32 asked = PROBE_ASKED;

		if (__atomic_compare_exchange_n(&probe->state, &asked, PROBE_NONE, false,
						__ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE))
			return false;
		if (asked == PROBE_ANSWERED)
			return true;
		sched_yield();
	}
}

/* What the thread says goes to @copy; the probe is free again. */
static bool ask(struct cpu *cpu, struct silent_probe *copy)
{
	struct sigaction ours = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };
	struct silent_probe *probe = cpu_priv(cpu)->probe;
	bool got;

	ours.sa_sigaction = probe_handler;
	sigemptyset(&ours.sa_mask);
	while (__atomic_exchange_n(&probe_process.lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
	__atomic_store_n(&probe->state, PROBE_ASKED, __ATOMIC_RELEASE);
	sigaction(PROBE_SIGNAL, &ours, &probe_process.before);
	syscall(SYS_tgkill, getpid(), READ_ONCE(cpu_priv(cpu)->player_tid), PROBE_SIGNAL);
	got = answered(probe);
	if (got)
		*copy = *probe;
	__atomic_store_n(&probe->state, PROBE_NONE, __ATOMIC_RELEASE);
	sigaction(PROBE_SIGNAL, &probe_process.before, NULL);
	__atomic_store_n(&probe_process.lock, 0, __ATOMIC_RELEASE);
	return got;
}

static void print_place(struct machine *m, const struct cpu *cpu,
			const struct silent_probe *probe)
{
	struct fiber holder = { .nr_held = probe->nr_held };

	memcpy(holder.held, probe->held, sizeof(holder.held));
	report_line(m, LOGLEVEL_ERR, "CPU: %u PID: %llu Comm: %s", cpu->id, probe->id,
		    probe->name);
	lockrank_print_held(m, &holder);
	trace_print(m, LOGLEVEL_ERR, probe->trace, probe->nr_trace);
}

void silent_print_place(struct machine *m, struct cpu *cpu)
{
	struct silent_probe said;

	if (ask(cpu, &said))
		print_place(m, cpu, &said);
}

static void report(struct machine *m, struct cpu *cpu, const char *what)
{
	struct silent_probe said;
	bool got = ask(cpu, &said);
	bool outermost = report_begin(m);

	report_line(m, LOGLEVEL_ERR, "CPU %u is silent: it has passed no safe point for %u ms",
		    cpu->id, m->config.silent_ms);
	report_line(m, LOGLEVEL_ERR, "CPU %u waits for it: %s", karc_cpu->id, what);
	if (got)
		print_place(m, cpu, &said);
	else
		report_line(m, LOGLEVEL_ERR, "its host thread does not say where it is");
	if (outermost)
		report_end(m);
}

static void begin(struct cpu_wait *wait, struct cpu *cpu)
{
	*wait = (struct cpu_wait){
		.cpu = cpu, .since_ns = parallel_host_ns(),
		.nr_slow = READ_ONCE(cpu_priv(cpu)->nr_slow),
	};
}

void cpu_wait_check(struct cpu_wait *wait, struct cpu *cpu, const char *what)
{
	struct machine *m = cpu->machine;
	struct cpu_priv *p = cpu_priv(cpu);
	u64 told;

	if (!m->parallel)
		return;
	if (wait->cpu != cpu)
		begin(wait, cpu);
	if (wait->told || wait->nr_calls++ % LOOK_EVERY)
		return;
	if (cpu_presence(cpu) != CPU_INSIDE || READ_ONCE(p->nr_slow) != wait->nr_slow) {
		begin(wait, cpu);	/* at least until the next look, however late that is */
		return;
	}
	if (parallel_host_ns() - wait->since_ns < m->config.silent_ms * (u64)NSEC_PER_MSEC)
		return;
	wait->told = true;
	told = READ_ONCE(p->silent_told);
	if (told != wait->nr_slow + 1 &&
	    __atomic_compare_exchange_n(&p->silent_told, &told, wait->nr_slow + 1, false,
					__ATOMIC_RELAXED, __ATOMIC_RELAXED))	/* I1 */
		report(m, cpu, what);
}
