/* SPDX-License-Identifier: MIT */
/*
 * reap.c - teardown as a loop
 *
 * What it is      The last put of an object drops what it owns, which may be the last reference
 *                 of something else, and so on, a million deep. Recursion would need a stack as
 *                 deep as the graph. Here the dying objects themselves form the stack, through
 *                 arc->link, and each remembers how far its fields are dropped.
 * Objects         fiber->reap -> struct reap (on the stack of the outermost put)
 *                    top   -> child -> parent -> grandparent     dying, innermost first
 *                    queue -> first -> last                      put in the body that runs now
 *                 CPU hot area: deferred -> newest ... oldest    torn down later
 *                               put_rcu.next, .wait -> the same  after a grace period, in batches
 *                 An object is on one of these at a time, so one link is enough.
 * Invariants      I1  Order is Rust's: destructor callbacks (latest first), drop body, fields in
 *                     declared order, each whole subtree before the next, then the memory.
 *                     Objects without body and callback go through plain.c: there the memory
 *                     goes with the last reference taken out of the object, where nobody can
 *                     tell (plain.c, I5); all else stays, unless the type does not care
 *                     (ARC_UNORDERED).
 *                 I2  A put inside a callback, body, visitor or free only queues. The queue goes
 *                     on top of the stack right after it, in the order of the puts: before the
 *                     fields, where Rust would have run it a little earlier, in the body.
 *                 I3  No drop runs below another on the host stack: teardown takes the same few
 *                     frames at any depth, and allocates nothing.
 *                 I4  An object whose strong count is not zero after its body or after its fields
 *                     was resurrected or put twice: it is reported and leaked, never freed.
 *                 I5  No lock of karc's own is held while a callback, body or free runs.
 * Locking         struct reap   its fiber, in one interrupt level: an interrupt handler on top of
 *                 a body has a struct reap of its own
 *                 deferred      lock-free push by its CPU, taken whole by exchange
 *                 put_rcu       its CPU, interrupts off
 * Life            DYING, BODY_TO_COME -> callbacks, body -> DYING, fields -> DEAD -> memory
 * Worst case      Steps are linear in objects plus edges. An object that owns a list of n is one
 *                 stack entry. A type that sleeps (ARC_SLEEPS) waits for a task when its turn
 *                 comes in atomic context; then, and only then, I1 gives way. Memory held back:
 *                 a chain keeps all its objects until the innermost is gone, as in Rust,
 *                 but for a plain one.
 * Unlike Linux    Linux recurses, or hands over to a workqueue, at each place by hand.
 */
#include <karc/base/bug.h>
#include <karc/base/rbtree.h>
#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/refcount/reap.h>
#include <karc/refcount/users.h>

#include "internal.h"

#define BODY_TO_COME	0x7fff		/* arc->field before the drop body has run */
#define BODY_LEFT_OUT	0x7ffe		/* likewise, but it does not run: never constructed */
#define DRAIN_ROUNDS	10000		/* yields to other CPUs' reapers before giving up */

struct reap {
	struct arc *top;
	struct arc *queue, **queue_tail;
	const struct site *site;	/* of the put that began it */
	int level;			/* interrupt level that it belongs to */
	struct reap *outer;		/* of the level below */
};

/* Which interrupt level runs: what may interleave with what on one fiber. */
static int interrupt_level(void)
{
	return preempt_count() & (HARDIRQ_MASK | SOFTIRQ_OFFSET);
}

static void *object_of(struct arc *arc)
{
	return (char *)arc - arc->type->offset;
}

static void wait_for_task(struct arc *arc)
{
	struct refcount_hot *hot = refcount_hot();

	arc->link = READ_ONCE(hot->deferred);
	__atomic_fetch_add(&hot->nr_deferred, 1, __ATOMIC_RELAXED);
	/* Pairs with the acquire in take_deferred(). */
	while (!try_cmpxchg_release(&hot->deferred, &arc->link, arc))
		;
	__atomic_fetch_or(&this_cpu()->pending, CPU_PENDING_DEFERRED, __ATOMIC_RELAXED);
}

