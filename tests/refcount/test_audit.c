/* SPDX-License-Identifier: MIT */
/*
 * Goal: the audit explains every count, and names what it cannot explain.
 * Method: small graphs with known edges; then a count is bent, a holder forgotten, a cycle made,
 * and the report must say exactly that.
 */
#include "fixture.h"

#include <stdio.h>

#include <karc/refcount/arc.h>
#include <karc/refcount/audit.h>

#include "refcount/internal.h"
#include "refcount_test.h"

struct folder {
	struct arc arc;
	struct folder *owner;
	struct folder *pages[4];
	struct folder *seen;		/* weak */
	struct list_head children, sibling;
	struct folder *hidden;		/* shown by the visitor */
	int value;
};

static struct arc *take_hidden(void *obj)
{
	struct folder *f = obj, *child = f->hidden;

	f->hidden = NULL;
	return child ? &child->arc : NULL;
}

static void visit_hidden(void *obj, void (*see)(void *arg, struct arc *child), void *arg)
{
	struct folder *f = obj;

	if (f->hidden)
		see(arg, &f->hidden->arc);
}

static void folder_free(void *obj)
{
	hostmem_free(NULL, obj);
}

static void folder_check(const void *obj, struct check_report *report)
{
	const struct folder *f = obj;

	if (f->value < 0)
		check_fail(report, "F1: folder has value %d", f->value);
}

static const struct arc_field folder_fields[] = {
	ARC_OWNED(folder, owner, folder),
	ARC_ARRAY(folder, pages, folder, 4),
	ARC_WEAK(folder, seen, folder),
	ARC_LIST(folder, children, folder, sibling),
	ARC_VISITOR("hidden", take_hidden, visit_hidden),
	ARC_FIELDS_END
};

static const struct arc_type folder_type = {
	.name = "folder", .size = sizeof(struct folder),
	.ops = { .free = folder_free, .check = folder_check }, .fields = folder_fields,
};

static struct folder *folder_new(void)
{
	struct folder *f = must_alloc(sizeof(*f));

	assert_int_equal(arc_type_register(&folder_type), 0);
	INIT_LIST_HEAD(&f->children);
	INIT_LIST_HEAD(&f->sibling);
	arc_init(&f->arc, &folder_type);
	return f;
}

/* A root held from outside that owns one folder through each kind of field. */
static struct folder *make_tree(void)
{
	struct folder *root = folder_new(), *child;

	audit_hold(&root->arc);
	root->owner = folder_new();
	root->pages[2] = folder_new();
	child = folder_new();
	list_add(&child->sibling, &root->children);
	root->hidden = folder_new();
	root->seen = child;
	arc_downgrade(&child->arc);
	return root;
}

static long count_violations(struct check_report *report)
{
	*report = (struct check_report){ .quiet = true };
	return audit_counts(this_machine(), report);
}

static void edges_and_holders_explain_every_count(void **state)
{
	struct folder *root = make_tree();
	struct check_report report;

	(void)state;
	assert_int_equal(audit_nr_tracked(this_machine()), 5);
	assert_int_equal(count_violations(&report), 0);
	assert_int_equal(audit_cycles(this_machine(), NULL, NULL), 0);
	audit_release(&root->arc);
	arc_put(&root->arc);
	assert_int_equal(audit_nr_tracked(this_machine()), 0);
}

static void reference_nobody_explains_is_named(void **state)
{
	struct folder *root = make_tree();
	struct check_report report;

	(void)state;
	arc_get(&root->pages[2]->arc);
	assert_int_equal(count_violations(&report), 1);
	assert_non_null(strstr(report.last, "more references than edges and holders"));
	assert_non_null(strstr(report.last, "folder from"));
	assert_non_null(strstr(report.last, "count 2, 1 in-edges, 0 holders"));
	assert_int_equal(machine_check(this_machine()), 0);	/* a local may hold it */
	arc_put(&root->pages[2]->arc);
	audit_release(&root->arc);
	assert_int_equal(count_violations(&report), 1);
	arc_put(&root->arc);
}

static void missing_reference_is_a_violation(void **state)
{
	struct folder *root = make_tree();
	struct check_report report = { .quiet = true };
	struct track *t = refcount_state(this_machine())->track;

	(void)state;
	root->pages[0] = root->owner;		/* an edge without a reference */
	assert_int_equal(count_violations(&report), 1);
	assert_non_null(strstr(report.last, "fewer references"));
	report = (struct check_report){ .quiet = true };
	track_check(t, &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "I2"));
	root->pages[0] = NULL;
	root->value = -5;
	report = (struct check_report){ .quiet = true };
	track_check(t, &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "F1: folder has value -5"));
	root->value = 0;
	audit_release(&root->arc);
	arc_put(&root->arc);
}

