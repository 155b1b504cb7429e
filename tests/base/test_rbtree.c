/* SPDX-License-Identifier: MIT */
/*
 * Goal: the tree stays ordered and balanced, augmented values stay right.
 * Method: random inserts, removals and replacements against a flag per key, seed printed;
 * rb_check() after each step; rb_check() itself on trees broken on purpose.
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
#include <karc/base/rand.h>
#include <karc/base/rbtree.h>

#define NR_KEYS 120

struct item {
	int key;
	int value;		/* any number; the augmented field is the maximum below */
	int max_value;
	bool in_tree;
	struct rb_node node;
};

static struct item *item_of(const struct rb_node *node)
{
	return rb_entry(node, struct item, node);
}

static bool less(struct rb_node *a, const struct rb_node *b)
{
	return item_of(a)->key < item_of(b)->key;
}

static int compare(struct rb_node *a, const struct rb_node *b)
{
	return item_of(a)->key - item_of(b)->key;
}

static int compare_key(const void *key, const struct rb_node *node)
{
	return *(const int *)key - item_of(node)->key;
}

/* Same order, but keys that differ only in the last digit are equal. */
static int compare_tens(const void *key, const struct rb_node *node)
{
	return *(const int *)key / 10 - item_of(node)->key / 10;
}

static void assert_tree(const struct rb_root *root, const struct item *items)
{
	struct rb_node *node = rb_first(root);
	int i, last = -1;

	assert_null(rb_check(root));
	for (i = 0; i < NR_KEYS; i++) {
		if (!items[i].in_tree)
			continue;
		assert_non_null(node);
		assert_int_equal(item_of(node)->key, i);
		if (last >= 0)
			assert_int_equal(item_of(rb_prev(node))->key, last);
		last = i;
		node = rb_next(node);
	}
	assert_null(node);
	assert_int_equal(RB_EMPTY_ROOT(root), last < 0);
	if (last >= 0)
		assert_int_equal(item_of(rb_last(root))->key, last);
}

static void init_items(struct item *items)
{
	int i;

	for (i = 0; i < NR_KEYS; i++) {
		items[i].key = i;
		items[i].in_tree = false;
		RB_CLEAR_NODE(&items[i].node);
	}
}

static void random_operations_agree_with_sorted_keys(void **state)
{
	struct item items[NR_KEYS], twin = { .key = 0 };
	struct rb_root_cached root = RB_ROOT_CACHED;
	const u64 seed = 0x4b7;
	struct rnd rnd;
	int round, key;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	init_items(items);
	for (round = 0; round < 8000; round++) {
		struct item *item;

		/* Waves: the tree fills, then empties. */
		bool filling = round / 400 % 2 == 0;

		key = rnd_below(&rnd, NR_KEYS);
		item = &items[key];
		assert_int_equal(RB_EMPTY_NODE(&item->node), !item->in_tree);
		assert_ptr_equal(rb_find(&key, &root.rb_root, compare_key),
				 item->in_tree ? &item->node : NULL);
		if (item->in_tree && rnd_chance(&rnd, 1, 8)) {
			twin.key = key;
			rb_replace_node_cached(&item->node, &twin.node, &root);
			assert_null(rb_check(&root.rb_root));
			rb_replace_node_cached(&twin.node, &item->node, &root);
		} else if (!item->in_tree && (filling || rnd_chance(&rnd, 1, 4))) {
			rb_add_cached(&item->node, &root, less);
			item->in_tree = true;
		} else if (item->in_tree && (!filling || rnd_chance(&rnd, 1, 4))) {
			rb_erase_cached(&item->node, &root);
			RB_CLEAR_NODE(&item->node);
			item->in_tree = false;
		}
		assert_tree(&root.rb_root, items);
		assert_ptr_equal(rb_first_cached(&root), rb_first(&root.rb_root));
	}
}

static void equal_keys_keep_their_order_of_arrival(void **state)
{
	struct rb_root root = RB_ROOT;
	struct item items[60];
	struct rb_node *node;
	int i, key = 30, n = 0;

	(void)state;
	for (i = 0; i < 60; i++) {
		items[i].key = i / 10 * 10;
		items[i].value = i;
		rb_add(&items[i].node, &root, less);
	}
	rb_for_each(node, &key, &root, compare_tens)
		assert_int_equal(item_of(node)->value, 30 + n++);
	assert_int_equal(n, 10);
	assert_ptr_equal(rb_find_add(&items[0].node, &root, compare) != NULL, true);
	key = 70;
	assert_null(rb_find_first(&key, &root, compare_tens));
}

