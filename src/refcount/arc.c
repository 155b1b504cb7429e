/* SPDX-License-Identifier: MIT */
/*
 * arc.c - counts of owned objects
 *
 * What it is      Rust's Arc and Weak in C. Strong references keep an object alive, weak ones
 *                 keep its memory. All strong references together hold one weak one, given back
 *                 when the fields have been dropped; whoever brings the weak count to zero
 *                 returns the memory.
 * Objects         struct arc, embedded; 48 bytes. word: low half strong, high half weak.
 *                 The types of a machine are the kinds of its ledger.
 * Invariants      I1  Each half is a refcount_t of its own and is changed by 32-bit operations
 *                     only: one half can saturate or underflow without a carry into the other,
 *                     and Linux-style code may use kref_get() on the strong half.
 *                 I2  A reference comes from a reference: get and downgrade borrow a strong one,
 *                     weak_get and upgrade a weak one. The exceptions are lookups without a count
 *                     (tryget), and only types marked ARC_FINDABLE or ARC_RCU have those.
 *                 I3  Strong leaves zero never. Upgrade and tryget add by compare-exchange from a
 *                     value that is not zero; get adds blindly, but its caller's own reference
 *                     keeps the count above zero, and a get without one is caught: it saturates.
 *                     The one exception is birth: arc_new_cyclic() goes from 0 to 1 once.
 *                 I4  While strong is above zero, and until the fields are dropped, the implicit
 *                     weak reference is there: weak >= 1.
 *                 I5  Saturated is for ever: either half, once negative, reads negative to every
 *                     later operation, each of which pins it again (refcount.c, I2), and no
 *                     operation reports zero for it. A saturated object is leaked, never freed.
 *
 * Proof           Write s and w for the halves. Each claim names the operations it is about.
 *                 P1  One teardown (put, put_lock, put_rcu, put_deferred, try_unwrap). It begins
 *                     with whoever takes s from 1 to 0. All changes of s are single atomic
 *                     operations on one location, so they have one order; by I3 s is 0 for the
 *                     rest of it. Hence at most one operation sees 1 -> 0. put_lock's first loop
 *                     never stores 0, its second step under the lock is a put.
 *                     The plain store of ARC_PRIVATE (which plain.c leaves out, with the object)
 *                     is one of these: the load saw s = w = 1 in one access, so the caller's is
 *                     the only reference of either kind, and by I2 (no lookups) nobody can begin
 *                     an operation but the caller.
 *                 P2  Not before the others are done. Every decrement is a release, the one that
 *                     reaches 0 is followed by an acquire load of s (try_unwrap: the exchange
 *                     acquires), and read-modify-writes of s between them continue the release
 *                     sequence. So whatever was done under any other reference happens before the
 *                     body, or before the content is moved.
 *                 P3  Upgrade against last put. Both are atomic on s. Either the compare-exchange
 *                     comes first, and the put did not see 1; or it comes later, reads 0 and
 *                     fails. The memory is there in both cases: the weak reference that is
 *                     borrowed counts in w. The same for tryget, whose memory is kept by its
 *                     caller's lock or by RCU. Success acquires: the release of the birth in
 *                     arc_new_cyclic(), and of all puts, comes before.
 *                 P4  Memory once, and last (weak_put, end of teardown, try_unwrap). The same as P1
 *                     and P2 for w: the implicit reference goes once (P1), after the fields, and
 *                     whoever takes w from 1 to 0 frees. The end of the teardown reads w == 1
 *                     without a locked operation: s is 0 by then, so nobody downgrades (I2), and
 *                     no weak reference but the implicit one is left that could be upgraded or
 *                     got again: there is nobody to race with.
 *                 P5  is_unique, get_mut. Both halves are read by one 64-bit load, so there was a
 *                     moment at which the caller's was the only reference; two loads would let
 *                     another strong one become a weak one between them. Nor can such a change
 *                     be seen by halves: who downgrades and then puts does so in this order, and
 *                     the put is a release on the very word that the load acquires. By I2 no
 *                     other reference comes into being afterwards but from the caller's own, so
 *                     the answer stays true; types with lookups get NULL from get_mut.
 *                 P6  make_mut. It writes either to what P5 calls its own, or to a clone that
 *                     nobody has seen yet; the old reference is put after the copy is made, so
 *                     the content that is copied cannot be torn down meanwhile, and nobody writes
 *                     to it: whoever wanted to would not be alone (P5).
 *                 P7  try_unwrap. 1 -> 0 by compare-exchange: P1 and P2. Upgrades and trygets from
 *                     then on fail (P3), so the content has one owner, the caller; readers of an
 *                     ARC_RCU type may still look at the old bytes, which are only read from.
 *                     Callbacks cannot be added meanwhile: arc_on_drop() needs a reference, and
 *                     the only one is the caller's. A count by CPU is refused: s is not the truth.
 *                 P8  Slot load. The slot's reference keeps s >= 1 as long as the pointer is in it.
 *                     A reader that has loaded the pointer is inside an RCU reader, so the memory
 *                     stays even if the slot's reference goes; tryget fails only if s reached 0
 *                     after the load, so the pointer was exchanged, and the reload sees another.
 *                     A tryget that succeeds is a reference like any other (P3), also when the
 *                     slot has changed since: the object was in it during the call.
 *                 P9  Counts by CPU (ARC_PERCPU, ARC_BIASED) live beside the word. While ARC_LOCAL
 *                     is set, s carries a bias of 2^30, so no put can bring it to zero, I3 stays
 *                     true, and is_unique is false. Whoever takes the bias away adds the local
 *                     sum in the same atomic step; see local.c.
 * Locking         none; see dtor.c for callbacks, reap.c for teardown
 * Life            INIT -arc_init-> LIVE -last put-> DYING -fields dropped-> DEAD -last weak-> gone
 *                 INIT -arc_new_cyclic gives up-> DYING, no body; LIVE -try_unwrap-> DEAD
 *                 A get in DYING is a resurrection: it is reported, the count saturates, and the
 *                 object is leaked when its body returns, for the getter goes on to use it. Its
 *                 fields are not dropped.
 * Worst case      get and put: one locked instruction; last put of an ARC_PRIVATE object: none
 * Unlike Linux    kref has one count, no type and no weak references. The saturation points and
 *                 orders are Linux's, but upgrade and tryget acquire.
 */
