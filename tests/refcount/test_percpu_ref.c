/* SPDX-License-Identifier: MIT */
/*
 * Goal: a percpu_ref counts right in each mode and across the changes between them, calls release
 * exactly once and confirm after all CPUs have seen the change, and says when it is misused.
 * Method: every function by itself; a plain number as the model under random operations; storms of
 * gets, trygets and puts on all CPUs against kill, switch and reinit; failed allocations.
 */
#include "fixture.h"

#include <karc/base/rand.h>
#include <karc/hw/irq.h>
#include <karc/refcount/percpu_ref.h>
#include <karc/refcount/room.h>

#include "refcount_test.h"
#include "storm.h"

#define GFP_TEST	((gfp_t)0)

struct thing {
	struct percpu_ref ref;
	unsigned int nr_released;
	unsigned int nr_confirmed;
	unsigned int released_at_confirm;
	bool confirmed_in_softirq;
};

static struct thing *thing_of(struct percpu_ref *ref)
{
	return container_of(ref, struct thing, ref);
}

static void release(struct percpu_ref *ref)
{
	__atomic_fetch_add(&thing_of(ref)->nr_released, 1, __ATOMIC_RELAXED);
}

static void confirm(struct percpu_ref *ref)
{
	struct thing *t = thing_of(ref);

	t->released_at_confirm = READ_ONCE(t->nr_released);
	t->confirmed_in_softirq = in_serving_softirq();
	__atomic_fetch_add(&t->nr_confirmed, 1, __ATOMIC_RELEASE);
}

static void begin(struct thing *t, unsigned int flags)
{
	*t = (struct thing){ .nr_released = 0 };
	assert_int_equal(percpu_ref_init(&t->ref, release, flags, GFP_TEST), 0);
}

static void end(struct thing *t)
{
	rcu_barrier();
	assert_true(percpu_ref_is_zero(&t->ref));
	percpu_ref_exit(&t->ref);
}

/* ---- one after the other ---- */

static void counts_until_it_is_killed(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, 0);
	assert_false(percpu_ref_is_dying(&t.ref));
	assert_false(percpu_ref_is_zero(&t.ref));
	percpu_ref_get(&t.ref);
	percpu_ref_get_many(&t.ref, 5);
	assert_true(percpu_ref_tryget(&t.ref));
	assert_true(percpu_ref_tryget_many(&t.ref, 3));
	assert_true(percpu_ref_tryget_live(&t.ref));
	percpu_ref_put_many(&t.ref, 10);
	assert_int_equal(t.nr_released, 0);
	percpu_ref_kill(&t.ref);
	assert_true(percpu_ref_is_dying(&t.ref));
	rcu_barrier();
	assert_false(percpu_ref_is_zero(&t.ref));
	percpu_ref_put(&t.ref);
	assert_int_equal(t.nr_released, 1);
	assert_true(percpu_ref_is_zero(&t.ref));
	percpu_ref_exit(&t.ref);
	assert_true(percpu_ref_is_zero(&t.ref));
}

static void not_released_before_the_kill_however_often_put(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, 0);
	percpu_ref_put(&t.ref);		/* the initial one: nobody notices */
	rcu_barrier();
	assert_int_equal(t.nr_released, 0);
	percpu_ref_get(&t.ref);
	percpu_ref_kill(&t.ref);
	end(&t);
	assert_int_equal(t.nr_released, 1);
}

static void killed_tryget_works_and_tryget_live_fails(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, 0);
	percpu_ref_get(&t.ref);
	percpu_ref_kill(&t.ref);
	rcu_barrier();
	assert_true(percpu_ref_tryget(&t.ref));
	assert_false(percpu_ref_tryget_live(&t.ref));
	rcu_read_lock();
	assert_false(percpu_ref_tryget_live_rcu(&t.ref));
	rcu_read_unlock();
	percpu_ref_put_many(&t.ref, 2);
	assert_int_equal(t.nr_released, 1);
	assert_false(percpu_ref_tryget(&t.ref));
	assert_false(percpu_ref_tryget_many(&t.ref, 2));
	percpu_ref_exit(&t.ref);
}

