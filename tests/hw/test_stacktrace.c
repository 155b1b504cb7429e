/* SPDX-License-Identifier: MIT */
/*
 * Goal: callers are saved as addresses and named later.
 * Method: a chain of functions that are not inlined, on a fiber's stack, in an interrupt, and on
 * the host's.
 */
#include "fixture.h"

#include <karc/hw/fiber.h>
#include <karc/hw/ipi.h>
#include <karc/hw/stacktrace.h>
#include <string.h>

#define ENTRIES	12

struct saved {
	unsigned long entry[ENTRIES];
	unsigned int nr, skip;
	char text[4096];
};

static noinline void inner_caller(struct saved *s)
{
	s->nr = stack_trace_save(s->entry, ENTRIES, s->skip);
	__asm__ volatile("" ::: "memory");	/* no tail call */
}

static noinline void outer_caller(struct saved *s)
{
	inner_caller(s);
	__asm__ volatile("" ::: "memory");
}

static void print(struct saved *s)
{
	assert_in_range(s->nr, 2, ENTRIES);
	stack_trace_snprint(s->text, sizeof(s->text), s->entry, s->nr, 0);
}

static void callers_are_saved_innermost_first(void **state)
{
	struct saved s = { .skip = 0 };
	const char *outer;

	(void)state;
	outer_caller(&s);
	print(&s);
	outer = strstr(s.text, "outer_caller+");
	assert_non_null(outer);
	assert_non_null(strstr(outer, __func__));
	assert_null(strstr(s.text, "stack_trace_save"));
}

static void some_of_the_innermost_are_left_out(void **state)
{
	struct saved all = { .skip = 0 }, less = { .skip = 1 };

	(void)state;
	outer_caller(&all);
	outer_caller(&less);
	assert_int_equal(less.nr, all.nr < ENTRIES ? all.nr - 1 : ENTRIES);
	assert_int_equal(less.entry[1], all.entry[2]);
}

static void text_is_cut_and_its_whole_length_told(void **state)
{
	struct saved s = { .skip = 0 };
	char small[10];
	int length;

	(void)state;
	outer_caller(&s);
	print(&s);
	length = stack_trace_snprint(small, sizeof(small), s.entry, s.nr, 0);
	assert_int_equal(length, strlen(s.text));
	assert_int_equal(strlen(small), sizeof(small) - 1);
	assert_int_equal(stack_trace_snprint(NULL, 0, s.entry, s.nr, 0), length);
	assert_int_equal(stack_trace_snprint(small, sizeof(small), s.entry, 0, 0), 0);
}

static void trace_goes_to_the_log(void **state)
{
	struct saved s = { .skip = 0 };

	(void)state;
	outer_caller(&s);
	stack_trace_print(s.entry, s.nr, 2);
	assert_true(fixture_log_contains("   outer_caller+"));
}

static void interrupt_caller(void *arg)
{
	outer_caller(arg);
}

static void interrupts_have_callers_too(void **state)
{
	struct saved s = { .skip = 0 };

	(void)state;
	smp_call_function_single((int)machine_nr_cpus(this_machine()) - 1, interrupt_caller, &s, 1);
	print(&s);
	assert_non_null(strstr(s.text, "outer_caller+"));
}

static void host_threads_have_callers(void **state)
{
	struct saved s = { .skip = 0 };
	struct machine *m;

	(void)state;
	outer_caller(&s);		/* outside any machine */
	print(&s);
	assert_non_null(strstr(s.text, "outer_caller+"));
	m = machine_boot_rooms(&(struct machine_config){ .quiet = true },
			       (const struct room *const[]){ &hw_room }, 1);
	assert_non_null(m);
	machine_enter(m);
	for (int i = 0; i < 3; i++) {
		outer_caller(&s);
		print(&s);
		assert_non_null(strstr(s.text, __func__));
	}
	machine_leave();
	assert_int_equal(machine_shutdown(m), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(callers_are_saved_innermost_first),
		karc_unit_test(some_of_the_innermost_are_left_out),
		karc_unit_test(text_is_cut_and_its_whole_length_told),
		karc_unit_test(trace_goes_to_the_log),
		KARC_TESTS(interrupts_have_callers_too),
		cmocka_unit_test(host_threads_have_callers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
