/* SPDX-License-Identifier: MIT */
/*
 * Goal: objects that CPUs count by themselves live as long as they have references, and their
 * destructor runs exactly once: at the latest when local.h says so.
 * Method: every function by itself on the owner's CPU, on others, in interrupts; a plain number as
 * the model under random operations of tasks that move about; storms on all CPUs; the limits of
 * the counters, stored there; failed allocations; a CPU that is idle or outside.
 */
#include "fixture.h"

#include <karc/base/rand.h>
#include <karc/hw/inject.h>
#include <karc/hw/irq.h>
#include <karc/refcount/audit.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/local.h>
#include <karc/refcount/reap.h>
#include <karc/refcount/room.h>

#include "refcount_test.h"
#include "storm.h"

#define ALIVE	0x600d600dU
#define GONE	0xdeadU

struct item {
	struct arc arc;
	unsigned int word;
	struct item *child;		/* owned */
};

static unsigned int nr_dropped, nr_freed, nr_confirmed, dropped_at_confirm;

static unsigned int dropped(void)
{
	return __atomic_load_n(&nr_dropped, __ATOMIC_ACQUIRE);
}

static void item_drop(void *obj)
{
	struct item *i = obj;

	assert_int_equal(i->word, ALIVE);
	i->word = GONE;
	__atomic_fetch_add(&nr_dropped, 1, __ATOMIC_RELEASE);
}

static void item_free(void *obj)
{
	__atomic_fetch_add(&nr_freed, 1, __ATOMIC_RELAXED);
	hostmem_free(NULL, obj);
}

static void item_confirmed(struct arc *arc)
{
	assert_int_equal(((struct item *)arc_object(arc))->word, ALIVE);
	dropped_at_confirm = dropped();
	__atomic_fetch_add(&nr_confirmed, 1, __ATOMIC_RELEASE);
}

static void *item_clone(const void *obj, gfp_t gfp);

static const struct arc_field item_fields[] = {
	ARC_OWNED(item, child, item),
	ARC_FIELDS_END
};

#define ITEM_TYPE(label, how) {							\
	.name = (label), .size = sizeof(struct item), .offset = offsetof(struct item, arc), \
	.flags = (how), .fields = item_fields,					\
	.ops = { .drop = item_drop, .free = item_free, .clone = item_clone } }

static const struct arc_type plain_type = ITEM_TYPE("plain item", 0);
static const struct arc_type biased_type = ITEM_TYPE("biased item", ARC_BIASED);
static const struct arc_type percpu_type = ITEM_TYPE("percpu item", ARC_PERCPU);
static const struct arc_type biased_rcu_type =
	ITEM_TYPE("biased rcu item", ARC_BIASED | ARC_RCU | ARC_FINDABLE);
static const struct arc_type percpu_rcu_type =
	ITEM_TYPE("percpu rcu item", ARC_PERCPU | ARC_RCU | ARC_FINDABLE);
static const struct arc_type percpu_sleeps_type =
	ITEM_TYPE("percpu sleeping item", ARC_PERCPU | ARC_SLEEPS);

static void begin(void)
{
	nr_dropped = nr_freed = nr_confirmed = 0;
	assert_int_equal(arc_type_register(&plain_type), 0);
	assert_int_equal(arc_type_register(&biased_type), 0);
	assert_int_equal(arc_type_register(&percpu_type), 0);
	assert_int_equal(arc_type_register(&biased_rcu_type), 0);
	assert_int_equal(arc_type_register(&percpu_rcu_type), 0);
	assert_int_equal(arc_type_register(&percpu_sleeps_type), 0);
}

static struct item *item_new(const struct arc_type *type)
{
	struct item *i = must_alloc(sizeof(*i));

	i->word = ALIVE;
	arc_init(&i->arc, type);
	return i;
}

static void *item_clone(const void *obj, gfp_t gfp)
{
	struct item *copy = item_new(((const struct item *)obj)->arc.type);

	(void)gfp;
	return copy;
}

static bool is_local(const struct item *i)
{
	return READ_ONCE(i->arc.flags) & ARC_LOCAL;
}

static bool one_cpu(void)
{
	return machine_nr_cpus(this_machine()) == 1;
}

/* Run @fn(@arg) in a task of CPU @cpu, to its end. */
static void on_cpu(unsigned int cpu, long (*fn)(void *arg), void *arg)
{
	join_clean(spawn_on(cpu, fn, arg));
}

static long get_one(void *arg)
{
	arc_get(&((struct item *)arg)->arc);
	return 0;
}

static long put_one(void *arg)
{
	arc_put(&((struct item *)arg)->arc);
	return 0;
}

static long put_one_in_atomic_context(void *arg)
{
	preempt_disable();
	arc_put(&((struct item *)arg)->arc);
	preempt_enable();
	return 0;
}

static void wait_for_drops(unsigned int nr)
{
	while (dropped() < nr)
		cpu_relax();
	assert_int_equal(dropped(), nr);
}

/* ---- owner-biased ---- */

