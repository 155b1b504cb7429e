/* SPDX-License-Identifier: MIT */
/*
 * Goal: a machine comes up with all its frames free and goes down with a verdict that names what
 * was forgotten.
 * Method: whole fixture runs whose bodies leak on purpose.
 */
#include "fixture.h"

#include <string.h>

#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/phys.h>

#define X(name) extern const struct room name;
KARC_TEST_ROOMS
#undef X

static void does_nothing(void)
{
}

static void leaks_a_frame(void)
{
	assert_non_null(alloc_page(GFP_KERNEL));
}

static void leaks_a_compound_page(void)
{
	assert_non_null(alloc_pages(GFP_KERNEL | __GFP_COMP, 4));
}

static void leaks_a_reference(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	get_page(page);
	__free_page(page);
}

static void leaks_half_of_a_split_block(void)
{
	struct page *page = alloc_pages(GFP_KERNEL, 1);

	split_page(page, 1);
	__free_page(page);
}

static void idle_machine_is_clean(void **state)
{
	(void)state;
	assert_false(fixture_run(1, does_nothing).red);
	assert_false(fixture_run(4, does_nothing).red);
}

static void assert_names(void (*body)(void), unsigned long nr_left, const char *kind,
			 const char *site)
{
	struct fixture_verdict v = fixture_run(4, body);

	assert_true(v.red);
	assert_int_equal(v.nr_left, nr_left);
	assert_int_equal(v.nr_failures, 0);
	assert_non_null(strstr(v.reason, kind));
	assert_non_null(strstr(v.reason, site));
	assert_non_null(strstr(v.reason, "test_phys.c"));
}

static void forgotten_frames_are_named_by_kind_and_site(void **state)
{
	(void)state;
	assert_names(leaks_a_frame, 1, "1 page, 4096 bytes", "leaks_a_frame");
	assert_names(leaks_a_compound_page, 1, "1 compound page, 65536 bytes",
		     "leaks_a_compound_page");
	assert_names(leaks_a_reference, 1, "1 page, 4096 bytes", "leaks_a_reference");
	assert_names(leaks_half_of_a_split_block, 1, "1 page, 4096 bytes",
		     "leaks_half_of_a_split_block");
}

static void forgotten_frames_are_counted_without_tracking_too(void **state)
{
	static const struct room *const rooms[] = {
#define X(name) &name,
		KARC_TEST_ROOMS
#undef X
	};
	struct machine_config config = { .quiet = true };
	struct machine *m = machine_boot_rooms(&config, rooms, ARRAY_SIZE(rooms));
	struct page *page;

	(void)state;
	machine_enter(m);
	page = alloc_page(GFP_KERNEL);
	assert_null(page_site(page));
	machine_leave();
	assert_int_equal(machine_shutdown(m), 1);
}

static void quiesce_drains_the_lists(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	__free_page(page);
	assert_true(phys_stats(this_machine()).nr_pcp > 0);
	while (phys_room.drain(this_machine()))
		;
	assert_int_equal(phys_stats(this_machine()).nr_pcp, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_machine_is_clean),
		cmocka_unit_test(forgotten_frames_are_named_by_kind_and_site),
		cmocka_unit_test(forgotten_frames_are_counted_without_tracking_too),
		KARC_TESTS(quiesce_drains_the_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
