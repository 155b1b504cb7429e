/* SPDX-License-Identifier: MIT */
/*
 * Goal: what is lost is found, grouped by type, by site and by who is to blame, with the reason; at
 * a moment and at shutdown; nothing that somebody holds is accused.
 * Method: one leak of each kind with exact texts; machines that are shut down with leaks; random
 * graphs, where the tables must add up; every allocation failed.
 */
#include "fixture.h"

#include <karc/base/rand.h>
#include <karc/refcount/leaks.h>

#include "graph_test.h"

static const struct machine_config holders = { .holders = true };

static const struct site site_a = { "dir.c", "make_dir", 80 };
static const struct site site_b = { "dir.c", "add_entry", 88 };

static struct arc_leaks *take(unsigned int flags)
{
	struct arc_leaks *l = arc_leaks_take(this_machine(), flags);

	assert_non_null(l);
	return l;
}

/* In memory of the test: machines that end with leaks never give it back. */
static struct folder pool[6];
static bool backwards;		/* older objects at higher addresses */

static void back_to_pool(void *obj)
{
	(void)obj;
}

static const struct arc_type pool_type = {
	.name = "folder", .size = sizeof(struct folder),
	.ops = { .free = back_to_pool, .describe = folder_describe }, .fields = folder_fields,
};

static struct folder *from_pool(unsigned int i, const struct site *site)
{
	struct folder *f = &pool[backwards ? ARRAY_SIZE(pool) - 1 - i : i];

	memset(f, 0, sizeof(*f));
	assert_int_equal(arc_type_register(&pool_type), 0);
	arc_init_site(&f->arc, &pool_type, site);
	return f;
}

/* 1 is held and owns 2; 3 is lost and owns 4; 5 and 6 own each other. */
struct mess {
	struct folder *held, *lost, *a, *b;
};

static void make_mess(struct mess *m)
{
	m->held = from_pool(0, &site_a);
	audit_hold_as(&m->held->arc, ARC_EDGE_STRONG, "dir table", &site_a);
	m->held->owner = from_pool(1, &site_b);
	m->lost = from_pool(2, &site_a);
	m->lost->pages[3] = from_pool(3, &site_b);
	m->a = from_pool(4, &site_b);
	m->b = from_pool(5, &site_b);
	m->a->pages[2] = m->b;
	m->b->owner = m->a;
}

static void clear_mess(struct mess *m)
{
	audit_release(&m->held->arc);
	folder_put(m->held);
	folder_put(m->lost);
	folder_drop(&m->b->owner);
	assert_int_equal(audit_nr_tracked(this_machine()), 0);
}

static void what_nobody_reaches_is_a_leak(void **state)
{
	struct arc_leaks *l;
	struct mess m;

	(void)state;
	make_mess(&m);
	l = take(0);
	assert_int_equal(arc_leaks_nr(l), 4);
	assert_int_equal(arc_leaks_bytes(l), 4 * sizeof(struct folder));
	assert_ptr_equal(arc_graph_node(arc_leaks_graph(l), arc_leaks_node(l, 0))->key,
			 &m.lost->arc);
	arc_leaks_free(l);
	l = take(ARC_GRAPH_TRUST);		/* a task may hold 3: only the cycle is sure */
	assert_int_equal(arc_leaks_nr(l), 2);
	arc_leaks_free(l);
	clear_mess(&m);
	l = take(0);
	assert_int_equal(arc_leaks_nr(l), 0);
	arc_leaks_free(l);
}

#define COLUMNS	"                                 objects        bytes     LOST    CYCLE   " \
		"BEHIND     held\n"

