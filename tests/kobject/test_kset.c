/* SPDX-License-Identifier: MIT */
/*
 * test_kset.c - members hold their set, the set finds its members, and neither outlives its turn
 *
 * Method: membership and counts step by step; lookups that race the death of what they look for,
 * on all CPUs, under a seeded schedule that switches at every safe point.
 */
#include "things.h"
#include <karc/hw/fiber.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/refcount/ledger.h>

static void members_join_and_leave_the_list(void **state)
{
	struct thing_log log = { 0 };
	struct kset *set = kset_create_and_add("set", NULL, NULL);
	struct thing *a = thing_add(&log, "a", NULL, set), *b = thing_add(&log, "b", NULL, set);

	(void)state;
	assert_ptr_equal(a->kobj.parent, &set->kobj);	/* for want of another */
	assert_int_equal(kref_read(&set->kobj.kref), 5);	/* ours; two of each member */
	assert_ptr_equal(list_first_entry(&set->list, struct kobject, entry), &a->kobj);
	kobject_del(&a->kobj);
	assert_ptr_equal(list_first_entry(&set->list, struct kobject, entry), &b->kobj);
	assert_int_equal(kref_read(&set->kobj.kref), 3);
	thing_put(b);
	assert_true(list_empty(&set->list));
	assert_int_equal(kref_read(&set->kobj.kref), 1);
	thing_put(a);
	kset_unregister(set);
}

static void member_below_another_parent_holds_both(void **state)
{
	struct thing_log log = { 0 };
	struct kset *set = kset_create_and_add("set", NULL, NULL);
	struct thing *parent = thing_add(&log, "parent", NULL, NULL);
	struct thing *child = thing_add(&log, "child", &parent->kobj, set);

	(void)state;
	assert_int_equal(thing_count(parent), 2);
	assert_int_equal(kref_read(&set->kobj.kref), 2);
	thing_put(parent);
	kset_unregister(set);
	thing_put(child);
	assert_string_equal(log.text, "child parent ");
	assert_int_equal(ledger_live_kind(fixture_machine(), "kobject"), 0);
}

static void set_unregistered_first_dies_with_its_last_member(void **state)
{
	struct thing_log log = { 0 };
	struct kset *set = kset_create_and_add("set", NULL, NULL);
	struct thing *a = thing_add(&log, "a", NULL, set), *b = thing_add(&log, "b", NULL, set);
	struct kobject *found;

	(void)state;
	kset_unregister(set);
	assert_int_equal(kref_read(&set->kobj.kref), 4);
	found = kset_find_obj(set, "b");		/* still a set of two */
	assert_ptr_equal(found, &b->kobj);
	kobject_put(found);
	thing_put(a);
	assert_int_equal(ledger_live_kind(fixture_machine(), "kobject"), 2);
	thing_put(b);
	assert_int_equal(ledger_live_kind(fixture_machine(), "kobject"), 0);
	assert_string_equal(log.text, "a b ");
	set = kset_create_and_add("set", NULL, NULL);	/* the name is free again */
	assert_non_null(set);
	kset_unregister(set);
	kset_unregister(NULL);
}

static void find_gives_a_reference_or_nothing(void **state)
{
	struct thing_log log = { 0 };
	struct kset *set = kset_create_and_add("set", NULL, NULL);
	struct thing *a = thing_add(&log, "a", NULL, set);
	struct kobject *found = kset_find_obj(set, "a");

	(void)state;
	assert_ptr_equal(found, &a->kobj);
	assert_int_equal(thing_count(a), 2);
	kobject_put(found);
	assert_null(kset_find_obj(set, "b"));
	assert_int_equal(kobject_rename(&a->kobj, "b"), 0);
	found = kset_find_obj(set, "b");
	assert_ptr_equal(found, &a->kobj);
	kobject_put(found);
	kobject_del(&a->kobj);
	assert_null(kset_find_obj(set, "b"));
	thing_put(a);
	kset_unregister(set);
}

static void refused_member_is_in_no_set_and_may_try_again(void **state)
{
	struct thing_log log = { 0 };
	struct kset *set = kset_create_and_add("set", NULL, NULL);
	struct thing *a = thing_add(&log, "a", NULL, set), *again = thing_new(&log);

	(void)state;
	again->kobj.kset = set;
	assert_int_equal(kobject_add(&again->kobj, NULL, "a"), -EEXIST);
	assert_int_equal(kref_read(&set->kobj.kref), 3);
	assert_ptr_equal(list_first_entry(&set->list, struct kobject, entry), &a->kobj);
	assert_ptr_equal(list_last_entry(&set->list, struct kobject, entry), &a->kobj);
	assert_int_equal(kobject_add(&again->kobj, NULL, "again"), 0);
	assert_ptr_equal(list_last_entry(&set->list, struct kobject, entry), &again->kobj);
	thing_put(again);
	thing_put(a);
	kset_unregister(set);
}