#include <karc/base/bug.h>
#include <karc/base/rbtree.h>
#include <karc/hw/mutex.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/users.h>
#include <string.h>

#include "internal.h"

/* Bytes that a field of this kind takes up in its owner. */
static size_t field_bytes(const struct arc_field *f)
{
	if (f->kind == ARC_FIELD_LIST)
		return sizeof(struct list_head);
	if (f->kind == ARC_FIELD_TREE)
		return sizeof(struct rb_root);
	return (f->kind == ARC_FIELD_ARRAY ? (size_t)f->count : 1) * sizeof(void *);
}

static bool field_is_sound(const struct arc_type *type, const struct arc_field *f)
{
	if (f->kind == ARC_FIELD_VISITOR)
		return f->ops.take != NULL;
	if (f->kind == ARC_FIELD_ARRAY && !f->count)	/* may lie behind the struct */
		return f->count_offset + sizeof(unsigned int) <= type->size;
	return f->kind < ARC_FIELD_VISITOR && f->offset + field_bytes(f) <= type->size;
}

#define FLAGS_OF_TYPES	(ARC_TYPE_MASK | ARC_PERCPU | ARC_BIASED | ARC_UNORDERED)

static const char *flags_fault(const struct arc_type *type)
{
	unsigned int flags = type->flags;

	if (flags & ~FLAGS_OF_TYPES)
		return "it has unknown flags";
	if ((flags & ARC_LEAF) && type->fields)
		return "ARC_LEAF says that it owns nothing, its field table that it does";
	if ((flags & ARC_RCU) && !type->ops.free)
		return "ARC_RCU needs ops.free, which is called after the grace period";
	if ((flags & ARC_PRIVATE) && (flags & (ARC_FINDABLE | ARC_RCU)))
		return "ARC_PRIVATE says that no lookup finds it, ARC_FINDABLE and ARC_RCU that "
		       "one may";
	if ((flags & ARC_PRIVATE) && (flags & (ARC_PERCPU | ARC_BIASED)))
		return "ARC_PRIVATE wants one count, ARC_PERCPU and ARC_BIASED make several";
	if ((flags & ARC_PERCPU) && (flags & ARC_BIASED))
		return "ARC_PERCPU and ARC_BIASED are two ways of counting: choose one";
	return NULL;
}