static void text_is_one_screen_with_three_tables_and_reasons(void **state)
{
	struct written w = { .at = 0 };
	char wanted[4096];
	struct arc_leaks *l;
	struct mess m;
	int one = sizeof(struct folder);

	(void)state;
	make_mess(&m);
	l = take(0);
	arc_leaks_text(l, keep_written, &w);
	snprintf(wanted, sizeof(wanted),
"leaks: 4 objects, %d bytes: 1 LOST, 2 CYCLE, 1 BEHIND\n"
"\n"
"by type  " COLUMNS
"  folder                                        4 %12d        1        2        1        0\n"
"\n"
"by site  " COLUMNS
"  folder from dir.c:88                          3 %12d        0        2        1        0\n"
"  folder from dir.c:80                          1 %12d        1        0        0        0\n"
"\n"
"by holder" COLUMNS
"  cycle: folder.pages[2] -> folder.owner        2 %12d        0        2        0        0\n"
"  nobody known                                  2 %12d        1        0        1        0\n"
"\n"
"why\n"
"  #3 folder from dir.c:80 (LOST): nobody known: 1 reference without a holder\n"
"  #5 folder from dir.c:88 (CYCLE): cycle: folder.pages[2] -> folder.owner\n"
"  #4 folder from dir.c:88 (BEHIND): kept by #3 folder (LOST): folder.pages[3] -> folder\n",
		 4 * one, 4 * one, 3 * one, one, 2 * one, 2 * one);
	assert_string_equal(w.text, wanted);
	arc_leaks_free(l);
	clear_mess(&m);
}

static void no_leaks_are_one_line(void **state)
{
	struct written w = { .at = 0 };
	struct arc_leaks *l = take(0);

	(void)state;
	arc_leaks_text(l, keep_written, &w);
	assert_string_equal(w.text, "leaks: 0 objects, 0 bytes\n");
	w.at = 0;
	arc_leaks_json(l, keep_written, &w);
	assert_string_equal(w.text, "{\"schema\":\"karc-leaks-1\",\"objects\":0,\"bytes\":0,"
			    "\"lost\":0,\"cycle\":0,\"behind\":0,\"held\":0,\"gone\":0,\n"
			    "\"by_type\":[],\n\"by_site\":[],\n\"by_holder\":[],\n\"leaks\":[]}\n");
	arc_leaks_free(l);
}

static void json_has_every_leak_with_its_reason(void **state)
{
	struct written w = { .at = 0 };
	char wanted[1024];
	struct arc_leaks *l;
	struct mess m;

	(void)state;
	make_mess(&m);
	m.lost->value = 9;
	l = take(0);
	arc_leaks_json(l, keep_written, &w);
	snprintf(wanted, sizeof(wanted),
		 "\n {\"id\":3,\"type\":\"folder\",\"label\":\"value 9\",\"site\":{\"file\":\"dir.c\","
		 "\"line\":80,\"function\":\"make_dir\"},\"bytes\":%zu,\"state\":\"LIVE\","
		 "\"verdict\":\"LOST\",\"count\":1,\"users\":null,\"weak\":0,\"unknown\":1,"
		 "\"cycle\":0,\"why\":\"nobody known: 1 reference without a holder\","
		 "\"holders\":[]}", sizeof(struct folder));
	assert_non_null(strstr(w.text, wanted));
	assert_non_null(strstr(w.text, "\"verdict\":\"BEHIND\",\"count\":1,\"users\":null,\"weak\":0,"
			       "\"unknown\":0,\"cycle\":0,\"why\":\"kept by #3 folder (LOST): "
			       "folder.pages[3] -> folder\""));
	assert_non_null(strstr(w.text, "\"cycle\":1,\"why\":\"cycle: folder.pages[2] -> "
			       "folder.owner\""));
	assert_non_null(strstr(w.text, "{\"holder\":\"nobody known\",\"site\":null,\"objects\":2,"));
	assert_string_equal(w.text + strlen(w.text) - 4, "}]}\n");
	arc_leaks_free(l);
	clear_mess(&m);
}

static const struct arc_type odd_type = {
	.name = "a \"type\"\\with\tbytes\x01 \xc3\xa9", .size = sizeof(struct folder),
	.ops = { .free = folder_free }, .fields = folder_fields,
};

static void json_strings_are_escaped(void **state)
{
	struct folder *f = folder_new_of(&odd_type, NULL);
	struct written w = { .at = 0 };
	struct arc_leaks *l = take(0);

	(void)state;
	arc_leaks_json(l, keep_written, &w);
	assert_non_null(strstr(w.text, "{\"type\":\"a \\\"type\\\"\\\\with\\tbytes\\u0001 \xc3\xa9\","
			       "\"site\":null,"));
	arc_leaks_free(l);
	folder_put(f);
}

/* ---- many ---- */

