/* SPDX-License-Identifier: MIT */
/*
 * Goal: objects are born whole or not at all; who has the only reference may change the content or
 * take it along, and nobody else; each kind of put ends a reference once.
 * Method: objects that count what happens to them; every allocation of each birth fails in turn;
 * the only reference races with gets, upgrades and puts on all CPUs.
 */
#include "fixture.h"

#include <karc/hw/context.h>
#include <karc/hw/inject.h>
#include <karc/hw/mutex.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/reap.h>

#include "refcount_test.h"

#define NR_RACES	40

/* A text with an owner of its own, a weak way back, and members on a list. */
struct doc {
	int value;
	struct arc arc;
	struct doc *part;
	struct doc *weak;
	struct list_head members;
	struct list_head node;
};

/* All documents of one test. */
struct tally {
	unsigned int drops, frees, clones;
};

static struct tally *tally(void)
{
	static struct tally of_all;	/* one test runs at a time; machines do not share it */

	return &of_all;
}

static void *doc_alloc(gfp_t gfp, const struct site *site)
{
	(void)gfp;
	(void)site;
	return inject_fail() ? NULL : hostmem_zalloc(NULL, sizeof(struct doc));
}

static void doc_drop(void *obj)
{
	struct doc *d = obj;

	d->value = 0;
	__atomic_fetch_add(&tally()->drops, 1, __ATOMIC_RELAXED);
}

static void doc_free(void *obj)
{
	__atomic_fetch_add(&tally()->frees, 1, __ATOMIC_RELAXED);
	hostmem_free(NULL, obj);
}

static void *doc_clone(const void *obj, gfp_t gfp);

static const struct arc_field doc_fields[] = {
	ARC_OWNED(doc, part, doc),
	ARC_WEAK(doc, weak, doc),
	ARC_LIST(doc, members, doc, node),
	ARC_FIELDS_END
};

#define DOC(type_name, type_flags) { \
	.name = (type_name), .size = sizeof(struct doc), .offset = offsetof(struct doc, arc), \
	.flags = (type_flags), .fields = doc_fields, \
	.ops = { .drop = doc_drop, .free = doc_free, .alloc = doc_alloc, .clone = doc_clone } }

static const struct arc_type doc_type = DOC("doc", 0);
static const struct arc_type findable_type = DOC("findable doc", ARC_FINDABLE);
static const struct arc_type rcu_type = DOC("rcu doc", ARC_RCU);
static const struct arc_type private_type = DOC("private doc", ARC_PRIVATE);
static const struct arc_type sleeping_type = DOC("sleeping doc", ARC_SLEEPS);

static void *doc_clone(const void *obj, gfp_t gfp)
{
	const struct doc *old = obj;
	struct doc *d = arc_new(old->arc.type, gfp);

	if (!d)
		return NULL;
	INIT_LIST_HEAD(&d->members);
	d->value = old->value;
	d->part = old->part;
	if (d->part)
		arc_get(&d->part->arc);
	__atomic_fetch_add(&tally()->clones, 1, __ATOMIC_RELAXED);
	return d;
}

static struct doc *doc_new(const struct arc_type *type, int value)
{
	struct doc *d;

	assert_int_equal(arc_type_register(type), 0);
	d = arc_new(type, 0);
	assert_non_null(d);
	INIT_LIST_HEAD(&d->members);
	d->value = value;
	return d;
}

static void begin(void)
{
	*tally() = (struct tally){ 0 };
}

static void assert_ends(unsigned int drops, unsigned int frees)
{
	machine_quiesce(this_machine());
	assert_int_equal(tally()->drops, drops);
	assert_int_equal(tally()->frees, frees);
}

/* ---- birth ---- */

static void new_object_is_zeroed_and_counted(void **state)
{
	struct doc *d;

	(void)state;
	begin();
	d = doc_new(&doc_type, 3);
	assert_int_equal(d->arc.state, ARC_LIVE);
	assert_true(arc_is_unique(&d->arc));
	assert_null(d->part);
	assert_ptr_equal(d->arc.type, &doc_type);
	assert_string_equal(d->arc.site->func, "doc_new");
	assert_int_equal(ledger_live(this_machine(), &doc_type), 1);
	arc_put(&d->arc);
	assert_ends(1, 1);
}

