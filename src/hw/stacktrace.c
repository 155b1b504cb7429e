/* SPDX-License-Identifier: MIT */
/*
 * stacktrace.c - callers, as data
 *
 * What it is
 *	What a Call Trace shows, taken apart: addresses now, names when somebody reads them. The
 *	walk and the names are report.c's.
 *
 * Worst case
 *	Saving walks as many frames as it stores or skips. The bounds of a host thread's stack are
 *	asked from the host once for each thread that plays a host fiber: asking is slow.
 *
 * Unlike Linux
 *	No consumers and no saving for other tasks.
 */
#include <pthread.h>
#include <stdio.h>

#include <karc/base/log.h>
#include <karc/hw/stacktrace.h>
#include "internal.h"

#define SKIP_MAX	8u
#define SAVE_MAX	64u

/* Where the stack ends that this code runs on: 0 when nobody knows. */
static u64 stack_end(struct fiber *f, u64 here)
{
	if (f && f->stack && here >= (u64)f->stack && here < (u64)f->stack + f->stack_bytes)
		return (u64)f->stack + f->stack_bytes;
	if (!f || !(fiber_flags(f) & FIBER_HOST))
		return stack_end_of_thread(here);
	if (here < f->host_stack_low || here >= f->host_stack_high) {
		f->host_stack_high = stack_end_of_thread(here);
		f->host_stack_low = f->host_stack_high ? here & ~0xffffUL : 0;
	}
	return f->host_stack_high;
}

noinline unsigned int stack_trace_save(unsigned long *store, unsigned int size,
				       unsigned int skipnr)
{
	u64 fp = (u64)__builtin_frame_address(0);
	u64 high = stack_end(karc_cpu ? karc_cpu->fiber : NULL, fp);
	void *trace[SAVE_MAX];
	unsigned int nr, i;

	if (skipnr > SKIP_MAX)
		skipnr = SKIP_MAX;
	if (size > SAVE_MAX - SKIP_MAX - 1)
		size = SAVE_MAX - SKIP_MAX - 1;
	skipnr++;			/* the first is inside the caller */
	nr = trace_collect(fp, fp, high, trace, size + skipnr);
	for (i = skipnr; i < nr; i++)
		store[i - skipnr] = (unsigned long)trace[i];
	return nr > skipnr ? nr - skipnr : 0;
}

int stack_trace_snprint(char *buf, size_t size, const unsigned long *entries,
			unsigned int nr_entries, int spaces)
{
	char symbol[SYMBOL_BYTES];
	unsigned int i;
	int total = 0, len;

	for (i = 0; i < nr_entries; i++) {
		trace_name(this_machine(), (void *)entries[i], symbol, sizeof(symbol));
		len = snprintf(size ? buf : NULL, size, "%*c%s\n", 1 + spaces, ' ', symbol);
		if (len < 0)
			break;
		total += len;
		if ((size_t)len >= size) {
			size = 0;
		} else {
			buf += len;
			size -= (size_t)len;
		}
	}
	return total;
}

void stack_trace_print(const unsigned long *entries, unsigned int nr_entries, int spaces)
{
	char symbol[SYMBOL_BYTES];
	unsigned int i;

	for (i = 0; i < nr_entries; i++) {
		trace_name(this_machine(), (void *)entries[i], symbol, sizeof(symbol));
		pr_warn("%*c%s\n", 1 + spaces, ' ', symbol);
	}
}
