/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the hw room share and nobody else may see
 *
 * struct machine lives here; every other room uses the accessors of machine.h. What belongs to
 * one CPU sits in struct cpu (public, hot) or struct cpu_priv (cold), what belongs to all of them
 * in struct machine: a host thread per CPU needs locks on the second kind only.
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
#include <karc/hw/physmem.h>
#include <karc/hw/tlb.h>
#include <karc/hw/trace.h>
#include <karc/hw/trap.h>
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

/* Cold state of one CPU: cpu->priv. */
struct cpu_priv {
	struct list_head run_queue;	/* FIBER_READY fibers, by ->run_node */
	unsigned int nr_ready;
	u32 steps_loaded;		/* value of cpu->steps when it was last set */
	struct fiber *switch_prev;	/* before the current one; the hook is still due */

	u64 irq_pending;		/* atomic: lines raised */
	u32 softirq_pending;		/* only this CPU */
	struct list_head mailbox;	/* struct ipi_slot, oldest first */
	struct ipi_slot *slots;		/* as a sender: one slot for each target */
	u64 nr_ipis;			/* calls run here */

	struct rb_root_cached timers;	/* struct hw_timer by (expires, seq) */

	/* what this CPU is in the middle of, for those who wait for its end */
	struct hw_timer *timer_running;
	struct irq_line *line_running;
	struct ipi_slot *slot_running;	/* acknowledged when it is over */
};

/* Stacks not in use, last in, first out. An array that has room for every stack ever made. */
struct stack_pool {
	char **stacks;			/* lowest usable bytes */
	unsigned int nr;
	unsigned int capacity;
	unsigned int nr_made;		/* mapped now, pooled or in use */
};

/* What a dying fiber leaves behind for the next one to clear away: it still stands on it. */
struct fiber_leaving {
	char *stack;
	void *tsan_fiber;
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

struct machine {
	struct machine_config config;	/* defaults filled in; banks point to ->banks */
	struct machine_bank *banks;
	unsigned int nr_cpus;
	struct cpu *cpus[MACHINE_MAX_CPUS];

	const struct room *rooms[MACHINE_ROOMS_MAX];
	unsigned int nr_rooms;		/* rooms that are up */
	void *room[ROOM_NR];

	struct hostmem_account hostmem;
	struct log log;
	bool log_up;
	struct rnd rnd;			/* scheduler */
	struct rnd rnd_public;		/* machine_random() */

	/* things said once: machine_once() */
	const void **once;
	unsigned int nr_once, once_capacity;

	/* fibers */
	struct list_head all_fibers;
	struct fiber *host;		/* the harness thread */
	struct fiber *running;		/* whose stack the host thread is on */
	struct fiber_leaving leaving;	/* of the fiber that died just now */
	bool left_host;			/* the last switch came from the host fiber */
	u64 next_fiber_id;
	unsigned int nr_fibers;		/* alive, host and idle fibers not counted */
	struct stack_pool stacks;
	u64 relax_streak;		/* cpu_relax() calls since anything moved */
	void (*on_switch)(struct fiber *prev, struct fiber *next);

	/* entering */
	unsigned int enter_depth;
	u32 entered;			/* atomic: a host thread is in */
	char *signal_stack;		/* of the host thread that is in */
	stack_t signal_stack_before;
	bool signal_stack_set;

	/* virtual time */
	u64 now_ns;
	u64 next_expiry_ns;		/* of all pending timers; ~0 = none */
	u64 timer_seq;

	/* interrupts */
	struct irq_line lines[NR_IRQ_LINES];
	struct softirq_action softirqs[NR_SOFTIRQS];
	void (*on_deferred)(void);

	/* fault injection */
	long inject_left;		/* atomic: the allocation that takes it to 0 fails */
	bool inject_happened;

	/* per-CPU images */
	struct percpu_image images[PERCPU_IMAGES_MAX];
	unsigned int nr_images;

	/* memory: owned by physmem.c, mmu.c */
	struct physmem *physmem;
	int (*fault_hook)(u64 va, u32 error_code);