static char cycle_text[4][256];
static int nr_cycles;

static void keep_cycle(void *arg, const char *text)
{
	(void)arg;
	if (nr_cycles < 4)
		snprintf(cycle_text[nr_cycles], sizeof(cycle_text[0]), "%s", text);
	nr_cycles++;
}

static void cycle_is_reported_edge_by_edge(void **state)
{
	struct folder *a = folder_new(), *b = folder_new(), *c = folder_new();

	(void)state;
	nr_cycles = 0;
	a->owner = b;			/* a's creation references move into the fields */
	b->pages[3] = c;
	c->hidden = a;
	assert_int_equal(audit_cycles(this_machine(), keep_cycle, NULL), 1);
	assert_int_equal(nr_cycles, 1);
	assert_string_equal(cycle_text[0],
			    "folder.owner -> folder.pages[3] -> folder.hidden[0] -> folder");
	assert_int_equal(audit_cycles(this_machine(), keep_cycle, NULL), 1);	/* repeatable */
	c->hidden = NULL;
	assert_int_equal(audit_cycles(this_machine(), NULL, NULL), 0);
	arc_put(&a->arc);
}

static void self_cycle_and_second_cycle_are_both_reported(void **state)
{
	struct folder *a = folder_new(), *b = folder_new();

	(void)state;
	nr_cycles = 0;
	arc_get(&a->arc);
	a->owner = a;
	arc_get(&b->arc);
	a->pages[0] = b;
	arc_get(&a->arc);
	list_add(&a->sibling, &b->children);
	assert_int_equal(audit_cycles(this_machine(), keep_cycle, NULL), 2);
	assert_string_equal(cycle_text[0], "folder.owner -> folder");
	assert_string_equal(cycle_text[1], "folder.pages[0] -> folder.children[0] -> folder");
	a->owner = NULL;
	arc_put(&a->arc);
	list_del_init(&a->sibling);
	arc_put(&a->arc);
	arc_put(&a->arc);
	arc_put(&b->arc);
}

/* After a report the walk goes on where it was: an edge behind the cycle is still seen. */
static void cycle_behind_a_reported_cycle_is_found(void **state)
{
	struct folder *a = folder_new(), *b = folder_new(), *c = folder_new();

	(void)state;
	nr_cycles = 0;
	a->owner = b;
	b->owner = c;
	c->owner = a;			/* a's creation reference */
	arc_get(&b->arc);
	b->hidden = b;
	arc_get(&a->arc);
	a->hidden = a;
	assert_int_equal(audit_cycles(this_machine(), keep_cycle, NULL), 3);
	assert_string_equal(cycle_text[0],
			    "folder.owner -> folder.owner -> folder.owner -> folder");
	assert_string_equal(cycle_text[1], "folder.hidden[0] -> folder");
	assert_string_equal(cycle_text[2], "folder.hidden[0] -> folder");
	a->hidden = NULL;
	arc_put(&a->arc);
	b->hidden = NULL;
	arc_put(&b->arc);
	c->owner = NULL;
	arc_put(&a->arc);
}

static void weak_back_reference_is_no_cycle(void **state)
{
	struct folder *parent = folder_new(), *child = folder_new();

	(void)state;
	parent->owner = child;
	arc_downgrade(&parent->arc);
	child->seen = parent;
	assert_int_equal(audit_cycles(this_machine(), NULL, NULL), 0);
	arc_put(&parent->arc);
	assert_int_equal(audit_nr_tracked(this_machine()), 0);
}

static void long_chain_needs_no_stack(void **state)
{
	struct folder *head = folder_new(), *f;
	int i;

	(void)state;
	for (i = 0; i < 20000; i++) {
		f = folder_new();
		f->owner = head;
		head = f;
	}
	assert_int_equal(audit_cycles(this_machine(), NULL, NULL), 0);
	arc_put(&head->arc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(edges_and_holders_explain_every_count),
		karc_unit_test(reference_nobody_explains_is_named),
		karc_unit_test(missing_reference_is_a_violation),
		karc_unit_test(cycle_is_reported_edge_by_edge),
		karc_unit_test(self_cycle_and_second_cycle_are_both_reported),
		karc_unit_test(cycle_behind_a_reported_cycle_is_found),
		karc_unit_test(weak_back_reference_is_no_cycle),
		karc_unit_test(long_chain_needs_no_stack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
