/* SPDX-License-Identifier: MIT */
/*
 * Goal: lists keep their order and their links whatever is done to them.
 * Method: two lists and an array model each, random operations, seed printed; then each
 * iteration macro once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <karc/base/list.h>
#include <karc/base/math.h>
#include <karc/base/rand.h>

#define NR_ITEMS 24

struct item {
	int id;
	struct list_head link;
	struct hlist_node hlink;
};

/* What a list must look like: ids in order. */
struct model {
	int ids[NR_ITEMS];
	int n;
};

static void model_insert(struct model *m, int at, int id)
{
	memmove(m->ids + at + 1, m->ids + at, (m->n - at) * sizeof(int));
	m->ids[at] = id;
	m->n++;
}

static int model_find(const struct model *m, int id)
{
	int i;

	for (i = 0; i < m->n && m->ids[i] != id; i++)
		;
	return i < m->n ? i : -1;
}

static void model_remove(struct model *m, int at)
{
	m->n--;
	memmove(m->ids + at, m->ids + at + 1, (m->n - at) * sizeof(int));
}

/* Moves @count ids from the front of @from to @at in @to. */
static void model_move_front(struct model *to, int at, struct model *from, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		model_insert(to, at + i, from->ids[0]);
		model_remove(from, 0);
	}
}

static void assert_list(struct list_head *head, const struct model *m)
{
	struct item *item;
	int i = 0;

	list_for_each_entry(item, head, link) {
		assert_true(i < m->n);
		assert_int_equal(item->id, m->ids[i++]);
	}
	assert_int_equal(i, m->n);
	list_for_each_entry_reverse(item, head, link)
		assert_int_equal(item->id, m->ids[--i]);
	assert_int_equal(i, 0);
	assert_int_equal(list_empty(head), m->n == 0);
	assert_int_equal(list_empty_careful(head), m->n == 0);
	assert_int_equal(list_is_singular(head), m->n == 1);
	assert_int_equal(list_count_nodes(head), m->n);
}

struct world {
	struct item items[NR_ITEMS];
	struct list_head lists[2];
	struct model models[2];
};

/* Item @id goes from list @a (if it is on one) to the front or the end of list @b. */
static void put_somewhere(struct world *w, struct item *item, int a, int b, bool tail)
{
	if (a < 0) {
		if (tail)
			list_add_tail(&item->link, &w->lists[b]);
		else
			list_add(&item->link, &w->lists[b]);
	} else {
		model_remove(&w->models[a], model_find(&w->models[a], item->id));
		if (tail)
			list_move_tail(&item->link, &w->lists[b]);
		else
			list_move(&item->link, &w->lists[b]);
	}
	model_insert(&w->models[b], tail ? w->models[b].n : 0, item->id);
}

static void whole_list_step(struct world *w, int what, int a, struct item *item, int on)
{
	struct list_head *from = &w->lists[a], *to = &w->lists[!a];
	struct model *mf = &w->models[a], *mt = &w->models[!a], rest = { .n = 0 };
	int at = on == a ? model_find(mf, item->id) : -1;

	switch (what) {
	case 0:
		list_splice_init(from, to);
		model_move_front(mt, 0, mf, mf->n);
		break;
	case 1:
		list_splice_tail_init(from, to);
		model_move_front(mt, mt->n, mf, mf->n);
		break;
	case 2:
		list_rotate_left(from);
		if (mf->n)
			model_move_front(&rest, 0, mf, 1), model_insert(mf, mf->n, rest.ids[0]);
		break;
	case 3:
		if (at < 0)
			break;
		list_rotate_to_front(&item->link, from);
		model_move_front(&rest, 0, mf, at);
		model_move_front(mf, mf->n, &rest, rest.n);
		break;
	case 4:
		if (at < 0 || mt->n)
			break;
		list_cut_position(to, from, &item->link);
		model_move_front(mt, 0, mf, at + 1);
		break;
	case 5:
		if (at < 0 || mt->n)
			break;
		list_cut_before(to, from, &item->link);
		model_move_front(mt, 0, mf, at);
		break;
	case 6:
		if (at < 0)
			break;
		list_bulk_move_tail(to, from->next, &item->link);
		model_move_front(mt, mt->n, mf, at + 1);
		break;
	}
}

static void swap_step(struct world *w, struct item *x, struct item *y, int a, int b)
{
	int i, j;

	if (a < 0 || b < 0 || x == y)
		return;
	i = model_find(&w->models[a], x->id);
	j = model_find(&w->models[b], y->id);
	list_swap(&x->link, &y->link);
	w->models[a].ids[i] = y->id;
	w->models[b].ids[j] = x->id;
}

static int list_of(struct world *w, struct item *item)
{
	if (model_find(&w->models[0], item->id) >= 0)
		return 0;
	return model_find(&w->models[1], item->id) >= 0 ? 1 : -1;
}