static void leak(const struct arc *arc)
{
	arc_fault_tell(ARC_FAULT_RESURRECTION, arc, NULL,
		       "arc: %s from %s:%u was got or put again while dying; leaking it",
		       arc->type->name, arc->site ? arc->site->file : "?",
		       arc->site ? arc->site->line : 0);
}

static void return_memory(struct arc *arc)
{
	arc_poison(arc);
	if (!quarantine_keeps(arc) && arc->type->ops.free)
		arc->type->ops.free(object_of(arc));
}

static void free_after_grace_period(struct rcu_head *rcu)
{
	return_memory(container_of(rcu, struct arc, rcu));
}

/* The object leaves the ledger; its memory is the drop body's, the type's, or RCU's. */
static void leave(struct arc *arc)
{
	struct refcount_hot *hot = refcount_hot();

	if (unlikely(hot->watch & WATCH_TRACK))
		track_del(hot->track, arc);
	if (unlikely(arc->flags & ARC_TRACKED))
		holder_gone(arc);
	ledger_arc_out(arc);
}

void reap_forget(struct arc *arc)
{
	leave(arc);
	WRITE_ONCE(arc->state, ARC_DEAD);
	arc_poison(arc);
}

static void free_memory(struct arc *arc)
{
	leave(arc);
	if (arc->flags & ARC_RCU) {
		/* Readers go on to see that the strong count is zero. */
		refcount_set(&arc->weak, ARC_POISON);
		call_rcu(&arc->rcu, free_after_grace_period);
		return;
	}
	return_memory(arc);
}

/* What the object owned is gone: give the implicit weak reference back. */
void reap_moved(struct arc *arc)
{
	WRITE_ONCE(arc->state, ARC_DEAD);
	/* Alone, by I2 of arc.c; pairs with the release in arc_weak_put(). */
	if (__atomic_load_n(KARC_REFS_READ(&arc->weak), __ATOMIC_ACQUIRE) == 1 ||
	    refcount_dec_and_test(&arc->weak))
		free_memory(arc);
}

static void bury(struct arc *arc)
{
	if (unlikely(refcount_read(&arc->kref.refcount)))
		leak(arc);
	else
		reap_moved(arc);
}

void arc_weak_put_site(struct arc *arc, const struct site *site)
{
	int old;

	if (!arc)
		return;
	old = __atomic_fetch_sub(KARC_REFS(&arc->weak), 1, __ATOMIC_RELEASE);
	/* Pairs with the releases of all other puts. */
	if (old == 1)
		__atomic_load_n(&arc->weak.refs.counter, __ATOMIC_ACQUIRE);
	/* One too many while the object lives takes the one that all strong ones share. */
	if (old == 1 && likely(READ_ONCE(arc->state) == ARC_DEAD))
		free_memory(arc);
	else if (unlikely(old <= 1))
		arc_saturate(arc, &arc->weak, REFCOUNT_SUB_UAF, site);
}

static unsigned int array_length(const void *obj, const struct arc_field *f)
{
	if (f->count)
		return f->count;
	return *(const unsigned int *)((const char *)obj + f->count_offset);
}

/* Take the pointer out of a field: its arc, or NULL. */
static struct arc *take_pointer(void *slot, const struct arc_field *f)
{
	void **field = slot;
	char *child = READ_ONCE(*field);

	if (!child)
		return NULL;
	WRITE_ONCE(*field, NULL);
	return (struct arc *)(child + f->target);
}

static struct arc *take_element(struct arc *arc, char *obj, const struct arc_field *f)
{
	unsigned int n = array_length(obj, f);
	struct arc *child;

	while (arc->cursor < n) {
		child = take_pointer(obj + f->offset + arc->cursor++ * sizeof(void *), f);
		if (child)
			return child;
	}
	return NULL;
}

/* A list head that is all zero was never set up, and is empty. */
static struct arc *take_member(char *obj, const struct arc_field *f)
{
	struct list_head *head = (struct list_head *)(obj + f->offset);
	struct list_head *node = head->next;

	if (!node || node == head)
		return NULL;
	list_del_init(node);
	return (struct arc *)((char *)node - f->member + f->target);
}