static void tryget_live_rcu_wants_a_reader(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, 0);
	rcu_read_lock();
	assert_true(percpu_ref_tryget_live_rcu(&t.ref));
	rcu_read_unlock();
	expect_no_warn();
	assert_true(percpu_ref_tryget_live_rcu(&t.ref));
	expect_warn("rcu_read_lock_held");
	percpu_ref_put_many(&t.ref, 2);
	percpu_ref_kill(&t.ref);
	end(&t);
}

static void confirm_comes_by_rcu_and_before_release(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, 0);
	percpu_ref_kill_and_confirm(&t.ref, confirm);
	rcu_barrier();
	assert_int_equal(t.nr_confirmed, 1);
	assert_true(t.confirmed_in_softirq);
	assert_int_equal(t.released_at_confirm, 0);
	assert_int_equal(t.nr_released, 1);
	end(&t);
}

static void confirm_waits_for_readers(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, 0);
	rcu_read_lock();
	percpu_ref_kill_and_confirm(&t.ref, confirm);
	hw_safepoint();
	assert_int_equal(READ_ONCE(t.nr_confirmed), 0);
	rcu_read_unlock();
	end(&t);
	assert_int_equal(t.nr_confirmed, 1);
}

static void atomic_from_the_start_releases_at_once(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, PERCPU_REF_INIT_ATOMIC);
	percpu_ref_get(&t.ref);
	percpu_ref_kill_and_confirm(&t.ref, confirm);
	assert_int_equal(t.nr_confirmed, 1);
	assert_false(t.confirmed_in_softirq);
	assert_int_equal(t.nr_released, 0);
	percpu_ref_put(&t.ref);
	assert_int_equal(t.nr_released, 1);
	end(&t);
}

static void dead_from_the_start_is_zero_until_reinit(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, PERCPU_REF_INIT_DEAD);
	assert_true(percpu_ref_is_dying(&t.ref));
	assert_true(percpu_ref_is_zero(&t.ref));
	assert_false(percpu_ref_tryget_live(&t.ref));
	percpu_ref_reinit(&t.ref);
	assert_false(percpu_ref_is_dying(&t.ref));
	assert_true(percpu_ref_tryget_live(&t.ref));
	percpu_ref_put(&t.ref);
	percpu_ref_kill(&t.ref);
	end(&t);
	assert_int_equal(t.nr_released, 1);
}

static void reinit_counts_by_cpu_again(void **state)
{
	unsigned int i;
	struct thing t;

	(void)state;
	begin(&t, PERCPU_REF_ALLOW_REINIT);
	for (i = 1; i <= 3; i++) {
		percpu_ref_get(&t.ref);
		percpu_ref_put(&t.ref);
		percpu_ref_kill(&t.ref);
		rcu_barrier();
		assert_int_equal(t.nr_released, i);
		percpu_ref_reinit(&t.ref);
		assert_false(t.ref.percpu_count_ptr & __PERCPU_REF_ATOMIC_DEAD);
	}
	percpu_ref_kill(&t.ref);
	end(&t);
}

static void resurrect_with_references_left(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, PERCPU_REF_ALLOW_REINIT);
	percpu_ref_get(&t.ref);
	percpu_ref_kill(&t.ref);
	percpu_ref_resurrect(&t.ref);		/* waits for the kill's switch */
	assert_true(percpu_ref_tryget_live(&t.ref));
	percpu_ref_put_many(&t.ref, 2);
	assert_int_equal(t.nr_released, 0);
	percpu_ref_kill(&t.ref);
	end(&t);
	assert_int_equal(t.nr_released, 1);
}

