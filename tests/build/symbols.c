/* SPDX-License-Identifier: MIT */
/*
 * A program outside the tree with a hook of its own; test_symbols.py adds functions that have the
 * names of karc's internal ones.
 */
#include <stdio.h>

#include <karc/base/bug.h>
#include <karc/hw/context.h>
#include <karc/karc.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/slab/kmalloc.h>

void karc_warn_hook(const struct bug_site *where, const char *msg)
{
	printf("own hook: %s%s\n", where->text, msg);
}

static long kernel_code(void *arg)
{
	void *small = kmalloc(100, GFP_KERNEL), *big = vmalloc(100000);
	int *wanted = arg;

	WARN_ON(*wanted == 1);
	kfree(small);
	vfree(big);
	return small && big ? 0 : -ENOMEM;
}

int main(void)
{
	struct machine *m = machine_boot(NULL);
	struct machine_result result;
	int number = 1;

	if (IS_ERR(m))
		return 2;
	result = machine_call(m, 0, kernel_code, &number);
	return machine_shutdown(m) || result.end != MACHINE_VALUE || result.value;
}