static void functions_without_a_site_do_the_same(void **state)
{
	struct arc *(*get)(struct arc *arc) = arc_get;
	void (*put)(struct arc *arc) = arc_put;
	struct arc *weak;
	struct doc *d;

	(void)state;
	begin();
	assert_int_equal(arc_type_register(&doc_type), 0);
	d = (arc_new)(&doc_type, 0);
	assert_non_null(d);
	assert_null(d->arc.site);
	assert_ptr_equal(get(&d->arc), &d->arc);
	assert_ptr_equal((arc_tryget)(&d->arc), &d->arc);
	weak = (arc_downgrade)(&d->arc);
	assert_ptr_equal((arc_weak_get)(weak), weak);
	assert_ptr_equal((arc_upgrade)(weak), &d->arc);
	assert_int_equal(arc_count(weak), 4);
	assert_int_equal(arc_weak_count(weak), 2);
	put(&d->arc);
	(arc_put_deferred)(&d->arc);
	(arc_put_rcu)(&d->arc);
	assert_ptr_equal((arc_try_unwrap)(get(&d->arc), NULL), &d->arc);
	put(&d->arc);
	(arc_put_lock)(&d->arc, &(spinlock_t){ }, NULL);
	(arc_weak_put)(weak);
	assert_null((arc_upgrade)(weak));
	(arc_weak_put)(weak);
	assert_ends(1, 1);
}

static void adopted_memory_is_freed_by_its_type(void **state)
{
	struct doc *d = must_alloc(sizeof(*d));

	(void)state;
	begin();
	assert_int_equal(arc_type_register(&doc_type), 0);
	assert_ptr_equal(arc_adopt(d, &doc_type), d);
	assert_string_equal(d->arc.site->func, "adopted_memory_is_freed_by_its_type");
	assert_true(arc_is_unique(&d->arc));
	arc_put(&d->arc);
	assert_ends(1, 1);
}

static long new_without_alloc(void *arg)
{
	return arc_new((const struct arc_type *)arg, 0) != NULL;
}

static void new_of_a_type_without_alloc_is_a_bug(void **state)
{
	static const struct arc_type type = { .name = "bare", .size = sizeof(struct arc),
					      .flags = ARC_LEAF };

	(void)state;
	assert_int_equal(arc_type_register(&type), 0);
	expect_bug(new_without_alloc, (void *)&type, "ops.alloc");
}

/* ---- cyclic birth ---- */

struct cyclic {
	struct arc *kept;
	struct arc_dtor dtor;
	struct doc *part;
	int result;
	unsigned int nr_calls;
};

static void count_call(void *obj, void *arg)
{
	(void)obj;
	++*(unsigned int *)arg;
}

static int know_thyself(void *obj, struct arc *weak, void *arg)
{
	struct cyclic *c = arg;
	struct doc *d = obj;

	assert_ptr_equal(arc_object(weak), d);
	assert_int_equal(weak->state, ARC_INIT);
	assert_null(arc_upgrade(weak));
	INIT_LIST_HEAD(&d->members);
	d->value = 7;
	d->part = c->part;
	c->kept = arc_weak_get(weak);
	arc_on_drop(&d->arc, &c->dtor, count_call, &c->nr_calls);
	return c->result;
}

static void cyclic_object_knows_itself_weakly(void **state)
{
	struct cyclic c = { .result = 0 };
	struct doc *d;

	(void)state;
	begin();
	assert_int_equal(arc_type_register(&doc_type), 0);
	d = arc_new_cyclic(&doc_type, 0, know_thyself, &c);
	assert_non_null(d);
	assert_int_equal(d->value, 7);
	assert_int_equal(arc_count(&d->arc), 1);
	assert_int_equal(arc_weak_count(&d->arc), 1);
	assert_ptr_equal(arc_upgrade(c.kept), &d->arc);
	arc_put(&d->arc);
	arc_put(&d->arc);
	assert_int_equal(tally()->drops, 1);
	assert_int_equal(tally()->frees, 0);
	assert_null(arc_upgrade(c.kept));
	arc_weak_put(c.kept);
	assert_int_equal(c.nr_calls, 1);
	assert_ends(1, 1);
}

