/* SPDX-License-Identifier: MIT */
/*
 * Goal: refcount_t counts, saturates and warns exactly as Linux's does.
 * Method: a table of start values around every boundary, compared with a model on wide integers;
 * each warning's text and number looked up in the log; fibers on all CPUs for the lock forms.
 */
#include "fixture.h"

#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/hw/mutex.h>
#include <karc/refcount/refcount.h>

#include "refcount_test.h"

#define NR_FIBERS	8
#define NR_ROUNDS	50
#define NR_SEEDS	100

static const char saturated[] = "refcount_t: saturated; leaking memory.";
static const char add_on_zero[] = "refcount_t: addition on 0; use-after-free.";
static const char underflow[] = "refcount_t: underflow; use-after-free.";
static const char leaked[] = "refcount_t: decrement hit 0; leaking memory.";

static const int starts[] = {
	0, 1, 2, 3, 1000, REFCOUNT_MAX - 1, REFCOUNT_MAX, INT_MIN, INT_MIN + 1,
	REFCOUNT_SATURATED - 1, REFCOUNT_SATURATED, REFCOUNT_SATURATED + 1, -2, -1,
};

static void forget(void)
{
	machine_reset_once(this_machine());
	karc_log_clear(machine_log(this_machine()));
}

/* Exactly the warning @text (NULL: none) was given since forget(). */
static void assert_warned(const char *text)
{
	static const char *const all[] = { saturated, add_on_zero, underflow, leaked };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(count_in_log(all[i]), text && all[i] == text);
	if (text)
		expect_warn(text);
	else
		expect_no_warn();
}

static void is_four_bytes(void **state)
{
	(void)state;
	assert_int_equal(sizeof(refcount_t), 4);
	assert_int_equal(REFCOUNT_MAX, 0x7fffffff);
	assert_int_equal(REFCOUNT_SATURATED, -0x40000000);
}

static void counts_up_and_down(void **state)
{
	refcount_t r = REFCOUNT_INIT(1);

	(void)state;
	refcount_inc(&r);
	refcount_add(5, &r);
	assert_int_equal(refcount_read(&r), 7);
	refcount_dec(&r);
	assert_false(refcount_sub_and_test(3, &r));
	assert_false(refcount_dec_and_test(&r));
	assert_int_equal(refcount_read(&r), 2);
	assert_true(refcount_sub_and_test(2, &r));
	assert_int_equal(refcount_read(&r), 0);
	refcount_set(&r, 9);
	assert_int_equal(refcount_read(&r), 9);
}

static void old_value_forms_tell_what_was_there(void **state)
{
	refcount_t r = REFCOUNT_INIT(5);
	int old = -1;

	(void)state;
	__refcount_inc(&r, &old);
	assert_int_equal(old, 5);
	__refcount_add(3, &r, &old);
	assert_int_equal(old, 6);
	assert_true(__refcount_inc_not_zero(&r, &old));
	assert_int_equal(old, 9);
	assert_true(__refcount_add_not_zero(2, &r, &old));
	assert_int_equal(old, 10);
	__refcount_dec(&r, &old);
	assert_int_equal(old, 12);
	assert_false(__refcount_dec_and_test(&r, &old));
	assert_int_equal(old, 11);
	assert_true(__refcount_sub_and_test(10, &r, &old));
	assert_int_equal(old, 10);
}

static void add_saturates_at_every_boundary(void **state)
{
	static const int steps[] = { 1, 2, 1000, REFCOUNT_MAX };
	unsigned int i, j;
	refcount_t r;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		for (j = 0; j < ARRAY_SIZE(steps); j++) {
			long sum = (long)starts[i] + steps[j];
			bool bad = starts[i] <= 0 || sum > REFCOUNT_MAX;

			forget();
			refcount_set(&r, starts[i]);
			refcount_add(steps[j], &r);
			assert_int_equal((int)refcount_read(&r),
					 bad ? REFCOUNT_SATURATED : (int)sum);
			assert_warned(!bad ? NULL : starts[i] ? saturated : add_on_zero);
		}
	}
}

static void inc_not_zero_refuses_zero_only(void **state)
{
	unsigned int i;
	refcount_t r;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		bool bad = starts[i] < 0 || starts[i] == REFCOUNT_MAX;

		forget();
		refcount_set(&r, starts[i]);
		assert_int_equal(refcount_inc_not_zero(&r), starts[i] != 0);
		if (bad)
			assert_int_equal((int)refcount_read(&r), REFCOUNT_SATURATED);
		else
			assert_int_equal((int)refcount_read(&r), starts[i] + (starts[i] != 0));
		assert_warned(bad ? saturated : NULL);
	}
}

