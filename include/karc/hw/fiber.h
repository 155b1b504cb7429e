/* SPDX-License-Identifier: MIT */
/*
 * fiber.h - stacks and switching: what runs on a simulated CPU
 *
 * A fiber is a stack with a saved stack pointer; the proc room's task_struct runs C code on one.
 * A stack is taken from the machine's pool when the fiber starts and goes back when it ends.
 */
#ifndef KARC_HW_FIBER_H
#define KARC_HW_FIBER_H

#include <karc/base/atomic.h>
#include <karc/base/compiler.h>
#include <karc/base/list.h>
#include <karc/hw/cpu.h>
#include <karc/hw/machine.h>

/* Usable bytes; a guard page lies below. Code under a sanitizer has several times larger frames. */
#if defined(KARC_VARIANT) && KARC_VARIANT >= 2
#define FIBER_STACK_BYTES	(256UL << 10)
#else
#define FIBER_STACK_BYTES	(64UL << 10)
#endif
/* A kernel stack under Linux's names. */
#define THREAD_SIZE		FIBER_STACK_BYTES
#define THREAD_ALIGN		THREAD_SIZE
#define FIBER_NAME_LEN		24
#define FIBER_MAX_LOCKS		24

struct reclaim_state;

enum fiber_state {
	FIBER_READY,		/* on its CPU's run queue */
	FIBER_RUNNING,
	FIBER_BLOCKED,		/* waits for fiber_wake() */
	FIBER_DEAD,		/* ended; its record waits for fiber_join() */
};

/* Bits of fiber->flags. */
#define FIBER_HOST	0x1u	/* the harness thread itself */
#define FIBER_IDLE	0x2u	/* one for each CPU */
#define FIBER_CALL	0x4u	/* a machine_call(): the one that ends when all are stuck */
#define FIBER_DETACHED	0x8u	/* nobody will join */
#define FIBER_PARKED	0x10u	/* ended by force; its stack is kept, others may point into it */

/* A host-level lock around a few instructions, taken in parallel mode only; src/hw only. */
struct hw_lock {
	u32 held;
};

struct held_lock {
	const void *lock;
	const struct site *site;
	unsigned int rank;
};

struct fiber {
	void *sp;			/* saved stack pointer while not running */
	char *stack;			/* lowest usable byte; NULL for the host fiber */
	u64 stack_bytes;
	struct hw_lock lock;		/* state, woken, joiner, detaching; before any run queue's */
	enum fiber_state state;
	bool on_cpu;			/* a host thread is on its stack, atomic; parallel mode */
	bool ending;			/* fiber_on_end()'s function had its turn */
	bool condemned;			/* its result says how: end at the next slow safe point */
	struct cpu *cpu;
	int saved_preempt_count;
	u32 saved_irqs_off;
	struct list_head run_node;	/* run queue of ->cpu */
	struct list_head all_node;	/* every fiber of the machine */
	struct fiber *joiner;		/* in fiber_join() for this one */
	long (*fn)(void *arg);
	void *arg;
	struct machine_result result;
	u64 id;				/* order of creation; never an address in a decision */
	char name[FIBER_NAME_LEN];
	void *task;			/* the proc room's task_struct, or NULL */
	void *reap;			/* refcount's teardown in progress, or NULL */
	struct reclaim_state *reclaim_state;	/* counts what its frees give back, or NULL */
	void *active_memcg;		/* group its memory is charged to, or NULL; mm/phys/memcg.h */
	unsigned int memalloc;		/* PF_MEMALLOC* scopes it is in, mm/phys/memalloc.h */
	const struct site *wait_site;	/* where it blocks, for the stuck report */
	unsigned int nr_held;
	struct held_lock held[FIBER_MAX_LOCKS];
	unsigned int flags;		/* FIBER_* */
	unsigned int refs;		/* of the record, atomic: its owner, CPUs that still name it */
	bool woken;			/* a wake since fiber_prepare() */
	bool wait_queued;		/* prepare_to_wait() ran, and no wake or finish_wait() since */
	int migrate_disabled;
	void *temporary;		/* the kva room's: innermost kmap_local mapping, or NULL */
	unsigned int nr_kmap_atomic;	/* kmap_atomic() without its kunmap_atomic() yet, ... */
	const struct site *preempt_site;	/* ... and the outermost of them, for reports */
	struct fiber *joins;		/* whose end it waits for */
	u64 host_stack_low, host_stack_high;	/* host fiber: what is known of the thread's stack */
	void *sanitizer_fiber;		/* TSan's handle */
	void *sanitizer_fake;		/* ASan's fake stack */
	const void *sanitizer_stack;
	u64 sanitizer_bytes;
};