static struct arc *take_node(char *obj, const struct arc_field *f)
{
	struct rb_root *root = (struct rb_root *)(obj + f->offset);
	struct rb_node *node = rb_first(root);

	if (!node)
		return NULL;
	rb_erase(node, root);
	RB_CLEAR_NODE(node);
	return (struct arc *)((char *)node - f->member + f->target);
}

/* The field is one of the users: if it was the last, the reference of all users is to be put. */
static struct arc *take_user(struct arc *arc, char *obj, const struct arc_field *f,
			     const struct site *site)
{
	struct arc *child = take_pointer(obj + f->offset, f);

	if (!child)
		return NULL;
	if (unlikely(arc_flags(child) & ARC_TRACKED))
		holder_field_drop(arc, f, child);
	return users_were_last(child, site) ? child : NULL;
}

/* The next thing that field @f owns, taken out of it; NULL when there is none left. */
static struct arc *take_owned(struct arc *arc, char *obj, const struct arc_field *f,
			      const struct site *site)
{
	switch (f->kind) {
	case ARC_FIELD_OWNED:
		return take_pointer(obj + f->offset, f);
	case ARC_FIELD_WEAK:
		arc_weak_put_site(take_pointer(obj + f->offset, f), site);
		return NULL;
	case ARC_FIELD_USER:
		return take_user(arc, obj, f, site);
	case ARC_FIELD_ARRAY:
		return take_element(arc, obj, f);
	case ARC_FIELD_LIST:
		return take_member(obj, f);
	case ARC_FIELD_TREE:
		return take_node(obj, f);
	case ARC_FIELD_VISITOR:
		return f->ops.take(obj);
	default:
		return NULL;
	}
}

/* The next thing that the object owns, in declared order. */
static struct arc *next_owned(struct arc *arc, const struct site *site)
{
	const struct arc_field *fields = arc->type->fields;
	char *obj = object_of(arc);
	struct arc *child;

	if (!fields)
		return NULL;
	while (fields[arc->field].kind != ARC_FIELD_END) {
		child = take_owned(arc, obj, &fields[arc->field], site);
		if (child)
			return child;
		WRITE_ONCE(arc->field, arc->field + 1);
		arc->cursor = 0;
	}
	return NULL;
}

/* @owner: whose field gave the last reference up, or NULL. */
static void set_dying(struct arc *arc, u16 field, const struct site *site,
		      const struct arc *owner)
{
	quarantine_note(arc, site, owner);
	WRITE_ONCE(arc->state, ARC_DYING);
	WRITE_ONCE(arc->field, field);
	arc->cursor = 0;
}

static void reap_push(struct reap *r, struct arc *arc)
{
	arc->link = r->top;
	r->top = arc;
}

void reap_died(struct reap *r, struct arc *arc, const struct site *site)
{
	set_dying(arc, BODY_TO_COME, site, NULL);
	reap_push(r, arc);
}

/* It is plain, and the word shows that it is alone: no weak reference, and no callback came. */
static bool reap_is_plain(const struct arc *arc)
{
	return (arc->flags & (ARC_PLAIN | ARC_LEAF)) == ARC_PLAIN &&
	       arc_word(arc) == ARC_WORD_ONE - 1;
}

/* The object on top owns what pointers say and has no body: as far as the way is plain. */
static void reap_plain(struct reap *r, struct arc *arc)
{
	r->top = arc->link;
	if (arc->field >= BODY_LEFT_OUT)
		WRITE_ONCE(arc->field, 0);
	if (arc->type->flags & ARC_UNORDERED)
		plain_unordered(r, arc, r->site);
	else
		plain_ordered(r, &r->top, arc, r->site);
}

