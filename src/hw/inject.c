/* SPDX-License-Identifier: MIT */
/*
 * inject.c - make the nth fallible allocation fail
 *
 * What it is
 *	Two counters in the machine: allocations asked for, and the number at which one fails.
 *	Atomic, so that CPUs on host threads count together.
 */
#include <karc/base/compiler.h>
#include <karc/hw/inject.h>
#include "internal.h"

bool inject_fail(void)
{
	struct machine *m;
	unsigned long nr;

	if (!karc_cpu)
		return false;
	m = karc_cpu->machine;
	nr = __atomic_add_fetch(&m->inject_count, 1, __ATOMIC_RELAXED);
	if (likely(nr != READ_ONCE(m->inject_at)))
		return false;
	WRITE_ONCE(m->inject_happened, true);
	return true;
}

void inject_arm(struct machine *m, unsigned long nth)
{
	WRITE_ONCE(m->inject_happened, false);
	WRITE_ONCE(m->inject_at, nth ? READ_ONCE(m->inject_count) + nth : 0);
}

bool inject_disarm(struct machine *m)
{
	bool happened = READ_ONCE(m->inject_happened);

	inject_arm(m, 0);
	return happened;
}

unsigned long inject_count(struct machine *m)
{
	return READ_ONCE(m->inject_count);
}