/**
 * fiber_spawn - a new runnable fiber on CPU @cpu of this machine
 *
 * Gives:   the fiber; end it with fiber_join() or give it up with fiber_detach().
 * Context: any that may allocate host memory. Errors: NULL.
 */
KARC_MUST_CHECK struct fiber *fiber_spawn(unsigned int cpu, const char *name,
					  long (*fn)(void *arg), void *arg);

/* Takes the fiber; waits for its end; *result (may be NULL) tells how. Context: may sleep. */
void fiber_join(struct fiber *f, struct machine_result *result);

/* Takes the fiber; its record is freed when it ends. */
void fiber_detach(struct fiber *f);

/* End the running fiber now: MACHINE_EXITED with @value. Held locks, atomic context are a BUG. */
void fiber_exit(long value) __attribute__((noreturn));

/* The running fiber; the host fiber when the harness thread itself runs. */
struct fiber *fiber_self(void);

/*
 * Give the CPU to another fiber of it, in deterministic mode to whomever the seeded scheduler
 * picks on whichever CPU; the caller stays runnable.
 */
void fiber_yield(void);

/**
 * fiber_block - sleep until fiber_wake(); may_sleep context, no spinlock held
 * @site: shown when everything is stuck
 *
 * A wake that came between fiber_prepare() and fiber_block() is not lost. Who wakes a fiber sees
 * to it that it is not gone before fiber_wake() returns: under the lock that the sleeper takes to
 * look at its condition, or with something that the sleeper waits for.
 */
void fiber_prepare(void);
void fiber_block(const struct site *site);
void fiber_wake(struct fiber *f);	/* any context */

/**
 * fiber_on_switch - the proc room's hook: called on the new fiber after each context switch
 * @fn: gets the fiber that ran before on this CPU and the one that runs now; either may be the
 *      idle or the host fiber. @prev may be dead or run on another CPU already, its record is
 *      valid during the call.
 *
 * Context: preemption disabled; must not sleep.
 */
void fiber_on_switch(struct machine *m, void (*fn)(struct fiber *prev, struct fiber *next));

/**
 * fiber_on_end - who asks a fiber that ends what it still has (the refcount room)
 * @fn: runs on the fiber itself, its last function has returned or died; it may take its time
 *      but not sleep
 *
 * Not called for host and idle fibers, for those that die in an interrupt or with locks held, and
 * for those that are ended because the machine is stuck.
 */
void fiber_on_end(struct machine *m, void (*fn)(struct fiber *f));

/**
 * fiber_on_temporary - who takes back what a fiber that ends has in ->temporary (the kva room)
 * @fn: runs on the fiber itself, in whatever way and context it ends; must not sleep
 */
void fiber_on_temporary(struct machine *m, void (*fn)(struct fiber *f, enum machine_end end));

/**
 * fiber_block_timeout - fiber_block() that wakes by itself
 * @timeout_ns: virtual time
 *
 * Returns: nanoseconds that were left when it was woken, 0 when the time ran out.
 */
u64 fiber_block_timeout(const struct site *site, u64 timeout_ns);

/* Move @f (the running fiber, or one that is not running) to CPU @cpu. BUG in migrate_disable(). */
void fiber_set_cpu(struct fiber *f, unsigned int cpu);

/* The fibers of a machine that are neither host nor idle, alive now. */
unsigned int fiber_count(const struct machine *m);

void hw_safepoint_slow(void);

/* A place where interrupts may be delivered and another CPU may run: locks call it. */
static inline void hw_safepoint(void)
{
	struct cpu *c = karc_cpu;
	u32 left = c->steps - 1;

	c->steps = left;
	if (unlikely(!left | (__atomic_load_n(&c->pending, __ATOMIC_RELAXED) != 0)))
		hw_safepoint_slow();
}

/**
 * cpu_relax - spin politely: lets other CPUs run, and this CPU's other fibers if preemptible
 *
 * Takes time, virtual or real. When nothing moves for a very long time the machine is reported
 * as stuck.
 */
void cpu_relax(void);

/* Linux's cond_resched(): a safe point that also gives way to a runnable fiber of this CPU. */
int cond_resched(void);

/* Ask the current fiber of @cpu to give way at its next safe point. */
void resched_cpu(struct cpu *cpu);
bool need_resched(void);

#endif
