/* SPDX-License-Identifier: MIT */
/*
 * Goal: nothing a reader can see goes before the reader is done.
 * Method: readers and updaters on 4 CPUs under many seeds, with freed elements marked; the order
 * and number of callbacks; readers that sleep; the RCU lists against what they should contain.
 */
#include "fixture.h"

#include <string.h>
#include <unistd.h>

#include <karc/base/bug.h>
#include <karc/hw/ipi.h>
#include <karc/hw/irq.h>
#include <karc/refcount/rculist.h>

#include "refcount_test.h"

#define NR_SEEDS	60
#define LIVE		0x11fe
#define GONE		0xdead

static void synchronize_returns_without_readers(void **state)
{
	(void)state;
	synchronize_rcu();
	synchronize_rcu_expedited();
	rcu_barrier();
	assert_int_equal(rcu_nr_pending(), 0);
}

static void read_lock_nests(void **state)
{
	(void)state;
	assert_false(rcu_read_lock_held());
	rcu_read_lock();
	rcu_read_lock();
	assert_true(rcu_read_lock_held());
	rcu_read_unlock();
	assert_true(rcu_read_lock_held());
	rcu_read_unlock();
	assert_false(rcu_read_lock_held());
	rcu_read_lock_bh();
	assert_true(rcu_read_lock_bh_held());
	rcu_read_unlock_bh();
	rcu_read_lock_sched();
	rcu_read_unlock_sched();
	assert_false(rcu_read_lock_any_held());
}

/* ---- callbacks ---- */

struct item {
	struct rcu_head rcu;
	int nr;
	bool in_softirq;
	unsigned int cpu;
};

static int order[64], nr_called;

static void called(struct rcu_head *head)
{
	struct item *item = container_of(head, struct item, rcu);

	item->in_softirq = in_serving_softirq();
	item->cpu = smp_processor_id();
	order[nr_called++] = item->nr;
}

static void callbacks_run_in_order_in_softirq(void **state)
{
	struct item items[20];
	int i;

	(void)state;
	nr_called = 0;
	preempt_disable();
	for (i = 0; i < 20; i++) {
		items[i].nr = i;
		call_rcu(&items[i].rcu, called);
	}
	assert_int_equal(rcu_nr_pending(), 20);
	assert_int_equal(nr_called, 0);
	preempt_enable();
	rcu_barrier();
	assert_int_equal(nr_called, 20);
	for (i = 0; i < 20; i++) {
		assert_int_equal(order[i], i);
		assert_true(items[i].in_softirq);
		assert_int_equal(items[i].cpu, 0);
	}
}

static void callbacks_run_by_themselves(void **state)
{
	bool bounded = machine_config(this_machine())->mode == MACHINE_DETERMINISTIC;
	struct item item = { .nr = 7 };
	int i;

	(void)state;
	nr_called = 0;
	call_rcu(&item.rcu, called);
	/* In parallel mode the other CPUs are quiet when the host lets them run. */
	for (i = 0; (i < 10000 || !bounded) && !READ_ONCE(nr_called); i++)
		hw_safepoint();
	assert_int_equal(nr_called, 1);
}

static struct item second;

static void queue_second(struct rcu_head *head)
{
	(void)head;
	call_rcu(&second.rcu, called);
}

static void callback_may_queue_another(void **state)
{
	struct item first;

	(void)state;
	nr_called = 0;
	second.nr = 2;
	call_rcu(&first.rcu, queue_second);
	rcu_barrier();
	rcu_barrier();
	assert_int_equal(nr_called, 1);
}

static long queue_here(void *arg)
{
	call_rcu(&((struct item *)arg)->rcu, called);
	return 0;
}

static void barrier_waits_for_every_cpu(void **state)
{
	struct item items[8];
	unsigned int i;

	(void)state;
	nr_called = 0;
	for (i = 0; i < 8; i++) {
		items[i].nr = (int)i;
		join_clean(spawn_on(i, queue_here, &items[i]));
	}
	rcu_barrier();
	assert_int_equal(nr_called, 8);
	assert_int_equal(rcu_nr_pending(), 0);
	for (i = 0; i < 8; i++)
		assert_int_equal(items[i].cpu, i % machine_nr_cpus(this_machine()));
}

static void quiesce_leaves_no_callback(void **state)
{
	struct item item;

	(void)state;
	nr_called = 0;
	rcu_read_lock();
	call_rcu(&item.rcu, called);
	rcu_read_unlock();
	machine_quiesce(this_machine());
	assert_int_equal(nr_called, 1);
}

/* ---- grace periods ---- */

struct slow_reader {
	bool inside, leave, done;
};