	/* reports */
	struct machine_counters counters;
	unsigned long nr_left;
	void (*on_left)(void *arg, const struct machine_left *left);
	void *on_left_arg;
	symbolize_t symbolize;
	trap_fixup_t trap_fixup;
	struct trace_listener *trace;	/* trace.c: who listens to steps; newest first */
	struct trap_record trap;
	bool reporting;			/* a BUG while a BUG is being printed is not printed */
};

static inline struct cpu_priv *cpu_priv(struct cpu *cpu)
{
	return cpu->priv;
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
void fiber_enter_host(struct machine *m);
void fiber_leave_host(struct machine *m);
KARC_MUST_CHECK struct fiber *fiber_spawn_in(struct machine *m, unsigned int cpu,
					     const char *name, long (*fn)(void *arg), void *arg,
					     unsigned int flags);
void fiber_end(enum machine_end end, long value, const char *message) __noreturn;
void fiber_put(struct machine *m, struct fiber *f);
void fiber_stack_put(struct machine *m, char *stack);
void fiber_set_result(struct fiber *f, enum machine_end end, long value, const char *message);
void fiber_dead(struct machine *m, struct fiber *f);	/* the result is set: tell the joiner */
void fiber_leave_join(struct fiber *f);

static inline struct machine *fiber_machine(const struct fiber *f)
{
	return f->cpu->machine;
}

/* fiber_sched.c */
void fiber_sched_progress(struct machine *m);		/* something moved: nobody is stuck */
void fiber_sched_enqueue(struct fiber *f);
void fiber_sched_dequeue(struct fiber *f);
void fiber_sched_set(struct cpu *cpu, struct fiber *next);
void fiber_sched_next(struct cpu *cpu);			/* its current fiber cannot go on */
void fiber_sched_away(struct machine *m, struct fiber *prev);	/* let others go on */
void fiber_sched_arrived(struct machine *m);		/* first thing on a stack */
void fiber_sched_finish(struct machine *m, struct cpu *cpu);
void fiber_sched_deliver(void);
void fiber_sched_load_steps(struct machine *m, struct cpu *cpu);
bool fibers_settle(struct machine *m);			/* until all are blocked or gone */
void fibers_check(struct machine *m, struct check_report *report);

/* fiber_stuck.c: report it and end somebody; does not return when that is the caller. */
void fiber_stuck(struct machine *m, bool spinning);

/* switch_*.c: stacks. Entry is called on the new stack with no arguments and never returns. */
void *switch_new_stack(char *low, u64 bytes, void (*entry)(void));
void switch_stacks(void **save_sp, void *load_sp);
u64 switch_saved_fp(const void *sp);	/* frame pointer of a stack that is not running, or 0 */

/* clock.c */
void clock_advance(struct machine *m, u64 ns);
void clock_advance_to(struct machine *m, u64 ns);
void clock_run_due(struct cpu *cpu);
unsigned int clock_nr_pending(struct machine *m);

/* irq.c: deliver what waits on this CPU, as far as its context allows. */
#define CPU_PENDING_WORK (CPU_PENDING_IRQ | CPU_PENDING_IPI | CPU_PENDING_SOFTIRQ | \
			  CPU_PENDING_DEFERRED | CPU_PENDING_TIMER)
void irq_deliver(struct cpu *cpu);

/* The fiber that @cpu runs ends here and now, interrupt handlers on top of it included. */
void irq_abandon(struct cpu *cpu);

/* ipi.c */
int ipi_init_cpu(struct cpu *cpu);
void ipi_exit_cpu(struct cpu *cpu);
void ipi_run_mailbox(struct cpu *cpu);	/* interrupts off */

/* percpu.c */
void percpu_exit(struct machine *m);

/* report.c: what BUG, Oops and WARN print. */
unsigned int trace_collect(u64 fp, u64 low, u64 high, void **trace, unsigned int max);
void trace_print(struct machine *m, int level, void *const *trace, unsigned int nr);
void trace_print_fiber(struct machine *m, int level, struct fiber *f);
void report_line(struct machine *m, int level, const char *fmt, ...) __printf(3, 4);
void report_where(struct machine *m, int level);	/* CPU, fiber, context, held locks */
void report_trace_here(struct machine *m, int level);

/*
 * symbols.c: "name+0xoff/0xsize" for a return address, by the symbol table of the file @path.
 * @offset is an address as the file has it: relative to where it is loaded.
 */
bool symbols_name(const char *path, u64 offset, char *buf, size_t size);

/* lockrank.c: one line for each lock that @f holds. */
void lockrank_print_held(struct machine *m, struct fiber *f);

/* trap.c */
int trap_init(struct machine *m);
void trap_exit(struct machine *m);
void trap_enter_thread(struct machine *m);
void trap_leave_thread(struct machine *m);

#endif
