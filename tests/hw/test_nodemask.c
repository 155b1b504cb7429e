/* SPDX-License-Identifier: MIT */
/*
 * Goal: sets of nodes, random numbers and times under Linux's names are what the machine says.
 * Method: each name once, on machines of one and of four nodes; the same seed twice.
 */
#include <string.h>

#include <karc/hw/clock.h>
#include <karc/hw/nodemask.h>
#include <karc/hw/random.h>
#include "../support/fixture.h"

static void sets_of_nodes_are_sets(void **state)
{
	nodemask_t a, b = NODE_MASK_NONE, c;
	int nid, nr = 0;

	(void)state;
	nodes_clear(a);
	assert_true(nodes_empty(a));
	assert_int_equal(first_node(a), MAX_NUMNODES);
	node_set(0, a);
	node_set(3, a);
	node_set(MAX_NUMNODES - 1, a);
	assert_int_equal(nodes_weight(a), 3);
	for_each_node_mask(nid, a)
		nr += nid;
	assert_int_equal(nr, 3 + MAX_NUMNODES - 1);
	assert_int_equal(next_node(0, a), 3);
	assert_int_equal(next_node(MAX_NUMNODES - 1, a), MAX_NUMNODES);
	assert_int_equal(next_node_in(MAX_NUMNODES - 1, a), 0);
	node_set(3, b);
	nodes_and(c, a, b);
	assert_true(nodes_equal(c, b));
	assert_true(nodes_subset(b, a));
	assert_true(nodes_intersects(a, b));
	nodes_andnot(c, a, b);
	assert_false(node_isset(3, c));
	nodes_or(c, c, b);
	assert_true(nodes_equal(c, a));
	nodes_xor(c, a, a);
	assert_true(nodes_empty(c));
	nodes_setall(c);
	assert_true(nodes_full(c));
	assert_int_equal(node_test_and_set(1, a), 0);
	assert_int_equal(node_test_and_set(1, a), 1);
	node_clear(1, a);
	assert_false(node_isset(1, a));
}

static void states_of_nodes_are_those_of_the_machine(void **state)
{
	NODEMASK_ALLOC(nodemask_t, mask, GFP_KERNEL);
	int nid, nr = 0;

	(void)state;
	assert_int_equal(num_node_state(N_MEMORY), num_online_nodes());
	assert_int_equal(num_node_state(N_POSSIBLE), num_possible_nodes());
	for_each_node_state(nid, N_CPU)
		nr++;
	assert_int_equal(nr, num_node_state(N_CPU));
	assert_true(node_state(numa_node_id(), N_CPU));
	assert_false(node_state(MAX_NUMNODES, N_ONLINE));
	*mask = node_online_map;
	assert_true(node_isset(first_online_node, *mask));
	NODEMASK_FREE(mask);
}

static void random_numbers_are_the_machines(void **state)
{
	u8 bytes[21] = { 0 };
	u32 seen = 0;

	(void)state;
	for (unsigned int i = 0; i < 1000; i++) {
		u32 number = prandom_u32_max(10);

		assert_true(number < 10);
		seen |= 1u << number;
	}
	assert_int_equal(seen, 0x3ff);
	assert_int_equal(prandom_u32_max(0), 0);
	get_random_bytes(bytes, sizeof(bytes) - 1);
	assert_int_equal(bytes[20], 0);
	assert_true(get_random_long() != get_random_long());
	assert_true(get_random_u8() <= 255 && get_random_u16() <= 65535);
}

static u64 drawn[2];

static void draws(void)
{
	drawn[0] = drawn[1];
	drawn[1] = get_random_u64();
}

static void a_seed_draws_the_same_again(void **state)
{
	struct machine_config config = { .seed = 99 };

	(void)state;
	assert_false(fixture_run_config(&config, draws).red);
	assert_false(fixture_run_config(&config, draws).red);
	assert_int_equal(drawn[0], drawn[1]);
}

static void times_can_be_added_and_compared(void **state)
{
	ktime_t now = ktime_get(), later = ktime_add_us(now, 1500);
	cycles_t before = get_cycles();

	(void)state;
	assert_int_equal(ktime_us_delta(later, now), 1500);
	assert_int_equal(ktime_ms_delta(later, now), 1);
	assert_int_equal(ktime_to_ns(ktime_sub(later, now)), 1500000);
	assert_true(ktime_before(now, later));
	assert_true(ktime_after(ktime_add_ms(later, 1), later));
	udelay(10);
	assert_true(get_cycles() - before >= 10000);
}

int main(void)
{
	static const struct machine_config nodes = { .nr_nodes = 4 };
	const struct CMUnitTest tests[] = {
		karc_unit_test(sets_of_nodes_are_sets),
		karc_unit_test_cpus(states_of_nodes_are_those_of_the_machine, 1),
		karc_unit_test_config(states_of_nodes_are_those_of_the_machine, 2, &nodes),
		karc_unit_test(random_numbers_are_the_machines),
		cmocka_unit_test(a_seed_draws_the_same_again),
		karc_unit_test(times_can_be_added_and_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
