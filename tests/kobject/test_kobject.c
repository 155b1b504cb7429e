/* SPDX-License-Identifier: MIT */
/*
 * test_kobject.c - a kobject is released once, after its children, whatever its life was like
 *
 * Method: objects whose release writes down their names; counts before and after; the fixture's
 * shutdown asks what is left. Large trees are put away by one put on a fiber's small stack.
 */
#include "things.h"
#include <karc/base/compiler.h>
#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/reap.h>
#include <stdio.h>

#if KARC_VARIANT < KARC_VARIANT_ASAN
#define CHAIN_LENGTH	100000u
#else
#define CHAIN_LENGTH	10000u		/* the same on larger stacks, and slowly */
#endif
#define TREE_WIDTH	(CHAIN_LENGTH / 5)

/* ---- one object ---- */

static void init_gives_one_reference_and_put_releases_once(void **state)
{
	struct thing_log log = { 0 };
	struct thing *thing = thing_new(&log);

	(void)state;
	assert_int_equal(thing_count(thing), 1);
	assert_ptr_equal(get_ktype(&thing->kobj), &thing_type);
	assert_ptr_equal(kobject_get(&thing->kobj), &thing->kobj);
	assert_int_equal(thing_count(thing), 2);
	thing_put(thing);
	assert_int_equal(log.nr, 0);
	thing_put(thing);
	assert_int_equal(log.nr, 1);
	assert_null(kobject_get(NULL));
	kobject_put(NULL);
	kobject_del(NULL);
}

static void named_but_never_added_is_released_with_its_name(void **state)
{
	struct thing_log log = { 0 };
	struct thing *thing = thing_new(&log);

	(void)state;
	assert_int_equal(kobject_set_name(&thing->kobj, "first"), 0);
	assert_int_equal(kobject_set_name(&thing->kobj, "number/%d", 7), 0);
	assert_string_equal(kobject_name(&thing->kobj), "number!7");
	thing_put(thing);
	assert_string_equal(log.text, "number!7 ");
}

static void add_puts_it_in_the_tree_and_del_takes_it_out(void **state)
{
	struct thing_log log = { 0 };
	struct thing *thing = thing_add(&log, "a", NULL, NULL);

	(void)state;
	assert_true(thing->kobj.state_in_sysfs);
	assert_non_null(thing->kobj.sd);
	assert_int_equal(thing_count(thing), 1);
	kobject_del(&thing->kobj);
	assert_false(thing->kobj.state_in_sysfs);
	assert_null(thing->kobj.sd);
	assert_int_equal(log.nr, 0);
	kobject_del(&thing->kobj);			/* once more: nothing to do */
	assert_int_equal(kobject_add(&thing->kobj, NULL, "b"), 0);	/* back again */
	thing_put(thing);				/* the last put takes it out itself */
	assert_string_equal(log.text, "b ");
}

static void a_name_is_free_after_its_object_left(void **state)
{
	struct thing_log log = { 0 };
	struct thing *first = thing_add(&log, "same", NULL, NULL), *second;

	(void)state;
	kobject_del(&first->kobj);
	second = thing_add(&log, "same", NULL, NULL);
	thing_put(first);
	thing_put(second);
	second = thing_add(&log, "same", NULL, NULL);
	thing_put(second);
	assert_int_equal(log.nr, 3);
}

static void created_object_frees_itself(void **state)
{
	struct kobject *parent = kobject_create_and_add("parent", NULL);
	struct kobject *child = kobject_create_and_add("child", parent), *loose = kobject_create();

	(void)state;
	assert_non_null(loose);
	assert_null(kobject_create_and_add("child", parent));
	kobject_put(loose);
	kobject_put(parent);
	assert_ptr_equal(child->parent, parent);
	kobject_put(child);
	assert_int_equal(ledger_live_kind(fixture_machine(), "kobject"), 0);
}

static long init_without_type(void *arg)
{
	struct kobject *kobj = arg;

	kobject_init(kobj, NULL);
	return kobject_init_and_add(kobj, NULL, NULL, "x");
}