static void owner_counts_in_the_object(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&biased_type);
	assert_true(is_local(i));
	assert_int_equal(arc_count(&i->arc), 1);
	arc_get(&i->arc);
	assert_ptr_equal(arc_tryget(&i->arc), &i->arc);
	assert_int_equal(i->arc.cursor, 3);
	assert_int_equal(arc_count(&i->arc), 3);
	assert_int_equal(arc_local_count(&i->arc), 3);
	arc_put(&i->arc);
	arc_put(&i->arc);
	assert_true(is_local(i));
	assert_int_equal(dropped(), 0);
	arc_put(&i->arc);
	assert_int_equal(dropped(), 1);
	assert_int_equal(nr_freed, 1);
}

static void others_count_in_the_strong_half(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&biased_type);
	on_cpu(1, get_one, i);
	on_cpu(1, get_one, i);
	assert_int_equal(arc_count(&i->arc), 3);
	assert_int_equal(i->arc.cursor, one_cpu() ? 3 : 1);
	on_cpu(1, put_one, i);
	assert_int_equal(arc_count(&i->arc), 2);
	assert_true(is_local(i));
	arc_put(&i->arc);			/* the owner's last: the count is in one place now */
	assert_int_equal(is_local(i), one_cpu());
	assert_int_equal(arc_count(&i->arc), 1);
	assert_int_equal(dropped(), 0);
	on_cpu(1, put_one, i);
	assert_int_equal(dropped(), 1);
}

static void put_of_what_the_owner_counted_finds_the_last(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&biased_type);
	on_cpu(1, put_one, i);
	assert_int_equal(dropped(), 1);
	i = item_new(&biased_type);
	arc_get(&i->arc);
	on_cpu(1, put_one, i);
	assert_int_equal(arc_count(&i->arc), 1);
	assert_int_equal(is_local(i), one_cpu());
	arc_put(&i->arc);
	assert_int_equal(dropped(), 2);
}

static void put_in_atomic_context_leaves_it_to_a_task(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&biased_type);
	on_cpu(1, put_one_in_atomic_context, i);
	wait_for_drops(1);
	i = item_new(&biased_type);
	arc_get(&i->arc);
	on_cpu(1, put_one_in_atomic_context, i);
	on_cpu(1, put_one_in_atomic_context, i);
	wait_for_drops(2);
}

/* Queued and the owner's count come to zero in either order. */
static void queued_put_and_the_owners_last_meet(void **state)
{
	struct item *i;
	unsigned int n;

	(void)state;
	begin();
	for (n = 1; n <= 20; n++) {
		struct fiber *f;

		i = item_new(&biased_type);
		arc_get(&i->arc);
		f = spawn_on(1, put_one_in_atomic_context, i);
		arc_put(&i->arc);
		join_clean(f);
		wait_for_drops(n);
	}
}

static void weak_references_of_a_biased_object(void **state)
{
	struct item *i;
	struct arc *weak;

	(void)state;
	begin();
	i = item_new(&biased_type);
	weak = arc_downgrade(&i->arc);
	assert_ptr_equal(arc_upgrade(weak), weak);
	assert_int_equal(arc_count(weak), 2);
	arc_put(weak);
	assert_int_equal(arc_weak_count(weak), 1);
	arc_put(&i->arc);
	assert_int_equal(dropped(), 1);
	assert_int_equal(nr_freed, 0);
	assert_null(arc_upgrade(weak));
	assert_null(arc_tryget(weak));
	arc_weak_put(weak);
	assert_int_equal(nr_freed, 1);
}

static void unique_only_when_the_count_is_in_one_place(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&biased_type);
	assert_false(arc_is_unique(&i->arc));
	assert_null(arc_get_mut(&i->arc));
	assert_true(arc_local_exact(&i->arc));
	assert_false(is_local(i));
	assert_true(arc_is_unique(&i->arc));
	assert_ptr_equal(arc_get_mut(&i->arc), i);
	assert_true(arc_local_exact(&i->arc));	/* is there already */
	arc_put(&i->arc);
	assert_int_equal(dropped(), 1);
}

static long exact_elsewhere(void *arg)
{
	struct item *i = arg;

	preempt_disable();
	assert_int_equal(arc_local_exact(&i->arc), one_cpu());
	preempt_enable();
	assert_true(arc_local_exact(&i->arc));
	return 0;
}

static void exact_asks_the_owner_where_it_may_wait(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&biased_type);
	arc_get(&i->arc);
	on_cpu(1, exact_elsewhere, i);
	assert_int_equal(refcount_read(&i->arc.kref.refcount), 2);
	arc_put(&i->arc);
	arc_put(&i->arc);
	assert_int_equal(dropped(), 1);
}

