/* SPDX-License-Identifier: MIT */
/*
 * cpu.h - a simulated CPU: the cache lines that every fast path reads
 *
 * this_cpu() is one initial-exec thread-local load. Its value must not be kept across anything
 * that may switch fibers: after a switch the fiber may be on another CPU.
 */
#ifndef KARC_HW_CPU_H
#define KARC_HW_CPU_H

#include <karc/base/compiler.h>
#include <karc/base/types.h>
#include <karc/hw/machine.h>

struct page;
struct tlb;

/* Bytes of hot per-CPU state a room may have; at a constant offset from the CPU's base. */
#define CPU_HOT_BYTES	1024

/* Bits of cpu->pending: what waits for a safe point. */
#define CPU_PENDING_IRQ		0x1u	/* an interrupt line is raised */
#define CPU_PENDING_IPI		0x2u	/* the mailbox is not empty */
#define CPU_PENDING_SOFTIRQ	0x4u
#define CPU_PENDING_RESCHED	0x8u	/* somebody with a claim to this CPU was woken */
#define CPU_PENDING_DEFERRED	0x10u	/* puts from atomic context wait (refcount/reap.c) */
#define CPU_PENDING_TIMER	0x20u	/* a timer of this CPU is due */
#define CPU_PENDING_STOP	0x40u	/* the machine is powered off: go no further */
#define CPU_PENDING_GUEST	0x80u	/* a harness thread wants this CPU */
#define CPU_PENDING_FREEZE	0x100u	/* stand still: machine_freeze() */

struct cpu {
	/* line 0: read by every fast path */
	struct machine *machine;
	char *arena;			/* host address of physical 0 (the direct map) */
	u64 direct_map_bytes;		/* [arena, arena + direct_map_bytes) is the direct map */
	struct page *memmap;		/* struct page of pfn 0 */
	int preempt_count;		/* PREEMPT | SOFTIRQ | HARDIRQ fields, see context.h */
	u32 irqs_off;			/* 1 while interrupts are disabled */
	u32 pending;			/* CPU_PENDING_*, atomic */
	u32 steps;			/* safe points left before the scheduler looks again */
	struct fiber *fiber;		/* running now; this CPU writes, others read it atomically */
	u32 inject_armed;		/* one of the next fallible allocations is to fail */
	u32 trace_events;		/* somebody listens to these, see tracepoint.h */

	/* line 1 */
	long percpu_offset;		/* dynamic per-CPU cookie + this = address; see percpu.h */
	const char *percpu_image;	/* the image looked up last on this CPU, ... */
	long percpu_delta;		/* ... and where this CPU's copy of it lies */
	u64 cr3;			/* physical address of the page-table root, 0 = none */
	struct tlb *tlb;
	unsigned int id;
	unsigned int node;
	u64 nr_alloc_asked;		/* fallible allocations here, see inject.h; this CPU writes */
	u64 nr_switches;		/* context switches and the like, see cpu_is_quiescent() */
	void *priv;			/* hw's own cold state (run queue, mailbox, timers) */

	/* line 2 */
	struct fiber *idle;		/* is ->fiber when nothing else can run here */
	void *user_task;		/* for the proc room: task whose user mode owns the CPU */
	char *room_percpu;		/* PERCPU_ROOM_BASE here: the phys room's lists, see percpu.h */

	_Alignas(64) unsigned char hot[ROOM_NR][CPU_HOT_BYTES];
} __attribute__((aligned(64)));

/* NULL outside a machine. Initial-exec: one %fs-relative load. */
extern __thread struct cpu *karc_cpu __attribute__((tls_model("initial-exec")));

/*
 * TSan's view of an access is its address, which compilers compute once for a function, while a
 * fiber may go on with another host thread in the middle of it. The access itself is always right.
 */
#if defined(__SANITIZE_THREAD__) || defined(KARC_VARIANT) && KARC_VARIANT == 3
#define KARC_CPU_UNSEEN	1
#endif
#if defined(KARC_CPU_UNSEEN) && defined(__x86_64__)
static inline __attribute__((always_inline)) struct cpu *karc_cpu_load(void)
{
	struct cpu *cpu;

	__asm__("movq %1, %0" : "=r"(cpu) : "m"(karc_cpu));
	return cpu;
}

