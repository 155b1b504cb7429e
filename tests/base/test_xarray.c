/* SPDX-License-Identifier: MIT */
/*
 * Goal: the array maps indices to entries, marks included, and survives failing allocations.
 * Method: random operations against arrays over clustered indices, seed printed; xa_check() after
 * each step; every store repeated with the 1st, 2nd ... node allocation failing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <karc/base/hostmem.h>
#include <karc/base/math.h>
#include <karc/base/rand.h>
#include <karc/base/xarray.h>

#define NR_PLACES 160

static void *node_alloc(void *arg, gfp_t gfp)
{
	(void)gfp;
	return hostmem_alloc(arg, sizeof(struct xa_node));
}

static void node_free(void *arg, void *node)
{
	hostmem_free(arg, node);
}

static const struct xa_node_ops counted_nodes = { node_alloc, node_free };

/* Indices that matter, sorted: dense at the start, near every power of 64, at the top. */
struct place {
	unsigned long index;
	void *entry;
	bool reserved;
	bool marks[XA_MAX_MARKS];
};

struct world {
	struct hostmem_account account;
	struct xarray xa;
	struct place places[NR_PLACES];
	int nr_entries;
};

static int by_index(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->index < y->index ? -1 : x->index > y->index;
}

static void init_world(struct world *w)
{
	unsigned long index = 0;
	int i = 0, shift;

	memset(w, 0, sizeof(*w));
	xa_init_ops(&w->xa, &counted_nodes, &w->account);
	for (; i < 100; i++)
		w->places[i].index = index++;
	for (shift = 6; shift < 64; shift += 6) {
		w->places[i++].index = (1UL << shift) + 60;
		w->places[i++].index = (1UL << shift) * 3 + 127;
		w->places[i++].index = (1UL << shift) * 5 - 1 + (1UL << 11);
	}
	while (i < NR_PLACES)
		w->places[i].index = ULONG_MAX - 7 * (NR_PLACES - 1 - i), i++;
	qsort(w->places, NR_PLACES, sizeof(w->places[0]), by_index);
	for (i = 1; i < NR_PLACES; i++)
		assert_true(w->places[i].index != w->places[i - 1].index);
}

static void forget_place(struct place *p)
{
	p->entry = NULL;
	p->reserved = false;
	memset(p->marks, 0, sizeof(p->marks));
}

static void assert_world(struct world *w)
{
	unsigned long index;
	bool any[XA_MAX_MARKS] = { false }, used = false;
	void *entry;
	int i, m;

	assert_null(xa_check(&w->xa));
	for (i = 0; i < NR_PLACES; i++) {
		struct place *p = &w->places[i];

		assert_ptr_equal(xa_load(&w->xa, p->index), p->entry);
		used |= p->entry || p->reserved;
		for (m = 0; m < XA_MAX_MARKS; m++) {
			assert_int_equal(xa_get_mark(&w->xa, p->index, m), p->marks[m]);
			any[m] |= p->marks[m];
		}
	}
	assert_int_equal(xa_empty(&w->xa), !used);
	for (m = 0; m < XA_MAX_MARKS; m++)
		assert_int_equal(xa_marked(&w->xa, m), any[m]);
	i = 0;
	xa_for_each(&w->xa, index, entry) {
		while (i < NR_PLACES && !w->places[i].entry)
			i++;
		assert_true(i < NR_PLACES);
		assert_true(index == w->places[i].index);
		assert_ptr_equal(entry, w->places[i].entry);
		i++;
	}
	while (i < NR_PLACES)
		assert_null(w->places[i++].entry);
}

/* The model's answer to xa_find(). */
static struct place *model_find(struct world *w, unsigned long from, unsigned long max,
				xa_mark_t filter)
{
	int i;

	for (i = 0; i < NR_PLACES; i++) {
		struct place *p = &w->places[i];

		if (p->index >= from && p->index <= max && p->entry &&
		    (filter == XA_PRESENT || p->marks[filter]))
			return p;
	}
	return NULL;
}

static void check_find(struct world *w, struct rnd *rnd)
{
	unsigned long from = w->places[rnd_below(rnd, NR_PLACES)].index - rnd_below(rnd, 3);
	unsigned long max = rnd_chance(rnd, 1, 2) ? ULONG_MAX :
			    w->places[rnd_below(rnd, NR_PLACES)].index;
	xa_mark_t filter = rnd_chance(rnd, 1, 2) ? XA_PRESENT : rnd_below(rnd, XA_MAX_MARKS);
	struct place *p = model_find(w, from, max, filter);
	unsigned long index = from;
	void *entry = xa_find(&w->xa, &index, max, filter);

	assert_ptr_equal(entry, p ? p->entry : NULL);
	assert_true(index == (p ? p->index : from));
	p = from == ULONG_MAX ? NULL : model_find(w, from + 1, max, filter);
	index = from;
	entry = xa_find_after(&w->xa, &index, max, filter);
	assert_ptr_equal(entry, p ? p->entry : NULL);
	assert_true(index == (p ? p->index : from));
}

