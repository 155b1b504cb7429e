/* SPDX-License-Identifier: MIT */
/*
 * Goal: helpers for types, rounding, minima and powers of two; sites.
 * Method: edges by hand, and slow loops as models.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <karc/base/math.h>
#include <karc/base/site.h>
#include <karc/base/types.h>

struct outer {
	u8 first;
	u64 second;
	u32 third;
};

static void container_of_finds_the_enclosing_object(void **state)
{
	struct outer o;
	u32 *third = &o.third;

	(void)state;
	assert_ptr_equal(container_of(third, struct outer, third), &o);
	assert_int_equal(offsetofend(struct outer, second), 16);
	assert_int_equal(sizeof_field(struct outer, third), 4);
	assert_int_equal(ARRAY_SIZE(((int[7]){ 0 })), 7);
}

static void rounding_agrees_with_division(void **state)
{
	unsigned long x, a;

	(void)state;
	for (a = 1; a <= 64; a *= 2) {
		for (x = 1; x < 300; x++) {
			unsigned long up = (x + a - 1) / a * a, down = x / a * a;

			assert_int_equal(ALIGN(x, a), up);
			assert_int_equal(round_up(x, a), up);
			assert_int_equal(ALIGN_DOWN(x, a), down);
			assert_int_equal(round_down(x, a), down);
			assert_int_equal(IS_ALIGNED(x, a), up == down);
			assert_int_equal(DIV_ROUND_UP(x, a), up / a);
		}
	}
	assert_int_equal(DIV_ROUND_UP(7, 3), 3);
	assert_int_equal(DIV_ROUND_CLOSEST(7, 3), 2);
	assert_int_equal(DIV_ROUND_CLOSEST(8, 3), 3);
	assert_int_equal(DIV_ROUND_CLOSEST(-8, 3), -3);
	assert_int_equal(PAGE_ALIGN(4097UL), 8192);
	assert_int_equal(PAGE_ALIGN_DOWN(4097UL), 4096);
	assert_int_equal(offset_in_page(4099UL), 3);
	/* A 32-bit alignment does not cut a 64-bit address. */
	assert_true(ALIGN(0x123456789aULL, 16u) == 0x12345678a0ULL);
	assert_true(ALIGN_DOWN(0x123456789aULL, 16u) == 0x1234567890ULL);
}

static void minima_evaluate_their_arguments_once(void **state)
{
	int a = 1, b = 5, c;

	(void)state;
	c = min(a++, b++);
	assert_int_equal(c, 1);
	assert_int_equal(a, 2);
	assert_int_equal(b, 6);
	assert_int_equal(max(a, b), 6);
	assert_int_equal(min_t(unsigned char, c + 256, 2), 1);
	assert_int_equal(max_t(long, -1, 1), 1);
	assert_int_equal(min3(3, 1, 2), 1);
	assert_int_equal(max3(3, 1, 2), 3);
	assert_int_equal(clamp(7, 1, 5), 5);
	assert_int_equal(clamp(-7, 1, 5), 1);
	assert_int_equal(clamp_val(3, 1, 5), 3);
	assert_int_equal(min_not_zero(0, 4), 4);
	assert_int_equal(min_not_zero(3, 4), 3);
	assert_int_equal(max(min(1, 2), min(3, max(4, 5))), 3);
	swap(a, b);
	assert_int_equal(a, 6);
	assert_int_equal(b, 2);
}

static void bit_positions_agree_with_loops(void **state)
{
	unsigned long x;
	int i;

	(void)state;
	for (i = 0; i < 64; i++) {
		x = 1UL << i;
		assert_int_equal(__ffs(x | (i < 63 ? 1UL << 63 : 0)), i);
		assert_int_equal(__fls(x | 1), i);
		assert_int_equal(fls64(x), i + 1);
		assert_int_equal(ilog2(x), i);
		assert_int_equal(ilog2(x | (x - 1)), i);
		assert_int_equal(ffz(~x), i);
		assert_int_equal(order_base_2(x), i);
		assert_true(is_power_of_2(x));
		if (i < 63)
			assert_int_equal(order_base_2(x + 1), i + 1);
		if (i > 1)
			assert_false(is_power_of_2(x - 1));
	}
	assert_int_equal(fls(0), 0);
	assert_int_equal(fls(0x80000000u), 32);
	assert_int_equal(fls_long(0), 0);
	assert_int_equal(order_base_2(0), 0);
	assert_false(is_power_of_2(0));
	assert_int_equal(roundup_pow_of_two(1), 1);
	assert_int_equal(roundup_pow_of_two(5), 8);
	assert_int_equal(roundup_pow_of_two(8), 8);
	assert_int_equal(rounddown_pow_of_two(9), 8);
	assert_true(GENMASK(7, 4) == 0xf0);
	assert_true(GENMASK_ULL(63, 0) == ~0ULL);
	assert_int_equal(hweight64(~0ULL), 64);
	assert_int_equal(hweight8(0x5a), 4);
}

static void orders_hold_their_sizes(void **state)
{
	unsigned long size;

	(void)state;
	assert_int_equal(get_order(1), 0);
	assert_int_equal(get_order(4096), 0);
	assert_int_equal(get_order(4097), 1);
	for (size = 1; size < 100 * PAGE_SIZE; size += 511) {
		int order = get_order(size);

		assert_true(PAGE_SIZE << order >= size);
		assert_true(order == 0 || PAGE_SIZE << (order - 1) < size);
	}
}

#define site_of_call() pass_site(SITE())

static const struct site *pass_site(const struct site *site)
{
	return site;
}

static void a_site_names_the_place_of_its_macro(void **state)
{
	const struct site *a = site_of_call(); unsigned int line = __LINE__;
	const struct site *b = site_of_call();

	(void)state;
	assert_int_equal(a->line, line);
	assert_int_equal(b->line, line + 1);
	assert_string_equal(a->func, __func__);
	assert_non_null(strstr(a->file, "test_types.c"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(container_of_finds_the_enclosing_object),
		cmocka_unit_test(rounding_agrees_with_division),
		cmocka_unit_test(minima_evaluate_their_arguments_once),
		cmocka_unit_test(bit_positions_agree_with_loops),
		cmocka_unit_test(orders_hold_their_sizes),
		cmocka_unit_test(a_site_names_the_place_of_its_macro),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
