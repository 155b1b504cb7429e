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
	struct fiber *fiber;		/* running now */
	struct fiber *idle;		/* is ->fiber when nothing else can run here */

	/* line 1 */
	long percpu_offset;		/* dynamic per-CPU cookie + this = address; see percpu.h */
	const char *percpu_image;	/* the image looked up last on this CPU, ... */
	long percpu_delta;		/* ... and where this CPU's copy of it lies */
	u64 cr3;			/* physical address of the page-table root, 0 = none */
	struct tlb *tlb;
	unsigned int id;
	unsigned int node;
	u64 nr_alloc_asked;		/* fallible allocations here, see inject.h; this CPU writes */
	u64 nr_switches;		/* context switches: RCU counts them as quiescent states */
	void *priv;			/* hw's own cold state (run queue, mailbox, timers) */

	/* line 2 */
	u32 inject_armed;		/* one of the next fallible allocations is to fail */
	void *user_task;		/* for the proc room: task whose user mode owns the CPU */

	_Alignas(64) unsigned char hot[ROOM_NR][CPU_HOT_BYTES];
} __attribute__((aligned(64)));

/* NULL outside a machine. Initial-exec: one %fs-relative load. */
extern __thread struct cpu *karc_cpu __attribute__((tls_model("initial-exec")));

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

/* Does @cpu run nothing at all, not even an interrupt? A quiescent state for RCU. */
static inline bool cpu_is_idle(const struct cpu *cpu)
{
	return cpu->fiber == cpu->idle && !cpu->preempt_count && !cpu->irqs_off;
}

/* Tell @cpu that something waits for its next safe point. Any context, any CPU. */
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