static void cyclic_object_given_up_is_dropped_without_its_body(void **state)
{
	struct cyclic c = { .result = -EINVAL };

	(void)state;
	begin();
	c.part = doc_new(&doc_type, 1);
	assert_null(arc_new_cyclic(&doc_type, 0, know_thyself, &c));
	assert_int_equal(c.nr_calls, 1);
	assert_int_equal(tally()->drops, 1);		/* the part's */
	assert_int_equal(tally()->frees, 1);
	assert_null(arc_upgrade(c.kept));
	assert_int_equal(ledger_live(this_machine(), &doc_type), 1);
	arc_weak_put(c.kept);
	assert_ends(1, 2);
}

/* ---- fail the nth ---- */

static void births_survive_every_failure(void **state)
{
	struct cyclic c = { .result = 0 };
	unsigned long nth;
	struct doc *d;

	(void)state;
	begin();
	assert_int_equal(arc_type_register(&doc_type), 0);
	for (nth = 1;; nth++) {
		inject_arm(this_machine(), nth);
		d = arc_new(&doc_type, 0);
		if (!inject_disarm(this_machine()))
			break;
		assert_null(d);
		assert_int_equal(ledger_live(this_machine(), &doc_type), 0);
	}
	assert_int_equal(nth, 2);
	arc_put(&d->arc);
	for (nth = 1;; nth++) {
		inject_arm(this_machine(), nth);
		d = arc_new_cyclic(&doc_type, 0, know_thyself, &c);
		if (!inject_disarm(this_machine()))
			break;
		assert_null(d);
		assert_null(c.kept);
		assert_int_equal(ledger_live(this_machine(), &doc_type), 0);
	}
	arc_weak_put(c.kept);
	arc_put(&d->arc);
	assert_ends(2, 2);
}

static void make_mut_that_fails_changes_nothing(void **state)
{
	struct doc *d, *changed;
	struct arc *ref, *other;
	unsigned long nth;

	(void)state;
	begin();
	d = doc_new(&doc_type, 5);
	ref = &d->arc;
	other = arc_get(ref);
	for (nth = 1;; nth++) {
		inject_arm(this_machine(), nth);
		changed = arc_make_mut(&ref, 0);
		if (!inject_disarm(this_machine()))
			break;
		assert_null(changed);
		assert_ptr_equal(ref, &d->arc);
		assert_int_equal(arc_count(ref), 2);
	}
	assert_int_equal(nth, 2);
	assert_ptr_not_equal(changed, d);
	arc_put(ref);
	arc_put(other);
	assert_ends(2, 2);
}

/* ---- the only reference ---- */

static void get_mut_wants_the_only_reference(void **state)
{
	struct arc *weak;
	struct doc *d;

	(void)state;
	begin();
	d = doc_new(&doc_type, 1);
	assert_ptr_equal(arc_get_mut(&d->arc), d);
	arc_get(&d->arc);
	assert_null(arc_get_mut(&d->arc));
	arc_put(&d->arc);
	weak = arc_downgrade(&d->arc);
	assert_null(arc_get_mut(&d->arc));
	arc_weak_put(weak);
	assert_ptr_equal(arc_get_mut(&d->arc), d);
	arc_put(&d->arc);
	assert_ends(1, 1);
}

static void get_mut_refuses_what_a_lookup_may_find(void **state)
{
	static const struct arc_type *const types[] = { &findable_type, &rcu_type };
	unsigned int i;
	struct doc *d;

	(void)state;
	begin();
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		d = doc_new(types[i], 1);
		assert_true(arc_is_unique(&d->arc));
		assert_null(arc_get_mut(&d->arc));
		arc_put(&d->arc);
	}
	assert_ends(2, 2);
}

