/* SPDX-License-Identifier: MIT */
/*
 * Goal: the ledger says what is alive, where it came from, and how much there ever was.
 * Method: objects of two types from two places and a random storm, against plain counters; the
 * sharded form, which parallel machines use, is driven directly.
 */
#include "fixture.h"

#include <karc/base/rand.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/ledger.h>

#include "refcount/internal.h"
#include "refcount_test.h"

struct thing {
	struct arc arc;
	char payload[100];
};

static void thing_free(void *obj)
{
	hostmem_free(NULL, obj);
}

#define THING(type_name) { \
	.name = (type_name), .size = sizeof(struct thing), .flags = ARC_LEAF, \
	.ops = { .free = thing_free } }

static const struct arc_type apple_type = THING("apple");
static const struct arc_type pear_type = THING("pear");

static struct thing *thing_new_site(const struct arc_type *type, const struct site *site)
{
	struct thing *t = must_alloc(sizeof(*t));

	arc_init_site(&t->arc, type, site);
	return t;
}
#define thing_new(type) thing_new_site(type, SITE())

static void register_fruit(void)
{
	assert_int_equal(arc_type_register(&apple_type), 0);
	assert_int_equal(arc_type_register(&pear_type), 0);
}

struct wanted {
	const char *kind;
	const struct site *site;
	struct ledger_row row;
	unsigned int nr_rows;
};

static void find_row(void *arg, const struct ledger_row *row)
{
	struct wanted *w = arg;

	if (strcmp(row->kind, w->kind) || (w->site && row->site != w->site))
		return;
	w->row = *row;
	w->nr_rows++;
}

static void counts_by_type_and_site(void **state)
{
	const struct site *here = SITE(), *there = SITE();
	struct wanted w = { .kind = "apple", .site = there };
	struct thing *t[5];
	int i;

	(void)state;
	register_fruit();
	for (i = 0; i < 5; i++)
		t[i] = thing_new_site(&apple_type, i < 3 ? here : there);
	ledger_for_each(this_machine(), find_row, &w);
	assert_int_equal(w.nr_rows, 1);
	assert_int_equal(w.row.live, 2);
	assert_int_equal(w.row.peak, 5);
	assert_int_equal(w.row.bytes, 2 * sizeof(struct thing));
	assert_ptr_equal(w.row.type, &apple_type);
	assert_int_equal(ledger_live(this_machine(), &apple_type), 5);
	assert_int_equal(ledger_live(this_machine(), &pear_type), 0);
	assert_int_equal(ledger_live_kind(this_machine(), "apple"), 5);
	for (i = 0; i < 5; i++)
		arc_put(&t[i]->arc);
	assert_int_equal(ledger_live(this_machine(), &apple_type), 0);
	assert_int_equal(ledger_peak(this_machine(), &apple_type), 5);
}

static void peak_is_the_most_alive_at_once(void **state)
{
	struct thing *t[10];
	int i, round;

	(void)state;
	register_fruit();
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 4 + 3 * round; i++)
			t[i] = thing_new(&pear_type);
		while (i--)
			arc_put(&t[i]->arc);
		assert_int_equal(ledger_peak(this_machine(), &pear_type), 4 + 3 * round);
	}
	for (i = 0; i < 20; i++)
		arc_put(&thing_new(&pear_type)->arc);
	assert_int_equal(ledger_peak(this_machine(), &pear_type), 10);
	assert_int_equal(ledger_peak(this_machine(), &apple_type), 0);
}

static void kinds_sum_up_sites(void **state)
{
	struct wanted w = { .kind = "apple" };
	struct thing *a, *b;

	(void)state;
	register_fruit();
	a = thing_new(&apple_type);
	b = thing_new(&apple_type);
	ledger_for_each_kind(this_machine(), find_row, &w);
	assert_int_equal(w.nr_rows, 1);
	assert_int_equal(w.row.live, 2);
	assert_int_equal(w.row.bytes, 2 * sizeof(struct thing));
	assert_null(w.row.site);
	arc_put(&a->arc);
	arc_put(&b->arc);
}

static void small_kinds_are_known_by_their_text(void **state)
{
	char name[] = "table", same[] = "table";
	const struct site *site = SITE();
	struct wanted w = { .kind = "table" };

	(void)state;
	ledger_add(name, site, 4096);
	ledger_add(same, site, 4096);
	ledger_add(name, NULL, 64);
	assert_int_equal(ledger_live_kind(this_machine(), "table"), 3);
	ledger_sub(name, site, 4096);
	ledger_sub(name, site, 4096);	/* entered under the other address of the text */
	ledger_for_each_kind(this_machine(), find_row, &w);
	assert_int_equal(w.nr_rows, 1);
	assert_int_equal(w.row.live, 1);
	assert_int_equal(w.row.bytes, 64);
	assert_int_equal(w.row.peak, 3);
	ledger_sub(same, NULL, 64);
	assert_int_equal(ledger_live_kind(this_machine(), "table"), 0);
	assert_int_equal(ledger_peak_kind(this_machine(), "table"), 3);
	assert_int_equal(ledger_live_kind(this_machine(), "never seen"), 0);
}

#define NR_SITES	1000