static void switches_and_stays_so(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, PERCPU_REF_ALLOW_REINIT);
	percpu_ref_get(&t.ref);
	percpu_ref_switch_to_atomic_sync(&t.ref);
	assert_true(t.ref.percpu_count_ptr & __PERCPU_REF_ATOMIC);
	assert_int_equal(atomic_long_read(&t.ref.data->count), 2);
	percpu_ref_switch_to_atomic(&t.ref, confirm);	/* is there: confirms at once */
	assert_int_equal(t.nr_confirmed, 1);
	percpu_ref_kill(&t.ref);
	percpu_ref_put(&t.ref);
	assert_int_equal(t.nr_released, 1);
	percpu_ref_reinit(&t.ref);
	assert_true(t.ref.percpu_count_ptr & __PERCPU_REF_ATOMIC);	/* as it was told */
	percpu_ref_switch_to_percpu(&t.ref);
	assert_false(t.ref.percpu_count_ptr & __PERCPU_REF_ATOMIC);
	percpu_ref_switch_to_percpu(&t.ref);
	percpu_ref_switch_to_atomic(&t.ref, confirm);
	percpu_ref_switch_to_percpu(&t.ref);		/* waits for the one before */
	assert_int_equal(t.nr_confirmed, 2);
	percpu_ref_kill(&t.ref);
	end(&t);
	assert_int_equal(t.nr_released, 2);
}

static void dead_ref_stays_atomic_when_switched(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, PERCPU_REF_ALLOW_REINIT);
	percpu_ref_kill(&t.ref);
	percpu_ref_switch_to_percpu(&t.ref);
	rcu_barrier();
	assert_true(percpu_ref_is_zero(&t.ref));
	percpu_ref_reinit(&t.ref);
	assert_false(t.ref.percpu_count_ptr & __PERCPU_REF_ATOMIC);
	percpu_ref_kill(&t.ref);
	end(&t);
}

static void counters_go_with_the_kill_unless_reinit_is_allowed(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, 0);
	percpu_ref_get(&t.ref);
	percpu_ref_kill(&t.ref);
	rcu_barrier();
	assert_int_equal(t.ref.percpu_count_ptr, __PERCPU_REF_ATOMIC_DEAD);
	percpu_ref_put(&t.ref);
	end(&t);
}

static void count_is_known_after_exit(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, PERCPU_REF_INIT_ATOMIC);
	percpu_ref_exit(&t.ref);
	assert_null(t.ref.data);
	assert_false(percpu_ref_is_zero(&t.ref));
	percpu_ref_exit(&t.ref);		/* nothing more to do */
	begin(&t, PERCPU_REF_INIT_DEAD);
	percpu_ref_exit(&t.ref);
	assert_true(percpu_ref_is_zero(&t.ref));
}

static void last_put_in_an_interrupt_releases_there(void **state)
{
	unsigned long flags;
	struct thing t;

	(void)state;
	begin(&t, 0);
	percpu_ref_get(&t.ref);
	percpu_ref_kill(&t.ref);
	rcu_barrier();
	local_irq_save(flags);
	percpu_ref_put(&t.ref);
	assert_int_equal(t.nr_released, 1);
	local_irq_restore(flags);
	end(&t);
}

/* ---- misuse ---- */

static void second_kill_warns_and_changes_nothing(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, 0);
	percpu_ref_get(&t.ref);
	percpu_ref_kill(&t.ref);
	percpu_ref_kill(&t.ref);
	expect_warn("killed already");
	rcu_barrier();
	assert_int_equal(t.nr_released, 0);
	percpu_ref_put(&t.ref);
	end(&t);
	assert_int_equal(t.nr_released, 1);
}

static void more_puts_than_gets_are_told(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, 0);
	percpu_ref_put_many(&t.ref, 3);
	percpu_ref_kill(&t.ref);
	rcu_barrier();
	expect_warn("put more than was got");
	assert_int_equal(t.nr_released, 0);
	percpu_ref_get_many(&t.ref, 3);
	end(&t);
}

static void reinit_with_references_warns(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, PERCPU_REF_ALLOW_REINIT);
	percpu_ref_get(&t.ref);
	percpu_ref_kill(&t.ref);
	rcu_barrier();
	percpu_ref_reinit(&t.ref);
	expect_warn("references left");
	percpu_ref_put(&t.ref);
	percpu_ref_kill(&t.ref);
	end(&t);
}

static void resurrect_of_a_live_one_warns(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, PERCPU_REF_ALLOW_REINIT);
	percpu_ref_resurrect(&t.ref);
	expect_warn("was not killed");
	percpu_ref_kill(&t.ref);
	end(&t);
	assert_int_equal(t.nr_released, 1);
}