static const char *layout_fault(const struct arc_type *type)
{
	if (type->offset + sizeof(struct arc) > type->size)
		return "its arc lies beyond its size";
	if (type->offset % _Alignof(struct arc))
		return "its arc is not aligned";
	if (!type->ops.on_last_user)
		return NULL;
	if (type->users + sizeof(struct arc_users) > type->size)
		return "its users lie beyond its size";
	if (type->users + sizeof(struct arc_users) > type->offset &&
	    type->users < type->offset + sizeof(struct arc))
		return "ops.on_last_user needs a struct arc_users, and .users says where it is";
	return NULL;
}

static const char *fields_fault(const struct arc_type *type)
{
	const struct arc_field *f = type->fields;

	for (; f && f->kind != ARC_FIELD_END; f++)
		if (!field_is_sound(type, f))
			return "a field lies beyond its size or lacks what its kind needs";
	return NULL;
}

/* What is wrong with @type, or NULL. */
static const char *type_fault(const struct arc_type *type)
{
	const char *fault = NULL;

	if (!type->name || !type->name[0])
		fault = "it has no name";
	if (!fault)
		fault = layout_fault(type);
	if (!fault)
		fault = flags_fault(type);
	return fault ? fault : fields_fault(type);
}

int arc_type_register(const struct arc_type *type)
{
	const char *fault = type_fault(type);

	if (fault) {
		arc_fault_type(ARC_FAULT_BAD_TYPE, type, fault);
		return -EINVAL;
	}
	if (!type->ops.drop && !type->fields && !(type->flags & ARC_LEAF)) {
		arc_fault_type(ARC_FAULT_NO_DESTRUCTOR, type,
			       "it has neither drop nor fields: give it ops.drop or a field "
			       "table, or set ARC_LEAF if it owns nothing");
		return -EINVAL;
	}
	return ledger_register(refcount_state(this_machine())->ledger, type);
}

/* What only some machines want: a list of arcs, holders. */
static noinline void arc_watch(struct arc *arc, const struct site *site)
{
	struct refcount_hot *hot = refcount_hot();

	if (hot->watch & WATCH_TRACK)
		track_add(hot->track, arc);
	if (hot->watch & WATCH_HOLDERS)
		holder_born(arc, site);
	if (arc->flags & ARC_TRACKED)
		WRITE_ONCE(arc->field, ARC_FIELD_TRACKED);
}

static inline void arc_watch_if(struct arc *arc, const struct site *site)
{
	if (unlikely(refcount_hot()->watch))
		arc_watch(arc, site);
}

static bool arc_counts_by_cpu(const struct arc_type *type)
{
	return type->flags & (ARC_PERCPU | ARC_BIASED);
}

static struct ledger_cell *arc_birth(struct arc *arc, const struct arc_type *type, u64 word,
				     enum arc_state state, const struct site *site)
{
	WRITE_ONCE(arc->word, word);
	arc->type = type;
	arc->link = NULL;
	arc->site = site;
	arc->dtors = NULL;
	arc->cursor = 0;
	arc->state = state;
	arc->flags = type->flags & ARC_TYPE_MASK;
	arc->field = 0;
	return ledger_arc_in(arc);
}

/* Is its memory, and what it owns, all that is to be done about an object of this type? */
static bool arc_is_plain(const struct arc_type *type)
{
	const struct arc_field *f = type->fields;

	if (!type->array || type->offset || type->ops.drop || type->ops.on_last_user ||
	    (type->flags & (ARC_RCU | ARC_FINDABLE | ARC_SLEEPS)) || refcount_hot()->quarantine)
		return false;
	while (f && f->kind == ARC_FIELD_OWNED)
		f++;
	if (!f)
		return type->flags & ARC_LEAF;
	return f->kind == ARC_FIELD_END && f != type->fields &&
	       (type->flags & (ARC_UNORDERED | ARC_PRIVATE));
}