static void misuse_is_reported_and_changes_nothing(void **state)
{
	struct thing_log log = { 0 };
	struct thing *thing = thing_new(&log);
	struct kobject blank = { 0 };

	(void)state;
	kobject_get(&thing->kobj);
	kobject_init(&thing->kobj, &thing_type);
	assert_true(fixture_log_contains("tried to init an initialized object"));
	assert_int_equal(thing_count(thing), 2);
	kobject_init(NULL, &thing_type);
	assert_true(fixture_log_contains("invalid kobject pointer!"));
	assert_int_equal(init_without_type(&blank), -EINVAL);
	assert_true(fixture_log_contains("must have a ktype to be initialized properly!"));
	assert_int_equal(kobject_add(&blank, NULL, "x"), -EINVAL);
	assert_true(fixture_log_contains("tried to add an uninitialized object"));
	assert_int_equal(kobject_add(NULL, NULL, "x"), -EINVAL);
	expect_no_warn();
	kobject_put(&blank);
	expect_warn("is not initialized, yet kobject_put() is being called");
	assert_ptr_equal(kobject_get(&blank), &blank);
	expect_warn("is not initialized, yet kobject_get() is being called");
	assert_int_equal(kref_read(&blank.kref), 0);
	thing_put(thing);
	thing_put(thing);
	assert_int_equal(log.nr, 1);
}

static const struct kobj_type broken_type = { .release = NULL };

static void missing_release_is_reported(void **state)
{
	struct kobject kobj = { 0 };

	(void)state;
	kobject_init(&kobj, &broken_type);
	assert_int_equal(kobject_add(&kobj, NULL, "broken"), 0);
	kobject_put(&kobj);
	assert_true(fixture_log_contains("'broken'"));
	assert_true(fixture_log_contains("does not have a release() function"));
}

/* ---- parents ---- */

static void parent_lives_until_its_last_child_is_released(void **state)
{
	struct thing_log log = { 0 };
	struct thing *parent = thing_add(&log, "parent", NULL, NULL);
	struct thing *a = thing_add(&log, "a", &parent->kobj, NULL);
	struct thing *b = thing_add(&log, "b", &parent->kobj, NULL);

	(void)state;
	assert_int_equal(thing_count(parent), 3);
	thing_put(parent);
	thing_put(a);
	assert_string_equal(log.text, "a ");
	assert_int_equal(thing_count(parent), 1);
	assert_true(parent->kobj.state_in_sysfs);
	thing_put(b);
	assert_string_equal(log.text, "a b parent ");
}

static void del_gives_the_parent_up_before_the_release(void **state)
{
	struct thing_log log = { 0 };
	struct thing *parent = thing_add(&log, "parent", NULL, NULL);
	struct thing *child = thing_add(&log, "child", &parent->kobj, NULL);

	(void)state;
	thing_put(parent);
	kobject_del(&child->kobj);
	assert_null(child->kobj.parent);
	assert_string_equal(log.text, "parent ");
	thing_put(child);
	assert_string_equal(log.text, "parent child ");
}

static void release_order_is_child_before_parent_all_the_way_up(void **state)
{
	struct thing_log log = { 0 };
	struct thing *node = NULL, *below;
	char name[2] = "a";

	(void)state;
	for (; name[0] <= 'f'; name[0]++) {
		below = thing_add(&log, name, node ? &node->kobj : NULL, NULL);
		if (node)
			thing_put(node);
		node = below;
	}
	assert_int_equal(log.nr, 0);
	thing_put(node);
	assert_string_equal(log.text, "f e d c b a ");
}

static void parent_may_be_removed_before_its_children(void **state)
{
	struct thing_log log = { 0 };
	struct thing *parent = thing_add(&log, "parent", NULL, NULL);
	struct thing *child = thing_add(&log, "child", &parent->kobj, NULL), *late;

	(void)state;
	kobject_del(&parent->kobj);
	late = thing_new(&log);
	assert_int_equal(kobject_add(&late->kobj, &parent->kobj, "late"), -ENOENT);
	thing_put(late);
	thing_put(parent);
	assert_string_equal(log.text, "late ");
	thing_put(child);
	assert_string_equal(log.text, "late child parent ");
}