static void percpu_mode_again_wants_the_flag(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, 0);
	percpu_ref_switch_to_atomic_sync(&t.ref);
	assert_false(percpu_ref_is_dying(&t.ref));
	percpu_ref_switch_to_percpu(&t.ref);
	expect_warn("PERCPU_REF_ALLOW_REINIT");
	assert_true(t.ref.percpu_count_ptr & __PERCPU_REF_ATOMIC);
	percpu_ref_kill(&t.ref);
	assert_int_equal(t.nr_released, 1);
	end(&t);
}

static void exit_in_a_switch_warns_and_leaks(void **state)
{
	struct thing t;

	(void)state;
	begin(&t, 0);
	rcu_read_lock();
	percpu_ref_kill(&t.ref);
	percpu_ref_exit(&t.ref);
	expect_warn("a switch is under way");
	assert_non_null(t.ref.data);
	rcu_read_unlock();
	end(&t);
}

static struct thing forgotten;

static void forget_one(void)
{
	begin(&forgotten, 0);
}

static void forgotten_ref_is_reported(void **state)
{
	struct fixture_verdict v;

	(void)state;
	v = fixture_run(2, forget_one);
	assert_true(v.red);
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, "percpu_ref"));
}

static void corrupt_one(void)
{
	struct thing t;

	begin(&t, PERCPU_REF_INIT_ATOMIC);
	atomic_long_set(&t.ref.data->count, -5);
	assert_int_equal(machine_check(this_machine()), 1);
	atomic_long_set(&t.ref.data->count, 1);
	percpu_ref_exit(&t.ref);
}

static void check_finds_a_negative_count(void **state)
{
	struct fixture_verdict v;

	(void)state;
	v = fixture_run(1, corrupt_one);
	assert_false(v.nr_failures);
}

/* ---- memory ---- */

static long init_op(void *arg)
{
	return percpu_ref_init(&((struct thing *)arg)->ref, release, 0, GFP_TEST);
}

static void init_undo(void *arg)
{
	percpu_ref_exit(&((struct thing *)arg)->ref);
}

static void failed_init_changes_nothing(void **state)
{
	struct thing t = { .nr_released = 0 };

	(void)state;
	assert_int_equal(fixture_fail_nth(.body = init_op, .undo = init_undo, .arg = &t), 2);
}

#define MANY	200u

static void many_refs_share_nothing(void **state)
{
	struct thing *t = must_alloc(MANY * sizeof(*t));
	unsigned int i, j;

	(void)state;
	for (i = 0; i < MANY; i++) {
		begin(&t[i], 0);
		percpu_ref_get_many(&t[i].ref, i);
	}
	for (i = 0; i < MANY; i++)
		percpu_ref_kill(&t[i].ref);
	rcu_barrier();
	for (i = 0; i < MANY; i++) {
		assert_int_equal(t[i].nr_released, !i);
		for (j = 0; j < i; j++)
			percpu_ref_put(&t[i].ref);
		assert_int_equal(t[i].nr_released, 1);
		percpu_ref_exit(&t[i].ref);
	}
	hostmem_free(NULL, t);
}

/* ---- a model under random operations ---- */

#define STEPS	3000u

struct model {
	long count;
	bool dead;
	bool told_atomic;
	unsigned int nr_released;
};

static void model_put(struct model *m, long nr)
{
	m->count -= nr;
	if (!m->count)
		m->nr_released++;
}

static void random_step(struct thing *t, struct model *m, struct rnd *rnd)
{
	switch (rnd_below(rnd, 8)) {
	case 0:
	case 1:
		if (m->count) {
			percpu_ref_get(&t->ref);
			m->count++;
		}
		break;
	case 2:
		assert_int_equal(percpu_ref_tryget_live(&t->ref), !m->dead);
		m->count += !m->dead;
		break;
	case 3:
	case 4:
		if (m->count > 1 || (m->dead && m->count)) {
			percpu_ref_put(&t->ref);
			model_put(m, 1);
		}
		break;
	case 5:
		if (!m->dead) {
			m->dead = true;
			percpu_ref_kill(&t->ref);
			model_put(m, 1);
		}
		break;
	case 6:
		if (m->dead) {
			rcu_barrier();
			if (!m->count)
				percpu_ref_reinit(&t->ref);
			else
				percpu_ref_resurrect(&t->ref);
			m->dead = false;
			m->count++;
		}
		break;
	default:
		m->told_atomic = !m->told_atomic;
		if (m->told_atomic)
			percpu_ref_switch_to_atomic(&t->ref, NULL);
		else
			percpu_ref_switch_to_percpu(&t->ref);
		break;
	}
}

