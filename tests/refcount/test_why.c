/* SPDX-License-Identifier: MIT */
/*
 * Goal: asked why it is alive, an object answers with who owns it, who holds it, and the one reason
 * in the end.
 * Method: an object of each verdict, the whole text compared; machines that track holders name
 * the task and its callers; every allocation failed.
 */
#include "fixture.h"

#include <karc/refcount/holder.h>
#include <karc/refcount/why.h>

#include "graph_test.h"

static const struct machine_config holders = { .holders = true };

static const struct site site_a = { "dir.c", "make_dir", 80 };
static const struct site site_b = { "dir.c", "add_entry", 88 };

static void expect_why(const struct folder *f, const char *expected)
{
	char text[2048], wanted[2048];
	long len = arc_why_alive_text(&f->arc, text, sizeof(text));

	snprintf(wanted, sizeof(wanted), expected, sizeof(struct folder));
	assert_int_equal(len, strlen(text));
	assert_string_equal(text, wanted);
}

static void reached_object_tells_its_owners_and_the_shortest_path(void **state)
{
	struct folder *root = folder_new_of(&folder_type, &site_a);
	struct folder *mid = folder_new_of(&folder_type, &site_a);
	struct folder *f = folder_new_of(&folder_type, &site_b);

	(void)state;
	f->value = 3;
	audit_hold_as(&root->arc, ARC_EDGE_STRONG, "dir table", &site_a);
	root->owner = mid;
	mid->pages[1] = f;
	arc_get(&f->arc);
	root->pages[2] = f;
	arc_downgrade(&f->arc);
	mid->seen = f;
	expect_why(f, "#3 folder \"value 3\" from dir.c:88: LIVE, reached, %zu bytes\n"
		      "  count 2: 2 fields; weak 1: 1 field\n"
		      "  owned: folder.pages[2] of #1 folder from dir.c:80\n"
		      "  owned: folder.pages[1] of #2 folder from dir.c:80\n"
		      "  path: dir table: folder.pages[2] -> folder\n");
	expect_why(root, "#1 folder from dir.c:80: LIVE, reached, %zu bytes\n"
			 "  count 1: 1 holder\n"
			 "  held: dir table: 1 reference from dir.c:80\n"
			 "  path: dir table: folder\n");
	audit_release(&root->arc);
	folder_put(root);
}

static void lost_object_says_how_many_references_nobody_explains(void **state)
{
	struct folder *lost = folder_new_of(&folder_type, &site_a);
	struct folder *child = folder_new_of(&folder_type, &site_b);

	(void)state;
	lost->owner = child;
	expect_why(lost, "#1 folder from dir.c:80: LIVE, LOST, %zu bytes\n"
			 "  count 1: 1 unknown\n"
			 "  nobody known: 1 reference without a holder\n");
	arc_get(&lost->arc);
	expect_why(lost, "#1 folder from dir.c:80: LIVE, LOST, %zu bytes\n"
			 "  count 2: 2 unknown\n"
			 "  nobody known: 2 references without a holder\n");
	expect_why(child, "#2 folder from dir.c:88: LIVE, BEHIND, %zu bytes\n"
			  "  count 1: 1 field\n"
			  "  owned: folder.owner of #1 folder from dir.c:80\n"
			  "  kept by #1 folder (LOST): folder.owner -> folder\n");
	folder_put(lost);
	folder_put(lost);
}

static void object_on_a_cycle_shows_the_cycle_from_itself(void **state)
{
	struct folder *a = folder_new_of(&folder_type, &site_a);
	struct folder *b = folder_new_of(&folder_type, &site_b);

	(void)state;
	a->pages[2] = b;
	b->owner = a;
	expect_why(b, "#2 folder from dir.c:88: LIVE, CYCLE, %zu bytes\n"
		      "  count 1: 1 field\n"
		      "  owned: folder.pages[2] of #1 folder from dir.c:80\n"
		      "  cycle: folder.owner -> folder.pages[2]\n");
	arc_get(&b->arc);	/* lost, and on a cycle: both have to be mended */
	expect_why(b, "#2 folder from dir.c:88: LIVE, LOST, %zu bytes\n"
		      "  count 2: 1 field, 1 unknown\n"
		      "  owned: folder.pages[2] of #1 folder from dir.c:80\n"
		      "  nobody known: 1 reference without a holder; "
		      "cycle: folder.owner -> folder.pages[2]\n");
	folder_drop(&b->owner);
	folder_put(b);
}

static void last_user(void *obj)
{
	(void)obj;
}

static const struct arc_type shared_type = {
	.name = "shared", .size = sizeof(struct folder), .users = offsetof(struct folder, users),
	.ops = { .free = folder_free, .on_last_user = last_user }, .fields = folder_fields,
};

