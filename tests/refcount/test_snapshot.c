/* SPDX-License-Identifier: MIT */
/*
 * Goal: what came, went and changed between two moments is told, object by object and summed up.
 * Method: known changes with exact texts; random changes against a list kept beside; small forms;
 * every allocation failed.
 */
#include "fixture.h"

#include <karc/base/rand.h>
#include <karc/refcount/snapshot.h>

#include "graph_test.h"

static const struct site site_a = { "dir.c", "make_dir", 80 };
static const struct site site_b = { "dir.c", "add_entry", 88 };

static struct arc_snapshot *take(void)
{
	struct arc_snapshot *s = arc_snapshot_take(this_machine());

	assert_non_null(s);
	return s;
}

static struct arc_diff *diff(const struct arc_snapshot *before, const struct arc_snapshot *after)
{
	struct arc_diff *d = arc_snapshot_diff(before, after);

	assert_non_null(d);
	return d;
}

static void two_equal_moments_differ_in_nothing(void **state)
{
	struct folder *root = folder_new();
	struct arc_snapshot *one, *two;
	struct written w = { .at = 0 };
	struct arc_diff *d;

	(void)state;
	root->owner = folder_new();
	one = take();
	two = take();
	d = diff(one, two);
	assert_int_equal(arc_diff_nr(d), 0);
	arc_diff_text(d, keep_written, &w);
	assert_string_equal(w.text, "changes: 0 new, 0 gone, 0 changed; +0 bytes\n");
	arc_diff_free(d);
	arc_snapshot_free(one);
	arc_snapshot_free(two);
	folder_put(root);
}

/* 1 changes, 2 stays, 3 goes, 4 is new and lost, 5 is new and owned by 1. */
static struct arc_diff *make_changes(struct folder **root, struct folder **lost,
				     struct arc_snapshot **one, struct arc_snapshot **two)
{
	struct folder *gone;

	*root = folder_new_of(&folder_type, &site_a);
	audit_hold_as(&(*root)->arc, ARC_EDGE_STRONG, "dir table", &site_a);
	(*root)->owner = folder_new_of(&folder_type, &site_b);
	gone = folder_new_of(&folder_type, &site_a);
	*one = take();
	folder_put(gone);
	*lost = folder_new_of(&folder_type, &site_b);
	(*root)->pages[1] = folder_new_of(&folder_type, &site_b);
	arc_get(&(*root)->arc);
	arc_downgrade(&(*root)->arc);
	*two = take();
	return diff(*one, *two);
}

static void drop_changes(struct folder *root, struct folder *lost, struct arc_diff *d,
			 struct arc_snapshot *one, struct arc_snapshot *two)
{
	arc_diff_free(d);
	arc_snapshot_free(one);
	arc_snapshot_free(two);
	folder_put(lost);
	folder_put(root);
	arc_weak_put(&root->arc);
	audit_release(&root->arc);
	folder_put(root);
}

static void what_came_went_and_changed_is_listed(void **state)
{
	struct folder *root, *lost;
	struct arc_snapshot *one, *two;
	struct arc_diff *d = make_changes(&root, &lost, &one, &two);
	const struct arc_change *c;
	const struct arc_diff_row *row;

	(void)state;
	assert_int_equal(arc_diff_nr(d), 4);
	c = arc_diff_change(d, 0);
	assert_int_equal(c->kind, ARC_CHANGE_IN);
	assert_int_equal(c->what, ARC_DIFF_COUNT | ARC_DIFF_WEAK | ARC_DIFF_FIELDS);
	assert_int_equal(arc_graph_node(arc_snapshot_graph(one), c->before)->count, 1);
	assert_int_equal(arc_graph_node(arc_snapshot_graph(two), c->after)->count, 2);
	c = arc_diff_change(d, 1);
	assert_int_equal(c->kind, ARC_CHANGE_LEFT);
	assert_int_equal(c->after, ARC_NONE);
	assert_int_equal(arc_diff_change(d, 2)->kind, ARC_CHANGE_NEW);
	assert_int_equal(arc_diff_change(d, 3)->kind, ARC_CHANGE_NEW);
	assert_int_equal(arc_diff_nr_of(d, ARC_CHANGE_NEW), 2);
	assert_int_equal(arc_diff_nr_rows(d, false), 1);
	assert_int_equal(arc_diff_nr_rows(d, true), 2);
	row = arc_diff_row(d, true, 0);			/* grew most */
	assert_ptr_equal(row->site, &site_b);
	assert_int_equal(row->nr[ARC_CHANGE_NEW], 2);
	assert_int_equal(row->bytes, 2 * sizeof(struct folder));
	row = arc_diff_row(d, true, 1);
	assert_int_equal(row->nr[ARC_CHANGE_LEFT], 1);
	assert_int_equal(row->nr[ARC_CHANGE_IN], 1);
	assert_true(row->bytes == -(s64)sizeof(struct folder));
	drop_changes(root, lost, d, one, two);
}

