/* SPDX-License-Identifier: MIT */
/*
 * inject.c - make the nth fallible allocation fail
 *
 * What it is
 *	Each CPU counts the allocations it was asked for. Arming sets a countdown in the machine and
 *	a flag in every CPU, so that the fast path looks at its own cache lines only. The countdown is
 *	atomic: CPUs on host threads count together.
 */
#include <karc/base/compiler.h>
#include <karc/hw/inject.h>
#include <karc/hw/tracepoint.h>
#include "internal.h"

bool inject_fail_armed(void)
{
	struct machine *m = karc_cpu->machine;

	if (__atomic_sub_fetch(&m->inject_left, 1, __ATOMIC_RELAXED) != 0)
		return false;
	WRITE_ONCE(m->inject_happened, true);
	return true;
}

void inject_arm(struct machine *m, unsigned long nth)
{
	bool was = READ_ONCE(m->cpus[0]->inject_armed);
	unsigned int cpu;

	WRITE_ONCE(m->inject_happened, false);
	WRITE_ONCE(m->inject_left, (long)nth);
	for_each_cpu_of(m, cpu)
		WRITE_ONCE(m->cpus[cpu]->inject_armed, nth != 0);
	if (was != (nth != 0))
		trace_watches_tell(m);
}

bool inject_disarm(struct machine *m)
{
	bool happened = READ_ONCE(m->inject_happened);

	inject_arm(m, 0);
	return happened;
}

unsigned long inject_count(struct machine *m)
{
	unsigned long nr = 0;
	unsigned int cpu;

	for_each_cpu_of(m, cpu)
		nr += READ_ONCE(m->cpus[cpu]->nr_alloc_asked);
	return nr;
}
