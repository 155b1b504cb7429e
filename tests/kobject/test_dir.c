/* SPDX-License-Identifier: MIT */
/*
 * test_dir.c - names are unique among siblings, and the check finds a damaged tree
 *
 * Method: random adds, removals and renames against a table of names, seed printed; corruptions of
 * each invariant, which the room's check must report.
 */
#include "things.h"
#include <karc/base/rand.h>
#include <stdio.h>
#include "kobject/internal.h"

#define NR_SLOTS	24
#define NR_NAMES	16
#define NR_STEPS	4000

static unsigned long violations(const char *text)
{
	struct check_report report = { .quiet = true };

	kobject_room.check(fixture_machine(), &report);
	if (report.nr_violations && text)
		assert_non_null(strstr(report.last, text));
	return report.nr_violations;
}

static void sound_tree_has_no_findings(void **state)
{
	struct thing_log log = { 0 };
	struct thing *top = thing_add(&log, "top", NULL, NULL);
	struct thing *a = thing_add(&log, "a", &top->kobj, NULL);
	struct thing *b = thing_add(&log, "b", &a->kobj, NULL);

	(void)state;
	assert_int_equal(violations(NULL), 0);
	kobject_del(&a->kobj);		/* b's directory lingers */
	assert_int_equal(violations(NULL), 0);
	thing_put(a);
	thing_put(b);
	thing_put(top);
	assert_int_equal(violations(NULL), 0);
	assert_int_equal(kobject_state()->nr_dirs, 0);
}

static void same_name_below_different_parents_is_fine(void **state)
{
	struct thing_log log = { 0 };
	struct thing *a = thing_add(&log, "x", NULL, NULL);
	struct thing *b = thing_add(&log, "x", &a->kobj, NULL);
	struct thing *c = thing_add(&log, "x", &b->kobj, NULL);

	(void)state;
	assert_int_equal(kobject_state()->nr_dirs, 3);
	thing_put(a);
	thing_put(b);
	thing_put(c);
	assert_int_equal(log.nr, 3);
}

static void corrupted_trees_are_found(void **state)
{
	struct thing_log log = { 0 };
	struct thing *a = thing_add(&log, "a", NULL, NULL), *b = thing_add(&log, "b", NULL, NULL);
	struct kernfs_node *sd = a->kobj.sd;
	char *name = (char *)a->kobj.name;

	(void)state;
	a->kobj.sd = NULL;
	assert_int_equal(violations("I1"), 1);
	a->kobj.sd = sd;
	a->kobj.state_in_sysfs = 0;
	assert_int_equal(violations("I1"), 1);
	a->kobj.state_in_sysfs = 1;
	name[0] = 'c';
	assert_int_equal(violations("I2"), 1);
	name[0] = 'b';
	assert_int_equal(violations("I2"), 1);
	name[0] = 'a';
	kobject_state()->nr_dirs--;
	assert_true(violations("I3") > 0);
	kobject_state()->nr_dirs++;
	assert_int_equal(violations(NULL), 0);
	thing_put(a);
	thing_put(b);
}

/* ---- random steps against a table ---- */

struct slot {
	struct thing *thing;		/* NULL: free */
	int parent;			/* slot, or -1: the root */
	int name;
	bool in_tree;
};

struct model {
	struct slot slot[NR_SLOTS];
	struct thing_log log;
	struct rnd rnd;
};

static bool name_taken(const struct model *m, int parent, int name)
{
	int i;

	for (i = 0; i < NR_SLOTS; i++)
		if (m->slot[i].thing && m->slot[i].in_tree && m->slot[i].parent == parent &&
		    m->slot[i].name == name)
			return true;
	return false;
}

static void step_add(struct model *m, int i)
{
	struct slot *s = &m->slot[i];
	int parent = (int)rnd_below(&m->rnd, NR_SLOTS + 1) - 1;
	struct kobject *above = NULL;
	int want = 0, err;

	if (parent == i || (parent >= 0 && !m->slot[parent].thing))
		parent = -1;
	s->name = (int)rnd_below(&m->rnd, NR_NAMES);
	if (parent >= 0) {
		above = &m->slot[parent].thing->kobj;
		want = m->slot[parent].in_tree ? 0 : -ENOENT;
	}
	if (!want && name_taken(m, parent, s->name))
		want = -EEXIST;
	s->thing = thing_new(&m->log);
	err = kobject_add(&s->thing->kobj, above, "n%d", s->name);
	assert_int_equal(err, want);
	s->parent = parent;
	s->in_tree = !err;
	if (err) {
		thing_put(s->thing);
		s->thing = NULL;
	}
}

/* Who gives up a slot forgets it; an object kept alive by children stays in the tree unnamed. */
static bool has_child(const struct model *m, int i)
{
	int j;

	for (j = 0; j < NR_SLOTS; j++)
		if (m->slot[j].thing && m->slot[j].parent == i)
			return true;
	return false;
}

static void step_change(struct model *m, int i)
{
	struct slot *s = &m->slot[i];
	char text[8];
	int name, want;

	switch (rnd_below(&m->rnd, 3)) {
	case 0:
		if (has_child(m, i))
			break;
		thing_put(s->thing);
		s->thing = NULL;
		break;
	case 1:
		kobject_del(&s->thing->kobj);
		s->in_tree = false;
		break;
	default:
		name = (int)rnd_below(&m->rnd, NR_NAMES);
		snprintf(text, sizeof(text), "n%d", name);
		want = !s->in_tree || s->parent < 0 ? -EINVAL :
		       name != s->name && name_taken(m, s->parent, name) ? -EEXIST : 0;
		assert_int_equal(kobject_rename(&s->thing->kobj, text), want);
		if (!want)
			s->name = name;
	}
}

/* A removed parent is no longer anybody's: its children keep their directories, unreachable. */
static void step(struct model *m)
{
	int i = (int)rnd_below(&m->rnd, NR_SLOTS);

	if (m->slot[i].thing)
		step_change(m, i);
	else
		step_add(m, i);
}

static void random_steps_agree_with_a_table(void **state)
{
	u64 seed = machine_random(fixture_machine());
	struct model *m = kzalloc(sizeof(*m), GFP_KERNEL);
	int i, left;

	(void)state;
	print_message("seed 0x%llx\n", (unsigned long long)seed);
	rnd_seed(&m->rnd, seed);
	for (i = 0; i < NR_STEPS; i++) {
		step(m);
		if (i % 64 == 0)
			assert_int_equal(violations(NULL), 0);
	}
	do {
		for (i = 0, left = 0; i < NR_SLOTS; i++) {
			if (!m->slot[i].thing)
				continue;
			left++;
			if (!has_child(m, i)) {
				thing_put(m->slot[i].thing);
				m->slot[i].thing = NULL;
			}
		}
	} while (left);
	assert_int_equal(kobject_state()->nr_dirs, 0);
	kfree(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(sound_tree_has_no_findings),
		KARC_TESTS(same_name_below_different_parents_is_fine),
		KARC_TESTS(corrupted_trees_are_found),
		KARC_TESTS(random_steps_agree_with_a_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
