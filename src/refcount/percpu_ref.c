/* SPDX-License-Identifier: MIT */
/*
 * percpu_ref.c - Linux's per-CPU reference counts: their modes and how they change
 *
 * What it is      One word tells the mode: the address of CPU 0's counter, or that and
 *                 __PERCPU_REF_ATOMIC, __PERCPU_REF_DEAD. In per-CPU mode the atomic count holds
 *                 a bias, so it cannot come to zero; a switch to atomic mode sets the bit, waits
 *                 for a grace period, adds the counters and takes the bias off.
 * Objects         ref -> data (host memory, on local_state.refs) ; ref -> counters (local.c)
 * Invariants      I1  references = count + counters - bias while counters are in use or are still
 *                     to be added up; else references = count.
 *                 I2  ops.confirm is set from the begin of a switch to atomic mode until the
 *                     counters are added up; no other switch begins meanwhile.
 *                 I3  A switch under way holds a reference of its own: release does not run
 *                     before confirm has returned.
 *                 I4  Who reads the word without the atomic bit adds to its CPU's counter before
 *                     its next safe point, hence before the grace period ends.
 * Locking         local->lock (LR_LEDGER, interrupts off): the word, ops.confirm, force_atomic,
 *                 the list. Released around confirm and release.
 * Life            init -> per-CPU <-switch-> atomic; kill: dead and atomic -last put-> release
 *                 -> exit, or reinit. Without PERCPU_REF_ALLOW_REINIT the counters go with the
 *                 kill.
 * Worst case      A switch that finds another one under way sleeps until that is over.
 * Unlike Linux    The lock is the machine's, confirm and release are never called under it. A
 *                 second kill is ignored after its warning, where Linux puts once more. Counters
 *                 that do not add up are reported with the place that set the ref up. Without
 *                 PERCPU_REF_ALLOW_REINIT a ref that was switched to atomic mode is not dead.
 */
#include <karc/base/hostmem.h>
#include <karc/hw/inject.h>
#include <karc/hw/wait.h>
#include <karc/refcount/percpu_ref.h>
#include <limits.h>

#include "internal.h"

#define REF_BIAS	LONG_MIN

static struct local_state *local_here(void)
{
	return &refcount_state(this_machine())->local;
}

static void no_confirm(struct percpu_ref *ref)
{
	(void)ref;
}

static unsigned long word_of(const struct percpu_ref *ref)
{
	return READ_ONCE(ref->percpu_count_ptr);
}

static void set_word(struct percpu_ref *ref, unsigned long word)
{
	__atomic_store_n(KARC_STEPPED(&ref->percpu_count_ptr, KARC_WRITES), word,
			 __ATOMIC_RELEASE);
}

/* Its counters, of which it uses ->carry; NULL: none any more. */
static struct local_counter *counters_of(const struct percpu_ref *ref)
{
	unsigned long carry = word_of(ref) & ~(unsigned long)__PERCPU_REF_ATOMIC_DEAD;

	return carry ? container_of((long *)carry, struct local_counter, carry) : NULL;
}

/* ---- set up and end ---- */

static struct percpu_ref_data *data_create(percpu_ref_func_t *release, unsigned int flags,
					   const struct site *site)
{
	struct percpu_ref_data *data;

	data = inject_fail() ? NULL : hostmem_zalloc(NULL, sizeof(*data));
	if (!data)
		return NULL;
	data->ops.release = release;
	data->site = site;
	data->force_atomic = flags & PERCPU_REF_INIT_ATOMIC;
	data->allow_reinit = flags;	/* any flag: it may be switched to per-CPU mode later */
	return data;
}

/* Under the lock. */
static int ref_begin(struct local_state *l, struct percpu_ref *ref, struct percpu_ref_data *data,
		     unsigned int flags)
{
	struct local_counter *counters = local_counts_alloc(this_machine());
	unsigned long word;
	long count = 0;

	if (!counters)
		return -ENOMEM;
	word = (unsigned long)&counters->carry;
	if (flags & (PERCPU_REF_INIT_ATOMIC | PERCPU_REF_INIT_DEAD))
		word |= __PERCPU_REF_ATOMIC;
	else
		count += REF_BIAS;
	if (flags & PERCPU_REF_INIT_DEAD)
		word |= __PERCPU_REF_DEAD;
	else
		count++;
	atomic_long_set(&data->count, count);
	data->ref = ref;
	list_add_tail(&data->node, &l->refs);
	ref->data = data;
	set_word(ref, word);
	return 0;
}

int percpu_ref_init_site(struct percpu_ref *ref, percpu_ref_func_t *release, unsigned int flags,
			 gfp_t gfp, const struct site *site)
{
	struct local_state *l = local_here();
	struct percpu_ref_data *data = data_create(release, flags, site);
	unsigned long irqs;
	int err;

	(void)gfp;
	if (!data)
		return -ENOMEM;
	spin_lock_irqsave(&l->lock, irqs);
	err = ref_begin(l, ref, data, flags);
	spin_unlock_irqrestore(&l->lock, irqs);
	if (err)
		hostmem_free(NULL, data);
	return err;
}