struct embedded {
	struct kset set;
	bool *released;
};

static void embedded_release(struct kobject *kobj)
{
	struct embedded *e = container_of(to_kset(kobj), struct embedded, set);

	*e->released = true;
	kfree(e);
}

static const struct kobj_type embedded_type = { .release = embedded_release };

static void a_set_of_ones_own_memory_registers(void **state)
{
	struct embedded *e = kzalloc(sizeof(*e), GFP_KERNEL);
	bool released = false;

	(void)state;
	assert_int_equal(kset_register(NULL), -EINVAL);
	assert_int_equal(kset_register(&e->set), -EINVAL);
	assert_true(fixture_log_contains("must have a ktype to be initialized properly!"));
	e->released = &released;
	e->set.kobj.ktype = &embedded_type;
	kset_init(&e->set);
	assert_int_equal(kref_read(&e->set.kobj.kref), 1);
	assert_int_equal(kset_register(&e->set), -EINVAL);	/* no name */
	expect_warn("empty name");
	assert_int_equal(kobject_set_name(&e->set.kobj, "own"), 0);
	assert_int_equal(kset_register(&e->set), 0);
	assert_ptr_equal(kset_get(&e->set), &e->set);
	kset_put(&e->set);
	kset_unregister(&e->set);
	assert_true(released);
	assert_null(kset_get(NULL));
	kset_put(NULL);
	assert_null(to_kset(NULL));
}

struct nth {
	struct kset *set;
};

static long nth_create(void *arg)
{
	struct nth *n = arg;

	n->set = kset_create_and_add("set", NULL, NULL);
	return n->set ? 0 : -ENOMEM;
}

static void nth_undo(void *arg)
{
	kset_unregister(((struct nth *)arg)->set);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(fixture_machine());
	values[0] = phys_nr_free(fixture_machine());
	values[1] = ledger_live_total(fixture_machine());
}

static void failed_set_leaves_no_trace(void **state)
{
	struct kset *set;
	struct nth n;

	(void)state;
	assert_true(fixture_fail_nth(.body = nth_create, .undo = nth_undo,
				     .snapshot = nth_snapshot, .arg = &n) >= 3);
	set = kset_create_and_add("set", NULL, NULL);
	assert_null(kset_create_and_add("set", NULL, NULL));
	kset_unregister(set);
}

/* ---- lookups that race deaths ---- */

struct race {
	struct thing_log log;
	struct kset *set;
	unsigned int nr_found, nr_made;
	bool over;
};

static long find_often(void *arg)
{
	struct race *r = arg;
	struct kobject *found;
	long err = 0;

	while (!READ_ONCE(r->over)) {
		found = kset_find_obj(r->set, "short-lived");
		if (found) {
			__atomic_fetch_add(&r->nr_found, 1, __ATOMIC_RELAXED);
			if (strcmp(kobject_name(found), "short-lived"))
				err = -EINVAL;
			fiber_yield();
			kobject_put(found);
		}
		fiber_yield();
	}
	return err;
}

static long make_and_put_often(void *arg)
{
	struct race *r = arg;
	int i, err = 0;

	for (i = 0; (i < 300 || !READ_ONCE(r->nr_found)) && (!err || err == -EEXIST); i++) {
		struct thing *thing = kzalloc(sizeof(*thing), GFP_KERNEL);

		thing->log = &r->log;
		thing->kobj.kset = r->set;
		err = kobject_init_and_add(&thing->kobj, &thing_type, NULL, "short-lived");
		r->nr_made++;
		fiber_yield();
		if (i % 3 == 0)
			kobject_del(&thing->kobj);
		kobject_put(&thing->kobj);
	}
	WRITE_ONCE(r->over, true);
	return err == -EEXIST ? 0 : err;
}

