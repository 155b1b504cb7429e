/* SPDX-License-Identifier: MIT */
/*
 * Goal: a device is a named, counted object in the tree that tells its maker when it is gone.
 * Method: devices inside a structure of the test's, whose release writes it down.
 */
#include "../support/fixture.h"

#include <string.h>

#include <karc/base/err.h>
#include <karc/kobject/device.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/kmalloc.h>

struct card {
	struct device dev;
	int *released;
};

static void card_release(struct device *dev)
{
	struct card *card = container_of(dev, struct card, dev);

	++*card->released;
	kfree(card);
}

static struct card *card_new(int *released)
{
	struct card *card = kzalloc(sizeof(*card), GFP_KERNEL);

	card->released = released;
	card->dev.release = card_release;
	return card;
}

static void a_device_lives_as_long_as_somebody_refers_to_it(void **state)
{
	int released = 0;
	struct card *card = card_new(&released);

	(void)state;
	card->dev.init_name = "card0";
	assert_string_equal(dev_name(&card->dev), "card0");
	assert_int_equal(device_register(&card->dev), 0);
	assert_string_equal(dev_name(&card->dev), "card0");
	assert_true(card->dev.kobj.state_in_sysfs);
	assert_int_equal(dev_to_node(&card->dev), NUMA_NO_NODE);
	dev_set_drvdata(&card->dev, &released);
	assert_ptr_equal(dev_get_drvdata(&card->dev), &released);
	assert_ptr_equal(get_device(&card->dev), &card->dev);
	device_unregister(&card->dev);
	assert_int_equal(released, 0);
	assert_false(card->dev.kobj.state_in_sysfs);
	put_device(&card->dev);
	assert_int_equal(released, 1);
	put_device(NULL);
	assert_null(get_device(NULL));
}

static void a_child_holds_its_parent(void **state)
{
	int released = 0;
	struct device *bus = root_device_register("bus");
	struct card *card = card_new(&released);
	char *path;

	(void)state;
	assert_false(IS_ERR(bus));
	card->dev.parent = bus;
	device_initialize(&card->dev);
	assert_int_equal(dev_set_name(&card->dev, "slot/%d", 3), 0);
	assert_int_equal(device_add(&card->dev), 0);
	path = kobject_get_path(&card->dev.kobj, GFP_KERNEL);
	assert_string_equal(path, "/devices/bus/slot!3");
	kfree(path);
	root_device_unregister(bus);
	assert_int_equal(released, 0);
	device_unregister(&card->dev);
	assert_int_equal(released, 1);
}

static void mistakes_are_told(void **state)
{
	int released = 0;
	struct card *card = card_new(&released), *mute = kzalloc(sizeof(*mute), GFP_KERNEL);
	struct device *a = root_device_register("same");

	(void)state;
	assert_int_equal(device_register(&card->dev), -EINVAL);	/* no name */
	assert_int_equal(device_add(NULL), -EINVAL);
	put_device(&card->dev);
	assert_int_equal(released, 1);
	assert_int_equal(PTR_ERR(root_device_register("same")), -EEXIST);
	root_device_unregister(a);
	device_initialize(&mute->dev);
	put_device(&mute->dev);
	expect_warn("does not have a release() function");
	kfree(mute);
}

static struct device *nth_dev;

static long nth_register(void *arg)
{
	(void)arg;
	nth_dev = root_device_register("nth");
	return IS_ERR(nth_dev) ? PTR_ERR(nth_dev) : 0;
}

static void nth_unregister(void *arg)
{
	(void)arg;
	root_device_unregister(nth_dev);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
}

static void registering_fails_cleanly(void **state)
{
	(void)state;
	root_device_unregister(root_device_register("first"));	/* "devices" is there now */
	assert_true(fixture_fail_nth(.body = nth_register, .undo = nth_unregister,
				     .snapshot = nth_snapshot) >= 3);
}

static void forgets_a_device(void)
{
	assert_false(IS_ERR(root_device_register("forgotten")));
}

static void a_forgotten_device_is_named_by_site(void **state)
{
	struct fixture_verdict v = fixture_run(1, forgets_a_device);

	(void)state;
	assert_true(v.red);
	assert_non_null(strstr(v.reason, "forgets_a_device"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_device_lives_as_long_as_somebody_refers_to_it),
		KARC_TESTS(a_child_holds_its_parent),
		karc_unit_test(mistakes_are_told),
		karc_unit_test(registering_fails_cleanly),
		cmocka_unit_test(a_forgotten_device_is_named_by_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