static long read_slowly(void *arg)
{
	struct slow_reader *r = arg;

	rcu_read_lock();
	WRITE_ONCE(r->inside, true);
	while (!READ_ONCE(r->leave))
		cpu_relax();
	WRITE_ONCE(r->done, true);
	rcu_read_unlock();
	return 0;
}

static long synchronize_and_tell(void *arg)
{
	synchronize_rcu();
	WRITE_ONCE(*(bool *)arg, true);
	return 0;
}

static void grace_period_waits_for_a_reader(void **state)
{
	struct slow_reader r = { 0 };
	struct fiber *reader, *waiter;
	struct item item;
	bool over = false;
	int i;

	(void)state;
	nr_called = 0;
	reader = spawn_on(1, read_slowly, &r);
	while (!READ_ONCE(r.inside))
		fiber_yield();
	waiter = spawn_on(2, synchronize_and_tell, &over);
	call_rcu(&item.rcu, called);
	for (i = 0; i < 1000; i++)
		fiber_yield();
	assert_false(READ_ONCE(over));
	assert_int_equal(nr_called, 0);
	WRITE_ONCE(r.leave, true);
	join_clean(waiter);
	assert_true(r.done);
	assert_true(over);
	rcu_barrier();
	assert_int_equal(nr_called, 1);
	join_clean(reader);
}

static void reader_that_begins_later_does_not_hold_it_up(void **state)
{
	struct slow_reader late = { 0 };
	struct fiber *reader;
	struct item item;

	(void)state;
	nr_called = 0;
	call_rcu(&item.rcu, called);
	rcu_barrier();
	reader = spawn_on(1, read_slowly, &late);
	while (!READ_ONCE(late.inside))
		fiber_yield();
	assert_int_equal(nr_called, 1);
	WRITE_ONCE(late.leave, true);
	join_clean(reader);
}

static long hold_irqs_off(void *arg)
{
	struct slow_reader *r = arg;

	local_irq_disable();
	WRITE_ONCE(r->inside, true);
	while (!READ_ONCE(r->leave))
		cpu_relax();
	WRITE_ONCE(r->done, true);
	local_irq_enable();
	return 0;
}

static void cpu_with_interrupts_off_counts_as_a_reader(void **state)
{
	struct slow_reader r = { 0 };
	struct fiber *f[2];
	bool over = false;
	int i;

	(void)state;
	f[0] = spawn_on(1, hold_irqs_off, &r);
	while (!READ_ONCE(r.inside))
		fiber_yield();
	f[1] = spawn_on(2, synchronize_and_tell, &over);
	for (i = 0; i < 300; i++)
		fiber_yield();
	assert_false(READ_ONCE(over));
	WRITE_ONCE(r.leave, true);
	join_clean(f[0]);
	join_clean(f[1]);
}

static long sleep_as_reader(void *arg)
{
	(void)arg;
	rcu_read_lock();
	might_sleep();
	rcu_read_unlock();
	return 0;
}

static void sleeping_reader_is_reported(void **state)
{
	(void)state;
	sleep_as_reader(NULL);
	expect_warn("sleeping function called from invalid context");
}

static void waiting_as_a_reader_is_reported_and_does_not_hang(void **state)
{
	(void)state;
	rcu_read_lock();
	synchronize_rcu();
	rcu_read_unlock();
	expect_warn("sleeping function called from invalid context");
}

/* ---- a published pointer under fire ---- */

struct element {
	struct rcu_head rcu;
	int state;
	unsigned long version;
};

struct published {
	struct element *now;
	bool stop;
	unsigned long nr_reads, nr_updates;
	unsigned int nr_freed;
};

static struct published *fire;

static void mark_gone(struct rcu_head *head)
{
	struct element *e = container_of(head, struct element, rcu);

	e->state = GONE;
	fire->nr_freed++;
	hostmem_free(NULL, e);
}

static long read_published(void *arg)
{
	struct published *p = arg;
	struct element *e;
	unsigned long last = 0;
	int i;

	while (!READ_ONCE(p->stop)) {
		rcu_read_lock();
		e = rcu_dereference(p->now);
		assert_int_equal(e->state, LIVE);
		assert_true(e->version >= last);
		last = e->version;
		for (i = 0; i < 3; i++)
			hw_safepoint();
		assert_int_equal(e->state, LIVE);
		rcu_read_unlock();
		p->nr_reads++;
		hw_safepoint();
	}
	return 0;
}

static struct element *element_new(unsigned long version)
{
	struct element *e = must_alloc(sizeof(*e));

	e->state = LIVE;
	e->version = version;
	return e;
}