/* ---- failed adds ---- */

static void refused_add_takes_no_references(void **state)
{
	struct thing_log log = { 0 };
	struct thing *parent = thing_add(&log, "parent", NULL, NULL);
	struct thing *first = thing_add(&log, "same", &parent->kobj, NULL);
	struct thing *second = thing_new(&log);

	(void)state;
	assert_int_equal(kobject_add(&second->kobj, &parent->kobj, "same"), -EEXIST);
	assert_true(fixture_log_contains("failed for same with -EEXIST"));
	assert_int_equal(thing_count(parent), 2);
	assert_null(second->kobj.parent);
	assert_int_equal(kobject_add(&second->kobj, &parent->kobj, "%s", ""), -EINVAL);
	expect_warn("attempted to be registered with empty name!");
	assert_int_equal(thing_count(parent), 2);
	assert_int_equal(kobject_add(&second->kobj, &parent->kobj, "other"), 0);
	thing_put(first);
	thing_put(second);
	thing_put(parent);
	assert_string_equal(log.text, "same other parent ");
}

static const struct attribute_group *no_groups[] = { NULL };

static void a_type_with_groups_is_not_built_yet(void **state)
{
	struct kobj_type type = { .release = thing_release, .default_groups = no_groups };
	struct thing_log log = { 0 };
	struct thing *thing = kzalloc(sizeof(*thing), GFP_KERNEL);

	(void)state;
	thing->log = &log;
	assert_int_equal(kobject_init_and_add(&thing->kobj, &type, NULL, "x"), -ENOSYS);
	thing_put(thing);
	assert_int_equal(log.nr, 1);
}

struct nth {
	struct thing_log log;
	struct thing *parent;
	struct kset *kset;
	struct kobject *kobj;
};

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct nth *n = arg;

	machine_quiesce(fixture_machine());
	values[0] = phys_nr_free(fixture_machine());
	values[1] = ledger_live_total(fixture_machine());
	values[2] = thing_count(n->parent);
	values[3] = kref_read(&n->kset->kobj.kref);
	values[4] = list_empty(&n->kset->list);
}

static long nth_add(void *arg)
{
	struct nth *n = arg;
	struct thing *thing = kzalloc(sizeof(*thing), GFP_KERNEL);
	int err;

	if (!thing)
		return -ENOMEM;
	thing->log = &n->log;
	thing->kobj.kset = n->kset;
	n->kobj = &thing->kobj;
	err = kobject_init_and_add(n->kobj, &thing_type, &n->parent->kobj, "new%d", 1);
	if (err)
		kobject_put(n->kobj);
	return err;
}

static long nth_create(void *arg)
{
	struct nth *n = arg;

	n->kobj = kobject_create_and_add("created", &n->parent->kobj);
	return n->kobj ? 0 : -ENOMEM;
}

static void nth_put(void *arg)
{
	kobject_put(((struct nth *)arg)->kobj);
}

static void add_without_memory_leaves_no_trace(void **state)
{
	struct nth n = { .kset = kset_create_and_add("set", NULL, NULL) };

	(void)state;
	n.parent = thing_add(&n.log, "parent", NULL, NULL);
	/* the object, its name, its directory */
	assert_true(fixture_fail_nth(.body = nth_add, .undo = nth_put, .snapshot = nth_snapshot,
				     .arg = &n) >= 3);
	assert_true(fixture_fail_nth(.body = nth_create, .undo = nth_put,
				     .snapshot = nth_snapshot, .arg = &n) >= 3);
	thing_put(n.parent);
	kset_unregister(n.kset);
}

/* ---- names ---- */

static long nth_rename(void *arg)
{
	struct nth *n = arg;

	return kobject_rename(n->kobj, "renamed");
}