static void behaves_as_a_plain_number(void **state)
{
	u64 seed = machine_random(this_machine());
	struct model m = { .count = 1 };
	struct rnd rnd;
	struct thing t;
	unsigned int i;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	rnd_seed(&rnd, seed);
	begin(&t, PERCPU_REF_ALLOW_REINIT);
	for (i = 0; i < STEPS; i++) {
		random_step(&t, &m, &rnd);
		if (i % 64)
			continue;
		rcu_barrier();
		assert_int_equal(t.nr_released, m.nr_released);
		assert_int_equal(percpu_ref_is_dying(&t.ref), m.dead);
		assert_int_equal(percpu_ref_is_zero(&t.ref), !m.count);
	}
	percpu_ref_put_many(&t.ref, (unsigned long)(m.count - !m.dead));
	if (!m.dead)
		percpu_ref_kill(&t.ref);
	end(&t);
}

/* ---- all CPUs at once ---- */

#define STORM_OPS	300u
#define STORM_ROUNDS	12u

struct ref_storm {
	struct thing t;
	unsigned int live;		/* successful tryget_live */
	bool killed;
	bool may_reinit;
};

/* Get where another CPU puts: fibers of one CPU hand references to those of the next. */
static long get_and_put(struct storm_worker *w)
{
	struct ref_storm *s = w->storm->arg;
	unsigned int i;

	for (i = 0; i < STORM_OPS; i++) {
		if (!percpu_ref_tryget(&s->t.ref))
			break;
		if (rnd_below(&w->rnd, 4) == 0)
			fiber_set_cpu(fiber_self(), (unsigned int)rnd_below(&w->rnd,
				      machine_nr_cpus(this_machine())));
		assert_int_equal(READ_ONCE(s->t.nr_released), 0);
		percpu_ref_put(&s->t.ref);
		if (w->index == 0 && i == STORM_OPS / 2)
			percpu_ref_kill(&s->t.ref);
		if (rnd_below(&w->rnd, 8) == 0)
			cpu_relax();
	}
	return 0;
}

static void released_once_when_killed_in_a_storm(void **state)
{
	struct ref_storm s;
	struct storm storm;
	unsigned int round;

	(void)state;
	for (round = 0; round < STORM_ROUNDS; round++) {
		begin(&s.t, 0);
		storm_run(&storm, 2, get_and_put, &s);
		end(&s.t);
		assert_int_equal(s.t.nr_released, 1);
	}
}

static long take_live(struct storm_worker *w)
{
	struct ref_storm *s = w->storm->arg;
	bool confirmed;
	unsigned int i;

	for (i = 0; i < STORM_OPS; i++) {
		confirmed = __atomic_load_n(&s->t.nr_confirmed, __ATOMIC_ACQUIRE);
		if (percpu_ref_tryget_live(&s->t.ref)) {
			assert_false(confirmed);
			percpu_ref_put(&s->t.ref);
		}
		if (w->index == 0 && i == STORM_OPS / 3)
			percpu_ref_kill_and_confirm(&s->t.ref, confirm);
		if (rnd_below(&w->rnd, 4) == 0)
			cpu_relax();
	}
	return 0;
}

static void nobody_is_live_once_confirmed(void **state)
{
	struct ref_storm s;
	struct storm storm;
	unsigned int round;

	(void)state;
	for (round = 0; round < STORM_ROUNDS; round++) {
		begin(&s.t, 0);
		storm_run(&storm, 1, take_live, &s);
		end(&s.t);
		assert_int_equal(s.t.nr_confirmed, 1);
		assert_int_equal(s.t.nr_released, 1);
	}
}