static void update_under_readers(void)
{
	struct published p = { .now = element_new(0) };
	struct fiber *f[6];
	struct element *old;
	unsigned int i;

	fire = &p;
	for (i = 0; i < ARRAY_SIZE(f); i++)
		f[i] = spawn_on(i, read_published, &p);
	for (i = 1; i <= 40; i++) {
		old = rcu_replace_pointer(p.now, element_new(i), true);
		if (i % 2) {
			call_rcu(&old->rcu, mark_gone);
		} else {
			synchronize_rcu();
			mark_gone(&old->rcu);
		}
		fiber_yield();
	}
	WRITE_ONCE(p.stop, true);
	for (i = 0; i < ARRAY_SIZE(f); i++)
		join_clean(f[i]);
	rcu_barrier();
	assert_int_equal(p.nr_freed, 40);
	assert_true(p.nr_reads > 0);
	hostmem_free(NULL, p.now);
}

static void readers_never_see_freed_elements(void **state)
{
	unsigned int seed;

	(void)state;
	for (seed = 1; seed <= NR_SEEDS; seed++) {
		struct machine_config config = {
			.nr_cpus = 4, .seed = seed, .switch_every = 1 + seed % 4,
			.mem_bytes = 16 << 20,
		};
		struct fixture_verdict v = fixture_run_config(&config, update_under_readers);

		if (v.red)
			fail_msg("seed %u: %s", seed, v.reason);
	}
}

/* ---- lists ---- */

struct entry {
	int nr;
	struct list_head node;
	struct hlist_node hnode;
};

static void assert_list(struct list_head *head, const char *wanted)
{
	struct entry *e;
	char got[32] = "";

	rcu_read_lock();
	list_for_each_entry_rcu(e, head, node)
		got[strlen(got)] = (char)('0' + e->nr);
	rcu_read_unlock();
	assert_string_equal(got, wanted);
}

static void assert_hlist(struct hlist_head *head, const char *wanted)
{
	struct entry *e;
	char got[32] = "";

	rcu_read_lock();
	hlist_for_each_entry_rcu(e, head, hnode)
		got[strlen(got)] = (char)('0' + e->nr);
	rcu_read_unlock();
	assert_string_equal(got, wanted);
}

static void number(struct entry *e, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		e[i].nr = i;
}

static void rcu_list_keeps_its_order(void **state)
{
	LIST_HEAD(head);
	LIST_HEAD(other);
	struct entry e[6], *pos;

	(void)state;
	number(e, 6);
	assert_null(list_first_or_null_rcu(&head, struct entry, node));
	list_add_tail_rcu(&e[1].node, &head);
	list_add_tail_rcu(&e[2].node, &head);
	list_add_rcu(&e[0].node, &head);
	assert_list(&head, "012");
	list_replace_rcu(&e[1].node, &e[3].node);
	assert_list(&head, "032");
	list_del_rcu(&e[3].node);
	assert_list(&head, "02");
	assert_ptr_equal(e[3].node.next, &e[2].node);	/* a reader on it finds its way */
	list_add_tail_rcu(&e[4].node, &other);
	list_add_tail_rcu(&e[5].node, &other);
	list_splice_init_rcu(&other, &head, synchronize_rcu);
	assert_list(&head, "4502");
	assert_list(&other, "");
	assert_int_equal(list_first_or_null_rcu(&head, struct entry, node)->nr, 4);
	assert_int_equal(list_next_or_null_rcu(&head, &e[4].node, struct entry, node)->nr, 5);
	pos = &e[5];
	list_for_each_entry_continue_rcu(pos, &head, node)
		break;
	assert_int_equal(pos->nr, 0);
}

static void rcu_hlist_keeps_its_order(void **state)
{
	HLIST_HEAD(head);
	struct entry e[6];

	(void)state;
	number(e, 6);
	hlist_add_head_rcu(&e[1].hnode, &head);
	hlist_add_head_rcu(&e[0].hnode, &head);
	hlist_add_tail_rcu(&e[2].hnode, &head);
	assert_hlist(&head, "012");
	hlist_add_before_rcu(&e[3].hnode, &e[1].hnode);
	hlist_add_behind_rcu(&e[4].hnode, &e[1].hnode);
	assert_hlist(&head, "03142");
	hlist_replace_rcu(&e[1].hnode, &e[5].hnode);
	assert_hlist(&head, "03542");
	hlist_del_rcu(&e[0].hnode);
	hlist_del_init_rcu(&e[2].hnode);
	hlist_del_init_rcu(&e[2].hnode);
	assert_hlist(&head, "354");
}

static void dies(struct rcu_head *head)
{
	nr_called++;
	BUG_ON(head);
}

static long queues_one_that_dies(void *arg)
{
	struct item *items = arg;

	local_irq_disable();
	call_rcu(&items[0].rcu, called);
	call_rcu(&items[1].rcu, dies);
	call_rcu(&items[2].rcu, called);
	local_irq_enable();
	rcu_barrier();
	return 0;
}

