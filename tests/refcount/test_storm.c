/* SPDX-License-Identifier: MIT */
/*
 * Goal: counts, deferred puts and grace periods hold when CPUs really run at once.
 * Method: every CPU does the same thing to the same objects at the same time; each object counts
 * its teardowns and holds a word that is wrong once it is gone.
 */
#include "fixture.h"

#include <sched.h>

#include <karc/base/math.h>
#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include <karc/hw/cpu.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/rcu.h>
#include <karc/refcount/reap.h>
#include "refcount_test.h"

#define ALIVE		0x600d600d600dULL
#define GONE		0xdeadULL
#define MAX_CPUS	8u

struct node {
	struct arc arc;
	u64 word;
	struct node *left, *right;	/* owned */
};

static unsigned long nr_dropped, nr_freed;

static void count(unsigned long *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

static void node_drop(void *obj)
{
	struct node *n = obj;

	assert_int_equal(READ_ONCE(n->word), ALIVE);
	WRITE_ONCE(n->word, GONE);
	count(&nr_dropped);
}

static void node_free(void *obj)
{
	count(&nr_freed);
	hostmem_free(NULL, obj);
}

static const struct arc_field node_fields[] = {
	ARC_OWNED(node, left, node),
	ARC_OWNED(node, right, node),
	ARC_FIELDS_END
};

static const struct arc_type node_type = {
	.name = "storm node",
	.size = sizeof(struct node),
	.offset = offsetof(struct node, arc),
	.flags = ARC_FINDABLE,
	.ops = { .drop = node_drop, .free = node_free },
	.fields = node_fields,
};

static const struct arc_type rcu_node_type = {
	.name = "storm rcu node",
	.size = sizeof(struct node),
	.offset = offsetof(struct node, arc),
	.flags = ARC_FINDABLE | ARC_RCU,
	.ops = { .drop = node_drop, .free = node_free },
	.fields = node_fields,
};

static struct node *node_new(const struct arc_type *type)
{
	struct node *n = must_alloc(sizeof(*n));

	n->word = ALIVE;
	arc_init(&n->arc, type);
	return n;
}

/* All that the fibers of one test share. */
struct storm {
	unsigned int nr;		/* fibers */
	unsigned int arrived;		/* at the gate, ever */
	unsigned int next_id;
	struct node *node;
	struct node *pool[64];
	unsigned long upgrades;
	bool stop;
};

static void storm_begin(struct storm *s)
{
	*s = (struct storm) { .nr = min(machine_nr_cpus(this_machine()), MAX_CPUS) };
	nr_dropped = nr_freed = 0;
	assert_int_equal(arc_type_register(&node_type), 0);
	assert_int_equal(arc_type_register(&rcu_node_type), 0);
}

/* Nobody goes on before all are here: the @round-th time, counted from 1. */
static void gate(struct storm *s, unsigned int round)
{
	__atomic_fetch_add(&s->arrived, 1, __ATOMIC_ACQ_REL);
	while (smp_load_acquire(&s->arrived) < s->nr * round)
		cpu_relax();
}

static unsigned int my_id(struct storm *s)
{
	return __atomic_fetch_add(&s->next_id, 1, __ATOMIC_RELAXED);
}

static void storm_run(struct storm *s, long (*fn)(void *arg))
{
	struct fiber *f[MAX_CPUS];
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		f[i] = spawn_on(i, fn, s);
	for (i = 0; i < s->nr; i++)
		join_clean(f[i]);
}

/* ---- upgrade against the last put ---- */

#define UPGRADE_ROUNDS	200u

static long upgrades(void *arg)
{
	struct storm *s = arg;
	unsigned int id = my_id(s), round, gates = 0;
	struct node *n;

	for (round = 0; round < UPGRADE_ROUNDS; round++) {
		if (!id)
			s->node = node_new(&node_type);
		gate(s, ++gates);
		n = s->node;
		arc_downgrade(&n->arc);		/* id 0 holds it until all have theirs */
		gate(s, ++gates);
		if (!id)
			arc_put(&n->arc);
		while (arc_upgrade(&n->arc)) {
			assert_int_equal(READ_ONCE(n->word), ALIVE);
			count(&s->upgrades);
			arc_put(&n->arc);
			cpu_relax();
		}
		assert_null(arc_upgrade(&n->arc));
		arc_weak_put(&n->arc);
		gate(s, ++gates);
	}
	return 0;
}

static void an_upgrade_gets_the_object_alive_or_not_at_all(void **state)
{
	struct storm s;

	(void)state;
	storm_begin(&s);
	storm_run(&s, upgrades);
	assert_int_equal(nr_dropped, UPGRADE_ROUNDS);
	assert_int_equal(nr_freed, UPGRADE_ROUNDS);
	assert_int_equal(ledger_live(this_machine(), &node_type), 0);
}

/* ---- gets and puts of many on one object ---- */

static long gets_and_puts(void *arg)
{
	struct storm *s = arg;
	unsigned int i;

	gate(s, 1);
	for (i = 0; i < 2000; i++) {
		arc_get(&s->node->arc);
		if (i % 64 == 0)
			cond_resched();
		arc_put(&s->node->arc);
	}
	arc_put(&s->node->arc);		/* the one that it was given */
	return 0;
}

static void counts_of_all_cpus_add_up(void **state)
{
	struct storm s;
	unsigned int i;

	(void)state;
	storm_begin(&s);
	s.node = node_new(&node_type);
	for (i = 0; i < s.nr; i++)
		arc_get(&s.node->arc);
	storm_run(&s, gets_and_puts);
	assert_int_equal(arc_count(&s.node->arc), 1);
	assert_int_equal(nr_dropped, 0);
	arc_put(&s.node->arc);
	assert_int_equal(nr_freed, 1);
}

/* ---- graphs that several CPUs let go of ---- */

#define DEPTH	40

/* Two chains that own the same tail, each with its own head; the tail goes with the later one. */
static long drops_shared_graphs(void *arg)
{
	struct storm *s = arg;
	unsigned int id = my_id(s), round, i, gates = 0;

	for (round = 0; round < 20; round++) {
		struct node *head;

		if (!id) {
			s->node = node_new(&node_type);
			for (i = 1; i < s->nr; i++)
				arc_get(&s->node->arc);
		}
		gate(s, ++gates);
		head = s->node;
		for (i = 0; i < DEPTH; i++) {
			struct node *n = node_new(&node_type);

			n->left = head;
			n->right = node_new(&node_type);
			head = n;
		}
		gate(s, ++gates);
		arc_put(&head->arc);
		gate(s, ++gates);
	}
	return 0;
}

static void a_tail_that_all_share_goes_once(void **state)
{
	struct storm s;

	(void)state;
	storm_begin(&s);
	storm_run(&s, drops_shared_graphs);
	assert_int_equal(nr_dropped, 20 * (s.nr * DEPTH * 2 + 1));
	assert_int_equal(nr_freed, nr_dropped);
}

/* ---- puts from where nothing may sleep ---- */

static long defers_puts(void *arg)
{
	struct storm *s = arg;
	unsigned int i;

	gate(s, 1);
	for (i = 0; i < 300; i++) {
		struct node *n = node_new(&node_type);

		local_irq_disable();
		arc_put_deferred(&n->arc);
		local_irq_enable();
		if (i % 32 == 0)
			reap_deferred();
	}
	return 0;
}

static void deferred_puts_of_all_cpus_are_done(void **state)
{
	struct storm s;

	(void)state;
	storm_begin(&s);
	storm_run(&s, defers_puts);
	machine_quiesce(this_machine());
	assert_int_equal(reap_nr_deferred(), 0);
	assert_int_equal(nr_freed, s.nr * 300);
}

/* ---- readers under RCU ---- */

static long replaces_and_reads(void *arg)
{
	struct storm *s = arg;
	unsigned int id = my_id(s), i, k;
	struct node *n;

	gate(s, 1);
	for (i = 0; i < 1500; i++) {
		struct node **slot = &s->pool[(i * 7 + id) % ARRAY_SIZE(s->pool)];

		rcu_read_lock();
		for (k = 0; k < 4; k++) {
			n = smp_load_acquire(&s->pool[(i + k) % ARRAY_SIZE(s->pool)]);
			/* It may be dying, its memory may not be gone. */
			if (n && arc_tryget(&n->arc)) {
				assert_int_equal(READ_ONCE(n->word), ALIVE);
				arc_put(&n->arc);
			}
		}
		rcu_read_unlock();
		if (i % 3 == 0) {
			n = node_new(&rcu_node_type);
			n = xchg(slot, n);
			if (n)
				arc_put(&n->arc);
		}
		if (i % 256 == id)
			synchronize_rcu();
		if (i % 16 == 0)
			cond_resched();
	}
	return 0;
}

static void memory_outlives_the_readers_that_found_it(void **state)
{
	unsigned long before;
	struct storm s;
	unsigned int i;

	(void)state;
	storm_begin(&s);
	storm_run(&s, replaces_and_reads);
	before = READ_ONCE(nr_dropped);
	for (i = 0; i < ARRAY_SIZE(s.pool); i++)
		if (s.pool[i])
			arc_put(&s.pool[i]->arc);
	assert_true(nr_dropped > before);
	rcu_barrier();
	assert_int_equal(nr_freed, nr_dropped);
	assert_int_equal(nr_freed, s.nr * 500);
	assert_int_equal(rcu_nr_pending(), 0);
}

struct late {
	struct rcu_head rcu;
	u64 word;
};

static void late_free(struct rcu_head *head)
{
	struct late *l = container_of(head, struct late, rcu);

	assert_int_equal(l->word, ALIVE);
	hostmem_free(NULL, l);
	count(&nr_freed);
}

static long calls_and_waits(void *arg)
{
	struct storm *s = arg;
	unsigned int id = my_id(s), i;

	gate(s, 1);
	for (i = 0; i < 400; i++) {
		struct late *l = must_alloc(sizeof(*l));

		l->word = ALIVE;
		call_rcu(&l->rcu, late_free);
		if (i % 100 == id)
			rcu_barrier();
		if (i % 8 == 0)
			cond_resched();
	}
	return 0;
}

static void barriers_of_all_cpus_see_all_callbacks(void **state)
{
	struct storm s;

	(void)state;
	storm_begin(&s);
	storm_run(&s, calls_and_waits);
	rcu_barrier();
	assert_int_equal(nr_freed, s.nr * 400);
}

/* All spin in synchronize_rcu() at the same time: each is quiet for the others. */
static long waits_again_and_again(void *arg)
{
	struct storm *s = arg;
	unsigned int i;

	gate(s, 1);
	for (i = 0; i < 200; i++)
		synchronize_rcu();
	count(&s->upgrades);
	return 0;
}

static void waiters_on_all_cpus_do_not_wait_for_each_other(void **state)
{
	struct storm s;

	(void)state;
	storm_begin(&s);
	storm_run(&s, waits_again_and_again);
	assert_int_equal(s.upgrades, s.nr);
}

/* ---- CPUs that are not there ---- */

/* Blocks outside, as a read() would, until it is told to come back. */
static long goes_away(void *arg)
{
	struct storm *s = arg;
	struct late *l = must_alloc(sizeof(*l));

	l->word = ALIVE;
	call_rcu(&l->rcu, late_free);
	cpu_leave();
	__atomic_fetch_add(&s->arrived, 1, __ATOMIC_ACQ_REL);
	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE))
		sched_yield();
	cpu_enter();
	return 0;
}

