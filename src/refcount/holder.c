/* SPDX-License-Identifier: MIT */
/*
 * holder.c - a record for each reference
 *
 * What it is      With machine_config.holders each reference of each arc has a record: who holds
 *                 it, where it was taken and by which callers. The count says how many references
 *                 there are, the records say whose. References are not marked, so which record a
 *                 put ends is a rule and not a fact; the rules below keep the mistakes harmless:
 *                 the number of records is right whoever puts what, and a record that went to the
 *                 wrong party comes right when that party puts.
 * Objects         buckets -> holder_set (one for each tracked arc) -> records, oldest first
 *                 by_task -> records of one task         all -> every record, oldest first
 *                 pairs -> records of one task or field on one object, latest first
 * Rules           get     a record of the running task, or of the interrupt that runs
 *                 put     ends, of the first kind that there is: what the running task (or
 *                         interrupt) got or was handed last; one without record; a field's; one
 *                         that an ended task forgot; an interrupt's; another task's; a root's.
 *                         Of others, the oldest.
 *                         A field comes before other tasks, for whoever empties a field by hand
 *                         puts what others put into it, and because a field whose record is gone
 *                         gets another one when somebody settles (holder_settle.c).
 *                 teardown of a field  ends that field's record; without one, the oldest of any
 *                         task, for what lies in a field was taken long ago; then as a put.
 *                 handing changes whose the record is that a put of the running task would end.
 * Invariants      I1  A set exists for each live arc with ARC_TRACKED.
 *                 I2  At a quiet point an object has as many records, and references without one,
 *                     as its count says, unless its kref was used directly.
 *                 I3  Records of TASK kind are in by_task and pairs, of FIELD kind in pairs,
 *                     others in neither.
 * Locking         One lock for all, held for a few steps without a safe point: it needs no rank,
 *                 masks no interrupts (they come at safe points only), and is not taken at all in
 *                 deterministic mode, where one host thread plays all CPUs. Nothing is called and
 *                 no memory is asked for under it.
 * Worst case      A get, put or hand looks at one bucket, or at the oldest of a kind; the tables
 *                 double as they fill. At most HOLDER_RECORDS_MAX records; a reference beyond, or
 *                 without host memory, is counted and has none: objects with such references are
 *                 never reason to accuse a task.
 * Unlike Linux    ref_tracker records what is told; this is for every reference of every arc.
 */
#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/hw/stacktrace.h>
#include <karc/refcount/graph.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "holder_internal.h"

#define FIRST_BUCKETS	256u
#define FREE_MAX	512u

/* ---- the lock ---- */