static void rename_moves_the_name_and_nothing_else(void **state)
{
	struct thing_log log = { 0 };
	struct thing *parent = thing_add(&log, "parent", NULL, NULL);
	struct thing *a = thing_add(&log, "a", &parent->kobj, NULL);
	struct thing *b = thing_add(&log, "b", &parent->kobj, NULL);
	struct nth n = { .kobj = &a->kobj };

	(void)state;
	assert_int_equal(kobject_rename(&a->kobj, "b"), -EEXIST);
	assert_int_equal(kobject_rename(&a->kobj, ""), -EINVAL);
	assert_int_equal(kobject_rename(&parent->kobj, "x"), -EINVAL);	/* has no parent */
	assert_int_equal(kobject_rename(NULL, "x"), -EINVAL);
	assert_string_equal(kobject_name(&a->kobj), "a");
	assert_int_equal(kobject_rename(&a->kobj, "a"), 0);
	assert_int_equal(kobject_rename(&a->kobj, "z"), 0);
	assert_int_equal(kobject_rename(&b->kobj, "a"), 0);
	assert_int_equal(kobject_rename(&b->kobj, "z"), -EEXIST);
	assert_true(fixture_fail_nth(.body = nth_rename, .arg = &n) >= 1);
	kobject_del(&a->kobj);
	assert_int_equal(kobject_rename(&a->kobj, "y"), -EINVAL);
	thing_put(a);
	thing_put(b);
	thing_put(parent);
	assert_string_equal(log.text, "renamed a parent ");
}

static void path_names_every_ancestor(void **state)
{
	struct thing_log log = { 0 };
	struct thing *top = thing_add(&log, "devices", NULL, NULL);
	struct thing *middle = thing_add(&log, "pci0", &top->kobj, NULL);
	struct thing *leaf = thing_add(&log, "disk", &middle->kobj, NULL), *nameless;
	char *path = kobject_get_path(&leaf->kobj, GFP_KERNEL);

	(void)state;
	assert_string_equal(path, "/devices/pci0/disk");
	kfree(path);
	path = kobject_get_path(&top->kobj, GFP_KERNEL);
	assert_string_equal(path, "/devices");
	kfree(path);
	nameless = thing_new(&log);
	assert_null(kobject_get_path(&nameless->kobj, GFP_KERNEL));
	thing_put(nameless);
	thing_put(top);
	thing_put(middle);
	thing_put(leaf);
}

/* ---- destructor callbacks ---- */

struct order {
	char text[16];
};

static void note(void *obj, void *arg, char what)
{
	const struct kobject *kobj = obj;
	struct order *order = arg;
	size_t len = strlen(order->text);

	assert_non_null(kobj->name);		/* the object is whole while they run */
	assert_true(kobj->state_in_sysfs);
	order->text[len] = what;
}

static void note_first(void *obj, void *arg)
{
	note(obj, arg, '1');
}

static void note_second(void *obj, void *arg)
{
	note(obj, arg, '2');
}

static void callbacks_run_once_in_reverse_order_before_the_release(void **state)
{
	struct thing_log log = { 0 };
	struct thing *thing = thing_add(&log, "thing", NULL, NULL);
	struct arc_dtor first, second;
	struct order order = { "" };

	(void)state;
	arc_on_drop(&thing->kobj.arc, &first, note_first, &order);
	arc_on_drop(&thing->kobj.arc, &second, note_second, &order);
	kobject_get(&thing->kobj);
	thing_put(thing);
	assert_string_equal(order.text, "");
	thing_put(thing);
	assert_string_equal(order.text, "21");
	assert_string_equal(log.text, "thing ");
}

/* ---- contexts ---- */

static void last_put_in_atomic_context_waits_for_a_task(void **state)
{
	struct thing_log log = { 0 };
	struct thing *thing = thing_add(&log, "thing", NULL, NULL);

	(void)state;
	preempt_disable();
	thing_put(thing);
	assert_int_equal(log.nr, 0);
	preempt_enable();
	machine_quiesce(fixture_machine());
	assert_int_equal(log.nr, 1);
}

struct crowd {
	struct thing_log log;
	struct thing *shared;
};

