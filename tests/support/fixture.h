/* SPDX-License-Identifier: MIT */
/*
 * fixture.h - run a CMocka test inside a freshly booted machine
 *
 *	static void put_of_last_ref_frees(void **state) { ... assert_int_equal(a, b); ... }
 *
 *	const struct CMUnitTest tests[] = {
 *		KARC_TESTS(put_of_last_ref_frees),	(both modes, on 1, on 4 and on 8 CPUs)
 *		karc_unit_test_cpus(needs_two_cpus, 2),		(both modes)
 *		KARC_TESTS_DETERMINISTIC(a_seed_replays),	(and a comment why)
 *	};
 *	return cmocka_run_group_tests(tests, NULL, NULL);
 *
 * Each test gets a machine of its own, made of its room and those below, runs as a task on
 * CPU 0, and is red when an assertion failed (on whatever fiber), when it ended in a BUG, an Oops
 * or stuck, when something warned, when a room's check finds a violation, or when shutdown finds
 * anything left. The log is shown when it is red. KARC_TEST_SEED=n in the environment runs it
 * under another seed, KARC_TEST_MODE=deterministic or =parallel skips the cases of the other mode.
 * `ninja test` of the variant tsan does the latter in all rooms but hw: deterministic mode is one
 * host thread, where the thread sanitizer has nothing to find that the other variants do not.
 *
 * In parallel mode fibers on different CPUs really run at once: what a body shares with them needs
 * atomics or locks, and "the other one has run by now" needs waiting for it.
 *
 * Assertions here end the fiber that fails them and are told to CMocka on its own stack later:
 * CMocka's longjmp must not cross stacks. CMocka's mocks (will_return and friends) may be used
 * only in plain cmocka_unit_test() tests. In those the assertions work as always.
 */
#ifndef KARC_TESTS_FIXTURE_H
#define KARC_TESTS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <karc/base/types.h>
#include <karc/hw/machine.h>

struct fixture_case {
	void (*body)(void **state);
	unsigned int cpus;
	const struct machine_config *config;	/* or NULL; .nr_cpus, .quiet are set here, and
						   .track unless .cmdline has the word "untracked" */
	enum machine_mode mode;
};

void fixture_test(void **state);

#define karc_unit_test_mode(fn, n, machine_config, wanted_mode, text) { \
	.name = #fn " on " #n " CPU(s)" text, \
	.test_func = fixture_test, \
	.initial_state = &(struct fixture_case){ fn, n, machine_config, wanted_mode }, \
}

/* Cases of deterministic mode: for tests whose subject is its scheduler, its time or its replay. */
#define karc_unit_test_config_deterministic(fn, n, machine_config) \
	karc_unit_test_mode(fn, n, machine_config, MACHINE_DETERMINISTIC, "")
#define karc_unit_test_cpus_deterministic(fn, n) \
	karc_unit_test_config_deterministic(fn, n, NULL)
#define KARC_TESTS_DETERMINISTIC(fn) \
	karc_unit_test_cpus_deterministic(fn, 1), karc_unit_test_cpus_deterministic(fn, 4), \
	karc_unit_test_cpus_deterministic(fn, 8)

/* And of parallel mode. */
#define karc_unit_test_config_parallel(fn, n, machine_config) \
	karc_unit_test_mode(fn, n, machine_config, MACHINE_PARALLEL, ", parallel")
#define karc_unit_test_cpus_parallel(fn, n)	karc_unit_test_config_parallel(fn, n, NULL)
#define KARC_TESTS_PARALLEL(fn) \
	karc_unit_test_cpus_parallel(fn, 1), karc_unit_test_cpus_parallel(fn, 4), \
	karc_unit_test_cpus_parallel(fn, 8)

#define karc_unit_test_config(fn, n, machine_config) \
	karc_unit_test_config_deterministic(fn, n, machine_config), \
	karc_unit_test_config_parallel(fn, n, machine_config)
#define KARC_TESTS(fn)			KARC_TESTS_DETERMINISTIC(fn), KARC_TESTS_PARALLEL(fn)
#define karc_unit_test_cpus(fn, n)	karc_unit_test_config(fn, n, NULL)
#define karc_unit_test(fn)		karc_unit_test_cpus(fn, 1)

/* The machine of the running test; this_machine() says the same on its fibers. */
struct machine *fixture_machine(void);

