/* SPDX-License-Identifier: MIT */
/*
 * Goal: the audit explains every count, and names what it cannot explain.
 * Method: small graphs with known edges; then a count is bent, a holder forgotten, a cycle made,
 * and the report must say exactly that.
 */
#include "fixture.h"

#include <karc/hw/inject.h>
#include <karc/refcount/local.h>

#include "graph_test.h"
#include "refcount/internal.h"

/* A root held from outside that owns one folder through each kind of field. */
static struct folder *make_tree(void)
{
	struct folder *root = folder_new(), *child;

	audit_hold(&root->arc);
	root->owner = folder_new();
	root->pages[2] = folder_new();
	child = folder_new();
	list_add(&child->sibling, &root->children);
	root->hidden[1] = folder_new();
	root->seen = child;
	arc_downgrade(&child->arc);
	child = folder_new();
	rb_link_node(&child->branch, NULL, &root->tree.rb_node);
	rb_insert_color(&child->branch, &root->tree);
	return root;
}

static long count_violations(struct check_report *report)
{
	*report = (struct check_report){ .quiet = true };
	return audit_counts(this_machine(), report);
}

/* The report of one disagreement, behind the part that has the place in the source. */
static void expect_audit(const char *what, const char *numbers)
{
	struct check_report report;

	assert_int_equal(count_violations(&report), 1);
	assert_int_equal(strncmp(report.last, what, strlen(what)), 0);
	assert_string_equal(strstr(report.last, ": count") ? strstr(report.last, ": count") :
			    strstr(report.last, ": weak count") ?
			    strstr(report.last, ": weak count") :
			    strstr(report.last, ": users"), numbers);
}

static void edges_and_holders_explain_every_count(void **state)
{
	struct folder *root = make_tree();
	struct check_report report;

	(void)state;
	assert_int_equal(audit_nr_tracked(this_machine()), 6);
	assert_int_equal(count_violations(&report), 0);
	assert_int_equal(audit_cycles(this_machine(), NULL, NULL), 0);
	assert_int_equal(audit_mark(this_machine(), 0, NULL, NULL), 0);
	audit_release(&root->arc);
	folder_put(root);
	assert_int_equal(audit_nr_tracked(this_machine()), 0);
}

static void reference_nobody_explains_is_named(void **state)
{
	struct folder *root = make_tree();
	struct check_report report;

	(void)state;
	arc_get(&root->pages[2]->arc);
	expect_audit("audit: more references than edges and holders: folder from tests/refcount/"
		     "test_audit.c:", ": count 2, 1 in-edges, 0 holders");
	assert_int_equal(machine_check(this_machine()), 0);	/* a local may hold it */
	arc_put(&root->pages[2]->arc);
	audit_release(&root->arc);
	expect_audit("audit: more references than edges and holders: folder",
		     ": count 1, 0 in-edges, 0 holders");
	folder_put(root);
	assert_int_equal(count_violations(&report), 0);
}

static void missing_reference_is_a_violation(void **state)
{
	struct folder *root = make_tree();
	struct check_report report = { .quiet = true };
	struct track *t = refcount_state(this_machine())->track;

	(void)state;
	root->pages[0] = root->owner;		/* an edge without a reference */
	expect_audit("audit: fewer references than edges and holders: folder",
		     ": count 1, 2 in-edges, 0 holders");
	track_check(t, &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "I2: arc: folder from"));
	assert_non_null(strstr(report.last, "count 1, 2 in-edges, 0 holders"));
	root->pages[0] = NULL;
	root->value = -5;
	report = (struct check_report){ .quiet = true };
	track_check(t, &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "F1: folder has value -5"));
	root->value = 0;
	audit_release(&root->arc);
	folder_put(root);
}

