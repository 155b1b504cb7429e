/* SPDX-License-Identifier: MIT */
/*
 * Goal: single-bit operations and searches over arrays of bits.
 * Method: random operations against an array of bool, seed printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <karc/base/bitops.h>
#include <karc/base/rand.h>

#define NBITS 200

static void operations_agree_with_an_array_of_bool(void **state)
{
	unsigned long map[BITS_TO_LONGS(NBITS)] = { 0 };
	bool model[NBITS] = { false }, old;
	const u64 seed = 0xb17;
	struct rnd rnd;
	int i, round;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	for (round = 0; round < 20000; round++) {
		i = rnd_below(&rnd, NBITS);
		old = model[i];
		assert_int_equal(test_bit(i, map), old);
		switch (rnd_below(&rnd, 14)) {
		case 0:
			set_bit(i, map);
			model[i] = true;
			break;
		case 1:
			clear_bit(i, map);
			model[i] = false;
			break;
		case 2:
			change_bit(i, map);
			model[i] = !old;
			break;
		case 3:
			assert_int_equal(test_and_set_bit(i, map), old);
			model[i] = true;
			break;
		case 4:
			assert_int_equal(test_and_clear_bit(i, map), old);
			model[i] = false;
			break;
		case 5:
			assert_int_equal(test_and_change_bit(i, map), old);
			model[i] = !old;
			break;
		case 6:
			__set_bit(i, map);
			model[i] = true;
			break;
		case 7:
			__clear_bit(i, map);
			model[i] = false;
			break;
		case 8:
			__change_bit(i, map);
			model[i] = !old;
			break;
		case 9:
			assert_int_equal(__test_and_set_bit(i, map), old);
			model[i] = true;
			break;
		case 10:
			assert_int_equal(__test_and_clear_bit(i, map), old);
			model[i] = false;
			break;
		case 11:
			assert_int_equal(test_and_set_bit_lock(i, map), old);
			model[i] = true;
			break;
		case 12:
			clear_bit_unlock(i, map);
			model[i] = false;
			break;
		default:
			assign_bit(i, map, !old);
			model[i] = !old;
			break;
		}
	}
}

static unsigned long slow_find(const bool *model, unsigned long nbits, unsigned long from,
			       bool wanted)
{
	while (from < nbits && model[from] != wanted)
		from++;
	return from < nbits ? from : nbits;
}

static unsigned long slow_last(const bool *model, unsigned long nbits)
{
	unsigned long i;

	for (i = nbits; i > 0; i--)
		if (model[i - 1])
			return i - 1;
	return nbits;
}

static void searches_agree_with_a_slow_scan(void **state)
{
	unsigned long map[BITS_TO_LONGS(NBITS)];
	bool model[NBITS];
	const u64 seed = 0x5ea7c4;
	struct rnd rnd;
	int round, i;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	for (round = 0; round < 3000; round++) {
		u32 density = 1 + rnd_below(&rnd, 60);
		unsigned long nbits = rnd_below(&rnd, NBITS + 1);
		unsigned long from = rnd_below(&rnd, NBITS + 10);

		/* Bits beyond nbits are random as well: the searches must not see them. */
		memset(map, 0, sizeof(map));
		for (i = 0; i < NBITS; i++) {
			model[i] = rnd_chance(&rnd, 1, density) ^ (round & 1);
			__assign_bit(i, map, model[i]);
		}
		assert_int_equal(find_next_bit(map, nbits, from),
				 slow_find(model, nbits, from, true));
		assert_int_equal(find_next_zero_bit(map, nbits, from),
				 slow_find(model, nbits, from, false));
		assert_int_equal(find_first_bit(map, nbits), slow_find(model, nbits, 0, true));
		assert_int_equal(find_first_zero_bit(map, nbits),
				 slow_find(model, nbits, 0, false));
		assert_int_equal(find_last_bit(map, nbits), slow_last(model, nbits));
	}
}

static void loops_visit_exactly_the_bits(void **state)
{
	unsigned long map[2] = { BIT(0) | BIT(63), BIT(1) }, bit;
	unsigned long set = 0, clear = 0;

	(void)state;
	for_each_set_bit(bit, map, 66)
		set += bit;
	for_each_clear_bit(bit, map, 66)
		clear++;
	assert_int_equal(set, 0 + 63 + 65);
	assert_int_equal(clear, 66 - 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations_agree_with_an_array_of_bool),
		cmocka_unit_test(searches_agree_with_a_slow_scan),
		cmocka_unit_test(loops_visit_exactly_the_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