static void add_not_zero_saturates_on_overflow(void **state)
{
	refcount_t r = REFCOUNT_INIT(10);

	(void)state;
	forget();
	assert_true(refcount_add_not_zero(REFCOUNT_MAX - 10, &r));
	assert_int_equal(refcount_read(&r), REFCOUNT_MAX);
	assert_warned(NULL);
	assert_true(refcount_add_not_zero(1, &r));
	assert_int_equal((int)refcount_read(&r), REFCOUNT_SATURATED);
	assert_warned(saturated);
	refcount_set(&r, 0);
	assert_false(refcount_add_not_zero(3, &r));
	assert_int_equal(refcount_read(&r), 0);
}

static void sub_and_test_is_true_at_zero_only(void **state)
{
	unsigned int i;
	refcount_t r;
	int step;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		for (step = 1; step <= 3; step++) {
			long rest = (long)starts[i] - step;
			bool bad = starts[i] <= 0 || rest < 0;

			forget();
			refcount_set(&r, starts[i]);
			assert_int_equal(refcount_sub_and_test(step, &r), rest == 0);
			assert_int_equal((int)refcount_read(&r),
					 bad ? REFCOUNT_SATURATED : (int)rest);
			assert_warned(bad ? underflow : NULL);
		}
	}
}

static void dec_that_reaches_zero_warns(void **state)
{
	unsigned int i;
	refcount_t r;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		bool bad = starts[i] <= 1;

		forget();
		refcount_set(&r, starts[i]);
		refcount_dec(&r);
		assert_int_equal((int)refcount_read(&r),
				 bad ? REFCOUNT_SATURATED : starts[i] - 1);
		assert_warned(bad ? leaked : NULL);
	}
}

/* What Linux 6.1 does, on integers that cannot wrap. */
struct expectation {
	bool result;
	int after;
	const char *warning;
};

static int as_int(long n)
{
	return (int)(unsigned int)(unsigned long)n;
}

static struct expectation model_add(int old, int i)
{
	bool bad = old < 0 || as_int((long)old + i) < 0;

	if (!old)
		return (struct expectation){ true, REFCOUNT_SATURATED, add_on_zero };
	return (struct expectation){ true, bad ? REFCOUNT_SATURATED : old + i,
				     bad ? saturated : NULL };
}

static struct expectation model_add_not_zero(int old, int i)
{
	bool bad = old < 0 || as_int((long)old + i) < 0;

	if (!old)
		return (struct expectation){ false, bad ? REFCOUNT_SATURATED : 0,
					     bad ? saturated : NULL };
	return (struct expectation){ true, bad ? REFCOUNT_SATURATED : old + i,
				     bad ? saturated : NULL };
}

static struct expectation model_sub(int old, int i)
{
	bool bad = old < 0 || as_int((long)old - i) < 0;

	if (old == i)
		return (struct expectation){ true, 0, NULL };
	return (struct expectation){ false, bad ? REFCOUNT_SATURATED : old - i,
				     bad ? underflow : NULL };
}

static void assert_expected(const refcount_t *r, int start, int i, bool result,
			    const struct expectation *e)
{
	if (result != e->result || (int)refcount_read(r) != e->after)
		fail_msg("%d with %d: %d and %d, expected %d and %d", start, i, result,
			 (int)refcount_read(r), e->result, e->after);
	assert_warned(e->warning);
}

static void try_from(int start, int i)
{
	refcount_t r = REFCOUNT_INIT(start);
	struct expectation e;
	bool result;
	int old;

	forget();
	__refcount_add(i, &r, &old);
	e = model_add(start, i);
	assert_expected(&r, start, i, true, &e);
	assert_int_equal(old, start);

	forget();
	refcount_set(&r, start);
	result = __refcount_add_not_zero(i, &r, &old);
	e = model_add_not_zero(start, i);
	assert_expected(&r, start, i, result, &e);
	assert_int_equal(old, start);

	forget();
	refcount_set_release(&r, start);
	result = refcount_add_not_zero_acquire(i, &r);
	assert_expected(&r, start, i, result, &e);

	forget();
	refcount_set(&r, start);
	result = __refcount_sub_and_test(i, &r, &old);
	e = model_sub(start, i);
	assert_expected(&r, start, i, result, &e);
	assert_int_equal(old, start);
}

/* Around each place where something changes; steps that reach from one such place to the next. */
static void add_and_sub_agree_with_the_model_at_every_border(void **state)
{
	static const int borders[] = { 0, REFCOUNT_MAX, INT_MIN, REFCOUNT_SATURATED, 1 << 30 };
	static const int steps[] = { 1, 2, 3, 4, 5, 1 << 29, (1 << 30) - 1, 1 << 30,
				     (1 << 30) + 1, INT_MAX - 2, INT_MAX - 1, INT_MAX };
	unsigned int i, j;
	int near;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(borders); i++)
		for (near = -4; near <= 4; near++)
			for (j = 0; j < ARRAY_SIZE(steps); j++)
				try_from(as_int((long)borders[i] + near), steps[j]);
}