void arc_init_far(struct arc *arc, const struct arc_type *type, const struct site *site)
{
	struct ledger_cell *cell = arc_birth(arc, type, ARC_WORD_ONE, ARC_LIVE, site);
	struct arc_tail tail = { .state = ARC_LIVE, .flags = arc->flags };

	arc_watch_if(arc, site);
	if (arc_counts_by_cpu(type))
		arc_local_begin(arc);
	if (refcount_hot()->watch || arc_counts_by_cpu(type))
		return;
	tail.flags |= arc_is_plain(type) ? ARC_PLAIN : 0;
	*ledger_near(refcount_hot()->near, site) = (struct ledger_near){
		.site = site,
		.type = type,
		.cell = cell,
		.tail = tail,
	};
}

static struct arc *arc_in(void *obj, const struct arc_type *type)
{
	return (struct arc *)((char *)obj + type->offset);
}

void *arc_adopt_site(void *obj, const struct arc_type *type, const struct site *site)
{
	arc_init_site(arc_in(obj, type), type, site);
	return obj;
}

void *arc_new_site(const struct arc_type *type, gfp_t gfp, const struct site *site)
{
	void *obj;

	BUG_ON(!type->ops.alloc);
	obj = type->ops.alloc(gfp, site);
	return obj ? arc_adopt_site(obj, type, site) : NULL;
}

void *arc_new_cyclic_site(const struct arc_type *type, gfp_t gfp,
			  int (*init)(void *obj, struct arc *weak, void *arg), void *arg,
			  const struct site *site)
{
	struct arc *arc;
	void *obj;

	BUG_ON(!type->ops.alloc);
	obj = type->ops.alloc(gfp, site);
	if (!obj)
		return NULL;
	arc = arc_in(obj, type);
	arc_birth(arc, type, ARC_WORD_ONE - 1, ARC_INIT, site);
	if (init(obj, arc, arg)) {
		reap_unfinished(arc, site);
		return NULL;
	}
	WRITE_ONCE(arc->state, ARC_LIVE);
	arc_watch_if(arc, site);
	/* Pairs with the acquire in arc_upgrade(): from here on others may have it. */
	smp_store_release(&arc->kref.refcount.refs.counter, 1);
	if (arc_counts_by_cpu(type))
		arc_local_begin(arc);
	return obj;
}

/* ---- not the usual way: counted by CPU, or tracked ---- */

struct arc *arc_get_aside(struct arc *arc, const struct site *site)
{
	u8 flags = arc_flags(arc);

	if (!(flags & ARC_LOCAL) || !local_get(arc))
		arc_get_shared(arc, site);
	if (flags & ARC_TRACKED)
		holder_get(arc, site);
	return arc;
}

struct arc *arc_tryget_aside(struct arc *arc, const struct site *site)
{
	u8 flags = arc_flags(arc);

	if ((!(flags & ARC_LOCAL) || !local_get(arc)) && !arc_tryget_shared(arc, site))
		return NULL;
	if (flags & ARC_TRACKED)
		holder_get(arc, site);
	return arc;
}

bool arc_put_aside(struct arc *arc, const struct site *site)
{
	u8 flags = arc_flags(arc);

	if (flags & ARC_TRACKED)
		holder_put(arc, site);
	if ((flags & ARC_LOCAL) && local_put(arc))
		return false;
	return arc_put_shared(arc, site);
}

/* ---- puts under a lock ---- */