/* One step of the object on top whose body has not run: a callback, or the body. */
static void reap_body(struct reap *r, struct arc *arc)
{
	const struct arc_type *type = arc->type;
	struct arc_dtor *dtor;

	if ((arc->flags & ARC_SLEEPS) && !preemptible()) {
		r->top = arc->link;
		wait_for_task(arc);
		return;
	}
	dtor = arc_dtor_pop(&arc->dtors);
	if (dtor) {
		dtor->ops.fn(object_of(arc), dtor->arg);
		return;
	}
	if (arc->field == BODY_LEFT_OUT) {
		WRITE_ONCE(arc->field, 0);
		return;
	}
	if (type->ops.drop && !type->ops.free && !type->fields) {
		r->top = arc->link;		/* the body may return the memory */
		if (unlikely(refcount_read(&arc->weak) != 1)) {
			arc_fault_raise(ARC_FAULT_WEAK_LEFT, &arc->weak, r->site);
			return;
		}
		leave(arc);
		refcount_set(&arc->weak, ARC_POISON);
		type->ops.drop(object_of(arc));
		return;
	}
	WRITE_ONCE(arc->field, 0);
	if (type->ops.drop)
		type->ops.drop(object_of(arc));
	if (unlikely(refcount_read(&arc->kref.refcount))) {
		r->top = arc->link;
		leak(arc);
	}
}

/* What the step just made put: on top, first put first. */
static void reap_queue(struct reap *r)
{
	if (!r->queue)
		return;
	*r->queue_tail = r->top;
	r->top = r->queue;
	r->queue = NULL;
	r->queue_tail = &r->queue;
}

/* Take a child's reference, which field arc->field held, off its count. */
static inline bool child_was_last(struct arc *arc, struct arc *child, const struct site *site)
{
	const struct arc_field *f = &arc->type->fields[arc->field];
	u8 flags = arc_flags(child);

	if (likely(!(flags & ARC_ASIDE)))
		return arc_put_shared(child, site);
	if ((flags & ARC_TRACKED) && f->kind == ARC_FIELD_USER)
		holder_put(child, site);
	else if (flags & ARC_TRACKED)
		holder_field_drop(arc, f, child);
	if ((flags & ARC_LOCAL) && local_put(child))
		return false;
	return arc_put_shared(child, site);
}

static void reap_loop(struct reap *r)
{
	struct arc *arc, *child;

	while ((arc = r->top)) {
		if (reap_is_plain(arc)) {
			reap_plain(r, arc);
		} else if (arc->field >= BODY_LEFT_OUT) {
			reap_body(r, arc);
		} else if ((child = next_owned(arc, r->site))) {
			if (child_was_last(arc, child, r->site)) {
				set_dying(child, BODY_TO_COME, r->site, arc);
				reap_push(r, child);
			}
		} else {
			r->top = arc->link;
			bury(arc);
		}
		reap_queue(r);
	}
}

/* The teardown that this fiber is in, at this interrupt level; NULL if none. */
static struct reap *reap_current(void)
{
	struct reap *r = this_cpu()->fiber->reap;

	return r && r->level == interrupt_level() ? r : NULL;
}

static void reap_begin(struct reap *r, const struct site *site)
{
	r->site = site;
	r->top = NULL;
	r->queue = NULL;
	r->queue_tail = &r->queue;
	r->level = interrupt_level();
	r->outer = this_cpu()->fiber->reap;
	this_cpu()->fiber->reap = r;
}

static void reap_end(struct reap *r)
{
	this_cpu()->fiber->reap = r->outer;
}

static void reap_dying(struct arc *arc, u16 field, const struct site *site)
{
	struct reap *r = reap_current(), outermost;

	set_dying(arc, field, site, NULL);
	if (r) {
		*r->queue_tail = arc;
		r->queue_tail = &arc->link;
		return;
	}
	reap_begin(&outermost, site);
	reap_push(&outermost, arc);
	reap_loop(&outermost);
	reap_end(&outermost);
}

void arc_last_put_site(struct arc *arc, const struct site *site)
{
	if (plain_last_put(arc))
		return;
	if (unlikely(refcount_hot()->watch & WATCH_TRACK) && arc_fault_stray(arc, site))
		return;
	reap_dying(arc, BODY_TO_COME, site);
}

void reap_unfinished(struct arc *arc, const struct site *site)
{
	reap_dying(arc, BODY_LEFT_OUT, site);
}

void arc_put_deferred_site(struct arc *arc, const struct site *site)
{
	if (!arc || !arc_ref_was_last(arc, site))
		return;
	set_dying(arc, BODY_TO_COME, site, NULL);
	wait_for_task(arc);
}