/*
 * Expected ends. Each runs fn(arg) as a task of its own on this CPU, asserts how it ended, and
 * that its message or the log since then contains @text; what was expected is not held against
 * the test. A macro each, so that a failure names the test's line.
 */
#define expect_bug(fn, arg, text) \
	fixture_expect(MACHINE_BUG, fn, arg, text, __FILE__, __LINE__)
#define expect_oops(fn, arg, text) \
	fixture_expect(MACHINE_OOPS, fn, arg, text, __FILE__, __LINE__)
#define expect_stuck(fn, arg, text) \
	fixture_expect(MACHINE_STUCK, fn, arg, text, __FILE__, __LINE__)

/* A warning whose report contains @text came since the test began or since the last of these. */
#define expect_warn(text)		fixture_expect_warn(text, __FILE__, __LINE__)

/* No warning came since then. */
#define expect_no_warn()		fixture_expect_warn(NULL, __FILE__, __LINE__)

void fixture_expect(enum machine_end end, long (*fn)(void *arg), void *arg, const char *text,
		    const char *file, int line);
void fixture_expect_warn(const char *text, const char *file, int line);

/* Does the machine's log contain @text? */
bool fixture_log_contains(const char *text);

/*
 * Run @body as a test and say how it went, without failing: for tests of the fixture itself ("a
 * deliberate leak turns it red"). To be called from plain cmocka_unit_test() tests.
 */
struct fixture_verdict {
	bool red;
	enum machine_end end;
	char message[192];		/* of the end, see struct machine_result */
	unsigned long nr_left;
	unsigned long nr_violations;
	unsigned long nr_warnings;	/* unexpected ones */
	unsigned long nr_bugs;		/* unexpected BUGs, Oopses and stucks */
	unsigned long nr_failures;	/* assertions */
	char reason[1024];		/* one line for each thing that is wrong */
	char file[192];			/* place of the first failed assertion */
	int line;
	bool skipped;
};

struct fixture_verdict fixture_run(unsigned int cpus, void (*body)(void));
struct fixture_verdict fixture_run_parallel(unsigned int cpus, void (*body)(void));
struct fixture_verdict fixture_run_config(const struct machine_config *config,
					  void (*body)(void));

/**
 * struct fixture_nth - an operation to be failed at its 1st, 2nd, 3rd ... allocation
 * @body:     0 when it succeeded, anything else when it failed
 * @undo:     takes a success back (may be NULL: then the last success stays, the others too)
 * @snapshot: writes what must be the same before and after: counts, free frames. May be NULL.
 * @arg:      passed to all of them
 */
#define FIXTURE_SNAPSHOT_MAX	32

struct fixture_nth {
	long (*body)(void *arg);
	void (*undo)(void *arg);
	void (*snapshot)(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX]);
	void *arg;
};

/*
 * Arms n = 1, 2, 3 ... until the operation runs without meeting the armed failure. After each
 * failure, and after each success that was undone, the snapshot must equal the one before. A
 * failure without a cause fails the test. Returns the number of allocations that were failed.
 */
unsigned long fixture_nth_loop(const struct fixture_nth *nth, const char *file, int line);
#define fixture_fail_nth(...) \
	fixture_nth_loop(&(struct fixture_nth){ __VA_ARGS__ }, __FILE__, __LINE__)

/* ---- assertions, in place of CMocka's ---- */

/* Ends the fiber, or on the host's stack the test. */
void fixture_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
void fixture_skip(const char *file, int line) __attribute__((noreturn));

void fixture_check_int(unsigned long long a, unsigned long long b, bool equal,
		       const char *a_text, const char *b_text, const char *file, int line);
void fixture_check_string(const char *a, const char *b, bool equal, const char *file, int line);
void fixture_check_memory(const void *a, const void *b, size_t size, bool equal,
			  const char *file, int line);
void fixture_check_range(unsigned long long value, unsigned long long low,
			 unsigned long long high, bool inside, const char *text,
			 const char *file, int line);
void fixture_check_set(unsigned long long value, const unsigned long long *values, size_t nr,
		       bool inside, const char *text, const char *file, int line);

