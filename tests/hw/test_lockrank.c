/* SPDX-License-Identifier: MIT */
/*
 * Goal: a wrong order of locks is a BUG the first time it happens, and names both locks; all
 * that is allowed passes.
 * Method: locks with ranks, inside the arena where the address counts; wrong orders in a fiber
 * of their own. Release builds record nothing.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/hw/lockrank.h>
#include <karc/hw/machine.h>
#include <karc/hw/mutex.h>
#include <karc/hw/physmem.h>
#include <karc/hw/rwsem.h>
#include <karc/hw/spinlock.h>

static void every_rank_has_a_name(void **state)
{
	(void)state;
	for (unsigned int rank = 0; rank < LR_NR; rank++) {
		assert_non_null(lock_rank_name(rank));
		for (unsigned int other = 0; other < rank; other++)
			assert_string_not_equal(lock_rank_name(rank), lock_rank_name(other));
	}
	assert_string_equal(lock_rank_name(LR_NR), "bad rank");
}

#ifdef KARC_DEBUG

/* Locks of all kinds, in simulated memory. */
struct locks {
	spinlock_t zone, zone2, lru, unranked;
	rwlock_t tasklist;
	struct mutex slab, page;
	struct rw_semaphore mmap, mmap2;
	spinlock_t many[FIBER_MAX_LOCKS + 6];
};

static struct locks *locks_in_arena(void)
{
	struct locks *l = phys_to_virt(8 << 20);

	spin_lock_init_rank(&l->zone, LR_ZONE);
	spin_lock_init_rank(&l->zone2, LR_ZONE);
	spin_lock_init_rank(&l->lru, LR_LRU);
	spin_lock_init(&l->unranked);
	rwlock_init_rank(&l->tasklist, LR_TASKLIST);
	mutex_init_rank(&l->slab, LR_SLAB_MUTEX);
	mutex_init_rank(&l->page, LR_PAGE);
	init_rwsem_rank(&l->mmap, LR_MMAP);
	init_rwsem_rank(&l->mmap2, LR_MMAP);
	for (unsigned int i = 0; i < ARRAY_SIZE(l->many); i++)
		spin_lock_init_rank(&l->many[i], LR_PGTABLE);
	return l;
}

/* A BUG whose report contains both texts. */
#define expect_order_bug(fn, arg, first, second) do {				\
	expect_bug(fn, arg, first);						\
	assert_true(fixture_log_contains(second));				\
} while (0)

static void the_right_order_passes(void **state)
{
	struct locks *l = locks_in_arena();
	unsigned long flags;

	(void)state;
	assert_int_equal(lockrank_held(), 0);
	down_write(&l->mmap);
	mutex_lock(&l->slab);
	mutex_lock(&l->page);
	write_lock_irqsave(&l->tasklist, flags);
	spin_lock(&l->lru);
	spin_lock(&l->zone);
	spin_lock(&l->unranked);
	assert_int_equal(lockrank_held(), 7);
	/* Any order of release. */
	spin_unlock(&l->zone);
	write_unlock_irqrestore(&l->tasklist, flags);
	spin_unlock(&l->unranked);
	spin_unlock(&l->lru);
	mutex_unlock(&l->slab);
	up_write(&l->mmap);
	mutex_unlock(&l->page);
	assert_int_equal(lockrank_held(), 0);
}

static long zone_then_lru(void *arg)
{
	struct locks *l = arg;

	spin_lock(&l->zone);
	spin_lock(&l->lru);
	return 0;
}

static long page_then_mmap(void *arg)
{
	struct locks *l = arg;

	mutex_lock(&l->page);
	down_read(&l->mmap);
	return 0;
}

static long lru_then_tasklist(void *arg)
{
	struct locks *l = arg;

	spin_lock(&l->lru);
	read_lock(&l->tasklist);
	return 0;
}

static long read_twice(void *arg)
{
	struct locks *l = arg;

	down_read(&l->mmap);
	down_read(&l->mmap);
	return 0;
}

static void a_wrong_order_is_a_bug_that_names_both_locks(void **state)
{
	struct locks *l = locks_in_arena();

	(void)state;
	expect_order_bug(zone_then_lru, l, "takes lru lock", "inside zone lock");
	l = locks_in_arena();
	expect_order_bug(page_then_mmap, l, "takes mmap lock", "inside page lock");
	l = locks_in_arena();
	expect_order_bug(lru_then_tasklist, l, "takes tasklist lock", "inside lru lock");
	l = locks_in_arena();
	expect_order_bug(zone_then_lru, l, "zone_then_lru", "test_lockrank.c");
	l = locks_in_arena();
	expect_order_bug(read_twice, l, "deadlock", "mmap lock");
}

static long down_in_rank(void *arg)
{
	struct locks *l = arg;

	spin_lock(&l->zone2);
	spin_lock(&l->zone);
	return 0;
}

static long same_rank_outside(void *arg)
{
	spinlock_t a, b;

	(void)arg;
	spin_lock_init_rank(&a, LR_ZONE);
	spin_lock_init_rank(&b, LR_ZONE);
	spin_lock(&a);
	spin_lock(&b);
	return 0;
}