static long get_and_put_often(void *arg)
{
	struct crowd *c = arg;
	int i;

	for (i = 0; i < 200; i++) {
		kobject_get(&c->shared->kobj);
		fiber_yield();
		kobject_put(&c->shared->kobj);
	}
	kobject_put(&c->shared->kobj);
	return 0;
}

static void last_holder_on_any_cpu_releases(void **state)
{
	unsigned int nr = 2 * machine_nr_cpus(fixture_machine()), i;
	struct crowd c = { .shared = NULL };
	struct fiber *fibers[2 * MACHINE_MAX_CPUS];

	(void)state;
	c.shared = thing_add(&c.log, "shared", NULL, NULL);
	for (i = 0; i < nr; i++) {
		kobject_get(&c.shared->kobj);
		fibers[i] = fiber_spawn(i / 2, "holder", get_and_put_often, &c);
		assert_non_null(fibers[i]);
	}
	kobject_put(&c.shared->kobj);
	for (i = 0; i < nr; i++)
		fiber_join(fibers[i], NULL);
	assert_int_equal(c.log.nr, 1);
}

static long add_and_put_often(void *arg)
{
	struct crowd *c = arg;
	int i, err;

	for (i = 0; i < 100; i++) {
		struct thing *thing = kzalloc(sizeof(*thing), GFP_KERNEL);

		thing->log = &c->log;
		err = kobject_init_and_add(&thing->kobj, &thing_type, &c->shared->kobj, "n%d",
					   i % 3);
		if (err && err != -EEXIST)
			return err;
		fiber_yield();
		kobject_put(&thing->kobj);
	}
	return 0;
}

static void adds_of_one_name_race_and_one_wins(void **state)
{
	unsigned int nr = machine_nr_cpus(fixture_machine()), i;
	struct crowd c = { .shared = NULL };
	struct machine_result r;
	struct fiber *fibers[MACHINE_MAX_CPUS];

	(void)state;
	c.shared = thing_add(&c.log, "shared", NULL, NULL);
	for (i = 0; i < nr; i++) {
		fibers[i] = fiber_spawn(i, "adder", add_and_put_often, &c);
		assert_non_null(fibers[i]);
	}
	for (i = 0; i < nr; i++) {
		fiber_join(fibers[i], &r);
		assert_int_equal(r.value, 0);
	}
	machine_quiesce(fixture_machine());
	assert_int_equal(c.log.nr, 100 * nr);
	assert_int_equal(thing_count(c.shared), 1);
	thing_put(c.shared);
}

/* ---- large trees ---- */

static unsigned long stack_bytes_left(void)
{
	return (unsigned long)((char *)__builtin_frame_address(0) - fiber_self()->stack);
}

struct depth {
	unsigned long nr, least_stack;
};

static struct depth *depth_seen;	/* of the test that runs; releases have no argument */

static void deep_release(struct kobject *kobj)
{
	unsigned long left = stack_bytes_left();

	depth_seen->nr++;
	if (left < depth_seen->least_stack)
		depth_seen->least_stack = left;
	kfree(kobj);
}

static const struct kobj_type deep_type = { .release = deep_release };

static struct kobject *deep_add(struct kobject *parent, unsigned int i)
{
	struct kobject *kobj = kzalloc(sizeof(*kobj), GFP_KERNEL);

	assert_non_null(kobj);
	assert_int_equal(kobject_init_and_add(kobj, &deep_type, parent, "%x", i), 0);
	return kobj;
}

/* A chain whose every inner object only its child holds goes away by one put of the leaf. */
static void chain_is_put_away_in_one_go_on_a_small_stack(void **state)
{
	struct depth depth = { .least_stack = ~0UL };
	struct kobject *leaf = NULL, *below;
	unsigned long at_start = stack_bytes_left();
	unsigned int i;

	(void)state;
	depth_seen = &depth;
	for (i = 0; i < CHAIN_LENGTH; i++) {
		below = deep_add(leaf, i);
		kobject_put(leaf);
		leaf = below;
	}
	assert_int_equal(ledger_live_kind(fixture_machine(), "kobject"), CHAIN_LENGTH);
	kobject_put(leaf);
	assert_int_equal(depth.nr, CHAIN_LENGTH);
	assert_in_range(at_start - depth.least_stack, 0, FIBER_STACK_BYTES / 8);
	assert_int_equal(ledger_live_kind(fixture_machine(), "kobject"), 0);
}