static void find_meets_a_live_member_or_none(void **state)
{
	unsigned int nr = 2 * machine_nr_cpus(fixture_machine()), i;
	struct race race = { .set = kset_create_and_add("set", NULL, NULL) };
	struct machine_result r;
	struct fiber *fibers[2 * MACHINE_MAX_CPUS];

	(void)state;
	for (i = 0; i < nr; i++) {
		fibers[i] = fiber_spawn(i / 2, i ? "finder" : "maker",
					i ? find_often : make_and_put_often, &race);
		assert_non_null(fibers[i]);
	}
	for (i = 0; i < nr; i++) {
		fiber_join(fibers[i], &r);
		assert_int_equal(r.end, MACHINE_VALUE);
		assert_int_equal(r.value, 0);
	}
	machine_quiesce(fixture_machine());
	assert_int_equal(race.log.nr, race.nr_made);
	assert_true(race.nr_found > 0);
	assert_true(list_empty(&race.set->list));
	kset_unregister(race.set);
}

/* The member is between "count is zero" and "off the list" for as long as its callback runs. */
struct dying {
	struct arc_dtor dtor;
	struct kset *set;
	bool seen;
};

static void look_for_the_dying(void *obj, void *arg)
{
	struct dying *d = arg;

	(void)obj;
	d->seen = !list_empty(&d->set->list);
	assert_null(kset_find_obj(d->set, "dying"));
}

static void a_dying_member_is_not_found(void **state)
{
	struct thing_log log = { 0 };
	struct dying d = { .set = kset_create_and_add("set", NULL, NULL) };
	struct thing *thing = thing_add(&log, "dying", NULL, d.set);

	(void)state;
	arc_on_drop(&thing->kobj.arc, &d.dtor, look_for_the_dying, &d);
	thing_put(thing);
	assert_true(d.seen);
	assert_int_equal(log.nr, 1);
	kset_unregister(d.set);
}

static long rename_often(void *arg)
{
	struct race *r = arg;
	struct kobject *found;
	int i, err = 0;

	for (i = 0; i < 200 && !err; i++) {
		found = kset_find_obj(r->set, i % 2 ? "second" : "first");
		if (!found)
			return -ENOENT;
		err = kobject_rename(found, i % 2 ? "first" : "second");
		kobject_put(found);
	}
	WRITE_ONCE(r->over, true);
	return err;
}

static long look_while_renamed(void *arg)
{
	struct race *r = arg;
	struct kobject *found;
	long err = 0;
	char *path;

	while (!READ_ONCE(r->over)) {
		found = kset_find_obj(r->set, "second");
		path = found ? kobject_get_path(found, GFP_KERNEL) : NULL;
		if (path && strcmp(path, "/set/first") && strcmp(path, "/set/second"))
			err = -EINVAL;
		kfree(path);
		kobject_put(found);
		fiber_yield();
	}
	return err;
}

static void lookups_survive_renames(void **state)
{
	unsigned int nr = machine_nr_cpus(fixture_machine()) + 1, i;
	struct race race = { .set = kset_create_and_add("set", NULL, NULL) };
	struct thing *thing = thing_add(&race.log, "first", NULL, race.set);
	struct machine_result r;
	struct fiber *fibers[5];

	(void)state;
	for (i = 0; i < nr; i++) {
		fibers[i] = fiber_spawn(i % machine_nr_cpus(fixture_machine()), "x",
					i ? look_while_renamed : rename_often, &race);
		assert_non_null(fibers[i]);
	}
	for (i = 0; i < nr; i++) {
		fiber_join(fibers[i], &r);
		assert_int_equal(r.end, MACHINE_VALUE);
		assert_int_equal(r.value, 0);
	}
	thing_put(thing);
	kset_unregister(race.set);
}

static const struct machine_config restless = { .switch_every = 1 };

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(members_join_and_leave_the_list),
		KARC_TESTS(member_below_another_parent_holds_both),
		KARC_TESTS(set_unregistered_first_dies_with_its_last_member),
		KARC_TESTS(find_gives_a_reference_or_nothing),
		KARC_TESTS(refused_member_is_in_no_set_and_may_try_again),
		KARC_TESTS(a_set_of_ones_own_memory_registers),
		KARC_TESTS(failed_set_leaves_no_trace),
		KARC_TESTS(a_dying_member_is_not_found),
		karc_unit_test_config(find_meets_a_live_member_or_none, 1, &restless),
		karc_unit_test_config(find_meets_a_live_member_or_none, 4, &restless),
		karc_unit_test_config(lookups_survive_renames, 1, &restless),
		karc_unit_test_config(lookups_survive_renames, 4, &restless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