static void weak_counts_are_compared_too(void **state)
{
	struct folder *root = make_tree();
	struct check_report report;

	(void)state;
	arc_downgrade(&root->owner->arc);
	expect_audit("audit: more weak references than edges and holders: folder",
		     ": weak count 1, 0 in-edges, 0 holders");
	audit_hold_weak(&root->owner->arc);
	assert_int_equal(count_violations(&report), 0);
	audit_release_weak(&root->owner->arc);
	arc_weak_put(&root->owner->arc);
	root->pages[2]->seen = root->owner;	/* an edge without a reference */
	expect_audit("audit: fewer weak references than edges and holders: folder",
		     ": weak count 0, 1 in-edges, 0 holders");
	root->pages[2]->seen = NULL;
	audit_release(&root->arc);
	folder_put(root);
}

/* A dead object that weak references keep: its weak count is compared, its strong one must be 0. */
static void dead_object_is_explained_by_its_weak_references(void **state)
{
	struct folder *root = make_tree(), *dead = folder_new();
	struct check_report report;

	(void)state;
	arc_downgrade(&dead->arc);
	root->owner->seen = dead;
	folder_put(dead);
	assert_int_equal(audit_nr_tracked(this_machine()), 7);
	assert_int_equal(count_violations(&report), 0);
	assert_int_equal(audit_mark(this_machine(), 0, NULL, NULL), 0);
	audit_release(&root->arc);
	folder_put(root);
	assert_int_equal(audit_nr_tracked(this_machine()), 0);
}

static void last_user(void *obj)
{
	(void)obj;
}

static const struct arc_type shared_type = {
	.name = "shared", .size = sizeof(struct folder), .users = offsetof(struct folder, users),
	.ops = { .free = folder_free, .on_last_user = last_user }, .fields = folder_fields,
};

static void users_are_compared_and_share_one_reference(void **state)
{
	struct folder *s = folder_new_of(&shared_type, SITE()), *owner = folder_new();
	struct check_report report;

	(void)state;
	audit_hold(&owner->arc);
	arc_users_init(&s->arc);		/* the creation reference is the users' */
	audit_hold_user(&s->arc);
	assert_int_equal(count_violations(&report), 0);
	arc_users_get(&s->arc);
	expect_audit("audit: more users than edges and holders: shared",
		     ": users 2, 0 in-edges, 1 holders");
	owner->lent = s;
	assert_int_equal(count_violations(&report), 0);
	arc_get(&s->arc);
	expect_audit("audit: more references than edges and holders: shared",
		     ": count 2, 1 in-edges, 0 holders");
	arc_put(&s->arc);
	owner->lent = NULL;
	audit_release(&owner->arc);
	folder_put(owner);
	arc_users_put(&s->arc);
	audit_release_user(&s->arc);
	arc_users_put(&s->arc);
	assert_int_equal(audit_nr_tracked(this_machine()), 0);
}

static void field_that_points_at_nothing_is_named(void **state)
{
	struct folder *root = make_tree(), *gone = must_alloc(sizeof(*gone));
	struct check_report report;

	(void)state;
	root->pages[3] = gone;			/* no arc of this machine */
	assert_int_equal(count_violations(&report), 1);
	assert_non_null(strstr(report.last, "audit: folder.pages[3] of the one from tests/"));
	assert_non_null(strstr(report.last, " points at nothing that lives"));
	root->pages[3] = NULL;
	hostmem_free(NULL, gone);
	audit_release(&root->arc);
	folder_put(root);
}

/* ---- counts kept CPU by CPU ---- */

static const struct arc_type percpu_type = {
	.name = "percpu", .size = sizeof(struct folder), .flags = ARC_PERCPU,
	.ops = { .free = folder_free }, .fields = folder_fields,
};

static const struct arc_type biased_type = {
	.name = "biased", .size = sizeof(struct folder), .flags = ARC_BIASED,
	.ops = { .free = folder_free }, .fields = folder_fields,
};

static long get_here(void *arg)
{
	struct folder *f = arg;

	arc_get(&f->arc);
	return 0;
}