static void acquire_forms_tell_what_was_there(void **state)
{
	refcount_t r = REFCOUNT_INIT(0);
	int old = -1;

	(void)state;
	refcount_set_release(&r, 4);
	assert_int_equal(refcount_read(&r), 4);
	assert_true(__refcount_inc_not_zero_acquire(&r, &old));
	assert_int_equal(old, 4);
	assert_true(__refcount_add_not_zero_acquire(3, &r, &old));
	assert_int_equal(old, 5);
	assert_true(refcount_inc_not_zero_acquire(&r));
	assert_int_equal(refcount_read(&r), 9);
	refcount_set_release(&r, 0);
	assert_false(refcount_inc_not_zero_acquire(&r));
	assert_false(__refcount_inc_not_zero_acquire(&r, &old));
	assert_int_equal(old, 0);
}

static void dec_not_one_agrees_with_the_model(void **state)
{
	unsigned int i;
	refcount_t r;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		bool stays = starts[i] == REFCOUNT_SATURATED || starts[i] == 1 || !starts[i];

		forget();
		refcount_set(&r, starts[i]);
		assert_int_equal(refcount_dec_not_one(&r), starts[i] != 1);
		assert_int_equal((int)refcount_read(&r),
				 stays ? starts[i] : as_int((long)starts[i] - 1));
		assert_warned(starts[i] ? NULL : underflow);
		refcount_set(&r, starts[i]);
		assert_int_equal(refcount_dec_if_one(&r), starts[i] == 1);
		assert_int_equal((int)refcount_read(&r), starts[i] == 1 ? 0 : starts[i]);
	}
}

static void saturated_counter_takes_no_lock(void **state)
{
	refcount_t r = REFCOUNT_INIT(REFCOUNT_SATURATED);
	DEFINE_SPINLOCK(lock);
	unsigned long flags;
	struct mutex mutex;

	(void)state;
	mutex_init(&mutex);
	assert_false(refcount_dec_and_lock(&r, &lock));
	assert_false(refcount_dec_and_lock_irqsave(&r, &lock, &flags));
	assert_false(refcount_dec_and_mutex_lock(&r, &mutex));
	assert_false(spin_is_locked(&lock));
	assert_false(irqs_disabled());
	assert_false(mutex_is_locked(&mutex));
	assert_int_equal((int)refcount_read(&r), REFCOUNT_SATURATED);
	mutex_destroy(&mutex);
}

static void saturated_counter_never_frees(void **state)
{
	refcount_t r = REFCOUNT_INIT(REFCOUNT_SATURATED);
	int i;

	(void)state;
	forget();
	for (i = 0; i < 1000; i++) {
		assert_false(refcount_dec_and_test(&r));
		assert_false(refcount_sub_and_test(1000, &r));
		refcount_dec(&r);
		refcount_inc(&r);
		assert_true(refcount_inc_not_zero(&r));
		assert_true(refcount_dec_not_one(&r));
		assert_false(refcount_dec_if_one(&r));
		assert_int_equal((int)refcount_read(&r), REFCOUNT_SATURATED);
	}
	expect_warn(underflow);
}

static void warnings_come_once_until_reset(void **state)
{
	refcount_t r = REFCOUNT_INIT(0);
	int i;

	(void)state;
	forget();
	for (i = 0; i < 5; i++) {
		refcount_set(&r, 0);
		refcount_inc(&r);
	}
	assert_warned(add_on_zero);
	machine_reset_once(this_machine());
	refcount_set(&r, 0);
	refcount_inc(&r);
	assert_int_equal(count_in_log(add_on_zero), 2);
	expect_warn(add_on_zero);
}

static void dec_if_one_takes_only_the_last(void **state)
{
	refcount_t r = REFCOUNT_INIT(2);

	(void)state;
	assert_false(refcount_dec_if_one(&r));
	refcount_set(&r, 0);
	assert_false(refcount_dec_if_one(&r));
	refcount_set(&r, 1);
	assert_true(refcount_dec_if_one(&r));
	assert_int_equal(refcount_read(&r), 0);
}

static void dec_not_one_leaves_the_last(void **state)
{
	refcount_t r = REFCOUNT_INIT(2);

	(void)state;
	forget();
	assert_true(refcount_dec_not_one(&r));
	assert_false(refcount_dec_not_one(&r));
	assert_int_equal(refcount_read(&r), 1);
	refcount_set(&r, 0);
	assert_true(refcount_dec_not_one(&r));
	assert_warned(underflow);
}

