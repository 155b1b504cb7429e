/* SPDX-License-Identifier: MIT */
/*
 * local.c - counts that CPUs keep by themselves: per CPU, and owner-biased
 *
 * What it is      While an object's field says so (arc->field, see local_inline.h; ARC_LOCAL in its
 *                 flags then, too), its strong half holds a bias of 2^30 besides what was counted
 *                 there, so that no put can bring it to zero, and some references are counted
 *                 elsewhere with plain loads and stores: in counters of each CPU (ARC_PERCPU), or
 *                 in the object by one CPU, the owner (ARC_BIASED). Who ends that takes the bias
 *                 off and adds what was counted elsewhere in one atomic step; from then on the
 *                 strong half is the count.
 * Objects         arc: field      whether, and which way; in one word with state and flags
 *                      cursor     BIASED: the owner's count
 *                      link       + the row of a CPU that may count there: its counter. PERCPU:
 *                                 CPU 0's; BIASED: &cursor less the owner's row, so that one way
 *                                 through the inline functions serves both
 *                 chunk: nr_cpus rows of 64 counters, a row never shares a line with another
 *                        CPU's; 64 slots, what is known of each counter
 *                 hot area: local (row, owner's field), queued -> local_put -> local_put
 * Invariants      I1  count = strong half - bias + counted elsewhere, while the bias is on; else
 *                     count = strong half.
 *                 I2  BIASED: field and cursor are changed by code that runs on the owner's CPU,
 *                     and not across a safe point. While there is an owner cursor is not 0.
 *                 I3  BIASED: with an owner the strong half is not below the bias: a put that
 *                     would bring it there waits for the end of the bias.
 *                 I4  PERCPU: a counter changes only on its CPU, and only where the field was seen
 *                     to say so with no safe point since; so it is final after a grace period that
 *                     began when the field was changed.
 *                 I5  The bias goes once: by the owner's CPU, or by the callback of that period.
 *                     It goes last: the object may be torn down, and use link and field, as soon
 *                     as the strong half is the count.
 *
 *                 No reference is lost: a get or put changes either the strong half, by an atomic
 *                 operation, or a counter, by its CPU alone; I1 holds after each. The bias comes
 *                 off when no more counting elsewhere can follow (I2: same CPU; I4), and takes the
 *                 counters along. Who still goes by an old field uses the strong half, which is
 *                 always right.
 *                 Nothing dies early: the strong half is not 0 with the bias on, since fewer than
 *                 2^30 references move; afterwards it is the count, and arc.c's proof holds.
 *                 The last put is found: without bias by whoever makes it. BIASED: if the owner's
 *                 CPU makes it, cursor comes to 0 and the bias goes. If another one does, the
 *                 count is 1 and cursor at least 1 (I2), so the strong half is at the bias: that
 *                 put asks the owner's CPU to take the bias off and is made after that; in atomic
 *                 context it is queued as it is, reference and all, so the object lives until a
 *                 task has asked. PERCPU: by the put that follows the callback, or the callback.
 *                 Upgrade and tryget: where the field says that CPUs count, the count has not been
 *                 found to be 0 (the bias is on), so one more is right, also when it is 0 in
 *                 truth: the object is not dying yet, and the callback will count it.
 *                 Order: a plain put is followed by the release of the bias, on the same CPU
 *                 (BIASED) or after a grace period, which orders; the last put acquires.
 * Locking         local->lock (LR_LEDGER), interrupts off: chunks, slots, field of PERCPU objects,
 *                 refs and their modes (percpu_ref.c). Queues: lock-free push by their CPU, taken
 *                 whole by exchange.
 * Life            BIASED  LOCAL -owner's count 0, or asked-> shared
 *                 PERCPU  LOCAL -arc_kill-> KILLING -grace period-> KILLED -arc_reinit-> LOCAL
 *                         LOCAL -arc_local_exact-> LEAVING -grace period-> SHARED
 *                         SHARED -arc_kill-> KILLED
 *                         LOCAL -quiet point, sum 0-> LEAVING -grace period-> dying, or LOCAL
 *                 A tracked object goes through the same with fields of its own.
 * Worst case      A PERCPU object without references lives until arc_kill() or a quiet point. One
 *                 cross-CPU call in the life of a BIASED object. Freeing a counter walks nothing;
 *                 making one walks the chunks, of 64 objects each. A get and a put take 5 cycles;
 *                 on two CPUs at once too, per CPU. A put queued from atomic context needs 16 bytes
 *                 of host memory; without them its object is leaked, with a warning.
 * Unlike Linux    percpu_ref is told to die and never finds out by itself; there is no biased kind.
 *                 Without memory for counters an arc counts in its strong half from the start.
 */