/* Turn a stack of objects, newest on top, round; counts them. */
static struct arc *oldest_first(struct arc *arc, unsigned long *nr)
{
	struct arc *next, *oldest = NULL;

	for (; arc; arc = next) {
		next = arc->link;
		arc->link = oldest;
		oldest = arc;
		++*nr;
	}
	return oldest;
}

/* ---- after a grace period ---- */

static void put_rcu_done(struct rcu_head *head);

/* Interrupts are off. */
static void put_rcu_start(struct refcount_hot *hot)
{
	if (hot->put_rcu.queued || !hot->put_rcu.next)
		return;
	hot->put_rcu.queued = true;
	hot->put_rcu.wait = hot->put_rcu.next;
	hot->put_rcu.next = NULL;
	call_rcu(&hot->put_rcu.head, put_rcu_done);
}

static void put_rcu_done(struct rcu_head *head)
{
	struct refcount_hot *hot = container_of(head, struct refcount_hot, put_rcu.head);
	unsigned long flags, nr = 0;
	struct reap r;

	reap_begin(&r, NULL);
	r.top = oldest_first(hot->put_rcu.wait, &nr);
	local_irq_save(flags);
	hot->put_rcu.queued = false;
	put_rcu_start(hot);
	local_irq_restore(flags);
	reap_loop(&r);
	reap_end(&r);
}

void arc_put_rcu_site(struct arc *arc, const struct site *site)
{
	struct refcount_hot *hot;
	unsigned long flags;

	if (!arc || !arc_ref_was_last(arc, site))
		return;
	set_dying(arc, BODY_TO_COME, site, NULL);
	local_irq_save(flags);
	hot = refcount_hot();
	arc->link = hot->put_rcu.next;
	hot->put_rcu.next = arc;
	put_rcu_start(hot);
	local_irq_restore(flags);
}

/* ---- deferred ---- */

/* Everything deferred on @hot's CPU, oldest first, as a stack. */
static struct arc *take_deferred(struct refcount_hot *hot, unsigned long *nr)
{
	struct arc *arc = oldest_first(xchg_acquire(&hot->deferred, NULL), nr);

	__atomic_fetch_sub(&hot->nr_deferred, *nr, __ATOMIC_RELAXED);
	return arc;
}

static unsigned long reap_deferred_of(struct refcount_hot *hot)
{
	unsigned long nr = 0;
	struct reap r;

	KARC_STEP_READ(&hot->deferred);
	if (!READ_ONCE(hot->deferred) || this_cpu()->fiber->reap)
		return 0;
	__atomic_fetch_add(KARC_STEPPED(&hot->nr_reaping, KARC_WRITES), 1, __ATOMIC_RELAXED);
	reap_begin(&r, NULL);
	r.top = take_deferred(hot, &nr);
	reap_loop(&r);
	reap_end(&r);
	/* Pairs with the acquire in reap_drain(). */
	__atomic_fetch_sub(KARC_STEPPED(&hot->nr_reaping, KARC_WRITES), 1, __ATOMIC_RELEASE);
	return nr;
}

unsigned long reap_deferred(void)
{
	might_sleep();
	return reap_deferred_of(refcount_hot());
}

unsigned long reap_nr_deferred(void)
{
	struct machine *m = this_machine();
	unsigned long nr = 0;
	unsigned int i;

	for (i = 0; i < machine_nr_cpus(m); i++)
		nr += READ_ONCE(refcount_hot_of(m, i)->nr_deferred);
	return nr;
}

/* Every CPU's deferred puts, also those that another fiber is just tearing down. */
unsigned long reap_drain(struct machine *m)
{
	struct refcount_hot *hot;
	unsigned long nr = 0;
	unsigned int i, round;

	for (i = 0; i < machine_nr_cpus(m); i++) {
		hot = refcount_hot_of(m, i);
		nr += reap_deferred_of(hot);
		for (round = 0; smp_load_acquire(&hot->nr_reaping) && round < DRAIN_ROUNDS; round++)
			fiber_yield();
	}
	return nr;
}