static void make_mut_copies_only_what_is_shared(void **state)
{
	struct doc *d, *part, *changed;
	struct arc *ref, *other, *weak;

	(void)state;
	begin();
	d = doc_new(&doc_type, 1);
	part = doc_new(&doc_type, 2);
	d->part = part;
	ref = &d->arc;
	assert_ptr_equal(arc_make_mut(&ref, 0), d);
	assert_ptr_equal(ref, &d->arc);
	assert_int_equal(tally()->clones, 0);

	other = arc_get(ref);
	changed = arc_make_mut(&ref, 0);
	assert_ptr_not_equal(changed, d);
	assert_ptr_equal(ref, &changed->arc);
	assert_true(arc_is_unique(ref));
	assert_true(arc_is_unique(other));
	assert_int_equal(arc_count(&part->arc), 2);
	changed->value = 9;
	assert_int_equal(d->value, 1);

	weak = arc_downgrade(ref);	/* a weak one sees the object go */
	assert_ptr_not_equal(arc_make_mut(&ref, 0), changed);
	assert_null(arc_upgrade(weak));
	arc_weak_put(weak);
	arc_put(ref);
	arc_put(other);
	assert_ends(4, 4);
}

static void make_mut_without_clone_is_refused(void **state)
{
	static const struct arc_type type = {
		.name = "one of a kind", .size = sizeof(struct doc),
		.offset = offsetof(struct doc, arc),
		.ops = { .drop = doc_drop, .free = doc_free, .alloc = doc_alloc },
	};
	struct arc *ref;
	struct doc *d;

	(void)state;
	begin();
	d = doc_new(&type, 1);
	ref = arc_get(&d->arc);
	assert_null(arc_make_mut(&ref, 0));
	assert_ptr_equal(ref, &d->arc);
	assert_int_equal(arc_count(ref), 2);
	expect_warn("arc_make_mut: type \"one of a kind\" has no ops.clone");
	arc_put(ref);
	arc_put(&d->arc);
	assert_ends(1, 1);
}

static void unwrap_moves_the_content_out(void **state)
{
	struct doc *d, *part, *member, content;
	struct arc *weak;

	(void)state;
	begin();
	d = doc_new(&doc_type, 42);
	part = doc_new(&doc_type, 1);
	member = doc_new(&doc_type, 2);
	d->part = part;
	list_add_tail(&member->node, &d->members);
	weak = arc_downgrade(&d->arc);
	assert_null(arc_try_unwrap(&d->arc, &content));
	assert_int_equal(tally()->drops, 0);
	assert_int_equal(tally()->frees, 0);
	assert_int_equal(weak->state, ARC_DEAD);
	assert_null(arc_upgrade(weak));
	arc_weak_put(weak);
	assert_int_equal(tally()->frees, 1);

	assert_int_equal(content.value, 42);
	assert_int_equal(content.arc.state, ARC_INIT);
	assert_int_equal(content.arc.word, 0);
	assert_ptr_equal(content.part, part);
	assert_ptr_equal(content.members.next, &member->node);
	assert_ptr_equal(member->node.next, &content.members);
	list_del(&member->node);
	arc_put(&member->arc);
	arc_put(&content.part->arc);
	assert_ends(2, 3);
}

static void unwrapped_content_may_live_again(void **state)
{
	struct doc *d, *again = must_alloc(sizeof(*again));

	(void)state;
	begin();
	d = doc_new(&doc_type, 42);
	d->part = doc_new(&doc_type, 1);
	assert_null(arc_try_unwrap(&d->arc, again));
	assert_true(list_empty(&again->members));
	arc_adopt(again, &doc_type);
	assert_int_equal(again->value, 42);
	arc_put(&again->arc);
	assert_ends(2, 3);
}

static void doc_empty(void *obj)
{
	(void)obj;
}