#include <karc/base/hostmem.h>
#include <karc/base/math.h>
#include <karc/hw/inject.h>
#include <karc/hw/ipi.h>
#include <karc/refcount/local.h>
#include <limits.h>

#include "internal.h"

/* What strong_settle() gives instead of a count. */
#define SETTLED_BELOW	LONG_MIN
#define SETTLED_ABOVE	(LONG_MIN + 1)

#define ROW_BYTES	(1UL << LOCAL_STRIDE_SHIFT)
#define CHUNK_SLOTS	(ROW_BYTES / sizeof(struct local_counter))

static_assert(CHUNK_SLOTS == 64, "one word of used bits");
static_assert(MACHINE_MAX_CPUS <= 0x100, "an owner's id is no value of another kind");

struct local_chunk {
	struct local_chunk *next;
	u64 used;
	struct local_slot slot[CHUNK_SLOTS];
	void *block;
	struct local_counter *row;	/* in @block: CPU 0's; before it the chunk's address */
};

static struct local_state *local_of(struct machine *m)
{
	return &refcount_state(m)->local;
}

/* ---- counters ---- */

static struct local_chunk *chunk_of(const struct local_counter *counter)
{
	unsigned long row = ALIGN_DOWN((unsigned long)counter, ROW_BYTES);

	return ((struct local_chunk **)row)[-1];
}

struct local_slot *local_slot_of(const struct local_counter *counter)
{
	struct local_chunk *chunk = chunk_of(counter);

	return &chunk->slot[counter - chunk->row];
}

static struct local_counter *counter_on(const struct local_counter *counter, unsigned int cpu)
{
	return (struct local_counter *)((char *)counter + cpu * ROW_BYTES);
}

static struct local_chunk *chunk_create(struct machine *m)
{
	struct local_chunk *chunk = hostmem_zalloc(NULL, sizeof(*chunk));

	if (!chunk)
		return NULL;
	chunk->block = hostmem_zalloc(NULL, (machine_nr_cpus(m) + 1) * ROW_BYTES + sizeof(chunk));
	if (!chunk->block) {
		hostmem_free(NULL, chunk);
		return NULL;
	}
	chunk->row = (void *)ALIGN((unsigned long)chunk->block + sizeof(chunk), ROW_BYTES);
	((struct local_chunk **)chunk->row)[-1] = chunk;
	return chunk;
}

static void chunk_destroy(struct local_chunk *chunk)
{
	hostmem_free(NULL, chunk->block);
	hostmem_free(NULL, chunk);
}

struct local_counter *local_counts_alloc(struct machine *m)
{
	struct local_state *l = local_of(m);
	struct local_chunk *chunk = l->chunks;
	unsigned int i;

	if (inject_fail())
		return NULL;
	while (chunk && chunk->used == ~0ULL)
		chunk = chunk->next;
	if (!chunk) {
		chunk = chunk_create(m);
		if (!chunk)
			return NULL;
		chunk->next = l->chunks;
		l->chunks = chunk;
	}
	i = (unsigned int)__builtin_ctzll(~chunk->used);
	chunk->used |= 1ULL << i;
	chunk->slot[i] = (struct local_slot){ .arc = NULL };
	local_counts_clear(m, &chunk->row[i]);
	return &chunk->row[i];
}