static void expect_local_counts(const struct arc_type *type, const char *what)
{
	struct folder *f = folder_new_of(type, SITE()), *owner = folder_new();
	struct check_report report;
	unsigned int i;

	audit_hold(&owner->arc);
	owner->owner = f;
	for (i = 0; i < 4; i++)
		join_clean(spawn_on(i, get_here, f));
	assert_int_equal(count_violations(&report), 1);
	assert_non_null(strstr(report.last, what));
	for (i = 0; i < 4; i++)
		audit_hold(&f->arc);
	assert_int_equal(count_violations(&report), 0);
	for (i = 0; i < 4; i++) {
		audit_release(&f->arc);
		arc_put(&f->arc);
	}
	assert_int_equal(count_violations(&report), 0);
	owner->owner = NULL;
	if (type->flags & ARC_PERCPU)
		arc_kill(&f->arc, NULL);
	else
		folder_put(f);
	audit_release(&owner->arc);
	folder_put(owner);
	machine_quiesce(this_machine());
	assert_int_equal(audit_nr_tracked(this_machine()), 0);
}

static void counts_kept_cpu_by_cpu_are_added_up(void **state)
{
	(void)state;
	expect_local_counts(&percpu_type, ": count 5, 1 in-edges, 0 holders");
	expect_local_counts(&biased_type, ": count 5, 1 in-edges, 0 holders");
}

static void saturated_count_explains_and_claims_nothing(void **state)
{
	struct folder *root = make_tree();
	struct check_report report;

	(void)state;
	WRITE_ONCE(root->owner->arc.kref.refcount.refs.counter, REFCOUNT_SATURATED);
	assert_int_equal(count_violations(&report), 0);
	assert_int_equal(machine_check(this_machine()), 0);
	WRITE_ONCE(root->owner->arc.kref.refcount.refs.counter, 1);
	audit_release(&root->arc);
	folder_put(root);
}

/* ---- cycles ---- */

static void cycle_is_reported_edge_by_edge(void **state)
{
	struct folder *a = folder_new(), *b = folder_new(), *c = folder_new();
	struct lines lines = { .nr = 0 };

	(void)state;
	a->owner = b;			/* a's creation reference moves into the field */
	b->pages[3] = c;
	c->hidden[1] = a;
	assert_int_equal(audit_cycles(this_machine(), keep_line, &lines), 1);
	assert_int_equal(lines.nr, 1);
	assert_string_equal(lines.text[0],
			    "folder.owner -> folder.pages[3] -> folder.hidden[1]");
	assert_int_equal(audit_cycles(this_machine(), keep_line, &lines), 1);	/* repeatable */
	assert_string_equal(lines.text[1], lines.text[0]);
	c->hidden[1] = NULL;
	assert_int_equal(audit_cycles(this_machine(), NULL, NULL), 0);
	folder_put(a);
}

/* Types of one struct whose fields bear other names. */
#define FIELD(label, member) \
	{ .kind = ARC_FIELD_OWNED, .name = label, .offset = offsetof(struct folder, member) }
#define ELEMENTS(label) \
	{ .kind = ARC_FIELD_ARRAY, .name = label, .offset = offsetof(struct folder, pages), \
	  .count = 4 }
#define TYPE(label, ...) \
	static const struct arc_field label##_fields[] = { __VA_ARGS__, ARC_FIELDS_END };	\
	static const struct arc_type label##_type = {						\
		.name = #label, .size = sizeof(struct folder), .ops = { .free = folder_free },	\
		.fields = label##_fields,							\
	}

TYPE(page, FIELD("vma_set", owner));
TYPE(vma, FIELD("shared_anon", owner));
TYPE(pages, ELEMENTS(""));
TYPE(mm, FIELD("exe_file", owner));
TYPE(file, ELEMENTS("owner"));
TYPE(task, FIELD("parent", owner));