static void rows_beyond_a_screen_are_summed_up(void **state)
{
	static struct site sites[25];
	static struct folder *f[25];
	struct written w = { .at = 0 };
	struct arc_leaks *l;
	unsigned int i;

	(void)state;
	for (i = 0; i < 25; i++) {
		sites[i] = (struct site){ "many.c", "make", i + 1 };
		f[i] = folder_new_of(&folder_type, &sites[i]);
	}
	l = take(0);
	assert_int_equal(arc_leaks_nr_rows(l, ARC_LEAKS_BY_SITE), 25);
	arc_leaks_text(l, keep_written, &w);
	assert_non_null(strstr(w.text, "\n  (15 more)                   15"));
	assert_non_null(strstr(w.text, "  #10 folder from many.c:10 (LOST)"));
	assert_null(strstr(w.text, "  #11 folder"));
	arc_leaks_free(l);
	for (i = 0; i < 25; i++)
		folder_put(f[i]);
}

static void tables_add_up_on_random_graphs(void **state)
{
	struct folder *f[40], *child;
	const struct arc_leak_row *row;
	unsigned int i, k, round, table;
	unsigned long nr, nr_verdicts;
	struct arc_leaks *l;
	struct rnd rnd;
	u64 bytes;

	(void)state;
	rnd_seed(&rnd, machine_random(this_machine()));
	for (round = 0; round < 60; round++) {
		for (i = 0; i < 40; i++)
			f[i] = folder_new_of(&folder_type, rnd_below(&rnd, 2) ? &site_a : &site_b);
		for (i = 0; i < 40; i++) {
			child = f[rnd_below(&rnd, 40)];
			arc_get(&child->arc);
			f[i]->pages[rnd_below(&rnd, 4)] = child;
			if (!rnd_below(&rnd, 8))
				audit_hold_as(&f[i]->arc, ARC_EDGE_STRONG, "table", &site_a);
		}
		l = take(0);
		for (table = 0; table < ARC_LEAKS_TABLES; table++) {
			nr = nr_verdicts = 0;
			bytes = 0;
			for (i = 0; i < arc_leaks_nr_rows(l, table); i++) {
				row = arc_leaks_row(l, table, i);
				nr += row->nr;
				bytes += row->bytes;
				for (k = 0; k <= ARC_GONE; k++)
					nr_verdicts += row->nr_verdict[k];
				assert_int_equal(row->nr_verdict[ARC_REACHED], 0);
				assert_true(!i || row->nr <= arc_leaks_row(l, table, i - 1)->nr);
			}
			assert_int_equal(nr, arc_leaks_nr(l));
			assert_int_equal(nr_verdicts, nr);
			assert_int_equal(bytes, arc_leaks_bytes(l));
		}
		arc_leaks_free(l);
		for (i = 0; i < 40; i++)
			for (k = 0; k < 4; k++)
				folder_drop(&f[i]->pages[k]);
		for (i = 0; i < 40; i++)
			folder_put(f[i]);
		assert_int_equal(audit_nr_tracked(this_machine()), 0);
	}
}

/* ---- shutdown ---- */

/* What the machine of the inner run had to say, read by the outer test. */
static struct written last_report;
static unsigned long last_nr;

static void keep_report(void *arg, const struct arc_leaks *leaks)
{
	(void)arg;
	last_report.at = 0;
	last_nr = arc_leaks_nr(leaks);
	arc_leaks_text(leaks, keep_written, &last_report);
}

static void leave_a_mess(void)
{
	struct mess m;

	arc_leaks_at_shutdown(this_machine(), keep_report, NULL);
	make_mess(&m);
}

static void leave_nothing(void)
{
	struct mess m;

	arc_leaks_at_shutdown(this_machine(), keep_report, NULL);
	make_mess(&m);
	clear_mess(&m);
}