static void nobody_waits_for_a_cpu_that_is_outside_or_idle(void **state)
{
	struct storm s;
	struct fiber *f;
	unsigned int i;

	(void)state;
	storm_begin(&s);
	f = spawn_on(1, goes_away, &s);		/* the others idle */
	while (!smp_load_acquire(&s.arrived))
		cpu_relax();
	for (i = 0; i < 20; i++) {
		struct late *l = must_alloc(sizeof(*l));

		l->word = ALIVE;
		call_rcu(&l->rcu, late_free);
		synchronize_rcu();
		rcu_barrier();
		assert_int_equal(READ_ONCE(nr_freed), i + 2);	/* that one's too */
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
	join_clean(f);
}

int main(void)
{
	static const struct machine_config tracked = { .holders = true };
	const struct CMUnitTest tests[] = {
		KARC_TESTS(an_upgrade_gets_the_object_alive_or_not_at_all),
		karc_unit_test_config(an_upgrade_gets_the_object_alive_or_not_at_all, 4, &tracked),
		karc_unit_test_config(a_tail_that_all_share_goes_once, 4, &tracked),
		KARC_TESTS(counts_of_all_cpus_add_up),
		KARC_TESTS(a_tail_that_all_share_goes_once),
		KARC_TESTS(deferred_puts_of_all_cpus_are_done),
		KARC_TESTS(memory_outlives_the_readers_that_found_it),
		KARC_TESTS(barriers_of_all_cpus_see_all_callbacks),
		KARC_TESTS(waiters_on_all_cpus_do_not_wait_for_each_other),
		/* A thread that blocks is the only one there in the other mode. */
		karc_unit_test_cpus_parallel(nobody_waits_for_a_cpu_that_is_outside_or_idle, 4),
		karc_unit_test_cpus_parallel(nobody_waits_for_a_cpu_that_is_outside_or_idle, 8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