static void many_sites_are_kept_apart(void **state)
{
	struct site *sites = must_alloc(NR_SITES * sizeof(*sites));
	struct thing **t = must_alloc(NR_SITES * sizeof(*t));
	struct wanted w = { .kind = "apple" };
	unsigned int i;

	(void)state;
	register_fruit();
	for (i = 0; i < NR_SITES; i++)
		t[i] = thing_new_site(&apple_type, &sites[i]);
	ledger_for_each(this_machine(), find_row, &w);
	assert_int_equal(w.nr_rows, NR_SITES);
	for (i = 0; i < NR_SITES; i += 97) {
		w = (struct wanted){ .kind = "apple", .site = &sites[i] };
		ledger_for_each(this_machine(), find_row, &w);
		assert_int_equal(w.nr_rows, 1);
		assert_int_equal(w.row.live, 1);
	}
	for (i = 0; i < NR_SITES; i++)
		arc_put(&t[i]->arc);
	assert_int_equal(ledger_live_total(this_machine()), 0);
	hostmem_free(NULL, t);
	hostmem_free(NULL, sites);
}

struct storm {
	unsigned int next, alive, peak;
};

static void storm_grew(struct storm *s)
{
	unsigned int alive = __atomic_add_fetch(&s->alive, 1, __ATOMIC_RELAXED);
	unsigned int peak = READ_ONCE(s->peak);

	while (alive > peak && !try_cmpxchg_relaxed(&s->peak, &peak, alive))
		;
}

static long rage(void *arg)
{
	struct thing *mine[16] = { NULL };
	struct storm *s = arg;
	struct rnd rnd;
	int i, at;

	rnd_seed(&rnd, __atomic_add_fetch(&s->next, 1, __ATOMIC_RELAXED));
	for (i = 0; i < 500; i++) {
		at = (int)rnd_below(&rnd, 16);
		if (mine[at]) {
			arc_put(&mine[at]->arc);
			mine[at] = NULL;
			__atomic_fetch_sub(&s->alive, 1, __ATOMIC_RELAXED);
		} else {
			mine[at] = thing_new(&apple_type);
			storm_grew(s);
		}
		if (rnd_chance(&rnd, 1, 4))
			hw_safepoint();
	}
	for (i = 0; i < 16; i++) {
		__atomic_fetch_sub(&s->alive, mine[i] != NULL, __ATOMIC_RELAXED);
		if (mine[i])
			arc_put(&mine[i]->arc);
	}
	return 0;
}

static void storm_on_all_cpus_balances(void **state)
{
	struct storm s = { 0 };
	struct fiber *f[8];
	unsigned int i, missed = 0;

	(void)state;
	register_fruit();
	for (i = 0; i < ARRAY_SIZE(f); i++)
		f[i] = spawn_on(i, rage, &s);
	for (i = 0; i < ARRAY_SIZE(f); i++)
		join_clean(f[i]);
	assert_int_equal(ledger_live(this_machine(), &apple_type), 0);
	/*
	 * The storm counts after a creation what the ledger counts within it. With a shard for
	 * each CPU the ledger may miss a few: see its theory statement.
	 */
	if (machine_config(this_machine())->mode == MACHINE_PARALLEL)
		missed = ARRAY_SIZE(f) * (1 + 2);
	assert_in_range(ledger_peak(this_machine(), &apple_type),
			s.peak > missed ? s.peak - missed : 0, s.peak + ARRAY_SIZE(f));
}

static long too_many_out(void *arg)
{
	(void)arg;
	ledger_sub("ghost", NULL, 10);
	return 0;
}

static void negative_balance_is_found_by_the_check(void **state)
{
	struct check_report report = { .quiet = true };
	struct ledger *l = refcount_state(this_machine())->ledger;

	(void)state;
	too_many_out(NULL);
	assert_int_equal(ledger_live_kind(this_machine(), "ghost"), 0);
	ledger_check(l, &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "ghost"));
	ledger_add("ghost", NULL, 10);
}

/* Made on one CPU, gone on another: shards drift apart, sums stay right. */
static void shards_sum_up(void **state)
{
	struct ledger *l = ledger_create(4);
	static const char kind[] = "parcel";
	struct wanted w = { .kind = kind };
	struct machine *m = this_machine();
	struct refcount_state mine = { .ledger = l }, *was = refcount_state(m);
	long i, peak = 0, live = 0;
	struct rnd rnd;

	(void)state;
	rnd_seed(&rnd, 1);
	for (i = 0; i < 20000; i++) {
		bool in = !live || rnd_chance(&rnd, i < 10000 ? 3 : 2, 5);

		ledger_count_in(l, &l->shards[rnd_below(&rnd, in ? 2 : 4)], kind, NULL, NULL,
				in ? 1 : -1, in ? 8 : -8);
		live += in ? 1 : -1;
		peak = live > peak ? live : peak;
	}
	machine_set_room(m, ROOM_REFCOUNT, &mine);
	ledger_for_each(m, find_row, &w);
	machine_set_room(m, ROOM_REFCOUNT, was);
	assert_int_equal(w.row.live, live);
	assert_int_equal(w.row.bytes, 8 * live);
	assert_in_range(w.row.peak, peak - 4 * 32, peak);
	ledger_destroy(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(counts_by_type_and_site),
		KARC_TESTS(peak_is_the_most_alive_at_once),
		karc_unit_test(kinds_sum_up_sites),
		karc_unit_test(small_kinds_are_known_by_their_text),
		karc_unit_test(many_sites_are_kept_apart),
		KARC_TESTS(storm_on_all_cpus_balances),
		karc_unit_test(negative_balance_is_found_by_the_check),
		karc_unit_test(shards_sum_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