static void random_operations_agree_with_the_model(void **state)
{
	static const u64 seed = 0x115;
	struct world w = { .models = { { .n = 0 } } };
	struct rnd rnd;
	int round, i;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	INIT_LIST_HEAD(&w.lists[0]);
	INIT_LIST_HEAD(&w.lists[1]);
	for (i = 0; i < NR_ITEMS; i++)
		w.items[i].id = i;
	for (round = 0; round < 20000; round++) {
		struct item *item = &w.items[rnd_below(&rnd, NR_ITEMS)];
		struct item *other = &w.items[rnd_below(&rnd, NR_ITEMS)];
		int on = list_of(&w, item), target = rnd_below(&rnd, 2);

		switch (rnd_below(&rnd, 8)) {
		case 0: case 1: case 2: case 3:
			put_somewhere(&w, item, on, target, rnd_chance(&rnd, 1, 2));
			break;
		case 4:
			if (on < 0)
				break;
			list_del_init(&item->link);
			assert_true(list_empty(&item->link));
			model_remove(&w.models[on], model_find(&w.models[on], item->id));
			break;
		case 5:
			swap_step(&w, item, other, on, list_of(&w, other));
			break;
		default:
			whole_list_step(&w, rnd_below(&rnd, 7), target, item, on);
			break;
		}
		assert_list(&w.lists[0], &w.models[0]);
		assert_list(&w.lists[1], &w.models[1]);
	}
}

static void fill(struct item *items, int n, struct list_head *head, struct hlist_head *hhead)
{
	int i;

	for (i = 0; i < n; i++) {
		items[i].id = i;
		list_add_tail(&items[i].link, head);
		hlist_add_head(&items[n - 1 - i].hlink, hhead);
	}
}

static void iteration_visits_the_right_entries(void **state)
{
	struct item items[5], *pos, *n;
	struct list_head *p, *q;
	HLIST_HEAD(hhead);
	LIST_HEAD(head);
	int sum = 0;

	(void)state;
	fill(items, 5, &head, &hhead);
	list_for_each(p, &head)
		sum += list_entry(p, struct item, link)->id;
	list_for_each_prev(p, &head)
		sum += 10 * list_entry(p, struct item, link)->id;
	assert_int_equal(sum, 110);
	sum = 0;
	pos = &items[1];
	list_for_each_entry_continue(pos, &head, link)
		sum += pos->id;
	pos = &items[3];
	list_for_each_entry_from(pos, &head, link)
		sum += 10 * pos->id;
	pos = &items[2];
	list_for_each_entry_continue_reverse(pos, &head, link)
		sum += 100 * pos->id;
	assert_int_equal(sum, 9 + 70 + 100);
	assert_ptr_equal(list_next_entry_circular(&items[4], &head, link), &items[0]);
	assert_ptr_equal(list_prev_entry_circular(&items[0], &head, link), &items[4]);
	assert_true(list_is_first(&items[0].link, &head) && list_is_last(&items[4].link, &head));
	list_for_each_entry_safe(pos, n, &head, link)
		if (pos->id % 2)
			list_del(&pos->link);
	assert_ptr_equal(items[1].link.next, LIST_POISON1);
	list_for_each_safe(p, q, &head)
		list_del_init(p);
	assert_true(list_empty(&head));
	assert_null(list_first_entry_or_null(&head, struct item, link));
}

static void replace_puts_the_new_entry_in_place(void **state)
{
	struct item items[3], extra = { .id = 9 };
	HLIST_HEAD(hhead);
	LIST_HEAD(head);

	(void)state;
	fill(items, 3, &head, &hhead);
	list_replace_init(&items[1].link, &extra.link);
	assert_true(list_empty(&items[1].link));
	assert_ptr_equal(list_next_entry(&items[0], link), &extra);
	assert_ptr_equal(list_prev_entry(&items[2], link), &extra);
	list_del_init_careful(&extra.link);
	assert_true(list_empty_careful(&extra.link));
	assert_int_equal(list_count_nodes(&head), 2);
}

static void hash_chains_link_and_unlink(void **state)
{
	struct item items[4], extra = { .id = 9 }, *pos;
	struct hlist_node *n;
	HLIST_HEAD(hhead);
	HLIST_HEAD(moved);
	LIST_HEAD(head);
	int order = 0;

	(void)state;
	fill(items, 4, &head, &hhead);
	INIT_HLIST_NODE(&extra.hlink);
	assert_true(hlist_unhashed(&extra.hlink));
	hlist_del_init(&extra.hlink);
	hlist_add_before(&extra.hlink, &items[2].hlink);
	hlist_for_each_entry(pos, &hhead, hlink)
		order = order * 10 + pos->id;
	assert_int_equal(order, 1923);
	hlist_del(&items[0].hlink);
	assert_ptr_equal(items[0].hlink.pprev, LIST_POISON2);
	hlist_add_behind(&items[0].hlink, &items[3].hlink);
	hlist_move_list(&hhead, &moved);
	assert_true(hlist_empty(&hhead));
	order = 0;
	hlist_for_each_entry_safe(pos, n, &moved, hlink) {
		order = order * 10 + pos->id;
		hlist_del_init(&pos->hlink);
	}
	assert_int_equal(order, 19230);
	assert_true(hlist_empty(&moved));
	hlist_add_fake(&extra.hlink);
	assert_true(hlist_fake(&extra.hlink));
	hlist_add_head(&items[1].hlink, &moved);
	assert_true(hlist_is_singular_node(&items[1].hlink, &moved));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_the_model),
		cmocka_unit_test(iteration_visits_the_right_entries),
		cmocka_unit_test(replace_puts_the_new_entry_in_place),
		cmocka_unit_test(hash_chains_link_and_unlink),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