/* The task in which the softirq happened to run ends; the machine must not wait for ever. */
static void callback_that_dies_does_not_hold_up_the_others(void **state)
{
	struct item items[4] = { { .nr = 0 }, { .nr = 1 }, { .nr = 2 }, { .nr = 3 } };

	(void)state;
	nr_called = 0;
	expect_bug(queues_one_that_dies, items, "(head)");
	call_rcu(&items[3].rcu, called);
	rcu_barrier();
	assert_int_equal(nr_called, 4);
	assert_int_equal(rcu_nr_pending(), 0);
}

static void queues_itself(struct rcu_head *head)
{
	call_rcu(head, queues_itself);
}

static void body_queues_itself(void)
{
	static struct rcu_head head;

	call_rcu(&head, queues_itself);
}

static void callback_without_end_is_left_at_shutdown(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_queues_itself);

	(void)state;
	assert_true(v.red);
	assert_int_equal(v.end, MACHINE_VALUE);
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, "rcu callback"));
}

/* ---- a CPU that is blocked outside karc ---- */

struct outsider {
	int pipe[2];
	bool out;
	bool called;
	struct rcu_head head;
};

static long blocks_outside(void *arg)
{
	struct outsider *o = arg;
	char byte;
	ssize_t got;

	cpu_leave();
	__atomic_store_n(&o->out, true, __ATOMIC_RELEASE);
	got = read(o->pipe[0], &byte, 1);
	cpu_enter();
	return got;
}

static void notes_call(struct rcu_head *head)
{
	WRITE_ONCE(container_of(head, struct outsider, head)->called, true);
}

static void a_cpu_outside_holds_up_no_grace_period(void **state)
{
	struct outsider o = { .out = false };
	struct machine_result r;
	struct fiber *f;

	(void)state;
	assert_int_equal(pipe(o.pipe), 0);
	f = fiber_spawn(machine_nr_cpus(this_machine()) - 1, "outsider", blocks_outside, &o);
	while (!__atomic_load_n(&o.out, __ATOMIC_ACQUIRE))
		cpu_relax();
	for (int i = 0; i < 20; i++)
		synchronize_rcu();
	call_rcu(&o.head, notes_call);
	rcu_barrier();
	assert_true(READ_ONCE(o.called));
	assert_int_equal(write(o.pipe[1], "x", 1), 1);
	fiber_join(f, &r);
	assert_int_equal(r.value, 1);
	close(o.pipe[0]);
	close(o.pipe[1]);
}

/* ---- a barrier whose own CPU does nothing else ---- */

static struct item far_items[8];

static void far_item_called(struct rcu_head *head)
{
	container_of(head, struct item, rcu)->nr++;
}

static void queue_far(void *info)
{
	call_rcu(&((struct item *)info)->rcu, far_item_called);
}

static void barrier_ends_though_its_cpu_never_switches(void **state)
{
	unsigned int round, i, nr = machine_nr_cpus(this_machine());

	(void)state;
	memset(far_items, 0, sizeof(far_items));
	for (round = 1; round <= 20; round++) {
		for (i = 0; i < nr; i++)
			smp_call_function_single((int)i, queue_far, &far_items[i], 1);
		rcu_barrier();
		for (i = 0; i < nr; i++)
			assert_int_equal(far_items[i].nr, round);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(synchronize_returns_without_readers),
		karc_unit_test(read_lock_nests),
		KARC_TESTS(callbacks_run_in_order_in_softirq),
		KARC_TESTS(callbacks_run_by_themselves),
		KARC_TESTS(callback_may_queue_another),
		KARC_TESTS(barrier_waits_for_every_cpu),
		KARC_TESTS(quiesce_leaves_no_callback),
		karc_unit_test(callback_that_dies_does_not_hold_up_the_others),
		cmocka_unit_test(callback_without_end_is_left_at_shutdown),
		karc_unit_test_cpus(grace_period_waits_for_a_reader, 4),
		karc_unit_test_cpus(reader_that_begins_later_does_not_hold_it_up, 4),
		karc_unit_test_cpus(cpu_with_interrupts_off_counts_as_a_reader, 4),
		karc_unit_test(sleeping_reader_is_reported),
		karc_unit_test(waiting_as_a_reader_is_reported_and_does_not_hang),
		cmocka_unit_test(readers_never_see_freed_elements),
		/* Somebody must go on while a host thread is blocked. */
		karc_unit_test_cpus_parallel(a_cpu_outside_holds_up_no_grace_period, 4),
		karc_unit_test_cpus_parallel(a_cpu_outside_holds_up_no_grace_period, 8),
		karc_unit_test(rcu_list_keeps_its_order),
		karc_unit_test(rcu_hlist_keeps_its_order),
		KARC_TESTS(barrier_ends_though_its_cpu_never_switches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