static void too_many_for_the_owner_go_to_the_strong_half(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&biased_type);
	WRITE_ONCE(i->arc.cursor, LOCAL_LIMIT - 2);
	arc_get(&i->arc);
	assert_true(is_local(i));
	arc_get(&i->arc);
	assert_false(is_local(i));
	assert_int_equal(arc_count(&i->arc), LOCAL_LIMIT);
	refcount_set(&i->arc.kref.refcount, REFCOUNT_MAX);
	arc_get(&i->arc);
	expect_warn("refcount_t: saturated; leaking memory.");
	refcount_set(&i->arc.kref.refcount, 1);
	arc_put(&i->arc);
	assert_int_equal(dropped(), 1);
}

static void put_of_a_dead_biased_object_is_reported(void **state)
{
	struct arc *weak;

	(void)state;
	begin();
	weak = arc_downgrade(&item_new(&biased_type)->arc);
	arc_put(weak);
	assert_int_equal(dropped(), 1);
	arc_put(weak);
	expect_warn("refcount_t: underflow; use-after-free.");
	refcount_set(&weak->kref.refcount, 0);
	arc_weak_put(weak);
}

static long make_one(void *arg)
{
	*(struct item **)arg = item_new(&biased_type);
	return 0;
}

static void owner_that_idles_is_asked(void **state)
{
	struct item *i;

	(void)state;
	begin();
	on_cpu(1, make_one, &i);
	assert_true(is_local(i));
	arc_get(&i->arc);
	arc_put(&i->arc);
	assert_true(is_local(i));
	arc_put(&i->arc);
	assert_int_equal(dropped(), 1);
}

struct outside {
	struct item *item;
	bool left, back;
};

static long make_one_and_leave(void *arg)
{
	struct outside *o = arg;

	o->item = item_new(&biased_type);
	cpu_leave();
	__atomic_store_n(&o->left, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&o->back, __ATOMIC_ACQUIRE))
		;
	cpu_enter();
	return 0;
}

static void owner_that_is_outside_is_stood_in_for(void **state)
{
	struct outside o = { .item = NULL };
	struct fiber *f;

	(void)state;
	begin();
	f = spawn_on(1, make_one_and_leave, &o);
	while (!__atomic_load_n(&o.left, __ATOMIC_ACQUIRE))
		cpu_relax();
	arc_put(&o.item->arc);
	assert_int_equal(dropped(), 1);
	__atomic_store_n(&o.back, true, __ATOMIC_RELEASE);
	join_clean(f);
}

/* ---- per CPU ---- */

static void percpu_object_waits_for_its_kill(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&percpu_type);
	assert_true(is_local(i));
	assert_false(arc_is_killed(&i->arc));
	arc_get(&i->arc);
	on_cpu(1, get_one, i);
	on_cpu(2, put_one, i);
	assert_int_equal(arc_count(&i->arc), 2);
	assert_int_equal(arc_local_count(&i->arc), 2);
	arc_put(&i->arc);
	assert_int_equal(dropped(), 0);
	arc_kill(&i->arc, item_confirmed);
	rcu_barrier();
	assert_int_equal(dropped(), 1);
	assert_int_equal(nr_confirmed, 1);
	assert_int_equal(dropped_at_confirm, 0);
}

static void killed_object_is_counted_in_one_place(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&percpu_type);
	arc_get(&i->arc);
	on_cpu(1, get_one, i);
	arc_kill(&i->arc, NULL);
	assert_true(arc_is_killed(&i->arc));
	assert_int_equal(arc_count(&i->arc), 2);	/* before the grace period, and after */
	rcu_barrier();
	assert_int_equal(refcount_read(&i->arc.kref.refcount), 2);
	assert_int_equal(arc_count(&i->arc), 2);
	assert_null(i->arc.link);
	arc_put(&i->arc);
	assert_int_equal(dropped(), 0);
	on_cpu(1, put_one, i);
	assert_int_equal(dropped(), 1);
}

static void tryget_and_upgrade_work_after_the_kill_until_zero(void **state)
{
	struct arc *weak, *a;

	(void)state;
	begin();
	a = &item_new(&percpu_type)->arc;
	weak = arc_downgrade(a);
	assert_ptr_equal(arc_tryget_live(a), a);
	arc_kill(a, NULL);
	assert_null(arc_tryget_live(a));
	assert_ptr_equal(arc_upgrade(weak), a);		/* in the grace period */
	rcu_barrier();
	assert_null(arc_tryget_live(a));
	assert_ptr_equal(arc_upgrade(weak), a);
	assert_ptr_equal(arc_tryget(a), a);
	assert_int_equal(arc_count(a), 4);
	arc_put(a);
	arc_put(a);
	arc_put(a);
	assert_int_equal(dropped(), 0);
	arc_put(a);
	assert_int_equal(dropped(), 1);
	assert_true(arc_is_killed(weak));
	assert_null(arc_upgrade(weak));
	assert_null(arc_tryget_live(weak));
	arc_weak_put(weak);
	assert_int_equal(nr_freed, 1);
}

