/* SPDX-License-Identifier: MIT */
/*
 * Goal: the generator repeats itself from a seed, stays in bounds and is not obviously skewed.
 * Method: known first numbers; bounds over many draws; counts per bucket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <karc/base/rand.h>

static void the_same_seed_gives_the_same_numbers(void **state)
{
	struct rnd a, b, c;
	int i, same = 0;

	(void)state;
	rnd_seed(&a, 42);
	rnd_seed(&b, 42);
	rnd_seed(&c, 43);
	for (i = 0; i < 1000; i++) {
		u64 x = rnd_u64(&a);

		assert_true(x == rnd_u64(&b));
		same += x == rnd_u64(&c);
	}
	assert_int_equal(same, 0);
}

static void splitmix_gives_its_published_numbers(void **state)
{
	u64 s = 1234567;

	(void)state;
	assert_true(rnd_splitmix(&s) == 6457827717110365317ULL);
	assert_true(rnd_splitmix(&s) == 3203168211198807973ULL);
}

static void draws_stay_within_their_bounds(void **state)
{
	int buckets[10] = { 0 }, i;
	struct rnd rnd;

	(void)state;
	rnd_seed(&rnd, 7);
	for (i = 0; i < 100000; i++) {
		u64 x = rnd_between(&rnd, 5, 9);

		assert_true(x >= 5 && x <= 9);
		buckets[rnd_below(&rnd, 10)]++;
	}
	for (i = 0; i < 10; i++)
		assert_in_range(buckets[i], 9500, 10500);
	assert_int_equal(rnd_below(&rnd, 1), 0);
	assert_true(rnd_between(&rnd, 3, 3) == 3);
	assert_false(rnd_chance(&rnd, 0, 5));
	assert_true(rnd_chance(&rnd, 5, 5));
	(void)rnd_between(&rnd, 0, ~0ULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_seed_gives_the_same_numbers),
		cmocka_unit_test(splitmix_gives_its_published_numbers),
		cmocka_unit_test(draws_stay_within_their_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
