/* SPDX-License-Identifier: MIT */
/*
 * Goal: who listens hears every step of its own machine, in order; who stopped hears nothing.
 */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include <karc/hw/trace.h>

struct heard {
	char text[128];
};

static void hear(void *arg, const char *fn, const char *text)
{
	struct heard *heard = arg;
	size_t at = strlen(heard->text);

	snprintf(heard->text + at, sizeof(heard->text) - at, "%s: %s. ", fn, text);
}

static void steps_are_heard_in_order(void **state)
{
	struct trace_listener listener;
	struct heard heard = { "" };

	(void)state;
	trace_step("before", "%d", 1);
	trace_listen(this_machine(), &listener, hear, &heard);
	trace_step("mmput", "users %d -> %d", 1, 0);
	trace_step("mmdrop", "count %d", 1);
	trace_unlisten(this_machine(), &listener);
	trace_step("after", "%d", 1);
	assert_string_equal(heard.text, "mmput: users 1 -> 0. mmdrop: count 1. ");
}

static void several_may_listen_and_leave_in_any_order(void **state)
{
	struct trace_listener one, two;
	struct heard first = { "" }, second = { "" };

	(void)state;
	assert_false(trace_heard());
	trace_listen(this_machine(), &one, hear, &first);
	trace_listen(this_machine(), &two, hear, &second);
	trace_step("a", "1");
	trace_unlisten(this_machine(), &one);
	assert_true(trace_heard());
	trace_step("b", "2");
	trace_unlisten(this_machine(), &two);
	assert_false(trace_heard());
	assert_string_equal(first.text, "a: 1. ");
	assert_string_equal(second.text, "a: 1. b: 2. ");
}

static int times_formatted;

static int formatted(void)
{
	return ++times_formatted;
}

static void nothing_is_computed_while_nobody_listens(void **state)
{
	(void)state;
	times_formatted = 0;
	trace_step("quiet", "%d", formatted());
	assert_int_equal(times_formatted, 0);
}

static void long_lines_are_cut(void **state)
{
	struct trace_listener listener;
	struct heard heard = { "" };

	(void)state;
	trace_listen(this_machine(), &listener, hear, &heard);
	trace_step("long", "%01000d", 7);
	trace_unlisten(this_machine(), &listener);
	assert_int_equal(strncmp(heard.text, "long: 000", 9), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(steps_are_heard_in_order),
		karc_unit_test(several_may_listen_and_leave_in_any_order),
		karc_unit_test(nothing_is_computed_while_nobody_listens),
		karc_unit_test(long_lines_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
