/* SPDX-License-Identifier: MIT */
/*
 * Goal: overflow is noticed at every edge, and sizes saturate.
 * Method: 8-bit arithmetic against all pairs in wide arithmetic; 64-bit edges by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <karc/base/overflow.h>

static void eight_bit_arithmetic_is_right_for_all_pairs(void **state)
{
	int a, b;
	u8 u;
	s8 s;

	(void)state;
	for (a = 0; a < 256; a++) {
		for (b = 0; b < 256; b++) {
			assert_int_equal(check_add_overflow((u8)a, (u8)b, &u), a + b > 255);
			assert_int_equal(u, (u8)(a + b));
			assert_int_equal(check_sub_overflow((u8)a, (u8)b, &u), a < b);
			assert_int_equal(check_mul_overflow((u8)a, (u8)b, &u), a * b > 255);
			assert_int_equal(check_add_overflow((s8)a, (s8)b, &s),
					 (s8)a + (s8)b > 127 || (s8)a + (s8)b < -128);
			assert_int_equal(check_mul_overflow((s8)a, (s8)b, &s),
					 (s8)a * (s8)b > 127 || (s8)a * (s8)b < -128);
		}
	}
}

static void shifts_that_lose_bits_are_noticed(void **state)
{
	int a, s, wide;
	u8 u;
	s8 d;
	u64 big;
	int i;

	(void)state;
	for (a = 0; a < 256; a++) {
		for (s = 0; s < 12; s++) {
			wide = a << s;
			assert_int_equal(check_shl_overflow(a, s, &u), s >= 8 || wide > 255);
			if (s < 8 && wide <= 255)
				assert_int_equal(u, wide);
			assert_int_equal(check_shl_overflow(a, s, &d), s >= 8 || wide > 127);
		}
	}
	assert_true(check_shl_overflow(-1, 0, &i));
	assert_true(check_shl_overflow(1, -1, &i));
	assert_true(check_shl_overflow(1, 31, &i));
	assert_false(check_shl_overflow(1, 30, &i));
	assert_false(check_shl_overflow(1ULL, 63, &big));
	assert_true(check_shl_overflow(2ULL, 63, &big));
	assert_true(check_shl_overflow(1ULL, 64, &big));
	assert_false(check_shl_overflow(0, 5, &big));
}

static void sizes_saturate(void **state)
{
	(void)state;
	assert_true(size_add(SIZE_MAX - 1, 1) == SIZE_MAX);
	assert_true(size_add(SIZE_MAX, 1) == SIZE_MAX);
	assert_int_equal(size_add(3, 4), 7);
	assert_true(size_mul(SIZE_MAX / 2, 3) == SIZE_MAX);
	assert_int_equal(size_mul(6, 7), 42);
	assert_true(size_sub(1, 2) == SIZE_MAX);
	assert_true(size_sub(SIZE_MAX, 5) == SIZE_MAX);
	assert_int_equal(size_sub(5, 2), 3);
	assert_true(array3_size(1UL << 30, 1UL << 30, 16) == SIZE_MAX);
	assert_int_equal(array3_size(2, 3, 4), 24);
}

struct flexible {
	u64 head;
	u32 items[];
};

static void struct_size_counts_the_flexible_array(void **state)
{
	struct flexible *p = NULL;

	(void)state;
	assert_int_equal(struct_size(p, items, 5), 8 + 20);
	assert_int_equal(flex_array_size(p, items, 3), 12);
	assert_true(struct_size(p, items, SIZE_MAX / 4) == SIZE_MAX);
	assert_true(struct_size(p, items, SIZE_MAX / 4 + 1) == SIZE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eight_bit_arithmetic_is_right_for_all_pairs),
		cmocka_unit_test(shifts_that_lose_bits_are_noticed),
		cmocka_unit_test(sizes_saturate),
		cmocka_unit_test(struct_size_counts_the_flexible_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