int (percpu_ref_init)(struct percpu_ref *ref, percpu_ref_func_t *release, unsigned int flags,
		      gfp_t gfp)
{
	return percpu_ref_init_site(ref, release, flags, gfp, NULL);
}

/* Under the lock: no CPU counts by itself any more, nor will. */
static void drop_counters(struct percpu_ref *ref)
{
	if (counters_of(ref))
		local_counts_free(counters_of(ref));
	set_word(ref, word_of(ref) & __PERCPU_REF_ATOMIC_DEAD);
}

void percpu_ref_exit(struct percpu_ref *ref)
{
	struct local_state *l = local_here();
	struct percpu_ref_data *data;
	unsigned long irqs, count;
	bool early;

	spin_lock_irqsave(&l->lock, irqs);
	data = ref->data;
	early = data && data->ops.confirm;
	if (early)	/* a callback of RCU is still to come: leaked, rather than freed under it */
		data = NULL;
	if (data) {
		drop_counters(ref);
		count = (unsigned long)atomic_long_read(&data->count);
		set_word(ref, __PERCPU_REF_ATOMIC_DEAD | count << __PERCPU_REF_FLAG_BITS);
		ref->data = NULL;
		list_del(&data->node);
	}
	spin_unlock_irqrestore(&l->lock, irqs);
	if (early)
		arc_fault_tell(ARC_FAULT_LOCAL, NULL, NULL,
			       "percpu_ref_exit: a switch is under way; leaking it");
	hostmem_free(NULL, data);
}

/* ---- modes ---- */

/* Take the lock at a time when no switch is under way (I2). */
static void lock_settled(struct local_state *l, struct percpu_ref *ref, unsigned long *irqs)
{
	struct percpu_ref_data *data = ref->data;

	spin_lock_irqsave(&l->lock, *irqs);
	while (data->ops.confirm) {
		spin_unlock_irqrestore(&l->lock, *irqs);
		wait_event(l->settled, !READ_ONCE(data->ops.confirm));
		spin_lock_irqsave(&l->lock, *irqs);
	}
}

static void add_up(struct percpu_ref *ref)
{
	struct percpu_ref_data *data = ref->data;
	long sum = local_counts_sum(this_machine(), counters_of(ref));
	long count = atomic_long_add_return((long)((unsigned long)sum - (unsigned long)REF_BIAS),
					    &data->count);

	if (count <= 0)
		arc_fault_tell(ARC_FAULT_UNDERFLOW, NULL, NULL,
			       "percpu_ref of %s:%u: %ld references: put more than was got",
			       data->site ? data->site->file : "?",
			       data->site ? data->site->line : 0, count);
}

/* The grace period is over: the counters are final (I4). */
static void all_atomic(struct rcu_head *rcu)
{
	struct percpu_ref_data *data = container_of(rcu, struct percpu_ref_data, rcu);
	struct local_state *l = local_here();
	struct percpu_ref *ref = data->ref;
	unsigned long irqs;

	add_up(ref);
	data->ops.confirm(ref);
	spin_lock_irqsave(&l->lock, irqs);
	WRITE_ONCE(data->ops.confirm, NULL);
	if (!data->allow_reinit)
		drop_counters(ref);
	spin_unlock_irqrestore(&l->lock, irqs);
	wake_up_all(&l->settled);
	percpu_ref_put(ref);	/* that of the switch, I3 */
}

/* Under the lock. True when it is atomic already and @confirm is the caller's to call. */
static bool to_atomic(struct percpu_ref *ref, percpu_ref_func_t *confirm)
{
	struct percpu_ref_data *data = ref->data;

	if (word_of(ref) & __PERCPU_REF_ATOMIC)
		return true;
	set_word(ref, word_of(ref) | __PERCPU_REF_ATOMIC);
	WRITE_ONCE(data->ops.confirm, confirm ? confirm : no_confirm);
	percpu_ref_get(ref);
	call_rcu(&data->rcu, all_atomic);
	return false;
}

/* Under the lock. False: the counters are gone. */
static bool to_percpu(struct percpu_ref *ref)
{
	if (!(word_of(ref) & __PERCPU_REF_ATOMIC))
		return true;
	if (!ref->data->allow_reinit)
		return false;
	local_counts_clear(this_machine(), counters_of(ref));
	atomic_long_add(REF_BIAS, &ref->data->count);
	set_word(ref, word_of(ref) & ~(unsigned long)__PERCPU_REF_ATOMIC);
	return true;
}

enum change {
	CHANGE_LATER,		/* RCU calls confirm */
	CHANGE_NOW,		/* it is atomic already: confirm is the caller's to call */
	CHANGE_DONE,
	CHANGE_REFUSED,
};

/* Under the lock, no switch under way: into the mode that the flags ask for. */
static enum change change_mode(struct percpu_ref *ref, percpu_ref_func_t *confirm)
{
	if (ref->data->force_atomic || percpu_ref_is_dying(ref))
		return to_atomic(ref, confirm) ? CHANGE_NOW : CHANGE_LATER;
	return to_percpu(ref) ? CHANGE_DONE : CHANGE_REFUSED;
}