/* One object of each type, each owning the next, the last the first through pages[@at]. */
static void expect_cycle(const struct arc_type *const *types, unsigned int nr, unsigned int at,
			 const char *line)
{
	struct folder *f[8], **closing;
	struct lines lines = { .nr = 0 };
	unsigned int i;

	for (i = 0; i < nr; i++)
		f[i] = folder_new_of(types[i], SITE());
	for (i = 0; i + 1 < nr; i++)
		f[i]->owner = f[i + 1];
	closing = at < 4 ? &f[nr - 1]->pages[at] : &f[nr - 1]->owner;
	*closing = f[0];
	assert_int_equal(audit_cycles(this_machine(), keep_line, &lines), 1);
	assert_string_equal(lines.text[0], line);
	*closing = NULL;
	folder_put(f[0]);
	assert_int_equal(audit_nr_tracked(this_machine()), 0);
}

static void cycles_through_several_types_name_each(void **state)
{
	static const struct arc_type *const self[] = { &task_type };
	static const struct arc_type *const two[] = { &mm_type, &file_type };
	static const struct arc_type *const three[] = { &page_type, &vma_type, &pages_type };
	static const struct arc_type *const five[] = { &task_type, &mm_type, &vma_type,
						       &page_type, &file_type };

	(void)state;
	expect_cycle(self, 1, 4, "task.parent");
	expect_cycle(two, 2, 2, "mm.exe_file -> file.owner[2]");
	expect_cycle(three, 3, 3, "page.vma_set -> vma.shared_anon -> pages[3]");
	expect_cycle(five, 5, 0, "task.parent -> mm.exe_file -> vma.shared_anon -> page.vma_set -> "
				 "file.owner[0]");
}

static void self_cycle_and_second_cycle_are_both_reported(void **state)
{
	struct folder *a = folder_new(), *b = folder_new();
	struct lines lines = { .nr = 0 };

	(void)state;
	arc_get(&a->arc);
	a->owner = a;
	arc_get(&b->arc);
	a->pages[0] = b;
	arc_get(&a->arc);
	b->hidden[0] = a;
	assert_int_equal(audit_cycles(this_machine(), keep_line, &lines), 2);
	assert_string_equal(lines.text[0], "folder.owner");
	assert_string_equal(lines.text[1], "folder.pages[0] -> folder.hidden[0]");
	folder_drop(&a->owner);
	folder_drop(&b->hidden[0]);
	folder_put(a);
	folder_put(b);
}

/* After a report the walk goes on where it was: an edge behind the cycle is still seen. */
static void cycle_behind_a_reported_cycle_is_found(void **state)
{
	struct folder *a = folder_new(), *b = folder_new(), *c = folder_new();
	struct lines lines = { .nr = 0 };

	(void)state;
	a->owner = b;
	b->owner = c;
	c->owner = a;			/* a's creation reference */
	arc_get(&b->arc);
	b->hidden[0] = b;
	arc_get(&a->arc);
	a->hidden[0] = a;
	assert_int_equal(audit_cycles(this_machine(), keep_line, &lines), 3);
	assert_string_equal(lines.text[0], "folder.hidden[0]");		/* the shortest: a's */
	assert_string_equal(lines.text[1], "folder.owner -> folder.owner -> folder.owner");
	assert_string_equal(lines.text[2], "folder.hidden[0]");		/* b's */
	folder_drop(&a->hidden[0]);
	folder_drop(&b->hidden[0]);
	folder_drop(&c->owner);
}

static void weak_back_reference_is_no_cycle(void **state)
{
	struct folder *parent = folder_new(), *child = folder_new();

	(void)state;
	parent->owner = child;
	arc_downgrade(&parent->arc);
	child->seen = parent;
	assert_int_equal(audit_cycles(this_machine(), NULL, NULL), 0);
	folder_put(parent);
	assert_int_equal(audit_nr_tracked(this_machine()), 0);
}