/* Give the reference back unless it may be the last; true when that is done. */
static bool arc_put_not_last(struct arc *arc, const struct site *site)
{
	int old;

	if (arc_flags(arc) & ARC_TRACKED)
		holder_put(arc, site);
	if ((arc_flags(arc) & ARC_LOCAL) && local_put(arc))
		return true;
	old = (int)refcount_read(&arc->kref.refcount);
	do {
		if (old == 1)
			return false;
		if (unlikely(old <= 0)) {
			arc_saturate(arc, &arc->kref.refcount, REFCOUNT_SUB_UAF, site);
			return true;
		}
	} while (!__atomic_compare_exchange_n(KARC_REFS(&arc->kref.refcount), &old, old - 1,
					      false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
	return true;
}

static bool arc_unlink(struct arc *arc, void (*unlink)(void *obj), const struct site *site)
{
	if (!arc_put_shared(arc, site))
		return false;
	if (unlink)
		unlink(arc_object(arc));
	return true;
}

void KARC_BODY(arc_put_lock_site)(struct arc *arc, spinlock_t *lock, void (*unlink)(void *obj),
				  const struct site *site)
{
	bool last;

	if (!arc || arc_put_not_last(arc, site))
		return;
	spin_lock(lock);
	last = arc_unlink(arc, unlink, site);
	spin_unlock(lock);
	if (last)
		arc_last_put_site(arc, site);
}

void KARC_BODY(arc_put_lock_irqsave_site)(struct arc *arc, spinlock_t *lock,
					  void (*unlink)(void *obj), const struct site *site)
{
	unsigned long flags;
	bool last;

	if (!arc || arc_put_not_last(arc, site))
		return;
	spin_lock_irqsave(lock, flags);
	last = arc_unlink(arc, unlink, site);
	spin_unlock_irqrestore(lock, flags);
	if (last)
		arc_last_put_site(arc, site);
}

void KARC_BODY(arc_put_mutex_site)(struct arc *arc, struct mutex *lock,
				   void (*unlink)(void *obj), const struct site *site)
{
	bool last;

	if (!arc || arc_put_not_last(arc, site))
		return;
	mutex_lock(lock);
	last = arc_unlink(arc, unlink, site);
	mutex_unlock(lock);
	if (last)
		arc_last_put_site(arc, site);
}

/* ---- weak references ---- */

struct arc *arc_weak_get_site(struct arc *arc, const struct site *site)
{
	int old = __atomic_fetch_add(KARC_REFS(&arc->weak), 1, __ATOMIC_RELAXED);

	if (arc_old_is_bad(old))
		arc_saturate(arc, &arc->weak, arc_old_fault(old), site);
	return arc;
}

struct arc *arc_downgrade_site(struct arc *arc, const struct site *site)
{
	const struct arc_type *type = arc->type;

	/* The drop of such a type may return the memory: a weak reference would dangle. */
	BUG_ON(type->ops.drop && !type->ops.free && !type->fields);
	return arc_weak_get_site(arc, site);
}

/* ---- the only reference ---- */

/* Lookups that need no count may raise it at any moment. */
static bool arc_is_found_freely(const struct arc *arc)
{
	return arc_flags(arc) & (ARC_FINDABLE | ARC_RCU);
}

void *arc_get_mut(struct arc *arc)
{
	return !arc_is_found_freely(arc) && arc_is_unique(arc) ? arc_object(arc) : NULL;
}

void *arc_make_mut_site(struct arc **ref, gfp_t gfp, const struct site *site)
{
	const struct arc_type *type = (*ref)->type;
	void *obj = arc_get_mut(*ref);

	if (obj)
		return obj;
	if (WARN_ONCE(!type->ops.clone, "arc_make_mut: type \"%s\" has no ops.clone", type->name))
		return NULL;
	obj = type->ops.clone(arc_object(*ref), gfp);
	if (!obj)
		return NULL;
	arc_put_site(*ref, site);
	*ref = arc_in(obj, type);
	return obj;
}

/* An array behind the struct: nobody knows how much memory @to would need. */
static bool has_tail(const struct arc_type *type)
{
	const struct arc_field *f;

	for (f = type->fields; f && f->kind != ARC_FIELD_END; f++)
		if (f->kind == ARC_FIELD_ARRAY && f->offset >= type->size)
			return true;
	return false;
}

static bool may_move_out(const struct arc *arc)
{
	const struct arc_type *type = arc->type;

	return !(arc_flags(arc) & (ARC_FINDABLE | ARC_LOCAL)) && !READ_ONCE(arc->dtors) &&
	       (type->ops.free || !type->ops.drop) && !type->ops.on_last_user && !has_tail(type);
}

/* Lists point back at their heads. */
static void move_lists(const struct arc_type *type, char *from, char *to)
{
	const struct arc_field *f;
	struct list_head *head;

	for (f = type->fields; f && f->kind != ARC_FIELD_END; f++) {
		if (f->kind != ARC_FIELD_LIST)
			continue;
		head = (struct list_head *)(from + f->offset);
		if (head->next == head)
			INIT_LIST_HEAD((struct list_head *)(to + f->offset));
		else if (head->next)
			list_replace(head, (struct list_head *)(to + f->offset));
	}
}

/* All but the arc, whose weak half others go on to change. */
static void move_content(const struct arc_type *type, char *from, char *to)
{
	size_t before = type->offset, after = before + sizeof(struct arc);

	memcpy(to, from, before);
	memset(to + before, 0, sizeof(struct arc));
	memcpy(to + after, from + after, type->size - after);
	move_lists(type, from, to);
}

struct arc *arc_try_unwrap_site(struct arc *arc, void *to, const struct site *site)
{
	const struct arc_type *type = arc->type;
	int one = 1;

	/* Pairs with the releases of all other puts. */
	if (!may_move_out(arc) ||
	    !__atomic_compare_exchange_n(KARC_REFS(&arc->kref.refcount), &one, 0, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return arc;
	if (arc_flags(arc) & ARC_TRACKED)
		holder_put(arc, site);
	move_content(type, arc_object(arc), to);
	reap_moved(arc);
	return NULL;
}

unsigned int arc_count(const struct arc *arc)
{
	if (unlikely(arc->type->flags & (ARC_PERCPU | ARC_BIASED)))
		return (unsigned int)arc_local_count(arc);
	return refcount_read(&arc->kref.refcount);
}

unsigned int arc_weak_count(const struct arc *arc)
{
	return refcount_read(&arc->weak) - (arc->state != ARC_DEAD);
}

/* ---- without a site ---- */

void (arc_init)(struct arc *arc, const struct arc_type *type)
{
	arc_init_site(arc, type, NULL);
}

void *(arc_adopt)(void *obj, const struct arc_type *type)
{
	return arc_adopt_site(obj, type, NULL);
}

void *(arc_new)(const struct arc_type *type, gfp_t gfp)
{
	return arc_new_site(type, gfp, NULL);
}

void *(arc_new_cyclic)(const struct arc_type *type, gfp_t gfp,
		       int (*init)(void *obj, struct arc *weak, void *arg), void *arg)
{
	return arc_new_cyclic_site(type, gfp, init, arg, NULL);
}

struct arc *(arc_get)(struct arc *arc)
{
	return arc_get_site(arc, NULL);
}

struct arc *(arc_tryget)(struct arc *arc)
{
	return arc_tryget_site(arc, NULL);
}

void (arc_put)(struct arc *arc)
{
	arc_put_site(arc, NULL);
}

void (arc_put_deferred)(struct arc *arc)
{
	arc_put_deferred_site(arc, NULL);
}

void (arc_put_rcu)(struct arc *arc)
{
	arc_put_rcu_site(arc, NULL);
}

void (arc_put_lock)(struct arc *arc, spinlock_t *lock, void (*unlink)(void *obj))
{
	arc_put_lock_site(arc, lock, unlink, NULL);
}

void (arc_put_lock_irqsave)(struct arc *arc, spinlock_t *lock, void (*unlink)(void *obj))
{
	arc_put_lock_irqsave_site(arc, lock, unlink, NULL);
}

void (arc_put_mutex)(struct arc *arc, struct mutex *lock, void (*unlink)(void *obj))
{
	arc_put_mutex_site(arc, lock, unlink, NULL);
}

void (arc_last_put)(struct arc *arc)
{
	arc_last_put_site(arc, NULL);
}

struct arc *(arc_downgrade)(struct arc *arc)
{
	return arc_downgrade_site(arc, NULL);
}

struct arc *(arc_weak_get)(struct arc *arc)
{
	return arc_weak_get_site(arc, NULL);
}

struct arc *(arc_upgrade)(struct arc *arc)
{
	return arc_upgrade_site(arc, NULL);
}

void (arc_weak_put)(struct arc *arc)
{
	arc_weak_put_site(arc, NULL);
}

void *(arc_make_mut)(struct arc **ref, gfp_t gfp)
{
	return arc_make_mut_site(ref, gfp, NULL);
}

struct arc *(arc_try_unwrap)(struct arc *arc, void *to)
{
	return arc_try_unwrap_site(arc, to, NULL);
}
