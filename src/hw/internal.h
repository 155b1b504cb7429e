/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the hw room share and nobody else may see
 *
 * struct machine lives here; every other room uses the accessors of machine.h. What belongs to
 * one CPU sits in struct cpu (public, hot) or struct cpu_priv (cold), what belongs to all of them
 * in struct machine. Both kinds have locks for what several host threads touch in parallel mode.
 */
#ifndef KARC_SRC_HW_INTERNAL_H
#define KARC_SRC_HW_INTERNAL_H

#include <karc/base/hostmem.h>
#include <karc/base/list.h>
#include <karc/base/log.h>
#include <karc/base/rand.h>
#include <karc/base/rbtree.h>
#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include <karc/hw/cpu.h>
#include <karc/hw/fiber.h>
#include <karc/hw/ipi.h>
#include <karc/hw/irq.h>
#include <karc/hw/machine.h>
#include <karc/hw/mmu.h>
#include <karc/hw/physmem.h>
#include <karc/hw/tlb.h>
#include <karc/hw/trace.h>
#include <karc/hw/trap.h>
#include <sched.h>
#include <pthread.h>
#include <signal.h>

struct physmem;

#define PERCPU_IMAGES_MAX	64
#define MACHINE_ROOMS_MAX	ROOM_NR
#define CALL_TRACE_MAX		32

/* One DSO's per-CPU section, as this machine sees it: a copy of the template for each CPU. */
struct percpu_image {
	const char *start;		/* the template: [start, stop) in the DSO */
	const char *stop;
	char *block;			/* host memory of all copies */
	u64 block_bytes;
	u64 stride;			/* from one CPU's copy to the next */
	long delta;			/* CPU 0's copy minus the template */
};

/* A line's handler; one per line. */
struct irq_line {
	irq_handler_t handler;
	void *dev;
	const char *name;
	bool taken;			/* under irq_lock, like name and dev; handler is atomic */
	u64 count;			/* atomic */
	u32 running;			/* atomic: CPUs inside the handler */
};

/* A cross-CPU call under way: one slot for each pair of sender and target. */
struct ipi_slot {
	struct list_head node;		/* in the target's mailbox */
	void (*fn)(void *info);
	void *info;
	bool wait;			/* the sender waits: acknowledge after the function */
	u32 busy;			/* atomic: set by the sender, cleared by the target */
};

/* What a dying fiber leaves behind for the next one to clear away: it still stands on it. */
struct fiber_leaving {
	char *stack;
	void *tsan_fiber;
	struct fiber *record;		/* held until nobody stands on it */
};

/* What the host thread that plays a CPU carries from one stack to the next. */
struct player {
	struct fiber *left;		/* whose stack it left just now; NULL when that one died */
	struct fiber_leaving leaving;	/* of the fiber that died just now */
};

/* What a CPU's host thread says about itself when it is asked: silent.c. */
enum { PROBE_NONE, PROBE_ASKED, PROBE_ANSWERING, PROBE_ANSWERED };

struct silent_probe {
	u32 state;			/* atomic: PROBE_*; the rest is the thread's until ANSWERED */
	u64 id;
	char name[FIBER_NAME_LEN];
	unsigned int nr_held;
	struct held_lock held[FIBER_MAX_LOCKS];
	unsigned int nr_trace;
	void *trace[CALL_TRACE_MAX];
};

/* Who plays a CPU in parallel mode: cpu_priv.presence, see presence.c. */
enum cpu_presence {
	CPU_OUTSIDE,			/* nobody, or one who is blocked outside karc */
	CPU_INSIDE,			/* a host thread */
	CPU_IDLE,			/* its thread sleeps in a futex, or is about to */
	CPU_LENT,			/* its thread plays another CPU and comes back */
	CPU_CLAIMED,			/* somebody else's thread, for a moment */
};