static void tryget_live_of_other_types_is_tryget(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&biased_type);
	assert_ptr_equal(arc_tryget_live(&i->arc), &i->arc);
	assert_false(arc_is_killed(&i->arc));
	arc_put(&i->arc);
	arc_put(&i->arc);
	i = item_new(&plain_type);
	arc_get_hot(&i->arc);
	arc_put_hot(&i->arc);
	arc_put_hot(NULL);
	assert_ptr_equal((arc_tryget_live)(&i->arc), &i->arc);
	arc_put(&i->arc);
	arc_put(&i->arc);
	assert_int_equal(dropped(), 2);
}

static void reinit_gives_the_reference_that_kill_takes(void **state)
{
	struct item *i;
	unsigned int n;

	(void)state;
	begin();
	i = item_new(&percpu_type);
	arc_get(&i->arc);
	for (n = 0; n < 3; n++) {
		arc_kill(&i->arc, item_confirmed);
		assert_ptr_equal(arc_reinit(&i->arc), &i->arc);	/* waits for the kill */
		assert_int_equal(nr_confirmed, n + 1);
		assert_true(is_local(i));
		assert_false(arc_is_killed(&i->arc));
		assert_int_equal(arc_count(&i->arc), 2);
	}
	arc_put(&i->arc);
	(arc_kill)(&i->arc, NULL);
	rcu_barrier();
	assert_int_equal(dropped(), 1);
}

static void kill_is_for_percpu_types_and_once(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&biased_type);
	arc_kill(&i->arc, NULL);
	expect_warn("is not ARC_PERCPU");
	arc_put(&i->arc);
	i = item_new(&percpu_type);
	arc_get(&i->arc);
	arc_kill(&i->arc, NULL);
	arc_kill(&i->arc, NULL);
	expect_warn("is killed already");
	rcu_barrier();
	assert_int_equal(arc_count(&i->arc), 1);
	arc_put(&i->arc);
	assert_int_equal(dropped(), 2);
}

static void reinit_is_for_killed_objects(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&percpu_type);
	assert_null((arc_reinit)(&i->arc));
	expect_warn("is not killed");
	assert_int_equal(arc_count(&i->arc), 1);
	arc_kill(&i->arc, NULL);
	rcu_barrier();
	assert_int_equal(dropped(), 1);
}

static void quiet_point_finds_what_nobody_holds(void **state)
{
	struct item *held, *left;

	(void)state;
	begin();
	held = item_new(&percpu_type);
	left = item_new(&percpu_type);
	on_cpu(1, put_one, left);
	rcu_barrier();
	assert_int_equal(dropped(), 0);
	machine_quiesce(this_machine());
	assert_int_equal(dropped(), 1);
	assert_true(is_local(held));
	arc_put(&held->arc);
	machine_quiesce(this_machine());
	assert_int_equal(dropped(), 2);
}

static void shutdown_finds_it_too(void **state)
{
	(void)state;
	begin();
	arc_put(&item_new(&percpu_type)->arc);
}

static void exact_percpu_object_is_found_without_kill(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&percpu_type);
	assert_false(arc_is_unique(&i->arc));
	preempt_disable();
	assert_false(arc_local_exact(&i->arc));
	preempt_enable();
	assert_true(arc_local_exact(&i->arc));
	assert_false(is_local(i));
	assert_false(arc_is_killed(&i->arc));
	assert_true(arc_is_unique(&i->arc));
	preempt_disable();
	assert_true(arc_local_exact(&i->arc));
	preempt_enable();
	arc_put(&i->arc);
	assert_int_equal(dropped(), 1);
	i = item_new(&percpu_type);
	arc_get(&i->arc);
	assert_true(arc_local_exact(&i->arc));
	arc_kill(&i->arc, item_confirmed);	/* nobody to wait for */
	assert_int_equal(nr_confirmed, 1);
	assert_true(arc_is_killed(&i->arc));
	arc_put(&i->arc);
	assert_int_equal(dropped(), 2);
}

/* A quiet point's guess, a kill and somebody who wants the count, in one grace period. */
static void guess_exact_and_kill_in_one_grace_period(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&percpu_type);
	rcu_read_lock();
	arc_kill(&i->arc, item_confirmed);
	arc_get(&i->arc);
	rcu_read_unlock();
	assert_true(arc_local_exact(&i->arc));
	assert_int_equal(nr_confirmed, 1);
	assert_true(arc_is_killed(&i->arc));
	assert_int_equal(arc_count(&i->arc), 1);
	arc_put(&i->arc);
	assert_int_equal(dropped(), 1);
}

static long count_far(void *arg)
{
	struct item *i = arg;
	u32 *nr = (u32 *)((unsigned long)i->arc.link + local_hot(this_cpu())->row);

	WRITE_ONCE(*nr, LOCAL_LIMIT - 2);	/* at either limit the counter carries */
	arc_get(&i->arc);
	arc_get(&i->arc);
	assert_int_equal(*nr, LOCAL_FIRST);
	WRITE_ONCE(*nr, 1);
	arc_put(&i->arc);
	assert_int_equal(*nr, LOCAL_FIRST);
	return 0;
}

