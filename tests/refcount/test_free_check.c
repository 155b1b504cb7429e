/* SPDX-License-Identifier: MIT */
/*
 * Goal: a held lock, an armed timer and a live object inside memory that is freed are reported
 * with both places, and nothing else is. Method: memory of the arena that nobody manages here.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/clock.h>
#include <karc/hw/fiber.h>
#include <karc/hw/mutex.h>
#include <karc/hw/physmem.h>
#include <karc/hw/rwsem.h>
#include <karc/hw/spinlock.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/free_check.h>
#include <karc/refcount/ledger.h>

struct thing {
	char before[200];
	spinlock_t spin;
	struct mutex mutex;
	struct rw_semaphore rwsem;
	struct hw_timer timer;
	struct arc arc;
	char behind[200];
};

static const struct arc_type thing_type = {
	.name = "thing", .size = sizeof(struct thing), .offset = offsetof(struct thing, arc),
	.flags = ARC_LEAF,
};

static void never(struct hw_timer *timer)
{
	(void)timer;
}

/* In the arena, well inside its first bank, at no round address. */
static struct thing *new_thing(void)
{
	struct thing *t = phys_to_virt(0x200000 + 24);

	memset(t, 0, sizeof(*t));
	spin_lock_init(&t->spin);
	mutex_init(&t->mutex);
	init_rwsem(&t->rwsem);
	hw_timer_init(&t->timer, never);
	return t;
}

static unsigned int check(const struct thing *t)
{
	return check_freed_memory(t, sizeof(*t), "kfree", SITE());
}

static void memory_without_any_of_them_may_go(void **state)
{
	struct thing *t = new_thing();

	(void)state;
	spin_lock(&t->spin);
	spin_unlock(&t->spin);
	mutex_lock(&t->mutex);
	mutex_unlock(&t->mutex);
	hw_timer_start(&t->timer, ktime_get_ns() + NSEC_PER_SEC);
	hw_timer_cancel(&t->timer);
	assert_int_equal(check(t), 0);
}

#ifdef KARC_DEBUG
static void expect_lock(const struct thing *t, const char *where)
{
	assert_int_equal(check(t), 1);
	expect_warn("kfree: held lock freed: unranked lock");
	assert_true(fixture_log_contains("which frees it"));
	assert_true(fixture_log_contains(where));
	assert_true(fixture_log_contains("freed at tests/refcount/test_free_check.c"));
}

static void held_locks_are_reported(void **state)
{
	struct thing *t = new_thing();

	(void)state;
	spin_lock(&t->spin);
	expect_lock(t, "held_locks_are_reported");
	spin_unlock(&t->spin);
	mutex_lock(&t->mutex);
	expect_lock(t, "bytes into a block of");
	mutex_unlock(&t->mutex);
	down_read(&t->rwsem);
	expect_lock(t, "lock taken at tests/refcount/test_free_check.c");
	up_read(&t->rwsem);
	assert_int_equal(check(t), 0);
}

static long holds_and_waits(void *arg)
{
	struct thing *t = arg;

	mutex_lock(&t->mutex);
	msleep(1000 * 1000);	/* skipped when nobody else has anything to do */
	mutex_unlock(&t->mutex);
	return 0;
}

static void a_lock_of_another_task_counts(void **state)
{
	struct thing *t = new_thing();
	struct fiber *f = fiber_spawn(smp_processor_id(), "holder", holds_and_waits, t);
	struct machine_result r;

	(void)state;
	while (!mutex_is_locked(&t->mutex))
		msleep(1);
	assert_int_equal(check(t), 1);
	expect_warn("of task \"holder\"");
	fiber_join(f, &r);
	assert_int_equal(check(t), 0);
}

static long dies_with_a_lock(void *arg)
{
	struct thing *t = arg;

	spin_lock(&t->spin);
	BUG();
}

static void the_dead_hold_nothing(void **state)
{
	struct thing *t = new_thing();

	(void)state;
	expect_bug(dies_with_a_lock, t, "test_free_check.c");
	assert_int_equal(check(t), 0);
}
#endif

static void an_armed_timer_is_reported_and_stopped(void **state)
{
	struct thing *t = new_thing();

	(void)state;
	hw_timer_start(&t->timer, ktime_get_ns() + 1000 * NSEC_PER_SEC);
	assert_int_equal(check_freed_memory(t->before, sizeof(t->before), "kfree", NULL), 0);
	assert_int_equal(check_freed_memory(t->behind, sizeof(t->behind), "kfree", NULL), 0);
	assert_int_equal(check(t), 1);
	expect_warn("kfree: active timer freed");
	assert_true(fixture_log_contains("timer started at tests/refcount/test_free_check.c"));
	assert_false(hw_timer_cancel(&t->timer));
	assert_int_equal(check(t), 0);
}

static void a_live_object_is_reported_and_forgotten(void **state)
{
	struct thing *t = new_thing();

	(void)state;
	assert_int_equal(arc_type_register(&thing_type), 0);
	arc_init(&t->arc, &thing_type);
	arc_get(&t->arc);
	assert_int_equal(check_freed_memory(t->before, sizeof(t->before), "kfree", NULL), 0);
	assert_int_equal(check(t), 1);
	expect_warn("kfree: live thing freed");
	assert_true(fixture_log_contains("with 2 references"));
	assert_true(fixture_log_contains("object made at tests/refcount/test_free_check.c"));
	assert_int_equal(ledger_live(this_machine(), &thing_type), 0);
	assert_int_equal(check(t), 0);
}

static void a_large_block_is_looked_through(void **state)
{
	struct thing *t = new_thing();
	char *block = phys_to_virt(0x100000);

	(void)state;
	assert_int_equal(arc_type_register(&thing_type), 0);
	arc_init(&t->arc, &thing_type);
	hw_timer_start(&t->timer, ktime_get_ns() + 1000 * NSEC_PER_SEC);
	assert_int_equal(check_freed_memory(block, 4UL << 20, "kfree", SITE()), 2);
	expect_warn("active timer freed");
	assert_true(fixture_log_contains("into a block of 4194304"));
}

static void one_that_went_as_it_should_is_no_matter(void **state)
{
	struct thing *t = new_thing();

	(void)state;
	assert_int_equal(arc_type_register(&thing_type), 0);
	arc_init(&t->arc, &thing_type);
	arc_put(&t->arc);
	assert_int_equal(check(t), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(memory_without_any_of_them_may_go),
#ifdef KARC_DEBUG
		KARC_TESTS(held_locks_are_reported),
		KARC_TESTS(a_lock_of_another_task_counts),
		KARC_TESTS(the_dead_hold_nothing),
#endif
		KARC_TESTS(an_armed_timer_is_reported_and_stopped),
		KARC_TESTS(a_live_object_is_reported_and_forgotten),
		KARC_TESTS(a_large_block_is_looked_through),
		KARC_TESTS(one_that_went_as_it_should_is_no_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