/* Cold state of one CPU: cpu->priv. */
struct cpu_priv {
	struct player *player;		/* the machine's, in parallel mode its own */
	struct hw_lock run_lock;
	struct list_head run_queue;	/* FIBER_READY fibers, by ->run_node */
	unsigned int nr_ready;		/* written under run_lock, read by any */
	u32 steps_loaded;		/* value of cpu->steps when it was last set */
	struct fiber *switch_prev;	/* before the current one; the hook is still due */

	u64 irq_pending;		/* atomic: lines raised */
	u32 softirq_pending;		/* only this CPU */
	struct hw_lock mail_lock;
	struct list_head mailbox;	/* struct ipi_slot, oldest first; under mail_lock */
	struct ipi_slot *slots;		/* as a sender: one slot for each target */
	u64 nr_ipis;			/* calls run here */

	struct hw_lock timer_lock;
	struct rb_root_cached timers;	/* struct hw_timer by (expires, seq); under timer_lock */
	u64 next_expiry_ns;		/* of the first timer, ~0 = none; read by any */
	u64 tick_ns;			/* time of the next tick; 0 = not begun */

	/* what this CPU is in the middle of, for those who wait for its end */
	struct hw_timer *timer_running;	/* atomic */
	struct irq_line *line_running;
	struct ipi_slot *slot_running;	/* acknowledged when it is over */

	/* trap.c: the host thread that plays this CPU; its own thread only */
	struct trap_record *trap;	/* the fault under way */
	char *signal_stack;
	stack_t signal_stack_before;
	bool signal_stack_set;

	/* a harness thread on this CPU */
	struct fiber *host;
	u32 entered;			/* atomic: one is in */
	unsigned int enter_depth;
	u32 guest;			/* atomic: enum guest; a futex */

	/* parallel mode */
	u32 presence;			/* atomic: enum cpu_presence; a futex */
	struct rnd rnd;			/* of its scheduler */
	struct player own_player;
	struct fiber *proxy;		/* on whose stack others play this CPU */
	struct cpu_loan *loan;		/* the claim under way */
	struct fiber *base;		/* its own host thread, without a stack of the pool */
	pthread_t thread;
	bool thread_up;
	u32 found_busy;			/* idle rounds that had ready fibers, none of them free */
	u64 polled_ns;			/* host time of the last look at the clock */
	u64 nr_moves;			/* fibers woken, blocked, made, ended here; read by any */
	u64 spin_moves;			/* nr_moves and cpu->steps when the spinning began */
	u32 spin_steps;
	u32 spin;			/* cpu_relax() calls since then; read by any */
	u64 nr_slow;			/* safe points that were looked at; read by any */
	u64 silent_told;		/* 1 + nr_slow at the report of silent.c; atomic */
	int player_tid;			/* host thread that is inside, for a signal */
	struct silent_probe *probe;
	u64 frozen;			/* the last freeze that its player met; atomic */
	u32 held_as;			/* presence_hold(): its word before */
	bool held;
};

/* Stacks not in use, last in, first out. An array that has room for every stack ever made. */
struct stack_pool {
	char **stacks;			/* lowest usable bytes */
	unsigned int nr;
	unsigned int capacity;
	unsigned int nr_made;		/* mapped now, pooled or in use */
};

/* What the host signal handler hands to the trampoline. */
struct trap_record {
	int sig;
	int code;
	u64 addr;
	u64 pc, sp, fp;
	u64 regs[16];
	bool busy;			/* filled, not yet read by the trampoline */
	bool write;
	bool overflow;			/* the fiber's stack ran into its guard */
	unsigned int nr_trace;
	void *trace[CALL_TRACE_MAX];
};

/*
 * How many of something lie in which 64 bytes of the arena, by a few bits of the address: no means
 * no, yes means look. So that a free need not walk all locks and timers there are.
 */
#define ADDRESS_FILTER_SLOTS	1024u
#define ADDRESS_FILTER_SHIFT	6

struct address_filter {
	u32 nr[ADDRESS_FILTER_SLOTS];	/* atomic */
};