void local_counts_free(struct local_counter *counter)
{
	struct local_chunk *chunk = chunk_of(counter);
	u64 bit = 1ULL << (counter - chunk->row);

	BUG_ON(!(chunk->used & bit));
	chunk->used &= ~bit;
	local_slot_of(counter)->arc = NULL;
}

void local_counts_clear(struct machine *m, struct local_counter *counter)
{
	unsigned int i;

	for (i = 0; i < machine_nr_cpus(m); i++) {
		WRITE_ONCE(counter_on(counter, i)->nr, LOCAL_FIRST);
		WRITE_ONCE(counter_on(counter, i)->carry, 0);
	}
}

long local_counts_sum(struct machine *m, const struct local_counter *counter)
{
	unsigned long sum = 0;
	unsigned int i;

	for (i = 0; i < machine_nr_cpus(m); i++) {
		const struct local_counter *c = counter_on(counter, i);

		KARC_STEP_BYTES(c, sizeof(*c), KARC_READS);
		sum += (unsigned long)READ_ONCE(c->carry) + READ_ONCE(c->nr) - LOCAL_FIRST;
	}
	return (long)sum;
}

/* ---- the strong half ---- */

static int *strong_of(const struct arc *arc)
{
	return (int *)&arc->kref.refcount.refs.counter;
}

static int strong_load(const struct arc *arc)
{
	return __atomic_load_n(KARC_STEPPED(strong_of(arc), KARC_READS), __ATOMIC_ACQUIRE);
}

