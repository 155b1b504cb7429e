/* SPDX-License-Identifier: MIT */
/*
 * percpu_ref.h - a count that each CPU keeps for itself until it is killed, under Linux's names
 *
 * As in Linux 6.1. A ref begins with one reference, the initial one. While it is in per-CPU mode
 * gets and puts add to a counter of their CPU and nobody knows the sum. percpu_ref_kill() gives
 * the initial reference back and makes it atomic: once every CPU has seen that, the counters are
 * added up, and the put that reaches zero calls release.
 *
 * New objects of karc with a struct arc set ARC_PERCPU in their type instead (local.h).
 */
#ifndef KARC_REFCOUNT_PERCPU_REF_H
#define KARC_REFCOUNT_PERCPU_REF_H

#include <karc/base/atomic.h>
#include <karc/base/bug.h>
#include <karc/base/contract.h>
#include <karc/base/list.h>
#include <karc/base/site.h>
#include <karc/refcount/local_inline.h>
#include <karc/refcount/rcu.h>

struct percpu_ref;
typedef void (percpu_ref_func_t)(struct percpu_ref *ref);

/* Low bits of ->percpu_count_ptr. */
enum {
	__PERCPU_REF_ATOMIC = 1UL << 0,
	__PERCPU_REF_DEAD = 1UL << 1,
	__PERCPU_REF_ATOMIC_DEAD = __PERCPU_REF_ATOMIC | __PERCPU_REF_DEAD,
	__PERCPU_REF_FLAG_BITS = 2,
};

/* Flags of percpu_ref_init(). */
enum {
	PERCPU_REF_INIT_ATOMIC = 1 << 0,	/* begin in atomic mode; stays until told otherwise */
	PERCPU_REF_INIT_DEAD = 1 << 1,		/* begin killed, without the initial reference */
	PERCPU_REF_ALLOW_REINIT = 1 << 2,	/* keep the counters when it is killed */
};

struct percpu_ref_data {
	atomic_long_t count;		/* what is counted in atomic mode, and the bias in the other */
	struct {
		percpu_ref_func_t *release;
		percpu_ref_func_t *confirm;	/* not NULL: a switch is under way */
	} ops;
	bool force_atomic;
	bool allow_reinit;
	struct rcu_head rcu;
	struct percpu_ref *ref;
	const struct site *site;	/* where it was set up */
	struct list_head node;		/* all of the machine */
};

struct percpu_ref {
	unsigned long percpu_count_ptr;	/* CPU 0's count and flags; after the end: the count */
	struct percpu_ref_data *data;	/* NULL before init and after exit */
};

/**
 * percpu_ref_init - set a ref up, with one reference
 * @release: called by whoever brings it to zero, in whatever context that is, with no lock held
 * @flags:   PERCPU_REF_*
 * @gfp:     not used: the memory is the host's
 *
 * Context: any. Errors: -ENOMEM, nothing changed. End it with percpu_ref_exit(); one that was
 *          not is reported when the machine is shut down.
 * Model:   Linux 6.1.
 */
KARC_MUST_CHECK int percpu_ref_init_site(struct percpu_ref *ref, percpu_ref_func_t *release,
					 unsigned int flags, gfp_t gfp, const struct site *site);
KARC_MUST_CHECK int (percpu_ref_init)(struct percpu_ref *ref, percpu_ref_func_t *release,
				      unsigned int flags, gfp_t gfp);
#define percpu_ref_init(ref, release, flags, gfp) \
	percpu_ref_init_site((ref), (release), (flags), (gfp), SITE())

/**
 * percpu_ref_exit - give the memory of a ref back
 *
 * The caller sees to it that nobody uses it any more, as release does. percpu_ref_is_zero() may
 * be called afterwards. Context: any. Errors: warns while a switch is under way.
 */
void percpu_ref_exit(struct percpu_ref *ref);

/**
 * percpu_ref_switch_to_atomic - count in one place from now on, also after a reinit
 * @confirm: called when all CPUs do so, by RCU or from here; may be NULL
 *
 * Context: may sleep while an earlier switch is under way, else any.
 */
void percpu_ref_switch_to_atomic(struct percpu_ref *ref, percpu_ref_func_t *confirm);
void percpu_ref_switch_to_atomic_sync(struct percpu_ref *ref);	/* and waits for it; may sleep */

/**
 * percpu_ref_switch_to_percpu - count by CPU again, unless it is killed; then after its reinit
 *
 * Context: may sleep while an earlier switch is under way. Errors: warns, and stays atomic, for
 * a ref that was set up without any flag.
 */
void percpu_ref_switch_to_percpu(struct percpu_ref *ref);