static void unwrap_gives_back_what_it_may_not_move(void **state)
{
	static const struct arc_field tail_fields[] = {
		{ .kind = ARC_FIELD_ARRAY, .name = "tail", .offset = sizeof(struct doc),
		  .count_offset = offsetof(struct doc, value) },
		ARC_FIELDS_END
	};
	static const struct arc_type tail_type = {
		.name = "doc with a tail", .size = sizeof(struct doc),
		.offset = offsetof(struct doc, arc), .fields = tail_fields,
		.ops = { .drop = doc_drop, .free = doc_free, .alloc = doc_alloc },
	};
	static const struct arc_type used_type = {
		.name = "used doc", .size = sizeof(struct doc), .offset = offsetof(struct doc, arc),
		.users = offsetof(struct doc, value),
		.ops = { .drop = doc_drop, .free = doc_free, .alloc = doc_alloc,
			 .on_last_user = doc_empty },
	};
	const struct arc_type *const fixed[] = { &findable_type, &tail_type, &used_type };
	unsigned int i, nr_calls = 0;
	struct doc *d, content;
	struct arc_dtor dtor;

	(void)state;
	begin();
	d = doc_new(&doc_type, 1);
	arc_get(&d->arc);
	assert_ptr_equal(arc_try_unwrap(&d->arc, &content), &d->arc);
	assert_int_equal(arc_count(&d->arc), 2);
	arc_put(&d->arc);
	arc_on_drop(&d->arc, &dtor, count_call, &nr_calls);
	assert_ptr_equal(arc_try_unwrap(&d->arc, &content), &d->arc);
	arc_put(&d->arc);
	assert_int_equal(nr_calls, 1);

	for (i = 0; i < ARRAY_SIZE(fixed); i++) {
		d = doc_new(fixed[i], 1);
		assert_ptr_equal(arc_try_unwrap(&d->arc, &content), &d->arc);
		arc_put(&d->arc);
	}
	assert_ends(1 + ARRAY_SIZE(fixed), 1 + ARRAY_SIZE(fixed));
}

static void unwrap_of_an_rcu_type_frees_after_the_readers(void **state)
{
	struct doc *d, content;

	(void)state;
	begin();
	d = doc_new(&rcu_type, 4);
	rcu_read_lock();
	assert_null(arc_try_unwrap(&d->arc, &content));
	assert_null(arc_tryget(&d->arc));
	assert_int_equal(tally()->frees, 0);
	rcu_read_unlock();
	assert_int_equal(content.value, 4);
	assert_ends(0, 1);
}

/* Several have references to one object; each tries to be the one who gets the content. */
struct race {
	struct doc *d;
	int start;
	unsigned int nr_moved;
};

static long try_to_be_last(void *arg)
{
	struct race *r = arg;
	struct doc content;

	while (!__atomic_load_n(&r->start, __ATOMIC_ACQUIRE))
		cpu_relax();
	if (arc_try_unwrap(&r->d->arc, &content))
		arc_put(&r->d->arc);
	else if (content.value == 42)
		__atomic_fetch_add(&r->nr_moved, 1, __ATOMIC_RELAXED);
	return 0;
}

static void content_is_moved_once_or_dropped_once(void **state)
{
	unsigned int i, round, nr = machine_nr_cpus(this_machine());
	struct fiber *f[MACHINE_MAX_CPUS];
	struct race r;

	(void)state;
	for (round = 0; round < NR_RACES; round++) {
		begin();
		r = (struct race){ .d = doc_new(&doc_type, 42) };
		for (i = 0; i < nr; i++) {
			if (i)
				arc_get(&r.d->arc);
			f[i] = spawn_on(i, try_to_be_last, &r);
		}
		__atomic_store_n(&r.start, 1, __ATOMIC_RELEASE);
		for (i = 0; i < nr; i++)
			join_clean(f[i]);
		assert_int_equal(r.nr_moved + tally()->drops, 1);
		assert_int_equal(tally()->frees, 1);
	}
}

/* Whoever may write does so: two at once would lose one of the additions. */
static long count_on_a_copy(void *arg)
{
	struct race *r = arg;
	struct arc *ref = &r->d->arc;
	struct doc *d;
	int i;

	for (i = 0; i < 20; i++) {
		d = arc_make_mut(&ref, 0);
		assert_non_null(d);
		d->value++;
		hw_safepoint();
		assert_true(arc_is_unique(ref));
	}
	assert_int_equal(d->value, 42 + 20);
	arc_put(ref);
	return 0;
}

