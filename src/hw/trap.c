/* SPDX-License-Identifier: MIT */
/*
 * trap.c - host faults inside simulated kernel code become Oopses
 *
 * What it is
 *	A signal handler on an alternate stack. When the faulting thread is on a fiber's stack, the
 *	handler notes registers and callers in the CPU, points the saved program counter at
 *	trampoline(), and returns; the trampoline then runs as ordinary code on the fiber's stack,
 *	prints the Oops and ends the fiber. When the stack itself ran into its guard, the trampoline
 *	starts at the stack's top again: nothing returns into the frames it overwrites. Nothing
 *	jumps out of the handler, so the signal mask and the sanitizers' view stay right.
 *
 *	Before that the machines that map windows on access are asked to repair the fault, whoever
 *	raised it: a fiber, the host fiber, or a thread that has nothing to do with any machine but
 *	was handed an address.
 *
 * Objects
 *	host process -> struct trap_process (who handled the signals before; how many machines)
 *	trap_process.repairs -> struct machine -> trap_next: those with a trap_fixup
 *	struct cpu_priv -> struct trap_record (one fault under way), alternate stack of the host
 *	thread that plays the CPU
 *
 * Locking
 *	trap_process.lock, a host spin lock that is taken with all signals of the thread blocked:
 *	a fault inside would come back to it. The handler itself takes no lock; it reads ->before,
 *	whose entries change only while the signal they are about is not ours. It walks the list of
 *	repairs counted in .readers, and who takes a machine off the list waits until nobody is in.
 *	Everything else belongs to the thread that plays the CPU.
 *
 * Unlike the rest of karc
 *	Signal dispositions belong to the host process, so their record does: trap_process is the
 *	one piece of mutable file-scope state, and all machines share it.
 *
 * Worst case
 *	A fault while another one is being turned into an Oops goes to the handler before ours.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include "internal.h"
#include "sanitizer.h"

#define SIGNAL_STACK_BYTES	(64UL << 10)
#define STACK_REACH_BYTES	(64UL << 10)	/* the guard below a stack counts as the stack */
#define TRAMPOLINE_ROOM_BYTES	(FIBER_STACK_BYTES / 4)
#define RED_ZONE_BYTES		256

static const int trap_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };

#define NR_TRAP_SIGNALS	(sizeof(trap_signals) / sizeof(trap_signals[0]))

static struct trap_process {
	int lock;
	unsigned int users;
	struct sigaction before[NR_TRAP_SIGNALS];
	struct machine *repairs;	/* atomic: the list's head */
	unsigned int readers;		/* atomic: handlers that walk it */
} trap_process;

static void trap_handler(int sig, siginfo_t *info, void *context);

/* ---- registers ---- */

#if defined(__x86_64__)
#define TRAP_REGISTERS 1

static bool is_write(const ucontext_t *uc)
{
	return (uc->uc_mcontext.gregs[REG_ERR] & 2) != 0;
}

static void read_registers(struct trap_record *r, const ucontext_t *uc)
{
	static const int order[16] = {
		REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_R8, REG_R9,
		REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RBP, REG_EFL,
	};

	r->pc = (u64)uc->uc_mcontext.gregs[REG_RIP];
	r->sp = (u64)uc->uc_mcontext.gregs[REG_RSP];
	r->fp = (u64)uc->uc_mcontext.gregs[REG_RBP];
	r->write = is_write(uc);
	for (int i = 0; i < 16; i++)
		r->regs[i] = (u64)uc->uc_mcontext.gregs[order[i]];
}

static void redirect(ucontext_t *uc, void (*to)(void), u64 sp)
{
	u64 *top = (u64 *)(sp & ~15ULL);

	top[-1] = 0;		/* as if called: no caller, and the stack aligned so */
	uc->uc_mcontext.gregs[REG_RSP] = (long long)(u64)&top[-1];
	uc->uc_mcontext.gregs[REG_RBP] = 0;
	uc->uc_mcontext.gregs[REG_RIP] = (long long)(u64)to;
	uc->uc_mcontext.gregs[REG_EFL] &= ~0x400LL;	/* direction flag, as the ABI wants it */
}

