/* SPDX-License-Identifier: MIT */
/*
 * local.h - counts that CPUs keep by themselves, for objects that live long and are used often
 *
 * A get and a put of an ordinary object change one word with a locked instruction; with several
 * CPUs they also hand its cache line round. A type may ask for one of two other ways to count.
 * arc_get(), arc_put() and all else of arc.h stay the same; what differs is when the destructor
 * runs, which is why a type has to ask.
 *
 * ARC_PERCPU: each CPU counts what it got and put; nobody knows the sum. The last put is found
 * after arc_kill(), once every CPU has seen that, and at a quiet point (machine_quiesce()). Until
 * one of them comes, an object without references stays.
 *
 * ARC_BIASED: the CPU that made the object, its owner, counts in the object without a locked
 * instruction, all others in the strong half of the word. That ends, for good, when the owner's
 * count comes to zero and when another CPU puts what the owner has counted. After the owner's last
 * put the destructor runs as late as the last put of the others, as ever. A put of another CPU
 * whose count the owner has runs it before it returns, in a context that may sleep; elsewhere a
 * task of that CPU runs it (machine_quiesce() waits for it).
 *
 * Either way kref_get() on &obj->kref may be used, kref_put() may not: it would miss the last.
 */
#ifndef KARC_REFCOUNT_LOCAL_H
#define KARC_REFCOUNT_LOCAL_H

#include <karc/base/contract.h>
#include <karc/base/site.h>
#include <karc/refcount/arc.h>

/**
 * arc_get_hot, arc_put_hot - arc_get() and arc_put() for code that mostly meets such objects
 *
 * The same in every respect; the compiler lays the way of those straight out, and that of the
 * strong half aside.
 */
ARC_INLINE struct arc *arc_get_hot_site(struct arc *arc, const struct site *site);
ARC_INLINE void arc_put_hot_site(KARC_TAKES struct arc *arc, const struct site *site);
struct arc *(arc_get_hot)(struct arc *arc);
void (arc_put_hot)(KARC_TAKES struct arc *arc);
#define arc_get_hot(arc) arc_get_hot_site((arc), SITE())
#define arc_put_hot(arc) arc_put_hot_site((arc), SITE())

/**
 * arc_kill - count an ARC_PERCPU object in one place again, so that the last put is found
 * @confirm: called once all CPUs have seen it: from then on arc_tryget_live() fails everywhere.
 *           In softirq context, or from arc_kill() itself when no CPU counts by itself; no lock is
 *           held, and the object lives at least until it returns. May be NULL.
 *
 * Takes:   one strong reference, the one that whoever made the object began with.
 * Context: any.
 * Order:   what was done under a reference before any put comes before the destructor.
 * Errors:  a second one, or one of a type that is not ARC_PERCPU, warns, and the reference leaks.
 * Model:   Linux 6.1 percpu_ref_kill_and_confirm().
 */
void arc_kill_site(KARC_TAKES struct arc *arc, void (*confirm)(struct arc *arc),
		   const struct site *site);
void (arc_kill)(KARC_TAKES struct arc *arc, void (*confirm)(struct arc *arc));
#define arc_kill(arc, confirm) arc_kill_site((arc), (confirm), SITE())

/**
 * arc_reinit - a killed object is alive again, and counted by CPU
 * @arc: the caller holds a strong reference, so that the destructor has not begun, and keeps it
 *
 * Gives:   @arc, the reference that arc_kill() takes.
 * Context: may sleep: waits until an arc_kill() before it is confirmed.
 * Errors:  of an object that was not killed: warns, NULL. Without memory for counters it counts
 *          in the strong half until it is killed and reinitialised again: slower, nothing else.
 * Model:   Linux 6.1 percpu_ref_resurrect().
 */
struct arc *arc_reinit_site(struct arc *arc, const struct site *site);
struct arc *(arc_reinit)(struct arc *arc);
#define arc_reinit(arc) arc_reinit_site((arc), SITE())

/* arc_kill() was called and arc_reinit() was not since, or the object is dying. Any type. */
bool arc_is_killed(const struct arc *arc);

/**
 * arc_tryget_live - arc_tryget() that fails as soon as this CPU sees the object killed
 *
 * Gives:   @arc, or NULL. Context: any. Order: acquire when it succeeds.
 * Model:   Linux 6.1 percpu_ref_tryget_live().
 */
KARC_MUST_CHECK struct arc *arc_tryget_live_site(struct arc *arc, const struct site *site);
KARC_MUST_CHECK struct arc *(arc_tryget_live)(struct arc *arc);
#define arc_tryget_live(arc) arc_tryget_live_site((arc), SITE())

/**
 * arc_local_exact - bring the whole count into the strong half, for who needs to know it
 * @arc: the caller holds a strong reference, and keeps it
 *
 * For an ARC_BIASED object that is for good, for an ARC_PERCPU one until arc_reinit() (of course
 * after an arc_kill()). An object that is not counted by CPU stays as it is.
 *
 * Returns: true: it is there. False: another CPU has to be asked, and this context may not wait.
 * Context: any; where it may sleep the answer is true. ARC_PERCPU waits for a grace period.
 */
bool arc_local_exact(struct arc *arc);

/**
 * arc_local_count - the strong references, wherever they are counted
 *
 * Exact when nobody gets or puts meanwhile. A saturated count is negative.
 */
long arc_local_count(const struct arc *arc);

static __always_inline struct arc *KARC_BODY(arc_get_hot_site)(struct arc *arc,
							      const struct site *site)
{
	u32 key = arc_key(arc);

	if (likely(key & ARC_KEY_ASIDE) && likely(arc_local_get(arc, key)))
		return arc;
	return arc_get_site(arc, site);
}

static __always_inline void KARC_BODY(arc_put_hot_site)(struct arc *arc, const struct site *site)
{
	u32 key;

	if (!arc)
		return;
	key = arc_key(arc);
	if (likely(key & ARC_KEY_ASIDE) && likely(arc_local_put(arc, key)))
		return;
	arc_put_site(arc, site);
}

#endif