static void counters_carry_at_their_limits(void **state)
{
	long moved = (long)LOCAL_LIMIT - 2 - (long)LOCAL_FIRST + 1 - (long)LOCAL_FIRST;
	struct item *i;

	(void)state;
	begin();
	i = item_new(&percpu_type);
	on_cpu(1, count_far, i);
	assert_int_equal(arc_local_count(&i->arc), 1 + moved + 1);
	refcount_add((int)-moved, &i->arc.kref.refcount);	/* what the test stored */
	assert_int_equal(arc_count(&i->arc), 2);
	arc_put(&i->arc);
	arc_kill(&i->arc, NULL);
	rcu_barrier();
	assert_int_equal(dropped(), 1);
}

static void sum_below_zero_is_reported_and_leaks(void **state)
{
	struct arc *a;

	(void)state;
	begin();
	a = &item_new(&percpu_type)->arc;
	arc_downgrade(a);
	arc_put(a);
	arc_put(a);
	arc_kill(a, NULL);
	rcu_barrier();
	expect_warn("refcount_t: underflow; use-after-free.");
	assert_int_equal(dropped(), 0);
	refcount_set(&a->kref.refcount, 1);
	arc_put(a);
	arc_weak_put(a);
	assert_int_equal(dropped(), 1);
}

static void many_percpu_objects_share_nothing(void **state)
{
	enum { MANY = 200 };
	struct item *i[MANY];
	unsigned int n, k;

	(void)state;
	begin();
	for (n = 0; n < MANY; n++) {
		i[n] = item_new(&percpu_type);
		for (k = 0; k < n % 7; k++)
			arc_get(&i[n]->arc);
	}
	for (n = 0; n < MANY; n++) {
		assert_int_equal(arc_count(&i[n]->arc), 1 + n % 7);
		arc_kill(&i[n]->arc, NULL);
	}
	rcu_barrier();
	for (n = 0; n < MANY; n++)
		for (k = 0; k < n % 7; k++)
			arc_put(&i[n]->arc);
	assert_int_equal(dropped(), MANY);
}

static void without_memory_it_counts_in_the_strong_half(void **state)
{
	struct item *i = must_alloc(sizeof(*i));

	(void)state;
	begin();
	i->word = ALIVE;
	inject_arm(this_machine(), 1);
	arc_init(&i->arc, &percpu_type);
	assert_true(inject_disarm(this_machine()));
	assert_false(is_local(i));
	arc_get(&i->arc);
	assert_int_equal(arc_count(&i->arc), 2);
	arc_kill(&i->arc, item_confirmed);
	assert_int_equal(nr_confirmed, 1);
	inject_arm(this_machine(), 1);
	assert_ptr_equal(arc_reinit(&i->arc), &i->arc);
	assert_true(inject_disarm(this_machine()));
	assert_false(is_local(i));
	assert_false(arc_is_killed(&i->arc));
	arc_kill(&i->arc, NULL);
	assert_ptr_equal(arc_reinit(&i->arc), &i->arc);
	assert_true(is_local(i));
	arc_put(&i->arc);
	arc_kill(&i->arc, NULL);
	rcu_barrier();
	assert_int_equal(dropped(), 1);
}

static void sleeping_destructor_runs_in_a_task(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&percpu_sleeps_type);
	arc_kill(&i->arc, NULL);	/* the callback is in softirq context */
	wait_for_drops(1);
}

/* ---- every way to put; owners ---- */

static void nothing(void *obj)
{
	(void)obj;
}

static void every_kind_of_put_counts_by_cpu(void **state)
{
	const struct arc_type *const types[] = { &biased_type, &percpu_type };
	unsigned int n;
	spinlock_t lock;
	struct item *i;

	(void)state;
	begin();
	spin_lock_init(&lock);
	for (n = 0; n < 2; n++) {
		i = item_new(types[n]);
		(arc_get)(&i->arc);
		(arc_put)(&i->arc);
		assert_ptr_equal(arc_get_hot(&i->arc), &i->arc);
		arc_put_hot(&i->arc);
		(arc_get_hot)(&i->arc);
		(arc_put_hot)(&i->arc);
		arc_get(&i->arc);
		arc_put_deferred(&i->arc);
		arc_get(&i->arc);
		arc_put_rcu(&i->arc);
		arc_get(&i->arc);
		arc_put_lock(&i->arc, &lock, nothing);
		assert_int_equal(arc_count(&i->arc), 1);
		assert_true(is_local(i));
		if (n)
			arc_kill(&i->arc, NULL);
		else
			arc_put_lock(&i->arc, &lock, nothing);
		rcu_barrier();
		assert_int_equal(dropped(), n + 1);
	}
}

static void owners_hold_children_counted_by_cpu(void **state)
{
	const struct arc_type *const types[] = { &biased_type, &percpu_type };
	struct item *parent, *child;
	unsigned int n;

	(void)state;
	begin();
	for (n = 0; n < 2; n++) {
		parent = item_new(&plain_type);
		child = item_new(types[n]);
		arc_get(&child->arc);
		parent->child = child;
		on_cpu(1, put_one, parent);
		assert_int_equal(dropped(), 2 * n + 1);
		assert_int_equal(arc_count(&child->arc), 1);
		arc_put(&child->arc);
		machine_quiesce(this_machine());
		assert_int_equal(dropped(), 2 * n + 2);
	}
}