static void long_chain_needs_no_stack(void **state)
{
	struct folder *head = folder_new(), *tail = head, *f;
	struct lines lines = { .nr = 0 };
	int i;

	(void)state;
	for (i = 0; i < 5000; i++) {
		f = folder_new();
		f->owner = head;
		head = f;
	}
	assert_int_equal(audit_cycles(this_machine(), NULL, NULL), 0);
	arc_get(&head->arc);
	tail->pages[1] = head;
	assert_int_equal(audit_cycles(this_machine(), keep_line, &lines), 1);
	assert_non_null(strstr(lines.text[0], " -> (4989 more) -> "));
	folder_drop(&tail->pages[1]);
	folder_put(head);
}

/* ---- the mark ---- */

static void keep_verdict(void *arg, const struct arc_graph_node *n)
{
	char text[64];

	snprintf(text, sizeof(text), "%llu %s", (unsigned long long)n->id,
		 arc_verdict_name(n->verdict));
	keep_line(arg, text);
}

static void mark_tells_lost_from_cycle_from_what_hangs_on_them(void **state)
{
	struct folder *root = folder_new(), *lost = folder_new(), *a = folder_new();
	struct folder *b = folder_new();
	struct lines lines = { .nr = 0 };

	(void)state;
	audit_hold(&root->arc);
	root->owner = folder_new();		/* 5: reached */
	lost->owner = folder_new();		/* 6: behind 2 */
	a->owner = b;
	b->owner = a;
	b->pages[0] = folder_new();		/* 7: behind the cycle */
	assert_int_equal(audit_mark(this_machine(), 0, keep_verdict, &lines), 5);
	assert_string_equal(lines.text[0], "2 LOST");
	assert_string_equal(lines.text[1], "3 CYCLE");
	assert_string_equal(lines.text[2], "4 CYCLE");
	assert_string_equal(lines.text[3], "6 BEHIND");
	assert_string_equal(lines.text[4], "7 BEHIND");
	lines.nr = 0;				/* a task may hold 2: then only the cycle is sure */
	assert_int_equal(audit_mark(this_machine(), ARC_GRAPH_TRUST, keep_verdict, &lines), 3);
	assert_string_equal(lines.text[0], "3 CYCLE");
	assert_string_equal(lines.text[2], "7 BEHIND");
	audit_release(&root->arc);
	folder_put(root);
	folder_put(lost);
	folder_drop(&b->owner);
}

/* ---- holders ---- */

static void holders_are_withdrawn_by_name(void **state)
{
	struct folder *f = folder_new();
	struct check_report report;
	struct arc_graph *g;

	(void)state;
	arc_get(&f->arc);
	audit_hold_as(&f->arc, ARC_EDGE_STRONG, "table", SITE());
	audit_hold_as(&f->arc, ARC_EDGE_STRONG, "index", SITE());
	assert_int_equal(count_violations(&report), 0);
	audit_release_as(&f->arc, ARC_EDGE_STRONG, "table", SITE());
	expect_no_warn();
	audit_release_as(&f->arc, ARC_EDGE_STRONG, "nobody", SITE());
	expect_warn("arc: folder released by \"nobody\", which does not hold it");
	audit_release_weak(&f->arc);
	expect_warn("arc: folder released by \"?\", which does not hold it");
	g = arc_graph_take(this_machine(), 0);
	assert_int_equal(arc_graph_nr_holders(g), 1);
	assert_string_equal(arc_graph_holder(g, 0)->name, "index");
	assert_int_equal(arc_graph_node(g, 0)->nr_unknown, 1);
	arc_graph_free(g);
	audit_release(&f->arc);
	folder_put(f);
	folder_put(f);
}

