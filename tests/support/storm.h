/* SPDX-License-Identifier: MIT */
/*
 * storm.h - the same work on every CPU at once, for tests of what CPUs share
 *
 * In parallel mode the CPUs are host threads and meet for real; in deterministic mode the seed
 * mixes them. A test states what must hold whatever the order.
 */
#ifndef KARC_TESTS_STORM_H
#define KARC_TESTS_STORM_H

#include <karc/base/rand.h>
#include <karc/hw/fiber.h>
#include <karc/hw/machine.h>
#include "fixture.h"

#define STORM_MAX	(2 * MACHINE_MAX_CPUS)

/* One worker; ->storm is what they share. */
struct storm_worker {
	struct storm *storm;
	struct fiber *fiber;
	unsigned int index;		/* 0 .. storm->nr - 1 */
	struct rnd rnd;			/* its own */
	long (*fn)(struct storm_worker *w);
};

struct storm {
	void *arg;
	unsigned int nr;		/* workers */
	unsigned int nr_arrived;
	struct storm_worker worker[STORM_MAX];
};

/* Nobody begins before all are there. */
static long storm_entry(void *arg)
{
	struct storm_worker *w = arg;

	__atomic_fetch_add(&w->storm->nr_arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&w->storm->nr_arrived, __ATOMIC_ACQUIRE) != w->storm->nr)
		cpu_relax();
	return w->fn(w);
}

/* Run @fn in @per_cpu fibers of each CPU, to their ends. The seed of the machine is theirs. */
static inline void storm_run(struct storm *s, unsigned int per_cpu,
			     long (*fn)(struct storm_worker *w), void *arg)
{
	unsigned int nr_cpus = machine_nr_cpus(this_machine());
	u64 seed = machine_random(this_machine());

	print_message("seed %llu\n", (unsigned long long)seed);
	*s = (struct storm){ .arg = arg, .nr = per_cpu * nr_cpus };
	for (unsigned int i = 0; i < s->nr; i++) {
		struct storm_worker *w = &s->worker[i];

		w->storm = s;
		w->index = i;
		w->fn = fn;
		rnd_seed(&w->rnd, seed + i);
	}
	for (unsigned int i = 0; i < s->nr; i++) {
		s->worker[i].fiber = fiber_spawn(i % nr_cpus, "storm", storm_entry, &s->worker[i]);
		assert_non_null(s->worker[i].fiber);
	}
	for (unsigned int i = 0; i < s->nr; i++) {
		struct machine_result r;

		fiber_join(s->worker[i].fiber, &r);
		assert_string_equal(r.message, "");
		assert_int_equal(r.end, MACHINE_VALUE);
		assert_int_equal(r.value, 0);
	}
}

#endif