static void count_and_audit(const struct arc_type *type)
{
	struct check_report report = { .quiet = true };
	struct item *parent, *child;

	parent = item_new(&plain_type);
	audit_hold(&parent->arc);
	child = item_new(type);
	parent->child = child;
	arc_get(&child->arc);
	on_cpu(1, get_one, child);
	audit_hold(&child->arc);
	assert_int_equal(audit_counts(this_machine(), &report), 1);	/* one nobody told of */
	audit_hold(&child->arc);
	assert_int_equal(audit_counts(this_machine(), &report), 0);
	audit_release(&child->arc);
	audit_release(&child->arc);
	audit_release(&parent->arc);
	on_cpu(1, put_one, child);
	arc_put(&child->arc);
	arc_put(&parent->arc);
	machine_quiesce(this_machine());
}

static void audit_sees_the_sum(void **state)
{
	(void)state;
	begin();
	count_and_audit(&biased_type);
	count_and_audit(&percpu_type);
	assert_int_equal(dropped(), 4);
}

static void tracked_objects_count_by_cpu_as_well(void **state)
{
	struct item *i;

	(void)state;
	begin();
	i = item_new(&biased_type);
	assert_true(i->arc.flags & ARC_TRACKED);
	assert_true(is_local(i));
	arc_get(&i->arc);
	assert_int_equal(i->arc.cursor, 2);
	arc_put(&i->arc);
	arc_put(&i->arc);
	assert_int_equal(dropped(), 1);
	i = item_new(&biased_type);
	assert_true(arc_local_exact(&i->arc));
	assert_int_equal(arc_count(&i->arc), 1);
	arc_put(&i->arc);
	i = item_new(&percpu_type);
	assert_true(is_local(i));
	arc_get(&i->arc);
	assert_ptr_equal(arc_tryget_live(&i->arc), &i->arc);
	assert_int_equal(arc_count(&i->arc), 3);
	arc_put(&i->arc);
	arc_kill(&i->arc, item_confirmed);
	assert_null(arc_tryget_live(&i->arc));
	assert_ptr_equal(arc_reinit(&i->arc), &i->arc);
	assert_int_equal(nr_confirmed, 1);
	assert_int_equal(arc_count(&i->arc), 2);
	arc_put(&i->arc);
	arc_kill(&i->arc, NULL);
	rcu_barrier();
	assert_int_equal(dropped(), 3);
}

static void corrupt_one(void)
{
	struct item *i;

	begin();
	i = item_new(&percpu_type);
	arc_put(&i->arc);
	arc_put(&i->arc);
	assert_true(machine_check(this_machine()) >= 1);
	arc_get(&i->arc);
	arc_get(&i->arc);
	arc_kill(&i->arc, NULL);
	rcu_barrier();
}

static void check_finds_a_sum_below_zero(void **state)
{
	struct fixture_verdict v;

	(void)state;
	v = fixture_run(2, corrupt_one);
	assert_int_equal(v.nr_failures, 0);
}

/* ---- a model under random operations ---- */

#define MODEL_ITEMS	12u
#define MODEL_STEPS	1500u

struct model {
	struct rnd rnd;
	struct item *item[MODEL_ITEMS];
	long count[MODEL_ITEMS];	/* 0: dead, as far as the model knows */
	bool killed[MODEL_ITEMS];
	unsigned int nr_made;
};

static void model_make(struct model *m, unsigned int n)
{
	m->item[n] = item_new(n % 2 ? &percpu_type : &biased_type);
	arc_downgrade(&m->item[n]->arc);
	m->count[n] = 1;
	m->killed[n] = false;
	m->nr_made++;
}

static void model_end(struct model *m, unsigned int n)
{
	assert_null(arc_upgrade(&m->item[n]->arc));
	arc_weak_put(&m->item[n]->arc);
	model_make(m, n);
}

static void model_put(struct model *m, unsigned int n)
{
	/* An object that counts per CPU keeps the reference that its kill takes. */
	if (m->count[n] == 1 && n % 2 && !m->killed[n]) {
		m->killed[n] = true;
		arc_kill(&m->item[n]->arc, NULL);
	} else {
		arc_put(&m->item[n]->arc);
	}
	if (!--m->count[n]) {
		rcu_barrier();
		model_end(m, n);
	}
}

static void model_step(struct model *m)
{
	unsigned int n = rnd_below(&m->rnd, MODEL_ITEMS);
	struct arc *a = &m->item[n]->arc;

	switch (rnd_below(&m->rnd, 8)) {
	case 0:
	case 1:
		arc_get(a);
		m->count[n]++;
		break;
	case 2:
		assert_ptr_equal(arc_upgrade(a), a);
		m->count[n]++;
		break;
	case 3:
		if (n % 2 && m->killed[n] && m->count[n]) {
			arc_reinit(a);
			m->killed[n] = false;
			m->count[n]++;
		} else if (n % 2 && m->count[n] > 1) {
			arc_kill(a, NULL);
			m->killed[n] = true;
			m->count[n]--;
		}
		break;
	case 4:
		if (!rnd_below(&m->rnd, 16))
			arc_local_exact(a);
		break;
	default:
		model_put(m, n);
		break;
	}
	if (m->count[n])
		assert_int_equal(arc_local_count(&m->item[n]->arc), m->count[n]);
}