static void text_is_one_screen_for_people(void **state)
{
	struct folder *root, *lost;
	struct arc_snapshot *one, *two;
	struct arc_diff *d = make_changes(&root, &lost, &one, &two);
	struct written w = { .at = 0 };
	char wanted[2048];
	int size = sizeof(struct folder);

	(void)state;
	arc_diff_text(d, keep_written, &w);
	snprintf(wanted, sizeof(wanted),
		 "changes: 2 new, 1 gone, 1 changed; +%d bytes\n"
		 "\n"
		 "by type                     new     gone  changed        bytes\n"
		 "  folder                      2        1        1 %+12d\n"
		 "\n"
		 "by site                     new     gone  changed        bytes\n"
		 "  folder from dir.c:88        2        0        0 %+12d\n"
		 "  folder from dir.c:80        0        1        1 %+12d\n"
		 "\n"
		 "objects\n"
		 "  gone    #3 folder from dir.c:80\n"
		 "  changed #1 folder from dir.c:80: count 1 -> 2, weak 0 -> 1, fields\n"
		 "  new     #4 folder from dir.c:88 (LOST): nobody known: 1 reference without a "
		 "holder\n"
		 "  new     #5 folder from dir.c:88 (reached): path: dir table: folder.pages[1] -> "
		 "folder\n", size, size, 2 * size, -size);
	assert_string_equal(w.text, wanted);
	drop_changes(root, lost, d, one, two);
}

static void json_has_everything(void **state)
{
	struct folder *root, *lost;
	struct arc_snapshot *one, *two;
	struct arc_diff *d = make_changes(&root, &lost, &one, &two);
	struct written w = { .at = 0 };
	char wanted[512];

	(void)state;
	arc_diff_json(d, keep_written, &w);
	snprintf(wanted, sizeof(wanted), "{\"schema\":\"karc-diff-1\",\"new\":2,\"gone\":1,"
		 "\"changed\":1,\"bytes\":%zu,\n\"by_type\":[\n {\"type\":\"folder\",\"new\":2,",
		 sizeof(struct folder));
	assert_int_equal(strncmp(w.text, wanted, strlen(wanted)), 0);
	assert_non_null(strstr(w.text, "\"site\":{\"file\":\"dir.c\",\"line\":88,"
			       "\"function\":\"add_entry\"},\"new\":2,\"gone\":0,\"changed\":0"));
	assert_non_null(strstr(w.text, "{\"kind\":\"gone\",\"id\":3,\"type\":\"folder\","
			       "\"label\":\"\""));
	assert_non_null(strstr(w.text, "\"what\":[\"count\",\"weak\",\"fields\"],"
			       "\"before\":{\"state\":\"LIVE\",\"verdict\":\"reached\",\"count\":1,"
			       "\"users\":null,\"weak\":0,\"fields\":1,\"held\":1},"
			       "\"after\":{\"state\":\"LIVE\",\"verdict\":\"reached\",\"count\":2,"
			       "\"users\":null,\"weak\":1,\"fields\":2,\"held\":1}"));
	assert_non_null(strstr(w.text, "\"what\":[],\"before\":null,\"after\":{\"state\":\"LIVE\","
			       "\"verdict\":\"LOST\""));
	assert_string_equal(w.text + strlen(w.text) - 4, "}]}\n");
	drop_changes(root, lost, d, one, two);
}