static void each_writer_gets_a_copy_of_its_own(void **state)
{
	unsigned int i, nr = machine_nr_cpus(this_machine());
	struct fiber *f[MACHINE_MAX_CPUS];
	struct race r;

	(void)state;
	begin();
	r = (struct race){ .d = doc_new(&doc_type, 42) };
	for (i = 0; i < nr; i++)
		arc_get(&r.d->arc);
	for (i = 0; i < nr; i++)
		f[i] = spawn_on(i, count_on_a_copy, &r);
	for (i = 0; i < nr; i++)
		join_clean(f[i]);
	assert_true(arc_is_unique(&r.d->arc));
	assert_int_equal(r.d->value, 42);
	arc_put(&r.d->arc);
	assert_ends(nr + 1, nr + 1);
	assert_int_equal(tally()->clones, nr);
}

/* ---- puts under a lock ---- */

struct index {
	spinlock_t lock;
	struct mutex mutex;
	struct doc *d;
	bool locked_in_unlink, locked_in_drop;
	unsigned int nr_unlinks;
};

static struct index *the_index(void)
{
	static struct index of_the_test;

	return &of_the_test;
}

static void forget_doc(void *obj)
{
	struct index *ix = the_index();

	assert_ptr_equal(ix->d, obj);
	assert_null(arc_tryget(&ix->d->arc));
	ix->locked_in_unlink = spin_is_locked(&ix->lock) || mutex_is_locked(&ix->mutex);
	ix->d = NULL;
	ix->nr_unlinks++;
}

static void look_at_locks(void *obj, void *arg)
{
	struct index *ix = arg;

	(void)obj;
	ix->locked_in_drop = spin_is_locked(&ix->lock) || mutex_is_locked(&ix->mutex) ||
			     irqs_disabled();
}

static struct doc *index_begin(struct arc_dtor *dtor)
{
	struct index *ix = the_index();

	begin();
	*ix = (struct index){ .d = doc_new(&findable_type, 1) };
	mutex_init(&ix->mutex);
	arc_on_drop(&ix->d->arc, dtor, look_at_locks, ix);
	arc_get(&ix->d->arc);
	return ix->d;
}

static void index_end(void)
{
	struct index *ix = the_index();

	assert_int_equal(ix->nr_unlinks, 1);
	assert_null(ix->d);
	assert_true(ix->locked_in_unlink);
	assert_false(spin_is_locked(&ix->lock));
	assert_false(irqs_disabled());
	mutex_destroy(&ix->mutex);
	assert_ends(1, 1);
}

static void put_lock_unlinks_under_the_lock_and_drops_without(void **state)
{
	struct arc_dtor dtor;
	struct doc *d = index_begin(&dtor);

	(void)state;
	arc_put_lock(&d->arc, &the_index()->lock, forget_doc);
	assert_int_equal(the_index()->nr_unlinks, 0);
	arc_put_lock(&d->arc, &the_index()->lock, forget_doc);
	arc_put_lock(NULL, &the_index()->lock, forget_doc);
	assert_false(the_index()->locked_in_drop);
	index_end();
}

static void put_lock_irqsave_gives_interrupts_back(void **state)
{
	struct arc_dtor dtor;
	struct doc *d = index_begin(&dtor);

	(void)state;
	arc_put_lock_irqsave(&d->arc, &the_index()->lock, forget_doc);
	arc_put_lock_irqsave(&d->arc, &the_index()->lock, forget_doc);
	arc_put_lock_irqsave(NULL, &the_index()->lock, forget_doc);
	assert_false(the_index()->locked_in_drop);
	index_end();
}

static void put_mutex_unlinks_under_the_mutex(void **state)
{
	struct arc_dtor dtor;
	struct doc *d = index_begin(&dtor);

	(void)state;
	arc_put_mutex(&d->arc, &the_index()->mutex, forget_doc);
	arc_put_mutex(&d->arc, &the_index()->mutex, forget_doc);
	arc_put_mutex(NULL, &the_index()->mutex, forget_doc);
	assert_false(the_index()->locked_in_drop);
	index_end();
}

static void put_lock_too_many_is_reported(void **state)
{
	struct arc *weak;
	struct doc *d;

	(void)state;
	begin();
	d = doc_new(&doc_type, 1);
	weak = arc_downgrade(&d->arc);
	arc_put(&d->arc);
	arc_put_lock(&d->arc, &the_index()->lock, NULL);
	expect_warn("refcount_t: underflow; use-after-free.");
	assert_false(spin_is_locked(&the_index()->lock));
	refcount_set(&weak->kref.refcount, 0);
	arc_weak_put(weak);
	assert_ends(1, 1);
}

