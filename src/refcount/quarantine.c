/* SPDX-License-Identifier: MIT */
/*
 * quarantine.c - the recently dead: who they were, and on request their memory
 *
 * What it is      A stale pointer tells nothing about the object it pointed at. So each CPU writes
 *                 down the objects whose last reference is put on it, in a ring, and reports about
 *                 an address look there. If asked to, it also keeps the memory for a while, so
 *                 that a stale get or put really meets the dead object and not its successor.
 * Objects         hot area of CPU -> quarantine: obituaries[nr], newest overwrites oldest
 *                                  `-> held[nr]: dead arcs whose memory is kept
 *                                  `-> evicted -> arc -> arc (arc->link): to be returned by a task
 * Invariants      I1  An obituary is written when the strong count has reached zero and is never
 *                     changed, only overwritten: it needs no second step when the memory goes.
 *                 I2  It is believed only while the arc's memory shows a dying or dead object of
 *                     that type, or ARC_POISON. arc_init() and everything else that writes there
 *                     ends that, so birth has nothing to do.
 *                 I3  A held arc is in one place: held[] of one CPU, or an evicted list. Its word
 *                     is poison; a change that no report explains is reported when it leaves.
 *                 I4  ops.free of a held object runs in a task that may sleep, with no lock held,
 *                     never inside somebody else's put.
 * Locking         q->lock, a flag that only host threads wait for: its CPU writes, any CPU reads.
 *                 No safe point inside, so that it needs neither rank nor interrupts off.
 * Life            strong 0: obituary -> memory to be returned: held -> evicted -> ops.free
 * Worst case      At most machine_config.quarantine objects held on each CPU, plus those that
 *                 the deferred task has not come to yet; a look-up reads every entry.
 * Unlike Linux    KASAN's quarantine is one queue for all of slab, counted in bytes.
 */
#include <karc/base/bug.h>
#include <karc/base/hostmem.h>
#include <karc/hw/fiber.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/quarantine.h>
#include <sched.h>
#include <string.h>

#include "internal.h"

struct obituary {
	struct arc_obituary o;
	u64 order;			/* of all CPUs; 0: not used yet */
};

struct quarantine {
	u32 lock;
	bool hold;
	unsigned int nr;		/* entries of each ring */
	unsigned int next;		/* the one that is overwritten next */
	unsigned int next_held;
	unsigned int nr_held;		/* in held[] and on the evicted list; read by any */
	u64 *order;			/* shared by all CPUs, atomic */
	struct arc **held;		/* NULL without quarantine_hold */
	struct arc *evicted;
	struct obituary ring[];
};