struct machine {
	struct machine_config config;	/* defaults filled in; banks point to ->banks */
	struct machine_bank *banks;
	struct boot_params *params;	/* param.c: words of ->config.cmdline, or NULL */
	unsigned int nr_cpus;
	struct cpu *cpus[MACHINE_MAX_CPUS];

	const struct room *rooms[MACHINE_ROOMS_MAX];
	unsigned int nr_rooms;		/* rooms that are up */
	void *room[ROOM_NR];

	struct hostmem_account hostmem;
	struct log log;
	bool log_up;
	bool parallel;			/* ->config.mode, for the fast paths */
	struct rnd rnd;			/* scheduler of deterministic mode */

	/* under books_lock */
	struct hw_lock books_lock;
	struct rnd rnd_public;		/* machine_random() */
	/* things said once: machine_once() */
	const void **once;
	unsigned int nr_once, once_capacity;

	/* fibers */
	struct hw_lock fibers_lock;	/* the list, ids, stacks */
	struct list_head all_fibers;
	struct fiber *host;		/* the harness thread on CPU 0 */
	struct player player;		/* of deterministic mode's one host thread */
	u64 next_fiber_id;
	unsigned int nr_fibers;		/* atomic: alive, host and idle fibers not counted */
	struct stack_pool stacks;
	u64 relax_streak;		/* deterministic: cpu_relax() calls since anything moved */
	struct explore *explore;	/* explore() is under way, or NULL */
	void (*on_switch)(struct fiber *prev, struct fiber *next);	/* atomic */
	void (*on_end)(struct fiber *f);	/* atomic */
	void (*on_temporary)(struct fiber *f, enum machine_end end);	/* atomic */
	void (*on_tick)(void);		/* atomic */
	void (*on_room_tick[ROOM_NR])(void);	/* atomic */

	/* time */
	u64 now_ns;			/* deterministic mode */
	u64 next_expiry_ns;		/* deterministic: of all pending timers; ~0 = none */
	u64 timer_seq;			/* atomic */
	u64 boot_host_ns;		/* parallel: host time at boot, ... */
	u64 skew_ns;			/* ... and how much idle time was skipped; atomic */

	/* parallel mode: presence.c, spin.c */
	u64 activity;			/* atomic: times that a CPU was taken by a thread */
	struct hw_lock idle_lock;	/* deciding what to do when all CPUs are idle */
	bool stopping;			/* atomic: host threads are to end */
	struct spin_watch *watch;	/* under idle_lock */

	/* panic.c */
	u32 panic;			/* atomic: enum panic */
	char panic_message[192];

	/* interrupts */
	struct hw_lock irq_lock;	/* who has which line */
	struct irq_line lines[NR_IRQ_LINES];
	struct softirq_action softirqs[NR_SOFTIRQS];
	void (*on_deferred)(void);	/* atomic */

	/* fault injection */
	long inject_left;		/* atomic: the allocation that takes it to 0 fails */
	bool inject_happened;

	/* per-CPU images */
	struct percpu_image images[PERCPU_IMAGES_MAX];
	unsigned int nr_images;
	u32 images_lock;		/* host_lock(): both, and who remembers an image */

	/* memory: owned by physmem.c, mmu.c */
	struct physmem *physmem;
	int (*fault_hook)(u64 va, u32 error_code);
	mmu_stale_t stale_hook;

	/* reports */
	struct machine_counters counters;
	unsigned long nr_left;
	void (*on_left)(void *arg, const struct machine_left *left);
	void *on_left_arg;
	symbolize_t symbolize;
	trap_fixup_t trap_fixup;
	struct machine *trap_next;	/* atomic: trap.c's list of machines with a trap_fixup */
	struct trace_listener *trace;	/* trace.c: who listens to steps; newest first */
	struct address_filter held_locks;	/* lockrank.c; debug builds */
	struct address_filter armed_timers;	/* clock.c */
	struct trace_event_listener *events;	/* tracepoint.c: newest first */
	struct trace_event_watch *event_watches;
	u32 trace_lock;			/* host_lock(): one CPU announces at a time */
	bool trap_installed;
	u32 reporter;			/* atomic: 1 + id of the CPU that prints a report */
	u32 freezer;			/* atomic: 1 + id of the CPU that froze the others */
	u64 nr_freezes;			/* atomic */
};

