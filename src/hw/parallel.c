/* SPDX-License-Identifier: MIT */
/*
 * parallel.c - the host threads of parallel mode, and the locks between them
 *
 * What it is
 *	machine_boot_rooms() starts a host thread for each CPU but CPU 0, which is the harness
 *	thread's. A thread begins on its own stack, goes over to its CPU's idle fiber, and is
 *	back there only when the machine stops: fibers switch directly to each other, as in
 *	deterministic mode, but each host thread among the fibers of its CPU only. A fiber that
 *	moves to another CPU goes on with that CPU's thread. A harness thread that enters on such a
 *	CPU plays it instead of its own thread, which waits aside on its own stack meanwhile.
 *
 * Life
 *	start -> (idle <-> fibers) -> stop: CPU_PENDING_STOP is set for each CPU, and the next idle
 *	loop, slow safe point or cpu_relax() goes back to the thread's own stack, whatever its fiber
 *	was in the middle of. Nobody goes on with that fiber any more.
 *
 * Unlike Linux
 *	A CPU that passes no safe point cannot be stopped, so that powering off waits for it; so does
 *	one whose thread is blocked outside karc.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <karc/base/bug.h>
#include <karc/base/math.h>
#include <karc/hw/context.h>
#include "internal.h"
#include "sanitizer.h"

#define THREAD_STACK_BYTES	(256UL << 10)
#define LOCK_SPINS		50
#define PATIENCE_STEP_NS	((u64)NSEC_PER_MSEC)	/* of a gap between two looks */
#define THREAD_CPU_CLOCK	6	/* for clock_gettime(), below the complement of the id */

u64 parallel_host_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * NSEC_PER_SEC + (u64)now.tv_nsec;
}

/* ---- patience ---- */

void patience_begin(struct patience *p)
{
	p->last_ns = parallel_host_ns();
	p->spent_ns = 0;
	p->second_half = false;
}

static int player_tid(const struct cpu *cpu)
{
	return READ_ONCE(cpu_priv(cpu)->player_tid);
}

/* The host CPU time that the thread that plays @cpu has had; 0 when there is none. */
static u64 player_ran_ns(const struct cpu *cpu)
{
	clockid_t clock = (clockid_t)(~(u32)player_tid(cpu) << 3 | THREAD_CPU_CLOCK);
	struct timespec ran;

	if (!player_tid(cpu) || clock_gettime(clock, &ran) != 0)
		return 0;
	return (u64)ran.tv_sec * NSEC_PER_SEC + (u64)ran.tv_nsec;
}

/* Is it running or waiting for a host CPU, and not asleep? */
static bool player_wants_to_run(const struct cpu *cpu)
{
	char path[64], text[256], *at;
	ssize_t bytes;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", player_tid(cpu));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bytes = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[max_t(ssize_t, bytes, 0)] = '\0';
	at = strrchr(text, ')');		/* behind the name of the thread */
	return at && !strncmp(at, ") R", 3);
}

static bool somebody_starves(struct patience *p, struct machine *m, u64 ns)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		const struct cpu *cpu = m->cpus[i];

		if (cpu != karc_cpu && player_ran_ns(cpu) - p->ran_ns[i] < ns &&
		    player_wants_to_run(cpu))
			return true;
	}
	return false;
}

bool patience_is_over(struct patience *p, struct machine *m, u64 ns)
{
	u64 now = parallel_host_ns();

	p->spent_ns += min(now - p->last_ns, PATIENCE_STEP_NS);
	p->last_ns = now;
	if (p->spent_ns < ns / 2)
		return false;
	p->spent_ns = 0;
	if (p->second_half)
		return !somebody_starves(p, m, ns / 2);
	p->second_half = true;
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		p->ran_ns[i] = player_ran_ns(m->cpus[i]);
	return false;
}

/* ---- host locks ---- */

/* There are fewer host CPUs than threads: who holds it may have to be let run. */
void hw_lock_slow(struct hw_lock *lock)
{
	unsigned int spins = 0;

	do {
		while (READ_ONCE(lock->held)) {
			if (++spins % LOCK_SPINS)
				karc_pause();
			else
				sched_yield();
		}
	} while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE));
}

void futex_wait(u32 *word, u32 value, u64 ns)
{
	struct timespec time = { .tv_sec = (time_t)(ns / NSEC_PER_SEC),
				 .tv_nsec = (long)(ns % NSEC_PER_SEC) };

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &time, NULL, 0);
}

