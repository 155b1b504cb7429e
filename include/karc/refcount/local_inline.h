/* SPDX-License-Identifier: MIT */
/*
 * local_inline.h - the fast paths of counts that CPUs keep by themselves; included by arc_inline.h
 *
 * No step of arc_local_get(), arc_local_put() and the percpu_ref_* of percpu_ref.h is a safe
 * point: neither does the CPU take an interrupt in between, nor another fiber, and RCU does not
 * count it as quiet. So they need no rcu_read_lock(), and a load and a store of the CPU's own
 * counter are one step towards everything else that runs there. Other CPUs read it now and then:
 * hence atomic accesses, without a locked instruction.
 */
#include <karc/refcount/arc.h>	/* first: it includes this, which is done after it then */

#ifndef KARC_REFCOUNT_LOCAL_INLINE_H
#define KARC_REFCOUNT_LOCAL_INLINE_H

#include <karc/base/atomic.h>
#include <karc/base/compiler.h>
#include <karc/hw/cpu.h>

/*
 * Where other CPUs may do anything between two steps, but nothing else runs on this one. Holds by
 * itself; an exploration, which switches at each step, has to be told.
 */
#ifdef KARC_EXPLORE
#define KARC_CPU_KEEPS(cpu) \
	(KARC_STEP_EVENT((cpu)->machine, KARC_READS),	/* as rcu_read_lock() */ \
	 (cpu)->preempt_count++, (void)(cpu)->irqs_off++)
#define KARC_CPU_MAY_SWITCH(cpu) \
	(KARC_STEP_EVENT((cpu)->machine, KARC_READS), \
	 (cpu)->preempt_count--, (void)(cpu)->irqs_off--)
/* The caller looked at the field just before, and no safe point has passed since. */
#define KARC_LOOK_AGAIN(arc, key)	((key) = arc_local_field(arc) << 16)
#else
#define KARC_LOOK_AGAIN(arc, key)	((void)(key))
#define KARC_CPU_KEEPS(cpu)		((void)(cpu))
#define KARC_CPU_MAY_SWITCH(cpu)	((void)(cpu))
#endif

/*
 * What one CPU has counted of one object. Arcs use both: what does not fit in @nr goes to @carry;
 * a percpu_ref uses @carry alone. The CPU's share is nr - LOCAL_FIRST + carry.
 */
struct local_counter {
	u32 nr;
	long carry;
};

#define LOCAL_STRIDE_SHIFT	10	/* from one CPU's counters to the next one's: 64 of them */
#define LOCAL_FIRST		(1u << 27)
#define LOCAL_LIMIT		(1u << 28)	/* ->nr, and an owner's count, stay below */

/* The strong half of an object counted by CPU: this, plus what was counted there. */
#define ARC_LOCAL_BIAS		(1 << 30)

/*
 * arc->field of a live object. With a bit of ARC_FIELD_ASIDE get and put do not go to the strong
 * half just like that; a teardown stores nothing so large there. One load shows all, so that nobody
 * sees half of a change. A tracked object has values of its own, which the inline functions do not
 * know: its holders are told out of line.
 */
#define ARC_FIELD_ASIDE		0xc000u
#define ARC_BIASED_OWNER	0x4000u		/* + the owner's id */
#define ARC_FIELD_TRACKED	0x4100u		/* counted in the strong half, tracked */
#define ARC_BIASED_TRACKED	0x4200u		/* + the owner's id */
#define ARC_PERCPU_TRACKED	0x4300u		/* counted by CPU, tracked */
#define ARC_PERCPU_LEAVING	0x4301u		/* no more; the counters are to be added up */
#define ARC_PERCPU_KILLING	0x4302u		/* as LEAVING, and killed */
#define ARC_PERCPU_DEAD_TRACKED	0x4303u		/* KILLED, tracked */
#define ARC_PERCPU_LOCAL	0x8000u		/* counted by CPU */
#define ARC_PERCPU_KILLED	1u		/* counted in the strong half, until arc_reinit() */
#define ARC_FIELD_SHARED	0u		/* counted in the strong half */