static void print_registers(struct machine *m, const struct trap_record *r)
{
	static const char *const names[15] = {
		"RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "R08", "R09",
		"R10", "R11", "R12", "R13", "R14", "R15", "RBP",
	};

	report_line(m, LOGLEVEL_EMERG, "RIP: %016llx RSP: %016llx EFLAGS: %08llx", r->pc, r->sp,
		    r->regs[15]);
	for (int i = 0; i < 15; i += 3)
		report_line(m, LOGLEVEL_EMERG, "%s: %016llx %s: %016llx %s: %016llx", names[i],
			    r->regs[i], names[i + 1], r->regs[i + 1], names[i + 2],
			    r->regs[i + 2]);
}

#elif defined(__aarch64__)
#define TRAP_REGISTERS 1

/* Bit 6 of the syndrome, which is one of the records behind the registers. */
static bool is_write(const ucontext_t *uc)
{
	const char *at = (const char *)uc->uc_mcontext.__reserved;
	const char *end = at + sizeof(uc->uc_mcontext.__reserved);

	while (at + 16 <= end) {
		const u32 *record = (const u32 *)at;	/* magic, size, and the syndrome */

		if (record[0] == 0x45535201)
			return (record[2] & (1u << 6)) != 0;
		if (!record[0] || record[1] < 8)
			return false;
		at += record[1];
	}
	return false;
}

static void read_registers(struct trap_record *r, const ucontext_t *uc)
{
	r->pc = uc->uc_mcontext.pc;
	r->sp = uc->uc_mcontext.sp;
	r->fp = uc->uc_mcontext.regs[29];
	r->write = is_write(uc);
	for (int i = 0; i < 16; i++)
		r->regs[i] = uc->uc_mcontext.regs[i];
}

static void redirect(ucontext_t *uc, void (*to)(void), u64 sp)
{
	uc->uc_mcontext.sp = sp & ~15ULL;
	uc->uc_mcontext.regs[29] = 0;
	uc->uc_mcontext.regs[30] = 0;
	uc->uc_mcontext.pc = (u64)to;
}

static void print_registers(struct machine *m, const struct trap_record *r)
{
	report_line(m, LOGLEVEL_EMERG, "pc: %016llx sp: %016llx x0: %016llx x1: %016llx", r->pc,
		    r->sp, r->regs[0], r->regs[1]);
}

#else
#define TRAP_REGISTERS 0

static bool is_write(const ucontext_t *uc)
{
	(void)uc;
	return false;
}

static void read_registers(struct trap_record *r, const ucontext_t *uc)
{
	(void)r;
	(void)uc;
}

static void redirect(ucontext_t *uc, void (*to)(void), u64 sp)
{
	(void)uc;
	(void)to;
	(void)sp;
}

static void print_registers(struct machine *m, const struct trap_record *r)
{
	(void)m;
	(void)r;
}
#endif

/* ---- the Oops, in ordinary code ---- */

static void describe_fault(const struct trap_record *r, char *buf, size_t size)
{
	if (r->overflow)
		snprintf(buf, size, "BUG: stack guard page was hit at %016llx", r->addr);
	else if (r->sig == SIGFPE)
		snprintf(buf, size, "divide error: at %016llx", r->pc);
	else if (r->sig == SIGILL)
		snprintf(buf, size, "invalid opcode: at %016llx", r->pc);
	else if (r->sig == SIGSEGV && r->code == SI_KERNEL)
		snprintf(buf, size, "general protection fault, probably for non-canonical address");
	else if (r->addr < PAGE_SIZE)
		snprintf(buf, size, "BUG: kernel NULL pointer dereference, address: %016llx",
			 r->addr);
	else
		snprintf(buf, size, "BUG: unable to handle page fault for address: %016llx",
			 r->addr);
}

static void trampoline(void)
{
	struct machine *m = karc_cpu->machine;
	struct trap_record *noted = cpu_priv(karc_cpu)->trap;
	struct trap_record r = *noted;
	char line[sizeof_field(struct machine_result, message)];
	unsigned long nr;

	noted->busy = false;
	describe_fault(&r, line, sizeof(line));
	nr = machine_count(&m->counters.oopses);
	if (report_begin(m)) {
		report_line(m, LOGLEVEL_EMERG, "%s", line);
		report_line(m, LOGLEVEL_EMERG, "#PF: %s access, signal %d, code %d",
			    r.write ? "write" : "read or execute", r.sig, r.code);
		report_line(m, LOGLEVEL_EMERG, "Oops: %04x [#%lu]", r.write ? 2 : 0, nr);
		report_where(m, LOGLEVEL_EMERG);
		print_registers(m, &r);
		trace_print(m, LOGLEVEL_EMERG, r.trace, r.nr_trace);
		report_line(m, LOGLEVEL_EMERG, "---[ end trace %016llx ]---", (u64)nr);
		report_end(m);
	}
	fiber_end(MACHINE_OOPS, 0, line);
}