static inline __attribute__((always_inline)) void karc_cpu_store(struct cpu *cpu)
{
	__asm__ volatile("movq %1, %0" : "=m"(karc_cpu) : "r"(cpu) : "memory");
}

#define karc_cpu	(karc_cpu_load())
#else
static inline void karc_cpu_store(struct cpu *cpu)
{
	karc_cpu = cpu;
}
#endif

static inline struct cpu *this_cpu(void)
{
	return karc_cpu;
}

static inline unsigned int smp_processor_id(void)
{
	return karc_cpu->id;
}

static inline unsigned int raw_smp_processor_id(void)
{
	return karc_cpu->id;
}

/* Does @cpu run nothing at all, not even an interrupt? */
bool cpu_is_idle(const struct cpu *cpu);

/**
 * cpu_is_quiescent - was @cpu outside every section with preemption off, now or since @count?
 * @count: cpu_quiescent_count(@cpu) as it was when the caller began to wait
 *
 * What RCU waits for, right in both modes: a CPU that switches, idles or is outside counts, and
 * in deterministic mode one that is preemptible. A busy CPU is asked to pass such a point.
 * What the CPU did before is seen by the caller after true; what the caller did before it took
 * the count is seen by whatever begins there later.
 */
bool cpu_is_quiescent(struct cpu *cpu, u64 count);
u64 cpu_quiescent_count(const struct cpu *cpu);

/**
 * cpu_leave / cpu_enter - the calling thread is going to block outside karc, and is back
 *
 * In between it must not call karc: this_cpu() is NULL. Its CPU runs no fiber meanwhile; in
 * parallel mode other CPUs run the cross-CPU calls, interrupts and timers that come for it, and
 * RCU does not wait for it. For harness code and tasks alike, around read(), poll() and so on.
 *
 * Context: task, preemption and interrupts on, no spinlock held; anything else is a BUG, as is a
 *          second cpu_leave() or a cpu_enter() without one. May sleep.
 */
void cpu_leave(void);
void cpu_enter(void);

/**
 * cpu_wait_check - part of a loop that waits until @cpu has passed a safe point
 * @wait: zero before the first call
 * @what: why, for the report
 *
 * In parallel mode a CPU that is inside and passes none for machine_config.silent_ms is reported
 * once, with the stack of its host thread and the locks its fiber holds; the caller waits on.
 */
struct cpu_wait {
	struct cpu *cpu;
	u64 since_ns;
	u64 nr_slow;
	u32 nr_calls;
	bool told;
};
void cpu_wait_check(struct cpu_wait *wait, struct cpu *cpu, const char *what);

/* cpu_set_pending() for a CPU that may be asleep. Any context, any thread. */
void cpu_post(struct cpu *cpu, u32 bits);

/* Tell @cpu, which is awake, that something waits for its next safe point. */
static inline void cpu_set_pending(struct cpu *cpu, u32 bits)
{
	__atomic_fetch_or(&cpu->pending, bits, __ATOMIC_RELEASE);
}

static inline void cpu_clear_pending(struct cpu *cpu, u32 bits)
{
	__atomic_fetch_and(&cpu->pending, ~bits, __ATOMIC_ACQUIRE);
}

/**
 * cpu_on_deferred - register what runs deferred puts (the refcount room)
 * @fn: runs in a short-lived task of the CPU whose ->pending got CPU_PENDING_DEFERRED; may sleep
 */
void cpu_on_deferred(struct machine *m, void (*fn)(void));

/* Room @id's hot area of this CPU; the room static_asserts that its struct fits. */
static inline void *this_cpu_hot(enum room_id id)
{
	return karc_cpu->hot[id];
}

static inline void *cpu_hot(struct cpu *cpu, enum room_id id)
{
	return cpu->hot[id];
}

#define for_each_cpu_of(m, cpu) \
	for ((cpu) = 0; (cpu) < machine_nr_cpus(m); (cpu)++)

#endif
