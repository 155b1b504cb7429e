/* SPDX-License-Identifier: MIT */
/*
 * stacktrace.h - callers, as data: taken now, printed later
 *
 * Return addresses of the host, innermost first, found along the frame pointers of the running
 * fiber's stack. Printing names them as a Call Trace does.
 */
#ifndef KARC_HW_STACKTRACE_H
#define KARC_HW_STACKTRACE_H

#include <karc/base/types.h>

/**
 * stack_trace_save - the callers of this function's caller
 * @store:  gets up to @size return addresses
 * @skipnr: so many of the innermost are left out
 *
 * Context: any; allocates nothing. Returns: how many. Model: Linux 6.1 stack_trace_save().
 */
unsigned int stack_trace_save(unsigned long *store, unsigned int size, unsigned int skipnr);

/**
 * stack_trace_snprint - one line for each: @spaces blanks, then "name+0xoff/0xsize"
 *
 * Returns: length of the whole text, which is cut to @size - 1 bytes. Slow: it reads symbol
 * tables. Context: any. Model: Linux 6.1.
 */
int stack_trace_snprint(char *buf, size_t size, const unsigned long *entries,
			unsigned int nr_entries, int spaces);

/* The same to the log of the current machine, as warnings. */
void stack_trace_print(const unsigned long *entries, unsigned int nr_entries, int spaces);

#endif