/* ---- the handler ---- */

/* Take the fault over if a fiber raised it; everything the report needs is noted here. */
static bool take_over(struct cpu *cpu, struct fiber *f, int sig, const siginfo_t *info,
		      ucontext_t *uc)
{
	struct trap_record *r = cpu_priv(cpu)->trap;
	u64 low = (u64)f->stack, high = low + f->stack_bytes;

	read_registers(r, uc);
	r->sig = sig;
	r->code = info->si_code;
	r->addr = (u64)info->si_addr;
	r->overflow = r->sp < low + 512 && r->sp >= low - STACK_REACH_BYTES &&
		      r->addr < low && r->addr >= low - STACK_REACH_BYTES;
	r->nr_trace = 0;
	/* As a return address: one past, so that it is named like the others. */
	r->trace[r->nr_trace++] = (void *)(r->pc + 1);
	/* Other signals have the instruction's address there whatever it is. */
	if (sig == SIGSEGV && r->pc == r->addr && r->sp >= low && r->sp + 8 <= high)
		r->trace[r->nr_trace++] = *(void **)r->sp;	/* a call to nowhere */
	r->nr_trace += trace_collect(r->fp, low, high, r->trace + r->nr_trace,
				     CALL_TRACE_MAX - r->nr_trace);
	r->busy = true;
	if (r->sp >= low + TRAMPOLINE_ROOM_BYTES && r->sp <= high) {
		redirect(uc, trampoline, r->sp - RED_ZONE_BYTES);
	} else {
		sanitizer_forget_stack(f->stack, f->stack_bytes);
		redirect(uc, trampoline, high);
	}
	return true;
}

/* The handler from before ours; without one, the fault happens again and ends the process. */
static void chain(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *before = NULL;

	for (unsigned int i = 0; i < NR_TRAP_SIGNALS; i++) {
		if (trap_signals[i] == sig)
			before = &trap_process.before[i];
	}
	if (before && (before->sa_flags & SA_SIGINFO) && before->sa_sigaction) {
		before->sa_sigaction(sig, info, context);
	} else if (before && before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
		before->sa_handler(sig);
	} else {
		signal(sig, SIG_DFL);
		if (info->si_code <= 0)
			raise(sig);
	}
}

/* Does one of the machines make the address accessible? */
static bool repaired(void *addr, bool write)
{
	struct machine *m;
	bool done = false;

	__atomic_fetch_add(&trap_process.readers, 1, __ATOMIC_SEQ_CST);
	for (m = __atomic_load_n(&trap_process.repairs, __ATOMIC_SEQ_CST); m && !done;
	     m = __atomic_load_n(&m->trap_next, __ATOMIC_SEQ_CST))
		done = m->trap_fixup(m, addr, write);
	__atomic_fetch_sub(&trap_process.readers, 1, __ATOMIC_SEQ_CST);
	return done;
}

static void trap_handler(int sig, siginfo_t *info, void *context)
{
	int saved_errno = errno;
	struct cpu *cpu = karc_cpu;
	struct fiber *f = cpu ? cpu->fiber : NULL;

	if (sig == SIGSEGV && info->si_code > 0 && repaired(info->si_addr, is_write(context))) {
		errno = saved_errno;
		return;
	}
	/* A signal that was sent (si_code <= 0) is no fault; a host fiber's fault is the host's. */
	if (!TRAP_REGISTERS || !f || !f->stack || info->si_code <= 0 ||
	    cpu_priv(cpu)->trap->busy || !take_over(cpu, f, sig, info, context))
		chain(sig, info, context);
	errno = saved_errno;
}

/* ---- installing ---- */

