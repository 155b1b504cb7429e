/* SPDX-License-Identifier: MIT */
/*
 * Goal: boot options are read as Linux reads its command line, outlive the caller's text, and
 * those that make no sense are named and change nothing. Method: machines booted with a line.
 */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/hw/param.h>

static const char *value(const char *name)
{
	return boot_param(this_machine(), name);
}

static const struct machine_config some = {
	.cmdline = "init_on_alloc=1 slab_debug=FZP,kmalloc-64\tnoaliencache  quote=\"a b\" "
		   "\"whole=c d\" empty= =x a=1 a=2 un-der_score=y eq=b=c -- init=1 late",
};

static void words_have_names_and_values(void **state)
{
	(void)state;
	assert_string_equal(value("init_on_alloc"), "1");
	assert_string_equal(value("slab_debug"), "FZP,kmalloc-64");
	assert_string_equal(value("noaliencache"), "");
	assert_string_equal(value("quote"), "a b");
	assert_string_equal(value("whole"), "c d");
	assert_string_equal(value("empty"), "");
	assert_string_equal(value("eq"), "b=c");
	assert_null(value("init_on"));
	assert_null(value("x"));
	assert_null(value(""));
}

static void the_last_of_a_name_wins(void **state)
{
	(void)state;
	assert_string_equal(value("a"), "2");
}

static void dashes_are_underscores_in_names(void **state)
{
	(void)state;
	assert_string_equal(value("un_der-score"), "y");
	assert_string_equal(value("slab-debug"), "FZP,kmalloc-64");
}

static void what_follows_two_dashes_is_not_the_machines(void **state)
{
	(void)state;
	assert_null(value("init"));
	assert_null(value("late"));
	assert_null(value("--"));
}

static void what_nobody_asked_for_is_named(void **state)
{
	(void)state;
	assert_true(fixture_log_contains("Unknown kernel command line parameter \"whole\""));
	assert_false(fixture_log_contains("parameter \"late\""));
}

static void no_line_no_options(void **state)
{
	unsigned long number = 7;

	(void)state;
	assert_null(value("init_on_alloc"));
	assert_true(boot_param_bool(this_machine(), "b", true));
	assert_false(boot_param_bool(this_machine(), "b", false));
	assert_int_equal(boot_param_ulong(this_machine(), "n", &number), -ENOENT);
	assert_int_equal(number, 7);
}

static const struct machine_config switches = {
	.cmdline = "a b=1 c=y d=on e=0 f=n g=off h=2 i=yess j=",
};

static void switches_are_words_or_digits(void **state)
{
	static const char *const on[] = { "a", "b", "c", "d", "j" };
	static const char *const off[] = { "e", "f", "g" };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(on); i++)
		assert_true(boot_param_bool(this_machine(), on[i], false));
	for (unsigned int i = 0; i < ARRAY_SIZE(off); i++)
		assert_false(boot_param_bool(this_machine(), off[i], true));
}

static void a_bad_switch_is_named_and_changes_nothing(void **state)
{
	(void)state;
	assert_true(boot_param_bool(this_machine(), "h", true));
	assert_false(boot_param_bool(this_machine(), "h", false));
	assert_true(fixture_log_contains("boot option h: '2' is not 0 or 1; ignored"));
	assert_true(boot_param_bool(this_machine(), "i", true));
	assert_true(fixture_log_contains("boot option i: 'yess' is not 0 or 1"));
}

static const struct machine_config numbers = {
	.cmdline = "a=0 b=12 c=0x1f d=4K e=2m f=1G g=-1 h=12x i=4KK j k=99999999999999999999 "
		   "l=17179869184G m=0x",
};

static void numbers_may_have_a_letter(void **state)
{
	static const struct {
		const char *name;
		unsigned long value;
	} want[] = {
		{ "a", 0 }, { "b", 12 }, { "c", 31 }, { "d", 4096 }, { "e", 2UL << 20 },
		{ "f", 1UL << 30 },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(want); i++) {
		unsigned long got = 77;

		assert_int_equal(boot_param_ulong(this_machine(), want[i].name, &got), 0);
		assert_int_equal(got, want[i].value);
	}
}

static void bad_numbers_are_named_and_change_nothing(void **state)
{
	static const char *const bad[] = { "g", "h", "i", "j", "m" };
	static const char *const large[] = { "k", "l" };
	unsigned long got = 77;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(boot_param_ulong(this_machine(), bad[i], &got), -EINVAL);
	for (unsigned int i = 0; i < ARRAY_SIZE(large); i++)
		assert_int_equal(boot_param_ulong(this_machine(), large[i], &got), -ERANGE);
	assert_int_equal(got, 77);
	assert_true(fixture_log_contains("boot option h: '12x' is not a number; ignored"));
	assert_true(fixture_log_contains("boot option k: '99999999999999999999' is not a number of "
					 "64 bits"));
}

static void the_line_is_copied(void **state)
{
	static const struct room *const rooms[] = { &hw_room };
	char line[] = "one=1 two";
	struct machine_config config = { .cmdline = line, .quiet = true };
	struct machine *m = machine_boot_rooms(&config, rooms, 1);

	(void)state;
	assert_false(IS_ERR(m));
	memset(line, 'x', sizeof(line) - 1);
	assert_string_equal(boot_param(m, "one"), "1");
	assert_string_equal(boot_param(m, "two"), "");
	assert_string_equal(machine_config(m)->cmdline, "one=1 two");
	assert_int_equal(machine_shutdown(m), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(words_have_names_and_values, 1, &some),
		karc_unit_test_config(the_last_of_a_name_wins, 1, &some),
		karc_unit_test_config(dashes_are_underscores_in_names, 1, &some),
		karc_unit_test_config(what_follows_two_dashes_is_not_the_machines, 1, &some),
		karc_unit_test_config(what_nobody_asked_for_is_named, 1, &some),
		KARC_TESTS(no_line_no_options),
		karc_unit_test_config(switches_are_words_or_digits, 1, &switches),
		karc_unit_test_config(a_bad_switch_is_named_and_changes_nothing, 1, &switches),
		karc_unit_test_config(numbers_may_have_a_letter, 1, &numbers),
		karc_unit_test_config(bad_numbers_are_named_and_change_nothing, 1, &numbers),
		cmocka_unit_test(the_line_is_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
