/* SPDX-License-Identifier: MIT */
/*
 * Goal: names that sources in Linux's manner expect of strings, divisions and options do what they
 * do there.
 * Method: each once at its edges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <karc/base/kconfig.h>
#include <karc/base/math64.h>
#include <karc/base/poison.h>
#include <karc/base/string.h>

static void strscpy_always_ends_and_says_when_it_cut(void **state)
{
	char buf[6];

	(void)state;
	assert_int_equal(strscpy(buf, "12345", 6), 5);
	assert_string_equal(buf, "12345");
	assert_int_equal(strscpy(buf, "123456", 6), -E2BIG);
	assert_string_equal(buf, "12345");
	assert_int_equal(strscpy(buf, "x", 1), -E2BIG);
	assert_string_equal(buf, "");
	assert_int_equal(strscpy(buf, "x", 0), -E2BIG);
	memset(buf, 'a', sizeof(buf));
	assert_int_equal(strscpy_pad(buf, "zz", 6), 2);
	assert_memory_equal(buf, "zz\0\0\0\0", 6);
}

static void memchr_inv_finds_the_first_other_byte(void **state)
{
	char buf[40];

	(void)state;
	memset(buf, 0x6b, sizeof(buf));
	assert_null(memchr_inv(buf, 0x6b, sizeof(buf)));
	buf[39] = 0;
	assert_ptr_equal(memchr_inv(buf, 0x6b, sizeof(buf)), buf + 39);
	assert_null(memchr_inv(buf, 0x6b, 39));
	assert_null(memchr_inv(buf, 0, 0));
}

static void scnprintf_says_what_it_wrote(void **state)
{
	char buf[4];

	(void)state;
	assert_int_equal(scnprintf(buf, sizeof(buf), "%d", 12), 2);
	assert_int_equal(scnprintf(buf, sizeof(buf), "%d", 12345), 3);
	assert_string_equal(buf, "123");
	assert_int_equal(scnprintf(buf, 0, "%d", 12345), 0);
}

static void kstrto_takes_whole_numbers_only(void **state)
{
	unsigned long long big = 1;
	int number = 1;
	u8 byte = 1;
	s8 small = 1;

	(void)state;
	assert_int_equal(kstrtoint("-12\n", 10, &number), 0);
	assert_int_equal(number, -12);
	assert_int_equal(kstrtoint("0x7fffffff", 0, &number), 0);
	assert_int_equal(number, 0x7fffffff);
	assert_int_equal(kstrtoint("2147483648", 10, &number), -ERANGE);
	assert_int_equal(kstrtoint("1 ", 10, &number), -EINVAL);
	assert_int_equal(kstrtoint("", 10, &number), -EINVAL);
	assert_int_equal(kstrtoint("-", 10, &number), -EINVAL);
	assert_int_equal(kstrtoint("-+1", 10, &number), -EINVAL);
	assert_int_equal(kstrtoint(" 1", 10, &number), -EINVAL);
	assert_int_equal(number, 0x7fffffff);
	assert_int_equal(kstrtou8("256", 10, &byte), -ERANGE);
	assert_int_equal(kstrtou8("-1", 10, &byte), -EINVAL);
	assert_int_equal(kstrtos8("-128", 10, &small), 0);
	assert_int_equal(small, -128);
	assert_int_equal(kstrtoull("18446744073709551615", 10, &big), 0);
	assert_true(big == S64_MAX * 2ULL + 1);
	assert_int_equal(kstrtoull("18446744073709551616", 10, &big), -ERANGE);
}

static void kstrtobool_reads_the_first_letters(void **state)
{
	bool value = false;

	(void)state;
	assert_int_equal(kstrtobool("yes", &value), 0);
	assert_true(value);
	assert_int_equal(kstrtobool("off", &value), 0);
	assert_false(value);
	assert_int_equal(kstrtobool("on", &value), 0);
	assert_true(value);
	assert_int_equal(kstrtobool("ox", &value), -EINVAL);
	assert_int_equal(kstrtobool("", &value), -EINVAL);
	assert_int_equal(kstrtobool(NULL, &value), -EINVAL);
	assert_true(value);
}

static void divisions_give_quotient_and_remainder(void **state)
{
	u64 n = 1000000000007ULL, rem64;
	s32 srem;
	u32 rem;

	(void)state;
	assert_int_equal(do_div(n, 10), 7);
	assert_int_equal(n, 100000000000ULL);
	assert_int_equal(div_u64_rem(23, 5, &rem), 4);
	assert_int_equal(rem, 3);
	assert_int_equal(div_s64_rem(-23, 5, &srem), -4);
	assert_int_equal(srem, -3);
	assert_int_equal(div64_u64_rem(~0ULL, 1ULL << 63, &rem64), 1);
	assert_int_equal(rem64, (1ULL << 63) - 1);
	assert_int_equal(div64_s64(-9, 2), -4);
	assert_int_equal(mul_u32_u32(~0U, ~0U), 0xfffffffe00000001ULL);
}

#define CONFIG_TEST_OF_A_MODULE_MODULE	1

static void is_enabled_is_an_expression_of_the_options(void **state)
{
	(void)state;
	assert_true(IS_ENABLED(CONFIG_SMP));
	assert_true(IS_BUILTIN(CONFIG_SLAB));
	assert_false(IS_ENABLED(CONFIG_SLUB));
	assert_false(IS_MODULE(CONFIG_SMP));
	assert_true(IS_MODULE(CONFIG_TEST_OF_A_MODULE));
	assert_true(IS_ENABLED(CONFIG_TEST_OF_A_MODULE));
	assert_false(IS_BUILTIN(CONFIG_TEST_OF_A_MODULE));
}

static void hiding_a_value_keeps_it(void **state)
{
	int array[4] = { 1, 2, 3, 4 }, x = 5;

	(void)state;
	OPTIMIZER_HIDE_VAR(x);
	assert_int_equal(x, 5);
	assert_int_equal(*RELOC_HIDE(array, sizeof(int)), 2);
	prefetchw(array);
	if (sizeof(int) != 4)
		BUILD_BUG();
	assert_int_equal(POISON_FREE, 0x6b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strscpy_always_ends_and_says_when_it_cut),
		cmocka_unit_test(memchr_inv_finds_the_first_other_byte),
		cmocka_unit_test(scnprintf_says_what_it_wrote),
		cmocka_unit_test(kstrto_takes_whole_numbers_only),
		cmocka_unit_test(kstrtobool_reads_the_first_letters),
		cmocka_unit_test(divisions_give_quotient_and_remainder),
		cmocka_unit_test(is_enabled_is_an_expression_of_the_options),
		cmocka_unit_test(hiding_a_value_keeps_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