static void behaves_as_a_plain_number(void **state)
{
	unsigned int n, nr_cpus = machine_nr_cpus(this_machine());
	u64 seed = machine_random(this_machine());
	struct model *m = must_alloc(sizeof(*m));

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	begin();
	rnd_seed(&m->rnd, seed);
	for (n = 0; n < MODEL_ITEMS; n++)
		model_make(m, n);
	for (n = 0; n < MODEL_STEPS; n++) {
		if (!rnd_below(&m->rnd, 3))
			fiber_set_cpu(fiber_self(), rnd_below(&m->rnd, nr_cpus));
		model_step(m);
	}
	for (n = 0; n < MODEL_ITEMS; n++) {
		while (m->count[n] > 1)
			model_put(m, n);
		if (n % 2 && !m->killed[n])
			arc_kill(&m->item[n]->arc, NULL);
		else
			arc_put(&m->item[n]->arc);
		rcu_barrier();
		arc_weak_put(&m->item[n]->arc);
	}
	assert_int_equal(dropped(), m->nr_made);
	fiber_set_cpu(fiber_self(), 0);
	hostmem_free(NULL, m);
}

/* ---- all CPUs at once ---- */

#define STORM_ROUNDS	10u
#define STORM_OPS	120u

struct shared {
	struct item *item;
	struct item *slot;		/* what lookups find, RCU */
};

/* References that move: got on one CPU, put on another, in atomic context or not. */
static long move_references(struct storm_worker *w)
{
	struct item *i = ((struct shared *)w->storm->arg)->item;
	unsigned int n, nr_cpus = machine_nr_cpus(this_machine());

	for (n = 0; n < STORM_OPS; n++) {
		arc_get(&i->arc);
		if (rnd_below(&w->rnd, 6) == 0)
			fiber_set_cpu(fiber_self(), rnd_below(&w->rnd, nr_cpus));
		else if (rnd_below(&w->rnd, 4) == 0)
			cpu_relax();
		assert_int_equal(i->word, ALIVE);
		if (rnd_below(&w->rnd, 4) == 0)
			put_one_in_atomic_context(i);
		else
			arc_put(&i->arc);
	}
	arc_put(&i->arc);
	return 0;
}

static void run_moving(const struct arc_type *type)
{
	struct shared shared;
	struct storm storm;
	unsigned int round, n;

	begin();
	for (round = 1; round <= STORM_ROUNDS; round++) {
		shared.item = item_new(type);
		for (n = 1; n < 2 * machine_nr_cpus(this_machine()); n++)
			arc_get(&shared.item->arc);
		if (type == &percpu_type)
			arc_get(&shared.item->arc);
		storm_run(&storm, 2, move_references, &shared);
		if (type == &percpu_type)
			arc_kill(&shared.item->arc, NULL);
		rcu_barrier();
		wait_for_drops(round);
	}
}

static void biased_object_survives_references_that_move(void **state)
{
	(void)state;
	run_moving(&biased_type);
}

static void percpu_object_survives_references_that_move(void **state)
{
	(void)state;
	run_moving(&percpu_type);
}

/* Lookups without a count against the end of the object. */
static long look_up(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;
	struct item *i;
	unsigned int n;

	if (w->index == 0) {
		for (n = 0; n < 5; n++)
			cpu_relax();
		i = s->item;
		rcu_assign_pointer(s->slot, NULL);
		if (i->arc.type == &percpu_rcu_type)
			arc_kill(&i->arc, item_confirmed);
		else
			arc_put(&i->arc);
		return 0;
	}
	for (n = 0; n < STORM_OPS; n++) {
		rcu_read_lock();
		i = rcu_dereference(s->slot);
		if (i && arc_tryget(&i->arc)) {
			assert_int_equal(i->word, ALIVE);
			rcu_read_unlock();
			if (rnd_below(&w->rnd, 4) == 0)
				cpu_relax();
			assert_int_equal(i->word, ALIVE);
			arc_put(&i->arc);
		} else {
			rcu_read_unlock();
		}
	}
	return 0;
}

static void run_look_up(const struct arc_type *type)
{
	struct shared shared;
	struct storm storm;
	unsigned int round;

	begin();
	for (round = 1; round <= STORM_ROUNDS; round++) {
		shared.item = shared.slot = item_new(type);
		storm_run(&storm, 1, look_up, &shared);
		rcu_barrier();
		wait_for_drops(round);
	}
	rcu_barrier();
	assert_int_equal(nr_freed, STORM_ROUNDS);
}