/* Signals are off meanwhile: a handler of the host's program might boot or enter a machine. */
static void trap_lock(sigset_t *before)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
	while (__atomic_exchange_n(&trap_process.lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();	/* held for a few system calls */
}

static void trap_unlock(const sigset_t *before)
{
	__atomic_store_n(&trap_process.lock, 0, __ATOMIC_RELEASE);
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

static bool is_ours(const struct sigaction *action)
{
	return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == trap_handler;
}

static void arm_locked(void)
{
	struct sigaction ours = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	ours.sa_sigaction = trap_handler;
	sigemptyset(&ours.sa_mask);
	for (unsigned int i = 0; i < NR_TRAP_SIGNALS; i++) {
		struct sigaction now;

		if (sigaction(trap_signals[i], NULL, &now) || is_ours(&now))
			continue;
		trap_process.before[i] = now;
		sigaction(trap_signals[i], &ours, NULL);
	}
}

int trap_install(void)
{
	sigset_t mask;

	trap_lock(&mask);
	trap_process.users++;
	arm_locked();
	trap_unlock(&mask);
	return 0;
}

void trap_remove(void)
{
	sigset_t mask;

	trap_lock(&mask);
	if (!--trap_process.users) {
		for (unsigned int i = 0; i < NR_TRAP_SIGNALS; i++) {
			struct sigaction now;

			if (!sigaction(trap_signals[i], NULL, &now) && is_ours(&now))
				sigaction(trap_signals[i], &trap_process.before[i], NULL);
		}
	}
	trap_unlock(&mask);
}

/* Nobody has replaced them; asked without the lock, since a machine that is up keeps them. */
static bool all_armed(void)
{
	struct sigaction now;

	for (unsigned int i = 0; i < NR_TRAP_SIGNALS; i++) {
		if (sigaction(trap_signals[i], NULL, &now) || !is_ours(&now))
			return false;
	}
	return true;
}

void trap_rearm(void)
{
	sigset_t mask;

	if (all_armed())
		return;
	trap_lock(&mask);
	if (trap_process.users)
		arm_locked();
	trap_unlock(&mask);
}

/* Off the list, and out of every handler that walks it. */
static void repairs_del(struct machine *m)
{
	struct machine **at = &trap_process.repairs;
	sigset_t mask;

	trap_lock(&mask);
	while (*at != m)
		at = &(*at)->trap_next;
	__atomic_store_n(at, m->trap_next, __ATOMIC_SEQ_CST);
	trap_unlock(&mask);
	while (__atomic_load_n(&trap_process.readers, __ATOMIC_SEQ_CST))
		sched_yield();
}

static void repairs_add(struct machine *m)
{
	sigset_t mask;

	trap_lock(&mask);
	m->trap_next = trap_process.repairs;
	__atomic_store_n(&trap_process.repairs, m, __ATOMIC_SEQ_CST);
	trap_unlock(&mask);
}

void trap_on_fault(struct machine *m, trap_fixup_t fn)
{
	if (m->trap_fixup)
		repairs_del(m);
	m->trap_fixup = fn;
	if (fn)
		repairs_add(m);
}

/* The host thread gets an alternate stack unless it has one. */
void trap_enter_cpu(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	stack_t ours = { .ss_sp = p->signal_stack, .ss_size = SIGNAL_STACK_BYTES };

	trap_rearm();
	p->signal_stack_set = false;
	if (sigaltstack(NULL, &p->signal_stack_before) ||
	    !(p->signal_stack_before.ss_flags & SS_DISABLE))
		return;
	p->signal_stack_set = !sigaltstack(&ours, NULL);
}

void trap_leave_cpu(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);

	if (p->signal_stack_set)
		sigaltstack(&p->signal_stack_before, NULL);
	p->signal_stack_set = false;
}

static void trap_exit_cpu(struct machine *m, struct cpu_priv *p)
{
	hostmem_unmap(&m->hostmem, p->signal_stack, SIGNAL_STACK_BYTES);
	p->signal_stack = NULL;
	hostmem_free(&m->hostmem, p->trap);
	p->trap = NULL;
}

/* The one host thread of deterministic mode enters on CPU 0 and has its signal stack there. */
static int trap_init_cpu(struct machine *m, struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);

	p->trap = hostmem_zalloc(&m->hostmem, sizeof(*p->trap));
	if (!p->trap)
		return -ENOMEM;
	if (cpu->id && !m->parallel)
		return 0;
	p->signal_stack = hostmem_map(&m->hostmem, SIGNAL_STACK_BYTES);
	return p->signal_stack ? 0 : -ENOMEM;
}

int trap_init(struct machine *m)
{
	int err;

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		err = trap_init_cpu(m, m->cpus[i]);
		if (err)
			return err;
	}
	err = trap_install();
	m->trap_installed = !err;
	return err;
}

void trap_exit(struct machine *m)
{
	trap_on_fault(m, NULL);
	if (m->trap_installed)
		trap_remove();
	m->trap_installed = false;
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (m->cpus[i])
			trap_exit_cpu(m, cpu_priv(m->cpus[i]));
	}
}