static void find_add_inserts_only_what_is_absent(void **state)
{
	struct item a = { .key = 1 }, b = { .key = 1 }, c = { .key = 2 };
	struct rb_root root = RB_ROOT;

	(void)state;
	assert_null(rb_find_add(&a.node, &root, compare));
	assert_ptr_equal(rb_find_add(&b.node, &root, compare), &a.node);
	assert_null(rb_find_add(&c.node, &root, compare));
	assert_null(rb_check(&root));
}

static void postorder_visits_children_before_parents(void **state)
{
	struct rb_root root = RB_ROOT;
	struct item items[NR_KEYS], *pos, *n;
	int i, count = 0;

	(void)state;
	init_items(items);
	for (i = 0; i < NR_KEYS; i++)
		rb_add(&items[(i * 7) % NR_KEYS].node, &root, less);
	rbtree_postorder_for_each_entry_safe(pos, n, &root, node) {
		if (pos->node.rb_left)
			assert_true(item_of(pos->node.rb_left)->in_tree);
		if (pos->node.rb_right)
			assert_true(item_of(pos->node.rb_right)->in_tree);
		pos->in_tree = true;
		count++;
	}
	assert_int_equal(count, NR_KEYS);
	root = RB_ROOT;
	assert_null(rb_first_postorder(&root));
}

static int max_below(const struct rb_node *node)
{
	int best = item_of(node)->value;

	if (node->rb_left)
		best = max(best, item_of(node->rb_left)->max_value);
	if (node->rb_right)
		best = max(best, item_of(node->rb_right)->max_value);
	return best;
}

static void max_propagate(struct rb_node *node, struct rb_node *stop)
{
	/* Stops early, as it may. */
	for (; node != stop && item_of(node)->max_value != max_below(node); node = rb_parent(node))
		item_of(node)->max_value = max_below(node);
}

static void max_copy(struct rb_node *from, struct rb_node *to)
{
	item_of(to)->max_value = item_of(from)->max_value;
}

static void max_rotate(struct rb_node *from, struct rb_node *to)
{
	item_of(to)->max_value = item_of(from)->max_value;
	item_of(from)->max_value = max_below(from);
}

static const struct rb_augment_callbacks max_augment = { max_propagate, max_copy, max_rotate };

static void add_augmented(struct item *item, struct rb_root *root)
{
	struct rb_node **link = &root->rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = less(&item->node, parent) ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&item->node, parent, link);
	item->max_value = -1;
	max_propagate(&item->node, NULL);
	rb_insert_augmented(&item->node, root, &max_augment);
}

static void augmented_maxima_stay_right(void **state)
{
	struct rb_root root = RB_ROOT;
	struct item items[NR_KEYS];
	const u64 seed = 0xa06;
	struct rb_node *node;
	struct rnd rnd;
	int round;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	init_items(items);
	for (round = 0; round < 5000; round++) {
		struct item *item = &items[rnd_below(&rnd, NR_KEYS)];

		if (item->in_tree) {
			rb_erase_augmented(&item->node, &root, &max_augment);
		} else {
			item->value = rnd_below(&rnd, 1000);
			add_augmented(item, &root);
		}
		item->in_tree = !item->in_tree;
		assert_null(rb_check(&root));
		for (node = rb_first(&root); node; node = rb_next(node))
			assert_int_equal(item_of(node)->max_value, max_below(node));
	}
}

static void check_finds_what_is_broken(void **state)
{
	struct rb_root root = RB_ROOT;
	struct item items[NR_KEYS];
	struct rb_node *node, saved;
	int i;

	(void)state;
	init_items(items);
	for (i = 0; i < 20; i++)
		rb_add(&items[i].node, &root, less);
	root.rb_node->__rb_parent_color &= ~1UL;
	assert_non_null(strstr(rb_check(&root), "I1"));
	root.rb_node->__rb_parent_color |= 1UL;
	node = rb_first(&root);
	saved = *node;
	node->__rb_parent_color ^= 1UL;
	assert_non_null(rb_check(&root));
	*node = saved;
	node->__rb_parent_color = (unsigned long)root.rb_node | (saved.__rb_parent_color & 1);
	assert_non_null(strstr(rb_check(&root), "I4"));
	*node = saved;
	assert_null(rb_check(&root));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_sorted_keys),
		cmocka_unit_test(equal_keys_keep_their_order_of_arrival),
		cmocka_unit_test(find_add_inserts_only_what_is_absent),
		cmocka_unit_test(postorder_visits_children_before_parents),
		cmocka_unit_test(augmented_maxima_stay_right),
		cmocka_unit_test(check_finds_what_is_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