static void two_tiers_are_counted_apart(void **state)
{
	struct folder *task = folder_new_of(&folder_type, &site_a);
	struct folder *mm = folder_new_of(&shared_type, &site_b);

	(void)state;
	audit_hold_as(&task->arc, ARC_EDGE_STRONG, "task list", &site_a);
	arc_users_init(&mm->arc);
	task->lent = mm;
	arc_users_get(&mm->arc);
	audit_hold_as(&mm->arc, ARC_EDGE_USER, "swapper", &site_b);
	arc_get(&mm->arc);
	expect_why(mm, "#2 shared from dir.c:88: LIVE, reached, %zu bytes\n"
		       "  count 2: 1 of all users, 1 unknown; users 2: 1 field, 1 holder\n"
		       "  owned: folder.lent of #1 folder from dir.c:80\n"
		       "  held: swapper: 1 user reference from dir.c:88\n"
		       "  path: swapper: shared\n");
	arc_put(&mm->arc);
	audit_release_user(&mm->arc);
	arc_users_put(&mm->arc);
	audit_release(&task->arc);
	folder_put(task);
	assert_int_equal(audit_nr_tracked(this_machine()), 0);
}

static void dead_object_is_kept_by_weak_references(void **state)
{
	struct folder *f = folder_new_of(&folder_type, &site_a);

	(void)state;
	arc_downgrade(&f->arc);
	audit_hold_as(&f->arc, ARC_EDGE_WEAK, "cache", &site_b);
	folder_put(f);
	expect_why(f, "#1 folder from dir.c:80: DEAD, gone, %zu bytes\n"
		      "  count 0; weak 1: 1 holder\n"
		      "  held: cache: 1 weak reference from dir.c:88\n"
		      "  torn down: weak references keep its memory\n");
	audit_release_weak(&f->arc);
	arc_weak_put(&f->arc);
}

static void many_owners_and_holders_are_counted(void **state)
{
	struct folder *f = folder_new_of(&folder_type, &site_a), *owner[12];
	static const char *const names[] = { "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8",
					     "t9" };
	char text[4096];
	int i;

	(void)state;
	for (i = 0; i < 12; i++) {
		owner[i] = folder_new_of(&folder_type, &site_b);
		owner[i]->owner = f;
		arc_get(&f->arc);
	}
	for (i = 0; i < 10; i++) {
		arc_get(&f->arc);
		audit_hold_as(&f->arc, ARC_EDGE_STRONG, names[i], &site_a);
	}
	assert_true(arc_why_alive_text(&f->arc, text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "  count 23: 12 fields, 10 holders, 1 unknown\n"));
	assert_non_null(strstr(text, "  owned: by 4 more\n"));
	assert_non_null(strstr(text, "  held: by 2 more\n"));
	for (i = 0; i < 12; i++)
		folder_put(owner[i]);
	for (i = 0; i < 10; i++) {
		audit_release(&f->arc);
		folder_put(f);
	}
	folder_put(f);
}

static void task_that_holds_it_is_named_with_its_callers(void **state)
{
	struct folder *f = folder_new_of(&folder_type, &site_a);
	char text[4096];

	(void)state;
	arc_get_site(&f->arc, &site_b);
	assert_true(arc_why_alive_text(&f->arc, text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "LIVE, reached"));
	assert_non_null(strstr(text, "  count 2: 2 holders\n"));
	assert_non_null(strstr(text, "  held: call, fiber "));
	assert_non_null(strstr(text, ": 1 reference from dir.c:80\n"));
	assert_non_null(strstr(text, ": 1 reference from dir.c:88\n"));
	assert_non_null(strstr(text, "run_body+0x"));
	assert_non_null(strstr(text, "  path: call, fiber "));
	folder_put(f);
	folder_put(f);
}

/* Kept by a table that shows itself to nobody but the record. */
static void root_that_only_a_record_knows_is_a_holder(void **state)
{
	struct folder *f = folder_new_of(&folder_type, &site_a);
	char text[4096];

	(void)state;
	arc_get(&f->arc);
	arc_hand_to_root(&f->arc, "inode table");
	assert_true(arc_why_alive_text(&f->arc, text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "  count 2: 2 holders\n"));
	assert_non_null(strstr(text, "  held: inode table: 1 reference from "));
	assert_non_null(strstr(text, "  path: inode table: folder\n"));
	arc_hand_from_root(&f->arc, "inode table");
	folder_put(f);
	folder_put(f);
}