void futex_wake_all(u32 *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* ---- threads ---- */

static bool stay_aside(struct cpu *cpu);

/* From here on the thread is its CPU; it comes back when the machine stops. */
static noinline void become(struct cpu *cpu, struct fiber *base)
{
	base->sanitizer_fiber = sanitizer_current_fiber();
	karc_cpu_store(cpu);
	fiber_sched_leave_stack(cpu, base, cpu->idle);
}

static noinline void cease(struct cpu *cpu, struct fiber *base)
{
	sanitizer_arrived(base->sanitizer_fake, NULL);
	cpu_priv(cpu)->player->left = NULL;
	karc_cpu_store(NULL);
	presence_leave(cpu);
}

static void *cpu_thread(void *arg)
{
	struct cpu *cpu = arg;
	struct fiber *base = cpu_priv(cpu)->base;

	do {
		trap_enter_cpu(cpu);
		presence_enter(cpu);
		become(cpu, base);
		cease(cpu, base);
		trap_leave_cpu(cpu);
	} while (stay_aside(cpu));
	return NULL;
}

/* ---- guests ---- */

/*
 * A harness thread that enters on a CPU with a thread of its own: WANTED makes that one go back
 * to its own stack with the idle fiber current; then the CPU is OUTSIDE and free to be entered.
 */
enum guest { GUEST_NONE, GUEST_WANTED, GUEST_IN };

/* False when the machine stops and not a guest is the reason to be here. */
static bool stay_aside(struct cpu *cpu)
{
	u32 *guest = &cpu_priv(cpu)->guest;
	u32 wanted = GUEST_WANTED;

	if (cpu_pending(cpu) & CPU_PENDING_STOP)
		return false;
	if (__atomic_compare_exchange_n(guest, &wanted, GUEST_IN, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		futex_wake_all(guest);
	while (__atomic_load_n(guest, __ATOMIC_ACQUIRE) == GUEST_IN)
		futex_wait(guest, GUEST_IN, NSEC_PER_SEC);
	return true;
}

/* On the idle fiber. It goes on when its CPU is idle again, whoever plays it then. */
noinline void parallel_step_aside(struct cpu *cpu)
{
	cpu_clear_pending(cpu, CPU_PENDING_GUEST);
	if (__atomic_load_n(&cpu_priv(cpu)->guest, __ATOMIC_ACQUIRE) != GUEST_WANTED)
		return;
	fiber_sched_leave_stack(cpu, cpu->idle, cpu_priv(cpu)->base);
	fiber_sched_arrived(cpu->machine);
}

void parallel_take(struct cpu *cpu)
{
	u32 *guest = &cpu_priv(cpu)->guest;

	if (!cpu_priv(cpu)->thread_up)
		return;
	__atomic_store_n(guest, GUEST_WANTED, __ATOMIC_RELEASE);
	cpu_post(cpu, CPU_PENDING_GUEST);
	while (__atomic_load_n(guest, __ATOMIC_ACQUIRE) != GUEST_IN)
		futex_wait(guest, GUEST_WANTED, NSEC_PER_SEC);
}

void parallel_give_back(struct cpu *cpu)
{
	if (!cpu_priv(cpu)->thread_up)
		return;
	__atomic_store_n(&cpu_priv(cpu)->guest, GUEST_NONE, __ATOMIC_RELEASE);
	futex_wake_all(&cpu_priv(cpu)->guest);
}

void parallel_check_stop(struct cpu *cpu)
{
	struct fiber *base = cpu_priv(cpu)->base;
	void *nowhere;

	if (likely(!(cpu_pending(cpu) & CPU_PENDING_STOP)) || cpu->fiber == cpu_priv(cpu)->proxy)
		return;
	sanitizer_leave(NULL, base);
	switch_stacks(&nowhere, base->sp);
	__builtin_unreachable();
}

/* With all signals of the host's program blocked: they are for its own threads. */
static int start_thread(struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);
	pthread_attr_t attr;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
	err = pthread_create(&p->thread, &attr, cpu_thread, cpu);
	pthread_attr_destroy(&attr);
	p->thread_up = !err;
	return -err;
}

int parallel_start(struct machine *m)
{
	static const int wanted[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGURG };
	sigset_t mask, before;
	int err = 0;

	if (!m->parallel)
		return 0;
	sigfillset(&mask);
	for (unsigned int i = 0; i < ARRAY_SIZE(wanted); i++)
		sigdelset(&mask, wanted[i]);
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	for (unsigned int i = 1; i < m->nr_cpus && !err; i++)
		err = start_thread(m->cpus[i]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

void parallel_stop(struct machine *m)
{
	for (unsigned int i = 1; i < m->nr_cpus; i++) {
		if (!m->cpus[i])
			continue;
		BUG_ON(__atomic_load_n(&cpu_priv(m->cpus[i])->entered, __ATOMIC_ACQUIRE));
		if (cpu_priv(m->cpus[i])->thread_up)
			cpu_post(m->cpus[i], CPU_PENDING_STOP);
	}
	for (unsigned int i = 1; i < m->nr_cpus; i++) {
		struct cpu_priv *p = m->cpus[i] ? cpu_priv(m->cpus[i]) : NULL;

		if (p && p->thread_up)
			pthread_join(p->thread, NULL);
		if (p)
			p->thread_up = false;
	}
}

/* ---- what parallel mode has besides ---- */

static int init_cpu(struct machine *m, struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);

	p->probe = hostmem_zalloc(&m->hostmem, sizeof(*p->probe));
	p->base = hostmem_zalloc(&m->hostmem, sizeof(*p->base));
	if (!p->probe || !p->base)
		return -ENOMEM;
	p->base->cpu = cpu;
	p->base->flags = FIBER_HOST;	/* its stack's bounds are learnt when it is left */
	snprintf(p->base->name, sizeof(p->base->name), "thread/%u", cpu->id);
	return 0;
}

int parallel_init(struct machine *m)
{
	if (!m->parallel)
		return 0;
	m->watch = spin_watch_alloc(m);
	if (!m->watch)
		return -ENOMEM;
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (init_cpu(m, m->cpus[i]))
			return -ENOMEM;
	}
	return 0;
}

void parallel_exit(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct cpu_priv *p = m->cpus[i] ? cpu_priv(m->cpus[i]) : NULL;

		if (!p)
			continue;
		hostmem_free(&m->hostmem, p->base);
		hostmem_free(&m->hostmem, p->probe);
		p->base = NULL;
		p->probe = NULL;
	}
	hostmem_free(&m->hostmem, m->watch);
	m->watch = NULL;
}
