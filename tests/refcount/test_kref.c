/* SPDX-License-Identifier: MIT */
/*
 * Goal: kref runs its release exactly once, at zero, with the lock held where promised.
 * Method: one object with counters, driven through each function.
 */
#include "fixture.h"

#include <karc/base/list.h>
#include <karc/hw/mutex.h>
#include <karc/refcount/kref.h>

#include "refcount_test.h"

struct thing {
	struct kref kref;
	spinlock_t lock;
	struct mutex mutex;
	int nr_released;
};

static void thing_release(struct kref *kref)
{
	struct thing *t = container_of(kref, struct thing, kref);

	t->nr_released++;
}

static void thing_release_locked(struct kref *kref)
{
	struct thing *t = container_of(kref, struct thing, kref);

	assert_true(spin_is_locked(&t->lock));
	t->nr_released++;
	spin_unlock(&t->lock);
}

static void thing_release_mutexed(struct kref *kref)
{
	struct thing *t = container_of(kref, struct thing, kref);

	assert_true(mutex_is_locked(&t->mutex));
	t->nr_released++;
	mutex_unlock(&t->mutex);
}

static void last_put_releases_once(void **state)
{
	struct thing t = { .kref = KREF_INIT(7) };

	(void)state;
	assert_int_equal(kref_read(&t.kref), 7);
	kref_init(&t.kref);
	assert_int_equal(kref_read(&t.kref), 1);
	kref_get(&t.kref);
	assert_int_equal(kref_put(&t.kref, thing_release), 0);
	assert_int_equal(t.nr_released, 0);
	assert_int_equal(kref_put(&t.kref, thing_release), 1);
	assert_int_equal(t.nr_released, 1);
}

static void get_unless_zero_refuses_a_dead_object(void **state)
{
	struct thing t = { .kref = KREF_INIT(1) };

	(void)state;
	assert_true(kref_get_unless_zero(&t.kref));
	assert_int_equal(kref_put(&t.kref, thing_release), 0);
	assert_int_equal(kref_put(&t.kref, thing_release), 1);
	assert_false(kref_get_unless_zero(&t.kref));
	assert_int_equal(kref_read(&t.kref), 0);
}

static void put_lock_releases_under_the_lock(void **state)
{
	struct thing t = { .kref = KREF_INIT(2) };

	(void)state;
	assert_int_equal(kref_put_lock(&t.kref, thing_release_locked, &t.lock), 0);
	assert_false(spin_is_locked(&t.lock));
	assert_int_equal(kref_put_lock(&t.kref, thing_release_locked, &t.lock), 1);
	assert_false(spin_is_locked(&t.lock));
	assert_int_equal(t.nr_released, 1);
}

static void put_mutex_releases_under_the_mutex(void **state)
{
	struct thing t = { .kref = KREF_INIT(2) };

	(void)state;
	mutex_init(&t.mutex);
	assert_int_equal(kref_put_mutex(&t.kref, thing_release_mutexed, &t.mutex), 0);
	assert_int_equal(kref_put_mutex(&t.kref, thing_release_mutexed, &t.mutex), 1);
	assert_int_equal(t.nr_released, 1);
	mutex_destroy(&t.mutex);
}

static void get_of_a_dead_object_is_reported_and_leaks(void **state)
{
	struct thing t = { .kref = KREF_INIT(0) };

	(void)state;
	kref_get(&t.kref);
	expect_warn("refcount_t: addition on 0; use-after-free.");
	assert_int_equal((int)kref_read(&t.kref), REFCOUNT_SATURATED);
	assert_int_equal(kref_put(&t.kref, thing_release), 0);
	expect_warn("refcount_t: underflow; use-after-free.");
	assert_int_equal(t.nr_released, 0);
}

static void put_too_often_is_reported_and_releases_once(void **state)
{
	struct thing t = { .kref = KREF_INIT(1) };

	(void)state;
	mutex_init(&t.mutex);
	assert_int_equal(kref_put(&t.kref, thing_release), 1);
	assert_int_equal(kref_put(&t.kref, thing_release), 0);
	expect_warn("refcount_t: underflow; use-after-free.");
	assert_int_equal(kref_put_lock(&t.kref, thing_release_locked, &t.lock), 0);
	assert_int_equal(kref_put_mutex(&t.kref, thing_release_mutexed, &t.mutex), 0);
	assert_false(spin_is_locked(&t.lock));
	assert_false(mutex_is_locked(&t.mutex));
	assert_int_equal(t.nr_released, 1);
	mutex_destroy(&t.mutex);
}

static void saturated_kref_never_releases(void **state)
{
	struct thing t = { .kref = KREF_INIT(REFCOUNT_SATURATED) };
	int i;

	(void)state;
	for (i = 0; i < 100; i++)
		assert_int_equal(kref_put(&t.kref, thing_release), 0);
	assert_int_equal(t.nr_released, 0);
	assert_int_equal(count_in_log("refcount_t: underflow; use-after-free."), 1);
	expect_warn("refcount_t: underflow; use-after-free.");
}

static long put_some(void *arg)
{
	struct thing *t = arg;
	int i;

	for (i = 0; i < 50; i++) {
		kref_get(&t->kref);
		hw_safepoint();
		kref_put(&t->kref, thing_release);
	}
	kref_put(&t->kref, thing_release);
	return 0;
}

static void holders_on_all_cpus_release_once(void **state)
{
	struct thing t = { .kref = KREF_INIT(9) };
	struct fiber *f[8];
	unsigned int i;

	(void)state;
	for (i = 0; i < 8; i++)
		f[i] = spawn_on(i, put_some, &t);
	assert_int_equal(t.nr_released, 0);
	kref_put(&t.kref, thing_release);
	for (i = 0; i < 8; i++)
		join_clean(f[i]);
	assert_int_equal(t.nr_released, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(last_put_releases_once),
		karc_unit_test(get_unless_zero_refuses_a_dead_object),
		karc_unit_test(put_lock_releases_under_the_lock),
		karc_unit_test(put_mutex_releases_under_the_mutex),
		karc_unit_test(get_of_a_dead_object_is_reported_and_leaks),
		karc_unit_test(put_too_often_is_reported_and_releases_once),
		karc_unit_test(saturated_kref_never_releases),
		KARC_TESTS(holders_on_all_cpus_release_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