static void holder_without_memory_counts_without_its_name(void **state)
{
	struct folder *f = folder_new();
	struct check_report report;
	struct arc_graph *g;
	int kind;

	(void)state;
	arc_downgrade(&f->arc);
	inject_arm(this_machine(), 1);
	audit_hold_as(&f->arc, ARC_EDGE_STRONG, "table", SITE());
	assert_true(inject_disarm(this_machine()));
	inject_arm(this_machine(), 1);
	audit_hold_weak(&f->arc);
	assert_true(inject_disarm(this_machine()));
	assert_int_equal(count_violations(&report), 0);
	g = arc_graph_take(this_machine(), 0);
	assert_int_equal(arc_graph_nr_holders(g), 2);
	for (kind = ARC_EDGE_STRONG; kind <= ARC_EDGE_WEAK; kind++) {
		assert_string_equal(arc_graph_holder(g, kind)->name, "");
		assert_int_equal(arc_graph_holder(g, kind)->nr, 1);
		assert_int_equal(arc_graph_holder(g, kind)->weak, kind == ARC_EDGE_WEAK);
	}
	arc_graph_free(g);
	audit_release(&f->arc);
	audit_release_weak(&f->arc);
	expect_no_warn();
	arc_weak_put(&f->arc);
	folder_put(f);
}

static void numbers_of_creation_are_never_used_twice(void **state)
{
	struct folder *a = folder_new(), *b = folder_new();
	u64 first = audit_id(&a->arc);

	(void)state;
	assert_int_equal(audit_id(&b->arc), first + 1);
	folder_put(b);
	b = folder_new();
	assert_int_equal(audit_id(&b->arc), first + 2);
	assert_int_equal(audit_id((struct arc *)&first), 0);
	folder_put(a);
	folder_put(b);
}

static long audit_all(void *arg)
{
	struct check_report report = { .quiet = true };
	long nr = audit_counts(this_machine(), &report);

	(void)arg;
	if (nr >= 0)
		nr = audit_cycles(this_machine(), keep_line, &(struct lines){ .nr = 0 });
	if (nr >= 0)
		nr = audit_mark(this_machine(), 0, NULL, NULL);
	return nr < 0 ? nr : 0;
}

static void hostmem_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	values[0] = machine_hostmem(this_machine())->nr_blocks;
	values[1] = machine_hostmem(this_machine())->bytes;
}

static void audit_without_memory_says_so_and_keeps_nothing(void **state)
{
	struct folder *root = make_tree();

	(void)state;
	arc_get(&root->arc);
	root->owner->owner = root;
	assert_true(fixture_fail_nth(.body = audit_all, .snapshot = hostmem_snapshot) > 20);
	folder_drop(&root->owner->owner);
	audit_release(&root->arc);
	folder_put(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(edges_and_holders_explain_every_count),
		karc_unit_test(reference_nobody_explains_is_named),
		karc_unit_test(missing_reference_is_a_violation),
		karc_unit_test(weak_counts_are_compared_too),
		karc_unit_test(dead_object_is_explained_by_its_weak_references),
		karc_unit_test(users_are_compared_and_share_one_reference),
		karc_unit_test(field_that_points_at_nothing_is_named),
		KARC_TESTS(counts_kept_cpu_by_cpu_are_added_up),
		karc_unit_test(saturated_count_explains_and_claims_nothing),
		KARC_TESTS(cycle_is_reported_edge_by_edge),
		karc_unit_test(cycles_through_several_types_name_each),
		karc_unit_test(self_cycle_and_second_cycle_are_both_reported),
		karc_unit_test(cycle_behind_a_reported_cycle_is_found),
		karc_unit_test(weak_back_reference_is_no_cycle),
		karc_unit_test(long_chain_needs_no_stack),
		KARC_TESTS(mark_tells_lost_from_cycle_from_what_hangs_on_them),
		karc_unit_test(holders_are_withdrawn_by_name),
		karc_unit_test(holder_without_memory_counts_without_its_name),
		karc_unit_test(numbers_of_creation_are_never_used_twice),
		karc_unit_test(audit_without_memory_says_so_and_keeps_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
