/* SPDX-License-Identifier: MIT */
/*
 * Goal: each guard of a real lock takes it, gives it back, and knows when it did not get it.
 * Method: for every guard, look at the lock or the context inside and outside its scope; the
 * conditional ones also while another task has the lock.
 */
#include "fixture.h"

#include <karc/hw/completion.h>
#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/hw/mutex.h>
#include <karc/hw/rwsem.h>
#include <karc/hw/spinlock.h>

static int mutex_early(struct mutex *lock, bool early)
{
	guard(mutex)(lock);
	if (early)
		return 1;
	return mutex_is_locked(lock) ? 2 : 0;
}

static void mutex_guard_holds_it(void **state)
{
	struct mutex lock;

	(void)state;
	mutex_init(&lock);
	assert_int_equal(mutex_early(&lock, true), 1);
	assert_false(mutex_is_locked(&lock));
	assert_int_equal(mutex_early(&lock, false), 2);
	assert_false(mutex_is_locked(&lock));
	scoped_guard(mutex, &lock)
		assert_true(mutex_is_locked(&lock));
	scoped_guard(mutex_intr, &lock)
		assert_true(mutex_is_locked(&lock));
	assert_false(mutex_is_locked(&lock));
	mutex_destroy(&lock);
}

/* Somebody else has the locks, until told. */
struct holder {
	struct mutex mutex;
	struct rw_semaphore rwsem;
	struct completion has, let_go;
};

static long holds(void *arg)
{
	struct holder *h = arg;

	guard(mutex)(&h->mutex);
	guard(rwsem_write)(&h->rwsem);
	complete(&h->has);
	wait_for_completion(&h->let_go);
	return 0;
}

static int try_mutex(struct mutex *lock)
{
	scoped_cond_guard(mutex_try, return -EBUSY, lock)
		return mutex_is_locked(lock);
}

static int try_read(struct rw_semaphore *sem)
{
	scoped_cond_guard(rwsem_read_try, return -EBUSY, sem)
		return rwsem_is_locked(sem);
}

static int try_write(struct rw_semaphore *sem)
{
	scoped_cond_guard(rwsem_write_try, return -EBUSY, sem)
		return rwsem_is_write_locked(sem);
}

static void try_guards_know_that_somebody_else_has_it(void **state)
{
	struct machine_result r;
	struct holder h;
	struct fiber *f;

	(void)state;
	mutex_init(&h.mutex);
	init_rwsem(&h.rwsem);
	init_completion(&h.has);
	init_completion(&h.let_go);
	f = fiber_spawn(machine_nr_cpus(this_machine()) - 1, "holder", holds, &h);
	assert_non_null(f);
	wait_for_completion(&h.has);
	assert_int_equal(try_mutex(&h.mutex), -EBUSY);
	assert_int_equal(try_read(&h.rwsem), -EBUSY);
	assert_int_equal(try_write(&h.rwsem), -EBUSY);
	complete(&h.let_go);
	fiber_join(f, &r);
	assert_int_equal(r.end, MACHINE_VALUE);
	assert_int_equal(try_mutex(&h.mutex), 1);
	assert_int_equal(try_read(&h.rwsem), 1);
	assert_int_equal(try_write(&h.rwsem), 1);
	assert_false(mutex_is_locked(&h.mutex));
	assert_false(rwsem_is_locked(&h.rwsem));
	mutex_destroy(&h.mutex);
}

static void rwsem_guards_hold_it(void **state)
{
	struct rw_semaphore sem;

	(void)state;
	init_rwsem(&sem);
	scoped_guard(rwsem_read, &sem) {
		assert_true(rwsem_is_locked(&sem));
		assert_false(rwsem_is_write_locked(&sem));
	}
	scoped_guard(rwsem_read_intr, &sem)
		assert_true(rwsem_is_locked(&sem));
	assert_false(rwsem_is_locked(&sem));
	scoped_guard(rwsem_write, &sem)
		assert_true(rwsem_is_write_locked(&sem));
	assert_false(rwsem_is_locked(&sem));
}

/* What a guard of @lock must have done inside its scope, and undone after it. */
#define ASSERT_SPIN_GUARD(name, lock, is_locked, irqs, bh) do {			\
	scoped_guard(name, lock) {						\
		assert_true(is_locked);						\
		assert_true(in_atomic());					\
		assert_int_equal(irqs_disabled(), irqs);			\
		assert_int_equal(in_softirq(), bh);				\
	}									\
	assert_false(is_locked);						\
	assert_false(in_atomic());						\
	assert_false(irqs_disabled());						\
} while (0)