static long change_modes(struct storm_worker *w)
{
	struct ref_storm *s = w->storm->arg;
	unsigned int i;

	for (i = 0; i < STORM_OPS / 10; i++) {
		percpu_ref_get_many(&s->t.ref, 3);
		if (w->index == 0) {
			percpu_ref_switch_to_atomic(&s->t.ref, NULL);
			percpu_ref_switch_to_percpu(&s->t.ref);
		} else if (w->index == 1) {
			percpu_ref_switch_to_atomic_sync(&s->t.ref);
		} else {
			cpu_relax();
		}
		percpu_ref_put_many(&s->t.ref, 3);
	}
	return 0;
}

static void no_reference_is_lost_between_modes(void **state)
{
	struct ref_storm s;
	struct storm storm;

	(void)state;
	begin(&s.t, PERCPU_REF_ALLOW_REINIT);
	storm_run(&storm, 1, change_modes, &s);
	percpu_ref_switch_to_atomic_sync(&s.t.ref);
	assert_int_equal(atomic_long_read(&s.t.ref.data->count), 1);
	percpu_ref_kill(&s.t.ref);
	end(&s.t);
	assert_int_equal(s.t.nr_released, 1);
}

/* ---- a CPU that is idle or outside ---- */

static long stay_outside(void *arg)
{
	bool *flags = arg;

	cpu_leave();
	__atomic_store_n(&flags[0], true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&flags[1], __ATOMIC_ACQUIRE))
		;
	cpu_enter();
	return 0;
}

static void kill_does_not_wait_for_a_cpu_outside(void **state)
{
	bool flags[2] = { false, false };
	struct fiber *f;
	struct thing t;

	(void)state;
	begin(&t, 0);
	f = spawn_on(1, stay_outside, flags);
	while (!__atomic_load_n(&flags[0], __ATOMIC_ACQUIRE))
		cpu_relax();
	percpu_ref_kill_and_confirm(&t.ref, confirm);
	while (!__atomic_load_n(&t.nr_confirmed, __ATOMIC_ACQUIRE))
		cpu_relax();
	__atomic_store_n(&flags[1], true, __ATOMIC_RELEASE);
	join_clean(f);
	end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(counts_until_it_is_killed),
		KARC_TESTS(not_released_before_the_kill_however_often_put),
		KARC_TESTS(killed_tryget_works_and_tryget_live_fails),
		karc_unit_test(tryget_live_rcu_wants_a_reader),
		KARC_TESTS(confirm_comes_by_rcu_and_before_release),
		KARC_TESTS(confirm_waits_for_readers),
		KARC_TESTS(atomic_from_the_start_releases_at_once),
		KARC_TESTS(dead_from_the_start_is_zero_until_reinit),
		KARC_TESTS(reinit_counts_by_cpu_again),
		KARC_TESTS(resurrect_with_references_left),
		KARC_TESTS(switches_and_stays_so),
		KARC_TESTS(dead_ref_stays_atomic_when_switched),
		KARC_TESTS(counters_go_with_the_kill_unless_reinit_is_allowed),
		karc_unit_test(count_is_known_after_exit),
		karc_unit_test(last_put_in_an_interrupt_releases_there),
		karc_unit_test(second_kill_warns_and_changes_nothing),
		karc_unit_test(more_puts_than_gets_are_told),
		karc_unit_test(reinit_with_references_warns),
		karc_unit_test(resurrect_of_a_live_one_warns),
		karc_unit_test(percpu_mode_again_wants_the_flag),
		karc_unit_test(exit_in_a_switch_warns_and_leaks),
		cmocka_unit_test(forgotten_ref_is_reported),
		cmocka_unit_test(check_finds_a_negative_count),
		KARC_TESTS(failed_init_changes_nothing),
		KARC_TESTS(many_refs_share_nothing),
		KARC_TESTS(behaves_as_a_plain_number),
		KARC_TESTS(released_once_when_killed_in_a_storm),
		KARC_TESTS(nobody_is_live_once_confirmed),
		KARC_TESTS(no_reference_is_lost_between_modes),
		/* Deterministic mode has one host thread, which would wait outside for itself. */
		karc_unit_test_cpus_parallel(kill_does_not_wait_for_a_cpu_outside, 2),
		karc_unit_test_cpus_parallel(kill_does_not_wait_for_a_cpu_outside, 8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