/* A field that points elsewhere now, a holder more, a cycle closed: counts alone would not show. */
static void changes_of_fields_holders_and_verdicts_are_seen(void **state)
{
	struct folder *a = folder_new_of(&folder_type, &site_a);
	struct folder *b = folder_new_of(&folder_type, &site_a);
	struct folder *c = folder_new_of(&folder_type, &site_a);
	struct arc_snapshot *one, *two, *three;
	struct written w = { .at = 0 };
	struct arc_diff *d;

	(void)state;
	arc_get(&b->arc);
	arc_get(&c->arc);
	a->owner = b;
	one = take();
	a->owner = c;				/* 1's field; b and c have the same counts */
	a->value = 4;
	audit_hold_as(&a->arc, ARC_EDGE_STRONG, "table", &site_a);
	two = take();
	d = diff(one, two);
	arc_diff_text(d, keep_written, &w);
	assert_non_null(strstr(w.text, "  changed #1 folder \"value 4\" from dir.c:80: fields, "
			       "holders, label, LOST -> reached\n"));
	assert_non_null(strstr(w.text, "  changed #3 folder from dir.c:80: LOST -> reached\n"));
	assert_null(strstr(w.text, "  changed #2"));
	arc_diff_free(d);
	a->owner = b;
	a->value = 0;
	audit_release(&a->arc);
	three = take();
	d = diff(one, three);
	assert_int_equal(arc_diff_nr(d), 0);
	arc_diff_free(d);
	arc_snapshot_free(one);
	arc_snapshot_free(two);
	arc_snapshot_free(three);
	folder_put(a);
	folder_put(b);
	folder_put(c);
	folder_put(c);
}

/* ---- small forms ---- */

struct small_world {
	struct folder *root;
	unsigned int nr, count;
	char object[8];
};

static struct small_world world;

static void visit_world(struct machine *m, struct arc_graph_see *see)
{
	unsigned int i;

	(void)m;
	for (i = 0; i < world.nr; i++) {
		arc_graph_see_object(see, &world.object[i], "cell", NULL, world.count, 16, NULL);
		arc_graph_see_root(see, &world.object[i], "grid");
	}
}

static const struct arc_graph_source world_source = {
	.name = "world", .ops = { .visit = visit_world },
};

static void small_forms_are_the_same_by_type_and_address(void **state)
{
	struct arc_snapshot *one, *two;
	struct arc_diff *d;

	(void)state;
	world = (struct small_world){ .nr = 3, .count = 1 };
	assert_int_equal(arc_graph_source_register(&world_source), 0);
	one = take();
	world.nr = 5;
	two = take();
	d = diff(one, two);
	assert_int_equal(arc_diff_nr(d), 2);
	assert_int_equal(arc_diff_nr_of(d, ARC_CHANGE_NEW), 2);
	arc_diff_free(d);
	d = diff(two, one);
	assert_int_equal(arc_diff_nr_of(d, ARC_CHANGE_LEFT), 2);
	arc_diff_free(d);
	arc_snapshot_free(two);
	world.nr = 3;
	world.count = 2;
	two = take();
	d = diff(one, two);
	assert_int_equal(arc_diff_nr_of(d, ARC_CHANGE_IN), 3);
	assert_int_equal(arc_diff_change(d, 0)->what, ARC_DIFF_COUNT);
	arc_diff_free(d);
	arc_snapshot_free(one);
	arc_snapshot_free(two);
	arc_graph_source_unregister(&world_source);
}

/* ---- random ---- */

#define MANY	64u