void holders_lock(struct holders *h)
{
	while (h->parallel && __atomic_exchange_n(&h->held, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

void holders_unlock(struct holders *h)
{
	if (h->parallel)
		__atomic_store_n(&h->held, 0, __ATOMIC_RELEASE);
}

/* ---- sets ---- */

static u64 hash_of(const void *p)
{
	return (u64)(uintptr_t)p * 0x9e3779b97f4a7c15ULL >> 32;
}

static struct holder_set **set_bucket(const struct holders *h, const struct arc *arc)
{
	return &h->buckets[hash_of(arc) & (h->nr_buckets - 1)];
}

struct holder_set *holder_find_set(const struct holders *h, const struct arc *arc)
{
	struct holder_set *set = *set_bucket(h, arc);

	while (set && set->arc != arc)
		set = set->chain;
	return set;
}

struct list_head *holder_task_bucket(struct holders *h, const void *task)
{
	return &h->by_task[hash_of(task) & (HOLDER_TASK_BUCKETS - 1)];
}

struct list_head *holder_pair_bucket(const struct holders *h, const void *key,
				     const struct arc *arc)
{
	const char *pair = (const char *)((uintptr_t)key ^ (uintptr_t)arc << 7);

	return &h->pairs[hash_of(pair) & (h->nr_pairs - 1)];
}

/* Into @buckets, which are twice as many; what was there is returned. */
static struct holder_set **move_sets(struct holders *h, struct holder_set **buckets)
{
	struct holder_set **old = h->buckets, **at, *set;
	unsigned int i, nr = h->nr_buckets;

	h->buckets = buckets;
	h->nr_buckets = 2 * nr;
	for (i = 0; i < nr; i++) {
		while ((set = old[i])) {
			old[i] = set->chain;
			at = set_bucket(h, set->arc);
			set->chain = *at;
			*at = set;
		}
	}
	return old;
}

static void move_pairs(struct holders *h, struct list_head *pairs)
{
	struct holder_record *r;

	h->pairs = pairs;
	h->nr_pairs *= 2;
	list_for_each_entry(r, &h->all, all) {
		if (r->h.kind == HOLDER_TASK || r->h.kind == HOLDER_FIELD)
			list_add(&r->of_pair, holder_pair_bucket(h, r->key, r->set->arc));
	}
}

/* Without memory the chains get longer. */
static void grow_sets(struct holders *h)
{
	struct holder_set **buckets;
	unsigned int nr;
	bool full;

	holders_lock(h);
	nr = h->nr_buckets;
	full = h->nr_sets >= nr;
	holders_unlock(h);
	if (!full)
		return;
	buckets = hostmem_zalloc(NULL, 2UL * nr * sizeof(*buckets));
	if (!buckets)
		return;
	holders_lock(h);
	if (h->nr_buckets == nr)
		buckets = move_sets(h, buckets);
	holders_unlock(h);
	hostmem_free(NULL, buckets);
}

static void init_lists(struct list_head *lists, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		INIT_LIST_HEAD(&lists[i]);
}

static void grow_pairs(struct holders *h)
{
	struct list_head *pairs, *old;
	unsigned int nr;
	bool full;

	holders_lock(h);
	nr = h->nr_pairs;
	full = h->nr_records >= nr;
	holders_unlock(h);
	if (!full)
		return;
	old = pairs = hostmem_alloc(NULL, 2UL * nr * sizeof(*pairs));
	if (!pairs)
		return;
	init_lists(pairs, 2 * nr);
	holders_lock(h);
	if (h->nr_pairs == nr) {
		old = h->pairs;
		move_pairs(h, pairs);
	}
	holders_unlock(h);
	hostmem_free(NULL, old);
}

/* ---- who ---- */

static void describe_task(struct holders *h, const void *task, bool self, struct holder_who *who)
{
	const struct holder_tasks *tasks = READ_ONCE(h->tasks);

	who->key = task;
	who->is_pid = true;
	who->id = 0;
	who->name[0] = '\0';
	tasks->ops.describe(task, self, who->name, sizeof(who->name), &who->id);
}

static void describe_fiber(const struct fiber *f, struct holder_who *who)
{
	who->key = f;
	who->is_pid = false;
	who->id = f->id;
	snprintf(who->name, sizeof(who->name), "%s", f->name);
}

struct holder_who holder_who(struct holders *h)
{
	struct holder_who who = { .kind = HOLDER_TASK };
	const struct fiber *self = this_cpu()->fiber;

	if (in_hardirq() || in_serving_softirq()) {
		who.kind = in_hardirq() ? HOLDER_HARDIRQ : HOLDER_SOFTIRQ;
		who.id = smp_processor_id();
	} else if (self->task && READ_ONCE(h->tasks)) {
		describe_task(h, self->task, true, &who);
	} else {
		describe_fiber(self, &who);
	}
	return who;
}

bool holder_is_own(const struct holder_record *r, const struct holder_who *who, bool user)
{
	if (r->h.user != user || r->h.kind != who->kind)
		return false;
	return who->kind == HOLDER_TASK ? r->key == who->key : r->h.id == who->id;
}

/* ---- records ---- */

/* Not called with the lock held: it may ask the host for memory. */
static struct holder_record *record_alloc(struct holders *h)
{
	struct holder_record *r = NULL;
	bool full;

	holders_lock(h);
	full = h->nr_records >= HOLDER_RECORDS_MAX;
	if (!full && h->nr_free) {
		r = list_first_entry(&h->free, struct holder_record, all);
		list_del(&r->all);
		h->nr_free--;
	}
	holders_unlock(h);
	if (!r && !full)
		r = hostmem_alloc(machine_hostmem(h->machine), sizeof(*r));
	return r;
}

/* Under the lock, or the machine is frozen: whose it is. */
static void record_set_kind(struct holders *h, struct holder_record *r, enum holder_kind kind,
			    const void *key)
{
	r->h.kind = kind;
	r->h.owner = NULL;
	r->h.owner_type = NULL;
	r->h.label = NULL;
	r->key = key;
	list_del_init(&r->of_task);
	list_del_init(&r->of_pair);
	list_move_tail(&r->of_kind, &r->set->kinds[kind]);
	if (kind == HOLDER_TASK)
		list_add_tail(&r->of_task, holder_task_bucket(h, key));
	if (kind == HOLDER_TASK || kind == HOLDER_FIELD)
		list_add(&r->of_pair, holder_pair_bucket(h, key, r->set->arc));
}

static void record_set_who(struct holders *h, struct holder_record *r,
			   const struct holder_who *who)
{
	record_set_kind(h, r, who->kind, who->key);
	r->h.is_pid = who->is_pid;
	r->h.id = who->id;
	memcpy(r->h.name, who->name, sizeof(r->h.name));
}

static void record_set_label(struct holders *h, struct holder_record *r, enum holder_kind kind,
			     const char *label)
{
	record_set_kind(h, r, kind, NULL);
	r->h.label = label;
}

void holder_make_field(struct holders *h, struct holder_record *r, const struct arc *owner,
		       const char *field)
{
	record_set_kind(h, r, HOLDER_FIELD, owner);
	r->h.label = field;
	r->h.owner = owner;
	r->h.owner_type = owner->type;
}

/* The task's name and number now: it may have changed them since the get. */
void holder_make_gone(struct holder_record *r, const struct holder_who *who)
{
	list_del_init(&r->of_task);
	list_del_init(&r->of_pair);
	list_move_tail(&r->of_kind, &r->set->kinds[HOLDER_GONE]);
	r->h.kind = HOLDER_GONE;
	r->h.id = who->id;
	r->h.is_pid = who->is_pid;
	memcpy(r->h.name, who->name, sizeof(r->h.name));
	r->accused = true;
}

/* Under the lock: @r, filled in but for who, is a reference on @set's object. */
static void record_add(struct holders *h, struct holder_set *set, struct holder_record *r,
		       const struct holder_who *who)
{
	r->set = set;
	r->h.arc = set->arc;
	r->h.seq = ++h->seq;
	record_set_who(h, r, who);
	list_add_tail(&r->of_set, &set->records);
	list_add_tail(&r->all, &h->all);
	h->nr_records++;
}

/* Under the lock. */
static void record_del(struct holders *h, struct holder_record *r)
{
	list_del(&r->of_set);
	list_del(&r->of_kind);
	list_del(&r->of_pair);
	list_del(&r->of_task);
	list_del(&r->all);
	h->nr_records--;
}

/* Without the lock; NULL is nothing. */
static void record_free(struct holders *h, struct holder_record *r)
{
	bool keep;

	if (!r)
		return;
	holders_lock(h);
	keep = h->nr_free < FREE_MAX;
	if (keep) {
		list_add(&r->all, &h->free);
		h->nr_free++;
	}
	holders_unlock(h);
	if (!keep)
		hostmem_free(machine_hostmem(h->machine), r);
}

static void record_fill(struct holder_record *r, const struct site *site, bool user)
{
	INIT_LIST_HEAD(&r->of_kind);
	INIT_LIST_HEAD(&r->of_pair);
	INIT_LIST_HEAD(&r->of_task);
	r->look = 0;
	r->accused = false;
	r->h.user = user;
	r->h.site = site;
	r->h.nr_stack = stack_trace_save(r->h.stack, HOLDER_STACK, 1);
}

static void take_reference(struct holders *h, struct arc *arc, const struct site *site, bool user)
{
	struct holder_record *r = record_alloc(h);
	struct holder_who who;
	struct holder_set *set;

	if (r) {
		grow_pairs(h);
		record_fill(r, site, user);
		who = holder_who(h);
	}
	holders_lock(h);
	set = holder_find_set(h, arc);
	if (set && r) {
		record_add(h, set, r, &who);
		r = NULL;
	} else if (set) {
		set->nr_untracked[user]++;
		h->nr_lost++;
	}
	holders_unlock(h);
	record_free(h, r);
}

/* ---- which record: the rules ---- */

static struct holder_record *latest_own(const struct holders *h, const struct holder_set *set,
					const struct holder_who *who, bool user)
{
	const struct list_head *list;
	struct holder_record *r;

	if (who->kind == HOLDER_TASK) {
		list_for_each_entry(r, holder_pair_bucket(h, who->key, set->arc), of_pair)
			if (r->set == set && holder_is_own(r, who, user))
				return r;
		return NULL;
	}
	list = &set->kinds[who->kind];
	list_for_each_entry_reverse(r, list, of_kind)
		if (holder_is_own(r, who, user))
			return r;
	return NULL;
}

static struct holder_record *oldest_of(const struct holder_set *set, enum holder_kind kind,
				       bool user)
{
	struct holder_record *r;

	list_for_each_entry(r, &set->kinds[kind], of_kind)
		if (r->h.user == user)
			return r;
	return NULL;
}

/* What a put of the running task ends when it has none of its own. */
static struct holder_record *others(const struct holder_set *set, bool user)
{
	static const enum holder_kind order[] = {
		HOLDER_FIELD, HOLDER_GONE, HOLDER_HARDIRQ, HOLDER_SOFTIRQ, HOLDER_TASK,
		HOLDER_ROOT, HOLDER_USERS,
	};
	struct holder_record *r = NULL;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(order) && !r; i++)
		r = oldest_of(set, order[i], user);
	return r;
}

static bool same_label(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static struct holder_record *of_field(const struct holders *h, const struct holder_set *set,
				      const struct arc *owner, const char *field, bool user)
{
	struct holder_record *r;

	list_for_each_entry(r, holder_pair_bucket(h, owner, set->arc), of_pair)
		if (r->set == set && r->h.kind == HOLDER_FIELD && r->h.owner == owner &&
		    r->h.user == user && same_label(r->h.label, field))
			return r;
	return NULL;
}

static struct holder_record *of_root(const struct holder_set *set, const char *name, bool user)
{
	struct holder_record *r;

	list_for_each_entry_reverse(r, &set->kinds[HOLDER_ROOT], of_kind)
		if (r->h.user == user && same_label(r->h.label, name))
			return r;
	return NULL;
}

/* The one that a put of @who would end; NULL: it ends one without record, or there is none. */
static struct holder_record *choose(const struct holders *h, const struct holder_set *set,
				    const struct holder_who *who, bool user)
{
	struct holder_record *r = latest_own(h, set, who, user);

	if (!r && !set->nr_untracked[user])
		r = others(set, user);
	return r;
}

/* Under the lock: the record, or the reference without one, goes. */
static struct holder_record *end_reference(struct holders *h, struct holder_set *set,
					   struct holder_record *r, bool user)
{
	if (r)
		record_del(h, r);
	else if (set->nr_untracked[user])
		set->nr_untracked[user]--;
	return r;
}

static void give_reference(struct holders *h, struct arc *arc, bool user)
{
	struct holder_who who = holder_who(h);
	struct holder_record *r = NULL;
	struct holder_set *set;

	holders_lock(h);
	set = holder_find_set(h, arc);
	if (set)
		r = end_reference(h, set, choose(h, set, &who, user), user);
	holders_unlock(h);
	record_free(h, r);
}

/* ---- what arc.c, reap.c and users.c call ---- */

static struct holders *holders_here(void)
{
	return refcount_hot()->holders;
}

noinline void holder_born(struct arc *arc, const struct site *site)
{
	struct holders *h = holders_here();
	struct holder_set *set, **bucket;

	if (!h)
		return;
	set = hostmem_zalloc(machine_hostmem(h->machine), sizeof(*set));
	if (!set) {
		holders_lock(h);
		h->nr_lost++;
		holders_unlock(h);
		return;
	}
	grow_sets(h);
	set->arc = arc;
	INIT_LIST_HEAD(&set->records);
	init_lists(set->kinds, HOLDER_NR_KINDS);
	holders_lock(h);
	bucket = set_bucket(h, arc);
	set->chain = *bucket;
	*bucket = set;
	h->nr_sets++;
	holders_unlock(h);
	arc->flags |= ARC_TRACKED;
	take_reference(h, arc, site, false);
}

noinline void holder_get(struct arc *arc, const struct site *site)
{
	take_reference(holders_here(), arc, site, false);
}

noinline void holder_put(struct arc *arc, const struct site *site)
{
	(void)site;
	give_reference(holders_here(), arc, false);
}

void holder_gone(struct arc *arc)
{
	struct holders *h = holders_here();
	struct holder_record *r, *next;
	struct holder_set **at, *set;
	LIST_HEAD(left);

	holders_lock(h);
	for (at = set_bucket(h, arc); *at && (*at)->arc != arc; at = &(*at)->chain)
		;
	set = *at;
	if (set) {
		*at = set->chain;
		h->nr_sets--;
		list_for_each_entry_safe(r, next, &set->records, of_set) {
			record_del(h, r);
			list_add(&r->all, &left);
		}
	}
	holders_unlock(h);
	list_for_each_entry_safe(r, next, &left, all)
		record_free(h, r);
	hostmem_free(machine_hostmem(h->machine), set);
}

void holder_field_drop(struct arc *owner, const struct arc_field *f, struct arc *child)
{
	bool user = f->kind == ARC_FIELD_USER;
	struct holders *h = holders_here();
	struct holder_who who = holder_who(h);
	struct holder_record *r = NULL;
	struct holder_set *set;

	holders_lock(h);
	set = holder_find_set(h, child);
	if (set) {
		r = of_field(h, set, owner, f->name, user);
		if (!r && !set->nr_untracked[user])
			r = oldest_of(set, HOLDER_TASK, user);
		if (!r)
			r = choose(h, set, &who, user);
		r = end_reference(h, set, r, user);
	}
	holders_unlock(h);
	record_free(h, r);
}

/* ---- two tiers ---- */

noinline void holder_users_born(struct arc *arc, const struct site *site)
{
	struct holders *h = holders_here();
	struct holder_who who = holder_who(h);
	struct holder_record *r;
	struct holder_set *set;

	holders_lock(h);
	set = holder_find_set(h, arc);
	r = set ? choose(h, set, &who, false) : NULL;
	if (r)
		record_set_label(h, r, HOLDER_USERS, "its users");
	holders_unlock(h);
	take_reference(h, arc, site, true);
}

noinline void holder_user_get(struct arc *arc, const struct site *site)
{
	take_reference(holders_here(), arc, site, true);
}

noinline void holder_user_put(struct arc *arc, const struct site *site)
{
	(void)site;
	give_reference(holders_here(), arc, true);
}

void holder_users_end(struct arc *arc)
{
	struct holders *h = holders_here();
	struct holder_who who = holder_who(h);
	struct holder_record *r;
	struct holder_set *set;

	holders_lock(h);
	set = holder_find_set(h, arc);
	r = set ? oldest_of(set, HOLDER_USERS, false) : NULL;
	if (r)
		record_set_who(h, r, &who);
	holders_unlock(h);
}

/* ---- handing on ---- */

/* The record that changes hands; under the lock. */
static struct holder_record *handed(struct holders *h, struct arc *arc, bool user)
{
	struct holder_who who = holder_who(h);
	struct holder_set *set = holder_find_set(h, arc);

	return set ? choose(h, set, &who, user) : NULL;
}

static void hand_to(struct arc *arc, const struct holder_who *to, bool user)
{
	struct holders *h = holders_here();
	struct holder_record *r;

	holders_lock(h);
	r = handed(h, arc, user);
	if (r)
		record_set_who(h, r, to);
	holders_unlock(h);
}

void holder_to_task(struct arc *arc, void *task, bool user)
{
	struct holders *h = holders_here();
	struct holder_who who;

	if (task && READ_ONCE(h->tasks)) {
		who = (struct holder_who){ .kind = HOLDER_TASK };
		describe_task(h, task, task == this_cpu()->fiber->task, &who);
	} else {
		who = holder_who(h);
	}
	hand_to(arc, &who, user);
}

void holder_to_fiber(struct arc *arc, struct fiber *fiber, bool user)
{
	struct holder_who who = { .kind = HOLDER_TASK };

	describe_fiber(fiber, &who);
	hand_to(arc, &who, user);
}

void holder_to_field(struct arc *arc, const struct arc *owner, const char *field, bool user)
{
	struct holders *h = holders_here();
	struct holder_record *r;

	holders_lock(h);
	r = handed(h, arc, user);
	if (r)
		holder_make_field(h, r, owner, field);
	holders_unlock(h);
}

void holder_to_root(struct arc *arc, const char *name, bool user)
{
	struct holders *h = holders_here();
	struct holder_record *r;

	holders_lock(h);
	r = handed(h, arc, user);
	if (r)
		record_set_label(h, r, HOLDER_ROOT, name);
	holders_unlock(h);
}

void holder_from_field(struct arc *arc, const struct arc *owner, const char *field, bool user)
{
	struct holders *h = holders_here();
	struct holder_who who = holder_who(h);
	struct holder_record *r;
	struct holder_set *set;

	holders_lock(h);
	set = holder_find_set(h, arc);
	r = set ? of_field(h, set, owner, field, user) : NULL;
	if (r)
		record_set_who(h, r, &who);
	holders_unlock(h);
}

void holder_move_field(struct arc *arc, const struct arc *from, const struct arc *to,
		       const char *field)
{
	struct holders *h = holders_here();
	struct holder_record *r;
	struct holder_set *set;

	holders_lock(h);
	set = holder_find_set(h, arc);
	r = set ? of_field(h, set, from, field, false) : NULL;
	if (r)
		holder_make_field(h, r, to, field);
	holders_unlock(h);
}

void holder_from_root(struct arc *arc, const char *name, bool user)
{
	struct holders *h = holders_here();
	struct holder_who who = holder_who(h);
	struct holder_record *r;
	struct holder_set *set;

	holders_lock(h);
	set = holder_find_set(h, arc);
	r = set ? of_root(set, name, user) : NULL;
	if (r)
		record_set_who(h, r, &who);
	holders_unlock(h);
}

void arc_hold_site(struct arc *arc, const char *name, const struct site *site)
{
	track_hold(arc, name, site, ARC_EDGE_STRONG);
	if (arc_is_tracked(arc))
		holder_to_root(arc, name, false);
}

/* The latest root's record; roots with and without a name alike. */
void arc_release(struct arc *arc)
{
	struct holders *h = holders_here();
	struct holder_record *r;
	struct holder_set *set;
	struct holder_who who;

	track_release(arc, NULL, ARC_EDGE_STRONG);
	if (!arc_is_tracked(arc))
		return;
	who = holder_who(h);
	holders_lock(h);
	set = holder_find_set(h, arc);
	if (set) {
		list_for_each_entry_reverse(r, &set->kinds[HOLDER_ROOT], of_kind) {
			if (r->h.user)
				continue;
			record_set_who(h, r, &who);
			break;
		}
	}
	holders_unlock(h);
}

/* ---- the machine's ---- */

void holder_set_tasks(struct machine *m, const struct holder_tasks *tasks)
{
	struct holders *h = refcount_state(m)->holders;

	if (h)
		WRITE_ONCE(h->tasks, tasks);
}

struct holders *holders_create(struct machine *m)
{
	struct holders *h = hostmem_zalloc(NULL, sizeof(*h));

	if (!h)
		return NULL;
	h->buckets = hostmem_zalloc(NULL, FIRST_BUCKETS * sizeof(*h->buckets));
	h->pairs = hostmem_zalloc(NULL, FIRST_BUCKETS * sizeof(*h->pairs));
	if (!h->buckets || !h->pairs) {
		hostmem_free(NULL, h->pairs);
		hostmem_free(NULL, h->buckets);
		hostmem_free(NULL, h);
		return NULL;
	}
	h->machine = m;
	h->parallel = machine_config(m)->mode == MACHINE_PARALLEL;
	h->nr_buckets = FIRST_BUCKETS;
	h->nr_pairs = FIRST_BUCKETS;
	init_lists(h->pairs, FIRST_BUCKETS);
	init_lists(h->by_task, HOLDER_TASK_BUCKETS);
	INIT_LIST_HEAD(&h->all);
	INIT_LIST_HEAD(&h->free);
	return h;
}

static void free_list(struct holders *h, struct list_head *list)
{
	struct holder_record *r, *next;

	list_for_each_entry_safe(r, next, list, all)
		hostmem_free(machine_hostmem(h->machine), r);
}

void holders_destroy(struct holders *h)
{
	struct holder_set *set, *next;
	unsigned int i;

	if (!h)
		return;
	free_list(h, &h->all);
	free_list(h, &h->free);
	for (i = 0; i < h->nr_buckets; i++) {
		for (set = h->buckets[i]; set; set = next) {
			next = set->chain;
			hostmem_free(machine_hostmem(h->machine), set);
		}
	}
	hostmem_free(NULL, h->pairs);
	hostmem_free(NULL, h->buckets);
	hostmem_free(NULL, h);
}

/* I2, I3: with other CPUs at work a count may be ahead of its records, never behind by itself. */
static void check_set(struct holder_set *set, struct check_report *report)
{
	unsigned long nr = set->nr_untracked[0];
	struct holder_record *r;

	list_for_each_entry(r, &set->records, of_set) {
		nr += !r->h.user;
		if ((r->h.kind == HOLDER_TASK) == list_empty(&r->of_task))
			check_fail(report, "I3: holders: a record of %s is on the wrong list",
				   set->arc->type->name);
	}
	if (set->arc->state == ARC_LIVE && nr > arc_count(set->arc))
		check_fail(report, "I2: holders: %s from %s:%u has %lu records for %u references",
			   set->arc->type->name, set->arc->site ? set->arc->site->file : "?",
			   set->arc->site ? set->arc->site->line : 0, nr, arc_count(set->arc));
}

void holders_check(struct holders *h, struct check_report *report)
{
	struct holder_set *set;
	unsigned int i;

	for (i = 0; i < h->nr_buckets; i++)
		for (set = h->buckets[i]; set; set = set->chain)
			check_set(set, report);
}