static void shutdown_says_of_each_leftover_why_it_lives(void **state)
{
	struct fixture_verdict v;

	(void)state;
	last_nr = 0;
	v = fixture_run(1, leave_a_mess);
	assert_true(v.red);
	assert_int_equal(v.nr_left, 6);
	assert_int_equal(last_nr, 6);
	assert_non_null(strstr(last_report.text, "leaks: 6 objects, "));
	assert_non_null(strstr(last_report.text, ": 1 LOST, 2 CYCLE, 1 BEHIND, 2 held\n"));
	assert_non_null(strstr(last_report.text, "\n  dir table at dir.c:80                "));
	assert_non_null(strstr(last_report.text, "\n  #3 folder from dir.c:80 (LOST): nobody known: "
			       "1 reference without a holder\n"));
	assert_non_null(strstr(last_report.text, "\n  #5 folder from dir.c:88 (CYCLE): cycle: "
			       "folder.pages[2] -> folder.owner\n"));
	assert_non_null(strstr(last_report.text, "\n  #1 folder from dir.c:80 (reached): path: "
			       "dir table: folder\n"));
	assert_non_null(strstr(v.reason, "left: 2 folder, "));
	assert_non_null(strstr(v.reason, "from dir.c:80 make_dir"));
}

static void keep_json(void *arg, const struct arc_leaks *leaks)
{
	struct written *w = arg;

	w->at = 0;
	arc_leaks_json(leaks, keep_written, w);
}

static struct written json[2];

static void leave_a_mess_as_json(void)
{
	struct mess m;

	arc_leaks_at_shutdown(this_machine(), keep_json, &json[backwards]);
	make_mess(&m);
}

static void report_does_not_depend_on_addresses(void **state)
{
	(void)state;
	assert_true(fixture_run(1, leave_a_mess_as_json).red);
	backwards = true;
	assert_true(fixture_run(4, leave_a_mess_as_json).red);
	backwards = false;
	assert_true(json[0].at > 1000);
	assert_string_equal(json[0].text, json[1].text);
}

static void clean_shutdown_makes_no_report(void **state)
{
	struct fixture_verdict v;

	(void)state;
	last_nr = 77;
	v = fixture_run(1, leave_nothing);
	assert_false(v.red);
	assert_int_equal(last_nr, 77);
}

static long forget(void *arg)
{
	struct folder *f = arg;

	arc_get_site(&f->arc, &site_b);
	return 0;
}

static void forget_in_a_task(void)
{
	struct folder *f = from_pool(0, &site_a);

	arc_leaks_at_shutdown(this_machine(), keep_report, NULL);
	join_clean(fiber_spawn(0, "clerk", forget, f));
	folder_put(f);
}

static void forgotten_reference_names_the_task_that_ended(void **state)
{
	struct machine_config config = holders;
	struct fixture_verdict v;

	(void)state;
	last_nr = 0;
	config.nr_cpus = 1;
	v = fixture_run_config(&config, forget_in_a_task);
	assert_true(v.red);
	assert_int_equal(last_nr, 1);
	assert_non_null(strstr(last_report.text, "\n  forgotten by clerk, fiber "));
	assert_non_null(strstr(last_report.text, "\n  #1 folder from dir.c:80 (LOST): forgotten by "
			       "clerk, fiber "));
	assert_non_null(strstr(last_report.text, ": reference from dir.c:88\n"));
}

/* ---- failures ---- */

static void hostmem_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	values[0] = machine_hostmem(this_machine())->nr_blocks;
	values[1] = machine_hostmem(this_machine())->bytes;
}

static long take_leaks(void *arg)
{
	struct arc_leaks *l = arc_leaks_take(this_machine(), 0);

	(void)arg;
	arc_leaks_free(l);
	return l ? 0 : -ENOMEM;
}

static void without_memory_there_is_no_report_and_nothing_is_kept(void **state)
{
	struct mess m;

	(void)state;
	make_mess(&m);
	assert_true(fixture_fail_nth(.body = take_leaks, .snapshot = hostmem_snapshot) > 20);
	clear_mess(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(what_nobody_reaches_is_a_leak),
		karc_unit_test(text_is_one_screen_with_three_tables_and_reasons),
		karc_unit_test(no_leaks_are_one_line),
		karc_unit_test(json_has_every_leak_with_its_reason),
		karc_unit_test(json_strings_are_escaped),
		karc_unit_test(rows_beyond_a_screen_are_summed_up),
		KARC_TESTS_DETERMINISTIC(tables_add_up_on_random_graphs),
		cmocka_unit_test(shutdown_says_of_each_leftover_why_it_lives),
		cmocka_unit_test(report_does_not_depend_on_addresses),
		cmocka_unit_test(clean_shutdown_makes_no_report),
		cmocka_unit_test(forgotten_reference_names_the_task_that_ended),
		karc_unit_test(without_memory_there_is_no_report_and_nothing_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