static void quarantine_lock(struct quarantine *q)
{
	/* Pairs with the release in quarantine_unlock(). */
	while (__atomic_exchange_n(&q->lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void quarantine_unlock(struct quarantine *q)
{
	__atomic_store_n(&q->lock, 0, __ATOMIC_RELEASE);
}

static struct quarantine *quarantine_alloc(unsigned int nr, bool hold, u64 *order)
{
	struct quarantine *q = hostmem_zalloc(NULL, sizeof(*q) + nr * sizeof(q->ring[0]));

	if (!q)
		return NULL;
	q->nr = nr;
	q->hold = hold;
	q->order = order;
	if (hold)
		q->held = hostmem_zalloc(NULL, nr * sizeof(q->held[0]));
	if (hold && !q->held) {
		hostmem_free(NULL, q);
		return NULL;
	}
	return q;
}

void quarantine_destroy(struct machine *m)
{
	struct refcount_hot *hot;
	unsigned int i;

	for (i = 0; i < machine_nr_cpus(m); i++) {
		hot = refcount_hot_of(m, i);
		if (hot->quarantine)
			hostmem_free(NULL, hot->quarantine->held);
		hostmem_free(NULL, hot->quarantine);
		hot->quarantine = NULL;
	}
}

int quarantine_create(struct machine *m, u64 *order)
{
	const struct machine_config *config = machine_config(m);
	struct refcount_hot *hot;
	unsigned int i;

	if (!config->quarantine)
		return 0;
	for (i = 0; i < machine_nr_cpus(m); i++) {
		hot = refcount_hot_of(m, i);
		hot->quarantine = quarantine_alloc(config->quarantine, config->quarantine_hold,
						   order);
		if (!hot->quarantine) {
			quarantine_destroy(m);
			return -ENOMEM;
		}
	}
	return 0;
}

/* ---- writing down ---- */

void quarantine_write(struct quarantine *q, struct arc *arc, const struct site *where,
		      const struct arc_type *owner)
{
	const struct fiber *self = this_cpu()->fiber;
	struct obituary *entry;

	quarantine_lock(q);
	entry = &q->ring[q->next];
	q->next = q->next + 1 < q->nr ? q->next + 1 : 0;
	entry->o = (struct arc_obituary){
		.arc = arc,
		.object = (char *)arc - arc->type->offset,
		.type = arc->type,
		.created = arc->site,
		.put = where,
		.task_id = self->id,
		.owner = owner,
	};
	memcpy(entry->o.task, self->name, sizeof(entry->o.task));
	entry->order = __atomic_add_fetch(q->order, 1, __ATOMIC_RELAXED);
	quarantine_unlock(q);
}

/* ---- looking up ---- */

static bool contains(const struct arc_obituary *o, const void *address)
{
	const char *object = o->object;

	return (const char *)address >= object && (const char *)address < object + o->type->size;
}

/* I2. The memory may be anybody's by now, and changing: any answer will do. */
static __no_sanitize_thread bool still_dead(const struct arc_obituary *o)
{
	const struct arc *arc = o->arc;

	if (ARC_IS_POISON(READ_ONCE(arc->weak.refs.counter)))
		return true;
	return READ_ONCE(arc->type) == o->type &&
	       (READ_ONCE(arc->state) == ARC_DYING || READ_ONCE(arc->state) == ARC_DEAD);
}

/* The newest entry of @q about @address, if newer than @order. */
static u64 newest_of(struct quarantine *q, const void *address, u64 order,
		     struct arc_obituary *found)
{
	unsigned int i;

	quarantine_lock(q);
	for (i = 0; i < q->nr; i++) {
		if (q->ring[i].order > order && contains(&q->ring[i].o, address)) {
			order = q->ring[i].order;
			*found = q->ring[i].o;
		}
	}
	quarantine_unlock(q);
	return order;
}

bool arc_obituary(const void *address, struct arc_obituary *obituary)
{
	struct machine *m = this_machine();
	struct quarantine *q;
	unsigned int i;
	u64 order = 0;

	for (i = 0; i < machine_nr_cpus(m); i++) {
		q = refcount_hot_of(m, i)->quarantine;
		if (q)
			order = newest_of(q, address, order, obituary);
	}
	return order && still_dead(obituary);
}

/* ---- holding memory ---- */

static void evict(struct quarantine *q, struct arc *arc)
{
	arc->link = q->evicted;
	q->evicted = arc;
}

bool quarantine_hold(struct quarantine *q, struct arc *arc)
{
	struct arc *oldest;

	if (!q->hold || !arc->type->ops.free)
		return false;
	quarantine_lock(q);
	oldest = q->held[q->next_held];
	q->held[q->next_held] = arc;
	q->next_held = q->next_held + 1 < q->nr ? q->next_held + 1 : 0;
	WRITE_ONCE(q->nr_held, q->nr_held + 1);
	if (oldest)
		evict(q, oldest);
	quarantine_unlock(q);
	if (oldest)
		__atomic_fetch_or(&this_cpu()->pending, CPU_PENDING_DEFERRED, __ATOMIC_RELAXED);
	return true;
}

/* I3: the memory of an object that was held goes back. */
static void let_go(struct arc *arc)
{
	const struct arc_type *type = arc->type;
	u64 word = READ_ONCE(arc->word);

	if (word != ARC_WORD_POISON && word != ARC_WORD_POISON_WEAK)
		arc_fault_tell(ARC_FAULT_USE_AFTER_PUT, arc, NULL,
			       "arc: counts of a dead %s were changed behind its back to %#llx",
			       type->name, word);
	type->ops.free((char *)arc - type->offset);
}

static unsigned long let_go_evicted(struct quarantine *q)
{
	struct arc *arc, *next, *oldest = NULL;
	unsigned long nr = 0;

	quarantine_lock(q);
	for (arc = q->evicted; arc; arc = next) {
		next = arc->link;
		arc->link = oldest;
		oldest = arc;
		nr++;
	}
	q->evicted = NULL;
	WRITE_ONCE(q->nr_held, q->nr_held - nr);
	quarantine_unlock(q);
	for (arc = oldest; arc; arc = next) {
		next = arc->link;
		let_go(arc);
	}
	return nr;
}

void quarantine_run(void)
{
	struct quarantine *q = refcount_hot()->quarantine;

	if (unlikely(q) && READ_ONCE(q->nr_held))
		let_go_evicted(q);
}

/* Everything held, oldest first. */
unsigned long quarantine_drain(struct machine *m)
{
	struct quarantine *q;
	unsigned long nr = 0;
	unsigned int cpu, i;

	for (cpu = 0; cpu < machine_nr_cpus(m); cpu++) {
		q = refcount_hot_of(m, cpu)->quarantine;
		if (!q || !READ_ONCE(q->nr_held))
			continue;
		quarantine_lock(q);
		for (i = 0; i < q->nr; i++) {
			struct arc **at = &q->held[(q->next_held + i) % q->nr];

			if (*at)
				evict(q, *at);
			*at = NULL;
		}
		quarantine_unlock(q);
		nr += let_go_evicted(q);
	}
	return nr;
}

unsigned long quarantine_nr_held(struct machine *m)
{
	struct quarantine *q;
	unsigned long nr = 0;
	unsigned int i;

	for (i = 0; i < machine_nr_cpus(m); i++) {
		q = refcount_hot_of(m, i)->quarantine;
		if (q)
			nr += READ_ONCE(q->nr_held);
	}
	return nr;
}