static void wide_tree_is_put_away_child_by_child(void **state)
{
	struct kobject **leaves = kcalloc(TREE_WIDTH, sizeof(*leaves), GFP_KERNEL);
	struct depth depth = { .least_stack = ~0UL };
	struct kobject *root;
	unsigned int i;

	(void)state;
	depth_seen = &depth;
	root = deep_add(NULL, 0);
	for (i = 0; i < TREE_WIDTH; i++)
		leaves[i] = deep_add(root, i);
	assert_int_equal(kref_read(&root->kref), TREE_WIDTH + 1);
	kobject_put(root);
	for (i = 0; i < TREE_WIDTH; i++)
		kobject_put(leaves[(i * 7919UL) % TREE_WIDTH]);
	assert_int_equal(depth.nr, TREE_WIDTH + 1);
	kfree(leaves);
}

/* ---- leaks ---- */

static struct kobject *left_behind;

enum { LEAK_LINE = __LINE__ + 4 };

static void body_forgets_a_put(void)
{
	left_behind = kobject_create_and_add("forgotten", NULL);
}

static void forgotten_put_turns_the_fixture_red_and_names_the_site(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_forgets_a_put);
	char site[64];

	(void)state;
	snprintf(site, sizeof(site), "test_kobject.c:%d body_forgets_a_put", LEAK_LINE);
	assert_true(v.red);
	assert_true(v.nr_left > 0);
	assert_non_null(strstr(v.reason, "1 kobject"));
	assert_non_null(strstr(v.reason, site));
}

#if KARC_VARIANT < KARC_VARIANT_ASAN	/* ASan ends the process at the use after free */
static void body_puts_too_often(void)
{
	struct kobject *child;

	left_behind = kobject_create_and_add("twice", NULL);
	child = kobject_create_and_add("child", left_behind);
	kobject_put(left_behind);
	kobject_put(left_behind);	/* the child's reference */
	kobject_put(child);
}

static void one_put_too_many_turns_the_fixture_red(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_puts_too_often);

	(void)state;
	assert_true(v.red);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(init_gives_one_reference_and_put_releases_once),
		KARC_TESTS(named_but_never_added_is_released_with_its_name),
		KARC_TESTS(add_puts_it_in_the_tree_and_del_takes_it_out),
		KARC_TESTS(a_name_is_free_after_its_object_left),
		KARC_TESTS(created_object_frees_itself),
		KARC_TESTS(misuse_is_reported_and_changes_nothing),
		KARC_TESTS(missing_release_is_reported),
		KARC_TESTS(parent_lives_until_its_last_child_is_released),
		KARC_TESTS(del_gives_the_parent_up_before_the_release),
		KARC_TESTS(release_order_is_child_before_parent_all_the_way_up),
		KARC_TESTS(parent_may_be_removed_before_its_children),
		KARC_TESTS(refused_add_takes_no_references),
		KARC_TESTS(a_type_with_groups_is_not_built_yet),
		KARC_TESTS(add_without_memory_leaves_no_trace),
		KARC_TESTS(rename_moves_the_name_and_nothing_else),
		KARC_TESTS(path_names_every_ancestor),
		KARC_TESTS(callbacks_run_once_in_reverse_order_before_the_release),
		KARC_TESTS(last_put_in_atomic_context_waits_for_a_task),
		KARC_TESTS(last_holder_on_any_cpu_releases),
		KARC_TESTS(adds_of_one_name_race_and_one_wins),
		KARC_TESTS(chain_is_put_away_in_one_go_on_a_small_stack),
		KARC_TESTS(wide_tree_is_put_away_child_by_child),
		cmocka_unit_test(forgotten_put_turns_the_fixture_red_and_names_the_site),
#if KARC_VARIANT < KARC_VARIANT_ASAN
		cmocka_unit_test(one_put_too_many_turns_the_fixture_red),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