static void lookups_of_a_biased_object_race_its_end(void **state)
{
	(void)state;
	run_look_up(&biased_rcu_type);
}

static void lookups_of_a_percpu_object_race_its_kill(void **state)
{
	(void)state;
	run_look_up(&percpu_rcu_type);
	assert_int_equal(nr_confirmed, STORM_ROUNDS);
}

/* Weak references of all CPUs against one kill and its reinit. */
static long upgrade_and_revive(struct storm_worker *w)
{
	struct arc *weak = &((struct shared *)w->storm->arg)->item->arc;
	unsigned int n;

	for (n = 0; n < STORM_OPS / 4; n++) {
		struct arc *a = arc_upgrade(weak);

		assert_ptr_equal(a, weak);	/* the test holds one */
		if (w->index == 0 && n % 8 == 3) {
			arc_kill(a, NULL);
			arc_get(a);		/* the one that was just taken, for the put */
			assert_ptr_equal(arc_reinit(a), a);
			arc_put(a);
		}
		arc_put(a);
		if (rnd_below(&w->rnd, 3) == 0)
			cpu_relax();
	}
	arc_weak_put(weak);
	return 0;
}

static void upgrades_race_kill_and_reinit(void **state)
{
	struct shared shared;
	struct storm storm;
	unsigned int round, n;

	(void)state;
	begin();
	for (round = 1; round <= STORM_ROUNDS / 2; round++) {
		shared.item = item_new(&percpu_type);
		arc_get(&shared.item->arc);
		for (n = 0; n < machine_nr_cpus(this_machine()); n++)
			arc_downgrade(&shared.item->arc);
		storm_run(&storm, 1, upgrade_and_revive, &shared);
		arc_put(&shared.item->arc);
		assert_int_equal(arc_count(&shared.item->arc), 1);
		arc_kill(&shared.item->arc, NULL);
		rcu_barrier();
		wait_for_drops(round);
	}
}

#define HELD(n)	(&(const struct machine_config){ .nr_cpus = (n), .holders = true })

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(owner_counts_in_the_object),
		KARC_TESTS(others_count_in_the_strong_half),
		KARC_TESTS(put_of_what_the_owner_counted_finds_the_last),
		KARC_TESTS(put_in_atomic_context_leaves_it_to_a_task),
		KARC_TESTS(queued_put_and_the_owners_last_meet),
		KARC_TESTS(weak_references_of_a_biased_object),
		KARC_TESTS(unique_only_when_the_count_is_in_one_place),
		KARC_TESTS(exact_asks_the_owner_where_it_may_wait),
		karc_unit_test(too_many_for_the_owner_go_to_the_strong_half),
		karc_unit_test(put_of_a_dead_biased_object_is_reported),
		KARC_TESTS(owner_that_idles_is_asked),
		/* Deterministic mode has one host thread, which would wait outside for itself. */
		karc_unit_test_cpus_parallel(owner_that_is_outside_is_stood_in_for, 2),
		karc_unit_test_cpus_parallel(owner_that_is_outside_is_stood_in_for, 8),
		KARC_TESTS(percpu_object_waits_for_its_kill),
		KARC_TESTS(killed_object_is_counted_in_one_place),
		KARC_TESTS(tryget_and_upgrade_work_after_the_kill_until_zero),
		karc_unit_test(tryget_live_of_other_types_is_tryget),
		KARC_TESTS(reinit_gives_the_reference_that_kill_takes),
		karc_unit_test(kill_is_for_percpu_types_and_once),
		karc_unit_test(reinit_is_for_killed_objects),
		KARC_TESTS(quiet_point_finds_what_nobody_holds),
		KARC_TESTS(shutdown_finds_it_too),
		KARC_TESTS(exact_percpu_object_is_found_without_kill),
		KARC_TESTS(guess_exact_and_kill_in_one_grace_period),
		KARC_TESTS(counters_carry_at_their_limits),
		karc_unit_test(sum_below_zero_is_reported_and_leaks),
		KARC_TESTS(many_percpu_objects_share_nothing),
		karc_unit_test(without_memory_it_counts_in_the_strong_half),
		KARC_TESTS(sleeping_destructor_runs_in_a_task),
		KARC_TESTS(every_kind_of_put_counts_by_cpu),
		KARC_TESTS(owners_hold_children_counted_by_cpu),
		karc_unit_test_cpus(audit_sees_the_sum, 4),
		karc_unit_test_config(tracked_objects_count_by_cpu_as_well, 4, HELD(4)),
		karc_unit_test_config(biased_object_survives_references_that_move, 2, HELD(2)),
		cmocka_unit_test(check_finds_a_sum_below_zero),
		KARC_TESTS(behaves_as_a_plain_number),
		KARC_TESTS(biased_object_survives_references_that_move),
		KARC_TESTS(percpu_object_survives_references_that_move),
		KARC_TESTS(lookups_of_a_biased_object_race_its_end),
		KARC_TESTS(lookups_of_a_percpu_object_race_its_kill),
		KARC_TESTS(upgrades_race_kill_and_reinit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