static long look_up_and_put(void *arg)
{
	struct index *ix = arg;
	struct doc *d;
	int i;

	for (i = 0; i < 50; i++) {
		spin_lock(&ix->lock);
		d = ix->d;
		if (d)
			arc_get(&d->arc);	/* would be reported on a dying one */
		spin_unlock(&ix->lock);
		if (!d)
			break;
		hw_safepoint();
		arc_put_lock(&d->arc, &ix->lock, forget_doc);
	}
	return 0;
}

static void lookup_under_the_lock_meets_no_dying_object(void **state)
{
	unsigned int i, round, nr = machine_nr_cpus(this_machine());
	struct fiber *f[MACHINE_MAX_CPUS];
	struct arc_dtor dtor;
	struct doc *d;

	(void)state;
	for (round = 0; round < NR_RACES / 4; round++) {
		d = index_begin(&dtor);
		arc_put(&d->arc);
		for (i = 0; i < nr; i++)
			f[i] = spawn_on(i, look_up_and_put, the_index());
		arc_put_lock(&d->arc, &the_index()->lock, forget_doc);
		for (i = 0; i < nr; i++)
			join_clean(f[i]);
		index_end();
	}
}

/* ---- puts after a grace period ---- */

static void put_rcu_keeps_the_content_for_readers(void **state)
{
	struct doc *d, *part;

	(void)state;
	begin();
	d = doc_new(&rcu_type, 6);
	part = doc_new(&doc_type, 1);
	d->part = part;
	rcu_read_lock();
	arc_get(&d->arc);
	arc_put_rcu(&d->arc);		/* not the last: nothing waits */
	arc_put_rcu(&d->arc);
	assert_null(arc_tryget(&d->arc));
	assert_int_equal(d->arc.state, ARC_DYING);
	assert_int_equal(d->value, 6);
	assert_ptr_equal(d->part, part);
	assert_int_equal(tally()->drops, 0);
	rcu_read_unlock();
	assert_ends(2, 2);
}

static void put_rcu_of_many_ends_in_the_order_of_the_puts(void **state)
{
	struct doc *d[20];
	unsigned int i;

	(void)state;
	begin();
	for (i = 0; i < ARRAY_SIZE(d); i++)
		d[i] = doc_new(&doc_type, 1);
	for (i = 0; i < ARRAY_SIZE(d); i++) {
		arc_put_rcu(&d[i]->arc);
		if (i == ARRAY_SIZE(d) / 2)
			synchronize_rcu();
	}
	arc_put_rcu(NULL);
	assert_ends(ARRAY_SIZE(d), ARRAY_SIZE(d));
}

static void put_rcu_of_a_type_that_sleeps_waits_for_a_task(void **state)
{
	(void)state;
	begin();
	arc_put_rcu(&doc_new(&sleeping_type, 1)->arc);
	assert_ends(1, 1);
}

static long put_many(void *arg)
{
	int i;

	for (i = 0; i < 30; i++) {
		struct doc *d = arc_new((const struct arc_type *)arg, 0);

		assert_non_null(d);
		INIT_LIST_HEAD(&d->members);
		rcu_read_lock();
		arc_put_rcu(&d->arc);
		rcu_read_unlock();
		hw_safepoint();
	}
	return 0;
}

static void put_rcu_on_all_cpus_loses_nothing(void **state)
{
	unsigned int i, nr = machine_nr_cpus(this_machine());
	struct fiber *f[MACHINE_MAX_CPUS];

	(void)state;
	begin();
	assert_int_equal(arc_type_register(&rcu_type), 0);
	for (i = 0; i < nr; i++)
		f[i] = spawn_on(i, put_many, (void *)&rcu_type);
	for (i = 0; i < nr; i++)
		join_clean(f[i]);
	assert_ends(nr * 30, nr * 30);
}

/* ---- weak references ---- */