static void *fresh_entry(struct world *w, struct rnd *rnd)
{
	if (rnd_chance(rnd, 1, 2))
		return xa_mk_value(rnd_below(rnd, 1000));
	return (void *)(((unsigned long)++w->nr_entries) * 4);
}

static void change_step(struct world *w, struct rnd *rnd, struct place *p, bool filling)
{
	void *entry = fresh_entry(w, rnd), *old = p->entry;

	if (!filling && rnd_chance(rnd, 1, 2)) {
		assert_ptr_equal(xa_erase(&w->xa, p->index), old);
		forget_place(p);
		return;
	}
	switch (rnd_below(rnd, 5)) {
	case 0:
	case 1:
		assert_ptr_equal(xa_store(&w->xa, p->index, entry, 0), old);
		p->entry = entry;
		p->reserved = false;
		break;
	case 2:
		assert_int_equal(xa_insert(&w->xa, p->index, entry, 0),
				 old || p->reserved ? -EBUSY : 0);
		if (!old && !p->reserved)
			p->entry = entry;
		break;
	case 3:
		assert_int_equal(xa_reserve(&w->xa, p->index, 0), 0);
		p->reserved = !old;
		break;
	default:
		xa_release(&w->xa, p->index);
		p->reserved = false;
		break;
	}
}

static void mark_step(struct world *w, struct rnd *rnd, struct place *p)
{
	xa_mark_t m = rnd_below(rnd, XA_MAX_MARKS);

	if (rnd_chance(rnd, 2, 3)) {
		xa_set_mark(&w->xa, p->index, m);
		p->marks[m] = p->entry != NULL;
	} else {
		xa_clear_mark(&w->xa, p->index, m);
		p->marks[m] = false;
	}
}

static void random_operations_agree_with_arrays(void **state)
{
	static struct world w;
	const u64 seed = 0x0a44a9;
	struct rnd rnd;
	int round;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	init_world(&w);
	for (round = 0; round < 6000; round++) {
		struct place *p = &w.places[rnd_below(&rnd, NR_PLACES)];

		if (rnd_chance(&rnd, 1, 3))
			mark_step(&w, &rnd, p);
		else
			change_step(&w, &rnd, p, round / 500 % 2 == 0);
		check_find(&w, &rnd);
		assert_world(&w);
	}
	xa_destroy(&w.xa);
	assert_true(xa_empty(&w.xa));
	assert_int_equal(w.account.bytes, 0);
}

static void a_store_that_fails_changes_nothing(void **state)
{
	static struct world w;
	const u64 seed = 0xfa11;
	struct rnd rnd;
	int round;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	init_world(&w);
	for (round = 0; round < 300; round++) {
		struct place *p = &w.places[rnd_below(&rnd, NR_PLACES)];
		unsigned long nth, blocks = w.account.nr_blocks;
		void *entry = fresh_entry(&w, &rnd), *old = NULL;

		for (nth = 1; nth < 50; nth++) {
			w.account.fail_nth = nth;
			old = xa_store(&w.xa, p->index, entry, 0);
			w.account.fail_nth = 0;
			if (!xa_is_err(old))
				break;
			assert_int_equal(xa_err(old), -ENOMEM);
			assert_int_equal(w.account.nr_blocks, blocks);
			assert_world(&w);
		}
		assert_ptr_equal(old, p->entry);
		p->entry = entry;
		assert_world(&w);
		p = &w.places[rnd_below(&rnd, NR_PLACES)];
		xa_erase(&w.xa, p->index);
		forget_place(p);
	}
	xa_destroy(&w.xa);
	assert_int_equal(w.account.bytes, 0);
}

static void reservations_cannot_fail_later(void **state)
{
	struct hostmem_account account = { 0 };
	struct xarray xa;
	int dummy;

	(void)state;
	xa_init_ops(&xa, &counted_nodes, &account);
	assert_int_equal(xa_reserve(&xa, 1UL << 40, 0), 0);
	assert_null(xa_load(&xa, 1UL << 40));
	assert_int_equal(xa_insert(&xa, 1UL << 40, &dummy, 0), -EBUSY);
	account.limit_bytes = 1;
	assert_null(xa_store(&xa, 1UL << 40, &dummy, 0));
	assert_ptr_equal(xa_load(&xa, 1UL << 40), &dummy);
	xa_release(&xa, 1UL << 40);
	assert_ptr_equal(xa_erase(&xa, 1UL << 40), &dummy);
	assert_true(xa_empty(&xa));
	assert_int_equal(account.bytes, 0);
}