/* What a CPU knows of itself; the begin of the room's hot area. Written once, at boot. */
struct local_hot {
	unsigned long row;		/* from CPU 0's counters to this CPU's */
	u32 owner;			/* ->field of untracked objects that it owns, << 16 */
};

static __always_inline const struct local_hot *local_hot(struct cpu *cpu)
{
	return cpu_hot(cpu, ROOM_REFCOUNT);
}

/* Pairs with set_field() in local.c: where the counters are, and what made the object. */
static __always_inline u32 arc_local_field(const struct arc *arc)
{
#ifdef KARC_EXPLORE
	if (arc->type->flags & (ARC_PERCPU | ARC_BIASED))
		KARC_STEP_READ(&arc->field);
#endif
	return __atomic_load_n(&arc->field, __ATOMIC_ACQUIRE);
}

/*
 * Is this the CPU whose field is @owner, or does each CPU count? @key has the field in its upper
 * half. The difference is then small, or negative: all other values with a bit of ARC_FIELD_ASIDE
 * differ from an owner's in the lower bits of the field alone.
 */
static __always_inline bool local_is_here(u32 key, u32 owner)
{
	return (s32)(key ^ owner) <= 0xffff;
}

/*
 * The address in one register and a load and a store apart: so a load of what was stored just
 * before takes no time on processors that guess where it comes from. With one instruction, or an
 * address of two parts, a get and a put took 12 cycles where this takes 5.
 */
#define LOCAL_ADDRESS(type, base, row) (__extension__ ({			\
	type *karc_at_ = (type *)((base) + (row));				\
	__asm__("" : "+r"(karc_at_));						\
	karc_at_; }))

/*
 * One more or less where @arc->link leads: with the row of this CPU added, to its counter of an
 * ARC_PERCPU object, or to the owner's, which is in an ARC_BIASED object itself.
 */
static __always_inline bool arc_local_add(struct arc *arc, u32 key, u32 change)
{
	struct cpu *cpu = this_cpu();
	u32 *at, nr;
	bool done;

	KARC_CPU_KEEPS(cpu);
	KARC_LOOK_AGAIN(arc, key);
	done = likely(local_is_here(key, local_hot(cpu)->owner));
	if (done) {
		at = LOCAL_ADDRESS(u32, (unsigned long)READ_ONCE(arc->link), local_hot(cpu)->row);
		KARC_STEP_WRITE(at);
		nr = __atomic_load_n(at, __ATOMIC_RELAXED) + change;
		done = likely(change == 1 ? nr < LOCAL_LIMIT : nr != 0);
		if (done)
			__atomic_store_n(at, nr, __ATOMIC_RELAXED);
	}
	KARC_CPU_MAY_SWITCH(cpu);
	return done;
}

/**
 * arc_local_get - count one more strong reference on this CPU, if that is where it belongs
 * @arc: a reference is held, or its memory cannot go away
 * @key: what arc_key() has just said, with a bit of ARC_KEY_ASIDE
 *
 * Returns: true when done: the object is not dying. False: nothing changed; ask local_get().
 */
static __always_inline bool arc_local_get(struct arc *arc, u32 key)
{
	return arc_local_add(arc, key, 1);
}

/**
 * arc_local_put - give a strong reference back on this CPU, if that is where it belongs
 *
 * Returns: true when the reference is given back, and was not the last as far as can be known
 *          here. False: nothing changed; ask local_put().
 */
static __always_inline bool arc_local_put(struct arc *arc, u32 key)
{
	return arc_local_add(arc, key, -1U);
}

/* local.c: the same, whatever it takes. */
bool local_get(struct arc *arc);
bool local_put(struct arc *arc);

#endif