static void spinlock_guards_hold_it_and_set_the_context(void **state)
{
	DEFINE_SPINLOCK(lock);

	(void)state;
	ASSERT_SPIN_GUARD(spinlock, &lock, spin_is_locked(&lock), 0, 0);
	ASSERT_SPIN_GUARD(spinlock_try, &lock, spin_is_locked(&lock), 0, 0);
	ASSERT_SPIN_GUARD(spinlock_nested, &lock, spin_is_locked(&lock), 0, 0);
	ASSERT_SPIN_GUARD(spinlock_irq, &lock, spin_is_locked(&lock), 1, 0);
	ASSERT_SPIN_GUARD(spinlock_irq_try, &lock, spin_is_locked(&lock), 1, 0);
	ASSERT_SPIN_GUARD(spinlock_bh, &lock, spin_is_locked(&lock), 0, 1);
	ASSERT_SPIN_GUARD(spinlock_bh_try, &lock, spin_is_locked(&lock), 0, 1);
	ASSERT_SPIN_GUARD(spinlock_irqsave, &lock, spin_is_locked(&lock), 1, 0);
	ASSERT_SPIN_GUARD(spinlock_irqsave_try, &lock, spin_is_locked(&lock), 1, 0);
	ASSERT_SPIN_GUARD(raw_spinlock, &lock, raw_spin_is_locked(&lock), 0, 0);
	ASSERT_SPIN_GUARD(raw_spinlock_try, &lock, raw_spin_is_locked(&lock), 0, 0);
	ASSERT_SPIN_GUARD(raw_spinlock_nested, &lock, raw_spin_is_locked(&lock), 0, 0);
	ASSERT_SPIN_GUARD(raw_spinlock_irq, &lock, raw_spin_is_locked(&lock), 1, 0);
	ASSERT_SPIN_GUARD(raw_spinlock_bh, &lock, raw_spin_is_locked(&lock), 0, 1);
	ASSERT_SPIN_GUARD(raw_spinlock_irqsave, &lock, raw_spin_is_locked(&lock), 1, 0);
	ASSERT_SPIN_GUARD(raw_spinlock_irqsave_try, &lock, raw_spin_is_locked(&lock), 1, 0);
}

static void rwlock_guards_hold_it_and_set_the_context(void **state)
{
	DEFINE_RWLOCK(lock);

	(void)state;
	ASSERT_SPIN_GUARD(read_lock, &lock, READ_ONCE(lock.value) == 1, 0, 0);
	ASSERT_SPIN_GUARD(read_lock_irq, &lock, READ_ONCE(lock.value) == 1, 1, 0);
	ASSERT_SPIN_GUARD(read_lock_irqsave, &lock, READ_ONCE(lock.value) == 1, 1, 0);
	ASSERT_SPIN_GUARD(write_lock, &lock, READ_ONCE(lock.value) & RWLOCK_WRITER, 0, 0);
	ASSERT_SPIN_GUARD(write_lock_irq, &lock, READ_ONCE(lock.value) & RWLOCK_WRITER, 1, 0);
	ASSERT_SPIN_GUARD(write_lock_irqsave, &lock, READ_ONCE(lock.value) & RWLOCK_WRITER, 1, 0);
}

static void irqsave_guard_restores_what_was(void **state)
{
	DEFINE_SPINLOCK(lock);

	(void)state;
	local_irq_disable();
	scoped_guard(spinlock_irqsave, &lock)
		assert_true(irqs_disabled());
	assert_true(irqs_disabled());
	scoped_guard(irqsave)
		assert_true(irqs_disabled());
	assert_true(irqs_disabled());
	local_irq_enable();
	scoped_guard(irqsave)
		assert_true(irqs_disabled());
	assert_false(irqs_disabled());
}

static void context_guards_set_and_restore_it(void **state)
{
	(void)state;
	scoped_guard(irq)
		assert_true(irqs_disabled());
	assert_false(irqs_disabled());
	scoped_guard(preempt) {
		assert_true(in_atomic());
		scoped_guard(preempt_notrace)
			assert_int_equal(preempt_count(), 2);
		assert_int_equal(preempt_count(), 1);
	}
	assert_false(in_atomic());
	scoped_guard(migrate)
		assert_int_equal(fiber_self()->migrate_disabled, 1);
	assert_int_equal(fiber_self()->migrate_disabled, 0);
}

static int fails_inside_three(struct mutex *outer, spinlock_t *inner, bool fail)
{
	guard(mutex)(outer);
	guard(spinlock)(inner);
	guard(irq)();
	if (fail)
		goto out;
	return 0;
out:
	return spin_is_locked(inner) && mutex_is_locked(outer) ? -EIO : -EINVAL;
}

static void guards_of_three_kinds_nest(void **state)
{
	DEFINE_SPINLOCK(inner);
	struct mutex outer;

	(void)state;
	mutex_init(&outer);
	assert_int_equal(fails_inside_three(&outer, &inner, true), -EIO);
	assert_int_equal(fails_inside_three(&outer, &inner, false), 0);
	assert_false(spin_is_locked(&inner) || mutex_is_locked(&outer) || irqs_disabled());
	mutex_destroy(&outer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(mutex_guard_holds_it),
		KARC_TESTS(try_guards_know_that_somebody_else_has_it),
		karc_unit_test(rwsem_guards_hold_it),
		karc_unit_test(spinlock_guards_hold_it_and_set_the_context),
		karc_unit_test(rwlock_guards_hold_it_and_set_the_context),
		karc_unit_test(irqsave_guard_restores_what_was),
		karc_unit_test(context_guards_set_and_restore_it),
		karc_unit_test(guards_of_three_kinds_nest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
