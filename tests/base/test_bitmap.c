/* SPDX-License-Identifier: MIT */
/*
 * Goal: whole-bitmap operations.
 * Method: against arrays of bool under random operations, seed printed; junk beyond the last bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <karc/base/bitmap.h>
#include <karc/base/rand.h>

#define NBITS_MAX 190

struct pair {
	DECLARE_BITMAP(map, NBITS_MAX);
	bool model[NBITS_MAX];
};

static void randomise(struct pair *p, struct rnd *rnd)
{
	u32 density = 1 + rnd_below(rnd, 8);
	int i;

	for (i = 0; i < (int)BITS_TO_LONGS(NBITS_MAX); i++)
		p->map[i] = rnd_u64(rnd);
	for (i = 0; i < NBITS_MAX; i++) {
		p->model[i] = rnd_chance(rnd, 1, density);
		__assign_bit(i, p->map, p->model[i]);
	}
}

static void assert_same(const struct pair *p, unsigned int nbits)
{
	unsigned int i;

	for (i = 0; i < nbits; i++)
		assert_int_equal(test_bit(i, p->map), p->model[i]);
}

static void check_questions(struct pair *a, struct pair *b, unsigned int nbits)
{
	bool equal = true, intersects = false, subset = true;
	unsigned int weight = 0, i;

	for (i = 0; i < nbits; i++) {
		equal &= a->model[i] == b->model[i];
		intersects |= a->model[i] && b->model[i];
		subset &= !a->model[i] || b->model[i];
		weight += a->model[i];
	}
	assert_int_equal(bitmap_equal(a->map, b->map, nbits), equal);
	assert_int_equal(bitmap_intersects(a->map, b->map, nbits), intersects);
	assert_int_equal(bitmap_subset(a->map, b->map, nbits), subset);
	assert_int_equal(bitmap_weight(a->map, nbits), weight);
	assert_int_equal(bitmap_empty(a->map, nbits), weight == 0);
	assert_int_equal(bitmap_full(a->map, nbits), weight == nbits);
}

static void check_algebra(struct pair *a, struct pair *b, unsigned int nbits)
{
	struct pair r;
	bool any_and = false, any_andnot = false;
	unsigned int i;

	for (i = 0; i < nbits; i++) {
		any_and |= a->model[i] && b->model[i];
		any_andnot |= a->model[i] && !b->model[i];
	}
#define CHECK(call, expression) do {						\
	call;									\
	for (i = 0; i < nbits; i++)						\
		r.model[i] = expression;					\
	assert_same(&r, nbits);							\
} while (0)
	CHECK(assert_int_equal(bitmap_and(r.map, a->map, b->map, nbits), any_and),
	      a->model[i] && b->model[i]);
	CHECK(assert_int_equal(bitmap_andnot(r.map, a->map, b->map, nbits), any_andnot),
	      a->model[i] && !b->model[i]);
	CHECK(bitmap_or(r.map, a->map, b->map, nbits), a->model[i] || b->model[i]);
	CHECK(bitmap_xor(r.map, a->map, b->map, nbits), a->model[i] != b->model[i]);
	CHECK(bitmap_complement(r.map, a->map, nbits), !a->model[i]);
	CHECK(bitmap_copy(r.map, a->map, nbits), a->model[i]);
	CHECK(bitmap_zero(r.map, nbits), false);
	CHECK(bitmap_fill(r.map, nbits), true);
#undef CHECK
}

static void operations_agree_with_arrays_of_bool(void **state)
{
	const u64 seed = 0xb17a9;
	struct pair a, b;
	struct rnd rnd;
	int round;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	for (round = 0; round < 2000; round++) {
		unsigned int nbits = rnd_below(&rnd, NBITS_MAX + 1);

		randomise(&a, &rnd);
		randomise(&b, &rnd);
		if (rnd_chance(&rnd, 1, 4))
			b = a;
		check_questions(&a, &b, nbits);
		check_algebra(&a, &b, nbits);
	}
}

static void set_and_clear_touch_exactly_their_range(void **state)
{
	const u64 seed = 0xc1ea4;
	struct pair p;
	struct rnd rnd;
	int round;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	randomise(&p, &rnd);
	for (round = 0; round < 5000; round++) {
		unsigned int start = rnd_below(&rnd, NBITS_MAX);
		unsigned int nr = rnd_below(&rnd, NBITS_MAX - start + 1), i;
		bool value = rnd_chance(&rnd, 1, 2);

		if (value)
			bitmap_set(p.map, start, nr);
		else
			bitmap_clear(p.map, start, nr);
		for (i = start; i < start + nr; i++)
			p.model[i] = value;
		assert_same(&p, NBITS_MAX);
	}
}

static unsigned long slow_area(const bool *model, unsigned long size, unsigned long start,
			       unsigned int nr, unsigned long mask, unsigned long offset)
{
	unsigned long at, i;

	for (at = start; at + nr <= size; at++) {
		if ((at + offset) & mask)
			continue;
		for (i = 0; i < nr && !model[at + i]; i++)
			;
		if (i == nr)
			return at;
	}
	return size + 1;
}

static void zero_areas_are_found_first_and_aligned(void **state)
{
	const u64 seed = 0xa4ea;
	struct pair p;
	struct rnd rnd;
	int round;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	for (round = 0; round < 5000; round++) {
		unsigned long size = 1 + rnd_below(&rnd, NBITS_MAX);
		unsigned long start = rnd_below(&rnd, size);
		unsigned int nr = 1 + rnd_below(&rnd, 12);
		unsigned long mask = BIT(rnd_below(&rnd, 4)) - 1;
		unsigned long offset = rnd_below(&rnd, 8), slow, fast;

		randomise(&p, &rnd);
		slow = slow_area(p.model, size, start, nr, mask, offset);
		fast = bitmap_find_next_zero_area_off(p.map, size, start, nr, mask, offset);
		if (slow > size)
			assert_true(fast > size - nr || nr > size);
		else
			assert_int_equal(fast, slow);
	}
	bitmap_zero(p.map, NBITS_MAX);
	assert_int_equal(bitmap_find_next_zero_area(p.map, NBITS_MAX, 3, 8, 7), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations_agree_with_arrays_of_bool),
		cmocka_unit_test(set_and_clear_touch_exactly_their_range),
		cmocka_unit_test(zero_areas_are_found_first_and_aligned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