static void random_changes_agree_with_a_list(void **state)
{
	struct folder *f[MANY] = { NULL };
	bool was;
	unsigned int i, round, nr_new, nr_gone, nr_changed;
	struct arc_snapshot *one, *two;
	struct arc_diff *d;
	struct rnd rnd;

	(void)state;
	rnd_seed(&rnd, machine_random(this_machine()));
	for (round = 0; round < 60; round++) {
		one = take();
		nr_new = nr_gone = nr_changed = 0;
		for (i = 0; i < MANY; i++) {
			was = f[i] != NULL;
			if (f[i] && !rnd_below(&rnd, 4)) {
				folder_drop(&f[i]);
				nr_gone++;
			}
			if (!f[i] && !rnd_below(&rnd, 3)) {	/* perhaps at the same address */
				f[i] = folder_new_of(&folder_type, &site_a);
				nr_new++;
			} else if (f[i] && was && !rnd_below(&rnd, 3)) {
				f[i]->value++;			/* its label */
				nr_changed++;
			}
		}
		two = take();
		d = diff(one, two);
		assert_int_equal(arc_diff_nr_of(d, ARC_CHANGE_NEW), nr_new);
		assert_int_equal(arc_diff_nr_of(d, ARC_CHANGE_LEFT), nr_gone);
		assert_int_equal(arc_diff_nr_of(d, ARC_CHANGE_IN), nr_changed);
		arc_diff_free(d);
		arc_snapshot_free(one);
		arc_snapshot_free(two);
	}
	for (i = 0; i < MANY; i++)
		folder_put(f[i]);
}

static void long_lists_are_summed_up(void **state)
{
	static struct site sites[30];
	static struct folder *f[30];
	struct arc_snapshot *one = take(), *two;
	struct written w = { .at = 0 };
	struct arc_diff *d;
	unsigned int i;

	(void)state;
	for (i = 0; i < 30; i++) {
		sites[i] = (struct site){ "many.c", "make", i + 1 };
		f[i] = folder_new_of(&folder_type, &sites[i]);
	}
	two = take();
	d = diff(one, two);
	arc_diff_text(d, keep_written, &w);
	assert_non_null(strstr(w.text, "\n  (20 more)                   20        0        0"));
	assert_non_null(strstr(w.text, "holder\n  (20 more)\n"));
	arc_diff_free(d);
	arc_snapshot_free(one);
	arc_snapshot_free(two);
	for (i = 0; i < 30; i++)
		folder_put(f[i]);
}

/* ---- failures ---- */

static void hostmem_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	values[0] = machine_hostmem(this_machine())->nr_blocks;
	values[1] = machine_hostmem(this_machine())->bytes;
}

static long take_and_compare(void *arg)
{
	struct arc_snapshot *one = arg, *two = arc_snapshot_take(this_machine());
	struct arc_diff *d = two ? arc_snapshot_diff(one, two) : NULL;
	long err = d ? 0 : -ENOMEM;

	arc_diff_free(d);
	arc_snapshot_free(two);
	return err;
}

static void without_memory_there_is_no_difference_and_nothing_is_kept(void **state)
{
	struct folder *root = folder_new(), *more;
	struct arc_snapshot *one = take();

	(void)state;
	more = folder_new();
	assert_true(fixture_fail_nth(.body = take_and_compare, .snapshot = hostmem_snapshot,
				     .arg = one) > 12);
	arc_snapshot_free(one);
	folder_put(root);
	folder_put(more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(two_equal_moments_differ_in_nothing),
		KARC_TESTS(what_came_went_and_changed_is_listed),
		karc_unit_test(text_is_one_screen_for_people),
		karc_unit_test(json_has_everything),
		karc_unit_test(changes_of_fields_holders_and_verdicts_are_seen),
		karc_unit_test(small_forms_are_the_same_by_type_and_address),
		KARC_TESTS_DETERMINISTIC(random_changes_agree_with_a_list),
		karc_unit_test(long_lists_are_summed_up),
		karc_unit_test(without_memory_there_is_no_difference_and_nothing_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