static void dec_and_lock_holds_the_lock_at_zero_only(void **state)
{
	refcount_t r = REFCOUNT_INIT(2);
	DEFINE_SPINLOCK(lock);
	unsigned long flags;

	(void)state;
	assert_false(refcount_dec_and_lock(&r, &lock));
	assert_false(spin_is_locked(&lock));
	assert_true(refcount_dec_and_lock(&r, &lock));
	assert_true(spin_is_locked(&lock));
	spin_unlock(&lock);
	refcount_set(&r, 2);
	assert_false(refcount_dec_and_lock_irqsave(&r, &lock, &flags));
	assert_false(irqs_disabled());
	assert_true(refcount_dec_and_lock_irqsave(&r, &lock, &flags));
	assert_true(irqs_disabled());
	spin_unlock_irqrestore(&lock, flags);
	assert_false(irqs_disabled());
}

static void dec_and_mutex_lock_holds_the_mutex_at_zero_only(void **state)
{
	refcount_t r = REFCOUNT_INIT(2);
	struct mutex lock;

	(void)state;
	mutex_init(&lock);
	assert_false(refcount_dec_and_mutex_lock(&r, &lock));
	assert_false(mutex_is_locked(&lock));
	assert_true(refcount_dec_and_mutex_lock(&r, &lock));
	assert_true(mutex_is_locked(&lock));
	mutex_unlock(&lock);
	mutex_destroy(&lock);
}

/* A slot that a lookup under the lock may read: what it finds there is never dying. */
struct slot {
	spinlock_t lock;
	refcount_t *object;
	refcount_t count;
	unsigned int nr_released;
};

static long lookup_and_put(void *arg)
{
	struct slot *s = arg;
	refcount_t *r;
	int i;

	for (i = 0; i < NR_ROUNDS; i++) {
		spin_lock(&s->lock);
		r = s->object;
		hw_safepoint();			/* others wait for the lock meanwhile */
		if (r)
			refcount_inc(r);	/* would warn on a dying one */
		spin_unlock(&s->lock);
		if (!r)
			break;
		if (refcount_dec_and_lock(r, &s->lock)) {
			s->object = NULL;
			s->nr_released++;
			spin_unlock(&s->lock);
		}
		hw_safepoint();
	}
	return 0;
}

static void put_among_lookups(void)
{
	struct slot s = { .count = REFCOUNT_INIT(1) };
	struct fiber *f[NR_FIBERS];
	unsigned int i;

	s.object = &s.count;
	for (i = 0; i < NR_FIBERS; i++)
		f[i] = spawn_on(i, lookup_and_put, &s);
	fiber_yield();
	if (refcount_dec_and_lock(&s.count, &s.lock)) {
		s.object = NULL;
		s.nr_released++;
		spin_unlock(&s.lock);
	}
	for (i = 0; i < NR_FIBERS; i++)
		join_clean(f[i]);
	assert_int_equal(s.nr_released, 1);
	assert_int_equal(refcount_read(&s.count), 0);
	assert_int_equal(count_in_log("refcount_t:"), 0);
}

static void lookup_under_the_lock_finds_no_dying_object(void **state)
{
	unsigned int seed;

	(void)state;
	for (seed = 1; seed <= NR_SEEDS; seed++) {
		struct machine_config config = {
			.nr_cpus = 4, .seed = seed, .switch_every = 1 + seed % 3,
			.mem_bytes = 16 << 20,
		};
		struct fixture_verdict v = fixture_run_config(&config, put_among_lookups);

		if (v.red)
			fail_msg("seed %u: %s", seed, v.reason);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_four_bytes),
		karc_unit_test(counts_up_and_down),
		karc_unit_test(old_value_forms_tell_what_was_there),
		karc_unit_test(add_saturates_at_every_boundary),
		karc_unit_test(inc_not_zero_refuses_zero_only),
		karc_unit_test(add_not_zero_saturates_on_overflow),
		karc_unit_test(sub_and_test_is_true_at_zero_only),
		karc_unit_test(dec_that_reaches_zero_warns),
		karc_unit_test(add_and_sub_agree_with_the_model_at_every_border),
		karc_unit_test(acquire_forms_tell_what_was_there),
		karc_unit_test(dec_not_one_agrees_with_the_model),
		karc_unit_test(saturated_counter_takes_no_lock),
		karc_unit_test(saturated_counter_never_frees),
		KARC_TESTS(warnings_come_once_until_reset),
		karc_unit_test(dec_if_one_takes_only_the_last),
		karc_unit_test(dec_not_one_leaves_the_last),
		karc_unit_test(dec_and_lock_holds_the_lock_at_zero_only),
		karc_unit_test(dec_and_mutex_lock_holds_the_mutex_at_zero_only),
		cmocka_unit_test(lookup_under_the_lock_finds_no_dying_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