/* What arc_hold() or a source says of a root, and the root's record, are one reference. */
static void root_is_shown_once_and_the_task_beside_it(void **state)
{
	struct folder *f = folder_new_of(&folder_type, &site_a);
	char text[4096];

	(void)state;
	arc_get(&f->arc);
	arc_hold(&f->arc, "inode table");
	assert_true(arc_why_alive_text(&f->arc, text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "  count 2: 2 holders\n"));
	assert_non_null(strstr(text, "  held: inode table: 1 reference from "));
	assert_non_null(strstr(text, "  held: call, fiber "));
	arc_release(&f->arc);
	folder_put(f);
	folder_put(f);
}

/* A record that did not hear of the store in a field explains nothing beyond the count. */
static void stale_record_of_a_task_is_left_out(void **state)
{
	struct folder *root = folder_new_of(&folder_type, &site_a);
	struct folder *f = folder_new_of(&folder_type, &site_b);
	struct check_report report = { .quiet = true };

	(void)state;
	root->owner = f;	/* nobody told that the reference is the field's now */
	audit_hold_as(&root->arc, ARC_EDGE_STRONG, "dir table", &site_a);
	expect_why(f, "#2 folder from dir.c:88: LIVE, reached, %zu bytes\n"
		      "  count 1: 1 field\n"
		      "  owned: folder.owner of #1 folder from dir.c:80\n"
		      "  path: dir table: folder.owner -> folder\n");
	assert_int_equal(audit_counts(this_machine(), &report), 0);
	audit_release(&root->arc);
	folder_put(root);
}

static void log_gets_it_line_by_line(void **state)
{
	struct folder *f = folder_new_of(&folder_type, &site_a);

	(void)state;
	arc_why_alive(&f->arc);
	assert_true(fixture_log_contains("#1 folder from dir.c:80: LIVE, LOST"));
	assert_true(fixture_log_contains("  nobody known: 1 reference without a holder"));
	assert_int_equal(count_in_log("count 1"), 1);
	arc_why_alive(&f->pages[1]);			/* somewhere inside */
	assert_int_equal(count_in_log("#1 folder from dir.c:80"), 2);
	arc_why_alive(state);
	assert_true(fixture_log_contains("why alive: nothing that is known at this address"));
	folder_put(f);
}

static void text_is_cut_to_its_buffer(void **state)
{
	struct folder *f = folder_new_of(&folder_type, &site_a);
	char text[24];

	(void)state;
	assert_int_equal(arc_why_alive_text(&f->arc, text, sizeof(text)), 23);
	assert_string_equal(text, "#1 folder from dir.c...");
	assert_int_equal(arc_why_alive_text(text, text, sizeof(text)), -ENOENT);
	assert_string_equal(text, "");
	assert_int_equal(arc_why_alive_text(&f->arc, text, 0), 0);
	folder_put(f);
}

static long ask(void *arg)
{
	char text[1024];
	long len = arc_why_alive_text(arg, text, sizeof(text));

	return len < 0 ? len : 0;
}

static void hostmem_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	values[0] = machine_hostmem(this_machine())->nr_blocks;
	values[1] = machine_hostmem(this_machine())->bytes;
}

static long ask_log(void *arg)
{
	unsigned int before = count_in_log("why alive: no host memory to look");

	arc_why_alive(arg);
	return count_in_log("why alive: no host memory to look") - before;
}

static void without_memory_it_says_so(void **state)
{
	struct folder *a = folder_new_of(&folder_type, &site_a);

	(void)state;
	arc_get(&a->arc);
	a->owner = a;
	assert_true(fixture_fail_nth(.body = ask, .snapshot = hostmem_snapshot, .arg = &a->arc) >
		    8);
	assert_true(fixture_fail_nth(.body = ask_log, .snapshot = hostmem_snapshot,
				     .arg = &a->arc) > 8);
	folder_drop(&a->owner);
	folder_put(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(reached_object_tells_its_owners_and_the_shortest_path),
		karc_unit_test(lost_object_says_how_many_references_nobody_explains),
		karc_unit_test(object_on_a_cycle_shows_the_cycle_from_itself),
		karc_unit_test(two_tiers_are_counted_apart),
		karc_unit_test(dead_object_is_kept_by_weak_references),
		karc_unit_test(many_owners_and_holders_are_counted),
		karc_unit_test_config(task_that_holds_it_is_named_with_its_callers, 1, &holders),
		karc_unit_test_config(task_that_holds_it_is_named_with_its_callers, 4, &holders),
		karc_unit_test_config(root_that_only_a_record_knows_is_a_holder, 1, &holders),
		karc_unit_test_config(root_is_shown_once_and_the_task_beside_it, 1, &holders),
		karc_unit_test_config(stale_record_of_a_task_is_left_out, 1, &holders),
		karc_unit_test(log_gets_it_line_by_line),
		karc_unit_test(text_is_cut_to_its_buffer),
		karc_unit_test(without_memory_it_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