/* Without the lock: what is left of it. */
static void change_end(struct percpu_ref *ref, enum change change, percpu_ref_func_t *confirm)
{
	if (change == CHANGE_NOW && confirm)
		confirm(ref);
	if (change == CHANGE_REFUSED)
		arc_fault_tell(ARC_FAULT_LOCAL, NULL, NULL,
			       "percpu_ref: per-CPU mode again needs PERCPU_REF_ALLOW_REINIT");
}

static void switch_mode(struct percpu_ref *ref, bool atomic, percpu_ref_func_t *confirm)
{
	struct local_state *l = local_here();
	enum change change;
	unsigned long irqs;

	lock_settled(l, ref, &irqs);
	ref->data->force_atomic = atomic;
	change = change_mode(ref, confirm);
	spin_unlock_irqrestore(&l->lock, irqs);
	change_end(ref, change, confirm);
}

void percpu_ref_switch_to_atomic(struct percpu_ref *ref, percpu_ref_func_t *confirm)
{
	switch_mode(ref, true, confirm);
}

void percpu_ref_switch_to_atomic_sync(struct percpu_ref *ref)
{
	might_sleep();
	switch_mode(ref, true, NULL);
	wait_event(local_here()->settled, !READ_ONCE(ref->data->ops.confirm));
}

void percpu_ref_switch_to_percpu(struct percpu_ref *ref)
{
	switch_mode(ref, false, NULL);
}

void percpu_ref_kill_and_confirm(struct percpu_ref *ref, percpu_ref_func_t *confirm)
{
	struct local_state *l = local_here();
	enum change change = CHANGE_DONE;
	unsigned long irqs;
	bool again;

	lock_settled(l, ref, &irqs);
	again = percpu_ref_is_dying(ref);
	if (!again) {
		set_word(ref, word_of(ref) | __PERCPU_REF_DEAD);
		change = change_mode(ref, confirm);
	}
	spin_unlock_irqrestore(&l->lock, irqs);
	if (again) {
		arc_fault_tell(ARC_FAULT_KILLED_TWICE, NULL, NULL,
			       "percpu_ref_kill: it is killed already");
		return;
	}
	change_end(ref, change, confirm);
	percpu_ref_put(ref);
}

void percpu_ref_resurrect(struct percpu_ref *ref)
{
	struct local_state *l = local_here();
	enum change change = CHANGE_DONE;
	unsigned long irqs;
	bool dying;

	lock_settled(l, ref, &irqs);
	dying = percpu_ref_is_dying(ref);
	if (dying) {
		set_word(ref, word_of(ref) & ~(unsigned long)__PERCPU_REF_DEAD);
		percpu_ref_get(ref);
		change = change_mode(ref, NULL);
	}
	spin_unlock_irqrestore(&l->lock, irqs);
	change_end(ref, change, NULL);
	if (!dying)
		arc_fault_tell(ARC_FAULT_LOCAL, NULL, NULL,
			       "percpu_ref_resurrect: it was not killed");
}

void percpu_ref_reinit(struct percpu_ref *ref)
{
	if (!percpu_ref_is_zero(ref))
		arc_fault_tell(ARC_FAULT_LOCAL, NULL, NULL,
			       "percpu_ref_reinit: there are references left");
	percpu_ref_resurrect(ref);
}

bool percpu_ref_is_zero(struct percpu_ref *ref)
{
	struct local_state *l = local_here();
	unsigned long irqs, word, count;

	spin_lock_irqsave(&l->lock, irqs);
	word = word_of(ref);
	count = ref->data ? (unsigned long)atomic_long_read(&ref->data->count) :
		word >> __PERCPU_REF_FLAG_BITS;
	spin_unlock_irqrestore(&l->lock, irqs);
	return (word & __PERCPU_REF_ATOMIC_DEAD) && !count;
}

/* ---- the room ---- */

void percpu_refs_exit(struct machine *m, struct local_state *l)
{
	struct percpu_ref_data *data, *next;

	list_for_each_entry_safe(data, next, &l->refs, node) {
		machine_report_left(m, "percpu_ref", data->site, 1, sizeof(*data));
		hostmem_free(NULL, data);
	}
	INIT_LIST_HEAD(&l->refs);
}

void percpu_refs_check(struct machine *m, struct local_state *l, struct check_report *report)
{
	struct percpu_ref_data *data;
	long count;

	list_for_each_entry(data, &l->refs, node) {
		count = atomic_long_read(&data->count);
		if (!(word_of(data->ref) & __PERCPU_REF_ATOMIC_DEAD) || data->ops.confirm)
			count = (long)((unsigned long)count - (unsigned long)REF_BIAS +
				       (unsigned long)local_counts_sum(m, counters_of(data->ref)));
		if (data->ref->data != data || count < 0)
			check_fail(report, "percpu_ref of %s:%u: I1: %ld references",
				   data->site ? data->site->file : "?",
				   data->site ? data->site->line : 0, count);
	}
}
