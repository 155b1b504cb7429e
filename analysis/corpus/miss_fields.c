/* SPDX-License-Identifier: MIT */
/*
 * Bugs that this analyzer does not find; the run-time ledger has to.  When a better one finds them,
 * this file goes red and the case moves to bug_*.c.
 */
// karc-no-diagnostics
#include "toy.h"

void child_leaked_through_the_parents_field(int mode)
{
	struct file *parent = file_new(mode);

	if (!parent)
		return;
	parent->backing = file_new(mode);
	file_put(parent);
}

int child_used_after_the_parents_put(int mode)
{
	struct file *parent = file_new(mode), *child;

	if (!parent)
		return -ENOMEM;
	child = parent->backing;
	file_put(parent);
	return file_use(child);
}

_Noreturn void leave_for_good(void);

void reference_held_across_noreturn(int mode)
{
	struct file *file = file_new(mode);

	if (file)
		leave_for_good();
}