static void weak_reference_is_got_from_a_weak_one(void **state)
{
	struct arc *weak;
	struct doc *d;

	(void)state;
	begin();
	d = doc_new(&doc_type, 1);
	weak = arc_downgrade(&d->arc);
	arc_put(&d->arc);
	assert_ptr_equal(arc_weak_get(weak), weak);	/* of a dead object, too */
	assert_int_equal(arc_weak_count(weak), 2);
	arc_weak_put(weak);
	assert_int_equal(tally()->frees, 0);
	arc_weak_put(weak);
	assert_ends(1, 1);
}

static void private_type_works_through_all_of_it(void **state)
{
	struct doc *d, content;
	struct arc *ref;

	(void)state;
	begin();
	d = doc_new(&private_type, 1);
	assert_ptr_equal(arc_get_mut(&d->arc), d);
	ref = arc_get(&d->arc);
	assert_non_null(arc_make_mut(&ref, 0));
	assert_null(arc_try_unwrap(ref, &content));
	arc_put_rcu(&d->arc);
	assert_ends(1, 2);
}

/* The same once more where each reference has a holder: the records must come out even, too. */
static const struct machine_config held = { .holders = true };

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(new_object_is_zeroed_and_counted),
		karc_unit_test(functions_without_a_site_do_the_same),
		karc_unit_test_config(functions_without_a_site_do_the_same, 1, &held),
		karc_unit_test(adopted_memory_is_freed_by_its_type),
		karc_unit_test(new_of_a_type_without_alloc_is_a_bug),
		karc_unit_test(cyclic_object_knows_itself_weakly),
		karc_unit_test_config(cyclic_object_knows_itself_weakly, 1, &held),
		karc_unit_test(cyclic_object_given_up_is_dropped_without_its_body),
		karc_unit_test_config(cyclic_object_given_up_is_dropped_without_its_body, 1, &held),
		karc_unit_test(births_survive_every_failure),
		karc_unit_test_config(births_survive_every_failure, 1, &held),
		karc_unit_test(make_mut_that_fails_changes_nothing),
		karc_unit_test_config(make_mut_that_fails_changes_nothing, 1, &held),
		karc_unit_test(get_mut_wants_the_only_reference),
		karc_unit_test(get_mut_refuses_what_a_lookup_may_find),
		karc_unit_test(make_mut_copies_only_what_is_shared),
		karc_unit_test_config(make_mut_copies_only_what_is_shared, 1, &held),
		karc_unit_test(make_mut_without_clone_is_refused),
		karc_unit_test(unwrap_moves_the_content_out),
		karc_unit_test_config(unwrap_moves_the_content_out, 1, &held),
		karc_unit_test(unwrapped_content_may_live_again),
		karc_unit_test_config(unwrapped_content_may_live_again, 1, &held),
		karc_unit_test(unwrap_gives_back_what_it_may_not_move),
		karc_unit_test_config(unwrap_gives_back_what_it_may_not_move, 1, &held),
		karc_unit_test(unwrap_of_an_rcu_type_frees_after_the_readers),
		KARC_TESTS(content_is_moved_once_or_dropped_once),
		KARC_TESTS(each_writer_gets_a_copy_of_its_own),
		karc_unit_test(put_lock_unlinks_under_the_lock_and_drops_without),
		karc_unit_test_config(put_lock_unlinks_under_the_lock_and_drops_without, 1, &held),
		karc_unit_test(put_lock_irqsave_gives_interrupts_back),
		karc_unit_test(put_mutex_unlinks_under_the_mutex),
		karc_unit_test(put_lock_too_many_is_reported),
		KARC_TESTS(lookup_under_the_lock_meets_no_dying_object),
		karc_unit_test(put_rcu_keeps_the_content_for_readers),
		karc_unit_test_config(put_rcu_keeps_the_content_for_readers, 1, &held),
		KARC_TESTS(put_rcu_of_many_ends_in_the_order_of_the_puts),
		karc_unit_test(put_rcu_of_a_type_that_sleeps_waits_for_a_task),
		KARC_TESTS(put_rcu_on_all_cpus_loses_nothing),
		karc_unit_test(weak_reference_is_got_from_a_weak_one),
		karc_unit_test(private_type_works_through_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