static void compare_and_exchange_needs_the_old_entry(void **state)
{
	struct xarray xa;
	int a, b;

	(void)state;
	xa_init(&xa);
	assert_null(xa_cmpxchg(&xa, 5, NULL, &a, 0));
	assert_ptr_equal(xa_cmpxchg(&xa, 5, &b, NULL, 0), &a);
	assert_ptr_equal(xa_cmpxchg(&xa, 5, &a, &b, 0), &a);
	assert_ptr_equal(xa_load(&xa, 5), &b);
	xa_destroy(&xa);
}

static void allocation_gives_the_lowest_free_index(void **state)
{
	struct xarray xa;
	u32 id, next = 0;
	int i;

	(void)state;
	xa_init(&xa);
	for (i = 0; i < 200; i++) {
		assert_int_equal(xa_alloc(&xa, &id, xa_mk_value(i), XA_LIMIT(3, 202), 0), 0);
		assert_int_equal(id, 3 + i);
	}
	assert_int_equal(xa_alloc(&xa, &id, xa_mk_value(0), XA_LIMIT(3, 202), 0), -EBUSY);
	xa_erase(&xa, 77);
	assert_int_equal(xa_alloc(&xa, &id, xa_mk_value(0), XA_LIMIT(3, 202), 0), 0);
	assert_int_equal(id, 77);
	xa_destroy(&xa);
	for (i = 0; i < 10; i++) {
		assert_int_equal(xa_alloc_cyclic(&xa, &id, xa_mk_value(i), XA_LIMIT(1, 4), &next,
						 0), i >= 4 && i % 4 == 0);
		assert_int_equal(id, 1 + i % 4);
		xa_erase(&xa, id);
	}
	xa_destroy(&xa);
}

static void extract_copies_in_order(void **state)
{
	void *found[4];
	struct xarray xa;
	unsigned long i;

	(void)state;
	xa_init(&xa);
	for (i = 0; i < 100; i += 10)
		assert_null(xa_store(&xa, i * i, xa_mk_value(i), 0));
	xa_set_mark(&xa, 400, XA_MARK_1);
	xa_set_mark(&xa, 8100, XA_MARK_1);
	assert_int_equal(xa_extract(&xa, found, 101, ULONG_MAX, 4, XA_PRESENT), 4);
	assert_int_equal(xa_to_value(found[0]), 20);
	assert_int_equal(xa_to_value(found[3]), 50);
	assert_int_equal(xa_extract(&xa, found, 0, ULONG_MAX, 4, XA_MARK_1), 2);
	assert_int_equal(xa_to_value(found[1]), 90);
	assert_int_equal(xa_extract(&xa, found, 8101, ULONG_MAX, 4, XA_PRESENT), 0);
	xa_destroy(&xa);
}

static void entries_may_go_while_walking(void **state)
{
	unsigned long index, i;
	struct xarray xa;
	void *entry;
	int n = 0;

	(void)state;
	xa_init(&xa);
	for (i = 0; i < 300; i++)
		assert_null(xa_store(&xa, i * 17, xa_mk_value(i), 0));
	xa_for_each(&xa, index, entry) {
		assert_ptr_equal(xa_erase(&xa, index), entry);
		n++;
	}
	assert_int_equal(n, 300);
	assert_true(xa_empty(&xa));
}

static void check_finds_what_is_broken(void **state)
{
	struct xa_node *leaf;
	struct xarray xa;

	(void)state;
	xa_init(&xa);
	assert_null(xa_store(&xa, 3, xa_mk_value(1), 0));
	assert_null(xa_store(&xa, 100, xa_mk_value(2), 0));
	assert_null(xa_check(&xa));
	leaf = xa.top->slots[0];
	leaf->count++;
	assert_non_null(strstr(xa_check(&xa), "I2"));
	leaf->count--;
	leaf->offset = 9;
	assert_non_null(strstr(xa_check(&xa), "I3"));
	leaf->offset = 0;
	leaf->marks[1] = BIT(3);
	assert_non_null(strstr(xa_check(&xa), "I5"));
	leaf->marks[1] = 0;
	leaf->shift = 12;
	assert_non_null(strstr(xa_check(&xa), "I4"));
	leaf->shift = 0;
	assert_null(xa_check(&xa));
	xa_destroy(&xa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_arrays),
		cmocka_unit_test(a_store_that_fails_changes_nothing),
		cmocka_unit_test(reservations_cannot_fail_later),
		cmocka_unit_test(compare_and_exchange_needs_the_old_entry),
		cmocka_unit_test(allocation_gives_the_lowest_free_index),
		cmocka_unit_test(extract_copies_in_order),
		cmocka_unit_test(entries_may_go_while_walking),
		cmocka_unit_test(check_finds_what_is_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
