/* SPDX-License-Identifier: MIT */
/*
 * refcount_test.h - small things that the tests of this room share
 */
#ifndef KARC_TESTS_REFCOUNT_TEST_H
#define KARC_TESTS_REFCOUNT_TEST_H

#include <string.h>

#include <karc/base/err.h>
#include <karc/base/hostmem.h>
#include <karc/base/log.h>
#include <karc/hw/fiber.h>
#include <karc/hw/machine.h>

/* How many records of the machine's log contain @text. */
static inline unsigned int count_in_log(const char *text)
{
	struct log_record record;
	unsigned int nr = 0;
	u64 seq = 0;

	while (karc_log_read(machine_log(this_machine()), &seq, &record))
		nr += strstr(record.text, text) != NULL;
	return nr;
}

/* A fiber on CPU @i modulo the number of CPUs. */
static inline struct fiber *spawn_on(unsigned int i, long (*fn)(void *arg), void *arg)
{
	struct fiber *f = fiber_spawn(i % machine_nr_cpus(this_machine()), "tester", fn, arg);

	assert_non_null(f);
	return f;
}

/* It must have ended by returning 0. */
static inline void join_clean(struct fiber *f)
{
	struct machine_result r;

	fiber_join(f, &r);
	assert_string_equal(r.message, "");
	assert_int_equal(r.end, MACHINE_VALUE);
	assert_int_equal(r.value, 0);
}

static inline void *must_alloc(size_t bytes)
{
	void *p = hostmem_zalloc(NULL, bytes);

	assert_non_null(p);
	return p;
}

#endif