static bool strong_change(struct arc *arc, int *old, int new)
{
	return __atomic_compare_exchange_n(KARC_STEPPED(strong_of(arc), KARC_WRITES), old, new,
					   false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/*
 * Take the bias off and add what was counted elsewhere, in one step. What comes out, if it is a
 * count. One that was saturated stays; anything else saturates and has to be reported.
 */
static long strong_settle(struct arc *arc, long elsewhere)
{
	int old = strong_load(arc);
	bool good;
	long new;

	do {
		if (old < 0)
			return old;
		new = (long)old - ARC_LOCAL_BIAS + elsewhere;
		good = new >= 0 && new <= REFCOUNT_MAX;
	} while (!strong_change(arc, &old, good ? (int)new : REFCOUNT_SATURATED));
	return good ? new : new < 0 ? SETTLED_BELOW : SETTLED_ABOVE;
}

/* May call anybody: without locks. */
static void settle_report(struct arc *arc, long settled)
{
	if (settled == SETTLED_BELOW)
		arc_saturate(arc, &arc->kref.refcount, REFCOUNT_SUB_UAF, NULL);
	else if (settled == SETTLED_ABOVE)
		arc_saturate(arc, &arc->kref.refcount, REFCOUNT_ADD_OVF, NULL);
}

/* Put the bias on; not on a saturated count. @others: references that are counted elsewhere now. */
static bool strong_bias(struct arc *arc, int others)
{
	int old = strong_load(arc);

	do {
		if (old <= 0 || old >= (int)LOCAL_LIMIT)
			return false;
	} while (!strong_change(arc, &old, old + ARC_LOCAL_BIAS - others));
	return true;
}

/* Pairs with the acquire in arc_local_field(). */
static void set_field(struct arc *arc, unsigned int field)
{
	__atomic_store_n(KARC_STEPPED(&arc->field, KARC_WRITES), (u16)field, __ATOMIC_RELEASE);
}

/* From now on, or no more, get and put look at the field. */
static void set_local(struct arc *arc, bool on)
{
	u8 *flags = KARC_STEPPED(&arc->flags, KARC_WRITES);

	if (on)
		__atomic_fetch_or(flags, ARC_LOCAL, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(flags, (u8)~ARC_LOCAL, __ATOMIC_RELAXED);
}

static bool is_percpu(const struct arc *arc)
{
	return arc->type->flags & ARC_PERCPU;
}

static bool is_tracked(const struct arc *arc)
{
	return READ_ONCE(arc->flags) & ARC_TRACKED;
}

static unsigned int shared_field(const struct arc *arc)
{
	return is_tracked(arc) ? ARC_FIELD_TRACKED : ARC_FIELD_SHARED;
}

/* Counted by the owner's CPU: its id; else a number that is none. */
static unsigned int owner_of(u32 field)
{
	return field - (field >= ARC_BIASED_TRACKED ? ARC_BIASED_TRACKED : ARC_BIASED_OWNER);
}

static bool is_biased(u32 field)
{
	return owner_of(field) < MACHINE_MAX_CPUS;
}

static bool counts_by_cpu(u32 field)
{
	return field == ARC_PERCPU_LOCAL || field == ARC_PERCPU_TRACKED;
}

/* Counted by CPU no more, but the counters are not added up yet. */
static bool is_leaving(u32 field)
{
	return field == ARC_PERCPU_LEAVING || field == ARC_PERCPU_KILLING;
}

static struct local_counter *counters_of(const struct arc *arc)
{
	return (struct local_counter *)READ_ONCE(arc->link);
}

/* ---- owner-biased ---- */

static void biased_begin(struct arc *arc)
{
	const struct local_hot *hot = local_hot(this_cpu());

	/* The reference of whoever makes the object moves to cursor. */
	if (!strong_bias(arc, 1))
		return;
	WRITE_ONCE(arc->cursor, 1);
	WRITE_ONCE(arc->link, (struct arc *)((unsigned long)&arc->cursor - hot->row));
	set_local(arc, true);
	set_field(arc, smp_processor_id() +
		  (is_tracked(arc) ? ARC_BIASED_TRACKED : ARC_BIASED_OWNER));
}

/* On the owner's CPU, without a safe point since that was seen: I2. */
static void biased_end(struct arc *arc)
{
	u32 nr = READ_ONCE(arc->cursor);

	set_field(arc, shared_field(arc));
	set_local(arc, false);
	WRITE_ONCE(arc->link, NULL);
	settle_report(arc, strong_settle(arc, nr));
}

/* Is this the owner's CPU? Then nobody else changes the field. */
static bool biased_here(const struct arc *arc)
{
	return owner_of(arc_local_field(arc)) == this_cpu()->id;
}

static void biased_end_here(void *info)
{
	struct arc *arc = info;
	struct cpu *cpu = this_cpu();

	KARC_CPU_KEEPS(cpu);
	if (biased_here(arc))
		biased_end(arc);
	KARC_CPU_MAY_SWITCH(cpu);
}

/* Make the owner's CPU end it. A reference is held. Context: may wait. */
static void biased_ask(struct arc *arc)
{
	u32 field = arc_local_field(arc);

	if (is_biased(field))
		smp_call_function_single((int)owner_of(field), biased_end_here, arc, 1);
}

/* The reference moves to the queue. Without memory it stays, and the object with it. */
static void biased_queue(struct arc *arc)
{
	struct refcount_hot *hot = refcount_hot();
	struct local_put *put = hostmem_alloc(NULL, sizeof(*put));

	if (WARN_ONCE(!put, "arc: no memory for a put in atomic context; leaking %s",
		      arc->type->name))
		return;
	put->arc = arc;
	put->next = READ_ONCE(hot->queued);
	/* Pairs with the acquire in queue_run(). */
	while (!try_cmpxchg_release(&hot->queued, &put->next, put))
		;
	cpu_set_pending(this_cpu(), CPU_PENDING_DEFERRED);
}

/*
 * A put on a CPU that is not the owner's. The field is looked at after the strong half: it changes
 * before the bias goes, so what is seen with an owner, and is still there, has the bias.
 */
static bool biased_put(struct arc *arc)
{
	int old = strong_load(arc);

	while (is_biased(arc_local_field(arc)) && old > 0) {
		if (old > ARC_LOCAL_BIAS) {
			if (strong_change(arc, &old, old - 1))
				return true;
		} else if (preemptible()) {
			biased_ask(arc);
			return false;
		} else {
			biased_queue(arc);
			return true;
		}
	}
	return false;
}

static unsigned long queue_run(struct refcount_hot *hot)
{
	struct local_put *put, *next;
	unsigned long nr = 0;

	if (!READ_ONCE(hot->queued))
		return 0;
	for (put = xchg_acquire(&hot->queued, NULL); put; put = next, nr++) {
		struct arc *arc = put->arc;

		next = put->next;
		hostmem_free(NULL, put);
		biased_ask(arc);
		if (arc_put_shared(arc, NULL))
			(arc_last_put)(arc);
	}
	return nr;
}

unsigned long local_run_queued(void)
{
	return queue_run(refcount_hot());
}

/* ---- per CPU ---- */

static void percpu_set_local(struct arc *arc)
{
	set_local(arc, true);
	set_field(arc, is_tracked(arc) ? ARC_PERCPU_TRACKED : ARC_PERCPU_LOCAL);
}

/* Under local->lock. */
static void percpu_begin(struct machine *m, struct arc *arc)
{
	struct local_counter *counters = local_counts_alloc(m);

	set_field(arc, shared_field(arc));
	if (!counters)
		return;
	if (!strong_bias(arc, 0)) {
		local_counts_free(counters);
		return;
	}
	local_slot_of(counters)->arc = arc;
	WRITE_ONCE(arc->link, (struct arc *)counters);
	percpu_set_local(arc);
}

/*
 * A quiet point found the sum to be zero: if that is so now, after the grace period, this was the
 * last put. Else CPUs count on, from where they are.
 */
static bool percpu_is_last(struct arc *arc, long sum)
{
	int old = strong_load(arc);

	do {
		if (old < 0 || old - ARC_LOCAL_BIAS + sum != 0)
			return false;
	} while (!strong_change(arc, &old, 0));
	return true;
}

static unsigned int killed_field(const struct arc *arc)
{
	return is_tracked(arc) ? ARC_PERCPU_DEAD_TRACKED : ARC_PERCPU_KILLED;
}

/*
 * Under local->lock: the counters are final (I4). As strong_settle(); 1 when CPUs count on. Taking
 * the bias off comes last: somebody else's put may be the end of the object from then on.
 */
static long percpu_settle(struct machine *m, struct arc *arc, struct local_slot *slot)
{
	bool killed = arc_local_field(arc) == ARC_PERCPU_KILLING;
	struct local_counter *counters = counters_of(arc);
	long sum = local_counts_sum(m, counters);

	if (slot->guess && !percpu_is_last(arc, sum)) {
		percpu_set_local(arc);
		return 1;
	}
	WRITE_ONCE(arc->link, NULL);
	set_field(arc, killed ? killed_field(arc) : shared_field(arc));
	local_counts_free(counters);
	return slot->guess ? 0 : strong_settle(arc, sum);
}

/* The grace period after percpu_leave() is over. */
static void percpu_seen(struct rcu_head *rcu)
{
	struct local_slot *slot = container_of(rcu, struct local_slot, rcu);
	struct machine *m = this_machine();
	struct local_state *l = local_of(m);
	struct arc *arc = slot->arc;
	void (*confirm)(struct arc *arc);
	unsigned long flags;
	long left;

	spin_lock_irqsave(&l->lock, flags);
	while ((confirm = slot->confirm)) {	/* the bias holds the object meanwhile */
		slot->confirm = NULL;
		spin_unlock_irqrestore(&l->lock, flags);
		confirm(arc);
		spin_lock_irqsave(&l->lock, flags);
	}
	left = percpu_settle(m, arc, slot);
	spin_unlock_irqrestore(&l->lock, flags);
	wake_up_all(&l->settled);
	settle_report(arc, left);
	if (!left)
		(arc_last_put)(arc);
}

/* Under local->lock, counted by CPU. */
static void percpu_leave(struct arc *arc, bool guess)
{
	struct local_slot *slot = local_slot_of(counters_of(arc));

	set_field(arc, ARC_PERCPU_LEAVING);
	set_local(arc, false);
	slot->guess = guess;
	call_rcu(&slot->rcu, percpu_seen);
}

/* Under local->lock. False: it is killed already. *@now: nobody has to be waited for. */
static bool percpu_kill(struct arc *arc, void (*confirm)(struct arc *arc), bool *now)
{
	struct local_slot *slot;

	if (counts_by_cpu(arc_local_field(arc)))
		percpu_leave(arc, false);
	*now = arc_local_field(arc) == shared_field(arc);
	if (*now) {
		set_field(arc, killed_field(arc));
		return true;
	}
	if (arc_local_field(arc) != ARC_PERCPU_LEAVING)
		return false;
	slot = local_slot_of(counters_of(arc));
	slot->confirm = confirm;
	slot->guess = false;
	set_field(arc, ARC_PERCPU_KILLING);
	return true;
}

void KARC_BODY(arc_kill_site)(struct arc *arc, void (*confirm)(struct arc *arc),
			      const struct site *site)
{
	struct local_state *l = local_of(this_machine());
	bool done, now = false;
	unsigned long flags;

	if (!is_percpu(arc)) {
		arc_fault_tell(ARC_FAULT_LOCAL, arc, site, "arc_kill: %s is not ARC_PERCPU: "
			       "its last put needs no kill", arc->type->name);
		return;
	}
	spin_lock_irqsave(&l->lock, flags);
	done = arc->state == ARC_LIVE && percpu_kill(arc, confirm, &now);
	spin_unlock_irqrestore(&l->lock, flags);
	if (!done) {
		arc_fault_tell(ARC_FAULT_KILLED_TWICE, arc, site, "arc_kill: %s is killed already",
			       arc->type->name);
		return;
	}
	if (now && confirm)
		confirm(arc);
	arc_put_site(arc, site);
}

/* With the lock: the bias goes a little later than the field changes. */
static bool percpu_is_settled(struct local_state *l, const struct arc *arc)
{
	unsigned long flags;
	bool settled;

	spin_lock_irqsave(&l->lock, flags);
	settled = !is_leaving(arc_local_field(arc));
	spin_unlock_irqrestore(&l->lock, flags);
	return settled;
}

static void percpu_wait(struct local_state *l, struct arc *arc)
{
	might_sleep();
	wait_event(l->settled, percpu_is_settled(l, arc));
}

struct arc *arc_reinit_site(struct arc *arc, const struct site *site)
{
	struct machine *m = this_machine();
	struct local_state *l = local_of(m);
	unsigned long flags;
	bool done;

	if (is_percpu(arc))
		percpu_wait(l, arc);
	spin_lock_irqsave(&l->lock, flags);
	done = is_percpu(arc) && arc->state == ARC_LIVE &&
	       arc_local_field(arc) == killed_field(arc);
	if (done)
		percpu_begin(m, arc);
	spin_unlock_irqrestore(&l->lock, flags);
	if (!done) {
		arc_fault_tell(ARC_FAULT_LOCAL, arc, site, "arc_reinit: %s is not killed",
			       arc->type->name);
		return NULL;
	}
	return arc_get_site(arc, site);
}

static bool percpu_is_killed(const struct arc *arc)
{
	u32 field = arc_local_field(arc);

	return is_percpu(arc) && (field == ARC_PERCPU_KILLING || field == killed_field(arc));
}

bool arc_is_killed(const struct arc *arc)
{
	return READ_ONCE(arc->state) != ARC_LIVE || percpu_is_killed(arc);
}

struct arc *arc_tryget_live_site(struct arc *arc, const struct site *site)
{
	return percpu_is_killed(arc) ? NULL : arc_tryget_site(arc, site);
}

/* ---- both ---- */

void arc_local_begin(struct arc *arc)
{
	struct machine *m = this_machine();
	unsigned long flags;

	if (!is_percpu(arc)) {
		biased_begin(arc);
		return;
	}
	spin_lock_irqsave(&local_of(m)->lock, flags);
	percpu_begin(m, arc);
	spin_unlock_irqrestore(&local_of(m)->lock, flags);
}

/* On this CPU's counter of a tracked object, or past what ->nr may be; false: of no such object. */
static bool percpu_add(struct arc *arc, long nr)
{
	struct cpu *cpu = this_cpu();
	struct local_counter *at;
	bool counted;

	KARC_CPU_KEEPS(cpu);
	counted = counts_by_cpu(arc_local_field(arc));
	if (counted) {
		at = counter_on(counters_of(arc), cpu->id);
		nr += READ_ONCE(at->carry) + (long)READ_ONCE(at->nr) - (long)LOCAL_FIRST;
		WRITE_ONCE(at->nr, LOCAL_FIRST);
		WRITE_ONCE(at->carry, nr);
	}
	KARC_CPU_MAY_SWITCH(cpu);
	return counted;
}

/*
 * The owner's count, of a tracked object or at its limits: when it comes to zero, or gets so large
 * that the strong half has to saturate in time, it ends, and this returns false, as on other CPUs
 * and for objects without an owner.
 */
static bool biased_add(struct arc *arc, u32 nr)
{
	struct cpu *cpu = this_cpu();
	bool counted = false;

	KARC_CPU_KEEPS(cpu);
	if (biased_here(arc)) {
		nr += READ_ONCE(arc->cursor);
		counted = nr - 1 < LOCAL_LIMIT - 1;
		if (counted)
			WRITE_ONCE(arc->cursor, nr);
		else
			biased_end(arc);
	}
	KARC_CPU_MAY_SWITCH(cpu);
	return counted;
}

bool local_get(struct arc *arc)
{
	return percpu_add(arc, 1) || biased_add(arc, 1);
}

bool local_put(struct arc *arc)
{
	return percpu_add(arc, -1) || biased_add(arc, -1U) || biased_put(arc);
}

bool arc_local_exact(struct arc *arc)
{
	struct local_state *l = local_of(this_machine());
	unsigned long flags;

	if (!is_percpu(arc)) {
		if (preemptible())
			biased_ask(arc);
		else
			biased_end_here(arc);
		return !is_biased(arc_local_field(arc));
	}
	if (!preemptible())
		return !counts_by_cpu(arc_local_field(arc)) && !is_leaving(arc_local_field(arc));
	spin_lock_irqsave(&l->lock, flags);
	if (counts_by_cpu(arc_local_field(arc)))
		percpu_leave(arc, false);
	else if (is_leaving(arc_local_field(arc)))
		local_slot_of(counters_of(arc))->guess = false;
	spin_unlock_irqrestore(&l->lock, flags);
	percpu_wait(l, arc);
	return true;
}

/* Under local->lock: the field, the counters and the bias change together. */
static long percpu_count(const struct arc *arc)
{
	u32 field = arc_local_field(arc);
	long strong = strong_load(arc);

	if (strong < 0 || !(counts_by_cpu(field) || is_leaving(field)))
		return strong;
	return strong - ARC_LOCAL_BIAS + local_counts_sum(this_machine(), counters_of(arc));
}

long arc_local_count(const struct arc *arc)
{
	struct local_state *l = local_of(this_machine());
	unsigned long flags;
	long count;

	if (!is_percpu(arc)) {
		count = strong_load(arc);
		if (!(arc->type->flags & ARC_BIASED))
			return count;
		/* The owner's count goes when the bias has gone, whatever the field says. */
		return count < ARC_LOCAL_BIAS / 2 ? count :
			count - ARC_LOCAL_BIAS + (long)READ_ONCE(arc->cursor);
	}
	spin_lock_irqsave(&l->lock, flags);
	count = percpu_count(arc);
	spin_unlock_irqrestore(&l->lock, flags);
	return count;
}

/* ---- functions of the macros' names ---- */

struct arc *(arc_get_hot)(struct arc *arc)
{
	return arc_get_hot_site(arc, NULL);
}

void (arc_put_hot)(struct arc *arc)
{
	arc_put_hot_site(arc, NULL);
}

void (arc_kill)(struct arc *arc, void (*confirm)(struct arc *arc))
{
	arc_kill_site(arc, confirm, NULL);
}

struct arc *(arc_reinit)(struct arc *arc)
{
	return arc_reinit_site(arc, NULL);
}

struct arc *(arc_tryget_live)(struct arc *arc)
{
	return arc_tryget_live_site(arc, NULL);
}

/* ---- the room ---- */

void local_init(struct machine *m)
{
	struct local_state *l = local_of(m);
	unsigned int i;

	for (i = 0; i < machine_nr_cpus(m); i++)
		refcount_hot_of(m, i)->local = (struct local_hot){
			.row = (unsigned long)i << LOCAL_STRIDE_SHIFT,
			.owner = (ARC_BIASED_OWNER + i) << 16,
		};
	spin_lock_init_rank(&l->lock, LR_LEDGER);
	init_waitqueue_head(&l->settled);
	INIT_LIST_HEAD(&l->refs);
}

void local_exit(struct machine *m)
{
	struct local_state *l = local_of(m);
	struct local_chunk *chunk;

	percpu_refs_exit(m, l);
	while ((chunk = l->chunks)) {
		l->chunks = chunk->next;
		chunk_destroy(chunk);
	}
}

/* The objects of ->arc in @chunk's slots, one after the other; NULL when there are no more. */
static struct arc *chunk_next(struct local_chunk *chunk, unsigned int *at)
{
	struct arc *arc = NULL;

	while (!arc && *at < CHUNK_SLOTS) {
		if (chunk->used >> *at & 1)
			arc = chunk->slot[*at].arc;
		++*at;
	}
	return arc;
}

/* Objects that seem to have no reference: ask all CPUs whether it is so. */
static unsigned long percpu_guess(struct local_state *l)
{
	struct local_chunk *chunk;
	unsigned long flags, nr = 0;
	struct arc *arc;
	unsigned int at;

	spin_lock_irqsave(&l->lock, flags);
	for (chunk = l->chunks; chunk; chunk = chunk->next) {
		for (at = 0; (arc = chunk_next(chunk, &at)); ) {
			if (!counts_by_cpu(arc_local_field(arc)) || percpu_count(arc))
				continue;
			percpu_leave(arc, true);
			nr++;
		}
	}
	spin_unlock_irqrestore(&l->lock, flags);
	return nr;
}

unsigned long local_drain(struct machine *m)
{
	unsigned long nr = percpu_guess(local_of(m));
	unsigned int i;

	for (i = 0; i < machine_nr_cpus(m); i++)
		nr += queue_run(refcount_hot_of(m, i));
	return nr;
}

void local_check(struct machine *m, struct check_report *report)
{
	struct local_state *l = local_of(m);
	struct local_chunk *chunk;
	struct arc *arc;
	unsigned int at;

	for (chunk = l->chunks; chunk; chunk = chunk->next) {
		for (at = 0; (arc = chunk_next(chunk, &at)); ) {
			if (arc->state != ARC_LIVE || !is_percpu(arc) ||
			    local_slot_of(counters_of(arc)) != &chunk->slot[at - 1])
				check_fail(report, "local: a counter of %p, which does not use it",
					   (void *)arc);
			else if (arc_local_count(arc) < 0 && strong_load(arc) > 0)
				check_fail(report, "local: I1: %s: %ld references",
					   arc->type->name, arc_local_count(arc));
		}
	}
	percpu_refs_check(m, l, report);
}
