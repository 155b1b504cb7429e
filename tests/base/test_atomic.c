/* SPDX-License-Identifier: MIT */
/*
 * Goal: the atomic families compute what Linux's compute, at the edges too.
 * Method: each operation against plain arithmetic; a few threads hammer one counter, which also
 * lets the thread sanitizer look.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <limits.h>
#include <pthread.h>
#include <sched.h>

#include <karc/base/atomic.h>

#define NR_THREADS 4
#define NR_ROUNDS 20000

static void add_and_sub_return_the_new_value(void **state)
{
	atomic_t v = ATOMIC_INIT(5);

	(void)state;
	assert_int_equal(atomic_add_return(3, &v), 8);
	assert_int_equal(atomic_sub_return_release(10, &v), -2);
	assert_int_equal(atomic_inc_return_acquire(&v), -1);
	assert_int_equal(atomic_dec_return_relaxed(&v), -2);
	atomic_add(7, &v);
	atomic_sub(1, &v);
	atomic_inc(&v);
	atomic_dec(&v);
	assert_int_equal(atomic_read(&v), 4);
}

static void fetch_operations_return_the_old_value(void **state)
{
	atomic64_t v = ATOMIC64_INIT(0xf0);

	(void)state;
	assert_int_equal(atomic64_fetch_add(1, &v), 0xf0);
	assert_int_equal(atomic64_fetch_sub_relaxed(1, &v), 0xf1);
	assert_int_equal(atomic64_fetch_or(0x0f, &v), 0xf0);
	assert_int_equal(atomic64_fetch_and_acquire(0x3c, &v), 0xff);
	assert_int_equal(atomic64_fetch_xor_release(0xff, &v), 0x3c);
	assert_int_equal(atomic64_fetch_andnot(0xc0, &v), 0xc3);
	assert_int_equal(atomic64_fetch_inc(&v), 0x03);
	assert_int_equal(atomic64_fetch_dec(&v), 0x04);
	atomic64_or(0x10, &v);
	atomic64_and(0x11, &v);
	atomic64_xor(0x01, &v);
	atomic64_andnot(0x10, &v);
	assert_int_equal(atomic64_read_acquire(&v), 0);
}

static void linux_meaning_holds_under_the_names_of_stdatomic(void **state)
{
	atomic_t v = ATOMIC_INIT(1);

	(void)state;
	assert_int_equal((atomic_fetch_add)(2, &v), 1);
	assert_int_equal((atomic_fetch_or)(4, &v), 3);
	assert_int_equal((atomic_fetch_sub)(7, &v), 7);
	assert_int_equal(atomic_read(&v), 0);
}

static void overflow_wraps_as_two_complement(void **state)
{
	atomic_t v = ATOMIC_INIT(INT_MAX);
	atomic64_t w = ATOMIC64_INIT(LLONG_MIN);

	(void)state;
	assert_int_equal(atomic_inc_return(&v), INT_MIN);
	assert_true(atomic64_dec_return(&w) == LLONG_MAX);
	atomic_set(&v, INT_MAX);
	assert_true(atomic_inc_not_zero(&v));
	assert_int_equal(atomic_read(&v), INT_MIN);
}

static void tests_answer_about_the_result(void **state)
{
	atomic_t v = ATOMIC_INIT(2);

	(void)state;
	assert_false(atomic_dec_and_test(&v));
	assert_true(atomic_dec_and_test(&v));
	assert_true(atomic_add_negative(-1, &v));
	assert_true(atomic_inc_and_test(&v));
	assert_false(atomic_add_negative(3, &v));
	assert_true(atomic_sub_and_test(3, &v));
}

static void conditional_operations_leave_the_value_when_they_refuse(void **state)
{
	atomic_long_t v = ATOMIC_LONG_INIT(0);

	(void)state;
	assert_false(atomic_long_inc_not_zero(&v));
	assert_int_equal(atomic_long_dec_if_positive(&v), -1);
	assert_int_equal(atomic_long_read(&v), 0);
	assert_true(atomic_long_add_unless(&v, 4, 1));
	assert_false(atomic_long_add_unless(&v, 4, 4));
	assert_int_equal(atomic_long_fetch_add_unless(&v, 4, 4), 4);
	assert_int_equal(atomic_long_dec_if_positive(&v), 3);
	assert_false(atomic_long_dec_unless_positive(&v));
	atomic_long_set_release(&v, -1);
	assert_false(atomic_long_inc_unless_negative(&v));
	assert_true(atomic_long_dec_unless_positive(&v));
	assert_int_equal(atomic_long_read(&v), -2);
	atomic_long_set(&v, LONG_MIN);
	assert_true(atomic_long_dec_unless_positive(&v));
	assert_int_equal(atomic_long_read(&v), LONG_MAX);
}

static void compare_and_exchange_tells_what_it_found(void **state)
{
	atomic_t v = ATOMIC_INIT(7);
	int old = 6;

	(void)state;
	assert_int_equal(atomic_cmpxchg(&v, 6, 9), 7);
	assert_int_equal(atomic_cmpxchg_acquire(&v, 7, 9), 7);
	assert_false(atomic_try_cmpxchg(&v, &old, 1));
	assert_int_equal(old, 9);
	assert_true(atomic_try_cmpxchg_release(&v, &old, 1));
	assert_int_equal(atomic_xchg_relaxed(&v, 3), 1);
	assert_int_equal(atomic_read(&v), 3);
}

static void generic_exchanges_take_any_scalar(void **state)
{
	unsigned char byte = 1;
	int x = 1, y = 2, *p = &x, *expected = &y;

	(void)state;
	assert_int_equal(xchg(&byte, 200), 1);
	assert_int_equal(cmpxchg(&byte, 200, 3), 200);
	assert_ptr_equal(cmpxchg(&p, &y, NULL), &x);
	assert_false(try_cmpxchg(&p, &expected, NULL));
	assert_ptr_equal(expected, &x);
	assert_ptr_equal(xchg_acquire(&p, &y), &x);
	smp_store_release(&p, &x);
	assert_ptr_equal(smp_load_acquire(&p), &x);
	smp_mb();
	smp_rmb();
	smp_wmb();
	assert_int_equal(READ_ONCE(byte), 3);
	WRITE_ONCE(byte, 9);
	assert_int_equal(byte, 9);
}

struct shared {
	atomic_t counter;
	atomic_t limited;
	int lock;
	int guarded;
};

static void *hammer(void *arg)
{
	struct shared *s = arg;
	int i;

	for (i = 0; i < NR_ROUNDS; i++) {
		atomic_inc(&s->counter);
		atomic_add_unless(&s->limited, 1, NR_ROUNDS);
		while (xchg_acquire(&s->lock, 1))
			sched_yield();
		s->guarded++;
		smp_store_release(&s->lock, 0);
	}
	return NULL;
}

static void threads_lose_no_update(void **state)
{
	struct shared s = { .lock = 0 };
	pthread_t threads[NR_THREADS];
	int i;

	(void)state;
	for (i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, &s), 0);
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_read(&s.counter), NR_THREADS * NR_ROUNDS);
	assert_int_equal(atomic_read(&s.limited), NR_ROUNDS);
	assert_int_equal(s.guarded, NR_THREADS * NR_ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(add_and_sub_return_the_new_value),
		cmocka_unit_test(fetch_operations_return_the_old_value),
		cmocka_unit_test(linux_meaning_holds_under_the_names_of_stdatomic),
		cmocka_unit_test(overflow_wraps_as_two_complement),
		cmocka_unit_test(tests_answer_about_the_result),
		cmocka_unit_test(conditional_operations_leave_the_value_when_they_refuse),
		cmocka_unit_test(compare_and_exchange_tells_what_it_found),
		cmocka_unit_test(generic_exchanges_take_any_scalar),
		cmocka_unit_test(threads_lose_no_update),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