static inline struct cpu_priv *cpu_priv(const struct cpu *cpu)
{
	return cpu->priv;
}

static inline void karc_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

void hw_lock_slow(struct hw_lock *lock) __cold;

/* Nobody who holds one waits for anything or passes a safe point. */
static inline void hw_lock(const struct machine *m, struct hw_lock *lock)
{
	if (unlikely(m->parallel) && __atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE))
		hw_lock_slow(lock);
}

static inline void hw_unlock(const struct machine *m, struct hw_lock *lock)
{
	if (unlikely(m->parallel))
		__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

static inline u32 cpu_pending(const struct cpu *cpu)
{
	return __atomic_load_n(&cpu->pending, __ATOMIC_ACQUIRE);
}

static inline unsigned int cpu_nr_ready(const struct cpu *cpu)
{
	return READ_ONCE(cpu_priv(cpu)->nr_ready);
}

/* Add one to a member of ->counters: any CPU does. Returns the new value. */
static inline unsigned long machine_count(unsigned long *counter)
{
	return __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

/*
 * A lock among host threads for a few lines of code without a safe point inside: what waits for it
 * gives way on the host, and cannot be a CPU of the same host thread. It names its holder.
 */
static inline u32 host_lock_self(void)
{
	return karc_cpu ? karc_cpu->id + 1 : MACHINE_MAX_CPUS + 1;
}

static inline bool host_try_lock(u32 *lock)
{
	u32 free = 0;

	return __atomic_compare_exchange_n(lock, &free, host_lock_self(), false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static inline void host_lock(u32 *lock)
{
	while (!host_try_lock(lock))
		sched_yield();
}

static inline bool host_lock_is_mine(const u32 *lock)
{
	return __atomic_load_n(lock, __ATOMIC_RELAXED) == host_lock_self();
}

static inline void host_unlock(u32 *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

/*
 * physmem.c: RAM, and arena, direct_map_bytes, memmap of every CPU.
 * Errors: -EINVAL (one console line per mistake), -ENOMEM.
 */
int physmem_init(struct machine *m);
void physmem_exit(struct machine *m);

/* tlb.c. Errors: -ENOMEM. */
int tlb_init_cpu(struct cpu *cpu);
void tlb_exit_cpu(struct cpu *cpu);

/* cpu.c */
int cpus_init(struct machine *m);
void cpus_exit(struct machine *m);

/*
 * machine.c: machine_shutdown() in parts, for the test fixture. The first one or the second, then
 * the third; log and counters can be read in between. machine_ground_down() alone forgets what
 * the rooms have: for a machine whose locks may be held for ever.
 */
unsigned long machine_power_off(struct machine *m);
void machine_ground_down(struct machine *m);
void machine_free(struct machine *m);

/* fiber.c */
int fibers_init(struct machine *m);
void fibers_exit(struct machine *m);
void fibers_report_left(struct machine *m);
int fiber_make_host(struct cpu *cpu);
void fiber_enter_host(struct cpu *cpu);
void fiber_leave_host(struct cpu *cpu);
KARC_MUST_CHECK struct fiber *fiber_spawn_in(struct machine *m, unsigned int cpu,
					     const char *name, long (*fn)(void *arg), void *arg,
					     unsigned int flags);
void fiber_end(enum machine_end end, long value, const char *message) __noreturn;
void fiber_get(struct fiber *f);
void fiber_put(struct machine *m, struct fiber *f);
void fiber_stack_put(struct machine *m, char *stack);
void fiber_set_result(struct fiber *f, enum machine_end end, long value, const char *message);
bool fiber_dead(struct machine *m, struct fiber *f);	/* the result is set; is it detached? */
void fiber_leave_join(struct fiber *f);
void fiber_restart(struct machine *m, struct fiber *f);	/* a new stack, at its beginning */

static inline struct machine *fiber_machine(const struct fiber *f)
{
	return READ_ONCE(f->cpu)->machine;
}

static inline unsigned int fiber_flags(const struct fiber *f)
{
	return READ_ONCE(f->flags);
}

static inline void fiber_set_flag(struct fiber *f, unsigned int flag)
{
	__atomic_fetch_or(&f->flags, flag, __ATOMIC_RELAXED);
}

static inline enum fiber_state fiber_state(const struct fiber *f)
{
	return READ_ONCE(f->state);
}

/* fiber_sched.c */
void fiber_sched_progress(struct machine *m);		/* something moved: nobody is stuck */
void fiber_sched_enqueue(struct fiber *f);		/* under f->lock unless it is new */
bool fiber_sched_dequeue(struct fiber *f);		/* the same; false when it is on no queue */
void fiber_sched_set(struct cpu *cpu, struct fiber *next);
void fiber_sched_next(struct cpu *cpu);			/* its current fiber cannot go on */
void fiber_sched_away(struct machine *m, struct fiber *prev);	/* let others go on */
void fiber_sched_arrived(struct machine *m);		/* first thing on a stack */
void fiber_sched_finish(struct machine *m, struct cpu *cpu);
void fiber_sched_deliver(void);
void fiber_sched_load_steps(struct machine *m, struct cpu *cpu);
void fiber_sched_leave_stack(struct cpu *cpu, struct fiber *prev, struct fiber *next);
bool fiber_sched_give_way(struct cpu *cpu);		/* to another fiber of it, if it can */
bool fiber_sched_has_work(const struct cpu *cpu);
void fiber_sched_jump(struct machine *m, struct cpu *cpu);	/* deterministic: go on there */
bool fiber_sched_resched(struct cpu *cpu);	/* and what waits for readers may go on */
void fiber_sched_to_idle(struct cpu *cpu);		/* preemptible: make its idle fiber current */
bool fibers_settle(struct machine *m);			/* until all are blocked or gone */
void fibers_check(struct machine *m, struct check_report *report);

/* panic.c */
enum panic { PANIC_NONE, PANIC_BEGUN, PANIC_SAID };
void panic_lift(struct machine *m);

/*
 * fiber_stuck.c: end a fiber that is not the running one, wherever it stands, and keep its stack.
 * One that runs on another host thread is condemned: it ends itself soon.
 */
void fiber_park(struct machine *m, struct fiber *f, enum machine_end end, const char *message);

/* The running fiber was condemned: end it. Where it waits, and at slow safe points. */
void fiber_end_condemned(void) __noreturn;

static inline void fiber_check_condemned(struct fiber *self)
{
	if (unlikely(__atomic_load_n(&self->condemned, __ATOMIC_ACQUIRE)))
		fiber_end_condemned();
}

/* fiber_stuck.c: report it and end somebody; does not return when that is the caller. */
void fiber_stuck(struct machine *m, bool spinning);

/* explore_run.c. What a CPU does instead while tasks are being explored: false and NULL if not. */
bool explore_relax(struct machine *m);
struct cpu *explore_home(struct machine *m);

/* switch_*.c: stacks. Entry is called on the new stack with no arguments and never returns. */
void *switch_new_stack(char *low, u64 bytes, void (*entry)(void));
void switch_stacks(void **save_sp, void *load_sp);
u64 switch_saved_fp(const void *sp);	/* frame pointer of a stack that is not running, or 0 */

/* clock.c */
u64 clock_now(const struct machine *m);
void clock_advance(struct machine *m, u64 ns);		/* deterministic */
void clock_advance_to(struct machine *m, u64 ns);	/* deterministic */
void clock_poll(struct cpu *cpu);			/* mark what is due on this CPU */
bool clock_skip(struct machine *m);			/* parallel: to the next timer, if any */
void clock_tick(struct cpu *cpu);			/* deterministic: is a tick due? */
void clock_run_due(struct cpu *cpu);
unsigned int clock_nr_pending(struct machine *m);

/* irq.c: deliver what waits on this CPU, as far as its context allows. */
#define CPU_PENDING_WORK (CPU_PENDING_IRQ | CPU_PENDING_IPI | CPU_PENDING_SOFTIRQ | \
			  CPU_PENDING_DEFERRED | CPU_PENDING_TIMER)
void irq_deliver(struct cpu *cpu);
void irq_run_hard(struct cpu *cpu, void (*run)(struct cpu *cpu));	/* in hardirq context */

/* The fiber that @cpu runs ends here and now, interrupt handlers on top of it included. */
void irq_abandon(struct cpu *cpu);

/* presence.c: parallel mode; all of them do nothing useful in deterministic mode. */
void presence_enter(struct cpu *cpu);		/* take a CPU that is outside */
void presence_leave(struct cpu *cpu);
void presence_idle(struct cpu *cpu);		/* sleep until there is something to do */
void presence_kick(struct cpu *cpu);		/* something was queued for @cpu: wake it */
void presence_help(struct cpu *self);		/* interrupts of CPUs that are outside */
bool presence_claim(struct cpu *self, struct cpu *cpu, bool all);
void presence_claim_died(struct cpu *cpu) __noreturn;	/* what ran for it ended in a BUG */
void presence_proxy_main(void);
bool presence_all_idle(struct machine *m, const struct cpu *except);
bool presence_is_idle(const struct cpu *cpu);
bool presence_settle(struct machine *m);

/* For a frozen machine: nobody plays a CPU that is outside or asleep until presence_unhold(). */
bool presence_hold(struct cpu *cpu);		/* true: it is held */
void presence_unhold(struct cpu *cpu);		/* if it is */

/* freeze.c: its player stands still while another CPU has frozen the machine. */
void freeze_wait(struct cpu *cpu);

/* This CPU froze the machine: no safe point for it. */
static inline bool freeze_is_mine(const struct cpu *cpu)
{
	return unlikely(__atomic_load_n(&cpu->machine->freezer, __ATOMIC_RELAXED) == cpu->id + 1);
}

static inline enum cpu_presence cpu_presence(const struct cpu *cpu)
{
	return (enum cpu_presence)__atomic_load_n(&cpu_priv(cpu)->presence, __ATOMIC_ACQUIRE);
}

/* parallel.c: the host threads */
int parallel_init(struct machine *m);
int parallel_start(struct machine *m);
void parallel_stop(struct machine *m);
void parallel_exit(struct machine *m);
void parallel_check_stop(struct cpu *cpu);	/* does not return when the machine stops */
void parallel_take(struct cpu *cpu);		/* a harness thread takes @cpu from its own thread */
void parallel_give_back(struct cpu *cpu);
void parallel_step_aside(struct cpu *cpu);	/* idle: let the harness thread have it */
void futex_wait(u32 *word, u32 value, u64 ns);
void futex_wake_all(u32 *word);
u64 parallel_host_ns(void);

/*
 * How long somebody has waited in a loop for other CPUs, as far as the host let them act. What
 * passes between two looks counts for a millisecond at most, so that nobody is given up because
 * this thread, or the whole process, stood still; and as long as the host thread of another CPU
 * wants to run and is not run, nobody is given up either.
 */
struct patience {
	u64 last_ns;		/* host time of the last look */
	u64 spent_ns;		/* in this half of the wait */
	bool second_half;
	u64 ran_ns[MACHINE_MAX_CPUS];	/* host CPU time that each had before the second half */
};

void patience_begin(struct patience *p);
bool patience_is_over(struct patience *p, struct machine *m, u64 ns);	/* a look */

/* spin.c: cpu_relax() of parallel mode */
struct spin_watch *spin_watch_alloc(struct machine *m);
void spin_relax(struct cpu *self);

/* silent.c: where the host thread of another CPU is, and what its fiber holds */
void silent_print_place(struct machine *m, struct cpu *cpu);

/* ipi.c */
void ipi_poll_mailbox(struct cpu *cpu);		/* interrupts off or not */
bool ipi_has_mail(struct cpu *cpu);
int ipi_init_cpu(struct cpu *cpu);
void ipi_exit_cpu(struct cpu *cpu);
void ipi_run_mailbox(struct cpu *cpu);	/* interrupts off */

/* param.c. Errors: -ENOMEM. */
int params_init(struct machine *m);
void params_exit(struct machine *m);
void params_say_unknown(struct machine *m);	/* those that nobody asked for */

/* percpu.c */
void percpu_exit(struct machine *m);

/*
 * report.c: what BUG, Oops and WARN print.
 *
 * A report is several lines that must stay together: report_begin() waits until no other CPU
 * prints one. It is false when this CPU is in the middle of one already; then there is no
 * report_end(). A fiber that ends in the middle lets go with report_abandon().
 */
bool report_begin(struct machine *m);
void report_end(struct machine *m);
void report_abandon(struct machine *m);
unsigned int trace_collect(u64 fp, u64 low, u64 high, void **trace, unsigned int max);
void trace_print(struct machine *m, int level, void *const *trace, unsigned int nr);
void trace_print_fiber(struct machine *m, int level, struct fiber *f);
void report_line(struct machine *m, int level, const char *fmt, ...) __printf(3, 4);
void report_where(struct machine *m, int level);	/* CPU, fiber, context, held locks */
void report_trace_here(struct machine *m, int level);
#define SYMBOL_BYTES	192		/* enough for trace_name() */
void trace_name(struct machine *m, const void *address, char *buf, size_t size); /* m may be NULL */
u64 stack_end_of_thread(u64 here);	/* of the host thread's stack around @here; slow; 0: unknown */

/*
 * symbols.c: "name+0xoff/0xsize" for a return address, by the symbol table of the file @path.
 * @offset is an address as the file has it: relative to where it is loaded.
 */
bool symbols_name(const char *path, u64 offset, char *buf, size_t size);

/* lockrank.c: one line for each lock that @f holds; @f ends and holds nothing any more. */
void lockrank_print_held(struct machine *m, struct fiber *f);
void lockrank_forget(struct machine *m, struct fiber *f);

/* Addresses outside the arena are nobody's business. @delta is 1 or -1. */
static inline void address_filter_add(const struct machine *m, struct address_filter *filter,
				      const void *p, u32 delta)
{
	u64 offset = (u64)((const char *)p - physmem_arena(m));

	if (offset < physmem_arena_bytes(m))
		__atomic_fetch_add(&filter->nr[offset >> ADDRESS_FILTER_SHIFT &
					       (ADDRESS_FILTER_SLOTS - 1)], delta,
				   __ATOMIC_RELAXED);
}

static inline bool address_filter_may_have(const struct machine *m,
					   const struct address_filter *filter, const void *p,
					   u64 bytes)
{
	u64 offset = (u64)((const char *)p - physmem_arena(m));
	u64 first = offset >> ADDRESS_FILTER_SHIFT;
	u64 nr = ((offset + bytes - 1) >> ADDRESS_FILTER_SHIFT) - first + 1;

	if (nr > ADDRESS_FILTER_SLOTS)
		nr = ADDRESS_FILTER_SLOTS;
	for (u64 i = 0; i < nr; i++) {
		if (READ_ONCE(filter->nr[(first + i) & (ADDRESS_FILTER_SLOTS - 1)]))
			return true;
	}
	return false;
}

/*
 * trap.c. A host thread that is going to play CPU @cpu enters before it runs anything of it, and
 * leaves when it has stopped.
 */
int trap_init(struct machine *m);
void trap_exit(struct machine *m);
void trap_enter_cpu(struct cpu *cpu);
void trap_leave_cpu(struct cpu *cpu);

#endif