#undef assert_true
#undef assert_false
#undef assert_null
#undef assert_non_null
#undef assert_ptr_equal
#undef assert_ptr_not_equal
#undef assert_int_equal
#undef assert_int_not_equal
#undef assert_string_equal
#undef assert_string_not_equal
#undef assert_memory_equal
#undef assert_memory_not_equal
#undef assert_in_range
#undef assert_not_in_range
#undef assert_in_set
#undef assert_not_in_set
#undef assert_return_code
#undef assert_float_equal
#undef assert_float_not_equal
#undef fail
#undef fail_msg
#undef skip

#define fail()			fixture_fail(__FILE__, __LINE__, "failure")
#define fail_msg(...)		fixture_fail(__FILE__, __LINE__, __VA_ARGS__)
#define skip()			fixture_skip(__FILE__, __LINE__)

#define assert_true(c) do {							\
	if (!(c))								\
		fixture_fail(__FILE__, __LINE__, "not true: %s", #c);		\
} while (0)
#define assert_false(c) do {							\
	if (c)									\
		fixture_fail(__FILE__, __LINE__, "not false: %s", #c);		\
} while (0)
#define assert_null(p) do {							\
	if ((p) != NULL)							\
		fixture_fail(__FILE__, __LINE__, "not NULL: %s", #p);		\
} while (0)
#define assert_non_null(p) do {							\
	if ((p) == NULL)							\
		fixture_fail(__FILE__, __LINE__, "is NULL: %s", #p);		\
} while (0)
#define assert_return_code(rc, error) do {					\
	if ((rc) < 0)								\
		fixture_fail(__FILE__, __LINE__, "%s < 0, error %d", #rc, (int)(error)); \
} while (0)

#define fixture_number(x)	((unsigned long long)(x))
#define fixture_pointer(x)	((unsigned long long)(uintptr_t)(x))

#define assert_int_equal(a, b) \
	fixture_check_int(fixture_number(a), fixture_number(b), true, #a, #b, __FILE__, __LINE__)
#define assert_int_not_equal(a, b) \
	fixture_check_int(fixture_number(a), fixture_number(b), false, #a, #b, __FILE__, __LINE__)
#define assert_ptr_equal(a, b) \
	fixture_check_int(fixture_pointer(a), fixture_pointer(b), true, #a, #b, __FILE__, __LINE__)
#define assert_ptr_not_equal(a, b) \
	fixture_check_int(fixture_pointer(a), fixture_pointer(b), false, #a, #b, __FILE__, __LINE__)
#define assert_string_equal(a, b) \
	fixture_check_string((const char *)(a), (const char *)(b), true, __FILE__, __LINE__)
#define assert_string_not_equal(a, b) \
	fixture_check_string((const char *)(a), (const char *)(b), false, __FILE__, __LINE__)
#define assert_memory_equal(a, b, size) \
	fixture_check_memory((a), (b), (size), true, __FILE__, __LINE__)
#define assert_memory_not_equal(a, b, size) \
	fixture_check_memory((a), (b), (size), false, __FILE__, __LINE__)
#define assert_in_range(value, low, high)					\
	fixture_check_range(fixture_number(value), fixture_number(low),		\
			    fixture_number(high), true, #value, __FILE__, __LINE__)
#define assert_not_in_range(value, low, high)					\
	fixture_check_range(fixture_number(value), fixture_number(low),		\
			    fixture_number(high), false, #value, __FILE__, __LINE__)
#define assert_in_set(value, values, nr) \
	fixture_check_set(fixture_number(value), (values), (nr), true, #value, __FILE__, __LINE__)
#define assert_not_in_set(value, values, nr) \
	fixture_check_set(fixture_number(value), (values), (nr), false, #value, __FILE__, __LINE__)
#define assert_float_equal(a, b, epsilon) do {					\
	double karc_d_ = (double)(a) - (double)(b);				\
	if (karc_d_ > (double)(epsilon) || -karc_d_ > (double)(epsilon))	\
		fixture_fail(__FILE__, __LINE__, "%s != %s", #a, #b);		\
} while (0)
#define assert_float_not_equal(a, b, epsilon) do {				\
	double karc_d_ = (double)(a) - (double)(b);				\
	if (karc_d_ <= (double)(epsilon) && -karc_d_ <= (double)(epsilon))	\
		fixture_fail(__FILE__, __LINE__, "%s == %s", #a, #b);		\
} while (0)

#endif