static void the_same_rank_nests_by_address_or_by_word(void **state)
{
	struct locks *l = locks_in_arena();

	(void)state;
	spin_lock(&l->zone);
	spin_lock(&l->zone2);
	spin_unlock(&l->zone2);
	spin_unlock(&l->zone);

	spin_lock(&l->zone2);
	spin_lock_nested(&l->zone, 1);
	spin_unlock(&l->zone);
	spin_unlock(&l->zone2);
	down_write(&l->mmap2);
	down_write_nested(&l->mmap, 1);
	up_write(&l->mmap);
	up_write(&l->mmap2);

	expect_order_bug(down_in_rank, l, "takes zone lock", "inside zone lock");
	expect_order_bug(same_rank_outside, l, "takes zone lock", "outside the arena");
}

static void trylock_may_come_in_any_order(void **state)
{
	struct locks *l = locks_in_arena();

	(void)state;
	spin_lock(&l->zone);
	assert_int_equal(spin_trylock(&l->lru), 1);
	assert_int_equal(write_trylock(&l->tasklist), 1);
	assert_int_equal(lockrank_held(), 3);
	write_unlock(&l->tasklist);
	spin_unlock(&l->lru);
	spin_unlock(&l->zone);
	mutex_lock(&l->page);
	assert_int_equal(down_read_trylock(&l->mmap), 1);
	up_read(&l->mmap);
	mutex_unlock(&l->page);
	assert_int_equal(lockrank_held(), 0);
}

static irqreturn_t lock_in_handler(int irq, void *dev)
{
	struct locks *l = dev;

	(void)irq;
	read_lock(&l->tasklist);
	assert_int_equal(lockrank_held(), 2);
	read_unlock(&l->tasklist);
	return IRQ_HANDLED;
}

static void interrupt_handlers_are_not_ordered_against_what_they_interrupt(void **state)
{
	struct locks *l = locks_in_arena();
	u64 before;

	(void)state;
	assert_int_equal(request_irq(5, lock_in_handler, 0, "test", l), 0);
	before = irq_count_of(this_machine(), 5);
	spin_lock(&l->lru);
	irq_raise(this_machine(), smp_processor_id(), 5);
	while (irq_count_of(this_machine(), 5) == before)
		hw_safepoint();
	spin_unlock(&l->lru);
	free_irq(5, l);
	assert_int_equal(lockrank_held(), 0);
}

static void more_locks_than_are_recorded_are_counted(void **state)
{
	struct locks *l = locks_in_arena();
	const unsigned int nr = ARRAY_SIZE(l->many);

	(void)state;
	for (unsigned int i = 0; i < nr; i++)
		spin_lock(&l->many[i]);
	assert_int_equal(lockrank_held(), nr);
	for (unsigned int i = 0; i < nr; i++)
		assert_true(lockdep_is_held(&l->many[i]));
	/* From both ends: recorded ones and others. */
	for (unsigned int i = 0; i < nr / 2; i++) {
		spin_unlock(&l->many[i]);
		spin_unlock(&l->many[nr - 1 - i]);
	}
	assert_int_equal(lockrank_held(), nr % 2);
	if (nr % 2)
		spin_unlock(&l->many[nr / 2]);
	spin_lock(&l->zone);
	assert_true(lockdep_is_held(&l->zone));
	spin_unlock(&l->zone);
	assert_false(lockdep_is_held(&l->zone));
}

static void assertions_warn_when_the_lock_is_not_held(void **state)
{
	struct locks *l = locks_in_arena();

	(void)state;
	mutex_lock(&l->page);
	lockdep_assert_held(&l->page);
	lockdep_assert_not_held(&l->slab);
	expect_no_warn();
	mutex_unlock(&l->page);
	lockdep_assert_held(&l->page);
	expect_warn("lockrank_holds");
}

static long hold_and_block(void *arg)
{
	struct locks *l = arg;

	mutex_lock(&l->page);
	fiber_prepare();
	fiber_block(SITE());
	mutex_unlock(&l->page);
	return 0;
}

static void a_fiber_keeps_its_locks_while_others_run(void **state)
{
	struct locks *l = locks_in_arena();
	struct fiber *f = fiber_spawn(smp_processor_id(), "holder", hold_and_block, l);

	(void)state;
	assert_non_null(f);
	while (f->state != FIBER_BLOCKED)
		fiber_yield();
	assert_int_equal(f->nr_held, 1);
	assert_int_equal(lockrank_held(), 0);
	down_read(&l->mmap);			/* before page: fine, the other holds page */
	up_read(&l->mmap);
	fiber_wake(f);
	fiber_join(f, NULL);
}

#else

static void release_builds_record_nothing(void **state)
{
	DEFINE_SPINLOCK(lock);

	(void)state;
	spin_lock(&lock);
	assert_int_equal(lockrank_held(), 0);
	assert_int_equal(sizeof(lock), 4);
	spin_unlock(&lock);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(every_rank_has_a_name),
#ifdef KARC_DEBUG
		KARC_TESTS(the_right_order_passes),
		KARC_TESTS(a_wrong_order_is_a_bug_that_names_both_locks),
		KARC_TESTS(the_same_rank_nests_by_address_or_by_word),
		KARC_TESTS(trylock_may_come_in_any_order),
		KARC_TESTS(interrupt_handlers_are_not_ordered_against_what_they_interrupt),
		KARC_TESTS(more_locks_than_are_recorded_are_counted),
		KARC_TESTS(assertions_warn_when_the_lock_is_not_held),
		KARC_TESTS(a_fiber_keeps_its_locks_while_others_run),
#else
		KARC_TESTS(release_builds_record_nothing),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