/**
 * percpu_ref_kill_and_confirm - give the initial reference back and let the last put be found
 * @confirm: called once all CPUs see it dead: percpu_ref_tryget_live() fails everywhere. May be
 *           NULL. By RCU, or from here if the ref was atomic already; release comes after it.
 *
 * Takes:   the initial reference. Context: may sleep while a switch is under way, else any.
 * Errors:  a second one warns and does nothing.
 */
void percpu_ref_kill_and_confirm(struct percpu_ref *ref, percpu_ref_func_t *confirm);

/**
 * percpu_ref_resurrect - a killed ref is alive again, with a new initial reference
 *
 * The caller has a reference, or knows otherwise that release does not run meanwhile.
 * Context: may sleep while a switch is under way. Errors: warns when it is not killed.
 */
void percpu_ref_resurrect(struct percpu_ref *ref);

/* percpu_ref_resurrect() of one that came to zero; warns when it has not. */
void percpu_ref_reinit(struct percpu_ref *ref);

/* In atomic mode and at zero. Also after percpu_ref_exit(). Context: any. */
bool percpu_ref_is_zero(struct percpu_ref *ref);

static inline void percpu_ref_kill(struct percpu_ref *ref)
{
	percpu_ref_kill_and_confirm(ref, NULL);
}

/* Killed, and not resurrected since. */
static inline bool percpu_ref_is_dying(struct percpu_ref *ref)
{
	return READ_ONCE(ref->percpu_count_ptr) & __PERCPU_REF_DEAD;
}

/*
 * Add to this CPU's counter, if the ref is in per-CPU mode. The memory of a counter goes after a
 * grace period only, which does not end in the middle of this; see local_inline.h.
 */
static inline bool karc_percpu_ref_add(struct percpu_ref *ref, unsigned long nr)
{
	struct cpu *cpu = this_cpu();
	unsigned long count, *at;
	bool percpu;

	KARC_CPU_KEEPS(cpu);
	/* Pairs with the release in switch_to_percpu(): the counters were cleared. */
	count = __atomic_load_n(KARC_STEPPED(&ref->percpu_count_ptr, KARC_READS),
				__ATOMIC_ACQUIRE);
	percpu = likely(!(count & __PERCPU_REF_ATOMIC_DEAD));
	if (percpu) {
		at = LOCAL_ADDRESS(unsigned long, count, local_hot(cpu)->row);
		KARC_STEP_WRITE(at);
		__atomic_store_n(at, __atomic_load_n(at, __ATOMIC_RELAXED) + nr, __ATOMIC_RELAXED);
	}
	KARC_CPU_MAY_SWITCH(cpu);
	return percpu;
}

/* @nr more references; the caller has one. Context: any. */
static inline void percpu_ref_get_many(struct percpu_ref *ref, unsigned long nr)
{
	if (!karc_percpu_ref_add(ref, nr))
		atomic_long_add((long)nr, &ref->data->count);
}

static inline void percpu_ref_get(struct percpu_ref *ref)
{
	percpu_ref_get_many(ref, 1);
}

/* The same for who has none: false when the count came to zero. Context: any. */
static inline bool percpu_ref_tryget_many(struct percpu_ref *ref, unsigned long nr)
{
	return karc_percpu_ref_add(ref, nr) ||
	       atomic_long_add_unless(&ref->data->count, (long)nr, 0);
}

static inline bool percpu_ref_tryget(struct percpu_ref *ref)
{
	return percpu_ref_tryget_many(ref, 1);
}

/**
 * percpu_ref_tryget_live - false also when the ref was killed
 *
 * Some CPU may still succeed until the kill is confirmed. The _rcu form is for callers under
 * rcu_read_lock(), and warns elsewhere.
 */
static inline bool percpu_ref_tryget_live(struct percpu_ref *ref)
{
	return karc_percpu_ref_add(ref, 1) ||
	       (!percpu_ref_is_dying(ref) && atomic_long_inc_not_zero(&ref->data->count));
}

static inline bool percpu_ref_tryget_live_rcu(struct percpu_ref *ref)
{
	WARN_ON_ONCE(!rcu_read_lock_held());
	return percpu_ref_tryget_live(ref);
}

/* Takes @nr references; the last one calls release. Context: any that release can bear. */
static inline void percpu_ref_put_many(struct percpu_ref *ref, unsigned long nr)
{
	if (!karc_percpu_ref_add(ref, -nr) &&
	    unlikely(atomic_long_sub_and_test((long)nr, &ref->data->count)))
		ref->data->ops.release(ref);
}

static inline void percpu_ref_put(struct percpu_ref *ref)
{
	percpu_ref_put_many(ref, 1);
}

#endif
