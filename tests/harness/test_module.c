/* SPDX-License-Identifier: MIT */
/*
 * Goal: sources with module_init() and module_param() link side by side into one program, and each
 * can be found, set up, loaded and unloaded by its name.
 * Method: two modules in this file, told apart by KBUILD_MODNAME, that write down what is called.
 */
#undef KBUILD_MODNAME
#define KBUILD_MODNAME "first_one"
#include <karc/base/err.h>
#include <karc/harness/module.h>
#include <string.h>
#include "../support/fixture.h"

static struct {
	char order[16];
	int fails;
} seen;

static void see(char what)
{
	size_t len = strlen(seen.order);

	seen.order[len] = what;
}

static bool loud;
static int count = 7;
static unsigned char byte;
static short little;
static unsigned long big;
static char *text;
module_param(loud, bool, 0444);
module_param(count, int, 0644);
MODULE_PARM_DESC(count, "how many");
module_param(byte, byte, 0);
module_param(little, short, 0);
module_param(big, ulong, 0);
module_param_named(label, text, charp, 0);

static int __init first_late(void)
{
	see('l');
	return seen.fails;
}
late_initcall(first_late);

static int __init first_init(void)
{
	see('i');
	return 0;
}
module_init(first_init)

static void __exit first_exit(void)
{
	see('x');
}
module_exit(first_exit);

EXPORT_SYMBOL_GPL(first_exit);
MODULE_LICENSE("GPL");
MODULE_AUTHOR("nobody");

#undef KBUILD_MODNAME
#define KBUILD_MODNAME __FILE_NAME__

static int other_init(void)
{
	see('o');
	return 0;
}
module_init(other_init);

static void reset(void)
{
	memset(&seen, 0, sizeof(seen));
}

static void initcalls_run_by_level_and_only_the_modules_own(void **state)
{
	(void)state;
	reset();
	assert_int_equal(karc_module_load(KARC_MODULES, "first-one", NULL), 0);
	assert_string_equal(seen.order, "il");
	karc_module_unload(KARC_MODULES, "first_one");
	assert_string_equal(seen.order, "ilx");
	assert_int_equal(karc_module_load(KARC_MODULES, "test_module", ""), 0);
	assert_string_equal(seen.order, "ilxo");
	assert_ptr_equal(THIS_MODULE, NULL);
}

static void an_init_that_fails_tells_the_loader(void **state)
{
	(void)state;
	reset();
	seen.fails = -EAGAIN;
	assert_int_equal(karc_module_load(KARC_MODULES, "first_one", NULL), -EAGAIN);
	assert_int_equal(karc_module_load(KARC_MODULES, "first", NULL), -ENOENT);
	assert_int_equal(karc_module_load(KARC_MODULES, "first_one.c", NULL), -ENOENT);
}

static void parameters_are_set_by_name_before_the_init_runs(void **state)
{
	(void)state;
	reset();
	assert_int_equal(karc_module_load(KARC_MODULES, "first_one",
					  " loud count=-12  byte=255 little=-0x8000 big=0xfff"), 0);
	assert_true(loud);
	assert_int_equal(count, -12);
	assert_int_equal(byte, 255);
	assert_int_equal(little, -32768);
	assert_int_equal(big, 0xfff);
	assert_int_equal(karc_module_set_param(KARC_MODULES, "first_one", "loud", "n"), 0);
	assert_false(loud);
	assert_int_equal(karc_module_set_param(KARC_MODULES, "first_one", "label", "a b"), 0);
	assert_string_equal(text, "a b");
}

static void a_value_that_does_not_fit_is_refused(void **state)
{
	static const char *const wrong[] = {
		"byte=256", "byte=-1", "little=32768", "count=", "count=1x", "count=0x80000000",
		"loud=maybe", "label=text", "big=99999999999999999999",
	};

	(void)state;
	reset();
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(karc_module_load(KARC_MODULES, "first_one", wrong[i]), -EINVAL);
	assert_int_equal(karc_module_load(KARC_MODULES, "first_one", "unknown=1"), -ENOENT);
	assert_int_equal(karc_module_set_param(KARC_MODULES, "test_module", "count", "1"), -ENOENT);
	assert_string_equal(seen.order, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(initcalls_run_by_level_and_only_the_modules_own),
		cmocka_unit_test(an_init_that_fails_tells_the_loader),
		cmocka_unit_test(parameters_are_set_by_name_before_the_init_runs),
		cmocka_unit_test(a_value_that_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
